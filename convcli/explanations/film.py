"""The sliding window as frames of data: which numbers, which of them lit, and the sum in words.

A frame says everything that its picture shows, so that a test can read the numbers back; the pictures are
made in `film_drawing`.  The arithmetic is that of `explain` and, for the results, of the engines.

`page` makes one HTML page to learn with: offline, its numbers and settings are changed in the browser.  The page
itself, with its arithmetic in JavaScript, is `page.html`; a convolution becomes the data that it opens with, beside
the results that convcli computes, to which the page compares its own.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from math import isnan, prod
from pathlib import Path

import numpy as np

from convcli.common import Missing, UsageError, frozen, number_text
from convcli.explanations.value import explain_conv, explain_pool, value_of
from convcli.geometry.windows import TransposedWindow, over_axes
from convcli.jobs.chain import ConvStage, PoolStage, Stage
from convcli.kernel import Combine

Place = tuple[int, ...]

MOST_FRAMES = 400
LONGEST = 24  # cells along an axis, padding included, that stay legible
TERMS = 12  # products that are written out

SUFFIXES = (".html", ".htm")


def page(stage: Stage, data: np.ndarray, results: np.ndarray, which: int = 0, rate: float = 2.0) -> str:
    """Return the page's text.

    Parameters
    ----------
    data : ndarray
        The stage's input, one channel of it: its space axes only, one or two of them.
    results : ndarray
        What ``filter`` computes of it, for this map.
    which : int
        Which kernel of a bank.
    rate : float
        Steps a second with which it plays.

    Raises
    ------
    UsageError
        For a pool, more than two axes, missing samples, and where a film would have too many frames or cells.
    """
    if data.ndim > results.ndim:
        raise UsageError("a page shows one channel: name a .gif or .mp4 file to see their sum")
    check_film(stage, data.shape, results.shape)
    if not isinstance(stage, ConvStage):
        raise UsageError("a page shows a convolution: name a .gif or .mp4 file to see a pool move")
    if data.ndim > 2:
        raise UsageError("a page shows signals and images: name a .gif or .mp4 file to see a volume")
    if not np.isfinite(data).all():
        raise UsageError("a page shows numbers, and some are missing or infinite: name a .gif or .mp4 file")
    weights = stage.kernel.array().reshape(stage.weight_shape)[which, 0]
    axes = [
        {
            "stride": window.stride,
            "dilation": window.dilation,
            "before": window.before,
            "after": window.after,
            "outputPadding": window.output_padding if isinstance(window, TransposedWindow) else 0,
        }
        for window in stage.windows
    ]
    job = {
        "input": _array(data),
        "kernel": _array(weights),
        "axes": axes,
        "transposed": stage.transposed,
        "mode": stage.mode,
        "value": stage.value,
        "bias": stage.kernel.bias[which],
    }
    given = {"title": stage.kernel.title, "job": job, "results": _array(results), "rate": rate}
    # No name ends the element that holds it
    text = json.dumps(given, allow_nan=False).replace("<", "\\u003c")
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8").replace("GIVEN", text, 1)


def _array(values: np.ndarray) -> dict[str, Sequence[float]]:
    return {"shape": values.shape, "values": values.ravel().tolist()}


@frozen
class Board:
    """A grid of numbers.

    Attributes
    ----------
    title
    low, high
        Place of the first cell and the one behind the last, one number an axis.
    inner
        The places from 0 up to this belong to the data; others are padding, or are cropped.
    values
        A number for each cell, the last axis fastest; None is not known yet, or nothing.
    """

    title: str
    low: Place
    high: Place
    inner: Place
    values: tuple[float | None, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(high - low for low, high in zip(self.low, self.high, strict=True))

    def places(self) -> Iterator[tuple[Place, float | None]]:
        """Yield every cell's place and number."""
        axes = (range(low, high) for low, high in zip(self.low, self.high, strict=True))
        yield from zip(product(*axes), self.values, strict=True)

    def at(self, place: Place) -> float | None:
        index = 0
        for where, low, size in zip(place, self.low, self.shape, strict=True):
            index = index * size + where - low
        return self.values[index]

    def inside(self, place: Place) -> bool:
        return all(0 <= where < size for where, size in zip(place, self.inner, strict=True))


