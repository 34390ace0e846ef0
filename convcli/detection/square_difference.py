"""The motion kernel on bytes: the mean of a square of one frame less that of the frame before, in whole numbers.

The same sums as any engine's, a third of the work: the squares' sums are added up along rows and columns, in
16 bits, and divided only where they are looked at.
"""

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
    height, width = before.shape
    sums = np.empty((height, width), np.int16)
    strip = np.empty((_STRIP + 2, width), np.int16)  # of change, with a row more on either side
    sums_of_rows = np.empty((_STRIP, width), np.int16)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        count = bottom - top
        first, last = max(top - 1, 0), min(bottom + 1, height)
        inside = strip[first - top + 1 : last - top + 1]
        np.subtract(after[first:last], before[first:last], out=inside, dtype=np.int16)
        if first == top:
            strip[0] = strip[1]
        if last == bottom:
            strip[count + 1] = strip[count]
        rows, out = sums_of_rows[:count], sums[top:bottom]
        np.add(strip[:count], strip[1 : count + 1], out=rows)
        rows += strip[2 : count + 2]
        # All rows as one long one, which is much faster; what that does to the ends of rows is mended.
        flat, flat_out = rows.reshape(-1), out.reshape(-1)
        np.add(flat[:-2], flat[1:-1], out=flat_out[1:-1])
        flat_out[1:-1] += flat[2:]
        out[:, 0] = 2 * rows[:, 0] + rows[:, 1]
        out[:, -1] = 2 * rows[:, -1] + rows[:, -2]
    return sums
