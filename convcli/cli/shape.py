"""``convcli shape``: output sizes, receptive fields and costs of layers, without any data.

Reads the command line and lays out the table; the arithmetic is in `convcli.geometry`.
Nothing here may import numpy, torch or rich.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated

import typer

from convcli.cli.shared.report import Debug, Verbosity, note, print_json
from convcli.cli.shared.tables import WIDTH, as_json_text, axes_text, table
from convcli.common.errors import UsageError
from convcli.geometry.grammar import parse_layers, parse_size
from convcli.geometry.layers import Conv, Layer, Row, format_size, trace
from convcli.geometry.pools import POOLS
from convcli.geometry.search import remarks, search

MOST_CHOICES = 20  # of --want, in text


def shape(
    size: Annotated[
        str, typer.Argument(metavar="SIZE", help="The input: 100, 32x32, or 3@32x32 with channels.")
    ],
    layers: Annotated[list[str] | None, typer.Argument(metavar="LAYER", help="See above.")] = None,
    kernel: Annotated[str | None, typer.Option(help="One layer as flags: its size, 5, 5x3 or 6@5x5.")] = None,
    stride: Annotated[str | None, typer.Option(help="One number, or one for each axis: 2,1.")] = None,
    padding: Annotated[str | None, typer.Option(help="Number, before:after, or a name such as same.")] = None,
    dilation: Annotated[str | None, typer.Option(help="Distance between the kernel's taps.")] = None,
    transpose: Annotated[bool, typer.Option("--transpose", help="Transposed convolution.")] = False,
    output_padding: Annotated[str | None, typer.Option(help="Extra elements, with --transpose.")] = None,
    pool: Annotated[
        str | None, typer.Option(metavar="|".join(map(str, POOLS)), help="The flags are a pool's.")
    ] = None,
    ceil: Annotated[bool, typer.Option("--ceil", help="Let a pool's last window hang over the end.")] = False,
    want: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Search the settings not given that make this size of the input."),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Say what torch, Keras and ONNX give for these layers, and why.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the final size alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    debug: Debug = False,
) -> None:
    """Work out sizes, receptive fields, parameters and multiply-adds of layers.

    \b
      conv:[OUT@]K[,s=][,p=][,d=][,same]         convolution
      tconv:[OUT@]K[,s=][,p=][,d=][,op=][,same]  transposed convolution
      pool:KIND:K[,s=][,p=][,d=][,ceil]          pool; the stride is K by default
      gpool:KIND                                 pool over everything

    KIND is one of those that --pool takes.
    K, s= and the others: one number is every axis; 5x3 is one for each. p= is
    a number, before:after (1:0x2:2), or valid, full, same, tail, same-lower or
    same-upper. The default padding is 0.

    Columns: field is the receptive field in the input, jump the step from one
    output's field to the next, start the centre of the first one (first input
    element = 0), unused the input elements at the end that no window reaches.

    \b
    Examples:
      convcli shape 3@32x32 conv:6@5x5 pool:max:2 conv:16@5x5 pool:max:2
      convcli shape 3@224x224 conv:64@7,s=2,p=3
      convcli shape 32x32 --kernel 5 --stride 2 --padding same
      convcli shape 4@8x8 tconv:3,s=2,p=1,op=1 -q
      convcli shape 224x224 --kernel 7 --want 112x112
      convcli shape 8x8 conv:3,s=2,same --compare
    """
    channels, sizes = parse_size(size)
    options = {
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "output-padding": output_padding,
        "pool": pool,
        "transpose": transpose or None,
        "ceil": ceil or None,
    }
    given = {name: str(value) for name, value in options.items() if value is not None}
    if kernel is not None:
        if layers:
            raise UsageError(f"layers ({layers[0]}) and --kernel cannot be combined: write one or the other")
        layers = [_layer_text(kernel, given)]
    elif given:
        name = next(iter(given))
        raise UsageError(f"--{name} needs --kernel; in a layer it is written inside, such as conv:5,s=2,p=1")
    elif not layers:
        raise UsageError("no layers: write some, such as conv:6@5x5 pool:max:2, or one as --kernel 5")
    chain = parse_layers(layers)
    shown = format_size(channels, sizes)
    if want is not None:
        if kernel is None or compare:
            raise UsageError("--want needs --kernel, the one size that it holds, and goes without --compare")
        _want(chain[0], frozenset(given), channels, sizes, want, Verbosity.of(quiet, False), as_json)
        return
    rows = trace(chain, channels, sizes)
    if compare:
        _compare(chain, sizes, rows, as_json)
        return
    notes = remarks(chain, sizes, rows)
    if as_json:
        print(as_json_text(shown, rows, notes))
    elif quiet:
        print(rows[-1].output)
    else:
        print(table(shown, rows))
        for line in notes:
            note(line)


def _layer_text(kernel: str, given: dict[str, str]) -> str:
    """Write the one layer that the flags describe, as `parse_layers` reads it."""
    for name, needed in (("output-padding", "transpose"), ("ceil", "pool")):
        if name in given and needed not in given:
            raise UsageError(f"--{name} needs --{needed}")
    if "pool" in given and "transpose" in given:
        raise UsageError("--transpose and --pool cannot be combined: a pool has no transposed form here")
    kind = f"pool:{given['pool']}" if "pool" in given else "tconv" if "transpose" in given else "conv"
    keys = {"stride": "s", "padding": "p", "dilation": "d", "output-padding": "op"}
    parts = [kernel, *(f"{key}={given[name]}" for name, key in keys.items() if name in given)]
    return f"{kind}:{','.join(part.replace(',', 'x') for part in parts)}{',ceil' if 'ceil' in given else ''}"


def _want(
    layer: Layer,
    fixed: frozenset[str],
    channels: int | None,
    sizes: tuple[int, ...],
    want: str,
    verbosity: Verbosity,
    as_json: bool,
) -> None:
    """Print the layers that give a size; the first is the simplest."""
    maps, wanted = parse_size(want, "--want")
    if isinstance(layer, Conv) and layer.out is None:
        layer = replace(layer, out=maps)
    out = layer.out if isinstance(layer, Conv) else channels
    if maps is not None and maps != out:
        raise UsageError(f"--want {want} has {maps} channels and the layer {layer} gives {out or 1}")
    found = search(layer, fixed, channels, sizes, wanted)
    if as_json:
        print_json([{"layer": str(c), "output": c.row.output, "same_as": c.names} for c in found])
    elif verbosity is Verbosity.QUIET:
        print(found[0])
    else:
        header = ("layer", "output", "field", "unused", "the same as")
        lines = [header]
        for choice in found[:MOST_CHOICES]:
            row = choice.row
            names = ", ".join(f"p={name}" for name in choice.names)
            lines.append((str(choice), row.output, axes_text(row.field), axes_text(row.unused), names))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            print("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
        if len(found) > MOST_CHOICES:
            note(f"{len(found) - MOST_CHOICES} less simple ones are left out; --json lists them all")


def _compare(chain: Sequence[Layer], sizes: tuple[int, ...], rows: Sequence[Row], as_json: bool) -> None:
    """Print, for each layer, what every framework makes of the same input."""
    from convcli.geometry import frameworks

    inputs = [sizes, *(row.sizes for row in rows[:-1])]
    found = [frameworks.compare(layer, before) for layer, before in zip(chain, inputs, strict=True)]
    if as_json:
        print_json(
            [
                {
                    "layer": str(layer),
                    "input": before,
                    "answers": [asdict(answer) for answer in answers],
                    "why": frameworks.reasons(layer, answers),
                }
                for layer, before, answers in zip(chain, inputs, found, strict=True)
            ]
        )
        return
    for layer, before, answers in zip(chain, inputs, found, strict=True):
        print(f"{layer} on {format_size(None, before)}")
        lines = [("", "setting", "padding", "output", "")]
        for answer in answers:
            texts = (frameworks.padding_text(answer), frameworks.size_text(answer))
            lines.append((answer.who, answer.setting, *texts, answer.remark))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            *cells, remark = (f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True))
            start = "  " + "  ".join(cells)
            fits = len(start) + 2 + len(remark.rstrip()) <= WIDTH
            print(f"{start}  {remark}".rstrip() if fits else f"{start.rstrip()}\n{'':11}{remark.rstrip()}")
        for reason in frameworks.reasons(layer, answers):
            print(textwrap.fill(reason, WIDTH, initial_indent="- ", subsequent_indent="  "))
