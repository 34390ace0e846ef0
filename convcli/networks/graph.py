"""A traced net as a drawing: Graphviz text, or an SVG of our own.  Text only; no files."""

from collections.abc import Sequence
from xml.sax.saxutils import escape

from convcli.networks.model import Step
from convcli.networks.operations import Convolution, Dense, Pooling, Upsample

_WIDTH, _BOX, _GAP, _MARGIN = 380, 46, 34, 16
_COLOURS = {Convolution: "#cfe2f3", Dense: "#d9d2e9", Pooling: "#fce5cd", Upsample: "#d9ead3"}


def _colour(step: Step) -> str:
    return _COLOURS.get(type(step.layer.operation), "#eeeeee")


def _facts(step: Step) -> str:
    """What a box says beside its name: parameters and receptive field."""
    field = "x".join(map(str, dict.fromkeys(step.row.field)))
    count = f"{step.row.parameters:,} parameters, " if step.row.parameters else ""
    return f"{count}field {field}"


def dot(name: str, steps: Sequence[Step]) -> str:
    """Return the chain in Graphviz's language, arrows labelled with sizes."""

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
        lines.append(f"  n{number - 1} -> n{number} [label={text(str(step.input))}];")
    lines += [
        f'  n{len(steps) + 1} [label="output", fillcolor="#ffffff"];',
        f"  n{len(steps)} -> n{len(steps) + 1} [label={text(str(steps[-1].output))}];",
        "}",
    ]
    return "\n".join(lines) + "\n"


def svg(name: str, steps: Sequence[Step]) -> str:
    """Return the chain as a picture: one box a layer from top to bottom, arrows labelled with sizes."""
    height = 2 * _MARGIN + 40 + len(steps) * (_BOX + _GAP) + _GAP
    middle = _WIDTH // 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" '
        f'viewBox="0 0 {_WIDTH} {height}" font-family="Helvetica, Arial, sans-serif" font-size="14">',
        '<defs><marker id="tip" markerWidth="8" markerHeight="8" refX="6" refY="3" orient="auto">'
        '<path d="M0,0 L6,3 L0,6 z" fill="#444"/></marker></defs>',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{middle}" y="{_MARGIN + 12}" text-anchor="middle" font-weight="bold">{escape(name)}</text>',
    ]
    y = _MARGIN + 24
    for label, step in [*((str(step.input), step) for step in steps), (str(steps[-1].output), None)]:
        parts.append(
            f'<line x1="{middle}" y1="{y}" x2="{middle}" y2="{y + _GAP - 3}" stroke="#444" '
            f'marker-end="url(#tip)"/>'
            f'<text x="{middle + 10}" y="{y + 21}" fill="#444" font-size="12">{escape(label)}</text>'
        )
        y += _GAP
        if step is not None:
            parts.append(
                f'<rect x="{_MARGIN}" y="{y}" width="{_WIDTH - 2 * _MARGIN}" height="{_BOX}" rx="6" '
                f'fill="{_colour(step)}" stroke="#444"/>'
                f'<text x="{middle}" y="{y + 20}" text-anchor="middle">{escape(step.layer.label)}</text>'
                f'<text x="{middle}" y="{y + 37}" text-anchor="middle" font-size="11" fill="#444">'
                f"{escape(_facts(step))}</text>"
            )
            y += _BOX
    return "\n".join([*parts, "</svg>"]) + "\n"
