"""Events: stretches of time in which something moves, found frame by frame as results come."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from convcli.common.frozen import frozen

Box = tuple[int, int, int, int]  # x, y, width, height


@frozen
class Look:
    """What moves in one result.

    Attributes
    ----------
    area
        Pixels beyond the threshold.
    box
        The smallest rectangle around them.
    strength
        Their mean size, in the units of the values.
    """

    area: int
    box: Box
    strength: float


NOTHING = Look(0, (0, 0, 0, 0), 0.0)


def moving(values: np.ndarray, threshold: float) -> np.ndarray:
    """Return where a result (Y, X) lies beyond the threshold, of either sign."""
    if values.dtype.kind == "i":  # compared as they are, which is faster
        threshold = math.floor(threshold)
    found = values > threshold
    found |= values < -threshold
    return found


def look(values: np.ndarray, mask: np.ndarray) -> Look:
    """Measure what moves in a result (Y, X), ``mask`` from :func:`moving`.

    >>> values = np.zeros((4, 6)); values[1, 2:5] = -9
    >>> look(values, moving(values, 2))
    Look(area=3, box=(2, 1, 3, 1), strength=9.0)
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return NOTHING
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    left, right = int(columns[0]), int(columns[-1]) + 1
    inside = mask[top:bottom, left:right]
    found = values[top:bottom, left:right][inside]
    return Look(len(found), (left, top, right - left, bottom - top), float(np.abs(found).mean()))


@frozen
class Event:
    """A stretch of motion; frames are numbers of the input's, times are seconds.

    Attributes
    ----------
    area, strength
        At the peak, where the most moves the most: pixels, and their mean size in grey levels of 255.
    box
        Around all that moves during the event.
    """

    start: float
    end: float
    peak: float
    start_frame: int
    end_frame: int
    peak_frame: int
    area: int
    box: Box
    strength: float

    @property
    def facts(self) -> dict[str, object]:
        """The event for a program."""
        return {
            "start": round(self.start, 6),
            "end": round(self.end, 6),
            "peak": round(self.peak, 6),
            "start_frame": self.start_frame,
            "end_frame": self.end_frame,
            "peak_frame": self.peak_frame,
            "area": self.area,
            "bbox": list(self.box),
            "strength": round(self.strength, 3),
        }


def union(a: Box, b: Box) -> Box:
    """Return the smallest rectangle around two.

    >>> union((2, 1, 3, 1), (0, 4, 1, 1))
    (0, 1, 5, 4)
    """
    left, top = min(a[0], b[0]), min(a[1], b[1])
    right, bottom = max(a[0] + a[2], b[0] + b[2]), max(a[1] + a[3], b[1] + b[3])
    return left, top, right - left, bottom - top


@frozen
class Rules:
    """What counts as an event.

    Attributes
    ----------
    min_area
        Pixels that must move at once.
    min_duration
        Seconds from the first moving frame to the end of the last.
    merge_gap
        Stillness of at most so many seconds does not end an event.
    """

    min_area: float = 1.0
    min_duration: float = 0.0
    merge_gap: float = 0.0


class Detector:
    """Turns looks, in order of time, into events."""

    def __init__(self, rules: Rules) -> None:
        self.events: list[Event] = []
        self._rules = rules
        self._open: Event | None = None
        self._until = 0.0  # the end of the last moving frame of the open event

    def add(self, frame: int, time: float, duration: float, look: Look) -> None:
        """Take the look at one frame: its number, when and for how many seconds it is shown."""
        if look.area < max(self._rules.min_area, 1):
            return
        here = Event(time, time, time, frame, frame, frame, look.area, look.box, look.strength)
        before = self._open
        if before is not None and time - self._until > self._rules.merge_gap + 1e-9:
            self.close()
            before = None
        self._open = here if before is None else _joined(before, here)
        self._until = time + duration

    def close(self) -> None:
        """End the open event, if any: the clip is over."""
        event, self._open = self._open, None
        if event is not None and self._until - event.start >= self._rules.min_duration - 1e-9:
            self.events.append(event)


def _joined(event: Event, here: Event) -> Event:
    stronger = here.area * here.strength > event.area * event.strength
    peak = here if stronger else event
    return replace(
        event,
        end=here.end,
        end_frame=here.end_frame,
        peak=peak.peak,
        peak_frame=peak.peak_frame,
        area=peak.area,
        strength=peak.strength,
        box=union(event.box, here.box),
    )
