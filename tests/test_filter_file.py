"""``convcli.filter_file``: files in, files or arrays out, as the shell writes them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import nibabel
import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage

import convcli
from tests.shell import SAMPLES, ok

HOUSE = SAMPLES / "house.png"


def decoded(path: Path) -> Any:
    if path.suffix == ".mp4":
        return iio.imread(path, plugin="pyav")
    if path.suffix == ".csv":
        return path.read_text()
    return np.load(path) if path.suffix == ".npy" else iio.imread(path)


@pytest.mark.parametrize(
    ("file", "kernel", "suffix", "options"),
    [
        ("house.png", "hedge", ".png", {}),
        ("house.png", ["gaussian:sigma=2", "sobel"], ".tif", {"stride": 2}),
        ("house.png", "box:3", ".npy", {}),
        ("house.png", "sharpen", ".webp", {"region": (9, 9, 40, 40)}),
        ("noisy-signal.csv", "gaussian:sigma=0.1s", ".csv", {}),
        ("walk.mp4", "median:3", ".mp4", {}),
        ("rgb-3x32x32.npy", "box:5", ".npy", {"axes": "CYX"}),
    ],
)
def test_a_file_becomes_what_the_shell_makes_of_it(
    file: str, kernel: Any, suffix: str, options: dict[str, Any], tmp_path: Path
) -> None:
    if file.endswith("csv"):
        text = (SAMPLES / file).read_text().replace("time,", "time [s],", 1)
        (tmp_path / file).write_text(text)
    source = tmp_path / file if file.endswith("csv") else SAMPLES / file
    made, wanted = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert convcli.filter_file(source, kernel, made, engine="numpy", **options) == made
    words = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if name != "region"]
    words += ["--region", "9,9,40,40"] * ("region" in options)
    kernels = [word for one in ([kernel] if isinstance(kernel, str) else kernel) for word in ("-k", one)]
    ok("filter", source, *kernels, *words, "-o", wanted, "--engine", "numpy")
    np.testing.assert_array_equal(decoded(made), decoded(wanted))


def test_without_an_output_pixels_or_numbers_come_back() -> None:
    with Image.open(HOUSE) as image:
        pixels = np.asarray(image.convert("RGB"))
    got = convcli.filter_file(HOUSE, "median:3")
    np.testing.assert_array_equal(got, ndimage.median_filter(pixels, (3, 3, 1), mode="nearest"))
    table = np.loadtxt(SAMPLES / "noisy-signal.csv", delimiter=",", skiprows=1)[:, 1:]
    got = convcli.filter_file(str(SAMPLES / "noisy-signal.csv"), "mean3")
    np.testing.assert_allclose(got, ndimage.uniform_filter1d(table, 3, axis=0, mode="nearest"))


def test_what_cannot_be_is_said(tmp_path: Path) -> None:
    np.save(tmp_path / "bank.npy", np.ones((2, 1, 3, 3)))
    for error, words, arguments in (
        (convcli.ConvError, "no such file", (tmp_path / "no.png", "box:3")),
        (
            convcli.UsageError,
            "PNG files cannot hold",
            (HOUSE, str(tmp_path / "bank.npy"), tmp_path / "a.png"),
        ),
        (convcli.UsageError, "CSV files cannot hold", (HOUSE, "box:3", tmp_path / "a.csv")),
        (convcli.UsageError, "suffix", (HOUSE, "box:3", tmp_path / "a.xyz")),
        (
            convcli.UsageError,
            "PNG files cannot hold",
            (SAMPLES / "rgb-3x32x32.npy", "box:3", tmp_path / "a.png"),
        ),
    ):
        with pytest.raises(error, match=words):
            convcli.filter_file(*arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["bank.npy"]
    tifffile.imwrite(tmp_path / "old.tif", np.ones((3, 3), np.uint8))
    with pytest.raises(convcli.ConvError, match="exists"):
        convcli.filter_file(HOUSE, "box:3", tmp_path / "old.tif")
    convcli.filter_file(HOUSE, "box:3", tmp_path / "old.tif", force=True)
    assert tifffile.imread(tmp_path / "old.tif").shape == (240, 320, 3)


def test_volumes_are_filtered_in_three_dimensions_and_keep_their_axes(tmp_path: Path) -> None:
    voxels = np.random.default_rng(3).random((6, 7, 8)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([2, 3, 4, 1])), tmp_path / "a.nii")
    convcli.filter_file(tmp_path / "a.nii", "box:3", tmp_path / "b.nii")
    result = nibabel.load(tmp_path / "b.nii")
    mean = ndimage.uniform_filter(voxels, 3, mode="nearest")
    np.testing.assert_allclose(np.asarray(result.dataobj), mean, rtol=1e-5)
    np.testing.assert_array_equal(result.affine, np.diag([2, 3, 4, 1]))

    stack = np.random.default_rng(4).integers(0, 60_000, (3, 4, 2, 9, 11), dtype=np.uint16)  # T, Z, C, Y, X
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TZCYX", "spacing": 2.5, "unit": "um"}
    )
    convcli.filter_file(tmp_path / "a.tif", "box:3", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert (file.series[0].axes, file.imagej_metadata["spacing"]) == ("TZCYX", 2.5)
        mean = ndimage.uniform_filter(stack.astype(float), (1, 3, 1, 3, 3), mode="nearest")
        np.testing.assert_allclose(file.asarray(), mean, atol=0.501)


def test_what_an_input_holds_beside_is_said(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(np.ones((9, 11), np.uint8))
        file.write(np.ones((5, 6), np.uint8))
    with pytest.warns(UserWarning, match="pictures of other size"):
        convcli.filter_file(tmp_path / "a.tif", "box:3", tmp_path / "b.tif")
