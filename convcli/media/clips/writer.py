"""Writing clips: frames are coded as they come, with their times; sound and subtitles are copied alongside.

The encoder and the pixel format come from the options, the source and the container.
"""

import ctypes
import difflib
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import IO, Any

import av
import av.error
import numpy as np
from av.codec.context import Flags

from convcli.common import ConvError, UsageError, frozen
from convcli.data import Box, Colour, Info, Sink
from convcli.media.clips.convert import ARRAYS, Converter, array_format, frame_of
from convcli.media.clips.decoder import carries_alpha
from convcli.media.clips.tracks import Tracks, Written
from convcli.media.options import VideoOptions, WriteOptions
from convcli.media.shared import colour_of
from convcli.media.timing import UNKNOWN, Coding, Tags, clip_of, schedule

MUXERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm", "avi": "avi", "ts": "mpegts",
           "y4m": "yuv4mpegpipe"}  # fmt: skip
# Containers and codecs that have a frame rate and no times
_CONSTANT = ("avi", "y4m", "mpeg1video", "mpeg2video")
_PARTS = 65535  # of a second, in MPEG-4 part 2 at most
_LIMITED, _FULL = 1, 2
BT601 = 5
JPEG = ("mjpeg", "ljpeg")

CRF = 17  # x264 and x265: no loss that is seen
_ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "h265": "libx265",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "prores": "prores_ks",
}
_USUAL = {"webm": "libvpx-vp9", "y4m": "rawvideo"}  # of a container; all others H.264
_CONTAINS = {  # codecs that a source's are kept for
    "mp4": ("h264", "hevc", "av1", "vp9", "mpeg4"),
    "mov": ("h264", "hevc", "prores", "mjpeg", "mpeg4", "png", "qtrle"),
    "mkv": ("h264", "hevc", "av1", "vp9", "vp8", "ffv1", "mpeg4", "prores", "huffyuv", "ffvhuff"),
    "webm": ("vp9", "vp8", "av1"),
    "avi": ("h264", "mpeg4", "ffv1", "huffyuv", "ffvhuff", "utvideo", "mjpeg"),
    "ts": ("h264", "hevc"),
}
LOSSLESS = ("ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "qtrle")
_SPEEDS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
           "placebo")  # fmt: skip
_PRESETS = {"libx264": _SPEEDS, "libx265": _SPEEDS, "libsvtav1": tuple(map(str, range(14)))}
_QUALITY = {"libx264": 51, "libx265": 51, "libsvtav1": 63, "libvpx-vp9": 63, "libvpx": 63}  # the least  # fmt: skip
_EVEN = ("libx264", "libx265", "mpeg4", "libsvtav1")  # halved chroma needs even sizes
_NARROW = 64  # pixels: of narrower clips x265's look ahead writes behind its memory (4.1, up to 48)
_BACKWARDS = ("libx264", "libx265", "mpeg4")  # whose frames may refer to later ones
_RAW = (  # of lossless codecs, for arrays: colour, deep, names in the order of preference
    (Colour.GREY, False, ("gray", "gbrp", "bgr0", "rgb24", "bgra")),
    (Colour.GREY, True, ("gray16le", "gbrp16le", "rgb48le", "rgb48be")),
    (Colour.RGB, False, ("gbrp", "bgr0", "rgb24", "bgra")),
    (Colour.RGB, True, ("gbrp16le", "rgb48le", "rgb48be")),
    (Colour.RGBA, False, ("gbrap", "bgra", "rgba", "argb")),
    (Colour.RGBA, True, ("gbrap16le", "rgba64le", "rgba64be")),
)


@frozen
class Encoding:
    """What an encoder is told; ``array`` is FFmpeg's name of the arrays' format."""

    codec: str
    pixels: str
    array: str
    options: dict[str, str]
    notes: tuple[str, ...] = ()


