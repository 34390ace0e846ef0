"""Torch's products for `convcli.engines.toeplitz`.

Along the fastest axis a band is the weight of a convolution with stride B, whose B output channels are neighbours.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import List, TypeVar  # noqa: UP035  # TorchScript knows no other list

import numpy as np
import torch
from torch.nn import functional as F

from convcli.engines.on_torch.device import CPU, tensor_of
from convcli.engines.toeplitz import Vector, matrix
from convcli.engines.work import LINE

TILE = 1 << 16  # elements of a result that gets all of its products before the next (measured)
LAST_PYTHON = (3, 13)  # with TorchScript
Result = TypeVar("Result")


class TorchProducts:
    """Tensors on one device; the interface is described in `convcli.engines.toeplitz.Backend`."""

    def __init__(self, device: torch.device = CPU) -> None:
        self._device = device

    def take(self, x: np.ndarray, dtype: np.dtype) -> torch.Tensor:
        return tensor_of(x, self._device, dtype)

    def empty(self, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        return like.new_empty(*shape)

    def move(self, x: torch.Tensor, source: int, target: int) -> torch.Tensor:
        return x.movedim(source, target)

    def band(self, vector: Vector, step: int, count: int, like: torch.Tensor) -> torch.Tensor:
        return _band(vector, step, count, like.dtype, like.device)

    def add_products(
        self,
        bands: Sequence[Sequence[torch.Tensor]],
        sources: Sequence[torch.Tensor],
        shift: int,
        reach: int,
        out: torch.Tensor,
        fresh: bool,
    ) -> None:
        columns = [list(one) for one in bands]
        script(add_products)(columns, list(sources), shift, reach, out, fresh, TILE)

    def lines(self, x: torch.Tensor, vector: Vector, step: int) -> torch.Tensor:
        reach = step * (len(vector) - 1)
        size = x.shape[1] - reach
        count = min(LINE, size)
        band = _band(vector, step, count, x.dtype, x.device)
        if size % count == 0:
            return _groups(x, band).view(len(x), size)
        out = x.new_empty(len(x), size)
        whole = size // count * count
        out[:, :whole] = _groups(x, band).view(len(x), whole)
        # The last outputs once more, together with what remains.
        out[:, size - count :] = _groups(x[:, size - count :].contiguous(), band).view(len(x), count)
        return out


def add_products(
    bands: List[List[torch.Tensor]],  # noqa: UP006
    sources: List[torch.Tensor],  # noqa: UP006
    shift: int,
    reach: int,
    out: torch.Tensor,
    fresh: bool,
    tile: int,
) -> None:
    """Do what `TorchProducts.add_products` does, tiles of about so many elements one after the other."""
    size = bands[0][0].size(0)
    height, width, pitch = out.size(0), out.size(1), out.stride(0)
    most = max(tile // (size * width), 1) * size
    start = 0
    while start < height:
        many = min(most, height - start) // size
        result = out.as_strided(
            [many, size, width], [size * pitch, pitch, 1], out.storage_offset() + start * pitch
        )
        first = fresh
        for number in range(len(sources)):
            source = sources[number]
            step = source.stride(0)
            for index in range(len(bands[number])):
                offset = source.storage_offset() + start * step + index * shift
                data = source.as_strided([many, size + reach, width], [size * step, step, 1], offset)
                band = bands[number][index].expand([many, -1, -1])
                if first:
                    torch.bmm(band, data, out=result)
                else:
                    result.baddbmm_(band, data)
                first = False
        start += many * size


@cache
def script(function: Callable[..., Result]) -> Callable[..., Result]:
    """Return a function that runs without Python's lock; where torch has no TorchScript, the function itself."""
    if sys.version_info[:2] > LAST_PYTHON:
        return function
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted: Callable[..., Result] = torch.jit.script(function)
    return scripted


def _groups(x: torch.Tensor, band: torch.Tensor) -> torch.Tensor:
    """Return (rows, groups, B): each group of B neighbours from the B + k - 1 elements that it needs."""
    count, width = band.shape
    if x.dtype == torch.float64:  # torch has no quick convolution for these
        return x.unfold(1, width, count) @ band.T
    rows, n = x.shape
    # One channel: seen as channels-last too, so that the result's channels, the neighbours, lie side by side.
    picture = x.as_strided((1, 1, rows, n), (rows * n, 1, n, 1))
    weight = band.as_strided((count, 1, 1, width), (width, 1, width, 1))
    return F.conv2d(picture, weight, stride=(1, count)).permute(0, 2, 3, 1)[0]


@lru_cache(maxsize=1024)
def _band(vector: Vector, step: int, count: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(matrix(vector, step, count)).to(dtype=dtype, device=device)
