"""Show what one output of a net sees, at each layer: a table, and a picture with ``-o``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convcli.cli.explain.request import Request
from convcli.cli.net.input import bound, opened
from convcli.cli.net.request import Filling
from convcli.cli.shared import report
from convcli.common.choices import Precision
from convcli.common.errors import UsageError
from convcli.data.info import Colour, Info
from convcli.explanations.receptive import Seen, Span, seen_by
from convcli.media import opening, registry
from convcli.media.files.target import check_not_input, shown
from convcli.media.option_checks import check_reading
from convcli.networks.parse import load_net


def explain_field(request: Request, path: Path) -> None:
    """Do all that the command line asks for; the net's file is ``path``."""
    net = load_net(path)
    name, asked = request.input or "", request.field
    with opened(name, request.reading) as input:
        check_reading(request.reading, input.file.format, name)
        model = bound(
            net, input, Filling(weights=asked.weights, seed=asked.seed, precision=Precision.FLOAT64)
        )
        if asked.layer is not None:
            model = model.upto(asked.layer)
        array = input.whole()
        letters, notes = input.letters, input.notes
    found = seen_by(model, array, request.at or ())
    fields = [None, *(seen.field for seen in found)]
    changed = [seen for seen, before in zip(found, fields, strict=False) if seen.field != before]
    if request.output is not None:
        _write(request, request.output, changed, model.input(array)[0].cpu().numpy())
    if request.json:
        report.print_json([_described(seen) for seen in found])
        return
    for line in _lines(found, letters):
        print(line)
    if not request.messages.quiet:
        if request.output is not None:
            print(request.output)
        for line in notes:
            report.note(line)
        if not found[-1].gradient.any():
            report.note("this output does not move with the input at all: its units are off there")


def _write(request: Request, path: str, found: Sequence[Seen], picture: object) -> None:
    import numpy as np

    from convcli.explanations.receptive_drawing import draw

    if len(found[0].field) > 2:
        raise UsageError(
            "a picture shows signals and images: leave -o out for a volume, the table has it all"
        )
    format = registry.by_suffix(path)
    if format.numbers:
        raise UsageError(
            f"{format.name.upper()} does not hold such a picture; name a .png file", subject=shown(path)
        )
    if not request.force:
        check_not_input(path, [request.input or "", str(request.field.net)])
    pixels = draw(found, np.asarray(picture))
    info = Info.of("YXC", pixels.shape, "uint8", Colour.RGB)
    opening.write(path, format, info, pixels, force=request.force)


def _lines(found: Sequence[Seen], letters: str) -> list[str]:
    names = ",".join(letters.lower())
    rows = [("layer", f"output {names}", f"sees {names}", "size", "effective", "size")]
    for seen in found:
        rows.append(
            (
                seen.layer,
                ",".join(map(str, seen.at)),
                _spans(seen.field),
                "x".join(map(str, seen.size)),
                _spans(seen.effective),
                "x".join(str(stop - start) for start, stop in seen.effective),
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _spans(spans: Sequence[Span]) -> str:
    return ",".join(f"{start}..{stop - 1}" if stop > start else "-" for start, stop in spans)


def _described(seen: Seen) -> dict[str, object]:
    return {"layer": seen.layer, "at": seen.at, "sees": seen.field, "effective": seen.effective}
