"""Small files that would become huge: each ends in one line, within 2 s of processor time and 200 MB.

``SECURITY.md`` promises this; the limits that stop them are in `convcli.media.shared` and beside each reader.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.clips import make, pattern
from tests.measured import Measured, measured
from tests.shell import convcli

SECONDS = 2
MEGABYTES = 200
BOX = ("-k", "box:3")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *extra: bytes, bits: int = 8, deflated: int = 1 << 20) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(deflated), 9))
    return b"".join((b"\x89PNG\r\n\x1a\n", header, *extra, pixels, chunk(b"IEND", b"")))


def saved(size: tuple[int, int], kind: str, mode: str = "L", **settings: object) -> bytes:
    file = io.BytesIO()
    Image.new(mode, size).save(file, kind, **settings)
    return file.getvalue()


def tiff(width: int, height: int, pages: int = 1, rows: int = 1, loop: bool = False) -> bytes:
    """Return a TIFF whose strips are all the same few bytes."""
    strip = zlib.compress(bytes(width * rows), 9)
    count = -(-height // rows)
    at = 8 + len(strip)
    counts = struct.pack(f"<{count}I", *[len(strip)] * count)
    offsets = struct.pack(f"<{count}I", *[8] * count)
    body = strip + counts + offsets
    tables = (at, at + len(counts)) if count > 1 else (len(strip), 8)
    entries = [
        *[(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 8), (262, 3, 1, 1)],
        *[(273, 4, count, tables[1]), (277, 3, 1, 1), (278, 4, 1, rows), (279, 4, count, tables[0])],
    ]
    size = 2 + 12 * len(entries) + 4
    first = 8 + len(body) + len(body) % 2
    directories = b""
    for page in range(pages):
        following = first if loop else first + (page + 1) * size if page + 1 < pages else 0
        packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
        directories += struct.pack("<H", len(entries)) + packed + struct.pack("<I", following)
    return struct.pack("<2sHI", b"II", 42, first) + body + bytes(len(body) % 2) + directories


def gif(width: int, height: int, frames: int, frame: tuple[int, int] | None = None) -> bytes:
    """Return a GIF of frames that are one pixel each in the file, on a canvas as large as is said."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    size = frame or (1, 1)
    one = b"\x2c" + struct.pack("<HHHHB", 0, 0, *size, 0) + b"\x02\x02\x44\x01\x00"
    return head + one * frames + b"\x3b"


def npy(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """Return the header of an array, without the array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def zipped(name: str, head: bytes, zeros: int) -> bytes:
    """Return a zip file of one member: a beginning and so many megabytes of nothing."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        member.write(head)
        for _ in range(zeros):
            member.write(bytes(1 << 20))
    return file.getvalue()


def safetensors(length: int, rest: bytes = b"") -> bytes:
    return struct.pack("<Q", length) + rest


def enlarged(picture: bytes, size: str) -> bytes:
    """Return a picture of 9 x 9 pixels whose header says 60,000 x 60,000."""
    return picture.replace(struct.pack(size, 9, 9), struct.pack(size, 60_000, 60_000))


def webp() -> bytes:
    """Return a lossless WebP that says it has the largest size: 14 bits each of width and height, less one."""
    data = saved((1, 1), "WEBP", "RGB", lossless=True)
    at = data.index(b"VP8L") + 9
    size = int.from_bytes(data[at : at + 4], "little") | (1 << 28) - 1
    return data[:at] + size.to_bytes(4, "little") + data[at + 4 :]


def one_strip(compression: int, stream: bytes, side: int = 9) -> bytes:
    """Return a TIFF of ``side`` x ``side`` pixels whose only strip is the stream of a codec."""
    bits = 1 if compression == 2 else 8
    entries = [
        *[(256, 3, 1, side), (257, 3, 1, side), (258, 3, 1, bits), (259, 3, 1, compression), (262, 3, 1, 1)],
        *[(273, 4, 1, 8), (277, 3, 1, 1), (278, 3, 1, side), (279, 4, 1, len(stream))],
    ]
    stream += bytes(len(stream) % 2)
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(stream))
    return head + stream + struct.pack("<H", len(entries)) + packed + bytes(4)


def many_scans() -> bytes:
    """Return a progressive JPEG whose last scan, of a few bytes, is there 5,000 times."""
    data = saved((2_000, 2_000), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 5_000 + data[-2:]


def icon(width: int, height: int) -> bytes:
    """Return an icon of 16 x 16 pixels that holds a PNG of another size."""
    picture = png(width, height)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(picture), 22) + picture


