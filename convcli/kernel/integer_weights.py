"""A kernel as whole numbers times one factor: bytes times small whole numbers add up exactly in 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import chain, product
from math import prod

from convcli.common.frozen import frozen
from convcli.kernel.analysis import separation

MOST = 128  # of the sum of absolute numbers: times 255 or -128 it stays within 16 bits with a sign
MOST_UNSIGNED = 256  # the same without a sign, with room for half of it, by which means are rounded
STEPS = 12  # the smallest weight may be so many times the factor
EXACT = 2e-7  # of a quotient, to its rounding: what float32 leaves of a weight

# A number, where it stands, and whether negative
Group = tuple[int, tuple[tuple[tuple[int, ...], bool], ...]]


@frozen
class Whole:
    """Weights ``factor * numbers``, for several kernels of one size.

    Attributes
    ----------
    factor : float
    passes : tuple
        What is summed, one after the other: pairs of the axes' sizes and the numbers in C order.  One pass for a
        kernel as it is, or one for each axis of an outer product.
    """

    factor: float
    passes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    @cached_property
    def signed(self) -> bool:
        return any(number < 0 for _, numbers in self.passes for number in numbers)

    @cached_property
    def total(self) -> int:
        """The sum of the kernel's absolute numbers."""
        return prod(sum(map(abs, numbers)) for _, numbers in self.passes)

    @property
    def divisor(self) -> int | None:
        """By what the sums are divided where the kernel is a weighted mean."""
        mean = not self.signed and abs(self.factor * self.total - 1) <= EXACT
        return self.total if mean else None

    def fits(self, unsigned: bool) -> bool:
        """Return whether sums of 8 bits, with or without a sign, fit 16."""
        return self.total <= (MOST_UNSIGNED if unsigned and not self.signed else MOST)

    @cached_property
    def operations(self) -> int:
        """Additions and products for an element: equal numbers are added up before their product."""
        total = 0
        for _, numbers in self.passes:
            sizes = {abs(number) for number in numbers if number}
            total += sum(number != 0 for number in numbers) + 2 * len(sizes - {1})
        return total


@lru_cache(maxsize=256)
def groups(size: tuple[int, ...], numbers: tuple[int, ...]) -> tuple[Group, ...]:
    """Return the taps of each absolute number but 0, those that are added before those that are subtracted.

    >>> groups((2, 2), (1, -2, 0, 2))
    ((1, (((0, 0), False),)), (2, (((1, 1), False), ((0, 1), True))))
    """
    taps = list(zip(product(*map(range, size)), numbers, strict=True))
    sizes = dict.fromkeys(abs(number) for number in numbers if number)
    return tuple(
        (one, tuple((tap, sign < 0) for sign in (1, -1) for tap, number in taps if number == sign * one))
        for one in sizes
    )


@lru_cache(maxsize=256)
def whole(weights: tuple[float, ...], size: tuple[int, ...]) -> Whole | None:
    """Return a kernel as whole numbers, by the way with fewer operations; None where there are none small enough.

    >>> whole((1 / 9,) * 9, (3, 3)).passes
    (((3, 1), (1, 1, 1)), ((1, 3), (1, 1, 1)))
    >>> whole((0.1, 0.5, 0.0), (3,))
    Whole(factor=0.1, passes=(((3,), (1, 5, 0)),))
    >>> whole((0.3, 0.7123, 1.0), (3,)) is None
    True
    """
    found = _numbers(weights)
    if found is None:
        return None
    factor, numbers = found
    ways = [Whole(factor, ((size, numbers),))]
    apart = separation([float(number) for number in numbers], size) if len(size) > 1 else None
    parts = (apart.scale, *chain.from_iterable(apart.factors)) if apart else ()
    if apart is not None and all(map(float.is_integer, parts)) and sum(k > 1 for k in size) > 1:
        ways.append(_by_axis(factor * apart.scale, apart.factors, size))
    return min(ways, key=lambda way: way.operations)


def _numbers(weights: Sequence[float]) -> tuple[float, tuple[int, ...]] | None:
    sizes = [abs(weight) for weight in weights if weight]
    if not sizes:
        return None
    for step in range(1, STEPS + 1):
        factor = min(sizes) / step
        if sum(sizes) > (MOST_UNSIGNED + 0.5) * factor:
            return None
        quotients = [weight / factor for weight in weights]
        if all(abs(quotient - round(quotient)) <= EXACT * abs(quotient) for quotient in quotients):
            return factor, tuple(round(quotient) for quotient in quotients)
    return None


def _by_axis(factor: float, factors: Sequence[Sequence[float]], size: tuple[int, ...]) -> Whole:
    passes = []
    for axis, numbers in enumerate(factors):
        if len(numbers) == 1:
            factor *= numbers[0]
            continue
        alone = [1] * len(size)
        alone[axis] = len(numbers)
        passes.append((tuple(alone), tuple(int(number) for number in numbers)))
    return Whole(factor, tuple(passes))
