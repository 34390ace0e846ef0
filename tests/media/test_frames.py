"""Animations made by hand: what their frames are to be is computed from the specifications, and FFmpeg agrees."""

from __future__ import annotations

import io
import random
import struct
import subprocess
import zlib
from fractions import Fraction
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from imageio_ffmpeg import get_ffmpeg_exe
from PIL import Image

from convcli.data.info import Info
from convcli.media.options import ReadOptions
from convcli.media.pictures import image, png
from tests.pictures import chunk
from tests.shell import convcli, ok

KINDS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's colour types by channels


def read(data: bytes, source=image.source, **options) -> tuple[Info, np.ndarray]:
    opened = source(io.BytesIO(data), ReadOptions(**options))
    pixels = opened.strip(0, opened.info.length)
    opened.close()
    return opened.info, pixels


def rgba(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Return frames with four channels; what is transparent is black."""
    pixels = pixels.reshape(*pixels.shape[:3], -1)
    full = np.full((*pixels.shape[:3], 1), np.iinfo(pixels.dtype).max, pixels.dtype)
    pixels = pixels if channels in (2, 4) else np.concatenate([pixels, full], -1)
    grey = pixels[..., :1].repeat(3, -1) if channels < 3 else pixels[..., :3]
    return np.where(pixels[..., -1:] > 0, np.concatenate([grey, pixels[..., -1:]], -1), 0)


def ffmpeg(data: bytes, shape: tuple[int, int], pixels: str = "rgba") -> np.ndarray:
    command = [get_ffmpeg_exe(), "-v", "error", "-i", "-", "-fps_mode", "passthrough", "-pix_fmt", pixels]
    done = subprocess.run([*command, "-f", "rawvideo", "-"], input=data, capture_output=True, check=True)
    dtype = "<u2" if pixels == "rgba64le" else "u1"
    frames = np.frombuffer(done.stdout, dtype).reshape(-1, *shape, 4)
    return np.where(frames[..., 3:] > 0, frames, 0)


# GIF


def compressed(indices: np.ndarray, bits: int) -> bytes:
    """LZW of which the codes never grow: a clear code stands before every other pixel."""
    clear, bits = 1 << bits, bits + 1
    codes = [
        code for at, index in enumerate(indices.flat) for code in ([clear, index] if at % 2 == 0 else [index])
    ]
    text = "".join(f"{int(code):0{bits}b}"[::-1] for code in (*codes, clear + 1))
    data = bytes(int(text[at : at + 8][::-1], 2) for at in range(0, len(text), 8))
    return b"".join(
        bytes([len(part)]) + part for part in (data[at : at + 255] for at in range(0, len(data), 255))
    )


def draw_gif(seed: int):
    """Return a GIF of any palettes, transparent colours, places and disposals, and its frames (GIF89a, 20 and 23)."""
    pick, rng = random.Random(seed), np.random.default_rng(seed)
    wide, high = pick.randint(4, 12), pick.randint(4, 12)

    def palette() -> np.ndarray:
        return rng.integers(0, 256, (8, 3), np.uint8)

    shared, background = palette() if pick.random() < 0.8 else None, pick.randrange(8)
    flags = 0 if shared is None else 0xF2
    data = b"GIF89a" + struct.pack("<HHBBB", wide, high, flags, background, 0)
    data += b"" if shared is None else shared.tobytes()
    canvas, frames = np.zeros((high, wide, 4), np.uint8), []
    for number in range(pick.randint(2, 5)):
        own = palette() if shared is None or pick.random() < 0.4 else None
        w, h = (
            (wide, high)
            if number == 0 and pick.random() < 0.7
            else (pick.randint(1, wide), pick.randint(1, high))
        )
        x, y = pick.randint(0, wide - w), pick.randint(0, high - h)
        clear = pick.randrange(8) if pick.random() < 0.5 else None
        disposal, interlaced = pick.randrange(4), pick.random() < 0.2
        indices = rng.integers(0, 8, (h, w), np.uint8)
        rows = (
            [*range(0, h, 8), *range(4, h, 8), *range(2, h, 4), *range(1, h, 2)] if interlaced else range(h)
        )
        if pick.random() < 0.2:  # a frame without a word on its transparency and disposal
            clear, disposal = None, 0
        else:
            data += b"\x21\xf9\4" + struct.pack(
                "<BHBB", disposal << 2 | (clear is not None), 5, clear or 0, 0
            )
        flags = 0x40 * interlaced + (0x82 if own is not None else 0)
        data += b"," + struct.pack("<HHHHB", x, y, w, h, flags) + (b"" if own is None else own.tobytes())
        data += b"\3" + compressed(indices[list(rows)], 3) + b"\0"

        opaque = clear is None and shared is not None
        ground = np.array([*shared[background], 255] if opaque else [0] * 4, np.uint8)
        if number == 0:
            canvas[...] = ground
        place = canvas[y : y + h, x : x + w]
        before, drawn = place.copy(), indices != clear
        place[drawn] = np.append((shared if own is None else own)[indices], np.full((h, w, 1), 255), -1)[
            drawn
        ]
        frames.append(canvas.copy())
        if disposal > 1:
            place[...] = before if disposal == 3 else ground
    return data + b";", np.stack(frames)


@pytest.mark.parametrize("seed", range(40))
def test_frames_of_a_gif(seed: int) -> None:
    data, expected = draw_gif(seed)
    info, got = read(data, all_frames=True)
    np.testing.assert_array_equal(rgba(got, info.channels), expected)
    info, first = read(data)
    np.testing.assert_array_equal(rgba(first[None], info.channels)[0], expected[0])
    if seed in (1, 2, 4):  # FFmpeg's program drops frames that follow others at once
        np.testing.assert_array_equal(ffmpeg(data, expected.shape[1:3]), expected)


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_frames_beyond_the_picture_empty_ones_and_a_missing_end(cut: int) -> None:
    """FFmpeg and browsers cut frames at the edge; an empty frame changes nothing; the end mark may be missing."""
    rng = np.random.default_rng(4)
    palette = rng.integers(0, 256, (8, 3), np.uint8)
    data = b"GIF89a" + struct.pack("<HHBBB", 12, 10, 0xF2, 0, 0) + palette.tobytes()
    canvas, frames = np.zeros((10, 12), np.uint8), []
    for x, y, w, h in ((0, 0, 12, 10), (8, 6, 7, 9), (3, 3, 0, 0), (20, 30, 4, 4), (1, 2, 3, 4)):
        indices = rng.integers(0, 8, (h, w), np.uint8)
        data += b"\x21\xf9\4" + struct.pack("<BHBB", 4, 5, 0, 0)
        data += b"," + struct.pack("<HHHHB", x, y, w, h, 0) + b"\3" + compressed(indices, 3) + b"\0"
        canvas[y : y + h, x : x + w] = indices[: max(10 - y, 0), : max(12 - x, 0)]
        frames.append(palette[canvas])
    data += b";\0"
    info, got = read(data[: len(data) - cut], all_frames=True)
    np.testing.assert_array_equal(got, np.stack(frames))
    assert info.notes == ("left out of the GIF: what lies outside of the picture",)
    seen = ffmpeg(data[: len(data) - cut], (10, 12))
    np.testing.assert_array_equal(seen[:2, ..., :3], got[:2])


# PNG


def deflated(pixels: np.ndarray) -> bytes:
    rows = pixels.astype(pixels.dtype.newbyteorder(">"))
    return zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))


def blended(below: np.ndarray, above: np.ndarray, full: int) -> np.ndarray:
    """PNG (Third Edition), 13.16: colours weighed by their alpha; the last channel is alpha."""
    top, under = above[..., -1:] / full, below[..., -1:] / full
    alpha = top + under * (1 - top)
    colours = above[..., :-1] * top + below[..., :-1] * under * (1 - top)
    colours = np.divide(colours, alpha, out=np.zeros_like(colours), where=alpha > 0)
    return np.rint(np.concatenate([colours, alpha * full], -1))


def draw_apng(seed: int, bits: int, channels: int, hidden: bool):
    """Return an animated PNG of any places, disposals and blending, and its frames."""
    pick, rng = random.Random(seed), np.random.default_rng(seed)
    wide, high, full = pick.randint(4, 9), pick.randint(4, 9), 2**bits - 1

    def picture(h: int, w: int) -> np.ndarray:
        drawn = rng.integers(0, full + 1, (h, w, channels), f"uint{bits}")
        if channels in (2, 4):
            drawn[..., -1] = rng.choice([0, full, full // 3], (h, w))
        return drawn

    count = pick.randint(2, 5)
    data = png.SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, bits, KINDS[channels], 0, 0, 0))
    data += chunk(b"acTL", struct.pack(">II", count, 0))
    data += chunk(b"IDAT", deflated(picture(high, wide))) if hidden else b""
    canvas, frames = np.zeros((high, wide, channels + channels % 2)), []
    for number in range(count):
        w, h = (wide, high) if number == 0 else (pick.randint(1, wide), pick.randint(1, high))
        x, y = pick.randint(0, wide - w), pick.randint(0, high - h)
        disposal, over, pixels = pick.choice([0, 0, 1, 2]), pick.random() < 0.7, picture(h, w)
        control = (max(0, 2 * number - 1), w, h, x, y, 1, 30, disposal, over)
        data += chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control))
        data += (
            chunk(b"IDAT", deflated(pixels))
            if number == 0 and not hidden
            else chunk(b"fdAT", struct.pack(">I", 2 * number) + deflated(pixels))
        )
        above = pixels if channels % 2 == 0 else np.append(pixels, np.full((h, w, 1), full), -1)
        place = canvas[y : y + h, x : x + w]
        before = place.copy()
        place[...] = blended(before, above.astype(float), full) if over else above
        frames.append(canvas.copy())
        if disposal:
            place[...] = before if disposal == 2 else 0
    return data + chunk(b"IEND", b""), np.stack(frames).astype(f"uint{bits}")


@pytest.mark.parametrize("channels", KINDS)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("hidden", [False, True])
def test_frames_of_an_animated_png(channels: int, bits: int, hidden: bool) -> None:
    for seed in range(10):
        data, expected = draw_apng(seed, bits, channels, hidden)
        info, got = read(data, png.source, all_frames=True)
        assert (info.dtype, info.size("T")) == (f"uint{bits}", len(expected))
        wanted = rgba(expected, channels + channels % 2)
        np.testing.assert_array_equal(rgba(got, info.channels), wanted)
        if seed == 0 and (bits == 8 or channels % 2):  # FFmpeg blends no 16 bits
            seen = ffmpeg(data, expected.shape[1:3], "rgba" if bits == 8 else "rgba64le")
            there = wanted[..., 3] > 0  # where a picture has no alpha, FFmpeg clears to black
            assert np.abs(seen.astype(int) - wanted)[there].max() <= 1
    assert info.axis("T").positions.tick * info.axis("T").positions.ticks[1] == Fraction(1, 30)


def test_a_hidden_default_image_is_the_still_picture() -> None:
    data, frames = draw_apng(1, 8, 3, hidden=True)
    info, pixels = read(data, png.source)
    (line,) = info.notes
    assert f"only the default image of this PNG is read, none of its {len(frames)} frames" in line
    with Image.open(io.BytesIO(data)) as picture:
        np.testing.assert_array_equal(pixels, np.asarray(picture))


# WebP


def lossless(pixels: np.ndarray) -> bytes:
    """Return the chunk that holds the pixels of a picture."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "WEBP", lossless=True, exact=True)
    data = file.getvalue()
    return data[data.index(b"VP8L") :]


def draw_webp(seed: int) -> tuple[bytes, np.ndarray]:
    """Return an animated WebP of any places, disposals and blending, and its frames (RFC 9649, 2.7.1)."""
    pick, rng = random.Random(seed), np.random.default_rng(seed)
    wide, high = pick.randint(4, 9), pick.randint(4, 9)

    def three(*numbers: int) -> bytes:
        return b"".join(number.to_bytes(3, "little") for number in numbers)

    data = b"VP8X\n\0\0\0\x12\0\0\0" + three(wide - 1, high - 1) + b"ANIM\6\0\0\0" + b"\x11\x22\x33\x44\0\0"
    canvas, frames = np.zeros((high, wide, 4)), []
    for number in range(pick.randint(2, 5)):
        w, h = (wide, high) if number == 0 else (pick.randint(1, wide), pick.randint(1, high))
        x, y = pick.randint(0, (wide - w) // 2), pick.randint(0, (high - h) // 2)
        pixels = rng.integers(0, 256, (h, w, 4), np.uint8)
        pixels[..., 3] = rng.choice([0, 255, 90], (h, w))
        clears, replaces = pick.random() < 0.3, pick.random() < 0.4
        frame = three(x, y, w - 1, h - 1, 50) + bytes([clears | replaces << 1]) + lossless(pixels)
        data += b"ANMF" + struct.pack("<I", len(frame)) + frame + bytes(len(frame) % 2)

        place = canvas[2 * y : 2 * y + h, 2 * x : 2 * x + w]
        place[...] = pixels if replaces else blended(place.copy(), pixels.astype(float), 255)
        frames.append(canvas.copy())
        if clears:
            place[...] = 0
    return b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WEBP" + data, np.stack(frames).astype(np.uint8)


def test_frames_of_an_animated_webp() -> None:
    for seed in range(10):
        data, expected = draw_webp(seed)
        info, got = read(data, all_frames=True)
        difference = rgba(got, info.channels).astype(int) - rgba(expected, 4)
        assert np.abs(difference).max() <= 1  # libwebp blends in integers


@pytest.mark.parametrize("stated", [0, 1, 3, 1 << 31])
def test_an_animation_that_states_another_number_of_frames_is_a_still_picture(
    stated: int, tmp_path: Path
) -> None:
    """PNG (Third Edition), 11.3.6.1: the numbers must agree.  Without ``--frames all`` nobody asked for the others."""
    data, _ = draw_apng(1, 8, 3, hidden=True)
    at = data.index(b"acTL") - 4
    (tmp_path / "a.png").write_bytes(
        data[:at] + chunk(b"acTL", struct.pack(">II", stated, 0)) + data[at + 20 :]
    )
    done = ok("filter", tmp_path / "a.png", "-k", "identity", "-o", tmp_path / "b.png")
    assert f"states {stated} frames and has 2; the still picture alone is read".encode() in done.stderr
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), imagecodecs.png_decode(data))
    done = convcli(
        "filter", tmp_path / "a.png", "-k", "identity", "--frames", "all", "-o", tmp_path / "c.gif"
    )
    assert done.returncode == 1 and f"states {stated} frames and has 2".encode() in done.stderr


