"""Sums of shifted tensors, and transforms of tiles: the algorithms of numpy in torch."""

from collections.abc import Sequence

import numpy as np
import torch

from convcli.engines import fft, shift_and_add, tiles
from convcli.engines.interface import Correlation
from convcli.engines.on_torch.device import tensor_of


def direct(call: Correlation) -> torch.Tensor:
    """Return the correlation by the definition, tap after tap."""
    return shifted(call, shift_and_add.correlation_reach(call))


def shifted(call: Correlation, reach: shift_and_add.Reach) -> torch.Tensor:
    """Return the sum over all taps; ``reach`` says what each takes, and where it goes."""
    data = tensor_of(call.x, call.device, call.weights.dtype)
    own = isinstance(call.x, np.ndarray)  # else what `separable` has made
    order = tiles.planar(tiles.memory_order(call.x)) if own else range(data.ndim)
    out = room(call, order, data.dtype)

    def asarray(weight: np.ndarray) -> torch.Tensor:
        return torch.tensor(weight, device=out.device)

    shift_and_add.shift_and_add(data, call, out, reach, asarray, torch.zeros_like)
    return out


def separable(call: Correlation) -> torch.Tensor:
    """Return the correlation with one kernel, axis by axis; several outer products are added up."""
    made: torch.Tensor = shift_and_add.separable(
        call, tensor_of(call.x, call.device, call.weights.dtype), direct
    )
    return made


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
