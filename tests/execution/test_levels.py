"""Results of integers lie within 2**-12 of a level before they are rounded, whatever the kernel and the type."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

import convcli

TYPES = ("uint8", "int8", "uint16", "int16")
EVEN = (0.0, 1 - 2**-7, 1.0)  # of the type's span below the values: even surfaces make sums err most


@settings(max_examples=50)
@given(
    dtype=st.sampled_from(TYPES),
    size=st.sampled_from([(3, 3), (5, 5), (9, 9), (1, 21), (31, 31)]),
    form=st.sampled_from(["dense", "signed", "even", "separable"]),
    gain=st.sampled_from([0.3, 1.0, 1.5, 4.0, 50.0]),
    even=st.sampled_from(EVEN),
    engine=st.sampled_from(["numpy", "torch", "auto"]),
    seed=st.integers(0, 2**16),
)
def test_integers(
    dtype: str, size: tuple[int, int], form: str, gain: float, even: float, engine: str, seed: int
) -> None:
    random, limits = np.random.default_rng(seed), np.iinfo(dtype)
    lowest = round(limits.min + even * (int(limits.max) - limits.min))
    x = random.integers(lowest, limits.max, (150, 160), endpoint=True).astype(dtype)
    kernel = {
        "dense": random.random(size),
        "signed": random.normal(size=size),
        "even": np.ones(size),
        "separable": random.random((size[0], 1)) * random.random((1, size[1])),
    }[form]
    kernel *= gain / np.abs(kernel).sum()
    got = convcli.filter(x, kernel, pad_mode="replicate", range="clip", engine=engine)
    exact = ndimage.correlate(x.astype(float), kernel, mode="nearest").clip(limits.min, limits.max)
    assert np.abs(got - exact).max() <= 0.5 + 2**-12


@pytest.mark.parametrize(
    ("first", "second"), [("gaussian:sigma=1.3", "box:5"), ("unsharp", "gaussian:sigma=2")]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_chains(first: str, second: str, dtype: str) -> None:
    x = np.random.default_rng(3).integers(0, np.iinfo(dtype).max, (40, 50), endpoint=True).astype(dtype)
    got = convcli.filter(x, [first, second], pad_mode="replicate", range="clip")
    exact = convcli.filter(x.astype(float), [first, second], pad_mode="replicate")
    assert np.abs(got - exact.clip(0, np.iinfo(dtype).max)).max() <= 0.5 + 2**-12


def test_numbers_keep_their_type() -> None:
    """Floats for a format of numbers: what float32 holds of the exact sums."""
    x = np.random.default_rng(3).integers(0, 2**16, (40, 50)).astype(np.uint16)
    kernel = np.random.default_rng(4).random((3, 3))
    got = convcli.filter(x, kernel, pad_mode="replicate")
    exact = ndimage.correlate(x.astype(float), kernel, mode="nearest")
    assert got.dtype == np.float32
    assert (got == exact.astype(np.float32)).mean() > 0.999
