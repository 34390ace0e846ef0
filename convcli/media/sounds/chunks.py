"""What a WAV or an AIFF has beside its samples, and whether all of these are there: its chunks tell."""

from __future__ import annotations

import struct
from typing import IO

from convcli.common.frozen import frozen

_MOST = 1000  # chunks that are looked at
_UNKNOWN = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)  # sizes that programs write which cannot go back


@frozen
class Found:
    """What the chunks tell.

    Attributes
    ----------
    format
        As ``carriers`` knows it.
    names
        Of the chunks, by ``carriers``'s keys.
    missing
        Bytes of samples that the file announces and does not hold.
    """

    format: str
    names: tuple[str, ...] = ()
    missing: int = 0


def scan(fp: IO[bytes]) -> Found:
    """Return what the chunks of a WAV or an AIFF tell."""
    size = fp.seek(0, 2)
    fp.seek(0)
    head = fp.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return _riff("WAV", fp, size, "<" if head[:4] != b"RIFX" else ">", b"data")
    return _riff("AIFF", fp, size, ">", b"SSND")


def _riff(format: str, fp: IO[bytes], size: int, order: str, samples: bytes) -> Found:
    names, missing, at, large = [], 0, 12, None
    for _ in range(_MOST):
        fp.seek(min(at, size))
        head = fp.read(8)
        if len(head) < 8 or not head.strip(b"\0"):
            break
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        if name == b"ds64":
            large = struct.unpack("<QQ", fp.read(16).ljust(16, b"\0"))[1]
        if name == samples:
            if length in _UNKNOWN:
                length = large or size - at - 8
            missing = max(0, at + 8 + length - size)
        kind = fp.read(4) if name == b"LIST" else b""
        names.append((name if kind in (b"", b"INFO") else kind).decode("latin-1").strip())
        at += 8 + length + length % 2
    return Found(format, tuple(names), missing)
