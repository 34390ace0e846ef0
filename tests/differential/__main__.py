"""`make differential`: two thousand jobs against the oracle; writes `results.md` beside this file.

Most run in this program's own processes, for the start of Python and torch would take nearly all of the time; one
in `SHELL` goes through the shell.  One job is repeated by its number: `python -m tests.differential 1234`.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.differential.check import DifferenceError, Outcome, check, engines_agree
from tests.differential.jobs import KINDS, SEED, Job, job

JOBS, SHELL = 2000, 10
RESULTS = Path(__file__).with_name("results.md")


@dataclass(frozen=True)
class Done:
    """What became of one job."""

    number: int
    shell: bool
    outcome: Outcome | None
    between: tuple[int, int] = (0, 0)  # values that both engines made, and how many differ
    failure: str = ""


def perform(number: int) -> Done:
    made, shell = job(number), number % SHELL == 0
    with tempfile.TemporaryDirectory() as folder:
        try:
            outcome = check(made, Path(folder), shell)
            both = made.kind.dtype == "uint8" and not made.floats
            between = engines_agree(made, Path(folder)) if both else (0, 0)
        except DifferenceError as error:
            return Done(number, shell, None, failure=str(error))
    return Done(number, shell, outcome, between)


def counts(jobs: Iterable[Job], *ways: tuple[str, Callable[[Job], object]]) -> list[str]:
    """Return one line for each way to sort the jobs."""
    lines = []
    made = list(jobs)
    for name, key in ways:
        found = Counter(str(key(one)) for one in made)
        lines.append(f"- {name}: " + ", ".join(f"{what} {n}" for what, n in sorted(found.items())))
    return lines


def report(done: list[Done], seconds: float) -> str:
    rows = []
    for kind in KINDS:
        mine = [one for one in done if job(one.number).kind is kind]
        outcomes = [one.outcome for one in mine if one.outcome]
        rows.append(
            f"| {kind.name} | {len(mine)} | {sum(one.shell for one in mine)} "
            f"| {sum(outcome.values for outcome in outcomes)} | {sum(outcome.off for outcome in outcomes)} "
            f"| {max((outcome.error for outcome in outcomes), default=0):.3f} | {len(mine) - len(outcomes)} |"
        )
    values, apart = (sum(one.between[index] for one in done) for index in (0, 1))
    both = sum(one.between[0] > 0 for one in done)
    failures = [one.failure for one in done if one.failure]
    shell = sum(one.shell for one in done)
    return "\n".join([
        "# Random jobs against scipy and torch in float64",
        "",
        f"`make differential` writes this table: {len(done)} jobs with seed {SEED}, {shell} of them through the "
        f"shell and the others",
        f"through the command line's `run()` in one process; {len(failures)} differ; {seconds:.0f} seconds.",
        "",
        "Expected values come from `tests/differential/oracle.py`, which imports nothing of convcli: padding by",
        "numpy, correlation by scipy and again by torch, both in float64, then black, white and rounding half to even.",
        "Floats may be off by the algorithms' stated bound (1e-5, in float64 1e-13, of the kernel's absolute sum times",
        "the largest input); pixels must be the rounded value, or its neighbour where the value lies within the larger",
        "of 1e-3 and that bound of a half.",
        "",
        "| input | jobs | shell | values | other side of a half | largest error / bound | differ |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"Both engines on the {both} jobs that give 8 bits: {apart} of {values} values differ, by one each and each",
        "within that distance of a half.",
        "",
        "What the jobs are made of:",
        "",
        *counts(
            (job(one.number) for one in done),
            ("engine", lambda one: one.engine),
            ("kernel", lambda one: "a bank in a file" if one.kernel_text is None
             else one.kernel_text.partition(":")[0] if ":" in one.kernel_text else "weights"),
            ("rank", lambda one: one.bank.ndim - 2),
            ("pad mode", lambda one: one.geometry.mode),
            ("padding, first axis", lambda one: one.geometry.padding[0]
             if isinstance(one.geometry.padding[0], str) else "numbers"),
            ("stride, first axis", lambda one: one.geometry.stride[0]),
            ("dilation, first axis", lambda one: one.geometry.dilation[0]),
            ("range", lambda one: one.policy or "default"),
            ("flip", lambda one: one.flip),
        ),
        "",
        *(["## Differences", ""] if failures else []),
        *(f"```text\n{failure}\n```\n" for failure in failures[:20]),
    ])  # fmt: skip


def main(arguments: list[str]) -> int:
    start = time.perf_counter()
    numbers = [int(text) for text in arguments] or range(JOBS)
    with ProcessPoolExecutor(int(os.environ.get("WORKERS", "2"))) as pool:
        done = list(pool.map(perform, numbers, chunksize=20))
    for one in done:
        if one.failure:
            print(one.failure, file=sys.stderr)
    if not arguments:
        RESULTS.write_text(report(done, time.perf_counter() - start), encoding="utf-8")
        print(RESULTS)
    return 1 if any(one.failure for one in done) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
