"""A look at a box before it is computed: where would an algorithm's error be felt outside its windows?

The error of a transform is a share of the largest value in its tile, wherever that stands.  It is as local as that of
a sum where the values near every window are not much smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, reduce
from math import ceil, prod

import numpy as np

from convcli.common import frozen_identity
from convcli.data.box import Box, slices, whole
from convcli.engines.interface import Correlation, Values
from convcli.engines.native import library, rows

CELLS = 8  # half windows along a part that is not cut again: about a transform's tile
PART = 1 << 14  # outputs of a part that is not worth cutting
EVEN = 64.0  # times that the cells of a box may differ before it is worth looking closer
LONG_RUN = 16  # neighbours in a row from which NumPy reduces one run after the other faster than all of them together


@frozen_identity
class Look:
    """How large the values in each window of a call are, in cells half as wide as the window; `look` makes one.

    Attributes
    ----------
    call : Correlation
    cells : ndarray
        ``(N, *cells)``: the largest absolute value in each cell of the data; NaN where it holds one.
    part : Box
        The cells that this look is about: in which its windows begin.
    """

    call: Correlation
    cells: np.ndarray
    part: Box

    @cached_property
    def values(self) -> Values:
        """What there is; windows on nothing but zeros do not count, for `clear` sees to them."""
        most, least, along = self._held.max(), self._least, self._along
        with np.errstate(all="ignore"):
            if least and most <= EVEN * least:  # every window holds a whole cell
                return Values(float(most), float(most / least))
            near = np.where(self._near == 0, self._seen, self._near)
            near, held = np.where(near > 0, near, np.inf), self._held
            for axis in along:
                near = _in_runs(np.minimum, near, axis, near.shape[axis])
                held = _in_runs(np.maximum, held, axis, held.shape[axis])
            spread = held / near
        return Values(float(most), float(spread.max()))

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
        first, second = (Look(self.call, self.cells, part) for part in parts)
        return first, second

    def clear(self, made: np.ndarray) -> None:
        """Set to zero what windows on nothing but zeros give, of these outputs ``(N, O, *sizes)`` with stride 1."""
        if self._least or self._seen.all():
            return
        seen, cell = self._seen, _widths(self.call)
        if library.loops() is not None and rows.clear(made, cell, seen):
            return
        empty = seen == 0
        for axis, (width, n) in reversed([*enumerate(zip(cell, made.shape[2:], strict=True), 1)]):
            empty = _between(empty.repeat(width, axis), axis, 0, n)
        np.copyto(made, 0, where=empty[:, np.newaxis])

    @cached_property
    def _along(self) -> tuple[int, ...]:
        return tuple(axis for axis, extent in enumerate(self.call.extents, 1) if extent > 1)

    @cached_property
    def _held(self) -> np.ndarray:
        """The cells that windows touch."""
        held = self.cells
        for axis, (start, stop) in enumerate(self.part, 1):
            held = _between(held, axis, start, stop + 2 * (axis in self._along))
        return held

    @property
    def _near(self) -> np.ndarray:
        """For each cell in which windows begin, the one that all of these hold whole."""
        return reduce(lambda cells, axis: self._beside(cells, axis, 1), self._along, self._held)

    @cached_property
    def _least(self) -> float:
        return float(self._held.min())

    @cached_property
    def _seen(self) -> np.ndarray:
        """The largest in those which windows touch that begin in a cell."""
        seen = self._held
        for axis in self._along:
            first, second, third = (self._beside(seen, axis, step) for step in range(3))
            seen = np.maximum(first, second)
            beside = _between(seen, axis, 0, third.shape[axis])
            np.maximum(beside, third, out=beside)
        return seen

    def _beside(self, cells: np.ndarray, axis: int, step: int) -> np.ndarray:
        """Return the cells that many steps behind those in which windows begin, as far as there are any."""
        start, stop = self.part[axis - 1]
        return _between(cells, axis, step, step + stop - start)


def look(call: Correlation) -> Look:
    """Return the look at all of a call's box: one pass over it."""
    axes = zip(call.sizes, call.stride, _widths(call), strict=True)
    counts = [(n - 1) * s // w + 1 for n, s, w in axes]
    return Look(call, _magnitudes(call.x, _widths(call)), whole(counts))


def _widths(call: Correlation) -> list[int]:
    return [max(extent // 2, 1) for extent in call.extents]


def _magnitudes(x: np.ndarray, cell: Sequence[int]) -> np.ndarray:
    """Return the largest absolute value, of all channels, in each cell."""
    if library.loops() is not None and x.dtype.kind == "f":
        return rows.magnitudes(x, cell)
    high, low = (x[:, 0], x[:, 0]) if x.shape[1] == 1 else (x.max(1), x.min(1))
    (first, width), *others = [(axis, w) for axis, w in enumerate(cell, 1) if w > 1] or [(1, 1)]
    with np.errstate(invalid="ignore"):
        ends = _in_runs(np.maximum, high, first, width), _in_runs(np.minimum, low, first, width)
        found = np.maximum(*(np.abs(end, dtype=np.result_type(x, np.float32)) for end in ends))
        for axis, width in others:
            found = _in_runs(np.maximum, found, axis, width)
    return found


def _between(values: np.ndarray, axis: int, start: int, stop: int) -> np.ndarray:
    """Return some values along an axis, as far as there are any."""
    return values[(*[slice(None)] * axis, slice(start, stop))]


def _in_runs(extreme: np.ufunc, values: np.ndarray, axis: int, width: int) -> np.ndarray:
    """Return the extreme of each run of neighbours along an axis, in the order that NumPy does fast."""
    last = axis == values.ndim - 1
    if last and width >= LONG_RUN:
        return extreme.reduceat(values, range(0, values.shape[axis], width), axis)
    runs, rest = np.split(values, [values.shape[axis] // width * width], axis)
    runs = runs.reshape(*values.shape[:axis], -1, width, *values.shape[axis + 1 :])
    found = reduce(extreme, np.moveaxis(runs, -1, 0)) if last else extreme.reduce(runs, axis + 1)
    return np.append(found, extreme.reduce(rest, axis, keepdims=True), axis) if rest.size else found
