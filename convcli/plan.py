"""Which engine does a job, and in blocks of what size: decided from sizes alone, and able to say why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from math import prod

from convcli.chain import Chain, ConvStage


class EngineName(StrEnum):
    AUTO = "auto"
    NUMPY = "numpy"
    TORCH = "torch"


IMPORT_TORCH = 1.0  # seconds, measured: `python -X importtime -c "import torch"`
NUMPY_RATE = 2.0e9  # multiply-adds a second and thread, shift-and-add in float32
TORCH_RATE = 3.5e9  # direct `F.conv2d` of one channel, all threads
BLOCK_ELEMENTS = 1 << 20  # floats of one block: it stays in a core's cache from padding to pixels (measured)
HALOS = 4  # a block is at least so many halos long, so that little is computed twice


def available_threads() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Plan:
    """The choice and its reason.

    Attributes
    ----------
    engine : EngineName
    step : int
        Samples of the output's stream axis in one block.
    threads : int
        Cores to use.
    reason : str
    """

    engine: EngineName
    step: int
    threads: int
    reason: str

    def workers(self, length: int) -> int:
        """Return how many blocks of an output of this length are computed at a time."""
        return min(self.threads, -(-length // self.step))

    def engine_threads(self, length: int) -> int:
        """Return the cores for each block: one where blocks share them, else all."""
        return 1 if self.workers(length) > 1 else self.threads


def choose(chain: Chain, stream: int, *, engine: EngineName, device: str, threads: int) -> Plan:
    """Choose engine and block length for a chain.

    Parameters
    ----------
    stream : int
        The space axis along which blocks are cut.
    engine : EngineName
        What was asked for.
    device : str
        ``cpu`` or ``cuda``; only torch knows others than ``cpu``.
    threads : int
        Cores to use.
    """
    step = block_length(chain, stream)
    if engine is not EngineName.AUTO:
        return Plan(engine, step, threads, "asked for")
    if device != "cpu":
        return Plan(EngineName.TORCH, step, threads, f"only torch runs on {device}")
    work = chain.multiply_adds
    by_numpy, by_torch = work / NUMPY_RATE / threads, IMPORT_TORCH + work / TORCH_RATE
    best = EngineName.NUMPY if by_numpy <= by_torch else EngineName.TORCH
    reason = f"{work:.3g} multiply-adds: numpy about {by_numpy:.2g} s, torch {by_torch:.2g} s with its import"
    return Plan(best, step, threads, reason)


def block_length(chain: Chain, stream: int) -> int:
    """Return how many samples of the output's stream axis make a block."""
    maps, channels = chain.outputs
    widest = max(prod(sizes) // max(sizes[stream], 1) for sizes in chain.sizes)
    banks = max((stage.kernel.outputs for stage in chain.stages if isinstance(stage, ConvStage)), default=1)
    slice_elements = widest * max(chain.channels, channels) * max(maps, banks)
    lo, hi = chain.field(stream).input_range(0, 1)
    halo = -(-(hi - lo) // max(int(chain.field(stream).jump), 1))
    return min(max(BLOCK_ELEMENTS // max(slice_elements, 1), HALOS * halo, 1), chain.output[stream])
