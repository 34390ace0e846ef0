"""A chain of kernels and pools bound to data of a certain size: what happens along every axis.

`convcli.jobs.bind` makes one of options and sizes.  No arrays, no files, no engine.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import inf, isfinite, nan, prod
from typing import TYPE_CHECKING

from convcli.common import frozen
from convcli.data import Axis
from convcli.geometry.padding import PadMode
from convcli.geometry.pools import PoolKind
from convcli.geometry.windows import Field, TransposedWindow, Window
from convcli.kernel import Combine, Kernel

if TYPE_CHECKING:
    import numpy as np


class _Padded:
    """What stands around the data of a stage."""

    windows: Sequence[Window | TransposedWindow]
    mode: PadMode
    value: float
    fills = False

    @property
    def stays_in_range(self) -> bool:
        """Whether what stands around the data lies within their range."""
        return self.mode.stays_in_range or not any(window.before or window.after for window in self.windows)

    def padded_range(self, low: float, high: float, sizes: Sequence[int]) -> tuple[float, float]:
        """Return bounds of the data with their padding, for data of these sizes within low…high."""
        if self.fills:
            return low, high
        gain = 1
        for window, n in zip(self.windows, sizes, strict=True):
            gain *= self.mode.gain(*window.input_range(0, window.output_size(n)), n)
        spread = (gain - 1) / 2 * (high - low)
        return min(low - spread, self.value), max(high + spread, self.value)


@frozen
class ConvStage(_Padded):
    """One kernel on one input: a window for each axis of the data, those it does not touch of size 1.

    Attributes
    ----------
    kernel : Kernel
        Already flipped and with its bias.
    windows : tuple
        One for each space axis of the data.
    mode, value
        What lies outside the data.
    summed : bool
        Whether the kernel sums over the channels (it has as many inputs as there are channels).
    axes : tuple
        Which of the space axes the kernel slides along.
    fills : bool
        Whether it fills missing samples with the mean of those that are there, and leaves all others as they are.
    """

    kernel: Kernel
    windows: tuple[Window | TransposedWindow, ...]
    mode: PadMode
    value: float
    summed: bool
    axes: tuple[int, ...]
    fills: bool = False

    pads = True  # not annotated, so no field

    @property
    def transposed(self) -> bool:
        return any(isinstance(window, TransposedWindow) for window in self.windows)

    @property
    def plain(self) -> bool:
        """Whether its outputs are sums of products, with nothing to be done to them."""
        kernel = self.kernel
        return kernel.combine is Combine.NONE and not any(kernel.bias) and not self.transposed

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out, in, *space) with 1 for the axes that the kernel does not touch."""
        return (self.kernel.outputs, self.kernel.inputs, *(window.kernel for window in self.windows))

    def weights(self, dtype: str) -> "np.ndarray":
        """Return the kernel's weights in this shape; the array is made once and read-only."""
        if dtype not in self._arrays:
            array = self.kernel.array(dtype).reshape(self.weight_shape)
            array.flags.writeable = False
            self._arrays[dtype] = array
        return self._arrays[dtype]

    @cached_property
    def _arrays(self) -> "dict[str, np.ndarray]":
        return {}

    @property
    def origins(self) -> tuple[int, ...]:
        """The origin's index in each axis' window."""
        own = dict(zip(self.axes, self.kernel.origin, strict=True))
        return tuple(own.get(index, 0) for index in range(len(self.windows)))

    @property
    def centred(self) -> bool:
        """Whether an output lies at the centre of its window: the kernel names no origin."""
        return bool(self.kernel.centred)

    def output_range(self, low: float, high: float, sizes: Sequence[int]) -> tuple[float, float]:
        """Return bounds of the results for data of these sizes within low…high."""
        return self.kernel.output_range(*self.padded_range(low, high, sizes))

    def channels(self, maps: int, channels: int) -> tuple[int, int]:
        """Return maps and channels behind this stage."""
        return (self.kernel.maps, 1) if self.summed else (maps * self.kernel.maps, channels)


