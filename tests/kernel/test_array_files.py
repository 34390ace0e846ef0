"""Kernels stored as arrays: .npy, .npz and .safetensors, sound and damaged."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from convcli.common.errors import ConvError
from convcli.kernel import load_kernel


def one_line(caught: pytest.ExceptionInfo[ConvError], *parts: str, exit_code: int = 2) -> None:
    message = str(caught.value)
    for part in parts:
        assert part in message
    assert "\n" not in message
    assert len(message) < 300
    assert caught.value.exit_code == exit_code


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
    for text, part in (("two.npz", "it has several arrays"), ("two.npz#c", "it has no array 'c'")):
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
    (npy_bytes(np.array(["a"])), "real numbers, not", 2),
    (npy_bytes(np.array([(1, 2.0)], dtype="i4,f8")), "structured", 1),
    (npy_bytes(np.array([1, np.nan])), "must be finite", 2),
    (npy_bytes(np.array(3.0)), "weights 0 deep do not make a kernel", 2),
    (npy_bytes(np.zeros((2, 0))), "empty", 2),
    (npy_bytes(np.zeros((1,) * 6)), "weights 6 deep do not make a kernel", 2),
    *(
        (header(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}") + bytes(500), part, 1)
        for descr, shape, part in [
            ("'<f4'", "(True, 4)", "damaged"),
            ("'(3,3)f4'", "(4, 4)", "damaged"),
            ("'V0'", "(4, 4)", "damaged"),
            ("('<f4',)", "(4, 4)", "structured"),
            ("'<f4'", "1" + "+1" * 30, "damaged"),
            ("'<f4'", f"({'1,' * 33})", "damaged"),
        ]
    ),
    (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"{'shape':" + b"[" * 8991, "damaged", 1),
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


def test_safetensors(tmp_path: Path) -> None:
    numpy_io = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "net.safetensors"
    numpy_io.save_file({"a": np.float32([[1, 2]]), "b": np.float32([3])}, path)
    assert load_kernel(f"{path}#a").weights == (1, 2)
    for text, part in ((str(path), "it has several arrays"), (f"{path}#c", "it has no array 'c'")):
        with pytest.raises(ConvError) as caught:
            load_kernel(text)
        one_line(caught, part, exit_code=1)
    for data in (b"", b"12345678", path.read_bytes()[:-1]):
        path.write_bytes(data)
        with pytest.raises(ConvError) as caught:
            load_kernel(f"{path}#a")
        one_line(caught, "no .safetensors file, or a damaged one", exit_code=1)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": [1], "data_offsets": [96, 100]}}',
        '{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, -4]}}',
        '{"a": {"dtype": "F32", "shape": [true], "data_offsets": [0, 4]}}',
        '{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}',
        '{"a": 1}',
        "[]",
        "[" * 100_000,
        '{"a',
    ],
)
def test_a_header_that_lies(tmp_path: Path, text: str) -> None:
    data = struct.pack("<Q", len(text)) + text.encode() + bytes(8)
    (tmp_path / "k.safetensors").write_bytes(data)
    with pytest.raises(ConvError) as caught:
        load_kernel(str(tmp_path / "k.safetensors"))
    one_line(caught, "no .safetensors file, or a damaged one", exit_code=1)


def test_types_that_numpy_has_not(tmp_path: Path) -> None:
    text = '{"a": {"dtype": "F8_E4M3", "shape": [3], "data_offsets": [0, 3]}}'
    (tmp_path / "k.safetensors").write_bytes(struct.pack("<Q", len(text)) + text.encode() + bytes(3))
    with pytest.raises(ConvError) as caught:
        load_kernel(str(tmp_path / "k.safetensors"))
    one_line(caught, "F8_E4M3", "convert the weights to float32", exit_code=1)


@pytest.mark.parametrize("stored", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2, zipfile.ZIP_DEFLATED])
def test_damaged_members(tmp_path: Path, stored: int) -> None:
    path = tmp_path / "k.npz"
    with zipfile.ZipFile(path, "w", stored) as archive:
        archive.writestr("w.npy", GOOD_NPY)
    data = bytearray(path.read_bytes())
    for place in range(35, len(data) - 60):
        spoiled = data.copy()
        spoiled[place] ^= 0xFF
        path.write_bytes(spoiled)
        try:
            load_kernel(str(path))
        except ConvError as error:
            assert "\n" not in str(error)
