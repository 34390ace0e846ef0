"""The work of ``motion``: open, look, and make of one pass over the clip everything at once that was asked for.

``--cut`` writes each event as a clip of its own, with what comes before and after it.
"""

import csv
import io
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path, PurePath
from typing import IO, Any

import numpy as np

from convcli.cli.motion.request import Request
from convcli.cli.shared import report
from convcli.cli.shared.opened import areas_of
from convcli.cli.shared.outputs import check_apart, picture_form, write_whole
from convcli.cli.shared.terminal import WIDTH, Meter, Table
from convcli.common import UsageError, frozen
from convcli.data import SECOND, Colour, Info, Listed, Sink, channels_first
from convcli.detection.changes import Change
from convcli.detection.detector import Watch, motion_kernel
from convcli.detection.events import Box, Event
from convcli.detection.noise import Limits
from convcli.detection.picture import HeatMap, overlay, strip
from convcli.geometry.areas import Areas
from convcli.kernel import Kernel
from convcli.media import opening, registry
from convcli.media.clip_view import Part, open_clip
from convcli.media.files.target import STANDARD, about_input, output, outputs, shown
from convcli.media.opening import check_writing
from convcli.media.registry import Format
from convcli.media.timing import Schedule, clip_of, schedule

STILLS = 6  # frames of the strip
SHOWN = 5  # changes of the whole picture that are named
MOST = 0.9  # of the clip or the picture: an event that fills more is doubted
_TEXT = registry.by_name("csv")

AROUND = Fraction(1)  # second before an event, and after it
_NAMED = 5  # early beginnings that are named


@frozen
class Cut:
    """A file with an event, and what it holds of the clip, in seconds."""

    file: str
    start: float
    end: float


class Cutter:
    """Writes parts of a clip: its packets are copied, or its frames are coded if it has none.

    Attributes
    ----------
    names : str
        The pattern of the files' names.
    notes : list of str
        Lines for the person.
    """

    def __init__(self, request: Request, folder: Path, source: Part, schedule: Schedule) -> None:
        self._request, self._folder, self._source, self._schedule = request, folder, source, schedule
        self._clip, name = clip_of(source.info.companions), request.input
        self._copies = bool(self._clip.reopen and self._clip.coding and self._clip.coding.codec)
        films = (row for row in registry.FORMATS if row.film and name.lower().endswith(row.suffixes))
        copied = next(films, registry.by_name("mkv"))
        self._format = copied if self._copies else registry.by_name("mp4")
        self._stem = "stdin" if name == STANDARD else Path(opening.output_name(name, self._format)).stem
        self.notes: list[str] = []
        if not self._copies:
            if name == STANDARD:
                raise UsageError("--cut reads such a clip twice, and standard input comes once: name a file")
            if source.info.dtype not in self._format.dtypes:
                raise UsageError(f"--cut writes pixels of 8 or 16 bits; the clip holds {source.info.dtype}")
            self.notes.append("the clip has no packets to copy: its cuts are coded as MP4")
        self.names = str(folder / f"{self._stem}.%03d{self._format.suffixes[0]}")
        opening.check_output(str(folder / self._called(1)), self._format, force=request.force)

    def _called(self, number: int) -> str:
        return f"{self._stem}.{number:03}{self._format.suffixes[0]}"

    def write(self, events: Sequence[Event]) -> Iterator[Cut]:
        """Write a file for each event; they appear together."""
        times, base, around = self._schedule.times, self._schedule.base, AROUND / self._schedule.base
        from convcli.media.clips.cutter import copy_part

        early: list[str] = []
        with outputs(self._folder, force=self._request.force) as opened:
            for number, event in enumerate(events, 1):
                name, over = self._called(number), self._schedule.end(event.end_frame)
                asked = first = bisect_left(times, times[event.start_frame] - around)
                if self._copies:
                    first = max(key for key in self._source.keys if key <= asked)
                if first < asked:
                    early.append(f"{name} {float((times[asked] - times[first]) * base):.3f} s")
                last = bisect_left(times, over + around) - 1
                begin, end = times[first] * base, self._schedule.end(last) * base
                with opened(name) as fp:
                    if self._copies:
                        sound = self._request.writing.video.sound
                        self.notes += copy_part(fp, self._format.name, self._clip, begin, end, sound)
                    else:
                        self.notes += self._code(fp, first, last)
                yield Cut(str(self._folder / name), float(begin), float(end))
        if early:
            some = ", ".join(early[:_NAMED]) + (", ..." if len(early) > _NAMED else "")
            self.notes.append(f"copies begin at a key frame, earlier than a second before the event: {some}")

    def _code(self, fp: IO[bytes], first: int, last: int) -> Sequence[str]:
        """Code some frames, whole and in their own colours."""
        indices, start = range(first, last + 1), self._schedule.times[first]
        ticks = tuple(self._schedule.times[index] - start for index in indices)
        reading = replace(self._request.reading, all_frames=True)
        with closing(open_clip(self._request.input, reading)) as source:
            info = source.info
            letters = "TYXC"[: len(info.letters)]
            sizes = [len(ticks), *map(info.size, letters[1:])]
            form = Info.of(letters, sizes, info.dtype, info.colour, companions=self._clip.drop())
            form = form.placed(T=Listed(ticks, self._schedule.base, SECOND, self._schedule.end(last) - start))
            sink = registry.open_sink(fp, self._format, form, self._request.writing)
            for at, index in enumerate(indices):
                frame = channels_first(source, "TYX", ((index, index + 1), *form.box[1:]))
                sink.write(form.strip(at, at + 1), np.moveaxis(frame, 0, -1) if "C" in letters else frame[0])
            sink.close()
        return sink.notes


