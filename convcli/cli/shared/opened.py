"""An input opened as channels over space, whatever the order of its file: read in parts, or whole.

For commands that show or learn from numbers; the main job reads blocks in the file's own order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import prod

import numpy as np

from convcli.common import frozen
from convcli.data.box import whole
from convcli.data.info import ITEMS, SPACE, ArraySource, Info, Source, channels_first, refuse_items
from convcli.execution.items import items
from convcli.jobs.job import canonical
from convcli.media import registry
from convcli.media.files.target import STANDARD, about_input, open_input
from convcli.media.option_checks import check_reading
from convcli.media.options import ReadOptions
from convcli.media.registry import Format
from convcli.networks.operations import Shape


@frozen
class Opened:
    """An open input, or one in memory.

    Attributes
    ----------
    source : Source
    format : Format or None
        None where a size was given instead of a file.
    notes : tuple of str
        What its reader has to say.
    """

    source: Source
    format: Format | None = None
    notes: tuple[str, ...] = ()

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

    def items(self) -> Iterator[Opened]:
        """Yield the independent items, of the axis N, as inputs of their own; without that axis, this one."""
        if ITEMS in self.info.letters:
            yield from (replace(self, source=item) for item in items(self.source))
        else:
            yield self

    def whole(self) -> np.ndarray:
        """Return all of it, (channels, *space), in one piece of memory."""
        return np.ascontiguousarray(channels_first(self.source, self.letters, whole(self.shape.sizes)))

    def opaque(self) -> np.ndarray:
        """Return all of it but alpha."""
        return self.whole()[: self.shape.channels]

    def check(self, options: ReadOptions, name: str) -> None:
        """Refuse options of reading that mean nothing for its format."""
        if self.format is not None:
            check_reading(options, self.format, name)

    def read(self) -> Opened:
        """Return the same in memory."""
        source = ArraySource(self.source.read(self.info.box), self.info)
        source.later = self.source.later
        return replace(self, source=source)


@contextmanager
def opened(name: str, options: ReadOptions, *, batch: bool = False) -> Iterator[Opened]:
    """Open a file or ``-``; errors within name it.  Independent items are refused, but for a ``batch``."""
    fp = open_input(name)
    with about_input(name), ExitStack() as stack:
        stack.callback(fp.close)
        head = fp.read(registry.HEAD)
        fp.seek(0)
        format, notes = registry.identify(head, "" if name == STANDARD else name)
        source = registry.open_source(fp, format, options)
        stack.callback(source.close)
        if not batch:
            refuse_items(source.info)
        yield Opened(source, format, (*notes, *source.info.notes))


def read_whole(name: str, options: ReadOptions) -> Opened:
    """Read a file or ``-``."""
    with opened(name, options) as file:
        return file.read()


def read_items(name: str, options: ReadOptions) -> list[Opened]:
    """Read the independent items of a file, the axis N; of a file without that axis the one that it is."""
    with opened(name, options, batch=True) as file:
        return [item.read() for item in file.items()]


def numbered(channels: int | None, sizes: tuple[int, ...]) -> Opened:
    """Return an input of these sizes whose numbers are 1, 2, 3, … in every channel's order."""
    shape = sizes if channels in (None, 1) else (channels, *sizes)
    axes = "C" * (len(shape) > len(sizes)) + SPACE[-len(sizes) :]
    return Opened(ArraySource(np.arange(1.0, prod(shape) + 1).reshape(shape), axes))
