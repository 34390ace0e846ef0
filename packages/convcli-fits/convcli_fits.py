"""FITS images for convcli, read and written in parts; the header and its world coordinates stay and follow the samples.

Headers, scaling and compression are astropy's.  Pixel axes 1 and 2 are X and Y; further ones are Z, T or C, as their
CTYPE says.  Positions are the linear part of the world coordinates, in their own unit: of a sky, degrees from the pole
and the meridian of the projection's reference point.
"""

import math
import re
import warnings
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
from astropy.io import fits

from convcli.common import ConvError, UsageError
from convcli.data.axes import Even
from convcli.data.info import BOXES, Boxes, Info, Metadata
from convcli.media import region
from convcli.media.region import RegionSink
from convcli.media.registry import Format

BLOCK = 2880  # bytes that a header and the samples fill up to
BITPIX = {"uint8": 8, "int16": 16, "int32": 32, "int64": 64, "float32": -32, "float64": -64}
SHIFTED = {
    "int8": "uint8",
    "uint16": "int16",
    "uint32": "int32",
    "uint64": "int64",
}  # stored less their middle
UNITS = {"FREQ": "Hz", "WAVE": "m", "AWAV": "m", "VELO": "m/s", "VRAD": "m/s", "VOPT": "m/s"}
LETTERS = {"TIME": "T", "UTC": "T", "TAI": "T", "TT": "T", "TDB": "T", "STOKES": "C", "RGB": "C"}
STALE = ("DATAMIN", "DATAMAX", "CHECKSUM", "DATASUM", "BSCALE", "BZERO", "BLANK")
_SIP = re.compile(r"([AB])P?_(\d)_(\d)$")


@contextmanager
def decoding():
    """Turn what astropy raises into one line, and keep its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (ConvError, MemoryError):
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ConvError(f"broken or truncated FITS file: {lines[0][:160]}") from None


def letters_of(header):
    """Return the letter of each pixel axis, the first of the header first; a space where it has a single sample."""
    found = ""
    for number in range(1, header.get("NAXIS", 0) + 1):
        kind = str(header.get(f"CTYPE{number}", "")).split("-")[0].strip().upper()
        wanted = "XY"[number - 1] if number < 3 else LETTERS.get(kind, "Z") + "ZTC"
        alone = header[f"NAXIS{number}"] == 1 and number > 1
        letter = " " if alone else next((one for one in wanted if one not in found), "")
        if not letter:
            raise ConvError(f"its axes are {header['NAXIS']}: at most X, Y, Z, T and C can be filtered")
        found += letter
    return found


def places_of(header, letters):
    """Return the positions along the axes whose world coordinates are known; of axes that are turned, distances."""
    found = {}
    for number, letter in enumerate(letters, 1):
        if letter in " C" or not {f"{key}{number}" for key in ("CTYPE", "CRPIX", "CRVAL")} & set(header):
            continue
        column = [_linear(header, row, number) for row in range(1, len(letters) + 1)]
        own, turned = column[number - 1], sum(map(bool, column)) > 1
        spacing = math.hypot(*column) if turned else own
        first = 0.0 if turned else header.get(f"CRVAL{number}", 0.0)
        first += 0.0 if turned else (1 - header.get(f"CRPIX{number}", 0.0)) * own
        if not spacing or not math.isfinite(spacing) or not math.isfinite(first):
            continue
        kind = str(header.get(f"CTYPE{number}", "")).upper()
        usual = "deg" if "-" in kind else UNITS.get(kind[:4].strip(), "s" if letter == "T" else "")
        unit = str(header.get(f"CUNIT{number}", "")).strip() or usual
        found[letter] = Even(Fraction(str(first)), Fraction(str(spacing)), unit)
    return found


def _linear(header, row, column):
    """Return the world coordinate that a step along a pixel axis adds, by CD, or by PC and CDELT."""
    if any(re.match(r"CD\d+_\d+$", key) for key in header):
        return float(header.get(f"CD{row}_{column}", 0.0))
    turn = math.radians(header.get("CROTA2", 0.0))
    old = {(1, 1): math.cos(turn), (2, 2): math.cos(turn), (1, 2): -math.sin(turn), (2, 1): math.sin(turn)}
    if any(re.match(r"PC\d+_\d+$", key) for key in header) or not turn:
        return float(header.get(f"CDELT{row}", 1.0)) * header.get(f"PC{row}_{column}", float(row == column))
    return float(header.get(f"CDELT{column}", 1.0)) * old.get((row, column), float(row == column))


def move(header, number, start, jump):
    """Make a header's coordinates those of new samples along an axis, at ``start + jump * i`` of the old ones."""
    for key in [*header]:
        alternative = re.fullmatch(rf"(?:CRPIX|LTV){number}([A-Z]?)", key)
        if alternative:
            header[key] = float((header[key] - 1 - start) / jump + 1)
    for alternative in {key[5 + len(str(number)) :] for key in header if key.startswith(f"CRPIX{number}")}:
        matrix = [key for key in header if re.fullmatch(rf"(CD|PC)\d+_\d+{alternative}", key)]
        if matrix and matrix[0].startswith("PC"):
            header.setdefault(f"PC{number}_{number}{alternative}", 1.0)
        scaled = [key for key in header if re.fullmatch(rf"(CD|PC)\d+_{number}{alternative}", key)]
        if not matrix:
            header.setdefault(f"CDELT{number}{alternative}", 1.0)
            scaled = [f"CDELT{number}{alternative}"]
        for key in scaled:
            header[key] *= float(jump)
    if f"LTM{number}_{number}" in header:
        header[f"LTM{number}_{number}"] /= float(jump)
    for key in header:
        if number < 3 and (found := _SIP.match(key)):  # polynomials of pixels, in pixels
            power = int(found[number + 1]) - (found[1] == "AB"[number - 1])
            header[key] *= float(jump) ** power


