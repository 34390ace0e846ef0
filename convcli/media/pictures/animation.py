"""Animations (GIF, WebP, PNG): frames that are laid one over the other, and how long each is shown.

Single pictures are in ``image``; clips are in ``media/clips``.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from enum import Enum
from fractions import Fraction
from itertools import accumulate
from math import lcm
from typing import IO, Any

import numpy as np

from convcli.common.frozen import frozen
from convcli.data.axes import SECOND, Listed
from convcli.data.info import Colour, Info, Strips
from convcli.media.pictures.exif import turn
from convcli.media.pictures.pillow import Carried, Picture
from convcli.media.shared import CHANNELS, OPAQUE, Recent, with_dpi
from convcli.media.timing import Clip, clip_of, schedule

FRAME_DURATION = 100  # milliseconds, where a file says nothing


class Disposal(Enum):
    """What becomes of a frame's place before the next one is drawn."""

    KEEP, CLEAR, RESTORE = range(3)  # as PNG counts


@frozen
class Stored:
    """A frame as it is stored: a picture for a place on the canvas.

    Attributes
    ----------
    decode
        Returns the picture with alpha, shape ``(Y, X, C)``; of its channels the last are taken.
    place
        x, y, width and height.
    milliseconds
        How long it is shown, 0 where the file says nothing.
    over
        Whether it is blended with what is there; else it replaces it.
    ground
        What clearing leaves, in the channels of the picture.
    """

    decode: Callable[[], np.ndarray]
    place: tuple[int, int, int, int]
    milliseconds: Fraction | int
    disposal: Disposal
    over: bool = True
    ground: np.ndarray | int = 0


class Composed:
    """Frames that are laid one over the other; the interface is `convcli.media.pictures.pillow.Picture`.

    Parameters
    ----------
    colour : Colour
        Of the canvas, with alpha.
    alpha : bool
        Whether the frames have alpha too.
    """

    def __init__(
        self,
        decoder: str,
        size: tuple[int, int],
        frames: Sequence[Stored],
        colour: Colour,
        dtype: str,
        carried: Carried,
        lost: tuple[str, ...],
        loop: int | None,
        alpha: bool = True,
    ) -> None:
        self.decoder, self.size, self.count, self.lost = decoder, size, len(frames), lost
        self._frames, self._colour, self._carried, self._loop = frames, colour, carried, loop
        self._alpha = alpha
        self._canvas = np.empty((*size[::-1], CHANNELS[colour].count), dtype)
        self._index = -1

    def frame(self, index: int) -> tuple[np.ndarray, Colour]:
        if index < self._index:
            self._index = -1
        while self._index < index or index < 0:
            self._index += 1
            self._draw(self._frames[self._index])
        return (self._shown, self._colour) if self._alpha else (opaque(self._shown), OPAQUE[self._colour])

    def _draw(self, stored: Stored) -> None:
        x, y, width, height = stored.place  # what lies outside of the canvas is cut off
        place = self._canvas[y : y + height, x : x + width]
        ground = np.broadcast_to(stored.ground, 4)[-self._canvas.shape[-1] :]
        if self._index == 0:
            self._canvas[...] = ground
        picture = stored.decode()[: place.shape[0], : place.shape[1], -self._canvas.shape[-1] :]
        before = place.copy()
        place[...] = over(before, picture) if stored.over else picture
        self._shown = self._canvas.copy()
        if stored.disposal is not Disposal.KEEP:
            place[...] = before if stored.disposal is Disposal.RESTORE else ground

    def info(self) -> dict[Any, Any]:
        return {"duration": self._frames[self._index].milliseconds, "loop": self._loop}

    def carried(self) -> Carried:
        return self._carried


