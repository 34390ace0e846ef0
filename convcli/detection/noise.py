"""How much a kernel's result varies where nothing moves, and the threshold that follows."""

from __future__ import annotations

import numpy as np

FLOOR = 2.0  # grey levels of 255: rounding and compression alone reach this
CEILING = 40.0  # grey levels: what varies more is motion itself, a camera that is moved
FACTOR = 6.0  # standard deviations; in a million pixels of pure noise 0.002 lie beyond
MAD_TO_SIGMA = 1.4826  # of normal noise: 1 / Φ⁻¹(3/4), Rousseeuw and Croux (1993)
MOST_FRAMES = 200  # that are looked at
_PIXELS = 1 << 15  # of a frame that are looked at


class Noise:
    """Collects samples of a kernel's results and estimates their noise.

    Parameters
    ----------
    level : float
        One grey level of 255 in the units of the values.

    >>> noise = Noise()
    >>> noise.add(np.random.default_rng(1).normal(0, 3, (4, 100, 100)))
    >>> round(noise.threshold)
    18
    """

    def __init__(self, level: float = 1.0) -> None:
        self._level = level
        self._samples: list[np.ndarray] = []

    def add(self, values: np.ndarray) -> None:
        """Take results (T, Y, X); an even share of the pixels of each frame is kept."""
        for frame in values:
            step = -(-frame.size // _PIXELS)
            # An odd step walks through all columns, whatever the width.
            self._samples.append(frame.reshape(-1)[:: step + 1 - step % 2].astype(np.float32))

    @property
    def sigma(self) -> float:
        """The standard deviation without outliers: motion fills less than half of most frames."""
        if not self._samples:
            return 0.0
        values = np.concatenate(self._samples)
        return float(MAD_TO_SIGMA * np.median(np.abs(values - np.median(values))))

    @property
    def threshold(self) -> float:
        """What a result must exceed to count as motion, in the units of the values."""
        return min(max(FACTOR * self.sigma, FLOOR * self._level), CEILING * self._level)


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
