"""One input's work: bind it to kernels and outputs, choose, compute, write, and say what happened."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from convcli.cli.filter.request import Request
from convcli.cli.shared import outputs, placed, report
from convcli.cli.shared.naming import pool_slug
from convcli.cli.shared.progress import Meter
from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.data.info import Source
from convcli.execution.items import item_of
from convcli.execution.pipeline import Pipeline, Resources
from convcli.jobs.job import Job, default_rank, draft
from convcli.kernel import load_kernel
from convcli.media import opening, registry
from convcli.media.files.target import STANDARD, check_not_input, shown_input
from convcli.media.option_checks import check_writing
from convcli.media.registry import Format
from convcli.pixels.render import Tally

FILM_STEP = 1  # frames of a clip that one worker computes: memory holds the kernel's frames and one a worker


@frozen
class Task:
    """One input bound to its outputs: all that is known before work starts."""

    name: str
    pipeline: Pipeline
    format: Format
    paths: tuple[str, ...]

    @property
    def job(self) -> Job:
        return self.pipeline.job

    def summary(self) -> dict[str, Any]:
        result = self.pipeline.result
        return {
            "input": self.name,
            "outputs": list(self.paths),
            "format": self.format.name,
            "axes": placed.records(result),
            "shape": list(result.shape),
            "dtype": result.dtype,
            "range": str(self.job.policy),
            "engine": self.pipeline.plan.engine.value,
            "kernels": [kernel.name for kernel in self.job.chain.kernels],
        }


def prepare(request: Request, name: str, source_format: Format, format: Format, source: Source) -> Task:
    """Bind an input to kernels and outputs, and choose how to compute.

    Parameters
    ----------
    format : Format
        What the output is to be.

    Raises
    ------
    ConvError
        For what cannot be done, before any work starts.
    """
    info = item_of(source.info)
    if "M" in info.letters:
        raise UsageError(
            "axes: M counts the maps of a result; name the input's dimensions with N, C, T, Z, Y, X"
        )
    check_writing(request.writing, format)
    kernels = [load_kernel(text, default_rank(info)) for text in request.kernels]
    job = draft(
        info,
        kernels,
        request.settings,
        channels=request.channels,
        range=request.range,
        precision=request.precision,
        nan=request.nan,
        holds=format.dtypes,
        keeps_numbers=format.numbers,
    )
    if format.numbered and "T" not in job.result.letters:  # one picture: its name is meant as it stands
        format = registry.by_name(format.name)
    step = None
    if source_format.film or format.film:
        step = FILM_STEP
    if not outputs.streams(job.result, format):
        step = job.length
    resources = Resources(request.engine, request.device, request.threads)
    planes = format.film and not format.numbered
    pipeline = Pipeline(job, source, resources, step=step, planes=planes, grain=format.grain)
    outputs.check(pipeline.result, format)
    pipeline.plan.check_memory()
    slugs = [kernel.slug for kernel in kernels]
    if request.settings.pool is not None:
        slugs.append(pool_slug(str(request.settings.pool)))
    names = outputs.paths(
        opening.output_name(name, format), request.output, request.out_dir, slugs, format, pipeline.result
    )
    return Task(name, pipeline, format, names)


def perform(request: Request, task: Task) -> tuple[Tally, tuple[str, ...]]:
    """Compute and write; return what was clipped, and what the writers want to say."""
    job, format = task.job, task.format
    if request.messages.explain_choices:
        for line in task.pipeline.lines:
            report.note(line)
        report.note(f"range {job.policy}, {job.compute} arithmetic, {job.result.dtype} output")
        for line in placed.lines(task.pipeline.result):
            report.note(line)
    if not request.force:
        for path in task.paths:
            check_not_input(path, request.inputs)
    form = outputs.form(task.pipeline.result, format)
    with ExitStack() as stack:
        video = replace(request.writing.video, planes=task.pipeline.planar)
        writing = replace(request.writing, video=video)
        sinks = [
            stack.enter_context(opening.open_sink(path, format, form, writing, force=request.force))
            for path in task.paths
        ]
        meter = Meter(request.messages.shown_progress, "frames" if job.letters[job.stream] == "T" else "rows")
        stack.callback(meter.close)
        tally = task.pipeline.write(sinks, meter)
    said = dict.fromkeys(line for sink in sinks for line in sink.notes)
    return tally, (*registry.left_out(form, format), *said)


def conclude(request: Request, task: Task, tally: Tally, notes: Sequence[str]) -> None:
    """Say what happened, now that it has: notes on stderr, the outputs' names or JSON on stdout."""

    def say(line: str) -> None:
        if not request.messages.quiet:
            report.note(f"{shown_input(task.name)}: {line}" if len(request.inputs) > 1 else line)

    for line in notes:
        say(line)
    if tally.clipped:
        say(task.job.policy.clipping(tally.clipped / tally.values))
    if tally.nans:
        say(f"{tally.nans} values are no numbers (NaN) and were written as black")
    if request.json:
        facts = task.summary() | {"clipped": tally.clipped, "values": tally.values}
        report.print_json(facts, to_stderr=STANDARD in task.paths)
    elif not request.messages.quiet and STANDARD not in task.paths:
        for path in task.paths:
            print(path)


def show(request: Request, task: Task) -> None:
    """Say what would be done, and find what would stop it."""
    if request.device != "cpu":  # the plan does not look whether it is there
        _ = task.pipeline.engine
    for path in task.paths:
        opening.check_output(path, task.format, task.pipeline.result, force=request.force)
        if not request.force:
            check_not_input(path, request.inputs)
    if request.json:
        report.print_json(task.summary() | ({"plan": task.pipeline.lines} if request.plan else {}))
        return
    result, plan = task.pipeline.result, task.pipeline.plan
    size = "x".join(map(str, result.shape))
    for path in task.paths:
        print(f"{path}: {result.letters} {size} {result.dtype}, {plan.engine} engine ({plan.reason})")
    for line in placed.lines(result):
        print(f"  {line}")
    for line in registry.left_out(outputs.form(result, task.format), task.format):
        print(f"  {line}")
    if request.plan:
        print(*task.pipeline.lines, sep="\n")
