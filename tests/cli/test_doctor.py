"""What ``convcli doctor`` says of an installation."""

from __future__ import annotations

import json
from importlib.metadata import version

import pytest

from convcli.engines.native import library
from tests.shell import ok


def test_it_names_what_is_there() -> None:
    text = ok("doctor").stdout.decode()
    assert len(text.splitlines()) < 24  # one screen
    assert max(map(len, text.splitlines())) < 80
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


def test_loops_that_are_switched_off_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.VARIABLE, "0")
    assert "switched off by CONVCLI_NATIVE=0" in ok("doctor").stdout.decode()
    assert json.loads(ok("doctor", "--json").stdout)["loops"] is None
