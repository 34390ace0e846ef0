"""Receptive fields as a picture: the input with a frame for each layer, and beside it what moves each output."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from convcli.explanations.receptive import Seen, Span
from convcli.networks.pictures import Colours, colour
from convcli.pixels.drawing import FAINT, INK, PAPER, write

if TYPE_CHECKING:
    from PIL.Image import Image

PANEL, GAP, LINE, COLUMNS = 250, 14, 34, 3
TITLE = 34  # letters over a panel
FRAMES = ((230, 97, 1), (33, 102, 172), (27, 140, 90), (150, 60, 160), (200, 30, 60), (120, 120, 20))


def draw(found: Sequence[Seen], picture: np.ndarray) -> np.ndarray:
    """Return the picture, (height, width, 3) of uint8.

    Parameters
    ----------
    found : sequence of Seen
        The layers to show; a signal or an image.
    picture : ndarray
        (channels, *space) of the net's input, any range.
    """
    from PIL import Image

    view = _view(found[-1], picture.shape[1:])
    panels = [("input", "each layer's frame", _panel(_grey(picture), view))]
    for seen in found:
        sizes = f"sees {_size(seen.sees)}, effective {_size(seen.effective)}"
        panels.append(
            (seen.layer, sizes, _panel(colour(np.atleast_2d(seen.gradient), Colours.VIRIDIS), view))
        )
    for number, seen in enumerate(found):
        tone = FRAMES[number % len(FRAMES)]
        _outline(panels[0][2], seen.sees, view, tone)
        _outline(panels[number + 1][2], seen.sees, view, tone)
    wide, high = panels[0][2].size
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    sheet = Image.new(
        "RGB", (GAP + columns * (max(wide, PANEL) + GAP), GAP + rows * (high + LINE + GAP)), PAPER
    )
    for number, (title, remark, panel) in enumerate(panels):
        x = GAP + number % columns * (max(wide, PANEL) + GAP)
        y = GAP + number // columns * (high + LINE + GAP)
        ink = FRAMES[(number - 1) % len(FRAMES)] if number else INK
        short = title if len(title) <= TITLE else title[: TITLE - 3] + "..."
        write(sheet, (x, y), short, ink, 15)
        write(sheet, (x, y + 18), remark, FAINT, 12)
        sheet.paste(panel, (x, y + LINE))
    return np.asarray(sheet)


def _size(spans: Sequence[Span]) -> str:
    return "x".join(str(stop - start) for start, stop in spans)


def _two(spans: Sequence[Span]) -> tuple[Span, Span]:
    """Return the rows and columns of a field; a signal is one row."""
    return (spans[0], spans[1]) if len(spans) > 1 else ((0, 1), spans[0])


def _grey(picture: np.ndarray) -> np.ndarray:
    """Return the input's mean over the channels as pixels (rows, columns, 3), pale, so that frames are seen."""
    mean = np.atleast_2d(picture.astype(np.float64).mean(axis=0))
    low, high = float(np.nanmin(mean)), float(np.nanmax(mean))
    light = 90 + 165 * (np.nan_to_num(mean) - low) / ((high - low) or 1.0)
    return np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=-1)


def _view(last: Seen, sizes: Sequence[int]) -> tuple[Span, Span]:
    """Return the rows and columns to show: the last layer's field with a margin."""
    spans, counts = _two(last.sees), (1, *sizes)[-2:]
    margins = [
        max((stop - start) // 6, 1) if n > 1 else 0 for (start, stop), n in zip(spans, counts, strict=True)
    ]
    rows, columns = ((start - m, stop + m) for (start, stop), m in zip(spans, margins, strict=True))
    return rows, columns


def _panel(pixels: np.ndarray, view: tuple[Span, Span]) -> "Image":
    """Cut the view out of the input, white where there is none, and enlarge or reduce it to a panel."""
    from PIL import Image

    (top, bottom), (left, right) = view
    cut = np.full((bottom - top, right - left, 3), 235, np.uint8)
    y, x = max(-top, 0), max(-left, 0)  # where the input begins in the cut
    part = pixels[top + y : max(bottom, 0), left + x : max(right, 0)]
    cut[y : y + part.shape[0], x : x + part.shape[1]] = part
    scale = PANEL / max(cut.shape[:2])
    size = max(round(cut.shape[1] * scale), 1), max(round(cut.shape[0] * scale), 24)
    return Image.fromarray(cut).resize(size, Image.Resampling.NEAREST)


def _outline(
    panel: "Image", field: Sequence[Span], view: tuple[Span, Span], tone: tuple[int, int, int]
) -> None:
    from PIL import ImageDraw

    (top, bottom), (left, right) = view
    rows, columns = _two(field)
    across, down = panel.width / (right - left), panel.height / (bottom - top)
    box = (
        (columns[0] - left) * across,
        (rows[0] - top) * down,
        (columns[1] - left) * across - 1,
        (rows[1] - top) * down - 1,
    )
    ImageDraw.Draw(panel).rectangle(box, outline=tone, width=2)
