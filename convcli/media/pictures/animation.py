"""Animations (GIF, WebP, PNG): frames that are laid one over the other, and how long each is shown.

GIF and PNG are taken apart here.  Pillow shows frames of GIF with palettes and transparent colours of other ones, so it
decodes the indices of each frame as a picture of its own (GIF89a, CompuServe 1990).  Every frame of a PNG is decoded as
a PNG of its own, so that 16 bits stay 16 bits (PNG, Third Edition, W3C 2025, 11.3.6).
Single pictures are in ``image``; clips are in ``media/clips``.
"""

import io
import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from enum import Enum
from fractions import Fraction
from functools import partial
from itertools import accumulate
from math import lcm
from typing import IO, Any

import numpy as np

from convcli.common import ConvError, frozen
from convcli.data import SECOND, Colour, Info, Listed, Metadata, Strips
from convcli.media.carriers import comment, is_data, left_out
from convcli.media.pictures.pillow import Carried, Picture
from convcli.media.pictures.png_chunks import CONTROL, SIGNATURE, Chunks, chunk
from convcli.media.shared import CHANNELS, OPAQUE, Recent, turn, with_dpi
from convcli.media.timing import Clip, clip_of, schedule

FRAME_DURATION = 100  # milliseconds, where a file says nothing
_RAMP = np.arange(256, dtype=np.uint8).repeat(3).reshape(256, 3)
_IMAGE, _EXTENSION, _END = b",!;"
_CONTROL, _APPLICATION = 0xF9, 0xFF
_COMMENT, _TEXT = 0xFE, 0x01
_PALETTE, _INTERLACED = 0x80, 0x40  # flags; the lowest three bits tell the size of the palette
_SQUARE = (0, 49)  # not said, and 64/64: FFmpeg says it always
_LOOPING = (b"NETSCAPE2.0", b"ANIMEXTS1.0")


class Disposal(Enum):
    """What becomes of a frame's place before the next one is drawn."""

    KEEP, CLEAR, RESTORE = range(3)  # as PNG counts


_DISPOSALS = {2: Disposal.CLEAR, 3: Disposal.RESTORE}  # as GIF does


@frozen
class Stored:
    """A frame as it is stored: a picture for a place on the canvas.

    Attributes
    ----------
    decode
        Returns the picture with alpha, shape ``(Y, X, C)``; of its channels the last are taken.
    place
        x, y, width and height.
    milliseconds
        How long it is shown, 0 where the file says nothing.
    over
        Whether it is blended with what is there; else it replaces it.
    ground
        What clearing leaves, in the channels of the picture.
    """

    decode: Callable[[], np.ndarray]
    place: tuple[int, int, int, int]
    milliseconds: Fraction | int
    disposal: Disposal
    over: bool = True
    ground: np.ndarray | int = 0


class Composed:
    """Frames that are laid one over the other; the interface is `convcli.media.pictures.pillow.Picture`.

    Parameters
    ----------
    colour : Colour
        Of the canvas, with alpha.
    alpha : bool
        Whether the frames have alpha too.
    """

    def __init__(
        self,
        decoder: str,
        size: tuple[int, int],
        frames: Sequence[Stored],
        colour: Colour,
        dtype: str,
        carried: Carried,
        lost: tuple[str, ...],
        loop: int | None,
        alpha: bool = True,
    ) -> None:
        self.decoder, self.size, self.count, self.lost = decoder, size, len(frames), lost
        self._frames, self._colour, self._carried, self._loop = frames, colour, carried, loop
        self._alpha = alpha
        self._canvas = np.empty((*size[::-1], CHANNELS[colour].count), dtype)
        self._index = -1

    def frame(self, index: int) -> tuple[np.ndarray, Colour]:
        if index < self._index:
            self._index = -1
        while self._index < index or index < 0:
            self._index += 1
            self._draw(self._frames[self._index])
        return (self._shown, self._colour) if self._alpha else (opaque(self._shown), OPAQUE[self._colour])

    def _draw(self, stored: Stored) -> None:
        x, y, width, height = stored.place  # what lies outside of the canvas is cut off
        place = self._canvas[y : y + height, x : x + width]
        ground = np.broadcast_to(stored.ground, 4)[-self._canvas.shape[-1] :]
        if self._index == 0:
            self._canvas[...] = ground
        picture = stored.decode()[: place.shape[0], : place.shape[1], -self._canvas.shape[-1] :]
        before = place.copy()
        place[...] = over(before, picture) if stored.over else picture
        self._shown = self._canvas.copy()
        if stored.disposal is not Disposal.KEEP:
            place[...] = before if stored.disposal is Disposal.RESTORE else ground

    def info(self) -> dict[Any, Any]:
        return {"duration": self._frames[self._index].milliseconds, "loop": self._loop}

    def carried(self) -> Carried:
        return self._carried


