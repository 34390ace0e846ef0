"""Pictures that Pillow, imagecodecs or a few lines write: another library than the writer's reads them, to the bit."""

import io
import struct
from contextlib import closing
from pathlib import Path

import av
import imagecodecs
import numpy as np
import pytest
from PIL import Image

from convcli.cli.program import run
from convcli.data.info import Colour, Info
from convcli.media import registry
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures import jxl
from convcli.media.pictures.read_only import source

RANDOM = np.random.default_rng(3)
EIGHT = RANDOM.integers(0, 256, (13, 17, 4), dtype=np.uint8)
DEEP = RANDOM.integers(0, 65536, (13, 17, 4), dtype=np.uint16)
DEEP[0, 0] = 65535
COLOURS = {1: Colour.GREY, 2: Colour.GREY_ALPHA, 3: Colour.RGB, 4: Colour.RGBA}


def written(name: str, pixels: np.ndarray, quality: int | None = None) -> tuple[bytes, tuple[str, ...]]:
    file = io.BytesIO()
    info = Info.of("YXC"[: pixels.ndim], pixels.shape, pixels.dtype.name, COLOURS[pixels.size // (13 * 17)])
    sink = registry.open_sink(file, registry.by_name(name), info, WriteOptions(quality=quality))
    boxes = [((0, 6), (0, 17)), ((6, 13), (0, 17))]
    for (start, stop), columns in reversed(boxes) if sink.grain.any_order else boxes:
        sink.write(((start, stop), columns), pixels[start:stop])
    sink.close()
    return file.getvalue(), sink.notes


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def by_ffmpeg(codec: str, form: str | None, data: bytes) -> np.ndarray:
    context = av.CodecContext.create(codec, "r")
    context.thread_count = 1
    frame = [*context.decode(av.Packet(data)), *context.decode(None)][0]
    return (frame.reformat(format=form) if form else frame).to_ndarray()


def of(channels: int, pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., 0] if channels == 1 else pixels[..., :channels])


@pytest.mark.parametrize("channels", COLOURS)
@pytest.mark.parametrize("name", ["avif", "jxl", "jp2", "j2k", "qoi", "tga"])
def test_eight_bits_by_the_other_library(name: str, channels: int) -> None:
    pixels = of(channels, EIGHT)
    data, notes = written(name, pixels)
    assert notes == ()
    decode = {"qoi": imagecodecs.qoi_decode, "jxl": imagecodecs.jpegxl_decode}
    found = decode.get(name, by_pillow)(data)
    if (name == "qoi" and channels < 3) or (name, channels) == ("avif", 2):  # colours are grey
        grey = np.broadcast_to(pixels.reshape(13, 17, -1)[..., :1], (13, 17, 3))
        pixels = grey if channels == 1 else np.dstack([grey, pixels[..., 1]])
    np.testing.assert_array_equal(found, pixels)
    with closing(registry.open_source(io.BytesIO(data), registry.by_name(name), ReadOptions())) as opened:
        np.testing.assert_array_equal(opened.strip(0, 13), pixels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["jp2", "j2k", "ppm", "pgm"])
def test_sixteen_bits_by_ffmpeg(name: str, channels: int) -> None:
    if (name, channels) == ("pgm", 3):
        pytest.skip("of grey alone")
    pixels = of(channels, DEEP)
    data, notes = written(name, pixels)
    assert notes == ()
    if name == "ppm":
        pixels = np.broadcast_to(pixels.reshape(13, 17, -1), (13, 17, 3))
    codec, form = {"ppm": ("ppm", "rgb48le"), "pgm": ("pgm", "gray16le")}.get(
        name, ("jpeg2000", {1: "gray16le", 3: "rgb48le"}[channels])
    )
    np.testing.assert_array_equal(by_ffmpeg(codec, form, data), pixels)
    opened = source(io.BytesIO(data), ReadOptions())
    assert (opened.info.dtype, opened.info.notes) == ("uint16", ())
    np.testing.assert_array_equal(opened.strip(0, 13), pixels)


@pytest.mark.parametrize("bits", [10, 12])
def test_avif_of_more_bits_is_read_and_twelve_are_written(bits: int) -> None:
    pixels = of(3, DEEP) >> (16 - bits)
    data = imagecodecs.avif_encode(pixels, 100, bitspersample=bits)
    opened = source(io.BytesIO(data), ReadOptions())
    assert (opened.info.dtype, opened.info.white, opened.info.notes) == ("uint16", 2**bits - 1, ())
    np.testing.assert_array_equal(opened.strip(0, 13), pixels)
    made, notes = written("avif", of(3, DEEP))
    assert notes == ("16 bits a sample are rounded to 12: AVIF holds no more",)
    want = np.floor(of(3, DEEP) * 4095.0 / 65535 + 0.5)
    np.testing.assert_array_equal(imagecodecs.avif_decode(made), want)


@pytest.mark.parametrize("channels", COLOURS)
def test_jpeg_xl_keeps_sixteen_bits_that_are_srgbs(channels: int) -> None:
    pixels = of(channels, DEEP)
    data, notes = written("jxl", pixels)
    assert notes == ()
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(data), pixels)
    linear = imagecodecs.jpegxl_encode(pixels, lossless=True)  # as imagecodecs tags them
    assert jxl.Header(linear[jxl.begin_of(linear) :]).found == ["nclx"]
    head = jxl.Header(data[jxl.begin_of(data) :])
    assert (head.size, head.bits, head.found) == ((17, 13), 16, [])
    few, notes = written("jxl", pixels, 50)
    assert notes == ("16 bits a sample are rounded to 8: --quality 50 keeps no more",)
    assert len(few) < len(data) / 2 and imagecodecs.jpegxl_decode(few).dtype == np.uint8


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_jpeg_xl_of_more_bits_is_read(bits: int) -> None:
    pixels = of(3, DEEP) >> (16 - bits)
    data = imagecodecs.jpegxl_encode(pixels, lossless=True, bitspersample=bits)
    opened = jxl.source(io.BytesIO(data), ReadOptions())
    assert (opened.info.dtype, opened.info.white) == ("uint16", 2**bits - 1)
    np.testing.assert_array_equal(opened.strip(0, 13), pixels)


