"""The Python verbs: the same jobs as in the shell, on arrays; ``motion`` on clips too.

What only ``motion`` needs is imported in it, so that the others do not wait for it.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from convcli.common.choices import Channels, EngineName, Nan, Precision, parse_choice
from convcli.common.errors import UsageError
from convcli.data.arrays import ArraySource
from convcli.data.info import ITEMS, SPACE, Colour
from convcli.execution.items import item_of
from convcli.execution.pipeline import Pipeline, Resources
from convcli.geometry.axes import parse_numbers
from convcli.geometry.grammar import parse_layers, parse_pool, parse_size
from convcli.geometry.layers import format_size, trace
from convcli.geometry.padding import Padding, parse_pad_mode, parse_padding
from convcli.jobs.bind import Settings
from convcli.jobs.job import default_rank, draft
from convcli.kernel import load_kernel
from convcli.kernel.model import Kernel
from convcli.pixels.ranges import parse_range

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from convcli.detection.events import Box, Event
    from convcli.media.clip_view import Part
    from convcli.media.options import ReadOptions

Numbers = int | Sequence[int]

_COLOURS_OF_CLIPS = {1: Colour.GREY, 2: Colour.GREY_ALPHA, 3: Colour.RGB, 4: Colour.RGBA}


def filter(
    array: ArrayLike,
    kernel: str | Kernel | ArrayLike | Sequence[str | Kernel | np.ndarray] | None = None,
    *,
    stride: Numbers | None = None,
    padding: str | int | Sequence[int | tuple[int, int]] | None = None,
    pad_mode: str | None = None,
    pad_value: float | None = None,
    dilation: Numbers | None = None,
    bias: float | Sequence[float] | None = None,
    flip: bool | None = None,
    transpose: bool = False,
    output_padding: Numbers = 0,
    pool: str | None = None,
    range: str = "float",
    channels: str = "each",
    axis: str | None = None,
    axes: str | None = None,
    nan: str = "propagate",
    dtype: str = "auto",
    engine: str = "auto",
    device: str = "cpu",
    threads: int | None = None,
) -> np.ndarray:
    """Filter an array; every option means what it means in the shell.

    Parameters
    ----------
    array : array_like
        Numbers in 1 to 4 dimensions (6 with ``axes``).
    kernel : str, Kernel, array_like, or a list of these
        A name, ``name:parameters``, a file or inline text; a Kernel; weights (up to three dimensions are
        space, four are out × in × y × x).  A list of names or Kernels is applied in turn.
    padding : str, int, or one for each axis
        A name such as ``same``, a number, or pairs (before, after).  Without it and without ``pad_mode``:
        same size with replicated edges.
    range : str
        ``float`` keeps the numbers; ``clip`` and others give the input's integer type.
    axes : str
        Letters of the array's dimensions, e.g. ``YXC``; by default every dimension is space.  ``N`` are independent
        items, each filtered alone.

    Returns
    -------
    ndarray
        Axes in the input's order; a bank's maps are a new first dimension, or take the place of the channels
        that they sum over.

    Raises
    ------
    convcli.common.errors.UsageError
        Options that make no sense for this array, unknown names.

    >>> import numpy as np
    >>> filter([-1, 4, 11, 14, 21, 25, 30], "smooth3", padding="valid").round(2).tolist()
    [4.62, 9.57, 15.18, 19.8, 25.08]
    >>> filter(np.eye(3, dtype="uint8") * 90, "box:3", range="clip").dtype
    dtype('uint8')
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads {threads} is not possible: give 1 or more")
    data = _real(array, "cannot be filtered")
    source = ArraySource(data, _axes(data.shape, axes))
    info = item_of(source.info)
    settings = Settings(
        stride=_numbers(stride),
        padding=_padding(padding),
        pad_mode=None if pad_mode is None else parse_pad_mode(pad_mode),
        pad_value=pad_value,
        dilation=_numbers(dilation),
        bias=None if bias is None else _bias(bias),
        flip=flip,
        transposed=transpose,
        output_padding=_numbers(output_padding) or (0,),
        axis=axis,
        pool=None if pool is None else parse_pool(pool),
    )
    job = draft(
        info,
        [_kernel(one, default_rank(info)) for one in _several(kernel)],
        settings,
        channels=parse_choice(Channels, channels, "channels"),
        range=parse_range(range),
        precision=parse_choice(Precision, dtype, "dtype"),
        nan=parse_choice(Nan, nan, "nan"),
        holds=("float32", "float64", info.dtype),
        keeps_numbers=True,
    )
    resources = Resources(parse_choice(EngineName, engine, "engine"), device, threads)
    return Pipeline(job, source, resources).array()


