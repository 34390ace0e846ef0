"""Opening a clip to look at: any format, a part of the picture, colours without alpha."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction

import numpy as np

from convcli.common import UsageError
from convcli.data import Colour, Source, Strips, channels_first, refuse_items, whole
from convcli.media.files.target import about_input
from convcli.media.opening import Given, opened
from convcli.media.options import ReadOptions

Watched = Callable[[int, int], np.ndarray]  # from height and width to a mask


class Part(Strips):
    """A part of each frame of a source, without alpha.

    Parameters
    ----------
    source : Source
    watched : callable, optional
        From the height and width of the frames to which pixels are looked at, (Y, X); by default all.

    Attributes
    ----------
    corner
        The place (x, y) in the frame of the smallest rectangle with all that is looked at, which is the part.
    watched
        Which of its pixels are, ``None`` for all.
    keys
        The frames at which decoding can begin.
    boxes
        In which boxes the source is read, as JSON tells it.
    """

    def __init__(self, source: Source, watched: Watched | None = None) -> None:
        info = source.info
        x, y, width, height = 0, 0, info.size("X"), info.size("Y")
        self.watched = None
        if watched is not None:
            mask = watched(height, width)
            columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
            x, y = int(columns[0]), int(rows[0])
            width, height = int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y
            mask = mask[y : y + height, x : x + width]
            self.watched = None if mask.all() else mask
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
        self.corner, self.boxes = (x, y), source.grain.facts(source.info)
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
        hint = "--axes TYX or TYXC says what an array's are"
        if still:
            hint = "numbered ones are a clip, such as %04d.png"
        raise UsageError(f"not a clip: it has the axes {', '.join(info.letters.lower())} ({hint})")
    return source


def open_clip(name: str, options: ReadOptions, watched: Watched | None = None) -> Part:
    """Open a clip of any format, numbered pictures, or an array, as frames over time.

    Raises
    ------
    UsageError
        When it has other axes.
    """
    given = Given(name)
    with about_input(name), ExitStack() as failing:
        failing.callback(given.close)
        format, notes = given.identify()
        source = given.open(format, options)
        failing.callback(source.close)
        source.info = replace(source.info, notes=(*notes, *source.info.notes))
        part = Part(checked(source), watched)
        failing.pop_all()
        return part


def light_part(name: str) -> np.ndarray:
    """Return which pixels (Y, X) of a picture are light: at least half as much as its lightest.

    Raises
    ------
    UsageError
        For what is no picture.
    """
    with opened(name, ReadOptions()) as (source, *_):
        info = source.info
        if sorted(info.box_letters) != sorted("YX"):
            raise UsageError(f"no mask: its axes are {', '.join(info.letters.lower())}, give a picture")
        pixels = channels_first(source, "YX", whole([*map(info.size, "YX")])).astype(float)
    light = pixels[:-1].mean(axis=0) * pixels[-1] if info.colour.has_alpha else pixels.mean(axis=0)
    return light > light.max() / 2 if light.max() > 0 else np.zeros(light.shape, bool)
