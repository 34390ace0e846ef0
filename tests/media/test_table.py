"""Tables: recognised, read, written so that they read back the same; what is not a table ends in one line.

The oracle is the standard library: ``csv`` and ``float``.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convcli.common.errors import ConvError, UsageError
from convcli.data.axes import Listed, axes_of
from convcli.data.info import Info
from convcli.media.options import Header, ReadOptions, WriteOptions
from convcli.media.registry import by_name, left_out
from convcli.media.tables.delimited import SAMPLE_BYTES, find_delimiter, has_header, pick
from convcli.media.tables.table import TableSource, csv_source, sink, tsv_source

NAN = math.nan


def opened(text: str | bytes, name: str = "csv", **options: object) -> TableSource:
    raw = text.encode() if isinstance(text, str) else text
    source = {"csv": csv_source, "tsv": tsv_source}[name]
    return source(io.BytesIO(raw), ReadOptions(**options))  # type: ignore[arg-type]


def values(text: str | bytes, **options: object) -> list[object]:
    table = opened(text, **options)
    result: list[object] = table.strip(0, table.info.length).tolist()
    return result


def written(info: Info, array: np.ndarray, name: str = "csv", step: int = 3) -> str:
    fp = io.BytesIO()
    writer = sink(fp, name, info, WriteOptions())
    axis = info.stream_axis
    for start in range(0, info.length, step):
        stop = min(start + step, info.length)
        writer.write(info.strip(start, stop), array[(slice(None),) * axis + (slice(start, stop),)])
    writer.close()
    return fp.getvalue().decode()


def copied(text: str | bytes, name: str = "csv", read_as: str = "csv", **options: object) -> str:
    """Read a table and write it again."""
    table = opened(text, read_as, **options)
    return written(table.info, table.strip(0, table.info.length), name)


# ------------------------------------------------------------------------------------- what is recognised


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n3,2\n1,4.5\n", [[3, 2], [1, 4.5]]),
        ("5,2\n3,4\n", [[5, 2], [3, 4]]),
        ("7\n8\n6\n", [7, 8, 6]),
        ("a\n7\n8\n6", [7, 8, 6]),
        ("5;2\n3;4\n", [[5, 2], [3, 4]]),
        ("5\t2\n3\t4\n", [[5, 2], [3, 4]]),
        ("5|2\n3|4\n", [[5, 2], [3, 4]]),
        ("5 2\n3 4\n", [[5, 2], [3, 4]]),
        ("a b\n5 2\n3 4\n", [[5, 2], [3, 4]]),
        ("1,5;2,0\n1,25;-3\n", [[1.5, 2], [1.25, -3]]),
        ("x;y\n1,5;2,0\n1,25;-3\n", [[1.5, 2], [1.25, -3]]),
        ("x;y\n1,5;2.5\n1,25;-3\n", [[1.5, 2.5], [1.25, -3]]),
        ("\ufeffa,b\r\n5,2\r\n3,4\r\n", [[5, 2], [3, 4]]),
        ("5,2\r3,4\r", [[5, 2], [3, 4]]),
        ("5,2\n3,4\n\n\n", [[5, 2], [3, 4]]),
        ('"a","b"\n"5","2"\n"3","4"\n', [[5, 2], [3, 4]]),
        (" 5 , 2\n3,4 \n", [[5, 2], [3, 4]]),
        ("5,+2e3\n-.5,4.\n", [[5, 2000], [-0.5, 4]]),
        ("5,inf\n-Infinity,-inf\n", [[5, math.inf], [-math.inf, -math.inf]]),
    ],
)
def test_numbers(text: str, expected: list[object]) -> None:
    assert values(text) == expected


@pytest.mark.parametrize("word", ["", " ", "NaN", "nan", "NA", "n/a", "null", "-nan"])
def test_missing_samples_are_nan(word: str) -> None:
    np.testing.assert_array_equal(values(f"a,b\n5,{word}\n4,2\n"), [[5, NAN], [4, 2]])


def test_a_blank_line_in_a_lone_column_is_a_missing_sample() -> None:
    np.testing.assert_array_equal(values("a\n5\n\n4\n"), [5, NAN, 4])


def test_axes_and_names() -> None:
    table = opened("a,b,c\n9,5,x\n8,6,y\n")
    assert (table.info.letters, table.info.shape, table.info.dtype) == ("XC", (2, 2), "float64")
    assert table.info.notes == ("filtered columns: a, b; not filtered: c",)
    assert opened("5,text\n6,more\n").info.notes == ("filtered columns: 1; not filtered: 2",)
    table = opened("a\n5\n6\n7\n")
    assert (table.info.letters, table.info.shape) == ("X", (3,))
    assert table.strip(1, 3).tolist() == [6, 7]
    assert opened("5,2\n3,4\n9,9").strip(1, 2).tolist() == [[3, 4]]


def test_the_time_axis_is_the_first_numeric_column_when_it_rises_and_is_not_alone() -> None:
    for text, filtered in [
        ("t,v\n0,5\n0.1,5\n0.3,4\n", "v"),
        ("t,v\n0,5\n0,5\n1,4\n", "v"),  # a name of times
        ("u,v\n0,5\n0,5\n1,4\n", "u, v"),  # not strictly
        ("t,v\n1,5\n1,5\n1,4\n", "t, v"),  # rises nowhere
        ("t,v\n0,5\n,5\n1,4\n", "t, v"),  # a gap
        ("t\n1\n2\n3\n", "t"),  # alone
        ("v,t\n5,1\n5,2\n4,3\n", "v, t"),  # not the first
        ("name,t,v\nx,1,5\ny,2,5\n", "v"),
        ("t,v\n1,2\n", "t, v"),  # one row rises nowhere
        ("day,v\n2024-01-01,5\n2024-01-02,6\n", "v"),
    ]:
        assert opened(text).info.notes[0].split(";")[0] == f"filtered columns: {filtered}", text


@pytest.mark.parametrize("text", ["x;y\n1;2\n", '"x";y\n1;2\n', "1;2\n3;4\n"])
def test_the_mark_of_utf_8_is_kept(text: str) -> None:
    for mark in ("", "\ufeff"):
        table = opened(mark + text)
        array = table.strip(0, table.info.length)
        assert written(table.info, array).startswith(mark + text[1 if text[0] == '"' else 0])


def test_a_format_without_columns_names_what_it_leaves_out() -> None:
    table = opened("name,t,a,b\nx,1,2,5\ny,2,3,5\n")
    left = left_out(table.info, by_name("npy"))
    assert left == (
        "the positions of the samples are left out: NPY holds none",
        "left out: the names of the columns, columns name (NPY holds none)",
    )
    assert not any("columns" in line for line in left_out(table.info, by_name("csv")))


@pytest.mark.parametrize("text", ["5,6\n1,2\n3,4\n", '"5",6\n1,2\n3,4\n', "5,6\r\n1,2\r\n3,4\r\n"])
def test_the_header_can_be_said(text: str) -> None:
    assert values(text, header=Header.YES) == [[1, 2], [3, 4]]
    assert opened(text, header=Header.YES).info.notes == ("filtered columns: 5, 6",)
    for header in (Header.NO, Header.AUTO):
        assert values(text, header=header) == [[5, 6], [1, 2], [3, 4]]
    with pytest.raises(ConvError, match="no column holds numbers"):
        opened("a,b\n1,2\n", header=Header.NO)
    with pytest.raises(ConvError, match="a header and no rows"):
        opened("1,2\n", header=Header.YES)


def test_a_header_of_any_length_is_seen() -> None:
    """Names with digits are names where numbers stand below, however far below that is in bytes."""
    count = 12_000
    names = ",".join(f"c{index}" for index in range(count))
    assert len(names) > SAMPLE_BYTES
    rows = [[index + 0.5 for index in range(count)], [-index for index in range(count)]]
    lines = [names, *(",".join(map(str, row)) for row in rows)]
    for end in ("\n", ""):
        assert values("\n".join(lines) + end) == rows


def test_header_or_not() -> None:
    for rows, expected in [
        ([["a", "b"], ["1", "2"]], True),
        ([["1", "2"], ["1", "2"]], False),
        ([["1", ""], ["1", "2"]], False),
        ([["", "b"], ["1", "2"]], True),
        ([["x1", "x2"], ["1", "2"]], True),
        ([["2024-01-01", "2"], ["2024-01-02", "3"]], False),
        ([["bob", "4"], ["ann", "5"]], False),
        ([["name", "note"], ["bob", "text"]], True),
        ([["nan", "2"], ["1", "2"]], False),
        ([["v1"], [""], ["3"]], True),
    ]:
        assert has_header(rows) is expected, rows


def test_delimiter() -> None:
    for lines, expected in [
        (["a,b", "1,2"], ","),
        (["a;b", "1,5;2,5", "3,5;4,5"], ";"),
        (["1.5", "2.5"], ","),
        (["my value", "1", "2"], ","),
        (["a\tb", "x, y\t2", "z\t3"], "\t"),
        (["1,2,3", "4,5"], ","),
        (['"a;b",c', '"d;e",5'], ","),
        (["name and, comment", "1,2"], ","),
        (["n;v,", '"a;b";1,5'], ";"),
    ]:
        assert find_delimiter(lines) == expected, lines


def test_a_sample_longer_than_what_is_looked_at() -> None:
    """The delimiter comes from the first lines; a first line may be longer than the sample."""
    wide = ",".join(str(n % 10) for n in range(50_000))
    assert opened(f"{wide}\n{wide}\n", matrix=True).info.shape == (2, 50_000)
    many = "".join(f"{n % 7},{n % 5}\n" for n in range(40_000))
    assert opened(many).info.shape == (40_000, 2)


def test_old_encodings() -> None:
    table = opened("Zeit;Größe °C\n2;5,5\n1;6,5\n".encode("cp1252"))
    assert table.info.notes[0] == "line 1 is not UTF-8: read as Windows-1252, written as UTF-8"
    assert copied(
        "Zeit;Größe °C\n2;5,5\n1;6,5\n".encode("cp1252")
    ) == "Zeit;Größe °C\n2.0;5,5\n1.0;6,5\n".replace(".", ",")
    with pytest.raises(ConvError, match="line 2 is neither"):
        opened(b"a,b\n\x81,2\n")


# ----------------------------------------------------------------------------------------- what is chosen


def test_columns_are_picked() -> None:
    text = "t,a,b,c\n1,5,6,7\n2,8,9,0\n"
    assert values(text, columns=("b",)) == [6, 9]
    assert values(text, columns=("c", "a")) == [[7, 5], [0, 8]]
    assert values(text, columns=("1", "3-4")) == [[1, 6, 7], [2, 9, 0]]
    assert opened(text, columns=("c", "a")).info.notes == ("filtered columns: c, a; not filtered: t, b",)
    assert pick(("2", "2-3", "a"), ("x", "a", "2"), 3) == [2, 1]


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (("tmie",), ["'tmie'", "did you mean 'time'", "numbers 1-3"]),
        (("4",), ["'4'", "1 to 3"]),
        (("0",), ["1 to 3"]),
        (("3-2",), ["1 to 3"]),
        (("a",), ["2 columns", "number"]),
        ((), ["empty"]),
        (("٣",), ["no such column"]),
    ],
)
def test_columns_that_are_not_there(wanted: tuple[str, ...], words: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        opened("time,a,a\n1,2,3\n", columns=wanted)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_matrix() -> None:
    table = opened("1,2,3\n2,5,6\n", matrix=True)
    assert (table.info.letters, table.info.shape) == ("YX", (2, 3))
    assert table.info.companions is None
    assert table.strip(0, 2).tolist() == [[1, 2, 3], [2, 5, 6]]
    table = opened("a,b\n1,2\n3,4\n", matrix=True)
    assert table.info.shape == (2, 2)
    assert table.info.notes == ("the header line is left out",)
    assert values("a,b,c\n1,2,x\n3,4,y\n", matrix=True, columns=("1-2",)) == [[1, 2], [3, 4]]
    with pytest.raises(ConvError, match="line 2, column 'c': 'x'"):
        opened("a,b,c\n1,2,x\n", matrix=True)


# --------------------------------------------------------------------------------------------- bad tables


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n3\n", ["line 3 has 1 field,", "2 are wanted"]),
        ("a,b\n1,2\n3,4,5\n6,7\n", ["line 3 has 3 fields", "2 are wanted"]),
        (
            "a,b,c\n1,2\n3,4,5,6\n7,8,9\n",
            ["line 2 has 2 fields"],
        ),  # as many delimiters in all as there should be
        ("a,b\n1,2\n3,4,5", ["line 3 has 3 fields"]),
        ("a,b\n1,2\n3", ["line 3 has 1 field"]),
        ("a,b\n1,2\n\n3,4\n", ["line 3 is blank"]),
        ("1\n2\n3,4\n", ["line 3 has 2 fields"]),
        ('a,b\n1,"2\n"\n3\n', ["line 4 has 1 field"]),
        ('a,b\n1,"2\n3,4\n', ["line 2", "quote"]),
        ('a,b\n1,"2"x\n3,4\n', ["line 2"]),
        ("t,v\n1,5\n2,oops\n", ["line 3", "column 'v'", "'oops'"]),
        ('t,n,v\n3,"x\ny",5\n2,z,"o,o"\n', ["line 4", "column 'v'", "'o,o'"]),
        ("1,5\n2,6\n3,7_0\n", ["line 3", "column '2'", "'7_0'"]),
        ("1,5\n2,0x10\n", ["line 2", "'0x10'"]),
        ("a,b\nx,y\n", ["no column holds numbers", "'x'"]),
        ("x;y\nz;1.234,5\n", ["no column", "'1.234,5'"]),
        ("a,b\n,\n", ["no column"]),
        ("a,b\n", ["no rows"]),
        ("\n\n", ["blank"]),
        ("  \n", ["blank"]),
        ("\ufeff", ["blank"]),
        ("1,2\n3\0,4\n", ["line 2", "zero byte"]),
        ("a" + ",b" * 100_001, ["100002 columns"]),
    ],
)
def test_one_line_for_each_bad_table(text: str, words: list[str]) -> None:
    with pytest.raises(ConvError) as error:
        opened(text)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 1
    for word in words:
        assert word in str(error.value)


def test_points_and_commas_in_one_column() -> None:
    text = "x;y\n1,5;2\n1.5;3\n"
    assert opened(text).info.notes == ("filtered columns: y; not filtered: x",)
    with pytest.raises(ConvError, match="line 2, column 'x': '1,5' is not a number"):
        opened(text, columns=("x",))


def test_a_bad_row_far_down() -> None:
    rows = ["a,b", *(f"{n},{n % 7}" for n in range(300_000))]
    rows[250_000] = "1,2,3"
    with pytest.raises(ConvError, match="line 250001 has 3 fields"):
        opened("\n".join(rows))
    rows[250_000] = "1,?"
    with pytest.raises(ConvError, match=r"line 250001, column 'b': '\?'"):
        opened("\n".join(rows))


ALPHABET = '0123456789.,;\t |"\n\r-+eEnaNinfx_é\x1f\x0b'


@settings(max_examples=400, deadline=None)
@given(st.text(ALPHABET, min_size=1, max_size=60), st.booleans())
def test_any_text_is_a_table_or_one_line(text: str, matrix: bool) -> None:
    try:
        table = opened(text, matrix=matrix)
    except ConvError as error:
        assert "\n" not in str(error)
        return
    block = table.strip(0, table.info.length)
    assert block.shape == table.info.shape
    assert block.dtype == np.float64


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=40))
def test_any_bytes_are_a_table_or_one_line(raw: bytes) -> None:
    try:
        opened(raw)
    except ConvError as error:
        assert "\n" not in str(error)


# ------------------------------------------------------------------------------------------------ writing


def test_a_table_is_written_as_it_was() -> None:
    for text in [
        "t,v\n0,5.0\n1,6.5\n",
        "name,v,t\nx,5.0,é\ny,6.5,\n",
        "t;v\r\n0;5,5\r\n1;-6,25\r\n",
        '"a,b",v\n"x\ny",5.5\n"say ""so""",6.5\n',
        "5.5|text|1.5\n0.5|more|2.5\n",
        "a,b\n0.5,\n0.25,x\n",
        "v\n0.30000000000000004\n1e-300\n-0.0\n9.57\n5e-324\n",
    ]:
        assert copied(text) == text


