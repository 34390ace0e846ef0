"""A small Dask cluster of processes of its own: a scheduler, and workers of one thread that a nanny starts again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SECONDS = 30


def until(true: Callable[[], object], what: str) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started; none where it has ended."""
    try:
        found = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(one) for text in found for one in text.read_text().split()]
    except OSError:
        return []


class Cluster:
    """Begin a cluster, and end it with the ``with`` block.

    Parameters
    ----------
    folder : Path
        For what Dask writes.
    workers : int
    patch : str
        Python that each of its processes runs when it starts.
    """

    def __init__(self, folder: Path, workers: int = 2, patch: str = "") -> None:
        self.folder, self._count = folder, workers
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        (folder / "patch").mkdir(parents=True)
        (folder / "patch/sitecustomize.py").write_text(patch)
        self._log = (folder / "log").open("ab")
        self.scheduler = self._start(
            "scheduler", "--port", self.address.rpartition(":")[2], "--host", "127.0.0.1"
        )
        self.nannies = [self._nanny() for _ in range(workers)]

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        ends = ("--idle-timeout", "300s") if words[0] == "scheduler" else ()  # where nobody ends it
        call = [sys.executable, "-m", "dask", *words, *ends, "--no-dashboard"]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.folder / "patch"),
            "DASK_TEMPORARY_DIRECTORY": str(self.folder),
        }
        return subprocess.Popen(
            call, cwd=self.folder, env=environment, stdout=self._log, stderr=self._log, start_new_session=True
        )

    def _nanny(self) -> subprocess.Popen[bytes]:
        return self._start(
            "worker", self.address, "--nthreads", "1", "--nworkers", "1", "--host", "127.0.0.1"
        )

    def restart(self) -> None:
        """Kill the scheduler; it and what was lost with it starts again."""
        self.end()
        self.scheduler = self._start(
            "scheduler", "--port", self.address.rpartition(":")[2], "--host", "127.0.0.1"
        )
        self.nannies = [self._nanny() for _ in range(self._count)]

    @property
    def workers(self) -> list[int]:
        """The processes that compute, by their numbers."""
        inner = [pid for nanny in self.nannies for pid in children(nanny.pid)]
        return [pid for pid in inner if b"spawn_main" in _line(pid)]

    def wait(self) -> None:
        """Wait until all workers have registered."""
        until(
            lambda: len(self.workers) == self._count and self._registered() >= self._count, "no workers came"
        )

    def _registered(self) -> int:
        return (
            (self.folder / "log")
            .read_bytes()
            .count(b"Starting established connection to " + self.address.encode())
        )

    def end(self) -> None:
        """Kill all."""
        for one in (*self.nannies, self.scheduler):
            inner = children(one.pid)
            for pid in (one.pid, *inner):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            one.wait()
        self._log.truncate(0)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._log.close()


def _line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
