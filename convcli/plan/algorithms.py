"""The algorithms of the engines: what each of them offers to do, what that costs, and the error that it may make.

An algorithm is one function in `convcli.engines`, one in `convcli.plan.costs`, and one row here.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from convcli.common.frozen import frozen
from convcli.plan import costs
from convcli.plan.work import Work


class Algorithm(StrEnum):
    DIRECT = "direct"
    BOX = "box"
    WHOLE = "whole"
    SEPARABLE = "separable"
    TOEPLITZ = "toeplitz"
    BANDS = "separable toeplitz"
    FFT = "fft"
    NATIVE = "native"


def _always(_: Work) -> bool:
    return True


def _dense(work: Work) -> bool:
    return work.dense and work.taps > 1


def _one_dense(work: Work) -> bool:
    return work.terms > 0 and work.dense and work.taps > 1


def _short_sums(work: Work) -> bool:
    return work.dense and sum(work.kernel) * work.inputs <= 256 and max(work.extents) <= 512


@frozen
class Row:
    """One algorithm of one engine.

    Attributes
    ----------
    offers : callable
        Whether it can do a piece of work within its error.
    nanoseconds : callable
        What that costs on one core.
    error : float
        Its bound in float32, of the kernel's absolute sum times the input's range.
    steady : bool
        Whether the shape of a block cannot change a result by a bit.
    """

    engine: str
    algorithm: Algorithm
    offers: Callable[[Work], bool]
    nanoseconds: Callable[[Work], float]
    error: float
    steady: bool = True


# The order counts for equal costs.  What depends on how a library groups its sums is not steady, and not offered
# where numpy was asked for: there a block's shape must not change a bit.
TABLE = (
    Row("numpy", Algorithm.DIRECT, _always, costs.numpy_direct, 4e-6),
    Row("numpy", Algorithm.WHOLE, lambda work: work.whole > 0, costs.numpy_whole, 1e-6),
    Row("numpy", Algorithm.BOX, lambda work: work.even and work.taps > 2, costs.numpy_box, 2e-6),
    Row(
        "numpy",
        Algorithm.SEPARABLE,
        lambda work: work.terms > 0 and work.taps > 1,
        costs.numpy_separable,
        1e-5,
    ),
    Row("numpy", Algorithm.BANDS, _one_dense, costs.numpy_bands, 1e-5, steady=False),
    Row("numpy", Algorithm.TOEPLITZ, _short_sums, costs.numpy_toeplitz, 1e-5, steady=False),
    Row("numpy", Algorithm.FFT, _dense, costs.numpy_fft, 5e-6, steady=False),
    Row("torch", Algorithm.DIRECT, _always, costs.torch_direct, 4e-6),
    Row("torch", Algorithm.BOX, lambda work: work.exact_box, costs.torch_box, 1e-5),
    Row("torch", Algorithm.BANDS, _one_dense, costs.torch_bands, 1e-5, steady=False),
    Row("torch", Algorithm.TOEPLITZ, _short_sums, costs.torch_toeplitz, 1e-5, steady=False),
    Row("torch", Algorithm.FFT, _dense, costs.torch_fft, 5e-6, steady=False),
    Row("torch", Algorithm.NATIVE, lambda work: work.filters >= 4, costs.torch_native, 1e-5, steady=False),
)


def rows(engine: str, work: Work, steady: bool = False) -> list[tuple[float, Row]]:
    """Return an engine's algorithms for a piece of work with their seconds on one core, the cheapest first."""
    found = [
        (row.nanoseconds(work) * 1e-9, row)
        for row in TABLE
        if row.engine == engine and row.offers(work) and row.steady >= steady
        if row.algorithm is Algorithm.DIRECT or not costs.tiny(work)
    ]
    return sorted(found, key=lambda pair: pair[0])
