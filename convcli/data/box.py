"""Boxes: a stretch of each of several axes, and how sizes are cut into boxes."""

from collections.abc import Iterator, Sequence
from itertools import product
from math import prod

Span = tuple[int, int]
"""Start and stop along one axis; stop is not part of it."""

Box = tuple[Span, ...]
"""One span for each axis of space."""


def whole(sizes: Sequence[int]) -> Box:
    """Return the box of everything.

    >>> whole((3, 4))
    ((0, 3), (0, 4))
    """
    return tuple((0, size) for size in sizes)


def slices(box: Box, first: Sequence[int] | None = None) -> tuple[slice, ...]:
    """Return a box as an index, for an array that begins at the place ``first`` (by default 0 on each axis).

    >>> slices(((2, 5), (0, 4)), (2, 0))
    (slice(0, 3, None), slice(0, 4, None))
    """
    first = [0] * len(box) if first is None else first
    return tuple(slice(start - at, stop - at) for (start, stop), at in zip(box, first, strict=True))


def grid(sizes: Sequence[int], steps: Sequence[int]) -> Iterator[Box]:
    """Cut sizes into boxes of ``steps`` samples or, at the end of an axis, less; the last axis runs fastest.

    >>> list(grid((3, 2), (2, 2)))
    [((0, 2), (0, 2)), ((2, 3), (0, 2))]
    """
    axes = (
        [(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(sizes, steps, strict=True)
    )
    return product(*axes)


def count(sizes: Sequence[int], steps: Sequence[int]) -> int:
    """Return how many boxes `grid` cuts."""
    return prod(-(-size // step) for size, step in zip(sizes, steps, strict=True))


def box_at(sizes: Sequence[int], steps: Sequence[int], index: int) -> Box:
    """Return one of the boxes that `grid` cuts, by its number.

    >>> box_at((3, 2), (2, 2), 1)
    ((2, 3), (0, 2))
    """
    spans = []
    for size, step in zip(reversed(sizes), reversed(steps), strict=True):
        index, at = divmod(index, -(-size // step))
        spans.append((at * step, min((at + 1) * step, size)))
    return tuple(reversed(spans))
