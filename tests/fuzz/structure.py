"""Where the numbers and the parts of a file stand, as its format lays them out, for mutations that keep the rest sound.

A `Layout` names the sizes, counts, offsets and depths of a header, and the chunks, segments, boxes, directories or
packets that follow each other.  What cannot be followed ends the walk: spoiled files have layouts too.
"""

from __future__ import annotations

import copy
import json
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from io import BytesIO
from random import Random
from typing import Any

FAR = 64  # bytes of a part in which numbers are looked for


@dataclass
class Layout:
    """Numbers ``(offset, bytes, order)`` and parts ``(start, stop)`` of a file."""

    numbers: list[tuple[int, int, str]] = field(default_factory=list)
    parts: list[tuple[int, int]] = field(default_factory=list)

    def words(self, start: int, stop: int, order: str, widths: tuple[int, ...] = (1, 2, 4)) -> None:
        """Add each byte of the beginning of a part, and each aligned word."""
        stop = min(stop, start + FAR)
        for width in widths:
            self.numbers += [(at, width, order) for at in range(start, stop - width + 1, width)]


def _png(data: bytes, found: Layout) -> None:
    at = 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        found.numbers.append((at, 4, "big"))
        if data[at + 4 : at + 8] not in (b"IDAT", b"IEND"):
            found.words(at + 8, min(at + 8 + length, len(data)), "big")
        found.parts.append((at, at + 12 + length))
        at += 12 + length


def _jpeg(data: bytes, found: Layout) -> None:
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        found.numbers.append((at + 2, 2, "big"))
        found.words(at + 4, min(at + 2 + length, len(data)), "big")
        stop = at + 2 + length
        if data[at + 1] == 0xDA:  # coded samples follow; a marker ends them
            marker = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL).search(data, stop)
            stop = marker.start() if marker else len(data)
        found.parts.append((at, stop))
        at = stop


def _gif(data: bytes, found: Layout) -> None:
    found.words(6, 13, "little")
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while at + 10 < len(data) and data[at] in (0x21, 0x2C):
        start = at
        if data[at] == 0x21:
            found.words(at + 1, at + 8, "little", (1,))
            at += 2
        else:
            found.words(at + 1, at + 9, "little", (2,))
            found.numbers += [(at + 9, 1, "little"), (at + 10, 1, "little")]
            at += 10 + (3 << (data[at + 9] & 7) + 1 if data[at + 9] & 0x80 else 0) + 1
        while at < len(data) and data[at]:
            found.numbers.append((at, 1, "little"))
            at += 1 + data[at]
        at += 1
        found.parts.append((start, at))


def _riff(data: bytes, found: Layout, start: int = 12, stop: int = 0) -> None:
    found.numbers.append((4, 4, "little"))
    at, stop = start, stop or len(data)
    while at + 8 <= stop:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        found.numbers.append((at + 4, 4, "little"))
        found.parts.append((at, end))
        if data[at : at + 4] == b"LIST":
            _riff(data, found, at + 12, min(end, stop))
        else:
            found.words(at + 8, min(end, stop), "little")
            if data[at : at + 4] == b"ANMF":
                found.numbers += [(at + 8 + n, 3, "little") for n in range(0, 15, 3)]
                _riff(data, found, at + 24, min(end, stop))
        at = end


