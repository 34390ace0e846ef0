"""What is said on stderr: which lines are notes and which errors, and that a line is one piece."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from convcli import __main__ as module
from convcli.cli import launch
from tests.shell import SAMPLES


def written(*words: str, cwd: Path) -> list[bytes]:
    """Run a command, and return what each of its writes to stderr held: a datagram socket keeps them apart."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        subprocess.run(
            [sys.executable, "-m", "convcli", *words], cwd=cwd, stdout=subprocess.DEVNULL, stderr=theirs,
            env={**os.environ, "PYTHONUNBUFFERED": "1"}, timeout=60, check=False,
        )  # fmt: skip
        ours.setblocking(False)
        found = []
        while True:
            try:
                found.append(ours.recv(1 << 16))
            except BlockingIOError:
                return found


@pytest.mark.parametrize(
    ("words", "prefixes"),
    [
        (("filter", str(SAMPLES / "house.png"), "-k", "hedge", "-o", "a.png"), [b"note: "]),
        (("filter", "a\nb.png", "-k", "box:3"), [b"error: "]),
        (("filter", "absent.png", "away.png", "-k", "box:3", "--out-dir", "."), [b"error: "] * 3),
        (("filter", "--nonsense"), [b"error: "]),
        (("shape", "7", "pool:max:3,s=2"), []),
        (("shape", "8", "pool:max:3,s=2"), [b"note: "]),
    ],
)
def test_every_line_is_one_write_and_says_what_it_is(
    words: tuple[str, ...], prefixes: list[bytes], tmp_path: Path
) -> None:
    """Two processes of a pipe share a terminal: a line in several writes could mix with another's."""
    lines = written(*words, cwd=tmp_path)
    assert [line[: len(prefix)] for line, prefix in zip(lines, prefixes, strict=True)] == prefixes
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)


def test_the_command_and_the_module_start_alike() -> None:
    (script,) = entry_points(group="console_scripts", name="convcli")
    assert script.load() is launch.main is module.main
