"""What the torch engine does on a CUDA device: is it right, how fast is it, and how near to the card's limit?

Three questions: do the results equal the processor's; how long does a 4K frame take with a 3×3 and a 15×15 kernel,
from memory to memory and on the card alone; and which share of the card's own speed of copying, measured here, does
3×3 from 8-bit to 8-bit reach.  Says so and ends well where there is no CUDA device.

    python benchmarks/cuda.py [-o FILE.md]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
from data import dense_kernel, folder, photograph
from harness import duration, function, header, machine, markdown, paired, seconds

import convcli

FRAME = (2160, 3840)  # 4K
LARGE = (16384, 16384)  # far beyond the card's cache
COPIED = 1 << 30  # bytes, to measure how fast the card copies
RUNS = 20
GOAL = 0.70  # of the speed of copying
LEVEL = 1  # of 8 bits: both round, floats add up in another order
FLOAT = 1e-5  # of the input's range: kernels of sum 1


def filtered(image: np.ndarray, kernel: np.ndarray, device: str, policy: str = "clip") -> np.ndarray:
    axes = "YXC"[: image.ndim]
    return convcli.filter(image, kernel, range=policy, axes=axes, engine="torch", device=device)


def kernel_of(k: int) -> np.ndarray:
    weights = dense_kernel(k, k)
    return weights / weights.sum()


def equality() -> Iterator[list[str]]:
    """Compare with the processor: grey and RGB, small and large kernels, 8 and 16 bits and floats."""
    for colours, k, dtype in (
        (1, 3, "u1"),
        (1, 15, "u1"),
        (3, 3, "u1"),
        (3, 31, "u1"),
        (1, 5, "u2"),
        (1, 7, "f4"),
    ):
        image = photograph(1080, 1920, grey=colours == 1).astype(dtype)
        policy = "float" if dtype == "f4" else "clip"
        there, here = (
            filtered(image, kernel_of(k), device, policy).astype(float) for device in ("cuda", "cpu")
        )
        difference = float(np.abs(there - here).max())
        bound = FLOAT * 255 if dtype == "f4" else LEVEL
        name = f"{'grey' if colours == 1 else 'RGB'} {np.dtype(dtype)}, {k}×{k}"
        changed = float((there != here).mean())
        yield [name, f"{difference:.2g}", f"{changed:.2%}", "yes" if difference <= bound else "NO"]


def bandwidth() -> float:
    """Return bytes a second that the card copies, read and written counted both."""
    import torch

    source = torch.zeros(COPIED, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    times = []
    for _ in range(RUNS + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        target.copy_(source)
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return 2 * COPIED / median(times[3:])


def on_the_card(call: Callable[[], object]) -> float:
    """Return the seconds that the card computes for a call; its transfers to and from memory are left out."""
    from torch.profiler import ProfilerActivity, profile

    call()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(RUNS):
            call()
    kernels = [
        event for event in profiler.key_averages() if "HtoD" not in event.key and "DtoH" not in event.key
    ]
    return sum(event.self_device_time_total for event in kernels) / RUNS / 1e6


def speed(copying: float) -> Iterator[list[str]]:
    """Time frames there and back, and on the card; the last column is the share of the speed of copying."""
    for sizes, k, colours in ((FRAME, 3, 1), (FRAME, 15, 1), (FRAME, 3, 3), (FRAME, 15, 3), (LARGE, 3, 1)):
        image = photograph(*sizes, grey=colours == 1)
        call = partial(filtered, image, kernel_of(k), "cuda")
        whole = seconds(paired({"cuda": function(call)}, RUNS if sizes == FRAME else 3)["cuda"])
        card = on_the_card(call)
        share = 2 * image.nbytes / copying / card
        name = f"{sizes[1]}×{sizes[0]} {'grey' if colours == 1 else 'RGB'} u8 → u8, {k}×{k}"
        verdict = f"{share:.0%}" + (f" ({'yes' if share >= GOAL else 'NO'})" if k == 3 else "")
        yield [name, duration(whole), duration(card), verdict]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", dest="output", type=Path, help="write the report here too")
    options = parser.parse_args(arguments)
    import torch

    if not torch.cuda.is_available():
        print("no CUDA device here: nothing to measure")
        return 0
    copying = bandwidth()
    card = torch.cuda.get_device_properties(0)
    facts = machine(folder())
    text = "\n".join(
        [
            "# CUDA",
            "",
            *header(facts),
            "",
            f"{card.name}, CUDA {torch.version.cuda}; it copies {copying / 1e9:.0f} GB/s (read and written).",
            "",
            *markdown(("against the processor", "largest difference", "differ", "equal"), equality()),
            "",
            *markdown(
                ("frame", "there and back", "on the card", f"of copying (goal {GOAL:.0%} at 3×3)"),
                speed(copying),
            ),
            "",
        ]
    )
    print(text)
    if options.output is not None:
        options.output.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
