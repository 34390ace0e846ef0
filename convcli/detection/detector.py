"""The motion job: what is computed of a clip, the threshold from its noise, and one pass over its frames.

Files, options in words and what is written stay outside: a source comes in, sights go out.  The motion kernel on bytes
is computed here, in a third of an engine's time: squares are added up along rows and columns, in 16 bits, and divided
only where they are looked at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from convcli.common import Channels, ConvError, EngineName, UsageError
from convcli.data import Info, Source, slices, whole
from convcli.detection.area import Watching
from convcli.detection.changes import kind_of, light_change, scene_of
from convcli.detection.events import GLOBAL, MUCH, NOTHING, Detector, Look, Rules, grouped, keep_regions, look
from convcli.detection.noise import (
    CEILING,
    MOST_FRAMES,
    Limits,
    block_side,
    largest,
    limits,
    per_block,
    sample,
)
from convcli.execution.box import in_order
from convcli.execution.pipeline import Pipeline, Progress
from convcli.geometry.windows import TransposedWindow
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import Chain, ConvStage
from convcli.jobs.job import Job, canonical
from convcli.kernel import Defaults, Kernel, load_kernel
from convcli.pixels.ranges import Float
from convcli.pixels.render import Rendering, render
from convcli.plan.choose import Resources

SOME = 4096  # pixels are looked at for a change of light
LEFT = 0.25  # of a change of light, at most, is left when it is taken out
FAINT = 0.3  # grey levels: where half of the picture changes by less, the light does not
FEW, OFTEN = 12, 0.8  # so many regions in so many results are scattered things that fall or fly
LARGER = 2.0  # times as many pixels as the largest of these has are something else
SCATTERED = 0.002  # of the picture, at most, is taken for one of these
DARK, BRIGHT = 12, 1.5  # samples below a twelfth of white, or beyond half as much more, are on another scale
MANY = 0.05  # of the blocks: where more lie beyond their limits, it may be noise that has grown

_STRIP = 48  # rows at a time, so that what is added up stays in the cache


def square_difference(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the sums over 3×3 squares of ``after`` less ``before``, edges replicated.

    Parameters
    ----------
    before, after : ndarray
        (Y, X), 8 bits, at least two pixels wide.

    Returns
    -------
    ndarray
        (Y, X) of int16: nine times the difference of the means, at most 9 · 255.

    >>> spot = np.zeros((3, 4), np.uint8); spot[1, 0] = 5
    >>> square_difference(np.zeros_like(spot), spot).tolist()
    [[10, 5, 0, 0], [10, 5, 0, 0], [10, 5, 0, 0]]
    """
    height, width = before.shape
    sums = np.empty((height, width), np.int16)
    strip = np.empty((_STRIP + 2, width), np.int16)  # of change, with a row more on either side
    sums_of_rows = np.empty((_STRIP, width), np.int16)
    for top in range(0, height, _STRIP):
        bottom = min(top + _STRIP, height)
        count = bottom - top
        first, last = max(top - 1, 0), min(bottom + 1, height)
        inside = strip[first - top + 1 : last - top + 1]
        np.subtract(after[first:last], before[first:last], out=inside, dtype=np.int16)
        if first == top:
            strip[0] = strip[1]
        if last == bottom:
            strip[count + 1] = strip[count]
        rows, out = sums_of_rows[:count], sums[top:bottom]
        np.add(strip[:count], strip[1 : count + 1], out=rows)
        rows += strip[2 : count + 2]
        # All rows as one long one, which is much faster; what that does to the ends of rows is mended.
        flat, flat_out = rows.reshape(-1), out.reshape(-1)
        np.add(flat[:-2], flat[1:-1], out=flat_out[1:-1])
        flat_out[1:-1] += flat[2:]
        out[:, 0] = 2 * rows[:, 0] + rows[:, 1]
        out[:, -1] = 2 * rows[:, -1] + rows[:, -2]
    return sums


class Part(Source, Protocol):
    """A clip, or a part of its frames.

    Attributes
    ----------
    keys
        Frames at which decoding can begin.
    watched
        Which pixels (Y, X) are looked at, ``None`` for all; the others count as if they never changed.
    corner
        The place (x, y) of its frames in the whole picture.
    """

    keys: tuple[int, ...]
    watched: np.ndarray | None
    corner: tuple[int, int]


