"""Measure what the planner's table says of this machine: prints `convcli.algorithms.NANOSECONDS` anew.

Each constant is the slope or the offset between two correlations of one algorithm, on one core, in blocks as the
runner makes them; the least of several runs' processor time counts, for whatever disturbs a run makes it longer.
Run it on a quiet machine: ``python benchmarks/calibrate.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import log2, prod

import numpy as np

from convcli.algorithms import LINE, NANOSECONDS, Algorithm, Work, fft_tile, toeplitz_rows
from convcli.engines import get_engine
from convcli.engines.base import Engine

RUNS = 25
WIDTH = 4000
ROWS = 64


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
    engine: Engine, algorithm: Algorithm, kernel: tuple[int, ...], maps: tuple[int, int] = (1, 1)
) -> float:
    """Return an algorithm's nanoseconds for an element of one output map."""
    random = np.random.default_rng(1)
    weights = np.ones(kernel) if algorithm is Algorithm.BOX else random.normal(size=kernel)
    if algorithm is Algorithm.SEPARABLE:
        weights = np.multiply.outer(*(random.normal(size=k) for k in kernel))
    weights = np.broadcast_to(weights, (*maps, *kernel)).astype(np.float32)
    sizes = (ROWS, WIDTH) if algorithm is not Algorithm.FFT else (482, WIDTH)
    x = random.random((1, maps[1], *(n + k - 1 for n, k in zip(sizes, kernel, strict=True))), np.float32)
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
        found["numpy tap"] = an_element(numpy, Algorithm.DIRECT, (5, 5)) / 25
        folds = sum(k.bit_length() - 1 + k.bit_count() for k in (31, 31))
        found["numpy fold"] = an_element(numpy, Algorithm.BOX, (31, 31)) / (folds + 1)
        found["torch tap"] = an_element(torch, Algorithm.DIRECT, (5, 5)) / 25
        points = [
            (toeplitz_rows(k, k) + k, an_element(torch, Algorithm.TOEPLITZ, (k, k)) / k) for k in (5, 15)
        ]
        found["column"], found["column tap"] = line(*points)
        points = [(LINE + k, an_element(torch, Algorithm.TOEPLITZ, (1, k))) for k in (5, 65)]
        found["line"], found["line tap"] = line(*points)
        tile = fft_tile((31, 31), (512, WIDTH + 30))
        work = Work((482, WIDTH), (31, 31), (1, 1), (1, 1))
        tiles = -(-WIDTH // (tile[1] - 30))
        transformed = tiles * prod(tile) / prod(work.sizes)
        found["fft"] = an_element(torch, Algorithm.FFT, (31, 31)) / transformed / log2(prod(tile))
        narrow, wide = (an_element(torch, Algorithm.NATIVE, (k, k), (16, 16)) for k in (1, 3))
        found["native tap"] = (wide - narrow) / 8 / 256
        found["native"] = max(narrow - found["native tap"] * 256, 0) / 32
    return found


if __name__ == "__main__":
    print("constant      here      table")
    for name, value in measure().items():
        print(f"{name:11s} {value:8.4f} {NANOSECONDS[name]:9.4f}")
