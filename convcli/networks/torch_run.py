"""A net computed with torch: a plain function of parameters and input, so that gradients flow through both.

Each kind of layer gives all of its output, or a part of it from the part of the input that this needs; the whole is the
part that covers everything, so that blocks and whole inputs go through the same lines.  Importing this module imports
torch.  No files.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace
from functools import reduce
from itertools import zip_longest
from math import prod
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from convcli.common import UsageError, frozen, frozen_identity, per_axis
from convcli.data import Box, Span, slices, whole
from convcli.engines.pooling import in_two_steps, sample_counts
from convcli.geometry.graph import INPUT, Step, needed_for
from convcli.geometry.padding import PadMode, Sources
from convcli.kernel import Combine
from convcli.networks import operations as kinds
from convcli.networks.model import Grey, Net, Preprocess
from convcli.pixels.channels import REC709

Tensors = Mapping[str, torch.Tensor]

_JOINS: Mapping[kinds.JoinKind, Callable[..., torch.Tensor]] = {
    kinds.JoinKind.ADD: torch.add,
    kinds.JoinKind.MULTIPLY: torch.mul,
}
_LINEAR = ("linear", "bilinear", "trilinear")


@frozen
class Part:
    """A box of outputs, from an input that begins at ``first``."""

    first: tuple[int, ...]
    box: Box


def apply(
    step: Step, parameters: Tensors, inputs: Sequence[torch.Tensor], part: Part, *, training: bool = False
) -> torch.Tensor:
    """Return one layer's output, or a part of it from the inputs that this part needs."""
    own = {name: parameters[f"{step.name}.{name}"] for name in step.parameters}
    x = inputs[0]
    match step.layer.operation:
        case kinds.Join(kind=kind):
            return (
                torch.cat(list(inputs), 1) if kind is kinds.JoinKind.CONCAT else reduce(_JOINS[kind], inputs)
            )
        case kinds.Convolution() as convolution:
            return _convolve(step, convolution, own, x, part)
        case kinds.Pooling() as pooling:
            return _pool(step, pooling, x, part)
        case kinds.Leaky(slope=slope):
            return F.leaky_relu(x, slope)
        case kinds.Activation(kind=kinds.ActivationKind.SOFTMAX):
            return torch.softmax(x, 1)
        case kinds.Activation(kind=kind):
            return getattr(F, kind)(x)
        case kinds.Dropout(p=p):
            return F.dropout(x, p, training)
        case kinds.GroupNorm(groups=groups, eps=eps):
            return F.group_norm(x, groups or x.shape[1], own["weight"], own["bias"], eps)
        case kinds.AdaptivePooling() as pooling:
            return _adaptive(step, pooling, x)
        case kinds.Pad(pad_mode=mode, pad_value=value):
            return box(x, _needed(step, part), mode, value)
        case kinds.Unflatten(shape=shape):
            return x.reshape(len(x), shape.channels, *shape.sizes)
        case kinds.PRelu():
            return F.prelu(x, own["weight"])
        case kinds.BatchNorm(eps=eps):
            return F.batch_norm(
                x, own["running_mean"], own["running_var"], own["weight"], own["bias"], training, eps=eps
            )
        case kinds.Bias():
            return x + per_channel(own["bias"], x)
        case kinds.Scale():
            return x * per_channel(own["weight"], x)
        case kinds.Flatten():
            return x.flatten(1)
        case kinds.Dense():
            return F.linear(x, own["weight"], own.get("bias"))
        case kinds.Upsample() as upsample:
            return _upsample(step, upsample, x, part)
    raise UsageError(f"layer {step.name}: {step.layer.operation} is none of the operators that run here")


def per_channel(values: torch.Tensor | Sequence[float], x: torch.Tensor) -> torch.Tensor:
    values = torch.as_tensor(values, dtype=x.dtype, device=x.device)
    return values.reshape(-1, *(1,) * (x.ndim - 2))


