"""The Python verbs: they refuse what the shell refuses, in the same words, and every engine gives the same."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas
import polars
import pytest
import torch
import xarray
from PIL import Image
from polars import testing as polars_testing
from scipy import linalg, ndimage, signal

import convcli
from convcli import api
from convcli.common.choices import Channels, EngineName, Missing, Precision
from convcli.common.errors import UsageError
from convcli.geometry.padding import PaddingName, PadMode
from convcli.kernel.model import Kernel
from convcli.pixels.ranges import POLICIES
from tests.shell import SAMPLES


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "threads 0"),
        ({"bias": "x"}, "bias 'x'"),
        ({"padding": [(1,)]}, "not a pair"),
        ({"stride": 0}, "stride 0"),
        ({"engine": "tensorflow"}, "engine 'tensorflow'"),
        ({"engine": "x" * 1_000_000}, "^.{1,120}$"),
        ({"stride": 1 << 62}, f"step {1 << 62} is not possible: give 1 to {1 << 40}"),
        ({"dilation": 1 << 62}, f"step {1 << 62} is not possible"),
        ({"threads": np.ones(2, int)}, "threads"),
    ],
)
def test_one_clear_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        convcli.filter(np.eye(6), "hedge", **options)


@pytest.mark.parametrize("size", [1 << 31, 1 << 38, 1 << 200])
def test_a_result_larger_than_any_memory_is_an_error_of_ours(size: int) -> None:
    with pytest.raises(
        convcli.ConvError, match=r"padding makes [\d,]* samples of 64, and 20,000,000 are allowed"
    ):
        convcli.filter(np.eye(8), "box:3", padding=size)
    with pytest.raises(
        convcli.ConvError, match=r"the result would take .* MB of memory|step \d+ is not possible"
    ):
        convcli.filter(np.eye(8), "box:3", transpose=True, stride=size)


class Refuses:
    """What raises where it is asked for an array."""

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise MemoryError


def test_objects_that_give_no_array_have_an_error_of_ours() -> None:
    empty, sparse = torch.empty(4, 4, device="meta"), torch.eye(4).to_sparse()
    for array, kernel in ((Refuses(), "box:3"), (np.eye(4), Refuses()), (empty, "box:3"), (sparse, "box:3")):
        with pytest.raises(convcli.UsageError):
            convcli.filter(array, kernel)  # type: ignore[arg-type]


@pytest.mark.parametrize("weights", [(1, 10**400, 1), (1j, 1, 1)], ids=["large", "complex"])
def test_weights_that_are_no_floats_have_an_error_of_ours(weights: Any) -> None:
    with pytest.raises(convcli.UsageError, match="weights"):
        Kernel("k", (1, 1, 3), weights)


@pytest.mark.parametrize(("weight", "dtype"), [(1e300, "int64"), (-1, "uint8"), (300, "uint8"), (1, "O")])
def test_weights_that_a_type_does_not_hold(weight: float, dtype: str) -> None:
    assert Kernel.from_array([7.5, 2]).array("uint8").tolist() == [[[7, 2]]]
    with pytest.raises(convcli.UsageError, match=r"exceed|hold"):
        Kernel.from_array([weight]).array(dtype)


@pytest.mark.parametrize("rank", [-1, 0, 4, 10**9])
def test_kernels_have_up_to_three_axes(rank: int) -> None:
    with pytest.raises(convcli.UsageError, match=f"rank {rank} is not possible: give 1 to 3"):
        convcli.load_kernel("box:3", rank)


@pytest.mark.filterwarnings("ignore:the samples reach:UserWarning")  # the note on a clip's scale is meant
@pytest.mark.parametrize("options", [{}, {"threshold": 0}, {"stabilise_light": True}], ids=str)
@pytest.mark.parametrize(("low", "high"), [(0, np.finfo("f4").max), (-1e308, 1e308)])
def test_motion_of_floats_of_any_size_overflows_nowhere(
    low: float, high: float, options: dict[str, Any]
) -> None:
    clip = np.full((12, 24, 32), low, np.float32 if low == 0 else np.float64)
    clip[5:8, 4:14, 4:14] = high
    convcli.motion(clip, **options)


@pytest.mark.parametrize(
    "options", [{"threshold": np.ones((2, 2))}, {"region": "x" * 5000}], ids=["numbers", "name"]
)
def test_odd_values_of_motion_have_an_error_of_ours(options: dict[str, Any]) -> None:
    with pytest.raises(convcli.UsageError):
        convcli.motion(np.zeros((3, 8, 8), np.uint8), **options)


def test_numbers_of_numpy_are_numbers() -> None:
    data = np.random.default_rng(0).normal(size=(9, 8))
    got = convcli.filter(data, "1,0,-2;0,3,0", stride=np.int64(2), padding=[(np.int64(1), 0), "valid"])
    padded = np.pad(data, ((1, 0), (0, 0)))
    want = padded[:-1, :-2] - 2 * padded[:-1, 2:] + 3 * padded[1:, 1:-1]
    np.testing.assert_allclose(got, want[::2, ::2], rtol=0, atol=1e-14)


def test_masked_samples_are_missing() -> None:
    """Each mean is over the samples that are there; what was masked stays masked, unless ``missing`` says skip."""
    random = np.random.default_rng(8)
    array = np.ma.array(random.integers(0, 99, (7, 9)), mask=random.random((7, 9)) < 0.3)
    weights = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 10]])
    patches = np.lib.stride_tricks.sliding_window_view
    there = patches(~array.mask, (3, 3)) * weights
    means = (there * patches(array.data, (3, 3))).sum((2, 3)) / there.sum((2, 3)) * weights.sum()
    for missing, masked in ((None, array.mask[1:-1, 1:-1]), ("skip", np.zeros((5, 7), bool))):
        made = convcli.filter(array, weights, padding="valid", missing=missing)
        assert isinstance(made, np.ma.MaskedArray)
        np.testing.assert_array_equal(np.ma.getmaskarray(made), masked)
        np.testing.assert_allclose(made.data[~masked], means[~masked])
    with pytest.raises(UsageError, match="holds no missing samples"):
        convcli.filter(array, weights, range="clip")
    with pytest.raises(UsageError, match="a masked array cannot be"):
        convcli.filter(array, weights, mask=array.mask)
    with pytest.raises(UsageError, match="a masked array is not a clip"):
        convcli.motion(np.ma.masked_less(np.ones((3, 8, 8)), 2))
    assert convcli.filter(np.ma.array(array.data), weights, range="clip").dtype == array.dtype


def test_memory_that_ends_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("convcli.execution.pipeline.Pipeline.blocks", out_of_memory)
    with pytest.raises(convcli.ConvError, match="not enough memory"):
        convcli.filter(np.eye(4), "box:3")


def test_a_kernel_may_be_made_of_lists() -> None:
    made = Kernel.from_array(np.full((3, 3), 1 / 9))
    lists = replace(made, weights=list(made.weights), bias=[0.0], origin=[1, 1], shape=[1, 1, 3, 3])
    assert lists == made
    assert convcli.filter(np.full((9, 9), 7, np.uint8), lists, range="clip").tolist() == [[7] * 9] * 9


@pytest.mark.parametrize("policy", ["minmax", "percentile:0:100"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("kernel", ["gaussian:sigma=8", "gaussian:sigma=3", "gaussian:sigma=20", "box:31"])
def test_minmax_stretches_no_rounding(kernel: str, engine: str, policy: str) -> None:
    """An even picture is even afterwards; a faint structure is shown."""
    even = np.full((50, 60), 77, np.uint8)
    assert np.unique(convcli.filter(even, kernel, range=policy, engine=engine)).tolist() == [0]
    even[25, 30] = 78
    stretched = convcli.filter(even, kernel, range=policy, engine=engine)
    assert (stretched.min(), stretched.max()) == (0, 255)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("kernel", ["box:5", "gaussian:sigma=2", "1,2,0;0,-3,1;0.5,0,0", "identity"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_minmax_reaches_both_ends(kernel: str, engine: str, dtype: str) -> None:
    """The smallest result is black and the largest white, however narrow and far from zero they are."""
    base, width = {"uint8": (250, 4), "uint16": (65000, 3), "float32": (1e6, 2), "float64": (1e12, 2)}[dtype]
    data = (base + np.random.default_rng(4).integers(0, width, (150, 160))).astype(dtype)
    got = convcli.filter(data, kernel, range="minmax", engine=engine)
    top = np.iinfo(dtype).max if got.dtype.kind == "u" else 1
    assert (got.min(), got.max()) == (0, top)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("kernel", ["identity", "box:1", "0,0;0,0", "0,0,0;0,1,0;0,0,0"])
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint16", 65000.5, 65003.25), ("uint8", 250.75, 252.5), ("float64", 1e12, 1e12 + 1)],
)
def test_windows_far_from_zero(kernel: str, engine: str, dtype: str, low: float, high: float) -> None:
    data = (low // 1 + np.random.default_rng(4).integers(-1, 6, (150, 160)) / 2).astype(dtype)
    values = data.astype(float) * (kernel != "0,0;0,0")
    got = convcli.filter(data, kernel, range=f"{low}:{high}", engine=engine, padding="same")
    exact = ((values - low) / (high - low)).clip(0, 1)
    if got.dtype.kind == "u":
        exact = np.rint(exact * np.iinfo(dtype).max)
    np.testing.assert_allclose(got, exact, rtol=1e-15, atol=1e-12)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("weight", [1e-40, -1e-40, 1e40])
def test_kernels_beyond_float32_are_computed_in_float64(weight: float, engine: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    got = convcli.filter(data, np.full((3, 3), weight), range="offset", engine=engine)
    sums = ndimage.correlate(data.astype(float), np.full((3, 3), np.sign(weight)), mode="nearest")
    np.testing.assert_array_equal(got, np.rint(128 + sums * 127 / (9 * 255)))


def test_a_tail_that_does_not_count_stays_in_float32() -> None:
    data = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    assert convcli.filter(data, [1e-40, 0.5, 0.0], axis="x").dtype == np.float32
    assert convcli.filter(data, [1e-40, 1e-41, 0.0], axis="x").dtype == np.float64


@pytest.mark.parametrize("engine", ["numpy", "torch", "auto"])
@pytest.mark.parametrize("weight", [-1 / 25, -1.0, -0.00231])
def test_negative_boxes_lose_their_sign_last(weight: float, engine: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (600, 700), dtype=np.uint8)
    got = convcli.filter(data, np.full((5, 5), weight), range="abs", engine=engine)
    sums = ndimage.correlate(data.astype(float), np.ones((5, 5)), mode="nearest")
    np.testing.assert_array_equal(got, np.rint(sums * -weight).clip(0, 255))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize(
    "weights",
    [
        np.full((5, 5), 1 / 25),
        np.outer([0.2, 0.5, 0.3], [0.1, 0.6, 0.3]),
        np.full((1, 9), 1 / 9),
        np.array([[0.31415927, -0.27182818, 1], [0.16180339, 0.41421356, -0.7], [0, 0.3, 0.1]]),
    ],
    ids=["box", "separable", "line", "dense"],
)
def test_bytes_are_filtered_in_float64(weights: np.ndarray, engine: str) -> None:
    data = np.random.default_rng(0).integers(0, 256, (600, 700), dtype=np.uint8)
    want = ndimage.correlate(data.astype(float), weights, mode="nearest")
    values = convcli.filter(data, weights, engine=engine, dtype="float64")
    assert values.dtype == np.float64
    np.testing.assert_allclose(values, want, atol=1e-11)
    pixels = convcli.filter(data, weights, range="clip", engine=engine, dtype="float64")
    sure = abs(want % 1 - 0.5) > 1e-9
    np.testing.assert_array_equal(pixels[sure], np.rint(want).clip(0, 255)[sure])


def parameters_of(function: Any) -> list[str]:
    """Return the parameters that a docstring in numpydoc's form describes."""
    section = re.search(
        r"^ +Parameters\n +-+\n(.*?)(\n\n +\S+\n +-+\n|\n\n +>>>|\Z)", function.__doc__, re.M | re.S
    )
    assert section
    indent = min(len(line) - len(line.lstrip()) for line in section[1].splitlines() if line.strip())
    names = re.findall(rf"^ {{{indent}}}(\S.*?)(?: : .*)?$", section[1], re.M)
    return [name.lstrip("*") for names_ in names for name in names_.split(", ")]


