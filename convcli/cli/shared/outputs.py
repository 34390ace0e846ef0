"""From a result to its files: how many there are, and the form of data that each format takes."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from convcli.common import UsageError
from convcli.data import ITEMS, SPACE, Colour, Info, Kind
from convcli.media import opening, registry
from convcli.media.files.target import STANDARD, shown
from convcli.media.registry import FORMATS, Format, own_suffix, parted

if TYPE_CHECKING:
    import numpy as np


def paths(target: str, format: Format, result: Info) -> tuple[str, ...]:
    """Return the outputs' names: one, or one for each map where the format holds a single one.

    Raises
    ------
    UsageError
        When several files are needed and there is only standard output.
    """
    if "M" not in result.letters or format.multi:
        return (target,)
    if target == STANDARD:
        raise UsageError(
            f"{result.size('M')} maps do not fit one {format.name.upper()} on standard output: "
            "name a file with -o, or choose --format npy or tiff"
        )
    whole = Path(target)
    suffix = own_suffix(whole)
    named = whole.name.removesuffix(suffix)
    return tuple(str(whole.with_name(f"{named}.{n}{suffix}")) for n in range(result.size("M")))


def check_apart(*paths: str | None) -> None:
    """Refuse outputs that would replace each other, whatever -y says; a pattern stands for all of its names."""
    named = [(path, str(Path(parted(path)[0]).resolve())) for path in paths if path not in (None, STANDARD)]
    for index, (path, whole) in enumerate(named):
        from convcli.media.clips.numbered import overlap  # heavy

        if any(overlap(whole, other) for _, other in named[:index]):
            raise UsageError("named for two outputs: give each a name of its own", subject=shown(path))


def check(result: Info, format: Format, *, grey: bool = True) -> None:
    """Refuse data that the format cannot hold, and say what can; ``grey``: whether one channel can be asked for.

    Raises
    ------
    UsageError
    """
    check_axes(result.letters.replace("M", ""), format, grey=grey)
    named = f"{format.name.upper()} files cannot hold"
    if result.colour is Colour.CMYK and format.name not in ("jpeg", "tiff", "npy"):
        raise UsageError(f"{named} CMYK: write jpeg, tiff or npy")
    numbers = result.metadata.header or result.metadata.bands
    odd = numbers and result.colour is Colour.NONE and result.channels in (2, 4)  # no alpha
    many = format.kind is Kind.SOUND or format.numbers or "tiff" in format.name
    if (result.channels > 4 or odd) and not many:
        raise UsageError(f"{named} {result.channels} channels: write tiff or npy")


def check_axes(axes: str, format: Format, *, grey: bool = True, table: bool = True) -> None:
    """Refuse axes that the format cannot hold, and say what can; ``table``: whether they may be those of a table.

    Raises
    ------
    UsageError
    """
    if _holds(format, axes):
        return
    if table and "Y" not in axes and "Y" in format.axes and not format.numbers:
        raise UsageError(
            f"a table has no axis y, so it cannot become {format.name.upper()}: write .csv, or read it with --as matrix"
        )
    holders = [row.name for row in FORMATS if _holds(row, axes)]
    hint = ""
    if grey and "C" in axes and _holds(format, axes.replace("C", "")):
        hint = "; --channels grey leaves one number a pixel"
    letters = ", ".join(axes.lower())
    named = f"{format.name.upper()} files cannot hold data of the axes {letters}"
    raise UsageError(f"{named}: write {' or '.join(holders)}{hint}")


def _holds(format: Format, axes: str) -> bool:
    if any(letter not in format.axes for letter in axes) or (format.film and "T" not in axes):
        return False
    if format.name in ("csv", "tsv"):
        return not ("Y" in axes and "C" in axes)
    if format.kind is Kind.SOUND:
        return "X" in axes
    return (format.numbers and not format.drawn) or ("Y" in axes and "X" in axes)


def form(info: Info, format: Format) -> Info:
    """Return the result as one file takes it: a picture's axes in order, its colours named."""
    letters = info.letters
    apart = "tiff" in format.name and (info.metadata.header or not format.multi)
    # Each channel has its pages
    apart = apart and info.colour is Colour.NONE and "C" in letters.partition("Y")[0]
    if not format.multi:
        letters = letters.replace("M", "")
    if not format.numbers and not apart:
        letters = "".join(letter for letter in f"{ITEMS}M{SPACE}C" if letter in letters)
    colour = info.colour
    numbers = format.numbers or ("tiff" in format.name and info.metadata.bands)
    pictures = "Y" in letters and not numbers
    if pictures and colour is Colour.NONE and info.channels <= 4 and not apart:  # more stay numbers
        colour = (Colour.GREY, Colour.GREY_ALPHA, Colour.RGB, Colour.RGBA)[info.channels - 1]
    return replace(info, axes=tuple(map(info.axis, letters)), colour=colour)


def streams(result: Info, format: Format) -> bool:
    """Whether blocks can be written as they come: in any order, or because the file's stream axis is the result's."""
    written = form(result, format)
    return (
        format.grain.any_order or written.letters[written.stream_axis] == result.letters[result.stream_axis]
    )


def write_whole(
    path: str,
    pixels: "np.ndarray",
    *,
    force: bool,
    inputs: Sequence[str] = (),
    format: Format | None = None,
    form: Info | None = None,
) -> None:
    """Write an array in one piece: as its form says, or as a picture, (Y, X) or (Y, X, C).

    Raises
    ------
    UsageError
        For a picture where the format holds numbers.
    ConvError
        For an output that is one of the inputs, unless it is forced; else as `convcli.media.files.target.output`.
    """
    format = format or registry.by_suffix(path)
    if form is None and format.numbers:
        raise UsageError(f"{format.name.upper()} holds no such picture: write .png", subject=shown(path))
    opening.check_not_input(path, inputs, force=force)
    opening.write(path, format, form or picture_form(pixels), pixels, force=force)


def picture_form(pixels: "np.ndarray") -> Info:
    """Return the form of a picture, (Y, X) of grey or (Y, X, C) of colours."""
    colour = Colour.GREY if pixels.ndim == 2 else Colour.RGB
    return Info.of("YXC"[: pixels.ndim], pixels.shape, pixels.dtype.name, colour)


def stem(source: str) -> str:
    """Return the name of an input without its suffix, and without what would lead elsewhere.

    >>> stem("photos/a.b.png"), stem("-"), stem("...png"), stem("a.h5::/b/c")
    ('a.b', 'stdin', '_', 'a.b.c')
    """
    file, array = parted(source)
    whole = "stdin" if file == STANDARD else plain(Path(file).name.removesuffix(own_suffix(file)))
    return ".".join(["_" if whole in (".", "..") else whole, *filter(None, array.split("/"))])


def plain(name: str) -> str:
    """Return a name of a file or folder that names no array in a file, which `parted` would take it for."""
    return name.replace("::", ".")
