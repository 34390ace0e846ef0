"""A command as a process of its own, with what it took: its peak of memory is its own, not that of the tests."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.shell import Job

# What filtering a picture loads: with it a process begins as small as one that starts Python for this command.
_LOADED = (
    *("convcli.cli.filter.task", "convcli.media.pictures.png", "convcli.media.pictures.tiff"),
    *("convcli.engines.on_numpy.engine", "convcli.execution.pipeline", "tifffile"),
)


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
    start = time.monotonic()
    with tempfile.TemporaryFile() as said, Path(os.devnull).open("r+b") as null:
        words, environment = [*map(str, arguments)], {**os.environ, "NO_COLOR": "1"}
        job = Job(words, cwd or Path.cwd(), (null, null, said), environment, loaded=_LOADED)
        try:
            job.wait(limit)
        except subprocess.TimeoutExpired:
            job.kill()
        code, seconds = job.wait(), time.monotonic() - start
        said.seek(0)
        return Measured(code, said.read().decode(errors="replace"), seconds, job.busy, job.megabytes)
