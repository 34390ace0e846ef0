"""The contract of every engine, checked against scipy, torch in float64, and definitions spelled out."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch.nn import functional as F

from convcli.common.errors import UsageError
from convcli.engines import get_engine, tiles
from convcli.engines.base import Engine
from convcli.engines.on_numpy import engine as numpy_engine
from convcli.engines.on_torch import sums as torch_sums
from convcli.geometry.pools import AVG, MAX, MEDIAN, MIN, POOLS, PoolKind
from tests.engines.engines import NAMES, engine_named

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
CONVOLVE_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
MAX_POOL = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


@pytest.fixture(scope="module", params=[*NAMES, pytest.param("torch-cuda", marks=needs_cuda)])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with engine_named(request.param) as engine:
        yield engine


@dataclass(frozen=True)
class Problem:
    """Data and a kernel that fit each other; the numbers come from ``seed``, some weights are zero."""

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    items: int
    inputs: int  # of one group
    outputs: int  # of one group
    groups: int
    dtype: str
    layout: tuple[int, ...]  # axes of the data in memory, the slowest first
    seed: int

    @property
    def x(self) -> np.ndarray:
        shape = (self.items, self.inputs * self.groups, *self.sizes)
        x = np.random.default_rng(self.seed).uniform(-9, 9, shape).astype(self.dtype)
        return np.ascontiguousarray(x.transpose(self.layout)).transpose(np.argsort(self.layout))

    @property
    def weights(self) -> np.ndarray:
        rng = np.random.default_rng(self.seed + 1)
        weights = rng.normal(size=(self.outputs * self.groups, self.inputs, *self.kernel))
        weights[rng.random(weights.shape) < 0.3] = 0
        weights[rng.random(weights.shape) < 0.2] = -1
        return weights.astype(self.dtype)

    @property
    def options(self) -> dict:
        return {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}

    @property
    def pooling(self) -> dict:
        return {"stride": self.stride, "dilation": self.dilation}

    @property
    def bound(self) -> float:
        """The largest error allowed: of the kernel's absolute sum times the data's range."""
        weights = np.abs(self.weights.astype(float))
        return (1e-5 if self.dtype == "float32" else 1e-13) * 9 * max(weights[0].sum(), weights.sum() / 2)


@st.composite
def problems(draw: st.DrawFn, transposed: bool = False) -> Problem:
    rank = draw(st.integers(1, 3))
    axes = lambda lo, hi: draw(st.tuples(*[st.integers(lo, hi)] * rank))  # noqa: E731
    kernel, stride, dilation = axes(1, 4 if rank < 3 else 3), axes(1, 3), axes(1, 3)
    spare = axes(0, 6 if rank < 3 else 3)
    extents = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    sizes = [1 + more if transposed else extent + more for extent, more in zip(extents, spare, strict=True)]
    return Problem(
        tuple(sizes),
        kernel,
        stride,
        dilation,
        items=draw(st.integers(1, 3)),
        inputs=draw(st.integers(1, 3)),
        outputs=draw(st.integers(1, 3)),
        groups=draw(st.integers(1, 2)),
        dtype=draw(st.sampled_from(["float32", "float64"])),
        layout=tuple(draw(st.permutations(range(rank + 2)))),
        seed=draw(st.integers(0, 2**16)),
    )


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal, NaN to NaN, and -0 not to 0."""
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a), np.signbit(b))


def spread(kernel: np.ndarray, dilation: tuple[int, ...]) -> np.ndarray:
    """Write the zeros of a dilation out."""
    wide = np.zeros([d * (k - 1) + 1 for k, d in zip(kernel.shape, dilation, strict=True)])
    wide[tuple(slice(None, None, d) for d in dilation)] = kernel
    return wide


def over_maps(problem: Problem, one: object) -> np.ndarray:
    """Compute each output map as the sum over its group's channels of ``one(plane, kernel)``, in float64."""
    x, weights = problem.x.astype(float), problem.weights.astype(float)

    def output(item: int, index: int) -> np.ndarray:
        first = index // problem.outputs * problem.inputs
        return sum(one(x[item, first + i], weights[index, i]) for i in range(problem.inputs))

    return np.array([[output(n, o) for o in range(len(weights))] for n in range(len(x))])


