"""TIFF: written files are opened by tifffile and Pillow, files read were written by them."""

from __future__ import annotations

import io
import logging
import struct
import weakref
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from scipy import ndimage

from convcli.common.errors import ConvError, UsageError
from convcli.data.info import Colour, Info, Metadata
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures import tiff
from convcli.media.pictures import tiff_samples as tiff_look
from convcli.media.pictures.boxes import stated_size
from convcli.media.shared import dpi_of, with_dpi
from tests.shell import convcli

RNG = np.random.default_rng(7)
GREY, GREY_ALPHA, RGB, RGBA, CMYK = list(Colour)[1:]
DTYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]
PIXELS = RNG.integers(0, 256, (53, 70), np.uint8)
COLOURED = RNG.integers(0, 256, (53, 70, 3), np.uint8)
STACK = RNG.integers(0, 60000, (5, 20, 30), np.uint16)


class Counting(io.BytesIO):
    """A file that counts the bytes that are read from it."""

    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data

    def readinto(self, buffer):
        got = super().readinto(buffer)
        self.count += got
        return got


def made(pixels, **settings) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **settings)
    return file.getvalue()


def saved(picture: Image.Image, **settings) -> bytes:
    file = io.BytesIO()
    picture.save(file, "TIFF", **settings)
    return file.getvalue()


def read(data: bytes, step: int | None = None, **options) -> tuple[Info, np.ndarray]:
    source = tiff.source(io.BytesIO(data), ReadOptions(**options))
    info = source.info
    step = step or info.length
    pixels = np.concatenate(
        [source.strip(at, min(at + step, info.length)) for at in range(0, info.length, step)]
    )
    assert (pixels.shape, pixels.dtype.name) == (info.shape, info.dtype)
    source.close()
    return info, pixels


def write(pixels, axes, colour=Colour.NONE, metadata=None, step=4, dpi=None):
    file = io.BytesIO()
    info = Info.of(axes, pixels.shape, pixels.dtype.name, colour, metadata or Metadata())
    info = with_dpi(info, dpi and tuple(map(Fraction, dpi)))
    sink = tiff.sink(file, "tiff", info, WriteOptions())
    for at in range(0, info.length, step):
        stop = min(at + step, info.length)
        sink.write(info.strip(at, stop), np.take(pixels, range(at, stop), info.stream_axis))
    sink.close()
    return file.getvalue(), sink.notes


# Reading

STORAGE = [
    {},
    {"byteorder": ">"},
    {"bigtiff": True},
    {"rowsperstrip": 9},
    {"tile": (32, 16)},
    {"compression": "zlib"},
    {"compression": "zlib", "byteorder": ">", "rowsperstrip": 10},
    {"compression": "zlib", "tile": (16, 32)},
    {"compression": "lzw", "predictor": True, "rowsperstrip": 7},
    {"compression": "zstd", "rowsperstrip": 8},
]


