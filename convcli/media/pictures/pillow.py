"""Pillow behind limits: named decoders only, headers before pixels, and what a picture carries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np

from convcli.common.errors import ConvError
from convcli.data.info import Colour, Metadata
from convcli.media.options import ReadOptions
from convcli.media.pictures.exif import take_orientation
from convcli.media.shared import (
    CHANNELS,
    MODES,
    WITH_ALPHA,
    Density,
    decoding,
    resolution,
)

if TYPE_CHECKING:
    from PIL import Image

DECODERS = ("JPEG", "WEBP", "BMP", "GIF")


_BEGINNINGS = {b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"BM": "BMP", b"GIF8": "GIF"}


# Pillow's modes that are not written as they are, and what they are read as; those of more than 8 bits below
_EXPANDED = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "PA": "RGBA", "YCbCr": "RGB"}


_DEEP = {"I": "int32", "F": "float32", "I;16": "uint16", "I;16L": "uint16", "I;16B": "uint16"}


@contextmanager
def within_limit(what: str, options: ReadOptions) -> Iterator[None]:
    """Let Pillow decode, and stop it where a frame makes the picture grow beyond ``options.max_pixels``."""
    from PIL import Image

    with decoding(what):
        # Pillow warns from so many on, and stops at twice as many.
        Image.MAX_IMAGE_PIXELS = None if options.max_pixels is None else max(1, options.max_pixels // 2)
        try:
            yield
        except Image.DecompressionBombError as error:
            raise ConvError(f"a {what} with frames of more pixels than --max-pixels allows") from error


def first_of(count: int, what: str) -> str:
    """Return the note for an animation of which one frame is read."""
    return f"only the first of the {count} frames of this {what} is read (--frames all takes all of them)"


def open_image(fp: IO[bytes], decoders: tuple[str, ...]) -> Image.Image:
    """Read a picture's header with the named decoders of Pillow and no other.

    Raises
    ------
    ConvError
        When none of them knows the content.
    """
    from PIL import GifImagePlugin, Image

    Image.MAX_IMAGE_PIXELS = None  # only the header is read: check_pixels follows, and names the option
    # Frames that share the palette stay palette or grey, as the file has them.
    GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY
    head = fp.read(16)
    what = next((name for beginning, name in _BEGINNINGS.items() if head.startswith(beginning)), decoders[0])
    with decoding(what):
        try:
            return Image.open(fp, formats=decoders)
        except Image.UnidentifiedImageError:
            if head.startswith(tuple(_BEGINNINGS)):
                raise ConvError(f"broken or truncated {what}: its header cannot be read") from None
            content = f"it begins with {head!r}" if head else "it is empty"
            raise ConvError(f"not a {' or '.join(decoders)} picture: {content}") from None


def carried(image: Image.Image) -> tuple[Metadata, Density | None, int]:
    """Return what a picture carries, its resolution, and the orientation that is still to be applied to both."""
    orientation = image.getexif().get(0x0112, 1)  # Pillow also finds it in XMP and in text chunks
    exif: bytes | None = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:
        exif = image.getexif().tobytes()
    if exif is not None:
        _, exif = take_orientation(exif.removeprefix(b"Exif\0\0"))
    dpi = image.info.get("dpi")
    metadata = Metadata(icc=image.info.get("icc_profile") or None, exif=exif or None)
    return metadata, resolution(*dpi) if dpi else None, orientation


def pixels_of(image: Image.Image) -> tuple[np.ndarray, Colour]:
    """Decode a frame: palettes and 1 bit expanded, transparency as alpha."""
    image.load()  # some formats know their mode only now
    if image.mode in _DEEP:
        dtype = "uint16" if image.format == "PPM" and image.mode == "I" else _DEEP[image.mode]
        return np.asarray(image).astype(dtype), Colour.GREY
    if image.mode == "P":
        target = "RGBA" if image.has_transparency_data else "RGB"
    else:
        target = _EXPANDED.get(image.mode, image.mode)
    if target not in MODES:
        raise ConvError(
            f"colours of the kind {image.mode} cannot be filtered: convert the picture to RGB first"
        )
    colour = MODES[target]
    if "transparency" in image.info:
        colour = WITH_ALPHA.get(colour, colour)
    return np.asarray(image.convert(CHANNELS[colour].mode)), colour
