"""Results in the colours of a map, windows in shares of the largest sample, means of colours."""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

import convcli
from convcli.common.errors import UsageError
from convcli.pixels.ranges import Coloured, MinMax, Window, parse_range
from tests.shell import convcli as command
from tests.shell import ok

VALUES = np.arange(20 * 30, dtype="uint8").reshape(20, 30)
COLOURS = np.random.default_rng(3).integers(0, 200, (12, 16, 3), dtype="uint8")


@pytest.mark.parametrize(
    ("text", "inner"),
    [("viridis", "minmax"), ("magma:0%:1%", "0%:1%"), ("grey:percentile:1:99", "percentile:1:99")],
)
def test_a_map_is_read_and_written(text: str, inner: str) -> None:
    policy = parse_range(text)
    assert policy == Coloured(text.partition(":")[0], parse_range(inner))
    assert str(policy) == text
    assert parse_range("viridis:minmax") == Coloured("viridis", MinMax())


@pytest.mark.parametrize(
    ("text", "said"),
    [("virids", "viridis"), ("viridis:float", "float"), ("viridis:grey", "grey"), ("a.b", "is one of")],
)
def test_what_is_no_map_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_range(text)


@pytest.mark.parametrize(("name", "error"), [("magma", 0), ("RdBu", 0), ("viridis", 2)])
def test_pixels_are_matplotlibs(name: str, error: int) -> None:
    own = matplotlib.colormaps[name](VALUES, bytes=True)[..., :3].astype(int)
    found = convcli.filter(VALUES, "identity:1", range=f"{name}:0:255", axes="YX")
    assert (found.shape, found.dtype) == ((20, 30, 3), np.uint8)
    assert np.abs(found - own).max() <= error
    grey = convcli.filter(VALUES, "identity:1", range="grey:0:255", axes="YX")
    assert np.array_equal(grey, np.repeat(VALUES[..., None], 3, axis=-1))


def test_a_map_runs_from_the_smallest_to_the_largest_value() -> None:
    values = np.random.default_rng(1).normal(size=(9, 11))
    sums = values[:, 1:] - 2 * values[:, :-1]
    levels = np.rint((sums - sums.min()) / np.ptp(sums) * 255).astype(int)
    found = convcli.filter(values, "-2,1;0,0", range="magma", padding="valid", axes="YX")
    own = matplotlib.colormaps["magma"](levels, bytes=True)[:-1, :, :3]
    assert not np.array_equal(found, own)  # the last row is not in the result, and not among what is measured
    sums = sums[:-1]
    levels = np.rint((sums - sums.min()) / np.ptp(sums) * 255).astype(int)
    assert np.array_equal(found, matplotlib.colormaps["magma"](levels, bytes=True)[..., :3])


def test_transparent_stays_transparent(tmp_path: Path) -> None:
    pixels = np.stack([VALUES, VALUES[::-1]], axis=-1)
    Image.fromarray(pixels, "LA").save(tmp_path / "a.png")
    ok("filter", "a.png", "-k", "sobel-x", "--range", "viridis:-9:9", "-o", "b.png", cwd=tmp_path)
    found = np.asarray(Image.open(tmp_path / "b.png"))
    assert found.shape == (20, 30, 4)
    assert np.array_equal(found[..., 3], pixels[..., 1])


def test_blocks_of_a_clip_have_one_map(tmp_path: Path) -> None:
    clip = np.random.default_rng(2).integers(0, 256, (5, 16, 16), dtype="uint8")
    np.save(tmp_path / "a.npy", clip)
    words = ("-k", "box:3", "--axes", "TYX", "--range", "plasma:0:255", "-o", "b.npy", "--workers", "2")
    ok("filter", "a.npy", *words, cwd=tmp_path)
    found = np.load(tmp_path / "b.npy")
    for before, after in zip(clip, found, strict=True):
        assert np.array_equal(after, convcli.filter(before, "box:3", range="plasma:0:255", axes="YX"))


def test_a_bar_and_the_report_say_what_the_colours_mean(tmp_path: Path) -> None:
    Image.fromarray(VALUES).save(tmp_path / "a.png")
    words = ("-k", "identity:1", "--range", "viridis:10:90", "-o", "b.png", "--plot", "c.svg", "--json")
    done = ok("filter", "a.png", *words, cwd=tmp_path)
    facts = json.loads(done.stdout)
    assert facts["ends"] == [10, 90]
    assert "viridis runs from 10 to 90" in facts["notes"]
    drawn = (tmp_path / "c.svg").read_text()
    assert "difference" not in drawn
    assert drawn.count('id="axes_') == 3  # the input, the result, the bar


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("a.png", ("-o", "b.png"), "--channels grey or mean leaves one"),
        ("a.csv", ("-o", "b.csv"), "each pixel of a picture"),
        ("a.png", ("-o", "b.csv", "--channels", "grey"), "or npy"),
        ("a.png", ("-o", "b.pfm", "--channels", "grey"), "holds no colours"),
    ],
)
def test_what_has_no_colours_is_refused(tmp_path: Path, name: str, words: tuple[str, ...], said: str) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    (tmp_path / "a.csv").write_text("x\n1\n2\n3\n")
    words = ("--range", "viridis", *words)
    done = command("filter", name, "-k", "mean3" if name == "a.csv" else "box:3", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1


# Windows in shares of the largest sample, and the mean of colours


def test_a_window_in_percent_of_the_largest_sample() -> None:
    policy = parse_range("0:1%max")
    assert isinstance(policy, Window)
    assert str(policy) == "0%max:1%max"
    with pytest.raises(UsageError, match="both ends in percent"):
        parse_range("1%:2%max")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_largest_sample_is_that_of_what_is_filtered(dtype: str) -> None:
    """The article's ``duck / torch.max(duck)`` and ``imshow(…, vmin=0, vmax=.01)``."""
    duck = COLOURS.astype(float).mean(axis=2)
    scaled = duck / duck.max()
    kernel = np.array([[1.0, 1, 1], [0, 0, 0], [-1, -1, -1]])
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (3, 3))
    shown = ((windows * kernel).sum(axis=(2, 3)) / 0.5).clip(0, 1)
    found = convcli.filter(
        COLOURS.astype(dtype), kernel, channels="mean", padding="valid", range="0:50%max", axes="YXC"
    )
    white = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    assert found.dtype == dtype
    assert np.abs(found / white - shown).max() <= (1e-6 if dtype == "float32" else 0.51 / white)


def test_grey_by_the_mean() -> None:
    found = convcli.filter(COLOURS, "identity:1", channels="mean", axes="YXC")
    assert np.abs(found - COLOURS.astype(float).mean(axis=2)).max() < 1e-4
    several = np.concatenate([COLOURS, COLOURS[::-1]], axis=2).astype(float)
    found = convcli.filter(several, "identity:1", channels="mean", axes="YXC")
    assert np.abs(found - several.mean(axis=2)).max() < 1e-12
