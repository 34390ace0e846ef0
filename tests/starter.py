"""Starts commands as processes of their own without starting Python each time: forks of one that has loaded everything.

``python -m tests.starter`` takes requests from the socket that is its standard input: a command line, a folder, an
environment, and the descriptors of the three standard streams; the answer is the wait status.  What a process does at
its start (`convcli.cli.launch.main`) happens in every fork; only imports have happened before.  Nothing runs in the
server itself, so that no thread and no lock is in the way of a fork.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import socket
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

import convcli

LIBRARIES = ("PIL.Image", "imagecodecs", "imageio.v3", "safetensors.torch")
TABLES = "convcli.media.tables."  # load Polars, which has threads
LEFT_OUT = ("convcli.__main__", "convcli.engines.native.librows", TABLES)


def modules() -> Iterator[str]:
    """Yield the names of what is loaded before any fork."""
    yield from LIBRARIES
    found = (module.name for module in pkgutil.walk_packages(convcli.__path__, "convcli."))
    yield from (name for name in found if not name.startswith(LEFT_OUT))


def serve(requests: socket.socket) -> None:
    """Fork for every request, one at a time, until the other end is closed."""
    gc.collect()
    gc.freeze()  # so that no fork copies what it only looks at
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    while True:
        text, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not text:
            return
        if (child := os.fork()) == 0:
            requests.close()
            become(descriptors, **json.loads(text))
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(os.waitpid(child, 0)[1].to_bytes(4, "little"))


def become(streams: list[int], arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Be the command: `launch.main` never returns."""
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["convcli", *arguments]
        from convcli.cli.launch import main

        main()
    except BaseException:
        traceback.print_exc()
    os._exit(255)


if __name__ == "__main__":
    for name in modules():
        importlib.import_module(name)
    __package__ = None  # help then calls the program by its name
    with socket.socket(fileno=os.dup(0)) as requests:
        serve(requests)
