"""The fallback reader: what PyAV's FFmpeg cannot decode, read through the program of ``imageio-ffmpeg``.

Its libraries are built with other decoders.  The file is decoded once for the number and the times of its frames,
then once more for their pixels, which come through a pipe.  The program gets an open file and no name: it can
open no other, and its container is named, so that no playlist is followed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import IO, Any

import av
import numpy as np

from convcli.common import signals
from convcli.common.errors import ConvError
from convcli.data.axes import SECOND, Even, Listed, Positions
from convcli.data.info import Colour, Info, Strips
from convcli.media.clips.convert import ARRAYS
from convcli.media.clips.scan import INTERLACED, start_of
from convcli.media.clips.tracks import carried
from convcli.media.options import ReadOptions
from convcli.media.shared import CHANNELS, Recent, check_pixels
from convcli.media.timing import UNKNOWN, Clip, Coding, Tags

_CONFIG = re.compile(rb"config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)")
_FRAME = re.compile(rb"\] n: *\d+ pts: *(\S+) .*?fmt:(\S+) .*?sar:(\d+)/(\d+) s:(\d+)x(\d+) i:(\S)")
_COLOURS = re.compile(rb"color_range:(\S+) color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)")
# Of ITU-T H.273, as FFmpeg calls them
_RANGES = {b"tv": 1, b"pc": 2}
_NUMBERS = {b"bt709": 1, b"bt470bg": 5, b"smpte170m": 6, b"bt2020nc": 9, b"bt2020": 9, b"bt2020-10": 14}
_SCALING = "accurate_rnd+full_chroma_int+full_chroma_inp+bicubic"


class Program:
    """FFmpeg's program on one open file, started as often as needed; none is left running."""

    def __init__(self, fp: IO[bytes], demuxer: str) -> None:
        import imageio_ffmpeg

        try:
            self._path = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError:
            raise ConvError("the video is coded in a way that FFmpeg's libraries here do not know") from None
        self._fp, self._demuxer = fp, demuxer
        self._running: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def _anew(self) -> int:
        """Open the file once more, with a position of its own where the system can."""
        number = self._fp.fileno()
        try:
            return os.open(f"/proc/self/fd/{number}", os.O_RDONLY)
        except OSError:
            copy = os.dup(number)
            os.lseek(copy, 0, os.SEEK_SET)
            return copy

    def start(self, *arguments: str, words: str = "error") -> IO[bytes]:
        """Start it with options for the output; return what it writes there."""
        self.stop()
        self._said.truncate(0)
        self._said.seek(0)
        file = self._anew()
        try:
            with signals.held():  # or it would run on, unknown
                signals.add(self._abandon)
                self._running = self._started(file, arguments, words)
        finally:
            os.close(file)
        assert self._running.stdout is not None
        return self._running.stdout

    def _started(self, file: int, arguments: Sequence[str], words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [
                *(self._path, "-nostdin", "-hide_banner", "-v", words, "-xerror"),
                *("-protocol_whitelist", "fd", "-copyts", "-f", self._demuxer, "-fd", str(file)),
                *("-i", "fd:", "-map", "0:v:0", "-fps_mode", "passthrough", *arguments, "pipe:1"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            pass_fds=(file,),
            start_new_session=True,  # Ctrl-C is for us to act on
        )

    def finish(self) -> bytes:
        """Wait for its end; return what it said.

        Raises
        ------
        ConvError
            When it failed.
        """
        running = self._running
        code = running.wait() if running is not None else 0
        self.stop()
        self._said.seek(0)
        said = self._said.read()
        if code:
            lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
            raise ConvError(
                f"broken or truncated video: {lines[-1][-100:] if lines else f'exit code {code}'}"
            )
        return said

    def stop(self) -> None:
        """End it, whatever it does."""
        running, self._running = self._running, None
        signals.discard(self._abandon)
        if running is not None:
            running.kill()
            if running.stdout is not None:
                running.stdout.close()
            running.wait()

    def _abandon(self) -> None:
        """End it in the midst of anything: `Popen` may hold its locks."""
        if self._running is not None:
            os.kill(self._running.pid, signal.SIGKILL)
            os.waitpid(self._running.pid, 0)

    def close(self) -> None:
        self.stop()
        self._said.close()
        self._fp.close()


class FallbackSource(Strips):
    """A clip, axes ``TYX`` (grey) or ``TYXC``, 8 bits, or 16 where there are more than 8.

    Frames before the latest request are reached by decoding from the beginning.
    """

    def __init__(self, program: Program, options: ReadOptions, reopen: Callable[[], Any]) -> None:
        self._program = program
        try:
            self._look(options, reopen)
        except BaseException:
            program.close()
            raise
        self._stream: IO[bytes] | None = None
        self._next = 0
        self._frames = Recent(lambda indices: [self._frame(index) for index in indices])

    def _look(self, options: ReadOptions, reopen: Callable[[], Any]) -> None:
        self._program.start("-vf", "showinfo=checksum=0", "-f", "null", words="info")
        said = self._program.finish()
        config, frames, colours = _CONFIG.search(said), _FRAME.findall(said), _COLOURS.search(said)
        if config is None or not frames:
            raise ConvError("the video stream holds no frames")
        if len({frame[4:6] for frame in frames}) > 1:
            raise ConvError("the size of the frames changes: cut the clip there")
        base = Fraction(int(config[1]), max(int(config[2]), 1))
        rate = Fraction(int(config[3]), max(int(config[4]), 1)) or Fraction(25)
        with reopen() as container:
            start, tracks = start_of(container), carried(container)
        positions = _positions([frame[0] for frame in frames], base, rate, start)
        pixels, *sides = frames[0][1].decode(), *(int(number) for number in frames[0][2:6])
        aspect, (width, height) = Fraction(sides[0], sides[1] or 1), sides[2:]
        check_pixels(width, height, options, "frame")
        form = av.VideoFormat(pixels)
        deep = max(component.bits for component in form.components) > 8
        alpha = any(component.is_alpha for component in form.components) or form.has_palette
        colour = Colour.RGBA if alpha else Colour.RGB
        if options.grey or (len(form.components) == 1 and not form.has_palette):
            colour = Colour.GREY
        channels = CHANNELS[colour].count
        self._format = ARRAYS[colour][deep]
        self._shape = (height, width, *((channels,) if channels > 1 else ()))
        self._dtype = np.dtype("<u2" if deep else "u1")
        coding = Coding("", pixels, _tags(colours), aspect if aspect not in (0, 1) else None)
        self.info = Info.of(
            letters="TYXC" if channels > 1 else "TYX",
            shape=(len(frames), *self._shape),
            dtype=self._dtype.newbyteorder("=").name,
            colour=colour,
            companions=Clip(
                coding,
                reopen,
                start=start if isinstance(positions, Listed) else Fraction(0),
                tracks=tracks,
            ),
            notes=(
                "FFmpeg's libraries here do not know how this video is coded: its program reads it",
                *((INTERLACED,) if frames[0][6] in (b"T", b"B") else ()),
                *(
                    (f"the frames carry no usable times: {float(rate):g} a second are taken",)
                    if isinstance(positions, Even)
                    else ()
                ),
            ),
        ).placed(T=positions)

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the frames ``start:stop``.

        Raises
        ------
        ConvError
            When one of them is broken or missing.
        """
        return np.stack(self._frames(list(range(start, stop))))

    def _frame(self, index: int) -> np.ndarray:
        if self._stream is None or index < self._next:
            self._stream = self._program.start(
                *("-sws_flags", _SCALING, "-f", "rawvideo", "-pix_fmt", self._format)
            )
            self._next = 0
        size = int(np.prod(self._shape)) * self._dtype.itemsize
        while True:
            data = self._stream.read(size)
            if len(data) < size:
                self._program.finish()
                raise ConvError(f"broken or truncated video: it ends at frame {self._next}")
            self._next += 1
            if self._next > index:
                return (
                    np.frombuffer(data, self._dtype).reshape(self._shape).astype(self.info.dtype, copy=False)
                )

    def close(self) -> None:
        self._program.close()


def _positions(found: Sequence[bytes], base: Fraction, rate: Fraction, start: Fraction) -> Positions:
    """Return where the frames lie in time; a constant rate has to stand in for times that cannot be.

    >>> _positions([b"1000", b"1040", b"1080"], Fraction(1, 1000), Fraction(25), Fraction(1)).ticks
    (0, 40, 80)
    >>> _positions([b"0", b"90", b"80"], Fraction(1, 1000), Fraction(25), Fraction(0)).spacing
    Fraction(1, 25)
    """
    times = [int(time) - round(start / base) for time in found if time.lstrip(b"-").isdigit()]
    gaps = sorted(b - a for a, b in pairwise(times))
    if len(times) < len(found) or (gaps and gaps[0] <= 0):
        return Even(Fraction(0), 1 / rate, SECOND)
    last = gaps[len(gaps) // 2] if gaps else max(round(1 / rate / base), 1)
    return Listed(tuple(times), base, SECOND, times[-1] + last)


def _tags(match: re.Match[bytes] | None) -> Tags:
    if match is None:
        return Tags()
    space, primaries, transfer = (_NUMBERS.get(match[index], UNKNOWN) for index in (2, 3, 4))
    return Tags(primaries, transfer, space, _RANGES.get(match[1], 0))
