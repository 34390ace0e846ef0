"""Show what one output of a net sees, at each layer: a table, and a picture with ``-o``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from convcli.cli.explain.request import Request
from convcli.cli.explain.text import place_text
from convcli.cli.net.input import bound, notes_of
from convcli.cli.net.request import Filling
from convcli.cli.shared import report
from convcli.cli.shared.opened import opened
from convcli.cli.shared.outputs import write_whole
from convcli.cli.shared.terminal import Table
from convcli.common import Precision, UsageError
from convcli.networks.parse import load_net

if TYPE_CHECKING:
    from convcli.explanations.receptive import Seen, Span


def explain_field(request: Request) -> None:
    """Do all that the command line asks for."""
    net = load_net(request.field.net or Path())
    name, asked = request.input or "", request.field
    with opened(name, request.reading) as input:
        input.check(request.reading, name)
        filling = Filling(weights=asked.weights, seed=asked.seed, precision=Precision.FLOAT64)
        model = bound(net, input, filling, request.reading.max_pixels)
        if asked.layer is not None:
            model = model.upto(asked.layer)
        array = input.opaque()
        letters, notes = input.letters, notes_of(input)
    from convcli.explanations.receptive import seen_by

    found = seen_by(model, array, request.at or ())
    fields = [None, *(seen.sees for seen in found)]
    changed = [seen for seen, before in zip(found, fields, strict=False) if seen.sees != before]
    if request.output is not None:
        from convcli.explanations.receptive_drawing import draw

        if len(found[0].sees) > 2:
            raise UsageError(
                "a picture shows signals and images: leave -o out for a volume, the table has it all"
            )
        picture = draw(changed, model.input(array)[0].cpu().numpy())
        write_whole(request.output, picture, force=request.force, inputs=[name, str(asked.net)])
    report.show(found, _lines(request, found, letters, notes), json=request.json)


def _lines(
    request: Request, found: Sequence[Seen], letters: str, notes: Sequence[str]
) -> Iterator[str | Table]:
    names = ",".join(letters.lower())
    rows = [("layer", f"output {names}", f"sees {names}", "size", "effective", "size")]
    for seen in found:
        rows.append((seen.layer, place_text(seen.at), *_spans(seen.sees), *_spans(seen.effective)))
    yield Table(rows)
    if request.messages.quiet:
        return
    if request.output is not None:
        yield request.output
    yield from map(report.Note, notes)
    if not found[-1].gradient.any():
        yield report.Note("this output does not move with the input at all: its units are off there")


def _spans(spans: Sequence[Span]) -> tuple[str, str]:
    """Return the first and last element along each axis, and how many that are."""
    ends = (f"{start}..{stop - 1}" if stop > start else "-" for start, stop in spans)
    return ",".join(ends), "x".join(str(stop - start) for start, stop in spans)
