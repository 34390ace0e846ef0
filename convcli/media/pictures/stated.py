"""The size that a coded picture states of itself, read from its head: what is decoded where no one else checks it."""

import struct

from convcli.media.pictures.jpeg_segments import START, frame_size


def stated_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG, PNG, WebP, JPEG 2000 or LERC stream; None for what is none of these."""
    try:
        if data.startswith(START):
            return frame_size(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return struct.unpack_from(">II", data, 16)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
        if data.startswith(b"Lerc2 "):
            (version,) = struct.unpack_from("<i", data, 6)
            rows, columns = struct.unpack_from("<ii", data, 10 + 4 * (version >= 3))  # a checksum came with 3
            return columns, rows
        if data.startswith((b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")):
            at = data.index(b"\xff\x4f\xff\x51")
            right, bottom, left, top = struct.unpack_from(">IIII", data, at + 8)
            return right - left, bottom - top
    except (struct.error, ValueError):
        pass
    return None


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
