"""Parquet and Arrow tables beside polars and scipy: types, nulls, times, columns that pass through."""

import datetime
import json
import zlib
from base64 import b64decode
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy.ndimage import correlate1d
from scipy.signal import correlate2d
from typer.testing import CliRunner

from convcli.cli.program import build
from convcli.common import ConvError, UsageError

RANDOM = np.random.default_rng(8)
ROWS = 60
START = datetime.datetime(2026, 3, 1, 6)
TAPS, KERNEL = np.array([0.5, 0.25, -0.125]), "0.5,0.25,-0.125"
TABLE = pl.DataFrame(
    {
        "when": [START + datetime.timedelta(milliseconds=250 * row) for row in range(ROWS)],
        "level": RANDOM.normal(3, 1, ROWS),
        "count": RANDOM.integers(-50, 50, ROWS),
        "site": [None if row % 7 == 3 else f"s{row % 3}" for row in range(ROWS)],
        "ok": [row % 5 > 0 for row in range(ROWS)],
    }
)
WRITE = {
    "parquet": pl.DataFrame.write_parquet,
    "arrow": pl.DataFrame.write_ipc,
    "feather": pl.DataFrame.write_ipc,
}


def write(path: Path, table: pl.DataFrame = TABLE) -> Path:
    WRITE[path.suffix[1:]](table, path)
    return path


def read(path: Path) -> pl.DataFrame:
    return (pl.read_parquet if path.suffix == ".parquet" else pl.read_ipc)(path.read_bytes())


def run(*arguments: object) -> str:
    """Run a filter in this process; return what it says on stderr."""
    done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.stderr


def filtered(values: np.ndarray) -> np.ndarray:
    return correlate1d(values.astype(np.float64), TAPS, mode="nearest")


@pytest.mark.parametrize("suffix", WRITE)
def test_numbers_are_filtered_and_the_rest_passes_through_with_its_types(suffix: str, tmp_path: Path) -> None:
    path, target = write(tmp_path / f"a.{suffix}"), tmp_path / f"b.{suffix}"
    said = run(path, "-k", KERNEL, "-o", target)
    assert said == "note: filtered columns: level, count; not filtered: when, site, ok\n"
    found = read(target)
    assert found.columns == TABLE.columns
    for name in ("when", "site", "ok"):
        assert found[name].equals(TABLE[name]) and found[name].dtype == TABLE[name].dtype
    for name in ("level", "count"):
        np.testing.assert_allclose(found[name].to_numpy(), filtered(TABLE[name].to_numpy()), rtol=1e-12)


def test_nulls_are_missing_samples_and_stay_nulls(tmp_path: Path) -> None:
    holes = [4, 5, 30]
    level = [None if row in holes else value for row, value in enumerate(TABLE["level"])]
    path = write(tmp_path / "a.parquet", TABLE.with_columns(level=pl.Series(level)))
    run(path, "-k", "box:3", "-o", tmp_path / "b.parquet")
    touched = {row + by for row in holes for by in (-1, 0, 1)}
    found = read(tmp_path / "b.parquet")["level"]
    assert {row for row, value in enumerate(found) if value is None} == touched
    run(path, "-k", "box:3", "--missing", "skip", "-o", tmp_path / "c.parquet")
    there = ~np.isin(np.arange(ROWS), holes)
    values = np.pad(np.where(there, TABLE["level"].to_numpy(), 0), 1, "edge")
    weights = np.pad(there.astype(float), 1, "edge")
    expected = np.convolve(values, np.ones(3), "valid") / np.convolve(weights, np.ones(3), "valid")
    np.testing.assert_allclose(read(tmp_path / "c.parquet")["level"].to_numpy(), expected, rtol=1e-12)