def _needed(step: Step, part: Part) -> list[Span]:
    """Return the inputs that are needed, along each axis, counted from the first that is there."""
    ranges = (w.input_range(*span) for w, span in zip(step.windows or (), part.box, strict=True))
    return [(lo - first, hi - first) for (lo, hi), first in zip(ranges, part.first, strict=True)]


def box(
    x: torch.Tensor, ranges: Sequence[tuple[int, int]], mode: PadMode = PadMode.ZERO, value: float = 0.0
) -> torch.Tensor:
    """Return a box of ``x`` (…, *space) and of what padding puts around it; negative padding cuts."""
    sizes = x.shape[x.ndim - len(ranges) :]
    if mode.fills:
        amounts = [(-lo, hi - n) for (lo, hi), n in zip(ranges, sizes, strict=True)]
        if not any(side for pair in amounts for side in pair):
            return x
        if any(hi <= 0 or lo >= n for (lo, hi), n in zip(ranges, sizes, strict=True)):
            shape = (*x.shape[: -len(sizes)], *(hi - lo for lo, hi in ranges))
            return x.new_full(shape, mode.fill(value))  # nothing of x: more than a negative padding can cut
        return F.pad(x, [side for pair in reversed(amounts) for side in pair], value=mode.fill(value))
    for axis, ((lo, hi), n) in enumerate(zip(ranges, sizes, strict=True), x.ndim - len(ranges)):
        if (lo, hi) != (0, n):
            x = _outside(x, axis, [mode.sources(i, n) for i in range(lo, hi)])
    return x


def _outside(x: torch.Tensor, axis: int, sources: Sequence[Sources]) -> torch.Tensor:
    """Return along an axis the sums of samples with their weights."""

    def part(terms: Sequence[tuple[int, int]]) -> torch.Tensor:
        index, weights = zip(*terms, strict=True)
        samples = x.index_select(axis, torch.tensor(index, device=x.device))
        if set(weights) == {1}:
            return samples
        shape = [-1 if other == axis else 1 for other in range(x.ndim)]
        factor = torch.tensor(weights, dtype=x.dtype, device=x.device).reshape(shape)
        return torch.where(factor == 0, 0, factor * samples)  # zero times NaN is not zero

    first, *others = zip_longest(*sources, fillvalue=(0, 0))
    return sum(map(part, others), part(first))


def _convolve(
    step: Step, operation: kinds.Convolution, own: Tensors, x: torch.Tensor, part: Part
) -> torch.Tensor:
    """Transposed: lay all kernels down, then cut; cropping, output padding and blocks are one cut."""
    windows, parts = step.windows or (), operation.parts(x.shape[1])
    weight, bias = own["weight"], own.get("bias")
    if operation.each:
        weight = weight.repeat(parts, *(1,) * (weight.ndim - 1))
        bias = None if bias is None else bias.repeat(parts)
    strides, dilations = [w.stride for w in windows], [w.dilation for w in windows]
    if operation.geometry.transposed:
        transpose = getattr(F, f"conv_transpose{len(windows)}d")
        # torch: (in, out of a group)
        swapped = weight.unflatten(0, (parts, -1)).transpose(1, 2).flatten(0, 1)
        full = transpose(x, swapped, stride=strides, dilation=dilations, groups=parts)
        starts = [w.before - first * w.stride for w, first in zip(windows, part.first, strict=True)]
        out = box(full, [(lo + start, hi + start) for (lo, hi), start in zip(part.box, starts, strict=True)])
        out = out if bias is None else out + per_channel(bias, out)
    else:
        correlate = getattr(F, f"conv{len(windows)}d")
        padded = box(x, _needed(step, part), operation.pad_mode, operation.pad_value)
        out = correlate(padded, weight, bias, stride=strides, dilation=dilations, groups=parts)
    return combined(out, operation.combine, parts)


