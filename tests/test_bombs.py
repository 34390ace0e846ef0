"""Small files that would become huge: each ends in one line, within 2 s of processor time and 200 MB.

``SECURITY.md`` promises this; the limits that stop them are in `convcli.media.shared` and beside each reader.
"""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
import zlib
from base64 import b85decode
from collections.abc import Callable
from functools import cache, partial, reduce
from operator import xor
from pathlib import Path

import av
import h5py
import imagecodecs
import nibabel
import numpy as np
import polars as pl
import pytest
import soundfile
import tifffile
import zarr
from isal import igzip, isal_zlib
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from convcli import api
from convcli.common.errors import ConvError
from convcli.data.array_files import SUFFIXES
from convcli.media.clips import scan
from convcli.media.registry import HEAD, READ, identify, readable
from tests.clips import make, pattern
from tests.fuzz.seeds import GREY, dicom, dicom_bytes
from tests.measured import Measured, measured
from tests.shell import convcli

SECONDS = 2
MEGABYTES = 200
BOX = ("-k", "box:3")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deflated(zeros: int) -> bytes:
    return isal_zlib.compress(bytes(zeros), 1)


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
    strip = zlib.compress(bytes(min(width * rows, 1 << 24)), 9)
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


def nifti(shape: tuple[int, int, int], behind: int = 0) -> bytes:
    """Return a header of a volume, some samples of zero, and more zeros."""
    header = nibabel.Nifti1Header()
    header.set_data_shape(shape)
    header["vox_offset"] = 352
    return header.binaryblock + bytes(4 + min(4 * shape[0] * shape[1] * shape[2], 1 << 20) + behind)


NRRD = b"NRRD0004\ntype: float\ndimension: 3\nsizes: 99999 99999 9\nendian: little\n"
PACKED = b"encoding: gzip\n\n"
META = b"ObjectType = Image\nNDims = 2\nDimSize = 9 9\nElementType = MET_FLOAT\nCompressedData = True\n"
META += b"ElementDataFile = LOCAL\n"


def stating(**tags: object) -> Dataset:
    """Return a DICOM file that says something else of itself."""
    made = dicom(GREY, uid.ExplicitVRLittleEndian)
    for name, value in tags.items():
        setattr(made, name, value)
    return made


def coded(side: int) -> Dataset:
    """Return a DICOM file of a frame with such a side, whose JPEG 2000 stream states a huge one."""
    made = stating(Rows=side, Columns=side)
    stream = bytearray(imagecodecs.jpeg2k_encode(GREY, level=0, codecformat="j2k"))
    stream[8:16] = struct.pack(">II", 60_000, 60_000)
    made.file_meta.TransferSyntaxUID = uid.JPEG2000Lossless
    made.PixelData = encapsulate([bytes(stream)])
    made["PixelData"].is_undefined_length = True
    return made


