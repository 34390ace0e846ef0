"""Connected regions of a mask, and boxes around them."""

import numpy as np

Box = tuple[int, int, int, int]  # x, y, width, height


def union(a: Box, b: Box) -> Box:
    """Return the smallest rectangle around two.

    >>> union((2, 1, 3, 1), (0, 4, 1, 1))
    (0, 1, 5, 4)
    """
    left, top = min(a[0], b[0]), min(a[1], b[1])
    right, bottom = max(a[0] + a[2], b[0] + b[2]), max(a[1] + a[3], b[1] + b[3])
    return left, top, right - left, bottom - top


def near(a: Box, b: Box, gap: int) -> bool:
    """Say whether two rectangles overlap, or lie at most ``gap`` pixels apart.

    >>> near((0, 0, 2, 2), (4, 0, 2, 2), 2), near((0, 0, 2, 2), (4, 0, 2, 2), 1)
    (True, False)
    """
    return all(
        a[axis] <= b[axis] + b[axis + 2] + gap and b[axis] <= a[axis] + a[axis + 2] + gap for axis in (0, 1)
    )


def grouped(boxes: list[Box], gap: int) -> list[Box]:
    """Join rectangles that lie at most ``gap`` pixels apart.

    >>> grouped([(0, 0, 2, 2), (9, 9, 1, 1), (3, 0, 2, 2)], 1)
    [(9, 9, 1, 1), (0, 0, 5, 2)]
    """
    found: list[Box] = []
    for box in boxes:
        while close := next((other for other in found if near(box, other, gap)), None):
            found.remove(close)
            box = union(box, close)
        found.append(box)
    return found


def keep_regions(mask: np.ndarray, least: float) -> list[Box]:
    """Clear what is smaller from a mask (Y, X), in place; return the boxes of the regions that stay, largest first.

    Pixels belong together that touch, also at a corner.  Runs of pixels are joined, which is faster than pixels.

    >>> mask = np.array([[1, 1, 0, 0, 1], [0, 0, 1, 0, 0]], bool)
    >>> keep_regions(mask, 2), mask.tolist()
    ([(0, 0, 3, 2)], [[True, True, False, False, False], [False, False, True, False, False]])
    """
    height, width = mask.shape
    at = np.flatnonzero(mask)
    at += at // width + 1  # a column of rest between the rows, which are one long row now
    starts, stops = at[np.diff(at, prepend=-2) != 1], at[np.diff(at, append=-2) != 1] + 1
    # The runs of the next row that touch a run: from the first that ends behind its start to the last before its end.
    first = np.searchsorted(stops, starts + width, side="right")
    touching = np.maximum(np.searchsorted(starts, stops + width + 1, side="right") - first, 0)
    above = np.repeat(np.arange(len(starts)), touching)
    below = np.arange(len(above)) - np.repeat(np.cumsum(touching) - touching, touching) + first[above]
    label = np.arange(len(starts))
    while (apart := (one := label[above]) != (other := label[below])).any():
        np.minimum.at(label, np.maximum(one, other)[apart], np.minimum(one, other)[apart])
        while (label != (root := label[label])).any():
            label = root
    label = (np.cumsum(label == np.arange(len(label))) - 1)[label]
    area = np.bincount(label, stops - starts)
    row, column = starts // (width + 1), starts % (width + 1) - 1
    edge = np.empty((4, len(area)), int)
    for index, values in enumerate((-column, -row, column + stops - starts, row + 1)):
        edge[index] = -width - height
        np.maximum.at(edge[index], label, values)
    small = area[label] < least
    if small.any():
        lengths = (stops - starts)[small]
        gone = np.repeat(starts[small] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        mask[gone // (width + 1), gone % (width + 1) - 1] = False
    order = np.argsort(-area, kind="stable")
    return [
        (-left, -top, right + left, bottom + top)
        for left, top, right, bottom in edge[:, order[area[order] >= least]].T.tolist()
    ]
