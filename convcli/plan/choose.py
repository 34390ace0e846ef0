"""Which engine does a job, by which algorithms, in blocks of what size: decided from sizes alone, and able to say why.

What each algorithm costs stands in `convcli.engines.costs`; nothing is tried out here.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from math import ceil, prod
from typing import Any

from convcli.common import ConvError, EngineName, frozen
from convcli.common.budget import UNASKED
from convcli.common.machine import available_memory, available_threads
from convcli.engines.algorithms import ways
from convcli.engines.interface import Algorithm
from convcli.engines.native import library
from convcli.jobs.chain import Chain
from convcli.plan import workload
from convcli.plan.workload import Workload

BLOCK_ELEMENTS = {EngineName.NUMPY: 1 << 20, EngineName.TORCH: 1 << 21}  # of one block (measured)
# Smaller ones would stay in the cache, but threads that change them take turns at Python's lock: with 2^18, 3x3
# on 12 megapixels takes twice as long; torch's own threads are no quicker on an idle machine and a hundred times slower
# beside other work, for each waits for all (measured).
BLOCK_OF_ROWS = 1 << 22  # where compiled loops go through rows that stay in the cache by themselves
BLOCK_IN_MEMORY = 1 << 24  # where neither files nor other threads wait for them
WHOLE_ROWS = 16  # of which a long block is a multiple
WORTH_THREADS = 0.01  # seconds on one core below which threads take longer to begin than they save (measured)
LEAST_BLOCK = 1 << 16  # less is not worth a thread
HALOS = 2  # a block is at least so many halos long, so that little is read and converted twice
# Bytes that strips may take at a time, where cutting them along other axes too can save some.
MOST_MEMORY = 1 << 31
IMPORT_TORCH = 1.0  # seconds: `python -X importtime -c "import torch"`
TORCH = 200_000_000  # bytes that it takes
# Seconds that torch's jobs take longer than numpy's when both are loaded (measured)
BEGIN_TORCH = 250e-6
BLOCK = 300e-6  # seconds that Python needs for a block


@frozen
class Resources:
    """What a person wants a job computed with.

    Attributes
    ----------
    engine : EngineName
    device : str
        ``cpu`` or ``cuda``.
    threads : int, optional
        Processor cores; by default all that the process may use.
    memory : int, optional
        Bytes that strips may take at a time, where cutting them along other axes too can save some.
    """

    engine: EngineName = EngineName.AUTO
    device: str = "cpu"
    threads: int | None = None
    memory: int | None = None


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
    fused : bool
        Whether it goes through blocks from bytes to bytes, in tiles of its own.
    tile : int
        Outputs along the stream axis of which blocks should be multiples.
    """

    engine: EngineName
    algorithms: tuple[Algorithm | None, ...]
    seconds: float
    fused: bool = False
    tile: int = 1

    def __str__(self) -> str:
        names = " + ".join(str(algorithm or "its own") for algorithm in self.algorithms)
        return f"{self.engine} {names}: about {self.seconds:.2g} s"


