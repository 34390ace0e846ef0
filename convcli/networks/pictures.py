"""Feature maps as a picture: a sheet of panels, each with its channel's number and range, in a colour map.

Arrays in, an array of pixels out; Pillow draws the letters.  No files.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convcli.common import UsageError, frozen_identity
from convcli.pixels.colours import FAINT, INK, PAPER, Colour, table, text_width, write

if TYPE_CHECKING:
    from PIL.Image import Image

SMALL, LARGE = 128, 256  # pixels: tiles are magnified by whole numbers up to about one, reduced to the other
GAP, LINE = 12, 33  # around a panel, and its words
PLAIN, FINE = 13.0, 11.0  # sizes of letters
MISSING = (255, 0, 255)


def colour(values: np.ndarray, colours: str) -> np.ndarray:
    """Return 8-bit (…, 3) for values from 0 to 1 in a colour map; NaN is magenta."""
    places = np.rint(np.clip(np.nan_to_num(values, nan=0.0), 0, 1) * 255).astype(np.uint8)
    pixels = table(colours)[places]
    pixels[np.isnan(values)] = MISSING
    return pixels


def normalised(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return values stretched to 0…1, and the smallest and largest finite one; a flat map becomes 0."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    width = high - low
    with np.errstate(invalid="ignore"):
        return (np.clip(values, low, high) - low) / (width or 1.0), low, high


@frozen_identity
class Panel:
    """A picture on a sheet, with two lines of words over it."""

    title: str
    remark: str
    picture: "Image"
    ink: Colour = INK


def sheet(panels: Sequence[Panel], across: int, title: str = "", beside: Panel | None = None) -> np.ndarray:
    """Lay panels out in rows of ``across``, one at the left of them all; return pixels (Y, X, 3), uint8."""
    from PIL import Image

    width = max(
        max(one.picture.width, text_width(one.title, PLAIN), text_width(one.remark, FINE)) for one in panels
    )
    height = LINE + max(one.picture.height for one in panels)
    left, top = (beside.picture.width + 3 * GAP if beside else GAP), (GAP + 21 if title else GAP)
    size = (left + across * (width + GAP), top + -(-len(panels) // across) * (height + GAP))
    page = Image.new("RGB", (max(size[0], text_width(title, PLAIN) + 2 * GAP), size[1]), PAPER)
    write(page, (GAP, 6), title, INK, PLAIN)
    corners = [
        (left + n % across * (width + GAP), top + n // across * (height + GAP)) for n, _ in enumerate(panels)
    ]
    placed = [*zip(corners, panels, strict=True), *([((GAP, top), beside)] if beside else [])]
    for (x, y), one in placed:
        write(page, (x, y), one.title, one.ink, PLAIN)
        write(page, (x, y + 17), one.remark, FAINT, FINE)
        page.paste(one.picture, (x, y + LINE))
    return np.asarray(page)


def grid(
    maps: np.ndarray,
    *,
    count: int = 16,
    colours: str = "viridis",
    title: str = "",
    beside: np.ndarray | None = None,
) -> np.ndarray:
    """Draw feature maps.

    Parameters
    ----------
    maps
        (channels, *space); signals are drawn as lines, of volumes the middle slice.  Each map is stretched to
        its own range, which stands above it.
    count
        How many of the first channels.
    beside
        The input, (1 or 3 channels, *space), drawn at the left; colours as they are, one channel in grey.

    Returns
    -------
    ndarray
        Pixels (Y, X, 3), uint8.
    """
    from PIL import Image

    if maps.ndim < 2:
        raise UsageError(f"{maps.shape[0]} flat numbers make no maps: choose a layer before flatten")
    panels = []
    for index, values in enumerate(maps[:count]):
        parts, low, high = normalised(_flat(values))
        if values.ndim == 1:
            picture = _line(parts[0], low, high)
        else:
            picture = Image.fromarray(colour(_scaled(parts, SMALL, LARGE), colours))
        panels.append(Panel(f"Channel {index}", f"{low:.2g} … {high:.2g}", picture))
    across = math.ceil(math.sqrt(len(panels)))
    room = -(-len(panels) // across) * (panels[0].picture.height + LINE + GAP) - GAP - LINE
    left = None if beside is None else Panel("Input", "", _input(beside, max(SMALL, min(room, 2 * LARGE))))
    return sheet(panels, across, title, left)


def _flat(values: np.ndarray) -> np.ndarray:
    """Return one plane: a signal as a row, of more axes the middle slice of the first ones."""
    while values.ndim > 2:
        values = values[len(values) // 2]
    return np.atleast_2d(values)


def _scaled(plane: np.ndarray, small: int, large: int) -> np.ndarray:
    """Return a plane magnified by whole numbers to about ``small`` pixels along its longer side, or reduced."""
    from PIL import Image

    longest = max(plane.shape)
    if longest <= large:
        zoom = max(min(round(small / longest), large // longest), 1)
        return plane.repeat(zoom, 0).repeat(zoom, 1)
    height, width = (max(1, round(n * large / longest)) for n in plane.shape)
    return np.asarray(Image.fromarray(plane.astype(np.float32)).resize((width, height), Image.Resampling.BOX))


def _line(parts: np.ndarray, low: float, high: float) -> "Image":
    """A signal as a line, with its zero where that lies within."""
    from PIL import Image, ImageDraw

    width, height = LARGE, SMALL // 2
    picture = Image.new("RGB", (width, height), (245, 245, 245))
    draw = ImageDraw.Draw(picture)

    def level(part: float) -> float:
        return (1 - part) * (height - 3) + 1

    if low < 0 < high:
        draw.line((0, level(-low / (high - low)), width, level(-low / (high - low))), fill=(200, 200, 200))
    step = (width - 1) / max(len(parts) - 1, 1)
    points = [(index * step, level(float(part))) for index, part in enumerate(parts) if math.isfinite(part)]
    if len(points) > 1:
        draw.line(points, fill=(49, 104, 142))
    return picture


def _input(values: np.ndarray, most: int) -> "Image":
    """The input, at most so high and wide."""
    from PIL import Image

    if values.ndim == 2:
        return _line(*normalised(values[0]))
    channels = range(3) if len(values) >= 3 else [0] * 3
    parts, _, _ = normalised(np.stack([_flat(values[channel]) for channel in channels]))
    planes = [_scaled(plane, most, most) for plane in np.nan_to_num(parts)]
    return Image.fromarray(np.rint(np.stack(planes, axis=-1) * 255).astype(np.uint8))
