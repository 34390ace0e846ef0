"""Pooling of data with borders: what stands in the padding, and what a mean counts.

The engines pool whole windows.  Here windows hang over the edge: padding never wins a maximum or minimum, and
is not counted in a mean unless asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from convcli.common.errors import UsageError
from convcli.engines.base import Engine
from convcli.engines.padding import pad
from convcli.geometry.layers import PoolKind
from convcli.geometry.padding import PadMode
from convcli.geometry.windows import Window

FILL = {PoolKind.MAX: -inf, PoolKind.MIN: inf, PoolKind.AVG: 0.0}


def pool_padded(
    engine: Engine,
    x: np.ndarray,
    kind: PoolKind,
    windows: Sequence[Window],
    include_padding: bool = False,
) -> np.ndarray:
    """Return the pooled ``x``, ``(N, C, *sizes)`` with the windows' output sizes.

    Parameters
    ----------
    engine : Engine
    x : numpy.ndarray
        ``(N, C, *space)``, float32 or float64, without padding.
    kind : PoolKind
    windows : sequence of Window
        One for each space axis, with padding and ceil mode.
    include_padding : bool
        A mean also counts the padding's zeros (but never what ``ceil`` lets hang over even the padding).
        Without it, the mean of a window of nothing but padding is NaN.
    """
    out = engine.pool(
        _padded(x, windows, FILL[kind]),
        kind,
        [window.kernel for window in windows],
        stride=[window.stride for window in windows],
        dilation=[window.dilation for window in windows],
    )
    if kind is not PoolKind.AVG:
        return out
    for axis, (window, size) in enumerate(zip(windows, x.shape[2:], strict=True), start=2):
        counts = average_counts(window, size, include_padding)
        if (counts != window.kernel).any():
            shape = [-1 if index == axis else 1 for index in range(x.ndim)]
            with np.errstate(all="ignore"):
                out *= (window.kernel / counts).astype(out.dtype).reshape(shape)
    return out


def average_counts(window: Window, size: int, include_padding: bool = False) -> np.ndarray:
    """Return how many taps of each window count in a mean along one axis of ``size`` elements.

    >>> average_counts(Window(3, before=1, after=1), 4).tolist()
    [2, 3, 3, 2]
    """
    first, end = (-window.before, size + window.after) if include_padding else (0, size)
    starts = np.arange(window.output_size(size)) * window.stride - window.before
    below = -((starts - first) // window.dilation)  # taps before `first`, rounded up
    reached = -((starts - end) // window.dilation)  # taps before `end`
    return np.maximum(np.minimum(reached, window.kernel) - np.maximum(below, 0), 0)


def max_positions_padded(
    engine: Engine, x: np.ndarray, windows: Sequence[Window], *, column_major: bool = False
) -> np.ndarray:
    """Return where in the unpadded space of ``x`` each window's maximum lies: int64 ``(N, C, *sizes)``.

    Positions count the elements of one channel in C order, or with ``column_major`` the first axis fastest
    (ONNX's ``storage_order=1``).  Every window must reach the data.
    """
    padded = _padded(x, windows, -inf)
    found = engine.max_positions(
        padded,
        [window.kernel for window in windows],
        stride=[window.stride for window in windows],
        dilation=[window.dilation for window in windows],
    )
    axes = list(zip(np.unravel_index(found, padded.shape[2:]), windows, x.shape[2:], strict=True))
    outside = np.zeros(found.shape, bool)  # all of the window's data is -inf, and so is the padding before it
    for place, window, size in axes:
        outside |= (place < window.before) | (place >= window.before + size)
    first = np.meshgrid(*(_first_inside(window, size) for _, window, size in axes), indexing="ij")
    places = tuple(
        np.where(outside, inside, place - window.before)
        for inside, (place, window, _) in zip(first, axes, strict=True)
    )
    return np.ravel_multi_index(places, x.shape[2:], order="F" if column_major else "C")


def _first_inside(window: Window, size: int) -> np.ndarray:
    """Return the first element of the data under each window along one axis."""
    starts = np.arange(window.output_size(size)) * window.stride - window.before
    first = np.where(starts < 0, starts % window.dilation, starts)
    empty = (first >= size) | (first - starts >= window.extent)
    if empty.any():
        raise UsageError(
            f"window {np.flatnonzero(empty)[0]} along an axis of {size} holds nothing but padding and has no "
            f"maximum: padding {window.before}:{window.after} must be less than the extent {window.extent}"
        )
    return first


def _padded(x: np.ndarray, windows: Sequence[Window], fill: float) -> np.ndarray:
    ranges = [
        window.input_range(0, window.output_size(n)) for window, n in zip(windows, x.shape[2:], strict=True)
    ]
    return pad(x, ranges, PadMode.CONSTANT, fill)
