"""``convcli net show``: the layers as a table, or drawn.  Only files of weights need numpy or torch."""

from convcli.cli.net.request import ShowRequest
from convcli.cli.shared import report
from convcli.cli.shared.layers import Traced, lines
from convcli.common import UsageError
from convcli.geometry.graph import Shape
from convcli.geometry.layers import format_size
from convcli.networks.parse import load_net


def show(request: ShowRequest) -> None:
    """Print the net's layers, or draw them."""
    found = load_net(request.net, request.num_classes)
    channels, sizes = request.input or (None, ())
    given = Shape(channels or 1, sizes) if request.input is not None else found.input
    if given is None:
        raise UsageError(
            "say the input's size: --input 3@32x32 (or input: 3@32x32 in the file)", subject=found.title
        )
    shape = found.preprocess.output(given)
    steps = found.trace(shape)
    if request.dot is not None or request.svg is not None:
        from convcli.media.files.target import STANDARD, output
        from convcli.networks import graph

        if request.dot == request.svg != STANDARD:
            raise UsageError(f"--dot and --svg both name {request.dot!r}: name two files")
        for target, draw in ((request.dot, graph.dot), (request.svg, graph.svg)):
            if target is not None:
                with output(target, force=request.force, binary=False) as file:
                    file.write(draw(found.name, steps).encode())
        if not request.json:
            return
    traced = Traced(format_size(shape.channels, shape.sizes), [step.row for step in steps])
    before = [f"preprocess: {given} becomes {shape}"] if shape != given else []
    report.show(traced, (*before, *lines(traced)), request, indent=2)
