"""NumPy's ``.npy``: read and written in parts, whatever the order of the axes.

Only plain numbers: pickled objects are never loaded, structured and complex types are refused.
"""

from __future__ import annotations

import io
import math
import shutil
import tempfile
from typing import IO

import numpy as np

from convcli.common import ConvError, UsageError, counted
from convcli.data import ITEMS, SPACE, Box, Boxes, Info
from convcli.data.array_files import NpyHeader, npy_header
from convcli.media import region
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.region import RegionSink

MAX_AXES = 6
_LETTERS = SPACE + "CM" + ITEMS
_KINDS = "biuf"  # bool, integers, floats
_COPY = 1 << 20


def source(fp: IO[bytes], options: ReadOptions) -> ArraySource:
    """Open a ``.npy`` file; only its header is read.

    Raises
    ------
    UsageError
        When ``options.axes`` doesn't fit, or is needed and missing.
    ConvError
        For anything but an array of 1 to 6 axes of real numbers, and for a file that is cut short.
    """
    return ArraySource(fp, options)


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> ArraySink:
    """Open a ``.npy`` output: C order, little-endian."""
    return ArraySink(fp, info)


def _check(header: NpyHeader, size: int) -> None:
    shape, dtype = header.shape, header.dtype
    if dtype.kind not in _KINDS:
        advice = "; save its .real or abs()" if dtype.kind == "c" else ""
        raise ConvError(f"dtype {str(dtype)!r}: only booleans, integers and floats can be filtered{advice}")
    if not 1 <= len(shape) <= MAX_AXES:
        raise ConvError(f"an array of {len(shape)} axes, shape {shape}: from 1 to {MAX_AXES} can be filtered")
    if min(shape) < 1:
        raise ConvError(f"the array holds no values: its shape is {shape}")
    wanted, found = math.prod(shape) * dtype.itemsize, size - header.offset
    if found < wanted:
        raise ConvError(f"cut short: shape {shape} of {dtype} takes {wanted} bytes, the file holds {found}")


def parse_axes(text: str | None, shape: tuple[int, ...]) -> str:
    """Return the axis letters of an array that carries none.

    Without ``text`` every axis is space, unless the last looks like channels.

    >>> parse_axes(None, (8, 480, 640)), parse_axes("yxc", (480, 640, 3))
    ('ZYX', 'YXC')

    Raises
    ------
    UsageError
        When letters are missing, unknown, repeated or of another number than the axes.
    """
    rank = len(shape)
    if text is None:
        likely, space = {3: "YXC", 4: "TYXC", 5: "TZYXC", 6: "NTZYXC"}.get(rank, ""), SPACE[-rank:]
        if rank in (3, 4) and shape[-1] <= 4:
            raise UsageError(
                f"shape {shape}: if its last axis is channels say --axes {likely}, if it is space --axes {space}"
            )
        if rank > len(SPACE):
            raise UsageError(f"shape {shape} has {counted(rank, 'axis', 'axes')}; name them: --axes {likely}")
        return space
    axes = text.strip().upper()
    unknown = [letter for letter in axes if letter not in _LETTERS]
    if unknown:
        raise UsageError(f"--axes {text!r}: {unknown[0]!r} is unknown; the letters are {' '.join(_LETTERS)}")
    if len(set(axes)) < len(axes):
        twice = next(letter for letter in axes if axes.count(letter) > 1)
        raise UsageError(f"--axes {text!r}: {twice!r} stands there twice")
    if len(axes) != rank:
        raise UsageError(
            f"--axes {text!r} names {counted(len(axes), 'axis', 'axes')}, the array has {rank}: shape {shape}"
        )
    if not set(axes) & set(SPACE):
        raise UsageError(f"--axes {text!r}: at least one of {' '.join(SPACE)} is needed to slide along")
    return axes


class ArraySource(Boxes):
    """A ``.npy`` file; any box is read, with ordinary reads."""

    def __init__(self, fp: IO[bytes], options: ReadOptions) -> None:
        fp.seek(0)
        header = npy_header(fp)
        _check(header, fp.seek(0, 2))
        dtype, notes = header.dtype.newbyteorder("="), ()
        if dtype.kind == "b":
            dtype = np.dtype(np.uint8)
        elif dtype.kind == "f" and dtype.itemsize > 8:
            dtype, notes = np.dtype(np.float64), (f"{header.dtype} is read as float64",)  # type: ignore[assignment]
        self.info = Info.of(parse_axes(options.axes, header.shape), header.shape, dtype.name, notes=notes)
        self._fp = fp
        self._header = header

    def read(self, box: Box) -> np.ndarray:
        """Return a box as a C-ordered array in the machine's byte order.

        Raises
        ------
        ConvError
            When the file has shrunk.
        """
        shape, fortran, dtype, offset = self._header
        order = -1 if fortran else 1  # the same bytes are the transposed array in C order
        spans = self.info.spans(box)[::order]
        block = region.read(self._fp, offset, shape[::order], dtype, spans)
        return np.ascontiguousarray(block.T if fortran else block, self.info.dtype)

    def close(self) -> None:
        self._fp.close()


class ArraySink(RegionSink):
    """A ``.npy``; a pipe gets strips as they come while they follow one another in the file, the rest at the end."""

    def __init__(self, fp: IO[bytes], info: Info) -> None:
        dtype = np.dtype(info.dtype).newbyteorder("<")
        header = io.BytesIO()
        descr = np.lib.format.dtype_to_descr(dtype)
        np.lib.format.write_array_header_1_0(
            header, {"descr": descr, "fortran_order": False, "shape": info.shape}
        )
        fp.write(header.getvalue())
        super().__init__(fp, info, header.tell(), dtype)
        self._target = fp
        self._streams, self._sent = not fp.seekable(), 0

    def put(self, box: Box, values: np.ndarray) -> None:
        if self._streams:
            follows = math.prod(self.info.shape[: self.info.stream_axis]) == 1
            if follows and box == self.info.strip(self._next, box[0][1]):
                self._sent += self._fp.write(np.ascontiguousarray(values, self._dtype).view(np.uint8).data)
                return
            self._streams, self._fp = False, tempfile.TemporaryFile()  # noqa: SIM115
        super().put(box, values)

    def close(self) -> None:
        super().close()
        if self._fp is not self._target:
            with self._fp:
                self._fp.seek(self._offset + self._sent)
                shutil.copyfileobj(self._fp, self._target, _COPY)
