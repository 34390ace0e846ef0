"""Explain one output, or draw all of them: read, bind, compute with the engines, take apart, show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from convcli.cli.explain.request import Request
from convcli.cli.explain.text import Explained, lines
from convcli.cli.shared import report
from convcli.cli.shared.outputs import write_whole
from convcli.cli.shared.whole import Whole, numbered, read_kernel, read_whole
from convcli.common.choices import Channels, Precision
from convcli.common.errors import UsageError
from convcli.common.frozen import frozen_identity
from convcli.common.numbers import counted
from convcli.data.axes import SECOND, Listed, axes_of
from convcli.data.info import Colour, Info
from convcli.execution.pipeline import reference
from convcli.explanations.film import Frame, close_up, lay_down, slide
from convcli.explanations.value import Explanation, explain_conv, explain_pool
from convcli.jobs.bind import bind
from convcli.jobs.chain import Chain, ConvStage, PoolStage, Stage
from convcli.jobs.output import compute_type
from convcli.kernel.model import Combine, Kernel
from convcli.media import registry
from convcli.media.files.target import shown
from convcli.media.option_checks import check_reading
from convcli.pixels import channels as colours


@frozen_identity
class Task:
    """The stage that is explained, with its input and what ``filter`` computes.

    Attributes
    ----------
    data : ndarray
        (planes, *space) of the last stage's input.
    results : ndarray
        (maps, channels, *space) of its output.
    """

    stage: Stage
    letters: str
    data: np.ndarray
    results: np.ndarray

    @property
    def outputs(self) -> tuple[int, ...]:
        return tuple(self.results.shape[2:])


def explain_all(request: Request) -> None:
    """Do all that the command line asks for."""
    whole = (
        numbered(*request.size)
        if request.size is not None
        else read_whole(request.input or "", request.reading)
    )
    if whole.format is not None:
        check_reading(request.reading, whole.format, request.input or "")
    rank = min(len(whole.letters), 2)
    kernels = [read_kernel(text, rank, numbers=request.size is not None) for text in request.kernels]
    task = _prepare(request, whole, kernels)
    notes, quiet = list(whole.notes), request.messages.quiet
    drawn: list[str] = []
    if request.at is not None:
        _check_place(request.at, task)
        window = tuple(window.kernel for window in task.stage.windows)
        found = Explained(_explain(task, request.at, request), task.letters, task.outputs, window)
        if request.output is not None:
            _write(request, request.output, [_close_up(task, request, request.at)], task.letters)
            drawn.append(request.output)
        text = [found.values] if quiet else (*drawn, *lines(found))
        report.show(found, text, json=request.json)
        if whole.info.colour.has_alpha:
            notes.append("the alpha channel is left out: filter weighs colours by it, or passes it through")
    if request.animate is not None:
        film = _film(task, request)
        _write(request, request.animate, film, task.letters)
        if not (quiet or request.json):
            print(f"{request.animate}: {len(film)} frames" if len(film) > 1 else request.animate)
    for line in () if quiet else notes:
        report.note(line)


def _prepare(request: Request, whole: Whole, kernels: Sequence[Kernel]) -> Task:
    """Bind the chain, and compute the last stage's input and output as ``filter`` does."""
    dtype = compute_type(whole.info.dtype, Precision.AUTO)
    data = _filtered_channels(whole, request.channels, np.dtype(dtype))
    settings = replace(request.settings, sum_channels=request.channels is Channels.SUM)
    chain = bind(kernels, settings, whole.letters, data.shape[1:], len(data))
    results = reference(chain, data, dtype)
    if len(chain.stages) > 1:
        before: Chain = replace(chain, stages=chain.stages[:-1], sizes=chain.sizes[:-1])
        data = reference(before, data, dtype).reshape(-1, *before.output)
    return Task(chain.stages[-1], whole.letters, data.astype(dtype), results)


def _filtered_channels(whole: Whole, channels: Channels, dtype: np.dtype) -> np.ndarray:
    """Return the channels that go through the kernels, without alpha."""
    info = whole.info
    opaque = whole.array[: info.channels - info.colour.has_alpha]
    bare = replace(info, colour=Colour.NONE)
    split = colours.split(
        replace(bare, axes=axes_of("C" + whole.letters, opaque.shape)),
        channels,
        averages=True,
        full_scale=1.0,
    )
    return split.colour_block(opaque, dtype).astype(dtype)


def _check_place(at: tuple[int, ...], task: Task) -> None:
    names = ",".join(task.letters.lower())
    sizes = task.outputs
    if len(at) != len(sizes):
        raise UsageError(
            f"--at {_place(at)} has {counted(len(at), 'number')} and the output the axes {names}: give one for each"
        )
    if any(place >= size for place, size in zip(at, sizes, strict=True)):
        limits = ", ".join(
            f"{letter} 0 to {size - 1}" for letter, size in zip(task.letters.lower(), sizes, strict=True)
        )
        raise UsageError(f"--at {_place(at)} lies outside the output: {limits}")


