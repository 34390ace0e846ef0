"""What each kind of layer is: its options and parameters, and what it does to sizes.  Nothing is computed.

Everything that asks "which inputs does an output need" is answered by the windows of `convcli.geometry`: an
activation is a window of one, an upsampling is a transposed window.  No arrays, no files, no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from math import prod

from convcli.common import UsageError, frozen, per_axis
from convcli.geometry.graph import Operation, Shape, Windows
from convcli.geometry.layers import Conv, Pool
from convcli.geometry.padding import Padding, PadMode
from convcli.geometry.pools import AVG, MAX, PoolKind
from convcli.geometry.windows import AdaptiveWindow, TransposedWindow, Window, window
from convcli.kernel.model import Combine, size_text


@frozen
class Numbers:
    """Numbers that the net's file holds itself: one for all, or all of them, the last axis fastest."""

    values: tuple[float, ...] = field(repr=False)


@frozen
class Stored:
    """An array in a file, ``FILE`` or ``FILE#KEY``, of the shape that it has there.

    ``swapped`` says that the file has (in, out, …), as torch and ONNX keep transposed convolutions, and ONNX some
    dense layers.
    """

    place: str
    shape: tuple[int, ...]
    swapped: bool = False


@frozen
class Random:
    """Numbers drawn at random; without a seed they must come from elsewhere."""

    seed: tuple[int, ...] | None = None


Fill = Numbers | Stored | Random


@frozen
class Parameter:
    """An array of a layer: its shape, and where its numbers come from.

    Random ones are uniform between ±1/√fan_in, torch's own initial values for convolutions and dense layers.
    """

    shape: tuple[int, ...]
    fill: Fill
    fan_in: int = 1
    trained: bool = True  # False: measured (a batch norm's mean and variance), not learned by gradients
    swappable: int = 0  # the groups of weights whose first axes torch and ONNX swap


def _with_bias(weight: Parameter, bias: Fill | None) -> Mapping[str, Parameter]:
    """Return weights (out, …) and a bias for each output, if there is one."""
    own = {} if bias is None else {"bias": Parameter(weight.shape[:1], bias, weight.fan_in)}
    return {"weight": weight, **own}


class _Windowed(Operation):
    """Slides along the axes of space, and so needs some."""

    def output(self, shape: Shape) -> Shape:
        return Shape(shape.channels, self._sizes(shape))

    def _sizes(self, shape: Shape) -> tuple[int, ...]:
        if shape.flat:
            raise UsageError(f"it slides along axes, and {shape} flat numbers come in: put it before flatten")
        windows = self.windows(shape) or ()
        return tuple(w.output_size(n) for w, n in zip(windows, shape.sizes, strict=True))


