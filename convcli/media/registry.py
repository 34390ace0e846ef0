"""The formats: one row each, with the names of its reader and writer, which load on first use.

Here a name or the first bytes of a file become a :class:`Format`.  No codec is imported, no path is opened.

A reader is ``source(fp, options) -> Source``, a writer ``sink(fp, format_name, info, options) -> Sink``;
``fp`` is a binary file object, for reading always one that can seek.
"""

import difflib
import importlib
from collections.abc import Callable
from dataclasses import replace
from math import prod
from pathlib import PurePath
from typing import IO, Any

from convcli.common.budget import PICTURE, PIXELS, TABLE
from convcli.common.errors import ConvError, UsageError
from convcli.common.frozen import frozen
from convcli.common.machine import available_memory
from convcli.data.axes import INCH, SECOND, Even, Listed
from convcli.data.info import BOXES, KEPT, STRIPS, Grain, Info, Kind, Sink, Source
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures.read_only import RARER
from convcli.media.pictures.stated import stated_size
from convcli.media.timing import clip_of

HEAD = 4096  # bytes that are enough to recognise any format

BYTES = ("uint8",)
SIXTEEN = ("uint8", "uint16")
NUMBERS = ("int32", "int64", "uint32", "uint64", "float32", "float64")
SAMPLES = ("int8", "int16", "int32", "float32", "float64")
REAL = (
    *("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"),
    *("float16", "float32", "float64"),
)


