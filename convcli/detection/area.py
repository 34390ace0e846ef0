"""Parts of the picture in words: areas in pixels or percent, and regions."""

from __future__ import annotations

from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.common.numbers import parse_float


@frozen
class Area:
    """A number of pixels, or a share of the picture."""

    value: float
    percent: bool

    def pixels(self, picture: int) -> float:
        """Return the number of pixels in a picture of so many.

        >>> Area(0.5, percent=True).pixels(1000)
        5.0
        """
        return self.value / 100 * picture if self.percent else self.value


def parse_area(text: str) -> Area:
    """Read pixels (``40``) or a share of the picture (``0.1%``)."""
    number = parse_float(text.removesuffix("%"), "min area")
    if number < 0:
        raise UsageError(
            f"min area {text!r}: give pixels, such as 40, or a share of the picture, such as 0.1%"
        )
    return Area(number, text.endswith("%"))


def parse_region(text: str) -> tuple[int, int, int, int]:
    """Read ``x,y,width,height``.

    >>> parse_region("10,0,64,48")
    (10, 0, 64, 48)
    """
    parts = text.split(",")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts) or min(map(int, parts[2:])) < 1:
        raise UsageError(f"region {text!r}: give x,y,width,height in pixels, such as 0,0,320,240")
    x, y, width, height = map(int, parts)
    return x, y, width, height
