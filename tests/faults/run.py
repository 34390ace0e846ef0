"""One disturbed run: a place for it, the fault, and everything that must hold afterwards."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.faults import Fault, Place, content, undisturbed
from tests.faults.jobs import Kind, made

SEED = 6


@dataclass(frozen=True)
class Calm:
    """A job that nothing disturbs: its input, its output, its time."""

    kind: Kind
    source: Path
    expected: bytes
    seconds: float
    cold: float  # seconds, with the start of Python


@dataclass(frozen=True)
class Run:
    """What became of a target.

    Attributes
    ----------
    verdict
        absent, old or new; anything else has failed.
    writing
        Whether the fault came while the temporary was there.
    left
        Temporaries that survived.
    problems
        What should not have happened.
    """

    verdict: str
    code: int
    writing: bool
    left: int
    problems: tuple[str, ...]


def calm(kind: Kind, size: int, folder: Path) -> Calm:
    """Run a job undisturbed, with Python's start and twice as a fork; its output must not depend on the run."""
    source = made(kind, size, folder)
    outputs, seconds = set(), {}
    for cold in (True, False, False):
        inside = Path(tempfile.mkdtemp(dir=folder))
        place = Place(kind, inside, source, False, 0, b"", cold)
        start = time.perf_counter()
        if undisturbed(place, inside / f"target{kind.target}"):  # a learned kernel is named so
            raise AssertionError(f"the {kind.name} job fails undisturbed")
        seconds[cold] = time.perf_counter() - start
        outputs.add(content(inside / f"target{kind.target}"))
        shutil.rmtree(inside)
    if len(outputs) > 1:
        raise AssertionError(f"two runs of the {kind.name} job differ: nothing can be said of the others")
    return Calm(kind, source, outputs.pop(), seconds[False], seconds[True])


def disturbed(job: Calm, fault: Fault, number: int) -> Run:
    """Run a job with a fault at the moment that belongs to this number: every fifth with the start of Python."""
    moment = Random(f"{SEED}/{fault.name}/{job.kind.name}/{number}").uniform(0.0, 1.0)
    cold = fault.cold and number % 5 == 0
    folder = Path(tempfile.mkdtemp())
    try:
        seconds, late = job.cold if cold else job.seconds, number % 4 > 1
        place = Place(job.kind, folder, job.source, number % 2 == 0, seconds, job.expected, cold, late)
        if place.old:
            place.make_old()
        place.foreign.write_bytes(b"another's")
        ended = fault.do(place, moment)
        problems = []
        # Python's own last words, before the program has begun.
        early = ended.code != 0 and b"Traceback" in ended.said and b"convcli" not in ended.said
        if ended.code not in fault.codes and not early:
            problems.append(f"exit {ended.code}: {ended.said.decode(errors='replace')[-300:]}")
        lines = [line for line in ended.said.decode(errors="replace").splitlines() if "clipped" not in line]
        if any("Traceback" in line for line in lines) and not early:
            problems.append("a traceback: " + " / ".join(lines)[-300:])
        if (
            ended.code == 1
            and not early
            and sum(line.startswith(("error: ", "note: ")) for line in lines) != 1
        ):
            problems.append(f"{len(lines)} lines: {lines}")
        verdict, left = place.verdict(), len(place.temporaries)
        if verdict not in ("absent", "old", "new"):
            problems.append(f"the target is {verdict}")
        if left and not fault.leaves:
            problems.append(f"left behind: {place.temporaries}")
        if fault.leaves:
            problems += _swept(place, job)
        if place.foreign.read_bytes() != b"another's":
            problems.append("a temporary of another target was touched")
        return Run(verdict, ended.code, ended.writing, left, tuple(problems))
    finally:
        shutil.rmtree(folder)


def _swept(place: Place, job: Calm) -> list[str]:
    """Run the job once more: it must remove what the killed one has left, and only that."""
    problems = [] if undisturbed(place) == 0 else ["the next run fails"]
    if place.temporaries:
        problems.append(f"not removed by the next run: {place.temporaries}")
    if content(place.target) != job.expected:
        problems.append("the next run's target is wrong")
    return problems