def npy(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """Return the header of an array, without the array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


def hdf5(shape: tuple[int, ...], chunks: tuple[int, ...]) -> bytes:
    """Return an array of no chunks at all."""
    file = io.BytesIO()
    with h5py.File(file, "w") as store:
        store.create_dataset("x", shape, "u1", chunks=chunks, compression="gzip")
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


def bmp(width: int, height: int) -> bytes:
    """Return the second header of a BMP, and a palette."""
    return struct.pack("<IiiHHIIIIII", 40, width, height, 1, 8, 0, 0, 0, 0, 0, 0) + bytes(1024)


def cursor(width: int, height: int) -> bytes:
    picture = bmp(width, 2 * height)
    return struct.pack("<HHHBBBBHHII", 0, 2, 1, 16, 16, 0, 0, 1, 8, len(picture), 22) + picture


def icns(picture: bytes) -> bytes:
    return struct.pack(">4sI4sI", b"icns", 16 + len(picture), b"ic10", 8 + len(picture)) + picture


def jpeg2000(size: int, tile: int, components: int) -> bytes:
    """Return the head of a codestream, and an empty tile."""
    sizes = struct.pack(">HH8IH", 38 + 3 * components, 0, size, size, 0, 0, tile, tile, 0, 0, components)
    coding = b"\xff\x52\0\x0c\0\0\0\1\0\0\4\4\0\1" + b"\xff\x5c\0\4\x40\x40"
    tiles = b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 14, 0, 1) + b"\xff\x93\xff\xd9"
    return b"\xff\x4f\xff\x51" + sizes + b"\7\1\1" * components + coding + tiles


def jp2(codestream: bytes) -> bytes:
    """Return boxes that say 9 x 9 pixels of three colours, and hold another codestream behind a false one."""
    boxes = [
        *[(b"jP  ", b"\r\n\x87\n"), (b"ftyp", b"jp2 \0\0\0\0jp2 "), (b"free", jpeg2000(9, 9, 3))],
        (
            b"jp2h",
            struct.pack(">I4sIIHBBBB", 22, b"ihdr", 9, 9, 3, 7, 7, 0, 0) + b"\0\0\0\x0fcolr\1\0\0\0\0\0\x10",
        ),
        (b"jp2c", codestream),
    ]
    return b"".join(struct.pack(">I", 8 + len(body)) + name + body for name, body in boxes)


def avif(said: int) -> bytes:
    """Return a black AVIF of 16,384 x 16,384 pixels, as Pillow writes it in seven seconds, that says another size."""
    return zlib.decompress(b85decode(BLACK)).replace(struct.pack(">II", 9, 9), struct.pack(">II", said, said))


def blp(size: int, jpeg: bytes) -> bytes:
    """Return a texture of a JPEG, which may have another size."""
    head = b"BLP1" + struct.pack("<6I", 0, 0, size, size, 5, 0)
    places = struct.pack("<16I", 160, *[0] * 15) + struct.pack("<16I", len(jpeg), *[0] * 15)
    return head + places + bytes(4) + jpeg


def msp(size: int) -> bytes:
    head = struct.pack("<4sHH16x", b"LinS", size, size)
    words = struct.unpack("<12H", head)
    return head + struct.pack("<H6x", reduce(xor, words)) + bytes(2 * size)


def pcx(size: int) -> bytes:
    return struct.pack("<4B6H48x2BHH58x", 10, 5, 1, 8, 0, 0, size - 1, size - 1, 72, 72, 0, 3, size, 1)


def dds(width: int, height: int) -> bytes:
    return struct.pack(
        "<4s7I44x8I5I", b"DDS ", 124, 4103, height, width, 0, 0, 0, 32, 64, 0, 32, 255, 65280, 1, 0, *[0] * 5
    )


def columns(write: Callable[..., None], **options: str) -> bytes:
    """Return a table of zeros."""
    file = io.BytesIO()
    write(pl.DataFrame({"a": np.zeros(30_000_000, np.uint8)}), file, **options)
    return file.getvalue()


@cache
def sound(kind: str) -> bytes:
    """Return a second of silence whose header announces hours, days or years."""
    file = io.BytesIO()
    if kind in ("m4a", "aac"):
        with av.open(file, "w", format="ipod" if kind == "m4a" else "adts") as container:
            stream = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
            frame.sample_rate = 8000
            container.mux([*stream.encode(frame), *stream.encode(None)])
    else:
        kinds = {"opus": {"format": "OGG", "subtype": "OPUS"}}.get(kind, {"format": kind.upper()})
        soundfile.write(file, np.zeros(8000), 8000, **kinds)
    data = bytearray(file.getvalue())
    at, length = {
        "wav": (data.find(b"data") + 4, 4),
        "aiff": (data.find(b"SSND") + 4, 4),
        "flac": (22, 4),  # of 36 bits, in STREAMINFO
        "mp3": (max(data.find(b"Xing"), data.find(b"Info")) + 9, 3),
        "ogg": (data.rfind(b"OggS") + 6, 7),
        "opus": (data.rfind(b"OggS") + 6, 7),
        "m4a": (data.find(b"mdhd") + 20, 4),
        "aac": (3, 2),  # of one frame
    }[kind]
    data[at : at + length] = b"\x7f" + b"\xff" * (length - 1)
    return bytes(data)


@cache
def clip(suffix: str, height: int = 2560, width: int = 4096) -> bytes:
    """Return a black frame; its size is in the codec's own headers."""
    vp9 = ("libvpx-vp9", {"cpu-used": "8", "deadline": "realtime"})
    avc = ("libx264", {"preset": "veryfast", "crf": "51"})
    codec, settings = vp9 if suffix in ("webm", "avi") else avc
    with tempfile.TemporaryDirectory() as folder:
        frame = np.zeros((1, height, width), np.uint8)
        return make(Path(folder, f"a.{suffix}"), frame, codec=codec, options=settings).read_bytes()


QOI = b"qoif" + struct.pack(">IIBB", 15_900, 15_900, 3, 0)
BLACK = (
    r"c-muNV30{GsVqn=%S>Yc0uY^>nP!-qnF!*)%uOvxWPkw0jFg-rD4U@mGr5ET4e%9YmgIt2j6f`xnUkLk;<$kLj1W;qUIqsCT|l-*"
    r"W@cU*T&)z4lgb3;C6*Z&I_Kx)gYC-5EGQ}f(w><G$@xH9B(u066>1+R6a($8$OLQV01`ZjWrog;@-iR+;pF_BqP*ms3ZS{X3~UWR"
    r"A@R(DT$qo5&SGI?YGwht=}>M;Vu=s~7q|TP`v3p`E@P77bue1NFCl0+)1j#nsKV;}xxf$nCw^ZItISKja*HE>!oJ2Tec!U~G7-~Q"
    r"<qx+Q0`~f<<eOQ)a!uPQ{7j8kASK5A!7SH>v5(9qSf4)^Q4`!H?9pUt;Il3I&6yR~9vB|&|MK+giOEF{rxew%iM9qEFiZ~(Ro=sw"
    r"_`z;oZR*jS;1DUUiKmuK9@RXmc~tYL=26X~nuoP!O7sE%Os(!E"
)
FLI = struct.pack("<I6HI108x", 160, 0xAF12, 2, 60_000, 60_000, 8, 3, 70)
PIXAR = struct.pack("<4s412x2H4x2H", b"\x80\xe8\0\0", 60_000, 60_000, 14, 2).ljust(512, b"\0")
IM = b"Image type: RGB image\r\nImage size (x*y): 60000*60000\r\n"
XBM = b"#define a_width 60000\n#define a_height 60000\nstatic char a_bits[] = {\n0}"
SMALLER = (struct.pack(">HH", 60_000, 60_000), struct.pack(">HH", 15_900, 15_900))
SOUNDS = ("wav", "aiff", "flac", "mp3", "ogg", "opus", "m4a", "aac")
CLIPS = ("mp4", "mov", "mkv", "webm", "avi", "ts")
WHITE = saved((15_000, 1_000), "WEBP", lossless=True)
LERC = bytes(imagecodecs.lerc_encode(np.arange(81, dtype=np.uint8).reshape(9, 9)))
ALIASES = "name: a\nweights: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"x{n}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
)

