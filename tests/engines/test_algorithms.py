"""Every algorithm, against torch in float64: error, layouts, NaN, blocks."""

from __future__ import annotations

import subprocess
import sys
from functools import reduce
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from torch.nn import functional as F

from convcli.common.choices import EngineName
from convcli.engines import base, get_engine
from convcli.engines.algorithms import (
    ALGORITHMS,
    NumpyBox,
    NumpyDirect,
    NumpyFft,
    NumpySeparable,
    TorchFft,
    ways,
)
from convcli.engines.interface import Algorithm
from convcli.engines.native import library
from convcli.engines.work import Work, fft_tile, smooth
from convcli.geometry.pools import AVG
from convcli.kernel.analysis import separable_terms

CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
ALL = [pytest.param(one, id=f"{one.engine}-{one}") for found in ALGORITHMS.values() for one in found]


def reference(x: np.ndarray, weights: np.ndarray, **options: tuple[int, ...]) -> np.ndarray:
    data, kernel = (torch.from_numpy(np.array(array, float)) for array in (x, weights))
    return CONVOLVE[x.ndim - 2](data, kernel, **options).numpy()


def work_of(x: np.ndarray, weights: np.ndarray, stride: tuple[int, ...], dilation: tuple[int, ...]) -> Work:
    one = weights.shape[:2] == (1, 1)
    return Work(
        sizes=x.shape[2:],
        kernel=weights.shape[2:],
        stride=stride,
        dilation=dilation,
        inputs=weights.shape[1],
        outputs=weights.shape[0],
        products=len(separable_terms(weights[0, 0]) or ()) if one else 0,
        box=one and len(set(weights.ravel().tolist())) == 1,
    )


def kernel_for(
    algorithm: Algorithm, random: np.random.Generator, size: tuple[int, ...], maps: tuple[int, int]
) -> np.ndarray:
    """Return weights that the algorithm offers to work on: dense where it can, else of few terms, else even."""
    weights = random.normal(size=(*maps, *size))
    if algorithm.name == "box":
        weights[:] = 0.7
    elif "separable" in algorithm.name:
        terms = [[random.normal(size=k) for k in size] for _ in range(random.integers(1, 3))]
        weights = sum(reduce(np.multiply.outer, term) for term in terms).reshape(1, 1, *size)
    return weights


@st.composite
def problems(draw: st.DrawFn) -> dict:
    rank = draw(st.integers(1, 3))
    axes = lambda lo, hi: tuple(draw(st.integers(lo, hi)) for _ in range(rank))  # noqa: E731
    kernel, dilation, spare = axes(1, 9 if rank < 3 else 4), axes(1, 2), axes(0, 40 if rank < 3 else 9)
    return {
        "kernel": kernel,
        "dilation": dilation,
        "stride": axes(1, 2) if draw(st.booleans()) else (1,) * rank,
        "sizes": tuple(d * (k - 1) + 1 + n for k, d, n in zip(kernel, dilation, spare, strict=True)),
        "items": draw(st.integers(1, 3)),
        "maps": draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (4, 1)])),
        "dtype": draw(st.sampled_from(["float32", "float64"])),
        "layout": tuple(draw(st.permutations(range(rank + 2)))),
        "seed": draw(st.integers(0, 2**16)),
    }


def arrays(algorithm: Algorithm, problem: dict) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(problem["seed"])
    weights = kernel_for(algorithm, random, problem["kernel"], problem["maps"]).astype(problem["dtype"])
    x = random.uniform(0, 255, (problem["items"], weights.shape[1], *problem["sizes"])).astype(
        problem["dtype"]
    )
    layout = problem["layout"]
    return np.ascontiguousarray(x.transpose(layout)).transpose(np.argsort(layout)), weights


def bound(algorithm: Algorithm, x: np.ndarray, weights: np.ndarray) -> float:
    """The stated error: of the largest absolute sum of a kernel times the largest datum."""
    share = algorithm.error if x.dtype == np.float32 else 1e-13
    return share * np.abs(weights).sum(axis=tuple(range(1, weights.ndim))).max() * np.abs(x).max()


