"""JPEG, WebP, BMP and GIF: what goes in comes out, and what a format cannot hold is said."""

from __future__ import annotations

import io
import struct
from fractions import Fraction
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps, JpegImagePlugin

from convcli.common.errors import ConvError, UsageError
from convcli.data.axes import Axis, Listed
from convcli.data.info import Colour, Info, Metadata
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures import image
from convcli.media.shared import take_orientation, with_dpi
from convcli.media.timing import Clip, schedule
from tests.shell import convcli

GREY, GREY_ALPHA, RGB, RGBA, CMYK = list(Colour)[1:]


def smooth(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    planes = [
        (np.sin(x / (9 + c)) + np.cos((y * (c + 1) + x + 5 * seed) / 17) + 2) / 4 for c in range(channels)
    ]
    noise = np.random.default_rng(seed).normal(0, 1, (height, width, channels))
    pixels = np.clip(np.stack(planes, -1) * 255 + noise, 0, 255).astype(np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


COLOUR = smooth(30, 43)
MOVING = np.stack([smooth(14, 19, seed=seed) // 32 * 32 for seed in range(5)])  # few colours: GIF is exact
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def save(picture: Image.Image | np.ndarray, format: str, **settings) -> bytes:
    file = io.BytesIO()
    picture = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    picture.save(file, format, **settings)
    return file.getvalue()


def read(data: bytes, **options) -> tuple[Info, np.ndarray]:
    source = image.source(io.BytesIO(data), ReadOptions(**options))
    pixels = source.strip(0, source.info.length)
    assert (pixels.shape, pixels.dtype.name) == (source.info.shape, source.info.dtype)
    source.close()
    return source.info, pixels


def write(pixels, format, colour, *, axes=None, quality=None, metadata=None, times=None, dpi=None):
    file = io.BytesIO()
    info = Info.of(
        axes or "YXC"[: pixels.ndim],
        pixels.shape,
        pixels.dtype.name,
        colour,
        metadata or Metadata(),
    ).placed(T=times)
    info = with_dpi(info, dpi and tuple(map(Fraction, dpi)))
    sink = image.sink(file, format, info, WriteOptions(quality=quality))
    for start in range(0, len(pixels), 7):
        sink.write(info.strip(start, start + len(pixels[start : start + 7])), pixels[start : start + 7])
    sink.close()
    return file.getvalue(), sink.notes


# Reading


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": "4:2:0"}])
def test_jpeg_pixels_are_those_of_pillow(mode, settings):
    data = save(Image.fromarray(COLOUR).convert(mode), "JPEG", **settings)
    info, pixels = read(data)
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert info.colour is {"L": GREY, "RGB": RGB, "CMYK": CMYK}[mode]


@pytest.mark.parametrize(
    ("data", "colour", "pixels"),
    [
        (save(Image.fromarray(COLOUR[..., 0] > 99), "BMP"), GREY, np.where(COLOUR[..., 0] > 99, 255, 0)),
        (save(COLOUR, "BMP"), RGB, COLOUR),
        (save(COLOUR, "WEBP", lossless=True), RGB, COLOUR),
        (save(smooth(9, 8, 4), "WEBP", lossless=True, exact=True), RGBA, smooth(9, 8, 4)),
        (save(COLOUR[..., 1], "GIF", optimize=False), GREY, COLOUR[..., 1]),
        (save(Image.fromarray(COLOUR // 64 * 64).quantize(64), "GIF"), RGB, COLOUR // 64 * 64),
    ],
    ids=["bmp-1", "bmp", "webp", "webp-alpha", "gif-grey", "gif-palette"],
)
def test_other_formats_are_expanded(data, colour, pixels):
    info, got = read(data)
    assert (info.colour, info.shape) == (colour, pixels.shape)
    assert np.array_equal(got, pixels)


def test_the_transparent_colour_of_a_gif_becomes_alpha():
    paletted = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), "P")
    paletted.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    info, pixels = read(save(paletted, "GIF", transparency=1))
    assert info.colour is RGBA
    assert pixels[0].tolist() == [[10, 20, 30, 255], [40, 50, 60, 0], [70, 80, 90, 255]]


def test_a_transparent_grey_of_a_gif_becomes_alpha():
    grey = np.arange(256, dtype=np.uint8).reshape(8, 32)
    info, pixels = read(save(grey, "GIF", transparency=7, optimize=False))
    assert info.colour is GREY_ALPHA
    assert np.array_equal(pixels[..., 0], grey)
    assert np.array_equal(pixels[..., 1], np.where(grey == 7, 0, 255))


def test_warnings_of_pillow_stay_inside():
    broken = save(
        COLOUR, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x02\0" + b"\x0f\x01\x02\0\xff\xff\0\0\xff\xff\0\0"
    )
    with pytest.warns(UserWarning):
        Image.open(io.BytesIO(broken)).getexif()
    assert read(broken)[1].shape == COLOUR.shape


@pytest.mark.parametrize("format", ["JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_taken_out(format, orientation):
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "Maker"
    data = save(COLOUR, format, exif=exif, icc_profile=ICC)
    info, pixels = read(data)
    assert np.array_equal(pixels, np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data)))))
    kept = Image.Exif()
    kept.load(info.metadata.exif)
    assert dict(kept) == {0x010F: "Maker"}
    assert info.metadata.icc == ICC


@pytest.mark.parametrize("order", "<>")
def test_exif_without_its_orientation_keeps_every_other_byte(order):
    # Two entries in the first directory, a text behind it, and a second directory: their offsets still hold.
    head = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 8)
    maker = struct.pack(order + "HHII", 0x010F, 2, 6, 50)
    turned = struct.pack(order + "HHIHH", 0x0112, 3, 1, 6, 0)
    later = b"Maker\0" + struct.pack(order + "H", 0)
    exif = head + struct.pack(order + "H", 2) + maker + turned + struct.pack(order + "I", 56)
    exif += bytes(50 - len(exif)) + later
    orientation, rest = take_orientation(exif)
    assert orientation == 6
    assert rest is not None
    assert rest[10 : 10 + 16] == maker + struct.pack(order + "I", 56)
    assert (len(rest), rest[38:]) == (len(exif), exif[38:])
    kept = Image.Exif()
    kept.load(rest)
    assert dict(kept) == {0x010F: "Maker"}
    assert take_orientation(rest) == (1, rest)
    alone = head + struct.pack(order + "H", 1) + turned + bytes(4)
    assert take_orientation(alone) == (6, None)


@pytest.mark.parametrize("broken", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"nothing of the kind"])
def test_broken_exif_is_carried_as_it_is(broken):
    assert take_orientation(broken) == (1, broken)


JPEG, GIF, WEBP, BMP = (save(COLOUR, format) for format in ("JPEG", "GIF", "WEBP", "BMP"))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a JPEG or WEBP or BMP or GIF picture: it is empty"),
        (b"hello, I am a text\n", "not a JPEG or WEBP or BMP or GIF picture: it begins with b'hello"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a JPEG"),
        (JPEG[:-2], "broken or truncated JPEG"),
        (JPEG[: len(JPEG) // 2], "broken or truncated JPEG"),
        (JPEG[:30], "broken or truncated JPEG"),
        (GIF[: len(GIF) // 2], "broken or truncated GIF"),
        (GIF[:8], "broken or truncated GIF"),
        (WEBP[: len(WEBP) // 2], "broken or truncated WebP"),
        (BMP[: len(BMP) // 2], "broken or truncated BMP"),
    ],
)
def test_broken_files_give_one_line(data, words):
    with pytest.raises(ConvError) as caught:
        read(data)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_limit_is_checked_in_the_header():
    huge = bytearray(GIF)
    huge[6:10] = struct.pack("<HH", 60000, 60000)
    with pytest.raises(ConvError, match=r"60000 x 60000 .* --max-pixels 3600"):
        read(bytes(huge))
    with pytest.raises(ConvError, match="max-pixels"):
        read(JPEG, max_pixels=30 * 43 - 1)


def test_a_frame_that_makes_the_picture_grow_is_stopped():
    frames = [Image.fromarray(frame) for frame in MOVING]
    data = bytearray(save(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    second = data.index(b"\x2c", data.index(b"\x2c") + 200)
    while data[second + 1 : second + 9] != struct.pack("<4H", 0, 0, 19, 14):
        second = data.index(b"\x2c", second + 1)
    data[second + 5 : second + 9] = struct.pack("<2H", 60000, 60000)
    with pytest.raises(ConvError, match="frame 2 is larger than the picture"):
        read(bytes(data), all_frames=True)
    data[second + 1 : second + 9] = struct.pack("<4H", 1, 0, 19, 14)  # one column is outside
    info, moved = read(bytes(data), all_frames=True)
    assert moved.shape == MOVING.shape and info.notes == (
        "left out of the GIF: what lies outside of the picture",
    )


# Writing


@pytest.mark.parametrize(
    ("format", "colour", "channels"),
    [("bmp", GREY, 1), ("bmp", RGB, 3), ("gif", GREY, 1), ("webp", RGB, 3), ("webp", RGBA, 4)],
)
def test_lossless_formats_keep_every_pixel(format, colour, channels):
    pixels = smooth(20, 33, channels)
    if colour is RGBA:
        pixels[5:9, 3:20, 3] = 0  # colours stay even where they cannot be seen
    data, notes = write(pixels, format, colour)
    assert notes == ()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_few_colours_in_a_gif_are_exact():
    pixels = np.array([[1, 2, 3], [9, 250, 7], [0, 0, 0], [255, 254, 255]], np.uint8)[COLOUR[..., 0] // 64]
    data, notes = write(pixels, "gif", RGB)
    assert notes == ()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), pixels)
    alpha = np.where(COLOUR[..., 1:2] > 99, 255, 0).astype(np.uint8)
    data, notes = write(np.dstack([pixels, alpha]), "gif", RGBA)
    assert notes == ()
    got = np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))
    assert np.array_equal(got[..., 3:], alpha)
    assert np.array_equal(got[..., :3][alpha[..., 0] > 0], pixels[alpha[..., 0] > 0])


@pytest.mark.parametrize(("quality", "sampling"), [(None, 0), (95, 0), (94, 2), (40, 2)])
def test_jpeg_quality_and_chroma(quality, sampling):
    data, _ = write(COLOUR, "jpeg", RGB, quality=quality)
    with Image.open(io.BytesIO(data)) as written:
        assert JpegImagePlugin.get_sampling(written) == sampling
        expected = save(COLOUR, "JPEG", quality=quality or 95, subsampling=sampling)
        assert np.array_equal(np.asarray(written), np.asarray(Image.open(io.BytesIO(expected))))


LONG = ICC + bytes(range(256)) * 600  # takes several segments


@pytest.mark.parametrize(
    ("channels", "profile"), [(1, None), (3, None), (3, ICC), (3, LONG)], ids=["grey", "rgb", "icc", "long"]
)
@pytest.mark.parametrize(
    ("quality", "sampling"), [(None, "4:4:4"), (94, "4:2:0"), (1, "4:2:0"), (100, "4:4:4")]
)
def test_a_jpeg_is_byte_for_byte_that_of_pillow(channels, profile, quality, sampling):
    pixels = smooth(61, 83, channels)
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    metadata = Metadata(profile, exif.tobytes().removeprefix(b"Exif\0\0") if profile else None)
    colour = RGB if channels == 3 else GREY
    data, notes = write(pixels, "jpeg", colour, quality=quality, metadata=metadata, dpi=(300, 150))
    more = {"icc_profile": profile, "exif": exif.tobytes()} if profile else {}
    if channels == 3:
        more["subsampling"] = sampling
    expected = save(pixels, "JPEG", quality=quality or 95, dpi=(300, 150), **more)
    assert notes == ()
    assert data == expected


def test_cmyk_stays_cmyk_and_is_not_inverted():
    pixels = smooth(24, 32, 4)
    data, notes = write(pixels, "jpeg", CMYK, quality=100)
    written = Image.open(io.BytesIO(data))
    assert (written.mode, notes) == ("CMYK", ())
    assert np.abs(np.asarray(written).astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("format", ["jpeg", "bmp", "webp", "gif"])
def test_sixteen_bits_are_rounded_with_a_note(format):
    pixels = np.array([[0, 128, 129, 257, 385, 386, 65406, 65407, 65535]], np.uint16)
    data, notes = write(pixels, format, GREY, quality=100 if format == "jpeg" else None)
    assert len(notes) == 1
    assert "rounded to 8" in notes[0]
    got = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    if format != "jpeg":
        assert got.tolist() == [np.rint(pixels[0] / 257).astype(int).tolist()]


@pytest.mark.parametrize("format", ["jpeg", "bmp"])
@pytest.mark.parametrize(("colour", "channels"), [(GREY_ALPHA, 2), (RGBA, 4)])
def test_alpha_is_left_out_with_a_note(format, colour, channels):
    pixels = smooth(16, 24, channels)
    data, notes = write(pixels, format, colour)
    assert ["alpha" in note for note in notes] == [True]
    written = np.asarray(Image.open(io.BytesIO(data))).astype(int)
    assert np.abs(written - pixels[..., : channels - 1].reshape(written.shape)).mean() < 3


def test_metadata_travels_and_losses_are_said():
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    metadata = Metadata(ICC, exif.tobytes().removeprefix(b"Exif\0\0"))
    for format in ("jpeg", "webp"):
        data, notes = write(COLOUR, format, RGB, metadata=metadata)
        written = Image.open(io.BytesIO(data))
        assert (notes, written.info["icc_profile"], written.getexif()[0x010F]) == ((), ICC, "Maker")
        info, _ = read(data)
        assert (info.metadata.icc, info.metadata.exif) == (metadata.icc, metadata.exif)
    for format in ("jpeg", "bmp"):
        data, _ = write(COLOUR, format, RGB, dpi=(300, 150))
        assert Image.open(io.BytesIO(data)).info["dpi"] == pytest.approx((300, 150), abs=0.02)
    for format in ("bmp", "gif"):
        _, notes = write(COLOUR // 200, format, RGB, metadata=metadata)
        assert [word in " ".join(notes) for word in ("profile", "EXIF")] == [True, True]
    _, notes = write(COLOUR, "jpeg", RGB, metadata=Metadata(exif=metadata.exif + bytes(65527)))
    assert "EXIF" in notes[0]


@pytest.mark.parametrize(
    ("format", "info", "words"),
    [
        ("webp", Info.of("YXC", (4, 5, 4), "uint8", CMYK), "WebP does not hold CMYK: write JPEG or TIFF"),
        ("jpeg", Info.of("YX", (4, 5), "float32", GREY), "JPEG holds whole numbers of 8 bits, not float32"),
        ("jpeg", Info.of("TYX", (3, 4, 5), "uint8", GREY), "JPEG holds one picture, not the axes TYX"),
        ("gif", Info.of("ZYX", (3, 4, 5), "uint8", GREY), "not the axes ZYX"),
        ("webp", Info.of("YX", (4, 16384), "uint8", GREY), "at most 16383 pixels a side, not 16384 x 4"),
        ("bmp", Info.of("YXC", (4, 5, 2), "uint8"), "does not hold 2 channels"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(format, info, words):
    with pytest.raises(UsageError) as caught:
        image.sink(io.BytesIO(), format, info, WriteOptions())
    assert words in str(caught.value)


def test_a_file_that_lacks_rows_is_not_finished():
    file = io.BytesIO()
    sink = image.sink(file, "bmp", Info.of("YX", (4, 5), "uint8", GREY), WriteOptions())
    sink.write(((0, 3), (0, 5)), np.zeros((3, 5), np.uint8))
    with pytest.raises(ConvError, match="5 of 20 samples are missing"):
        sink.close()
    assert file.getvalue() == b""


# Animations


@pytest.mark.parametrize("format", ["GIF", "WEBP"])
def test_frames_are_read_in_any_order(format):
    frames = [Image.fromarray(frame) for frame in MOVING]
    settings = {"lossless": True} if format == "WEBP" else {}
    durations = [50, 70, 90, 110, 130]
    data = save(
        frames[0], format, save_all=True, append_images=frames[1:], duration=durations, loop=3, **settings
    )
    info, first = read(data)
    assert np.array_equal(first[..., :3], MOVING[0])
    assert "5 frames" in info.notes[0]
    source = image.source(io.BytesIO(data), ReadOptions(all_frames=True))
    assert (source.info.letters, source.info.shape, source.info.colour) == ("TYXC", MOVING.shape, RGB)
    assert source.info.axis("T").positions == Listed((0, 50, 120, 210, 320), Fraction(1, 1000), "s", 450)
    assert source.info.companions == Clip(plays=4 if format == "GIF" else 3)  # GIF counts repeats
    for start, stop in ((0, 3), (1, 4), (3, 5), (0, 1)):
        assert np.array_equal(source.strip(start, stop), MOVING[start:stop])
    source.close()


@pytest.mark.parametrize("format", ["gif", "webp"])
def test_frames_are_written_with_their_durations(format):
    times = Listed((0, 50, 120, 210, 320), Fraction(1, 1000), "s", 450)
    data, notes = write(MOVING, format, RGB, axes="TYXC", times=times)
    assert notes == ()
    with Image.open(io.BytesIO(data)) as written:
        got = []
        for index, frame in enumerate(MOVING):
            written.seek(index)
            assert np.array_equal(np.asarray(written.convert("RGB")), frame)
            got.append(written.info["duration"])
        assert (got, written.info["loop"]) == ([50, 70, 90, 110, 130], 0)


def test_a_gif_says_that_colours_are_reduced():
    moving = np.stack([smooth(40, 50, seed=seed) for seed in range(2)])
    _, notes = write(moving, "gif", RGB, axes="TYXC")
    assert notes == ("the colours are reduced to 256 a frame: GIF holds no more",)


def test_grey_and_transparent_animations():
    grey = MOVING[..., 0]
    data, _ = write(grey, "gif", GREY, axes="TYX")
    info, pixels = read(data, all_frames=True)
    assert (info.letters, info.colour) == ("TYX", GREY)
    assert np.array_equal(pixels, grey)
    alpha = np.where(MOVING[..., :1] > 99, 255, 0).astype(np.uint8)
    data, _ = write(np.concatenate([MOVING, alpha], -1), "gif", RGBA, axes="TYXC")
    info, pixels = read(data, all_frames=True)
    assert info.colour is RGBA
    assert np.array_equal(pixels[..., 3:], alpha)


@pytest.mark.parametrize(
    ("start", "jump", "size", "durations"),
    [
        (0, 1, 5, [10, 20, 30, 40, 50]),
        (1, 1, 3, [20, 30, 40]),
        (0, 2, 3, [30, 70, 50]),  # the clock goes on while frames are skipped
        (-1, 1, 7, [30, 10, 20, 30, 40, 30, 30]),  # the usual step in the padding
        (2, 1, 1, [30]),
    ],
)
def test_durations_follow_the_frames(start, jump, size, durations):
    times = Listed((0, 10, 30, 60, 100), Fraction(1, 1000), "s", 150)
    shown = schedule(Axis("T", 5, times).along(Fraction(start), Fraction(jump), size))
    assert shown.delays(Fraction(1, 1000)) == durations


@pytest.mark.parametrize("all_frames", [False, True])
def test_a_gif_that_is_cut_off_anywhere_is_read_or_refused(all_frames: bool) -> None:
    """Pillow counts frames by walking through the file, and stumbles where a block's length is missing."""
    frames = [Image.new("L", (9, 7), shade) for shade in (10, 90)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    data = file.getvalue()
    refused = 0
    for end in range(20, len(data)):
        try:
            opened = image.source(io.BytesIO(data[:end]), ReadOptions(all_frames=all_frames))
            opened.strip(0, opened.info.length)
        except ConvError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 10


def test_a_jpeg_of_another_form_is_not_called_broken(tmp_path: Path) -> None:
    grey = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    for form, data in (
        ("JPEG of 12 bits", imagecodecs.jpeg_encode(grey, level=90, bitspersample=12)),
        ("lossless JPEG of 16 bits", imagecodecs.ljpeg_encode(grey)),
        ("JPEG-LS of 16 bits", imagecodecs.jpegls_encode(grey)),
    ):
        (tmp_path / "a.jpg").write_bytes(data)
        done = convcli("filter", tmp_path / "a.jpg", "-k", "box:3", "-o", tmp_path / "o.png")
        said = f"a {form} a sample, which is not read: convert it, e.g. to PNG or TIFF\n"
        assert (done.returncode, done.stderr.decode()) == (1, f"error: '{tmp_path / 'a.jpg'}': {said}")