class FitsSource(Boxes):
    """The first image of a FITS file; BZERO and BSCALE are applied, and BLANK is missing."""

    def __init__(self, fp, options):
        size = fp.seek(0, 2)
        fp.seek(0)
        self._fp = fp
        with decoding():
            self._file = fits.open(fp, memmap=False)
            number = _chosen(self._file, options.array.strip("/"))
            self._hdu = hdu = self._file[number]
            header, shape = hdu.header, hdu.shape
            if not isinstance(hdu, fits.CompImageHDU):
                missing = hdu.fileinfo()["datLoc"] + math.prod(shape) * abs(header["BITPIX"]) // 8 - size
                if missing > 0:
                    raise ConvError(f"cut short: {missing} bytes of its samples are missing")
            self._letters = letters_of(header)
            dtype = hdu.section[(slice(0, 1),) * len(shape)].dtype.newbyteorder("=").name
            many = [(one, n) for one, n in zip(self._letters[::-1], shape, strict=True) if one != " "]
            others = [
                _name(n, one) for n, one in enumerate(self._file) if n != number and one.header["NAXIS"]
            ]
            others += ["limits of values"] * any(key in header for key in STALE[:2])
            notes = (f"left out of the FITS: {', '.join(others)}",) if others else ()
            blank = str(header["BLANK"]) if "BLANK" in header and header["BITPIX"] > 0 else None
            metadata = Metadata(header=("fits", header.tostring()), nodata=blank)
            info = Info.of(
                "".join(one for one, _ in many), [n for _, n in many], dtype, metadata=metadata, notes=notes
            )
            self.info = info.placed(**places_of(header, self._letters))

    def read(self, box):
        spans = dict(zip(self.info.letters, self.info.spans(box), strict=True))
        index = tuple(slice(*spans.get(letter, (0, 1))) for letter in self._letters[::-1])
        with decoding():
            block = np.asarray(self._hdu.section[index])
        return block.reshape([stop - start for start, stop in spans.values()]).astype(
            self.info.dtype, copy=False
        )

    def close(self):
        self._fp.close()