def over(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return integers blended by their alpha, the last channel (PNG, third edition, 13.16; colours are straight)."""
    full = np.iinfo(above.dtype).max
    alpha = above[..., -1:]
    if alpha.min(initial=full) == full:
        return above
    if ((alpha == 0) | (alpha == full)).all():
        return np.where((alpha == 0) & (below[..., -1:] > 0), below, above)
    top, ground = alpha / full, below[..., -1:] / full * (1 - alpha / full)
    total = top + ground
    colours = (above[..., :-1] * top + below[..., :-1] * ground) / np.where(total > 0, total, 1)
    return np.rint(np.concatenate([colours, total * full], -1)).astype(above.dtype)


def opaque(pixels: np.ndarray) -> np.ndarray:
    """Return pixels, shape ``(Y, X, C)``, without their alpha."""
    return pixels[..., 0] if pixels.shape[-1] == 2 else pixels[..., :-1]


def of_gif(data: bytes, all_frames: bool) -> Composed:
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
            decode = partial(_gif_frame, data, start, at, form, palette, None if opaque else clear)
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


def _gif_frame(
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


def of_png(data: bytes, chunks: Chunks, carried: Carried, lost: tuple[str, ...]) -> tuple[Composed, bool]:
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
            Stored(
                partial(_png_frame, single), (x, y, width, height), shown, Disposal(disposal), blending == 1
            )
        )
    colour = Colour.GREY_ALPHA if header.kind in (0, 4) else Colour.RGBA
    dtype = "uint16" if header.bits == 16 else "uint8"
    size = (header.width, header.height)
    return Composed("PNG", size, frames, colour, dtype, carried, lost, plays), hidden


def _png_frame(single: bytes) -> np.ndarray:
    """Return a picture with alpha, shape ``(Y, X, 2)`` or ``(Y, X, 4)``."""
    import imagecodecs

    pixels: np.ndarray = imagecodecs.png_decode(single)
    pixels = np.atleast_3d(pixels)
    full = np.full_like(pixels[..., :1], np.iinfo(pixels.dtype).max)
    return pixels if pixels.shape[2] in (2, 4) else np.concatenate([pixels, full], -1)


class FramesSource(Strips):
    """The frames of an animation, axes ``TYX`` or ``TYXC``, decoded as they are asked for."""

    def __init__(
        self, fp: IO[bytes], picture: Picture, within: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._fp, self._picture, self._within = fp, picture, within
        durations, self._opaque = [], True
        for index in range(picture.count):
            pixels, colour = picture.frame(index)
            # PNG's are fractions of seconds, which Pillow gives as milliseconds.
            shown = Fraction(picture.info().get("duration") or FRAME_DURATION)
            durations.append(shown.limit_denominator(1000))
            full = pixels.dtype.kind == "u" and np.iinfo(pixels.dtype).max
            self._opaque = self._opaque and colour.has_alpha and pixels[..., -1].min() == full
        metadata, dpi, self._orientation = picture.carried()
        upright, dpi = turn(opaque(pixels) if self._opaque else pixels, dpi, self._orientation)
        height, width, *channels = upright.shape
        parts = lcm(*(shown.denominator for shown in durations))
        times = tuple(accumulate((int(shown * parts) for shown in durations), initial=0))
        info = Info.of(
            letters="TYXC" if channels else "TYX",
            shape=(picture.count, height, width, *channels),
            dtype=pixels.dtype.name,
            colour=OPAQUE[colour] if self._opaque else colour,
            metadata=metadata,
            companions=Clip(plays=_plays(picture)),
            notes=picture.lost,
        ).placed(T=Listed(times[:-1], Fraction(1, 1000 * parts), SECOND, times[-1]))
        self.info = with_dpi(info, dpi)
        self._frames = Recent()

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the frames ``start:stop``."""
        with self._within():
            return np.stack(self._frames(list(range(start, stop)), self._decode))

    def _decode(self, indices: list[int]) -> list[np.ndarray]:
        frames = (self._picture.frame(index)[0] for index in indices)
        return [turn(opaque(p) if self._opaque else p, None, self._orientation)[0] for p in frames]

    def close(self) -> None:
        """Close the file."""
        self._fp.close()


def _plays(picture: Picture) -> int:
    """Return how many times an animation plays, 0 for ever: GIF counts repeats, and has no count for once."""
    count: int | None = picture.info().get("loop")
    if picture.decoder != "GIF":
        return count or 0
    return 1 if count is None else count and count + 1


MOST = 65535  # delays and counts have 16 bits


def delays_for(info: Info, name: str, unit: Fraction, most: int) -> tuple[list[int], int, tuple[str, ...]]:
    """Return how long frames are shown, in a format's units, how often all are played, and notes of changed times.

    Parameters
    ----------
    name : str
        Of the format.
    unit : Fraction
        Seconds.
    most : int
        Units that a frame can last.
    """
    shown, plays = schedule(info.axis("T")), min(clip_of(info.companions).plays, MOST)
    delays = [min(delay, most) for delay in shown.delays(unit)]
    seconds = float((shown.times[-1] + shown.last - shown.times[0]) * shown.base)
    ours = float(sum(delays) * unit)
    if abs(ours - seconds) <= unit:
        return delays, plays, ()
    limit = f"at least {float(unit):g}" if ours > seconds else f"at most {float(most * unit):g}"
    note = f"the clip lasts {ours:.2f} s instead of {seconds:.2f} s: in {name} a frame lasts {limit} s"
    return delays, plays, (note,)