def combined(x: torch.Tensor, combine: Combine, parts: int) -> torch.Tensor:
    """Return what becomes of a kernel's outputs, in so many groups of channels."""
    if combine is Combine.NONE:
        return x
    bank = x.unflatten(1, (parts, -1))
    match combine:
        case Combine.MAGNITUDE:
            return torch.linalg.vector_norm(bank, dim=2)
        case Combine.MAX:
            return bank.amax(2)
        case Combine.SUM:
            return bank.sum(2)


def _pool(step: Step, operation: kinds.Pooling, x: torch.Tensor, part: Part) -> torch.Tensor:
    pool, windows, sizes = operation.geometry, operation.windows(step.input), step.input.sizes
    include = pool.include_padding and pool.kind.include
    ranges = _needed(step, part)
    if include:
        axes = zip(windows, sizes, part.first, strict=True)
        zeros = [(-window.before - first, n + window.after - first) for window, n, first in axes]
        zeros, ranges = in_two_steps(ranges, zeros)
        x = box(x, zeros)
    kernel = [(window.kernel, window.stride, window.dilation) for window in windows]
    counts: torch.Tensor | int = prod(window.kernel for window in windows)
    found = sample_counts(windows, sizes, include)
    if found is not None:
        counts = torch.from_numpy(found[slices(part.box)]).to(x.device)
    return pool.kind.layer(torch, box(x, ranges, PadMode.CONSTANT, pool.kind.fill), kernel, counts)


