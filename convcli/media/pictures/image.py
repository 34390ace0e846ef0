"""JPEG, WebP, BMP and GIF: pictures through Pillow.

The samples of a JPEG go through imagecodecs, whose libjpeg-turbo takes two thirds of Pillow's time for the same bytes.

Pillow may use only the decoders that are named here, so that no content can start another program.  Files
come as binary file objects.  PNG is in ``png``, TIFF in ``tiff``, what animations add in ``animation``.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np

from convcli.common import ConvError
from convcli.common.budget import GIF, PICTURE, Rule
from convcli.data import KEPT, ArraySource, Box, Colour, Info, Sink, Source
from convcli.media.carriers import is_data, left_out
from convcli.media.files.target import whole
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures.jpeg_segments import (
    APPLICATIONS,
    END,
    SCAN,
    START,
    application,
    check_scans,
    lost_of,
    taken_apart,
)
from convcli.media.pictures.pillow import (
    DECODERS,
    Picture,
    PillowPicture,
    carried,
    first_of,
    open_image,
    within_limit,
)
from convcli.media.shared import (
    CHANNELS,
    HOLDS,
    MODES,
    Decoded,
    Holds,
    check_frames,
    check_pixels,
    decoding,
    dpi_of,
    fit,
    info_of,
    settings_of,
    turn,
)

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 95  # of a JPEG
FULL_CHROMA_FROM = 95  # quality from which colour keeps its full resolution (4:4:4), below 4:2:0


def decode(data: bytes, out: np.ndarray) -> None:
    """Decode a grey or colour picture into an array; broken content raises what the decoders raise."""
    import imagecodecs

    try:
        # Here libjpeg fills what is missing with grey and says nothing; Pillow notices.  A file without an end mark
        # behind its last scan is therefore left to Pillow.
        if data.rfind(END) < data.rfind(bytes([0xFF, SCAN])):
            raise ValueError("no end mark")
        imagecodecs.jpeg8_decode(data, out=out)
    except ValueError:  # or the shape is another one
        from PIL import Image

        out[...] = np.asarray(Image.open(io.BytesIO(data), formats=("JPEG",)))


def source(fp: IO[bytes], options: ReadOptions) -> Source:
    """Open a JPEG, WebP, BMP or GIF: the first picture, or all frames with ``options.all_frames``.

    Raises
    ------
    ConvError
        For other, broken or truncated content, and for more than ``options.max_pixels``.
    """
    if fp.read(4) == b"GIF8":
        from convcli.media.pictures.animation import of_gif

        with decoding("GIF"):
            return picture_source(fp, of_gif(whole(fp), options.all_frames), options, rule=GIF)
    return pillow_source(fp, options, DECODERS)


def pillow_source(fp: IO[bytes], options: ReadOptions, decoders: tuple[str, ...]) -> Source:
    """Open a picture with one of Pillow's decoders; closes ``fp`` with the source, or at once if it can."""
    fp.seek(0)
    image = open_image(fp, decoders)
    if image.format in ("JPEG", "MPO"):
        return _jpeg_source(fp, image, options)
    picture = PillowPicture(image)
    if carriers := {"BMP": _bmp_carriers, "WEBP": _webp_carriers}.get(picture.decoder):
        picture.lost = left_out(picture.decoder, carriers(whole(fp)))
    return picture_source(fp, picture, options)


def _jpeg_source(fp: IO[bytes], image: Image.Image, options: ReadOptions) -> Source:
    """Return a JPEG whose header Pillow has read: grey and colours are decoded when they are read, inks at once."""
    data = whole(fp)
    check_scans(data)
    lost = lost_of(data)
    if image.mode not in ("L", "RGB"):
        picture = PillowPicture(image)
        picture.lost = lost
        return picture_source(fp, picture, options)
    check_pixels(*image.size, options, "JPEG", stored=len(data))
    shape, colour = (*image.size[::-1], *(3,) * (image.mode == "RGB")), MODES[image.mode]
    with within_limit("JPEG", options, len(data)):
        metadata, dpi, orientation = carried(image)
        fp.close()
        if orientation == 1:
            info = info_of(shape, "uint8", colour, metadata, lost, dpi)
            return Decoded(info, "JPEG", partial(decode, data))
        decode(data, pixels := np.empty(shape, np.uint8))
        pixels, dpi = turn(pixels, dpi, orientation)
    return ArraySource(pixels, info_of(pixels.shape, pixels.dtype.name, colour, metadata, lost, dpi))


