"""What travels with the frames of a clip: when each is shown, how it was coded, and what else is in the file.

Plain facts, shared by everything that reads or writes clips.  No codec is opened here, no pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

from convcli.common.frozen import frozen
from convcli.data.info import Companions

RATE = Fraction(25)  # frames a second, for arrays and folders of pictures: they carry no time
UNKNOWN = 2  # "unspecified" in the numbers of ITU-T H.273, which all containers use


@frozen
class Tags:
    """How code values are meant, in the numbers of ITU-T H.273: primaries, transfer, matrix; 1 limited, 2 full."""

    primaries: int = UNKNOWN
    transfer: int = UNKNOWN
    matrix: int = UNKNOWN
    range: int = 0


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
    """

    codec: str
    pixels: str
    tags: Tags
    aspect: Fraction | None = None

    @property
    def plain(self) -> str:
        """The pixel format without what its old names say about the range: that is a tag."""
        return self.pixels.replace("yuvj", "yuv")


@frozen
class Clip:
    """The companions of a clip's frames.

    Attributes
    ----------
    times
        When each frame is shown, in units of ``base`` seconds; empty where frames correspond to none of the input.
    base
        Seconds.
    step
        The usual time between frames, in units of ``base``.
    last
        How long the last frame is shown, in units of ``base``.
    coding
        ``None`` for what was no video.
    reopen
        Opens the file once more, for its sound and subtitles.
    first
        The number of the first frame, where each is a file with a number.
    loop
        How often an animation runs, 0 is for ever, ``None`` is once.
    """

    times: tuple[int, ...]
    base: Fraction
    step: int
    last: int
    coding: Coding | None = None
    reopen: Callable[[], Any] | None = None
    first: int = 1
    loop: int | None = 0

    def take(self, positions: Sequence[int | None]) -> Clip:
        """Return the times of new frames; those outside the data continue at the usual step.

        >>> Clip((0, 10, 25), Fraction(1, 100), 10, 10).take([1, 2]).times
        (10, 25)
        >>> Clip((0, 10, 25), Fraction(1, 100), 10, 10).take([None, 0, 1, 2, 2]).times
        (-10, 0, 10, 25, 35)
        """
        begin = next((index for index, position in enumerate(positions) if position is not None), 0)
        first = max(self.first + (positions[begin] or 0) - begin, 0) if positions else self.first
        if not self.times or not positions:
            return replace(self, first=first)
        start, stop = _longest_rise(positions)
        inside = [position for position in positions[start:stop] if position is not None]
        if not inside:
            return self.drop()
        stride = max((b - a for a, b in pairwise(inside)), default=1)
        times = [self.times[position] for position in inside]
        step = self.step * stride
        before = (times[0] - step * back for back in range(start, 0, -1))
        after = (times[-1] + step * on for on in range(1, len(positions) - stop + 1))
        end = (*self.times, self.times[-1] + self.last)[min(inside[-1] + stride, len(self.times))]
        last = step if stop < len(positions) else end - times[-1]
        return replace(self, times=(*before, *times, *after), step=step, last=last, first=first)

    def drop(self) -> Clip:
        """Return a clip of constant rate, without sound: its frames correspond to none of these."""
        return replace(self, times=(), last=self.step, reopen=None)

    def time(self, index: int) -> int:
        """Return when a frame is shown, in units of ``base``."""
        return self.times[index] if index < len(self.times) else index * self.step

    def seconds(self, index: int) -> float:
        return float(self.time(index) * self.base)

    def duration(self, index: int) -> int:
        """Return how long a frame is shown, in units of ``base``."""
        if index + 1 < len(self.times):
            return self.times[index + 1] - self.times[index]
        return self.last

    def shown_for(self, index: int) -> float:
        """Return how long a frame is shown, in seconds."""
        return float(self.duration(index) * self.base)

    def animation(self) -> Frames:
        """Return the same times as an animation's: durations in milliseconds.

        >>> Clip((0, 1, 3), Fraction(1, 10), 1, 1).animation().durations
        (100, 200, 100)
        """
        usual = round(self.step * self.base * 1000)
        ends = [*self.times[1:], self.times[-1] + self.last] if self.times else []
        marks = [round(time * self.base * 1000) for time in (*self.times[:1], *ends)]
        return Frames(tuple(b - a for a, b in pairwise(marks)), usual, self.loop)


def _longest_rise(positions: Sequence[int | None]) -> tuple[int, int]:
    """Return the bounds of the longest stretch of growing positions: what padding mirrors lies outside it."""
    best, start = (0, 0), 0
    for index in range(1, len(positions) + 1):
        here, before = positions[index] if index < len(positions) else None, positions[index - 1]
        if before is None:
            start = index
        elif here is None or here <= before:
            best, start = max(best, (start, index), key=lambda span: span[1] - span[0]), index
    return best


def constant(rate: Fraction | None = None, first: int = 1) -> Clip:
    """Return the companions of frames that carry no time; ``first`` is the number of the first."""
    return Clip((), 1 / (rate or RATE), 1, 1, first=first)


def clip_of(companions: Companions | None) -> Clip:
    """Return what any frames carry as a clip's companions."""
    if isinstance(companions, Clip):
        return companions
    if not isinstance(companions, Frames):
        return constant()
    if not companions.durations:
        return Clip((), Fraction(1, 1000), companions.usual, companions.usual, loop=companions.loop)
    times = tuple(accumulate(companions.durations[:-1], initial=0))
    usual = sorted(companions.durations)[len(companions.durations) // 2]
    return Clip(times, Fraction(1, 1000), usual, companions.durations[-1], loop=companions.loop)


FRAME_DURATION = 100  # milliseconds, where a file says nothing


@frozen
class Frames:
    """How long each frame of an animation is shown.

    Attributes
    ----------
    durations
        Milliseconds, one for each frame; empty where they no longer correspond.
    usual
        Milliseconds for frames without a duration of their own.
    loop
        How often the animation runs, 0 is for ever, ``None`` is once.
    """

    durations: tuple[int, ...]
    usual: int = FRAME_DURATION
    loop: int | None = None

    def take(self, positions: Sequence[int | None]) -> Frames:
        """Return the durations of new frames; what a stride leaves out is added to the frame before.

        >>> Frames((10, 20, 30, 40)).take([0, 2]).durations
        (30, 70)
        >>> Frames((10, 20)).take([None, 0, 1]).durations
        (100, 10, 20)
        """
        inside = [position for position in positions if position is not None]
        step = max((b - a for a, b in pairwise(inside)), default=1)
        taken = (
            self.usual if position is None else sum(self.durations[position : position + max(step, 1)])
            for position in positions
        )
        return replace(self, durations=tuple(taken) if self.durations else ())

    def drop(self) -> Frames:
        """Return the mean duration, for frames that correspond to none of these."""
        mean = round(sum(self.durations) / len(self.durations)) if self.durations else self.usual
        return replace(self, durations=(), usual=mean)

    def duration(self, index: int) -> int:
        """Return the milliseconds that a frame is shown."""
        return self.durations[index] if index < len(self.durations) else self.usual
