"""GeoTIFF beside rasterio and GDAL: places, systems of coordinates, nodata."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.transform import Affine
from scipy.ndimage import correlate
from typer.testing import CliRunner

from convcli.cli.program import build

RANDOM = np.random.default_rng(4)
HEIGHTS = RANDOM.normal(300, 40, (40, 61)).astype(np.float32)
HOLES = np.zeros(HEIGHTS.shape, bool)
HOLES[10:14, 20:29] = HOLES[39, 60] = HOLES[0, 5] = True
NORTH_UP = Affine(30, 0, 500_000, 0, -30, 4_600_000)
PLACES = {
    "metres": (NORTH_UP, "EPSG:32633", "Area"),
    "degrees": (Affine(0.25, 0, -13, 0, -0.125, 48), "EPSG:4326", "Area"),
    "points": (NORTH_UP, "EPSG:32633", "Point"),
    "south up": (Affine(10, 0, 700, 0, 20, -900), "EPSG:3857", "Area"),
}
TAPS = np.array([[1.0, 2.0, 0.5], [0.0, 3.0, 1.0]])
KERNEL = "1,2,0.5;0,3,1"


def write(path: Path, values: np.ndarray, place: str = "metres", **profile: object) -> Path:
    transform, crs, kind = PLACES[place]
    bands = values if values.ndim == 3 else values[None]
    beside = {name: profile.pop(name) for name in ("scales", "offsets") if name in profile}
    about = profile.pop("about", {})
    form = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2], "dtype": values.dtype}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, crs=crs, **form, **profile) as file:
        file.write(bands)
        file.set_band_description(1, "height above sea")
        file.update_tags(AREA_OR_POINT=kind, SURVEY="spring")
        file.update_tags(1, **about)
        for name, values in beside.items():
            setattr(file, name, values)
    return path


def run(*arguments: object) -> str:
    """Run a filter in this process; return what it says on stderr."""
    done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stderr


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("options", "first", "step"),
    [
        (
            (),
            (Fraction(1, 2), Fraction(1, 2)),
            1,
        ),  # the first centre along y and x, from the corner, in old pixels
        (("--padding", "valid"), (Fraction(1), Fraction(3, 2)), 1),  # of the window: 2 by 3
        (("--stride", "3", "--padding", "valid"), (Fraction(1), Fraction(3, 2)), 3),
        (("--padding", "1:0,4:0", "--stride", "2"), (Fraction(0), Fraction(-5, 2)), 2),
    ],
)
def test_a_map_stays_in_its_place(
    place: str, options: tuple[str, ...], first: tuple[Fraction, Fraction], step: int, tmp_path: Path
) -> None:
    tiles, about = {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"STATISTICS_MEAN": "1"}
    path = write(tmp_path / "a.tif", HEIGHTS, place, **tiles, compress="lzw", about=about)
    said = run(path, "-k", KERNEL, *options, "-o", tmp_path / "b.tif").splitlines()
    packing = "note: left out: lzw, tiles of 16x16 (TIFF is written in plain strips)"
    assert said == ["note: left out of the TIFF: statistics of values", packing]
    transform, crs, kind = PLACES[place]
    if not options:  # even windows along y: the kernel's own sample is the first of two
        first = (Fraction(1), first[1])
    down, across = (float(centre - Fraction(step, 2)) for centre in first)
    expected = transform @ Affine.translation(across, down) @ Affine.scale(step)
    with rasterio.open(tmp_path / "b.tif") as found:
        assert found.transform.almost_equals(expected, 1e-9), (found.transform, expected)
        assert found.crs == rasterio.crs.CRS.from_string(crs)
        assert found.tags()["AREA_OR_POINT"] == kind
        assert found.tags()["SURVEY"] == "spring"
        assert found.descriptions == ("height above sea",)
        assert "STATISTICS_MEAN" not in found.tags(1)  # it is that of the input


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint16", "int32"])
def test_nodata_is_missing(dtype: str, tmp_path: Path) -> None:
    hole = 0 if dtype == "uint16" else -9999
    values = np.where(HOLES, hole, np.rint(HEIGHTS)).astype(dtype)
    path = write(tmp_path / "a.tif", values, nodata=hole)
    assert run(path, "-k", KERNEL, "--missing", "propagate", "-o", tmp_path / "b.tif") == ""
    plain = np.where(HOLES, 0, values).astype(np.float64)
    sums = correlate(plain, TAPS, mode="nearest", origin=(-1, 0))
    touched = correlate(HOLES.astype(np.float64), np.ones(TAPS.shape), mode="nearest", origin=(-1, 0)) > 0
    with rasterio.open(tmp_path / "b.tif") as file:
        found, nodata = file.read(1), file.nodata
    assert nodata == hole
    assert np.array_equal(found == hole, touched)
    np.testing.assert_allclose(found[~touched], sums[~touched], rtol=1e-5)
    assert run(path, "-k", KERNEL, "--missing", "skip", "-o", tmp_path / "c.tif") == ""
    weights = correlate((~HOLES).astype(np.float64), TAPS, mode="nearest", origin=(-1, 0))
    with rasterio.open(tmp_path / "c.tif") as file:
        found = file.read(1)
    there = weights > 0
    assert np.array_equal(found != hole, there)
    np.testing.assert_allclose(found[there], (sums[there] / weights[there]) * TAPS.sum(), rtol=1e-5)
    assert run(path, "-k", KERNEL, "-o", tmp_path / "d.tif") == ""  # the default of maps: keep
    with rasterio.open(tmp_path / "d.tif") as file:
        kept = file.read(1)
    assert np.array_equal(kept == hole, HOLES | ~there)
    assert np.array_equal(kept[~HOLES], found[~HOLES])


@pytest.mark.parametrize("bands", [1, 2])
def test_shifted_values_are_those_that_are_filtered(bands: int, tmp_path: Path) -> None:
    """The sum of the weights is not 1: of stored numbers the offset would be another one."""
    stored = np.rint(np.stack([HEIGHTS, HEIGHTS[::-1]])[:bands]).astype(np.int16)
    stored[:, HOLES] = -9999
    scales, shifts = (0.1, 1.0)[:bands], (-50.0, 3.0)[:bands]
    path = write(tmp_path / "a.tif", stored, nodata=-9999, scales=scales, offsets=shifts)
    said = run(path, "-k", KERNEL, "--missing", "propagate", "-o", tmp_path / "b.tif")
    told = ["times 0.1 plus -50", "times 1 plus 3"][:bands]
    assert said == f"note: packed numbers are read {', '.join(told)}; a result is not packed\n"
    with rasterio.open(tmp_path / "b.tif") as file:
        assert (file.scales, file.offsets) == ((1.0,) * bands, (0.0,) * bands)
        assert (file.tags()["SURVEY"], file.nodata, file.descriptions[0]) == (
            "spring",
            -9999,
            "height above sea",
        )
        made = file.read(masked=True)
    for found, band, scale, shift in zip(made, stored, scales, shifts, strict=True):
        values = np.where(HOLES, np.nan, band * scale + shift)
        want = sum(
            weight * np.pad(values, ((0, 1), (1, 1)), mode="edge")[i : i + 40, j : j + 61]
            for (i, j), weight in np.ndenumerate(TAPS)
            if weight
        )
        there = ~found.mask
        assert there.any()
        np.testing.assert_allclose(found[there], want[there], rtol=1e-12)
    path = write(tmp_path / "a.tif", stored, nodata=-9999, scales=scales)
    assert run(path, "-k", KERNEL, "-o", tmp_path / "c.tif") == ""
    with rasterio.open(tmp_path / "c.tif") as file:
        assert file.scales == scales  # which any kernel may follow


def test_what_other_formats_do_not_hold_is_said(tmp_path: Path) -> None:
    values = np.where(HOLES, -9999, HEIGHTS).astype(np.float32)
    path = write(tmp_path / "a.tif", values, nodata=-9999)
    said = run(path, "-k", "box:3", "--range", "200:400", "-o", tmp_path / "b.png")
    assert "the georeference is left out: PNG holds none" in said
    assert "were written as black" in said
    said = run(path, "-k", "box:3", "-o", tmp_path / "b.npy")
    assert said == "note: the georeference is left out: NPY holds none\n"
    assert np.isnan(np.load(tmp_path / "b.npy")).sum() == HOLES.sum()


def test_a_map_that_is_turned_says_that_it_loses_its_place(tmp_path: Path) -> None:
    turned = Affine(30, 5, 500_000, 5, -30, 4_600_000)
    with rasterio.open(tmp_path / "a.tif", "w", driver="GTiff", transform=turned, crs="EPSG:32633", count=1,
                       height=40, width=61, dtype="float32", nodata=-1.5) as file:  # fmt: skip
        file.write(np.where(HOLES, -1.5, HEIGHTS), 1)
    assert "left out of the TIFF: georeference" in run(
        tmp_path / "a.tif", "-k", "1", "-o", tmp_path / "b.tif"
    )
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning), rasterio.open(tmp_path / "b.tif") as file:
        assert (file.crs, file.nodata) == (None, -1.5)


def test_bands_and_pictures_keep_their_numbers(tmp_path: Path) -> None:
    bands = RANDOM.integers(0, 4000, (4, 30, 20), dtype=np.uint16)
    path = write(tmp_path / "a.tif", bands, interleave="band")
    said = run(path, "-k", "1", "-o", tmp_path / "b.tif")
    assert said == "note: left out: separate planes (TIFF is written in plain strips)\n"
    with rasterio.open(tmp_path / "b.tif") as file:
        assert (file.dtypes[0], file.crs, file.transform) == ("uint16", "EPSG:32633", NORTH_UP)
        assert np.array_equal(file.read(), bands)
    colours = RANDOM.integers(0, 256, (3, 30, 20), dtype=np.uint8)
    path = write(tmp_path / "c.tif", colours, photometric="RGB", nodata=0)
    assert run(path, "-k", "1", "-o", tmp_path / "d.tif") == ""
    with rasterio.open(tmp_path / "d.tif") as file:
        np.testing.assert_allclose(
            file.read(), colours, atol=1e-30
        )  # a black part of a colour is not missing
        assert file.read_masks().all()


@pytest.mark.parametrize("count", [3, 4])
def test_colours_are_missing_where_all_of_them_are_nodata(count: int, tmp_path: Path) -> None:
    colours = RANDOM.integers(0, 256, (count, 30, 20), dtype=np.uint8)
    colours[:, 5:12, 4:9] = 0
    path = write(tmp_path / "a.tif", colours, photometric="RGB", alpha="UNSPECIFIED", nodata=0)
    assert run(path, "-k", "box:3", "--padding", "valid", "-o", tmp_path / "b.tif") == ""
    with rasterio.open(path) as given, rasterio.open(tmp_path / "b.tif") as found:
        present = given.read_masks().any(axis=0)
        shares = correlate(present.astype(float), np.ones((3, 3)), mode="constant")
        sums = [correlate(np.where(present, band, 0.0), np.ones((3, 3)), mode="constant") for band in colours]
        means = np.where(present, sums / np.maximum(shares, 1), 0)[:, 1:-1, 1:-1]
        np.testing.assert_allclose(found.read(), means, rtol=1e-5, atol=1e-30)
        assert np.array_equal(found.read_masks().any(axis=0), present[1:-1, 1:-1])
        assert (found.nodata, found.colorinterp) == (0, given.colorinterp)


def test_a_result_that_equals_the_nodata_value_stays_a_result(tmp_path: Path) -> None:
    values = np.where(HOLES, 0, np.rint(HEIGHTS)).astype(np.int16)
    values[20:30, 20:30] = 7  # even: an edge kernel gives 0 there
    run(write(tmp_path / "a.tif", values, nodata=0), "-k", "1,0,-1", "-o", tmp_path / "b.tif")
    with rasterio.open(tmp_path / "b.tif") as file:
        assert (file.read_masks(1)[22:28, 22:28] == 255).all() and np.abs(
            file.read(1)[22:28, 22:28]
        ).max() < 1e-30


@pytest.mark.parametrize("nodata", [float("nan"), float("-inf"), -1.5])
def test_any_float_is_a_nodata_value(nodata: float, tmp_path: Path) -> None:
    values = np.where(HOLES, nodata, HEIGHTS).astype(np.float32)
    assert run(write(tmp_path / "a.tif", values, nodata=nodata), "-k", "1", "-o", tmp_path / "b.tif") == ""
    with rasterio.open(tmp_path / "b.tif") as file:
        assert np.array_equal(file.nodata, nodata, equal_nan=True)
        assert np.array_equal(file.read(1), values, equal_nan=True)
        assert np.array_equal(file.read_masks(1) == 0, HOLES)


def test_a_map_without_a_system_of_coordinates_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with rasterio.open(path, "w", driver="GTiff", transform=NORTH_UP, count=1, height=40, width=61,
                       dtype="float64") as file:  # fmt: skip
        file.write(HEIGHTS, 1)
    assert run(path, "-k", "box:3", "--stride", "2", "-o", tmp_path / "b.tif") == ""
    with rasterio.open(path) as old, rasterio.open(tmp_path / "b.tif") as new:
        assert new.crs is None and new.transform @ (0.5, 0.5) == old.transform @ (0.5, 0.5)
        assert new.transform.a == 2 * old.transform.a


NEIGHBORS = """
import ctypes, sys
gdal, path = ctypes.CDLL(sys.argv[1]), ctypes.c_void_p
for name in ("GetGlobalAlgorithmRegistry", "AlgorithmRegistryInstantiateAlg", "AlgorithmInstantiateSubAlgorithm"):
    getattr(gdal, "GDAL" + name).restype = path
