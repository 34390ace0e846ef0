"""Objects of other libraries, taken as arrays and given back as what they were: tensors, pictures, tables, labels.

None of the libraries is imported here: who has an object of one has loaded it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from convcli.common import UsageError, frozen
from convcli.data.axes import Axis, Even, Listed, Positions
from convcli.data.info import Colour, Info

_NAMES = {"band": "C", "channel": "C", "time": "T", "lat": "Y", "latitude": "Y", "lon": "X", "longitude": "X"}
# Asked for where it is needed: of each axis that windows slide along, the sample under the kernel's origin.
Where = Callable[[], Mapping[str, np.ndarray]]
_BANDS = {"LA": Colour.GREY_ALPHA, "RGB": Colour.RGB, "RGBA": Colour.RGBA}


@frozen
class Taken:
    """An object's samples, what its axes are, and how a result becomes such an object again.

    Attributes
    ----------
    array : ndarray
    form : Info or None
        Where the object itself tells its axes.
    give : callable
        From a result, its form, and which samples its samples correspond to: none in a transposed convolution.
    is_picture : bool
        Results are pixels unless a range is asked for.
    tensor : torch.Tensor, optional
        The object, where gradients by it are wanted.
    lazy : dask.array.Array, optional
        The object, whose samples are not there yet: ``array`` has its form alone.
    holds : tuple of str
        The types that results can be stored as, where not all can.
    """

    array: Any
    form: Info | None
    give: Callable[[Any, Info, Where], Any]
    is_picture: bool = False
    tensor: Any = None
    lazy: Any = None
    holds: tuple[str, ...] = ()


def taken(given: Any, letters: str | None) -> Taken:
    """Return what an object holds; anything that none of the libraries made is given back as numpy's array.

    Parameters
    ----------
    letters
        Of the dimensions, where the caller names them.

    Raises
    ------
    UsageError
        For a picture whose samples are no colours, and for dimensions whose names tell no letter.
    """
    if isinstance(given, Taken):
        return given
    for (module, name), take in _LIBRARIES.items():
        kind = getattr(sys.modules.get(module), name, None)
        if kind is not None and isinstance(given, kind):
            return take(given, letters)
    return Taken(given, None, lambda result, *_: result)


def _tensor(given: Any, _: str | None) -> Taken:
    torch = sys.modules["torch"]
    if given.is_meta or given.layout is not torch.strided or given.is_quantized or given.is_nested:
        raise UsageError(
            "a tensor without numbers, sparse, quantised or nested is not filtered: make it dense"
        )
    wanted = given if given.requires_grad and torch.is_grad_enabled() else None
    back = lambda result, *_: torch.from_numpy(result).to(given.device)  # noqa: E731
    plain = given.detach().cpu().resolve_conj().resolve_neg()
    plain = plain.float() if plain.dtype == torch.bfloat16 else plain  # which numpy lacks
    return Taken(plain, None, back, tensor=wanted)


def _lazy(given: Any, _: str | None) -> Taken:
    given = given.astype(np.uint8) if given.dtype == bool else given
    form = np.broadcast_to(np.zeros((), given.dtype), given.shape)
    return Taken(form, None, lambda result, *_: result, lazy=given)


def _picture(given: Any, letters: str | None) -> Taken:
    if given.mode in ("P", "PA"):  # numbers of colours: what they mean is filtered
        given = given.convert("RGBA" if given.has_transparency_data else "RGB")
    elif given.mode == "1":
        given = given.convert("L")
    elif given.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBa", "La", "RGBX"):
        raise UsageError(f"a picture of mode {given.mode} cannot be filtered: convert it, e.g. to RGB")
    array = np.asarray(given)
    colour = _BANDS.get(given.mode, Colour.GREY)
    form = Info.of("YXC" if array.ndim == 3 else "YX", array.shape, array.dtype.name, colour)

    def give(result: np.ndarray, made: Info, _: Where) -> Any:
        if made.letters not in ("YX", form.letters) or (result.ndim == 3 and result.dtype != np.uint8):
            raise UsageError(
                f"the result, {made.letters} of {result.dtype}, is no picture: filter np.asarray(picture) with "
                f"axes={form.letters!r}"
            )
        wide = result.dtype == np.float64
        return sys.modules["PIL.Image"].fromarray(result.astype(np.float32) if wide else result)

    return Taken(array, form if letters is None else None, give, is_picture=True)


def _table(given: Any, letters: str | None) -> Taken:
    """Take a table of pandas or Polars: each column is filtered along the rows, whose labels travel along."""
    array = np.asarray(given)
    if letters is not None:  # a grid of numbers
        return Taken(array, None, lambda result, *_: result)
    index = getattr(given, "index", None)  # Polars has none
    labels = (
        np.arange(0) if index is None else np.asarray(index, "M8[ns]" if index.dtype.kind == "M" else None)
    )
    form = Info.of("XC"[: array.ndim], array.shape, array.dtype.name).placed(X=_positions(labels, {}))

    def give(result: np.ndarray, made: Info, where: Where) -> Any:
        if made.letters not in ("X", "XC") or made.channels != form.channels:
            raise UsageError(
                f"the result, {made.letters} of shape {made.shape}, has not the columns of the table: name axes='YX' "
                "for a kernel of two axes, or filter to_numpy()"
            )
        result = result.reshape(-1, *array.shape[1:])
        if index is None:
            return type(given)(result, given.columns) if array.ndim == 2 else type(given)(given.name, result)
        rows = where()["X"]
        kept = index.take(rows, allow_fill=True, fill_value=np.nan) if len(rows) else None
        return type(given)(
            result, index=kept, **({"columns": given.columns} if array.ndim == 2 else {"name": given.name})
        )

    return Taken(array, form, give)


def _labelled(given: Any, letters: str | None) -> Taken:
    """Take a labelled array: coordinates that lie evenly move with the windows, others stay with their samples."""
    if letters is None:
        letters = _letters([str(name) for name in given.dims])
    held = taken(given.data, None)
    array = np.asarray(given if held.lazy is None else held.array)
    if len(letters) != array.ndim:
        raise UsageError(f"axes {letters!r} do not name the dimensions {', '.join(map(str, given.dims))}")
    names = dict(zip(letters.upper(), given.dims, strict=True))
    places = {letter: given.coords[name] for letter, name in names.items() if name in given.coords}
    axes = tuple(
        Axis(
            letter,
            size,
            _positions(places[letter].values, places[letter].attrs) if letter in places else None,
        )
        for letter, size in zip(names, array.shape, strict=True)
    )

    def give(result: Any, made: Info, where: Where) -> Any:
        picks, moved, origins = {}, {}, where()
        for letter, name in names.items():
            if letter not in made.letters:
                continue
            axis, size = made.axis(letter), given.sizes[name]
            rows = origins.get(letter, np.arange(size))
            if len(rows) == axis.size and (rows >= 0).all() and (rows < size).all():
                picks[name] = rows
            if isinstance(axis.positions, Even):
                moved[name] = (name, _coordinates(places[letter].values, axis), places[letter].attrs)
        beside = {name: one for name, one in given.coords.items() if name not in moved}
        lost = [name for name, one in beside.items() if not picks.keys() >= set(one.dims)]
        if lost:
            warnings.warn(f"left out: coordinates {', '.join(map(str, lost))}", stacklevel=4)
        kept = given.coords.to_dataset().drop_vars([*moved, *lost]).isel(picks, missing_dims="ignore")
        dims = [names.get(axis.letter, "map") for axis in made.axes]
        labelled = type(given)(result, dims=dims, name=given.name, attrs=given.attrs)
        return labelled.assign_coords(kept.coords).assign_coords(moved)

    return Taken(array, Info(axes, array.dtype.name, volume="Z" in names), give, lazy=held.lazy)


def _letters(dims: list[str]) -> str:
    found = [_NAMES.get(name.lower(), name[:1].upper()) for name in dims]
    if len(dims) == 1:
        return "X"
    if len(set(found)) < len(found) or set(found) - set("NCTZYX"):
        named = ", ".join(dims)
        raise UsageError(f"the names of the dimensions {named} do not say what they are: give axes='TYX'")
    return "".join(found)


def _positions(places: np.ndarray, attributes: dict[str, Any]) -> Positions | None:
    """Return where samples lie: evenly, in the unit of the coordinate, or by their number in its list."""
    if places.ndim != 1 or len(places) < 2 or places.dtype.kind not in "iufmM":
        return None
    numbers, by_number = _seconds(places), Listed(range(len(places)), Fraction(1), "")
    if not np.isfinite(numbers).all():  # a missing coordinate
        return by_number
    exact = [Fraction(value) for value in numbers.tolist()]
    step = (exact[-1] - exact[0]) / (len(exact) - 1)
    if any(abs((b - a) - step) > abs(step) / 1000 for a, b in pairwise(exact)) or not step:
        return by_number
    unit = "s" if places.dtype.kind in "mM" else str(attributes.get("units", ""))
    return Even(exact[0], step, "deg" if unit.startswith("degree") else unit)


def _seconds(places: np.ndarray) -> np.ndarray:
    """Return times as seconds since the first, and other numbers as they are."""
    if places.dtype.kind not in "mM":
        return places
    return (places - places[0]) / np.timedelta64(1, "s")


def _coordinates(old: np.ndarray, axis: Axis) -> np.ndarray:
    """Return the coordinates of an output's samples, which lie evenly, of the kind that the input's were."""
    found = [axis.positions.at(index) for index in range(axis.size)] if axis.positions else []
    numbers = np.array([float(place) for place in found if place is not None])
    if old.dtype.kind not in "mM":
        return numbers if old.dtype.kind == "f" or (numbers % 1).any() else numbers.astype(old.dtype)
    return old[0] + np.round(numbers * 1e9).astype("timedelta64[ns]")


_LIBRARIES: dict[tuple[str, str], Callable[[Any, str | None], Taken]] = {
    ("torch", "Tensor"): _tensor,
    ("dask.array", "Array"): _lazy,
    ("PIL.Image", "Image"): _picture,
    ("xarray", "DataArray"): _labelled,
    **{(library, name): _table for library in ("pandas", "polars") for name in ("DataFrame", "Series")},
}
