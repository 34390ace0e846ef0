"""How good is the planner's choice? Walks a grid of jobs, times every way to do each, and compares.

A case is a job on an array in memory.  All of its plans are computed in this process with all libraries loaded,
in turns; the choice is right when it takes at most 10 % longer than the quickest.  A shell command also pays for
starting torch, so every case counts twice: *running*, where torch is loaded, and *starting*, where torch's plans are
charged with the import, measured here in fresh processes.

Half of the cases, drawn at random with a fixed seed, may be used to find the cost constants (calibration); the other
half never was (validation).

    python benchmarks/plan_grid.py                       # writes plan_grid.md and .json beside itself
    python benchmarks/plan_grid.py --half calibration    # only the half that constants may be fitted to
    python benchmarks/plan_grid.py --quick               # a few small cases, printed only
    python benchmarks/plan_grid.py --only "grey.*15"     # cases whose name matches
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import product
from pathlib import Path
from statistics import median

import harness
import numpy as np
from data import SEED, folder
from harness import Command, Launcher, duration, function, header, machine, markdown, paired, seconds
from plan_seam import Ways, ways

CLOSE = 1.10  # times the winner's time that still counts as right
GOAL = 0.90  # share of cases
RUNS = 5
PAUSE, ENOUGH = 0.002, 0.1  # seconds: a grid of many small jobs does without the long rests of the table
HOPELESS = 2.0  # times the quickest: a first run slower than this is not repeated
NEVER = 8.0  # times the smallest estimate: not run at all, if it would also take ...
LONG = 0.05  # ... more seconds than this


class Half(StrEnum):
    CALIBRATION = "calibration"
    VALIDATION = "validation"


class Form(StrEnum):
    """What a kernel is like: which algorithms can use it."""

    DENSE = "dense"
    SEPARABLE = "separable"
    BOX = "box"
    TWO_TERMS = "two terms"  # the sum of two separable kernels


@dataclass(frozen=True)
class Case:
    """A job: the sizes of an array, its type, and a kernel."""

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    form: Form
    dtype: str
    colours: int = 1

    @property
    def name(self) -> str:
        colours = "grey" if self.colours == 1 else "RGB"
        what = f" {colours}" if len(self.sizes) == 2 else ""
        sizes = ["×".join(map(str, sizes)) for sizes in (self.sizes, self.kernel)]
        return f"{sizes[0]}{what} {self.dtype}, {sizes[1]} {self.form}"

    @property
    def half(self) -> Half:
        """Drawn by the name, so that new cases do not move the others."""
        draw = random.Random(f"{SEED} {self.name}").random()
        return Half.CALIBRATION if draw < 0.5 else Half.VALIDATION

    @property
    def axes(self) -> str:
        return "TZYX"[-len(self.sizes) :] + ("C" if self.colours > 1 else "")

    def data(self) -> np.ndarray:
        generator = np.random.default_rng(SEED)
        shape = self.sizes if self.colours == 1 else (*self.sizes, self.colours)
        if np.dtype(self.dtype).kind == "f":
            return generator.random(shape).astype(self.dtype)
        return generator.integers(0, np.iinfo(self.dtype).max, shape, dtype=self.dtype, endpoint=True)

    def weights(self) -> np.ndarray:
        """Return the kernel, not negative and of sum 1."""
        generator = np.random.default_rng(SEED)
        if self.form is Form.BOX:
            weights = np.ones(self.kernel)
        elif self.form is Form.DENSE:
            weights = generator.random(self.kernel)
        else:
            weights = np.zeros(self.kernel)
            for _ in range(1 if self.form is Form.SEPARABLE else 2):
                term = np.ones(())
                for size in self.kernel:
                    term = np.multiply.outer(term, generator.random(size))
                weights += term
        return weights / weights.sum()


def grid() -> list[Case]:
    """Return all cases: pictures, signals and volumes."""
    cases = []
    pictures = ((256, 256), (1024, 1024), (3000, 4000))
    for sizes, k, form, dtype in product(
        pictures, (3, 5, 9, 15, 31, 63, 127), (Form.DENSE, Form.SEPARABLE), ("uint8", "float32")
    ):
        cases.append(Case(sizes, (k, k), form, dtype))
    for sizes, k, form in product(pictures, (3, 7, 21, 63), (Form.DENSE, Form.SEPARABLE)):
        cases.append(Case(sizes, (k, k), form, "uint8", colours=3))
    for sizes, k in product(pictures, (3, 9, 31)):
        cases.append(Case(sizes, (k, k), Form.BOX, "uint8"))
        cases.append(Case(sizes, (k, k), Form.TWO_TERMS, "uint8"))
        cases.append(Case(sizes, (k, k), Form.DENSE, "uint16"))
    for sizes, k, form in product(pictures[:2], (3, 9, 31), (Form.DENSE, Form.SEPARABLE)):
        cases.append(Case(sizes, (k, k), form, "float64"))
    for kernel in ((1, 9), (9, 1), (1, 101), (101, 1), (3, 31)):
        cases.append(Case((3000, 4000), kernel, Form.DENSE, "uint8"))
    for length, k, dtype in product((10**4, 10**6, 10**7), (3, 15, 63, 501), ("float32", "float64")):
        cases.append(Case((length,), (k,), Form.DENSE, dtype))
    volumes = ((32, 64, 64), (64, 256, 256))
    bricks = ((2, 3, 3), (3, 3, 3), (5, 5, 5), (9, 9, 9))
    for volume, brick, form in product(volumes, bricks, (Form.DENSE, Form.SEPARABLE)):
        cases.append(Case(volume, brick, form, "float32"))
    return cases


def quick() -> list[Case]:
    """Return a few small cases of every rank."""
    return [
        Case((512, 512), (3, 3), Form.DENSE, "uint8"),
        Case((512, 512), (31, 31), Form.SEPARABLE, "float32"),
        Case((512, 512), (9, 9), Form.BOX, "uint8", colours=3),
        Case((100_000,), (63,), Form.DENSE, "float64"),
        Case((16, 64, 64), (3, 3, 3), Form.DENSE, "float32"),
    ]


@dataclass(frozen=True)
class Outcome:
    """A case, timed: seconds of each plan in a running process, and what was chosen for which situation."""

    case: Case
    times: Mapping[str, float]
    charged: frozenset[str]  # plans that need torch
    chosen: Mapping[str, str]  # situation -> plan

    def costs(self, situation: str, import_torch: float) -> dict[str, float]:
        extra = import_torch if situation == STARTING else 0.0
        return {name: time + extra * (name in self.charged) for name, time in self.times.items()}

    def excess(self, situation: str, import_torch: float) -> float:
        """Return how many times as long as the quickest plan the chosen one takes."""
        costs = self.costs(situation, import_torch)
        return costs[self.chosen[situation]] / min(costs.values())


RUNNING, STARTING = SITUATIONS = ("running", "starting")


def measure(case: Case, runs: int) -> Outcome:
    """Time every plan of a case, those that may win several times in turns."""
    found: Ways = ways(case.data(), case.weights(), case.axes)
    smallest = min(way.estimate for way in found.ways.values())
    contestants: dict[str, Callable[[], object]] = {}
    times: dict[str, float] = {}
    for name, way in found.ways.items():
        chosen = name in found.chosen.values()
        if not chosen and way.estimate > NEVER * smallest and way.estimate > LONG:
            continue
        contestants[name] = way.compute
        times[name] = function(way.compute)().seconds
        if times[name] < LONG:  # the first run loads and starts whatever it needs
            times[name] = function(way.compute)().seconds
    quickest = min(times.values())
    hopeful = {
        name: function(compute)
        for name, compute in contestants.items()
        if times[name] <= HOPELESS * quickest or times[name] < 0.01
    }
    times |= {name: seconds(samples) for name, samples in paired(hopeful, runs).items()}
    charged = frozenset(name for name in times if found.ways[name].torch)
    return Outcome(case, times, charged, found.chosen)


def import_seconds(launcher: Launcher) -> float:
    """Return what importing torch adds to a command."""
    both = {
        "numpy": Command((sys.executable, "-c", "import numpy")),
        "torch": Command((sys.executable, "-c", "import numpy, torch")),
    }
    samples = paired({name: launcher.contestant(command) for name, command in both.items()}, 3)
    return median(t.seconds - n.seconds for t, n in zip(samples["torch"], samples["numpy"], strict=True))


def summary(outcomes: Sequence[Outcome], import_torch: float) -> list[str]:
    """Return how often the choice is right, for each situation and half, as a Markdown table."""
    rows = []
    for situation in SITUATIONS:
        for half in (*Half, None):
            mine = [o.excess(situation, import_torch) for o in outcomes if half in (None, o.case.half)]
            if not mine:
                continue
            right = sum(excess <= CLOSE for excess in mine) / len(mine)
            verdict = "yes" if right >= GOAL else "NO"
            rows.append(
                [situation, half or "all", str(len(mine)), f"{right:.0%}", verdict, f"{max(mine):.2f}"]
            )
    head = ("process", "half", "cases", f"within {CLOSE - 1:.0%}", f"at least {GOAL:.0%}", "worst, times")
    return markdown(head, rows)


def details(outcomes: Sequence[Outcome], import_torch: float) -> Iterator[list[str]]:
    for outcome in outcomes:
        ranked = sorted(outcome.times.items(), key=lambda item: item[1])
        times = ", ".join(f"{name} {duration(time)}" for name, time in ranked)
        cells = [outcome.case.name, outcome.case.half.value, times]
        for situation in SITUATIONS:
            excess = outcome.excess(situation, import_torch)
            cells.append(f"{outcome.chosen[situation]} {excess:.2f}{'' if excess <= CLOSE else ' **!**'}")
        yield cells


def report(outcomes: Sequence[Outcome], import_torch: float, facts: Mapping[str, str]) -> str:
    head = ("case", "half", "measured, quickest first", *(f"chosen, {one}, times" for one in SITUATIONS))
    return "\n".join(
        [
            "# The planner's choice",
            "",
            *header(facts),
            "",
            f"Importing torch: {duration(import_torch)}.",
            "",
            *summary(outcomes, import_torch),
            "",
            *markdown(head, details(outcomes, import_torch)),
            "",
        ]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--half", type=Half, choices=list(Half), help="one half of the cases")
    parser.add_argument("--only", type=re.compile, metavar="REGEX", help="cases whose name matches")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"counted runs of each (default {RUNS})")
    parser.add_argument("--quick", action="store_true", help="a few small cases, one run")
    parser.add_argument("-o", dest="output", type=Path, help="default of a full run: plan_grid.md")
    options = parser.parse_args(arguments)
    cases = quick() if options.quick else grid()
    cases = [case for case in cases if options.half in (None, case.half)]
    cases = [case for case in cases if options.only is None or options.only.search(case.name)]
    if not cases:
        parser.error("no case is left")
    facts = machine(folder())
    launcher = Launcher()
    import_torch = import_seconds(launcher)
    launcher.close()
    import torch  # noqa: F401  # not inside the first case's time

    harness.PAUSE, harness.ENOUGH = PAUSE, ENOUGH

    outcomes = []
    for number, case in enumerate(cases, 1):
        outcomes.append(measure(case, 1 if options.quick else options.runs))
        cells = next(details(outcomes[-1:], import_torch))
        print(f"{number}/{len(cases)}", *cells, sep=" | ", file=sys.stderr, flush=True)
    text = report(outcomes, import_torch, facts)
    print(text)
    whole = not (options.quick or options.half or options.only)
    output = options.output or (Path(__file__).with_name("plan_grid.md") if whole else None)
    if output is not None:
        output.write_text(text, encoding="utf-8")
        content = {"machine": facts, "import torch": import_torch, "outcomes": [_plain(o) for o in outcomes]}
        output.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


def _plain(outcome: Outcome) -> dict[str, object]:
    case = {**asdict(outcome.case), "half": outcome.case.half}
    return {"case": case, "times": dict(outcome.times), "chosen": dict(outcome.chosen)}


if __name__ == "__main__":
    sys.exit(main())
