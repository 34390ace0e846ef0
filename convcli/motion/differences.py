"""The motion kernel on bytes: the mean of a square of one frame less that of the frame before, in whole numbers.

The same sums as any engine's, a third of the work: the squares' sums are added up along rows and columns, in
16 bits, and divided only where they are looked at.
"""

from __future__ import annotations

import numpy as np


def square_difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the sums over 3×3 squares of ``after`` less ``before``, edges replicated.

    Parameters
    ----------
    before, after : ndarray
        (Y, X), 8 bits.

    Returns
    -------
    ndarray
        (Y, X) of int16: nine times the difference of the means, at most 9 · 255.

    >>> spot = np.zeros((3, 4), np.uint8); spot[1, 0] = 5
    >>> square_difference(np.zeros_like(spot), spot).tolist()
    [[10, 5, 0, 0], [10, 5, 0, 0], [10, 5, 0, 0]]
    """
    change = np.subtract(after, before, dtype=np.int16)
    rows = change.copy()
    rows[1:] += change[:-1]
    rows[:-1] += change[1:]
    rows[0] += change[0]
    rows[-1] += change[-1]
    sums = rows.copy()
    sums[:, 1:] += rows[:, :-1]
    sums[:, :-1] += rows[:, 1:]
    sums[:, 0] += rows[:, 0]
    sums[:, -1] += rows[:, -1]
    return sums
