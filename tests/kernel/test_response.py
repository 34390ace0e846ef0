"""What kernels do to frequencies, beside scipy's responses of filters."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, signal
from typer.testing import CliRunner

from convcli.cli.kernels import Described
from convcli.cli.program import build
from convcli.explanations.sample import sample
from convcli.kernel import load_kernel
from convcli.kernel.response import HALF_POWER, gains, response
from tests.shell import convcli, ok

KERNELS = ["mean3", "lowpass:0.1", "bandpass:0.1,0.2", "savgol:11,3", "edge", "1,2,4", "box:300"]


@pytest.mark.parametrize("text", KERNELS)
def test_curves_edges_and_delays_are_scipys(text: str) -> None:
    kernel = load_kernel(text, rank=1)
    weights = kernel.array()[0, 0]
    made = response(weights, kernel.origin)
    places = np.linspace(0, 0.5, len(made.curves[0]))
    _, gains = signal.freqz(weights, worN=places, fs=1)
    np.testing.assert_allclose(made.curves[0], np.abs(gains), atol=1e-12)
    assert made.at_zero == pytest.approx(np.abs(gains[0]) * np.sign(weights.sum()), abs=1e-12)
    _, at_edges = signal.freqz(weights, worN=np.array(made.edges[0]), fs=1)
    np.testing.assert_allclose(np.abs(at_edges), HALF_POWER * max(made.curves[0]), rtol=2e-3)
    if made.delays[0] is None:
        assert text == "1,2,4"
    else:  # of the reversed weights, which is what convolution with them is, and to the sample of the origin
        _, late = signal.group_delay((weights[::-1], 1), w=[0.3, 0.7])
        np.testing.assert_allclose(late - (len(weights) - 1 - kernel.origin[0]), made.delays[0], atol=1e-6)


def test_energy_that_strides_fold_is_that_of_filtered_noise() -> None:
    for text, rank in (("mean3", 1), ("box:3x5", 2), ("box:1x5", 2)):
        kernel = load_kernel(text, rank)
        weights = kernel.array()[0, 0]
        noise = np.random.default_rng(3).normal(size=(1 << 16,) if rank == 1 else (512, 512))
        spectrum = np.abs(np.fft.fftn(noise) * np.fft.fftn(weights, noise.shape, range(rank))) ** 2
        for stride, share in response(weights, kernel.origin).folded.items():
            inside = spectrum
            for axis, n in enumerate(noise.shape):
                inside = inside.compress(np.abs(np.fft.fftfreq(n)) <= 0.5 / stride, axis)
            assert share == pytest.approx(1 - inside.sum() / spectrum.sum(), abs=0.01)


def test_they_are_shown_in_hertz_too() -> None:
    text = ok("kernels", "show", "lowpass:0.1,taps=101").stdout.decode()
    _, gains = signal.freqz(signal.firwin(101, 0.1, fs=1), worN=np.linspace(0, 0.5, 100_001), fs=1)
    edge = np.argmax(np.abs(gains) < HALF_POWER * np.abs(gains).max()) / 200_000
    shown = re.search(r"gain +1 at zero; -3 dB at (\S+) cycles a sample", text)
    assert shown and float(shown[1]) == pytest.approx(edge, rel=3e-4)
    assert "delay      0 samples" in text
    text = ok("kernels", "show", "lowpass:0.1,taps=101", "--rate", "48000").stdout.decode()
    shown = re.search(r"-3 dB at (\S+) Hz", text)
    assert shown and float(shown[1]) == pytest.approx(edge * 48000, rel=3e-4)
    text = ok("kernels", "show", "box:3", "--rate", "1000").stdout.decode()
    assert "aliasing   stride 2 folds 14 % of the energy, 3 folds 37 %, 4 folds 56 %\n" in text
    assert "aliasing" not in ok("kernels", "show", "sobel-x").stdout.decode()
    assert convcli("kernels", "show", "box:3", "--rate", "0").returncode == 2


@pytest.mark.parametrize("size", [(7,), (3, 2), (40, 5), (2, 3, 4)])
def test_gains_are_the_amplitudes_of_filtered_waves(size: tuple[int, ...]) -> None:
    weights = np.random.default_rng(2).normal(size=size)
    found = gains(weights, 9)
    assert found.shape == (9,) * len(size)
    for at in ((8, 6, 5), (0, 3, 4), (4, 4, 4), (5, 0, 7)):
        place = at[: len(size)]
        places = np.meshgrid(*map(np.arange, size), indexing="ij")
        turns = sum((index - 4) / 9 * along for index, along in zip(place, places, strict=True))
        wave = signal.correlate(np.exp(2j * np.pi * turns), weights, "valid").item()
        assert found[place] == pytest.approx(abs(wave), abs=1e-12)


def drawn(*words: str) -> list[str]:
    """Return the lines of the drawing that stand below all facts, its title first."""
    shown = ok("kernels", "show", *words).stdout.decode()
    return re.split(r"\n\n(?=gain )", shown)[-1].splitlines()


def test_a_pipe_gets_a_curve_of_signs() -> None:
    title, *lines, ticks = drawn("bandpass:0.1,0.2,taps=41", "--rate", "8000")
    assert title == "gain 0 to 1 at frequencies of 0 to 4000 Hz" and len(lines) == 8
    assert ticks.split() == ["0", "1000", "2000", "3000", "4000"]
    cells = np.array([list(f"{line:<68}"[3:]) for line in lines])
    heights = np.vectorize(" ▁▂▃▄▅▆▇█".index)(cells).sum(axis=0) / 64
    taps = signal.firwin(41, [0.1, 0.2], fs=1, pass_zero=False)
    _, want = signal.freqz(taps, worN=np.linspace(0, 0.5, 65), fs=1, include_nyquist=True)
    np.testing.assert_allclose(heights, np.abs(want) / np.abs(want).max(), atol=0.01)
    assert max(map(len, (title, *lines, ticks))) <= 80


def test_a_pipe_gets_a_picture_of_signs() -> None:
    title, *lines = drawn("gabor:0.2,angle=30")
    assert title.endswith("at frequencies of -0.5 to 0.5 cycles a sample along x and y")
    assert len(lines) == 13 and max(map(len, (title, *lines))) <= 80
    cells = np.array([list(f"{line:<27}"[2:]) for line in lines])
    y, x = np.argwhere(cells == "@").T
    place = np.column_stack([x - 12, 2 * y - 12]) / 25
    along = [0.2 * np.cos(np.radians(30)), 0.2 * np.sin(np.radians(30))]
    assert np.abs(np.abs(place @ along) / 0.2 - 0.2).max() < 0.04  # two spots, where the wave is
    assert set(np.sign(place @ along)) == {-1, 1}
    assert np.abs(place @ [-along[1], along[0]]).max() / 0.2 < 0.04
    assert len(drawn("kirsch")) == 1 + 9 + 1 + 9 and len(drawn("motion")) == 1 + 8 + 1
    assert not drawn("0,0;0,0")[-1].startswith("gain 0 to")


def test_the_response_is_drawn_into_a_file(tmp_path: Path) -> None:
    for name in ("gaussian:2", "sobel", "savgol:11,3", "motion"):
        ok("kernels", "show", name, "-o", "a.png", "-y", cwd=tmp_path)
        picture = np.asarray(Image.open(tmp_path / "a.png").convert("L"))
        assert picture.min() < 60 and (picture == 255).mean() > 0.2
    ok("kernels", "show", "lowpass:0.1", "--rate", "1000", "-o", "a.svg", cwd=tmp_path)
    first = (tmp_path / "a.svg").read_bytes()
    ok("kernels", "show", "lowpass:0.1", "--rate", "1000", "-o", "a.svg", "-y", cwd=tmp_path)
    assert first == (tmp_path / "a.svg").read_bytes() and b"<!-- Hz -->" in first
    for code, words, part in (
        (1, ("box:3", "-o", "a.svg"), b"-y"),
        (2, ("box:3", "-o", "a.txt"), b"a figure is written as .png, .svg, .pdf"),
        (2, ("bank.npy", "-o", "b.png"), b"12 filters are too many"),
    ):
        np.save(tmp_path / "bank.npy", np.ones((12, 1, 3, 3)))
        done = convcli("kernels", "show", *words, cwd=tmp_path)
        assert done.returncode == code and part in done.stderr and done.stderr.count(b"\n") == 1
    assert not (tmp_path / "b.png").exists()


def test_a_kernel_of_a_million_weights_is_shown_at_once() -> None:
    began = time.process_time()
    show = CliRunner().invoke(build(["kernels"]), ["kernels", "show", "binomial:1000"])
    assert time.process_time() - began < 1.5, "it was 4 s"
    assert "separable  yes" in show.stdout and "left-right, up-down, point" in show.stdout


@pytest.mark.parametrize(("name", "rank"), [("sobel", 2), ("median:3", 2), ("savgol:11,3", 1), ("motion", 3)])
def test_a_sample_is_shown_before_and_after(name: str, rank: int) -> None:
    """What stands below "a sample" is what scipy makes of it, as brightly as the kernel asks for."""
    given = sample(rank)
    before, after = Described(load_kernel(name)).sample
    middle = given[4] if rank == 3 else given
    np.testing.assert_array_equal(before.values[0], middle)
    if name == "sobel":
        sides = [ndimage.sobel(given.astype(float), axis, mode="nearest") for axis in (0, 1)]
        want = (np.hypot(*sides) / 2).clip(0, 255)
    elif name == "motion":
        shares = [ndimage.uniform_filter(one.astype(float), 3, mode="nearest") for one in given]
        want = np.diff(shares, axis=0)[4] / 255 * 127 + 128
    elif name == "median:3":
        want = ndimage.median_filter(given, 3, mode="nearest")
    else:
        want = ndimage.correlate1d(given, signal.savgol_coeffs(11, 3), mode="nearest")
    np.testing.assert_allclose(after.values[0], want, atol=1e-5 if rank == 1 else 1.01)
    assert "a sample before and after" in ok("kernels", "show", name).stdout.decode().splitlines()


def test_kernels_of_several_inputs_or_maps_and_very_large_ones_have_no_sample() -> None:
    for text in ("box:101", "savgol:11,3"):
        assert bool(Described(load_kernel(text)).sample) == (text != "box:101")
