"""Filtering a clip's coded planes (Y, U, V) instead of its colours: when that is right, and how.

Weighted means commute with the conversion between RGB and Y, U, V, and leave nothing outside the range; on the
planes they need neither conversion and half the arithmetic.  Everything else runs in RGB.  `route`
decides, `execute` computes, as `boxes` does on the colours: every plane of a block in one piece of work.

Where colour is halved, a sample of it stands every second pixel.  Between samples colour is taken as linear, so
a tap that falls between two of them is shared out by its distance: the kernel is the one of the pixels, drawn on
the coarser grid, and not one that reaches twice as far.  The sum of the weights stays.

Luma alone (``--channels luma``) is the clip's own, by its own matrix; kernels of sum 1 may then be signed, and what
leaves black to white is clipped.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from convcli.common import Channels, frozen
from convcli.data import Box, Coded, Info, PlanarSource, Plane, Span, Strips, grid, whole
from convcli.engines.base import Engine
from convcli.execution.box import Read, Runner, in_order
from convcli.geometry.padding import PadMode
from convcli.geometry.windows import Window
from convcli.jobs.chain import Chain, ConvStage, Stage
from convcli.jobs.job import ERROR, Job, positions
from convcli.kernel import Combine, Kernel
from convcli.pixels.render import SPARE, Rendering, Tally
from convcli.plan.choose import Plan, Resources, choose

COARSEST = 2  # pixels from one sample of colour to the next: with 4, straight lines between are too far off
SUM = 1e-6  # what the weights' sum may differ from 1: black stays black to a small part of a level


@frozen
class Route:
    """Where a clip is filtered.

    Attributes
    ----------
    chains : tuple
        One for each plane, on its samples; ``None`` for those that pass through.  Empty for RGB.
    reason : str
    """

    chains: tuple[Chain | None, ...]
    reason: str


def route(job: Job, coded: Coded) -> Route:
    """Decide whether a job on the colours of a clip may run on its planes."""
    reason = coded.refusal or _refusal(job, coded)
    if reason:
        return Route((), f"filtered in RGB: {reason}")
    luma = job.channels is Channels.LUMA
    chains = tuple(
        None if luma and index else on_plane(job.chain, plane, job.full_scale)
        for index, plane in enumerate(coded.planes)
    )
    what = "luma alone, colour passes through" if luma else "luma and colour"
    if not luma and any(max(plane.step) > 1 for plane in coded.planes):
        what += ", the kernels drawn on the coarser grid of the colour planes"
    return Route(chains, f"filtered on the decoded planes: {what}")


def _refusal(job: Job, coded: Coded) -> str:
    """Return why the planes would give another result than the colours; nothing if they would not."""
    if job.areas.regions:
        return "areas are of pixels"
    if job.channels not in (Channels.EACH, Channels.LUMA):
        return f"--channels {job.channels} makes other colours"
    if max(max(plane.step) for plane in coded.planes) > COARSEST:
        return "colour is sampled too coarsely to draw kernels on it"
    for stage, sizes in zip(job.chain.stages, job.chain.sizes, strict=False):
        reason = _stage_refusal(stage, sizes, coded, signed=job.channels is Channels.LUMA)
        if reason:
            return reason
    if not job.policy.identity or job.dtype != job.info.dtype:
        return f"the range {job.policy} is one of colours"
    return ""


def _stage_refusal(stage: Stage, sizes: tuple[int, ...], coded: Coded, signed: bool) -> str:
    if not isinstance(stage, ConvStage) or stage.transposed:
        return "a pool or a transposed convolution"
    kernel = stage.kernel
    if kernel.outputs > 1 or kernel.combine is not Combine.NONE or stage.summed:
        return f"kernel {kernel.name} has several inputs or outputs"
    if not (kernel.non_negative or signed):
        return f"kernel {kernel.name} has negative weights"
    if abs(kernel.sum - 1) > SUM or any(kernel.bias):
        return f"kernel {kernel.name} is not a weighted mean"
    for axis, n in list(enumerate(sizes))[-2:]:
        window, step = stage.windows[axis], max(plane.step[axis - len(sizes)] for plane in coded.planes)
        same = (window.stride, window.before) == (1, window.dilation * stage.origins[axis])
        if not same or window.output_size(n) != n or (stage.mode.periodic and n % step):
            return "the result lies on another grid of pixels"
    if not stage.stays_in_range:
        return f"{stage.mode} padding leaves the range of the data"
    return ""


def on_plane(chain: Chain, plane: Plane, full_scale: float) -> Chain:
    """Return a chain of pixels as one for the samples of a plane, with the plane's own black outside."""
    stages = tuple(
        _on_plane(stage, plane, full_scale) for stage in chain.stages if isinstance(stage, ConvStage)
    )
    sizes = tuple((*before[:-2], *plane.shape) for before in chain.sizes)
    return replace(chain, stages=stages, sizes=sizes, channels=1)


