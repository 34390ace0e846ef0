"""PNG and JPEG are decoded when their rows are read, and encoded while rows arrive: as their libraries do."""

from __future__ import annotations

import io
import logging
import struct
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
from PIL import Image

from convcli.common.errors import ConvError
from convcli.data.info import Colour, Info
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures import image, png
from convcli.media.shared import Decoded, dpi_of
from tests.pictures import chunk, smooth

COLOURS = {1: Colour.GREY, 2: Colour.GREY_ALPHA, 3: Colour.RGB, 4: Colour.RGBA}


def grey_png(
    filtered: bytes, width: int, height: int, deflated: bytes | None = None, parts: int = 1
) -> bytes:
    data = zlib.compress(filtered) if deflated is None else deflated
    size = max(1, -(-len(data) // parts))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    pieces = [chunk(b"IDAT", data[start : start + size]) for start in range(0, len(data), size)]
    return b"".join([png.SIGNATURE, header, *pieces, chunk(b"IEND", b"")])


def png_of(data: bytes) -> Decoded:
    source = png.source(io.BytesIO(data), ReadOptions())
    assert isinstance(source, Decoded)
    return source


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", COLOURS)
def test_a_png_of_libpng_is_read_when_its_rows_are_asked_for(channels, dtype):
    pixels = smooth(41, 57, channels, dtype)
    source = png_of(imagecodecs.png_encode(pixels))
    assert (source.info.shape, source.info.dtype) == (pixels.shape, dtype)
    assert source.info.colour is COLOURS[channels]
    assert np.array_equal(source.strip(30, 41), pixels[30:])
    assert np.array_equal(source.strip(0, 41), pixels)
    source.close()


@pytest.mark.parametrize("kind", range(5))
def test_every_filter_is_undone(kind):
    """Rows of random bytes, filtered as each of the five types says: libpng, by itself, undoes the same."""
    rows = np.random.default_rng(kind).integers(0, 256, (23, 19), np.uint8)
    filtered = b"".join(bytes([kind]) + row.tobytes() for row in rows)
    data = grey_png(filtered, 19, 23, parts=7)
    assert np.array_equal(png_of(data).strip(0, 23), imagecodecs.png_decode(data))


def test_a_fault_is_told_whenever_rows_are_asked_for():
    filtered = bytearray(b"".join(b"\1" + bytes([row] * 19) for row in range(23)))
    filtered[20 * 20] = 9  # a filter that does not exist
    source = png_of(grey_png(bytes(filtered), 19, 23))
    for _ in range(2):
        with pytest.raises(ConvError, match="broken or truncated PNG: "):
            source.strip(0, 23)
    source.close()


FILTERED = b"".join(b"\0" + row.tobytes() for row in smooth(23, 19, 1))
DEFLATED = zlib.compress(FILTERED)


@pytest.mark.parametrize("parts", [1, 5, 1000])
@pytest.mark.parametrize(
    "data",
    [
        DEFLATED[:-4] + b"\0\1\2\3",
        DEFLATED[:-4],
        DEFLATED[:-1],
        DEFLATED[:-6],
        DEFLATED[: len(DEFLATED) // 2],
        DEFLATED + b"more",
        zlib.compress(FILTERED + bytes(1000)),
        zlib.compress(FILTERED[:-1]),
        DEFLATED[2:],
    ],
    ids=["sum", "no sum", "sum cut", "end", "half", "behind", "too long", "too short", "no head"],
)
def test_the_end_is_judged_as_libpng_judges_it(data, parts):
    picture = grey_png(b"", 19, 23, data, parts)
    try:
        expected = imagecodecs.png_decode(picture)
    except imagecodecs.PngError as error:
        expected = str(error)
    if isinstance(expected, str):
        with pytest.raises(ConvError, match=f"^broken or truncated PNG: {expected}$"):
            png.source(io.BytesIO(picture), ReadOptions()).strip(0, 23)
    else:
        assert np.array_equal(png_of(picture).strip(0, 23), expected)


def test_a_wrong_checksum_is_left_to_libpng():
    data = bytearray(grey_png(bytes(20 * 23), 19, 23))
    data[-13] ^= 1  # of the pixels
    with pytest.raises(imagecodecs.PngError):
        imagecodecs.png_decode(bytes(data))
    with pytest.raises(ConvError, match="broken or truncated PNG"):
        png.source(io.BytesIO(bytes(data)), ReadOptions()).strip(0, 23)


HEADER = struct.pack(">IIBBBBB", 19, 23, 8, 0, 0, 0, 0)
ROWS = chunk(b"IDAT", DEFLATED)


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"IHDR", HEADER[:-3] + b"\1\0\0"), ROWS],
        [chunk(b"IHDR", HEADER[:-2] + b"\x40\0"), ROWS],
        [chunk(b"IHDR", HEADER[:-1] + b"\2"), ROWS],
        [chunk(b"IHDR", HEADER), chunk(b"IHDR", HEADER), ROWS],
        [chunk(b"IHDR", HEADER), chunk(b"ABCD", b""), ROWS],
        [
            chunk(b"IHDR", HEADER),
            chunk(b"IDAT", DEFLATED[:9]),
            chunk(b"tEXt", b"a"),
            chunk(b"IDAT", DEFLATED[9:]),
        ],
        [chunk(b"IHDR", HEADER), chunk(b"abCd", b""), chunk(b"PLTE", bytes(6)), ROWS],
        [chunk(b"IHDR", struct.pack(">II", 1, 1_000_001) + HEADER[8:]), ROWS],
    ],
    ids=["compression", "filter", "interlace", "two heads", "unknown", "apart", "harmless", "tall"],
)
def test_libpng_judges_what_is_unusual(chunks):
    picture = b"".join([png.SIGNATURE, *chunks, chunk(b"IEND", b"")])
    try:
        expected = imagecodecs.png_decode(picture)
    except (imagecodecs.PngError, UnicodeDecodeError):  # of its message
        with pytest.raises(ConvError, match=r"^(broken or )?truncated PNG: "):
            png.source(io.BytesIO(picture), ReadOptions()).strip(0, 23)
    else:
        source = png.source(io.BytesIO(picture), ReadOptions())
        assert np.array_equal(source.strip(0, source.info.length), expected)


