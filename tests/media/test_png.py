"""PNG: every file is opened by an independent reader; every file read was made by an independent writer."""

from __future__ import annotations

import io
import logging
import struct
import zlib
from fractions import Fraction

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from convcli.common.errors import ConvError, UsageError
from convcli.data.info import Colour, Info, Metadata
from convcli.media.options import Compress, ReadOptions, WriteOptions
from convcli.media.pictures import png
from convcli.media.shared import dpi_of, with_dpi
from tests.pictures import chunk, smooth

GREY, GREY_ALPHA, RGB, RGBA = Colour.GREY, Colour.GREY_ALPHA, Colour.RGB, Colour.RGBA
CHANNELS = {GREY: 1, GREY_ALPHA: 2, RGB: 3, RGBA: 4}


class Pipe(io.RawIOBase):
    """An output that can only be written to, as stdout is."""

    def __init__(self) -> None:
        self.data = b""

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self.data += bytes(data)
        return len(bytes(data))


def encode(pixels, colour, *, rows=5, compress=Compress.FAST, metadata=None, dpi=None, fp=None) -> bytes:
    fp = fp or Pipe()
    info = Info.of("YXC"[: pixels.ndim], pixels.shape, pixels.dtype.name, colour, metadata or Metadata())
    info = with_dpi(info, dpi and tuple(map(Fraction, dpi)))
    sink = png.sink(fp, "png", info, WriteOptions(quality=compress))
    for start in range(0, len(pixels), rows):
        block = pixels[start : start + rows].copy()
        sink.write(info.strip(start, start + len(block)), block)
        block[:] = 7  # a caller may use its block again
    sink.close()
    return fp.data


def decode(data: bytes, **options) -> tuple[Info, np.ndarray]:
    source = png.source(io.BytesIO(data), ReadOptions(**options))
    return source.info, source.strip(0, source.info.length)


def pillow(image: Image.Image, **settings) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **settings)
    return file.getvalue()


def handmade(width, height, bits, kind, raw, *extra, interlace=0) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, interlace))
    return b"".join([png.SIGNATURE, header, *extra, chunk(b"IDAT", zlib.compress(raw)), chunk(b"IEND", b"")])


@pytest.mark.parametrize("compress", Compress)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("colour", CHANNELS)
@pytest.mark.parametrize(("size", "rows"), [((37, 53), 5), ((1, 1), 1), ((3, 1), 2), ((2, 70), 9)])
def test_others_read_the_same_pixels(colour, dtype, compress, size, rows):
    pixels = smooth(*size, CHANNELS[colour], dtype)
    data = encode(pixels, colour, rows=rows, compress=compress)
    assert np.array_equal(imagecodecs.png_decode(data), pixels)
    if dtype == "uint8" or colour is GREY:  # Pillow has no other modes of 16 bits
        with Image.open(io.BytesIO(data)) as image:
            assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("compress", Compress)