QOI = b"qoif" + struct.pack(">IIBB", 15_900, 15_900, 3, 0)
WHITE = saved((15_000, 1_000), "WEBP", lossless=True)
LERC = bytes(imagecodecs.lerc_encode(np.arange(81, dtype=np.uint8).reshape(9, 9)))
ALIASES = "name: a\nweights: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"x{n}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
)

# name: (file's name, content, words of the message)
PICTURES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "PNG, header": ("a.png", lambda: png(60_000, 60_000), "--max-pixels 3600"),
    "PNG, profile": ("a.png", lambda: png(64, 64, chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(300 << 20)))), ""),
    "PNG, frames": ("a.png", lambda: png(9_000, 9_000, chunk(b"acTL", struct.pack(">II", 900, 0))), ""),
    "PNG, too little deflated": ("a.png", lambda: png(15_900, 15_900), "cannot become 15900 x 15900 pixels"),
    "PNG, bits": ("a.png", lambda: png(15_900, 15_900, bits=1, deflated=32 << 20), "for so small a file"),
    "QOI, runs": ("a.qoi", lambda: QOI + b"\xfd" * 4_077_582, "for so small a file"),
    "JPEG": ("a.jpg", lambda: enlarged(saved((9, 9), "JPEG"), ">HH"), "--max-pixels"),
    "WebP": ("a.webp", webp, "--max-pixels"),
    "WebP, at the limit": ("a.webp", lambda: WHITE, "for so small a file"),
    "BMP": ("a.bmp", lambda: enlarged(saved((9, 9), "BMP"), "<ii"), "--max-pixels"),
    "GIF, canvas": ("a.gif", lambda: gif(60_000, 60_000, 1), "--max-pixels"),
    "GIF, frame": ("a.gif", lambda: gif(10, 10, 1, (60_000, 60_000)), "--max-pixels"),
    "GIF, frames": ("a.gif", lambda: gif(5_000, 5_000, 5_000), "--max-pixels"),
    "TIFF, one strip": ("a.tif", lambda: tiff(60_000, 60_000, rows=60_000), "--max-pixels"),
    "TIFF, shared strips": ("a.tif", lambda: tiff(60_000, 60_000), "--max-pixels"),
    "TIFF, shared pages": ("a.tif", lambda: tiff(4_000, 4_000, pages=2_000, rows=4_000), "--max-pixels"),
    "TIFF, JPEG inside": ("a.tif", lambda: one_strip(7, enlarged(saved((9, 9), "JPEG"), ">HH")), "60000 x 60000"),
    "TIFF, PNG inside": ("a.tif", lambda: one_strip(34933, png(44_000, 44_000)), "44000 x 44000"),
    "TIFF, WebP inside": ("a.tif", lambda: one_strip(50001, webp()), "16384 x 16384"),
    "TIFF, JPEG 2000 inside": (
        "a.tif", lambda: one_strip(34712, enlarged(saved((9, 9), "JPEG2000"), ">II")), "60000 x 60000",
    ),
    "TIFF, LERC inside": ("a.tif", lambda: one_strip(34887, enlarged(LERC, "<ii")), "60000 x 60000"),
    "TIFF, a strip of little": ("a.tif", lambda: one_strip(2, bytes(100), 15_000), "for so small a file"),
    "TIFF, a codec that is not there": ("a.tif", lambda: one_strip(48124, bytes(100)), "broken or truncated TIFF"),
    "TIFF, a size that is not told": ("a.tif", lambda: one_strip(50002, bytes(99)), "does not tell its size"),
    "JPEG, scans": ("a.jpg", many_scans, "scans"),
    "TIFF, scans inside": ("a.tif", lambda: one_strip(7, many_scans()), "2000 x 2000"),
    "ICO": ("a.ico", lambda: icon(60_000, 60_000), ""),
    "PPM": ("a.ppm", lambda: b"P6 60000 60000 255 \0", "--max-pixels"),
    "PAM": (
        "a.pam", lambda: b"P7\nWIDTH 60000\nHEIGHT 60000\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n",
        "--max-pixels",
    ),
    "QOI": ("a.qoi", lambda: b"qoif" + struct.pack(">IIBB", 60_000, 60_000, 3, 0) + bytes(64), "--max-pixels"),
    "TGA": ("a.tga", lambda: enlarged(saved((9, 9), "TGA"), "<HH"), "--max-pixels"),
    "PSD": ("a.psd", lambda: b"8BPS\0\1" + struct.pack(">6xHIIHH64x", 3, 60_000, 60_000, 8, 3), "--max-pixels"),
    "npy": ("a.npy", lambda: npy((1 << 20, 1 << 20)) + bytes(64), "cut short"),
    "npy, header": ("a.npy", lambda: b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{" * 9_999_999, "header"),
}  # fmt: skip
KERNELS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "YAML, aliases": ("k.yaml", ALIASES.encode),
    "YAML, depth": ("k.yaml", lambda: b"name: a\nweights: " + b"[" * 200_000),
    "YAML, length": ("k.yaml", lambda: b"name: a\nweights: [" + b"1," * 20_000_000 + b"1]"),
    "YAML, a number": ("k.yaml", lambda: b"name: a\nweights: [1e999999999/3]"),
    "npz": ("k.npz", lambda: zipped("a.npy", npy((16_000, 16_000)), 1000)),
    "npz, header": ("k.npz", lambda: zipped("a.npy", b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1), 300)),
    "npy": ("k.npy", lambda: npy((1 << 20, 1 << 20)) + bytes(64)),
    "safetensors, header": ("k.safetensors", lambda: safetensors(2**63 - 1, bytes(64))),
    "safetensors, array": (
        "k.safetensors",
        lambda: safetensors(
            72, b'{"a":{"dtype":"F32","shape":[65536,65536],"data_offsets":[0,17179869184]}}'[:72]
        ),
    ),
}


