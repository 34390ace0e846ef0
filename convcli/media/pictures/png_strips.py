"""The rows of a PNG, strip by strip: inflated by ISA-L in a third of zlib's time, unfiltered by libpng.

libpng gets each strip as a small picture of its own: the row above it, then its filtered rows, stored without
compression.  If the container or the stream looks wrong, libpng decodes the whole file and decides.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from convcli.media.pictures.png_chunks import SIGNATURE, Chunks, Header, chunk
from convcli.media.shared import HOLDS

STRIP = 1 << 20  # filtered bytes that are decoded together
_SAMPLES = {0: 1, 2: 3, 4: 2, 6: 4}  # of a pixel, by PNG's colour types without a palette
_STORED = (1 << 16) - 1  # bytes of a block that is not compressed (RFC 1951, 3.2.4)


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
