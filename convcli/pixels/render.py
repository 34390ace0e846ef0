"""The one place where floats become pixels: range policy, rounding half to even, the clipping report.

Values arrive in the input's own units (0–255 for 8 bits).  Nothing here knows files, kernels or axes.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.common import frozen

if TYPE_CHECKING:
    import torch

SPARE = 0.25  # of a level: less than rounds to the next one, more than the rounding of a mapping's own steps

SLACK = 1e-6  # of a float's white: the rounding of a mapping may lie so far beyond it


@frozen
class Rendering:
    """A range policy with its numbers worked out: ``v -> (v - anchor) / width * scale + offset``.

    ``dtype`` is a numpy type name.  Integers are rounded, and all are clipped to low…top.  The anchor is
    subtracted first, so that a narrow window far from zero keeps its digits: ``v * scale + offset`` would lose
    them in float32.  ``width`` divides where a product would not end at exactly 1.
    Where a result ``fits``, no value can be outside or no number, and none is looked for; numbers that are kept fit.
    A policy with another mapping returns a subclass with its own `apply`, through `Target.checked`.
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
    def ends(self) -> tuple[float, float]:
        """The values that become black and white."""
        black, white = (
            (end - self.offset) / (self.scale or 1.0) * self.width for end in (self.low, self.top)
        )
        return black + self.anchor, white + self.anchor

    @property
    def affine(self) -> bool:
        """Whether its numbers are the whole mapping, so that loops of bytes can do it; not if `apply` is another."""
        return type(self) is Rendering

    @property
    def plain(self) -> bool:
        """Whether it only rounds, and clips."""
        mapping = (self.absolute, self.anchor, self.width, self.scale, self.offset)
        return self.affine and mapping == (False, 0, 1, 1, 0)

    @property
    def keeps(self) -> bool:
        """Whether integers of its type stay what they are."""
        if not self.plain or np.dtype(self.dtype).kind == "f":
            return False
        return self.fits or (self.low, self.top) == (np.iinfo(self.dtype).min, np.iinfo(self.dtype).max)

    def map(self, value: float) -> float:
        """Return where a value comes to lie, before rounding."""
        values = np.array(value, np.float64)
        self.apply(values, np)
        return float(values)

    def apply(self, values: "np.ndarray | torch.Tensor", library: Any) -> None:
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


@frozen
class Logarithm(Rendering):
    """The mapping of sizes by their logarithms to base 10; those below ``floor`` count as it."""

    floor: float = 0.0

    @property
    def ends(self) -> tuple[float, float]:
        low, high = super().ends
        return 10**low, 10**high

    def apply(self, values: "np.ndarray | torch.Tensor", library: Any) -> None:
        library.abs(values, out=values)
        library.clip(values, self.floor, None, out=values)
        library.log10(values, out=values)
        super().apply(values, library)


