"""What an algorithm answers, and what it is asked to compute.

No array library is imported here, so that a plan needs none.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar

from convcli.common import EngineName, frozen
from convcli.engines.work import Work
from convcli.geometry.padding import PadMode
from convcli.kernel.model import Combine

if TYPE_CHECKING:
    import numpy as np

    from convcli.pixels.render import Rendering, Tally

Array = Any  # numpy.ndarray or torch.Tensor
Pixels = tuple["np.ndarray", "Tally"]
Render = Callable[[Array, "Rendering"], Pixels]


@frozen
class Outside:
    """What a correlation sees around data that are not padded yet.

    Attributes
    ----------
    ranges : tuple of (lo, hi)
        The box that the windows cover, in elements of the data, along each space axis.
    mode : PadMode
    value : float
        What the mode ``constant`` fills with.
    """

    ranges: tuple[tuple[int, int], ...]
    mode: PadMode
    value: float


@frozen
class Correlation:
    """One valid cross-correlation on arrays that fit each other (`convcli.engines.base.prepared` checks them).

    Attributes
    ----------
    x : ndarray
        ``(N, C, *space)``.
    weights : ndarray
        ``(O, I, *kernel)``.
    sizes : tuple of int
        The result's space axes.
    stride, dilation : sequence of int
        One number for each space axis.
    groups : int
    finite : bool
        Whether ``x`` is known to hold no NaN and no infinity.
    out : ndarray, optional
        Where the result belongs; an algorithm may return an array of its own all the same.
    threads : int
        Of the numpy engine; torch has threads of its own.
    device : torch.device, optional
        Of the torch engine.
    bias : tuple of float
        One for each map, added to it; none where empty.  Only of an algorithm that `finishes`.
    combine : Combine
        What the maps become, of such an algorithm.
    outside : Outside, optional
        Of an algorithm that `pads`: ``x`` is without its padding.
    """

    x: np.ndarray
    weights: np.ndarray
    sizes: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int = 1
    finite: bool = False
    out: np.ndarray | None = None
    threads: int = 1
    device: Any = None
    bias: tuple[float, ...] = ()
    combine: Combine = Combine.NONE
    outside: Outside | None = None

    @property
    def extents(self) -> tuple[int, ...]:
        """Elements from a window's first to its last along each axis of space."""
        sizes = zip(self.weights.shape[2:], self.dilation, strict=True)
        return tuple(d * (k - 1) + 1 for k, d in sizes)

    def narrowed(self, x: np.ndarray, sizes: tuple[int, ...]) -> Correlation:
        """Return the same for a part of the data, with a result of its own."""
        return replace(self, x=x, sizes=sizes, out=None)


@frozen
class Values:
    """What a look at a box's values found (`convcli.engines.base`).

    Attributes
    ----------
    largest : float
        The largest absolute value; NaN where there is one.
    spread : float
        How many times larger than the largest value in a window any value is, at most.
    """

    largest: float
    spread: float

    @property
    def finite(self) -> bool:
        return isfinite(self.largest)


@frozen
class Algorithm(ABC):
    """One way of one engine to correlate, with all that the planner and the engine ask of it.

    Attributes
    ----------
    engine : EngineName
    name : str
    error : float
        Its bound in float32, as a share of the kernel's absolute sum times the input's largest absolute value.
    reproducible : bool
        Whether the shape of a block cannot change a result by a bit.
    local : bool
        Whether a NaN or an infinity spoils only the outputs whose window holds it.
    integers : tuple of str
        The types of integers that it takes beside floats of the weights' type.
    """

    engine: ClassVar[EngineName]
    name: ClassVar[str]
    error: ClassVar[float]
    reproducible: ClassVar[bool] = True
    local: ClassVar[bool] = True
    integers: ClassVar[tuple[str, ...]] = ()

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def offers(self, work: Work) -> bool:
        """Return whether it can do a piece of work within its error."""

    def mixes(self, call: Correlation) -> bool:
        """Return whether a large value may be felt outside its windows, so that `serves` must be asked."""
        return False

    def serves(self, call: Correlation, values: Values) -> bool:
        """Return whether its error is within its bound at every output, whatever stands elsewhere in the box."""
        return self.local or values.finite

    def keeps_shares(self, weights: np.ndarray) -> bool:
        """Return whether its error is a share of each output, for weights and data without negative numbers.

        Then what no window holds is exactly zero, and what one holds under a small weight is not lost.
        """
        return self.local

    @abstractmethod
    def cost(self, work: Work) -> float:
        """Return what that takes on one core, in nanoseconds."""

    def scratch(self, work: Work) -> int:
        """Return about how many bytes it holds beside data and result."""
        return 0

    @abstractmethod
    def run(self, call: Correlation) -> Array:
        """Return the correlation ``(N, O, *sizes)``, an array of its library; maybe in ``call.out``."""

    def pixels(self, call: Correlation, how: Rendering, out: np.ndarray | None, render: Render) -> Pixels:
        """Return the correlation as pixels, by the engine's ``render`` or without it; maybe in ``out``."""
        return render(self.run(call), how)

    def pads(self, data: np.dtype, weights: np.dtype, mode: PadMode) -> bool:
        """Return whether it takes data of this type as they are, with what is outside."""
        return False

    def finishes(self, how: Rendering) -> bool:
        """Return whether `pixels` adds a bias and combines maps."""
        return False

    def fused(self, work: Work) -> bool:
        """Return whether it goes from bytes to bytes in tiles of its own, so that blocks need not fit the cache."""
        return False

    def tile(self, work: Work, axis: int) -> int:
        """Return the outputs along an axis that it computes at a time: blocks should be multiples of it."""
        return 1
