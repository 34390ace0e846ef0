"""A look at a box before it is computed: where would an algorithm's error be felt outside its windows?

The error of a transform is a share of the largest value in its tile, wherever that stands.  It is as local as that of
a sum where the values near every window are not much smaller.
"""

from __future__ import annotations

from functools import cached_property, reduce
from math import ceil, prod

import numpy as np

from convcli.common.frozen import frozen_identity
from convcli.data.box import Box, slices, whole
from convcli.engines.interface import Correlation, Values

CELLS = 4  # windows along a part that is not cut again: about a transform's tile
PART = 1 << 14  # outputs of a part that is not worth cutting


@frozen_identity
class Look:
    """How large the values are near each window of a call, in cells as wide as the window; `look` makes one.

    Attributes
    ----------
    call : Correlation
    seen : ndarray
        ``(N, *cells)``: the largest absolute value in the cells that windows touch which begin in a cell; NaN where
        they hold one.
    near : ndarray
        The same with one more cell on each side: all of it lies within two windows' widths.
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
        seen = self._of(self.seen)
        along = tuple(axis for axis, extent in enumerate(self.call.extents, 1) if extent > 1)
        near = np.where(seen > 0, self._of(self.near), np.inf)
        with np.errstate(all="ignore"):
            spread = (seen.max(axis=along, keepdims=True) / near).max()
        return Values(float(seen.max()), float(spread))

    @property
    def outputs(self) -> Box:
        """The outputs whose windows begin in these cells."""
        call = self.call
        axes = zip(self.part, call.extents, call.stride, call.sizes, strict=True)
        return tuple((min(ceil(a * e / s), n), min(ceil(b * e / s), n)) for (a, b), e, s, n in axes)

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
        """Set to zero what windows on nothing but zeros give, of these outputs ``(N, O, *sizes)``."""
        empty = self._of(self.seen) == 0
        if not empty.any():
            return
        axes = zip(self.outputs, self.part, self.call.extents, self.call.stride, strict=True)
        for axis, ((start, stop), (first, _), extent, stride) in enumerate(axes, 1):
            empty = empty.take(np.arange(start, stop) * stride // extent - first, axis)
        np.copyto(made, 0, where=empty[:, np.newaxis])

    def _of(self, cells: np.ndarray) -> np.ndarray:
        return cells[(slice(None), *slices(self.part))]


def look(call: Correlation) -> Look:
    """Return the look at all of a call's box: one pass over it."""
    cells = call.x
    order = sorted(range(2, cells.ndim), key=lambda axis: -abs(cells.strides[axis]))
    wide = [axis for axis in order if call.extents[axis - 2] > 1]
    with np.errstate(invalid="ignore"):
        for number, axis in enumerate(wide):
            cells = _largest(cells, axis, call.extents[axis - 2], signed=number == 0)
        cells = (cells if wide else np.abs(cells)).max(axis=1)
    counts = [(n - 1) * s // e + 1 for n, s, e in zip(call.sizes, call.stride, call.extents, strict=True)]
    seen = near = cells
    for axis, (count, extent) in enumerate(zip(counts, call.extents, strict=True), 1):
        if extent > 1:
            seen, near = _around(seen, axis, 0, 1, count), _around(near, axis, 1, 2, count)
    return Look(call, seen, near, whole(counts))


def _largest(x: np.ndarray, axis: int, width: int, signed: bool) -> np.ndarray:
    """Return the largest absolute value of every ``width`` elements along an axis."""
    starts = range(0, x.shape[axis], width)
    if (
        abs(x.strides[axis]) == x.itemsize
    ):  # nothing else lies beside an element: numpy is quicker all at once
        high = np.maximum.reduceat(x, starts, axis)
        return np.maximum(high, -np.minimum.reduceat(x, starts, axis)) if signed else high
    parts = [x[(*[slice(None)] * axis, slice(start, start + width))] for start in starts]
    found = [np.maximum(p.max(axis), -p.min(axis)) if signed else p.max(axis) for p in parts]
    return np.stack(found, axis)


def _around(cells: np.ndarray, axis: int, before: int, after: int, count: int) -> np.ndarray:
    """Return the largest of each cell and its neighbours along an axis, for the first ``count`` cells."""
    amounts = [(0, 0)] * cells.ndim
    amounts[axis] = (before, after)
    padded = np.moveaxis(np.pad(cells, amounts), axis, 0)
    parts = [padded[shift : shift + count] for shift in range(before + after + 1)]
    return np.moveaxis(reduce(np.maximum, parts), 0, axis)
