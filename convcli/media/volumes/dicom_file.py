"""One DICOM file: its header, which is pydicom's, and its frames, in place or decoded by imagecodecs."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import IO, Any

import imagecodecs
import numpy as np

from convcli.common import ConvError, frozen
from convcli.data import Colour, Span
from convcli.media import region
from convcli.media.files.target import about_input
from convcli.media.options import ReadOptions
from convcli.media.pictures.boxes import check_stream
from convcli.media.shared import check_pixels
from convcli.media.volumes.voxels import package, reading

_MOST_FRAMES = 1 << 18
_MOST = 1 << 26  # bytes of an element that is read before it is asked for
_PIXELS = {0x7FE00010: "", 0x7FE00008: "f4", 0x7FE00009: "f8"}  # elements of samples, and their own types
_DEFLATED = "1.2.840.10008.1.2.1.99"
_CODED = {  # ends of transfer syntaxes, and who decodes them
    **dict.fromkeys(("4.50", "4.51", "4.57", "4.70"), "jpeg"),
    **dict.fromkeys(("4.80", "4.81"), "jpegls"),
    **dict.fromkeys(("4.90", "4.91", "4.201", "4.202", "4.203"), "jpeg2k"),
    "5": "dicomrle",
}
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOURED = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_MOMENTS = (
    "TemporalPositionIndex",
    "TemporalPositionIdentifier",
    "TriggerTime",
    "AcquisitionNumber",
    "EchoNumbers",
)


@frozen
class Slice:
    """A frame: where it is stored, where it lies in space (LPS), and what its values mean.

    Attributes
    ----------
    place, ways
        Where its first pixel lies, and the directions of its rows and of its columns; empty where nobody knows.
    apart
        Millimetres between columns, between rows, and from slice to slice.
    scale
        What a stored value is multiplied with, and what is added then.
    moment
        What tells frames at one place apart.
    """

    file: DicomFile
    index: int
    place: tuple[float, ...]
    ways: tuple[float, ...]
    apart: tuple[float, ...]
    scale: tuple[float, float]
    moment: tuple[float, ...]

    def __str__(self) -> str:
        return f"frame {self.index + 1}" if self.file.path is None else str(self.file)


class DicomFile:
    """A header, and how to read the frames, none where there is no picture; no file with a path stays open.

    Attributes
    ----------
    coded : str
        Who decodes the frames; an empty name where they lie in place.
    look
        The photometric interpretation.
    padding : tuple of float
        The stored values, from the first to the last, that stand for missing samples; empty where none do.

    Raises
    ------
    ConvError
        For what is damaged, cut short, or coded in a way that is not read.
    """

    def __init__(self, fp: IO[bytes], options: ReadOptions, path: Path | None = None) -> None:
        self._fp, self.path, self.frames, self.coded = fp, path, 0, ""
        size = fp.seek(0, os.SEEK_END)
        fp.seek(132)
        with reading():
            pydicom = package("pydicom")
            about = package("pydicom.filereader").read_dataset(
                fp, False, True, stop_when=lambda tag, *_: tag >> 16 != 2
            )
            syntax = str(about.get("TransferSyntaxUID", ""))
            if syntax == _DEFLATED:
                raise ConvError("deflated as a whole: save it in another transfer syntax")
            fp.seek(0)
            self.header = pydicom.dcmread(fp, stop_before_pixels=True, defer_size=_MOST)
            implicit, little = self.header.original_encoding
            order, head = "<" if little else ">", fp.read(12)
            group, element = struct.unpack(f"{order}HH", head[:4]) if len(head) == 12 else (0, 0)
            own = _PIXELS.get(group << 16 | element)
            if own is not None:
                (length,) = struct.unpack(f"{order}I", head[4:8] if implicit else head[8:])
                self._offset = fp.tell() - 4 * implicit
                self._describe(own, order)
                self.coded = _CODED.get(syntax.removeprefix("1.2.840.10008.1.2."), "")
                self._check(size, length, syntax, options)

    def _describe(self, own: str, order: str) -> None:
        header = self.header

        def number(name: str, usual: int) -> int:
            return int(header.get(name) or usual)

        self.rows, self.columns, bits = (number(name, 0) for name in ("Rows", "Columns", "BitsAllocated"))
        self.frames, self.samples = number("NumberOfFrames", 1), number("SamplesPerPixel", 1)
        self.stored, self.signed = number("BitsStored", bits), number("PixelRepresentation", 0)
        self.look = str(header.get("PhotometricInterpretation", "MONOCHROME2"))
        self._planar = self.samples > 1 and number("PlanarConfiguration", 0) == 1
        if min(self.rows, self.columns, self.frames) < 1:
            raise ConvError(f"its size is {self.columns} x {self.rows}, {self.frames} frames")
        if self.frames > _MOST_FRAMES:
            raise ConvError(f"{self.frames} frames: at most {_MOST_FRAMES} are read")
        if bits not in (8, 16, 32, 64) or not 1 <= self.stored <= bits:
            raise ConvError(f"samples of {self.stored} of {bits} bits: 8, 16, 32 and 64 can be read")
        if int(header.get("HighBit", self.stored - 1)) != self.stored - 1 and not own:
            raise ConvError("samples that do not begin at the lowest bit")
        known = (*_GREY, "PALETTE COLOR") if self.samples == 1 else _COLOURED
        if self.look not in known or self.samples not in (1, 3):
            raise ConvError(f"{self.samples} samples a pixel of {self.look}: grey, palettes and RGB are read")
        if "ModalityLUTSequence" in header:
            raise ConvError("its values mean what a table says (Modality LUT), which is not applied")
        padding, limit = header.get("PixelPaddingValue"), header.get("PixelPaddingRangeLimit")
        self.padding = () if padding is None else (int(padding), int(padding if limit is None else limit))
        self.dtype = np.dtype(order + (own or f"{'iu'[not self.signed]}{bits // 8}"))

    def _check(self, size: int, length: int, syntax: str, options: ReadOptions) -> None:
        if (length == 0xFFFFFFFF) != bool(self.coded):
            raise ConvError(f"frames in the transfer syntax {syntax or 'that nobody names'} are not decoded")
        if not self.coded and self.look == "YBR_FULL_422":
            raise ConvError("colours at half the width (YBR_FULL_422) that are not compressed")
        each = 10 if self.coded else self.rows * self.columns * self.samples * self.dtype.itemsize
        if (missing := self._offset + each * self.frames - size) > 0:
            raise ConvError(f"cut short: {missing} bytes of {self.frames} frames are missing")
        if self.coded:
            check_pixels(self.columns, self.rows, options, "DICOM", stored=size)

    def __str__(self) -> str:
        return repr(self.path.name if self.path else "it")

    @property
    def form(self) -> str:
        """What all files of a series must have in common."""
        return f"{self.columns} x {self.rows} {self.dtype.name} {self.look}"

    @property
    def kind(self) -> str:
        """The type of samples that are not rescaled."""
        if self.look == "PALETTE COLOR":
            return str(
                package("pydicom.pixels").apply_color_lut(np.zeros((1, 1), np.uint8), self.header).dtype
            )
        return self.dtype.newbyteorder("=").name

    @property
    def colour(self) -> Colour:
        return Colour.NONE if self.look in _GREY else Colour.RGB

    @property
    def range(self) -> tuple[int, int]:
        """The least and the largest stored value."""
        half = 1 << self.stored - 1
        return (-half, half - 1) if self.signed else (0, 2 * half - 1)

    def slices(self) -> list[Slice]:
        """Return the frames; what one of many does not say itself, all of them say."""
        names = (f"{which}FunctionalGroupsSequence" for which in ("Shared", "PerFrame"))
        shared, own = ([*(self.header.get(name) or ())] for name in names)
        first = self._slice(0, shared)
        return [
            self._slice(i, [own[i], *shared])
            if i < len(own)
            else replace(first, index=i, moment=(*first.moment[:-1], float(i)))
            for i in range(self.frames)
        ]

    def _slice(self, index: int, groups: list[Any]) -> Slice:
        def numbers(sequence: str, *names: str, usual: tuple[float, ...] = ()) -> tuple[float, ...]:
            inner = [item for group in groups for item in group.get(f"{sequence}Sequence") or ()]
            for name in names:
                for item in (*inner, self.header):
                    if (value := item.get(name)) not in (None, ""):
                        return tuple(map(float, value if hasattr(value, "append") else [value]))
            return usual

        apart = numbers("PixelMeasures", "PixelSpacing", "ImagerPixelSpacing")[::-1] or self._ultrasound()
        thick = numbers("PixelMeasures", "SpacingBetweenSlices", "SliceThickness", usual=(1.0,))
        known = len(apart) == 2 and all(isfinite(one) and one > 0 for one in apart)
        slope, *_ = numbers("PixelValueTransformation", "RescaleSlope", usual=(1.0,))
        shift, *_ = numbers("PixelValueTransformation", "RescaleIntercept", usual=(0.0,))
        if not (isfinite(slope) and isfinite(shift)):
            raise ConvError(f"values are rescaled by {slope} and {shift}")
        return Slice(
            self,
            index,
            numbers("PlanePosition", "ImagePositionPatient"),
            numbers("PlaneOrientation", "ImageOrientationPatient"),
            (*apart, abs(thick[0]) or 1.0) if known else (),
            (slope, shift),
            (*(numbers("FrameContent", name, usual=(0.0,))[0] for name in _MOMENTS), float(index)),
        )

    def _ultrasound(self) -> tuple[float, ...]:
        """Return the distances of columns and rows in the one region of a sonogram, in millimetres."""
        regions: Any = self.header.get("SequenceOfUltrasoundRegions") or ()
        if len(regions) != 1 or {regions[0].get(f"PhysicalUnits{axis}Direction") for axis in "XY"} != {3}:
            return ()  # 3 are centimetres
        return tuple(10 * abs(float(regions[0].get(f"PhysicalDelta{axis}") or 0)) for axis in "XY")

    @contextmanager
    def _opened(self) -> Iterator[IO[bytes]]:
        if self.path is None:
            yield self._fp
            return
        with about_input(self.path), self.path.open("rb") as fp:
            yield fp

    def read(self, index: int, y: Span | None = None, x: Span | None = None) -> np.ndarray:
        """Return a part of a frame, axes YX, or YXC and RGB; grey values are as they are stored."""
        whole, y, x = (0, self.samples), y or (0, self.rows), x or (0, self.columns)
        pixels: np.ndarray
        with self._opened() as fp, reading():
            if self.coded:
                pixels = self._decoded(fp, index)[slice(*y), slice(*x)]
            else:
                planar = self._planar
                plane = (self.rows, self.columns)
                shape = (self.samples, *plane) if planar else (*plane, self.samples)
                at = self._offset + index * self.rows * self.columns * self.samples * self.dtype.itemsize
                pixels = region.read(fp, at, shape, self.dtype, (whole, y, x) if planar else (y, x, whole))
                pixels = np.moveaxis(pixels, 0, -1) if planar else pixels
            pixels = pixels.astype(self.dtype.newbyteorder("="))
            unused = 8 * self.dtype.itemsize - self.stored
            if unused and pixels.dtype.kind in "iu":  # they may hold anything, and the sign goes through them
                pixels = pixels << unused >> unused
            if self.look == "PALETTE COLOR":
                return package("pydicom.pixels").apply_color_lut(pixels[..., 0], self.header)
            if self.look.startswith("YBR_FULL") and self.coded != "jpeg":
                return package("pydicom.pixels").convert_color_space(pixels, "YBR_FULL", "RGB")
            return pixels if self.samples > 1 else pixels[..., 0]

    def _decoded(self, fp: IO[bytes], index: int) -> np.ndarray:
        fp.seek(self._offset)
        data = package("pydicom.encaps").get_frame(fp, index, number_of_frames=self.frames)
        shape = (self.rows, self.columns, self.samples)
        if self.coded == "dicomrle":
            planes = np.empty((self.samples, self.rows, self.columns), self.dtype.newbyteorder("="))
            flat: Any = planes.reshape(-1).view(np.uint8)
            held: Any = imagecodecs.dicomrle_decode(data, planes.dtype, out=flat)
            if held.nbytes != planes.nbytes:
                raise ConvError(f"damaged: a frame of {planes.nbytes} bytes holds {held.nbytes}")
            return np.moveaxis(planes, 0, -1)
        check_stream(data, self.columns, self.rows, self.samples, "a frame of the DICOM")
        if self.coded == "jpegls":
            data += b"\xff\xd9"  # without an end, CharLS looks for one for seconds
        told = b"JFIF" in data[:64] or b"Adobe" in data[:512]  # the stream itself says which colours it has
        rgb = self.coded == "jpeg" and self.look == "RGB" and not told
        options = {"colorspace": "RGB", "outcolorspace": "RGB"} if rgb else {}
        found = np.asarray(getattr(imagecodecs, f"{self.coded}_decode")(data, **options))
        if found.shape not in (shape, shape[: 2 + (self.samples > 1)]):
            raise ConvError(f"damaged: a frame of {shape} samples holds a stream of {found.shape}")
        return found.reshape(shape)

    def close(self) -> None:
        if self.path is None:
            self._fp.close()
