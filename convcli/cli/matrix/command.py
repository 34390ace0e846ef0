"""``convcli matrix``: the command line.  The work is in `convcli.cli.matrix.work`, loaded once this makes sense."""

from typing import Annotated

import typer

from convcli.cli.matrix.request import Request
from convcli.cli.shared.options import (
    Dilation,
    Flip,
    OutputPadding,
    PadModeName,
    PadValue,
    Stride,
    complete_kernel,
    parse_settings,
)
from convcli.cli.shared.report import Debug
from convcli.common.errors import UsageError
from convcli.geometry.grammar import parse_size


def matrix(
    kernel: Annotated[
        str,
        typer.Option(
            "--kernel",
            "-k",
            help="Name, name:parameters, FILE, numbers; a bare size (3, 2x2) has the weights 1, 2, 3...",
            autocompletion=complete_kernel,
            show_default=False,
        ),
    ],
    input: Annotated[
        str | None, typer.Option("--input", metavar="SIZE", help="The input: 5, 4x4, 3@4x4, 4x4x4.")
    ] = None,
    stride: Stride = None,
    padding: Annotated[
        str | None,
        typer.Option(help="Number, before:after, valid, full, same... Default: 0 (same with --pad-mode)."),
    ] = None,
    pad_mode: PadModeName = None,
    pad_value: PadValue = None,
    dilation: Dilation = None,
    flip: Flip = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="Of the transposed convolution; padding crops.")
    ] = False,
    output_padding: OutputPadding = "0",
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="FILE.npz (sparse, for scipy.sparse.load_npz), .csv, .npy, or a picture (.png); - is CSV.",
        ),
    ] = None,
    verify: Annotated[
        str | None,
        typer.Option(metavar="INPUT", help="Multiply with this file's numbers and compare with filter."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", "-y", help="Overwrite an existing output.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the matrix and its facts as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the matrix without the facts.")] = False,
    debug: Debug = False,
) -> None:
    """Write a convolution as a matrix W, so that the output is W vec(X).

    A dot is an entry that no tap makes; a 0 is a weight of zero. Lines part the
    blocks: one block is one row of the output against one row of the input.

    \b
    Examples:
      convcli matrix --input 5 -k 3
      convcli matrix --input 4x4 -k "1,2;3,4" -o W.npz
      convcli matrix --input 5 -k 3 --padding full --flip
      convcli matrix --input 3 -k 3 --transpose
      convcli matrix --input 4x4 -k 3x3 --pad-mode circular
    """
    size = None if input is None else parse_size(input, "input")
    if size is None and verify is None:
        raise UsageError("--input says how large the input is, such as --input 4x4 (or give --verify FILE)")
    moded = pad_mode is not None or pad_value is not None
    if (
        padding is None and moded and not transpose
    ):  # 0 is the default of this command, but a mode means filter's
        padding = "same"
    settings = parse_settings(
        stride,
        padding,
        pad_mode,
        pad_value,
        dilation,
        flip=flip,
        transpose=transpose,
        output_padding=output_padding,
    )
    request = Request(size, kernel, settings, output, verify, force, quiet, as_json)
    from convcli.cli.matrix.work import make

    make(request)
