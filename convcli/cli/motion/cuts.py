"""``motion --cut``: each event as a clip of its own, with what comes before and after it."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np

from convcli.cli.motion.request import Request
from convcli.common import UsageError, frozen
from convcli.data.axes import SECOND, Listed
from convcli.data.info import Info, channels_first
from convcli.detection.events import Event
from convcli.media import opening, registry
from convcli.media.clip_view import Part, open_clip
from convcli.media.files.target import STANDARD, outputs
from convcli.media.timing import Schedule, clip_of

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
