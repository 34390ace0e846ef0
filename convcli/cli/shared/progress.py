"""How far long work is: a line on a terminal that is redrawn, or lines of JSON for programs.  Only on stderr."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from typing import TextIO

from convcli.common import signals

BETWEEN = 0.2  # seconds between two lines
PATIENCE = 1.0  # seconds of work before anything is shown
_WIDTH = 24


class Progress(StrEnum):
    """Whether and how progress is shown."""

    AUTO = "auto"  # a bar, on a terminal only
    JSON = "json"  # lines for programs
    NONE = "none"


class Meter:
    """Shows progress; call it with what is done and the total.

    Parameters
    ----------
    how : Progress
    what : str
        What is counted, such as ``frames``.
    """

    def __init__(self, how: Progress, what: str, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        if how is Progress.AUTO and not self._stream.isatty():
            how = Progress.NONE
        self._how, self._what = how, what
        self._begun = self._shown = time.monotonic()
        self._drawn = False
        signals.add(self.close)

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        last = done == total
        if self._how is Progress.NONE or (now - self._shown < BETWEEN and not last):
            return
        rate = done / max(now - self._begun, 1e-9)
        left = (total - done) / rate if rate else 0.0
        self._shown = now
        if self._how is Progress.JSON:
            import json  # 1 ms that others need not wait for

            facts = {"done": done, "total": total, "unit": self._what, "per_second": round(rate, 2)}
            print(json.dumps(facts | {"seconds_left": round(left, 2)}), file=self._stream, flush=True)
        elif now - self._begun > PATIENCE or self._drawn:
            self._draw(done, total, rate, left)

    def _draw(self, done: int, total: int, rate: float, left: float) -> None:
        filled = _WIDTH * done // max(total, 1)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        text = f"[{bar}] {done}/{total} {self._what}, {rate:.1f}/s, {clock(left)} left"
        print(f"\r{text}\x1b[K", end="", file=self._stream, flush=True)
        self._drawn = True

    def close(self) -> None:
        """Take the bar away, so that notes stand alone."""
        if self._drawn:
            print("\r\x1b[K", end="", file=self._stream, flush=True)
            self._drawn = False
        signals.discard(self.close)


def clock(seconds: float) -> str:
    """Return a time for a person.

    >>> clock(59.6), clock(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
