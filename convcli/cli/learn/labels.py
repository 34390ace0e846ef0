"""Targets that are words or numbers in a table: ``file,label`` or ``file,value,value``.  Names of files, no arrays."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from convcli.cli.learn.files import File
from convcli.common.errors import ConvError, UsageError
from convcli.media.files.target import open_input, shown

COLUMN = "file"  # the first column's name makes a table one of labels


def is_label_table(names: Sequence[str]) -> bool:
    """Whether the targets are one table whose first column is named ``file``."""
    if len(names) != 1 or Path(names[0]).suffix.lower() != ".csv" or not Path(names[0]).is_file():
        return False
    return _rows(names[0])[0][:1] == [COLUMN]


def _rows(name: str) -> list[list[str]]:
    with open_input(name) as file:
        try:
            lines = file.read().decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise ConvError("not a text in UTF-8", subject=shown(name)) from None
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
    return rows or [[]]


def labels(table: str, files: Sequence[File]) -> list[list[str]]:
    """Return the cells behind each file's name.

    Raises
    ------
    ConvError
        For rows of different lengths, a file that is named twice, or one that is not.
    """
    header, *rows = _rows(table)
    if len(header) < 2:
        raise ConvError("a second column is needed, such as file,label", subject=shown(table))
    found: dict[str, list[str]] = {}
    for number, row in enumerate(rows, 2):
        if len(row) != len(header):
            raise ConvError(
                f"line {number} has {len(row)} cells, the header {len(header)}", subject=shown(table)
            )
        if row[0] in found:
            raise ConvError(f"line {number}: {row[0]!r} is named twice", subject=shown(table))
        found[row[0]] = row[1:]
    result = []
    for file in files:
        names = (file.path, file.key, Path(file.path).name, file.key + Path(file.path).suffix)
        cells = next((found[name] for name in names if name in found), None)
        if cells is None:
            raise ConvError(f"{shown(file.path)} is not in its column {COLUMN}", subject=shown(table))
        result.append(cells)
    return result


def class_numbers(words: Sequence[str], known: Sequence[str], outputs: int) -> tuple[list[int], list[str]]:
    """Return each word's class and the classes' names.

    Parameters
    ----------
    words
        One for each example.
    known
        The names that the net has, in order; without any, words that are all numbers are the classes
        themselves, and others are numbered in alphabetical order.
    outputs
        How many classes the net tells apart.

    Raises
    ------
    UsageError
        For an unknown name, or more classes than the net tells apart.

    >>> class_numbers(["dog", "cat", "dog"], [], 2)
    ([1, 0, 1], ['cat', 'dog'])
    """
    names = list(known)
    if not names and all(word.isascii() and word.isdecimal() and len(word) < 10 for word in words):
        numbers = [int(word) for word in words]
        if max(numbers) >= outputs:
            raise UsageError(f"class {max(numbers)} (counted from 0), and the net tells {outputs} apart")
        return numbers, []
    names = names or sorted(set(words))
    if len(names) > outputs:
        raise UsageError(f"{len(names)} classes ({', '.join(names[:6])}…), and the net tells {outputs} apart")
    for word in words:
        if word not in names:
            raise UsageError(f"class {word!r} is none of the net's labels: {', '.join(names[:10])}")
    return [names.index(word) for word in words], names