@frozen
class Plan:
    """The choice and its reason.

    Attributes
    ----------
    engine : EngineName
    steps : tuple of int
        Samples of the output in one block, along each of the chain's axes.
    threads : int
        Cores to use.
    reason : str
    job : Workload
        What was planned.
    algorithms : tuple
        One for each stage of the chain; None leaves it to the engine.
    rejected : tuple of Candidate
        What else was possible, the cheapest first.
    seconds : float
        The estimate.
    beside : int
        Bytes that are taken beside the blocks: by torch, by files whose samples are kept.
    kept : bool
        Whether the input's samples are among these, so that blocks are views of them.
    device : str
        ``cpu``, or another one that the engine knows.
    """

    engine: EngineName
    steps: tuple[int, ...]
    threads: int
    reason: str
    job: Workload
    algorithms: tuple[Algorithm | None, ...] = ()
    rejected: tuple[Candidate, ...] = ()
    seconds: float = 0.0
    device: str = "cpu"
    beside: int = 0
    kept: bool = False

    @property
    def blocks(self) -> int:
        return prod(-(-n // step) for n, step in zip(self.job.chain.output, self.steps, strict=True))

    @property
    def workers(self) -> int:
        """How many blocks are computed at a time."""
        return min(self.threads, self.blocks)

    @property
    def engine_threads(self) -> int:
        """The cores for each block: one where blocks share them, else all."""
        return 1 if self.workers > 1 else self.threads

    @cached_property
    def memory(self) -> int:
        """About how many bytes the blocks take at a time."""
        workers = self.workers
        read, work, made = self.job.bytes(self.steps, self.algorithms)
        beside = workers > 1  # others are read and written meanwhile
        reads, waiting = (workers + 1, workers + 3) if beside else (1, 2)
        return (
            min(reads, self.blocks) * read * (not self.kept)
            + workers * work
            + (min(waiting, self.blocks) - 1) * made
        )

    def cut(self, axis: int, step: int) -> Plan:
        """Return the plan with blocks of another size along an axis."""
        made = replace(self, steps=(*self.steps[:axis], step, *self.steps[axis + 1 :]))
        more = (made.blocks - self.blocks) * BLOCK * self.job.times
        return replace(made, seconds=self.seconds + more / self.threads)

    @property
    def kept_choice(self) -> dict[str, Any]:
        """What decides on the bits of the result, so that a job can go on elsewhere."""
        return {
            "engine": str(self.engine),
            "algorithms": [str(one) for one in self.algorithms],
            "steps": list(self.steps),
        }

    def again(self, choice: dict[str, Any]) -> Plan:
        """Return the plan with a `kept_choice`.

        Raises
        ------
        ConvError
            When there is no such algorithm here.
        """
        own = Candidate(self.engine, self.algorithms, self.seconds)
        for one in (own, *self.rejected):
            made = replace(self, engine=one.engine, algorithms=one.algorithms, steps=tuple(choice["steps"]))
            if made.kept_choice == choice and len(made.steps) == len(self.steps):
                return made
        wanted = f"{choice['engine']} {' + '.join(choice['algorithms'])}"
        raise ConvError(f"the job was begun with {wanted}, which is not possible here")

    def check_memory(self, available: int | None = None, how: str = "free") -> None:
        """Refuse a job that cannot fit.

        Parameters
        ----------
        available : int, optional
            Bytes; by default what the machine says.
        how : str
            What these are, for the message.

        Raises
        ------
        ConvError
            With what is needed and what there is.
        """
        needed = self.memory + self.beside
        there = available_memory() if available is None and needed > UNASKED else available
        if there is not None and needed > there:
            raise ConvError(
                f"{self._blocks} need about {needed / 1e9:.1f} GB and {there / 1e9:.1f} GB are {how}: "
                "use fewer --threads, a smaller kernel, or a format that streams (.tiff, .npy)"
            )

    @property
    def lines(self) -> tuple[str, ...]:
        """The plan in words: the choice, then one line for each way that was rejected."""
        chosen = Candidate(self.engine, self.algorithms, self.seconds)
        return (
            f"{chosen}; {self.reason}",
            f"{self._blocks}, {self.threads} thread{'s' * (self.threads > 1)}",
            *(f"rejected: {candidate}" for candidate in self.rejected),
        )

    @property
    def _blocks(self) -> str:
        return f"blocks of {'x'.join(map(str, self.steps))}"


def choose(
    chain: Chain,
    stream: int,
    resources: Resources,
    *,
    dtype: str = "float32",
    source: str = "float32",
    result: str = "float32",
    torch_loaded: bool | None = None,
    cuts: Sequence[int] = (),
    times: float = 1.0,
    in_memory: bool = False,
) -> Plan:
    """Choose engine, algorithms and block length for a chain.

    Parameters
    ----------
    stream : int
        The space axis along which blocks are cut.
    resources : Resources
        What was asked for; only torch knows other devices than ``cpu``.
    dtype : str
        Of the arithmetic.
    source : str
        What the first stage gets: the input's type, or that of the arithmetic.
    result : str
        What the last stage's results become: the output's type.
    torch_loaded : bool, optional
        Whether torch's import is paid for; by default what is true.
    cuts : sequence of int
        Where blocks may be cut along all axes: of how many samples they are multiples along each.
    times : float
        How often this is done: for each of several items, say.
    in_memory : bool
        Whether data and results are arrays, so that no file waits for a block.
    """
    loaded = "torch" in sys.modules if torch_loaded is None else torch_loaded
    if resources.threads is None:
        resources = replace(resources, threads=available_threads())
    plan = _choose(Workload(chain, source, dtype, result, times), stream, resources, loaded, in_memory)
    return _bricks(plan, stream, cuts, resources.memory) if cuts else plan


def _bricks(plan: Plan, stream: int, cuts: Sequence[int], memory: int | None) -> Plan:
    """Let strips consist of whole pieces; cut those that take too much memory along other axes too.

    Slow axes come first; a block is at least so many halos long.  Pieces too large for that are read more than once.
    """
    most = memory - plan.beside if memory else min(MOST_MEMORY, (available_memory() or MOST_MEMORY) // 2)
    chain, strips = plan.job.chain, plan
    while memory and plan.memory > most and plan.steps[stream] > cuts[stream]:
        plan = plan.cut(stream, -(-plan.steps[stream] // 2))
    whole = ceil(plan.steps[stream] / cuts[stream]) * cuts[stream]
    plan = plan.cut(stream, min(whole, chain.output[stream]))
    for axis, (n, unit) in enumerate(zip(chain.output, cuts, strict=True)):
        least, parts = max(HALOS * workload.halo(chain, axis), 1), 1
        while axis != stream and plan.memory > most and plan.steps[axis] > ceil(least / unit) * unit:
            parts += 1 + parts // 8  # a result that no machine holds has too many to count one by one
            plan = plan.cut(axis, min(ceil(max(n / parts, least) / unit) * unit, n))
    if plan.memory > most and plan.steps != strips.steps and cuts[stream] > 1 and not memory:
        return _bricks(strips, stream, [*cuts[:stream], 1, *cuts[stream + 1 :]], memory)
    return plan


@lru_cache(maxsize=64)  # pictures of one size are often filtered alike
def _choose(job: Workload, stream: int, asked: Resources, loaded: bool, in_memory: bool) -> Plan:
    chain, engine, device, threads = job.chain, asked.engine, asked.device, asked.threads or 1
    possible = [
        candidate
        for name in (EngineName.NUMPY, EngineName.TORCH)
        for candidate in _candidates(job, stream, name, asked, loaded)
    ]
    if engine is not EngineName.AUTO:
        reason = f"{engine} was asked for"
    elif device != "cpu":
        engine, reason = EngineName.TORCH, f"only torch runs on {device}"
    else:
        reason = "the fastest here"
    allowed = [one for one in possible if engine in (one.engine, EngineName.AUTO)]
    best = min(allowed, key=lambda candidate: candidate.seconds)
    if engine is EngineName.AUTO and device == "cpu" and best.engine is EngineName.NUMPY and not loaded:
        reason += f"; torch would add {_start(EngineName.TORCH, loaded):.1g} s to load"
    rejected = sorted((c for c in possible if c is not best), key=lambda candidate: candidate.seconds)
    if (best.seconds - _start(best.engine, loaded)) * threads < WORTH_THREADS:
        threads = 1
    plan = Plan(
        best.engine,
        chain.output,
        threads,
        reason,
        job,
        best.algorithms,
        tuple(rejected),
        best.seconds,
        device,
        TORCH if best.engine is EngineName.TORCH and not loaded else 0,
    )
    rows = BLOCK_IN_MEMORY if in_memory else BLOCK_OF_ROWS
    most = rows if best.fused else BLOCK_ELEMENTS[best.engine]
    return plan.cut(stream, _block_length(chain, stream, threads, best, most))


def _candidates(
    job: Workload, stream: int, engine: EngineName, asked: Resources, loaded: bool
) -> list[Candidate]:
    """Return an engine's ways: the best one for every stage, and with one stage, all others too."""
    start, works = _start(engine, loaded), job.works
    reproducible = asked.engine is engine is EngineName.NUMPY
    compiled = engine is EngineName.NUMPY and library.loops() is not None

    def candidate(chosen: Sequence[Algorithm | None]) -> Candidate:
        seconds, fused = job.seconds(chosen, compiled)
        pairs = [(one, work) for one, work in zip(chosen, works, strict=True) if one and work]
        tiles = [one.tile(work, stream) for one, work in pairs if stream < len(work.sizes)]
        seconds = (seconds + BLOCK) * job.times / (asked.threads or 1)
        return Candidate(engine, tuple(chosen), start + seconds, fused, max(tiles, default=1))

    if len(works) == 1 and works[0]:
        return [candidate([one]) for one in ways(engine, works[0], reproducible)]
    return [candidate([ways(engine, work, reproducible)[0] if work else None for work in works])]


def _start(engine: EngineName, loaded: bool) -> float:
    """Return the seconds until an engine is there."""
    if engine is EngineName.NUMPY:
        return 0.0
    return BEGIN_TORCH if loaded else IMPORT_TORCH


def _block_length(chain: Chain, stream: int, threads: int, best: Candidate, most: int) -> int:
    """Return how many samples of the output's stream axis make a block of at most so many elements.

    With tiles these are whole rows of them.  There are as many blocks for one thread as for the other.
    """
    slices, length = max(workload.slice_elements(chain, stream), 1), chain.output[stream]
    # A second turn evens out the threads, and takes half a millisecond.
    least = 1 if best.fused else 2
    turns = max(ceil(slices * length / (threads * most)), least)
    elements = max(slices * length // (turns * threads), LEAST_BLOCK)
    step = max(elements // slices, HALOS * workload.halo(chain, stream), 1)
    if best.tile > 1:
        return min(max(step // best.tile, 1) * best.tile, length)
    unit = WHOLE_ROWS if step >= 2 * WHOLE_ROWS else 1
    return min(ceil(step / unit) * unit, length)  # no short block more than there are turns
