"""A decoder tried out in a child process, under limits of memory and time.

Some formats hold pictures whose sizes and codings nothing in the file bounds beforehand: only the decoder finds them.
Polars ends with pages of its own words where a table of columns is damaged.
The child is this Python interpreter.  It gets the bytes through a pipe and answers with a line where it fails.
"""

import io
import os
import subprocess
import sys
from pathlib import Path

from convcli.common import signals
from convcli.common.budget import CELLS, mega
from convcli.common.errors import ConvError

_SECONDS, _PACE = 2, 50_000  # of processor time for any file, and bytes for which there is another one
TABLES = ("parquet", "arrow")
_NO_MEMORY = 3  # its exit code


def check(data: bytes, decoder: str, memory: int | None, frames: bool) -> None:
    """Decode a picture with one of Pillow's decoders, all of its frames if asked for, and throw it away; or a table.

    Raises
    ------
    OSError
        In the decoder's words, where it fails.
    ConvError
        When it takes more bytes than ``memory``, or very long, or crashes.
    """
    seconds = _SECONDS + len(data) // _PACE
    limits = map(str, (decoder, -1 if memory is None else memory, seconds, int(frames)))
    with signals.held():
        child = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", __name__, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        signals.add(child.kill)
    try:
        words = child.communicate(data)[0].decode(errors="replace")
    finally:
        child.kill()
        child.wait()
        signals.discard(child.kill)
    size = f"for a file of {len(data):,} bytes"
    if child.returncode == _NO_MEMORY:
        raise ConvError(
            f"the {decoder} inside takes more than the {mega(memory or 0)} MB of memory that are allowed {size} "
            f"({CELLS.advice if decoder in TABLES else '--max-pixels allows more'})"
        )
    if child.returncode:
        raise ConvError(f"the {decoder} decoder takes more than {seconds} s {size}, or crashes")
    if words:
        raise OSError(words)


def _table(decoder: str, data: bytes, memory: int) -> None:
    """Decode a table of columns, unless its numbers take too much."""
    os.environ["POLARS_MAX_THREADS"] = "1"
    import polars

    scan = polars.scan_parquet if decoder == "parquet" else polars.scan_ipc
    read = polars.read_parquet if decoder == "parquet" else polars.read_ipc
    try:
        table = scan(io.BytesIO(data))
        rows = table.select(polars.len()).collect().item()
        if 0 <= memory < rows * len(table.collect_schema()) * CELLS.each:
            sys.exit(_NO_MEMORY)
        read(io.BytesIO(data))
    except SystemExit:
        raise
    except BaseException as error:  # a panic is none of the usual exceptions
        sys.stdout.write((str(error).strip().splitlines() or [type(error).__name__])[0])


def _main(decoder: str, memory: int, seconds: int, frames: bool) -> None:
    import resource

    from PIL import Image

    data = sys.stdin.buffer.read()
    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread: each takes memory for its stack
        taken = int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
        if memory >= 0:
            resource.setrlimit(resource.RLIMIT_DATA, (taken + memory,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    if decoder in TABLES:
        return _table(decoder, data, memory)
    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(io.BytesIO(data), formats=(decoder,)) as image:
            first = image.tell()
            for index in range(getattr(image, "n_frames", 1) if frames else 1):
                image.seek(first + index)
                image.load()
    except MemoryError:
        sys.exit(_NO_MEMORY)
    except Image.UnidentifiedImageError:
        pass  # nothing is decoded, and the caller finds the words
    except Exception as error:  # whatever a damaged file makes a decoder raise
        sys.stdout.write(str(error) or type(error).__name__)


if __name__ == "__main__":
    _main(sys.argv[1], *map(int, sys.argv[2:]))  # type: ignore[arg-type]
