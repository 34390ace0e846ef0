"""From names to sources and sinks: one file, or numbered ones that are a clip.

What a file is opened by and replaced by is in ``target``, what it holds in the formats' own modules.
Options that do not concern a file are refused in one line, never ignored.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import replace
from fractions import Fraction
from math import prod
from pathlib import Path
from typing import IO, TYPE_CHECKING, Generic, TypeVar

from convcli.common import ConvError, UsageError, frozen
from convcli.data import Info, Kind, Sink, Source, at_rate
from convcli.media import registry
from convcli.media.files import target
from convcli.media.files.target import Folder, StrPath, about_input
from convcli.media.options import Compress, Header, ReadOptions, WriteOptions
from convcli.media.registry import Format

if TYPE_CHECKING:
    import numpy as np

    from convcli.media.clips.numbered import Numbered


T = TypeVar("T")


@frozen
class _Concern(Generic[T]):
    option: str
    given: Callable[[T], bool]
    formats: Callable[[Format], bool]
    purpose: str


def _film(format: Format) -> bool:
    return format.film


def _named(*names: str) -> Callable[[Format], bool]:
    return lambda row: row.name in names


def _streamed(format: Format) -> bool:
    return format.film or format.kind is Kind.SOUND


def _array(format: Format) -> bool:
    return format.arrays or format.name in ("npy", "tiff", "ome-tiff")


def _columned(format: Format) -> bool:
    return format.kind is Kind.TABLE


_TABLE, _LOSSY = _named("csv", "tsv"), _named("jpeg", "webp", "avif", "jxl", "mp3", "ogg", "opus")
_CLIPS = "is for clips (mp4, mov, mkv, webm, avi, ts, y4m)"

_READING: tuple[_Concern[ReadOptions], ...] = (
    _Concern(
        *("--axes", lambda o: o.axes is not None, _array),
        "names the dimensions of NPY, TIFF, HDF5, NetCDF and Zarr",
    ),
    _Concern("--as matrix", lambda o: o.matrix, _columned, "reads a table as a grid"),
    _Concern("--columns", lambda o: o.columns is not None, _columned, "picks columns of a table"),
    _Concern("--header", lambda o: o.header is not Header.AUTO, _TABLE, "is for tables"),
    _Concern("--allow-truncated", lambda o: o.allow_truncated, _streamed, "is for clips and sounds"),
)
_WRITING: tuple[_Concern[WriteOptions], ...] = (
    _Concern("--codec", lambda o: o.video.codec is not None, _film, _CLIPS),
    _Concern("--crf", lambda o: o.video.crf is not None, _film, _CLIPS),
    _Concern("--preset", lambda o: o.video.preset is not None, _film, _CLIPS),
    _Concern("--pix-fmt", lambda o: o.video.pixels is not None, _film, _CLIPS),
    _Concern("--no-audio", lambda o: not o.video.sound, _film, _CLIPS),
    _Concern(
        "--quality", lambda o: o.level is not None, _LOSSY, "is for JPEG, WebP, AVIF, JPEG XL, MP3 and Ogg"
    ),
    _Concern(
        "--quality fast or small", lambda o: isinstance(o.quality, Compress), _named("png"), "is for PNG"
    ),
)


def check_reading(options: ReadOptions, format: Format, name: StrPath) -> None:
    """Refuse options that mean nothing for an input.

    Raises
    ------
    UsageError
        With the option and what the input is.
    """
    with about_input(name):
        _check(_READING, options, format, f"the input is {format.name.upper()}")


def check_writing(options: WriteOptions, format: Format | None) -> None:
    """Refuse options that mean nothing for an output; without a format there is none.

    Raises
    ------
    UsageError
        With the option and what the output is.
    """
    what = "there is no output" if format is None else f"the output is {format.name.upper()}"
    _check(_WRITING, options, format, what)


def _check(concerns: tuple[_Concern[T], ...], options: T, format: Format | None, what: str) -> None:
    for row in concerns:
        if row.given(options) and (format is None or not row.formats(format)):
            raise UsageError(f"{row.option} {row.purpose}; {what}")


class Given:
    """An input: a file or a folder, standard input, or the pictures that a pattern names.

    Attributes
    ----------
    head : bytes
        The first bytes, of the first file.
    files : tuple of str
        The names of all files.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        file, self._array = registry.parted(name)
        self._found = find_numbered(file)
        self.files = tuple(map(str, self._found.files)) if self._found else (file,)
        self._fp = target.open_input(self.files[0], registry.longest)
        self.head = self._fp.read(registry.HEAD)
        self._fp.seek(0)
        if self._found is not None and registry.sniffed_series(self.head):
            self._fp.close()
            self._fp, self._found = Folder(Path(file).parent, self._found.files, self.head), None

    @property
    def numbered(self) -> bool:
        return self._found is not None

    @property
    def folder(self) -> Path | None:
        """Where it is, if it is a folder."""
        return self._fp.path if isinstance(self._fp, Folder) else None

    def identify(self) -> tuple[Format, tuple[str, ...]]:
        """Return its format, and notes where its name and its content differ; errors as `registry.identify`."""
        if isinstance(self._fp, Folder) and not self._fp.files:
            return registry.of_folder(self._fp.path), ()
        return registry.identify(self.head, self.files[0])

    def open(self, format: Format, options: ReadOptions, grid: bool = False, shared: bool = False) -> Source:
        """Return the source, which closes the file.

        Parameters
        ----------
        grid : bool
            Whether a table is read as one, of two axes.
        shared : bool
            Whether the options are those of other files too, and may concern these alone.

        Raises
        ------
        UsageError
            For options that do not concern the format.
        ConvError
            For what cannot be read, and for ``options.rate`` where frames have times of their own, or are none.
        """
        if not shared:
            check_reading(options, format, self.name)
        as_grid = options.matrix or (grid and format.kind is Kind.TABLE)
        options = replace(options, array=self._array, matrix=as_grid)
        if self._found is not None:
            from convcli.media.clips.numbered import NumberedSource

            self._fp.close()
            return NumberedSource(self._found, options)
        source = registry.open_source(self._fp, format, options)
        if "Z" in (options.axes or "").upper():
            source.info = replace(source.info, volume=True)
        if options.rate is not None:
            try:
                source.info = timed(source.info, options.rate)
            except BaseException:
                source.close()
                raise
        return source

    def close(self) -> None:
        self._fp.close()