def _bmp_carriers(data: bytes) -> Iterator[str]:
    end, begins, size, bits, compression, pixels = struct.unpack_from(
        "<I4xII10xHII", data.ljust(38, b"\0"), 2
    )
    if size >= 108:  # from version 4 on
        yield data[70:74].decode("latin-1").strip()
    end = max(end, begins + pixels)  # some writers state a wrong size of the file
    if end > begins and is_data(data[end:]):
        yield "behind"
    if (bits, compression) == (32, 0) and len(set(data[begins + 3 :: 4])) > 1:
        yield "fourth"


def _webp_carriers(data: bytes) -> Iterator[str]:
    at, end = 12, 8 + int.from_bytes(data[4:8], "little")
    while at + 8 <= min(end, len(data)):
        kind, size = struct.unpack_from("<4sI", data, at)
        yield kind.decode("latin-1").strip()
        at += 8 + size + size % 2
    if is_data(data[end:]):
        yield "behind"


def picture_source(
    fp: IO[bytes], picture: Picture, options: ReadOptions, stored: int = 0, rule: Rule = PICTURE
) -> Source:
    """Decode a picture, or with ``options.all_frames`` its frames when they are asked for; closes ``fp`` alike.

    ``stored`` is the size of the file, where Pillow may have closed it already (FTEX).
    """
    what = picture.decoder
    if not stored:
        at, stored = fp.tell(), fp.seek(0, io.SEEK_END)
        fp.seek(at)
    check_pixels(*picture.size, options, what, stored=stored, rule=rule)
    within = partial(within_limit, what, options, stored, rule)
    with within():
        count = picture.count
        if options.all_frames and count > 1:
            check_frames(count, options, what)
            check_pixels(*picture.size, options, what, count, stored, rule)
            from convcli.media.pictures.animation import FramesSource

            return FramesSource(fp, picture, within)
        pixels, colour = picture.frame(0)
        metadata, dpi, orientation = picture.carried()
        pixels, dpi = turn(pixels, dpi, orientation)
        notes = (*((first_of(count, what),) if count > 1 else ()), *picture.lost)
    fp.close()
    return ArraySource(pixels, info_of(pixels.shape, pixels.dtype.name, colour, metadata, notes, dpi))


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> Sink:
    """Open a picture, or an animation for the axes ``TYX`` and ``TYXC``, for writing; no seeking.

    JPEG takes ``options.quality``, 95 without it, and keeps colour at full resolution from there on.  WebP is
    lossless without it.

    Raises
    ------
    UsageError
        For what the format cannot hold and no faithful reduction leads to.
    """
    writers: dict[str, Callable[..., Sink]] = {
        "jpeg": JpegSink,
        "webp": WebpSink,
        "bmp": BmpSink,
        "gif": GifSink,
    }
    return writers[format_name](fp, info, options)


