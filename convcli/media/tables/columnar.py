"""Tables that are stored column by column, with types and nulls: Parquet, and Arrow's files (Feather)."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import IO, Any, TypeVar

import numpy as np
import polars as pl

from convcli.common.budget import CELLS
from convcli.common.errors import ConvError
from convcli.data.info import Info
from convcli.media import trial
from convcli.media.files.target import whole
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.tables.clock import Clock, increases
from convcli.media.tables.columns import listed, name_of, pick
from convcli.media.tables.delimited import Cells, Dialect
from convcli.media.tables.table import TableCompanions, TableSink, TableSource, exact

T = TypeVar("T")

_SCANS: dict[str, Callable[..., pl.LazyFrame]] = {"parquet": pl.scan_parquet, "arrow": pl.scan_ipc}
_FORMATS: dict[str, tuple[Callable[..., pl.DataFrame], Callable[..., None]]] = {
    "parquet": (pl.read_parquet, pl.DataFrame.write_parquet),
    "arrow": (pl.read_ipc, pl.DataFrame.write_ipc),
}


def decode(data: bytes, name: str) -> None:
    """Decode a table.

    Raises
    ------
    MemoryError
        Where it has more cells than a file of its size may have.
    """
    table = _SCANS[name](io.BytesIO(data))
    cells = table.select(pl.len()).collect().item() * len(table.collect_schema())
    if cells > (CELLS.units(len(data)) or cells):
        raise MemoryError
    _FORMATS[name][0](io.BytesIO(data))


def parquet_source(fp: IO[bytes], options: ReadOptions) -> FrameSource:
    """Open a Parquet file: axes ``XC`` (rows, columns), ``X`` for one column; float64, or float32 where all are.

    Raises
    ------
    UsageError
        When ``options.columns`` names a column that is not there.
    ConvError
        For a broken file, a column that holds no numbers, a table without any that does.
    """
    return FrameSource(fp, options, "parquet")


def arrow_source(fp: IO[bytes], options: ReadOptions) -> FrameSource:
    """Open an Arrow file (Feather); as `parquet_source`."""
    return FrameSource(fp, options, "arrow")


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> FrameSink:
    """Open a table for writing; columns keep their order, names and types, missing values are nulls."""
    return FrameSink(fp, format_name, info)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        why = (str(error).strip().splitlines() or ["the decoder refuses it"])[0]
        raise ConvError(f"broken or truncated {name.capitalize()} file: {why[:160]}") from None


def _apart(work: Callable[[], T]) -> T:
    """Work on a thread, which is waited for: an interrupt of Polars itself ends Python under its feet."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()


class FrameSource(TableSource):
    """A table in memory."""

    def __init__(self, fp: IO[bytes], options: ReadOptions, name: str) -> None:
        self._fp = fp
        data, (read, _) = whole(fp), _FORMATS[name]
        with _decoding(name):
            most = (CELLS.units(len(data)) or 0) * CELLS.each
            trial.check(data, name, f"{__name__}:decode", name, memory=most, advice=CELLS.advice)
            frame = _apart(partial(read, io.BytesIO(data)))
        if not len(frame):
            raise ConvError("the table has no rows")
        header = tuple(frame.columns)
        numeric = [index for index, kind in enumerate(frame.dtypes) if kind.is_numeric()]
        if options.columns is not None:
            chosen = pick(options.columns, header, len(header))
            wrong = next((index for index in chosen if index not in numeric), None)
            if wrong is not None:
                raise ConvError(f"column {name_of(header, wrong)!r} holds {frame.dtypes[wrong]}, not numbers")
        elif not numeric:
            kinds = [f"{name}: {kind}" for name, kind in frame.schema.items()]
            raise ConvError(f"no column holds numbers; there are {listed(kinds)}")
        else:
            chosen = numeric
        time = None if options.matrix else _clock(frame, header, chosen, options.columns is not None)
        if time and options.columns is None:
            chosen = [index for index in chosen if index != time.column]
        self._values, said = _numbers(frame, chosen)
        numbered = frame.rename({name: str(index) for index, name in enumerate(header)})
        cells = Cells(numbered, header, Dialect(), (), notes=said)
        self._describe(cells, chosen, time, options.matrix, typed=True)


def _numbers(frame: pl.DataFrame, chosen: list[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the numbers of columns, one column a row: floats, NaN for nulls, or integers that floats do not hold."""
    columns = frame[:, chosen]
    kind = pl.Float32 if set(columns.dtypes) == {pl.Float32} else pl.Float64
    found = np.stack([column.cast(kind).fill_null(float("nan")).to_numpy() for column in columns])
    return exact(columns, found)


def _clock(frame: pl.DataFrame, header: tuple[str, ...], numeric: list[int], picked: bool) -> Clock | None:
    """Return what the first column of times tells, else the first of numbers if these increase, beside others."""
    for index, column in enumerate(frame):
        if column.dtype in (pl.Date, pl.Datetime, pl.Duration) and not column.null_count():
            to = pl.Duration("us") if column.dtype == pl.Duration else pl.Datetime("us")
            ticks = column.cast(to).to_physical().to_numpy()
            if found := Clock.stamped(index, ticks):
                return found
    first = next((i for i, kind in enumerate(frame.dtypes) if kind.is_numeric()), None)
    if first is None or (first in numeric and (picked or len(numeric) < 2)) or frame[:, first].null_count():
        return None
    values = frame[:, first].cast(pl.Float64).to_numpy()
    if not increases(values):
        return None
    cells = Cells(pl.DataFrame({"0": frame[:, first].cast(pl.String)}), (header[first],), Dialect(), ())
    return replace(Clock.of(cells, 0, values), column=first)


class FrameSink(TableSink):
    """A table that is collected, and written when all of it is there."""

    def __init__(self, fp: IO[bytes], format_name: str, info: Info) -> None:
        self._format, self._frames = format_name, list[pl.DataFrame]()
        super().__init__(fp, format_name, info)

    def _begin(self, has_names: bool) -> None:
        names = [column.name for column in self._columns]
        self._names = [name or str(number) for number, name in enumerate(names, 1)]
        if len(set(self._names)) < len(names):
            self._names = [f"{name}.{number}" for number, name in enumerate(self._names, 1)]

    def _take(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)

    def _text(self, values: np.ndarray) -> pl.Series:
        series = pl.Series(np.ascontiguousarray(values))
        return series.fill_nan(None) if self._empty and values.dtype.kind == "f" else series

    def close(self) -> None:
        super().close()
        frame = pl.concat(self._frames)
        frame.columns = self._names
        beside = self.info.companions
        if not (isinstance(beside, TableCompanions) and beside.typed):
            frame = frame.with_columns(_typed(column) for column in frame if column.dtype == pl.String)
        made = io.BytesIO()
        _apart(partial(_FORMATS[self._format][1], frame, made))
        self._fp.write(made.getbuffer())


def _typed(column: pl.Series) -> pl.Series:
    """Return cells of text as numbers where all of them are; codes, such as 0123, are text."""
    for kind in (pl.Int64, pl.Float64) if not column.str.contains(r"^[+-]?0\d").any() else ():
        numbers: Any = column.cast(kind, strict=False)
        if numbers.null_count() == column.null_count():
            return pl.Series(column.name, numbers)
    return column
