"""The command lines of ``convcli net``."""

from functools import partial
from pathlib import Path

from convcli.cli.shared import options
from convcli.common import Precision, UsageError, frozen, parse_numbers
from convcli.common.options import Panel, argument, flag, group, option
from convcli.media.options import ReadOptions
from convcli.pixels.ranges import FORMS, Range, range_policy

_net = partial(argument, "A YAML file (see samples/*.yaml), or an ONNX model.", metavar="NET")
_input = partial(argument, "Image, signal or array; - is standard input.", metavar="INPUT")
_reading = partial(
    group,
    *("matrix", "header"),
    max_pixels="Most pixels, in millions; weights and maps count by their memory.",
    axes="Letters of an array's dimensions, with C for channels: CYX, YXC, CX...",
    columns="Columns of a table: names, numbers, 2-4.",
)


def parse_shifts(text: str) -> list[int]:
    """Read shifts.

    >>> parse_shifts("1-3,8")
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


@frozen(kw_only=True)
class Filling:
    """Where weights come from that the net's file leaves open, and how numbers are computed."""

    weights: Path | None = options.weights()
    seed: int | None = options.seed()
    precision: Precision = options.precision()
    device: str = options.device()


@frozen(kw_only=True)
class RunRequest:
    """Run a net on a file: arrays, pictures, scores, or feature maps.

    \b
    Examples:
      convcli net run samples/pyramid.yaml photo.png -o small.png
      convcli net run samples/lenet.yaml digit.png
      convcli net run lenet.yaml digits -w lenet.safetensors --labels folders
      convcli net run stem.yaml frames/*.png -o 'small/{stem}.png'
      convcli net run stem.yaml photo.jpg -w r18.pth --layer conv1 --maps m.png
    """

    work = "net.run.run"
    brief = "--output --labels --weights --layer --maps --top --range --axes"

    net: Path = _net()
    inputs: tuple[str, ...] = argument(
        "Images, signals, arrays; folders; a CSV of files (file,label). - is standard input.",
        metavar="INPUT...",
    )
    output: str | None = options.output(
        "The output: .npy, .tiff, .csv, or pictures (one for each map); of several inputs with {stem} or {n}."
    )
    labels: str | None = option(
        "True classes: folders (their names) or a CSV (file,label): accuracy, confusion, the worst.",
        panel=Panel.NET,
    )
    layer: str | None = options.layer()
    maps: str | None = option("Picture of the layer's feature maps, as a grid.", metavar="FILE")
    count: int = option("How many maps the grid shows.", default=16, least=1)
    with_input: bool = flag("Draw the input beside the maps.")
    filling: Filling
    num_classes: int | None = options.num_classes()
    range: Range | None = range_policy(
        f"How numbers become pixels: {FORMS}. Default: from 0 to the input's white after preprocess, or minmax after "
        "mean and std. MAP alone colours --maps (default viridis)."
    )
    top: int = option("How many classes are printed, best first.", default=5, least=1)
    reading: ReadOptions = _reading()
    format: str | None = option("Output type where no suffix says it.")
    block: int | None = option(
        "Rows of output computed at a time. Default: as memory allows.", panel=Panel.SPEED, least=1
    )
    force: bool = options.force()
    json: bool = options.json()
    messages: options.Messages = group("verbose", "debug", quiet="No notes, only results and errors.")

    def __post_init__(self) -> None:
        if self.with_input and self.maps is None:
            raise UsageError("--with-input draws the input beside the maps: give --maps FILE.png")
        if self.range is not None and self.range.colours and (self.maps is None or ":" in str(self.range)):
            raise UsageError("--range MAP colours --maps, each from its smallest to its largest value")
        if self.labels is not None and self.layer is not None:
            raise UsageError("--labels counts classes of the last layer: leave --layer out")


@frozen(kw_only=True)
class ShowRequest:
    """Show a net's layers: sizes, receptive fields, parameters, costs.

    The columns are those of `convcli shape`; the multiply-adds are those of conv, tconv and dense.

    \b
    Examples:
      convcli net show samples/lenet.yaml
      convcli net show samples/unet.yaml --input 1@512x512 -o unet.svg
      convcli net show resnet18.onnx
    """

    work = "net.show.show"

    net: Path = _net()
    input: options.Size | None = options.size("Size of the input, 3@32x32. Default: what the net says.")
    num_classes: int | None = options.num_classes()
    output: str | None = options.output("Draw the graph: FILE.svg, or FILE.dot (Graphviz; - prints that).")
    force: bool = options.force()
    json: bool = options.json()
    messages: options.Messages = group("debug", quiet="Print the final size alone.")


@frozen(kw_only=True)
class CheckRequest:
    """Measure whether a net's layers follow shifts of their input.

    Following them is equivariance, ignoring them invariance. The input is rolled along an axis, in float64.
    For every layer:

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

    work = "net.check.check"

    net: Path = _net()
    input: str = _input()
    shifts: list[int] = option(
        "Elements by which the input moves: 1,2,3 or 1-8.", panel=Panel.WINDOW, shown="1-8", read=parse_shifts
    )
    along: str = option("The axis along which it moves.", panel=Panel.WINDOW, shown="x", read=str.upper)
    filling: Filling = group("weights", "seed", "device")
    num_classes: int | None = options.num_classes()
    reading: ReadOptions = _reading()
    json: bool = options.json()
    messages: options.Messages = group("debug", quiet="No notes, only results and errors.")


COMMANDS = (
    "Chains of layers in YAML: run them on files, show their sizes, check how they follow shifts.",
    {"run": RunRequest, "show": ShowRequest, "check": CheckRequest},
)