def _adaptive(step: Step, operation: kinds.AdaptivePooling, x: torch.Tensor) -> torch.Tensor:
    windows = operation.windows(step.input)
    if any(window.size % window.outputs for window in windows):
        pool = getattr(F, f"adaptive_{operation.kind}_pool{len(windows)}d")
        return pool(x, step.output.sizes)
    sizes = [window.size // window.outputs for window in windows]
    return operation.kind.layer(torch, x, [(size, size, 1) for size in sizes], prod(sizes))


def _upsample(step: Step, operation: kinds.Upsample, x: torch.Tensor, part: Part) -> torch.Tensor:
    rank = len(step.output.sizes)
    scale = per_axis(operation.scale, rank, "scale")
    out = resized(x, operation.mode, scale=scale)
    first = [at * factor for at, factor in zip(part.first, scale, strict=True)]
    return out[(slice(None), slice(None), *slices(part.box, first))]


def resized(
    x: torch.Tensor,
    mode: kinds.Interpolation,
    *,
    scale: tuple[int, ...] | None = None,
    size: tuple[int, ...] | None = None,
) -> torch.Tensor:
    if mode is kinds.Interpolation.NEAREST:
        return F.interpolate(x, size, scale, "nearest-exact")
    rank = x.ndim - 2
    name = _LINEAR[rank - 1] if mode is kinds.Interpolation.BILINEAR else mode.value
    factors = None if scale is None else tuple(map(float, scale))
    smooth = size is not None and rank == 2  # a smaller picture is averaged, not sampled
    return F.interpolate(x, size, factors, name, align_corners=False, antialias=smooth)


def choose_device(name: str) -> torch.device:
    """Return a device.

    Raises
    ------
    UsageError
        When torch knows no such one, or does not find it here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"device {name!r} is not available: use cpu, or cuda with a GPU") from None
    return device


def tensors(
    arrays: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """Return arrays by name as tensors of their own, without gradients."""
    return {name: torch.tensor(array, dtype=dtype, device=device) for name, array in arrays.items()}


def forward(steps: Sequence[Step], parameters: Tensors, x: torch.Tensor, **how: Any) -> torch.Tensor:
    """Return the last layer's output, of no layers the input itself; arguments as in `outputs`."""
    last = deque(outputs(steps, parameters, x, **how), maxlen=1)
    return last[0][1] if last else x


def outputs(
    steps: Sequence[Step],
    parameters: Tensors,
    x: torch.Tensor,
    *,
    training: bool = False,
    parts: Mapping[str, Box] | None = None,
    needed: Callable[[Step, Box], Box] = Step.needs,
) -> Iterator[tuple[Step, torch.Tensor]]:
    """Yield every layer with its output, in order.

    Parameters
    ----------
    steps
        From `convcli.networks.model.Net.trace`, for inputs of the shape of ``x``.
    parameters
        By ``LAYER.PARAMETER``; gradients reach those that require them.
    x
        Preprocessed input, (items, channels, *space).
    training
        Batch norms use the batch's own mean and variance, and update their running ones in place; dropout drops.
    parts
        The boxes of all outputs, and of the input, that are to be computed; all of them by default.
    needed
        The part of its input that a box of a layer's output needs.
    """
    values = {INPUT: x}
    last_uses = {source: step.name for step in steps for source in step.sources}
    for step in steps:
        inputs = [values[source] for source in step.sources]
        part = Part((0,) * len(step.input.sizes), whole(step.output.sizes))
        if parts is not None:
            own = needed(step, parts[step.name])
            part = Part(tuple(start for start, _ in own), parts[step.name])
            inputs = [_cut(values[source], own, parts[source]) for source in step.sources]
        result = values[step.name] = apply(step, parameters, inputs, part, training=training)
        for source in {source for source in step.sources if last_uses[source] == step.name}:
            del values[source]
        yield step, result


def _cut(x: torch.Tensor, box: Box, whole: Box) -> torch.Tensor:
    """Return the box of an array whose last axes are the box ``whole``."""
    return x[(slice(None), slice(None), *slices(box, [start for start, _ in whole]))]


def preprocess(how: Preprocess, x: torch.Tensor) -> torch.Tensor:
    """Do to (items, channels, *space) what comes before the first layer: grey, resize, scale, mean and std."""
    if how.grey is not None and x.shape[1] > 1:
        luma = how.grey is Grey.LUMA
        x = (x * per_channel(REC709, x)).sum(1, keepdim=True) if luma else x.mean(1, keepdim=True)
    if how.resize is not None:
        x = resized(x, how.interpolation, size=per_axis(how.resize, x.ndim - 2, "preprocess: resize"))
    if how.scale != 1.0:
        x = x * how.scale
    if how.mean:
        x = x - per_channel(how.mean, x)
    if how.std:
        x = x / per_channel(how.std, x)
    return x


@contextmanager
def computing() -> Iterator[None]:
    """Without gradients, and in full precision on CUDA too, where convolutions round to 10 bits by default."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@frozen_identity
class Output:
    """What a layer of a net made of an input, or of several (N first); ``labels`` are those of the net's classes."""

    layer: str
    shape: str
    values: np.ndarray
    labels: tuple[str, ...] = ()


@frozen
class TorchNet:
    """A net bound to a shape, with its numbers on a device: ready to run.

    ``steps`` may be those alone that one layer needs: then they are what runs.
    """

    net: Net
    steps: tuple[Step, ...]
    parameters: Tensors = field(repr=False)
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def load(
        cls,
        net: Net,
        steps: tuple[Step, ...],
        arrays: Mapping[str, np.ndarray],
        precision: str = "float32",
        device: str = "cpu",
    ) -> "TorchNet":
        """Bring arrays by name (`convcli.networks.weights.initial`) to a device, as float32 or float64."""
        place = choose_device(device)
        dtype: torch.dtype = getattr(torch, precision)
        return cls(net, steps, tensors(arrays, dtype, place), dtype, place)

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def upto(self, name: str) -> "TorchNet":
        """Return the net whose last layer is the one of this name (or number)."""
        return replace(self, steps=needed_for(self.steps, self.net.layers[self.net.position(name)].name))

    def input(self, array: np.ndarray) -> torch.Tensor:
        """Return (channels, *space) of any real type as one preprocessed item, (1, channels, *space)."""
        numbers = torch.from_numpy(np.array(array, self.precision))
        return preprocess(self.net.preprocess, numbers.to(self.device)[None])

    def run(self, array: np.ndarray) -> np.ndarray:
        """Return the last step's output for one array (channels, *space): all of it at once."""
        with computing():
            result: np.ndarray = forward(self.steps, self.parameters, self.input(array))[0].cpu().numpy()
        return result
