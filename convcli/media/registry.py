"""The formats: one row each, with the names of its reader and writer, which load on first use.

Here a name or the first bytes of a file become a :class:`Format`, one of other packages where no row answers.  No codec
is imported, no path is opened.

A reader is ``source(fp, options) -> Source``, a writer ``sink(fp, format_name, info, options) -> Sink``;
``fp`` is a binary file object, for reading always one that can seek.
"""

import difflib
import importlib
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from math import prod
from pathlib import Path, PurePath
from typing import IO, Any

from convcli.common import frozen, plugins
from convcli.common.budget import PICTURE, PIXELS, TABLE
from convcli.common.errors import ConvError, NoPicturesError, UsageError
from convcli.common.machine import available_memory
from convcli.data import BOXES, INCH, KEPT, SECOND, STRIPS, Even, Grain, Info, Kind, Listed, Sink, Source
from convcli.media import recognisers as begins
from convcli.media.files.target import STANDARD
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures.boxes import stated_size
from convcli.media.pictures.read_only import RARER
from convcli.media.timing import clip_of

HEAD = 4096  # bytes that are enough to recognise any format

BYTES = ("uint8",)
SIXTEEN = ("uint8", "uint16")
NUMBERS = ("int32", "int64", "uint32", "uint64", "float32", "float64")
SAMPLES = ("int8", "int16", "int32", "float32", "float64")
VOXELS = ("int8", "uint8", "int16", "uint16", *NUMBERS)
_OME = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64")
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
        The letters of the axes whose positions it can hold; pictures and clips do in inches and seconds.
    grain
        Which boxes its writer takes.
    like
        Another format, in whose form its files may be: their names tell.
    arrays
        Whether one file holds several arrays, of which ``FILE::/PATH`` names one.
    folder
        Whether a folder is of this format; None where it is one of single files.  Its reader and writer take a
        `convcli.media.files.target.Folder` as ``fp``.
    pieces
        ``module:function`` that tells which boxes of given data its writer takes best; empty where all are as good.
    instead
        Formats that results get where this one is only read.
    oriented
        Whether it holds how voxels lie in space.
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
    arrays: bool = False
    folder: Callable[[Path], bool] | None = None
    pieces: str = ""
    instead: tuple[str, ...] = ("png", "tif")
    oriented: bool = False

    @property
    def kind(self) -> Kind:
        """What it is for."""
        if not self.binary or (self.numbers and "Y" not in self.axes):
            return Kind.TABLE
        if "Y" not in self.axes:
            return Kind.SOUND
        return Kind.CLIP if self.film and not self.numbered else Kind.PICTURE

    @property
    def drawn(self) -> bool:
        """Whether it holds pictures alone, of numbers or not: data with Y and X."""
        return self.writer.startswith(_PICTURES)

    @property
    def multi(self) -> bool:
        """Whether one file takes several maps."""
        return "M" in self.axes


