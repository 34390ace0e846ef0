"""The notebook of the documents runs, cell by cell, and holds no outputs."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

ROOT = Path(__file__).parents[1]
CELLS = json.loads((ROOT / "docs/notebook.ipynb").read_text(encoding="utf-8"))["cells"]


def shown(source: str, names: dict[str, Any]) -> Any:
    """Run a cell and return its last expression's value."""
    body = ast.parse(source).body
    last = body.pop() if isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names) if last else None


def test_the_notebook_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, Any] = {}
    sources = ["".join(cell["source"]) for cell in CELLS if cell["cell_type"] == "code"]
    seen = [shown(source, names) for source in sources]
    assert names["soft"].mode == "RGB" and names["soft"].size == names["house"].size
    np.testing.assert_allclose(names["smooth"], np.convolve(names["signal"], np.ones(3) / 3, "valid"))
    blurred = ndimage.gaussian_filter(np.asarray(names["house"], float), (2, 2, 0), mode="nearest")[::4, ::4]
    np.testing.assert_allclose(names["small"], blurred, atol=1e-3)
    np.testing.assert_array_equal(names["clean"], ndimage.median_filter(names["speckled"], 3, mode="nearest"))
    assert "64@56x56" in [one for one in seen if isinstance(one, str)] and len(names["events"]) == 2


def test_the_notebook_is_kept_without_outputs() -> None:
    assert all(not cell["outputs"] and cell["execution_count"] is None for cell in CELLS if "outputs" in cell)
