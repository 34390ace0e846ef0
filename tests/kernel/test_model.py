"""The kernel model, and what can be seen in a kernel."""

from __future__ import annotations

import io
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import signal

from convcli.common.errors import ConvError, UsageError
from convcli.kernel import Combine, Kernel, load_kernel
from convcli.kernel.analysis import Separation, separation, symmetries


def one_line(caught: pytest.ExceptionInfo[ConvError], *parts: str, exit_code: int = 2) -> None:
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "\n" not in message
    assert len(message) < 300
    assert caught.value.exit_code == exit_code


# The model


def test_from_array_of_lists_and_rank() -> None:
    assert Kernel.from_array([1, 2]).name == "array"
    assert Kernel.from_array(np.ones((4, 3, 3)), rank=2).shape == (4, 1, 3, 3)
    for bad in ([[1, 2], [3]], ["a"], [], 1, [[[[[[1]]]]]]):
        with pytest.raises(UsageError) as caught:
            Kernel.from_array(bad, "mine")
        one_line(caught, "'mine'")


def test_what_is_no_text_and_what_is_masked_is_no_kernel() -> None:
    for wrong in ([], None, 3, np.eye(3)):
        with pytest.raises(UsageError, match="is not possible: give a text"):
            load_kernel(wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="masked in part"):
        Kernel.from_array(np.ma.masked_less(np.eye(3), 0.5))


def test_too_many_weights_are_refused_before_they_are_copied() -> None:
    with pytest.raises(UsageError, match="more than 10,000,000"):
        Kernel.from_array(np.broadcast_to(np.float32(1), (10_000_001,)))


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"shape": (1, 1, 3)}, "2 weights do not fill 1x1x3"),
        ({"shape": (1, 2)}, "0 axes of space"),
        ({"shape": (1, 1, 1, 1, 1, 2)}, "4 axes of space"),
        ({"bias": (1, 2)}, "2 biases for 1 outputs"),
        ({"origin": (2,)}, "origin 2 lies outside"),
        ({"origin": (0, 0)}, "one index an axis, and there are 1"),
        ({"weights": (1, math.inf)}, "finite"),
        ({"bias": (math.nan,)}, "finite"),
    ],
)
def test_parts_that_do_not_fit(parts: dict, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        Kernel(**{"name": "k", "shape": (1, 1, 2), "weights": (1, 2), **parts})


@pytest.mark.parametrize(("size", "origin"), [((3, 3), (1, 1)), ((2, 4), (0, 1)), ((1, 5), (0, 2))])
def test_default_origin(size: tuple[int, ...], origin: tuple[int, ...]) -> None:
    assert Kernel.from_array(np.ones(size)).origin == origin


def test_flipped_mirrors_space_and_origin_only() -> None:
    weights = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    kernel = Kernel("k", weights.shape, tuple(weights.ravel().tolist()), bias=(1, 2), origin=(0, 3))
    flipped = kernel.flipped()
    np.testing.assert_array_equal(flipped.array(), weights[:, :, ::-1, ::-1])
    assert (flipped.origin, flipped.bias) == ((3, 1), (1, 2))
    assert flipped.flipped() == kernel


@given(
    st.integers(1, 3),
    st.lists(st.integers(-5, 5), min_size=6, max_size=6),
    st.lists(st.integers(-9, 9), min_size=3, max_size=3),
    st.sampled_from(Combine),
    st.sampled_from([(0, 255), (-3, 2), (1, 4), (-7, -1)]),
)
def test_output_range_holds_every_result(
    outputs: int, numbers: list, biases: list, combine: Combine, ends
) -> None:
    """Results of all corners of the inputs' cube lie within, and touch the bounds where they are exact."""
    taps = 2
    rows = np.reshape(numbers[: outputs * taps], (outputs, taps))
    kernel = Kernel(
        "k", (outputs, 1, taps), tuple(rows.ravel().tolist()), tuple(biases[:outputs]), combine=combine
    )
    corners = np.array(list(itertools.product(ends, repeat=taps)))
    results = corners @ rows.T + np.array(biases[:outputs])
    match combine:
        case Combine.MAGNITUDE:
            results = np.sqrt((results**2).sum(axis=1))
        case Combine.MAX:
            results = results.max(axis=1)
        case Combine.SUM:
            results = results.sum(axis=1)
    low, high = kernel.output_range(*ends)
    assert low <= results.min() + 1e-9
    assert high >= results.max() - 1e-9
    if combine in (Combine.NONE, Combine.SUM):
        assert (low, high) == (results.min(), results.max())
    if outputs == 1 and combine is Combine.MAX:
        assert (low, high) == (results.min(), results.max())


def test_magnitude_of_one_output_is_its_size() -> None:
    kernel = Kernel("k", (1, 1, 2), (1, -2), combine=Combine.MAGNITUDE)
    assert kernel.output_range(0, 10) == (0, 20)
    assert kernel.with_bias([30]).output_range(0, 10) == (10, 40)
    assert kernel.with_bias([-30]).output_range(0, 10) == (20, 50)


def test_sums_and_signs() -> None:
    kernel = Kernel("k", (1, 1, 3), (0.1, 0.2, -0.3))
    assert kernel.zero_sum
    assert not kernel.non_negative
    assert Kernel("k", (1, 1, 2), (0.0, 1.0)).non_negative
    assert not Kernel("k", (2, 1, 2), (1, -1, 2, -1)).zero_sum
    assert (
        Kernel("k", (2, 1, 1), (1, 2)).maps,
        Kernel("k", (2, 1, 1), (1, 2), combine=Combine.MAX).maps,
    ) == (2, 1)


@pytest.mark.parametrize(
    ("weights", "combine", "policy"),
    [
        ((1, -1), Combine.NONE, "offset"),
        ((1, -1), Combine.MAX, "offset"),
        ((1, -1), Combine.MAGNITUDE, "clip"),
        ((2, -1), Combine.NONE, "clip"),
        ((0.1, 0.2), Combine.NONE, "clip"),
    ],
)
def test_display_policy_without_a_wish(weights: tuple, combine: Combine, policy: str) -> None:
    kernel = Kernel("k", (1, 1, 2), weights, combine=combine)
    assert str(kernel.display_policy) == policy


# What can be seen in a kernel


@pytest.mark.parametrize("size", [(4,), (3, 2), (2, 3, 4)])
def test_separation_of_outer_products(size: tuple[int, ...]) -> None:
    generator = np.random.default_rng(7)
    factors = [generator.normal(size=k) for k in size]
    product = factors[0]
    for factor in factors[1:]:
        product = np.multiply.outer(product, factor)
    found = separation(product)
    assert found is not None
    rebuilt = found.scale * np.array(found.factors[0])
    for factor in found.factors[1:]:
        rebuilt = np.multiply.outer(rebuilt, factor)
    np.testing.assert_allclose(rebuilt, product, rtol=1e-12)


def test_separation_agrees_with_the_rank_of_the_matrix() -> None:
    generator = np.random.default_rng(3)
    for _ in range(200):
        matrix = generator.integers(-1, 2, size=(3, 2))
        separable = np.linalg.matrix_rank(matrix) <= 1
        assert (separation(matrix) is not None) == separable


def test_factors_are_simple() -> None:
    def factors(text: str) -> Separation | None:
        kernel = load_kernel(text)
        return separation(kernel.array()[0, 0])

    assert factors("sobel-x") == Separation(1, ((1, 2, 1), (-1, 0, 1)))
    assert factors("sobel-y") == Separation(1, ((-1, 0, 1), (1, 2, 1)))
    assert factors("box:3x2") == Separation(1 / 6, ((1, 1, 1), (1, 1)))
    assert factors("-2,-4;-2,-4") == Separation(2, ((-1, -1), (1, 2)))
    assert factors("0,0;0,0") == Separation(0, ((1, 1), (1, 1)))
    assert factors("laplacian4") is None
    gaussian = factors("gaussian:sigma=2x1")
    assert gaussian is not None
    assert gaussian.scale == 1
    assert [sum(factor) for factor in gaussian.factors] == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,2,1", ("left-right",)),
        ("1,0,-1", ("anti left-right",)),
        ("1,2,3", ()),
        ("0,0", ()),
        ("1,2;3,4", ()),
        ("1,2;2,1", ("point",)),
        ("1,2;-2,-1", ("anti point",)),
        ("1,2;1,2", ("up-down",)),
        ("sobel-x", ("anti left-right", "up-down", "anti point")),
        ("motion", ("left-right", "up-down", "anti front-back", "anti point")),
        ("sobel", ("anti point",)),
        ("gaussian", ("left-right", "up-down", "point")),
    ],
)
def test_symmetries(text: str, expected: tuple[str, ...]) -> None:
    assert symmetries(np.concatenate(load_kernel(text).array())) == expected