@pytest.mark.parametrize(
    "function", [convcli.filter, convcli.motion, convcli.shape], ids=lambda one: one.__name__
)
def test_every_parameter_is_described(function: Any) -> None:
    assert parameters_of(function) == list(inspect.signature(function).parameters)
    assert "Raises\n" in function.__doc__ and "Returns\n" in function.__doc__


def test_the_names_in_types_are_those_that_are_read() -> None:
    closed = {policy.word() for policy in POLICIES if ":" not in policy.form.replace("[:", "[")}
    for types, names in (
        (api.PadModeName, PadMode),
        (api.PaddingChoice, PaddingName),
        (api.ChannelsName, Channels),
        (api.MissingName, Missing),
        (api.DtypeName, Precision),
        (api.EngineChoice, EngineName),
        (api.RangeName, closed),
    ):
        assert sorted(get_args(types)) == sorted(map(str, names))


def test_nothing_strays_into_the_package() -> None:
    convcli.filter([1, 2], "box:1")  # what it imports lies beside the verbs from now on
    assert {name for name in dir(convcli) if not name.startswith("__")} == set(convcli.__all__)
    assert all(getattr(convcli, name) for name in convcli.__all__)
    assert convcli.__version__ == version("convcli")


def test_the_errors_are_those_that_python_knows() -> None:
    assert issubclass(convcli.UsageError, convcli.ConvError)
    with pytest.raises(ValueError, match="no kernel named 'hegde'"):
        convcli.filter([1, 2], "hegde")
    with pytest.raises(ValueError, match="layer 1"):
        convcli.shape("4", "conv:5")
    with pytest.raises(TypeError):
        convcli.filter([1, 2], "box:1", strides=2)  # type: ignore[call-arg]


