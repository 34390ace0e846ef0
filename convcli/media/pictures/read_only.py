"""Pictures that are read and not written: one row for each format, decoded by imageio's plug-in for Pillow.

Names, first bytes and where a picture ends in its file, by the whole file (0 where its kind is not known); imageio is
loaded with the first picture.  Results go to a format of ``registry.FORMATS``.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from math import prod
from typing import IO, TYPE_CHECKING, Any

from convcli.common import ConvError, frozen
from convcli.common.budget import IN_PYTHON, MODEST, PICTURE, TILES
from convcli.data import Colour, Source
from convcli.media.options import ReadOptions
from convcli.media.pictures.boxes import avif_carriers, end_of, jpeg2000_carriers

if TYPE_CHECKING:
    import numpy as np

_HEAD = 1 << 20  # bytes that hold the headers, with comments of any length
_TAIL = 26  # bytes of a Targa's last record
# FFmpeg's pixel formats that PyAV makes no arrays of, and others that hold the same
_PLAIN = {"monob": "gray", "monow": "gray", "ya8": "rgba", "ya16le": "rgba64le"} | dict.fromkeys(
    ("rgb555le", "pal8", "bgr24", "0rgb", "0bgr", "rgb0", "bgr0"), "rgb24"
)
_CODECS = {"TGA": "targa", "NETPBM": "ppm", "SUN": "sunrast"}  # that are called otherwise there

_RECORD = b"TRUEVISION-XFILE.\0"
_FRAMES = (0xF1FA, 0xF100)  # of a FLIC: pictures, and what stands before the first
# Bytes of a block of 4 by 4 pixels, by a code of four letters or the first of the codes of a kind
_BLOCKS = {b"DXT1": 8, b"ATI1": 8, b"BC4U": 8} | dict.fromkeys(
    (b"DXT3", b"DXT5", b"ATI2", b"BC5U", b"BC5S"), 16
)
_CODES = {100: 0, 94: 16, 85: 0, 82: 16, 79: 8, 73: 16, 70: 8, 33: 0, 27: 64, 0: 0}


def icon_end(data: bytes) -> int:
    """Return the end of the last icon; one that states fewer bytes than its pixels take has them, and a mask."""
    end = 0
    for size, at in struct.iter_unpack("<8xII", data[6 : 6 + 16 * data[4]]):
        form = struct.unpack("<Iii2xH16xI", data[at : at + 36].ljust(36, b"\0"))
        head, width, height, bits, used = form
        pixels, mask = ((width * depth + 31) // 32 * 4 * height // 2 for depth in (bits, 1))
        least = head + 4 * (used or (1 << bits if bits <= 8 else 0)) + pixels if head == 40 else 0
        end = max(end, at + (size if size >= least else least + mask))
    return end


def pcx_end(data: bytes) -> int:
    """Return where runs end, and a palette behind them: Pillow takes one at the end of the file alone."""
    top, bottom, planes, row = struct.unpack_from("<6xH2xH53xBH", data)
    at, left = 128, planes * row * (bottom - top + 1)
    while left > 0 and at < len(data):
        run = data[at] >= 0xC0
        left -= data[at] & 0x3F if run else 1
        at += 1 + run
    return at + 769 * (data[at : at + 1] == b"\x0c" and len(data) >= at + 769)


def sgi_end(data: bytes) -> int:
    width, height, channels = struct.unpack_from(">HHH", data, 6)
    rows = height * channels
    if data[2] != 1:
        return 512 + width * rows * data[3]
    table = struct.unpack_from(f">{2 * rows}I", data, 512) if len(data) >= 512 + 8 * rows else ()
    return max(map(sum, zip(table[:rows], table[rows:], strict=True)), default=0)


def sun_end(data: bytes) -> int:
    width, height, depth, length, kind, _, colours = struct.unpack_from(">7I", data, 4)
    row = -(-width * depth // 8)
    return 32 + colours + (length if kind == 2 else height * (row + row % 2))


def tga_end(data: bytes) -> int:
    """Return the end of a Targa of 16 bits with its last record, and what the record says is before it."""
    words, kind, colours, bits = data[0], data[2], *struct.unpack_from("<5xHB", data)
    width, height, depth = struct.unpack_from("<12xHHB", data)
    at, left, each = 18 + words + colours * -(-bits // 8), width * height, depth // 8
    if kind < 8:
        at, left = at + left * each, 0
    while left > 0 and at < len(data):
        count = (data[at] & 0x7F) + 1
        at += 1 + each * (1 if data[at] & 0x80 else count)
        left -= count
    if data[at + 8 : at + 26] == _RECORD:
        return at + 26
    return len(data) if data.endswith(_RECORD) and any(data[-26:-18]) else at


def dds_end(data: bytes) -> int:
    """Return the end of all faces, slices, items and smaller copies."""
    height, width, depth, copies = struct.unpack_from("<12xII4xII", data)
    flags, name, bits, more = struct.unpack_from("<80xI4sI20xI", data)
    start, items, block = 128, (more >> 9 & 0x7F).bit_count() or 1, 0
    if name == b"DX10":
        form, cube, items = struct.unpack_from("<128xI4xII", data)
        start, items = 148, max(items, 1) * (6 if cube & 4 else 1)
        block = next(size for first, size in _CODES.items() if first <= form)
    elif flags & 4:
        block = _BLOCKS.get(name, 0)
    if flags & 4 and not block:
        return 0
    end = start + 1024 * bool(flags & 0x20)
    for copy in range(min(max(copies, 1), 32)):
        w, h = max(width >> copy, 1), max(height >> copy, 1)
        slices = max(depth >> copy, 1) if more & 0x200000 else 1
        size = -(-w // 4) * -(-h // 4) * block if 0 < block < 64 else w * h * (4 if block else -(-bits // 8))
        end += size * slices * items
    return end


def ftex_end(data: bytes) -> int:
    copies, at = struct.unpack_from("<16xi8xi", data)
    for _ in range(copies):
        if not 0 < at < len(data) - 4:
            return 0
        at += 4 + int.from_bytes(data[at : at + 4], "little")
    return at


def blp_end(data: bytes) -> int:
    table = struct.unpack_from("<32I", data, 28 if data[3:4] == b"1" else 20)
    return max(map(sum, zip(table[:16], table[16:], strict=True)))


def fli_end(data: bytes) -> int:
    """Return the end of the last frame."""
    at = 128
    while at + 6 <= len(data):
        size, kind = struct.unpack_from("<IH", data, at)
        if kind not in _FRAMES or size < 6:
            break
        at += size
    return at


def psd_end(data: bytes) -> int:
    """Return the end of the merged picture, which is the last section."""
    channels, height, width, depth = struct.unpack_from(">12xHIIH", data)
    at = 26
    for _ in range(3):  # colours, resources, layers
        at += 4 + struct.unpack_from(">I", data, at)[0]
    (packed,) = struct.unpack_from(">H", data, at)
    rows = channels * height
    if packed == 0:
        return at + 2 + rows * -(-width * depth // 8)
    return at + 2 + 2 * rows + sum(struct.unpack_from(f">{rows}H", data, at + 2)) if packed == 1 else 0


@frozen
class Rarer:
    """A format that imageio reads with Pillow.

    Attributes
    ----------
    name
        As messages say it, in lower case.
    suffixes
        In lower case with the dot.
    decoder
        Pillow's name: for a file of this format no other decoder is tried.
    recognises
        Whether the first bytes of a file are of this format.
    bits
        How many bits a channel has by the file's header, where that may be more than the 8 that Pillow keeps.
    misread
        What of the format Pillow reads as something else, by the file's header: it is refused.
    end
        Where the picture ends, by the whole file; without it, what its decoder has not read lies behind.
    carriers
        What it carries, by the whole file and the keys of `convcli.media.carriers`.
    trailer
        A pattern of what the decoder does not read and is no data.
    mended
        The pixels as they are meant, of what Pillow makes of them and the first bytes.
    slow
        Whether Pillow decodes it in Python, so that small files must not become large pictures.
    apart
        Whether it holds pictures of other codings or sizes than the file states, so that a child process tries first.
    beside
        How many components of tiles its decoder sets aside beside the pixels, by the whole file.
    ffmpeg
        The width and height of a file that FFmpeg reads, because Pillow's decoder does not read it, or not right.
    deep
        The function of imagecodecs for files of more than 8 bits, of which Pillow keeps 8, or shifts them to 16.
    """

    name: str
    suffixes: tuple[str, ...]
    decoder: str
    recognises: Callable[[bytes], bool]
    bits: Callable[[bytes], int] = lambda head: 8
    misread: Callable[[bytes], str] = lambda head: ""
    end: Callable[[bytes], int] | None = None
    carriers: Callable[[bytes], Iterator[str]] | None = None
    trailer: bytes = b""
    mended: Callable[[np.ndarray, bytes], np.ndarray] = lambda pixels, head: pixels
    slow: bool = False
    apart: bool = False
    beside: Callable[[bytes], int] | None = None
    ffmpeg: Callable[[bytes], tuple[int, int] | None] = lambda head: None
    deep: str = ""


def _magic(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _pattern(pattern: bytes) -> Callable[[bytes], bool]:
    return lambda head: re.match(pattern, head) is not None


def _avif(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and (head[8:12] in (b"avif", b"avis") or b"avif" in head[16:64])


def _cursor(head: bytes) -> bool:
    return head[:4] == b"\0\0\2\0" and head[4:6] > b"\0\0"  # without cursors it may be a Targa


def _dib(head: bytes) -> bool:
    return head[:4] == b"\x28\0\0\0" and head[12:14] == b"\1\0"  # a BMP's second header, of one plane


def _flic(head: bytes) -> bool:
    return head[4:6] in (b"\x11\xaf", b"\x12\xaf") and head[14:16] in (b"\0\0", b"\3\0")


def _pcx(head: bytes) -> bool:
    return len(head) >= 68 and head[0] == 10 and head[1] in (0, 2, 3, 5) and head[2] < 2 and head[3] < 9


def _im(head: bytes) -> bool:
    return b"Image type: " in head[:512] and head[510:512] in (b"\0\x1a", b"\x1a\0", b"\0\0")


def _tga(head: bytes) -> bool:
    """Targa has no signature: the fields of its header must make sense."""
    return (
        len(head) > 18
        and head[1] < 2
        and head[2] in (1, 2, 3, 9, 10, 11)
        and head[16] in (1, 8, 16, 24, 32)
        and any(head[12:14])
        and any(head[14:16])
    )


# A netpbm header is a letter and a number, then width, height and the value of white, with comments.
_NETPBM_HEADER = re.compile(rb"P([2356])" + rb"\s+(?:#[^\n]*\n\s*)*(\d+)" * 3)


_NETPBM_NUMBER = re.compile(rb"#[^\n]*|(\d+)\s*")


def _netpbm_bits(head: bytes) -> int:
    found = _NETPBM_HEADER.match(head)
    return int(found[4]).bit_length() if found else 8


def _netpbm_by_ffmpeg(head: bytes) -> tuple[int, int] | None:
    if found := re.match(rb"PF\s+(\d+)\s+(\d+)\s", head):  # floats, which Pillow does not read
        return int(found[1]), int(found[2])
    found = _NETPBM_HEADER.match(head)  # of colours Pillow keeps 8 bits
    return (int(found[2]), int(found[3])) if found and found[1] == b"6" and int(found[4]) > 255 else None


def _netpbm_end(head: bytes) -> int:
    if found := re.match(rb"PF\s+(\d+)\s+(\d+)\s+\S+\s", head):
        return found.end() + 12 * int(found[1]) * int(found[2])
    found = _NETPBM_HEADER.match(head)
    if not found:
        return 0
    kind, width, height, white = map(int, found.groups())
    samples = width * height * (3 if kind in (3, 6) else 1)
    if kind > 3:
        return found.end() + 1 + samples * (2 if white > 255 else 1)
    numbers = (one for one in _NETPBM_NUMBER.finditer(head, found.end()) if one[1])  # as text
    last = next(islice(numbers, max(samples - 1, 0), None), None)
    return last.end() if last else 0


def _psd_carriers(data: bytes) -> Iterator[str]:
    """Layers, and what lies beside them in blocks with keys."""
    at = 26
    for _ in range(2):  # colours, resources
        at += 4 + struct.unpack_from(">I", data, at)[0]
    size, layers, count = struct.unpack(">IIH", data[at : at + 10].ljust(10, b"\0"))
    section = data[at + 4 : at + 4 + size]
    if size and ((layers and count) or re.search(rb"8BIM(?:Lr16|Lr32|Layr)(?!\0{4})", section)):
        yield "frames"
    yield from (key.decode() for key in re.findall(rb"8BIM(Patt|Pat[23]|Anno|lnk[23DE])(?!\0{4})", section))


def _jpeg2000_bits(head: bytes) -> int:
    size = head.find(b"\xff\x51")  # marker SIZ: the depth of the first component stands at its byte 40
    return (head[size + 40] & 0x7F) + 1 if 0 <= size < len(head) - 40 else 8


def _avif_bits(head: bytes) -> int:
    box = head.find(b"av1C")  # bits high_bitdepth and twelve_bit
    flags = head[box + 6] if 0 <= box < len(head) - 6 else 0
    return 8 + 2 * (flags >> 6 & 1) + 2 * (flags >> 5 & 1)


def _dds_bits(head: bytes) -> int:
    return 16 if head[84:88] == b"DX10" and head[128:129] in (b"\x5e", b"\x5f", b"\x60") else 8  # BC6H


def _tiles(data: bytes) -> int:
    from convcli.media.pictures.boxes import stated_parts

    return prod(stated_parts(data))


def _jpeg2000_misread(head: bytes) -> str:
    size = head.find(b"\xff\x51")
    return "signed samples" if 0 <= size < len(head) - 40 and head[size + 40] & 0x80 else ""


def _psd_misread(head: bytes) -> str:
    depth, mode = struct.unpack_from(">HH", head, 22)
    return f"{depth} bits a channel" if depth not in (1, 8) else "several colours of ink" if mode == 7 else ""


def _sun_by_ffmpeg(head: bytes) -> tuple[int, int] | None:
    width, height, depth, _, kind = struct.unpack_from(">5I", head, 4)
    odd = (
        kind == 2 and -(-width * depth // 8) % 2
    )  # runs go over the ends of rows, and filling is none of their bytes
    return (width, height) if depth == 32 or odd else None


def _tga_sixteen(head: bytes) -> tuple[int, int] | None:
    # Of a palette or of colours, whose bit of alpha Pillow turns round; grey may have 8 bits of alpha.
    depth = {1: head[7], 2: head[16]}.get(head[2] & 7)
    return struct.unpack_from("<HH", head, 12) if depth == 16 else None


def _sgi_by_ffmpeg(head: bytes) -> tuple[int, int] | None:
    known = head[10:12] in (b"\0\1", b"\0\3", b"\0\4")  # channels
    return struct.unpack_from(">HH", head, 6) if known and (head[2] == 1 or head[3] == 2) else None


def _pam(head: bytes) -> dict[bytes, bytes]:
    return dict(re.findall(rb"^(\w+)[ \t]+(\w+)", head.partition(b"ENDHDR")[0], re.MULTILINE))


def _pam_end(head: bytes) -> int:
    width, height, depth, top = (int(_pam(head)[key]) for key in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    return head.index(b"ENDHDR") + 7 + width * height * depth * (2 if top > 255 else 1)


def _pam_misread(head: bytes) -> str:
    said = _pam(head)
    alpha = said[b"DEPTH"] in (b"2", b"4") and said[b"MAXVAL"] in (b"255", b"65535")
    known = said[b"DEPTH"] in (b"1", b"3") or (alpha and said.get(b"TUPLTYPE") != b"CMYK")
    return "" if known and b"TUPLTYPE" in said else "channels of this kind"


def _without_mask(pixels: np.ndarray, head: bytes) -> np.ndarray:
    """Return an icon with the transparency of its mask if its alpha is zero everywhere, as Windows shows it."""
    import numpy as np

    if pixels.shape[-1] != 4 or pixels[..., 3].any():
        return pixels
    height, width = pixels.shape[:2]
    pixels = pixels.copy()
    pixels[..., 3] = 255
    for entry in range(6, 6 + 16 * head[4], 16):
        (start,) = struct.unpack_from("<I", head, entry + 12)
        if struct.unpack_from("<Iii2xH", head, start)[1:] == (width, 2 * height, 32):
            size, row = struct.unpack_from("<I", head, start)[0], -(-width // 32) * 4
            mask = np.frombuffer(head, np.uint8, row * height, start + size + 4 * width * height)
            hidden = np.unpackbits(mask.reshape(height, row), axis=1)[::-1, :width]
            pixels[..., 3] = np.where(hidden, 0, 255)
    return pixels


_NETPBM = (
    # A comment may be longer than the first bytes.
    rb"P[Ff]\s+-?[0-9]|P[4-6]\s+(#[^\n]*\n\s*)*(\d+\s|#[^\n]*\Z)|P[1-3]\s+(#[^\n]*\n\s*)*(\d+[ \t]+\d+\s|#[^\n]*\Z)"
)
_JPEG2000 = _magic(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")

# Those with the vaguest beginnings come last.
RARER: tuple[Rarer, ...] = (
    Rarer(
        *("avif", (".avif", ".avifs"), "AVIF", _avif),
        *(_avif_bits, lambda head: "", end_of, avif_carriers),
        apart=True,
        deep="avif_decode",
    ),
    Rarer(
        *("jpeg2000", (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"), "JPEG2000", _JPEG2000),
        *(_jpeg2000_bits, _jpeg2000_misread, end_of, jpeg2000_carriers),
        beside=_tiles,
        deep="jpeg2k_decode",
    ),
    Rarer(
        *("netpbm", (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"), "PPM", _pattern(_NETPBM)),
        *(_netpbm_bits, lambda head: "", _netpbm_end),
        ffmpeg=_netpbm_by_ffmpeg,
    ),
    Rarer(
        *("pam", (".pam",), "PAM", _pattern(rb"P7\s*\n")),
        misread=_pam_misread,
        end=_pam_end,
        ffmpeg=lambda head: (int(_pam(head)[b"WIDTH"]), int(_pam(head)[b"HEIGHT"])),
    ),
    Rarer(
        *("psd", (".psd",), "PSD", _magic(b"8BPS\0\1")),
        misread=_psd_misread,
        mended=lambda pixels, head: 255 - pixels if head[23] == 1 else pixels,  # ones are black
        end=psd_end,
        carriers=_psd_carriers,
    ),
    Rarer("dds", (".dds",), "DDS", _magic(b"DDS "), _dds_bits, end=dds_end),
    Rarer("dib", (".dib",), "DIB", _dib),
    Rarer("qoi", (".qoi",), "QOI", _magic(b"qoif"), slow=True, trailer=rb"\0{7}\x01"),
    Rarer("ico", (".ico",), "ICO", _magic(b"\0\0\1\0"), apart=True, mended=_without_mask, end=icon_end),
    Rarer("cur", (".cur",), "CUR", _cursor, apart=True, mended=_without_mask, end=icon_end),
    Rarer(
        "icns", (".icns",), "ICNS", _magic(b"icns"), apart=True, end=lambda data: int.from_bytes(data[4:8])
    ),
    Rarer("blp", (".blp",), "BLP", _magic(b"BLP1", b"BLP2"), apart=True, end=blp_end),
    Rarer("ftex", (".ftc", ".ftu"), "FTEX", _magic(b"FTEX"), end=ftex_end),
    Rarer("sun", (".ras", ".sun"), "SUN", _magic(b"\x59\xa6\x6a\x95"), ffmpeg=_sun_by_ffmpeg, end=sun_end),
    Rarer(
        *("sgi", (".sgi", ".rgb", ".rgba", ".bw"), "SGI", _magic(b"\x01\xda")),
        ffmpeg=_sgi_by_ffmpeg,
        end=sgi_end,
    ),
    Rarer("msp", (".msp",), "MSP", _magic(b"DanM", b"LinS")),
    Rarer("dcx", (".dcx",), "DCX", _magic(b"\xb1\x68\xde\x3a")),
    Rarer("xpm", (".xpm",), "XPM", _magic(b"/* XPM */"), slow=True),
    Rarer(
        *("xbm", (".xbm",), "XBM", _pattern(rb"\s*(/\*.*?\*/\s*)?#define\s+\w*width\s+\d+\s+#define\s")),
        mended=lambda pixels, head: 255 - pixels,  # ones are ink
    ),
    Rarer("fli", (".fli", ".flc"), "FLI", _flic, end=fli_end),
    Rarer("im", (".im",), "IM", _im),
    Rarer("pcx", (".pcx",), "PCX", _pcx, end=pcx_end),
    Rarer("pixar", (".pxr",), "PIXAR", _magic(b"\x80\xe8\0\0")),
    Rarer("gbr", (".gbr",), "GBR", lambda head: head[4:8] == b"\0\0\0\2" and head[20:24] == b"GIMP"),
    Rarer("xvthumb", (".p7",), "XVThumb", _magic(b"P7 332")),
    Rarer("pcd", (".pcd",), "PCD", lambda head: head[2048:2052] == b"PCD_"),
    Rarer(
        *("tga", (".tga", ".vda", ".icb", ".vst"), "TGA", _tga),
        ffmpeg=_tga_sixteen,
        end=lambda data: tga_end(data) if _tga_sixteen(data) else 0,
        trailer=rb"(?:.{0,18}-XFILE|[XFILE]{0,5})\.\0",
    ),
)


def decode(data: bytes, decoder: str, frames: str) -> None:
    """Decode a picture with one of Pillow's decoders, its first frame or all; what it does not know is no error."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    try:
        with Image.open(io.BytesIO(data), formats=(decoder,)) as image:
            first = image.tell()
            for index in range(getattr(image, "n_frames", 1) if frames == "all" else 1):
                image.seek(first + index)
                image.load()
    except Image.UnidentifiedImageError:
        pass  # nothing is decoded, and the caller finds the words