gdal.GDALAllRegister()
step = path(gdal.GDALAlgorithmRegistryInstantiateAlg(path(gdal.GDALGetGlobalAlgorithmRegistry()), b"gdal"))
for name in (b"raster", b"neighbors"):
    step = path(gdal.GDALAlgorithmInstantiateSubAlgorithm(step, name))
words = (ctypes.c_char_p * (len(sys.argv) - 1))(*map(str.encode, sys.argv[2:]), None)
assert gdal.GDALAlgorithmParseCommandLineArguments(step, words)
assert gdal.GDALAlgorithmRun(step, None, None) and gdal.GDALAlgorithmFinalize(step)
"""


@pytest.mark.parametrize("method", ["mean", "sum"])
def test_nodata_follows_the_rule_of_gdals_neighbors(method: str, tmp_path: Path) -> None:
    """A nodata centre stays nodata, nodata neighbours are left out; GDAL 3.12 is that of pyogrio's wheel.

    Its sum is of what is there; the one here is that of a whole window, so that a hole makes no edge.
    """
    folder = Path(pytest.importorskip("pyogrio").__file__).parents[1] / "pyogrio.libs"
    (library,) = folder.glob("libgdal*")
    holes = HOLES.copy()
    holes[20, ::3] = True
    path = write(tmp_path / "a.tif", np.where(holes, np.float32(-9999), HEIGHTS), nodata=-9999)
    rows = [[1, 2, 0.5], [0, 3, 1], [1, 1, 4]]
    words = ["--method", method, "--kernel", json.dumps(rows), "--output-data-type", "Float64"]
    command = [sys.executable, "-c", NEIGHBORS, library, *words, path, tmp_path / "gdal.tif"]
    subprocess.run(command, check=True)  # a process of its own: rasterio has another GDAL
    text = ";".join(",".join(map(str, row)) for row in rows)
    scale = ("--scale", "normalise") if method == "mean" else ()
    assert run(path, "-k", text, *scale, "--dtype", "float64", "-o", tmp_path / "b.tif") == ""
    with rasterio.open(tmp_path / "gdal.tif") as theirs, rasterio.open(tmp_path / "b.tif") as ours:
        want, found = theirs.read(1), ours.read(1)
        assert theirs.nodata == ours.nodata == -9999
    if method == "sum":
        there = correlate((~holes).astype(float), np.array(rows), mode="nearest")
        want = np.where(holes, -9999, want * np.sum(rows) / np.where(holes, 1, there))
    assert np.array_equal(found == -9999, holes) and np.array_equal(want == -9999, holes)
    np.testing.assert_allclose(found, want, rtol=1e-6)


FAR = {
    "far away": (33922, 12, (0.0, 0.0, 0.0, 1e308, 1e308, 0.0)),
    "large pixels": (33550, 12, (1e308, 1e308, 0.0)),
    "small pixels": (33550, 12, (1e-320, 1e-320, 0.0)),
    "large matrix": (34264, 12, (1e307, 0.0, 0.0, 1e308, 0.0, -1e307, 0.0, 1e308, *[0.0] * 7, 1.0)),
}


@pytest.mark.parametrize("name", FAR)
def test_places_that_floats_do_not_hold_are_left_out(name: str, tmp_path: Path) -> None:
    tags = {33550: (33550, 12, (10.0, 10.0, 0.0)), 33922: (33922, 12, (0.0, 0.0, 0.0, 5e5, 4e6, 0.0))}
    tags |= {FAR[name][0]: FAR[name]}
    if name == "large matrix":
        tags = {34264: FAR[name]}
    made = [(code, kind, len(value), value, True) for code, kind, value in tags.values()]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 50), np.uint16), extratags=made)
    run(tmp_path / "a.tif", "-k", "box:3", "-o", tmp_path / "b.tif", "--plot", tmp_path / "p.svg")
    with tifffile.TiffFile(tmp_path / "b.tif") as found:
        assert not {33550, 33922, 34264} & {tag.code for tag in found.pages.first.tags}


def test_words_that_are_not_ascii_are_kept(tmp_path: Path) -> None:
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 1026, 34737, 6, 0)
    tags = [
        (33550, 12, 3, (10.0, 10.0, 0.0), True),
        (33922, 12, 6, (0.0,) * 6, True),
        (34735, 3, len(keys), keys, True),
        (34737, 2, 0, "Zürich|".encode(), True),
    ]
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 50), np.uint16), extratags=tags)
    run(tmp_path / "a.tif", "-k", "box:3", "-o", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as found:
        assert found.pages.first.tags.valueof(34737) == "Zürich|"


@pytest.mark.parametrize(
    ("count", "photometric"), [*((n, "MINISBLACK") for n in (2, 3, 4, 5)), (4, "RGB"), (5, "RGB")]
)
def test_bands_without_a_colour_are_neither_colour_nor_transparency(
    count: int, photometric: str, tmp_path: Path
) -> None:
    bands = RANDOM.integers(1, 4000, (count, 30, 20), dtype=np.uint16)
    path = write(tmp_path / "a.tif", bands, photometric=photometric, alpha="UNSPECIFIED")
    assert run(path, "-k", KERNEL, "--range", "float", "-o", tmp_path / "b.tif") == ""
    with rasterio.open(path) as given, rasterio.open(tmp_path / "b.tif") as found:
        assert found.colorinterp == given.colorinterp
        expected = [correlate(band.astype(float), TAPS, mode="reflect", origin=(-1, 0)) for band in bands]
        np.testing.assert_allclose(found.read(), expected, rtol=1e-6)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages.first.photometric.name == photometric
        assert set(tif.pages.first.extrasamples) == {tifffile.EXTRASAMPLE.UNSPECIFIED}
    if count != 3:  # three are shown as colours
        command = ["filter", str(path), "-k", "1", "-o", str(tmp_path / "b.png")]
        done = CliRunner().invoke(build(["filter"]), command)
        assert f"cannot hold {count} channels: write tiff or npy" in f"{done.exception}"


def test_classes_that_are_read_as_colours_are_said(tmp_path: Path) -> None:
    classes = RANDOM.integers(1, 6, (1, 30, 20), dtype=np.uint8)
    for name, photometric in (("colours", "PALETTE"), ("classes", "MINISBLACK")):
        path = write(tmp_path / f"{name}.tif", classes, photometric=photometric)
        if photometric == "PALETTE":
            with rasterio.open(path, "r+") as file:
                file.write_colormap(1, {code: (50 * code, 255 - code, code, 255) for code in range(1, 6)})
        said = run(path, "-k", "majority:3", "-y", "-o", tmp_path / "b.tif")
        assert ("the colours of the map's palette are filtered, not its classes" in said) == (
            name == "colours"
        )
        assert len(said.splitlines()) == (name == "colours")
    with rasterio.open(tmp_path / "b.tif") as found:  # saved without a palette
        counts = [
            correlate((classes[0] == code).astype(int), np.ones((3, 3)), mode="reflect")
            for code in range(1, 6)
        ]
        chosen = np.take_along_axis(np.array(counts), found.read().astype(int) - 1, axis=0)
        assert np.array_equal(chosen[0], np.max(counts, axis=0))