def test_tabs_make_a_tsv() -> None:
    assert copied("t\tv\n0\t5.5\n1\t6.5\n", "tsv", "tsv") == "t\tv\n0\t5.5\n1\t6.5\n"
    assert copied("t\tv\n0\t5.5\n1\t6.5\n", "csv", "tsv") == "t,v\n0,5.5\n1,6.5\n"
    assert copied("t\tv\n0\t5,5\n1\t6,5\n", "csv", "tsv") == "t,v\n0,5.5\n1,6.5\n"
    assert copied("t,v\n0,5.5\n1,6.5\n", "tsv") == "t\tv\n0\t5.5\n1\t6.5\n"


def test_one_decimal_mark_in_all_columns() -> None:
    tabs = "t\tv\n0,5\t1,5\n0,7\t2,5\n0,9\t1,0\n"
    assert copied(tabs, "csv", "csv") == tabs  # a CSV with tabs keeps them
    assert copied(tabs, "tsv", "tsv") == tabs
    assert copied(tabs, "csv", "tsv") == "t,v\n0.5,1.5\n0.7,2.5\n0.9,1.0\n"
    text = "t;word;v\n0,5;a,b;1,5\n0,7;c;2,5\n"
    assert copied(text, "tsv") == "t\tword\tv\n0,5\ta,b\t1,5\n0,7\tc\t2,5\n"


