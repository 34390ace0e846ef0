"""A traced net as a drawing: Graphviz text, or an SVG of our own.  Text only; no files."""

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from convcli.geometry.graph import INPUT, Step
from convcli.networks.operations import Convolution, Dense, Pooling, Upsample

_WIDTH, _BOX, _GAP, _MARGIN, _LANE = 380, 46, 34, 16, 44
_COLOURS = {Convolution: "#cfe2f3", Dense: "#d9d2e9", Pooling: "#fce5cd", Upsample: "#d9ead3"}


def _colour(step: Step) -> str:
    return _COLOURS.get(type(step.layer.operation), "#eeeeee")


def _facts(step: Step) -> str:
    """What a box says beside its name: parameters and receptive field."""
    field = "x".join(map(str, dict.fromkeys(step.row.field)))
    count = f"{step.row.parameters:,} parameters, " if step.row.parameters else ""
    return f"{count}field {field}"


def _arrows(steps: Sequence[Step]) -> Iterator[tuple[int, int, str]]:
    """Yield from which box to which an arrow goes, the input's being 0, and the shape that it carries."""
    numbers = {INPUT: 0} | {step.name: number for number, step in enumerate(steps, 1)}
    for number, step in enumerate(steps, 1):
        for source, shape in zip(step.sources, step.inputs, strict=True):
            yield numbers[source], number, str(shape)
    yield len(steps), len(steps) + 1, str(steps[-1].output)


def dot(name: str, steps: Sequence[Step]) -> str:
    """Return the graph in Graphviz's language, arrows labelled with sizes."""

    def text(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    lines = [
        f"digraph {text(name)} {{",
        "  node [shape=box, style=filled, fontname=Helvetica];",
        "  edge [fontname=Helvetica];",
        '  n0 [label="input", fillcolor="#ffffff"];',
    ]
    for number, step in enumerate(steps, 1):
        label = f"{step.layer.label}\n{_facts(step)}"
        lines.append(f'  n{number} [label={text(label)}, fillcolor="{_colour(step)}"];')
    lines.append(f'  n{len(steps) + 1} [label="output", fillcolor="#ffffff"];')
    lines += [f"  n{source} -> n{to} [label={text(shape)}];" for source, to, shape in _arrows(steps)]
    return "\n".join([*lines, "}"]) + "\n"


def _lanes(skips: Sequence[tuple[int, int, str]]) -> list[int]:
    """Return for each arrow past other boxes the first lane beside them that is free along all of its way."""
    ends: list[list[tuple[int, int]]] = []
    found = []
    for source, to, _ in skips:
        free = (n for n, taken in enumerate(ends) if all(to <= lo or source >= hi for lo, hi in taken))
        lane = next(free, len(ends))
        ends += [[]] * (lane == len(ends))
        ends[lane] = [*ends[lane], (source, to)]
        found.append(lane)
    return found


def svg(name: str, steps: Sequence[Step]) -> str:
    """Return the graph as a picture: one box a layer from top to bottom, arrows labelled with sizes.

    What goes past the next box takes a lane at the right.
    """
    arrows = list(_arrows(steps))
    skips = sorted(
        (arrow for arrow in arrows if arrow[1] > arrow[0] + 1), key=lambda arrow: arrow[1] - arrow[0]
    )
    lanes = _lanes(skips)
    width = _WIDTH + _LANE * (max(lanes, default=-1) + 1)
    height = 2 * _MARGIN + 40 + len(steps) * (_BOX + _GAP) + _GAP
    middle, right = _WIDTH // 2, _WIDTH - _MARGIN

    def top(number: int) -> int:
        return _MARGIN + 24 + _GAP + (number - 1) * (_BOX + _GAP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif" font-size="14">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
        '<path d="M0,0 L6,3 L0,6 z" fill="#444"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{middle}" y="{_MARGIN + 12}" text-anchor="middle" font-weight="bold">{escape(name)}</text>',
    ]
    for source, to, shape in arrows:
        if to == source + 1:
            y = top(to) - _GAP
            parts.append(
                f'<line x1="{middle}" y1="{y}" x2="{middle}" y2="{y + _GAP - 3}" stroke="#444" '
                f'marker-end="url(#tip)"/>'
                f'<text x="{middle + 10}" y="{y + 21}" fill="#444" font-size="12">{escape(shape)}</text>'
            )
    for (source, to, shape), lane in zip(skips, lanes, strict=True):
        out, into = (top(source) + _BOX - 12 if source else _MARGIN + 30), top(to) + 12
        x = right + _LANE * (lane + 1)
        parts.append(
            f'<path d="M{right if source else middle},{out} H{x} V{into} H{right + 4}" fill="none" stroke="#444" '
            f'marker-end="url(#tip)"/>'
            f'<text x="{x - 4}" y="{out - 4}" text-anchor="end" fill="#444" font-size="11">{escape(shape)}</text>'
        )
    for number, step in enumerate(steps, 1):
        y = top(number)
        parts.append(
            f'<rect x="{_MARGIN}" y="{y}" width="{_WIDTH - 2 * _MARGIN}" height="{_BOX}" rx="6" '
            f'fill="{_colour(step)}" stroke="#444"/>'
            f'<text x="{middle}" y="{y + 20}" text-anchor="middle">{escape(step.layer.label)}</text>'
            f'<text x="{middle}" y="{y + 37}" text-anchor="middle" font-size="11" fill="#444">'
            f"{escape(_facts(step))}</text>"
        )
    return "\n".join([*parts, "</svg>"]) + "\n"
