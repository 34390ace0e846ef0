"""`make strace`: every command under strace; writes `results.md` beside this file.

One command is repeated by its name: `python -m tests.strace "filter a.png"`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.shell import ok
from tests.strace.jobs import FALLBACK, JOBS, Job, avs2, inputs
from tests.strace.watch import Allowed, Watched, available, watch

RESULTS = Path(__file__).with_name("results.md")


def perform(job: Job) -> Watched:
    """Run a job in a folder of its own, and add to its faults an exit code that it may not have."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        inputs(folder)
        if job is FALLBACK and not avs2(folder):
            return Watched(0, "no encoder for it here", 0, ())
        stdin = (folder / job.stdin).read_bytes() if job.stdin else b""
        if job.before:
            ok(*job.before, cwd=folder)
        allowed = Allowed(frozenset(job.reads), frozenset(job.writes), job.extra)
        done = watch([sys.executable, "-m", "convcli", *job.words], folder, allowed, stdin)
    odd = () if done.code in job.codes else (f"exit {done.code}: {done.words[-300:]}",)
    return Watched(done.code, done.words, done.calls, (*done.faults, *odd))


def report(done: dict[str, Watched], seconds: float) -> str:
    failures = sum(bool(one.faults) for one in done.values())
    return "\n".join([
        "# What each command asks of the system",
        "",
        f"`make strace` writes this table: {len(done)} commands, {failures} with a fault; {seconds:.0f} seconds.",
        "",
        "Every call that opens, maps, makes, moves or removes a file, starts a program or concerns the network is",
        "looked at, of every process and thread. A fault is: any call of the network (pairs of sockets without a name,",
        "between the processes of a batch or of a job, are none); a program other than Python itself; a file read that",
        "is neither named in the command nor one of Python, of the packages or of the system; a file changed that is",
        "no output and no temporary; an input that is mapped into memory; anything left in the temporary or the home",
        "directory. Two commands may do more: one clip needs the ffmpeg program,",
        "and matplotlib, an extra that draws the curve of `learn`, starts fc-list and keeps a list of fonts at home.",
        "",
        "| command | exit | calls | faults |",
        "|---|--:|--:|---|",
        *(f"| {name} | {one.code} | {one.calls} | {'; '.join(one.faults) or 'none'} |" for name, one in done.items()),
        "",
    ])  # fmt: skip


def main(names: list[str]) -> int:
    if not available():
        print("strace is not here, or may not trace: nothing was checked", file=sys.stderr)
        return 0
    start = time.perf_counter()
    jobs = {**JOBS, "a clip for the ffmpeg program": FALLBACK}
    jobs = {name: job for name, job in jobs.items() if not names or name in names}
    with ThreadPoolExecutor(int(os.environ.get("WORKERS", "2"))) as pool:
        done = dict(zip(jobs, pool.map(perform, jobs.values()), strict=True))
    for name, one in done.items():
        if one.faults:
            print(name, *one.faults, sep="\n  ", file=sys.stderr)
    if not names:
        RESULTS.write_text(report(done, time.perf_counter() - start), encoding="utf-8")
        print(RESULTS)
    return 1 if any(one.faults for one in done.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
