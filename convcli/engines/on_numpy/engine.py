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
from functools import cache
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.common.machine import available_threads
from convcli.engines import shift_and_add, tiles
from convcli.engines.algorithms import NumpyDirect
from convcli.engines.base import pool_sizes, prepared, transposed_sizes
from convcli.engines.interface import Algorithm, Correlation
from convcli.engines.on_numpy.sums import TILE, shifted
from convcli.engines.padding import pad
from convcli.engines.reductions import fold_windows, windows_of
from convcli.geometry.pools import PoolKind
from convcli.pixels.render import Rendering, Tally, render

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

DIRECT = NumpyDirect()
ONE_THREAD = "OPENBLAS_NUM_THREADS"
TAPS = 1 << 18  # elements of whole windows that are pooled at a time
STRIP = 1 << 21  # bytes of a strip on its way to pixels: smaller ones contend for Python's lock (measured)
HALOS = 4  # a strip is at least so many kernels high


class NumpyEngine:
    """Shift and add; the interface is described in `convcli.engines.base.Engine`.

    Parameters
    ----------
    threads : int, optional
        By default as many as the process may use.  Results do not depend on it.
    """

    name = "numpy"

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

    def takes(
        self, algorithm: Algorithm | None, data: np.dtype, weights: np.ndarray, fill: float, rendered: bool
    ) -> np.dtype | None:
        """Return 16 bits for bytes that are added up without rounding."""
        return (algorithm or DIRECT).takes(data, weights, fill, rendered)

    def pixels(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        algorithm: Algorithm | None,
        how: Rendering,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Tally]:
        """Return the cross-correlation as pixels, strip by strip along the first space axis."""
        sizes = pool_sizes(x, weights.shape[2:], stride, dilation)
        extent = dilation[0] * (weights.shape[2] - 1) + 1
        row = prod(sizes[1:]) * len(x) * len(weights) * x.itemsize
        rows = max(STRIP // max(row, 1), HALOS * extent // stride[0], 1)
        if out is None:
            order = tiles.planar(tiles.memory_order(x))
            out = tiles.empty((len(x), len(weights), *sizes), order, np.dtype(how.dtype))
        tally = Tally()
        rows = tiles.even(sizes[0], rows)
        for start in range(0, sizes[0], rows):
            stop = min(start + rows, sizes[0])
            part = x[:, :, start * stride[0] : (stop - 1) * stride[0] + extent]
            chosen, call = self._prepared(algorithm, part, weights, stride, dilation, finite=True)
            place = out[:, :, start:stop]
            made, counted = chosen.pixels(call, how, place)
            if made is not place:
                place[...] = made
            tally.add(counted)
        return out, tally

    def correlate(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int = 1,
        finite: bool = False,
        algorithm: Algorithm | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the valid cross-correlation, ``(N, O, *sizes)``."""
        chosen, call = self._prepared(algorithm, x, weights, stride, dilation, groups, finite, out=out)
        made: np.ndarray = chosen.run(call)
        return made

    def _prepared(
        self, algorithm: Algorithm | None, *arguments: Any, **more: Any
    ) -> tuple[Algorithm, Correlation]:
        return prepared(algorithm or DIRECT, DIRECT, *arguments, threads=self.threads, **more)

    def transpose(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int = 1,
        finite: bool = False,
    ) -> np.ndarray:
        """Return the transposed convolution, ``(N, O, *sizes)``, nothing cropped."""
        sizes = transposed_sizes(x, weights, stride, dilation, groups)
        reach = shift_and_add.transposed_reach(stride, dilation, x.shape[2:])
        call = Correlation(
            x, weights, sizes, tuple(stride), tuple(dilation), groups, finite, threads=self.threads
        )
        return shifted(call, reach)

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

        def work(tile: tiles.Slices) -> None:
            windows = list(zip(tile[2:], size, stride, dilation, strict=True))
            block = x[(*tile[:2], *tiles.inputs(tile[2:], size, stride, dilation))]
            if not kind.ufunc:
                taps = windows_of(block, size, stride, dilation).reshape(*out[tile].shape, -1)
                out[tile] = kind.reduce(np, taps, prod(size) if counts is None else counts[tile[2:]])
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
