"""The Python verbs refuse what the shell refuses, in the same words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import convcli
from convcli.errors import UsageError


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threads": 0}, "threads 0"),
        ({"bias": "x"}, "bias 'x'"),
        ({"padding": [(1,)]}, "no pair"),
        ({"stride": 0}, "stride 0"),
        ({"engine": "tensorflow"}, "engine 'tensorflow'"),
    ],
)
def test_one_clear_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        convcli.filter(np.eye(6), "hedge", **options)


def test_numbers_of_numpy_are_numbers() -> None:
    data = np.random.default_rng(0).normal(size=(9, 8))
    got = convcli.filter(data, "1,0,-2;0,3,0", stride=np.int64(2), padding=[(np.int64(1), 0), "valid"])
    padded = np.pad(data, ((1, 0), (0, 0)))
    want = padded[:-1, :-2] - 2 * padded[:-1, 2:] + 3 * padded[1:, 1:-1]
    np.testing.assert_allclose(got, want[::2, ::2], rtol=0, atol=1e-14)


def test_masked_arrays_are_not_unmasked_silently() -> None:
    with pytest.raises(UsageError, match="masked"):
        convcli.filter(np.ma.masked_less(np.eye(4), 0.5), "hedge")
