"""``filter --plot``: input and result side by side, read again from their files."""

import difflib
import sys

from convcli.cli.filter.request import Request
from convcli.cli.shared import figures, views
from convcli.cli.shared.views import View
from convcli.common import UsageError, quoted
from convcli.media import registry
from convcli.media.files.target import STANDARD
from convcli.media.options import ReadOptions
from convcli.pixels.colours import is_map, names


def check(request: Request) -> None:
    """Refuse, before any work, what could not be drawn."""
    piped = STANDARD in request.inputs and request.output is None and not request.dry_run
    if piped or request.output == STANDARD:
        raise UsageError("--plot reads the result again: name its file by -o, or preview it with --dry-run")
    if request.plot != STANDARD:
        figures.check(_named(request)[1], force=request.force, page=True)
        if (colours := _named(request)[0]) and not is_map(colours):
            near = difflib.get_close_matches(colours, names(), n=1) or ["viridis, magma, coolwarm or gray"]
            raise UsageError(f"there is no colour map {quoted(colours)}; try {near[0]}")


def _named(request: Request) -> tuple[str, str]:
    """Return the colour map, empty where none is named, and the file of ``MAP:FILE``."""
    colours, colon, name = str(request.plot).partition(":")
    if not colon or len(colours) < 2 or not colours.isidentifier():  # a file, perhaps on a drive
        return "", str(request.plot)
    return colours, name


def draw(
    request: Request, before: str, after: str, letters: str, ends: tuple[float, float] | None = None
) -> None:
    """Draw an input beside its result, as ``--plot`` says.

    ``letters`` are those of the result's axes; ``ends`` the values that the range policy shows.
    """
    letters = letters.replace("M", "N" if "C" in letters else "C")
    unnamed = registry.readable(after).name == "npy" and len(letters) > 1  # which holds no names of axes
    files = (before, request.reading), (after, ReadOptions(axes=letters if unnamed else None))
    if request.plot == STANDARD:
        drawn = views.lines(*(View.several(*file, views.FRAMES) for file in files))
        sys.stdout.writelines(f"{line}\n" for line in drawn)
        return
    colours, name = _named(request)
    bar = (request.range.colours, ends) if ends and request.range and request.range.colours else None
    drawn = views.figure(View.of(*files[0]), View.of(*files[1]), colours, bar)
    figures.save(drawn, name, force=request.force)
