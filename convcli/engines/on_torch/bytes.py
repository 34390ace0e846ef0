"""Bytes to bytes without Python between the steps: conversion, products and rounding of one tile after the other.

A tile stays in the processor's cache from its first step to its last, and the threads that compute blocks need
Python's lock only at their ends: small kernels take less than half of the time (measured).  TorchScript runs the
loop; where torch has it no more, Python does, with the same results.
"""

from typing import List  # noqa: UP035  # TorchScript knows no other

import numpy as np
import torch

from convcli.engines import toeplitz
from convcli.engines.interface import Correlation
from convcli.engines.on_numpy.products import NumpyProducts
from convcli.engines.on_torch.boxes import filter_box
from convcli.engines.on_torch.products import TorchProducts, add_products, script
from convcli.engines.on_torch.rounding import Rounding, round_to_bytes, rounding
from convcli.engines.work import toeplitz_rows
from convcli.pixels.render import Rendering, Tally

TILE = 1 << 17  # elements (measured)


def fits(x: np.ndarray, weights: np.ndarray, how: Rendering) -> bool:
    """Return whether `filtered` does such work: pictures of bytes, one kernel, bytes as the result."""
    one = weights.shape[:2] == (1, 1) and weights.ndim == 4 and weights.shape[2] > 1
    rendered = how.dtype == "uint8" and how.affine
    return one and rendered and x.dtype == np.uint8 and weights.dtype == np.float32


def filtered(
    call: Correlation, how: Rendering, place: np.ndarray | None, running_sums: bool
) -> tuple[np.ndarray, Tally]:
    """Return the correlation of bytes with one kernel, rendered, ``(N, 1, Y, X)``; in ``place`` if it can.

    By products, or for a kernel of equal weights (`convcli.engines.work.Work.exact_box`) by running sums.
    """
    data, pixel = toeplitz.as_rows(call.x, call.weights, call.dilation, separable=False)
    kernel = call.weights[0, 0]
    step, shift = call.dilation[0], call.dilation[1] * pixel
    height, width = data.shape[2] - step * (len(kernel) - 1), data.shape[3] - shift * (kernel.shape[1] - 1)
    out = toeplitz.rows_of(place, pixel)
    if out is None:
        out = np.empty((len(data), 1, height, width), np.uint8)
    unit = float(kernel[0, 0]) if running_sums else 1.0  # of a box the sums arrive
    numbers = rounding(how, 255 * float(np.abs(kernel).sum()), unit)
    tally = Tally(values=out.size)
    for source, target in zip(torch.from_numpy(data[:, 0]), torch.from_numpy(out[:, 0]), strict=True):
        if running_sums:
            tally.clipped += filter_box(source, kernel, shift, numbers, target)
        else:
            tally.clipped += _filter(source, kernel, step, shift, numbers, target)
    return toeplitz.as_items(NumpyProducts(), out, pixel), tally


def _filter(
    x: torch.Tensor, kernel: np.ndarray, dilation: int, shift: int, how: Rounding, out: torch.Tensor
) -> int:
    height, width = out.shape
    reach = dilation * (len(kernel) - 1)
    count = min(toeplitz_rows(reach + 1, kernel.shape[1]), height)
    like = torch.empty(0)
    bands = [TorchProducts().band(tuple(column), dilation, count, like) for column in kernel.T.tolist()]
    tile = max(TILE // width // count, 1) * count
    sums = torch.empty([tile, width])
    return script(_tiles)(x, bands, reach, shift, sums, sums.view(torch.int32), how, out)


def _tiles(
    x: torch.Tensor,
    bands: List[torch.Tensor],  # noqa: UP006
    reach: int,
    shift: int,
    sums: torch.Tensor,
    bits: torch.Tensor,
    how: Rounding,
    out: torch.Tensor,
) -> int:
    """Fill ``out`` (Y, X) tile by tile; return how many values lay outside 0…255.

    Parameters
    ----------
    sums, bits : Tensor
        A tile as float32, and the same memory as int32.
    """
    height = out.size(0)
    tile, width = sums.size(0), sums.size(1)
    size = bands[0].size(0)
    # Taken once: the system would hand out fresh pages for each tile.
    floats = torch.empty([tile + reach, x.size(1)])
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
        add_products([bands], [floats[: rows + reach]], shift, reach, sums[:rows], True, tile * width)
        clipped += round_to_bytes(
            sums[:rows], bits[:rows], whole[:rows], how, start - first, out[first : first + rows]
        )
        start = first + rows
    return clipped
