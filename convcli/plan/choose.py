"""Which engine does a job, by which algorithms, in blocks of what size: decided from sizes alone, and able to say why.

What each algorithm costs stands in `convcli.engines.costs`; nothing is tried out here.  `Work` and `Load` say what a
chain has to do, in numbers.
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
from convcli.engines.costs import NANOSECONDS
from convcli.engines.interface import Algorithm
from convcli.engines.native import library
from convcli.engines.work import Work
from convcli.jobs.chain import Chain, ConvStage, PoolStage
from convcli.kernel.analysis import separable_terms, wholes

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

PASSES = 8  # over a block beside the algorithms: to floats, round, look for what clips, to pixels
INTEGERS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}


@frozen
class Workload:
    """What a plan is for: a chain, the types of samples, arithmetic and results, and how often it is done."""

    chain: Chain
    source: str
    dtype: str
    result: str
    times: float = 1.0

    @cached_property
    def works(self) -> list[Work | None]:
        """The stages in numbers."""
        return _works(self.chain, self.dtype, self.source)

    @property
    def straight(self) -> bool:
        """Whether loops go from samples to pixels."""
        alone = len(self.chain.stages) == 1 and self.taken
        return alone and ("int" in self.source or "float" in self.result)

    @property
    def taken(self) -> bool:
        """Whether loops take the samples as they are, so that nobody converts and pads them."""
        return self.source in (*INTEGERS, "float32", "float64")

    def seconds(self, chosen: Sequence[Algorithm | None], compiled: bool) -> tuple[float, bool]:
        """Return what one block of everything takes on one core, and whether compiled loops go through it.

        ``compiled`` says whether there are such loops for stages without an algorithm of their own.
        """
        pairs = [(one, work) for one, work in zip(chosen, self.works, strict=True) if one and work]
        fused = any(one.fused(work) for one, work in pairs)
        fused |= compiled and all(isinstance(stage, PoolStage) for stage in self.chain.stages)
        alone = sum(
            other_seconds(self.chain, i, compiled) for i, work in enumerate(self.works) if work is None
        )
        wide = 2 if self.dtype == "float64" else 1
        passes = 0 if fused and self.straight else PASSES * NANOSECONDS["pass"] * wide
        written = NANOSECONDS["new"] * bytes_of(self.result)
        each = elements(self.chain) * (passes + written) * 1e-9
        if not (fused and self.taken):
            given = prod(self.chain.sizes[0]) * self.chain.channels
            each += given * NANOSECONDS["new"] * bytes_of(self.dtype) * 1e-9
        return sum(one.cost(work) for one, work in pairs) * 1e-9 + alone + each, fused

    def bytes(self, steps: Sequence[int], ways: Sequence[Algorithm | None]) -> tuple[int, int, int]:
        """Return what a box of outputs takes: of its samples, of arrays while it is computed at most, of its pixels.

        A stage holds what it is given, the same with its padding in the arithmetic's type where its algorithm does not
        take it as it is, what its algorithm needs, and what it makes.
        """
        chain, width, pixel = self.chain, bytes_of(self.dtype), bytes_of(self.result)
        maps, channels, planes = 1, chain.channels, [chain.channels]
        ways = ways or (None,) * len(chain.stages)
        for stage in chain.stages:
            maps, channels = stage.channels(maps, channels)
            planes.append(maps * channels)
        made = read = prod(steps) * planes[-1] * pixel
        rendered = made if self.result != self.dtype else 0
        most, sizes = rendered, tuple(steps)
        for index in reversed(range(len(chain.stages))):
            stage, work, way = chain.stages[index], self.works[index], ways[index]
            spans = [w.input_range(0, n) for w, n in zip(stage.windows, sizes, strict=True)]
            padded = prod(hi - lo for lo, hi in spans) * planes[index] * width
            given = tuple(min(hi - lo, n) for (lo, hi), n in zip(spans, chain.sizes[index], strict=True))
            read = prod(given) * planes[index] * (width if index else bytes_of(self.source))
            sums = prod(sizes) * planes[index + 1] * width
            if isinstance(stage, ConvStage):
                sums *= stage.kernel.outputs // stage.kernel.maps
            if way is None or work is None:
                beside = padded * (2 if isinstance(stage, ConvStage) else stage.kind.scratch)
                if isinstance(stage, ConvStage):  # all of it, before it is cropped
                    full = (
                        (hi - lo - 1) * w.stride + w.extent
                        for (lo, hi), w in zip(spans, stage.windows, strict=True)
                    )
                    beside += prod(full) * planes[index + 1] * width
            else:
                beside = way.scratch(replace(work, sizes=sizes[-len(work.sizes) :]))
                beside += 0 if way.fused(work) and (index or self.taken) else padded
                if way.fused(work) and self.straight and (rendered == 0 or "int" in self.result):
                    sums, rendered = made, 0  # from samples to pixels
            most = max(most, (read if index else 0) + beside + sums + rendered)
            sizes, rendered = given, 0
        return read, most, made


def _works(chain: Chain, dtype: str, source: str) -> list[Work | None]:
    """Describe each stage's correlation; None for pools and transposed convolutions."""
    found: list[Work | None] = []
    maps, channels = 1, chain.channels
    for stage, sizes in zip(chain.stages, chain.sizes[1:], strict=True):
        if isinstance(stage, PoolStage) or stage.transposed:
            found.append(None)
        else:
            items = 1 if stage.summed else maps * channels
            found.append(_work(stage, sizes, items, dtype, source))
        source = dtype
        maps, channels = stage.channels(maps, channels)
    return found


