"""Child processes for decoders, under limits of memory and time; a decoder tried out in one.

Some formats hold pictures whose sizes and codings nothing in the file bounds beforehand: only the decoder finds them.
Others have decoders that end with pages of their own words, or the process, where a file is damaged.
The child is this Python interpreter.  It gets the bytes through a pipe and answers with a line where it fails.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from convcli.common import ConvError, signals
from convcli.common.budget import mega
from convcli.common.machine import check_room

_SECONDS, _PACE = 2, 50_000  # of processor time for any file, and bytes for which there is another one
_NO_MEMORY = 3  # its exit code


def started(
    module: str, *words: str, environment: dict[str, str] | None = None, **how: Any
) -> subprocess.Popen[bytes]:
    """Start a module as a program whose output is read, and which ends when this process is told to leave."""
    check_room("a process for a decoder", 64, 4, 6)
    with signals.held():
        child = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", "-m", module, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(environment or {})},
            **how,
        )
        signals.add(child.kill)
    return child


def ended(child: subprocess.Popen[bytes]) -> None:
    """End a program, whatever it does."""
    child.kill()
    with suppress(BrokenPipeError), child:
        pass  # what it was to read is thrown away
    signals.discard(child.kill)


def check(
    data: bytes,
    name: str,
    decode: str,
    *given: str,
    memory: int | None,
    advice: str = "--max-pixels allows more",
) -> None:
    """Decode data with a function, and throw the result away.

    Parameters
    ----------
    name
        What is decoded, for messages.
    decode
        The function, ``module:name``: it takes the data and what else is ``given``, and raises what it likes.
    memory
        Bytes that it may take; None without a limit.
    advice
        What to do where it takes more.

    Raises
    ------
    OSError
        In the decoder's words, where it fails.
    ConvError
        When it takes more memory, or very long, or crashes.
    """
    seconds = _SECONDS + len(data) // _PACE
    limits = map(str, (-1 if memory is None else memory, seconds))
    child = started(__name__, decode, *limits, *given, environment={"POLARS_MAX_THREADS": "1"})
    try:
        words = child.communicate(data)[0].decode(errors="replace")
    finally:
        ended(child)
    size = f"for a file of {len(data):,} bytes"
    if child.returncode == _NO_MEMORY:
        raise ConvError(
            f"the {name} inside takes more than the {mega(memory or 0)} MB of memory that are allowed {size} ({advice})"
        )
    if child.returncode:
        raise ConvError(f"the {name} decoder takes more than {seconds} s {size}, or crashes")
    if words:
        raise OSError(words)


def limit_memory(more: int) -> None:
    """Let this process have so many more bytes of data, where the system can tell how many it has."""
    import resource

    if sys.platform == "linux":
        taken = int(Path("/proc/self/statm").read_bytes().split()[5]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_DATA, (taken + more, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _main(decode: str, memory: int, seconds: int, *given: str) -> None:
    import resource

    module, _, name = decode.partition(":")
    function: Callable[..., None] = getattr(import_module(module), name)
    data = sys.stdin.buffer.read()
    if sys.platform == "linux":
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one thread: each takes memory for its stack
        if memory >= 0:
            limit_memory(memory)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    try:
        function(data, *given)
    except MemoryError:
        sys.exit(_NO_MEMORY)
    except BaseException as error:  # whatever a damaged file makes a decoder raise; a panic is no Exception
        sys.stdout.write((str(error).strip().splitlines() or [type(error).__name__])[0])


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
