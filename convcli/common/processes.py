"""The same work on many items by several processes: forks of this one, so that nothing is imported twice.

Results come in the order of the items.  A process that is killed costs the one item that it was at.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convcli.common import signals
from convcli.common.errors import ConvError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")

_QUEUED = 2  # items that a process has before it, so that it never waits for the next one
_AHEAD = 4096  # results that wait for an item that takes long
_PATIENCE = 5.0  # seconds in which a process that is told to end does so


def can_fork() -> bool:
    """Return whether a copy of this process works: one thread is all that there is, those of libraries counted."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1
    except OSError:  # not Linux
        return False


class _Child:
    """A fork of this process that does work on the items whose numbers it is sent."""

    pipe: "Connection"

    def __init__(self, work: Callable[[int], object], others: "Sequence[_Child]") -> None:
        from multiprocessing import Pipe

        ours, theirs = Pipe()
        with signals.held():
            try:
                self.pid = os.fork()
            except OSError:
                ours.close()
                theirs.close()
                raise
            if self.pid == 0:
                signals.forget()
                for connection in (ours, *(child.pipe for child in others)):
                    connection.close()
        if self.pid == 0:
            _serve(work, theirs)
        theirs.close()
        self.pipe = ours
        self.given: deque[int] = deque()

    def give(self, index: int) -> None:
        self.given.append(index)
        with suppress(OSError):  # it has ended, which its end of the pipe will tell
            self.pipe.send(index)

    def told(self) -> Iterator[tuple[int, Any]]:
        """Yield the results that wait in the pipe.

        Raises
        ------
        EOFError, OSError
            When it has ended.
        """
        while self.pipe.poll():
            result = self.pipe.recv()
            yield self.given.popleft(), result

    def end(self, until: float) -> int:
        """Wait for its end, and make it end at a time of `time.monotonic`; return its code."""
        while True:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                return 0
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > until:
                with suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.002)


def _serve(work: Callable[[int], object], pipe: "Connection") -> None:
    """Do the work on each number that comes, to the end of the pipe, and end the process."""
    try:
        while True:
            pipe.send(work(pipe.recv()))
    except (EOFError, OSError):  # the other process has ended
        os._exit(0)
    except BaseException:
        os._exit(1)


def _ended(code: int) -> str:
    """Say how a process ended.

    >>> _ended(-9)
    'its process was ended by signal 9 (Killed), perhaps for want of memory'
    """
    if code == -signal.SIGKILL:
        return f"its process was ended by signal 9 ({signal.strsignal(9)}), perhaps for want of memory"
    return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with code {code}"


def in_order(
    work: Callable[[T], R],
    items: Sequence[T],
    processes: int,
    failed: Callable[[T, ConvError], R],
    arrived: Callable[[R], object] = lambda _: None,
) -> Generator[R, None, None]:
    """Yield the work's result for each item, in order.

    Parameters
    ----------
    work
        Raises nothing; its results can be pickled.
    processes
        One does the work here.
    failed
        The result of an item whose process was killed.
    arrived
        Gets each result as soon as it is there.
    """
    if processes < 2:
        for item in items:
            result = work(item)
            arrived(result)
            yield result
        return
    from multiprocessing.connection import wait

    children: list[_Child] = []
    ready: dict[int, R] = {}
    waiting = deque(range(len(items)))
    count = 0  # yielded

    def keep(index: int, result: R) -> None:
        ready[index] = result
        arrived(result)

    def stop(number: int = signal.SIGTERM) -> None:
        until = time.monotonic() + _PATIENCE
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)
        for child in children:
            child.end(until)
            with suppress(Exception):  # what it did before it was told
                for index, result in child.told():
                    keep(index, result)
            child.pipe.close()
        children.clear()

    def begin() -> None:
        children.append(_Child(lambda index: work(items[index]), children))

    signals.add(stop)
    try:
        for _ in range(min(processes, len(items))):
            with suppress(OSError):  # no more processes are allowed
                begin()
        if not children:
            yield from in_order(work, items, 1, failed, arrived)
            return
        while count < len(items):
            for child in children:
                while waiting and len(child.given) < _QUEUED and waiting[0] < count + _AHEAD:
                    child.give(waiting.popleft())
            busy = {child.pipe: child for child in children if child.given}
            for pipe in wait(list(busy)):
                child = busy[pipe]  # type: ignore[index]
                try:
                    for index, result in child.told():
                        keep(index, result)
                except (EOFError, OSError):
                    children.remove(child)
                    child.pipe.close()
                    code, lost = child.end(time.monotonic()), child.given.popleft()
                    waiting.extendleft(reversed(child.given))
                    keep(lost, failed(items[lost], ConvError(_ended(code))))
                    begin()
            while count in ready:
                yield ready.pop(count)
                count += 1
    finally:
        signals.discard(stop)
        stop()
