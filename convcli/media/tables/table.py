"""Tables (CSV, TSV): the numeric columns as channels, the others as companions that travel along.

A table is read whole: the time axis and the numeric columns are recognised by all of their cells.  Delimiters
and decimal marks are the concern of :mod:`convcli.media.tables.delimited`.
"""

from __future__ import annotations

import csv
import io
import re
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field, replace
from fractions import Fraction
from math import lcm
from typing import IO

import numpy as np
import polars as pl
from polars import selectors

from convcli.common import ConvError, UsageError, frozen, quoted
from convcli.common.budget import TABLE
from convcli.data import SECOND, Box, Even, Info, Kind, Listed, Sink, Strips
from convcli.media.files.target import whole
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.tables.clock import Clock, increases
from convcli.media.tables.delimited import (
    Cells,
    Dialect,
    is_missing,
    is_number,
    listed,
    name_of,
    parse,
    pick,
    to_floats,
)


def csv_source(fp: IO[bytes], options: ReadOptions) -> TableSource:
    """Open a table.

    Axes are ``XC`` (rows, columns), ``X`` for one column, ``YX`` with ``options.matrix``; float64, or integers where
    all are and some lie beyond 2^53.

    Raises
    ------
    UsageError
        When ``options.columns`` names a column that is not there.
    ConvError
        For a cell that is not a number, with its line and column; for ragged rows; when no column is numeric.
    """
    return TableSource(fp, options)


def tsv_source(fp: IO[bytes], options: ReadOptions) -> TableSource:
    """Open a table that its name or its content says is a TSV; written as CSV it gets commas."""
    return TableSource(fp, options, is_tsv=True)


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> TableSink:
    """Open a table for writing; floats are written with the fewest digits that read back the same.

    With the companions of a table the columns keep their order, names, delimiter, decimal mark and line ends;
    a TSV written as CSV, or the other way round, gets the delimiter of its new format.  Several maps
    of a column ``a`` are ``a.0``, ``a.1``.  Anything else is a plain grid without a header.  NaN is an empty
    cell where the table had such, else ``NaN``.
    """
    return TableSink(fp, format_name, info)


@frozen
class TableCompanions:
    """What a table holds beside its numbers.

    Attributes
    ----------
    dialect
        How the table was written.
    is_tsv
        Whether the file was a TSV, and not a CSV whose cells are separated by tabs.
    header
        The names of all columns, or ``None``.
    filtered
        The positions of the filtered columns, one for each channel.
    others
        The columns that pass through: strings (null for an empty cell), each named by its position.
    kinds
        The types of the filtered columns where columns have types, else none.
    commas
        The names of those that hold numbers with a decimal comma.
    empty
        The positions of the filtered columns whose missing results are empty cells.
    nulls
        Of those that hold NaN too, whether the cell was empty; named by their positions.
    metadata
        Keys and values that the file holds beside its columns.
    time
        The name of the one that tells when each row was; its cells are empty where a row has no time.
    notes
        Lines for the person.
    """

    kind, by_sample = Kind.TABLE, True
    dialect: Dialect
    header: tuple[str, ...] | None
    filtered: tuple[int, ...]
    others: pl.DataFrame
    empty: tuple[int, ...] = ()
    nulls: pl.DataFrame = field(default_factory=pl.DataFrame)
    kinds: tuple[pl.DataType, ...] = ()
    metadata: tuple[tuple[str, str], ...] = ()
    is_tsv: bool = False
    commas: tuple[str, ...] = ()
    time: str | None = None
    notes: tuple[str, ...] = ()

    def take(self, positions: Sequence[int | None]) -> TableCompanions:
        """Return the companions with the rows at ``positions``; ``None`` gives empty cells."""

        def taken(frame: pl.DataFrame) -> pl.DataFrame:
            if not frame.width:
                return frame
            if isinstance(positions, range):
                return frame[positions.start : positions.stop : positions.step]
            return frame.select(pl.all().gather(pl.Series(positions, dtype=pl.UInt32)))

        return replace(self, others=taken(self.others), nulls=taken(self.nulls))

    def counted(self) -> TableCompanions:
        """Return the companions with a column behind all others for each that is filtered: of counts."""
        width = len(self.filtered) + self.others.width
        names = tuple(f"{name_of(self.header, index)}.count" for index in self.filtered)
        filtered = (*self.filtered, *range(width, width + len(names)))
        return replace(self, header=self.header and (*self.header, *names), filtered=filtered)

    @property
    def also(self) -> tuple[str, ...]:
        """What only tables hold: times are positions."""
        others = listed(
            [name_of(self.header, int(name)) for name in self.others.columns if name != self.time]
        )
        return (
            *(("the names of the columns",) if self.header else ()),
            *((f"columns {others}",) if others else ()),
            *((f"metadata {listed([key for key, _ in self.metadata])}",) if self.metadata else ()),
        )

    def drop(self) -> TableCompanions:
        """Return the companions without the other columns."""
        if not self.others.width:
            return replace(self, nulls=pl.DataFrame()) if self.nulls.width else self
        names = listed([name_of(self.header, int(index)) for index in self.others.columns])
        note = f"dropped columns: {names} (no row of the output belongs to one of the input)"
        return replace(self, others=pl.DataFrame(), nulls=pl.DataFrame(), notes=(*self.notes, note))