def source(fp: IO[bytes], options: ReadOptions) -> Source:
    """Open a picture of one of the formats here.

    Raises
    ------
    ConvError
        For other, broken or truncated content, and for more than ``options.max_pixels``.
    """
    from convcli.data.info import ArraySource
    from convcli.media import trial
    from convcli.media.carriers import is_data, left_out, shown
    from convcli.media.files.target import whole
    from convcli.media.pictures.image import picture_source
    from convcli.media.pictures.one_decoder import ImageioPicture
    from convcli.media.shared import decoding

    head, size = fp.read(_HEAD), fp.seek(0, os.SEEK_END)
    fp.seek(max(len(head), size - _TAIL))
    head += fp.read()
    fp.seek(0)
    row = next((row for row in RARER if row.recognises(head)), RARER[0])
    name = row.name.upper()
    with decoding(row.decoder):
        what, ffmpeg = row.misread(head), row.ffmpeg(head)
    if what:
        raise ConvError(f"{name} with {what} is not read: convert it to .npy, TIFF or PNG")
    found = shown(name, head)
    with decoding(row.decoder):
        data = whole(fp) if row.end or row.carriers else b""
        end = _end(row, data)
        found += row.carriers(data[: end or size]) if row.carriers else ()
    if 0 < end < size:
        found += ["frames"] * bool(re.match(rb"\s*P[1-7Ff](?:\s|\Z)", data[end:])) or ["behind"] * is_data(
            data[end:]
        )
        fp.close()
        fp, size = io.BytesIO(data[:end]), end
    fp.seek(0)
    if ffmpeg:
        return _by_ffmpeg(fp, name, options, size, ffmpeg, left_out(name, found))
    with decoding(row.decoder):
        if row.beside is not None:
            TILES.allow(row.beside(whole(fp)), f"the tiles of a {name}", size, options.max_pixels)
        if row.apart:
            most = PICTURE.units(size, options.max_pixels)
            memory = None if most is None else max(most * PICTURE.each, MODEST)
            frames = "all" if options.all_frames else "first"
            trial.check(whole(fp), row.decoder, f"{__name__}:decode", row.decoder, frames, memory=memory)
    fp.seek(0)
    picture = ImageioPicture(fp, row.decoder, found, rb".*" if end else row.trailer)
    opened = picture_source(fp, picture, options, size, IN_PYTHON if row.slow else PICTURE)
    bits, kept = row.bits(head), {"uint8": 8, "uint16": 16}.get(opened.info.dtype)
    deep = row.deep and kept and kept != bits > 8
    if deep and (pixels := _deep(data[:end], row.deep, opened, bits)) is not None:
        white = 2**bits - 1 if bits < 16 else None
        opened, kept = ArraySource(pixels, replace(opened.info, dtype="uint16", white=white)), bits
    more = (
        [f"the {bits} bits a channel of this {name} are read as {kept}"] if kept and kept != bits > 8 else []
    )
    opened.info = replace(opened.info, notes=(*opened.info.notes, *more))
    if row.mended is Rarer.mended:
        return opened
    return ArraySource(row.mended(opened.strip(0, opened.info.length), head), opened.info)


