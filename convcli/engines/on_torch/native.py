"""Torch's own convolution kernels, kept from summing so long that float32 shows it.

They add up all products of an output in one accumulator.  With 255 x 255 equal weights on an even surface the
error reached 2e-4 of the result (measured); summed in halves of halves it stays below 1e-5.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import torch

RUN = 256  # products that one float32 accumulator of torch may add up: an error of at most RUN * 2**-25

Apply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def correlate(
    x: torch.Tensor, weights: torch.Tensor, groups: int, dilation: Sequence[int], apply: Apply
) -> torch.Tensor:
    """Correlate; in float32 as the sum of halves while one accumulator would have too much to add."""
    if _is_short(weights):
        return apply(x, weights)
    axis, half = _halves(weights)
    first, second = weights.tensor_split([half], axis)
    if axis == 1:
        parts = _split_channels(x, groups, half)
    else:
        distance = half * dilation[axis - 2]
        shorter = x.shape[axis] - (weights.shape[axis] - half) * dilation[axis - 2]
        parts = x.narrow(axis, 0, shorter), x.narrow(axis, distance, x.shape[axis] - distance)
    total = correlate(parts[0], first, groups, dilation, apply)
    total += correlate(parts[1], second, groups, dilation, apply)
    return total


def transpose(
    x: torch.Tensor, weights: torch.Tensor, groups: int, dilation: Sequence[int], apply: Apply
) -> torch.Tensor:
    """Do the transpose of `correlate`, in the same halves."""
    if _is_short(weights):
        return apply(x, weights)
    axis, half = _halves(weights)
    first, second = weights.tensor_split([half], axis)
    if axis == 1:
        left, right = _split_channels(x, groups, half)
        total = transpose(left, first, groups, dilation, apply)
        total += transpose(right, second, groups, dilation, apply)
        return total
    near = transpose(x, first, groups, dilation, apply)
    far = transpose(x, second, groups, dilation, apply)
    distance = half * dilation[axis - 2]
    shape = list(far.shape)
    shape[axis] += distance
    total = far.new_zeros(shape)
    total.narrow(axis, 0, near.shape[axis]).add_(near)
    total.narrow(axis, distance, far.shape[axis]).add_(far)
    return total


def _is_short(weights: torch.Tensor) -> bool:
    return weights.dtype == torch.float64 or prod(weights.shape[1:]) <= RUN


def _halves(weights: torch.Tensor) -> tuple[int, int]:
    """Return the longest of the axes that a sum runs over, and its middle."""
    axis = max(range(1, weights.ndim), key=lambda axis: weights.shape[axis])
    return axis, weights.shape[axis] // 2


def _split_channels(x: torch.Tensor, groups: int, half: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split the channels of every group."""
    grouped = x.unflatten(1, (groups, -1))
    return grouped[:, :, :half].flatten(1, 2), grouped[:, :, half:].flatten(1, 2)
