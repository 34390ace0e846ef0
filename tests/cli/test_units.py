"""Kernels in the units of their data, beside scipy on spacings that the formats' own libraries read."""

import json
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import rasterio
import soundfile
from PIL import Image
from rasterio.transform import Affine
from scipy import ndimage
from typer.testing import CliRunner

import convcli
from convcli.cli.program import build
from convcli.common import UsageError
from convcli.kernel import load_kernel

RANDOM = np.random.default_rng(11)
HEIGHTS = RANDOM.normal(300, 40, (24, 37)).astype(np.float32)
METRES, DEGREES = Affine(10, 0, 500_000, 0, -20, 4_600_000), Affine(0.25, 0, -13, 0, -0.125, 48)


def run(command: str, *arguments: object) -> tuple[str, str]:
    """Run a command in this process; return what it prints, and what it says on stderr."""
    words = [command, *map(str, arguments)]
    done = CliRunner().invoke(build([command]), words, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout, done.stderr


def refused(*arguments: object) -> str:
    with pytest.raises(UsageError) as told:
        run("filter", *arguments)
    return str(told.value)


def map_of(path: Path, transform: Affine = METRES, crs: str = "EPSG:32633") -> Path:
    form = {"count": 1, "height": len(HEIGHTS), "width": HEIGHTS.shape[1], "dtype": "float32"}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, crs=crs, **form) as file:
        file.write(HEIGHTS[None])
    return path


def filtered(path: Path, kernel: str, *options: object) -> np.ndarray:
    run("filter", path, "-k", kernel, *options, "-q", "-o", path.with_name("o.npy"), "-y")
    return np.load(path.with_name("o.npy"))


def test_a_map_in_metres(tmp_path: Path) -> None:
    """Along y and x a metre is another number of pixels; a second kernel meets the strides of the first."""
    path, single = map_of(tmp_path / "m.tif"), HEIGHTS.astype(float)
    sigmas = [30 / abs(METRES.e), 30 / METRES.a]
    close = {"rtol": 1e-5}
    smooth = ndimage.gaussian_filter(single, sigmas, mode="nearest")
    np.testing.assert_allclose(filtered(path, "gaussian:sigma=30m"), smooth, **close)
    np.testing.assert_allclose(filtered(path, "gaussian:sigma=0.03km"), smooth, **close)
    flat = ndimage.uniform_filter(single, (3, 5), mode="nearest")
    np.testing.assert_allclose(filtered(path, "box:60mx50m"), flat, **close)
    np.testing.assert_allclose(filtered(path, "box:45mx5"), flat, **close)  # 2.25 pixels: three lie within
    across = ndimage.gaussian_filter1d(single, 1.5, axis=1, mode="nearest")
    np.testing.assert_allclose(filtered(path, "gaussian:15m", "--axis", "x"), across, **close)
    second = filtered(
        path,
        "identity:1",
        "-k",
        "gaussian:sigma=80m",
        "--stride",
        "2",
        "--padding",
        "same",
        "--pad-mode",
        "replicate",
    )
    thinned = ndimage.gaussian_filter(single[::2, ::2], (2, 4), mode="nearest")[::2, ::2]
    np.testing.assert_allclose(second, thinned, **close)


def test_what_a_unit_became_is_said(tmp_path: Path) -> None:
    path = map_of(tmp_path / "m.tif")
    words = path, "-k", "gaussian:sigma=30m", "-o", tmp_path / "o.tif"
    line = "gaussian:sigma=30m is gaussian:sigma=1.5x3 in samples"
    assert line in run("filter", *words, "--dry-run")[0]
    assert line in run("filter", *words, "-v")[1]
    found = json.loads(run("filter", *words, "--dry-run", "--json", "-y")[0])
    assert found["in_samples"] == {"gaussian:sigma=30m": "gaussian:sigma=1.5x3"}
    assert found["kernels"] == ["gaussian:sigma=30m"]
    assert run("filter", path, "-k", "box:30m", "--dry-run")[0].startswith("m.box-30m.tif: ")
    out, told = run("explain", path, "-k", "box:60mx50m", "--at", "3,4")
    assert "box:60mx50m is box:3x5 in samples" in told
    assert float(out.split()[-1]) == pytest.approx(HEIGHTS[2:5, 2:7].astype(float).mean(), rel=1e-5)


def test_samples_that_lie_differently_far_apart_name_both_spellings(tmp_path: Path) -> None:
    path = map_of(tmp_path / "m.tif")
    told = run("filter", path, "-k", "gaussian:sigma=2", "--dry-run")[0]
    assert (
        "samples lie 20 m (y), 10 m (x) apart: gaussian:sigma=2 counts them, gaussian:sigma=20m measures"
        in told
    )
    for kernel in ("gaussian:sigma=2x4", "gaussian:sigma=20m", "hedge"):
        assert "apart: " not in run("filter", path, "-k", kernel, "--dry-run")[0]
    even = map_of(tmp_path / "e.tif", Affine(14, 0, 0, 0, -20, 0))
    assert "apart: " not in run("filter", even, "-k", "gaussian:sigma=2", "--dry-run")[0]


def test_degrees_are_degrees(tmp_path: Path) -> None:
    """One of latitude is about 111.195 km, one of longitude the cosine of that."""
    path = map_of(tmp_path / "d.tif", DEGREES, "EPSG:4326")
    smooth = ndimage.gaussian_filter(HEIGHTS.astype(float), (4, 2), mode="nearest")
    np.testing.assert_allclose(filtered(path, "gaussian:sigma=0.5deg"), smooth, rtol=1e-5)
    tall, middle = 30 / 111.195, 48 - 0.125 * 12.5
    wide = tall / np.cos(np.radians(middle))
    told = refused(path, "-k", "gaussian:sigma=30km")
    assert "whose length depends on the latitude" in told
    assert f"at {middle:.4g} deg it is {tall:.4f}degx{wide:.4f}deg (y, x)" in told


