"""``convcli matrix``: the command line.  The work is in `convcli.cli.matrix_work`, loaded once this makes sense."""

from dataclasses import dataclass
from typing import Annotated

import typer

from convcli.chain import Settings
from convcli.cli.filter import complete_kernel
from convcli.cli.report import Debug
from convcli.errors import UsageError
from convcli.geometry import PaddingName, parse_numbers, parse_pad_mode, parse_padding
from convcli.layers import parse_size
from convcli.numerals import parse_float


@dataclass(frozen=True)
class Request:
    """A parsed command line of ``matrix``; ``size`` is channels and space sizes."""

    size: tuple[int | None, tuple[int, ...]] | None
    kernel: str
    settings: Settings
    output: str | None
    verify: str | None
    force: bool
    quiet: bool
    json: bool


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
    stride: Annotated[str | None, typer.Option(help="Step of the window: 2, or 2,1 for each axis.")] = None,
    padding: Annotated[
        str | None,
        typer.Option(help="Number, before:after, valid, full, same... Default: 0 (same with --pad-mode)."),
    ] = None,
    pad_mode: Annotated[
        str | None, typer.Option(help="zero, constant, replicate, reflect, symmetric or circular.")
    ] = None,
    pad_value: Annotated[str | None, typer.Option(help="What constant padding holds.")] = None,
    dilation: Annotated[str | None, typer.Option(help="Distance between the kernel's taps.")] = None,
    flip: Annotated[
        bool | None, typer.Option("--flip/--no-flip", help="True convolution; without it cross-correlation.")
    ] = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="Of the transposed convolution; padding crops.")
    ] = False,
    output_padding: Annotated[str, typer.Option(help="Extra elements at the end, with --transpose.")] = "0",
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
    amount = None if padding is None else parse_padding(padding)
    if amount is None:  # 0 is the default of this command; a mode without an amount means as much as filter's
        named = pad_mode is not None or pad_value is not None
        amount = (PaddingName.SAME,) if named and not transpose else None
    settings = Settings(
        stride=None if stride is None else parse_numbers(stride, "stride"),
        padding=amount,
        pad_mode=None if pad_mode is None else parse_pad_mode(pad_mode),
        pad_value=None if pad_value is None else parse_float(pad_value, "pad value"),
        dilation=None if dilation is None else parse_numbers(dilation, "dilation"),
        flip=flip,
        transposed=transpose,
        output_padding=parse_numbers(output_padding, "output padding", minimum=0),
    )
    request = Request(size, kernel, settings, output, verify, force, quiet, as_json)
    from convcli.cli.matrix_work import make

    make(request)
