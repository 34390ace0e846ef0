"""The Python verbs: they refuse what the shell refuses, in the same words, and every engine gives the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import convcli
from convcli.errors import UsageError
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


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("kernel", ["gaussian:sigma=8", "gaussian:sigma=3"])
def test_minmax_stretches_no_rounding(kernel: str, engine: str) -> None:
    """An even picture is even afterwards; a faint structure is shown."""
    even = np.full((50, 60), 77, np.uint8)
    assert np.unique(convcli.filter(even, kernel, range="minmax", engine=engine)).tolist() == [0]
    even[25, 30] = 78
    stretched = convcli.filter(even, kernel, range="minmax", engine=engine)
    assert (stretched.min(), stretched.max()) == (0, 255)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("weight", [1e-40, -1e-40, 1e40])
def test_kernels_beyond_float32_are_computed_in_float64(weight: float, engine: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    got = convcli.filter(data, np.full((2, 3), weight), range="offset", engine=engine)
    want = convcli.filter(
        data, np.full((2, 3), np.sign(weight)), range="offset", engine=engine, dtype="float64"
    )
    assert np.ptp(got) > 20
    np.testing.assert_allclose(got, want, atol=1)


@pytest.mark.parametrize("engine", ["numpy", "torch", "auto"])
@pytest.mark.parametrize("weight", [-1 / 25, -1.0, -0.00231])
def test_negative_boxes_lose_their_sign_last(weight: float, engine: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (600, 700), dtype=np.uint8)
    got = convcli.filter(data, np.full((5, 5), weight), range="abs", engine=engine)
    want = convcli.filter(data, np.full((5, 5), -weight), range="clip", engine=engine, dtype="float64")
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "kernel",
    ["box:5", "gaussian:sigma=2", "0.31415927,-0.27182818,1;0.16180339,0.41421356,-0.7;0,0.3,0.1", "box:1x9"],
)
@pytest.mark.parametrize("range", ["clip", "float"])
def test_bytes_are_filtered_in_float64(kernel: str, range: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    got, want = (
        convcli.filter(data, kernel, range=range, engine=engine, dtype="float64")
        for engine in ("torch", "numpy")
    )
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-12)
