"""``filter --plot``: input and result side by side, read again from their files."""

import sys
from dataclasses import replace
from fractions import Fraction

import numpy as np

from convcli.cli.filter.request import Request
from convcli.cli.shared import figures, views
from convcli.cli.shared.views import View, places_of
from convcli.common import UsageError
from convcli.data import Axis, Even
from convcli.execution.pipeline import Pipeline
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
    request: Request, before: str, after: str, pipeline: Pipeline, ends: tuple[float, float] | None = None
) -> None:
    """Draw an input beside its result, as ``--plot`` says; ``ends`` are the values that the range policy shows."""
    letters = pipeline.result.letters
    letters = letters.replace("M", "N" if "C" in letters else "C")
    unnamed = registry.readable(after).name == "npy" and len(letters) > 1  # which holds no names of axes
    count = views.FRAMES if request.plot == STANDARD else 1
    given = View.several(before, request.reading, count)
    made = View.several(after, ReadOptions(axes=letters if unnamed else None), count)
    places = _places(pipeline)
    if places is not None and places.shape == made[0].places.shape and made[0].values.ndim == 2:
        made = [replace(made[0], places=places, unit=given[0].unit)]
    if request.plot == STANDARD:
        sys.stdout.writelines(f"{line}\n" for line in views.lines(given, made))
        return
    bar = (request.range.colours, ends) if ends and request.range and request.range.colours else None
    figures.save(views.figure(given[0], made[0], bar), str(request.plot), force=request.force)


def _places(pipeline: Pipeline) -> np.ndarray | None:
    """Return where the outputs of a signal lie along the input's axis, None where none or only some lie there."""
    result, chain = pipeline.result, pipeline.job.chain
    if len(chain.letters) > 1 or chain.letters not in result.letters:
        return None
    axis = result.axis(chain.letters)
    if axis.positions is None:
        axis = chain.axis(Axis(chain.letters, chain.sizes[0][0], Even(Fraction(0), Fraction(1), "sample")))
    return places_of(axis)