@pytest.mark.parametrize("step", [None, 11])
@pytest.mark.parametrize("storage", STORAGE, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_storage_gives_the_same_rows(dtype, storage, step):
    pixels = (PIXELS // 2).astype(dtype)
    info, got = read(made(pixels, **storage), step)
    assert (info.letters, info.colour) == ("YX", GREY)
    assert np.array_equal(got, pixels)


@pytest.mark.parametrize("storage", STORAGE, ids=str)
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_colour_in_one_plane_or_three(planes, storage):
    stored = COLOURED if planes == "contig" else np.moveaxis(COLOURED, -1, 0).copy()
    info, got = read(made(stored, photometric="rgb", planarconfig=planes, **storage), 13)
    assert (info.letters, info.colour) == ("YXC", RGB)
    assert np.array_equal(got, COLOURED)


def test_only_the_touched_strips_and_tiles_are_read():
    pixels = RNG.integers(0, 256, (2000, 500), np.uint8)
    for storage in ({}, {"compression": "zlib", "rowsperstrip": 16}, {"tile": (32, 32)}):
        file = Counting(made(pixels, **storage))
        source = tiff.source(file, ReadOptions())
        before = file.count
        assert np.array_equal(source.strip(1000, 1010), pixels[1000:1010])
        assert file.count - before < 50_000 < pixels.nbytes / 10


def test_overlapping_reads_decode_a_strip_once(monkeypatch):
    pixels = RNG.integers(0, 256, (64, 50), np.uint8)
    source = tiff.source(io.BytesIO(made(pixels, compression="zlib", rowsperstrip=16)), ReadOptions())
    decoded = []
    original = source._decode
    source._decode = lambda keys: decoded.extend(keys) or original(keys)
    for start, stop in ((0, 18), (14, 34), (30, 50), (46, 64)):
        assert np.array_equal(source.strip(start, stop), pixels[start:stop])
    assert decoded == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("storage", "grid"),
    [
        ({"tile": (32, 48), "compression": "zlib"}, (32, 48)),
        ({"tile": (32, 48)}, (32, 48)),
        ({"rowsperstrip": 16, "compression": "zlib"}, (16, 200)),
    ],
)
@pytest.mark.parametrize("planes", ["contig", "separate"])
def test_of_tiles_and_strips_a_box_decodes_those_that_it_touches(storage, grid, planes):
    pixels = RNG.integers(0, 65536, (3, 150, 200, 3), np.uint16)
    stored = pixels if planes == "contig" else np.moveaxis(pixels, -1, 1).copy()
    data = made(stored, photometric="rgb", planarconfig=planes, **storage)
    source = tiff.source(io.BytesIO(data), ReadOptions())
    decoded, original = [], source._decode
    source._decode = lambda keys: decoded.extend(keys) or original(keys)
    whole = np.stack(
        [
            np.moveaxis(page, 0, -1) if planes != "contig" else page
            for page in tifffile.imread(io.BytesIO(data))
        ]
    )
    for _ in range(12):
        box = tuple(
            (int(start), int(RNG.integers(start + 1, n + 1)))
            for n in (3, 150, 199)
            for start in [RNG.integers(n)]
        )
        decoded.clear()
        source._segments.clear()
        assert np.array_equal(source.read(box), whole[tuple(slice(*span) for span in box)])
        across = [(stop - 1) // n - start // n + 1 for n, (start, stop) in zip((1, *grid), box, strict=True)]
        assert len(decoded) == np.prod(across) * (3 if planes == "separate" else 1)


def test_of_ycbcr_without_jpeg_one_page_is_read_and_said():
    pages = [Image.fromarray(RNG.integers(0, 256, (16, 24, 3), np.uint8)).convert("YCbCr") for _ in range(3)]
    data = saved(pages[0], save_all=True, append_images=pages[1:], description="tall")
    info, got = read(data)
    assert np.array_equal(got, np.asarray(pages[0].convert("RGB")))
    assert info.notes[0].startswith("only the first of the 3 pages of this TIFF is read: it holds YCbCr")
    assert "description" in info.notes[1]


def test_the_range_of_ycbcr_is_applied():
    """FFmpeg writes the limited range, and says so in ReferenceBlackWhite."""
    y, x = np.mgrid[:16, :24]
    pixels = np.dstack([40 + 8 * x, 30 + 12 * y, 200 - 5 * x]).astype(np.uint8)
    encoder = av.CodecContext.create("tiff", "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 24, 16, "yuv444p", Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv444p")
    info, got = read(b"".join(map(bytes, [*encoder.encode(frame), *encoder.encode(None)])))
    assert np.abs(got.astype(int) - pixels).max() <= 4
    assert info.notes == ()


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "packbits", "tiff_deflate"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "I;16", "F"])
def test_what_pillow_writes(mode, compression):
    y, x = np.mgrid[:40, :61]
    picture = {
        "LA": lambda: Image.fromarray(np.dstack([PIXELS, PIXELS[::-1]]), "LA"),
        "RGBA": lambda: Image.fromarray(np.dstack([COLOURED, PIXELS])),
        "P": lambda: Image.fromarray(COLOURED).quantize(60),
        "I;16": lambda: Image.fromarray(PIXELS.astype(np.uint16) * 200),
        "F": lambda: Image.fromarray(PIXELS.astype(np.float32) / 7),
    }.get(mode, lambda: Image.fromarray(COLOURED).convert(mode))()
    assert picture.mode == mode
    info, got = read(saved(picture, compression=compression, dpi=(300, 150)), 9)
    expected = picture.convert({"1": "L", "P": "RGB"}.get(mode, mode))
    assert np.array_equal(got, np.asarray(expected))
    assert dpi_of(info) == (300, 150)
    assert info.colour is {"RGBA": RGBA, "LA": GREY_ALPHA, "CMYK": CMYK, "RGB": RGB, "P": RGB}.get(mode, GREY)


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_fax(compression):
    picture = Image.fromarray(PIXELS > 100)
    _, got = read(saved(picture, compression=compression), 9)
    assert np.array_equal(got, np.asarray(picture.convert("L")))


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_inside_is_rgb_again(subsampling):
    data = made(
        COLOURED,
        photometric="rgb",
        compression="jpeg",
        compressionargs={"level": 90, "subsampling": subsampling},
    )
    info, got = read(data, 9)
    assert info.colour is RGB
    assert np.array_equal(got, tifffile.imread(io.BytesIO(data)))


