"""Weighted means of bytes in whole numbers: sums of 16 bits, divided once, rounded half to even.

The same results as those of the engines, rounded, for a third of the work and without torch: for kernels that are
a product of a column and a row of small fractions, such as boxes and binomials.  Only arrays here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

_STRIP = 96  # rows at a time, so that what is added up stays in the cache
_DIVISOR = 256  # the largest whose sums of bytes fit 16 bits, with half of it for rounding
_EXACT = 1e-12


@dataclass(frozen=True)
class Whole:
    """A kernel in whole numbers: the weight at (y, x) is ``column[y] * row[x] / divisor``."""

    column: tuple[int, ...]
    row: tuple[int, ...]
    divisor: int


def whole(weights: np.ndarray) -> Whole | None:
    """Return non-negative weights (Y, X) of sum 1 in whole numbers, ``None`` where they are no such product.

    >>> whole(np.full((3, 3), 1 / 9))
    Whole(column=(1, 1, 1), row=(1, 1, 1), divisor=9)
    >>> whole(np.outer([1, 4, 1], [1, 2, 1]) / 24).row
    (1, 2, 1)
    """
    column, row = weights.sum(axis=1), weights.sum(axis=0)
    if np.abs(np.outer(column, row) - weights).max() > _EXACT:
        return None
    down, across = _fractions(column), _fractions(row)
    if down is None or across is None or down[1] * across[1] > _DIVISOR:
        return None
    return Whole(down[0], across[0], down[1] * across[1])


def _fractions(vector: np.ndarray) -> tuple[tuple[int, ...], int] | None:
    """Return numerators and their common denominator."""
    parts = [Fraction(value).limit_denominator(_DIVISOR) for value in vector.tolist()]
    divisor = lcm(*(part.denominator for part in parts))
    numerators = [round(part * divisor) for part in parts]
    exact = np.abs(np.array(numerators) / divisor - vector).max() <= _EXACT and sum(numerators) == divisor
    return (tuple(numerators), divisor) if exact else None


def means(padded: np.ndarray, kernel: Whole, dilation: Sequence[int]) -> np.ndarray:
    """Return the valid correlation of bytes (Y, X) with a kernel, as bytes."""
    high, wide = (d * (len(taps) - 1) for d, taps in zip(dilation, (kernel.column, kernel.row), strict=True))
    height, width = padded.shape[0] - high, padded.shape[1] - wide
    out = np.empty((height, width), np.uint8)
    for top in range(0, height, _STRIP):
        rows = min(_STRIP, height - top)
        strip = padded[top : top + rows + high].astype(np.uint16)
        taps = [strip[at * dilation[0] : at * dilation[0] + rows] for at in range(len(kernel.column))]
        sums = _weighted(taps, kernel.column)
        taps = [sums[:, at * dilation[1] : at * dilation[1] + width] for at in range(len(kernel.row))]
        out[top : top + rows] = _divided(_weighted(taps, kernel.row), kernel.divisor)
    return out


def _weighted(taps: Sequence[np.ndarray], weights: Sequence[int]) -> np.ndarray:
    """Return the weighted sum in a new array; taps of equal weight are added up before they are multiplied."""
    total: np.ndarray | None = None
    for weight in dict.fromkeys(weight for weight in weights if weight):
        first, *others = (tap for tap, own in zip(taps, weights, strict=True) if own == weight)
        part = first * np.uint16(weight) if not others else first + others[0]
        for tap in others[1:]:
            part += tap
        if others and weight > 1:
            part *= np.uint16(weight)
        total = part if total is None else np.add(total, part, out=total)
    if total is None:
        raise ValueError("a weighted mean without weights")
    return total


def _divided(sums: np.ndarray, divisor: int) -> np.ndarray:
    """Divide, rounding half to even; the sums are used up."""
    sums += np.uint16(divisor // 2)
    means = sums // np.uint16(divisor)
    if divisor % 2 == 0:  # halves have been rounded up: those that became odd go back
        sums -= means * np.uint16(divisor)
        means -= (sums == 0) & (means & 1).astype(bool)
    return means
