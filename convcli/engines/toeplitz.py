"""Convolution as a matrix product: a kernel's Toeplitz matrix gives several neighbouring outputs at once.

Outputs ``i .. i + B - 1`` of an axis are ``T @ x[i : i + B + k - 1]``, T the B x (B + k - 1) band whose every row
is the kernel, one step further.  Rows of a picture are the columns of such products, so that data are read where
they lie, whatever their width, and results are written where they belong.

Most of a band is zeros, and zero times NaN is NaN: these functions are for finite data.  Arrays may be of any
library; what its products look like is a `Backend`'s to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from math import prod
from typing import Protocol

import numpy as np

from convcli.engines import tiles
from convcli.engines.interface import Array, Correlation
from convcli.engines.work import toeplitz_rows
from convcli.kernel.separable import separable_terms

Vector = tuple[float, ...]

SPLIT = 64  # taps of zero that interleaved pixels may cost a Toeplitz matrix before they are split (measured)


class Backend(Protocol):
    """A library's arrays and products."""

    def take(self, x: np.ndarray, dtype: np.dtype) -> Array:
        """Return numpy's data as the library's, of this type; the same memory where that is possible."""
        ...

    def empty(self, shape: Sequence[int], like: Array) -> Array:
        """Return a new array in C order, of the type and on the device of another."""
        ...

    def move(self, x: Array, source: int, target: int) -> Array:
        """Return a view with one axis elsewhere."""
        ...

    def band(self, vector: Vector, step: int, count: int, like: Array) -> Array:
        """Return `matrix`, of the type and on the device of the data."""
        ...

    def add_products(
        self,
        bands: Sequence[Sequence[Array]],
        sources: Sequence[Array],
        shift: int,
        reach: int,
        out: Array,
        fresh: bool,
    ) -> None:
        """Add up the products of bands with groups of rows in ``out``; from nothing where ``fresh``.

        Parameters
        ----------
        bands
            For each source one for each column of a kernel; all of one size, which divides the rows of ``out``.
        sources
            ``(rows, n)``, neighbours side by side.  A group is as many rows as a band gives, and the ``reach``
            rows after them; a column's data begin ``shift`` elements behind those of the one before.
        out
            ``(rows, width)``.
        """
        ...

    def lines(self, x: Array, vector: Vector, step: int) -> Array:
        """Correlate along the rows of ``x`` (rows, n), in C order."""
        ...


def matrix(vector: Vector, step: int, count: int) -> np.ndarray:
    """Return the Toeplitz matrix that gives ``count`` neighbouring outputs.

    >>> matrix((1, 2), 1, 3).tolist()
    [[1.0, 2.0, 0.0, 0.0], [0.0, 1.0, 2.0, 0.0], [0.0, 0.0, 1.0, 2.0]]
    """
    band = np.zeros((count, count + step * (len(vector) - 1)))
    for row in range(count):
        band[row, row : row + step * len(vector) : step] = vector
    return band


def by_products(backend: Backend, call: Correlation) -> Array:
    """Return the correlation of finite data; in ``call.out`` if it can."""
    weights, dilation = call.weights, call.dilation
    rows, pixel = as_rows(call.x, weights, dilation, separable=False)
    room = rows_of(call.out, pixel)
    place = None if room is None else backend.take(room, room.dtype)
    data = backend.take(rows, weights.dtype)
    return as_items(backend, correlate(backend, data, weights, dilation, pixel, place), pixel)


def by_bands(backend: Backend, call: Correlation) -> Array:
    """Return the same for a kernel that is a sum of a few outer products, axis by axis."""
    weights, dilation = call.weights, call.dilation
    rows, pixel = as_rows(call.x, weights, dilation, separable=True)
    found = separable(backend, backend.take(rows, weights.dtype), weights, dilation, pixel)
    return as_items(backend, found, pixel)


def as_rows(
    x: np.ndarray, weights: np.ndarray, dilation: Sequence[int], separable: bool
) -> tuple[np.ndarray, int]:
    """Return data in C order, and the elements between neighbours of their last axis.

    Interleaved pixels stay as they lie where that is quick: then they are one item, with pixels beside each other.
    """
    pixel = tiles.pixel_size(x)
    extra = (pixel - 1) * dilation[-1] * (weights.shape[-1] - 1)
    if extra > SPLIT and (separable or prod(weights.shape[2:-1]) == 1):
        pixel = 1
    if pixel == 1:
        return np.ascontiguousarray(x), 1
    rows = x[:, 0].transpose(*range(1, x.ndim - 1), 0)
    return np.ascontiguousarray(rows.reshape(1, 1, *rows.shape[:-2], -1)), pixel


def as_items(backend: Backend, result: Array, pixel: int) -> Array:
    """Undo `as_rows`: return a result as ``(N, O, *sizes)``."""
    if pixel == 1:
        return result
    pixels = result.reshape(*result.shape[:-1], -1, pixel)  # (1, O, ..., X, pixel)
    return backend.move(pixels[0], pixels.ndim - 2, 0)


def rows_of(out: np.ndarray | None, pixel: int) -> np.ndarray | None:
    """Return a place for items as rows without gaps, of which `as_items` makes it again; None where it has none."""
    if out is None or pixel != tiles.pixel_size(out):
        return None
    if pixel > 1:
        rows = out[:, 0].transpose(*range(1, out.ndim - 1), 0)
        out = rows.reshape(1, 1, *rows.shape[:-2], -1)  # a copy, and no place, where rows have gaps
        if not np.may_share_memory(out, rows):
            return None
    return out if out.strides[-1] == out.itemsize else None