def _place(at: Sequence[int]) -> str:
    return ",".join(map(str, at))


def _explain(task: Task, at: tuple[int, ...], request: Request) -> Explanation:
    """Take one output apart, and keep the maps and channels that were asked for."""
    values = np.moveaxis(task.results, (0, 1), (-2, -1))[at].ravel().tolist()
    if isinstance(task.stage, PoolStage):
        pooled = explain_pool(task.stage, task.data, at, values)
        chosen = _chosen(request.channel, len(pooled.outputs), "channel")
        return replace(pooled, outputs=tuple(pooled.outputs[index] for index in chosen))
    whole = explain_conv(task.stage, task.data, at, values)
    maps = _chosen(request.map, task.stage.kernel.outputs, "map")
    if task.stage.summed:
        channels: Sequence[int | None] = [None]
        wanted = _chosen(request.channel, len(task.data), "channel")
        sums = [
            replace(one, channels=tuple(one.channels[index] for index in wanted))
            if request.channel is not None
            else one
            for one in whole.sums
        ]
    else:
        channels = _chosen(request.channel, len(task.data), "channel")
        sums = list(whole.sums)
    kept = [n for n, one in enumerate(sums) if one.map in maps and one.channel in channels]
    kept_values = whole.values
    if whole.combine is Combine.NONE:
        kept_values = tuple(whole.values[n] for n in kept)
    elif request.channel is not None and not task.stage.summed:
        kept_values = (whole.values[request.channel],)
    if whole.combine is not Combine.NONE and request.map is not None:
        return replace(whole, sums=tuple(sums[n] for n in kept), values=kept_values, combine=Combine.NONE)
    return replace(whole, sums=tuple(sums[n] for n in kept), values=kept_values)


def _chosen(index: int | None, count: int, what: str) -> list[int]:
    if index is None:
        return list(range(count))
    if not 0 <= index < count:
        raise UsageError(f"--{what} {index} is not there: 0 to {count - 1} are")
    return [index]


def _one_plane(task: Task, request: Request) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the one channel that a picture shows, its results, and which map."""
    stage = task.stage
    if len(task.letters) > 3:
        raise UsageError("a picture shows up to three axes: read one frame, or leave -o and --animate out")
    if isinstance(stage, ConvStage) and stage.summed:
        raise UsageError(
            f"a picture shows one channel, and kernel {stage.kernel.name} sums over {len(task.data)}: "
            "the table has them all"
        )
    if isinstance(stage, ConvStage) and stage.kernel.combine is not Combine.NONE:
        raise UsageError(
            f"a picture shows one kernel, and {stage.kernel.name} combines several: the table has them"
        )
    maps = stage.kernel.outputs if isinstance(stage, ConvStage) else 1
    which = _chosen(request.map or 0, maps, "map")[0]
    channel = _chosen(request.channel or 0, len(task.data), "channel")[0]
    results = task.results.reshape(maps, len(task.data), *task.outputs)
    return task.data[channel], results[which, channel], which


def _close_up(task: Task, request: Request, at: tuple[int, ...]) -> Frame:
    data, results, which = _one_plane(task, request)
    return close_up(task.stage, data, at, float(results[at]), task.outputs, which)


def _film(task: Task, request: Request) -> list[Frame]:
    data, results, which = _one_plane(task, request)
    if isinstance(task.stage, ConvStage) and task.stage.transposed:
        return list(lay_down(task.stage, data, results, which))
    return list(slide(task.stage, data, results, which))


def _write(request: Request, path: str, frames: Sequence[Frame], letters: str) -> None:
    """Draw frames: a clip of all where the path is that of the animation, else a picture."""
    from convcli.explanations.film_drawing import Painter

    moving, format = path == request.animate, registry.by_suffix(path)
    if moving and (format.numbers or "T" not in format.axes):
        raise UsageError(
            f"{format.name.upper()} does not hold such a picture; name a .gif or .mp4 file",
            subject=shown(path),
        )
    painter = Painter(frames, letters)
    pictures = np.stack([painter.paint(frame) for frame in frames])
    write_whole(
        path,
        pictures if moving else pictures[0],
        form=_form(pictures, request.fps) if moving else None,
        force=request.force,
        inputs=[request.input] if request.input is not None else [],
    )


def _form(pictures: np.ndarray, rate: float) -> Info:
    """Return the form of an animation, which rests at its end."""
    step = round(1000 / rate)
    count = len(pictures)
    last = 4 * step if count > 1 else 1000
    times = Listed(tuple(range(0, count * step, step)), Fraction(1, 1000), SECOND, (count - 1) * step + last)
    return Info.of("TYXC", pictures.shape, "uint8", Colour.RGB).placed(T=times)
