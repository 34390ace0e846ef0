"""Kernels: the model, and every way to write one."""

from __future__ import annotations

import io
import itertools
import math
import struct
import sys
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage, signal

from convcli.errors import ConvError, UsageError
from convcli.kernel import Combine, Kernel, load_kernel
from convcli.kernel.analysis import Separation, filters, separation, symmetries
from convcli.kernel.model import MAX_WEIGHTS
from convcli.numerals import number_text, parse_float, parse_number


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
    ("text", "slug"), [("1,0,-1", "k1x3"), ("1,0;-1,2;3,4", "k3x2"), ("1,2|3,4", "k2x1x2")]
)
def test_inline_slugs(text: str, slug: str) -> None:
    assert load_kernel(text).slug == slug


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("1,2;3", ("row 2 has 1 numbers", "first row has 2")),
        ("1,2;3,4|5,6", ("frame 2 has 1 rows", "first has 2")),
        ("1,2|3,4,5", ("row 1 of frame 2", "3 numbers")),
        ("1,x", ("row 1, entry 2", "'x'")),
        ("1,,2", ("row 1, entry 2", "empty")),
        ("1,2;", ("row 2, entry 1", "empty")),
        ("1|2,y", ("frame 2, row 1, entry 2", "'y'")),
        ("1e200,1e999", ("beyond what a float holds",)),
        ("1,nan", ("'nan' is not a number",)),
        ("1 0 -1", ("'1 0 -1' is not a number",)),
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
        ("box:x", ("''", "not a number")),
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
        ("qqqq", ("no kernel named 'qqqq' (see `convcli kernels list`)",)),
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
    one_line(caught, "kernel file", "No such file", exit_code=1)
    (tmp_path / name.partition("#")[0]).mkdir()
    with pytest.raises(ConvError) as caught:
        load_kernel(str(tmp_path / name))
    one_line(caught, "kernel file", "Is a directory", exit_code=1)


# Arrays in files


@pytest.mark.parametrize("dtype", ["<f4", ">f8", "<i2", "|u1", "?", "<f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.array([[1, 2, 3], [0, 5, 6]]).astype(dtype, order=order)
    np.save(tmp_path / "Own.NPY.npy", array)
    (tmp_path / "Own.NPY.npy").rename(tmp_path / "Own k.NPY")
    kernel = load_kernel(str(tmp_path / "Own k.NPY"))
    np.testing.assert_array_equal(kernel.array(), array[None, None].astype(float))
    assert kernel.slug == "Own-k"


@pytest.mark.parametrize(
    ("shape", "full"),
    [
        ((2,), (1, 1, 2)),
        ((2, 3), (1, 1, 2, 3)),
        ((2, 3, 4), (1, 1, 2, 3, 4)),
        ((6, 3, 5, 4), (6, 3, 5, 4)),
        ((2, 1, 3, 5, 4), (2, 1, 3, 5, 4)),
    ],
)
def test_npy_dimensions(tmp_path: Path, shape: tuple[int, ...], full: tuple[int, ...]) -> None:
    array = np.arange(math.prod(shape), dtype=float).reshape(shape)
    np.save(tmp_path / "k.npy", array)
    kernel = load_kernel(str(tmp_path / "k.npy"))
    assert kernel.shape == full
    assert kernel.weights == tuple(array.ravel())


def test_weights_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    np.save(tmp_path / "sub" / "w.npy", [[[1, 2], [3, 5]]])
    (tmp_path / "sub" / "k.yaml").write_text("weights: w.npy\nrank: 2\nscale: 1/3\nbias: 1")
    monkeypatch.chdir(tmp_path)
    kernel = load_kernel("sub/k.yaml")
    assert kernel.shape == (1, 1, 2, 2)
    assert kernel.weights == (1 / 3, 2 / 3, 1.0, 5 / 3)
    assert kernel.bias == (1,)
    assert kernel.slug == "k"


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save) -> None:
    save(tmp_path / "two.npz", **{"conv1.weight": [[1, 2]], "b": [3]})
    kernel = load_kernel(f"{tmp_path}/two.npz#conv1.weight")
    assert (kernel.weights, kernel.slug) == ((1, 2), "two-conv1.weight")
    save(tmp_path / "one.npz", w=[4, 5])
    assert load_kernel(f"{tmp_path}/one.npz").weights == (4, 5)
    for text, part in (("two.npz", "holds several arrays"), ("two.npz#c", "has no array 'c'")):
        with pytest.raises(ConvError) as caught:
            load_kernel(f"{tmp_path}/{text}")
        one_line(caught, part, "conv1.weight, b", exit_code=1)


def npy_bytes(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(text: str) -> bytes:
    data = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data


GOOD_NPY = npy_bytes(np.arange(6.0))
BAD_NPY = [
    (npy_bytes(np.array([{"a": 1}], dtype=object)), "pickled objects", 1),
    (GOOD_NPY[:-1], "cut short", 1),
    (GOOD_NPY[:30], "damaged", 1),
    (GOOD_NPY[:7], "damaged", 1),
    (b"", "damaged", 1),
    (b"not an array", "damaged", 1),
    (b"\x93NUMPY\x09\x00" + GOOD_NPY[8:], "damaged", 1),
    (
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 1000)}"),
        "more than 10,000,000",
        2,
    ),
    (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,)}"), "empty", 2),
    (header("__import__('os').system('true')"), "damaged", 1),
    (npy_bytes(np.array([1j])), "real numbers, not complex128", 2),
    (npy_bytes(np.array(["a"])), "real numbers, not <U1", 2),
    (npy_bytes(np.array([(1, 2.0)], dtype="i4,f8")), "real numbers", 2),
    (npy_bytes(np.array([1, np.nan])), "must be finite", 2),
    (npy_bytes(np.array(3.0)), "weights 0 deep do not make a kernel", 2),
    (npy_bytes(np.zeros((2, 0))), "empty", 2),
    (npy_bytes(np.zeros((1,) * 6)), "weights 6 deep do not make a kernel", 2),
]


