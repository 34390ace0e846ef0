"""Leaving at once when told to (SIGINT, SIGTERM): what is half done is undone, and nothing else runs.

An exception would have to find its way through whatever library is at work: some swallow it, some complain on the
terminal, some wait for their threads.  So a signal raises none.  What would survive the process (a temporary file,
a program that was started, a progress bar) says here how it goes away.

Only the command's own process does this: from Python, an interrupt is the caller's, and stays an exception.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_undo: list[Callable[[], object]] = []
_held: list[object] = []
_told: list[int] = []  # the exit code, once a signal has come


def add(action: Callable[[], object]) -> None:
    """Have an action done if the process is told to leave, until :func:`discard`; the last comes first."""
    _undo.append(action)


def discard(action: Callable[[], object]) -> None:
    """Forget an action; one that is not there is no error."""
    with suppress(ValueError):
        _undo.remove(action)


def forget() -> None:
    """Forget all actions, in a copy of the process: what they undo is not its own."""
    _undo.clear()


@contextmanager
def held() -> Iterator[None]:
    """Put off leaving to the end of this block: what it begins and what undoes it belong together."""
    _held.append(None)
    if _told and len(_held) == 1:  # another thread is on its way out: begin nothing
        _leave(_told[0])
    try:
        yield
    finally:
        _held.pop()
        if _told and not _held:
            _leave(_told[0])


def leave_on(number: signal.Signals) -> None:
    """From now on a signal ends the process, with the exit code that a shell gives it: 128 and its number."""

    def told(_: int, frame: FrameType | None) -> None:
        _told.append(128 + number)
        if not _held:
            _leave(128 + number)

    signal.signal(number, told)


def _leave(code: int) -> None:
    for action in reversed(_undo):
        with suppress(Exception):
            action()
    os._exit(code)
