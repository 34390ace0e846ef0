"""NRRD in single files (``.nrrd``), read and written in parts; the header is read by pynrrd."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from math import isfinite, prod
from typing import IO, Any

import numpy as np
from isal import igzip

from convcli.common import ConvError
from convcli.data import SECOND, UNITS, Colour, Even, Info
from convcli.media.carriers import LOST
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.region import RegionSink
from convcli.media.volumes.voxels import (
    LPS,
    RAS,
    SPACE,
    Placed,
    VoxelSource,
    millimetres,
    package,
    reading,
    unpacked,
)

_MOST = 1 << 20  # bytes of a header
_WAYS = {
    **dict.fromkeys(("left-posterior-superior", "LPS"), LPS),
    **dict.fromkeys(("left-anterior-superior", "LAS"), (-1, 1, 1)),
}
_COLOURS = {"RGB-color": Colour.RGB, "RGBA-color": Colour.RGBA}
_SAMPLED = ("domain", "space")  # kinds of axes along which samples have places
_KINDS = {colour: kind for kind, colour in _COLOURS.items()} | dict.fromkeys(SPACE, "domain") | {"T": "time"}
_KEPT = {"labels": '"{}"', "centerings": "{}", "thicknesses": "{}"}  # for each axis, and how they are written
_ANEW = re.compile(  # fields that results tell themselves
    rb"(type|dimension|sizes|endian|encoding|(line|byte) ?skip|space( (dimension|directions|origin|units))?|"
    rb"spacings|axis ?(min|max)s|(old ?)?(min|max)|number|block ?size|kinds|center(ing)?s|thicknesses|labels|units):"
    rb"(?!=)"
)


class _Header:
    """pynrrd's fields of a header, and the letters of the axes, the fastest in the file first.

    Axes of kinds along which nothing has a place, such as vectors and lists, are channels.
    """

    def __init__(self, head: bytes) -> None:
        self.fields: Any = package("nrrd").read_header(io.BytesIO(head))
        if {"data file", "datafile"} & set(self.fields):
            raise ConvError("a header whose samples lie in other files: save both as one .nrrd")
        self.sizes = [int(size) for size in self.fields["sizes"]]
        if len(self.sizes) != self.fields["dimension"] or min(self.sizes) < 1:
            raise ConvError(f"{self.fields['dimension']} axes of {self.sizes} samples")
        vectors = self.each("space directions", None)
        self.vectors = [None if one is None or np.isnan(one).any() else one for one in vectors]
        free, oriented = iter("XYZT"), any(vector is not None for vector in self.vectors)
        self.letters = ""
        for vector, kind in zip(self.vectors, self.each("kinds", "???"), strict=True):
            if kind == "time" or (oriented and vector is None and kind in _SAMPLED):
                self.letters += "T"
            else:
                sampled = vector is not None if oriented else kind in (*_SAMPLED, "???", "none")
                self.letters += next(free, "C") if sampled else "C"
        self.affine = self._affine() if oriented else None
        self.ways = _WAYS.get(self.space, RAS)

    @property
    def space(self) -> str:
        """The name of the coordinates, without time."""
        return str(self.fields.get("space", "")).removesuffix("-time").removesuffix("T")

    def each(self, field: str, none: Any) -> list[Any]:
        """Return a value for each axis."""
        values = list(self.fields.get(field, ()))
        return values if len(values) == len(self.sizes) else [none] * len(self.sizes)

    def _affine(self) -> np.ndarray:
        """Return the matrix from indices to millimetres, in the header's own coordinates."""
        affine = np.eye(4)
        columns = {one: v[:3] for one, v in zip(self.letters, self.vectors, strict=True) if v is not None}
        for letter, vector in columns.items():
            affine[:3, SPACE.index(letter)] = 0
            affine[: len(vector), SPACE.index(letter)] = vector
        if "Z" not in columns:
            normal = np.cross(affine[:3, 0], affine[:3, 1])
            affine[:3, 2] = normal / (np.linalg.norm(normal) or 1)
        origin = self.fields.get("space origin", ())[:3]
        affine[: len(origin), 3] = np.nan_to_num(origin)
        for row, unit in zip(affine, self.fields.get("space units", ()), strict=False):
            measure, metres = UNITS.get(unit, ("", 0))
            row *= float(1000 * metres) if measure == "length" else 1
        return affine

    def places(self) -> dict[str, Even]:
        """Return the positions along the axes that have any."""
        found = dict[str, Even]()
        each = [
            self.each(name, none) for name, none in (("spacings", 0.0), ("axis mins", 0.0), ("units", ""))
        ]
        for letter, vector, spacing, first, unit in zip(self.letters, self.vectors, *each, strict=True):
            if vector is not None and self.affine is not None:
                length = float(np.linalg.norm(self.affine[:3, SPACE.index(letter)]))
                found |= {letter: millimetres(length, "mm")} if isfinite(length) and length else {}
            elif letter != "C" and isfinite(spacing) and spacing:
                unit = unit or (SECOND if letter == "T" else "mm")
                found[letter] = millimetres(spacing, unit, first if isfinite(first) else 0)
        return found


