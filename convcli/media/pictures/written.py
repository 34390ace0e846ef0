"""AVIF, JPEG 2000, QOI, Targa and netpbm, written: by imagecodecs, by Pillow, or row by row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, ClassVar

import numpy as np

from convcli.data import Box, Colour, Info, Sink
from convcli.media.options import WriteOptions
from convcli.media.pictures import jxl
from convcli.media.pictures.image import PillowSink
from convcli.media.region import RegionSink
from convcli.media.shared import CHANNELS, HOLDS, Holds, eight_of_sixteen, fit

if TYPE_CHECKING:
    from PIL import Image


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> Sink:
    """Open a picture for writing.  All are lossless, AVIF unless there is a quality.

    Raises
    ------
    UsageError
        For what the format cannot hold and no faithful reduction leads to.
    """
    pillow: dict[str, Callable[..., Sink]] = {"qoi": QoiSink, "tga": TgaSink}
    rows: dict[str, Callable[..., Sink]] = {"pfm": PfmSink, "ppm": PpmSink, "pgm": PgmSink}
    if format_name in rows:
        return rows[format_name](fp, info, HOLDS[format_name])
    if format_name in pillow:
        return pillow[format_name](fp, info, options)
    return CodecSink(fp, info, options, HOLDS[format_name])


_USUAL = 6  # of AVIF's speeds, 0 to 10: what avifenc takes


class CodecSink(PillowSink):
    """A picture that imagecodecs encodes."""

    def __init__(self, fp: IO[bytes], info: Info, options: WriteOptions, holds: Holds) -> None:
        moving = replace(holds, dtypes=("uint8",)) if "T" in info.letters else holds
        self.holds: Holds = moving  # type: ignore[misc]
        super().__init__(fp, info, options)
        self._twelve = holds.name == "AVIF" and self._info.dtype == "uint16"
        if self._twelve:
            self._note("16 bits a sample are rounded to 12: AVIF holds no more")

    def pictures(self, settings: dict[str, Any]) -> memoryview | bytes:
        import imagecodecs

        quality, pixels = self._options.level, self._pixels
        made: bytes | bytearray
        match self.holds.name:
            case "AVIF":
                level = 100 if quality is None else quality
                if self._twelve:
                    pixels = ((pixels * np.uint32(4095) + np.uint32(32767)) // 65535).astype(np.uint16)
                bits = 12 if self._twelve else 8
                made = imagecodecs.avif_encode(pixels, level, bitspersample=bits, speed=_USUAL)
            case "JPEG XL":
                if quality is not None and pixels.dtype == np.uint16:
                    self._note(f"16 bits a sample are rounded to 8: --quality {quality} keeps no more")
                    pixels = eight_of_sixteen()[pixels]
                made = jxl.encode(pixels, quality, self._info.metadata.exif)
            case name:
                form = "jp2" if name == "JPEG 2000" else "j2k"
                made = imagecodecs.jpeg2k_encode(pixels, 0, codecformat=form, reversible=True)
        return bytes(made)

    def animation(self, settings: dict[str, Any]) -> memoryview | bytes:
        """Return the file of all frames, of AVIF: Pillow encodes colours as Y, U and V."""
        if plays := settings.pop("loop"):
            often = "once" if plays == 1 else f"{plays} times"
            self._note(f"that it plays {often} is left out: AVIF animations play on")
        quality = 100 if self._options.level is None else self._options.level
        if quality == 100 and self._info.colour in (Colour.RGB, Colour.RGBA):
            self._note("colours may differ by up to 3 of 255: AVIF animations hold them as Y, U and V")
        return super().pictures(settings | {"save_all": True, "quality": quality, "subsampling": "4:4:4"})


class TgaSink(PillowSink):
    holds = HOLDS["tga"]


class QoiSink(PillowSink):
    holds = HOLDS["qoi"]

    def stored(self, image: Image.Image) -> Image.Image:
        """QOI has colours alone."""
        return image.convert({"L": "RGB", "LA": "RGBA"}.get(image.mode, image.mode))


class PgmSink(Sink):
    """Rows behind a header of text; samples of 16 bits have their high byte first."""

    colour: ClassVar[Colour] = Colour.GREY
    letter: ClassVar[int] = 5

    def __init__(self, fp: IO[bytes], info: Info, holds: Holds) -> None:
        super().__init__(info)
        self._fp, self._fitted = fp, fit(info, holds)
        form, self.notes = self._fitted.info, self._fitted.notes
        white = np.iinfo(form.dtype).max
        fp.write(f"P{self.letter}\n{form.size('X')} {form.size('Y')}\n{white}\n".encode())

    def put(self, box: Box, values: np.ndarray) -> None:
        values = self._fitted.convert(values)
        samples = values.reshape(*values.shape[:2], -1)
        samples = np.broadcast_to(samples, (*samples.shape[:2], CHANNELS[self.colour].count))
        self._fp.write(samples.astype(samples.dtype.newbyteorder(">")).tobytes())


class PpmSink(PgmSink):
    """Grey is stored as three equal colours."""

    colour, letter = Colour.RGB, 6


class PfmSink(RegionSink):
    """Floats, the lowest row first."""

    def __init__(self, fp: IO[bytes], info: Info, holds: Holds) -> None:
        fitted = fit(info, holds)
        self.notes = fitted.notes
        letter = "F" if fitted.info.channels == 3 else "f"
        head = f"P{letter}\n{info.size('X')} {info.size('Y')}\n-1.0\n".encode()
        fp.write(head)
        super().__init__(fp, info, len(head), np.dtype("<f4"))

    def put(self, box: Box, values: np.ndarray) -> None:
        (start, stop), columns = box
        height = self.info.size("Y")
        super().put(((height - stop, height - start), columns), values[::-1])
