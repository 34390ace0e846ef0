"""Drawings of text: brightnesses as half blocks or signs, curves as bars."""

import os
import sys
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

from convcli.cli.shared.report import Drawing

if TYPE_CHECKING:
    import numpy as np

HIGH = 8  # lines of a curve
_BLACK, _GREYS = 232, 24  # the terminal's grey ramp of 24 steps
_BARS, _SHADES = " ▁▂▃▄▅▆▇█", " .:-=+*#%@"

Brightness = float | Sequence[float]  # of grey, or of red, green and blue: 0 (none) to 1


def bars(heights: Sequence[float]) -> Iterator[str]:
    """Yield the lines of a curve, one character a height from 0 to 1."""
    for line in reversed(range(HIGH)):
        levels = (round(8 * (HIGH * height - line)) for height in heights)
        yield "  |" + "".join(_BARS[min(max(level, 0), 8)] for level in levels).rstrip()


def side_by_side(drawn: Sequence[Sequence[str]], across: int) -> Iterator[str]:
    """Yield the lines of pictures that lie in rows, an empty line between these."""
    for first in range(0, len(drawn), across):
        if first:
            yield ""
        row = zip(*drawn[first : first + across], strict=True)
        yield from (Drawing(("  " + "  ".join(lines)).rstrip()) for lines in row)


def shaded(rows: "np.ndarray") -> list[str]:
    """Return lines of text that show brightnesses from 0 to 1, two rows a line: in colours, or by signs."""
    if shows_colours():
        return half_blocks(rows.tolist())
    grey = rows.mean(axis=-1) if rows.ndim == 3 else rows
    return ["".join(_SHADES[min(int(value * 10), 9)] for value in row) for row in grey[::2]]


def shows_colours() -> bool:
    """Tell whether stdout is a terminal that shows colours (NO_COLOR and dumb terminals do not)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def half_blocks(rows: Sequence[Sequence[Brightness]], zoom: int = 1) -> list[str]:
    """Return lines of text that show brightnesses from 0 (black) to 1 (white), two rows a line.

    A pixel is `zoom` characters wide and `zoom` half lines high, which makes it about square.

    >>> half_blocks([[0.0], [1.0]])
    ['\\x1b[38;5;232m\\x1b[48;5;255m▀\\x1b[0m']
    >>> half_blocks([[(1.0, 0.0, 0.5)]])
    ['\\x1b[38;2;255;0;128m▀\\x1b[0m']
    """
    tall = [row for row in rows for _ in range(zoom)]
    lines = []
    for upper, lower in zip_longest(tall[::2], tall[1::2]):
        cells = []
        for x, value in enumerate(upper):
            below = f"\x1b[48;{_colour(lower[x])}m" if lower is not None else ""
            cells.append(f"\x1b[38;{_colour(value)}m{below}{'▀' * zoom}\x1b[0m")
        lines.append("".join(cells))
    return lines


def _colour(value: Brightness) -> str:
    if isinstance(value, Sequence):
        return "2;" + ";".join(str(round(255 * min(max(part, 0), 1))) for part in value)
    return f"5;{_BLACK + min(max(int(value * _GREYS), 0), _GREYS - 1)}"
