"""JPEG XL, which imagecodecs decodes; what a file states of itself is read here, before that.

ISO/IEC 18181-1, annexes B and D (numbers and headers); 18181-2 (boxes).
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import IO

import numpy as np

from convcli.common import ConvError
from convcli.common.budget import PICTURE
from convcli.data import ArraySource, Colour, Metadata, Source
from convcli.media import trial
from convcli.media.carriers import left_out
from convcli.media.files.target import whole
from convcli.media.options import ReadOptions
from convcli.media.pictures.boxes import boxes
from convcli.media.shared import check_pixels, decoding, info_of, take_orientation

_PACKED = {b"Exif": "exif box", b"xml ": "xml"}  # in boxes that are compressed
_RATIOS = ((0, 1), (1, 1), (6, 5), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
# Numbers in one of four forms: so many bits, and what is added
_SIDE, _PREVIEW, _EIGHTHS = "9+1 13+1 18+1 30+1", "6+1 8+65 10+321 12+1345", "0+16 0+32 5+1 9+33"
_BITS, _FLOATS, _ENUM = "0+8 0+10 0+12 6+1", "0+32 0+16 0+24 6+1", "0+0 0+1 4+2 6+18"
_TIMES = ("0+100 0+1000 10+1 30+1", "0+1 0+1001 8+1 10+1", "0+0 3+0 16+0 32+0")
_EXTRA, _SHIFT, _NAME = "0+0 0+1 4+2 12+1", "0+0 0+3 0+4 3+1", "0+0 4+0 5+16 10+48"
_ALPHA, _SPOT, _INK, _MOST = 0, 2, 4, 16  # kinds of further channels, and how many of them are looked at
_GREY, _XYB, _D65, _PRIMARIES, _SRGB, _LINEAR = 1, 2, 1, 1, 13, 8


class Header:
    """The beginning of a codestream, lowest bits first.

    Attributes
    ----------
    size
        Width and height, as the picture is shown.
    bits
        Of a sample, 0 of floats.
    found
        What it carries, by the keys of `convcli.media.carriers`.
    misread
        What the decoder would give as something else.
    end
        Where it ends, in bits.
    transfer
        The code of the transfer function, 0 where it has none.
    """

    def __init__(self, stream: bytes) -> None:
        self._bits, self.end = int.from_bytes(stream[2:4096], "little"), 0
        self.size, self.bits = self._size(), 8
        self.found, self.misread, self.transfer = list[str](), "", _SRGB
        if self._take():  # all else is as usual
            return
        if self._take():
            if self._take(3) >= 4:
                self.size = self.size[::-1]
            if self._take():
                self._size()
            if self._take():
                self._size(preview=True)
            if self._take():
                self.found.append("frames")
                for form in _TIMES:
                    self._number(form)
                self._take()
        self.bits = self._depth()
        self._take()
        for _ in range(min(self._number(_EXTRA), _MOST)):
            self._channel()
        self._take()
        self._colour()

    def _take(self, bits: int = 1) -> int:
        self.end += bits
        return self._bits >> (self.end - bits) & ((1 << bits) - 1)

    def _number(self, forms: str) -> int:
        bits, plus = forms.split()[self._take(2)].split("+")
        return self._take(int(bits)) + int(plus)

    def _size(self, preview: bool = False) -> tuple[int, int]:
        eighths = self._take()

        def side() -> int:
            if not eighths:
                return self._number(_PREVIEW if preview else _SIDE)
            return 8 * (self._number(_EIGHTHS) if preview else self._take(5) + 1)

        height = side()
        above, below = _RATIOS[self._take(3)]
        return (height * above // below if above else side()), height

    def _depth(self) -> int:
        if not self._take():
            return self._number(_BITS)
        self._number(_FLOATS)
        self._take(4)
        return 0

    def _channel(self) -> None:
        if self._take():
            return
        kind = self._number(_ENUM)
        self._depth()
        self._number(_SHIFT)
        self._take(8 * self._number(_NAME))
        associated = kind == _ALPHA and self._take()
        self._take(64 * (kind == _SPOT))
        self.misread = self.misread or "inks" * (kind == _INK) or "premultiplied colours" * bool(associated)
        self.found += ["channels"] * (kind != _ALPHA)

    def _colour(self) -> None:
        if self._take():
            return
        if self._take():
            self.found.append("icc box")
            return
        space = self._number(_ENUM)
        named = space == _XYB or self._number(_ENUM) == _D65
        named = named and (space in (_GREY, _XYB) or self._number(_ENUM) == _PRIMARIES)
        self.transfer = self._number(_ENUM) if named and not self._take() else 0
        if self.transfer != _SRGB:
            self.found.append("nclx")


def begin_of(data: bytes) -> int:
    """Return where the codestream begins."""
    inside = {kind: begin for kind, begin, _ in reversed([*boxes(data)])}
    if "jxlc" not in inside and "jxlp" not in inside:
        raise ValueError("no codestream is inside")
    return inside["jxlc"] if "jxlc" in inside else inside["jxlp"] + 4


def encode(pixels: np.ndarray, quality: int | None, exif: bytes | None) -> bytes:
    """Return a picture as a file, lossless without a quality, 1 to 100, which takes samples of 8 bits."""
    import imagecodecs

    how = {"lossless": True} if quality is None else {"level": quality}
    made = bytes(imagecodecs.jpegxl_encode(pixels, usecontainer=True, **how))
    begin, data = begin_of(made), bytearray(made)
    head = Header(made[begin:])
    if head.transfer == _LINEAR:  # which samples of 16 bits are not; the two codes differ in four bits
        place = 8 * (begin + 2) + head.end - 4
        changed = (_LINEAR - 2 ^ _SRGB - 2) << place % 8
        data[place // 8] ^= changed & 255
        data[place // 8 + 1] ^= changed >> 8
    if exif:
        data += struct.pack(">I4sI", 12 + len(exif), b"Exif", 0) + exif
    return bytes(data)


def decode(data: bytes) -> np.ndarray:
    """Decode the picture, or the first frame of an animation."""
    import imagecodecs

    pixels: np.ndarray = imagecodecs.jpegxl_decode(data, index=0)
    return pixels


def source(fp: IO[bytes], options: ReadOptions) -> Source:
    """Open a JPEG XL.

    Raises
    ------
    ConvError
        For broken or truncated content, and for more than ``options.max_pixels``.
    """
    data = whole(fp)
    fp.close()
    with decoding("JPEG XL"):
        parts = [] if data.startswith(b"\xff\x0a") else [*boxes(data)]
        head = Header(data[begin_of(data) if parts else 0 :])
        check_pixels(*head.size, options, "JPEG XL", stored=len(data))
        if head.misread:
            raise ConvError(f"a JPEG XL with {head.misread} is not read: convert it to .npy, TIFF or PNG")
        most = PICTURE.units(len(data), options.max_pixels)
        memory = None if most is None else 4 * most * PICTURE.each
        trial.check(data, "JPEG XL", f"{__name__}:decode", memory=memory)
        pixels = decode(data)
        wide, high = head.size
        if pixels.shape[1:] == (high, wide):  # grey, and further channels
            pixels = pixels[0]
        if pixels.shape[:2] != (high, wide) or pixels.ndim > 3:
            raise ConvError("a JPEG XL with such channels is not read: convert it to .npy, TIFF or PNG")
        colour = (Colour.GREY, Colour.GREY_ALPHA, Colour.RGB, Colour.RGBA)[pixels.size // (wide * high) - 1]
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    packed = [_PACKED.get(data[begin:][:4], "packed") for kind, begin, _ in parts if kind == "brob"]
    notes = left_out("JPEG XL", [*head.found, *(kind for kind, *_ in parts), *packed])
    exif = next(
        (take_orientation(data[begin + 4 : end])[1] for kind, begin, end in parts if kind == "Exif"), None
    )
    info = info_of(pixels.shape, pixels.dtype.name, colour, Metadata(exif=exif or None), notes)
    odd = pixels.dtype.kind == "u" and head.bits not in (0, 8 * pixels.itemsize)
    return ArraySource(pixels, replace(info, white=2**head.bits - 1) if odd else info)
