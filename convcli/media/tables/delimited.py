"""Delimited text as cells: encoding, delimiter, header, decimal mark, and the split itself.

Cells stay text here, but for :func:`to_floats`.  Which columns a person means is found here, by names and
numbers; :mod:`convcli.media.tables.table` decides which are filtered.
"""

import csv
import difflib
import io
import itertools
import math
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Sequence

import numpy as np
import polars as pl

from convcli.common import ConvError, UsageError, frozen
from convcli.media.options import Header

SAMPLE_BYTES = 1 << 16
SAMPLE_ROWS = 100
SAMPLE_LEAST = 2  # line ends before the last line of a sample: what is named must stand above something
MAX_COLUMNS = 100_000
MISSING = ("", "na", "n/a", "nan", "-nan", "+nan", "null")  # in lower case, without space around
_NUMBER = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|inf(inity)?)", re.IGNORECASE | re.ASCII)
_DELIMITERS = "\t;|,"  # those first that seldom stand in a text; a space only where nothing else fits
_NEWLINE = ord("\n")
_CHUNK = 1 << 20
_NO_CHARACTER = "\x1f"  # what polars is told to split at when it shall not

_SHOWN = 12  # names in a message


def name_of(header: tuple[str, ...] | None, index: int) -> str:
    """Return a column's name, or its number from 1 where it has none.

    >>> name_of(("time", ""), 0), name_of(("time", ""), 1), name_of(None, 0)
    ('time', '2', '1')
    """
    name = " ".join(header[index].split()) if header else ""
    return name or str(index + 1)


def listed(names: Sequence[str]) -> str:
    """Return names for a message, the first dozen of them."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def pick(wanted: Sequence[str], header: tuple[str, ...] | None, width: int) -> list[int]:
    """Return the positions of columns: names, numbers from 1, or ranges of numbers; names come first.

    >>> pick(["b", "3-4"], ("a", "b", "c", "d"), 4)
    [1, 2, 3]

    Raises
    ------
    UsageError
        When a column is not there, stands there twice, or none is asked for.
    """
    names = [name.strip() for name in header or ()]
    known = f"{listed(names)}, or numbers 1-{width}" if header else f"numbers 1-{width} (there is no header)"
    found: dict[int, None] = {}  # in order, each once
    for text in map(str.strip, wanted):
        numbers = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", text, re.ASCII)
        if names.count(text) > 1:
            raise UsageError(f"--columns {text!r}: {names.count(text)} columns are called so; give a number")
        if text in names:
            span = range(names.index(text), names.index(text) + 1)
        elif numbers:
            first, last = int(numbers[1]), int(numbers[2] or numbers[1])
            if not 1 <= first <= last <= width:
                raise UsageError(f"--columns {text!r}: the table has columns 1 to {width}")
            span = range(first - 1, last)
        else:
            nearest = difflib.get_close_matches(text, names, n=1)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise UsageError(f"--columns {text!r}: no such column; {hint}there are {known}")
        found |= dict.fromkeys(span)
    if not found:
        raise UsageError(f"--columns is empty; there are {known}")
    return list(found)


@frozen
class Dialect:
    """How a table is written; the decimal mark is that of its numbers, and ``marked`` means UTF-8's mark."""

    delimiter: str = ","
    newline: str = "\n"
    decimal: str = "."
    marked: bool = False


@frozen
class Cells:
    """A table's text.

    Attributes
    ----------
    frame
        Columns of strings named ``0``, ``1``, …; an empty cell is null.
    header
        The column names as they stand in the file, or ``None`` when it has no header.
    lines
        The line in the file where each row begins, counted from 1.
    commas
        The columns that have decimal commas.
    """

    frame: pl.DataFrame
    header: tuple[str, ...] | None
    dialect: Dialect
    lines: Sequence[int]
    commas: frozenset[int] = frozenset()
    notes: tuple[str, ...] = ()


