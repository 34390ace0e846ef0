"""Writing clips: frames are coded as they come, with their times; sound and subtitles are copied alongside.

What is chosen (encoder, pixel format) is decided in `codecs`.
"""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import IO, Any

import av
import av.error
import numpy as np
from av.codec.context import Flags

from convcli.common import ConvError, UsageError
from convcli.data.box import Box
from convcli.data.info import Info, Sink
from convcli.media.clips.codecs import choose
from convcli.media.clips.convert import Converter
from convcli.media.clips.planes import frame_of
from convcli.media.clips.tracks import Tracks, Written
from convcli.media.options import VideoOptions, WriteOptions
from convcli.media.shared import colour_of
from convcli.media.timing import UNKNOWN, Tags, clip_of, schedule

MUXERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm", "avi": "avi", "ts": "mpegts",
           "y4m": "yuv4mpegpipe"}  # fmt: skip
# Containers and codecs that have a frame rate and no times
_CONSTANT = ("avi", "y4m", "mpeg1video", "mpeg2video")
_PARTS = 65535  # of a second, in MPEG-4 part 2 at most
_LIMITED, _FULL = 1, 2
BT601 = 5
JPEG = ("mjpeg", "ljpeg")


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
