"""The parsed command line of ``explain``."""

from pathlib import Path

from convcli.cli.shared import options
from convcli.common import Channels, frozen, parse_float
from convcli.common.options import Panel, argument, group, option
from convcli.geometry.axes import parse_numbers
from convcli.jobs.bind import Settings
from convcli.media.options import ReadOptions


@frozen(kw_only=True)
class FieldOptions:
    """Whose receptive field is shown."""

    net: Path | None = option(
        "What the output --at of this net sees of the input, at each layer; -o draws it.",
        "--receptive-field",
        metavar="NET",
        panel=Panel.NET,
    )
    layer: str | None = options.layer("With --receptive-field: this layer's output. Default: the last.")
    weights: Path | None = options.weights("With --receptive-field: the net's weights, as in net run.")
    seed: int | None = options.seed("With --receptive-field: for random weights.")


@frozen(kw_only=True)
class Request:
    """A parsed command line of ``explain``."""

    input: str | None = argument("A file, or - for standard input.", default=None, metavar="[INPUT]")
    kernels: tuple[str, ...] = options.kernels(
        "Name, name:parameters, FILE, or numbers; 3x3 alone has the weights 1, 2, 3... "
        "Of several the last is explained."
    )
    at: tuple[int, ...] | None = option(
        "Which output value, counted from 0, one number an axis.",
        metavar="Y,X",
        panel=Panel.KERNEL,
        read=lambda text: parse_numbers(text, "--at", minimum=0),
    )
    size: options.Size | None = options.size("Instead of a file: the numbers 1, 2, 3... in 5x5.")
    settings: Settings = group(
        padding="As in filter: same with replicated edges by default; alone it pads with zeros.",
        transposed="Transposed convolution: which inputs contribute.",
        pool="max:2, avg:3,s=2, global-max...: where the value came from.",
    )
    channels: Channels = options.channels()
    reading: ReadOptions = group(
        *("matrix", "header"),
        axes="Letters of an array's dimensions: CYX, YXC, ZYX, TYX...",
        columns="Columns of a table: names, numbers, 2-4.",
        all_frames="first, or all frames (pages) of the input.",
    )
    map: int | None = option("Only this output of a bank, counted from 0.", panel=Panel.VALUES)
    channel: int | None = option("Only this channel of the input.", panel=Panel.VALUES)
    output: str | None = options.output("Draw the output with its window: FILE.png.")
    animate: str | None = option("Draw the window moving: FILE.gif or FILE.mp4.", metavar="FILE")
    field: FieldOptions
    fps: float = option(
        "Steps a second of the animation.",
        panel=Panel.OUTPUT,
        shown="2",
        read=lambda text: parse_float(text, "fps"),
    )
    force: bool = options.force()
    json: bool = options.json("Print taps, products and sums as JSON.")
    messages: options.Messages = group("debug", quiet="Print the value alone.")