def source(fp: IO[bytes], options: ReadOptions) -> VoxelSource:
    """Open a volume; only its header is read.  A compressed one is first unpacked into a temporary file.

    Axes of kinds that have no places, such as vectors and lists, are channels; the others are X, Y, Z and T, the
    fastest first.  Positions are distances along the voxels' own axes, in millimetres.

    Raises
    ------
    ConvError
        For samples that are no real numbers, in text or in other files, more axes than there are letters, and a file
        that is damaged or cut short.
    """
    fp.seek(0)
    head = _head(fp)
    with reading():
        header = _Header(head)
        dtype, places = package("nrrd.reader")._determine_datatype(header.fields), header.places()
        skips = [
            int(header.fields.get(f"{what}{gap}skip", 0)) for what in ("line", "byte") for gap in (" ", "")
        ]
        encoding, offset = str(header.fields["encoding"]).lower(), len(head)
    if any(skips):
        raise ConvError("its samples do not follow its header: line skip and byte skip are not read")
    if encoding in ("gzip", "gz"):
        fp.seek(offset)
        length = prod(header.sizes) * dtype.itemsize
        fp, offset = unpacked(fp, igzip.IGzipFile(fileobj=fp, mode="rb"), lambda _: length), 0
    elif encoding != "raw":
        raise ConvError(f"samples in the encoding {encoding!r}: save them as raw or gzip")
    affine = None if header.affine is None else np.diag([*header.ways, 1]) @ header.affine
    colour = next((_COLOURS[one] for one in header.each("kinds", "") if one in _COLOURS), Colour.NONE)
    letters, sizes = header.letters[::-1], header.sizes[::-1]
    lost = [name for name in header.fields if name in LOST["NRRD"]]
    return VoxelSource(
        fp, "nrrd", head, letters, sizes, dtype, affine, places, colour, lost=lost, offset=offset
    )


def _head(fp: IO[bytes]) -> bytes:
    """Return a header with the empty line that ends it."""
    lines, size = list[bytes](), 0
    while (line := fp.readline(_MOST)).strip():
        lines.append(line)
        if (size := size + len(line)) > _MOST:
            raise ConvError(f"its header is longer than {_MOST} bytes")
    if not line:
        raise ConvError("cut short in its header")
    return b"".join([*lines, line])


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> NrrdSink:
    """Open a volume for writing, with the header of the input where that was one."""
    return NrrdSink(fp, info)


class NrrdSink(RegionSink):
    """A NRRD file, raw; directions and origin follow the samples."""

    def __init__(self, fp: IO[bytes], info: Info) -> None:
        placed = Placed(info, "nrrd", any_unit=True)
        head = placed.header
        with reading():
            old = _Header(head) if head else None
        letters, kinds = info.letters[::-1], _KINDS | {"C": _KINDS.get(info.colour, "vector")}
        of = (
            dict(zip(old.letters, zip(old.sizes, old.each("kinds", "vector"), strict=True), strict=True))
            if old
            else {}
        )
        if info.colour is Colour.NONE and of.get("C", (0,))[0] == info.channels:
            kinds["C"] = of["C"][1]  # still what it was: a list, a tensor
        fields: dict[str, object] = {
            "type": {"float32": "float", "float64": "double"}.get(info.dtype, info.dtype),
            "dimension": len(letters),
            "sizes": _row(info.shape[::-1]),
            "kinds": _row(kinds.get(one, "vector") for one in letters),
            "endian": "little",
            "encoding": "raw",
        }
        if placed.oriented:
            space, ways = (old.space, old.ways) if old else ("left-posterior-superior", LPS)
            affine = placed.affine(ways)
            columns = {one: _vector(affine[:3, i]) for i, one in enumerate(SPACE)}
            fields |= {"space": space} if space else {"space dimension": 3}
            fields["space directions"] = _row(columns.get(letter, "none") for letter in letters)
            fields |= {"space origin": _vector(affine[:3, 3]), "space units": '"mm" "mm" "mm"'}
        if told := placed.told:
            for name, index in (("spacings", 0), ("axis mins", 1)):
                fields[name] = _row(float(told[one][index]) if one in told else "nan" for one in letters)
            fields["units"] = _row(f'"{told[one][2] if one in told else ""}"' for one in letters)
        for name, form in _KEPT.items():
            values = dict(zip(old.letters, old.each(name, None), strict=True)) if old else {}
            row = [values.get(letter) for letter in letters]
            if None not in row:
                fields[name] = _row(form.format(value) for value in row)
        lines = [f"{name}: {value}\n".encode() for name, value in fields.items()]
        kept = [line for line in head.splitlines(keepends=True)[1:] if line.strip() and not _ANEW.match(line)]
        self.notes += tuple(f"{what} left out: NRRD holds none" for what in placed.lost)
        written = b"".join([b"NRRD0005\n", *lines, *(line.rstrip() + b"\n" for line in kept), b"\n"])
        fp.write(written)
        super().__init__(fp, info, len(written), np.dtype(info.dtype).newbyteorder("<"))


def _row(values: Iterable[object]) -> str:
    return " ".join(map(str, values))


def _vector(values: np.ndarray) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"
