"""Command lines of every option with usual and extreme values: exit 0, or an error in one line.

Options come from the commands themselves, so that a new one is tried.
"""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from typer.main import get_command
from typer.testing import CliRunner, Result

from convcli.cli.program import build
from convcli.cli.shared import report
from convcli.common.errors import ConvError
from tests.fuzz.python import KERNELS, MOTION, USUAL

# Others load torch, start processes, or wait for something.
LEFT_OUT = (
    "--device",
    "--engine",
    "--debug",
    "--animate",
    "--codec",
    "--preset",
    "--help",
    "--version",
    "--workers",
)
EXTREME = (
    *(
        "",
        " ",
        "0",
        "1",
        "-1",
        "2",
        "3",
        "1e999",
        "-1e-999",
        "nan",
        "inf",
        "1/0",
        "9" * 30,
        "-" + "9" * 30,
        "0x1",
        "٣",
    ),
    *(
        "1,2",
        "1x2",
        "2x",
        "x",
        ":",
        "1:2",
        "5:1",
        "0:0",
        ",",
        ";",
        "%",
        "50%",
        "999%",
        "a",
        "é",
        "\n",
        "../..",
        "none",
    ),
    *(
        "same",
        "valid",
        "auto",
        "all",
        "x",
        "yx",
        "YXC",
        "CYX",
        "max:2",
        "3@8x9",
        "sobel",
        "box:999999999",
        "-",
        ".",
    ),
    *(
        "1s",
        "3mm",
        "-2m",
        "10h",
        "1Hz",
        "0,0,3,3",
        "0,0 9,9 0,9",
        "1/9",
        "1e3",
        "{}",
        "[]",
        "%d",
        "'",
        "png",
        "npy",
    ),
)
FILES = (
    "a.npy",
    "a.csv",
    "b.npy",
    "missing.png",
    "a.npy::x",
    "a.csv::",
    "::a.npy",
    "a::b.npy",
    "*.csv",
    "%d.png",
)
NUMBERS = (
    "0",
    "a.npy",
    "b.npy",
    "a.csv",
    "1,2;3,4",
    "1,2,3",
    "",
    ":",
    "nan",
    "1,2;3",
    "sobel",
    "missing.csv",
)
FIRST = {
    "learn": ("a.npy", "--gradcheck"),
    "kernels": ("list", "show"),
    "net": ("run", "show", "check"),
    "job": FILES,
    "filter": FILES,
    "matrix": (),
    "shape": ("8x9", "3@8x9", "9", ""),
    "explain": FILES,
    "motion": ("b.npy",),
}
MORE = {
    "learn": NUMBERS,
    "kernels": (*KERNELS, *NUMBERS),
    "net": ("n.yaml", *FILES, "a.npy::x", "n.onnx"),
    "job": (),
}


def line(rng: Random) -> list[str]:
    """Return a command and its options, of which one or two may have extreme values."""
    name = rng.choice(list(FIRST))
    words = [name, *([rng.choice(FIRST[name])] if FIRST[name] else [])]
    found: Any = get_command(build([name]))
    command = found.commands[name]
    command = getattr(command, "commands", {}).get(words[-1], command)
    options = [one for one in command.params if one.opts[0].startswith("--")]
    usual = {f"--{key.replace('_', '-')}": values for key, values in (USUAL | MOTION).items()}
    if name == "shape":
        words += [
            rng.choice(("conv:3", "pool:max:2", "tconv:3,s=2", *EXTREME)) for _ in range(rng.randrange(3))
        ]
    if name in MORE:
        words += [rng.choice(MORE[name]) for _ in range(rng.choice((0, 1, 1, 2, 2, 3))) if MORE[name]]
    elif name != "shape" and rng.random() < 0.9:
        words += ["-k", "motion" if name == "motion" else rng.choice(KERNELS[:8])]
    needed = {"matrix": ["--input", "5x6"], "explain": ["--at", "2,3"], "motion": ["--no-output"]}
    words += needed.get(name, []) if rng.random() < 0.9 else []
    for option in rng.sample(options, min(len(options), rng.choice((0, 1, 1, 2, 3)))):
        flag = option.opts[0]
        if flag in LEFT_OUT:
            continue
        texts = [str(one) for one in usual.get(flag, ()) if isinstance(one, str | int | float)] or EXTREME
        words += [flag] if option.is_flag else [flag, rng.choice(EXTREME if rng.random() < 0.6 else texts)]
    return [*words, *["-q"] * any("-q" in one.opts for one in options)]


def try_line(rng: Random, folder: Path) -> None:
    """Run a command line in a folder of its own.

    Raises
    ------
    ConvError
        That the command refuses it.
    """
    words, inside = line(rng), folder / "lines"
    inside.mkdir()
    try:
        with contextlib.chdir(inside):
            numbers = np.random.default_rng(1)
            np.save("a.npy", numbers.normal(0, 9, (7, 9)))
            np.save("b.npy", numbers.integers(0, 255, (4, 6, 7), np.uint8))
            Path("n.yaml").write_text("input: 1@7x9\nlayers:\n- conv: {kernel: sobel-x}\n- relu\n")
            Path("a.csv").write_text("time,a,b\n0,1,2\n1,3,\n2,5,6\n3,1,1\n")
            done = CliRunner().invoke(build([words[0]]), words)
    except BaseException as error:
        error.add_note(f"{words}"[:900])
        raise
    finally:
        shutil.rmtree(inside)
    _judge(words, done)


def ran(words: list[str]) -> None:
    """Run a command line where we are; errors as in `try_line`."""
    _judge(words, CliRunner().invoke(build([words[0]]), words))


def _judge(words: list[str], done: Result) -> None:
    failed = done.exception
    if isinstance(failed, ConvError):
        raise failed
    if isinstance(failed, OSError):  # in the system's words
        raise ConvError(report.explained(failed)[0])
    if failed is not None and not isinstance(failed, SystemExit):
        failed.add_note(f"{words}"[:900])
        raise failed
    if done.exit_code not in (0, 1, 2):
        raise AssertionError(f"exit {done.exit_code} of {words}")
    if done.exit_code:
        raise ConvError(done.stderr or f"exit {done.exit_code}")
