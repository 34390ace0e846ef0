"""One input's work: bind it to kernels and outputs, choose, compute, write, and say what happened."""

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.cli.filter.found import Input
from convcli.cli.filter.request import Request
from convcli.cli.shared import outputs, report
from convcli.cli.shared.kernels import is_transform, kernels_for
from convcli.cli.shared.terminal import Meter
from convcli.common import ConvError, Distances, Missing, UsageError, frozen, number_text, per_axis
from convcli.data import ArraySource, Axis, Info, Source
from convcli.execution.items import item_of
from convcli.execution.pipeline import Pipeline
from convcli.geometry.areas import Areas
from convcli.geometry.padding import PaddingName, PadMode
from convcli.jobs.job import Job, draft
from convcli.kernel.model import slug
from convcli.media import forms, opening, registry
from convcli.media.files.target import STANDARD, make_folder, missing_folder, shown_input
from convcli.media.opening import Location, check_writing
from convcli.media.registry import Format
from convcli.pixels.channels import filtered_channels
from convcli.pixels.ranges import Decibels, Offset
from convcli.pixels.render import Tally
from convcli.plan.choose import Resources

if TYPE_CHECKING:
    from convcli.cli.filter import large

Begun = tuple[Source, dict[str, str], tuple[str, ...]]

NOTHING = "identity:1"  # what follows where a kernel that is no convolution of its own stands alone

KEPT = 1 << 28  # bytes
LARGE = 1_000_000_000  # bytes of an output from which on it gets a job folder unasked
# Bytes that a process takes before its first box: 55 MB of code and as much again of buffers
BASE = 130_000_000

FILM_STEP = 1  # frames of a clip that one worker computes: memory holds the kernel's frames and one a worker


@frozen
class Task:
    """One input bound to its outputs: all that is known before work starts."""

    input: Input
    pipeline: Pipeline
    format: Format
    paths: tuple[str, ...]
    read_notes: tuple[str, ...]
    kernels: tuple[str, ...]
    in_samples: dict[str, str]
    location: Location
    crew: int

    @property
    def job(self) -> Job:
        return self.pipeline.job

    @property
    def form(self) -> Info:
        """The form of what each output holds."""
        return forms.form(self.pipeline.result, self.format)

    def run(self, request: Request) -> "large.Run":
        """Return the job that several processes share."""
        from convcli.cli.filter.large import Run

        made = self.location, self.pipeline, self.format, self.form, self.paths[0], self.crew
        return Run(request, *made)

    @property
    def lines(self) -> list[str]:
        """What became of units, and where the samples of the result lie."""
        became = [f"{name} is {told} in samples" for name, told in self.in_samples.items()]
        return became + axis_lines(self.pipeline.result)

    @property
    def notes(self) -> tuple[str, ...]:
        result = self.pipeline.result
        beside = result.companions.notes if result.companions is not None else ()
        lost = registry.left_out(self.form, self.format)
        anew = self.format.name == "jpeg" and bool(self.job.areas.regions)
        coded = (
            "JPEG codes pixels outside of --region anew too, nearly as they were; .png keeps them",
        ) * anew
        return (*self.read_notes, *result.notes, *lost, *beside, *coded)


@frozen
class Report:
    """The report on one input: what is known before the work, and afterwards the counts and notes."""

    task: Task
    notes: tuple[str, ...]
    more: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        task, result, source = self.task, self.task.pipeline.result, self.task.pipeline.source
        return {
            "input": task.input.name,
            "grain": source.grain.facts(source.info),
            "outputs": task.paths,
            "format": task.format.name,
            "axes": result.axes,
            "shape": result.shape,
            "dtype": result.dtype,
            "range": task.job.policy,
            "engine": task.pipeline.plan.engine,
            "kernels": task.kernels,
            "in_samples": task.in_samples,
            "notes": self.notes,
            **self.more,
        }


def kept(source: Source) -> Source:
    """Return a source that is read once, however often its samples are asked for: one that is small, in memory."""
    if "T" in source.info.letters or source.info.bytes > KEPT:
        return source
    whole = ArraySource(source.read(source.info.box), source.info)
    whole.later = source.later
    return whole