@frozen
class Convolution(_Windowed):
    """A convolution or a transposed one.

    Parameters
    ----------
    geometry
        ``out`` is the number of maps, with ``each`` that of every channel.
    weights, bias
        Shapes (out, in / groups, *size) and (out,), for transposed ones too; ``bias`` is None without a bias.
    inputs
        The channels that given weights sum over (of one group); None takes whatever comes.
    each
        One kernel for every channel alone: channels × out maps, a channel's maps side by side.
    combine
        Makes one map of all maps of a group (or, with ``each``, of a channel).
    """

    geometry: Conv
    weights: Fill
    bias: Fill | None = None
    inputs: int | None = None
    groups: int = 1
    each: bool = False
    pad_mode: PadMode = PadMode.ZERO
    pad_value: float = 0.0
    combine: Combine = Combine.NONE

    @property
    def out(self) -> int:
        return self.geometry.out or 1

    def parts(self, channels: int) -> int:
        """Return how many groups the channels are taken in."""
        return channels if self.each else self.groups

    def output(self, shape: Shape) -> Shape:
        parts = self.parts(shape.channels)
        if shape.channels % parts or self.out % self.groups:
            raise UsageError(
                f"{shape.channels} channels into {self.out} maps cannot be done in {self.groups} groups: "
                f"both must be multiples of {self.groups}"
            )
        if self.inputs not in (None, shape.channels // parts):
            grouped = f" ({shape.channels // parts} in each of {parts} groups)" if parts > 1 else ""
            raise UsageError(
                f"its weights take {self.inputs} channels, and {shape.channels} come in{grouped}"
            )
        if len(self.geometry.size) not in (1, len(shape.sizes)) and not shape.flat:
            axes = len(shape.sizes)
            raise UsageError(
                f"its kernel {size_text(self.geometry.size)} is of rank {len(self.geometry.size)}, and the input has "
                f"{axes} axes of space; where dimensions of the weights count maps or channels, say rank: {axes}"
            )
        maps = self.out * shape.channels if self.each else self.out
        return Shape(parts if self.combine is not Combine.NONE else maps, self._sizes(shape))

    def windows(self, shape: Shape) -> tuple[Window | TransposedWindow, ...]:
        return self.geometry.windows(shape.sizes)

    def parameters(self, shape: Shape) -> Mapping[str, Parameter]:
        inputs = shape.channels // self.parts(shape.channels)
        size = per_axis(self.geometry.size, len(shape.sizes), "kernel")
        fan_in = inputs * prod(size)
        swappable = self.groups if self.geometry.transposed else 0
        weight = Parameter((self.out, inputs, *size), self.weights, fan_in, swappable=swappable)
        return _with_bias(weight, self.bias)

    def held(self, shape: Shape) -> int:
        maps = self.out * (shape.channels if self.each else 1)
        full = prod(w.full_size(n) for w, n in zip(self.windows(shape), shape.sizes, strict=True))
        laid = full * (maps if self.geometry.transposed else shape.channels)
        return max(laid, maps * prod(self._sizes(shape)))

    def multiply_adds(self, shape: Shape) -> int:
        weights = prod(self.parameters(shape)["weight"].shape) * (shape.channels if self.each else 1)
        return weights * prod(shape.sizes if self.geometry.transposed else self._sizes(shape))

    def __str__(self) -> str:
        groups = f",groups={self.groups}" if self.groups > 1 else ",each" if self.each else ""
        combine = "" if self.combine is Combine.NONE else f",{self.combine}"
        return f"{self.geometry}{groups}{combine}"


@frozen
class Pooling(_Windowed):
    """A pool over windows or, without a size, over everything."""

    geometry: Pool

    def windows(self, shape: Shape) -> tuple[Window, ...]:
        return self.geometry.windows(shape.sizes)

    def local(self, shape: Shape) -> bool:
        return self.geometry.size is not None

    def held(self, shape: Shape) -> int:
        return shape.channels * prod(
            w.full_size(n) for w, n in zip(self.windows(shape), shape.sizes, strict=True)
        )

    def __str__(self) -> str:
        return str(self.geometry)


@frozen
class AdaptivePooling(_Windowed):
    """A pool that makes ``size`` outputs of any input, along each axis or all; its windows are as even as can be."""

    size: tuple[int, ...]
    kind: PoolKind = AVG

    def output(self, shape: Shape) -> Shape:
        uneven = any(n % window.outputs for n, window in zip(shape.sizes, self.windows(shape), strict=True))
        if uneven and self.kind not in (AVG, MAX):
            raise UsageError(
                f"{self.kind} needs windows of one size, and {shape} has no whole number of them"
            )
        return super().output(shape)

    def windows(self, shape: Shape) -> tuple[AdaptiveWindow, ...]:
        each = zip(shape.sizes, per_axis(self.size, len(shape.sizes), "size"), strict=True)
        return tuple(AdaptiveWindow(n, outputs) for n, outputs in each)

    def local(self, shape: Shape) -> bool:
        return False

    def __str__(self) -> str:
        return f"apool:{self.kind}:{size_text(self.size)}"


@frozen
class Pad(_Windowed):
    """Samples around the data, which the layers behind it take for data."""

    padding: tuple[Padding, ...] = ((1, 1),)
    pad_mode: PadMode = PadMode.ZERO
    pad_value: float = 0.0

    def windows(self, shape: Shape) -> tuple[Window, ...]:
        each = zip(shape.sizes, per_axis(self.padding, len(shape.sizes), "padding"), strict=True)
        return tuple(window(n, 1, padding=padding) for n, padding in each)


class ActivationKind(StrEnum):
    """A function of one number, or (softmax) of the channels at one position."""

    RELU = "relu"
    RELU6 = "relu6"
    ELU = "elu"
    GELU = "gelu"
    SILU = "silu"
    HARDSWISH = "hardswish"
    HARDSIGMOID = "hardsigmoid"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    SOFTMAX = "softmax"


class JoinKind(StrEnum):
    """How outputs of several layers become one."""

    ADD = "add"
    MULTIPLY = "multiply"
    CONCAT = "concat"


@frozen
class Join(Operation):
    """Sums or products of several outputs, one of size 1 repeated along the others'; or all their channels."""

    kind: JoinKind

    def joined(self, shapes: Sequence[Shape]) -> Shape:
        came = " and ".join(map(str, shapes))
        if self.kind is JoinKind.CONCAT:
            if len({shape.sizes for shape in shapes}) > 1:
                raise UsageError(f"{came} differ in their sizes: only channels may")
            return Shape(sum(shape.channels for shape in shapes), shapes[0].sizes)
        if len({len(shape.sizes) for shape in shapes}) > 1:
            raise UsageError(f"{came} differ in the number of their axes")
        axes = zip(*((shape.channels, *shape.sizes) for shape in shapes), strict=True)
        counts = [set(axis) - {1} for axis in axes]
        if any(len(axis) > 1 for axis in counts):
            raise UsageError(f"{came} differ: give them the same channels and sizes (padding, stride), or 1")
        channels, *sizes = (max(axis, default=1) for axis in counts)
        return Shape(channels, tuple(sizes))

    def __str__(self) -> str:
        return self.kind


@frozen
class Dropout(Operation):
    """In training sets each number to zero with probability ``p`` and scales the others by 1 / (1 - p)."""

    p: float = 0.5

    def output(self, shape: Shape) -> Shape:
        if not 0 <= self.p < 1:
            raise UsageError(f"p {self.p:g} is no probability: give 0 or more, and less than 1")
        return shape


@frozen
class GroupNorm(Operation):
    """Each item's groups of channels moved and scaled to mean 0 and variance 1, then each channel by weight and bias.

    One group is a layer norm, a group for each channel (``groups`` None) an instance norm.  The receptive field leaves
    out that mean and variance depend on the whole input.
    """

    groups: int | None = 1
    weight: Fill = Numbers((1.0,))
    bias: Fill = Numbers((0.0,))
    eps: float = 1e-5

    def output(self, shape: Shape) -> Shape:
        if shape.channels % (self.groups or 1):
            raise UsageError(f"{shape.channels} channels make no {self.groups} groups of one size")
        return shape

    def local(self, shape: Shape) -> bool:
        return False

    def parameters(self, shape: Shape) -> Mapping[str, Parameter]:
        one = (shape.channels,)
        return {"weight": Parameter(one, self.weight), "bias": Parameter(one, self.bias)}

    def __str__(self) -> str:
        names = {None: "instancenorm", 1: "layernorm"}
        return names.get(self.groups) or f"groupnorm:{self.groups}"


@frozen
class Activation(Operation):
    kind: ActivationKind

    def __str__(self) -> str:
        return self.kind


@frozen
class Leaky(Operation):
    """A rectifier with a slope below zero."""

    slope: float = 0.01

    def __str__(self) -> str:
        return f"leaky:{self.slope:g}"


@frozen
class PRelu(Operation):
    """A leaky rectifier with a learned slope for each channel, or one that they have in common."""

    slope: Fill = Numbers((0.25,))
    shared: bool = False

    def parameters(self, shape: Shape) -> Mapping[str, Parameter]:
        return {"weight": Parameter((1 if self.shared else shape.channels,), self.slope)}


@frozen
class BatchNorm(Operation):
    """Each channel moved and scaled: (x - mean) / sqrt(var + eps) * weight + bias."""

    weight: Fill = Numbers((1.0,))
    bias: Fill = Numbers((0.0,))
    mean: Fill = Numbers((0.0,))
    var: Fill = Numbers((1.0,))
    eps: float = 1e-5

    def parameters(self, shape: Shape) -> Mapping[str, Parameter]:
        one = (shape.channels,)
        return {
            "weight": Parameter(one, self.weight),
            "bias": Parameter(one, self.bias),
            "running_mean": Parameter(one, self.mean, trained=False),
            "running_var": Parameter(one, self.var, trained=False),
        }


@frozen
class Bias(Operation):
    """One number added to each channel."""

    values: Fill = Numbers((0.0,))

    def parameters(self, shape: Shape) -> Mapping[str, Parameter]:
        return {"bias": Parameter((shape.channels,), self.values)}


@frozen
class Scale(Operation):
    """Each channel times a number."""

    values: Fill = Numbers((1.0,))

    def parameters(self, shape: Shape) -> Mapping[str, Parameter]:
        return {"weight": Parameter((shape.channels,), self.values)}


@frozen
class Flatten(Operation):
    """All numbers in a row: channel by channel, each in C order."""

    def output(self, shape: Shape) -> Shape:
        return Shape(shape.channels * prod(shape.sizes))

    def windows(self, shape: Shape) -> None:
        return None


@frozen
class Unflatten(Operation):
    """The same numbers, in the same order, as channels and sizes of space."""

    shape: Shape

    def output(self, shape: Shape) -> Shape:
        found, wanted = (one.channels * prod(one.sizes) for one in (shape, self.shape))
        if found != wanted:
            raise UsageError(f"{self.shape} are {wanted} numbers, and {found} come in ({shape})")
        return self.shape

    def windows(self, shape: Shape) -> None:
        return None

    def __str__(self) -> str:
        return f"unflatten:{self.shape}"


@frozen
class Dense(Operation):
    """Every output a weighted sum of all inputs; weights (outputs, inputs)."""

    outputs: int
    weights: Fill
    bias: Fill | None = None
    inputs: int | None = None  # of given weights

    def output(self, shape: Shape) -> Shape:
        if not shape.flat:
            raise UsageError(f"it takes flat numbers, and {shape} comes in: put flatten before it")
        if self.inputs not in (None, shape.channels):
            raise UsageError(f"its weights take {self.inputs} numbers, and {shape.channels} come in")
        return Shape(self.outputs)

    def windows(self, shape: Shape) -> None:
        return None

    def parameters(self, shape: Shape) -> Mapping[str, Parameter]:
        swappable = int(isinstance(self.weights, Stored) and self.weights.swapped)
        size = self.outputs, shape.channels
        return _with_bias(Parameter(size, self.weights, shape.channels, swappable=swappable), self.bias)

    def multiply_adds(self, shape: Shape) -> int:
        return shape.channels * self.outputs

    def __str__(self) -> str:
        return f"dense:{self.outputs}"


class Interpolation(StrEnum):
    """How new samples are made from the old ones."""

    NEAREST = "nearest"
    BILINEAR = "bilinear"  # linear along each axis, whatever their number
    BICUBIC = "bicubic"


# Old samples that a new one is made of.
_REACH = {Interpolation.NEAREST: 1, Interpolation.BILINEAR: 2, Interpolation.BICUBIC: 4}


@frozen
class Upsample(_Windowed):
    """More samples by a whole factor, edges repeated; pixel centres as in torch (``align_corners=False``)."""

    scale: tuple[int, ...] = (2,)
    mode: Interpolation = Interpolation.NEAREST

    def output(self, shape: Shape) -> Shape:
        if self.mode is Interpolation.BICUBIC and len(shape.sizes) != 2:
            raise UsageError(
                f"bicubic needs two axes of space, and {shape} comes in: use bilinear or nearest"
            )
        return super().output(shape)

    def windows(self, shape: Shape) -> Windows:
        return tuple(self._window(scale) for scale in per_axis(self.scale, len(shape.sizes), "scale"))

    def _window(self, scale: int) -> TransposedWindow:
        # Interpolation is a transposed convolution with a tent of 2s (or a cubic of 4s) taps; where the scale
        # is odd new samples fall on old ones, and the first tap of these is always zero.
        reach = _REACH[self.mode] * scale
        kernel = reach - (scale % 2 if reach > scale else 0)
        return TransposedWindow(kernel, scale, before=(kernel - scale) // 2, after=(kernel - scale + 1) // 2)

    def __str__(self) -> str:
        return f"upsample:{size_text(self.scale)},{self.mode}"
