"""What padding can be: how much (a name, or numbers) and what stands in it (a mode).

A new padding mode is one row of `PadMode` and one case of `source_index`.  How much a name comes to for a
given kernel and stride is worked out in `geometry`; no arrays here.
"""

from __future__ import annotations

import re
from enum import StrEnum

from convcli.common.choices import parse_choice
from convcli.common.errors import UsageError


class PadMode(StrEnum):
    """What stands where the data ends; drawn in `source_index`."""

    ZERO = "zero"
    CONSTANT = "constant"
    REPLICATE = "replicate"
    REFLECT = "reflect"
    SYMMETRIC = "symmetric"
    CIRCULAR = "circular"


def source_index(mode: PadMode, i: int, n: int) -> int | None:
    """Return which of the ``n`` elements stands at position ``i``, however far outside ``i`` lies.

    None means none of them: the fill value of zero and constant padding (or no elements at all).
    With the data ``1234`` and two elements of padding on each side::

        zero       00|1234|00
        constant   cc|1234|cc
        replicate  11|1234|44
        reflect    32|1234|32    the edge is not repeated (numpy "reflect", torch "reflect", scipy "mirror")
        symmetric  21|1234|43    the edge is repeated (numpy "symmetric", scipy "reflect")
        circular   34|1234|12

    >>> "".join("1234"[source_index(PadMode.REFLECT, i, 4)] for i in range(-5, 9))
    '23432123432123'
    """
    if n < 1:
        return None
    match mode:
        case PadMode.ZERO | PadMode.CONSTANT:
            return i if 0 <= i < n else None
        case PadMode.REPLICATE:
            return min(max(i, 0), n - 1)
        case PadMode.REFLECT:
            period = max(2 * (n - 1), 1)
            return min(i % period, -i % period)
        case PadMode.SYMMETRIC:
            return min(i % (2 * n), (-1 - i) % (2 * n))
        case PadMode.CIRCULAR:
            return i % n


class PaddingName(StrEnum):
    """Amounts of padding that follow from the kernel; what each means stands in `window`."""

    VALID = "valid"
    FULL = "full"
    SAME = "same"
    SAME_LOWER = "same-lower"
    SAME_UPPER = "same-upper"
    TAIL = "tail"


Padding = PaddingName | tuple[int, int]
"""Padding of one axis: a name, or the elements (before, after) the data."""


def at_least(what: str, value: int, minimum: int) -> None:
    """Refuse a value that is too small, with its name."""
    if value < minimum:
        raise UsageError(f"{what} {value} is not possible: it must be {minimum} or more")


def parse_padding(text: str) -> tuple[Padding, ...]:
    """Read padding of one or more axes: names, numbers, or before:after, separated by ``,`` or ``x``.

    >>> parse_padding("2,1"), parse_padding("1:0,same")
    (((2, 2), (1, 1)), ((1, 0), <PaddingName.SAME: 'same'>))
    """
    return tuple(_parse_one_padding(part.strip(), text) for part in re.split("[,x]", text))


def _parse_one_padding(part: str, text: str) -> Padding:
    if part in tuple(PaddingName):
        return PaddingName(part)
    match = re.fullmatch(r"([+-]?[0-9]{1,9})(?::([+-]?[0-9]{1,9}))?", part)
    if match is None:
        names = ", ".join(PaddingName)
        raise UsageError(f"padding {text!r} is unknown: use {names}, a number, or before:after such as 1:0")
    before, after = int(match[1]), int(match[2] or match[1])
    at_least("padding", min(before, after), 0)
    return before, after


def parse_pad_mode(text: str) -> PadMode:
    """Read the name of a padding mode.

    >>> parse_pad_mode("reflect")
    <PadMode.REFLECT: 'reflect'>
    """
    return parse_choice(PadMode, text, "pad mode")
