"""What one output of a net sees of the input, at each layer: by arithmetic, and by the gradient.

The theoretical field is the arithmetic of `geometry`, the one that ``shape`` prints.  The effective field is
how much every input element moves that output: the sum of the absolute gradients of its channels (Luo, Li,
Urtasun and Zemel, "Understanding the effective receptive field in deep convolutional neural networks", 2016).
`draw` shows the input with a frame for each layer, and
beside it what moves each output.  No files.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from convcli.common import UsageError, frozen_identity
from convcli.geometry.graph import Step, boxes, needed_for
from convcli.networks.pictures import Panel, colour, sheet

if TYPE_CHECKING:
    from PIL.Image import Image

    from convcli.networks.torch_run import TorchNet

# Of the largest gradient: what is below is not counted (the paper's two standard deviations).
FAINT = 1 - 0.9545
MOST_CHANNELS = 64  # whose gradients are added up
MOST_LAYERS = 500  # each gradient goes back through all layers before its own

Span = tuple[int, int]


@frozen_identity
class Seen:
    """What the output of one layer sees.

    Attributes
    ----------
    layer
        Its label.
    at
        Which of its outputs, one index an axis: the one in the middle of what the last layer's output needs.
    sees
        (start, stop) along each axis of the net's input, which may lie outside it: padding.
    gradient : ndarray
        Of the input's sizes; 1 is the largest.  All zero where the output does not move at all.
    """

    layer: str
    at: tuple[int, ...]
    sees: tuple[Span, ...]
    gradient: np.ndarray

    facts = ("layer", "at", "sees", "effective")

    @property
    def effective(self) -> tuple[Span, ...]:
        """(start, stop) along each axis of the elements whose gradient is not faint; empty where none is."""
        found = np.argwhere(self.gradient > FAINT)
        if not len(found):
            return tuple((0, 0) for _ in self.sees)
        low, high = found.min(axis=0).tolist(), found.max(axis=0).tolist()
        return tuple((start, last + 1) for start, last in zip(low, high, strict=True))


def spatial(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the layers up to the last one whose outputs still have a place.

    Raises
    ------
    UsageError
        When there is none.
    """
    before = tuple(takewhile(lambda step: not step.output.flat, steps))
    found = needed_for(before, before[-1].name) if before else ()
    if not found:
        raise UsageError(
            "the net's first layer already leaves no places: there is no receptive field to show"
        )
    return found


def places(steps: Sequence[Step], at: Sequence[int]) -> list[tuple[int, ...]]:
    """Return, for each layer, the output in the middle of those that output ``at`` of the last layer needs."""
    found = boxes(steps, tuple((place, place + 1) for place in at))
    middles = (((lo + hi - 1) // 2 for lo, hi in found[step.name]) for step in steps)
    return [
        tuple(min(max(place, 0), n - 1) for place, n in zip(middle, step.output.sizes, strict=True))
        for step, middle in zip(steps, middles, strict=True)
    ]


def seen_by(model: "TorchNet", array: np.ndarray, at: Sequence[int]) -> list[Seen]:
    """Return what each layer's output sees of an input (channels, *space).

    Parameters
    ----------
    model : TorchNet
        Bound to the input; its last layer's output is the one that ``at`` names.
    at : sequence of int
        One index an axis.

    Raises
    ------
    UsageError
        When ``at`` lies outside the last layer's output, and for more than 500 layers.
    """
    import torch

    from convcli.networks.torch_run import outputs

    steps = spatial(model.steps)
    if len(steps) > MOST_LAYERS:
        raise UsageError(f"{len(steps)} layers are too many for a gradient of each: {MOST_LAYERS} at most")
    sizes = steps[-1].output.sizes
    if len(at) != len(sizes) or any(place >= n for place, n in zip(at, sizes, strict=True)):
        shown, limits = ",".join(map(str, at)), "x".join(map(str, sizes))
        raise UsageError(f"--at {shown} lies outside the output of {steps[-1].name}, which is {limits}")
    x = model.input(array).detach().requires_grad_()
    found = []
    computed = outputs(steps, model.parameters, x)
    for (step, out), place in zip(computed, places(steps, at), strict=True):
        total = torch.zeros_like(x[0, 0])
        for channel in range(min(out.shape[1], MOST_CHANNELS)):
            (gradient,) = torch.autograd.grad(out[(0, channel, *place)], x, retain_graph=True)
            total += gradient[0].nan_to_num(0, 0, 0).abs().sum(0)  # a magnitude of 0 has no gradient
        largest = float(total.max())
        field = tuple(f.of(one) for f, one in zip(step.fields, place, strict=True))
        numbers = (total / largest if largest else total).cpu().numpy().astype(np.float64)
        found.append(Seen(step.layer.label, place, field, numbers))
    return found


# The picture

PANEL, COLUMNS = 250, 3
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
    view = _view(found[-1], picture.shape[1:])
    whole = _panel(_grey(picture), view)
    panels = [Panel("input", "each layer's frame", whole)]
    for number, seen in enumerate(found):
        tone = FRAMES[number % len(FRAMES)]
        own = _panel(colour(np.atleast_2d(seen.gradient), "viridis"), view)
        for drawn in (whole, own):
            _outline(drawn, seen.sees, view, tone)
        title = seen.layer if len(seen.layer) <= TITLE else seen.layer[: TITLE - 3] + "..."
        panels.append(Panel(title, f"sees {_size(seen.sees)}, effective {_size(seen.effective)}", own, tone))
    return sheet(panels, min(COLUMNS, len(panels)))


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
