"""The parsed command line of ``explain``."""

from pathlib import Path

from convcli.cli.shared import options
from convcli.common import Channels, UsageError, frozen
from convcli.common.options import Panel, argument, group, option
from convcli.jobs.bind import Settings
from convcli.jobs.missing import Gaps
from convcli.media.options import ReadOptions


@frozen(kw_only=True)
class FieldOptions:
    """Whose receptive field is shown."""

    net: Path | None = option(
        "A net: what its output --at sees of the input, at each layer (-o draws it); with --map the value there "
        "of --layer, of any kind, taken apart.",
        metavar="NET",
        panel=Panel.NET,
    )
    layer: str | None = options.layer("With --net: this layer's output. Default: the last.")
    weights: Path | None = options.weights("With --net: the net's weights, as in net run.")
    seed: int | None = options.seed("With --net: for random weights.")


@frozen(kw_only=True)
class Request:
    """Take one output value apart: taps, products, sum.

    For a pool it says where the maximum came from and where the gradient goes
    (without --at of all windows), for a transposed convolution which inputs contribute.

    \b
    Examples:
      convcli explain photo.png -k sobel-x --at 40,25
      convcli explain table.csv -k mean3 --at 0
      convcli explain photo.png --pool max:2 --at 3,7 -o window.png
      convcli explain table.csv --as matrix --pool max:2 -o positions.npy
      convcli explain --input 3x3 -k 2x2 --transpose --stride 2 --at 1,1
      convcli explain --animate a.gif --input 5x5 -k 3x3 --stride 2 --padding 1
      convcli explain --animate page.html --input 5x5 -k 3x3 --padding 1
      convcli explain photo.png --net net.yaml --at 4,4 -o field.png
      convcli explain photo.png --net net.yaml --layer 3 --map 0 --at 3,7
    """

    brief = "--kernel --at --input --stride --padding --pool --output --animate"

    input: str | None = argument("A file, or - for standard input.", default=None, metavar="[INPUT]")
    kernels: tuple[str, ...] = options.kernels(
        "Name, name:parameters, FILE, or numbers; 3x3 alone has the weights 1, 2, 3... "
        "Of several the last is explained."
    )
    at: tuple[int, ...] | None = option(
        "Which output value, counted from 0, one number for each axis; of several items (N) the item's first.",
        metavar="Y,X",
        panel=Panel.KERNEL,
        least=0,
    )
    size: options.Size | None = options.size("Instead of a file: the numbers 1, 2, 3... in 5x5.")
    settings: Settings = group(
        padding="As in filter: same with replicated edges by default; alone it pads with zeros.",
        transposed="Transposed convolution: which inputs contribute.",
        pool="max:2, avg:3,s=2, global-max...: where the value came from.",
    )
    channels: Channels = options.channels()
    gaps: Gaps
    reading: ReadOptions = group(
        *("matrix", "header"),
        axes="Letters of an array's dimensions: CYX, YXC, ZYX, TYX...",
        columns="Columns of a table: names, numbers, 2-4.",
        all_frames="first, or all frames (pages) of the input.",
    )
    map: int | None = option("Only this output of a bank, or map of a net, from 0.", panel=Panel.VALUES)
    channel: int | None = option("Only this channel of the input.", panel=Panel.VALUES)
    output: str | None = options.output(
        "Draw the output with its window: FILE.png; of a pool without --at its gradient, or FILE.npy of positions."
    )
    animate: str | None = option(
        "Draw the window moving, the maps of a bank one after another: FILE.gif or FILE.mp4; FILE.html is a page to "
        "learn with.",
        metavar="FILE",
    )
    field: FieldOptions
    fps: float = option("Steps a second of the animation.", default=2.0, least=0.1, most=30)
    force: bool = options.force()
    json: bool = options.json("Print taps, products and sums as JSON.")
    messages: options.Messages = group("debug", quiet="Print the value alone.")

    @property
    def work(self) -> str:
        """What does the work, once the command line makes sense."""
        if self.field.net is not None:
            self._check_field()
            return "explain.field.explain_field"
        self._check()
        return "explain.work.explain_all"

    def _check(self) -> None:
        """Refuse what cannot be meant, before anything is read."""
        if self.field != FieldOptions():
            raise UsageError("--layer, --weights and --seed belong to --net NET")
        if (self.input is None) == (self.size is None):
            raise UsageError("give either a file, or --input SIZE for the numbers 1, 2, 3, ...")
        if not self.kernels and self.settings.pool is None:
            raise UsageError(
                "nothing to explain: give a kernel (-k NAME, see `convcli kernels list`) or --pool"
            )
        if self.at is None and self.animate is None and self.settings.pool is None:
            raise UsageError("--at says which output value to explain: --at 0,0 (or --animate OUT.gif)")
        if self.at is None and self.output is not None and (self.animate or self.settings.pool is None):
            raise UsageError("-o draws one output: say which with --at (--animate draws all of them)")

    def _check_field(self) -> None:
        """Refuse what cannot be meant with a net."""
        misplaced = self.kernels or self.settings.pool or self.animate or self.size
        if self.input is None or (self.at is None and self.map is None) or misplaced:
            raise UsageError("--net NET needs a file and --at, and goes without kernels and --animate")
        if self.settings != Settings() or self.gaps != Gaps():
            raise UsageError("--net NET goes without options of a kernel: the net has its own")
