"""The Python verbs: they refuse what the shell refuses, in the same words, and every engine gives the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import convcli
from convcli.common.errors import UsageError
from convcli.kernel.model import Kernel


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "threads 0"),
        ({"bias": "x"}, "bias 'x'"),
        ({"padding": [(1,)]}, "no pair"),
        ({"stride": 0}, "stride 0"),
        ({"engine": "tensorflow"}, "engine 'tensorflow'"),
    ],
)
def test_one_clear_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        convcli.filter(np.eye(6), "hedge", **options)


def test_numbers_of_numpy_are_numbers() -> None:
    data = np.random.default_rng(0).normal(size=(9, 8))
    got = convcli.filter(data, "1,0,-2;0,3,0", stride=np.int64(2), padding=[(np.int64(1), 0), "valid"])
    padded = np.pad(data, ((1, 0), (0, 0)))
    want = padded[:-1, :-2] - 2 * padded[:-1, 2:] + 3 * padded[1:, 1:-1]
    np.testing.assert_allclose(got, want[::2, ::2], rtol=0, atol=1e-14)


def test_masked_arrays_are_not_unmasked_silently() -> None:
    with pytest.raises(UsageError, match="masked"):
        convcli.filter(np.ma.masked_less(np.eye(4), 0.5), "hedge")


def test_a_kernel_may_be_made_of_lists() -> None:
    made = Kernel.from_array(np.full((3, 3), 1 / 9))
    lists = replace(made, weights=list(made.weights), bias=[0.0], origin=[1, 1], shape=[1, 1, 3, 3])
    assert lists == made
    assert convcli.filter(np.full((9, 9), 7, np.uint8), lists, range="clip").tolist() == [[7] * 9] * 9


@pytest.mark.parametrize("policy", ["minmax", "percentile:0:100"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("kernel", ["gaussian:sigma=8", "gaussian:sigma=3", "gaussian:sigma=20", "box:31"])
def test_minmax_stretches_no_rounding(kernel: str, engine: str, policy: str) -> None:
    """An even picture is even afterwards; a faint structure is shown."""
    even = np.full((50, 60), 77, np.uint8)
    assert np.unique(convcli.filter(even, kernel, range=policy, engine=engine)).tolist() == [0]
    even[25, 30] = 78
    stretched = convcli.filter(even, kernel, range=policy, engine=engine)
    assert (stretched.min(), stretched.max()) == (0, 255)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("kernel", ["box:5", "gaussian:sigma=2", "1,2,0;0,-3,1;0.5,0,0", "identity"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_minmax_reaches_both_ends(kernel: str, engine: str, dtype: str) -> None:
    """The smallest result is black and the largest white, however narrow and far from zero they are."""
    base, width = {"uint8": (250, 4), "uint16": (65000, 3), "float32": (1e6, 2), "float64": (1e12, 2)}[dtype]
    data = (base + np.random.default_rng(4).integers(0, width, (150, 160))).astype(dtype)
    got = convcli.filter(data, kernel, range="minmax", engine=engine)
    top = np.iinfo(dtype).max if got.dtype.kind == "u" else 1
    assert (got.min(), got.max()) == (0, top)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("kernel", ["identity", "box:1", "0,0;0,0", "0,0,0;0,1,0;0,0,0"])
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint16", 65000.5, 65003.25), ("uint8", 250.75, 252.5), ("float64", 1e12, 1e12 + 1)],
)
def test_windows_far_from_zero(kernel: str, engine: str, dtype: str, low: float, high: float) -> None:
    data = (low // 1 + np.random.default_rng(4).integers(-1, 6, (150, 160)) / 2).astype(dtype)
    values = data.astype(float) * (kernel != "0,0;0,0")
    got = convcli.filter(data, kernel, range=f"{low}:{high}", engine=engine, padding="same")
    exact = (values - low) / (high - low)
    if got.dtype.kind == "u":
        exact = np.rint((exact * np.iinfo(dtype).max).clip(0, np.iinfo(dtype).max))
    np.testing.assert_allclose(got, exact, rtol=1e-15, atol=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("weight", [1e-40, -1e-40, 1e40])
def test_kernels_beyond_float32_are_computed_in_float64(weight: float, engine: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    got = convcli.filter(data, np.full((3, 3), weight), range="offset", engine=engine)
    sums = ndimage.correlate(data.astype(float), np.full((3, 3), np.sign(weight)), mode="nearest")
    np.testing.assert_array_equal(got, np.rint(128 + sums * 127 / (9 * 255)))


def test_a_tail_that_does_not_count_stays_in_float32() -> None:
    data = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    assert convcli.filter(data, [1e-40, 0.5, 0.0], axis="x").dtype == np.float32
    assert convcli.filter(data, [1e-40, 1e-41, 0.0], axis="x").dtype == np.float64


@pytest.mark.parametrize("engine", ["numpy", "torch", "auto"])
@pytest.mark.parametrize("weight", [-1 / 25, -1.0, -0.00231])
def test_negative_boxes_lose_their_sign_last(weight: float, engine: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (600, 700), dtype=np.uint8)
    got = convcli.filter(data, np.full((5, 5), weight), range="abs", engine=engine)
    sums = ndimage.correlate(data.astype(float), np.ones((5, 5)), mode="nearest")
    np.testing.assert_array_equal(got, np.rint(sums * -weight).clip(0, 255))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize(
    "weights",
    [
        np.full((5, 5), 1 / 25),
        np.outer([0.2, 0.5, 0.3], [0.1, 0.6, 0.3]),
        np.full((1, 9), 1 / 9),
        np.array([[0.31415927, -0.27182818, 1], [0.16180339, 0.41421356, -0.7], [0, 0.3, 0.1]]),
    ],
    ids=["box", "separable", "line", "dense"],
)
def test_bytes_are_filtered_in_float64(weights: np.ndarray, engine: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (600, 700), dtype=np.uint8)
    want = ndimage.correlate(data.astype(float), weights, mode="nearest")
    values = convcli.filter(data, weights, engine=engine, dtype="float64")
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, want, atol=1e-11)
    pixels = convcli.filter(data, weights, range="clip", engine=engine, dtype="float64")
    sure = abs(want % 1 - 0.5) > 1e-9
    np.testing.assert_array_equal(pixels[sure], np.rint(want).clip(0, 255)[sure])
