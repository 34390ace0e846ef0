"""Sums of shifted tensors, and transforms of tiles: the algorithms of numpy in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from convcli.engines import fft, shift_and_add, tiles
from convcli.engines.base import all_finite
from convcli.engines.interface import Correlation
from convcli.engines.on_torch.device import tensor_of
from convcli.geometry.windows import Window
from convcli.kernel.analysis import separable_terms

TILE = 1 << 18  # elements of shift and add: in the cache, and enough for torch's own threads (measured)


def direct(call: Correlation) -> torch.Tensor:
    """Return the correlation by the definition, tap after tap."""
    return shifted(call, shift_and_add.correlation_reach(call.stride, call.dilation))


def shifted(call: Correlation, reach: shift_and_add.Reach) -> torch.Tensor:
    """Return the sum over all taps; ``reach`` says what each takes, and where it goes."""
    weights = call.weights
    skip_zeros = not weights.all() and (call.finite or all_finite(call.x))
    x = tiles.with_long_runs(call.x, call.stride)
    order = tiles.planar(tiles.memory_order(x))
    data = tensor_of(x, call.device, weights.dtype)
    out = room(call, order, data.dtype)
    _shift(data, torch.from_numpy(np.array(weights)), out, call.groups, reach, skip_zeros, order)
    return out


def _shift(
    data: torch.Tensor,
    kernel: torch.Tensor,
    out: torch.Tensor,
    groups: int,
    reach: shift_and_add.Reach,
    skip_zeros: bool,
    order: Sequence[int],
) -> None:
    size = TILE if out.device.type == "cpu" else out.numel()

    def run(work: Callable[[tiles.Slices], None], shape: tuple[int, ...], _: int) -> None:
        for tile in tiles.cut(shape, order, size):
            work(tile)

    shift_and_add.shift_and_add(data, kernel, out, groups, reach, skip_zeros, _begin, torch.empty_like, run)


def _begin(_: torch.Tensor) -> shift_and_add.AddProduct:
    def add_product(total: torch.Tensor, where: tuple[Any, ...], data: torch.Tensor, weight: Any) -> None:
        if isinstance(weight, float):
            total[where].add_(data, alpha=weight)
        else:
            total[where].addcmul_(data, weight.to(data.device))

    return add_product


def separable(call: Correlation) -> torch.Tensor:
    """Return the correlation with one kernel, axis by axis; several outer products are added up."""
    total: torch.Tensor | None = None
    data = tensor_of(call.x, call.device, call.weights.dtype)
    for vectors in separable_terms(call.weights[0, 0]) or ():
        part = data
        for axis, vector in enumerate(vectors):
            if vector != (1.0,) or call.stride[axis] != 1:
                part = _along(part, axis, vector, call.stride[axis], call.dilation[axis])
        total = part if total is None else total + part
    if total is None:
        raise ValueError(f"a kernel of shape {call.weights.shape} is not a sum of a few outer products")
    return total


def _along(x: torch.Tensor, axis: int, vector: Sequence[float], stride: int, dilation: int) -> torch.Tensor:
    rank = x.ndim - 2
    kernel = torch.tensor(vector, dtype=x.dtype)
    kernel = kernel.reshape([1, 1, *(len(vector) if index == axis else 1 for index in range(rank))])
    steps, gaps = ([number if index == axis else 1 for index in range(rank)] for number in (stride, dilation))
    shape = list(x.shape)
    shape[axis + 2] = Window(len(vector), stride, dilation).output_size(shape[axis + 2])
    out = torch.empty(shape, dtype=x.dtype, device=x.device)
    reach = shift_and_add.correlation_reach(steps, gaps)
    _shift(x, kernel, out, 1, reach, skip_zeros=False, order=range(x.ndim))
    return out


def by_transforms(call: Correlation) -> torch.Tensor:
    """Return the correlation by `convcli.engines.fft`."""
    data = tensor_of(call.x, call.device, call.weights.dtype)
    kernels = torch.from_numpy(fft.spectra(call)).to(call.device)
    out = room(call, tiles.memory_order(call.x), data.dtype)
    fft.correlate(torch.fft, data, kernels, call.extents, lambda part: part.to(kernels.real.dtype), out)
    return out


def room(call: Correlation, order: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return the place of a result; without one a tensor whose axes lie in this order, the slowest first."""
    if call.out is not None:
        return torch.from_numpy(call.out)
    shape = (len(call.x), len(call.weights), *call.sizes)
    flat = torch.empty([shape[axis] for axis in order], dtype=dtype, device=call.device)
    return flat.permute(*(order.index(axis) for axis in range(len(order))))
