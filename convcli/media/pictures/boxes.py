"""The boxes that AVIF and JPEG 2000 consist of, and what they carry beside the picture.

ISO/IEC 14496-12, sections 4.2 and 8.11; ISO/IEC 15444-1, annexes A (codestreams) and I (boxes).

The size that a coded picture states of itself is read from its head, where no one else checks it before it is decoded.
"""

import struct
from collections.abc import Iterator

from convcli.common import ConvError
from convcli.common.budget import TILES
from convcli.media.carriers import is_data, shown
from convcli.media.pictures.jpeg_segments import START, check_scans, frame_size

CODESTREAM = b"\xff\x4f\xff\x51"
_END, _TILE_PART = b"\xff\xd9", b"\xff\x90"
_STORAGE = ("ftyp", "mdat", "free", "skip", "moov", "jP", "rreq", "jp2c")
_CODED = (b"av01", b"grid", b"iovl", b"iden")
_UUIDS = {
    b"\xbe\x7a\xcf\xcb": "xmp",
    b"\x33\xc7\xa4\xd2": "iptc",
    b"JpgT": "exif box",
    b"\xb1\x4b\xf8\xbd": "geo",
}

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


def boxes(data: bytes, at: int = 0, end: int | None = None) -> Iterator[tuple[str, int, int]]:
    """Yield the kind of each box, and where its content begins and ends; data that is no box is called ``behind``."""
    end = len(data) if end is None else end
    while at + 8 <= end:
        length, kind = struct.unpack_from(">I4s", data, at)
        begin = at + 8
        if length == 1 and begin + 8 <= end:
            length, begin = struct.unpack_from(">Q", data, begin)[0], begin + 8
        stop = at + length if length else end
        if stop < begin or not kind[0] or (stop > end and kind != b"jp2c"):
            break
        yield kind.decode("latin-1").strip(), begin, min(stop, end)
        at = stop
    if is_data(data[at:end]):
        yield "behind", at, end


def end_of(data: bytes) -> int:
    """Return where the file ends: at what is no box, at the beginning of another file, behind its codestream."""
    for kind, begin, end in [("jp2c", 0, len(data))] if data.startswith(CODESTREAM) else boxes(data):
        if kind == "behind":
            return begin
        if kind in ("jP", "ftyp") and begin > 20:
            return begin - 8
        if kind == "jp2c" and end == len(data):
            return _end_of_codestream(data, begin)
    return len(data)


def _end_of_codestream(data: bytes, at: int) -> int:
    """Return where a codestream ends; segments and parts of tiles tell their lengths."""
    at += 2
    while at + 10 <= len(data):
        if data[at : at + 2] == _TILE_PART:
            length = struct.unpack_from(">I", data, at + 6)[0] or max(data.find(_END, at), at + 12) - at
        else:
            length = 2 + struct.unpack_from(">H", data, at + 2)[0]
        at += length
        if data[at : at + 2] == _END:
            return at + 2
    return len(data)


def jpeg2000_carriers(data: bytes) -> Iterator[str]:
    """Yield what a JPEG 2000 carries, by the keys of `convcli.media.carriers`."""
    found = [*boxes(data)] * (not data.startswith(CODESTREAM))
    yield from ["frames"] * ([kind for kind, *_ in found].count("jp2c") > 1)
    for kind, begin, end in found:
        if kind == "jp2h":
            inner = boxes(data, begin, end)
            yield from ("icc box" for name, at, _ in inner if name == "colr" and data[at] in b"\2\3")
        elif kind not in _STORAGE:
            yield _UUIDS.get(data[begin : begin + 4], kind) if kind == "uuid" else kind


def avif_carriers(data: bytes) -> Iterator[str]:
    """Yield what an AVIF carries, by the keys of `convcli.media.carriers`."""
    for kind, begin, end in boxes(data):
        if kind == "meta":
            yield from _items(data, begin + 4, end)
        elif kind not in _STORAGE:
            yield kind


def _items(data: bytes, begin: int, end: int) -> Iterator[str]:
    """Yield what the items of an AVIF are that is not the picture, its parts or its alpha."""
    primary, coded, beside = 0, set(), set()
    for kind, at, stop in boxes(data, begin, end):
        version, at = data[at], at + 4
        if kind == "pitm":
            primary = int.from_bytes(data[at:stop])
        elif kind == "iinf":
            for _, one, _ in boxes(data, at + (4 if version else 2), stop):
                where = one + (8 if data[one] == 3 else 6)  # an entry's identity has 32 bits, or 16
                kind_of = data[where + 2 : where + 6]
                yield from ["tmap"] * (kind_of == b"tmap")
                coded |= {int.from_bytes(data[one + 4 : where])} if kind_of in _CODED else set()
        elif kind == "iref":
            for name, one, last in boxes(data, at, stop):
                wide = 4 if version else 2
                of, *to = (
                    int.from_bytes(data[n : n + wide]) for n in (one, *range(one + wide + 2, last, wide))
                )
                beside |= {of} if name in ("auxl", "thmb") else set(to) if name == "dimg" else set()
                yield from ["thmb"] * (name == "thmb")
        elif kind == "iprp":
            yield from shown("AVIF", data[at - 4 : stop])
    yield from ["frames"] * bool(coded - beside - {primary})
