"""What a terminal shows: help in panels, tables, a bar that goes away; in a pipe none of it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable
from fcntl import ioctl
from pathlib import Path
from typing import cast

import pytest

from convcli.common.options import Panel
from tests.shell import SAMPLES, ok

HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(
    *arguments: str,
    environment: dict[str, str] | None = None,
    then: Callable[[int, bytes], bool] | None = None,
) -> tuple[bytes, int]:
    """Run a program on a terminal of 80 columns; return what it shows and its exit code.

    ``then`` is called with the process and what has been shown so far, until it says that it has acted.
    """
    process, terminal = pty.fork()
    if process == 0:
        kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
        os.execve(arguments[0], arguments, {**kept, "TERM": "xterm-256color", **(environment or {})})
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    shown, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(terminal, 65536)
        except OSError:  # the other side was closed
            break
        if not part:
            break
        shown += part
        if then is not None and then(process, shown):
            then = None
    os.close(terminal)
    return shown, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def convcli(*arguments: str, **environment: str) -> str:
    shown, code = on_terminal(sys.executable, "-m", "convcli", *arguments, environment=environment)
    assert code == 0, shown
    return shown.decode().replace("\r\n", "\n")


def test_help_stands_in_panels_in_their_order() -> None:
    text = ESCAPE.sub("", convcli("filter", "--help"))
    assert max(map(len, text.splitlines())) <= 80
    titles = re.findall(r"╭─ (.+?) ─+╮", text)
    wanted = [panel.value for panel in Panel if panel not in (Panel.MOTION, Panel.NET, Panel.TRAINING)]
    assert titles == ["Arguments", *wanted]
    assert "offset[:GAIN]" in text  # a bracket is not markup
    assert "╭" not in ok("filter", "--help").stdout.decode()


@pytest.mark.parametrize("words", [(), ("net",), ("kernels",)])
def test_a_command_alone_shows_its_help_which_fits_the_screen(words: tuple[str, ...]) -> None:
    bare, code = on_terminal(sys.executable, "-m", "convcli", *words)
    assert code == 2 and bare.decode().replace("\r\n", "\n").rstrip() == convcli(*words, "--help").rstrip()
    assert bare.count(b"\n") <= 24


def test_blocks_of_help_keep_their_indentation() -> None:
    text = ESCAPE.sub("", convcli("shape", "--help"))
    first, second = (
        next(line for line in text.splitlines() if f" {name}:[OUT@]K" in line) for name in ("conv", "tconv")
    )
    assert first.index("conv:") == second.index("tconv:")
    assert first.index("convolution") == second.index("transposed")


def test_no_colour_where_none_is_wanted() -> None:
    coloured, plain = convcli("kernels", "list"), convcli("kernels", "list", NO_COLOR="1")
    colour = re.compile(r"\x1b\[(3[0-9]|9[0-7]|38;)")
    assert ESCAPE.sub("", coloured) == ESCAPE.sub("", plain)
    assert not colour.search(plain)
    assert colour.search(convcli("filter", "--help"))
    assert not colour.search(convcli("filter", "--help", NO_COLOR="1"))


def words(text: str) -> list[str]:
    return ESCAPE.sub("", text).replace("─", "").split()


@pytest.mark.parametrize(
    "arguments",
    [
        ("shape", "3@32x32", "conv:6@5x5", "pool:max:2"),
        ("shape", "32", "--kernel-size", "3", "--want", "16"),
        ("net", "show", "samples/lenet.yaml"),
    ],
    ids=" ".join,
)
def test_a_table_says_the_same_on_a_terminal(arguments: tuple[str, ...]) -> None:
    shown = "\n".join(line for line in convcli(*arguments).splitlines() if "note: " not in line)
    assert words(shown) == words(ok(*arguments).stdout.decode())
    if arguments[0] == "shape":
        assert "──" in shown


def test_a_table_wider_than_the_terminal_stays_whole() -> None:
    layer = "conv:64@7x7,s=2x3,p=1:2x2:1,d=1x2"
    assert words(convcli("shape", "3@1024x1030", layer)) == words(
        ok("shape", "3@1024x1030", layer).stdout.decode()
    )


WORK = """
import signal, time
from convcli.cli.shared.options import Progress
from convcli.cli.shared.terminal import Meter
from convcli.common.signals import leave_on
leave_on(signal.SIGINT)
leave_on(signal.SIGTERM)
meter = Meter(Progress.AUTO, "frames")
meter(1, 9)
time.sleep(1.1)
meter(2, 9)
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_takes_the_bar_away_and_shows_the_cursor(number: signal.Signals) -> None:
    def stop(process: int, shown: bytes) -> bool:
        if b"2/9 frames" not in shown:
            return False
        os.kill(process, number)
        return True

    shown, code = on_terminal(sys.executable, "-c", WORK, then=stop)
    assert code == 128 + number
    assert shown.count(HIDDEN) == 1
    assert shown.rindex(SHOWN) > shown.rindex(b"2/9 frames")
    assert shown.endswith(b"\r\x1b[K" + SHOWN)


def test_a_bar_goes_when_the_work_is_done() -> None:
    work = cast(str, WORK).replace("time.sleep(60)", "meter(9, 9); meter.close(); print('done')")
    shown, code = on_terminal(sys.executable, "-c", work)
    assert code == 0
    assert b"9/9 frames" in shown
    assert shown.rindex(SHOWN) < shown.rindex(b"done")
    assert b"\x1b[2K" in shown  # the line was cleared


def test_names_of_files_do_not_steer_a_terminal(tmp_path: Path) -> None:
    """On a terminal they are shown, as ls does; a pipe gets them byte by byte, for the command that reads them."""
    name = "a\x1b[2J\x9b31m"
    for suffix in (".png", ".yaml", ".csv"):
        (tmp_path / f"{name}{suffix}").write_bytes((SAMPLES / SAME[suffix]).read_bytes())
    jobs = (
        ("filter", f"{name}.png", "-k", f"{name}.yaml", "-y"),
        ("filter", f"{name}.csv", "-k", "smooth3", "-y"),
        ("motion", f"{name}%d.png", "--no-output"),
        ("kernels", "show", f"{name}.yaml"),
    )
    for job in jobs:
        shown, _ = on_terminal(
            "/bin/sh", "-c", f'cd "$0" && exec {sys.executable} -m convcli "$@"', str(tmp_path), *job
        )
        assert b"\x1b[2J" not in shown and "\x9b".encode() not in shown, shown
        assert b"\\x1b[2J" in shown or job[0] == "kernels", shown


SAME = {".png": "house.png", ".yaml": "../kernels/hedge.yaml", ".csv": "noisy-signal.csv"}
