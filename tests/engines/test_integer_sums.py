"""Sums of bytes in whole numbers: exact, whatever the kernel's numbers, stride, dilation and memory layout."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal  # type: ignore[import-untyped]

import convcli
from convcli.common.choices import EngineName
from convcli.engines import get_engine
from convcli.engines.algorithms import NumpyBox, NumpyInteger
from convcli.engines.interface import Algorithm
from convcli.engines.on_numpy import integer_sums
from convcli.geometry.padding import PaddingName, PadMode
from convcli.jobs.bind import Settings, bind
from convcli.kernel import Kernel, load_kernel
from convcli.kernel.integer_weights import MOST, whole
from convcli.plan.choose import choose

ENGINE = get_engine("numpy")


def exact(
    data: np.ndarray, kernel: np.ndarray, stride: tuple[int, int], dilation: tuple[int, int]
) -> np.ndarray:
    """Correlate (N, 1, Y, X) integers by scipy, in 64 bits."""
    apart = np.zeros([d * (k - 1) + 1 for d, k in zip(dilation, kernel.shape, strict=True)], np.int64)
    apart[:: dilation[0], :: dilation[1]] = kernel
    full = [signal.correlate(item[0].astype(np.int64), apart, "valid", method="direct") for item in data]
    return np.stack(full)[:, None, :: stride[0], :: stride[1]]


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, tuple[int, int], tuple[int, int]]:
    size = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    numbers = st.integers(-6, 6)
    if draw(st.booleans()):
        rows = draw(st.lists(numbers, min_size=size[0], max_size=size[0]))
        columns = draw(st.lists(numbers, min_size=size[1], max_size=size[1]))
        kernel = np.outer(rows, columns)
    else:
        count = size[0] * size[1]
        kernel = np.reshape(draw(st.lists(numbers, min_size=count, max_size=count)), size)
    stride, dilation = (draw(st.tuples(st.integers(1, 3), st.integers(1, 3))) for _ in range(2))
    data = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (3, 1, 17, 19), dtype=np.uint8)
    if draw(st.booleans()):
        data = np.ascontiguousarray(data.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)  # interleaved pixels
    return data, kernel, stride, dilation


@settings(max_examples=150, deadline=None)
@given(problems(), st.sampled_from([1.0, 0.25, 1 / 3, 1 / 25]))
def test_whole_numbers_are_exact(problem: tuple, factor: float) -> None:
    data, kernel, stride, dilation = problem
    weights = (kernel * factor).astype(np.float32)
    found = whole(tuple(weights.ravel().tolist()), weights.shape)
    if not kernel.any() or found is None or not found.fits(unsigned=False):
        divided = np.abs(kernel) // max(np.gcd.reduce(kernel, axis=None), 1)
        assert divided.sum() > MOST or not kernel.any()
        return
    got = ENGINE.correlate(
        data.astype(integer_sums.SUM, order="K"),
        weights[None, None],
        stride=stride,
        dilation=dilation,
        finite=True,
        algorithm=NumpyInteger(),
    )
    expected = exact(data, kernel, stride, dilation)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected * factor, rtol=3e-7)


@pytest.mark.parametrize(
    "size", [(3, 3), (1, 5), (5, 1), (2, 9), (31, 31), (16, 16), (17, 16), (40, 1), (1, 40)]
)
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("interleaved", [False, True])
def test_boxes_of_bytes_are_exact(
    size: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], interleaved: bool
) -> None:
    data = np.random.default_rng(1).integers(200, 256, (3, 1, 90, 101), dtype=np.uint8)
    if interleaved:
        data = np.ascontiguousarray(data.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    got = ENGINE.correlate(
        data.astype(integer_sums.COUNT, order="K"),
        np.ones((1, 1, *size), np.float32),
        stride=stride,
        dilation=dilation,
        finite=True,
        algorithm=NumpyBox(),
    )
    np.testing.assert_array_equal(got, exact(data, np.ones(size, int), stride, dilation))


@pytest.mark.parametrize(
    ("weights", "factor", "numbers"),
    [
        ((1 / 25, 2 / 25, 5 / 25), 1 / 25, (1, 2, 5)),
        ((0.0, -2.0, 4.0), 2.0, (0, -1, 2)),
        ((2.0, 3.0, 0.0), 1.0, (2, 3, 0)),
        ((0.1, 0.25, 0.15), 0.05, (2, 5, 3)),
    ],
)
def test_numbers_and_their_factor(
    weights: tuple[float, ...], factor: float, numbers: tuple[int, ...]
) -> None:
    found = whole(weights, (3,))
    assert found is not None
    assert found.factor == pytest.approx(factor)
    assert found.passes == (((3,), numbers),)


@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, 256.0), (1.0, 2**0.5), (1.0, 1.001)])
def test_what_is_not_whole_or_too_large(weights: tuple[float, ...]) -> None:
    assert whole(weights, (2,)) is None


@pytest.mark.parametrize(
    ("weights", "signed", "unsigned"),
    [((1.0, 127.0), True, True), ((1.0, 128.0), False, True), ((1.0, 255.0), False, True),
     ((-1.0, 127.0), True, True), ((-1.0, 128.0), False, False)],
)  # fmt: skip
def test_what_fits_16_bits(weights: tuple[float, ...], signed: bool, unsigned: bool) -> None:
    found = whole(weights, (2,))
    assert found is not None
    assert (found.fits(unsigned=False), found.fits(unsigned=True)) == (signed, unsigned)


def test_the_largest_sum_fits() -> None:
    """128 times 255 is 32,640, 128 times -128 is -16,384."""
    data = np.full((1, 1, 4, 4), 255, np.int16)
    weights = np.full((1, 1, 1, 2), 64, np.float32) * [1, -1]
    for signs in ([1, 1], [-1, -1], [1, -1]):
        weights = np.array([[[[64 * signs[0], 64 * signs[1]]]]], np.float32)
        got = ENGINE.correlate(data, weights, stride=(1, 1), dilation=(1, 1), algorithm=NumpyInteger())
        assert set(got.ravel().tolist()) == {255 * 64 * sum(signs)}


def _chosen(kernel: Kernel, source: str, dtype: str = "float32", **more: object) -> Algorithm | None:
    chain = bind([kernel], Settings(**more), "YX", [3000, 4000], 3)  # type: ignore[arg-type]
    plan = choose(
        chain,
        0,
        engine=EngineName.NUMPY,
        device="cpu",
        threads=2,
        dtype=dtype,
        source=source,
        torch_loaded=False,
    )
    return plan.algorithms[0]


@pytest.mark.parametrize("name", ["hedge", "sobel-x", "sobel", "sharpen", "1,2,3;4,5,4;3,2,1"])
def test_the_plan_takes_whole_numbers_for_bytes_alone(name: str) -> None:
    kernel = load_kernel(name)
    assert _chosen(kernel, "uint8") == NumpyInteger()
    assert _chosen(kernel, "uint16") != NumpyInteger()
    assert _chosen(kernel, "uint8", "float64") != NumpyInteger()
    assert _chosen(kernel, "uint8", pad_value=0.5) != NumpyInteger()
    assert _chosen(kernel, "uint8", pad_value=300) != NumpyInteger()
    assert _chosen(kernel, "uint8", pad_mode=PadMode.ANTIREFLECT) != NumpyInteger()
    inside = {"pad_mode": PadMode.ANTIREFLECT, "padding": (PaddingName.VALID,)}
    assert _chosen(kernel, "uint8", **inside) == NumpyInteger()


@pytest.mark.parametrize("axes", ["YX", "YXC"])
@pytest.mark.parametrize("name", ["hedge", "sobel", "box:9", "1,2,3;4,5,4;3,2,1"])
def test_bytes_and_floats_agree(axes: str, name: str) -> None:
    """Through the whole of a job, blocks and borders included."""
    rng = np.random.default_rng(8)
    data = rng.integers(0, 256, (300, 220, 3)[: len(axes)], dtype=np.uint8)
    for mode in ("replicate", "zero", "circular"):
        got = convcli.filter(data, name, axes=axes, pad_mode=mode, engine="numpy")
        floats = convcli.filter(data.astype(np.float64), name, axes=axes, pad_mode=mode, engine="numpy")
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, floats, rtol=1e-6, atol=1e-4)
