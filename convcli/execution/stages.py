"""One stage on one block: pad, hand to the engine, put planes and maps back in order.

Blocks are (M, C, *space): maps, channels, and the space axes in the chain's order.  No reading, no rendering.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf

import numpy as np

from convcli.common import frozen
from convcli.data import Box, Span, grid, slices
from convcli.engines.base import Engine
from convcli.engines.interface import Algorithm, Outside
from convcli.engines.padding import pad
from convcli.engines.pooling import pool_padded
from convcli.geometry.padding import PadMode
from convcli.jobs.chain import ConvStage, PoolStage
from convcli.jobs.missing import SLACK
from convcli.kernel import Combine
from convcli.pixels.render import Rendering, Tally

THIN = 2.0**-8  # share of the weights up to which an algorithm's error would be seen in what is divided by it
RANKED = ("uint8", "int8", "uint16", "int16")  # integers of which engines take the samples of certain ranks
PART = 32  # outputs along each axis of a part that is computed again


@frozen
class Correlating:
    """A convolution on an engine, in floats of one type.

    Attributes
    ----------
    stage : ConvStage
    engine : Engine
    dtype : numpy.dtype
    algorithm : Algorithm, optional
        One that the plan offers for this stage.
    """

    stage: ConvStage
    engine: Engine
    dtype: np.dtype
    algorithm: Algorithm | None = None
    min_weight: float = 0.0

    def fill(self, block: np.ndarray, box: Sequence[Span]) -> np.ndarray:
        """Return the samples under the windows' origins in a box as `correlate` takes it, the missing ones filled."""
        windows = zip(box, self.stage.windows, strict=True)
        found = block[at(tuple((lo + w.before, hi - w.after) for (lo, hi), w in windows))].astype(self.dtype)
        gaps = np.isnan(found)
        if gaps.any():
            found[gaps] = self.correlate(block, box, True)[gaps]
        return found

    def correlate(
        self,
        block: np.ndarray,
        box: Sequence[Span],
        skip_nan: bool,
        out: np.ndarray | None = None,
        keeps_nan: bool = False,
    ) -> np.ndarray:
        """Return the stage's outputs for the input box ``box``, given in elements of the block.

        Parameters
        ----------
        block : ndarray
            Integers or floats; integers hold no NaN, which saves looking for one.
        skip_nan : bool
            Leave missing samples out and renormalise the weights of the others.
        out : ndarray, optional
            Where the result belongs; it may be elsewhere all the same.
        keeps_nan : bool
            With ``skip_nan``: outputs stay missing where the sample under the kernel's origin is.
        """
        stage, finite = self.stage, block.dtype.kind in "iu"
        looks = skip_nan and not finite
        padded, outside = self._padded(block, box, None if looks else self.algorithm)

        def apply(x: np.ndarray, out: np.ndarray | None = None, how: Correlating = self) -> np.ndarray:
            return how._over_planes(
                x, lambda x, out: how._in_three_axes(x, finite, out=out, outside=outside), out
            )

        missing = np.isnan(padded) if looks else None
        if missing is None or not missing.any():
            return _finish(stage, apply(padded, out if stage.plain else None))
        padded = np.where(missing, 0, padded)
        held = (~missing).astype(self.dtype)
        sums, present = apply(padded), apply(held)
        total, direct = _total_weights(stage, sums), replace(self, algorithm=None)
        if not keeps_shares(stage, self.algorithm, self.dtype):
            for part in parts(present <= THIN * total):
                spans = zip(part, stage.windows, strict=True)
                under = at(tuple((a * w.stride, (b - 1) * w.stride + w.extent) for (a, b), w in spans))
                sums[at(part)] = apply(padded[under], how=direct)
                present[at(part)] = apply(held[under], how=direct)
        enough = (present > 0) & (present >= (self.min_weight - SLACK) * total)
        with np.errstate(divide="ignore", invalid="ignore"):
            sums *= np.where(enough, total / present, np.nan)
        if keeps_nan:
            sums[self._under_origins(missing, sums)] = np.nan
        return _finish(stage, sums)

    def _under_origins(self, marks: np.ndarray, sums: np.ndarray) -> np.ndarray:
        """Return the marks of the padded samples under the kernel's origin, one for each of the sums."""
        found = under_origins(self.stage, marks, sums.shape[2:])
        if self.stage.summed:
            found = np.logical_and.reduce(found, axis=(0, 1), keepdims=True)
        made: np.ndarray = np.repeat(found, len(sums) // len(found), axis=0)
        return made

    def pixels(
        self, block: np.ndarray, box: Sequence[Span], how: Rendering, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, Tally]:
        """Return the outputs of a `straight` stage as pixels, for a block of integers."""
        kernel, windows = self.stage.kernel, self.stage.windows
        weights = self.stage.weights(self.dtype.name)
        padded, outside = self._padded(block, box, self.algorithm)
        tally = Tally()

        def apply(x: np.ndarray, out: np.ndarray | None) -> np.ndarray:
            made, counted = self.engine.pixels(
                x,
                weights,
                stride=[window.stride for window in windows],
                dilation=[window.dilation for window in windows],
                algorithm=self.algorithm,
                how=how,
                out=out,
                bias=kernel.bias,
                combine=kernel.combine,
                outside=outside,
            )
            tally.add(counted)
            return made

        return self._over_planes(padded, apply, out), tally

    def transpose(self, block: np.ndarray, box: Sequence[Span], first: Sequence[int]) -> np.ndarray:
        """Return the outputs ``box`` of a transposed convolution; ``first`` is where the block begins on each axis."""
        finite = block.dtype.kind in "iu"
        floats = block.astype(self.dtype, copy=False)
        full = self._over_planes(floats, lambda planes, _: self._in_three_axes(planes, finite))
        crop = [
            (lo + window.before - begin * window.stride, hi + window.before - begin * window.stride)
            for (lo, hi), window, begin in zip(box, self.stage.windows, first, strict=True)
        ]
        return _finish(self.stage, pad(full, crop, PadMode.ZERO, 0.0, self.dtype))

    def _padded(
        self, block: np.ndarray, box: Sequence[Span], algorithm: Algorithm | None
    ) -> tuple[np.ndarray, Outside | None]:
        """Return the box with what lies outside; or the block as it is, for an algorithm that pads by itself."""
        stage = self.stage
        pads = algorithm is not None and algorithm.pads(block.dtype, self.dtype, stage.mode)
        if pads and len(stage.windows) <= 3:
            return block, Outside(tuple(box), stage.mode, stage.value)
        kind = self.engine.takes(block.dtype, stage.value) if stage.stays_in_range else None
        return self.engine.pad(block, box, stage.mode, stage.value, kind or self.dtype), None

    def _over_planes(
        self,
        x: np.ndarray,
        apply: Callable[[np.ndarray, np.ndarray | None], np.ndarray],
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Apply to (M, C, *space), giving (O·M, C, *space): planes summed by the kernel, or each alone."""
        maps, channels = x.shape[:2]
        space = x.shape[2:]
        swapped = None if out is None else out.swapaxes(0, 1)
        if self.stage.summed:
            return apply(x.reshape(1, maps * channels, *space), swapped).swapaxes(0, 1)
        if maps == 1:
            return apply(x[0][:, None], swapped).swapaxes(0, 1)
        made = apply(x.reshape(maps * channels, 1, *space), None)  # (M·C, O, *space)
        made = made.reshape(maps, channels, *made.shape[1:]).swapaxes(1, 2)
        return made.reshape(-1, channels, *made.shape[3:])

    def _in_three_axes(
        self, x: np.ndarray, finite: bool, out: np.ndarray | None = None, outside: Outside | None = None
    ) -> np.ndarray:
        """Call the engine; of four space axes, one that the kernel does not touch is walked along."""
        stage, engine = self.stage, self.engine
        weights = stage.weights(self.dtype.name)
        stride = [window.stride for window in stage.windows]
        dilation = [window.dilation for window in stage.windows]
        idle = [index for index in range(len(stage.windows)) if index not in stage.axes]
        walked = idle[0] if len(stage.windows) > 3 else None
        if walked is not None:
            weights = weights.squeeze(walked + 2)
            del stride[walked], dilation[walked]

        def apply(part: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
            if stage.transposed:
                return engine.transpose(part, weights, stride=stride, dilation=dilation, finite=finite)
            return engine.correlate(
                part,
                weights,
                stride=stride,
                dilation=dilation,
                finite=finite,
                algorithm=self.algorithm,
                out=out,
                outside=outside,
            )

        if walked is None:
            return apply(x, out)
        return np.stack([apply(part) for part in np.moveaxis(x, walked + 2, 0)], axis=walked + 2)


def under_origins(stage: ConvStage | PoolStage, x: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """Return the padded samples (M, C, *space) under the window's origin, for so many outputs along each axis."""
    firsts = [window.dilation * origin for window, origin in zip(stage.windows, stage.origins, strict=True)]
    places = [
        slice(first, first + (n - 1) * window.stride + 1, window.stride)
        for first, window, n in zip(firsts, stage.windows, sizes, strict=True)
    ]
    return x[(slice(None), slice(None), *places)]


def at(box: Box) -> tuple[slice, ...]:
    """Return where a box lies in (M, C, *space)."""
    return (slice(None), slice(None), *slices(box))


def parts(thin: np.ndarray) -> list[Box]:
    """Return small boxes of outputs (M, C, *space) that hold every one that is marked."""
    sizes = thin.shape[2:] if thin.any() else (0,)
    return [box for box in grid(sizes, [PART] * len(sizes)) if thin[at(box)].any()]


def keeps_shares(stage: ConvStage | PoolStage, algorithm: Algorithm | None, dtype: np.dtype) -> bool:
    """Return whether the error of each sum of products that are not negative is a share of it."""
    if algorithm is None or isinstance(stage, PoolStage):
        return True
    return algorithm.keeps_shares(stage.weights(dtype.name))


def straight(stage: ConvStage) -> bool:
    """Return whether an engine can make pixels of a stage, if its algorithm finishes what is not plain."""
    return not stage.transposed and stage.kernel.inputs == 1 and len(stage.windows) <= 3


def keeps_integers(stage: PoolStage, block: np.ndarray) -> bool:
    """Return whether samples and what stands around them are integers that can be ranked as they are."""
    value = stage.value
    return block.dtype in RANKED and stage.stays_in_range and value.is_integer() and 0 <= value <= 127


def pool(
    stage: PoolStage,
    engine: Engine,
    block: np.ndarray,
    box: Sequence[Span],
    least: float | None,
    dtype: np.dtype,
    keeps_integers: bool = False,
    keeps_nan: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Return the pooled input box ``box``, given in elements of the block; what is outside is padding.

    ``out`` is where the result belongs; it may be elsewhere all the same.

    With ``keeps_nan``, statistics stay missing where the sample under the window's origin is.  A pool's box that lies
    wholly in padding shares no element with the block: windows are then laid from the block to the box, and those
    before it are left out of the result.
    """
    integers = np.iinfo(block.dtype) if block.dtype.kind in "iu" else None
    largest = inf if integers is None else max(float(integers.max), -float(integers.min))
    held = block.dtype if keeps_integers else dtype
    around = Outside(tuple(box), stage.mode, stage.value)
    if stage.pads and (least is None or held.kind != "f") and engine.pads(stage.kind, held, around):
        return engine.pool(
            block.astype(held, copy=False),
            stage.kind,
            [window.kernel for window in stage.windows],
            stride=[window.stride for window in stage.windows],
            dilation=[window.dilation for window in stage.windows],
            dtype=dtype,
            out=out,
            outside=around,
        )
    if stage.pads:
        padded = engine.pad(block, box, stage.mode, stage.value, held)
        inner = [replace(window, before=0, after=0) for window in stage.windows]
        most = max(largest, abs(stage.value))
        found = pool_padded(engine, padded, stage.kind, inner, least=least, dtype=dtype, largest=most)
        if keeps_nan and padded.dtype.kind == "f":
            found[np.isnan(under_origins(stage, padded, found.shape[2:]))] = np.nan
        return found
    block = block.astype(held, copy=False)
    windows, wanted = [], [slice(None)] * 2
    for window, (lo, hi), n in zip(stage.windows, box, block.shape[2:], strict=True):
        skipped = -(-max(lo, 0) // window.stride)
        beyond = hi - n > window.after  # the last window hangs over even the padding
        after = window.after if beyond else max(hi - n, 0)
        windows.append(replace(window, before=skipped * window.stride - lo, after=after, ceil=beyond))
        wanted.append(slice(skipped, skipped + (hi - lo - window.extent) // window.stride + 1))
    made = pool_padded(engine, block, stage.kind, windows, stage.include_padding, least, dtype, largest)
    return made[tuple(wanted)]


def _total_weights(stage: ConvStage, like: np.ndarray) -> np.ndarray:
    """The sum of each output's weights, shaped against (O·M, C, *space)."""
    sums = stage.kernel.array(like.dtype).reshape(stage.kernel.outputs, -1).sum(axis=1)
    sums = np.tile(sums, like.shape[0] // len(sums))
    return sums.reshape(-1, *(1,) * (like.ndim - 1))


def _finish(stage: ConvStage, values: np.ndarray) -> np.ndarray:
    """Add the bias to (O·M, C, *space) and combine a bank's outputs."""
    kernel = stage.kernel
    outputs = kernel.outputs
    if any(kernel.bias):
        bias = np.tile(np.array(kernel.bias, values.dtype), values.shape[0] // outputs)
        values = values + bias.reshape(-1, *(1,) * (values.ndim - 1))
    if kernel.combine is Combine.NONE:
        return values
    bank = values.reshape(-1, outputs, *values.shape[1:])
    match kernel.combine:
        case Combine.MAGNITUDE:
            return _magnitude(bank)
        case Combine.MAX:
            return bank.max(axis=1)
        case Combine.SUM:
            return bank.sum(axis=1)


def _magnitude(bank: np.ndarray) -> np.ndarray:
    """Return the root of the sum of squares along axis 1, where squares are too large for a float too."""
    found: np.ndarray = np.sqrt(np.square(bank).sum(axis=1))
    beyond = np.isinf(found)
    if beyond.any():
        large = np.abs(bank).max(axis=1)
        scaled = large * np.sqrt(np.square(bank / large[:, None]).sum(axis=1))
        found[beyond & np.isfinite(large)] = scaled[beyond & np.isfinite(large)]
    return found
