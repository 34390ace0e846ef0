"""What every engine can do, and the checks that all of them share.

An engine is arithmetic on arrays: it knows no files, no padding modes, no names of axes.  What lies outside
the data has been put there before (`convcli.engines.padding`), what is cropped is cropped after.

A box is looked at before it is computed: the error of a transform is a share of the largest value in its tile, wherever
that stands.  It is as local as that of a sum where the values near every window are not much smaller.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, reduce
from math import ceil, prod
from typing import Any

import numpy as np

from convcli.common import UsageError, frozen_identity
from convcli.data import Box, slices, whole
from convcli.engines.interface import Algorithm, Correlation, Outside, Values
from convcli.engines.native import library, rows
from convcli.engines.padding import pad
from convcli.geometry.pools import PoolKind
from convcli.geometry.windows import TransposedWindow, Window
from convcli.kernel.model import Combine
from convcli.pixels.render import Rendering, Tally

MAX_RANK = 3
# Integers for algorithms that take them; wider floats for integers of 64 bits, in numpy's direct sums alone.
TYPES = ("float32", "float64", "int8", "uint8", "int16", "uint16", "longdouble")

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


class Engine(ABC):
    """Correlation, its transpose, and pooling in 1-D to 3-D.

    Shapes: the data ``x`` is ``(N, C, *space)``, N independent items of C channels; weights are
    ``(O, I, *kernel)`` with ``C == I * groups`` and O divisible by ``groups``; stride, dilation and size have
    one number for each space axis.  Data and weights are float32, or both float64; results have that type too.
    Arrays may have any memory layout and may be read-only; none is changed.  A result may share the layout of
    ``x``, so that interleaved pixels seen as ``(C, 1, Y, X)`` stay interleaved.

    A NaN or an infinity spoils exactly the outputs whose window holds it, under a weight of zero too.
    ``finite=True`` is the caller's word that ``x`` has none (it came from integers), which saves the look.

    Raises
    ------
    UsageError
        Shapes that do not fit each other, no data at all, or a window larger than the data.
    """

    name: str
    direct: Algorithm  # does everything
    gave_way: Counter[tuple[str, str]]  # the outputs for which an algorithm gave way to another
    threads: int | None
    device: Any = None  # torch.device

    def __enter__(self) -> Engine:
        """Begin a job: from now on the engine's number of threads holds."""
        return self

    def __exit__(self, *exception: object) -> None:  # noqa: B027
        """End it: the process gets back what it had."""

    pad = staticmethod(pad)

    @abstractmethod
    def render(self, values: np.ndarray, how: Rendering) -> tuple[np.ndarray, Tally]:
        """Turn floats into pixels, as `convcli.pixels.render.render` says; the memory of ``values`` may be reused."""

    def takes(self, data: np.dtype, fill: float) -> np.dtype | None:
        """Return the integers in which this engine wants data and what is put beside them; None for floats."""
        return None

    def pads(self, kind: PoolKind, data: np.dtype, box: Outside) -> bool:
        """Return whether it pools such data without their padding."""
        return False

    def pixels(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        algorithm: Algorithm | None,
        how: Rendering,
        out: np.ndarray | None = None,
        bias: tuple[float, ...] = (),
        combine: Combine = Combine.NONE,
        outside: Outside | None = None,
    ) -> tuple[np.ndarray, Tally]:
        """Return what `render` makes of `correlate`, for data that came from integers.

        ``bias`` and ``combine`` are for algorithms that have them (`Algorithm.finishes`), ``outside`` for those
        that pad (`Algorithm.pads`).
        """
        call = self._call(x, weights, (), stride, dilation, finite=True, outside=outside)
        chosen, call = self._prepared(algorithm, call)
        if chosen.mixes(call):
            return self.render(self._where_it_serves(chosen, call), how)
        return self._pixels(chosen, replace(call, bias=bias, combine=combine), how, out)

    def correlate(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int = 1,
        finite: bool = False,
        algorithm: Algorithm | None = None,
        out: np.ndarray | None = None,
        outside: Outside | None = None,
    ) -> np.ndarray:
        """Return the valid cross-correlation, ``(N, O, *sizes)`` with sizes (n - extent) // stride + 1.

        The kernel is not mirrored: ``y[i] = sum over t of weights[t] * x[i * stride + t * dilation]``.
        ``algorithm`` is one that `convcli.plan.choose` offers for this engine, kernel and stride; without it, the
        engine's direct one.  Where the data hold a NaN or an infinity that it would spread, or values so large that
        its error would be felt far from them, it gives way to the cheapest one that serves.
        ``out``, of the result's shape and type, is where the result belongs: an algorithm that can writes it
        there and returns it, which saves a copy; another one returns an array of its own.
        ``outside`` is for algorithms that pad (`Algorithm.pads`).
        """
        call = self._call(x, weights, (), stride, dilation, groups, finite, out, outside=outside)
        chosen, call = self._prepared(algorithm, call)
        if chosen.mixes(call) or not (chosen.local or call.finite or all_finite(x)):
            return self._where_it_serves(chosen, call)
        return self._correlate(chosen, call)

    def transpose(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int = 1,
        finite: bool = False,
    ) -> np.ndarray:
        """Return the transposed convolution, nothing cropped: ``(N, O, *sizes)``, (n - 1) * stride + extent.

        Every input lays the kernel down: ``y[i * stride + t * dilation] += weights[t] * x[i]``.  The weights
        are ``(out, in, *kernel)`` here too; torch and ONNX store them the other way round.
        """
        _check_weights(x, weights, groups)
        _check_data(x, x.shape[2:], weights.shape[2:], stride, dilation)
        windows = map(TransposedWindow, weights.shape[2:], stride, dilation)
        sizes = tuple(window.full_size(n) for window, n in zip(windows, x.shape[2:], strict=True))
        return self._transpose(self._call(x, weights, sizes, stride, dilation, groups, finite))

    def pool(
        self,
        x: np.ndarray,
        kind: PoolKind,
        size: Sequence[int],
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        counts: np.ndarray | None = None,
        dtype: np.dtype | None = None,
        out: np.ndarray | None = None,
        outside: Outside | None = None,
    ) -> np.ndarray:
        """Return the pooled whole windows, ``(N, C, *sizes)``; NaN wins.

        ``dtype`` is that of the arithmetic, by default the data's.  Data may also be integers of up to 16 bits, and
        so are results that are samples, where an engine has a way for them.

        ``counts``, which broadcasts with the result, is how many taps of each window are samples, where some are
        padding or missing: the kind's ``fill``, or of integers what is nearest to it.  ``out`` is as for `correlate`;
        ``outside`` is for pools that `pads` names.
        """
        sizes = pool_sizes(x, size, stride, dilation, outside)
        one = np.ones(1, dtype or x.dtype)
        taps = np.ndarray((1, 1, *size), one.dtype, one, strides=(0,) * x.ndim)  # without memory
        call = self._call(x, taps, sizes, stride, dilation, out=out, outside=outside)
        return self._pool(call, kind, counts)

    def _prepared(self, algorithm: Algorithm | None, call: Correlation) -> tuple[Algorithm, Correlation]:
        """Check that everything fits; return the algorithm, and the call with the sizes of its result."""
        x, weights, outside = call.x, call.weights, call.outside
        algorithm = algorithm or self._default(weights)
        if outside is None and x.dtype not in algorithm.integers:
            _check_weights(x, weights, call.groups)
        sizes = pool_sizes(x, weights.shape[2:], call.stride, call.dilation, outside)
        return algorithm, replace(call, sizes=sizes, finite=call.finite or x.dtype.kind != "f")

    def _where_it_serves(self, algorithm: Algorithm, call: Correlation) -> np.ndarray:
        """Correlate with an algorithm in the parts of a box where it serves, and in the others with the cheapest."""
        found = look(call)
        if algorithm.serves(call, found.values):
            made = self._correlate(algorithm, call)
            if algorithm.mixes(call):
                found.clear(made)
            return made
        shape = len(call.x), len(call.weights), *call.sizes
        made = np.empty(shape, call.weights.dtype) if call.out is None else call.out
        waiting = [found]
        while waiting:
            part = waiting.pop()
            chosen, alone = algorithm, part.alone
            if not algorithm.serves(call, part.values):
                if part.halves is not None:
                    waiting += part.halves
                    continue
                chosen = next(one for one in self._ways(alone) if one.serves(call, part.values))
                self.gave_way[str(algorithm), str(chosen)] += prod(alone.sizes)
            place = made[(slice(None), slice(None), *slices(part.outputs))]
            place[...] = self._correlate(chosen, alone)
            if chosen.mixes(alone):
                part.clear(place)
        return made

    def _call(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        sizes: tuple[int, ...],
        stride: Sequence[int],
        dilation: Sequence[int],
        *more: Any,
        **named: Any,
    ) -> Correlation:
        named |= {"threads": self.threads or 1, "device": self.device}
        return Correlation(x, weights, sizes, tuple(stride), tuple(dilation), *more, **named)

    def _default(self, weights: np.ndarray) -> Algorithm:
        """Return the algorithm where none is asked for."""
        return self.direct

    @abstractmethod
    def _ways(self, call: Correlation) -> Sequence[Algorithm]:
        """Return the algorithms for a call, the cheapest first."""

    @abstractmethod
    def _correlate(self, algorithm: Algorithm, call: Correlation) -> np.ndarray: ...

    @abstractmethod
    def _pixels(
        self, algorithm: Algorithm, call: Correlation, how: Rendering, out: np.ndarray | None
    ) -> tuple[np.ndarray, Tally]: ...

    @abstractmethod
    def _transpose(self, call: Correlation) -> np.ndarray: ...

    @abstractmethod
    def _pool(self, call: Correlation, kind: PoolKind, counts: np.ndarray | None) -> np.ndarray:
        """Pool the windows of a call, whose weights give their size and the type of the arithmetic alone."""


