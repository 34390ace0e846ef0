"""Arrays of weights from files of every kind, as they are there: one by its key, or all by name.

Pickled code is never run.  What nets make of them is the concern of `weights`.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convcli.common.errors import ConvError, UsageError, about, unreadable
from convcli.common.numbers import quoted
from convcli.kernel.array_file import is_array_file, load_array
from convcli.kernel.model import check_size

if TYPE_CHECKING:
    import numpy as np
    import torch

STATE_DICTS = (".pt", ".pth", ".bin")
ONNX = (".onnx",)
SUFFIXES = (".npy", ".npz", ".safetensors", *STATE_DICTS, *ONNX)
MAX_NUMBERS = 500_000_000  # of one array, 2 GB as float32
_MOST_ENTRIES = 100_000  # of a state dict
_DEEPEST = 50

Arrays = dict[str, "np.ndarray"]


def is_weights_file(text: str) -> bool:
    """Tell whether a text names a file of weights, with or without ``#KEY``.

    >>> is_weights_file("resnet18.pth#conv1.weight"), is_weights_file("1,0,-1")
    (True, False)
    """
    return is_array_file(text) or _split(text)[0].suffix.lower() in (*STATE_DICTS, *ONNX)


def _split(text: str) -> tuple[Path, str]:
    path, hash_, key = text.partition("#")
    return (Path(path), key) if hash_ else (Path(text), "")


def swaps(text: str) -> bool:
    """Whether a file keeps transposed convolutions as (in, out, …): torch's state dicts and ONNX do."""
    return _split(text)[0].suffix.lower() in (*STATE_DICTS, *ONNX)


def load_weights(text: str) -> np.ndarray:
    """Return the array that ``FILE`` or ``FILE#KEY`` names, as it is in the file.

    Raises
    ------
    ConvError
        When the file is missing, damaged, carries code, or has no such array; or a package to read it is missing.
    """
    if is_array_file(text):
        return load_array(text, what="weights file", most=MAX_NUMBERS)
    path, key = _split(text)
    arrays = load_all(path)
    if key in arrays:
        return arrays[key]
    if not key and len(arrays) == 1:
        return next(iter(arrays.values()))
    problem = f"no array {quoted(key)}" if key else "several arrays"
    hint = f"write {path.name}#KEY with one of {few(arrays)}"
    raise ConvError(f"it has {problem}; {hint}", subject=_title(path))


def few(arrays: Mapping[str, Any], most: int = 8) -> str:
    """Return names for an error, the first of them where there are many."""
    names = list(arrays)
    return ", ".join(names[:most]) + (f" … ({len(names)} in all)" if len(names) > most else "")


def load_all(path: Path) -> Arrays:
    """Return every array of numbers in a file that holds them by name; errors as in `load_weights`."""
    with about(_title(path)):
        try:
            stamp = path.stat()
        except OSError as error:
            raise ConvError(unreadable(error)) from None
        return _load_all(path, stamp.st_mtime_ns, stamp.st_size)


def _title(path: Path) -> str:
    return f"weights file {str(path)!r}"


@lru_cache(maxsize=2)  # the layers of a net ask one after the other
def _load_all(path: Path, changed: int, size: int) -> Arrays:
    suffix = path.suffix.lower()
    if suffix in STATE_DICTS:
        return _state_dict(path)
    if suffix in ONNX:
        return _onnx(path)
    if suffix == ".npy":
        raise UsageError(f"weights by name come from {', '.join(SUFFIXES[1:])}")
    from convcli.data.array_files import open_arrays

    file = open_arrays(path)
    return {name: file.read(name, partial(check_size, most=MAX_NUMBERS)) for name in file.names}


def _state_dict(path: Path) -> Arrays:
    """Read what torch.save wrote: tensors only, nested dictionaries joined by dots."""
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickles: what comes out is checked below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported" in str(error).lower() or "global" in str(error).lower():
            raise ConvError(
                "it holds pickled objects, which can run code and are refused; "
                "save its tensors alone with torch.save(model.state_dict(), FILE)"
            ) from None
        raise ConvError("no PyTorch state dict, or a damaged one") from None
    except Exception:  # whatever a damaged pickle, which is a program, makes torch's interpreter raise
        raise ConvError("no PyTorch state dict, or a damaged one") from None
    arrays: Arrays = {}
    waiting: list[tuple[tuple[str, ...], Any]] = [((), found)]
    for visited in count(1):
        if not waiting:
            break
        names, value = waiting.pop()
        if visited > _MOST_ENTRIES or len(names) > _DEEPEST:
            raise ConvError(f"more than {_MOST_ENTRIES:,} entries, or one inside the other without an end")
        if isinstance(value, torch.Tensor):
            array = _as_array(value, ".".join(names))
            arrays |= {} if array is None else {".".join(names): array}
        elif isinstance(value, Mapping):
            waiting.extend(reversed([((*names, str(key)), part) for key, part in value.items()]))
    if not arrays:
        raise ConvError("it holds no tensors by name; save model.state_dict()")
    return arrays


def _as_array(tensor: torch.Tensor, name: str) -> np.ndarray | None:
    """Return a tensor as an array; None for a kind of tensor that numpy has not."""
    import torch

    if tensor.is_nested or tensor.is_meta or tensor.layout is not torch.strided or tensor.is_quantized:
        return None
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ConvError(f"{name} is larger than what the file holds of it: save it with .contiguous()")
    values = tensor.detach().resolve_neg()
    if values.is_floating_point() and values.dtype not in (torch.float16, torch.float32, torch.float64):
        values = values.float()  # bfloat16 and its kind
    try:
        return None if values.is_complex() else values.numpy()
    except TypeError:
        return None


def _onnx(path: Path) -> Arrays:
    try:
        onnx = importlib.import_module("onnx")  # an extra
        numpy_helper = importlib.import_module("onnx.numpy_helper")
        decode_error = importlib.import_module("google.protobuf.message").DecodeError
    except ImportError:
        raise ConvError("reading it needs the package onnx (pip install 'convcli[onnx]')") from None
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (decode_error, ValueError):
        raise ConvError("no ONNX model, or a damaged one") from None
    arrays: Arrays = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ConvError(f"{tensor.name} lies in another file; save the model with its data inside")
        try:
            arrays[tensor.name] = numpy_helper.to_array(tensor)
        except (ValueError, TypeError, KeyError):  # bytes that do not fit its shape, an unknown type
            raise ConvError(f"{tensor.name} is damaged, or of a type that numpy has not") from None
    if not arrays:
        raise ConvError("the model has no initializers, so no weights")
    return arrays
