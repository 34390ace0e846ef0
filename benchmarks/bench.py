"""A line of the table of speeds: what was compared, how it is timed, and what must hold beside the time.

Knows no peer and no input: the rows are in `rows_files.py` and `rows_arrays.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from data import Data
from harness import Command, Launcher, Sample, duration, function, paired, peak, ratio, seconds

OURS = "convcli"
LEVEL = 1.0  # largest difference of 8-bit results: both round


@dataclass(frozen=True)
class Check:
    """Something that must hold beside the time; ``met`` is None for a mere remark."""

    text: str
    met: bool | None = None

    def __str__(self) -> str:
        return self.text if self.met is None else f"{self.text}: {'yes' if self.met else 'NO'}"


@dataclass(frozen=True)
class Line:
    """A line of the table: one peer in one row; without samples the peer could not be timed."""

    row: str
    work: str
    peer: str
    goal: float
    ours: tuple[Sample, ...] = ()
    theirs: tuple[Sample, ...] = ()
    checks: tuple[Check, ...] = ()

    @property
    def ratio(self) -> float | None:
        return ratio(self.theirs, self.ours) if self.theirs else None

    @property
    def met(self) -> bool | None:
        """Whether the goal and every check is met; None where there is no peer to compare with."""
        if self.ratio is None:
            return None
        return self.ratio >= self.goal and all(check.met is not False for check in self.checks)

    def cells(self) -> list[str]:
        memory = (peak(self.ours), peak(self.theirs))
        return [
            self.work,
            self.peer,
            duration(seconds(self.ours) if self.ours else None),
            duration(seconds(self.theirs) if self.theirs else None),
            "-" if self.ratio is None else f"{self.ratio:.2f}",
            f"{self.goal:g}",
            {True: "yes", False: "NO", None: "-"}[self.met],
            " / ".join("-" if bytes_ is None else f"{bytes_ / 1e6:.0f}" for bytes_ in memory),
            "; ".join(map(str, self.checks)),
        ]


HEAD = ("work", "peer", "ours", "peer's", "peer / ours", "goal", "met", "peak MB, ours / peer's", "remarks")


@dataclass(frozen=True)
class Peer:
    """Another tool: a command or a function, or what is missing for it."""

    goal: float
    work: Command | Callable[[], object] | None
    missing: str = "not installed"


@dataclass
class Bench:
    """What rows are given: the inputs, how many runs, and how to time."""

    data: Data
    runs: int
    launcher: Launcher = field(default_factory=Launcher)

    def lines(
        self,
        row: str,
        work: str,
        ours: Command | Callable[[], object],
        peers: Mapping[str, Peer],
        check: Callable[[], Mapping[str, Sequence[Check]]] = dict,
    ) -> Iterator[Line]:
        """Time ours beside the peers, all in turns, then check what came out.

        Parameters
        ----------
        check : callable
            Called when everything has run; for each peer's name what was found.  The name `OURS` is for all.
        """
        present = {name: peer.work for name, peer in peers.items() if peer.work is not None}
        contestants = {name: self._contestant(one) for name, one in {OURS: ours, **present}.items()}
        samples = paired(contestants, self.runs)
        found = check()
        for one in (ours, *present.values()):
            if isinstance(one, Command) and one.output is not None:
                one.output.unlink(missing_ok=True)
        for name, peer in peers.items():
            if peer.work is None:
                yield Line(row, work, f"{name} ({peer.missing})", peer.goal)
                continue
            checks = (*found.get(name, ()), *found.get(OURS, ()))
            yield Line(row, work, name, peer.goal, tuple(samples[OURS]), tuple(samples[name]), checks)

    def _contestant(self, work: Command | Callable[[], object]) -> Callable[[], Sample]:
        return self.launcher.contestant(work) if isinstance(work, Command) else function(work)
