"""Layers and their sizes, as ``shape`` and ``net show`` tell them."""

from collections.abc import Iterator, Sequence
from fractions import Fraction

from convcli.cli.shared.terminal import Table
from convcli.common import frozen
from convcli.geometry.layers import Row


@frozen
class Traced:
    """The size of an input, the output of each layer, and remarks."""

    input: str
    layers: Sequence[Row]
    notes: Sequence[str] = ()

    facts = ("input", "output", "parameters", "multiply_adds", "layers", "notes")

    @property
    def output(self) -> str:
        return self.layers[-1].output

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.layers)

    @property
    def multiply_adds(self) -> int:
        return sum(row.multiply_adds for row in self.layers)


def lines(found: Traced) -> Iterator[str | Table]:
    """Yield one row a layer, totals where there are several, and the final size."""
    graph = any(row.sources for row in found.layers)
    header = (
        "layer",
        *("from",) * graph,
        "output",
        "field",
        "jump",
        "start",
        "params",
        "mult-adds",
        "unused",
    )
    before = [""] * graph
    rows: list[tuple[str, ...]] = [header, ("input", *before, found.input, "1", "1", "0", "", "", "")]
    for row in found.layers:
        places = (axes_text(row.field), axes_text(row.jump), axes_text(row.start))
        costs = (str(row.parameters), str(row.multiply_adds))
        sources = [", ".join(row.sources)] * graph
        rows.append((row.layer, *sources, row.output, *places, *costs, axes_text(row.unused)))
    if len(found.layers) > 1:
        rows.append(("total", *before, "", "", "", "", str(found.parameters), str(found.multiply_adds), ""))
    yield Table(rows, "<<<>" if graph else "<<>")
    yield found.output


def axes_text(values: Sequence[int | Fraction]) -> str:
    """Write one value where all axes agree, else one for each."""
    texts = [f"{float(v):.6g}" if isinstance(v, Fraction) else str(v) for v in values]
    return texts[0] if len(set(texts)) == 1 else "x".join(texts)
