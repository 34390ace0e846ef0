"""Weighted means of samples by their real distances, where they are not evenly spaced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil, floor

import numpy as np

from convcli.common import Missing, UsageError, quoted, split_unit, to_float, within
from convcli.data.axes import AS_ROWS, UNCLEAR, Axis, Listed
from convcli.data.info import ArraySource, Companions, Source, channels_first
from convcli.data.units import NO_UNIT, converted
from convcli.kernel.parametric import FORMULAS, given

Weight = Callable[[np.ndarray, float], np.ndarray]
# How far they reach, of their width, and the weights of distances
_KINDS: Mapping[str, tuple[Fraction, Weight]] = {
    "box": (Fraction(1, 2), lambda distances, width: np.ones(len(distances))),
    "gaussian": (Fraction(4), lambda distances, sigma: np.exp(-0.5 * (distances / sigma) ** 2)),
}
_PAIRS = 1 << 20  # of an output and a sample, that are weighed at a time


def along(
    source: Source, texts: Sequence[str], missing: Missing, companions: Companions | None, counts: bool
) -> ArraySource:
    """Return signals along X smoothed by kernels in units of their positions, in turn; the weights' sums are 1.

    ``box:W`` takes the samples later than W/2 before an output and not later than W/2 behind it, as
    ``pandas.DataFrame.rolling(W, center=True)`` does; ``gaussian:sigma=S`` those within 4 S.

    Parameters
    ----------
    source : Source
        A table with times.
    texts : sequence of str
    missing : Missing
        With ``error`` missing samples stay missing in their own rows alone: what follows names the first.
    companions : Companions, optional
        Of the result.
    counts : bool
        Whether a channel follows for each channel: how many samples are behind a value of the last kernel.

    Raises
    ------
    UsageError
        For data without such positions, and other kernels.
    """
    info = source.info
    axis = info.axis("X") if not set(info.letters) - set("XC") else None
    if axis is None or not isinstance(axis.positions, Listed):
        hint = "".join(f"; {line}" for line in info.notes if line.startswith(UNCLEAR))
        if axis is not None and axis.positions is not None:
            hint = "; evenly spaced samples take units without it"
        raise UsageError(
            f"--along time is for tables with a column of increasing times, numbers or 2024-03-01T10:00:05{hint}"
        )
    widths = [_width(text, axis) for text in texts]
    values = channels_first(source, "X", info.box).astype(np.float64)
    first = axis.positions.ticks[0] or 0
    ticks = np.array([(tick or 0) - first for tick in axis.positions.ticks])
    numbers = np.zeros(values.shape)
    with np.errstate(invalid="ignore"):
        for name, width in widths:
            values, numbers = _smoothed(values, ticks, axis.positions.tick, name, width, missing)
    found = np.concatenate((values, numbers) if counts else (values,))
    found = found.T if len(found) > 1 else found[0]
    axes = (axis, Axis("C", found.shape[-1]))[: found.ndim]
    found = found.astype("float32" if info.dtype == "float32" else "float64")
    notes = tuple(line for line in info.notes if not line.endswith(AS_ROWS))
    notes += (NO_UNIT,) * (not axis.positions.unit)
    form = replace(info, axes=axes, dtype=found.dtype.name, companions=companions, notes=notes)
    return ArraySource(found, form)


def _width(text: str, axis: Axis) -> tuple[str, Fraction]:
    """Return which kernel a text means, and its size in the unit of an axis."""
    name, _, rest = text.strip().partition(":")
    with within(f"kernel {quoted(text)}"):
        values = list(given(FORMULAS[name], rest.split(",")).values()) if name in _KINDS and rest else []
        amount = split_unit(values[0]) if len(values) == 1 else None
        if amount is None:
            raise UsageError("--along time takes kernels in a unit of time: box:5s, gaussian:sigma=2s")
        width = converted(*amount, axis)
        if width <= 0:
            raise UsageError(f"{values[0]} is not possible: give more than 0")
    return name, width


def _smoothed(
    values: np.ndarray, ticks: np.ndarray, tick: Fraction, name: str, width: Fraction, missing: Missing
) -> tuple[np.ndarray, np.ndarray]:
    """Return means (C, X), and how many samples each has."""
    (part, weigh), n = _KINDS[name], len(ticks)
    reach = min(part * width / tick, Fraction(int(ticks[-1]) + 1))
    before = floor(-reach) + 1 if name == "box" else ceil(-reach)
    starts = np.searchsorted(ticks, ticks + before, "left")
    sizes = np.searchsorted(ticks, ticks + floor(reach), "right") - starts
    means, counts = np.empty(values.shape), np.empty(values.shape)
    ends, first = np.cumsum(sizes), 0
    while first < n:
        last = max(int(np.searchsorted(ends, (ends[first - 1] if first else 0) + _PAIRS, "right")), first + 1)
        size, begin = sizes[first:last], np.cumsum(sizes[first:last]) - sizes[first:last]
        taken = np.repeat(starts[first:last] - begin, size) + np.arange(size.sum())
        distances = (ticks[taken] - np.repeat(ticks[first:last], size)).astype(np.float64) * float(tick)
        found, weights = values[:, taken], weigh(distances, to_float(width))
        there = ~np.isnan(found)
        if missing is not Missing.PROPAGATE:
            found, weights = np.where(there, found, 0), weights * there
        sums = np.add.reduceat(np.broadcast_to(weights, found.shape), begin, axis=1)
        means[:, first:last] = np.add.reduceat(weights * found, begin, axis=1) / sums
        counts[:, first:last] = np.add.reduceat(there, begin, axis=1, dtype=np.float64)
        first = last
    if missing in (Missing.KEEP, Missing.ERROR):
        means[np.isnan(values)] = np.nan
    return means, counts
