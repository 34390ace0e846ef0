"""Arrays of other libraries, taken as numpy's and given back as what they were: tensors, pictures, labelled arrays.

None of the libraries is imported here: who has an object of one has loaded it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np

from convcli.common import UsageError, frozen
from convcli.data.axes import Axis, Even, Listed, Positions
from convcli.data.info import Colour, Info

_NAMES = {"band": "C", "channel": "C", "time": "T", "lat": "Y", "latitude": "Y", "lon": "X", "longitude": "X"}
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
        From a result and its form.
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
    give: Callable[[np.ndarray, Info], Any]
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
    return Taken(given, None, lambda result, _: result)


def _tensor(given: Any, _: str | None) -> Taken:
    torch = sys.modules["torch"]
    if given.is_meta or given.layout is not torch.strided or given.is_quantized or given.is_nested:
        raise UsageError(
            "a tensor without numbers, sparse, quantised or nested is not filtered: make it dense"
        )
    wanted = given if given.requires_grad and torch.is_grad_enabled() else None
    back = lambda result, _: torch.from_numpy(result).to(given.device)  # noqa: E731
    return Taken(given.detach().cpu(), None, back, tensor=wanted)


def _lazy(given: Any, _: str | None) -> Taken:
    given = given.astype(np.uint8) if given.dtype == bool else given
    form = np.broadcast_to(np.zeros((), given.dtype), given.shape)
    return Taken(form, None, lambda result, _: result, lazy=given)


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

    def give(result: np.ndarray, made: Info) -> Any:
        if made.letters not in ("YX", form.letters) or (result.ndim == 3 and result.dtype != np.uint8):
            raise UsageError(
                f"the result, {made.letters} of {result.dtype}, is no picture: filter np.asarray(picture) with "
                f"axes={form.letters!r}"
            )
        wide = result.dtype == np.float64
        return sys.modules["PIL.Image"].fromarray(result.astype(np.float32) if wide else result)

    return Taken(array, form if letters is None else None, give, is_picture=True)


def _labelled(given: Any, letters: str | None) -> Taken:
    if letters is None:
        letters = _letters([str(name) for name in given.dims])
    array = np.asarray(given)
    if len(letters) != array.ndim:
        raise UsageError(f"axes {letters!r} do not name the dimensions {', '.join(map(str, given.dims))}")
    names = dict(zip(letters.upper(), given.dims, strict=True))
    places = {letter: given.coords[name].values for letter, name in names.items() if name in given.coords}
    axes = tuple(
        Axis(
            letter, size, _positions(places.get(letter), given.coords[name].attrs if letter in places else {})
        )
        for (letter, name), size in zip(names.items(), array.shape, strict=True)
    )

    def give(result: np.ndarray, made: Info) -> Any:
        coords = {}
        for axis in made.axes:
            old = places.get(axis.letter)
            if old is not None:
                coords[names[axis.letter]] = _coordinates(old, axis)
        dims = [names.get(axis.letter, "map") for axis in made.axes]
        kept = {name: values for name, values in coords.items() if values is not None}
        made_of = type(given)(result, dims=dims, coords=kept, name=given.name, attrs=given.attrs)
        for name in kept:
            made_of[name].attrs = given.coords[name].attrs
        return made_of

    return Taken(array, Info(axes, array.dtype.name), give)


def _letters(dims: list[str]) -> str:
    found = [_NAMES.get(name.lower(), name[:1].upper()) for name in dims]
    if len(dims) == 1:
        return "X"
    if len(set(found)) < len(found) or set(found) - set("NCTZYX"):
        named = ", ".join(dims)
        raise UsageError(f"the names of the dimensions {named} do not say what they are: give axes='TYX'")
    return "".join(found)


def _positions(places: np.ndarray | None, attributes: dict[str, Any]) -> Positions | None:
    """Return where samples lie: evenly, in the unit of the coordinate, or by their number in its list."""
    if places is None or places.ndim != 1 or len(places) < 2 or places.dtype.kind not in "iufmM":
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


def _coordinates(old: np.ndarray, axis: Axis) -> np.ndarray | None:
    """Return the coordinates of an output's samples, of the kind that the input's were."""
    own = axis.positions
    if own is None:
        return old if len(old) == axis.size else None
    found = [own.at(index) for index in range(axis.size)]
    if isinstance(own, Listed):
        return old[[int(place) for place in found if place is not None]] if None not in found else None
    numbers = np.array([float(place) for place in found if place is not None])
    if old.dtype.kind not in "mM":
        return numbers if old.dtype.kind == "f" or (numbers % 1).any() else numbers.astype(old.dtype)
    return old[0] + np.round(numbers * 1e9).astype("timedelta64[ns]")


_LIBRARIES: dict[tuple[str, str], Callable[[Any, str | None], Taken]] = {
    ("torch", "Tensor"): _tensor,
    ("dask.array", "Array"): _lazy,
    ("PIL.Image", "Image"): _picture,
    ("xarray", "DataArray"): _labelled,
}