class Times(Protocol):
    """When the frames of a clip are shown."""

    def seconds(self, index: int) -> float: ...

    def shown_for(self, index: int) -> float: ...


class Sight(NamedTuple):
    """One result: its values (Y, X), what of it moves, and a look at that, in pixels of the result."""

    values: np.ndarray
    mask: np.ndarray
    look: Look


def motion_kernel(kernel: str | Kernel) -> Kernel:
    """Return a kernel that finds motion, by its name or as it is.

    Raises
    ------
    UsageError
        When it has another rank than 3, or several outputs.
    """
    if isinstance(kernel, str):
        kernel = load_kernel(kernel, 3)
    if kernel.weighted().rank != 3 or (len(kernel.rows) > 1 and kernel.combine == "none"):
        raise UsageError(
            "motion needs a kernel of rank 3 (time, height, width) with one output, "
            "such as motion, frame-difference, temporal-edge",
            subject=kernel.title,
        )
    return kernel


def newest(chain: Chain, index: int) -> int:
    """Return the frame that a result is about: of two frames the newer, of three the one in the middle."""
    for stage in reversed(chain.stages):
        window = stage.windows[0]
        if isinstance(stage, ConvStage) and not isinstance(window, TransposedWindow):
            index = index * window.stride - window.before + window.dilation * (window.kernel // 2)
    return index


def is_square_difference(kernel: Kernel) -> bool:
    """Say whether a kernel is one weight on a 3×3 square of the newer frame, and its negative on the older."""
    older, newer = kernel.weights[:9], kernel.weights[9:]
    return (
        kernel.shape == (1, 1, 2, 3, 3)
        and kernel.origin[1:] == (1, 1)
        and len({*newer, *(-weight for weight in older)}) == 1
        and newer[0] > 0
        and not any(kernel.bias)
        and kernel.defaults == Defaults(axis=kernel.defaults.axis)
    )


class Watch:
    """One clip and what is computed of it.

    Parameters
    ----------
    source : Part
        Axes ``TYX`` or ``TYXC``, in any order of ``T``, ``Y``, ``X``, without alpha.
    kernel : Kernel
        As `motion_kernel` returns it.
    how : Watching
    times : Times
        When its frames are shown.
    start : float
        Seconds that are added to these.
    stride : tuple of int, optional
        Steps along time, y and x.
    engine : EngineName

    Attributes
    ----------
    detector : Detector
        Has the events once the last of `sights` is there.
    frames : list of int
        For each result the frame that it is about.
    shape : (height, width)
        Of a result.
    pixels : int
        Of a result, that are looked at.
    dtype : str
        Of the pictures: the clip's, where that is 8 or 16 bits.
    level : float
        One grey level of 255 in the units of the values.
    notes : tuple of str
        How the threshold was found.
    doubts : tuple of str
        Those of them that say that samples are on another scale than their type has.
    """

    def __init__(
        self,
        source: Part,
        kernel: Kernel,
        how: Watching,
        times: Times,
        start: float,
        stride: tuple[int, ...] | None,
        engine: EngineName,
    ) -> None:
        self._source, self._how, self._times, self._start = source, how, times, start
        self._display = kernel.display_policy
        info, self._watched = source.info, source.watched
        kernels = [kernel]
        if how.denoise > 1:
            kernels.insert(0, load_kernel(f"temporal-mean:{how.denoise}", 3))
        settings = [Settings()] * (len(kernels) - 1) + [Settings(stride=stride)]
        self._chain = _bound(kernels, settings, info)
        self._job = Job(info, self._chain, Channels.GREY, Float(), "float32", "float32")
        plain = stride is None and how.denoise == 1 and info.size("X") > 1
        bytes_alone = (info.letters, info.dtype) == ("TYX", "uint8")
        self._whole = plain and bytes_alone and is_square_difference(kernel)
        engine = EngineName.NUMPY if self._whole else engine
        self._pipeline = Pipeline(self._job, source, Resources(engine), step=1)
        self.shape = (self._chain.output[1], self._chain.output[2])
        self.grid = tuple(window.stride for window in self._chain.stages[-1].windows[1:])
        watched = np.ones(self.shape, bool) if self._watched is None else self._sampled(self._watched)
        self._rest = None if watched.all() else ~watched
        self._some = np.flatnonzero(watched)
        self._some = self._some[:: len(self._some) // SOME | 1]  # odd, so that not the same columns are taken
        self.pixels = int(watched.sum())
        self.frames = [newest(self._chain, index) for index in range(self._job.length)]
        kind = np.dtype(info.dtype)
        self.dtype = kind.name if kind.kind == "u" and kind.itemsize <= 2 else "uint8"
        self.notes: tuple[str, ...] = ()
        self.doubts: tuple[str, ...] = ()
        self._peaks = list[float]()  # the largest samples of frames that were read for the threshold
        self._least = 0.0  # pixels of a region, beside what is asked for
        # What one of the values is in the units of the data; the level and thresholds are in values.
        self._unit = kernel.weights[-1] if self._whole else 1.0
        self.level = self._job.full_scale / 255 / self._unit
        last, lasts = self._shown(len(self.frames) - 1)
        # What moves all through a short clip is an event
        shortest = min(how.min_duration, last + lasts - times.seconds(self.frames[0]))
        noisy = self.pixels if how.threshold is None else 0
        self.detector = Detector(Rules(how.min_area.pixels(self.pixels), shortest, how.merge_gap, noisy))

    @property
    def engine(self) -> str:
        """Which engine computes, and why."""
        plan = self._pipeline.plan
        return f"{plan.engine}: {'bytes are subtracted in whole numbers' if self._whole else plan.reason}"

    @np.errstate(all="ignore")  # NaN where nothing is looked at; floats of any size
    def threshold(self) -> Limits:
        """Return what a value must exceed to count as motion, place by place."""
        side = block_side(self.shape)
        if self._how.threshold is not None:
            blocks = per_block(np.zeros(self.shape, np.float32), side, np.max)
            return Limits(blocks + self._how.threshold * self.level, side)
        extent = sum(stage.windows[0].extent - 1 for stage in self._chain.stages) + 1
        step = max(self._chain.stages[-1].windows[0].stride, 1)
        starts = [key // step for key in self._source.keys]
        spans = sample(self._job.length, starts, most=max(MOST_FRAMES // max(extent, step), 1))
        indices = [index for span in spans for index in span]
        read = ((index, self._measured(self._read(index))) for index in indices)
        results = (self._steadied(index, frames, self._values(index, frames))[0] for index, frames in read)
        brightness = per_block(self._sampled(_grey(self._read(indices[0])[-1])), side, np.mean)
        if self._rest is not None:
            brightness /= per_block(~self._rest, side, np.mean)
        result = limits(results, brightness, side, self.level)
        usual, most = np.median(result.blocks) / self.level, result.blocks.max() / self.level
        more = f" (up to {most:.1f} where the clip varies)" if most > 1.05 * usual else ""
        self.notes = (
            f"threshold {usual:.1f} of 255 grey levels{more}, estimated from {len(indices)} frame pairs",
        )
        self.doubts = self._on_another_scale()
        self.notes += self.doubts
        if usual >= CEILING / 2:
            self._least = self._scatter(indices, result)
        return result

    def _measured(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        self._peaks += [float(np.abs(frame).max(initial=0)) for frame in frames]
        return frames

    def _on_another_scale(self) -> tuple[str, ...]:
        """Return a line where grey levels are 255ths of a white that samples stay far below, or usually pass."""
        white, kind, most = self._job.full_scale, self._source.info.dtype, max(self._peaks)
        dark = 0 < most <= (1 if kind == "uint8" else white / DARK)
        if not dark and float(np.median(self._peaks)) <= BRIGHT * white:
            return ()
        return (
            f"the samples reach {most:.6g}, and grey levels are 255ths of {white:.6g}, the white of {kind}: "
            "scale them to it, or give bytes or floats from 0 to 1",
        )

    def _scatter(self, indices: Sequence[int], limits: Limits) -> float:
        """Return of how many pixels regions must be, where small ones move everywhere all the time: snow, insects."""
        areas = []
        for index in indices:
            _, mask, seen = self._judged(index, self._read(index), limits, 1)
            regions = keep_regions(mask, 1) if seen.share < MUCH else []
            if len(regions) >= FEW:
                x, y, width, height = regions[0]
                areas.append(np.count_nonzero(mask[y : y + height, x : x + width]))
        if len(areas) < OFTEN * len(indices):
            return 0
        least = min(LARGER * float(np.median(areas)), SCATTERED * self.pixels)
        self.notes += (
            f"small things move everywhere (snow, hail?): regions of less than {least:.0f} pixels are left out",
        )
        return least

    def _sampled(self, frame: np.ndarray) -> np.ndarray:
        """Return a frame (Y, X) with a result's shape."""
        rows, columns = self.grid
        scene = frame[::rows, ::columns][: self.shape[0], : self.shape[1]]
        return np.pad(scene, [(0, n - m) for n, m in zip(self.shape, scene.shape, strict=True)], mode="edge")

    def _read(self, index: int) -> list[np.ndarray]:
        """Return the frames that a result is made of, grey ones or (C, Y, X).

        Raises
        ------
        ConvError
            For samples that are not numbers: whether they move cannot be said.
        """
        if self._whole:
            frames = [self._source.strip(at, at + 1)[0] for at in (index, index + 1)]
            return (
                frames if self._watched is None else [np.where(self._watched, frame, 0) for frame in frames]
            )
        box = ((index, index + 1), *whole(self._chain.output[1:]))
        needed = self._pipeline.runner.needed(box)
        block = self._pipeline.runner.reader(box)(needed)
        if self._watched is not None:
            block = np.where(self._watched[slices(needed[1:])], block, block.dtype.type(0))
        if block.dtype.kind == "f" and not np.isfinite(block).all():
            raise ConvError(
                f"samples near frame {self.frames[index]} are not numbers (NaN or infinite): fill them first"
            )
        return [frame if len(frame) > 1 else frame[0] for frame in block.swapaxes(0, 1)]

    def _values(self, index: int, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Return one result, (Y, X)."""
        values = square_difference(*frames) if self._whole else self._computed(index, frames)
        if self._rest is not None:
            values[self._rest] = 0
        return values

    def _computed(self, index: int, frames: Sequence[np.ndarray]) -> np.ndarray:
        box = ((index, index + 1), *whole(self._chain.output[1:]))
        first = [start for start, _ in self._pipeline.runner.needed(box)]
        block = np.stack([frame if frame.ndim == 3 else frame[None] for frame in frames], axis=1)
        values, _ = self._pipeline.runner.values(box, lambda part: block[(slice(None), *slices(part, first))])
        return values.reshape(values.shape[-2:])

    def _steadied(
        self, index: int, frames: Sequence[np.ndarray], values: np.ndarray
    ) -> tuple[np.ndarray, float]:
        """Return a result in steady light, and how much of a change of light may be left in it."""
        if np.median(np.abs(values.reshape(-1)[self._some])) <= FAINT * self.level:
            return values, 0.0
        white = self._job.full_scale
        grey = [_grey(frame) for frame in frames]
        lights = [light_change(frame, grey[-1], white) for frame in grey[:-1]]
        if not any(lights):
            return values, 0.0
        steady = [
            light.applied(frame, white) if light else frame
            for frame, light in zip(frames, (*lights, None), strict=True)
        ]
        return self._values(index, steady), LEFT / self._unit * max(light.change for light in lights if light)

    def sights(self, limits: Limits, progress: Progress = lambda done, total: None) -> Iterator[Sight]:
        """Yield all results in order, for which the detector has seen them."""
        least = max(self.detector.rules.min_area, self._least, 1)

        def judged(index: int, frames: list[np.ndarray]) -> Sight:
            return self._judged(index, frames, limits, least)

        workers = max(self._pipeline.plan.workers, 2)
        with self._pipeline.engine:
            for index, sight in enumerate(in_order(range(self._job.length), self._read, judged, workers)):
                time, duration = self._shown(index)
                self.detector.add(self.frames[index], self._start + time, duration, self._placed(sight.look))
                yield sight
                progress(index + 1, self._job.length)
        self.detector.close()

    @np.errstate(all="ignore")
    def _judged(self, index: int, frames: list[np.ndarray], limits: Limits, least: float) -> Sight:
        values = self._values(index, frames)
        blocks, bounds = largest(values, limits.side), limits.blocks
        how = self._how
        judges_light = how.stabilise_light or how.threshold is None
        shift = float(np.median(values.reshape(-1)[self._some])) if judges_light else 0.0
        if how.stabilise_light or (how.threshold is None and (blocks > bounds).any()):
            values, left = self._steadied(index, frames, values)
            blocks, bounds = largest(values, limits.side), bounds + left
        if (blocks > bounds).mean() > MANY:
            bounds = np.maximum(bounds, limits.raised(values, blocks, CEILING * self.level))
        mask, over = np.zeros(values.shape, bool), blocks > bounds
        seen = self._look(values, mask, over, Limits(bounds, limits.side), least) if over.any() else NOTHING
        if seen.share >= MUCH:
            seen = replace(seen, kind=kind_of(*(scene_of(_grey(frame)) for frame in (frames[0], frames[-1]))))
        scene = scene_of(_grey(frames[-1])) * (255 / self._job.full_scale) if seen.boxes else None
        return Sight(values, mask, replace(seen, shift=shift, scene=scene) if shift or seen.boxes else seen)

    def _look(
        self, values: np.ndarray, mask: np.ndarray, over: np.ndarray, limits: Limits, least: float
    ) -> Look:
        """Find what moves, write it to ``mask``, and measure it; only blocks that are ``over`` hold any."""
        rows, columns = (np.flatnonzero(over.any(axis=axis)) for axis in (1, 0))
        bounds, side = limits.blocks, limits.side
        left, top = int(columns[0]) * side, int(rows[0]) * side
        if values.dtype.kind == "i":  # compared as they are, which is faster
            bounds = np.floor(bounds).astype(values.dtype)
        height, width = values.shape[0] // side, values.shape[1] // side

        def blocks(array: np.ndarray) -> np.ndarray:
            return array[: height * side, : width * side].reshape(height, side, width, side).swapaxes(1, 2)

        y, x = np.nonzero(over[:height, :width])
        blocks(mask)[y, x] = np.abs(blocks(values)[y, x]) > bounds[y, x, None, None]
        for row, column in np.argwhere(over).tolist():
            if row == height or column == width:  # at the edges they may be smaller
                part = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
                mask[part] = np.abs(values[part]) > bounds[row, column]
        inside = mask[top : (rows[-1] + 1) * side, left : (columns[-1] + 1) * side]
        if np.count_nonzero(inside) >= GLOBAL * self.pixels:
            return look(values, mask, [(0, 0, mask.shape[1], mask.shape[0])], self.pixels, limits)
        boxes = [(left + x, top + y, width, height) for x, y, width, height in keep_regions(inside, least)]
        return look(values, mask, grouped(boxes, side // 2), self.pixels, limits) if boxes else NOTHING

    def _shown(self, index: int) -> tuple[float, float]:
        """Return when a result's frame is shown and for how long, in seconds."""
        time = self._times.seconds(self.frames[index])
        if index + 1 < len(self.frames):
            return time, self._times.seconds(self.frames[index + 1]) - time
        return time, self._times.shown_for(self.frames[index])

    def _placed(self, look: Look) -> Look:
        """Return a look in pixels of the whole picture and grey levels."""
        (rows, columns), corner = self.grid, self._source.corner
        boxes = tuple(
            (corner[0] + x * columns, corner[1] + y * rows, width * columns, height * rows)
            for x, y, width, height in look.boxes
        )
        return replace(look, boxes=boxes, strength=look.strength / self.level, shift=look.shift / self.level)

    @cached_property
    def _rendering(self) -> Rendering:
        return replace(self._job, policy=self._display, dtype=self.dtype).rendering()

    def picture(self, values: np.ndarray) -> np.ndarray:
        """Return a result's values (Y, X) as pixels: rest is mid grey."""
        return render(values * np.float32(self._unit), self._rendering)[0]


def _bound(kernels: Sequence[Kernel], settings: Sequence[Settings], info: Info) -> Chain:
    """Bind kernels with settings of their own, each behind the one before."""
    letters = canonical(info)
    sizes: Sequence[int] = [info.size(letter) for letter in letters]
    chains = []
    for kernel, own in zip(kernels, settings, strict=True):
        chains.append(bind([kernel], own, letters, sizes, 1))
        sizes = chains[-1].output
    trail = (chains[0].sizes[0], *(chain.output for chain in chains))
    return Chain(letters, trail, tuple(chain.stages[0] for chain in chains), 1)


def _grey(frame: np.ndarray) -> np.ndarray:
    """Return a frame (Y, X) of one (Y, X) or (C, Y, X)."""
    grey: np.ndarray = frame if frame.ndim == 2 else frame.mean(axis=0, dtype=np.float32)
    return grey