def choose(container: str, info: Info, coding: Coding | None, options: VideoOptions) -> Encoding:
    """Choose how a clip is coded.

    Parameters
    ----------
    container
        A format of the registry.
    coding
        How the source was coded; ``None`` for arrays.

    Raises
    ------
    UsageError
        For an unknown encoder or pixel format, an option that the encoder does not have, data that are not a clip.
    """
    if (
        info.letters not in ("TYX", "TYXC")
        or info.colour not in ARRAYS
        or info.dtype not in ("uint8", "uint16")
    ):
        raise UsageError(
            f"{container.upper()} holds frames of whole numbers, grey or colour, "
            f"not {info.dtype} of the axes {info.letters}: give --range, or write .npy"
        )
    codec = _codec(container, coding, options.codec)
    formats = [form.name for form in av.Codec(codec, "w").video_formats or ()]
    grey = container == "y4m" and info.colour is Colour.GREY  # the one kind of Y4M that is no YUV
    notes: list[str] = []
    deep = info.dtype == "uint16"
    if options.pixels is not None:
        pixels = _asked(codec, options.pixels, formats)
    elif options.planes and coding is not None and coding.plain in formats and not _uneven(codec, info):
        pixels = coding.plain
    elif codec in LOSSLESS and ((container != "y4m" and not options.planes) or grey):
        names = next(names for colour, is_deep, names in _RAW if (colour, is_deep) == (info.colour, deep))
        pixels = next((name for name in names if name in formats or not formats), "")
        if not pixels:
            pixels = formats[0]
            notes.append(f"{codec} does not hold these numbers exactly: {pixels} is written")
    else:
        pixels = _like(info, coding, codec, formats, notes, carries_alpha(container, codec))
        if coding and _chroma(av.VideoFormat(pixels)) < _chroma(av.VideoFormat(coding.pixels)):
            less = f"{pixels} instead of {coding.pixels}"
            notes.append(f"colour has a lower resolution ({less}): {codec} holds no more")
    tuning = _tuning(codec, options, coding)
    if codec == "libx265" and info.size("X") < _NARROW:
        tuning["x265-params"] += ":cutree=0"
    if container == "avi" and codec in _BACKWARDS:
        tuning["bf"] = "0"  # such frames come in another order, and AVI has no times that would tell it
    if info.colour.has_alpha:
        if not carries_alpha(container, codec):
            notes.append(f"the alpha channel is left out: {codec} in {container.upper()} holds none")
        elif not any(component.is_alpha for component in av.VideoFormat(pixels).components):
            notes.append(f"the alpha channel is left out: {codec} as {pixels} holds none")
        elif codec == "libvpx":
            tuning["auto-alt-ref"] = "0"  # with such frames it takes no alpha
    if coding is not None:
        notes += _described(container, codec, pixels, coding, tuning)
    return Encoding(codec, pixels, array_format(info.colour, deep, pixels), tuning, tuple(notes))


_DESCRIBING = ("mp4", "mov", "mkv", "webm")  # containers that hold colour tags for any codec
_LIGHT = {  # of encoders: the option, the words for the display and for the content, parts of the display's numbers
    "libx264": ("x264-params", "mastering-display", "cll", (50_000, 10_000)),
    "libx265": ("x265-params", "master-display", "max-cll", (50_000, 10_000)),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", (0, 0)),
}
_SAYING = ("libx264", "libx265", "libsvtav1", "prores_ks")  # encoders that write them themselves


def _described(
    container: str, codec: str, pixels: str, coding: Coding, tuning: dict[str, str]
) -> Iterator[str]:
    """Add what the encoder is told of colour and light, and yield a line for what nothing holds."""
    where = f"{codec} in {container.upper()} holds none"
    tags, light = coding.tags, coding.light
    said = {tags.primaries, tags.transfer, tags.matrix} - {UNKNOWN, 0}
    if (
        (said or (tags.range == 2 and container != "y4m"))
        and container not in _DESCRIBING
        and codec not in _SAYING
    ):
        yield f"the colour tags are left out: {where}"
    if coding.chroma and _chroma(av.VideoFormat(pixels)) == "420":
        tuning["chroma_sample_location"] = coding.chroma
        sited = container in ("mkv", "webm") or (container, pixels) == ("y4m", "yuv420p")
        if codec not in _SAYING[:3] and not sited:
            yield f"the place of the colour samples ({coding.chroma}) is left out: {where}"
    if light is None:
        return
    if codec not in _LIGHT:
        yield f"the light of the mastering display and of the content is left out: {where}"
        return
    parameters, display, content, parts = _LIGHT[codec]
    told = [tuning[parameters]] if parameters in tuning else []
    told += [f"{display}={light.mastering(*parts)}"] if light.display else []
    told += [f"{content}={light.content[0]},{light.content[1]}"] if light.content else []
    tuning[parameters] = ":".join(told)


