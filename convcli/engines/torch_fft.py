"""Convolution by the fast Fourier transform, tile by tile (overlap-save): large kernels cost hardly more than small.

Tiles overlap by the kernel's extent; of each, the outputs that hold no wrapped-around data are kept.  A transform
mixes all of a tile: these functions are for finite data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np
import torch

from convcli.algorithms import fft_tile


def correlate(x: torch.Tensor, weights: np.ndarray, dilation: Sequence[int], out: torch.Tensor) -> None:
    """Set ``out`` to the valid correlation with stride 1 of finite data.

    Parameters
    ----------
    x : torch.Tensor
        ``(N, C, *space)``, any strides.
    weights : numpy.ndarray
        ``(O, C, *kernel)``.
    dilation : sequence of int
    out : torch.Tensor
        ``(N, O, *sizes)``, any strides.
    """
    extents = [d * (k - 1) + 1 for d, k in zip(dilation, weights.shape[2:], strict=True)]
    tile = fft_tile(extents, x.shape[2:])
    axes = tuple(axis for axis, extent in enumerate(extents, start=1) if extent > 1)
    lengths = [tile[axis - 1] for axis in axes]
    spectra = _spectra(weights.tobytes(), weights.shape, weights.dtype.name, tuple(dilation), tile, x.device)
    kept = [t - extent + 1 for t, extent in zip(tile, extents, strict=True)]
    starts = [range(0, size, step) for size, step in zip(out.shape[2:], kept, strict=True)]
    for item, place in product(range(len(x)), product(*starts)):
        box = [slice(start, start + t) for start, t in zip(place, tile, strict=True)]
        spectrum = torch.fft.rfftn(x[item][(slice(None), *box)], lengths, axes)
        here = [slice(start, start + step) for start, step in zip(place, kept, strict=True)]
        target = out[item][(slice(None), *here)]
        inside = [slice(size) for size in target.shape[1:]]
        for index, kernel in enumerate(spectra):
            products = spectrum * kernel
            summed = products if len(products) == 1 else products.sum(0, keepdim=True)
            target[index] = torch.fft.irfftn(summed, lengths, axes)[(0, *inside)]


@lru_cache(maxsize=8)
def _spectra(
    weights: bytes,
    shape: tuple[int, ...],
    dtype: str,
    dilation: tuple[int, ...],
    tile: tuple[int, ...],
    device: torch.device,
) -> torch.Tensor:
    """Return the conjugate spectra of all kernels, which turn the transform's convolution into correlation."""
    taps = np.frombuffer(weights, dtype).reshape(shape)
    wide = np.zeros((*shape[:2], *(d * (k - 1) + 1 for d, k in zip(dilation, shape[2:], strict=True))))
    spread = [slice(None, None, d) for d in dilation]
    wide[(slice(None), slice(None), *spread)] = taps
    axes = [axis for axis, size in enumerate(wide.shape) if axis >= 2 and size > 1]
    lengths = [tile[axis - 2] for axis in axes]
    spectra = torch.fft.rfftn(torch.from_numpy(wide), lengths, axes).conj_physical()
    return spectra.to(dtype=torch.complex64 if dtype == "float32" else torch.complex128, device=device)
