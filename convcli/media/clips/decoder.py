"""Decoded frames by their number: forwards as they come, a small window kept, jumps by key frames.

A frame is found by its time, never by counting, so that none is taken for another.  No arrays here.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, takewhile
from typing import cast

import av
import av.error
from av.codec.context import Flags

from convcli.common import ConvError
from convcli.common.budget import FRAME
from convcli.media.clips.scan import (
    TRUNCATED,
    Frames,
    VideoFile,
    libav,
    missing_after,
    scan,
    start_of,
    video_stream,
)

# Codecs whose packets may hold frames that are never shown.
HIDING = ("vp8", "vp9", "libvpx", "libvpx-vp9", "av1", "libdav1d")
# The part of all other packets that gives a frame each, unless they hold fields: at a joint some frames depend
# on what is not there.
MOST_PACKETS = 0.8
SPARE = 2  # frames that are kept beside those of the longest request
JUMP = 8  # frames to decode and drop are cheaper than a seek, up to here


class Decoder:
    """The frames of a video.

    Parameters
    ----------
    file : VideoFile
    allow_truncated : bool
        Leave out what cannot be decoded instead of raising; the file is then decoded once to know what can.
    """

    def __init__(self, file: VideoFile, allow_truncated: bool = False) -> None:
        self._file = file
        self._tolerant = allow_truncated
        self._packets = 0  # that went into the decoder
        self._end = 0  # of the last of them, in the order of decoding
        frames = scan(file)
        self._timed = frames is not None
        self.lost = 0  # frames that could not be decoded
        self._unusable: set[int] = set()  # their times, where the file begins in the middle of a recording
        self._settled = 0  # the time up to which decoders then miss references that no frame needs
        if frames is None or allow_truncated:
            frames = self._count(frames)
        elif frames.times[:1] < frames.keys[:1]:
            frames = self._begun(frames, *frames.keys[:2])
        self.frames = frames
        with file.open() as container:
            self.start = start_of(container) if self._timed else Fraction(0)  # seconds
        self._kept: dict[int, av.VideoFrame] = {}
        self._longest = 0
        self._next = 0  # the number of the frame that the stream gives next
        self._stream: Iterator[tuple[int, av.VideoFrame]] | None = None
        self._container: av.container.InputContainer | None = None
        self._sought = False
        if not frames.times:
            self.close()
            raise ConvError("the video stream holds no frames")
        if frames.missing and not allow_truncated:
            self.close()
            raise ConvError(
                f"cut short: it ends at {self._seconds(len(frames.times)):.3f} s, "
                f"{float(frames.missing):.3f} s before its end; {TRUNCATED}"
            )

    @property
    def key_frames(self) -> tuple[int, ...]:
        """The numbers of the frames at which decoding can begin."""
        places = {time: index for index, time in enumerate(self.frames.times)}
        return tuple(dict.fromkeys((0, *(places[key] for key in self.frames.keys if key in places))))

    def _seconds(self, index: int) -> float:
        frames = self.frames
        time = frames.times[index] if index < len(frames.times) else frames.times[-1] + frames.last
        return float((time - frames.times[0]) * frames.base)

    def _count(self, known: Frames | None) -> Frames:
        """Find out by decoding which frames there are."""
        with self._file.open() as container:
            stream = video_stream(container)
            base = stream.time_base or Fraction(1, 1000)
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            with libav("broken video"):
                shown = [
                    (frame.pts, frame.interlaced_frame) for frame in self._decoded(container, stream, None)
                ]
            hiding = stream.codec_context.name in HIDING
            avi = container.format.name == "avi"
            missing = missing_after(self._end * base, 1 / rate, container, stream) if avi else Fraction(0)
        found = [time for time, _ in shown]
        doubled = hiding or any(interlaced for _, interlaced in shown)
        if len(found) < self._packets * (0.5 if doubled else MOST_PACKETS) and not self._tolerant:
            raise ConvError(
                f"only {len(found)} frames came of {self._packets} packets of video, as of parts "
                f"that are coded in different ways; {TRUNCATED}"
            )
        times = [time for time in found if time is not None]
        if known is None and (len(times) < len(found) or sorted(set(times)) != times):
            self._timed = False
            ordered = sorted(set(times))
            # AVI has times in the order of its packets, and that of the last is a guess
            if 1 < len(ordered) == len(found):
                step = sorted(b - a for a, b in pairwise(ordered))[len(ordered) // 2 - 1]
                ordered[-1] = max(ordered[-1], ordered[-2] + step)
                first = min(ordered[0], 2 * step)  # what reordering delays; more is a late beginning
                return Frames(tuple(time - first for time in ordered), (), base, step, missing)
            return Frames(tuple(range(len(found))), (), 1 / rate, 1, missing)
        self._timed = True
        if known is None:
            return Frames(tuple(times), (), base, max(round(1 / rate / base), 1), missing)
        self.lost = len(set(known.times) - set(times))
        return replace(known, times=tuple(sorted(set(times) & set(known.times))), keys=())

    def _begun(self, frames: Frames, key: int, settled: int | None = None) -> Frames:
        """Leave out the frames before the first key frame that need what came before the file."""
        self._tolerant, self._settled = True, frames.times[-1] if settled is None else settled
        with self._file.open() as container, libav("broken video"):
            stream = video_stream(container)
            early = takewhile(
                lambda frame: frame.pts is None or frame.pts < key, self._decoded(container, stream, None)
            )
            marked = stream.codec_context.name in ("h264", "hevc")  # others show what has no reference
            whole = {frame.pts for frame in early if marked and not frame.is_corrupt}
        self._tolerant = False
        self._unusable = {time for time in frames.times if time < key} - whole
        self.lost = len(self._unusable)
        return replace(frames, times=tuple(time for time in frames.times if time not in self._unusable))

    def _decoded(
        self, container: av.container.InputContainer, stream: av.VideoStream, seek: int | None
    ) -> Iterator[av.VideoFrame]:
        """Decode from the beginning or from a key frame."""
        context = decoder(stream)
        # Threads of whole frames go on failing after an error
        context.thread_type = "SLICE" if self._settled else "AUTO"
        strict = {} if self._tolerant else {"err_detect": "crccheck+bitstream+buffer+explode"}
        context.options = {**self._file.limit, **strict}
        context.flags |= Flags.frame_duration
        if seek is not None:
            container.seek(seek, stream=stream)
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
                self._packets += packet.size > 0
                if packet.dts is not None:
                    self._end = max(self._end, packet.dts + (packet.duration or 1))
                if packet.pts not in self._unusable:
                    yield from context.decode(packet)
            except StopIteration:
                return
            except av.error.EOFError:
                return
            except av.error.FFmpegError:
                if not self._tolerant and (packet.pts or 0) >= self._settled:
                    width, height, file = context.width, context.height, self._file
                    what = f"a later frame of {width} x {height} pixels"  # whatever libavcodec calls it
                    FRAME.allow(width * height, what, file.size, file.pixels)
                    raise

    def _broken(self, why: str) -> str:
        return f"broken at {self._seconds(self._next):.3f} s (frame {self._next}): {why}; {TRUNCATED}"

    def _start(self, index: int) -> None:
        """Reopen the file, at the last key frame before a frame if there is one."""
        self._release()
        key = self.frames.key_before(self.frames.times[index])
        if key is not None and key <= self.frames.times[0]:
            key = None
        self._sought = key is not None
        self._container = self._file.open()
        stream = video_stream(self._container)
        self._next = 0 if key is None else bisect_left(self.frames.times, key)
        self._stream = self._numbered(self._decoded(self._container, stream, key), key)

    def _numbered(
        self, frames: Iterator[av.VideoFrame], key: int | None
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        times = self.frames.times
        if not self._timed:
            yield from enumerate(frames)
            return
        for frame in frames:
            # A frame before the key frame needs what comes before it.
            if frame.pts is None or (key is not None and frame.pts < key):
                continue
            at = bisect_left(times, frame.pts)
            if at < len(times) and times[at] == frame.pts:
                yield at, frame

    def __call__(self, start: int, stop: int) -> list[av.VideoFrame]:
        """Return the frames ``start:stop``.

        Raises
        ------
        ConvError
            When one of them is broken or missing, with the time that was reached.
        """
        self._longest = max(self._longest, stop - start)
        if any(index not in self._kept for index in range(start, min(stop, self._next))):
            self._kept.clear()
            self._start(start)
        elif self._stream is None or (self._next < stop and self._worth_a_jump(max(start, self._next))):
            self._start(start)
        assert self._stream is not None
        while self._next < stop:
            try:
                index, frame = next(self._stream, (None, None))
            except av.error.FFmpegError as error:
                if not self._sought:
                    raise ConvError(self._broken(error.strerror or str(error))) from error
                index, frame = None, None  # some of an open group's frames need what is before its key frame
            if index != self._next and self._sought:  # a seek that came out elsewhere: never again
                self.frames = replace(self.frames, keys=())
                self._start(start)
                continue
            if index is None or frame is None or index != self._next:
                raise ConvError(
                    self._broken("the stream ends here" if index is None else "frames are missing")
                )
            if frame.is_corrupt and not self._tolerant:
                raise ConvError(self._broken("the frame is damaged"))
            self._next = index + 1
            if index >= start:
                self._kept[index] = frame
        oldest = min(start, self._next - self._longest - SPARE)
        self._kept = {index: frame for index, frame in self._kept.items() if index >= oldest}
        return [self._kept[index] for index in range(start, stop)]

    def _worth_a_jump(self, start: int) -> bool:
        key = self.frames.key_before(self.frames.times[start])
        return key is not None and bisect_left(self.frames.times, key) > self._next + JUMP

    def _release(self) -> None:
        self._stream = None
        if self._container is not None:
            self._container.close()
            self._container = None

    def close(self) -> None:
        self._kept = {}
        self._release()
        self._file.close()


_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


_CARRIERS = ("webm", "mkv")


def carries_alpha(container: str, codec: str) -> bool:
    """Say whether a file can hold the alpha that an encoder is given."""
    if codec == "libx265":  # it names such pixel formats and refuses them
        return False
    return codec not in _DECODERS.values() or container in _CARRIERS


def decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    """Return what decodes a stream: its own decoder, but libvpx where there is alpha beside the picture."""
    own = stream.codec_context
    if has_alpha_beside(stream) and _DECODERS[own.name] in av.codecs_available:
        context = cast(av.VideoCodecContext, av.CodecContext.create(_DECODERS[own.name], "r"))
        context.extradata = own.extradata
        return context
    return own


def has_alpha_beside(stream: av.VideoStream) -> bool:
    """Say whether alpha lies in the packets where the usual decoder does not look."""
    mode = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode")
    return mode == "1" and stream.codec_context.name in _DECODERS
