"""NIfTI-1 and NIfTI-2 in single files (``.nii``, ``.nii.gz``), read and written in parts.

The header and its affines are nibabel's.  Samples are read and written here, in place, and extensions are kept as they
are, which nibabel would parse.
"""

from __future__ import annotations

import shutil
import tempfile
from fractions import Fraction
from math import isfinite, prod
from typing import IO, Any

import numpy as np
from isal import igzip

from convcli.common import ConvError
from convcli.data import SECOND, Colour, Even, Info
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.region import RegionSink
from convcli.media.volumes.voxels import LETTERS, Placed, VoxelSource, package, reading, sizes_of, unpacked

_LARGEST = 540  # bytes of a header, at most
_COUNTED = 1 << 15  # samples along an axis are fewer in NIfTI-1
_GZIP = b"\x1f\x8b"
_SECOND = bytes(4) + b"n+2" + bytes(_LARGEST)  # begins as NIfTI-2
_LIMITS = ("cal_min", "cal_max")
_STATISTICS = range(2, 25)  # codes of what values are distributed as, which no mean of them is
_SCANNER, _ALIGNED = 1, 2  # codes of affines: to where the body lay, to some other coordinates
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
    nibabel = package("nibabel")
    kind = nibabel.Nifti2Header if block[4:7] == b"n+2" else nibabel.Nifti1Header
    size = kind.template_dtype.itemsize
    if len(block) < size:
        raise ConvError("cut short in its header")
    header = kind(block[:size], check=False)
    spacings = header["pixdim"]  # by the standard, signs mean nothing, and a first 0 is 1
    spacings[0], spacings[1:] = -1 if spacings[0] < 0 else 1, np.abs(spacings[1:])
    return header


def _sizes(header: Any) -> list[int]:
    """Return the samples along each dimension; at most five."""
    count, *sizes = map(int, header["dim"])
    sizes = sizes[: max(count, 0)]
    while len(sizes) > len(LETTERS) and sizes[-1] == 1:
        sizes.pop()
    if not 1 <= len(sizes) <= len(LETTERS) or min(sizes) < 1:
        raise ConvError(f"{count} axes of {sizes} samples: from 1 to {len(LETTERS)} can be filtered")
    return sizes


def _offset(header: Any) -> int:
    """Return at which byte the samples begin; the header has it as a float in NIfTI-1."""
    offset = float(header["vox_offset"])
    if not isfinite(offset) or offset < header.sizeof_hdr:
        raise ConvError(f"its samples begin at byte {offset:g}, not behind its header")
    return int(header["vox_offset"])


def _length(header: Any) -> int:
    """Return how many bytes a file with this header has, at least."""
    return prod(_sizes(header)) * int(header.get_data_dtype().itemsize) + _offset(header)


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


class NiftiSource(VoxelSource):
    """A NIfTI file."""

    def __init__(self, fp: IO[bytes]) -> None:
        fp.seek(0)
        packed = fp.read(2) == _GZIP
        fp.seek(0)
        if packed:  # no more is unpacked than its header says
            file = igzip.IGzipFile(fileobj=fp, mode="rb")
            fp = unpacked(fp, file, lambda head: _length(_header(head[:_LARGEST])))
        with reading():
            header = _header(fp.read(_LARGEST))
            sizes, dtype = _sizes(header), header.get_data_dtype()
            slope, shift = header.get_slope_inter()
            affine, places = header.get_best_affine(), _places(header)
            affine[:3] *= float(_UNITS.get(header.get_xyzt_units()[0], _UNITS["mm"])[1])
        offset = _offset(header)
        if header["magic"].item()[:2] == b"ni":
            raise ConvError("one of a pair of files: save both as one .nii")
        channels = len(dtype.names or "x")
        letters = LETTERS[: len(sizes)][::-1] + "C" * (channels > 1)
        if channels > 1:
            sizes, dtype = [channels, *sizes], dtype[0]
        fp.seek(0)
        colour = _COLOURS[channels][0] if channels > 1 else Colour.NONE
        scale = (slope or 1.0, shift or 0.0)
        lost = [name for name in _LIMITS if isfinite(header[name]) and header[name]]
        lost += ["intent_code"] * (int(header["intent_code"]) in _STATISTICS)
        super().__init__(
            *(fp, "nii", fp.read(offset), letters, sizes[::-1], dtype, affine, places, colour, scale, lost)
        )


class NiftiSink(RegionSink):
    """A NIfTI file; its affines follow the samples."""

    def __init__(self, fp: IO[bytes], info: Info) -> None:
        coloured = info.colour in (Colour.RGB, Colour.RGBA) and info.dtype == "uint8"
        placed = Placed(info, "nii")
        kept = placed.header
        with reading():
            header = _header(kept) if kept else _header(bytes(_LARGEST))
            if not kept:
                header = type(header)()
                header.set_xyzt_units("mm", "sec")
            extensions = kept[header.sizeof_hdr :] or bytes(4)
            if max(info.shape) >= _COUNTED:
                header = _header(_SECOND).from_header(header, check=False)
                header["sizeof_hdr"] = header.sizeof_hdr
            header.set_data_dtype(_COLOURS[info.channels][1] if coloured else info.dtype)
            header.set_slope_inter(1, 0)
            _place(header, placed, bool(kept))
            self.notes += tuple(f"{what} left out: NIFTI holds none" for what in placed.lost)
            sizes = sizes_of(info, LETTERS[:-1] if coloured else LETTERS)
            header["dim"] = [len(sizes), *sizes, *[1] * (7 - len(sizes))]
            header["cal_min"] = header["cal_max"] = 0  # of other values
            if int(header["intent_code"]) in _STATISTICS:
                header.set_intent("none")
            header["vox_offset"] = offset = header.sizeof_hdr + len(extensions)
        fp.write(header.binaryblock + extensions)
        dtype = np.dtype(info.dtype).newbyteorder(header.endianness)
        super().__init__(fp, info, offset, dtype, "TZYXC" if coloured else LETTERS[::-1])


def _place(header: Any, placed: Placed, kept: bool) -> None:
    """Move the affines and spacings of a header that is kept to the samples, or tell those of another."""
    forms = {"sform": header.get_sform(coded=True), "qform": header.get_qform(coded=True)}
    zooms = header["pixdim"][1:4] * np.diag(placed.step)[:3] if kept else placed.spacing
    if not kept and (placed.oriented or (placed.step != np.eye(4)).any()):
        header.set_sform(placed.affine(), _SCANNER if placed.oriented else _ALIGNED)
    for name, (affine, code) in forms.items():
        if code:
            getattr(header, f"set_{name}")(affine @ placed.step, int(code))
    header["pixdim"][1:4] = np.abs(zooms)
    if "T" in placed.told:
        factor = _UNITS.get(header.get_xyzt_units()[1], ("", Fraction(1)))[1]
        spacing, first, _ = placed.told["T"]
        header["toffset"], header["pixdim"][4] = first / factor, spacing / factor


class PackedSink(NiftiSink):
    """A NIfTI file that is compressed when it is whole."""

    in_place = False

    def __init__(self, fp: IO[bytes], info: Info) -> None:
        self._target = fp
        super().__init__(tempfile.TemporaryFile(), info)  # noqa: SIM115

    def close(self) -> None:
        with self._fp:
            super().close()
            self._fp.seek(0)
            with igzip.IGzipFile(fileobj=self._target, mode="wb", mtime=0) as packed:
                shutil.copyfileobj(self._fp, packed, 1 << 20)
