"""Sums of shifted arrays in numpy: direct, shared between windows (boxes), and axis by axis (separable kernels).

Every output element is computed by the same operations in the same order whatever the shape of the block it
lies in, so cutting the work differently cannot change a result by a single bit.  NaN and infinities stay in their
windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from convcli.engines import shift_and_add, tiles
from convcli.engines.base import all_finite, correlation_sizes
from convcli.engines.interface import Correlation
from convcli.engines.reductions import fold_windows
from convcli.geometry.windows import Window
from convcli.kernel.analysis import separable_terms
from convcli.kernel.integer_weights import Whole, whole

PARTIAL_TILE = 1 << 16  # elements of shared partial sums, of which several are held at a time (measured)
TILE = 1 << 17  # elements: a tile, its temporary and its input share a 2 MiB cache (measured)


def direct(call: Correlation) -> np.ndarray:
    """Return the correlation by the definition, tap after tap."""
    return shifted(call, shift_and_add.correlation_reach(call.stride, call.dilation))


def shifted(call: Correlation, reach: shift_and_add.Reach) -> np.ndarray:
    """Return the sum over all taps; ``reach`` says what each takes, and where it goes."""
    weights = call.weights
    skip_zeros = not weights.all() and (call.finite or all_finite(call.x))
    x = tiles.with_long_runs(call.x, call.stride)
    order = tiles.planar(tiles.memory_order(x))
    out = call.out
    if out is None:
        out = tiles.empty((len(x), len(weights), *call.sizes), order, x.dtype)

    def run(work: Callable[[tiles.Slices], None], shape: tuple[int, ...], operations: int) -> None:
        tiles.run(work, tiles.cut(shape, order, TILE), call.threads, prod(shape) * operations)

    shift_and_add.shift_and_add(x, weights, out, call.groups, reach, skip_zeros, _begin, np.empty_like, run)
    return out


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


def box(call: Correlation) -> np.ndarray:
    """Return the correlation of each channel with one kernel of equal weights: shared sums, then one product."""
    x = tiles.with_long_runs(call.x, call.stride)
    windows = zip(call.weights.shape[2:], call.stride, call.dilation, strict=True)
    for axis, window in enumerate(windows, start=2):
        if window[:2] != (1, 1):
            x = _sums(x, axis, Window(*window), call.threads)
    return _scaled(x, mean_of(call.weights), call.weights.flat[0])


def integer(call: Correlation) -> np.ndarray:
    """Return the correlation with small integers times a factor: floats count them exactly."""
    found = integers(call.weights)
    numbers = np.array([one.numbers for one in found], call.weights.dtype).reshape(call.weights.shape)
    return _scaled(direct(replace(call, weights=numbers, out=None)), found[0].divisor, found[0].factor)


def integers(weights: np.ndarray) -> list[Whole]:
    """Return kernels (O, 1, *kernel) as integers times one factor.

    Raises
    ------
    ValueError
        Kernels that are no such thing.
    """
    found = [whole(tuple(kernel.ravel().tolist())) for kernel in weights]
    first = found[0]
    if first is None or any(one is None or one.unit != first.unit for one in found):
        raise ValueError(f"kernels of shape {weights.shape} are not multiples of small integers")
    return [one for one in found if one]


def mean_of(weights: np.ndarray) -> int | None:
    """Return how many samples a kernel of equal weights is the mean of, None where it is not a mean.

    >>> mean_of(np.full((1, 1, 2, 2), 0.25)), mean_of(np.full((1, 1, 2), 0.25))
    (4, None)
    """
    count = weights[0, 0].size
    return count if weights.flat[0] == weights.dtype.type(1 / count) else None


def _scaled(sums: np.ndarray, divisor: int | None, factor: float) -> np.ndarray:
    """Return sums as means, by quotients, since these are exact where products with a rounded factor are not."""
    with np.errstate(all="ignore"):
        return (
            np.divide(sums, sums.dtype.type(divisor))
            if divisor
            else np.multiply(sums, sums.dtype.type(factor))
        )


def _sums(x: np.ndarray, axis: int, window: Window, threads: int) -> np.ndarray:
    """Return the sums of all windows along one axis, which no tile cuts: its parts are shared by many."""
    shape = list(x.shape)
    shape[axis] = window.output_size(shape[axis])
    order = tiles.memory_order(x)
    out = tiles.empty(shape, order, x.dtype)
    place = order.index(axis)

    def work(tile: tiles.Slices) -> None:
        tile = (*tile[:axis], slice(None), *tile[axis + 1 :])
        block = x[tile].transpose(order)
        out[tile].transpose(order)[...] = fold_windows(
            np.add, block, place, shape[axis], window.kernel, window.stride, window.dilation
        )

    others = (*shape[:axis], 1, *shape[axis + 1 :])
    cut = tiles.cut(others, order, PARTIAL_TILE // x.shape[axis])
    tiles.run(work, cut, threads, operations=x.size * window.kernel.bit_length())
    return out


def separable(call: Correlation) -> np.ndarray:
    """Return the correlation with one kernel, axis by axis; several outer products are added up.

    Raises
    ------
    ValueError
        A kernel that is not a sum of a few outer products.
    """
    total: np.ndarray | None = None
    for vectors in separable_terms(call.weights[0, 0]) or ():
        part = call.x
        for axis, vector in enumerate(vectors):
            if vector == (1.0,) and call.stride[axis] == 1:
                continue
            alone = [1] * len(vectors)
            steps, gaps, shape = alone.copy(), alone.copy(), alone.copy()
            steps[axis], gaps[axis], shape[axis] = call.stride[axis], call.dilation[axis], len(vector)
            kernel = np.array(vector, part.dtype).reshape(1, 1, *shape)
            sizes = correlation_sizes(part, kernel, steps, gaps, 1)
            part = direct(Correlation(part, kernel, sizes, tuple(steps), tuple(gaps), threads=call.threads))
        if total is None:
            total = part if part is not call.x else part.copy()
        else:
            with np.errstate(all="ignore"):
                np.add(total, part, out=total)
    if total is None:
        raise ValueError(f"a kernel of shape {call.weights.shape} is not a sum of a few outer products")
    return total


SUMS = {"direct": direct, "integer": integer, "separable": separable, "box": box}  # by their algorithms
