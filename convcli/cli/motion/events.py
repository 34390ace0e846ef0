"""Events for others: lines of JSON, CSV, a table for a person."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from convcli.cli.motion.cuts import Cut
from convcli.cli.shared.terminal import Table
from convcli.common.frozen import frozen
from convcli.detection.events import Event
from convcli.media.files.target import STANDARD, output

_BOX = ("x", "y", "width", "height")
_TIMES = ("start", "end", "peak", "start_frame", "end_frame", "peak_frame")
_FIELDS = (*_TIMES, "area", *_BOX, "strength", "objects")
_MOST = 40  # rows of the table


def write_events(path: str, events: Sequence[Event], *, force: bool) -> None:
    """Write events to a file, CSV if its suffix says so, or to standard output for ``-``."""
    rows = [event.facts for event in events]
    writers = {".csv": _csv, ".edl": _edl}
    text = writers.get(PurePath(path).suffix.lower(), _lines)(rows)
    if path == STANDARD:
        sys.stdout.write(text)
        return
    with output(path, force=force, binary=False) as fp:
        fp.write(text.encode())


def _lines(rows: Sequence[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        objects = " ".join(",".join(map(str, box)) for box in row["objects"])
        writer.writerow(row | dict(zip(_BOX, row["bbox"], strict=True)) | {"objects": objects})
    return text.getvalue()


def _edl(rows: Sequence[dict[str, Any]]) -> str:
    """Return an edit decision list (CMX 3600): an event is a cut of the clip, its frames counted at its mean rate."""
    last = max(rows, key=lambda row: row["end_frame"], default=None)
    rate = max(round(last["end_frame"] / last["end"]), 1) if last and last["end"] else 25

    def timecode(frame: int) -> str:
        seconds, frames = divmod(frame, rate)
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}:{frames:02}"

    lines, done = ["TITLE: motion", "FCM: NON-DROP FRAME", ""], 0
    for number, row in enumerate(rows, 1):
        first, end = row["start_frame"], row["end_frame"] + 1
        places = (first, end, done, done + end - first)
        lines.append(f"{number:03}  AX       V     C        {' '.join(map(timecode, places))}")
        done += end - first
    return "\n".join(lines) + "\n"


@frozen
class Found:
    """What was found in a clip; the threshold is in grey levels of 255."""

    input: str
    output: str | None
    frames: int
    threshold: float
    events: Sequence[Event]
    cuts: Sequence[Cut] = ()


def lines(found: Found) -> Iterator[str | Table]:
    """Yield a table of the events, or that there is nothing."""
    if not found.events:
        yield "no motion"
        return
    rows: list[tuple[str, ...]] = [("start", "end", "peak", "frames", "area", "x,y,width,height", "strength")]
    for event in found.events[:_MOST]:
        times = (f"{time:.3f}" for time in (event.start, event.end, event.peak))
        frames, box = f"{event.start_frame}-{event.end_frame}", ",".join(map(str, event.box))
        rows.append((*times, frames, str(event.area), box, f"{event.strength:.1f}"))
    yield Table(rows, ">")
    if len(found.events) > _MOST:
        yield f"and {len(found.events) - _MOST} more: --events FILE has them all"