@frozen
class Format:
    """A file format.

    Attributes
    ----------
    name
        As ``--format`` takes it and as it is handed to the writer.
    suffixes
        In lower case with the dot; the first is the one that new files get.
    recognises
        Whether the first bytes of a file (:data:`HEAD` of them, or the whole file) are of this format.
    reader, writer
        ``module:function``; the writer is empty where files are only read.
    axes
        The axis letters that one file can hold; ``M`` says that it holds several maps.
    dtypes
        The numpy types that it stores exactly.
    binary
        False for text, which may be written to a terminal.
    seeks
        Whether its writer must seek in the output: a pipe then needs a temporary file.
    numbers
        Whether it is for numbers, so that floats are its default, rather than for pictures.
    film
        Whether it holds clips, read and written frame by frame; what becomes one is read with all its frames.
    numbered
        Whether it is a clip of numbered files, one of this format for each frame.
    placed
        The letters of the axes whose positions it can hold.
    grain
        Which boxes its writer takes.
    like
        Another format, in whose form its files may be: their names tell.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[bytes], bool]
    reader: str
    writer: str
    axes: str
    dtypes: tuple[str, ...]
    binary: bool = True
    seeks: bool = False
    numbers: bool = False
    film: bool = False
    numbered: bool = False
    placed: str = ""
    grain: Grain = STRIPS
    like: str = ""

    @property
    def kind(self) -> Kind:
        """What it is for."""
        if not self.binary or (self.numbers and "Y" not in self.axes):
            return Kind.TABLE
        if "Y" not in self.axes:
            return Kind.SOUND
        return Kind.CLIP if self.film and not self.numbered else Kind.PICTURE

    @property
    def multi(self) -> bool:
        """Whether one file takes several maps."""
        return "M" in self.axes


def _magic(*signatures: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(signatures)


def _webp(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def _bmp(head: bytes) -> bool:
    # Two letters are too few (a column may be called BMI): the size of the second header must be a known one.
    return head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)


def _movie(*brands: bytes) -> Callable[[bytes], bool]:
    """QuickTime and MP4: boxes with a size and a name; pictures (HEIF, AVIF) begin alike."""

    def recognises(head: bytes) -> bool:
        if head[4:8] == b"ftyp":
            return (head[8:12] == b"qt  ") == (b"qt  " in brands) and head[8:12] not in _STILL
        return b"qt  " in brands and head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")

    return recognises


_APPLE = (b"M4A ", b"M4B ")
_STILL = (*_APPLE, b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"jp2 ", b"jxl ")


def _ebml(kind: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"\x1aE\xdf\xa3") and (b"webm" in head[:64]) == (kind == b"webm")


def _avi(head: bytes) -> bool:
    return head[:4] == b"RIFF" and head[8:12] == b"AVI "


def _transport(head: bytes) -> bool:
    """MPEG-2 transport stream: packets of 188 bytes, or of 192 from cameras, each begins with 0x47."""
    sizes = ((0, 188), (4, 192))
    return len(head) > 400 and any(all(head[at + n * size] == 0x47 for n in (0, 1, 2)) for at, size in sizes)


def is_text(head: bytes) -> bool:
    """Say whether these are the first bytes of a text: no control characters but white space."""
    return bool(head) and not any(byte < 32 and byte not in b"\t\n\r\f" for byte in head)


def _rows(head: bytes) -> list[bytes]:
    """Return the first lines of a text, none for anything else."""
    return (
        [line for line in head.removeprefix(b"\xef\xbb\xbf").splitlines()[:8] if line]
        if is_text(head)
        else []
    )


def _tsv(head: bytes) -> bool:
    rows = _rows(head)
    return bool(rows) and all(b"\t" in row for row in rows[:2])


def _csv(head: bytes) -> bool:
    rows = _rows(head)
    return not _tsv(head) and any(mark in row for row in rows for mark in b"0123456789,;|")


def _wav(head: bytes) -> bool:
    return head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE"


def _aiff(head: bytes) -> bool:
    return head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC")


def _m4a(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] in _APPLE


def _adts(head: bytes) -> bool:
    """The header of a frame of AAC (ISO/IEC 14496-3, 1.A.3.2) with a known rate."""
    return len(head) > 3 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0 and head[2] >> 2 & 15 < 13


def _mp3(head: bytes) -> bool:
    """A tag, or the header of a frame of layer III (ISO/IEC 11172-3, 2.4.2.3) with a known rate."""
    frame = len(head) > 3 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2 and head[1] & 0x18 != 0x08
    tag = head[:3] == b"ID3" and head[3:4] in (b"\2", b"\3", b"\4")
    return tag or (frame and head[2] >> 4 not in (0, 15) and head[2] & 12 != 12)


def _ogg(opus: bool) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(b"OggS") and (b"OpusHead" in head[:64]) is opus


_PICTURES = "convcli.media.pictures."
_IMAGE = f"{_PICTURES}image"
_TABLE = "convcli.media.tables.table"
_CSV, _TSV = ((f"{_TABLE}:{name}_source", f"{_TABLE}:sink") for name in ("csv", "tsv"))
_ARRAY = ("convcli.media.arrays:source", "convcli.media.arrays:sink")
_TIFF = (f"{_PICTURES}tiff:source", f"{_PICTURES}tiff:sink")
_PICTURE = (f"{_IMAGE}:source", f"{_IMAGE}:sink")
_PNG = (f"{_PICTURES}png:source", f"{_PICTURES}png:sink")
_VIDEO = ("convcli.media.clips.reader:source", "convcli.media.clips.writer:sink")
_COLUMNAR = "convcli.media.tables.columnar"
_PARQUET, _ARROW = (
    (_magic(first), f"{_COLUMNAR}:{name}_source", f"{_COLUMNAR}:sink", "MXC", NUMBERS)
    for name, first in (("parquet", b"PAR1"), ("arrow", b"ARROW1"))
)
_SOUND = ("convcli.media.sounds.sound:source", "convcli.media.sounds.sound:sink")
_CODED = ("convcli.media.sounds.coded:source", "convcli.media.sounds.coded:sink")
_TIFF_MAGIC = _magic(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

FORMATS: tuple[Format, ...] = (
    Format("png", (".png",), _magic(b"\x89PNG\r\n\x1a\n"), *_PNG, "TYXC", SIXTEEN, placed="TYX"),
    Format("jpeg", (".jpg", ".jpeg", ".jpe"), _magic(b"\xff\xd8\xff"), *_PICTURE, "YXC", BYTES, placed="YX"),
    Format("webp", (".webp",), _webp, *_PICTURE, "TYXC", BYTES, placed="T", grain=KEPT),
    Format("bmp", (".bmp",), _bmp, *_PICTURE, "YXC", BYTES, placed="YX", grain=KEPT),
    Format("gif", (".gif",), _magic(b"GIF87a", b"GIF89a"), *_PICTURE, "TYXC", BYTES, placed="T", grain=KEPT),
    Format(
        "tiff",
        (".tif", ".tiff", ".btf"),
        _TIFF_MAGIC,
        *_TIFF,
        "NMTZYXC",
        REAL,
        seeks=True,
        placed="YX",
        grain=BOXES,
    ),
    Format("mp4", (".mp4", ".m4v"), _movie(), *_VIDEO, "TYXC", SIXTEEN, seeks=True, film=True, placed="T"),
    Format(
        "mov", (".mov", ".qt"), _movie(b"qt  "), *_VIDEO, "TYXC", SIXTEEN, seeks=True, film=True, placed="T"
    ),
    Format("mkv", (".mkv",), _ebml(b"matroska"), *_VIDEO, "TYXC", SIXTEEN, seeks=True, film=True, placed="T"),
    Format("webm", (".webm",), _ebml(b"webm"), *_VIDEO, "TYXC", SIXTEEN, seeks=True, film=True, placed="T"),
    Format("avi", (".avi",), _avi, *_VIDEO, "TYXC", SIXTEEN, seeks=True, film=True, placed="T"),
    Format("ts", (".ts", ".m2ts", ".mts"), _transport, *_VIDEO, "TYXC", SIXTEEN, film=True, placed="T"),
    Format("y4m", (".y4m",), _magic(b"YUV4MPEG2"), *_VIDEO, "TYXC", SIXTEEN, film=True, placed="T"),
    Format("wav", (".wav", ".wave"), _wav, *_SOUND, "XC", SAMPLES, seeks=True, placed="X"),
    Format("aiff", (".aiff", ".aif", ".aifc"), _aiff, *_SOUND, "XC", SAMPLES, seeks=True, placed="X"),
    Format("flac", (".flac",), _magic(b"fLaC"), _CODED[0], _SOUND[1], "XC", SAMPLES, seeks=True, placed="X"),
    Format("mp3", (".mp3",), _mp3, _CODED[0], _SOUND[1], "XC", SAMPLES, seeks=True, placed="X"),
    Format("ogg", (".ogg", ".oga"), _ogg(False), _CODED[0], _SOUND[1], "XC", SAMPLES, seeks=True, placed="X"),
    Format("opus", (".opus",), _ogg(True), _CODED[0], _SOUND[1], "XC", SAMPLES, seeks=True, placed="X"),
    Format("m4a", (".m4a", ".m4b"), _m4a, *_CODED, "XC", SAMPLES, seeks=True, placed="X", like="mp4"),
    Format("npy", (".npy",), _magic(b"\x93NUMPY"), *_ARRAY, "NMTZYXC", REAL, numbers=True, grain=BOXES),
    Format("parquet", (".parquet", ".pq"), *_PARQUET, numbers=True, placed="X"),
    Format("arrow", (".arrow", ".feather", ".ipc"), *_ARROW, numbers=True, placed="X"),
    Format("tsv", (".tsv", ".tab"), _tsv, *_TSV, "MYXC", REAL, binary=False, numbers=True, placed="X"),
    Format("csv", (".csv",), _csv, *_CSV, "MYXC", REAL, binary=False, numbers=True, placed="X"),
)

_RARER = "convcli.media.pictures.read_only:source"
ONLY_READ: tuple[Format, ...] = (
    *(Format(row.name, row.suffixes, row.recognises, _RARER, "", "TYXC", ()) for row in RARER),
    Format("aac", (".aac",), _adts, _CODED[0], "", "XC", ()),
)
READ = (*FORMATS, *ONLY_READ)
_VAGUE = ("tga",)  # no signature: only a file that is named so is taken for one
_SIGNED = tuple(row for row in READ if row.binary and row.name not in _VAGUE)


def numbered(row: Format) -> Format:
    """Return a format's form as a clip of numbered files."""
    axes = "T" + "".join(letter for letter in row.axes if letter in "YXC")
    placed = row.placed.replace("T", "")
    return replace(row, axes=axes, film=True, numbered=True, placed=placed, grain=STRIPS)


