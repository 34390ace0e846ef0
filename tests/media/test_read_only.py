"""Pictures that are only read: Pillow writes them here, and its own decode is what must come out."""

from __future__ import annotations

import io
import struct
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from convcli.common.errors import ConvError, UsageError
from convcli.media.options import ReadOptions
from convcli.media.pictures.read_only import RARER, source
from convcli.media.registry import HEAD, ONLY_READ, by_name, by_suffix, identify, sniff
from convcli.media.shared import resolution
from tests.fuzz import seeds
from tests.shell import convcli, ok

NOISE = np.random.default_rng(0).integers(0, 256, (23, 37, 3), np.uint8)
WRITTEN = {  # what Pillow writes, by its name for the format
    **dict.fromkeys(("AVIF", "BLP", "ICO", "ICNS"), ".png"),
    **dict.fromkeys(("JPEG2000", "PPM", "DDS", "TGA", "SGI", "PCX", "QOI"), "exact"),
}


def encoded(decoder: str) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(NOISE)
    if decoder == "BLP":
        picture = picture.quantize(64)
    if decoder in ("ICO", "ICNS"):
        picture = picture.resize((32, 32))
    picture.save(file, decoder)
    return file.getvalue()


@pytest.mark.parametrize("decoder", WRITTEN)
def test_the_pixels_are_pillows(decoder: str) -> None:
    data = encoded(decoder)
    row = next(row for row in RARER if row.decoder == decoder)
    opened = source(io.BytesIO(data), ReadOptions())
    with Image.open(io.BytesIO(data)) as image:
        mode = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[opened.info.channels]
        np.testing.assert_array_equal(opened.strip(0, opened.info.length), np.asarray(image.convert(mode)))
        if WRITTEN[decoder] == "exact":
            np.testing.assert_array_equal(np.asarray(image.convert("RGB")), NOISE)
    name = {"jpeg2000": "jp2", "netpbm": "ppm"}.get(row.name, row.name)  # which are written by other names
    assert identify(data[:HEAD], f"a{row.suffixes[0]}")[0].name == name
    if row.name != "tga":  # which has no signature
        assert sniff(data[:HEAD]).name == name


def test_a_dib_is_a_bmp_without_its_first_header() -> None:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "BMP")
    data = file.getvalue()[14:]
    assert sniff(data[:HEAD]).name == "dib"
    np.testing.assert_array_equal(source(io.BytesIO(data), ReadOptions()).strip(0, 23), NOISE)


@pytest.mark.filterwarnings("ignore:IM image format:DeprecationWarning")
@pytest.mark.parametrize("name", (*seeds.BY_HAND, *seeds.WRITTEN))
def test_the_rarest_are_pillows_too(name: str) -> None:
    """Formats that Pillow does not write, or writes large, are made by hand; it closes the file of an FTEX."""
    for data in seeds.files(name):
        opened = source(io.BytesIO(data), ReadOptions())
        with Image.open(io.BytesIO(data)) as image:
            mode = {1: "L", 3: "RGB", 4: "RGBA"}[opened.info.channels]
            expected = np.asarray(image.convert(mode))
        expected = 255 - expected if name == "xbm" else expected  # whose ones are ink
        np.testing.assert_array_equal(opened.strip(0, opened.info.length), expected)


@pytest.mark.parametrize(
    ("decoder", "mode", "read_as"),
    [
        ("TGA", "P", "RGBA"),  # a palette with alpha
        ("TGA", "LA", "LA"),
        ("TGA", "RGBA", "RGBA"),
        ("TGA", "1", "L"),
        ("PCX", "P", "RGB"),
        ("PPM", "1", "L"),
        ("QOI", "RGBA", "RGBA"),
        ("JPEG2000", "LA", "LA"),
        ("DDS", "L", "L"),
    ],
)
def test_colours_are_expanded_as_pillow_does(decoder: str, mode: str, read_as: str) -> None:
    file = io.BytesIO()
    Image.fromarray(np.dstack([NOISE, NOISE[::-1, :, :1]])).convert(mode).save(file, decoder)
    opened = source(io.BytesIO(file.getvalue()), ReadOptions())
    with Image.open(file) as image:
        expected = np.asarray(image.convert(read_as))
    assert opened.info.channels == len(read_as)
    np.testing.assert_array_equal(opened.strip(0, 23), expected)


