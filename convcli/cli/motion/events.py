"""Events for others: lines of JSON, CSV, a table for a person."""

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from convcli.cli.motion.cuts import Cut
from convcli.cli.shared.terminal import WIDTH, Table
from convcli.common import frozen
from convcli.detection.changes import Change
from convcli.detection.events import Event
from convcli.media.files.target import STANDARD, output
from convcli.media.timing import Schedule

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
    text = (
        _edl(events, changes, schedule)
        if suffix == ".edl"
        else _csv(rows)
        if suffix == ".csv"
        else "".join(json.dumps(row) + "\n" for row in rows)
    )
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
    rows: list[tuple[str, ...]] = [("start", "end", "peak", "frames", "area", "x,y,width,height", "strength")]
    for event in found.events[:_MOST]:
        times = (f"{time:.3f}" for time in (event.start, event.end, event.peak))
        frames, box = f"{event.start_frame}-{event.end_frame}", ",".join(map(str, event.box))
        rows.append((*times, frames, str(event.area), box, f"{event.strength:.1f}"))
    if max(map(len, Table(rows, ">").lines())) > WIDTH:  # lines that wrap are no table
        rows = [(*row[:2], *row[3:]) for row in rows]
    yield Table(rows, ">")
    if len(found.events) > _MOST:
        yield f"and {len(found.events) - _MOST} more: --events FILE has them all"
