"""All boxes of a job, in order: read, compute on threads, render, hand over."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from convcli.data.box import Box
from convcli.execution.box import Read, Runner
from convcli.pixels.measures import Measured, Pass, measure
from convcli.pixels.render import Tally

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")
P = TypeVar("P")  # a box, or the number of one


def execute(
    runner: Runner, boxes: Sequence[Box], tally: Tally, workers: int = 1, into: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Compute boxes of a job's output.

    Parameters
    ----------
    boxes : sequence of Box
        All of the output, where the range is to be measured.
    tally : Tally
        Counts what was clipped; colours only, never alpha.
    workers : int
        Threads that compute boxes, while the caller reads and writes others.  Their order and values do not
        depend on it.
    into : ndarray, optional
        Of the form of ``job.result``; boxes are written to where they belong in it.

    Yields
    ------
    ndarray
        The boxes in order, axes and type as ``job.result`` says.
    """
    with runner.engine:
        how = runner.job.rendering(measured(runner, boxes, workers))

        def work(box: Box, read: Read) -> tuple[np.ndarray, Tally]:
            return runner.result(box, read, how, into)

        for pixels, counted in in_order(boxes, runner.reader, work, workers):
            tally.add(counted)
            yield pixels


def measured(runner: Runner, boxes: Sequence[Box], workers: int = 1) -> Measured | None:
    """Return what the job's range policy measures on its values; alpha is none of them, the black that it hides is."""

    def sweep(each: Pass) -> Iterator[Any]:
        def take(box: Box, read: Read) -> Any:
            return each.take(runner.values(box, read)[0])

        return in_order(boxes, runner.reader, take, workers)

    return measure(runner.job.policy.first_pass(), sweep)


def in_order(
    boxes: Sequence[P], reader: Callable[[P], R], work: Callable[[P, R], T], workers: int
) -> Iterator[T]:
    """Yield ``work(box, reader(box))`` of every box, in order.

    Reading stays with the caller's thread, in order too.
    """
    if workers == 1 or len(boxes) == 1:
        for box in boxes:
            yield work(box, reader(box))
        return
    from concurrent.futures import ThreadPoolExecutor  # 4 ms that small jobs need not wait for

    pool = ThreadPoolExecutor(workers)
    try:
        pending: deque[Future[T]] = deque()
        for box in boxes:
            if len(pending) > workers:
                yield pending.popleft().result()
            pending.append(pool.submit(work, box, reader(box)))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
