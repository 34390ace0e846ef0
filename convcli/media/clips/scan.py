"""Opening a video file and knowing its frames before any is decoded: how many, when, which are key frames.

Demuxing reads a file at the speed of the disk, decoding doesn't.  No pixels here; those are in `decoder`.
"""

import io
import threading
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import IO, Any, NoReturn

import av
import av.error
import av.logging

from convcli.common import frozen
from convcli.common.budget import FRAME, PIXELS
from convcli.common.errors import ConvError, NoPicturesError
from convcli.data import SECOND, Listed

INTERLACED = "the clip is interlaced: its two fields are filtered and written as one picture, without their field order"
TRUNCATED = "--allow-truncated keeps what can be read"
# Bytes of zeros, which cost nothing in a sparse file: more than any gap or frame
_NOTHING = {"sound": 1 << 24, "video": 1 << 28}
_SLACK = Fraction(1, 20)  # seconds that a container's own idea of its length may be off, beside a frame

av.logging.set_level(None)  # libav's own words would land on stderr


@contextmanager
def libav(what: str) -> Iterator[None]:
    """Turn what PyAV raises into one line."""
    try:
        yield
    except av.error.EOFError:
        raise ConvError(f"{what}: it ends too early; {TRUNCATED}") from None
    except av.error.FFmpegError as error:
        raise ConvError(f"{what}: {error.strerror or error}") from error


class View:
    """A second place to read in a file that is open already: several of them share it without disturbing it."""

    def __init__(self, fp: IO[bytes], lock: threading.Lock, nothing: int) -> None:
        self._fp, self._lock, self._at = fp, lock, 0
        self._nothing, self._zeros = nothing, 0

    def read(self, size: int = -1) -> bytes:
        if self._nothing < 0:
            return b""
        with self._lock:
            self._fp.seek(self._at)
            data = self._fp.read(size)
        self._at += len(data)
        self._zeros = self._zeros + len(data) if data[:1] == b"\0" and not data.strip(b"\0") else 0
        if self._zeros > self._nothing >= 0:
            self._nothing = -1  # said once; FFmpeg may go on
            raise ConvError(f"damaged: {self._zeros >> 20} MB of zeros before byte {self._at:,}")
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with self._lock:
            if whence == io.SEEK_CUR:
                offset, whence = self._at + offset, io.SEEK_SET
            self._at = self._fp.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at


def _refuse(url: str, *_: Any) -> NoReturn:
    """A playlist or a reference inside a file may name others: none is ever opened."""
    raise PermissionError(f"the file asks for another one, {url!r}, which is never opened")


class VideoFile:
    """A video file that can be opened several times, each with a position of its own."""

    seeks = True  # whether one can jump in it
    what = "video"

    def __init__(self, fp: IO[bytes], demuxer: str, pixels: int | None = PIXELS) -> None:
        self._fp, self._demuxer = fp, demuxer
        self._lock = threading.Lock()
        self.size, self.pixels = fp.seek(0, io.SEEK_END), pixels
        most = FRAME.units(self.size, pixels)
        # What libavcodec refuses by itself, wherever in the stream a frame says so
        self.limit = {} if most is None else {"max_pixels": str(most)}

    def open(self) -> av.container.InputContainer:
        with libav(f"broken or truncated {self.what}"):
            view = View(self._fp, self._lock, _NOTHING[self.what])
            # Old files have tags in other encodings than UTF-8.
            return av.open(
                view,
                "r",
                format=self._demuxer,
                io_open=_refuse,
                metadata_errors="replace",
                options=self.limit,
            )

    def close(self) -> None:
        self._fp.close()


class UnknownCodecError(ConvError):
    """FFmpeg's libraries here have no decoder for the video; its program may have one."""


def pictures(container: av.container.InputContainer) -> list[av.VideoStream]:
    """Return the video streams that are not cover pictures."""
    cover = av.stream.Disposition.attached_pic
    return [stream for stream in container.streams.video if not stream.disposition & cover]


def video_stream(container: av.container.InputContainer) -> av.VideoStream:
    """Return the first video stream that is not a cover picture.

    Raises
    ------
    NoPicturesError
        When there is none, with what there is.
    """
    for stream in pictures(container):
        if stream.codec_context is None:
            raise UnknownCodecError("the video is coded in a way that FFmpeg does not know")
        return stream
    kinds = sorted({stream.type for stream in container.streams})
    raise NoPicturesError(f"no video stream: the file holds {', '.join(kinds) or 'nothing'}")


