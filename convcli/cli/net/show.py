"""``convcli net show``: the layers as a table, or drawn.  Only files of weights need numpy or torch."""

from pathlib import Path

from convcli.cli.net.request import ShowRequest
from convcli.cli.shared import report
from convcli.cli.shared.layers import Traced, lines
from convcli.common import UsageError
from convcli.geometry.graph import Shape, lint
from convcli.geometry.layers import format_size
from convcli.media.files.target import shown
from convcli.networks.parse import load_net


def show(request: ShowRequest) -> None:
    """Print the net's layers, or draw them."""
    if request.input is not None:
        channels, sizes = request.input
        asked: Shape | None = Shape(channels or 1, sizes)
    else:
        asked = None
    found = load_net(request.net, request.num_classes, asked)
    given = asked or found.input
    if given is None:
        raise UsageError(
            "say the input's size: shape NET 3@32x32, net show NET --input 3@32x32, or input: in the file",
            subject=found.title,
        )
    shape = found.preprocess.output(given)
    try:
        steps = found.trace(shape)
    except UsageError as error:
        if request.input is not None and request.input[0] is None and len(given.sizes) > 1:
            first, *others = given.sizes
            error.problem += f" (if {first} counts channels, say --input {format_size(first, others)})"
        raise
    if request.output is not None:
        from convcli.media.files.target import output
        from convcli.networks import graph

        draw = {".svg": graph.svg, ".dot": graph.dot, "": graph.dot}.get(Path(request.output).suffix.lower())
        if draw is None:
            raise UsageError("a graph is drawn as .svg or, for Graphviz, .dot", subject=shown(request.output))
        with output(request.output, force=request.force, binary=False) as file:
            file.write(draw(found.name, steps).encode())
        if not request.json:
            return
    traced = Traced(format_size(shape.channels, shape.sizes), [step.row for step in steps], lint(steps))
    if request.messages.quiet:
        report.show(traced, [traced.output], request)
        return
    before = [f"preprocess: {given} becomes {shape}"] if shape != given else []
    report.show(traced, (*before, *lines(traced)), request, indent=2)
