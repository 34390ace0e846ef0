"""The main job for each input: open, bind, choose, compute, write.  Loaded once the command line makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from convcli.ahead import ahead
from convcli.cli import outputs, report
from convcli.cli.filter import Request
from convcli.cli.naming import pool_slug
from convcli.cli.progress import Meter
from convcli.cli.report import Verbosity
from convcli.data import PlanarSink, PlanarSource, Sink, Source
from convcli.draft import default_rank, draft
from convcli.engines import get_engine
from convcli.errors import ConvError, UsageError
from convcli.frozen import frozen
from convcli.job import Job
from convcli.kernel import load_kernel
from convcli.machine import available_threads, keep_freed_memory
from convcli.media import door, registry
from convcli.media.concerns import check_writing
from convcli.media.door import Given
from convcli.media.registry import Format
from convcli.media.target import STANDARD, check_not_input, shown
from convcli.plan import Plan, choose
from convcli.render import Tally
from convcli.run import execute

if TYPE_CHECKING:
    from convcli.planes import Route

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


def filter_all(request: Request) -> None:
    """Filter every input; one that fails does not stop the others, and the last error's exit code remains."""
    for text in request.kernels:  # a wrong name is found before any file is opened
        load_kernel(text)
    if request.out_dir is not None and not request.out_dir.is_dir():
        raise ConvError(f"{str(request.out_dir)!r}: there is no such folder; make it first")
    keep_freed_memory()
    failures: list[ConvError] = []
    for name in request.inputs:
        try:
            _filter_one(request, name)
        except ConvError as error:
            if len(request.inputs) == 1:
                raise
            report.note(str(error))
            failures.append(error)
    if failures:
        raise ConvError(
            f"{len(failures)} of {len(request.inputs)} inputs failed", max(e.exit_code for e in failures)
        )


def _filter_one(request: Request, name: str) -> None:
    given = Given(name)
    try:
        format, notes = _input_format(request, given)
        film = _output_format(request, format).film or any(load_kernel(k).rank == 3 for k in request.kernels)
        source = given.open(format, replace(request.reading, all_frames=request.reading.all_frames or film))
    except ConvError as error:
        given.close()
        raise _about(name, error, given.files) from None
    except BaseException:
        given.close()
        raise
    with closing(source):
        paths = given.files
        try:
            task = _prepare(request, name, format, source)
            paths += task.paths
            if request.dry_run:
                _dry_run(request, task)
                return
            tally, more = _perform(request, task, source)
        except ConvError as error:
            raise _about(name, error, paths) from None
        _conclude(request, task, tally, (*notes, *task.job.result.notes, *more))


def _about(name: str, error: ConvError, files: Sequence[str]) -> ConvError:
    """Say which input an error is about, where the message names no file."""
    text = str(error)
    named = text.startswith(("'", '"')) or name in text or any(shown(path) in text for path in files)
    if isinstance(error, UsageError) or named:
        return error
    return ConvError(f"{_shown(name)}: {text}", error.exit_code)


def _shown(name: str) -> str:
    return "standard input" if name == STANDARD else name


def _has_suffix(name: str) -> bool:
    return name != STANDARD and bool(Path(name).suffix)


def _input_format(request: Request, given: Given) -> tuple[Format, tuple[str, ...]]:
    """Return an input's type: by its name where that says one, else by its content, else as --format says."""
    format, notes = _format_of(request, given.files[0], given.head)
    return registry.numbered(format) if given.numbered else format, notes


def _format_of(request: Request, name: str, head: bytes) -> tuple[Format, tuple[str, ...]]:
    if _has_suffix(name):
        try:
            return registry.identify(head, name)
        except UsageError:
            if request.format is None:
                raise
    try:
        return registry.sniff(head), ()
    except ConvError:
        if request.format is None:
            raise
        return registry.by_name(request.format), ()


def _output_format(request: Request, source: Format) -> Format:
    if request.output is not None and _has_suffix(request.output):
        format = door.output_format(request.output)
        if request.format and registry.by_name(request.format).name != format.name:
            raise UsageError(f"{request.output!r} and --format {request.format}: the name says another type")
        return format
    if request.format is None:
        return registry.written_as(source)
    format = registry.by_name(request.format)
    alike = source.numbered and (format.name == source.name or "T" not in format.axes)
    return registry.numbered(format) if alike else format


def _prepare(request: Request, name: str, source_format: Format, source: Source) -> Task:
    info = source.info
    if "M" in info.axes:
        raise UsageError(
            "axes: M counts the maps of a result; name the input's dimensions with C, T, Z, Y, X"
        )
    format = _output_format(request, source_format)
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
        from convcli.planes import route

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
        door.output_name(name, format), request.output, request.out_dir, slugs, format, job.result
    )
    return Task(name, job, plan, format, names, clip)


def _perform(request: Request, task: Task, source: Source) -> tuple[Tally, tuple[str, ...]]:
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
                door.open_sink(path, format, form, replace(request.writing, video=video), force=request.force)
            )
            for path in task.paths
        ]
        meter = Meter(request.progress, "frames" if job.letters[job.stream] == "T" else "rows")
        stack.callback(meter.close)
        if chains:
            from convcli import planes_run

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


def _conclude(request: Request, task: Task, tally: Tally, notes: Sequence[str]) -> None:
    """Say what happened, now that it has: notes on stderr, the outputs' names or JSON on stdout."""

    def say(line: str) -> None:
        if request.verbosity is not Verbosity.QUIET:
            report.note(f"{_shown(task.name)}: {line}" if len(request.inputs) > 1 else line)

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


def _dry_run(request: Request, task: Task) -> None:
    if request.device != "cpu":  # the plan does not look whether it is there
        get_engine(task.plan.engine.value, request.device)
    for path in task.paths:
        door.check_output(path, task.format, task.job.result, force=request.force)
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
