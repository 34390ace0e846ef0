"""Explain one output, or draw all of them: read, bind, compute with the engines, take apart, show."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from pathlib import PurePath

import numpy as np

from convcli.cli.explain.request import Request
from convcli.cli.explain.text import Explained, Routed, place_text
from convcli.cli.shared import report
from convcli.cli.shared.kernels import kernels_for
from convcli.cli.shared.opened import Opened, numbered, read_whole
from convcli.cli.shared.outputs import check_apart, write_whole
from convcli.common import Channels, Missing, UsageError, counted, frozen_identity
from convcli.data.axes import SECOND, Listed, axes_of
from convcli.data.info import ArraySource, Colour, Info
from convcli.execution.pipeline import Pipeline
from convcli.explanations.film import Frame, check_length, close_up, lay_down, slide
from convcli.explanations.page import SUFFIXES, page
from convcli.explanations.value import Explanation, explain_conv, explain_pool, route
from convcli.jobs.chain import ConvStage, PoolStage, Stage
from convcli.jobs.job import Job, draft
from convcli.kernel import Combine, Kernel
from convcli.media import registry
from convcli.media.files.target import output, shown
from convcli.media.opening import check_not_input
from convcli.networks.pictures import grid
from convcli.pixels.channels import Alpha, filtered_channels
from convcli.pixels.ranges import ROUNDED
from convcli.pixels.render import Tally

ALPHA = {
    Alpha.PREMULTIPLIED: (
        "colours count as much as their alpha: values are colour times alpha, and filter divides "
        "their sum by the mean alpha",
    ),
    Alpha.SAMPLED: ("the alpha channel is left out: it passes through",),
}
MOST_TAPS = 1_000_000  # of a pool whose places are all shown
MOST_CHANNELS = 6  # drawn beside each other


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


def explain_all(request: Request) -> None:
    """Do all that the command line asks for."""
    check_apart(request.output, request.animate)
    name = request.input or ""
    whole = read_whole(name, request.reading) if request.size is None else numbered(*request.size)
    whole.check(request.reading, name)
    whole = whole.masked(request.gaps.mask)
    channels, sized = filtered_channels(whole.info, request.channels), request.size is not None
    kernels, said = kernels_for(request.kernels, whole.info, request.settings, channels, numbers=sized)
    said += tuple(
        f"{kernel.name} is {kernel.in_samples} in samples" for kernel in kernels if kernel.in_samples
    )
    task = _prepare(request, whole, kernels)
    if request.at is None and request.animate is None:
        _show_route(request, task, whole)
        return
    explanation, frames = None, 0
    if request.at is not None:
        _check_place(request.at, task)
        explanation = _explain(task, request.at, request)
        if request.output is not None:
            data, results, which = _one_plane(task, request)
            frame = close_up(task.stage, data, request.at, float(results[request.at]), task.outputs, which)
            _write(request, request.output, [frame], task.letters)
    if request.animate is not None and PurePath(request.animate).suffix.lower() in SUFFIXES:
        frames = _write_page(request, request.animate, task)
    elif request.animate is not None:
        film = _film(task, request)
        _write(request, request.animate, film, task.letters)
        frames = len(film)
    window = tuple(window.kernel for window in task.stage.windows)
    drawn, notes = (request.output, request.animate, frames), (*whole.notes, *said, *task.notes)
    found = Explained(explanation, task.letters, task.outputs, window, *drawn, whole.grain, notes)
    report.show(found, found.lines(request.messages.quiet), request)


def _prepare(request: Request, whole: Opened, kernels: Sequence[Kernel]) -> Task:
    """Make the same job as ``filter`` for this input, and compute the last stage's input and output."""
    info, axes = whole.info, "C" * ("C" in whole.info.letters) + whole.letters
    info = replace(info, axes=tuple(map(info.axis, axes)), companions=None)
    job = draft(info, kernels, request.settings, channels=request.channels, gaps=request.gaps)
    if request.animate is not None:  # before anything is computed
        check_length(job.chain.stages[-1], *job.chain.sizes[-2:])
    array = whole.whole()
    data = job.split.colour_block(array, np.dtype(job.compute))
    tally = Tally()
    results = _computed(job, array, tally)
    if len(job.chain.stages) > 1:
        planes = axes_of("C" + whole.letters, data.shape)
        info = replace(info, axes=planes, dtype=data.dtype.name, colour=Colour.NONE)
        chain = replace(job.chain, stages=job.chain.stages[:-1], sizes=job.chain.sizes[:-1])
        missing = Missing.SKIP if job.interpolates else job.missing
        before = replace(job, info=info, chain=chain, channels=Channels.EACH, missing=missing)
        data = _computed(before, data, tally).reshape(-1, *chain.output)
    if job.split.channels is Channels.LUMA and not job.chain.summed:  # each colour gets what luma becomes
        data = np.repeat(data, job.split.colours, axis=0)
    if data.dtype not in ("int64", "uint64") or job.compute != "float64":  # which would be rounded
        data = data.astype(job.compute)
    return Task(job, whole.letters, data, results, tally.rounded)


