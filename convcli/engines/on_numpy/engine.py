"""The readable reference: sums of shifted arrays.  It starts fast and needs nothing but numpy.

Every output element is computed by the same operations in the same order whatever the shape of the block it
lies in, so cutting the work differently cannot change a result by a single bit.

How it is fast all the same: the output is cut into tiles that stay in the processor's cache while all taps
are added up; arrays keep the memory order of their input, so that numpy's inner loops are long; numpy releases
the interpreter's lock, so that threads can share the tiles (`convcli.engines.tiles`).
"""

from __future__ import annotations

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
from convcli.engines.on_numpy.sums import TILE, shifted
from convcli.engines.reductions import fold_windows, windows_of
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
        return shifted(call, shift_and_add.transposed_reach(call.stride, call.dilation, call.x.shape[2:]))

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
        """Return the pooled windows: one axis folded after the other where the kind allows it, else each whole."""
        sizes = pool_sizes(x, size, stride, dilation)
        x = tiles.with_long_runs(x, stride)
        order = tiles.memory_order(x)
        out = tiles.empty((*x.shape[:2], *sizes), order, x.dtype)
        seen = None if counts is None else np.broadcast_to(counts, out.shape)

        def work(tile: tiles.Slices) -> None:
            windows = list(zip(tile[2:], size, stride, dilation, strict=True))
            block = x[(*tile[:2], *tiles.inputs(tile[2:], size, stride, dilation))]
            if not kind.ufunc:
                taps = windows_of(block, size, stride, dilation).reshape(*out[tile].shape, -1)
                out[tile] = kind.reduce(np, taps, prod(size) if seen is None else seen[tile])
                return
            block = block.transpose(order)
            for axis, (outputs, *window) in enumerate(windows, start=2):
                count = outputs.stop - outputs.start
                block = fold_windows(getattr(np, kind.ufunc), block, order.index(axis), count, *window)
            out[tile].transpose(order)[...] = block

        elements = TILE * max(size) // prod(stride) if kind.ufunc else TAPS // prod(size)
        passes = len(size) if kind.ufunc else prod(size)
        tiles.run(work, tiles.cut(out.shape, order, elements), self.threads, operations=x.size * passes)
        with np.errstate(invalid="ignore"):  # a window of nothing but padding
            return kind.finish(out, prod(size) if counts is None else counts)