def test_line_ends_in_quoted_cells_stay() -> None:
    for text in [
        'name,v\n"two\r\nlines",5.5\n"x",6.5\n',
        'name,v\r\n"two\nlines",5.5\r\nx,6.5\r\n',
        'name,v\r\n"two\r\nlines",5.5\r\nx,6.5\r\n',
    ]:
        names = [row[0] for row in csv.reader(io.StringIO(text, newline=""))]
        assert [row[0] for row in csv.reader(io.StringIO(copied(text), newline=""))] == names
        assert copied(text).partition(",v")[2].startswith(text.partition(",v")[2][:2].rstrip('"'))


def test_numbers_may_be_names_of_columns() -> None:
    years = "country,2019,2020,2021\nFrance,1,2,3\nSpain,4,5,6\nItaly,7,8,9\n"
    assert opened(years).strip(0, 3).tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert copied(years).startswith("country,2019,2020,2021\nFrance,1.0,2.0,3.0\n")
    falling = "city;2021;2020\nRome;3,5;2\nBern;1;2\n"
    assert opened(falling).strip(0, 2).tolist() == [[3.5, 2], [1, 2]]
    hearing = "ear,250,500,1000\nleft,20,15,30\nright,10,10,5\n"
    assert opened(hearing).strip(0, 2).tolist() == [[20, 15, 30], [10, 10, 5]]
    for names in (",2019,2020,2021", "x,-1,0,1", ",-1,0,1", "f,0.5,1.0,1.5", ",0,1,2"):
        assert opened(f"{names}\nA,3,2,9\nB,4,7,6\n").strip(0, 2).tolist() == [[3, 2, 9], [4, 7, 6]]
        assert copied(f"{names}\n5,3,2,9\n6,4,7,6\n").startswith(f"{names}\n5")
    with_commas = "f;0,5;0,25;0\nA;3;2;9\nB;4,5;7;6\n"
    assert opened(with_commas).strip(0, 2).tolist() == [[3, 2, 9], [4.5, 7, 6]]
    assert opened("\n1\n2\n").strip(0, 3).shape == (3,)
    missing = "NA,2,3,4\n1,5,4,9\n2,9,1,0\n"  # a value that is not there is no name
    np.testing.assert_array_equal(opened(missing).strip(0, 1), [[np.nan, 2, 3, 4]])
    data = "France,1,2,3\nSpain,4,5,6\nItaly,7,8,9\n"
    assert opened(data, columns=("2-4",)).strip(0, 3).tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    steps = "name,t,1\na,1,5\nb,2,6\n"  # a time axis all the same: its name is a word
    assert opened(steps).strip(0, 2).tolist() == [5, 6]
    born = "Ada,1815,1852\nAlan,1912,1954\n"
    assert opened(born, columns=("2", "3")).strip(0, 2).tolist() == [[1815, 1852], [1912, 1954]]