def test_white_is_zero_is_inverted():
    for dtype in ("uint8", "uint16"):
        pixels = PIXELS.astype(dtype)
        _, got = read(made(pixels, photometric="miniswhite"))
        assert np.array_equal(got, np.iinfo(dtype).max - pixels)
    bits = PIXELS > 100
    _, got = read(made(bits, photometric="miniswhite"))
    assert np.array_equal(got, np.where(bits, 0, 255))


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_numbers_of_which_zero_is_white_are_kept_and_said(dtype):
    info, got = read(made(PIXELS.astype(dtype), photometric="miniswhite", metadata=None))
    assert np.array_equal(got, PIXELS)
    assert info.notes == (f"white is zero in this TIFF, and its {dtype} numbers are kept as they are",)


def test_few_bits_are_spread_over_eight_and_twelve_stay_numbers():
    for bits, factor in ((2, 85), (4, 17)):
        pixels = PIXELS % 2**bits
        _, got = read(made(pixels, bitspersample=bits))
        assert np.array_equal(got, pixels * factor)
    pixels = (PIXELS.astype(np.uint16) * 16)[:, :60]
    info, got = read(made(pixels, bitspersample=12))
    assert np.array_equal(got, pixels)
    assert "12 bits" in info.notes[0]


def test_premultiplied_alpha_is_divided_out():
    stored = np.array([[[50, 100, 25, 128], [9, 9, 9, 0], [200, 100, 0, 255]]], np.uint8)
    info, got = read(made(stored, photometric="rgb", extrasamples=["assocalpha"]))
    assert got.tolist() == [[[100, 199, 50, 128], [0, 0, 0, 0], [200, 100, 0, 255]]]
    assert (info.colour, "premultiplied" in info.notes[0]) == (RGBA, True)
    assert tiff_look.straight(np.array([[[0.5, 0.25]]], np.float32)).tolist() == [[[2.0, 0.25]]]


def test_channels_of_no_stated_meaning():
    info, got = read(made(np.dstack([COLOURED, PIXELS]), photometric="rgb", extrasamples=["unspecified"]))
    assert (info.colour, np.array_equal(got, COLOURED), "1 extra" in info.notes[0]) == (RGB, True, True)
    many = RNG.integers(0, 9, (6, 7, 5), np.uint8)
    info, got = read(made(many, photometric="minisblack", planarconfig="contig"))
    assert (info.colour, info.letters, np.array_equal(got, many)) == (Colour.NONE, "YXC", True)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(orientation):
    data = saved(Image.fromarray(COLOURED), tiffinfo={274: orientation}, dpi=(300, 150))
    info, got = read(data, 11)
    assert np.array_equal(got, np.asarray(Image.open(io.BytesIO(data))))  # Pillow turns TIFFs on loading
    assert dpi_of(info) == ((150, 300) if orientation > 4 else (300, 150))


