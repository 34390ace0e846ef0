"""The documented walk: one kernel file over every kind of data; the page's commands and Python are run in order."""

from __future__ import annotations

import doctest
import io
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.test_readme import ROOT, check, shell, steps

WALK = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(console|python)\n(.*?)^```$", WALK, flags=re.MULTILINE | re.DOTALL)
KINDS = ("table", "sound", "photo", "clip", "scan", "map", "chunked store")

__all__ = ["shell"]  # a fixture


@pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for a shell with pipes")
def test_the_walk_goes_as_it_is_shown(
    shell: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for language, block in BLOCKS:
        if language == "console":
            for step in steps(block):
                check(step, shell, tmp_path)
            continue
        test = doctest.DocTestParser().get_doctest(block, names, "walk", "walk.md", 0)
        report = io.StringIO()
        assert (
            test.examples
            and not doctest.DocTestRunner().run(test, out=report.write, clear_globs=False).failed
        ), report.getvalue()
        names = test.globs


def test_the_walk_has_every_kind() -> None:
    assert re.findall(r"^## An? (.*)$", WALK, flags=re.MULTILINE) == [*KINDS]
    assert WALK.count(" -k fade.yaml ") == len(KINDS)
