"""What a kernel is: weights with their shape, bias, origin, and how its results want to be shown.

Pure values: numpy is imported only where an array is asked for or given.  No files, no parsing of text.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Sequence
from dataclasses import field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from convcli.common import ConvError, UsageError, about, frozen, parse_choice, quoted
from convcli.common.budget import WEIGHTS, Rule
from convcli.pixels.ranges import Clip, Offset, Range, parse_range

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike

    from convcli.geometry.padding import Padding, PadMode
    from convcli.geometry.pools import PoolKind

MAX_RANK = 3


class Combine(StrEnum):
    """How the outputs of a bank become one."""

    NONE = "none"  # one output a kernel
    MAGNITUDE = "magnitude"  # the square root of the sum of squares
    MAX = "max"
    SUM = "sum"


@frozen
class Defaults:
    """Geometry that a kernel asks for where the command line says nothing; ``None`` asks for nothing.

    ``pool`` stays text here: what a pool is belongs to ``layers``, which reads it with ``parse_pool``.
    """

    stride: tuple[int, ...] | None = None
    padding: tuple[Padding, ...] | None = None
    pad_mode: PadMode | None = None
    dilation: tuple[int, ...] | None = None
    flip: bool | None = None
    pool: str | None = None
    axis: str | None = None  # of data that has all of these; else the last axes


@frozen
class Kernel:
    """One kernel or a bank of them.

    Attributes
    ----------
    name
        As the person wrote it, or the file's own.
    shape
        (outputs, inputs, *space): the first two are 1 for a single kernel; space has 1 to 3 axes.
    weights
        The numbers, flat, the last axis fastest.
    bias
        One number for each output, added at the end; empty means zeros.
    origin
        For each space axis the tap that sits on the output's own position; empty means (k - 1) // 2.
    centred
        Whether nobody named an origin, so that outputs lie at the centres of their windows; worked out.
    combine
        Makes a bank's outputs one.
    display
        The range policy that suits the results, if the kernel names one.
    slug
        A short text for file names; made from the name when empty.
    in_samples
        The name with numbers of samples, where it has units.
    statistic
        Of the window's samples, instead of their weighted sum; all weights are then 1, and nothing else is told.

    Raises
    ------
    UsageError
        When the parts do not fit each other, or a number is not finite.

    >>> edge = Kernel("edge", (1, 1, 2), (0.5, -0.5))
    >>> edge.size, edge.origin, edge.sum, edge.output_range(0, 255)
    ((2,), (0,), 0.0, (-127.5, 127.5))
    """

    name: str
    shape: tuple[int, ...]
    weights: tuple[float, ...] = field(repr=False)
    bias: tuple[float, ...] = ()
    origin: tuple[int, ...] = ()
    combine: Combine = Combine.NONE
    display: Range | None = None
    description: str = ""
    source: str = ""
    defaults: Defaults = Defaults()
    slug: str = ""
    centred: bool | None = field(default=None, compare=False, repr=False)
    in_samples: str = field(default="", compare=False, repr=False)
    statistic: PoolKind | None = None

    def __post_init__(self) -> None:
        with about(self.title):
            try:
                self._complete()
            except ConvError:
                raise
            except (TypeError, ValueError, AttributeError, OverflowError) as error:
                parts = "name (text), shape and origin (whole numbers), weights and bias (numbers)"
                raise UsageError(f"a kernel is made of {parts}: {error}") from None

    def _complete(self) -> None:
        """Bring what was given into the types of the fields, fill in what was left out, and check it."""
        for name in ("shape", "weights", "bias", "origin"):
            if isinstance(getattr(self, name), str | bytes | dict):
                raise TypeError(f"{name} is not a sequence of numbers")
        if self.display is not None and not isinstance(self.display, Range):
            object.__setattr__(self, "display", parse_range(str(self.display)))
        given = {
            "shape": tuple(map(operator.index, self.shape)),
            "weights": tuple(self.weights),
            "bias": tuple(self.bias),
            "origin": tuple(map(operator.index, self.origin)),
            "combine": parse_choice(Combine, self.combine, "combine"),
            "slug": self.slug or slug(self.name),
        }
        # Nothing can be assigned in a frozen dataclass, so resolved values go the long way round.
        for name, value in given.items():
            object.__setattr__(self, name, value)
        if not 1 <= self.rank <= MAX_RANK:
            raise UsageError(f"{max(self.rank, 0)} axes of space: 1 to {MAX_RANK} are possible")
        check_size(self.shape)
        if len(self.weights) != math.prod(self.shape):
            raise UsageError(f"{len(self.weights)} weights do not fill {size_text(self.shape)}")
        if self.centred is None:
            object.__setattr__(self, "centred", not self.origin)
        object.__setattr__(self, "bias", self.bias or (0.0,) * self.outputs)
        object.__setattr__(self, "origin", self.origin or tuple((k - 1) // 2 for k in self.size))
        if len(self.bias) != self.outputs:
            raise UsageError(f"{len(self.bias)} biases for {self.outputs} outputs: give one for each")
        if len(self.origin) != self.rank:
            raise UsageError(f"origin {self.origin} needs one index an axis, and there are {self.rank}")
        for index, k in zip(self.origin, self.size, strict=True):
            if not 0 <= index < k:
                raise UsageError(f"origin {index} lies outside an axis of {k}: use 0 to {k - 1}")
        alone = (*self.shape[:2], *self.bias, self.combine) == (1, 1, 0.0, Combine.NONE)
        if self.statistic is not None and not (alone and set(self.weights) == {1.0}):
            raise UsageError(
                f"a {self.statistic} has no weights to scale, to sum over channels or to add a bias to"
            )
        # A sum of sizes is finite only if all of them are; and if it is not, nor would the results be.
        if not math.isfinite(sum(map(math.fabs, self.weights)) + sum(map(math.fabs, self.bias))):
            raise UsageError("weights and bias must be finite numbers, and so must be their sum")

    @property
    def title(self) -> str:
        """What the kernel is called in a message."""
        return kernel_title(self.name)

    @property
    def outputs(self) -> int:
        """How many maps it makes from its inputs, before `combine`."""
        return self.shape[0]

    @property
    def inputs(self) -> int:
        """How many channels it sums over; 1 means: each channel alone."""
        return self.shape[1]

    @property
    def size(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def rank(self) -> int:
        return len(self.shape) - 2

    @property
    def maps(self) -> int:
        """How many maps leave it, after `combine`."""
        return self.outputs if self.combine is Combine.NONE else 1

    @cached_property
    def _halves(self) -> list[tuple[float, float]]:
        """The sums of the positive and of the negative weights of each output, each rounded once."""
        return list(map(_halves, self.rows))

    @cached_property
    def sum(self) -> float:
        """The sum of all weights, rounded once."""
        return self._halves[0][0] if self.outputs == 1 and self.non_negative else math.fsum(self.weights)

    @property
    def absolute_sum(self) -> float:
        return math.fsum(half for up, down in self._halves for half in (up, -down))

    @cached_property
    def non_negative(self) -> bool:
        return min(self.weights) >= 0

    @property
    def rows(self) -> tuple[tuple[float, ...], ...]:
        """The weights of each output, flat."""
        step = len(self.weights) // self.outputs
        return tuple(self.weights[i : i + step] for i in range(0, len(self.weights), step))

    @cached_property
    def zero_sum(self) -> bool:
        """Whether flat areas give zero, up to rounding: true of differences, such as edge kernels."""
        return all(abs(up + down) <= 1e-12 * (up - down) for up, down in self._halves)

    @property
    def display_policy(self) -> Range:
        """The kernel's own range policy, else ``offset`` for signed results that sum to zero, else ``clip``."""
        if self.display is not None:
            return self.display
        if self.statistic is not None:
            return parse_range(self.statistic.display or "clip")
        signed = self.combine is not Combine.MAGNITUDE
        return Offset() if signed and self.zero_sum else Clip()

    def output_range(self, low: float, high: float) -> tuple[float, float]:
        """Return between what numbers the results lie for inputs from `low` to `high`, bias included.

        Interval arithmetic over the taps: exact for single kernels, ``none`` and ``sum``; for ``magnitude``
        and ``max`` the bounds hold but need not be reached.

        >>> Kernel("difference", (1, 1, 2), (3.0, -2.0), bias=(1.0,)).output_range(0, 10)
        (-19.0, 31.0)
        """
        if self.statistic is not None:
            return self.statistic.output_range(low, high, math.prod(self.size))
        bias = (math.fsum(self.bias),) if self.combine is Combine.SUM else self.bias
        lows, highs = [], []
        for (up, down), offset in zip(self._sides, bias, strict=True):
            lows.append(up * low + down * high + offset)
            highs.append(up * high + down * low + offset)
        if self.combine is Combine.MAGNITUDE:
            nearest = [max(lo, -hi, 0.0) for lo, hi in zip(lows, highs, strict=True)]
            return math.hypot(*nearest), math.hypot(
                *(max(-lo, hi) for lo, hi in zip(lows, highs, strict=True))
            )
        return (max(lows) if self.combine is Combine.MAX else min(lows)), max(highs)

    @property
    def _sides(self) -> list[tuple[float, float]]:
        """The sums of positive and of negative weights, of each output; of all, where the outputs are added up."""
        # The taps of outputs that are added up meet the same inputs: add them first.
        added = self.combine is Combine.SUM
        return [_halves(tuple(map(math.fsum, zip(*self.rows, strict=True))))] if added else self._halves

    def weighted(self) -> Kernel:
        """Return the kernel itself.

        Raises
        ------
        UsageError
            For a statistic, which is no weighted sum.
        """
        if self.statistic is not None:
            problem = f"it is the {self.statistic.noun} of a window, which is not linear and has no weights"
            raise UsageError(problem, subject=self.title)
        return self

    def normalised(self) -> Kernel:
        """Return the kernel with each output's weights divided by their sum.

        Raises
        ------
        UsageError
            For a sum of 0.
        """
        if self.zero_sum or any(not math.fsum(row) for row in self.rows):
            raise UsageError("its weights sum to 0, so that no factor makes that 1", subject=self.title)
        rows = (tuple(weight / sum(row) for weight in row) for row in self.rows)
        return replace(self, weights=tuple(weight for row in rows for weight in row))

    def scaled(self, factor: float) -> Kernel:
        """Return the kernel with its weights multiplied by a factor."""
        return replace(self, weights=tuple(weight * factor for weight in self.weights))

    def flipped(self) -> Kernel:
        """Return the kernel mirrored along every space axis, its origin with it: true convolution.

        >>> Kernel("edge", (1, 1, 2), (0.5, -0.5)).flipped().weights
        (-0.5, 0.5)
        """
        step = math.prod(self.size)
        parts = (self.weights[i : i + step][::-1] for i in range(0, len(self.weights), step))
        origin = tuple(k - 1 - index for k, index in zip(self.size, self.origin, strict=True))
        return replace(self, weights=tuple(w for part in parts for w in part), origin=origin)

    def with_bias(self, values: Sequence[float]) -> Kernel:
        """Return the kernel with another bias: one number for all outputs, or one for each."""
        return replace(self, bias=tuple(values) * self.outputs if len(values) == 1 else tuple(values))

    def _repr_png_(self) -> bytes | None:
        """Return the weights as a picture for notebooks, up to 16 planes: black to white, 0 of signed ones mid grey."""
        if self.statistic is not None:
            return None
        import io

        import numpy as np
        from PIL import Image

        planes = self.array().reshape(-1, *(1, *self.size)[-2:])[:16]
        grey = planes / (np.abs(planes).max() or 1.0)
        grey = grey if self.non_negative else (grey + 1) / 2
        large = grey.repeat(zoom := max(1, 128 // max(grey.shape[1:])), axis=1).repeat(zoom, axis=2)
        row = np.hstack([*np.pad(large, ((0, 0), (0, 0), (0, 8)), constant_values=1.0)])[:, :-8]
        made = io.BytesIO()
        Image.fromarray(np.rint(255 * row).astype(np.uint8)).save(made, "png")
        return made.getvalue()

    def array(self, dtype: DTypeLike = "float64") -> np.ndarray:
        """Return the weights as a new array of shape (outputs, inputs, *space).

        Raises
        ------
        UsageError
            Where one exceeds what ``dtype`` holds, for a type that is none of real numbers, and for a statistic.
        """
        import numpy as np

        self.weighted()
        if np.dtype(dtype).kind not in "iuf":
            raise UsageError(f"{np.dtype(dtype)} does not hold real numbers", subject=self.title)
        numbers = np.array(self.weights).reshape(self.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            array = numbers.astype(dtype)
        if not (np.isfinite(array) if array.dtype.kind == "f" else np.trunc(numbers) == array).all():
            raise UsageError(f"its weights exceed {array.dtype}", subject=self.title)
        return array

    @classmethod
    def from_array(cls, array: ArrayLike, name: str = "array", *, rank: int | None = None) -> Kernel:
        """Make a kernel of an array of numbers.

        Parameters
        ----------
        array
            Up to three dimensions are space; four are out × in × y × x, five out × in × z × y × x.
        rank
            How many of the last dimensions are space, where that is not meant: what is before them is
            out, or out × in.

        Raises
        ------
        UsageError
            For other shapes, for numbers that are complex or not finite, for text and objects.

        >>> Kernel.from_array([[1, 0], [0, -1]]).shape
        (1, 1, 2, 2)
        """
        import numpy as np

        with about(kernel_title(name)):
            if np.ma.isMaskedArray(array):
                raise UsageError("its weights are masked in part: fill them, with array.filled(0)")
            try:
                numbers = np.asarray(array)
            except ValueError:
                raise UsageError("its lists are not all equally long") from None
            except Exception as error:  # whatever an object raises that is asked for an array
                raise UsageError(f"it gives no array: {error or type(error).__name__}") from None
            if numbers.dtype.kind not in "biuf":
                what = numbers.dtype if numbers.dtype.kind == "c" else quoted(array)
                raise UsageError(f"weights are real numbers, not {what}")
            shape = full_shape(numbers.shape, rank)
            check_size(shape)
            with np.errstate(over="ignore"):  # of long doubles; the infinities are refused
                return cls(name, shape, tuple(numbers.astype(np.float64).ravel().tolist()))


def _halves(row: Sequence[float]) -> tuple[float, float]:
    if min(row) >= 0:  # one pass less over what may be millions
        return math.fsum(row), 0.0
    return math.fsum(w for w in row if w > 0), math.fsum(w for w in row if w < 0)


def kernel_title(name: str) -> str:
    """Return what a kernel of this name is called in a message.

    >>> kernel_title("hedge")
    "kernel 'hedge'"
    """
    return f"kernel {quoted(name, 100)}"


def full_shape(shape: Sequence[int], rank: int | None) -> tuple[int, ...]:
    """Return (out, in, *space) for weights given with fewer dimensions.

    >>> full_shape((3, 3), None), full_shape((8, 3, 3), 2)
    ((1, 1, 3, 3), (8, 1, 3, 3))
    """
    depth = len(shape)
    if rank is None:
        rank = depth if depth <= MAX_RANK else depth - 2
    if not 1 <= rank <= MAX_RANK or not rank <= depth <= rank + 2:
        raise UsageError(
            f"weights {depth} deep do not make a kernel"
            + (
                f" of rank {rank}: it takes {rank} (space), or up to two more (out × in × space)"
                if depth
                else ""
            )
        )
    leading = tuple(shape[: depth - rank])
    return (*leading, *(1,) * (2 - len(leading)), *shape[depth - rank :])


def check_size(shape: Sequence[int], stored: int | None = None, rule: Rule = WEIGHTS) -> None:
    """Refuse empty kernels, and too many weights; ``stored`` as in `Rule`."""
    if min(shape) < 1:
        raise UsageError(f"empty: its size is {size_text(shape)}")
    if rule.most is not None and math.prod(shape) > rule.most:
        raise UsageError(f"{size_text(shape)} weights are more than {rule.most:,}")
    if stored is not None:
        rule.allow(math.prod(shape), f"{size_text(shape)} weights", stored)


def size_text(shape: Sequence[int]) -> str:
    """Return sizes as they are written on the command line, such as ``3x5``."""
    return "x".join(map(str, shape))


def slug(name: str) -> str:
    """Return a text that is safe within a file name of any system.

    >>> slug("gaussian:sigma=2x1"), slug("my kernels/a+b")
    ('gaussian-sigma=2x1', 'my-kernels-a-b')
    """
    return re.sub(r"[^\w.=-]+", "-", name).strip("-.")[:60] or "kernel"


def nested(flat: Sequence[float], shape: Sequence[int]) -> list[Any]:
    """Return flat numbers as lists of lists of the given shape."""
    if len(shape) == 1:
        return list(flat)
    step = len(flat) // shape[0]
    return [nested(flat[i : i + step], shape[1:]) for i in range(0, len(flat), step)]
