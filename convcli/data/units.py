"""Units of positions, and how many samples of an axis an amount in one of them is.  Exact numbers, no arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

from convcli.common import UsageError, quoted
from convcli.data.axes import Axis, Even, Positions

_MEASURES = {
    "time": "s=1 sec=1 min=60 h=3600 d=86400 ms=1e-3 us=1e-6 µs=1e-6 μs=1e-6 ns=1e-9",
    "length": "m=1 km=1e3 cm=1e-2 mm=1e-3 um=1e-6 µm=1e-6 μm=1e-6 nm=1e-9 in=.0254 ft=.3048 us-ft=1200/3937",
    "frequency": "Hz=1 kHz=1e3 MHz=1e6",
    "angle": f"deg=1 rad={180 / math.pi}",
}
UNITS: Mapping[str, tuple[str, Fraction]] = {  # what they measure, and how many of its first unit they are
    name: (measure, Fraction(each))
    for measure, units in _MEASURES.items()
    for name, each in (one.split("=") for one in units.split())
}
NO_UNIT = "the times have no unit: seconds are taken for it"
_DEGREE = 111_195  # metres of a degree on a sphere with the mean radius of the Earth
_JITTER = Fraction(3, 2)  # of steps that time stamps of frames may be rounded to


def measure(unit: str) -> str:
    """Return what a unit measures, nothing of one that is unknown; positions without a unit are taken for seconds.

    >>> measure("ms"), measure(""), measure("mm")
    ('time', 'time', 'length')
    """
    return UNITS.get(unit or "s", ("", Fraction(1)))[0]


def converted(amount: Fraction, unit: str, axis: Axis, axes: Sequence[Axis] = ()) -> Fraction:
    """Return an amount in the unit of an axis' positions; positions without a unit are taken for seconds.

    Parameters
    ----------
    axes
        All axes, of which an error about degrees tells the latitude.

    Raises
    ------
    UsageError
        For an unknown unit, an axis without positions, and one that is measured in other units.

    >>> int(converted(Fraction(3), "mm", Axis("X", 9, Even(Fraction(0), Fraction(1), "um"))))
    3000
    """
    name, own = axis.letter.lower(), axis.positions
    if own is None:
        raise UsageError(f"{unit}: the file does not tell how far the samples along {name} lie apart")
    if unit == own.unit:
        return amount
    if unit not in UNITS:
        known = ", ".join(filter(str.isascii, UNITS))
        raise UsageError(f"unit {quoted(unit)} is unknown: known are {known}, and what the file itself has")
    (measure, each), (theirs, own_each) = UNITS[unit], UNITS.get(own.unit or "s", ("", Fraction(1)))
    if measure == "length" and own.unit == "deg" and len(axes) > 1:
        raise UsageError(_of_degrees(amount * each, unit, axes))
    if measure != theirs:
        theirs = f"in {quoted(own.unit)}" if own.unit else "without a unit, for which seconds are taken"
        raise UsageError(f"{unit} measures {measure}, and the positions along {name} are {theirs}")
    return amount * each / own_each


def _of_degrees(metres: Fraction, unit: str, axes: Sequence[Axis]) -> str:
    """Say why a length is no angle, and which angles it is at the latitude of a map's middle."""
    y = next((axis for axis in axes if axis.letter == "Y"), axes[0])
    middle = float(y.positions.at(y.size // 2) or 0) if y.positions else 0.0
    tall = float(metres) / _DEGREE
    degrees = f"{tall:.4g}degx{tall / math.cos(math.radians(middle)):.4g}deg (y, x)"
    return f"{unit} on a map in degrees, whose length depends on the latitude: at {middle:.4g} deg it is {degrees}"


def spacing(positions: Positions) -> Fraction | None:
    """Return the distance of neighbours, None where it varies by more than the rounding of time stamps."""
    if isinstance(positions, Even):
        return abs(positions.spacing)
    if positions.step is not None:
        return abs(positions.step * positions.tick)
    steps, first, last = positions.steps(), positions.at(0), positions.at(len(positions.ticks) - 1)
    if steps is None or first is None or last is None or steps[0] <= 0:
        return None
    if steps[0] == steps[1] or (positions.end is not None and steps[1] < _JITTER * steps[0]):
        return (last - first) / (len(positions.ticks) - 1)
    return None


def samples(amount: Fraction, unit: str, axis: Axis, axes: Sequence[Axis] = ()) -> Fraction:
    """Return how many samples of an axis an amount is; arguments as in `converted`.

    Raises
    ------
    UsageError
        As `converted`, and for samples that are not evenly spaced.

    >>> pixels = Axis("X", 9, Even(Fraction(0), Fraction(1, 300), "in"))
    >>> samples(Fraction(254, 100), "mm", pixels)
    Fraction(30, 1)
    """
    amount = converted(amount, unit, axis, axes)
    assert axis.positions is not None
    step = spacing(axis.positions)
    if step is None:
        name = axis.letter.lower()
        along = "; --along time smooths by their real distances" * (name == "x")
        raise UsageError(f"{unit}: the samples along {name} are not evenly spaced{along}")
    return amount / step
