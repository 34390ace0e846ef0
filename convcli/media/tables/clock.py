"""The time column of a table: where its rows lie, and whether they are evenly spaced."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import polars as pl

from convcli.common import frozen, number_text
from convcli.data import AS_ROWS, SECOND, UNCLEAR, Listed, measure
from convcli.media.tables.delimited import Cells, is_number, name_of

_UNIT = re.compile(r"[\[(]([^\[\]()]{1,12})[\])]\s*$")  # time [s], t (ms)
_NAMED = re.compile(r"(?i)time|^(t|when|seconds?|epoch)\b")
_DATES = {  # what a date looks like, and what it may mean; none at all is a time of a day
    r"\d{4}([-/.])\d\d?\1\d\d?": "%Y{0}%m{0}%d",
    r"\d\d?([-/])\d\d?\1\d{4}": "%d{0}%m{0}%Y|%m{0}%d{0}%Y",
    r"\d\d?(\.)\d\d?\1\d{4}": "%d.%m.%Y",
    r"\d\d?([- ])[A-Za-z]{3,9}\1\d{4}": "%d{0}%B{0}%Y",
    r"[A-Za-z]{3,9} \d\d?(,?) \d{4}": "%B %d{0} %Y",
    "()": "",
}
_CLOCK = r"(?:(T|,? |)(\d\d?:\d\d)(:\d\d(?:\.\d+)?)?(?:( ?)[AaPp][Mm])?)?"
_UNIX = {"ns": 1e17, "us": 1e14, "ms": 1e11}  # since 1973, and no seconds before the year 5138
_MICROSECOND = Fraction(1, 1_000_000)
_EXACT = 2.0**53  # from here on, doubles are no longer all whole numbers
_ROUNDING = 1e-9  # of the whole span: what computing times in doubles leaves


def increases(values: np.ndarray, name: str) -> bool:
    """Say whether this is a time axis: nothing missing, strictly increasing; under a name of times some may be equal.

    >>> [increases(np.array([0.0, 1.0, 1.0]), name) for name in ("level", "t", "frame time", "x [m]", "x [ms]")]
    [False, True, True, False, True]
    """
    steps, unit = np.diff(values), _UNIT.search(name)
    times = _NAMED.search(name) if unit is None else measure(unit[1]) == "time"
    rising = (steps > 0).all() or (times and (steps >= 0).all())
    return bool(len(values) > 1 and rising and values[0] < values[-1])


@frozen
class Clock:
    """The column that tells when each row was.

    Attributes
    ----------
    column
        Counted from 0.
    positions
        In the unit that the column's name ends in, such as ``time [s]``; an empty unit where it has none.
    """

    column: int
    positions: Listed

    def notes(self, name: str) -> tuple[str, ...]:
        """Return a line where the rows are not evenly spaced in a column of this name: kernels count rows."""
        steps = self.positions.steps() if self.positions.step is None else None
        counts = self.positions.unit in _UNIX and not _UNIT.search(name)
        unix = (f"{name} is taken for Unix time in {self.positions.unit}",) * counts
        if steps is None:
            return unix
        low, high = (number_text(float(f"{float(step):.6g}")) for step in steps)
        unit = "" if _UNIT.search(name) else f" {self.positions.unit}".rstrip()
        return (
            *unix,
            f"the rows are not evenly spaced in {name}: steps from {low} to {high}{unit}; {AS_ROWS}",
        )

    @classmethod
    def of(cls, cells: Cells, column: int, values: np.ndarray) -> Clock:
        """Return what the cells of a column tell; ``values`` are their numbers, increasing."""
        unit, digits = _UNIT.search(name_of(cells.header, column)), _digits(cells.frame[:, column])
        counted = next((one for one, least in _UNIX.items() if values[0] >= least), "")
        positions = listed(values, unit[1] if unit else counted, digits)
        if is_even(values, digits):
            whole = (positions.at(len(values) - 1) or 0) - (positions.at(0) or 0)
            positions = replace(positions, step=Fraction(whole, len(values) - 1) / positions.tick)
        return cls(column, positions)

    @classmethod
    def stamped(cls, column: int, ticks: np.ndarray) -> Clock | None:
        """Return what a column of times tells, in microseconds; None if they fall or are all the same."""
        if (np.diff(ticks) < 0).any() or ticks[-1] == ticks[0]:
            return None
        even = is_even(ticks.astype(np.float64))
        step = Fraction(int(ticks[-1] - ticks[0]), len(ticks) - 1) if even else None
        return cls(column, Listed(tuple(ticks.tolist()), _MICROSECOND, SECOND, step=step))

    @classmethod
    def of_dates(cls, cells: Cells) -> tuple[Clock | None, tuple[str, ...]]:
        """Return what the first column of dates tells that do not fall, and a line where day and month are unclear."""
        for index, cell in enumerate(cells.frame.row(0)):
            if cell is None or is_number(cell) or not (forms := _forms(cell)):
                continue
            column = cells.frame.to_series(index)
            stamps = [stamp for form in forms if (stamp := _stamps(column, form)) is not None]
            found = [one for ticks in stamps if (one := cls.stamped(index, ticks))]
            if len(found) == 2 and (np.diff(stamps[0]) != np.diff(stamps[1])).any():
                return None, (f"{UNCLEAR} {cell}: they tell no times; write 2024-03-01 or 1-Mar-2024",)
            if found:
                return found[0], ()
        return None, ()


def _forms(cell: str) -> list[str]:
    """Return what a cell of a date may be written as: two forms where day and month could be swapped.

    >>> _forms("1/3/2024 5:30 PM"), _forms("2024-03-01")
    (['%d/%m/%Y %I:%M %p', '%m/%d/%Y %I:%M %p'], ['%Y-%m-%d'])
    """
    for date, meanings in _DATES.items():
        if found := re.fullmatch(date + _CLOCK, cell.strip()):
            mark, gap, clock, seconds, half = found.groups()
            hours, half = ("%H", "") if half is None else ("%I", f"{half}%p")
            rest = f"{gap}{hours}:%M{':%S%.f' * bool(seconds)}{half}"
            if meanings or seconds:  # 10:00 may be minutes
                return [one.format(mark) + rest * bool(clock) for one in meanings.split("|")]
    return [""] if re.match(r"\d{4}-\d\d-\d\d", cell) else []  # with a zone: as polars finds it


def _stamps(column: pl.Series, form: str) -> np.ndarray | None:
    """Return the microseconds of dates that are written so; None unless all are."""
    if form and "%Y" not in form:
        column, form = "2000-01-01 " + column, f"%Y-%m-%d {form}"
    text, zone = column.str.strip_chars().str, None if form else "UTC"
    found = text.to_datetime(form or None, time_unit="us", time_zone=zone, strict=False)
    return None if found.null_count() else found.to_physical().to_numpy()


def listed(values: np.ndarray, unit: str, digits: int | None = None) -> Listed:
    """Return the positions that numbers with so many digits behind the point mean; doubles mean what they are.

    >>> listed(np.array([0.1, 0.25, 0.3]), "s", 2).ticks, listed(np.array([0.5, 0.75]), "s").ticks
    ((10, 25, 30), (2, 3))
    """
    if digits is not None and np.abs(values).max() * 10.0**digits < _EXACT:
        ticks = np.rint(values * 10.0**digits).astype(np.int64)
        step = int(ticks[1] - ticks[0])
        even = bool((np.diff(ticks) == step).all())
        places = range(int(ticks[0]), int(ticks[-1]) + 1, step) if even else tuple(ticks.tolist())
        return Listed(places, Fraction(1, 10**digits), unit)
    ratios = [value.as_integer_ratio() for value in values.tolist()]
    parts = max(below for _, below in ratios)  # powers of two: a multiple of all of them
    return Listed(tuple(above * (parts // below) for above, below in ratios), Fraction(1, parts), unit)


def is_even(values: np.ndarray, digits: int | None = None) -> bool:
    """Say whether times are evenly spaced, but for the rounding to so many digits behind the point.

    Rounding never makes a step half as long again as another, unless it is as coarse as the steps: a row is missing.

    >>> is_even(np.array([0.033, 0.067, 0.1, 0.133]), 3), is_even(np.array([0.0, 1.0, 3.0]), 1)
    (True, False)
    """
    steps = np.diff(values)
    even = np.linspace(values[0], values[-1], len(values))
    allowed = _ROUNDING * (values[-1] - values[0]) + (0.0 if digits is None else 10.0**-digits)
    return bool(np.abs(values - even).max() <= allowed and steps.max() < 1.5 * steps.min())


def _digits(cells: pl.Series) -> int | None:
    """Return how many digits are behind the point at most, ``None`` where exponents make it unclear."""
    if cells.str.contains("[eE]").any():
        return None
    behind = cells.str.len_bytes().cast(pl.Int64) - cells.str.find("[.,]") - 1
    return int(str(behind.max() or 0))
