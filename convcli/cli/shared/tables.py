"""Tables: of plain text, or drawn on a terminal; layers and their sizes."""

import sys
from collections.abc import Sequence
from fractions import Fraction
from typing import TextIO

from convcli.cli.shared import terminal
from convcli.geometry.layers import Row

WIDTH = 80


def print_table(
    rows: Sequence[Sequence[str]], left: int, *, wrap: bool = False, stream: TextIO | None = None
) -> None:
    """Print a table whose first row is its header; by rich on a terminal that is wide enough.

    Parameters
    ----------
    rows : sequence of sequence of str
    left : int
        So many columns are texts and stand at the left of their room, the others are numbers.
    wrap : bool
        Whether the last column may take several lines on a terminal.
    stream : text file, optional
        Standard output by default.
    """
    stream = stream or sys.stdout
    if terminal.is_terminal(stream) and terminal.draw_table(rows, left, wrap=wrap, stream=stream):
        return
    for line in lay_out(rows, left):
        print(line, file=stream)


def lay_out(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return the lines of a table of plain text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(f"{cell:{'<' if i < left else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]


def print_layers(size: str, rows: Sequence[Row]) -> None:
    """Print one line a layer, totals where there are several, and the final size on the last line."""
    header = ("layer", "output", "field", "jump", "start", "params", "mult-adds", "unused")
    lines: list[tuple[str, ...]] = [header, ("input", size, "1", "1", "0", "", "", "")]
    for row in rows:
        places = (axes_text(row.field), axes_text(row.jump), axes_text(row.start))
        costs = (str(row.parameters), str(row.multiply_adds))
        lines.append((row.label, row.output, *places, *costs, axes_text(row.unused)))
    if len(rows) > 1:
        costs = (str(sum(row.parameters for row in rows)), str(sum(row.multiply_adds for row in rows)))
        lines.append(("total", "", "", "", "", *costs, ""))
    print_table(lines, left=2)
    print(rows[-1].output)


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
