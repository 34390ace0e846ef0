"""The windows of an array, and reductions of them along an axis, always in the same tree whatever the block.

Numpy only; nothing here knows kernels.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


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
