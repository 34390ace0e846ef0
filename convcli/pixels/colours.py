"""Colour maps by name: viridis and grey, and matplotlib's others where it is installed; ink and fonts of drawings."""

import importlib
import math
from functools import lru_cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

# 32 of the 256 colours of viridis, by Stéfan van der Walt and Nathaniel Smith (CC0); straight lines between them
# stay within 2 of 255.
_OWN = {
    "viridis": "440154 470d60 48186a 482475 472e7c 453882 424186 3e4c8a 3a548c 365d8d 32658e 2e6d8e 2b758e 287d8e "
    "25848e 228c8d 1f948c 1e9c89 20a386 25ab82 2eb37c 3aba76 48c16e 58c765 69cd5b 7fd34e 93d741 a8db34 bddf26 d5e21a "
    "eae51a fde725",
    "grey": "000000 ffffff",
}

Colour = tuple[int, int, int]
PAPER, INK, FAINT = (255, 255, 255), (30, 30, 30), (120, 120, 120)
LEAST = 7  # pixels; a smaller letter is a blot


@lru_cache
def font(size: float) -> "FreeTypeFont":
    """Return Pillow's own font in a size of pixels, at least 7."""
    from PIL import ImageFont

    return cast("FreeTypeFont", ImageFont.load_default(max(size, LEAST)))


def text_width(text: str, size: float) -> int:
    """Return how many pixels a text takes."""
    return math.ceil(font(size).getlength(text))


def write(picture: "Image", place: tuple[int, int], text: str, ink: Colour, size: float) -> None:
    """Write a text whose upper left corner is ``place``, (x, y)."""
    from PIL import ImageDraw

    ImageDraw.Draw(picture).text(place, text, fill=ink, font=font(size))


def names() -> list[str]:
    """Return the names of all maps."""
    try:
        return sorted({*_OWN, *importlib.import_module("matplotlib").colormaps})
    except ImportError:
        return sorted(_OWN)


def is_map(name: str) -> bool:
    """Return whether there is such a map."""
    return name in _OWN or (name.isidentifier() and name in names())


@lru_cache
def table(name: str) -> "np.ndarray":
    """Return 256 colours, (256, 3) of uint8, from the first to the last of a map."""
    import numpy as np

    places = np.linspace(0, 1, 256)
    if name not in _OWN:
        found: np.ndarray = importlib.import_module("matplotlib").colormaps[name](places, bytes=True)[:, :3]
        return found
    anchors = np.array([tuple(bytes.fromhex(text)) for text in _OWN[name].split()], float)
    parts = [np.interp(places, np.linspace(0, 1, len(anchors)), part) for part in anchors.T]
    return np.rint(np.stack(parts, axis=-1)).astype(np.uint8)
