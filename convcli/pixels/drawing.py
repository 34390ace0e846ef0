"""What drawers share: ink, paper, fonts, and texts laid on pictures.  Pillow loads when something is drawn."""

import math
from functools import lru_cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont

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
