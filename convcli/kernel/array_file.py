"""Weights stored as arrays: ``.npy``, ``.npz#KEY``, ``.safetensors#KEY``.

Only plain numbers are read, and no more of them than a kernel may have: pickled objects are refused, whatever a
file says of itself.
"""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from convcli.common import ConvError, about, quoted, unreadable
from convcli.kernel.model import Kernel, check_size, slug

if TYPE_CHECKING:
    import numpy as np

SUFFIXES = (".npy", ".npz", ".safetensors")
_KEYED = re.compile(r"(.+?\.(?:npz|safetensors|pt|pth|bin|onnx))#(.+)", re.IGNORECASE | re.DOTALL)


def is_array_file(text: str) -> bool:
    """Tell whether a text names a file of arrays, with or without ``#KEY``.

    >>> is_array_file("net.npz#conv1.weight"), is_array_file("1,0,-1")
    (True, False)
    """
    return split(text)[0].suffix.lower() in SUFFIXES


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
    path, key = split(text)
    kernel = Kernel.from_array(load_array(text), text, rank=rank)
    return replace(kernel, slug=slug(f"{path.stem}-{key}" if key else path.stem))


def load_array(
    text: str, *, what: str = "kernel file", check: Callable[..., None] = check_size
) -> "np.ndarray":
    """Return the array that ``FILE`` or ``FILE#KEY`` names, of whatever shape; errors as in `read_array`.

    ``what`` the file is called in an error, and what refuses a shape, with the size of the file, is the caller's.
    """
    from convcli.data.array_files import open_arrays

    path, key = split(text)
    with about(f"{what} {text!r}"):
        try:
            file = open_arrays(path)
            return file.read(pick(file.names, key, path), check)
        except OSError as error:
            raise ConvError(unreadable(error)) from None


def split(text: str) -> tuple[Path, str]:
    """Return the file and the key of ``FILE`` or ``FILE#KEY``."""
    keyed = _KEYED.fullmatch(text)
    return (Path(keyed[1]), keyed[2]) if keyed else (Path(text), "")


def pick(keys: Sequence[str], key: str, path: Path) -> str:
    """Return the one array that is meant; refuse others (ConvError)."""
    if key in keys:
        return key
    if not key and len(keys) == 1:
        return keys[0]
    if not keys:
        raise ConvError("it holds no array")
    problem = f"no array {quoted(key)}" if key else "several arrays"
    raise ConvError(f"it has {problem}; write {path.name}#KEY with one of {few(keys)}")


def few(names: Collection[str], most: int = 8) -> str:
    """Return names for an error, the first of them where there are many."""
    shown = ", ".join(islice(names, most))
    return shown + (f" … ({len(names)} in all)" if len(names) > most else "")
