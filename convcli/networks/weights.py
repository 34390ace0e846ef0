"""The numbers of a net's parameters: from its own text, from files, or drawn at random; and saved.

Arrays go by ``LAYER.PARAMETER`` (``conv1.weight``), torch's own names.  Here transposed convolutions are
(out, in, …) as everywhere in convcli; files of torch and ONNX keep them as (in, out, …), which is swapped on
the way in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from convcli.common.errors import ConvError, UsageError
from convcli.common.numbers import printable
from convcli.kernel.model import size_text
from convcli.networks.operations import Fill, Numbers, Parameter, Random, Stored
from convcli.networks.weight_files import MAX_NUMBERS, Arrays, few, load_all, load_weights, swaps

if TYPE_CHECKING:
    import numpy as np

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
    stored: Mapping[str, np.ndarray] | None = None,
    seed: int | None = None,
) -> Arrays:
    """Return float64 arrays for all parameters of a net.

    Parameters
    ----------
    parameters
        By name, from `convcli.networks.model.parameters_of`.
    stored
        Arrays that stand before what the net's file says, by the same names (`load_for`).
    seed
        For random parameters that have no seed.

    Raises
    ------
    UsageError
        When a parameter has no numbers, or not as many as its shape needs; named, got and wanted.  For more
        parameters than `MAX_NUMBERS`.
    """
    missing = [
        name
        for name, parameter in parameters.items()
        if not (stored and name in stored) and parameter.fill == Random() and seed is None
    ]
    if missing:
        raise UsageError(
            f"no numbers for {few(dict.fromkeys(missing), 4)}: give --weights FILE with arrays of these names, "
            "or a seed (seed: 0 in the net, or --seed 0) for random ones"
        )
    count = sum(math.prod(parameter.shape) for parameter in parameters.values())
    if count > MAX_NUMBERS:
        raise UsageError(f"{count:,} parameters are more than {MAX_NUMBERS:,}")
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
            f"none of its arrays ({few(found, 4)}) is of this net: {few(parameters, 4)}",
            subject=f"weights file {str(path)!r}",
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
