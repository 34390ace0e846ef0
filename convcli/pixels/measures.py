"""What range policies measure before values become pixels: reductions that know nothing of how values are walked.

One sweep over all values of an output is a `Pass`; `measure` runs passes until one of them gives the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, Protocol

import numpy as np

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

    def finish(self, found: Any) -> Pass | Measured:
        """Return the result of all blocks, or another pass that is needed to know it."""


def measure(first: Pass | None, sweep: Callable[[Pass], Iterable[Any]]) -> Measured | None:
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


class Extremes:
    """The smallest and the largest finite value; 0 and 0 where there is none."""

    def take(self, values: np.ndarray) -> Measured:
        low, high = values.min(initial=np.inf), values.max(initial=-np.inf)
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = values[np.isfinite(values)]
            low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
        return float(low), float(high)

    def merge(self, one: Measured, other: Measured) -> Measured:
        return min(one[0], other[0]), max(one[1], other[1])

    def finish(self, found: Measured) -> Measured:
        return found if found[0] <= found[1] else (0.0, 0.0)
