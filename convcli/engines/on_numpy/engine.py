"""The numpy engine: the readable reference, with the compiled loops as its fast path.  It starts fast."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import prod

import numpy as np

from convcli.common import EngineName
from convcli.common.machine import available_threads
from convcli.data import Box, grid, slices
from convcli.engines import shift_and_add, tiles
from convcli.engines.algorithms import NumpyDirect, ways, work_of
from convcli.engines.base import Engine
from convcli.engines.interface import Algorithm, Correlation, Outside
from convcli.engines.native import library, rows
from convcli.engines.on_numpy import sums
from convcli.engines.on_numpy.sums import reduce_windows, windows_of
from convcli.engines.padding import pad
from convcli.geometry.pools import PoolKind
from convcli.pixels.render import Rendering, Tally, render

TAPS = 1 << 18  # elements of whole windows that are pooled at a time
SIDE = 1 << 14  # results of a tile of windows that are put together from parts, at least


class NumpyEngine(Engine):
    """Arithmetic in numpy: the readable reference.

    Parameters
    ----------
    threads : int, optional
        By default as many as the process may use.  Results do not depend on it.
    """

    name, direct = "numpy", NumpyDirect()
    threads: int

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or available_threads()
        self.gave_way = Counter()

    render = staticmethod(render)

    def _ways(self, call: Correlation) -> Sequence[Algorithm]:
        return ways(EngineName.NUMPY, work_of(call))

    def _correlate(self, algorithm: Algorithm, call: Correlation) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are results
            made: np.ndarray = algorithm.run(call)
        return made

    def _pixels(
        self, algorithm: Algorithm, call: Correlation, how: Rendering, out: np.ndarray | None
    ) -> tuple[np.ndarray, Tally]:
        return algorithm.pixels(call, how, out, render)

    def _transpose(self, call: Correlation) -> np.ndarray:
        return sums.shifted(call, shift_and_add.transposed_reach(call))

    def pads(self, kind: PoolKind, data: np.dtype, box: Outside) -> bool:
        is_ranked = kind.fraction is not None and data.itemsize <= 8 and len(box.ranges) <= 3
        return is_ranked and box.mode.stays_in_range and library.loops() is not None

    @np.errstate(all="ignore")  # infinities, and windows of nothing but padding
    def _pool(self, call: Correlation, kind: PoolKind, counts: np.ndarray | None) -> np.ndarray:
        """Reduce windows along one axis after the other where the kind allows it, else whole."""
        x, sizes, size = call.x, call.sizes, call.weights.shape[2:]
        whole, taken = (*x.shape[:2], *sizes), prod(size) if counts is None else counts
        if x.shape[:2] != (1, 1):
            out = None if call.out is None or len(x) > 1 else call.out[0][:, None]
            call = replace(call, x=x.reshape(-1, 1, *x.shape[2:]), out=out)
        if kind.states(np, x[:0]) is not None:
            return put_together(call, kind, np.broadcast_to(taken, whole).reshape(-1, 1, *sizes)).reshape(
                whole
            )
        if not kind.ufunc:
            if counts is not None and counts.ndim > len(sizes):
                counts = np.broadcast_to(counts, whole).reshape(-1, 1, *sizes)
            return windowed(call, kind, prod(size) if counts is None else counts).reshape(whole)
        return kind.finish(reduced(call, kind.ufunc).reshape(whole), taken)


def put_together(call: Correlation, kind: PoolKind, counts: np.ndarray) -> np.ndarray:
    """Return pooled windows of planes that are put together from parts: tile by tile, which stays in the cache."""
    x, size, out = call.x, call.weights.shape[2:], np.empty(counts.shape, call.x.dtype)
    geometry = size, call.stride, call.dilation
    steps = [max(round(SIDE ** (1 / len(size))), extent) for extent in call.extents]

    def work(box: Box) -> None:
        place = (slice(None), slice(None), *slices(box))
        states = kind.states(np, x[(*place[:2], *tiles.inputs(place[2:], *geometry))])
        for axis, (start, stop), *window in zip(range(3, x.ndim + 1), box, *geometry, strict=True):
            states = reduce_windows(partial(_merged, kind, axis), states, axis, stop - start, *window)
        out[place] = kind.finish(kind.merged(np, states, counts[place]), counts[place])

    tiles.run(work, list(grid(call.sizes, steps)), call.threads, out.size * prod(size))
    return out


def _merged(kind: PoolKind, axis: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the states of two parts of windows, merged; an axis has changed places with that of the states."""
    made: np.ndarray = kind.merge(np, a.swapaxes(0, axis), b.swapaxes(0, axis))
    return made.swapaxes(0, axis)