def detect(request: Request) -> bool:
    """Do it all; return whether there was motion."""
    kernel = motion_kernel(request.kernel)
    picture = _picture_path(request)
    check_writing(request.writing, _picture_format(picture or "-") if picture or request.cut else None)
    _check_apart(request)
    for path, format in _outputs(request):
        opening.check_output(path, format, force=request.force)
        opening.check_not_input(path, [request.input], force=request.force)
    reading = replace(request.reading, all_frames=True, grey=not request.overlay)
    areas = areas_of(request.region, request.ignore)
    clip = open_clip(request.input, reading, areas.mask if areas != Areas() else None)
    with closing(clip) as source, about_input(request.input):
        return _Detection(request, kernel, source).run()


def _picture_path(request: Request) -> str | None:
    if request.no_output:
        return None
    if request.output is not None:
        return request.output
    name = "stdin" if request.input == STANDARD else opening.output_name(request.input, _picture_format("-"))
    return f"{Path(name).stem}.motion.mp4"


def _picture_format(path: str) -> Format:
    format = registry.by_name("mp4") if path == STANDARD else opening.output_format(path)
    if "T" not in format.axes:
        raise UsageError(
            f"{format.name.upper()} files hold no clip: write .mp4, .mkv, .gif, "
            f"or one file a frame, such as %04d{format.suffixes[0]}",
            subject=shown(path),
        )
    return format


def _outputs(request: Request) -> list[tuple[str, Format]]:
    """Return the names of all outputs with their formats; wrong suffixes are found here."""
    path = _picture_path(request)
    found = [(path, _picture_format(path))] if path else []
    pictures = (request.heatmap, request.still)
    found += [(name, registry.by_suffix(name)) for name in pictures if name is not None]
    return found if request.events in (None, STANDARD) else [*found, (str(request.events), _TEXT)]


def _check_apart(request: Request) -> None:
    """Refuse outputs that would replace each other, and events in place of a clip, whatever -y says."""
    check_apart(*(path for path, _ in _outputs(request)))
    events = request.events
    if events not in (None, STANDARD) and Path(str(events)).suffix.lower() in {
        suffix for row in registry.FORMATS if row.binary for suffix in row.suffixes
    }:
        raise UsageError(f"--events {events!r}: events are text: name a .csv or .jsonl file")


