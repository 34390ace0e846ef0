"""Explain one output, or draw all of them: read, bind, compute with the engines, take apart, show."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from pathlib import PurePath

import numpy as np

from convcli.cli.explain.request import Request
from convcli.cli.explain.text import Explained, Routed
from convcli.cli.shared import report
from convcli.cli.shared.kernels import kernels_for
from convcli.cli.shared.opened import Opened, numbered, opened
from convcli.cli.shared.outputs import check_apart, write_whole
from convcli.common import UsageError
from convcli.data import SECOND, Colour, Info, Listed
from convcli.explanations.film import SUFFIXES, Frame, check_length, close_up, grow, lay_down, page, slide
from convcli.explanations.task import Task, check_place, chosen, explained, prepare
from convcli.explanations.value import route
from convcli.jobs.chain import ConvStage, PoolStage
from convcli.kernel import Combine
from convcli.media import registry
from convcli.media.files.target import output, shown
from convcli.media.opening import check_not_input
from convcli.networks.pictures import grid
from convcli.pixels.channels import filtered_channels

MOST_TAPS = 1_000_000  # of a pool whose places are all shown
MOST_CHANNELS = 6  # drawn beside each other


def explain_all(request: Request) -> None:
    """Do all that the command line asks for."""
    check_apart(request.output, request.animate)
    whole, request = _read(request) if request.size is None else (numbered(*request.size), request)
    whole = whole.masked(request.gaps.mask)
    channels, sized = filtered_channels(whole.info, request.channels), request.size is not None
    kernels, said = kernels_for(request.kernels, whole.info, request.settings, channels, numbers=sized)
    said += tuple(
        f"{kernel.name} is {kernel.in_samples} in samples" for kernel in kernels if kernel.in_samples
    )
    check = None if request.animate is None else check_length
    task = prepare(whole.source, kernels, request.settings, request.channels, request.gaps, check)
    if request.at is None and request.animate is None:
        _show_route(request, task, whole)
        return
    if request.channel is not None and isinstance(task.stage, ConvStage) and task.stage.summed:
        said += (f"channel {request.channel} is shown; filter sums over all {len(task.data)}",)
    explanation, frames = None, 0
    if request.at is not None:
        check_place(request.at, task)
        explanation = explained(task, request.at, request.map, request.channel)
        if request.output is not None:
            data, results, which = _one_plane(task, request)
            value = float(results[(which, *request.at)])
            frame = close_up(task.stage, data, request.at, value, task.outputs, which)
            _write(request, request.output, [frame], task.letters)
    if request.animate is not None and PurePath(request.animate).suffix.lower() in SUFFIXES:
        frames = _write_page(request, request.animate, task)
    elif request.animate is not None:
        film = _film(task, request)
        _write(request, request.animate, film, task.letters)
        frames = len(film)
    window = tuple(window.kernel for window in task.stage.windows)
    drawn, notes = (request.output, request.animate, frames), (*whole.notes, *said, *task.notes)
    found = Explained(explanation, task.letters, task.outputs, window, *drawn, whole.grain, notes)
    report.show(found, found.lines(request.messages.quiet), request)


def _read(request: Request) -> tuple[Opened, Request]:
    """Return the input; of several items (N) the one that the first number of --at names, and the other numbers."""
    drawn = request.animate is not None or request.settings.pool is not None
    with opened(request.input or "", request.reading, batch=True) as file:
        item, at = file.picked(request.at, file.letters, alone=drawn)
        return item.read(), replace(request, at=at)


def _show_route(request: Request, task: Task, whole: Opened) -> None:
    """Show where all results of a pool come from; a file of numbers gets the positions, a picture the gradient."""
    stage, sizes = task.stage, (len(task.data), *task.outputs)
    taps = prod(sizes) * prod(window.kernel for window in stage.windows)
    if not isinstance(stage, PoolStage) or taps > MOST_TAPS:
        raise UsageError(f"places of a pool are shown for up to {MOST_TAPS:,} taps, not {taps:,}: give --at")
    found = route(stage, task.data, task.outputs, task.missing)
    if request.output is not None:
        inputs, format = [request.input] if request.input else [], registry.by_suffix(request.output)
        plane, form = grid(found.gradient, count=len(task.data), title=stage.kind.name), None
        if format.numbers:
            axes = "C" * (sizes[0] > 1) + task.letters
            plane = found.positions if sizes[0] > 1 else found.positions[0]
            form = Info.of(axes, plane.shape, "int64")
        write_whole(request.output, plane, force=request.force, inputs=inputs, form=form)
    notes = (*whole.notes, *task.notes)
    routed = Routed(request.input or "", found, request.output, notes)
    report.show(routed, routed.lines(task.letters, request.messages.quiet), request)


def _one_plane(task: Task, request: Request) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the one channel that a picture shows, or all where they are summed, its maps, and which is meant."""
    stage = task.stage
    if len(task.letters) > 3:
        raise UsageError("a picture shows up to three axes: read one frame, or leave -o and --animate out")
    if isinstance(stage, ConvStage) and stage.kernel.combine is not Combine.NONE:
        raise UsageError(
            f"a picture shows one kernel, and {stage.kernel.name} combines several: see the table"
        )
    maps = stage.kernel.outputs if isinstance(stage, ConvStage) else 1
    which = chosen(request.map or 0, maps, "map")[0]
    if isinstance(stage, ConvStage) and stage.summed and len(task.data) > 1:
        if len(task.data) > MOST_CHANNELS or len(task.letters) > 2 or stage.transposed:
            raise UsageError(
                f"a picture shows a sum over up to {MOST_CHANNELS} channels of an image, not transposed, and kernel "
                f"{stage.kernel.name} sums over {len(task.data)}: the table has them all"
            )
        return task.data, task.results[:, 0], which
    channel = chosen(request.channel or 0, len(task.data), "channel")[0]
    results = task.results.reshape(maps, len(task.data), *task.outputs)
    return task.data[channel], results[:, channel], which


def _film(task: Task, request: Request) -> list[Frame]:
    data, results, which = _one_plane(task, request)
    if isinstance(task.stage, ConvStage) and task.stage.transposed:
        return list(lay_down(task.stage, data, results[which], which))
    if request.map is None and len(results) > 1:
        return list(grow(task.stage, data, results))
    return list(slide(task.stage, data, results[which], which))


def _write(request: Request, path: str, frames: Sequence[Frame], letters: str) -> None:
    """Draw frames: a clip of all where the path is that of the animation, else a picture."""
    from convcli.explanations.film_drawing import Painter

    moving, format = path == request.animate, registry.by_suffix(path)
    if moving and (format.numbers or "T" not in format.axes):
        raise UsageError(
            f"{format.name.upper()} does not hold such a picture; name a .gif, .mp4 or .html file",
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


def _write_page(request: Request, path: str, task: Task) -> int:
    """Write the page to learn with; return its steps."""
    data, results, which = _one_plane(task, request)
    text = page(task.stage, data, results[which], which, request.fps)
    check_not_input(path, [request.input] if request.input is not None else [], force=request.force)
    with output(path, force=request.force, binary=False) as fp:
        fp.write(text.encode())
    return results[which].size


def _form(pictures: np.ndarray, rate: float) -> Info:
    """Return the form of an animation, which rests at its end."""
    step = round(1000 / rate)
    count = len(pictures)
    last = 4 * step if count > 1 else 1000
    times = Listed(tuple(range(0, count * step, step)), Fraction(1, 1000), SECOND, (count - 1) * step + last)
    return Info.of("TYXC", pictures.shape, "uint8", Colour.RGB).placed(T=times)
