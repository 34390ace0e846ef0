"""Plug-ins: formats, kernels and pools of other packages, looked for only where nothing built in answers.

A package declares them as entry points of the groups below.  Loading one runs its code.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from convcli.common.errors import ConvError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Group(StrEnum):
    """The groups of entry points; the name of an entry point is what a person writes."""

    FORMATS = "convcli.formats"  # `convcli.media.registry.Format`
    KERNELS = "convcli.kernels"  # `convcli.kernel.Kernel`, or `convcli.kernel.parametric.Formula`
    POOLS = "convcli.pools"  # an instance of `convcli.geometry.pools.PoolKind`


@cache
def _declared() -> "tuple[EntryPoint, ...]":
    """Return the entry points of all groups, sorted by name.

    Reading `importlib.metadata` takes 50 ms, looking through the folders 1 ms (measured): only those who have plug-ins
    wait.  The working folder does not count: data may lie there that strangers have written.
    """
    import sys
    from pathlib import Path

    here = Path.cwd()
    folders = [path for path in sys.path if path and Path(path) != here]
    lists = (path for folder in folders for path in Path(folder).glob("*.*-info/entry_points.txt"))
    if not any(b"[convcli." in path.read_bytes() for path in lists):
        return ()
    from importlib.metadata import distributions

    found = [point for one in distributions(path=folders) for point in one.entry_points]
    return tuple(sorted((point for point in found if point.group in tuple(Group)), key=lambda one: one.name))


@contextmanager
def running(group: Group, name: str) -> Iterator[None]:
    """Let code of the package that adds a name run: whatever it raises is one line, and what it prints is no data.

    Raises
    ------
    ConvError
    """
    try:
        with redirect_stdout(io.StringIO()):
            yield
    except (KeyboardInterrupt, ConvError):
        raise
    except BaseException as error:  # SystemExit among them
        raise _broken(group, name, f"it fails: {_words(error)}") from None


def _broken(group: Group, name: str, why: str) -> ConvError:
    point = next(one for one in _declared() if (one.group, one.name) == (group, name))
    package = getattr(point.dist, "name", "unknown")
    return ConvError(
        f"{why}: repair or uninstall its package, {package}", subject=f"plug-in {name} ({point.value})"
    )


def blamed(error: BaseException) -> ConvError | None:
    """Return the line for what code of a plug-in's package raised at any time; None where none was running."""
    running, traced = set[str](), error.__traceback__
    while traced:
        running.add(traced.tb_frame.f_globals.get("__name__", "").partition(".")[0])
        traced = traced.tb_next
    here = (one for one in _declared() if one.module.partition(".")[0] in running - {"convcli"})
    return next((_broken(Group(one.group), one.name, f"it fails: {_words(error)}") for one in here), None)


def _words(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind where that is nothing."""
    try:
        return f"{error}".strip().splitlines()[0][:200]
    except Exception:  # it has no words
        return type(error).__name__


def _load(point: "EntryPoint", kinds: tuple[type, ...], check: Callable[[Any], object]) -> Any:
    group = Group(point.group)
    with running(group, point.name):
        made = point.load()
        if not isinstance(made, kinds):
            raise _broken(group, point.name, f"it is no {' or '.join(kind.__name__ for kind in kinds)}")
        check(made)
    return made


def find(group: Group, name: str, *kinds: type) -> Any:
    """Return the plug-in of this name, of one of these kinds; None where no package has one.

    Raises
    ------
    ConvError
        For one that cannot be loaded, or is of another kind.
    """
    found = (one for one in _declared() if (one.group, one.name) == (group, name))
    return next((_load(one, kinds, id) for one in found), None)


def names(group: Group) -> list[str]:
    """Return the names of a group's plug-ins, sorted."""
    return [one.name for one in _declared() if one.group == group]


def every(group: Group, kind: type[T], check: Callable[[T], object]) -> Iterator[T]:
    """Yield all plug-ins of a group that are sound, as ``check`` tries; errors as in `find`, after the last one."""
    failures = []
    for one in _declared():
        if one.group == group:
            try:
                made: T = _load(one, (kind,), check)
            except ConvError as error:
                failures.append(error)
            else:
                yield made
    if failures:
        raise failures[0]