@pytest.mark.parametrize("algorithm", ALL)
@settings(max_examples=60)
@given(problem=problems())
def test_the_error_is_what_it_says(algorithm: Algorithm, problem: dict) -> None:
    x, weights = arrays(algorithm, problem)
    options = {"stride": problem["stride"], "dilation": problem["dilation"]}
    if not algorithm.offers(work_of(x, weights, **options)):
        return
    got = get_engine(algorithm.engine).correlate(x, weights, algorithm=algorithm, **options)
    assert got.dtype == x.dtype
    np.testing.assert_allclose(
        got, reference(x, weights, **options), rtol=0, atol=bound(algorithm, x, weights)
    )


@pytest.mark.parametrize("algorithm", ALL)
def test_large_and_even_data(algorithm: Algorithm) -> None:
    """Roundings that all go the same way, tiles that end inside the data, interleaved pixels."""
    random = np.random.default_rng(5)
    cases = [
        ((1, 1, 60, 900), (21, 35)),
        ((3, 1, 90, 300), (5, 3)),
        ((3, 1, 30, 200), (3, 70)),
        ((2, 1, 9001), (201,)),
    ]
    for shape, size in cases:
        rank = len(size)
        maps = (4, 1) if algorithm.name == "native" else (1, 1)
        options = {"stride": (1,) * rank, "dilation": (1,) * rank}
        for even in (False, True):
            weights = kernel_for(algorithm, random, size, maps).astype(np.float32)
            x = random.integers(0, 256, shape).astype(np.float32)
            if even:
                weights[:] = 1 / np.prod(size)
                x[:] = 254.7
            x = np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)
            if algorithm.offers(work_of(x, weights, **options)):
                got = get_engine(algorithm.engine).correlate(x, weights, algorithm=algorithm, **options)
                want = reference(x, weights, **options)
                np.testing.assert_allclose(got, want, rtol=0, atol=bound(algorithm, x, weights))


@pytest.mark.parametrize("algorithm", ALL)
@pytest.mark.parametrize("levels", [(253, 253), (0, 255), (252, 255)])
@pytest.mark.parametrize("size", [(15, 15), (5, 101)])
def test_bytes_are_off_by_less_than_a_fraction_of_a_level(
    algorithm: Algorithm, levels: tuple[int, int], size: tuple[int, int]
) -> None:
    """2**-12 of one for kernels whose absolute sum is 1; even surfaces are the worst case of sums."""
    random = np.random.default_rng(4)
    for even in (False, True):
        weights = kernel_for(algorithm, random, size, (4, 1) if algorithm.name == "native" else (1, 1))
        weights = np.ones_like(weights) if even else weights
        weights = (weights / np.abs(weights).sum(axis=(1, 2, 3), keepdims=True)).astype(np.float32)
        x = random.integers(levels[0], levels[1], (1, 1, 70, 200), endpoint=True).astype(np.float32)
        options = {"stride": (1, 1), "dilation": (1, 1)}
        if algorithm.offers(work_of(x, weights, **options)):
            engine = get_engine(algorithm.engine)
            got = engine.correlate(x, weights, algorithm=algorithm, finite=True, **options)
            assert np.abs(got - reference(x, weights, **options)).max() < 2**-12


@pytest.mark.parametrize("algorithm", ALL)
@settings(max_examples=40)
@given(problem=problems(), bad=st.sampled_from([np.nan, np.inf, -np.inf]))
def test_bad_values_spoil_exactly_their_windows(algorithm: Algorithm, problem: dict, bad: float) -> None:
    x, weights = arrays(algorithm, problem)
    options = {"stride": problem["stride"], "dilation": problem["dilation"]}
    if not algorithm.offers(work_of(x, weights, **options)):
        return
    holes = np.zeros(x.shape)
    holes[tuple(np.random.default_rng(problem["seed"]).integers(0, x.shape))] = 1
    spoiled = reference(holes, np.ones(weights.shape), **options) > 0
    x[holes > 0] = bad

    got = get_engine(algorithm.engine).correlate(x, weights, algorithm=algorithm, **options)

    assert np.array_equal(~np.isfinite(got), spoiled)
    clean = reference(np.where(holes > 0, 0, x), weights, **options)
    good = np.where(spoiled, 0, got)
    limit = bound(algorithm, np.where(holes > 0, 0, x), weights)
    np.testing.assert_allclose(good, np.where(spoiled, 0, clean), rtol=0, atol=limit)


