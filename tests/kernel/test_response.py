"""What kernels do to frequencies, beside scipy's responses of filters."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import signal

from convcli.kernel import load_kernel
from convcli.kernel.response import HALF_POWER, response
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
    assert "strides    fold of its energy" in " ".join(text.split("\n"))
    assert "strides" not in ok("kernels", "show", "sobel-x").stdout.decode()
    assert convcli("kernels", "show", "box:3", "--rate", "0").returncode == 2
