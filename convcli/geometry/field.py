"""The receptive field of a chain of windows: which inputs an output sees, and where its centre lies."""

from __future__ import annotations

from fractions import Fraction
from math import gcd

from convcli.common.frozen import frozen
from convcli.geometry.windows import TransposedWindow, Window

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
        start, jump = window.places(window.centre)
        return Field((*self.windows, window), self.jump * jump, self.start + start * self.jump)

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
