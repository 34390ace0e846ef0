"""What can be said of a kernel by looking at it: its factors or terms, its symmetries, the integers behind its weights.

It serves the planner, the engines and the shell alike; no terminal.  numpy loads where arrays are looked at.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cached_property, lru_cache, reduce
from math import frexp, ldexp, prod
from typing import TYPE_CHECKING

from convcli.common import frozen

if TYPE_CHECKING:
    import numpy as np

_TOLERANCE = 1e-14  # of the largest weight: what products of factors lose by rounding
_MOST_DIFFERENT = 1000  # numbers that are looked at as fractions
_MIRRORS = ("left-right", "up-down", "front-back")  # along the last axis, the one before, …


@frozen
class Separation:
    """Factors, one for each axis, whose outer product times `scale` is the kernel.

    Factors of fractions are whole numbers without a common divisor.
    """

    scale: float
    factors: tuple[tuple[float, ...], ...]


def separation(weights: "np.ndarray") -> Separation | None:
    """Return the factors of one filter (*space), or None when it is not an outer product.

    >>> import numpy as np
    >>> separation(np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]))
    Separation(scale=1.0, factors=((1.0, 2.0, 1.0), (-1.0, 0.0, 1.0)))
    """
    import numpy as np

    weights = weights.astype(float)
    pivot = np.unravel_index(np.abs(weights).argmax(), weights.shape)
    largest = abs(weights[pivot])
    if not largest:
        return Separation(0.0, tuple((1.0,) * k for k in weights.shape))
    # An outer product is known from the lines through one tap that is not zero.
    lines = [np.moveaxis(weights, axis, 0)[:, *np.delete(pivot, axis)] for axis in range(weights.ndim)]
    factors = [_simplified(line.tolist()) for line in lines]
    scale = float(weights[pivot]) / prod(factor[at] for factor, at in zip(factors, pivot, strict=True))
    with np.errstate(over="ignore", invalid="ignore"):
        product = reduce(np.multiply.outer, map(np.array, factors), np.array(scale))
        if not (np.abs(product - weights) <= _TOLERANCE * largest).all():
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
    different = set(line) if len(set(line)) <= _MOST_DIFFERENT else set()
    fractions = {value: Fraction(value).limit_denominator(1000) for value in different}
    total, largest = math.fsum(line), max(map(abs, line))
    if different and all(float(fraction) == value for value, fraction in fractions.items()):
        over = math.lcm(*(fraction.denominator for fraction in fractions.values()))
        whole = {value: int(fraction * over) for value, fraction in fractions.items()}
        unit, values = float(math.gcd(*whole.values())), [float(whole[value]) for value in line]
    else:
        unit, values = total if abs(total) > 1e-6 * largest else largest, list(line)
    rising = total > 0 or (total == 0 and next(value for value in reversed(line) if value) > 0)
    sign = 1 if rising else -1
    return [sign * value / abs(unit) or 0.0 for value in values]


def symmetries(filters: "np.ndarray") -> tuple[str, ...]:
    """Return the symmetries that all filters, (filters, *space), share.

    ``left-right`` and its like are mirrors along one axis, ``point`` is the mirror along all of them; with
    ``anti`` before it the sign turns as well.

    >>> import numpy as np
    >>> symmetries(np.array([[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]]))
    ('anti left-right', 'up-down', 'anti point')
    """
    import numpy as np

    space = tuple(range(1, filters.ndim))
    largest = np.abs(filters).max(axis=space, keepdims=True)
    if not largest.any():
        return ()
    names: dict[str, tuple[int, ...]] = {
        name: (axis,) for name, axis in zip(_MIRRORS, reversed(space), strict=False)
    }
    if len(space) > 1:
        names["point"] = space
    signs = {"": 1, "anti ": -1} if filters.min() < 0 else {"": 1}
    return tuple(
        prefix + name
        for name, axes in names.items()
        for prefix, sign in signs.items()
        if (np.abs(filters - sign * np.flip(filters, axes)) <= _TOLERANCE * largest).all()
    )


MOST_TERMS = 8  # terms: with more, other algorithms are always quicker
CANCELLATION = 4.0  # how much larger than the kernel the terms may be that add up to it
LARGEST = 2.0**1000  # of the absolute sum: with more, factors can exceed float64
MOST_TAPS = 4096  # taps up to which fractions are looked for in the factors
_SHORT = 2.0**12  # odd parts of weights below this: quotients of such weights may be exact

Vector = tuple[float, ...]
Terms = tuple[tuple[Vector, ...], ...]
Cross = Callable[["np.ndarray"], tuple["np.ndarray", "np.ndarray"]]
"""Returns a column and a row whose product, taken from a matrix, leaves one of a rank less."""


def separable_terms(weights: "np.ndarray") -> Terms | None:
    """Return products of one vector an axis whose sum is the kernel, or None where more than `MOST_TERMS` are needed.

    One term is an outer product; its factors are whole numbers times powers of two where they can be.  Several come
    from eliminations: a sum of columns and a sum of rows of what is left are a term, and leave a matrix of a rank less
    (Wedderburn, "Lectures on matrices", 1934); a kernel of three dimensions is unfolded to a matrix, then each row.
    Sums and quotients of numbers give the same bits on every machine, which singular values of a library do not.  What
    the terms leave out is at most 2**-23 of the kernel's absolute sum in float32, no more than its rounding, and 2**-45
    in float64.

    >>> import numpy as np
    >>> separable_terms(np.array([[1.0, 2, 1], [2, 4, 2]]))
    (((0.25, 0.5), (4.0, 8.0, 4.0)),)
    >>> separable_terms(np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]))
    (((-0.125, 0.5, -0.125), (2.0, -8.0, 2.0)), ((0.25, 0.0, 0.25), (1.0, 0.0, 1.0)))
    """
    return _cached(weights.astype(float).tobytes(), weights.shape, weights.dtype.name)


@lru_cache(maxsize=64)
def _cached(weights: bytes, shape: tuple[int, ...], dtype: str) -> Terms | None:
    import numpy as np

    array = np.frombuffer(weights).reshape(shape)
    total = float(np.abs(array).sum())
    tolerance = total * (2.0**-23 if dtype == "float32" else 2.0**-45)
    if total > LARGEST:
        return None
    found = []
    for cross in (_plain, _steady) if _odd_parts(array).max() < _SHORT else (_steady,):
        terms = _terms(array, tolerance, cross)
        sizes = sum(prod(sum(map(abs, vector)) for vector in term) for term in terms or ())
        if terms and sizes <= CANCELLATION * total:
            found.append(tuple(map(_bounded, terms)))
    return min(found, key=len, default=None)


def _bounded(term: tuple[Vector, ...]) -> tuple[Vector, ...]:
    """Move powers of two to the last factor, so that the sums along the others never exceed the data's largest."""
    *others, last = term
    shifts = [frexp(sum(map(abs, vector)))[1] for vector in others]
    moved = [
        tuple(ldexp(value, -shift) for value in vector) for vector, shift in zip(others, shifts, strict=True)
    ]
    return (*moved, tuple(ldexp(value, sum(shifts)) for value in last))


