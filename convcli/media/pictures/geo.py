"""GeoTIFF: where the pixels of a map lie, and the number that stands where nothing was measured.

Tags and keys are those of OGC 19-008r4; those of nodata and of other metadata are GDAL's.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.data import INCH, Even, Info, Metadata

if TYPE_CHECKING:
    import tifffile

SCALE, TIEPOINT, MATRIX = 33550, 33922, 34264
KEYS, DOUBLES, TEXTS = 34735, 34736, 34737
ABOUT, NODATA = 42112, 42113
_MODEL, _RASTER, _ANGLE, _LENGTH = 1024, 1025, 2054, 3076  # keys
_RGB = 2  # PhotometricInterpretation
_GEOGRAPHIC, _POINTS = 2, 2  # kinds of model; pixels are points, not areas
_UNITS = {9001: "m", 9002: "ft", 9003: "us-ft", 9036: "km", 9102: "deg", 9101: "rad"}
_NAMED = re.compile(r'name="UNIT_([XY])">([^<]*)<')  # units of positions that are none of a map
_ITEM = r'\s*<Item[^>]*name="(?:{})[^>]*>[^<]*</Item>'
_STALE = re.compile(_ITEM.format("STATISTICS_"))  # what results no longer are
_PACKED = re.compile(_ITEM.format('SCALE"|OFFSET"'))
_PACKING = re.compile(r'<Item name="(SCALE|OFFSET)" sample="(\d+)" role="[a-z]+">([^<]*)<')


def placed(info: Info, page: tifffile.TiffPage) -> tuple[Info, tuple[int, ...]]:
    """Return a map with the places of its pixels and what names them, and the tags that are told by these.

    A map that is turned against its axes has no places here, and keeps nothing.
    """
    tags = page.tags
    keys = _keys(tags.valueof(KEYS))
    half = Fraction(0) if keys.get(_RASTER) == _POINTS else Fraction(1, 2)
    found = _axes(tags, half)
    if found is None:
        return info, ()
    unit = _UNITS.get(keys.get(_LENGTH, 9001), "")
    if keys.get(_MODEL) == _GEOGRAPHIC:
        unit = _UNITS.get(keys.get(_ANGLE, 9102), "deg")
    named = dict(_NAMED.findall(str(tags.valueof(ABOUT)))) if not keys else {"X": unit, "Y": unit}
    x, y = (Even(*place, named.get(letter, "")) for letter, place in zip("XY", found, strict=True))
    kept = [code for code in (KEYS, DOUBLES, TEXTS, ABOUT) if code in tags]
    geo = tuple((code, int(tags[code].dtype), tags[code].count, _value(tags[code].value)) for code in kept)
    metadata = replace(info.metadata, geo=geo)
    return replace(info, metadata=metadata).placed(X=x, Y=y), (SCALE, TIEPOINT, MATRIX, *kept)


def _value(value: Any) -> Any:
    return _STALE.sub("", value) if isinstance(value, str) else value


def statistics(page: tifffile.TiffPage) -> bool:
    """Say whether GDAL's metadata state statistics of the samples."""
    return _STALE.search(str(page.tags.valueof(ABOUT))) is not None


def packing(info: Info) -> tuple[Info, np.ndarray | None]:
    """Return a map whose values are shifted, as those values, and what its bands are multiplied with and shifted by.

    Scales alone stay with the result: any kernel may be applied before or after them.
    """
    about = next((value for code, *_, value in info.metadata.geo or () if code == ABOUT), "")
    factors = np.tile([[1.0], [0.0]], max(info.channels, 1))
    for name, band, text in _PACKING.findall(about):
        with suppress(ValueError, IndexError):
            factors[int(name == "OFFSET"), int(band)] = float(text)
    if not factors[1].any() or not np.isfinite(factors).all():
        return info, None
    geo = tuple(
        (code, kind, count, _PACKED.sub("", value) if code == ABOUT else value)
        for code, kind, count, value in info.metadata.geo or ()
    )
    told = ", ".join(dict.fromkeys(f"times {scale:g} plus {shift:g}" for scale, shift in factors.T))
    note = f"packed numbers are read {told}; a result is not packed"
    metadata = replace(info.metadata, geo=geo)
    return replace(info, dtype="float64", white=None, metadata=metadata, notes=(*info.notes, note)), factors


def _keys(directory: Any) -> dict[int, int]:
    """Return the short values of a directory of keys."""
    numbers = directory if isinstance(directory, tuple) and len(directory) % 4 == 0 else ()
    return {numbers[i]: numbers[i + 3] for i in range(4, len(numbers), 4) if numbers[i + 1] == 0}


