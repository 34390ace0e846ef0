"""Integers beyond 2^53, which float64 does not hold: exact under whole weights, like Python's own, or said."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

import convcli
from convcli.jobs.bind import Settings
from tests.execution.test_blocks import computed
from tests.shell import ok

CLOCK = 1_700_000_000_000_000_000  # nanoseconds since 1970, which need 61 bits
ROUNDED = b"rounded to 53 bits"


def correlated(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Correlate in Python's integers, and clip to the array's type."""
    rows, columns = (n - k + 1 for n, k in zip(x.shape, weights.shape, strict=True))
    total = 0
    for i, j in product(*map(range, weights.shape)):
        total = total + int(weights[i, j]) * x[i : i + rows, j : j + columns].astype(object)
    limits = np.iinfo(x.dtype)
    return np.clip(total, int(limits.min), int(limits.max)).astype(x.dtype)


@pytest.mark.filterwarnings("ignore:numbers beyond 2")  # for sums that need 65 bits, which are clipped here
@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_whole_weights_are_exact(engine: str, dtype: str) -> None:
    random, limits = np.random.default_rng(4), np.iinfo(dtype)
    x = random.integers(limits.min // 2, limits.max // 2, (30, 41), dtype=dtype, endpoint=True)
    x[:3] = random.integers(0, 99, (3, 41))  # a part that float64 holds
    weights = np.array([[1, 0, -2], [0, 1, 1]])
    got = convcli.filter(x, weights, padding="valid", range="clip", engine=engine)
    np.testing.assert_array_equal(got, correlated(x, weights))
    np.testing.assert_array_equal(convcli.filter(x, "identity", range="clip", engine=engine), x)
    tops = convcli.filter(x, pool="max:2", range="clip", engine=engine)
    np.testing.assert_array_equal(tops, x[:, :40].reshape(15, 2, 20, 2).max((1, 3)))


def test_the_ends_of_the_types_are_kept() -> None:
    for dtype in ("int64", "uint64"):
        limits = np.iinfo(dtype)
        x = np.array([limits.max, limits.max - 1, limits.min, limits.min + 1, 5], dtype)
        np.testing.assert_array_equal(convcli.filter(x, "1", range="clip"), x)
        np.testing.assert_array_equal(convcli.filter(x, pool="min:1,s=1", range="clip"), x)
    many = np.array([2**32 - 1, 2**32 - 3], "uint32")
    wide = convcli.filter(many, [4_000_000.0, -4_000_000.0], padding="valid")
    assert wide.tolist() == [8_000_000.0]
    x = np.array([2**31 - 1, 5], "int32")
    np.testing.assert_array_equal(convcli.filter(x, "2", range="clip", dtype="float32"), [2**31 - 128, 10])


def test_differences_chains_and_padding_as_floats() -> None:
    x = CLOCK + np.arange(12) ** 3 * 1_000_001
    np.testing.assert_array_equal(convcli.filter(x, [-1, 1], padding="valid"), np.diff(x))
    twice = convcli.filter(x, [np.array([-1, 1])] * 2, padding="valid")
    np.testing.assert_array_equal(twice, np.diff(x, 2))
    steps = convcli.filter(x, [-1, 1], padding="1:0", pad_mode="antireflect")
    assert steps[0] == 1_000_001
    tops = convcli.filter(x, [-1, 1], padding="valid", pool="max:3")
    np.testing.assert_array_equal(tops, np.diff(x)[[2, 5, 8]])  # they rise


def test_boxes_cut_anywhere_give_the_same() -> None:
    x = np.where(np.arange(40)[:, None] % 11 == 3, CLOCK, 0) + np.arange(200).reshape(40, 5)
    kernel = convcli.Kernel("k", (1, 1, 3, 2), (1.0, -1.0, 2.0, 0.0, -3.0, 1.0))
    ways = [computed(x, [kernel], Settings(), axes="YX", step=step) for step in (1, 7, 40)]
    np.testing.assert_array_equal(ways[0], ways[2])
    np.testing.assert_array_equal(ways[1], ways[2])


def test_minmax_keeps_small_differences_of_large_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", CLOCK + np.arange(1000).reshape(20, 50))
    ok("filter", "in.npy", "-k", "1", "--range", "minmax", "-o", "out.png", cwd=tmp_path)
    want = np.rint(np.arange(1000).reshape(20, 50) * 255 / 999)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out.png")), want)


@pytest.mark.parametrize("first", [CLOCK, -CLOCK, 2**62 + 1])
def test_the_ends_of_a_window_keep_their_digits(first: int) -> None:
    low, high = first + 1, first + 406
    x = first + 37 * np.arange(12)
    got = convcli.filter(x, "1", range=f"{low}:{high}")
    want = [Fraction(min(max(int(v), low), high) - low, 405) * (2**64 - 1) - 2**63 for v in x]
    assert max(abs(int(one) - other) for one, other in zip(got, want, strict=True)) <= 2**12


def test_tables_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a,b\n18446744073709551615,1\n18446744073709551613,2\n3,4\n")
    chosen = ("filter", "in.csv", "--columns", "1-2", "-o", "-")
    done = ok(*chosen, "-k", "1", "--range", "clip", cwd=tmp_path)
    assert done.stdout.decode() == (tmp_path / "in.csv").read_text()
    assert ROUNDED not in done.stderr
    assert ROUNDED in ok(*chosen, "-k", "1", cwd=tmp_path).stderr
    tifffile.imwrite(tmp_path / "in.tif", np.full((3, 4), CLOCK + 1), photometric="minisblack")
    done = ok("filter", "in.tif", "-k", "1", "-o", "out.tif", cwd=tmp_path)
    assert (tifffile.imread(tmp_path / "out.tif") == CLOCK + 1).all()
    assert ROUNDED not in done.stderr
    done = ok("filter", "in.tif", "-k", "box:2", "-y", "-o", "out.tif", cwd=tmp_path)
    assert (tifffile.imread(tmp_path / "out.tif") == CLOCK + 1).all()  # the weights are quarters
    assert ROUNDED not in done.stderr
    done = ok("filter", "in.tif", "-k", "box:3", "-y", "-o", "out.tif", cwd=tmp_path)
    assert ROUNDED in done.stderr  # ninths


def test_python_is_warned_of_rounded_floats() -> None:
    x = np.array([CLOCK + 1, CLOCK + 3, CLOCK + 7])
    with pytest.warns(UserWarning, match=ROUNDED.decode()):
        assert convcli.filter(x, [2, 1], padding="valid")[0] == float(3 * CLOCK + 5)
    with pytest.warns(UserWarning, match=ROUNDED.decode()):
        convcli.filter(x, [0.3, 0.7], padding="valid", range="clip")
    halves = convcli.filter(x, [0.5, 0.5], padding="valid", range="clip")
    assert halves.tolist() == [CLOCK + 2, CLOCK + 5]
    assert convcli.filter(x, [-1, 1], padding="valid").tolist() == [2, 4]  # floats hold these


def test_explain_counts_like_python(tmp_path: Path) -> None:
    x = [CLOCK + 1, CLOCK + 3, -7]
    np.save(tmp_path / "in.npy", np.array(x))

    def explained(*more: str) -> tuple[dict[str, Any], bytes]:
        done = ok("explain", "in.npy", "--at", "0", "--json", *more, cwd=tmp_path)
        return json.loads(done.stdout), done.stderr

    found, said = explained("-k", "-3,2", "--padding", "valid", "--bias", "1")
    (total,) = found["sums"]
    assert [tap["product"] for tap in total["channels"][0]["taps"]] == [-3 * x[0], 2 * x[1]]
    assert total["total"] == -3 * x[0] + 2 * x[1] + 1
    assert ROUNDED in said
    assert ROUNDED not in explained("-k", "-1,1,0", "--padding", "valid")[1]  # 2 is exact
    assert [tap["gradient"] for tap in explained("--pool", "max:2")[0]["outputs"][0]["taps"]] == [0, 1]
    text = ok(
        "explain", "in.npy", "--at", "0", "-k", "-3,2", "--padding", "valid", cwd=tmp_path
    ).stdout.decode()
    assert f"sum: {-3 * x[0] + 2 * x[1]}\n" in text
