"""Pillow behind limits: named decoders only, headers before pixels, and what a picture carries."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Protocol

import numpy as np

from convcli.common import ConvError
from convcli.common.budget import PICTURE, Rule
from convcli.data import Colour, Metadata
from convcli.media.carriers import LOST, comment, left_out
from convcli.media.options import ReadOptions
from convcli.media.pictures.jpeg_segments import form_of
from convcli.media.shared import CHANNELS, MODES, WITH_ALPHA, Density, decoding, resolution, take_orientation

if TYPE_CHECKING:
    from PIL import Image

DECODERS = ("JPEG", "WEBP", "BMP", "GIF")
ANIMATED = ("WEBP", "AVIF", "FLI")


_HEADER = 1 << 20  # bytes of a JPEG in which the head of its frame is looked for
_BEGINNINGS = {b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"BM": "BMP", b"GIF8": "GIF"}


# Pillow's modes that are not written as they are, and what they are read as; those of more than 8 bits below
_EXPANDED = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "PA": "RGBA", "YCbCr": "RGB"}


# Resources of a PSD that say nothing: square pixels, no guides, no copyright
_BLANK = {1064: rb".{4}\x3f\xf0\0{6}", 1032: rb".{12}\0{4}", 1034: rb"\0*\Z", 1036: rb"\Z"}
_SINGLE = 1024  # bytes at the end of a file that decoders get one by one
_DEEP = {"I": "int32", "F": "float32", "I;16": "uint16", "I;16L": "uint16", "I;16B": "uint16"}


@contextmanager
def within_limit(what: str, options: ReadOptions, stored: int, rule: Rule = PICTURE) -> Iterator[None]:
    """Let Pillow decode, and stop it where a picture inside is larger than a file of ``stored`` bytes may become."""
    from PIL import Image

    most = rule.units(stored, options.max_pixels)
    with decoding(what):
        # Pillow warns from so many on, and stops at twice as many.
        Image.MAX_IMAGE_PIXELS = None if most is None else max(1, most // 2)
        try:
            yield
        except Image.DecompressionBombError as error:
            raise ConvError(f"a {what} holds pictures too large for its size (--max-pixels)") from error


def first_of(count: int, what: str, hidden: bool = False) -> str:
    """Return the note for an animation of which one picture is read; a hidden one is none of its frames."""
    if hidden:
        return f"only the default image of this {what} is read, none of its {count} frames (--frames all takes those)"
    return f"only the first of the {count} frames of this {what} is read (--frames all takes all)"


def open_image(fp: IO[bytes], decoders: tuple[str, ...]) -> Image.Image:
    """Read a picture's header with the named decoders of Pillow and no other.

    Raises
    ------
    ConvError
        When none of them knows the content.
    """
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # only the header is read: check_pixels follows, and names the option
    head = fp.read(16)
    what = next((name for beginning, name in _BEGINNINGS.items() if head.startswith(beginning)), decoders[0])
    with decoding(what):
        try:
            return Image.open(fp, formats=decoders)
        except Image.UnidentifiedImageError:
            fp.seek(0)
            form = form_of(fp.read(_HEADER)) if what == "JPEG" else ""
            if form and form != "JPEG of 8 bits a sample":
                raise ConvError(f"a {form}, which is not read: convert it, e.g. to PNG or TIFF") from None
            if head.startswith(tuple(_BEGINNINGS)):
                raise ConvError(f"broken or truncated {what}: its header cannot be read") from None
            raise unknown(head, decoders) from None


def unknown(head: bytes, decoders: tuple[str, ...]) -> ConvError:
    """Return the error for content that no decoder knows, from its first bytes."""
    content = f"it begins with {head!r}" if head else "it is empty"
    return ConvError(f"not a {' or '.join(decoders)} picture: {content}")


Carried = tuple[Metadata, Density | None, int]
"""What a picture carries, its resolution, and the orientation that is still to be applied to both."""


class Picture(Protocol):
    """A picture whose header has been read; its frames are decoded as they are asked for."""

    decoder: str  # Pillow's name of the format
    size: tuple[int, int]  # width and height

    @property
    def count(self) -> int:
        """The number of frames; counting may read the file."""
        ...

    @property
    def lost(self) -> tuple[str, ...]:
        """The line for what of the file is left out; asked for when a frame has been decoded."""
        ...

    def frame(self, index: int) -> tuple[np.ndarray, Colour]:
        """Decode a frame: palettes and 1 bit expanded, transparency as alpha."""
        ...

    def info(self) -> dict[Any, Any]:
        """Return what Pillow says of the frame decoded last, by Pillow's names."""
        ...

    def carried(self) -> Carried: ...


