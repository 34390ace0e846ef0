"""What stores of arrays say of their axes and samples, by the CF conventions 1.12 (chapters 2.5, 4 and 8.1).

Which letter a dimension is, where its samples lie, and which of them are missing or packed.  No files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import field
from fractions import Fraction
from typing import Any

import numpy as np

from convcli.common import ConvError, frozen_identity
from convcli.data import SECOND, SPACE, UNITS, Axis, Even, Listed, Positions
from convcli.media.arrays import parse_axes
from convcli.media.pictures.geo import Nodata


def _by_name(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: one for one, names in texts.items() for name in names.split()}


LETTERS = _by_name({  # of names of dimensions
    "T": "t time frame frames",
    "Z": "z depth lev level plev altitude height air_pressure slice",
    "Y": "y lat latitude northing row rows projection_y_coordinate grid_latitude",
    "X": "x lon longitude easting column columns projection_x_coordinate grid_longitude",
    "C": "c band bands channel channels",
    "N": "n sample batch member number ensemble realization",
})  # fmt: skip
AXES_UNITS = _by_name({  # as axes call them, by their names in UDUNITS, which CF and OME-Zarr take
    "deg": "degree degrees degrees_north degree_north degrees_east degree_east", "rad": "radian radians", "": "1",
    "m": "meter meters metre metres", "km": "kilometer kilometers kilometre kilometres",
    "cm": "centimeter centimeters centimetre centimetres", "mm": "millimeter millimeters millimetre millimetres",
    "um": "micrometer micrometers micrometre micron microns", "nm": "nanometer nanometers nanometre",
    "in": "inch inches", "ft": "foot feet",
    "s": "second seconds secs", "min": "minute minutes mins", "h": "hour hours hr hrs", "d": "day days",
    "ms": "millisecond milliseconds msec msecs", "us": "microsecond microseconds", "ns": "nanosecond nanoseconds",
})  # fmt: skip
UDUNITS = {short: long for long, short in reversed(AXES_UNITS.items()) if short}
_BY_UNIT = {"degrees_n": "Y", "degree_no": "Y", "degrees_e": "X", "degree_ea": "X"}  # by their first letters
_ULPS = 4  # of the largest coordinate, by which evenly spaced ones may be rounded
PACKING = ("scale_factor", "add_offset")
MISSING = ("_FillValue", "missing_value")
STORAGE = (*PACKING, *MISSING)


@frozen_identity
class Dimension:
    """A dimension as a store of arrays has it: its name, and the type and attributes of its coordinate."""

    name: str
    dtype: str = "float64"
    attributes: Mapping[str, Any] = field(default_factory=dict)


@frozen_identity
class Stored:
    """What a store of arrays says of one beside its samples; attributes are texts, lists of texts, numbers of numpy.

    Attributes
    ----------
    path
        Within the file.
    shared
        The attributes of the groups that the array is in, by their paths; ``/`` is the whole file.
    dimensions, chunks
        By the letter of the axis.
    packing
        How chunks are packed, in the words of the writer's library.
    """

    path: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dimensions: Mapping[str, Dimension] = field(default_factory=dict)
    chunks: Mapping[str, int] = field(default_factory=dict)
    packing: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_coordinates(self) -> bool:
        """Whether any dimension has a coordinate that says what it is."""
        return any(one.attributes for one in self.dimensions.values())

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that hold all of this."""
        return ("hdf5", "netcdf", *(("zarr",) if self.has_coordinates else ()))

    @property
    def also(self) -> list[str]:
        """What formats that are none of these hold none of, for messages."""
        return ["attributes"] * bool(self.attributes or any(self.shared.values()))


def letters_of(dimensions: Sequence[Dimension], given: str | None, shape: tuple[int, ...]) -> str:
    """Return the axis letters of an array: those given, or what all of its dimensions are, or by their number.

    Raises
    ------
    UsageError
        As `parse_axes`.
    """
    found = [_letter(one) for one in dimensions]
    if given is not None or None in found or len(set(found)) < len(found) or not set(found) & set(SPACE):
        return parse_axes(given, shape)
    return "X" if len(found) == 1 else "".join(map(str, found))


def _letter(dimension: Dimension) -> str | None:
    """Return what a dimension is by its coordinate's attributes, or else its name."""
    said = {name: str(dimension.attributes.get(name, "")) for name in ("axis", "standard_name", "units")}
    if said["axis"].upper() in ("T", "Z", "Y", "X"):
        return said["axis"].upper()
    if " since " in said["units"]:
        return "T"
    by_unit = _BY_UNIT.get(said["units"][:9])
    names = (said["standard_name"], dimension.name.lower())
    return by_unit or next((LETTERS[name] for name in names if name in LETTERS), None)


