"""The direct algorithm, for arrays of any library: add up the data, shifted by each tap, times its weight.

This is the definition of a convolution read from left to right, and the only algorithm here that treats NaN and
infinities by itself exactly as the definition does.  Numpy and torch arrays slice alike; what differs (how
a product is added, how tiles are run) the engines hand in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

from convcli.engines.tiles import Slices

Array = Any  # numpy.ndarray or torch.Tensor
Tap = tuple[int, tuple[int, ...], Any]  # input channel, index in the kernel, weight of each output
Term = tuple[tuple[Any, ...], Array, Any]  # where in the tile it is added, data, weight
Reach = Callable[[int, int, slice], tuple[slice, slice]]
"""(axis, tap, outputs of a tile) -> (inputs that the tap takes, places in the tile that it adds to)"""
AddProduct = Callable[[Array, tuple[Any, ...], Array, Any], None]
"""(total, where, data, weight): compute total[where] += data * weight"""

RUN = 32  # products added one after another; longer sums are halved, which bounds the rounding error


def correlation_reach(stride: Sequence[int], dilation: Sequence[int]) -> Reach:
    """Return what each tap takes: output i looks at input i * stride + tap * dilation.

    >>> correlation_reach([2], [1])(0, 1, slice(0, 3))
    (slice(1, 6, 2), slice(None, None, None))
    """

    def reach(axis: int, tap: int, outputs: slice) -> tuple[slice, slice]:
        step, distance = stride[axis], tap * dilation[axis]
        first, last = outputs.start * step + distance, (outputs.stop - 1) * step + distance
        return slice(first, last + 1, step), slice(None)

    return reach


def transposed_reach(stride: Sequence[int], dilation: Sequence[int], inputs: Sequence[int]) -> Reach:
    """Return where each tap goes: input i adds to output i * stride + tap * dilation.

    >>> transposed_reach([2], [1], [3])(0, 1, slice(0, 5))  # to outputs 1 and 3; 5 is in the next tile
    (slice(0, 2, None), slice(1, 5, 2))
    """

    def reach(axis: int, tap: int, outputs: slice) -> tuple[slice, slice]:
        step, distance = stride[axis], tap * dilation[axis]
        first = max(-((distance - outputs.start) // step), 0)  # rounded up
        stop = max(min(-((distance - outputs.stop) // step), inputs[axis]), first)
        start = first * step + distance - outputs.start
        return slice(first, stop), slice(start, start + (stop - first) * step, step)

    return reach


def shift_and_add(
    x: Array,
    weights: Array,
    out: Array,
    groups: int,
    reach: Reach,
    skip_zeros: bool,
    begin: Callable[[Array], AddProduct],
    empty_like: Callable[[Array], Array],
    run: Callable[[Callable[[Slices], None], tuple[int, ...], int], None],
) -> None:
    """Set ``out`` to the sum over all taps of weight * data.

    Parameters
    ----------
    x, weights, out : array
        ``(N, C, *space)``, ``(O, I, *kernel)``, ``(N, O, *sizes)``; ``weights`` may be of another library.
    groups : int
    reach : callable
        One of this module's.
    skip_zeros : bool
        Leave out taps of weight zero: only right where every datum is finite, for 0 * NaN is NaN.
    begin : callable
        Given a tile's accumulator, returns the function that adds a product to it.
    empty_like : callable
    run : callable
        Given the work of a tile, the shape to be tiled, and the operations for an element, does it all.
    """
    inputs, outputs = weights.shape[1], weights.shape[0] // groups
    for group in range(groups):
        maps = slice(group * outputs, (group + 1) * outputs)
        group_x = x[:, group * inputs : (group + 1) * inputs]
        taps = _taps(weights[maps], skip_zeros)
        work = _tile_work(group_x, taps, weights.shape[2:], out[:, maps], reach, begin, empty_like)
        run(work, tuple(out[:, maps].shape), len(taps))


def _taps(weights: Array, skip_zeros: bool) -> list[Tap | None]:
    """Return the taps in the order in which they are summed; None keeps the place of one without weight.

    A single output's weight is a number, several outputs' an array ``(1, O, 1, ...)``.
    """
    shape = (1, len(weights)) + (1,) * (weights.ndim - 2)
    taps: list[Tap | None] = []
    for channel, *index in product(*map(range, weights.shape[1:])):
        weight = weights[(slice(None), channel, *index)]
        if skip_zeros and not weight.any():
            taps.append(None)
        else:
            value = weight.reshape(shape) if len(weight) > 1 else float(weight[0])
            taps.append((channel, tuple(index), value))
    return taps


def _tile_work(
    x: Array,
    taps: list[Tap | None],
    kernel: tuple[int, ...],
    out: Array,
    reach: Reach,
    begin: Callable[[Array], AddProduct],
    empty_like: Callable[[Array], Array],
) -> Callable[[Slices], None]:
    def work(tile: Slices) -> None:
        items, maps, *space = tile
        add_product = begin(out[tile])
        reached = [
            [reach(axis, tap, part) for tap in range(size)]
            for axis, (size, part) in enumerate(zip(kernel, space, strict=True))
        ]

        def term(tap: Tap) -> Term:
            channel, index, weight = tap
            sources, targets = zip(*(axis[t] for axis, t in zip(reached, index, strict=True)), strict=True)
            data = x[(items, slice(channel, channel + 1), *sources)]
            return (..., *targets), data, weight if isinstance(weight, float) else weight[:, maps]

        _sum(taps, term, add_product, out[tile], empty_like)

    return work


def _sum(
    taps: list[Tap | None],
    term: Callable[[Tap], Term],
    add_product: AddProduct,
    total: Array,
    empty_like: Callable[[Array], Array],
) -> None:
    """Set ``total`` to the sum over the taps: of a few in turn, of many as the sum of their halves.

    Pairwise summation: the error grows with the logarithm of the number of taps (Higham, "The accuracy of
    floating point summation", 1993).  Beginning from zero, a sum of nothing but -0 is a plain 0.
    """
    if len(taps) <= RUN:
        total[...] = 0
        # All views first: threads then wait less for Python between the additions.
        terms = [term(tap) for tap in taps if tap is not None]
        for where, data, weight in terms:
            add_product(total, where, data, weight)
        return
    half = len(taps) // 2
    _sum(taps[:half], term, add_product, total, empty_like)
    rest = empty_like(total)
    _sum(taps[half:], term, add_product, rest, empty_like)
    total += rest
