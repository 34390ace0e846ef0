"""Calls inside a process beside the tools that people use now: the table of docs/speed.md.

Both work on the same array, in turns, on one thread and on two.  Processor time of all threads is compared, which other
programs on the same cores disturb less than the clock on the wall; results are compared too.

    python benchmarks/in_process.py                  # everything, into docs/speed.md: under eight minutes
    python benchmarks/in_process.py box gaussian     # works whose name holds one of these words, printed only
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import torch
from data import dense_kernel, photograph
from harness import PAUSE, header, machine, markdown
from scipy import ndimage, signal
from torch.nn import functional as F

import convcli

SPEED = Path(__file__).parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- figures: benchmarks/in_process.py -->\n", "<!-- end of figures -->\n"
HEAD = ("work", "peer", "goal", "1 thread: ours, peer's", "peer / ours", "2 threads: ours, peer's",
        "peer / ours", "by the clock", "off by")  # fmt: skip
TURNS, LONGEST = 7, 2.0  # turns of each, fewer where they take so many seconds together
EDGE = cv2.BORDER_REPLICATE


@dataclass(frozen=True)
class Work:
    """A call of ours beside a peer's: each is given the number of threads.

    Attributes
    ----------
    inside : tuple of slice
        Where results can be compared; the rest is treated otherwise by the peer.
    """

    name: str
    peer: str
    goal: float
    ours: Callable[[int], Any]
    theirs: Callable[[int], Any]
    inside: tuple[slice, ...] = ()


def works() -> Iterator[Work]:
    yield from dense()
    yield from smooth()
    yield from ranks()
    yield from edges()
    yield from of_torch()
    yield from volumes()
    yield from signals()


@cache
def picture(kind: str, dtype: str) -> np.ndarray:
    bytes_ = photograph(3000, 4000, grey=kind == "grey")
    return (
        bytes_.astype(np.uint16) * 257 if dtype == "u16" else bytes_.astype({"u8": "u1", "f32": "f4"}[dtype])
    )


def ours(array: np.ndarray, kernel: Any = None, **options: Any) -> Callable[[int], np.ndarray]:
    options.setdefault("range", "float" if array.dtype.kind == "f" else "clip")
    return lambda threads: convcli.filter(array, kernel, threads=threads, **options)


def opencv(call: Callable[[], Any]) -> Callable[[int], Any]:
    def run(threads: int) -> Any:
        cv2.setNumThreads(threads)
        return call()

    return run


def dense() -> Iterator[Work]:
    sizes = {"u8": (3, 5, 7, 9, 15, 31, 63, 127, 255), "u16": (3, 5, 7, 9), "f32": (3, 5, 7, 9)}
    for dtype, kind in ((dtype, kind) for dtype in sizes for kind in ("grey", "RGB")):
        for k in sizes[dtype]:
            if kind == "RGB" and k > 31:
                continue
            x = picture(kind, dtype)
            weights = dense_kernel(k, k)
            kernel = (weights / weights.sum()).astype(np.float32)
            yield Work(
                f"dense {k}×{k}, {kind} {dtype}",
                "OpenCV filter2D",
                1.5 if k < 15 else 2.5,
                ours(x, kernel, axes="YXC"[: x.ndim]),
                opencv(partial(cv2.filter2D, x, -1, kernel, borderType=EDGE)),
            )


def smooth() -> Iterator[Work]:
    for dtype in ("u8", "u16", "f32"):
        x = picture("grey", dtype)
        for size in (3, 9, 31, 101):
            theirs = partial(cv2.blur, x, (size, size), borderType=EDGE)
            yield Work(f"box {size}, {dtype}", "OpenCV blur", 1.0, ours(x, f"box:{size}"), opencv(theirs))
        for sigma in (1, 2, 4, 8):
            theirs = partial(cv2.GaussianBlur, x, (8 * sigma + 1,) * 2, sigma, borderType=EDGE)
            name = f"Gaussian σ={sigma}, {dtype}"
            yield Work(name, "OpenCV GaussianBlur", 1.0, ours(x, f"gaussian:sigma={sigma}"), opencv(theirs))
    x = picture("RGB", "u8")
    theirs = partial(cv2.blur, x, (9, 9), borderType=EDGE)
    yield Work("box 9, RGB u8", "OpenCV blur", 1.0, ours(x, "box:9", axes="YXC"), opencv(theirs))
    theirs = partial(cv2.GaussianBlur, x, (17, 17), 2, borderType=EDGE)
    gaussian = ours(x, "gaussian:sigma=2", axes="YXC")
    yield Work("Gaussian σ=2, RGB u8", "OpenCV GaussianBlur", 1.0, gaussian, opencv(theirs))


def ranks() -> Iterator[Work]:
    for dtype in ("u8", "u16", "f32"):
        x = picture("grey", dtype)
        for k in (3, 5):
            theirs = partial(cv2.medianBlur, x, k)
            yield Work(
                f"median {k}×{k}, {dtype}", "OpenCV medianBlur", 1.0, ours(x, f"median:{k}"), opencv(theirs)
            )
        for k in (3, 9, 31):
            theirs = partial(cv2.dilate, x, np.ones((k, k), np.uint8))
            yield Work(f"max {k}×{k}, {dtype}", "OpenCV dilate", 1.0, ours(x, f"max:{k}"), opencv(theirs))


def edges() -> Iterator[Work]:
    x = picture("grey", "u8")

    def sobel() -> np.ndarray:
        gx, gy = (cv2.Sobel(x, cv2.CV_32F, *d, borderType=EDGE) for d in ((1, 0), (0, 1)))
        return cv2.convertScaleAbs(cv2.magnitude(gx, gy), alpha=0.25)

    yield Work(
        "Sobel magnitude, u8",
        "OpenCV Sobel, magnitude",
        1.2,
        ours(x, "sobel", range="0%:400%"),
        opencv(sobel),
    )
    for name, rows in (("Laplacian", "0,1,0;1,-4,1;0,1,0"), ("sharpen", "0,-1,0;-1,5,-1;0,-1,0")):
        kernel = np.array([[float(n) for n in row.split(",")] for row in rows.split(";")], np.float32)
        theirs = partial(cv2.filter2D, x, -1, kernel, borderType=EDGE)
        yield Work(f"{name}, u8", "OpenCV filter2D", 1.2, ours(x, rows), opencv(theirs))


def of_torch() -> Iterator[Work]:
    x = picture("grey", "f32")
    tensor = torch.from_numpy(x)[None, None]

    def by_torch(call: Callable[[], torch.Tensor]) -> Callable[[int], np.ndarray]:
        def run(threads: int) -> np.ndarray:
            torch.set_num_threads(threads)
            with torch.inference_mode():
                return call().squeeze().numpy()

        return run

    for k, options in ((5, {"stride": 2}), (3, {"dilation": 4})):
        kernel = (dense_kernel(k, k) / dense_kernel(k, k).sum()).astype(np.float32)
        name = f"dense {k}×{k} with {' '.join(map(str, *options.items()))}, f32"
        theirs = by_torch(partial(F.conv2d, tensor, torch.from_numpy(kernel)[None, None], **options))
        yield Work(name, "torch conv2d", 2.0, ours(x, kernel, padding="valid", **options), theirs)
    for size in (2, 3):
        theirs = by_torch(partial(F.max_pool2d, tensor, size))
        yield Work(f"max pool {size}, f32", "torch max_pool2d", 1.5, ours(x, pool=f"max:{size}"), theirs)
    random = np.random.default_rng(1)
    for inputs, outputs, n, options in (
        (3, 64, 512, {}), (64, 64, 256, {}), (64, 64, 512, {}), (256, 256, 256, {}), (64, 64, 512, {"stride": 2}),
    ):  # fmt: skip
        bank = random.normal(size=(outputs, inputs, 3, 3)).astype(np.float32)
        data = random.random((inputs, n, n), np.float32)
        theirs = by_torch(
            partial(F.conv2d, torch.from_numpy(data)[None], torch.from_numpy(bank), padding=1, **options)
        )
        name = f"bank {inputs}→{outputs} 3×3 on {n}²{' stride 2' if options else ''}, f32"
        mine = ours(data, bank, axes="CYX", padding=1, **options)
        yield Work(name, "torch conv2d", 1 / 1.5, mine, theirs)


def volumes() -> Iterator[Work]:
    bytes_ = np.random.default_rng(2).integers(0, 65536, (128, 512, 512), dtype=np.uint16)
    for dtype, x in (("u16", bytes_), ("f32", bytes_.astype(np.float32))):
        for sizes in ((2, 3, 3), (5, 5, 5)):
            weights = (dense_kernel(*sizes) / dense_kernel(*sizes).sum()).astype(np.float32)
            origin = tuple((k - 1) // 2 - k // 2 for k in sizes)  # scipy centres even kernels one later
            theirs = partial(ndimage.correlate, x, weights, mode="nearest", origin=origin)
            name = f"volume {'×'.join(map(str, sizes))}, {dtype}"
            yield Work(name, "scipy.ndimage", 6, ours(x, weights), lambda _, theirs=theirs: theirs())
        theirs = partial(ndimage.gaussian_filter, x, 1.5, mode="nearest", radius=6)
        yield Work(
            f"volume Gaussian 1.5, {dtype}", "scipy.ndimage", 6,
            ours(x, "gaussian:sigma=1.5x1.5x1.5", axes="ZYX"), lambda _, theirs=theirs: theirs(),
        )  # fmt: skip
        theirs = partial(ndimage.uniform_filter, x, 7, mode="nearest")
        box = ours(x, "box:7x7x7", axes="ZYX")
        yield Work(f"volume box 7, {dtype}", "scipy.ndimage", 6, box, lambda _, theirs=theirs: theirs())


def signals() -> Iterator[Work]:
    x = np.random.default_rng(3).random((8, 1_000_000), np.float32)
    for taps in (3, 257, 10_001):
        kernel = np.random.default_rng(taps).random(taps).astype(np.float32)
        kernel /= kernel.sum()
        if taps == 3:
            theirs = lambda _, kernel=kernel: np.stack([np.correlate(row, kernel) for row in x])  # noqa: E731
        else:
            theirs = lambda _, kernel=kernel: signal.oaconvolve(x, kernel[None, ::-1], "valid", axes=1)  # noqa: E731
        peer = "numpy.correlate" if taps == 3 else "scipy oaconvolve"
        mine = ours(x, kernel, axes="CX", padding="valid")
        yield Work(f"8 signals of a million, {taps:,} taps", peer, 1.5, mine, theirs)


@dataclass(frozen=True)
class Times:
    """Milliseconds of processor time and of the clock, ours and theirs."""

    processor: tuple[float, float]
    clock: tuple[float, float]

    @property
    def ratio(self) -> float:
        return self.processor[1] / self.processor[0]


def timed(work: Work, threads: int) -> Times:
    """Return the medians of some turns."""
    taken: list[list[tuple[float, float]]] = [[], []]
    spent = 0.0
    for turn in range(TURNS + 1):
        for which, call in enumerate((work.ours, work.theirs)):
            time.sleep(PAUSE)  # OpenMP's threads spin for a while after their work
            start, cpu = time.perf_counter(), time.process_time()
            result = call(threads)
            sample = time.process_time() - cpu, time.perf_counter() - start
            del result
            spent += sample[1]
            if turn:
                taken[which].append(sample)
        if turn >= 2 and spent > LONGEST:
            break
    (mine, clock), (theirs, other) = (
        [1e3 * median(times) for times in zip(*one, strict=True)] for one in taken
    )
    return Times((mine, theirs), (clock, other))


def row(work: Work) -> tuple[str, ...]:
    one, two = timed(work, 1), timed(work, 2)
    mine, theirs = (np.asarray(call(2), float)[work.inside] for call in (work.ours, work.theirs))
    difference = np.abs(mine - theirs).max() if mine.shape == theirs.shape else np.nan
    times = [cell for each in (one, two)
             for cell in (f"{each.processor[0]:.3g}, {each.processor[1]:.3g}", f"{each.ratio:.2f}")]  # fmt: skip
    clock = two.clock[1] / two.clock[0]
    return (work.name, work.peer, f"{work.goal:.2g}", *times, f"{clock:.2f}", f"{difference:.2g}")


def main(words: list[str]) -> None:
    facts = machine(Path.cwd())
    rows = []
    for work in works():
        if not words or any(word in work.name for word in words):
            rows.append(row(work))
            print(" | ".join(rows[-1]), flush=True)
    if words:
        return
    reached = sum(min(float(cells[4]), float(cells[6])) >= float(cells[2]) for cells in rows)
    load = f"load {os.getloadavg()[0]:.1f} at the end; {reached} of {len(rows)} goals met on one thread and on two."
    figures = "\n".join([*header(facts), "", load, "", *markdown(HEAD, rows), ""])
    before, rest = SPEED.read_text(encoding="utf-8").split(BEGIN)
    SPEED.write_text(before + BEGIN + "\n" + figures + "\n" + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
