"""The numbers of a net's parameters: from its own text, from files, or drawn at random; and saved.

Arrays go by ``LAYER.PARAMETER`` (``conv1.weight``), torch's own names.  Here transposed convolutions are
(out, in, …) as everywhere in convcli; files of torch and ONNX keep them as (in, out, …), which is swapped on
the way in.  Pickled code is never run.
"""

from __future__ import annotations

import importlib
import json
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from convcli.common import ConvError, UsageError, about, printable, unreadable
from convcli.common.budget import DRAWN, PARAMETERS, PIXELS, STATE_DICT, check_memory
from convcli.kernel.array_file import few, is_array_file, load_array, pick, split
from convcli.kernel.model import check_size, size_text
from convcli.networks.operations import Fill, Numbers, Parameter, Random, Stored

if TYPE_CHECKING:
    import numpy as np
    import torch

STATE_DICTS = (".pt", ".pth", ".bin")
ONNX = (".onnx",)
SUFFIXES = (".npy", ".npz", ".safetensors", *STATE_DICTS, *ONNX)
check_weights = partial(check_size, rule=PARAMETERS)
_MOST_ENTRIES = 100_000  # of a state dict
_DEEPEST = 50

Arrays = dict[str, "np.ndarray"]


def is_weights_file(text: str) -> bool:
    """Tell whether a text names a file of weights, with or without ``#KEY``.

    >>> is_weights_file("resnet18.pth#conv1.weight"), is_weights_file("1,0,-1")
    (True, False)
    """
    return is_array_file(text) or split(text)[0].suffix.lower() in (*STATE_DICTS, *ONNX)


def swaps(text: str) -> bool:
    """Whether a file keeps transposed convolutions as (in, out, …): torch's state dicts and ONNX do."""
    return split(text)[0].suffix.lower() in (*STATE_DICTS, *ONNX)


def load_weights(text: str) -> np.ndarray:
    """Return the array that ``FILE`` or ``FILE#KEY`` names, as it is in the file.

    Raises
    ------
    ConvError
        When the file is missing, damaged, carries code, or has no such array; or a package to read it is missing.
    """
    if is_array_file(text):
        return load_array(text, what="weights file", check=check_weights)
    path, key = split(text)
    arrays = load_all(path)
    with about(_title(path)):
        return arrays[pick(list(arrays), key, path)]


def load_all(path: Path) -> Arrays:
    """Return every array of numbers in a file that holds them by name; errors as in `load_weights`."""
    from convcli.data.array_files import regular

    with about(_title(path)):
        try:
            stamp = regular(path)
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
    if suffix not in SUFFIXES[1:]:
        raise UsageError(f"weights by name come from {', '.join(SUFFIXES[1:])}")
    from convcli.data.array_files import open_arrays

    file = open_arrays(path)
    return {name: file.read(name, check_weights) for name in file.names}


def _state_dict(path: Path) -> Arrays:
    """Read what torch.save wrote: tensors only, nested dictionaries joined by dots."""
    import pickle

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickles: what comes out is checked below
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # whatever a damaged pickle, which is a program, makes torch's interpreter raise
        named = any(word in str(error).lower() for word in ("unsupported", "global"))
        if named and isinstance(error, pickle.UnpicklingError):
            raise ConvError(
                "it holds pickled objects, which can run code and are refused; "
                "save its tensors alone with torch.save(model.state_dict(), FILE)"
            ) from None
        raise ConvError("no PyTorch state dict, or a damaged one") from None
    arrays: Arrays = {}
    made = 0  # bytes beside the file's own
    for number, (names, value) in enumerate(_entries(found)):
        if number >= _MOST_ENTRIES or len(names) > _DEEPEST:
            raise ConvError(f"more than {_MOST_ENTRIES:,} entries, or one inside the other without an end")
        name = ".".join(names)
        if isinstance(value, torch.Tensor) and (array := _as_array(value, name)) is not None:
            arrays[name] = array
            made += array.nbytes if array.ctypes.data != value.data_ptr() else 0  # a copy, no view
            STATE_DICT.allow(made, "it", path.stat().st_size)
    if not arrays:
        raise ConvError("it holds no tensors by name; save model.state_dict()")
    return arrays


