"""Puts beside the data what a kernel sees there: one gather for every padding mode, and the change of type.

The mode says which samples stand where, with which weights; here its answers become copies and sums of whole
slices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import DTypeLike

from convcli.engines import tiles
from convcli.geometry.padding import PadMode, Sources

Term = tuple[slice, int]  # samples along one axis, and their weight
Piece = tuple[slice, tuple[Term, ...]]  # where it goes, and what is added up there (nothing: the fill value)

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
    pieces: list[list[Piece]] = [[(slice(None), ((slice(None), 1),))]] * kept
    pieces += [_pieces(lo, hi, n, mode) for (lo, hi), n in zip(ranges, x.shape[kept:], strict=True)]
    shape = (*x.shape[:kept], *(max(hi - lo, 0) for lo, hi in ranges))
    fill = mode.fill(value)

    padded = sum(len(axis) != 1 or not _is_inside(axis[0]) for axis in pieces)
    if dtype == x.dtype and not padded:
        return x[tuple(terms[0][0] for ((_, terms),) in pieces)]
    # Sums are rounded, so that they are made axis by axis whatever the block: a block never changes a bit.
    if padded > 1 and all(pieces) and (not mode.stays_in_range or prod(map(len, pieces)) > MANY):
        for axis in range(kept, x.ndim):
            one = [(0, n) for n in x.shape[kept:]]
            one[axis - kept] = ranges[axis - kept]
            x = pad(x, one, mode, value, dtype)
        return x
    out = tiles.empty(shape, tiles.memory_order(x), dtype)
    with np.errstate(all="ignore"):  # what a narrower type cannot hold becomes infinite
        for box in product(*pieces):
            target = tuple(where for where, _ in box)
            for number, terms in enumerate(product(*(terms for _, terms in box))):
                samples, weight = x[tuple(source for source, _ in terms)], prod(w for _, w in terms)
                if weight != 1:
                    samples = np.array(weight).astype(dtype) * samples.astype(dtype, copy=False)
                out[target] = out[target] + samples if number else samples
            if not all(terms for _, terms in box):
                out[target] = fill
    return out


def _is_inside(piece: Piece) -> bool:
    where, terms = piece
    if len(terms) != 1 or terms[0][1] != 1 or terms[0][0].step is not None:
        return False
    source = terms[0][0]
    return source == slice(None) or where.stop - where.start == source.stop - source.start


@lru_cache(maxsize=256)  # the blocks of a job ask for the same again and again
def _pieces(lo: int, hi: int, n: int, mode: PadMode) -> list[Piece]:
    """Cut the stretch ``lo:hi`` of an axis of ``n`` elements into pieces that are slices of it."""
    first, last = max(lo, 0), min(hi, n)
    if first >= last:
        return list(_runs(range(lo, hi), lo, n, mode))
    inside = (slice(first - lo, last - lo), ((slice(first, last), 1),))
    before, after = _runs(range(lo, first), lo, n, mode), _runs(range(last, hi), lo, n, mode)
    return [*before, inside, *after]


def _runs(positions: range, origin: int, n: int, mode: PadMode) -> Iterator[Piece]:
    """Yield runs of neighbours whose sources are evenly spaced, each of them rising, falling, or all the same."""
    sources = [mode.sources(position, n) for position in positions]
    start = 0
    while start < len(sources):
        first = sources[start]
        steps = _steps(first, *sources[start + 1 : start + 2])
        stop = start + 1
        while stop < len(sources) and sources[stop] == tuple(
            (source + step * (stop - start), weight)
            for (source, weight), step in zip(first, steps, strict=True)
        ):
            stop += 1
        place = positions.start - origin + start
        terms = zip(first, steps, strict=True)
        yield (
            slice(place, place + stop - start),
            tuple((_slice(source, step, stop - start), weight) for (source, weight), step in terms),
        )
        start = stop


def _steps(first: Sources, second: Sources = ()) -> list[int]:
    """Return how far apart the sources of two neighbours lie; 0 where these are no such run."""
    if len(first) != len(second):
        return [0] * len(first)
    return [after - before for (before, _), (after, _) in zip(first, second, strict=True)]


def _slice(source: int, step: int, count: int) -> slice:
    if step == 0:
        return slice(source, source + 1)  # one element, which numpy spreads over the run
    end = source + step * count
    return slice(source, end if end >= 0 else None, step)
