"""Independent items, the axis N: the same as one job for each of them, in the input's order of axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import torch.nn.functional as F

import convcli
from tests.shell import SAMPLES, ok
from tests.shell import convcli as shell

BATCH = np.random.default_rng(8).integers(0, 255, (4, 3, 9, 11)).astype(np.float64)
BANK = np.random.default_rng(9).normal(size=(5, 3, 3, 2))
EDGE = "1,-2,3;0,4,-1"
MOVES: dict[str, Any] = {"padding": "valid", "stride": (2, 1)}


def test_a_batch_is_what_torch_makes_of_it() -> None:
    expected = F.conv2d(torch.from_numpy(BATCH), torch.from_numpy(BANK), stride=(2, 1)).numpy()
    found = convcli.filter(BATCH, BANK, axes="NCYX", dtype="float64", **MOVES)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


KERNELS = {"one": EDGE, "maps": np.random.default_rng(3).normal(size=(2, 1, 2, 3)), "bank": BANK}


@pytest.mark.parametrize("kernel", ["one", "maps", "bank"])
@pytest.mark.parametrize(
    ("axes", "places"),  # of N in the result of each kernel
    [("NCYX", (0, 0, 0)), ("CNYX", (1, 2, 1)), ("YNXC", (1, 2, 1)), ("YXCN", (3, 4, 3)), ("NYXC", (0, 0, 0))],
)
def test_every_item_is_a_job_of_its_own(axes: str, places: tuple[int, int, int], kernel: str) -> None:
    given = BATCH.transpose(["NCYX".index(letter) for letter in axes])
    items = [given.take(index, axes.index("N")) for index in range(len(BATCH))]
    alone = [convcli.filter(item, KERNELS[kernel], axes=axes.replace("N", ""), **MOVES) for item in items]
    found = convcli.filter(given, KERNELS[kernel], axes=axes, **MOVES)
    assert np.array_equal(found, np.stack(alone, places[list(KERNELS).index(kernel)]))


@pytest.mark.parametrize(("policy", "percents"), [("minmax", (0, 100)), ("percentile:20:90", (20, 90))])
@pytest.mark.parametrize("axes", ["NYX", "YNX", "TYX"])
def test_ranges_are_measured_in_each_item(axes: str, policy: str, percents: tuple[int, int]) -> None:
    """Items have nothing to do with each other; frames of a clip have one range."""
    pictures = (np.random.default_rng(2).integers(0, 60, (2, 9, 7)) * [[[1]], [[4]]]).astype(np.uint8)
    where = None if axes == "TYX" else (1, 2)
    low, high = np.percentile(pictures, percents, axis=where, keepdims=True)
    exact = ((pictures - low) / (high - low)).clip(0, 1) * 255
    given = np.moveaxis(pictures, 0, max(axes.find("N"), 0))
    found = convcli.filter(given, "identity", axes=axes, range=policy)
    assert np.abs(np.moveaxis(found, max(axes.find("N"), 0), 0) - exact).max() <= 0.501


@pytest.mark.parametrize("axes", ["NCYX", "YNXC"])
def test_the_shell_does_as_python(axes: str, tmp_path: Path) -> None:
    given = BATCH.transpose(["NCYX".index(letter) for letter in axes])
    np.save(tmp_path / "a.npy", given)
    ok(
        "filter",
        tmp_path / "a.npy",
        "--axes",
        axes,
        "-k",
        EDGE,
        "--stride",
        "2,1",
        "-o",
        tmp_path / "b.npy",
        "-q",
    )
    assert np.array_equal(np.load(tmp_path / "b.npy"), convcli.filter(given, EDGE, axes=axes, stride=(2, 1)))


def test_pages_may_be_items(tmp_path: Path) -> None:
    pages = BATCH[:, 0].astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pages, photometric="minisblack")
    ok("filter", tmp_path / "a.tif", "--axes", "NYX", "--pool", "max:2", "-o", tmp_path / "b.tif", "-q")
    expected = F.max_pool2d(torch.from_numpy(pages).float()[:, None], 2)[:, 0].numpy()
    assert np.array_equal(tifffile.imread(tmp_path / "b.tif"), expected)


def test_items_are_no_axis_to_slide_along(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", BATCH[:, 0])
    given = ["filter", tmp_path / "a.npy", "--axes", "NYX"]
    cases = {
        ("-k", "box:3x3x3", "-o", "b.npy"): "the data has only the axes y, x",
        ("-k", "1,2,3", "--axis", "n", "-o", "b.npy"): "the data has the axes y, x",
        (
            "-k",
            "box:3",
            "--range",
            "clip",
            "-o",
            "b.png",
        ): "cannot hold data of the axes n, y, x: write tiff or npy",
    }
    for options, words in cases.items():
        done = shell(*given, *options, cwd=tmp_path)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
        assert words in done.stderr.decode()
    for words, options in (
        (["motion"], []),
        (["net", "check", SAMPLES / "pyramid.yaml"], []),
    ):
        done = shell(*words, tmp_path / "a.npy", "--axes", "NYX", *options)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
        assert b"several items along the axis N: this command takes a file with a single item" in done.stderr
