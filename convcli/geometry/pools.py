"""Pools: one class for each kind, with everything that the program asks of it.

A new pool is one class here, with one row in `POOLS`.  `PoolKind` says what the answers mean.  Arrays are numpy's or
torch's and come with their module, called ``xp``: neither is imported here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import inf, isnan, nan, prod
from typing import Any, ClassVar

from convcli.common import frozen
from convcli.geometry.windows import Window


@frozen
class Counterpart:
    """The same pool in another framework.

    Attributes
    ----------
    over_everything : str
        The layer that pools over everything, such as ``GlobalMaxPool``.
    remark : str
        How to get it, or with ``missing`` why not.
    missing : bool
        Whether the framework has no such pool.
    undilated : str
        Why its pool takes no dilation; empty where it takes one.
    """

    over_everything: str = ""
    remark: str = ""
    missing: bool = False
    undilated: str = ""


class PoolKind(ABC):
    """A kind of pool; all pools of one kind are equal.  ``str()`` gives its name.

    Attributes
    ----------
    name : str
        As it is written: ``max``.
    noun, function : str
        In explanations: "the maximum", and ``max(1, 2) = 2``.
    fill : float
        What stands in padding that does not count; it never changes a result.
    include : bool
        Whether padding can count as zeros, where that is asked for; else it never does.
    selects : bool
        Whether the result is one sample, or half the sum of two: explanations point at them, and integers stay exact.
    within : bool
        Whether the result lies within the range of the window's samples: a pool of colours times alpha, divided by
        the pool of alpha, is then a colour again.
    ufunc : str or None
        numpy's function of two samples, where one axis reduced after the other gives the window's result.
    fraction : float or None
        Of a kind that ranks, how far up its result lies among the samples: 0.5 in the middle; see `ranks`.
    torch, keras, onnx : Counterpart
        The same pool elsewhere.
    """

    name: ClassVar[str]
    noun: ClassVar[str]
    function: ClassVar[str]
    fill: ClassVar[float]
    include: ClassVar[bool] = False
    selects: ClassVar[bool] = True
    within: ClassVar[bool] = True
    ufunc: ClassVar[str | None] = None
    fraction: float | None = None
    torch: ClassVar[Counterpart]
    keras: ClassVar[Counterpart]
    onnx: ClassVar[Counterpart]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self)

    def __hash__(self) -> int:
        return hash(type(self))

    # Arithmetic

    @abstractmethod
    def reduce(self, xp: Any, windows: Any, counts: Any) -> Any:
        """Return the results of windows (…, taps), NaN where one of them holds a NaN.

        Parameters
        ----------
        xp : module
            numpy, or torch: then gradients flow back as `shares` says.
        windows : array
            Where there is a ``ufunc`` the taps of one axis, else those of all axes in C order.
        counts : int or array
            How many taps of each window are samples; the others are ``fill``.  Broadcasts with the results.
        """

    def ranks(self, counts: Any) -> Any:
        """Return two ranks, from 0, and the share of the second: the result is ``(1 - share) * low + share * high``.

        Of kinds with a `fraction` alone.  This is numpy's linear method.

        Parameters
        ----------
        counts : int or array
            Samples of each window; ranks of none are those of one.

        >>> MEDIAN.ranks(9), MEDIAN.ranks(4)
        ((4.0, 4.0, 0.0), (1.0, 2.0, 0.5))
        """
        place = self.fraction * (counts - 1 * (counts > 0))
        low = place // 1
        return low, low + (place > low), place - low

    def mix(self, xp: Any, low: Any, high: Any, counts: Any) -> Any:
        """Return the results of windows from floats of the ranks that `ranks` says; -0 becomes 0, as it ranks."""
        share = self.ranks(counts)[2]
        if isinstance(counts, int):
            return ((1 - share) * low + share * high if share else low) + 0.0
        high = xp.where(share > 0, high, 0)  # nothing times infinity is no number
        parts = [xp.asarray(part, dtype=low.dtype) for part in (1 - share, share)]
        return xp.where(counts > 0, parts[0] * low + parts[1] * high + 0.0, nan)

    def finish(self, values: Any, counts: Any) -> Any:
        """Return what remains to be done when all axes are reduced; in place where it can be."""
        return values

    def tensor(self, torch: Any, x: Any, kernel: Sequence[tuple[int, int, int]], counts: Any) -> Any:
        """Return the pooled whole windows of a tensor (N, C, *space).

        Parameters
        ----------
        kernel : sequence of tuple
            Size, stride and dilation along each axis of space.
        """
        windows = x
        for axis, (size, stride, dilation) in enumerate(kernel, 2):
            windows = windows.unfold(axis, dilation * (size - 1) + 1, stride)[..., ::dilation]
            if self.ufunc:
                windows = self.reduce(torch, windows, size)
        if not self.ufunc:
            windows = self.reduce(torch, windows.flatten(x.ndim), counts)
        return self.finish(windows, counts)

    def layer(self, torch: Any, x: Any, kernel: Sequence[tuple[int, int, int]], counts: Any) -> Any:
        """Return the same for a layer of a net, up to three axes: its gradient goes where `shares` says."""
        return self.tensor(torch, x, kernel, counts)

    @abstractmethod
    def shares(self, values: Sequence[float | None]) -> list[float]:
        """Return how much of a result's gradient goes to each tap of its window.

        Parameters
        ----------
        values : sequence of float or None
            The taps in C order; None is padding that does not count.
        """

    def output_range(self, low: float, high: float, taps: int) -> tuple[float, float]:
        """Return the bounds of the results of up to ``taps`` samples between ``low`` and ``high``."""
        return low, high

    def passes(self, windows: Sequence[Window], compiled: bool) -> float:
        """Estimate the cost, for each sample of the input, in passes over an array in the cache.

        ``compiled`` says whether the compiled loops do it.
        """
        return sum(2 * window.kernel.bit_length() for window in windows)

    # Words

    def told(self, value: str, places: Sequence[str]) -> str:
        """Return a result in words; ``places`` are those of the taps that take a share of the gradient."""
        return f"{self.noun}: {value}, from {places[0]}; all of the gradient goes there"


class _Extreme(PoolKind):
    """The largest or the smallest sample; the first of equal ones in C order takes all of the gradient, as in torch."""

    best: ClassVar[Callable[..., Any]]
    fraction: float

    def reduce(self, xp: Any, windows: Any, counts: Any) -> Any:
        return getattr(xp, f"a{self.name}")(windows, -1)

    def shares(self, values: Sequence[float | None]) -> list[float]:
        samples = {number: value for number, value in enumerate(values) if value is not None}
        nans = [number for number, value in samples.items() if isnan(value)]
        winner = nans[0] if nans else self.best(samples, key=samples.__getitem__, default=None)
        return [float(number == winner) for number in range(len(values))]


class MaxPool(_Extreme):
    name = "max"
    noun = "maximum"
    function = "max"
    best = max
    fraction = 1.0
    fill = -inf
    ufunc = "maximum"
    torch = Counterpart("AdaptiveMaxPool(1)")
    keras = Counterpart("GlobalMaxPooling")
    onnx = Counterpart("GlobalMaxPool")

    def layer(self, torch: Any, x: Any, kernel: Sequence[tuple[int, int, int]], counts: Any) -> Any:
        pool = getattr(torch.nn.functional, f"max_pool{len(kernel)}d")  # `amax` shares among equal ones
        size, stride, dilation = zip(*kernel, strict=True)
        return pool(x, size, stride, dilation=dilation)


class AvgPool(PoolKind):
    """The mean; each sample that counts takes the same share of the gradient."""

    name = "avg"
    noun = function = "mean"
    fill = 0.0
    include = True
    selects = False
    ufunc = "add"
    torch = Counterpart("AdaptiveAvgPool(1)", undilated="its average pool has no dilation")
    keras = Counterpart("GlobalAveragePooling")
    onnx = Counterpart("GlobalAveragePool")

    def reduce(self, xp: Any, windows: Any, counts: Any) -> Any:
        return xp.sum(windows, -1)

    def finish(self, values: Any, counts: Any) -> Any:
        values /= counts
        return values

    def shares(self, values: Sequence[float | None]) -> list[float]:
        counted = sum(value is not None for value in values)
        return [0.0 if value is None else 1 / counted for value in values]

    def told(self, value: str, places: Sequence[str]) -> str:
        return f"mean of {len(places)}: {value}; each gets 1/{len(places)} of the gradient"


class MinPool(_Extreme):
    name = "min"
    noun = "minimum"
    function = "min"
    best = min
    fraction = 0.0
    fill = inf
    ufunc = "minimum"
    torch = Counterpart("-AdaptiveMaxPool(1)(-x)", remark="as -max_pool(-x)")
    keras = Counterpart(missing=True, remark="it has no minimum pool")
    onnx = Counterpart(missing=True, remark="it has no minimum pool: -MaxPool(-x)")

    def layer(self, torch: Any, x: Any, kernel: Sequence[tuple[int, int, int]], counts: Any) -> Any:
        return -MAX.layer(torch, -x, kernel, counts)


class RankedPool(PoolKind):
    """A sample by its rank among those of the window, or a mean of two neighbours.

    Samples rank by their values, equal ones in C order.  The two share the gradient as they share in the result.
    A NaN ranks last and is the result wherever there is one; the last of them takes all of the gradient.
    """

    fill = inf
    include = True

    def reduce(self, xp: Any, windows: Any, counts: Any) -> Any:
        numpy = xp.__name__ == "numpy"
        ranked = xp.sort(windows, -1) if numpy else windows.sort(stable=True).values
        *ranks, _ = self.ranks(counts)
        if isinstance(counts, int):
            low, high = (ranked[..., int(rank)] for rank in ranks)
        else:
            take, shape = xp.take_along_axis if numpy else xp.take_along_dim, (*ranked.shape[:-1], 1)
            places = [xp.broadcast_to(xp.asarray(rank[..., None], dtype=xp.int64), shape) for rank in ranks]
            low, high = (take(ranked, place, -1)[..., 0] for place in places)
        return xp.where(xp.isnan(ranked[..., -1]), ranked[..., -1], self.mix(xp, low, high, counts))

    def shares(self, values: Sequence[float | None]) -> list[float]:
        samples = {number: value for number, value in enumerate(values) if value is not None}
        nans = [number for number, value in samples.items() if isnan(value)]
        ranked = nans[-1:] or sorted(samples, key=samples.__getitem__)
        if not ranked:
            return [0.0] * len(values)
        low, high, share = self.ranks(len(ranked))
        taken = (ranked[int(low)], 1 - share), (ranked[int(high)], share)
        return [sum(part for place, part in taken if place == number) for number in range(len(values))]

    def passes(self, windows: Sequence[Window], compiled: bool) -> float:
        taps, outputs = (
            prod(window.kernel for window in windows),
            prod(1 / window.stride for window in windows),
        )
        return min(taps * taps.bit_length() / 4, 400) * outputs if compiled else 40 * taps * outputs

    def told(self, value: str, places: Sequence[str]) -> str:
        if len(places) == 1:
            return super().told(value, places)
        between = "the mean of" if self.fraction == 0.5 else "between"
        of = "half" if self.fraction == 0.5 else "a part"
        return (
            f"{self.noun}: {value}, {between} those at {' and '.join(places)}; each gets {of} of the gradient"
        )


class MedianPool(RankedPool):
    """The middle sample, or the mean of the middle two."""

    name = noun = function = "median"
    fraction = 0.5
    torch = keras = onnx = Counterpart(missing=True, remark="it has no median pool")


MAX, AVG, MIN, MEDIAN = MaxPool(), AvgPool(), MinPool(), MedianPool()
POOLS: tuple[PoolKind, ...] = (MAX, AVG, MIN, MEDIAN)
