"""What range policies measure: against numpy on all values at once, however they are cut into blocks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from convcli.pixels.measures import Measured, Pass, measure
from convcli.pixels.ranges import MinMax, Percentile, Range, parse_range

NAN, INF = float("nan"), float("inf")


def measured(policy: Range, values: np.ndarray, seed: int = 0) -> Measured | None:
    """Measure in random blocks, in random order, through pickles, and merge them as a tree."""
    rng = np.random.default_rng(seed)

    def sweep(each: Pass) -> Iterator[Any]:
        cuts = np.sort(rng.integers(0, len(values) + 1, rng.integers(0, 5)))
        blocks = np.split(values, cuts)
        rng.shuffle(blocks := [block.reshape(1, -1) for block in blocks])
        found = [pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(each)).take(block))) for block in blocks]
        middle = len(found) // 2
        for half in (found[middle:], found[:middle]):
            if half:
                whole = half[0]
                for one in half[1:]:
                    whole = each.merge(one, whole)
                yield whole

    return measure(policy.first_pass(), sweep)


def expected(values: np.ndarray, low: float, high: float) -> list[float]:
    finite = values[np.isfinite(values)].astype(np.float64)
    return np.percentile(finite, [low, high], method="linear").tolist() if finite.size else [0.0, 0.0]


percents = st.floats(0, 100).filter(lambda percent: percent == 0 or percent > 1e-9)
wide = {
    "float32": st.floats(width=32),
    "float64": st.floats(-1e307, 1e307) | st.sampled_from([NAN, INF, -INF]),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@given(data=st.data(), ends=st.tuples(percents, percents), seed=st.integers(0, 99))
def test_percentiles_of_any_floats(
    dtype: str, data: st.DataObject, ends: tuple[float, float], seed: int
) -> None:
    """Denormals, both zeros, repeated values, NaN and infinities among them."""
    values = data.draw(arrays.arrays(dtype, st.integers(0, 40), elements=wide[dtype]))
    low, high = sorted(ends)
    found = measured(Percentile(low, high), values, seed)
    np.testing.assert_allclose(found, expected(values, low, high), rtol=1e-13, atol=1e-320)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ends", [(1, 99), (0, 100), (2.5, 50), (33.3, 33.4), (99.99, 100)])
def test_percentiles_of_many_values(dtype: str, ends: tuple[float, float]) -> None:
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.normal(77, 1e-3, 30000), rng.normal(0, 1e5, 20001), np.full(5000, 77.0)])
    values = rng.permutation(values).astype(dtype)
    values[::17] = rng.choice([NAN, INF, -INF], len(values[::17]))
    found = {measured(Percentile(*ends), values, seed) for seed in range(4)}
    assert len(found) == 1
    np.testing.assert_allclose(found.pop(), expected(values, *ends), rtol=1e-14)


def test_all_of_it_is_minmax() -> None:
    values = np.random.default_rng(1).normal(size=999).astype(np.float32)
    values[5] = NAN
    extremes = measured(MinMax(), values)
    assert extremes == (np.nanmin(values), np.nanmax(values))
    assert measured(Percentile(0, 100), values) == extremes


@pytest.mark.parametrize("policy", ["minmax", "percentile:1:99"])
@pytest.mark.parametrize("values", [[], [NAN, INF, -INF]])
def test_nothing_to_measure(policy: str, values: list[float]) -> None:
    assert measured(parse_range(policy), np.array(values, np.float32)) == (0.0, 0.0)


@pytest.mark.parametrize("policy", ["clip", "offset", "0:1", "float"])
def test_others_measure_nothing(policy: str) -> None:
    assert measured(parse_range(policy), np.ones(3)) is None