def test_jpeg_xl_of_floats_is_read() -> None:
    pixels = RANDOM.random((13, 17, 3), np.float32)
    opened = jxl.source(io.BytesIO(imagecodecs.jpegxl_encode(pixels, lossless=True)), ReadOptions())
    assert (opened.info.dtype, opened.info.white) == ("float32", None)
    np.testing.assert_array_equal(opened.strip(0, 13), pixels)


def header(*fields: tuple[int, int]) -> jxl.Header:
    """Return the header of numbers and their bits, ISO/IEC 18181-1, annex D."""
    at = value = 0
    for number, bits in fields:
        value, at = value | number << at, at + bits
    return jxl.Header(b"\xff\x0a" + value.to_bytes(at // 8 + 1, "little"))


SIZE = ((0, 1), (0, 2), (299, 9), (0, 3), (1, 2), (4999, 13))  # 5000 x 300


@pytest.mark.parametrize(
    ("fields", "size", "bits", "found", "misread"),
    [
        (((1, 1), (4, 5), (5, 3), (1, 1)), (40 * 16 // 9, 40), 8, [], ""),  # in eighths, 16:9
        ((*SIZE, (1, 1)), (5000, 300), 8, [], ""),
        ((*SIZE, (0, 1), (1, 1), (5, 3), (0, 3), (0, 3), (1, 1), (0, 2), (1, 1), (1, 1)), (300, 5000), 8, [], ""),
        ((*SIZE, (0, 2), (0, 1), (3, 2), (11, 6), (1, 1), (0, 2), (0, 1), (0, 1), (1, 1)), (5000, 300), 12,
         ["icc box"], ""),
        ((*SIZE, (0, 2), (1, 1), (0, 2), (7, 4), (1, 1), (0, 2), (0, 1), (1, 1)), (5000, 300), 0, [], ""),
        ((*SIZE, (0, 1), (1, 1), (0, 3), (0, 2), (1, 1), (0, 4), (0, 2), (0, 1), (0, 3), (1, 1), (0, 2), (0, 1),
          (1, 1)), (5000, 300), 8, ["frames"], ""),
        ((*SIZE, (0, 2), (0, 3), (1, 1), (1, 2), (0, 1), (2, 2), (2, 4), (0, 3), (0, 2), (0, 2), (0, 1), (1, 1)),
         (5000, 300), 8, ["channels"], "inks"),
        ((*SIZE, (0, 2), (0, 3), (1, 1), (1, 2), (0, 1), (0, 2), (0, 3), (0, 2), (0, 2), (1, 1), (0, 1), (1, 1)),
         (5000, 300), 8, [], "premultiplied colours"),
        ((*SIZE, (0, 2), (0, 3), (1, 1), (0, 2), (0, 1), (0, 2), (0, 2), (1, 2), (2, 2), (9, 4), (0, 1), (1, 2)),
         (5000, 300), 8, ["nclx"], ""),
    ],
)  # fmt: skip
def test_headers_of_jpeg_xl(
    fields: tuple[tuple[int, int], ...], size: tuple[int, int], bits: int, found: list[str], misread: str
) -> None:
    made = header(*fields)
    assert (made.size, made.bits, made.found, made.misread) == (size, bits, found, misread)


def test_exif_goes_through_jpeg_xl() -> None:
    exif = b"MM\0*\0\0\0\10\0\1\1\17\0\2\0\0\0\4abc\0\0\0\0\0"
    data = jxl.encode(of(3, EIGHT), None, exif)
    opened = jxl.source(io.BytesIO(data), ReadOptions())
    assert (opened.info.metadata.exif, opened.info.notes) == (exif, ())
    np.testing.assert_array_equal(imagecodecs.jpegxl_decode(data), of(3, EIGHT))


@pytest.mark.parametrize("colour", ["L", "LA", "RGB", "RGBA"])
def test_animations_of_avif(colour: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    y, x = np.mgrid[:32, :48]
    grey = np.stack([(3 * x + 5 * y + 30 * n) % 256 for n in range(3)]).astype(np.uint8)
    frames = np.stack([grey, 255 - grey, grey // 2, np.maximum(grey, 90)], -1)
    frames = {"L": frames[..., :1], "LA": frames[..., [0, 3]], "RGB": frames[..., :3]}.get(colour, frames)
    first, *others = (Image.fromarray(frame.squeeze()) for frame in frames)
    times = {"duration": [40, 200, 520], "loop": 3}
    first.save(tmp_path / "a.png", save_all=True, append_images=others, **times)
    names = [str(tmp_path / name) for name in ("a.png", "b.avif")]
    assert run(["filter", names[0], "-k", "identity", "--frames", "all", "-o", names[1]]) == 0
    said = capsys.readouterr().err
    assert "note: that it plays 3 times is left out" in said
    assert ("colours may differ by up to 3" in said) == (colour in ("RGB", "RGBA"))
    with Image.open(tmp_path / "b.avif") as image:
        for index, want in enumerate(frames):
            image.seek(index)
            found = np.asarray(image.convert("RGBA" if "A" in colour else "RGB")).astype(int)
            if colour in ("L", "LA"):
                want = np.dstack([want[..., :1]] * 3 + ([want[..., 1:]] if colour == "LA" else []))
            assert np.abs(found - want).max() <= (3 if colour in ("RGB", "RGBA") else 0)
            assert image.info["duration"] == times["duration"][index]  # type: ignore[index]


@pytest.mark.parametrize("channels", [1, 3])
def test_pfm_by_hand_and_by_its_own_words(channels: int) -> None:
    """The lowest row comes first; a negative scale says that the low byte does."""
    pixels = of(channels, RANDOM.normal(size=(13, 17, 4)).astype(np.float32))
    data, _ = written("pfm", pixels)
    kind, sizes, scale, samples = data.split(b"\n", 3)
    assert (kind, sizes, float(scale)) == (b"Pf" if channels == 1 else b"PF", b"17 13", -1)
    values = np.array(struct.unpack(f"<{pixels.size}f", samples)).reshape(pixels.shape)[::-1]
    np.testing.assert_array_equal(values, pixels)
    np.testing.assert_array_equal(source(io.BytesIO(data), ReadOptions()).strip(0, 13), pixels)


def test_quality_makes_avif_small() -> None:
    y, x = np.mgrid[:13, :17]
    smooth = np.dstack([9 * y + x, 5 * x, 90 + y]).astype(np.uint8)
    few, _ = written("avif", smooth, 30)
    all_of_it, _ = written("avif", np.ascontiguousarray(EIGHT[..., :3]))
    assert len(few) < len(all_of_it)
    assert np.abs(by_pillow(few).astype(int) - smooth).mean() < 12


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.pgm", "PGM does not hold RGB"),
        ("a.pfm", ""),
        ("a.jp2", ""),
        ("a.j2k", ""),
        ("a.ppm", ""),
        ("a.tga", ""),
        ("a.qoi", ""),
        ("a.avif", ""),
        ("a.jxl", ""),
    ],
)
def test_from_the_shell(
    name: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture goes into each that holds it, and the result of each is of its own kind."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(EIGHT[..., :3]).save("in.png")
    code = run(["filter", "in.png", "-k", "box:3x3", "-o", name])
    assert (code, words in capsys.readouterr().err) == (2 if words else 0, True)
    assert (tmp_path / name).exists() == (not words)
    if not words:
        assert run(["filter", name, "-k", "identity"]) == 0
        assert (tmp_path / f"a.identity{Path(name).suffix}").exists()