def known_suffixes() -> str:
    """Return the suffixes of all formats, for messages."""
    return " ".join(suffix for row in FORMATS for suffix in row.suffixes)


def by_suffix(path: str | PurePath) -> Format:
    """Return the format that a file's name asks for, one that is written.

    >>> by_suffix("holiday/photo.JPG").name
    'jpeg'

    Raises
    ------
    UsageError
        For a name without a suffix or with an unknown one.
    """
    row = readable(path)
    if not row.writer:
        raise UsageError(f"{row.name} is only read; write {_instead(row)}", subject=repr(str(path)))
    return row


def readable(path: str | PurePath) -> Format:
    suffix = PurePath(path).suffix.lower()
    for row in READ:
        if suffix in row.suffixes:
            return row
    what = f"unknown suffix {suffix!r}" if suffix else "a name without a suffix"
    raise UsageError(
        f"{what}; known: {known_suffixes()} (or name the type with --format)", subject=repr(str(path))
    )


def _instead(row: Format) -> str:
    return ".m4a or .wav" if row.kind is Kind.SOUND else ".png or .tif"


def written_as(source: Format) -> Format:
    """Return the default format of results: the input's own, or PNG or M4A if that one is only read.

    >>> written_as(identify(b"qoif", "a.qoi")[0]).name
    'png'
    """
    return source if source.writer else by_name("m4a" if source.kind is Kind.SOUND else "png")


