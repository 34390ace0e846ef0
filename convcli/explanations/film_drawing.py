"""Frames as pictures 600 pixels wide, or 800, for a class to look at.  Draws what a frame says and computes no number.

A signal is drawn as rows with the kernel under the window; an image as grids; a volume as a brick that moves
through a box, with its slices as grids below.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from convcli.common import frozen
from convcli.explanations.film import Board, Frame, Place
from convcli.pixels.colours import INK, PAPER, font

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

WIDTH, WIDER = 600, 800  # the latter for channels and maps whose numbers are long
MARGIN, GAP = 16, 22
LARGEST, SMALLEST = 52, 15  # pixels of a cell
HEIGHTS = (450, 640, 1000)  # that the grids may take, the first that leaves the cells large enough
COMFORTABLE, PER_DIGIT = 24, 6  # pixels of a cell that is large enough, and for each digit in it
CAPTION_LINES, CAPTION_SIZE, TITLE_SIZE = 3, 15, 13
BRICK = 170  # height of the oblique view

PALE, GRID = (130, 130, 130), (120, 130, 140)
DIM = (205, 205, 200)
DATA, OUTSIDE, UNKNOWN = (226, 236, 246), (243, 243, 240), (255, 255, 255)
PRODUCT = (253, 236, 207)
LIT, LIT_OUTSIDE, WINNER = (255, 203, 130), (250, 226, 190), (238, 126, 30)
KERNEL, DONE, CURRENT = (221, 212, 240), (216, 238, 214), (96, 187, 104)
WEIGHT = (96, 48, 160)

Colour = tuple[int, int, int]


@frozen
class _Grid:
    """A flat part of a board: where it is drawn, and which cells of the board it shows."""

    board: str
    slice: Place  # the places of the axes before the last two
    x: int
    y: int
    cell: int
    rows: range
    columns: range


class Painter:
    """Draws frames alike: sizes come from all of them, so that nothing jumps.

    Parameters
    ----------
    frames : sequence of Frame
    letters : str
        The axes, e.g. ``ZYX``.
    """

    def __init__(self, frames: Sequence[Frame], letters: str) -> None:
        self._rank = len(letters)
        self._letters = letters.lower()
        self._boards = frames[-1].boards
        self._digits = dict.fromkeys(self._boards, 1)
        for name, board in ((name, board) for frame in frames for name, board in frame.boards.items()):
            for value in board.values:
                self._digits[name] = max(self._digits[name], len(_text(value)))
        self._top = BRICK + GAP if self._rank == 3 else 0
        self._grids, self._height = self._fitted()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of every picture, even numbers as video wants them."""
        height = self._top + self._height + CAPTION_LINES * (CAPTION_SIZE + 5) + 2 * MARGIN
        return self._width, height + height % 2

    def paint(self, frame: Frame) -> np.ndarray:
        """Return one frame as (height, width, 3) of uint8."""
        from PIL import Image, ImageDraw

        image = Image.new("RGB", self.size, PAPER)
        pen = ImageDraw.Draw(image, "RGBA")
        if self._rank == 3:
            self._paint_bricks(pen, frame)
        if self._rank == 1:
            self._paint_rays(pen, frame)
        for grid in self._grids:
            self._paint_grid(pen, grid, frame)
        self._paint_caption(pen, frame.caption)
        return np.asarray(image)

    # Where things go

    def _fitted(self) -> tuple[list[_Grid], int]:
        """Return the grids with the largest cells with which all of them fit."""
        enough = max(COMFORTABLE, PER_DIGIT * min(max(self._digits.values()), 6)) - 1
        last = WIDER if len(self._boards) > 3 else WIDTH
        for self._width, tallest in product((WIDTH, last), HEIGHTS):
            final = (self._width, tallest) == (last, HEIGHTS[-1])
            for cell in range(LARGEST, SMALLEST if final else enough, -1):
                grids, height = self._arranged(cell)
                right = max(g.x + len(g.columns) * cell for g in grids)
                if height <= tallest and right <= self._width - MARGIN:
                    return grids, height
        return self._arranged(SMALLEST)

    def _arranged(self, cell: int) -> tuple[list[_Grid], int]:
        """Put grids beside each other, in a new line where the next does not fit; signals in rows."""
        grids: list[_Grid] = []
        x, y, tallest = MARGIN, MARGIN + self._top, 0
        for name, board in self._boards.items():
            rows = range(board.low[-2], board.high[-2]) if self._rank > 1 else range(1)
            columns = range(board.low[-1], board.high[-1])
            depths: list[Place] = [()]
            if self._rank == 3:
                depths = [(depth,) for depth in range(board.low[0], board.high[0])]
            for number, depth in enumerate(depths):
                wide, high = len(columns) * cell, len(rows) * cell + TITLE_SIZE + 6
                several = "input 1" in self._boards  # a line for each channel
                several &= name.startswith(("input", "output")) or name == "map 0"
                new_row = self._rank == 1 or (self._rank == 3 and number == 0) or several
                if x > MARGIN and (new_row or x + wide > self._width - MARGIN):
                    x, y, tallest = MARGIN, y + tallest + GAP, 0
                left = (self._width - board.shape[-1] * cell) // 2 if self._rank == 1 else x
                grids.append(_Grid(name, depth, left, y + TITLE_SIZE + 6, cell, rows, columns))
                x, tallest = x + wide + GAP, max(tallest, high)
        return self._centred(grids) if self._rank == 2 else grids, y + tallest - self._top

    def _centred(self, grids: list[_Grid]) -> list[_Grid]:
        """Put the grids of one line at the same height's middle, and the line in the picture's."""
        lines: dict[int, list[_Grid]] = {}
        for grid in grids:
            lines.setdefault(grid.y, []).append(grid)
        placed = []
        for line in lines.values():
            tallest = max(len(grid.rows) * grid.cell for grid in line)
            used = line[-1].x + len(line[-1].columns) * line[-1].cell
            move = max((self._width - MARGIN - used) // 2, 0)
            placed += [
                replace(grid, x=grid.x + move, y=grid.y + (tallest - len(grid.rows) * grid.cell) // 2)
                for grid in line
            ]
        return placed

    # Drawing

    def _paint_grid(self, pen: ImageDraw, grid: _Grid, frame: Frame) -> None:
        board, cell, left, kind = frame.boards[grid.board], grid.cell, grid.x, _kind(grid.board, frame)
        if kind == "map" and set(board.values) == {None}:  # it has not begun
            return
        under_window = self._rank == 1 and kind in ("kernel", "products")
        if under_window and frame.weights:
            left = self._kernel_cell(grid, frame, grid.columns[0])[0]
        title = board.title + "".join(f" {self._letters[0]}={place}" for place in grid.slice)
        pen.text((left, grid.y - 4), title, fill=PALE, font=font(TITLE_SIZE), anchor="ls")
        weights = dict(frame.weights)
        letters = font(max(min(int(cell * 0.44), int(cell * 1.7 / self._digits[grid.board]), 20), 7))
        for row_number, row in enumerate(grid.rows):
            for column_number, column in enumerate(grid.columns):
                place = (*grid.slice, row, column) if self._rank > 1 else (column,)
                if under_window:
                    x, y = self._kernel_cell(grid, frame, column)
                else:
                    x, y = grid.x + column_number * cell, grid.y + row_number * cell
                fill = _fill(kind, board, place, frame)
                inside = board.inside(place)
                pen.rectangle((x, y, x + cell, y + cell), fill=fill, outline=GRID if inside else DIM)
                # Of one channel
                weighted = grid.board == "input" and place in weights and cell >= 30 and self._rank > 1
                raised = y - cell // 8 if weighted else y
                middle, ink = (x + cell / 2, raised + cell / 2), INK if inside else PALE
                pen.text(middle, _text(board.at(place)), fill=ink, font=letters, anchor="mm")
                if weighted:
                    text = _text(weights[place])
                    small = font(min(cell * 3 // 10, int(cell * 1.1 / len(text))))
                    pen.text((x + cell - 3, y + cell - 2), text, fill=WEIGHT, font=small, anchor="rs")
        lit = {"input": frame.lit_inputs, "output": frame.lit_outputs}.get(kind, ())
        if own := [place for place in lit if place[:-2] == grid.slice]:
            pen.rectangle(_around(grid, own), outline=INK, width=2)

    def _kernel_cell(self, grid: _Grid, frame: Frame, tap: int) -> tuple[int, int]:
        """A signal's kernel is drawn under its window: tap by tap, with gaps where it is dilated."""
        if not frame.weights or len(frame.weights) != len(grid.columns):
            return grid.x + tap * grid.cell, grid.y
        top = self._grids[0]
        (place,), _ = frame.weights[tap]
        return top.x + (place - top.columns.start) * grid.cell, grid.y

    def _paint_rays(self, pen: ImageDraw, frame: Frame) -> None:
        """Join a signal's window, through its kernel, with the output that it makes."""
        first = self._grids[0]
        last = next(grid for grid in reversed(self._grids) if _kind(grid.board, frame) == "output")
        if not frame.lit_inputs or not frame.lit_outputs:
            return
        above, below = _around(first, frame.lit_inputs), _around(last, frame.lit_outputs)
        corners = [(above[0], above[3]), above[2:], (below[2], below[1]), below[:2]]
        pen.polygon(corners, fill=(255, 203, 130, 60), outline=(240, 170, 90, 160))

    def _paint_bricks(self, pen: ImageDraw, frame: Frame) -> None:
        half = (self._width - 3 * MARGIN) // 2
        for board, lit, colour, x in (
            (frame.input, frame.lit_inputs, LIT, MARGIN),
            (frame.output, frame.lit_outputs, CURRENT, 2 * MARGIN + half),
        ):
            pen.text((x, MARGIN), board.title, fill=PALE, font=font(TITLE_SIZE), anchor="la")
            paint_box(pen, board, lit, colour, (x, MARGIN, half, BRICK))

    def _paint_caption(self, pen: ImageDraw, caption: str) -> None:
        for size in (CAPTION_SIZE, CAPTION_SIZE - 2, CAPTION_SIZE - 4):
            letters = int((self._width - 2 * MARGIN) / (size * 0.56))
            lines = textwrap.wrap(caption, letters)
            if len(lines) <= CAPTION_LINES:
                break
        y = self.size[1] - MARGIN - CAPTION_LINES * (CAPTION_SIZE + 5) + 8
        for number, line in enumerate(lines[:CAPTION_LINES]):
            pen.text(
                (self._width // 2, y + number * (CAPTION_SIZE + 5)),
                line,
                fill=INK,
                font=font(size),
                anchor="ma",
            )


def _text(value: float | None) -> str:
    """Return a number in few letters; a whole one whole.

    >>> _text(12.0), _text(-1 / 3), _text(-0.05093), _text(1234567.0), _text(-0.0)
    ('12', '-0.333', '-0.051', '1.23e+06', '0')
    """
    if value is None:
        return ""
    if value % 1 == 0 and abs(value) < 1e5:
        return f"{value + 0.0:.0f}"  # no -0
    return f"{value:.{2 if abs(value) < 0.1 else 3}g}"


def _kind(name: str, frame: Frame) -> str:
    """Return what a board is, whichever channel it belongs to; the map that is being made is the output."""
    return "output" if name == f"map {frame.which}" else name.partition(" ")[0]


def _fill(name: str, board: Board, place: Place, frame: Frame) -> Colour:
    inside = board.inside(place)
    if name in ("kernel", "products"):
        return KERNEL if name == "kernel" else PRODUCT
    if name == "input":
        if place in frame.chosen:
            return WINNER
        if place in frame.lit_inputs:
            return LIT if inside else LIT_OUTSIDE
        return DATA if inside else OUTSIDE
    if name == "output" and place in frame.lit_outputs:
        return CURRENT if inside else LIT_OUTSIDE
    if board.at(place) is None:
        return UNKNOWN
    return DONE if inside else OUTSIDE


def _around(grid: _Grid, lit: Iterable[Place]) -> tuple[int, int, int, int]:
    """Return the rectangle around lit cells of a grid, in pixels."""
    rows, columns = zip(*((0, *place)[-2:] for place in lit), strict=True)
    left, top, cell = grid.x - grid.columns.start * grid.cell, grid.y - grid.rows.start * grid.cell, grid.cell
    low, high = (min(columns), min(rows)), (max(columns) + 1, max(rows) + 1)
    return left + low[0] * cell, top + low[1] * cell, left + high[0] * cell, top + high[1] * cell


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
        box((0, 0, 0), board.shape, None, DIM, 0)
    box(inner_low, inner_high, None, GRID, 0)
    cells = sorted(
        (tuple(at - low for at, low in zip(place, board.low, strict=True)) for place in lit),
        key=lambda cell: (-cell[0], -cell[1], cell[2]),  # what is behind first
    )
    for cell in cells:
        if all(0 <= at < size for at, size in zip(cell, board.shape, strict=True)):
            box(cell, [at + 1 for at in cell], colour, INK, 225)