def uneven(draw: st.DrawFn, shape: tuple[int, ...]) -> np.ndarray:
    """Draw data in which places far apart differ much: fills, patches, spikes, zeros, ramps, even areas."""
    random = np.random.default_rng(draw(st.integers(0, 2**16)))
    scale = draw(st.sampled_from([1e-3, 1.0, 100.0]))
    kind = draw(st.sampled_from(["noise", "even", "ramp", "zeros", "fading"]))
    x = random.normal(size=shape)
    if kind == "even":
        x[:] = 0.9
    elif kind == "ramp":
        x[:] = np.arange(shape[-1]) / shape[-1]
    elif kind == "zeros":
        x[..., shape[-1] // 3 :] = 0
    elif kind == "fading":
        x *= 10.0 ** -np.linspace(0, draw(st.integers(1, 30)), shape[-1])
    x *= scale
    fill = draw(st.sampled_from([None, -9999.0, 1e20, -3e38, 1e-30]))
    if fill is not None:
        corner = [slice(at, at + draw(st.integers(1, 4))) for at in map(random.integers, shape[2:])]
        x[(..., *corner)] = fill
    return x


@st.composite
def uneven_problems(draw: st.DrawFn) -> dict:
    rank = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 6 if rank < 3 else 3)) for _ in range(rank))
    dilation = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    space = tuple(draw(st.integers(12, (400, 90, 24)[rank - 1])) for _ in range(rank))
    maps = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (4, 1)]))
    return {
        "kernel": kernel,
        "options": {"stride": (draw(st.sampled_from([1, 1, 2])),) * rank, "dilation": dilation},
        "maps": maps,
        "x": uneven(draw, (draw(st.integers(1, 2)), maps[1], *space)),
        "dtype": draw(st.sampled_from(["float32", "float32", "float64"])),
        "seed": draw(st.integers(0, 2**16)),
        "compiled": draw(st.booleans()),
    }


def nearby(
    x: np.ndarray, kernel: tuple[int, ...], stride: tuple[int, ...], dilation: tuple[int, ...]
) -> np.ndarray:
    """Return the largest value, of all channels, within two windows' widths of each output's window."""
    seen = np.abs(x).max(axis=1)
    for axis, (k, step, gap) in enumerate(zip(kernel, stride, dilation, strict=True), 1):
        size, count = gap * (k - 1) + 1, (seen.shape[axis] - gap * (k - 1) - 1) // step + 1
        reach = 2 * size if k > 1 else 0  # along other axes nothing is mixed
        padded = np.pad(seen, [(reach, reach) if one == axis else (0, 0) for one in range(seen.ndim)])
        wide = sliding_window_view(padded, size + 2 * reach, axis).max(axis=-1)
        seen = wide.take(np.arange(count) * step, axis)
    return seen[:, np.newaxis]


