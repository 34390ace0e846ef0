"""Weights stored as arrays: ``.npy``, ``.npz#KEY``, ``.safetensors#KEY``.

Only plain numbers are read, and no more of them than a kernel may have: pickled objects are refused, whatever a
file says of itself.
"""

from __future__ import annotations

import importlib
import io
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from convcli.common.errors import ConvError, about
from convcli.common.numbers import quoted
from convcli.kernel.model import MAX_WEIGHTS, Kernel, check_size, slug

if TYPE_CHECKING:
    import numpy as np

_BOMB = 64 << 20  # bytes of an archive's arrays that are always allowed
_GROWTH = 100  # beyond that, so many bytes from each stored one; weights hardly compress at all
_MAX_HEADER = 10_000  # bytes; an honest one has about 120
SUFFIXES = (".npy", ".npz", ".safetensors")
_KEYED = re.compile(r"(.+?\.(?:npz|safetensors))#(.+)", re.IGNORECASE | re.DOTALL)


def is_array_file(text: str) -> bool:
    """Tell whether a text names a file of arrays, with or without ``#KEY``.

    >>> is_array_file("net.npz#conv1.weight"), is_array_file("1,0,-1")
    (True, False)
    """
    return _split(text)[0].suffix.lower() in SUFFIXES


def read_array(text: str, *, rank: int | None = None) -> Kernel:
    """Read the kernel that ``FILE`` or ``FILE#KEY`` names.

    Parameters
    ----------
    text
        A path; ``#KEY`` picks one array of a file that holds several.
    rank
        As in `Kernel.from_array`.

    Raises
    ------
    ConvError
        When the file is missing or damaged, or does not hold the one array of numbers.
    UsageError
        When the array does not make a kernel.
    """
    path, key = _split(text)
    kernel = Kernel.from_array(load_array(text), text, rank=rank)
    return replace(kernel, slug=slug(f"{path.stem}-{key}" if key else path.stem))


def load_array(text: str, *, what: str = "kernel file", most: int = MAX_WEIGHTS) -> np.ndarray:
    """Return the array that ``FILE`` or ``FILE#KEY`` names, of whatever shape; errors as in `read_array`.

    ``what`` the file is called in an error, and how many numbers it may hold at ``most``, is the caller's.
    """
    path, key = _split(text)
    with about(f"{what} {text!r}"):
        try:
            match path.suffix.lower():
                case ".npy":
                    with path.open("rb") as file:
                        return _read_npy(file, most)
                case ".npz":
                    return _read_npz(path, key, most)
                case _:
                    return _read_safetensors(path, key, most)
        except OSError as error:
            raise ConvError(error.strerror or str(error)) from None


def _split(text: str) -> tuple[Path, str]:
    keyed = _KEYED.fullmatch(text)
    return (Path(keyed[1]), keyed[2]) if keyed else (Path(text), "")


def _read_npy(file: IO[bytes], most: int) -> np.ndarray:
    """Read one array; its header is checked before any memory is set aside for it."""
    import numpy as np
    from numpy.lib import format as npy

    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        # numpy reads as long a header as the file says before it looks at its own limit.
        head = io.BytesIO(file.read(_MAX_HEADER))
        shape, fortran, dtype = readers[npy.read_magic(head)](head)
    except (ValueError, KeyError):
        raise ConvError("no .npy file, or a damaged one") from None
    if dtype.hasobject:
        raise ConvError("it holds pickled objects, which are never loaded; save it as plain numbers")
    if shape:
        check_size(shape, most)
    count = math.prod(shape)
    data = head.read()[: count * dtype.itemsize]
    data += file.read(count * dtype.itemsize - len(data))
    if len(data) < count * dtype.itemsize:
        raise ConvError(f"cut short; {len(data)} of {count * dtype.itemsize} bytes are there")
    return np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")


def _read_npz(path: Path, key: str, most: int) -> np.ndarray:
    import zipfile
    import zlib

    try:
        with zipfile.ZipFile(path) as archive:
            whole, stored = sum(member.file_size for member in archive.filelist), path.stat().st_size
            if whole > max(_BOMB, _GROWTH * stored):
                raise ConvError(
                    f"{stored} bytes that would become {whole} are taken for a zip bomb; "
                    "save the arrays with numpy.savez, which does not compress"
                )
            keys = [name.removesuffix(".npy") for name in archive.namelist()]
            with archive.open(f"{_pick(keys, key, path)}.npy") as file:
                return _read_npy(file, most)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, KeyError):
        raise ConvError("no .npz file, or a damaged one") from None


def _read_safetensors(path: Path, key: str, most: int) -> np.ndarray:
    try:
        safetensors = importlib.import_module("safetensors")  # an optional package
    except ImportError:
        raise ConvError("reading it needs the package safetensors (pip install safetensors)") from None
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            picked = _pick(list(file.keys()), key, path)
            check_size(file.get_slice(picked).get_shape() or [1], most)
            array: np.ndarray = file.get_tensor(picked)
            return array
    except TypeError as error:  # numpy has no such type, as with bfloat16
        raise ConvError(f"{error}; convert the weights to float32") from None
    except safetensors.SafetensorError as error:
        raise ConvError(f"no .safetensors file, or a damaged one ({error})") from None


def _pick(keys: list[str], key: str, path: Path) -> str:
    if key in keys:
        return key
    if not key and len(keys) == 1:
        return keys[0]
    problem = f"no array {quoted(key)}" if key else "several arrays"
    raise ConvError(f"it has {problem}; write {path.name}#KEY with one of {', '.join(keys[:8])}")