@pytest.mark.parametrize(("data", "part", "exit_code"), BAD_NPY, ids=[part for _, part, _ in BAD_NPY])
def test_npy_faults(tmp_path: Path, data: bytes, part: str, exit_code: int) -> None:
    (tmp_path / "k.npy").write_bytes(data)
    with pytest.raises(ConvError) as caught:
        load_kernel(str(tmp_path / "k.npy"))
    one_line(caught, "k.npy", part, exit_code=exit_code)
    with zipfile.ZipFile(tmp_path / "k.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", data)
    with pytest.raises(ConvError) as caught:
        load_kernel(str(tmp_path / "k.npz"))
    one_line(caught, "k.npz", part, exit_code=exit_code)


def test_damaged_npz(tmp_path: Path) -> None:
    path = tmp_path / "k.npz"
    np.savez_compressed(path, w=np.arange(1000.0))
    good = path.read_bytes()
    middle = len(good) // 2
    for data in (b"", b"PK", good[:middle], good[:200] + b"\xff" * 50 + good[250:]):
        path.write_bytes(data)
        with pytest.raises(ConvError) as caught:
            load_kernel(str(path))
        one_line(caught, "k.npz", "no .npz file, or a damaged one", exit_code=1)


def test_safetensors_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(ConvError) as caught:
        load_kernel("net.safetensors#w")
    one_line(caught, "net.safetensors#w", "pip install safetensors", exit_code=1)


def test_safetensors(tmp_path: Path) -> None:
    numpy_io = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "net.safetensors"
    numpy_io.save_file({"a": np.float32([[1, 2]]), "b": np.float32([3])}, path)
    assert load_kernel(f"{path}#a").weights == (1, 2)
    for text, part in ((str(path), "holds several arrays"), (f"{path}#c", "has no array 'c'")):
        with pytest.raises(ConvError) as caught:
            load_kernel(text)
        one_line(caught, part, exit_code=1)
    for data in (b"", b"12345678", path.read_bytes()[:-1]):
        path.write_bytes(data)
        with pytest.raises(ConvError) as caught:
            load_kernel(f"{path}#a")
        one_line(caught, "no .safetensors file, or a damaged one", exit_code=1)


# The model


def test_from_array_of_lists_and_rank() -> None:
    assert Kernel.from_array([1, 2]).name == "array"
    assert Kernel.from_array(np.ones((4, 3, 3)), rank=2).shape == (4, 1, 3, 3)
    for bad in ([[1, 2], [3]], ["a"], [], 1, [[[[[[1]]]]]]):
        with pytest.raises(UsageError) as caught:
            Kernel.from_array(bad, "mine")
        one_line(caught, "'mine'")


def test_too_many_weights_are_refused_before_they_are_copied() -> None:
    with pytest.raises(UsageError, match="more than 10,000,000"):
        Kernel.from_array(np.broadcast_to(np.float32(1), (MAX_WEIGHTS + 1,)))


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"shape": (1, 1, 3)}, "2 weights do not fill 1x1x3"),
        ({"shape": (1, 2)}, "0 axes of space"),
        ({"shape": (1, 1, 1, 1, 1, 2)}, "4 axes of space"),
        ({"bias": (1, 2)}, "2 biases for 1 outputs"),
        ({"origin": (2,)}, "origin 2 lies outside"),
        ({"origin": (0, 0)}, "one index for each of 1 axes"),
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


def test_one_sided_sum_is_the_largest_response_to_zero_and_one() -> None:
    assert Kernel("k", (1, 1, 3), (3, -1, -1), bias=(100,)).one_sided_sum == 3
    assert Kernel("k", (1, 1, 3), (1, -3, -1)).one_sided_sum == 4
    assert Kernel("k", (2, 1, 2), (1, -3, 2, 0)).one_sided_sum == 3
    assert Kernel("k", (2, 1, 2), (1, -3, 2, 0), combine=Combine.SUM).one_sided_sum == 3
    assert Kernel("k", (2, 1, 2), (3, -3, 4, -4), combine=Combine.MAGNITUDE).one_sided_sum == 5


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
    found = separation(tuple(product.ravel().tolist()), size)
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
        assert (separation(tuple(matrix.ravel().tolist()), (3, 2)) is not None) == separable


def test_factors_are_simple() -> None:
    def factors(text: str) -> Separation | None:
        kernel = load_kernel(text)
        return separation(kernel.weights, kernel.size)

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
    assert symmetries(load_kernel(text)) == expected


def test_filters_of_a_bank() -> None:
    assert filters(Kernel.from_array(np.arange(8).reshape(2, 2, 1, 2))) == [(0, 1), (2, 3), (4, 5), (6, 7)]


def test_a_kernel_filters_as_scipy_does() -> None:
    """The array has the orientation of cross-correlation: row 0 of the weights meets the upper rows."""
    data = np.random.default_rng(5).normal(size=(6, 7))
    kernel = load_kernel("1,2,3;4,5,-6")
    expected = signal.correlate2d(data, [[1, 2, 3], [4, 5, -6]], mode="valid")
    windows = np.lib.stride_tricks.sliding_window_view(data, kernel.size)
    np.testing.assert_allclose(np.einsum("yxij,ij->yx", windows, kernel.array()[0, 0]), expected)
