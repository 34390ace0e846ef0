"""``filter --plot``: what is drawn is what the files hold."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convcli.cli.filter.plot import View, _thinned
from convcli.media.options import ReadOptions
from tests.shell import SAMPLES, convcli, ok

SIGNAL = SAMPLES / "noisy-signal.csv"


def test_curves_lie_over_the_true_axis() -> None:
    table = np.loadtxt(SIGNAL, delimiter=",", skiprows=1)
    view = View.of(str(SIGNAL), ReadOptions())
    np.testing.assert_array_equal(view.values, table[:, 1:].T)
    np.testing.assert_allclose(view.places, table[:, 0], rtol=0, atol=1e-12)


def test_a_picture_and_the_middle_of_a_clip(tmp_path: Path) -> None:
    view = View.of(str(SAMPLES / "house.png"), ReadOptions())
    with Image.open(SAMPLES / "house.png") as image:
        np.testing.assert_allclose(view.picture, np.asarray(image.convert("RGB")) / 255, atol=1e-12)
    frames = np.random.default_rng(0).random((5, 6, 7))
    np.save(tmp_path / "clip.npy", frames)
    view = View.of(str(tmp_path / "clip.npy"), ReadOptions(axes="TYX"))
    np.testing.assert_array_equal(view.values, frames[2][None])


def test_long_curves_keep_their_extremes() -> None:
    values = np.random.default_rng(1).normal(size=100_003)
    values[77_777] = 50
    places, kept = _thinned(np.arange(100_003.0), values)
    assert len(kept) <= 20_000
    assert (np.diff(places) > 0).all()
    assert kept.max() == 50
    assert kept[:-2].min() == values[:100_000].min()


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_files(tmp_path: Path, suffix: str) -> None:
    ok("filter", SIGNAL, "-k", "mean3", "-o", tmp_path / "s.csv", "--plot", tmp_path / f"p{suffix}")
    drawn = (tmp_path / f"p{suffix}").read_bytes()
    if suffix == ".png":
        with Image.open(tmp_path / "p.png") as image:
            assert np.asarray(image.convert("L")).std() > 10
        return
    text = drawn.decode()
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", text)  # nothing from elsewhere
    curves = re.findall(r'<path d="([^"]+)" clip-path', text)
    assert max(curve.count("L") for curve in curves) > 100
    again = convcli(
        "filter", SIGNAL, "-k", "mean3", "-o", tmp_path / "t.csv", "--plot", tmp_path / f"p{suffix}"
    )
    assert again.returncode == 1
    assert b"it exists; overwrite it with -y" in again.stderr
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize("name", ["noisy-signal.csv", "house.png", "walk.mp4"])
def test_the_terminal(tmp_path: Path, name: str) -> None:
    done = ok("filter", SAMPLES / name, "-k", "mean3", "--out-dir", tmp_path, "-q", "--plot", "-")
    lines = done.stdout.decode().splitlines()
    assert len(lines) >= 8
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout.decode()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--plot", "p.xyz"), "a figure is written as .png, .svg, .pdf, .html"),
        (("--plot", "p.png", "-o", "-"), "both must be files"),
        (("--plot", "p.png", "--out-dir", ".", SAMPLES / "house.png"), "--plot FILE draws one input"),
    ],
)
def test_refused_before_any_work(tmp_path: Path, more: tuple[object, ...], words: str) -> None:
    done = convcli("filter", SIGNAL, "-k", "mean3", *more, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr.decode()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [(), ("-o", "soft.tiff"), ("--each", "-k", "median:3", "--out-dir", "out")])
def test_a_preview_draws_what_would_be_and_leaves_nothing(tmp_path: Path, more: tuple[str, ...]) -> None:
    """What the terminal shows after the line of the dry run is what it shows once the outputs are there."""
    arguments = ("filter", SAMPLES / "house.png", "-k", "box:9", *more, "--plot", "-", "-q")
    preview = ok(*arguments, "--dry-run", cwd=tmp_path).stdout.decode().splitlines()
    assert not list(tmp_path.iterdir())
    drawn = ok(*arguments, cwd=tmp_path).stdout.decode().splitlines()
    outputs = 1 + ("--each" in more)
    assert sorted(preview[outputs:]) == sorted(line for line in drawn if line.startswith("  "))
    assert len(preview) > 8 * outputs


def test_a_colour_map_with_its_bar(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=(9, 11))
    np.save(tmp_path / "a.npy", values)
    run = ("filter", "a.npy", "-k", "identity:3", "-o", "b.npy", "--plot")
    ok(*run, "viridis:p.png", cwd=tmp_path)
    with Image.open(tmp_path / "p.png") as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    for end in ((68, 1, 84), (253, 231, 37)):  # the ends of viridis: #440154 and #fde725
        assert (np.abs(pixels.astype(int) - end).max(axis=1) <= 1).sum() > 50
    done = convcli(*run, "viridi:q.png", "-y", cwd=tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"no colour map 'viridi'" in done.stderr
    assert not (tmp_path / "q.png").exists()


@pytest.mark.parametrize("kernel", ["sobel", "bank.npy"])
def test_arrays_without_names_of_axes_are_drawn_as_what_they_are(tmp_path: Path, kernel: str) -> None:
    """A colour picture, and the maps of a bank on one: the last axis of neither is space."""
    np.save(tmp_path / "bank.npy", np.random.default_rng(2).normal(size=(4, 3, 3, 3)))
    call = ("filter", SAMPLES / "house.png", "-k", kernel, "-o", "made.npy", "-q", "--plot", "-")
    preview = ok(*call, "--dry-run", cwd=tmp_path).stdout.decode().splitlines()[1:]
    drawn = ok(*call, cwd=tmp_path).stdout.decode().splitlines()
    assert preview == [line for line in drawn if line.startswith("  ")] and len(preview) > 8
    assert np.load(tmp_path / "made.npy").shape[-1] == (4 if kernel == "bank.npy" else 3)
