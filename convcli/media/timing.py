"""When the frames of a clip are shown, how they were coded, and what else is in the file.

Plain facts, shared by everything that reads or writes clips.  No codec is opened here, no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import Any

from convcli.common import frozen
from convcli.data import Axis, Companions, Even, Kind, Listed

RATE = Fraction(25)  # frames a second, for arrays and folders of pictures: they carry no time
_OF_SCREENS = {0, 1, 2, 5, 6, 13}  # primaries and transfers of usual pictures, in the numbers of ITU-T H.273
UNKNOWN = 2  # "unspecified" in the numbers of ITU-T H.273, which all containers use


@frozen
class Tags:
    """How code values are meant, in the numbers of ITU-T H.273: primaries, transfer, matrix; 1 limited, 2 full."""

    primaries: int = UNKNOWN
    transfer: int = UNKNOWN
    matrix: int = UNKNOWN
    range: int = 0


@frozen
class Light:
    """The light that a clip of high dynamic range was made for.

    Attributes
    ----------
    display
        Of the mastering display (SMPTE ST 2086): x and y of red, green, blue and white, then the least and the most
        cd/m².
    content
        The brightest pixel and the brightest frame on average, in cd/m² (CTA-861.3).
    """

    display: tuple[Fraction, ...] = ()
    content: tuple[int, int] | None = None

    def mastering(self, chroma: int, luminance: int) -> str:
        """Return the display in the encoders' notation, as whole numbers of these units; 0 for decimals."""
        parts = (*(chroma,) * 8, luminance, luminance)
        x = [f"{round(v * n)}" if n else f"{float(v):.5f}" for v, n in zip(self.display, parts, strict=True)]
        return f"G({x[2]},{x[3]})B({x[4]},{x[5]})R({x[0]},{x[1]})WP({x[6]},{x[7]})L({x[9]},{x[8]})"


@frozen
class Coding:
    """How a clip was coded, so that a result can be coded alike.

    Attributes
    ----------
    codec
        FFmpeg's name, such as ``h264``.
    pixels
        FFmpeg's name of the pixel format, such as ``yuv420p10le``.
    aspect
        Width of a pixel divided by its height.
    chroma
        Where halved colour is sampled, as FFmpeg calls it; empty where it is as usual (``left``).
    light
        Of high dynamic range.
    """

    codec: str
    pixels: str
    tags: Tags
    aspect: Fraction | None = None
    chroma: str = ""
    light: Light | None = None

    @property
    def plain(self) -> str:
        """The pixel format without what its old names say about the range: that is a tag."""
        return self.pixels.replace("yuvj", "yuv")

    @property
    def also(self) -> tuple[str, ...]:
        """What is to be known of the pixels, for files that hold pixels alone, in words."""
        aspect = (f"pixel aspect {self.aspect.numerator}:{self.aspect.denominator}",) if self.aspect else ()
        light = ("light of the mastering display and of the content",) if self.light else ()
        wide = {self.tags.primaries, self.tags.transfer} - _OF_SCREENS
        return (*aspect, *light, *["colour tags"] * bool(wide))


@frozen
class Clip:
    """The companions of a clip's frames: what else is in the file, and how it was coded.

    Attributes
    ----------
    coding
        ``None`` for what was not a video.
    reopen
        Opens the file once more, for its sound and subtitles.
    first
        The number of the first frame, where each is a file with a number.
    plays
        How many times an animation plays; 0 is for ever.
    start
        The first time stamp of the file, in seconds, from which the times are counted.
    tracks
        What else is in the file, in words: sound, subtitles, chapters.
    """

    kind, by_sample = Kind.CLIP, True
    coding: Coding | None = None
    reopen: Callable[[], Any] | None = None
    first: int = 1
    plays: int = 0
    start: Fraction = Fraction(0)
    tracks: tuple[str, ...] = ()

    @property
    def also(self) -> tuple[str, ...]:
        """What a file that holds frames alone leaves out, in words."""
        return (*self.tracks, *(self.coding.also if self.coding else ()))

    notes = ()

    def take(self, positions: Sequence[int | None]) -> Clip:
        """Return the companions of new frames: the first has the number of the frame that it comes from.

        >>> Clip(first=7).take([None, 3, 4]).first
        9
        """
        begin = next((index for index, position in enumerate(positions) if position is not None), 0)
        first = self.first + (positions[begin] or 0) - begin if positions else self.first
        return replace(self, first=max(first, 0))

    def drop(self) -> Clip:
        """Return the companions without sound, for frames that correspond to none of these."""
        return replace(self, reopen=None)