class _Detection:
    """One clip, and what is made of its results."""

    def __init__(self, request: Request, kernel: Kernel, source: Part) -> None:
        self.request, self.source = request, source
        self.time = source.info.axis("T")
        self.schedule = schedule(self.time)
        start = float(clip_of(source.info.companions).start) if request.raw_times else 0.0
        how = request.watching, self.schedule, start, request.settings.stride, request.engine
        self.watch = Watch(source, kernel, *how)
        self.detector = self.watch.detector
        self.path = _picture_path(request)
        self.cutter = request.cut and Cutter(request, request.cut, source, self.schedule)
        if self.cutter:
            check_apart(*(path for path, _ in _outputs(request)), self.cutter.names)
        if request.overlay and self.watch.dtype != source.info.dtype:
            raise UsageError(f"--overlay draws on pixels of 8 or 16 bits; the clip holds {source.info.dtype}")

    def run(self) -> bool:
        request, watch = self.request, self.watch
        if request.messages.explain_choices:
            report.note(f"engine {watch.engine}")
        limits = watch.threshold()
        notes = self._pass(limits)
        events = self.detector.events
        if request.events is not None:
            write_events(request.events, events, self.detector.changes, self.schedule, force=request.force)
        cuts = tuple(self.cutter.write(events)) if self.cutter and events else ()
        notes += tuple(self.cutter.notes) if self.cutter else ()
        levels = round(float(np.median(limits.blocks)) / watch.level, 3)
        notes = (*self.source.later, *watch.notes, *notes)
        said = (*self.source.info.notes, *notes, *self._global_changes(), *self._doubts())
        changes, said = self.detector.changes, tuple(dict.fromkeys(said))
        place = request.input, self.source.boxes, self.path
        found = Found(*place, len(watch.frames), levels, events, changes, cuts, said)
        table = request.no_output and request.events is None  # it is the data, and goes where data goes
        quiet, shown = request.messages.quiet, table and events and not request.exit_code
        report.show(
            found,
            lines(found) if shown or not quiet else (),
            request,
            stream=None if request.json or (table and events) else sys.stderr,
        )
        quiet = quiet or request.json
        for path in () if quiet else (*(path for path, _ in _outputs(request)), *(cut.file for cut in cuts)):
            if path != STANDARD and request.output != STANDARD and request.events != STANDARD:
                report.say(path)
        return bool(events)

    def _global_changes(self) -> tuple[str, ...]:
        changes = self.detector.changes
        some = ", ".join(map(str, changes[:SHOWN])) + (", ..." if len(changes) > SHOWN else "")
        return (f"the whole picture changes, which is not counted as motion: {some}",) if changes else ()

    def _doubts(self) -> tuple[str, ...]:
        """Return a line about an event that is all of the clip, or of the picture."""
        height, width = (self.source.info.size(letter) for letter in "YX")
        for event in self.detector.events:
            clip = event.end_frame - event.start_frame >= MOST * (len(self.watch.frames) - 1)
            if clip or event.box[2] * event.box[3] >= MOST * width * height:
                what = "the whole clip" if clip else "nearly the whole picture"
                return (
                    f"the event at {event.start:.3f} s fills {what}: a camera that moves, rain or leaves? "
                    "Try --region with a quiet part, --min-area 0.5%, or a higher --threshold",
                )
        return ()

    def _pass(self, limits: Limits) -> tuple[str, ...]:
        """Go through the clip once; return what the writers want to say."""
        request, watch = self.request, self.watch
        heat = HeatMap(watch.shape) if request.heatmap else None
        wanted = set(np.linspace(0, len(watch.frames) - 1, STILLS).round().astype(int).tolist())
        stills: list[np.ndarray] = []
        with ExitStack() as stack:
            sink = self._sink(stack) if self.path else None
            meter = Meter(request.messages.shown_progress, "frames")
            stack.callback(meter.close)
            for index, (values, mask, seen) in enumerate(watch.sights(limits, meter)):
                if heat is not None:
                    heat.add(values, mask)
                if sink is None and not (request.still and index in wanted):
                    continue
                picture = self._picture(watch.frames[index], values, mask, seen.boxes)
                if sink is not None:
                    sink.write(sink.info.strip(index, index + 1), picture[None])
                if request.still and index in wanted:
                    stills.append(picture)
            notes: tuple[str, ...] = ()
            if sink is not None:
                sink.close()
                notes = (*self.left_out, *sink.notes)
        if heat is not None:
            first = self.source.strip(watch.frames[0], watch.frames[0] + 1)[0]
            rows, columns = watch.grid
            scene = first[::rows, ::columns][: watch.shape[0], : watch.shape[1]]
            picture = heat.picture(scene if scene.shape[:2] == watch.shape else None)
            write_whole(str(request.heatmap), picture, force=request.force, form=picture_form(picture))
        if request.still:
            picture = strip(stills)
            write_whole(request.still, picture, force=request.force, form=picture_form(picture))
        return notes

    def _picture(self, frame: int, values: np.ndarray, mask: np.ndarray, boxes: Sequence[Box]) -> np.ndarray:
        if self.request.overlay:
            rows, columns = self.watch.grid
            return overlay(self.source.strip(frame, frame + 1)[0][::rows, ::columns], mask, boxes)
        return self.watch.picture(values)

    def _sink(self, stack: ExitStack) -> Sink:
        assert self.path is not None
        frames = self.watch.frames
        step = frames[1] - frames[0] if len(frames) > 1 else 1
        time = self.time.along(Fraction(frames[0]), Fraction(step), len(frames))
        companions = clip_of(self.source.info.companions).take(frames)
        letters, colour = ("TYXC", Colour.RGB) if self.request.overlay else ("TYX", Colour.GREY)
        shape = (len(frames), *self.watch.shape, 3)[: len(letters)]
        form = Info.of(letters, shape, self.watch.dtype, colour, companions=companions)
        form = form.placed(T=time.positions)
        format = _picture_format(self.path)
        self.left_out = registry.left_out(form, format)
        return stack.enter_context(
            opening.open_sink(self.path, format, form, self.request.writing, force=self.request.force)
        )