def test_a_psd_is_read_as_a_whole() -> None:
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 23, 37, 8, 3)  # RGB of 8 bits
    data = header + bytes(12) + bytes(2) + NOISE.transpose(2, 0, 1).tobytes()  # no layers; not compressed
    opened = source(io.BytesIO(data), ReadOptions())
    np.testing.assert_array_equal(opened.strip(0, 23), NOISE)


TARGA = struct.pack("<BBB5xHHHH", 0, 0, 2, 0, 0, 37, 23)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 23, 37, 16, 3), "PSD with 16 bits a channel"),
        (b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 23, 37, 8, 7), "PSD with several colours of ink"),
        (
            imagecodecs.jpeg2k_encode(NOISE[..., 0].astype(np.int16) - 99, level=0, codecformat="jp2"),
            "JPEG2000 with signed samples",
        ),
    ],
)
def test_what_pillow_misreads_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ConvError, match=f"{words}.* is not read: convert it to"):
        source(io.BytesIO(data), ReadOptions())


@pytest.mark.parametrize("order", ["<", ">"])
def test_floats_of_three_colours(order: str) -> None:
    """Rows from below, by Debevec's description of PFM."""
    values = NOISE / np.float32(7)
    head = b"PF\n37 23\n" + (b"-1.0\n" if order == "<" else b"1.0\n")
    data = head + values[::-1].astype(f"{order}f4").tobytes()
    for tail, notes in (b"", ()), (b"PK", ("left out of the NETPBM: data behind the picture",)):
        opened = source(io.BytesIO(data + tail), ReadOptions())
        np.testing.assert_array_equal(opened.strip(0, 23), values)
        assert opened.info.notes == notes


@pytest.mark.parametrize("mode", ["1", "P", "RGB"])
def test_cursors_that_state_too_few_bytes(mode: str) -> None:
    """The picture of a file that states them all is that of one that states eight; what is behind it is said."""
    picture = Image.fromarray(NOISE).resize((32, 32)).convert(mode)
    picture.save(file := io.BytesIO(), "ICO", sizes=[(32, 32)], bitmap_format="bmp")
    data = bytearray(file.getvalue())
    data[2:4], data[10:14] = b"\2\0", bytes(4)  # a cursor, its hotspot
    want = source(io.BytesIO(data), ReadOptions()).strip(0, 32)
    data[14:18] = struct.pack("<I", 8)
    for tail in b"", b"PK":
        opened = source(io.BytesIO(data + tail), ReadOptions())
        np.testing.assert_array_equal(opened.strip(0, 32), want)
        assert ("data behind the picture" in opened.info.notes[0]) == bool(tail)


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_suns_that_pillow_misreads(kind: int) -> None:
    """X, B, G, R, or of the kind 3 X, R, G, B; runs over rows of odd length, each filled by a byte."""
    colours = NOISE if kind == 3 else NOISE[..., ::-1]
    if kind == 2:
        rows = np.pad(colours.reshape(23, 111), ((0, 0), (0, 1))).tobytes()
        data = b"".join(b"\x80\0" if byte == 0x80 else bytes([byte]) for byte in rows)
    else:
        data = np.dstack([np.zeros((23, 37), np.uint8), colours]).tobytes()
    head = struct.pack(">8I", 0x59A66A95, 37, 23, 24 if kind == 2 else 32, len(data), kind, 0, 0)
    for tail in b"", b"PK":
        opened = source(io.BytesIO(head + data + tail), ReadOptions())
        np.testing.assert_array_equal(opened.strip(0, 23), NOISE)
        assert len(opened.info.notes) == len(tail[:1])


def test_ones_of_a_bitmap_are_black() -> None:
    """Adobe's Photoshop File Formats Specification, and X11's bitmap(1): a set bit is ink; so FFmpeg reads both."""
    bits = NOISE[..., 0] > 127
    psd = b"8BPS" + struct.pack(">H6xHIIHH", 1, 1, 23, 37, 1, 0) + bytes(14) + np.packbits(bits, 1).tobytes()
    xbm = b"#define a_width 37\n#define a_height 23\nstatic char a_bits[] = {\n"
    xbm += b",".join(b"0x%02x" % byte for byte in np.packbits(bits, 1, "little").flat) + b"};\n"
    for data in (psd, xbm):
        opened = source(io.BytesIO(data), ReadOptions())
        np.testing.assert_array_equal(opened.strip(0, 23), np.where(bits, 0, 255))