def _codec(container: str, coding: Coding | None, asked: str | None) -> str:
    if asked is not None:
        codec = _ENCODERS.get(asked, asked)
        try:
            if av.Codec(codec, "w").type == "video":
                return codec
        except ValueError:  # av.codec.codec.UnknownCodecError
            pass
        near = difflib.get_close_matches(asked, [*_ENCODERS, *_ENCODERS.values(), *LOSSLESS], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"codec {asked!r} is not a video encoder here{hint} (h264, hevc, vp9, av1, ffv1, prores, mpeg4...)"
        )
    if coding is not None and coding.codec in _CONTAINS.get(container, ()):
        return _ENCODERS.get(coding.codec, coding.codec)
    return _USUAL.get(container, "libx264")


def _asked(codec: str, pixels: str, formats: list[str]) -> str:
    if formats and pixels not in formats:
        near = difflib.get_close_matches(pixels, formats, n=8, cutoff=0.3) or formats[:8]
        raise UsageError(f"pixel format {pixels!r}: {codec} takes {', '.join(near)}")
    try:
        av.VideoFormat(pixels)
    except ValueError:
        raise UsageError(f"pixel format {pixels!r} is unknown; usual are yuv420p and yuv444p") from None
    return pixels


def _like(
    info: Info, coding: Coding | None, codec: str, formats: list[str], notes: list[str], alpha: bool
) -> str:
    """Return the pixel format that is nearest to the source's."""
    source = av.VideoFormat(coding.pixels) if coding else None
    chroma = _chroma(source) if source else "420"
    bits = max(component.bits for component in source.components) if source else 16
    bits = bits if info.dtype == "uint16" else 8
    if chroma != "444" and _uneven(codec, info):
        notes.append(
            f"{info.size('X')} x {info.size('Y')} is odd and {codec} halves colour only of even sizes: "
            "colour is written whole (4:4:4)"
        )
        chroma = "444"
    alphas = ("a", "") if info.colour.has_alpha and alpha else ("",)
    depths = sorted({8, 10, 12, 14, 16}, key=lambda depth: (depth < bits, abs(depth - bits)))
    for letter in alphas:
        for depth in depths:
            for sub in dict.fromkeys((chroma, "422" if chroma == "420" else "444", "444", "420")):
                name = f"yuv{letter}{sub}p" + ("" if depth == 8 else f"{depth}le")
                if name in formats or not formats:
                    if depth < bits:
                        notes.append(f"{bits} bits a sample are rounded to {depth}: {codec} holds no more")
                    return name
    return formats[0]


def _uneven(codec: str, info: Info) -> bool:
    """Say whether halved chroma is too much for an encoder: it takes even sizes and these are not."""
    return codec in _EVEN and bool(info.size("X") % 2 or info.size("Y") % 2)


def _chroma(form: av.VideoFormat) -> str:
    """Return how colour is sampled: 444, 422 or 420.

    >>> _chroma(av.VideoFormat("yuv422p10le")), _chroma(av.VideoFormat("gray")), _chroma(av.VideoFormat("rgb24"))
    ('422', '420', '444')
    """
    if len(form.components) == 1 and not form.has_palette:
        return "420"
    if form.is_rgb or form.has_palette:
        return "444"
    half = form.chroma_width(64) < 64, form.chroma_height(64) < 64
    return {(True, True): "420", (True, False): "422"}.get(half, "444")


def _tuning(codec: str, options: VideoOptions, coding: Coding | None) -> dict[str, str]:
    tuning: dict[str, str] = {}
    if options.crf is not None and codec not in _QUALITY:
        raise UsageError(f"--crf {options.crf:g}: {codec} takes none; it is for {', '.join(_QUALITY)}")
    if options.crf is not None and not 0 <= options.crf <= _QUALITY[codec]:
        raise UsageError(f"--crf {options.crf:g}: {codec} has 0, the best, to {_QUALITY[codec]}")
    if options.preset is not None and codec not in _PRESETS:
        raise UsageError(f"--preset {options.preset}: {codec} has none; they are for {', '.join(_PRESETS)}")
    if options.preset is not None and options.preset not in _PRESETS[codec]:
        raise UsageError(f"--preset {options.preset!r}: {codec} has {', '.join(_PRESETS[codec])}")
    if codec in _QUALITY:
        usual = CRF if codec in ("libx264", "libx265") else 24
        tuning["crf"] = f"{usual if options.crf is None else options.crf:g}"
    if codec == "libx265":
        tuning["x265-params"] = "log-level=error"
    if codec in ("libvpx-vp9", "libvpx"):
        tuning |= {"b": "0", "row-mt": "1", "cpu-used": "4", "deadline": "good"}
    if codec == "libsvtav1":
        tuning["preset"] = "8"
        os.environ.setdefault("SVT_LOG", "1")  # errors alone: it writes on stderr by itself
    if codec == "ffv1":
        tuning |= {"level": "3", "slicecrc": "1"}
    if codec in ("mpeg4", "mjpeg"):
        tuning |= {"flags": "+qscale", "global_quality": str(2 * 118)}
    if options.preset is not None:
        tuning["preset"] = options.preset
    return tuning


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> Sink:
    """Open a clip for writing, axes ``TYX`` or ``TYXC``, 8 or 16 bits.

    Raises
    ------
    UsageError
        For data that are not a clip, and for options that the encoder does not have.
    """
    return VideoSink(fp, format_name, info, options.video)