def pool_sizes(
    x: np.ndarray,
    size: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    outside: Outside | None = None,
) -> tuple[int, ...]:
    """Return how many windows fit along each space axis of the data and what is outside, if everything fits."""
    space = x.shape[2:] if outside is None else tuple(hi - lo for lo, hi in outside.ranges)
    _check_data(x, space, size, stride, dilation)
    windows = map(Window, size, stride, dilation)
    return tuple(window.output_size(n) for window, n in zip(windows, space, strict=True))


def all_finite(x: np.ndarray) -> bool:
    """Return whether ``x`` is known to hold no NaN and no infinity.

    One pass and no temporary: either of them makes the sum of everything NaN or infinite.  So does a sum that
    overflows; then the answer is a harmless "not known".
    """
    with np.errstate(all="ignore"):
        return bool(np.isfinite(x.sum()))


def _check_data(
    x: np.ndarray, space: Sequence[int], size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> None:
    rank = x.ndim - 2
    if rank < 1:
        raise UsageError(f"an array of shape {x.shape} has no space axes after its items and channels")
    if not len(size) == len(stride) == len(dilation) == rank:
        raise UsageError(
            f"size {tuple(size)}, stride {tuple(stride)} and dilation {tuple(dilation)} do not fit "
            f"the {rank} space axes of shape {x.shape}: give one number an axis"
        )
    if 0 in x.shape or 0 in space:
        raise UsageError(f"an array of shape {x.shape} holds no data: nothing to filter")
    if x.dtype not in TYPES:
        raise UsageError(f"an engine computes in float32 or float64, not in {x.dtype}: convert first")


def _check_weights(x: np.ndarray, weights: np.ndarray, groups: int) -> None:
    if weights.ndim != x.ndim or weights.dtype != x.dtype or 0 in weights.shape:
        raise UsageError(
            f"weights {weights.dtype} {weights.shape} do not fit data {x.dtype} {x.shape}: "
            "the types must be equal, and the axes out, in, and those of the kernel"
        )
    if x.ndim - 2 > MAX_RANK:
        raise UsageError(f"a kernel over {x.ndim - 2} space axes is not possible: use at most {MAX_RANK}")
    outputs, inputs = weights.shape[:2]
    if groups < 1 or x.shape[1] != inputs * groups or outputs % groups:
        raise UsageError(
            f"{x.shape[1]} channels do not fit a kernel with {inputs} inputs and {outputs} outputs "
            f"in groups (={groups}): channels must be inputs * groups, outputs divisible by groups"
        )
