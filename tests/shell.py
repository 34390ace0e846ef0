"""Run the command as a person does: a process of its own, bytes in, bytes out."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import IO, Any

SAMPLES = Path(__file__).parents[1] / "samples"
_SECONDS = 60


@cache
def _starter(warnings: tuple[str, ...], loaded: tuple[str, ...]) -> socket.socket:
    """Start the process whose forks are the commands (`tests.starter`); it ends with this one."""
    ours, theirs = socket.socketpair()
    with theirs:
        server = subprocess.Popen(
            [sys.executable, *warnings, "-m", "tests.starter", *loaded],
            stdin=theirs,
            cwd=SAMPLES.parent,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        )
    atexit.register(lambda: (ours.close(), server.wait()))
    return ours


class Job:
    """A running command, started without starting Python; its methods are those of `subprocess.Popen`.

    Parameters
    ----------
    arguments
        The words behind ``convcli``.
    folder
        Where it runs.
    streams
        Descriptors, or open files, of its standard streams.
    environment
        Its environment variables.
    first
        A module, a function in it and what it gets: called in the process before the command begins.
    warnings
        Python's options for them.
    loaded
        Modules that are loaded before; without any, all that matter.

    Attributes
    ----------
    busy, megabytes
        Seconds of processors and peak of memory, once it has ended.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        streams: Sequence[int | IO[bytes]],
        environment: Mapping[str, str] = os.environ,
        first: Sequence[object] = (),
        warnings: tuple[str, ...] = (),
        loaded: tuple[str, ...] = (),
    ) -> None:
        request = {
            "arguments": arguments,
            "folder": str(folder),
            "environment": dict(environment),
            "first": first,
        }
        self._answer, theirs = socket.socketpair()
        self.returncode: int | None = None
        with theirs:
            descriptors = [one if isinstance(one, int) else one.fileno() for one in streams]
            socket.send_fds(_starter(warnings, loaded), [b" "], [*descriptors, theirs.fileno()])
        self._answer.sendall(json.dumps(request).encode())
        self._answer.shutdown(socket.SHUT_WR)
        (self.pid,) = self._hear("<i", _SECONDS)

    def _hear(self, form: str, seconds: float | None) -> tuple[Any, ...]:
        self._answer.settimeout(seconds)
        if not (numbers := self._answer.recv(struct.calcsize(form))):
            raise ChildProcessError("the process that starts commands has ended")
        return struct.unpack(form, numbers)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, or the signal's number below zero, once the command has ended."""
        if self.returncode is None:
            try:
                status, self.busy, self.megabytes = self._hear("<idd", timeout)
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired("convcli", timeout or 0) from None
            self.returncode = os.waitstatus_to_exitcode(status)
            self._answer.close()
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # ended since it was looked at
            if self.poll() is None:
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def convcli(
    *arguments: object,
    stdin: bytes = b"",
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    first: Sequence[object] = (),
) -> subprocess.CompletedProcess[bytes]:
    """Run a command line; standard streams are pipes, and warnings are errors."""
    environment = environment or {**os.environ, "NO_COLOR": "1", "COLUMNS": "80"}
    words = [*map(str, arguments)]
    (given, give), (said, say), (told, tell) = (os.pipe() for _ in range(3))
    with ThreadPoolExecutor(3) as pool:
        texts = [pool.submit(_read, end) for end in (said, told)]
        fed = pool.submit(_feed, give, stdin)
        try:
            job = Job(words, cwd or Path.cwd(), (given, say, tell), environment, first, ("-W", "error"))
        finally:
            for end in (given, say, tell):
                os.close(end)
        code = job.wait(_SECONDS)
        fed.result()
        output, errors = (text.result() for text in texts)
    return subprocess.CompletedProcess(words, code, output, errors)


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as stream:
        return stream.read()


def _feed(descriptor: int, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb", buffering=0) as stream:
        stream.write(content)


def ok(*arguments: object, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    done = convcli(*arguments, stdin=stdin, cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    return done


def refuses(words: str, subject: str, *arguments: object, cwd: Path) -> None:
    """Check that a command line fails at its work, in one line that begins with what it is about."""
    done = convcli(*arguments, cwd=cwd)
    errors = done.stderr.decode()
    assert done.returncode == 1, errors
    assert errors.startswith(f"error: {subject}")
    assert words in errors
    assert errors.count("\n") == 1


# A program for shells' lines: it hands them to the starter, whose socket it inherits, in a thirtieth of a second.
_PROGRAM = """#!{python} -SE
import json, os, socket, struct, sys
ours, theirs = socket.socketpair()
socket.send_fds(socket.socket(fileno={starter}), [b" "], [0, 1, 2, theirs.fileno()])
theirs.close()
request = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ), "first": ()}}
ours.sendall(json.dumps(request).encode())
ours.shutdown(socket.SHUT_WR)
ours.recv(4)
code = os.waitstatus_to_exitcode(struct.unpack("<idd", ours.recv(24))[0])
sys.exit(code if code >= 0 else 128 - code)
"""


def bash(line: str, folder: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a line of a shell in a folder; ``convcli`` is written into the first folder on its path."""
    starter = _starter(("-W", "error"), ()).fileno()
    program = Path(environment["PATH"].partition(os.pathsep)[0], "convcli")
    program.write_text(_PROGRAM.format(python=sys.executable, starter=starter))
    program.chmod(0o755)
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_SECONDS,
        check=False,
        pass_fds=[starter],
    )


def install(package: Path, target: Path) -> None:
    """Install a package of this project into a folder, without what it needs."""
    words = "--quiet --no-deps --no-build-isolation --no-compile --disable-pip-version-check --no-index"
    command = [sys.executable, "-m", "pip", "install", *words.split(), "--target", str(target), str(package)]
    subprocess.run(command, check=True, timeout=60)


def writes(process: subprocess.Popen[bytes] | Job, folder: Path) -> bool:
    """Tell whether a process has begun an output in a folder: a file without a name yet, or a temporary."""
    with contextlib.suppress(OSError):  # it ends, or closes one of them
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            name = str(link.readlink())
            if name.startswith(f"{folder.resolve()}/") and (
                name.endswith(" (deleted)") or ".convcli-" in name
            ):
                return True
    return False


def wait_until_it_writes(process: subprocess.Popen[bytes] | Job, folder: Path) -> None:
    """Wait until a process has begun an output, or has ended; at most half a minute."""
    deadline = time.monotonic() + 30
    while process.poll() is None and not writes(process, folder) and time.monotonic() < deadline:
        time.sleep(0.001)


def as_user(uid: int) -> None:
    """Become another user, in a child of root's before it begins; one who may still read the Python that runs."""
    libc = ctypes.CDLL(None)
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    read_all = 1 << 2  # CAP_DAC_READ_SEARCH
    header = struct.pack("Ii", 0x20080522, 0)
    if libc.capset(header, struct.pack("6I", read_all, read_all, read_all, 0, 0, 0)):
        raise OSError("capset")
    libc.prctl(47, 2, 2, 0, 0)  # PR_CAP_AMBIENT_RAISE: kept when the program starts
