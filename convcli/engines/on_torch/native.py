"""Torch's own convolution kernels, kept from summing so long that float32 shows it.

They add up all products of an output in one accumulator.  With 255 x 255 equal weights on an even surface the
error reached 2e-4 of the result (measured); summed in halves of halves it stays below 1e-5.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np
import torch
from torch.nn import functional as F

from convcli.engines import tiles
from convcli.engines.costs import NATIVE_TILE
from convcli.engines.interface import Correlation
from convcli.engines.on_torch.device import tensor_of
from convcli.engines.on_torch.sums import room

CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
CONVOLVE_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
# Products that one float32 accumulator of torch may add up, of floats and of integers: the more, the more it errs
RUN, RUN_OF_INTEGERS = 320, 64  # at most RUN * 2**-25; of bytes less than 2**-12 of a level (measured)

Apply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def correlate(call: Correlation) -> torch.Tensor:
    """Return the correlation by torch's kernels, tile by tile."""
    stride, dilation, groups = call.stride, call.dilation, call.groups
    convolve = CONVOLVE[len(call.sizes) - 1]

    def apply(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return convolve(x, weights, stride=stride, dilation=dilation, groups=groups)

    data = tensor_of(call.x, call.device, call.weights.dtype)
    kernel = tensor_of(call.weights, call.device)
    out = room(call, range(data.ndim), data.dtype)
    run = RUN_OF_INTEGERS if call.finite else RUN
    for items, _, *space in _tiles(call):
        box = tiles.inputs(space, kernel.shape[2:], stride, dilation)
        part = data[(items, slice(None), *box)]
        out[(items, slice(None), *space)] = _halved(part, kernel, groups, dilation, apply, run)
    return out


def _tiles(call: Correlation) -> list[tiles.Slices]:
    """Cut outputs so that what torch rearranges stays small: channels in blocks of 16, or every window."""
    x, shape = call.x, call.weights.shape
    copies = max(*shape[:2], 16) if x.dtype == np.float32 else prod(shape[1:])
    size = NATIVE_TILE // (copies * x.itemsize) if call.device.type == "cpu" else len(x) * prod(call.sizes)
    return tiles.cut((len(x), 1, *call.sizes), range(x.ndim), size)


def transpose(call: Correlation) -> torch.Tensor:
    """Return the transposed convolution, nothing cropped; the sizes of ``call`` are not used."""
    convolve = CONVOLVE_TRANSPOSED[len(call.sizes) - 1]

    def apply(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        # (in, out of a group)
        swapped = weights.unflatten(0, (call.groups, -1)).transpose(1, 2).flatten(0, 1)
        return convolve(x, swapped, stride=call.stride, dilation=call.dilation, groups=call.groups)

    data, kernel = tensor_of(call.x, call.device), tensor_of(call.weights, call.device)
    return _transpose_halved(data, kernel, call.groups, call.dilation, apply)


def _halved(
    x: torch.Tensor, weights: torch.Tensor, groups: int, dilation: Sequence[int], apply: Apply, run: int
) -> torch.Tensor:
    """Correlate; in float32 as the sum of halves while one accumulator would have too much to add."""
    if _is_short(weights, run):
        return apply(x, weights)
    axis, half = _halves(weights)
    first, second = weights.tensor_split([half], axis)
    if axis == 1:
        parts = _split_channels(x, groups, half)
    else:
        distance = half * dilation[axis - 2]
        shorter = x.shape[axis] - (weights.shape[axis] - half) * dilation[axis - 2]
        parts = x.narrow(axis, 0, shorter), x.narrow(axis, distance, x.shape[axis] - distance)
    total = _halved(parts[0], first, groups, dilation, apply, run)
    total += _halved(parts[1], second, groups, dilation, apply, run)
    return total


def _transpose_halved(
    x: torch.Tensor, weights: torch.Tensor, groups: int, dilation: Sequence[int], apply: Apply
) -> torch.Tensor:
    """Do the transpose of `_halved`, in the same halves."""
    if _is_short(weights):
        return apply(x, weights)
    axis, half = _halves(weights)
    first, second = weights.tensor_split([half], axis)
    if axis == 1:
        left, right = _split_channels(x, groups, half)
        total = _transpose_halved(left, first, groups, dilation, apply)
        total += _transpose_halved(right, second, groups, dilation, apply)
        return total
    near = _transpose_halved(x, first, groups, dilation, apply)
    far = _transpose_halved(x, second, groups, dilation, apply)
    distance = half * dilation[axis - 2]
    shape = list(far.shape)
    shape[axis] += distance
    total = far.new_zeros(shape)
    total.narrow(axis, 0, near.shape[axis]).add_(near)
    total.narrow(axis, distance, far.shape[axis]).add_(far)
    return total


def _is_short(weights: torch.Tensor, run: int = RUN) -> bool:
    return weights.dtype == torch.float64 or prod(weights.shape[1:]) <= run


def _halves(weights: torch.Tensor) -> tuple[int, int]:
    """Return the longest of the axes that a sum runs over, and its middle."""
    axis = max(range(1, weights.ndim), key=lambda axis: weights.shape[axis])
    return axis, weights.shape[axis] // 2


def _split_channels(x: torch.Tensor, groups: int, half: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split the channels of every group."""
    grouped = x.unflatten(1, (groups, -1))
    return grouped[:, :, :half].flatten(1, 2), grouped[:, :, half:].flatten(1, 2)
