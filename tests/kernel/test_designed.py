"""Kernels designed for signals and pictures, beside scipy, scikit-image and their formulas in numpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy import ndimage, signal
from skimage.filters import gabor_kernel
from skimage.morphology import ball, disk

from convcli import filter as filtered
from convcli.common.errors import UsageError
from convcli.kernel import load_kernel
from tests.shell import convcli, ok


def outer(*lines: np.ndarray) -> np.ndarray:
    product = lines[0]
    for line in lines[1:]:
        product = np.multiply.outer(product, line)
    return product / product.sum()


def lanczos(lobes: int, scale: float) -> np.ndarray:
    x = np.arange(-20, 21)
    inside = np.abs(x) < lobes * scale
    return (np.sinc(x / scale) * np.sinc(x / scale / lobes))[inside]


def gabor(*, angle: float) -> np.ndarray:
    return gabor_kernel(0.13, theta=np.radians(angle), sigma_x=2.5, sigma_y=2.5).real


DESIGNED: dict[str, Callable[[], np.ndarray]] = {
    "hann:5": lambda: outer(*[signal.windows.hann(7)[1:-1]] * 2),
    "hann:3x6": lambda: outer(signal.windows.hann(5)[1:-1], signal.windows.hann(8)[1:-1]),
    "tent:5": lambda: outer(*[signal.windows.triang(5)] * 2),
    "tent:4x3x5": lambda: outer(*[signal.windows.bartlett(k + 2)[1:-1] for k in (4, 3, 5)]),
    "disk:3": lambda: outer(disk(3).astype(float)),
    "disk:2.5": lambda: outer((np.hypot(*np.mgrid[-2:3, -2:3]) <= 2.5).astype(float)),
    "disk:4x4x4": lambda: outer(ball(4).astype(float)),
    "disk:1x3": lambda: outer(
        (np.hypot(*(np.mgrid[-1:2, -3:4] / np.array([1, 3])[:, None, None])) <= 1) * 1.0
    ),
    "lanczos:3": lambda: outer(*[lanczos(3, 2)] * 2),
    "lanczos:2,scale=1.5x4": lambda: outer(lanczos(2, 1.5), lanczos(2, 4)),
    "gabor:0.13,angle=30,sigma=2.5": lambda: gabor(angle=30),
    "gabor:frequency=0.13,angle=-115,sigma=2.5": lambda: gabor(angle=-115),
    "savgol:11,3": lambda: signal.savgol_coeffs(11, 3, use="dot"),
    "savgol:11,3,deriv=1": lambda: signal.savgol_coeffs(11, 3, deriv=1, use="dot"),
    "savgol:size=25,order=6,deriv=2": lambda: signal.savgol_coeffs(25, 6, deriv=2, use="dot"),
    "savgol:5,2,deriv=3": lambda: np.zeros(5),
    "lowpass:0.1,taps=101": lambda: signal.firwin(101, 0.1, fs=1),
    "highpass:0.03,taps=201": lambda: signal.firwin(201, 0.03, fs=1, pass_zero=False),
    "bandpass:0.1,0.2,taps=55": lambda: signal.firwin(55, [0.1, 0.2], fs=1, pass_zero=False),
    "bandpass:high=0.4,low=0.1,taps=31": lambda: signal.firwin(31, [0.1, 0.4], fs=1, pass_zero=False),
}


@pytest.mark.parametrize("text", DESIGNED)
def test_weights_are_those_of_other_libraries(text: str) -> None:
    kernel = load_kernel(text)
    np.testing.assert_allclose(kernel.array()[0, 0], DESIGNED[text](), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("orders", "sigmas"), [((1,), (2,)), ((0, 1), (1.5, 1.5)), ((2, 0), (2, 1)), ((3, 1), (1, 2))]
)
def test_derivatives_of_gaussians_are_scipys(orders: tuple[int, ...], sigmas: tuple[float, ...]) -> None:
    x = np.random.default_rng(5).normal(size=(40, 41)[: len(orders)])
    text = f"gaussian:sigma={'x'.join(map(str, sigmas))},order={'x'.join(map(str, orders))}"
    kernel = load_kernel(text, rank=len(orders))
    want = ndimage.gaussian_filter(x, sigmas, orders, mode="constant")
    got = ndimage.correlate(x, kernel.array()[0, 0], mode="constant")
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_filters_without_a_number_of_taps_pass_and_stop() -> None:
    """Half a transition away from the cut-off: gain within 1 % of 1, and below 1 % of it."""
    for text, passed, stopped in (
        ("lowpass:0.1", [0, 0.02, 0.07], [0.13, 0.2, 0.5]),
        ("highpass:0.1", [0.13, 0.3, 0.5], [0, 0.07]),
        ("bandpass:0.1,0.2", [0.13, 0.17], [0, 0.07, 0.23, 0.5]),
        ("lowpass:0.45", [0, 0.42], [0.48, 0.5]),
    ):
        weights = load_kernel(text).array()[0, 0]
        _, gain = signal.freqz(weights, worN=np.array([*passed, *stopped]), fs=1, include_nyquist=True)
        np.testing.assert_allclose(np.abs(gain[: len(passed)]), 1, atol=0.01)
        assert np.abs(gain[len(passed) :]).max() < 0.01


def test_cut_offs_in_hertz(tmp_path: Path) -> None:
    """50 Hz of a sound of 1000 samples a second, behind the stride of a kernel before it too."""
    x = np.random.default_rng(1).normal(0, 0.1, 4000)
    soundfile.write(tmp_path / "a.wav", x, 1000, "DOUBLE")
    ok("filter", tmp_path / "a.wav", "-k", "lowpass:50Hz,taps=101", "-o", tmp_path / "b.npy")
    want = ndimage.correlate1d(x, signal.firwin(101, 50, fs=1000), mode="nearest")
    np.testing.assert_allclose(np.load(tmp_path / "b.npy"), want, atol=1e-7)
    ok("filter", tmp_path / "a.wav", "-k", "bandpass:0.05kHz,100Hz,taps=31", "-o", tmp_path / "c.npy")
    want = ndimage.correlate1d(x, signal.firwin(31, [50, 100], fs=1000, pass_zero=False), mode="nearest")
    np.testing.assert_allclose(np.load(tmp_path / "c.npy"), want, atol=1e-7)
    for text, part in (("lowpass:50ms", b"no frequency"), ("lowpass:500Hz", b"less than 0.5")):
        refused = convcli("filter", tmp_path / "a.wav", "-k", text)
        assert refused.returncode == 2 and part in refused.stderr


def test_smoothing_and_disks_in_units() -> None:
    x = np.random.default_rng(3).normal(size=(9, 20, 21))
    want = signal.savgol_filter(x[0, 0], 11, 3, mode="nearest")
    got = filtered(x[0, 0], "savgol:11ms,3", axes="X", spacing="1ms")
    np.testing.assert_allclose(got, want, atol=1e-12)
    z, y, x0 = np.mgrid[-1:2, -4:5, -4:5]
    ball = ((1.5 * z) ** 2 + (0.5 * y) ** 2 + (0.5 * x0) ** 2 <= 2**2).astype(float)
    want = ndimage.correlate(x, ball / ball.sum(), mode="nearest")
    got = filtered(x, "disk:2mm", axes="ZYX", spacing=("1.5mm", "0.5mm", "0.5mm"))
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_a_rate_shows_a_kernel_in_hertz() -> None:
    """At 1000 samples a second firwin's 50 Hz, however the rate is written; a time is as many samples."""
    for rate in ("1000", "1kHz", "0.001 MHz"):
        shown = json.loads(ok("kernels", "show", "lowpass:50Hz,taps=31", "--rate", rate, "--json").stdout)
        np.testing.assert_allclose(np.ravel(shown["weights"]), signal.firwin(31, 50, fs=1000), atol=1e-12)
    shown = json.loads(ok("kernels", "show", "savgol:11ms,3", "--rate", "1kHz", "--json").stdout)
    assert shown["size"] == [11]
    for rate in ("1ms", "0", "-3", "quick", "8m"):
        refused = convcli("kernels", "show", "box:3", f"--rate={rate}")
        assert refused.returncode == 2 and b"rate" in refused.stderr and refused.stderr.count(b"\n") == 1


