"""Pieces of a file that threads make while others arrive, written in order."""

import os
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

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
        self._pool: ThreadPoolExecutor | None = None
        self._pending: deque[Future[bytes]] = deque()

    def add(self, work: Callable[[], bytes]) -> None:
        """Let a thread do the work; the oldest pieces are written before too many wait."""
        threads = os.cpu_count() or 1
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # 4 ms that small files need not wait for

            self._pool = ThreadPoolExecutor(threads)
        self._pending.append(self._pool.submit(work))
        if len(self._pending) > 2 * threads:
            self._write(self._pending.popleft().result())

    def close(self) -> None:
        """Write all that is left."""
        while self._pending:
            self._write(self._pending.popleft().result())
        if self._pool is not None:
            self._pool.shutdown()
