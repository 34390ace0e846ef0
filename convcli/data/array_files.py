"""Arrays in files of arrays: ``.npy``, ``.npz``, ``.safetensors``.

What a header says is checked before memory is set aside for it.  Files are read, never mapped: a mapped file that
becomes shorter ends the process.  Pickled objects are never loaded.
"""

import io
import json
import lzma
import math
import os
import stat
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

import numpy as np

from convcli.common import ConvError
from convcli.common.budget import ARCHIVE

Check = Callable[[Sequence[int], int], None]  # refuses a shape in a file of so many bytes

_MAX_HEADER = 10_000  # bytes of a .npy's; an honest one has about 120
_VERSIONS = {  # (3, 0) is for the field names of structured types
    (1, 0): (2, np.lib.format.read_array_header_1_0),
    (2, 0): (4, np.lib.format.read_array_header_2_0),
}
_MAX_NAMES = 100_000_000  # bytes of a .safetensors' header, as its own library allows
_MAX_NUMBERS = 32  # of a shape
_SAFE_TYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BOOL": "?",
    **{f"{kind.upper()}{8 * size}": f"<{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)},
}


class NpyHeader(NamedTuple):
    """What a ``.npy`` says of its array; ``offset`` is where the data begin."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype
    offset: int


def npy_header(file: IO[bytes]) -> NpyHeader:
    """Read a header by numpy's own parser, which gets no more than an honest one has.

    Raises
    ------
    ConvError
        For what is no ``.npy`` of plain numbers.
    """
    try:
        version = np.lib.format.read_magic(file)
    except ValueError:
        raise ConvError("no .npy file: it doesn't begin as one") from None
    if version not in _VERSIONS:
        raise ConvError(f".npy version {version[0]}.{version[1]}: 1.0 and 2.0 hold plain numbers; save anew")
    width, parse = _VERSIONS[version]
    size = file.read(width)
    length = int.from_bytes(size, "little")
    text = file.read(min(length, _MAX_HEADER + 1))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd literals, old type names, and headers of Python 2
            shape, fortran, dtype = parse(io.BytesIO(size + text))
    except Exception as error:  # whatever a damaged header makes it raise
        raise ConvError(f"damaged .npy header: {str(error).partition(chr(10))[0][:160]}") from None
    if dtype.hasobject:
        raise ConvError(
            "pickled objects (dtype object) can run code when they are loaded and are refused; save plain numbers"
        )
    if dtype.names or dtype.subdtype:
        raise ConvError("a structured .npy: only plain numbers are read; save one of its fields")
    if not (dtype.itemsize and _is_shape(shape)):
        raise ConvError(f"damaged .npy header: shape {shape} of dtype {str(dtype)!r}")
    return NpyHeader(shape, fortran, dtype, width + 8 + length)


def _is_shape(shape: tuple[object, ...]) -> bool:
    return len(shape) <= _MAX_NUMBERS and all(type(n) is int for n in shape)


class ArrayFile(Protocol):
    """A file of arrays by name; ``facts`` are the texts that it keeps beside them."""

    names: list[str]
    facts: Mapping[str, str]

    def read(self, name: str, check: Check) -> np.ndarray:
        """Return an array of plain values, of any shape that ``check`` lets pass."""
        ...


def open_arrays(path: Path) -> ArrayFile:
    """Open a file of arrays; its suffix, one of `SUFFIXES`, tells its format.

    Raises
    ------
    ConvError
        When it is no such file, or a damaged one; `ArrayFile.read` raises it too.
    OSError
        When it cannot be opened or read.
    """
    regular(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ConvError(f"its name must end in one of {', '.join(SUFFIXES)}")
    return SUFFIXES[path.suffix.lower()](path)


def regular(path: Path) -> os.stat_result:
    """Return what the system knows of a file; one without an end, a device or a pipe, is refused.

    Raises
    ------
    ConvError, OSError
    """
    found = path.stat()
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise ConvError("it is no regular file; save what it gives to one")
    return found


class _Npy:
    """One array, without a name."""

    facts: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        self._path = path
        self.names = [""]

    def read(self, name: str, check: Check) -> np.ndarray:
        with self._path.open("rb") as file:
            return _npy(file, check, self._path.stat().st_size)


class _Npz:
    """A zip archive of ``.npy`` files."""

    facts: Mapping[str, str] = {}

    def __init__(self, path: Path) -> None:
        with self._sound():
            self._archive = zipfile.ZipFile(path)
            whole = sum(member.file_size for member in self._archive.filelist)
            self._size = path.stat().st_size
            ARCHIVE.allow(whole, "its arrays", self._size)
            self.names = [name[:-4] for name in self._archive.namelist() if name.endswith(".npy")]

    def read(self, name: str, check: Check) -> np.ndarray:
        with self._sound(), self._archive.open(f"{name}.npy") as file:
            return _npy(file, check, self._size)

    @contextmanager
    def _sound(self) -> Iterator[None]:
        try:
            yield
        except ConvError:
            raise
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, KeyError, ValueError):
            raise ConvError("no .npz file, or a damaged one") from None


class _Safetensors:
    """A header of JSON, and the values in a row.  The format's own library maps the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(0)
                length = int.from_bytes(file.read(8), "little")
                if not 2 <= length <= min(_MAX_NAMES, size - 8):
                    raise ValueError
                header = json.loads(file.read(length))
            self._first, self._size = 8 + length, size
            self.facts: Mapping[str, str] = dict(header.pop("__metadata__", {}))
            self._entries = {
                name: (str(entry["dtype"]), tuple(entry["shape"]), *entry["data_offsets"])
                for name, entry in header.items()
            }
            for kind, shape, start, stop in self._entries.values():
                dtype = _SAFE_TYPES.get(kind)
                if not (
                    _is_shape((*shape, start, stop))
                    and 0 <= start <= stop <= size - self._first
                    and (dtype is None or math.prod(shape) * np.dtype(dtype).itemsize == stop - start)
                ):
                    raise ValueError
            if sum(stop - start for *_, start, stop in self._entries.values()) > size - self._first:
                raise ValueError  # arrays that share their bytes: few could become very many
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ConvError("no .safetensors file, or a damaged one") from None
        self.names = list(self._entries)

    def read(self, name: str, check: Check) -> np.ndarray:
        kind, shape, start, _ = self._entries[name]
        if kind not in _SAFE_TYPES:
            raise ConvError(f"{kind} is not a NumPy type; convert the weights to float32")
        with self._path.open("rb") as file:
            file.seek(self._first + start)
            return _values(file, shape, np.dtype(_SAFE_TYPES[kind]), check, self._size)


SUFFIXES: dict[str, Callable[[Path], ArrayFile]] = {".npy": _Npy, ".npz": _Npz, ".safetensors": _Safetensors}


def _npy(file: IO[bytes], check: Check, size: int) -> np.ndarray:
    header = npy_header(file)
    if header.fortran:  # the same bytes are the transposed array in C order
        return _values(file, header.shape[::-1], header.dtype, check, size).T
    return _values(file, header.shape, header.dtype, check, size)


def _values(file: IO[bytes], shape: Sequence[int], dtype: np.dtype, check: Check, size: int) -> np.ndarray:
    if shape:
        check(shape, size)
    wanted = math.prod(shape) * dtype.itemsize
    data = file.read(wanted)
    if len(data) < wanted:
        raise ConvError(f"cut short; {len(data)} of {wanted} bytes are there")
    return np.frombuffer(data, dtype).reshape(shape)
