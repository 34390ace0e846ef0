"""The readable reference: sums of shifted arrays.  It starts fast and needs nothing but numpy.

Every output element is computed by the same operations in the same order whatever the shape of the block it
lies in, so cutting the work differently cannot change a result by a single bit.

How it is fast all the same: the output is cut into tiles that stay in the processor's cache while all taps
are added up; arrays keep the memory order of their input, so that numpy's inner loops are long; numpy releases
the interpreter's lock, so that threads can share the tiles (`convcli.engines.tiles`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.common.machine import available_threads
from convcli.engines import shift_and_add, tiles
from convcli.engines.algorithms import NumpyDirect
from convcli.engines.base import Engine, pool_sizes
from convcli.engines.interface import Algorithm, Correlation
from convcli.engines.on_numpy.sums import TILE, shifted
from convcli.engines.padding import pad
from convcli.engines.reductions import fold_windows, windows_of
from convcli.geometry.pools import PoolKind
from convcli.pixels.render import Rendering, Tally, render

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

ONE_THREAD = "OPENBLAS_NUM_THREADS"
TAPS = 1 << 18  # elements of whole windows that are pooled at a time
STRIP = 1 << 21  # bytes of a strip on its way to pixels: smaller ones contend for Python's lock (measured)
HALOS = 4  # a strip is at least so many kernels high


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

    def __enter__(self) -> NumpyEngine:
        self._limited = _one_thread()
        self._limited.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        self._limited.__exit__(None, None, None)

    pad = staticmethod(pad)
    render = staticmethod(render)

    def _correlate(self, algorithm: Algorithm, call: Correlation) -> np.ndarray:
        made: np.ndarray = algorithm.run(call)
        return made

    def _pixels(
        self, algorithm: Algorithm, call: Correlation, how: Rendering, out: np.ndarray | None
    ) -> tuple[np.ndarray, Tally]:
        """Return the cross-correlation as pixels, strip by strip along the first space axis."""
        (length, *others), step = call.sizes, call.stride[0]
        extent = call.dilation[0] * (call.weights.shape[2] - 1) + 1
        maps = (len(call.x), len(call.weights))
        row = prod(others) * prod(maps) * call.x.itemsize
        rows = tiles.even(length, max(STRIP // max(row, 1), HALOS * extent // step, 1))
        if out is None:
            order = tiles.planar(tiles.memory_order(call.x))
            out = tiles.empty((*maps, *call.sizes), order, np.dtype(how.dtype))
        tally = Tally()
        for start in range(0, length, rows):
            stop = min(start + rows, length)
            part = call.x[:, :, start * step : (stop - 1) * step + extent]
            place = out[:, :, start:stop]
            made, counted = algorithm.pixels(replace(call, x=part, sizes=place.shape[2:]), how, place, render)
            if made is not place:
                place[...] = made
            tally.add(counted)
        return out, tally

    def _transpose(self, call: Correlation) -> np.ndarray:
        return shifted(call, shift_and_add.transposed_reach(call.stride, call.dilation, call.x.shape[2:]))

    def pool(
        self,
        x: np.ndarray,
        kind: PoolKind,
        size: Sequence[int],
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        counts: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the pooled windows: one axis folded after the other where the kind allows it, else each whole."""
        sizes = pool_sizes(x, size, stride, dilation)
        x = tiles.with_long_runs(x, stride)
        order = tiles.memory_order(x)
        out = tiles.empty((*x.shape[:2], *sizes), order, x.dtype)
        seen = None if counts is None else np.broadcast_to(counts, out.shape)

        def work(tile: tiles.Slices) -> None:
            windows = list(zip(tile[2:], size, stride, dilation, strict=True))
            block = x[(*tile[:2], *tiles.inputs(tile[2:], size, stride, dilation))]
            if not kind.ufunc:
                taps = windows_of(block, size, stride, dilation).reshape(*out[tile].shape, -1)
                out[tile] = kind.reduce(np, taps, prod(size) if seen is None else seen[tile])
                return
            block = block.transpose(order)
            for axis, (outputs, *window) in enumerate(windows, start=2):
                count = outputs.stop - outputs.start
                block = fold_windows(getattr(np, kind.ufunc), block, order.index(axis), count, *window)
            out[tile].transpose(order)[...] = block

        elements = TILE * max(size) // prod(stride) if kind.ufunc else TAPS // prod(size)
        passes = len(size) if kind.ufunc else prod(size)
        tiles.run(work, tiles.cut(out.shape, order, elements), self.threads, operations=x.size * passes)
        with np.errstate(invalid="ignore"):  # a window of nothing but padding
            return kind.finish(out, prod(size) if counts is None else counts)

    def max_positions(
        self, x: np.ndarray, size: Sequence[int], *, stride: Sequence[int], dilation: Sequence[int]
    ) -> np.ndarray:
        """Return where each window's maximum lies: int64 ``(N, C, *sizes)``, the first of equal ones."""
        sizes = pool_sizes(x, size, stride, dilation)
        numbers = np.arange(prod(x.shape[2:])).reshape(x.shape[2:])
        best = np.empty(0, x.dtype)
        found = np.empty(0, np.int64)
        for index in np.ndindex(*size):
            axes = zip(index, sizes, stride, dilation, strict=True)
            taken: tuple[Any, ...] = tuple(slice(t * d, t * d + (n - 1) * s + 1, s) for t, n, s, d in axes)
            value, position = x[(..., *taken)], numbers[taken]
            if not any(index):  # the first of all
                best, found = value, np.broadcast_to(position, value.shape).copy()
                continue
            better = (value > best) | (np.isnan(value) & ~np.isnan(best))
            best = np.where(better, value, best)
            found = np.where(better, position, found)
        return found


def _one_thread() -> AbstractContextManager[object]:
    """Return a context in which numpy's products take one core: the cores are shared by blocks.

    The same as the environment's ``OPENBLAS_NUM_THREADS=1``, which is quicker where numpy is not loaded yet.
    """
    return (
        nullcontext() if os.environ.get(ONE_THREAD) == "1" else _controller().limit(limits=1, user_api="blas")
    )


@cache
def _controller() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
