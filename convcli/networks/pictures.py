"""Feature maps as a picture: a grid of tiles, each with its channel's number and range, in viridis or grey.

Arrays in, an array of pixels out; Pillow draws the letters.  No files.
"""

import math
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from convcli.common import UsageError
from convcli.pixels.drawing import FAINT, INK, PAPER, text_width, write

if TYPE_CHECKING:
    from PIL.Image import Image

SMALL, LARGE = 128, 256  # pixels: tiles are magnified by whole numbers up to about one, reduced to the other
GAP, LINE = 10, 17  # around a tile, and a line of text
PLAIN, FINE = 13.0, 10.0  # sizes of letters
MISSING = (255, 0, 255)


class Colours(StrEnum):
    """How numbers become colours, from the smallest to the largest."""

    VIRIDIS = "viridis"
    GREY = "grey"


# 32 of the 256 colours of viridis, by Stéfan van der Walt and Nathaniel Smith (CC0); straight lines between them
# stay within 2 of 255.
_VIRIDIS = (
    "440154 470d60 48186a 482475 472e7c 453882 424186 3e4c8a 3a548c 365d8d 32658e 2e6d8e 2b758e 287d8e 25848e "
    "228c8d 1f948c 1e9c89 20a386 25ab82 2eb37c 3aba76 48c16e 58c765 69cd5b 7fd34e 93d741 a8db34 bddf26 d5e21a "
    "eae51a fde725"
)


def colour(values: np.ndarray, colours: Colours) -> np.ndarray:
    """Return 8-bit (…, 3) for values from 0 to 1; NaN is magenta."""
    clipped = np.clip(np.nan_to_num(values, nan=0.0), 0, 1)
    if colours is Colours.GREY:
        pixels = np.repeat(np.rint(clipped * 255)[..., None], 3, axis=-1)
    else:
        anchors = np.array([tuple(bytes.fromhex(text)) for text in _VIRIDIS.split()], float)
        places = np.linspace(0, 1, len(anchors))
        pixels = np.rint(np.stack([np.interp(clipped, places, part) for part in anchors.T], axis=-1))
    pixels[np.isnan(values)] = MISSING
    return pixels.astype(np.uint8)


def normalised(values: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return values stretched to 0…1, and the smallest and largest finite one; a flat map becomes 0."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    width = high - low
    with np.errstate(invalid="ignore"):
        return (np.clip(values, low, high) - low) / (width or 1.0), low, high


def grid(
    maps: np.ndarray,
    *,
    count: int = 16,
    colours: Colours = Colours.VIRIDIS,
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
    if maps.ndim < 2:
        raise UsageError(f"{maps.shape[0]} flat numbers make no maps: choose a layer before flatten")
    shown = min(count, maps.shape[0])
    tiles = [_tile(maps[index], f"Channel {index}", colours) for index in range(shown)]
    across = math.ceil(math.sqrt(shown))
    width, height = max(tile.width for tile in tiles), tiles[0].height
    rows = math.ceil(shown / across)
    top = GAP + (LINE + 4 if title else 0)
    size = (GAP + across * (width + GAP), top + rows * (height + GAP))
    left = _input(beside, size[1] - top - GAP) if beside is not None else None
    offset = left.width + 2 * GAP if left else 0
    from PIL import Image

    page = Image.new("RGB", (max(size[0] + offset, text_width(title, PLAIN) + 2 * GAP), size[1]), PAPER)
    write(page, (GAP, 6), title, INK, PLAIN)
    if left:
        page.paste(left, (GAP, top))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, across)
        page.paste(tile, (offset + GAP + column * (width + GAP), top + row * (height + GAP)))
    return np.asarray(page)


def _tile(values: np.ndarray, label: str, colours: Colours) -> "Image":
    """One map with its label above."""
    from PIL import Image

    parts, low, high = normalised(_flat(values))
    picture = _line(parts[0], low, high) if values.ndim == 1 else _picture(parts, colours)
    extent = f"{low:.2g} … {high:.2g}"
    room = text_width(label, PLAIN) + 8 + text_width(extent, FINE)
    tile = Image.new("RGB", (max(picture.width, room), picture.height + LINE), PAPER)
    write(tile, (0, 0), label, INK, PLAIN)
    write(tile, (tile.width - text_width(extent, FINE), 2), extent, FAINT, FINE)
    tile.paste(picture, (0, LINE))
    return tile


def _flat(values: np.ndarray) -> np.ndarray:
    """Return one plane: a signal as a row, of more axes the middle slice of the first ones."""
    while values.ndim > 2:
        values = values[len(values) // 2]
    return np.atleast_2d(values)


def _picture(parts: np.ndarray, colours: Colours) -> "Image":
    from PIL import Image

    height, width = parts.shape
    longest = max(height, width)
    if longest <= LARGE:
        zoom = max(1, round(SMALL / longest))
        return Image.fromarray(colour(parts, colours).repeat(zoom, 0).repeat(zoom, 1))
    size = _fitting(width, height, LARGE)
    small = Image.fromarray(parts.astype(np.float32)).resize(size, Image.Resampling.BOX)
    return Image.fromarray(colour(np.asarray(small), colours))


def _fitting(width: int, height: int, most: int) -> tuple[int, int]:
    longest = max(width, height)
    return max(1, round(width * most / longest)), max(1, round(height * most / longest))


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


def _input(values: np.ndarray, room: int) -> "Image":
    """The input with its label, as high as the grid (magnified by whole numbers, or reduced)."""
    from PIL import Image

    if values.ndim == 2:
        picture = _line(*normalised(values[0]))
    else:
        planes = np.stack([_flat(channel) for channel in values[: 3 if len(values) >= 3 else 1]], axis=-1)
        parts, _, _ = normalised(planes)
        pixels = np.rint(np.nan_to_num(parts) * 255).astype(np.uint8).repeat(1 if len(values) >= 3 else 3, -1)
        picture = Image.fromarray(np.ascontiguousarray(pixels))
        most = max(SMALL, min(room - LINE, 2 * LARGE))
        zoom = most // max(picture.size)
        if zoom:
            picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
        else:
            picture = picture.resize(_fitting(*picture.size, most), Image.Resampling.BOX)
    tile = Image.new("RGB", (picture.width, picture.height + LINE), PAPER)
    write(tile, (0, 0), "Input", INK, PLAIN)
    tile.paste(picture, (0, LINE))
    return tile
