"""Two hundred of the random jobs of `make differential` in this process, a dozen through the shell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.differential.check import DifferenceError, check, compare, engines_agree, expected, produce
from tests.differential.jobs import KINDS, Job, job, write
from tests.differential.oracle import Geometry, correlate, mapping

IN_PROCESS = 200
EACH = 25  # jobs of one test
THROUGH_SHELL = [  # a dozen; few with torch, whose start takes longer than all else
    *[number for number in range(200, 260) if job(number).engine == "numpy"][:9],
    *[number for number in range(200, 260) if job(number).engine == "torch"][:3],
]


@pytest.mark.parametrize("first", range(0, IN_PROCESS, EACH))
def test_jobs_in_this_process(first: int, tmp_path: Path) -> None:
    for number in range(first, first + EACH):
        check(job(number), tmp_path)


@pytest.mark.parametrize("number", THROUGH_SHELL)
def test_jobs_through_the_shell(number: int, tmp_path: Path) -> None:
    check(job(number), tmp_path, shell=True)


def test_the_engines_agree_on_bytes(tmp_path: Path) -> None:
    pixels = [made for made in map(job, range(60)) if made.kind.dtype == "uint8" and not made.floats]
    assert len(pixels) > 5
    for made in pixels:
        check(made, tmp_path)
        engines_agree(made, tmp_path)


def _is_plain(one: Job) -> bool:
    """Alpha hides colours; two kernels and outliers have bounds of more than a level."""
    return not (one.kind.alpha or one.second or one.outliers)


def test_a_wrong_result_is_seen(tmp_path: Path) -> None:
    """One level of 8 bits under every policy, away from the exact value: on its other side the next may be as near.

    In 16 bits the bound of float32 alone is more than a level.
    """
    pixels = [
        one
        for one in map(job, range(IN_PROCESS))
        if one.kind.dtype == "uint8" and not one.floats and _is_plain(one)
    ]
    first = {one.effective_policy: one for one in reversed(pixels)}
    assert {name.partition(":")[0] for name in first} == {
        "clip",
        "abs",
        "-10",
        "-50%",
        "minmax",
        "percentile",
        "offset",
    }
    for made in (*filter(_is_plain, map(job, range(12))), *first.values()):
        write(made, tmp_path)
        got = produce(made, tmp_path).copy()
        values, place = expected(made), (0,) * got.ndim
        step = {"uint8": 1, "uint16": 5}.get(got.dtype.name, 2)
        exact, top = values, np.inf
        if not made.floats:
            how = mapping(made.effective_policy, got.dtype.name, values, made.bank)
            exact, top = how.exact(values), how.top
        got[place] = got[place] + step if exact[place] <= got[place] <= top - step else got[place] - step
        with pytest.raises(DifferenceError):
            compare(made, got)


def test_the_oracle_knows_the_textbook() -> None:
    """Zhang, Lipton, Li and Smola, "Dive into Deep Learning", 7.2: a cross-correlation by hand."""
    image, kernel = np.arange(9.0).reshape(1, 3, 3), np.arange(4.0).reshape(1, 1, 2, 2)
    how = Geometry((1, 1), (1, 1), ("valid", "valid"), "zero")
    assert correlate(image, kernel, how).tolist() == [[[19, 25], [37, 43]]]
    halves = mapping("clip", "uint8", np.array([]), kernel).exact(np.array([0.5, 1.5, 300.0]))
    assert np.rint(halves).tolist() == [0, 2, 255]


def test_every_kind_of_input_is_among_them() -> None:
    assert {job(number).kind for number in range(IN_PROCESS)} == set(KINDS)
