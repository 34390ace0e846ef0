"""The chunks that a PNG consists of, and its rows strip by strip.  PNG (Third Edition), W3C 2025, section 5.

ISA-L inflates in a third of zlib's time, libpng unfilters: it gets each strip as a small picture of its own, the row
above it, then its filtered rows, stored without compression.  If the container or the stream looks wrong, libpng
decodes the whole file and decides.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import field, replace

import numpy as np

from convcli.common.errors import ConvError
from convcli.common.frozen import frozen
from convcli.media.carriers import is_data, left_out
from convcli.media.shared import HOLDS

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEADER = ">IIBBBBB"
CONTROL = ">IIIIIHHBB"  # of a frame: number, width, height, x, y, delay and its divisor, disposal, blending
_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # of a pixel, by PNG's colour types without a palette
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT")  # beside them, capitals begin what a reader must not skip
_TEXTS = {
    b"Raw profile type exif": b"exif",
    b"XML:com.adobe.xmp\0": b"XML:com.adobe.xmp",
    b"Software\0": b"Software",
}
STRIP = 1 << 20  # filtered bytes that are decoded together
_STORED = (1 << 16) - 1  # bytes of a block that is not compressed (RFC 1951, 3.2.4)
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
    sound : bool
        Whether chunks that must be understood are known, right by their checksums, and where they belong.
    """

    header: Header
    others: dict[bytes, bytes] = field(default_factory=dict)
    pixels: list[memoryview] = field(default_factory=list)
    sound: bool = True


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
    from isal import isal_zlib

    others: dict[bytes, bytes] = {}
    pixels: list[memoryview] = []
    sound, before = True, b""
    whole = memoryview(data)
    start = len(SIGNATURE)
    while start + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length
        if kind == b"IEND":
            if not pixels:
                raise ConvError("broken PNG: it has no pixels (no IDAT chunk)")
            others |= {b"behind": b""} if is_data(data[end:]) else {}
            return Chunks(header, others, pixels, sound)
        if kind[:1].isupper() and end <= len(data):
            (checksum,) = struct.unpack_from(">I", data, end - 4)
            placed = kind == b"PLTE" or (not others if kind == b"IHDR" else before == kind or not pixels)
            sound = sound and kind in _CRITICAL and placed
            sound = sound and isal_zlib.crc32(whole[start + 4 : end - 4]) == checksum
        before = kind
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            kind = next((name for text, name in _TEXTS.items() if data.startswith(text, start + 8)), kind)
        if kind == b"IDAT":
            pixels.append(whole[start + 8 : end - 4])
        else:
            others.setdefault(kind, data[start + 8 : end - 4])
        start = end
    raise ConvError(f"truncated PNG: the file ends at byte {len(data)}, before its last chunk")


def shape_of(chunks: Chunks) -> tuple[int, ...] | None:
    """Return the shape of a picture that can be decoded by strips, None for another: it is left to libpng."""
    header = chunks.header
    plain = header.kind in _SAMPLES and header.bits in (8, 16) and header.methods == (0, 0, 0)
    small = max(header.width, header.height) <= HOLDS["png"].side
    if not (plain and small and chunks.sound) or b"tRNS" in chunks.others:
        return None
    samples = _SAMPLES[header.kind]
    return (header.height, header.width, *((samples,) if samples > 1 else ()))


def fill(data: bytes, chunks: Chunks, out: np.ndarray) -> Iterator[int]:
    """Decode a picture of `shape_of` into an array, and yield how many of its rows are there.

    Raises
    ------
    imagecodecs.PngError
        For what libpng does not take either.
    """
    import imagecodecs
    from isal import igzip_lib

    try:
        yield from _strips(chunks, out)
    except (EOFError, igzip_lib.IsalError, imagecodecs.PngError):  # type: ignore[misc]  # its stub has no classes
        imagecodecs.png_decode(data, out=out)
        yield len(out)


def _strips(chunks: Chunks, out: np.ndarray) -> Iterator[int]:
    import imagecodecs

    inflated = _Inflated(chunks.pixels)
    row = 1 + out[0].nbytes  # with the number of its filter
    above = bytes(row)
    step = max(1, STRIP // row)
    for start in range(0, len(out), step):
        stop = min(start + step, len(out))
        header = replace(chunks.header, height=1 + stop - start)
        strip = imagecodecs.png_decode(_picture(header, above + inflated.read((stop - start) * row)))
        out[start:stop] = strip[1:]
        above = b"\0" + strip[-1].astype(strip.dtype.newbyteorder(">")).tobytes()
        if stop == len(out):
            inflated.finish()
        yield stop


class _Inflated:
    """A zlib stream's bytes, as many at a time as are asked for: never what a small file could swell to."""

    def __init__(self, parts: Iterable[memoryview]) -> None:
        from isal import igzip_lib

        self._parts = iter(parts)
        self._stream = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)

    def read(self, count: int) -> bytes:
        """Return the next bytes.

        Raises
        ------
        EOFError
            When there are fewer.
        """
        pieces = []
        while count:
            more = next(self._parts, b"") if self._stream.needs_input else b""
            piece = self._stream.decompress(more, count)
            if not (more or piece):
                raise EOFError("not enough image data")
            pieces.append(piece)
            count -= len(piece)
        return b"".join(pieces)

    def finish(self) -> None:
        """Check the sum behind the last byte, unless there are more than that, which libpng does not mind.

        Raises
        ------
        EOFError
            When it is missing.
        """
        if self._stream.eof:
            return
        try:
            self.read(1)
        except EOFError:
            if not self._stream.eof:
                raise


def _picture(header: Header, filtered: bytes) -> bytes:
    """Return a PNG of rows that are filtered already."""
    from isal import isal_zlib

    deflated = [b"\x78\x01"]
    for start in range(0, len(filtered), _STORED):
        block = filtered[start : start + _STORED]
        last = start + _STORED >= len(filtered)
        deflated += [struct.pack("<BHH", last, len(block), _STORED - len(block)), block]
    deflated.append(struct.pack(">I", isal_zlib.adler32(filtered)))
    parts = (chunk(b"IHDR", header.packed()), chunk(b"IDAT", *deflated), chunk(b"IEND"))
    return b"".join([SIGNATURE, *(data for part in parts for data in part)])
