"""The samples of a JPEG through imagecodecs, whose libjpeg-turbo takes two thirds of Pillow's time for the same bytes.

What surrounds the samples, EXIF and profile, is Pillow's to read and to write.  A large picture is
encoded in strips, on threads and while its rows arrive: restart markers stand between them, and the samples are
those of a picture encoded whole.  ITU-T T.81, B.2.1 and B.2.4.4.
"""

from __future__ import annotations

import io
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from convcli.data.box import Box
from convcli.data.info import Colour, Info, Sink, Source
from convcli.media.files.ordered import Pieces
from convcli.media.files.target import whole
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures.jpeg_segments import (
    APPLICATIONS,
    END,
    FRAMES,
    SCAN,
    START,
    application,
    check_scans,
    lost_of,
    plain,
    taken_apart,
)
from convcli.media.pictures.progressive import ArrivingSource
from convcli.media.shared import CHANNELS, HOLDS, check_pixels, dpi_of, fit, info_of, resolution, settings_of

if TYPE_CHECKING:
    from PIL import Image

QUALITY = 95
FULL_CHROMA_FROM = 95  # quality from which colour keeps its full resolution (4:4:4), below 4:2:0
STRIP = 1 << 20  # bytes of pixels that are encoded together
_SAMPLINGS = {"4:4:4": "444", "4:2:0": "420"}  # Pillow's names, and imagecodecs'
_RESTART, _RESTARTS = 0xD0, 8  # the first marker of a restart, and how many there are to go round
_ROWS = 16  # a strip's height divides by it: the units of both samplings do


# Reading


def source(fp: IO[bytes], options: ReadOptions) -> Source | None:
    """Open a JPEG that needs no Pillow, None for any other file.

    Raises
    ------
    ConvError
        For more pixels than ``options.max_pixels``.
    """
    begins = fp.read(len(START)) == START
    fp.seek(0)
    if not begins:
        return None
    data = whole(fp)
    fp.seek(0)
    check_scans(data)
    picture = plain(data)
    if picture is None:
        return None
    height, width, *_ = picture.shape
    check_pixels(width, height, options, "JPEG", stored=len(data))
    fp.close()
    dpi = resolution(*picture.dpi) if picture.dpi else None
    colour = Colour.RGB if len(picture.shape) == 3 else Colour.GREY
    return arriving(data, info_of(picture.shape, "uint8", colour, notes=lost_of(data), dpi=dpi))


def shape_of(image: Image.Image) -> tuple[int, ...] | None:
    """Return the shape of a grey or colour picture that Pillow has opened, None for what is left to Pillow."""
    if image.format not in ("JPEG", "MPO") or image.mode not in ("L", "RGB"):
        return None
    width, height = image.size
    return (height, width) if image.mode == "L" else (height, width, 3)


def arriving(data: bytes, info: Info) -> ArrivingSource:
    """Return a grey or colour picture that is decoded while it is read."""
    return ArrivingSource(info, "JPEG", partial(_fill, data))


def decoded(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Decode a grey or colour picture at once; broken content raises what the decoders raise."""
    pixels = np.empty(shape, np.uint8)
    deque(_fill(data, pixels), maxlen=0)
    return pixels


def _fill(data: bytes, out: np.ndarray) -> Iterator[int]:
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
    yield len(out)


# Writing


def settings_for(quality: int | None) -> dict[str, Any]:
    """Return Pillow's settings."""
    quality = QUALITY if quality is None else quality
    return {"quality": quality, "subsampling": "4:4:4" if quality >= FULL_CHROMA_FROM else "4:2:0"}


class JpegSink(Sink):
    """Writes grey or colour, strips encoded on threads.

    A picture of one strip is the same byte for byte as Pillow's; grey but for its sampling factors, which say
    nothing of one component.
    """

    def __init__(self, fp: IO[bytes], info: Info, options: WriteOptions) -> None:
        super().__init__(info)
        fitted = fit(info, HOLDS["jpeg"])
        self.notes = fitted.notes
        self._fp, self._info, self._convert = fp, fitted.info, fitted.convert
        self._settings = settings_for(options.level)
        height, *row = self._info.shape
        self._strip = np.empty(
            (min(height, max(_ROWS, STRIP // math.prod(row) // _ROWS * _ROWS)), *row), np.uint8
        )
        self._filled = self._encoded = 0  # rows of the strip, and strips
        self._pieces = Pieces(fp.write)

    def put(self, box: Box, values: np.ndarray) -> None:
        """Take the next rows, shape ``(rows, X)`` or ``(rows, X, 3)``; the values may be reused afterwards."""
        rows = self._convert(values)
        while len(rows):
            if self._filled == len(self._strip):
                self._pieces.add(self._take_strip())
            taken = rows[: len(self._strip) - self._filled]
            self._strip[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            rows = rows[len(taken) :]

    def close(self) -> None:
        """Write what is left and the end of the file."""
        super().close()
        last = self._take_strip()
        self._pieces.close()
        self._fp.write(last() + END)

    def _take_strip(self) -> Callable[[], bytes]:
        """Return the work that encodes the strip: all that comes before scans, or the mark between two, and a scan."""
        strip, number = self._strip[: self._filled], self._encoded
        self._strip, self._filled = np.empty_like(self._strip), 0
        self._encoded += 1

        def work() -> bytes:
            import imagecodecs

            sampling = _SAMPLINGS[self._settings["subsampling"]]
            picture = imagecodecs.jpeg8_encode(strip, level=self._settings["quality"], subsampling=sampling)
            segments, at = taken_apart(bytes(picture))
            scan = picture[at : -len(END)]
            before = bytes([0xFF, _RESTART + (number - 1) % _RESTARTS]) if number else self._head(segments)
            return before + scan

        return work

    def _head(self, segments: Iterable[tuple[int, bytes]]) -> bytes:
        """Return what comes before the first scan: the metadata, and the tables of a strip made the picture's."""
        parts = [START, *self._surroundings()]
        for marker, data in segments:
            if marker in FRAMES:  # marker, length and bits, then the height
                data = data[:5] + self._info.size("Y").to_bytes(2, "big") + data[7:]
            if marker == SCAN and self._info.length > len(self._strip):
                parts.append(b"\xff\xdd\0\4" + self._units().to_bytes(2, "big"))
            if marker not in APPLICATIONS:
                parts.append(data)
        return b"".join(parts)

    def _surroundings(self) -> list[bytes]:
        """Return the segments that tell resolution, profile and EXIF: Pillow's, where there is more than the first."""
        metadata = self._info.metadata
        if not (metadata.icc or metadata.exif):
            return [application(dpi_of(self._info))]
        from PIL import Image

        encoded = io.BytesIO()
        mode = CHANNELS[self._info.colour].mode
        Image.new(mode, (1, 1)).save(encoded, "JPEG", **settings_of(self._info), **self._settings)
        segments, _ = taken_apart(encoded.getvalue())
        return [data for marker, data in segments if marker in APPLICATIONS]

    def _units(self) -> int:
        """Return how many units (MCU) a strip has."""
        halved = self._info.channels > 1 and self._settings["subsampling"] == "4:2:0"
        side = 16 if halved else 8
        return -(-self._info.size("X") // side) * (len(self._strip) // side)
