"""The documents keep their promises: commands and Python are run, tables, drawings and links are checked."""

from __future__ import annotations

import doctest
import io
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import convcli
from convcli.cli.program import COMMANDS
from convcli.geometry.padding import parse_padding
from convcli.geometry.windows import window
from tests import pad_modes
from tests.shell import bash
from tests.test_imports import ORDER

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EDGES = (DOCS / "edges-and-values.md").read_text(encoding="utf-8")
IN_ORDER = ("walk", "coming-from")  # pages whose blocks build on each other, with tests of their own
PAGES = [
    README,
    *(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")) if page.stem not in IN_ORDER),
]


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of the documents in a language."""
    fence = re.compile(rf"^```{language}\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
    return [block for page in PAGES for block in fence.findall(page)]


@dataclass(frozen=True)
class Step:
    """A command of the documents and the lines that stand under it."""

    command: str
    shown: tuple[str, ...]

    @property
    def stderr(self) -> list[str]:
        said = () if self.command.endswith("2>&1") else self.shown
        return [line for line in said if line.startswith(("note: ", "error: "))]

    @property
    def stdout(self) -> list[str]:
        return [line for line in self.shown if line not in self.stderr]


def steps(block: str) -> list[Step]:
    """Read a console block: each line with ``$`` is a command, what follows is what it prints."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)
    assert parts[0] == "", f"a console block begins with a command, not with {parts[0]!r}"
    return [Step(first, tuple(shown)) for first, *shown in (part.splitlines() for part in parts[1:])]


CONSOLE = [steps(block) for block in blocks("console")]
RUN = [block for block in CONSOLE if not block[0].command.startswith("make ")]
MADE = [step.command for block in CONSOLE for step in block if step.command.startswith("make ")]


@pytest.fixture
def shell(tmp_path: Path) -> dict[str, str]:
    """A folder with the samples, and ``convcli`` on the path: the one that is tested."""
    shutil.copytree(ROOT / "samples", tmp_path / "samples")
    (tmp_path / "bin").mkdir()
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "NO_COLOR": "1", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for a shell with pipes")
@pytest.mark.parametrize("block", RUN, ids=lambda block: block[0].command[:60])
def test_commands_print_what_the_documents_show(
    block: list[Step], shell: dict[str, str], tmp_path: Path
) -> None:
    for step in block:
        check(step, shell, tmp_path)


def check(step: Step, shell: dict[str, str], folder: Path) -> None:
    """Run a command; what it prints is what stands under it."""
    done = bash(step.command, folder, shell)
    assert done.stderr.splitlines() == step.stderr, step.command
    assert done.stdout.splitlines() == step.stdout, step.command
    assert done.returncode == 0, step.command


def test_readme_has_the_two_commands_and_they_are_targets() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert {"make demo", "make test"} <= set(MADE)
    for command in MADE:
        assert command.removeprefix("make ") in targets


@pytest.mark.parametrize("block", blocks("python"))
def test_python_returns_what_the_documents_show(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    test = doctest.DocTestParser().get_doctest(block, {}, "documents", None, 0)
    assert test.examples
    report = io.StringIO()
    result = doctest.DocTestRunner().run(test, out=report.write)
    assert result.failed == 0, report.getvalue()


# The drawing of padding modes, against numpy.
DRAWN = dict(re.findall(r"^(--pad-\S+ \S+) +([-0-9][-0-9 \[\]]+)$", blocks("text")[0], flags=re.MULTILINE))


def test_every_padding_mode_is_drawn() -> None:
    said = {f"--pad-mode {mode}" for mode in pad_modes.NUMPY} - {"--pad-mode constant"}
    assert DRAWN.keys() == said | {"--pad-value 9"}


@pytest.mark.parametrize("option", DRAWN)
def test_padding_modes_are_as_drawn(option: str) -> None:
    before, inside, after = ([int(n) for n in part.split()] for part in re.split(r"[\[\]]", DRAWN[option]))
    drawn = [*before, *inside, *after]
    amount = len(before)
    assert len(after) == amount > len(inside)
    name, value = option.removeprefix("--").replace("-", "_").split()
    mode, number = (value, 0.0) if name == "pad_mode" else ("constant", float(value))
    np.testing.assert_array_equal(drawn, pad_modes.padded(np.array(inside), amount, mode, number))
    said = {name: float(value) if name == "pad_value" else value}
    ours = convcli.filter(inside, "identity:1", padding=amount, **said)
    np.testing.assert_array_equal(drawn, ours)


AMOUNTS = [
    (name, cells)
    for names, *cells in re.findall(
        r"^\| (`[^|]+`) \| (\d+:\d+) \| (\d+) \| (\d+:\d+) \| (\d+) \|", EDGES, flags=re.MULTILINE
    )
    for name in re.findall(r"`([^`]+)`", names)
]


def test_the_table_of_amounts_is_found() -> None:
    assert {name for name, _ in AMOUNTS} >= {"valid", "same", "same-upper", "same-lower", "full", "tail"}


@pytest.mark.parametrize(("name", "cells"), AMOUNTS)
def test_padding_amounts_are_as_in_the_table(name: str, cells: list[str]) -> None:
    samples, kernel = 8, 3
    (padding,) = parse_padding(name)
    for stride, amount, size in ((1, cells[0], cells[1]), (2, cells[2], cells[3])):
        before, after = map(int, amount.split(":"))
        bound = window(samples, kernel, stride=stride, padding=padding)
        assert (bound.before, bound.after) == (before, after)
        assert (samples + before + after - kernel) // stride + 1 == int(size)  # Dumoulin and Visin (2016)
        assert convcli.shape(str(samples), f"conv:{kernel},s={stride},p={name}") == size


def test_every_command_stands_in_readme() -> None:
    for name in COMMANDS:
        assert f"convcli {name}" in README


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 200


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))],
    ids=lambda page: page.stem,
)
def test_links_lead_somewhere(page: Path) -> None:
    """A page of docs links to nothing outside docs, so that it can be published alone."""
    text = page.read_text(encoding="utf-8")
    for target, heading in re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]+))?\)", text):
        other = page.parent / target if target else page
        assert other.exists(), target
        assert page.parent != DOCS or other.resolve().is_relative_to(DOCS), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in [re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in headings], (
                heading
            )


def test_every_page_can_be_found_from_readme() -> None:
    found = {README}
    for _ in range(3):
        linked = {name for text in found for name in re.findall(r"\]\((?:docs/)?([\w-]+\.md)", text)}
        found |= {(DOCS / name).read_text(encoding="utf-8") for name in linked if (DOCS / name).exists()}
    assert {page.name for page in DOCS.glob("*.md")} <= linked


@pytest.mark.parametrize("name", ["overview.webp", "motion.png"])
def test_the_pictures_are_small_and_whole(name: str) -> None:
    path = DOCS / "pictures" / name
    assert path.stat().st_size < 100_000
    with Image.open(path) as image:
        image.load()
        assert image.width <= 1100


def test_the_map_in_contributing_has_every_wing_in_the_order_of_imports() -> None:
    table = CONTRIBUTING.partition("| wing | for |")[2].partition("\n\n")[0]
    wings = re.findall(r"`(\w+)(?:\.py|/)`", "".join(re.findall(r"^\|.*? \|", table, flags=re.MULTILINE)))
    assert sorted(wings) == sorted({*ORDER, "media"})
    assert [wing for wing in wings if wing != "media"] == list(ORDER)