@pytest.mark.parametrize(
    "storage",
    [
        {},
        {"metadata": None},
        {"imagej": True, "metadata": {"axes": "ZYX"}},
        {"truncate": True},
        {"ome": True, "metadata": {"axes": "ZYX"}},
        {"compression": "zlib"},
        {"tile": (16, 16)},
    ],
    ids=str,
)
def test_pages_are_a_stack(storage):
    info, got = read(made(STACK, **storage), 2)
    assert (info.letters, info.notes) == ("ZYX", ())
    assert np.array_equal(got, STACK)
    assert read(made(STACK, **storage), axes="TYX")[0].letters == "TYX"


@pytest.mark.parametrize("pages", [2, 5])
def test_each_page_has_its_own_palette(pages):
    rng = np.random.default_rng(pages)
    pictures = []
    for _ in range(pages):
        picture = Image.fromarray(rng.integers(0, 256, (6, 7), dtype=np.uint8), "P")
        picture.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
        pictures.append(picture)
    data = saved(pictures[0], save_all=True, append_images=pictures[1:])
    _, got = read(data, 2)
    np.testing.assert_array_equal(got, np.stack([np.asarray(picture.convert("RGB")) for picture in pictures]))


def test_each_page_has_its_own_orientation():
    pixels = np.random.default_rng(1).integers(0, 256, (4, 5, 7), dtype=np.uint8)
    orientations = (1, 3, 2, 4)
    fp = io.BytesIO()
    with tifffile.TiffWriter(fp) as tif:
        for page, orientation in zip(pixels, orientations, strict=True):
            tif.write(page, extratags=[(274, "H", 1, orientation, True)], metadata=None, contiguous=False)
    turned = [pixels[0], pixels[1, ::-1, ::-1], pixels[2, :, ::-1], pixels[3, ::-1]]
    np.testing.assert_array_equal(read(fp.getvalue())[1], np.stack(turned))
    fp = io.BytesIO()
    with tifffile.TiffWriter(fp) as tif:
        for page, orientation in zip(pixels, (1, 6, 1, 1), strict=True):
            tif.write(page, extratags=[(274, "H", 1, orientation, True)], metadata=None, contiguous=False)
    info, got = read(fp.getvalue())
    np.testing.assert_array_equal(got, pixels[[0, 2, 3]])
    assert info.notes == ("left out of the TIFF: pictures of other size or kind (1)",)


def test_a_palette_may_have_alpha_beside_it():
    rng = np.random.default_rng(3)
    picture = Image.fromarray(rng.integers(0, 256, (5, 6), dtype=np.uint8), "P")
    picture.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
    picture = picture.convert("PA")
    picture.putalpha(Image.fromarray(rng.integers(0, 256, (5, 6), dtype=np.uint8)))
    info, got = read(saved(picture))
    assert (info.colour, info.notes) == (Colour.RGBA, ())
    np.testing.assert_array_equal(got, np.asarray(picture.convert("RGBA")))
    straight = struct.pack("<HHIHH", 338, 3, 1, 2, 0)  # the tag ExtraSamples, and another value of it
    (note,) = read(saved(picture).replace(straight, straight[:8] + b"\1" + straight[9:]))[0].notes
    assert note.endswith("premultiplied by alpha; they are read divided by it")


def test_pages_that_are_called_time_stay_time():
    assert read(made(STACK, metadata={"axes": "TYX"}))[0].letters == "TYX"


def test_pages_of_another_size_are_left_out_with_a_note():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tif:
        tif.write(PIXELS)
        tif.write(PIXELS[::2, ::2], subfiletype=1)
    info, got = read(file.getvalue())
    assert np.array_equal(got, PIXELS)
    assert info.notes == ("left out of the TIFF: reduced copies or masks (1)",)


