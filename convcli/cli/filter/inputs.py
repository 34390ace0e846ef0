"""The main job for each input: open it, know what it becomes, and hand it to `convcli.cli.filter.task`.

Loaded once the command line makes sense.
"""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from convcli.cli.filter.request import Request
from convcli.cli.shared import outputs, report
from convcli.cli.shared.kernels import named_kernel
from convcli.common import ConvError, UsageError, within
from convcli.media import opening, registry
from convcli.media.files.target import STANDARD, about_input, check_folder, shown, shown_input
from convcli.media.opening import Given
from convcli.media.registry import Format


def filter_all(request: Request) -> None:
    """Filter every input; one that fails does not stop the others, and the highest exit code remains."""
    for text in request.kernels:  # a wrong name is found before any file is opened
        named_kernel(text)
    if request.out_dir is not None:
        check_folder(request.out_dir)
    _refuse_shared_outputs(request)
    claimed: dict[str, str] = {}
    failures: list[ConvError] = []
    for name in request.inputs:
        try:
            _filter_one(request, name, claimed)
        except ConvError as error:
            if len(request.inputs) == 1:
                raise
            report.error(str(error))
            failures.append(error)
    if failures:
        whole = ConvError(f"{len(failures)} of {len(request.inputs)} inputs failed")
        whole.exit_code = max(error.exit_code for error in failures)
        raise whole


def _refuse_shared_outputs(request: Request) -> None:
    """Refuse inputs whose outputs would get one name, before any work; their contents may tell more later."""
    claimed: dict[str, str] = {}
    for name in request.inputs if len(request.inputs) > 1 else ():
        try:
            format = _output_format(request, registry.readable(name))
        except UsageError:  # only its content says what it is
            continue
        path = outputs.named_after(opening.output_name(name, format), request.out_dir, (), format)
        with within(shown_input(name)):
            _claim(claimed, path, name)


def _claim(claimed: dict[str, str], path: str, name: str) -> None:
    """Note that an output belongs to an input, and to no other."""
    if claimed.get(path) == name:
        raise UsageError("it is named twice")
    if path in claimed:
        raise UsageError(
            f"its output has the name of that of {shown(claimed[path])}: rename one of them, or filter them into "
            "different folders"
        )
    claimed[path] = name


def _filter_one(request: Request, name: str, claimed: dict[str, str]) -> None:
    with about_input(name), ExitStack() as stack:
        given = Given(name)
        stack.callback(given.close)
        format, notes = _format_of(request, given.files[0], given.head)
        format = registry.numbered(format) if given.numbered else format
        wanted = _output_format(request, format)
        film = wanted.film or any(named_kernel(kernel).rank == 3 for kernel in request.kernels)
        source = given.open(format, replace(request.reading, all_frames=request.reading.all_frames or film))
        stack.callback(source.close)
        from convcli.cli.filter import task as tasks  # heavy; a thread decodes the first rows meanwhile

        with within(shown_input(name)):  # a kernel that does not fit says to which input
            task = tasks.prepare(request, name, format, wanted, source, notes)
            for path in task.paths:
                _claim(claimed, path, name)
        if request.dry_run or request.plan:
            tasks.show(request, task)
            return
        done = tasks.perform(request, task)
    tasks.conclude(request, done)


def _has_suffix(name: str) -> bool:
    return name != STANDARD and bool(Path(name).suffix)


def _format_of(request: Request, name: str, head: bytes) -> tuple[Format, tuple[str, ...]]:
    """Return an input's type: by its name where that says one, else by its content, else as --format says."""
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
        format = opening.output_format(request.output)
        if request.format and registry.by_name(request.format).name != format.name:
            raise UsageError(
                f"the name says another type than --format {request.format}", subject=shown(request.output)
            )
        return format
    if request.format is None:
        return registry.written_as(source)
    format = registry.by_name(request.format)
    alike = source.numbered and (format.name == source.name or "T" not in format.axes)
    return registry.numbered(format) if alike else format
