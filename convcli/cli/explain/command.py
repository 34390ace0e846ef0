"""``convcli explain``: the command line.  The work is in `convcli.cli.explain.work`, loaded once this makes sense."""

from pathlib import Path
from typing import Annotated

import typer

from convcli.cli.explain.request import FieldRequest, Request
from convcli.cli.shared.options import (
    As,
    Axes,
    Axis,
    Bias,
    ChannelPolicy,
    Dilation,
    Flip,
    OutputPadding,
    PadModeName,
    PadValue,
    Stride,
    all_frames,
    complete_kernel,
    is_matrix,
    parse_columns,
    parse_settings,
)
from convcli.cli.shared.report import Debug
from convcli.common.choices import Channels, parse_choice
from convcli.common.errors import UsageError
from convcli.geometry.axes import parse_numbers
from convcli.media.options import ReadOptions


def _check(request: Request) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if (request.input is None) == (request.size is None):
        raise UsageError("give either a file, or --input SIZE for the numbers 1, 2, 3, ...")
    if not request.kernels and request.settings.pool is None:
        raise UsageError("nothing to explain: give a kernel (-k NAME, see `convcli kernels list`) or --pool")
    if request.at is None and request.film is None:
        raise UsageError("--at says which output value to explain, such as --at 0,0 (or --animate OUT.gif)")
    if request.at is None and request.picture is not None:
        raise UsageError("-o draws one output: say which with --at (--animate draws all of them)")
    if not 0.1 <= request.rate <= 30:
        raise UsageError(f"--fps {request.rate:g} is not possible: give 0.1 to 30 frames a second")


def explain(
    input: Annotated[
        str | None, typer.Argument(metavar="[INPUT]", help="A file, or - for standard input.")
    ] = None,
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            "--kernel",
            "-k",
            help="Name, name:parameters, FILE, or numbers; 3x3 alone has the weights 1, 2, 3... "
            "Of several the last is explained.",
            autocompletion=complete_kernel,
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="Y,X", help="Which output value, counted from 0, one number an axis."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--input", metavar="SIZE", help="Instead of a file: the numbers 1, 2, 3... in 5x5."),
    ] = None,
    stride: Stride = None,
    padding: Annotated[
        str | None,
        typer.Option(help="As in filter: same with replicated edges by default; alone it pads with zeros."),
    ] = None,
    pad_mode: PadModeName = None,
    pad_value: PadValue = None,
    dilation: Dilation = None,
    bias: Bias = None,
    flip: Flip = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="Transposed convolution: which inputs contribute.")
    ] = False,
    output_padding: OutputPadding = "0",
    pool: Annotated[
        str | None, typer.Option(help="max:2, avg:3,s=2, global-max...: where the value came from.")
    ] = None,
    channels: ChannelPolicy = "each",
    axis: Axis = None,
    axes: Axes = None,
    as_: As = None,
    columns: Annotated[str | None, typer.Option(help="Columns of a table: names, numbers, 2-4.")] = None,
    frames: Annotated[str, typer.Option(help="first, or all frames (pages) of the input.")] = "first",
    map: Annotated[int | None, typer.Option(help="Only this output of a bank, counted from 0.")] = None,
    channel: Annotated[int | None, typer.Option(help="Only this channel of the input.")] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Draw the output with its window: FILE.png.")
    ] = None,
    animate: Annotated[
        str | None, typer.Option(metavar="FILE", help="Draw the window moving: FILE.gif or FILE.mp4.")
    ] = None,
    receptive_field: Annotated[
        Path | None,
        typer.Option(
            "--receptive-field",
            metavar="NET",
            help="What the output --at of this net sees of the input, at each layer; -o draws it.",
        ),
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="With --receptive-field: this layer's output. Default: the last.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="With --receptive-field: the net's weights, as in net run.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="With --receptive-field: for random weights.")] = None,
    fps: Annotated[float, typer.Option(help="Steps a second of the animation.")] = 2.0,
    force: Annotated[bool, typer.Option("--force", "-y", help="Overwrite existing outputs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print taps, products and sums as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the value alone.")] = False,
    debug: Debug = False,
) -> None:
    """Take one output value apart: taps, products, sum.

    For a pool it says where the maximum came from and where the gradient goes,
    for a transposed convolution which inputs contribute.

    \b
    Examples:
      convcli explain photo.png -k sobel-x --at 40,25
      convcli explain table.csv -k smooth3 --at 0
      convcli explain photo.png --pool max:2 --at 3,7 -o window.png
      convcli explain --input 3x3 -k 2x2 --transpose --stride 2 --at 1,1
      convcli explain --animate a.gif --input 5x5 -k 3x3 --stride 2 --padding 1
      convcli explain photo.png --receptive-field net.yaml --at 4,4 -o field.png
    """
    place = None if at is None else parse_numbers(at, "--at", minimum=0)
    reading = ReadOptions(
        axes=axes,
        matrix=is_matrix(as_),
        columns=parse_columns(columns),
        all_frames=all_frames(frames),
    )
    if receptive_field is not None:
        if input is None or place is None or kernel or pool or animate or size:
            raise UsageError(
                "--receptive-field NET needs a file and --at, and goes without kernels and --animate"
            )
        if stride or padding or pad_mode or pad_value or dilation or bias or flip is not None or transpose:
            raise UsageError("--receptive-field NET goes without options of a kernel: the net has its own")
        if seed is not None and seed < 0:
            raise UsageError(f"--seed {seed} is not possible: give 0 or more")
        asked = (layer, weights, seed, output, reading, force, quiet, as_json)
        from convcli.cli.explain.field import explain_field

        explain_field(FieldRequest(receptive_field, input, place, *asked))
        return
    if layer is not None or weights is not None or seed is not None:
        raise UsageError("--layer, --weights and --seed belong to --receptive-field NET")
    request = Request(
        input=input,
        size=size,
        kernels=tuple(kernel or ()),
        settings=parse_settings(
            stride, padding, pad_mode, pad_value, dilation, bias, flip, transpose, output_padding, axis, pool
        ),
        channels=parse_choice(Channels, channels, "channels"),
        at=place,
        map=map,
        channel=channel,
        picture=output,
        film=animate,
        rate=fps,
        reading=reading,
        force=force,
        quiet=quiet,
        json=as_json,
    )
    _check(request)
    from convcli.cli.explain.work import explain_all

    explain_all(request)