@frozen
class _Alike:
    """What was worked out for an input: it holds for the next one too, if their forms and formats are the same."""

    asked: tuple[Request, Format, Format, Info]
    slugs: list[str]
    kernel_notes: tuple[str, ...]
    task: Task

    def task_of(self, request: Request, input: Input, source: Source, notes: tuple[str, ...]) -> Task:
        """Return the task of an input that is alike."""
        pipeline, format = copy(self.task.pipeline), self.task.format
        pipeline.source = source
        for own in ("runner", "engine"):
            pipeline.__dict__.pop(own, None)
        names = outputs.paths(input.output(request, self.slugs, format), format, pipeline.result)
        notes = (*notes, *self.kernel_notes)
        location = replace(self.task.location, name=input.name)
        return replace(
            self.task, input=input, pipeline=pipeline, paths=names, read_notes=notes, location=location
        )


_last: dict[tuple[str, ...], _Alike] = {}  # by the kernels: files of a batch are often of one form


def prepare(
    request: Request,
    input: Input,
    source_format: Format,
    format: Format,
    source: Source,
    notes: tuple[str, ...],
) -> Task:
    """Bind an input to kernels and outputs, and choose how to compute.

    Parameters
    ----------
    format : Format
        What the output is to be.
    notes : tuple of str
        What was said of the input so far.

    Raises
    ------
    ConvError
        For what cannot be done, before any work starts.
    """
    asked = request, source_format, format, source.info
    alike = _last.get(request.kernels)
    if alike is not None and alike.asked == asked:
        return alike.task_of(request, input, source, notes)
    source, begun, texts = _begun(request, source, format)
    info = item_of(source.info)
    if "M" in info.letters:
        raise UsageError(
            "axes: M counts the maps of a result; name the input's dimensions with N, C, T, Z, Y, X"
        )
    check_writing(request.writing, format)
    if "Y" not in info.letters:
        forms.check_axes(info.letters.replace("C", ""), format, table=source_format.numbers)
    channels = filtered_channels(info, request.channels)
    settings = request.settings if texts or not begun else replace(request.settings, padding=None)
    alone = (NOTHING,) * (not texts and not request.settings.pool)
    kernels, kernel_notes = kernels_for(texts or alone, info, settings, channels)
    named = kernels if texts else []
    shown = Decibels(-80, 0) if any(begun.values()) and "float32" not in format.dtypes else None
    areas = Areas()
    if request.region:
        from convcli.cli.shared.opened import areas_of  # knows nets: most jobs need not wait for it

        areas = areas_of(request.region)
    job = draft(
        info,
        kernels,
        settings,
        channels=request.channels,
        range=request.range or shown,
        precision=request.precision,
        gaps=request.gaps,
        holds=format.dtypes,
        keeps_numbers=format.numbers,
        areas=areas,
    )
    if format.numbered and "T" not in job.result.letters:  # one picture: its name is meant as it stands
        format = registry.by_name(format.name)
    step = None
    if source_format.film or format.film:
        step = FILM_STEP
    if not forms.streams(job.result, format):
        step = job.length
    slugs = [*map(slug, begun), *(kernel.slug for kernel in named)]
    if request.settings.pool is not None:
        slugs.append(slug(request.settings.pool.option))
    target = input.output(request, slugs, format)
    location = Location(input.name, source_format.name, request.reading, request.gaps.mask)
    resources, crew = Resources(request.engine, request.device, request.threads), 0
    if (request.scale.asked or job.result.bytes >= LARGE) and step is None:
        from convcli.cli.filter import large

        crew = large.crew(request, format, job, source, target)
    if request.scale.memory is not None:
        resources = replace(resources, memory=each(request.scale.memory, crew))
    resources = replace(resources, threads=1) if crew else resources
    planes = format.film and not format.numbered
    grain = registry.grain(format, job.result)
    pipeline = Pipeline(job, source, resources, step=step, planes=planes, grain=grain, apart=crew)
    forms.check(pipeline.result, format, grey=not job.policy.colours)
    pipeline.plan.check_memory()
    if resources.memory is not None:
        pipeline.plan.check_memory(resources.memory, "left of --memory for each process")
    names = outputs.paths(target, format, pipeline.result)
    became = begun | {kernel.name: kernel.in_samples for kernel in named}
    told = {title: text for title, text in became.items() if text not in ("", title)}
    if request.scale.asked and not (crew and len(names) == 1):
        raise UsageError(
            "--workers, --part and --keep-job need an input that is a file, whose parts can be read, and one output "
            "whose parts can be written: .zarr, .npy, .tif, .nii, .nrrd, .mha (HDF5 and NetCDF are written by one "
            "process)"
        )
    crew *= len(names) == 1
    task = Task(input, pipeline, format, names, (*notes, *kernel_notes), tuple(became), told, location, crew)
    if not (begun or info.companions or format.film or pipeline.plan.device != "cpu" or crew):
        _last[request.kernels] = _Alike(asked, slugs, kernel_notes, replace(task, pipeline=_bare(pipeline)))
    return task


