"""Exact correlation of 8-bit data in 16-bit integers, about three times faster in NumPy than float32.

For kernels that are small integers times a factor (`convcli.kernel.integer_weights`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from convcli.engines import shift_and_add, tiles
from convcli.engines.base import pool_sizes
from convcli.engines.interface import Correlation
from convcli.engines.reductions import fold_windows
from convcli.geometry.windows import Window
from convcli.kernel.integer_weights import Whole, groups, whole
from convcli.pixels.render import Tally

SUM = np.dtype(np.int16)  # what data come in, with their padding
COUNT = np.dtype(np.uint16)  # the same where nothing is negative
MOST = 1 << 30  # of a window's sum
RUNNING = 8  # taps from which a running sum is quicker than 32-bit partial sums that windows share (measured)
Finish = Callable[[np.ndarray, np.ndarray], None]  # gets the place of a result, and sums that it may change
TILE = 1 << 18  # elements: sums, their input and a scratch of 16 bits share the cache (measured)


def correlate(call: Correlation) -> np.ndarray:
    """Return the correlation of one channel with each kernel; data are 16 bits wide, with values of 8 bits.

    Raises
    ------
    ValueError
        A kernel that is no multiple of small integers.
    """
    x, weights = call.x, call.weights
    out = tiles.empty((len(x), len(weights), *call.sizes), tiles.planar(tiles.memory_order(x)), weights.dtype)
    for index, kernel in enumerate(weights[:, 0]):
        found = _integers(kernel, x.dtype == COUNT)
        np.multiply(_sums(call, found)[:, 0], weights.dtype.type(found.factor), out=out[:, index])
    return out


def averages(call: Correlation) -> bool:
    """Return whether `means` does such work: one kernel that is a weighted mean, data without a sign."""
    one = call.weights.shape[:2] == (1, 1) and call.x.dtype == COUNT
    return one and _integers(call.weights[0, 0], unsigned=True).divisor is not None


def means(call: Correlation, out: np.ndarray) -> tuple[np.ndarray, Tally]:
    """Fill ``out``, ``(N, 1, *sizes)`` of bytes, with the weighted means of bytes, rounded half to even.

    No float is needed.
    """
    found = _integers(call.weights[0, 0], unsigned=True)
    divisor = COUNT.type(found.total)

    def round_to(target: np.ndarray, sums: np.ndarray) -> None:
        sums += divisor // 2  # (s + d // 2) // d rounds to the nearest, and a half up
        if divisor % 2:
            np.floor_divide(sums, divisor, out=sums)
            target[...] = sums
            return
        rounded = sums // divisor
        was_half = sums == rounded * divisor
        target[...] = rounded - (was_half & (rounded & 1).astype(bool))  # odd ones of them go down again

    _sums(call, found, out, round_to)
    return out, Tally(values=out.size)


def _integers(kernel: np.ndarray, unsigned: bool) -> Whole:
    found = whole(tuple(kernel.ravel().tolist()), kernel.shape)
    if found is None or not found.fits(unsigned):
        raise ValueError(f"a kernel of shape {kernel.shape} is no multiple of small integers")
    return found


def _sums(
    call: Correlation, found: Whole, out: np.ndarray | None = None, finish: Finish | None = None
) -> np.ndarray:
    """Return the sums of number * data, ``(N, 1, *sizes)``, pass by pass; each takes its axes' stride.

    With ``finish``, each tile of the sums goes through it into ``out``, while it is in the cache.
    """
    stride = call.stride
    sums = tiles.with_long_runs(call.x, stride)
    last = len(found.passes) - 1
    slid = [any(size[axis] > 1 for size, _ in found.passes) for axis in range(len(stride))]
    for index, (size, numbers) in enumerate(found.passes):
        here = [k > 1 or not (index or own) for k, own in zip(size, slid, strict=True)]
        steps = [s if own else 1 for s, own in zip(stride, here, strict=True)]
        end = (out, finish) if index == last else (None, None)
        sums = _pass(sums, size, numbers, steps, call.dilation, call.threads, *end)
    return sums


def box(call: Correlation) -> np.ndarray:
    """Return the correlation of one channel with one kernel of equal weights, data in 16 bits without a sign.

    The fastest axis comes first, while sums have 16 bits.  Running sums in integers have no error that grows;
    where they overflow, differences do not.
    """
    weights, stride, dilation = call.weights, call.stride, call.dilation
    x = tiles.with_long_runs(call.x, stride)
    order = tiles.memory_order(x)
    sums, largest = x.transpose(order), 255
    for place, axis in reversed(list(enumerate(order))):
        size, step, gap = (
            (1, 1, 1) if axis < 2 else (weights.shape[axis], stride[axis - 2], dilation[axis - 2])
        )
        largest *= size
        if largest > np.iinfo(COUNT).max:
            sums = sums.astype(np.int32, copy=False)
        if size >= RUNNING and gap == 1 and sums.dtype == np.int32:
            sums = _running_sums(sums, place, size, step)
        elif (size, step) != (1, 1):
            count = Window(size, step, gap).output_size(sums.shape[place])
            sums = fold_windows(np.add, sums, place, count, size, step, gap)
    out = np.multiply(sums, weights.flat[0], dtype=weights.dtype, casting="same_kind")
    return out.transpose(np.argsort(order))


def _running_sums(x: np.ndarray, axis: int, size: int, stride: int) -> np.ndarray:
    before, n, after = prod(x.shape[:axis]), x.shape[axis], x.shape[axis + 1 :]
    total = np.empty((before, n + 1, prod(after)), np.int32)  # three axes: long inner loops for numpy
    total[:, 0] = 0
    rows = x.reshape(before, n, -1)
    for index in range(n):  # a third of the time of numpy's cumsum, which adds up one column after the other
        np.add(total[:, index], rows[:, index], out=total[:, index + 1])
    sums = np.subtract(total[:, size::stride], total[:, :-size:stride])
    return sums.reshape(*x.shape[:axis], -1, *after)


def _pass(
    x: np.ndarray,
    size: tuple[int, ...],
    numbers: tuple[int, ...],
    stride: Sequence[int],
    dilation: Sequence[int],
    threads: int,
    out: np.ndarray | None,
    finish: Finish | None,
) -> np.ndarray:
    """Return the sums of number * data over the taps, in 16 bits, or what ``finish`` makes of them in ``out``."""
    sizes = pool_sizes(x, size, stride, dilation)
    order = tiles.memory_order(x)
    if out is None:
        out = tiles.empty((len(x), 1, *sizes), order, x.dtype)
    reach = shift_and_add.correlation_reach(stride, dilation)
    terms = groups(size, numbers)
    data = x.transpose(order)

    def work(tile: tiles.Slices) -> None:
        space = list(enumerate(tile[2:]))

        def view(tap: tuple[int, ...]) -> np.ndarray:
            box = (tile[0], slice(None), *(reach(axis, tap[axis], part)[0] for axis, part in space))
            return data[tuple(box[axis] for axis in order)]

        target = out[tile].transpose(order)
        total = target if finish is None else np.empty(target.shape, x.dtype)
        part, scratch = total, np.empty(total.shape, x.dtype) if len(terms) > 1 else total
        for number, taps in terms:
            _add_up([(view(tap), negative) for tap, negative in taps], number, part)
            if part is not total:
                np.add(total, part, out=total)
            part = scratch
        if finish is not None:
            finish(target, total)

    tiles.run(work, tiles.cut(out.shape, order, TILE), threads, out.size * len(numbers))
    return out


def _add_up(terms: Sequence[tuple[np.ndarray, bool]], number: int, out: np.ndarray) -> None:
    """Set ``out`` to ``number`` times the sum of the arrays; those marked are subtracted."""
    (first, negative), *rest = terms  # one that is added, if there is any
    if not rest:
        np.multiply(first, -number if negative else number, out=out)
        return
    for array, subtracted in rest:
        (np.subtract if subtracted is not negative else np.add)(first, array, out=out)
        first = out
    if negative or number > 1:
        np.multiply(out, -number if negative else number, out=out)
