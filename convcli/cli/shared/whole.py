"""An input that is read whole, for commands that show its numbers; and sizes that stand for 1, 2, 3, …

The main job never does this: it reads blocks.
"""

from __future__ import annotations

import re
from math import prod

import numpy as np

from convcli.cli.shared.opened import Opened, opened
from convcli.common.errors import UsageError
from convcli.data.arrays import ArraySource
from convcli.data.info import SPACE
from convcli.kernel import load_kernel
from convcli.kernel.model import MAX_RANK, Kernel
from convcli.media.options import ReadOptions


def read_whole(name: str, options: ReadOptions) -> Opened:
    """Read a file or ``-``."""
    with opened(name, options) as file:
        return file.read()


def read_items(name: str, options: ReadOptions) -> list[Opened]:
    """Read the independent items of a file, the axis N; of a file without that axis the one that it is."""
    with opened(name, options, batch=True) as file:
        return [item.read() for item in file.items()]


def numbered(channels: int | None, sizes: tuple[int, ...]) -> Opened:
    """Return an input of these sizes whose numbers are 1, 2, 3, … in every channel's order."""
    shape = sizes if channels in (None, 1) else (channels, *sizes)
    axes = "C" * (len(shape) > len(sizes)) + SPACE[-len(sizes) :]
    return Opened(ArraySource(np.arange(1.0, prod(shape) + 1).reshape(shape), axes))


def read_kernel(text: str, rank: int, *, numbers: bool) -> Kernel:
    """Return the kernel that a text means; a bare size has the weights 1, 2, 3, …

    Parameters
    ----------
    numbers : bool
        Whether a lone number is a size too (``3`` has the weights 1, 2, 3); otherwise it is a weight.

    >>> read_kernel("2x2", 2, numbers=False).weights
    (1.0, 2.0, 3.0, 4.0)
    """
    bare = re.fullmatch(r"\s*[0-9]{1,4}(x[0-9]{1,4})*\s*", text)
    if not bare or (bare[1] is None and not numbers):
        return load_kernel(text, rank)
    size = tuple(int(part) for part in text.split("x"))
    if len(size) > MAX_RANK or min(size) < 1 or prod(size) > 1_000_000:
        raise UsageError(
            f"kernel size {text.strip()!r} is not possible: give 1 to {MAX_RANK} axes of 1 or more"
        )
    return Kernel(text.strip(), (1, 1, *size), tuple(float(n) for n in range(1, prod(size) + 1)))
