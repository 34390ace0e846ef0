"""What type and range an output gets: from the option, the kernel, the input's type and what the format holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from convcli.common.choices import Precision
from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.kernel.model import Kernel
from convcli.pixels.ranges import Clip, Float, Range

PIXELS = ("uint8", "uint16")

LEAST, MOST = 1e-30, 1e30  # between them is a kernel's largest weight that float32 holds, with room for sums


@frozen
class Choice:
    """How values are computed and written; types are numpy type names."""

    policy: Range
    dtype: str
    compute: str


def compute_type(dtype: str, precision: Precision) -> str:
    """Return the arithmetic's type for an input's.

    >>> compute_type("uint8", Precision.AUTO), compute_type("int32", Precision.AUTO)
    ('float32', 'float64')
    """
    if precision is not Precision.AUTO:
        return precision.value
    kind = np.dtype(dtype)
    wide = (kind.kind == "f" and kind.itemsize >= 8) or (kind.kind in "iu" and kind.itemsize >= 4)
    return "float64" if wide else "float32"


def decide(
    asked: Range | None,
    kernels: Sequence[Kernel],
    dtype: str,
    holds: Sequence[str],
    keeps_numbers: bool,
    precision: Precision,
) -> Choice:
    """Decide policy and types of one output.

    Parameters
    ----------
    asked : Range or None
        What ``--range`` says.
    kernels : sequence of Kernel
        The last one's display policy is the default for pictures.
    dtype : str
        The input's type.
    holds : sequence of str
        The types that the output's format stores.
    keeps_numbers : bool
        Whether the format is for numbers (.npy, tables), so that floats are its default.

    Raises
    ------
    UsageError
        Float data for a format of integers and no ``--range``; ``float`` for such a format.

    >>> decide(None, [], "uint8", ("uint8",), False, Precision.AUTO).dtype
    'uint8'
    """
    compute = compute_type(dtype, precision)
    if precision is Precision.AUTO and any(_beyond_float32(kernel) for kernel in kernels):
        compute = "float64"
    floats = compute in holds
    integer = np.dtype(dtype).kind in "iu"
    if asked is None:
        if keeps_numbers or (floats and not integer):
            return Choice(Float(), compute, compute)
        if dtype not in holds and dtype not in PIXELS:
            raise UsageError(
                f"{dtype} data as pixels of {holds[0]} needs --range: minmax, percentile, a window LO:HI, "
                "clip, abs or offset"
            )
        display = kernels[-1].display_policy if kernels else Clip()
        return Choice(display, dtype, compute)
    if asked.keeps_numbers:
        if not floats:
            raise UsageError(f"--range {asked}: this format holds integers only; write .npy, .tiff or .csv")
        return Choice(asked, compute, compute)
    if integer and (dtype in holds or dtype in PIXELS):
        return Choice(asked, dtype, compute)
    return Choice(asked, compute if floats else "uint8", compute)


def _beyond_float32(kernel: Kernel) -> bool:
    """Return whether float32, which ends at 1e-38 and 1e38, would lose a kernel's weights or sums."""
    largest = max(map(abs, kernel.weights))
    return largest > 0 and not LEAST < largest < MOST
