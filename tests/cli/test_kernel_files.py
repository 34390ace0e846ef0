"""Pictures, tables and sounds as kernels; factors of weights."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image
from scipy.ndimage import correlate
from scipy.signal import freqz, oaconvolve
from typer.testing import CliRunner

from convcli import UsageError
from convcli.cli.program import build
from convcli.kernel import Kernel, load_kernel

RANDOM = np.random.default_rng(11)
RATE = 48_000


def run(*arguments: object) -> str:
    """Run a filter in this process; return what it says on stderr."""
    done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stderr


@pytest.mark.parametrize("padding", ["same", "full"])
def test_a_sound_is_an_impulse_response(padding: str, tmp_path: Path) -> None:
    sound = RANDOM.normal(0, 0.1, (30_000, 2))
    echo = RANDOM.normal(0, 1, 9_001) * np.exp(-np.arange(9_001) / 2_000) / 40
    soundfile.write(tmp_path / "a.wav", sound, RATE, "PCM_24")
    soundfile.write(tmp_path / "ir.flac", echo, RATE, "PCM_24")
    options = ("--padding", "full") if padding == "full" else ()
    run(tmp_path / "a.wav", "-k", tmp_path / "ir.flac", *options, "-o", tmp_path / "b.wav")
    dry, response = (soundfile.read(tmp_path / name, always_2d=True)[0] for name in ("a.wav", "ir.flac"))
    expected = oaconvolve(dry, response, axes=0)[: None if padding == "full" else len(dry)]
    found = soundfile.read(tmp_path / "b.wav")[0]
    assert np.abs(found - expected).max() * 2**23 <= 0.501  # half a level: rounded once


def test_an_impulse_response_of_another_rate_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", RANDOM.normal(0, 0.1, 500), RATE)
    soundfile.write(tmp_path / "ir.wav", RANDOM.normal(0, 0.1, 50), 44_100)
    with pytest.raises(UsageError, match="its sample rate is 44100 Hz, and that of the input 48000 Hz"):
        run(tmp_path / "a.wav", "-k", tmp_path / "ir.wav", "-o", tmp_path / "b.wav")
    soundfile.write(tmp_path / "ir.wav", RANDOM.normal(0, 0.1, (50, 2)), RATE)
    with pytest.raises(UsageError, match=r"ir\.wav': it has 2 channels: a kernel takes one"):
        run(tmp_path / "a.wav", "-k", tmp_path / "ir.wav", "-o", tmp_path / "b.wav")


def test_samples_of_pictures_and_tables_are_weights_as_they_stand(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (20, 30), dtype=np.uint8)
    np.save(tmp_path / "a.npy", pixels.astype(np.float64))
    weights = RANDOM.integers(0, 256, (3, 5), dtype=np.uint8)
    Image.fromarray(weights).save(tmp_path / "k.png")
    np.savetxt(tmp_path / "k.csv", weights, fmt="%d", delimiter=",")
    expected = correlate(pixels.astype(float), weights.astype(float), mode="nearest")
    for name in ("k.png", "k.csv"):
        run(tmp_path / "a.npy", "-k", tmp_path / name, "-o", tmp_path / f"{name}.npy")
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), expected, rtol=1e-12)
    run(tmp_path / "a.npy", "-k", tmp_path / "k.png", "--scale", "normalise", "-o", tmp_path / "n.npy")
    np.testing.assert_allclose(np.load(tmp_path / "n.npy"), expected / weights.sum(dtype=float), rtol=1e-12)
    np.savetxt(tmp_path / "line.csv", weights[0], fmt="%d")
    run(tmp_path / "a.npy", "-k", tmp_path / "line.csv", "--scale", "-1/4", "-o", tmp_path / "l.npy")
    np.savetxt(tmp_path / "row.csv", weights[:1], fmt="%d", delimiter=",")
    Image.fromarray(weights[:1]).save(tmp_path / "row.png")
    np.save(tmp_path / "signal.npy", pixels[0].astype(float))
    for name in ("line.csv", "row.csv", "row.png"):  # one row is of rank 1, as in a text
        run(tmp_path / "signal.npy", "-k", tmp_path / name, "-yo", tmp_path / "s.npy")
        one = correlate(pixels[0].astype(float), weights[0].astype(float), mode="nearest")
        np.testing.assert_allclose(np.load(tmp_path / "s.npy"), one, rtol=1e-12)
    along = correlate(pixels.astype(float), weights[:1].astype(float), mode="nearest")
    np.testing.assert_allclose(np.load(tmp_path / "l.npy"), along / -4, rtol=1e-12)


def test_weights_without_a_sum_are_not_normalised() -> None:
    with pytest.raises(UsageError, match="its weights sum to 0"):
        load_kernel("1,0,-1").normalised()
    assert Kernel("a", (1, 1, 2), (1.0, 3.0)).normalised().weights == (0.25, 0.75)


@pytest.mark.parametrize(
    ("taps", "stride"), [("1,1", 2), ("1,2,1", 2), ("1,2,3,2,1", 3), ("1", 4), ("0.1,0.2,0.4", 5)]
)
def test_a_stride_says_how_much_folds_back(taps: str, stride: int, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", RANDOM.normal(0, 0.01, 500), RATE)
    said = run(tmp_path / "a.wav", "-k", taps, "--stride", stride, "-o", tmp_path / "b.wav")
    frequencies, response = freqz([float(tap) for tap in taps.split(",")], worN=20_000, fs=RATE)
    limit = RATE / 2 / stride
    share = np.abs(response[frequencies > limit]).max() / np.abs(response).max()
    assert f"up to {share:.0%} of what lies above {limit:,.6g} Hz folds back" in said


def test_a_wide_smoothing_before_a_stride_needs_no_word(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", RANDOM.normal(0, 0.01, 500), RATE)
    for stride in (2, 3, 8):
        options = ("-k", f"gaussian:sigma={stride}", "--stride", stride, "-o", tmp_path / f"{stride}.wav")
        assert run(tmp_path / "a.wav", *options) == ""
