"""Opening a clip to look at: any format, a part of the picture, colours without alpha."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from convcli.data import Colour, Source
from convcli.errors import ConvError, UsageError
from convcli.job import canonical
from convcli.media import registry
from convcli.media.options import ReadOptions
from convcli.media.target import STANDARD, open_input
from convcli.motion.events import Box


class Part:
    """A part of each frame of a source, without alpha."""

    def __init__(self, source: Source, region: Box | None) -> None:
        info = source.info
        x, y, width, height = region or (0, 0, info.size("X"), info.size("Y"))
        if x + width > info.size("X") or y + height > info.size("Y"):
            raise UsageError(
                f"region {x},{y},{width},{height} lies outside the picture of {info.size('X')} x {info.size('Y')}"
            )
        spans = {"X": slice(x, x + width), "Y": slice(y, y + height)}
        colour = info.colour
        if colour.has_alpha:
            colour = Colour.GREY if colour is Colour.GREY_ALPHA else Colour.RGB
            spans["C"] = slice(0, info.channels - 1)
        sizes = {letter: span.stop - span.start for letter, span in spans.items()}
        shape = tuple(sizes.get(a, n) for a, n in zip(info.axes, info.shape, strict=True))
        self.info = replace(info, shape=shape, colour=colour)
        self.keys: tuple[int, ...] = getattr(source, "keys", (0,))
        self._cut = tuple(spans.get(letter, slice(None)) for letter in info.axes)
        self._source = source

    def read(self, start: int, stop: int) -> np.ndarray:
        return self._source.read(start, stop)[self._cut]

    def close(self) -> None:
        self._source.close()


def open_clip(name: str, options: ReadOptions, region: Box | None) -> Part:
    """Open a clip of any format, or an array, as frames over time.

    Raises
    ------
    UsageError
        When it has other axes, and for a region outside the picture.
    """
    fp = open_input(name)
    try:
        head = fp.read(registry.HEAD)
        fp.seek(0)
        format, notes = registry.identify(head, "" if name == STANDARD else name, None)
        source = registry.open_source(fp, format, options)
        info = source.info
        if info.axes == "ZYX":  # an array without names: a clip is meant
            info = replace(info, axes="TYX")
        if "T" not in info.axes or canonical(info) != "TYX":
            raise UsageError(
                f"{name!r} is no clip: it has the axes {', '.join(info.axes.lower())} "
                "(--axes TYX or TYXC says what an array's are)"
            )
        source.info = replace(info, notes=(*notes, *info.notes))
        return Part(source, region)
    except ConvError as error:
        fp.close()
        if isinstance(error, UsageError) or name in str(error):
            raise
        raise ConvError(f"{name}: {error}", error.exit_code) from None
    except BaseException:
        fp.close()
        raise
