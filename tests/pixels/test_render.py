"""Every range policy at its edges, against the definitions in the docs (half to even, zero at mid grey)."""

from __future__ import annotations

import numpy as np
import pytest

from convcli.common.errors import UsageError
from convcli.pixels.measures import Measured
from convcli.pixels.ranges import Float, parse_range
from convcli.pixels.render import Tally, Target, render

NAN, INF = float("nan"), float("inf")


def rendered(
    values: list[float],
    policy: str,
    dtype: str = "uint8",
    bound: float = 255.0,
    measured: Measured | None = None,
):
    target = Target(dtype, full_scale=float(np.iinfo(dtype).max), bound=bound, compute="float64")
    how = parse_range(policy).rendering(target, measured)
    pixels, tally = render(np.array(values, np.float64), how)
    assert pixels.dtype == dtype
    return pixels.tolist(), tally


@pytest.mark.parametrize(
    ("value", "pixel", "clipped"),
    [
        (0, 0, 0), (255, 255, 0), (-0.5, 0, 0), (-0.51, 0, 1), (255.4, 255, 0), (255.5, 255, 1),
        (254.5, 254, 0), (0.5, 0, 0), (1.5, 2, 0), (-1, 0, 1), (256, 255, 1), (INF, 255, 1), (-INF, 0, 1),
    ],
)  # fmt: skip
def test_clip_rounds_half_to_even_and_counts(value: float, pixel: int, clipped: int) -> None:
    pixels, tally = rendered([value], "clip")
    assert pixels == [pixel]
    assert tally == Tally(values=1, clipped=clipped, nans=0)


def test_nan_is_black_and_counted() -> None:
    pixels, tally = rendered([NAN, 7, NAN, 300], "clip")
    assert pixels == [0, 7, 0, 255]
    assert tally == Tally(values=4, clipped=1, nans=2)


def test_all_nan() -> None:
    assert rendered([NAN, NAN], "minmax", measured=(0.0, 0.0))[0] == [0, 0]


def test_clip_in_16_bits() -> None:
    pixels, tally = rendered([65535, 65535.6, -1, 254.5, 65534.5], "clip", "uint16")
    assert pixels == [65535, 65535, 0, 254, 65534]
    assert tally.clipped == 2


def test_abs_takes_the_size_then_clips() -> None:
    pixels, tally = rendered([-3, 3, -300, -INF, 0], "abs")
    assert pixels == [3, 3, 255, 255, 0]
    assert tally.clipped == 2


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_offset_puts_zero_at_mid_grey_and_gain_one_never_clips(dtype: str) -> None:
    middle = (np.iinfo(dtype).max + 1) // 2
    bound = 3.0 * np.iinfo(dtype).max
    pixels, tally = rendered([0, bound, -bound, bound / 2], "offset", dtype, bound)
    assert pixels[:3] == [middle, np.iinfo(dtype).max, 1]
    assert abs(pixels[3] - (middle + (middle - 1) / 2)) <= 0.5
    assert tally.clipped == 0


def test_offset_gain_widens_the_contrast_and_clips_beyond() -> None:
    pixels, tally = rendered([0, 382.5, 765, -765], "offset:2", bound=765)
    assert pixels == [128, 255, 255, 0]
    assert tally.clipped == 2


def test_offset_of_a_kernel_of_zeros() -> None:
    assert rendered([0, 0], "offset", bound=0)[0] == [128, 128]


def test_window_maps_its_ends_to_black_and_white() -> None:
    pixels, tally = rendered([-10, 10, 0, 11], "-10:10")
    assert pixels == [0, 255, 128, 255]
    assert tally.clipped == 1


def test_window_in_percent_of_full_scale() -> None:
    assert rendered([1020, 510], "0%:400%")[0] == [255, 128]
    assert rendered([4 * 65535], "0%:400%", "uint16")[0] == [65535]


def test_minmax_uses_the_measured_range() -> None:
    assert rendered([5, 15, 10], "minmax", measured=(5.0, 15.0))[0] == [0, 255, 128]


def test_minmax_of_a_flat_picture_is_black() -> None:
    assert rendered([5, 5], "minmax", measured=(5.0, 5.0))[0] == [0, 0]


def test_float_keeps_everything() -> None:
    values = np.array([-1.5, NAN, INF, 1e30])
    how = Float().rendering(Target("float64", full_scale=255, bound=1, compute="float64"))
    pixels, tally = render(values.copy(), how)
    np.testing.assert_array_equal(pixels, values)
    assert tally.clipped == 0


def test_float_into_integers_is_refused() -> None:
    with pytest.raises(UsageError, match="float cannot be written as uint8"):
        Float().rendering(Target("uint8", full_scale=255, bound=1, compute="float64"))


def test_64_bit_limits_do_not_overflow() -> None:
    pixels, _ = rendered([1e30, -1e30], "clip", "int64")
    assert pixels[0] > 9.2e18
    assert pixels[1] == np.iinfo("int64").min