def _tiff(data: bytes, found: Layout) -> None:
    order = "little" if data[:2] == b"II" else "big"
    big = data[2:4] in (b"+\0", b"\0+")
    many, count, word = (8, 8, 8) if big else (2, 4, 4)
    place = 8 if big else 4
    found.numbers.append((place, word, order))
    seen: set[int] = set()

    def number(at: int, width: int) -> int:
        return int.from_bytes(data[at : at + width], order)  # type: ignore[arg-type]

    at = number(place, word)
    while 0 < at < len(data) and at not in seen:
        seen.add(at)
        entries = min(number(at, many), 60)
        found.numbers.append((at, many, order))
        entry = at + many
        for _ in range(entries):
            found.numbers += [(entry, 2, order), (entry + 2, 2, order), (entry + 4, count, order)]
            value = entry + 4 + count
            found.numbers += [(value, word, order)] * 2 + [(value, 2, order)] * 2
            length = number(entry + 4, count) * {3: 2, 4: 4, 16: 8}.get(number(entry + 2, 2), 1)
            if word < length:  # the values stand elsewhere
                found.words(number(value, word), min(number(value, word) + length, len(data)), order)
            found.parts.append((entry, value + word))
            entry = value + word
        found.numbers.append((entry, word, order))
        at = number(entry, word)


_HOLDS_BOXES = (
    *(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"dinf", b"edts", b"udta", b"moof", b"traf", b"mvex"),
    *(b"meta", b"iprp", b"ipco", b"iinf", b"jp2h", b"stsd", b"avc1"),
)
_BEFORE_BOXES = {b"meta": 4, b"iinf": 6, b"stsd": 8, b"avc1": 78}  # bytes that come first


def _boxes(data: bytes, found: Layout, start: int = 0, stop: int = 0) -> None:
    at, stop = start, stop or len(data)
    while at + 8 <= stop:
        length = int.from_bytes(data[at : at + 4], "big") or stop - at
        name, end = data[at + 4 : at + 8], min(at + length, stop)
        found.numbers.append((at, 4, "big"))
        found.parts.append((at, at + length))
        if length < 8:
            return
        if name in _HOLDS_BOXES:
            before = _BEFORE_BOXES.get(name, 0)
            found.words(at + 8, at + 8 + before, "big")
            _boxes(data, found, at + 8 + before, end)
        elif name != b"mdat":
            found.words(at + 8, end, "big")
        at += length


def _vint(data: bytes, at: int, keep: bool) -> tuple[int, int]:
    """Return an EBML number and its width, 0 where there is none."""
    if at >= len(data) or not data[at]:
        return 0, 0
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big")
    return (value if keep else value & (1 << 7 * width) - 1), width


_MASTERS = (
    0x1A45DFA3,
    0x18538067,
    0x1549A966,
    0x1654AE6B,
    0xAE,
    0xE0,
    0x1F43B675,
    0x1C53BB6B,
    0xBB,
    0x114D9B74,
)


def _ebml(data: bytes, found: Layout, start: int = 0, stop: int = 0) -> None:
    at, stop = start, stop or len(data)
    while at < stop:
        name, wide = _vint(data, at, True)
        length, width = _vint(data, at + wide, False)
        if not wide or not width:
            return
        body, end = at + wide + width, min(at + wide + width + length, stop)
        found.numbers.append((at + wide, width, "big"))
        found.parts.append((at, end))
        if name in _MASTERS:
            _ebml(data, found, body, end)
        elif end - body <= 8:
            found.numbers.append((body, end - body, "big"))
        else:
            found.words(body, end, "big", (1, 2))
        at = end


def _packets(data: bytes, found: Layout) -> None:
    for at in range(0, len(data), 188):
        found.words(at, at + 40, "big", (1, 2))
        found.parts.append((at, at + 188))


_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT")


def _dicom(data: bytes, found: Layout) -> None:
    """The elements, those in sequences too, as explicit lengths and their likes lay them out."""
    big = b"1.2.840.10008.1.2.2\0" in data[:400]
    at, order = 132, "little"
    implicit = b"1.2.840.10008.1.2\0" in data[:400]
    while at + 8 <= len(data):
        meta = data[at : at + 2] == b"\2\0"
        order = "big" if big and not meta else "little"
        item = data[at : at + 2] in (b"\xfe\xff", b"\xff\xfe")
        plain = item or (implicit and not meta)
        long = not plain and data[at + 4 : at + 6] in _LONG
        place, width = (at + 4, 4) if plain else (at + 8, 4) if long else (at + 6, 2)
        length = int.from_bytes(data[place : place + width], order)  # type: ignore[arg-type]
        body = place + width
        inside = item or length == 0xFFFFFFFF or data[at + 4 : at + 6] == b"SQ"
        end = body if inside else body + length
        found.numbers += [(at, 2, order), (at + 2, 2, order), (place, width, order)]
        found.words(body, min(end, len(data)), order, (1, 2))
        found.parts.append((at, end))
        at = end