@contextmanager
def opened(
    name: str, options: ReadOptions, grid: bool = False, shared: bool = False
) -> Iterator[tuple[Source, Format, tuple[str, ...]]]:
    """Open an input; yield it with its format, and notes where its name and its content differ.

    Errors within name it; at the end it is closed.  ``grid`` and ``shared`` as in `Given.open`.
    """
    given = Given(name)
    with target.about_input(name), closing(given):
        format, notes = given.identify()
        with closing(given.open(format, options, grid, shared)) as source:
            yield source, format, notes


@frozen
class Location:
    """Where a source is: all that it takes to open it again, here or in another process.

    Attributes
    ----------
    name
        As `Given` takes it; no pipe, which can be read once only.
    format
        The name of its format.
    options
        What its reader is told.
    mask
        The file that says which samples are missing.
    """

    name: str
    format: str
    options: ReadOptions
    mask: str | None = None

    def open(self) -> Source:
        """Open the source; errors as in `Given.open`."""
        given = Given(self.name)
        try:
            format = registry.by_name(self.format)
            source = given.open(registry.numbered(format) if given.numbered else format, self.options)
            return source if self.mask is None else masked(source, self.mask)
        except BaseException:
            given.close()
            raise

    def stamp(self) -> list[list[object]]:
        """Return what tells whether input and mask are still the same: names, sizes and times of their files.

        Of a folder only the files are looked at that lie in it and beside the chosen array: a store has too many.
        """
        places = []
        for name in filter(None, (self.name, self.mask)):
            file, array = registry.parted(name)
            if Path(file).is_dir():
                inside = (sorted(of.iterdir()) for of in sorted({Path(file), Path(file, array.strip("/"))}))
                places += [one for of in inside for one in of if one.is_file()]
            else:
                places.append(Path(file))
        return [[str(one), one.stat().st_size, one.stat().st_mtime_ns] for one in places]


