"""The table "text, item, command" of the documents: every command runs and prints what its row says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from tests.shell import bash
from tests.test_readme import CONSOLE, DOCS, shell

PAGE = (DOCS / "textbook.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (.+?) \| (.+?) \| `(convcli .*?|for .*?|printf .*?)` \| `(.*?)` \|$", flags=re.MULTILINE
)
ITEMS = [(item, command.replace("\\|", "|"), shown) for item, _, command, shown in ROW.findall(PAGE)]

RUN = {step.command: step.stdout for block in CONSOLE for step in block}  # test_readme runs these

__all__ = ["shell"]  # a fixture


def test_every_row_is_found() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| item")]
    assert len(ITEMS) == len(rows) > 60


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for a shell with pipes")
@pytest.mark.parametrize(("item", "command", "shown"), ITEMS, ids=[item for item, _, _ in ITEMS])
def test_item(item: str, command: str, shown: str, shell: dict[str, str], tmp_path: Path) -> None:
    lines = [" ".join(line.split()) for line in RUN.get(command) or run(command, shell, tmp_path)]
    assert any(" ".join(shown.split()) in line for line in lines), (item, lines)


def run(command: str, shell: dict[str, str], folder: Path) -> list[str]:
    """Return what a command prints."""
    done = bash(command, folder, shell)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