def _end(row: Rarer, data: bytes) -> int:
    """Return where the picture ends; 0 where that is not known, so that the decoder says what is wrong."""
    try:
        return row.end(data) if row.end else 0
    except (struct.error, LookupError, ValueError):
        return 0


def _deep(data: bytes, decoder: str, shown: Source, bits: int) -> np.ndarray | None:
    """Return all bits of a picture as the numbers they are, None unless Pillow shows the same in 8 bits."""
    import imagecodecs
    import numpy as np

    from convcli.media.shared import decoding

    eight = shown.strip(0, shown.info.length) * (255 / np.iinfo(shown.info.dtype).max)
    with decoding("picture"):
        pixels: np.ndarray = getattr(imagecodecs, decoder)(data)
    if pixels.dtype != np.uint16 or pixels.shape != eight.shape:
        return None
    apart = np.abs(pixels * (255 / (2**bits - 1)) - eight)
    alike = np.minimum(apart, 256 - apart).max(initial=0) < 2  # Pillow rounds 255.5 to 0
    return pixels if alike else None


def _by_ffmpeg(
    fp: IO[bytes], name: str, options: ReadOptions, stored: int, size: tuple[int, int], notes: tuple[str, ...]
) -> Source:
    """Open a picture of a size by FFmpeg's decoder of this name."""
    import av

    from convcli.data.info import ArraySource
    from convcli.media.shared import check_pixels, decoding, info_of

    data = fp.read()
    with decoding(name):
        check_pixels(*size, options, name, stored=stored)
        av.logging.set_level(None)
        named = "pfm" if data[:2] == b"PF" else _CODECS.get(name, name.lower())
        context: Any = av.CodecContext.create(named, "r")
        context.thread_count = 1
        frame = [*context.decode(av.Packet(data)), *context.decode(None)][0]
        plain = _PLAIN.get(frame.format.name)
        pixels = (frame.reformat(format=plain) if plain else frame).to_ndarray()
    fp.close()
    colour = {2: Colour.GREY, 3: Colour.RGB, 4: Colour.RGBA}[pixels.shape[-1] if pixels.ndim == 3 else 2]
    return ArraySource(pixels, info_of(pixels.shape, pixels.dtype.name, colour, notes=notes))
