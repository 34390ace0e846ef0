"""The weights of a kernel as text: matrices side by side."""

import math
from collections.abc import Iterator, Sequence

from convcli.cli.shared.terminal import WIDTH
from convcli.common import number_text
from convcli.kernel.model import Kernel, nested

MOST = 8  # filters of a bank that are printed
LARGE = 32 * 32  # numbers above which a matrix is shown by its corner and its centre
PART = 5  # rows and columns of these


def matrices(kernel: Kernel) -> Iterator[str]:
    """Yield a kernel's matrices as lines, each filter's under its title."""
    for title, matrix in slices_of(kernel):
        if title:
            yield f"{title}:"
        yield from _matrix(matrix)
        yield ""
    if (more := len(kernel.weights) // math.prod(kernel.size[-2:]) - MOST) > 0:
        yield f"and {more} more; `--json` prints them all"
        yield ""


def _matrix(matrix: Sequence[Sequence[float]]) -> Iterator[str]:
    """Yield a matrix's rows; where they are too wide, rounded to parts of the largest; or a summary."""
    high, wide = len(matrix), len(matrix[0])
    lines = high * wide <= LARGE and (
        _columns([[number_text(value) for value in row] for row in matrix])
        or _rounded(matrix, 1000, "thousandths")
        or _rounded(matrix, 100, "hundredths")
    )
    if lines:
        yield from lines
        return
    yield f"  {high} × {wide} numbers; `--json` prints them all"
    for top, left in ((0, 0), (max(high - PART, 0) // 2, max(wide - PART, 0) // 2)):
        yield f"  {'at the centre' if left or top else 'in the corner'} (row {top}, column {left}, counted from 0):"
        yield from _matrix([row[left : left + PART] for row in matrix[top : top + PART]])


def _rounded(matrix: Sequence[Sequence[float]], parts: int, word: str) -> list[str]:
    largest = max(abs(value) for row in matrix for value in row) or 1.0
    lines = _columns([[str(round(parts * value / largest)) for value in row] for row in matrix], gap=1)
    return lines and [*lines, f"  (in {word} of {number_text(largest)})"]


def _columns(cells: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Return aligned rows; none when they are too wide."""
    width = max(len(cell) for row in cells for cell in row) + gap
    if width * len(cells[0]) > WIDTH:
        return []
    return ["".join(f"{cell:>{width}}" for cell in row) for row in cells]


def slices_of(kernel: Kernel) -> list[tuple[str, list[list[float]]]]:
    """Return the first filters' matrices with a title; several where the kernel is a bank or has frames."""
    height, width = (1, *kernel.size)[-2:]
    step, frames = height * width, kernel.size[0] if kernel.rank > 2 else 1
    found = []
    for index, start in enumerate(range(0, len(kernel.weights), step)[:MOST]):
        rest, frame = divmod(index, frames)
        output, channel = divmod(rest, kernel.inputs)
        places = (
            (kernel.outputs, "filter", output),
            (kernel.inputs, "input", channel),
            (frames, "frame", frame),
        )
        title = ", ".join(f"{word} {number}" for count, word, number in places if count > 1)
        found.append((title, nested(kernel.weights[start : start + step], (height, width))))
    return found
