"""The runner of a clip's planes: as `blocks` for its colours, every plane of a block in one piece of work.

What each plane goes through is decided in `convcli.execution.planes`; no files here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from convcli.common import Channels
from convcli.data.box import Box, Span, grid, whole
from convcli.data.info import Info, PlanarSource, Strips
from convcli.engines.base import Engine
from convcli.execution.box import Read, Runner
from convcli.execution.boxes import in_order
from convcli.execution.planes import SUM
from convcli.jobs.chain import Chain
from convcli.jobs.job import ERROR, Job, positions
from convcli.pixels.render import SPARE, Rendering, Tally
from convcli.plan.choose import Plan, Resources, choose


class _View(Strips):
    """One plane as a source of its own."""

    def __init__(self, source: PlanarSource, index: int, frames: int) -> None:
        self._source, self._index = source, index
        self.info = Info.of("TYX", (frames, *source.coded.planes[index].shape), source.coded.dtype)

    def strip(self, start: int, stop: int) -> np.ndarray:
        return self._source.read_planes(start, stop)[self._index]

    def close(self) -> None:
        """The source is its owner's."""


class _Filtered:
    """A plane that goes through an engine."""

    def __init__(self, runner: Runner, how: Rendering) -> None:
        self._runner, self._how = runner, how

    def _box(self, frames: Span) -> Box:
        return (frames, *whole(self._runner.job.chain.output[1:]))

    def reader(self, frames: Span) -> Read:
        return self._runner.reader(self._box(frames))

    def pixels(self, frames: Span, read: Read) -> tuple[np.ndarray, Tally]:
        pixels, tally = self._runner.pixels(self._box(frames), read, self._how)
        return pixels[0, 0], tally


class _Kept:
    """A plane that passes through: the frames under the kernels' origins."""

    def __init__(self, job: Job, view: _View, outside: float) -> None:
        self._where = positions(job.chain, job.stream)
        self._view, self._outside = view, outside

    def reader(self, frames: Span) -> np.ndarray:
        outside = np.full((1, *self._view.info.shape[1:]), self._outside, self._view.info.dtype)
        parts = [
            self._view.strip(at, at + 1) if at >= 0 else outside
            for at in self._where[slice(*frames)].tolist()
        ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def pixels(self, frames: Span, read: np.ndarray) -> tuple[np.ndarray, Tally]:
        return read, Tally()


def execute(
    job: Job,
    chains: Sequence[Chain | None],
    source: PlanarSource,
    engine: Engine,
    plan: Plan,
    tally: Tally,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[np.ndarray, ...]]:
    """Compute a job on the planes, block by block, as `convcli.execution.boxes.execute` does on the colours.

    Parameters
    ----------
    chains : sequence of Chain, or None
        Of the route.
    plan : Plan
        Of the first plane.

    Yields
    ------
    tuple of ndarray
        For each plane a block (T, Y, X), in order.
    """
    parts = [_part(job, chain, source, index, engine, plan) for index, chain in enumerate(chains)]

    def reader(box: Box) -> list[Any]:
        return [part.reader(box[0]) for part in parts]

    def work(box: Box, reads: list[Any]) -> list[tuple[np.ndarray, Tally]]:
        return [part.pixels(box[0], read) for part, read in zip(parts, reads, strict=True)]

    boxes = list(grid((job.length,), plan.steps[:1]))
    with engine:
        made = in_order(boxes, reader, work, plan.workers)
        for (frames,), results in zip(boxes, made, strict=True):
            for _, counted in results:
                tally.add(counted)
            yield tuple(pixels for pixels, _ in results)
            progress(frames[1], job.length)


def _part(
    job: Job, chain: Chain | None, source: PlanarSource, index: int, engine: Engine, plan: Plan
) -> _Filtered | _Kept:
    view, plane = _View(source, index, job.info.length), source.coded.planes[index]
    if chain is None:
        return _Kept(job, view, plane.black)
    alone = replace(job, info=view.info, chain=chain, channels=Channels.EACH, dtype=view.info.dtype)
    own = choose(
        chain,
        job.stream,
        Resources(plan.engine, threads=plan.threads),
        dtype=job.compute,
        source=view.info.dtype,
        result=alone.dtype,
    )
    averages = all(kernel.non_negative for kernel in chain.kernels)
    largest = 2.0**source.coded.bits - 1
    # Means stay within what they are made of, also where that is blacker than black.
    low, top = (0.0, largest) if averages else (plane.black, plane.white)
    error = (SUM + ERROR[job.compute]) * len(chain.stages) * largest
    how = Rendering(alone.info.dtype, low=low, top=top, fits=averages and error < SPARE)
    return _Filtered(Runner(alone, view, engine, own.algorithms), how)
