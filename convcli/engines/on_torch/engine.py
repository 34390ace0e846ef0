"""The torch engine: every algorithm on the processor's threads or on a CUDA device.

Importing this module imports torch, which takes longer than many a job: `convcli.engines.get_engine` does so
only on request.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import torch

from convcli.common import EngineName
from convcli.engines import shift_and_add, tiles
from convcli.engines.algorithms import TorchDirect, TorchNative, ways, work_of
from convcli.engines.base import Engine, all_finite
from convcli.engines.costs import FEW, NATIVE_TILE
from convcli.engines.interface import Algorithm, Correlation
from convcli.engines.on_torch.sums import device_named, full_precision, shifted, tensor_of, transposed
from convcli.geometry.pools import PoolKind
from convcli.pixels.render import Rendering, Tally
from convcli.pixels.render import render as render_array


def render(values: np.ndarray | torch.Tensor, how: Rendering) -> tuple[np.ndarray, Tally]:
    """Turn floats into pixels, as `convcli.pixels.render.render` does; their memory is used.

    On a CUDA device, so that fewer bytes cross the bus; else as numpy does it.
    """
    if isinstance(values, np.ndarray):
        return render_array(values, how)
    if values.device.type == "cpu" or how.dtype not in ("uint8", "int16") or values.dtype != torch.float32:
        return render_array(values.cpu().numpy(), how)
    how.apply(values, torch)
    values.round_()
    outside = (values < how.low) | (values > how.top)
    tally = Tally(values.numel(), int(outside.count_nonzero()), int(values.isnan().count_nonzero()))
    values.nan_to_num_(max(how.low, 0.0), how.top, how.low).clamp_(how.low, how.top)
    return values.to(getattr(torch, how.dtype)).cpu().numpy(), tally


class TorchEngine(Engine):
    """Arithmetic in torch, on the processor or a CUDA device.

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

    name, direct = "torch", TorchDirect()

    def __init__(self, device: str = "cpu", threads: int | None = None) -> None:
        self.device = device_named(device)
        self.threads = threads
        self.gave_way = Counter()
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

    render = staticmethod(render)

    def takes(self, data: np.dtype, fill: float) -> np.dtype | None:
        """Return bytes for whatever crosses a bus."""
        return data if self.device.type != "cpu" and data == np.uint8 and fill in range(256) else None

    def _default(self, weights: np.ndarray) -> Algorithm:
        return self.direct if _few(weights) else TorchNative()

    def _ways(self, call: Correlation) -> Sequence[Algorithm]:
        return ways(EngineName.TORCH, work_of(call))

    def _correlate(self, algorithm: Algorithm, call: Correlation) -> np.ndarray:
        if self.device.type != "cpu":
            call = replace(call, out=None)
        with full_precision(self.device), torch.inference_mode():
            made: torch.Tensor = algorithm.run(call)
        return made.cpu().numpy()

    def _pixels(
        self, algorithm: Algorithm, call: Correlation, how: Rendering, out: np.ndarray | None
    ) -> tuple[np.ndarray, Tally]:
        """Return the cross-correlation as pixels, which are made on the device."""
        with full_precision(self.device), torch.inference_mode():
            return algorithm.pixels(call, how, out, render)

    def _transpose(self, call: Correlation) -> np.ndarray:
        if _few(call.weights) or not (call.finite or all_finite(call.x)):
            return shifted(call, shift_and_add.transposed_reach(call)).cpu().numpy()
        with full_precision(self.device):
            return transposed(call).cpu().numpy()

    def _pool(self, call: Correlation, kind: PoolKind, counts: np.ndarray | None) -> np.ndarray:
        """Reduce windows along one axis after the other where the kind allows it.

        Torch's own means add up a whole window in one float32 accumulator, which a global mean of a photograph
        does not survive.
        """
        x, size = call.x, call.weights.shape[2:]
        data = tensor_of(x, self.device, call.weights.dtype)
        kernel = list(zip(size, call.stride, call.dilation, strict=True))
        out = torch.empty((*x.shape[:2], *call.sizes), dtype=data.dtype, device=self.device)
        seen = (
            prod(size) if counts is None else torch.from_numpy(counts).to(self.device).broadcast_to(out.shape)
        )
        if kind.ufunc:
            return kind.tensor(torch, data, kernel, seen).cpu().numpy()
        for tile in tiles.cut(out.shape, range(x.ndim), NATIVE_TILE // prod(size)):
            box = tiles.inputs(tile[2:], size, call.stride, call.dilation)
            part = seen if isinstance(seen, int) else seen[tile]
            out[tile] = kind.tensor(torch, data[(*tile[:2], *box)], kernel, part)
        return out.cpu().numpy()


def _few(weights: np.ndarray) -> bool:
    return prod(weights.shape[:2]) < FEW
