"""What the samples of a TIFF page mean: from numbers as stored to grey, colour and alpha.

No file is read here; strips and tiles are in ``tiff``.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from convcli.common import ConvError, frozen
from convcli.data import Colour, Metadata
from convcli.media.shared import CHANNELS, WITH_ALPHA, Density, resolution

if TYPE_CHECKING:
    import tifffile

# PhotometricInterpretation; YCbCr arrives here as RGB, decoded from JPEG
_GREY = {0: "white is zero", 1: "black is zero", 4: "mask"}
_COLOURS = {**dict.fromkeys(_GREY, Colour.GREY), 2: Colour.RGB, 3: Colour.RGB, 5: Colour.CMYK, 6: Colour.RGB}
_WHITE_IS_ZERO, _RGB, _PALETTE = 0, 2, 3
_DIVIDED = "the colours of the TIFF are premultiplied by alpha; they are read divided by it"
_CLASSES = (
    "the colours of the map's palette are filtered, not its classes: save it without a palette for these"
)
_PREMULTIPLIED, _STRAIGHT = 1, 2  # ExtraSamples
MOST = 281  # MaxSampleValue: 4095 says that samples of 12 bits were stored in 16
_PER_INCH = {2: Fraction(1), 3: Fraction(254, 100)}  # ResolutionUnit: inch, centimetre


@frozen
class Look:
    """How stored samples become pixels."""

    colour: Colour
    keep: int  # of the samples, the first so many
    table: np.ndarray | None = None  # value -> sample or colour, for palettes and fewer than 8 bits
    inverted: int | None = None  # the value of black, where white is zero
    white: int | None = None  # where it is less than the type's largest
    premultiplied: bool = False
    alpha_beside: bool = False  # the last sample is alpha, and not looked up in the table
    bands: str | None = None  # of measurements: what TIFF calls the first of them

    def apply(self, samples: np.ndarray) -> np.ndarray:
        """Return pixels, shape ``(rows, X)`` or ``(rows, X, C)``, of samples ``(rows, X, S)``."""
        pixels = samples[..., : self.keep]
        if self.table is not None:
            looked_up = pixels[..., : self.keep - self.alpha_beside]
            looked_up = self.table[looked_up.astype(np.intp)].reshape(*pixels.shape[:2], -1)
            pixels = np.concatenate([looked_up, pixels[..., -1:]], -1) if self.alpha_beside else looked_up
        if self.inverted is not None:
            pixels = (self.inverted - pixels).astype(pixels.dtype)
        if self.premultiplied:
            pixels = straight(pixels, self.white)
        return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def look_of(page: tifffile.TiffPage, significant: int = 16) -> tuple[Look, tuple[str, ...]]:
    """Return how a page's samples become pixels, and notes on what is not kept.

    ``significant`` are the bits that samples of 16 have by what else the file says.

    Raises
    ------
    ConvError
        For colour spaces that have no meaning here (CIELAB, LogLuv, raw sensors), and complex numbers.
    """
    opaque = _COLOURS.get(page.photometric)
    if opaque is None or page.dtype is None or page.dtype.kind not in "buif":
        what = getattr(page.photometric, "name", page.photometric) if opaque is None else page.dtype
        raise ConvError(f"a TIFF of {str(what)[:40]} cannot be filtered: convert it to grey or RGB first")
    bits = page.bitspersample if isinstance(page.bitspersample, int) else 8
    if bits == 16 and page.dtype == "uint16" and page.photometric != _WHITE_IS_ZERO:
        tops = np.atleast_1d(page.tags.valueof(MOST, 65535)).tolist()  # of each sample
        bits = next((n for n in range(9, 16) if tops and set(tops) == {2**n - 1}), significant)
    total = page.samplesperpixel
    if page.photometric == _PALETTE:
        return _palette_look(page, total)

    base = CHANNELS[opaque].count
    if total < base:
        raise ConvError(f"broken TIFF: {total} samples a pixel are too few for {opaque.upper()}")
    colour, keep, bands, notes = opaque, base, None, list[str]()
    extra = page.extrasamples[0] if page.extrasamples else 0
    if total > base and extra in (_PREMULTIPLIED, _STRAIGHT) and opaque in WITH_ALPHA:
        colour, keep = WITH_ALPHA[opaque], base + 1
    elif total > base and (opaque is Colour.GREY or (page.photometric == _RGB and page.is_geotiff)):
        colour, keep = Colour.NONE, total  # measurements, no picture
        bands = "minisblack" if opaque is Colour.GREY else "rgb"
    premultiplied = colour.has_alpha and extra == _PREMULTIPLIED
    if premultiplied:
        notes.append(_DIVIDED)
    if keep < total:
        notes.append(f"{total - keep} extra channels of the TIFF are left out")
    if 8 < bits < 16:
        notes.append(
            f"samples of {bits} bits are read as the numbers 0 to {2**bits - 1}, of which the last is white"
        )

    table, black = None, 2**bits - 1
    white = black if 8 < bits < 16 else None
    if bits < 8:
        black = 255
        table = np.round(np.arange(2**bits) * (255 / (2**bits - 1))).astype(np.uint8)
    inverted = black if page.photometric == _WHITE_IS_ZERO and page.dtype.kind in "bu" else None
    if inverted is None and page.photometric == _WHITE_IS_ZERO:
        notes.append(f"white is zero in this TIFF, and its {page.dtype} numbers are kept as they are")
    return Look(colour, keep, table, inverted, white, premultiplied, bands=bands), tuple(notes)


def _palette_look(page: tifffile.TiffPage, total: int) -> tuple[Look, tuple[str, ...]]:
    """Return how indices into a palette become colours; one extra sample may be their alpha."""
    table, notes = _palette(page)
    if page.is_geotiff:
        notes += (_CLASSES,)
    extra = page.extrasamples[0] if page.extrasamples else 0
    if total == 2 and extra in (_PREMULTIPLIED, _STRAIGHT) and page.bitspersample == 8:
        divided = extra == _PREMULTIPLIED
        return Look(Colour.RGBA, 2, table, premultiplied=divided, alpha_beside=True), notes + (
            _DIVIDED,
        ) * divided
    left_out = f"{total - 1} extra channels of the TIFF are left out"
    return Look(Colour.RGB, 1, table), notes + (left_out,) * (total > 1)


def _palette(page: tifffile.TiffPage) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a palette as 8-bit RGB, shape ``(entries, 3)``, and what that loses.

    TIFF stores 16 bits; most writers repeat the upper 8 in the lower ones, or leave these 0, and some store 8.
    """
    colours = page.colormap
    if colours is None:
        raise ConvError("broken TIFF: its palette is missing")
    if colours.max() <= 255:
        return colours.T.astype(np.uint8), ()
    upper, lower = colours >> 8, colours & 255
    rounded = bool(((lower != upper) & (lower != 0)).any())
    return upper.T.astype(np.uint8), ("the palette's colours of 16 bits are read as 8 bits",) * rounded


