"""How much a kernel's result varies where nothing moves, place by place, and the thresholds that follow.

A result is looked at in square blocks: the largest value of each.  What is usual at a place, and in other places of
the same brightness, is noise: of a sensor, of compression, of rain.  What is not is motion.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from convcli.common import frozen

FLOOR = 2.0  # grey levels of 255: rounding and compression alone reach this
CEILING = 40.0  # grey levels: what varies more is motion itself, a camera that is moved
FACTOR = 2.0  # times what is usual: the largest of a block of normal noise is usually 3.6 standard deviations
USUAL = 0.9  # the quantile over time that is usual at a place
PEERS = 0.75  # the quantile over blocks of one brightness that is usual for it
LEAST = 0.9  # a place varies at least so many times as much: what is rare did not happen there yet
MOST = 2.0  # a place varies at most so many times as much as others of its brightness; more is lasting motion
GROUPS = 16  # of brightness, at most
GROUP = 24  # blocks of one brightness, at least
COHERENT = 0.2  # a block's mean beside its largest value: less in noise, more where a scene moves
MOST_FRAMES = 200  # that are looked at


def block_side(shape: tuple[int, ...]) -> int:
    """Return the side of the blocks of a result of this (height, width), in pixels."""
    return 16 if min(shape) >= 160 else 8


def _rows(values: np.ndarray, side: int, reduce: Callable[..., Any]) -> np.ndarray:
    full = len(values) // side * side
    rows: np.ndarray = reduce(values[:full].reshape(-1, side, values.shape[1]), axis=1)
    rest = values[full:]
    return np.concatenate([rows, reduce(rest, axis=0)[None]]) if len(rest) else rows


def per_block(values: np.ndarray, side: int, reduce: Callable[..., Any]) -> np.ndarray:
    """Reduce each block of (Y, X) to a number, those at the right and lower edge may be smaller.

    >>> per_block(np.arange(12).reshape(3, 4), 2, np.max).tolist()
    [[5, 7], [9, 11]]
    """
    return _rows(_rows(values, side, reduce).T, side, reduce).T


def largest(values: np.ndarray, side: int) -> np.ndarray:
    """Return the largest absolute value of each block."""
    rows = np.maximum(_rows(values, side, np.max), -_rows(values, side, np.min))
    return _rows(np.ascontiguousarray(rows.T), side, np.max).T


def _around(blocks: np.ndarray) -> np.ndarray:
    """Return the largest of each block and its eight neighbours."""
    for _ in range(2):
        wide = np.pad(blocks, ((1, 1), (0, 0)), mode="edge")
        blocks = np.maximum(np.maximum(wide[:-2], wide[1:-1]), wide[2:]).T
    return blocks


@frozen
class Limits:
    """What a result must exceed to count as motion, for each of its blocks.

    Attributes
    ----------
    blocks : ndarray
        In the units of the values.
    side : int
        Of a block, in pixels.
    groups : ndarray
        (groups, blocks): indices of blocks of about the same brightness.
    """

    blocks: np.ndarray
    side: int
    groups: np.ndarray | None = None

    def usual(self, blocks: np.ndarray) -> np.ndarray:
        """Return for each block what is usual among those of its brightness."""
        found = np.zeros(blocks.size, np.float32)
        assert self.groups is not None
        place = int(PEERS * self.groups.shape[1])
        found[self.groups] = np.partition(blocks.reshape(-1)[self.groups], place, axis=1)[:, place, None]
        return found.reshape(blocks.shape)

    def noise(self, values: np.ndarray) -> np.ndarray:
        """Return the largest value of each block, NaN where a block is not noise.

        It is none where more happens than in others of its brightness, and neighbouring pixels change alike.
        """
        blocks = largest(values, self.side)
        moves = (blocks > MOST * self.usual(blocks)) & (self._means(values) > COHERENT * blocks)
        return np.where(moves, np.nan, blocks)

    def _means(self, values: np.ndarray) -> np.ndarray:
        return np.abs(per_block(values, self.side, partial(np.mean, dtype=np.float32)))

    def raised(self, values: np.ndarray, blocks: np.ndarray, most: float) -> np.ndarray:
        """Return the limits for one result of which much lies beyond them, given its largest values.

        Noise that has grown raises them; a scene that moves, or a light, does not.
        """
        if self.groups is None or (FACTOR * (usual := self.usual(blocks)) <= self.blocks).all():
            return self.blocks
        over = blocks > self.blocks
        if np.median((self._means(values)[over]) / blocks[over]) > COHERENT:
            return self.blocks
        return np.clip(FACTOR * usual, self.blocks, max(most, self.blocks.max()))


def limits(results: Iterable[np.ndarray], brightness: np.ndarray, side: int, level: float) -> Limits:
    """Return thresholds from what some results (Y, X) vary.

    Parameters
    ----------
    results : iterable of ndarray
    brightness : ndarray
        Of each block of the scene, NaN where it is not looked at.
    level : float
        One grey level of 255 in the units of the values.
    """
    order = np.argsort(brightness, axis=None, kind="stable")[: max(np.isfinite(brightness).sum(), 1)]
    count = max(min(order.size // GROUP, GROUPS), 1)
    # As many in each; some that lie between two are in both.
    ends = np.linspace(0, order.size, count + 1).astype(int)
    size = int(np.diff(ends).max())
    groups = order[np.minimum(ends[:-1], order.size - size)[:, None] + np.arange(size)]
    found = Limits(brightness, side, groups)
    samples = np.stack([found.noise(values) for values in results])
    samples.sort(axis=0)  # what is not noise comes last
    known = np.isfinite(samples).sum(axis=0, keepdims=True)
    place = np.maximum(USUAL * (known - 1), 0).astype(int)
    usual = np.where(known, np.take_along_axis(samples, place, axis=0), 0)[0]
    peers = found.usual(usual)
    usual = _around(np.clip(usual, LEAST * peers, MOST * peers))
    return Limits(np.clip(FACTOR * usual, FLOOR * level, CEILING * level), side, groups)


def sample(
    total: int, keys: list[int], most: int = MOST_FRAMES, runs: int = 8, wanted: int = 16
) -> list[range]:
    """Choose frames to estimate the noise from: short runs, beginning where decoding is cheap.

    Parameters
    ----------
    total
        Results in the clip.
    keys
        Frames at which decoding can begin, sorted.
    most
        Frames at most.

    >>> sample(1000, [0, 250, 500, 750], wanted=8)
    [range(0, 2), range(250, 252), range(500, 502), range(750, 752)]
    >>> sample(3, [0])
    [range(0, 3)]
    """
    starts = [key for key in keys if key < total] or [0]
    if len(starts) > runs:
        starts = [starts[index * len(starts) // runs] for index in range(runs)]
    length = max(1, min(wanted, most) // len(starts))
    spans: list[range] = []
    for start in starts:
        span = range(max(start, spans[-1].stop if spans else 0), min(start + length, total))
        if len(span):
            spans.append(span)
    return spans
