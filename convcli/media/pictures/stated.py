"""The size that a coded picture states of itself, read from its head: what is decoded where no one else checks it."""

import struct

from convcli.common import ConvError
from convcli.common.budget import TILES
from convcli.media.pictures.boxes import CODESTREAM, boxes
from convcli.media.pictures.jpeg_segments import START, check_scans, frame_size

_LERC, _JP2 = b"Lerc2 ", b"\0\0\0\x0cjP  "


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG, PNG, WebP, JPEG 2000 or LERC stream; None for what is none of these."""
    try:
        if data.startswith(START):
            return frame_size(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(_LERC):
            (version,) = struct.unpack_from("<i", data, 6)
            rows, columns = struct.unpack_from("<ii", data, 10 + 4 * (version >= 3))  # a checksum came with 3
            return columns, rows
        if data.startswith((CODESTREAM, _JP2)):
            right, bottom, left, top = struct.unpack_from(">IIII", data, _codestream(data) + 8)
            return right - left, bottom - top
    except (struct.error, ValueError):
        pass
    return None


def check_stream(data: bytes, wide: int, tall: int, samples: int, what: str) -> None:
    """Refuse a coded part of a file that would become more than it is: its decoder sets aside what the stream says.

    Parameters
    ----------
    wide, tall, samples
        What the file says of the part: its pixels, and the samples of each.
    what
        The part, for messages.

    Raises
    ------
    ConvError
    """
    size = stated_size(data)
    if size is None:
        raise ConvError(
            f"{what} does not tell its size, and is not decoded; save it with another compression"
        )
    if size[0] > wide or size[1] > tall:
        raise ConvError(f"damaged: {what} of {wide} x {tall} pixels holds a stream of {size[0]} x {size[1]}")
    parts, tiles = stated_parts(data)
    if parts > samples:
        raise ConvError(f"damaged: {what} of {samples} samples a pixel holds a stream of {parts}")
    TILES.allow(parts * tiles, f"the {tiles} tiles of a JPEG 2000 stream in {what}", len(data))
    check_scans(data)


def stated_parts(data: bytes) -> tuple[int, int]:
    """Return how many samples a pixel has in a LERC or JPEG 2000 stream, and of how many tiles it consists.

    Raises
    ------
    struct.error, ValueError
        For a damaged head.
    """
    if data.startswith(_LERC):
        (version,) = struct.unpack_from("<i", data, 6)
        depth = struct.unpack_from("<i", data, 22)[0] if version >= 4 else 1
        return depth * data.count(_LERC), 1  # one stream behind the other is one band after the other
    if not data.startswith((CODESTREAM, _JP2)):
        return 1, 1
    sizes = struct.unpack_from(">8IH", data, _codestream(data) + 8)
    (right, bottom), (wide, tall, left, top) = sizes[:2], sizes[4:8]
    return sizes[8], -(-(right - left) // wide) * -(-(bottom - top) // tall) if wide and tall else 0


def _codestream(data: bytes) -> int:
    """Return where a JPEG 2000 codestream begins."""
    found = boxes(data) if data.startswith(_JP2) else ()
    at = next((begin for kind, begin, _ in found if kind == "jp2c"), 0)
    if not data.startswith(CODESTREAM, at):
        raise ValueError("no codestream")
    return at


def _webp(data: bytes) -> tuple[int, int] | None:
    """RFC 9649, sections 2.5 to 2.7."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None