def test_what_a_mask_hides_is_said_to_be_data():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tif:
        tif.write(PIXELS)
        tif.write(PIXELS[..., :1].squeeze(-1) > 99 if PIXELS.ndim == 3 else PIXELS > 99, subfiletype=4)
    said = "what a mask in the TIFF hides is filtered as data: --mask FILE takes it for missing"
    assert said in read(file.getvalue())[0].notes


def test_a_reduced_copy_before_the_picture_is_not_taken():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tif:
        tif.write(PIXELS[::2, ::2], subfiletype=1)
        tif.write(PIXELS)
        tif.write(COLOURED)
    info, got = read(file.getvalue())
    assert np.array_equal(got, PIXELS)
    left = "reduced copies or masks (1), pictures of other size or kind (1)"
    assert info.notes == (f"left out of the TIFF: {left}",)


@pytest.mark.parametrize("pages", [3, 9])  # tifffile looks at few of many pages
def test_masks_are_no_pages(pages):
    file, shown = io.BytesIO(), [index < PIXELS // 20 for index in range(pages)]
    with tifffile.TiffWriter(file) as tif:
        for picture in shown:
            alike = {"photometric": "minisblack", "metadata": None, "contiguous": False}
            tif.write(picture, **alike)
            tif.write(~picture, subfiletype=2, **alike)
    kinds = [struct.pack("<HHII", 254, 4, 1, kind) for kind in (2, 4)]  # tifffile makes masks no grey
    info, got = read(file.getvalue().replace(*kinds), 2)
    assert np.array_equal(got, np.stack(shown) * 255)
    assert info.notes == (f"left out of the TIFF: reduced copies or masks ({pages})",)


def test_a_picture_whose_copies_are_in_subdirectories():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tif:
        tif.write(PIXELS, subifds=2, tile=(16, 16))
        for step in (2, 4):
            tif.write(PIXELS[::step, ::step], subfiletype=1, tile=(16, 16))
    info, got = read(file.getvalue())
    assert np.array_equal(got, PIXELS)
    assert info.notes == ("left out of the TIFF: reduced copies or masks (2)",)


def test_pages_of_other_resolutions_are_said():
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as tif:
        for dpi in (100, 200):
            tif.write(PIXELS, resolution=(dpi, dpi), resolutionunit=2, metadata=None, contiguous=False)
    info, _ = read(file.getvalue())
    assert dpi_of(info) == (100, 100)
    assert info.notes == (
        "the pages of the TIFF differ in profile or resolution: those of the first are kept",
    )


@pytest.mark.parametrize(
    "palette", [None, RNG.integers(0, 2**16, (3, 256), np.uint16)], ids=["grey", "palette"]
)
def test_a_hyperstack_has_its_axes_unless_colours_are_another_channel(palette):
    pixels = RNG.integers(0, 9, (2, 3, 4, 20, 30), np.uint8)
    info, got = read(made(pixels, imagej=True, colormap=palette))
    if palette is None:
        assert (info.letters, info.shape, info.notes) == ("TZCYX", (2, 3, 4, 20, 30), ())
        assert np.array_equal(got, pixels)
    else:
        assert (info.letters, info.shape) == ("ZYXC", (24, 20, 30, 3))
        assert np.array_equal(got, (palette >> 8).T[pixels.reshape(24, 20, 30)])
        assert "metadata of the TIFF are not used" in info.notes[0]
        assert "(T 2, Z 3, C 4)" in info.notes[-1]


def test_profile_and_resolution():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    info, _ = read(saved(Image.fromarray(COLOURED), icc_profile=icc))
    assert info.metadata == Metadata(icc=icc)
    info, _ = read(made(PIXELS, resolution=(40, 20), resolutionunit="CENTIMETER"))
    assert dpi_of(info) == (Fraction("101.6"), Fraction("50.8"))


def test_companion_files_are_not_opened(tmp_path):
    tifffile.imwrite(tmp_path / "secret.tif", STACK[:1] + 1)
    plane = '<TiffData IFD="0" FirstZ="{}"><UUID FileName="{}">urn:uuid:{}</UUID></TiffData>'
    ids = [f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2)]
    planes = plane.format(0, "a.ome.tif", ids[0]) + plane.format(1, "secret.tif", ids[1])
    description = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        f'UUID="urn:uuid:{ids[0]}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        'Type="uint16" SizeX="30" SizeY="20" SizeZ="2" SizeC="1" SizeT="1">'
        f'<Channel ID="Channel:0" SamplesPerPixel="1"/>{planes}</Pixels></Image></OME>'
    )
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK[0], description=description, metadata=None)
    assert tifffile.imread(tmp_path / "a.ome.tif").shape == (2, 20, 30)  # the secret is there to be found
    with (tmp_path / "a.ome.tif").open("rb") as file:
        source = tiff.source(file, ReadOptions())
        assert (source.info.letters, source.info.shape) == ("YX", (20, 30))
        assert "not used: they tell of 2 planes, the file has 1" in source.info.notes[0]
        assert np.array_equal(source.strip(0, 20), STACK[0])


