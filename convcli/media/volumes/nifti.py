"""NIfTI-1 and NIfTI-2 in single files (``.nii``, ``.nii.gz``), read and written in parts.

The header and its affines are nibabel's.  Samples are read and written here, in place, and extensions are kept as they
are, which nibabel would parse.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from math import isfinite, prod
from typing import IO, Any, cast

import numpy as np
from isal import igzip

from convcli.common.errors import ConvError
from convcli.data.axes import SECOND, Even
from convcli.data.box import Box
from convcli.data.info import Boxes, Colour, Info, Metadata
from convcli.data.units import UNITS
from convcli.media import region
from convcli.media.carriers import left_out
from convcli.media.files.target import spool
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.region import RegionSink
from convcli.media.shared import decoding

LETTERS = "XYZTC"  # of the header's dimensions, the fastest in the file first
_LARGEST = 540  # bytes of a header, at most
_COUNTED = 1 << 15  # samples along an axis are fewer in NIfTI-1
_GZIP = b"\x1f\x8b"
_SECOND = bytes(4) + b"n+2" + bytes(_LARGEST)  # begins as NIfTI-2
_ALIGNED = 2  # the code of an affine to some other coordinates
_UNITS = {  # as nibabel calls them: as axes call them, and how many of these they are
    "meter": ("mm", Fraction(1000)),
    "mm": ("mm", Fraction(1)),
    "micron": ("mm", Fraction(1, 1000)),
    "sec": (SECOND, Fraction(1)),
    "msec": (SECOND, Fraction(1, 1000)),
    "usec": (SECOND, Fraction(1, 1_000_000)),
}
_COLOURS = {3: (Colour.RGB, "RGB"), 4: (Colour.RGBA, "RGBA")}  # channels of 8 bits that are one sample


def source(fp: IO[bytes], options: ReadOptions) -> NiftiSource:
    """Open a volume; only its header is read.  A compressed one is first unpacked into a temporary file.

    The axes are the file's from the slowest to the fastest, ``TZYX`` at most, with ``C`` for vectors and colours; those
    of a single sample are left out.  Positions are distances along the voxels' own axes, in millimetres.

    Raises
    ------
    ConvError
        For samples that are no real numbers, more than five axes, an affine that is singular, a pair of files, and a
        file that is damaged or cut short.
    """
    return NiftiSource(fp)


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> NiftiSink:
    """Open a volume for writing, with the header of the input where that was one."""
    return (PackedSink if format_name == "nii.gz" else NiftiSink)(fp, info)


def _header(block: bytes) -> Any:
    """Return nibabel's header of a file that begins like this."""
    try:
        nibabel = import_module("nibabel")
    except ImportError:
        raise ConvError('NIfTI needs the package nibabel: pip install "convcli[volume]"') from None
    kind = nibabel.Nifti2Header if block[4:7] == b"n+2" else nibabel.Nifti1Header
    size = kind.template_dtype.itemsize
    if len(block) < size:
        raise ConvError("cut short in its header")
    header = kind(block[:size], check=False)
    spacings = header["pixdim"]  # by the standard, signs mean nothing, and a first 0 is 1
    spacings[0], spacings[1:] = -1 if spacings[0] < 0 else 1, np.abs(spacings[1:])
    return header


@contextmanager
def _reading() -> Iterator[None]:
    """Turn what nibabel and the decompressor raise into one line; their errors have no class of Python's."""
    with decoding("volume"):
        try:
            yield
        except KeyError as error:
            raise ValueError(f"samples of the unknown type {error}") from None
        except Exception as error:
            if type(error).__name__ in ("HeaderDataError", "IsalError"):
                raise ValueError(str(error)) from None
            raise


def _sizes(header: Any) -> list[int]:
    """Return the samples along each dimension; at most five."""
    count, *sizes = map(int, header["dim"])
    sizes = sizes[: max(count, 0)]
    while len(sizes) > len(LETTERS) and sizes[-1] == 1:
        sizes.pop()
    if not 1 <= len(sizes) <= len(LETTERS) or min(sizes) < 1:
        raise ConvError(f"{count} axes of {sizes} samples: from 1 to {len(LETTERS)} can be filtered")
    return sizes