@pytest.mark.parametrize("table", [False, True])
def test_a_targa_of_sixteen_bits(table: bool) -> None:
    """5 bits a colour, of which 31 is white; Pillow takes the bit that is left for its opposite."""
    colours = (NOISE >> 3).astype("<u2")
    packed = colours[..., 0] << 10 | colours[..., 1] << 5 | colours[..., 2]
    if table:
        packed, indices = packed[0], np.indices((23, 37))[1].astype(np.uint8)
        head = struct.pack("<BBBHHBHHHHBB", 0, 1, 1, 0, 37, 16, 0, 0, 37, 23, 8, 0x20)
        data, colours = packed.tobytes() + indices.tobytes(), colours[:1].repeat(23, axis=0)
    else:
        head, data = TARGA + b"\x10\x20", packed.tobytes()
    opened = source(io.BytesIO(head + data), ReadOptions())
    np.testing.assert_allclose(opened.strip(0, 23), colours * (255 / 31), atol=1)


@pytest.mark.parametrize("white", [1, 15, 255, 1000, 65535])
@pytest.mark.parametrize(
    ("kind", "read_as"), [("GRAYSCALE", 1), ("GRAYSCALE_ALPHA", 4), ("RGB", 3), ("RGB_ALPHA", 4)]
)
def test_a_portable_arbitrary_map(white: int, kind: str, read_as: int) -> None:
    depth = {"GRAYSCALE": 1, "GRAYSCALE_ALPHA": 2, "RGB": 3, "RGB_ALPHA": 4}[kind]
    samples = (np.arange(23 * 37 * depth).reshape(23, 37, depth) * 41) % (white + 1)
    head = f"P7\n# {'words ' * 900}\nWIDTH 37\nHEIGHT 23\nDEPTH {depth}\nMAXVAL {white}\nTUPLTYPE {kind}\nENDHDR\n"
    data = head.encode() + samples.astype(">u2" if white > 255 else "u1").tobytes()
    assert sniff(data[:HEAD]).name == "pam"
    if depth in (2, 4) and white not in (255, 65535):  # FFmpeg's decoder does not scale them
        with pytest.raises(ConvError, match="channels of this kind"):
            source(io.BytesIO(data), ReadOptions())
        return
    opened = source(io.BytesIO(data), ReadOptions())
    got = opened.strip(0, 23).reshape(23, 37, read_as)
    expected = samples / white if depth != 2 else samples[..., [0, 0, 0, 1]] / white
    np.testing.assert_allclose(got / np.iinfo(got.dtype).max, expected, atol=1 / np.iinfo(got.dtype).max)
    assert opened.info.notes == ("left out of the PAM: comment",)


@pytest.mark.parametrize(
    "head", [b"P6\n# %s\n37 23\n255\n", b"P6 37 23\n# a\n# %s\n255\n", b"P3 # %s\n37 23 255 "]
)
def test_a_netpbm_with_long_comments(head: bytes) -> None:
    pixels = " ".join(map(str, NOISE.flat)).encode() if head[1:2] == b"3" else NOISE.tobytes()
    data = head % (b"words " * 2000) + pixels
    assert sniff(data[:HEAD]).name == "ppm"
    np.testing.assert_array_equal(source(io.BytesIO(data), ReadOptions()).strip(0, 23), NOISE)


@pytest.mark.parametrize("head", [b"P5 37 23 255\n", b"P6 # a comment\n37 23 255\n", b"P5 37 23 65535\n"])
def test_netpbm_pictures_that_follow_the_first_are_said(head: bytes) -> None:
    one = head + bytes(23 * 37 * {b"P6": 3}.get(head[:2], 2 if b"65535" in head else 1))
    assert source(io.BytesIO(one), ReadOptions()).info.notes[1:] == ()
    assert source(io.BytesIO(one + one), ReadOptions()).info.notes[-1].endswith("further pictures")


def test_channels_that_are_not_read_are_said() -> None:
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, 2, 23, 37, 8, 1)  # grey with a second channel
    opened = source(
        io.BytesIO(header + bytes(14) + NOISE[..., :2].transpose(2, 0, 1).tobytes()), ReadOptions()
    )
    assert opened.info.notes == ("left out of the PSD: further channels",)