class PillowSink(Sink):
    """Collects a picture's rows or an animation's frames, which Pillow encodes in the end.

    Attributes
    ----------
    holds : Holds
        The format.
    unit, longest
        How an animation counts the times of its frames: seconds, and the most units.
    """

    grain = KEPT
    holds: ClassVar[Holds]
    unit: ClassVar[Fraction] = Fraction(1, 1000)
    longest: ClassVar[int] = 2**24 - 1

    def __init__(self, fp: IO[bytes], info: Info, options: WriteOptions) -> None:
        super().__init__(info)
        fitted = fit(info, self.holds)
        self.notes = fitted.notes
        self._fp, self._options = fp, options
        self._info, self._convert = fitted.info, fitted.convert
        self._pixels = np.empty(self._info.shape, self._info.dtype)

    def put(self, box: Box, values: np.ndarray) -> None:
        """Keep rows or frames."""
        self._pixels[slice(*box[0])] = self._convert(values)

    def close(self) -> None:
        """Encode and write everything."""
        super().close()
        settings, animated = settings_of(self._info) | self.settings(), "T" in self._info.letters
        try:
            encoded = self.animation(settings | self.timing()) if animated else self.pictures(settings)
        except (OverflowError, RuntimeError, ValueError):
            # GIF adds up the times of equal frames; WebP counts all milliseconds in 32 bits
            if not animated:
                raise
            longest = float(self.longest * self.unit)
            raise ConvError(
                f"{self.holds.name} cannot hold these times (a picture may stand for {longest:g} s, and equal frames "
                "are one): write .mkv, or give --fps"
            ) from None
        self._fp.write(encoded)

    def pictures(self, settings: dict[str, Any]) -> memoryview | bytes:
        """Return the file that Pillow makes of the picture, or of all frames."""
        from PIL import Image

        mode = CHANNELS[self._info.colour].mode
        size = (self._info.size("X"), self._info.size("Y"))
        first, *others = (
            self.stored(Image.frombuffer(mode, size, picture, "raw", mode, 0, 1))
            for picture in self._pixels.reshape(-1, *self._pixels.shape[self._info.letters.index("Y") :])
        )
        encoded = io.BytesIO()
        first.save(encoded, self.holds.name, append_images=others, **settings)
        return encoded.getbuffer()

    def animation(self, settings: dict[str, Any]) -> memoryview | bytes:
        """Return the file of all frames."""
        from imageio.v3 import imwrite

        extension = f".{self.holds.name.lower()}"
        made: bytes = imwrite(
            "<bytes>", self._pixels, plugin="pillow", extension=extension, is_batch=True, **settings
        )
        if b"ANMF" not in made:
            self._note("all frames are equal: WebP stores them as one still picture, without times")
        return made

    def stored(self, image: Image.Image) -> Image.Image:
        """Return an image as the format stores it."""
        return image

    def settings(self) -> dict[str, Any]:
        """Return Pillow's settings of the format."""
        return {}

    def timing(self) -> dict[str, Any]:
        """Return Pillow's settings of the times and repeats of an animation; what changes them becomes a note."""
        from convcli.media.pictures.animation import delays_for

        delays, plays, notes = delays_for(self._info, self.holds.name, self.unit, self.longest)
        self.notes += notes
        return {"duration": [int(delay * self.unit * 1000) for delay in delays], "loop": plays}

    def _note(self, line: str) -> None:
        self.notes = tuple(dict.fromkeys((*self.notes, line)))


class JpegSink(PillowSink):
    """A JPEG; Pillow encodes inks, and what has a profile or EXIF, byte for byte as imagecodecs does the rest."""

    holds = HOLDS["jpeg"]

    def settings(self) -> dict[str, Any]:
        quality = QUALITY if self._options.level is None else self._options.level
        return {"quality": quality, "subsampling": "4:4:4" if quality >= FULL_CHROMA_FROM else "4:2:0"}

    def pictures(self, settings: dict[str, Any]) -> memoryview | bytes:
        metadata = self._info.metadata
        if self._info.colour is Colour.CMYK or metadata.icc or metadata.exif:
            return super().pictures(settings)
        import imagecodecs

        sampling = settings["subsampling"].replace(":", "")
        made = imagecodecs.jpeg8_encode(self._pixels, level=settings["quality"], subsampling=sampling)
        segments, scan = taken_apart(bytes(made))
        others = (data for marker, data in segments if marker not in APPLICATIONS)
        return b"".join([START, application(dpi_of(self._info)), *others, made[scan:]])


class BmpSink(PillowSink):
    holds = HOLDS["bmp"]


class WebpSink(PillowSink):
    holds = HOLDS["webp"]

    def settings(self) -> dict[str, Any]:
        quality = self._options.level
        return {"lossless": True, "exact": True} if quality is None else {"quality": quality}


class GifSink(PillowSink):
    holds, unit, longest = HOLDS["gif"], Fraction(1, 100), 65535

    def settings(self) -> dict[str, Any]:
        return {"optimize": False}  # a shortened palette would no longer be read as grey

    def timing(self) -> dict[str, Any]:
        settings = super().timing()
        if min(settings["duration"]) < 20:
            self._note("some frames last 0.01 s: many players show them for 0.1 s, as GIF's first ones did")
        if settings["loop"]:
            settings["loop"] = settings["loop"] - 1 or None  # repeats; Pillow writes no count for None
        return settings | {"disposal": 2 if self._info.colour.has_alpha else 0}

    def animation(self, settings: dict[str, Any]) -> memoryview | bytes:
        """Return the file of all frames; imageio takes no palettes."""
        return self.pictures(settings | {"save_all": True})

    def stored(self, image: Image.Image) -> Image.Image:
        """Return an image that is grey, or has a palette with a place for transparency."""
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
