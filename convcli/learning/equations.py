"""A convolution's outputs as equations for its unknown weights: numpy, float64.

Every output is one equation: the input's values under the taps, times the unknown weights, plus the unknown
bias, is the target's value.  The equations are made block by block and never all in memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from operator import add

import numpy as np

from convcli.common import frozen, frozen_identity
from convcli.data.box import Box, grid, slices, whole
from convcli.data.info import SPACE
from convcli.engines.padding import pad
from convcli.execution.pipeline import reference
from convcli.geometry.padding import PadMode
from convcli.geometry.windows import TransposedWindow, Window
from convcli.jobs.chain import Chain, ConvStage

BLOCK = 1 << 20  # numbers of the equations that are in memory at once: 8 MB


@frozen_identity
class Example:
    """An input and what is to become of it.

    Attributes
    ----------
    stage : ConvStage
        A kernel of the wanted shape, bound to the input; its weights do not matter.
    input : ndarray
        (channels, *space), any real type.
    target : ndarray
        (maps, *outputs).  Where the stage does not sum over channels, one map for each channel.
    borders : bool
        Whether outputs whose windows leave the input count.  What lies outside is then the stage's to say.
    limits : tuple of float, optional
        Values at which the target was cut off: such outputs do not count.
    """

    stage: ConvStage
    input: np.ndarray
    target: np.ndarray
    borders: bool = False
    limits: tuple[float, float] | None = None

    @property
    def across(self) -> bool:
        """Whether one equation takes all channels; otherwise each channel has its own."""
        return self.stage.summed or len(self.input) == 1

    @property
    def spans(self) -> Box:
        """Return the outputs that count, along each axis."""
        if self.borders:
            return whole(self.target.shape[1:])
        return tuple(map(_inside, self.stage.windows, self.input.shape[1:], self.target.shape[1:]))

    @property
    def counting(self) -> int:
        """Return how many numbers of the target count, by their place alone."""
        return len(self.target) * prod(stop - start for start, stop in self.spans)

    def filtered(self, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return what ``filter`` computes of the input with a kernel, of the target's shape."""
        kernel = replace(
            self.stage.kernel, weights=tuple(weights.ravel().tolist()), bias=tuple(bias.tolist())
        )
        sizes = (self.input.shape[1:], self.target.shape[1:])
        chain = Chain(SPACE[-len(sizes[0]) :], sizes, (replace(self.stage, kernel=kernel),), len(self.input))
        return reference(chain, self.input, "float64").reshape(self.target.shape)

    def counted(self, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return targets and results where the target counts, (outputs, counting)."""
        outputs = self.stage.kernel.outputs
        places = (slice(None), *slices(self.spans))
        targets = self.target[places].reshape(outputs, -1).astype(np.float64)
        results = results[places].reshape(outputs, -1)
        kept = np.isfinite(results).all(0) & np.isfinite(targets).all(0) & self.within(targets)
        return targets[:, kept], results[:, kept]

    def within(self, targets: np.ndarray) -> np.ndarray:
        """Return which columns of (outputs, n) targets were not cut off."""
        if self.limits is None:
            return np.ones(targets.shape[1], bool)
        low, high = self.limits
        return np.logical_and.reduce((targets > low) & (targets < high))


@frozen
class LeftOut:
    """Outputs that did not count, and why."""

    border: int = 0  # their windows leave the input
    saturated: int = 0  # the target is at the end of its range
    missing: int = 0  # a NaN or an infinity in the target or under the window

    def __add__(self, other: "LeftOut") -> "LeftOut":
        return LeftOut(*map(add, vars(self).values(), vars(other).values()))

    def told(self, *reasons: str) -> list[str]:
        """Return how many were left out for each reason, in the order of the fields, where there are any."""
        counts = zip(vars(self).values(), reasons, strict=True)
        return [f"{count} {reason}" for count, reason in counts if count]


def equations(example: Example, bias: bool) -> "Iterator[tuple[np.ndarray, np.ndarray, LeftOut]]":
    """Yield blocks of equations, one a column, and what was left out of each.

    The first array has what stands under each tap, then a 1 where a bias is sought; the second the targets.
    """
    spans = example.spans
    shape = example.stage.kernel.shape
    channels = 1 if example.across else len(example.input)
    unknowns = prod(shape[1:]) + bias
    most = max(BLOCK // (unknowns * channels), unknowns // channels, 1)
    for box in _boxes([stop - start for start, stop in spans], most):
        placed = tuple((lo + start, hi + start) for (lo, hi), (start, _) in zip(box, spans, strict=True))
        inputs = np.empty((unknowns, channels * prod(hi - lo for lo, hi in placed)))
        inputs[prod(shape[1:]) :] = 1
        _fill_inputs(inputs[: prod(shape[1:])], example, placed)
        block = example.target[(slice(None), *slices(placed))]
        targets = block.reshape(shape[0], -1).astype(np.float64)
        present = np.isfinite(inputs).all(0) & np.isfinite(targets).all(0)
        kept = present & example.within(targets)
        counts = {"missing": int((~present).sum()), "saturated": int(present.sum() - kept.sum())}
        lost = LeftOut(**{reason: count * shape[0] for reason, count in counts.items()})
        yield (inputs, targets, lost) if kept.all() else (inputs[:, kept], targets[:, kept], lost)


def _fill_inputs(rows: np.ndarray, example: Example, box: Box) -> None:
    """Write what stands under the taps for a box of outputs, each tap of each channel a row."""
    stage = example.stage
    ranges = [window.input_range(lo, hi) for window, (lo, hi) in zip(stage.windows, box, strict=True)]
    mode = stage.mode if example.borders else PadMode.ZERO
    padded = pad(example.input, ranges, mode, stage.value, np.float64)
    outputs = tuple(hi - lo for lo, hi in box)
    taps = tuple(window.kernel for window in stage.windows)
    for number, tap in enumerate(np.ndindex(taps)):
        under = tuple(
            slice(w.dilation * t, w.dilation * t + w.stride * (n - 1) + 1, w.stride)
            for w, t, n in zip(stage.windows, tap, outputs, strict=True)
        )
        values = padded[(slice(None), *under)]
        own = rows[number :: prod(taps)] if example.across else rows[number]
        own.reshape(-1, *outputs)[:] = values


def _inside(window: Window | TransposedWindow, n: int, outputs: int) -> tuple[int, int]:
    """Return the outputs whose windows lie inside ``n`` inputs.

    >>> _inside(Window(3, stride=2, before=1, after=1), 7, 4)
    (1, 3)
    """
    start = -(-window.before // window.stride)
    stop = min((n + window.before - window.extent) // window.stride + 1, outputs)
    return start, max(stop, start)


def _boxes(shape: Sequence[int], most: int) -> Iterator[Box]:
    """Cut a box into boxes of at most ``most`` elements, whole along the last axes.

    >>> list(_boxes((3, 2), 4))
    [((0, 2), (0, 2)), ((2, 3), (0, 2))]
    """
    return grid(shape, [max(most // max(prod(shape[axis + 1 :]), 1), 1) for axis in range(len(shape))])
