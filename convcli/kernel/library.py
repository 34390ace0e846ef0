"""The kernels that come with the program, and those that other packages add: where they lie, what they are called."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

from convcli.common import ConvError, frozen, plugins
from convcli.geometry.pools import PoolKind
from convcli.kernel.model import Kernel, size_text, slug
from convcli.kernel.parametric import FORMULAS, Formula, parse_parametric

SCHEMA = "kernel.schema.json"


@cache
def library_dir() -> Path:
    """Return the folder of the library: inside the installed package, else beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "library", package.parent / "kernels"):
        if (folder / SCHEMA).is_file():
            return folder
    raise ConvError(f"the kernel library is missing beside {package}: install convcli again")


@cache
def names() -> tuple[str, ...]:
    """Return the names of the library's kernels, sorted."""
    return tuple(sorted(path.stem for path in library_dir().glob("*.yaml")))


@lru_cache(maxsize=64)
def load(text: str, rank: int = 2, stored: int | None = None) -> Kernel:
    """Return a library kernel by its name, or a parametric one with its own numbers, such as ``box:5``.

    ``stored`` as in `parse_parametric`.

    >>> load("gaussian:sigma=2", rank=1).size
    (17,)
    """
    name = text.partition(":")[0]
    if name not in names() and (made := added(text, rank, stored)):
        return made
    from convcli.kernel.yaml_file import load_yaml  # 10 ms that kernels written inline need not wait for

    kernel = load_yaml(library_dir() / f"{name}.yaml", rank)
    if name == text:
        return kernel
    made = parse_parametric(text, rank, stored)
    display = kernel.display and kernel.display.widened(made.absolute_sum / kernel.absolute_sum)
    own = {name: getattr(made, name) for name in ("shape", "weights", "origin", "statistic")}
    return replace(kernel, name=text, slug=slug(text), display=display, **own)


def added(text: str, rank: int = 2, stored: int | None = None) -> Kernel | None:
    """Return a kernel that another package adds, by its name or with its own numbers; None where none has it."""
    name, colon, _ = text.partition(":")
    group, found = plugins.Group.KERNELS, plugins.find(plugins.Group.KERNELS, name, Kernel, Formula)
    if found is None and (pool := plugins.find(plugins.Group.POOLS, name, PoolKind)):
        group, found = plugins.Group.POOLS, Formula.of(pool)
    if isinstance(found, Formula):
        with plugins.running(group, name):
            made = parse_parametric(text, rank, stored, found)
        return replace(made, slug=slug(text), description=(found.make.__doc__ or "").strip())
    return None if colon or found is None else replace(found, name=name, slug=slug(name))


@frozen
class Entry:
    """A line of the library's list; without a rank the kernel takes that of the data."""

    kernel: Kernel
    rank: int | None
    examples: str | None  # how to give it other numbers

    @property
    def facts(self) -> dict[str, object]:
        """The entry for a program."""
        names = ("name", "rank", "size", "outputs", "inputs", "combine", "examples", "description", "source")
        own = {"rank": self.rank, "examples": self.examples}
        return {name: own[name] if name in own else getattr(self.kernel, name) for name in names}

    @property
    def size(self) -> str:
        """The size of one filter, with the number of them before it if there are several: ``2@3x3``."""
        size = size_text(self.kernel.size)
        return f"{self.kernel.outputs}@{size}" if self.kernel.outputs > 1 else size

    @property
    def summary(self) -> str:
        """The description up to its first colon or semicolon."""
        return re.split(r"[:;]\s", self.kernel.description, maxsplit=1)[0]


def entries(failed: Callable[[str], object] = lambda _: None) -> list[Entry]:
    """Return every kernel of the library, sorted by name, then those of other packages; ``failed`` hears of others."""
    found = [_entry(name) for name in names()]
    for name in plugins.names(plugins.Group.KERNELS):
        try:
            found += [] if name in names() else [_entry(name)]
        except ConvError as error:
            failed(str(error))
    return found


def _entry(name: str) -> Entry:
    kernel = load(name, rank=1)
    fixed = kernel.rank > 1 or load(name, rank=2).rank == kernel.rank
    return Entry(kernel, kernel.rank if fixed else None, examples(name))


def examples(text: str) -> str | None:
    """Return how a parametric kernel is given other numbers, None for the others.

    >>> examples("box:5")
    'box:5, box:3x7 or box:3x3x3'
    """
    name = text.partition(":")[0]
    found = plugins.find(plugins.Group.KERNELS, name, Kernel, Formula) if name not in names() else None
    return getattr(FORMULAS.get(name, found), "examples", None)