def _measured(attributes: Any) -> tuple[str, Fraction]:
    """Return the unit that positions get, and how many of it the unit of a coordinate is: times become seconds."""
    word = re.sub(r"\s+since\s.*", "", str(attributes.get("units", "")), flags=re.DOTALL).strip()
    unit = AXES_UNITS.get(word.lower(), word)
    measure, each = UNITS.get(unit, ("", Fraction(1)))
    return (SECOND, each) if measure == "time" else (unit, Fraction(1))


def positions_of(values: np.ndarray, attributes: Any) -> Positions | None:
    """Return where samples lie, None for coordinates that are not all finite, or that turn back.

    >>> positions_of(np.array([0.5, 1.5, 2.5]), {"units": "days since 2000-01-01"})
    Even(origin=Fraction(43200, 1), spacing=Fraction(86400, 1), unit='s')
    """
    unit, each = _measured(attributes)
    floats = values.astype(np.float64)
    steps = np.diff(floats)
    if not np.isfinite(floats).all() or not ((steps > 0).all() or (steps < 0).all()):
        return None
    rounding = _ULPS * np.finfo(values.dtype).eps * np.abs(floats).max() if values.dtype.kind == "f" else 0.0
    spaced = np.linspace(floats[0], floats[-1], len(floats))
    if len(floats) > 1 and np.abs(floats - spaced).max() <= rounding < np.abs(steps).min() / 2:
        first, last = (Fraction(str(values[index])) for index in (0, -1))
        return Even(first * each, (last - first) / (len(values) - 1) * each, unit)
    ratios = [one.as_integer_ratio() for one in values.tolist()]
    parts = max(below for _, below in ratios)  # powers of two: a multiple of all of them
    return Listed(tuple(above * (parts // below) for above, below in ratios), each / parts, unit)


def coordinate_of(axis: Axis, dimension: Dimension | None) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return the coordinates of an axis and their attributes, None without positions; NaN is a sample at none."""
    if axis.positions is None:
        return None
    attributes, dtype = (
        ({}, "float64") if dimension is None else (dict(dimension.attributes), dimension.dtype)
    )
    unit, each = _measured(attributes)
    if unit != axis.positions.unit:  # a new axis, such as one of frequencies
        attributes, each, dtype = {"units": axis.positions.unit or "1"}, Fraction(1), "float64"
    places = [axis.positions.at(index) for index in range(axis.size)]
    values = np.array([np.nan if place is None else float(place / each) for place in places])
    whole = np.dtype(dtype).kind == "f" or (values == np.rint(values)).all()
    return values.astype(dtype if whole else "float64"), attributes


@frozen_identity
class Coding:
    """How stored samples become values: some stand for missing ones, packed ones are multiplied and shifted.

    Attributes
    ----------
    dtype : str
        Of the values.
    missing
        The numbers that stand for missing samples, of those that the stored type can hold.
    """

    dtype: str
    missing: tuple[Nodata, ...]
    scale: float
    shift: float

    @classmethod
    def of(cls, attributes: Mapping[str, Any], stored: str) -> Coding:
        """Return what attributes say of samples of a type."""
        missing = list[Nodata]()
        for value in (value for name in MISSING for value in np.ravel(attributes.get(name, []))):
            with suppress(ValueError, OverflowError):
                missing.append(Nodata(str(value), stored))
        try:
            scale, shift = (
                float(np.ravel(attributes.get(key, usual))[0])
                for key, usual in zip(PACKING, (1, 0), strict=True)
            )
        except (ValueError, TypeError, IndexError):
            raise ConvError(f"{' or '.join(PACKING)} is not a number") from None
        dtype = missing[0].dtype if missing else stored
        return cls(dtype if (scale, shift) == (1, 0) else "float64", tuple(missing), scale, shift)

    @property
    def is_packed(self) -> bool:
        return (self.scale, self.shift) != (1, 0)

    @property
    def notes(self) -> tuple[str, ...]:
        how = f"times {self.scale:g} plus {self.shift:g}"
        return (f"packed numbers are read {how}; a result is not packed",) * self.is_packed

    def unpacked(self, samples: np.ndarray) -> np.ndarray:
        """Return samples as numbers, those that stand for missing ones too."""
        return samples * self.scale + self.shift if self.is_packed else samples

    def values(self, samples: np.ndarray) -> np.ndarray:
        """Return samples as values, NaN where they are missing."""
        found = self.unpacked(samples.astype(self.dtype, copy=False))
        for one in self.missing:
            found[one.marks(samples)] = np.nan
        return found
