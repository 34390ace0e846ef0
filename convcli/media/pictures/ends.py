"""Where pictures end in their files: what follows is none of them.

Each function takes the whole file and returns the end, 0 where its kind is not known here.
"""

from __future__ import annotations

import struct

_RECORD = b"TRUEVISION-XFILE.\0"
_FRAMES = (0xF1FA, 0xF100)  # of a FLIC: pictures, and what stands before the first
# Bytes of a block of 4 by 4 pixels, by a code of four letters or the first of the codes of a kind
_BLOCKS = {b"DXT1": 8, b"ATI1": 8, b"BC4U": 8} | dict.fromkeys(
    (b"DXT3", b"DXT5", b"ATI2", b"BC5U", b"BC5S"), 16
)
_CODES = {100: 0, 94: 16, 85: 0, 82: 16, 79: 8, 73: 16, 70: 8, 33: 0, 27: 64, 0: 0}


def icon_end(data: bytes) -> int:
    """Return the end of the last icon; one that states fewer bytes than its pixels take has them, and a mask."""
    end = 0
    for size, at in struct.iter_unpack("<8xII", data[6 : 6 + 16 * data[4]]):
        form = struct.unpack("<Iii2xH16xI", data[at : at + 36].ljust(36, b"\0"))
        head, width, height, bits, used = form
        pixels, mask = ((width * depth + 31) // 32 * 4 * height // 2 for depth in (bits, 1))
        least = head + 4 * (used or (1 << bits if bits <= 8 else 0)) + pixels if head == 40 else 0
        end = max(end, at + (size if size >= least else least + mask))
    return end


def pcx_end(data: bytes) -> int:
    """Return where runs end, and a palette behind them: Pillow takes one at the end of the file alone."""
    top, bottom, planes, row = struct.unpack_from("<6xH2xH53xBH", data)
    at, left = 128, planes * row * (bottom - top + 1)
    while left > 0 and at < len(data):
        run = data[at] >= 0xC0
        left -= data[at] & 0x3F if run else 1
        at += 1 + run
    return at + 769 * (data[at : at + 1] == b"\x0c" and len(data) >= at + 769)


def sgi_end(data: bytes) -> int:
    width, height, channels = struct.unpack_from(">HHH", data, 6)
    rows = height * channels
    if data[2] != 1:
        return 512 + width * rows * data[3]
    table = struct.unpack_from(f">{2 * rows}I", data, 512) if len(data) >= 512 + 8 * rows else ()
    return max(map(sum, zip(table[:rows], table[rows:], strict=True)), default=0)


def sun_end(data: bytes) -> int:
    width, height, depth, length, kind, _, colours = struct.unpack_from(">7I", data, 4)
    row = -(-width * depth // 8)
    return 32 + colours + (length if kind == 2 else height * (row + row % 2))


def tga_end(data: bytes) -> int:
    """Return the end of a Targa of 16 bits with its last record, and what the record says is before it."""
    words, kind, colours, bits = data[0], data[2], *struct.unpack_from("<5xHB", data)
    width, height, depth = struct.unpack_from("<12xHHB", data)
    at, left, each = 18 + words + colours * -(-bits // 8), width * height, depth // 8
    if kind < 8:
        at, left = at + left * each, 0
    while left > 0 and at < len(data):
        count = (data[at] & 0x7F) + 1
        at += 1 + each * (1 if data[at] & 0x80 else count)
        left -= count
    if data[at + 8 : at + 26] == _RECORD:
        return at + 26
    return len(data) if data.endswith(_RECORD) and any(data[-26:-18]) else at


def dds_end(data: bytes) -> int:
    """Return the end of all faces, slices, items and smaller copies."""
    height, width, depth, copies = struct.unpack_from("<12xII4xII", data)
    flags, name, bits, more = struct.unpack_from("<80xI4sI20xI", data)
    start, items, block = 128, (more >> 9 & 0x7F).bit_count() or 1, 0
    if name == b"DX10":
        form, cube, items = struct.unpack_from("<128xI4xII", data)
        start, items = 148, max(items, 1) * (6 if cube & 4 else 1)
        block = next(size for first, size in _CODES.items() if first <= form)
    elif flags & 4:
        block = _BLOCKS.get(name, 0)
    if flags & 4 and not block:
        return 0
    end = start + 1024 * bool(flags & 0x20)
    for copy in range(min(max(copies, 1), 32)):
        w, h = max(width >> copy, 1), max(height >> copy, 1)
        slices = max(depth >> copy, 1) if more & 0x200000 else 1
        size = -(-w // 4) * -(-h // 4) * block if 0 < block < 64 else w * h * (4 if block else -(-bits // 8))
        end += size * slices * items
    return end


def ftex_end(data: bytes) -> int:
    copies, at = struct.unpack_from("<16xi8xi", data)
    for _ in range(copies):
        if not 0 < at < len(data) - 4:
            return 0
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    return at


def blp_end(data: bytes) -> int:
    table = struct.unpack_from("<32I", data, 28 if data[3:4] == b"1" else 20)
    return max(map(sum, zip(table[:16], table[16:], strict=True)))


def fli_end(data: bytes) -> int:
    """Return the end of the last frame."""
    at = 128
    while at + 6 <= len(data):
        size, kind = struct.unpack_from("<IH", data, at)
        if kind not in _FRAMES or size < 6:
            break
        at += size
    return at


def psd_end(data: bytes) -> int:
    """Return the end of the merged picture, which is the last section."""
    channels, height, width, depth = struct.unpack_from(">12xHIIH", data)
    at = 26
    for _ in range(3):  # colours, resources, layers
        at += 4 + struct.unpack_from(">I", data, at)[0]
    (packed,) = struct.unpack_from(">H", data, at)
    rows = channels * height
    if packed == 0:
        return at + 2 + rows * -(-width * depth // 8)
    return at + 2 + 2 * rows + sum(struct.unpack_from(f">{rows}H", data, at + 2)) if packed == 1 else 0
