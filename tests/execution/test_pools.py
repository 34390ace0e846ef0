"""Pools: the samples that are there, alpha, and the options of a pool without kernels; windows taken by plain numpy."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

import convcli
from convcli.geometry.pools import POOLS
from tests.shell import convcli as shell
from tests.shell import ok
from tests.window_statistics import OF_NUMPY


def windows(x: np.ndarray, size: tuple[int, int], stride: int = 1) -> np.ndarray:
    """Return the windows over the first two axes with their taps last, (y, x, …, taps)."""
    found = sliding_window_view(x, size, (0, 1))[::stride, ::stride]
    return found.reshape(*found.shape[:-2], -1)


@pytest.mark.parametrize("kind", [str(kind) for kind in POOLS])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_pools_take_the_samples_that_are_there(kind: str, engine: str) -> None:
    random = np.random.default_rng(7)
    x = random.normal(size=(9, 11))
    x[random.random(x.shape) < 0.4] = np.nan
    x[2:6, 3:7] = np.nan  # some windows hold no sample
    padded = np.pad(x, 1, constant_values=np.nan)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):  # of empty windows
        want = OF_NUMPY[kind](windows(padded, (3, 2), 2), axis=-1)
    got = convcli.filter(x, pool=f"{kind}:3x2,s=2,p=1", missing="skip", engine=engine)
    np.testing.assert_allclose(got, want, rtol=1e-14, atol=1e-15)
    assert np.isnan(got).any()
    everything = convcli.filter(x, pool=f"global-{kind}", missing="skip", engine=engine)
    np.testing.assert_allclose(everything, [[OF_NUMPY[kind](x)]], rtol=1e-14)


def test_zeros_that_count_are_there_and_those_beyond_are_not() -> None:
    x = np.array([np.nan, 4, 8, np.nan, np.nan])
    got = convcli.filter(x, pool="avg:3,s=2,p=1,include,ceil", missing="skip")
    np.testing.assert_allclose(got, [2, 6, 0])
    np.testing.assert_allclose(convcli.filter(x, pool="avg:3,s=2,p=1", missing="skip"), [4, 6, np.nan])
    np.testing.assert_allclose(convcli.filter(x, "box:1", pool="max:2", missing="skip"), [4, 8])


@pytest.mark.parametrize(
    ("options", "works"),
    [
        ({"pool": "median:2"}, True),
        ({"kernel": "box:3", "transpose": True}, False),
        ({"kernel": "edge", "pool": "max:2"}, False),
    ],
)
def test_only_an_advice_that_works_names_skip(options: dict[str, Any], works: bool) -> None:
    x = [1, np.nan, 3, 4]
    with pytest.raises(convcli.ConvError, match="missing sample") as refused:
        convcli.filter(x, **options, missing="error")
    assert ("--missing skip" in str(refused.value)) is works
    if works:
        assert not np.isnan(convcli.filter(x, **options, missing="skip")).any()
    else:
        with pytest.raises(convcli.UsageError, match="missing skip"):
            convcli.filter(x, **options, missing="skip")


def test_the_pool_of_a_kernel_file_skips_too(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("x\n1\n\n\n3\n4\n")
    (tmp_path / "tops.yaml").write_text(
        "name: tops\nweights: [1, 2]\nscale: 1/3\npadding: valid\npool: max:2,s=1\n"
    )
    done = ok("filter", "in.csv", "-k", "tops.yaml", "--missing", "skip", "-q", "-o", "-", cwd=tmp_path)
    assert [float(line) for line in done.stdout.split()[1:]] == pytest.approx(
        [1, 3, 11 / 3]
    )  # of 1, none, 3 and 11/3


@pytest.mark.parametrize(
    ("kind", "depth"),
    [*((str(kind), "uint8") for kind in POOLS if kind.within), ("max", "uint16"), ("median", "uint16")],
)
def test_pools_of_pictures_with_alpha(kind: str, depth: str, tmp_path: Path) -> None:
    """Colours are pooled as their alpha shows them, and alpha alike: what is hidden stays hidden."""
    import tifffile

    white = np.iinfo(depth).max
    random = np.random.default_rng(11)
    pixels = random.integers(0, white + 1, (9, 12, 4)).astype(depth)
    pixels[..., 3] *= random.random((9, 12)) < 0.5
    pixels[:4, :4, 3] = 0
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    ok("filter", "in.tif", "--pool", f"{kind}:2", "-o", "out.tif", cwd=tmp_path)
    got = tifffile.imread(tmp_path / "out.tif").astype(float)

    shown = pixels.astype(float)
    shown[..., :3] *= shown[..., 3:] / white
    want = OF_NUMPY[kind](windows(shown, (2, 2), 2), axis=-1)
    seen = want[..., 3:] > 0
    want[..., :3] = np.where(seen, want[..., :3] / np.where(seen, want[..., 3:] / white, 1), 0)
    assert np.abs(got - want).max() <= 0.5 + white * 1e-5  # one rounding, and that of float32
    assert not got[~np.broadcast_to(seen, got.shape)].any()


@pytest.mark.parametrize("kind", ["min", "median"])
def test_windows_on_padding_alone_are_transparent(kind: str, tmp_path: Path) -> None:
    Image.new("RGBA", (3, 3), (200, 100, 50, 255)).save(tmp_path / "in.png")
    ok("filter", "in.png", "--pool", f"{kind}:2,p=2", "-o", "out.png", cwd=tmp_path)
    got = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_array_equal(got[0], np.zeros((3, 4)))
    np.testing.assert_array_equal(got[1, 1], [200, 100, 50, 255])


def test_pools_of_clips_with_alpha(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    frames = random.integers(0, 256, (3, 16, 16, 4), dtype=np.uint8)
    frames[..., 3] = 255 * (random.random((3, 16, 16)) < 0.3)
    pictures = [Image.fromarray(frame) for frame in frames]
    pictures[0].save(
        tmp_path / "in.webp", save_all=True, append_images=pictures[1:], lossless=True, exact=True
    )
    ok("filter", "in.webp", "--frames", "all", "--pool", "max:2", "-o", "out%d.png", cwd=tmp_path)
    shown = frames * (frames[..., 3:] > 0)
    for number, frame in enumerate(shown):
        got = np.asarray(Image.open(tmp_path / f"out{number + 1}.png"))
        np.testing.assert_array_equal(got, windows(frame, (2, 2), 2).max(axis=-1))


def test_a_pool_alone_takes_the_options_of_its_window() -> None:
    x = np.random.default_rng(2).normal(size=(8, 9))
    for options, own in (
        ({"stride": 1}, "max:3,s=1"),
        ({"padding": 1, "stride": (2, 1)}, "max:3,p=1,s=2x1"),
        ({"padding": "same", "stride": 1}, "max:3,same,s=1"),
        ({"dilation": 2, "stride": 1}, "max:3,d=2,s=1"),
    ):
        np.testing.assert_array_equal(convcli.filter(x, pool="max:3", **options), convcli.filter(x, pool=own))
    np.testing.assert_array_equal(  # kernels have them for themselves
        convcli.filter(x, "box:3", pool="max:2", stride=2),
        convcli.filter(convcli.filter(x, "box:3", stride=2), pool="max:2"),
    )


@pytest.mark.parametrize(
    ("pool", "options"),
    [
        ("max:2", {"pad_mode": "reflect"}),
        ("max:2", {"pad_value": 3}),
        ("max:2", {"bias": 1}),
        ("max:2", {"flip": True}),
        ("max:2", {"transpose": True}),
        ("max:2", {"output_padding": 1}),
        ("max:2", {"channels": "sum"}),
        ("max:2,s=3", {"stride": 2}),
        ("max:2,p=1", {"padding": "same"}),
        ("global-avg", {"dilation": 2}),
    ],
)
def test_what_a_pool_alone_cannot_do_is_refused(pool: str, options: dict[str, Any]) -> None:
    (name,) = options
    with pytest.raises(convcli.UsageError, match=f"--{name.replace('_', '-')}"):
        convcli.filter([1, 2, 3, 4], pool=pool, **options)


@pytest.mark.parametrize("command", [("filter", "-o", "-"), ("explain", "--at", "0")])
def test_the_refusal_is_one_line(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("x\n1\n2\n3\n4\n")
    refused = shell(command[0], "in.csv", *command[1:], "--pool", "max:2", "--bias", "1", cwd=tmp_path)
    assert (refused.returncode, refused.stdout, refused.stderr.count(b"\n")) == (2, b"", 1)
    assert b"--bias" in refused.stderr


def test_a_padding_mode_alone_pads_along_time_too() -> None:
    clip = np.arange(5.0).reshape(5, 1, 1) ** 2
    kernel = np.array([1.0, 2.0, 4.0]).reshape(3, 1, 1)
    padded = np.pad(clip, ((1, 1), (0, 0), (0, 0)), mode="reflect")
    want = padded[:-2] + 2 * padded[1:-1] + 4 * padded[2:]
    np.testing.assert_array_equal(convcli.filter(clip, kernel, axes="TYX", pad_mode="reflect"), want)
    np.testing.assert_array_equal(convcli.filter(clip, kernel, axes="TYX"), want[1:-1])
    nines = convcli.filter(clip, kernel, axes="TYX", pad_value=9.0)
    assert nines.ravel()[0] == 9 + 0 + 4
