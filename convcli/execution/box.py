"""Boxes of a job's output: which inputs one needs, read, pad, compute, what alpha and luma add, its pixels; and all.

Files are not known here, only :class:`convcli.data.info.Source`.  Boxes have a span for
each axis of space, in the order of the chain.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from convcli.common import Channels, ConvError, Missing
from convcli.data import ArraySource, Box, Source, Span, channels_first, slices, whole
from convcli.engines import get_engine
from convcli.engines.base import Engine
from convcli.engines.interface import Algorithm
from convcli.execution import stages
from convcli.geometry.padding import PadMode
from convcli.geometry.windows import AdaptiveWindow, TransposedWindow, Window
from convcli.jobs.chain import Chain, ConvStage, PoolStage
from convcli.jobs.job import Job, positions
from convcli.pixels import channels as colours
from convcli.pixels.channels import Alpha
from convcli.pixels.colours import table
from convcli.pixels.measures import Measured, Pass, measure
from convcli.pixels.render import Rendering, Tally
from convcli.plan.choose import Plan

if TYPE_CHECKING:
    from concurrent.futures import Future


BITS = np.finfo(np.longdouble).nmant + 1  # of integers that the widest floats hold; 53 on some machines

Read = Callable[[Box], np.ndarray]
"""Returns a box (…, channels, *space) of the input, or of a stage's output."""


def needed_by(
    windows: Sequence[Window | TransposedWindow | AdaptiveWindow],
    mode: PadMode,
    sizes: Sequence[int],
    box: Box,
) -> Box:
    """Return the inputs, out of ``sizes``, from which a box of outputs can be padded and computed alone."""
    return tuple(
        mode.support(*window.input_range(*span), n)
        for window, span, n in zip(windows, box, sizes, strict=True)
    )


def inputs_of(chain: Chain, box: Box) -> Box:
    """Return which of a chain's inputs a box of its outputs is computed from."""
    for stage, sizes in zip(reversed(chain.stages), reversed(chain.sizes[:-1]), strict=True):
        box = needed_by(stage.windows, stage.mode, sizes, box)
    return box


