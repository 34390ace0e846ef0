"""Help texts: every command and option has one, and a change to any is seen.

``python -m tests.cli.test_help`` writes the snapshots anew; read the difference before you keep it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from convcli.cli.program import COMMANDS as REGISTERED
from convcli.cli.program import build
from tests.shell import ok

SNAPSHOTS = Path(__file__).parents[1] / "snapshots"
WIDTH = 80
COMMANDS = [
    (),
    ("filter",),
    ("motion",),
    ("shape",),
    ("explain",),
    ("matrix",),
    ("learn",),
    ("net",),
    ("net", "run"),
    ("net", "show"),
    ("net", "check"),
    ("kernels",),
    ("kernels", "list"),
    ("kernels", "show"),
    ("job",),
    ("doctor",),
]


def snapshot(command: tuple[str, ...]) -> Path:
    return SNAPSHOTS / f"{'-'.join(('convcli', *command))}.txt"


def help_of(command: tuple[str, ...]) -> str:
    return ok(*command, "--help").stdout.decode()


@pytest.mark.skipif("CONVCLI_UNPINNED" in os.environ, reason="the layout is that of the pinned typer")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_is_as_in_its_snapshot(command: tuple[str, ...]) -> None:
    assert help_of(command) == snapshot(command).read_text(encoding="utf-8"), (
        "if the change is meant: python -m tests.cli.test_help"
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_fits_a_terminal(command: tuple[str, ...]) -> None:
    lines = snapshot(command).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > WIDTH] == []


@pytest.mark.parametrize("name", REGISTERED)
def test_the_overview_tells_no_more_than_the_command_does(name: str) -> None:
    """Its words are kept apart, so that the list loads nothing; each has to occur in the command's own help."""
    words = REGISTERED[name].summary.rstrip(".").replace(",", "").replace(":", "").lower().split()
    own = help_of((name,)).lower()
    assert [word for word in words if word not in own] == []


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command with its words, groups included."""
    yield path, command
    for name, child in getattr(command, "commands", {}).items():
        yield from walk(child, (*path, name))


ALL = dict(walk(typer.main.get_command(build(REGISTERED))))


def test_every_command_has_a_snapshot() -> None:
    assert set(ALL) == set(COMMANDS)
    assert {path.name for path in SNAPSHOTS.iterdir()} == {snapshot(command).name for command in COMMANDS}


@pytest.mark.parametrize("command", ALL, ids=" ".join)
def test_everything_is_documented(command: tuple[str, ...]) -> None:
    assert ALL[command].help
    assert [option.name for option in ALL[command].params if not option.help] == []


@pytest.mark.parametrize("command", ["filter", "motion", "explain", "matrix", "learn", "net run"])
def test_the_short_help_is_one_page_of_what_the_long_one_says(command: str) -> None:
    page, whole = ok(*command.split(), "-h").stdout.decode(), help_of(tuple(command.split()))
    lines = page.splitlines()
    assert len(lines) <= 30 and max(map(len, lines)) <= WIDTH
    examples = [line for line in lines if line.startswith("  convcli ")]
    assert len(examples) == 4 and all(line.strip() in whole for line in examples)
    flags = re.findall(r"^  (?:-., )?(--[a-z-]+)", page, re.MULTILINE)
    assert len(flags) == 8 and all(f"{flag} " in whole for flag in flags)
    everything = set(re.findall(r"^  (?:-., )?(--[a-z-]+)", whole, re.MULTILINE)) - {"--help"}
    assert lines[-1] == f"All {len(everything)} options: convcli {command} --help"


def write() -> None:
    SNAPSHOTS.mkdir(exist_ok=True)
    for command in COMMANDS:
        snapshot(command).write_text(help_of(command), encoding="utf-8")


if __name__ == "__main__":
    write()