class Strange:
    """Neither a number, nor a text, nor a list of any."""

    def __repr__(self) -> str:
        return "Strange"


STRANGE = [Strange(), 1.5, "nonsense", [1, [2]], [Strange()], {}, b"1", [], (1, 2, 3), 1j, float("nan"), None]
IS_POSSIBLE = {  # values of the above that mean something for a parameter, beside its default
    "bias": [1.5],
    "pad_value": [1.5, STRANGE[10]],
    "kernel": [(1, 2, 3)],
    "output_padding": [None],
    "threshold": [1.5],
    "min_area": [1.5],
    "min_duration": [1.5],
    "merge_gap": [1.5],
    "fps": [1.5],
    "stride": [(1, 2, 3)],
}


def bad_values(function: Any, *, but: str) -> list[tuple[str, Any]]:
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        possible = [parameter.default, *IS_POSSIBLE.get(name, [])]
        found += [(name, value) for value in STRANGE if name != but and value not in possible]
    return found


@pytest.mark.parametrize(("name", "value"), bad_values(convcli.filter, but="array"), ids=repr)
def test_bad_values_of_filter_have_an_error_of_ours(name: str, value: Any) -> None:
    with pytest.raises(convcli.UsageError):
        convcli.filter(np.eye(4), **{"kernel": "box:1", "pad_mode": "constant", name: value})


@pytest.mark.parametrize(("name", "value"), bad_values(convcli.motion, but="clip"), ids=repr)
def test_bad_values_of_motion_have_an_error_of_ours(name: str, value: Any) -> None:
    with pytest.raises(convcli.UsageError):
        convcli.motion(np.zeros((3, 8, 8), np.uint8), **{name: value})  # type: ignore[call-overload]


NO_ARRAYS = [one for one in STRANGE if one not in (1.5, (1, 2, 3))]


