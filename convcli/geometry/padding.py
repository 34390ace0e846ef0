"""What padding can be: how much (a name, or numbers) and what stands in it (a mode).

A new padding mode is one row of `PadMode` and its rule.  How much a name comes to for a given kernel and stride
is worked out in `geometry`; no arrays here.
"""

import re
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from itertools import chain

from convcli.common import UsageError, frozen, in_range, parse_choice

Sources = tuple[tuple[int, int], ...]
"""Samples and their integer weights: what stands at a position is the sum of the products."""


def _nothing(_: int, __: int) -> Sources:
    return ()


def _nearest(i: int, n: int) -> Sources:
    return ((min(max(i, 0), n - 1), 1),)


def _mirrored(i: int, n: int) -> Sources:
    period = max(2 * (n - 1), 1)
    return ((min(i % period, -i % period), 1),)


def _mirrored_with_edge(i: int, n: int) -> Sources:
    return ((min(i % (2 * n), (-1 - i) % (2 * n)), 1),)


def _repeated(i: int, n: int) -> Sources:
    return ((i % n, 1),)


def _mirrored_about_edge(i: int, n: int) -> Sources:
    """Turn the data by half a circle about an edge sample, again and again: a period rises twice as far as they do."""
    last = n - 1
    periods, place = divmod(i, max(2 * last, 1))
    turned = place > last
    weights = {2 * last - place: -1} if turned else {place: 1}
    for edge, weight in ((last, 2 * (periods + turned)), (0, -2 * periods)):
        weights[edge] = weights.get(edge, 0) + weight
    return tuple((sample, weight) for sample, weight in weights.items() if weight)


@frozen
class _Rule:
    """What is true of one mode; `PadMode` says what the fields mean."""

    _outside: Callable[[int, int], Sources]
    fills: bool = False
    takes_value: bool = False
    periodic: bool = False
    stays_in_range: bool = True