def clip_of(companions: Companions | None) -> Clip:
    """Return what any frames carry as a clip's companions."""
    return companions if isinstance(companions, Clip) else Clip()


@frozen
class Schedule:
    """When each frame of a clip is shown, in whole numbers of ``base`` seconds.

    Attributes
    ----------
    step
        The usual time between frames.
    last
        How long the last frame is shown.
    """

    times: Sequence[int]
    base: Fraction
    step: int
    last: int

    @property
    def rate(self) -> Fraction | None:
        """The frames a second of which these times are multiples, but for their rounding; None where there is none.

        >>> Schedule([0, 33, 67, 100, 133, 167, 200, 234, 267], Fraction(1, 1000), 33, 33).rate
        Fraction(30000, 1001)
        """
        if len({b - a for a, b in pairwise(self.times)}) < 2:
            return 1 / (self.step * self.base)
        seconds = [(time - self.times[0]) * float(self.base) for time in self.times]
        mean = (len(seconds) - 1) / seconds[-1]

        def off(rate: Fraction) -> float:
            return max(abs(time - index / float(rate)) for index, time in enumerate(seconds))

        usual = [Fraction(1000 * round(mean * part / 1000), part) for part in (1000, 1001)]
        best = [min((one for one in usual if one), key=off, default=Fraction(mean)), Fraction(mean)]
        return next((one.limit_denominator(1001) for one in best if off(one) <= self.base), None)

    def seconds(self, index: int) -> float:
        """Return when a frame is shown."""
        return float(self.times[index] * self.base)

    def duration(self, index: int) -> int:
        """Return how long a frame is shown, in units of ``base``."""
        return self.times[index + 1] - self.times[index] if index + 1 < len(self.times) else self.last

    def end(self, index: int) -> int:
        """Return until when a frame is shown, in units of ``base``."""
        return self.times[index] + self.duration(index)

    def shown_for(self, index: int) -> float:
        """Return how long a frame is shown, in seconds."""
        return float(self.duration(index) * self.base)

    def delays(self, unit: Fraction) -> list[int]:
        """Return how long each frame is shown in whole units, at least one.

        The ends of the frames are rounded, so that errors do not add up.

        Parameters
        ----------
        unit
            In seconds.

        >>> Schedule(range(6), Fraction(1, 30), 1, 1).delays(Fraction(1, 100))
        [3, 4, 3, 3, 4, 3]
        """
        ends = [round((time - self.times[0]) * self.base / unit) for time in self.times[1:]]
        ends.append(round((self.times[-1] + self.last - self.times[0]) * self.base / unit))
        marks = [0]
        for end in ends:
            marks.append(max(end, marks[-1] + 1))
        return [b - a for a, b in pairwise(marks)]


def schedule(axis: Axis) -> Schedule:
    """Return when the frames along a time axis are shown.

    Without known positions the rate is `RATE`.  Frames without a position, in the padding or between others, take one:
    they follow at the usual step, or divide the time between their neighbours evenly.

    >>> schedule(Axis("T", 3, Listed((0, None, 10), Fraction(1, 100), "s", end=20))).times
    (0, 5, 10)
    >>> schedule(Axis("T", 3, Listed((None, 0, 10), Fraction(1, 100), "s", end=25))).times
    (-10, 0, 10)
    """
    positions = axis.positions
    if isinstance(positions, Listed) and any(tick is not None for tick in positions.ticks):
        return _listed(positions)
    spacing = abs(positions.spacing) if isinstance(positions, Even) else 1 / RATE
    return Schedule(range(axis.size), spacing, 1, 1)


def _listed(positions: Listed) -> Schedule:
    known = [(index, Fraction(tick)) for index, tick in enumerate(positions.ticks) if tick is not None]
    (first, begin), (last, end) = known[0], known[-1]
    steps = sorted((b - a) / (j - i) for (i, a), (j, b) in pairwise(known))
    after = positions.end - end if positions.end is not None else None
    step = steps[len(steps) // 2] if steps else after or 1 / RATE / positions.tick
    places = [begin - step * back for back in range(first, 0, -1)]
    for (i, a), (j, b) in pairwise(known):
        places += [a + (b - a) * (index - i) / (j - i) for index in range(i, j)]
    places += [end + step * on for on in range(len(positions.ticks) - last)]
    after = step if after is None else after
    parts = lcm(*(place.denominator for place in (*places, step, after)))
    times = tuple(int(place * parts) for place in places)
    return Schedule(times, positions.tick / parts, int(step * parts), int(after * parts))
