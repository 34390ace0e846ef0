"""An input opened as channels over space, whatever the order of its file: read in parts, or whole.

For commands that show or learn from numbers; the main job reads blocks in the file's own order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from convcli.common.frozen import frozen
from convcli.data.box import whole
from convcli.data.info import ITEMS, Info, Source, channels_first, refuse_items
from convcli.execution.items import items
from convcli.jobs.job import canonical
from convcli.media import registry
from convcli.media.files.target import STANDARD, about_input, open_input
from convcli.media.options import ReadOptions
from convcli.media.registry import Format


@frozen
class Opened:
    """An open input.

    Attributes
    ----------
    source : Source
    letters : str
        Its axes of space, in the order of ``TZYX``.
    format : Format
    notes : tuple of str
        What its reader has to say.
    """

    source: Source
    letters: str
    format: Format
    notes: tuple[str, ...]

    @property
    def info(self) -> Info:
        return self.source.info

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.info.size(letter) for letter in self.letters)

    def items(self) -> Iterator[Opened]:
        """Yield the independent items, of the axis N, as inputs of their own; without that axis, this one."""
        if ITEMS in self.info.letters:
            yield from (replace(self, source=item) for item in items(self.source))
        else:
            yield self

    def whole(self) -> np.ndarray:
        """Return all of it, (channels, *space), in one piece of memory."""
        return np.ascontiguousarray(channels_first(self.source, self.letters, whole(self.sizes)))


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
        yield Opened(source, canonical(source.info), format, (*notes, *source.info.notes))