def _axes(tags: tifffile.TiffTags, half: Fraction) -> list[tuple[Fraction, Fraction]] | None:
    """Return the first place and the spacing along X and Y, None where they do not say it."""
    counts = {SCALE: 3, TIEPOINT: 6, MATRIX: 16}
    scale, tie, matrix = (_finite(tags.valueof(code), count) for code, count in counts.items())
    if scale and tie and scale[0] and scale[1]:
        steps = Fraction(scale[0]), -Fraction(scale[1])
        corner = tuple(Fraction(tie[3 + i]) - Fraction(tie[i]) * steps[i] for i in (0, 1))
    elif matrix and matrix[0] and matrix[5] and not (matrix[1] or matrix[4]):
        steps, corner = (Fraction(matrix[0]), Fraction(matrix[5])), (Fraction(matrix[3]), Fraction(matrix[7]))
    else:
        return None
    return [(first + half * step, step) for first, step in zip(corner, steps, strict=True)]


def _finite(value: Any, count: int) -> tuple[float, ...]:
    """Return so many numbers, or none."""
    fits = isinstance(value, tuple) and len(value) == count
    return value if fits and all(isinstance(one, float | int) and math.isfinite(one) for one in value) else ()


def tags_of(info: Info) -> list[tuple[int, int, int, Any, bool]]:
    """Return the tags that say where the pixels of a result lie, as tifffile takes them."""
    x, y = (info.axis(letter).positions for letter in "XY")
    geo = info.metadata.geo
    if not (isinstance(x, Even) and isinstance(y, Even)) or (geo is None and INCH in (x.unit, y.unit)):
        return []
    if geo is None:
        items = "".join(
            f'<Item name="UNIT_{name}">{unit}</Item>' for name, unit in (("X", x.unit), ("Y", y.unit))
        )
        geo = ((ABOUT, 2, 0, f"<GDALMetadata>{items}</GDALMetadata>"),)
    made = [
        (code, kind, count, value.encode() if isinstance(value, str) else value, True)
        for code, kind, count, value in geo
    ]
    keys = _keys(next((value for code, _, _, value in geo if code == KEYS), ()))
    half = Fraction(0) if keys.get(_RASTER) == _POINTS else Fraction(1, 2)
    left, top = (float(axis.origin - half * axis.spacing) for axis in (x, y))
    wide, tall = float(x.spacing), float(y.spacing)
    if wide > 0 > tall:
        made.append((SCALE, 12, 3, (wide, -tall, 0.0), True))
        made.append((TIEPOINT, 12, 6, (0.0, 0.0, 0.0, left, top, 0.0), True))
    else:
        matrix = (wide, 0.0, 0.0, left, 0.0, tall, 0.0, top, *[0.0] * 7, 1.0)
        made.append((MATRIX, 12, 16, matrix, True))
    return made


class Nodata:
    """The number that stands for missing samples: NaN here, itself in files.

    Attributes
    ----------
    text : str
        As GDAL's tag has it.
    dtype : str
        A type of floats that holds the samples.
    """

    def __init__(self, text: str, stored: str, colours: bool = False) -> None:
        self.text = text
        self._colours = colours
        kind = np.dtype(stored)
        wide = kind.itemsize > 4 or (kind.kind in "iu" and kind.itemsize == 4)
        self.dtype = "float64" if wide else "float32"
        number: float = float(text)
        if kind.kind != "f":
            if not number.is_integer():
                raise ValueError(text)
            number = int(text if text.lstrip("-").isdecimal() else number)
        self._value = kind.type(number)

    @classmethod
    def of(cls, page: tifffile.TiffPage, stored: str) -> Nodata | None:
        """Return what a page says of samples of a type; None where it says nothing that they can be."""
        text = page.tags.valueof(NODATA)
        try:
            return cls(str(text).strip("\0 "), stored, page.photometric == _RGB)
        except (ValueError, OverflowError):
            return None

    def marks(self, samples: np.ndarray) -> np.ndarray:
        """Return which samples are missing; of colours all, or none: black is not missing where a part is 0."""
        found: np.ndarray = samples == self._value
        return np.asarray(found.all(axis=-1)) if self._colours else found

    def read(self, samples: np.ndarray) -> np.ndarray:
        """Return samples as floats, NaN where they are missing."""
        found = samples.astype(self.dtype)
        found[self.marks(samples)] = np.nan
        return found


def filled(samples: np.ndarray, metadata: Metadata) -> np.ndarray:
    """Return samples with the number for missing ones in their place; results that equal it move to its neighbour."""
    if metadata.nodata is None or samples.dtype.kind != "f":
        return samples
    missing = samples.dtype.type(float(metadata.nodata))
    beside = np.nextafter(missing, samples.dtype.type(-missing or 1))
    return np.where(np.isnan(samples), missing, np.where(samples == missing, beside, samples))
