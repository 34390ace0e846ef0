"""The torch engine: every algorithm on the processor's threads or on a CUDA device.

Importing this module imports torch, which takes longer than many a job: `convcli.engines.get_engine` does so
only on request.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from convcli.engines import shift_and_add, tiles
from convcli.engines.algorithms import TorchDirect, TorchNative
from convcli.engines.base import all_finite, pool_sizes, prepared, transposed_sizes
from convcli.engines.costs import FEW
from convcli.engines.interface import Algorithm, Correlation
from convcli.engines.on_torch import native as torch_native
from convcli.engines.on_torch import pixels as torch_pixels
from convcli.engines.on_torch.device import device_named, full_precision, tensor_of
from convcli.engines.on_torch.sums import shifted
from convcli.geometry.pools import PoolKind
from convcli.pixels.render import Rendering, Tally

MAX_POOL = (F.max_pool1d, F.max_pool2d, F.max_pool3d)
DIRECT, NATIVE = TorchDirect(), TorchNative()


class TorchEngine:
    """Algorithms in torch; the interface is described in `convcli.engines.base.Engine`.

    Few maps, and data that hold a NaN or an infinity, are shifted and added unless another algorithm is asked
    for.  The rest goes through torch's own kernels, of which no one promises that such a value leaves its
    neighbours alone.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    threads : int, optional
        For the processor, from `__enter__` to `__exit__`; by default torch's own choice.

    Raises
    ------
    UsageError
        No such device.
    """

    name = "torch"

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        self.device = device_named(device)
        self.threads = threads
        self._before: int | None = None

    def __enter__(self) -> TorchEngine:
        if self.threads is not None:
            self._before = torch.get_num_threads()
            torch.set_num_threads(self.threads)  # holds for threads that are begun from now on, too
        return self

    def __exit__(self, *exception: object) -> None:
        if self._before is not None:
            torch.set_num_threads(self._before)
            self._before = None

    pad = staticmethod(torch_pixels.pad)
    render = staticmethod(torch_pixels.render)

    def takes(
        self, algorithm: Algorithm | None, data: np.dtype, weights: np.ndarray, fill: float, rendered: bool
    ) -> np.dtype | None:
        """Return bytes for the products that begin with them, and for whatever crosses a bus."""
        if self.device.type != "cpu":
            return data if data == np.uint8 and fill in range(256) else None
        return (algorithm or DIRECT).takes(data, weights, fill, rendered)

    def pixels(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        algorithm: Algorithm | None,
        how: Rendering,
        out: np.ndarray | None = None,
    ) -> tuple[np.ndarray, Tally]:
        """Return the cross-correlation as pixels, which are made on the device."""
        chosen, call = self._prepared(algorithm, x, weights, stride, dilation, finite=True)
        with full_precision(self.device), torch.inference_mode():
            return chosen.pixels(call, how, out)

    def correlate(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int = 1,
        finite: bool = False,
        algorithm: Algorithm | None = None,
        out: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the valid cross-correlation, ``(N, O, *sizes)``."""
        place = None if self.device.type != "cpu" else out
        chosen, call = self._prepared(algorithm, x, weights, stride, dilation, groups, finite, out=place)
        with full_precision(self.device), torch.inference_mode():
            made: torch.Tensor = chosen.run(call)
        return made.cpu().numpy()

    def _prepared(
        self, algorithm: Algorithm | None, x: np.ndarray, weights: np.ndarray, *arguments: Any, **more: Any
    ) -> tuple[Algorithm, Correlation]:
        chosen = algorithm or (DIRECT if _few(weights) else NATIVE)
        return prepared(chosen, DIRECT, x, weights, *arguments, device=self.device, **more)

    def transpose(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int = 1,
        finite: bool = False,
    ) -> np.ndarray:
        """Return the transposed convolution, ``(N, O, *sizes)``, nothing cropped."""
        sizes = transposed_sizes(x, weights, stride, dilation, groups)
        call = Correlation(
            x, weights, sizes, tuple(stride), tuple(dilation), groups, finite, device=self.device
        )
        if _few(weights) or not (finite or all_finite(x)):
            reach = shift_and_add.transposed_reach(stride, dilation, x.shape[2:])
            return shifted(call, reach).cpu().numpy()
        with full_precision(self.device):
            return torch_native.transpose(call).cpu().numpy()

    def pool(
        self,
        x: np.ndarray,
        kind: PoolKind,
        size: Sequence[int],
        *,
        stride: Sequence[int],
        dilation: Sequence[int],
        counts: np.ndarray | None = None,
    ) -> np.ndarray:
        """Return the pooled windows, one axis reduced after the other where the kind allows it.

        Torch's own means add up a whole window in one float32 accumulator, which a global mean of a photograph
        does not survive.
        """
        sizes = pool_sizes(x, size, stride, dilation)
        data, kernel = tensor_of(x, self.device), list(zip(size, stride, dilation, strict=True))
        seen = prod(size) if counts is None else torch.from_numpy(counts).to(self.device)
        if kind.ufunc:
            return kind.tensor(torch, data, kernel, seen).cpu().numpy()
        out = torch.empty((*x.shape[:2], *sizes), dtype=data.dtype, device=self.device)
        for tile in tiles.cut(out.shape, range(x.ndim), torch_native.BUFFER // prod(size)):
            box = tiles.inputs(tile[2:], size, stride, dilation)
            part = seen if isinstance(seen, int) else seen[tile[2:]]
            out[tile] = kind.tensor(torch, data[(*tile[:2], *box)], kernel, part)
        return out.cpu().numpy()

    def max_positions(
        self, x: np.ndarray, size: Sequence[int], *, stride: Sequence[int], dilation: Sequence[int]
    ) -> np.ndarray:
        """Return where each window's maximum lies: int64 ``(N, C, *sizes)``, the first of equal ones."""
        sizes = pool_sizes(x, size, stride, dilation)
        data = tensor_of(x, self.device)

        def largest(data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            pool = MAX_POOL[len(sizes) - 1]
            return pool(data, tuple(size), tuple(stride), dilation=tuple(dilation), return_indices=True)

        value, position = largest(data)
        if value.isnan().any():  # torch reports the last NaN
            has_nan, first_nan = largest(data.isnan().to(data.dtype))
            position = torch.where(has_nan > 0, first_nan, position)
        return position.cpu().numpy()


def _few(weights: np.ndarray) -> bool:
    return prod(weights.shape[:2]) < FEW
