"""The boxes that AVIF and JPEG 2000 consist of, and what they carry beside the picture.

ISO/IEC 14496-12, sections 4.2 and 8.11; ISO/IEC 15444-1, annexes A (codestreams) and I (boxes).
"""

import struct
from collections.abc import Iterator

from convcli.media.carriers import is_data, shown

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