def _bare(pipeline: Pipeline) -> Pipeline:
    """Return a copy without its input."""
    bare = copy(pipeline)
    bare.source = ArraySource(np.empty(0), "X")
    return bare


def each(memory: int, crew: int) -> int:
    """Return how much of the memory boxes may take: of one of several processes beside the one that leads them.

    Raises
    ------
    UsageError
        When nothing is left for them.
    """
    left = memory // (crew + 1) - BASE
    if left <= 0:
        raise UsageError(
            f"--memory is too small: {f'{crew + 1} processes take' if crew else 'one process takes'} "
            f"{(crew + 1) * BASE // 10**6} MB before reading anything; allow more, or use fewer --workers"
        )
    return left


def _begun(request: Request, source: Source, format: Format) -> Begun:
    """Return the input of the convolutions, the kernels that made it (and what units in them became), the others."""
    texts = request.kernels
    if request.along is not None:
        from convcli.execution.along import along
        from convcli.media.tables.table import TableCompanions

        counts, beside = request.along is Distances.COUNTS, source.info.companions
        beside = beside.counted() if counts and isinstance(beside, TableCompanions) else beside
        usual = Missing.KEEP if source.info.gaps else Missing.PROPAGATE
        smooth = along(source, texts, request.gaps.missing or usual, beside, counts)
        return smooth, dict.fromkeys(texts, ""), ()
    if not (texts and is_transform(texts[0])):
        return source, {}, texts
    from convcli.execution.along import Spectrogram

    padding, alone = request.settings.padding or (PaddingName.SAME,), len(texts) == 1
    if alone and request.settings.pad_mode not in (None, PadMode.ZERO):
        raise UsageError(
            f"--pad-mode {request.settings.pad_mode}: zeros lie outside the signal of a spectrogram"
        )
    last = per_axis(padding, 1, "padding")[0] if alone else padding[-1]  # of kernels behind it, along x
    made = Spectrogram(source, texts[0], falling=not format.numbers, padding=last)
    return made, {texts[0]: made.told}, texts[1:]


def perform(request: Request, task: Task) -> Report:
    """Compute and write."""
    job = task.job
    if request.messages.explain_choices:
        how = f"range {job.policy}, {job.compute} arithmetic, {job.result.dtype} output"
        where: tuple[str, ...] = ()
        if task.crew and request.scale.scheduler is not None:
            from convcli.execution.cluster import connected

            where = (f"Dask dashboard at {connected(request.scale.scheduler).dashboard}",)
        for line in (*task.pipeline.lines, how, *task.lines, *where):
            report.note(line)
    for path in task.paths:
        opening.check_not_input(path, (task.input.name,), force=request.force)
        if request.out_dir is not None or request.name is not None:
            make_folder(Path(path).parent)
    if task.crew:
        done, told, counted = task.run(request).run()
        return reported(request, task if done else replace(task, paths=()), [*task.notes, *told], counted)
    with ExitStack() as stack:
        video = replace(request.writing.video, planes=task.pipeline.planar)
        writing = replace(request.writing, video=video)
        sinks = [
            stack.enter_context(opening.open_sink(path, task.format, task.form, writing, force=request.force))
            for path in task.paths
        ]
        meter = Meter(request.messages.shown_progress, "frames" if job.letters[job.stream] == "T" else "rows")
        stack.callback(meter.close)
        tally = task.pipeline.write(sinks, meter)
    if request.messages.explain_choices:
        for line in task.pipeline.gave_way:
            report.note(line)
    notes = [*task.notes, *task.pipeline.source.later, *(line for sink in sinks for line in sink.notes)]
    return reported(request, task, notes, tally)


