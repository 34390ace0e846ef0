"""JPEG, WebP, BMP and GIF: pictures through Pillow, but for what `jpeg` does by itself.

Pillow may use only the decoders that are named here, so that no content can start another program.  Files
come as binary file objects.  PNG is in ``png``, TIFF in ``tiff``, what animations add in ``animation``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from convcli.data import Colour, Info, Metadata, Sink, Source
from convcli.errors import ConvError
from convcli.media import jpeg
from convcli.media.exif import take_orientation, turn
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.picture import (
    CHANNELS,
    HOLDS,
    MODES,
    WITH_ALPHA,
    WholeSource,
    check_frames,
    check_pixels,
    colour_of,
    decoding,
    finished,
    fit,
    info_of,
    resolution,
    settings_of,
)

if TYPE_CHECKING:
    from PIL import Image

DECODERS = ("JPEG", "WEBP", "BMP", "GIF")
_BEGINNINGS = {b"\xff\xd8\xff": "JPEG", b"RIFF": "WebP", b"BM": "BMP", b"GIF8": "GIF"}
_ANIMATED = ("GIF", "WEBP", "PNG", "AVIF", "FLI")

# Pillow's modes that are not written as they are, and what they are read as; those of more than 8 bits below
_EXPANDED = {"1": "L", "La": "LA", "RGBa": "RGBA", "RGBX": "RGB", "PA": "RGBA", "YCbCr": "RGB"}
_DEEP = {"I": "int32", "F": "float32", "I;16": "uint16", "I;16L": "uint16", "I;16B": "uint16"}


def source(fp: IO[bytes], options: ReadOptions) -> Source:
    """Open a JPEG, WebP, BMP or GIF: the first picture, or all frames with ``options.all_frames``.

    Raises
    ------
    ConvError
        For other, broken or truncated content, and for more than ``options.max_pixels``.
    """
    return jpeg.source(fp, options) or pillow_source(fp, options, DECODERS)


def pillow_source(fp: IO[bytes], options: ReadOptions, decoders: tuple[str, ...]) -> Source:
    """Open a picture with one of Pillow's decoders; closes ``fp`` with the source, or at once if it can."""
    image = open_image(fp, decoders)
    what = image.format or decoders[0]
    check_pixels(*image.size, options, what)
    with within_limit(what, options):
        count = getattr(image, "n_frames", 1) if what in _ANIMATED else 1
        if options.all_frames and count > 1:
            check_frames(count, options, what)
            check_pixels(*image.size, options, what, count)
            from convcli.media.animation import FramesSource

            return FramesSource(fp, image, count, options)
        metadata, orientation = carried(image)
        notes = (first_of(count, what),) if count > 1 else ()
        shape = jpeg.shape_of(image)
        if shape is None:
            pixels, colour = pixels_of(image)
        else:
            fp.seek(0)
            data, colour = fp.read(), MODES[image.mode]
            if orientation == 1:
                fp.close()
                return jpeg.arriving(data, info_of(shape, "uint8", colour, metadata, notes))
            pixels = jpeg.decoded(data, shape)
        pixels, metadata = turn(pixels, metadata, orientation)
    fp.close()
    return WholeSource(info_of(pixels.shape, pixels.dtype.name, colour, metadata, notes), pixels)


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


def carried(image: Image.Image) -> tuple[Metadata, int]:
    """Return what a picture carries beside its pixels, and the orientation that is still to be applied."""
    orientation = image.getexif().get(0x0112, 1)  # Pillow also finds it in XMP and in text chunks
    exif: bytes | None = image.info.get("exif")
    if exif is None and "Raw profile type exif" in image.info:
        exif = image.getexif().tobytes()
    if exif is not None:
        _, exif = take_orientation(exif.removeprefix(b"Exif\0\0"))
    dpi = image.info.get("dpi")
    return (
        Metadata(
            icc=image.info.get("icc_profile") or None,
            exif=exif or None,
            dpi=resolution(*dpi) if dpi else None,
        ),
        orientation,
    )


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


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> Sink:
    """Open a picture, or an animation for the axes ``TYX`` and ``TYXC``, for writing; no seeking.

    JPEG takes ``options.quality``, 95 without it, and keeps colour at full resolution from there on.  WebP is
    lossless without it.

    Raises
    ------
    UsageError
        For what the format cannot hold and no faithful reduction leads to.
    """
    if format_name == "jpeg" and colour_of(info) is not Colour.CMYK:
        return jpeg.JpegSink(fp, info, options)
    return PillowSink(fp, format_name, info, options)


class PillowSink:
    """Collects a picture's rows or an animation's frames; Pillow encodes them in the end."""

    def __init__(self, fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> None:
        fitted = fit(info, HOLDS[format_name])
        self.notes = fitted.notes
        self._fp, self._format, self._options = fp, format_name, options
        self._info, self._convert = fitted.info, fitted.convert
        self._pixels = np.empty(self._info.shape, np.uint8)
        self._arrived = 0

    def write(self, block: np.ndarray) -> None:
        """Take the next rows or frames."""
        rows = self._convert(block)
        self._pixels[self._arrived : self._arrived + len(rows)] = rows
        self._arrived += len(rows)

    def close(self) -> None:
        """Encode and write everything."""
        finished(self._arrived, self._info)
        from PIL import Image

        mode = CHANNELS[self._info.colour].mode
        size = (self._info.size("X"), self._info.size("Y"))
        pictures = self._pixels if "T" in self._info.axes else self._pixels[np.newaxis]
        images = [Image.frombuffer(mode, size, picture, "raw", mode, 0, 1) for picture in pictures]
        if self._format == "gif":
            images = [self._paletted(image) for image in images]
        encoded = io.BytesIO()
        settings = self._settings()
        if "T" in self._info.axes:
            from convcli.media.animation import settings_for

            settings |= settings_for(self._info, images, self._format)
        images[0].save(encoded, HOLDS[self._format].name, **settings)
        self._fp.write(encoded.getbuffer())

    def _paletted(self, image: Image.Image) -> Image.Image:
        """Return an image that GIF stores as it is: grey, or a palette with a place for transparency."""
        from PIL import Image

        if image.mode == "L":
            return image
        alpha = np.asarray(image.getchannel("A")) if image.has_transparency_data else None
        most = 256 if alpha is None else 255
        colours = image.convert("RGB")
        if colours.getcolors(most) is None:
            self._note(f"the colours are reduced to {most} a frame: GIF holds no more")
        paletted = colours.quantize(most)
        if alpha is not None:
            if ((alpha > 0) & (alpha < 255)).any():
                self._note("alpha is reduced to all or nothing: GIF holds no more")
            palette = (paletted.getpalette() or [])[: 3 * most]
            clear = len(palette) // 3  # one entry more, which shows nothing
            paletted.putpalette([*palette, 0, 0, 0])
            paletted.paste(clear, mask=Image.fromarray(np.where(alpha < 128, 255, 0).astype(np.uint8)))
            paletted.info["transparency"] = clear
        return paletted

    def _note(self, line: str) -> None:
        self.notes = tuple(dict.fromkeys((*self.notes, line)))

    def _settings(self) -> dict[str, Any]:
        """Return Pillow's settings of the format, metadata included."""
        settings, quality = settings_of(self._info.metadata), self._options.quality
        if self._format == "jpeg":
            settings |= jpeg.settings_for(quality)
        if self._format == "webp":
            settings |= {"lossless": True, "exact": True} if quality is None else {"quality": quality}
        if self._format == "gif":
            settings["optimize"] = False  # a shortened palette would no longer be read as grey
        return settings