class PadMode(StrEnum):
    """What stands where the data ends.

    With the data ``1234`` and two elements of padding on each side::

        zero       00|1234|00
        constant   cc|1234|cc
        replicate  11|1234|44
        reflect    32|1234|32    the edge is not repeated (numpy "reflect", torch "reflect", scipy "mirror")
        symmetric  21|1234|43    the edge is repeated (numpy "symmetric", scipy "reflect")
        circular   34|1234|12

    ``antireflect`` continues the slope of the data: 7 9 after ``1 3 5``, by reflection about the edge sample in place
    and value (numpy "reflect" with ``reflect_type="odd"``, PyWavelets "antireflect").

    Attributes
    ----------
    fills : bool
        Whether a fill value stands outside, and none of the samples.
    takes_value : bool
        Whether the fill value is the user's to choose.
    periodic : bool
        Whether the data begin again where they end.
    stays_in_range : bool
        Whether what stands outside lies between the smallest and the largest sample (or is the fill value).

    >>> PadMode("reflect"), PadMode.REFLECT.sources(-2, 4)
    (<PadMode.REFLECT: 'reflect'>, ((2, 1),))
    """

    ZERO = "zero", _Rule(_nothing, fills=True)
    CONSTANT = "constant", _Rule(_nothing, fills=True, takes_value=True)
    REPLICATE = "replicate", _Rule(_nearest)
    REFLECT = "reflect", _Rule(_mirrored)
    SYMMETRIC = "symmetric", _Rule(_mirrored_with_edge)
    CIRCULAR = "circular", _Rule(_repeated, periodic=True)
    ANTIREFLECT = "antireflect", _Rule(_mirrored_about_edge, stays_in_range=False)

    fills: bool
    takes_value: bool
    periodic: bool
    stays_in_range: bool
    _outside: Callable[[int, int], Sources]

    def __new__(cls, name: str, rule: _Rule) -> "PadMode":
        """Make a member that is its name."""
        mode = str.__new__(cls, name)
        mode._value_ = name
        vars(mode).update(vars(rule))
        return mode

    def sources(self, i: int, n: int) -> Sources:
        """Return which of ``n`` samples stand at position ``i``, however far outside it lies, and their weights.

        The first one gives its place, in labels and times.  Nothing is returned where the fill value stands, or
        where there are no samples at all.

        >>> "".join("1234"[PadMode.REFLECT.sources(i, 4)[0][0]] for i in range(-5, 9))
        '23432123432123'
        """
        if 0 <= i < n:
            return ((i, 1),)
        return self._outside(i, n) if n else ()

    def fill(self, value: float) -> float:
        """Return what stands where no sample does, with ``value`` as the user's fill value."""
        return value if self.takes_value else 0.0

    @lru_cache(maxsize=256)
    def support(self, lo: int, hi: int, n: int) -> tuple[int, int]:
        """Return the stretch ``a:b`` of ``n`` samples from which ``lo:hi`` can be padded alone.

        Padding the stretch by itself then gives what padding all of the data would; where ``lo:hi`` touches the
        data, no shorter one does.  It holds every sample that stands between the data and the ends of ``lo:hi``.

        >>> PadMode.ZERO.support(-2, 6, 100), PadMode.REFLECT.support(-2, 2, 100)
        ((0, 6), (0, 3))
        """
        if 0 <= lo < hi <= n:
            return lo, hi
        last = max(min(hi, n), 1) - 1
        first = min(max(lo, 0), last)
        # Farther out the same samples stand again
        outside = chain(range(max(lo, -2 * n), 0), range(n, min(hi, 3 * n)))
        found = [first, last, *(sample for i in outside for sample, _ in self.sources(i, n))]
        return min(found), max(found) + 1

    def gain(self, lo: int, hi: int, n: int) -> int:
        """Return the largest sum of absolute weights at any position from the data to the ends of ``lo:hi``.

        The weights of a position must have the sum 1, or there are none: values then spread over at most this many
        times the range of the data, around the same middle.

        >>> PadMode.REFLECT.gain(-2, 6, 4)
        1
        """
        if self.stays_in_range:
            return 1
        # Weights only grow with each period, of less than 2 n
        outside = chain(range(lo, min(lo + 2 * n, 0)), range(max(hi - 2 * n, n), hi))
        return max((sum(abs(weight) for _, weight in self.sources(i, n)) for i in outside), default=1)


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
        if part.lower() in (*PadMode, *ELSEWHERE):
            raise UsageError(f"padding {text!r} says what lies outside: give --pad-mode {part}")
        names = ", ".join(PaddingName)
        raise UsageError(f"padding {text!r} is unknown: use {names}, a number, or before:after such as 1:0")
    before, after = int(match[1]), int(match[2] or match[1])
    in_range(min(before, after), "padding", 0)
    return before, after


ELSEWHERE = {
    "edge": PadMode.REPLICATE,  # numpy, scikit-image, ImageMagick
    "nearest": PadMode.REPLICATE,  # scipy
    "wrap": PadMode.CIRCULAR,  # numpy, scipy, scikit-image
    "mirror": PadMode.REFLECT,  # scipy
    "grid-constant": PadMode.CONSTANT,
    "grid-mirror": PadMode.SYMMETRIC,
    "grid-wrap": PadMode.CIRCULAR,
    "border_constant": PadMode.CONSTANT,  # OpenCV
    "border_replicate": PadMode.REPLICATE,
    "border_reflect": PadMode.SYMMETRIC,
    "border_reflect_101": PadMode.REFLECT,
    "border_wrap": PadMode.CIRCULAR,
}


def parse_pad_mode(text: str) -> "PadMode":
    """Read the name of a padding mode, or what other tools call it; ``reflect`` is numpy's, scipy's is ``symmetric``.

    >>> parse_pad_mode("reflect"), parse_pad_mode("BORDER_WRAP")
    (<PadMode.REFLECT: 'reflect'>, <PadMode.CIRCULAR: 'circular'>)
    """
    return ELSEWHERE.get(text.lower()) or parse_choice(PadMode, text, "pad mode")