def reported(request: Request, task: Task, notes: Sequence[str], tally: Tally) -> Report:
    """Return the report on what was written."""
    kernels = task.job.chain.kernels
    total = math.prod(kernel.sum for kernel in kernels if kernel.outputs == 1 and kernel.non_negative)
    remarks = task.job.policy.remarks(tally, task.job.target.top, request.range is not None, total)
    lines = [*notes, *remarks]
    if request.range is None and request.settings.bias and isinstance(task.job.policy, Offset):
        lines.append("zero is mid grey: the bias is added to that; --range clip adds it to black")
    return Report(
        task,
        tuple(dict.fromkeys(lines)),
        {"clipped": tally.clipped, "values": tally.values, "ends": tally.ends},
    )


def conclude(request: Request, found: Report) -> None:
    """Say what happened, now that it has: notes on stderr, the outputs' names or JSON on stdout."""
    paths = found.task.paths
    input = found.task.input
    named = f"{shown_input(input.name)}: " if len(request.inputs) > 1 or input.inside else ""
    piped = STANDARD in paths
    text, stream = () if request.messages.quiet or piped else paths, sys.stderr if piped else None
    report.show(found, text, request, about=named, stream=stream)


def show(request: Request, task: Task) -> None:
    """Say what would be done, and find what would stop it."""
    if task.crew and request.verification is not None:
        request.verification.told.append(task.run(request).verified(request.verification.share))
        return
    if request.device != "cpu":  # the plan does not look whether it is there
        _ = task.pipeline.engine
    for path in task.paths:
        try:
            opening.check_not_input(path, request.inputs, force=request.force)
            skipped = request.skip_existing and opening.exists(path)
            if not skipped and missing_folder(Path(path).parent) is None:
                opening.check_output(path, task.format, task.pipeline.result, force=request.force)
        except ConvError as error:
            if request.plot is None:
                raise
            if not request.messages.quiet:  # a preview writes nothing
                report.note(f"nothing is written, and could not be: {error}")
    found = Report(
        task, task.notes, {"plan": task.pipeline.lines} if request.messages.explain_choices else {}
    )
    report.show(found, _lines(found), request, notes=False)


def _lines(found: Report) -> Iterator[str]:
    result, plan = found.task.pipeline.result, found.task.pipeline.plan
    size = "x".join(map(str, result.shape))
    why = "" if "plan" in found.more else f" ({plan.reason})"  # which its lines have
    areas = found.task.job.areas.regions
    stages = [stage for stage in found.task.job.chain.stages if stage.pads]
    modes = [str(one.mode) for one in stages if any(w.before or w.after for w in one.windows)]
    edges = f", {' and '.join(dict.fromkeys(modes))} at the edges" if modes else ""
    where = f", only within {' and '.join(one.name for one in areas)}" * bool(areas)
    for path in found.task.paths:
        yield f"{path}: {result.letters} {size} {result.dtype}{edges}{where}, {plan.engine} engine{why}"
    yield from (f"  {line}" for line in (*found.task.lines, *found.notes))
    yield from found.more.get("plan", ())


def axis_lines(info: Info) -> list[str]:
    """Return a line for each axis whose positions are known.

    >>> from fractions import Fraction
    >>> from convcli.data.axes import Even
    >>> axis_lines(Info.of("YX", (2, 9), "uint8").placed(X=Even(Fraction(1, 600), Fraction(1, 300), "in")))
    ['x: 9 samples, 1/300 in apart, the first at 1/600 in']
    """
    return [line for axis in info.axes if (line := _axis_line(axis))]


def _axis_line(axis: Axis) -> str:
    if axis.positions is None:
        return ""
    unit = f" {axis.positions.unit}".rstrip()
    words = [f"{axis.letter.lower()}: {axis.size} samples"]
    if steps := axis.positions.steps():
        span = " to ".join(dict.fromkeys(number_text(float(step)) for step in steps))
        words.append(f"{span}{unit} apart")
    first = axis.positions.at(0)
    if first is not None:
        words.append(f"the first at {number_text(float(first))}{unit}")
    return ", ".join(words)
