"""The stage that is explained: the job of ``filter`` on an input, computed, and one of its outputs taken apart."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from convcli.common import Channels, Missing, UsageError, counted, frozen_identity
from convcli.data import ArraySource, Colour, Source, axes_of, channels_first, whole
from convcli.execution.pipeline import Pipeline
from convcli.explanations.value import Explanation, explain_conv, explain_pool
from convcli.jobs.bind import Settings
from convcli.jobs.chain import PoolStage, Stage
from convcli.jobs.job import Job, canonical, draft
from convcli.jobs.missing import Gaps
from convcli.kernel import Combine, Kernel
from convcli.pixels.channels import Alpha
from convcli.pixels.ranges import ROUNDED
from convcli.pixels.render import Tally

ALPHA = {
    Alpha.PREMULTIPLIED: (
        "colours count as much as their alpha: values are colour times alpha, and filter divides "
        "their sum by the mean alpha",
    ),
    Alpha.SAMPLED: ("the alpha channel is left out: it passes through",),
}


@frozen_identity
class Task:
    """The stage that is explained, with its input and what ``filter`` computes.

    Attributes
    ----------
    job : Job
        The whole job.
    data : ndarray
        (planes, *space) of the last stage's input.
    results : ndarray
        (maps, channels, *space) of its output.
    rounded : bool
        Whether ``filter`` rounds integers beyond 2^53.
    """

    job: Job
    letters: str
    data: np.ndarray
    results: np.ndarray
    rounded: bool

    @property
    def stage(self) -> Stage:
        return self.job.chain.stages[-1]

    @property
    def missing(self) -> Missing:
        """What missing samples do at this stage."""
        skips = isinstance(self.stage, PoolStage) or not self.job.unskippable
        return self.job.missing if skips else Missing.PROPAGATE

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(self.results.shape[2:])

    @property
    def notes(self) -> tuple[str, ...]:
        """What an explanation leaves unsaid."""
        return (
            *self.job.filling,
            *ALPHA.get(self.job.split.alpha, ()),
            *((ROUNDED,) if self.rounded else ()),
        )


def prepare(
    source: Source,
    kernels: Sequence[Kernel],
    settings: Settings,
    channels: Channels,
    gaps: Gaps,
    check: Callable[..., None] | None = None,
) -> Task:
    """Make the same job as ``filter`` for an input, and compute the last stage's input and output.

    ``check`` gets the last stage with the sizes before and after it, before anything is computed.
    """
    info, letters = source.info, canonical(source.info)
    axes = "C" * ("C" in info.letters) + letters
    info = replace(info, axes=tuple(map(info.axis, axes)), companions=None)
    job = draft(info, kernels, settings, channels=channels, gaps=gaps)
    if check is not None:
        check(job.chain.stages[-1], *job.chain.sizes[-2:])
    sizes = [info.size(letter) for letter in letters]
    array = np.ascontiguousarray(channels_first(source, letters, whole(sizes)))
    data = job.split.colour_block(array, np.dtype(job.compute))
    tally = Tally()
    results = _computed(job, array, tally)
    if len(job.chain.stages) > 1:
        planes = axes_of("C" + letters, data.shape)
        info = replace(info, axes=planes, dtype=data.dtype.name, colour=Colour.NONE)
        chain = replace(job.chain, stages=job.chain.stages[:-1], sizes=job.chain.sizes[:-1])
        missing = Missing.SKIP if job.interpolates else job.missing
        before = replace(job, info=info, chain=chain, channels=Channels.EACH, missing=missing)
        data = _computed(before, data, tally).reshape(-1, *chain.output)
    if job.split.channels is Channels.LUMA and not job.chain.summed:  # each colour gets what luma becomes
        data = np.repeat(data, job.split.colours, axis=0)
    if data.dtype not in ("int64", "uint64") or job.compute != "float64":  # which would be rounded
        data = data.astype(job.compute)
    return Task(job, letters, data, results, tally.rounded)


def _computed(job: Job, array: np.ndarray, tally: Tally) -> np.ndarray:
    """Return what ``filter`` computes of (channels, *space): (maps, channels, *space), without alpha."""
    source = ArraySource(array if "C" in job.info.letters else array[0], job.info)
    pipeline = Pipeline(job, source)
    found, letters = pipeline.array(tally), pipeline.result.letters
    found = found.transpose([letters.index(one) for one in "MC" + job.letters if one in letters])
    found = found.reshape(job.chain.outputs[0], -1, *job.chain.output)
    return found[:, : found.shape[1] - (job.split.alpha is not Alpha.NONE)]


def check_place(at: Sequence[int], task: Task) -> None:
    """Refuse a place outside the output."""
    names = ",".join(task.letters.lower())
    sizes = task.outputs
    if len(at) != len(sizes):
        raise UsageError(
            f"--at {','.join(map(str, at))} has {counted(len(at), 'number')} and the output the axes {names}: "
            "give one for each"
        )
    if any(place >= size for place, size in zip(at, sizes, strict=True)):
        limits = ", ".join(
            f"{letter} 0 to {size - 1}" for letter, size in zip(task.letters.lower(), sizes, strict=True)
        )
        raise UsageError(f"--at {','.join(map(str, at))} lies outside the output: {limits}")


def explained(
    task: Task, at: tuple[int, ...], map: int | None = None, channel: int | None = None
) -> Explanation:
    """Take one output apart, and keep the maps and channels that were asked for."""
    values = np.moveaxis(task.results, (0, 1), (-2, -1))[at].ravel().tolist()
    stage, channels = task.stage, chosen(channel, len(task.data), "channel")
    if isinstance(stage, PoolStage):
        pooled = explain_pool(stage, task.data, at, values, task.missing)
        return replace(pooled, outputs=tuple(pooled.outputs[index] for index in channels))
    found = explain_conv(stage, task.data, at, values, task.missing, task.job.min_weight)
    maps, sums = chosen(map, stage.kernel.outputs, "map"), found.sums
    if stage.summed:
        sums = tuple(replace(one, channels=tuple(one.channels[index] for index in channels)) for one in sums)
    shown = {None, *channels}
    kept = [n for n, one in enumerate(sums) if one.map in maps and one.channel in shown]
    each = len(values) // len(sums)  # a sum of luma has a value for each colour
    if found.combine is Combine.NONE:
        values = [value for n in kept for value in values[n * each : (n + 1) * each]]
    elif not stage.summed:
        values = [values[index] for index in channels]
    combine = found.combine if map is None else Combine.NONE
    return replace(found, sums=tuple(sums[n] for n in kept), values=tuple(values), combine=combine)


def chosen(index: int | None, count: int, what: str) -> Sequence[int]:
    """Return the one that is asked for, or all."""
    if index is None:
        return range(count)
    if not 0 <= index < count:
        raise UsageError(f"--{what} {index} is not there: 0 to {count - 1} are")
    return [index]