def _terms(array: "np.ndarray", tolerance: float, cross: Cross) -> Terms | None:
    import numpy as np

    if array.ndim == 1:
        return ((tuple(array.tolist()),),)
    rest = array.reshape(len(array), -1)
    crosses: list[tuple[np.ndarray, np.ndarray]] = []
    while not crosses or np.abs(rest).sum() > tolerance / 2:
        if len(crosses) == min(MOST_TERMS, *rest.shape):
            return None
        column, row = cross(rest)
        rest = rest - np.outer(column, row)
        crosses.append((column, row.reshape(array.shape[1:])))
    if len(crosses) == 1 and array.size <= MOST_TAPS:
        found = separation(array)
        if found is not None:
            *others, last = found.factors
            return ((*others, tuple(found.scale * value for value in last)),)
    terms: list[tuple[Vector, ...]] = []
    for column, row in crosses:
        share = tolerance / max(float(np.abs(column).sum()), 1e-300) / len(crosses) / 2
        tails = _terms(row, share, cross)
        if tails is None:
            return None
        terms += [(tuple(column.tolist()), *tail) for tail in tails]
    return tuple(terms) if len(terms) <= MOST_TERMS else None


def _plain(matrix: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return column and row through the element of the smallest odd part: quotients by it are most likely exact."""
    import numpy as np

    odd = _odd_parts(matrix).ravel()
    at = np.lexsort((-np.abs(matrix).ravel(), np.where(odd == 0, np.inf, odd)))[0]
    y, x = divmod(int(at), matrix.shape[1])
    return matrix[:, x] / (matrix[y, x] or 1.0), matrix[y]


def _steady(matrix: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return sums of columns and of rows, with the signs of those through the largest element: they average errors."""
    import numpy as np

    y = int(np.abs(matrix).argmax()) // matrix.shape[1]
    column = (matrix * np.sign(matrix[y])).sum(1)
    row = (matrix * np.sign(column)[:, None]).sum(0)
    return column / (np.abs(column).sum() or 1.0), row


def _odd_parts(values: "np.ndarray") -> "np.ndarray":
    """Return numbers without their sign and powers of two: 3 of -0.75, 0 of 0."""
    import numpy as np

    whole = (np.frexp(np.abs(values))[0] * 2.0**53).astype(np.int64)
    return whole // np.maximum(whole & -whole, 1)


MOST = 256  # of the sum of absolute numbers: times 65535 it stays below 2**24, where float32 counts exactly
MOST_SIGNED = 128  # times 255 or -128 it stays within 16 bits with a sign
STEPS = 12  # the smallest weight may be so many times the factor
EXACT = 2e-7  # of a quotient, to its rounding: what float32 leaves of a weight


@frozen
class Whole:
    """Weights ``factor * numbers``.

    Attributes
    ----------
    factor : float
    numbers : tuple of int
        In C order.
    """

    factor: float
    numbers: tuple[int, ...]

    @cached_property
    def signed(self) -> bool:
        return any(number < 0 for number in self.numbers)

    @cached_property
    def total(self) -> int:
        """The sum of the absolute numbers."""
        return sum(map(abs, self.numbers))

    @property
    def divisor(self) -> int | None:
        """By what the sums are divided where the kernel is a weighted mean."""
        mean = not self.signed and abs(self.factor * self.total - 1) <= EXACT
        return self.total if mean else None

    @property
    def unit(self) -> tuple[int | None, float]:
        """What sums of the numbers are divided by, or multiplied with: kernels that share it make a bank."""
        return self.divisor, 0.0 if self.divisor else self.factor

    def fits_16_bits(self, unsigned: bool) -> bool:
        """Return whether sums of 8 bits, with or without a sign, fit 16."""
        return self.total <= (MOST if unsigned and not self.signed else MOST_SIGNED)


def wholes(kernels: "np.ndarray") -> list[Whole] | None:
    """Return kernels, (kernels, …), as integers times one factor; None where they are no such thing.

    >>> import numpy as np
    >>> wholes(np.array([[1.0, 3.0], [2.0, 1.0]]))[1].numbers, wholes(np.array([[1.0, 3.0], [0.1, 0.5]]))
    ((2, 1), None)
    """
    found = [whole(tuple(kernel.ravel().tolist())) for kernel in kernels]
    made = [one for one in found if one is not None and found[0] is not None and one.unit == found[0].unit]
    return made if len(made) == len(found) else None


@lru_cache(maxsize=256)
def whole(weights: tuple[float, ...]) -> Whole | None:
    """Return a kernel as integers; None where there are none small enough.

    >>> whole((0.1, 0.5, 0.0))
    Whole(factor=0.1, numbers=(1, 5, 0))
    >>> whole((0.3, 0.7123, 1.0)) is None
    True
    """
    taps = len(weights) - weights.count(0)
    if not 0 < taps <= MOST:  # of integers that are no zeros
        return None
    sizes = [abs(weight) for weight in weights if weight]
    for step in range(1, STEPS + 1):
        factor = min(sizes) / step
        if sum(sizes) > (MOST + 0.5) * factor:
            return None
        quotients = [weight / factor for weight in weights]
        if all(abs(quotient - round(quotient)) <= EXACT * abs(quotient) for quotient in quotients):
            return Whole(factor, tuple(round(quotient) for quotient in quotients))
    return None
