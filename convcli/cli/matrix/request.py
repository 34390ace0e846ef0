"""The parsed command line of ``matrix``."""

from convcli.cli.shared import options
from convcli.common import UsageError, frozen
from convcli.common.options import Panel, group, option
from convcli.jobs.bind import Settings
from convcli.jobs.missing import Gaps
from convcli.media.options import ReadOptions


@frozen(kw_only=True)
class Request:
    """Write a convolution as a matrix W, so that the output is W vec(X).

    A dot is an entry that no tap makes; a 0 is a weight of zero. Lines part the
    blocks: one block is one row of the output against one row of the input.

    \b
    Examples:
      convcli matrix --input 5 -k 3
      convcli matrix --input 4x4 -k "1,2;3,4" -o W.npz
      convcli matrix --input 5 -k 3 --padding full --flip
      convcli matrix --input 5 -k w0,w1,w2 --stride 2
      convcli matrix --input 3 -k 3 --transpose
      convcli matrix --input 4x4 -k 3x3 --pad-mode circular
    """

    work = "matrix.work.show_matrix"
    brief = "--kernel --input --stride --padding --pad-mode --transpose --output --verify"

    kernel: str = options.kernel(
        "Name, name:parameters, FILE, numbers, symbols (w0,w1); a bare size (3, 2x2) has the weights 1, 2, 3..."
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
    gaps: Gaps = group("rule", "mask")
    output: str | None = options.output(
        "FILE.npz (sparse, for scipy.sparse.load_npz), .csv, .npy, or a picture (.png); - is CSV."
    )
    verify: str | None = option(
        "Multiply with this file's numbers and compare with filter.", metavar="INPUT", panel=Panel.VALUES
    )
    force: bool = options.force("Overwrite an existing output.")
    json: bool = options.json("Print the matrix and its facts as JSON.")
    messages: options.Messages = group("debug", quiet="Print the matrix without the facts.")

    def __post_init__(self) -> None:
        if self.size is None and self.verify is None:
            raise UsageError("--input says how large the input is: --input 4x4 (or --verify FILE)")