@pytest.mark.parametrize("plays", [0, 7, 1 << 31, (1 << 32) - 1])
def test_no_number_of_plays_keeps_the_first_picture_from_being_read(plays: int, tmp_path: Path) -> None:
    data, _ = draw_apng(1, 8, 3, hidden=True)
    at = data.index(b"acTL") - 4
    count = struct.unpack_from(">I", data, at + 8)[0]
    (tmp_path / "a.png").write_bytes(
        data[:at] + chunk(b"acTL", struct.pack(">II", count, plays)) + data[at + 20 :]
    )
    ok("filter", tmp_path / "a.png", "-k", "identity", "-o", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), imagecodecs.png_decode(data))


def test_a_gif_without_a_palette_is_grey(tmp_path: Path) -> None:
    """The format leaves the colours to the reader; Pillow takes grey too."""
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / "a.gif")
    data = (tmp_path / "a.gif").read_bytes()
    assert data[10] == 0x87
    bare = data[:10] + b"\0" + data[11:13] + data[13 + 768 :]
    (tmp_path / "b.gif").write_bytes(bare)
    with Image.open(tmp_path / "b.gif") as image:
        assert np.array_equal(np.asarray(image.convert("L")), grey)
    ok("filter", tmp_path / "b.gif", "-k", "identity", "-o", tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        np.testing.assert_array_equal(np.asarray(image), grey)
