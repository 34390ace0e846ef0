"""One output value taken apart: its taps, the numbers under them, the products, and where the sum comes from.

Values, as plain data: what stands where is `taps`' to say, and the result is computed by the engines that
compute it for ``filter`` and handed in.  No files, no text, no drawing.
"""

import math
from collections.abc import Sequence

import numpy as np

from convcli.common import Missing, frozen, frozen_identity
from convcli.geometry.pools import PoolKind
from convcli.geometry.windows import PlaceSources, Tap, taps
from convcli.jobs.chain import ConvStage, PoolStage
from convcli.jobs.missing import SLACK
from convcli.kernel import Combine


@frozen
class Product:
    """One tap: the value under it, its weight, and their product; a missing value that is skipped has none."""

    tap: Tap
    value: float
    weight: float
    skipped: bool = False

    @property
    def product(self) -> float:
        return 0 if self.skipped else self.value * self.weight

    @property
    def facts(self) -> dict[str, object]:
        """The tap for a program."""
        value, product = (None, None) if self.skipped else (self.value, self.product)
        return {**self.tap.facts, "value": value, "weight": self.weight, "product": product}


@frozen
class Plane:
    """The products on one channel of the input."""

    channel: int
    taps: tuple[Product, ...]

    facts = ("channel", "sum", "taps")

    @property
    def sum(self) -> float:
        return added([one.product for one in self.taps])


@frozen
class Sum:
    """One output of one kernel: what it adds up, over one channel or over all.

    ``map`` counts the outputs, ``channel`` is the one that the kernel was applied to alone (None: to all).  ``present``
    is the share of the weights whose samples are not skipped, by which the sum is divided; NaN where the result is
    missing all the same.
    """

    map: int
    channel: int | None
    channels: tuple[Plane, ...]
    bias: float
    present: float = 1

    facts = ("map", "channel", "bias", "present", "total", "channels")

    @property
    def total(self) -> float:
        products = [one.product for plane in self.channels for one in plane.taps]
        return (
            added([*products, self.bias]) if self.present == 1 else added(products) / self.present + self.bias
        )


@frozen
class ConvExplanation:
    """A convolution's output at one place.

    Attributes
    ----------
    at
        The output's place, one index an axis.
    transposed
        Whether the taps are those with which inputs reach the output.
    sums
        One for each map and, where a kernel is applied to each channel alone, each channel.
    combine
        How the maps become one.
    values
        What ``filter`` computes there: one number for each sum, or for each channel when they are combined.
    """

    at: tuple[int, ...]
    transposed: bool
    sums: tuple[Sum, ...]
    combine: Combine
    values: tuple[float, ...]


@frozen
class PoolTap:
    """One tap of a pool; ``gradient`` is how much of the output's gradient goes to this input."""

    tap: Tap
    value: float | None  # None: padding or skipped, which never wins and is not counted
    gradient: float

    @property
    def facts(self) -> dict[str, object]:
        """The tap for a program."""
        return {**self.tap.facts, "value": self.value, "gradient": self.gradient}


@frozen
class Pooled:
    """One channel of a pool's input under the window, and the result."""

    channel: int
    taps: tuple[PoolTap, ...]
    value: float

    facts = ("channel", "value", "taps")

    @property
    def sharing(self) -> tuple[PoolTap, ...]:
        """The taps that take a share of the gradient."""
        return tuple(tap for tap in self.taps if tap.gradient)


@frozen
class PoolExplanation:
    """A pool's output at one place."""

    pool: PoolKind
    at: tuple[int, ...]
    outputs: tuple[Pooled, ...]

    facts = ("at", "pool", "outputs")

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(pooled.value for pooled in self.outputs)

    def chosen(self, pooled: Pooled) -> tuple[PoolTap, ...]:
        """Return the taps whose samples are a plane's result, where the kind selects samples."""
        return pooled.sharing if self.pool.selects else ()


Explanation = ConvExplanation | PoolExplanation


