"""Tables that are stored column by column, with types and nulls: Parquet, and Arrow's files (Feather).

Polars neither reads nor writes keys and values in the schemas of Arrow: they are found in the flatbuffers of both,
where a table's field lies as its entry in a list of offsets says.
"""

from __future__ import annotations

import io
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from struct import error as StructError
from struct import pack, pack_into, unpack_from
from typing import IO, Any, TypeVar

import numpy as np
import polars as pl

from convcli.common import ConvError, frozen
from convcli.common.budget import CELLS
from convcli.data import Info
from convcli.media import trial
from convcli.media.files.target import whole
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.tables.clock import Clock, increases
from convcli.media.tables.delimited import Cells, Dialect, listed, name_of, pick
from convcli.media.tables.table import TableCompanions, TableSink, TableSource, exact

T = TypeVar("T")

_SCANS: dict[str, Callable[..., pl.LazyFrame]] = {"parquet": pl.scan_parquet, "arrow": pl.scan_ipc}
_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_NARROW = (
    pl.Float16,
    pl.Float32,
    pl.Int8,
    pl.Int16,
    pl.UInt8,
    pl.UInt16,
)  # whose results are floats of 32 bits
_READ: dict[str, Callable[..., pl.DataFrame]] = {"parquet": pl.read_parquet, "arrow": pl.read_ipc}

_MESSAGE = b"\xff\xff\xff\xff"
_END = 10  # behind an Arrow file's footer: its length, and the signature
_OWN = ("_PL", "ARROW:", "PARQUET:")  # what columns are made of


