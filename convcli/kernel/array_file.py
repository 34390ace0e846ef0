"""Weights stored as arrays: ``.npy``, ``.npz#KEY``, ``.safetensors#KEY``.

Only plain numbers are read, and no more of them than a kernel may have: pickled objects are refused, whatever a
file says of itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from convcli.common import ConvError, about, quoted, unreadable
from convcli.kernel.model import MAX_WEIGHTS, Kernel, check_size, slug

if TYPE_CHECKING:
    import numpy as np

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
    from convcli.data.array_files import open_arrays

    path, key = _split(text)
    with about(f"{what} {text!r}"):
        try:
            file = open_arrays(path)
            return file.read(_pick(file.names, key, path), partial(check_size, most=most))
        except OSError as error:
            raise ConvError(unreadable(error)) from None


def _split(text: str) -> tuple[Path, str]:
    keyed = _KEYED.fullmatch(text)
    return (Path(keyed[1]), keyed[2]) if keyed else (Path(text), "")


def _pick(keys: Sequence[str], key: str, path: Path) -> str:
    if key in keys:
        return key
    if not key and len(keys) == 1:
        return keys[0]
    if not keys:
        raise ConvError("it holds no array")
    problem = f"no array {quoted(key)}" if key else "several arrays"
    raise ConvError(f"it has {problem}; write {path.name}#KEY with one of {', '.join(keys[:8])}")
