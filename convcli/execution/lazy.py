"""Results of Dask's arrays: each block is computed when it is asked for, from the part of the input that it needs."""

from itertools import pairwise
from typing import Any

import numpy as np

from convcli.common import UsageError
from convcli.data import ITEMS, Box, Boxes, Info, slices
from convcli.execution.box import compute
from convcli.execution.pipeline import Pipeline
from convcli.jobs.job import Job, positions
from convcli.plan.choose import Plan


def lazily(array: Any, work: Pipeline) -> Any:
    """Return the result of a job on a Dask array as one whose chunks hold what lies under the input's.

    Raises
    ------
    UsageError
        For independent items, masks, and ranges that look at all values first.
    """
    import dask
    import dask.array

    job, given, result = work.job, work.source.info, work.result
    if ITEMS in given.letters or given.gaps or job.policy.first_pass() is not None:
        raise UsageError(
            "a Dask array is filtered without an axis N, a mask, or a range that is measured first: use its compute()"
        )
    spans = {}
    for axis, letter in enumerate(job.letters):
        ends = np.cumsum(array.chunks[given.letters.index(letter)])[:-1]
        cuts = np.searchsorted(np.maximum.accumulate(positions(job.chain, axis)), ends)
        spans[letter] = [*pairwise(sorted({0, *cuts.tolist(), job.chain.output[axis]}))]
    made = dask.delayed(_block, pure=True)
    blocks = np.empty([len(spans.get(letter, "1")) for letter in result.letters], object)
    for index in np.ndindex(blocks.shape):
        at = {
            letter: spans[letter][n]
            for letter, n in zip(result.letters, index, strict=True)
            if letter in spans
        }
        box = tuple(at[letter] for letter in job.letters)
        needed = dict(zip(job.letters, work.runner.needed(box), strict=True))
        part = array[tuple(slice(*needed[one]) if one in needed else slice(None) for one in given.letters)]
        first = {letter: start for letter, (start, _) in needed.items()}
        shape = [len(range(*at[one])) if one in at else result.size(one) for one in result.letters]
        block = made(job, work.plan, given, first, part, box)
        blocks[index] = dask.array.from_delayed(block, shape, result.dtype)
    return dask.array.block(blocks.tolist())


def _block(
    job: Job, plan: Plan, given: Info, first: dict[str, int], part: np.ndarray, box: Box
) -> np.ndarray:
    return compute(job, plan, _Part(part, given, first), box)[0]


class _Part(Boxes):
    """A part of an input, in the places of the whole."""

    def __init__(self, array: np.ndarray, info: Info, first: dict[str, int]) -> None:
        self._array, self.info, self._first = array, info, first

    def read(self, box: Box) -> np.ndarray:
        starts = (self._first[letter] for letter in self.info.box_letters)
        moved = tuple((a - start, b - start) for (a, b), start in zip(box, starts, strict=True))
        return self._array[slices(self.info.spans(moved))]
