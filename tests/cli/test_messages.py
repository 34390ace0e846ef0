"""Lines that say what to do next, tried from the shell as a person would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.shell import SAMPLES, convcli, ok

SIGNAL = SAMPLES / "noisy-signal.csv"


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "coffee.png"
    Image.fromarray(np.arange(100, 228, dtype=np.uint8).reshape(8, 16)).save(path)
    return path


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("{folder}/cofee.png", "-k", "sobel"), "did you mean '{folder}/coffee.png'?"),
        (("{folder}/coffee.png", "sobel"), "give a kernel (-k sobel"),
        (("{folder}/coffee.png", "--sigma", "2"), "--sigma belongs to the kernel: -k gaussian:sigma=2"),
        (("{folder}/coffee.png", "--size=5x7"), "--size belongs to the kernel: -k box:size=5x7"),
        (("{folder}/coffee.png", "-k", "5x5"), "it is a size alone: box:5x5"),
        (("{folder}/coffee.png", "-k", "box:5", "--padding", "mirror"), "give --pad-mode mirror"),
        (("{folder}/coffee.png", "--cutoff", "2"), "--cutoff belongs to the kernel: -k lowpass:cutoff="),
        ((SIGNAL, "-k", "mean3", "-o", "{folder}/x.png"), "write .csv, or read it with --as matrix"),
    ],
)
def test_errors_say_what_to_do(photo: Path, arguments: tuple[object, ...], wanted: str) -> None:
    done = convcli("filter", *(str(one).format(folder=photo.parent) for one in arguments))
    assert done.returncode in (1, 2)
    said = done.stderr.decode()
    assert wanted.format(folder=photo.parent) in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (("explain", SIGNAL, "-k", "box:3", "--along", "time"), "filter --along time computes with them"),
        (
            ("matrix", "-k", "box:3", "--input", "9", "--interpolate"),
            "filter -k identity --interpolate fills",
        ),
        (("filter", SIGNAL, "-k", "box:3", "-f"), "no -f here: use -y (--force)"),
        (("filter", SIGNAL, "-k", "box:3", "--roi", "1,2,3,4"), "no --roi here: use --region"),
        (("filter", SIGNAL, "-k", "box:3", "--overwrite"), "no --overwrite here: use -y"),
        (("filter", SIGNAL, "-k", "box:3", "--normalise"), "no --normalise here: use --scale normalise"),
        (("filter", SIGNAL, "-k", "box:3", "--strides", "2"), "--strides; did you mean --stride, --threads?"),
        (("kernels", "sobel"), "no command 'sobel'; `convcli kernels show sobel` shows one"),
        (("show", "sobel"), "no command 'show'; `convcli kernels show NAME` shows one"),
        (("filter", SIGNAL, "-k", "box:3", "--show"), "no --show here: filter --plot - draws"),
        (("filter", SIGNAL, "-k", "box:3", "--plan"), "no --plan here: filter --dry-run -v says"),
    ],
)
def test_an_option_of_another_command_is_named_with_it(arguments: tuple[object, ...], wanted: str) -> None:
    done = convcli(*map(str, arguments))
    assert (done.returncode, wanted in done.stderr.decode(), done.stderr.count(b"\n")) == (2, True, 1)


def test_a_name_from_the_command_before_is_no_table() -> None:
    done = convcli("filter", "-", "-k", "sobel", stdin=b"coffee.gaussian-1.png\n")
    assert done.returncode == 1
    assert (
        b"it holds the name of a file, 'coffee.gaussian-1.png': add -o - to the command before" in done.stderr
    )


def test_clipping_says_whose_range_it_is_and_what_shows_all(photo: Path) -> None:
    own = ok(
        "filter", photo, "-k", "1,1", cwd=photo.parent
    ).stderr.decode()  # 128 values; sums of two from 128 on are clipped
    assert "% clipped by the kernel's range clip; the weights sum to 2: try --scale normalise" in own
    given = ok("filter", photo, "-k", "mean3", "--range", "0:200", cwd=photo.parent).stderr.decode()
    assert "clipped by --range 0:200; try --range minmax or float" in given


def test_a_bias_upon_mid_grey_is_said(photo: Path) -> None:
    words = ("filter", photo, "-k", "sobel-x", "--bias", "128", "-y")
    told = ok(*words, "-o", photo.with_name("a.png")).stderr.decode()
    assert "zero is mid grey: the bias is added to that; --range clip adds it to black" in told
    for more in (("-o", photo.with_name("b.png"), "--range", "clip"), ("-o", photo.with_name("c.npy"))):
        assert "mid grey" not in ok(*words, *more).stderr.decode()


@pytest.mark.parametrize("flag", ["-V", "--version"])
def test_the_version(flag: str) -> None:
    assert ok(flag).stdout.startswith(b"convcli ")


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (
            ("blur", "a.png"),
            "error: no command 'blur'; a kernel is given to filter: convcli filter a.png -k gaussian:2 (see",
        ),
        (("sobel", "-y", "b.png"), "convcli filter b.png -k sobel (see"),
        (("frobnicate", "a.png"), "error: No such command 'frobnicate' (see `convcli --help`)"),
    ],
)
def test_a_kernel_in_the_place_of_a_command(arguments: tuple[str, ...], wanted: str) -> None:
    done = convcli(*arguments)
    assert done.returncode == 2 and wanted in done.stderr.decode() and done.stderr.count(b"\n") == 1