class PillowPicture:
    """A picture that Pillow has opened."""

    def __init__(self, image: Image.Image) -> None:
        self._image = image
        self.decoder, self.size = image.format or "picture", image.size
        self._first = image.tell()  # 1 in a PSD

    @cached_property
    def count(self) -> int:
        """The frames, which are counted in the file when this is first asked for."""
        return getattr(self._image, "n_frames", 1) if self.decoder in ANIMATED else 1

    @cached_property
    def lost(self) -> tuple[str, ...]:
        return lost_of(self._image)

    def frame(self, index: int) -> tuple[np.ndarray, Colour]:
        image = self._image
        image.seek(self._first + index)
        image.load()  # some formats know their mode only now
        colour = colour_of_mode(image.mode, image.has_transparency_data, "transparency" in image.info)
        if image.mode in _DEEP:
            return deep(np.asarray(image), image.mode, self.decoder), colour
        return np.asarray(image.convert(CHANNELS[colour].mode)), colour

    def info(self) -> dict[Any, Any]:
        return self._image.info

    def carried(self) -> Carried:
        return carried(self._image)


def lost_of(image: Any, also: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the line for what of a file is left out, as far as Pillow knows, and what else is known to be there."""
    info, format = {str(key).lower(): value for key, value in image.info.items()}, image.format or "picture"
    found = {key for key in info if info[key] and (key != "sizes" or len(info[key]) > 1)}
    text = info.get("comment", b"")
    if not comment(text if isinstance(text, bytes) else str(text).encode()):
        found.discard("comment")
    resources = [
        str(number)
        for number, _, data in getattr(image, "resources", ())  # of a PSD
        if not (
            re.match(_BLANK.get(number, rb"(?!)"), data, re.DOTALL)
            or (number == 1050 and _is_one_slice(data))
        )
    ]
    with suppress(OSError, SyntaxError, ValueError):  # layers that Pillow does not understand
        if format not in ANIMATED and getattr(image, "n_frames", 1) > 1:
            found.add("frames")
    return left_out(format, [*(key for key in LOST["other"] if key in found), *resources, *also])


def _is_one_slice(data: bytes) -> bool:
    """Say whether a PSD has but the one slice that Photoshop always writes."""
    if data[:4] != b"\0\0\0\6":
        return data.count(b"sliceID") < 2
    name = int.from_bytes(data[20:24])
    return int.from_bytes(data[24 + 2 * name : 28 + 2 * name]) < 2


class Reads:
    """A file that knows up to where it was read: decoders get ever smaller blocks to its end, then single bytes."""

    BLOCK = 65_521  # bytes: Pillow's `decodermaxblock` is set to it, so that blocks differ from what must be whole

    def __init__(self, fp: IO[bytes]) -> None:
        self.file, self._reached, self._decoding = fp, 0, False
        at, self._size = fp.tell(), fp.seek(0, 2)
        fp.seek(at)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def read(self, size: int = -1) -> bytes:
        if size == self.BLOCK:
            self._decoding = True
            left = self._size - self.file.tell()
            size = min(size, max(1, left // 4 if left > _SINGLE else 1))
        return self._noted(self.file.read(size))

    def readline(self, size: int = -1) -> bytes:
        return self._noted(self.file.readline(size))

    def _noted(self, data: bytes) -> bytes:
        end = self.file.tell()
        if (
            not self._decoding or end - len(data) <= self._reached
        ):  # or it looks for a record at the end of the file
            self._reached = max(self._reached, end)
        return data

    def rest(self) -> bytes:
        """Return what lies behind all that was read, up to a megabyte."""
        if self.file.closed:  # Pillow does so to an FTEX
            return b""
        self.file.seek(self._reached)
        return self.file.read(1 << 20)


def carried(image: Image.Image) -> Carried:
    """Return what a picture carries."""
    exif = image.getexif()  # Pillow also finds the orientation in XMP and in text chunks
    info = image.info
    if "exif" not in info and "Raw profile type exif" in info:
        info = info | {"exif": exif.tobytes()}
    return carried_in(info, exif.get(0x0112, 1))


def carried_in(info: dict[Any, Any], orientation: int) -> Carried:
    """Return the same from Pillow's names."""
    exif: bytes | None = info.get("exif")
    if exif is not None:
        _, exif = take_orientation(exif.removeprefix(b"Exif\0\0"))
    dpi = info.get("dpi")
    metadata = Metadata(icc=info.get("icc_profile") or None, exif=exif or None)
    return metadata, resolution(*dpi) if dpi else None, orientation


def colour_of_mode(mode: str, alpha: bool, transparent: bool) -> Colour:
    """Return what a picture of one of Pillow's modes is read as.

    Parameters
    ----------
    mode : str
    alpha : bool
        Whether a palette has transparent entries.
    transparent : bool
        Whether one colour is transparent.
    """
    if mode in _DEEP:
        return Colour.GREY
    target = ("RGBA" if alpha else "RGB") if mode == "P" else _EXPANDED.get(mode, mode)
    if target not in MODES:
        raise ConvError(f"colours of the kind {mode} cannot be filtered: convert the picture to RGB first")
    colour = MODES[target]
    return WITH_ALPHA.get(colour, colour) if transparent else colour


def deep(pixels: np.ndarray, mode: str, decoder: str) -> np.ndarray:
    """Return grey samples of more than 8 bits in the type that holds them."""
    return pixels.astype("uint16" if decoder == "PPM" and mode == "I" else _DEEP[mode])
