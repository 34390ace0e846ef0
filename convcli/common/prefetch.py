"""Doing the next steps of an iteration while the last one is used: reading and computing beside writing.

Threads only; nothing here knows what is iterated over.
"""

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], most: int = 2) -> Generator[T, None, None]:
    """Yield the same items, the next ``most`` of them made by a thread while the caller is busy with one.

    An exception arrives where its item would have; when the caller leaves early, a generator is closed.

    >>> list(ahead(n * n for n in range(4)))
    [0, 1, 4, 9]
    """

    def following() -> list[T]:
        return [item] if (item := next(items, _END)) is not _END else []  # type: ignore[list-item]

    thread = ThreadPoolExecutor(1)
    try:
        pending: deque[Future[list[T]]] = deque(thread.submit(following) for _ in range(most))
        while item := pending.popleft().result():
            pending.append(thread.submit(following))
            yield item[0]
    finally:
        thread.shutdown(cancel_futures=True)
        if isinstance(items, Generator):
            with suppress(ValueError):  # interrupted as the thread began: it is not known, and works on
                items.close()


_END = object()