def check(done: Measured, codes: tuple[int, ...] = (1, 2)) -> None:
    assert done.code in codes, done.words
    assert done.code == 0 or (done.words.count("\n") == 1 and done.words.startswith("error: ")), done.words[
        :500
    ]
    assert done.busy < SECONDS, done.words
    assert done.megabytes < MEGABYTES, done.words


@pytest.mark.parametrize("name", PICTURES)
def test_picture(name: str, tmp_path: Path) -> None:
    file, content, fragment = PICTURES[name]
    (tmp_path / file).write_bytes(content())
    done = measured("filter", file, *BOX, "--frames", "all", "-o", "out.tif", cwd=tmp_path)
    check(done)
    assert fragment in done.words
    assert [path.name for path in tmp_path.iterdir()] == [file]


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name: str, tmp_path: Path) -> None:
    file, content = KERNELS[name]
    (tmp_path / file).write_bytes(content())
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    check(measured("filter", "a.png", "-k", file, "-o", "-", cwd=tmp_path))


def test_what_needs_no_refusal(tmp_path: Path) -> None:
    """A loop of pages has one page; what stands behind an array in an archive is not unpacked."""
    (tmp_path / "a.tif").write_bytes(tiff(64, 64, loop=True))
    (tmp_path / "k.npz").write_bytes(zipped("a.npy", npy((3, 3)), 60))
    check(measured("filter", "a.tif", "-k", "k.npz", "-o", "out.tif", cwd=tmp_path), (0,))
    assert tifffile.imread(tmp_path / "out.tif").shape == (64, 64)


FRAMES: dict[str, Callable[[], bytes]] = {
    "a.gif": lambda: gif(9, 9, 5),
    "a.tif": lambda: tiff(9, 9, pages=5, rows=9),
    "a.npy": lambda: npy((5, 9, 9)) + bytes(4 * 5 * 9 * 9),
}


@pytest.mark.parametrize("name", FRAMES)
def test_max_frames(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(FRAMES[name]())
    axes = ("--axes", "TYX") if name == "a.npy" else ("--frames", "all")
    job = ("filter", tmp_path / name, *BOX, *axes, "--dry-run", "--max-frames")
    assert convcli(*job, 5).returncode == 0
    done = convcli(*job, 4)
    assert done.returncode == 1
    assert b"5 frames has more than --max-frames 4 allows" in done.stderr
    assert convcli(*job, 0).returncode == 2


def test_max_frames_of_a_clip(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", pattern(5))
    assert convcli("motion", path, "--no-output", "--max-frames", 5).returncode == 0
    assert b"--max-frames 4" in convcli("motion", path, "--no-output", "--max-frames", 4).stderr


def test_the_first_frame_alone_is_not_limited(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(gif(9, 9, 5))
    assert convcli("filter", tmp_path / "a.gif", *BOX, "--dry-run", "--max-frames", 1).returncode == 0
