"""Options that do not concern a file: refused in one line, never ignored.

One row an option: when it was given, and which formats it means something for.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from convcli.common import UsageError, frozen
from convcli.data import Kind
from convcli.media.files.target import StrPath, about_input
from convcli.media.options import Compress, Header, ReadOptions, WriteOptions
from convcli.media.registry import Format

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