def by_name(text: str) -> Format:
    """Return the format called so (``--format``): its name or a suffix, with or without the dot.

    >>> by_name("tif").name, by_name(".JPG").name
    ('tiff', 'jpeg')
    """
    wanted = text.strip().lower().removeprefix(".")
    for row in READ:
        if wanted == row.name or f".{wanted}" in row.suffixes:
            if not row.writer:
                raise UsageError(f"--format {text!r}: {row.name} is only read; write {_instead(row)}")
            return row
    names = [row.name for row in FORMATS]
    nearest = difflib.get_close_matches(wanted, names, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise UsageError(f"--format {text!r} is unknown; {hint}known: {' '.join(names)}")


def sniff(head: bytes) -> Format:
    """Return the format of a file's first bytes (:data:`HEAD` of them, or all if there are fewer).

    >>> sniff(b"time;value").name, sniff(b"1.5\\t2").name
    ('csv', 'tsv')

    Raises
    ------
    ConvError
        When no format begins like this.
    """
    for row in (*_SIGNED, *FORMATS):
        if row.recognises(head):
            return row
    names = " ".join(row.name for row in FORMATS)
    raise ConvError(f"data of no known format: {_content(head)}; known: {names}")


_STORED, _ASIDE = 9, 1 << 26  # bytes of a pixel in a file at most, and of what else may be in it


def longest(head: bytes) -> int | None:
    """Return how many bytes a file that begins like this may have; None where nothing bounds them.

    Animations are bounded by the pixels that are decoded at most.
    """
    row = next((row for row in (*_SIGNED, *FORMATS) if row.recognises(head[:HEAD])), None)
    if row is None:
        return _ASIDE
    if row.kind in (Kind.CLIP, Kind.SOUND) or row.grain is BOXES:
        return None
    if not row.binary:
        return (available_memory() or 1 << 40) // TABLE
    size = None if b"acTL" in head or row.name not in ("jpeg", "png") else stated_size(head)
    return _ASIDE + _STORED * (prod(size) if size else PIXELS)


def identify(
    head: bytes, path: str | PurePath, named: Format | None = None
) -> tuple[Format, tuple[str, ...]]:
    """Return the format of an input, and notes where its name and its content differ.

    The content decides between binary formats, also where the suffix is unknown; text is a table only where the
    name says so or says nothing.

    Parameters
    ----------
    head
        The first bytes of the file, :data:`HEAD` of them or all.
    path
        Its name, for the suffix and for messages.
    named
        The format that was asked for in words, before any suffix.

    Raises
    ------
    UsageError
        For an unknown suffix, unless the content is of a known binary format.
    ConvError
        When the content is of no known format, or is text and the name says otherwise.
    """
    if named is None and not PurePath(path).suffix:
        return sniff(head), ()
    found = next((row for row in _SIGNED if row.recognises(head)), None)
    try:
        expected = named or readable(path)
    except UsageError:
        if found is None and head[4:8] in _SEGMENT:
            raise ConvError(f"it holds {_content(head)}") from None
        if found is None:
            raise
        return found, ()
    own = expected.recognises(head) or (found is not None and found.name == expected.like)
    if own or (not expected.binary and is_text(head)):
        return expected, ()
    if found is None:
        raise ConvError(f"no {expected.name.upper()} file: it holds {_content(head)}")
    note = f"{str(path)!r} holds {found.name.upper()} data, not {expected.name.upper()}: read as what it is"
    return found, (note,)


_SEGMENT = (b"styp", b"sidx", b"moof")  # the boxes that begin a part of a stream


def _content(head: bytes) -> str:
    if not head:
        return "nothing (it is empty)"
    if head[4:8] in _SEGMENT:
        return "a part of a stream without its beginning (join them: cat init.mp4 part.m4s > clip.mp4)"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16 text (convert it to UTF-8)"
    return (
        f"text ({head[:24].decode(errors='replace')!r})" if is_text(head) else f"unknown bytes ({head[:8]!r})"
    )


def _load(entry: str) -> Callable[..., Any]:
    module, _, name = entry.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def open_source(fp: IO[bytes], format: Format, options: ReadOptions) -> Source:
    """Open an input; ``fp`` can seek and stands at its beginning.  The source closes ``fp``."""
    stored = fp.seek(0, 2)
    fp.seek(0)
    source: Source = _load(format.reader)(fp, options)
    info, most = source.info, options.max_frames
    if source.grain.kept:  # once more, on what the decoder says
        import numpy as np

        size = prod(info.shape) * np.dtype(info.dtype).itemsize
        what = f"a {format.name.upper()} that decodes to {info.shape}"
        PICTURE.allow(size // PICTURE.each, what, stored, options.max_pixels)
    if most is not None and "T" in info.letters and info.size("T") > most:
        source.close()
        raise ConvError(f"a clip of {info.size('T')} frames has more than --max-frames {most} allows")
    return source


_USUAL = (72, 96)  # pixels per inch that programs write when nobody has said


def left_out(info: Info, format: Format) -> tuple[str, ...]:
    """Return a line for each kind of positions that a format cannot hold, and for what else it holds none of.

    Rows of a table that have no time get one too.

    >>> from fractions import Fraction
    >>> from convcli.data.axes import at_rate
    >>> clip = Info.of("TYX", (5, 3, 4), "uint8").placed(T=at_rate(Fraction(25)))
    >>> left_out(clip, by_name("npy"))
    ('the times of the frames are left out: NPY holds none',)
    """
    lost: list[str] = []
    lines: list[str] = []
    for axis in info.axes:
        positions = axis.positions
        if isinstance(positions, Listed) and axis.letter == format.placed == "X" and None in positions.ticks:
            nowhere = f"{positions.ticks.count(None)} of {axis.size} rows have no time"
            lines.append(f"{nowhere}: they lie at none of the input's times, which are not evenly spaced")
        on_paper = positions is None or positions.unit in (INCH, SECOND)
        if positions is None or (axis.letter in format.placed and (on_paper or "M" in format.axes)):
            continue
        if positions.unit != INCH:
            samples = (
                "the positions of the samples are" if info.metadata.geo is None else "the georeference is"
            )
            lost.append("the times of the frames are" if axis.letter == "T" else samples)
        elif not isinstance(positions, Even) or round(1 / positions.spacing) not in _USUAL:
            lost.append("the resolution is")
    plays = clip_of(info.companions).plays
    if plays > 1 and (format.film or "T" not in format.placed):
        lost.append(f"that it plays {plays} times is")
    notes = [f"{what} left out: {format.name.upper()} holds none" for what in dict.fromkeys(lost)]
    also = [] if info.companions and info.companions.kind is format.kind else list(info.also)
    if not format.writer.startswith(_PICTURES):  # those say it themselves, see `shared.fit`
        also += ["the colour profile"] * bool(info.metadata.icc) + ["EXIF data"] * bool(info.metadata.exif)
    if also:
        notes.append(f"left out: {', '.join(also)} ({format.name.upper()} holds none)")
    return (*notes, *lines)


def open_sink(fp: IO[bytes], format: Format, info: Info, options: WriteOptions) -> Sink:
    """Open an output for data as ``info`` says; its close leaves ``fp`` open, for the target to finish."""
    sink: Sink = _load(format.writer)(fp, format.name, info, options)
    return sink
