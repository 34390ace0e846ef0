"""Small grey pictures made of text, for a terminal.  Writes nothing itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import zip_longest

_BLACK, _GREYS = 232, 24  # the terminal's grey ramp of 24 steps


def wanted() -> bool:
    """Tell whether stdout is a terminal that shows colours (NO_COLOR and dumb terminals do not)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def half_blocks(rows: Sequence[Sequence[float]], zoom: int = 1) -> list[str]:
    """Return lines of text that show brightnesses from 0 (black) to 1 (white), two rows a line.

    A pixel is `zoom` characters wide and `zoom` half lines high, which makes it about square.

    >>> half_blocks([[0.0], [1.0]])
    ['\\x1b[38;5;232m\\x1b[48;5;255m▀\\x1b[0m']
    """
    tall = [row for row in rows for _ in range(zoom)]
    lines = []
    for upper, lower in zip_longest(tall[::2], tall[1::2]):
        cells = []
        for x, value in enumerate(upper):
            below = f"\x1b[48;5;{_grey(lower[x])}m" if lower is not None else ""
            cells.append(f"\x1b[38;5;{_grey(value)}m{below}{'▀' * zoom}\x1b[0m")
        lines.append("".join(cells))
    return lines


def _grey(value: float) -> int:
    return _BLACK + min(max(int(value * _GREYS), 0), _GREYS - 1)