def by_scipy(problem: Problem) -> np.ndarray:
    def one(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        wide = spread(kernel, problem.dilation)
        same = scipy.ndimage.correlate(plane, wide, mode="constant")
        valid = [
            slice(e // 2, e // 2 + n - e + 1, s)
            for e, n, s in zip(wide.shape, plane.shape, problem.stride, strict=True)
        ]
        return same[tuple(valid)]

    return over_maps(problem, one)


def transposed_by_scipy(problem: Problem) -> np.ndarray:
    def one(plane: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        apart = spread(plane, problem.stride)  # zeros between the data, as between dilated taps
        return scipy.signal.convolve(apart, spread(kernel, problem.dilation), method="direct")

    return over_maps(problem, one)


def by_torch(problem: Problem) -> np.ndarray:
    x, weights = (torch.from_numpy(np.array(a, dtype=float)) for a in (problem.x, problem.weights))
    return CONVOLVE[len(problem.sizes) - 1](x, weights, **problem.options).numpy()


def transposed_by_torch(problem: Problem) -> np.ndarray:
    x, weights = (torch.from_numpy(np.array(a, dtype=float)) for a in (problem.x, problem.weights))
    return _torch_transpose(problem, x, weights).numpy()


def _torch_transpose(problem: Problem, x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    swapped = weights.reshape(problem.groups, problem.outputs, problem.inputs, *problem.kernel).swapaxes(1, 2)
    swapped = swapped.reshape(-1, problem.outputs, *problem.kernel)
    return CONVOLVE_TRANSPOSED[len(problem.sizes) - 1](x, swapped, **problem.options)


def windows_of(x: np.ndarray, problem: Problem) -> np.ndarray:
    """Return every window's elements: (N, C, *sizes, *kernel)."""
    extents = [d * (k - 1) + 1 for k, d in zip(problem.kernel, problem.dilation, strict=True)]
    windows = sliding_window_view(x, extents, axis=tuple(range(2, x.ndim)))
    steps = [slice(None, None, s) for s in problem.stride]
    taps = [slice(None, None, d) for d in problem.dilation]
    return windows[(slice(None), slice(None), *steps, *taps)]


# Numbers


@given(problem=problems())
def test_correlation_is_scipys_and_torchs(engine: Engine, problem: Problem):
    got = engine.correlate(problem.x, problem.weights, **problem.options)

    assert got.dtype == problem.dtype
    np.testing.assert_allclose(got, by_scipy(problem), rtol=0, atol=problem.bound)
    np.testing.assert_allclose(got, by_torch(problem), rtol=0, atol=problem.bound)


@given(problem=problems(transposed=True))
def test_transpose_is_scipys_and_torchs(engine: Engine, problem: Problem):
    got = engine.transpose(problem.x, problem.weights, **problem.options)

    assert got.dtype == problem.dtype
    np.testing.assert_allclose(got, transposed_by_scipy(problem), rtol=0, atol=problem.bound)
    np.testing.assert_allclose(got, transposed_by_torch(problem), rtol=0, atol=problem.bound)


@given(problem=problems(), stretch=st.integers(0, 40))
def test_pooling_is_what_its_definition_says(engine: Engine, problem: Problem, stretch: int):
    size = (problem.kernel[0] + stretch, *problem.kernel[1:])  # long windows are folded another way
    more = stretch * problem.dilation[0]
    problem = Problem(
        **{**vars(problem), "kernel": size, "sizes": (problem.sizes[0] + more, *problem.sizes[1:])}
    )
    x = problem.x
    windows = windows_of(x, problem)
    axes = tuple(range(x.ndim, windows.ndim))

    maximum = engine.pool(x, MAX, size, **problem.pooling)
    minimum = engine.pool(x, MIN, size, **problem.pooling)
    mean = engine.pool(x, AVG, size, **problem.pooling)

    assert maximum.dtype == minimum.dtype == mean.dtype == problem.dtype
    assert np.array_equal(maximum, windows.max(axis=axes))
    assert np.array_equal(minimum, windows.min(axis=axes))
    median = engine.pool(x, MEDIAN, size, **problem.pooling)
    assert median.dtype == problem.dtype
    assert np.array_equal(median, np.median(windows, axis=axes))
    bound = 9e-6 if problem.dtype == "float32" else 1e-14
    np.testing.assert_allclose(mean, windows.astype(float).mean(axis=axes), rtol=0, atol=9 * bound)


@pytest.mark.parametrize("stride, dilation", [(1, 1), (1, 2), (2, 1), (3, 2)])
def test_long_windows_that_overlap(engine: Engine, stride: int, dilation: int):
    x = np.random.default_rng(4).normal(size=(1, 2, 90, 3)).astype(np.float32)
    options = {"stride": (stride, 1), "dilation": (dilation, 1)}
    for size in range(1, 40):
        windows = sliding_window_view(x, dilation * (size - 1) + 1, axis=2)[:, :, ::stride, :, ::dilation]
        assert np.array_equal(engine.pool(x, MAX, (size, 1), **options), windows.max(-1))
        mean = engine.pool(x, AVG, (size, 1), **options)
        np.testing.assert_allclose(mean, windows.astype(float).mean(-1), rtol=0, atol=1e-6)
        if (
            engine.name == "numpy"
        ):  # many windows share partial sums, one alone does not: the same bits even so
            start, reach = 2 * stride, dilation * (size - 1) + 1
            alone = engine.pool(x[:, :, start : start + reach], AVG, (size, 1), **options)
            assert same_bits(alone, mean[:, :, 2:3])


@pytest.mark.parametrize("inputs, outputs, size", [(1, 1, 127), (3, 4, 31), (64, 4, 5)])
def test_long_sums_stay_exact_on_an_even_surface(engine: Engine, inputs: int, outputs: int, size: int):
    # The worst case: all roundings of one running sum go the same way.  Torch's own kernels err by 1e-4 here.
    x = np.full((1, inputs, size + 20, size + 20), 0.7, np.float32)
    weights = np.full((outputs, inputs, size, size), 1 / (inputs * size * size), np.float32)
    expected = weights[0].sum(dtype=float) * float(x[0, 0, 0, 0])

    got = engine.correlate(x, weights, stride=(1, 1), dilation=(1, 1))
    np.testing.assert_allclose(got, expected, rtol=0, atol=4e-6)

    laid = engine.transpose(x[:, :, :size, :size], weights, stride=(1, 1), dilation=(1, 1))
    np.testing.assert_allclose(laid[..., size - 1, size - 1], expected, rtol=0, atol=4e-6)


def test_a_mean_of_everything_stays_exact(engine: Engine):
    x = np.full((1, 1, 1500, 2000), 255.3, np.float32)
    got = engine.pool(x, AVG, (1500, 2000), stride=(1, 1), dilation=(1, 1))
    np.testing.assert_allclose(got, float(x[0, 0, 0, 0]), rtol=1e-6)


def test_nothing_is_plain_zero(engine: Engine):
    for weights in ([-1, 0, 2], [0, 0, 0], [-1, -1, -1]):
        bank = np.array(weights, np.float32).reshape(1, 1, 3)
        for method in (engine.correlate, engine.transpose):
            for x in (np.zeros((1, 1, 5), np.float32), -np.zeros((1, 1, 5), np.float32)):
                assert not np.signbit(method(x, bank, stride=(1,), dilation=(1,))).any()


# NaN and infinities


def with_holes(problem: Problem, bad: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the data with one or two bad values, and where they are."""
    x = problem.x
    rng = np.random.default_rng(problem.seed + 2)
    holes = np.zeros(x.shape, bool)
    for _ in range(2):
        holes[tuple(rng.integers(0, x.shape))] = True
    x[holes] = bad
    return x, holes


BAD = st.sampled_from([np.nan, np.inf, -np.inf])


@given(problem=problems(), bad=BAD)
def test_bad_values_spoil_exactly_the_windows_that_hold_them(engine: Engine, problem: Problem, bad: float):
    x, holes = with_holes(problem, bad)
    held = torch.from_numpy(holes.astype(float))
    ones = torch.ones(problem.weights.shape, dtype=torch.float64)  # a weight of zero holds its datum too
    spoiled = CONVOLVE[len(problem.sizes) - 1](held, ones, **problem.options).numpy() > 0

    got = engine.correlate(x, problem.weights, **problem.options)
    clean = engine.correlate(np.where(holes, 0, x), problem.weights, **problem.options)

    assert np.array_equal(~np.isfinite(got), spoiled)
    np.testing.assert_allclose(got[~spoiled], clean[~spoiled], rtol=0, atol=problem.bound)


@given(problem=problems(transposed=True), bad=BAD)
def test_bad_values_spoil_exactly_the_outputs_that_they_touch(engine: Engine, problem: Problem, bad: float):
    x, holes = with_holes(problem, bad)
    ones = torch.ones(problem.weights.shape, dtype=torch.float64)
    spoiled = _torch_transpose(problem, torch.from_numpy(holes.astype(float)), ones).numpy() > 0

    got = engine.transpose(x, problem.weights, **problem.options)
    clean = engine.transpose(np.where(holes, 0, x), problem.weights, **problem.options)

    assert np.array_equal(~np.isfinite(got), spoiled)
    np.testing.assert_allclose(got[~spoiled], clean[~spoiled], rtol=0, atol=problem.bound)


def test_torchs_own_kernels_never_see_bad_values():
    # They happen to treat them well on some processors; Winograd's algorithm on others spoils neighbours.
    def refuse(x: torch.Tensor, *_: object, **__: object) -> None:
        assert x.isfinite().all()
        raise NotImplementedError

    engine = get_engine("torch")
    x, weights = np.ones((1, 3, 9), np.float32), np.ones((4, 3, 2), np.float32)
    options = {"stride": (1,), "dilation": (1,)}
    with patch.multiple(torch_sums, CONVOLVE=[refuse], CONVOLVE_TRANSPOSED=[refuse]):
        for method in (engine.correlate, engine.transpose):
            with pytest.raises(NotImplementedError):
                method(x, weights, **options)
            for bad in (np.nan, np.inf, -np.inf):
                spoiled = x.copy()
                spoiled[0, 1, 4] = bad
                assert np.isfinite(method(spoiled, weights, **options)).any()


@given(problem=problems(), kind=st.sampled_from(POOLS))
def test_nan_wins_every_pool(engine: Engine, problem: Problem, kind: PoolKind):
    x, holes = with_holes(problem, np.nan)
    windows = windows_of(holes, problem)
    expected = windows.any(axis=tuple(range(x.ndim, windows.ndim)))
    assert np.array_equal(np.isnan(engine.pool(x, kind, problem.kernel, **problem.pooling)), expected)


def test_infinities_pool_as_numbers(engine: Engine):
    x = np.array([[[1, -np.inf, 2, np.inf, 3, -np.inf, -np.inf]]], np.float32)
    options = {"stride": (2,), "dilation": (1,)}
    assert engine.pool(x, MAX, (2,), **options).tolist() == [[[1, np.inf, 3]]]
    assert engine.pool(x, MIN, (2,), **options).tolist() == [[[-np.inf, 2, -np.inf]]]
    assert engine.pool(x, AVG, (2,), **options).tolist() == [[[-np.inf, np.inf, -np.inf]]]
    assert engine.pool(x, MEDIAN, (3,), **options).tolist() == [[[1, 3, -np.inf]]]
    largest = np.full((1, 1, 2), np.finfo(np.float32).max)
    assert engine.pool(largest, MEDIAN, (2,), **options).item() == np.finfo(np.float32).max


@pytest.mark.parametrize("size", [3, 5, (3, 7)])
def test_a_median_filter_is_scipys(engine: Engine, size: int | tuple[int, int]):
    x = np.random.default_rng(6).integers(0, 256, (40, 50)).astype(np.float32)
    high, wide = (size, size) if isinstance(size, int) else size
    whole = scipy.ndimage.median_filter(x, size)
    inside = whole[high // 2 : -(high // 2), wide // 2 : -(wide // 2)]
    got = engine.pool(x[None, None], MEDIAN, (high, wide), stride=(1, 1), dilation=(1, 1))
    assert np.array_equal(got[0, 0], inside)


# Shapes, layouts, memory


def in_two_blocks(problem: Problem, x: np.ndarray, axis: int, share: float, whole: np.ndarray, apply: object):
    """Compute the outputs in two blocks along an axis, each from its own inputs."""
    count = whole.shape[2 + axis]
    cut = int(count * share)
    parts = []
    for start, stop in ((0, cut), (cut, count)):
        if start < stop:
            reach = problem.dilation[axis] * (problem.kernel[axis] - 1) + 1
            box = slice(start * problem.stride[axis], (stop - 1) * problem.stride[axis] + reach)
            parts.append(apply(x[(slice(None),) * (2 + axis) + (box,)]))
    return np.concatenate(parts, axis=2 + axis)


@given(problem=problems(), share=st.floats(0, 1), data=st.data())
def test_the_block_shape_never_changes_a_result(
    engine: Engine, problem: Problem, share: float, data: st.DataObject
):
    axis = data.draw(st.integers(0, len(problem.sizes) - 1))
    x, _ = with_holes(problem, np.nan) if share > 0.5 else (problem.x, None)
    jobs = [(lambda x: engine.correlate(x, problem.weights, **problem.options), problem.bound)]
    jobs += [
        (lambda x, kind=kind: engine.pool(x, kind, problem.kernel, **problem.pooling), 1e-4) for kind in POOLS
    ]
    for apply, bound in jobs:
        whole = apply(x)
        blocks = in_two_blocks(problem, x, axis, share, whole, apply)
        if engine.name == "numpy":
            assert same_bits(blocks, whole)
        else:
            np.testing.assert_allclose(blocks, whole, rtol=0, atol=bound)


@settings(max_examples=40)
@given(problem=problems())
def test_threads_never_change_a_numpy_result(problem: Problem):
    x, weights = problem.x, problem.weights
    one = numpy_engine.NumpyEngine(threads=1)
    many = numpy_engine.NumpyEngine(threads=3)
    jobs = [lambda engine: engine.correlate(x, weights, **problem.options)]
    jobs += [lambda engine: engine.transpose(x, weights, **problem.options)]
    jobs += [lambda engine: engine.pool(x, AVG, problem.kernel, **problem.pooling)]
    for job in jobs:
        with patch.object(tiles, "THREADED", 1):
            cut = job(many)
        assert same_bits(cut, job(one))


@given(problem=problems())
def test_layout_and_read_only_memory_do_not_matter(engine: Engine, problem: Problem):
    x, weights = problem.x, problem.weights
    plain = np.ascontiguousarray(x)
    backwards = np.ascontiguousarray(x[:, :, ::-1])[:, :, ::-1]  # negative strides
    for array in (x, weights, plain, backwards):
        array.flags.writeable = False
    expected = [
        engine.correlate(plain, weights, **problem.options),
        engine.transpose(plain, weights, **problem.options),
        engine.pool(plain, AVG, problem.kernel, **problem.pooling),
    ]
    for other in (x, backwards):
        got = [
            engine.correlate(other, weights, **problem.options),
            engine.transpose(other, weights, **problem.options),
            engine.pool(other, AVG, problem.kernel, **problem.pooling),
        ]
        for ours, theirs in zip(got, expected, strict=True):
            if engine.name == "numpy":
                assert same_bits(ours, theirs)
            else:
                np.testing.assert_allclose(ours, theirs, rtol=0, atol=problem.bound)


def test_interleaved_pixels_stay_interleaved(engine: Engine):
    pixels = np.random.default_rng(3).random((20, 30, 3), dtype=np.float32)
    seen = pixels.transpose(2, 0, 1)[:, None]
    weights = np.arange(6, dtype=np.float32).reshape(1, 1, 2, 3)
    got = engine.correlate(seen, weights, stride=(1, 1), dilation=(1, 1))
    assert got.shape == (3, 1, 19, 28)
    assert got[:, 0].transpose(1, 2, 0).flags.c_contiguous


def test_large_blocks_are_cut_as_small_ones(engine: Engine):
    # Past the size of every tile: rows, columns, items and maps are cut somewhere.
    rng = np.random.default_rng(11)
    for shape, bank in (
        ((2, 1, 700, 300), (1, 1, 2, 3)),
        ((2, 2, 300, 700), (5, 2, 3, 2)),
        ((1, 1, 300001), (4, 1, 3)),
    ):
        x, weights = rng.normal(size=shape), rng.normal(size=bank)
        rank = len(shape) - 2
        expected = CONVOLVE[rank - 1](torch.from_numpy(x), torch.from_numpy(weights)).numpy()
        for dtype, bound in ((np.float64, 1e-12), (np.float32, 1e-4)):
            got = engine.correlate(
                x.astype(dtype), weights.astype(dtype), stride=(1,) * rank, dilation=(1,) * rank
            )
            np.testing.assert_allclose(got, expected, rtol=0, atol=bound)


# Refusals


ONES = np.ones((1, 2, 6, 5), np.float32)
FOUR_D = np.ones((1, 1, 1, 1, 1, 1), np.float32)


@pytest.mark.parametrize(
    "x, weights, options, message",
    [
        (ONES, np.ones((1, 2, 7, 2), "f4"), {}, "kernel 7 is larger than the input 6"),
        (ONES, np.ones((1, 2, 2, 3), "f4"), {"dilation": (1, 3)}, "larger than the input 5"),
        (ONES, np.ones((1, 3, 2, 2), "f4"), {}, "2 channels do not fit a kernel with 3 inputs"),
        (ONES, np.ones((3, 1, 2, 2), "f4"), {"groups": 2}, r"groups \(=2\)"),
        (ONES, np.ones((1, 2, 2), "f4"), {}, "do not fit data"),
        (ONES, np.ones((1, 2, 2, 2), "f8"), {}, "types must be equal"),
        (ONES, np.ones((1, 2, 0, 2), "f4"), {}, "do not fit data"),
        (ONES[:, :, :0], np.ones((1, 2, 2, 2), "f4"), {}, "holds no data"),
        (ONES[:0], np.ones((1, 2, 2, 2), "f4"), {}, "holds no data"),
        (ONES.astype("i4"), np.ones((1, 2, 2, 2), "i4"), {}, "not in int32"),
        (ONES, np.ones((1, 2, 2, 2), "f4"), {"stride": (0, 1)}, "stride 0"),
        (ONES, np.ones((1, 2, 2, 2), "f4"), {"stride": (1,)}, "one number an axis"),
        (FOUR_D, FOUR_D, {"stride": (1,) * 4, "dilation": (1,) * 4}, "at most 3"),
        (np.ones((1, 1), "f4"), np.ones((1, 1), "f4"), {"stride": (), "dilation": ()}, "no space axes"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(engine: Engine, x, weights, options, message):
    options = {"stride": (1, 1), "dilation": (1, 1), **options}
    with pytest.raises(UsageError, match=message) as caught:
        engine.correlate(x, weights, **options)
    assert "\n" not in str(caught.value)


def test_a_pool_larger_than_the_data_is_refused(engine: Engine):
    with pytest.raises(UsageError, match="larger than the input 6"):
        engine.pool(ONES, MAX, (7, 1), stride=(1, 1), dilation=(1, 1))


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("fortran",), "unknown engine 'fortran': use numpy or torch"),
        (("numpy", "cuda"), "runs on the cpu only"),
        (("torch", "toaster"), "unknown device 'toaster'"),
        (("torch", "meta"), "runs on cpu and cuda"),
        (("torch", "cuda:99"), "no device 'cuda:99'"),
        (("numpy", "cpu", 0), "0 threads"),
        (("torch", "cpu", -2), "-2 threads"),
    ],
)
def test_engines_that_cannot_be_had(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        get_engine(*arguments)
    assert caught.value.exit_code == 2


def test_numpy_does_not_wait_for_torch():
    code = "import sys; from convcli.engines import get_engine; get_engine('numpy'); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"
