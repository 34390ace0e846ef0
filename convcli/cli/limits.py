"""The options that bound what a file may demand, shared by the commands that read pictures and clips."""

from __future__ import annotations

from typing import Annotated

import typer

from convcli.errors import UsageError

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
