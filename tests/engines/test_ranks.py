"""Samples by their ranks in a window: the compiled loops beside NumPy's sort, scipy, and pools without the loops."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

import convcli
from convcli.engines.interface import Correlation
from convcli.engines.native import library, rows
from convcli.engines.on_numpy.engine import NumpyEngine
from convcli.engines.pooling import pool_padded
from convcli.engines.tiles import around
from convcli.geometry.pools import MAX, MEDIAN, MIN
from convcli.geometry.windows import Window

TYPES = [*rows.TYPES]
LARGE = {
    1: 40,
    2: 20,
    3: 6,
}  # windows' sides by rank: small ones go through networks, large ones through histograms


def widths() -> list[library.Loops]:
    return [found for width in library.WIDTHS if (found := library.load(str(width)))]


@pytest.fixture(autouse=True)
def _loops() -> None:
    if not widths():
        pytest.skip("no C compiler")


def samples(random: np.random.Generator, shape: Sequence[int], dtype: str, levels: int) -> np.ndarray:
    """Return samples of few or many levels, the type's extremes among them; of floats also infinities, -0 and NaN."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        x = np.round(random.normal(0, 1, shape) * levels).astype(kind)
        x[random.random(shape) < 0.05] = -0.0
        x[random.random(shape) < 0.02] = np.inf
        x[random.random(shape) < 0.02] = -np.inf
        return x
    limits = np.iinfo(kind)
    ends = np.linspace(limits.min, limits.max, min(levels, 1 << 8 * kind.itemsize)).astype(kind)
    return random.choice(ends, shape)


