"""Events for others: lines of JSON, CSV, a table for a person."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from convcli.cli.shared import report
from convcli.cli.shared.tables import print_table
from convcli.detection.events import Event
from convcli.media.files.target import STANDARD, output

_FIELDS = ("start", "end", "peak", "start_frame", "end_frame", "peak_frame", "area", "x", "y", "width", "height",
           "strength")  # fmt: skip
_MOST = 40  # rows of the table


def write_events(path: str, events: Sequence[Event], *, force: bool) -> None:
    """Write events to a file, CSV if its suffix says so, or to standard output for ``-``."""
    text = _csv(events) if PurePath(path).suffix.lower() == ".csv" else _lines(events)
    if path == STANDARD:
        sys.stdout.write(text)
        return
    with output(path, force=force, binary=False) as fp:
        fp.write(text.encode())


def _lines(events: Sequence[Event]) -> str:
    return "".join(json.dumps(event.facts) + "\n" for event in events)


def _csv(events: Sequence[Event]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _FIELDS, lineterminator="\n")
    writer.writeheader()
    for event in events:
        facts = event.facts
        box = dict(zip(("x", "y", "width", "height"), event.box, strict=True))
        writer.writerow({key: value for key, value in facts.items() if key != "bbox"} | box)
    return text.getvalue()


def summary(
    name: str, path: str | None, frames: Sequence[int], threshold: float, events: Sequence[Event]
) -> dict[str, Any]:
    """Return the report for a program."""
    return {
        "input": name,
        "output": path,
        "frames": len(frames),
        "threshold": round(threshold, 3),
        "events": [event.facts for event in events],
    }


def print_events(events: Sequence[Event]) -> None:
    """Print a table on stderr, or that there is nothing."""
    if not events:
        report.plain("no motion")
        return
    rows = [("start", "end", "peak", "frames", "area", "x,y,width,height", "strength")]
    rows += [
        (
            f"{event.start:.3f}",
            f"{event.end:.3f}",
            f"{event.peak:.3f}",
            f"{event.start_frame}-{event.end_frame}",
            str(event.area),
            ",".join(map(str, event.box)),
            f"{event.strength:.1f}",
        )
        for event in events[:_MOST]
    ]
    print_table(rows, left=0, stream=sys.stderr)
    if len(events) > _MOST:
        report.plain(f"and {len(events) - _MOST} more: --events FILE has them all")
