"""A matrix as a picture: orange is positive, blue negative, lines part the blocks.  No files, no text layout."""

import numpy as np

from convcli.common import number_text
from convcli.explanations.matrix import Matrix
from convcli.pixels.drawing import INK, PAPER, font

SIDE = 1200  # pixels that the longer side takes, where the cells can be made so large
LARGEST, SMALLEST = 48, 26  # pixels of a cell with its number written in
EMPTY, ZERO, LINE = (246, 246, 244), (214, 214, 210), (120, 120, 120)
POSITIVE, NEGATIVE = (230, 97, 1), (33, 102, 172)


def draw(matrix: Matrix) -> np.ndarray:
    """Return the picture, (height, width, 3) of uint8.

    A matrix longer than `SIDE` is drawn smaller: a pixel shows the entry of largest size among its own.
    """
    rows, columns = matrix.shape
    longest = max(rows, columns)
    if longest > SIDE:
        return _colours(*_reduced(matrix, longest))
    cell = min(max(SIDE // longest, 1), LARGEST)
    values, taken = _grid(matrix, matrix.rows, matrix.columns, (rows, columns))
    picture = _colours(values, taken).repeat(cell, axis=0).repeat(cell, axis=1)
    if cell >= 4:
        high, wide = matrix.blocks
        picture[np.arange(cell, rows * cell, cell)] = PAPER
        picture[:, np.arange(cell, columns * cell, cell)] = PAPER
        picture[np.arange(high * cell, rows * cell, high * cell)] = LINE
        picture[:, np.arange(wide * cell, columns * cell, wide * cell)] = LINE
    return _with_numbers(picture, matrix, cell) if cell >= SMALLEST else picture


def _reduced(matrix: Matrix, longest: int) -> tuple[np.ndarray, np.ndarray]:
    shape = tuple(max(size * SIDE // longest, 1) for size in matrix.shape)
    rows, columns = (
        index * small // size
        for index, small, size in zip((matrix.rows, matrix.columns), shape, matrix.shape, strict=True)
    )
    return _grid(matrix, rows, columns, shape)


def _grid(
    matrix: Matrix, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Return values on a grid, and where there are entries; of several the largest in size remains."""
    order = np.argsort(np.abs(matrix.values), kind="stable")
    values, taken = np.zeros(shape), np.zeros(shape, bool)
    values[rows[order], columns[order]] = matrix.values[order]
    taken[rows, columns] = True
    return values, taken


def _colours(values: np.ndarray, taken: np.ndarray) -> np.ndarray:
    strength = np.abs(values) / (np.abs(values).max(initial=0) or 1.0)
    strength = np.where(values != 0, 0.25 + 0.75 * strength, 0)[..., None]  # small weights stay visible
    full = np.where(values[..., None] > 0, np.array(POSITIVE), np.array(NEGATIVE))
    colours = np.array(PAPER) * (1 - strength) + full * strength
    colours[taken & (values == 0)] = ZERO
    colours[~taken] = EMPTY
    return colours.round().astype(np.uint8)


def _with_numbers(picture: np.ndarray, matrix: Matrix, cell: int) -> np.ndarray:
    from PIL import Image, ImageDraw

    texts = [number_text(value) for value in matrix.values.tolist()]
    size = min(cell // 2, int(cell * 1.6 / max(map(len, texts), default=1)))
    if size < 9:
        return picture
    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    for row, column, text in zip(matrix.rows.tolist(), matrix.columns.tolist(), texts, strict=True):
        middle = ((column + 0.5) * cell, (row + 0.5) * cell)
        dark = picture[row * cell + cell // 2, column * cell + cell // 2].astype(int).sum() < 400
        pen.text(middle, text, fill=PAPER if dark else INK, font=font(size), anchor="mm")
    return np.asarray(image)