@pytest.mark.parametrize("algorithm", ALL)
@settings(max_examples=40)
@given(problem=uneven_problems())
def test_an_error_is_not_felt_far_away(algorithm: Algorithm, problem: dict) -> None:
    """At most the bound of what lies in an output's own window, or of the largest value within two windows of it."""
    random = np.random.default_rng(problem["seed"])
    weights = kernel_for(algorithm, random, problem["kernel"], problem["maps"])
    x, weights = (array.astype(problem["dtype"]) for array in (problem["x"], weights))
    options = problem["options"]
    x = x[:, : weights.shape[1]]
    if not algorithm.offers(work_of(x, weights, **options)):
        return
    engine = get_engine(algorithm.engine)
    loops = library.loops() if problem["compiled"] else None
    with patch.object(base, "PART", 64), patch.object(library, "loops", lambda: loops):
        got = engine.correlate(x, weights, algorithm=algorithm, **options)
    want, own = reference(x, weights, **options), reference(np.abs(x), np.abs(weights), **options)
    share = algorithm.error if x.dtype == np.float32 else 1e-13
    sums = np.abs(weights.astype(float)).sum(axis=tuple(range(1, weights.ndim)))
    near = nearby(x.astype(float), weights.shape[2:], **options) * sums.reshape(-1, *[1] * (x.ndim - 2))
    held = own < np.finfo(x.dtype).max / 4
    limit = share * np.maximum(own, near)
    assert (np.abs(got - want) <= limit)[held].all()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("space", "kernel"), [((3000,), (90,)), ((100, 120), (11, 9)), ((30, 40, 50), (4, 5, 6))]
)
@pytest.mark.parametrize("algorithm", [NumpyFft(), TorchFft()])
def test_windows_on_zeros_give_zero(
    algorithm: Algorithm, space: tuple[int, ...], kernel: tuple[int, ...], compiled: bool
) -> None:
    """Where all within two windows is zero, it is no rounding noise of a transform; every other result is there."""
    random = np.random.default_rng(4)
    x, weights = random.normal(size=(2, 1, *space)), random.normal(size=(2, 1, *kernel))
    x[..., space[-1] // 3 :] = 0
    x[(..., *(n // 2 for n in space))] = 0.5
    options = {"stride": (1,) * len(space), "dilation": (1,) * len(space)}
    seen = reference(x != 0, np.ones((1, 1, *kernel)), **options) > 0.5
    loops = library.loops() if compiled else None
    with patch.object(library, "loops", lambda: loops):
        got = get_engine(algorithm.engine).correlate(x, weights, algorithm=algorithm, **options)
    empty = np.broadcast_to(nearby(x, kernel, **options) == 0, got.shape)
    assert empty.any()
    np.testing.assert_array_equal(got[empty], 0)
    assert got[np.broadcast_to(seen, got.shape)].all()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
@pytest.mark.parametrize(
    ("space", "widths"),
    [((100,), (7,)), ((100,), (33,)), ((9, 50), (2, 20)), ((9, 5), (1, 1)), ((5, 6, 7), (2, 3, 1))],
)
def test_a_cell_holds_its_largest_magnitude(
    space: tuple[int, ...], widths: tuple[int, ...], dtype: str, compiled: bool
) -> None:
    """Each cell alone, by its definition; the last of a row are narrower, and no zero has a sign."""
    random = np.random.default_rng(5)
    x = random.integers(-(2**15), 2**15, (2, 3, *space)).astype(dtype)
    x[0, :, : space[0] // 2] = x.dtype.type(-0.0)
    x[1, 0, 0] = np.nan if x.dtype.kind == "f" else np.iinfo(dtype).min
    x = x[:, : random.integers(1, 4)]
    with patch.object(library, "loops", library.loops if compiled else lambda: None):
        got = base._magnitudes(x, widths)
    assert got.shape == (2, *(-(-n // width) for n, width in zip(space, widths, strict=True)))
    assert not np.signbit(got).any()
    for item, *cell in np.ndindex(got.shape):
        place = [slice(at * width, (at + 1) * width) for at, width in zip(cell, widths, strict=True)]
        within = x[(item, slice(None), *place)].astype(float)
        np.testing.assert_equal(float(got[(item, *cell)]), np.abs(within).max())


@pytest.mark.parametrize("engine", ALGORITHMS)
@settings(max_examples=40)
@given(problem=uneven_problems())
def test_an_error_of_transposed_sums_and_mean_pools_stays_in_its_window(
    engine: EngineName, problem: dict
) -> None:
    """At most the bound of what an output adds up: no value beside it is allowed for."""
    random, options = np.random.default_rng(problem["seed"]), problem["options"]
    outputs, inputs = problem["maps"]
    x = problem["x"].astype(problem["dtype"])
    weights = random.normal(size=(outputs, inputs, *problem["kernel"])).astype(problem["dtype"])
    share = 1e-5 if x.dtype == np.float32 else 1e-13
    transposed = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][len(problem["kernel"]) - 1]

    def laid_down(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        taps = torch.from_numpy(weights.astype(float).swapaxes(0, 1).copy())
        return transposed(torch.from_numpy(x.astype(float)), taps, **options).numpy()

    def means(x: np.ndarray) -> np.ndarray:
        each = x.astype(float).reshape(-1, 1, *x.shape[2:])
        found = reference(each, np.ones((1, 1, *problem["kernel"])), **options) / np.prod(problem["kernel"])
        return found.reshape(*x.shape[:2], *found.shape[2:])

    made = get_engine(engine)
    for got, want, own in (
        (made.transpose(x, weights, **options), laid_down(x, weights), laid_down(abs(x), abs(weights))),
        (made.pool(x, AVG, problem["kernel"], **options), means(x), means(abs(x))),
    ):
        held = own < np.finfo(x.dtype).max / 4 / np.prod(problem["kernel"])
        tiny = np.finfo(x.dtype).tiny  # floats below it have fewer digits
        assert (np.abs(got - want) <= share * own + tiny)[held].all()


@pytest.mark.parametrize(
    "algorithm", [one for one in ALL if one.values[0].reproducible and one.values[0].engine == "numpy"]
)
@settings(max_examples=40)
@given(problem=problems(), share=st.floats(0, 1))
def test_the_block_shape_never_changes_a_reproducible_result(
    algorithm: Algorithm, problem: dict, share: float
) -> None:
    x, weights = arrays(algorithm, problem)
    options = {"stride": problem["stride"], "dilation": problem["dilation"]}
    if not algorithm.offers(work_of(x, weights, **options)):
        return
    x.flat[int(share * (x.size - 1))] = np.nan
    engine = get_engine("numpy")
    whole = engine.correlate(x, weights, algorithm=algorithm, **options)
    count = whole.shape[2]
    start = int(share * (count - 1))
    step, extent = problem["stride"][0], problem["dilation"][0] * (problem["kernel"][0] - 1) + 1
    part = x[:, :, start * step : (count - 1) * step + extent]
    alone = engine.correlate(part, weights, algorithm=algorithm, **options)
    assert np.array_equal(alone, whole[:, :, start:], equal_nan=True)


def test_pixels_stay_interleaved() -> None:
    pixels = np.random.default_rng(3).random((20, 330, 3), dtype=np.float32)
    seen = pixels.transpose(2, 0, 1)[:, None]
    for algorithm in (NumpyDirect(), NumpyBox(), NumpySeparable(), TorchFft()):
        weights = np.ones((1, 1, 3, 4), np.float32)
        got = get_engine(algorithm.engine).correlate(
            seen, weights, stride=(1, 1), dilation=(1, 1), algorithm=algorithm
        )
        assert got[:, 0].transpose(1, 2, 0).flags.c_contiguous


def test_a_job_gives_torchs_threads_back() -> None:
    before = torch.get_num_threads()
    with get_engine("torch", threads=before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_tiles_are_as_long_as_the_data_or_a_few_kernels() -> None:
    assert fft_tile((31, 31), (3030, 542)) == (512, 576)
    assert fft_tile((1, 9, 9), (5, 100, 2000)) == (5, 120, 512)
    assert fft_tile((31, 31), (1054, 1054)) == (384, 384)  # 3 times 342 outputs need no 512
    assert [smooth(n) for n in (1, 7, 11, 542)] == [8, 8, 16, 576]
    assert smooth(490) == 512


def test_every_engine_can_do_everything_somehow() -> None:
    for engine in ALGORITHMS:
        awkward = Work((9, 9), (2, 2), (2, 1), (1, 3), inputs=3, outputs=5)
        costs = [one.cost(awkward) for one in ways(engine, awkward)]
        assert costs
        assert costs == sorted(costs)


def test_the_algorithms_can_be_asked_without_an_array_library() -> None:
    code = (
        "import sys; from convcli.engines.algorithms import EngineName, Work, ways; "
        "found = ways(EngineName.TORCH, Work((900, 900), (9, 9), (1, 1), (1, 1))); "
        "print(len(found), sorted({'numpy', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
