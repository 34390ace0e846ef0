"""Animated PNG: every frame is decoded as a PNG of its own, so that 16 bits stay 16 bits.

PNG (Third Edition), W3C 2025, 11.3.6.
"""

import struct
from dataclasses import replace
from fractions import Fraction
from functools import partial

import numpy as np

from convcli.common.errors import ConvError
from convcli.data.info import Colour
from convcli.media.pictures.animation import Composed, Disposal, Stored
from convcli.media.pictures.pillow import Carried
from convcli.media.pictures.png_chunks import CONTROL, SIGNATURE, Chunks, chunk


def composed(data: bytes, chunks: Chunks, carried: Carried, lost: tuple[str, ...]) -> tuple[Composed, bool]:
    """Return the frames of an animation, and whether its default image is none of them.

    Raises
    ------
    ConvError
        For another number of frames than the file states.
    """
    header, shared, at = chunks.header, b"", len(SIGNATURE)
    found: list[tuple[tuple[int, ...], list[bytes]]] = []
    hidden = False
    while (kind := data[at + 4 : at + 8]) != b"IEND":
        body = data[at + 8 : at + 8 + int.from_bytes(data[at : at + 4], "big")]
        at += 12 + len(body)
        if kind == b"fcTL":
            found.append((struct.unpack(CONTROL, body), []))
        elif kind in (b"PLTE", b"tRNS"):
            shared += b"".join(chunk(kind, body))
        elif kind == b"IDAT" and not found:
            hidden = True
        elif kind in (b"IDAT", b"fdAT"):
            found[-1][1].append(body if kind == b"IDAT" else body[4:])
    count, plays = struct.unpack(">II", chunks.others[b"acTL"])
    if count != len(found):
        raise ConvError(f"broken PNG: it states {count} frames and has {len(found)}")
    frames: list[Stored] = []
    for (_, width, height, x, y, delay, divisor, disposal, blending), parts in found:
        if x + width > header.width or y + height > header.height:
            raise ConvError(f"broken PNG: frame {len(frames)} is larger than the picture")
        single = b"".join(chunk(b"IHDR", replace(header, width=width, height=height).packed()))
        single = SIGNATURE + single + shared + b"".join((*chunk(b"IDAT", *parts), *chunk(b"IEND")))
        shown = Fraction(1000 * delay, divisor or 100)
        frames.append(
            Stored(partial(_decoded, single), (x, y, width, height), shown, Disposal(disposal), blending == 1)
        )
    colour = Colour.GREY_ALPHA if header.kind in (0, 4) else Colour.RGBA
    dtype = "uint16" if header.bits == 16 else "uint8"
    size = (header.width, header.height)
    return Composed("PNG", size, frames, colour, dtype, carried, lost, plays), hidden


def _decoded(single: bytes) -> np.ndarray:
    """Return a picture with alpha, shape ``(Y, X, 2)`` or ``(Y, X, 4)``."""
    import imagecodecs

    pixels: np.ndarray = imagecodecs.png_decode(single)
    pixels = np.atleast_3d(pixels)
    full = np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)
    return pixels if pixels.shape[2] in (2, 4) else np.concatenate([pixels, full], -1)
