"""What surrounds an algorithm, under every engine: bytes to floats with their padding, and floats to pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy import signal

from convcli.common.choices import Channels, EngineName
from convcli.common.frozen import frozen
from convcli.data.info import Info
from convcli.engines import get_engine
from convcli.engines.algorithms import ALGORITHMS, NumpyBox
from convcli.engines.base import Engine
from convcli.engines.interface import Algorithm
from convcli.geometry.padding import PadMode
from convcli.jobs.bind import Settings, bind
from convcli.jobs.job import Job
from convcli.kernel import load_kernel
from convcli.kernel.model import Kernel
from convcli.pixels.measures import Measured
from convcli.pixels.ranges import Clip, MinMax, Range, parse_range
from convcli.pixels.render import Rendering, Tally, Target
from tests import pad_modes
from tests.engines.engines import NAMES, engine_named


def named(engine: Engine, name: str) -> Algorithm:
    [found] = [one for one in ALGORITHMS[EngineName(engine.name)] if one.name == name]
    return found


@pytest.fixture(scope="module", params=NAMES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with engine_named(request.param) as engine:
        yield engine


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int64", "float32"])
@pytest.mark.parametrize("mode", PadMode)
def test_padding_gives_floats_of_every_type(engine: Engine, mode: PadMode, dtype: str) -> None:
    data = np.random.default_rng(3).integers(0, 127, (2, 1, 5, 6)).astype(dtype)
    expected = pad_modes.padded(data.astype(np.float32), ((0, 0), (0, 0), (2, 1), (3, 2)), mode, 7)
    for layout in (data, np.asfortranarray(data), np.ascontiguousarray(data[..., ::-1])[..., ::-1]):
        layout.flags.writeable = False
        got = engine.pad(layout, [(-2, 6), (-3, 8)], mode, 7, np.dtype("float32"))
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("value", [-3.0, 0.5, 300.0, 255.0])
def test_a_padding_value_that_no_byte_holds(engine: Engine, value: float) -> None:
    data = np.array([[[[200, 3]]]], np.uint8)
    got = engine.pad(data, [(0, 1), (-1, 2)], PadMode.CONSTANT, value, np.dtype("float32"))
    assert got.tolist() == [[[[value, 200, 3]]]]


def test_what_lies_inside_is_cut_out_and_left_alone(engine: Engine) -> None:
    data = np.arange(24, dtype=np.uint8).reshape(1, 1, 4, 6)
    got = engine.pad(data, [(1, 3), (2, 5)], PadMode.ZERO, 0, np.dtype("float64"))
    assert got.tolist() == [[[[8, 9, 10], [14, 15, 16]]]]
    got += 1
    assert data.ravel().tolist() == list(range(24))


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int8"])
@pytest.mark.parametrize("compute", ["float32", "float64"])
def test_pixels_are_rounded_half_to_even_clipped_and_counted(
    engine: Engine, dtype: str, compute: str
) -> None:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(5)
    wide = (limits.max - limits.min) * 0.75
    values = np.concatenate([rng.uniform(-wide, wide, 995), [0.5, 1.5, 2.5, -0.5, 254.5]]).astype(compute)
    values = values.reshape(4, 1, 10, 25)
    exact = np.rint(values.astype(np.float64) * 2 + 3)
    clipped = int(((exact < limits.min) | (exact > limits.max)).sum())
    how = Rendering(dtype, scale=2.0, offset=3.0, low=limits.min, top=limits.max)
    for layout in (values.copy(), np.asfortranarray(values)):
        pixels, tally = engine.render(layout, how)
        assert pixels.dtype == dtype
        np.testing.assert_array_equal(pixels, exact.clip(limits.min, limits.max))
        assert tally == Tally(values=1000, clipped=clipped)
    assert clipped > 100


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int8"])
@pytest.mark.parametrize(
    ("low", "high"),
    [(77.0, 77.0025), (1e6 - 1, 1e6 + 1), (1e6 + 0.1, 1e6 + 1.3), (-65535.5, -65534.75), (3e-7, 4e-7)],
)
def test_narrow_windows_far_from_zero_keep_their_digits(
    engine: Engine, low: float, high: float, dtype: str
) -> None:
    """Against float64: what is lost is the last digits of float32 data, as seen from the window, and no more."""
    values = np.linspace(low, high, 301, dtype=np.float32)
    limits = np.iinfo(dtype)
    span = float(limits.max - limits.min)
    exact = limits.min + (values.astype(float) - low) / (high - low) * span
    target = Target(dtype, full_scale=255, bound=1, compute="float32")
    how = parse_range(f"{low!r}:{high!r}").rendering(target)
    pixels, _ = engine.render(values.copy(), how)
    np.testing.assert_allclose(pixels, exact.clip(limits.min, limits.max), rtol=0, atol=0.5 + span * 4e-7)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_measured_ends_are_exact(engine: Engine, dtype: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        bottom = np.float32(rng.normal() * 10 ** rng.uniform(-3, 7))
        ceiling = np.float32(bottom + abs(bottom) * 10 ** rng.uniform(-6, 2))
        if bottom == ceiling:
            continue
        measured = (float(bottom), float(ceiling))
        how = MinMax().rendering(Target(dtype, full_scale=255, bound=1, compute="float32"), measured)
        pixels, tally = engine.render(np.array([ceiling, bottom]), how)
        assert pixels.tolist() == [1 if dtype == "float32" else np.iinfo(dtype).max, 0]
        assert tally.clipped == 0


@frozen
class RootRendering(Rendering):
    def apply(self, values: Any, library: Any) -> None:
        library.multiply(values, 1 / 255, out=values)
        library.sqrt(values, out=values)
        library.multiply(values, 255, out=values)


class Root(Range):
    form = example = "root"

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        return target.checked(RootRendering(target.dtype, low=target.low, top=target.top))


@pytest.mark.parametrize("name", ["direct", "fft"])
@pytest.mark.parametrize("top", [255.0, 256.0])
def test_a_policy_may_have_a_mapping_of_its_own(engine: Engine, name: str, top: float) -> None:
    """Not only a scale and an offset."""
    data = np.random.default_rng(3).integers(0, 256, (1, 1, 40, 50), dtype=np.uint8)
    weights = np.full((1, 1, 3, 3), 1 / 9, np.float32)
    target = Target("uint8", full_scale=255, bound=255, compute="float32", reach=(0.0, top))
    how = Root().rendering(target)
    assert how.fits is (top == 255)
    exact = np.sqrt(signal.correlate(data.astype(float), weights, "valid") / 255) * 255
    geometry = {"stride": (1, 1), "dilation": (1, 1), "algorithm": named(engine, name)}
    pixels, _ = engine.pixels(data.astype(np.float32), weights, how=how, **geometry)
    np.testing.assert_allclose(pixels, exact, rtol=0, atol=0.501)


def test_no_numbers_are_black_and_infinities_clip(engine: Engine) -> None:
    how = Rendering("uint8", absolute=True, low=0, top=255)
    values = np.array([np.nan, np.inf, -np.inf, -7, 0, np.nan], np.float32)
    pixels, tally = engine.render(values, how)
    assert pixels.tolist() == [0, 255, 255, 7, 0, 0]
    assert tally == Tally(values=6, clipped=2, nans=2)


@pytest.mark.parametrize(
    ("kernel", "policy", "dtype", "fits"),
    [
        ("box:3", "clip", "uint8", True),
        ("gaussian:sigma=2", "clip", "uint8", True),
        ("box:3", "clip", "float32", False),  # may hold anything
        ("sharpen", "clip", "uint8", False),
        ("hedge", "offset", "uint8", True),
        ("hedge", "offset:2", "uint8", False),
        ("hedge", "abs", "uint8", False),
        ("1/2,-1/2", "abs", "uint8", True),
        ("1/2,-1/2", "clip", "uint8", False),
        ("box:3", "0:254", "uint8", False),
        ("box:3", "0:256", "uint8", True),
    ],
)
def test_what_fits_is_known_before(kernel: str, policy: str, dtype: str, fits: bool) -> None:
    info = Info.of("YX", shape=(9, 9), dtype=dtype)
    chain = bind([load_kernel(kernel)], Settings(), "YX", [9, 9], 1)
    how = Job(info, chain, Channels.EACH, parse_range(policy), "uint8", "float32").rendering()
    assert how.fits is fits


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("excess", [0.3, 0.45, 0.55, 0.75, 0.95])
@pytest.mark.parametrize("sign", [1, -1])
def test_what_fits_does_not_round_beyond_the_range(
    engine: Engine, dtype: str, excess: float, sign: int
) -> None:
    """Results that may exceed white, or fall below black, by less than a level: no pixel may wrap around."""
    white = int(np.iinfo(dtype).max)
    weight = 1 + excess / white if sign > 0 else -excess / white
    chain = bind([Kernel("w", (1, 1, 1, 1), (weight,))], Settings(), "YX", [9, 9], 1)
    how = Job(Info.of("YX", (9, 9), dtype), chain, Channels.EACH, Clip(), dtype, "float32").rendering()
    pixels, tally = engine.render(np.full((1, 1, 9, 9), white * weight, np.float32), how)
    assert np.unique(pixels).tolist() == [white if sign > 0 else 0]
    assert tally.clipped == (81 if excess > 0.5 else 0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("name", ["direct", "separable", "fft"])
@pytest.mark.parametrize("kernel", ["box:31", "gaussian:sigma=12"])
def test_white_stays_white(engine: Engine, kernel: str, name: str, dtype: str) -> None:
    """Sums in float32 may be off by more than half a level of 16 bits, and so lie above white."""
    white = int(np.iinfo(dtype).max)
    chain = bind([load_kernel(kernel)], Settings(), "YX", [200, 700], 1)
    how = Job(Info.of("YX", (200, 700), dtype), chain, Channels.EACH, Clip(), dtype, "float32").rendering()
    pixels, tally = engine.pixels(
        np.full((1, 1, 200, 700), white, np.float32),
        load_kernel(kernel).array(np.dtype("float32")),
        stride=(1, 1),
        dilation=(1, 1),
        algorithm=named(engine, name),
        how=how,
    )
    assert pixels.min() >= white - 1
    assert tally.values == pixels.size


@pytest.mark.parametrize(
    ("dtype", "compute", "fits"),
    [("uint8", "float32", True), ("uint16", "float32", False), ("uint16", "float64", True)],
)
def test_what_fits_allows_for_the_error_of_sums(dtype: str, compute: str, fits: bool) -> None:
    chain = bind([load_kernel("box:31")], Settings(), "YX", [90, 90], 1)
    how = Job(Info.of("YX", (90, 90), dtype), chain, Channels.EACH, Clip(), dtype, compute).rendering()
    assert how.fits is fits


def test_what_fits_is_not_looked_at(engine: Engine) -> None:
    how = Rendering("uint8", low=0, top=255, fits=True)
    pixels, tally = engine.render(np.array([0.2, 254.6, 77.5], np.float32), how)
    assert pixels.tolist() == [0, 255, 78]
    assert tally == Tally(values=3)


SHARPEN = np.array([[0.0, -1.1, 0.3], [-0.9, 5.0, -1.2], [0.2, -0.8, -0.4]])


@pytest.mark.parametrize("name", ["direct"])
@pytest.mark.parametrize("height", [3, 7, 8, 9, 100, 515])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(
    "how",
    [
        Rendering("uint8", low=0, top=255),
        Rendering("uint8", absolute=True, low=0, top=255),
        Rendering("uint8", scale=0.4, offset=128.0, low=0, top=255),
        Rendering("uint8", scale=700.0, offset=-60000.0, low=0, top=255),  # beyond 16 bits on the way
        Rendering("uint8", absolute=True, anchor=60.5, scale=12.0, low=0, top=255),
    ],
    ids=["clip", "abs", "offset", "wide", "anchor"],
)
def test_bytes_become_pixels_and_what_clips_is_counted_once(
    engine: Engine, name: str, height: int, interleaved: bool, how: Rendering
) -> None:
    dilation = (2, 1)
    extent = (5, 3)
    data = np.random.default_rng(height).integers(0, 256, (3, 1, height + 4, 702), dtype=np.uint8)
    if interleaved:
        data = np.ascontiguousarray(data.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    apart = np.zeros(extent)
    apart[::2] = SHARPEN
    exact = np.stack([signal.correlate(item[0].astype(float), apart, "valid") for item in data])[:, None]
    exact = ((abs(exact) if how.absolute else exact) - how.anchor) * how.scale + how.offset
    pixels, tally = engine.pixels(
        data.astype(np.float32, order="K"),
        SHARPEN[None, None].astype(np.float32),
        stride=(1, 1),
        dilation=dilation,
        algorithm=named(engine, name),
        how=how,
    )
    rounded = np.rint(exact)
    sure = abs(exact % 1 - 0.5) > max(1e-2, 1e-7 * 255 * abs(SHARPEN).sum() * how.scale)
    np.testing.assert_array_equal(pixels[sure], rounded.clip(0, 255)[sure])
    assert tally.values == exact.size
    unsure = np.count_nonzero(~sure & ((abs(exact) < 1) | (abs(exact - 255) < 1)))
    assert abs(tally.clipped - np.count_nonzero((rounded < 0) | (rounded > 255))) <= unsure


@pytest.mark.parametrize("columns", [1, 2, 3, 5, 11, 12, 31, 45, 64, 127, 255])
@pytest.mark.parametrize("rows", [2, 31, 128])
@pytest.mark.parametrize("items", [1, 3])
@pytest.mark.parametrize("bright", [False, True])
def test_boxes_of_bytes_are_exact(rows: int, columns: int, items: int, bright: bool) -> None:
    """Against sums of 64 bits; the brightest data reach the limits of 16 bits, and of whole numbers in floats."""
    rng = np.random.default_rng(columns)
    height, width = int(rng.integers(1, 70)), int(rng.integers(1, 90))
    data = rng.integers(
        254 if bright else 0, 256, (height + rows - 1, width + columns - 1, items), dtype=np.uint8
    )
    size = rows * columns
    sums = np.lib.stride_tricks.sliding_window_view(data, (rows, columns), axis=(0, 1)).sum(
        axis=(-2, -1), dtype=np.int64
    )
    for how, mean in (
        (Rendering("uint8", low=0, top=255, fits=True), sums / size),
        (Rendering("uint8", scale=0.5, offset=100, low=0, top=255, fits=True), 100 + sums / (2 * size)),
        (Rendering("uint8", anchor=97.3, scale=40, low=0, top=255), (sums / size - 97.3) * 40),
        (Rendering("uint8", scale=-2.5, offset=400.5, low=0, top=255), 400.5 - 2.5 * sums / size),
        (Rendering("uint8", scale=0.7, offset=-9, absolute=True, low=0, top=255), 0.7 * sums / size - 9),
    ):
        sign = -1 if how.absolute else 1
        pixels, tally = get_engine("numpy").pixels(
            data.transpose(2, 0, 1)[:, None],
            np.full((1, 1, rows, columns), sign / size, np.float32),
            stride=(1, 1),
            dilation=(1, 1),
            algorithm=NumpyBox(),
            how=how,
        )
        rounded = np.rint(mean)
        sure = abs(mean % 1 - 0.5) > 1e-3
        np.testing.assert_array_equal(pixels[:, 0].transpose(1, 2, 0)[sure], rounded.clip(0, 255)[sure])
        outside = np.count_nonzero((rounded < 0) | (rounded > 255))
        unsure = np.count_nonzero(~sure & ((abs(mean) < 1) | (abs(mean - 255) < 1)))
        assert abs(tally.clipped - outside) <= unsure
        assert tally.values == sums.size


@pytest.mark.parametrize(
    "name",
    ["direct", "separable", "fft", "native"],
)
@pytest.mark.parametrize("shape", [(3, 3), (1, 9), (9, 1)])
def test_torch_takes_bytes_for_floats(name: str, shape: tuple[int, int]) -> None:
    """What crosses the bus to a card; here without one."""
    engine = get_engine("torch", "cpu", 1)
    data = np.random.default_rng(5).integers(0, 256, (3, 1, 40, 50), dtype=np.uint8)
    weights = np.outer(np.linspace(0.1, 0.7, shape[0]), np.linspace(0.5, -0.2, shape[1]))[None, None]
    want = signal.correlate(data.astype(float), weights, "valid")
    geometry = {"stride": (1, 1), "dilation": (1, 1), "algorithm": named(engine, name)}
    values = engine.correlate(data, weights.astype(np.float32), **geometry)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, want, atol=2e-3)
    how = Rendering("uint8", offset=100.0, low=0, top=255)
    pixels, _ = engine.pixels(data, weights.astype(np.float32), how=how, **geometry)
    np.testing.assert_allclose(pixels, (want + 100).clip(0, 255), atol=0.502)


@pytest.mark.parametrize("name", ["direct", "fft"])
@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("bad", [False, True])
def test_results_are_written_where_they_belong(
    engine: Engine, name: str, interleaved: bool, bad: bool
) -> None:
    """A block of a larger result: its neighbours are left alone, and nothing is copied afterwards."""
    data = np.random.default_rng(2).random((3, 1, 30, 41), np.float32)
    if bad:
        data[1, 0, 7, 9] = np.nan
    want = np.stack([signal.correlate(item[0].astype(float), SHARPEN, "valid", "direct") for item in data])
    result = np.full((40, 39, 3) if interleaved else (3, 40, 39), -7.0, np.float32)
    rows = result.transpose(2, 0, 1) if interleaved else result
    out = rows[:, None, 5:33]
    if interleaved:
        data = np.ascontiguousarray(data.transpose(1, 2, 3, 0)).transpose(3, 0, 1, 2)
    got = engine.correlate(
        data,
        SHARPEN[None, None].astype(np.float32),
        stride=(1, 1),
        dilation=(1, 1),
        algorithm=named(engine, name),
        out=out,
    )
    np.testing.assert_allclose(got[:, 0], want, atol=1e-5)
    assert (rows[:, :5] == -7).all()
    assert (rows[:, 33:] == -7).all()
    np.testing.assert_array_equal(out, got)
