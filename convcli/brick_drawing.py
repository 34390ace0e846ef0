"""A volume as a box seen from the front, the right and above, with a brick in it.  Draws and computes no number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from convcli.film import Board, Place

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

INK, GRID, FAINT = (34, 34, 34), (120, 130, 140), (205, 205, 200)

Colour = tuple[int, int, int]


def paint_box(
    pen: ImageDraw, board: Board, lit: frozenset[Place], colour: Colour, room: tuple[int, int, int, int]
) -> None:
    """Draw a board of three axes, and the lit cells as a brick; ``room`` is (x, y, width, height)."""
    depth, height, width = board.shape
    slant = 0.5  # of a cell to the right and up for each step into the depth
    x, y, wide, high = room
    unit = min(wide / (width + slant * depth), high / (height + slant * depth), 40)
    left = x + (wide - unit * (width + slant * depth)) / 2
    top = y + unit * slant * depth

    def point(z: float, row: float, column: float) -> tuple[float, float]:
        return left + unit * (column + slant * z), top + unit * (row - slant * z)

    def box(
        low: Sequence[float], high_: Sequence[float], fill: Colour | None, line: Colour, alpha: int
    ) -> None:
        (z0, y0, x0), (z1, y1, x1) = low, high_
        front = [point(z0, y0, x0), point(z0, y0, x1), point(z0, y1, x1), point(z0, y1, x0)]
        above = [point(z0, y0, x0), point(z0, y0, x1), point(z1, y0, x1), point(z1, y0, x0)]
        side = [point(z0, y0, x1), point(z1, y0, x1), point(z1, y1, x1), point(z0, y1, x1)]
        for face, shade in ((above, 1.0), (side, 0.86), (front, 0.95)):
            tone = (*(int(c * shade) for c in fill), alpha) if fill else None
            pen.polygon(face, fill=tone, outline=line)
        if not fill:
            back = point(z1, y1, x0)
            for corner in (point(z0, y1, x0), point(z1, y0, x0), point(z1, y1, x1)):
                pen.line([back, corner], fill=line)

    inner_low = [-low for low in board.low]
    inner_high = [at + size for at, size in zip(inner_low, board.inner, strict=True)]
    if board.shape != board.inner:
        box((0, 0, 0), board.shape, None, FAINT, 0)
    box(inner_low, inner_high, None, GRID, 0)
    cells = sorted(
        (tuple(at - low for at, low in zip(place, board.low, strict=True)) for place in lit),
        key=lambda cell: (-cell[0], -cell[1], cell[2]),  # what is behind first
    )
    for cell in cells:
        if all(0 <= at < size for at, size in zip(cell, board.shape, strict=True)):
            box(cell, [at + 1 for at in cell], colour, INK, 225)
