"""``.npy``: every order, type and axis against numpy's own reader and writer; strangers' files in one line."""

from __future__ import annotations

import io
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcli.common.errors import ConvError, UsageError
from convcli.data.info import Info
from convcli.media.arrays import parse_axes, sink, source
from convcli.media.options import ReadOptions, WriteOptions


class Counting(io.BytesIO):
    """Counts the bytes that are read."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.taken = 0

    def readinto(self, buffer) -> int:  # type: ignore[no-untyped-def]
        count = super().readinto(buffer)
        self.taken += count
        return count

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.taken += len(data)
        return data


class Pipe(io.BytesIO):
    """A file that cannot seek."""

    def seekable(self) -> bool:
        return False

    def seek(self, *args: int) -> int:
        raise io.UnsupportedOperation("seek")


def saved(array: np.ndarray) -> bytes:
    fp = io.BytesIO()
    np.save(fp, array)
    return fp.getvalue()


def opened(data: bytes | np.ndarray, axes: str | None = None):  # type: ignore[no-untyped-def]
    data = data if isinstance(data, bytes) else saved(data)
    return source(io.BytesIO(data), ReadOptions(axes=axes))


def numbers(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    return np.arange(1, np.prod(shape) + 1).reshape(shape).astype(dtype)


# ---------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("shape", [(7,), (5, 4), (3, 5, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<u2", ">u2", ">f8", "<f4", "u1", "<i8", ">f2"])
def test_any_layout_reads_as_numpy_reads_it(shape: tuple[int, ...], order: str, dtype: str) -> None:
    array = np.asarray(numbers(shape, dtype), order=order)  # type: ignore[call-overload]
    with opened(array, "TZYX"[-len(shape) :])._fp as fp:
        opened_source = source(fp, ReadOptions(axes="TZYX"[-len(shape) :]))
        assert opened_source.info.shape == shape
        assert opened_source.info.dtype == array.dtype.newbyteorder("=").name
        for start, stop in [(0, shape[0]), (1, 2), (shape[0] - 1, shape[0]), (0, 1)]:
            block = opened_source.strip(start, stop)
            np.testing.assert_array_equal(block, array[start:stop])
            assert block.dtype.isnative
            assert block.flags.c_contiguous


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("axes", "axis"), [("CYX", 1), ("MCYX", 2), ("YCX", 0), ("CX", 1), ("YXC", 0), ("CYM", 1)]
)
def test_blocks_run_along_the_first_axis_of_space(axes: str, axis: int, order: str) -> None:
    array = np.asarray(numbers((3, 4, 5, 6)[: len(axes)]), order=order)  # type: ignore[call-overload]
    opened_source = opened(array, axes)
    assert opened_source.info.stream_axis == axis
    for start, stop in [(0, 2), (2, array.shape[axis]), (1, 2)]:
        expected = array[(slice(None),) * axis + (slice(start, stop),)]
        np.testing.assert_array_equal(opened_source.strip(start, stop), expected)


def test_booleans_are_zero_and_one() -> None:
    opened_source = opened(np.array([[True, False], [False, True], [True, True]]))
    assert opened_source.info.dtype == "uint8"
    block = opened_source.strip(0, 3)
    assert block.dtype == np.uint8
    assert block.tolist() == [[1, 0], [0, 1], [1, 1]]


@pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="no longer type here")
def test_long_floats_are_read_as_float64_and_said_so() -> None:
    opened_source = opened(np.array([1.5, -2.25], np.longdouble))
    assert opened_source.info.dtype == "float64"
    assert "float64" in opened_source.info.notes[0]
    assert opened_source.strip(0, 2).tolist() == [1.5, -2.25]


def test_only_the_block_is_read() -> None:
    fp = Counting(saved(numbers((1000, 100))))
    opened_source = source(fp, ReadOptions())
    assert fp.taken < 200
    opened_source.strip(500, 510)
    assert fp.taken < 200 + 10 * 400


def test_headers_of_version_two_and_of_python_two_and_trailing_bytes() -> None:
    array = numbers((5, 6))
    fp = io.BytesIO()
    np.lib.format.write_array(fp, array, version=(2, 0))
    np.testing.assert_array_equal(opened(fp.getvalue() + b"more").strip(0, 5), array)
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (5L, 6L), }".ljust(117) + "\n"
    old = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode() + array.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(opened(old).strip(0, 5), array)


# ------------------------------------------------------------------------------------------------- axes


def test_axes_without_letters() -> None:
    assert [parse_axes(None, (9,) * n) for n in (1, 2, 3, 4)] == ["X", "YX", "ZYX", "TZYX"]
    assert parse_axes(None, (3, 3)) == "YX"
    assert parse_axes(None, (3, 9, 9)) == "ZYX"
    assert parse_axes(" tczyx ", (9, 3, 9, 9, 9)) == "TCZYX"


@pytest.mark.parametrize(
    ("shape", "axes", "words"),
    [
        ((9, 9, 3), None, ["--axes YXC", "--axes ZYX", "(9, 9, 3)"]),
        ((9, 9, 4), None, ["--axes YXC"]),
        ((9, 9, 9, 1), None, ["--axes TYXC", "--axes TZYX"]),
        ((9, 9, 9, 9, 9), None, ["5 axes", "--axes TZYXC"]),
        ((9, 9), "YXC", ["names 3 axes", "has 2", "(9, 9)"]),
        ((9, 9), "YQ", ["'Q'", "T Z Y X C M"]),
        ((9, 9), "YY", ["'Y'", "twice"]),
        ((9, 9), "CM", ["at least one of T Z Y X"]),
        ((9, 9), "", ["names 0 axes"]),
    ],
)
def test_axes_that_do_not_fit(shape: tuple[int, ...], axes: str | None, words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        opened(np.zeros(shape, np.uint8), axes)
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


# --------------------------------------------------------------------------------------- strange files


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (pytest.fail, ("unpickled",))


def header(text: str) -> bytes:
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (np.array([Bomb()], object), ["pickled", "refused"]),
        (np.array([1 + 2j]), ["complex128", ".real"]),
        (np.zeros(3, [("a", "f4"), ("b", "u1")]), ["structured"]),
        (np.array(["text"]), ["only booleans"]),
        (np.array(["2020-01-01"], "M8[D]"), ["only booleans"]),
        (np.array(5.0), ["0 axes"]),
        (np.zeros((2,) * 6), ["6 axes"]),
        (np.zeros((3, 0)), ["no values", "(3, 0)"]),
        (saved(numbers((30, 40)))[:-1], ["cut short", "4800 bytes", "4799"]),
        (saved(numbers((30, 40)))[:60], ["damaged"]),
        (b"\x93NUMPY", ["no .npy"]),
        (b"\x93NUMPX\1\0", ["no .npy"]),
        (b"", ["no .npy"]),
        (b"\x93NUMPY\3\0" + bytes(200), ["version 3.0"]),
        (b"\x93NUMPY\x09\0" + bytes(200), ["version 9.0"]),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-5, 6)}"), ["no values"]),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999)}"),
            ["cut short"],
        ),
        (header("{'descr': '<f4', 'fortran_order': False}"), ["damaged"]),
        (
            header("{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (2,)}") + bytes(99),
            ["structured"],
        ),
        (header("[" * 9000), ["damaged"]),
        (header("{'descr': [(1,2,3,4)], 'fortran_order': False, 'shape': (2,)}"), ["damaged"]),
        (header("(1" * 100), ["damaged"]),
        (header("__import__('os').getcwd()"), ["damaged"]),
    ],
)
def test_one_line_for_each_stranger(data: bytes | np.ndarray, words: list[str]) -> None:
    if isinstance(data, np.ndarray):
        fp = io.BytesIO()
        np.save(fp, data, allow_pickle=True)
        data = fp.getvalue()
    with pytest.raises(ConvError) as error:
        opened(data)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_files_never_end_in_a_traceback(data: st.DataObject) -> None:
    content = bytearray(saved(numbers((4, 6))))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    try:
        opened_source = opened(bytes(content))
        opened_source.strip(0, opened_source.info.length)
    except ConvError as error:
        assert "\n" not in str(error)


def test_a_file_that_shrinks_while_it_is_read() -> None:
    fp = io.BytesIO(saved(numbers((30, 40))))
    opened_source = source(fp, ReadOptions())
    fp.truncate(2000)
    with pytest.raises(ConvError, match="shorter"):
        opened_source.strip(20, 30)


# ---------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("file", [io.BytesIO, Pipe])
@pytest.mark.parametrize("axes", ["X", "YX", "CYX", "MCYX", "YXC", "MYX", "CX"])
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
def test_numpy_loads_what_was_written(file: type[io.BytesIO], axes: str, dtype: str) -> None:
    array = numbers((3, 4, 5, 6)[: len(axes)], dtype)
    info = Info.of(axes, array.shape, dtype)
    fp = file()
    writer = sink(fp, "npy", info, WriteOptions())
    axis = info.stream_axis
    for start, stop in [(0, 1), (1, 3), (3, array.shape[axis])]:
        writer.write(info.strip(start, stop), array[(slice(None),) * axis + (slice(start, stop),)])
    writer.close()
    loaded = np.load(io.BytesIO(fp.getvalue()))
    np.testing.assert_array_equal(loaded, array)
    assert loaded.dtype == np.dtype(dtype)
    assert loaded.flags.c_contiguous
    assert len(fp.getvalue()) == 128 + array.nbytes
    assert not fp.closed


def test_transposed_blocks_are_written_in_order() -> None:
    array = numbers((4, 6), ">f8").T
    fp = io.BytesIO()
    writer = sink(fp, "npy", Info.of("YX", (6, 4), "float64"), WriteOptions())
    writer.write(writer.info.box, array)
    writer.close()
    np.testing.assert_array_equal(np.load(io.BytesIO(fp.getvalue())), array)


def test_an_output_that_is_not_full() -> None:
    writer = sink(io.BytesIO(), "npy", Info.of("YX", (4, 4), "uint8"), WriteOptions())
    writer.write(((0, 3), (0, 4)), np.zeros((3, 4), np.uint8))
    with pytest.raises(ConvError, match="4 of 16 samples are missing"):
        writer.close()
