"""Puts beside the data what a kernel sees there: one gather for every padding mode, and the change of type.

Which element stands where is `convcli.geometry.padding.source_index`'s to say; here its answers become copies of
whole slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from convcli.engines import tiles
from convcli.geometry.padding import PadMode, source_index

Piece = tuple[
    slice, slice | None
]  # along one axis: where it goes, and where it is from (None: the fill value)

MANY = 4096  # pieces above which it is quicker to pad one axis after the other


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
    pieces: list[list[Piece]] = [[(slice(None), slice(None))]] * kept
    pieces += [_pieces(lo, hi, n, mode) for (lo, hi), n in zip(ranges, x.shape[kept:], strict=True)]
    shape = (*x.shape[:kept], *(max(hi - lo, 0) for lo, hi in ranges))
    fill = value if mode is PadMode.CONSTANT else 0.0

    if dtype == x.dtype and all(len(axis) == 1 and _is_inside(axis[0]) for axis in pieces):
        return x[tuple(source for ((_, source),) in pieces)]
    if prod(map(len, pieces)) > MANY and sum(len(axis) > 1 for axis in pieces) > 1:
        for axis in range(kept, x.ndim):
            one = [(0, n) for n in x.shape[kept:]]
            one[axis - kept] = ranges[axis - kept]
            x = pad(x, one, mode, value, dtype)
        return x
    out = tiles.empty(shape, tiles.memory_order(x), dtype)
    with np.errstate(all="ignore"):  # what a narrower type cannot hold becomes infinite
        for box in product(*pieces):
            target = tuple(where for where, _ in box)
            sources = [source for _, source in box]
            out[target] = fill if None in sources else x[tuple(sources)]
    return out


def _is_inside(piece: Piece) -> bool:
    where, source = piece
    if source is None or source.step is not None:
        return False
    return source == slice(None) or where.stop - where.start == source.stop - source.start


@lru_cache(maxsize=256)  # the blocks of a job ask for the same again and again
def _pieces(lo: int, hi: int, n: int, mode: PadMode) -> list[Piece]:
    """Cut the stretch ``lo:hi`` of an axis of ``n`` elements into pieces that are slices of it."""
    first, last = max(lo, 0), min(hi, n)
    if first >= last:
        return list(_runs(range(lo, hi), lo, n, mode))
    inside = (slice(first - lo, last - lo), slice(first, last))
    before, after = _runs(range(lo, first), lo, n, mode), _runs(range(last, hi), lo, n, mode)
    return [*before, inside, *after]


def _runs(positions: range, origin: int, n: int, mode: PadMode) -> Iterator[Piece]:
    """Yield runs of neighbours whose sources are evenly spaced: rising, falling, or all the same."""
    sources = [source_index(mode, position, n) for position in positions]
    start = 0
    while start < len(sources):
        source, step = sources[start], _step(*sources[start : start + 2])
        stop = start + 1
        while stop < len(sources) and sources[stop] == (
            None if source is None else source + step * (stop - start)
        ):
            stop += 1
        first = positions.start - origin + start
        yield slice(first, first + stop - start), _slice(source, step, stop - start)
        start = stop


def _step(first: int | None, second: int | None = None) -> int:
    return 0 if first is None or second is None else second - first


def _slice(source: int | None, step: int, count: int) -> slice | None:
    if source is None:
        return None
    if step == 0:
        return slice(source, source + 1)  # one element, which numpy spreads over the run
    end = source + step * count
    return slice(source, end if end >= 0 else None, step)
