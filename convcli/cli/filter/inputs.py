"""The main job for one input: open it, know what it becomes, and hand it to `convcli.cli.filter.task`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from convcli.cli.filter.found import Input, identity
from convcli.cli.filter.request import Request, Scale
from convcli.cli.shared.kernels import checked, is_transform
from convcli.common import ConvError, UsageError, within
from convcli.kernel.model import slug
from convcli.media import opening, registry
from convcli.media.files.target import STANDARD, about_input, open_input, shown, shown_input
from convcli.media.opening import Given
from convcli.media.registry import Format

if TYPE_CHECKING:
    from convcli.cli.filter.task import Task


class Claims(dict[str, str]):
    """Which output belongs to which input; a pattern of numbered pictures claims all of its names.

    Parameters
    ----------
    request : Request
    inputs : sequence of Input
        Claim the names that are known before any work: several inputs are then refused if two have one.

    Raises
    ------
    UsageError
    """

    patterns: tuple[str, ...] = ()

    def __init__(self, request: Request, inputs: Sequence[Input]) -> None:
        super().__init__()
        several = [one.name for one in inputs] if len(inputs) > 1 and request.force else []
        others = [request.gaps.mask] if several and request.gaps.mask else []
        self._read = {identity(name): name for name in (*several, *others)}
        self._slugs = [_slugs(variant) for variant in request.variants]
        named = set[str]()
        for input in inputs if len(inputs) > 1 or request.each else ():
            with within(shown_input(input.name)):
                if input.name in named:
                    raise UsageError("it is named twice")
                named.add(input.name)
                for path in self.foreseen(request, input):
                    self.add(path, input.name, new=True)

    def foreseen(self, request: Request, input: Input) -> list[str]:
        """Return the names of an input's outputs, as far as they are known before it is read."""
        try:
            if input.name == STANDARD:
                return []
            format, numbered = _looked_at(input.name), opening.find_numbered(input.name)
            format = _output_format(request, registry.numbered(format) if numbered else format)
        except ConvError:  # that it cannot be read is said later
            return []
        return [input.output(request, slugs, format) for slugs in self._slugs]

    def add(self, path: str, name: str, *, new: bool = False) -> None:
        """Note that an output belongs to an input, and to no other; ``new``: not to that one either."""
        rivals = [path] if path in self else self if "%" in path else self.patterns
        for rival in rivals:
            from convcli.media.clips.numbered import overlap  # heavy; most jobs have no rivals

            if (new or self[rival] != name) and overlap(rival, path):
                other = shown(self[rival])
                raise UsageError(
                    f"its output has the name of that of {other}: rename one, use other folders, or --name"
                )
        if self._read and self._read.get(there := identity(path), name) != name and there:
            raise UsageError(
                f"its output would replace {shown(self._read[there])}, which is read too: use another folder, or --name"
            )
        self[path] = name
        self.patterns += (path,) if "%" in path else ()


def _slugs(request: Request) -> list[str]:
    """Return what stands for kernels and pool in outputs' names."""
    made = [slug(text) if is_transform(text) else checked(text).slug for text in request.kernels]
    pool = request.settings.pool
    return made if pool is None else [*made, slug(pool.option)]


def _looked_at(name: str) -> Format:
    """Return an input's type by its name, else by its first bytes."""
    try:
        return registry.readable(name)
    except UsageError:
        given = Given(name)
        given.close()
        return registry.sniff(given.head)


def filter_one(request: Request, input: Input, claims: Claims) -> int:
    """Filter an input, in all the ways that are asked for; return how many outputs were written."""
    if request.skip_existing:
        names = claims.foreseen(request, input)
        if names and all(map(opening.exists, names)):
            return 0
    name = input.name
    if request.plot is not None:
        from convcli.cli.filter import plot

        plot.check(request)
        if name == STANDARD:
            with TemporaryDirectory(prefix="convcli-") as folder, about_input(name):
                kept = Path(folder, "stdin")
                with open_input(STANDARD, registry.longest) as fp, kept.open("wb") as copy:
                    copyfileobj(fp, copy)
                return filter_one(request, replace(input, name=str(kept)), claims)
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

        if request.each:
            source = tasks.kept(source)
        ready = []
        for variant in request.variants:
            with within(shown_input(name)):  # a kernel that does not fit says to which input
                task = tasks.prepare(variant, input, format, wanted, source, notes)
                for path in task.paths:
                    claims.add(path, name)
            ready.append((variant, task))
        if request.dry_run:
            for variant, task in ready:
                tasks.show(variant, task)
            if request.plot is not None:
                _preview(request, input, {Path(path).name: task for _, task in ready for path in task.paths})
            return 0
        done = []
        for variant, task in ready:
            there = request.skip_existing and [opening.exists(path) for path in task.paths]
            if there and all(there):
                continue
            if there and any(there):  # of several maps some: what stopped there had begun them
                variant = replace(variant, force=True)
            done.append(tasks.perform(variant, task))
    for found in done:
        tasks.conclude(request, found)
        if request.plot is not None and found.task.paths:
            plot.draw(request, name, found.task.paths[0], found.task.pipeline, found.more["ends"])
    return len(done)


def _preview(request: Request, input: Input, tasks: Mapping[str, Task]) -> None:
    """Draw what would be written, of a result that is gone afterwards; ``tasks`` by the names of their outputs."""
    from convcli.cli.filter import plot

    with TemporaryDirectory(prefix="convcli-") as folder:
        output = None if request.output is None else str(Path(folder, Path(request.output).name))
        given = {"output": output, "out_dir": None if output else Path(folder), "name": None, "plot": None}
        quiet = replace(request.messages, quiet=True, verbose=False)
        real = {"dry_run": False, "json": False, "skip_existing": False, "scale": Scale()}
        made = replace(request, **given, **real, messages=quiet)  # type: ignore[arg-type]
        with redirect_stdout(StringIO()):
            filter_one(made, input, Claims(made, [input]))
        for path in sorted(Path(folder).iterdir()):
            plot.draw(request, input.name, str(path), tasks[path.name].pipeline)


def has_suffix(name: str) -> bool:
    return bool(registry.own_suffix(name))


def _format_of(request: Request, given: Given) -> tuple[Format, tuple[str, ...]]:
    """Return an input's type: by its name where that says one, else by its content, else as --format says."""
    if given.folder or has_suffix(given.files[0]):
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
    named = request.output or request.name or ""
    if has_suffix(named) and not named.endswith("}"):
        format = opening.output_format(named)
        if request.format and registry.by_name(request.format).name != format.name:
            raise UsageError(
                f"the name says another type than --format {request.format}", subject=shown(named)
            )
        return format
    if request.format is None:
        return registry.written_as(source)
    format = registry.by_name(request.format)
    alike = source.numbered and (format.name == source.name or "T" not in format.axes)
    return registry.numbered(format) if alike else format
