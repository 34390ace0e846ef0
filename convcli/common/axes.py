"""Numbers for each axis: read from text, one standing for all."""

import re
from typing import TypeVar

from convcli.common.errors import UsageError
from convcli.common.numbers import counted, in_range

T = TypeVar("T")


def per_axis(values: tuple[T, ...], rank: int, what: str) -> tuple[T, ...]:
    """Return one value for each of ``rank`` axes: a single one stands for all.

    >>> per_axis((2,), 3, "stride")
    (2, 2, 2)
    """
    if len(values) == 1:
        return values * rank
    if len(values) != rank:
        shown = ",".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values)
        many = f"{counted(len(values), 'value')} for {counted(rank, 'axis', 'axes')}"
        raise UsageError(f"{what} {shown} has {many}: give one, or one for each axis")
    return values


def parse_numbers(text: str, what: str, minimum: int = 1) -> tuple[int, ...]:
    """Read whole numbers of one or more axes, e.g. ``2``, ``2,1`` or ``2x1``.

    >>> parse_numbers("5x3", "kernel")
    (5, 3)
    """
    numbers = []
    for part in re.split("[,x]", text):
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", part):
            raise UsageError(f"{what} {text!r} is not a number, nor one for each axis such as 2 or 2,1")
        numbers.append(in_range(int(part), what, minimum))
    return tuple(numbers)
