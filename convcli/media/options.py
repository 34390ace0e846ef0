"""How files are to be read and written: the options of the media, parsed once at the edge.

No files, no defaults that depend on a format: a reader takes what concerns it and ignores the rest.
"""

from contextlib import suppress
from enum import StrEnum
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from convcli.common import Frames, Reading, UsageError, frozen, in_range, parse_choice, parse_rate, quoted
from convcli.common.budget import PIXELS
from convcli.common.options import Panel, flag, option

MILLION = 1_000_000


class Compress(StrEnum):
    """How hard a lossless writer tries: soon done, or small."""

    FAST = "fast"
    SMALL = "small"


class Header(StrEnum):
    """Whether the first line of a table holds names."""

    AUTO = "auto"  # as its cells look
    YES = "yes"
    NO = "no"


def parse_quality(text: str) -> int | Compress:
    """Read a number from 1 to 100, or how hard a lossless writer tries.

    >>> parse_quality("90"), parse_quality("small")
    (90, <Compress.SMALL: 'small'>)
    """
    if text in tuple(Compress):
        return Compress(text)
    if not text.strip().isdecimal():
        raise UsageError(f"quality {quoted(text)} is not possible: give 1 to 100, or fast or small for PNG")
    return in_range(int(text), "quality", 1, 100)


def parse_columns(text: str) -> tuple[str, ...]:
    """Read names, numbers and stretches of columns."""
    return tuple(part.strip() for part in text.split(","))


def complete_columns(ctx: Any, incomplete: str) -> list[str]:
    """Offer the columns of the table that stands in the command line."""
    import polars

    readers: dict[str, Any] = {".csv": polars.scan_csv, ".tsv": partial(polars.scan_csv, separator="\t")}
    readers |= {".parquet": polars.scan_parquet, ".arrow": polars.scan_ipc, ".feather": polars.scan_ipc}
    *before, last = incomplete.split(",")
    for name in ctx.args:
        with suppress(OSError, KeyError, polars.exceptions.PolarsError):
            found = readers[Path(name).suffix.lower()](name).collect_schema().names()
            return [",".join([*before, column]) for column in found if column.startswith(last)]
    return []


@frozen
class ReadOptions:
    """What a reader is told about its input.

    Attributes
    ----------
    axes
        ``None`` where the file names its dimensions, or every dimension is space.
    columns
        Names, one-based numbers, ranges such as ``2-4``; ``None`` is all that hold numbers.
    all_frames
        A TIFF's pages are one stack in any case.
    max_pixels
        Checked from the header; ``None`` means no limit.
    grey
        Read a clip's brightness alone.
    array
        The path of an array in a file of several, as the input's name ends in ``::PATH``.
    rate
        Of numbered pictures and arrays, which carry no time; ``None`` is the usual 25.
    """

    panel = Panel.CLIPS

    rate: Fraction | None = option(
        "Frames a second of numbered images and arrays, or samples of signals. Default: 25.",
        "--fps",
        read=parse_rate,
    )
    axes: str | None = option(
        "Letters of an array's dimensions: YXC, CYX, NCYX, ZYX, TYX...",
        panel=Panel.WINDOW,
        complete=("YX", "YXC", "CYX", "NCYX", "ZYX", "TYX", "TYXC"),
    )
    matrix: bool = option(
        "matrix: read a table as one 2-D grid.",
        "--as",
        complete=("matrix",),
        default=False,
        panel=Panel.TABLES,
        read=lambda text: parse_choice(Reading, text, "--as") is Reading.MATRIX,
    )
    columns: tuple[str, ...] | None = option(
        "Columns of a table to filter: names, numbers, 2-4.",
        panel=Panel.TABLES,
        read=parse_columns,
        complete=complete_columns,
    )
    header: Header = option(
        "yes, no or auto: the first line of a table holds names.", default=Header.AUTO, panel=Panel.TABLES
    )
    all_frames: bool = option(
        "first, or all frames of an animation. A TIFF's pages are one stack, Z.",
        "--frames",
        complete=("first", "all"),
        default=False,
        shown="first",
        read=lambda text: parse_choice(Frames, text, "frames") is Frames.ALL,
    )
    allow_truncated: bool = flag("Keep what can be read of a broken clip or sound.")
    max_pixels: int | None = option(
        "Most pixels that are decoded whole, in millions; an animation's frames add up.",
        default=PIXELS,
        shown=256,
        read=lambda millions: in_range(millions, "--max-pixels", 1) * MILLION,
    )
    max_frames: int | None = option(
        "Most frames of a clip or an animation, or pages of a TIFF. Default: no limit.",
        takes=int,
        read=lambda number: in_range(number, "--max-frames", 1),
    )
    grey: bool = False
    array: str = ""


@frozen
class VideoOptions:
    """How a clip is to be coded; ``None`` is as the source, or the container's usual.

    Attributes
    ----------
    codec
        FFmpeg's name of an encoder or a codec: ``libx264``, ``h264``, ``ffv1``.
    preset
        Of x264, x265 and SVT-AV1: ``veryfast``, ``slow``, ``8``.
    pixels
        FFmpeg's name of a pixel format.
    planes
        The frames come as planes, in the source's own pixel format.
    """

    panel = Panel.CLIPS

    codec: str | None = option(
        "Of a clip: h264, hevc, vp9, av1, ffv1 (lossless)... Default: its own.",
        complete=("h264", "hevc", "vp9", "av1", "ffv1", "prores", "mpeg4"),
    )
    crf: float | None = option("Constant quality of a clip, smaller is better. Default: 17 (H.264).")
    preset: str | None = option(
        "Speed of the encoder: veryfast, medium, slow.", complete=("veryfast", "fast", "medium", "slow")
    )
    pixels: str | None = option(
        "Pixel format of a clip: yuv420p, yuv444p10le... Default: its own.", "--pix-fmt"
    )
    sound: bool = option(
        "Leave out sound and subtitles.",
        "--no-audio",
        default=True,
        shown=False,
        read=lambda without: not without,
    )
    planes: bool = False


@frozen
class WriteOptions:
    """What a writer is told about its output; ``quality`` ``None`` is the format's own default, a `Compress` is PNG's.

    ``array`` is the path of the array in a file that can hold several; ``levels`` asks for coarser levels of it.
    """

    quality: int | Compress | None = option(
        "1 to 100, for JPEG, WebP, MP3 and Ogg; fast or small, for PNG. Default: the format's own, fast.",
        read=parse_quality,
    )
    video: VideoOptions = VideoOptions()
    array: str = ""
    levels: bool = False

    @property
    def level(self) -> int | None:
        """The quality as a number."""
        return None if isinstance(self.quality, Compress) else self.quality
