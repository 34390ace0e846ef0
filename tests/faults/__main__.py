"""`make faults`: every fault at twenty moments of every kind of job (five of some); writes `results.md`.

Some kinds alone, by name, are printed and not written: `python -m tests.faults "net run" learn`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults import cluster
from tests.faults.faults import FAULTS, Fault, can_mount
from tests.faults.jobs import KINDS, OTHERS
from tests.faults.run import SEED, Calm, Run, calm, disturbed
from tests.shell import install

BLOCK = 4096  # bytes of the small disk: what is shorter finds room
FITS = Path(__file__).parents[2] / "packages/convcli-fits"
RESULTS = Path(__file__).with_name("results.md")


def row(fault: Fault, job: Calm, runs: list[Run]) -> str:
    verdicts = Counter(run.verdict for run in runs)
    codes = ", ".join(f"{code} ({n})" for code, n in sorted(Counter(run.code for run in runs).items()))
    counts = " | ".join(str(verdicts.pop(name, 0)) for name in ("absent", "old", "new"))
    writing, left = sum(run.writing for run in runs), sum(run.left for run in runs)
    failed = sum(bool(run.problems) for run in runs)
    return f"| {fault.name} | {job.kind.name} | {writing} | {counts} | {failed} | {left} | {codes} |"


def report(rows: list[str], runs: int, problems: list[str], seconds: float, notes: list[str]) -> str:
    return "\n".join([
        "# What becomes of a target when a job is disturbed",
        "",
        f"`make faults` writes this table: {runs} runs with seed {SEED}, 20 or 5 moments for each fault and kind of",
        f"job; {len(problems)} problems; {seconds:.0f} seconds.",
        "",
        "Half of the moments are spread over the whole time of a job (or over the size of its output), half over the",
        "time in which it writes; every second run has an old target. Afterwards the target is *absent* (as before),",
        "the *old* one or the whole *new* one, byte by byte;",
        "anything else is *failed*, and so are a traceback, another exit code, and a temporary that survives. A run",
        "that ended before its moment counts as new. Jobs are forks of a process that has loaded everything, but every",
        "fifth that a signal disturbs starts Python: what Python says of an interrupt in its first hundredths of a",
        "second, with an exit code of its own (-2, 1), is not ours.",
        "",
        "*While writing* counts the runs that had begun their output at the moment. After kill -9, and where a folder",
        "has become read-only and admits no removal, a temporary may be *left*: then the job runs once more, and must",
        "remove it and leave alone one of another target.",
        "",
        "| fault | job | while writing | absent | old | new | failed | left | exit codes |",
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        *notes,
        *(["## Problems", ""] if problems else []),
        *(f"- {problem}" for problem in problems),
        *([""] if problems else []),
    ])  # fmt: skip


def main(names: list[str]) -> int:
    start = time.perf_counter()
    rows, problems, notes, count = [], [], [], 0
    with (
        tempfile.TemporaryDirectory() as name,
        ThreadPoolExecutor(int(os.environ.get("WORKERS", "2"))) as pool,
    ):
        folder = Path(name)
        install(FITS, folder / "site")
        os.environ["PYTHONPATH"] = str(folder / "site")
        faults = FAULTS
        if not can_mount(folder / "mount"):
            faults = tuple(fault for fault in FAULTS if fault.name != "full disk")
            notes = ["*Full disk* is left out: only root may mount a small one.", ""]
        for kind in (*KINDS, *OTHERS):
            if names and kind.name not in names:
                continue
            job = calm(kind, kind.size, folder)
            for fault in faults:
                if (fault.pipe and not kind.pipes) or (
                    fault.name == "full disk" and len(job.expected) < BLOCK
                ):
                    continue
                runs = list(pool.map(lambda number: disturbed(job, fault, number), range(kind.moments)))  # noqa: B023
                count += len(runs)
                rows.append(row(fault, job, runs))
                print(rows[-1], file=sys.stderr, flush=True)
                problems += [f"{fault.name}, {kind.name}: {text}" for run in runs for text in run.problems]
    order = [f"| {fault.name} " for fault in FAULTS]
    rows.sort(key=lambda text: order.index(text.partition(" |")[0] + " "))
    if not names or "cluster" in names:
        notes += ["## Kills on a Dask cluster of two workers", ""]
        notes += [
            "Kill -9 at random moments, each after some progress; *done again* are boxes that logs have twice."
        ]
        notes += ["", *cluster.HEAD]
        for text, wrong in cluster.table():
            print(text, file=sys.stderr, flush=True)
            notes.append(text)
            problems += wrong
        notes.append("")
    if not names:
        RESULTS.write_text(
            report(rows, count, problems, time.perf_counter() - start, notes), encoding="utf-8"
        )
        print(RESULTS)
    print(*problems, sep="\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