def _length(header: Any) -> int:
    """Return how many bytes a file with this header has, at least."""
    return int(header["vox_offset"]) + prod(_sizes(header)) * int(header.get_data_dtype().itemsize)


def _places(header: Any) -> dict[str, Even]:
    """Return the positions along the axes that have any; space begins at 0."""
    length, time = header.get_xyzt_units()
    units = dict.fromkeys("XYZ", "mm" if length == "unknown" else length)
    units["T"] = "sec" if time == "unknown" else time
    found = {}
    for letter, spacing in zip(LETTERS, header["pixdim"][1:], strict=False):
        unit, factor = _UNITS.get(units.get(letter, ""), (units.get(letter, ""), Fraction(1)))
        first = float(header["toffset"]) if letter == "T" else 0.0
        if unit and isfinite(spacing) and spacing > 0 and isfinite(first):
            found[letter] = Even(Fraction(str(first)) * factor, Fraction(str(spacing)) * factor, unit)
    return found


class NiftiSource(Boxes):
    """A NIfTI file; any box is read, with ordinary reads."""

    def __init__(self, fp: IO[bytes]) -> None:
        fp.seek(0)
        self._fp = fp = _unpacked(fp) if fp.read(2) == _GZIP else fp
        fp.seek(0)
        with _reading():
            header = _header(fp.read(_LARGEST))
            sizes, dtype, length = _sizes(header), header.get_data_dtype(), _length(header)
            slope, shift = header.get_slope_inter()
            affine, places = header.get_best_affine(), _places(header)
        self._offset = int(header["vox_offset"])
        if self._offset < header.sizeof_hdr:
            raise ConvError(f"its samples begin at byte {self._offset}, within its header")
        if header["magic"].item()[:2] == b"ni":
            raise ConvError("one of a pair of files: save both as one .nii")
        with np.errstate(all="ignore"):
            singular = not (np.isfinite(affine).all() and np.linalg.det(affine))
        if singular:
            raise ConvError("its affine is singular: it gives voxels no places")
        channels = len(dtype.names or "x")
        if channels > 1:
            sizes, dtype = [channels, *sizes], dtype[0]
        if dtype.kind not in "iuf" or dtype.itemsize > 8:
            raise ConvError(
                f"samples of the type {dtype}: only integers and floats up to 64 bits can be filtered"
            )
        if (missing := length - fp.seek(0, 2)) > 0:
            raise ConvError(f"cut short: {missing} of {length} bytes are missing")
        letters = ("C" if channels > 1 else "") + LETTERS
        self._shape, self._dtype, self._scale = tuple(sizes[::-1]), dtype, (slope or 1.0, shift or 0.0)
        many = [
            (letter, n) for letter, n in zip(letters[: len(sizes)][::-1], self._shape, strict=True) if n > 1
        ]
        many = many or [("X", 1)]
        if len({letter for letter, _ in many}) < len(many):
            raise ConvError("vectors of colours cannot be filtered")
        self._letters = letters[: len(sizes)][::-1]
        fp.seek(0)
        self.info = Info.of(
            "".join(letter for letter, _ in many),
            [n for _, n in many],
            "float64" if self._scale != (1, 0) else dtype.newbyteorder("=").name,
            _COLOURS[channels][0] if channels > 1 else Colour.NONE,
            Metadata(volume=fp.read(self._offset)),
            notes=left_out("NIFTI", ["behind"] if missing < 0 else []),
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


def _unpacked(fp: IO[bytes]) -> IO[bytes]:
    """Return the content of a compressed file, of which no more is unpacked than its header says."""
    fp.seek(0)
    try:
        packed = cast(IO[bytes], igzip.IGzipFile(fileobj=fp, mode="rb"))
        with _reading():
            return spool(packed, lambda head: _length(_header(head[:_LARGEST])))
    finally:
        fp.close()


class NiftiSink(RegionSink):
    """A NIfTI file; its affines follow the samples."""

    def __init__(self, fp: IO[bytes], info: Info) -> None:
        coloured = info.colour in (Colour.RGB, Colour.RGBA) and info.dtype == "uint8"
        order = "TZYXC" if coloured else LETTERS[::-1]
        self._order = [info.letters.index(letter) for letter in order if letter in info.letters]
        volume = info.metadata.volume or b""
        with _reading():
            header = _header(volume) if volume else _header(bytes(_LARGEST))
            if not volume:
                header = type(header)()
                header.set_xyzt_units("mm", "sec")
            extensions = volume[header.sizeof_hdr :] or bytes(4)
            if max(info.shape) >= _COUNTED:
                header = _header(_SECOND).from_header(header, check=False)
                header["sizeof_hdr"] = header.sizeof_hdr
            header.set_data_dtype(_COLOURS[info.channels][1] if coloured else info.dtype)
            header.set_slope_inter(1, 0)
            lost = [*self._place(header, info), *["the georeference is"] * (info.metadata.geo is not None)]
            self.notes += tuple(f"{what} left out: NIFTI holds none" for what in lost)
            letters = [
                letter for letter in LETTERS if letter in info.letters and not (coloured and letter == "C")
            ]
            sizes = [
                info.size(one) if one in letters else 1 for one in LETTERS[: LETTERS.index(letters[-1]) + 1]
            ]
            header["dim"] = [len(sizes), *sizes, *[1] * (7 - len(sizes))]
            header["cal_min"] = header["cal_max"] = 0  # of other values
            header["vox_offset"] = offset = header.sizeof_hdr + len(extensions)
        fp.write(header.binaryblock + extensions)
        super().__init__(fp, info, offset, np.dtype(info.dtype).newbyteorder(header.endianness))

    def _place(self, header: Any, info: Info) -> Iterator[str]:
        """Move a header's affines and spacings to the samples; yield which positions it cannot hold."""
        old, step = _places(header), np.eye(4)
        new = {axis.letter: axis.positions for axis in info.axes if axis.positions is not None}
        for index, letter in enumerate("XYZ"):
            places = new.get(letter)
            measure, metres = UNITS.get(places.unit if places else "", ("", Fraction(0)))
            if isinstance(places, Even) and measure == "length":
                unit = 1000 * metres / (old[letter].spacing if letter in old else 1)
                step[index, index], step[index, 3] = places.spacing * unit, places.origin * unit
            elif places is not None:
                yield f"the positions along {letter.lower()}, which are not evenly spaced lengths, are"
        forms = {"sform": header.get_sform(coded=True), "qform": header.get_qform(coded=True)}
        if info.metadata.volume is None and (step != np.eye(4)).any():
            forms["sform"] = np.eye(4), _ALIGNED
        spacings = header["pixdim"][1:4] * np.diag(step)[:3]
        for name, (affine, code) in forms.items():
            if code:
                getattr(header, f"set_{name}")(affine @ step, int(code))
        header["pixdim"][1:4] = spacings
        times = new.get("T")
        if times is None:
            return
        factor = _UNITS.get(header.get_xyzt_units()[1], ("", Fraction(1)))[1]
        first, steps = times.at(0), times.steps()
        header["toffset"] = (first or 0) / factor
        header["pixdim"][4] = steps[0] / factor if steps else 0
        if steps is not None and steps[0] != steps[1]:
            yield "the times of the frames, which are uneven, are"

    def put(self, box: Box, values: np.ndarray) -> None:
        shape, spans = self.info.shape, self.info.spans(box)
        data = values.transpose(self._order).astype(self._dtype)
        region.write(
            self._fp, self._offset, [shape[i] for i in self._order], [spans[i] for i in self._order], data
        )


class PackedSink(NiftiSink):
    """A NIfTI file that is compressed when it is whole."""

    def __init__(self, fp: IO[bytes], info: Info) -> None:
        self._target = fp
        super().__init__(tempfile.TemporaryFile(), info)  # noqa: SIM115

    def close(self) -> None:
        with self._fp:
            super().close()
            self._fp.seek(0)
            with igzip.IGzipFile(fileobj=self._target, mode="wb", mtime=0) as packed:
                shutil.copyfileobj(self._fp, packed, 1 << 20)