def shape(size: str, *layers: str) -> str:
    """Return the output size of layers, as ``convcli shape -q`` prints it.

    Parameters
    ----------
    size : str
        ``[C@]SIZE``, e.g. ``3@32x32``.
    *layers : str
        E.g. ``conv:6@5x5``, ``pool:max:2``.

    >>> shape("28x28", "conv:5,s=2,p=2", "pool:max:2")
    '7x7'
    """
    channels, sizes = parse_size(size)
    rows = trace(parse_layers(layers), channels, sizes)
    return rows[-1].output if rows else format_size(channels, sizes)


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
    from convcli.common.numbers import parse_rate
    from convcli.detection.area import Area, parse_area
    from convcli.detection.detector import Watch, Watching, motion_kernel
    from convcli.detection.events import Detector, Rules
    from convcli.media.options import ReadOptions
    from convcli.media.timing import schedule

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
    with closing(_open_clip(clip, options, region)) as source:
        watch = Watch(source, how, source.keys)
        times = schedule(source.info.axis("T"))
        detector = Detector(Rules(area.pixels(watch.shape[0] * watch.shape[1]), min_duration, merge_gap))
        drawn = np.empty((len(watch.frames) if picture else 0, *watch.shape), watch.dtype)
        for index, sight in enumerate(watch.sights(watch.threshold())):
            detector.add(
                watch.frames[index], *watch.shown(times, index), watch.placed(sight.look, source.corner)
            )
            if picture:
                drawn[index] = watch.picture(sight.values)
        detector.close()
    return (detector.events, drawn) if picture else detector.events


def _real(array: Any, refusal: str) -> np.ndarray:
    """Return an array of integers or floats; booleans become 0 and 1."""
    if isinstance(array, np.ma.MaskedArray):
        raise UsageError(f"a masked array {refusal}: fill it, e.g. with NaN")
    data = np.asarray(array)
    if data.dtype.kind == "b":
        data = data.astype(np.uint8)
    if data.dtype.kind not in "iuf":
        raise UsageError(f"an array of type {data.dtype} {refusal}: give real numbers")
    return data


def _open_clip(clip: ArrayLike | str | PathLike[str], options: ReadOptions, region: Box | None) -> Part:
    from convcli.media.clip_view import Part, open_clip
    from convcli.media.opening import timed

    if isinstance(clip, str | PathLike):
        return open_clip(fspath(clip), options, region)
    data = _real(clip, "is no clip")
    axes = (options.axes or {3: "TYX", 4: "TYXC"}.get(data.ndim, "")).upper()
    if len(axes) != data.ndim or sorted(axes.replace("C", "")) != sorted("TYX") or axes.count("C") > 1:
        raise UsageError(
            f"an array of shape {data.shape} is no clip: give frames (T, Y, X) or (T, Y, X, C), or axes='CTYX'"
        )
    source = ArraySource(data, axes)
    if source.info.channels in _COLOURS_OF_CLIPS and "C" in axes:
        source.info = replace(source.info, colour=_COLOURS_OF_CLIPS[source.info.channels])
    if options.rate is not None:
        source.info = timed(source.info, options.rate)
    return Part(source, region)


def _axes(shape: tuple[int, ...], axes: str | None) -> str:
    if axes is None:
        if not 1 <= len(shape) <= len(SPACE):
            raise UsageError(f"an array of shape {shape} needs its axes named, such as axes='YXC'")
        if len(shape) >= 3 and shape[-1] <= 4:
            likely = SPACE[-(len(shape) - 1) :] + "C"
            raise UsageError(
                f"an array of shape {shape} may end in channels: say axes='{likely}', or '{SPACE[-len(shape) :]}'"
            )
        return SPACE[-len(shape) :]
    letters = axes.upper()
    if (
        len(letters) != len(shape)
        or len(set(letters)) != len(letters)
        or set(letters) - set(ITEMS + SPACE + "C")
    ):
        raise UsageError(
            f"axes {axes!r} do not name the {len(shape)} dimensions of shape {shape}: one of N, C, T, Z, Y, X each"
        )
    return letters


def _several(kernel: Any) -> list[Any]:
    if kernel is None:
        return []
    if isinstance(kernel, list | tuple) and kernel and all(isinstance(one, str | Kernel) for one in kernel):
        return list(kernel)
    return [kernel]


def _kernel(kernel: Any, rank: int) -> Kernel:
    if isinstance(kernel, Kernel):
        return kernel
    return load_kernel(kernel, rank) if isinstance(kernel, str) else Kernel.from_array(kernel)


def _numbers(value: Numbers | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_numbers(value, "number")
    try:
        return (operator.index(value),)  # type: ignore[arg-type]
    except TypeError:
        return tuple(operator.index(one) for one in value)  # type: ignore[union-attr]


def _padding(value: Any) -> tuple[Padding, ...] | None:
    if value is None:
        return None
    if isinstance(value, str):
        return parse_padding(value)
    if hasattr(value, "__index__"):
        return ((operator.index(value),) * 2,)
    return tuple(_one_padding(one) for one in value)


def _one_padding(value: Any) -> Padding:
    if isinstance(value, str):
        return parse_padding(value)[0]
    if hasattr(value, "__index__"):
        return (operator.index(value),) * 2
    if len(value) != 2:
        raise UsageError(f"padding {value!r} is no pair: give (before, after), a number or a name")
    return operator.index(value[0]), operator.index(value[1])


def _bias(value: Any) -> tuple[float, ...]:
    try:
        numbers = np.atleast_1d(np.asarray(value, float))
    except (TypeError, ValueError):
        raise UsageError(f"bias {value!r} is no number, nor one for each map") from None
    return tuple(numbers.tolist())


__all__ = ["filter", "motion", "shape"]
