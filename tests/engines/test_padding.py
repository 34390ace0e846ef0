"""Padding against numpy and scipy; pooling with borders against torch and its definition."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from convcli.engines import get_engine
from convcli.engines.base import Engine
from convcli.engines.padding import pad
from convcli.engines.pooling import average_counts, pool_padded
from convcli.geometry.padding import PadMode
from convcli.geometry.pools import AVG, MAX, MEDIAN, MIN
from convcli.geometry.windows import Window
from tests import pad_modes


@pytest.fixture(scope="module", params=["numpy", "torch"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return get_engine(request.param)


# Padding


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    amounts=st.tuples(*[st.integers(0, 17)] * 4),
    inside=st.tuples(*[st.integers(0, 3)] * 4),
    layout=st.permutations(range(3)),
    mode=st.sampled_from(PadMode),
)
def test_pad_is_numpys_pad_and_cut(shape, amounts, inside, layout, mode):
    x = np.random.default_rng(sum(amounts)).integers(0, 256, shape, dtype=np.uint8)
    x = np.ascontiguousarray(x.transpose(layout)).transpose(np.argsort(layout))
    x.flags.writeable = False
    top, bottom, left, right = amounts
    a, b, c, d = inside
    ranges = ((a - top, shape[1] + bottom - b), (c - left, shape[2] + right - d))

    for dtype in (None, np.float32):
        whole = pad_modes.padded(x.astype(dtype or x.dtype), [(0, 0), (top, bottom), (left, right)], mode, 7)
        expected = whole[:, a : whole.shape[1] - b, c : whole.shape[2] - d]
        got = pad(x, ranges, mode, 7, dtype)
        assert got.dtype == (dtype or np.uint8)
        assert np.array_equal(got, expected)


@pytest.mark.parametrize("mode", [mode for mode in PadMode if mode in pad_modes.SCIPY])
def test_padding_makes_correlations_those_of_scipy(mode: PadMode, engine: Engine):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6, 4))
    for size in ((3, 3), (5, 1), (3, 11), (15, 9)):  # some larger than the data
        weights = rng.normal(size=size)
        expected = scipy.ndimage.correlate(x, weights, mode=pad_modes.SCIPY[mode])
        ranges = [(-(k // 2), n + k // 2) for k, n in zip(size, x.shape, strict=True)]
        padded = pad(x[None, None], ranges, mode)
        got = engine.correlate(padded, weights[None, None], stride=(1, 1), dilation=(1, 1))
        np.testing.assert_allclose(got[0, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("mode", PadMode)
def test_a_box_that_is_empty_along_two_axes(mode: PadMode):
    assert pad(np.zeros((1, 1)), [(0, 0), (0, 0)], mode).shape == (0, 0)


def test_pad_may_lie_outside_altogether():
    x = np.array([1, 2, 3], np.int16)
    assert pad(x, [(4, 7)], PadMode.CONSTANT, -5).tolist() == [-5, -5, -5]
    assert pad(x, [(4, 7)], PadMode.CIRCULAR).tolist() == [2, 3, 1]
    assert pad(x, [(-1, 0)], PadMode.ANTIREFLECT).tolist() == [0]
    assert pad(x, [(-9, -6)], PadMode.REPLICATE).tolist() == [1, 1, 1]
    assert pad(x, [(2, 2)], PadMode.ZERO).tolist() == []


def test_pad_keeps_pixels_interleaved_and_copies_only_when_it_must():
    pixels = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(4, 5, 3)
    planes = pixels.transpose(2, 0, 1)
    got = pad(planes, [(-1, 5), (-2, 7)], PadMode.REFLECT, dtype=np.float32)
    assert got.shape == (3, 6, 9)
    assert got.transpose(1, 2, 0).flags.c_contiguous
    assert np.shares_memory(pad(planes, [(1, 3), (0, 5)], PadMode.REFLECT), pixels)
    assert not np.shares_memory(pad(planes, [(1, 3), (0, 6)], PadMode.REFLECT), pixels)


def test_what_a_narrower_type_cannot_hold_is_infinite():
    assert pad(np.array([1e300, -1e300, np.nan]), [(0, 4)], PadMode.ZERO, dtype="f4").tolist()[:2] == [
        np.inf,
        -np.inf,
    ]


# Pooling with borders


@st.composite
def bordered(draw: st.DrawFn) -> tuple[np.ndarray, list[Window]]:
    """Draw data and windows whose padding is less than their extent."""
    windows, sizes = [], []
    for _ in range(draw(st.integers(1, 3))):
        kernel, stride, dilation = (draw(st.integers(1, 4)) for _ in range(3))
        reach = dilation * (kernel - 1)
        before, after = draw(st.integers(0, reach)), draw(st.integers(0, reach))
        windows.append(Window(kernel, stride, dilation, before, after, draw(st.booleans())))
        sizes.append(draw(st.integers(max(reach + 1 - before - after, 1), reach + 5)))
    x = np.random.default_rng(draw(st.integers(0, 999))).normal(size=(2, 2, *sizes))
    return x.astype(draw(st.sampled_from(["float32", "float64"]))), windows


def naive(x: np.ndarray, windows: list[Window], include_padding: bool = False):
    """Yield every window as (index, its values in order, how many count in a mean)."""
    outputs = [w.output_size(n) for w, n in zip(windows, x.shape[2:], strict=True)]
    for index in np.ndindex(*outputs):
        taps = [
            [i * w.stride - w.before + t * w.dilation for t in range(w.kernel)]
            for i, w in zip(index, windows, strict=True)
        ]
        inside = [[p for p in axis if 0 <= p < n] for axis, n in zip(taps, x.shape[2:], strict=True)]
        counted = [
            [p for p in axis if -w.before <= p < n + w.after]
            for axis, w, n in zip(taps, windows, x.shape[2:], strict=True)
        ]
        grid = np.ix_(*inside)
        values = x[(slice(None), slice(None), *grid)].reshape(*x.shape[:2], -1)
        counts = counted if include_padding else inside
        yield index, values, np.prod([len(axis) for axis in counts])


@given(case=bordered(), include=st.booleans())
def test_pooling_with_borders_is_what_its_definition_says(engine: Engine, case, include: bool):
    x, windows = case
    maximum = pool_padded(engine, x, MAX, windows)
    minimum = pool_padded(engine, x, MIN, windows)
    mean = pool_padded(engine, x, AVG, windows, include)
    for index, values, count in naive(x, windows, include):
        at = (slice(None), slice(None), *index)
        if values.size == 0:  # dilated taps on both sides of the data, none on it
            assert np.isneginf(maximum[at]).all() and np.isposinf(minimum[at]).all()
            assert (mean[at] == 0).all() if count else np.isnan(mean[at]).all()
            continue
        assert np.array_equal(maximum[at], values.max(-1))
        assert np.array_equal(minimum[at], values.min(-1))
        np.testing.assert_allclose(mean[at], values.astype(float).sum(-1) / count, rtol=0, atol=1e-5)


@given(case=bordered(), include=st.booleans(), levels=st.integers(1, 4), holes=st.sampled_from([0, 0.1]))
def test_a_median_with_borders_is_numpys_of_what_counts(
    engine: Engine, case, include: bool, levels: int, holes: float
):
    x, windows = case
    x = np.round(x * levels)  # many equal samples
    x[np.random.default_rng(levels).random(x.shape) < holes] = np.nan
    median = pool_padded(engine, x, MEDIAN, windows, include)
    assert median.dtype == x.dtype
    for index, values, count in naive(x, windows, include):
        zeros = np.zeros((*x.shape[:2], count - values.shape[-1]))
        samples = np.concatenate([values, zeros], axis=-1)
        expected = np.median(samples, axis=-1) if count else np.full(x.shape[:2], np.nan)
        assert np.array_equal(median[(slice(None), slice(None), *index)], expected, equal_nan=True)


@pytest.mark.parametrize("ceil", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_means_with_borders_are_torchs(engine: Engine, ceil: bool, include: bool):
    x = np.random.default_rng(8).normal(size=(1, 2, 8, 11))
    windows = [Window(3, 2, before=1, after=1, ceil=ceil), Window(4, 3, before=2, after=2, ceil=ceil)]
    expected = F.avg_pool2d(
        torch.from_numpy(x), (3, 4), (2, 3), (1, 2), ceil_mode=ceil, count_include_pad=include
    )
    np.testing.assert_allclose(pool_padded(engine, x, AVG, windows, include), expected, atol=1e-12)


def test_padding_is_counted_only_when_asked():
    window = Window(3, stride=2, before=1, after=1, ceil=True)  # the last window hangs over the padding
    assert average_counts(window, 4).tolist() == [2, 3, 1]
    assert average_counts(window, 4, include_padding=True).tolist() == [3, 3, 2]
