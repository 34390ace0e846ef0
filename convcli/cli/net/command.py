"""``convcli net``: run, show and check.

`convcli.cli.net.run` and `check` do the work that computes.  `show` needs neither numpy nor torch, unless the net
names files of weights.
"""

from dataclasses import replace

from convcli.cli.net.request import CheckRequest, RunRequest, ShowRequest
from convcli.cli.shared.layers import Traced, lines
from convcli.cli.shared.report import show as show_result
from convcli.common import Precision, UsageError
from convcli.geometry.layers import format_size
from convcli.networks.operations import Shape
from convcli.networks.parse import load_net


def run(request: RunRequest) -> None:
    """Read the net, which tells what is wrong with it before torch loads, and run it."""
    net = load_net(request.net, request.num_classes)
    from convcli.cli.net.input import fed

    with fed(net, request.input, request.reading, request.filling, batch=True) as (input, model):
        from convcli.cli.net.run import run_net

        run_net(request, input, model)


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
    show_result(traced, (*before, *lines(traced)), json=request.json, indent=2)


def check(request: CheckRequest) -> None:
    """Read the net as `run` does, and check it."""
    net = load_net(request.net, request.num_classes)
    from convcli.cli.net.input import fed

    filling = replace(request.filling, precision=Precision.FLOAT64)
    with fed(net, request.input, request.reading, filling) as (input, model):
        from convcli.cli.net.check import check_net

        check_net(request, input, model)