class TableSource(Strips):
    """A table in memory."""

    def __init__(self, fp: IO[bytes], options: ReadOptions, is_tsv: bool = False) -> None:
        self._fp = fp
        cells = parse(whole(fp, TABLE), options.header)
        time, said = (None, ()) if options.matrix else Clock.of_dates(cells)
        cells = replace(cells, notes=(*cells.notes, *said))
        if options.columns is not None:
            chosen = pick(options.columns, cells.header, cells.frame.width)
            first = next(_numeric(cells), None)
            if time is None and first is not None and first not in chosen and not options.matrix:
                time = _clock(cells, first)
        elif options.matrix:
            chosen = list(range(cells.frame.width))
        else:
            chosen = list(_numeric(cells))
            if not chosen:
                row = listed([quoted(cell or "") for cell in cells.frame.row(0)])
                if re.fullmatch(r"'[^',;]+\.\w{2,7}'", row):  # what a command says of its output
                    raise ConvError(f"it holds the name of a file, {row}: add -o - to the command before")
                raise ConvError(f"no column holds numbers; the first row is {row}")
            if time is None and len(chosen) > 1 and (time := _clock(cells, chosen[0])):
                chosen = chosen[1:]
        self._values, said = _numbers(cells, chosen)  # one row a channel: each signal is contiguous
        cells = replace(cells, notes=(*cells.notes, *said))
        self._describe(cells, chosen, time, options.matrix, is_tsv=is_tsv)

    def _describe(
        self, cells: Cells, chosen: list[int], time: Clock | None, as_grid: bool, *, is_tsv: bool = False
    ) -> None:
        """Work out the form, now that the numbers are there."""
        values = self._values
        info = _grid_info(cells, values) if as_grid else _columns_info(cells, chosen, time, is_tsv, values)
        self.info = replace(info, dtype=self._values.dtype.name)

    def strip(self, start: int, stop: int) -> np.ndarray:
        block = self._values[:, start:stop].copy()
        return block[0] if self.info.letters == "X" else block.T

    def close(self) -> None:
        self._fp.close()


def _grid_info(cells: Cells, values: np.ndarray) -> Info:
    notes = (*cells.notes, "the header line is left out") if cells.header else cells.notes
    return Info.of("YX", values.shape[::-1], "float64", notes=notes)


