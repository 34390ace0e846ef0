"""The Python verb ``motion``: events in an array or a clip; the job of the shell's, with nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from convcli.common.choices import parse_choice
from convcli.common.errors import UsageError
from convcli.common.numbers import parse_rate
from convcli.data.arrays import ArraySource
from convcli.data.info import Colour
from convcli.detection.area import Area, parse_area
from convcli.detection.detector import Watch, Watching, motion_kernel
from convcli.detection.events import Box, Detector, Event, Rules
from convcli.kernel.model import Kernel
from convcli.media.clip_view import Part, open_clip
from convcli.media.opening import timed
from convcli.media.options import ReadOptions
from convcli.media.timing import clip_of
from convcli.plan.choose import EngineName

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

_COLOURS = {1: Colour.GREY, 2: Colour.GREY_ALPHA, 3: Colour.RGB, 4: Colour.RGBA}


@overload
def motion(
    clip: ArrayLike | str | PathLike[str], kernel: str | Kernel = ..., *, picture: Literal[False] = ...,
    threshold: float | str = ..., min_area: float | str = ..., min_duration: float = ..., merge_gap: float = ...,
    region: Box | None = ..., stride: Sequence[int] | None = ..., denoise: int = ..., stabilise_light: bool = ...,
    axes: str | None = ..., fps: float | str | None = ..., engine: str = ...,
) -> list[Event]: ...  # fmt: skip
@overload
def motion(
    clip: ArrayLike | str | PathLike[str], kernel: str | Kernel = ..., *, picture: Literal[True],
    threshold: float | str = ..., min_area: float | str = ..., min_duration: float = ..., merge_gap: float = ...,
    region: Box | None = ..., stride: Sequence[int] | None = ..., denoise: int = ..., stabilise_light: bool = ...,
    axes: str | None = ..., fps: float | str | None = ..., engine: str = ...,
) -> tuple[list[Event], np.ndarray]: ...  # fmt: skip
def motion(
    clip: ArrayLike | str | PathLike[str],
    kernel: str | Kernel = "motion",
    *,
    picture: bool = False,
    threshold: float | str = "auto",
    min_area: float | str = "0.02%",
    min_duration: float = 0.1,
    merge_gap: float = 0.25,
    region: Box | None = None,
    stride: Sequence[int] | None = None,
    denoise: int = 1,
    stabilise_light: bool = False,
    axes: str | None = None,
    fps: float | str | None = None,
    engine: str = "auto",
) -> list[Event] | tuple[list[Event], np.ndarray]:
    """Find motion in a clip; every option means what it means in the shell.

    Parameters
    ----------
    clip : array_like, str or path
        Frames (T, Y, X) or (T, Y, X, C), or a file: a clip, an animation, ``.npy``, ``frames/%04d.png``.
    kernel : str or Kernel
        Of rank 3, with one output.
    picture : bool
        Return also what ``convcli motion`` draws.
    threshold : float or "auto"
        Grey levels of 255; by default from the clip's noise.
    min_area : float or str
        Pixels, or a share of the picture such as ``"0.1%"``.
    min_duration, merge_gap : float
        Seconds.
    region : (x, y, width, height), optional
        Look only there.
    stride : sequence of int, optional
        Steps along time, y and x.
    denoise : int
        The mean of so many frames comes first.
    stabilise_light : bool
        Subtract the mean change of each frame.
    axes : str, optional
        Letters of an array's dimensions in another order, e.g. ``CTYX``.
    fps : float or str, optional
        Frames a second of what carries no time: arrays, numbered pictures; 25 without it.

    Returns
    -------
    list of Event
        In order of time; times in seconds, frames counted from 0, boxes (x, y, width, height) in pixels.
    ndarray
        With ``picture``: (T, Y, X) of 8 or 16 bits, one picture for each result; rest is mid grey.

    Raises
    ------
    convcli.common.errors.UsageError
        For options that make no sense, and for what is no clip.
    convcli.common.errors.ConvError
        For a file that cannot be read.

    >>> import numpy as np
    >>> clip = np.zeros((20, 48, 64), np.uint8)
    >>> clip[8:12, 20:30, 20:30] = 200
    >>> [(event.start_frame, event.end_frame, event.box) for event in motion(clip)]
    [(8, 12, (19, 19, 12, 12))]
    """
    if denoise < 1:
        raise UsageError(f"denoise {denoise} is not possible: give a number of frames from 1 on")
    if min_duration < 0 or merge_gap < 0 or (not isinstance(threshold, str) and threshold < 0):
        raise UsageError("threshold, min_duration and merge_gap: give 0 or more")
    if isinstance(threshold, str) and threshold != "auto":
        raise UsageError(f"threshold {threshold!r}: give auto, or grey levels of 255")
    how = Watching(
        motion_kernel(kernel),
        None if isinstance(threshold, str) else float(threshold),
        None if stride is None else tuple(stride),
        denoise,
        stabilise_light,
        parse_choice(EngineName, engine, "engine"),
    )
    area = parse_area(min_area) if isinstance(min_area, str) else Area(float(min_area), percent=False)
    rate = None if fps is None else parse_rate(str(fps))
    options = ReadOptions(axes=axes, all_frames=True, grey=True, rate=rate)
    with closing(_open(clip, options, region)) as source:
        watch = Watch(source, how, source.keys)
        times = clip_of(source.info.companions)
        detector = Detector(Rules(area.pixels(watch.shape[0] * watch.shape[1]), min_duration, merge_gap))
        drawn = np.empty((len(watch.frames) if picture else 0, *watch.shape), watch.dtype)
        engine_of = watch.engine()
        for index, sight in enumerate(watch.sights(engine_of, watch.threshold(engine_of))):
            detector.add(
                watch.frames[index], *watch.shown(times, index), watch.placed(sight.look, source.corner)
            )
            if picture:
                drawn[index] = watch.picture(sight.values)
        detector.close()
    return (detector.events, drawn) if picture else detector.events


def _open(clip: ArrayLike | str | PathLike[str], options: ReadOptions, region: Box | None) -> Part:
    if isinstance(clip, str | PathLike):
        return open_clip(fspath(clip), options, region)
    data = np.asarray(clip)
    if data.dtype.kind == "b":
        data = data.astype(np.uint8)
    if data.dtype.kind not in "iuf":
        raise UsageError(f"an array of type {data.dtype} is no clip: give real numbers")
    axes = (options.axes or {3: "TYX", 4: "TYXC"}.get(data.ndim, "")).upper()
    if len(axes) != data.ndim or sorted(axes.replace("C", "")) != sorted("TYX") or axes.count("C") > 1:
        raise UsageError(
            f"an array of shape {data.shape} is no clip: give frames (T, Y, X) or (T, Y, X, C), or axes='CTYX'"
        )
    source = ArraySource(data, axes)
    if source.info.channels in _COLOURS and "C" in axes:
        source.info = replace(source.info, colour=_COLOURS[source.info.channels])
    if options.rate is not None:
        source.info = timed(source.info, options.rate)
    return Part(source, region)
