"""``convcli explain``: the command line.  The work is in `convcli.cli.explaining`, loaded once this makes sense."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from convcli.chain import Settings
from convcli.cli.filter import complete_kernel
from convcli.cli.report import Debug
from convcli.errors import UsageError
from convcli.geometry import parse_numbers, parse_pad_mode, parse_padding
from convcli.layers import parse_pool
from convcli.media.options import ReadOptions
from convcli.numerals import parse_float
from convcli.policies import Channels, Frames, Reading, parse_choice


@dataclass(frozen=True)
class Request:
    """A parsed command line of ``explain``."""

    input: str | None
    size: str | None
    kernels: tuple[str, ...]
    settings: Settings
    channels: Channels
    at: tuple[int, ...] | None
    map: int | None
    channel: int | None
    picture: str | None
    film: str | None
    rate: float
    reading: ReadOptions
    force: bool
    quiet: bool
    json: bool


@dataclass(frozen=True)
class FieldRequest:
    """A parsed command line of ``explain --receptive-field``."""

    net: Path
    input: str
    at: tuple[int, ...]
    layer: str | None
    weights: Path | None
    seed: int | None
    picture: str | None
    reading: ReadOptions
    force: bool
    quiet: bool
    json: bool


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
    stride: Annotated[str | None, typer.Option(help="Step of the window: 2, or 2,1 for each axis.")] = None,
    padding: Annotated[
        str | None,
        typer.Option(help="As in filter: same with replicated edges by default; alone it pads with zeros."),
    ] = None,
    pad_mode: Annotated[
        str | None, typer.Option(help="zero, constant, replicate, reflect, symmetric or circular.")
    ] = None,
    pad_value: Annotated[str | None, typer.Option(help="What constant padding holds.")] = None,
    dilation: Annotated[str | None, typer.Option(help="Distance between the kernel's taps.")] = None,
    bias: Annotated[str | None, typer.Option(help="Added to the result: one number, or one a map.")] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="True convolution; without it cross-correlation.")
    ] = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="Transposed convolution: which inputs contribute.")
    ] = False,
    output_padding: Annotated[str, typer.Option(help="Extra elements at the end, with --transpose.")] = "0",
    pool: Annotated[
        str | None, typer.Option(help="max:2, avg:3,s=2, global-max...: where the value came from.")
    ] = None,
    channels: Annotated[str, typer.Option(help="each, luma, grey or sum.")] = "each",
    axis: Annotated[str | None, typer.Option(help="Axis of a 1-D kernel (y), or the axes of others.")] = None,
    axes: Annotated[str | None, typer.Option(help="Letters of an array's dimensions: YXC, ZYX...")] = None,
    as_: Annotated[str | None, typer.Option("--as", help="matrix: read a table as one 2-D grid.")] = None,
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
        matrix=as_ is not None and parse_choice(Reading, as_, "--as") is Reading.MATRIX,
        columns=None if columns is None else tuple(part.strip() for part in columns.split(",")),
        all_frames=parse_choice(Frames, frames, "frames") is Frames.ALL,
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
        from convcli.cli.explain_field import explain_field

        explain_field(FieldRequest(receptive_field, input, place, *asked))
        return
    if layer is not None or weights is not None or seed is not None:
        raise UsageError("--layer, --weights and --seed belong to --receptive-field NET")
    request = Request(
        input=input,
        size=size,
        kernels=tuple(kernel or ()),
        settings=Settings(
            stride=None if stride is None else parse_numbers(stride, "stride"),
            padding=None if padding is None else parse_padding(padding),
            pad_mode=None if pad_mode is None else parse_pad_mode(pad_mode),
            pad_value=None if pad_value is None else parse_float(pad_value, "pad value"),
            dilation=None if dilation is None else parse_numbers(dilation, "dilation"),
            bias=None if bias is None else tuple(parse_float(part, "bias") for part in bias.split(",")),
            flip=flip,
            transposed=transpose,
            output_padding=parse_numbers(output_padding, "output padding", minimum=0),
            axis=axis,
            pool=None if pool is None else parse_pool(pool),
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
    from convcli.cli.explaining import explain_all

    explain_all(request)
