"""Measure what the planner's table says of this machine: prints `convcli.engines.costs.NANOSECONDS` anew.

Each constant is the slope or the offset between two correlations of one algorithm, on one core, in blocks as the
runner makes them; the least of several runs' processor time counts, for whatever disturbs a run makes it longer.
Run it on a quiet machine: ``python benchmarks/calibrate.py``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import log2, prod

import numpy as np

from convcli.common.choices import EngineName
from convcli.engines import get_engine
from convcli.engines.algorithms import ALGORITHMS, TorchBox
from convcli.engines.base import Engine
from convcli.engines.costs import NANOSECONDS
from convcli.engines.on_numpy import integer_sums
from convcli.engines.work import LINE, Work, fft_tile, toeplitz_rows
from convcli.pixels.render import Rendering

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
    engine: Engine,
    name: str,
    kernel: tuple[int, ...],
    maps: tuple[int, int] = (1, 1),
    data: np.dtype | None = None,
) -> float:
    """Return an algorithm's nanoseconds for an element of one output map."""
    [algorithm] = [one for one in ALGORITHMS[EngineName(engine.name)] if one.name == name]
    random = np.random.default_rng(1)
    weights = np.ones(kernel) if name == "box" else random.normal(size=kernel)
    if name == "integer":
        weights = 1.0 + np.arange(prod(kernel)).reshape(kernel)
    if "separable" in name:
        weights = np.multiply.outer(*(random.normal(size=k) for k in kernel))
    weights = np.broadcast_to(weights, (*maps, *kernel)).astype(np.float32)
    sizes = (ROWS, WIDTH) if name != "fft" else (482, WIDTH)
    shape = (1, maps[1], *(n + k - 1 for n, k in zip(sizes, kernel, strict=True)))
    x = random.random(shape, np.float32) if data is None else random.integers(0, 256, shape).astype(data)
    one = (1,) * len(kernel)

    def work() -> object:
        return engine.correlate(x, weights, stride=one, dilation=one, finite=True, algorithm=algorithm)

    return least(work) / prod(sizes)


def a_byte(engine: Engine, box: tuple[int, int]) -> float:
    """Return the nanoseconds for a byte of a picture that becomes a mean of bytes."""
    sizes = tuple(n + k - 1 for n, k in zip((ROWS, WIDTH), box, strict=True))
    x = np.random.default_rng(1).integers(0, 256, (1, 1, *sizes), np.uint8)
    weights = np.full((1, 1, *box), 1 / prod(box), np.float32)
    how = Rendering("uint8", top=255.0, fits=True)
    one = (1, 1)

    def work() -> object:
        return engine.pixels(x, weights, stride=one, dilation=one, algorithm=TorchBox(), how=how)

    return least(work) / (ROWS * WIDTH)


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
        found["numpy tap"] = an_element(numpy, "direct", (5, 5)) / 25
        folds = (31).bit_length() - 1 + (31).bit_count()
        found["numpy sum"] = an_element(numpy, "box", (31, 31)) / (2 * folds + 1)
        plain = 15  # 6 numbers: as many sums, and a product and a sum for each but the first
        found["numpy integer"] = an_element(numpy, "integer", (2, 3), data=integer_sums.SUM) / (plain + 1)
        across = an_element(numpy, "box", (31, 31), data=integer_sums.COUNT)
        found["running sum"] = across - folds * found["numpy integer"] - found["pass"]
        found["torch tap"] = an_element(torch, "direct", (5, 5)) / 25
        for engine in (numpy, torch):
            points = [(toeplitz_rows(k, k) + k, an_element(engine, "toeplitz", (k, k)) / k) for k in (5, 15)]
            name = f"{engine.name} column"
            found[name], found[f"{name} tap"] = line(*points)
        points = [(2 * (k - 1), an_element(numpy, "toeplitz", (1, k))) for k in (17, 65)]
        found["square"], found["square tap"] = line(*points)
        points = [(LINE + k, an_element(torch, "toeplitz", (1, k))) for k in (5, 65)]
        found["line"], found["line tap"] = line(*points)
        points = [(k.bit_length(), a_byte(torch, (31, k))) for k in (3, 31)]
        found["bytes box"], found["bytes sum"] = line(*points)
        tile = fft_tile((31, 31), (512, WIDTH + 30))
        work = Work((482, WIDTH), (31, 31), (1, 1), (1, 1))
        tiles = -(-WIDTH // (tile[1] - 30))
        transformed = tiles * prod(tile) / prod(work.sizes)
        for engine in (numpy, torch):
            each = an_element(engine, "fft", (31, 31)) / transformed
            found[f"{engine.name} fft"] = each / log2(prod(tile))
        narrow, wide = (an_element(torch, "native", (k, k), (16, 16)) for k in (1, 3))
        found["native tap"] = (wide - narrow) / 8 / 256
        found["native"] = max(narrow - found["native tap"] * 256, 0) / 32
    return found


if __name__ == "__main__":
    print("constant           here      table")
    for name, value in measure().items():
        print(f"{name:16s} {value:8.4f} {NANOSECONDS[name]:9.4f}")