class VideoSink(Sink):
    """Codes frames one after the other."""

    def __init__(self, fp: IO[bytes], format_name: str, info: Info, options: VideoOptions) -> None:
        super().__init__(info)
        self._info = replace(info, colour=colour_of(info))
        self._clip = clip_of(info.companions)
        self._schedule = schedule(info.axis("T"))
        self._encoding = choose(format_name, self._info, self._clip.coding, options)
        self._notes = list(self._encoding.notes)
        self._format, self._fp = format_name, fp
        self._written = 0
        constant = [name for name in (format_name, self._encoding.codec) if name in _CONSTANT]
        self._constant = bool(constant)
        if constant and self._schedule.rate is None:
            self._notes.append(
                f"{constant[0].upper()} holds one frame rate: the times of the frames are evened out"
            )
        if self._clip.reopen is None and self._clip.tracks:
            self._notes.append(f"left out: {', '.join(self._clip.tracks)} (the frames are not the file's)")
        self._tracks: Tracks | None = None
        try:
            self._open(options.sound)
        except BaseException:
            self._discard()
            raise

    def _open(self, sound: bool) -> None:
        coding, clip, shown, encoding = self._clip.coding, self._clip, self._schedule, self._encoding
        self._output = av.open(
            Written(self._fp),
            "w",
            format=MUXERS[self._format],
            io_open=_nothing_else,
            # Y4M of more than 8 bits, and with alpha, as everybody reads them
            container_options={"strict": "-1"},
        )
        usual = shown.rate or 1 / (shown.step * shown.base)
        # Whole seconds where a frame is shown so long that no such fraction is near.
        rate = usual.limit_denominator(1001) or Fraction(1, round(1 / usual))
        try:
            stream: Any = self._output.add_stream(encoding.codec, rate=rate, options=encoding.options)
        except ValueError:
            raise UsageError(
                f"{self._format.upper()} files cannot hold {encoding.codec}: "
                "choose another --codec, or another type of file"
            ) from None
        stream.width, stream.height = self._info.size("X"), self._info.size("Y")
        stream.pix_fmt = encoding.pixels
        context = stream.codec_context
        context.thread_type = "AUTO"  # without it, x264 cuts frames into slices: larger files, slower
        self._base = 1 / rate if self._constant else shown.base
        context.time_base = stream.time_base = self._base
        if encoding.codec == "mpeg4" and self._base.denominator > _PARTS:
            coarser = self._base * math.gcd(*shown.times, shown.last)
            context.time_base = coarser if coarser.denominator <= _PARTS else Fraction(1, _PARTS)
        context.flags |= Flags.frame_duration
        if "qscale" in encoding.options.get("flags", ""):
            context.flags |= Flags.qscale
        if coding and coding.aspect:
            context.sample_aspect_ratio = coding.aspect
            if not set_aspect(stream, coding.aspect):
                self._notes.append(f"the pixel aspect {coding.aspect} may be left out")
        self._tags = self._meaning(coding.tags if coding else Tags())
        context.color_primaries, context.color_trc = self._tags.primaries, self._tags.transfer
        context.colorspace, context.color_range = self._tags.matrix, self._tags.range
        chroma = encoding.options.get("chroma_sample_location", "")
        self._convert = Converter(encoding.pixels, self._tags.matrix, self._tags.range, chroma)
        self._stream = stream
        if clip.reopen is not None:
            late = self._constant and shown.times[0] >= shown.step
            begin = shown.times[0] * shown.base if late else Fraction(0)
            self._tracks = Tracks(clip.reopen(), self._output, stream, self._format, sound, begin)

    def _meaning(self, tags: Tags) -> Tags:
        """Return the tags of what is written: those of RGB do not hold for planes, and the other way round."""
        if self._encoding.codec in JPEG:  # JPEG has one matrix and one range, and no place for others
            return replace(tags, matrix=BT601, range=_FULL)
        rgb = av.VideoFormat(self._encoding.pixels).is_rgb
        if rgb:
            return replace(tags, matrix=0, range=_FULL)
        if self._encoding.pixels.startswith("gray"):
            return replace(tags, range=_FULL)
        if tags.matrix == 0:  # from RGB
            return replace(tags, matrix=UNKNOWN, range=_LIMITED)
        if self._clip.coding and self._clip.coding.pixels.startswith("gray"):
            return replace(tags, range=_LIMITED)
        return replace(tags, range=tags.range or _LIMITED)

    def put(self, box: Box, values: np.ndarray) -> None:
        """Code the next frames."""
        for pixels in values:
            parts = [pixels] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
            self.encode(frame_of(parts, self._encoding.array))

    def write_planes(self, planes: Sequence[np.ndarray]) -> None:
        """Code the next frames, given as the source's planes (T, Y, X)."""
        coding = self._clip.coding
        if coding is None:
            raise ValueError("planes without a source that had any")
        for parts in zip(*planes, strict=True):
            frame = frame_of(parts, coding.plain)
            frame.colorspace, frame.color_range = coding.tags.matrix, coding.tags.range
            self.encode(frame)
            self._missing -= math.prod(self.info.shape[1:])

    def encode(self, frame: av.VideoFrame) -> None:
        """Code one frame, whatever its pixel format."""
        index = self._written
        if frame.format.name != self._encoding.pixels or self._encoding.codec in JPEG:
            frame = self._convert(frame)
        frame.pts = index if self._constant else self._schedule.times[index]
        frame.time_base = self._base
        frame.duration = 1 if self._constant else self._schedule.duration(index)
        self._mux(frame, frame.pts * self._base)
        self._written += 1

    def _mux(self, frame: av.VideoFrame | None, until: Fraction | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._output.mux(packet)
            if self._tracks is not None:
                self._tracks.until(until, self._output)
            if frame is None:
                self._output.close()
        except av.error.FFmpegError as error:
            why = f"failed at frame {self._written}: {error.strerror or error}"
            rates = av.Codec(self._encoding.codec, "w").frame_rates
            rate = self._stream.codec_context.framerate
            if rates and rate not in rates:
                why = f"takes no {float(rate):.6g} frames a second: choose another --codec"
            raise ConvError(f"the encoder {self._encoding.codec} {why}") from error

    def close(self) -> None:
        """Finish the file."""
        try:
            super().close()
            self._mux(None, None)
        finally:
            self._discard()

    def _discard(self) -> None:
        if self._tracks is not None:
            self._tracks.close()
        notes = (*self._notes, *(self._tracks.notes if self._tracks is not None else ()))
        self.notes = tuple(dict.fromkeys(notes))


def set_aspect(stream: Any, aspect: Fraction) -> bool:
    """Set the pixel aspect of a stream, which some muxers write and PyAV sets for the encoder alone.

    ``AVStream.sample_aspect_ratio`` is written in place.  The pointer to the ``AVStream`` stands before the container
    in PyAV's object; where the fields of FFmpeg 6 to 8 are not found there, nothing is written.
    """
    size = type(stream).__basicsize__ // ctypes.sizeof(ctypes.c_size_t)
    words = (ctypes.c_size_t * size).from_address(id(stream))[:]
    if id(stream.container) not in words[3:]:
        return False
    fields = (ctypes.c_int * 20).from_address(words[words.index(id(stream.container)) - 1])
    index, base, unset = fields[2], fields[8:10], fields[18:20]
    if index != stream.index or tuple(base) != stream.time_base.as_integer_ratio() or unset != [0, 1]:
        return False
    fields[18:20] = [*aspect.as_integer_ratio()]
    return bool(stream.sample_aspect_ratio == aspect)


def _nothing_else(url: str, *_: Any) -> Any:
    raise PermissionError(f"a second file, {url!r}, is never written")