def test_missing_values_are_written_as_the_table_writes_them() -> None:
    assert copied("a,b\n5,\n4,2\n") == "a,b\n5.0,\n4.0,2.0\n"
    assert copied("a,b\n5,nan\n4,2\n") == "a,b\n5.0,NaN\n4.0,2.0\n"
    assert copied("a\n5\n\n4\n") == "a\n5.0\nNaN\n4.0\n"
    assert copied("a;b\n5,5;\n4;2,5\n") == "a;b\n5,5;\n4,0;2,5\n"


@settings(max_examples=150, deadline=None)
@given(st.lists(st.floats(allow_nan=True), min_size=1, max_size=30))
def test_floats_read_back_the_same(numbers: list[float]) -> None:
    text = written(Info.of("X", (len(numbers),), "float64"), np.array(numbers))
    expected = np.array([float(row[0]) for row in csv.reader(io.StringIO(text))])
    np.testing.assert_array_equal(expected, numbers)
    assert [math.copysign(1, x) for x in expected if x == x] == [
        math.copysign(1, x) for x in numbers if x == x
    ]
    if any(math.isfinite(x) for x in numbers):
        np.testing.assert_array_equal(values(text), numbers)


def test_other_columns_are_taken_at_the_rows_of_the_output() -> None:
    table = opened("t,v,n\n0,5,a\n1,6,\n2,7,c\n3,8,d\n")
    assert table.info.companions is not None
    taken = table.info.companions.take([3, None, 1])
    info = replace(table.info, axes=axes_of("X", (3,)), companions=taken)
    assert written(info, np.array([8.5, 7.5, NAN]), step=2) == "t,v,n\n3,8.5,d\n,7.5,\n1,,\n"
    again = taken.take([0, 0])
    assert (
        written(replace(info, axes=axes_of("X", (2,)), companions=again), np.array([1.0, 2.0]))
        == "t,v,n\n3,1.0,d\n3,2.0,d\n"
    )


