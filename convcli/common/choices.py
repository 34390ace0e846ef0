"""Choices that a person makes by name, and how such a name is read.  No arrays, no files."""

import difflib
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from convcli.common.errors import UsageError
from convcli.common.numbers import quoted


class Channels(StrEnum):
    """What a one-channel kernel does with several channels."""

    EACH = "each"  # every channel alone
    LUMA = "luma"  # the brightness; the colours keep their differences from it
    GREY = "grey"  # the brightness alone: one channel comes out
    MEAN = "mean"  # the mean of the colours: one channel comes out
    SUM = "sum"  # the results are added up: one channel comes out


class Missing(StrEnum):
    """What a missing sample does."""

    PROPAGATE = "propagate"
    SKIP = "skip"  # normalised convolution (Knutsson and Westin 1993): the weights of what is there
    KEEP = "keep"  # the same, but what is missing itself stays missing; as propagate with negative weights
    ERROR = "error"

    @property
    def skips(self) -> bool:
        """Whether means are of what is there."""
        return self in (Missing.SKIP, Missing.KEEP)


class Distances(StrEnum):
    """Along which axis kernels weigh samples by their real distances."""

    TIME = "time"
    COUNTS = "time,counts"  # and how many samples are behind each value


class Precision(StrEnum):
    """The arithmetic's type."""

    AUTO = "auto"  # float32; float64 for tables, float64, integers of 32 bits or more, and where float32 would show
    FLOAT32 = "float32"
    FLOAT64 = "float64"


class EngineName(StrEnum):
    """What computes."""

    AUTO = "auto"  # the quicker one
    NUMPY = "numpy"
    TORCH = "torch"


class Frames(StrEnum):
    """How much of an animation or of a TIFF's pages is read."""

    FIRST = "first"
    ALL = "all"


class Reading(StrEnum):
    """What else a table can be read as."""

    MATRIX = "matrix"  # one grid of two axes, instead of columns


Choice = TypeVar("Choice")


def parse_choice(choices: Iterable[Choice], text: str, what: str) -> Choice:
    """Read the name of one of the choices, such as the members of an enum.

    Raises
    ------
    UsageError
        For any other text; the nearest name is suggested.

    >>> parse_choice(Channels, "luma", "channels")
    <Channels.LUMA: 'luma'>
    """
    names = {str(choice): choice for choice in choices}
    if text in names:
        return names[text]
    near = difflib.get_close_matches(text[:40], names, n=1)
    hint = f"did you mean {near[0]}? It" if near else "it"
    raise UsageError(f"{what} {quoted(text)} is unknown: {hint} is one of {', '.join(names)}")