@settings(max_examples=120, deadline=None)
@given(data=st.data(), rank=st.integers(1, 3), dtype=st.sampled_from(TYPES), large=st.booleans())
def test_loops_find_the_ranks_of_every_window(
    data: st.DataObject, rank: int, dtype: str, large: bool
) -> None:
    axes = lambda lo, hi: tuple(data.draw(st.integers(lo, hi)) for _ in range(rank))  # noqa: E731
    kernel = (
        axes(1, LARGE[rank]) if large else data.draw(st.sampled_from([axes(1, 5), (3,) * rank, (5,) * rank]))
    )
    stride = axes(1, 4) if data.draw(st.booleans()) else (1,) * rank
    dilation = axes(1, 3) if data.draw(st.booleans()) and not large else (1,) * rank
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = tuple(n + extent for n, extent in zip(axes(0, {1: 500, 2: 80, 3: 7}[rank]), extents, strict=True))
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    x = samples(
        random, (data.draw(st.integers(1, 3)), 1, *size), dtype, data.draw(st.sampled_from([1, 5, 70_000]))
    )
    if data.draw(st.booleans()):  # interleaved pixels
        x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
    if np.dtype(dtype).kind == "f" and data.draw(st.booleans()):
        x[random.random(x.shape) < data.draw(st.sampled_from([0.001, 0.3]))] = np.nan
    taps = prod(kernel)
    ranks = (
        data.draw(st.sampled_from([[taps // 2], [0], [taps - 1]]))
        if data.draw(st.booleans())
        else random.integers(0, taps, random.integers(1, 4)).tolist()
    )
    steps = tuple(slice(None, None, step) for step in (*stride, *dilation))
    windows = sliding_window_view(x[:, 0], extents, tuple(range(1, rank + 1)))[(slice(None), *steps)]
    ordered = np.sort(windows.reshape(*windows.shape[: rank + 1], -1), -1)
    want = np.stack([ordered[..., one] for one in ranks], 1)
    call = Correlation(x, np.ones((1, 1, *kernel), x.dtype), want.shape[2:], stride, dilation, threads=2)
    wanted = np.array(ranks).reshape(1, -1, *(1,) * rank)
    for loops in widths():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(library, "loops", lambda loops=loops: loops)
            got, has_nan = rows.ranked(call, wanted)
            each, _ = (
                rows.ranked(call, np.broadcast_to(wanted, want.shape)) if max(dilation) == 1 else (got, 0)
            )
        assert np.isnan(ordered).any() <= has_nan <= np.isnan(x).any()
        assert (got is None) <= has_nan
        whole = ~np.isnan(ordered[..., -1])[:, None]
        for made, sure in ((got, whole), (each, whole | (each is not got))):
            if made is None:  # an extreme, and there is NaN
                continue
            assert made.dtype == want.dtype
            made, right = np.where(sure, made, 1), np.where(sure, want, 1)
            np.testing.assert_array_equal(made, right, err_msg=f"vectors of {loops.width} bytes")
            assert not np.signbit(made[made == 0]).any()


@settings(max_examples=60, deadline=None)
@given(
    data=st.data(),
    rank=st.integers(1, 3),
    dtype=st.sampled_from(TYPES),
    kind=st.sampled_from([MEDIAN, MAX, MIN]),
)
def test_pools_at_borders_and_of_gaps_are_those_without_loops(
    data: st.DataObject, rank: int, dtype: str, kind: object
) -> None:
    windows, sizes = [], []
    for _ in range(rank):
        kernel, dilation = data.draw(st.integers(1, {1: 30, 2: 8, 3: 4}[rank])), data.draw(st.integers(1, 2))
        pads = st.integers(0, dilation * (kernel - 1) + 1)
        windows.append(
            Window(kernel, data.draw(st.integers(1, 2)), dilation, data.draw(pads), data.draw(pads))
        )
        sizes.append(windows[-1].extent + data.draw(st.integers(0, {1: 90, 2: 25, 3: 5}[rank])))
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    x = samples(random, (2, 1, *sizes), dtype, data.draw(st.sampled_from([3, 70_000])))
    include, least = data.draw(st.booleans()), data.draw(st.sampled_from([None, 0.0, 0.4]))
    if x.dtype.kind == "f":
        x[random.random(x.shape) < data.draw(st.sampled_from([0, 0.01, 0.5]))] = np.nan
    floats = np.dtype("float64" if x.itemsize > 4 else "float32")
    got = pool_padded(NumpyEngine(2), x, kind, windows, include, least, floats)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "loops", lambda: None)
        want = pool_padded(NumpyEngine(1), x, kind, windows, include, least, floats)
    np.testing.assert_array_equal(got.astype(floats), want)


@pytest.mark.parametrize("kernel", [(3, 1, 1), (3, 3, 3), (5, 7, 9)])
@pytest.mark.parametrize("kind", ["min", "max", "range"])
def test_nan_wins_extremes_of_volumes(kind: str, kernel: tuple[int, int, int]) -> None:
    x = np.arange(11 * 12 * 13, dtype=float).reshape(11, 12, 13)
    x[5, 6, 7] = np.nan
    windows = sliding_window_view(np.pad(x, [(k // 2, k // 2) for k in kernel], "edge"), kernel)
    want = getattr(np, "ptp" if kind == "range" else kind)(windows, (-3, -2, -1))
    got = convcli.filter(x, f"{kind}:{'x'.join(map(str, kernel))}", axes="ZYX")
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("size", [(3, 3), (5, 5), (3, 7), (15, 15), (31, 9), (101, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_medians_of_pictures_are_those_of_scipy(size: tuple[int, int], dtype: str) -> None:
    x = (np.random.default_rng(5).normal(100, 20, (123, 217)) * (1 if dtype == "uint8" else 200)).astype(
        dtype
    )
    want = ndimage.median_filter(x, size, mode="nearest")
    y, x0 = (k // 2 for k in size)
    inside = want[y : len(want) - y, x0 : want.shape[1] - x0]
    for threads in (1, 2):
        got = convcli.filter(
            x,
            pool=f"median:{size[0]}x{size[1]},s=1",
            threads=threads,
            range="clip" if dtype[0] == "u" else "float",
        )
        assert got.dtype == dtype
        np.testing.assert_array_equal(got, inside)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_windows_of_more_samples_than_16_bits_count(dtype: str) -> None:
    """257x257, where a bin may hold 66,049: dark on the left, white on the right, a few samples between."""
    top = np.iinfo(dtype).max
    x = np.full((260, 420), top, dtype)
    x[:, :200] = 0
    x[::7, 190:230] = 77
    got = convcli.filter(x, pool="median:257,s=1", range="clip")
    want = [np.median(x[y : y + 257, c : c + 257]) for y in range(4) for c in range(0, 164, 9)]
    np.testing.assert_array_equal(got[:, ::9].ravel(), want)
    assert len(np.unique(want)) > 1


def test_what_is_around_a_box() -> None:
    marks = np.zeros((5, 6), bool)
    marks[1:4, 2:5] = True
    box, *others = around(marks)
    seen = np.zeros(marks.shape, int)
    for part in (box, *others):
        seen[part] += 1
    assert marks[box].all()
    assert marks[box].size == marks.sum()
    assert (seen == 1).all()
    marks[2, 3] = False
    assert around(marks) == []