def test_other_columns_are_dropped_and_said_so() -> None:
    table = opened("t,v,n\n0,5,a\n1,6,b\n")
    assert table.info.companions is not None
    info = replace(table.info, axes=axes_of("X", (5,)), companions=table.info.companions.drop())
    fp = io.BytesIO()
    writer = sink(fp, "csv", info, WriteOptions())
    assert writer.notes == ("dropped columns: t, n (no row of the output belongs to one of the input)",)
    writer.write(info.box, np.arange(5.0))
    writer.close()
    assert fp.getvalue() == b"v\n0.0\n1.0\n2.0\n3.0\n4.0\n"
    no_header = opened("0,5\n1,6\n")
    assert no_header.info.companions is not None
    info = replace(no_header.info, axes=axes_of("X", (1,)), companions=no_header.info.companions.drop())
    assert written(info, np.ones(1)) == "1.0\n"
    lone = opened("v\n5\n")
    assert lone.info.companions is not None
    assert lone.info.companions.drop() == lone.info.companions


def test_maps_stand_beside_each_other() -> None:
    table = opened("t,a,b,n\n0,5,6,x\n1,7,7,y\n2,8,9,z\n")
    array = np.arange(12.0).reshape(2, 3, 2)  # maps, rows, channels
    assert written(replace(table.info, axes=axes_of("MXC", (2, 3, 2))), array, step=2) == (
        "t,a.0,a.1,b.0,b.1,n\n0,0.0,6.0,1.0,7.0,x\n1,2.0,8.0,3.0,9.0,y\n2,4.0,10.0,5.0,11.0,z\n"
    )
    # Columns summed by a bank of two kernels, then by one.
    assert written(replace(table.info, axes=axes_of("MX", (2, 3))), np.arange(6.0).reshape(2, 3)) == (
        "t,map0,map1,n\n0,0.0,3.0,x\n1,1.0,4.0,y\n2,2.0,5.0,z\n"
    )
    assert written(replace(table.info, axes=axes_of("X", (3,))), np.arange(3.0)) == (
        "t,a+b,n\n0,0.0,x\n1,1.0,y\n2,2.0,z\n"
    )
    lone = opened("v\n5\n6\n")
    assert written(replace(lone.info, axes=axes_of("MX", (3, 2))), np.arange(6.0).reshape(3, 2)) == (
        "v.0,v.1,v.2\n0.0,2.0,4.0\n1.0,3.0,5.0\n"
    )
    nameless = opened("5\n6\n")
    assert written(replace(nameless.info, axes=axes_of("MX", (2, 2))), np.eye(2)) == "1.0,0.0\n0.0,1.0\n"


