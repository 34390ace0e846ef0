"""What ``convcli net`` is asked for, parsed."""

from pathlib import Path
from typing import Annotated

from convcli.cli.shared.options import (
    Arithmetic,
    Device,
    Force,
    Json,
    Layer,
    Messages,
    NumClasses,
    Output,
    Seed,
    Size,
    Weights,
    from_one_on,
)
from convcli.common.choices import Precision
from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.common.options import Argument, Group, Panel, flag, option
from convcli.geometry.axes import parse_numbers
from convcli.media.options import ReadOptions
from convcli.pixels.ranges import FORMS, RangePolicy

NetFile = Annotated[Path, Argument("A YAML file; see samples/*.yaml.", metavar="NET")]
InputFile = Annotated[str, Argument("Image, signal or array; - is standard input.", metavar="INPUT")]
Reading = Annotated[
    ReadOptions,
    Group(
        *("matrix", "header"),
        axes="Letters of an array's dimensions, with C for channels: CYX, YXC, CX...",
        columns="Columns of a table: names, numbers, 2-4.",
    ),
]


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

    weights: Weights = None
    seed: Seed = None
    precision: Arithmetic = Precision.AUTO
    device: Device = "cpu"


@frozen(kw_only=True)
class RunRequest:
    """A parsed command line of ``net run``."""

    net: NetFile
    input: InputFile
    output: Annotated[Output, "The output: .npy, .tiff, .csv, or pictures (one for each map)."] = None
    layer: Layer = None
    maps: str | None = option("Picture of the layer's feature maps, as a grid.")
    count: int = option("How many maps the grid shows.", shown=16, read=from_one_on("--count"))
    colormap: str = option("viridis or grey.", default="viridis")
    with_input: bool = flag("Draw the input beside the maps.")
    filling: Filling
    num_classes: NumClasses = None
    range: Annotated[
        RangePolicy,
        f"How numbers become pixels: {FORMS}. Default: from 0 to the "
        "input's white after preprocess, or minmax after mean and std.",
    ] = None
    top: int = option("How many classes are printed, best first.", shown=5, read=from_one_on("--top"))
    reading: Reading
    format: str | None = option("Output type where no suffix says it.")
    block: int | None = option(
        "Rows of output computed at a time. Default: as memory allows.",
        panel=Panel.SPEED,
        takes=int,
        read=from_one_on("--block"),
    )
    force: Force = False
    json: Json = False
    messages: Annotated[Messages, Group("verbose", "debug", quiet="No notes, only results and errors.")]


@frozen(kw_only=True)
class ShowRequest:
    """A parsed command line of ``net show``."""

    net: NetFile
    input: Annotated[Size, "Size of the input, 3@32x32. Default: the net's own input:."] = None
    num_classes: NumClasses = None
    dot: str | None = option("Write the chain for Graphviz, to a file or -.")
    svg: str | None = option("Write the chain as a picture, to a file or -.")
    force: Force = False
    json: Json = False
    messages: Annotated[Messages, Group("debug")]


@frozen(kw_only=True)
class CheckRequest:
    """A parsed command line of ``net check``."""

    net: NetFile
    input: InputFile
    shifts: list[int] = option(
        "Elements by which the input moves: 1,2,3 or 1-8.", panel=Panel.WINDOW, shown="1-8", read=parse_shifts
    )
    along: str = option("The axis along which it moves.", panel=Panel.WINDOW, shown="x", read=str.upper)
    filling: Annotated[Filling, Group("weights", "seed", "device")]
    num_classes: NumClasses = None
    reading: Reading
    json: Json = False
    messages: Annotated[Messages, Group("debug")]
