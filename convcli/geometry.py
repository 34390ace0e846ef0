"""Where things are along an axis: sizes, padding, windows, and which inputs an output of a chain needs.

The one door to this arithmetic for the ``shape`` command, the block runner's halos and the engines' padding:
names of padding become numbers here, and windows become chains.  One axis at a time, the standard library
alone; no arrays, no files.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import gcd
from typing import TypeVar

from convcli.errors import UsageError
from convcli.frozen import frozen
from convcli.padding import (
    Padding,
    PaddingName,
    PadMode,
    at_least,
    parse_pad_mode,
    parse_padding,
    source_index,
)
from convcli.windows import TransposedWindow, Window

__all__ = [
    "Field",
    "PadMode",
    "Padding",
    "PaddingName",
    "TransposedWindow",
    "Window",
    "parse_numbers",
    "parse_pad_mode",
    "parse_padding",
    "per_axis",
    "source_index",
    "transposed_window",
    "window",
]

T = TypeVar("T")


def _resolved_origin(kernel: int, origin: int | None) -> int:
    if origin is None:
        return (kernel - 1) // 2
    if not 0 <= origin < kernel:
        raise UsageError(f"origin {origin} lies outside a kernel of {kernel}: use 0 to {kernel - 1}")
    return origin


def window(
    n: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: Padding = (0, 0),
    dilation: int = 1,
    origin: int | None = None,
    ceil: bool = False,
) -> Window:
    """Return the window for ``n`` elements with its padding worked out.

    For a kernel of k taps, dilation d, stride s, extent d * (k - 1) + 1:

    ============  =====================================================================================
    valid         none
    full          d * (k - 1) on both sides: every window that touches the data
    same          d * origin before, the rest of d * (k - 1) after, whatever the stride: ceil(n / s) outputs
    same-lower    ONNX and TensorFlow: as little as gives ceil(n / s) outputs; an odd one goes before
    same-upper    the same, an odd one goes after
    tail          d * (k - 1) after
    ============  =====================================================================================

    ``origin`` is the tap that sits on the output's own position, by default (k - 1) // 2.

    >>> window(7, 4, padding=PaddingName.SAME)
    Window(kernel=4, stride=1, dilation=1, before=1, after=2, ceil=False)
    >>> window(6, 3, stride=2, padding=PaddingName.SAME_UPPER)
    Window(kernel=3, stride=2, dilation=1, before=0, after=1, ceil=False)
    """
    origin = _resolved_origin(kernel, origin)
    plain = Window(kernel, stride, dilation, ceil=ceil)  # checks the numbers before they are used
    reach = plain.extent - 1
    match padding:
        case PaddingName.VALID:
            before, after = 0, 0
        case PaddingName.FULL:
            before, after = reach, reach
        case PaddingName.SAME:
            before, after = dilation * origin, reach - dilation * origin
        case PaddingName.TAIL:
            before, after = 0, reach
        case PaddingName.SAME_LOWER | PaddingName.SAME_UPPER:
            outputs = -(-n // stride)
            before, after = _halves(max((outputs - 1) * stride + plain.extent - n, 0), padding)
        case (before, after):
            pass
    return Window(kernel, stride, dilation, before, after, ceil)


def transposed_window(
    n: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: Padding = (0, 0),
    dilation: int = 1,
    output_padding: int = 0,
    origin: int | None = None,
) -> TransposedWindow:
    """Return the transposed window for ``n`` elements with its cropping worked out.

    ``valid`` crops nothing.  ``same`` puts the origin of input i on output i * stride and keeps n * stride
    outputs.  ``same-lower`` and ``same-upper`` keep n * stride outputs as ONNX's ConvTranspose does: the crop
    is halved, an odd one goes before or after.  ``full`` and ``tail`` are refused: they only add.

    >>> transposed_window(4, 3, stride=2, padding=PaddingName.SAME).output_size(4)
    8
    """
    origin = _resolved_origin(kernel, origin)
    plain = TransposedWindow(kernel, stride, dilation, output_padding=output_padding)
    reach = plain.extent - 1
    match padding:
        case PaddingName.VALID:
            before, after = 0, 0
        case PaddingName.SAME:
            if output_padding:
                raise UsageError(
                    f"output padding {output_padding} cannot be combined with padding same, "
                    f"which keeps input times stride ({n * stride}): leave one of them out"
                )
            before, after, output_padding = dilation * origin, reach - dilation * origin, stride - 1
        case PaddingName.SAME_LOWER | PaddingName.SAME_UPPER:
            surplus = plain.output_size(n) - n * stride
            before, after = _halves(max(surplus, 0), padding)
            output_padding += max(-surplus, 0)
        case PaddingName.FULL | PaddingName.TAIL:
            raise UsageError(
                f"padding {padding} has no meaning for a transposed convolution, where padding crops: "
                "use valid, same, same-lower, same-upper or numbers"
            )
        case (before, after):
            pass
    return TransposedWindow(kernel, stride, dilation, before, after, output_padding)


def _halves(total: int, padding: PaddingName) -> tuple[int, int]:
    small = total // 2
    return (small, total - small) if padding is PaddingName.SAME_UPPER else (total - small, small)


PHASES = 4096  # outputs that `Field.size` looks at, enough for transposed strides of up to this in all


@frozen
class Field:
    """The part of the first input that an output of a chain of windows sees: its receptive field.

    The centre of the field of output ``o`` is ``start + o * jump`` (first input element = 0).  After
    transposed windows both can be fractions, neighbouring outputs see differently many inputs, and that line
    misses their centres by less than half the jump before each transposed window.  Formulas: Araujo, Norris
    and Sim, "Computing receptive fields of convolutional neural networks", Distill (2019).

    >>> field = Field().through(Window(3, stride=2, before=1, after=1)).through(Window(3))
    >>> field.size, int(field.jump), int(field.start)
    (7, 2, 2)
    """

    windows: tuple[Window | TransposedWindow, ...] = ()
    jump: Fraction = Fraction(1)
    start: Fraction = Fraction(0)

    def through(self, window: Window | TransposedWindow) -> Field:
        """Return the field behind one more window."""
        centre = Fraction(window.extent - 1, 2) - window.before  # of the window, from the first element
        if isinstance(window, Window):
            start, jump = self.start + centre * self.jump, self.jump * window.stride
        else:
            jump = self.jump / window.stride
            start = self.start - centre * jump
        return Field((*self.windows, window), jump, start)

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first input's elements ``lo:hi`` that the last outputs ``start:stop`` need.

        >>> Field().through(Window(3)).through(Window(5, before=2, after=2)).input_range(0, 10)
        (-2, 14)
        """
        for window in reversed(self.windows):
            start, stop = window.input_range(start, stop)
        return start, stop

    @property
    def size(self) -> int:
        """The largest number of neighbouring inputs that one output sees."""
        ranges = (self.input_range(output, output + 1) for output in range(min(self._period, PHASES)))
        return max(hi - lo for lo, hi in ranges)

    @property
    def _period(self) -> int:
        """After how many outputs the fields repeat, moved by whole elements."""
        period = 1
        for window in self.windows:
            if isinstance(window, TransposedWindow):
                period *= window.stride
            else:
                period //= gcd(period, window.stride)
        return period


def per_axis(values: tuple[T, ...], rank: int, what: str) -> tuple[T, ...]:
    """Return one value for each of ``rank`` axes: a single one stands for all.

    >>> per_axis((2,), 3, "stride")
    (2, 2, 2)
    """
    if len(values) == 1:
        return values * rank
    if len(values) != rank:
        shown = ",".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values)
        axes = "1 axis" if rank == 1 else f"{rank} axes"
        raise UsageError(
            f"{what} {shown} has {len(values)} values for {axes}: give one, or one for each axis"
        )
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
        at_least(what, int(part), minimum)
        numbers.append(int(part))
    return tuple(numbers)
