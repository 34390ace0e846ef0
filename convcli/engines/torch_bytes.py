"""Bytes to bytes without Python between the steps: conversion, products and rounding of one tile after the other.

A tile stays in the processor's cache from its first step to its last, and the threads that compute blocks need
Python's lock only at their ends: small kernels take less than half of the time (measured).  TorchScript runs the
loop; where torch has it no more, Python does, with the same results.
"""

from collections.abc import Sequence
from typing import List  # noqa: UP035  # TorchScript knows no other

import numpy as np
import torch

from convcli.engines import toeplitz
from convcli.engines.numpy_toeplitz import NumpyProducts
from convcli.engines.torch_toeplitz import TorchProducts, add_products, script
from convcli.render import Rendering, Tally
from convcli.work import toeplitz_rows

TILE = 1 << 17  # elements (measured)
WIDEST = 32000.0  # to be on the safe side of 32767


def fits(x: np.ndarray, weights: np.ndarray, how: Rendering) -> bool:
    """Return whether `filtered` does such work: pictures of bytes, one kernel, bytes as the result."""
    one = weights.shape[:2] == (1, 1) and weights.ndim == 4 and weights.shape[2] > 1
    return one and x.dtype == np.uint8 and how.dtype == "uint8" and weights.dtype == np.float32


def filtered(
    x: np.ndarray,
    weights: np.ndarray,
    dilation: Sequence[int],
    how: Rendering,
    place: np.ndarray | None = None,
) -> tuple[np.ndarray, Tally]:
    """Return the valid correlation of bytes with one kernel, rendered: ``(N, 1, Y, X)``; in ``place`` if it can."""
    data, pixel = toeplitz.as_rows(x, weights, dilation, separable=False)
    kernel = weights[0, 0]
    reach, shift = dilation[0] * (len(kernel) - 1), dilation[1] * pixel
    height, width = data.shape[2] - reach, data.shape[3] - shift * (kernel.shape[1] - 1)
    count = min(toeplitz_rows(reach + 1, kernel.shape[1]), height)
    like = torch.empty(0)
    bands = [TorchProducts().band(tuple(column), dilation[0], count, like) for column in kernel.T.tolist()]
    out = toeplitz.rows_of(place, pixel)
    if out is None:
        out = np.empty((len(data), 1, height, width), np.uint8)
    tile = max(TILE // width // count, 1) * count
    tally = Tally(values=out.size)
    wide = 255 * float(np.abs(kernel).sum()) * abs(how.scale) + abs(how.offset) > WIDEST
    with torch.inference_mode():
        for source, target in zip(data, out, strict=True):
            tally.clipped += script(_tiles)(
                torch.from_numpy(source[0]),
                bands,
                reach,
                shift,
                tile,
                how.absolute,
                how.scale,
                how.offset,
                how.fits,
                wide,
                torch.from_numpy(target[0]),
            )
    return toeplitz.as_items(NumpyProducts(), out, pixel), tally


def _tiles(
    x: torch.Tensor,
    bands: List[torch.Tensor],  # noqa: UP006
    reach: int,
    shift: int,
    tile: int,
    absolute: bool,
    scale: float,
    offset: float,
    fits: bool,
    wide: bool,
    out: torch.Tensor,
) -> int:
    """Fill ``out`` (Y, X) tile by tile; return how many values lay outside 0…255, for those that may.

    ``wide`` values may lie beyond 16 bits, by way of which they become bytes.
    """
    height, width = out.size(0), out.size(1)
    size = bands[0].size(0)
    # Taken once: the system would hand out fresh pages for each tile.
    floats = torch.empty([tile + reach, x.size(1)])
    sums = torch.empty([tile, width])
    whole = torch.empty([tile, width], dtype=torch.int16)
    clipped = 0
    start = 0
    while start < height:
        rows = min(tile, height - start)
        if rows > size:
            rows = rows // size * size
        first = min(start, height - size)  # of the last rows some are computed once more
        if rows < size:
            rows = size
        floats[: rows + reach].copy_(x[first : first + rows + reach])
        values = sums[:rows]
        add_products([bands], [floats[: rows + reach]], shift, reach, values, True, tile * width)
        if absolute:
            values.abs_()
        if scale != 1.0:
            values.mul_(scale)
        if offset != 0.0:
            values.add_(offset)
        values.round_()
        if wide:
            values.clamp_(-32768.0, 32767.0)
        pixels = whole[:rows]
        pixels.copy_(values)
        if not fits and (int(pixels.amin()) < 0 or int(pixels.amax()) > 255):
            fresh = pixels[start - first :]
            clipped += int((fresh < 0).sum()) + int((fresh > 255).sum())
            pixels.clamp_(0, 255)
        out[first : first + rows].copy_(pixels)
        start = first + rows
    return clipped