def over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return integers blended by their alpha, the last channel (PNG, third edition, 13.16; colours are straight)."""
    full = np.iinfo(above.dtype).max
    alpha = above[..., -1:]
    if alpha.min(initial=full) == full:
        return above
    if ((alpha == 0) | (alpha == full)).all():
        return np.where((alpha == 0) & (below[..., -1:] > 0), below, above)
    top, ground = alpha / full, below[..., -1:] / full * (1 - alpha / full)
    total = top + ground
    colours = (above[..., :-1] * top + below[..., :-1] * ground) / np.where(total > 0, total, 1)
    return np.rint(np.concatenate([colours, total * full], -1)).astype(above.dtype)


def opaque(pixels: np.ndarray) -> np.ndarray:
    """Return pixels, shape ``(Y, X, C)``, without their alpha."""
    return pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :-1]


class FramesSource(Strips):
    """The frames of an animation, axes ``TYX`` or ``TYXC``, decoded as they are asked for."""

    def __init__(
        self, fp: IO[bytes], picture: Picture, within: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._fp, self._picture, self._within = fp, picture, within
        durations, self._opaque = [], True
        for index in range(picture.count):
            pixels, colour = picture.frame(index)
            # PNG's are fractions of seconds, which Pillow gives as milliseconds.
            shown = Fraction(picture.info().get("duration") or FRAME_DURATION)
            durations.append(shown.limit_denominator(1000))
            full = pixels.dtype.kind == "u" and np.iinfo(pixels.dtype).max
            self._opaque = self._opaque and colour.has_alpha and pixels[..., -1].min() == full
        metadata, dpi, self._orientation = picture.carried()
        upright, dpi = turn(opaque(pixels) if self._opaque else pixels, dpi, self._orientation)
        height, width, *channels = upright.shape
        parts = lcm(*(shown.denominator for shown in durations))
        times = tuple(accumulate((int(shown * parts) for shown in durations), initial=0))
        info = Info.of(
            letters="TYXC" if channels else "TYX",
            shape=(picture.count, height, width, *channels),
            dtype=pixels.dtype.name,
            colour=OPAQUE[colour] if self._opaque else colour,
            metadata=metadata,
            companions=Clip(plays=_plays(picture)),
            notes=picture.lost,
        ).placed(T=Listed(times[:-1], Fraction(1, 1000 * parts), SECOND, times[-1]))
        self.info = with_dpi(info, dpi)
        self._frames = Recent()

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the frames ``start:stop``."""
        with self._within():
            return np.stack(self._frames(list(range(start, stop)), self._decode))

    def _decode(self, indices: list[int]) -> list[np.ndarray]:
        frames = (self._picture.frame(index)[0] for index in indices)
        return [turn(opaque(p) if self._opaque else p, None, self._orientation)[0] for p in frames]

    def close(self) -> None:
        """Close the file."""
        self._fp.close()


def _plays(picture: Picture) -> int:
    """Return how many times an animation plays, 0 for ever: GIF counts repeats, and has no count for once."""
    count: int | None = picture.info().get("loop")
    if picture.decoder != "GIF":
        return count or 0
    return 1 if count is None else count and count + 1


MOST = 65535  # delays and counts have 16 bits


def delays_for(info: Info, name: str, unit: Fraction, most: int) -> tuple[list[int], int, tuple[str, ...]]:
    """Return how long frames are shown, in a format's units, how often all are played, and notes of changed times.

    Parameters
    ----------
    name : str
        Of the format.
    unit : Fraction
        Seconds.
    most : int
        Units that a frame can last.
    """
    shown, plays = schedule(info.axis("T")), min(clip_of(info.companions).plays, MOST)
    delays = [min(delay, most) for delay in shown.delays(unit)]
    seconds = float((shown.times[-1] + shown.last - shown.times[0]) * shown.base)
    ours = float(sum(delays) * unit)
    if abs(ours - seconds) <= unit:
        return delays, plays, ()
    limit = f"at least {float(unit):g}" if ours > seconds else f"at most {float(most * unit):g}"
    note = f"the clip lasts {ours:.2f} s instead of {seconds:.2f} s: in {name} a frame lasts {limit} s"
    return delays, plays, (note,)