@pytest.mark.parametrize("value", [*NO_ARRAYS, [[1, 2], [3]]], ids=repr)
def test_what_is_no_array_is_refused(value: Any) -> None:
    with pytest.raises(convcli.UsageError):
        convcli.filter(value, "box:1")
    if not isinstance(value, str):  # the name of a file
        with pytest.raises(convcli.UsageError):
            convcli.motion(value)


def test_tensors_that_are_no_arrays_are_refused() -> None:
    import torch

    for tensor in (torch.ones(3, requires_grad=True), torch.ones(3, dtype=torch.complex64).conj()):
        with pytest.raises(convcli.UsageError, match=r"tensor\.detach|type complex64"):
            convcli.filter(tensor, "box:1")
    x = torch.arange(6.0, dtype=torch.bfloat16)
    for given in (x, (1j * x.float()).conj().imag.neg(), torch.complex(x.float(), x.float()).conj().real):
        assert convcli.filter(given, [1, 2, 3], padding="valid").tolist() == [8, 14, 20, 26]


@pytest.mark.parametrize("weights", [[1e308], [[1e308, 1e307], [0, 0]], [1e39, -1e39]], ids=str)
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_largest_weights(weights: Any, engine: str) -> None:
    kernel = np.array(weights)
    data = np.arange(16, dtype=np.float32).reshape((4, 4) if kernel.ndim == 2 else 16) / 64
    got = convcli.filter(data, kernel, engine=engine, padding="valid")
    np.testing.assert_allclose(
        got, signal.correlate(data.astype(float), kernel, "valid", "direct"), rtol=1e-6
    )
    if kernel.size > 1:
        with pytest.raises(convcli.UsageError, match="its weights exceed float32"):
            convcli.filter(data, kernel, engine=engine, dtype="float32")


@pytest.mark.parametrize("name", ["name", "shape", "weights", "bias", "origin", "combine", "display"])
@pytest.mark.parametrize("value", STRANGE, ids=repr)
def test_bad_values_of_a_kernel_have_an_error_of_ours(name: str, value: Any) -> None:
    given: dict[str, Any] = {"name": "k", "shape": (1, 1, 3), "weights": (1.0, 2.0, 3.0), name: value}
    good = [("name", "nonsense"), ("weights", (1, 2, 3)), ("bias", []), ("origin", []), ("display", None)]
    if (name, value) in good:
        assert convcli.filter(np.arange(5), Kernel(**given)).shape == (5,)
        return
    with pytest.raises(convcli.UsageError):
        Kernel(**given)


@pytest.mark.parametrize("layer", STRANGE, ids=repr)
def test_bad_layers_have_an_error_of_ours(layer: Any) -> None:
    for arguments in ((layer,), ("8x8", layer)):
        with pytest.raises(convcli.UsageError):
            convcli.shape(*arguments)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_calls_alike_in_all_but_the_data_or_one_word(dtype: str) -> None:
    random = np.random.default_rng(3)
    for size in (3, 5, 3):
        x = random.integers(0, 200, (40, 30)).astype(dtype)
        for pad_mode, mode in (("replicate", "nearest"), ("reflect", "mirror"), ("circular", "wrap")):
            got = convcli.filter(x, f"median:{size}", pad_mode=pad_mode)
            np.testing.assert_array_equal(got, ndimage.median_filter(x, size, mode=mode))


def test_a_kernel_file_that_changes_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    for weight in (2, 3):
        file.write_text(f"name: own\ndescription: times\nrank: 1\nweights: [{weight}]\n", encoding="utf-8")
        assert convcli.filter([1.0, 5.0], str(file)).tolist() == [weight, 5 * weight]


A, B = np.array([[1.0, -2, 0.5]]), np.array([[0.25], [3], [-1]])


@pytest.mark.parametrize(
    "kernels",
    [
        [A, B],
        (A, B),
        [Kernel.from_array(A), B],
        ["1,-2,0.5", B],
        [A, Kernel.from_array(B)],
        [A, B.tolist()],
        [A.astype(np.float32), B.astype(np.float32)],
    ],
    ids=["arrays", "tuple", "kernel, array", "text, array", "array, kernel", "array, lists", "float32"],
)
def test_a_list_of_kernels_is_applied_in_turn(kernels: Any) -> None:
    data = np.random.default_rng(5).normal(size=(9, 8))
    got = convcli.filter(data, kernels, padding="valid")
    want = signal.correlate(signal.correlate(data, A, "valid"), B, "valid")
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-13)


def test_nested_lists_of_numbers_are_weights() -> None:
    data = np.random.default_rng(5).normal(size=(9, 8))
    weights = [[1, -2, 0.5], [0.25, 3, -1]]
    for given in (weights, tuple(map(tuple, weights)), [list(map(np.float64, row)) for row in weights]):
        got = convcli.filter(data, given, padding="valid")
        np.testing.assert_allclose(
            got, signal.correlate(data, np.array(weights), "valid"), rtol=0, atol=1e-13
        )


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        ([], "give a kernel, or a list of some"),
        ([None], "give a kernel, or a list of some"),
        (["box:3", None], "give a kernel, or a list of some"),
        ([[1, 2], [3]], "its lists are not all equally long"),
        ([[None, 1]], "weights are real numbers"),
        ([[["box:3"]]], "weights are real numbers"),
    ],
)
def test_lists_that_are_no_kernels_are_refused_in_own_words(kernel: Any, said: str) -> None:
    with pytest.raises(convcli.UsageError, match=said):
        convcli.filter(np.eye(4), kernel)
    with pytest.raises(convcli.UsageError, match="its lists are not all equally long"):
        convcli.filter([[1, 2], [3]], "box:3")