@frozen
class PoolStage(_Padded):
    """One pool or statistic on one input: a window for each axis, those it does not touch of size 1.

    Attributes
    ----------
    kind : PoolKind
    windows : tuple
        One for each space axis of the data.
    include_padding : bool
        Whether a pool's padding counts as zeros.
    mode, value
        What lies outside the data, of a statistic; its padding is made of samples.
    origin : tuple
        A statistic's, for each space axis; empty of pools, whose padding is none of their samples.
    centred : bool
        Whether an output lies at the centre of its window.
    """

    kind: PoolKind
    windows: tuple[Window, ...]
    include_padding: bool
    mode: PadMode = PadMode.ZERO
    value: float = 0.0
    origin: tuple[int, ...] = ()
    centred: bool | None = True

    @property
    def pads(self) -> bool:
        """Whether samples stand around the data."""
        return bool(self.origin)

    @property
    def origins(self) -> tuple[int, ...]:
        return self.origin or tuple((window.kernel - 1) // 2 for window in self.windows)

    @property
    def averages(self) -> bool:
        """Whether results lie within the range of the samples, whatever they are."""
        return self.kind.within and (not self.pads or self.stays_in_range)

    def channels(self, maps: int, channels: int) -> tuple[int, int]:
        return maps, channels

    def reaches_data(self, sizes: Sequence[int]) -> bool:
        """Return whether every window surely has a tap on a sample; one on padding alone gives no number."""
        return self.pads or all(
            max(window.before, window.after) < window.extent and window.dilation <= n
            for window, n in zip(self.windows, sizes, strict=True)
        )

    def output_range(self, low: float, high: float, sizes: Sequence[int]) -> tuple[float, float]:
        """Return bounds of the results for data of these sizes within low…high."""
        if self.pads:
            low, high = self.padded_range(low, high, sizes)
        elif self.kind.include and self.include_padding:
            low, high = min(low, 0.0), max(high, 0.0)
        return self.kind.output_range(low, high, prod(window.kernel for window in self.windows))


Stage = ConvStage | PoolStage

_FREQUENCIES = 4096  # at which responses are compared
FINEST = 2**24  # parts of one, at most, of weights whose sums may be exact


def _units(numbers: Sequence[float]) -> float:
    """Return the least power of two that makes whole numbers of all; infinity where none does."""
    if not all(map(isfinite, numbers)):
        return inf
    return max((float(number).as_integer_ratio()[1] for number in numbers), default=1)


@frozen
class Chain:
    """Stages bound to an input.

    Attributes
    ----------
    letters : str
        The space axes, slowest first, e.g. ``TYX``.
    sizes : tuple
        Sizes of the space axes: of the input, then behind every stage.
    channels : int
        Channels of the input.
    """

    letters: str
    sizes: tuple[tuple[int, ...], ...]
    stages: tuple[Stage, ...]
    channels: int

    @property
    def output(self) -> tuple[int, ...]:
        return self.sizes[-1]

    @property
    def outputs(self) -> tuple[int, int]:
        """Maps, and channels of each map."""
        maps, channels = 1, self.channels
        for stage in self.stages:
            maps, channels = stage.channels(maps, channels)
        return maps, channels

    @property
    def summed(self) -> bool:
        """Whether a stage has merged the input's channels, so that they no longer are colours."""
        return any(isinstance(stage, ConvStage) and stage.summed for stage in self.stages)

    @property
    def transposed(self) -> bool:
        return any(isinstance(stage, ConvStage) and stage.transposed for stage in self.stages)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return tuple(stage.kernel for stage in self.stages if isinstance(stage, ConvStage))

    @property
    def averages(self) -> bool:
        """Whether every stage is a weighted mean without bias, or a pool within the range of its samples.

        Colours may then be premultiplied: no result has a colour larger than its alpha.
        """
        return all(
            stage.averages
            if isinstance(stage, PoolStage)
            else stage.kernel.non_negative
            and all(sum(row) > 0 for row in stage.kernel.rows)
            and not any(stage.kernel.bias)
            and stage.kernel.combine is Combine.NONE
            and not stage.summed
            and stage.stays_in_range
            for stage in self.stages
        )

    @property
    def growth(self) -> tuple[float, float] | None:
        """How integers grow where sums of them are exact; None where they are not.

        All sums on the way are multiples of some power of two.  In its units, none is larger than the first number
        times the largest sample plus the second.
        """
        gain, rest = 1.0, 0.0
        for stage, sizes in zip(self.stages, self.sizes, strict=False):
            if isinstance(stage, PoolStage):
                if stage.kind.gain is None:
                    return None
                spread = stage.kind.gain * (stage.padded_range(-1.0, 1.0, sizes)[1] if stage.pads else 1.0)
                gain, rest = gain * spread, rest * spread
                continue
            kernel = stage.kernel
            units = max(_units(kernel.weights) * _units([stage.value]), _units(kernel.bias))
            if kernel.combine is Combine.MAGNITUDE or units > FINEST:
                return None
            total, spread = max(kernel.absolute_sum, 1.0), stage.padded_range(-1.0, 1.0, sizes)[1]
            gain, rest = gain * spread * total, rest * spread * total + max(map(abs, kernel.bias))
            gain, rest = gain * units, rest * units
        return gain, rest

    @property
    def gives_numbers(self) -> bool:
        """Whether numbers surely give numbers: no pool has a window on padding alone."""
        return all(
            isinstance(stage, ConvStage) or stage.reaches_data(sizes)
            for stage, sizes in zip(self.stages, self.sizes, strict=False)
        )

    def coverage(self, opaque: float) -> "Chain":
        """Return the chain that tells how much of each output is covered, for `averages` of data with alpha.

        Its weights have the sum 1, and what constant padding puts around the data is ``opaque``.
        """
        stages = tuple(
            stage
            if stage.fills
            else replace(stage, value=stage.mode.fill(opaque))
            if isinstance(stage, PoolStage)
            else replace(stage, kernel=stage.kernel.normalised(), value=stage.mode.fill(opaque))
            for stage in self.stages
        )
        return replace(self, stages=stages, channels=1)

    def filled(self, kernel: Kernel) -> "Chain":
        """Return the chain behind one more stage, which fills missing samples by a smoothing kernel.

        The kernel slides along the last axes, and skips what lies outside the data.
        """
        idle = len(self.letters) - kernel.rank
        own = (Window(k, before=o, after=k - 1 - o) for k, o in zip(kernel.size, kernel.origin, strict=True))
        windows, axes = (*(Window(1),) * idle, *own), tuple(range(idle, len(self.letters)))
        stage = ConvStage(kernel, windows, PadMode.CONSTANT, nan, False, axes, fills=True)
        return replace(self, stages=(stage, *self.stages), sizes=(self.sizes[0], *self.sizes))

    def axis(self, axis: Axis) -> Axis:
        """Return an axis of space of the input as it is behind the chain, with the positions of the outputs.

        An output lies at the centre of its window, or at the sample under the kernel's origin: where the kernel names
        one, and where nothing lies between samples.
        """
        number = self.letters.index(axis.letter)
        between = axis.positions is None or axis.positions.between
        for stage, sizes in zip(self.stages, self.sizes[1:], strict=True):
            window = stage.windows[number]
            tap = window.centre if between and stage.centred else window.dilation * stage.origins[number]
            axis = axis.along(*window.places(tap), sizes[number])
        return axis

    def folded(self, axis: int) -> float:
        """Return how much passes of the frequencies that the outputs' steps cannot hold (aliasing), at most.

        As a part of what passes of any frequency; pools are taken to pass everything.
        """
        import numpy as np

        jump = 1
        frequencies = np.fft.rfftfreq(_FREQUENCIES)  # in cycles a sample
        passed = np.ones(len(frequencies))
        for stage in self.stages:
            window = stage.windows[axis]
            if isinstance(stage, ConvStage) and axis in stage.axes and not stage.fills:
                along = np.moveaxis(stage.weights("float64"), 2 + axis, -1)
                lines = along.reshape(-1, along.shape[-1])
                size = max(_FREQUENCIES, 2 * lines.shape[1])
                places = np.rint(frequencies * jump * window.dilation * size).astype(int) % size
                passed *= np.abs(np.fft.fft(lines, size)).max(axis=0)[places]
            jump *= window.stride
        beyond = passed[frequencies > 0.5 / jump]
        return float(beyond.max(initial=0) / (passed.max() or 1))

    def field(self, axis: int) -> Field:
        """Return the receptive field of one output along one axis."""
        field = Field()
        for stage in self.stages:
            field = field.through(stage.windows[axis])
        return field

    def value_range(self, low: float, high: float) -> tuple[float, float]:
        """Return bounds of the output's values for inputs within low…high (interval arithmetic)."""
        for stage, sizes in zip(self.stages, self.sizes, strict=False):
            low, high = stage.output_range(low, high, sizes)
        return low, high
