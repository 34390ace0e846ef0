"""Which data a format holds, and the form in which it takes them."""

from dataclasses import replace

from convcli.common.errors import UsageError
from convcli.data import ITEMS, SPACE, Colour, Info, Kind
from convcli.media.registry import FORMATS, Format


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
