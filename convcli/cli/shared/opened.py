"""An input opened as channels over space, whatever the order of its file: read in parts, or whole.

For commands that show or learn from numbers; the main job reads blocks in the file's own order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from convcli.common import UsageError, counted, frozen
from convcli.data import ITEMS, SPACE, ArraySource, Info, Source, channels_first, refuse_items, whole
from convcli.execution.items import item, items
from convcli.geometry.areas import Areas, parse_region
from convcli.geometry.graph import Shape
from convcli.jobs.job import canonical
from convcli.media import opening
from convcli.media.files.target import shown
from convcli.media.options import ReadOptions


@frozen
class Opened:
    """An open input, or one in memory.

    Attributes
    ----------
    source : Source
    notes : tuple of str
        What its reader has to say.
    grain : mapping or None
        In which boxes the file is read, as JSON tells it.
    """

    source: Source
    notes: tuple[str, ...] = ()
    grain: Mapping[str, Any] | None = None

    @property
    def info(self) -> Info:
        return self.source.info

    @property
    def letters(self) -> str:
        """Its axes of space, in the order of ``TZYX``."""
        return canonical(self.info)

    @property
    def shape(self) -> Shape:
        """Its channels, alpha left out, and its sizes in space."""
        sizes = tuple(map(self.info.size, self.letters))
        return Shape(self.info.channels - self.info.colour.has_alpha, sizes)

    @property
    def opaque_notes(self) -> tuple[str, ...]:
        """Its notes, where `opaque` is what is taken of it."""
        return (
            *("the alpha channel is left out: only colours count",) * self.info.colour.has_alpha,
            *self.notes,
        )

    def items(self) -> Iterator[Opened]:
        """Yield the independent items, of the axis N, as inputs of their own; without that axis, this one."""
        if ITEMS in self.info.letters:
            yield from (replace(self, source=item) for item in items(self.source))
        else:
            yield self

    @property
    def count(self) -> int:
        """How many independent items there are."""
        return self.info.size(ITEMS) if ITEMS in self.info.letters else 1

    def item(self, index: int) -> Opened:
        """Return one of the independent items."""
        return replace(self, source=item(self.source, index)) if ITEMS in self.info.letters else self

    def picked(
        self, at: tuple[int, ...] | None, letters: str, *, alone: bool = False
    ) -> tuple[Opened, tuple[int, ...] | None]:
        """Return the item that the first number of ``at`` names, and the others, one for each of ``letters``.

        These may be left out where the item ``alone`` is enough.
        """
        if ITEMS not in self.info.letters:
            return self, at
        number, *place = at or (0,)
        if len(place) != len(letters) and (place or not alone):
            names = ",".join(f"n{letters}".lower())
            raise UsageError(f"--at: the file has {counted(self.count, 'item')}: give {names}")
        notes = () if at or self.count == 1 else (f"item 0 of {self.count} is shown; --at 1 takes the next",)
        return replace(self.item(number), notes=(*self.notes, *notes)), tuple(place) or None

    def whole(self) -> np.ndarray:
        """Return all of it, (channels, *space), in one piece of memory."""
        return np.ascontiguousarray(channels_first(self.source, self.letters, whole(self.shape.sizes)))

    def opaque(self) -> np.ndarray:
        """Return all of it but alpha."""
        return self.whole()[: self.shape.channels]

    def masked(self, name: str | None) -> Opened:
        """Return the same in memory, with the samples missing where a mask is zero."""
        if name is None:
            return self
        with closing(opening.masked(self.source, name)) as source:
            return replace(self, source=source).read()

    def read(self) -> Opened:
        """Return the same in memory."""
        source = ArraySource(self.source.read(self.info.box), self.info)
        source.later = self.source.later
        return replace(self, source=source)


@contextmanager
def opened(
    name: str, options: ReadOptions, *, batch: bool = False, grid: bool = False, shared: bool = False
) -> Iterator[Opened]:
    """Open a file or ``-``; errors within name it.  Independent items are refused, but for a ``batch``.

    ``grid`` and ``shared`` are as in `convcli.media.opening.Given.open`.
    """
    with opening.opened(name, options, grid, shared) as (source, _, notes):
        if not batch:
            refuse_items(source.info)
        yield Opened(source, (*notes, *source.info.notes), source.grain.facts(source.info))


def read_whole(name: str, options: ReadOptions, *, grid: bool = False) -> Opened:
    """Read a file or ``-``."""
    with opened(name, options, grid=grid) as file:
        return file.read()


def areas_of(regions: Sequence[str], ignored: Sequence[str] = ()) -> Areas:
    """Return where in a picture to work; pictures that are masks are read."""
    from convcli.media.clip_view import light_part

    inside, outside = (
        tuple(parse_region(text, what, light_part) for text in texts)
        for what, texts in (("region", regions), ("ignore", ignored))
    )
    return Areas(inside, outside)


class Log:
    """What there is to say of all inputs of one job: their notes, and how many files are read in which boxes."""

    def __init__(self) -> None:
        self.notes: dict[str, None] = {}
        self._grains: dict[str, tuple[Any, ...]] = {}

    def add(self, name: str, input: Opened) -> None:
        """Add an input without its alpha; a file that was added before counts once."""
        self.notes |= dict.fromkeys(f"{shown(name)}: {note}" for note in input.opaque_notes)
        if input.grain is not None:
            self._grains[name] = input.grain["any_order"], *input.grain["steps"].items()

    @property
    def grain(self) -> list[dict[str, Any]]:
        kinds = Counter(self._grains.values()).items()
        return [{"any_order": any_, "steps": dict(steps), "files": count} for (any_, *steps), count in kinds]


def numbered(channels: int | None, sizes: tuple[int, ...]) -> Opened:
    """Return an input of these sizes whose numbers are 1, 2, 3, … in every channel's order."""
    shape = sizes if channels in (None, 1) else (channels, *sizes)
    axes = "C" * (len(shape) > len(sizes)) + SPACE[-len(sizes) :]
    return Opened(ArraySource(np.arange(1.0, prod(shape) + 1).reshape(shape), axes))