# name: (file's name, content, words of the message)
PICTURES: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "PNG, header": ("a.png", lambda: png(60_000, 60_000), "--max-pixels 3600"),
    "PNG, profile": ("a.png", lambda: png(64, 64, chunk(b"iCCP", b"x\0\0" + deflated(300 << 20))), ""),
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
    "OME-TIFF": ("a.ome.tif", lambda: tiff(60_000, 60_000), "--max-pixels"),
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
    "JPEG, at the limit": (
        "a.jpg", lambda: enlarged(saved((9, 9), "JPEG"), ">HH").replace(*SMALLER), "for so small a file",
    ),
    "PNG, at the limit": ("a.png", lambda: png(9_000, 9_000, bits=1, deflated=10_134_000), "for so small a file"),
    "TIFF, LERC of many samples": (
        "a.tif", lambda: one_strip(34887, imagecodecs.lerc_encode(np.zeros((9, 9, 60), "u1"), planar=False)), "60",
    ),
    "TIFF, LERC of many bands": ("a.tif", lambda: one_strip(34887, LERC * 50), "holds a stream of 50"),
    "TIFF, JPEG 2000 of many components": ("a.tif", lambda: one_strip(34712, jpeg2000(9, 1, 16_384)), "16384"),
    "TIFF, JPEG 2000 of many tiles": ("a.tif", lambda: one_strip(34712, jpeg2000(255, 1, 1), 255), "65025 tiles"),
    "JPEG 2000": ("a.jp2", lambda: enlarged(saved((9, 9), "JPEG2000"), ">II"), "--max-pixels 3600"),
    "JPEG 2000, tiles": ("a.j2k", lambda: jpeg2000(255, 1, 4), "the tiles of a JPEG2000"),
    "JPEG 2000, tiles in boxes": ("a.jp2", lambda: jp2(jpeg2000(255, 1, 3)), "the tiles of a JPEG2000"),
    "PBM": ("a.pbm", lambda: b"P4 60000 60000\n\xff", "--max-pixels 3600"),
    "PGM": ("a.pgm", lambda: b"P5 60000 60000 255\n\xff", "--max-pixels 3600"),
    "PFM": ("a.pfm", lambda: b"Pf 60000 60000 -1\n\xff", "--max-pixels 3600"),
    "AVIF": ("a.avif", lambda: avif(60_000), "AVIF"),
    "AVIF, another size inside": ("a.avif", lambda: avif(9), "AVIF"),
    "JPEG XL": ("a.jxl", lambda: b"\xff\x0a" + struct.pack("<Q", 3 << 1 | 59_999 << 3 | 1 << 33), "--max-pixels 3600"),
    "DDS": ("a.dds", lambda: dds(60_000, 60_000), "--max-pixels 3600"),
    "DIB": ("a.dib", lambda: bmp(60_000, 60_000), "--max-pixels 3600"),
    "DIB, a long row": ("a.dib", lambda: bmp(3_999_999, 1), "for so small a file"),
    "CUR": ("a.cur", lambda: cursor(60_000, 60_000), "the CUR inside takes more"),
    "ICNS": ("a.icns", lambda: icns(png(60_000, 60_000)), "the ICNS inside takes more"),
    "BLP": ("a.blp", lambda: blp(60_000, saved((9, 9), "JPEG")), "--max-pixels"),
    "BLP, JPEG inside": (
        "a.blp", lambda: blp(9, enlarged(saved((9, 9), "JPEG"), ">HH").replace(*SMALLER)), "the BLP inside",
    ),
    "FTEX": ("a.ftc", lambda: struct.pack("<4s8I", b"FTEX", 1, 60_000, 60_000, 1, 1, 1, 32, 3), "--max-pixels 3600"),
    "Sun": ("a.ras", lambda: struct.pack(">8I", 0x59A66A95, 60_000, 60_000, 8, 0, 1, 0, 0), "--max-pixels 3600"),
    "SGI": ("a.sgi", lambda: struct.pack(">hBB4H500x", 474, 0, 1, 3, 60_000, 60_000, 3), "--max-pixels 3600"),
    "SGI, run lengths": (
        "a.sgi", lambda: struct.pack(">hBB4H500x", 474, 1, 1, 3, 60_000, 60_000, 3), "--max-pixels 3600",
    ),
    "MSP": ("a.msp", lambda: msp(60_000), "--max-pixels 3600"),
    "Pixar": ("a.pxr", lambda: PIXAR, "--max-pixels 3600"),
    "GIMP brush": (
        "a.gbr", lambda: struct.pack(">5I4sI", 28, 2, 60_000, 60_000, 1, b"GIMP", 10), "--max-pixels 3600",
    ),
    "XV thumbnail": ("a.p7", lambda: b"P7 332\n#END_OF_COMMENTS\n60000 60000 255\n", "--max-pixels 3600"),
    "Photo CD": ("a.pcd", lambda: bytes(2048) + b"PCD_IPI" + bytes(2048), "broken or truncated PCD"),
    "PCX": ("a.pcx", lambda: pcx(60_000), "--max-pixels 3600"),
    "DCX": ("a.dcx", lambda: struct.pack("<3I", 0x3ADE68B1, 12, 0) + pcx(60_000), "--max-pixels 3600"),
    "IM": (
        "a.im", lambda: IM.ljust(511, b"\0") + b"\x1a", "3600",
    ),
    "FLI": ("a.fli", lambda: FLI + struct.pack("<IHH8x", 16, 0xF1FA, 0) * 2, "--max-pixels 3600"),
    "XBM": (
        "a.xbm", lambda: XBM, "--max-pixels 3600",
    ),
    "XPM": ("a.xpm", lambda: b'/* XPM */\nstatic char * a[] = {\n"60000 60000 1 1",\n"a c #102030",\n"a"};\n', "3600"),
    "YUV4MPEG2": ("a.y4m", lambda: b"YUV4MPEG2 W60000 H60000 F25:1 Ip C420\nFRAME\n", ""),
    **{f"a clip, {suffix}": (f"a.{suffix}", partial(clip, suffix), "so small a file") for suffix in CLIPS},
    **{f"a sound, {kind}": (f"a.{kind}", partial(sound, kind), "") for kind in SOUNDS},
    "a clip that grows": ("a.ts", lambda: clip("ts", 64, 64) + clip("ts"), "a later frame of 4096 x 2560 pixels"),
    "CSV, columns": ("a.csv", lambda: b"1," * 500_000 + b"1\n", "columns"),
    "TSV, columns": ("a.tsv", lambda: b"1\t" * 500_000 + b"1\n", "columns"),
    "Parquet": ("a.parquet", lambda: columns(pl.DataFrame.write_parquet), "the parquet inside takes more"),
    "Arrow": ("a.arrow", lambda: columns(pl.DataFrame.write_ipc, compression="zstd"), "the arrow inside"),
    "NIfTI": ("a.nii", lambda: nifti((1 << 14, 1 << 14, 1 << 14)), "cut short"),
    "NIfTI, packed": ("a.nii.gz", lambda: igzip.compress(nifti((4, 4, 4), 1 << 30), 1), "more than such"),
    "HDF5": ("a.h5", lambda: hdf5((1 << 20, 1 << 20), (64, 64)), "of memory"),
    "NetCDF, a chunk": ("a.nc", lambda: hdf5((1 << 14, 1 << 14), (1 << 14, 1 << 14)), "of memory"),
    "NRRD": ("a.nrrd", lambda: NRRD + b"encoding: raw\n\n", "cut short"),
    "NRRD, packed": (
        "a.nrrd", lambda: NRRD.replace(b"99999", b"9") + PACKED + igzip.compress(bytes(1 << 30), 1), "more",
    ),
    "MetaImage, packed": ("a.mha", lambda: META + deflated(1 << 30), "more than such a file can hold"),
    "DICOM, frames": ("a.dcm", lambda: dicom_bytes(stating(NumberOfFrames=99_999)), "cut short"),
    "DICOM, coded": ("a.dcm", lambda: dicom_bytes(coded(60_000)), "would take"),
    "DICOM, stream": ("a.dcm", lambda: dicom_bytes(coded(14)), "holds a stream of 60000 x 60000"),
    "npy": ("a.npy", lambda: npy((1 << 20, 1 << 20)) + bytes(64), "cut short"),
    "npy, header": ("a.npy", lambda: b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{" * 9_999_999, "header"),
}  # fmt: skip
KERNELS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "YAML, aliases": ("k.yaml", ALIASES.encode),
    "YAML, depth": ("k.yaml", lambda: b"name: a\nweights: " + b"[" * 200_000),
    "YAML, length": ("k.yaml", lambda: b"name: a\nweights: [" + b"1," * 20_000_000 + b"1]"),
    "YAML, padding": (
        "k.yaml",
        lambda: b"name: a\nweights: [[1, 2], [3, 4]]\npadding: 20000\npad_mode: reflect\n",
    ),
    "YAML, dilation": (
        "k.yaml",
        lambda: b"name: a\nweights: [[1, 2], [3, 4]]\npadding: same\ndilation: 1000000\n",
    ),
    "YAML, dilation of a line": (
        "k.yaml",
        lambda: b"name: a\nweights: [1, 2, 3]\npadding: same\ndilation: 9999999\n",
    ),
    "YAML, dilation alone": ("k.yaml", lambda: b"name: a\nweights: [1, 2, 3]\ndilation: 9999999\n"),
    "YAML, parametric": ("k.yaml", lambda: b"name: a\nparametric: gaussian:390\n"),
    "YAML, a number": ("k.yaml", lambda: b"name: a\nweights: [1e999999999/3]"),
    "npz": ("k.npz", lambda: zipped("a.npy", npy((16_000, 16_000)), 1000)),
    "npz, weights": ("k.npz", lambda: zipped("a.npy", npy((3_000, 3_000), "|i1"), 9)),
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
    data = content()
    assert identify(data[:HEAD], file)[0] == readable(file)
    (tmp_path / file).write_bytes(data)
    done = measured("filter", file, *BOX, "--frames", "all", "-o", "out.tif", cwd=tmp_path)
    check(done)
    assert fragment in done.words
    assert [path.name for path in tmp_path.iterdir()] == [file]


def test_every_format_has_its_bomb() -> None:
    """A new format fails here until a small file that would become huge is among `PICTURES`, or `KERNELS`."""
    found = {readable(file).name for file, _, _ in PICTURES.values()}
    assert found | {"zarr"} == {
        row.name for row in READ
    }  # a folder: its bombs are in tests/media/test_zarr.py
    assert {Path(file).suffix for file, _ in KERNELS.values()} >= set(SUFFIXES)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name: str, tmp_path: Path) -> None:
    file, content = KERNELS[name]
    (tmp_path / file).write_bytes(content())
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    check(measured("filter", "a.png", "-k", file, "-o", "-", cwd=tmp_path))