class Runner:
    """Computes boxes of one job's output with one engine."""

    def __init__(
        self, job: Job, source: Source, engine: Engine, algorithms: Sequence[Algorithm | None] = ()
    ) -> None:
        self.job = job
        self.engine = engine
        self._algorithms = algorithms or (None,) * len(job.chain.stages)
        self.dtype = np.dtype(job.compute)
        self._source = source
        premultiplied = job.split.alpha is Alpha.PREMULTIPLIED
        self._coverage_chain = job.chain.coverage(job.full_scale) if premultiplied else None

    def of(self, source: Source) -> "Runner":
        """Return the same for another source of the same form."""
        one = copy(self)
        one._source = source
        one.__dict__.pop("_wider", None)
        return one

    def reader(self, box: Box) -> Read:
        """Read all that a box of outputs needs; what is returned gives parts of it without reading."""
        needed = self.needed(box)
        block = given = channels_first(self._source, self.job.letters, needed)
        if self.job.areas.regions and (unmasked := getattr(self._source, "unmasked", None)) is not None:
            all_of_it = whole(block.shape[1:])
            given = channels_first(ArraySource(unmasked, self._source.info), self.job.letters, all_of_it)
        if self._coverage_chain is not None and block.dtype.kind == "f" and self.job.missing.skips:
            block = np.where(np.isnan(block).any(axis=0), np.nan, block)  # colours and coverage, both or none
        first = [start for start, _ in needed]

        def read(part: Box) -> np.ndarray:
            return block[(slice(None), *slices(part, first))]

        read.given = lambda part: given[(slice(None), *slices(part, first))]  # type: ignore[attr-defined]
        return read

    def needed(self, box: Box) -> Box:
        """Return which of the input's samples a box of outputs needs."""
        outputs, box = box, inputs_of(self.job.chain, box)
        sampled = self._under_origins(outputs) if self._samples else None
        for more in (sampled, outputs if self.job.areas.regions else None):
            if more is not None:
                box = tuple(
                    (min(a, start), max(b, stop)) for (a, b), (start, stop) in zip(box, more, strict=True)
                )
        return box

    @cached_property
    def _samples(self) -> bool:
        """Whether some channels pass through, taken at the kernels' origins."""
        split = self.job.split
        return split.alpha is Alpha.SAMPLED or split.channels is Channels.LUMA or self.job.keeps_gaps

    def values(
        self, box: Box, read: Read, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Return colours (M, C, *space) and alpha (M or 1, 1, *space) of a box of outputs.

        ``read`` comes from `reader` with the same box.  Colours may be written to ``out`` where they are all
        that there is, and have its type.
        """
        runner = self._wider if self._largest(box, read) > self._exact else self
        with np.errstate(all="ignore"):  # infinities and NaN are data, and results
            return runner._floats(box, read, out)

    def _floats(
        self, box: Box, read: Read, out: np.ndarray | None, keeps_integers: bool = False
    ) -> tuple[np.ndarray, np.ndarray | None]:
        job = self.job
        alone = job.split.plain and not self._samples
        values = self._values(job.chain, partial(self._colour, read), box, out if alone else None)
        if not keeps_integers:
            values = values.astype(self.dtype, copy=False)
        alpha = None
        if self._coverage_chain is not None:
            alpha = self._values(self._coverage_chain, partial(self._coverage, read), box)
            self._correct_thin(values, alpha, self._coverage_chain, box, read)
            if not job.chain.gives_numbers:
                alpha[~np.isfinite(alpha)] = 0  # a pool's window on padding alone
            colours.unpremultiply(values, alpha, job.full_scale)
        elif self._samples:
            sampled = self._sample(read, box)
            if job.split.alpha is Alpha.SAMPLED:
                alpha = sampled[None, job.split.colours :].astype(self.dtype)
            if job.split.channels is Channels.LUMA:
                kept = sampled[: job.split.colours].astype(self.dtype)
                values = kept[None] + (values - colours.luma(kept, self.dtype))
        if job.keeps_gaps:
            gaps = np.isnan(self._sample(read, box)[: job.split.colours])
            values[:, gaps if len(gaps) == values.shape[1] else gaps.any(axis=0, keepdims=True)] = np.nan
        return values, alpha

    def _correct_thin(
        self, values: np.ndarray, alpha: np.ndarray, chain: Chain, box: Box, read: Read
    ) -> None:
        """Compute colours and coverage again by direct sums where the coverage may be mostly an algorithm's error."""
        algorithms = zip(chain.stages, self._algorithms, strict=True)
        if all(stages.keeps_shares(stage, chosen, self.dtype) for stage, chosen in algorithms):
            return
        sums = Runner(self.job, self._source, self.engine)
        outside = any(getattr(stage, "value", 0.0) for stage in chain.stages)
        for part in stages.parts(alpha <= stages.THIN * self.job.full_scale):
            own = tuple((a + start, b + start) for (a, b), (start, _) in zip(part, box, strict=True))
            colour, coverage = values[stages.at(part)], alpha[stages.at(part)]
            colour[...] = coverage[...] = 0
            if outside or self.job.split.alpha_block(read(self.needed(own))).any():
                colour[...] = sums._values(self.job.chain, partial(self._colour, read), own)
                coverage[...] = sums._values(chain, partial(self._coverage, read), own)

    @cached_property
    def _exact(self) -> float:
        """The largest sample up to which integers, and the sums of whole weights, are exact in float64."""
        kind = np.dtype(self.job.info.dtype)
        if kind.kind not in "iu" or kind.itemsize < 4 or self.dtype != np.float64:
            return np.inf
        gain, rest = self.job.chain.growth or (1.0, 0.0)
        limit = (2.0**52 - rest) / gain  # a median may be a half
        return limit if np.iinfo(kind).max > limit else np.inf

    def _largest(self, box: Box, read: Read) -> int:
        """Return the largest sample that a box needs, where it may be too large."""
        if self._exact == np.inf:
            return 0
        block = read(self.needed(box))
        block = block[block == block]  # where a mask leaves any
        return max(int(block.max(initial=0)), -int(block.min(initial=0)))

    @cached_property
    def _wider(self) -> "Runner":
        """What computes boxes with larger samples: direct sums in wider floats, where that makes them exact."""
        if self.job.chain.growth is None or not self.job.split.plain or BITS < 64:
            return self
        return Runner(replace(self.job, compute="longdouble"), self._source, get_engine("numpy", "cpu", 1))

    @cached_property
    def _keeps_integers(self) -> bool:
        """Whether samples that stages only select may stay integers: nothing else is computed with them."""
        return self.job.split.plain and not self._samples and self._coverage_chain is None

    @cached_property
    def _straight(self) -> bool:
        """Whether pixels are one stage's outputs and nothing else: then bytes need not become floats and back.

        What a range policy has measured is computed the same way again, as floats.
        """
        job = self.job
        if len(job.chain.stages) != 1:
            return False
        stage = job.chain.stages[0]
        if not isinstance(stage, ConvStage) or not stages.straight(stage):
            return False
        integers = np.dtype(job.info.dtype).kind in "iu" and np.dtype(job.dtype).kind in "iu"
        integers &= not job.info.gaps
        plain = job.split.plain and not self._samples
        return integers and plain and job.policy.first_pass() is None

    @cached_property
    def is_plain(self) -> bool:
        """Whether an engine makes all pixels of a box at once, whatever the samples' values are."""
        job = self.job
        kinds = [np.dtype(one) for one in (job.info.dtype, job.dtype)]
        small = all(kind.kind in "iu" and kind.itemsize <= 2 for kind in kinds) and not job.info.gaps
        return (
            small and len(job.chain.stages) == 1 and self._keeps_integers and job.policy.first_pass() is None
        )

    def _finishes(self, how: Rendering) -> bool:
        """Whether sums of products are all, or bias and combination are the algorithm's."""
        stage, algorithm = cast(ConvStage, self.job.chain.stages[0]), self._algorithms[0]
        return stage.plain or (algorithm is not None and algorithm.finishes(how))

    def pixels(
        self, box: Box, read: Read, how: Rendering, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, Tally]:
        """Return a box of outputs as pixels (M, C, *space), alpha last; maybe in ``out``.

        The tally counts colours only, never alpha.
        """
        largest, limit, runner = self._largest(box, read), 2.0**53, self
        if largest > self._exact and self._wider is not self:
            gain, rest = self.job.chain.growth or (1.0, 0.0)
            limit, runner = (2.0**BITS - rest) / gain, self._wider
            how = replace(how, top=runner.job.target.top)
        inside, given = self.inside(box), getattr(read, "given", read)
        if inside is not None and not inside.any():
            return given(box)[None].astype(how.dtype), Tally()
        with np.errstate(all="ignore"):
            pixels, tally = runner._pixels(box, read, how, out)
            if inside is not None and not inside.all():
                if tally.clipped or tally.nans:
                    tally = runner._counted(box, read, how, inside)
                tally.values = int(inside.sum()) * (tally.values // inside.size)
                tally.look(pixels[..., inside])
                np.copyto(pixels, given(box), where=~inside, casting="unsafe")
        tally.rounded |= largest > limit
        return pixels, tally

    def inside(self, box: Box) -> np.ndarray | None:
        """Return which outputs (*space) of a box lie in the areas; None where all do."""
        if not self.job.areas.regions:
            return None
        place, info = dict(zip(self.job.letters, box, strict=True)), self.job.info
        inside = self.job.areas.mask(info.size("Y"), info.size("X"), (place["Y"], place["X"]))
        return np.broadcast_to(inside, tuple(stop - start for start, stop in box))

    def _counted(self, box: Box, read: Read, how: Rendering, inside: np.ndarray) -> Tally:
        """Count what is clipped of the outputs that lie inside."""
        values, alpha = self.values(box, read)
        seen = inside if alpha is None else inside & (self.stored(alpha) > 0)
        seen = np.broadcast_to(seen, values.shape)
        return replace(self.engine.render(values[seen].astype(self.dtype), how)[1], values=values.size)

    def _pixels(
        self, box: Box, read: Read, how: Rendering, out: np.ndarray | None
    ) -> tuple[np.ndarray, Tally]:
        alpha = None
        if self._straight and self._finishes(how):
            stage, algorithm = cast(ConvStage, self.job.chain.stages[0]), self._algorithms[0]
            block, window = self._input(0, self.job.chain, partial(self._colour, read), box)
            correlating = stages.Correlating(stage, self.engine, self.dtype, algorithm)
            pixels, tally = correlating.pixels(block, window, how, out)
        else:
            values, alpha = self._floats(box, read, out, how.keeps)
            hidden = None
            if alpha is not None:
                alpha = self.stored(alpha)
                if not alpha.all():
                    hidden = values[np.broadcast_to(alpha == 0, values.shape)]
            if values.dtype == how.dtype and values.dtype.kind != "f":
                pixels, tally = values, Tally(values.size)
            else:
                pixels, tally = self.engine.render(values.astype(self.dtype, copy=False), how)
            if hidden is not None and tally.clipped:
                tally.clipped -= self.engine.render(hidden, how)[1].clipped
        tally.look(pixels)
        if self.job.policy.colours:
            pixels = np.moveaxis(table(self.job.policy.colours)[pixels[:, 0]], -1, 1)
        if alpha is not None:
            shape = (pixels.shape[0], 1, *pixels.shape[2:])
            pixels = np.concatenate([pixels, np.broadcast_to(alpha, shape)], axis=1)
        return pixels, tally

    def stored(self, alpha: np.ndarray) -> np.ndarray:
        """Return alpha as the result holds it; where it is zero nobody sees the colours."""
        return self.engine.render(alpha.copy(), self.job.opaque)[0]

    def result(
        self, box: Box, read: Read, how: Rendering, into: np.ndarray | None = None
    ) -> tuple[np.ndarray, Tally]:
        """Return a box of outputs as pixels, axes and type as ``job.result`` says.

        ``into`` has the form of the whole result; the box is then written to where it belongs in it.
        """
        job, axes = self.job, self.job.result.letters
        names = "MC" + job.letters
        left = [letter for letter in names if letter in axes]
        dropped = tuple(index for index, letter in enumerate(names) if letter not in left)
        place = None
        if into is not None:
            index = dict(zip(job.letters, slices(box), strict=True))
            block = into[tuple(index.get(letter, slice(None)) for letter in axes)]
            place = np.expand_dims(block.transpose([axes.index(letter) for letter in left]), dropped)
        pixels, tally = self.pixels(box, read, how, None if job.policy.colours else place)
        if place is not None and not np.may_share_memory(pixels, place):
            place[...] = pixels
            pixels = place
        return pixels.squeeze(dropped).transpose([left.index(letter) for letter in axes]), tally

    def _colour(self, read: Read, box: Box) -> np.ndarray:
        block = read(box)
        if self.job.missing is Missing.ERROR and block.dtype.kind == "f":
            self._refuse_nan(block, box)
        return self.job.split.colour_block(block, self.dtype)[None]

    def filtered(self, box: Box, read: Read) -> np.ndarray:
        """Return the samples that a box of outputs is computed from."""
        return self._colour(read, self.needed(box))

    def _coverage(self, read: Read, box: Box) -> np.ndarray:
        return self.job.split.alpha_block(read(box))[None]

    def _refuse_nan(self, block: np.ndarray, box: Box) -> None:
        where = np.argwhere(np.isnan(block))
        if len(where):
            channel, *place = (int(index) for index in where[0])
            places = zip(self.job.letters.lower(), place, box, strict=True)
            spot = ", ".join(f"{name} {at + start}" for name, at, (start, _) in places)
            skip = "" if self.job.unskippable else "--missing skip leaves it out, "
            raise ConvError(
                f"a missing sample (NaN) at {spot} of channel {channel}, counted from 0: "
                f"{skip}--missing propagate passes it on"
            )

    def _values(self, chain: Chain, read: Read, box: Box, out: np.ndarray | None = None) -> np.ndarray:
        """Compute a box of the chain's last stage, each stage asking the one before it."""
        produce = read
        for index in range(len(chain.stages)):
            last = index == len(chain.stages) - 1
            produce = partial(self._stage, index, chain, produce, out if last else None)
        return produce(box) if chain.stages else produce(box).copy()  # rendering reuses the memory

    def _stage(self, index: int, chain: Chain, read: Read, out: np.ndarray | None, box: Box) -> np.ndarray:
        stage = chain.stages[index]
        block, window = self._input(index, chain, read, box)
        keeps, skip = self.job.missing is Missing.KEEP, self.job.missing.skips
        least = self.job.min_weight
        if isinstance(stage, PoolStage):
            ranked = stage.kind.fraction is not None and stages.keeps_integers(stage, block)
            kept, enough = self._keeps_integers and ranked, least if skip else None
            return stages.pool(stage, self.engine, block, window, enough, self.dtype, kept, keeps, out)
        out = out if out is not None and out.dtype == self.dtype else None
        algorithm = self._algorithms[index]
        if stage.fills:
            return stages.Correlating(stage, self.engine, self.dtype, algorithm).fill(block, window)
        correlating = stages.Correlating(stage, self.engine, self.dtype, algorithm, least)
        if stage.transposed:
            first = [start for start, _ in needed_by(stage.windows, stage.mode, chain.sizes[index], box)]
            return correlating.transpose(block, box, first)
        return correlating.correlate(block, window, skip and not self.job.unskippable, out, keeps)

    def _input(self, index: int, chain: Chain, read: Read, box: Box) -> tuple[np.ndarray, list[Span]]:
        """Return the block that a stage's outputs need, and what they look at in it, padding included."""
        stage = chain.stages[index]
        needed = needed_by(stage.windows, stage.mode, chain.sizes[index], box)
        ranges = (window.input_range(*span) for window, span in zip(stage.windows, box, strict=True))
        return read(needed), [(lo - a, hi - a) for (lo, hi), (a, _) in zip(ranges, needed, strict=True)]

    def _sample(self, read: Read, box: Box) -> np.ndarray:
        """Return the input (C, *space) under the kernels' origins of the outputs; zero outside the data."""
        inside = self._under_origins(box)
        if inside is None:
            shape = (self.job.info.channels, *(stop - start for start, stop in box))
            return np.zeros(shape, self.job.info.dtype)
        block = read(inside)
        for axis, (places, (first, _)) in enumerate(zip(self._places(box), inside, strict=True), start=1):
            block = np.take(block, np.maximum(places - first, 0), axis=axis)
            if (places < 0).any():
                block[(slice(None),) * axis + (places < 0,)] = 0
        return block

    def _under_origins(self, box: Box) -> Box | None:
        """Return the box of the input that lies under the kernels' origins; None where all of it is outside."""
        inside = [places[places >= 0] for places in self._places(box)]
        if not all(map(len, inside)):
            return None
        return tuple((int(places.min()), int(places.max()) + 1) for places in inside)

    def _places(self, box: Box) -> list[np.ndarray]:
        return [where[slice(*span)] for where, span in zip(self._positions, box, strict=True)]

    @cached_property
    def _positions(self) -> list[np.ndarray]:
        return [positions(self.job.chain, axis) for axis in range(len(self.job.letters))]


def compute(
    job: Job, plan: Plan, source: Source, box: Box, measured: Measured | None = None
) -> tuple[np.ndarray, Tally]:
    """Return one box of a job's output, and what was clipped in it: the same bits in any order and any process.

    Parameters
    ----------
    job : Job
    plan : Plan
        Of the same job.
    source : Source
        The job's input; what the box needs is read from it.
    box : Box
        A span of the output for each axis in ``job.letters``.
    measured : optional
        What the range policy measures on all values, where it does.

    Returns
    -------
    ndarray, Tally
        Axes and type as ``job.result`` says; the tally counts colours only, never alpha.
    """
    engine = get_engine(plan.engine.value, plan.device, plan.engine_threads)
    runner = Runner(job, source, engine, plan.algorithms)
    with engine:
        return runner.result(box, runner.reader(box), job.rendering(measured))


# All boxes

T = TypeVar("T")
R = TypeVar("R")
P = TypeVar("P")  # a box, or the number of one


def execute(
    runner: Runner, boxes: Sequence[Box], tally: Tally, workers: int = 1, into: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Compute boxes of a job's output.

    Parameters
    ----------
    boxes : sequence of Box
        All of the output, where the range is to be measured.
    tally : Tally
        Counts what was clipped; colours only, never alpha.
    workers : int
        Threads that compute boxes, while the caller reads and writes others.  Their order and values do not
        depend on it.
    into : ndarray, optional
        Of the form of ``job.result``; boxes are written to where they belong in it.

    Yields
    ------
    ndarray
        The boxes in order, axes and type as ``job.result`` says.
    """
    with runner.engine:
        how = runner.job.rendering(measured(runner, boxes, workers))
        tally.ends = how.ends

        def work(box: Box, read: Read) -> tuple[np.ndarray, Tally]:
            return runner.result(box, read, how, into)

        for pixels, counted in in_order(boxes, runner.reader, work, workers):
            tally.add(counted)
            yield pixels


def measured(runner: Runner, boxes: Sequence[Box], workers: int = 1) -> Measured | None:
    """Return what the job's range policy measures on its values; alpha is none of them, the black that it hides is."""

    def sweep(each: Pass) -> Iterator[Any]:
        def take(box: Box, read: Read) -> Any:
            if each.of_input:
                return each.take(runner.filtered(box, read))
            values, inside = runner.values(box, read)[0], runner.inside(box)
            return each.take(values if inside is None else values[..., inside])

        return in_order(boxes, runner.reader, take, workers)

    return measure(runner.job.policy.first_pass(), sweep)


def in_order(
    boxes: Sequence[P], reader: Callable[[P], R], work: Callable[[P, R], T], workers: int
) -> Iterator[T]:
    """Yield ``work(box, reader(box))`` of every box, in order.

    Reading stays with the caller's thread, in order too.
    """
    if workers == 1 or len(boxes) == 1:
        for box in boxes:
            yield work(box, reader(box))
        return
    from concurrent.futures import ThreadPoolExecutor  # 4 ms that small jobs need not wait for

    pool = ThreadPoolExecutor(workers)
    try:
        pending: deque[Future[T]] = deque()
        for box in boxes:
            if len(pending) > workers:
                yield pending.popleft().result()
            pending.append(pool.submit(copy_context().run, work, box, reader(box)))
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