def _on_plane(stage: ConvStage, plane: Plane, full_scale: float) -> ConvStage:
    weights, windows, origins = stage.weights("float64")[0, 0], list(stage.windows), list(stage.origins)
    for axis, step in zip((-2, -1), plane.step, strict=True):
        if step > 1:
            window = windows[axis]
            shares, origins[axis] = coarser(window.kernel, origins[axis], window.dilation, step)
            weights = np.moveaxis(np.tensordot(weights, shares, (axis, 0)), -1, axis)
            size = shares.shape[1]
            windows[axis] = Window(size, before=origins[axis], after=size - 1 - origins[axis])
    kernel = Kernel(
        stage.kernel.name, (1, 1, *weights.shape), tuple(weights.ravel().tolist()), origin=tuple(origins)
    )
    mode, value = stage.mode, plane.black + stage.value / full_scale * (plane.white - plane.black)
    if mode.fills:
        mode = PadMode.CONSTANT  # zero, too, is the plane's own black
    return replace(
        stage, kernel=kernel, windows=tuple(windows), mode=mode, value=value, axes=tuple(range(len(windows)))
    )


def coarser(size: int, origin: int, dilation: int, step: int) -> tuple[np.ndarray, int]:
    """Return how each tap is shared out on a grid of every ``step``-th position, and the origin there.

    Returns
    -------
    ndarray, int
        ``(size, coarse size)``, rows of sum 1: linear interpolation, transposed.

    >>> shares, origin = coarser(3, 1, 1, 2)
    >>> shares.tolist(), origin
    ([[0.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]], 1)
    """
    places = dilation * (np.arange(size) - origin)
    first, last = int(places[0] // step), int(-(-places[-1] // step))
    distance = np.abs(places[:, None] / step - np.arange(first, last + 1))
    return np.maximum(1 - distance, 0), -first


# The work


class _View(Strips):
    """One plane as a source of its own."""

    def __init__(self, source: PlanarSource, index: int, frames: int) -> None:
        self._source, self._index = source, index
        self.info = Info.of("TYX", (frames, *source.coded.planes[index].shape), source.coded.dtype)

    def strip(self, start: int, stop: int) -> np.ndarray:
        return self._source.read_planes(start, stop)[self._index]

    def close(self) -> None:
        """The source is its owner's."""


def execute(
    job: Job,
    chains: Sequence[Chain | None],
    source: PlanarSource,
    engine: Engine,
    plan: Plan,
    tally: Tally,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[np.ndarray, ...]]:
    """Compute a job on the planes, block by block, as `convcli.execution.box.execute` does on the colours.

    Parameters
    ----------
    chains : sequence of Chain, or None
        Of the route.
    plan : Plan
        Of the first plane.

    Yields
    ------
    tuple of ndarray
        For each plane a block (T, Y, X), in order.
    """
    parts = [_part(job, chain, source, index, engine, plan) for index, chain in enumerate(chains)]

    def reader(box: Box) -> list[Any]:
        return [read(box[0]) for read, _ in parts]

    def work(box: Box, found: list[Any]) -> list[tuple[np.ndarray, Tally]]:
        return [made(box[0], one) for (_, made), one in zip(parts, found, strict=True)]

    boxes = list(grid((job.length,), plan.steps[:1]))
    with engine:
        made = in_order(boxes, reader, work, plan.workers)
        for (frames,), results in zip(boxes, made, strict=True):
            for _, counted in results:
                tally.add(counted)
            yield tuple(pixels for pixels, _ in results)
            progress(frames[1], job.length)


def _part(
    job: Job, chain: Chain | None, source: PlanarSource, index: int, engine: Engine, plan: Plan
) -> tuple[Callable[[Span], Any], Callable[[Span, Any], tuple[np.ndarray, Tally]]]:
    """Return what reads one plane for some frames of the output, and what makes these of it."""
    view, plane = _View(source, index, job.info.length), source.coded.planes[index]
    if chain is None:  # it passes through: the frames under the kernels' origins
        where = positions(job.chain, job.stream)
        outside = np.full((1, *plane.shape), plane.black, view.info.dtype)

        def kept(frames: Span) -> np.ndarray:
            parts = [view.strip(at, at + 1) if at >= 0 else outside for at in where[slice(*frames)].tolist()]
            return parts[0] if len(parts) == 1 else np.concatenate(parts)

        return kept, lambda _, frames: (frames, Tally())
    alone = replace(job, info=view.info, chain=chain, channels=Channels.EACH, dtype=view.info.dtype)
    own = choose(
        chain,
        job.stream,
        Resources(plan.engine, threads=plan.threads),
        dtype=job.compute,
        source=view.info.dtype,
        result=alone.dtype,
    )
    averages = all(kernel.non_negative for kernel in chain.kernels)
    largest = 2.0**source.coded.bits - 1
    # Means stay within what they are made of, also where that is blacker than black.
    low, top = (0.0, largest) if averages else (plane.black, plane.white)
    error = (SUM + ERROR[job.compute]) * len(chain.stages) * largest
    how = Rendering(alone.info.dtype, low=low, top=top, fits=averages and error < SPARE)
    runner, picture = Runner(alone, view, engine, own.algorithms), whole(chain.output[1:])

    def filtered(frames: Span, read: Read) -> tuple[np.ndarray, Tally]:
        pixels, tally = runner.pixels((frames, *picture), read, how)
        return pixels[0, 0], tally

    return lambda frames: runner.reader((frames, *picture)), filtered
