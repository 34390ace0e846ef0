"""The parsed command line of ``matrix``."""

from convcli.cli.shared import options
from convcli.common import frozen
from convcli.common.options import Panel, group, option
from convcli.jobs.bind import Settings
from convcli.media.options import ReadOptions


@frozen(kw_only=True)
class Request:
    """A parsed command line of ``matrix``."""

    kernel: str = options.kernel(
        "Name, name:parameters, FILE, numbers; a bare size (3, 2x2) has the weights 1, 2, 3..."
    )
    size: options.Size | None = options.size("The input: 5, 4x4, 3@4x4, 4x4x4.")
    settings: Settings = group(
        *("stride", "pad_mode", "pad_value", "dilation", "flip", "output_padding"),
        padding="Number, before:after, valid, full, same... Default: 0 (same with --pad-mode).",
        transposed="Of the transposed convolution; padding crops.",
    )
    reading: ReadOptions = group(
        *("axes", "header"), axes="Letters of an array's dimensions, for --verify: YX, ZYX, CYX..."
    )
    output: str | None = options.output(
        "FILE.npz (sparse, for scipy.sparse.load_npz), .csv, .npy, or a picture (.png); - is CSV."
    )
    verify: str | None = option(
        "Multiply with this file's numbers and compare with filter.", metavar="INPUT", panel=Panel.VALUES
    )
    force: bool = options.force("Overwrite an existing output.")
    json: bool = options.json("Print the matrix and its facts as JSON.")
    messages: options.Messages = group("debug", quiet="Print the matrix without the facts.")
