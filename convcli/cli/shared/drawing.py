"""What a terminal draws: pictures in pixels, half blocks or signs; curves in dots or bars; matrices side by side."""

import importlib
import math
import os
import struct
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from convcli.cli.shared.report import Drawing
from convcli.cli.shared.terminal import WIDTH
from convcli.common import frozen, number_text
from convcli.kernel.model import Kernel, nested

if TYPE_CHECKING:
    import numpy as np

HIGH = 8  # lines of a curve
_BLACK, _GREYS = 232, 24  # the terminal's grey ramp of 24 steps
_BRAILLE, _DOTS = 0x2800, ((1, 8), (2, 16), (4, 32), (64, 128))
_BARS, _SHADES = " ▁▂▃▄▅▆▇█", " .:-=+*#%@"

Brightness = float | Sequence[float]  # of grey, or of red, green and blue: 0 (none) to 1

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


def pictures(several: "Sequence[np.ndarray]", across: int) -> Iterator[str]:
    """Yield lines that show pictures of brightnesses from 0 to 1, side by side, an empty line between the rows.

    A pixel is one character wide and half a line high; wider pictures are made smaller.  The terminal gets pixels where
    it takes them (kitty, iTerm, sixel), else colours in half blocks, else signs.
    """
    room, screen = WIDTH // across - 2, Screen.here()
    for first in range(0, len(several), across):
        if first:
            yield ""
        row = several[first : first + across]
        if screen is not None:
            yield Drawing("  " + screen.drawn(row, room))
            continue
        small = [_shrunk(one, room) for one in row]
        drawn, most = [_shaded(one) for one in small], max(-(-len(one) // 2) for one in small)
        level = [
            lines + [" " * one.shape[1]] * (most - len(lines))
            for lines, one in zip(drawn, small, strict=True)
        ]
        yield from (Drawing(("  " + "  ".join(line)).rstrip()) for line in zip(*level, strict=True))


def _shrunk(picture: "np.ndarray", room: int) -> "np.ndarray":
    """Return means of squares, so large that the picture fits."""
    step = -(-picture.shape[1] // room)
    rows, columns = (max(n // step, 1) for n in picture.shape[:2])
    cut = picture[: rows * step, : columns * step]
    return cut.reshape(rows, -1, columns, cut.shape[1] // columns, *cut.shape[2:]).mean(axis=(1, 3))


@frozen
class Screen:
    """A terminal that shows pixels, and chafa, which knows the terminals and writes what they understand."""

    chafa: Any
    terminal: Any
    mode: str

    @classmethod
    def here(cls) -> "Screen | None":
        """Return what standard output is; None for a terminal of characters alone, and where chafa is not installed."""
        if not shows_colours():
            return None
        try:
            chafa = importlib.import_module("chafa")
        except (ImportError, OSError):  # not there, or without the C library that it needs
            return None
        terminal = chafa.TermDb().detect()
        for mode, begin in (
            ("KITTY", "KITTY_IMMEDIATE_IMAGE_V1"),
            ("ITERM2", "ITERM2_IMAGE"),
            ("SIXELS",) * 2,
        ):
            if terminal.have_seq(chafa.TermSeq[f"CHAFA_TERM_SEQ_BEGIN_{begin}"]):
                return cls(chafa, terminal, mode)
        return None

    def drawn(self, row: "Sequence[np.ndarray]", room: int) -> str:
        """Return what draws pictures side by side, each in so much room at most."""
        from PIL import Image

        width, height = _character()
        wide = [min(picture.shape[1], room) for picture in row]
        high = [max(len(one) * across // one.shape[1], 1) for one, across in zip(row, wide, strict=True)]
        columns, lines = sum(wide) + 2 * len(wide) - 2, -(-max(high) * width // height)
        whole, left = Image.new("RGBA", (columns * width, lines * height)), 0
        for picture, across, down in zip(row, wide, high, strict=True):
            image = Image.fromarray((255 * picture.clip(0, 1)).round().astype("u1"))
            whole.paste(image.resize((across * width, down * width), Image.Resampling.BOX), (left, 0))
            left += (across + 2) * width
        config = self.chafa.CanvasConfig()
        config.width, config.height, config.cell_width, config.cell_height = columns, lines, width, height
        config.pixel_mode = self.chafa.PixelMode[f"CHAFA_PIXEL_MODE_{self.mode}"]
        canvas = self.chafa.Canvas(config)
        form = self.chafa.PixelType.CHAFA_PIXEL_RGBA8_UNASSOCIATED
        canvas.draw_all_pixels(form, bytearray(whole.tobytes()), *whole.size, 4 * whole.width)
        return canvas.print(self.terminal).decode()


def _character() -> tuple[int, int]:
    """Return the width and height of a character in pixels, as the terminal says, else as is usual."""
    with suppress(ImportError, OSError):
        import fcntl
        import termios

        told = fcntl.ioctl(sys.stdout, termios.TIOCGWINSZ, bytes(8))
        lines, columns, width, height = struct.unpack("4H", told)
        if lines and columns and width >= columns and height >= lines:
            return width // columns, height // lines
    return 8, 16


def _shaded(rows: "np.ndarray") -> list[str]:
    """Return lines of text that show brightnesses from 0 to 1, two rows a line: in colours, or by signs."""
    if shows_colours():
        return half_blocks(rows.tolist())
    grey = rows.mean(axis=-1) if rows.ndim == 3 else rows
    return ["".join(_SHADES[min(int(value * 10), 9)] for value in row) for row in grey[::2]]


def shows_colours() -> bool:
    """Tell whether stdout is a terminal that shows colours (NO_COLOR and dumb terminals do not)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def half_blocks(rows: Sequence[Sequence[Brightness]]) -> list[str]:
    """Return lines of text that show brightnesses from 0 (black) to 1 (white), two rows a line.

    Colours of three parts are exact where ``COLORTERM`` says so, and else the nearest of a terminal's 256.

    >>> half_blocks([[0.0], [1.0]])
    ['\\x1b[38;5;232m\\x1b[48;5;255m▀\\x1b[0m']
    """
    lines = []
    for upper, lower in zip_longest(rows[::2], rows[1::2]):
        cells = []
        for x, value in enumerate(upper):
            below = f"\x1b[48;{_colour(lower[x])}m" if lower is not None else ""
            cells.append(f"\x1b[38;{_colour(value)}m{below}▀\x1b[0m")
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
