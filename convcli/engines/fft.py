"""Convolution by the fast Fourier transform, tile by tile (overlap-save): large kernels cost hardly more than small.

Tiles overlap by the kernel's extent; of each, the outputs that hold no wrapped-around data are kept.  A transform
mixes all of a tile: these functions are for finite data.  Arrays may be numpy's or torch's: ``numpy.fft`` and
``torch.fft`` have the same functions.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import product
from types import ModuleType

import numpy as np

from convcli.engines import tiles
from convcli.engines.interface import Array, Correlation
from convcli.engines.work import fft_tile

LEVELS = 256  # up to which float32 errs by less than 2**-12 of one (measured: half of that)


def by_numpy(call: Correlation) -> np.ndarray:
    """Return a correlation of numpy's finite data; in ``call.out`` where it is given."""
    x, out = call.x, call.out
    if out is None:
        out = tiles.empty((len(x), len(call.weights), *call.sizes), tiles.memory_order(x), x.dtype)
    kernels = spectra(call)
    correlate(np.fft, x, kernels, call.extents, lambda part: np.asarray(part, kernels.real.dtype), out)
    return out


def correlate(
    transforms: ModuleType,
    x: Array,
    kernels: Array,
    extents: Sequence[int],
    widen: Callable[[Array], Array],
    out: Array,
) -> None:
    """Set ``out`` to the valid correlation with stride 1 of finite data.

    Parameters
    ----------
    transforms : module
        ``numpy.fft`` or ``torch.fft``.
    x : array
        ``(N, C, *space)``, any strides.
    kernels : array
        The kernels' `spectra`, ``(O, C, *frequencies)``, in the library of ``x``.
    extents : sequence of int
        Of the kernels.
    widen : callable
        Returns data in the precision of the spectra.
    out : array
        ``(N, O, *sizes)``, any strides.
    """
    tile = fft_tile(extents, x.shape[2:])
    axes = tuple(axis for axis, extent in enumerate(extents, start=1) if extent > 1)
    lengths = [tile[axis - 1] for axis in axes]
    kept = [t - extent + 1 for t, extent in zip(tile, extents, strict=True)]
    starts = [range(0, size, step) for size, step in zip(out.shape[2:], kept, strict=True)]
    for item, place in product(range(len(x)), product(*starts)):
        box = [slice(start, start + t) for start, t in zip(place, tile, strict=True)]
        spectrum = transforms.rfftn(widen(x[item][(slice(None), *box)]), lengths, axes)
        here = [slice(start, start + step) for start, step in zip(place, kept, strict=True)]
        target = out[item][(slice(None), *here)]
        inside = [slice(size) for size in target.shape[1:]]
        for index, kernel in enumerate(kernels):
            products = spectrum * kernel
            summed = products if len(products) == 1 else products.sum(0)[None]
            target[index] = transforms.irfftn(summed, lengths, axes)[(0, *inside)]


def spectra(call: Correlation) -> np.ndarray:
    """Return the spectra of all kernels, complex64 where the data are integers of 8 bits, else complex128.

    They are conjugate, which turns the transform's convolution into correlation.
    """
    weights = call.weights
    levels = call.finite and weights.dtype == np.float32
    precise = not levels or max(float(call.x.max()), -float(call.x.min())) > LEVELS
    tile = fft_tile(call.extents, call.x.shape[2:])
    return _spectra(weights.tobytes(), weights.shape, weights.dtype.name, call.dilation, tile, precise)


@lru_cache(maxsize=8)
def _spectra(
    weights: bytes,
    shape: tuple[int, ...],
    dtype: str,
    dilation: tuple[int, ...],
    tile: tuple[int, ...],
    precise: bool,
) -> np.ndarray:
    taps = np.frombuffer(weights, dtype).reshape(shape)
    wide = np.zeros((*shape[:2], *(d * (k - 1) + 1 for d, k in zip(dilation, shape[2:], strict=True))))
    spread = [slice(None, None, d) for d in dilation]
    wide[(slice(None), slice(None), *spread)] = taps
    axes = [axis for axis, size in enumerate(wide.shape) if axis >= 2 and size > 1]
    found = np.conj(np.fft.rfftn(wide, [tile[axis - 2] for axis in axes], axes))
    return found.astype(np.complex128 if precise else np.complex64)