def parse(raw: bytes, named: Header = Header.AUTO) -> Cells:
    """Split a whole file into cells.

    The header (unless ``named`` says it), the delimiter (comma, semicolon, tab, bar, single spaces) and the decimal
    mark are recognised.
    What is not UTF-8 is taken for Windows-1252, and said so.

    Raises
    ------
    ConvError
        For a row with another number of fields than the first, naming its line; for bytes that are not text;
        for a table without rows.
    """
    marked = raw.startswith(BOM_UTF8)
    raw, notes = _decoded(raw)
    last = raw.rfind(b"\n")  # the first may stand inside a quoted cell
    newline = "\r\n" if raw[max(last - 1, 0) : last + 1] == b"\r\n" else "\n"
    quoted = b'"' in raw or _NO_CHARACTER.encode() in raw
    as_it_stands = raw  # quoted cells keep their line ends
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not raw or raw.isspace():
        raise ConvError("the table holds nothing but blank lines")
    if raw.endswith(b"\n\n"):
        raw = raw.rstrip(b"\n")
        as_it_stands = as_it_stands.rstrip(b"\r\n")
    end = SAMPLE_BYTES
    for _ in range(SAMPLE_LEAST - raw.count(b"\n", 0, SAMPLE_BYTES)):
        end = raw.find(b"\n", end) + 1 or len(raw)
    end = raw.find(b"\n", end)
    sample = raw.rstrip(b"\n") if end < 0 else raw[:end]
    lines = sample.decode(errors="ignore").split("\n")
    delimiter = find_delimiter(lines)
    rows = _rows(lines, delimiter)
    width = max(1, len(rows[0]))
    if width > MAX_COLUMNS:
        raise ConvError(f"the first line has {width} columns, {MAX_COLUMNS} at most: write one sample a line")
    if quoted:
        frame, starts = _split_quoted(as_it_stands, delimiter, width)
    else:
        frame = _split_plain(raw, delimiter, width)
        starts = range(1, len(frame) + 1)
    header = None
    if named is Header.YES or (named is Header.AUTO and has_header(rows, delimiter)):
        header = tuple(cell or "" for cell in frame.row(0))
        frame, starts = frame.slice(1), starts[1:]
        if not len(frame):
            raise ConvError("the table has a header and no rows")
    commas = delimiter != "," and b"," in raw
    with_commas = frozenset(i for i, column in enumerate(frame) if commas and _has_decimal_commas(column))
    return Cells(frame, header, Dialect(delimiter, newline, marked=marked), starts, with_commas, notes)


def _decoded(raw: bytes) -> tuple[bytes, tuple[str, ...]]:
    """Return the file as UTF-8 without a byte order mark."""
    if b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise ConvError(f"line {line} holds a zero byte: not text, or UTF-16 (convert it to UTF-8)")
    raw = raw.removeprefix(BOM_UTF8)
    if raw.isascii():
        return raw, ()
    try:
        raw.decode()
        return raw, ()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        try:
            text = raw.decode("cp1252")
        except UnicodeDecodeError:
            raise ConvError(f"line {line} is neither UTF-8 nor Windows-1252; convert it to UTF-8") from None
        return text.encode(), (f"line {line} is not UTF-8: read as Windows-1252, written as UTF-8",)


