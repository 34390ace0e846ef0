"""``convcli net``: the command lines of run, show and check.

`convcli.cli.net.run` and `check` do the work that computes.  `show` needs neither numpy nor torch, unless the net
names files of weights.
"""

from convcli.cli.net.request import CheckRequest, RunRequest, ShowRequest
from convcli.cli.shared import terminal
from convcli.cli.shared.command import takes_options
from convcli.cli.shared.layers import Traced, lines
from convcli.cli.shared.report import show as show_result
from convcli.common import UsageError
from convcli.geometry.layers import format_size
from convcli.networks.operations import Shape
from convcli.networks.parse import load_net

app = terminal.group(
    "net", "Chains of layers in YAML: run them on files, show their sizes, check how they follow shifts."
)


@app.command("run", cls=terminal.Command)
@takes_options
def run(request: RunRequest) -> None:
    """Run a net on a file: arrays, pictures, class scores, or a grid of feature maps.

    \b
    Examples:
      convcli net run samples/pyramid.yaml photo.png -o small.png
      convcli net run samples/lenet.yaml digit.png
      convcli net run stem.yaml photo.jpg -w r18.pth --layer conv1 --maps m.png
    """
    if request.with_input and request.maps is None:
        raise UsageError("--with-input draws the input beside the maps: give --maps FILE.png")
    net = load_net(request.net, request.num_classes)
    from convcli.cli.net.run import run_net

    run_net(request, net)


@app.command("show", cls=terminal.Command)
@takes_options
def show(request: ShowRequest) -> None:
    """Show a net's layers: outputs, receptive fields, parameters, multiply-adds.

    The columns are those of `convcli shape`; the multiply-adds are those of conv, tconv and dense.

    \b
    Examples:
      convcli net show samples/lenet.yaml
      convcli net show samples/resnet-stem.yaml --input 3@512x512 --svg stem.svg
    """
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
        from convcli.media.files.target import output
        from convcli.networks import graph

        for target, draw in ((request.dot, graph.dot), (request.svg, graph.svg)):
            if target is not None:
                with output(target, force=request.force, binary=False) as file:
                    file.write(draw(found.name, shape, steps).encode())
        if not request.json:
            return
    traced = Traced(format_size(shape.channels, shape.sizes), [step.row for step in steps])
    before = [f"preprocess: {given} becomes {shape}"] if shape != given else []
    show_result(traced, (*before, *lines(traced)), json=request.json, indent=2)


@app.command("check", cls=terminal.Command)
@takes_options
def check(request: CheckRequest) -> None:
    """Measure whether a net's layers follow shifts of their input (equivariance), or ignore them (invariance).

    The input is rolled along an axis, in float64. For every layer:

    \b
      period     the smallest shift that is a whole number of steps of this
                 layer and of all before it
      holds at   the shifts at which its output moved along exactly
      error      the largest error at multiples of it, of the largest output
      elsewhere  the smallest error at all other shifts
      unmoved    change of the output left in its place, at the smallest and the
                 largest shift, of its norm: 0 would be invariance

    Outputs are compared for error and elsewhere only where their receptive field
    meets neither a border nor padding; "-": there are none, or nothing to move.

    \b
    Example:
      convcli net check samples/sobel-pool.yaml samples/house.png
    """
    net = load_net(request.net, request.num_classes)
    from convcli.cli.net.check import check_net

    check_net(request, net)
