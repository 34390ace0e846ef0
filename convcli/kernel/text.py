"""Kernels written on the command line: ``"1,0,-1;1,0,-1"``.  No files, no names."""

import re
from fractions import Fraction

from convcli.common import UsageError, counted, parse_number, quoted, to_float, within
from convcli.kernel.model import Kernel, kernel_title, size_text


def parse_inline(text: str) -> Kernel:
    """Read weights: numbers between ``,``, rows between ``;``, frames between ``|``.

    One row is a kernel of rank 1, several rows of rank 2, several frames of rank 3.  Fractions are exact.  Spaces
    stand for commas, in texts with commas and no other sign for the rows between these; so do the ends of lines.
    ImageMagick's ``3x2: …`` gives columns and rows first.

    Raises
    ------
    UsageError
        Naming the row and the entry that is not a number, or the rows that differ in length.

    >>> kernel = parse_inline("1, 0, -1; 2, 0, -2")
    >>> kernel.size, kernel.slug
    ((2, 3), 'k2x3')
    >>> parse_inline("1/9 1/9").weights == (1 / 9, 1 / 9)
    True
    >>> parse_inline("1,2 3,4").size, parse_inline("2x3: 1,2 3,4 5,6").size
    ((2, 2), (3, 2))
    """
    with within(kernel_title(text)):
        if re.fullmatch(r"\s*\d+(x\d+)+\s*", text):
            raise UsageError(f"it is a size alone: box:{text.strip()} is the mean of such a window")
        frames = _frames(_spelled(text))
    size = [len(frames), len(frames[0]), len(frames[0][0])]
    space = size if size[0] > 1 else size[1:] if size[1] > 1 else size[2:]
    weights = tuple(to_float(n, quoted(text)) for rows in frames for entries in rows for n in entries)
    return Kernel(text, (1, 1, *space), weights, slug=f"k{size_text(size[-max(2, len(space)) :])}")


def _spelled(text: str) -> str:
    """Return weights with commas, semicolons and bars, however they are spelled."""
    if found := re.fullmatch(r"\s*(\d{1,4})(?:x(\d{1,4}))?\s*:(.*)", text, re.DOTALL):
        numbers, wide = re.split(r"[\s,]+", found[3].strip(" \t\r\n,")), int(found[1])
        tall = int(found[2] or wide)
        if len(numbers) != wide * tall:
            raise UsageError(f"{wide} columns and {tall} rows are {wide * tall} numbers, not {len(numbers)}")
        return ";".join(",".join(numbers[i : i + wide]) for i in range(0, len(numbers), max(wide, 1)))
    text = re.sub(r"[ \t]*([,;|/])[ \t]*", r"\1", re.sub(r"\s*\n\s*", ";", text.strip()))
    return re.sub(r"[ \t]+", ";" if "," in text and not re.search("[;|]", text) else ",", text)


def _frames(text: str) -> list[list[list[Fraction]]]:
    several = "|" in text
    frames = [
        [
            [
                _entry(entry, f"frame {frame}, " * several + f"row {row}, entry {column}")
                for column, entry in enumerate(line.split(","), 1)
            ]
            for row, line in enumerate(part.split(";"), 1)
        ]
        for frame, part in enumerate(text.split("|"), 1)
    ]
    first = frames[0]
    for number, rows in enumerate(frames, 1):
        for row, entries in enumerate(rows, 1):
            if len(entries) != len(first[0]):
                where = f" of frame {number}" if several else ""
                raise UsageError(
                    f"row {row}{where} has {counted(len(entries), 'number')}, the first row has {len(first[0])}"
                )
        if len(rows) != len(first):
            raise UsageError(f"frame {number} has {len(rows)} rows, the first has {len(first)}")
    return frames


def _entry(entry: str, what: str) -> Fraction:
    if not entry.strip():
        raise UsageError(f"{what} is empty: write numbers as in 1,0,-1;1,0,-1")
    return parse_number(entry, what)
