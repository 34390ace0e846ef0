"""Writing clips: frames are coded as they come, with their times; sound and subtitles are copied alongside.

What is chosen (encoder, pixel format) is decided in `codecs`.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import IO, Any

import av
import av.error
import numpy as np
from av.codec.context import Flags

from convcli.common.errors import ConvError, UsageError
from convcli.data.box import Box
from convcli.data.info import Info, Sink
from convcli.media.clips.codecs import choose
from convcli.media.clips.convert import Converter
from convcli.media.clips.planes import frame_of
from convcli.media.options import VideoOptions, WriteOptions
from convcli.media.shared import colour_of
from convcli.media.timing import UNKNOWN, Tags, clip_of, schedule

_MUXERS = {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm", "avi": "avi", "ts": "mpegts",
           "y4m": "yuv4mpegpipe"}  # fmt: skip
_CONSTANT = ("avi", "y4m")  # containers that have a frame rate and no times
_LIMITED, _FULL = 1, 2


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> Sink:
    """Open a clip for writing, axes ``TYX`` or ``TYXC``, 8 or 16 bits.

    Raises
    ------
    UsageError
        For data that are no clip, and for options that the encoder does not have.
    """
    return VideoSink(fp, format_name, info, options.video)


ALSO_HELD = {  # FFmpeg lists only what it would choose itself
    "mpegts": ("aac", "ac3", "eac3", "mp3", "opus", "dts", "truehd", "dvb_subtitle"),
}


class _Passengers:
    """Sound and subtitles of the source: packets in order of time, copied as they are."""

    def __init__(self, reopen: Any, output: av.container.OutputContainer, notes: list[str]) -> None:
        self._input = reopen()
        self._streams: dict[int, Any] = {}
        for stream in self._input.streams:
            if stream.type in ("audio", "subtitle"):
                self._add(stream, output, notes)
            elif stream.type in ("data", "attachment"):
                notes.append(f"a {stream.type} stream is left out")
        wanted = [stream for stream in self._input.streams if stream.index in self._streams]
        self._packets: Iterator[Any] = self._input.demux(wanted) if wanted else iter(())
        self._waiting: Any = None

    def _add(self, stream: Any, output: av.container.OutputContainer, notes: list[str]) -> None:
        name = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
        if name not in output.supported_codecs and name not in ALSO_HELD.get(output.format.name, ()):
            notes.append(
                f"the {stream.type} stream ({name}) is left out: {output.format.name} cannot hold it"
            )
            return
        copy = output.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        self._streams[stream.index] = copy

    def until(self, seconds: Fraction | None, output: av.container.OutputContainer) -> None:
        """Copy what comes before a time, or all the rest."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if packet.dts is None:  # the end of a stream
                continue
            if seconds is not None and packet.dts * packet.time_base > seconds:
                self._waiting = packet
                return
            packet.stream = self._streams[packet.stream_index]
            output.mux(packet)

    def close(self) -> None:
        self._input.close()


class VideoSink(Sink):
    """Codes frames one after the other."""

    def __init__(self, fp: IO[bytes], format_name: str, info: Info, options: VideoOptions) -> None:
        super().__init__(info)
        self._info = replace(info, colour=colour_of(info))
        self._clip = clip_of(info.companions)
        self._schedule = schedule(info.axis("T"))
        self._encoding = choose(format_name, self._info, self._clip.coding, options)
        self._notes = list(self._encoding.notes)
        self._format, self._fp = format_name, _Forwards(fp)
        self._written = 0
        self._constant = format_name in _CONSTANT
        if self._constant and not self._schedule.even:
            self._notes.append(
                f"{format_name.upper()} holds one frame rate: the times of the frames are evened out"
            )
        self._passengers: _Passengers | None = None
        try:
            self._open(options.sound)
        except BaseException:
            self._discard()
            raise

    def _open(self, sound: bool) -> None:
        coding, clip, shown, encoding = self._clip.coding, self._clip, self._schedule, self._encoding
        self._output = av.open(self._fp, "w", format=_MUXERS[self._format], io_open=_nothing_else)
        rate = (1 / (shown.step * shown.base)).limit_denominator(1001)
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
        context.time_base = self._base
        stream.time_base = self._base
        context.flags |= Flags.frame_duration
        if "qscale" in encoding.options.get("flags", ""):
            context.flags |= Flags.qscale
        if coding and coding.aspect:
            context.sample_aspect_ratio = coding.aspect
        self._tags = self._meaning(coding.tags if coding else Tags())
        context.color_primaries, context.color_trc = self._tags.primaries, self._tags.transfer
        context.colorspace, context.color_range = self._tags.matrix, self._tags.range
        self._convert = Converter(encoding.pixels, self._tags.matrix, self._tags.range)
        self._stream = stream
        if clip.reopen is not None and sound and self._format != "y4m":
            self._passengers = _Passengers(clip.reopen, self._output, self._notes)
        if clip.reopen is not None:
            self._describe(clip.reopen)

    def _describe(self, reopen: Any) -> None:
        """Copy title, date and chapters."""
        with reopen() as container:
            about = {key: value for key, value in container.metadata.items() if key not in _ABOUT_THE_FILE}
            self._output.metadata.update(about)
            if container.chapters():
                self._output.set_chapters(container.chapters())

    def _meaning(self, tags: Tags) -> Tags:
        """Return the tags of what is written: those of RGB do not hold for planes, and the other way round."""
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
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=self._encoding.array)
            self.encode(frame)

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
        if frame.format.name != self._encoding.pixels:
            frame = self._convert(frame)
        frame.pts = index if self._constant else self._schedule.times[index]
        frame.time_base = self._base
        frame.duration = 1 if self._constant else self._schedule.duration(index)
        self._mux(frame, Fraction(frame.pts) * self._base)
        self._written += 1

    def _mux(self, frame: av.VideoFrame | None, until: Fraction | None) -> None:
        try:
            for packet in self._stream.encode(frame):
                self._output.mux(packet)
            if self._passengers is not None:
                self._passengers.until(until, self._output)
        except av.error.FFmpegError as error:
            self._fp.check()
            raise ConvError(self._failed(error)) from error

    def _failed(self, error: av.error.FFmpegError) -> str:
        return (
            f"the encoder {self._encoding.codec} failed at frame {self._written}: {error.strerror or error}"
        )

    def close(self) -> None:
        """Finish the file."""
        try:
            super().close()
            self._mux(None, None)
            try:
                self._output.close()
            except av.error.FFmpegError as error:
                self._fp.check()
                raise ConvError(self._failed(error)) from error
            self._fp.check()
        finally:
            self._discard()

    def _discard(self) -> None:
        self.notes = tuple(dict.fromkeys(self._notes))
        if self._passengers is not None:
            self._passengers.close()


_ABOUT_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder", "ENCODER", "software")


def _nothing_else(url: str, *_: Any) -> Any:
    raise PermissionError(f"a second file, {url!r}, is never written")


class _Forwards(io.RawIOBase):
    """The output as libav sees it; an error of ours, such as a full disk, is kept and raised as it was."""

    def __init__(self, fp: IO[bytes]) -> None:
        self._fp = fp
        self._error: BaseException | None = None
        self.name = "output"

    def write(self, data: Any) -> int:
        try:
            return self._fp.write(bytes(data))
        except BaseException as error:
            self._error = self._error or error
            raise

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._fp.seek(offset, whence)

    def tell(self) -> int:
        return self._fp.tell()

    def seekable(self) -> bool:
        return self._fp.seekable()

    def writable(self) -> bool:
        return True

    def check(self) -> None:
        if self._error is not None:
            raise self._error
