"""Pooling of data with borders: what stands in the padding, and what counts.

The engines pool whole windows.  Here windows hang over the edge: padding does not count, unless that is asked for
and the kind of pool lets it.
"""

from collections.abc import Sequence
from functools import reduce
from math import inf, prod

import numpy as np

from convcli.engines.base import Engine
from convcli.engines.padding import pad
from convcli.geometry.padding import PadMode
from convcli.geometry.pools import AVG, PoolKind
from convcli.geometry.windows import Window

Span = tuple[int, int]


def pool_padded(
    engine: Engine,
    x: np.ndarray,
    kind: PoolKind,
    windows: Sequence[Window],
    include_padding: bool = False,
    least: float | None = None,
    dtype: np.dtype | None = None,
    largest: float = inf,
) -> np.ndarray:
    """Return the pooled ``x``, ``(N, C, *sizes)`` with the windows' output sizes.

    Parameters
    ----------
    engine : Engine
    x : numpy.ndarray
        ``(N, C, *space)``, float32 or float64, without padding; with ``dtype`` also integers up to 16 bits.
    kind : PoolKind
    windows : sequence of Window
        One for each space axis, with padding and ceil mode.
    include_padding : bool
        Padding counts as zeros (but never what ``ceil`` lets hang over even the padding), if the kind lets it.
    least : float, optional
        Skip missing samples; the result is missing where a window has no others, or too few.
        What is enough is this share of its samples.
    dtype : numpy.dtype, optional
        Of the arithmetic, by default the data's.
    largest : float
        Bound of the sizes of integers; infinite where ``x`` may hold others.
    """
    include, least = include_padding and kind.include, least if x.dtype.kind == "f" else None
    sizes = x.shape[2:]
    whole = prod(window.kernel for window in windows)
    samples = sample_counts(windows, sizes, include)

    def part(x: np.ndarray, kind: PoolKind) -> np.ndarray:
        return pool_padded(engine, x, kind, windows, include_padding, least)

    with np.errstate(invalid="ignore"):  # a window of nothing but padding
        made = kind.composed(np, part, x, whole if samples is None else samples, largest)
    if made is not None:
        return np.asarray(made, x.dtype)
    ranges = [window.input_range(0, window.output_size(n)) for window, n in zip(windows, sizes, strict=True)]
    if include:
        zeros = [(-window.before, n + window.after) for window, n in zip(windows, sizes, strict=True)]
        zeros, ranges = in_two_steps(ranges, zeros)
        x = pad(x, zeros, PadMode.ZERO)

    def pool(x: np.ndarray, kind: PoolKind, counts: np.ndarray | None) -> np.ndarray:
        fill = kind.fill
        if x.dtype.kind != "f":
            fill = min(max(fill, np.iinfo(x.dtype).min), np.iinfo(x.dtype).max)
        return engine.pool(
            pad(x, ranges, PadMode.CONSTANT, fill),
            kind,
            [window.kernel for window in windows],
            stride=[window.stride for window in windows],
            dilation=[window.dilation for window in windows],
            counts=counts,
            dtype=dtype if x.dtype.kind != "f" else None,
        )

    if least is None:
        return pool(x, kind, samples)
    missing = np.isnan(x)
    counts = pool((~missing).astype(np.float64), AVG, np.ones(1, int)).astype(int)  # sums, exact in float64
    pooled = pool(np.where(missing, x.dtype.type(kind.fill), x), kind, counts)
    pooled[(counts == 0) | (counts < least * (1 - 1e-9) * (whole if samples is None else samples))] = np.nan
    return pooled


def in_two_steps(ranges: Sequence[Span], zeros: Sequence[Span]) -> tuple[list[Span], list[Span]]:
    """Return what to pad with zeros that count, and what of the result to pad on to ``ranges``.

    Parameters
    ----------
    ranges : sequence of tuple
        What the windows look at, one range for each axis, in elements of the data.
    zeros : sequence of tuple
        The data and the padding that counts.

    >>> in_two_steps([(-1, 6)], [(-1, 5)])
    ([(-1, 5)], [(0, 7)])
    """
    first = [(max(lo, a), min(hi, b)) for (lo, hi), (a, b) in zip(ranges, zeros, strict=True)]
    return first, [(lo - begin, hi - begin) for (lo, hi), (begin, _) in zip(ranges, first, strict=True)]


def sample_counts(
    windows: Sequence[Window], sizes: Sequence[int], include_padding: bool
) -> np.ndarray | None:
    """Return how many taps of each window count, ``(*output sizes)``; None where all of them do."""
    counts = [average_counts(window, n, include_padding) for window, n in zip(windows, sizes, strict=True)]
    if all((count == window.kernel).all() for count, window in zip(counts, windows, strict=True)):
        return None
    return reduce(np.multiply.outer, counts)


def average_counts(window: Window, size: int, include_padding: bool = False) -> np.ndarray:
    """Return how many taps of each window count in a mean along one axis of ``size`` elements.

    >>> average_counts(Window(3, before=1, after=1), 4).tolist()
    [2, 3, 3, 2]
    """
    first, end = (-window.before, size + window.after) if include_padding else (0, size)
    starts = np.arange(window.output_size(size)) * window.stride - window.before
    below = -((starts - first) // window.dilation)  # taps before `first`, rounded up
    reached = -((starts - end) // window.dilation)  # taps before `end`
    return np.maximum(np.minimum(reached, window.kernel) - np.maximum(below, 0), 0)