def _computed(job: Job, array: np.ndarray, tally: Tally) -> np.ndarray:
    """Return what ``filter`` computes of (channels, *space): (maps, channels, *space), without alpha."""
    source = ArraySource(array if "C" in job.info.letters else array[0], job.info)
    pipeline = Pipeline(job, source)
    found, letters = pipeline.array(tally), pipeline.result.letters
    found = found.transpose([letters.index(one) for one in "MC" + job.letters if one in letters])
    found = found.reshape(job.chain.outputs[0], -1, *job.chain.output)
    return found[:, : found.shape[1] - (job.split.alpha is not Alpha.NONE)]


def _check_place(at: tuple[int, ...], task: Task) -> None:
    names = ",".join(task.letters.lower())
    sizes = task.outputs
    if len(at) != len(sizes):
        raise UsageError(
            f"--at {place_text(at)} has {counted(len(at), 'number')} and the output the axes {names}: give one for each"
        )
    if any(place >= size for place, size in zip(at, sizes, strict=True)):
        limits = ", ".join(
            f"{letter} 0 to {size - 1}" for letter, size in zip(task.letters.lower(), sizes, strict=True)
        )
        raise UsageError(f"--at {place_text(at)} lies outside the output: {limits}")


def _explain(task: Task, at: tuple[int, ...], request: Request) -> Explanation:
    """Take one output apart, and keep the maps and channels that were asked for."""
    values = np.moveaxis(task.results, (0, 1), (-2, -1))[at].ravel().tolist()
    stage, channels = task.stage, _chosen(request.channel, len(task.data), "channel")
    if isinstance(stage, PoolStage):
        pooled = explain_pool(stage, task.data, at, values, task.missing)
        return replace(pooled, outputs=tuple(pooled.outputs[index] for index in channels))
    found = explain_conv(stage, task.data, at, values, task.missing, task.job.min_weight)
    maps, sums = _chosen(request.map, stage.kernel.outputs, "map"), found.sums
    if stage.summed:
        sums = tuple(replace(one, channels=tuple(one.channels[index] for index in channels)) for one in sums)
    shown = {None, *channels}
    kept = [n for n, one in enumerate(sums) if one.map in maps and one.channel in shown]
    each = len(values) // len(sums)  # a sum of luma has a value for each colour
    if found.combine is Combine.NONE:
        values = [value for n in kept for value in values[n * each : (n + 1) * each]]
    elif not stage.summed:
        values = [values[index] for index in channels]
    combine = found.combine if request.map is None else Combine.NONE
    return replace(found, sums=tuple(sums[n] for n in kept), values=tuple(values), combine=combine)


def _chosen(index: int | None, count: int, what: str) -> Sequence[int]:
    if index is None:
        return range(count)
    if not 0 <= index < count:
        raise UsageError(f"--{what} {index} is not there: 0 to {count - 1} are")
    return [index]