@frozen
class Schema:
    """A flatbuffer whose root has a schema as one of its fields.

    Attributes
    ----------
    data : bytes
    field : int
        The root's field that is the schema.
    others : tuple of int
        Fields of the root that refer to something, too.
    """

    data: bytes
    field: int
    others: tuple[int, ...]

    @classmethod
    def of_file(cls, data: bytes) -> Schema:
        """Return the schema of an Arrow file, which is in its footer."""
        return cls(data[-_END - unpack_from("<i", data, len(data) - _END)[0] : -_END], 1, (2, 3, 4))

    @classmethod
    def of_parquet(cls, text: str) -> Schema:
        """Return the schema that Parquet's key ``ARROW:schema`` holds."""
        return cls(b64decode(text)[8:], 2, (4,))

    @property
    def _root(self) -> int:
        return int(unpack_from("<I", self.data)[0])

    def pairs(self) -> dict[str, str]:
        """Return its keys and values."""
        return self._pairs(self._at(self._root, self.field), 2)

    def columns(self) -> list[str]:
        """Return the names of the columns that have keys and values of their own."""
        fields = self._vector(self._at(self._root, self.field), 1)
        return [
            self._string(self._at(field, 0))
            for field in fields
            if not all(key.startswith(_OWN) for key in self._pairs(field, 6))
        ]

    def in_file(self, data: bytes, pairs: dict[str, str]) -> bytes:
        """Return the Arrow file that this is the schema of, with keys and values."""
        footer = self._with(pairs)
        return data[: -_END - len(self.data)] + footer + pack("<i", len(footer)) + data[4 - _END :]

    def in_parquet(self, pairs: dict[str, str]) -> str:
        """Return the text for ``ARROW:schema``, with keys and values."""
        data = self._with(pairs)
        return b64encode(_MESSAGE + pack("<i", len(data)) + data).decode()

    def _at(self, table: int, field: int) -> int:
        """Return where something lies that a table's field refers to, 0 for none."""
        offsets = table - unpack_from("<i", self.data, table)[0]
        entry = 4 + 2 * field
        there = entry < unpack_from("<H", self.data, offsets)[0]
        step: int = unpack_from("<H", self.data, offsets + entry)[0] if there else 0
        return self._referred(table + step) if step else 0

    def _referred(self, place: int) -> int:
        return place + int(unpack_from("<I", self.data, place)[0])

    def _vector(self, table: int, field: int) -> list[int]:
        start = self._at(table, field)
        count = unpack_from("<I", self.data, start)[0] if start else 0
        return [self._referred(start + 4 + 4 * number) for number in range(count)]

    def _string(self, start: int) -> str:
        size = unpack_from("<I", self.data, start)[0] if start else 0
        return self.data[start + 4 : start + 4 + size].decode() if size else ""

    def _pairs(self, table: int, field: int) -> dict[str, str]:
        pairs = self._vector(table, field)
        return {self._string(self._at(pair, 0)): self._string(self._at(pair, 1)) for pair in pairs}

    def _with(self, pairs: dict[str, str]) -> bytes:
        """Return the flatbuffer with keys and values: the tables on the way to them once more, in front of all."""
        keys = _padded(_vector_of(pairs))
        schema, place = self._table(self._at(self._root, self.field), (1, 3), 2, -len(keys), -len(keys))
        root, first = self._table(self._root, self.others, self.field, place, -len(keys) - len(schema))
        size = 8 + len(root) + len(schema) + len(keys)
        return pack("<II", first + size, 0) + root + schema + keys + self.data

    def _table(
        self, table: int, others: tuple[int, ...], field: int, target: int, end: int
    ) -> tuple[bytes, int]:
        """Return a table that ends at a place before the data, and where it lies; one field refers to a target."""
        offsets = table - unpack_from("<i", self.data, table)[0]
        length, size = unpack_from("<HH", self.data, offsets)
        entries = list(unpack_from(f"<{length // 2 - 2}H", self.data, offsets + 4))
        values = bytearray(_padded(self.data[table : table + size]))
        entries += [0] * (field + 1 - len(entries))
        if not entries[field]:
            entries[field] = len(values)
            values += bytes(8)
        head = _padded(pack(f"<{len(entries) + 2}H", 4 + 2 * len(entries), len(values), *entries))
        place = end - len(values)
        pack_into("<i", values, 0, len(head))
        for other in others:
            if other < len(entries) and (step := entries[other]):
                pack_into("<I", values, step, self._referred(table + step) - place - step)
        pack_into("<I", values, entries[field], target - place - entries[field])
        return head + bytes(values), place


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def _vector_of(pairs: dict[str, str]) -> bytes:
    """Return a vector of tables with two fields, each before its own texts."""
    made, offsets = b"", b""
    for number, (key, value) in enumerate(pairs.items()):
        first, second = (
            pack("<I", len(text)) + text + bytes(4 - len(text) % 4) for text in (key.encode(), value.encode())
        )
        offsets += pack("<I", 4 * (len(pairs) - number) + len(made) + 8)
        made += pack("<4HiII", 8, 12, 4, 8, 8, 8, 4 + len(first)) + first + second
    return pack("<I", len(pairs)) + offsets + made


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
    _READ[name](io.BytesIO(data))


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
    except (pl.exceptions.PolarsError, OSError, ValueError, StructError) as error:
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
        data, read = whole(fp), _READ[name]
        with _decoding(name):
            most = (CELLS.units(len(data)) or 0) * CELLS.each
            trial.check(data, name, f"{__name__}:decode", name, memory=most, advice=CELLS.advice)
            frame = _apart(partial(read, io.BytesIO(data)))
        if not len(frame):
            raise ConvError("the table has no rows")
        header = tuple(frame.columns)
        with _decoding(name):
            metadata, unkept = _keys(data, name)
        index_of = _pandas(metadata).get("index_columns", [])
        numeric = [
            index
            for index, (label, kind) in enumerate(frame.schema.items())
            if kind.is_numeric() and (label not in index_of or options.columns is not None)
        ]
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
        cells = Cells(numbered, header, Dialect(), (), notes=(*said, *unkept))
        self._describe(cells, chosen, time, options.matrix)
        if isinstance(beside := self.info.companions, TableCompanions):
            types = tuple(frame.dtypes[index] for index in chosen)
            typed = replace(beside, kinds=types, metadata=tuple(sorted(metadata.items())))
            self.info = replace(self.info, companions=typed)