@frozen
class Target:
    """What a range policy maps into: one output's type, and what is known of its values beforehand.

    Attributes
    ----------
    dtype : str
        The output's type: an integer type, or a float type (windows then map to 0…1).
    full_scale : float
        White in the input's units (255 for 8 bits); percent bounds refer to it.
    bound : float
        The largest absolute value that the kernels can produce: the kernel's larger one-sided sum times
        the full scale.  ``offset`` with gain 1 maps −bound…bound so that nothing clips.
    compute : str
        ``float32`` or ``float64``: the type of the values.
    reach : (float, float), optional
        Bounds of the values where all of them are known to be numbers.
    error : float
        How far computed values may be off, beyond ``reach`` too.
    noise : float
        Differences that may come from rounding alone: what is measured is not stretched beyond them.
    white : float, optional
        The output's white, where it is not that of its type: 4095 of 12 bits in 16.
    numbers : bool
        Whether the input's are not levels of brightness: where ``clip`` and ``abs`` cut, they stay as they are.
    """

    dtype: str
    full_scale: float
    bound: float
    compute: str
    reach: tuple[float, float] | None = None
    error: float = 0.0
    noise: float = 0.0
    white: float | None = None
    numbers: bool = False

    @property
    def floats(self) -> bool:
        return np.dtype(self.dtype).kind == "f"

    @cached_property
    def low(self) -> float:
        """Black."""
        signed = np.dtype(self.dtype).kind == "i"
        return float(-self._limit - 1) if signed else 0.0

    @cached_property
    def top(self) -> float:
        """White."""
        if self.floats:
            return 1.0
        limit, kind = self._limit, np.dtype(self.compute).type
        top = kind(limit)  # of 64 bits the nearest float may lie outside
        return (top if int(top) <= limit else np.nextafter(top, kind(0))).item()

    @property
    def _limit(self) -> int:
        return int(self.white or np.iinfo(self.dtype).max)

    @property
    def middle(self) -> float:
        """Mid grey."""
        if self.floats:
            return 0.5
        return float((self._limit + int(self.low) + 1) // 2)

    @property
    def level(self) -> float:
        """What a unit of the input is in the output, where white becomes white."""
        return 1.0 if self.numbers else self.top / self.full_scale

    def rendering(self, **mapping: Any) -> Rendering:
        """Return a `Rendering` with the numbers of its mapping; all have defaults.

        >>> Target("uint8", full_scale=255, bound=255, compute="float32").rendering(offset=128.0).map(-28)
        100.0
        """
        return self.checked(Rendering(self.dtype, **mapping, low=self.low, top=self.top))

    def stretch(self, bottom: float, ceiling: float, noise: float = 0.0) -> Rendering:
        """Return the mapping of ``bottom`` to black and ``ceiling`` to white; all is black if they are one.

        Parameters
        ----------
        noise : float
            How far apart they may be and still count as one.
        """
        black, width = np.longdouble(bottom), float(np.longdouble(ceiling) - bottom)
        anchor = float(np.dtype(self.compute).type(black))
        if width <= noise:
            return self.rendering(anchor=anchor, scale=0.0, offset=self.low)
        span = self.top - self.low
        offset = self.low + float(anchor - black) / width * span  # what the anchor's rounding left over
        if self.floats:
            return self.rendering(anchor=anchor, width=width, offset=offset)
        return self.rendering(anchor=anchor, scale=span / width, offset=offset)

    def logarithm(self, bottom: float, ceiling: float) -> Rendering:
        """Return the mapping of decibels of full scale to black and white."""
        low, high = (end / 20 + np.log10(self.full_scale) for end in (bottom, ceiling))
        return Logarithm(**vars(self.stretch(low, high)) | {"fits": False}, floor=10**low)

    def checked(self, how: Rendering) -> Rendering:
        """Note whether values within ``reach`` and its ``error`` round to the output's range, all of them."""
        if self.reach is None or self.floats:
            return how
        low, high = self.reach[0] - self.error, self.reach[1] + self.error
        if how.absolute:
            low, high = 0.0, max(-low, high)
        return replace(how, fits=how.low - SPARE <= how.map(low) and how.map(high) <= how.top + SPARE)


@dataclass
class Tally:
    """Counts of values written, clipped and not numbers; and the value, where all results are equal."""

    values: int = 0
    clipped: int = 0
    nans: int = 0
    rounded: bool = False  # integers beyond 2^53
    only: float | None = None  # NaN where they became several
    ends: tuple[float, float] | None = field(default=None, compare=False)  # the values of black and white

    def add(self, other: "Tally") -> None:
        self.values += other.values
        self.clipped += other.clipped
        self.nans += other.nans
        self.rounded |= other.rounded
        if other.only is not None:
            self.only = other.only if self.only in (None, other.only) else np.nan

    @property
    def even(self) -> bool:
        """Whether several values became one."""
        return self.values > 1 and self.only is not None and not np.isnan(self.only)

    def look(self, pixels: np.ndarray) -> None:
        """Note whether all pixels of a block are one; the last one or the first row show of most that they are not."""
        if pixels.size:
            first = pixels.flat[0]
            even = first == pixels.flat[-1] and (pixels[..., :1, :] == first).all()
            even = even and pixels.min() == pixels.max()
            self.only = float(first) if even else np.nan


def render(values: np.ndarray, how: Rendering) -> "tuple[np.ndarray, Tally]":
    """Turn a block of floats into the output's type; the block's memory may be reused.

    NaN becomes black, or 0 of signed integers, and is counted, and stays among floats; infinities clip.  Rounding is
    half to even.
    """
    tally = Tally(values=values.size)
    with np.errstate(all="ignore"):  # infinities times 0, where all numbers are equal
        how.apply(values, np)
    target = np.dtype(how.dtype)
    floats = target.kind == "f"
    if not floats:
        np.rint(values, out=values)
    if how.fits:
        pixels = values.astype(target, copy=False)
        tally.rounded = floats and values.itemsize > 8 and bool((pixels != values).any())
        return pixels, tally
    least, most = values.min(initial=np.inf), values.max(initial=-np.inf)
    if floats and np.isnan(least):
        least, most = -np.inf, np.inf
    elif np.isnan(least):
        missing = np.isnan(values)
        tally.nans = int(np.count_nonzero(missing))
        values[missing] = max(how.low, 0.0)
        least, most = values.min(), values.max()
    if least < how.low or most > how.top:
        slack = SLACK if floats else how.top * 2.0**-52 * (how.scale != 1)
        low, top = how.low - slack, how.top + slack
        tally.clipped = int(np.count_nonzero(values < low)) + int(np.count_nonzero(values > top))
        np.maximum(values, how.low, out=values)  # the two take half the time of np.clip (measured)
        np.minimum(values, how.top, out=values)
    return values.astype(target), tally
