"""The numpy engine: the readable reference, with the compiled loops as its fast path.  It starts fast."""

from collections import Counter
from collections.abc import Sequence
from math import prod

import numpy as np

from convcli.common.choices import EngineName
from convcli.common.machine import available_threads
from convcli.engines import shift_and_add, tiles
from convcli.engines.algorithms import NumpyDirect, ways, work_of
from convcli.engines.base import Engine, pool_sizes
from convcli.engines.interface import Algorithm, Correlation
from convcli.engines.native import library, rows
from convcli.engines.on_numpy import sums
from convcli.engines.reductions import windows_of
from convcli.geometry.pools import PoolKind
from convcli.pixels.render import Rendering, Tally, render

TAPS = 1 << 18  # elements of whole windows that are pooled at a time


class NumpyEngine(Engine):
    """Arithmetic in numpy: the readable reference.

    Parameters
    ----------
    threads : int, optional
        By default as many as the process may use.  Results do not depend on it.
    """

    name, direct = "numpy", NumpyDirect()
    threads: int

    def __init__(self, threads: int | None = None) -> None:
        self.threads = threads or available_threads()
        self.gave_way = Counter()

    render = staticmethod(render)

    def _ways(self, call: Correlation) -> Sequence[Algorithm]:
        return ways(EngineName.NUMPY, work_of(call))

    def _correlate(self, algorithm: Algorithm, call: Correlation) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are results
            made: np.ndarray = algorithm.run(call)
        return made

    def _pixels(
        self, algorithm: Algorithm, call: Correlation, how: Rendering, out: np.ndarray | None
    ) -> tuple[np.ndarray, Tally]:
        return algorithm.pixels(call, how, out, render)

    def _transpose(self, call: Correlation) -> np.ndarray:
        return sums.shifted(call, shift_and_add.transposed_reach(call))

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
        """Return the pooled windows, reduced along one axis after the other where the kind allows it, else whole."""
        sizes = pool_sizes(x, size, stride, dilation)
        whole, taken = (*x.shape[:2], *sizes), prod(size) if counts is None else counts
        if kind.ufunc:
            planes = x.reshape(-1, 1, *x.shape[2:])
            ones = np.ones((1, 1, *size), x.dtype)
            call = self._call(planes, ones, sizes, stride, dilation)
            out = reduced(call, kind.ufunc).reshape(whole)
        else:
            out, seen = np.empty(whole, x.dtype), np.broadcast_to(taken, whole)
            for tile in tiles.cut(whole, tiles.memory_order(x), TAPS // prod(size)):
                block = x[(*tile[:2], *tiles.inputs(tile[2:], size, stride, dilation))]
                taps = windows_of(block, size, stride, dilation).reshape(*out[tile].shape, -1)
                out[tile] = kind.reduce(np, taps, seen[tile])
        with np.errstate(invalid="ignore"):  # a window of nothing but padding
            return kind.finish(out, taken)


def reduced(call: Correlation, ufunc: str) -> np.ndarray:
    """Return the windows of each plane, reduced by a NumPy function."""
    if library.loops() is not None and call.x.itemsize <= 8 and len(call.sizes) <= 3:
        return rows.correlate(call, lambda call: rows.pool(call, ufunc))
    return sums.reduce(call, getattr(np, ufunc)).copy(order="K")
