"""A matrix in words within 80 columns: whole with its blocks, or as a grid of named blocks."""

import sys
from collections.abc import Iterator, Sequence

import numpy as np

from convcli.cli.matrix.request import Request
from convcli.cli.matrix.work import Made, Verdict, make
from convcli.cli.shared import report
from convcli.cli.shared.terminal import WIDTH
from convcli.common import ConvError, number_text
from convcli.common.numbers import decimal_text
from convcli.explanations.matrix import Matrix
from convcli.media.files.target import STANDARD

MOST_LINES = 100
MOST_PRINTED = 16  # numbers of a vector in text


def show_matrix(request: Request) -> None:
    """Make a matrix and print it; where the matrix itself goes to standard output, words go to stderr.

    Raises
    ------
    ConvError
        When it does not do what ``filter`` does.
    """
    made, quiet = make(request), request.messages.quiet
    stream = sys.stderr if made.path == STANDARD and request.json else None
    report.show(made, _lines(made, quiet), json=request.json, quiet=quiet, stream=stream)
    if made.verdict is not None and not made.verdict.equal:
        difference = made.verdict.difference
        raise ConvError(f"the matrix and the convolution differ by {difference:.3g}: please report it")


def _lines(made: Made, quiet: bool) -> Iterator[str]:
    say = report.Note if made.path == STANDARD else str
    if not quiet:
        yield say(facts(made.matrix))
    if made.path is None:
        lines = layout(made.matrix)
        yield from lines
        if not lines and not quiet:
            yield report.Note(f"too large for {WIDTH} columns: -o W.png shows it, -o W.npz or W.csv keeps it")
    elif not quiet and made.path != STANDARD:
        yield made.path
    if made.verdict is not None and made.verdict.equal:
        yield from map(say, comparison(made.verdict))


def comparison(verdict: Verdict) -> list[str]:
    """Return the vectors that are compared, and what came of it."""
    return [
        f"vec(X)      = {_vector(verdict.x)}",
        f"W vec(X)    = {_vector(verdict.product)}",
        f"convolution = {_vector(verdict.filtered)}",
        f"equal: the largest difference is {verdict.difference:.3g}",
    ]


def _vector(values: np.ndarray) -> str:
    text = " ".join(map(decimal_text, values[:MOST_PRINTED].tolist()))
    return text + (f" … ({len(values)} numbers)" if len(values) > MOST_PRINTED else "")


def layout(matrix: Matrix) -> list[str]:
    """Return the matrix in lines: all of it where it fits, else its blocks by letters, else nothing."""
    rows, columns = matrix.shape
    if rows * columns > WIDTH * MOST_LINES * 100:
        return []
    cells = _cells(matrix)
    return _whole(matrix, cells) or _by_letters(matrix, cells)


def _cells(matrix: Matrix) -> list[list[str]]:
    cells = [["."] * matrix.shape[1] for _ in range(matrix.shape[0])]
    for row, column, value in zip(
        matrix.rows.tolist(), matrix.columns.tolist(), matrix.values.tolist(), strict=True
    ):
        cells[row][column] = number_text(value)
    return cells


def _whole(matrix: Matrix, cells: list[list[str]]) -> list[str]:
    added = [f"  + {number_text(value)}" if value else "" for value in matrix.offset.tolist()]
    lines = _grid(cells, matrix.blocks, added)
    fits = len(lines) <= MOST_LINES and max(map(len, lines)) <= WIDTH
    return lines if fits else []


def _grid(cells: list[list[str]], blocks: tuple[int, int], added: Sequence[str] = ()) -> list[str]:
    """Right-align cells, with a line between blocks.

    >>> _grid([["1", "2", ".", "."], [".", ".", "1", "2"]], (1, 2))
    ['1 2 | . .', '----+----', '. . | 1 2']
    """
    high, wide = blocks
    width = max(len(cell) for row in cells for cell in row)
    lines = []
    for index, row in enumerate(cells):
        parts = [
            " ".join(f"{cell:>{width}}" for cell in row[start : start + wide])
            for start in range(0, len(row), wide)
        ]
        if index and index % high == 0:
            lines.append("-+-".join("-" * len(part) for part in parts))
        lines.append(" | ".join(parts) + (added[index] if added else ""))
    return lines


def _by_letters(matrix: Matrix, cells: list[list[str]]) -> list[str]:
    """Return a grid of one letter for each block, and every block that occurs; nothing if that is too long."""
    high, wide = matrix.blocks
    names: dict[tuple[str, ...], str] = {}
    grid = []
    for top in range(0, len(cells), high):
        line = []
        for left in range(0, len(cells[0]), wide):
            block = tuple(cell for row in cells[top : top + high] for cell in row[left : left + wide])
            if all(cell == "." for cell in block):
                line.append(".")
            else:
                if block not in names and len(names) == 26:
                    return []
                line.append(names.setdefault(block, chr(ord("A") + len(names))))
        grid.append(line)
    lines = _grid(grid, (matrix.outputs[-2], matrix.inputs[-2]) if matrix.levels > 1 else (1, 1))
    for block, name in names.items():
        body = _grid(
            [list(block[start : start + wide]) for start in range(0, len(block), wide)], (high, wide)
        )
        lines += ["", f"{name} =", *body]
    if any(matrix.offset):
        unlike = len(np.unique(matrix.offset)) > 1
        lines += ["", f"+ {number_text(matrix.offset[0])}{' and others' if unlike else ''} in every row"]
    fits = len(lines) <= MOST_LINES and max(map(len, lines)) <= WIDTH
    return lines if fits and matrix.levels > 1 else []


def facts(matrix: Matrix) -> str:
    """Say in one line what it is, such as

    ``9x16: 3x3 outputs from 4x4 inputs, 36 entries; doubly blocked Toeplitz, 3x4 blocks of 3x4``
    """
    rows, columns = matrix.shape
    outputs, inputs = (_size(shape) for shape in (matrix.outputs, matrix.inputs))
    kind = ("", "", "doubly blocked ", "triply blocked ")[matrix.levels] + matrix.structure.value
    high, wide = matrix.blocks
    if matrix.shape != matrix.blocks:
        kind += f", {rows // high}x{columns // wide} blocks of {high}x{wide}"
    if max(matrix.outputs[0], matrix.inputs[0]) > 1:
        kind += ", one such part for each pair of channels"
    return f"{rows}x{columns}: {outputs} outputs from {inputs} inputs, {len(matrix.values)} entries; {kind}"


def _size(shape: Sequence[int]) -> str:
    space = "x".join(map(str, shape[1:]))
    return f"{shape[0]}@{space}" if shape[0] > 1 else space
