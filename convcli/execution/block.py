"""One block of a job's output: which inputs it needs, read, pad, compute, and what alpha and luma add.

A block is a range of the stream axis with the whole of the other axes.  The engine is handed in; files are
not known here, only :class:`convcli.data.info.Source`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np

from convcli.common.choices import Channels, Nan
from convcli.common.errors import ConvError
from convcli.data.info import Source
from convcli.engines.base import Engine
from convcli.engines.interface import Algorithm
from convcli.execution import stages
from convcli.execution.stages import Span
from convcli.jobs.chain import Chain, ConvStage, PoolStage
from convcli.jobs.job import Job, positions
from convcli.pixels import channels as colours
from convcli.pixels.channels import Alpha
from convcli.pixels.render import Rendering, Tally

Read = Callable[[int, int], np.ndarray]


class Runner:
    """Computes blocks of one job's output with one engine."""

    def __init__(
        self, job: Job, source: Source, engine: Engine, algorithms: Sequence[Algorithm | None] = ()
    ) -> None:
        self.job = job
        self.engine = engine
        self._algorithms = algorithms or (None,) * len(job.chain.stages)
        self.dtype = np.dtype(job.compute)
        self._source = source
        info = source.info
        order = [info.letters.index(letter) for letter in job.letters]
        self._order = ([info.letters.index("C")] if "C" in info.letters else []) + order
        premultiplied = job.split.alpha is Alpha.PREMULTIPLIED
        self._coverage_chain = job.chain.coverage(job.full_scale) if premultiplied else None

    def _raw(self, start: int, stop: int) -> np.ndarray:
        """Read samples as (C, *space), the axes in the chain's order."""
        block = self._source.read(start, stop).transpose(self._order)
        return block if "C" in self.job.info.letters else block[None]

    def reader(self, start: int, stop: int) -> Read:
        """Read all that the outputs ``start:stop`` need; what is returned gives parts of it without reading."""
        a, b = self._needed(start, stop)
        block = self._raw(a, b)
        axis = 1 + self.job.stream

        def read(lo: int, hi: int) -> np.ndarray:
            return block[(slice(None),) * axis + (slice(lo - a, hi - a),)]

        return read

    def _needed(self, start: int, stop: int) -> Span:
        """Return which of the input's samples the outputs ``start:stop`` need."""
        stream, first, last = self.job.stream, start, stop
        for stage, sizes in zip(
            reversed(self.job.chain.stages), reversed(self.job.chain.sizes[:-1]), strict=True
        ):
            start, stop = stage.mode.support(*stage.windows[stream].input_range(start, stop), sizes[stream])
        if self._samples:
            rows = self._positions[stream][first:last]
            rows = rows[rows >= 0]
            if len(rows):
                start, stop = min(start, int(rows.min())), max(stop, int(rows.max()) + 1)
        return start, stop

    @cached_property
    def _samples(self) -> bool:
        """Whether some channels pass through, taken at the kernels' origins."""
        return self.job.split.alpha is Alpha.SAMPLED or self.job.split.channels is Channels.LUMA

    def block(
        self, start: int, stop: int, read: Read, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return colours (M, C, *space) and alpha (M or 1, 1, *space) of the outputs ``start:stop``.

        ``read`` comes from `reader` with the same outputs.  Colours may be written to ``out`` where they are all
        that there is, and have its type.
        """
        job = self.job
        alone = job.split.plain and not self._samples and out is not None and out.dtype == self.dtype
        colour = partial(self._colour, read)
        values = self._values(job.chain, colour, start, stop, out if alone else None)
        alpha = None
        if self._coverage_chain is not None:
            alpha = self._values(self._coverage_chain, partial(self._coverage, read), start, stop)
            colours.unpremultiply(values, alpha, job.full_scale)
        elif self._samples:
            sampled = self._sample(read, start, stop)
            if job.split.alpha is Alpha.SAMPLED:
                alpha = sampled[None, job.split.colours :].astype(self.dtype)
            if job.split.channels is Channels.LUMA:
                kept = sampled[: job.split.colours].astype(self.dtype)
                values = kept[None] + (values - colours.luma(kept, self.dtype))
        return values, alpha

    @cached_property
    def straight(self) -> bool:
        """Whether pixels are one stage's outputs and nothing else: then bytes need not become floats and back."""
        job = self.job
        stage = job.chain.stages[0]
        alone = len(job.chain.stages) == 1 and isinstance(stage, ConvStage) and stages.straight(stage)
        plain = job.split.plain and not self._samples and np.dtype(job.info.dtype).kind in "iu"
        return alone and plain and np.dtype(job.dtype).kind in "iu"

    def pixels(
        self, start: int, stop: int, read: Read, how: Rendering, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, Tally]:
        """Return the outputs ``start:stop`` of a `straight` job as pixels (M, C, *space); maybe in ``out``."""
        stage = self.job.chain.stages[0]
        if not isinstance(stage, ConvStage):
            raise TypeError(f"no pixels of {stage}")
        block, box = self._input(0, self.job.chain, partial(self._colour, read), start, stop)
        return stages.pixels(stage, self.engine, block, box, self.dtype, self._algorithms[0], how, out)

    def _colour(self, read: Read, start: int, stop: int) -> np.ndarray:
        block = read(start, stop)
        if self.job.nan is Nan.ERROR and block.dtype.kind == "f":
            self._refuse_nan(block, start)
        return self.job.split.colour_block(block, self.dtype)[None]

    def _coverage(self, read: Read, start: int, stop: int) -> np.ndarray:
        return self.job.split.alpha_block(read(start, stop))[None]

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

    def _values(
        self, chain: Chain, read: Read, start: int, stop: int, out: np.ndarray | None = None
    ) -> np.ndarray:
        """Compute outputs ``start:stop`` of the chain's last stage, each stage asking the one before it."""
        produce = read
        for index in range(len(chain.stages)):
            last = index == len(chain.stages) - 1
            produce = self._stage(index, chain, produce, out if last else None)
        return produce(start, stop)

    def _stage(self, index: int, chain: Chain, read: Read, out: np.ndarray | None = None) -> Read:
        stage, outputs = chain.stages[index], chain.sizes[index + 1]
        algorithm = self._algorithms[index]
        stream = self.job.stream

        def produce(start: int, stop: int) -> np.ndarray:
            block, box = self._input(index, chain, read, start, stop)
            if isinstance(stage, PoolStage):
                return stages.pool(stage, self.engine, block, box, self.dtype)
            if stage.transposed:
                wanted = [(0, size) for size in outputs]
                wanted[stream] = (start, stop)
                a, _ = self._support(index, chain, start, stop)
                first = [a if axis == stream else 0 for axis in range(len(wanted))]
                return stages.transpose(stage, self.engine, block, wanted, first, self.dtype)
            skip = self.job.nan is Nan.SKIP
            return stages.correlate(stage, self.engine, block, box, self.dtype, skip, algorithm, out)

        return produce

    def _support(self, index: int, chain: Chain, start: int, stop: int) -> Span:
        """Return which of a stage's inputs along the stream axis its outputs ``start:stop`` are padded from."""
        stage, stream = chain.stages[index], self.job.stream
        needed = stage.windows[stream].input_range(start, stop)
        return stage.mode.support(*needed, chain.sizes[index][stream])

    def _input(
        self, index: int, chain: Chain, read: Read, start: int, stop: int
    ) -> tuple[np.ndarray, list[Span]]:
        """Return the block that a stage's outputs ``start:stop`` need, and the box of it, padding included."""
        stage, stream = chain.stages[index], self.job.stream
        wanted = [(0, size) for size in chain.sizes[index + 1]]
        wanted[stream] = (start, stop)
        box = [window.input_range(*span) for window, span in zip(stage.windows, wanted, strict=True)]
        a, b = self._support(index, chain, start, stop)
        lo, hi = box[stream]
        box[stream] = (lo - a, hi - a)
        return read(a, b), box

    def _sample(self, read: Read, start: int, stop: int) -> np.ndarray:
        """Return the input (C, *space) under the kernels' origins of the outputs; zero outside the data."""
        where = self._positions
        stream = self.job.stream
        rows = where[stream][start:stop]
        inside = rows[rows >= 0]
        a, b = (int(inside.min()), int(inside.max()) + 1) if len(inside) else (0, 1)
        block = read(a, b)
        for axis, index in enumerate(where):
            index = np.where(rows < 0, -1, rows - a) if axis == stream else index
            block = np.take(block, np.maximum(index, 0), axis=axis + 1)
            if (index < 0).any():
                block[(slice(None),) * (axis + 1) + (index < 0,)] = 0
        return block

    @cached_property
    def _positions(self) -> list[np.ndarray]:
        return [positions(self.job.chain, axis) for axis in range(len(self.job.letters))]
