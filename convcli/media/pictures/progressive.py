"""Pictures that a thread decodes from the top, while the rest of the program begins and their first rows are used."""

from collections.abc import Callable, Iterator
from threading import Condition, Thread

import numpy as np

from convcli.common.machine import available_threads
from convcli.data.info import KEPT, Info, Strips
from convcli.media.shared import as_broken

# Decodes into an array from the top, and yields how many rows are there; the same rows may be written again.
Fill = Callable[[np.ndarray], Iterator[int]]
PATIENCE = 0.1  # seconds for a decoder that is stopped: one that decodes a picture at once goes on in vain


class ArrivingSource(Strips):
    """A picture whose rows come in while it is read; what breaks it is raised where its rows are asked for.

    Parameters
    ----------
    what : str
        The format's name, for messages.

    Raises
    ------
    ConvError
        When the picture does not fit the memory.
    """

    grain = KEPT

    def __init__(self, info: Info, what: str, fill: Fill) -> None:
        self.info = info
        self._what = what
        with as_broken(what):
            self._pixels = np.empty(info.shape, info.dtype)
        self._rows = 0
        self._error: BaseException | None = None
        self._closed = False
        self._news = Condition()
        self._fill: Fill | None = fill  # until it is begun
        self._thread: Thread | None = None
        if available_threads() > 1:  # else it is decoded when it is asked for
            self._fill = None
            self._thread = Thread(target=self._decode, args=(fill,), name="decoder", daemon=True)
            self._thread.start()

    def _decode(self, fill: Fill) -> None:
        try:
            with as_broken(self._what):
                for rows in fill(self._pixels):
                    with self._news:
                        self._rows = rows
                        self._news.notify_all()
                        if self._closed:
                            return
        except BaseException as error:  # the thread has nobody else to tell
            with self._news:
                self._error = error
                self._news.notify_all()

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the rows ``start:stop``, shape ``(rows, X)`` or ``(rows, X, C)``, once they are there.

        Raises
        ------
        ConvError
            For broken or truncated content, at or before these rows.
        """
        last = min(stop, self.info.length)
        if self._fill is not None:
            fill, self._fill = self._fill, None
            self._decode(fill)
        with self._news:
            self._news.wait_for(lambda: self._rows >= last or self._error is not None)
            if self._rows < last and self._error is not None:
                raise self._error
        return self._pixels[start:stop]

    def close(self) -> None:
        """Stop decoding."""
        with self._news:
            self._closed = True
        if self._thread is not None:
            self._thread.join(PATIENCE)
