"""Pools: one class for each kind, with everything that the program asks of it.

A new pool is one class here, with one row in `POOLS`.  `PoolKind` says what the answers mean.  Arrays are numpy's or
torch's and come with their module, called ``xp``: neither is imported here.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from math import fsum, inf, isnan, nan, prod, sqrt
from typing import Any, ClassVar

from convcli.common import UsageError, frozen
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
    parameters : mapping
        What is written after the size, and the values where it is left out: ``percent`` of ``percentile:5,90``.
    include : bool
        Whether padding can count as zeros, where that is asked for; else it never does.
    selects : bool
        Whether the result is one sample, or half the sum of two: explanations point at them.
    within : bool
        Whether the result lies within the range of the window's samples and never falls where one of them grows: a
        pool of colours times alpha, divided by the pool of alpha, is then a colour again.
    gain : float or None
        How many times the largest sample a result can be, where integers stay exact; None where they may not.
    display : str
        The range policy that suits the results; empty for that of what is pooled.
    scratch : int
        Arrays of the padded input's size, beside it and the results, that the arithmetic takes.
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
    gain: ClassVar[float | None] = 1.0
    parameters: ClassVar[Mapping[str, str]] = {}
    display: ClassVar[str] = ""
    scratch: ClassVar[int] = 2
    ufunc: ClassVar[str | None] = None
    fraction: float | None = None
    torch: ClassVar[Counterpart]
    keras: ClassVar[Counterpart]
    onnx: ClassVar[Counterpart]

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, vars(self).values()))})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def given(self, *values: float) -> "PoolKind":
        """Return the kind with values of its `parameters`."""
        return self

    @property
    def arguments(self) -> str:
        """The values of its parameters as they are written after a size: ``,90``."""
        return ""

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

    def composed(
        self, xp: Any, pool: Callable[[Any, "PoolKind"], Any], x: Any, counts: Any, largest: float
    ) -> Any:
        """Return results made of those of other kinds, where that is faster; else None.

        Parameters
        ----------
        pool : callable
            Pools an array of the shape of ``x`` by a kind, with the same borders and policy for missing samples.
        x : array
            Samples without padding; missing ones are NaN.
        counts : int or array
            How many taps of each window are samples or missing ones.
        largest : float
            Bound of the sizes of integers; infinite where ``x`` may hold others.
        """
        return None

    def states(self, xp: Any, x: Any) -> Any:
        """Return what is known of windows of one tap, as (states, *shape of x); None of kinds that merge none."""
        return None

    def merge(self, xp: Any, a: Any, b: Any) -> Any:
        """Return the states of windows that consist of two parts."""
        raise NotImplementedError

    def merged(self, xp: Any, states: Any, counts: Any) -> Any:
        """Return what `reduce` does, of the states of whole windows."""
        raise NotImplementedError

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
        if not self.selects:
            return f"{self.noun}: {value}"
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
    gain = None
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
        counts = counts if numpy or isinstance(counts, int) else counts.double()
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
        taps = prod(window.kernel for window in windows)
        outputs = prod(1 / window.stride for window in windows)
        if compiled and [window.kernel for window in windows] in ([3, 3], [5, 5]):
            return taps / 8 * outputs
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


class PercentilePool(RankedPool):
    """The sample below which a part of the window's samples lies, or one between two: numpy's linear method."""

    name = function = "percentile"
    parameters: ClassVar[Mapping[str, str]] = {"percent": "90"}
    torch = keras = onnx = Counterpart(missing=True, remark="it has no pool of percentiles")

    def __init__(self, percent: float = 90.0) -> None:
        self.percent = percent

    def given(self, *values: float) -> PoolKind:
        if values and not 0 <= values[0] <= 100:
            raise UsageError(f"percent {values[0]:g} is not possible: give 0 to 100, as in percentile:5,90")
        return PercentilePool(*values)

    @property
    def fraction(self) -> float:  # type: ignore[override]
        return self.percent / 100

    @property
    def noun(self) -> str:  # type: ignore[override]
        return f"percentile {self.percent:g}"

    @property
    def arguments(self) -> str:
        return f",{self.percent:g}"


class SumPool(AvgPool):
    """The sum, of which other kinds are made."""

    name = noun = function = "sum"
    within = False

    def finish(self, values: Any, counts: Any) -> Any:
        return values


class _Statistic(PoolKind):
    """A number about all samples of a window: its range is not that of its samples."""

    fill = nan
    include = True
    selects = within = False
    gain: ClassVar[float | None] = None
    display = "clip"

    def passes(self, windows: Sequence[Window], compiled: bool) -> float:
        return 4 * super().passes(windows, compiled)


class VarPool(_Statistic):
    """The mean square of the distances to the mean (``ddof=0`` in numpy).

    Windows of floats are put together from halves (Chan, Golub and LeVeque 1979): as exact as summing the squares of
    the distances to each window's own mean, and without looking at every tap.
    """

    name = function = "var"
    noun = "variance"
    display = "minmax"
    scratch = 32
    torch = keras = onnx = Counterpart(missing=True, remark="it has no pool of variances")

    def reduce(self, xp: Any, windows: Any, counts: Any) -> Any:
        windows = windows.astype("float64") if xp.__name__ == "numpy" else windows.double()
        there = ~xp.isnan(windows)
        number = there.sum(-1)
        mean = xp.where(there, windows, 0.0).sum(-1) / number
        apart = xp.where(there, windows - mean[..., None], 0.0)
        return xp.where(number < counts, nan, (apart * apart).sum(-1) / number)

    def composed(
        self, xp: Any, pool: Callable[[Any, PoolKind], Any], x: Any, counts: Any, largest: float
    ) -> Any:
        most = counts if isinstance(counts, int) else counts.max()
        if (most * largest) ** 2 > 2.0**53:
            return None
        x = x.astype("float64")
        sums, squares = pool(x, SUM), pool(x * x, SUM)  # exact
        return self.finish((counts * squares - sums * sums) / (counts * counts), counts)

    def states(self, xp: Any, x: Any) -> Any:
        there = ~xp.isnan(x)
        samples, nothing = xp.where(there, x, 0), xp.zeros(x.shape)
        return xp.stack([there.astype("float64"), samples, nothing, nothing])

    def merge(self, xp: Any, a: Any, b: Any) -> Any:
        number, apart = a[0] + b[0], (b[1] - a[1]) + (b[2] - a[2])
        step = apart * (b[0] / xp.maximum(number, 1))
        mean = a[1] + step
        taken = mean - a[1]  # and what the sum has rounded off (Knuth)
        rest = a[2] + ((a[1] - (mean - taken)) + (step - taken))
        return xp.stack([number, mean, rest, a[3] + b[3] + apart * step * a[0]])

    def merged(self, xp: Any, states: Any, counts: Any) -> Any:
        return xp.where(states[0] < counts, nan, states[3] / states[0])

    def shares(self, values: Sequence[float | None]) -> list[float]:
        samples = [value for value in values if value is not None]
        mean = fsum(samples) / (len(samples) or 1)
        return [0.0 if value is None else 2 * (value - mean) / len(samples) for value in values]

    def output_range(self, low: float, high: float, taps: int) -> tuple[float, float]:
        return 0.0, ((high - low) / 2) ** 2

    def passes(self, windows: Sequence[Window], compiled: bool) -> float:
        return 4 * super().passes(windows, compiled)


class StdPool(VarPool):
    """The root of the variance."""

    name = function = "std"
    noun = "standard deviation"
    display = "clip"
    torch = keras = onnx = Counterpart(missing=True, remark="it has no pool of standard deviations")

    def finish(self, values: Any, counts: Any) -> Any:
        level = values == 0
        return (values + 1 * level) ** 0.5 - 1 * level  # whose slope at zero is a number

    def shares(self, values: Sequence[float | None]) -> list[float]:
        shares = super().shares(values)
        squares = fsum(share * share for share in shares) * sum(value is not None for value in values) / 4
        return [share / (2 * sqrt(squares)) if squares else 0.0 for share in shares]

    def output_range(self, low: float, high: float, taps: int) -> tuple[float, float]:
        return 0.0, (high - low) / 2


class RangePool(_Statistic):
    """The largest sample minus the smallest; equal ones share the gradient, as in torch's amax and amin."""

    name = noun = function = "range"
    include = False
    gain = 2.0
    torch = keras = onnx = Counterpart(missing=True, remark="it has no pool of ranges: max minus min")

    def reduce(self, xp: Any, windows: Any, counts: Any) -> Any:
        gone = xp.isnan(windows)
        high, low = xp.amax(xp.where(gone, -inf, windows), -1), xp.amin(xp.where(gone, inf, windows), -1)
        number = (~gone).sum(-1)
        return xp.where((number < counts) | (number == 0), nan, high - low)

    def composed(
        self, xp: Any, pool: Callable[[Any, PoolKind], Any], x: Any, counts: Any, largest: float
    ) -> Any:
        found = pool(x, MAX) - pool(x, MIN)
        return xp.where(counts > 0, found, nan)

    def shares(self, values: Sequence[float | None]) -> list[float]:
        samples = [value for value in values if value is not None]
        ends = [(sign, end(samples)) for sign, end in ((1, max), (-1, min)) if samples]
        return [sum(sign * (one == end) / samples.count(end) for sign, end in ends) for one in values]

    def output_range(self, low: float, high: float, taps: int) -> tuple[float, float]:
        return 0.0, high - low


