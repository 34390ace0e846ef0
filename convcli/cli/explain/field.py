"""Show what one output of a net sees, at each layer: a table, and a picture with ``-o``."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from convcli.cli.explain.request import Request
from convcli.cli.explain.text import place_text
from convcli.cli.net.input import fed
from convcli.cli.net.request import Filling
from convcli.cli.shared import report
from convcli.cli.shared.outputs import write_whole
from convcli.cli.shared.terminal import Table
from convcli.common import Precision, UsageError, frozen
from convcli.data import space_of
from convcli.explanations.receptive import Seen, Span, draw, seen_by
from convcli.networks.parse import load_net

if TYPE_CHECKING:
    from convcli.explanations.layer import LayerValue

MOST_ROWS = 40  # elements that are shown


def explain_field(request: Request) -> None:
    """Do all that the command line asks for."""
    net = load_net(request.field.net or Path())
    name, asked = request.input or "", request.field
    filling = Filling(weights=asked.weights, seed=asked.seed, precision=Precision.FLOAT64)
    with fed(net, name, request.reading, filling, batch=True) as (input, model):
        if asked.layer is not None:
            model = model.upto(asked.layer)
        letters = space_of(len(model.steps[-1].output.sizes), input.letters)
        input, at = input.picked(request.at, letters)
        array = input.opaque()
    notes, at = input.opaque_notes, at or ()
    if request.map is not None:
        if request.output is not None:
            raise UsageError("-o draws a receptive field: leave it out, or --map")
        from convcli.explanations.layer import layer_value  # loads torch

        value = layer_value(model, array, (request.map, *at))
        report.show(Value(name, value, notes), _value_lines(value, request.messages.quiet), request)
        return
    layers = seen_by(model, array, at)
    if not layers[-1].gradient.any():
        notes = (*notes, "this output does not move with the input at all: its units are off there")
    found = Field(name, input.grain, input.letters, layers, request.output, notes)
    if request.output is not None:
        if len(layers[0].sees) > 2:
            raise UsageError(
                "a picture shows signals and images: leave -o out for a volume, the table has it all"
            )
        before = [None, *(seen.sees for seen in layers)]
        changed = [seen for seen, last in zip(layers, before, strict=False) if seen.sees != last]
        picture = draw(changed, model.input(array)[0].cpu().numpy())
        write_whole(request.output, picture, force=request.force, inputs=[name, str(asked.net)])
    report.show(found, _lines(found, request.messages.quiet), request)


@frozen
class Value:
    """A value of a net's layer, taken apart."""

    input: str
    value: "LayerValue"
    notes: Sequence[str]


def _value_lines(found: "LayerValue", quiet: bool) -> Iterator[str | Table]:
    if not quiet:
        largest = sorted(found.elements, key=lambda one: -abs(one.product))[:MOST_ROWS]
        shown = set(map(id, largest))
        rows = [("source", "element", "value", "derivative", "product")]
        for one in found.elements:
            if id(one) in shown:
                value, slope, product = (
                    f"{number:.6g}" for number in (one.value, one.derivative, one.product)
                )
                rows.append((one.source, place_text(one.at), value, slope, product))
        yield f"{found.layer}, map and place {place_text(found.at)}"
        yield Table(rows, "<<>") if len(rows) > 1 else "no element moves it"
        if len(found.elements) > MOST_ROWS:
            yield f"{len(found.elements) - MOST_ROWS} smaller ones are not shown: --json has all"
        yield f"products {sum(one.product for one in found.elements):.6g}, bias or the rest {found.rest:.6g}"
    yield f"{found.value:.6g}" if quiet else f"value: {found.value:.6g}"


@frozen
class Field:
    """What one output of a net sees of an input, at each layer, and the picture of it."""

    input: str
    grain: Mapping[str, Any] | None
    axes: str
    layers: Sequence[Seen]
    output: str | None
    notes: Sequence[str]


def _lines(found: Field, quiet: bool) -> Iterator[str | Table]:
    names = ",".join(found.axes.lower())
    rows = [("layer", f"output {names}", f"sees {names}", "size", "effective", "size")]
    for seen in found.layers:
        rows.append((seen.layer, place_text(seen.at), *_spans(seen.sees), *_spans(seen.effective)))
    yield Table(rows)
    if found.output is not None and not quiet:
        yield found.output


def _spans(spans: Sequence[Span]) -> tuple[str, str]:
    """Return the first and last element along each axis, and how many that are."""
    ends = (f"{start}..{stop - 1}" if stop > start else "-" for start, stop in spans)
    return ",".join(ends), "x".join(str(stop - start) for start, stop in spans)
