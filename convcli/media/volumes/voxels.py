"""Files that are a header and voxels in place: what NIfTI, NRRD and MetaImage have in common.

Places are told in millimetres; the matrices of other orientations than RAS are turned by whose header says so.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from math import prod
from typing import IO, Any

import numpy as np

from convcli.common import ConvError
from convcli.data import SECOND, UNITS, Box, Boxes, Colour, Even, Info, Metadata, Volume
from convcli.media import region
from convcli.media.carriers import left_out
from convcli.media.files.target import spool
from convcli.media.shared import check_samples, decoding

SPACE, LETTERS = "XYZ", "XYZTC"  # of the axes that a file can have, the fastest first
RAS, LPS = (1, 1, 1), (-1, -1, 1)  # which way axes of space point
_ERRORS = ("HeaderDataError", "NRRDError", "IsalError", "InvalidDicomError", "BytesLengthException")

_OF = {"nibabel": "NIfTI", "pydicom": "DICOM", "nrrd": "NRRD"}  # the formats of packages


def package(name: str) -> Any:
    """Return a package that volumes need.

    Raises
    ------
    ConvError
        When it is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        top = name.partition(".")[0]
        raise ConvError(f'{_OF[top]} needs the package {top}: pip install "convcli[volume]"') from None


@contextmanager
def reading() -> Iterator[None]:
    """Turn what libraries and decompressors raise into one line; their errors have no class of Python's."""
    with decoding("volume"):
        try:
            yield
        except KeyError as error:
            raise ValueError(f"{error} is missing or unknown") from None
        except Exception as error:
            if isinstance(error, zlib.error) or type(error).__name__ in _ERRORS:
                raise ValueError(str(error)) from None
            raise


def unpacked(fp: IO[bytes], packed: Any, longest: Callable[[bytes], int]) -> IO[bytes]:
    """Return the content of a compressed file, which is closed; arguments as of `spool`."""
    try:
        with reading():
            return spool(packed, longest)
    finally:
        fp.close()


def millimetres(spacing: Any, unit: str, first: Any = 0) -> Even:
    """Return positions that are told in a unit, in millimetres where that measures lengths."""
    measure, metres = UNITS.get(unit, ("", Fraction(0)))
    factor, unit = (1000 * metres, "mm") if measure == "length" else (Fraction(1), unit)
    return Even(Fraction(str(first)) * factor, Fraction(str(spacing)) * factor, unit)


class VoxelSource(Boxes):
    """Voxels in place; any box is read, with ordinary reads.

    Parameters
    ----------
    form
        The format, as notes name it.
    header
        What stands before the samples.
    letters, shape
        Of the axes in the file, the slowest first; those of a single sample are left out.
    scale
        What a stored value is multiplied with, and what is added then.
    affine : array, shape (4, 4), or None
        From indices along x, y and z to millimetres (RAS); None where the file tells none.
    places
        Positions by letters.
    lost
        What of the file is not kept, by its keys in `carriers`.

    Raises
    ------
    ConvError
        For samples that are no real numbers, a singular affine, and a file that is cut short.
    """

    def __init__(
        self,
        fp: IO[bytes],
        form: str,
        header: bytes,
        letters: str,
        shape: Sequence[int],
        dtype: np.dtype,
        affine: np.ndarray | None,
        places: Mapping[str, Even],
        colour: Colour = Colour.NONE,
        scale: tuple[float, float] = (1, 0),
        lost: Sequence[str] = (),
        offset: int | None = None,
    ) -> None:
        self._fp, self._offset = fp, len(header) if offset is None else offset
        self._letters, self._shape, self._dtype, self._scale = letters, tuple(shape), dtype, scale
        check_samples(dtype)
        length = self._offset + prod(shape) * dtype.itemsize
        if (missing := length - fp.seek(0, 2)) > 0:
            raise ConvError(f"cut short: {missing} of {length} bytes are missing")
        many = [(letter, n) for letter, n in zip(letters, shape, strict=True) if n > 1] or [("X", 1)]
        if len(dict(many)) < len(many):
            raise ConvError(f"the axes {letters.lower()} are more than can be told apart")
        spacing = tuple(places[one].spacing if one in places else Fraction(1) for one in SPACE)
        self.info = Info.of(
            "".join(letter for letter, _ in many),
            [n for _, n in many],
            "float64" if scale != (1, 0) else dtype.newbyteorder("=").name,
            colour,
            Metadata(
                header=(form, header.decode("latin-1")),
                volume=Volume(None if affine is None else flat(affine), spacing),
            ),
            notes=left_out(form.upper(), [*lost, *["behind"] * (missing < 0)]),
        ).placed(**places)
        self.info = replace(self.info, volume="Z" in self.info.letters)

    def read(self, box: Box) -> np.ndarray:
        given = dict(zip(self.info.letters, self.info.spans(box), strict=True))
        spans = [given.get(letter, (0, 1)) for letter in self._letters]
        block = region.read(self._fp, self._offset, self._shape, self._dtype, spans)
        block = block.reshape([stop - start for start, stop in given.values()])
        if self._scale != (1, 0):
            slope, shift = self._scale
            return block * np.float64(slope) + shift
        return block.astype(self.info.dtype, copy=False)

    def close(self) -> None:
        self._fp.close()


