"""What is installed is what is written down: pins, lower bounds, licences."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# make test-oldest and test-newest run the suite with other versions on purpose.
pinned_only = pytest.mark.skipif("CONVCLI_UNPINNED" in os.environ, reason="not the pinned environment")


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: str) -> dict[str, str]:
    lines = (ROOT / file).read_text().splitlines()
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines) if version}


def needed(*extras: str) -> set[str]:
    """Return the names of all packages that convcli with these extras brings, of those that are installed."""
    found: set[str] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [("convcli", extras)]
    done = set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in done:
            continue
        done.add((name, wanted))
        try:
            requires: Iterable[str] = distribution(name).requires or ()
        except PackageNotFoundError:
            continue
        found.add(name)
        for text in requires:
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                waiting.append((plain(one.name), tuple(sorted(one.extras))))
    return found - {"convcli"}


@pinned_only
def test_everything_that_the_tests_install_is_pinned_and_is_that_version() -> None:
    pinned = pins("constraints.txt")
    installed = {name: Version(distribution(name).version).public for name in needed("test", "lint")}
    assert len(installed) > 40
    assert {name: pinned.get(name) for name in installed} == installed


def test_the_oldest_are_those_that_the_project_admits() -> None:
    texts = (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"])
    lowest = {
        plain(one.name): next(part.version for part in one.specifier if part.operator in (">=", "=="))
        for one in map(Requirement, texts)
    }
    oldest = pins("tests/constraints-oldest.txt")
    assert oldest.pop("torch") == pins("constraints.txt")["torch"]  # the one build that is at hand
    lowest.pop("torch")
    assert {name: Version(version) for name, version in oldest.items()} == {
        name: Version(version) for name, version in lowest.items()
    }


def licence_of(name: str) -> str:
    """Return what a package's metadata says: an expression, a field, or the last part of a classifier."""
    about = distribution(name).metadata
    field = (about.get("License") or "").splitlines()
    classifiers = [line for line in about.get_all("Classifier", []) if line.startswith("License")]
    said = about.get("License-Expression") or (classifiers[0] if classifiers else field[0])
    known = {"Apache Software License": "Apache-2.0", "ISC License (ISCL)": "ISC"}
    short = said.rpartition(":: ")[2]
    return known.get(short, short.removesuffix(" License"))


@pinned_only
def test_licences_of_what_runs() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Licences")[2]
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    table = {plain(name): (version, licence) for name, version, licence, _ in rows[1:]}
    assert set(table) == needed()
    pinned = pins("constraints.txt")
    for name, (version, licence) in table.items():
        assert version == pinned[name], name
        said = licence_of(name)
        assert said == licence or (said == "BSD" and licence.startswith("BSD")), (name, said)
        assert all(row[3] for row in rows)


def test_what_names_a_version_names_this_one() -> None:
    """The citation, and the Pythons that are tested: the oldest that is admitted is among them."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"] and citation["license"] == PROJECT["license"]
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert all(min(job["strategy"]["matrix"]["python"], key=Version) == oldest for job in jobs.values())


def test_everything_that_the_source_distribution_names_is_there() -> None:
    """Without the documents their tests would fail in it."""
    kept = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["sdist"]
    assert all(list(ROOT.glob(pattern.lstrip("/"))) for pattern in kept["include"])
    assert {"/docs", "/tests", "/mkdocs.yml"} <= set(kept["include"])
