"""All blocks of a job, in order: read, compute on threads, render, hand over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from convcli.data.info import Source
from convcli.engines.base import Engine
from convcli.engines.interface import Algorithm
from convcli.execution.block import Read, Runner
from convcli.jobs.job import Job
from convcli.pixels.measures import Measured, Pass, measure
from convcli.pixels.render import Rendering, Tally

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")


def execute(
    job: Job,
    source: Source,
    engine: Engine,
    step: int,
    tally: Tally,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    algorithms: Sequence[Algorithm | None] = (),
    into: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Compute a job block by block.

    Parameters
    ----------
    step : int
        Samples of the output's stream axis in one block.
    tally : Tally
        Counts what was clipped; colours only, never alpha.
    workers : int
        Threads that compute blocks, while the caller reads and writes others.  The order of the blocks and
        their values do not depend on it.
    progress : callable
        Called with the samples done and their total after every block.
    algorithms : sequence of Algorithm, optional
        One for each stage; None leaves it to the engine.
    into : ndarray, optional
        Of the form of ``job.result``; blocks are written to where they belong in it.

    Yields
    ------
    ndarray
        Blocks in order along the stream axis, axes and type as ``job.result`` says.
    """
    runner = Runner(job, source, engine, algorithms)
    with engine:
        measured = _measured(runner, step, workers)
        how = job.rendering(measured)
        opaque = Rendering(how.dtype, low=how.low, top=how.top)

        def pixels_of(
            start: int, stop: int, read: Read, place: np.ndarray | None
        ) -> tuple[np.ndarray, Tally]:
            if runner.straight and measured is None:  # what was measured is computed the same way again
                return runner.pixels(start, stop, read, how, place)
            values, alpha = runner.block(start, stop, read, place)
            pixels, counted = engine.render(values, how)
            if alpha is not None:
                coverage, _ = engine.render(alpha, opaque)
                shape = (pixels.shape[0], 1, *pixels.shape[2:])
                pixels = np.concatenate([pixels, np.broadcast_to(coverage, shape)], axis=1)
            return pixels, counted

        def work(start: int, stop: int, read: Read) -> tuple[np.ndarray, Tally]:
            place = None if into is None else _place(into, start, stop, job)
            pixels, counted = pixels_of(start, stop, read, place)
            if place is None:
                return _arranged(pixels, job), counted
            if not np.may_share_memory(pixels, place):
                place[...] = pixels
            return _arranged(place, job), counted

        done = 0
        for pixels, counted in in_order(job.length, step, runner.reader, work, workers):
            tally.add(counted)
            yield pixels
            done = min(done + step, job.length)
            progress(done, job.length)


def _measured(runner: Runner, step: int, workers: int) -> Measured | None:
    """Return what the job's range policy measures on its values; alpha is none of them."""

    def sweep(each: Pass) -> Iterator[Any]:
        def take(start: int, stop: int, read: Read) -> Any:
            return each.take(runner.block(start, stop, read)[0])

        return in_order(runner.job.length, step, runner.reader, take, workers)

    return measure(runner.job.policy.first_pass(), sweep)


def in_order(
    length: int,
    step: int,
    reader: Callable[[int, int], R],
    work: Callable[[int, int, R], T],
    workers: int,
) -> Iterator[T]:
    """Yield ``work(start, stop, reader(start, stop))`` of every block, in order.

    Reading stays with the caller's thread, in order too.
    """
    spans = [(start, min(start + step, length)) for start in range(0, length, step)]
    if workers == 1 or len(spans) == 1:
        for span in spans:
            yield work(*span, reader(*span))
        return
    from concurrent.futures import ThreadPoolExecutor  # 4 ms that small jobs need not wait for

    pool = ThreadPoolExecutor(workers)
    try:
        pending: deque[Future[T]] = deque()
        for span in spans:
            if len(pending) > workers:
                yield pending.popleft().result()
            pending.append(pool.submit(work, *span, reader(*span)))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _arranged(pixels: np.ndarray, job: Job) -> np.ndarray:
    """Bring (M, C, *space) into the axis order of the result."""
    axes = job.result.letters
    left, dropped = _axes(job)
    return pixels.squeeze(dropped).transpose([left.index(letter) for letter in axes])


def _place(result: np.ndarray, start: int, stop: int, job: Job) -> np.ndarray:
    """Return where a block belongs, as (M, C, *space)."""
    axes = job.result.letters
    left, dropped = _axes(job)
    block = result[(slice(None),) * job.result.stream_axis + (slice(start, stop),)]
    return np.expand_dims(block.transpose([axes.index(letter) for letter in left]), dropped)


def _axes(job: Job) -> tuple[str, tuple[int, ...]]:
    """Return which of (M, C, *space) a result has, and the numbers of those that it has not."""
    names = "MC" + job.letters
    left = "".join(letter for letter in names if letter in job.result.letters)
    return left, tuple(index for index, letter in enumerate(names) if letter not in left)
