"""The compiled loops: found beside this module, loaded once, or not there.

`hatch_build.py` compiles them.  Without them numpy and torch do everything, only slower.
"""

import ctypes
import os
from functools import cache
from pathlib import Path

from convcli.common import frozen

ABI = 8
NAME = "librows.so"  # on every system: it is loaded by its path
VARIABLE = "CONVCLI_NATIVE"
WIDTHS = (64, 32, 16)  # bytes of a vector

_NUMBERS = (
    "x_type y_type lanes form combine reduce scale items maps channels "
    "size:3 kernel:3 stride:3 dilation:3 pixel x_item x_channel x_z x_y y_item y_map y_z y_y "
    "finite with_sign is_rendered is_rounded is_absolute fits steps lines"
)


def _fields() -> list[tuple[str, type]]:
    """Return the fields of ``Job`` in ``rows.h``."""
    fields: list[tuple[str, type]] = [(name, ctypes.c_void_p) for name in ("x", "y", "weights", "bias")]
    fields.append(("source", ctypes.c_void_p * 3))
    for text in _NUMBERS.split():
        name, _, count = text.partition(":")
        fields.append((name, ctypes.c_int64 * int(count) if count else ctypes.c_int64))
    fields += [("ranks", ctypes.c_void_p), ("rank_steps", ctypes.c_int64 * 5)]
    fields += [
        (name, ctypes.c_double)
        for name in ["factor", "fill", "anchor", "width", "times", "offset", "low", "top"]
    ]
    return [*fields, ("clipped", ctypes.c_int64), ("nans", ctypes.c_int64)]


class Job(ctypes.Structure):
    """One call: what it works on, and what it counted.  `rows.h` says what each field means."""

    _fields_ = _fields()


@frozen
class Loops:
    """The loaded library.

    Attributes
    ----------
    handle : ctypes.CDLL
    width : int
        Bytes of the vectors that are used.
    """

    handle: ctypes.CDLL
    width: int

    def run(self, job: Job) -> None:
        """Do a job; Python's lock is free meanwhile.

        Raises
        ------
        MemoryError
        """
        if self.handle.convcli_run(ctypes.byref(job), self.width):
            raise MemoryError("no memory for the rows of a convolution")

    def run_elsewhere(self, job: Job, x: int, y: int) -> None:
        """Do a job on data that lie ``x`` bytes further, with its results ``y`` bytes further; the job stays as it is.

        Raises
        ------
        MemoryError
        """
        if self.handle.convcli_run_elsewhere(ctypes.byref(job), x, y, self.width):
            raise MemoryError("no memory for the rows of a convolution")


def load(asked: str = "") -> Loops | None:
    """Return the loops; None where there are none for this processor, or others than this module knows.

    Parameters
    ----------
    asked : str
        ``0`` for none, or the bytes of the vectors to use: ``16``, ``32`` or ``64``; otherwise the widest.
    """
    path = Path(__file__).with_name(NAME)
    if asked == "0" or not path.exists():
        return None
    try:
        handle = ctypes.CDLL(str(path))
        fits = handle.convcli_abi() == ABI * 10_000 + ctypes.sizeof(Job)
        handle.convcli_run_elsewhere.argtypes = [
            ctypes.c_void_p,
            ctypes.c_int64,
            ctypes.c_int64,
            ctypes.c_int,
        ]
    except (OSError, AttributeError):  # of another system, or no library at all
        return None
    widths = [width for width in WIDTHS if asked in ("", str(width)) and handle.convcli_has(width)]
    return Loops(handle, widths[0]) if fits and widths else None


def absence() -> str:
    """Return why there are no loops, and what to do."""
    if os.environ.get(VARIABLE) == "0":
        return f"switched off by {VARIABLE}=0"
    return "none; with a C compiler, pip install . from a clone builds them. All else works, only slower"


def run(job: Job) -> None:
    """Do a job with the loops, which are there."""
    found = loops()
    assert found is not None
    found.run(job)


@cache
def loops() -> Loops | None:
    """Return the loops that this process uses: those that ``CONVCLI_NATIVE`` asks for, once."""
    asked = os.environ.get(VARIABLE, "")
    return load(asked if asked in ("0", "16", "32", "64") else "")