def test_seconds_of_sounds_and_tables(tmp_path: Path) -> None:
    wave = RANDOM.normal(0, 0.1, 900)
    soundfile.write(tmp_path / "a.wav", wave, 8000, "DOUBLE")
    smooth = ndimage.gaussian_filter1d(wave, 25e-3 * 8000 / 100, mode="nearest")
    np.testing.assert_allclose(filtered(tmp_path / "a.wav", "gaussian:sigma=250us"), smooth, atol=1e-14)
    for unit, name in ((1, "time [s]"), (1000, "t (ms)"), (1 / 60, "clock [min]"), (1, "time")):
        times = np.arange(900) * 0.125 * unit
        pl.DataFrame({name: times, "a": wave}).write_csv(tmp_path / "a.csv")
        flat = ndimage.uniform_filter1d(wave, 5, mode="nearest")
        np.testing.assert_allclose(filtered(tmp_path / "a.csv", "box:0.625s"), flat, atol=1e-14)
    told = run("filter", tmp_path / "a.csv", "-k", "box:2s", "--dry-run")[0]
    assert "the times have no unit: seconds are taken for it" in told
    pl.DataFrame({"nm [nm]": np.arange(400, 1300), "a": wave}).write_csv(tmp_path / "s.csv")
    np.testing.assert_allclose(filtered(tmp_path / "s.csv", "box:5nm"), flat, atol=1e-14)


def test_seconds_of_clips_and_millimetres_of_pictures(tmp_path: Path) -> None:
    frames = RANDOM.integers(0, 255, (9, 16, 16), np.uint8)
    with av.open(str(tmp_path / "c.mkv"), "w") as file:  # stamps in milliseconds: 33, 33, 34 …
        stream = file.add_stream("ffv1", rate=30)
        stream.width = stream.height = 16
        stream.pix_fmt = "gray"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "gray")))
        file.mux(stream.encode(None))
    mean = ndimage.uniform_filter1d(frames.astype(float), 3, axis=0)[1:-1]
    found = filtered(tmp_path / "c.mkv", "temporal-mean:0.1s", "--range", "float")
    np.testing.assert_allclose(found.reshape(mean.shape), mean, rtol=1e-5)
    Image.fromarray(frames[0]).save(tmp_path / "p.png", dpi=(254, 254))
    flat = ndimage.uniform_filter(frames[0].astype(float), 3, mode="nearest")
    np.testing.assert_allclose(filtered(tmp_path / "p.png", "box:0.3mm"), flat, rtol=1e-3)


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("box:3s", "s measures time, and the positions along y are in 'm'"),
        ("box:3y", "unit 'y' is unknown: known are s, "),
        ("box:1m", "1m is 0.05 of a sample: give more"),
        ("gaussian:sigma=1m", "1m is 0.05 of a sample: give more"),
        ("box:1e300m", "1000000000x1000000000 weights are more than"),
        ("motion-blur:100m", "it takes one number of samples, and 5 and 10 differ"),
        ("box:30mx30mx30m", "it has 3 axes, and the data has only y, x"),
        ("dog:sigma=30m,ratio=2m", "ratio: '2m' is not a number"),
        ("temporal-mean:2s", "it has 3 axes, and the data has only y, x"),
    ],
)
def test_what_a_unit_cannot_be(kernel: str, expected: str, tmp_path: Path) -> None:
    assert expected in refused(map_of(tmp_path / "m.tif"), "-k", kernel)


def test_data_without_positions(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", HEIGHTS)
    assert "m: the file does not tell how far the samples along y lie apart" in refused(
        tmp_path / "a.npy", "-k", "box:3m"
    )
    pl.DataFrame({"t [s]": [0, 1, 3, 4], "a": [1.5, 2, 3, 1]}).write_csv(tmp_path / "a.csv")
    uneven = "s: the samples along x are not evenly spaced; --along time smooths by their real distances"
    assert uneven in refused(tmp_path / "a.csv", "-k", "box:3s")
    with pytest.raises(UsageError, match="units need a file that tells where its samples lie"):
        load_kernel("box:3m")


def test_arrays_in_python_have_spacings_too() -> None:
    volume = RANDOM.normal(size=(9, 20, 21))
    found = convcli.filter(volume, "gaussian:sigma=3mm", axes="ZYX", spacing=("3mm", "1mm", "1mm"))
    wanted = ndimage.gaussian_filter(volume, (1, 3, 3), mode="nearest", radius=(4, 12, 12))
    np.testing.assert_allclose(found, wanted, atol=1e-12)
    line = RANDOM.normal(size=50)
    once = convcli.filter(line, "box:50ms", spacing="10ms", stride=2)
    twice = convcli.filter(line, ["box:50ms", "box:60ms"], spacing="1/100s", stride=2)  # 20 ms between them
    np.testing.assert_allclose(once, ndimage.uniform_filter(line, 5, mode="nearest")[::2], atol=1e-12)
    np.testing.assert_allclose(twice, ndimage.uniform_filter(once, 3, mode="nearest")[::2], atol=1e-12)
    with pytest.raises(UsageError, match="s measures time, and the positions along x are in 'mm'"):
        convcli.filter(line, "box:5s", spacing="1mm")
    for spacing in ("3", "-1mm", "2 parsecs", ("1mm", "2mm"), ()):
        with pytest.raises(UsageError, match="is not possible: give a number and a unit, such as 30m"):
            convcli.filter(line, "box:5mm", spacing=spacing)
