"""Plug-ins: formats, kernels and pools of other packages, looked for only where nothing built in answers.

A package declares them as entry points of the groups below.  Loading one runs its code.
"""

from collections.abc import Iterator
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


def _load(point: "EntryPoint", *kinds: type) -> Any:
    subject = f"plug-in {point.name} ({point.value})"
    try:
        made = point.load()
    except Exception as error:  # it is a stranger's code
        raise ConvError(
            f"it cannot be loaded: {error}: repair or uninstall its package", subject=subject
        ) from None
    if not isinstance(made, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ConvError(f"it is no {wanted}: repair or uninstall its package", subject=subject)
    return made


def find(group: Group, name: str, *kinds: type) -> Any:
    """Return the plug-in of this name, of one of these kinds; None where no package has one.

    Raises
    ------
    ConvError
        For one that cannot be loaded, or is of another kind.
    """
    return next((_load(one, *kinds) for one in _declared() if (one.group, one.name) == (group, name)), None)


def names(group: Group) -> list[str]:
    """Return the names of a group's plug-ins, sorted."""
    return [one.name for one in _declared() if one.group == group]


def every(group: Group, kind: type[T]) -> Iterator[T]:
    """Yield all plug-ins of a group; errors as in `find`."""
    yield from (_load(one, kind) for one in _declared() if one.group == group)