COMMANDS = {
    "dilation": ("filter", "a.png", *BOX, "--dilation", 1_000_000, "-o", "b.png"),
    "matrix": ("matrix", "--input", 999_999, "-k", "1,2,1", "-o", "w.csv"),
    "matrix of a picture": ("matrix", "--input", "999x999", *BOX, "-o", "w.npy"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_numbers_on_the_command_line(name: str, tmp_path: Path) -> None:
    Image.new("L", (64, 64)).save(tmp_path / "a.png")
    check(measured(*COMMANDS[name], cwd=tmp_path))


def test_a_long_list_of_weights_is_read_at_once(tmp_path: Path) -> None:
    """600 kB of text: 300,000 weights."""
    Image.new("L", (9, 9)).save(tmp_path / "a.png")
    (tmp_path / "k.yaml").write_bytes(b"name: a\nweights: [" + b"1," * 299_999 + b"1]")
    check(measured("filter", "a.png", "-k", "k.yaml", "--padding", "same", "-o", "b.png", cwd=tmp_path), (0,))


@pytest.mark.parametrize("kernel", ["temporal-gaussian:30000", "temporal-mean:300000"])
def test_a_large_kernel_is_shown_at_once(kernel: str, tmp_path: Path) -> None:
    done = measured("kernels", "show", kernel, cwd=tmp_path)
    assert (done.code, done.words) == (0, "")
    assert done.busy < SECONDS


SPARSE_SOUNDS = {"flac": "zeros", "mp3": "zeros", "ogg": "without pages"}


@pytest.mark.parametrize("suffix", SPARSE_SOUNDS)
def test_a_sound_that_goes_on_in_nothing(suffix: str, tmp_path: Path) -> None:
    """A terabyte that takes no room on the disk."""
    with (tmp_path / f"a.{suffix}").open("wb+") as file:
        soundfile.write(file, np.zeros(4000), 8000, format=suffix.upper())
        file.truncate(1 << 40)
    done = measured("filter", f"a.{suffix}", *BOX, "-o", "b.wav", cwd=tmp_path)
    check(done)
    assert SPARSE_SOUNDS[suffix] in done.words


@pytest.mark.parametrize("suffix", ["npy", "zarr", "tif", "nii", "h5", "png", "mha"])
def test_a_store_of_nothing_but_its_fill_value(suffix: str, tmp_path: Path) -> None:
    """Its 476 bytes may state any size: the result is held against the room on the disk before a box is counted."""
    zarr.create_array(tmp_path / "a.zarr", shape=(10**9,) * 3, chunks=(1, 15, 20), dtype="float32")
    done = measured("filter", "a.zarr", *BOX, "-o", f"o.{suffix}", cwd=tmp_path)
    check(done)
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]


@pytest.mark.parametrize("suffix", ["avi", "mkv", "ts"])
def test_a_clip_that_goes_on_in_nothing(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is read up to 256 MB of zeros; here to 16."""
    monkeypatch.setitem(scan._NOTHING, "video", 1 << 24)
    path = make(tmp_path / f"a.{suffix}", pattern(5))
    with path.open("rb+") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConvError, match="damaged: 16 MB of zeros before byte"):
        api.motion(path)
    assert capfd.readouterr().err == ""


NETS = {
    "a kernel": ["conv: {kernel: 'gaussian:390'}"],
    "parameters": ["flatten", "dense: {outputs: 400000}"],
    "maps": ["conv: {maps: 1000000, size: 1}"],
    "padding": ["conv: {maps: 1, size: 3, padding: 20000, pad_mode: reflect}"],
    "dilation": ["conv: {maps: 1, size: 3, padding: 10000, dilation: 10000}"],
    "steps": ["upsample: {scale: 10}"] * 6 + ["gpool: {}"],
    "transposed": ["tconv: {maps: 1, size: 3, stride: 1000000}"],
    "transposed and cropped": ["tconv: {maps: 1, size: 3, stride: 9000, padding: 130000}"],
    "work": ["conv: {maps: 1, size: 1000, padding: 1000}"],
    "work of pools": ["pool: {kind: avg, size: 2000, padding: 1000, stride: 1}"],
}


@pytest.mark.parametrize("name", NETS)
def test_net(name: str, tmp_path: Path) -> None:
    """A hundred bytes of text and a small picture: refused before torch is loaded, which alone takes 200 MB."""
    Image.new("L", (32, 32)).save(tmp_path / "a.png")
    (tmp_path / "n.yaml").write_text("seed: 0\nlayers:\n" + "".join(f"- {layer}\n" for layer in NETS[name]))
    done = measured("net", "run", "n.yaml", "a.png", "-o", "o.npy", cwd=tmp_path)
    check(done)
    assert ("--max-pixels" in done.words) == (name != "a kernel")
    assert not (tmp_path / "o.npy").exists()


HONEST: dict[str, Callable[[], bytes]] = {
    "a.png": lambda: png(8_000, 8_000, bits=1, deflated=8_008_000),
    "a.gif": lambda: saved((3_000, 2_500), "GIF"),
    "a.webp": lambda: saved((2_100, 2_000), "WEBP", "RGBA", lossless=True),
    "a.tif": lambda: saved((6_000, 5_000), "TIFF", "1", compression="group4"),
}


@pytest.mark.parametrize("name", HONEST)
def test_a_blank_page_is_small_and_no_bomb(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(HONEST[name]())
    check(measured("filter", name, *BOX, "-o", "out.png", cwd=tmp_path), (0,))


def test_a_black_clip_is_small_and_no_bomb(tmp_path: Path) -> None:
    """4096 x 2160, the largest of the usual sizes; its decoder keeps several frames."""
    (tmp_path / "a.mp4").write_bytes(clip("mp4", 2160))
    done = measured("filter", "a.mp4", *BOX, "-o", "out.mp4", cwd=tmp_path)
    assert done.code == 0, done.words
    assert done.busy < SECONDS
    assert done.megabytes < 450


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
