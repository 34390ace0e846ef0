"""Dask's arrays: nothing is computed before it is asked for, and then what ``filter`` computes of the whole."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import convcli
from convcli.common import UsageError

da = pytest.importorskip("dask.array")


@pytest.mark.parametrize(
    ("shape", "chunks", "kernel", "options"),
    [
        ((50, 61), (13, 20), "gaussian:sigma=1.5", {}),
        ((50, 61), (1, 61), "sobel", {"pad_mode": "circular"}),
        ((50, 61), (50, 7), "0,1,2;3,4,5;6,7,9", {"stride": 3, "padding": 2}),
        ((50, 61), (9, 9), "median:5", {"range": "clip"}),
        ((50, 61), (9, 9), ["box:3", "sharpen"], {"padding": "full", "pad_mode": "reflect"}),
        ((50, 61), (9, 9), None, {"pool": "max:4"}),
        ((30, 31), (9, 9), [[1.0, 2], [3, 5]], {"transpose": True, "stride": 2}),
        ((12, 20, 22, 3), (5, 8, 22, 2), "box:3", {"axes": "TYXC"}),
        ((3, 40, 42), (1, 16, 16), "box:3", {"axes": "CYX", "region": (3, 4, 20, 30), "range": "clip"}),
        ((900,), (100,), "lowpass:0.1,taps=31", {"stride": 5}),
        ((9, 20, 21), (4, 9, 9), "gaussian:sigma=1", {"dtype": "float64"}),
    ],
)
def test_blocks_have_the_bits_of_the_whole(
    shape: tuple[int, ...], chunks: tuple[int, ...], kernel: Any, options: dict[str, Any]
) -> None:
    array = np.random.default_rng(2).integers(0, 255, shape).astype(np.uint8)
    want = convcli.filter(array, kernel, engine="numpy", **options)
    made = convcli.filter(da.from_array(array, chunks), kernel, engine="numpy", **options)
    assert isinstance(made, da.Array) and (made.shape, made.dtype) == (want.shape, want.dtype)
    assert made.npartitions > 1
    np.testing.assert_array_equal(made.compute(scheduler="threads"), want)


def test_it_is_torchs_convolution() -> None:
    random = np.random.default_rng(1)
    array, bank = random.normal(size=(3, 40, 30)), random.normal(size=(2, 3, 3, 3))
    made = convcli.filter(da.from_array(array, (3, 7, 11)), bank, axes="CYX", padding="valid", stride=2)
    want = torch.nn.functional.conv2d(torch.tensor(array)[None], torch.tensor(bank), stride=2)[0]
    np.testing.assert_allclose(made.compute(), want, rtol=1e-12, atol=1e-12)


def test_nothing_is_read_before_it_is_asked_for_and_then_no_more_than_is_needed() -> None:
    read = []

    def chunk(block_info: Any = None) -> np.ndarray:
        read.append(block_info[None]["chunk-location"])
        return np.full((200, 200), sum(read[-1]), np.float32)

    meta = np.empty((0, 0), np.float32)
    array = da.map_blocks(chunk, chunks=((200,) * 12, (200,) * 12), dtype=np.float32, meta=meta)
    made = convcli.filter(array, "box:5")
    assert read == [] and made.chunks == array.chunks
    assert made[1_100, 1_300].compute() == 5 + 6
    assert set(read) == {(y, x) for y in (4, 5, 6) for x in (5, 6, 7)}


def test_what_cannot_be_lazy_is_said() -> None:
    array = da.zeros((8, 9, 9), chunks=4)
    for options in ({"range": "minmax"}, {"axes": "NYX"}, {"mask": np.ones((8, 9, 9))}):
        with pytest.raises(UsageError, match=r"use its compute\(\)"):
            convcli.filter(array, "box:3", **options)
    assert convcli.filter(da.ones((9, 9), chunks=4, dtype=bool), "box:3", range="clip").dtype == np.uint8
