"""How far long work is: a line on a terminal that is redrawn, or lines of JSON for programs.  Only on stderr."""

import os
import sys
import time
from typing import TextIO

from convcli.cli.shared import terminal
from convcli.cli.shared.options import Progress
from convcli.common import printable, signals

BETWEEN = 0.2  # seconds between two lines
PATIENCE = 1.0  # seconds of work before anything is shown


class Meter:
    """Shows progress; call it with what is done and the total, and perhaps the name of what is at work.

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
        self._bar: terminal.Bar | None = None
        signals.add(self._leave)

    def __call__(self, done: int, total: int, name: str = "") -> None:
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
            facts |= {"seconds_left": round(left, 2)} | ({"name": name} if name else {})
            print(json.dumps(facts), file=self._stream, flush=True)
        elif now - self._begun > PATIENCE or self._bar is not None:
            self._bar = self._bar or terminal.Bar(self._stream, self._what)
            self._bar.draw(done, total, rate, clock(left), printable(name))

    def hide(self) -> None:
        """Take the bar away until the next step, so that what is printed now stands alone."""
        if self._bar is not None:
            self._stream.write("\r\x1b[K")

    def close(self) -> None:
        """Take the bar away, so that notes stand alone."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        signals.discard(self._leave)

    def _leave(self) -> None:
        """Undo the bar where a signal came, past Python's streams: the signal may have come while they wrote."""
        if self._how is Progress.AUTO:
            os.write(self._stream.fileno(), terminal.Bar.UNDO)


def clock(seconds: float) -> str:
    """Return a time for a person.

    >>> clock(59.6), clock(3725)
    ('1:00', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
