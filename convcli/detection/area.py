"""How to look for motion, as a person says it: what counts, and in which parts of the picture."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from convcli.common import UsageError, frozen, in_range, parse_float, quoted
from convcli.common.options import Panel, flag, option

if TYPE_CHECKING:
    import numpy as np


@frozen
class Area:
    """A number of pixels, or a share of the picture."""

    value: float
    percent: bool = False

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


def _threshold(text: str) -> float | None:
    return None if text == "auto" else in_range(parse_float(text, "--threshold"), "--threshold", 0)


@frozen(kw_only=True)
class Watching:
    """How to look for motion.

    Attributes
    ----------
    threshold
        ``None`` is from the clip's noise.
    min_area
        Of a connected region.
    stabilise_light
        Take out what the light of the whole scene changes; with ``threshold`` ``None`` always.
    """

    panel = Panel.MOTION

    threshold: float | None = option(
        "auto (from the clip's noise), or grey levels of 255.", shown="auto", read=_threshold
    )
    min_area: Area = option(
        "Smallest motion: pixels, or a share such as 0.1%.", shown="0.02%", read=parse_area
    )
    min_duration: float = option("Shortest event, in seconds.", default=0.1, least=0)
    merge_gap: float = option("Stillness that does not end an event, in seconds.", default=0.25, least=0)
    denoise: int = option("Against sensor noise: first average this number of frames.", default=1, least=1)
    stabilise_light: bool = flag("Against flicker: take out changes of light. Part of auto.")


@frozen
class Polygon:
    """The pixels whose centres lie inside some corners.

    Attributes
    ----------
    name
        What messages call it.
    corners
        (x, y) of corners of pixels, in order; where the outline crosses itself, what it goes around twice is outside.
    """

    name: str
    corners: tuple[tuple[int, int], ...]

    def mask(self, height: int, width: int) -> "np.ndarray":
        """Return which pixels (Y, X) of a picture lie inside.

        Raises
        ------
        UsageError
            When a corner lies outside the picture.
        """
        import numpy as np

        if any(x > width or y > height for x, y in self.corners):
            raise UsageError(f"{self.name} lies outside the picture of {width} x {height}")
        rows, columns = np.ogrid[:height, :width]
        inside = np.zeros((height, width), bool)
        for (x0, y0), (x1, y1) in zip(self.corners, (*self.corners[1:], self.corners[0]), strict=True):
            if y0 != y1:  # whether a ray to the left of each centre crosses this side
                crossed = (min(y0, y1) <= rows) & (rows < max(y0, y1))
                inside ^= crossed & (columns + 0.5 > x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0))
        return inside


@frozen
class Stencil:
    """The pixels that a picture of the same size marks, (Y, X)."""

    name: str
    marked: "np.ndarray"

    def mask(self, height: int, width: int) -> "np.ndarray":
        """Return ``marked``; refuse a picture of another size (UsageError)."""
        if self.marked.shape != (height, width):
            other = " x ".join(map(str, self.marked.shape[::-1]))
            raise UsageError(f"{self.name} is a mask of {other}, and the picture has {width} x {height}")
        return self.marked


@frozen
class Areas:
    """Where to look: inside any of some regions, everywhere if there are none, but not inside what is ignored."""

    regions: tuple[Polygon | Stencil, ...] = ()
    ignored: tuple[Polygon | Stencil, ...] = ()

    def mask(self, height: int, width: int) -> "np.ndarray":
        """Return which pixels (Y, X) of a picture are looked at.

        Raises
        ------
        UsageError
            When an area does not fit the picture, or no pixel is left.
        """
        import numpy as np

        inside = np.full((height, width), not self.regions)
        for region in self.regions:
            inside |= region.mask(height, width)
        for region in self.ignored:
            inside &= ~region.mask(height, width)
        if not inside.any():
            raise UsageError("--region and --ignore leave no pixel to look at")
        return inside


def parse_region(
    text: str, what: str = "region", mask: "Callable[[str], np.ndarray] | None" = None
) -> Polygon | Stencil:
    """Read a rectangle, a polygon, or the name of a picture, which ``mask`` opens.

    >>> parse_region("10,0,64,48").corners
    ((10, 0), (74, 0), (74, 48), (10, 48))
    >>> parse_region("10,0 64,48 9,30").corners
    ((10, 0), (64, 48), (9, 30))
    """
    name = f"{what} {quoted(text)}"
    points = [point.split(",") for point in text.split()]
    if not all(part.isdecimal() for point in points for part in point):
        if mask is not None and os.path.isfile(text):  # noqa: PTH113  # pathlib raises for long names
            return Stencil(name, mask(text))
    elif [len(point) for point in points] == [4]:
        x, y, width, height = map(int, points[0])
        if width and height:
            return Polygon(name, ((x, y), (x + width, y), (x + width, y + height), (x, y + height)))
    elif len(points) >= 3 and all(len(point) == 2 for point in points):
        return Polygon(name, tuple((int(x), int(y)) for x, y in points))
    raise UsageError(
        f"{name}: give x,y,width,height in pixels, corners as 'x,y x,y x,y', or a picture whose light part it is"
    )
