"""The command line of ``convcli learn``, for its three jobs.

A kernel by least squares (`kernel`), a net by gradients (`net`), or a look at what those gradients are (`gradients`).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from convcli.cli.shared import options
from convcli.cli.shared.command import flags
from convcli.common import Channels, Precision, UsageError, frozen, parse_choice
from convcli.common.options import Panel, argument, flag, group, option
from convcli.geometry.grammar import parse_size
from convcli.jobs.bind import Settings as Geometry
from convcli.learning.training import Settings
from convcli.media.options import ReadOptions


def _channels(text: str) -> Channels:
    found = parse_choice(Channels, text, "channels")
    if found not in (Channels.EACH, Channels.SUM):
        raise UsageError(f"channels {text!r} is not possible here: give each or sum")
    return found


@frozen(kw_only=True)
class Fit:
    """How a kernel is fitted."""

    channels: Channels | None = option(
        "each: one kernel for every channel (default where their numbers agree); or sum.",
        panel=Panel.VALUES,
        read=_channels,
    )
    bias: bool = option(
        "Seek no constant beside the weights.",
        "--no-bias",
        default=True,
        panel=Panel.KERNEL,
        shown=False,
        read=lambda without: not without,
    )
    minimum_norm: bool = flag("Of all kernels that fit equally take the smallest.", panel=Panel.KERNEL)
    keep_saturated: bool = flag("Count pixels that are black or white in the target too.", panel=Panel.VALUES)


@frozen(kw_only=True)
class Net:
    """The net that is trained, where its weights come from and go to, and what computes."""

    panel = Panel.TRAINING

    file: Path | None = option("Train all weights of this net (YAML).", "--net", panel=Panel.NET)
    weights: Path | None = options.weights("Weights to start from.")
    num_classes: int | None = options.num_classes()
    target_scale: float | None = option("Factor for targets. Default: the net's preprocess scale.")
    checkpoint: Path | None = option(
        "Where each epoch's state is kept. Default: OUTPUT.checkpoint.safetensors."
    )
    resume: Path | None = option("Go on from a checkpoint, which is then kept up to date.")
    curves: tuple[str, ...] = option(
        "Write the loss of every epoch: FILE.csv, FILE.png; or both.", "--curve", default=()
    )
    precision: Precision = options.precision(
        "Arithmetic of training: float32 or float64.", default=Precision.FLOAT32
    )
    device: str = options.device()


OF_KERNEL = {*flags(Fit), "--pad-mode"}
OF_GEOMETRY = {"--size", "--stride", "--padding", "--dilation"}
OF_NET = {*flags(Net), *flags(Settings)}
OF_FILES = {"[INPUT TARGET]...", "--target", "--axes", "--target-axes", "--as", "--header"}


@frozen(kw_only=True)
class Request:
    """Learn kernels from examples.

    \b
    Three jobs:
      --size SIZE   the one kernel (and bias) that turns inputs into targets with
                    the least squared error: exact, and it says how sure it is
      --net NET     all weights of a net, by gradient descent; without targets
                    the net learns to give its input back (an autoencoder), with
                    --loss ce the folder of each input names its class
      --gradcheck   shows that the gradients of a convolution are convolutions;
                    of random numbers, or of yours: X W [G], files or numbers

    \b
    Examples:
      convcli learn photo.png blurred.png --size 5x5 -o blur.yaml
      convcli learn photos --net autoencoder.yaml -o ae.safetensors
      convcli learn digits --net lenet.yaml --loss ce --patience 5
      convcli learn --gradcheck --input 6x7 --size 3x2 --stride 2 --padding 1
      convcli learn --gradcheck '1,2,3;4,5,6;7,8,9' '1,2;3,4' '1,0;0,-1'
    """

    brief = "--size --net --output --stride --padding --epochs --loss --target"

    files: tuple[str, ...] = argument(
        "Pairs of files; with --target or --net: inputs; with --gradcheck: X W [G].",
        default=(),
        metavar="[INPUT TARGET]...",
    )
    targets: tuple[str, ...] = option(
        "A file or folder of targets, again for more; or a CSV (file, label).",
        "--target",
        default=(),
        panel=Panel.TRAINING,
    )
    size: tuple[int | None, tuple[int, ...]] | None = option(
        "Learn one kernel of this size: 3x3, 5, 1x7, 3x3x3.",
        panel=Panel.KERNEL,
        read=lambda text: parse_size(text, "size"),
    )
    gradcheck: bool = flag("Show what the gradients of a convolution are.", panel=Panel.KERNEL)
    input: options.Size | None = options.size("With --gradcheck: the size of the input, 2@6x7.")
    output: str | None = options.output("kernel.yaml; or trained weights, FILE.safetensors.")
    geometry: Geometry = group(
        *("stride", "dilation"),
        padding="same, valid, full, numbers... Default: what fits the sizes; --gradcheck: 0.",
        pad_mode="What lies outside the input. Without it outputs that need it do not count.",
    )
    fit: Fit
    net: Net
    training: Settings
    reading: ReadOptions = group(
        *("matrix", "header"),
        columns="Columns of tables, of inputs and targets alike: names, numbers, 2-4.",
        max_pixels="Most pixels, in millions; weights and maps count by their memory.",
        axes="Letters of an array's dimensions: CYX, YXC, ZYX...",
    )
    target_axes: str | None = option(
        "Letters of the targets' dimensions. Default: --axes.", panel=Panel.WINDOW
    )
    force: bool = options.force()
    json: bool = options.json()
    messages: options.Messages = group("progress", "debug", quiet="No notes; only the kernel, or nothing.")
    given: Sequence[str] = ()

    @property
    def reading_targets(self) -> ReadOptions:
        return replace(self.reading, axes=self.target_axes or self.reading.axes)

    @property
    def work(self) -> str:
        """What does the job that is asked for; options of another one are refused."""
        if self.gradcheck:
            own = {"--seed", "[INPUT TARGET]..."} if not self.files else {"[INPUT TARGET]..."}
            foreign = (
                OF_KERNEL
                | OF_NET
                | OF_FILES
                | {"--output"}
                | ({"--size", "--input"} if self.files else set())
            )
            self._refuse("--gradcheck with numbers" if self.files else "--gradcheck", foreign - own)
            return "learn.gradients.show_gradients"
        if self.net.file is not None:
            self._refuse("--net", OF_KERNEL | OF_GEOMETRY | {"--input"})
            if not self.files:
                raise UsageError("nothing to learn from: name a file or a folder of inputs, again for more")
            return "learn.net.train_net"
        if self.size is not None:
            self._refuse("--size", OF_NET | {"--input"})
            return "learn.kernel.learn_kernel"
        raise UsageError(
            "what to learn: --size 3x3 (a kernel), --net NET.yaml (a net's weights), or --gradcheck"
        )

    def _refuse(self, job: str, foreign: set[str]) -> None:
        said = [flag.split()[0].strip("[") for flag in self.given if flag in foreign]
        if said:
            raise UsageError(f"{said[0]} belongs to another job than {job} (see `convcli learn --help`)")
