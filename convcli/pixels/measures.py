"""What range policies measure before values become pixels: reductions that know nothing of how values are walked.

One sweep over all values of an output is a `Pass`; `measure` runs passes until one of them gives the result.
"""

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import reduce
from math import ceil, floor
from typing import Any, Protocol

import numpy as np

from convcli.common import ConvError, frozen

Measured = tuple[float, float]  # what becomes black, and what white


class Pass(Protocol):
    """One sweep over all values of an output, in blocks of any shape, order and number.

    The same pass takes every block; what a block gives is small, and two of them merge into one, in any order.
    Passes and what they give can be pickled.
    """

    def take(self, values: np.ndarray) -> Any:
        """Return what a block of values (floats, not changed) adds; NaN and infinities do not count."""

    def merge(self, one: Any, other: Any) -> Any:
        """Return what two blocks add together."""

    def finish(self, found: Any) -> "Pass | Measured":
        """Return the result of all blocks, or another pass that is needed to know it."""

    @property
    def of_input(self) -> bool:
        """Whether it looks at what is filtered instead of the results."""
        return False


def measure(first: "Pass | None", sweep: "Callable[[Pass], Iterable[Any]]") -> Measured | None:
    """Return what a policy's passes measure; None where nothing needs measuring.

    Parameters
    ----------
    first : Pass or None
        From `convcli.pixels.ranges.Range.first_pass`.
    sweep : callable
        Calls the pass' ``take`` on all values, block by block, and returns what came of each; called once a pass.
        Values must come the same way each time, and the same way once more when they are rendered.
    """
    state: Pass | Measured | None = first
    while state is not None and not isinstance(state, tuple):
        state = state.finish(reduce(state.merge, sweep(state)))
    return state


class Extremes(Pass):
    """The smallest and the largest finite value; 0 and 0 where there is none."""

    def take(self, values: np.ndarray) -> Measured:
        low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = values[np.isfinite(values)]
            low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        return low.item(), high.item()

    def merge(self, one: Measured, other: Measured) -> Measured:
        return min(one[0], other[0]), max(one[1], other[1])

    def finish(self, found: Measured) -> Measured:
        return found if found[0] <= found[1] else (0.0, 0.0)


class Samples(Extremes):
    """The same of the samples that are filtered."""

    of_input = True


DIGIT = 16  # bits that one pass counts: 65536 counts
Counts = tuple[int, np.ndarray]  # the bits of a value, and for each prefix how often each digit follows it


@frozen
class Percentiles(Pass):
    """Two percentiles of the finite values, exactly; 0 and 0 where there is none.

    A radix selection.  The bits of a float, negative ones inverted, are an integer in the order of the floats.  The
    first pass counts its highest 16 bits; then it is known with which of them the wanted values begin, and the next
    pass counts the 16 bits that follow these.  Two passes for float32, four for float64.

    Attributes
    ----------
    percents : (float, float)
        From 0 to 100.
    known : int
        How many bits of the wanted values earlier passes have found.
    wanted : tuple of (int, int)
        For each percentile the two values that it lies between: their known bits, and how many of the values that
        begin with these are smaller.
    shares : tuple of float
        How far from the lower to the upper of the two each percentile lies.
    """

    percents: tuple[float, float]
    known: int = 0
    wanted: tuple[tuple[int, int], ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def prefixes(self) -> list[int]:
        return sorted({prefix for prefix, _ in self.wanted}) or [0]

    def take(self, values: np.ndarray) -> Counts:
        if values.itemsize > 8:
            raise ConvError(
                "percentiles are taken of float64, which rounds numbers beyond 2^53: use --range minmax"
            )
        keys, bits = _ordered(values[np.isfinite(values)]), 8 * values.itemsize
        rest = bits - self.known - DIGIT
        counts = []
        for prefix in self.prefixes:
            these = keys[keys >> (rest + DIGIT) == prefix] if self.known else keys
            digits = (these >> rest) & ((1 << DIGIT) - 1)
            counts.append(np.bincount(digits.astype(np.intp), minlength=1 << DIGIT))
        return bits, np.array(counts)

    def merge(self, one: Counts, other: Counts) -> Counts:
        return one[0], one[1] + other[1]

    def finish(self, found: Counts) -> "Pass | Measured":
        bits, counts = found
        if not self.known:
            total = int(counts.sum())
            if not total:
                return 0.0, 0.0
            places = [Fraction(percent) * (total - 1) / 100 for percent in self.percents]
            wanted = [(0, rank) for place in places for rank in (floor(place), ceil(place))]
            shares = tuple(float(place - floor(place)) for place in places)
        else:
            wanted, shares = list(self.wanted), self.shares
        sums = dict(zip(self.prefixes, counts.cumsum(axis=1), strict=True))
        longer = []
        for prefix, rank in wanted:
            digit = int(sums[prefix].searchsorted(rank, side="right"))
            before = int(sums[prefix][digit - 1]) if digit else 0
            longer.append((prefix << DIGIT | digit, rank - before))
        if self.known + DIGIT < bits:
            return Percentiles(self.percents, self.known + DIGIT, tuple(longer), shares)
        low, above_low, high, above_high = (_value(key, bits) for key, _ in longer)
        return low + (above_low - low) * shares[0], high + (above_high - high) * shares[1]


def _ordered(values: np.ndarray) -> np.ndarray:
    """Return floats (N,) as unsigned integers in the same order."""
    bits = 8 * values.itemsize
    keys = values.view(f"u{values.itemsize}")
    return np.where(keys >> (bits - 1), ~keys, keys | (1 << (bits - 1)))


def _value(key: int, bits: int) -> float:
    """Return the float of an integer that `_ordered` made."""
    sign = 1 << (bits - 1)
    key = key ^ sign if key & sign else key ^ (2 * sign - 1)
    return float(np.array(key, f"u{bits // 8}").view(f"f{bits // 8}"))
