"""A look at a box before it is computed: where would an algorithm's error be felt outside its windows?

The error of a transform is a share of the largest value in its tile, wherever that stands.  It is as local as that of
a sum where the values near every window are not much smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from math import ceil, prod

import numpy as np

from convcli.common.frozen import frozen_identity
from convcli.data.box import Box, slices, whole
from convcli.engines.interface import Correlation, Values
from convcli.engines.native import library, rows

CELLS = 8  # half windows along a part that is not cut again: about a transform's tile
PART = 1 << 14  # outputs of a part that is not worth cutting


@frozen_identity
class Look:
    """How large the values in each window of a call are, in cells half as wide as the window; `look` makes one.

    Attributes
    ----------
    call : Correlation
    seen : ndarray
        ``(N, *cells)``: the largest absolute value in the cells that windows touch which begin in a cell; NaN where
        they hold one.
    near : ndarray
        The same for the one cell that all of these windows hold whole, unless there is nothing but zeros in it.
    part : Box
        The cells that this look is about.
    """

    call: Correlation
    seen: np.ndarray
    near: np.ndarray
    part: Box

    @cached_property
    def values(self) -> Values:
        """What there is; windows on nothing but zeros do not count, for `clear` sees to them."""
        near = self._of(self.near)
        along = tuple(axis for axis, extent in enumerate(self.call.extents, 1) if extent > 1)
        largest = self._of(self.seen).max(axis=along, keepdims=True)
        with np.errstate(all="ignore"):
            spread = largest / near.min(axis=along, keepdims=True, where=near > 0, initial=np.inf)
        return Values(float(largest.max()), float(spread.max()))

    @property
    def outputs(self) -> Box:
        """The outputs whose windows begin in these cells."""
        call = self.call
        axes = zip(self.part, _widths(call), call.stride, call.sizes, strict=True)
        return tuple((min(ceil(a * w / s), n), min(ceil(b * w / s), n)) for (a, b), w, s, n in axes)

    @property
    def alone(self) -> Correlation:
        """The call for these outputs alone."""
        call, outputs = self.call, self.outputs
        axes = zip(outputs, call.extents, call.stride, strict=True)
        needed = tuple((a * s, (b - 1) * s + e) for (a, b), e, s in axes)
        return call.narrowed(
            call.x[(slice(None), slice(None), *slices(needed))], tuple(b - a for a, b in outputs)
        )

    @property
    def halves(self) -> tuple[Look, Look] | None:
        """Its two parts; None where they would be too small."""
        counts = [b - a for a, b in self.part]
        axis = max(range(len(counts)), key=counts.__getitem__)
        if counts[axis] <= CELLS or prod(b - a for a, b in self.outputs) <= PART:
            return None
        start, stop = self.part[axis]
        cut = (start + stop) // 2
        parts = ((*self.part[:axis], span, *self.part[axis + 1 :]) for span in ((start, cut), (cut, stop)))
        first, second = (Look(self.call, self.seen, self.near, part) for part in parts)
        return first, second

    def clear(self, made: np.ndarray) -> None:
        """Set to zero what windows on nothing but zeros give, of these outputs ``(N, O, *sizes)`` with stride 1."""
        seen, cell = self._of(self.seen), _widths(self.call)
        if seen.all() or (library.loops() is not None and rows.clear(made, cell, seen)):
            return
        for axis, (width, n) in reversed([*enumerate(zip(cell, made.shape[2:], strict=True), 1)]):
            seen = seen.repeat(width, axis).take(range(n), axis)
        np.copyto(made, 0, where=seen[:, np.newaxis] == 0)

    def _of(self, cells: np.ndarray) -> np.ndarray:
        return cells[(slice(None), *slices(self.part))]


def look(call: Correlation) -> Look:
    """Return the look at all of a call's box: one pass over it."""
    seen = near = _magnitudes(call.x, _widths(call))
    counts = [(n - 1) * s // w + 1 for n, s, w in zip(call.sizes, call.stride, _widths(call), strict=True)]
    for axis, (count, extent) in enumerate(zip(counts, call.extents, strict=True), 1):
        if extent > 1:
            first, second, third = (_from(seen, axis, start, count) for start in range(3))
            near, seen = _from(near, axis, 1, count), np.maximum(first, second)
            beside = _from(seen, axis, 0, third.shape[axis])
            np.maximum(beside, third, out=beside)
    near = np.where(near == 0, seen, near)
    return Look(call, seen, near, whole(counts))


def _widths(call: Correlation) -> list[int]:
    return [max(extent // 2, 1) for extent in call.extents]


def _magnitudes(x: np.ndarray, cell: Sequence[int]) -> np.ndarray:
    """Return the largest absolute value, of all channels, in each cell."""
    if library.loops() is not None and x.dtype.kind == "f":
        return rows.magnitudes(x, cell)
    with np.errstate(invalid="ignore"):
        found = np.maximum(x.max(1), -x.min(1).astype(float))
        for axis, width in enumerate(cell, 1):
            found = np.maximum.reduceat(found, range(0, found.shape[axis], width), axis)
    return found


def _from(cells: np.ndarray, axis: int, start: int, count: int) -> np.ndarray:
    """Return that many cells along an axis, or those that there are."""
    return cells[(*[slice(None)] * axis, slice(start, start + count))]
