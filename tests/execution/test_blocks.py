"""The block runner against torch float64 on data that numpy.pad has padded: any geometry, any block size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from convcli.common.choices import Channels, Missing
from convcli.common.errors import ConvError, UsageError
from convcli.data.info import ArraySource
from convcli.execution.pipeline import Pipeline
from convcli.geometry.grammar import parse_pool
from convcli.geometry.layers import Pool
from convcli.geometry.padding import PaddingName, PadMode
from convcli.geometry.pools import AVG, MAX, MIN, POOLS, MaxPool, PoolKind
from convcli.jobs.bind import Settings, bind
from convcli.jobs.job import Job
from convcli.kernel.model import Kernel
from convcli.pixels.ranges import Float, MinMax, Percentile, Range
from convcli.plan.choose import EngineName, Resources
from tests import pad_modes
from tests.window_statistics import OF_NUMPY

ENGINES = ["numpy"]
FLOAT = Float()
CONV = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}
TRANSPOSED = {
    1: torch.nn.functional.conv_transpose1d,
    2: torch.nn.functional.conv_transpose2d,
    3: torch.nn.functional.conv_transpose3d,
}


def computed(
    array: np.ndarray,
    kernels: list[Kernel],
    how: Settings,
    *,
    axes: str,
    step: int,
    engine: str = "numpy",
    missing: Missing = Missing.PROPAGATE,
    channels: Channels = Channels.EACH,
    compute: str = "float64",
) -> np.ndarray:
    source = ArraySource(array, axes)
    letters = axes.replace("C", "")
    sizes = [source.info.size(letter) for letter in letters]
    filtered = 1 if channels in (Channels.LUMA, Channels.GREY) else source.info.channels
    how = replace(how, sum_channels=channels is Channels.SUM)
    chain = bind(kernels, how, letters, sizes, filtered)
    job = Job(source.info, chain, channels, FLOAT, compute, compute, missing)
    job.check()
    result = Pipeline(job, source, Resources(EngineName(engine)), step=step).array()
    assert result.shape == job.result.shape
    return result


def random_kernel(random: np.random.Generator, shape: tuple[int, ...], bias: bool = False) -> Kernel:
    weights = random.normal(size=shape)
    return Kernel(
        "random",
        shape,
        tuple(weights.ravel().tolist()),
        bias=tuple(random.normal(size=shape[0]).tolist()) if bias else (),
    )


def expected_conv(
    array: np.ndarray, kernel: Kernel, how: Settings, rank: int, channels_first: bool
) -> np.ndarray:
    """Pad with numpy, correlate with torch; gives (M, C, *space) or (M, *space) for kernels that sum."""
    pads = [(0, 0)] * (array.ndim - rank) + list(how.padding or ())
    padded = pad_modes.padded(array, pads, how.pad_mode or PadMode.ZERO, how.pad_value or 0.0)
    weights = torch.from_numpy(kernel.array())
    if how.flip:
        weights = weights.flip(tuple(range(2, weights.ndim)))
    x = torch.from_numpy(padded)
    x = x[None] if kernel.inputs > 1 else x.reshape(-1, 1, *x.shape[array.ndim - rank :])
    y = CONV[rank](
        x, weights, torch.tensor(kernel.bias, dtype=torch.float64), stride=how.stride, dilation=how.dilation
    ).numpy()
    return y[0] if kernel.inputs > 1 else y.swapaxes(0, 1)


@st.composite
def geometries(draw: st.DrawFn) -> dict[str, object]:
    rank = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(rank))
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    # Padding may be larger than the data, and the data smaller than the kernel.
    sizes = tuple(draw(st.integers(1, 9)) for _ in range(rank))
    padding = tuple(
        (draw(st.integers(max(0, r - n), r + n + 3)), draw(st.integers(0, r + 2)))
        for r, n in zip(reach, sizes, strict=True)
    )
    return {
        "rank": rank,
        "kernel": kernel,
        "sizes": sizes,
        "channels": draw(st.integers(1, 3)),
        "outputs": draw(st.integers(1, 3)),
        "summed": draw(st.booleans()),
        "step": draw(st.integers(1, 12)),
        "engine": draw(st.sampled_from(ENGINES)),
        "seed": draw(st.integers(0, 2**32 - 1)),
        "settings": Settings(
            stride=tuple(draw(st.integers(1, 3)) for _ in range(rank)),
            dilation=dilation,
            padding=padding,
            pad_mode=(mode := draw(st.sampled_from(list(PadMode)))),
            pad_value=2.5 if mode is PadMode.CONSTANT else None,
            flip=draw(st.booleans()),
        ),
    }


@settings(max_examples=250)
@given(geometries())
def test_any_geometry_in_any_blocks(case: dict) -> None:
    random = np.random.default_rng(case["seed"])
    rank, channels = case["rank"], case["channels"]
    array = random.normal(size=(channels, *case["sizes"]))
    inputs = channels if case["summed"] else 1
    kernel = random_kernel(random, (case["outputs"], inputs, *case["kernel"]), bias=True)
    want = expected_conv(array, kernel, case["settings"], rank, True)
    axes = "C" + "ZYX"[-rank:]
    got = computed(array, [kernel], case["settings"], axes=axes, step=case["step"], engine=case["engine"])
    np.testing.assert_allclose(got.reshape(want.shape), want, rtol=0, atol=1e-11)


@settings(max_examples=100)
@given(geometries())
def test_transposed_in_any_blocks(case: dict) -> None:
    random = np.random.default_rng(case["seed"])
    rank = case["rank"]
    array = random.normal(size=case["sizes"])
    kernel = random_kernel(random, (case["outputs"], 1, *case["kernel"]))
    how = case["settings"]
    how = Settings(
        stride=how.stride,
        dilation=how.dilation,
        transposed=True,
        output_padding=tuple(max(0, s - 1) for s in how.stride),
    )
    got = computed(array, [kernel], how, axes="ZYX"[-rank:], step=case["step"], engine=case["engine"])
    weights = torch.from_numpy(kernel.array()).swapaxes(0, 1)
    want = TRANSPOSED[rank](
        torch.from_numpy(array)[None, None],
        weights,
        stride=how.stride,
        dilation=how.dilation,
        output_padding=how.output_padding
        if all(o < max(s, d) for o, s, d in zip(how.output_padding, how.stride, how.dilation, strict=True))
        else 0,
    )[0].numpy()
    np.testing.assert_allclose(got.reshape(want.shape), want, rtol=0, atol=1e-11)


def _largest(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = torch.nn.functional.max_pool2d(torch.from_numpy(x)[None], 3, 2, 1, ceil_mode=True)[
        0
    ].numpy()
    return found


def _mean(x: np.ndarray) -> np.ndarray:
    options = {"ceil_mode": True, "count_include_pad": False}
    found: np.ndarray = torch.nn.functional.avg_pool2d(torch.from_numpy(x)[None], 3, 2, 1, **options)[
        0
    ].numpy()
    return found


def _of_numpy(name: str, x: np.ndarray) -> np.ndarray:
    around = np.pad(x, 2, constant_values=np.nan)[1:, 1:]
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3))[::2, ::2]
    return OF_NUMPY[name](windows.reshape(*windows.shape[:2], 9), axis=-1)


# Windows of 3 at every second place, one place of padding, the last window over the end
OTHERS_POOLS: dict[PoolKind, Callable[[np.ndarray], np.ndarray]] = {
    **{kind: partial(_of_numpy, str(kind)) for kind in POOLS},
    AVG: _mean,
    MAX: _largest,
    MIN: lambda x: -_largest(-x),
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("step", [1, 2, 5, 100])
@pytest.mark.parametrize("kind", POOLS)
def test_pools_with_ceil_and_padding_in_any_blocks(engine: str, step: int, kind: PoolKind) -> None:
    array = np.random.default_rng(5).normal(size=(13, 11))
    pool = Pool(kind, (3,), stride=(2,), padding=((1, 1),), ceil=True)
    got = computed(array, [], Settings(pool=pool), axes="YX", step=step, engine=engine)
    np.testing.assert_allclose(got, OTHERS_POOLS[kind](array), rtol=0, atol=1e-14)


def test_the_bounds_of_a_mean_hold_the_zeros_that_it_counts() -> None:
    brighter = Kernel("brighter", (1, 1, 1, 1), (1.0,), bias=(50.0,))
    for text, bounds in (
        ("avg:3,p=1", (50, 305)),
        ("avg:3,p=1,include", (0, 305)),
        ("max:3,p=1,include", (50, 305)),
    ):
        chain = bind([brighter], Settings(pool=parse_pool(text)), "YX", (5, 5), 1)
        assert chain.value_range(0, 255) == bounds


class _Sum(MaxPool):
    """A pool whose results leave the range of its samples."""

    within, gain = False, None

    def output_range(self, low: float, high: float, taps: int) -> tuple[float, float]:
        return taps * low, taps * high


def test_a_pool_says_itself_whether_it_leaves_the_range_of_its_samples() -> None:
    for kind, bounds, averages in ((MAX, (-1, 3), True), (_Sum(), (-6, 18), False)):
        pool = Pool(kind, (2, 3), stride=(2,))
        chain = bind([], Settings(pool=pool), "YX", (6, 6), 1)
        assert chain.value_range(-1, 3) == bounds
        assert chain.averages is averages
        assert (chain.growth == (1, 0)) is averages  # integers stay as small as they are


@pytest.mark.parametrize("engine", ENGINES)
def test_a_chain_pads_anew_at_the_border(engine: str) -> None:
    random = np.random.default_rng(9)
    array = random.normal(size=(17, 12))
    kernels = [random_kernel(random, (1, 1, 3, 5)), random_kernel(random, (1, 1, 4, 2))]
    want = array
    for kernel in kernels:
        pads = [((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel.size]
        x = torch.from_numpy(np.pad(want, pads, mode="reflect"))[None, None]
        want = CONV[2](x, torch.from_numpy(kernel.array()))[0, 0].numpy()
    how = Settings(padding=(PaddingName.SAME,), pad_mode=PadMode.REFLECT)
    for step in (1, 3, 100):
        got = computed(array, kernels, how, axes="YX", step=step, engine=engine)
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12)


def test_block_size_never_changes_a_numpy_result() -> None:
    random = np.random.default_rng(2)
    array = random.normal(size=(41, 23)).astype(np.float32)
    kernels = [random_kernel(random, (1, 1, 5, 3)), random_kernel(random, (2, 1, 3, 3))]
    whole = computed(array, kernels, Settings(), axes="YX", step=41, compute="float32")
    for step in (1, 7, 16):
        np.testing.assert_array_equal(
            computed(array, kernels, Settings(), axes="YX", step=step, compute="float32"), whole
        )


@pytest.mark.parametrize("policy", [MinMax(), Percentile(2.5, 90)])
@pytest.mark.parametrize("compute", ["float32", "float64"])
def test_ranges_are_measured_on_the_whole_in_any_blocks_and_threads(policy: Range, compute: str) -> None:
    array = np.random.default_rng(2).normal(1e3, 1, size=(41, 23)).astype(compute)
    array[7, 5] = np.nan
    source = ArraySource(array, "YX")
    chain = bind([Kernel("k", (1, 1, 2, 2), (1.0, 2.0, 0.5, -1.5))], Settings(), "YX", array.shape, 1)
    values = computed(array, list(chain.kernels), Settings(), axes="YX", step=41, compute=compute)
    finite = values[np.isfinite(values)].astype(float)
    low, high = np.percentile(finite, [2.5, 90]) if policy != MinMax() else (finite.min(), finite.max())
    job = Job(source.info, chain, Channels.EACH, policy, "uint8", compute)
    made = []
    for step, threads in ((41, 1), (1, 1), (7, 3)):
        resources = Resources(EngineName.NUMPY, threads=threads)
        got = Pipeline(job, source, resources, step=step).array()[np.isfinite(values)]
        exact = ((finite - low) / (high - low) * 255).clip(0, 255)
        np.testing.assert_allclose(got, exact, rtol=0, atol=0.5001)
        made.append(got.tolist())
    assert made[0] == made[1] == made[2]


def test_nan_skip_renormalises_what_is_there() -> None:
    array = np.array([[1.0, 2.0, np.nan, 4.0], [5.0, np.nan, 7.0, 9.0]])
    kernel = Kernel("weights", (1, 1, 1, 3), (1.0, 2.0, 3.0))
    got = computed(array, [kernel], Settings(padding=((0, 0),)), axes="YX", step=1, missing=Missing.SKIP)
    want = [[(1 + 4) / 3 * 6, (2 + 12) / 4 * 6], [(5 + 21) / 4 * 6, (14 + 27) / 5 * 6]]
    np.testing.assert_allclose(got, want, rtol=1e-15)


def test_nan_skip_of_an_empty_window_stays_missing() -> None:
    kernel = Kernel("mean", (1, 1, 2), (0.5, 0.5))
    got = computed(
        np.array([np.nan, np.nan, 3.0]),
        [kernel],
        Settings(padding=((0, 0),)),
        axes="X",
        step=9,
        missing=Missing.SKIP,
    )
    np.testing.assert_array_equal(got, [np.nan, 3.0])


def test_nan_skip_refuses_negative_weights() -> None:
    kernel = Kernel("edge", (1, 1, 2), (0.5, -0.5))
    with pytest.raises(UsageError, match="negative"):
        computed(np.zeros(5), [kernel], Settings(), axes="X", step=9, missing=Missing.SKIP)


def test_nan_error_says_where() -> None:
    array = np.zeros((6, 4))
    array[4, 2] = np.nan
    kernel = Kernel("mean", (1, 1, 1, 2), (0.5, 0.5))
    with pytest.raises(ConvError, match="y 4, x 2"):
        computed(array, [kernel], Settings(), axes="YX", step=2, missing=Missing.ERROR)


def test_luma_keeps_colour_differences() -> None:
    random = np.random.default_rng(4)
    array = random.uniform(0, 255, size=(9, 8, 3))
    kernel = random_kernel(random, (1, 1, 3, 3))
    got = computed(array, [kernel], Settings(), axes="YXC", step=4, channels=Channels.LUMA)
    luma = array @ np.array([0.2126, 0.7152, 0.0722])
    from scipy.ndimage import correlate

    want = array + (correlate(luma, kernel.array()[0, 0], mode="nearest") - luma)[..., None]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("channels", "weights"), [(Channels.GREY, (0.2126, 0.7152, 0.0722)), (Channels.SUM, (1, 1, 1))]
)
def test_grey_and_sum_give_one_channel(channels: Channels, weights: tuple[float, ...]) -> None:
    from scipy.ndimage import correlate

    random = np.random.default_rng(4)
    array = random.uniform(0, 255, size=(9, 8, 3))
    kernel = random_kernel(random, (1, 1, 3, 3))
    got = computed(array, [kernel], Settings(), axes="YXC", step=4, channels=channels)
    want = correlate(array @ np.array(weights), kernel.array()[0, 0], mode="nearest")
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)
