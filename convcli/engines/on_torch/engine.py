"""The torch engine: every algorithm on the processor's threads or on a CUDA device.

Importing this module imports torch, which takes longer than many a job: `convcli.engines.get_engine` does so
only on request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from convcli.engines import fft, shift_and_add, tiles, toeplitz
from convcli.engines.base import all_finite, correlation_sizes, pool_sizes, transposed_sizes
from convcli.engines.on_torch import bytes as torch_bytes
from convcli.engines.on_torch import native as torch_native
from convcli.engines.on_torch import pixels as torch_pixels
from convcli.engines.on_torch.device import device_named, full_precision, tensor_of
from convcli.engines.on_torch.products import TorchProducts
from convcli.geometry.pools import PoolKind
from convcli.pixels.render import Rendering, Tally
from convcli.plan.algorithms import Algorithm

CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
CONVOLVE_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
MAX_POOL = (F.max_pool1d, F.max_pool2d, F.max_pool3d)

FEW = 4  # input maps times output maps below which shift and add is quicker than torch's kernels (measured)
TILE = 1 << 18  # elements of shift and add: in the cache, and enough for torch's own threads (measured)
BUFFER = (
    1 << 24
)  # bytes that torch's kernels may rearrange at a time: more is up to five times slower (measured)


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
        self._products = TorchProducts(self.device)
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
        if data != np.uint8 or fill not in range(256):
            return None
        fused = algorithm in (Algorithm.TOEPLITZ, Algorithm.BOX) and rendered
        return data if fused or self.device.type != "cpu" else None

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
        if self.device.type == "cpu" and torch_bytes.fits(x, weights, how):
            pool_sizes(x, weights.shape[2:], stride, dilation)
            return torch_bytes.filtered(x, weights, dilation, algorithm, how, out)
        with torch.inference_mode():
            values = self._correlate(x, weights, stride, dilation, 1, True, algorithm)
            return torch_pixels.render(values, how)

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
        found = self._correlate(x, weights, stride, dilation, groups, finite, algorithm, place)
        return found.cpu().numpy()

    def _correlate(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        finite: bool,
        algorithm: Algorithm | None,
        place: np.ndarray | None = None,
    ) -> torch.Tensor:
        """Return it on the device; bytes become floats there."""
        if x.dtype == np.uint8:
            sizes, finite = pool_sizes(x, weights.shape[2:], stride, dilation), True
        else:
            sizes = correlation_sizes(x, weights, stride, dilation, groups)
        if algorithm is None:
            algorithm = Algorithm.DIRECT if _few(weights) else Algorithm.NATIVE
        if algorithm is Algorithm.DIRECT or not (finite or all_finite(x)):
            reach = shift_and_add.correlation_reach(stride, dilation)
            return self._shift_and_add(x, weights, sizes, stride, groups, finite, reach, place)
        with full_precision(self.device), torch.inference_mode():
            match algorithm:
                case Algorithm.NATIVE:
                    return self._native(x, weights, sizes, stride, dilation, groups, place)
                case Algorithm.FFT:
                    return self._by_transforms(x, weights, sizes, dilation, place)
                case Algorithm.BANDS | Algorithm.BOX:  # of floats: bytes have loops of their own
                    return toeplitz.by_bands(self._products, x, weights, dilation)
                case _:
                    return toeplitz.by_products(self._products, x, weights, dilation, place)

    def _by_transforms(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        sizes: tuple[int, ...],
        dilation: Sequence[int],
        place: np.ndarray | None,
    ) -> torch.Tensor:
        data = self._tensor(x, weights.dtype)
        kernels, extents = fft.spectra(weights, dilation, x.shape[2:])
        out = self._room((len(x), len(weights), *sizes), tiles.memory_order(x), data.dtype, place)
        fft.correlate(torch.fft, data, torch.from_numpy(kernels).to(self.device), extents, out)
        return out

    def _native(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        sizes: tuple[int, ...],
        stride: Sequence[int],
        dilation: Sequence[int],
        groups: int,
        place: np.ndarray | None,
    ) -> torch.Tensor:
        convolve = CONVOLVE[len(sizes) - 1]

        def apply(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            return convolve(x, weights, stride=tuple(stride), dilation=tuple(dilation), groups=groups)

        data, kernel = self._tensor(x, weights.dtype), self._tensor(weights)
        out = self._room((len(x), len(weights), *sizes), range(x.ndim), data.dtype, place)
        for items, _, *space in self._tiles(x, weights, sizes):
            box = _box(space, weights.shape[2:], stride, dilation)
            out[(items, slice(None), *space)] = torch_native.correlate(
                data[(items, slice(None), *box)], kernel, groups, dilation, apply
            )
        return out

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
        if _few(weights) or not (finite or all_finite(x)):
            reach = shift_and_add.transposed_reach(stride, dilation, x.shape[2:])
            added = self._shift_and_add(x, weights, sizes, stride, groups, finite, reach)
            return added.cpu().numpy()
        convolve = CONVOLVE_TRANSPOSED[len(sizes) - 1]

        def apply(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            swapped = weights.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)  # (in, out of a group)
            return convolve(x, swapped, stride=tuple(stride), dilation=tuple(dilation), groups=groups)

        with full_precision(self.device):
            out = torch_native.transpose(self._tensor(x), self._tensor(weights), groups, dilation, apply)
        return out.cpu().numpy()

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
        data, kernel = self._tensor(x), list(zip(size, stride, dilation, strict=True))
        seen = prod(size) if counts is None else torch.from_numpy(counts).to(self.device)
        if kind.ufunc:
            return kind.tensor(torch, data, kernel, seen).cpu().numpy()
        out = torch.empty((*x.shape[:2], *sizes), dtype=data.dtype, device=self.device)
        for tile in tiles.cut(out.shape, range(x.ndim), BUFFER // prod(size)):
            box = _box(tile[2:], size, stride, dilation)
            part = seen if isinstance(seen, int) else seen[tile[2:]]
            out[tile] = kind.tensor(torch, data[(*tile[:2], *box)], kernel, part)
        return out.cpu().numpy()

    def max_positions(
        self, x: np.ndarray, size: Sequence[int], *, stride: Sequence[int], dilation: Sequence[int]
    ) -> np.ndarray:
        """Return where each window's maximum lies: int64 ``(N, C, *sizes)``, the first of equal ones."""
        sizes = pool_sizes(x, size, stride, dilation)
        data = self._tensor(x)

        def largest(data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            pool = MAX_POOL[len(sizes) - 1]
            return pool(data, tuple(size), tuple(stride), dilation=tuple(dilation), return_indices=True)

        value, position = largest(data)
        if value.isnan().any():  # torch reports the last NaN
            has_nan, first_nan = largest(data.isnan().to(data.dtype))
            position = torch.where(has_nan > 0, first_nan, position)
        return position.cpu().numpy()

    def _shift_and_add(
        self,
        x: np.ndarray,
        weights: np.ndarray,
        sizes: tuple[int, ...],
        stride: Sequence[int],
        groups: int,
        finite: bool,
        reach: shift_and_add.Reach,
        place: np.ndarray | None = None,
    ) -> torch.Tensor:
        skip_zeros = not weights.all() and (finite or all_finite(x))
        x = tiles.with_long_runs(x, stride)
        order = tiles.planar(tiles.memory_order(x))
        data = self._tensor(x, weights.dtype)
        out = self._room((len(x), len(weights), *sizes), order, data.dtype, place)
        size = TILE if self.device.type == "cpu" else out.numel()

        def run(work: Callable[[tiles.Slices], None], shape: tuple[int, ...], _: int) -> None:
            for tile in tiles.cut(shape, order, size):
                work(tile)

        kernel = torch.from_numpy(np.array(weights))
        shift_and_add.shift_and_add(
            data, kernel, out, groups, reach, skip_zeros, _begin, torch.empty_like, run
        )
        return out

    def _room(
        self, shape: Sequence[int], order: Sequence[int], dtype: torch.dtype, place: np.ndarray | None
    ) -> torch.Tensor:
        """Return the place of a result; without one a tensor whose axes lie in this order, the slowest first."""
        if place is not None:
            return torch.from_numpy(place)
        flat = torch.empty([shape[axis] for axis in order], dtype=dtype, device=self.device)
        return flat.permute(*(order.index(axis) for axis in range(len(order))))

    def _tiles(self, x: np.ndarray, weights: np.ndarray, sizes: tuple[int, ...]) -> list[tiles.Slices]:
        """Cut outputs so that what torch rearranges stays small: channels in blocks of 16, or every window."""
        copies = max(*weights.shape[:2], 16) if x.dtype == np.float32 else prod(weights.shape[1:])
        size = BUFFER // (copies * x.itemsize) if self.device.type == "cpu" else len(x) * prod(sizes)
        return tiles.cut((len(x), 1, *sizes), range(x.ndim), size)

    def _tensor(self, x: np.ndarray, dtype: np.dtype | None = None) -> torch.Tensor:
        return tensor_of(x, self.device, dtype)


def _few(weights: np.ndarray) -> bool:
    return prod(weights.shape[:2]) < FEW


def _box(
    outputs: Sequence[slice], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[slice]:
    """Return the inputs that the windows of these outputs cover."""
    return [
        slice(part.start * s, (part.stop - 1) * s + d * (k - 1) + 1)
        for part, k, s, d in zip(outputs, kernel, stride, dilation, strict=True)
    ]


def _begin(_: torch.Tensor) -> shift_and_add.AddProduct:
    def add_product(total: torch.Tensor, where: tuple[Any, ...], data: torch.Tensor, weight: Any) -> None:
        if isinstance(weight, float):
            total[where].add_(data, alpha=weight)
        else:
            total[where].addcmul_(data, weight.to(data.device))

    return add_product
