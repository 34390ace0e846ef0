"""All windows of an array, and their folds along an axis: always in the same tree whatever the block.

Numpy only; nothing here knows kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def fold_windows(
    fold: np.ufunc, x: np.ndarray, axis: int, count: int, size: int, stride: int, dilation: int
) -> np.ndarray:
    """Fold the ``count`` windows along an axis: ``((x0 x1) (x2 x3)) ...``, always in this same tree.

    Windows that hardly overlap are halved one by one.  Those that overlap much share their parts: folds of
    2, 4, 8 ... neighbours at every position, from which each size can be put together.
    """
    if size * count > 4 * x.shape[axis]:
        return _fold_shared(fold, x.swapaxes(0, axis), count, size, stride, dilation).swapaxes(0, axis)
    windows = sliding_window_view(x, dilation * (size - 1) + 1, axis)[..., ::dilation]
    windows = windows.swapaxes(0, axis)[::stride].swapaxes(0, axis)
    return _fold_taps(fold, np.moveaxis(windows, -1, 0))


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


def _fold_taps(fold: np.ufunc, taps: np.ndarray) -> np.ndarray:
    """Fold along the first axis, neighbours first."""
    total: np.ndarray | None = None
    while True:
        half = len(taps) // 2
        if len(taps) % 2:
            total = taps[-1] if total is None else fold(taps[-1], total)
        if total is not None and not half:
            return total
        pairs = np.empty((half, *taps.shape[1:]), taps.dtype)  # C order makes long runs of the other axes
        taps = fold(taps[: 2 * half : 2], taps[1 : 2 * half : 2], out=pairs)


def _fold_shared(
    fold: np.ufunc, x: np.ndarray, count: int, size: int, stride: int, dilation: int
) -> np.ndarray:
    """Fold windows along the first axis from the folds of 1, 2, 4 ... taps that begin at every element."""
    total: np.ndarray | None = None
    parts, width = x, 1
    while True:
        if size & width:
            first = size // (2 * width) * (2 * width) * dilation  # behind all wider parts
            part = parts[first : first + (count - 1) * stride + 1 : stride]
            total = part if total is None else fold(part, total)
        if total is not None and 2 * width > size:
            return total
        parts = fold(parts[: -width * dilation], parts[width * dilation :])
        width *= 2
