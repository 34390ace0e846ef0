"""The layout as a rule: imports point one way, and nobody pays for what is not used."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "convcli"

# Each room may import the rooms before it.
LAYERS = [
    {"errors", "frozen"},
    {"ahead", "data", "numerals", "policies"},
    {"machine", "padding", "ranges", "work"},
    {"costs"},
    {"algorithms"},
    {"windows"},
    {"geometry"},
    {"kernel", "taps"},
    {"layers"},
    {"layer_grammar", "chain", "wanted", "frameworks"},
    {"bind"},
    {"matrix", "explain"},
    {"film", "matrix_drawing"},
    {"brick_drawing"},
    {"film_drawing"},
    {"colour", "render", "output"},
    {"job", "workload"},
    {"plan", "draft"},
    {"engines"},
    {"compute", "planes"},
    {"runner"},
    {"run"},
    {"planes_run"},
    {"detection"},
    {"net"},
    {"learn"},
    {"receptive"},
    {"receptive_drawing"},
    {"api"},
    {"api_motion"},
    {"cli"},
    {"__main__"},
]
RANK = {room: rank for rank, rooms in enumerate(LAYERS) for room in rooms}
MEDIA_MAY_IMPORT = {"errors", "frozen", "data", "media"}
OUTSIDE = {"api", "api_motion", "cli", "__main__"}  # the only rooms that may know files
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "convcli":
            parts = (node.module or "").split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("convcli.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    room = room_of(path)
    for other in imported_rooms(path) - {room}:
        if room == "media":
            assert other in MEDIA_MAY_IMPORT, f"media imports {other}"
        elif other == "media":
            assert room in OUTSIDE, f"{room} imports media"
        else:
            assert RANK[other] < RANK[room], f"{room} imports {other}"


HEAVY = {"torch", "numpy", "PIL", "tifffile", "imagecodecs", "polars", "imageio", "rich", "scipy"}
if "CONVCLI_UNPINNED" not in os.environ:  # typer imports it from 0.29 on: why it is pinned
    HEAVY.add("pydantic")


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys; from convcli.__main__ import run; code = run(sys.argv[1:]); "
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("filter", "--help"),
        ("shape", "3@32x32", "conv:6@5x5"),
        ("shape", "32", "--kernel", "3", "--want", "16"),
        ("shape", "32", "conv:3,s=2", "--compare"),
        ("matrix", "--help"),
        ("explain", "--help"),
        ("net", "run", "--help"),
        ("net", "show", "samples/lenet.yaml"),
        ("kernels", "list"),
        ("kernels", "list", "--json"),
    ],
    ids=" ".join,
)
def test_commands_without_data_import_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not modules_after(*arguments) & HEAVY


def test_a_small_filter_job_does_not_pay_for_torch(tmp_path: Path) -> None:
    table = tmp_path / "a.csv"
    table.write_text("1\n2\n3\n")
    used = modules_after("filter", str(table), "-k", "smooth3", "-o", str(tmp_path / "b.csv"))
    assert "numpy" in used
    assert not used & (HEAVY - {"numpy", "polars"})
