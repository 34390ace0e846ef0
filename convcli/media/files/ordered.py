"""Pieces of a file that threads make while others arrive, written in order."""

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from convcli.common.machine import available_threads

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor


class Pieces:
    """Runs the work for each piece on threads, and writes the results in the order in which the work was added.

    >>> parts = []
    >>> pieces = Pieces(parts.append)
    >>> for letter in b"abc":
    ...     pieces.add(lambda letter=letter: bytes([letter]))
    >>> pieces.close()
    >>> parts
    [b'a', b'b', b'c']
    """

    def __init__(self, write: Callable[[bytes], object]) -> None:
        self._write = write
        self._first: Callable[[], bytes] | None = None  # is done here, if no other comes
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future[bytes]] = deque()

    def add(self, work: Callable[[], bytes]) -> None:
        """Let a thread do the work; the oldest pieces are written before too many wait."""
        threads = available_threads()
        if threads == 1:
            self._write(work())
            return
        if self._pool is None and self._first is None:
            self._first = work
            return
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # 4 ms that small files need not wait for

            self._pool = ThreadPoolExecutor(threads)
        for one in filter(None, (self._first, work)):
            self._pending.append(self._pool.submit(one))
        self._first = None
        if len(self._pending) > 2 * threads:
            self._write(self._pending.popleft().result())

    def close(self) -> None:
        """Write all that is left."""
        first, self._first = self._first, None  # it may hold who owns us
        if first is not None:
            self._write(first())
        while self._pending:
            self._write(self._pending.popleft().result())
        if self._pool is not None:
            self._pool.shutdown()