def test_a_magnitude_whose_squares_are_too_large() -> None:
    x = np.random.default_rng(3).random((9, 11)).astype(np.float32)
    x[4, 5] = 1e30
    wide = x.astype(np.float64)
    expected = np.hypot(ndimage.sobel(wide, 0, mode="nearest"), ndimage.sobel(wide, 1, mode="nearest"))
    np.testing.assert_allclose(convcli.filter(x, "sobel"), expected, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["i2", "u4", "f4", "f8"])
def test_arrays_of_the_other_order_of_bytes(dtype: str) -> None:
    native = np.random.default_rng(5).integers(0, 99, (7, 9)).astype(dtype)
    found = convcli.filter(native.astype(native.dtype.newbyteorder()), "1,2,3;0,1,-1")
    taps = np.array([[1, 2, 3], [0, 1, -1]])
    expected = ndimage.correlate(native.astype(float), taps, mode="nearest", origin=(-1, 0))
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("rank", [None, "2", 2.0, [2], np.zeros(2)])
def test_a_rank_is_an_integer(rank: Any) -> None:
    with pytest.raises(UsageError, match=r"rank .* is not possible: give a whole number"):
        convcli.load_kernel("box:3", rank)


def test_numbers_that_no_double_holds_and_no_number() -> None:
    with pytest.raises(UsageError, match="finite numbers"):
        Kernel.from_array(np.array([np.finfo(np.longdouble).max, 1]))
    with pytest.raises(UsageError, match="bias"):
        convcli.filter(np.eye(4), "hedge", bias=np.ma.masked)


def test_motion_in_a_picture_of_a_few_pixels() -> None:
    clip = np.random.default_rng(1).integers(0, 255, (6, 6, 7), np.uint8)
    assert all(event.end_frame >= event.start_frame for event in convcli.motion(clip))


# Arrays of other libraries


def test_a_tensor_becomes_a_tensor() -> None:
    x = np.random.default_rng(0).normal(size=(12, 9)).astype(np.float32)
    made = convcli.filter(torch.from_numpy(x), [[1, 2, 3]], padding=(0, 1))
    want = torch.nn.functional.conv2d(
        torch.from_numpy(x)[None, None], torch.tensor([[[[1.0, 2, 3]]]]), padding=(0, 1)
    )
    torch.testing.assert_close(made, want[0, 0])


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "I;16", "F"])
def test_a_picture_becomes_a_picture(mode: str) -> None:
    """As scipy filters its samples, of a palette its colours, rounded and of the type that they were."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    picture = Image.fromarray(pixels)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 200)
    elif mode != "RGB":
        picture = picture.convert(mode)
    plain = picture.convert({"P": "RGB", "1": "L"}.get(mode, mode)) if mode in "P1" else picture
    samples = np.asarray(plain)
    want = ndimage.uniform_filter(samples.astype(float), (3, 3, *[1] * (samples.ndim - 2)), mode="nearest")
    made = convcli.filter(picture, "box:3")
    assert made.mode == plain.mode and np.asarray(made).dtype == samples.dtype
    np.testing.assert_allclose(np.asarray(made), want if mode == "F" else np.rint(want), rtol=1e-6)


def test_pictures_that_results_cannot_be() -> None:
    picture = Image.new("RGBA", (9, 8), (255, 0, 0, 0))
    assert np.asarray(convcli.filter(picture, "box:3")).max(axis=(0, 1))[3] == 0  # transparent stays so
    assert convcli.filter(picture.convert("L"), "box:3", range="float").mode == "F"
    for given, words, more in (
        (picture.convert("CMYK"), "mode CMYK", {}),
        (picture, "is no picture", {"range": "float"}),
    ):
        with pytest.raises(convcli.UsageError, match=words):
            convcli.filter(given, "box:3", **more)


def test_a_labelled_array_keeps_its_labels() -> None:
    """Values and coordinates of windows are those of xarray's own rolling means; even windows lie between samples."""
    x = np.random.default_rng(2).normal(size=(4, 9, 10))
    times = np.datetime64("2026-01-01T00:00", "ns") + np.arange(4) * np.timedelta64(6, "h")
    places = {"time": times, "lat": np.linspace(50, 46, 9), "lon": [0, 1, 3, 4, 7, 8, 9, 10, 12, 13]}
    data = xarray.DataArray(x, places, ["time", "lat", "lon"], "heat", {"units": "K"})
    data.lat.attrs["units"] = "degrees_north"
    made = convcli.filter(data, "box:3", padding="valid", stride=2)
    want = data.rolling(lat=3, lon=3, center=True).mean()[:, 1:-1:2, 1:-1:2]
    xarray.testing.assert_allclose(made, want)
    assert made.name == "heat" and made.attrs == data.attrs and made.lat.attrs == data.lat.attrs
    pairs = convcli.filter(data[:, 0, 0], [0.5, 0.5], padding="valid")
    assert pairs.time.values.tolist() == (times[:-1] + np.timedelta64(3, "h")).tolist()
    days = convcli.filter(data[:, 0, 0], "gaussian:sigma=6h")
    np.testing.assert_allclose(days, ndimage.gaussian_filter1d(x[:, 0, 0], 1, mode="nearest"))
    maps = convcli.filter(data.isel(time=0), np.ones((2, 1, 3, 3)))
    assert maps.dims == ("map", "lat", "lon") and np.array_equal(maps.lon, data.lon)
    with pytest.raises(convcli.UsageError, match="station, depth do not say what they are"):
        convcli.filter(xarray.DataArray(np.ones((3, 4)), dims=["station", "depth"]), "box:3")


