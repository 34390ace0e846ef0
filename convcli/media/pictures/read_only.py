"""Pictures that are read and not written: one row for each format, decoded by imageio's plug-in for Pillow.

Names and first bytes only; imageio is loaded with the first picture.  Results go to a format of ``registry.FORMATS``.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import IO, Any

from convcli.common.errors import ConvError
from convcli.common.frozen import frozen
from convcli.data.info import Colour, Source
from convcli.media.options import ReadOptions

_HEAD = 4096  # bytes, as the registry reads


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
        Where the first picture ends, 0 where another cannot follow.
    channels
        How many the file has, 0 where all are read.
    ink
        Whether the file's ones are black, which Pillow shows as white.
    slow
        Whether Pillow decodes it in Python, so that small files must not become large pictures.
    ffmpeg
        Whether FFmpeg's decoder of this name reads the file, because Pillow's does not read all of the kind.
    """

    name: str
    suffixes: tuple[str, ...]
    decoder: str
    recognises: Callable[[bytes], bool]
    bits: Callable[[bytes], int] = lambda head: 8
    misread: Callable[[bytes], str] = lambda head: ""
    end: Callable[[bytes], int] = lambda head: 0
    channels: Callable[[bytes], int] = lambda head: 0
    ink: Callable[[bytes], bool] = lambda head: False
    slow: bool = False
    ffmpeg: Callable[[bytes], bool] = lambda head: False


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


def _netpbm_bits(head: bytes) -> int:
    found = _NETPBM_HEADER.match(head)
    return int(found[4]).bit_length() if found else 8


def _netpbm_end(head: bytes) -> int:
    found = _NETPBM_HEADER.match(head)
    if not found or found[1] in b"23":
        return 0
    kind, width, height, white = map(int, found.groups())
    return found.end() + 1 + width * height * (3 if kind == 6 else 1) * (2 if white > 255 else 1)


def _jpeg2000_bits(head: bytes) -> int:
    size = head.find(b"\xff\x51")  # marker SIZ: the depth of the first component stands at its byte 40
    return (head[size + 40] & 0x7F) + 1 if 0 <= size < len(head) - 40 else 8


def _avif_bits(head: bytes) -> int:
    box = head.find(b"av1C")  # bits high_bitdepth and twelve_bit
    flags = head[box + 6] if 0 <= box < len(head) - 6 else 0
    return 8 + 2 * (flags >> 6 & 1) + 2 * (flags >> 5 & 1)


def _dds_bits(head: bytes) -> int:
    return 16 if head[84:88] == b"DX10" and head[128:129] in (b"\x5e", b"\x5f", b"\x60") else 8  # BC6H


def _jpeg2000_misread(head: bytes) -> str:
    size = head.find(b"\xff\x51")
    return "signed samples" if 0 <= size < len(head) - 40 and head[size + 40] & 0x80 else ""


def _psd_misread(head: bytes) -> str:
    depth, mode = struct.unpack_from(">HH", head, 22)
    return f"{depth} bits a channel" if depth not in (1, 8) else "several colours of ink" if mode == 7 else ""


