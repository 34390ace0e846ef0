"""Spectrograms beside ``scipy.signal.ShortTimeFFT``, and decibels beside numpy."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio
import soundfile
from PIL import Image
from scipy import ndimage
from scipy.signal import ShortTimeFFT, get_window
from typer.testing import CliRunner

from convcli.cli.program import build
from convcli.common import UsageError
from convcli.pixels.ranges import parse_range
from convcli.pixels.render import Target, render

RATE = 8000
WAVE = 0.4 * np.sin(np.arange(4001) ** 1.6 / 900) + np.random.default_rng(3).normal(0, 0.01, 4001)


def run(*arguments: object) -> tuple[str, str]:
    words = ["filter", *map(str, arguments)]
    done = CliRunner().invoke(build(["filter"]), words, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout, done.stderr


@pytest.fixture
def tone(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "tone.wav", WAVE, RATE, "DOUBLE")
    return tmp_path / "tone.wav"


def independent(wave: np.ndarray, length: int, hop: int, window: str = "hann") -> np.ndarray:
    transform = ShortTimeFFT(get_window(window, length), hop, RATE, scale_to="magnitude")
    return np.abs(transform.stft(wave, p0=0, p1=-(-len(wave) // hop)))


@pytest.mark.parametrize(
    ("text", "length", "hop", "window"),
    [
        ("stft:25ms,hop=10ms", 200, 80, "hann"),
        ("stft:length=0.1s", 800, 400, "hann"),
        ("stft:33,hop=7,window=blackman", 33, 7, "blackman"),
        ("stft:12,hop=20,window=hamming", 12, 20, "hamming"),
        ("stft:7000,hop=1000,window=boxcar", 7000, 1000, "boxcar"),
    ],
)
def test_magnitudes_are_those_of_scipy(text: str, length: int, hop: int, window: str, tone: Path) -> None:
    expected = independent(WAVE, length, hop, window)
    run(tone, "-k", text, "-o", tone.with_name("s.npy"))
    np.testing.assert_allclose(np.load(tone.with_name("s.npy")), expected, atol=1e-12)


@pytest.mark.parametrize("length", [200, 33])
@pytest.mark.parametrize(
    ("padding", "before", "columns"),
    [
        ("same", None, -(-4001 // 80)),
        ("valid", 0, None),
        ("full", -1, None),
        ("tail", 0, -(-4001 // 80)),
        ("0", 0, None),
        ("7:160", 7, None),
        ("9000", 9000, None),
    ],
)
def test_padding_says_where_windows_lie(
    padding: str, before: int | None, columns: int | None, length: int, tone: Path
) -> None:
    """scipy's windows lie around multiples of the hop: zeros in front of the signal move it there."""
    before = length // 2 if before is None else length - 1 if before < 0 else before
    words = tone, "-k", f"stft:{length},hop=80", "--padding", padding
    found = json.loads(run(*words, "-o", tone.with_name("s.npy"), "--json")[0])
    planned = json.loads(run(*words, "-o", tone.with_name("t.npy"), "--json", "--dry-run")[0])
    zeros = (before - length // 2) % 80
    transform = ShortTimeFFT(get_window("hann", length), 80, RATE, scale_to="magnitude")
    first = (zeros - before + length // 2) // 80
    behind = {"valid": 0, "0": 0, "full": length - 1, "7:160": 160, "9000": 9000}.get(padding)
    if columns is None:
        assert behind is not None
        columns = (before + len(WAVE) + behind - length) // 80 + 1
    wave = np.concatenate((np.zeros(zeros), WAVE, np.zeros(20_000)))
    start, stop = max(first, transform.p_min), min(first + columns, transform.p_max(len(wave)))
    expected = np.zeros((length // 2 + 1, columns))
    expected[:, start - first : stop - first] = np.abs(transform.stft(wave, p0=start, p1=stop))
    values = np.load(tone.with_name("s.npy"))
    np.testing.assert_allclose(values, expected, atol=1e-12)
    assert found["shape"] == planned["shape"] == list(values.shape)
    assert found["axes"] == planned["axes"]
    assert found["axes"][1]["first"] == pytest.approx((length // 2 - before) / RATE)


def test_padding_reaches_the_kernels_behind_a_spectrogram(tone: Path) -> None:
    words = tone, "-k", "stft:200,hop=80", "-k", "box:3x5", "-o", tone.with_name("s.npy")
    run(*words, "--padding", "valid")
    transform = ShortTimeFFT(get_window("hann", 200), 80, RATE, scale_to="magnitude")
    wave = np.concatenate((np.zeros(60), WAVE))  # the first window's middle is a multiple of 80
    last = transform.upper_border_begin(len(wave))[1]
    inside = np.abs(transform.stft(wave, p0=transform.lower_border_end[1], p1=last))
    smooth = ndimage.uniform_filter(inside, (3, 5))[1:-1, 2:-2]
    np.testing.assert_allclose(np.load(tone.with_name("s.npy")), smooth, atol=1e-12)


def test_axes_are_hertz_and_seconds(tone: Path) -> None:
    words = tone, "-k", "stft:25ms,hop=10ms", "-k", "gaussian:sigma=80Hzx30ms"
    found = json.loads(run(*words, "-o", tone.with_name("s.npy"), "--json")[0])
    transform = ShortTimeFFT(np.ones(200), 80, RATE)
    y, x = found["axes"]
    assert (y["unit"], y["first"], y["spacing"]) == ("Hz", 0, transform.delta_f)
    assert (x["unit"], x["first"], x["spacing"]) == ("s", 0, transform.delta_t)
    assert found["kernels"] == ["stft:25ms,hop=10ms", "gaussian:sigma=80Hzx30ms"]
    assert found["in_samples"] == {
        "stft:25ms,hop=10ms": "stft:200,hop=80,window=hann",
        "gaussian:sigma=80Hzx30ms": "gaussian:sigma=2x3",
    }
    smooth = ndimage.gaussian_filter(independent(WAVE, 200, 80), (2, 3), mode="nearest")
    np.testing.assert_allclose(np.load(tone.with_name("s.npy")), smooth, atol=1e-12)


def test_pictures_show_decibels_of_full_scale_with_high_frequencies_on_top(tone: Path) -> None:
    soundfile.write(tone, WAVE, RATE, "PCM_16")
    wave = soundfile.read(tone)[0]
    decibels = 20 * np.log10(independent(wave, 200, 80)[::-1])
    for low, high, more in ((-80, 0, ()), (-70, -10, ("--range", "dB:-70:-10"))):
        run(tone, "-k", "stft:25ms,hop=10ms", *more, "-o", tone.with_name("s.png"), "-y")
        expected = np.clip((decibels - low) / (high - low), 0, 1) * 255
        np.testing.assert_allclose(np.asarray(Image.open(tone.with_name("s.png"))), expected, atol=0.51)


def test_a_tiff_keeps_both_axes(tone: Path) -> None:
    """GDAL reads where they lie; a kernel in Hz on the TIFF is that on the sound's spectrogram."""
    run(tone, "-k", "stft:25ms,hop=10ms", "-o", tone.with_name("s.tif"))
    with rasterio.open(tone.with_name("s.tif")) as file:
        assert file.transform.a == pytest.approx(0.01)
        assert file.xy(0, 0) == pytest.approx((0, RATE / 2))
        assert file.xy(100, 3) == pytest.approx((0.03, 0))
        np.testing.assert_allclose(file.read(1), independent(WAVE, 200, 80)[::-1], atol=1e-7)
    kernel = "gaussian:sigma=80Hzx30ms"
    run(tone.with_name("s.tif"), "-k", kernel, "-o", tone.with_name("a.npy"))
    smooth = ndimage.gaussian_filter(independent(WAVE, 200, 80)[::-1], (2, 3), mode="nearest")
    np.testing.assert_allclose(np.load(tone.with_name("a.npy")), smooth, atol=1e-6)


def test_two_channels(tone: Path) -> None:
    both = np.stack((WAVE, WAVE[::-1] / 3), axis=1)
    soundfile.write(tone, both, RATE, "DOUBLE")
    run(tone, "-k", "stft:200,hop=80", "-o", tone.with_name("s.npy"))
    expected = [independent(wave, 200, 80) for wave in both.T]
    np.testing.assert_allclose(np.load(tone.with_name("s.npy")), expected, atol=1e-12)
    with pytest.raises(UsageError, match=r"a picture shows the spectrogram of one channel: write \.npy"):
        run(tone, "-k", "stft:200,hop=80", "-o", tone.with_name("s.png"))


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("stft:25ms,window=sine", "window 'sine' is unknown: it is one of hann, hamming, blackman, boxcar"),
        ("stft:0.1ms", "length 0.1ms is 1 samples: give 2 to 16777216"),
        ("stft:1e300s", "length 1e300s is 1e+09 samples: give 2 to 16777216"),
        ("stft:25m", "m measures length, and the positions along x are in 's'"),
        ("box:3 -k stft:25ms", "kernel 'stft:25ms': a spectrogram is the first kernel of `convcli filter`"),
        ("stft:200 --padding 1,2", "padding 1:1,2:2 has 2 values for 1 axis"),
        ("stft:5000 --padding valid", "is larger than the input 4001 with padding 0:0: 999 more needed"),
        ("stft:200 --pad-mode reflect", "--pad-mode reflect: zeros lie outside the signal of a spectrogram"),
        ("stft", "parameters are length, hop, window, as in stft:25ms,hop=10ms,window=hann"),
    ],
)
def test_what_cannot_be_a_spectrogram(kernel: str, expected: str, tone: Path) -> None:
    with pytest.raises(UsageError) as told:
        run(tone, "-k", *kernel.split(), "-o", tone.with_name("s.npy"))
    assert expected in str(told.value)


def test_decibels_of_every_type() -> None:
    values = np.array([-300.0, 0, 0.01, 2.5, 25, 255, 1e-9])
    for full, kind, top in ((255.0, "uint8", 255), (1.0, "float64", 1)):
        target = Target(kind, full_scale=full, bound=255, compute="float64")
        with np.errstate(divide="ignore"):
            expected = np.clip((20 * np.log10(np.abs(values) / full) + 60) / 50, 0, 1) * top
        found, tally = render(values.copy(), parse_range("dB:-60:-10").rendering(target))
        np.testing.assert_allclose(found, np.rint(expected) if top > 1 else expected)
        assert tally.clipped == (np.abs(values) > full * 10**-0.5).sum()
