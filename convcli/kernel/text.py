"""Kernels written on the command line: ``"1,0,-1;1,0,-1"``.  No files, no names."""

from __future__ import annotations

from fractions import Fraction

from convcli.common.errors import UsageError
from convcli.common.numbers import parse_number, quoted, to_float
from convcli.kernel.model import Kernel, size_text


def parse_inline(text: str) -> Kernel:
    """Read weights: numbers between ``,``, rows between ``;``, frames between ``|``.

    One row is a kernel of rank 1, several rows of rank 2, several frames of rank 3.  Fractions are exact.

    Raises
    ------
    UsageError
        Naming the row and the entry that is no number, or the rows that differ in length.

    >>> kernel = parse_inline("1, 0, -1; 2, 0, -2")
    >>> kernel.size, kernel.slug
    ((2, 3), 'k2x3')
    >>> parse_inline("1/9, 1/9").weights == (1 / 9, 1 / 9)
    True
    """
    frames = [
        [
            [_entry(entry, text, frame, row, column) for column, entry in enumerate(line.split(","), 1)]
            for row, line in enumerate(part.split(";"), 1)
        ]
        for frame, part in enumerate(text.split("|"), 1)
    ]
    for number, rows in enumerate(frames, 1):
        where = f" of frame {number}" if len(frames) > 1 else ""
        for row, entries in enumerate(rows, 1):
            if len(entries) != len(frames[0][0]):
                raise UsageError(
                    f"kernel {quoted(text)}: row {row}{where} has {len(entries)} numbers, "
                    f"the first row has {len(frames[0][0])}"
                )
        if len(rows) != len(frames[0]):
            raise UsageError(
                f"kernel {quoted(text)}: frame {number} has {len(rows)} rows, the first has {len(frames[0])}"
            )
    size = [len(frames), len(frames[0]), len(frames[0][0])]
    space = size if size[0] > 1 else size[1:] if size[1] > 1 else size[2:]
    weights = tuple(to_float(n, quoted(text)) for rows in frames for entries in rows for n in entries)
    return Kernel(text, (1, 1, *space), weights, slug=f"k{size_text(size[-max(2, len(space)) :])}")


def _entry(entry: str, text: str, frame: int, row: int, column: int) -> Fraction:
    place = f"frame {frame}, " if "|" in text else ""
    what = f"kernel {quoted(text)}: {place}row {row}, entry {column}"
    if not entry.strip():
        raise UsageError(f"{what} is empty: write numbers as in 1,0,-1;1,0,-1")
    return parse_number(entry, what)
