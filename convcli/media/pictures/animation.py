"""Animations (GIF, WebP, PNG): frames that are decoded as they are asked for, and how long each is shown.

Single pictures are in ``image``; films are no pictures and have their own room.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import accumulate
from math import lcm
from typing import IO, Any

import numpy as np

from convcli.common.errors import ConvError
from convcli.data.axes import SECOND, Listed
from convcli.data.info import Colour, Info, Strips
from convcli.media.options import ReadOptions
from convcli.media.pictures.pillow import Picture, within_limit
from convcli.media.shared import CHANNELS, OPAQUE, WITH_ALPHA, Recent, with_dpi
from convcli.media.timing import Clip, clip_of, schedule

FRAME_DURATION = 100  # milliseconds, where a file says nothing


class FramesSource(Strips):
    """The frames of an animation, axes ``TYX`` or ``TYXC``, decoded as they are asked for."""

    def __init__(self, fp: IO[bytes], picture: Picture, options: ReadOptions) -> None:
        self._fp, self._picture, self._options = fp, picture, options
        (width, height), count = picture.size, picture.count
        durations, colours = [], set()
        for index in range(count):
            pixels, colour = picture.frame(index)
            # PNG's are fractions of seconds, which Pillow gives as milliseconds.
            shown = Fraction(picture.info().get("duration") or FRAME_DURATION)
            durations.append(shown.limit_denominator(1000))
            if pixels.shape[:2] != (height, width):
                raise ConvError(f"frame {index} of the {picture.decoder} is larger than the picture")
            colours.add(OPAQUE[colour] if colour.has_alpha and pixels[..., -1].min() == 255 else colour)
        self._colour = _common(colours)
        channels = CHANNELS[self._colour].count
        metadata, dpi, _ = picture.carried()
        parts = lcm(*(shown.denominator for shown in durations))
        times = tuple(accumulate((int(shown * parts) for shown in durations), initial=0))
        info = Info.of(
            letters="TYXC" if channels > 1 else "TYX",
            shape=(count, height, width, *((channels,) if channels > 1 else ())),
            dtype="uint8",
            colour=self._colour,
            metadata=metadata,
            companions=Clip(plays=_plays(picture)),
        ).placed(T=Listed(times[:-1], Fraction(1, 1000 * parts), SECOND, times[-1]))
        self.info = with_dpi(info, dpi)
        self._frames = Recent(self._decode)

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the frames ``start:stop``."""
        with within_limit(self._picture.decoder, self._options):
            return np.stack(self._frames(list(range(start, stop))))

    def _decode(self, indices: list[int]) -> list[np.ndarray]:
        frames = []
        for index in indices:
            pixels, colour = self._picture.frame(index)
            if colour is not self._colour:
                pixels = as_colour(pixels, colour, self._colour)
            frames.append(pixels)
        return frames

    def close(self) -> None:
        """Close the file."""
        self._fp.close()


def as_colour(pixels: np.ndarray, colour: Colour, wanted: Colour) -> np.ndarray:
    """Return 8-bit pixels in another colour that holds theirs; alpha that is not wanted is full."""
    from PIL import Image

    mode = CHANNELS[colour].mode
    image = Image.frombuffer(mode, pixels.shape[1::-1], np.ascontiguousarray(pixels), "raw", mode, 0, 1)
    return np.asarray(image.convert(CHANNELS[wanted].mode))


def _common(colours: set[Colour]) -> Colour:
    """Return the poorest colour that holds all of these."""
    alpha = any(colour.has_alpha for colour in colours)
    grey = all(colour in (Colour.GREY, Colour.GREY_ALPHA) for colour in colours)
    opaque = Colour.GREY if grey else Colour.RGB
    return WITH_ALPHA[opaque] if alpha else opaque


def _plays(picture: Picture) -> int:
    """Return how many times an animation plays, 0 for ever: GIF counts repeats, and has no count for once."""
    count: int | None = picture.info().get("loop")
    if picture.decoder != "GIF":
        return count or 0
    return 1 if count is None else count and count + 1


_MOST = 65535  # delays and counts have 16 bits


def settings_for(info: Info, format_name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return Pillow's settings that make one file of several frames, and notes about changed times."""
    shown, plays = schedule(info.axis("T")), min(clip_of(info.companions).plays, _MOST)
    unit = Fraction(1, 100) if format_name == "gif" else Fraction(1, 1000)
    delays = shown.delays(unit)
    settings: dict[str, Any] = {"save_all": True, "loop": plays}
    if format_name == "gif":
        delays = [min(delay, _MOST) for delay in delays]
        if plays:
            settings["loop"] = plays - 1 or None  # Pillow writes no count for None
    if format_name == "png":  # numerators have 16 bits
        delays = [delay if delay <= _MOST else round(delay, -3) for delay in delays]
    settings["duration"] = [int(delay * unit * 1000) for delay in delays]
    seconds = float((shown.times[-1] + shown.last - shown.times[0]) * shown.base)
    ours = float(sum(delays) * unit)
    notes = []
    if abs(ours - seconds) > unit:
        why = f"a frame lasts at least {float(unit):g} s" if ours > seconds else "delays have 16 bits"
        notes.append(
            f"the clip lasts {ours:.2f} s instead of {seconds:.2f} s: in {format_name.upper()} {why}"
        )
    if format_name == "gif" and min(delays) < 2:
        notes.append("some frames last 0.01 s: many players show them for 0.1 s, as GIF's first ones did")
    return settings, tuple(notes)
