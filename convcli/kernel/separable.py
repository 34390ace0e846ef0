"""A kernel as a sum of outer products: one vector an axis, one after the other, instead of all taps at once."""

from __future__ import annotations

from functools import lru_cache
from math import frexp, ldexp, prod
from typing import TYPE_CHECKING

from convcli.kernel.analysis import separation

if TYPE_CHECKING:
    import numpy as np

MOST = 8  # terms: with more, other algorithms are always quicker
CANCELLATION = 4.0  # how much larger than the kernel the terms may be that add up to it
EXACT = 4096  # taps up to which fractions are looked for in the factors

Vector = tuple[float, ...]
Terms = tuple[tuple[Vector, ...], ...]


def separable_terms(weights: np.ndarray) -> Terms | None:
    """Return products of one vector an axis whose sum is the kernel, or None where more than `MOST` are needed.

    One term is an outer product; its factors are whole numbers times powers of two where they can be.  Several come
    from singular values, in three dimensions of the kernel unfolded to a matrix, then of each singular vector (De
    Lathauwer et al., "A multilinear singular value decomposition", 2000).  What they leave out is at most 2**-23 of the
    kernel's absolute sum in float32, no more than its rounding, and 2**-45 in float64.

    >>> import numpy as np
    >>> separable_terms(np.array([[1.0, 2, 1], [2, 4, 2]]))
    (((0.25, 0.5), (4.0, 8.0, 4.0)),)
    >>> len(separable_terms(np.array([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])))
    2
    """
    return _cached(weights.astype(float).tobytes(), weights.shape, weights.dtype.name)


@lru_cache(maxsize=64)
def _cached(weights: bytes, shape: tuple[int, ...], dtype: str) -> Terms | None:
    import numpy as np

    array = np.frombuffer(weights).reshape(shape)
    total = float(np.abs(array).sum())
    tolerance = total * (2.0**-23 if dtype == "float32" else 2.0**-45)
    terms = _terms(array, tolerance)
    sizes = sum(prod(sum(map(abs, vector)) for vector in term) for term in terms or ())
    return tuple(map(_bounded, terms)) if terms and sizes <= CANCELLATION * total else None


def _bounded(term: tuple[Vector, ...]) -> tuple[Vector, ...]:
    """Move powers of two to the last factor, so that the sums along the others never exceed the data's largest."""
    *others, last = term
    shifts = [frexp(sum(map(abs, vector)))[1] for vector in others]
    moved = [
        tuple(ldexp(value, -shift) for value in vector) for vector, shift in zip(others, shifts, strict=True)
    ]
    return (*moved, tuple(ldexp(value, sum(shifts)) for value in last))


def _terms(array: np.ndarray, tolerance: float) -> Terms | None:
    import numpy as np

    if array.ndim == 1:
        return ((tuple(array.tolist()),),)
    left, values, right = np.linalg.svd(array.reshape(len(array), -1), full_matrices=False)
    count, rest = 0, array.reshape(len(array), -1)
    while count == 0 or np.abs(rest).sum() > tolerance / 2:
        if count == min(MOST, len(values)):
            return None
        rest = rest - np.outer(left[:, count] * values[count], right[count])
        count += 1
    if count == 1 and array.size <= EXACT:
        found = separation(array.ravel().tolist(), array.shape)
        if found is not None:
            *others, last = found.factors
            return ((*others, tuple(found.scale * value for value in last)),)
    terms: list[tuple[Vector, ...]] = []
    for index in range(count):
        norm = float(np.abs(left[:, index]).sum() * values[index])
        tails = _terms(right[index].reshape(array.shape[1:]), tolerance / max(norm, 1e-300) / count / 2)
        if tails is None:
            return None
        head = tuple((left[:, index] * values[index]).tolist())
        terms += [(head, *tail) for tail in tails]
    return tuple(terms) if len(terms) <= MOST else None