def _rows(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    """Split a sample of the lines; a blank line is one empty field, an impossible one ends it with no field."""
    rows: list[list[str]] = []
    try:
        for row in itertools.islice(csv.reader(lines, delimiter=delimiter, strict=True), SAMPLE_ROWS):
            rows.append(row or [""])
    except csv.Error:
        rows.append([])
    return rows


def find_delimiter(lines: Sequence[str]) -> str:
    """Return the delimiter of a sample: the one that gives every line equally many fields, most of them numbers.

    A comma where nothing separates.

    >>> find_delimiter(["time;value", "1,5;2,0", "2,5;3,0"])
    ';'
    >>> find_delimiter(["day, hour\\tvalue", "1, 2\\t5.5"])
    '\\t'
    """
    best, best_score = "", (0.0, 0.0)
    for delimiter in _DELIMITERS:
        rows = [row for row in _rows(lines, delimiter) if row != [""]]
        width, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
        if width < 2:
            continue
        cells = [cell for row in rows for cell in row if cell]
        numbers = sum(_number_beside(delimiter, cell) for cell in cells)
        score = (count / len(rows), numbers / max(1, len(cells)))
        if score > best_score:
            best, best_score = delimiter, score
    if best_score[0] == 1:
        return best
    rows = _rows(lines, " ")
    data = rows[1:] or rows
    if len(rows[0]) > 1 and all(len(row) == len(rows[0]) and all(map(is_number, row)) for row in data):
        return " "
    return best or ","


def is_number(cell: str, decimal: str = ".") -> bool:
    """Say whether a cell is a number, infinities included, a missing one not.

    >>> is_number("-1.5e3"), is_number(" inf "), is_number("1,5", ","), is_number("1.5", ","), is_number("nan")
    (True, True, True, False, False)
    """
    if decimal != ".":
        cell = cell.replace(".", "_").replace(decimal, ".", 1)
    return _NUMBER.fullmatch(cell.strip()) is not None


def is_missing(cell: str) -> bool:
    """Say whether a cell stands for no value."""
    return cell.strip().lower() in MISSING


def _number_beside(delimiter: str, cell: str) -> bool:
    return is_number(cell) or (delimiter != "," and is_number(cell, ","))


def has_header(rows: Sequence[Sequence[str]], delimiter: str = ",") -> bool:
    """Say whether the first row holds names.

    It does when a cell of it is not a number and stands above a number, or when it holds no number at all and some
    word without digits, or when its numbers are labels (see :func:`_are_labels`) beside such a word or an empty
    corner.  A text with digits above other text (a time stamp, an identifier) says nothing.

    >>> has_header([["time", "a"], ["1", "2"]]), has_header([["1", "2"], ["3", "4"]])
    (True, False)
    >>> has_header([["2024-05-01", "1"], ["2024-05-02", "2"]])
    False
    >>> has_header([["country", "2019", "2020"], ["France", "1", "2"]])
    True
    """
    words = [
        (column, cell)
        for column, cell in enumerate(rows[0])
        if not (_number_beside(delimiter, cell) or is_missing(cell))
    ]
    for column, _ in words:
        below = (row[column] for row in rows[1:] if column < len(row) and not is_missing(row[column]))
        if _number_beside(delimiter, next(below, "")):
            return True
    named = any(not any(map(str.isdigit, cell)) for _, cell in words)
    corner, *others = (row[0] for row in rows if row)
    cornered = not corner.strip() and not any(map(is_missing, others))
    numbers = [column for column, cell in enumerate(rows[0]) if _number_beside(delimiter, cell)]
    return (named and not numbers) or ((named or cornered) and _are_labels(rows, numbers))


def _are_labels(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> bool:
    """Say whether the numbers of the first row name their columns: years, or steps of a scale.

    Whole numbers, or decimals with even steps, that only grow or only fall.  Years stand above something else; of
    others there are three or more, and most other rows do not grow or fall alike.
    """
    first = [rows[0][column].strip() for column in columns]
    whole, steps = all(text.removeprefix("-").isdecimal() for text in first), _steps(rows[0], columns)
    if not steps or not (whole or all(math.isclose(step, steps[0], rel_tol=1e-6) for step in steps)):
        return False
    direction = _direction(rows[0], columns)
    others = [row for row in rows[1:] if len(row) == len(rows[0])]
    if not direction or not others:
        return False
    if all(_is_year(text) for text in first):
        return not all(_is_year(row[column].strip()) for row in others for column in columns)
    alike = sum(_direction(row, columns) == direction for row in others)
    return len(first) > 2 and 2 * alike < len(others)


def _is_year(text: str) -> bool:
    return text.isdecimal() and len(text) == 4 and "1000" <= text < "3000"


def _direction(row: Sequence[str], columns: Sequence[int]) -> int:
    """Return 1 where the cells of these columns only grow, -1 where they only fall, else 0."""
    signs = {(step > 0) - (step < 0) for step in _steps(row, columns)}
    return signs.pop() if len(signs) == 1 else 0


def _steps(row: Sequence[str], columns: Sequence[int]) -> list[float]:
    """Return the steps from cell to cell, none where not all are numbers."""
    try:
        values = [float(row[column].replace(",", ".")) for column in columns]
    except ValueError:
        return []
    return [b - a for a, b in itertools.pairwise(values)]


def _split_plain(raw: bytes, delimiter: str, width: int) -> pl.DataFrame:
    """Split a text without quotes: at every delimiter, at every line's end."""
    _check_rows(raw, ord(delimiter), width)  # polars would fill short rows up without a word
    return pl.read_csv(
        io.BytesIO(raw),
        has_header=False,
        schema=dict.fromkeys(_names(width), pl.String),
        separator=delimiter if width > 1 else _NO_CHARACTER,
        quote_char=None,
    )


def _check_rows(raw: bytes, delimiter: int, width: int) -> None:
    """Check that every ``width``-th of the delimiters and line ends is a line end, and no other."""
    data = np.frombuffer(raw, np.uint8)
    before = 0
    for start in range(0, len(data), _CHUNK):
        part = data[start : start + _CHUNK]
        ends = part[(part == delimiter) | (part == _NEWLINE)] == _NEWLINE
        due = ends[(width - 1 - before) % width :: width]
        before += len(ends)
        if not due.all() or np.count_nonzero(ends) != len(due):
            break
    else:
        if (before + (data[-1] != _NEWLINE)) % width == 0:
            return
    for number, line in enumerate(raw.removesuffix(b"\n").split(b"\n"), 1):
        if line.count(delimiter) != width - 1 or (width > 1 and not line):
            raise _ragged(number, line.count(delimiter) + 1 if line else 0, width)


def _split_quoted(raw: bytes, delimiter: str, width: int) -> tuple[pl.DataFrame, Sequence[int]]:
    """Split a text with quotes, in which delimiters and line ends may stand."""
    reader = csv.reader(io.StringIO(raw.decode(), newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str | None]] = []
    starts, start = [], 1
    try:
        for row in reader:
            if len(row) != width and (row or width > 1):
                raise _ragged(start, len(row), width)
            rows.append([cell or None for cell in row] or [None])
            starts.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise ConvError(f"line {start}: {error}; is a quote missing?") from None
    columns = dict(zip(_names(width), map(list, zip(*rows, strict=True)), strict=True))
    return pl.DataFrame(columns, dict.fromkeys(columns, pl.String)), starts


def _names(width: int) -> list[str]:
    return [str(index) for index in range(width)]


def _ragged(line: int, found: int, wanted: int) -> ConvError:
    if not found:
        return ConvError(f"line {line} is blank, {wanted} fields are wanted as in the first line")
    fields = "field" if found == 1 else "fields"
    return ConvError(f"line {line} has {found} {fields}, {wanted} are wanted as in the first line")


def _has_decimal_commas(column: pl.Series) -> bool:
    """Say whether a column has numbers with a decimal comma, and none with a point."""
    fraction = r"^\s*[+-]?\d*{}\d+(?:[eE][+-]?\d+)?\s*$"
    comma, point = (bool(column.str.contains(fraction.format(mark)).any()) for mark in (",", r"\."))
    return comma and not point


def to_floats(cells: Cells, columns: Sequence[int]) -> tuple[pl.DataFrame, tuple[int, str] | None]:
    """Read columns of cells as float64, missing ones as NaN.

    Returns
    -------
    (DataFrame, (int, str) or None)
        The numbers; row and column of the first cell that is none (the numbers are worth nothing then).
    """
    frame = cells.frame[:, list(columns)]
    commas = [str(index) for index in columns if index in cells.commas]
    if commas:
        text = pl.col(commas).str.replace_all(".", "_", literal=True).str.replace(",", ".", literal=True)
        frame = frame.with_columns(text)
    values = frame.select(pl.all().cast(pl.Float64, strict=False))
    if not any(column.null_count() for column in values):
        return values, None
    frame = frame.select(pl.all().str.strip_chars())
    values = frame.select(pl.all().cast(pl.Float64, strict=False))
    for column, texts in zip(values, frame, strict=True):
        missing = texts.is_null() | texts.str.to_lowercase().is_in(MISSING)
        wrong = (column.is_null() & ~missing).arg_true()
        if len(wrong):
            return values, (int(wrong[0]), column.name)
    return values.fill_null(float("nan")), None