# OpenCV 5's getDerivKernels(1, 0, size): the derivative, and the smoothing
SOBEL = {
    3: ([-1, 0, 1], [1, 2, 1]),
    5: ([-1, -2, 0, 2, 1], [1, 4, 6, 4, 1]),
    7: ([-1, -4, -5, 0, 5, 4, 1], [1, 6, 15, 20, 15, 6, 1]),
}


@pytest.mark.parametrize("size", SOBEL)
def test_larger_sobels_are_opencvs(size: int) -> None:
    slope, smooth = SOBEL[size]
    x, y = np.multiply.outer(smooth, slope), np.multiply.outer(slope, smooth)
    for text, want in ((f"sobel-x:{size}", [x]), (f"sobel-y:{size}", [y]), (f"sobel:{size}", [x, y])):
        np.testing.assert_array_equal(load_kernel(text).array()[:, 0], want)
    step = np.repeat([[0.0, 0.5]], [20, 20], axis=1).repeat(40, axis=0)
    response = np.hypot(*(ndimage.correlate(step, weights) for weights in (x, y)))
    black, white = load_kernel(f"sobel:{size}").display_policy.ends(1)
    assert (black, white) == (0, response.max())


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("savgol:10,3", "odd size above its order"),
        ("savgol:5,5", "odd size above its order"),
        ("savgol:11,3,1,4", "is not understood"),
        ("lowpass:0.7", "0.7 cycles a sample"),
        ("lowpass:0.1,taps=100", "give an odd one"),
        ("bandpass:0.2,0.1", "is empty"),
        ("lanczos:0", "number of lobes 0"),
        ("lanczos:2.5", "number of lobes 2.5"),
        ("gaussian:2,order=10", "order 10"),
        ("gaussian:0.1,order=1", "too small to reach a neighbour"),
        ("gabor:0", "cycles a sample"),
        ("sobel:4", "size 4 is not possible: give an odd one from 3 to 31"),
        ("sobel-x:33", "size 33 is not possible"),
        ("sobel:3x5", "sobel takes one value, as in sobel:5"),
        ("disk:0", "radius 0 is not possible: it must be above 0"),
        ("lowpass:1e-9", "more than 10,000,000"),
        ("disk:1e9", "more than 10,000,000"),
    ],
)
def test_what_cannot_be_designed_is_said(text: str, part: str) -> None:
    with pytest.raises(UsageError, match=part):
        load_kernel(text)
