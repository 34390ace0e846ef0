"""The main job for each input: open it, know what it becomes, and hand it to `convcli.cli.filter.task`.

Loaded once the command line makes sense.
"""

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace

from convcli.cli.filter.request import Request
from convcli.cli.shared import outputs, report
from convcli.cli.shared.kernels import checked
from convcli.common import ConvError, UsageError, within
from convcli.media import opening, registry
from convcli.media.files.target import about_input, check_folder, shown, shown_input
from convcli.media.opening import Given
from convcli.media.registry import Format


def filter_all(request: Request) -> None:
    """Filter every input; one that fails does not stop the others, and the highest exit code remains."""
    for text in request.kernels:  # a wrong name is found before any file is opened
        checked(text)
    if request.out_dir is not None:
        check_folder(request.out_dir)
    _refuse_shared_outputs(request)
    claims = _Claims()
    failures: list[ConvError] = []
    for name in request.inputs:
        try:
            _filter_one(request, name, claims)
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
    claims = _Claims()
    for name, count in Counter(request.inputs).items() if len(request.inputs) > 1 else ():
        with within(shown_input(name)):
            if count > 1:
                raise UsageError("it is named twice")
            try:
                format, numbered = registry.readable(name), opening.find_numbered(name)
                format = _output_format(request, registry.numbered(format) if numbered else format)
            except UsageError:  # only its content says what it is
                continue
            claims.add(
                outputs.named_after(opening.output_name(name, format), request.out_dir, (), format), name
            )


class _Claims(dict[str, str]):
    """Which output belongs to which input; a pattern of numbered pictures claims all of its names."""

    patterns: tuple[str, ...] = ()

    def add(self, path: str, name: str) -> None:
        """Note that an output belongs to an input, and to no other."""
        rivals = [path] if path in self else self if "%" in path else self.patterns
        for rival in rivals:
            from convcli.media.clips.numbered import overlap  # heavy; most jobs have no rivals

            if overlap(rival, path):
                other = shown(self[rival])
                raise UsageError(
                    f"its output has the name of that of {other}: rename one of them, or filter them into "
                    "different folders"
                )
        self[path] = name
        self.patterns += (path,) if "%" in path else ()


def _filter_one(request: Request, name: str, claims: _Claims) -> None:
    with about_input(name), ExitStack() as stack:
        given = Given(name)
        stack.callback(given.close)
        format, notes = _format_of(request, given)
        format = registry.numbered(format) if given.numbered else format
        wanted = _output_format(request, format)
        film = wanted.film or any(checked(kernel).rank == 3 for kernel in request.kernels)
        source = given.open(format, replace(request.reading, all_frames=request.reading.all_frames or film))
        if request.gaps.mask is not None:
            with within(shown_input(name)):
                source = opening.masked(source, request.gaps.mask)
        stack.callback(source.close)
        format = registry.for_sound(format, source.info)
        wanted = registry.for_sound(_output_format(request, format), source.info, written=True)
        from convcli.cli.filter import task as tasks  # heavy; a thread decodes the first rows meanwhile

        with within(shown_input(name)):  # a kernel that does not fit says to which input
            task = tasks.prepare(request, name, format, wanted, source, notes)
            for path in task.paths:
                claims.add(path, name)
        if request.dry_run or request.plan:
            tasks.show(request, task)
            return
        done = tasks.perform(request, task)
    tasks.conclude(request, done)


def _has_suffix(name: str) -> bool:
    return bool(registry.own_suffix(name))


def _format_of(request: Request, given: Given) -> tuple[Format, tuple[str, ...]]:
    """Return an input's type: by its name where that says one, else by its content, else as --format says."""
    if given.folder or _has_suffix(given.files[0]):
        try:
            return given.identify()
        except UsageError:
            if request.format is None:
                raise
    try:
        return registry.sniff(given.head), ()
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