def test_further_coordinates_stay_with_their_samples() -> None:
    """They are those that xarray's own selection gives, of the samples in the middle of each window."""
    x = np.random.default_rng(2).normal(size=(9, 12))
    names = {"y": np.arange(9) * 2.0, "x": list("abcdefghijkl"), "time": np.datetime64("2026-01-01", "ns")}
    data = xarray.DataArray(x, {**names, "depth": ("y", x[:, 0]), "lat": (("y", "x"), x)}, ["y", "x"])
    weights = np.arange(9.0).reshape(3, 3)
    values = ndimage.correlate(x, weights, mode="nearest")
    for given in (data, data.chunk({"y": 4, "x": 5})):
        made = convcli.filter(given, weights, stride=(2, 3))
        assert given.chunks is None or made.chunks is not None
        xarray.testing.assert_allclose(made.compute(), data.copy(data=values)[::2, ::3])
        made = convcli.filter(given, weights, padding="valid")
        xarray.testing.assert_allclose(made.compute(), data.copy(data=values)[1:-1, 1:-1])
    with pytest.warns(UserWarning, match="left out: coordinates x, depth, lat"):
        made = convcli.filter(data, weights, padding="full")
    assert made.y.values.tolist() == list(range(-2, 20, 2)) and set(made.coords) == {"y", "time"}
    volume = xarray.DataArray(np.random.default_rng(3).random((4, 5, 6)), dims=["z", "y", "x"])
    mean = ndimage.uniform_filter(volume.values, 3, mode="nearest")
    np.testing.assert_allclose(convcli.filter(volume, "box:3"), mean)


def test_tables_are_filtered_along_their_rows_and_keep_their_labels() -> None:
    x = np.random.default_rng(2).normal(size=(9, 3))
    want = ndimage.correlate1d(x, [1, 2, 3], axis=0, mode="nearest")
    hours = pandas.date_range("2026-03-28T20:00", periods=9, freq="6h", tz="Europe/Berlin")
    for labels in (
        hours,
        pandas.Index(list("abcdefghi")),
        pandas.MultiIndex.from_product([range(3), range(3)]),
    ):
        table = pandas.DataFrame(x, labels, ["p", "q", "q"])
        for stride in (1, 2):
            made = convcli.filter(table, [1, 2, 3], stride=stride)
            pandas.testing.assert_frame_equal(made, pandas.DataFrame(want, labels, table.columns)[::stride])
        pandas.testing.assert_series_equal(
            convcli.filter(table["p"], [1, 2, 3], padding="valid"),
            pandas.Series(want[1:-1, 0], labels[1:-1], name="p"),
            check_freq=False,
        )
        one = convcli.filter(table[["p"]], [1, 2, 3], padding="full")
        assert one.index[1:-1].equals(labels) and one.index[[0, -1]].to_frame().isna().all(axis=None)
    frame = polars.DataFrame(x, ["p", "q", "r"], orient="row")
    polars_testing.assert_frame_equal(convcli.filter(frame, [1, 2, 3]), polars.DataFrame(want, frame.schema))
    polars_testing.assert_series_equal(convcli.filter(frame["q"], [1, 2, 3]), polars.Series("q", want[:, 1]))
    smooth = ndimage.gaussian_filter1d(x, 1, axis=0, mode="nearest")
    np.testing.assert_allclose(convcli.filter(pandas.DataFrame(x, hours), "gaussian:sigma=6h"), smooth)
    weights = np.arange(9.0).reshape(3, 3)
    grid = convcli.filter(pandas.DataFrame(x), weights, axes="YX")
    np.testing.assert_allclose(grid, ndimage.correlate(x, weights, mode="nearest"))
    with pytest.raises(convcli.UsageError, match="has not the columns of the table: name axes='YX'"):
        convcli.filter(frame, weights)


@pytest.mark.parametrize("missing", [np.nan, np.inf, np.datetime64("NaT", "ns")])
def test_coordinates_that_are_missing_travel_along(missing: Any) -> None:
    places = np.array(
        [1, 2, missing] if isinstance(missing, float) else ["2024-01-01", "2024-01-02", missing]
    )
    places = places if isinstance(missing, float) else places.astype("M8[ns]")
    data = xarray.DataArray(np.arange(6.0).reshape(2, 3), {"x": places}, ["y", "x"])
    made = convcli.filter(data, "1,1,1", padding="same", pad_mode="zero")
    np.testing.assert_array_equal(made.coords["x"].values, places)
    np.testing.assert_allclose(made.values, [[1, 3, 3], [7, 12, 9]])


def test_matrix_is_scipys_and_torchs() -> None:
    found = convcli.matrix("5", [1, 2, 3])
    np.testing.assert_array_equal(found.dense(), linalg.toeplitz([1, 0, 0], [1, 2, 3, 0, 0]))
    x, w = np.random.default_rng(1).normal(size=(1, 1, 3, 3)), np.array([[1.0, 2], [3, 4]])
    enlarged = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x), torch.from_numpy(w)[None, None], stride=2, padding=1
    )
    both = convcli.matrix("3x3", w, transpose=True, stride=2, padding=1)
    np.testing.assert_allclose(both.times(x[0]).ravel(), enlarged.numpy().ravel(), atol=1e-12)
    with pytest.raises(convcli.UsageError):
        convcli.matrix("5", "max:3")


