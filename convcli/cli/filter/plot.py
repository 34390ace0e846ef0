"""``filter --plot``: input and result side by side, read again from their files."""

import sys

from convcli.cli.filter.request import Request
from convcli.cli.shared import figures, views
from convcli.cli.shared.views import View
from convcli.common import UsageError
from convcli.media import registry
from convcli.media.files.target import STANDARD
from convcli.media.options import ReadOptions


def check(request: Request) -> None:
    """Refuse, before any work, what could not be drawn."""
    piped = STANDARD in request.inputs and request.output is None and not request.dry_run
    if piped or request.output == STANDARD:
        raise UsageError("--plot reads the result again: name its file by -o, or preview it with --dry-run")
    if request.plot != STANDARD:
        figures.check(str(request.plot), force=request.force, page=True)


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
    bar = (request.range.colours, ends) if ends and request.range and request.range.colours else None
    drawn = views.figure(View.of(*files[0]), View.of(*files[1]), bar)
    figures.save(drawn, str(request.plot), force=request.force)
