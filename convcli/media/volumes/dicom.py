"""DICOM, read only: single files, those of many frames, and series, a slice in each file.

The header is pydicom's; frames lie in place, or are decoded by imagecodecs.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import IO, Any

import imagecodecs
import numpy as np

from convcli.common import ConvError, counted, frozen, quoted
from convcli.data import SECOND, Box, Boxes, Colour, Even, Info, Metadata, Span, Volume
from convcli.media import region
from convcli.media.carriers import left_out
from convcli.media.files.target import Folder, about_input
from convcli.media.options import ReadOptions
from convcli.media.pictures.boxes import check_stream
from convcli.media.recognisers import dicom
from convcli.media.shared import Recent, check_frames, check_pixels
from convcli.media.volumes.voxels import LPS, flat, millimetres, package, reading

_TYPES = ("uint8", "int16", "uint16", "int32", "uint32")  # of rescaled values, in the order of preference
_ALIKE = 1e-3  # how far numbers of directions differ at most, and millimetres between frames at one place
_UNLIKE = 1e-3  # how far the size of a pixel differs at most, as a share
_UNEVEN = 0.02  # how far a slice lies from its place at most, of the distance of two
_NAMED = 4  # series that are named
_STORAGE = ("0002", "0028", "5200", "7FE0")

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


def source(fp: IO[bytes], options: ReadOptions) -> DicomSource:
    """Open a file, or a folder with the files of a series; only headers are read.

    The axes are ``TZYX`` at most and ``C`` for colours; slices lie in the order of their positions.  Values are
    rescaled, and those of the padding of pixels are missing.

    Raises
    ------
    ConvError
        For files without a picture, and what is damaged or cut short; for several series, unless the end of a UID or
        the description of one is asked for; and for slices that are no stack: of other sizes or directions, missing,
        doubled, not evenly spaced, or of pixels of other sizes.
    """
    if not isinstance(fp, Folder):
        return DicomSource(_chosen([DicomFile(fp, options)], options.array), options)
    files, others = [], 0
    for path in fp.files or sorted(path for path in fp.path.iterdir() if path.is_file()):
        with about_input(path), path.open("rb") as file:
            known = dicom(file.read(132))
            files += [DicomFile(file, options, path)] if known else []
            others += not known
    note = (f"{counted(others, 'file')} beside the DICOM in the folder left out",) if others else ()
    return DicomSource(_chosen(files, options.array), options, note)


def _chosen(files: Sequence[DicomFile], wanted: str) -> list[DicomFile]:
    """Return the files of the one series, or of that whose UID ends so or whose description is this."""
    series: dict[str, list[DicomFile]] = {}
    with reading():
        for file in files:
            if file.frames:
                series.setdefault(str(file.header.get("SeriesInstanceUID", "")), []).append(file)
        names = {uid: str(group[0].header.get("SeriesDescription", "")) for uid, group in series.items()}
    if not series:
        raise ConvError("no picture in it")
    found = [group for uid, group in series.items() if uid.endswith(wanted) or names[uid] == wanted]
    if len(found) == 1:
        return found[0]
    shown = [f"{quoted(names[uid])} ({counted(len(series[uid]), 'file')}) ...{uid[-12:]}" for uid in series]
    listed = ", ".join([*shown[:_NAMED], *["..."] * (len(shown) > _NAMED)])
    what = f"{quoted(wanted)} is {'none' if not found else 'several'} of its " if wanted else ""
    raise ConvError(f"{what}{len(series)} series: {listed}; FOLDER::END takes the one whose UID ends so")


def _arranged(slices: list[Slice]) -> tuple[list[list[Slice]], np.ndarray | None]:
    """Return slices by time and by place, and the step from a place to the next, None where there are none."""
    if not all(len(one.place) == 3 and len(one.ways) == 6 for one in slices):
        if len({id(one.file) for one in slices}) > 1:
            raise ConvError("its images do not tell where they lie: name one of them")
        return [[one] for one in slices], None
    ways = np.reshape([one.ways for one in slices], (-1, 2, 3))
    if not (np.abs(ways - ways[0]) < _ALIKE).all():
        raise ConvError("its slices do not lie in one direction: name those of one")
    first = slices[0].apart[:2]
    for one in slices:
        apart = one.apart[:2]
        if len(apart) != len(first) or any(
            abs(a - b) > _UNLIKE * b for a, b in zip(apart, first, strict=True)
        ):
            sizes = [" x ".join(f"{each:.6g}" for each in pair) or "unknown" for pair in (first, apart)]
            raise ConvError(
                f"pixels of several sizes: {sizes[0]} mm (x, y) in {slices[0]}, {sizes[1]} mm in {one}"
            )
    normal = np.cross(*ways[0])
    heights = [float(np.dot(one.place, normal)) for one in slices]
    stacked: list[list[Slice]] = []
    last = -np.inf
    for height, one in sorted(zip(heights, slices, strict=True), key=lambda pair: (pair[0], pair[1].moment)):
        if height - last > _ALIKE:
            stacked.append([])
        stacked[-1].append(one)
        last = height
    for here in stacked:
        here.sort(key=lambda one: one.moment)
        for one, other in pairwise(here):
            if one.moment == other.moment:
                raise ConvError(f"two slices at one place: {one} and {other}")
        if len(here) != len(stacked[0]):
            raise ConvError(
                f"{len(stacked[0])} slices at the place of {stacked[0][0]}, {len(here)} at that of {here[0]}"
            )
    places = np.array([here[0].place for here in stacked])
    step = (places[-1] - places[0]) / max(len(places) - 1, 1)
    _check_even(places, step, normal, stacked)
    if len(places) == 1:
        step = normal * (*slices[0].apart, 1.0, 1.0, 1.0)[2]
    return [list(moment) for moment in zip(*stacked, strict=True)], step


def _check_even(places: np.ndarray, step: np.ndarray, normal: np.ndarray, stacked: list[list[Slice]]) -> None:
    away = np.abs(places - places[0] - np.arange(len(places))[:, None] * step).max()
    if not away > _UNEVEN * np.linalg.norm(step):
        return
    gaps = np.diff(places @ normal)
    usual, widest = float(np.median(gaps)), int(np.argmax(gaps))
    if gaps[widest] > 1.5 * usual:
        between = f"between {stacked[widest][0]} and {stacked[widest + 1][0]}"
        raise ConvError(f"a slice is missing {between}: {gaps[widest]:.4g} mm apart, others {usual:.4g} mm")
    raise ConvError(f"its slices are not evenly spaced: from {gaps.min():.4g} to {gaps.max():.4g} mm")


class DicomSource(Boxes):
    """The frames of one file, or of the files of a series."""

    def __init__(self, files: list[DicomFile], options: ReadOptions, notes: tuple[str, ...] = ()) -> None:
        first = files[0]
        for file in files:
            if file.form != first.form:
                raise ConvError(f"images of several kinds: {first.form} in {first}, {file.form} in {file}")
        with reading():
            slices = [one for file in files for one in file.slices()]
            check_frames(len(slices), options, "DICOM")
            self._order, step = _arranged(slices)
            padded = any(file.padding for file in files) and first.colour is not Colour.RGB
            self._files, self._recent = files, Recent()
            scales = {one.scale for one in slices}
            dtype = _dtype(files, scales)
            unsigned = scales == {(1, 0)} and dtype in ("uint8", "uint16") and not padded
            white = float(first.range[1]) if unsigned and first.look != "PALETTE COLOR" else None
            places, volume = _places(self._order[0][0], step, first)
        sizes = {"T": len(self._order), "Z": len(self._order[0])}
        letters = [letter for letter, n in sizes.items() if n > 1]
        coloured = first.colour is Colour.RGB
        colour = Colour.GREY if unsigned and not coloured else first.colour
        nodata = None
        if padded:
            slope, shift = slices[0].scale
            nodata = repr(next(file.padding[0] for file in files if file.padding) * slope + shift)
        if first.look == "MONOCHROME1":
            notes += ("MONOCHROME1: small values are light, and stay as they are",)
        self.info = Info.of(
            "".join([*letters, "YX", "C" * coloured]),
            [*(sizes[letter] for letter in letters), first.rows, first.columns, *[3] * coloured],
            "float64" if padded else dtype,
            colour,
            Metadata(nodata=nodata, volume=volume),
            notes=(*notes, *left_out("DICOM", _lost(first))),
        ).placed(**places)
        depth = 8 * np.dtype(dtype).itemsize
        self.info = replace(
            self.info, volume="Z" in letters, white=white if white and white + 1 < 1 << depth else None
        )

    def read(self, box: Box) -> np.ndarray:
        spans = dict(zip(self.info.letters, self.info.spans(box), strict=True))
        y, x = spans["Y"], spans["X"]
        wanted = [row[slice(*spans.get("Z", (0, 1)))] for row in self._order[slice(*spans.get("T", (0, 1)))]]
        planes = [one for row in wanted for one in row]
        if planes[0].file.coded:
            numbers = {id(one): one for one in planes}
            whole = self._recent(
                list(numbers), lambda keys: [numbers[key].file.read(numbers[key].index) for key in keys]
            )
            found = [plane[slice(*y), slice(*x)] for plane in whole]
        else:
            found = [one.file.read(one.index, y, x) for one in planes]
        shape = [stop - start for start, stop in spans.values()]
        return np.stack([self._values(*pair) for pair in zip(planes, found, strict=True)]).reshape(shape)

    def _values(self, one: Slice, stored: np.ndarray) -> np.ndarray:
        slope, shift = one.scale
        if (slope, shift) == (1, 0):
            values = stored.astype(self.info.dtype)
        else:
            values = (stored * np.float64(slope) + shift).astype(self.info.dtype)
        if self.info.dtype == "float64" and one.file.padding:
            low, high = sorted(one.file.padding)
            values[(stored >= low) & (stored <= high)] = np.nan
        return values

    def close(self) -> None:
        self._recent.clear()
        for file in self._files:
            file.close()


def _dtype(files: Sequence[DicomFile], scales: set[tuple[float, float]]) -> str:
    """Return the type of rescaled values: integers where all of them are whole and fit."""
    if scales == {(1, 0)}:
        return files[0].kind
    if files[0].dtype.kind != "f" and all(float(number).is_integer() for scale in scales for number in scale):
        ends = [slope * value + shift for slope, shift in scales for file in files for value in file.range]
        for name in _TYPES:
            if np.iinfo(name).min <= min(ends) and max(ends) <= np.iinfo(name).max:
                return name
    return "float64"


def _places(one: Slice, step: np.ndarray | None, file: DicomFile) -> tuple[dict[str, Even], Volume | None]:
    """Return the positions along the axes, and how the voxels lie."""
    places = {}
    for name, per_second in (("FrameTime", 1000), ("TemporalResolution", 1000), ("CineRate", 0)):
        number = file.header.get(name)
        if number and "T" not in places and isfinite(number) and number > 0:
            exact = Fraction(str(number))
            places["T"] = Even(Fraction(0), exact / per_second if per_second else 1 / exact, SECOND)
    if not one.apart:
        return places, None
    apart = (*one.apart[:2], one.apart[2] if step is None else float(np.linalg.norm(step)))
    spacing = [millimetres(float(f"{number:.9g}"), "mm") for number in apart]
    places |= dict(zip("XYZ" if step is not None else "XY", spacing, strict=False))
    if step is None:
        return places, None
    affine = np.eye(4)
    affine[:3, :2] = np.reshape(one.ways, (2, 3)).T * apart[:2]
    affine[:3, 2], affine[:3, 3] = step, one.place
    return places, Volume(flat(np.diag([*LPS, 1]) @ affine), tuple(each.spacing for each in spacing))


def _lost(file: DicomFile) -> list[str]:
    """Return the keys of what results do not keep: the groups of elements, most of them."""
    found = []
    for tag in sorted(file.header.keys()):
        group = f"{tag.group:04X}"
        if tag.group % 2:
            found.append("private")
        elif tag == 0x00281050:
            found.append("window")
        elif group not in _STORAGE:
            found.append("60" if group.startswith("60") else group)
    return found
