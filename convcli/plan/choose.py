"""Which engine does a job, by which algorithms, in blocks of what size: decided from sizes alone, and able to say why.

What each algorithm costs stands in `convcli.plan.costs`; nothing is tried out here.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from math import ceil

from convcli.common.choices import EngineName
from convcli.common.errors import ConvError
from convcli.common.frozen import frozen
from convcli.common.machine import available_memory
from convcli.jobs.chain import Chain
from convcli.plan import workload
from convcli.plan.algorithms import Algorithm, Row, rows
from convcli.plan.costs import BEGIN_TORCH, BLOCK, IMPORT_TORCH, NANOSECONDS
from convcli.plan.work import Work, fft_tile

BLOCK_ELEMENTS = {EngineName.NUMPY: 1 << 20, EngineName.TORCH: 1 << 21}  # of one block (measured)
# Smaller ones would stay in the cache, but threads that change them take turns at Python's lock: with 2^18, 3x3
# on 12 megapixels takes twice as long; torch's own threads are no quicker on an idle machine and a hundred times slower
# beside other work, for each waits for all (measured).
BLOCK_OF_PICTURES = 1 << 24  # where torch goes through pictures of bytes in tiles of its own (measured)
WHOLE_ROWS = 16  # of which a long block is a multiple: groups of 8 or 16 rows are products
WORTH_THREADS = 0.01  # seconds on one core below which threads take longer to begin than they save (measured)
LEAST_BLOCK = 1 << 16  # less is not worth a thread
HALOS = 2  # a block is at least so many halos long, so that little is read and converted twice
COPIES = 6  # arrays of a block's size that one worker holds at a time: input, padded, passes, output, pixels
PASSES = 8  # over a block beside the algorithms: to floats, round, look for what clips, to pixels


@frozen
class Candidate:
    """One way to do a job.

    Attributes
    ----------
    engine : EngineName
    algorithms : tuple
        One for each stage; None for a pool or a transposed convolution, where an engine has but one.
    seconds : float
        What it is estimated to take.
    """

    engine: EngineName
    algorithms: tuple[Algorithm | None, ...]
    seconds: float

    def __str__(self) -> str:
        names = " + ".join(str(algorithm or "its own") for algorithm in self.algorithms)
        return f"{self.engine} {names}: about {self.seconds:.2g} s"


@frozen
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
    algorithms : tuple
        One for each stage of the chain; None leaves it to the engine.
    rejected : tuple of Candidate
        What else was possible, the cheapest first.
    seconds : float
        The estimate.
    slice_bytes : int
        Bytes of one sample of the stream axis, at the widest place.
    halo : int
        Samples that a block needs beside its own.
    device : str
        ``cpu``, or another one that the engine knows.
    """

    engine: EngineName
    step: int
    threads: int
    reason: str
    algorithms: tuple[Algorithm | None, ...] = ()
    rejected: tuple[Candidate, ...] = ()
    seconds: float = 0.0
    slice_bytes: int = 0
    halo: int = 0
    device: str = "cpu"

    def workers(self, length: int) -> int:
        """Return how many blocks of an output of this length are computed at a time."""
        return min(self.threads, -(-length // self.step))

    def engine_threads(self, length: int) -> int:
        """Return the cores for each block: one where blocks share them, else all."""
        return 1 if self.workers(length) > 1 else self.threads

    def memory(self, length: int) -> int:
        """Return about how many bytes the blocks of an output of this length take at a time."""
        block = (min(self.step, length) + self.halo) * self.slice_bytes
        return (self.workers(length) + 1) * COPIES * block

    def check_memory(self, length: int, available: int | None = None) -> None:
        """Refuse a job that cannot fit.

        Parameters
        ----------
        available : int, optional
            Bytes; by default what the machine says.

        Raises
        ------
        ConvError
            With what is needed and what there is.
        """
        there = available_memory() if available is None else available
        needed = self.memory(length)
        if there is not None and needed > there:
            raise ConvError(
                f"blocks of {self.step} need about {needed / 1e9:.1f} GB and {there / 1e9:.1f} GB are free: "
                "use fewer --threads, a smaller kernel, or a format that streams (.tiff, .npy)"
            )

    @property
    def lines(self) -> tuple[str, ...]:
        """The plan in words: the choice, then one line for each way that was rejected."""
        chosen = Candidate(self.engine, self.algorithms, self.seconds)
        return (
            f"{chosen}; {self.reason}",
            f"blocks of {self.step}, {self.threads} threads",
            *(f"rejected: {candidate}" for candidate in self.rejected),
        )


def choose(
    chain: Chain,
    stream: int,
    *,
    engine: EngineName,
    device: str,
    threads: int,
    dtype: str = "float32",
    source: str = "float32",
    result: str = "float32",
    torch_loaded: bool | None = None,
) -> Plan:
    """Choose engine, algorithms and block length for a chain.

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
    dtype : str
        Of the arithmetic.
    source : str
        What the first stage gets: the input's type, or that of the arithmetic.
    result : str
        What the last stage's results become: the output's type.
    torch_loaded : bool, optional
        Whether torch's import is paid for; by default what is true.
    """
    loaded = "torch" in sys.modules if torch_loaded is None else torch_loaded
    return _choose(chain, stream, engine, device, threads, dtype, source, result, loaded)


@lru_cache(maxsize=64)  # pictures of one size are often filtered alike
def _choose(
    chain: Chain,
    stream: int,
    engine: EngineName,
    device: str,
    threads: int,
    dtype: str,
    source: str,
    result: str,
    loaded: bool,
) -> Plan:
    works = workload.works(chain, dtype, source, result)
    possible = [
        candidate
        for name in (EngineName.NUMPY, EngineName.TORCH)
        for candidate in _candidates(
            chain, works, name, threads, dtype, loaded, steady=engine is EngineName.NUMPY
        )
    ]
    if engine is not EngineName.AUTO:
        allowed, reason = [c for c in possible if c.engine is engine], f"{engine} was asked for"
    elif device != "cpu":
        allowed, reason = (
            [c for c in possible if c.engine is EngineName.TORCH],
            f"only torch runs on {device}",
        )
    else:
        allowed, reason = possible, "the cheapest" + ("" if loaded else ", torch with its import")
    best = min(allowed, key=lambda candidate: candidate.seconds)
    rejected = sorted((c for c in possible if c is not best), key=lambda candidate: candidate.seconds)
    if (best.seconds - _start(best.engine, loaded)) * threads < WORTH_THREADS:
        threads = 1
    slices, halo = workload.slice_elements(chain, stream), workload.halo(chain, stream)
    return Plan(
        best.engine,
        _block_length(chain, works, stream, threads, best),
        threads,
        reason,
        best.algorithms,
        tuple(rejected),
        best.seconds,
        slices * _element_bytes(works, best, dtype),
        halo,
        device,
    )


def _candidates(
    chain: Chain,
    works: list[Work | None],
    engine: EngineName,
    threads: int,
    dtype: str,
    loaded: bool,
    steady: bool,
) -> list[Candidate]:
    """Return an engine's ways: the best one for every stage, and with one stage, all others too."""
    fixed = workload.elements(chain) * PASSES * NANOSECONDS["pass"] * 1e-9 * (2 if dtype == "float64" else 1)
    fixed += sum(workload.other_seconds(chain, index) for index, work in enumerate(works) if work is None)
    start = _start(engine, loaded)
    steady = steady and engine is EngineName.NUMPY
    ways = [rows(engine.value, work, steady) if work is not None else [] for work in works]

    def candidate(chosen: list[tuple[float, Row] | None]) -> Candidate:
        algorithms = tuple(pair and pair[1].algorithm for pair in chosen)
        blocks = workload.elements(chain) / _block_elements(works, engine, algorithms) * BLOCK
        seconds = sum(pair[0] for pair in chosen if pair) + fixed + blocks
        return Candidate(engine, algorithms, start + seconds / threads)

    if len(ways) == 1 and ways[0]:
        return [candidate([pair]) for pair in ways[0]]
    return [candidate([way[0] if way else None for way in ways])]


def _start(engine: EngineName, loaded: bool) -> float:
    """Return the seconds until an engine is there."""
    if engine is EngineName.NUMPY:
        return 0.0
    return BEGIN_TORCH if loaded else IMPORT_TORCH


def _tile_rows(works: list[Work | None], algorithms: tuple[Algorithm | None, ...], stream: int) -> int:
    """Return how many outputs along the stream axis one row of a transform's tiles gives; 1 without any."""
    rows = [1]
    for work, algorithm in zip(works, algorithms, strict=True):
        if work is not None and algorithm is Algorithm.FFT and stream < len(work.sizes):
            rows.append(fft_tile(work.extents, work.needed)[stream] - work.extents[stream] + 1)
    return max(rows)


def _block_length(chain: Chain, works: list[Work | None], stream: int, threads: int, best: Candidate) -> int:
    """Return how many samples of the output's stream axis make a block: with tiles, whole rows of them.

    There are as many blocks for one thread as for the other.
    """
    slices, length = max(workload.slice_elements(chain, stream), 1), chain.output[stream]
    most = _block_elements(works, best.engine, best.algorithms)
    # A second turn evens out the threads, and takes half a millisecond.
    least = 1 if _has_loop(works, best.engine, best.algorithms) else 2
    turns = max(ceil(slices * length / (threads * most)), least)
    elements = max(slices * length // (turns * threads), LEAST_BLOCK)
    step = max(elements // slices, HALOS * workload.halo(chain, stream), 1)
    tile = _tile_rows(works, best.algorithms, stream)
    if tile > 1:
        return min(max(step // tile, 1) * tile, length)
    unit = WHOLE_ROWS if step >= 2 * WHOLE_ROWS else 1
    return min(ceil(step / unit) * unit, length)  # no short block more than there are turns


def _block_elements(
    works: list[Work | None], engine: EngineName, algorithms: tuple[Algorithm | None, ...]
) -> int:
    """Return the most elements of one block."""
    return BLOCK_OF_PICTURES if _has_loop(works, engine, algorithms) else BLOCK_ELEMENTS[engine]


def _element_bytes(works: list[Work | None], best: Candidate, dtype: str) -> int:
    """Return the bytes of one element of a block: floats, but where torch goes through it in tiles of its own."""
    if _has_loop(works, best.engine, best.algorithms):
        return 1
    return 8 if dtype == "float64" else 4


def _has_loop(works: list[Work | None], engine: EngineName, algorithms: tuple[Algorithm | None, ...]) -> bool:
    """Return whether torch goes through a block by itself, from bytes to bytes."""
    [work, *others] = works
    looped = engine is EngineName.TORCH and algorithms[0] in (Algorithm.TOEPLITZ, Algorithm.BOX)
    return looped and not others and work is not None and work.pictures