def explain_conv(
    stage: ConvStage,
    data: np.ndarray,
    at: Sequence[int],
    values: Sequence[float],
    missing: Missing = Missing.PROPAGATE,
    min_weight: float = 0.0,
) -> ConvExplanation:
    """Return the taps and products of one output.

    Parameters
    ----------
    stage : ConvStage
    data : ndarray
        (planes, *space), the stage's input; integers times whole weights stay Python's, which are exact.
    at : sequence of int
        Which output.
    values : sequence of float
        What ``filter`` computes there.
    missing : Missing
        What missing samples do, where that can be done with this kernel.
    min_weight : float
        Share of the weights that must be present.
    """
    found = taps(stage.windows, at, data.shape[1:], stage.mode)
    integers = data.dtype.kind in "iu"
    weights = stage.kernel.array("float64" if integers else data.dtype).reshape(stage.weight_shape)

    def number(value: float) -> float:
        return int(value) if integers and float(value).is_integer() else float(value)

    def plane(channel: int, taken: np.ndarray) -> Plane:
        seen = [value_of(tap.sources, data[channel], number(stage.value)) for tap in found]
        products = (
            Product(tap, value, number(taken[tap.index]), missing.skips and math.isnan(value))
            for tap, value in zip(found, seen, strict=True)
        )
        return Plane(channel, tuple(products))

    def summed(out: int, channel: int | None, planes: tuple[Plane, ...], bias: float) -> Sum:
        every = [one for each in planes for one in each.taps]
        held = [one.weight for one in every if not one.skipped]
        if len(held) == len(every):
            return Sum(out, channel, planes, bias)
        share = added(held) / added([one.weight for one in every])
        gone = all(one.skipped for one in every if one.tap.index == stage.origins)
        lost = share <= 0 or share < min_weight - SLACK or (missing is Missing.KEEP and gone)
        return Sum(out, channel, planes, bias, math.nan if lost else share)

    sums = []
    for out, bias in enumerate(map(number, stage.kernel.bias)):
        if stage.summed:
            planes = tuple(plane(channel, weights[out, channel]) for channel in range(len(data)))
            sums.append(summed(out, None, planes, bias))
        else:
            sums += [
                summed(out, channel, (plane(channel, weights[out, 0]),), bias) for channel in range(len(data))
            ]
    return ConvExplanation(tuple(at), stage.transposed, tuple(sums), stage.kernel.combine, tuple(values))


def value_of(sources: PlaceSources, plane: np.ndarray, fill: float) -> float:
    """Return what stands where these elements of a plane do, or the fill value where none does."""
    return sum(weight * plane[place].item() for place, weight in sources) if sources else fill


def added(numbers: Sequence[float]) -> float:
    """Return the sum: of Python integers exactly, of others rounded once."""
    return sum(numbers) if all(isinstance(one, int) for one in numbers) else math.fsum(numbers)


def explain_pool(
    stage: PoolStage,
    data: np.ndarray,
    at: Sequence[int],
    values: Sequence[float],
    missing: Missing = Missing.PROPAGATE,
) -> PoolExplanation:
    """Return what a pool sees at one output; parameters as for `explain_conv`.

    Padding that counts is a zero, and takes its share of the gradient.
    """
    found = taps(stage.windows, at, data.shape[1:], stage.mode)
    planes = []
    for index, (plane, value) in enumerate(zip(data, values, strict=True)):
        seen = [_sample(stage, plane, tap) for tap in found]
        if missing.skips:
            seen = [None if value is not None and math.isnan(value) else value for value in seen]
        rows = zip(found, seen, stage.kind.shares(seen), strict=True)
        planes.append(Pooled(index, tuple(PoolTap(*row) for row in rows), value))
    return PoolExplanation(stage.kind, tuple(at), tuple(planes))


@frozen_identity
class Route:
    """Where all results of a pool come from, and where their gradients go.

    Attributes
    ----------
    positions
        (channels, *outputs): of the sample that is the result, its index in the flat plane, as torch's
        ``return_indices`` counts; -1 where several share it, or none.
    gradient
        (channels, *inputs): what every input gets, where that of each output is 1.
    """

    pool: PoolKind
    positions: np.ndarray
    gradient: np.ndarray

    facts = ("pool", "positions", "gradient")


def route(stage: PoolStage, data: np.ndarray, outputs: Sequence[int], missing: Missing) -> Route:
    """Return the route of a pool of (channels, *space) with these sizes of output."""
    positions = np.full((len(data), *outputs), -1)
    gradient = np.zeros(data.shape)
    for at in np.ndindex(*outputs):
        for pooled in explain_pool(stage, data, at, [0.0] * len(data), missing).outputs:
            for one in pooled.sharing:
                for place, weight in one.tap.sources:
                    gradient[(pooled.channel, *place)] += weight * one.gradient
            if stage.kind.selects and len(pooled.sharing) == 1 and pooled.sharing[0].tap.source:
                source = pooled.sharing[0].tap.source
                positions[(pooled.channel, *at)] = np.ravel_multi_index(source, data.shape[1:])
    return Route(stage.kind, positions, gradient)


def _sample(stage: PoolStage, plane: np.ndarray, tap: Tap) -> float | None:
    if stage.pads:
        return value_of(tap.sources, plane, stage.value)
    if tap.source is not None:
        sample: float = plane[tap.source].item()
        return sample
    inside = all(
        -window.before <= place < n + window.after
        for place, n, window in zip(tap.position, plane.shape, stage.windows, strict=True)
    )
    return 0 if stage.include_padding and stage.kind.include and inside else None
