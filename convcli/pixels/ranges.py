"""Range policies: how computed values are to be mapped into a picture's range.

Only their names and parameters; the mapping itself is in ``render``.  No arrays.
"""

from __future__ import annotations

import difflib
import re
from enum import StrEnum

from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.common.numbers import parse_float, quoted

_VALID = "clip, abs, offset, offset:GAIN, minmax, float, or a window LO:HI such as -10:10 or 0%:400%"
_BOUND = re.compile(r"\s*([^%\s]+)\s*(%?)\s*")


class RangeKind(StrEnum):
    """What becomes of values that do not fit the output's type."""

    CLIP = "clip"  # cut at both ends
    ABS = "abs"  # the size without the sign, then cut
    OFFSET = "offset"  # zero is mid grey: negative values darker, positive ones lighter
    WINDOW = "window"  # LO becomes black, HI white
    MINMAX = "minmax"  # the smallest value becomes black, the largest white
    FLOAT = "float"  # kept as numbers


@frozen
class Bound:
    """One end of a window: in the input's units, or in percent of the input's full scale."""

    value: float
    percent: bool = False

    def resolve(self, full_scale: float) -> float:
        """Return the bound in the input's units; `full_scale` is white, such as 255.

        >>> Bound(400, percent=True).resolve(255)
        1020.0
        """
        return self.value / 100 * full_scale if self.percent else self.value

    def __str__(self) -> str:
        return _exact_text(self.value) + ("%" if self.percent else "")


@frozen
class Range:
    """A range policy with its parameters; `parse_range` reads one from text.

    ``low`` and ``high`` belong to windows only, ``gain`` to ``offset``.
    """

    kind: RangeKind
    low: Bound | None = None
    high: Bound | None = None
    gain: float = 1.0

    def window(self, full_scale: float) -> tuple[float, float]:
        """Return a window's black and white in the input's units.

        >>> parse_range("0%:400%").window(65535)
        (0.0, 262140.0)
        """
        if self.low is None or self.high is None:
            raise UsageError(f"range {str(self)!r} is no window: it has no LO:HI")
        return self.low.resolve(full_scale), self.high.resolve(full_scale)

    def __str__(self) -> str:
        if self.kind is RangeKind.WINDOW:
            return f"{self.low}:{self.high}"
        if self.kind is RangeKind.OFFSET and self.gain != 1:
            return f"offset:{_exact_text(self.gain)}"
        return self.kind.value


def _exact_text(value: float) -> str:
    return repr(float(value)).removesuffix(".0")


def parse_range(text: str) -> Range:
    """Read a range policy: ``clip``, ``abs``, ``offset[:GAIN]``, ``LO:HI``, ``minmax`` or ``float``.

    A window's bounds are in the input's units or, with ``%``, in percent of the input's full scale,
    so that one text serves 8 and 16 bits.

    Raises
    ------
    UsageError
        For an unknown name, a gain that is not positive, a window whose LO is not below its HI.

    >>> str(parse_range("offset:2")), str(parse_range("-10:1e1"))
    ('offset:2', '-10:10')
    """
    word, colon, rest = text.strip().partition(":")
    if word == RangeKind.OFFSET:
        gain = parse_float(rest, f"the gain of range {quoted(text)}") if colon else 1.0
        if gain <= 0:
            raise UsageError(f"range {quoted(text)}: the gain must be above 0, such as offset:2")
        return Range(RangeKind.OFFSET, gain=gain)
    if not colon and word in set(RangeKind) - {RangeKind.WINDOW}:
        return Range(RangeKind(word))
    low, high = _BOUND.fullmatch(word), _BOUND.fullmatch(rest)
    if low is None or high is None or word[:1].isalpha():
        near = difflib.get_close_matches(word, [kind.value for kind in RangeKind if kind != "window"], n=1)
        hint = f"did you mean {near[0]}? It" if near and not (colon and near[0] == word) else "it"
        raise UsageError(f"range {quoted(text)} is not known: {hint} is one of {_VALID}")
    return _window(text, low, high)


def _window(text: str, low: re.Match[str], high: re.Match[str]) -> Range:
    what = f"range {quoted(text)}"
    bottom, top = parse_float(low[1], what), parse_float(high[1], what)
    if bool(low[2]) != bool(high[2]) and bottom and top:
        raise UsageError(f"{what}: give both ends in percent or neither")
    if bottom >= top:
        raise UsageError(f"{what}: LO must be below HI")
    percent = bool(low[2] or high[2])  # a plain 0 beside a percentage is 0 %
    return Range(RangeKind.WINDOW, Bound(bottom, percent), Bound(top, percent))
