"""Axes that know where they lie: a letter, a size, and the position of each sample.

Exact numbers, no arrays.  Positions survive a window by one rule, `Positions.along`: what a window does to an axis is
told by the place of its first output among the inputs and by the step from one output to the next
(`convcli.geometry.windows.Window.places`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import pairwise

from convcli.common import frozen

SECOND = "s"
INCH = "in"
_FAR = 10**300
UNCLEAR = "the day or the month may come first in dates such as"  # the beginning of a note
AS_ROWS = "they are filtered as rows"  # the end of a note, which is not true of weights by distance


@frozen
class Even:
    """Evenly spaced samples: sample ``i`` lies at ``origin + spacing * i``, outside of the data too.

    Attributes
    ----------
    spacing
        In ``unit``; negative where positions fall.
    unit
        Such as ``s`` or ``in``.
    between
        Whether there are positions between samples, so that an output can lie at the centre of an even window.
    """

    between = True  # not annotated, so no field

    origin: Fraction
    spacing: Fraction
    unit: str

    def at(self, index: int) -> Fraction:
        """Return the position of a sample."""
        return self.origin + self.spacing * index

    def along(self, start: Fraction, jump: Fraction, size: int) -> Even:
        """Return the positions of new samples, at ``start + jump * i`` when counted in the old ones.

        >>> pixels = Even(Fraction(0), Fraction(1, 300), "in")
        >>> pixels.along(Fraction(1, 2), Fraction(2), 100)
        Even(origin=Fraction(1, 600), spacing=Fraction(1, 150), unit='in')
        """
        return Even(self.origin + start * self.spacing, jump * self.spacing, self.unit)

    def steps(self) -> tuple[Fraction, Fraction]:
        """Return the smallest and the largest step between neighbours."""
        return self.spacing, self.spacing


@frozen
class Listed:
    """Samples at listed positions: sample ``i`` lies at ``ticks[i] * tick``.

    Attributes
    ----------
    ticks
        Whole numbers, maybe a range; ``None`` for a sample that lies on none of the list, such as one computed from
        padding alone.
    tick
        In ``unit``.
    end
        Where the last sample ends, in ticks: how long the last frame of a clip is shown.  ``None`` where positions are
        instants.
    step
        Ticks from one sample to the next where they are evenly spaced but for rounding: samples outside of the list lie
        so far apart.  ``None`` where they are not, and nothing lies outside.
    between
        As in `Even`: there is nothing between samples, and an output lies at the sample under the kernel's origin.
    """

    between = False  # not annotated, so no field

    ticks: Sequence[int | None]
    tick: Fraction
    unit: str
    end: int | None = None
    step: Fraction | None = None

    def at(self, index: int) -> Fraction | None:
        """Return the position of a sample, ``None`` where there is none."""
        tick = self._tick(Fraction(index))
        return None if tick is None else tick * self.tick

    def along(self, start: Fraction, jump: Fraction, size: int) -> Listed:
        """Return the positions of new samples, at ``start + jump * i`` when counted in the old ones.

        A new sample that lies between two of the list has no position.

        >>> times = Listed((0, 10, 25), Fraction(1, 100), "s", end=40)
        >>> times.along(Fraction(-1), Fraction(2), 3)
        Listed(ticks=(None, 10, None), tick=Fraction(1, 100), unit='s', end=None, step=None)
        >>> times.along(Fraction(0), Fraction(2), 2).ticks
        (0, 25)
        >>> Listed((7, 9), Fraction(1), "s", step=Fraction(2)).along(Fraction(-1), Fraction(1), 4).ticks
        (5, 7, 9, 11)
        """
        ticks: Sequence[int | None]
        if start.denominator == jump.denominator == 1:
            ticks = self._strided(int(start), int(jump), size)
        else:
            ticks = tuple(self._tick(start + jump * index) for index in range(size))
        end = self._end(start + jump * size) if ticks and ticks[-1] is not None else None
        return Listed(ticks, self.tick, self.unit, end, self.step and self.step * jump)

    def _strided(self, start: int, jump: int, size: int) -> Sequence[int | None]:
        before = min(max(-(start // jump), 0), size)  # new samples before the list
        inside = self.ticks[start + before * jump :: jump][: size - before]
        outside = [*range(before), *range(before + len(inside), size)]
        if not outside:
            return inside
        ends = [self._tick(Fraction(start + jump * index)) for index in outside]
        return (*ends[:before], *inside, *ends[before:])

    def _tick(self, place: Fraction) -> int | None:
        if place.denominator != 1:
            return None
        nearest = min(max(int(place), 0), len(self.ticks) - 1)
        if place == nearest:
            return self.ticks[nearest]
        end = None if self.step is None else self.ticks[nearest]
        return None if end is None or self.step is None else end + round((place - nearest) * self.step)

    def _end(self, place: Fraction) -> int | None:
        """Return where a last sample ends if the next one would lie at a place."""
        return self.end if place >= len(self.ticks) else self._tick(place)

    def steps(self) -> tuple[Fraction, Fraction] | None:
        """Return the smallest and the largest step between neighbours, ``None`` where there are no two."""
        known = [b - a for a, b in pairwise(self.ticks) if a is not None and b is not None]
        return (min(known) * self.tick, max(known) * self.tick) if known else None


Positions = Even | Listed


def at_rate(rate: Fraction) -> Even:
    """Return positions in time of samples that come at a rate, in hertz."""
    return Even(Fraction(0), 1 / rate, SECOND)


@frozen
class Axis:
    """One dimension of an array.

    Attributes
    ----------
    letter
        ``T`` time, ``Z``, ``Y``, ``X`` space, ``C`` channels, ``M`` maps, ``N`` independent items.
    positions
        ``None`` where nobody knows, and for positions or steps that floats do not hold: they are mistakes.
    """

    letter: str
    size: int
    positions: Positions | None = None

    def __post_init__(self) -> None:
        """Leave out positions that are mistakes."""
        if self.positions is not None and self.size:
            numbers = [self.positions.at(0), self.positions.at(self.size - 1)]
            if isinstance(self.positions, Even) and (step := self.positions.spacing):
                numbers += [step, 1 / step]
            if any(one is not None and abs(one) > _FAR for one in numbers):
                self.__dict__["positions"] = None

    @property
    def facts(self) -> dict[str, object]:
        """The axis for a program; a spacing that varies is a pair, the smallest and the largest."""
        facts: dict[str, object] = {"letter": self.letter, "size": self.size}
        if self.positions is not None:
            first, steps = self.positions.at(0), self.positions.steps()
            facts |= {"unit": self.positions.unit, "first": None if first is None else float(first)}
            if steps is not None:
                low, high = map(float, steps)
                facts["spacing"] = low if low == high else [low, high]
        return facts

    def along(self, start: Fraction, jump: Fraction, size: int) -> Axis:
        """Return the axis of new samples; arguments as in `Even.along`."""
        return Axis(self.letter, size, self.positions and self.positions.along(start, jump, size))


def space_of(rank: int, letters: str) -> str:
    """Return the letters of a layer's axes of space: the input's, or others where unflatten made more or fewer.

    >>> space_of(2, "YX"), space_of(2, "X")
    ('YX', 'YX')
    """
    return letters if rank == len(letters) else "ZYX"[3 - rank :]


def axes_of(letters: str, sizes: Iterable[int]) -> tuple[Axis, ...]:
    """Return axes without known positions.

    >>> [axis.size for axis in axes_of("YX", (3, 4))]
    [3, 4]
    """
    return tuple(Axis(letter, size) for letter, size in zip(letters, sizes, strict=True))
