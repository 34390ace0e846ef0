"""The layout as a rule: imports point one way, and nobody pays for what is not used."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "convcli"

# Each wing may import those before it.  `media` stands beside them: the core and the media meet in `data`.
ORDER = (
    "common",
    "data",
    "geometry",
    "pixels",
    "kernel",
    "engines",
    "jobs",
    "plan",
    "execution",
    "detection",
    "networks",
    "learning",
    "explanations",
    "api",
    "cli",
    "__main__",
)
MEDIA_MAY_IMPORT = {"common", "data", "media"}
KNOW_FILES = {"api", "cli"}
MOST_WINGS, MOST_ENTRIES = 15, 20


def name_of(path: Path) -> str:
    """Return a file's module, without ``convcli.``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports_of(name: str) -> set[str]:
    """Return the modules of the package that a module imports, those for type checkers included."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "convcli":
            module = (node.module or "").removeprefix("convcli").removeprefix(".")
            for alias in node.names:
                inner = f"{module}.{alias.name}".removeprefix(".")
                found.add(inner if inner in FILES else module)
        elif isinstance(node, ast.Import):
            names = (alias.name for alias in node.names)
            found |= {one.removeprefix("convcli.") for one in names if one.startswith("convcli.")}
    return found - {name}


GRAPH = {name: imports_of(name) for name in FILES}


def wing_of(name: str) -> str:
    return name.split(".")[0]


@pytest.mark.parametrize("name", [name for name in GRAPH if name])
def test_imports_point_one_way(name: str) -> None:
    wing = wing_of(name)
    for other in {wing_of(one) for one in GRAPH[name]} - {wing, ""}:
        if wing == "media":
            assert other in MEDIA_MAY_IMPORT, f"media imports {other}"
        elif other == "media":
            assert wing in KNOW_FILES, f"{wing} imports media"
        else:
            assert ORDER.index(other) < ORDER.index(wing), f"{wing} imports {other}"


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Return modules that import each other in a circle; none where there is no circle.

    >>> circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})
    ['b', 'c']
    """
    left = dict(graph)
    while True:
        leaves = [name for name, others in left.items() if not others & left.keys()]
        if not leaves:
            break
        for name in leaves:
            del left[name]
    roots = True
    while roots:  # what only leads to a circle is not a part of it
        roots = [name for name in left if not any(name in others for others in left.values())]
        for name in roots:
            del left[name]
    return sorted(left)


def test_no_module_imports_itself_in_a_circle() -> None:
    assert circle(GRAPH) == []


def test_the_package_stays_small_at_its_top() -> None:
    entries = [path for path in PACKAGE.iterdir() if path.is_file() or any(path.rglob("*.py"))]
    assert len(entries) <= MOST_ENTRIES
    assert sum(path.is_dir() for path in entries) <= MOST_WINGS


HEAVY = {"torch", "numpy", "PIL", "tifffile", "imagecodecs", "polars", "imageio", "rich", "scipy"}
if "CONVCLI_UNPINNED" not in os.environ:  # typer imports it from 0.29 on: why it is pinned
    HEAVY.add("pydantic")


def modules_after(*arguments: str) -> set[str]:
    code = (
        "import sys; from convcli.cli.program import run; code = run(sys.argv[1:]); "
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
        ("shape", "32", "--kernel-size", "3", "--want", "16"),
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


SCRIPTS = sorted(
    path for folder in ("samples", "benchmarks") for path in (PACKAGE.parent / folder).glob("*.py")
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_import_what_is_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "convcli":
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                inner = f"{node.module}.{alias.name}".removeprefix("convcli.")
                assert hasattr(module, alias.name) or inner in FILES, f"{node.module} has no {alias.name}"