def test_a_kernel_filters_as_scipy_does() -> None:
    """The array has the orientation of cross-correlation: row 0 of the weights meets the upper rows."""
    data = np.random.default_rng(5).normal(size=(6, 7))
    kernel = load_kernel("1,2,3;4,5,-6")
    expected = signal.correlate2d(data, [[1, 2, 3], [4, 5, -6]], mode="valid")
    windows = np.lib.stride_tricks.sliding_window_view(data, kernel.size)
    np.testing.assert_allclose(np.einsum("yxij,ij->yx", windows, kernel.array()[0, 0]), expected)


@pytest.mark.parametrize(
    ("text", "size", "greys"),
    [
        (
            "0,1,4;2,3,0",
            (42 * 3, 42 * 2),
            [[0, 64, 255], [128, 191, 0]],
        ),  # quarters of 255, rounded half to even
        ("-2,0,1", (42 * 3, 42), [[0, 128, 191]]),
    ],
)
def test_notebooks_show_weights_as_greys(text: str, size: tuple[int, int], greys: list[list[int]]) -> None:
    made = load_kernel(text)._repr_png_()
    assert made is not None
    with Image.open(io.BytesIO(made)) as picture:
        assert picture.size == size
        np.testing.assert_array_equal(np.asarray(picture)[21::42, 21::42], greys)


def test_notebooks_show_filters_side_by_side_and_nothing_of_a_statistic() -> None:
    made = load_kernel("sobel")._repr_png_()
    assert made is not None
    with Image.open(io.BytesIO(made)) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (126, 126 + 8 + 126) and (pixels[:, 126:134] == 255).all()
    np.testing.assert_array_equal(pixels[21::42, 21:126:42], [[64, 128, 191], [0, 128, 255], [64, 128, 191]])
    assert load_kernel("median:3")._repr_png_() is None