def _columns_info(
    cells: Cells, chosen: list[int], time: Clock | None, is_tsv: bool, values: np.ndarray
) -> Info:
    kept = sorted(set(range(cells.frame.width)) - set(chosen))
    blanks = cells.frame.null_count().row(0)
    anywhere = any(blanks)
    empty, nulls = [], {}
    for index, missing in zip(chosen, np.count_nonzero(np.isnan(values), axis=1).tolist(), strict=True):
        if blanks[index] or (anywhere and not missing):
            empty.append(index)
        if 0 < blanks[index] < missing:
            nulls[str(index)] = cells.frame.to_series(index).is_null()
    others = cells.frame[:, kept]
    note = f"filtered columns: {listed([name_of(cells.header, index) for index in chosen])}"
    if kept:
        note += f"; not filtered: {listed([name_of(cells.header, index) for index in kept])}"
    dialect = replace(cells.dialect, decimal="," if cells.commas & set(chosen) else ".")
    commas = tuple(str(index) for index in kept if index in cells.commas)
    name = str(time.column) if time else None
    companions = TableCompanions(
        *(dialect, cells.header, tuple(chosen), others, tuple(empty), pl.DataFrame(nulls)),
        is_tsv=is_tsv,
        commas=commas,
        time=name,
    )
    rows = len(cells.frame)
    shape = (rows,) if len(chosen) == 1 else (rows, len(chosen))
    notes = (*cells.notes, note, *(time.notes(name_of(cells.header, time.column)) if time else ()))
    info = Info.of("XC"[: len(shape)], shape, "float64", companions=companions, notes=notes)
    return info.placed(X=time.positions) if time else info


def _numeric(cells: Cells) -> Iterator[int]:
    """Yield the columns whose first cell with a value holds a number."""
    for index, first in enumerate(cells.frame.row(0)):
        if first is None or is_missing(first):
            column = cells.frame.to_series(index)
            first = next((cell for cell in column if cell is not None and not is_missing(cell)), "")
        if is_number(first, "," if index in cells.commas else "."):
            yield index


def _clock(cells: Cells, column: int) -> Clock | None:
    """Return what a column tells if it is one of times: increasing numbers, under a name that is none of a year."""
    numbers, wrong = to_floats(cells, [column])
    values = numbers.to_numpy()[:, 0]
    named = cells.header is not None and any(is_number(cells.header[column], mark) for mark in ".,")
    return (
        None
        if wrong or named or not increases(values, name_of(cells.header, column))
        else Clock.of(cells, column, values)
    )