class CountPool(_Statistic):
    """How many samples are there; padding that does not count and samples that are skipped are not."""

    name = noun = function = "count"
    fill = 0.0
    torch = keras = onnx = Counterpart(missing=True, remark="it has no pool that counts")

    def reduce(self, xp: Any, windows: Any, counts: Any) -> Any:
        return xp.where(xp.isnan(windows).any(-1), nan, 1.0 * counts)

    def composed(
        self, xp: Any, pool: Callable[[Any, PoolKind], Any], x: Any, counts: Any, largest: float
    ) -> Any:
        return pool(xp.where(xp.isnan(x), x, x.dtype.type(1)), SUM)

    def shares(self, values: Sequence[float | None]) -> list[float]:
        return [0.0] * len(values)

    def output_range(self, low: float, high: float, taps: int) -> tuple[float, float]:
        return 0.0, float(taps)


class MajorityPool(PoolKind):
    """The most frequent value, of equally frequent ones the smallest; its first sample takes all of the gradient."""

    name = function = "majority"
    noun = "most frequent value"
    fill = nan
    include = True
    within = False  # colours times alpha may have another majority than alpha
    torch = keras = onnx = Counterpart(missing=True, remark="it has no pool of majorities")

    def reduce(self, xp: Any, windows: Any, counts: Any) -> Any:
        numpy = xp.__name__ == "numpy"
        ranked = xp.sort(windows, -1) if numpy else windows.sort(stable=True).values
        take = xp.take_along_axis if numpy else xp.take_along_dim
        places = xp.broadcast_to(xp.arange(ranked.shape[-1]), ranked.shape)
        begins = xp.where(ranked[..., 1:] == ranked[..., :-1], 0, places[..., 1:])
        begins = xp.concatenate([places[..., :1], begins], -1)
        begins = xp.maximum.accumulate(begins, -1) if numpy else xp.cummax(begins, -1).values
        longest = (places - begins).argmax(-1)[..., None]  # the first of equally long ones
        found = take(ranked, take(begins, longest, -1), -1)[..., 0]
        number = (~xp.isnan(ranked)).sum(-1)
        return xp.where(number < counts, nan, found)

    def composed(
        self, xp: Any, pool: Callable[[Any, PoolKind], Any], x: Any, counts: Any, largest: float
    ) -> Any:
        there = ~xp.isnan(x)
        padding = counts - pool(xp.ones_like(x), SUM)  # zeros that count
        values = xp.unique(
            xp.concatenate([x[there], xp.zeros_like(x[there][:1])]) if padding.any() else x[there]
        )
        if len(values) > (counts if isinstance(counts, int) else counts.max()):
            return None
        found = pool(xp.where(there, x.dtype.type(0), x), AVG)  # missing where a result is
        most = xp.zeros_like(found)
        for value in values:
            number = pool((x == value).astype(x.dtype), SUM) + (padding if value == 0 else 0)
            found = xp.where((number > most) & ~xp.isnan(found), value, found)
            most = xp.maximum(most, number)
        return found

    def shares(self, values: Sequence[float | None]) -> list[float]:
        samples = [value for value in values if value is not None]
        best = min(set(samples), key=lambda value: (-samples.count(value), value), default=None)
        return [float(best is not None and number == values.index(best)) for number in range(len(values))]

    def passes(self, windows: Sequence[Window], compiled: bool) -> float:
        return 60 * prod(window.kernel / window.stride for window in windows)


MAX, AVG, MIN, MEDIAN, SUM = MaxPool(), AvgPool(), MinPool(), MedianPool(), SumPool()
STATISTICS: tuple[PoolKind, ...] = (
    *(MIN, MAX, MEDIAN, PercentilePool(), StdPool(), VarPool(), RangePool(), MajorityPool(), CountPool()),
)
POOLS: tuple[PoolKind, ...] = (MAX, AVG, *(kind for kind in STATISTICS if kind is not MAX))