def _zip(data: bytes, found: Layout) -> None:
    for mark in re.finditer(rb"PK(\x01\x02|\x03\x04|\x05\x06)", data):
        found.words(mark.start() + 4, min(mark.start() + 46, len(data)), "little", (2, 4))


def _safetensors(data: bytes, found: Layout) -> None:
    found.numbers.append((0, 8, "little"))


def _hdf5(data: bytes, found: Layout) -> None:
    """The superblock, nodes of trees, heaps and tables, messages of headers: words that are sizes and offsets."""
    found.words(8, 96, "little", (1, 2, 4, 8))
    for mark in re.finditer(rb"TREE|HEAP|SNOD|OHDR|OCHK|FRHP|FH[DI]B|BT[HIL][DNF]|GCOL|[FE]AHD|FADB", data):
        found.words(mark.start() + 4, len(data), "little", (1, 2, 4, 8))
    for mark in re.finditer(rb"\x01\0[\1-\x0f]\0[\1-\x09]\0\0\0", data):  # a header without a signature
        for start in range(mark.start(), mark.start() + 400, FAR):
            found.words(start, len(data), "little", (1, 2, 4, 8))


def _other(data: bytes, found: Layout) -> None:
    """A header without parts, of words in one order or the other."""
    for order in ("little", "big"):
        found.words(0, len(data), order)


_WALKS: tuple[tuple[Callable[[bytes], object], Callable[[bytes, Layout], None]], ...] = (
    (lambda data: data[:8] == b"\x89PNG\r\n\x1a\n", _png),
    (lambda data: data[:2] == b"\xff\xd8", _jpeg),
    (lambda data: data[128:132] == b"DICM", _dicom),
    (lambda data: data[:4] == b"GIF8", _gif),
    (lambda data: data[:4] == b"RIFF", _riff),
    (lambda data: data[:2] in (b"II", b"MM"), _tiff),
    (lambda data: data[4:8] in (b"ftyp", b"jP  "), _boxes),
    (lambda data: data[:4] == b"\x1aE\xdf\xa3", _ebml),
    (lambda data: data[:1] == b"G" and data[188:189] == b"G", _packets),
    (lambda data: data[:2] == b"PK", _zip),
    (lambda data: data[:4] == b"\x89HDF", _hdf5),
    (lambda data: data[8:10] == b'{"', _safetensors),
    (lambda data: True, _other),
)


@lru_cache(maxsize=64)
def layout(data: bytes) -> Layout:
    """Return where numbers and parts of a file stand."""
    found = Layout()
    next(walk for knows, walk in _WALKS if knows(data))(data, found)
    found.numbers = [(at, width, order) for at, width, order in found.numbers if at + width <= len(data)]
    found.parts = [(start, min(stop, len(data))) for start, stop in found.parts if start < len(data)]
    return found


_DIGITS = re.compile(rb"[0-9]+")
_TEXT = 500  # bytes of a header that is text


