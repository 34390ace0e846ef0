"""Zarr beside the package zarr: samples, chunks, attributes, where samples lie, and what is refused."""

import bz2
import gzip
import json
import lzma
import os
import resource
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import xarray
import zarr
from scipy import ndimage
from typer.testing import CliRunner

from convcli.cli.program import build
from convcli.common.errors import ConvError
from convcli.media import registry
from convcli.media.files.target import Folder
from convcli.media.options import ReadOptions
from convcli.media.stores import guard
from convcli.media.stores import zarr as zarr_format
from tests.shell import convcli, refuses

RANDOM = np.random.default_rng(5)
VOLUME = RANDOM.normal(size=(20, 26, 34)).astype(np.float32)
TAPS = np.array([[[1.0, 2.0], [0.5, 0.0], [3.0, 1.0]]])  # 1 x 3 x 2 along z, y, x
MICRO = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]


def run(*arguments: object) -> str:
    """Run a filter in this process; return what it says on stderr."""
    done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stderr


def save(path: Path, values: np.ndarray, **options: Any) -> zarr.Array:
    made = zarr.create_array(path, shape=values.shape, dtype=values.dtype, **options)
    made[...] = values
    return made


def multiscale(path: Path, levels: list[np.ndarray], version: int, scale: list[float]) -> None:
    """Write t, c, z, y, x with a translation, each level half as fine along y and x."""
    axes = [{"name": "t", "type": "time", "unit": "second"}, {"name": "c", "type": "channel"}, *MICRO]
    datasets = []
    for n, _ in enumerate(levels):
        steps = [*scale[:3], scale[3] * 2**n, scale[4] * 2**n]
        moves = [
            {"type": "scale", "scale": steps},
            {"type": "translation", "translation": [0, 0, 5, (2**n - 1) * scale[3] / 2, 7]},
        ]
        datasets.append({"path": str(n), "coordinateTransformations": moves})
    entry = {"name": "cells", "axes": axes, "datasets": datasets, "type": "gaussian"}
    omero = {"channels": [{"label": "nuclei"}, {"label": "walls"}]}
    about = {"ome": {"version": "0.5", "multiscales": [entry], "omero": omero}, "lab": "B2"}
    if version == 2:
        about = {"multiscales": [entry | {"version": "0.4"}], "omero": omero}
    group = zarr.create_group(path, zarr_format=version, attributes=about)
    for n, values in enumerate(levels):
        made = group.create_array(str(n), shape=values.shape, dtype=values.dtype, chunks=(1, 1, 4, 8, 8))
        made[...] = values


