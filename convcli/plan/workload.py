"""What a chain has to do, in numbers: the planner's view of its stages.  Sizes alone, nothing computed."""

from __future__ import annotations

from math import prod

from convcli.engines.costs import NANOSECONDS
from convcli.engines.work import Work
from convcli.geometry.windows import TransposedWindow
from convcli.jobs.chain import Chain, ConvStage, PoolStage
from convcli.kernel.integer_weights import whole
from convcli.kernel.separable import separable_terms


def works(chain: Chain, dtype: str, source: str, result: str) -> list[Work | None]:
    """Describe each stage's correlation; None for pools and transposed convolutions."""
    alone = result == "uint8" and len(chain.stages) == 1
    found: list[Work | None] = []
    maps, channels = 1, chain.channels
    for stage, sizes in zip(chain.stages, chain.sizes[1:], strict=True):
        if isinstance(stage, PoolStage) or stage.transposed:
            found.append(None)
        else:
            items = 1 if stage.summed else maps * channels
            found.append(_work(stage, sizes, items, dtype, source, alone and stage.plain))
        source = dtype
        maps, channels = stage.channels(maps, channels)
    return found


def _work(
    stage: ConvStage, sizes: tuple[int, ...], items: int, dtype: str, source: str, pixels: bool
) -> Work:
    kernel = stage.kernel
    windows, kept = stage.windows, list(range(len(stage.windows)))
    if len(kept) > 3:  # walked along, one by one
        idle = next(axis for axis in kept if axis not in stage.axes)
        kept.remove(idle)
        items *= sizes[idle]
    in_bytes = source in ("uint8", "int8") and dtype == "float32" and stage.stays_in_range
    operations, mean = _integers(stage, source) if in_bytes else (0, False)
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
        bytes=in_bytes,
        integer_operations=operations,
        mean=mean,
        to_bytes=pixels and in_bytes and _unsigned(stage, source),
        box=kernel.outputs == kernel.inputs == 1 and len(set(kernel.weights)) == 1,
        dtype=dtype,
    )


def _integers(stage: ConvStage, source: str) -> tuple[int, bool]:
    """Return the operations in 16-bit integers for an element of all outputs, and whether it is a weighted mean.

    0 operations where such integers do not hold the sums.
    """
    if stage.kernel.inputs > 1 or stage.value not in range(-128, 256):
        return 0, False
    filters = stage.weights("float32")[:, 0]
    found = [whole(tuple(weights.ravel().tolist()), weights.shape) for weights in filters]
    unsigned = _unsigned(stage, source)
    if not all(one is not None and one.fits(unsigned) for one in found):
        return 0, False
    mean = unsigned and all(one is not None and one.divisor for one in found)
    return sum(one.operations + 1 for one in found if one), mean


def _unsigned(stage: ConvStage, source: str) -> bool:
    return source == "uint8" and stage.value in range(256)


def elements(chain: Chain) -> int:
    """Return the values of the output."""
    maps, channels = chain.outputs
    return prod(chain.output) * maps * channels


def other_seconds(chain: Chain, index: int) -> float:
    """Estimate pooling, or a transposed convolution by shift-and-add."""
    stage = chain.stages[index]
    windows = stage.windows
    if isinstance(stage, PoolStage):
        each = stage.kind.passes(stage.windows) * NANOSECONDS["pass"]
        return prod(chain.sizes[index]) * chain.channels * each * 1e-9
    sizes = (
        chain.sizes[index]
        if any(isinstance(w, TransposedWindow) for w in windows)
        else chain.sizes[index + 1]
    )
    return prod(sizes) * len(stage.kernel.weights) * NANOSECONDS["numpy tap"] * 1e-9


def widest_elements(chain: Chain) -> int:
    """Return the values of all samples, where the chain is widest."""
    return max(map(prod, chain.sizes)) * _values(chain)


def slice_elements(chain: Chain, stream: int) -> int:
    """Return the values in one sample of the stream axis, where the chain is widest."""
    return max(prod(sizes) // max(sizes[stream], 1) for sizes in chain.sizes) * _values(chain)


def _values(chain: Chain) -> int:
    """Return the values of one sample of all axes."""
    maps, channels = chain.outputs
    banks = max((stage.kernel.outputs for stage in chain.stages if isinstance(stage, ConvStage)), default=1)
    return max(chain.channels, channels) * max(maps, banks)


def halo(chain: Chain, stream: int) -> int:
    """Return the samples of the stream axis that a block needs beside its own, at the output's step."""
    lo, hi = chain.field(stream).input_range(0, 1)
    return -(-(hi - lo) // max(int(chain.field(stream).jump), 1))
