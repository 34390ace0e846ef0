"""The parsed command line of ``matrix``."""

from typing import Annotated

from convcli.cli.shared.options import Force, Json, Kernel, Messages, Output, Size
from convcli.common.frozen import frozen
from convcli.common.options import Group, Panel, option
from convcli.jobs.bind import Settings
from convcli.media.options import ReadOptions


@frozen(kw_only=True)
class Request:
    """A parsed command line of ``matrix``."""

    kernel: Annotated[
        Kernel, "Name, name:parameters, FILE, numbers; a bare size (3, 2x2) has the weights 1, 2, 3..."
    ]
    size: Annotated[Size, "The input: 5, 4x4, 3@4x4, 4x4x4."] = None
    settings: Annotated[
        Settings,
        Group(
            *("stride", "pad_mode", "pad_value", "dilation", "flip", "output_padding"),
            padding="Number, before:after, valid, full, same... Default: 0 (same with --pad-mode).",
            transposed="Of the transposed convolution; padding crops.",
        ),
    ]
    reading: Annotated[
        ReadOptions, Group("axes", axes="Letters of an array's dimensions, for --verify: YX, ZYX, CYX...")
    ]
    output: Annotated[
        Output, "FILE.npz (sparse, for scipy.sparse.load_npz), .csv, .npy, or a picture (.png); - is CSV."
    ] = None
    verify: str | None = option(
        "Multiply with this file's numbers and compare with filter.", metavar="INPUT", panel=Panel.VALUES
    )
    force: Annotated[Force, "Overwrite an existing output."] = False
    json: Annotated[Json, "Print the matrix and its facts as JSON."] = False
    messages: Annotated[Messages, Group("debug", quiet="Print the matrix without the facts.")]
