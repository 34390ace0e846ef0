"""The first bytes of files, and what is in folders: one predicate a format, for the rows of the registry.

No file is opened, but for the first ones of a folder.
"""

import os
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LOOKED_AT = 100  # files of a folder


def magic(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def nifti(head: bytes) -> bool:
    """A header of 348 or 540 bytes in either order."""
    return head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2")


def zarr(folder: Path) -> bool:
    """A folder with the metadata of an array or of a group."""
    return any(os.path.isfile(folder / name) for name in ("zarr.json", ".zarray", ".zgroup"))  # noqa: PTH113  no errors


def packed(inner: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
    """Something that is compressed by gzip."""

    def recognises(head: bytes) -> bool:
        try:
            return head.startswith(b"\x1f\x8b") and inner(zlib.decompressobj(31).decompress(head, 1024))
        except zlib.error:
            return False

    return recognises


def hdf5(netcdf: bool) -> Callable[[bytes], bool]:
    """A signature at the beginning, or behind a block of others of 512 bytes or twice as often; NetCDF names itself."""

    def recognises(head: bytes) -> bool:
        if netcdf and head[:4] in (b"CDF\1", b"CDF\2", b"CDF\5"):
            return True
        signed = any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in (0, 512, 1024, 2048))
        return signed and (b"_NCProperties" in head) is netcdf

    return recognises


def webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def bmp(head: bytes) -> bool:
    # Two letters are too few (a column may be called BMI): the size of the second header must be a known one.
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)


def dicom(head: bytes) -> bool:
    return head[128:132] == b"DICM"


def dicom_folder(folder: Path) -> bool:
    """A folder with a DICOM file among its first files."""
    with suppress(OSError):
        for path in sorted(path for path in folder.iterdir() if path.is_file())[:_LOOKED_AT]:
            with suppress(OSError), path.open("rb") as file:
                if dicom(file.read(132)):
                    return True
    return False


def metaimage(head: bytes) -> bool:
    return head[:80].partition(b"=")[0].strip() in (b"ObjectType", b"NDims")


def movie(*brands: bytes) -> Callable[[bytes], bool]:
    """QuickTime and MP4: boxes with a size and a name; pictures (HEIF, AVIF) begin alike."""

    def recognises(head: bytes) -> bool:
        if head[4:8] == b"ftyp":
            return (head[8:12] == b"qt  ") == (b"qt  " in brands) and head[8:12] not in _STILL
        return b"qt  " in brands and head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")

    return recognises


_APPLE = (b"M4A ", b"M4B ")
_STILL = (*_APPLE, b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"jp2 ", b"jxl ")


def ebml(kind: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"\x1aE\xdf\xa3") and (b"webm" in head[:64]) == (kind == b"webm")


def avi(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


def transport(head: bytes) -> bool:
    """MPEG-2 transport stream: packets of 188 bytes, or of 192 from cameras, each begins with 0x47."""
    sizes = ((0, 188), (4, 192))
    return len(head) > 400 and any(all(head[at + n * size] == 0x47 for n in (0, 1, 2)) for at, size in sizes)


def is_text(head: bytes) -> bool:
    """Say whether these are the first bytes of a text: no control characters but white space."""
    return bool(head) and not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)


def _rows(head: bytes) -> list[bytes]:
    """Return the first lines of a text, none for anything else."""
    lines = head.removeprefix(b"\xef\xbb\xbf").splitlines()[:8] if is_text(head) else []
    return [line for line in lines if line]


def tsv(head: bytes) -> bool:
    rows = _rows(head)
    return bool(rows) and all(b"\t" in row for row in rows[:2])


def csv(head: bytes) -> bool:
    rows = _rows(head)
    return not tsv(head) and any(mark in row for row in rows for mark in b"0123456789,;|")


def wav(head: bytes) -> bool:
    return head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE"


def aiff(head: bytes) -> bool:
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


def m4a(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _APPLE


def adts(head: bytes) -> bool:
    """The header of a frame of AAC (ISO/IEC 14496-3, 1.A.3.2) with a known rate."""
    return len(head) > 3 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13


def mp3(head: bytes) -> bool:
    """A tag, or the header of a frame of layer III (ISO/IEC 11172-3, 2.4.2.3) with a known rate."""
    frame = len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 0x08
    tag = head[:3] == b"ID3" and head[3:4] in (b"\2", b"\3", b"\4")
    return tag or (frame and head[2] >> 4 not in (0, 15) and head[2] & 12 != 12)


def ogg(opus: bool) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"OggS") and (b"OpusHead" in head[:64]) is opus
