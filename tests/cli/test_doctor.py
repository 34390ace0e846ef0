"""What ``convcli doctor`` says of an installation."""

from __future__ import annotations

import json
import platform
from importlib.metadata import version
from pathlib import Path

import pytest

from convcli.cli.program import run
from convcli.engines.native import library
from tests.shell import ok


def test_it_names_what_is_there() -> None:
    text = ok("doctor").stdout.decode()
    assert len(text.splitlines()) < 24  # one screen
    assert max(map(len, text.splitlines())) < 80
    assert "\ndocuments       docs/ in the source" in text
    assert f"Python          {platform.python_version()} on {platform.system()} " in text
    found = json.loads(ok("doctor", "--json").stdout)
    for group, names in (
        ("engines", {"numpy", "torch"}),
        ("codecs", {"tifffile", "av"}),
        ("extras", {"onnx"}),
    ):
        assert names <= set(found[group])
        for name in names:
            assert found[group][name] == version(name)
            assert f"{name} {version(name)}" in " ".join(text.split())
    loops = library.load()
    assert found["loops"] == (loops and {"vector_bits": 8 * loops.width})


def test_addresses_that_the_distributor_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Core metadata, https://packaging.python.org/en/latest/specifications/core-metadata: Project-URL."""
    (tmp_path / "convcli-9.dist-info").mkdir()
    (tmp_path / "convcli-9.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: convcli\nVersion: 9\n"
        "Project-URL: Documents, https://example.org/docs\nProject-URL: Issues, https://example.org/issues?a=1, 2\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["doctor"]) == 0
    assert "Issues          https://example.org/issues?a=1, 2" in capsys.readouterr().out.splitlines()
    assert run(["doctor", "--json"]) == 0
    addresses = json.loads(capsys.readouterr().out)["addresses"]
    assert addresses == {
        "Documents": "https://example.org/docs",
        "Issues": "https://example.org/issues?a=1, 2",
    }


def test_loops_that_are_switched_off_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.VARIABLE, "0")
    assert "switched off by CONVCLI_NATIVE=0" in ok("doctor").stdout.decode()
    assert json.loads(ok("doctor", "--json").stdout)["loops"] is None