def test_explain_adds_up_to_what_filter_computes() -> None:
    data, bank = (
        np.random.default_rng(2).normal(size=(3, 6, 7)),
        np.random.default_rng(3).normal(size=(2, 3, 3, 2)),
    )
    found = convcli.explain(data, bank, at=(1, 2), axes="CYX", padding="valid", stride=2, map=1)
    want = torch.nn.functional.conv2d(torch.from_numpy(data)[None], torch.from_numpy(bank), stride=2)[
        0, 1, 1, 2
    ]
    assert found.values == pytest.approx((want.item(),), abs=1e-12)
    (one,) = found.sums
    taken = [[tap.value * tap.weight for tap in plane.taps] for plane in one.channels]
    np.testing.assert_allclose(taken, (data[:, 2:5, 4:6] * bank[1]).reshape(3, -1), atol=1e-12)
    pooled = convcli.explain([3, 8, 5, 1], pool="max:2", at=1)
    assert pooled.values == (5,)
    assert [tap.gradient for tap in pooled.outputs[0].taps] == [1, 0]
    with pytest.raises(convcli.UsageError, match="outside the output"):
        convcli.explain([1, 2, 3], [1, 1], at=7)


def test_learn_finds_the_kernel_again() -> None:
    rng = np.random.default_rng(4)
    data, weights = rng.normal(size=(2, 12, 13)), rng.normal(size=(3, 2, 3, 3))
    target = torch.nn.functional.conv2d(torch.from_numpy(data)[None], torch.from_numpy(weights))[0] + 0.5
    found = convcli.learn(data, target, 3, axes="CYX")
    np.testing.assert_allclose(found.weights, weights, atol=1e-10)
    np.testing.assert_allclose(found.bias, [0.5] * 3, atol=1e-10)
    with pytest.raises(convcli.UsageError):
        convcli.learn(data, target, 9, axes="CYX")


