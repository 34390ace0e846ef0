"""Tables of plain text: layers and their sizes, matrices of weights."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from convcli.common.numbers import number_text
from convcli.geometry.layers import Row
from convcli.kernel.model import Kernel


def matrices(kernel: Kernel) -> Iterator[str]:
    """Yield a kernel's matrices as lines, each filter's under its title."""
    slices = slices_of(kernel)
    for title, matrix in slices[:MOST]:
        if title:
            yield f"{title}:"
        yield from _matrix(matrix)
        yield ""
    if len(slices) > MOST:
        yield f"and {len(slices) - MOST} more; `--json` prints them all"
        yield ""


def _matrix(matrix: Sequence[Sequence[float]]) -> Iterator[str]:
    """Yield a matrix's rows; where they are too wide, rounded to parts of the largest; or what to do instead."""
    yield from (
        _columns([[number_text(value) for value in row] for row in matrix])
        or _rounded(matrix, 1000, "thousandths")
        or _rounded(matrix, 100, "hundredths")
        or [f"  {len(matrix)} × {len(matrix[0])} numbers; `--json` prints them"]
    )


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


def table(size: str, rows: Sequence[Row]) -> str:
    """Lay out one line a layer, totals where there are several, and the final size on the last line."""
    header = ("layer", "output", "field", "jump", "start", "params", "mult-adds", "unused")
    lines: list[tuple[str, ...]] = [header, ("input", size, "1", "1", "0", "", "", "")]
    for row in rows:
        places = (axes_text(row.field), axes_text(row.jump), axes_text(row.start))
        costs = (str(row.parameters), str(row.multiply_adds))
        lines.append((row.label, row.output, *places, *costs, axes_text(row.unused)))
    if len(rows) > 1:
        costs = (str(sum(row.parameters for row in rows)), str(sum(row.multiply_adds for row in rows)))
        lines.append(("total", "", "", "", "", *costs, ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join([*(_line(line, widths) for line in lines), rows[-1].output])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Put the two columns of text at the left of their room, the numbers at the right."""
    padded = [f"{cell:{'<' if i < 2 else '>'}{widths[i]}}" for i, cell in enumerate(cells)]
    return "  ".join(padded).rstrip()


def axes_text(values: Sequence[int | Fraction]) -> str:
    """Write one value where all axes agree, else one for each."""
    texts = [f"{float(v):.6g}" if isinstance(v, Fraction) else str(v) for v in values]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)


def as_json_text(size: str, rows: Sequence[Row], notes: Sequence[str] = ()) -> str:
    import json

    def plain(values: Sequence[Fraction]) -> list[int | float]:
        return [int(v) if v.denominator == 1 else float(v) for v in values]

    layers = [
        {
            "layer": row.label,
            "output": row.output,
            "channels": row.channels,
            "sizes": row.sizes,
            "field": row.field,
            "jump": plain(row.jump),
            "start": plain(row.start),
            "parameters": row.parameters,
            "multiply_adds": row.multiply_adds,
            "unused": row.unused,
        }
        for row in rows
    ]
    totals = {key: sum(getattr(row, key) for row in rows) for key in ("parameters", "multiply_adds")}
    facts = {"input": size, "output": rows[-1].output, **totals, "layers": layers, "notes": list(notes)}
    return json.dumps(facts, indent=2)


WIDTH = 80


MOST = 8  # filters of a bank that are printed


def slices_of(kernel: Kernel) -> list[tuple[str, list[list[float]]]]:
    """Return each filter's matrices with a title; several where the kernel is a bank or has frames."""
    height, width = (1, *kernel.size)[-2:]
    flat, step = kernel.weights, height * width
    frames = kernel.size[0] if kernel.rank > 2 else 1
    matrices = [nested(flat[i : i + step], (height, width)) for i in range(0, len(flat), step)]
    titles = []
    for index in range(len(matrices)):
        rest, frame = divmod(index, frames)
        output, channel = divmod(rest, kernel.inputs)
        parts = (
            (kernel.outputs, "filter", output),
            (kernel.inputs, "input", channel),
            (frames, "frame", frame),
        )
        titles.append(", ".join(f"{word} {number}" for count, word, number in parts if count > 1))
    return list(zip(titles, matrices, strict=True))


def nested(flat: Sequence[float], shape: Sequence[int]) -> list[Any]:
    """Return flat numbers as lists of lists of the given shape."""
    if len(shape) == 1:
        return list(flat)
    step = len(flat) // shape[0]
    return [nested(flat[i : i + step], shape[1:]) for i in range(0, len(flat), step)]