@frozen
class Place:
    """An output in progress that several processes write, each boxes of its own.

    Attributes
    ----------
    path
        A file, or a folder of files.
    sink
        What it is written by.
    """

    path: Path
    sink: Sink

    @contextmanager
    def open(self) -> Iterator[Sink]:
        """Yield the sink, with the file open for it."""
        if self.path.is_dir():
            self.sink.attach(Folder(self.path))
            yield self.sink
            return
        with (
            target.closed_after(os.open(self.path, os.O_RDWR)) as descriptor,
            target.writing(descriptor, self.path, True) as fp,
        ):
            self.sink.attach(fp)
            yield self.sink


def named(options: WriteOptions, file: str, array: str) -> WriteOptions:
    """Return options with what an output's name says."""
    return replace(options, array=array, levels=registry.own_suffix(file).lower() == ".ome.zarr")


def in_place(format: Format, info: Info, options: WriteOptions) -> bool:
    """Say whether processes can write boxes of an output each on its own."""
    if format.folder is not None or not format.grain.any_order:
        return format.grain.any_order
    with tempfile.NamedTemporaryFile() as fp:
        return registry.open_sink(fp, format, info, options).in_place


def begun(place: Path, format: Format, info: Info, options: WriteOptions) -> Place:
    """Begin an output that can be written `in_place`, or go on with one that has begun."""
    if format.folder is not None:
        place.mkdir(exist_ok=True)
        return Place(place, registry.open_sink(Folder(place), format, info, options))
    fresh = not place.exists()
    with (
        place.open("x+b") if fresh else tempfile.NamedTemporaryFile() as fp
    ):  # of what is there no byte is touched
        from convcli.media.region import RegionSink  # numpy

        made = registry.open_sink(fp, format, info, options)
        if fresh and isinstance(made, RegionSink):
            made.extend()  # so that it can be read before it is whole
        return Place(place, made)


def masked(source: Source, name: str) -> Source:
    """Return a source whose samples are missing where a file is zero; it closes both.

    Raises
    ------
    UsageError
        For a mask of other sizes.
    ConvError
        For one that cannot be read.
    """
    letters = source.info.letters
    with target.about_input(name):
        given = Given(name)
        try:
            format, _ = given.identify()
            format = registry.numbered(format) if given.numbered else format
            mask = given.open(format, ReadOptions(all_frames="T" in letters), grid="Y" in letters)
            from convcli.data.masked import Masked  # numpy

            return Masked(source, mask)
        except BaseException:
            given.close()
            raise


def find_numbered(name: str) -> Numbered | None:
    """Return the files of a clip of numbered pictures; ``None`` for any other name."""
    file, _ = registry.parted(name)
    if file == target.STANDARD or not any(mark in file for mark in "%*?["):
        return None
    from convcli.media.clips.numbered import find

    return find(file)


def output_name(name: str, format: Format) -> str:
    """Return what the outputs of an input are called after: pictures of pictures keep a number, others lose it."""
    if find_numbered(name) is None:
        return name
    from convcli.media.clips.numbered import clip_name, frames_name

    return frames_name(Path(name)) if format.numbered else clip_name(Path(name))


def timed(info: Info, rate: Fraction) -> Info:
    """Return a clip without times as one of a constant rate.

    Raises
    ------
    UsageError
        For what is not a clip, and for frames that have times of their own.
    """
    letters = "TZ" if "Y" in info.letters else "TZX"
    time = next((axis for axis in info.axes if axis.letter in letters), None)
    if time is None:
        raise UsageError("--fps is for clips, and this is none (an array's axes: --axes TYX or TYXC)")
    if time.positions is not None:
        raise UsageError("--fps is for numbered pictures and arrays; these frames have times of their own")
    return info.placed(**{time.letter: at_rate(rate)})


def output_format(name: str) -> Format:
    """Return the format that an output's name asks for: ``out/%04d.png`` is one of numbered pictures.

    Raises
    ------
    UsageError
        For an unknown suffix.
    """
    format = registry.by_suffix(name)
    if "%" not in name or format.film or format.folder:
        return format
    from convcli.media.clips.numbered import pattern

    return registry.numbered(format) if pattern(name) else format