def test_net_is_torchs(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    data, weights = rng.normal(size=(2, 6, 7)), rng.normal(size=(3, 2, 3, 3))
    np.savez(tmp_path / "w.npz", **{"c.weight": weights, "c.bias": np.zeros(3)})
    (tmp_path / "n.yaml").write_text(
        "layers:\n- conv: {maps: 3, size: 3, name: c}\n- relu\n- gpool: {kind: max}\n"
    )
    maps = torch.nn.functional.conv2d(torch.from_numpy(data)[None], torch.from_numpy(weights))[0]
    run: dict[str, Any] = {"weights": tmp_path / "w.npz", "axes": "CYX"}
    found = convcli.net(tmp_path / "n.yaml", data, layer="c", **run)
    np.testing.assert_allclose(found.values, maps, atol=1e-12)
    assert (found.layer, found.shape, found.labels) == ("c", "3@4x5", ())
    found = convcli.net(str(tmp_path / "n.yaml"), data.transpose(1, 2, 0), **(run | {"axes": "YXC"}))
    np.testing.assert_allclose(np.ravel(found.values), maps.relu().amax((1, 2)), atol=1e-12)
    arrays = {"c.weight": weights, "c.bias": np.ones(3)}
    both = convcli.net(tmp_path / "n.yaml", np.stack([data, -data]), weights=arrays, axes="NCYX")
    maps = (
        torch.nn.functional.conv2d(torch.from_numpy(np.stack([data, -data])), torch.from_numpy(weights)) + 1
    )
    np.testing.assert_allclose(both.values[..., 0, 0], maps.relu().amax((2, 3)), atol=1e-12)
    with pytest.raises(convcli.UsageError, match="no layer named"):
        convcli.net(tmp_path / "n.yaml", data, layer="d", **run)


def test_learn_trains_a_net_as_torch_does(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(5, 2, 6, 7)), rng.normal(size=(5, 3, 4, 5))
    begun = {"c.weight": rng.normal(size=(3, 2, 3, 3)), "c.bias": rng.normal(size=3)}
    (tmp_path / "n.yaml").write_text("layers:\n- conv: {maps: 3, size: 3, name: c}\n- tanh\n")
    how: dict[str, Any] = {"optimizer": "sgd", "rate": 0.3, "momentum": 0.5, "epochs": 4, "batch": 5}
    found = convcli.learn(x, y, net=tmp_path / "n.yaml", weights=begun, axes="NCYX", **how)
    conv = torch.nn.Conv2d(2, 3, 3)
    conv.load_state_dict({name[2:]: torch.tensor(array) for name, array in begun.items()})
    descent = torch.optim.SGD(conv.parameters(), lr=0.3, momentum=0.5)
    losses = []
    for _ in range(4):
        descent.zero_grad()
        made = conv(torch.tensor(x, dtype=torch.float32)).tanh()
        loss = torch.nn.functional.mse_loss(made, torch.tensor(y, dtype=torch.float32))
        loss.backward()
        descent.step()
        losses.append(loss.item())
    np.testing.assert_allclose(found.kept["c.weight"], conv.weight.detach(), atol=1e-6)
    np.testing.assert_allclose([epoch.loss for epoch in found.curve[1:]], losses, rtol=1e-5)
    made = convcli.net(tmp_path / "n.yaml", x, weights=found.kept, axes="NCYX", dtype="float64").values
    np.testing.assert_allclose(made, conv.double()(torch.tensor(x)).tanh().detach(), atol=1e-5)


def test_learn_trains_a_classifier(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    classes = rng.integers(0, 2, 40)
    x = rng.normal(size=(40, 1, 8, 8)) + np.where(classes, 1.0, -1.0)[:, None, None, None]
    (tmp_path / "n.yaml").write_text("layers:\n- flatten\n- dense: {outputs: 2, name: d}\n")
    how: dict[str, Any] = {"net": tmp_path / "n.yaml", "axes": "NCYX"}
    found = convcli.learn(x, classes, loss="ce", epochs=30, rate=0.05, **how)
    scores = convcli.net(tmp_path / "n.yaml", x, weights=found.kept, axes="NCYX").values
    assert (scores.argmax(axis=1) == classes).all()
    for wrong, said in (
        ({"stride": 2}, "a training has no stride"),
        ({"loss": "huber"}, "loss"),
        ({"epochs": 0}, "epochs"),
        ({"rate": -1}, "rate"),
    ):
        with pytest.raises(convcli.UsageError, match=said):
            convcli.learn(x, classes, **how, **wrong)
    with pytest.raises(convcli.UsageError, match="targets are 3 of the shape"):
        convcli.learn(x, np.zeros((3, 2)), **how)
    with pytest.raises(convcli.UsageError, match="a net from net="):
        convcli.learn(x, classes)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kernel", ["median:3", "max:3", "box:3"])
def test_a_filter_asked_for_again_filters_what_it_is_given(
    kernel: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Arrays of one form are filtered by what was noted of the first; others, and views, as if for the first time."""
    monkeypatch.setattr(api, "_PLANNED", {})
    random = np.random.default_rng(5)
    exact = {
        "median:3": lambda x: ndimage.median_filter(x, 3, mode="nearest"),
        "max:3": lambda x: ndimage.maximum_filter(x, 3, mode="nearest"),
        "box:3": lambda x: np.rint(ndimage.correlate(x.astype(float), np.ones((3, 3)), mode="nearest") / 9),
    }[kernel]
    large = random.integers(0, 256, (2300, 2000), np.uint8)
    views = [large[::-1], large[:, ::2], large.T]
    arrays = [large, *(random.integers(0, 256, large.shape, np.uint8) for _ in range(2)), *views]
    seen = []
    for x in arrays:
        made = convcli.filter(x, kernel, range="clip", threads=threads)
        np.testing.assert_array_equal(made, exact(x))
        seen.append(made)
    np.testing.assert_array_equal(seen[0], exact(large))  # results are not shared
    with pytest.raises(convcli.UsageError, match="whole number"):  # 1 and 1.0 are equal, but not the same
        convcli.filter(large, kernel, range="clip", threads=float(threads))
    assert [len(planned._recipes) for planned in api._PLANNED.values()] == [1, 0, 0]


def test_a_kernel_that_is_an_array_is_known_again_by_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the object, whose values may change, and not by its bytes alone."""
    monkeypatch.setattr(api, "_PLANNED", {})
    random = np.random.default_rng(8)
    x = random.integers(0, 256, (60, 70), np.uint8)
    kernel = np.array([[0.25, 0.5], [0.125, 0.125]], np.float32)
    for change in (0, 0, 0.25, -0.25):
        kernel[0, 0] += change
        for weights in (kernel, kernel.reshape(1, 4), kernel.T, kernel.astype(np.float64)):
            size = weights.shape
            origin = tuple(-(n % 2 == 0) for n in size)
            want = ndimage.correlate(x.astype(float), weights, mode="nearest", origin=origin)
            made = convcli.filter(x, weights, range="clip")
            np.testing.assert_array_equal(made, np.rint(want).clip(0, 255))
    assert len(api._PLANNED) == 8


def test_only_what_depends_on_no_values_is_done_again_as_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges that are measured, channels beside alpha and floats are looked at each time."""
    monkeypatch.setattr(api, "_PLANNED", {})
    random = np.random.default_rng(6)
    for options in ({"range": "minmax"}, {"range": "float"}, {"missing": "skip"}):
        x = (
            random.random((300, 300), np.float32)
            if "missing" in options
            else random.integers(0, 256, (300, 300), np.uint8)
        )
        convcli.filter(x, "gaussian:2", **options)
    assert [planned._recipes for planned in api._PLANNED.values()] == [[], [], []]


def test_shape_of_a_nets_file(tmp_path: Path) -> None:
    assert api.shape(str(SAMPLES / "lenet.yaml")) == "10"
    assert api.shape(str(SAMPLES / "unet.yaml"), "1@24x32") == "1@24x32"
    (tmp_path / "n.yaml").write_text("layers: [{conv: {maps: 4, size: 3, stride: 2}}]\n")
    assert api.shape(str(tmp_path / "n.yaml"), "3@33x32") == "4@16x15"
    for layers, words in (((), "say the input's size"), (("9x9", "conv:3"), "has its own layers")):
        with pytest.raises(UsageError, match=words):
            api.shape(str(tmp_path / "n.yaml"), *layers)
    with pytest.raises(convcli.ConvError, match=r"nets are YAML or ONNX: .* in Keras makes one"):
        api.shape(str(tmp_path / "m.keras"))