EIGHT = b"II*\0\x08\0\0\0"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a TIFF file: it is empty"),
        (b"hello there, a text", "not a TIFF file: it begins with b'hello th'"),
        (b"II\x99\0\x08\0\0\0", "not a TIFF file"),
        (EIGHT, "it holds no picture"),
        (b"II*\0\0\0\0\0", "it holds no picture"),
        (EIGHT + bytes(6), "has no pixels"),
        (made(COLOURED)[:-100], "truncated TIFF: its pixels end at byte"),
        (made(COLOURED, compression="zlib")[:-50], "truncated TIFF: its pixels end at byte"),
        (made(STACK)[: -STACK.nbytes // 2], "truncated"),
        (made(COLOURED, photometric="cielab"), "a TIFF of CIELAB cannot be filtered"),
        (made(np.ones((4, 5), np.complex64)), "a TIFF of complex64"),
    ],
)
def test_broken_files_give_one_line(data, words, capfd):
    with pytest.raises(ConvError) as caught:
        read(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_broken_strip_gives_one_line():
    data = bytearray(made(COLOURED, compression="zlib"))
    at = tifffile.TiffFile(io.BytesIO(data)).pages[0].dataoffsets[0]
    data[at + 2 : at + 30] = bytes(28)
    with pytest.raises(ConvError, match="broken or truncated TIFF"):
        read(bytes(data))


def test_a_strip_that_must_be_decoded_whole_has_a_limit():
    data = made(PIXELS, compression="zlib", rowsperstrip=53)
    with pytest.raises(ConvError, match=r"TIFF's tile or strip of 70 x 53 pixels .* --max-pixels 1"):
        read(data, max_pixels=3000)
    assert read(made(PIXELS), max_pixels=3000)[1].shape == PIXELS.shape  # streamed: no limit
    with pytest.raises(ConvError, match="--max-pixels"):
        read(saved(Image.fromarray(PIXELS), tiffinfo={274: 6}), max_pixels=3000)


def test_palettes_of_eight_bits_by_careless_writers():
    palette = RNG.integers(0, 256, (3, 256), np.uint8)
    for factor in (1, 256, 257):
        stored = palette.astype(np.uint16) * factor
        info, got = read(made(PIXELS, photometric="palette", colormap=stored))
        assert np.array_equal(got, palette.T[PIXELS]) and not info.notes


def test_a_palette_of_sixteen_bits_is_said_to_be_rounded():
    palette = RNG.integers(0, 2**16, (3, 256), np.uint16)
    info, got = read(made(PIXELS, photometric="palette", colormap=palette))
    assert np.array_equal(got, (palette >> 8).T[PIXELS])
    assert info.notes == ("the palette's colours of 16 bits are read as 8 bits",)


def test_tifffile_does_not_speak():
    read(made(PIXELS))
    assert any(isinstance(one, logging.NullHandler) for one in logging.getLogger("tifffile").handlers)


@pytest.mark.parametrize("axes", ["YXC", "TZYX", "XY", "CYX"])
def test_axes_that_do_not_fit(axes):
    with pytest.raises(UsageError, match="--axes"):
        read(made(STACK), axes=axes)


# Writing


@pytest.mark.parametrize("dtype", [*DTYPES, "int64", "uint64"])
@pytest.mark.parametrize(
    ("axes", "shape", "colour"),
    [
        ("YX", (41, 30), GREY),
        ("YXC", (41, 30, 2), GREY_ALPHA),
        ("YXC", (41, 30, 3), RGB),
        ("YXC", (41, 30, 4), RGBA),
        ("YXC", (41, 30, 4), CMYK),
        ("YXC", (41, 30, 5), Colour.NONE),
        ("ZYX", (6, 41, 30), GREY),
        ("ZYX", (3, 4, 3), GREY),
        ("TYXC", (6, 11, 13, 3), RGB),
        ("MYX", (6, 41, 30), GREY),
        ("MTYX", (2, 3, 11, 13), GREY),
    ],
)
def test_others_read_what_was_written(axes, shape, colour, dtype):
    pixels = (RNG.random(shape) * 100).astype(dtype)
    data, notes = write(pixels, axes, colour)
    assert notes == ()
    with tifffile.TiffFile(io.BytesIO(data)) as tif:
        assert np.array_equal(np.stack([page.asarray() for page in tif.pages]).reshape(shape), pixels)
    info, got = read(data)
    assert info.colour is colour
    assert np.array_equal(got.reshape(shape), pixels)
    if dtype == "uint8" and colour is not Colour.NONE:
        with Image.open(io.BytesIO(data)) as image:
            pages = pixels.reshape(-1, *shape[axes.index("Y") :])
            assert image.n_frames == len(pages)
            image.seek(len(pages) - 1)
            assert np.array_equal(np.asarray(image), pages[-1])


def test_strips_are_small_enough_to_stream():
    pixels = RNG.integers(0, 256, (3000, 500), np.uint8)
    with tifffile.TiffFile(io.BytesIO(write(pixels, "YX", GREY, step=700)[0])) as tif:
        page = tif.pages[0]
        assert page.rowsperstrip * 500 <= tiff.STRIP
        assert np.array_equal(page.asarray(), pixels)


def test_bigtiff_where_four_gigabytes_do_not_suffice(monkeypatch):
    assert write(PIXELS, "YX")[0][2] == 42
    monkeypatch.setattr(tiff, "BIG", PIXELS.nbytes - 1)
    data, _ = write(PIXELS, "YX")
    assert data[2] == 43
    assert np.array_equal(tifffile.imread(io.BytesIO(data)), PIXELS)


def test_metadata_travels_and_losses_are_said():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data, notes = write(COLOURED, "YXC", RGB, Metadata(icc=icc), dpi=(300, Fraction("150.5")))
    image = Image.open(io.BytesIO(data))
    assert (image.info["icc_profile"], image.info["dpi"], notes) == (icc, (300, 150.5), ())
    info = read(data)[0]
    assert (info.metadata, dpi_of(info)) == (Metadata(icc=icc), (300, 150.5))
    data, notes = write(PIXELS, "YX", GREY, Metadata(icc=icc, exif=b"II*\0"))
    assert ["profile" in notes[0], "EXIF" in notes[1]] == [True, True]
    assert "icc_profile" not in Image.open(io.BytesIO(data)).info


@pytest.mark.parametrize("axes", ["X", "XC", "CYX"[::-1], "XY"])
def test_axes_that_are_no_picture_are_refused(axes):
    with pytest.raises(UsageError, match=f"not the axes {axes}"):
        tiff.sink(io.BytesIO(), "tiff", Info.of(axes, (4,) * len(axes), "uint8"), WriteOptions())


def test_a_file_that_lacks_rows_is_not_finished():
    sink = tiff.sink(io.BytesIO(), "tiff", Info.of("YX", (4, 5), "uint8", GREY), WriteOptions())
    sink.write(((0, 3), (0, 5)), np.zeros((3, 5), np.uint8))
    with pytest.raises(ConvError, match="5 of 20 samples are missing"):
        sink.close()


def test_fill_bytes_before_the_markers_of_a_strip() -> None:
    """ITU-T T.81, B.1.1.2: any marker may be preceded by any number of them."""
    file = io.BytesIO()
    Image.new("L", (7, 5), 90).save(file, "JPEG")
    data = file.getvalue()
    at = data.index(b"\xff\xc0")
    assert stated_size(data[:at] + b"\xff\xff" + data[at:]) == (7, 5)
    assert stated_size(data[:at] + data[at + 40 :]) is None


def test_a_closed_file_keeps_no_pixels() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, np.arange(4000, dtype=np.uint16).reshape(50, 80), compression="zlib")
    file.seek(0)
    source = tiff.source(file, ReadOptions())
    source.strip(0, 50)
    (piece,) = source._segments([0], source._decode)
    kept = weakref.ref(piece)
    del piece
    source.close()
    assert kept() is None


