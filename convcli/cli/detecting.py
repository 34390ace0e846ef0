"""The work of ``motion``: open, bind, find the threshold, then one pass over the clip for everything at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from convcli.chain import Chain, ConvStage, Settings, bind
from convcli.cli import report
from convcli.cli.clip_input import Part, open_clip
from convcli.cli.event_files import summary, table, write_events
from convcli.cli.motion import MotionRequest
from convcli.cli.progress import Meter
from convcli.cli.report import Verbosity
from convcli.data import Colour, Info, Sink
from convcli.engines import get_engine
from convcli.engines.base import Engine
from convcli.errors import ConvError, UsageError
from convcli.geometry import TransposedWindow
from convcli.job import Job, canonical
from convcli.kernel import load_kernel
from convcli.kernel.model import Defaults, Kernel
from convcli.media import registry
from convcli.media.clip import Clip, clip_of
from convcli.media.options import WriteOptions
from convcli.media.target import STANDARD, check_not_input, check_output, output
from convcli.motion.differences import square_difference
from convcli.motion.events import Detector, Look, Rules, look, moving
from convcli.motion.noise import MOST_FRAMES, Noise, sample
from convcli.motion.picture import HeatMap, overlay, strip
from convcli.plan import available_threads, choose
from convcli.policies import Channels
from convcli.ranges import Range, RangeKind
from convcli.render import Tally, render
from convcli.run import Runner, execute

Result = tuple[np.ndarray, np.ndarray, Look]
STILLS = 6  # frames of the strip


def detect(request: MotionRequest) -> bool:
    """Do it all; return whether there was motion."""
    kernel = load_kernel(request.kernel, 3)
    if kernel.rank != 3 or (len(kernel.rows) > 1 and kernel.combine == "none"):
        raise UsageError(
            f"kernel {kernel.name}: motion needs one of rank 3 (time, height, width) with one output, "
            "such as motion, frame-difference, temporal-edge"
        )
    paths = _outputs(request)
    for path, binary in paths:
        check_output(path, force=request.force, binary=binary)
        if not request.force:
            check_not_input(path, [request.input])
    with closing(open_clip(request.input, request.reading, request.region)) as source:
        try:
            return _Detection(request, kernel, source).run()
        except ConvError as error:
            name = "standard input" if request.input == STANDARD else request.input
            if isinstance(error, UsageError) or name in str(error):
                raise
            raise ConvError(f"{name}: {error}", error.exit_code) from error


def _picture_path(request: MotionRequest) -> str | None:
    if not request.picture:
        return None
    stem = "stdin" if request.input == STANDARD else Path(request.input).stem
    return request.output or f"{stem}.motion.mp4"


def _outputs(request: MotionRequest) -> list[tuple[str, bool]]:
    """Return the names of all outputs, and whether they are binary; wrong suffixes are found here."""
    found: list[tuple[str, bool]] = []
    if path := _picture_path(request):
        format = registry.by_name("mp4") if path == STANDARD else registry.by_suffix(path)
        if "T" not in format.axes:
            raise UsageError(f"{path!r}: a {format.name.upper()} file holds no clip: write .mp4, .mkv, .gif")
        found.append((path, format.binary))
    for picture in (request.heatmap, request.still):
        if picture is not None:
            registry.by_suffix(picture)
            found.append((picture, True))
    if request.events not in (None, STANDARD):
        found.append((str(request.events), False))
    return found


def newest(chain: Chain, index: int) -> int:
    """Return the frame that a result is about: of two frames the newer, of three the one in the middle."""
    for stage in reversed(chain.stages):
        window = stage.windows[0]
        if isinstance(stage, ConvStage) and not isinstance(window, TransposedWindow):
            index = index * window.stride - window.before + window.dilation * (window.kernel // 2)
    return index


class _Detection:
    """One clip: the job, and what is made of its results."""

    def __init__(self, request: MotionRequest, kernel: Kernel, source: Part) -> None:
        self.request, self.kernel, self.source = request, kernel, source
        info = source.info
        self.clip = clip_of(info.companions)
        kernels = [kernel]
        if request.denoise > 1:
            kernels.insert(0, load_kernel(f"temporal-mean:{request.denoise}", 3))
        settings = [Settings()] * (len(kernels) - 1) + [Settings(stride=request.stride)]
        self.chain = _bound(kernels, settings, info)
        self.job = Job(info, self.chain, Channels.GREY, Range(RangeKind.FLOAT), "float32", "float32")
        plan = choose(
            self.chain, self.job.stream, engine=request.engine, device="cpu", threads=available_threads()
        )
        self.plan = replace(plan, step=1)
        self.level = self.job.full_scale / 255
        self.shape = (self.chain.output[1], self.chain.output[2])
        windows = self.chain.stages[-1].windows
        self.grid = tuple(window.stride for window in windows[1:])
        self.whole = is_square_difference(kernel) and self._plain(request)
        # What one of the values is in the units of the data; the level and thresholds are in values.
        self.unit = kernel.weights[-1] if self.whole else 1.0
        self.level /= self.unit
        self.notes: tuple[str, ...] = ()
        self.frames = [newest(self.chain, index) for index in range(self.job.length)]

    def _plain(self, request: MotionRequest) -> bool:
        info = self.source.info
        return (
            request.stride is None
            and request.denoise == 1
            and (info.axes, info.dtype) == ("TYX", "uint8")
            and info.size("X") > 1
        )

    def run(self) -> bool:
        request = self.request
        engine = get_engine(self.plan.engine.value, "cpu", None)
        self._say_verbose(f"engine {self.plan.engine}: {self.plan.reason}")
        threshold = self._threshold(engine)
        notes = self._pass(engine, threshold)
        events = self.detector.events
        if request.events is not None:
            write_events(request.events, events, force=request.force)
        if request.json:
            report.print_json(summary(request.input, self.path, self.frames, threshold / self.level, events))
        elif request.verbosity is not Verbosity.QUIET:
            for line in dict.fromkeys((*self.source.info.notes, *self.notes, *notes)):
                report.note(line)
            for line in table(events):
                report.plain(line)
            for path, _ in _outputs(request):
                if path != STANDARD and request.output != STANDARD and request.events != STANDARD:
                    print(path)
        return bool(events)

    def _say_verbose(self, text: str) -> None:
        if self.request.verbosity is Verbosity.VERBOSE:
            report.note(text)

    def _threshold(self, engine: Engine) -> float:
        """Return the threshold in the units of the data."""
        if self.request.threshold is not None:
            return self.request.threshold * self.level
        noise = Noise(self.level)
        runner = Runner(self.job, self.source, engine)
        extent = sum(stage.windows[0].extent - 1 for stage in self.chain.stages) + 1
        step = max(self.chain.stages[-1].windows[0].stride, 1)
        keys = [key // step for key in self.source.keys]
        spans = sample(self.job.length, keys, most=max(MOST_FRAMES // max(extent, step), 1))
        for span in spans:
            for index in span:
                noise.add(self._steady(self._one(runner, index)))
        threshold = noise.threshold
        looked = sum(map(len, spans))
        self.notes = (
            f"threshold {threshold / self.level:.1f} grey levels, from noise of {noise.sigma / self.level:.2f} "
            f"in {looked} results",
        )
        return threshold

    def _one(self, runner: Runner, index: int) -> np.ndarray:
        """Return one result, (1, Y, X)."""
        if self.whole:
            return square_difference(*self.source.read(index, index + 2))[None]
        return _plane(runner.block(index, index + 1, runner.reader(index, index + 1))[0])

    def _results(self, engine: Engine, threshold: float, progress: Meter) -> Iterator[Result]:
        """Yield all results in order: values, what moves, and a look at it."""

        def judged(values: np.ndarray) -> Result:
            values = self._steady(values)[0]
            mask = moving(values, threshold)
            return values, mask, look(values, mask)

        if not self.whole:
            blocks = execute(self.job, self.source, engine, self.plan.step, Tally(), progress=progress)
            yield from (judged(_plane(block)) for block in blocks)
            return
        before = self.source.read(0, 1)[0]
        with ThreadPoolExecutor(1) as pool:  # one frame is judged while the next is decoded
            pending: Future[Result] | None = None
            for index in range(self.job.length):
                after = self.source.read(index + 1, index + 2)[0]
                done = pending
                pending = pool.submit(lambda a, b: judged(square_difference(a, b)[None]), before, after)
                if done is not None:
                    yield done.result()
                    progress(index, self.job.length)
                before = after
            if pending is not None:
                yield pending.result()
                progress(self.job.length, self.job.length)

    def _steady(self, values: np.ndarray) -> np.ndarray:
        if self.request.steady_light:
            values = values - values.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
        return values

    def _pass(self, engine: Engine, threshold: float) -> tuple[str, ...]:
        """Go through the clip once; return what the writers want to say."""
        request = self.request
        rules = Rules(
            request.min_area.pixels(self.shape[0] * self.shape[1]), request.min_duration, request.merge_gap
        )
        self.detector = Detector(rules)
        self.path = _picture_path(request)
        heat = HeatMap(self.shape) if request.heatmap else None
        wanted = set(np.linspace(0, self.job.length - 1, STILLS).round().astype(int).tolist())
        stills: list[np.ndarray] = []
        with ExitStack() as stack:
            sink = self._sink(stack) if self.path else None
            meter = Meter(request.progress, "frames")
            stack.callback(meter.close)
            for index, (values, mask, seen) in enumerate(self._results(engine, threshold, meter)):
                frame = self.frames[index]
                placed = replace(seen, box=self._placed(seen.box), strength=seen.strength / self.level)
                self.detector.add(frame, *self._shown(index), placed)
                if heat is not None:
                    heat.add(values, mask)
                if sink is None and not (request.still and index in wanted):
                    continue
                box = seen.box if seen.area >= max(rules.min_area, 1) else None
                picture = self._picture(frame, values, mask, box)
                if sink is not None:
                    sink.write(picture[None])
                if request.still and index in wanted:
                    stills.append(picture)
            self.detector.close()
            notes: tuple[str, ...] = ()
            if sink is not None:
                sink.close()
                notes = sink.notes
        if heat is not None:
            first = self.source.read(self.frames[0], self.frames[0] + 1)[0]
            rows, columns = self.grid
            scene = first[::rows, ::columns][: self.shape[0], : self.shape[1]]
            self._save(str(request.heatmap), heat.picture(scene if scene.shape[:2] == self.shape else None))
        if request.still:
            self._save(request.still, strip(stills))
        return notes

    def _shown(self, index: int) -> tuple[float, float]:
        """Return when a result's frame is shown and for how long, in seconds."""
        time = self.clip.seconds(self.frames[index])
        if index + 1 < len(self.frames):
            return time, self.clip.seconds(self.frames[index + 1]) - time
        return time, float(self.clip.duration(self.frames[index]) * self.clip.base)

    def _placed(self, box: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
        """Return a box in pixels of the whole picture."""
        rows, columns = self.grid
        x, y = self.request.region[:2] if self.request.region else (0, 0)
        return x + box[0] * columns, y + box[1] * rows, box[2] * columns, box[3] * rows

    def _picture(self, frame: int, values: np.ndarray, mask: np.ndarray, box: Any) -> np.ndarray:
        if self.request.overlay:
            rows, columns = self.grid
            return overlay(self.source.read(frame, frame + 1)[0][::rows, ::columns], mask, box)
        return render(values * np.float32(self.unit), self.rendering)[0]

    def _sink(self, stack: ExitStack) -> Sink:
        assert self.path is not None
        info = self.source.info
        kind = np.dtype(info.dtype)
        dtype = info.dtype if kind.kind == "u" and kind.itemsize <= 2 else "uint8"
        if self.request.overlay and dtype != info.dtype:
            raise UsageError(f"--overlay draws on pixels of 8 or 16 bits; the clip holds {info.dtype}")
        policy = self.kernel.display_policy
        self.rendering = replace(self.job, policy=policy, dtype=dtype).rendering()
        format = registry.by_name("mp4") if self.path == STANDARD else registry.by_suffix(self.path)
        shape = (len(self.frames), *self.shape)
        companions = self.clip.take(self.frames) if isinstance(self.clip, Clip) else None
        if self.request.overlay:
            form = Info("TYXC", (*shape, 3), dtype, Colour.RGB, companions=companions)
        else:
            form = Info("TYX", shape, dtype, Colour.GREY, companions=companions)
        fp = stack.enter_context(output(self.path, force=self.request.force, seeks=format.seeks))
        return registry.open_sink(fp, format, form, self.request.writing)

    def _save(self, path: str, picture: np.ndarray) -> None:
        format = registry.by_suffix(path)
        colour = Colour.RGB if picture.ndim == 3 else Colour.GREY
        info = Info("YXC" if picture.ndim == 3 else "YX", picture.shape, picture.dtype.name, colour)
        with output(path, force=self.request.force, seeks=format.seeks) as fp:
            sink = registry.open_sink(fp, format, info, WriteOptions())
            sink.write(picture)
            sink.close()


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
