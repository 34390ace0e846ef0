"""Smoothing over uneven times beside a direct loop, pandas' rule in words, and polars."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import ndimage
from typer.testing import CliRunner

from convcli.cli.program import build
from convcli.common import ConvError, UsageError

RANDOM = np.random.default_rng(8)
TICKS = np.cumsum(RANDOM.integers(1, 60, 300)) + 100_000  # hundredths of a second
VALUES = RANDOM.normal(5, 2, (300, 2))
VALUES[40, 0] = 1e20  # felt in its windows alone


def run(*arguments: object) -> str:
    words = ["filter", *map(str, arguments)]
    done = CliRunner().invoke(build(["filter"]), words, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stderr


def table(path: Path, values: np.ndarray = VALUES) -> Path:
    times = [f"{tick // 100}.{tick % 100:02}" for tick in TICKS.tolist()]
    columns = {
        "time [s]": times,
        "a": values[:, 0],
        "b": values[:, 1],
        "who": [f"n{i}" for i in range(len(times))],
    }
    pl.DataFrame(columns).with_columns(pl.col("a", "b").fill_nan(None)).write_csv(path)
    return path


def smoothed(path: Path, *options: object) -> np.ndarray:
    run(path, *options, "--along", "time", "-q", "-o", path.with_name("o.csv"), "-y")
    return pl.read_csv(path.with_name("o.csv"))["a", "b"].to_numpy()


def direct(
    values: np.ndarray, name: str, width: int, missing: str = "propagate"
) -> tuple[np.ndarray, np.ndarray]:
    """The definition, one output after the other; the width is in hundredths."""
    means, counts = np.full(values.shape, np.nan), np.zeros(values.shape, int)
    for i, now in enumerate(TICKS):
        apart = TICKS - now
        near = (2 * apart > -width) & (2 * apart <= width) if name == "box" else np.abs(apart) <= 4 * width
        weights = np.ones(300) if name == "box" else np.exp(-(apart**2) / (2.0 * width**2))
        for c in range(2):
            column = values[:, c]
            chosen = near & (~np.isnan(column) | (missing == "propagate"))
            counts[i, c] = (near & ~np.isnan(column)).sum()
            if chosen.any() and not (missing == "keep" and np.isnan(column[i])):
                means[i, c] = sum(weights[chosen] * column[chosen]) / sum(weights[chosen])
    return means, counts


@pytest.mark.parametrize(("kernel", "name", "width"), [("box:5s", "box", 500), ("box:50ms", "box", 5),
                                                       ("gaussian:sigma=2s", "gaussian", 200),
                                                       ("gaussian:1/60min", "gaussian", 100),
                                                       ("box:1d", "box", 8_640_000)])  # fmt: skip
def test_weights_of_real_distances(kernel: str, name: str, width: int, tmp_path: Path) -> None:
    found = smoothed(table(tmp_path / "a.csv"), "-k", kernel)
    np.testing.assert_allclose(found, direct(VALUES, name, width)[0], rtol=1e-12)


def test_seconds_that_are_only_taken_for_it_are_said(tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    said = "the times have no unit: seconds are taken for it"
    assert said not in run(path, "-k", "box:5s", "--along", "time", "-yo", tmp_path / "b.csv")
    path.write_text(path.read_text().replace("time [s]", "time", 1))
    assert said in run(path, "-k", "box:5s", "--along", "time", "-yo", tmp_path / "b.csv")


@pytest.mark.parametrize("missing", ["propagate", "skip", "keep"])
def test_missing_samples_and_counts(missing: str, tmp_path: Path) -> None:
    values = VALUES.copy()
    values[RANDOM.random(values.shape) < 0.1] = np.nan
    values[100:120, 1] = np.nan
    path = table(tmp_path / "a.csv", values)
    words = "-k", "gaussian:sigma=0.3s", "--missing", missing, "--along", "time,counts"
    run(path, *words, "-o", tmp_path / "o.csv")
    found = pl.read_csv(tmp_path / "o.csv")
    assert found.columns == ["time [s]", "a", "b", "who", "a.count", "b.count"]
    means, counts = direct(values, "gaussian", 30, missing)
    np.testing.assert_allclose(found["a", "b"].cast(pl.Float64).to_numpy(), means, rtol=1e-12)
    np.testing.assert_array_equal(found["a.count", "b.count"].to_numpy(), counts)
    assert found["time [s]"].to_list() == pytest.approx(TICKS / 100)
    if missing == "propagate":
        with pytest.raises(ConvError, match=r"a missing sample \(NaN\) at x \d+"):
            smoothed(path, "-k", "box:1s", "--missing", "error")


def test_rows_of_the_same_date(tmp_path: Path) -> None:
    """Logs by the second have several: all of a second lie at one distance."""
    dates = [datetime(2026, 3, 1, 10) + timedelta(seconds=int(tick) // 100) for tick in TICKS]
    frame = pl.DataFrame({"when": dates, "a": VALUES[:, 1]})
    half = timedelta(seconds=5)
    expected = [VALUES[[now - half < then <= now + half for then in dates], 1].mean() for now in dates]
    assert len(set(dates)) < len(dates)
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    for name, read in (("a.csv", pl.read_csv), ("a.parquet", pl.read_parquet)):
        run(tmp_path / name, "-k", "box:10s", "--along", "time", "-o", tmp_path / f"o-{name}")
        np.testing.assert_allclose(read(tmp_path / f"o-{name}")["a"], expected, rtol=1e-12)


def test_an_error_names_the_missing_sample_not_the_first_window_that_holds_it(tmp_path: Path) -> None:
    values = VALUES.copy()
    values[70, 1] = np.nan
    with pytest.raises(ConvError, match=r"missing sample \(NaN\) at x 70 of channel 1"):
        run(table(tmp_path / "a.csv", values), "-k", "box:5s", "--along", "time", "--missing", "error")


def test_boxes_are_those_of_polars(tmp_path: Path) -> None:
    """A window (t - 2.5 s, t + 2.5 s], in a Parquet file with dates; two kernels and a stride after it."""
    start, width = pl.datetime(2024, 2, 29, time_unit="us"), timedelta(seconds=5)
    frame = pl.select(when=start + pl.Series(TICKS * 10_000).cast(pl.Duration("us")))
    frame = frame.with_columns(a=pl.Series(VALUES[:, 1]), i=pl.int_range(300))
    frame.write_parquet(tmp_path / "a.parquet")
    rows = frame.rolling("when", period=width, offset=-width / 2, closed="right").agg(pl.col("a").mean())
    told = run(
        tmp_path / "a.parquet",
        "--columns",
        "a",
        "-k",
        "box:5s",
        "--along",
        "time",
        "-o",
        tmp_path / "o.parquet",
    )
    assert "filtered as rows" not in told
    found = pl.read_parquet(tmp_path / "o.parquet")
    np.testing.assert_allclose(found["a"], rows["a"], rtol=1e-12)
    assert found["when"].equals(frame["when"])
    twice = direct(direct(VALUES, "box", 500)[0], "gaussian", 100)[0][::3]
    options = "-k", "box:5s", "-k", "gaussian:sigma=1s", "--stride", "3"
    np.testing.assert_allclose(smoothed(table(tmp_path / "a.csv"), *options), twice, rtol=1e-11)


def test_even_times_are_filtered_alike_with_and_without(tmp_path: Path) -> None:
    """In the middle; at the ends the weights that are there have the sum 1."""
    pl.DataFrame({"t [s]": np.arange(300) / 4, "a": VALUES[:, 1]}).write_csv(tmp_path / "a.csv")
    smooth = ndimage.gaussian_filter1d(VALUES[:, 1], 4)[16:-16]
    for more in ((), ("--along", "time")):
        run(tmp_path / "a.csv", "-k", "gaussian:sigma=1s", *more, "-o", tmp_path / "o.csv", "-y")
        np.testing.assert_allclose(pl.read_csv(tmp_path / "o.csv")["a"][16:-16], smooth, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("-k", "box:5"), "--along time takes kernels in a unit of time"),
        (("-k", "smooth3"), "--along time takes kernels in a unit of time"),
        (("-k", "box:5m"), "m measures length, and the positions along x are in 's'"),
        (("-k", "box:1e999s"), "the number is beyond what a float holds"),
        (("-k", "box:0s"), "0s is not possible: give more than 0"),
        (("-k", "box:5s", "--padding", "full"), "only --stride, --pool, --missing and --mask go with it"),
        (("-k", "box:5s", "--missing", "skip:0.5"), "only --stride, --pool, --missing and --mask go with it"),
        (("-k", "box:5s,7s"), "kernel 'box:5s,7s': '7s' is not understood"),
        (("-k", "box:5s", "--as", "matrix"), "a column of increasing times, numbers or 2024-03-01T10:00:05"),
    ],
)
def test_what_has_no_distances(options: tuple[str, ...], expected: str, tmp_path: Path) -> None:
    path = table(tmp_path / "a.csv")
    if "--as" in options:
        pl.read_csv(path)[:, :3].write_csv(path)
    with pytest.raises(UsageError) as told:
        run(path, *options, "--along", "time")
    assert expected in str(told.value)


@pytest.mark.parametrize("name", ["time [ms]", "t", "timestamp"])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_rows_of_one_time_are_all_in_the_window(name: str, suffix: str, tmp_path: Path) -> None:
    """Numbers do what dates do, and what a centred ``rolling`` of pandas does: a value a row."""
    import pandas as pd

    ticks = np.sort(RANDOM.integers(0, 500, 300))
    rows = pl.DataFrame({name: ticks, "a": RANDOM.normal(0, 1, 300)})
    path = tmp_path / f"a.{suffix}"
    rows.write_csv(path) if suffix == "csv" else rows.write_parquet(path)
    run(
        path,
        "-k",
        "box:20ms" if "ms" in name else "box:20s",
        "--along",
        "time,counts",
        "-o",
        tmp_path / "b.csv",
    )
    found = pl.read_csv(tmp_path / "b.csv")
    centred = pd.Series(rows["a"].to_numpy(), pd.to_timedelta(ticks, unit="s")).rolling("20s", center=True)
    np.testing.assert_allclose(found["a"], centred.mean(), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(found["a.count"], centred.count())
    dates = [str(datetime(2026, 3, 1) + timedelta(seconds=tick)) for tick in ticks.tolist()]
    rows.select(pl.Series("when", dates), "a").write_csv(tmp_path / "c.csv")
    run(tmp_path / "c.csv", "-k", "box:20s", "--along", "time", "-o", tmp_path / "d.csv")
    np.testing.assert_array_equal(pl.read_csv(tmp_path / "d.csv")["a"], found["a"])
    assert found[name].to_list() == ticks.tolist()


def test_equal_numbers_are_no_times_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("level,a\n1,2\n1,3\n2,4\n")
    said = run(tmp_path / "a.csv", "-k", "box:3", "-o", tmp_path / "b.csv")
    assert said == "note: filtered columns: level, a\n"