def test_picked_columns_keep_their_places() -> None:
    assert copied("a,b,c\n1,2,3\n4,5,6\n", columns=("c", "a")) == "a,b,c\n1.0,2,3.0\n4.0,5,6.0\n"


def test_arrays_are_plain_grids() -> None:
    assert (
        written(Info.of("YX", (2, 3), "uint8"), np.array([[1, 2, 3], [4, 5, 255]], np.uint8))
        == "1,2,3\n4,5,255\n"
    )
    assert written(Info.of("X", (2,), "float32"), np.array([0.1, 2], np.float32)) == "0.1\n2.0\n"
    assert written(Info.of("X", (2,), "float16"), np.array([0.5, 2], np.float16)) == "0.5\n2.0\n"
    assert written(Info.of("CX", (2, 3), "int64"), np.array([[1, 2, 3], [-4, 5, 6]])) == "1,-4\n2,5\n3,6\n"
    assert written(Info.of("XC", (2, 1), "float64"), np.array([[1.5], [NAN]])) == "1.5\nNaN\n"
    assert written(Info.of("YX", (2, 2), "float64"), np.eye(2), "tsv") == "1.0\t0.0\n0.0\t1.0\n"
    matrix = opened("1;2\n3;4\n", matrix=True)
    assert written(matrix.info, matrix.strip(0, 2)) == "1.0,2.0\n3.0,4.0\n"


@pytest.mark.parametrize(("axes", "shape"), [("YXC", (4, 4, 3)), ("ZYX", (4, 4, 4)), ("MYX", (2, 4, 4))])
def test_what_a_table_cannot_hold(axes: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConvError, match=rf"{axes}.*write \.npy"):
        sink(io.BytesIO(), "csv", Info.of(axes, shape, "float64"), WriteOptions())


