"""Each promise of SECURITY.md names a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TABLE = TEXT.partition("## What is promised")[2].partition("\n## ")[0]


def test_each_promise_names_a_test() -> None:
    rows = [row for row in TABLE.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 15
    assert [row for row in rows if "::test_" not in row] == []


def test_the_named_tests_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)
    for path, test in named:
        functions = [
            node.name
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
            if isinstance(node, ast.FunctionDef)
        ]
        assert not test or test in functions, (path, test)
    assert all((ROOT / path).exists() for path in re.findall(r"`(tests/[\w/.]+)`", TEXT))
