"""Options that several commands share, beside those of the records `Settings`, `ReadOptions` and `WriteOptions`."""

import re
from enum import StrEnum
from functools import partial
from pathlib import Path

from convcli.common import Channels, EngineName, Precision, UsageError, frozen
from convcli.common.options import Panel, flag, group, option, shared


def _named_device(text: str) -> str:
    """Refuse what names no device; whether it is there is asked when it is needed."""
    if re.fullmatch(r"cpu|cuda(:\d+)?", text):
        return text
    raise UsageError(f"unknown device {text!r}: use cpu or cuda")


def complete_kernel(incomplete: str) -> list[str]:
    """Offer the library's kernels to the shell."""
    from convcli.kernel.library import names

    return [name for name in names() if name.startswith(incomplete)]


Size = tuple[int | None, tuple[int, ...]]
"""The size of an input: its channels, and its sizes in space."""


def _size(text: str) -> Size:
    from convcli.geometry.grammar import parse_size  # 2 ms that other commands need not wait for

    if not text[:1].isdigit() and Path(text).exists():
        raise UsageError(f"--input is a size, and {text!r} names files: convcli learn {text} --net NET")
    return parse_size(text, "input")


kernels = shared(
    "Name, name:parameters, a file (.yaml, .npy, table, picture, sound), or numbers; several are applied in turn.",
    "--kernel",
    "-k",
    default=(),
    panel=Panel.KERNEL,
    complete=complete_kernel,
)
kernel = partial(kernels, default=...)

output = shared(
    "Output file, or - . Default: STEM.KERNEL.EXT here.", "--output", "-o", metavar="FILE", panel=Panel.OUTPUT
)
size = shared("Size of the input: 5, 4x4, 3@4x4.", "--input", metavar="SIZE", panel=Panel.KERNEL, read=_size)

channels = shared("each, luma, grey (Rec. 709), mean or sum.", default=Channels.EACH, panel=Panel.VALUES)
precision = shared(
    "Arithmetic: auto, float32 or float64.", "--dtype", default=Precision.AUTO, panel=Panel.VALUES
)
layer = shared("Name or number of the layer whose output is wanted. Default: the last.", panel=Panel.NET)
seed = shared(
    "Seed of random weights, where the net gives neither numbers nor a seed.", panel=Panel.NET, least=0
)
region = shared(
    "Work only there: x,y,width,height, corners 'x,y x,y x,y', or a mask picture. Repeat for more.",
    default=(),
)
force = shared("Overwrite existing outputs.", "--force", "-y", default=False, panel=Panel.OUTPUT)
json = shared("Print JSON instead of text.", default=False, panel=Panel.MESSAGES)
engine = shared(
    "auto, numpy or torch.", default=EngineName.AUTO, panel=Panel.SPEED, variable="CONVCLI_ENGINE"
)
device = shared(
    "cpu or cuda.",
    default="cpu",
    panel=Panel.SPEED,
    read=_named_device,
    shown="cpu",
    complete=("cpu", "cuda"),
    variable="CONVCLI_DEVICE",
)
weights = shared(
    "Arrays named LAYER.weight, LAYER.bias: .safetensors, .npz, .pth, .onnx.",
    "--weights",
    "-w",
    panel=Panel.NET,
)
num_classes = shared("Instead of the net's own num_classes.", panel=Panel.NET)


class Progress(StrEnum):
    """Whether and how progress is shown."""

    AUTO = "auto"  # a bar, on a terminal only
    JSON = "json"  # lines for programs
    NONE = "none"


@frozen
class Messages:
    """What a person is told beside the data; `convcli.cli.program` looks for ``--debug`` itself."""

    panel = Panel.MESSAGES

    progress: Progress = option(
        "auto (a bar, on a terminal), json (lines on stderr) or none.", default=Progress.AUTO
    )
    quiet: bool = flag("No notes, only errors.", "--quiet", "-q")
    verbose: bool = flag("Say what was chosen, and why.", "--verbose", "-v")
    debug: bool = flag("Keep the traceback of an error.")

    @property
    def explain_choices(self) -> bool:
        return self.verbose and not self.quiet

    @property
    def shown_progress(self) -> Progress:
        return Progress.NONE if self.quiet else self.progress


@frozen(kw_only=True)
class ReportRequest:
    """A parsed command line of a report about nothing in particular."""

    json: bool = json()
    messages: Messages = group("debug")
