"""White: 1 of floats, 2^N - 1 of N bits, in every range and in every format that is written."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

import convcli
from tests.shell import ok

RAMP = np.array([[-0.25, 0, 0.1, 0.2, 0.5, 0.75, 1, 1.5]] * 4, np.float32)
MAPPED = {
    "clip": np.clip(RAMP, 0, 1),
    "abs": np.minimum(np.abs(RAMP), 1),
    "0%:50%": np.clip(2 * RAMP, 0, 1),
    "-1:2": (RAMP + 1) / 3,
    "offset": np.clip(0.5 + RAMP / 2, 0, 1),
    "minmax": (RAMP + 0.25) / 1.75,
}


@pytest.mark.parametrize("policy", MAPPED)
def test_floats_become_floats_from_0_to_1(policy: str) -> None:
    got = convcli.filter(RAMP, "1", range=policy)
    np.testing.assert_allclose(got, MAPPED[policy], atol=1e-6)
    assert got.min() >= 0
    assert got.max() <= 1
    holes = np.where(RAMP == 0.5, np.nan, RAMP)
    np.testing.assert_array_equal(np.isnan(convcli.filter(holes, "1", range=policy)), np.isnan(holes))


@pytest.mark.parametrize(
    ("policy", "source", "target"),
    [
        ("clip", ".tif", ".png"),
        ("abs", ".npy", ".png"),
        ("-1:2", ".npy", ".gif"),
        ("0%:50%", ".tif", ".bmp"),
    ],
)
def test_floats_become_pixels(policy: str, source: str, target: str, tmp_path: Path) -> None:
    given, made = tmp_path / f"in{source}", tmp_path / f"out{target}"
    np.save(given, RAMP) if source == ".npy" else tifffile.imwrite(given, RAMP)
    done = ok("filter", given, "-k", "1", "--range", policy, "-o", made)
    # what skimage.util.img_as_ubyte does; the range is the only thing that may round .5 either way
    with Image.open(made) as picture:
        np.testing.assert_allclose(np.asarray(picture.convert("L")), 255 * MAPPED[policy], atol=0.501)
    assert (b"clipped" in done.stderr) is (policy != "-1:2")


def test_alpha_of_floats_is_opaque_at_1(tmp_path: Path) -> None:
    pixels = np.zeros((3, 4, 4), np.float32) + np.array([1, 0.5, 0.2, 0.4], np.float32)
    pixels[0, :, 3] = 1
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    ok("filter", "in.tif", "-k", "1", "--range", "clip", "-o", "out.png", cwd=tmp_path)
    got = np.asarray(Image.open(tmp_path / "out.png"))
    np.testing.assert_allclose(got[[0, 2]], np.rint(255 * pixels[[0, 2]]), atol=1)
    assert (got[0, :, 3] == 255).all()


@pytest.mark.parametrize(
    ("values", "policy", "words"),
    [
        ((20.0, 200.0), "clip", b"255 (white) by --range clip: try --range minmax or LO:HI"),
        ((20.0, 200.0), "-9:0.5", b"255 (white) by --range -9:0.5: try --range minmax"),
        ((0.5, 0.5), "minmax", b"0 (black) by --range minmax: the results are alike"),
        ((0.1, 0.2), "percentile:1:2", b"those between the percentiles are alike"),
        ((0.1, 0.2), "float", None),
    ],
)
def test_a_result_of_one_value_is_said(
    values: tuple[float, float], policy: str, words: bytes | None, tmp_path: Path
) -> None:
    np.save(tmp_path / "in.npy", np.tile(values, (5, 3)))
    kind = "tif" if policy == "float" else "png"
    done = ok("filter", "in.npy", "-k", "1", "--range", policy, "-o", f"out.{kind}", cwd=tmp_path)
    assert (b"all of the result" in done.stderr) is (words is not None)
    assert (words or b"") in done.stderr


def bits(path: Path, pixels: np.ndarray, count: int, **tags: object) -> None:
    tifffile.imwrite(path, pixels.astype(np.uint16), bitspersample=count, metadata=None, **tags)


def test_deep_greys_have_the_white_of_their_bits(tmp_path: Path) -> None:
    levels = np.array([[0, 1, 600, 1200, 2048, 3600, 4094, 4095]] * 8)
    bits(tmp_path / "in.tif", levels, 12)
    for target, policy, want in (
        ("a.png", "clip", levels * (65535 / 4095)),
        ("b.bmp", "0%:50%", np.minimum(levels * (510 / 4095), 255)),
        ("b.tif", "0%:50%", np.minimum(2 * levels, 4095)),
        ("c.tif", "offset", 2048 + levels * (2047 / 4095)),
    ):
        ok("filter", "in.tif", "-k", "1", "--range", policy, "-o", target, "-q", cwd=tmp_path)
        made = tmp_path / target
        got = tifffile.imread(made) if made.suffix == ".tif" else np.asarray(Image.open(made))
        assert np.abs(got - want).max() <= 1, (target, policy)  # to 16 bits, and from there to 8
    ok("filter", "in.tif", "-k", "2", "--range", "clip", "-o", "twice.tif", cwd=tmp_path)
    assert tifffile.imread(tmp_path / "twice.tif").max() == 4095


@pytest.mark.parametrize("channels", [1, 3])
def test_a_chain_of_tiffs_keeps_the_white_of_12_bits(channels: int, tmp_path: Path) -> None:
    levels = np.arange(0, 4096, 63).reshape(1, 66, 1).repeat(5, 0)
    pixels = np.concatenate([levels, levels // 2, levels // 3][:channels], -1).squeeze()
    bits(tmp_path / "in.tif", pixels, 12, photometric="rgb" if channels == 3 else "minisblack")
    ok("filter", "in.tif", "-k", "1", "-o", "a.tif", cwd=tmp_path)
    ok("filter", "a.tif", "-k", "1", "-o", "b.tif", cwd=tmp_path)
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        page = file.pages[0]
        assert np.array_equal(page.asarray(), pixels) and page.bitspersample == 16
        assert set(np.atleast_1d(page.tags.valueof("MaxSampleValue"))) == {4095}
    done = ok("filter", "b.tif", "-k", "1", "-o", "c.png", cwd=tmp_path)
    assert b"12 bits" in done.stderr
    want = np.rint(pixels * (65535 / 4095))
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "c.png").read_bytes()), want)
    tifffile.imwrite(tmp_path / "all.tif", pixels.astype(np.uint16))
    ok("filter", "all.tif", "-k", "1", "-o", "d.tif", cwd=tmp_path)
    with tifffile.TiffFile(tmp_path / "d.tif") as file:
        assert "MaxSampleValue" not in file.pages[0].tags


@pytest.mark.parametrize("count", [9, 15])
def test_white_is_zero_and_frames_of_any_bits(count: int, tmp_path: Path) -> None:
    white = 2**count - 1
    levels = np.array([[0, white // 3, white // 2, white]] * 4)
    for number in (1, 2):
        bits(tmp_path / f"in{number}.tif", levels // number, count, photometric="miniswhite")
    ok("filter", "in%d.tif", "-k", "1", "-o", "out%d.png", "-q", cwd=tmp_path)
    for number in (1, 2):
        got = np.asarray(Image.open(tmp_path / f"out{number}.png")).astype(int)
        assert np.abs(got - (white - levels // number) * 65535 / white).max() <= 0.501


def test_premultiplied_colours_of_12_bits(tmp_path: Path) -> None:
    pixels = np.tile([1000, 500, 250, 2048], (4, 4, 1))
    bits(tmp_path / "in.tif", pixels, 12, photometric="rgb", extrasamples=["assocalpha"])
    ok("filter", "in.tif", "-k", "1", "-o", "out.tif", "-q", cwd=tmp_path)
    want = np.rint(np.array([1000, 500, 250]) * (4095 / 2048))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[1, 1], [*want, 2048])
