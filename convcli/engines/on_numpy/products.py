"""Numpy's products for `convcli.engines.toeplitz`: quick without a second's import of torch.

numpy hands products of matrices to a BLAS, which reads rows at any distance that is no less than their length.
Along the fastest axis neighbouring groups would overlap: there a band is cut into squares, one for a group and one
for each group after it that the band reaches into.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import as_strided

from convcli.engines.toeplitz import Vector, matrix
from convcli.engines.work import SQUARE

SCRATCH = 1 << 16  # elements of a product before it is added up: they stay in the cache (measured)


class NumpyProducts:
    """Arrays; the interface is described in `convcli.engines.toeplitz.Backend`."""

    def take(self, x: np.ndarray, dtype: np.dtype) -> np.ndarray:
        return x.astype(dtype, copy=False)

    def empty(self, shape: Sequence[int], like: np.ndarray) -> np.ndarray:
        return np.empty(shape, like.dtype)

    def move(self, x: np.ndarray, source: int, target: int) -> np.ndarray:
        return np.moveaxis(x, source, target)

    def band(self, vector: Vector, step: int, count: int, like: np.ndarray) -> np.ndarray:
        return _band(vector, step, count, like.dtype)

    def add_products(
        self,
        bands: Sequence[Sequence[np.ndarray]],
        sources: Sequence[np.ndarray],
        shift: int,
        reach: int,
        out: np.ndarray,
        fresh: bool,
    ) -> None:
        size, width = len(bands[0][0]), out.shape[1]
        results = _groups(out, size, 0, width, 0)
        factors = [
            (band, _groups(source, size, reach, width, index * shift))
            for source, columns in zip(sources, bands, strict=True)
            for index, band in enumerate(columns)
        ]
        some = max(1, SCRATCH // (size * width))
        scratch = np.empty(results[:some].shape, out.dtype)
        for start in range(0, len(results), some):
            result = results[start : start + some]
            for index, (band, data) in enumerate(factors):
                if fresh and not index:
                    np.matmul(band, data[start : start + some], out=result)
                    continue
                added = np.matmul(band, data[start : start + some], out=scratch[: len(result)])
                np.add(result, added, out=result)

    def lines(self, x: np.ndarray, vector: Vector, step: int) -> np.ndarray:
        reach = step * (len(vector) - 1)
        rows, n = x.shape
        count = max(SQUARE, -(-reach // SQUARE) * SQUARE)
        squares = _squares(vector, step, count, x.dtype)
        groups = -(-(n - reach) // count) + len(squares) - 1
        data = np.zeros((rows, groups * count), x.dtype)
        data[:, :n] = x
        blocks = data.reshape(-1, count)
        out = blocks @ squares[0]
        for index, square in enumerate(squares[1:], start=1):
            out[:-index] += (
                blocks[index:] @ square
            )  # what reaches into the next row is beyond the last output
        return out.reshape(rows, -1)[:, : n - reach]


def _groups(x: np.ndarray, size: int, reach: int, width: int, shift: int) -> np.ndarray:
    """View the groups of ``size`` rows, each with the ``reach`` rows after it, from column ``shift`` on."""
    pitch, step = x.strides
    shape = ((len(x) - reach) // size, size + reach, width)
    return as_strided(x[:, shift:], shape, (size * pitch, pitch, step))


@lru_cache(maxsize=1024)
def _band(vector: Vector, step: int, count: int, dtype: np.dtype) -> np.ndarray:
    return matrix(vector, step, count).astype(dtype)


@lru_cache(maxsize=256)
def _squares(vector: Vector, step: int, count: int, dtype: np.dtype) -> tuple[np.ndarray, ...]:
    """Cut a transposed Toeplitz matrix into squares, the last filled up with zeros."""
    band = matrix(vector, step, count).T
    most = -(-len(band) // count)
    filled = np.zeros((most * count, count), dtype)
    filled[: len(band)] = band
    return tuple(np.ascontiguousarray(filled[index * count :][:count]) for index in range(most))