def windowed(call: Correlation, kind: PoolKind, counts: int | np.ndarray) -> np.ndarray:
    """Return the pooled windows of planes, whole: by the loops where they rank them, else by NumPy."""
    taps, dtype = call.weights.size, call.weights.dtype
    shape, geometry = (len(call.x), 1, *call.sizes), (call.weights.shape[2:], call.stride, call.dilation)
    if not isinstance(counts, int) and counts.ndim == len(call.sizes):
        parts = tiles.around(counts == taps)
        if len(parts) > 1:  # most windows are whole, and need but one rank
            out = np.empty(shape, dtype)
            for part in parts:
                box, place = tiles.inputs(part, *geometry), out[(slice(None), slice(None), *part)]
                mine = call.narrowed(call.x[(slice(None), slice(None), *box)], place.shape[2:])
                place[...] = windowed(mine, kind, taps if part is parts[0] else counts[part])
            return out
    found = ranked(call, kind, counts)
    if found is not None:
        return found
    out, seen, around = np.empty(shape, dtype), np.broadcast_to(counts, shape), call.outside
    x = call.x.astype(dtype, copy=False)
    x = x if around is None else pad(x, around.ranges, around.mode, around.value)
    for tile in tiles.cut(shape, tiles.memory_order(x), TAPS // taps):
        block = x[(*tile[:2], *tiles.inputs(tile[2:], *geometry))]
        windows = windows_of(block, *geometry).reshape(*out[tile].shape, -1)
        out[tile] = kind.finish(kind.reduce(np, windows, seen[tile]), seen[tile])
    return out


def ranked(call: Correlation, kind: PoolKind, counts: int | np.ndarray) -> np.ndarray | None:
    """Return windows of planes by the ranks of their samples; None where the loops cannot."""
    x, rank = call.x, len(call.sizes)
    if kind.fraction is None or library.loops() is None or x.itemsize > 8 or rank > 3:
        return None
    *ranks, _ = kind.ranks(counts)
    if isinstance(counts, int):
        wanted = np.array(sorted({int(one) for one in ranks})).reshape(1, -1, *(1,) * rank)
    else:
        wanted = np.concatenate([one.astype(np.int64).reshape(-1, 1, *call.sizes) for one in ranks], 1)
    found, has_nan = rows.ranked(call, wanted)
    if found is None and has_nan:
        found = reduced(replace(call, out=None), "maximum" if wanted.any() else "minimum")
    alone = wanted.shape[1] == 1
    if found is None or (alone and x.dtype.kind != "f"):
        return found
    low, high = (
        found[:, one : one + 1].astype(call.weights.dtype, copy=False) for one in (0, wanted.shape[1] - 1)
    )
    with np.errstate(all="ignore"):
        mixed = low if alone and isinstance(counts, int) else kind.mix(np, low, high, counts)
        if has_nan:
            largest = reduced(replace(call, out=None), "maximum")
            mixed = np.where(np.isnan(largest), largest, mixed)
    return mixed


def reduced(call: Correlation, ufunc: str) -> np.ndarray:
    """Return the windows of each plane, reduced by a NumPy function."""
    if library.loops() is not None and call.x.itemsize <= 8 and len(call.sizes) <= 3:
        return rows.pool(call, ufunc)
    return sums.reduce(replace(call, x=call.x.astype(call.weights.dtype)), getattr(np, ufunc)).copy(order="K")