_PRIMING = Fraction(1, 10)  # seconds of sound that a decoder needs to begin, and that are not played


def start_of(container: av.container.InputContainer) -> Fraction:
    """Return the first time stamp of a file, in seconds: where players begin to count."""
    start = Fraction(container.start_time or 0, av.time_base)
    shown = next((stream.start_time or 0 for stream in pictures(container)), 0)
    return Fraction(0) if -_PRIMING < start < 0 <= shown else start


@frozen
class Frames:
    """The frames of a stream in the order in which they are shown.

    Attributes
    ----------
    times
        When each is shown, in units of ``base`` seconds.
    keys
        Times of the key frames, sorted; empty where one cannot seek.
    last
        How long the last frame is shown, in units of ``base``.
    missing
        Seconds at the end that the file announces and does not hold.
    """

    times: tuple[int, ...]
    keys: tuple[int, ...]
    base: Fraction
    last: int
    missing: Fraction

    def positions(self, start: Fraction) -> Listed:
        """Return where the frames lie in time, counted from a start in seconds."""
        shift = round(start / self.base)
        times = tuple(time - shift for time in self.times)
        return Listed(times, self.base, SECOND, times[-1] + self.last)

    def key_before(self, time: int) -> int | None:
        """Return the time of the last key frame up to a time."""
        at = bisect_right(self.keys, time)
        return self.keys[at - 1] if at else None


def scan(file: VideoFile) -> Frames | None:
    """Return the frames of a file from its packets, or ``None`` when packets do not tell (they carry no times)."""
    with file.open() as container, libav("broken or truncated video"):
        stream = pictures(container)[0]
        base = stream.time_base or Fraction(1, 1000)
        marks: list[tuple[int | None, int, bool]] = []
        delayed = False
        try:
            for packet in container.demux(stream):
                if packet.size and not packet.is_discard and not packet.is_corrupt:
                    marks.append((packet.pts, packet.duration or 0, packet.is_keyframe))
                    delayed |= packet.pts != packet.dts
        except av.error.FFmpegError:  # what is missing shows below
            pass
        # AVI has no times but those of packets, which some programs write into MP4 too
        reordered = (container.format.name == "avi" or not delayed) and stream.codec_context.has_b_frames
        if reordered or any(time is None for time, _, _ in marks):
            return None
        ordered = sorted(marks)
        times = tuple(time for time, _, _ in ordered if time is not None)
        if len(set(times)) < len(times):  # two fields of one frame, or hidden frames
            return None
        keys = tuple(time for time, _, key in ordered if key and time is not None and file.seeks)
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        last = (ordered[-1][1] if ordered else 0) or max(round(1 / rate / base), 1)
        end = (times[-1] + last) * base if times else Fraction(0)
        return Frames(times, keys, base, last, missing_after(end, last * base, container, stream))


def missing_after(
    end: Fraction, last: Fraction, container: av.container.InputContainer, stream: av.VideoStream
) -> Fraction:
    """Return the seconds that a file announces after the end of what it holds, whose last frame takes ``last``."""
    missing = _announced(container, stream, stream.time_base or Fraction(1, 1000)) - end
    return missing if missing > _SLACK + 3 * last / 2 else Fraction(0)


def _announced(container: av.container.InputContainer, stream: av.VideoStream, base: Fraction) -> Fraction:
    """Return when the stream should end, in seconds, as the file's headers have it; 0 if they say nothing."""
    start = (stream.start_time or 0) * base
    name = container.format.name
    if stream.duration and not name.startswith("matroska"):  # where it may be the whole file's
        # Of fragments alone, MP4's duration is the end of the last one, counted from 0, before an edit list shifts it.
        fragments = stream.frames == 0 and name.startswith("mov")
        # That of an AVI without its end is a guess from the size; its header has the number of frames.
        duration = max(stream.duration, stream.frames if name == "avi" else 0)
        return duration * base + (min(start, Fraction(0)) if fragments else start)
    tag = stream.metadata.get("DURATION", "")  # Matroska, written by most: 00:00:02.000000000
    hours, _, rest = tag.partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds.strip("\0 "))
    except ValueError:
        if len(container.streams) > 1 or not container.duration:
            return Fraction(0)
        return Fraction((container.start_time or 0) + container.duration, av.time_base)