@pytest.mark.parametrize(
    "form",
    [
        {"zarr_format": 2, "compressors": numcodecs.Blosc(), "filters": [numcodecs.Delta("<f4")]},
        {"zarr_format": 2, "compressors": numcodecs.GZip(), "order": "F"},
        {"zarr_format": 3, "dimension_names": ("z", "y", "x"), "compressors": zarr.codecs.BloscCodec()},
        {"zarr_format": 3, "dimension_names": ("depth", "lat", "lon"), "shards": (12, 16, 32)},
    ],
    ids=["2 blosc", "2 gzip", "3 blosc", "3 shards"],
)
@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ((), np.s_[:, :, :]),
        (("--padding", "valid"), np.s_[:, 1:-1, :-1]),
        (("--stride", "2"), np.s_[::2, ::2, ::2]),
    ],
)
def test_results_are_scipys_in_chunks_of_the_input(
    tmp_path: Path, form: dict[str, Any], options: tuple[str, ...], cut: tuple[slice, ...]
) -> None:
    given = save(tmp_path / "in.zarr", VOLUME, chunks=(6, 8, 16), attributes={"scan": 7}, **form)
    np.save(tmp_path / "k.npy", TAPS)
    run(
        tmp_path / "in.zarr",
        "-k",
        tmp_path / "k.npy",
        *options,
        "--pad-mode",
        "replicate",
        "-o",
        tmp_path / "out.zarr",
    )
    made = zarr.open_array(tmp_path / "out.zarr", mode="r")
    full = ndimage.correlate(np.asarray(given[...]).astype(float), TAPS, mode="nearest", origin=(0, 0, -1))
    np.testing.assert_allclose(made[...], full[cut], rtol=1e-5, atol=1e-6)
    assert made.metadata.zarr_format == given.metadata.zarr_format
    assert made.chunks == tuple(map(min, given.chunks, made.shape))
    assert (made.shards is None) == (given.shards is None)
    assert made.compressors == given.compressors
    names = {"_ARRAY_DIMENSIONS": ["z", "y", "x"]} if form["zarr_format"] == 2 else {}
    assert made.attrs.asdict() == {"scan": 7} | names
    assert made.metadata.to_dict().get("dimension_names") == form.get("dimension_names")


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(
    ("options", "step", "start"),
    [
        (("-k", "box:1x3x3", "--padding", "valid"), (1, 1, 1), (0, 1, 1)),
        (("-k", "gaussian:1", "--stride", "1,2,3"), (1, 2, 3), (0, 0, 0)),
        (("--pool", "avg:2"), (2, 2, 2), (0.5, 0.5, 0.5)),
    ],
)
def test_multiscale_pictures_say_where_samples_lie(
    tmp_path: Path, version: int, options: tuple[str, ...], step: tuple[int, ...], start: tuple[float, ...]
) -> None:
    """Axes of one sample stay too; level 0 is read unless another is named."""
    levels = [RANDOM.integers(0, 4000, (1, 2, 8, 20 // n, 24 // n)).astype(np.uint16) for n in (1, 2)]
    multiscale(tmp_path / "in.ome.zarr", levels, version, [30, 1, 2, 0.5, 0.25])
    before = zarr.open_group(tmp_path / "in.ome.zarr", mode="r").attrs.asdict()
    for level, name in enumerate(("in.ome.zarr", "in.ome.zarr::/1")):
        said = run(tmp_path / name, *options, "-o", tmp_path / "out.zarr", "-y")
        assert ("level 0 of 2 is read" in said) == (level == 0)
        group = zarr.open_group(tmp_path / "out.zarr", mode="r")
        about = group.attrs.asdict()
        after, entry = (about, before) if version == 2 else (about["ome"], before["ome"])
        entry = entry["multiscales"][0]
        found = after["multiscales"][0]
        fine = [30, 1, 2, 0.5 * 2**level, 0.25 * 2**level]
        first = [0, 0, 5, level * 0.25, 7]
        scale = [a * b for a, b in zip(fine, (1, 1, *step), strict=True)]
        moved = [a + b * c for a, b, c in zip(first, fine, (0, 0, *start), strict=True)]
        datasets = []
        for n in range(
            2 - level
        ):  # of the named level's own, and the coarser one, whose samples lie between two
            steps = [a * b for a, b in zip(scale, (1, 1, 1, 2**n, 2**n), strict=True)]
            places = [a + n * b * c for a, b, c in zip(moved, scale, (0, 0, 0, 0.5, 0.5), strict=True)]
            moves = [{"type": "scale", "scale": steps}, {"type": "translation", "translation": places}]
            datasets.append({"path": str(n), "coordinateTransformations": moves})
        assert found == entry | {"datasets": datasets} | ({} if level else {"type": "mean"})
        assert after["omero"] == {"channels": [{"label": "nuclei"}, {"label": "walls"}]}
        if version == 3:
            assert (about["lab"], after["version"]) == ("B2", "0.5")
        made = group["0"]
        assert isinstance(made, zarr.Array)
        assert made.chunks == tuple(map(min, (1, 1, 4, 8, 8), made.shape))
        if "--pool" in options:
            z, y, x = (n // 2 for n in levels[level].shape[2:])
            blocks = levels[level].astype(float)[0].reshape(2, z, 2, y, 2, x, 2)
            np.testing.assert_allclose(made[0], blocks.mean((2, 4, 6)), rtol=1e-6)


def coarser(values: np.ndarray, factors: tuple[int, ...], labels: bool) -> np.ndarray:
    """Return the first of so many samples along each axis, or the mean of those that there are."""
    if labels:
        return values[tuple(slice(None, None, one) for one in factors)]
    padding = [(0, -n % one) for n, one in zip(values.shape, factors, strict=True)]
    whole = np.pad(values.astype(float), padding, constant_values=np.nan)
    pairs = [part for n, one in zip(whole.shape, factors, strict=True) for part in (n // one, one)]
    return np.rint(np.nanmean(whole.reshape(pairs), (1, 3, 5))).astype(values.dtype)


@pytest.mark.parametrize("labels", [False, True], ids=["a picture", "labels"])
@pytest.mark.parametrize("words", [(), ("--workers", "2")], ids=["one process", "two workers"])
def test_coarser_levels_are_made_anew(tmp_path: Path, labels: bool, words: tuple[str, ...]) -> None:
    """By numpy: means of the samples that there are, at the end of an axis of fewer; labels are never mixed."""
    values = RANDOM.integers(0, 60_000, (9, 22, 37)).astype(np.uint16)
    sizes = [(9, 22, 37), (9, 11, 19), (5, 6, 10)]
    datasets = [{"path": f"s{n}", "coordinateTransformations": [{"type": "scale", "scale": [1, 2**n, 2**n]}]}
                for n in range(3)]  # fmt: skip
    about = {"version": "0.5", "multiscales": [{"axes": MICRO, "datasets": datasets}]}
    group = zarr.create_group(
        tmp_path / "in.zarr", attributes={"ome": about | ({"image-label": {}} if labels else {})}
    )
    for n, size in enumerate(sizes):
        group.create_array(f"s{n}", shape=size, dtype="u2", chunks=(4, 8, 8))
    group["s0"][...] = values  # type: ignore[index]
    said = run(
        tmp_path / "in.zarr", "-k", "identity:1", "--range", "clip", "-o", tmp_path / "out.zarr", *words
    )
    how = "samples" if labels else "means"
    assert f"2 coarser levels of {how} of the one before are written" in said
    made = zarr.open_group(tmp_path / "out.zarr", mode="r")
    wanted = values
    for level, factors in enumerate([(1, 1, 1), (1, 2, 2), (2, 2, 2)]):
        wanted = coarser(wanted, factors, labels)
        assert wanted.shape == sizes[level]
        np.testing.assert_array_equal(made[str(level)][...], wanted)  # type: ignore[index]
        assert made[str(level)].chunks == tuple(map(min, (4, 8, 8), sizes[level]))  # type: ignore[union-attr]


@pytest.mark.parametrize("labels", [False, True], ids=["a picture", "labels"])
@pytest.mark.parametrize("runs", [[()], [("--workers", "2")], [("--part", "1/2"), ("--part", "2/2")]])
def test_a_name_asks_for_coarser_levels(tmp_path: Path, labels: bool, runs: list[tuple[str, ...]]) -> None:
    """Samples are halved along the axes on which they are closest, 3 um in z beside 1, until 256 are left."""
    values = RANDOM.integers(0, 60_000, (5, 600, 301)).astype(np.uint16)
    moves = [{"type": "scale", "scale": [3, 1, 1]}, {"type": "translation", "translation": [0, 0, 7]}]
    datasets = [{"path": "0", "coordinateTransformations": moves}]
    about = {"version": "0.5", "multiscales": [{"axes": MICRO, "datasets": datasets}]}
    about |= {"image-label": {}} if labels else {}
    group = zarr.create_group(tmp_path / "in.zarr", attributes={"ome": about})
    group.create_array("0", shape=values.shape, dtype="u2", chunks=(2, 64, 64), shards=(4, 256, 128))[...] = (
        values
    )
    start = tmp_path / "in.zarr", "-k", "identity:1", "--range", "clip", "-o"
    for words in runs:
        said = run(*start, tmp_path / "out.ome.zarr", *words)
    assert "2 coarser levels" in said
    assert "coarser" not in run(*start, tmp_path / "out.zarr")
    made = zarr.open_group(tmp_path / "out.ome.zarr", mode="r")
    for level, factors in enumerate([(1, 1, 1), (1, 2, 2), (2, 2, 2)]):
        values = coarser(values, factors, labels)
        np.testing.assert_array_equal(made[str(level)][...], values)  # type: ignore[index]
    (entry,) = made.attrs.asdict()["ome"]["multiscales"]
    assert (entry["type"], entry["axes"]) == ("nearest" if labels else "mean", MICRO)
    scales = [[3, 1, 1], [3, 2, 2], [6, 4, 4]]
    firsts = (
        [[0, 0, 7]] * 3 if labels else [[0, 0, 7], [0, 0.5, 7.5], [1.5, 1.5, 8.5]]
    )  # of the first samples' means
    for level, one in enumerate(entry["datasets"]):
        found = {move["type"]: move[move["type"]] for move in one["coordinateTransformations"]}
        assert (one["path"], found) == (str(level), {"scale": scales[level], "translation": firsts[level]})


def test_coarser_levels_are_taken_up_where_they_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = RANDOM.integers(0, 250, (600, 700)).astype(np.uint8)
    np.save(tmp_path / "in.npy", values)
    command = (
        tmp_path / "in.npy",
        "-k",
        "identity:1",
        "--range",
        "clip",
        "-o",
        tmp_path / "out.ome.zarr",
        "--workers",
        "2",
    )
    steps = iter(range(9))

    def reduced(*arguments: Any) -> np.ndarray:
        if next(steps) == 1:
            raise OSError(28, "No space left on device")
        return values_of(*arguments)

    values_of = zarr_format.reduced
    with monkeypatch.context() as patch:
        patch.setattr(zarr_format, "reduced", reduced)
        done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, command)])
    assert done.exit_code == 1 and not (tmp_path / "out.ome.zarr").exists()
    assert "coarser" in run(*command)
    made = zarr.open_group(tmp_path / "out.ome.zarr", mode="r")
    assert sorted(made.array_keys()) == ["0", "1", "2"]
    wanted = values.reshape(300, 2, 350, 2).astype(float).mean((1, 3))
    np.testing.assert_array_equal(made["1"][...], np.rint(wanted))  # type: ignore[index]
    wanted = np.rint(wanted).reshape(150, 2, 175, 2).mean((1, 3))
    np.testing.assert_array_equal(made["2"][...], np.rint(wanted))  # type: ignore[index]


def test_what_is_no_picture_gets_no_levels(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.arange(600.0))
    said = run(tmp_path / "in.npy", "-k", "identity:1", "-o", tmp_path / "out.ome.zarr")
    assert "OME-Zarr is for pictures and volumes: one array is written" in said
    assert zarr.open_array(tmp_path / "out.ome.zarr", mode="r").shape == (600,)


def test_any_box_is_read(tmp_path: Path) -> None:
    save(tmp_path / "in.zarr", VOLUME, chunks=(4, 4, 4), shards=(8, 8, 16), dimension_names=("z", "y", "x"))
    source = registry.open_source(Folder(tmp_path / "in.zarr"), registry.by_name("zarr"), ReadOptions())
    assert source.grain.steps(source.info) == {"Z": 4, "Y": 4, "X": 4}  # of a shard, chunks are read
    for box in [((1, 3), (2, 7), (0, 34)), ((19, 20), (0, 26), (33, 34))]:
        np.testing.assert_array_equal(source.read(box), VOLUME[tuple(slice(*span) for span in box)])


def test_positions_of_other_formats_and_chunks_of_their_results(tmp_path: Path) -> None:
    """Nothing but zeros is not stored, and a picture's chunk has all of its colours."""
    import nibabel
    from PIL import Image

    values = np.zeros((40, 30, 20), np.float32)
    values[:5, :5, :5] = 1
    image = nibabel.Nifti1Image(values, np.diag([0.5, 1, 2, 1]))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "in.nii")
    said = run(tmp_path / "in.nii", "-k", "box:3", "--stride", "2", "-o", tmp_path / "a.zarr")
    entry = zarr.open_group(tmp_path / "a.zarr", mode="r").attrs.asdict()["ome"]["multiscales"][0]
    assert [(one["name"], one["unit"]) for one in entry["axes"]] == [(name, "millimeter") for name in "zyx"]
    assert entry["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [4, 2, 1]}]
    assert "the affine is left out" in said
    run(tmp_path / "a.zarr", "-k", "identity", "-o", tmp_path / "b.nii")
    np.testing.assert_allclose(nibabel.load(tmp_path / "b.nii").header.get_zooms(), [1, 2, 4])
    pixels = RANDOM.integers(0, 256, (7, 9, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    run(tmp_path / "in.png", "-k", "identity", "--range", "clip", "-o", tmp_path / "c.zarr")
    made = zarr.open_array(tmp_path / "c.zarr", mode="r")
    np.testing.assert_array_equal(made[...], pixels)
    assert made.chunks == (7, 9, 3)
    save(tmp_path / "d.zarr", np.pad(VOLUME, 20), chunks=(10, 11, 12), fill_value=0)
    run(tmp_path / "d.zarr", "-k", "box:3", "-o", tmp_path / "e.zarr")
    sizes = [zarr.open_array(tmp_path / name, mode="r").nchunks_initialized for name in ("d.zarr", "e.zarr")]
    assert sizes[0] <= sizes[1] < 6 * 6 * 7


@pytest.mark.parametrize("how", ["NaN", "attribute", "bytes", "xarray 2", "scaled"])
def test_missing_samples(tmp_path: Path, how: str) -> None:
    """What the conventions call missing stays so, and does not reach its neighbours."""
    values = RANDOM.integers(0, 99, (9, 12)).astype(np.int16)
    values[3, 4] = -5
    options: dict[str, Any] = {"attributes": {"_FillValue": -5}, "dimension_names": ("lat", "lon")}
    stored, scale = values, 1.0
    if how == "NaN":
        stored = np.where(values == -5, np.nan, values).astype(np.float32)
        options |= {"attributes": {}, "fill_value": np.nan}
    elif how == "bytes":
        stored = values.astype(np.float32)
        options |= {"attributes": {"_FillValue": "AAAAAAAAFMA="}}  # of the double -5
    elif how == "xarray 2":
        options = {"attributes": {"_ARRAY_DIMENSIONS": ["y", "x"]}, "fill_value": -5, "zarr_format": 2}
    elif how == "scaled":
        options["attributes"] |= {"scale_factor": 0.5, "add_offset": 3.0, "long_name": "heat"}
        scale = 0.5
    save(tmp_path / "in.zarr", stored, chunks=(4, 4), **options)
    said = run(tmp_path / "in.zarr", "-k", "box:3", "--pad-mode", "replicate", "-o", tmp_path / "out.zarr")
    assert ("missing samples are NaN in the result, not -5" in said) == (how != "NaN")
    made = zarr.open_array(tmp_path / "out.zarr", mode="r")
    there = (values != -5).astype(float)
    total = ndimage.uniform_filter(np.where(values == -5, 0, values * scale), 3, mode="nearest")
    want = total / ndimage.uniform_filter(there, 3, mode="nearest") + (3 if how == "scaled" else 0)
    np.testing.assert_allclose(made[...], np.where(values == -5, np.nan, want), rtol=1e-5)
    assert np.isnan(made.fill_value)
    assert set(made.attrs) <= {"long_name", "_ARRAY_DIMENSIONS"}


@pytest.mark.parametrize("fill", [-1, 7])
def test_what_fills_absent_chunks_is_kept_where_the_result_holds_it(tmp_path: Path, fill: int) -> None:
    values = RANDOM.integers(0, 99, (9, 12)).astype(np.int16)
    save(tmp_path / "in.zarr", values, chunks=(4, 4), fill_value=fill)
    run(tmp_path / "in.zarr", "-k", "box:3", "-o", tmp_path / "a.zarr")
    assert zarr.open_array(tmp_path / "a.zarr", mode="r").fill_value == fill
    said = run(tmp_path / "in.zarr", "-k", "box:3", "--range", "clip", "-o", tmp_path / "b.zarr")
    assert said == ""
    assert zarr.open_array(tmp_path / "b.zarr", mode="r").fill_value == fill
    wide = RANDOM.integers(0, 99, (9, 12)).astype(np.uint8)
    save(tmp_path / "old.zarr", wide, chunks=(4, 4), fill_value=fill % 256, zarr_format=2)
    said = run(tmp_path / "old.zarr", "-k", "box:3", "-o", tmp_path / "c.zarr")
    assert said == f"note: the fill value {fill % 256} is left out: it would stand for missing samples\n"
    assert zarr.open_array(tmp_path / "c.zarr", mode="r").fill_value is None


def test_a_fill_value_that_floats_only_come_near_is_said(tmp_path: Path) -> None:
    save(tmp_path / "in.zarr", np.ones((4, 5), np.int64), chunks=(4, 4), fill_value=2**62 + 1)
    said = run(tmp_path / "in.zarr", "-k", "box:3", "-o", tmp_path / "a.zarr")
    assert said == "note: the fill value 4.61169e+18 is left out: float64 does not hold it\n"


def test_a_group_of_one_array_needs_no_path(tmp_path: Path) -> None:
    """Coordinates count for none; of several one is named, and the nearest name is told."""
    group = zarr.create_group(tmp_path / "in.zarr")
    for name, size in (("y", 26), ("x", 34)):
        group.create_array(name, shape=(size,), dtype="f8", dimension_names=(name,))
    heat = group.create_array("heat", shape=(26, 34), dtype="f4", dimension_names=("y", "x"))
    heat[...] = VOLUME[0]
    run(tmp_path / "in.zarr", "-k", "identity", "-o", tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), VOLUME[0])
    group.create_group("deep").create_array("rain", shape=(3, 4), dtype="f4")
    run(tmp_path / "in.zarr::/deep/rain", "-k", "identity", "-o", tmp_path / "b.zarr::/a/b")
    assert zarr.open_array(tmp_path / "b.zarr", path="a/b", mode="r").shape == (3, 4)
    for name, words in (("::/heet", "'heat'"), ("::/deep/run", "'rain'"), ("::/heat/x", "there is no 'x'")):
        done = convcli("filter", f"in.zarr{name}", "-k", "box:3", "-o", "c.zarr", cwd=tmp_path)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
        assert words in done.stderr.decode()
    group.create_array("wind", shape=(26, 34), dtype="f4", dimension_names=("y", "x"))
    done = convcli("filter", "in.zarr", "-k", "box:3", "-o", "c.zarr", cwd=tmp_path)
    assert "it holds 'heat', 'wind'" in done.stderr.decode()
    assert not (tmp_path / "c.zarr").exists()


@pytest.mark.parametrize("version", [2, 3])
def test_coordinates_of_the_conventions_are_kept_and_move(tmp_path: Path, version: int) -> None:
    """A day apart, from 12 h on; latitudes that fall; then uneven ones.  xarray reads such stores."""
    group = zarr.create_group(tmp_path / "in.zarr", attributes={"institute": "a"}, zarr_format=version)

    def add(name: str, values: np.ndarray, dimensions: list[str], **attributes: object) -> None:
        old = {"_ARRAY_DIMENSIONS": dimensions} if version == 2 else {}
        names = dimensions if version == 3 else None
        fill = None if version == 2 else 0
        about = {**attributes, **old}
        group.create_array(name, data=values, dimension_names=names, attributes=about, fill_value=fill)

    add("when", np.arange(5) * 24 + 12, ["when"], units="hours since 2000-01-01")
    add("lat", 60 - np.arange(6) / 4, ["lat"], units="degrees_north")
    add("lon", np.arange(7, dtype="f4") / 2 - 3, ["lon"], units="degrees_east")
    heat = VOLUME[:5, :6, :7].astype("f4")
    add("heat", heat, ["when", "lat", "lon"], units="K", valid_min=0.0)
    window = ("-k", "box:1x3x3", "--stride", "1,2,1", "--padding", "valid")
    said = run(tmp_path / "in.zarr", *window, "-o", tmp_path / "out.zarr")
    assert said == "note: left out of the ZARR: limits of valid values\n"
    found = zarr.open_group(tmp_path / "out.zarr", mode="r")
    assert found.attrs.asdict() == {"institute": "a"} and len(dict(found.members())) == 4
    for name, places, unit in (
        ("when", np.arange(5) * 24 + 12, "hours since 2000-01-01"),
        ("lat", [59.75, 59.25], "degrees_north"),
        ("lon", np.float32([-2.5, -2, -1.5, -1, -0.5]), "degrees_east"),
    ):
        one = found[name]
        assert one.attrs["units"] == unit and one.dtype == group[name].dtype
        assert (one.attrs.get("_ARRAY_DIMENSIONS") or [*one.metadata.dimension_names]) == [name]
        np.testing.assert_array_equal(one[...], places)
        assert version == 3 or one.fill_value is None  # xarray takes what equals it for missing
    result = found["heat"]
    assert version == 3 or result.fill_value is None
    names = result.attrs.get("_ARRAY_DIMENSIONS") or [*result.metadata.dimension_names]
    assert (names, result.attrs["units"]) == (["when", "lat", "lon"], "K")
    with xarray.open_zarr(tmp_path / "out.zarr", consolidated=False) as seen:
        assert {*seen.coords} == {"when", "lat", "lon"} and seen.attrs == {"institute": "a"}
        assert str(seen["when"].values[1])[:13] == "2000-01-02T12"
    expected = ndimage.uniform_filter(heat.astype(float), (1, 3, 3))[:, 1:-1:2, 1:-1]
    np.testing.assert_allclose(result[...], expected, rtol=1e-5)
    group["lat"][...] = [1, 2, 4, 8, 16, 32]
    said = run(tmp_path / "in.zarr", "-k", "identity", "-o", tmp_path / "uneven.zarr::/deep/warm")
    uneven = zarr.open_group(tmp_path / "uneven.zarr", mode="r")["deep"]
    assert uneven["lat"][...].tolist() == [1, 2, 4, 8, 16, 32] and "positions" not in said
    np.testing.assert_array_equal(uneven["warm"][...], heat)


def test_a_netcdf_becomes_a_store_that_xarray_reads(tmp_path: Path) -> None:
    heat = VOLUME[:5, :6, :7].astype("f4")
    places = {"time": np.arange(5), "lat": np.array([1.0, 2, 4, 8, 16, 32]), "lon": np.arange(7) / 2}
    units = {"time": "days since 2000-01-01", "lat": "degrees_north", "lon": "degrees_east"}
    coordinates = {name: (name, values, {"units": units[name]}) for name, values in places.items()}
    about = {"heat": (["time", "lat", "lon"], heat, {"units": "K", "level": np.float32(0.5)})}
    given = xarray.Dataset(about, coordinates, {"title": "air", "run": np.int16(7)})
    given.to_netcdf(tmp_path / "in.nc", engine="h5netcdf")
    said = run(
        tmp_path / "in.nc",
        "-k",
        "identity",
        "--stride",
        "1,2,1",
        "--axis",
        "tyx",
        "-o",
        tmp_path / "out.zarr",
    )
    assert said == ""
    with xarray.open_zarr(tmp_path / "out.zarr", consolidated=False) as found:
        xarray.testing.assert_identical(found.load(), xarray.decode_cf(given).isel(lat=slice(0, None, 2)))


def damaged(how: str, path: Path) -> str:
    """Write a store that is damaged somehow; return words of the error."""
    save(path, VOLUME, chunks=(6, 8, 16), dimension_names=("z", "y", "x"))
    chunk, place = path / "c" / "0" / "0" / "0", path / "zarr.json"
    about = json.loads(place.read_text())
    words = "broken or truncated Zarr"
    if how == "no metadata":
        place.unlink()
        return "no Zarr metadata"
    if how == "no JSON":
        place.write_text("{" * 100_000)
        return words
    if how == "cut short":
        chunk.write_bytes(chunk.read_bytes()[:-20])
        return words
    if how == "link":
        chunk.unlink()
        chunk.symlink_to("/etc/passwd")
        return "a link that leads out of it"
    if how == "pipe":
        chunk.unlink()
        os.mkfifo(chunk)
        return "no regular file"
    if how == "folder link":
        (path / "c").rename(path.with_name("elsewhere"))
        (path / "c").symlink_to(path.with_name("elsewhere"))
        return "a link that leads out of it"
    if how == "codec":
        about["codecs"][1]["name"] = "nobody knows"
    elif how == "complex":
        about |= {"data_type": "complex64", "fill_value": [0, 0]}
        words = "only integers and floats"
    elif how == "large chunk":
        about["chunk_grid"]["configuration"]["chunk_shape"] = [1 << 20] * 3
        words = "would take"
    elif how == "chunk":
        about["chunk_grid"]["configuration"]["chunk_shape"] = [6, 8, 15]
    elif how == "no samples":
        about["shape"] = [0, 3, 4]
        words = "no samples"
    elif how == "shape":
        about["shape"] = [-1, 3, 4]
    elif how == "shards":
        inner = {
            "chunk_shape": [1, 1, 1],
            "codecs": about["codecs"],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
            "index_location": "end",
        }
        about["codecs"] = [{"name": "sharding_indexed", "configuration": inner}]
        about["chunk_grid"]["configuration"]["chunk_shape"] = [512] * 3
        words = "too many chunks"
    place.write_text(json.dumps(about))
    return words


@pytest.mark.parametrize(
    "how",
    [
        *(
            "no metadata",
            "no JSON",
            "cut short",
            "link",
            "folder link",
            "pipe",
            "codec",
            "complex",
            "large chunk",
        ),
        *("chunk", "no samples", "shape", "shards"),
    ],
)
def test_damaged_stores_are_refused_in_one_line(tmp_path: Path, how: str) -> None:
    words = damaged(how, tmp_path / "in.zarr")
    refuses(words, "'in.zarr': ", "filter", "in.zarr", "-k", "box:3", "-o", "out.zarr", cwd=tmp_path)
    assert {one.name for one in tmp_path.iterdir()} <= {"in.zarr", "elsewhere"}


def test_a_store_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """Other chunks are under way when one fails."""
    save(tmp_path / "in.zarr", np.tile(VOLUME, (2, 2, 2)), chunks=(8, 8, 8), dimension_names=("z", "y", "x"))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    command = [sys.executable, "-m", "convcli", "filter", "in.zarr", "-k", "box:3", "-o", "out.zarr"]
    done = subprocess.run(command, cwd=tmp_path, preexec_fn=limit, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"error: 'out.zarr': cannot be written: File too large\n")
    assert [*tmp_path.iterdir()] == [tmp_path / "in.zarr"]


def test_pickled_chunks_run_no_code(tmp_path: Path) -> None:
    save(tmp_path / "in.zarr", VOLUME, zarr_format=2)
    about = json.loads((tmp_path / "in.zarr" / ".zarray").read_text())
    for more in ({"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}):
        (tmp_path / "in.zarr" / ".zarray").write_text(json.dumps(about | more))
        done = convcli("filter", "in.zarr", "-k", "box:3", "-o", "out.zarr", cwd=tmp_path)
        assert "No Zarr data type found" in done.stderr.decode()
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


def many(codec: str) -> bytes:
    """Return a chunk of so much more than its samples, packed."""
    zeros = bytes(1 << 25)
    if codec == "gzip":
        return gzip.compress(zeros[:99]) + gzip.compress(zeros)
    packers = {"zlib": zlib.compress, "bz2": bz2.compress, "lzma": lzma.compress}
    if codec in packers:
        return packers[codec](zeros)
    if codec == "zstd stream":  # that does not say how long it becomes: blocks of one byte, repeated
        block = (1 << 17 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
        return b"\x28\xb5\x2f\xfd\0\x58" + 256 * block + (1).to_bytes(3, "little")
    return bytes(
        {"zstd": numcodecs.Zstd, "blosc": numcodecs.Blosc, "lz4": numcodecs.LZ4}[codec]().encode(zeros)
    )


@pytest.mark.parametrize("codec", ["gzip", "zlib", "bz2", "lzma", "zstd", "zstd stream", "blosc", "lz4"])
def test_chunks_that_unpack_to_more_than_their_samples(tmp_path: Path, codec: str) -> None:
    """They are refused before they are unpacked; the decoder itself agrees on how long they become."""
    name = codec.partition(" ")[0]
    kind = numcodecs.get_codec({"id": name})
    assert len(np.frombuffer(kind.decode(many(codec)), np.uint8)) >= 1 << 25
    save(tmp_path / "in.zarr", VOLUME, chunks=VOLUME.shape, zarr_format=2, compressors=kind)
    (tmp_path / "in.zarr" / "0.0.0").write_bytes(many(codec))
    source = registry.open_source(Folder(tmp_path / "in.zarr"), registry.by_name("zarr"), ReadOptions())
    with pytest.raises(ConvError, match="a chunk becomes longer than the"):
        source.read(source.info.box)
    fitting = bytes(kind.encode(VOLUME.tobytes()))
    guard.check([name], fitting, VOLUME.nbytes)
    with pytest.raises(ConvError, match="a chunk becomes longer"):
        guard.check([name], fitting, VOLUME.nbytes - 1)
    with pytest.raises(ConvError, match="packed twice"):
        guard.check([name, "zlib"], fitting, VOLUME.nbytes)


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "in.zarr", VOLUME)
    for name in [name for name in sys.modules if name.startswith("convcli.media.stores")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "zarr", None)
    arguments = ["filter", str(tmp_path / "in.zarr"), "-k", "box:3", "-o", str(tmp_path / "out.npy")]
    done = CliRunner().invoke(build(["filter"]), arguments, catch_exceptions=True)
    assert "convcli[store]" in str(done.exception)
