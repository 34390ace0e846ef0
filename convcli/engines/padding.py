"""Puts beside the data what a kernel sees there, in every padding mode, and changes the type.

The mode says which samples stand where, with which weights; here its answers become copies and sums of slices.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from convcli.engines import tiles
from convcli.geometry.padding import PadMode, Sources


def pad(
    x: np.ndarray,
    ranges: Sequence[tuple[int, int]],
    mode: PadMode,
    value: float = 0.0,
    dtype: DTypeLike | None = None,
) -> np.ndarray:
    """Return the box ``ranges`` of ``x`` and of what lies around it.

    Parameters
    ----------
    x : numpy.ndarray
        Any shape and memory layout.  It is not changed.
    ranges : sequence of (lo, hi)
        One for each of the last ``len(ranges)`` axes, in elements of ``x``; ``lo`` may lie below 0 and ``hi``
        above the size, by any amount, and either may lie inside: then the box is cut out.
    mode : PadMode
        What stands outside.
    value : float
        The fill value of ``constant``; ``zero`` fills with 0.
    dtype : dtype, optional
        Type of the result, converted on the way.

    Returns
    -------
    numpy.ndarray
        In the memory order of ``x``: interleaved pixels stay interleaved.  It is a view of ``x`` when the box
        lies inside and the type stays.

    >>> pad(np.array([[1, 2, 3, 4]], np.uint8), [(-2, 6)], PadMode.REFLECT, dtype=np.float32)
    array([[3., 2., 1., 2., 3., 4., 3., 2.]], dtype=float32)
    """
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    kept = x.ndim - len(ranges)
    inside = [slice(max(lo, 0), max(hi, 0)) for lo, hi in ranges]
    if all(0 <= lo <= hi <= n for (lo, hi), n in zip(ranges, x.shape[kept:], strict=True)):
        cut = x[(*[slice(None)] * kept, *inside)]
        return cut if dtype == x.dtype else np.asarray(cut, dtype)
    with np.errstate(all="ignore"):  # what a narrower type cannot hold becomes infinite
        if all(lo <= 0 and n <= hi for (lo, hi), n in zip(ranges, x.shape[kept:], strict=True)):
            return _around(x, ranges, mode, mode.fill(value), dtype)
        for axis, (lo, hi) in enumerate(ranges, kept):
            # Sums are rounded axis by axis, so that a block never changes a bit
            if (lo, hi) != (0, x.shape[axis]):
                x = _along(x, axis, lo, hi, mode, mode.fill(value), dtype)
    return x


def _around(
    x: np.ndarray, ranges: Sequence[tuple[int, int]], mode: PadMode, fill: float, dtype: np.dtype
) -> np.ndarray:
    """Pad data that lie wholly inside, which are copied once."""
    kept = x.ndim - len(ranges)
    inner = [slice(-lo, n - lo) for (lo, _), n in zip(ranges, x.shape[kept:], strict=True)]
    shape = (*x.shape[:kept], *(hi - lo for lo, hi in ranges))
    out = tiles.empty(shape, tiles.memory_order(x), dtype)
    out[(*[slice(None)] * kept, *inner)] = x
    for axis, (lo, hi) in enumerate(ranges, kept):
        done = (*[slice(None)] * (axis + 1), *inner[axis + 1 - kept :])
        lines = np.moveaxis(out[done], axis, 0)
        n = x.shape[axis]
        _fill(lines, lines[inner[axis - kept]], (range(lo, 0), range(n, hi)), lo, mode, fill)
    return out


def _fill(
    target: np.ndarray, source: np.ndarray, sides: Sequence[range], lo: int, mode: PadMode, fill: float
) -> None:
    """Set what lies outside along the first axis; ``lo`` is where the target begins."""
    for side in sides:
        outside = target[side.start - lo : max(side.stop, side.start) - lo]
        found = [] if mode.fills else [mode.sources(place, len(source)) for place in side]
        if found and all(len(samples) == 1 and samples[0][1] == 1 for samples in found):
            outside[...] = source[[samples[0][0] for samples in found]]
            continue
        outside[...] = fill
        _sum(outside, source, found)


def _sum(target: np.ndarray, source: np.ndarray, places: Sequence[Sources]) -> None:
    """Set each element along the first axis to the sum of weighted samples; without any it stays."""
    for place, sources in enumerate(places):
        total = target[place : place + 1]
        for number, (at, weight) in enumerate(sources):
            samples = source[at : at + 1]
            if weight != 1:
                samples = np.array(weight).astype(target.dtype) * samples.astype(target.dtype)
            total[...] = total + samples if number else samples


def _along(
    x: np.ndarray, axis: int, lo: int, hi: int, mode: PadMode, fill: float, dtype: np.dtype
) -> np.ndarray:
    n = x.shape[axis]
    shape = (*x.shape[:axis], max(hi - lo, 0), *x.shape[axis + 1 :])
    out = tiles.empty(shape, tiles.memory_order(x), dtype)
    source, target = np.moveaxis(x, axis, 0), np.moveaxis(out, axis, 0)
    first, last = min(max(lo, 0), hi), min(hi, n)
    target[first - lo : max(last - lo, 0)] = source[first : max(last, 0)]
    _fill(target, source, (range(lo, first), range(max(last, first), hi)), lo, mode, fill)
    return out