def _sun_misread(head: bytes) -> str:
    width, _, depth, _, kind = struct.unpack_from(">5I", head, 4)
    odd = kind == 2 and -(-width * depth // 8) % 2
    return "32 bits a pixel" if depth == 32 else "compressed rows of odd length" if odd else ""


def _tga_misread(head: bytes) -> str:
    depth = {1: head[7], 2: head[16]}.get(
        head[2] & 7
    )  # of a palette or of colours; grey may have 8 bits of alpha
    return "16 bits a pixel" if depth == 16 else ""


_NETPBM = rb"P[Ff]\s+-?[0-9]|P[4-6]\s+(#[^\n]*\n\s*)*\d+\s|P[1-3]\s+(#[^\n]*\n\s*)*\d+[ \t]+\d+\s"
_JPEG2000 = _magic(b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")

# Those with the vaguest beginnings come last.
RARER: tuple[Rarer, ...] = (
    Rarer("avif", (".avif", ".avifs"), "AVIF", _avif, _avif_bits),
    Rarer(
        "jpeg2000",
        (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc"),
        "JPEG2000",
        _JPEG2000,
        _jpeg2000_bits,
        _jpeg2000_misread,
    ),
    Rarer(
        "netpbm",
        (".ppm", ".pgm", ".pbm", ".pnm", ".pfm"),
        "PPM",
        _pattern(_NETPBM),
        _netpbm_bits,
        end=_netpbm_end,
    ),
    Rarer(
        *("psd", (".psd",), "PSD", _magic(b"8BPS\0\1")),
        misread=_psd_misread,
        channels=lambda head: head[13],
        ink=lambda head: head[23] == 1,
    ),
    Rarer("dds", (".dds",), "DDS", _magic(b"DDS "), _dds_bits),
    Rarer("dib", (".dib",), "DIB", _dib),
    Rarer("qoi", (".qoi",), "QOI", _magic(b"qoif"), slow=True),
    Rarer("ico", (".ico",), "ICO", _magic(b"\0\0\1\0")),
    Rarer("cur", (".cur",), "CUR", _cursor),
    Rarer("icns", (".icns",), "ICNS", _magic(b"icns")),
    Rarer("blp", (".blp",), "BLP", _magic(b"BLP1", b"BLP2")),
    Rarer("ftex", (".ftc", ".ftu"), "FTEX", _magic(b"FTEX")),
    Rarer("sun", (".ras", ".sun"), "SUN", _magic(b"\x59\xa6\x6a\x95"), misread=_sun_misread),
    Rarer(
        *("sgi", (".sgi", ".rgb", ".rgba", ".bw"), "SGI", _magic(b"\x01\xda"), lambda head: 8 * head[3]),
        ffmpeg=lambda head: head[2] == 1 and head[10:12] in (b"\0\1", b"\0\3", b"\0\4"),  # run lengths
    ),
    Rarer("msp", (".msp",), "MSP", _magic(b"DanM", b"LinS")),
    Rarer("dcx", (".dcx",), "DCX", _magic(b"\xb1\x68\xde\x3a")),
    Rarer("xpm", (".xpm",), "XPM", _magic(b"/* XPM */"), slow=True),
    Rarer(
        *("xbm", (".xbm",), "XBM", _pattern(rb"\s*(/\*.*?\*/\s*)?#define\s+\w*width\s+\d+\s+#define\s")),
        ink=lambda head: True,
    ),
    Rarer(
        *("fits", (".fits", ".fit", ".fts"), "FITS", _magic(b"SIMPLE  =")),
        misread=lambda head: "numbers that need BZERO and BSCALE",
    ),
    Rarer("fli", (".fli", ".flc"), "FLI", _flic),
    Rarer("im", (".im",), "IM", _im),
    Rarer("pcx", (".pcx",), "PCX", _pcx),
    Rarer("tga", (".tga", ".vda", ".icb", ".vst"), "TGA", _tga, misread=_tga_misread),
)


def source(fp: IO[bytes], options: ReadOptions) -> Source:
    """Open a picture of one of the formats here.

    Raises
    ------
    ConvError
        For other, broken or truncated content, and for more than ``options.max_pixels``.
    """
    from convcli.data.info import ArraySource
    from convcli.media.pictures.image import picture_source
    from convcli.media.pictures.one_decoder import ImageioPicture
    from convcli.media.shared import decoding

    head = fp.read(_HEAD)
    fp.seek(0)
    row = next((row for row in RARER if row.recognises(head)), RARER[0])
    name, size = row.name.upper(), fp.seek(0, os.SEEK_END)
    fp.seek(0)
    with decoding(row.decoder):
        what, ffmpeg = row.misread(head), row.ffmpeg(head)
    if what:
        raise ConvError(f"{name} with {what} is not read: convert it to .npy, TIFF or PNG")
    if ffmpeg:
        return _by_ffmpeg(fp, name, options, size)
    found = picture_source(fp, ImageioPicture(fp, row.decoder), options, size // 64 if row.slow else size)
    bits, kept = row.bits(head), {"uint8": 8, "uint16": 16}.get(found.info.dtype)
    notes = (
        [f"the {bits} bits a channel of this {name} are read as {kept}"] if kept and kept != bits > 8 else []
    )
    extra = row.channels(head) - found.info.channels
    notes += [f"left out of the {name}: further channels ({extra})"] if extra > 0 else []
    notes += [f"left out of the {name}: further pictures"] if 0 < row.end(head) < size else []
    found.info = replace(found.info, notes=(*found.info.notes, *notes))
    if row.ink(head):
        return ArraySource(255 - found.strip(0, found.info.length), found.info)
    return found


def _by_ffmpeg(fp: IO[bytes], name: str, options: ReadOptions, size: int) -> Source:
    """Open a picture that tells its width and height at byte 6, by FFmpeg's decoder of this name."""
    import av

    from convcli.data.info import ArraySource
    from convcli.media.shared import check_pixels, decoding, info_of

    data = fp.read()
    with decoding(name):
        width, height = struct.unpack_from(">HH", data, 6)
        check_pixels(width, height, options, name, stored=size)
        av.logging.set_level(None)
        context: Any = av.CodecContext.create(name.lower(), "r")
        context.thread_count = 1
        pixels = [*context.decode(av.Packet(data)), *context.decode(None)][0].to_ndarray()
    fp.close()
    colour = {2: Colour.GREY, 3: Colour.RGB, 4: Colour.RGBA}[pixels.shape[-1] if pixels.ndim == 3 else 2]
    return ArraySource(pixels, info_of(pixels.shape, pixels.dtype.name, colour))