@pytest.mark.parametrize("bits", [9, 10, 12, 15, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_of_a_deep_jpeg2000_is_its_largest_number(bits: int, channels: int) -> None:
    """The numbers written into the file; Pillow shifts grey ones to the upper bits of 16, where white is no white."""
    pixels = (NOISE[..., :channels].astype(np.uint16) << 8 | 255) >> (16 - bits)
    pixels[0, 0], pixels = 2**bits - 1, pixels.squeeze()
    data = imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="jp2", bitspersample=bits)
    opened = source(io.BytesIO(data), ReadOptions())
    np.testing.assert_array_equal(opened.strip(0, 23), pixels)
    assert opened.info.white == (2**bits - 1 if bits < 16 else None)


def test_the_colour_profile_of_a_rarer_picture_is_kept() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, "AVIF", icc_profile=profile)
    assert source(io.BytesIO(file.getvalue()), ReadOptions()).info.metadata.icc == profile


def test_an_animated_avif_keeps_its_times() -> None:
    pictures = [Image.fromarray(np.roll(NOISE[:22, :32], k, 0)) for k in range(3)]
    file = io.BytesIO()
    pictures[0].save(file, "AVIF", save_all=True, append_images=pictures[1:], duration=70)
    opened = source(io.BytesIO(file.getvalue()), ReadOptions(all_frames=True))
    with Image.open(file) as image:
        assert (image.n_frames, image.format) == (3, "AVIF")
        for index in range(3):
            image.seek(index)
            np.testing.assert_array_equal(opened.strip(index, index + 1)[0], np.asarray(image.convert("RGB")))
    assert opened.info.axis("T").positions.ticks == (0, 70, 140)
    alone = source(io.BytesIO(file.getvalue()), ReadOptions())
    assert "T" not in alone.info.letters and "first of the 3 frames" in alone.info.notes[0]


def test_every_suffix_is_known_and_none_is_written() -> None:
    for row in ONLY_READ:
        for suffix in row.suffixes:
            with pytest.raises(
                UsageError,
                match=rf"{row.name} is only read; write \.(png or \.tif|m4a or \.wav|nii\.gz or \.tif)",
            ):
                by_suffix(f"a{suffix}")
        with pytest.raises(UsageError, match="is only read"):
            by_name(row.name)


def test_the_result_is_a_png_unless_a_name_says_otherwise(tmp_path: Path) -> None:
    Image.fromarray(NOISE).save(tmp_path / "a.pcx")
    assert ok("filter", "a.pcx", "-k", "identity", cwd=tmp_path).stdout == b"a.identity.png\n"
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.identity.png")), NOISE)
    done = convcli("filter", "a.pcx", "-k", "identity", "-o", "b.pbm", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        b"error: 'b.pbm': netpbm is only read; write .png or .tif\n",
    )


def test_depth(tmp_path: Path) -> None:
    grey = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    deep = b"P5 4 3 65535\n" + grey.astype(">u2").tobytes()
    opened = source(io.BytesIO(deep), ReadOptions())
    assert (opened.info.dtype, opened.info.notes) == ("uint16", ())
    np.testing.assert_array_equal(opened.strip(0, 3), grey)
    colour = source(io.BytesIO(b"P3 1 1 65535\n0 0 0\n"), ReadOptions())
    assert colour.info.notes == ("the 16 bits a channel of this NETPBM are read as 8",)


@pytest.mark.parametrize(
    "data", [b"\0\0\1\0\1\0" + bytes(12) + b"\xff" * 4, b"8BPS\0\1" + bytes(20) + b"\xff" * 4]
)
def test_a_place_far_behind_the_end_takes_no_memory(data: bytes) -> None:
    """An icon, and the colours of a PSD, that are said to end behind 4 GB."""
    tracemalloc.start()
    with pytest.raises(ConvError):
        source(io.BytesIO(data), ReadOptions())
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 1 << 28


def test_a_column_of_numbers_is_no_picture() -> None:
    assert sniff(b"P2\n5\n6\n7\n").name == "csv"
    assert sniff(b"P2\n# made by hand\n2 1\n255\n0 9\n").name == "pgm"


