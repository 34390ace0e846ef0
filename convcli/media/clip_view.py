"""Opening a clip to look at: any format, a part of the picture, colours without alpha."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction

import numpy as np

from convcli.common.errors import UsageError
from convcli.data.info import Colour, Source, Strips, refuse_items
from convcli.media import registry
from convcli.media.files.target import STANDARD, about_input
from convcli.media.opening import Given
from convcli.media.options import ReadOptions

Box = tuple[int, int, int, int]  # x, y, width, height


class Part(Strips):
    """A part of each frame of a source, without alpha.

    Attributes
    ----------
    corner
        Its place (x, y) in the frame.
    keys
        The frames at which decoding can begin.
    """

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
        axes = (
            axis.along(Fraction(spans[axis.letter].start), Fraction(1), sizes[axis.letter])
            if axis.letter in spans
            else axis
            for axis in info.axes
        )
        self.info = replace(info, axes=tuple(axes), colour=colour)
        self.corner = (x, y)
        self.keys: tuple[int, ...] = getattr(source, "keys", (0,))
        self._cut = tuple(spans.get(letter, slice(None)) for letter in info.letters)
        self._source = source

    def strip(self, start: int, stop: int) -> np.ndarray:
        return self._source.strip(start, stop)[self._cut]

    def close(self) -> None:
        self._source.close()


def checked(source: Source) -> Source:
    """Return a source whose axes are those of a clip; an array without names is taken for one.

    Raises
    ------
    UsageError
        When it has other axes.
    """
    info = source.info
    refuse_items(info)
    if info.letters == "ZYX":
        source.info = info = replace(info, axes=(replace(info.axis("Z"), letter="T"), *info.axes[1:]))
    if sorted(info.letters.replace("C", "")) != sorted("TYX"):
        still = "T" not in info.letters and info.colour is not Colour.NONE
        hint = (
            "numbered ones are a clip, such as %04d.png"
            if still
            else "--axes TYX or TYXC says what an array's are"
        )
        raise UsageError(f"not a clip: it has the axes {', '.join(info.letters.lower())} ({hint})")
    return source


def open_clip(name: str, options: ReadOptions, region: Box | None) -> Part:
    """Open a clip of any format, numbered pictures, or an array, as frames over time.

    Raises
    ------
    UsageError
        When it has other axes, and for a region outside the picture.
    """
    given = Given(name)
    with about_input(name), ExitStack() as failing:
        failing.callback(given.close)
        format, notes = registry.identify(given.head, "" if name == STANDARD else given.files[0])
        source = given.open(format, options)
        failing.callback(source.close)
        source.info = replace(source.info, notes=(*notes, *source.info.notes))
        part = Part(checked(source), region)
        failing.pop_all()
        return part
