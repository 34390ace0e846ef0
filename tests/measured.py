"""A command as a process of its own, with what it took: its peak of memory is its own, not that of the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

# Linux counts a parent's memory to what its child has used until it becomes another program: a small one starts it.
_STARTER = """
import json, os, subprocess, sys, threading, time
start = time.monotonic()
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
alarm = threading.Timer(float(sys.argv[1]), process.kill)
alarm.start()
_, status, usage = os.wait4(process.pid, 0)
alarm.cancel()
print(json.dumps([os.waitstatus_to_exitcode(status), time.monotonic() - start,
                  usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
"""


@dataclass(frozen=True)
class Measured:
    """A command that has ended: its exit code, its words, seconds on the clock and of processors, peak megabytes."""

    code: int
    words: str
    seconds: float
    busy: float
    megabytes: float


def measured(*arguments: object, cwd: Path | None = None, limit: float = 60) -> Measured:
    """Run convcli; it is killed after ``limit`` seconds.  What it writes to standard output is dropped."""
    command = [sys.executable, "-m", "convcli", *map(str, arguments)]
    starter = [
        sys.executable,
        "-S",
        "-E",
        "-c",
        _STARTER,
        str(limit),
        "sh",
        "-c",
        'exec "$@" >/dev/null',
        "sh",
    ]
    done = subprocess.run(
        [*starter, *command], capture_output=True, cwd=cwd, env={**os.environ, "NO_COLOR": "1"}, check=True
    )
    code, seconds, busy, megabytes = json.loads(done.stdout)
    return Measured(code, done.stderr.decode(errors="replace"), seconds, busy, megabytes)