def _entries(value: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield what is in nested dictionaries, and they themselves."""
    yield names, value
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _entries(part, (*names, str(key)))


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


def onnx_model(path: Path) -> Any:
    """Return what the onnx library reads from a file; errors as in `load_weights`."""
    from convcli.data.array_files import regular

    try:
        onnx = importlib.import_module("onnx")  # an extra
        decode_error = importlib.import_module("google.protobuf.message").DecodeError
    except ImportError:
        raise ConvError('reading it needs the package onnx: pip install "convcli[onnx]"') from None
    try:
        regular(path)
        return onnx.load(str(path), load_external_data=False)
    except OSError as error:
        raise ConvError(unreadable(error)) from None
    except (decode_error, ValueError):
        raise ConvError("it is no ONNX model, or damaged") from None


def _onnx(path: Path) -> Arrays:
    model = onnx_model(path)
    onnx, numpy_helper = importlib.import_module("onnx"), importlib.import_module("onnx.numpy_helper")
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


_CLASSES = "classes"  # the key of their names in a file's metadata


def save(file: IO[bytes], arrays: Mapping[str, np.ndarray], facts: Mapping[str, str] | None = None) -> None:
    """Write arrays by name as safetensors, with ``facts`` as its metadata.

    The arrays are ours: transposed convolutions (out, in, …), as `initial` reads them back.
    """
    import numpy as np
    from safetensors.numpy import save as encoded

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    file.write(encoded(whole, dict(facts) if facts else None))


def class_facts(names: Sequence[str]) -> dict[str, str]:
    """Return what `save` keeps of the classes that weights were trained for."""
    return {_CLASSES: json.dumps(list(names))} if names else {}


def class_names(path: Path) -> tuple[str, ...]:
    """Return the names of the classes that a file of weights was trained for; nothing where it holds none."""
    if path.suffix.lower() != ".safetensors":
        return ()
    from convcli.data.array_files import open_arrays

    try:
        names = json.loads(open_arrays(path).facts.get(_CLASSES, "[]"))
    except (ConvError, OSError, ValueError, TypeError, RecursionError):
        return ()
    return tuple(printable(str(name)) for name in names) if isinstance(names, list) else ()


def initial(
    parameters: Mapping[str, Parameter],
    stored: Mapping[str, np.ndarray] | Path | None = None,
    seed: int | None = None,
    pixels: int | None = PIXELS,
) -> Arrays:
    """Return float64 arrays for all parameters of a net.

    Parameters
    ----------
    parameters
        By name, from `convcli.networks.model.parameters_of`.
    stored
        Arrays that stand before what the net's file says, by the same names, or the file of them (`load_for`).
    seed
        For random parameters that have no seed.
    pixels
        As in `convcli.common.budget.Rule`, for the numbers that no file holds.

    Raises
    ------
    UsageError
        When a parameter has no numbers, or not as many as its shape needs; named, got and wanted.
    ConvError
        For more parameters than memory is meant for.
    """
    if isinstance(stored, Path):
        stored = load_for(stored, parameters)
    open_ = {name: one for name, one in parameters.items() if name not in (stored or {})}
    missing = [name for name, one in open_.items() if one.fill == Random() and seed is None]
    if missing:
        raise UsageError(
            f"no numbers for {few(dict.fromkeys(missing), 4)}: give --weights FILE with arrays of these names, "
            "or a seed (seed: 0 in the net, or --seed 0) for random ones"
        )
    count = sum(math.prod(parameter.shape) for parameter in parameters.values())
    drawn = sum(math.prod(one.shape) for one in open_.values() if not isinstance(one.fill, Stored))
    DRAWN.allow(drawn, f"{drawn:,} parameters that no file holds", 0, pixels)
    check_memory(f"{count:,} parameters", DRAWN.each * count)
    arrays: Arrays = {}
    for position, (name, parameter) in enumerate(parameters.items()):
        if stored and name in stored:
            arrays[name] = _fitted(stored[name], parameter.shape, name)
        else:
            arrays[name] = _filled(parameter, name, position, seed)
    return arrays


def load_for(path: Path, parameters: Mapping[str, Parameter]) -> Arrays:
    """Return the arrays of a file that belong to a net's parameters, by name, as `initial` takes them.

    Raises
    ------
    ConvError
        As in `load_weights`, and when no name fits.
    """
    found = load_all(path)
    fitting = {name: found[name] for name in parameters if name in found}
    if not fitting:
        raise ConvError(
            f"none of its arrays ({few(found, 4)}) is of this net: {few(parameters, 4)}", subject=_title(path)
        )
    if swaps(str(path)):
        fitting |= {
            name: _swapped(array, parameters[name])
            for name, array in fitting.items()
            if parameters[name].swappable
        }
    return fitting


def _filled(parameter: Parameter, name: str, position: int, seed: int | None) -> np.ndarray:
    import numpy as np

    fill: Fill = parameter.fill
    if isinstance(fill, Stored):
        array = load_weights(fill.place)
        return _fitted(_swapped(array, parameter) if fill.swapped else array, parameter.shape, name)
    if isinstance(fill, Numbers):
        values = np.array(fill.values, np.float64)
        if len(values) == 1:
            return np.full(parameter.shape, values[0])
        return _fitted(values, parameter.shape, name)
    bound = 1 / math.sqrt(max(parameter.fan_in, 1))
    random = np.random.default_rng([*(fill.seed or (seed or 0,)), position])
    return random.uniform(-bound, bound, parameter.shape)


def _swapped(array: np.ndarray, parameter: Parameter) -> np.ndarray:
    """Return (in, out of a group, …) as (out, in of a group, …); what cannot be is left for `_fitted` to refuse."""
    groups = parameter.swappable
    if array.ndim < 2 or array.shape[0] % groups:
        return array
    apart = array.reshape(groups, -1, *array.shape[1:]).swapaxes(1, 2)
    return apart.reshape(-1, *apart.shape[2:])


def _fitted(array: np.ndarray, shape: tuple[int, ...], name: str) -> np.ndarray:
    """Return an array in a parameter's shape; axes of length 1 may be missing (a bare kernel, a flat bias)."""
    import numpy as np

    if array.dtype.kind not in "biuf":
        raise UsageError(f"weights are real numbers, not {array.dtype}", subject=name)
    if [n for n in array.shape if n != 1] != [n for n in shape if n != 1] and not (
        array.ndim == 1 and array.size == math.prod(shape)
    ):
        got, wanted = (size_text(one) or "one number" for one in (array.shape, shape))
        raise UsageError(f"the weights are {got}, and {wanted} is needed", subject=name)
    numbers = np.asarray(array, np.float64).reshape(shape)
    if not np.isfinite(numbers).all():
        raise UsageError("the weights hold values that are not finite (NaN or infinity)", subject=name)
    return numbers
