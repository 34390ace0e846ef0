"""The same work on many items by several processes: forks of this one (so that nothing is imported twice), or others.

A process that is killed costs the one item that it was at; another takes its place.
"""

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convcli.common import signals
from convcli.common.errors import ConvError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")
R = TypeVar("R")

_QUEUED = 16  # items that a process has before it at most, so that it never waits for the next one
_AHEAD = 4096  # results that wait for an item that takes long
_PATIENCE = 5.0  # seconds in which a process that is told to end does so


def can_fork() -> bool:
    """Return whether a copy of this process works: one thread is all that there is, those of libraries counted."""
    try:
        return sum(1 for _ in Path("/proc/self/task").iterdir()) == 1
    except OSError:  # not Linux
        return False


class Child:
    """A process that does work on the items whose numbers it is sent, and sends back what came of each."""

    pid: int

    def __init__(self, pipe: "Connection") -> None:
        self.pipe = pipe
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

    def end(self, until: float = 0.0) -> int:
        """Wait for its end, and make it end at a time of `time.monotonic`; return its code."""
        raise NotImplementedError


class Fork(Child):
    """A fork of this process; ``others`` are the forks before it."""

    def __init__(self, work: Callable[[int], object], others: Sequence[Child]) -> None:
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
        super().__init__(ours)

    def end(self, until: float = 0.0) -> int:
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


def results(
    crew: list[Child],
    begin: Callable[[], Child],
    waiting: deque[int],
    lost: Callable[[int, int], R | None],
    *,
    queued: int = 1,
    most: Callable[[], float] = lambda: inf,
) -> Iterator[tuple[int, R]]:
    """Yield what came of each item that waits, by its number, as soon as it is there.

    Parameters
    ----------
    crew : list of Child
        The processes; the caller ends those that it has at last.
    begin : callable
        Begins another one in the place of one that has ended.
    waiting : deque of int
        The items.
    lost : callable
        From an item at which a process has ended, and the code of that, to its result; None to do it again.
    queued : int
        Items that a process has before it.
    most : callable
        The number from which on items have to wait for others.
    """
    from multiprocessing.connection import wait

    while True:
        share = min(queued, max(2, len(waiting) // max(1, 2 * len(crew))))  # fewer towards the end
        while crew and waiting and waiting[0] < most():
            child = min(crew, key=lambda one: len(one.given))
            if len(child.given) >= share:
                break
            child.give(waiting.popleft())
        busy = {child.pipe: child for child in crew if child.given}
        if not busy:
            return
        for pipe in wait(list(busy)):
            child = busy[pipe]  # type: ignore[index]
            try:
                yield from child.told()
            except (EOFError, OSError):
                crew.remove(child)
                child.pipe.close()
                code = child.end()
                at = [child.given.popleft()] if child.given else []  # none where it has just sent a result
                waiting.extendleft(reversed(child.given))
                for index in at:
                    if (result := lost(index, code)) is None:
                        waiting.appendleft(index)
                    else:
                        yield index, result
                crew.append(begin())


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
    crew: list[Child] = []
    ready: dict[int, R] = {}
    count = 0  # yielded

    def keep(index: int, result: R) -> None:
        ready[index] = result
        arrived(result)

    def stop(number: int = signal.SIGTERM) -> None:
        until = time.monotonic() + _PATIENCE
        for child in crew:
            with suppress(ProcessLookupError):
                os.kill(child.pid, number)
        for child in crew:
            child.end(until)
            with suppress(Exception):  # what it did before it was told
                for index, result in child.told():
                    keep(index, result)
            child.pipe.close()
        crew.clear()

    def begin() -> Child:
        return Fork(lambda index: work(items[index]), crew)

    def lost(index: int, code: int) -> R:
        return failed(items[index], ConvError(_ended(code)))

    def most() -> int:
        return count + _AHEAD

    signals.add(stop)
    try:
        for _ in range(min(processes, len(items))):
            with suppress(OSError):  # no more processes are allowed
                crew.append(begin())
        if not crew:
            yield from in_order(work, items, 1, failed, arrived)
            return
        waiting = deque(range(len(items)))
        for one in results(crew, begin, waiting, lost, queued=_QUEUED, most=most):
            keep(*one)
            while count in ready:
                yield ready.pop(count)
                count += 1
    finally:
        signals.discard(stop)
        stop()
