"""The segments that a JPEG begins with, and what of them is lost.

ITU-T T.81, B.1.1 and B.2.2; JPEG File Interchange Format 1.02.
"""

import re
import struct
from fractions import Fraction

from convcli.common import ConvError
from convcli.media.carriers import LOST, STORAGE, comment, is_data, left_out

START, END = b"\xff\xd8", b"\xff\xd9"
APPLICATIONS = range(0xE0, 0xF0)  # of segments that hold what surrounds the samples
SCAN, COMMENT = 0xDA, 0xFE
MOST_SCANS = 100
_MOST = 10_000  # segments that are looked at, between scans too
_JFIF = b"JFIF\0"
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # but restarts, behind which samples go on
_FRAME_LENGTH, _JFIF_LENGTH = 10, 16  # of segments up to what is read of them, marker and length included
_INCH = 1  # what JFIF counts pixels by
_FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # the markers of frames of all kinds, JPEG-LS too


def taken_apart(data: bytes) -> tuple[list[tuple[int, bytes]], int]:
    """Return the segments with their markers, up to the head of the first scan, and where that scan begins.

    None and 0 where they do not follow each other up to a scan.
    """
    segments: list[tuple[int, bytes]] = []
    at = len(START)
    while not segments or segments[-1][0] != SCAN:
        while data[at : at + 2] == b"\xff\xff":  # any number of fill bytes may come before a marker
            at += 1
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at : at + 1] != b"\xff" or length < 2 or at + 2 + length > len(data):
            return [], 0
        segments.append((data[at + 1], data[at : at + 2 + length]))
        at += 2 + length
    return segments, at


def frame_size(data: bytes) -> tuple[int, int] | None:
    """Return the width and height of a JPEG, of whatever kind; None where its segments are damaged."""
    segments, _ = taken_apart(data)
    frame = next((segment for marker, segment in segments if marker in _FRAMES), b"")
    if len(frame) < _FRAME_LENGTH:
        return None
    height, width = struct.unpack_from(">HH", frame, 5)
    return width, height


def form_of(data: bytes) -> str:
    """Return what kind of JPEG a file is, by the head of its frame; nothing where that is damaged."""
    frame = next(((marker, segment) for marker, segment in taken_apart(data)[0] if marker in _FRAMES), None)
    if frame is None or len(frame[1]) < _FRAME_LENGTH:
        return ""
    kind = {0xC3: "lossless JPEG", 0xF7: "JPEG-LS"}.get(frame[0], "JPEG")
    return f"{kind} of {frame[1][4]} bits a sample"


def lost_of(data: bytes) -> tuple[str, ...]:
    """Return the line for what of a file is lost, segments and what lies behind the picture's end."""
    (segments, at), mark = taken_apart(data), None
    while at and len(segments) < _MOST and (mark := _MARKER.search(data, at)) and mark[0] != END:
        at = mark.end() + int.from_bytes(data[mark.end() : mark.end() + 2], "big")
        segments.append((mark[0][1], data[mark.start() : at]))
    found = ["behind"] if at and mark and mark[0] == END and is_data(data[mark.end() :]) else []
    for marker, segment in segments:
        name = segment[4:].partition(b"\0")[0][:40].decode("latin-1")
        if marker in APPLICATIONS:
            known = name in LOST["JPEG"] or name in STORAGE["JPEG"]
            found += [name if known else f"APP{marker - APPLICATIONS[0]}", *["hdrgm"] * (b"hdrgm" in segment)]
        elif marker == COMMENT:
            found.append(comment(segment[4:]))
        if _is_jfif(segment):
            unit, x, y, *thumbnail = (
                struct.unpack_from(">BHHBB", segment, 11) if len(segment) > 17 else (1, 0, 0)
            )
            found += ["aspect"] * (not unit and x != y) + ["JFXX"] * any(thumbnail)
    return left_out("JPEG", found)


def check_scans(data: bytes) -> None:
    """Refuse a JPEG of very many scans: each takes time for the whole picture, and may be a few bytes.

    Raises
    ------
    ConvError
        For more than `MOST_SCANS`.
    """
    _, at = taken_apart(data)
    scans = 1 + data.count(bytes([0xFF, SCAN]), at, max(data.find(END, at), at)) if at else 0
    if scans > MOST_SCANS:
        raise ConvError(f"a JPEG of {scans} scans is meant to take long; honest ones have about 10")


def _is_jfif(segment: bytes) -> bool:
    return segment[1] == APPLICATIONS[0] and segment[4:9] == _JFIF and len(segment) >= _JFIF_LENGTH


def application(dpi: tuple[Fraction, Fraction] | None) -> bytes:
    """Return the segment of a picture without EXIF and profile."""
    x, y = (round(dpi[0]), round(dpi[1])) if dpi else (0, 0)
    told = (_INCH, x, y) if x and y else (0, 1, 1)
    return b"\xff\xe0" + struct.pack(">H5sBBBHHBB", 16, _JFIF, 1, 1, *told, 0, 0)
