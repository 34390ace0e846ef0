"""``FILE::/PATH``: one array of a file that holds several; any other name is a name as ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convcli.cli.filter.found import Input
from convcli.cli.shared.outputs import check_apart
from convcli.common.errors import ConvError, UsageError
from convcli.data.info import Info
from convcli.media import opening, registry
from convcli.media.options import ReadOptions, WriteOptions


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make NPY a format of several arrays, whose reader and writer then ignore the path."""
    rows = tuple(replace(row, arrays=True) if row.name == "npy" else row for row in registry.READ)
    monkeypatch.setattr(registry, "READ", rows)
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", np.arange(12.0).reshape(3, 4))
    return tmp_path


@pytest.mark.usefixtures("several")
def test_a_name_is_parted_where_the_format_holds_several_arrays() -> None:
    assert registry.parted("new.npy::/entry/data") == ("new.npy", "/entry/data")
    assert registry.parted("f::g/a.npy::/b::c") == ("f::g/a.npy", "/b::c")
    assert registry.parted("-::/entry") == ("-", "/entry")
    Path("plain").write_bytes(Path("a.npy").read_bytes())
    assert registry.parted("plain::x") == ("plain", "x")
    for whole in ("a.png::/b", "a.npy", "none::/x", "a.npy:/b"):
        assert registry.parted(whole) == (whole, "")
    Path("a.npy::b").write_bytes(b"x")
    assert registry.parted("a.npy::b") == ("a.npy::b", "")
    assert registry.own_suffix("some/a.npy::/b.c") == ".npy"


@pytest.mark.usefixtures("several")
def test_outputs_and_inputs_are_the_files_of_their_names() -> None:
    asked: Any = SimpleNamespace(output=None, out_dir=None, name=None)
    named = Input("in/a.npy::/entry/data").output(asked, ["sobel"], registry.by_name("npy"))
    assert named == "a.entry.data.sobel.npy"
    with pytest.raises(UsageError, match="named for two outputs"):
        check_apart("b.npy::/one", "b.npy::/two")
    with pytest.raises(ConvError, match="an input too"):
        opening.check_not_input("a.npy::/new", ["a.npy::/old"])
    location = opening.Location("a.npy::/x", "npy", ReadOptions())
    source = location.open()
    assert source.read(source.info.box)[2, 3] == 11
    source.close()


@pytest.mark.usefixtures("several")
def test_a_file_of_several_arrays_is_replaced_as_a_whole_or_not_at_all() -> None:
    format, info = opening.output_format("a.npy::/new"), Info.of("YX", (2, 2), "float64")
    with pytest.raises(ConvError, match="and is written as a whole"):
        opening.check_output("a.npy::/new", format)
    with opening.open_sink("a.npy::/new", format, info, WriteOptions(), force=True) as sink:
        sink.write(info.box, np.ones((2, 2)))
        sink.close()
    assert sink.notes == ("'a.npy' is replaced as a whole, with all that was in it",)
    assert np.load("a.npy").shape == (2, 2)


def test_a_format_of_a_single_array_has_no_paths(tmp_path: Path) -> None:
    (tmp_path / "a.other").write_bytes(b"P5 1 1 255\n\0")
    given = opening.Given(f"{tmp_path}/a.other::/x")
    with pytest.raises(UsageError, match="::/x names one of several arrays, and PGM holds one"):
        given.open(registry.sniff(given.head), ReadOptions())
    given.close()
