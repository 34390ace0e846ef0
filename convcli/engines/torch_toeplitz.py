"""Convolution as a matrix product: a kernel's Toeplitz matrix gives several neighbouring outputs at once.

Outputs ``i .. i + B - 1`` of an axis are ``T @ x[i : i + B + k - 1]``, T the B x (B + k - 1) band whose every row
is the kernel, one step further.  Rows of a picture are the columns of such products, so that data are read where
they lie, whatever their width, and results are written where they belong.  Along the fastest axis the same band is
the weight of a convolution with stride B, whose B output channels are the neighbours.

Most of a band is zeros, and zero times NaN is NaN: these functions are for finite data.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from math import prod

import numpy as np
import torch
from torch.nn import functional as F

from convcli.algorithms import LINE, toeplitz_rows

Vector = tuple[float, ...]


def correlate(x: torch.Tensor, weights: np.ndarray, dilation: Sequence[int], pixel: int) -> torch.Tensor:
    """Return the valid correlation with stride 1, ``(N, O, *sizes)``, of finite data.

    Parameters
    ----------
    x : torch.Tensor
        ``(N, C, *space)``, contiguous.
    weights : numpy.ndarray
        ``(O, C, *kernel)``.
    dilation : sequence of int
    pixel : int
        Elements between neighbours along the last axis: 3 where it runs through interleaved pixels.
    """
    steps = (*dilation[:-1], dilation[-1] * pixel)
    extents = [d * (k - 1) + 1 for d, k in zip(steps, weights.shape[2:], strict=True)]
    sizes = [n - extent + 1 for n, extent in zip(x.shape[2:], extents, strict=True)]
    out = x.new_empty(len(x), len(weights), *sizes)
    for item, (index, kernel) in product(range(len(x)), enumerate(weights)):
        for channel, plane in enumerate(kernel):
            _add_plane(x[item, channel], plane, steps, out[item, index], fresh=channel == 0)
    return out


def separable(
    x: torch.Tensor, terms: Sequence[Sequence[Vector]], dilation: Sequence[int], pixel: int
) -> torch.Tensor:
    """Return the correlation with a sum of products of vectors, one for each axis; ``x`` as in `correlate`."""
    steps = (*dilation[:-1], dilation[-1] * pixel)
    total: torch.Tensor | None = None
    for vectors in terms:
        part = x
        for axis, (vector, step) in enumerate(zip(vectors, steps, strict=True), start=2):
            part = _along(part, axis, vector, step)
        total = part if total is None else total.add_(part)
    if total is None:
        raise ValueError("a sum of no terms")
    return total


def _along(x: torch.Tensor, axis: int, vector: Vector, step: int) -> torch.Tensor:
    if len(vector) == 1:
        return x if vector[0] == 1 else x * vector[0]
    if axis == x.ndim - 1:
        rows = _lines(x.reshape(-1, x.shape[axis]), vector, step)
        return rows.view(*x.shape[:axis], rows.shape[1])
    count = x.shape[axis] - step * (len(vector) - 1)
    out = x.new_empty(*x.shape[:axis], count, *x.shape[axis + 1 :])
    inner = prod(x.shape[axis + 1 :])
    column = _Rows(np.array(vector)[:, np.newaxis], step, 0, (count, inner), x)
    for data, result in zip(x.view(-1, x.shape[axis], inner), out.view(-1, count, inner), strict=True):
        column.add(data, result, fresh=True)
    return out


def _add_plane(
    x: torch.Tensor, kernel: np.ndarray, steps: Sequence[int], out: torch.Tensor, fresh: bool
) -> None:
    """Add one plane's or volume's correlation with one kernel to ``out``; to nothing where ``fresh``."""
    if prod(kernel.shape[:-1]) == 1:
        lines = _lines(x.reshape(-1, x.shape[-1]), tuple(kernel.ravel().tolist()), steps[-1]).view(out.shape)
        if fresh:
            out.copy_(lines)
        else:
            out.add_(lines)
        return
    axis = max(index for index, k in enumerate(kernel.shape[:-1]) if k > 1)  # the others are walked along
    kernel, x, out = np.moveaxis(kernel, axis, -2), x.movedim(axis, -2), out.movedim(axis, -2)
    others = [steps[index] for index in range(kernel.ndim - 1) if index != axis]
    rows = [
        (tap, _Rows(kernel[tap], steps[axis], steps[-1], out.shape[-2:], x))
        for tap in np.ndindex(*kernel.shape[:-2])
    ]
    for place in np.ndindex(*out.shape[:-2]):
        first = fresh
        for tap, product_of in rows:
            source = tuple(p + t * d for p, t, d in zip(place, tap, others, strict=True))
            product_of.add(x[source], out[place], first)
            first = False


class _Rows:
    """A correlation of matrices of one shape with one two-dimensional kernel, ready to be done many times.

    Groups of rows are a batch of products, one for each column of the kernel; the rows that remain are another.

    Parameters
    ----------
    kernel : numpy.ndarray
        ``(k, columns)``.
    step, shift : int
        Distance of its rows, and of its columns.
    shape : (int, int)
        Of the result.
    like : torch.Tensor
        Of the type and on the device of the data.
    """

    def __init__(
        self, kernel: np.ndarray, step: int, shift: int, shape: Sequence[int], like: torch.Tensor
    ) -> None:
        height, self._width = shape
        columns = [tuple(column) for column in kernel.T.tolist()]
        self._reach = step * (len(kernel) - 1)
        count = min(toeplitz_rows(self._reach + 1, len(columns)), height)
        groups, rest = divmod(height, count)
        self._parts = [
            (
                first,
                many,
                size,
                [
                    (_band(column, step, size, like.dtype, like.device).expand(many, -1, -1), index * shift)
                    for index, column in enumerate(columns)
                ],
            )
            for first, many, size in ((0, groups, count), (groups * count, 1, rest))
            if size
        ]

    def add(self, x: torch.Tensor, out: torch.Tensor, fresh: bool) -> None:
        """Add the correlation of ``x`` to ``out``; to nothing where ``fresh``."""
        for first, many, size, bands in self._parts:
            result = _groups_of_rows(out, first, many, size, 0, self._width)
            data = _groups_of_rows(x, first, many, size, self._reach, self._width)
            start = data.storage_offset()
            for index, (band, shift) in enumerate(bands):
                moved = data.as_strided(data.shape, data.stride(), start + shift)
                if index == 0 and fresh:
                    torch.bmm(band, moved, out=result)
                else:
                    result.baddbmm_(band, moved)


def _groups_of_rows(
    x: torch.Tensor, first: int, many: int, size: int, reach: int, width: int
) -> torch.Tensor:
    """View rows as groups of ``size`` and the ``reach`` rows after them, which the next group has too."""
    pitch = x.stride(0)
    return x.as_strided(
        (many, size + reach, width), (size * pitch, pitch, 1), x.storage_offset() + first * pitch
    )


def _lines(x: torch.Tensor, vector: Vector, step: int) -> torch.Tensor:
    """Correlate along the rows of ``x`` (rows, n), contiguous."""
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
    """Return the Toeplitz matrix that gives ``count`` neighbouring outputs."""
    band = np.zeros((count, count + step * (len(vector) - 1)))
    for row in range(count):
        band[row, row : row + step * len(vector) : step] = vector
    return torch.from_numpy(band).to(dtype=dtype, device=device)