def other_number(data: bytearray, whole: Layout, rng: Random) -> None:
    """Change a number of the header to one at which sizes, counts, offsets and signs turn over."""
    at, width, order = rng.choice(whole.numbers)
    value, most = int.from_bytes(data[at : at + width], order), 1 << 8 * width  # type: ignore[arg-type]
    values = (
        0,
        1,
        value - 1,
        value + 1,
        2 * value,
        value ^ 1 << rng.randrange(8 * width),
        most - 1,
        most // 2,
    )
    value = rng.choice((*values, most // 2 - 1, len(data), rng.randrange(20), rng.randrange(most)))
    data[at : at + width] = (value % most).to_bytes(width, order)  # type: ignore[arg-type]


def other_part(data: bytearray, whole: Layout, rng: Random) -> None:
    """Leave a chunk, segment, box or directory entry out, double it, put it elsewhere, or empty it."""
    start, stop = rng.choice(whole.parts)
    piece = bytes(data[start:stop])
    way = rng.randrange(4)
    if way == 3:
        data[start:stop] = piece[: rng.randrange(len(piece) + 1)]
        return
    at = rng.choice(whole.parts)[0]
    for place in sorted([(start, stop, b"")] * (way != 1) + [(at, at, piece)] * (way != 0), reverse=True):
        data[place[0] : place[1]] = place[2]


def other_digits(data: bytearray, whole: Layout, rng: Random) -> None:
    """Change a number that a header of text writes out."""
    found = rng.choice(list(_DIGITS.finditer(data[:_TEXT])))
    value = int(found[0][:15])
    values = (
        0,
        1,
        -1,
        value + 1,
        2 * value,
        value * 1000,
        1 << 31,
        1 << 32,
        1 << 63,
        10**30,
        "",
        "1e3",
        ".5",
    )
    data[found.start() : found.end()] = str(rng.choice(values)).encode()


def restructured(seed: bytes, rng: Random) -> bytes:
    """Return a file with one to three of its numbers changed, and perhaps a part."""
    whole, data = layout(seed), bytearray(seed)
    textual = (
        seed[:6] in (b"\x93NUMPY", b"YUV4MP", b"NRRD00", b"Object")
        or seed[8:10] == b'{"'
        or re.match(rb"P[1-7fF]\s", seed)
    )
    for _ in range(rng.choice((1, 1, 2, 3))):
        if textual and rng.random() < 0.8 and _DIGITS.search(data[:_TEXT]):
            other_digits(data, whole, rng)
        elif whole.numbers:
            other_number(data, whole, rng)
    if whole.parts and rng.random() < 0.3:
        other_part(data, whole, rng)
    return bytes(data)


def png_with_checksums(data: bytes) -> bytes:
    """Return a spoiled PNG whose checksums are right: a reader that trusts them looks at what is inside."""
    at, parts = 8, [data[:8]]
    while at + 12 <= len(data):
        stop = at + 8 + int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : stop]
        parts += [data[at : at + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        at = stop + 4
    return b"".join(parts) + data[at:]


def other_value(text: bytes, rng: Random) -> bytes:
    """Change one to three values of a JSON document, or take them out."""
    whole = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places: list[tuple[Any, Any]] = []
        below = [whole]
        for node in below:
            keys = (
                list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
            )
            places += [(node, key) for key in keys]
            below += [node[key] for key in keys]
        if not places:
            break
        node, key = rng.choice(places)
        old = node[key]
        values = [
            0,
            1,
            -1,
            2,
            7,
            1 << 20,
            1 << 40,
            1e999,
            0.5,
            None,
            True,
            "",
            "NaN",
            "x",
            "gzip",
            [],
            {},
            [1, 1],
            [old, old],
        ]
        if isinstance(old, int | float) and not isinstance(old, bool):
            values += [-old, old + 1, old * 2, old // 2, float(old)] * 3
        if rng.random() < 0.15:
            del node[key]
        else:
            node[key] = copy.deepcopy(rng.choice([*values, rng.choice(below)]))
    return json.dumps(whole).encode()


def zip_with_checksums(archive: bytes, change: Callable[[bytes], bytes], rng: Random) -> bytes:
    """Return an archive of which one member is changed, sound as an archive."""
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        members = old.infolist()
        chosen = rng.choice(members)
        for member in members:
            content = old.read(member)
            new.writestr(
                member.filename, change(content) if member is chosen else content, member.compress_type
            )
    return out.getvalue()
