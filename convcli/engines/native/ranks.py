"""Samples of certain ranks in each window: how the compiled loops find them.

Small windows go through a network of comparisons: sorted columns are merged, of 2, 4, 8 ... columns, which
neighbouring windows share, as far as the asked ranks need them.  Large windows are counted in histograms that slide.
"""

from collections.abc import Sequence
from functools import cache, cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np

from convcli.common import frozen

NETWORK, HISTOGRAM = 5, 6  # forms of `rows.h`
KEYS = 5  # the first of its lanes for ranks, of samples of 1 byte
STEPS = {
    1: 900,
    2: 700,
    4: 600,
    8: 400,
}  # of a network beyond which histograms are faster, by bytes of a sample (measured)
MOST_TAPS = 400  # of a window for which a network is worth a try
MOST_ROWS = 64  # of a window's side up to which extremes are those of rows one by one
LONGEST = 16_000  # of a window's side in histograms, whose places have 16 bits
MOST = 1 << 24  # samples of a tile: bins count modulo 2**16

Wire = tuple[int, int]  # a line, and by how many samples it is read further right


@frozen
class Network:
    """Steps that set lines from lines.

    Attributes
    ----------
    steps : ndarray
        ``(steps, 6)``: the line that becomes the smaller of two or -1, the larger or -1, the two with their shifts.
    lines : int
        The first are the rows of a window.
    found : tuple of (line, shift)
        Where each rank is.
    """

    steps: np.ndarray
    lines: int
    found: tuple[Wire, ...]

    @cached_property
    def numbers(self) -> np.ndarray:
        return np.concatenate([self.steps.ravel(), np.array(self.found).ravel()]).astype(np.float64)


@lru_cache(maxsize=32)
def network(rows: int, columns: int, ranks: tuple[int, ...]) -> Network:
    """Return the network that finds ranks in windows of so many rows, of all slices, and columns.

    Batcher's merges, of which only those steps are kept that lead to the ranks.

    >>> network(1, 2, (0,))
    Network(steps=array([[ 1, -1,  0,  0,  0,  1]]), lines=2, found=((1, 0),))
    """
    steps: list[tuple[int, int, Wire, Wire]] = []  # lines are numbered anew for each value

    def exchange(a: Wire, b: Wire) -> tuple[Wire, Wire]:
        low = rows + 2 * len(steps)
        steps.append((low, low + 1, a, b))
        return (low, 0), (low + 1, 0)

    def merge(a: list[Wire], b: list[Wire]) -> list[Wire]:
        if not (a and b):
            return a or b
        if len(a) == len(b) == 1:
            return list(exchange(a[0], b[0]))
        first, *evens = merge(a[::2], b[::2])
        odds, made = merge(a[1::2], b[1::2]), [first]
        for pair in zip(odds, evens, strict=False):
            made += exchange(*pair)
        return made + evens[len(odds) :] + odds[len(evens) :]

    def sort(wires: list[Wire]) -> list[Wire]:
        half = len(wires) // 2
        return merge(sort(wires[:half]), sort(wires[half:])) if half else wires

    @cache
    def sorted_columns(count: int) -> list[Wire]:
        if count == 1:
            return sort([(row, 0) for row in range(rows)])
        left = 1 << (count - 1).bit_length() - 1
        return merge(sorted_columns(left), [(line, at + left) for line, at in sorted_columns(count - left)])

    found = sorted_columns(columns)
    return _packed(rows, steps, [found[rank] for rank in ranks])


def _packed(rows: int, steps: list[tuple[int, int, Wire, Wire]], found: list[Wire]) -> Network:
    """Leave out what nobody needs, and let lines be used again."""
    last = {line: len(steps) for line, _ in found}  # the step that reads a line last
    kept = []
    for index in reversed(range(len(steps))):
        low, high, (one, _), (other, _) = steps[index]
        if low in last or high in last:
            kept.append(index)
            last.setdefault(one, index)
            last.setdefault(other, index)
    places, free, count, made = {row: row for row in range(rows)}, list[int](), rows, []
    for index in reversed(kept):
        low, high, a, b = steps[index]
        for line in (low, high):
            if line in last:
                places[line] = free.pop() if free else count
                count = max(count, places[line] + 1)
        made.append((places.get(low, -1), places.get(high, -1), places[a[0]], a[1], places[b[0]], b[1]))
        free += {places[line] for line, _ in (a, b) if line >= rows and last[line] == index}
    return Network(
        np.array(made or np.zeros((0, 6), int)), count, tuple((places[line], at) for line, at in found)
    )


def form_of(
    x: np.dtype, kernel: Sequence[int], dilation: Sequence[int], ranks: tuple[int, ...] | None
) -> tuple[np.ndarray, dict[str, Any]] | None:
    """Return how the loops find ranks: weights and fields of the job; None where they cannot.

    Parameters
    ----------
    ranks : tuple of int, optional
        The same for all windows; None where each window has its own.
    """
    fields = {"lanes": KEYS + x.itemsize.bit_length() - 1, "with_sign": x.kind == "i"}
    if ranks in ((0,), (prod(kernel) - 1,)) and prod(kernel[:-2]) == 1 and max(kernel[-2:]) <= MOST_ROWS:
        fields |= {"form": NETWORK, "lines": prod(kernel[:-1])}
        return np.zeros(2), fields  # extremes, along rows and then down
    if ranks is not None and prod(kernel) <= MOST_TAPS:
        found = network(prod(kernel[:-1]), kernel[-1], ranks)
        if len(found.steps) <= STEPS[x.itemsize]:
            return found.numbers, fields | {"form": NETWORK, "steps": len(found.steps), "lines": found.lines}
    tile = prod((max(64, k) + k) for k in kernel[-2:]) * prod(kernel[:-2])
    if max(kernel) > LONGEST or tile > MOST or set(dilation) != {1}:
        return None
    return np.zeros(1), fields | {"form": HISTOGRAM}