@pytest.mark.parametrize("colour", CHANNELS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_bytes_do_not_depend_on_how_the_rows_arrive(colour, dtype, compress):
    """Strips have as many rows as the plan says, and that depends on the number of threads."""
    sizes = [(1, 1), (70_000, 3), (3, 90_000), (300, 1400)] if compress is Compress.FAST else [(300, 1400)]
    for height, width in sizes:
        pixels = smooth(height, width, CHANNELS[colour], dtype)
        whole = encode(pixels, colour, rows=height, compress=compress)
        assert np.array_equal(imagecodecs.png_decode(whole), pixels)
        for rows in {max(1, height // 7), -(-height // 2), max(1, height - 1)}:
            assert encode(pixels, colour, rows=rows, compress=compress) == whole


@pytest.mark.parametrize("compress", Compress)
def test_many_pieces_on_threads_make_one_valid_stream(compress):
    pixels = smooth(900, 1500, 3)  # 4 MB: several pieces
    data = encode(pixels, RGB, rows=64, compress=compress)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    assert data.count(b"IDAT") > 3
    stream, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        if data[at + 4 : at + 8] == b"IDAT":
            stream += data[at + 8 : at + 8 + length]
        at += 12 + length
    assert len(zlib.decompress(stream)) == 900 * (1 + 3 * 1500)  # checks the Adler-32 sum as well


def test_opencv_reads_it_and_its_own_file_is_hardly_smaller():
    cv2 = pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    for pixels in (data.astronaut(), data.coffee(), data.chelsea()):
        ours = encode(np.ascontiguousarray(pixels), RGB, rows=100)
        read = cv2.imdecode(np.frombuffer(ours, np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(read[..., ::-1], pixels)
        theirs = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))[1]
        assert len(ours) <= 1.15 * len(theirs)
        assert len(encode(pixels, RGB, compress=Compress.SMALL)) < min(
            len(ours), len(pillow(Image.fromarray(pixels)))
        )


def test_metadata_travels():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    raw = exif.tobytes().removeprefix(b"Exif\0\0")
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = encode(smooth(4, 5, 3), RGB, metadata=Metadata(icc=icc, exif=raw), dpi=(300, 150))
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert image.info["icc_profile"] == icc
        assert image.getexif()[0x010F] == "Maker"
        assert image.info["dpi"] == pytest.approx((300, 150), abs=0.02)
    info, _ = decode(data)
    assert (info.metadata.icc, info.metadata.exif) == (icc, raw)
    again = encode(smooth(4, 5, 3), RGB, metadata=info.metadata, dpi=dpi_of(info))
    assert decode(again)[0] == info  # rounding does not drift


@pytest.mark.parametrize("damaged", [False, True])
def test_a_profile_for_another_colour_is_left_out_with_a_note(damaged):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    info = Info.of("YX", (2, 3), "uint8", GREY, Metadata(icc=bytes(len(icc)) if damaged else icc))
    fp = io.BytesIO()
    sink = png.sink(fp, "png", info, WriteOptions())
    why = "it is damaged" if damaged else "it is for RGB, the result is GREY"
    assert sink.notes == (f"the colour profile is left out: {why}",)
    assert b"iCCP" not in fp.getvalue()


def test_resolution_alone_does_not_need_pillow():
    assert dpi_of(decode(pillow(Image.new("RGB", (3, 2)), dpi=(200, 100)))[0]) == pytest.approx(
        (200, 100), abs=0.02
    )


PALETTE = chunk(b"PLTE", bytes([1, 2, 3, 40, 50, 60, 200, 210, 220]))


@pytest.mark.parametrize(
    ("data", "colour", "expected"),
    [
        (handmade(5, 2, 1, 0, b"\0\xa8\0\x50"), GREY, [[255, 0, 255, 0, 255], [0, 255, 0, 255, 0]]),
        (handmade(3, 1, 2, 0, b"\0\x1b"), GREY, [[0, 85, 170]]),
        (handmade(3, 1, 4, 0, b"\0\x1f\x80"), GREY, [[17, 255, 136]]),
        (handmade(2, 1, 8, 3, b"\0\2\0", PALETTE), RGB, [[[200, 210, 220], [1, 2, 3]]]),
        (
            handmade(2, 1, 8, 3, b"\0\1\2", PALETTE, chunk(b"tRNS", b"\0\x80")),
            RGBA,
            [[[40, 50, 60, 128], [200, 210, 220, 255]]],
        ),
        (
            handmade(3, 1, 8, 0, b"\0\1\2\3", chunk(b"tRNS", b"\0\2")),
            GREY_ALPHA,
            [[[1, 255], [2, 0], [3, 255]]],
        ),
        (
            handmade(1, 1, 16, 2, b"\0\1\2\3\4\5\6", chunk(b"tRNS", b"\1\2\3\4\5\6")),
            RGBA,
            [[[0x0102, 0x0304, 0x0506, 0]]],
        ),
        (handmade(2, 2, 8, 0, b"\0\x0a\0\x0b\0\x0c\x0d", interlace=1), GREY, [[10, 11], [12, 13]]),
    ],
    ids=["1-bit", "2-bit", "4-bit", "palette", "palette-alpha", "grey-trns", "rgb16-trns", "interlaced"],
)
def test_everything_is_expanded_and_nothing_loses_bits(data, colour, expected):
    info, pixels = decode(data)
    assert (info.colour, pixels.tolist()) == (colour, expected)
    assert pixels.dtype == ("uint16" if data[24] == 16 else "uint8") == info.dtype
    assert info.shape == pixels.shape


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("colour", CHANNELS)
def test_reads_what_libpng_wrote(colour, dtype):
    pixels = smooth(9, 14, CHANNELS[colour], dtype)
    info, read = decode(imagecodecs.png_encode(pixels))
    assert info == Info.of("YXC"[: pixels.ndim], pixels.shape, dtype, colour, info.metadata)
    assert np.array_equal(read, pixels)


def test_blocks_are_the_rows_that_were_asked_for():
    pixels = smooth(9, 4, 3)
    source = png.source(io.BytesIO(pillow(Image.fromarray(pixels))), ReadOptions())
    assert np.array_equal(source.strip(2, 5), pixels[2:5])
    source.close()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_taken_out(orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x0131] = orientation, "Maker", "Software"
    data = pillow(Image.fromarray(smooth(5, 8, 3)), exif=exif, dpi=(300, 150))
    info, pixels = decode(data)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(pixels, np.asarray(upright))
    kept = Image.Exif()
    kept.load(info.metadata.exif)
    assert dict(kept) == {0x010F: "Maker", 0x0131: "Software"}
    assert dpi_of(info) == pytest.approx((150, 300) if orientation > 4 else (300, 150), abs=0.02)


def test_animations_give_the_first_frame_and_a_note_or_all():
    frames = [Image.fromarray(smooth(6, 7, 3)) for _ in range(3)]
    data = pillow(frames[0], save_all=True, append_images=frames[1:], duration=[50, 70, 90])
    info, pixels = decode(data)
    assert np.array_equal(pixels, np.asarray(frames[0]))
    assert "3 frames" in info.notes[0]
    info, pixels = decode(data, all_frames=True)
    assert (info.letters, info.notes) == ("TYXC", ())
    assert np.array_equal(pixels, np.stack([np.asarray(frame) for frame in frames]))
    fp = io.BytesIO()
    sink = png.sink(fp, "png", info, WriteOptions())
    sink.write(info.strip(0, 2), pixels[:2])
    sink.write(info.strip(2, info.length), pixels[2:])
    sink.close()
    with Image.open(fp) as again:
        assert again.n_frames == 3
        again.seek(2)
        assert (again.info["duration"], np.asarray(again.convert("RGB")).tolist()) == (90, pixels[2].tolist())


WHOLE = pillow(Image.fromarray(smooth(40, 50, 3)))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a PNG file: it is empty"),
        (b"hello, I am a text\n" * 3, "not a PNG file: it begins with b'hello"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n" * 3, "not a PNG file"),
        (WHOLE[:20], "cut short"),
        (WHOLE[:5], "cut short"),
        (WHOLE[:200], "truncated PNG"),
        (WHOLE[:-1], "truncated PNG"),
        (WHOLE[:-12], "truncated PNG"),
        (WHOLE[:90] + bytes([WHOLE[90] ^ 255]) + WHOLE[91:], "broken or truncated PNG"),
        (handmade(3, 2, 8, 0, b"\0\1\2\3"), "broken or truncated PNG: Not enough image data"),
        (png.SIGNATURE + WHOLE[8:33] + WHOLE[-12:], "broken PNG: it has no pixels"),
        (handmade(0, 2, 8, 0, b""), "its size is 0 x 2"),
        (handmade(60000, 60000, 8, 0, b""), "--max-pixels 3600"),
    ],
)
def test_broken_files_give_one_line(data, words):
    with pytest.raises(ConvError) as caught:
        decode(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1


def test_the_limit_is_an_option():
    data = pillow(Image.new("L", (30, 20)))
    with pytest.raises(ConvError, match="max-pixels"):
        decode(data, max_pixels=599)
    assert decode(data, max_pixels=600)[1].shape == (20, 30)
    assert decode(data, max_pixels=None)[1].shape == (20, 30)


def test_no_decoder_speaks_on_stderr(capfd):
    bad_profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"garbage" * 30))
    _, pixels = decode(handmade(3, 1, 8, 0, b"\0\1\2\3\4\5", bad_profile))  # too much data is tolerated
    assert pixels.tolist() == [[1, 2, 3]]
    assert capfd.readouterr().err == ""
    assert any(isinstance(one, logging.NullHandler) for one in logging.getLogger("imagecodecs").handlers)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        (Info.of("YXC", (4, 5, 4), "uint8", Colour.CMYK), "PNG does not hold CMYK: write JPEG or TIFF"),
        (Info.of("YX", (4, 5), "float32", GREY), "not float32: give --range"),
        (Info.of("YX", (4, 5), "int32", GREY), "not int32"),
        (Info.of("ZYX", (3, 4, 5), "uint8", GREY), "not the axes ZYX: write .tif or .npy"),
        (Info.of("YXC", (4, 5, 7), "uint8"), "does not hold 7 channels: write TIFF or .npy"),
    ],
)
def test_what_png_cannot_hold_is_refused(info, words):
    with pytest.raises(UsageError) as caught:
        png.sink(io.BytesIO(), "png", info, WriteOptions())
    assert words in str(caught.value)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_plain_numbers_become_grey_or_rgb(channels, mode):
    pixels = smooth(4, 5, 3)[..., :channels]
    assert Image.open(io.BytesIO(encode(pixels, Colour.NONE))).mode == mode


def test_a_file_that_lacks_rows_is_not_finished():
    sink = png.sink(io.BytesIO(), "png", Info.of("YX", (4, 5), "uint8", GREY), WriteOptions())
    sink.write(((0, 3), (0, 5)), np.zeros((3, 5), np.uint8))
    with pytest.raises(ConvError, match="5 of 20 samples are missing"):
        sink.close()


def test_a_small_picture_is_one_piece() -> None:
    pixels = smooth(16, 20, 3)
    data = encode(pixels, RGB, rows=4)
    assert data.count(b"IDAT") == 1
    assert (np.asarray(Image.open(io.BytesIO(data))) == pixels).all()
