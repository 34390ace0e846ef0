"""How engines cut their work: tiles that fit the cache, in memory order, shared among threads.

No arithmetic: nothing here can change a result.
"""

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from threading import Thread
from typing import TypeVar

import numpy as np

Slices = tuple[slice, ...]
T = TypeVar("T")

THREADED = 1 << 25  # operations below which threads cost more than they save (measured)
PAGE = 4096


def memory_order(x: np.ndarray) -> tuple[int, ...]:
    """Return the axes of ``x``, the one with the largest steps in memory first.

    >>> memory_order(np.zeros((4, 5, 3)).transpose(2, 0, 1))  # interleaved pixels, seen as planes
    (1, 2, 0)
    """
    strides = [abs(step) if size > 1 else 0 for step, size in zip(x.strides, x.shape, strict=True)]
    if 0 in strides:  # an axis of one element has no say: it stays beside its neighbour
        strides = [step or max(strides[axis:], default=0) for axis, step in enumerate(strides)]
    return tuple(sorted(range(x.ndim), key=lambda axis: -strides[axis]))


def pixel_size(x: np.ndarray) -> int:
    """Return how many items of ``(N, 1, *space)`` lie interleaved along the last axis, without gaps; else 1.

    >>> pixel_size(np.zeros((4, 5, 3)).transpose(2, 0, 1)[:, None]), pixel_size(np.zeros((3, 1, 4, 5)))
    (3, 1)
    """
    size = x.itemsize
    items = len(x)
    if x.shape[1] != 1 or x.strides[0] != size or x.strides[-1] != items * size or items == 1:
        return 1
    return items


def planar(order: Sequence[int]) -> tuple[int, ...]:
    """Return a memory order for ``(N, C, *space)`` in which each channel is a whole map.

    >>> planar((2, 3, 1, 0)), planar((0, 1, 2, 3))
    ((1, 2, 3, 0), (0, 1, 2, 3))
    """
    rest = [axis for axis in order if axis != 1]
    slowest = min(rest.index(axis) for axis in rest if axis >= 2)
    return (*rest[:slowest], 1, *rest[slowest:])


def empty(shape: Sequence[int], order: Sequence[int], dtype: np.dtype) -> np.ndarray:
    """Return a new array whose axes lie in memory in this order, the slowest first."""
    return np.empty([shape[axis] for axis in order], dtype).transpose(np.argsort(order))


def apart(shape: Sequence[int], dtype: np.dtype, address: int) -> np.ndarray:
    """Return a new array that begins half a page from where ``address`` lies in its own.

    Data that are read and results that are written at the same place of their pages make processors wait: the low
    bits of an address alone decide at first whether a load needs what was stored just before.
    """
    size = prod(shape) * dtype.itemsize
    if size < PAGE:
        return np.empty(shape, dtype)
    memory = np.empty(size + PAGE, np.uint8)
    return np.ndarray(shape, dtype, memory, (address // 64 * 64 + PAGE // 2 - address_of(memory)) % PAGE)


def address_of(x: np.ndarray) -> int:
    """Return where an array begins in memory; `x.ctypes` would be slower."""
    return int(x.__array_interface__["data"][0])


def cut(shape: Sequence[int], order: Sequence[int], size: int) -> list[Slices]:
    """Return tiles of about ``size`` elements that cover an array: whole along the fastest axes.

    >>> cut((2, 6, 10), (0, 1, 2), 30)
    ... # doctest: +NORMALIZE_WHITESPACE
    [(slice(0, 1, None), slice(0, 3, None), slice(0, 10, None)),
     (slice(0, 1, None), slice(3, 6, None), slice(0, 10, None)),
     (slice(1, 2, None), slice(0, 3, None), slice(0, 10, None)),
     (slice(1, 2, None), slice(3, 6, None), slice(0, 10, None))]
    """
    steps = {}
    for axis in reversed(order):
        steps[axis] = even(shape[axis], size)
        size //= steps[axis]
    parts = [
        [slice(a, min(a + steps[axis], shape[axis])) for a in range(0, shape[axis], steps[axis])]
        for axis in order
    ]
    back = np.argsort(order)
    return [tuple(tile[axis] for axis in back) for tile in product(*parts)]


def inputs(
    outputs: Sequence[slice], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Slices:
    """Return the inputs that the windows of these outputs cover.

    >>> inputs([slice(2, 5)], [3], [2], [4])
    (slice(4, 17, None),)
    """
    return tuple(
        slice(part.start * s, (part.stop - 1) * s + d * (k - 1) + 1)
        for part, k, s, d in zip(outputs, kernel, stride, dilation, strict=True)
    )


def around(inside: np.ndarray) -> list[Slices]:
    """Return the box that is marked, and boxes that cover what is around it; nothing if no box is all that is marked.

    >>> around(np.array([False, True, True]))
    [(slice(1, 3, None),), (slice(0, 1, None),)]
    """
    lines = [
        np.flatnonzero(inside.any(tuple(other for other in range(inside.ndim) if other != axis)))
        for axis in range(inside.ndim)
    ]
    if not all(map(len, lines)):
        return []
    box = tuple(slice(int(line[0]), int(line[-1]) + 1) for line in lines)
    whole = tuple(slice(0, n) for n in inside.shape)
    beside = [
        (*box[:axis], part, *whole[axis + 1 :])
        for axis, n in enumerate(inside.shape)
        for part in (slice(0, box[axis].start), slice(box[axis].stop, n))
        if part.start < part.stop
    ]
    return [box, *beside] if inside[box].all() else []


def even(length: int, most: int) -> int:
    """Return the step of as few parts as steps of ``most`` give, all about as long.

    >>> even(96, 87), even(5, 9), even(0, 3)
    (48, 5, 1)
    """
    parts = max(-(-length // max(most, 1)), 1)
    return max(-(-length // parts), 1)


def run(work: Callable[[T], None], tiles: Sequence[T], threads: int, operations: int) -> None:
    """Do the work of every tile, or of another part, on threads where there is enough of it.

    numpy's warnings about infinities and NaN are off: such values are data, and their results too.
    """

    waiting, failures = iter(tiles), list[BaseException]()

    def crew() -> None:  # each takes the next tile until none waits, or one has failed
        try:
            with np.errstate(all="ignore"):  # holds for one thread
                for tile in waiting:
                    work(tile)
                    if failures:
                        return
        except BaseException as failure:
            failures.append(failure)

    enough = operations >= THREADED
    others = [Thread(target=crew) for _ in range(1, min(threads, len(tiles)) if enough else 1)]
    for other in others:
        other.start()
    crew()
    for other in others:
        other.join()
    if failures:
        raise failures[0]
