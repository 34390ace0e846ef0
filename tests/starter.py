"""Starts commands as processes of their own without starting Python each time: forks of one that has loaded everything.

``python -m tests.starter``, with the names of modules if not all are to be loaded, takes requests from the socket that
is its standard input: the descriptors of the three standard streams and of a socket of the request's own.  That one
brings the command line, the folder, the environment and what to call first; the process's number goes back through it,
and in the end its wait status, the seconds of processors that it took (those of a start among them) and its peak of
memory.  What a process does at its start (`convcli.cli.launch.main`) happens in every fork; only imports have happened
before.  Nothing runs in the server itself, so that no thread and no lock is in the way of a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import select
import socket
import struct
import sys
import time
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
    """Fork for every request until the other end is closed."""
    gc.collect()
    gc.freeze()  # so that no fork copies what it only looks at
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    start = time.process_time()
    status = Path("/proc/self/status").read_text()  # a fork begins without the pages of files
    files = int(status.partition("RssFile:")[2].split()[0]) / 1024
    running: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for one in select.select([requests.fileno(), *running], [], [])[0]:
            if one != requests.fileno():
                process, answer = running.pop(one)
                os.close(one)
                _, status, used = os.wait4(process, 0)
                busy = start + used.ru_utime + used.ru_stime
                _tell(answer, struct.pack("<idd", status, busy, files + used.ru_maxrss / 1024))
                answer.close()
                continue
            _, descriptors, _, _ = socket.recv_fds(requests, 1, 4)
            if not descriptors:
                return
            answer = socket.socket(fileno=descriptors.pop())
            if (child := os.fork()) == 0:
                for other in (requests, *(answer for _, answer in running.values())):
                    other.close()
                become(descriptors, answer)
            for descriptor in descriptors:
                os.close(descriptor)
            running[os.pidfd_open(child)] = child, answer
            _tell(answer, struct.pack("<i", child))


def _tell(answer: socket.socket, numbers: bytes) -> None:
    with contextlib.suppress(OSError):  # who asked has gone
        answer.send(numbers)


def become(streams: list[int], request: socket.socket) -> None:
    """Be the command: `launch.main` never returns."""
    try:
        with request, request.makefile(encoding="utf-8") as text:
            asked = json.load(text)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["convcli", *asked["arguments"]]
        if asked["first"]:
            where, name, *values = asked["first"]
            getattr(importlib.import_module(where), name)(*values)
        from convcli.cli.launch import main

        main()
    except BaseException:
        traceback.print_exc()
    os._exit(255)


if __name__ == "__main__":
    importlib.import_module("convcli.__main__")  # how an interrupt ends what has not begun yet
    for name in sys.argv[1:] or modules():
        importlib.import_module(name)
    __package__ = None  # help then calls the program by its name
    with socket.socket(fileno=os.dup(0)) as requests:
        serve(requests)
