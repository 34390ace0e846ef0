"""What pictures have in common: colours in every format's words, what each format holds, limits, orientation.

No container and no codec is opened here: those are in ``image``, ``png`` and ``tiff``.
"""

import struct
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache, cached_property
from typing import Any

import numpy as np

from convcli.common import ConvError, UsageError, frozen
from convcli.common.budget import PICTURE, Rule
from convcli.common.machine import NO_MEMORY, NO_THREAD
from convcli.data import INCH, KEPT, Axis, Colour, Even, Info, Metadata, Strips
from convcli.media.options import ReadOptions

# Orientation -> (swap rows and columns, then mirror Y, then mirror X); EXIF 2.32, tag 0x0112.
_TURNS = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@frozen
class Channels:
    """One colour in the words of the formats."""

    count: int
    mode: str  # Pillow, 8 bits a sample
    png: int | None  # PNG's colour type
    photometric: str  # TIFF, as tifffile calls it
    profile: bytes  # the colour space that an ICC profile for it names (bytes 16 to 20)


CHANNELS = {
    Colour.GREY: Channels(1, "L", 0, "minisblack", b"GRAY"),
    Colour.GREY_ALPHA: Channels(2, "LA", 4, "minisblack", b"GRAY"),
    Colour.RGB: Channels(3, "RGB", 2, "rgb", b"RGB "),
    Colour.RGBA: Channels(4, "RGBA", 6, "rgb", b"RGB "),
    Colour.CMYK: Channels(4, "CMYK", None, "separated", b"CMYK"),
}
MODES = {row.mode: colour for colour, row in CHANNELS.items()}
OPAQUE = {Colour.GREY_ALPHA: Colour.GREY, Colour.RGBA: Colour.RGB}
WITH_ALPHA = {opaque: colour for colour, opaque in OPAQUE.items()}


@frozen
class Holds:
    """What a format can hold; ``colours`` includes those that it stores as a richer one without loss."""

    name: str
    dtypes: tuple[str, ...]
    colours: tuple[Colour, ...]
    side: int  # the longest width or height
    frames: bool = False
    icc: bool = True
    exif: int = 2**31  # bytes of EXIF at most


_EIGHT, _DEEP = ("uint8",), ("uint8", "uint16")
_BARE: dict[str, Any] = {"icc": False, "exif": 0}
_FINEST = 1_000_000  # the largest denominator of a resolution: floats are meant as decimals
_ALL = tuple(CHANNELS)
HOLDS = {
    "png": Holds("PNG", _DEEP, _ALL[:4], 1_000_000, frames=True),  # the width libpng admits
    "jpeg": Holds("JPEG", _EIGHT, (Colour.GREY, Colour.RGB, Colour.CMYK), 65_500, exif=65_527),
    "webp": Holds("WebP", _EIGHT, _ALL[:4], 16_383, frames=True),
    "bmp": Holds("BMP", _EIGHT, (Colour.GREY, Colour.RGB), 2**31 - 1, icc=False, exif=0),
    "gif": Holds("GIF", _EIGHT, _ALL[:4], 65_535, frames=True, icc=False, exif=0),
    "avif": Holds("AVIF", _DEEP, _ALL[:4], 65_535, frames=True, **_BARE),
    "jp2": Holds("JPEG 2000", _DEEP, _ALL[:4], 2**31 - 1, **_BARE),
    "j2k": Holds("J2K", _DEEP, _ALL[:4], 2**31 - 1, **_BARE),
    "jxl": Holds("JPEG XL", _DEEP, _ALL[:4], 2**30, icc=False),
    "qoi": Holds("QOI", _EIGHT, _ALL[:4], 2**31 - 1, **_BARE),
    "tga": Holds("TGA", _EIGHT, _ALL[:4], 65_535, **_BARE),
    "ppm": Holds("PPM", _DEEP, (Colour.GREY, Colour.RGB), 2**31 - 1, **_BARE),
    "pgm": Holds("PGM", _DEEP, (Colour.GREY,), 2**31 - 1, **_BARE),
    "pfm": Holds("PFM", ("float32",), (Colour.GREY, Colour.RGB), 2**31 - 1, **_BARE),
}


