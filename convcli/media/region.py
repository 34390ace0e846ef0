"""Arrays that lie in a file in C order: any box of one is read and written by ordinary reads and writes.

A memory map would be shorter, and crash where a file shrinks.
"""

import io
import os
import stat
from collections.abc import Iterator, Sequence
from itertools import product
from math import prod
from typing import IO

import numpy as np

from convcli.common import ConvError
from convcli.data import BOXES, Box, Info, Sink, Span, slices

_SHORTER = "the file has become shorter while it was read"


def read(
    fp: IO[bytes], offset: int, shape: Sequence[int], dtype: np.dtype, spans: Sequence[Span]
) -> np.ndarray:
    """Return a part of an array, in the file's byte order.

    Parameters
    ----------
    offset : int
        Where the array begins, in bytes.
    shape, dtype
        Of the whole array.
    spans : sequence of Span
        One for each of its axes.

    Raises
    ------
    ConvError
        When the file is too short.
    """
    # One long read takes less time than one for each row: more than half of an inner axis is read whole.
    first = next((axis for axis, n in enumerate(shape) if spans[axis] != (0, n)), 0)
    wide = [
        (0, n) if axis > first and 2 * (stop - start) > n else (start, stop)
        for axis, (n, (start, stop)) in enumerate(zip(shape, spans, strict=True))
    ]
    found = np.empty([stop - start for start, stop in wide], dtype)
    flat, size = found.reshape(-1), 0
    for at, count in _runs(shape, wide):
        fp.seek(offset + at * dtype.itemsize)
        fill(fp, flat[size : size + count])
        size += count
    return found[slices(tuple(spans), [start for start, _ in wide])]


def write(
    fp: IO[bytes], offset: int, shape: Sequence[int], spans: Sequence[Span], values: np.ndarray
) -> None:
    """Write a part of an array, as `read` reads it; ``values`` has the file's type and byte order."""
    flat, size = np.ascontiguousarray(values).reshape(-1), 0
    for at, count in _runs(shape, spans):
        fp.seek(offset + at * flat.itemsize)
        fp.write(flat[size : size + count].view(np.uint8).data)
        size += count


class RegionSink(Sink):
    """An output whose samples lie in C order from a place of the file on: any box is written to where it belongs."""

    grain = BOXES
    in_place = True

    def __init__(
        self, fp: IO[bytes], info: Info, offset: int, dtype: np.dtype, letters: str | None = None
    ) -> None:
        """``letters`` are those of the axes that a file can have, the slowest first; all in their order by default."""
        super().__init__(info)
        self._fp, self._offset, self._dtype = fp, offset, dtype
        order = info.letters if letters is None else [one for one in letters if one in info.letters]
        self._order = [info.letters.index(letter) for letter in order]

    def __getstate__(self) -> dict[str, object]:
        """Serve `pickle`: all but the file."""
        return {name: one for name, one in vars(self).items() if one is not self._fp}

    def attach(self, fp: IO[bytes]) -> None:
        """Go on in a file that another such sink has begun."""
        self._fp = fp

    def extend(self) -> None:
        """Make the file as long as all samples are; those that are not written are zero."""
        end = self._offset + prod(self.info.shape) * self._dtype.itemsize
        self._fp.truncate(max(end, self._fp.seek(0, io.SEEK_END)))

    def flush(self) -> None:
        self._fp.flush()

    def put(self, box: Box, values: np.ndarray) -> None:
        data = values.transpose(self._order).astype(self._dtype, copy=False)
        shape, spans = self.info.shape, self.info.spans(box)
        write(self._fp, self._offset, [shape[i] for i in self._order], [spans[i] for i in self._order], data)


def _runs(shape: Sequence[int], spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """Yield where the samples of a box lie that follow one another, and how many they are."""
    last = max((axis for axis, n in enumerate(shape) if spans[axis] != (0, n)), default=0)
    inner = prod(shape[last + 1 :])
    start, stop = spans[last]
    for place in product(*(range(*span) for span in spans[:last])):
        at = 0
        for n, index in zip(shape, (*place, start), strict=False):
            at = at * n + index
        yield at * inner, (stop - start) * inner


def fill(fp: IO[bytes], array: np.ndarray) -> None:
    """Fill an array from where a file stands.

    Raises
    ------
    ConvError
        When the file ends before.
    """
    view = array.view(np.uint8).data
    while view:
        count = fp.readinto(view)  # type: ignore[attr-defined]
        if not count:
            raise ConvError(_SHORTER)
        view = view[count:]
    if not isinstance(getattr(fp, "raw", fp), io.FileIO):
        return
    # Of a file that is cut while it is read the system may give zeros instead of what was there, and no error.
    found = os.fstat(fp.fileno())
    if stat.S_ISREG(found.st_mode) and found.st_size < fp.tell():
        raise ConvError(_SHORTER)