def test_types_of_numbers(tmp_path: Path) -> None:
    table = pl.DataFrame({"a": pl.Series([1.5, 2, 4, 8], dtype=pl.Float32)})
    run(write(tmp_path / "a.parquet", table), "-k", "1", "-o", tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet").schema == {"a": pl.Float32}
    large = pl.DataFrame({"a": [2**60 + 1, 2**60 + 3, -(2**55) - 1]})
    run(write(tmp_path / "c.parquet", large), "-k", "1", "--range", "clip", "-o", tmp_path / "d.parquet")
    assert read(tmp_path / "d.parquet").equals(large)
    large = pl.DataFrame({"a": pl.Series([2**63 + 5, 2**63 + 9, 7], dtype=pl.UInt64)})
    run(write(tmp_path / "e.parquet", large), "-k", "1", "--range", "clip", "-o", tmp_path / "f.parquet")
    assert read(tmp_path / "f.parquet").equals(large)
    larger = pl.DataFrame({"a": pl.Series([2**70, -(2**70)], dtype=pl.Int128)})
    run(write(tmp_path / "g.parquet", larger), "-k", "1", "-o", tmp_path / "h.parquet")
    assert read(tmp_path / "h.parquet")["a"].to_list() == [2.0**70, -(2.0**70)]


SMALL = (pl.Float16, pl.Float32, pl.Int8, pl.Int16, pl.UInt8, pl.UInt16)
LARGE = (pl.Float64, pl.Int32, pl.Int64, pl.UInt32, pl.UInt64)


@pytest.mark.parametrize("suffix", WRITE)
def test_each_column_has_the_type_that_npy_gets(suffix: str, tmp_path: Path) -> None:
    kinds = dict(zip("abcdefghijk", (*SMALL, *LARGE), strict=True))
    values = [1, 3, 2, 100, 7]
    mixed = pl.DataFrame({name: pl.Series(values, dtype=kind) for name, kind in kinds.items()})
    run(write(tmp_path / f"a.{suffix}", mixed), "-k", KERNEL, "-o", tmp_path / f"b.{suffix}")
    found = read(tmp_path / f"b.{suffix}")
    for name, kind in kinds.items():
        assert found.schema[name] == (pl.Float32 if kind in SMALL else pl.Float64), kind
        expected = filtered(np.array(values)).astype(found[name].to_numpy().dtype)
        np.testing.assert_array_equal(found[name].to_numpy(), expected)
        np.save(tmp_path / "a.npy", mixed[name].to_numpy())
        run(tmp_path / "a.npy", "-k", KERNEL, "-o", tmp_path / "b.npy", "-y")
        assert np.load(tmp_path / "b.npy").dtype == found[name].to_numpy().dtype, kind
        write(tmp_path / f"c.{suffix}", mixed.select(name))
        run(tmp_path / f"c.{suffix}", "-k", KERNEL, "-o", tmp_path / f"d.{suffix}", "-y")
        assert read(tmp_path / f"d.{suffix}").equals(found.select(name)), kind
    beside = pl.DataFrame({"a": pl.Series([3e38, 3e38], dtype=pl.Float32), "b": [1.0, 2.0]})
    run(write(tmp_path / f"e.{suffix}", beside), "-k", "2", "-o", tmp_path / f"f.{suffix}")
    assert read(tmp_path / f"f.{suffix}").schema == {"a": pl.Float64, "b": pl.Float64}  # 6e38


@pytest.mark.parametrize("suffix", [*WRITE, "csv"])
def test_nan_and_null_are_told_apart(suffix: str, tmp_path: Path) -> None:
    nan = float("nan")
    table = pl.DataFrame(
        {
            "both": [1.0, None, 3.0, nan, 5.0, 6.0, 7.0],
            "nan": [1.0, 2.0, 3.0, nan, 5.0, 6.0, 7.0],
            "null": [1.0, None, 3.0, 4.0, 5.0, 6.0, 7.0],
        }
    )
    path, target = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    table.write_csv(path) if suffix == "csv" else write(path, table)
    run(path, "-k", "0,1,0", "--missing", "keep", "-o", target)
    assert (pl.read_csv(target) if suffix == "csv" else read(target)).equals(table, null_equal=True)
    run(path, "-k", "0,1,0", "--missing", "keep", "--stride", "3", "-o", target, "-y")
    assert (pl.read_csv(target) if suffix == "csv" else read(target)).equals(table[::3], null_equal=True)


# pa.table({"v": [1, 2, 4]}) of int16, by pyarrow 26, with the keys below and {"unit": "m/s"} of the column
ARROW = zlib.decompress(
    b64decode(
        "eNrlUjtuwkAQff6v0ApZkYU4AEU6SEeRhhOA3ATRIRQpLkyisImUG1BScJx0HAzejscWRMoJGGl2nmdn3jyPPSvL+csTcKaZAMjhrYc+UiQwRLQg7vKW"
        "Z6z5pWAgpD8qduTJFbeW0F/rD/fDeOR9ofcZfXX6/aw2b4J3bu2q9y0oA0PpfGA0VJLJ3BwFMyIo9BwLukGrGdL3rdHKnRWtbY2fGdHr8U7w17Zy0DrDGU"
        "ZpfK3fx56xUG6LgW7ECjeiWDSa7i17fLbdbp51ZnS1hxD/W3qFgz99TS4UzV4XlNtSXSqK8kYTK6Y8R/qusseg6T8oj7lhvZ/vOSHJTP71C0mEPlc="
    )
)
KEYS = {"station": "Zürich", "empty": ""}


def test_keys_and_values_of_the_file_are_kept(tmp_path: Path) -> None:
    (tmp_path / "a.arrow").write_bytes(ARROW)
    for suffix in ("arrow", "parquet"):
        said = run(tmp_path / "a.arrow", "-k", "box:3", "-o", tmp_path / f"b.{suffix}")
        assert said == "note: left out: metadata of the columns v\nnote: filtered columns: v\n"
        assert read(tmp_path / f"b.{suffix}")["v"].to_list() == pytest.approx([4 / 3, 7 / 3, 10 / 3])
    found = pl.read_parquet_metadata(tmp_path / "b.parquet")
    assert {key: found[key] for key in KEYS} == KEYS
    said = run(tmp_path / "b.parquet", "-k", "box:3", "-o", tmp_path / "c.csv")
    assert "note: left out: metadata empty, station (CSV holds none)\n" in said
    run(tmp_path / "b.arrow", "-k", "box:3", "-o", tmp_path / "d.parquet")  # as it was written
    assert KEYS.items() <= pl.read_parquet_metadata(tmp_path / "d.parquet").items()
    feather = pytest.importorskip("pyarrow.feather")
    parquet = pytest.importorskip("pyarrow.parquet")
    wanted = {key.encode(): value.encode() for key, value in KEYS.items()}
    assert feather.read_table(tmp_path / "b.arrow").schema.metadata == wanted
    assert parquet.read_table(tmp_path / "b.parquet").schema.metadata == wanted


def test_what_pandas_says_of_its_index_stays_true(tmp_path: Path) -> None:
    def told(columns: dict[str, str], index: list[object]) -> str:
        of = [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": kind, "metadata": None}
            for name, kind in columns.items()
        ]
        return json.dumps({"index_columns": index, "columns": of, "pandas_version": "3.0.0"})

    table = pl.DataFrame({"a": pl.Series([5, 4, 8, 1, 2, 3], dtype=pl.Int16), "key": [3, 5, 9, 11, 20, 23]})
    named, types = tmp_path / "named.parquet", {"a": "int16", "key": "int64"}
    table.write_parquet(named, metadata={"pandas": told(types, ["key"])})
    said = run(named, "-k", "box:3", "--stride", "2", "-o", tmp_path / "b.parquet")
    assert said == "note: filtered columns: a; not filtered: key\n"
    assert read(tmp_path / "b.parquet")["key"].to_list() == [3, 9, 20]
    found = pl.read_parquet_metadata(tmp_path / "b.parquet")["pandas"]
    assert json.loads(found) == json.loads(told({"a": "float32", "key": "int64"}, ["key"]))
    rows = {"kind": "range", "name": None, "start": 0, "stop": 6, "step": 1}
    table.select("a").write_parquet(tmp_path / "c.parquet", metadata={"pandas": told({"a": "int16"}, [rows])})
    run(tmp_path / "c.parquet", "-k", "box:3", "--stride", "2", "-o", tmp_path / "d.parquet")
    found = pl.read_parquet_metadata(tmp_path / "d.parquet")["pandas"]
    assert json.loads(found)["index_columns"] == [{**rows, "stop": 3}]
    damaged = (
        "no JSON",
        '{"index_columns": [5], "columns": [7]}',
        '{"index_columns": [{}], "columns": "x"}',
        "[1]",
    )
    for text in (*damaged, '{"index_columns": [], "columns": [{"field_name": null}]}'):
        table.write_parquet(tmp_path / "e.parquet", metadata={"pandas": text})
        run(tmp_path / "e.parquet", "-k", "box:3", "-o", tmp_path / "g.parquet", "-y")
        assert "pandas" not in pl.read_parquet_metadata(tmp_path / "g.parquet")
    said = run(tmp_path / "e.parquet", "-k", "box:3", "--columns", "key", "-o", tmp_path / "f.parquet")
    assert "note: left out: what pandas says of its index, which is damaged\n" in said
    assert "note: filtered columns: key; not filtered: a\n" in said


@pytest.mark.parametrize("suffix", WRITE)
@pytest.mark.parametrize("beside", [[None, 3], [0.5, 2.0]])
def test_large_integers_that_become_floats_are_said(
    beside: list[float | None], suffix: str, tmp_path: Path
) -> None:
    large = pl.DataFrame({"a": [2**53 + 3, 2**53 + 1], "b": beside})
    said = run(write(tmp_path / f"a.{suffix}", large), "-k", "1", "-o", tmp_path / f"b.{suffix}")
    assert "integers beyond 2^53 beside missing cells or floats are rounded to floats" in said
    held = large.with_columns(a=pl.Series([2**54, 2**53 + 4]))
    said = run(write(tmp_path / f"c.{suffix}", held), "-k", "1", "-o", tmp_path / f"d.{suffix}")
    assert said == "note: filtered columns: a, b\n"


def test_texts_of_digits_stay_texts(tmp_path: Path) -> None:
    table = TABLE.with_columns(code=pl.Series([f"0{row}" for row in range(ROWS)]), year=pl.lit("2026"))
    run(write(tmp_path / "a.parquet", table), "-k", "box:3", "-o", tmp_path / "b.parquet")
    found = read(tmp_path / "b.parquet")
    assert found["code"].equals(table["code"]) and found["year"].equals(table["year"])
    table.select("level", "code").write_csv(tmp_path / "c.csv")
    run(tmp_path / "c.csv", "-k", "box:3", "--columns", "level", "-o", tmp_path / "d.parquet")
    assert read(tmp_path / "d.parquet")["code"].equals(table["code"])


def test_a_table_is_a_grid_of_pixels_or_of_weights(tmp_path: Path) -> None:
    grid = RANDOM.normal(0, 1, (9, 4))
    path = write(tmp_path / "a.parquet", pl.DataFrame(grid, schema=list("abcd")))
    weights = write(tmp_path / "k.parquet", pl.DataFrame({"left": [1.0, 2.0], "right": [3.0, -1.0]}))
    run(path, "--as", "matrix", "-k", weights, "--padding", "valid", "-o", tmp_path / "b.npy")
    expected = correlate2d(grid, [[1, 3], [2, -1]], "valid")
    np.testing.assert_allclose(np.load(tmp_path / "b.npy"), expected, rtol=1e-12)
    lone = write(tmp_path / "lone.parquet", pl.DataFrame({"w": [0.5, 0.25, -0.125], "name": ["a", "b", "c"]}))
    run(write(tmp_path / "c.parquet"), "-k", lone, "--columns", "level", "-o", tmp_path / "d.parquet")
    found = read(tmp_path / "d.parquet")["level"].to_numpy()
    np.testing.assert_allclose(found, filtered(TABLE["level"].to_numpy()), rtol=1e-12)


def test_a_lone_column_keeps_its_nulls(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pl.DataFrame({"a": [1.0, None, 3.0, 4.0, 5.0]}))
    run(path, "-k", "box:3", "-o", tmp_path / "b.parquet")
    found = read(tmp_path / "b.parquet")["a"].to_list()
    assert found == [None, None, None, pytest.approx(4), pytest.approx(14 / 3)]


def test_times_are_positions(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    run(path, "-k", "gaussian:sigma=2", "--stride", "2", "--columns", "level", "-o", tmp_path / "b.parquet")
    assert read(tmp_path / "b.parquet")["when"].equals(TABLE["when"][::2].alias("when"))
    run(path, "-k", "gaussian:sigma=2", "--columns", "level", "-o", tmp_path / "b.wav", "--range", "float")
    import soundfile

    assert soundfile.info(tmp_path / "b.wav").samplerate == 4
    uneven = TABLE.with_columns(
        when=pl.Series([START + datetime.timedelta(seconds=row**2) for row in range(ROWS)])
    )
    said = run(write(tmp_path / "u.parquet", uneven), "-k", "box:3", "-o", tmp_path / "v.parquet")
    assert "the rows are not evenly spaced in when: steps from 1 to 117 s; they are filtered as rows" in said


def test_tables_of_text_and_of_types_become_one_another(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "time,a,name\n" + "".join(f"{row / 10},{row % 4},n{row}\n" for row in range(20))
    )
    run(tmp_path / "a.csv", "-k", "1", "-o", tmp_path / "b.parquet")
    found = read(tmp_path / "b.parquet")
    assert found.schema == {"time": pl.Float64, "a": pl.Float64, "name": pl.String}
    assert found["time"].to_list() == [row / 10 for row in range(20)]
    run(tmp_path / "b.parquet", "-k", "1", "-o", tmp_path / "c.csv")
    again = pl.read_csv(tmp_path / "c.csv")
    assert again.columns == ["time", "a", "name"] and again["a"].to_list() == [row % 4 for row in range(20)]
    np.save(tmp_path / "d.npy", np.arange(12.0).reshape(4, 3))
    run(tmp_path / "d.npy", "-k", "1", "--axes", "XC", "-o", tmp_path / "e.parquet")
    assert read(tmp_path / "e.parquet").to_numpy().tolist() == np.arange(12.0).reshape(4, 3).tolist()


def test_banks_make_a_column_for_each_map(tmp_path: Path) -> None:
    np.save(tmp_path / "bank.npy", np.array([[[1.0, 0, 0]], [[0, 0, 1.0]]]))
    path = write(tmp_path / "a.parquet", TABLE.select("level", "site"))
    (tmp_path / "k.yaml").write_text("name: two\nrank: 1\nweights: [[1, 0, 0], [0, 0, 1]]\n")
    run(path, "-k", tmp_path / "k.yaml", "-o", tmp_path / "b.parquet")
    found = read(tmp_path / "b.parquet")
    assert found.columns == ["level.0", "level.1", "site"]
    np.testing.assert_allclose(found["level.1"][:-1].to_numpy(), TABLE["level"][1:].to_numpy())


@pytest.mark.parametrize(
    "values", [[[1], [2, 3]], [{"x": 1}] * 2, [b"a"] * 2, [datetime.timedelta(1)] * 2], ids=str
)
def test_what_text_cannot_hold_is_said(values: list[object], tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pl.DataFrame({"a": [1.0, 2.0], "beside": values}))
    run(path, "-k", "1", "-o", tmp_path / "b.arrow")
    assert read(tmp_path / "b.arrow")["beside"].to_list() == values
    with pytest.raises(UsageError, match=r"write \.parquet or \.arrow"):
        run(path, "-k", "1", "-o", tmp_path / "b.csv")
    assert not (tmp_path / "b.csv").exists()


def test_what_cannot_be_filtered_is_said(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet")
    with pytest.raises(ConvError, match="column 'site' holds String, not numbers"):
        run(path, "-k", "1", "--columns", "site", "-o", tmp_path / "b.parquet")
    with pytest.raises(UsageError, match="no such column; did you mean 'level'"):
        run(path, "-k", "1", "--columns", "leval", "-o", tmp_path / "b.parquet")
    lists = write(tmp_path / "l.parquet", pl.DataFrame({"a": [[1, 2], [3]], "b": ["x", "y"]}))
    with pytest.raises(ConvError, match=r"no column holds numbers; there are a: List\(Int64\), b: String"):
        run(lists, "-k", "1", "-o", tmp_path / "b.parquet")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ConvError, match="broken or truncated Parquet file"):
        run(path, "-k", "1", "-o", tmp_path / "b.parquet")
    assert not (tmp_path / "b.parquet").exists()