def _chosen(file, wanted):
    """Return the number of the HDU with a number or a name, of the first image where none is wanted."""
    images = {n: one.name for n, one in enumerate(file) if _is_image(one)}
    if not images:
        raise ConvError("it holds no image")
    matching = [n for n, name in images.items() if wanted.upper() in ("", str(n), name.upper())]
    if not matching:
        names = ", ".join(f"::{name or n}" for n, name in images.items())
        raise UsageError(f"no image ::{wanted}; there are {names}")
    return matching[0]


def _is_image(hdu):
    image = isinstance(hdu, (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU))
    return image and not isinstance(hdu, fits.GroupsHDU) and bool(hdu.shape) and min(hdu.shape) > 0


def _name(number, hdu):
    return f"HDU {number}" + f" ({hdu.name})" * bool(hdu.name)


class FitsSink(RegionSink):
    """An image with the header of the input, if that was one."""

    def __init__(self, fp, format, info, options):
        own = info.metadata.header
        with decoding():
            old = fits.Header.fromstring(own[1] if own and own[0] == "fits" else "")
            letters = letters_of(old)
            known = places_of(old, letters)
            letters += "".join(one for one in "XYZTCM" if one in info.letters and one not in letters)
            header = fits.PrimaryHDU(header=old).header
            for key in STALE:
                header.remove(key, ignore_missing=True, remove_all=True)
            stored = SHIFTED.get(info.dtype, info.dtype)
            header["BITPIX"], header["NAXIS"] = BITPIX[stored], len(letters)
            for number, letter in enumerate(letters, 1):
                size = info.size(letter) if letter in info.letters else 1
                header.set(f"NAXIS{number}", size, after=f"NAXIS{number - 1}" if number > 1 else "NAXIS")
            if info.dtype in SHIFTED:
                middle = -(2**7) if info.dtype == "int8" else 2 ** (8 * np.dtype(info.dtype).itemsize - 1)
                header["BZERO"], header["BSCALE"] = middle, 1
            for axis in info.axes:
                self._place(header, letters.index(axis.letter) + 1, axis, known.get(axis.letter))
            if options.array.strip("/"):
                header["EXTNAME"] = options.array.strip("/")
            header["HISTORY"] = "filtered with convcli"
            head = header.tostring().encode("ascii")
        fp.write(head)
        super().__init__(fp, info, len(head), np.dtype(stored).newbyteorder(">"))
        self._order = [info.letters.index(one) for one in letters[::-1] if one in info.letters]

    def _place(self, header, number, axis, old):
        places, steps = axis.positions, axis.positions and axis.positions.steps()
        if steps and steps[0] == steps[1] and places.at(0) is not None:
            if old is not None:
                move(header, number, (places.at(0) - old.origin) / old.spacing, steps[0] / old.spacing)
            else:
                header[f"CRPIX{number}"], header[f"CRVAL{number}"] = 1.0, float(places.at(0))
                header[f"CDELT{number}"], header[f"CUNIT{number}"] = float(steps[0]), places.unit
        elif steps:
            self.notes += (
                f"the positions along {axis.letter.lower()}, which are uneven, are left out: FITS holds none",
            )

    def put(self, box, values):
        if self.info.dtype in SHIFTED:
            kind = np.dtype(f"u{values.dtype.itemsize}")
            values = (values.view(kind) ^ kind.type(1 << (8 * kind.itemsize - 1))).view(
                SHIFTED[self.info.dtype]
            )
        shape, spans, order = self.info.shape, self.info.spans(box), self._order
        data = values.transpose(order).astype(self._dtype)
        region.write(self._fp, self._offset, [shape[i] for i in order], [spans[i] for i in order], data)

    def close(self):
        super().close()
        self._fp.write(bytes(-self._fp.seek(0, 2) % BLOCK))


FORMAT = Format(
    *(
        "fits",
        (".fits", ".fit", ".fts"),
        lambda head: head.startswith(b"SIMPLE  ="),
        "convcli_fits:FitsSource",
    ),
    *("convcli_fits:FitsSink", "MTZYXC", (*BITPIX, *SHIFTED)),
    seeks=True,
    arrays=True,
    numbers=True,
    placed="TZYX",
    grain=BOXES,
)