# Events for others: lines of JSON, CSV, a table for a person

_BOX = ("x", "y", "width", "height")
_TIMES = ("start", "end", "peak", "start_frame", "end_frame", "peak_frame")
_FIELDS = ("kind", *_TIMES, "area", *_BOX, "strength", "objects")
_MOST = 40  # rows of the table


def write_events(
    path: str, events: Sequence[Event], changes: Sequence[Change], schedule: Schedule, *, force: bool
) -> None:
    """Write events and changes, by their start, to a file as its suffix says, or to standard output for ``-``.

    A change has a kind, a start and an end, and no more; of an event the kind is ``motion``.
    """
    suffix = PurePath(path).suffix.lower()
    rows: list[dict[str, Any]] = [{"kind": "motion"} | event.facts for event in events]
    rows += [{"kind": one.kind, "start": round(one.start, 6), "end": round(one.end, 6)} for one in changes]
    rows.sort(key=lambda row: row["start"])
    if suffix == ".edl":
        text = _edl(events, changes, schedule)
    elif suffix == ".csv":
        text = _csv(rows)
    else:
        text = "".join(report.json_text(row) + "\n" for row in rows)
    if path == STANDARD:
        sys.stdout.write(text)
        return
    with output(path, force=force, binary=False) as fp:
        fp.write(text.encode())


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        objects = " ".join(",".join(map(str, box)) for box in row.get("objects", ()))
        writer.writerow(row | dict(zip(_BOX, row.get("bbox", ()), strict=False)) | {"objects": objects})
    return text.getvalue()


def _edl(events: Sequence[Event], changes: Sequence[Change], schedule: Schedule) -> str:
    """Return an edit decision list (CMX 3600): an event is a cut of the clip, a change of the picture is a comment.

    Timecodes count frames of the clip's usual length from its beginning, also where frames are not evenly long.
    """
    rate = 1 / (schedule.step * schedule.base)

    def timecode(frame: int) -> str:
        seconds, frames = divmod(frame, max(round(rate), 1))
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"

    lines, done = ["TITLE: motion", "FCM: NON-DROP FRAME", ""], 0
    for number, event in enumerate(events, 1):
        first = round(event.start * rate)
        end = round((event.end + schedule.shown_for(event.end_frame)) * rate)
        places = (first, end, done, done + end - first)
        lines.append(f"{number:03}  AX       V     C        {' '.join(map(timecode, places))}")
        done += end - first
    for change in changes:
        span = [timecode(round(time * rate)) for time in (change.start, change.end)]
        lines.append(f"* {change.kind.upper()} FROM {' TO '.join(span)}")
    return "\n".join(lines) + "\n"


@frozen
class Found:
    """What was found in a clip; the threshold is in grey levels of 255."""

    input: str
    grain: Mapping[str, Any]
    output: str | None
    frames: int
    threshold: float
    events: Sequence[Event]
    changes: Sequence[Change] = ()
    cuts: Sequence[Cut] = ()
    notes: Sequence[str] = ()


def lines(found: Found) -> Iterator[str | Table]:
    """Yield a table of the events, without their peaks where it is too wide, or that there is nothing."""
    if not found.events:
        yield "no motion"
        return
    rows: list[tuple[str, ...]] = [
        ("start [s]", "end [s]", "peak [s]", "frames", "area [px]", "x,y,width,height", "strength")
    ]
    for event in found.events[:_MOST]:
        times = (f"{time:.3f}" for time in (event.start, event.end, event.peak))
        frames, box = f"{event.start_frame}-{event.end_frame}", ",".join(map(str, event.box))
        rows.append((*times, frames, str(event.area), box, f"{event.strength:.1f}"))
    if max(map(len, Table(rows, ">").lines())) > WIDTH:  # lines that wrap are no table
        rows = [(*row[:2], *row[3:]) for row in rows]
    yield Table(rows, ">")
    if len(found.events) > _MOST:
        yield f"and {len(found.events) - _MOST} more: --events FILE has them all"