@cache
def eight_of_sixteen() -> np.ndarray:
    return ((np.arange(65536) + 128) // 257).astype(np.uint8)  # round(v / 257)


@frozen
class Fitted:
    """Data made to fit a format: what is written, how blocks become it, and what was given up."""

    info: Info
    notes: tuple[str, ...]
    convert: Callable[[np.ndarray], np.ndarray]


def colour_of(info: Info) -> Colour:
    """Return the colour of the data; plain numbers of one channel are grey and of three are RGB."""
    plain = {1: Colour.GREY, 3: Colour.RGB}
    return plain.get(info.channels, Colour.NONE) if info.colour is Colour.NONE else info.colour


Density = tuple[Fraction, Fraction]  # pixels per inch along x and y


def info_of(
    shape: tuple[int, ...],
    dtype: str,
    colour: Colour,
    metadata: Metadata | None = None,
    notes: tuple[str, ...] = (),
    dpi: Density | None = None,
) -> Info:
    """Return the description of one picture, shape ``(Y, X)`` or ``(Y, X, C)``."""
    return with_dpi(Info.of("YXC"[: len(shape)], shape, dtype, colour, metadata, notes=notes), dpi)


def with_dpi(info: Info, dpi: Density | None) -> Info:
    """Return a picture whose pixels lie ``1 / dpi`` inches apart, the first at 0."""
    if dpi is None:
        return info
    x, y = (Even(Fraction(0), 1 / value, INCH) for value in dpi)
    return info.placed(X=x, Y=y)


def dpi_of(info: Info) -> Density | None:
    """Return pixels per inch along x and y, where both are known and a file can say them."""
    spacings = [
        positions.spacing
        for positions in (info.axis("X").positions, info.axis("Y").positions)
        if isinstance(positions, Even) and positions.unit == INCH
    ]
    return resolution(*(1 / spacing for spacing in spacings)) if len(spacings) == 2 else None


def holders(colour: Colour) -> str:
    """Return the formats that hold a colour, for messages.

    >>> holders(Colour.CMYK)
    'JPEG or TIFF'
    """
    names = [row.name for row in HOLDS.values() if colour in row.colours]
    return " or ".join([", ".join(names), "TIFF"] if names else ["TIFF", ".npy"])


def fit(info: Info, holds: Holds) -> Fitted:
    """Reduce data to what a format holds; every reduction is a note.

    16 bits become 8 by ``round(v / 257)``; alpha is left out where a format has none.

    Raises
    ------
    UsageError
        For what has no faithful reduction: other axes, types or colours than the format knows.
    """
    notes: list[str] = []
    steps: list[Callable[[np.ndarray], np.ndarray]] = []
    letters = info.letters.removesuffix("C")
    if letters != "YX" and not (letters == "TYX" and holds.frames):
        raise UsageError(f"{holds.name} holds one picture, not the axes {info.letters}: write .tif or .npy")
    if max(info.size("Y"), info.size("X")) > holds.side:
        size = f"{info.size('X')} x {info.size('Y')}"
        raise UsageError(f"{holds.name} holds at most {holds.side} pixels a side, not {size}: write .tif")

    dtype = info.dtype
    if dtype not in holds.dtypes:
        if dtype != "uint16":
            bits = " or ".join(name.removeprefix("uint") for name in holds.dtypes)
            raise UsageError(
                f"{holds.name} holds whole numbers of {bits} bits, not {dtype}: give --range, or write .tif or .npy"
            )
        dtype = "uint8"
        notes.append(f"16 bits a sample are rounded to 8: {holds.name} holds no more")
        steps.append(lambda block: eight_of_sixteen()[block])

    colour = colour_of(info)
    if colour not in holds.colours and OPAQUE.get(colour) in holds.colours:
        colour = OPAQUE[colour]
        notes.append(f"the alpha channel is left out: {holds.name} holds none")
        steps.append(lambda block: block[..., : CHANNELS[colour].count])
    if colour not in holds.colours:
        what = f"{info.channels} channels" if colour is Colour.NONE else colour.upper()
        raise UsageError(f"{holds.name} does not hold {what}: write {holders(colour)}")

    channels = CHANNELS[colour].count
    axes = (*map(info.axis, letters), *((Axis("C", channels),) if channels > 1 else ()))
    metadata, lost = _carried(info.metadata, colour, holds)
    fitted = replace(info, axes=axes, dtype=dtype, colour=colour, metadata=metadata)

    def convert(block: np.ndarray) -> np.ndarray:
        for step in steps:
            block = step(block)
        return block.reshape(block.shape[0], *fitted.shape[1:])

    return Fitted(fitted, (*notes, *lost), convert)


def _carried(metadata: Metadata, colour: Colour, holds: Holds) -> tuple[Metadata, tuple[str, ...]]:
    """Return the metadata that a format can hold, and a note for each that is left out."""
    icc, why_not = profile_for(metadata.icc, colour)
    notes = [why_not] if why_not else []
    if icc and not holds.icc:
        icc = None
        notes.append(f"the colour profile is left out: {holds.name} holds none")
    exif = metadata.exif
    if exif and len(exif) > holds.exif:
        exif = None
        most = f"at most {holds.exif} bytes" if holds.exif else "none"
        notes.append(f"the EXIF data is left out: {holds.name} holds {most}")
    return replace(metadata, icc=icc, exif=exif), tuple(notes)


def settings_of(info: Info) -> dict[str, Any]:
    """Return metadata and resolution as Pillow's settings."""
    settings: dict[str, Any] = {}
    metadata, dpi = info.metadata, dpi_of(info)
    if metadata.icc:
        settings["icc_profile"] = metadata.icc
    if metadata.exif:
        settings["exif"] = b"Exif\0\0" + metadata.exif
    if dpi:
        settings["dpi"] = tuple(map(float, dpi))
    return settings


def resolution(x: Fraction | float, y: Fraction | float) -> Density | None:
    """Return pixels per inch, or nothing where a file states what no format can store (broken EXIF data does)."""
    if not (0 < x < 65_536 and 0 < y < 65_536):
        return None
    x, y = (Fraction(value).limit_denominator(_FINEST) for value in (x, y))
    return (x, y) if x and y else None


def profile_for(icc: bytes | None, colour: Colour) -> tuple[bytes | None, str | None]:
    """Return an ICC profile if it is one for the colour, else ``None`` and the reason."""
    if icc is None or colour is Colour.NONE or icc[16:20] == CHANNELS[colour].profile:
        return icc, None
    space = icc[16:20].decode("latin-1").strip()
    why = f"it is for {space}, the result is {colour.upper()}" if space.isalnum() else "it is damaged"
    return None, f"the colour profile is left out: {why}"


class Recent:
    """Keeps the pieces that the latest request touched, so that overlapping requests make none twice.

    It does not hold what makes them: that is its owner's, and a circle of references keeps pictures in memory.
    """

    def __init__(self) -> None:
        self._kept: dict[int, np.ndarray] = {}

    def __call__(self, keys: list[int], make: Callable[[list[int]], list[np.ndarray]]) -> list[np.ndarray]:
        """Return the pieces of the keys, made again unless the previous request touched them."""
        missing = [key for key in keys if key not in self._kept]
        self._kept = {key: self._kept[key] for key in keys if key in self._kept}
        self._kept.update(zip(missing, make(missing), strict=True))
        return [self._kept[key] for key in keys]

    def clear(self) -> None:
        """Let go of the pieces: who holds this may be held for longer than the file is open."""
        self._kept = {}


_ROWS = 16  # that a picture counts for at least: a filter holds some rows at a time, however long they are


def check_pixels(
    width: int,
    height: int,
    options: ReadOptions,
    what: str,
    frames: int = 1,
    stored: int | None = None,
    rule: Rule = PICTURE,
) -> None:
    """Refuse sizes, read from a header, that would decode into too much memory; ``stored`` as in `Rule`.

    Raises
    ------
    ConvError
        When there is no pixel at all, or more than ``options.max_pixels``.
    """
    if width < 1 or height < 1:
        raise ConvError(f"broken {what}: its size is {width} x {height}")
    each = f"{frames} frames of " if frames > 1 else ""
    wanted = frames * width * max(height, _ROWS)
    rule.allow(wanted, f"a {what} of {each}{width} x {height} pixels", stored, options.max_pixels)


def check_samples(dtype: np.dtype) -> None:
    """Refuse samples that are no real numbers, or wider than 64 bits.

    Raises
    ------
    ConvError
    """
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ConvError(
            f"samples of the type {dtype}: only integers and floats up to 64 bits can be filtered"
        )


def check_frames(count: int, options: ReadOptions, what: str) -> None:
    """Refuse more frames, or pages, than are wanted.

    Raises
    ------
    ConvError
        When there are more than ``options.max_frames``.
    """
    if options.max_frames is not None and count > options.max_frames:
        raise ConvError(f"a {what} of {count} frames has more than --max-frames {options.max_frames} allows")


# What decoders raise on hostile data, beside their own errors (which are RuntimeErrors or ValueErrors).
_BROKEN = (
    *(OSError, EOFError, SyntaxError, ValueError, LookupError, TypeError, AttributeError),
    *(ArithmeticError, RuntimeError, AssertionError, struct.error, ImportError),
)


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn what a decoder raises into one line, and keep its warnings off stderr."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ConvError:  # a UsageError is a ValueError too
        raise
    except MemoryError:
        raise ConvError(f"not enough memory to decode the {what}") from None
    except _BROKEN as error:
        if isinstance(error, BlockingIOError) or any(
            words in str(error) for words in (*NO_MEMORY, NO_THREAD)
        ):
            raise  # the machine is at fault, not the file
        # libpng's words for what it refuses are sometimes those of another moment, and no text
        lines = [] if isinstance(error, UnicodeError) else str(error).strip().splitlines()
        detail = lines[0][:160] if lines else "the decoder refuses it"
        raise ConvError(f"broken or truncated {what}: {detail}") from error


class Decoded(Strips):
    """A picture that is decoded as a whole when its first rows are read; what breaks it is raised there.

    Parameters
    ----------
    what : str
        The format's name, for messages.
    decode : callable
        Decodes into an array of the picture's form.
    """

    grain = KEPT

    def __init__(self, info: Info, what: str, decode: Callable[[np.ndarray], object]) -> None:
        self.info, self._what, self._decode = info, what, decode

    @cached_property
    def _pixels(self) -> np.ndarray:
        with decoding(self._what):
            pixels = np.empty(self.info.shape, self.info.dtype)
            self._decode(pixels)
        return pixels

    def strip(self, start: int, stop: int) -> np.ndarray:
        return self._pixels[start:stop]

    def close(self) -> None:
        """Nothing stays open."""


def turn(pixels: np.ndarray, dpi: Density | None, orientation: int) -> tuple[np.ndarray, Density | None]:
    """Return pixels, shape ``(Y, X)`` or ``(Y, X, C)``, as they are to be seen, with x and y of dpi swapped too."""
    swap, mirror_y, mirror_x = _TURNS.get(orientation, (False, False, False))
    if swap:
        pixels = pixels.swapaxes(0, 1)
        dpi = dpi and dpi[::-1]
    if mirror_y:
        pixels = pixels[::-1]
    if mirror_x:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels), dpi


def take_orientation(exif: bytes) -> tuple[int, bytes | None]:
    """Return the orientation (1 to 8) and the EXIF data without it, every other byte in its place.

    Re-encoding would lose what it does not understand: thumbnails, makers' notes with offsets of their own.

    Parameters
    ----------
    exif
        A TIFF stream, without the ``Exif\\0\\0`` of JPEG before it.

    Returns
    -------
    orientation, rest
        ``rest`` is ``None`` when nothing else was in it.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1, exif
    try:
        (first,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, first)
        end = first + 2 + 12 * count + 4  # entries, then the offset of the next directory
        for entry in range(first + 2, end - 4, 12):
            tag, kind = struct.unpack_from(f"{order}HH", exif, entry)
            if tag == 0x0112:
                (value,) = struct.unpack_from(order + {1: "B", 4: "I"}.get(kind, "H"), exif, entry + 8)
                rest = exif[:first] + struct.pack(f"{order}H", count - 1) + exif[first + 2 : entry]
                rest += exif[entry + 12 : end] + bytes(12) + exif[end:]
                return (value if value in _TURNS else 1), (rest if count > 1 else None)
    except struct.error:  # cut off: no orientation can be read
        pass
    return 1, exif
