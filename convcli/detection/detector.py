"""The motion job: what is computed of a clip, the threshold from its noise, and one pass over its frames.

Files, options in words and what is written stay outside: a source comes in, sights go out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np

from convcli.common.choices import Channels, EngineName
from convcli.common.errors import ConvError, UsageError
from convcli.common.frozen import frozen
from convcli.data.box import whole
from convcli.data.info import Info, Source
from convcli.detection.events import Box, Look, look, moving
from convcli.detection.noise import MOST_FRAMES, Noise, sample
from convcli.detection.square_difference import square_difference
from convcli.execution.pipeline import Pipeline, Resources
from convcli.geometry.windows import TransposedWindow
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import Chain, ConvStage
from convcli.jobs.job import Job, canonical
from convcli.kernel import load_kernel
from convcli.kernel.model import Defaults, Kernel
from convcli.pixels.ranges import Float
from convcli.pixels.render import Rendering, Tally, render


class Times(Protocol):
    """When the frames of a clip are shown."""

    def seconds(self, index: int) -> float: ...

    def shown_for(self, index: int) -> float: ...


@frozen
class Watching:
    """How to look for motion.

    Attributes
    ----------
    kernel
        Of rank 3, with one output.
    threshold
        Grey levels of 255, ``None`` is from the clip's noise.
    stride
        Steps along time, y and x.
    denoise
        The mean of so many frames comes first.
    steady_light
        Subtract the mean of each result.
    engine
    """

    kernel: Kernel
    threshold: float | None = None
    stride: tuple[int, ...] | None = None
    denoise: int = 1
    steady_light: bool = False
    engine: EngineName = EngineName.AUTO


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
    if kernel.rank != 3 or (len(kernel.rows) > 1 and kernel.combine == "none"):
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
        and kernel.defaults == Defaults()
    )


class Watch:
    """One clip and what is computed of it.

    Parameters
    ----------
    source : Source
        Axes ``TYX`` or ``TYXC``, in any order of ``T``, ``Y``, ``X``, without alpha.
    how : Watching
    keys : sequence of int
        Frames at which decoding can begin.

    Attributes
    ----------
    frames : list of int
        For each result the frame that it is about.
    shape : (height, width)
        Of a result.
    dtype : str
        Of the pictures: the clip's, where that is 8 or 16 bits.
    level : float
        One grey level of 255 in the units of the values.
    notes : tuple of str
        How the threshold was found.
    """

    def __init__(self, source: Source, how: Watching, keys: Sequence[int] = (0,)) -> None:
        self._source, self._how, self._keys = source, how, keys
        info = source.info
        kernels = [how.kernel]
        if how.denoise > 1:
            kernels.insert(0, load_kernel(f"temporal-mean:{how.denoise}", 3))
        settings = [Settings()] * (len(kernels) - 1) + [Settings(stride=how.stride)]
        self._chain = _bound(kernels, settings, info)
        self._job = Job(info, self._chain, Channels.GREY, Float(), "float32", "float32")
        self._whole = is_square_difference(how.kernel) and self._plain()
        engine = EngineName.NUMPY if self._whole else how.engine
        self._pipeline = Pipeline(self._job, source, Resources(engine), step=1)
        self.shape = (self._chain.output[1], self._chain.output[2])
        self.grid = tuple(window.stride for window in self._chain.stages[-1].windows[1:])
        self.frames = [newest(self._chain, index) for index in range(self._job.length)]
        kind = np.dtype(info.dtype)
        self.dtype = kind.name if kind.kind == "u" and kind.itemsize <= 2 else "uint8"
        self.notes: tuple[str, ...] = ()
        # What one of the values is in the units of the data; the level and thresholds are in values.
        self._unit = how.kernel.weights[-1] if self._whole else 1.0
        self.level = self._job.full_scale / 255 / self._unit

    def _plain(self) -> bool:
        how, info = self._how, self._source.info
        return (
            how.engine is not EngineName.TORCH
            and how.stride is None
            and how.denoise == 1
            and (info.letters, info.dtype) == ("TYX", "uint8")
            and info.size("X") > 1
        )

    @property
    def engine(self) -> str:
        """Which engine computes, and why."""
        plan = self._pipeline.plan
        return f"{plan.engine}: {'frames are subtracted in whole numbers' if self._whole else plan.reason}"

    def threshold(self) -> float:
        """Return what a value must exceed to count as motion."""
        if self._how.threshold is not None:
            return self._how.threshold * self.level
        noise = Noise(self.level)
        extent = sum(stage.windows[0].extent - 1 for stage in self._chain.stages) + 1
        step = max(self._chain.stages[-1].windows[0].stride, 1)
        starts = [key // step for key in self._keys]
        spans = sample(self._job.length, starts, most=max(MOST_FRAMES // max(extent, step), 1))
        for span in spans:
            for index in span:
                noise.add(self._steady(self._present(self._one(index), index)))
        self.notes = (
            f"threshold {noise.threshold / self.level:.1f} grey levels, from noise of "
            f"{noise.sigma / self.level:.2f} in {sum(map(len, spans))} results",
        )
        return noise.threshold

    def _one(self, index: int) -> np.ndarray:
        """Return one result, (1, Y, X)."""
        if self._whole:
            return square_difference(*self._source.strip(index, index + 2))[None]
        box = ((index, index + 1), *whole(self._chain.output[1:]))
        runner = self._pipeline.runner
        return _plane(runner.values(box, runner.reader(box))[0])

    def _present(self, values: np.ndarray, index: int) -> np.ndarray:
        """Return a result as it is.

        Raises
        ------
        ConvError
            For samples that are no numbers: whether they move cannot be said.
        """
        if np.dtype(self._source.info.dtype).kind == "f" and not np.isfinite(values).all():
            raise ConvError(
                f"samples near frame {self.frames[index]} are no numbers (NaN or infinite): fill them first"
            )
        return values

    def sights(
        self, threshold: float, progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Iterator[Sight]:
        """Yield all results in order."""

        def judged(values: np.ndarray) -> Sight:
            values = self._steady(values)[0]
            mask = moving(values, threshold)
            return Sight(values, mask, look(values, mask))

        if not self._whole:
            for index, (_, block) in enumerate(self._pipeline.blocks(Tally(), progress)):
                yield judged(self._present(_plane(block), index))
            return
        before = self._source.strip(0, 1)[0]
        with ThreadPoolExecutor(1) as pool:  # one frame is judged while the next is decoded
            pending: Future[Sight] | None = None
            for index in range(self._job.length):
                after = self._source.strip(index + 1, index + 2)[0]
                done = pending
                pending = pool.submit(lambda a, b: judged(square_difference(a, b)[None]), before, after)
                if done is not None:
                    yield done.result()
                    progress(index, self._job.length)
                before = after
            if pending is not None:
                yield pending.result()
                progress(self._job.length, self._job.length)

    def _steady(self, values: np.ndarray) -> np.ndarray:
        if self._how.steady_light:
            values = values - values.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
        return values

    def shown(self, times: Times, index: int) -> tuple[float, float]:
        """Return when a result's frame is shown and for how long, in seconds."""
        time = times.seconds(self.frames[index])
        if index + 1 < len(self.frames):
            return time, times.seconds(self.frames[index + 1]) - time
        return time, times.shown_for(self.frames[index])

    def placed(self, look: Look, corner: tuple[int, int] = (0, 0)) -> Look:
        """Return a look in pixels of the whole picture and grey levels.

        ``corner`` is the place (x, y) of the source's pictures in it.
        """
        rows, columns = self.grid
        x, y, width, height = look.box
        box: Box = (corner[0] + x * columns, corner[1] + y * rows, width * columns, height * rows)
        return replace(look, box=box, strength=look.strength / self.level)

    @cached_property
    def _rendering(self) -> Rendering:
        return replace(self._job, policy=self._how.kernel.display_policy, dtype=self.dtype).rendering()

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


def _plane(block: np.ndarray) -> np.ndarray:
    """Return results as (T, Y, X)."""
    return block.reshape(block.shape[-3:])