def correlate(
    backend: Backend,
    x: Array,
    weights: np.ndarray,
    dilation: Sequence[int],
    pixel: int,
    out: Array | None = None,
) -> Array:
    """Return the valid correlation with stride 1, ``(N, O, *sizes)``, of finite data.

    Parameters
    ----------
    backend : Backend
    x : array
        ``(N, C, *space)``, in C order.
    weights : numpy.ndarray
        ``(O, C, *kernel)``.
    dilation : sequence of int
    pixel : int
        Elements between neighbours along the last axis: 3 where it runs through interleaved pixels.
    out : array, optional
        Filled and returned.
    """
    steps = (*dilation[:-1], dilation[-1] * pixel)
    extents = [d * (k - 1) + 1 for d, k in zip(steps, weights.shape[2:], strict=True)]
    sizes = [n - extent + 1 for n, extent in zip(x.shape[2:], extents, strict=True)]
    if out is None:
        out = backend.empty((len(x), len(weights), *sizes), x)
    for item, (index, kernel) in product(range(len(x)), enumerate(weights)):
        for channel, plane in enumerate(kernel):
            _add_plane(backend, x[item, channel], plane, steps, out[item, index], fresh=channel == 0)
    return out


def separable(backend: Backend, x: Array, weights: np.ndarray, dilation: Sequence[int], pixel: int) -> Array:
    """Return the same for one kernel of one channel, as the sum of outer products that it is.

    Raises
    ------
    ValueError
        A kernel that is no sum of a few outer products.
    """
    terms = separable_terms(weights[0, 0])
    if terms is None:
        raise ValueError(f"a kernel of shape {weights.shape} is no sum of a few outer products")
    steps = (*dilation[:-1], dilation[-1] * pixel)
    total = None
    for term in terms:
        part = x
        for axis, (vector, step) in enumerate(zip(term, steps, strict=True), start=2):
            part = _along(backend, part, axis, vector, step)
        if total is None:
            total = part
        else:
            total += part
    return total


def _along(backend: Backend, x: Array, axis: int, vector: Vector, step: int) -> Array:
    if len(vector) == 1:
        return x if vector[0] == 1 else x * vector[0]
    if axis == x.ndim - 1:
        rows = backend.lines(x.reshape(-1, x.shape[axis]), vector, step)
        return rows.reshape(*x.shape[:axis], rows.shape[1])
    count = x.shape[axis] - step * (len(vector) - 1)
    out = backend.empty((*x.shape[:axis], count, *x.shape[axis + 1 :]), x)
    inner = prod(x.shape[axis + 1 :])
    column = _Rows(backend, [np.array(vector)[:, np.newaxis]], step, 0, count, x)
    data, results = x.reshape(-1, x.shape[axis], inner), out.reshape(-1, count, inner)
    for source, result in zip(data, results, strict=True):
        column.add([source], result, fresh=True)
    return out


def _add_plane(
    backend: Backend, x: Array, kernel: np.ndarray, steps: Sequence[int], out: Array, fresh: bool
) -> None:
    """Add one plane's or volume's correlation with one kernel to ``out``; to nothing where ``fresh``."""
    if prod(kernel.shape[:-1]) == 1:
        vector = tuple(kernel.ravel().tolist())
        lines = backend.lines(x.reshape(-1, x.shape[-1]), vector, steps[-1]).reshape(out.shape)
        if fresh:
            out[...] = lines
        else:
            out += lines
        return
    axis = max(index for index, k in enumerate(kernel.shape[:-1]) if k > 1)  # the others are walked along
    kernel = np.moveaxis(kernel, axis, -2)
    x, out = backend.move(x, axis, -2), backend.move(out, axis, -2)
    others = [steps[index] for index in range(kernel.ndim - 1) if index != axis]
    taps = list(np.ndindex(*kernel.shape[:-2]))
    rows = _Rows(backend, [kernel[tap] for tap in taps], steps[axis], steps[-1], out.shape[-2], x)
    for place in np.ndindex(*out.shape[:-2]):
        sources = [x[tuple(p + t * d for p, t, d in zip(place, tap, others, strict=True))] for tap in taps]
        rows.add(sources, out[place], fresh)


class _Rows:
    """The sum of correlations of matrices with two-dimensional kernels, ready to be done many times.

    Groups of rows are a batch of products, one for each column of a kernel; the rows that remain are another.

    Parameters
    ----------
    backend : Backend
    kernels : sequence of numpy.ndarray
        ``(k, columns)`` each, all alike.
    step, shift : int
        Distance of their rows, and of their columns.
    height : int
        Rows of the result.
    like : array
        Of the type and on the device of the data.
    """

    def __init__(
        self,
        backend: Backend,
        kernels: Sequence[np.ndarray],
        step: int,
        shift: int,
        height: int,
        like: Array,
    ) -> None:
        self._backend, self._shift = backend, shift
        extent, columns = step * (len(kernels[0]) - 1) + 1, kernels[0].shape[1]
        self._reach = extent - 1
        count = min(toeplitz_rows(extent, columns), height)
        rest = height % count
        self._parts = [
            (first, stop, [_bands(backend, kernel, step, size, like) for kernel in kernels])
            for first, stop, size in ((0, height - rest, count), (height - rest, height, rest))
            if size
        ]

    def add(self, sources: Sequence[Array], out: Array, fresh: bool) -> None:
        """Add to ``out`` each source's correlation with its kernel; to nothing where ``fresh``."""
        for first, stop, bands in self._parts:
            rows = [source[first : stop + self._reach] for source in sources]
            self._backend.add_products(bands, rows, self._shift, self._reach, out[first:stop], fresh)


def _bands(backend: Backend, kernel: np.ndarray, step: int, count: int, like: Array) -> list[Array]:
    """Return the Toeplitz matrices of a kernel's columns."""
    return [backend.band(tuple(column), step, count, like) for column in kernel.T.tolist()]
