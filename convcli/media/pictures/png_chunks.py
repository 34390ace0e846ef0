"""The chunks that a PNG consists of.  PNG (Third Edition), W3C 2025, section 5."""

import struct
from dataclasses import field

from convcli.common import ConvError, frozen
from convcli.media.carriers import is_data, left_out

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = ">IIBBBBB"
CONTROL = ">IIIIIHHBB"  # of a frame: number, width, height, x, y, delay and its divisor, disposal, blending
_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # of a pixel, by PNG's colour types without a palette
_TEXTS = {
    b"Raw profile type exif": b"exif",
    b"XML:com.adobe.xmp\0": b"XML:com.adobe.xmp",
    b"Software\0": b"Software",
}
PALETTE = 3
_USUAL = {  # what says that colours are as they are without it: sRGB's
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"cICP": bytes([1, 13, 0, 1]),
}
DESCRIBED = (b"iCCP", b"eXIf", b"exif", b"XML:com.adobe.xmp")  # what only Pillow reads


@frozen
class Header:
    """What IHDR says: sizes, bits a sample, PNG's colour type, methods of compression, filter and interlace."""

    width: int
    height: int
    bits: int
    kind: int
    methods: tuple[int, int, int] = (0, 0, 0)

    @property
    def size(self) -> int:
        """Bytes of all samples, without the numbers of filters."""
        return self.width * self.height * self.bits * _SAMPLES.get(self.kind, 1) // 8

    def packed(self) -> bytes:
        return struct.pack(_HEADER, self.width, self.height, self.bits, self.kind, *self.methods)


@frozen
class Chunks:
    """A file taken apart.

    Attributes
    ----------
    others : dict
        The first of each kind of chunk, pixels left out; some text chunks by their keyword.
    pixels : list of memoryview
        The parts of the deflated rows.
    """

    header: Header
    others: dict[bytes, bytes] = field(default_factory=dict)
    pixels: list[memoryview] = field(default_factory=list)


def lost_of(chunks: Chunks) -> tuple[str, ...]:
    """Return the line for what of a file is lost; sRGB, iCCP and cICP override gamma and primaries."""
    kinds = {kind for kind, data in chunks.others.items() if _USUAL.get(kind) != data}
    if chunks.others.keys() & {b"sRGB", b"iCCP", b"cICP"}:
        kinds -= {b"gAMA", b"cHRM"}
    bits = 8 if chunks.header.kind == PALETTE else chunks.header.bits
    if set(chunks.others.get(b"sBIT", b"")) == {bits}:
        kinds.remove(b"sBIT")
    density = chunks.others.get(b"pHYs", b"").ljust(9, b"\1")
    if not density[8] and density[:4] != density[4:8]:
        kinds.add(b"aspect")
    return left_out("PNG", sorted(kind.decode("latin-1") for kind in kinds))


def chunk(kind: bytes, *data: bytes) -> list[bytes]:
    """Return a chunk's bytes: length, kind, data and checksum."""
    from isal import isal_zlib

    checksum = isal_zlib.crc32(kind)
    for part in data:
        checksum = isal_zlib.crc32(part, checksum)
    length = struct.pack(">I", sum(map(len, data)))
    return [length, kind, *data, struct.pack(">I", checksum)]


def header_of(head: bytes) -> Header:
    """Read the beginning of a file.

    Raises
    ------
    ConvError
        When it is no PNG's.
    """
    if not head:
        raise ConvError("not a PNG file: it is empty")
    if head[:8] != SIGNATURE or head[12:16] != b"IHDR" or len(head) < 33:
        what = "a PNG file that is cut short" if SIGNATURE.startswith(head[:8]) else "not a PNG file"
        raise ConvError(f"{what}: it begins with {head[:16]!r}")
    width, height, bits, kind, *methods = struct.unpack(_HEADER, head[16:29])
    return Header(width, height, bits, kind, (methods[0], methods[1], methods[2]))


def chunks_of(data: bytes, header: Header) -> Chunks:
    """Take a file apart.

    Raises
    ------
    ConvError
        When the file ends before its last chunk does, or has no pixels.
    """
    others: dict[bytes, bytes] = {}
    pixels: list[memoryview] = []
    whole = memoryview(data)
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if kind == b"IEND":
            if not pixels:
                raise ConvError("broken PNG: it has no pixels (no IDAT chunk)")
            others |= {b"behind": b""} if is_data(data[end:]) else {}
            return Chunks(header, others, pixels)
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            kind = next((name for text, name in _TEXTS.items() if data.startswith(text, start + 8)), kind)
        if kind == b"IDAT":
            pixels.append(whole[start + 8 : end - 4])
        else:
            others.setdefault(kind, data[start + 8 : end - 4])
        start = end
    raise ConvError(f"truncated PNG: the file ends at byte {len(data)}, before its last chunk")


def shape_of(chunks: Chunks) -> tuple[int, ...] | None:
    """Return the shape of a picture whose header tells it, None for palettes, transparent colours and few bits."""
    header = chunks.header
    if header.kind not in _SAMPLES or header.bits not in (8, 16) or b"tRNS" in chunks.others:
        return None
    samples = _SAMPLES[header.kind]
    return (header.height, header.width, *((samples,) if samples > 1 else ()))
