"""What can be said of a kernel by looking at it: separable into what factors, symmetric in what ways.

Plain numbers, so that it serves the planner and the shell alike; no terminal, no arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce

from convcli.common.frozen import frozen
from convcli.kernel.model import Kernel

_TOLERANCE = 1e-14  # of the largest weight: what products of factors lose by rounding
_MIRRORS = ("left-right", "up-down", "front-back")  # along the last axis, the one before, …


@frozen
class Separation:
    """Factors, one for each axis, whose outer product times `scale` is the kernel.

    Factors of fractions are whole numbers without a common divisor.
    """

    scale: float
    factors: tuple[tuple[float, ...], ...]


def filters(kernel: Kernel) -> list[tuple[float, ...]]:
    """Return the weights of each output and input, flat: outputs × inputs of them."""
    step = math.prod(kernel.size)
    return [kernel.weights[i : i + step] for i in range(0, len(kernel.weights), step)]


def separation(weights: Sequence[float], size: Sequence[int]) -> Separation | None:
    """Return the factors of one filter of the given size, or None when it is not an outer product.

    >>> separation((-1, 0, 1, -2, 0, 2, -1, 0, 1), (3, 3))
    Separation(scale=1.0, factors=((1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)))
    """
    pivot = max(range(len(weights)), key=lambda i: abs(weights[i]))
    largest = abs(weights[pivot])
    if not largest:
        return Separation(0.0, tuple((1.0,) * k for k in size))
    # An outer product is known from the lines through one tap that is not zero.
    lines = []
    for axis, k in enumerate(size):
        step = math.prod(size[axis + 1 :])
        first = pivot - pivot // step % k * step
        lines.append([weights[first + i * step] for i in range(k)])
    factors = [_simplified(line) for line in lines]
    at_pivot = math.prod(
        factor[line.index(weights[pivot])] for factor, line in zip(factors, lines, strict=True)
    )
    scale = weights[pivot] / at_pivot
    product = reduce(lambda done, factor: [a * b for a in done for b in factor], factors, [scale])
    if any(abs(a - b) > _TOLERANCE * largest for a, b in zip(product, weights, strict=True)):
        return None
    if scale < 0:  # the sign belongs into a factor, best into one of both signs
        turned = next((i for i, factor in enumerate(factors) if min(factor) < 0), 0)
        scale, factors[turned] = -scale, [-value or 0.0 for value in factors[turned]]
    if math.isclose(scale, 1, rel_tol=_TOLERANCE * 10):
        scale = 1.0
    return Separation(scale, tuple(map(tuple, factors)))


def _simplified(line: Sequence[float]) -> list[float]:
    """Return a multiple of a line: whole numbers if there are small ones, else with sum or largest 1.

    Its sum is positive, or the last number is, so that like kernels get like factors.
    """
    fractions = [Fraction(value).limit_denominator(1000) for value in line]
    total, largest = math.fsum(line), max(map(abs, line))
    if all(float(fraction) == value for fraction, value in zip(fractions, line, strict=True)):
        over = math.lcm(*(fraction.denominator for fraction in fractions))
        whole = [int(fraction * over) for fraction in fractions]
        unit, values = float(math.gcd(*whole)), list(map(float, whole))
    else:
        unit, values = total if abs(total) > 1e-6 * largest else largest, list(line)
    rising = total > 0 or (total == 0 and next(value for value in reversed(line) if value) > 0)
    sign = 1 if rising else -1
    return [sign * value / abs(unit) or 0.0 for value in values]


def symmetries(kernel: Kernel) -> tuple[str, ...]:
    """Return the symmetries that all filters of a kernel share.

    ``left-right`` and its like are mirrors along one axis, ``point`` is the mirror along all of them; with
    ``anti`` before it the sign turns as well.

    >>> symmetries(Kernel("sobel-x", (1, 1, 3, 3), (-1, 0, 1, -2, 0, 2, -1, 0, 1)))
    ('anti left-right', 'up-down', 'anti point')
    """
    if not any(kernel.weights):
        return ()
    names = dict(zip(_MIRRORS, ([axis] for axis in reversed(range(kernel.rank))), strict=False))
    if kernel.rank > 1:
        names["point"] = list(range(kernel.rank))
    found = []
    for name, axes in names.items():
        mirror = _mirrored_indices(kernel.size, axes)
        for sign, prefix in ((1, ""), (-1, "anti ")):
            if all(_close(weights, [sign * weights[i] for i in mirror]) for weights in filters(kernel)):
                found.append(prefix + name)
    return tuple(found)


def _mirrored_indices(size: Sequence[int], axes: Sequence[int]) -> list[int]:
    indices = [0]
    for axis, k in enumerate(size):
        order = range(k - 1, -1, -1) if axis in axes else range(k)
        indices = [index * k + i for index in indices for i in order]
    return indices


def _close(a: Sequence[float], b: Sequence[float]) -> bool:
    largest = max(map(abs, a))
    return all(abs(x - y) <= _TOLERANCE * largest for x, y in zip(a, b, strict=True))