@frozen
class Frame:
    """One moment: three grids, and in each the cells that take part.

    ``weights`` are the numbers that the lit inputs are multiplied with, by place; ``chosen`` are the inputs
    that a pool selected.  Of a kernel that sums over channels ``channels`` has, by name, each one's input, kernel and
    products, and the sums.  Of a bank ``maps`` are all outputs so far, ``which`` of them the one that ``output`` is.
    """

    input: Board
    kernel: Board | None
    output: Board
    lit_outputs: frozenset[Place]
    caption: str
    lit_inputs: frozenset[Place]
    weights: tuple[tuple[Place, float], ...] = ()
    chosen: frozenset[Place] = frozenset()
    channels: tuple[tuple[str, Board], ...] = ()
    maps: tuple[Board, ...] = ()
    which: int = 0

    @property
    def boards(self) -> dict[str, Board]:
        """The grids by name, in the order in which they are drawn; a pool has no kernel."""
        before = dict(self.channels) or {"input": self.input}
        if self.kernel is not None and not self.channels:
            before["kernel"] = self.kernel
        return before | (
            {f"map {number}": board for number, board in enumerate(self.maps)} or {"output": self.output}
        )


def slide(stage: Stage, data: np.ndarray, results: np.ndarray, which: int = 0) -> Iterator[Frame]:
    """Yield one frame for each output: the window moves over the input.

    Parameters
    ----------
    data : ndarray
        The stage's input, one channel of it: its space axes only.  Of a kernel that sums over channels, all of them.
    results : ndarray
        What ``filter`` computes of it, for this map.
    which : int
        Which kernel of a bank.

    Raises
    ------
    UsageError
        When there would be too many frames or cells to look at.
    """
    planes, data = _planes(data, results.ndim)
    check_film(stage, data.shape, results.shape)
    spans = [window.input_range(0, count) for window, count in zip(stage.windows, results.shape, strict=True)]
    low = tuple(min(lo, 0) for lo, _ in spans)
    high = tuple(max(hi, n) for (_, hi), n in zip(spans, data.shape, strict=True))
    grids = [_board_of(stage, plane, low, high) for plane in planes]
    filled: list[float | None] = [None] * results.size
    for number, at in enumerate(np.ndindex(*results.shape)):
        filled[number] = value = float(results[at])
        output = Board("output", (0,) * results.ndim, results.shape, results.shape, tuple(filled))
        yield _frame(stage, planes, at, value, which, grids, output)


def grow(stage: Stage, data: np.ndarray, results: np.ndarray) -> Iterator[Frame]:
    """Yield the frames of all maps (maps, *space) of a bank: one map is filled after another.

    Raises
    ------
    UsageError
        As `slide`.
    """
    if results.size > MOST_FRAMES:
        raise UsageError(
            f"{results.size} frames of {len(results)} maps are too many to look at: --map 0 shows one, and an input "
            f"small enough for {MOST_FRAMES} frames all (--input 7x7)"
        )
    sizes = results.shape[1:]
    empty = Board("", (0,) * len(sizes), sizes, sizes, (None,) * results[0].size)
    maps = [replace(empty, title=f"map {number}") for number in range(len(results))]
    for which, own in enumerate(results):
        for frame in slide(stage, data, own, which):
            maps[which] = replace(frame.output, title=f"map {which}")
            yield replace(frame, maps=tuple(maps), which=which)