def straight(pixels: np.ndarray, white: int | None = None) -> np.ndarray:
    """Return pixels whose colours are divided by their alpha, the last channel; no colour where it is 0."""
    full = white or (1 if pixels.dtype.kind == "f" else np.iinfo(pixels.dtype).max)
    alpha = pixels[..., -1:].astype(np.float64)
    colours = np.divide(
        pixels[..., :-1] * float(full), alpha, out=np.zeros(pixels[..., :-1].shape), where=alpha > 0
    )
    if pixels.dtype.kind != "f":
        colours = np.minimum(np.rint(colours), full)
    return np.concatenate([colours.astype(pixels.dtype), pixels[..., -1:]], axis=-1)


def metadata_of(page: tifffile.TiffPage) -> tuple[Metadata, Density | None]:
    """Return profile and resolution of a page."""
    tags = page.tags
    unit = _PER_INCH.get(tags.valueof(296, 2))
    dpi = None
    if unit and 282 in tags and 283 in tags:
        x, y = (_number(tags.valueof(code)) for code in (282, 283))
        dpi = resolution(x * unit, y * unit)
    profile = tags.valueof(34675)
    return Metadata(icc=profile if isinstance(profile, bytes) else None), dpi  # numbers and texts are none


def _number(value: tuple[int, int] | float) -> Fraction:
    """Return a RATIONAL as a number, 0 for what is none."""
    if isinstance(value, tuple):
        return Fraction(*value) if value[1] else Fraction(0)
    return Fraction(value) if math.isfinite(value) else Fraction(0)
