"""A look at a box before it is computed: where would an algorithm's error be felt outside its windows?

The error of a transform is a share of the largest value in its tile, wherever that stands.  It is as local as that of
a sum where the values near every window are not much smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce
from itertools import product
from math import ceil, inf, prod

import numpy as np

from convcli.common.frozen import frozen_identity
from convcli.data.box import Box, slices, whole
from convcli.engines.interface import Correlation, Values

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
    held : ndarray
        The same for the one cell that all of these windows hold whole.
    part : Box
        The cells that this look is about.
    """

    call: Correlation
    seen: np.ndarray
    held: np.ndarray
    part: Box

    @cached_property
    def values(self) -> Values:
        """What there is; windows on nothing but zeros do not count, for `clear` sees to them."""
        seen = self._of(self.seen)
        along = tuple(axis for axis, extent in enumerate(self.call.extents, 1) if extent > 1)
        held = self._of(self.held)
        near = np.where(held > 0, held, np.where(seen > 0, seen, np.inf))
        with np.errstate(all="ignore"):
            spread = (seen.max(axis=along, keepdims=True) / near).max()
        return Values(float(seen.max()), float(spread))

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
        first, second = (Look(self.call, self.seen, self.held, part) for part in parts)
        return first, second

    def clear(self, made: np.ndarray) -> None:
        """Set to zero what windows on nothing but zeros give, of these outputs ``(N, O, *sizes)``."""
        empty = self._of(self.seen) == 0
        if not empty.any():
            return
        axes = zip(self.outputs, self.part, _widths(self.call), self.call.stride, strict=True)
        for axis, ((start, stop), (first, _), width, stride) in enumerate(axes, 1):
            empty = empty.take(np.arange(start, stop) * stride // width - first, axis)
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
            cells = _largest(cells, axis, _widths(call)[axis - 2], signed=number == 0)
        cells = (cells if wide else np.abs(cells)).max(axis=1)
    counts = [(n - 1) * s // w + 1 for n, s, w in zip(call.sizes, call.stride, _widths(call), strict=True)]
    seen = held = cells
    for axis, (count, extent) in enumerate(zip(counts, call.extents, strict=True), 1):
        if extent > 1:
            seen, held = _around(seen, axis, range(3), count), _around(held, axis, [1], count)
    return Look(call, seen, held, whole(counts))


def glance(call: Correlation) -> Values:
    """Return bounds of what `look` finds, from a few values of each cell: much quicker, and mostly enough.

    Both are infinite where a cell may hold nothing but zeros.
    """
    x, widths = call.x, _widths(call)
    wide = [axis for axis, extent in enumerate(call.extents) if extent > 1]
    along = (0, 1, *(axis + 2 for axis in wide))
    few = {1: 8, 2: 3}.get(len(wide), 2)  # values of a cell along each axis
    places = [[slice(None)]] * len(widths)
    for axis in wide:
        width = widths[axis]
        end = width * ((call.sizes[axis] - 1) * call.stride[axis] // width + 2)
        places[axis] = [slice(width + width * part // few, end, width) for part in range(few)]
    with np.errstate(all="ignore"):
        held = reduce(np.maximum, (np.abs(x[(slice(None), slice(None), *one)]) for one in product(*places)))
        held = held.max(1, keepdims=True)
        if not held.all():
            return Values(inf, inf)
        largest = np.maximum(x.max(along, keepdims=True), -x.min(along, keepdims=True))
        return Values(float(largest.max()), float((largest / held).max()))


def _widths(call: Correlation) -> list[int]:
    return [max(extent // 2, 1) for extent in call.extents]


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


def _around(cells: np.ndarray, axis: int, shifts: Sequence[int], count: int) -> np.ndarray:
    """Return the largest of the neighbours of each cell along an axis, for the first ``count`` cells."""
    amounts = [(0, 0)] * cells.ndim
    amounts[axis] = (0, 2)
    padded = np.moveaxis(np.pad(cells, amounts), axis, 0)
    return np.moveaxis(reduce(np.maximum, [padded[shift : shift + count] for shift in shifts]), 0, axis)