def _planes(data: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (channels, *space), and the first of them."""
    planes = data if data.ndim > rank else data[None]
    return planes, planes[0]


def _frame(
    stage: Stage,
    planes: np.ndarray,
    at: Place,
    value: float,
    which: int,
    grids: Sequence[Board],
    output: Board,
) -> Frame:
    """Return the moment of one output of one map: what is lit, and the sum in words.

    ``1x10 + 2x20 + 0.5 = 50.5``, or the sums of several channels: ``50 + 7 + bias 0.5 = 57.5``
    """
    lit, grid = frozenset([at]), grids[0]
    if isinstance(stage, PoolStage):
        pool = explain_pool(stage, planes, at, [value])
        (pooled,) = pool.outputs
        seen = frozenset(one.tap.position for one in pooled.taps) & {place for place, _ in grid.places()}
        chosen = frozenset(one.tap.position for one in pool.chosen(pooled))
        values = [number_text(one.value) for one in pooled.taps if one.value is not None]
        text = ", ".join(values[:TERMS]) + (", ..." if len(values) > TERMS else "")
        said = f"{pool.pool.function}({text}) = {number_text(value)}"
        return Frame(grid, None, output, lit, said, seen, chosen=chosen)
    # A missing sample that spoils nothing is skipped.
    skips = Missing.PROPAGATE if isnan(value) else Missing.SKIP
    found = explain_conv(stage, planes, at, [value], skips).sums[which]
    plane, kernels = found.channels[0], _kernel_boards(stage, which)
    used = [one for one in plane.taps if not one.skipped]
    share = "" if found.present == 1 else f"/{number_text(found.present)}"
    terms = [f"{_factor(one.value)}x{_factor(one.weight)}{share}" for one in used]
    channels: list[tuple[str, Board]] = []
    if len(grids) > 1:
        terms = [_factor(one.sum) + share for one in found.channels]
        for number, (seen_of, board, kernel) in enumerate(zip(found.channels, grids, kernels, strict=True)):
            products = tuple(None if one.skipped else one.product for one in seen_of.taps)
            own = replace(kernel, title=f"products: {number_text(seen_of.sum)}", values=products)
            named = (
                replace(board, title=f"channel {number}"),
                replace(kernel, title=f"kernel {which},{number}"),
                own,
            )
            channels += zip(
                (f"{name} {number}" for name in ("input", "kernel", "products")), named, strict=True
            )
    if len(terms) > TERMS:
        terms[TERMS:] = ["..."]
    if found.bias:
        terms.append("bias " * bool(channels) + _factor(found.bias))
    weights = tuple((one.tap.position, one.weight) for one in plane.taps)
    said, seen = f"{' + '.join(terms) or '0'} = {number_text(value)}", frozenset(dict(weights))
    return Frame(grid, kernels[0], output, lit, said, seen, weights, channels=tuple(channels))


def lay_down(stage: ConvStage, data: np.ndarray, results: np.ndarray, which: int = 0) -> Iterator[Frame]:
    """Yield one frame for each input of a transposed convolution: it lays the kernel down, and sums grow.

    The parameters are those of `slide`.  Cells that padding crops are shown outside the output's own.
    """
    check_film(stage, data.shape, results.shape)
    grid = Board("input", (0,) * data.ndim, data.shape, data.shape, tuple(data.ravel().tolist()))
    (kernel,) = _kernel_boards(stage, which)
    low = tuple(-window.before for window in stage.windows)
    reach = [
        window.full_size(n) if isinstance(window, TransposedWindow) else n
        for window, n in zip(stage.windows, data.shape, strict=True)
    ]
    high = tuple(max(lo + size, n) for lo, size, n in zip(low, reach, results.shape, strict=True))
    weights = stage.kernel.array(data.dtype).reshape(stage.weight_shape)[which, 0]
    bias = float(stage.kernel.bias[which])
    sums: dict[Place, float] = dict.fromkeys(product(*_ranges(low, high)), bias)
    for source in np.ndindex(*data.shape):
        value = data[source].item()
        laid = {}
        for tap in np.ndindex(*weights.shape):
            place = tuple(
                lo + i * window.stride + window.dilation * t
                for lo, i, t, window in zip(low, source, tap, stage.windows, strict=True)
            )
            laid[place] = float(weights[tap])
            sums[place] += value * laid[place]
        output = Board("output", low, high, results.shape, tuple(sums.values()))
        text = " ".join(number_text(weight) for weight in list(laid.values())[:TERMS])
        more = " ..." if len(laid) > TERMS else ""
        said = f"add {number_text(value)} x ({text}{more})"
        yield Frame(grid, kernel, output, frozenset(laid), said, frozenset([source]))


def close_up(
    stage: Stage, data: np.ndarray, at: Place, value: float, outputs: Place, which: int = 0
) -> Frame:
    """Return one output with the neighbourhood that it comes from, as a frame.

    The parameters are those of `slide`, with the output's place, its value and the output's sizes.
    """
    planes, data = _planes(data, len(at))
    spans = [window.input_range(one, one + 1) for window, one in zip(stage.windows, at, strict=True)]
    low = [lo - (lo > 0) for lo, _ in spans]  # a neighbour more, where there is one
    high = [hi + (hi < n) for (_, hi), n in zip(spans, data.shape, strict=True)]
    widest = max(hi - lo for lo, hi in zip(low, high, strict=True))
    if widest > LONGEST:
        raise UsageError(
            f"a window of {widest} cells is too wide for a picture: {LONGEST} at most; --json has it"
        )
    if isinstance(stage, ConvStage) and stage.transposed:
        low = [min(max(lo, 0), n - 1) for lo, n in zip(low, data.shape, strict=True)]
        high = [max(min(hi, n), lo + 1) for hi, n, lo in zip(high, data.shape, low, strict=True)]
    grids = [_board_of(stage, plane, tuple(low), tuple(high)) for plane in planes]
    title = "output " + ",".join(map(str, at))
    output = Board(title, at, tuple(one + 1 for one in at), outputs, (value,))
    return _frame(stage, planes, at, value, which, grids, output)


def _ranges(low: Place, high: Place) -> list[range]:
    return [range(lo, hi) for lo, hi in zip(low, high, strict=True)]


def check_length(stage: Stage, sizes: Sequence[int], outputs: Sequence[int]) -> None:
    """Refuse a film that nobody could look at."""
    transposed = isinstance(stage, ConvStage) and stage.transposed
    frames = prod(sizes) if transposed else prod(outputs)
    widest = max(
        max(window.input_range(0, out)[1] - min(window.input_range(0, out)[0], 0), n, out)
        for window, n, out in zip(stage.windows, sizes, outputs, strict=True)
    )
    if frames > MOST_FRAMES or widest > LONGEST:
        raise UsageError(
            f"{frames} frames of {widest} cells are too many to look at: give an input small enough for "
            f"{MOST_FRAMES} frames, at most {LONGEST} cells along an axis with padding (--input 7x7)"
        )


def check_film(stage: Stage, sizes: Sequence[int], outputs: Sequence[int]) -> None:
    """Refuse a film that is too long, and one of a bank whose outputs are combined."""
    check_length(stage, sizes, outputs)
    if isinstance(stage, ConvStage) and stage.kernel.combine is not Combine.NONE:
        raise UsageError(
            "it combines several outputs: give one of its kernels alone to see it move",
            subject=stage.kernel.title,
        )


def _board_of(stage: Stage, data: np.ndarray, low: Place, high: Place) -> Board:
    values: list[float | None] = []
    for place in product(*_ranges(low, high)):
        sources = over_axes([stage.mode.sources(i, n) for i, n in zip(place, data.shape, strict=True)])
        nothing = not stage.pads and not sources  # padding takes no part in a pool
        values.append(None if nothing else value_of(sources, data, getattr(stage, "value", 0.0)))
    return Board("input", low, high, data.shape, tuple(values))


def _kernel_boards(stage: ConvStage, which: int) -> list[Board]:
    """Return the kernel of one map, one board a channel."""
    size = stage.weight_shape[2:]
    weights = stage.kernel.array().reshape(stage.weight_shape)[which]
    return [Board("kernel", (0,) * len(size), size, size, tuple(one.ravel().tolist())) for one in weights]


def _factor(value: float) -> str:
    text = number_text(value)
    return f"({text})" if text.startswith("-") else text
