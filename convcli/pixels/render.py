"""The one place where floats become pixels: range policy, rounding half to even, the clipping report.

Values arrive in the input's own units (0–255 for 8 bits).  Nothing here knows files, kernels or axes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.pixels.ranges import Range, RangeKind

if TYPE_CHECKING:
    import torch

SPARE = 0.25  # of a level: less than rounds to the next one, more than any algorithm's error


@frozen
class Rendering:
    """A range policy with its numbers worked out: ``v -> (v - anchor) / width * scale + offset``.

    ``dtype`` is a numpy type name.  Integers are rounded and clipped to low…top, floats are not.  The anchor is
    subtracted first, so that a narrow window far from zero keeps its digits: ``v * scale + offset`` would lose
    them in float32.  ``width`` divides where a product would not end at exactly 1.
    Where a result ``fits``, no value can be outside or no number, and none is looked for.
    """

    dtype: str
    anchor: float = 0.0
    width: float = 1.0
    scale: float = 1.0
    offset: float = 0.0
    absolute: bool = False
    low: float = 0.0
    top: float = 0.0
    fits: bool = False

    @property
    def keeps_bytes(self) -> bool:
        """Whether bytes that fit need but be rounded."""
        return self == Rendering("uint8", low=self.low, top=self.top, fits=True)

    def map(self, value: float) -> float:
        """Return where a value comes to lie, before rounding."""
        value = abs(value) if self.absolute else value
        return (value - self.anchor) / self.width * self.scale + self.offset

    def apply(self, values: np.ndarray | torch.Tensor, library: Any) -> None:
        """Map values in place, before rounding; ``library`` is ``numpy`` or ``torch``, theirs alike."""
        if self.absolute:
            library.abs(values, out=values)
        if self.anchor:
            library.subtract(values, self.anchor, out=values)
        if self.width != 1.0:
            library.divide(values, self.width, out=values)
        if self.scale != 1.0:
            library.multiply(values, self.scale, out=values)
        if self.offset:
            library.add(values, self.offset, out=values)


@dataclass
class Tally:
    """How many values were written, clipped, and no numbers at all."""

    values: int = 0
    clipped: int = 0
    nans: int = 0

    def add(self, other: Tally) -> None:
        self.values += other.values
        self.clipped += other.clipped
        self.nans += other.nans


def resolve(
    policy: Range,
    dtype: str,
    *,
    full_scale: float,
    bound: float,
    compute: str,
    measured: tuple[float, float] | None = None,
    reach: tuple[float, float] | None = None,
    noise: float = 0.0,
) -> Rendering:
    """Work out a policy's numbers for one output.

    Parameters
    ----------
    policy : Range
    dtype : str
        The output's type: an integer type, or a float type (windows then map to 0…1).
    full_scale : float
        White in the input's units (255 for 8 bits); percent bounds refer to it.
    bound : float
        The largest absolute value that the kernels can produce: the kernel's larger one-sided sum times
        the full scale.  ``offset`` with gain 1 maps −bound…bound so that nothing clips.
    compute : str
        ``float32`` or ``float64``: the type of the values.
    measured : (float, float), optional
        Smallest and largest value of the whole output, for ``minmax``.
    reach : (float, float), optional
        Bounds of the values where all of them are known to be numbers.
    noise : float
        Differences that may come from rounding alone: ``minmax`` does not stretch them.

    >>> from convcli.pixels.ranges import Range, RangeKind
    >>> resolve(Range(RangeKind.OFFSET), "uint8", full_scale=255, bound=765, compute="float32").offset
    128.0
    """
    kind = np.dtype(dtype).kind
    if policy.kind is RangeKind.FLOAT:
        if kind != "f":
            raise UsageError(
                f"range float cannot be written as {dtype}: write .npy, .tiff or .csv, or use another --range"
            )
        return Rendering(dtype)
    if kind == "f":
        low, top = 0.0, 1.0
    else:
        limits = np.iinfo(dtype)
        low, top = float(limits.min), float(limits.max)
        if int(top) > limits.max:  # 64 bits: the nearest float lies outside
            top = float(np.nextafter(top, 0))
    span = top - low
    match policy.kind:
        case RangeKind.CLIP | RangeKind.ABS:
            if kind == "f":
                return Rendering(dtype, absolute=policy.kind is RangeKind.ABS)
            absolute = policy.kind is RangeKind.ABS
            return _checked(Rendering(dtype, absolute=absolute, low=low, top=top), reach)
        case RangeKind.OFFSET:
            middle = 0.5 if kind == "f" else float((limits.max + limits.min + 1) // 2)
            scale = policy.gain * (top - middle) / bound if bound else 0.0
            return _checked(Rendering(dtype, scale=scale, offset=middle, low=low, top=top), reach)
        case RangeKind.WINDOW:
            bottom, ceiling = policy.window(full_scale)
        case RangeKind.MINMAX:
            if measured is None:
                raise ValueError("minmax needs the measured range")
            bottom, ceiling = measured
    anchor = float(np.dtype(compute).type(bottom))
    width = ceiling - bottom
    if width <= noise:
        return _checked(Rendering(dtype, anchor=anchor, scale=0.0, offset=low, low=low, top=top), reach)
    offset = low + (anchor - bottom) / width * span  # what the anchor's rounding left over
    if kind == "f":
        return Rendering(dtype, anchor=anchor, width=width, offset=offset, low=low, top=top)
    how = Rendering(dtype, anchor=anchor, scale=span / width, offset=offset, low=low, top=top)
    return _checked(how, reach)


def _checked(how: Rendering, reach: tuple[float, float] | None) -> Rendering:
    """Note whether values within ``reach`` are within the output's range, with rounding to spare."""
    if reach is None:
        return how
    low, high = (0.0, max(map(abs, reach))) if how.absolute else reach
    return replace(how, fits=how.low - SPARE <= how.map(low) and how.map(high) <= how.top + SPARE)


def render(values: np.ndarray, how: Rendering) -> tuple[np.ndarray, Tally]:
    """Turn a block of floats into the output's type; the block's memory may be reused.

    NaN becomes the lowest value (black) and is counted; infinities clip.  Rounding is half to even.
    """
    tally = Tally(values=values.size)
    how.apply(values, np)
    target = np.dtype(how.dtype)
    if target.kind == "f":
        return values.astype(target, copy=False), tally
    np.rint(values, out=values)
    if how.fits:
        return values.astype(target), tally
    least, most = values.min(initial=np.inf), values.max(initial=-np.inf)
    if np.isnan(least):
        missing = np.isnan(values)
        tally.nans = int(np.count_nonzero(missing))
        values[missing] = how.low
        least, most = values.min(), values.max()
    if least < how.low or most > how.top:
        tally.clipped = int(np.count_nonzero(values < how.low)) + int(np.count_nonzero(values > how.top))
        np.maximum(values, how.low, out=values)  # the two take half the time of np.clip (measured)
        np.minimum(values, how.top, out=values)
    return values.astype(target), tally