def _numbers(frame: pl.DataFrame, chosen: list[int]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the numbers of columns, one column a row: of their type, or floats of 64 bits, NaN for nulls."""
    columns = frame[:, chosen]
    kinds, nulls = set(columns.dtypes), sum(columns.null_count().row(0))
    kind = kinds.pop() if len(kinds) == 1 else pl.Float64()
    if kind in _INTEGERS and not nulls:
        return columns.to_numpy().T.copy(), ()
    kind = kind if kind.is_float() else pl.Float64()
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
    if not increases(values, header[first]):
        return None
    cells = Cells(pl.DataFrame({"0": frame[:, first].cast(pl.String)}), (header[first],), Dialect(), ())
    return replace(Clock.of(cells, 0, values), column=first)


class FrameSink(TableSink):
    """A table that is collected, and written when all of it is there."""

    _blank_rows = _keys = True

    def __init__(self, fp: IO[bytes], format_name: str, info: Info) -> None:
        self._format, self._frames = format_name, list[pl.DataFrame]()
        super().__init__(fp, format_name, info)

    def _begin(self, has_names: bool) -> None:
        self._dialect = Dialect()
        names = [column.name for column in self._columns]
        self._names = [name or str(number) for number, name in enumerate(names, 1)]
        if len(set(self._names)) < len(names):
            self._names = [f"{name}.{number}" for number, name in enumerate(self._names, 1)]

    def _take(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)

    def close(self) -> None:
        super().close()
        frame = pl.concat(self._frames)
        frame.columns = self._names
        beside = self.info.companions
        if not (isinstance(beside, TableCompanions) and beside.kinds):
            frame = frame.with_columns(_typed(column) for column in frame if column.dtype == pl.String)
        else:
            kinds = dict(zip(beside.filtered, beside.kinds, strict=False))
            wanted = [{kinds.get(index) for index in column.of} for column in self._columns]
            frame = frame.with_columns(
                _narrowed(column)
                for column, found in zip(frame, wanted, strict=True)
                if found and found <= set(_NARROW)
            )
        metadata = dict(beside.metadata) if isinstance(beside, TableCompanions) else {}
        if "pandas" in metadata:
            metadata["pandas"] = json.dumps(_of_pandas(_pandas(metadata), frame))
        self._fp.write(_apart(partial(_encoded, frame, self._format, metadata)))


def _narrowed(column: pl.Series) -> pl.Series:
    """Return results as floats of 32 bits, unless some are too large for those."""
    narrow = column.cast(pl.Float32) if column.dtype == pl.Float64 else column
    return column if narrow.is_infinite().sum() > column.is_infinite().sum() else narrow


def _pandas(metadata: dict[str, str]) -> dict[str, Any]:
    """Return what pandas wrote about its index and its columns, nothing where that is no such text."""
    try:
        found = json.loads(metadata.get("pandas", "{}"))
        for one in found["index_columns"]:
            _ = one if isinstance(one, str) else range(one["start"], one["stop"], one["step"])
        return dict(found) if all(one.get("field_name", "") is not None for one in found["columns"]) else {}
    except (ValueError, LookupError, TypeError, AttributeError):
        return {}


def _of_pandas(told: dict[str, Any], frame: pl.DataFrame) -> dict[str, Any]:
    """Return what pandas wrote as it is true of a result: of the columns that are there, their types, and its rows."""
    columns, index = [], []
    for one in told.get("columns", []):
        name = one.get("field_name")
        if name in frame.columns:
            kind = frame.schema[name]
            now = (
                {"pandas_type": str(kind).lower(), "numpy_type": str(kind).lower()} if kind.is_float() else {}
            )
            columns.append({**one, **now})
    for one in told.get("index_columns", []):
        if not isinstance(one, dict):
            index += [one] if one in frame.columns else []
        elif len(range(one["start"], one["stop"], one["step"])) == len(frame):
            index.append(one)
        else:
            index.append({**one, "start": 0, "stop": len(frame), "step": 1})
    return {**told, "columns": columns, "index_columns": index}


def _keys(data: bytes, name: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the keys and values of a file, and a line where columns have some of their own."""
    if name == "parquet":
        metadata = pl.read_parquet_metadata(io.BytesIO(data))
        told = metadata.pop("ARROW:schema", None)
        schema = Schema.of_parquet(told) if told else None
    else:
        schema = Schema.of_file(data)
        metadata = schema.pairs()
    columns = schema.columns() if schema else []
    lost = [f"left out: metadata of the columns {listed(columns)}"] * bool(columns)
    if "pandas" in metadata and not _pandas(metadata):
        del metadata["pandas"]
        lost.append("left out: what pandas says of its index, which is damaged")
    return metadata, tuple(lost)


def _encoded(frame: pl.DataFrame, name: str, metadata: dict[str, str]) -> bytes:
    """Return a table as a file with keys and values; of Parquet, readers of Arrow's schema find them there too."""
    made = io.BytesIO()
    if name == "arrow":
        frame.write_ipc(made)
        return (
            Schema.of_file(made.getvalue()).in_file(made.getvalue(), metadata)
            if metadata
            else made.getvalue()
        )
    if metadata:
        frame.clear().write_parquet(made)
        made.seek(0)
        schema = Schema.of_parquet(pl.read_parquet_metadata(made)["ARROW:schema"])
        metadata = {**metadata, "ARROW:schema": schema.in_parquet(metadata)}
    made = io.BytesIO()
    frame.write_parquet(made, metadata=metadata or None)
    return made.getvalue()


def _typed(column: pl.Series) -> pl.Series:
    """Return cells of text as numbers where all of them are; codes, such as 0123, are text."""
    for kind in (pl.Int64, pl.Float64) if not column.str.contains(r"^[+-]?0\d").any() else ():
        numbers: Any = column.cast(kind, strict=False)
        if numbers.null_count() == column.null_count():
            return pl.Series(column.name, numbers)
    return column
