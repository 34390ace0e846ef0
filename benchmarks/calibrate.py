"""Measure what the planner's table says of this machine: prints `convcli.engines.costs.NANOSECONDS` anew.

Each constant is the slope or the offset between two correlations of one algorithm, on one core, in blocks as the
runner makes them; the least of several runs' processor time counts, for whatever disturbs a run makes it longer.
Run it on a quiet machine: ``python benchmarks/calibrate.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import log2, prod
from unittest.mock import patch

import numpy as np

from convcli.common.choices import EngineName
from convcli.engines import get_engine
from convcli.engines.algorithms import ALGORITHMS
from convcli.engines.base import Engine
from convcli.engines.costs import NANOSECONDS
from convcli.engines.native import library
from convcli.engines.work import Work, fft_tile

RUNS = 25
WIDTH = 4000
ROWS = 264  # a block of the runner's size


def least(work: Callable[[], object]) -> float:
    """Return the shortest processor time of a call in nanoseconds."""
    work()
    times = []
    for _ in range(RUNS):
        start = time.process_time_ns()
        work()
        times.append(time.process_time_ns() - start)
    return float(min(times))


def an_element(
    engine: Engine, name: str, kernel: tuple[int, ...], maps: tuple[int, int] = (1, 1), width: int = WIDTH
) -> float:
    """Return an algorithm's nanoseconds for an element of one output map."""
    [algorithm] = [one for one in ALGORITHMS[EngineName(engine.name)] if one.name == name]
    random = np.random.default_rng(1)
    weights = np.broadcast_to(random.normal(size=kernel), (*maps, *kernel)).astype(np.float32)
    sizes = (ROWS, width) if name != "fft" else (482, WIDTH)
    shape = (1, maps[1], *(n + k - 1 for n, k in zip(sizes, kernel, strict=True)))
    x = random.random(shape, np.float32)
    one = (1,) * len(kernel)

    def work() -> object:
        return engine.correlate(x, weights, stride=one, dilation=one, finite=True, algorithm=algorithm)

    return least(work) / prod(sizes)


def line(first: tuple[float, float], second: tuple[float, float]) -> tuple[float, float]:
    """Return offset and slope of the line through two points."""
    slope = (second[1] - first[1]) / (second[0] - first[0])
    return first[1] - slope * first[0], slope


def measure() -> dict[str, float]:
    """Return the table's constants for this machine."""
    numpy, torch = get_engine("numpy", threads=1), get_engine("torch", threads=1)
    found: dict[str, float] = {}
    with numpy, torch:
        data = np.random.default_rng(0).random((ROWS, WIDTH), np.float32)
        other = np.empty_like(data)
        found["pass"] = least(lambda: np.rint(data, out=other)) / data.size
        found["new"] = least(lambda: np.empty(1 << 26, np.uint8).fill(0)) / (1 << 26)
        if library.loops():
            points = [(float(k * k), an_element(numpy, "direct", (k, k))) for k in (3, 5)]
            found["row"], found["row tap"] = line(*points)
            narrow = an_element(numpy, "direct", (5, 5), width=40)
            found["begin tap"] = max((narrow - points[1][1]) / 25 * 40, 0)
        with patch.object(library, "loops", lambda: None):
            found["numpy tap"] = an_element(numpy, "direct", (5, 5)) / 25
        found["torch tap"] = an_element(torch, "direct", (5, 5)) / 25
        tile = fft_tile((31, 31), (512, WIDTH + 30))
        work = Work((482, WIDTH), (31, 31), (1, 1), (1, 1))
        tiles = -(-WIDTH // (tile[1] - 30))
        transformed = tiles * prod(tile) / prod(work.sizes)
        for engine in (numpy, torch):
            each = an_element(engine, "fft", (31, 31)) / transformed
            found[f"{engine.name} fft"] = each / log2(prod(tile))
        short = least(lambda: np.fft.irfftn(np.fft.rfftn(data[:8, :8], [8, 8]), [8, 8]))
        found["begin tile"] = short
        narrow, wide = (an_element(torch, "native", (k, k), (16, 16)) for k in (1, 3))
        found["native tap"] = (wide - narrow) / 8 / 256
        found["native"] = max(narrow - found["native tap"] * 256, 0) / 32
    return found


if __name__ == "__main__":
    print("constant           here      table")
    for name, value in measure().items():
        print(f"{name:16s} {value:8.4f} {NANOSECONDS[name]:9.4f}")