def test_an_output_that_is_not_full() -> None:
    writer = sink(io.BytesIO(), "csv", Info.of("X", (4,), "float64"), WriteOptions())
    writer.write(((0, 3),), np.zeros(3))
    with pytest.raises(ConvError, match="1 of 4 samples are missing"):
        writer.close()


def test_blocks_are_ours_to_change() -> None:
    table = opened("1\n2\n3\n")
    table.strip(0, 3)[:] = 9
    assert table.strip(0, 3).tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("cells", "steps"),
    [
        (("0", "1", "2", "3"), None),
        (("0.0", "0.1", "0.2", "0.30000000000000004"), None),  # as programs print them
        (("0.033", "0.067", "0.100", "0.133"), None),  # 30 a second, rounded
        (("1700000000.5", "1700000001.0", "1700000001.5", "1700000002.0"), None),
        (("1e-3", "2e-3", "3e-3", "4e-3"), None),
        (("0", "1", "3", "6.5"), "1 to 3.5"),
        (("1", "2", "3", "5"), "1 to 2"),  # a row is missing
        (("0.0", "0.1", "0.2", "0.5"), "0.1 to 0.3"),
        (("1e-3", "2e-3", "3e-3", "9e-3"), "0.001 to 0.006"),
        (("1700000000", "1700000001", "1700000002", "1700000007"), "1 to 5"),
    ],
)
def test_rows_that_are_not_evenly_spaced_are_said(cells: tuple[str, ...], steps: str | None) -> None:
    table = opened("t [s],v\n" + "".join(f"{cell},{index}\n" for index, cell in enumerate(cells)))
    said = [note for note in table.info.notes if "evenly" in note]
    expected = f"the rows are not evenly spaced in t [s]: steps from {steps}; they are filtered as rows"
    assert said == ([expected] if steps else [])
    positions = table.info.axis("X").positions
    assert isinstance(positions, Listed)
    assert [float(positions.at(index) or 0) for index in range(4)] == [float(cell) for cell in cells]
    assert positions.unit == "s"


@pytest.mark.parametrize(
    "cells",
    [
        ("2024-03-01T10:00:00.5", "2024-03-01T10:00:02", "2024-03-01T11:00:00.125"),
        ("2024-03-01 10:00", "2024-03-01 10:01", "2024-03-02 10:02"),
        ("2024-02-28", "2024-02-29", "2024-03-01"),
        ("2024-03-01T10:00:05", "2024-03-01T10:00:05", "2024-03-01T10:00:06"),  # of a log by the second
        ("2024-10-27T02:30:00+02:00", "2024-10-27T02:00:00+01:00", "2024-10-27T02:15:00Z"),
    ],
)
def test_dates_tell_times(cells: tuple[str, ...]) -> None:
    """Python reads the dates too; numbers that rise before them are data, and cells are written as they were."""
    text = "id,when,v\n" + "".join(f"{index}.0,{cell},{index}.5\n" for index, cell in enumerate(cells))
    table = opened(text)
    positions = table.info.axis("X").positions
    assert isinstance(positions, Listed)
    assert positions.unit == "s"
    stamps = [datetime.fromisoformat(cell) for cell in cells]
    stamps = [stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC) for stamp in stamps]
    assert [positions.at(index) for index in range(3)] == [Fraction(stamp.timestamp()) for stamp in stamps]
    assert table.strip(0, 3).tolist() == [[0, 0.5], [1, 1.5], [2, 2.5]]
    assert copied(text) == text


@pytest.mark.parametrize(
    ("form", "cells"),
    [
        ("%d/%m/%Y %H:%M", ("29/02/2024 23:59", "1/3/2024 0:00", "01/03/2024 00:05")),
        ("%m/%d/%Y %I:%M %p", ("2/29/2024 11:59 PM", "3/1/2024 12:00 AM", "3/1/2024 12:05 pm")),
        ("%d/%m/%Y", ("1/3/2024", "2/3/2024", "1/4/2024")),  # months first they would fall
        ("%d.%m.%Y %H:%M:%S", ("1.3.2024 10:00:00", "2.3.2024 10:00:00", "3.3.2024 9:00:30")),
        (
            "%Y/%m/%d %H:%M:%S.%f",
            ("2024/03/01 10:00:00.25", "2024/03/01 10:00:01.5", "2024/03/01 10:00:09.0"),
        ),
        ("%d-%b-%Y", ("01-Mar-2024", "02-Mar-2024", "01-Apr-2024")),
        ("%B %d, %Y %H:%M", ("March 1, 2024 10:00", "March 1, 2024 10:01", "March 2, 2024 10:00")),
        ("%Y-%m-%d %I:%M %p", ("2024-03-01 9:00 AM", "2024-03-01 1:00 PM", "2024-03-01 2:30 PM")),
        ("%H:%M:%S", ("9:59:59", "10:00:00", "10:05:00.5")),
    ],
)
def test_dates_as_people_write_them(form: str, cells: tuple[str, ...]) -> None:
    text = "when,v\n" + "".join(f'"{cell}",{index}.5\n' for index, cell in enumerate(cells))
    positions = opened(text).info.axis("X").positions
    assert isinstance(positions, Listed)
    stamps = [
        datetime.strptime(cell, form if "." not in cell or "%f" in form or "%d." in form else f"{form}.%f")
        for cell in cells
    ]
    distances = [float((positions.at(index) or 0) - (positions.at(0) or 0)) for index in range(3)]
    assert distances == [(stamp - stamps[0]).total_seconds() for stamp in stamps]


