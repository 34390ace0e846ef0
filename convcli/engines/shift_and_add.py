"""The direct algorithm, for arrays of any library: add up the data, shifted by each tap, times its weight.

This is the definition of a convolution read from left to right, and the only algorithm here that treats NaN and
infinities by itself exactly as the definition does.  Numpy and torch arrays slice alike.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from convcli.engines.interface import Correlation
from convcli.geometry.windows import Window
from convcli.kernel.analysis import separable_terms

Array = Any  # numpy.ndarray or torch.Tensor
Tap = tuple[int, ...]  # channel and place in the kernel
Reach = Callable[[int, int], tuple[slice, slice]]
"""(axis, tap) -> (inputs that the tap takes, outputs that it adds to)"""

RUN = 32  # products added one after another; longer sums are halved, which bounds the rounding error


def correlation_reach(call: Correlation) -> Reach:
    """Return what each tap takes: output i looks at input i * stride + tap * dilation.

    >>> one = np.zeros((1, 1, 3), np.float32)
    >>> correlation_reach(Correlation(one, one, sizes=(3,), stride=(2,), dilation=(1,)))(0, 1)
    (slice(1, 6, 2), slice(None, None, None))
    """
    return lambda axis, tap: (_every(call, axis, tap, call.sizes[axis]), slice(None))


def transposed_reach(call: Correlation) -> Reach:
    """Return where each tap goes: input i adds to output i * stride + tap * dilation."""
    return lambda axis, tap: (slice(None), _every(call, axis, tap, call.x.shape[2 + axis]))


def _every(call: Correlation, axis: int, tap: int, count: int) -> slice:
    first, step = tap * call.dilation[axis], call.stride[axis]
    return slice(first, first + (count - 1) * step + 1, step)


def shift_and_add(
    x: Array,
    call: Correlation,
    out: Array,
    reach: Reach,
    asarray: Callable[[np.ndarray], Array],
    zeros_like: Callable[[Array], Array],
) -> None:
    """Set ``out`` to the sum over all taps of weight * data.

    Parameters
    ----------
    x, out : array
        ``(N, C, *space)`` and ``(N, O, *sizes)``, of one library.
    call : Correlation
        With the weights, and how they are grouped.
    reach : callable
        One of this module's.
    asarray, zeros_like : callable
        Of that library.
    """
    inputs, outputs = call.weights.shape[1], len(call.weights) // call.groups
    all_taps = list(product(*map(range, call.weights.shape[1:])))
    for group in range(call.groups):
        maps = slice(group * outputs, (group + 1) * outputs)
        data, weights = x[:, group * inputs : (group + 1) * inputs], call.weights[maps]

        def add_products(taps: Sequence[Tap], total: Array, x: Array = data, w: np.ndarray = weights) -> None:
            for channel, *index in taps:
                weight = np.moveaxis(w, 0, -1)[(channel, *index)]
                if weight.any() or not call.finite:  # 0 * NaN is NaN
                    sources, targets = zip(*(reach(axis, tap) for axis, tap in enumerate(index)), strict=True)
                    shifted = x[(slice(None), slice(channel, channel + 1), *sources)]
                    total[(..., *targets)] += shifted * asarray(weight.reshape(-1, *[1] * len(index)))

        out[:, maps] = 0
        _add_halves(all_taps, out[:, maps], add_products, zeros_like)


def _add_halves(
    taps: Sequence[Tap],
    total: Array,
    add_products: Callable[[Sequence[Tap], Array], None],
    zeros_like: Callable[[Array], Array],
) -> None:
    """Add few products in turn, and of many the sums of their halves, to a total.

    Pairwise summation: the error grows with the logarithm of the number of taps (Higham, "The accuracy of
    floating point summation", 1993).  Beginning from zero, a sum of nothing but -0 is a plain 0.
    """
    if len(taps) <= RUN:
        add_products(taps, total)
        return
    half = len(taps) // 2
    _add_halves(taps[:half], total, add_products, zeros_like)
    rest = zeros_like(total)
    _add_halves(taps[half:], rest, add_products, zeros_like)
    total += rest


def separable(call: Correlation, x: Array, direct: Callable[[Correlation], Array]) -> Array:
    """Return the correlation of ``x`` with one kernel, axis by axis; several outer products are added up.

    Raises
    ------
    ValueError
        A kernel that is not a sum of a few outer products.
    """
    total: Array | None = None
    for vectors in separable_terms(call.weights[0, 0]) or ():
        part = x
        for axis, vector in enumerate(vectors):
            if vector == (1.0,) and call.stride[axis] == 1:
                continue
            alone = [1] * len(vectors)
            steps, gaps, shape = (
                [*alone[:axis], n, *alone[axis + 1 :]]
                for n in (call.stride[axis], call.dilation[axis], len(vector))
            )
            sizes = list(part.shape[2:])
            sizes[axis] = Window(len(vector), steps[axis], gaps[axis]).output_size(sizes[axis])
            weights = np.array(vector, call.weights.dtype).reshape(1, 1, *shape)
            part = direct(replace(call, x=part, weights=weights, sizes=tuple(sizes), stride=tuple(steps),
                                  dilation=tuple(gaps), finite=False, out=None))  # fmt: skip
        total = part if total is None else total + part
    if total is None:
        raise ValueError(f"a kernel of shape {call.weights.shape} is not a sum of a few outer products")
    return total
