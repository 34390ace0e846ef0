"""The readable reference: sums of shifted arrays in numpy, which the compiled loops equal bit by bit.

Every output element is computed by the same operations in the same order whatever the shape of the block it
lies in, so cutting the work differently cannot change a result by a single bit.  NaN and infinities stay in their
windows.  Reductions of windows along an axis are made in the same tree whatever the block.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from convcli.engines import shift_and_add, tiles
from convcli.engines.interface import Correlation
from convcli.kernel.analysis import Whole, wholes

COUNTED = 1 << 16  # integers of 16 bits, the sum of which 32 bits hold


def reduce_windows(
    reduce: Callable[[np.ndarray, np.ndarray], np.ndarray],
    x: np.ndarray,
    axis: int,
    count: int,
    size: int,
    stride: int,
    dilation: int,
) -> np.ndarray:
    """Reduce the ``count`` windows along an axis: ``((x0 x1) (x2 x3)) ...``, always in this same tree.

    Windows share their parts: reductions of 2, 4, 8 ... neighbours at every position make up each size.
    """
    total: np.ndarray | None = None
    parts, width = x.swapaxes(0, axis), 1
    while True:
        if size & width:
            first = size // (2 * width) * (2 * width) * dilation  # behind all wider parts
            part = parts[first : first + (count - 1) * stride + 1 : stride]
            total = part if total is None else reduce(part, total)
        if total is not None and 2 * width > size:
            return total.swapaxes(0, axis)
        parts = reduce(parts[: -width * dilation], parts[width * dilation :])
        width *= 2


def windows_of(
    x: np.ndarray, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> np.ndarray:
    """Return a view of the windows along the last axes, ``(…, *sizes, *size)``.

    >>> windows_of(np.arange(6), (2,), (2,), (3,)).tolist()
    [[0, 3], [2, 5]]
    """
    axes = range(x.ndim - len(size), x.ndim)
    extents = [d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True)]
    windows = sliding_window_view(x, extents, tuple(axes))
    steps = [slice(None)] * axes.start + [slice(None, None, step) for step in (*stride, *dilation)]
    return windows[tuple(steps)]


def direct(call: Correlation) -> np.ndarray:
    """Return the correlation by the definition, tap after tap."""
    return shifted(call, shift_and_add.correlation_reach(call))


def shifted(call: Correlation, reach: shift_and_add.Reach) -> np.ndarray:
    """Return the sum over all taps; ``reach`` says what each takes, and where it goes."""
    x, weights, out = call.x, call.weights, call.out
    if out is None:
        shape = (len(x), len(weights), *call.sizes)
        out = tiles.empty(shape, tiles.planar(tiles.memory_order(x)), x.dtype)
    with np.errstate(all="ignore"):
        shift_and_add.shift_and_add(x, call, out, reach, np.asarray, np.zeros_like)
    return out


def box(call: Correlation) -> np.ndarray:
    """Return the correlation of each channel with one kernel of equal weights: shared sums, then one product.

    Sums of what came from integers are exact.
    """
    whole = call.finite and call.weights.size <= COUNTED and bool((np.rint(call.x) == call.x).all())
    sums = reduce(replace(call, x=call.x.astype(np.float64)) if whole else call, np.add)
    return _scaled(sums.astype(call.weights.dtype), mean_of(call.weights), call.weights.flat[0])


def reduce(call: Correlation, ufunc: np.ufunc) -> np.ndarray:
    """Return the windows of a call, each reduced along one axis after the other; its weights give the size alone."""
    made = call.x
    windows = zip(call.sizes, call.weights.shape[2:], call.stride, call.dilation, strict=True)
    with np.errstate(all="ignore"):
        for axis, window in enumerate(windows, start=2):
            made = reduce_windows(ufunc, made, axis, *window)
    return made


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
    if (found := wholes(weights)) is None:
        raise ValueError(f"kernels of shape {weights.shape} are not multiples of small integers")
    return found


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
        return sums / sums.dtype.type(divisor) if divisor else sums * sums.dtype.type(factor)


def separable(call: Correlation) -> np.ndarray:
    """Return the correlation with one kernel, axis by axis; several outer products are added up."""
    with np.errstate(all="ignore"):
        made: np.ndarray = shift_and_add.separable(call, call.x, direct)
    return made.copy() if made is call.x else made


SUMS = {"direct": direct, "integer": integer, "separable": separable, "box": box}  # by their algorithms
