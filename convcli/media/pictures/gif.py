"""GIF, taken apart here: Pillow shows frames with palettes and transparent colours of other ones.

Pillow decodes the indices of each frame, as a picture of its own.  GIF89a, CompuServe 1990.
"""

import io
import struct
from functools import partial

import numpy as np

from convcli.common.errors import ConvError
from convcli.data.info import Colour, Metadata
from convcli.media.carriers import comment, is_data, left_out
from convcli.media.pictures.animation import Composed, Disposal, Stored

_RAMP = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
_IMAGE, _EXTENSION, _END = b",!;"
_CONTROL, _APPLICATION = 0xF9, 0xFF
_COMMENT, _TEXT = 0xFE, 0x01
_PALETTE, _INTERLACED = 0x80, 0x40  # flags; the lowest three bits tell the size of the palette
_DISPOSALS = {2: Disposal.CLEAR, 3: Disposal.RESTORE}
_SQUARE = (0, 49)  # not said, and 64/64: FFmpeg says it always
_LOOPING = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


def composed(data: bytes, all_frames: bool) -> Composed:
    """Return the frames of a GIF, or what concerns the first.

    What no frame covers, and what one clears, has the background's colour, or is transparent where that frame has a
    transparent colour (as FFmpeg has it).

    Raises
    ------
    LookupError, struct.error
        For a file that is cut short.
    """
    width, height, flags, background, aspect = struct.unpack_from("<HHBBB", data, 6)
    shared, at = _palette(data, 13, flags)
    frames: list[Stored] = []
    beyond: tuple[str, ...] = ()
    grey, found, loop, control = True, ["aspect"] if aspect not in _SQUARE else [], None, bytes(4)
    while at < len(data) and data[at] != _END:
        kind, at = data[at], at + 1
        if kind == _EXTENSION:
            label, (parts, at) = data[at], _parts(data, at + 1)
            name = parts[0][:11] if parts else b""
            if label == _CONTROL:
                control = name
            elif label == _APPLICATION and name in _LOOPING:
                (loop,) = struct.unpack_from("<H", parts[1], 1)
            elif label == _COMMENT:
                found.append(comment(b"".join(parts)))
            else:
                found.append("text" if label == _TEXT else name.decode("latin-1"))
        elif kind == _IMAGE:
            x, y, wide, high, flags = struct.unpack_from("<HHHHB", data, at)
            own, start = _palette(data, at + 9, flags)
            _, at = _parts(data, start + 1)
            # Without any palette the format leaves the colours to the reader: grey, as others have it
            palette = next(one for one in (own, shared, _RAMP) if one is not None)
            grey = grey and np.array_equal(palette, _RAMP[: len(palette)])
            packed, delay, clear = struct.unpack_from("<BHB", control)
            ground, opaque = np.zeros(4, np.uint8), not packed & 1
            if opaque and shared is not None and background < len(shared):
                ground = np.append(shared[background], 255)
            if not frames:  # some files state no size, or too small a one
                width, height = max(width, x + wide), max(height, y + high)
                alpha = all_frames or not opaque or (not ground[3] and (wide, high) != (width, height))
            if x + wide > width or y + high > height:
                beyond = ("what lies outside of the picture",)
                if wide * high > 2 * width * height + (1 << 16):
                    raise ConvError(f"broken GIF: frame {len(frames)} is larger than the picture")
            form = (wide, high, flags & _INTERLACED)
            decode = partial(_decoded, data, start, at, form, palette, None if opaque else clear)
            disposal = _DISPOSALS.get(packed >> 2 & 7, Disposal.KEEP)
            frames.append(Stored(decode, (x, y, wide, high), 10 * delay, disposal, ground=ground))
            control = bytes(4)  # was for this frame alone
        elif kind and not frames:
            raise ConvError(f"broken GIF: no block begins at byte {at - 1}")
        elif kind:
            found.append("behind")
            break
    if is_data(data[at + 1 :]):
        found.append("behind")
    if not frames:
        raise ConvError("broken GIF: it has no picture")
    colour = Colour.GREY_ALPHA if grey else Colour.RGBA
    lost = left_out("GIF", found, beyond)
    carried = Metadata(), None, 1
    return Composed("GIF", (width, height), frames, colour, "uint8", carried, lost, loop, bool(alpha))


def _palette(data: bytes, at: int, flags: int) -> tuple[np.ndarray | None, int]:
    """Return a palette, shape ``(entries, 3)``, if flags say that there is one, and where it ends."""
    if not flags & _PALETTE:
        return None, at
    end = at + (6 << (flags & 7))
    return np.frombuffer(data[at:end], np.uint8).reshape(-1, 3), end


def _parts(data: bytes, at: int) -> tuple[list[bytes], int]:
    """Return the blocks that follow each other up to an empty one, and where that ends."""
    parts = []
    while size := data[at]:
        parts.append(data[at + 1 : at + 1 + size])
        at += 1 + size
    return parts, at + 1


def _decoded(
    data: bytes, start: int, end: int, form: tuple[int, int, int], palette: np.ndarray, clear: int | None
) -> np.ndarray:
    """Return a frame, shape ``(Y, X, 4)``, from its compressed indices."""
    from PIL import Image

    screen = struct.pack("<6sHHBBB", b"GIF89a", *form[:2], 0xF7, 0, 0) + _RAMP.tobytes()
    single = screen + struct.pack("<cHHHHB", b",", 0, 0, *form) + data[start:end] + b";"
    table = np.zeros((256, 4), np.uint8)
    table[: len(palette), :3], table[:, 3] = palette, 255
    if clear is not None:
        table[clear, 3] = 0
    if not form[0] * form[1]:  # some programs write such frames for their times
        return np.zeros((form[1], form[0], 4), np.uint8)
    indices = np.asarray(Image.open(io.BytesIO(single), formats=("GIF",)))
    return table.view(np.uint32)[indices].view(np.uint8)  # four bytes at once
