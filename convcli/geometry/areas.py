"""Where in a picture to work: rectangles, polygons and the marked pixels of other pictures."""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from convcli.common import UsageError, frozen, quoted
from convcli.data import Box

if TYPE_CHECKING:
    import numpy as np


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

    def mask(self, height: int, width: int, box: Box | None = None) -> "np.ndarray":
        """Return which pixels (Y, X) of a picture, or of a box of it, lie inside.

        Raises
        ------
        UsageError
            When a corner lies outside the picture.
        """
        import numpy as np

        if any(x > width or y > height for x, y in self.corners):
            raise UsageError(f"{self.name} lies outside the picture of {width} x {height}")
        (top, bottom), (left, right) = box or ((0, height), (0, width))
        rows, columns = np.ogrid[top:bottom, left:right]
        inside = np.zeros((bottom - top, right - left), bool)
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

    def mask(self, height: int, width: int, box: Box | None = None) -> "np.ndarray":
        """Return ``marked``, or a box of it; refuse a picture of another size (UsageError)."""
        if self.marked.shape != (height, width):
            other = " x ".join(map(str, self.marked.shape[::-1]))
            raise UsageError(f"{self.name} is a mask of {other}, and the picture has {width} x {height}")
        (top, bottom), (left, right) = box or ((0, height), (0, width))
        return self.marked[top:bottom, left:right]


@frozen
class Areas:
    """Where to work: inside any of some regions, everywhere if there are none, but not inside what is ignored."""

    regions: tuple[Polygon | Stencil, ...] = ()
    ignored: tuple[Polygon | Stencil, ...] = ()

    def mask(self, height: int, width: int, box: Box | None = None) -> "np.ndarray":
        """Return which pixels (Y, X) of a picture, or of a box of it, count.

        Raises
        ------
        UsageError
            When an area does not fit the picture, or no pixel of the whole picture is left.
        """
        import numpy as np

        (top, bottom), (left, right) = box or ((0, height), (0, width))
        inside = np.full((bottom - top, right - left), not self.regions)
        for region in self.regions:
            inside |= region.mask(height, width, box)
        for region in self.ignored:
            inside &= ~region.mask(height, width, box)
        if box is None and not inside.any():
            which = "--region and --ignore leave" if self.ignored else "--region holds"
            raise UsageError(f"{which} no pixel")
        return inside


def parse_region(
    text: str, what: str = "region", mask: Callable[[str], "np.ndarray"] | None = None
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
    raise UsageError(f"{name}: give x,y,width,height, corners 'x,y x,y x,y', or a mask picture")