_PICTURES = "convcli.media.pictures."
_IMAGE = f"{_PICTURES}image"
_TABLE = "convcli.media.tables.table"
_CSV, _TSV = ((f"{_TABLE}:{name}_source", f"{_TABLE}:sink") for name in ("csv", "tsv"))
_ARRAY = ("convcli.media.arrays:source", "convcli.media.arrays:sink")
_TIFF = (f"{_PICTURES}tiff:source", f"{_PICTURES}tiff:sink")
_PAGES: dict[str, Any] = {"seeks": True, "placed": "TZYX", "grain": BOXES}
_PICTURE = (f"{_IMAGE}:source", f"{_IMAGE}:sink")
_PNG = (f"{_PICTURES}png:source", f"{_PICTURES}png:sink")
_FILM = ("convcli.media.clips.reader:source", "convcli.media.clips.writer:sink", "TYXC", SIXTEEN)
_TRACK: dict[str, Any] = {"film": True, "placed": "T"}
_BOXED: dict[str, Any] = {**_TRACK, "seeks": True}
_COLUMNAR = "convcli.media.tables.columnar"
_PARQUET, _ARROW = (
    (begins.magic(first), f"{_COLUMNAR}:{name}_source", f"{_COLUMNAR}:sink", "MXC", VOXELS)
    for name, first in (("parquet", b"PAR1"), ("arrow", b"ARROW1"))
)
_NIFTI, _NRRD, _META = (
    (f"convcli.media.volumes.{one}:source", f"convcli.media.volumes.{one}:sink", "TZYXC", VOXELS)
    for one in ("nifti", "nrrd", "metaimage")
)
_ZARR = ("convcli.media.stores.zarr:source", "convcli.media.stores.zarr:sink", "NMTZYXC", REAL)
_STORE = ("convcli.media.stores.hdf5:source", "convcli.media.stores.hdf5:sink", "NMTZYXC")
_SEVERAL: dict[str, Any] = {
    "numbers": True,
    "seeks": True,
    "placed": "NTZYXC",
    "grain": BOXES,
    "arrays": True,
    "pieces": "convcli.media.stores.hdf5:pieces",
}
_MEASURED: dict[str, Any] = {"numbers": True, "placed": "TZYX"}
_ORIENTED: dict[str, Any] = {**_MEASURED, "grain": BOXES, "oriented": True}
_SOUND = ("convcli.media.sounds.sound:source", "convcli.media.sounds.sound:sink", "XC", SAMPLES)
_CODED = ("convcli.media.sounds.coded:source", "convcli.media.sounds.coded:sink", "XC", SAMPLES)
_DECODED = (_CODED[0], *_SOUND[1:])
_SIGNAL: dict[str, Any] = {"seeks": True, "placed": "X"}
_TIFF_MAGIC = begins.magic(b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_JPEG_MAGIC, _GIF_MAGIC = begins.magic(b"\xff\xd8\xff"), begins.magic(b"GIF87a", b"GIF89a")

_READ_BY = {row.name: row.recognises for row in RARER}
_RARER = f"{_PICTURES}read_only:source"
_JXL = f"{_PICTURES}jxl:source"
_RARE = (_RARER, f"{_PICTURES}written:sink", "YXC")


_MOVING = (*_RARE[:2], "TYXC")


def _netpbm(kinds: bytes) -> Callable[[bytes], bool]:
    return lambda head: head[1:2] in kinds and _READ_BY["netpbm"](head)


FORMATS: tuple[Format, ...] = (
    Format("png", (".png",), begins.magic(b"\x89PNG\r\n\x1a\n"), *_PNG, "TYXC", SIXTEEN, placed="TYX"),
    Format("jpeg", (".jpg", ".jpeg", ".jpe"), _JPEG_MAGIC, *_PICTURE, "YXC", BYTES, placed="YX", grain=KEPT),
    Format("webp", (".webp",), begins.webp, *_PICTURE, "TYXC", BYTES, placed="T", grain=KEPT),
    Format("bmp", (".bmp",), begins.bmp, *_PICTURE, "YXC", BYTES, placed="YX", grain=KEPT),
    Format("gif", (".gif",), _GIF_MAGIC, *_PICTURE, "TYXC", BYTES, placed="T", grain=KEPT),
    Format("tiff", (".tif", ".tiff", ".btf"), _TIFF_MAGIC, *_TIFF, "NMTZYXC", REAL, **_PAGES),
    Format(
        *("ome-tiff", (".ome.tif", ".ome.tiff", ".ome.btf"), lambda head: False, *_TIFF, "TZYXC", _OME),
        **_PAGES,
        like="tiff",
    ),
    Format("avif", (".avif", ".avifs"), _READ_BY["avif"], *_MOVING, SIXTEEN, placed="T", grain=KEPT),
    Format("jp2", (".jp2", ".jpf", ".jpx"), begins.magic(b"\0\0\0\x0cjP  "), *_RARE, SIXTEEN, grain=KEPT),
    Format("j2k", (".j2k", ".j2c", ".jpc"), begins.magic(b"\xff\x4f\xff\x51"), *_RARE, SIXTEEN, grain=KEPT),
    Format(
        "jxl", (".jxl",), begins.magic(b"\xff\x0a", b"\0\0\0\x0cJXL "), _JXL, *_RARE[1:], SIXTEEN, grain=KEPT
    ),
    Format("qoi", (".qoi",), _READ_BY["qoi"], *_RARE, BYTES, grain=KEPT),
    Format("tga", (".tga", ".vda", ".icb", ".vst"), _READ_BY["tga"], *_RARE, BYTES, grain=KEPT),
    Format("ppm", (".ppm",), _netpbm(b"36"), *_RARE, SIXTEEN),
    Format("pgm", (".pgm",), _netpbm(b"25"), *_RARE, SIXTEEN),
    Format("pfm", (".pfm",), _netpbm(b"Ff"), *_RARE, ("float32",), seeks=True, numbers=True, grain=BOXES),
    Format("mp4", (".mp4", ".m4v"), begins.movie(), *_FILM, **_BOXED),
    Format("mov", (".mov", ".qt"), begins.movie(b"qt  "), *_FILM, **_BOXED),
    Format("mkv", (".mkv",), begins.ebml(b"matroska"), *_FILM, **_BOXED),
    Format("webm", (".webm",), begins.ebml(b"webm"), *_FILM, **_BOXED),
    Format("avi", (".avi",), begins.avi, *_FILM, **_BOXED),
    Format("ts", (".ts", ".m2ts", ".mts"), begins.transport, *_FILM, **_TRACK),
    Format("y4m", (".y4m",), begins.magic(b"YUV4MPEG2"), *_FILM, **_TRACK),
    Format("wav", (".wav", ".wave"), begins.wav, *_SOUND, **_SIGNAL),
    Format("aiff", (".aiff", ".aif", ".aifc"), begins.aiff, *_SOUND, **_SIGNAL),
    Format("flac", (".flac",), begins.magic(b"fLaC"), *_DECODED, **_SIGNAL),
    Format("mp3", (".mp3",), begins.mp3, *_DECODED, **_SIGNAL),
    Format("ogg", (".ogg", ".oga"), begins.ogg(False), *_DECODED, **_SIGNAL),
    Format("opus", (".opus",), begins.ogg(True), *_DECODED, **_SIGNAL),
    Format("m4a", (".m4a", ".m4b"), begins.m4a, *_CODED, **_SIGNAL, like="mp4"),
    Format("npy", (".npy",), begins.magic(b"\x93NUMPY"), *_ARRAY, "NMTZYXC", REAL, numbers=True, grain=BOXES),
    Format("nii", (".nii",), begins.nifti, *_NIFTI, seeks=True, **_ORIENTED),
    Format("nii.gz", (".nii.gz",), begins.packed(begins.nifti), *_NIFTI, like="nii", **_ORIENTED),
    Format("nrrd", (".nrrd",), begins.magic(b"NRRD000"), *_NRRD, seeks=True, **_ORIENTED),
    Format("mha", (".mha",), begins.metaimage, *_META, seeks=True, **_ORIENTED),
    Format(
        "zarr",
        (".zarr", ".ome.zarr"),
        lambda _: False,
        *_ZARR,
        grain=BOXES,
        arrays=True,
        folder=begins.zarr,
        pieces="convcli.media.stores.zarr:pieces",
        **_MEASURED,
    ),
    Format(
        "hdf5",
        (".h5", ".hdf5", ".hdf", ".he5", ".mat"),
        begins.hdf5(False),
        *_STORE,
        REAL,
        **_SEVERAL,
        like="netcdf",
    ),
    Format("netcdf", (".nc", ".nc4", ".cdf"), begins.hdf5(True), *_STORE, VOXELS, **_SEVERAL, like="hdf5"),
    Format("parquet", (".parquet", ".pq"), *_PARQUET, numbers=True, placed="X"),
    Format("arrow", (".arrow", ".feather", ".ipc"), *_ARROW, numbers=True, placed="X"),
    Format("tsv", (".tsv", ".tab"), begins.tsv, *_TSV, "MYXC", REAL, binary=False, numbers=True, placed="X"),
    Format("csv", (".csv",), begins.csv, *_CSV, "MYXC", REAL, binary=False, numbers=True, placed="X"),
)

_FITS = b"SIMPLE  ="
_PACKAGES = {".fits": "convcli-fits", ".fit": "convcli-fits", ".fts": "convcli-fits"}  # plug-ins
_ALSO_WRITTEN = {suffix for row in FORMATS for suffix in row.suffixes}
ONLY_READ: tuple[Format, ...] = (
    *(
        Format(row.name, suffixes, row.recognises, _RARER, "", "TYXC", ())
        for row in RARER
        if (suffixes := tuple(suffix for suffix in row.suffixes if suffix not in _ALSO_WRITTEN))
    ),
    Format("aac", (".aac",), begins.adts, _CODED[0], "", "XC", (), instead=("m4a", "wav")),
    Format(
        "dicom",
        (".dcm", ".dicom"),
        begins.dicom,
        "convcli.media.volumes.dicom:source",
        "",
        "TZYXC",
        (),
        arrays=True,
        folder=begins.dicom_folder,
        instead=("nii.gz", "tif"),
        **_MEASURED,
    ),
)
READ = (*FORMATS, *ONLY_READ)
_LONG = tuple(one for row in READ for one in row.suffixes if "." in one[1:])
_VAGUE = ("tga",)  # no signature: only a file that is named so is taken for one
_SIGNED = tuple(row for row in READ if row.binary and row.name not in _VAGUE)


def numbered(row: Format) -> Format:
    """Return a format's form as a clip of numbered files."""
    axes = "T" + "".join(letter for letter in row.axes if letter in "YXC")
    placed = row.placed.replace("T", "")
    return replace(row, axes=axes, film=True, numbered=True, placed=placed, grain=STRIPS)


def _every() -> Iterator[Format]:
    """Yield all formats, those of other packages last: nobody looks for them where a row answers."""
    yield from READ
    yield from plugins.every(plugins.Group.FORMATS, Format, _try)


def _try(row: Format) -> None:
    """Fail where a row of another package holds what no row can hold."""
    " ".join((row.name, row.reader, row.writer, row.axes, *row.suffixes, *row.dtypes))
    row.recognises(bytes(HEAD))


def _recognised(head: bytes) -> Format | None:
    """Return the format of a file's first bytes; text is a table."""
    return next((row for rows in (_SIGNED, _every()) for row in rows if row.recognises(head)), None)


def _unknown(what: str, wanted: str) -> str:
    """Return what is said of a type that is not known, with the nearest and all that are written."""
    names = [row.name for row in _every() if row.writer]
    nearest = difflib.get_close_matches(wanted.removeprefix("."), names, n=1)
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{what}; {hint}known: {' '.join(names)}"


def parted(name: str | PurePath) -> tuple[str, str]:
    """Return the file of ``FILE::/PATH`` and the path of an array in it, which is empty for any other name.

    The file's suffix is that of a format of several arrays; or of none, and the file is there.  What exists under the
    whole name is one file.
    """
    whole = str(name)
    if "::" not in whole:
        return whole, ""
    for mark in re.finditer("::", "" if os.path.lexists(whole) else whole):
        file, inner = whole[: mark.start()], whole[mark.end() :]
        suffix = PurePath(file).suffix.lower()
        row = next((row for row in _every() if suffix in row.suffixes), None)
        if row.arrays if row else file == STANDARD or Path(file).exists():
            return file, inner
    return whole, ""


def own_suffix(path: str | PurePath) -> str:
    """Return a name's suffix, which may have two dots where a format's has.

    >>> own_suffix("holiday/photo.JPG"), own_suffix("scan.1.nii.gz"), own_suffix("data.tar.gz")
    ('.JPG', '.nii.gz', '.gz')
    """
    return _suffix(os.path.basename(parted(path)[0].rstrip("/")))  # noqa: PTH119


@lru_cache(maxsize=64)  # asked ten times for each file of a batch
def _suffix(name: str) -> str:
    long = next((one for one in _LONG if name.lower().endswith(one)), "")
    return name[-len(long) :] if long else PurePath(name).suffix


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
    suffix = own_suffix(path).lower()
    for row in _every() if suffix else ():
        if suffix in row.suffixes:
            return row
    if package := _PACKAGES.get(suffix):
        needed = f"{suffix} needs the package {package}: pip install {package}"
        raise UsageError(needed, subject=repr(str(path)))
    what = f"unknown suffix {suffix!r}" if suffix else "a name without a suffix"
    raise UsageError(f"{_unknown(what, suffix)} (or name the type with --format)", subject=repr(str(path)))


def _instead(row: Format) -> str:
    return " or ".join(f".{name}" for name in row.instead)


def written_as(source: Format) -> Format:
    """Return the default format of results: the input's own, or PNG or M4A if that one is only read.

    >>> written_as(identify(b"DDS ", "a.dds")[0]).name
    'png'
    """
    return source if source.writer else by_name(source.instead[0])


def by_name(text: str) -> Format:
    """Return the format called so (``--format``): its name or a suffix, with or without the dot.

    >>> by_name("tif").name, by_name(".JPG").name
    ('tiff', 'jpeg')
    """
    wanted = text.strip().lower().removeprefix(".")
    for row in _every():
        if wanted == row.name or f".{wanted}" in row.suffixes:
            if not row.writer:
                raise UsageError(f"--format {text!r}: {row.name} is only read; write {_instead(row)}")
            return row
    raise UsageError(_unknown(f"--format {text!r} is unknown", wanted))


def of_folder(path: Path) -> Format:
    """Return the format that a folder is of.

    Raises
    ------
    ConvError
        For one of no format.
    """
    rows = [row for row in _every() if row.folder]
    found = next((row for row in rows if row.folder and row.folder(path)), None)
    found = found or next((row for row in rows if own_suffix(path).lower() in row.suffixes), None)
    if found is None:
        raise ConvError("it is a folder; name the files in it")
    return found


def sniffed_series(head: bytes) -> bool:
    """Say whether a file begins like one of several that are one input of a folder."""
    return any(row.folder and row.recognises(head) for row in READ)


def is_signed(head: bytes) -> bool:
    """Say whether the first bytes of a file are those of a binary format."""
    return any(row.recognises(head) for row in _SIGNED)


def sniff(head: bytes) -> Format:
    """Return the format of a file's first bytes (:data:`HEAD` of them, or all if there are fewer).

    >>> sniff(b"time;value").name, sniff(b"1.5\\t2").name
    ('csv', 'tsv')

    Raises
    ------
    ConvError
        When no format begins like this.
    """
    if found := _recognised(head):
        return found
    names = " ".join(row.name for row in _every() if row.writer)
    raise ConvError(f"data of no known format: {_content(head)}; known: {names}")


def for_sound(format: Format, info: Info, written: bool = False) -> Format:
    """Return the format of a file of clips that has or gets these data: M4A where they are a sound.

    Of those that are ``written`` MP4 alone takes sound alone.
    """
    sound = info.companions is not None and info.companions.kind is Kind.SOUND
    clip = format.name == "mp4" if written else format.kind is Kind.CLIP
    return by_name("m4a") if sound and clip else format


_STORED, _ASIDE = 9, 1 << 26  # bytes of a pixel in a file at most, and of what else may be in it


def longest(head: bytes) -> int | None:
    """Return how many bytes a file that begins like this may have; None where nothing bounds them.

    Animations are bounded by the pixels that are decoded at most.
    """
    row = _recognised(head[:HEAD])
    if row is None:
        return _ASIDE
    if row.name == "npy":
        header = _load("convcli.data.array_files:npy_header")(io.BytesIO(head))
        return _ASIDE + prod(header.shape) * header.dtype.itemsize
    if row not in READ or row.kind in (Kind.CLIP, Kind.SOUND) or row.grain is BOXES:
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
    if named is None and not own_suffix(path):
        return sniff(head), ()
    found = next((row for row in _SIGNED if row.recognises(head)), None)
    try:
        expected = named or readable(path)
    except UsageError:
        if found is None and head[4:8] in _SEGMENT:
            raise ConvError(f"it holds {_content(head)}") from None
        found = found or next((row for row in _every() if row not in READ and row.recognises(head)), None)
        if found is None and head.startswith(_FITS):
            raise ConvError(f"it holds {_content(head)}") from None
        if found is None:
            raise
        return found, ()
    own = expected.recognises(head) or (found is not None and found.name == expected.like)
    if own or (not expected.binary and begins.is_text(head)):
        return expected, ()
    if found is None:
        raise ConvError(f"no {expected.name.upper()} file: it holds {_content(head)}")
    note = f"{str(path)!r} holds {found.name.upper()} data, not {expected.name.upper()}: read as what it is"
    return found, (note,)


_SEGMENT = (b"styp", b"sidx", b"moof")  # the boxes that begin a part of a stream


def _content(head: bytes) -> str:
    if not head:
        return "nothing (it is empty)"
    if head.startswith(_FITS):
        return f"a FITS, which needs a package: pip install {_PACKAGES['.fits']}"
    if head[4:8] in _SEGMENT:
        return "a part of a stream without its beginning (join them: cat init.mp4 part.m4s > clip.mp4)"
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16 text (convert it to UTF-8)"
    if begins.is_text(head):
        return f"text ({head[:24].decode(errors='replace')!r})"
    return f"unknown bytes ({head[:8]!r})"


def _load(entry: str) -> Callable[..., Any]:
    module, _, name = entry.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def open_source(fp: IO[bytes], format: Format, options: ReadOptions) -> Source:
    """Open an input; ``fp`` can seek and stands at its beginning.  The source closes ``fp``.

    A container of clips may hold sound alone: `for_sound` then tells the format.

    Raises
    ------
    UsageError
        For the path of an array in a file that holds a single one.
    """
    if options.array and not format.arrays:
        raise UsageError(
            f"::{options.array} names one of several arrays, and {format.name.upper()} holds one"
        )
    stored = fp.seek(0, 2)
    fp.seek(0)
    try:
        source: Source = _load(format.reader)(fp, options)
    except NoPicturesError as error:
        if "audio" not in error.problem:
            raise
        fp.seek(0)
        source = _load("convcli.media.sounds.coded:contained")(fp, options)
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
    elsewhere = info.metadata.geo is not None and "tiff" not in (format.name, format.like)
    lost, lines = ["the georeference is"] * elsewhere, list[str]()
    measured = format.numbers or format.grain is BOXES  # in any unit
    for axis in info.axes:
        positions = axis.positions
        if isinstance(positions, Listed) and axis.letter == format.placed == "X" and None in positions.ticks:
            nowhere = f"{positions.ticks.count(None)} of {axis.size} rows have no time"
            none = (
                "between the input's times"
                if positions.step
                else "at none of the input's times, which are not evenly spaced"
            )
            lines.append(f"{nowhere}: they lie {none}")
        on_paper = positions is None or positions.unit in (INCH, SECOND) or format.kind is Kind.SOUND
        if positions is None or (axis.letter in format.placed and (on_paper or measured)):
            continue
        if positions.unit != INCH:
            samples = "the georeference is" if info.metadata.geo else "the positions of the samples are"
            lost.append("the times of the frames are" if axis.letter == "T" else samples)
        elif not isinstance(positions, Even) or round(1 / positions.spacing) not in _USUAL:
            lost.append("the resolution is")
    if info.metadata.volume and info.metadata.volume.affine and not format.oriented:
        lost = ["the affine is", *(one for one in lost if one != "the positions of the samples are")]
    if info.metadata.header and info.metadata.header[0] not in (format.name, format.like):
        lost.append(f"the header of the {info.metadata.header[0].upper()} is")
    plays = clip_of(info.companions).plays
    if plays > 1 and (format.film or measured or "T" not in format.placed):
        lost.append(f"that it plays {plays} times is")
    notes = [f"{what} left out: {format.name.upper()} holds none" for what in dict.fromkeys(lost)]
    also = [] if info.companions and info.companions.kind is format.kind else list(info.also)
    if not format.drawn:  # those say it themselves, see `shared.fit`
        also += ["the colour profile"] * bool(info.metadata.icc) + ["EXIF data"] * bool(info.metadata.exif)
    if info.metadata.store is not None and format.name not in info.metadata.store.formats:
        also += info.metadata.store.also
    if also:
        notes.append(f"left out: {', '.join(also)} ({format.name.upper()} holds none)")
    return (*notes, *lines)


def grain(format: Format, info: Info) -> Grain:
    """Return which boxes of such data a format's writer takes, or takes best."""
    return _load(format.pieces)(info) if format.pieces else format.grain


def open_sink(fp: IO[bytes], format: Format, info: Info, options: WriteOptions) -> Sink:
    """Open an output for data as ``info`` says; its close leaves ``fp`` open, for the target to finish."""
    sink: Sink = _load(format.writer)(fp, format.name, info, options)
    return sink
