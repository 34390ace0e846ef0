"""``convcli shape``: output sizes, receptive fields and costs of layers, without any data.

Reads the command line and lays out the table; the arithmetic is in `convcli.geometry`.
Nothing here may import numpy, torch or rich.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from convcli import networks
from convcli.cli.shared import options
from convcli.cli.shared.layers import Traced, axes_text, lines
from convcli.cli.shared.report import Note, show
from convcli.cli.shared.terminal import WIDTH, Table
from convcli.common import ConvError, UsageError, frozen
from convcli.common.options import Panel, argument, flag, group, option
from convcli.geometry.grammar import parse_layers, parse_pool, parse_size
from convcli.geometry.graph import Shape, Step, follow, lint, rows_of, trace
from convcli.geometry.graph import chain as chain_of
from convcli.geometry.layers import Conv, Layer, format_size
from convcli.geometry.padding import PaddingName
from convcli.geometry.pools import POOLS

if TYPE_CHECKING:
    from convcli.geometry.frameworks import Answer
    from convcli.geometry.search import Choice

MOST_CHOICES = 20  # of --want, in text
_CHANNELS = (1, 2, 3, 4)  # of pictures: a first axis of so few is likely none of space


@frozen(kw_only=True)
class Request:
    """Work out sizes, receptive fields, parameters and multiply-adds of layers.

    \b
      conv:[OUT@]K[,s=][,p=][,d=][,same]         convolution
      tconv:[OUT@]K[,s=][,p=][,d=][,op=][,same]  transposed convolution
      pool:KIND:K[,s=][,p=][,d=][,ceil]          pool; the stride is K by default
      gpool:KIND                                 pool over everything

    KIND is one of those that --pool takes.
    K, s= and the others: one number is every axis; 5x3 is one for each. p= is
    a number, before:after (1:0x2:2), or valid, full, same, tail, same-lower or
    same-upper. The default padding is 0, and in filter same.

    Columns: field is the receptive field in the input, jump the step from one
    output's field to the next, start the centre of the first one (first input
    element = 0), unused the input elements at the end that no window reaches.

    \b
    Examples:
      convcli shape 3@32x32 conv:6@5x5 pool:max:2 conv:16@5x5 pool:max:2
      convcli shape 3@224x224 conv:64@7,s=2,p=3
      convcli shape 32x32 --kernel-size 5 --stride 2 --padding same
      convcli shape 4@8x8 tconv:3,s=2,p=1,op=1 -q
      convcli shape 3@224x224 conv:64@7 --want 112x112
      convcli shape 8x8 conv:3,s=2,same --compare
      convcli shape resnet18.onnx 3@224x224 -o resnet18.svg
    """

    work = "shape.shape"
    panel = Panel.WINDOW

    size: str = argument("The input: 100, 32x32, or 3@32x32; or a net.", metavar="SIZE|NET")
    layers: tuple[str, ...] = argument(
        "See above; of a net the input's size.", default=(), metavar="LAYER..."
    )
    kernel_size: str | None = option("One layer as flags: its size, 5, 5x3 or 6@5x5.", panel=Panel.KERNEL)
    stride: str | None = option("One number, or one for each axis: 2,1.")
    padding: str | None = option("Number, before:after, or a name such as same.")
    dilation: str | None = option("Distance between the kernel's taps.")
    transpose: bool = flag("Transposed convolution.")
    output_padding: str | None = option("Extra elements, with --transpose.")
    pool: str | None = option(
        f"The one layer is a pool ({', '.join(map(str, POOLS))}): max:2, avg:3,ceil, global-max."
    )
    want: str | None = option(
        "Search the settings not given, of the last layer, that make this size.", metavar="SIZE"
    )
    compare: bool = flag("Say what torch, Keras and ONNX give for these layers, and why.")
    output: str | None = options.output("Draw the graph of a net: FILE.svg, or FILE.dot (Graphviz).")
    force: bool = options.force()
    json: bool = options.json("Print everything as JSON.")
    messages: options.Messages = group("debug", quiet="Print the final size alone.")


def shape(request: Request) -> None:
    """Print the sizes, what else gives them, or what other frameworks give."""
    if Path(request.size).suffix.lower() in networks.SUFFIXES:
        _show_net(request)
        return
    if request.output is not None:
        raise UsageError("-o draws the graph of a net's file; a chain of layers has none")
    channels, sizes = parse_size(request.size)
    layers = request.layers
    flags = _layer_text(request)
    if flags and layers:
        raise UsageError(f"layers ({layers[0]}) and --kernel-size or --pool cannot be combined: write one")
    texts = layers or tuple(filter(None, [flags]))
    if not texts:
        raise UsageError("no layers: write some, such as conv:6@5x5 pool:max:2, or one as --kernel-size 5")
    chain = parse_layers(texts)
    quiet = request.messages.quiet
    if request.want is not None:
        if request.compare:
            raise UsageError("--want and --compare cannot be combined: compare what --want finds")
        choices = _choices(chain, texts[-1], channels, sizes, request.want)
        show(choices, map(str, choices[:1]) if quiet else _choice_lines(choices), request)
        return
    steps = _followed(chain, channels, sizes)
    rows = rows_of(steps, channels)
    if request.compare:
        compared = _compared(chain, [sizes, *(row.sizes for row in rows)])
        show(compared, (line for one in compared for line in _compared_lines(one)), request)
        return
    notes = lint(steps, nets=False)
    if any(not isinstance(layer, Conv) or layer.transposed for layer in chain):  # others have one size alone
        from convcli.geometry.search import remarks

        notes += remarks(chain, sizes, rows)
    found = Traced(format_size(channels, sizes), rows, notes)
    show(found, [found.output] if quiet else lines(found), request, indent=2)


def _show_net(request: Request) -> None:
    """Do what ``net show`` does."""
    from convcli.cli.net.request import ShowRequest
    from convcli.cli.net.show import show as show_net

    if _layer_text(request) or request.want or request.compare or len(request.layers) > 1:
        raise UsageError(f"{request.size} has its own layers: give no more than the input's size with it")
    size = parse_size(request.layers[0]) if request.layers else None
    show_net(
        ShowRequest(
            net=Path(request.size),
            input=size,
            output=request.output,
            force=request.force,
            json=request.json,
            messages=request.messages,
        )
    )


def _layer_text(request: Request) -> str:
    """Write the one layer that the flags describe, as `parse_layers` reads it; nothing where there is none."""
    keys = {"stride": "s", "padding": "p", "dilation": "d", "output_padding": "op"}
    given = {name: getattr(request, name) for name in keys if getattr(request, name) is not None}
    if request.pool is not None and (request.kernel_size is not None or request.transpose):
        other = "--kernel-size" if request.kernel_size is not None else "--transpose"
        raise UsageError(f"{other} and --pool cannot be combined: a pool has a size, and no transposed form")
    if request.pool is None and request.kernel_size is None:
        if given or request.transpose:
            name = next(iter(given), "transpose").replace("_", "-")
            raise UsageError(
                f"--{name} needs --kernel-size; in a layer it is written inside, such as conv:5,s=2,p=1"
            )
        return ""
    if "output_padding" in given and not request.transpose:
        raise UsageError("--output-padding needs --transpose")
    if request.pool is not None:
        first = str(parse_pool(request.pool))
    else:
        first = f"{'tconv' if request.transpose else 'conv'}:{(request.kernel_size or '').replace(',', 'x')}"
    return ",".join([first, *(f"{keys[name]}={text.replace(',', 'x')}" for name, text in given.items())])


def _followed(chain: Sequence[Layer], channels: int | None, sizes: tuple[int, ...]) -> tuple[Step, ...]:
    """Follow the sizes; of a kernel that does not fit say how channels are written, where they look like an axis."""
    try:
        return follow(chain_of(chain), Shape(channels or 1, sizes), shown=False)
    except ConvError as error:
        if channels is None and sizes[0] in _CHANNELS and sizes[0] < min(sizes[1:], default=0):
            error.problem += f" (channels are written {sizes[0]}@{format_size(None, sizes[1:])})"
        raise


def _choices(
    chain: Sequence[Layer], text: str, channels: int | None, sizes: tuple[int, ...], want: str
) -> "list[Choice]":
    """Return last layers that give a size, with what the text of the last one does not give; the simplest first."""
    from convcli.geometry.search import search

    maps, wanted = parse_size(want, "--want")
    *before, layer = chain
    first = channels, sizes
    for row in rows_of(_followed(before, channels, sizes), channels):
        channels, sizes = row.channels, row.sizes
    keys = {"s": "stride", "p": "padding", "d": "dilation", "op": "output_padding", "ceil": "ceil"}
    names = keys | dict.fromkeys(map(str, PaddingName), "padding")
    fixed = frozenset(names[key] for part in text.split(",") if (key := part.partition("=")[0]) in names)
    if isinstance(layer, Conv) and layer.out is None:
        layer = replace(layer, out=maps)
    out = layer.out if isinstance(layer, Conv) else channels
    if maps is not None and maps != out:
        raise UsageError(f"--want {want} has {maps} channels and the layer {layer} gives {out or 1}")
    found = search(layer, fixed, channels, sizes, wanted)
    return [replace(choice, row=trace([*before, choice.layer], *first)[-1]) for choice in found]


def _choice_lines(choices: "Sequence[Choice]") -> Iterator[str | Table]:
    rows = [("layer", "output", "field", "unused", "the same as")]
    for choice in choices[:MOST_CHOICES]:
        names = ", ".join(f"p={name}" for name in choice.same_as)
        places = axes_text(choice.row.field), axes_text(choice.row.unused)
        rows.append((str(choice), choice.output, *places, names))
    yield Table(rows, wrap=True)
    if len(choices) > MOST_CHOICES:
        yield Note(f"{len(choices) - MOST_CHOICES} less simple ones are left out; --json lists them all")


@frozen
class Compared:
    """Each framework's output for a layer and its input, and why they differ."""

    layer: Layer
    input: tuple[int, ...]
    answers: "Sequence[Answer]"
    why: Sequence[str]


def _compared(chain: Sequence[Layer], inputs: Sequence[tuple[int, ...]]) -> list[Compared]:
    from convcli.geometry.frameworks import compare, reasons

    found = [(layer, sizes, compare(layer, sizes)) for layer, sizes in zip(chain, inputs, strict=False)]
    return [Compared(layer, sizes, answers, reasons(layer, answers)) for layer, sizes, answers in found]


def _compared_lines(found: Compared) -> Iterator[str]:
    import textwrap

    yield f"{found.layer} on {format_size(None, found.input)}"
    rows = [("", "setting", "padding", "output", "")]
    for one in found.answers:
        rows.append((one.who, one.setting, one.padding_text, one.size_text, one.remark))
    for line, (*_, remark) in zip(Table(rows).lines(), rows, strict=True):
        fits = len(line) + 2 <= WIDTH
        yield f"  {line}" if fits else f"  {line.removesuffix(remark).rstrip()}\n{'':11}{remark}"
    for reason in found.why:
        yield textwrap.fill(reason, WIDTH, initial_indent="- ", subsequent_indent="  ")
