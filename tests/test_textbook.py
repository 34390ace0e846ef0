"""The numbers of the four texts, from the shell and from Python; pictures against torch's conv2d."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import convcli as package
from tests.shell import SAMPLES, ok


def table(*arguments: object) -> list[list[float]]:
    """Run ``filter`` on a sample with the result on standard output, and read it with the csv module."""
    done = ok("filter", *arguments, "-o", "-", "-q")
    rows = list(csv.reader(io.StringIO(done.stdout.decode())))
    if not rows[0][0].replace(".", "").replace("-", "").isdigit():
        rows = rows[1:]
    return [[float(cell) for cell in row] for row in rows]


def test_moving_average_of_the_book() -> None:
    got = table(SAMPLES / "book-signal.csv", "-k", "smooth3", "--padding", "valid")
    np.testing.assert_allclose(np.ravel(got), [4.62, 9.57, 15.18, 19.8, 25.08], rtol=0, atol=1e-12)


def test_steps_of_the_book() -> None:
    got = np.ravel(table(SAMPLES / "book-steps.csv", "-k", "edge", "--padding", "valid"))
    assert got[3] == -45.5
    assert got[7] == 46
    assert np.abs(np.delete(got, [3, 7])).max() <= 1


def test_transposed_of_the_book() -> None:
    got = table(
        SAMPLES / "book-transposed.csv", "--as", "matrix", "-k", "1,2;3,4", "--transpose", "--stride", "2"
    )
    assert got == [[5, 10, 6, 12], [15, 20, 18, 24], [7, 14, 8, 16], [21, 28, 24, 32]]


@pytest.mark.parametrize(
    ("pool", "want"),
    [
        ("max:2", [[19, 44], [31, 57]]),
        ("avg:2", [[9.25, 35], [21.5, 47]]),
        ("min:2", [[0, 26], [12, 38]]),
    ],
)
def test_pools_of_the_book(pool: str, want: list[list[float]]) -> None:
    assert table(SAMPLES / "book-pool.csv", "--as", "matrix", "--pool", pool) == want


def test_four_kernels_on_two_sensors(tmp_path: Path) -> None:
    bank = np.load(SAMPLES / "bank-4x2x5.npy")
    with (SAMPLES / "noisy-signal.csv").open() as file:
        sensors = np.loadtxt(file, delimiter=",", skiprows=1, usecols=(1, 2)).T
    want = torch.nn.functional.conv1d(torch.tensor(sensors), torch.tensor(bank, dtype=torch.float64))
    got = np.array(
        table(SAMPLES / "noisy-signal.csv", "-k", SAMPLES / "bank-4x2x5.npy", "--padding", "valid")
    )
    np.testing.assert_allclose(got.T[-4:], want, rtol=0, atol=1e-12)
    python = package.filter(sensors, bank, axes="CX", padding="valid")
    np.testing.assert_allclose(python, want, rtol=0, atol=1e-12)
    with pytest.raises(package.UsageError, match="2"):
        package.filter(np.ones((3, 9)), bank, axes="CX")


def test_six_kernels_on_three_channels() -> None:
    array = np.load(SAMPLES / "rgb-3x32x32.npy")
    bank = np.load(SAMPLES / "bank-6x3x5x5.npy")
    got = package.filter(array, bank, axes="CYX", padding="valid", dtype="float64")
    want = torch.nn.functional.conv2d(torch.from_numpy(array).double()[None], torch.from_numpy(bank).double())
    assert got.shape == (6, 28, 28)
    np.testing.assert_allclose(got, want[0].numpy(), rtol=0, atol=1e-10)
    text = ok("shape", "3@32x32", "conv:6@5x5").stdout.decode()
    assert "456" in text
    assert text.endswith("6@28x28\n")


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        (("7", "--kernel-size", "3"), "5"),
        (("3", "--kernel-size", "3", "--transpose"), "5"),
        (("5x5", "--kernel-size", "3"), "3x3"),
        (("5x5", "--kernel-size", "3", "--stride", "2"), "2x2"),
    ],
)
def test_sizes_of_the_books(arguments: tuple[str, ...], size: str) -> None:
    assert ok("shape", *arguments, "-q").stdout.decode() == f"{size}\n"


def blog_gaussian() -> np.ndarray:
    x = np.arange(-3, 4)
    return np.exp(-(x[:, None] ** 2 + x[None, :] ** 2) / 7)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_gaussian_of_the_blog(engine: str) -> None:
    array = np.random.default_rng(1).random((20, 20))
    got = package.filter(array, "gaussian-exp", padding="valid", engine=engine)
    want = torch.nn.functional.conv2d(
        torch.from_numpy(array)[None, None], torch.from_numpy(blog_gaussian())[None, None]
    )
    assert got.shape == (14, 14)
    np.testing.assert_allclose(got, want[0, 0].numpy(), rtol=1e-13)


def test_astronaut_through_hedge(tmp_path: Path) -> None:
    skimage_data = pytest.importorskip("skimage.data")
    astronaut = skimage_data.astronaut()
    Image.fromarray(astronaut).save(tmp_path / "astronaut.png")
    kernel = torch.tensor([[-1.0, -1, -1], [0, 0, 0], [1, 1, 1]]).double()
    planes = torch.from_numpy(astronaut.transpose(2, 0, 1)).double()[:, None]
    want = torch.nn.functional.conv2d(planes, kernel[None, None], padding=1)[:, 0].numpy().transpose(1, 2, 0)

    target = tmp_path / "hedge.npy"
    ok("filter", tmp_path / "astronaut.png", "-k", "hedge", "--padding", "1", "-o", target)
    np.testing.assert_array_equal(np.load(target), want)

    picture = tmp_path / "hedge.png"
    ok("filter", tmp_path / "astronaut.png", "-k", "hedge", "--padding", "1", "-o", picture, "-q")
    pixels = np.asarray(Image.open(picture))
    assert pixels.shape == astronaut.shape
    assert (pixels[np.abs(want) < 1] == 128).all()
    assert (pixels < 64).mean() > 0.01  # dark lines
    assert (pixels > 192).mean() > 0.01  # light lines
    shown = np.clip(np.rint(128 + want * 2 * 127 / 765), 0, 255)  # offset:2 as the docs define it
    assert np.abs(pixels - shown).max() <= 1
    assert (pixels == shown).mean() > 0.999


def test_flip_is_true_convolution() -> None:
    from scipy.signal import convolve

    signal, kernel = np.random.default_rng(0).random(20), np.array([1.0, -2.0, 4.0])
    got = package.filter(signal, kernel, flip=True, padding="full", pad_mode="zero")
    np.testing.assert_allclose(got, convolve(signal, kernel), rtol=1e-12)