def test_dates_that_may_mean_two_days_tell_no_times() -> None:
    unclear = opened("when,v\n01/03/2024,1\n02/03/2024,2\n03/04/2024,3\n").info
    assert unclear.axis("X").positions is None
    assert (
        "the day or the month may come first in dates such as 01/03/2024: they tell no times"
        in unclear.notes[0]
    )
    of_a_day = opened("when,v\n01/03/2024 10:00,1\n01/03/2024 10:05,2\n").info.axis("X").positions
    assert of_a_day is not None and of_a_day.steps() == (300, 300)  # either way
    assert opened("when,v\n10:00,1\n10:05,2\n").info.axis("X").positions is None  # minutes, or hours


@pytest.mark.parametrize(("unit", "each"), [("ms", 10**3), ("us", 10**6), ("ns", 10**9), ("", 1)])
def test_unix_times_are_told_by_their_size(unit: str, each: int) -> None:
    info = opened("time,v\n" + "".join(f"{(1_709_285_400 + 60 * n) * each},{n}\n" for n in range(3))).info
    positions = info.axis("X").positions
    assert positions is not None and positions.unit == unit
    assert positions.steps() == (60 * each, 60 * each)
    assert (f"time is taken for Unix time in {unit}" in info.notes) == bool(unit)


def test_large_integers_beside_missing_cells_are_said_to_be_rounded() -> None:
    said = "integers beyond 2^53 beside missing cells or floats are rounded to floats"
    assert said in opened("id,v\n9007199254740993,0.5\n7,2\n", columns=("id", "v")).info.notes
    assert said not in opened("id,v\n9007199254740992,0.5\n7,2\n", columns=("id", "v")).info.notes
    assert said in opened("id\n9007199254740993\n\n5\n", header=Header.YES).info.notes
    assert said not in opened("id,v\n9007199254740993,\n7,2\n", columns=("id",)).info.notes
    assert said not in opened("id,v\n1e17,1\n,2\n", columns=("id",)).info.notes


@pytest.mark.parametrize("last", ["2024-03-01", "2024-03-01T23:59:59.999", "2024-02-30", "", "tomorrow"])
def test_what_tells_no_times_passes_through(last: str) -> None:
    text = f"when,v\n2024-03-01,1.0\n2024-03-02,2.0\n{last},3.0\n"
    assert opened(text).info.axis("X").positions is None
    assert copied(text) == text


def test_rows_without_a_time_have_empty_cells() -> None:
    table = opened("t,v,name\n0.5,1,a\n1.5,2,b\n3.5,3,c\n")
    axis = table.info.axis("X").along(Fraction(-1), Fraction(2), 3)
    assert table.info.companions is not None
    rows = table.info.companions.take([0, 1, 2])
    info = replace(table.info, axes=(axis, *table.info.axes[1:]), companions=rows)
    assert written(info, np.array([7.0, 8.0, 9.0])) == "t,v,name\n,7.0,a\n1.5,8.0,b\n,9.0,c\n"


def test_columns_that_are_asked_for_keep_the_times_of_their_rows() -> None:
    text = "name,t,a,b\nx,1,5,2\ny,2,6,1\nz,4,7,9\n"
    for columns in (("b",), ("a", "b")):
        table = opened(text, columns=columns)
        assert [float(table.info.axis("X").positions.at(index)) for index in range(3)] == [1, 2, 4]  # type: ignore[union-attr,arg-type]
        assert "steps from 1 to 2" in table.info.notes[-1]
    for columns in (("t",), ("t", "b")):
        assert opened(text, columns=columns).info.axis("X").positions is None
    assert opened("2019,2020\n1,2\n2,3\n", columns=("2",)).info.axis("X").positions is None
