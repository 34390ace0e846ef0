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
_BRAILLE, _DOTS = 0x2800, ((1, 8), (2, 16), (4, 32), (64, 128))
_BARS, _SHADES = " ▁▂▃▄▅▆▇█", " .:-=+*#%@"

Brightness = float | Sequence[float]  # of grey, or of red, green and blue: 0 (none) to 1


def bars(heights: Sequence[float]) -> Iterator[str]:
    """Yield the lines of a curve, one character a height from 0 to 1."""
    for line in reversed(range(HIGH)):
        levels = (round(8 * (HIGH * height - line)) for height in heights)
        yield "  |" + "".join(_BARS[min(max(level, 0), 8)] for level in levels).rstrip()


def curve(heights: "np.ndarray", width: int, places: "np.ndarray | None" = None) -> Iterator[str]:
    """Yield the lines of a curve of heights from 0 to 1 in dots of braille, two along and four up a character.

    ``places``, from 0 to 1, say where the heights lie along the width, if not evenly; NaN and infinity are gaps.
    """
    import numpy as np

    count, dots = 2 * width, 4 * HIGH
    places = np.linspace(0, 1, len(heights)) if places is None else places
    order = np.argsort(places, kind="stable")
    places, heights = places[order], np.where(np.isfinite(heights), heights, np.nan)[order]
    columns = places * count if len(heights) >= count else np.rint(places * (count - 1))
    known = ~np.isnan(heights)
    at, levels = np.clip(columns.astype(int), 0, count - 1)[known], _levels(heights[known], dots)
    top, end = np.full(count, dots), np.full(count, -1)  # of each column, counted from above
    np.minimum.at(top, at, levels)
    np.maximum.at(end, at, levels)
    between = np.interp(np.linspace(0, 1, count), places, heights, np.nan, np.nan)
    bare = (end < 0) & ~np.isnan(between)
    top[bare] = end[bare] = _levels(between[bare], dots)
    meet = (end[1:] >= 0) & (end[:-1] >= 0)
    top[1:], end[1:] = (
        np.where(meet, np.minimum(top[1:], end[:-1]), top[1:]),
        np.where(meet, np.maximum(end[1:], top[:-1]), end[1:]),
    )
    rows = np.arange(dots)[:, None]
    cells = ((top <= rows) & (rows <= end)).reshape(HIGH, 4, width, 2)
    for line in np.einsum("hdwx,dx->hw", cells, _DOTS):
        yield "  |" + "".join(chr(_BRAILLE + dot) for dot in line).rstrip(chr(_BRAILLE))


def _levels(heights: "np.ndarray", dots: int) -> "np.ndarray":
    return ((dots - 1) * (1 - heights)).round().astype(int)


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
    Colours of three parts are exact where ``COLORTERM`` says so, and else the nearest of a terminal's 256.

    >>> half_blocks([[0.0], [1.0]])
    ['\\x1b[38;5;232m\\x1b[48;5;255m▀\\x1b[0m']
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
    if not isinstance(value, Sequence):
        return f"5;{_BLACK + min(max(int(value * _GREYS), 0), _GREYS - 1)}"
    parts = [round(255 * min(max(part, 0), 1)) for part in value]
    if os.environ.get("COLORTERM") in ("truecolor", "24bit"):
        return "2;" + ";".join(map(str, parts))
    red, green, blue = (0 if part < 48 else 1 if part < 115 else (part - 35) // 40 for part in parts)
    return f"5;{16 + 36 * red + 6 * green + blue}"  # of a cube whose steps are 0, 95, 135, 175, 215, 255
