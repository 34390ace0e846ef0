"""The one way from a job to its results: plan, engine, blocks, and an array or sinks at the end.

Everything that computes what ``filter`` computes goes through here: the shell, Python, ``motion``, ``explain``,
``matrix --verify`` and ``learn``.  No files and no words for people: sources and sinks come in, tallies go out.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from copy import copy
from dataclasses import replace
from functools import cached_property
from math import inf, prod
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from convcli.common import Channels, ConvError, EngineName, counted
from convcli.common.budget import check_memory
from convcli.common.machine import own_memory
from convcli.data.box import Box, grid, whole
from convcli.data.info import BOXES, ITEMS, ArraySource, Grain, Info, PlanarSink, PlanarSource, Sink, Source
from convcli.engines import get_engine
from convcli.engines.base import Engine
from convcli.engines.native.rows import RUNS, Recipe, Run
from convcli.engines.tiles import address_of, apart
from convcli.execution.box import Runner, execute, inputs_of
from convcli.execution.items import items, place_of, with_items
from convcli.jobs.chain import Chain
from convcli.jobs.job import Job
from convcli.pixels.ranges import Float
from convcli.pixels.render import Tally
from convcli.plan.choose import Plan, Resources, choose

if TYPE_CHECKING:
    from convcli.execution.planes import Route

CODER = 16_000_000  # bytes of a clip's encoder and of what converts colours
AHEAD, AHEAD_BYTES = 48, 5  # frames that x264 looks ahead, bytes of a pixel in each (measured)

POOR = 1.5  # times that the input is read, from which on other chunks are proposed
BETTER = 1.25  # times less often that these must be read
SIDES = [1 << power for power in range(10, 3, -1)]  # of chunks that may be proposed, and their least samples
LEAST_CHUNK = 1 << 14
TURNS = 4  # boxes for each process, so that all end at about the same time

Progress = Callable[[int, int], None]
"""Called with the samples done along the stream axis, and their total."""

T = TypeVar("T")


def ahead(items: Iterator[T], most: int = 2) -> Generator[T, None, None]:
    """Yield the same items, the next ``most`` of them made by a thread while the caller is busy with one.

    An exception arrives where its item would have; when the caller leaves early, a generator is closed.

    >>> list(ahead(n * n for n in range(4)))
    [0, 1, 4, 9]
    """

    def following() -> list[T]:
        return [item] if (item := next(items, _END)) is not _END else []  # type: ignore[list-item]

    thread = ThreadPoolExecutor(1)
    try:
        pending: deque[Future[list[T]]] = deque(thread.submit(following) for _ in range(most))
        while item := pending.popleft().result():
            pending.append(thread.submit(following))
            yield item[0]
    finally:
        thread.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            with suppress(ValueError):  # interrupted as the thread began: it is not known, and works on
                items.close()


_END = object()


def _silent(done: int, total: int) -> None:
    pass


class Pipeline:
    """A job, planned for its source.

    Parameters
    ----------
    job : Job
    source : Source
    resources : Resources
    step : int, optional
        Samples of the output's stream axis in one block; by default the plan's choice.
    planes : bool
        Whether the output takes a clip's coded planes, so that they may be filtered instead of its colours.
    grain : Grain
        Which boxes the output takes; an array takes any.
    apart : int
        How many processes write boxes of the output: all boxes are whole pieces of it, and there are some for each.
    arrays : bool
        Whether data and result are arrays of the caller: longer blocks cost no memory of ours.

    Attributes
    ----------
    plan : Plan
    route : Route or None
        Whether a clip is filtered in its colours or on its planes, where that was a question.
    """

    def __init__(
        self,
        job: Job,
        source: Source,
        resources: Resources = Resources(),  # noqa: B008
        *,
        step: int | None = None,
        planes: bool = False,
        grain: Grain = BOXES,
        apart: int = 0,
        arrays: bool = False,
    ) -> None:
        self.job, self.source, self.apart, self._resources, self._grain = job, source, apart, resources, grain
        self._recipes: list[Recipe] = []  # at most one, shared by copies for other data
        self.route: Route | None = None
        chain, first = job.chain, job.source_dtype
        if planes and isinstance(source, PlanarSource):
            from convcli.execution.planes import route

            self.route = route(job, source.coded)
            if self.route.chains:
                chain, first = self.route.chains[0] or chain, source.coded.dtype
        self.plan: Plan = choose(
            chain,
            job.stream,
            resources,
            dtype=job.compute,
            source=first,
            result=job.dtype,
            cuts=self._cuts(grain) if step is None else (),
            times=self._passes,
            in_memory=arrays or (source.grain.any_order and apart > 0),
        )
        if step is not None:
            self.plan = self.plan.cut(job.stream, step)
        if apart:
            pieces = grain.steps(job.result)
            fair = -(-job.length // (TURNS * apart))
            self.plan = self.plan.cut(job.stream, min(fair, self.plan.steps[job.stream]))
            steps = zip(job.letters, self.plan.steps, job.chain.output, strict=True)
            whole = [min(-(-step // pieces[letter]) * pieces[letter], n) for letter, step, n in steps]
            self.plan = replace(self.plan, steps=tuple(whole))
        own, info = source.grain, source.info
        arriving = info.bytes if own.kept and not own.any_order else 0
        kept = self.result.bytes if grain.kept else 0
        frame = info.size("Y") * info.size("X") * AHEAD_BYTES if planes else 0
        coded = CODER + min(job.length, AHEAD) * frame if planes else 0
        box = self.plan.job.bytes(self.plan.steps, self.plan.algorithms)[0] if own.beside else 0
        beside = self.plan.beside + arriving + kept + coded + own.beside + box + grain.beside
        self.plan = replace(self.plan, kept=own.kept, beside=beside)

    def of(self, source: Source) -> "Pipeline":
        """Return the same for another source of the same form."""
        one = copy(self)
        one.source, one.runner = source, self.runner.of(source)
        return one

    @property
    def _passes(self) -> float:
        """How often the plan's work is done: for each item, twice where values are measured first, for each plane."""
        passes = 1.0 if self.job.policy.first_pass() is None else 2.0
        passes *= self.source.info.size(ITEMS) if ITEMS in self.source.info.letters else 1
        if self.route is None or not self.route.chains:
            return passes
        planes = cast(PlanarSource, self.source).coded.planes
        filtered = (plane for plane, chain in zip(planes, self.route.chains, strict=True) if chain)
        return passes * sum(prod(plane.shape) for plane in filtered) / prod(planes[0].shape)

    def _cuts(self, grain: Grain) -> list[int]:
        """Return of how many samples boxes are multiples along each axis; nothing where only strips can be cut."""
        if not (grain.any_order and self.source.grain.any_order):
            return []
        pieces = self.source.grain.steps(self.source.info)
        written = grain.steps(self.job.result)
        jumps = [int(self.job.chain.field(axis).jump) for axis in range(len(self.job.letters))]
        return [
            -(-pieces[letter] // (max(jump, 1) * written[letter])) * written[letter]
            for letter, jump in zip(self.job.letters, jumps, strict=True)
        ]

    @cached_property
    def result(self) -> Info:
        """The form of the output: of one job, or of all items of the axis N."""
        return with_items(self.job.result, self.source.info)

    @property
    def memory(self) -> int:
        """About how many bytes the process takes at most."""
        now, most = own_memory()
        return max(most, now + self.plan.beside + self.plan.memory)

    @property
    def planar(self) -> bool:
        """Whether a clip's planes are filtered instead of its colours."""
        return self.route is not None and bool(self.route.chains)

    @property
    def lines(self) -> tuple[str, ...]:
        """What was chosen, and why."""
        blocks = (
            f"about {self.memory / 1e6:.0f} MB of memory, {self.plan.memory / 1e6:.0f} MB of them for blocks"
        )
        return (*self.plan.lines, blocks, *self._spread(), *((self.route.reason,) if self.route else ()))

    @property
    def read_over(self) -> float:
        """How often the input's samples are read: halos, and the rest of the pieces that they lie in, count too."""
        chain, steps, pieces = self.job.chain, self.plan.steps, self.source.grain.steps(self.source.info)
        times = 1.0
        for axis, (letter, size) in enumerate(zip(self.job.letters, chain.sizes[0], strict=True)):
            piece, read, first, last = pieces[letter], 0, size, 0
            for start in range(0, chain.output[axis], steps[axis]):
                box = list(whole(chain.output))
                box[axis] = (start, min(start + steps[axis], chain.output[axis]))
                lo, hi = inputs_of(chain, tuple(box))[axis]
                read += min(-(-hi // piece) * piece, size) - lo // piece * piece
                first, last = min(first, lo), max(last, hi)
            times *= read / max(last - first, 1)
        return times

    def _spread(self) -> Iterator[str]:
        """Yield what several boxes cost beside one of everything, where the files take any."""
        if self.plan.blocks == 1 or not (self.source.grain.any_order and not self.source.grain.kept):
            return
        crew, times = max(self.apart, 1), self.read_over
        beside = f" on {counted(crew, 'worker')}" * (self.apart > 0)
        megabytes = crew * (self.plan.memory + self.plan.beside) / 1e6
        seconds = self.plan.seconds / crew
        yield (
            f"{self.plan.blocks} boxes{beside}: each sample is read {times:.2f} times, about {megabytes:.0f} MB for "
            f"boxes, about {seconds:.2g} s of computing"
        )
        now = tuple(self.source.grain.steps(self.source.info).values())
        if times > POOR and max(now) > 1:
            least, piece = min((self._with_chunks(side) for side in SIDES), key=lambda one: one[0])
            if least <= times / BETTER:
                better, was = ("x".join(map(str, one)) for one in (piece, now))
                yield f"chunks of {better} instead of {was} would be read {least:.2f} times"

    def _with_chunks(self, side: int) -> tuple[float, tuple[int, ...]]:
        """Return how often samples would be read if input and output had cubes as chunks, and these chunks.

        Chunks with which there are too few boxes, or boxes that take much more memory, count as read infinitely often.
        """
        info = self.source.info
        piece = tuple(min(side, info.size(letter)) for letter in info.box_letters)
        source = cast(Source, SimpleNamespace(info=info, grain=replace(self.source.grain, piece=piece)))
        chunked = self._grain.piece == self.source.grain.piece
        grain = replace(self._grain, piece=piece) if chunked else self._grain
        other = Pipeline(self.job, source, self._resources, grain=grain, apart=self.apart)
        poor = prod(piece) < LEAST_CHUNK or other.plan.blocks < 2 * max(self.apart, 1)
        poor |= other.plan.memory > 2 * self.plan.memory
        return (inf if poor else other.read_over), piece

    @property
    def gave_way(self) -> tuple[str, ...]:
        """Where an algorithm gave way to another, in words; known when the work is done."""
        return tuple(
            f"{first} would have blurred large values into the rest: {other} computed {count} values instead"
            for (first, other), count in self.engine.gave_way.items()
        )

    @cached_property
    def engine(self) -> Engine:
        """The engine, loaded when it is first asked for."""
        plan = self.plan
        return get_engine(plan.engine.value, plan.device, plan.engine_threads)

    @cached_property
    def runner(self) -> Runner:
        """What computes boxes of the output, in any order."""
        return Runner(self.job, self.source, self.engine, self.plan.algorithms)

    @property
    def boxes(self) -> list[Box]:
        """The boxes of the output, in the order in which they are computed and written."""
        return list(grid(self.job.chain.output, self.plan.steps))

    def blocks(
        self, tally: Tally, progress: Progress = _silent, into: np.ndarray | None = None
    ) -> Iterator[tuple[Box, np.ndarray]]:
        """Yield the output box by box, in order; items one by one.

        Parameters
        ----------
        tally : Tally
            Counts what was clipped; colours only, never alpha.
        into : ndarray, optional
            Of the form of ``result``; boxes are written to where they belong in it.

        Yields
        ------
        Box, ndarray
            A span for each of ``result.box_letters``, and its values, axes and type as ``result`` says.
        """
        if ITEMS in self.source.info.letters:
            yield from self._items(tally, progress, into)
            return
        job, boxes = self.job, self.boxes
        order = [job.letters.index(letter) for letter in job.result.box_letters]
        made = execute(self.runner, boxes, tally, self.plan.workers, into)
        for done, (box, block) in enumerate(zip(boxes, made, strict=True), 1):
            yield tuple(box[axis] for axis in order), block
            progress(job.length * done // len(boxes), job.length)

    def _items(
        self, tally: Tally, progress: Progress, into: np.ndarray | None
    ) -> Iterator[tuple[Box, np.ndarray]]:
        """Compute the job for each item."""
        place, at = place_of(self.job.result, self.source.info), self.result.box_letters.index(ITEMS)
        for index, item in enumerate(items(self.source)):
            one = self.of(item)
            own = None if into is None else np.moveaxis(into, place, 0)[index]
            for box, block in one.blocks(tally, into=own):
                yield (*box[:at], (index, index + 1), *box[at:]), np.expand_dims(block, place)
            progress(index + 1, self.result.size(ITEMS))

    def array(self, tally: Tally | None = None, data: np.ndarray | None = None) -> np.ndarray:
        """Return the whole output; ``tally`` counts as for `blocks`, ``data`` is all that the source has.

        Raises
        ------
        ConvError
            When its blocks do not fit into memory.
        """
        self.plan.check_memory()
        check_memory("the result", prod(self.result.shape) * np.dtype(self.result.dtype).itemsize)
        runs: list[Run] = []
        noted = RUNS.set(runs)
        try:
            address = 0 if data is None else address_of(data)
            result = apart(self.result.shape, np.dtype(self.result.dtype), address)
            for _ in self.blocks(tally or Tally(), into=result):
                pass
        except MemoryError:
            raise ConvError("not enough memory for this job") from None
        finally:
            RUNS.reset(noted)
        if data is not None and len(runs) == self.plan.blocks and self.runner.is_plain:
            recipe = Recipe.of(runs, data, result, max(self.plan.workers, self.plan.engine_threads))
            self._recipes[:] = self._recipes if recipe is None else [recipe]
        return result

    def again(self, data: np.ndarray) -> np.ndarray | None:
        """Return what `array` returns for other data of the same form, where it has noted how; else None."""
        return self._recipes[0].again(data) if self._recipes else None

    def write(self, sinks: Sequence[Sink], progress: Progress = _silent, form: Info | None = None) -> Tally:
        """Compute everything, write it and close the sinks; return what was clipped.

        Parameters
        ----------
        sinks : sequence of Sink
            One, or one for each map; strips come in order, other boxes only where their grain allows it.
        form : Info, optional
            The axes of ``result`` under other letters: ``M`` where each channel is a map.
        """
        tally = Tally()
        if self.planar:
            self._write_planes(cast(PlanarSink, sinks[0]), tally, progress)
        else:
            self._write_blocks(sinks, form or self.result, self.blocks(tally, progress))
        for sink in sinks:
            sink.close()
        return tally

    def _write_blocks(
        self, sinks: Sequence[Sink], result: Info, blocks: Iterator[tuple[Box, np.ndarray]]
    ) -> None:
        """Write each block to sinks that take the whole result or one map, while workers compute the next ones."""
        written = sinks[0].info
        order = [result.box_letters.index(letter) for letter in written.box_letters]
        with closing(ahead(blocks)) if self.plan.workers > 1 else nullcontext(blocks) as made:
            for box, block in made:
                for sink, part in zip(sinks, parts_of(block, result, written), strict=True):
                    sink.write(tuple(box[axis] for axis in order), part)

    def _write_planes(self, sink: PlanarSink, tally: Tally, progress: Progress) -> None:
        from convcli.execution import planes

        assert self.route is not None
        source = cast(PlanarSource, self.source)
        pictures = planes.execute(
            self.job, self.route.chains, source, self.engine, self.plan, tally, progress
        )
        with closing(ahead(pictures)) as made:
            for frames in made:
                sink.write_planes(frames)


def parts_of(block: np.ndarray, result: Info, written: Info) -> list[np.ndarray]:
    """Turn a block of the result into one for each output file."""
    maps, axes = [block], result.letters
    if "M" in axes and "M" not in written.letters:
        maps = list(np.moveaxis(block, axes.index("M"), 0))
        axes = axes.replace("M", "")
    order = [axes.index(letter) for letter in written.letters]
    return [part.transpose(order) for part in maps]


def plain_job(chain: Chain, array: np.ndarray, dtype: str, **missing: Any) -> Job:
    """Return the job of a chain on an array (channels, *space); results are floats of the type.

    Parameters
    ----------
    array : ndarray
        (channels, *space), the space axes in the chain's order.
    dtype : str
        Of the arithmetic and the result.
    **missing
        What missing samples do: fields of `Job`.
    """
    axes = chain.letters if chain.channels == 1 else "C" + chain.letters
    shape = array.shape[chain.channels == 1 :]
    return Job(Info.of(axes, shape, array.dtype.name), chain, Channels.EACH, Float(), dtype, dtype, **missing)


def by_definition(job: Job, array: np.ndarray) -> np.ndarray:
    """Return what a `plain_job` computes by the definition, direct sums in numpy: (maps, channels, *space)."""
    source = ArraySource(array.reshape(job.info.shape), job.info)
    pipeline = Pipeline(job, source, Resources(EngineName.NUMPY))
    pipeline.plan = replace(pipeline.plan, algorithms=())
    return pipeline.array().reshape(*job.chain.outputs, *job.chain.output)


def reference(chain: Chain, array: np.ndarray, dtype: str) -> np.ndarray:
    """Return what ``filter`` computes of an array (channels, *space) by the definition: (maps, channels, *space)."""
    return by_definition(plain_job(chain, array, dtype), array)
