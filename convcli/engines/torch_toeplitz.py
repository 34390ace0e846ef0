"""Torch's products for `convcli.engines.toeplitz`.

Along the fastest axis a band is the weight of a convolution with stride B, whose B output channels are neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch.nn import functional as F

from convcli.engines.toeplitz import Vector, matrix
from convcli.work import LINE


class TorchProducts:
    """Tensors; the interface is described in `convcli.engines.toeplitz.Backend`."""

    def empty(self, shape: Sequence[int], like: torch.Tensor) -> torch.Tensor:
        return like.new_empty(*shape)

    def move(self, x: torch.Tensor, source: int, target: int) -> torch.Tensor:
        return x.movedim(source, target)

    def groups(
        self, x: torch.Tensor, first: int, many: int, size: int, reach: int, width: int, shift: int
    ) -> torch.Tensor:
        pitch = x.stride(0)
        start = x.storage_offset() + first * pitch + shift
        return x.as_strided((many, size + reach, width), (size * pitch, pitch, 1), start)

    def band(self, vector: Vector, step: int, count: int, like: torch.Tensor) -> torch.Tensor:
        return _band(vector, step, count, like.dtype, like.device)

    def multiply(self, band: torch.Tensor, data: torch.Tensor, out: torch.Tensor, fresh: bool) -> None:
        each = band.expand(len(data), -1, -1)
        if fresh:
            torch.bmm(each, data, out=out)
        else:
            out.baddbmm_(each, data)

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
