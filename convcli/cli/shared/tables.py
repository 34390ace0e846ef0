"""Tables of plain text: layers and their sizes."""

from collections.abc import Sequence
from fractions import Fraction

from convcli.geometry.layers import Row

WIDTH = 80


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
