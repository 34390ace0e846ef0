"""What a chain has to do, in numbers: the planner's view of its stages.  Sizes alone, nothing computed."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from math import prod

from convcli.common import frozen
from convcli.engines.costs import NANOSECONDS
from convcli.engines.interface import Algorithm
from convcli.engines.work import Work
from convcli.jobs.chain import Chain, ConvStage, PoolStage
from convcli.kernel.analysis import separable_terms, wholes

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
                if way.fused(work) and self.straight:
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
