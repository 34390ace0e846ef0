"""Events for others: lines of JSON, CSV, a table for a person."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from convcli.cli.shared.terminal import Table
from convcli.common.frozen import frozen
from convcli.detection.events import Event
from convcli.media.files.target import STANDARD, output

_BOX = ("x", "y", "width", "height")
_FIELDS = ("start", "end", "peak", "start_frame", "end_frame", "peak_frame", "area", *_BOX, "strength")
_MOST = 40  # rows of the table


def write_events(path: str, events: Sequence[Event], *, force: bool) -> None:
    """Write events to a file, CSV if its suffix says so, or to standard output for ``-``."""
    rows = [event.facts for event in events]
    table = PurePath(path).suffix.lower() == ".csv"
    text = _csv(rows) if table else "".join(json.dumps(row) + "\n" for row in rows)
    if path == STANDARD:
        sys.stdout.write(text)
        return
    with output(path, force=force, binary=False) as fp:
        fp.write(text.encode())


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | dict(zip(_BOX, row["bbox"], strict=True)) for row in rows)
    return text.getvalue()


@frozen
class Found:
    """What was found in a clip; the threshold is in grey levels of 255."""

    input: str
    output: str | None
    frames: int
    threshold: float
    events: Sequence[Event]


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
