"""One input's work: bind it to kernels and outputs, choose, compute, write, and say what happened."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from convcli.cli.filter.request import Request
from convcli.cli.shared import outputs, report
from convcli.cli.shared.naming import pool_slug
from convcli.cli.shared.progress import Meter
from convcli.cli.shared.report import Verbosity
from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.common.machine import available_threads
from convcli.common.prefetch import ahead
from convcli.data.info import PlanarSink, PlanarSource, Sink, Source
from convcli.engines import get_engine
from convcli.execution.blocks import execute
from convcli.jobs.draft import default_rank, draft
from convcli.jobs.job import Job
from convcli.kernel import load_kernel
from convcli.media import opening, registry
from convcli.media.files.target import STANDARD, check_not_input, input_name
from convcli.media.option_checks import check_writing
from convcli.media.registry import Format
from convcli.pixels.render import Tally
from convcli.plan.choose import Plan, choose

if TYPE_CHECKING:
    from convcli.execution.planes import Route

FILM_STEP = 1  # frames of a clip that one worker computes: memory holds the kernel's frames and one a worker


@frozen
class Task:
    """One input bound to its outputs: all that is known before work starts."""

    name: str
    job: Job
    plan: Plan
    format: Format
    paths: tuple[str, ...]
    route: Route | None  # of a clip that becomes a clip

    @property
    def lines(self) -> tuple[str, ...]:
        """What was chosen, and why."""
        return (*self.plan.lines, *((self.route.reason,) if self.route else ()))

    def summary(self) -> dict[str, Any]:
        result = self.job.result
        return {
            "input": self.name,
            "outputs": list(self.paths),
            "format": self.format.name,
            "axes": result.axes,
            "shape": list(result.shape),
            "dtype": result.dtype,
            "range": str(self.job.policy),
            "engine": self.plan.engine.value,
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
    info = source.info
    if "M" in info.axes:
        raise UsageError(
            "axes: M counts the maps of a result; name the input's dimensions with C, T, Z, Y, X"
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
    if format.numbered and "T" not in job.result.axes:  # one picture: its name is meant as it stands
        format = registry.by_name(format.name)
    outputs.check(job.result, format)
    clip = None
    if format.film and not format.numbered and isinstance(source, PlanarSource):
        from convcli.execution.planes import route

        clip = route(job, source.coded)
    planar = clip is not None and bool(clip.chains)
    plan = choose(
        (clip and clip.chains and clip.chains[0]) or job.chain,
        job.stream,
        engine=request.engine,
        device=request.device,
        threads=request.threads or available_threads(),
        dtype=job.compute,
        source=source.coded.dtype if planar and isinstance(source, PlanarSource) else job.source_dtype,
        result=job.dtype,
    )
    if source_format.film or format.film:
        plan = replace(plan, step=min(plan.step, FILM_STEP))
    if not outputs.streams(job.result, format):
        plan = replace(plan, step=job.length)
    plan.check_memory(job.length)
    slugs = [kernel.slug for kernel in kernels]
    if request.settings.pool is not None:
        slugs.append(pool_slug(str(request.settings.pool)))
    names = outputs.paths(
        opening.output_name(name, format), request.output, request.out_dir, slugs, format, job.result
    )
    return Task(name, job, plan, format, names, clip)


def perform(request: Request, task: Task, source: Source) -> tuple[Tally, tuple[str, ...]]:
    """Compute and write; return what was clipped, and what the writers want to say."""
    job, format = task.job, task.format
    if request.verbosity is Verbosity.VERBOSE:
        for line in task.lines:
            report.note(line)
        report.note(f"range {job.policy}, {job.compute} arithmetic, {job.result.dtype} output")
    if not request.force:
        for path in task.paths:
            check_not_input(path, request.inputs)
    form = outputs.form(job.result, format)
    tally = Tally()
    plan = task.plan
    engine = get_engine(plan.engine.value, request.device, plan.engine_threads(job.length))
    with ExitStack() as stack:
        chains = task.route.chains if task.route is not None else ()
        video = replace(request.writing.video, planes=bool(chains))
        sinks: list[Sink] = [
            stack.enter_context(
                opening.open_sink(
                    path, format, form, replace(request.writing, video=video), force=request.force
                )
            )
            for path in task.paths
        ]
        meter = Meter(request.progress, "frames" if job.letters[job.stream] == "T" else "rows")
        stack.callback(meter.close)
        if chains:
            from convcli.execution import planes_run

            planar, target = cast(PlanarSource, source), cast(PlanarSink, sinks[0])
            with closing(
                ahead(planes_run.execute(job, chains, planar, engine, plan, tally, meter))
            ) as pictures:
                for frames in pictures:
                    target.write_planes(frames)
        else:
            workers = plan.workers(job.length)
            blocks = execute(job, source, engine, plan.step, tally, workers, meter, plan.algorithms)
            made = outputs.parts(blocks, job.result, form)
            with closing(ahead(made)) if workers > 1 else nullcontext(made) as written:
                for parts in written:
                    for sink, part in zip(sinks, parts, strict=True):
                        sink.write(part)
        for sink in sinks:
            sink.close()
    return tally, tuple(dict.fromkeys(line for sink in sinks for line in sink.notes))


def conclude(request: Request, task: Task, tally: Tally, notes: Sequence[str]) -> None:
    """Say what happened, now that it has: notes on stderr, the outputs' names or JSON on stdout."""

    def say(line: str) -> None:
        if request.verbosity is not Verbosity.QUIET:
            report.note(f"{input_name(task.name)}: {line}" if len(request.inputs) > 1 else line)

    for line in notes:
        say(line)
    if tally.clipped:
        say(
            f"{tally.clipped / tally.values:.2%} of the values clipped by --range {task.job.policy} "
            "(minmax shows them all, float in .npy or .tiff keeps the numbers)"
        )
    if tally.nans:
        say(f"{tally.nans} values are no numbers (NaN) and were written as black")
    if request.json:
        facts = task.summary() | {"clipped": tally.clipped, "values": tally.values}
        report.print_json(facts, to_stderr=STANDARD in task.paths)
    elif request.verbosity is not Verbosity.QUIET and STANDARD not in task.paths:
        for path in task.paths:
            print(path)


def show(request: Request, task: Task) -> None:
    """Say what would be done, and find what would stop it."""
    if request.device != "cpu":  # the plan does not look whether it is there
        get_engine(task.plan.engine.value, request.device)
    for path in task.paths:
        opening.check_output(path, task.format, task.job.result, force=request.force)
        if not request.force:
            check_not_input(path, request.inputs)
    if request.json:
        report.print_json(task.summary() | ({"plan": task.lines} if request.show_plan else {}))
        return
    result = task.job.result
    size = "x".join(map(str, result.shape))
    for path in task.paths:
        print(f"{path}: {result.axes} {size} {result.dtype}, {task.plan.engine} engine ({task.plan.reason})")
    if request.show_plan:
        print(*task.lines, sep="\n")
