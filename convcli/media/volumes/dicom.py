"""DICOM, read only: single files, those of many frames, and series, a slice in each file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from math import isfinite
from typing import IO

import numpy as np

from convcli.common import ConvError, counted, quoted
from convcli.data import SECOND, Box, Boxes, Colour, Even, Info, Metadata, Volume
from convcli.media.carriers import left_out
from convcli.media.files.target import Folder, about_input
from convcli.media.options import ReadOptions
from convcli.media.recognisers import dicom
from convcli.media.shared import Recent, check_frames
from convcli.media.volumes.dicom_file import DicomFile, Slice
from convcli.media.volumes.voxels import LPS, flat, millimetres, reading

_TYPES = ("uint8", "int16", "uint16", "int32", "uint32")  # of rescaled values, in the order of preference
_ALIKE = 1e-3  # how far numbers of directions differ at most, and millimetres between frames at one place
_UNLIKE = 1e-3  # how far the size of a pixel differs at most, as a share
_UNEVEN = 0.02  # how far a slice lies from its place at most, of the distance of two
_NAMED = 4  # series that are named
_STORAGE = ("0002", "0028", "5200", "7FE0")


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
