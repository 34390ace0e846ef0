"""The motion kernel on bytes: the mean of a square of one frame less that of the frame before, in whole numbers.

The same sums as any engine's, a third of the work: the squares' sums are added up along rows and columns, in
16 bits, and divided only where they are looked at.
"""

from __future__ import annotations

import numpy as np

_STRIP = 48  # rows at a time, so that what is added up stays in the cache


def square_difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the sums over 3×3 squares of ``after`` less ``before``, edges replicated.

    Parameters
    ----------
    before, after : ndarray
        (Y, X), 8 bits, at least two pixels wide.

    Returns
    -------
    ndarray
        (Y, X) of int16: nine times the difference of the means, at most 9 · 255.

    >>> spot = np.zeros((3, 4), np.uint8); spot[1, 0] = 5
    >>> square_difference(np.zeros_like(spot), spot).tolist()
    [[10, 5, 0, 0], [10, 5, 0, 0], [10, 5, 0, 0]]
    """
    height = len(before)
    sums = np.empty(before.shape, np.int16)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        first, last = max(top - 1, 0), min(bottom + 1, height)
        change = np.subtract(after[first:last], before[first:last], dtype=np.int16)
        above = (
            change[: bottom - top] if first < top else change[np.maximum(np.arange(-1, bottom - top - 1), 0)]
        )
        middle = change[top - first : bottom - first]
        rows = above + middle
        below = change[top - first + 1 : bottom - first + 1]
        rows[: len(below)] += below
        rows[len(below) :] += change[-1]
        out = sums[top:bottom]
        np.add(rows[:, 1:-1], rows[:, :-2], out=out[:, 1:-1])
        out[:, 1:-1] += rows[:, 2:]
        out[:, 0] = 2 * rows[:, 0] + rows[:, min(1, rows.shape[1] - 1)]
        out[:, -1] = 2 * rows[:, -1] + rows[:, max(rows.shape[1] - 2, 0)]
    return sums