def check_not_input(path: str, inputs: Iterable[str], *, force: bool = False) -> None:
    """Refuse an output that is one of the inputs, unless ``force`` says that it may replace it.

    Raises
    ------
    ConvError
        When the output would be the regular file or folder of one of ``inputs``, or of an array in it.
    """
    file, _ = registry.parted(path)
    if force or file == target.STANDARD or not (Path(file).is_file() or Path(file).is_dir()):
        return
    for name in inputs:
        if target.same_file(file, registry.parted(name)[0]):
            raise ConvError(
                "it is an input too; choose another output, or overwrite it with -y",
                subject=target.shown(path),
            )


def exists(path: str) -> bool:
    """Return whether an output is there, or one of those that a pattern names."""
    file, _ = registry.parted(path)
    return os.path.lexists(file) or find_numbered(file) is not None


def check_disk(path: str, format: Format, info: Info) -> None:
    """Refuse an output for which the disk has no room, where its bytes are known or, in chunks, a thousandth of them.

    Raises
    ------
    ConvError
    """
    if format.grain.any_order:
        import numpy as np

        size = prod(info.shape) * np.dtype(info.dtype).itemsize
        target.check_disk(path, size // 1000 if format.folder else size)


def check_output(path: str, format: Format, info: Info | None = None, *, force: bool = False) -> None:
    """Raise what :func:`open_sink` would raise at once, and touch nothing.

    ``info`` is the data; without it, what depends on the number of frames is not looked at.
    """
    if not format.numbered:
        file, _ = _whole_file(path, force)
        target.check_output(file, force=force, binary=format.binary, folder=format.folder)
        return
    from convcli.media.clips.numbered import first_number, pattern

    names = pattern(path)
    if names is None:
        raise UsageError(
            f"a clip needs a number in its pictures' names, such as %04d{format.suffixes[0]}",
            subject=target.shown(path),
        )
    first = first_number(info) if info is not None else 1
    count = info.size("T") if info is not None else 1
    # What holds for one holds for all: the folder is there and can be written in.
    for number in (first, *range(first + 1, first + count)):
        place = names.folder / names.name(number)
        if number == first or place.exists():
            target.check_output(place, force=force or info is None, binary=format.binary)


def write(
    path: str, format: Format, info: Info, values: np.ndarray, *, force: bool = False
) -> tuple[str, ...]:
    """Write an output that is there as a whole; return what it could not hold.  Errors as `open_sink`."""
    with open_sink(path, format, info, WriteOptions(), force=force) as sink:
        sink.write(info.box, values)
        sink.close()
    return (*registry.left_out(info, format), *sink.notes)


def _whole_file(path: str, force: bool) -> tuple[str, str]:
    """Return the file of an output and the path in it: a file is written as a whole, never added to."""
    file, array = registry.parted(path)
    if array and not force and Path(file).exists():
        raise ConvError(
            "it exists, and is written as a whole: -y (--force) replaces all that is in it, or name another file",
            subject=target.shown(file),
        )
    return file, array


@contextmanager
def open_sink(
    path: str, format: Format, info: Info, options: WriteOptions, *, force: bool = False
) -> Iterator[Sink]:
    """Open an output for data as ``info`` says; it appears when the block ends well, whole, or not at all.

    The caller closes the sink within the block.

    Raises
    ------
    ConvError
        As `convcli.media.files.target.output`.
    """
    if not format.numbered:
        path, array = _whole_file(path, force)
        replaced = bool(array) and Path(path).exists()
        opened: AbstractContextManager[IO[bytes]]
        if format.folder is not None:
            opened = target.folder_output(path, format.folder, force=force)
        else:
            opened = target.output(path, force=force, binary=format.binary, seeks=format.seeks)
        check_disk(path, format, info)
        with opened as fp:
            sink = registry.open_sink(fp, format, info, named(options, path, array))
            sink.notes += (
                f"{target.shown(path)} is replaced as a whole, with all that was in it",
            ) * replaced
            yield sink
        return
    from convcli.media.clips.numbered import NumberedSink, pattern

    check_output(path, format, info, force=force)
    names = pattern(path)
    assert names is not None  # or the check has failed
    with target.outputs(names.folder, force=force) as opened_one:
        yield NumberedSink(opened_one, names, format, info, options)