def _numbers(cells: Cells, chosen: Sequence[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the numbers of columns, one column a row: floats, or integers where floats do not hold those."""
    values, wrong = to_floats(cells, chosen)
    if wrong is not None:
        row, column = wrong
        cell, name = cells.frame[row, column], name_of(cells.header, int(column))
        raise ConvError(
            f"line {cells.lines[row]}, column {name!r}: {quoted(cell)} is not a number; correct it, empty it if it is "
            "missing, or leave the column out with --columns"
        )
    return exact(cells.frame[:, list(chosen)], np.ascontiguousarray(values.to_numpy().T))


def exact(columns: pl.DataFrame, found: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the numbers of columns as integers where floats do not hold those, else as they were found, and a line."""
    if float(np.abs(found).max(initial=0, where=np.isfinite(found))) < 2**53:
        return found, ()
    rounded, columns = False, columns.cast({selectors.float(): pl.String})
    for kind in (pl.Int64, pl.UInt64):
        integers = columns.cast(kind, strict=False)
        if not sum(integers.null_count().row(0)):
            return np.ascontiguousarray(integers.to_numpy().T), ()
        floats = integers.cast(pl.Float64).cast(kind, strict=False)
        rounded |= any((one != other).any() for one, other in zip(integers, floats, strict=True))
    return found, ("integers beyond 2^53 beside missing cells or floats are rounded to floats",) * rounded


_PLACES = "places"  # of samples that come from no table


@frozen
class _Column:
    """One output column: a number of the block's row, or one of the companions."""

    name: str
    value: int = -1
    other: str = ""
    of: tuple[int, ...] = ()  # the filtered columns that it is computed from


def _arrange(table: TableCompanions, channels: int, maps: int) -> list[_Column]:
    """Return the output's columns: everything where it stood, the maps of a column side by side.

    Sums over the columns stand where the first of them stood.
    """
    header = table.header or ("",) * (1 + max(*table.filtered, *map(int, table.others.columns), 0))
    places = {int(name): [_Column(header[int(name)], other=name)] for name in table.others.columns}
    if channels == len(table.filtered):
        for channel, place in enumerate(table.filtered):
            name = name_of(table.header, place)
            names = [header[place]] if maps == 1 else [f"{name}.{number}" for number in range(maps)]
            places[place] = [
                _Column(text, channel * maps + number, of=(place,)) for number, text in enumerate(names)
            ]
    else:
        joined = "+".join(name_of(table.header, place) for place in table.filtered)
        names = [joined] if channels * maps == 1 else [f"map{number}" for number in range(channels * maps)]
        places[min(table.filtered)] = [
            _Column(text, number, of=table.filtered) for number, text in enumerate(names)
        ]
    return [column for place in sorted(places) for column in places[place]]


def _times(cells: pl.Series, times: Listed, comma: bool) -> pl.Series:
    """Return the cells of the time column: as they were; numbers of rows in the padding as they would be written."""
    numbers = cells.str.replace(",", ".", literal=True).cast(pl.Float64, strict=False)
    if numbers.null_count() > cells.null_count():  # dates
        return cells
    above, below = times.tick.as_integer_ratio()
    digits = len(str(below)) - 1
    exact = times.tick == Fraction(1, 10**digits)
    seconds = [None if tick is None else tick * above / below for tick in times.ticks]
    made = []
    for cell, number, second in zip(cells, numbers, seconds, strict=True):
        if second is not None and number != second:
            cell = f"{second:.{digits}f}" if exact else str(second)
            cell = cell.replace(".", ",") if comma else cell
        made.append(None if second is None else cell)
    return pl.Series(cells.name, made, dtype=pl.String)


def _placed(places: Even, start: int, stop: int) -> np.ndarray:
    """Return the positions of samples, each rounded once."""
    parts = lcm(places.origin.denominator, places.spacing.denominator)
    first, step = int(places.origin * parts), int(places.spacing * parts)
    exact = max(parts, abs(first) + abs(step) * stop) < 2**53
    found = (np.arange(start, stop, dtype=np.int64 if exact else object) * step + first) / parts
    return found.astype(np.float64)


def _dialect(table: TableCompanions | None, format_name: str) -> Dialect:
    """Return how to write: as the table was written, but where it changes between TSV and CSV."""
    dialect = table.dialect if table else Dialect()
    delimiter = dialect.delimiter
    if format_name == "tsv":
        delimiter = "\t"
    elif table and table.is_tsv:
        delimiter = ","
    return replace(dialect, delimiter=delimiter, decimal=dialect.decimal if delimiter != "," else ".")


class TableSink(Sink):
    """A table that is written in blocks of rows."""

    _blank_rows = False  # a blank line is no row
    _keys = False  # there is a place for what a file holds beside its columns

    def __init__(self, fp: IO[bytes], format_name: str, info: Info) -> None:
        self._fp = fp
        super().__init__(info)
        space = info.letters.replace("M", "").replace("C", "")
        if len(space) > 2 or (len(space) == 2 and len(info.letters) > 2):
            raise ConvError(
                f"a {format_name.upper()} file holds signals or one grid of numbers, not an array of axes "
                f"{info.letters} and shape {info.shape}; write .npy"
            )
        self._signals = len(space) == 1
        table = info.companions if self._signals and isinstance(info.companions, TableCompanions) else None
        self._others = table.others if table else pl.DataFrame()
        if self._others.width and len(self._others) != info.length:
            raise ConvError(f"{len(self._others)} rows of other columns don't fit {info.length} samples")
        times = info.axis("X").positions if table and table.time in self._others.columns else None
        texts = table is not None and self._others.schema.get(str(table.time)) == pl.String
        if table and texts and isinstance(times, Listed) and not isinstance(times.ticks, range):
            cells = self._others[str(table.time)]
            self._others = self._others.with_columns(_times(cells, times, cells.name in table.commas))
        self.notes = table.notes if table else ()
        if table and table.metadata and not self._keys:
            keys = listed([key for key, _ in table.metadata])
            self.notes += (f"left out: metadata {keys} ({format_name.upper()} holds none)",)
        self._dialect = _dialect(table, format_name)
        if table and self._dialect.delimiter == ",":  # numbers of columns that pass through, too
            points = pl.col(table.commas).str.replace(",", ".", literal=True)
            self._others = self._others.with_columns(points) if table.commas else self._others
        maps = info.size("M") if "M" in info.letters else 1
        width = info.channels * maps if self._signals else info.shape[1]
        places = info.axis("X").positions if self._signals and table is None else None
        self._places = places if isinstance(places, Even) else None
        self._columns = (
            _arrange(table, info.channels, maps) if table else [_Column("", value) for value in range(width)]
        )
        if self._places:  # of a sound, or of samples whose rate was given
            names = [f"channel{number}" for number in range(1, width + 1)] if width > 1 else ["value"]
            what = "time" if self._places.unit in (SECOND, "") else "x"
            named = f"{what} [{self._places.unit}]" if self._places.unit else what
            self._columns = [
                _Column(named, other=_PLACES),
                *(_Column(name, value) for value, name in enumerate(names)),
            ]
        self._empty = (
            set(table.empty) if table and (self._blank_rows or len(self._columns) > 1) else set[int]()
        )
        self._nulls = table.nulls if table and self._empty else pl.DataFrame()
        self._begin(self._places is not None or (table is not None and table.header is not None))

    def _begin(self, has_names: bool) -> None:
        """Write what comes before the rows."""
        if self._dialect.marked:
            self._fp.write(BOM_UTF8)
        if has_names:
            text = io.StringIO()
            csv.writer(
                text, delimiter=self._dialect.delimiter, lineterminator=self._dialect.newline
            ).writerow(column.name for column in self._columns)
            self._fp.write(text.getvalue().encode())

    def put(self, box: Box, values: np.ndarray) -> None:
        axes, (start, stop) = self.info.letters, box[0]
        order = [axes.index(letter) for letter in sorted(axes, key=lambda letter: "CM".find(letter))]
        numbers = (values.transpose(order) if self._signals else values).reshape(stop - start, -1)
        rows = self._others.slice(start, stop - start)
        if self._places:
            rows = pl.DataFrame({_PLACES: self._text(_placed(self._places, start, stop))})
        nulls = self._nulls.slice(start, stop - start)
        frame = pl.DataFrame(
            {
                str(index): rows[column.other]
                if column.other
                else self._text(numbers[:, column.value], column.of, nulls)
                for index, column in enumerate(self._columns)
            }
        )
        self._take(frame)

    def _take(self, frame: pl.DataFrame) -> None:
        """Write rows."""
        # On a thread, which is waited for: an interrupt of Polars itself ends Python under its feet.
        with ThreadPoolExecutor(1) as thread:
            self._fp.write(thread.submit(self._lines, frame).result())

    def _lines(self, frame: pl.DataFrame) -> memoryview:
        text = io.BytesIO()
        ends = self._dialect.newline
        try:
            frame.write_csv(
                text, include_header=False, separator=self._dialect.delimiter, line_terminator=ends
            )
        except pl.exceptions.ComputeError as error:  # lists, structs, bytes, durations that travel along
            raise UsageError(f"{str(error).splitlines()[0]}: write .parquet or .arrow") from None
        return text.getbuffer()

    def _text(
        self, values: np.ndarray, of: tuple[int, ...] = (), nulls: pl.DataFrame | None = None
    ) -> pl.Series:
        """Return the cells of results; missing ones are empty where those were that they are computed from."""
        if values.dtype.kind != "f":
            return pl.Series(np.ascontiguousarray(values))
        series = pl.Series(np.ascontiguousarray(values, np.float32 if values.dtype.itemsize < 4 else None))
        if len(of) == 1 and nulls is not None and str(of[0]) in nulls.columns:
            series = series.set(series.is_nan() & nulls[str(of[0])].fill_null(value=False), None)
        elif self._empty & set(of):
            series = series.fill_nan(None)
        if self._dialect.decimal != ".":
            series = series.cast(pl.String).str.replace(".", self._dialect.decimal, literal=True)
        return series
