"""The block runner: which inputs an output block needs, read, pad, compute, render, hand over.

A block is a range of the stream axis with the whole of the other axes.  The engine is handed in; files are
not known here, only :class:`convcli.data.Source`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
from convcli.engines.padding import pad
from convcli.engines.pooling import pool_padded

from convcli import colour as colours
from convcli.chain import Chain, ConvStage, PoolStage, Stage, normalised
from convcli.colour import Alpha
from convcli.data import Source
from convcli.engines.base import Engine
from convcli.errors import ConvError
from convcli.geometry import PadMode
from convcli.job import Job, positions
from convcli.kernel.model import Combine
from convcli.policies import Channels, Nan
from convcli.ranges import RangeKind
from convcli.render import Tally, render

Read = Callable[[int, int], np.ndarray]


def support(lo: int, hi: int, n: int, mode: PadMode) -> tuple[int, int]:
    """Return the shortest stretch ``a:b`` of ``n`` elements from which ``lo:hi`` can be padded alone.

    Padding the stretch by itself then gives what padding all of the data would.

    >>> support(-2, 6, 100, PadMode.ZERO), support(-2, 2, 100, PadMode.REFLECT)
    ((0, 6), (0, 3))
    """
    if 0 <= lo < hi <= n:
        return lo, hi
    if mode is PadMode.CIRCULAR:
        return 0, n
    a, b = min(max(lo, 0), n - 1), max(min(hi, n), 1)
    if mode in (PadMode.REFLECT, PadMode.SYMMETRIC):
        if lo < 0:
            a, b = 0, max(b, min(n, 1 - lo))
        if hi > n:
            a, b = min(a, max(0, 2 * n - 1 - hi)), n
    return min(a, b - 1), b


class Runner:
    """Computes blocks of one job's output with one engine."""

    def __init__(self, job: Job, source: Source, engine: Engine) -> None:
        self.job = job
        self.engine = engine
        self.dtype = np.dtype(job.compute)
        self._source = source
        info = source.info
        order = [info.axes.index(letter) for letter in job.letters]
        self._order = ([info.axes.index("C")] if "C" in info.axes else []) + order
        self._opaque = self._alpha_chain() if job.split.alpha is Alpha.PREMULTIPLIED else None

    def _alpha_chain(self) -> Chain:
        """The same chain for the coverage: weights of sum 1, constant padding opaque."""
        stages = tuple(
            replace(
                stage,
                kernel=normalised(stage.kernel),
                value=self.job.full_scale if stage.mode is PadMode.CONSTANT else 0.0,
            )
            if isinstance(stage, ConvStage)
            else stage
            for stage in self.job.chain.stages
        )
        return replace(self.job.chain, stages=stages, channels=1)

    def raw(self, start: int, stop: int) -> np.ndarray:
        """Read samples as (C, *space), the axes in the chain's order."""
        block = self._source.read(start, stop).transpose(self._order)
        return block if "C" in self.job.info.axes else block[None]

    def block(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Return colours (M, C, *space) and alpha (M or 1, 1, *space) of the outputs ``start:stop``."""
        job = self.job
        values = self._values(job.chain, self._colour, start, stop)
        alpha = None
        if self._opaque is not None:
            alpha = self._values(self._opaque, self._coverage, start, stop)
            colours.unpremultiply(values, alpha, job.full_scale)
        elif job.split.alpha is Alpha.SAMPLED or job.split.channels is Channels.LUMA:
            sampled = self._sample(start, stop)
            if job.split.alpha is Alpha.SAMPLED:
                alpha = sampled[None, job.split.colours :].astype(self.dtype)
            if job.split.channels is Channels.LUMA:
                kept = sampled[: job.split.colours].astype(self.dtype)
                values = kept[None] + (values - colours.luma(kept, self.dtype))
        return values, alpha

    def _colour(self, start: int, stop: int) -> np.ndarray:
        block = self.raw(start, stop)
        if self.job.nan is Nan.ERROR and block.dtype.kind == "f":
            self._refuse_nan(block, start)
        return self.job.split.colour_block(block, self.dtype)[None]

    def _coverage(self, start: int, stop: int) -> np.ndarray:
        return self.job.split.alpha_block(self.raw(start, stop))[None]

    def _refuse_nan(self, block: np.ndarray, start: int) -> None:
        where = np.argwhere(np.isnan(block))
        if len(where):
            channel, *place = (int(index) for index in where[0])
            place[self.job.stream] += start
            names = self.job.letters.lower()
            spot = ", ".join(f"{name} {at}" for name, at in zip(names, place, strict=True))
            raise ConvError(
                f"a missing sample (NaN) at {spot} of channel {channel}, counted from 0: "
                "--nan skip leaves it out, --nan propagate passes it on"
            )

    def _values(self, chain: Chain, read: Read, start: int, stop: int) -> np.ndarray:
        """Compute outputs ``start:stop`` of the chain's last stage, each stage asking the one before it."""
        produce = read
        for index, stage in enumerate(chain.stages):
            produce = self._stage(stage, chain.sizes[index], chain.sizes[index + 1], produce)
        return produce(start, stop)

    def _stage(self, stage: Stage, sizes: tuple[int, ...], outputs: tuple[int, ...], read: Read) -> Read:
        stream = self.job.stream

        def produce(start: int, stop: int) -> np.ndarray:
            wanted = [(0, size) for size in outputs]
            wanted[stream] = (start, stop)
            needed = [window.input_range(*span) for window, span in zip(stage.windows, wanted, strict=True)]
            mode = PadMode.ZERO if isinstance(stage, PoolStage) else stage.mode
            a, b = support(*needed[stream], sizes[stream], mode)
            block = read(a, b)
            needed[stream] = (needed[stream][0] - a, needed[stream][1] - a)
            if isinstance(stage, PoolStage):
                return self._pool(stage, block, needed, wanted, a)
            if stage.transposed:
                return self._transpose(stage, block, wanted, a)
            return self._correlate(stage, block, needed)

        return produce

    def _correlate(self, stage: ConvStage, block: np.ndarray, needed: list[tuple[int, int]]) -> np.ndarray:
        padded = pad(block, tuple(needed), stage.mode, stage.value, self.dtype)
        stride = tuple(window.stride for window in stage.windows)
        dilation = tuple(window.dilation for window in stage.windows)

        def correlate(x: np.ndarray) -> np.ndarray:
            return self._in_three_axes(stage, x, stride, dilation)

        missing = np.isnan(padded) if self.job.nan is Nan.SKIP and block.dtype.kind == "f" else None
        if missing is None or not missing.any():
            return _finish(stage, self._over_planes(stage, padded, correlate))
        padded[missing] = 0
        sums = self._over_planes(stage, padded, correlate)
        present = self._over_planes(stage, (~missing).astype(self.dtype), correlate)
        total = _total_weights(stage, sums)
        with np.errstate(divide="ignore", invalid="ignore"):
            sums *= np.where(present > 1e-6 * total, total / present, np.nan)
        return _finish(stage, sums)

    def _over_planes(
        self, stage: ConvStage, x: np.ndarray, apply: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """Apply to (M, C, *space), giving (O·M, C, *space): planes summed by the kernel, or each alone."""
        maps, channels = x.shape[:2]
        space = x.shape[2:]
        if stage.summed:
            return apply(x.reshape(1, maps * channels, *space)).swapaxes(0, 1)
        planes = x.reshape(maps * channels, 1, *space) if maps > 1 else x[0][:, None]
        out = apply(planes)  # (M·C, O, *space)
        if maps == 1:
            return out.swapaxes(0, 1)
        out = out.reshape(maps, channels, *out.shape[1:]).swapaxes(1, 2)
        return out.reshape(-1, channels, *out.shape[3:])

    def _in_three_axes(
        self, stage: ConvStage, x: np.ndarray, stride: tuple[int, ...], dilation: tuple[int, ...]
    ) -> np.ndarray:
        """Correlate or transpose; of four space axes, one that the kernel does not touch is walked along."""
        weights = stage.kernel.array(self.dtype).reshape(stage.weight_shape)
        method = self.engine.transpose if stage.transposed else self.engine.correlate
        if len(stage.windows) <= 3:
            return method(x, weights, stride=stride, dilation=dilation)
        idle = next(index for index in range(4) if index not in stage.axes)
        rest = tuple(index for index in range(4) if index != idle)
        flat = weights.squeeze(idle + 2)
        stride, dilation = tuple(stride[i] for i in rest), tuple(dilation[i] for i in rest)
        slices = [
            method(part, flat, stride=stride, dilation=dilation) for part in np.moveaxis(x, idle + 2, 0)
        ]
        return np.stack(slices, axis=idle + 2)

    def _transpose(
        self, stage: ConvStage, block: np.ndarray, wanted: list[tuple[int, int]], first: int
    ) -> np.ndarray:
        """Lay kernels down, then crop: ``first`` is the block's first sample along the stream axis."""
        stride = tuple(window.stride for window in stage.windows)
        dilation = tuple(window.dilation for window in stage.windows)
        full = self._over_planes(
            stage,
            block.astype(self.dtype, copy=False),
            lambda x: self._in_three_axes(stage, x, stride, dilation),
        )
        crop = [
            (lo + window.before, hi + window.before)
            for (lo, hi), window in zip(wanted, stage.windows, strict=True)
        ]
        moved = first * stride[self.job.stream]
        crop[self.job.stream] = (crop[self.job.stream][0] - moved, crop[self.job.stream][1] - moved)
        return _finish(stage, pad(full, tuple(crop), PadMode.ZERO, 0.0, self.dtype))

    def _pool(
        self,
        stage: PoolStage,
        block: np.ndarray,
        needed: list[tuple[int, int]],
        wanted: list[tuple[int, int]],
        first: int,
    ) -> np.ndarray:
        windows = list(stage.windows)
        stream = self.job.stream
        length = block.shape[2 + stream]
        own = windows[stream]
        lo, hi = needed[stream]
        windows[stream] = replace(own, before=max(-lo, 0), after=min(max(hi - length, 0), own.after))
        values = block.astype(self.dtype, copy=False)
        return pool_padded(self.engine, values, stage.kind, tuple(windows), stage.include_padding)

    def _sample(self, start: int, stop: int) -> np.ndarray:
        """Return the input (C, *space) under the kernels' origins of the outputs; zero outside the data."""
        where = self._positions
        stream = self.job.stream
        rows = where[stream][start:stop]
        inside = rows[rows >= 0]
        a, b = (int(inside.min()), int(inside.max()) + 1) if len(inside) else (0, 1)
        block = self.raw(a, b)
        for axis, index in enumerate(where):
            index = np.where(rows < 0, -1, rows - a) if axis == stream else index
            block = np.take(block, np.maximum(index, 0), axis=axis + 1)
            if (index < 0).any():
                block[(slice(None),) * (axis + 1) + (index < 0,)] = 0
        return block

    @cached_property
    def _positions(self) -> list[np.ndarray]:
        return [positions(self.job.chain, axis) for axis in range(len(self.job.letters))]


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
            return np.sqrt(np.square(bank).sum(axis=1))
        case Combine.MAX:
            return bank.max(axis=1)
        case Combine.SUM:
            return bank.sum(axis=1)


def execute(
    job: Job,
    source: Source,
    engine: Engine,
    step: int,
    tally: Tally,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[np.ndarray]:
    """Compute a job block by block.

    Parameters
    ----------
    step : int
        Samples of the output's stream axis in one block.
    tally : Tally
        Counts what was clipped; colours only, never alpha.
    progress : callable
        Called with the samples done and their total after every block.

    Yields
    ------
    ndarray
        Blocks in order along the stream axis, axes and type as ``job.result`` says.
    """
    runner = Runner(job, source, engine)
    measured = measure(runner, step) if job.policy.kind is RangeKind.MINMAX else None
    how = job.rendering(measured)
    opaque = replace(how, scale=1.0, offset=0.0, absolute=False)
    for start in range(0, job.length, step):
        stop = min(start + step, job.length)
        values, alpha = runner.block(start, stop)
        pixels, counted = render(values, how)
        tally.add(counted)
        if alpha is not None:
            coverage, _ = render(alpha, opaque)
            shape = (pixels.shape[0], 1, *pixels.shape[2:])
            pixels = np.concatenate([pixels, np.broadcast_to(coverage, shape)], axis=1)
        yield _arranged(pixels, job)
        progress(stop, job.length)


def measure(runner: Runner, step: int) -> tuple[float, float]:
    """Return the smallest and largest finite value of a whole output, for ``minmax``."""
    low, high = np.inf, -np.inf
    for start in range(0, runner.job.length, step):
        values, _ = runner.block(start, min(start + step, runner.job.length))
        finite = values[np.isfinite(values)]
        low, high = min(low, finite.min(initial=np.inf)), max(high, finite.max(initial=-np.inf))
    return (float(low), float(high)) if low <= high else (0.0, 0.0)


def _arranged(pixels: np.ndarray, job: Job) -> np.ndarray:
    """Bring (M, C, *space) into the axis order of the result."""
    axes = job.result.axes
    names = "MC" + job.letters
    kept = [index for index, letter in enumerate(names) if letter in axes]
    dropped = tuple(index for index in range(len(names)) if index not in kept)
    pixels = pixels.squeeze(dropped)
    left = [names[index] for index in kept]
    return pixels.transpose([left.index(letter) for letter in axes])
