"""The readable reference: sums of shifted arrays.  It starts fast and needs nothing but numpy.

Every output element is computed by the same operations in the same order whatever the shape of the block it
lies in, so cutting the work differently cannot change a result by a single bit.

How it is quick all the same: the output is cut into tiles that stay in the processor's cache while all taps
are added up; arrays keep the memory order of their input, so that numpy's inner loops are long; numpy releases
the interpreter's lock, so that threads can share the tiles (`convcli.engines.tiles`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from convcli.common.machine import available_threads
from convcli.engines import fft, shift_and_add, tiles, toeplitz
from convcli.engines.base import all_finite, correlation_sizes, pool_sizes, transposed_sizes
from convcli.engines.on_numpy import integer_sums
from convcli.engines.on_numpy.products import NumpyProducts, one_thread
from convcli.engines.padding import pad
from convcli.engines.reductions import fold_windows, windows_of
from convcli.geometry.pools import PoolKind
from convcli.geometry.windows import Window
from convcli.kernel.separable import separable_terms
from convcli.pixels.render import Rendering, Tally, render
from convcli.plan.algorithms import Algorithm

FOLD_TILE = 1 << 16  # elements of shared partial sums, of which several are held at a time (measured)
TAPS = 1 << 18  # elements of whole windows that are pooled at a time
TILE = 1 << 17  # elements: a tile, its temporary and its input share a 2 MiB cache (measured)
PRODUCTS = NumpyProducts()
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
        self._limited = one_thread()
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
        return integer_sums.type_of(algorithm, data, weights, fill)

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
        exact = x.dtype == integer_sums.COUNT and algorithm is Algorithm.WHOLE and how.keeps_bytes
        exact = exact and integer_sums.averages(weights)
        rows = tiles.even(sizes[0], rows)
        for start in range(0, sizes[0], rows):
            stop = min(start + rows, sizes[0])
            part = x[:, :, start * stride[0] : (stop - 1) * stride[0] + extent]
            if exact:
                place = out[:, :, start:stop]
                integer_sums.means(part, weights, stride, dilation, self.threads, place)
                tally.values += place.size
                continue
            values = self.correlate(
                part, weights, stride=stride, dilation=dilation, finite=True, algorithm=algorithm
            )
            out[:, :, start:stop], counted = render(values, how)
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
        """Return the valid cross-correlation, ``(N, O, *sizes)``.

        All algorithms leave NaN and infinities where they belong by themselves.
        """
        if algorithm is Algorithm.WHOLE:
            return integer_sums.correlate(x, weights, stride, dilation, self.threads)
        if algorithm is Algorithm.BOX and x.dtype == integer_sums.COUNT:
            return integer_sums.box(x, weights, stride, dilation)
        sizes = correlation_sizes(x, weights, stride, dilation, groups)
        if algorithm is Algorithm.BOX:
            return self._box(x, weights, stride, dilation)
        if algorithm is Algorithm.SEPARABLE:
            return self._separable(x, weights, stride, dilation)
        if algorithm is Algorithm.BANDS and (finite or all_finite(x)):
            return toeplitz.by_bands(PRODUCTS, x, weights, dilation)
        if algorithm is Algorithm.TOEPLITZ and (finite or all_finite(x)):
            return toeplitz.by_products(PRODUCTS, x, weights, dilation, out)
        if algorithm is Algorithm.FFT and (finite or all_finite(x)):
            if out is None:
                out = tiles.empty((len(x), len(weights), *sizes), tiles.memory_order(x), x.dtype)
            fft.correlate(np.fft, x, *fft.spectra(weights, dilation, x.shape[2:]), out)
            return out
        reach = shift_and_add.correlation_reach(stride, dilation)
        return self._shift_and_add(x, weights, sizes, stride, groups, finite, reach, out)

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
        return self._shift_and_add(x, weights, sizes, stride, groups, finite, reach)

    def _box(
        self, x: np.ndarray, weights: np.ndarray, stride: Sequence[int], dilation: Sequence[int]
    ) -> np.ndarray:
        """Correlate each channel with one even kernel: sums that share their parts, then one product."""
        x = tiles.with_long_runs(x, stride)
        for axis, (size, step, gap) in enumerate(zip(weights.shape[2:], stride, dilation, strict=True), 2):
            if (size, step) != (1, 1):
                x = self._sums(x, axis, size, step, gap)
        with np.errstate(all="ignore"):
            return np.multiply(x, weights.flat[0])

    def _sums(self, x: np.ndarray, axis: int, size: int, stride: int, dilation: int) -> np.ndarray:
        """Return the sums of all windows along one axis, which no tile cuts: its parts are shared by many."""
        shape = list(x.shape)
        shape[axis] = Window(size, stride, dilation).output_size(shape[axis])
        order = tiles.memory_order(x)
        out = tiles.empty(shape, order, x.dtype)
        place = order.index(axis)

        def work(tile: tiles.Slices) -> None:
            tile = (*tile[:axis], slice(None), *tile[axis + 1 :])
            block = x[tile].transpose(order)
            out[tile].transpose(order)[...] = fold_windows(
                np.add, block, place, shape[axis], size, stride, dilation
            )

        others = (*shape[:axis], 1, *shape[axis + 1 :])
        cut = tiles.cut(others, order, FOLD_TILE // x.shape[axis])
        tiles.run(work, cut, self.threads, operations=x.size * size.bit_length())
        return out

    def _separable(
        self, x: np.ndarray, weights: np.ndarray, stride: Sequence[int], dilation: Sequence[int]
    ) -> np.ndarray:
        """Correlate with one kernel, axis by axis; several outer products are added up."""
        total: np.ndarray | None = None
        for vectors in separable_terms(weights[0, 0]) or ():
            part = x
            for axis, vector in enumerate(vectors):
                if vector == (1.0,) and stride[axis] == 1:
                    continue
                alone = [1] * len(vectors)
                steps, gaps, shape = alone.copy(), alone.copy(), alone.copy()
                steps[axis], gaps[axis], shape[axis] = stride[axis], dilation[axis], len(vector)
                kernel = np.array(vector, x.dtype).reshape(1, 1, *shape)
                sizes = correlation_sizes(part, kernel, steps, gaps, 1)
                reach = shift_and_add.correlation_reach(steps, gaps)
                part = self._shift_and_add(part, kernel, sizes, steps, 1, False, reach)
            if total is None:
                total = part if part is not x else x.copy()
            else:
                with np.errstate(all="ignore"):
                    np.add(total, part, out=total)
        if total is None:
            raise ValueError(f"a kernel of shape {weights.shape} is no sum of a few outer products")
        return total

    def _shift_and_add(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        sizes: tuple[int, ...],
        stride: Sequence[int],
        groups: int,
        finite: bool,
        reach: shift_and_add.Reach,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        skip_zeros = not weights.all() and (finite or all_finite(x))
        x = tiles.with_long_runs(x, stride)
        order = tiles.planar(tiles.memory_order(x))
        if out is None:
            out = tiles.empty((len(x), len(weights), *sizes), order, x.dtype)

        def run(work: Callable[[tiles.Slices], None], shape: tuple[int, ...], operations: int) -> None:
            tiles.run(work, tiles.cut(shape, order, TILE), self.threads, prod(shape) * operations)

        shift_and_add.shift_and_add(x, weights, out, groups, reach, skip_zeros, _begin, np.empty_like, run)
        return out

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
            box = [slice(a.start * s, (a.stop - 1) * s + d * (k - 1) + 1) for a, k, s, d in windows]
            block = x[(*tile[:2], *box)]
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


def _begin(total: np.ndarray) -> shift_and_add.AddProduct:
    scratch = np.empty_like(total)

    def add_product(total: np.ndarray, where: tuple[Any, ...], data: np.ndarray, weight: Any) -> None:
        part, product = total[where], scratch[where]
        if isinstance(weight, float) and abs(weight) == 1:  # the same numbers in half the time
            add = np.add if weight > 0 else np.subtract
            add(part, data, out=part)
        else:
            np.multiply(data, weight, out=product)
            np.add(part, product, out=part)

    return add_product
