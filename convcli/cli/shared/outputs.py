"""From a result to its files: how many there are, and what they are called."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convcli.common import UsageError
from convcli.data import Colour, Info
from convcli.media import opening, registry
from convcli.media.files.target import STANDARD, shown
from convcli.media.registry import Format, own_suffix, parted

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