def test_a_picture_that_its_bytes_cannot_hold_is_refused_before_memory_is_asked_for():
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1_000_000, 1_000_000, 16, 6, 0, 0, 0))
    picture = b"".join([png.SIGNATURE, header, ROWS, chunk(b"IEND", b"")])
    with pytest.raises(ConvError, match="bytes cannot become 1000000 x 1000000 pixels"):
        png.source(io.BytesIO(picture), ReadOptions(max_pixels=None))


def test_opening_many_pictures_adds_up_to_nothing():
    picture = grey_png(FILTERED, 19, 23)
    for _ in range(3):
        png_of(picture).close()
    assert len(logging.getLogger("imagecodecs").handlers) <= 1


def test_a_stream_that_swells_is_not_inflated_further_than_the_rows():
    deflated = zlib.compress(bytes(500_000_000), 1)
    source = png_of(grey_png(b"", 19, 23, deflated))
    assert not source.strip(0, 23).any()


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(333, 50), (16, 16), (17, 3), (15, 40), (400, 1)])
def test_a_jpeg_of_rows_that_arrive_is_a_whole_one(size, channels, quality):
    pixels = smooth(*size, channels)
    file, whole = io.BytesIO(), io.BytesIO()
    info = Info.of("YXC"[: pixels.ndim], pixels.shape, "uint8", COLOURS[channels])
    sink = image.sink(file, "jpeg", info, WriteOptions(quality=quality))
    for start in range(0, len(pixels), 7):
        block = pixels[start : start + 7].copy()
        sink.write(info.strip(start, start + len(block)), block)
        block[:] = 7  # a caller may use its block again
    sink.close()
    sampling = "4:4:4" if quality == 95 else "4:2:0"
    Image.fromarray(pixels).save(whole, "JPEG", quality=quality, subsampling=sampling)
    expected = np.asarray(Image.open(whole))
    written = Image.open(file)
    written.load()
    assert np.array_equal(np.asarray(written), expected)
    assert np.array_equal(imagecodecs.jpeg8_decode(file.getvalue()), expected)


def saved(picture: Image.Image, **settings) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", **settings)
    return file.getvalue()


PHOTO = Image.fromarray(smooth(30, 43, 3))
JPEGS = {
    "plain": saved(PHOTO),
    "grey": saved(PHOTO.convert("L")),
    "dpi": saved(PHOTO, dpi=(300, 150)),
    "centimetres": saved(PHOTO, dpi=(300, 150)).replace(b"JFIF\0\1\1\1\1\x2c", b"JFIF\0\1\1\2\1\x2c"),
    "half a dpi": saved(PHOTO, dpi=(300, 150)).replace(b"\1\1\x2c\0\x96", b"\1\1\x2c\0\0"),
    "progressive": saved(PHOTO, progressive=True),
    "restarts": saved(PHOTO, restart_marker_rows=1),
    "comment": saved(PHOTO, comment="said"),
    "no JFIF": saved(PHOTO)[:2] + saved(PHOTO)[20:],
    "true RGB": saved(PHOTO, keep_rgb=True),
    "CMYK": saved(PHOTO.convert("CMYK")),
    "exif": saved(PHOTO, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"),
    "profile": saved(PHOTO, icc_profile=bytes(range(128))),
    "cut": saved(PHOTO)[:900],
    "cut early": saved(PHOTO)[:300],
    "short frame": saved(PHOTO)[:2] + b"\xff\xc0\0\2" + saved(PHOTO)[20:],
    "filled": saved(PHOTO).replace(b"\xff\xdb", b"\xff\xff\xdb", 1),
}


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_is_what_pillow_says(name):
    data = JPEGS[name]
    try:
        with Image.open(io.BytesIO(data)) as picture:
            expected = np.asarray(picture).tolist()
    except (OSError, SyntaxError):
        with pytest.raises(ConvError, match="broken or truncated JPEG"):
            image.source(io.BytesIO(data), ReadOptions()).read(((0, 30), (0, 43)))
        return
    source = image.source(io.BytesIO(data), ReadOptions())
    assert source.strip(0, source.info.length).tolist() == expected
    if name in ("plain", "dpi", "centimetres", "no JFIF"):
        assert dpi_of(source.info) == picture.info.get("dpi")


@pytest.mark.parametrize("name", ["plain", "dpi", "progressive", "comment", "no JFIF"])
def test_a_plain_jpeg_is_written_as_by_pillow_and_without_it(name, monkeypatch):
    file, source = io.BytesIO(), image.source(io.BytesIO(JPEGS[name]), ReadOptions())
    pixels = source.strip(0, source.info.length)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "PIL", None)
        sink = image.sink(file, "jpeg", source.info, WriteOptions())
        sink.write(source.info.box, pixels)
        sink.close()
    dpi = dpi_of(source.info)
    more = {"dpi": tuple(map(float, dpi))} if dpi else {}
    assert file.getvalue() == saved(Image.fromarray(pixels), quality=95, subsampling="4:4:4", **more)
