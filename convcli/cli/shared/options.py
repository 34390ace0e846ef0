"""The options of a convolution's geometry and of how files are read, shared by the commands that slide kernels."""

from __future__ import annotations

from typing import Annotated

import typer

from convcli.common.choices import Frames, Reading, parse_choice
from convcli.common.errors import UsageError
from convcli.common.numbers import parse_float
from convcli.geometry.axes import parse_numbers
from convcli.geometry.grammar import parse_pool
from convcli.geometry.padding import PadMode, parse_pad_mode, parse_padding
from convcli.jobs.bind import Settings

Stride = Annotated[str | None, typer.Option(help="Step of the window: 2, or 2,1 for each axis.")]
PadModeName = Annotated[str | None, typer.Option(help=f"One of {', '.join(PadMode)}.")]
PadValue = Annotated[str | None, typer.Option(help="What constant padding holds.")]
Dilation = Annotated[str | None, typer.Option(help="Distance between the kernel's taps.")]
Bias = Annotated[str | None, typer.Option(help="Added to the result: one number, or one for each map.")]
Flip = Annotated[
    bool | None, typer.Option("--flip/--no-flip", help="True convolution; without it cross-correlation.")
]
OutputPadding = Annotated[str, typer.Option(help="Extra elements at the end, with --transpose.")]
Axis = Annotated[str | None, typer.Option(help="Axis of a 1-D kernel (y), or the axes of others (tx).")]
ChannelPolicy = Annotated[str, typer.Option(help="each, luma, grey or sum.")]
Axes = Annotated[str | None, typer.Option(help="Letters of an array's dimensions: YXC, CYX, ZYX, TYX...")]
As = Annotated[str | None, typer.Option("--as", help="matrix: read a table as one 2-D grid.")]


def parse_settings(
    stride: str | None = None,
    padding: str | None = None,
    pad_mode: str | None = None,
    pad_value: str | None = None,
    dilation: str | None = None,
    bias: str | None = None,
    flip: bool | None = None,
    transpose: bool = False,
    output_padding: str = "0",
    axis: str | None = None,
    pool: str | None = None,
) -> Settings:
    """Read the texts of these options; errors name the option's value."""
    return Settings(
        stride=None if stride is None else parse_numbers(stride, "stride"),
        padding=None if padding is None else parse_padding(padding),
        pad_mode=None if pad_mode is None else parse_pad_mode(pad_mode),
        pad_value=None if pad_value is None else parse_float(pad_value, "pad value"),
        dilation=None if dilation is None else parse_numbers(dilation, "dilation"),
        bias=None if bias is None else tuple(parse_float(part, "bias") for part in bias.split(",")),
        flip=flip,
        transposed=transpose,
        output_padding=parse_numbers(output_padding, "output padding", minimum=0),
        axis=axis,
        pool=None if pool is None else parse_pool(pool),
    )


def parse_columns(columns: str | None) -> tuple[str, ...] | None:
    """Read the names, numbers and stretches of ``--columns``."""
    return None if columns is None else tuple(part.strip() for part in columns.split(","))


def is_matrix(as_: str | None) -> bool:
    """Read ``--as``."""
    return as_ is not None and parse_choice(Reading, as_, "--as") is Reading.MATRIX


def all_frames(frames: str) -> bool:
    """Read ``--frames``."""
    return parse_choice(Frames, frames, "frames") is Frames.ALL


def complete_kernel(incomplete: str) -> list[str]:
    """Offer the library's kernels to the shell."""
    from convcli.kernel.library import names

    return [name for name in names() if name.startswith(incomplete)]


MILLION = 1_000_000


MaxPixels = Annotated[
    int,
    typer.Option(
        "--max-pixels", help="Most pixels that are decoded whole, in millions; an animation's frames add up."
    ),
]


MaxFrames = Annotated[
    int | None,
    typer.Option(
        "--max-frames", help="Most frames of a clip or an animation, or pages of a TIFF. Default: no limit."
    ),
]


def parse_max_frames(number: int | None) -> int | None:
    """Return a limit on frames.

    Raises
    ------
    UsageError
        For less than one.
    """
    if number is not None and number < 1:
        raise UsageError(f"--max-frames {number} is not possible: give 1 or more")
    return number
