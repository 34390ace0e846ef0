"""What every engine can do, and the checks that all of them share.

An engine is arithmetic on arrays: it knows no files, no padding modes, no names of axes.  What lies outside
the data has been put there before (`convcli.engines.padding`), what is cropped is cropped after.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from convcli.common import UsageError
from convcli.data.box import slices
from convcli.engines.interface import Algorithm, Correlation, Outside
from convcli.engines.locality import look
from convcli.engines.padding import pad
from convcli.geometry.pools import PoolKind
from convcli.geometry.windows import TransposedWindow, Window
from convcli.kernel.model import Combine
from convcli.pixels.render import Rendering, Tally

MAX_RANK = 3
# Integers for algorithms that take them; wider floats for integers of 64 bits, in numpy's direct sums alone.
TYPES = ("float32", "float64", "int8", "uint8", "int16", "uint16", "longdouble")


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
