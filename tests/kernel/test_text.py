"""Kernels as text: numbers, inline weights, parametric names, and the look-up of names."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from convcli.common.errors import ConvError, UsageError
from convcli.common.numbers import number_text, parse_float, parse_number
from convcli.kernel import load_kernel


def one_line(caught: pytest.ExceptionInfo[ConvError], *parts: str, exit_code: int = 2) -> None:
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "\n" not in message
    assert len(message) < 300
    assert caught.value.exit_code == exit_code


# Numbers


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-.5", "-1/2"),
        ("+1.", 1),
        ("1e-3", "1/1000"),
        (" 1 / 9 ", "1/9"),
        ("0.1", "1/10"),
        ("1/-0.5", -2),
    ],
)
def test_numbers_are_exact(text: str, value: int | str) -> None:
    assert parse_number(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "nan",
        "inf",
        "1_000",
        "1,5",
        "0x10",
        "１",
        "1/0",
        "1//2",
        "1e9999",
        "1e",
        "--1",
        "1 2",
        "9" * 101,
    ],
)
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_number(text, "scale")
    one_line(caught, "scale: ")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_reads_back_the_same(value: float) -> None:
    assert parse_float(repr(value)) == value


def test_short_texts_of_numbers() -> None:
    assert [number_text(v) for v in (1 / 3, -2 / 7, 0.1, 1e-9, 123456.0, math.pi, 1e20)] == [
        "1/3", "-2/7", "0.1", "1e-09", "123456", "3.14159", "1e+20",
    ]  # fmt: skip


# Inline text


def test_inline_ranks() -> None:
    assert load_kernel("1,0,-1").shape == (1, 1, 3)
    assert load_kernel("1,2,3;4,5,6").shape == (1, 1, 2, 3)
    assert load_kernel("1;2").shape == (1, 1, 2, 1)
    assert load_kernel("1,2,3;4,5,6|7,8,9;10,11,12").weights == tuple(map(float, range(1, 13)))
    assert load_kernel("1|2").shape == (1, 1, 2, 1, 1)
    assert load_kernel("-2").shape == (1, 1, 1)


def test_inline_fractions_are_exact_and_spaces_fine() -> None:
    assert load_kernel(" 1/9 , -2 / 3; .5,1e-3 ").weights == (1 / 9, -2 / 3, 0.5, 0.001)


@pytest.mark.parametrize(
    "text",
    [
        "1 2 3; 4 5 6",
        "1,2,3 4,5,6",
        "1 2 3\n4 5 6\n",
        "3x2: 1,2,3 4,5,6",
        "3x2:1 2 3 4 5 6",
        " 1, 2,3  4,5 ,6",
    ],
)
def test_weights_may_be_spelled_as_other_tools_do(text: str) -> None:
    assert load_kernel(text).array()[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]


def test_a_square_of_one_number_is_imagemagicks() -> None:
    assert load_kernel("2: 1,2 3,4").array()[0, 0].tolist() == [[1, 2], [3, 4]]
    assert load_kernel("1 2 3").size == (3,)


@pytest.mark.parametrize(
    ("text", "slug"), [("1,0,-1", "k1x3"), ("1,0;-1,2;3,4", "k3x2"), ("1,2|3,4", "k2x1x2")]
)
def test_inline_slugs(text: str, slug: str) -> None:
    assert load_kernel(text).slug == slug


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2;3", ("row 2 has 1 number,", "first row has 2")),
        ("1,2;3,4|5,6", ("frame 2 has 1 rows", "first has 2")),
        ("1,2|3,4,5", ("row 1 of frame 2", "3 numbers")),
        ("1,x", ("row 1, entry 2", "'x'")),
        ("1,,2", ("row 1, entry 2", "empty")),
        ("1,2;", ("row 2, entry 1", "empty")),
        ("1|2,y", ("frame 2, row 1, entry 2", "'y'")),
        ("1e200,1e999", ("beyond what a float holds",)),
        ("1,nan", ("'nan' is not a number",)),
        ("1 0 -1 a", ("row 1, entry 4", "'a' is not a number")),
        ("3x2: 1 2 3 4 5", ("3 columns and 2 rows are 6 numbers, not 5",)),
        ("1,2;3 4,5", ("row 2 has 3 numbers",)),
        ("1,\n\nx", ("entry 2",)),
    ],
)
def test_inline_faults(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        load_kernel(text)
    one_line(caught, *parts)


@given(
    st.integers(1, 3).flatmap(lambda rank: st.lists(st.integers(1, 3), min_size=rank, max_size=rank)),
    st.data(),
)
def test_inline_holds_any_array(shape: list[int], data: st.DataObject) -> None:
    numbers = data.draw(
        st.lists(st.floats(-1e9, 1e9), min_size=math.prod(shape), max_size=math.prod(shape)), label="weights"
    )
    frames = np.reshape(numbers, (*(1,) * (3 - len(shape)), *shape)).tolist()
    text = "|".join(";".join(",".join(map(repr, row)) for row in rows) for rows in frames)
    assert load_kernel(text).weights == tuple(numbers)


# Parametric names, against scipy.ndimage


def impulse_response(size: tuple[int, ...], function, *arguments, **options) -> np.ndarray:
    impulse = np.zeros(size)
    impulse[tuple(k // 2 for k in size)] = 1
    return function(impulse, *arguments, mode="constant", **options)


@pytest.mark.parametrize(("sigma", "text"), [((1.0, 1.0), "1"), ((2.0, 0.7), "2x0.7"), ((0.1, 0.1), "0.1")])
def test_gaussian_is_scipys(sigma: tuple[float, ...], text: str) -> None:
    kernel = load_kernel(f"gaussian:sigma={text}")
    assert kernel.size == tuple(2 * int(4 * s + 0.5) + 1 for s in sigma)
    expected = impulse_response(kernel.size, ndimage.gaussian_filter, sigma)
    np.testing.assert_allclose(kernel.array()[0, 0], expected, rtol=1e-13, atol=1e-18)
    assert kernel.sum == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_log_is_scipys_with_sum_zero(rank: int) -> None:
    kernel = load_kernel("log:sigma=1.4", rank)
    expected = impulse_response(kernel.size, ndimage.gaussian_laplace, 1.4)
    np.testing.assert_allclose(kernel.array()[0, 0], expected - expected.mean(), atol=1e-15)
    assert kernel.rank == rank
    assert kernel.zero_sum


def test_dog_is_the_difference_of_two_gaussians() -> None:
    kernel = load_kernel("dog:sigma=1.5,ratio=2")
    near, far = (impulse_response(kernel.size, ndimage.gaussian_filter, s, radius=12) for s in (1.5, 3))
    np.testing.assert_allclose(kernel.array()[0, 0], near - far, atol=1e-15)


@pytest.mark.parametrize(
    ("text", "sigma", "amount"),
    [("", (1, 1), 1), (":2", (2, 2), 1), (":sigma=2x0.7,amount=-0.3", (2, 0.7), -0.3)],
)
def test_unsharp_adds_what_a_gaussian_removes(text: str, sigma: tuple[float, ...], amount: float) -> None:
    image = np.random.default_rng(4).uniform(size=(19, 18))
    expected = image + amount * (image - ndimage.gaussian_filter(image, sigma, mode="constant", truncate=4))
    found = ndimage.correlate(image, load_kernel(f"unsharp{text}").array()[0, 0], mode="constant")
    np.testing.assert_allclose(found, expected, atol=1e-14)


def test_box_takes_the_rank_of_the_data_or_its_own() -> None:
    assert load_kernel("box:5", 1).weights == (1 / 5,) * 5
    assert load_kernel("box").size == (3, 3)
    assert load_kernel("box:3x7", 1).weights == (1 / 21,) * 21
    assert load_kernel("box:size=2x3x4").size == (2, 3, 4)


def test_identity_keeps_even_sizes_at_the_origin() -> None:
    assert load_kernel("identity", 1).weights == (1.0,)
    kernel = load_kernel("identity:4x3")
    assert kernel.array()[0, 0][kernel.origin] == 1
    assert kernel.sum == kernel.absolute_sum == 1


def test_binomial_is_pascals_triangle() -> None:
    assert load_kernel("binomial:5", 1).weights == (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
    assert load_kernel("binomial:2x3").weights == (1 / 8, 2 / 8, 1 / 8) * 2


def test_motion_blur_is_a_diagonal() -> None:
    np.testing.assert_array_equal(load_kernel("motion-blur:4", 1).array()[0, 0], np.eye(4) / 4)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("gaussian:sigma=2x1", "gaussian-sigma=2x1"),
        ("box:3x7", "box-3x7"),
        ("dog:sigma=1,ratio=2", "dog-sigma=1-ratio=2"),
    ],
)
def test_parametric_names_and_slugs(text: str, slug: str) -> None:
    kernel = load_kernel(text)
    assert (kernel.name, kernel.slug) == (text, slug)
    assert kernel.description
    assert kernel.source


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("box:0", ("size 0",)),
        ("box:-3", ("size -3",)),
        ("box:2.5", ("size 2.5",)),
        ("box:x", ("'x' is not understood", "as in box:5")),
        ("box:", ("'' is not understood", "box:5")),
        ("box:3,5", ("'5' is not understood", "size")),
        ("box:sigma=3", ("'sigma=3' is not understood", "size")),
        ("box:size=3,size=5", ("'size=5'",)),
        ("box:3x3x3x3", ("up to 3 axes",)),
        ("box:nan", ("'nan'",)),
        ("box:99999x99999", ("more than 10,000,000",)),
        ("box:1e300", ("more than 10,000,000",)),
        ("gaussian:sigma=0", ("sigma 0", "above 0")),
        ("gaussian:sigma=-1", ("sigma -1",)),
        ("gaussian:sigma=2x0", ("sigma 0",)),
        ("gaussian:sigma=inf", ("'inf'",)),
        ("gaussian:sigma=1e6", ("more than 10,000,000",)),
        ("gaussian:1e308", ("more than 10,000,000",)),
        ("gaussian:1e999", ("beyond what a float holds",)),
        ("gaussian:sigma", ("'sigma' is not a number",)),
        ("log:sigma=0.01", ("too small",)),
        ("dog:ratio=1", ("ratio 1",)),
        ("unsharp:2,1x2", ("amount takes one value",)),
        ("dog:sigma=1x2,ratio=2x2x2", ("one for each of up to 3 axes",)),
        ("motion-blur:3x5", ("takes one value",)),
        ("motion-blur:99999", ("more than 10,000,000",)),
        ("binomial:1001", ("too large",)),
    ],
)
def test_parametric_faults(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        load_kernel(text)
    one_line(caught, *parts)


def test_tiny_sigmas_are_no_trouble() -> None:
    assert load_kernel("gaussian:sigma=1e-300", 1).weights == (1.0,)


# Look-up


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("hegde", ("no kernel named 'hegde'", "nearest: hedge", "convcli kernels list")),
        ("Sobel_X", ("sobel-x",)),
        ("gausian:sigma=2", ("gaussian",)),
        ("kernel.txt", ("ends in .yaml",)),
        ("opening", ("-k min:3 -k max:3",)),
        ("denoise", ("median:3", "gaussian:1")),
        ("contrast", ("--range",)),
        ("qqqq", ("no kernel named 'qqqq' (see `convcli kernels list`)",)),
        ("gausian:sigma=1.5", ("no kernel named 'gausian:sigma=1.5'; nearest: gaussian",)),
        ("gausian:1/2", ("no kernel named 'gausian:1/2'; nearest: gaussian",)),
        ("quantile:5,0.9", ("no kernel named 'quantile:5,0.9'; try percentile:5,90",)),
        ("edge-x", ("try sobel-x or sobel-y",)),
        ("", ("the kernel is empty",)),
        ("   ", ("the kernel is empty",)),
        ("sobel,prewitt", ("no kernel named 'sobel,prewitt'",)),
        ("./kernel.txt", ("ends in .yaml, .yml, .npy",)),
        ("../hedge", ("ends in .yaml",)),
        ("x" * 500, ("no kernel named 'xxx",)),
    ],
)
def test_unknown_names(text: str, parts: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        load_kernel(text)
    one_line(caught, *parts)


def test_a_library_name_wins_over_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("hedge").write_text("weights: [5]")
    Path("hedge.yaml").write_text("weights: [5]")
    assert load_kernel("hedge").size == (3, 3)
    assert load_kernel("hedge.yaml").size == (1,)


@pytest.mark.parametrize("name", ["a.yaml", "a.npy", "a.npz", "a.npz#w"])
def test_missing_files_and_folders(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConvError) as caught:
        load_kernel(str(tmp_path / name))
    one_line(caught, "kernel file", "no such file", exit_code=1)
    (tmp_path / name.partition("#")[0]).mkdir()
    with pytest.raises(ConvError) as caught:
        load_kernel(str(tmp_path / name))
    one_line(caught, "kernel file", "it is a folder", exit_code=1)