def flat(affine: np.ndarray) -> tuple[float, ...]:
    """Return a matrix as `Volume` has it.

    Raises
    ------
    ConvError
        For one that gives voxels no places.
    """
    with np.errstate(all="ignore"):
        if not (np.isfinite(affine).all() and np.linalg.det(affine)):
            raise ConvError("its affine is singular: it gives voxels no places")
    return tuple(map(float, affine.ravel()))


def sizes_of(info: Info, letters: str = LETTERS) -> list[int]:
    """Return the samples along the axes that a file names by their order, up to the last that there is."""
    sizes = [info.size(letter) if letter in info.letters else 1 for letter in letters]
    return sizes[: 1 + max(i for i, letter in enumerate(letters) if letter in info.letters)]


class Placed:
    """Where the samples of a result lie.

    Attributes
    ----------
    step : array, shape (4, 4)
        From their indices along x, y and z to those of the voxels that were read; to millimetres, where what was read
        is no volume.
    spacing : array, shape (3,)
        Between them, in millimetres.
    header : bytes
        The header of the input, where that was of the same format.
    oriented : bool
        Whether what was read tells how it lies.
    told : dict
        Spacing, first position and unit by letters, of time and of what is not oriented.
    lost : list of str
        Which positions a file of voxels cannot hold, for messages.
    """

    def __init__(self, info: Info, form: str, any_unit: bool = False) -> None:
        """``any_unit`` says that a file of the format without orientation tells positions in any unit."""
        self._volume, self.step, self.lost = info.metadata.volume, np.eye(4), list[str]()
        self.oriented = self._volume is not None and self._volume.affine is not None
        self._old = self._volume.spacing if self._volume else (Fraction(1),) * 3
        self.told = dict[str, tuple[Fraction, Fraction, str]]()
        for index, (letter, old) in enumerate(zip(SPACE, self._old, strict=True)):
            places = info.axis(letter).positions if letter in info.letters else None
            measure, metres = UNITS.get(places.unit if places else "", ("", Fraction(0)))
            if isinstance(places, Even) and (measure == "length" or (any_unit and not self.oriented)):
                unit = (1000 * metres or 1) / old
                self.step[index, index], self.step[index, 3] = places.spacing * unit, places.origin * unit
                if not self.oriented:
                    self.told[letter] = places.spacing, places.origin, places.unit
            elif places is not None:
                self.lost.append(
                    f"the positions along {letter.lower()}, which are not evenly spaced lengths, are"
                )
        self.spacing = np.array([float(one) for one in self._old]) * np.diag(self.step)[:3]
        times = info.axis("T").positions if "T" in info.letters else None
        if times is not None and not any_unit and times.unit not in ("", SECOND):
            self.lost.append(f"the times of the frames, which are in {times.unit}, are")
        elif times is not None:
            steps = times.steps() or (Fraction(0),) * 2
            self.told["T"] = steps[0], times.at(0) or Fraction(0), times.unit
            if steps[0] != steps[1]:
                self.lost.append("the times of the frames, which are uneven, are")
        name, header = info.metadata.header or ("", "")
        self.header = header.encode("latin-1") if name == form else b""

    def affine(self, ways: tuple[int, ...] = RAS) -> np.ndarray:
        """Return the matrix from indices to millimetres, along axes that point these ways."""
        if self._volume is None or self._volume.affine is None:
            return np.diag([*map(float, self._old), 1]) @ self.step
        return np.diag([*ways, 1]) @ np.reshape(self._volume.affine, (4, 4)) @ self.step
