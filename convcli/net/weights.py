"""The numbers of a net: arrays from files of every kind, from the net's own text, or drawn at random; and saved.

Arrays go by ``LAYER.PARAMETER`` (``conv1.weight``), torch's own names.  Here transposed convolutions are
(out, in, …) as everywhere in convcli; files of torch and ONNX keep them as (in, out, …), which is swapped on
the way in.  Pickled code is never run.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from convcli.errors import ConvError, UsageError
from convcli.kernel.array_file import is_array_file, load_array
from convcli.kernel.model import size_text
from convcli.net.operations import Fill, Numbers, Parameter, Random, Stored
from convcli.numerals import quoted

if TYPE_CHECKING:
    import numpy as np

STATE_DICTS = (".pt", ".pth", ".bin")
ONNX = (".onnx",)
SUFFIXES = (".npy", ".npz", ".safetensors", *STATE_DICTS, *ONNX)
MAX_NUMBERS = 500_000_000  # of one array, 2 GB as float32

Arrays = dict[str, "np.ndarray"]


# Files


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
    problem = f"has no array {quoted(key)}" if key else "holds several arrays"
    raise ConvError(f"{path}: {problem}; write {path.name}#KEY with one of {_few(arrays)}")


def _few(arrays: Mapping[str, Any], most: int = 8) -> str:
    names = list(arrays)
    return ", ".join(names[:most]) + (f" … ({len(names)} in all)" if len(names) > most else "")


def stored_shape(text: str) -> tuple[int, ...]:
    """Return the shape of the array that a text names."""
    return tuple(load_weights(text).shape)


def load_all(path: Path) -> Arrays:
    """Return every array of numbers in a file that holds them by name; errors as in `load_weights`."""
    try:
        stamp = path.stat()
    except OSError as error:
        raise ConvError(f"weights file {path}: {error.strerror or error}") from None
    return _load_all(path, stamp.st_mtime_ns, stamp.st_size)


@lru_cache(maxsize=2)  # the layers of a net ask one after the other
def _load_all(path: Path, changed: int, size: int) -> Arrays:
    suffix = path.suffix.lower()
    if suffix in STATE_DICTS:
        return _state_dict(path)
    if suffix in ONNX:
        return _onnx(path)
    if suffix in (".npz", ".safetensors"):
        return {key: load_weights(f"{path}#{key}") for key in _keys(path)}
    raise UsageError(f"{path}: weights by name come from {', '.join(SUFFIXES[1:])}")


def _keys(path: Path) -> list[str]:
    if path.suffix.lower() == ".npz":
        import zipfile

        try:
            with zipfile.ZipFile(path) as archive:
                return [name.removesuffix(".npy") for name in archive.namelist()]
        except zipfile.BadZipFile:
            raise ConvError(f"{path}: no .npz file, or a damaged one") from None
    import safetensors

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return list(file.keys())
    except safetensors.SafetensorError as error:
        raise ConvError(f"{path}: no .safetensors file, or a damaged one ({error})") from None


def _state_dict(path: Path) -> Arrays:
    """Read what torch.save wrote: tensors only, nested dictionaries joined by dots."""
    import pickle

    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "unsupported" in str(error).lower() or "global" in str(error).lower():
            raise ConvError(
                f"{path}: holds pickled objects, which can run code and are refused; "
                "save its tensors alone with torch.save(model.state_dict(), FILE)"
            ) from None
        raise ConvError(f"{path}: no PyTorch state dict, or a damaged one") from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, AttributeError, TypeError):
        raise ConvError(f"{path}: no PyTorch state dict, or a damaged one") from None
    arrays: Arrays = {}
    waiting: list[tuple[str, Any]] = [("", found)]
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if value.layout is torch.strided and not value.is_complex() and not value.is_quantized:
                kept = value.detach()
                arrays[name] = (kept.float() if kept.dtype is torch.bfloat16 else kept).numpy()
        elif isinstance(value, Mapping):
            inner = [(f"{name}.{key}" if name else str(key), part) for key, part in value.items()]
            waiting.extend(reversed(inner))
    if not arrays:
        raise ConvError(f"{path}: holds no tensors by name; save model.state_dict()")
    return arrays


def _onnx(path: Path) -> Arrays:
    try:
        onnx = importlib.import_module("onnx")  # an extra
        numpy_helper = importlib.import_module("onnx.numpy_helper")
        decode_error = importlib.import_module("google.protobuf.message").DecodeError
    except ImportError:
        raise ConvError(f"{path}: reading it needs the package onnx (pip install 'convcli[onnx]')") from None
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (decode_error, ValueError):
        raise ConvError(f"{path}: no ONNX model, or a damaged one") from None
    arrays: Arrays = {}
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise ConvError(
                f"{path}: {tensor.name} lies in another file; save the model with its data inside"
            )
        try:
            arrays[tensor.name] = numpy_helper.to_array(tensor)
        except (ValueError, TypeError):  # its bytes do not fit its shape, or its type is none of numpy's
            raise ConvError(f"{path}: {tensor.name} is damaged, or of a type that numpy has not") from None
    if not arrays:
        raise ConvError(f"{path}: the model has no initializers, so no weights")
    return arrays


def save(file: IO[bytes], arrays: Mapping[str, np.ndarray], facts: Mapping[str, str] | None = None) -> None:
    """Write arrays by name as safetensors, with ``facts`` as its metadata.

    The arrays are ours: transposed convolutions (out, in, …), as `initial` reads them back.
    """
    import numpy as np
    from safetensors.numpy import save as encoded

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    file.write(encoded(whole, dict(facts) if facts else None))


# Filling a net's parameters


def initial(
    parameters: Mapping[str, Parameter],
    stored: Mapping[str, np.ndarray] | None = None,
    seed: int | None = None,
) -> Arrays:
    """Return float64 arrays for all parameters of a net.

    Parameters
    ----------
    parameters
        By name, from `convcli.net.model.parameters_of`.
    stored
        Arrays that stand before what the net's file says, by the same names (``--weights``, a checkpoint).
    seed
        For random parameters that have no seed.

    Raises
    ------
    UsageError
        When a parameter has no numbers, or not as many as its shape needs; named, got and wanted.
    """
    missing = [
        name
        for name, parameter in parameters.items()
        if not (stored and name in stored) and parameter.fill == Random() and seed is None
    ]
    if missing:
        raise UsageError(
            f"{_few(dict.fromkeys(missing), 4)} has no numbers: give --weights FILE with arrays of these names, "
            "or a seed (seed: 0 in the net, or --seed 0) for random ones"
        )
    arrays: Arrays = {}
    for position, (name, parameter) in enumerate(parameters.items()):
        if stored and name in stored:
            arrays[name] = _fitted(stored[name], parameter.shape, name)
        else:
            arrays[name] = _filled(parameter, name, position, seed)
    return arrays


def _filled(parameter: Parameter, name: str, position: int, seed: int | None) -> np.ndarray:
    import numpy as np

    fill: Fill = parameter.fill
    if isinstance(fill, Stored):
        array = load_weights(fill.place)
        return _fitted(array.swapaxes(0, 1) if fill.swapped else array, parameter.shape, name)
    if isinstance(fill, Numbers):
        values = np.array(fill.values, np.float64)
        if len(values) == 1:
            return np.full(parameter.shape, values[0])
        return _fitted(values, parameter.shape, name)
    bound = 1 / math.sqrt(max(parameter.fan_in, 1))
    random = np.random.default_rng([*(fill.seed or (seed or 0,)), position])
    return random.uniform(-bound, bound, parameter.shape)


def _fitted(array: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return an array in a parameter's shape; axes of length 1 may be missing (a bare kernel, a flat bias)."""
    import numpy as np

    if array.dtype.kind not in "biuf":
        raise UsageError(f"{name}: weights are real numbers, not {array.dtype}")
    if [n for n in array.shape if n != 1] != [n for n in shape if n != 1] and not (
        array.ndim == 1 and array.size == math.prod(shape)
    ):
        got, wanted = (size_text(one) or "one number" for one in (array.shape, shape))
        raise UsageError(f"{name}: the weights are {got}, and {wanted} is needed")
    numbers = np.asarray(array, np.float64).reshape(shape)
    if not np.isfinite(numbers).all():
        raise UsageError(f"{name}: the weights hold values that are not finite (NaN or infinity)")
    return numbers
