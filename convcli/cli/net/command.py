"""``convcli net``: the command lines of run, show and check.

Strings become types here; `convcli.cli.net.run` and `net_measure` do the work that computes.  `show` needs neither
numpy nor torch, unless the net names files of weights.
"""

from pathlib import Path
from typing import Annotated

import typer

from convcli.cli.net.request import CheckRequest, Filling, RunRequest
from convcli.cli.shared.report import Debug, Verbosity
from convcli.cli.shared.tables import as_json_text, table
from convcli.common.choices import Precision, Reading, parse_choice
from convcli.common.errors import UsageError
from convcli.geometry.axes import parse_numbers
from convcli.geometry.grammar import parse_size
from convcli.geometry.layers import format_size
from convcli.media.options import ReadOptions
from convcli.networks.parameters import Shape
from convcli.networks.parse import load_net
from convcli.pixels.ranges import FORMS, parse_range

app = typer.Typer(
    name="net",
    help="Chains of layers in YAML: run them on files, show their sizes, check how they follow shifts.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


NetFile = Annotated[Path, typer.Argument(metavar="NET", help="A YAML file; see samples/*.yaml.")]
InputFile = Annotated[
    str, typer.Argument(metavar="INPUT", help="Image, signal or array; - is standard input.")
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights", "-w", help="Arrays named LAYER.weight, LAYER.bias: .safetensors, .npz, .pth, .onnx."
    ),
]
Seed = Annotated[
    int | None, typer.Option(help="For random weights where the net gives neither numbers nor a seed.")
]
NumClasses = Annotated[
    int | None, typer.Option("--num-classes", help="In the place of the net's own num_classes.")
]
Axes = Annotated[
    str | None, typer.Option(help="Letters of an array's dimensions, with C for channels: CYX, YXC, CX...")
]
Columns = Annotated[str | None, typer.Option(help="Columns of a table: names, numbers, 2-4.")]
As = Annotated[str | None, typer.Option("--as", help="matrix: read a table as one 2-D grid.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]
Force = Annotated[bool, typer.Option("--force", "-y", help="Overwrite existing outputs.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No notes, only results and errors.")]


def _reading(axes: str | None, columns: str | None, as_: str | None) -> ReadOptions:
    return ReadOptions(
        axes=axes,
        matrix=as_ is not None and parse_choice(Reading, as_, "--as") is Reading.MATRIX,
        columns=None if columns is None else tuple(part.strip() for part in columns.split(",")),
    )


def _at_least(value: int | None, least: int, option: str) -> None:
    if value is not None and value < least:
        raise UsageError(f"{option} {value} is not possible: give {least} or more")


@app.command("run")
def run(
    net: NetFile,
    input: InputFile,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="The output: .npy, .tiff, .csv, or pictures (one for each map)."),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(help="Name or number of the layer whose output is wanted. Default: the last."),
    ] = None,
    maps: Annotated[str | None, typer.Option(help="Picture of the layer's feature maps, as a grid.")] = None,
    count: Annotated[int, typer.Option(help="How many maps the grid shows.")] = 16,
    colormap: Annotated[str, typer.Option(help="viridis or grey.")] = "viridis",
    with_input: Annotated[bool, typer.Option("--with-input", help="Draw the input beside the maps.")] = False,
    weights: Weights = None,
    seed: Seed = None,
    num_classes: NumClasses = None,
    range: Annotated[
        str | None,
        typer.Option(
            help=f"How numbers become pixels: {FORMS}. Default: from 0 to the "
            "input's white after preprocess, or minmax after mean and std."
        ),
    ] = None,
    top: Annotated[int, typer.Option(help="How many classes are printed, best first.")] = 5,
    axes: Axes = None,
    columns: Columns = None,
    as_: As = None,
    format: Annotated[str | None, typer.Option(help="Output type where no suffix says it.")] = None,
    dtype: Annotated[str, typer.Option(help="Arithmetic: auto, float32 or float64.")] = "auto",
    device: Device = "cpu",
    block: Annotated[
        int | None, typer.Option(help="Rows of output computed at a time. Default: as memory allows.")
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what was chosen, and why.")] = False,
    debug: Debug = False,
) -> None:
    """Run a net on a file: arrays, pictures, class scores, or a grid of feature maps.

    \b
    Examples:
      convcli net run samples/pyramid.yaml photo.png -o small.png
      convcli net run samples/lenet.yaml digit.png
      convcli net run stem.yaml photo.jpg -w r18.pth --layer conv1 --maps m.png
    """
    _at_least(count, 1, "--count")
    _at_least(block, 1, "--block")
    _at_least(top, 1, "--top")
    _at_least(seed, 0, "--seed")
    request = RunRequest(
        net=load_net(net, num_classes),
        input=input,
        reading=_reading(axes, columns, as_),
        filling=Filling(weights, seed, parse_choice(Precision, dtype, "dtype"), device),
        output=output,
        format=format,
        layer=layer,
        maps=maps,
        count=count,
        colours=colormap,
        with_input=with_input,
        range=None if range is None else parse_range(range),
        block=block,
        top=top,
        force=force,
        json=as_json,
        verbosity=Verbosity.of(quiet, verbose),
    )
    if with_input and maps is None:
        raise UsageError("--with-input draws the input beside the maps: give --maps FILE.png")
    from convcli.cli.net.run import run_net

    run_net(request)


@app.command("show")
def show(
    net: NetFile,
    input: Annotated[
        str | None, typer.Option(help="Size of the input, 3@32x32. Default: the net's own input:.")
    ] = None,
    num_classes: NumClasses = None,
    dot: Annotated[str | None, typer.Option(help="Write the chain for Graphviz, to a file or -.")] = None,
    svg: Annotated[str | None, typer.Option(help="Write the chain as a picture, to a file or -.")] = None,
    force: Force = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show what a net makes of sizes: outputs, receptive fields, parameters, multiply-adds.

    The columns are those of `convcli shape`; the multiply-adds are those of conv, tconv and dense.

    \b
    Examples:
      convcli net show samples/lenet.yaml
      convcli net show samples/resnet-stem.yaml --input 3@512x512 --svg stem.svg
    """
    found = load_net(net, num_classes)
    given = _given(input) if input is not None else found.input
    if given is None:
        raise UsageError(f"{net}: say the input's size: --input 3@32x32 (or input: 3@32x32 in the file)")
    shape = found.preprocess.output(given)
    steps = found.trace(shape)
    rows = [step.row for step in steps]
    size = format_size(shape.channels, shape.sizes)
    drawn = [(target, text) for target, text in ((dot, "dot"), (svg, "svg")) if target is not None]
    if drawn:
        from convcli.media.files.target import output
        from convcli.networks import graph

        for target, kind in drawn:
            draw = graph.dot if kind == "dot" else graph.svg
            with output(target, force=force, binary=False) as file:
                file.write(draw(found.name, shape, steps).encode())
        if not as_json:
            return
    if as_json:
        print(as_json_text(size, rows))
        return
    if shape != given:
        print(f"preprocess: {given} becomes {shape}")
    print(table(size, rows))


def _given(text: str) -> Shape:
    channels, sizes = parse_size(text, "input")
    return Shape(channels or 1, sizes)


@app.command("check")
def check(
    net: NetFile,
    input: InputFile,
    shifts: Annotated[str, typer.Option(help="Elements by which the input moves: 1,2,3 or 1-8.")] = "1-8",
    axis: Annotated[str, typer.Option(help="The axis along which it moves.")] = "x",
    weights: Weights = None,
    seed: Seed = None,
    num_classes: NumClasses = None,
    axes: Axes = None,
    columns: Columns = None,
    as_: As = None,
    device: Device = "cpu",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Measure whether a net's layers follow shifts of their input (equivariance), or ignore them (invariance).

    The input is rolled along an axis, in float64. For every layer:

    \b
      jump       input elements from one output to the next
      holds at   the shifts at which its output moved along exactly
      error      the largest error at multiples of the jump, of the largest output
      elsewhere  the smallest error at all other shifts
      unmoved    change of the output left in its place, at the smallest and the
                 largest shift, of its norm: 0 would be invariance

    Outputs are compared for error and elsewhere only where their receptive field
    meets neither a border nor padding; "-": there are none, or nothing to move.

    \b
    Example:
      convcli net check samples/sobel-pool.yaml samples/house.png
    """
    request = CheckRequest(
        net=load_net(net, num_classes),
        input=input,
        reading=_reading(axes, columns, as_),
        filling=Filling(weights, seed, Precision.FLOAT64, device),
        shifts=_shifts(shifts),
        axis=axis.upper(),
        json=as_json,
    )
    from convcli.cli.net.check import check_net

    check_net(request)


def _shifts(text: str) -> list[int]:
    """Read shifts.

    >>> _shifts("1-3,8")
    [1, 2, 3, 8]
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        numbers = parse_numbers(f"{first},{last}" if dash else first, "shift")
        if len(numbers) != (2 if dash else 1) or numbers[-1] - numbers[0] > 1000:
            raise UsageError(f"shifts {text!r} are not possible: give 1,2,3 or 1-8")
        found.extend(range(numbers[0], numbers[-1] + 1))
    if not found:
        raise UsageError(f"shifts {text!r} are none: give 1,2,3 or 1-8")
    return sorted(set(found))