def _show_route(request: Request, task: Task, whole: Opened) -> None:
    """Show where all results of a pool come from; a file of numbers gets the positions, a picture the gradient."""
    stage, sizes = task.stage, (len(task.data), *task.outputs)
    taps = prod(sizes) * prod(window.kernel for window in stage.windows)
    if not isinstance(stage, PoolStage) or taps > MOST_TAPS:
        raise UsageError(
            f"all places of a pool are shown for up to {MOST_TAPS:,} taps, not {taps:,}: give --at"
        )
    found = route(stage, task.data, task.outputs, task.missing)
    if request.output is not None:
        inputs, format = [request.input] if request.input else [], registry.by_suffix(request.output)
        plane, form = grid(found.gradient, count=len(task.data), title=stage.kind.name), None
        if format.numbers:
            axes = "C" * (sizes[0] > 1) + task.letters
            plane = found.positions if sizes[0] > 1 else found.positions[0]
            form = Info.of(axes, plane.shape, "int64")
        write_whole(request.output, plane, force=request.force, inputs=inputs, form=form)
    notes = (*whole.notes, *task.notes)
    routed = Routed(request.input or "", found, request.output, notes)
    report.show(routed, routed.lines(task.letters, request.messages.quiet), request)


def _one_plane(task: Task, request: Request) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the one channel that a picture shows, or all where they are summed, its results, and which map."""
    stage = task.stage
    if len(task.letters) > 3:
        raise UsageError("a picture shows up to three axes: read one frame, or leave -o and --animate out")
    if isinstance(stage, ConvStage) and stage.kernel.combine is not Combine.NONE:
        raise UsageError(
            f"a picture shows one kernel, and {stage.kernel.name} combines several: the table has them"
        )
    maps = stage.kernel.outputs if isinstance(stage, ConvStage) else 1
    which = _chosen(request.map or 0, maps, "map")[0]
    if isinstance(stage, ConvStage) and stage.summed and len(task.data) > 1:
        if len(task.data) > MOST_CHANNELS or len(task.letters) > 2 or stage.transposed:
            raise UsageError(
                f"a picture shows a sum over up to {MOST_CHANNELS} channels of an image, not transposed, and kernel "
                f"{stage.kernel.name} sums over {len(task.data)}: the table has them all"
            )
        return task.data, task.results[which, 0], which
    channel = _chosen(request.channel or 0, len(task.data), "channel")[0]
    results = task.results.reshape(maps, len(task.data), *task.outputs)
    return task.data[channel], results[which, channel], which


def _film(task: Task, request: Request) -> list[Frame]:
    data, results, which = _one_plane(task, request)
    if isinstance(task.stage, ConvStage) and task.stage.transposed:
        return list(lay_down(task.stage, data, results, which))
    return list(slide(task.stage, data, results, which))


def _write(request: Request, path: str, frames: Sequence[Frame], letters: str) -> None:
    """Draw frames: a clip of all where the path is that of the animation, else a picture."""
    from convcli.explanations.film_drawing import Painter

    moving, format = path == request.animate, registry.by_suffix(path)
    if moving and (format.numbers or "T" not in format.axes):
        raise UsageError(
            f"{format.name.upper()} does not hold such a picture; name a .gif, .mp4 or .html file",
            subject=shown(path),
        )
    painter = Painter(frames, letters)
    pictures = np.stack([painter.paint(frame) for frame in frames])
    write_whole(
        path,
        pictures if moving else pictures[0],
        form=_form(pictures, request.fps) if moving else None,
        force=request.force,
        inputs=[request.input] if request.input is not None else [],
    )


def _write_page(request: Request, path: str, task: Task) -> int:
    """Write the page to learn with; return its steps."""
    data, results, which = _one_plane(task, request)
    text = page(task.stage, data, results, which, request.fps)
    check_not_input(path, [request.input] if request.input is not None else [], force=request.force)
    with output(path, force=request.force, binary=False) as fp:
        fp.write(text.encode())
    return results.size


def _form(pictures: np.ndarray, rate: float) -> Info:
    """Return the form of an animation, which rests at its end."""
    step = round(1000 / rate)
    count = len(pictures)
    last = 4 * step if count > 1 else 1000
    times = Listed(tuple(range(0, count * step, step)), Fraction(1, 1000), SECOND, (count - 1) * step + last)
    return Info.of("TYXC", pictures.shape, "uint8", Colour.RGB).placed(T=times)
