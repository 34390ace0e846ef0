"""The fallback decoder: what PyAV's FFmpeg cannot decode is decoded by the program of ``imageio-ffmpeg``.

Its libraries are built with other decoders.  It recodes the pictures without loss, as FFV1 in a fragmented MP4,
which the usual reader takes from a pipe.  The program gets an open file and no name: it can open no other, and its
container is named, so that no playlist is followed.
"""

import os
import signal
import subprocess
import tempfile
from types import SimpleNamespace
from typing import IO

import av

from convcli.common import ConvError, signals
from convcli.common.machine import available_threads, check_room
from convcli.media.clips.scan import VideoFile
from convcli.media.files.atomic import closed_after

# The frames are numbered: what these decoders say of times may be no times, and the packets have them.
_CODED = (
    "-nostdin -hide_banner -v error -xerror -protocol_whitelist fd {limit} -f {demuxer} -fd {file} -i fd: "
    "-map 0:v:0 -vf setpts=N/25/TB -enc_time_base 1/25 -fps_mode passthrough "
    "-c:v ffv1 -level 3 -f mp4 -movflags frag_every_frame+empty_moov pipe:1"
)


class ProgramFile(VideoFile):
    """A video file as FFmpeg's program decodes it; the program is started as often as needed, none is left running."""

    seeks = False

    def __init__(self, fp: IO[bytes], demuxer: str, pixels: int | None) -> None:
        import imageio_ffmpeg

        try:
            self._path = imageio_ffmpeg.get_ffmpeg_exe()
        except RuntimeError:
            raise ConvError("the video is coded in a way that FFmpeg's libraries here do not know") from None
        super().__init__(fp, demuxer, pixels)
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

    def open(self) -> av.container.InputContainer:
        """Restart the program, and open its output."""
        self.stop()
        check_room("the ffmpeg program", 64, 10 + 2 * available_threads(), 6)  # it waits for ever without
        self._said.truncate(0)
        self._said.seek(0)
        with closed_after(self._anew()) as file, signals.held():  # or it would run on, unknown
            signals.add(self._abandon)
            self._running = self._started(file)
        return av.open(SimpleNamespace(read=self._read), "r", format="mov")

    def _started(self, file: int) -> subprocess.Popen[bytes]:
        limit = " ".join(f"-{name} {value}" for name, value in self.limit.items())
        return subprocess.Popen(
            [self._path, *_CODED.format(demuxer=self._demuxer, file=file, limit=limit).split()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._said,
            pass_fds=(file,),
            start_new_session=True,  # Ctrl-C is for us to act on
        )

    def _read(self, size: int) -> bytes:
        """Read what the program writes; where that ends, it must have ended well."""
        stdout = self._running.stdout if self._running is not None else None
        data = stdout.read(size) if stdout is not None else b""
        if not data:
            self._finish()
        return data

    def _finish(self) -> None:
        running = self._running
        code = running.wait() if running is not None else 0
        self.stop()
        if code:
            self._said.seek(0)
            said = self._said.read()
            lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
            raise ConvError(
                f"broken or truncated video: {lines[-1][-100:] if lines else f'exit code {code}'}"
            )

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
        super().close()
