"""The main job for each input: open, bind, choose, compute, write.  Loaded once the command line makes sense."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from convcli.chain import bind
from convcli.cli import outputs, report
from convcli.cli.filter import Request
from convcli.cli.naming import pool_slug
from convcli.cli.progress import Meter
from convcli.cli.report import Verbosity
from convcli.colour import filtered_channels
from convcli.data import Info, Sink, Source
from convcli.engines import get_engine
from convcli.errors import ConvError, UsageError
from convcli.job import Job, canonical
from convcli.kernel import load_kernel
from convcli.media import registry
from convcli.media.registry import Format
from convcli.media.target import STANDARD, check_not_input, check_output, open_input, output, shown
from convcli.output import decide
from convcli.plan import Plan, available_threads, choose
from convcli.policies import Channels
from convcli.render import Tally
from convcli.run import execute

FILM_STEP = 1  # frames of a clip that one worker computes: memory holds the kernel's frames and one a worker


@dataclass(frozen=True)
class Task:
    """One input bound to its outputs: all that is known before work starts."""

    name: str
    job: Job
    plan: Plan
    format: Format
    paths: tuple[str, ...]

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
    fp = open_input(name)
    try:
        head = fp.read(registry.HEAD)
        fp.seek(0)
        format, notes = _input_format(request, name, head)
        film = _output_format(request, format).film
        source = registry.open_source(
            fp, format, replace(request.reading, all_frames=request.reading.all_frames or film)
        )
    except ConvError as error:
        fp.close()
        raise _about(name, error) from None
    except BaseException:
        fp.close()
        raise
    with closing(source):
        paths: tuple[str, ...] = ()
        try:
            task = _prepare(request, name, format, source.info)
            paths = task.paths
            if request.dry_run:
                _dry_run(request, task)
                return
            tally, more = _perform(request, task, source)
        except ConvError as error:
            raise _about(name, error, paths) from None
        _conclude(request, task, tally, (*notes, *task.job.result.notes, *more))


def _about(name: str, error: ConvError, outputs: Sequence[str] = ()) -> ConvError:
    """Say which input an error is about, where the message names neither it nor an output."""
    text = str(error)
    if isinstance(error, UsageError) or name in text or any(shown(path) in text for path in outputs):
        return error
    return ConvError(f"{_shown(name)}: {text}", error.exit_code)


def _shown(name: str) -> str:
    return "standard input" if name == STANDARD else name


def _has_suffix(name: str) -> bool:
    return name != STANDARD and bool(Path(name).suffix)


def _input_format(request: Request, name: str, head: bytes) -> tuple[Format, tuple[str, ...]]:
    """Return an input's type: by its name where that says one, else by its content, else as --format says."""
    if _has_suffix(name):
        try:
            registry.by_suffix(name)
        except UsageError:
            if request.format is None:
                raise
        else:
            return registry.identify(head, name)
    try:
        return registry.sniff(head), ()
    except ConvError:
        if request.format is None:
            raise
        return registry.by_name(request.format), ()


def _output_format(request: Request, source: Format) -> Format:
    if request.output is not None and _has_suffix(request.output):
        format = registry.by_suffix(request.output)
        if request.format and registry.by_name(request.format) is not format:
            raise UsageError(f"{request.output!r} and --format {request.format}: the name says another type")
        return format
    return registry.by_name(request.format) if request.format else source


def _prepare(request: Request, name: str, source_format: Format, info: Info) -> Task:
    letters = canonical(info)
    if "M" in info.axes:
        raise UsageError(
            "axes: M counts the maps of a result; name the input's dimensions with C, T, Z, Y, X"
        )
    format = _output_format(request, source_format)
    if request.writing.quality is not None and format.name not in ("jpeg", "webp"):
        raise UsageError(f"--quality is for JPEG and WebP; {format.name.upper()} loses nothing")
    kernels = [load_kernel(text, _default_rank(letters)) for text in request.kernels]
    settings = replace(request.settings, sum_channels=request.channels is Channels.SUM)
    filtered = filtered_channels(info, request.channels)
    chain = bind(kernels, settings, letters, [info.size(letter) for letter in letters], filtered)
    choice = decide(request.range, kernels, info.dtype, format.dtypes, format.numbers, request.precision)
    job = Job(info, chain, request.channels, choice.policy, choice.dtype, choice.compute, request.nan)
    job.check()
    outputs.check(job.result, format)
    threads = request.threads or available_threads()
    plan = choose(
        chain,
        job.stream,
        engine=request.engine,
        device=request.device,
        threads=threads,
        dtype=choice.compute,
    )
    if source_format.film or format.film:
        plan = replace(plan, step=min(plan.step, FILM_STEP))
    if not outputs.streams(job.result, format):
        plan = replace(plan, step=job.length)
    plan.check_memory(job.length)
    slugs = [kernel.slug for kernel in kernels]
    if request.settings.pool is not None:
        slugs.append(pool_slug(str(request.settings.pool)))
    names = outputs.paths(name, request.output, request.out_dir, slugs, format, job.result)
    return Task(name, job, plan, format, names)


def _default_rank(letters: str) -> int:
    """The rank of a parametric kernel that does not say it: 1 on signals, else 2."""
    return 1 if len(letters) == 1 else 2


def _perform(request: Request, task: Task, source: Source) -> tuple[Tally, tuple[str, ...]]:
    """Compute and write; return what was clipped, and what the writers want to say."""
    job, format = task.job, task.format
    if request.verbosity is Verbosity.VERBOSE:
        for line in task.plan.lines:
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
        targets = [
            stack.enter_context(output(path, force=request.force, binary=format.binary, seeks=format.seeks))
            for path in task.paths
        ]
        sinks: list[Sink] = [registry.open_sink(fp, format, form, request.writing) for fp in targets]
        meter = Meter(request.progress, "frames" if job.letters[job.stream] == "T" else "rows")
        stack.callback(meter.close)
        workers = plan.workers(job.length)
        blocks = execute(job, source, engine, plan.step, tally, workers, meter, plan.algorithms)
        for parts in outputs.parts(blocks, job.result, form):
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
    for path in task.paths:
        check_output(path, force=request.force, binary=task.format.binary)
        if not request.force:
            check_not_input(path, request.inputs)
    if request.json:
        report.print_json(task.summary() | ({"plan": task.plan.lines} if request.show_plan else {}))
        return
    result = task.job.result
    size = "x".join(map(str, result.shape))
    for path in task.paths:
        print(f"{path}: {result.axes} {size} {result.dtype}, {task.plan.engine} engine ({task.plan.reason})")
    if request.show_plan:
        print(*task.plan.lines, sep="\n")