def test_broken() -> None:
    for data in (b"qoif" + bytes(8), b"8BPS\0\1" + bytes(9), b"DDS " + bytes(40)):
        with pytest.raises(ConvError):
            source(io.BytesIO(data), ReadOptions())


def test_a_resolution_that_no_format_holds_is_left_out() -> None:
    assert resolution(72, 300) == (72.0, 300.0)
    assert resolution(4294967295, 72) is resolution(0, 72) is resolution(float("nan"), 72) is None


def test_fits_is_refused_by_name_and_by_content(tmp_path: Path) -> None:
    cards = (
        "SIMPLE  =                    T",
        "BITPIX  =                   16",
        "NAXIS   =                    2",
    )
    sizes = (
        "NAXIS1  =                    3",
        "NAXIS2  =                    2",
        "BZERO   =                32768",
    )
    header = "".join(card.ljust(80) for card in (*cards, *sizes, "END")).ljust(2880)
    data = header.encode() + np.arange(6, dtype=">i2").tobytes().ljust(2880, b"\0")
    (tmp_path / "a.fits").write_bytes(data)
    (tmp_path / "a.dat").write_bytes(data)
    for name in ("a.fits", "a.dat"):
        done = convcli("filter", name, "-k", "1", "-o", "o.npy", cwd=tmp_path)
        assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
        assert b"it holds a FITS, which needs a package: pip install convcli-fits" in done.stderr
    done = convcli("filter", "-", "-k", "1", "-o", "o.npy", cwd=tmp_path, stdin=data)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"pip install convcli-fits" in done.stderr
    done = convcli("filter", "-", "-k", "1", "-o", "o.fits", cwd=tmp_path, stdin=b"x\n1\n2\n")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b".fits needs the package convcli-fits: pip install convcli-fits" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.dat", "a.fits"]


@pytest.mark.parametrize("top", [65535, 1023])
def test_colours_of_a_ppm_keep_16_bits(top: int) -> None:
    pixels = np.arange(12 * 16 * 3).reshape(12, 16, 3) * 113 % (top + 1)
    opened = source(io.BytesIO(b"P6\n16 12\n%d\n" % top + pixels.astype(">u2").tobytes()), ReadOptions())
    np.testing.assert_allclose(opened.strip(0, 12), pixels * (65535 / top), rtol=0, atol=0.5)
    assert opened.info.notes == ()


@pytest.mark.parametrize("compressed", ["1", "0"])
@pytest.mark.parametrize("form", ["gray", "gray16be", "rgb24", "rgba", "rgb48be", "rgba64be"])
def test_sgi_as_ffmpeg_writes_it(form: str, compressed: str, tmp_path: Path) -> None:
    """Pillow takes the ends of compressed rows for broken; 16 bits stay 16."""
    channels = 1 if "gray" in form else 4 if "rgba" in form else 3
    top = 65536 if "16" in form or "48" in form or "64" in form else 256
    pixels = np.arange(40 * 60 * channels).reshape(40, 60, channels) // 7 * (top // 256 + 1) % top
    pixels = pixels.astype(np.uint16 if top > 256 else np.uint8).squeeze()
    encoder = av.CodecContext.create("sgi", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 60, 40, form, Fraction(1, 25)
    encoder.options = {"rle": compressed}
    frame = av.VideoFrame.from_ndarray(pixels, format=form)
    data = b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)]))
    (tmp_path / "a.sgi").write_bytes(data)
    ok("filter", "a.sgi", "-k", "identity", "-o", "b.tif", cwd=tmp_path)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), pixels)
    (tmp_path / "cut.sgi").write_bytes(data[:900])
    done = convcli("filter", "cut.sgi", "-k", "identity", "-o", "c.png", cwd=tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\1\0\1\0\x10\x10\0\0\1\0\x20\0\xff\xff\xff\0\x16\0\0\0",
        b"BLP2\1\0\0\0junk",
        b"icns\0\0\0\x20junkjunkjunkjunkjunk",
    ],
    ids=["ICO", "BLP", "ICNS"],
)
def test_what_a_child_process_does_not_know_is_said_in_our_words(head: bytes) -> None:
    """Pillow's words hold an object's place in memory."""
    with pytest.raises(ConvError, match="picture: it begins with"):
        source(io.BytesIO(head), ReadOptions())
