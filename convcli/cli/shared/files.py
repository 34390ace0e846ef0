"""Which files are examples, and which target belongs to which input: another file, or the cells of a table of labels.

Names only: but for such a table nothing is opened.
"""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from convcli.cli.filter.found import Found
from convcli.common import ConvError, UsageError, frozen
from convcli.media.files.target import open_input, shown


@frozen
class File:
    """A file and where it was found.

    ``key`` is its path within the folder that was named, without suffix; or the stem of a file that was named
    itself.
    """

    path: str
    key: str
    in_folder: bool

    @property
    def label(self) -> str:
        """The name of the folder that holds it."""
        return Path(self.path).resolve().parent.name


def expand(names: Sequence[str]) -> list[File]:
    """Return files, and the files in folders and folders within, in the order of their names; stores are files.

    Raises
    ------
    ConvError
        For a folder without any file that can be read.
    """
    files: list[File] = []
    for name in names:
        found = Found([name], Path(name).is_dir(), None)
        for _, error in found.failures:
            raise error
        for one in sorted(found.inputs, key=lambda one: Path(one.name)):
            files.append(File(one.name, Path(one.inside, Path(one.name).stem).as_posix(), bool(one.inside)))
    return files


def paired(files: Sequence[str], targets: Sequence[str]) -> list[tuple[str, str]]:
    """Return inputs with their targets: files in the order they were given, those of folders by their names.

    Raises
    ------
    UsageError
        When their numbers differ, or an input has no target.
    """
    if not files:
        raise UsageError("nothing to learn from: give INPUT TARGET, or inputs and --target")
    if not targets:
        if len(files) % 2:
            count = len(files)
            raise UsageError(
                f"{count} file{'s' * (count > 1)} do not make pairs: give INPUT TARGET, again for more, "
                "or inputs and --target"
            )
        return list(zip(files[::2], files[1::2], strict=True))
    inputs, found = expand(files), expand(targets)
    if not any(target.in_folder for target in found):
        if len(inputs) != len(found):
            raise UsageError(f"{len(inputs)} inputs and {len(found)} targets: give a target for each input")
        return [(input.path, target.path) for input, target in zip(inputs, found, strict=True)]
    by_key: dict[str, str] = {}
    for target in found:
        if target.key in by_key:
            raise UsageError(
                f"both are called {target.key}",
                subject=f"{shown(by_key[target.key])} and {shown(target.path)}",
            )
        by_key[target.key] = target.path
    for input in inputs:
        if input.key not in by_key:
            raise UsageError(f"no target is called {input.key}", subject=shown(input.path))
    return [(input.path, by_key[input.key]) for input in inputs]


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


def listed(table: str) -> list[File]:
    """Return the files of a table's first column: as they are named, or beside the table.

    Raises
    ------
    ConvError
        Where it names none.
    """
    names = [row[0] for row in _rows(table)[1:]]
    if not names:
        raise ConvError("it names no file", subject=shown(table))
    beside = Path(table).parent
    return [File(str(path), name, False) for name in names for path in [_existing(name, beside)]]


def _existing(name: str, beside: Path) -> Path:
    return Path(name) if os.path.lexists(name) else beside / name


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