def _work(stage: ConvStage, sizes: tuple[int, ...], items: int, dtype: str, source: str) -> Work:
    kernel = stage.kernel
    windows, kept = stage.windows, list(range(len(stage.windows)))
    if len(kept) > 3:  # walked along, one by one
        idle = next(axis for axis in kept if axis not in stage.axes)
        kept.remove(idle)
        items *= sizes[idle]
    total, short = _integers(stage, source, dtype)
    terms = None
    if kernel.outputs == kernel.inputs == 1:
        shape = tuple(windows[axis].kernel for axis in kept)
        terms = separable_terms(stage.weights(dtype).reshape(shape))
    return Work(
        sizes=tuple(sizes[axis] for axis in kept),
        kernel=tuple(windows[axis].kernel for axis in kept),
        stride=tuple(windows[axis].stride for axis in kept),
        dilation=tuple(windows[axis].dilation for axis in kept),
        inputs=kernel.inputs,
        outputs=kernel.outputs,
        items=items,
        products=len(terms or ()),
        whole=total,
        short=short and dtype == "float32",
        bytes=source in ("uint8", "int8") and dtype == "float32",
        box=kernel.outputs == kernel.inputs == 1 and min(kernel.weights) == max(kernel.weights),
        dtype=dtype,
    )


def _integers(stage: ConvStage, source: str, dtype: str) -> tuple[int, bool]:
    """Return the largest sum of absolute integers of a kernel, and whether sums of samples with them fit 16 bits.

    0 where sums are not exact: float32 counts to 2**24.
    """
    limits = INTEGERS.get(source)
    outside = stage.mode.fill(stage.value)
    if limits is None or stage.kernel.inputs > 1 or not stage.stays_in_range:
        return 0, False
    if not limits[0] <= outside <= limits[1] or outside != int(outside):
        return 0, False
    if (found := wholes(stage.weights(dtype)[:, 0])) is None:
        return 0, False
    short = limits[1] < 256 and all(one.fits_16_bits(limits[0] == 0) for one in found)
    return max(one.total for one in found), short


def bytes_of(dtype: str) -> int:
    """Return the size of a type by its name.

    >>> bytes_of("uint16"), bytes_of("bool")
    (2, 1)
    """
    return int("".join(filter(str.isdigit, dtype)) or 8) // 8


def elements(chain: Chain) -> int:
    """Return the values of the output."""
    maps, channels = chain.outputs
    return prod(chain.output) * maps * channels


def other_seconds(chain: Chain, index: int, compiled: bool) -> float:
    """Estimate pooling, or a transposed convolution by shift-and-add."""
    stage = chain.stages[index]
    if isinstance(stage, PoolStage):
        each = stage.kind.passes(stage.windows, compiled) * NANOSECONDS["pass"]
        return prod(chain.sizes[index]) * chain.channels * each * 1e-9
    return prod(chain.sizes[index]) * len(stage.kernel.weights) * NANOSECONDS["numpy tap"] * 1e-9


def slice_elements(chain: Chain, stream: int) -> int:
    """Return the values in one sample of the stream axis, where the chain is widest; a bank has all of its outputs."""
    samples = [prod(sizes) // max(sizes[stream], 1) for sizes in chain.sizes]
    maps, channels = 1, chain.channels
    widest = samples[0] * channels
    for stage, after in zip(chain.stages, samples[1:], strict=True):
        planes = 1 if isinstance(stage, ConvStage) and stage.summed else maps * channels
        outputs = stage.kernel.outputs if isinstance(stage, ConvStage) else 1
        maps, channels = stage.channels(maps, channels)
        widest = max(widest, after * planes * outputs)
    return widest


def halo(chain: Chain, stream: int) -> int:
    """Return the samples of the stream axis that a block needs beside its own, at the output's step."""
    lo, hi = chain.field(stream).of(0)
    return -(-(hi - lo) // max(int(chain.field(stream).jump), 1))


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
        reads, waiting = (workers + 1, workers + 3) if beside else (1, 3)  # zarr holds what it was given last
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
        least, parts = max(HALOS * halo(chain, axis), 1), 1
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
    slices, length = max(slice_elements(chain, stream), 1), chain.output[stream]
    # A second turn evens out the threads, and takes half a millisecond.
    least = 1 if best.fused else 2
    turns = max(ceil(slices * length / (threads * most)), least)
    elements = max(slices * length // (turns * threads), LEAST_BLOCK)
    step = max(elements // slices, HALOS * halo(chain, stream), 1)
    if best.tile > 1:
        return min(max(step // best.tile, 1) * best.tile, length)
    unit = WHOLE_ROWS if step >= 2 * WHOLE_ROWS else 1
    return min(ceil(step / unit) * unit, length)  # no short block more than there are turns