def test_blank_pages_of_a_fax_are_read(tmp_path: Path) -> None:
    """Group 4 stores an even row in one bit: 5.8 MB of bits in some kilobytes."""
    page = Image.new("1", (3307, 4677), 1)
    page.save(tmp_path / "fax.tif", compression="group4", save_all=True, append_images=[page, page])
    with (tmp_path / "fax.tif").open("rb") as fp, closing(tiff.source(fp, ReadOptions())) as source:
        assert source.info.shape == (3, 4677, 3307)
        assert (source.strip(1, 2) == 255).all()


@pytest.mark.parametrize(
    "value", [("s", "a text"), ("H", (1, 2, 3)), ("d", (0.5,))], ids=lambda value: value[0]
)
def test_a_profile_that_is_no_profile(value):
    kind, profile = value
    file = io.BytesIO()
    count = 0 if kind == "s" else len(profile)
    tifffile.imwrite(file, np.eye(8, dtype=np.uint8), extratags=[(34675, kind, count, profile, True)])
    file.seek(0)
    with closing(tiff.source(file, ReadOptions())) as source:
        assert source.info.metadata.icc is None
        np.testing.assert_array_equal(source.strip(0, 8), np.eye(8))


@pytest.mark.parametrize(
    ("form", "packing"),
    [
        ({"byteorder": ">"}, ""),
        ({"bigtiff": True}, ""),
        ({"bigtiff": True, "byteorder": ">", "tile": (16, 32)}, "tiles of 32x16"),
        ({"compression": "zlib", "predictor": 2}, "deflate, predictor 2"),
        ({"compression": "lzw", "tile": (16, 16)}, "lzw, tiles of 16x16"),
        ({"planarconfig": "separate"}, "separate planes"),
    ],
)
def test_how_a_file_is_stored_is_kept_or_said(form, packing, tmp_path):
    pixels = RNG.integers(0, 60_000, (50, 70, 3), np.uint16)
    stored = pixels if "planarconfig" not in form else np.moveaxis(pixels, -1, 0).copy()
    (tmp_path / "a.tif").write_bytes(made(stored, photometric="rgb", **form))
    done = convcli("filter", "a.tif", "-k", "box:3", "-o", "b.tif", cwd=tmp_path)
    assert done.stderr.decode() == f"note: left out: {packing} (TIFF is written in plain strips)\n" * bool(
        packing
    )
    with tifffile.TiffFile(tmp_path / "b.tif") as file:
        assert (file.byteorder, file.is_bigtiff) == (form.get("byteorder", "<"), "bigtiff" in form)
        expected = np.rint(ndimage.uniform_filter(pixels.astype(float), (3, 3, 1), mode="nearest"))
        assert np.array_equal(file.asarray(), expected)
