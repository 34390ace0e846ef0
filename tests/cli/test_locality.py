"""Values far larger than the rest are felt only where the kernel meets them; expected values are scipy's in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import tifffile

from tests.shell import convcli


@pytest.mark.parametrize("engine", ["numpy", "auto", "torch"])
def test_a_patch_of_1e20_in_a_picture_of_floats(tmp_path: Path, engine: str) -> None:
    """A kernel of 61 x 61 random weights, for which transforms are the cheapest by far."""
    random = np.random.default_rng(3)
    kernel = random.random((61, 61))
    kernel /= kernel.sum()
    x = random.normal(100, 1, (260, 300)).astype(np.float32)
    x[5:9, 7:11] = 1e20
    tifffile.imwrite(tmp_path / "in.tif", x)
    np.save(tmp_path / "k.npy", kernel)

    command = ["filter", "in.tif", "-k", "k.npy", "-o", "out.tif", "-v", "--engine", engine]
    done = convcli(*command, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    wanted = scipy.ndimage.correlate(x.astype(float), kernel, mode="nearest")
    got = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    if engine != "numpy":  # which takes sums of which no block changes a bit
        assert b"fft would have blurred large values into the rest: direct computed" in done.stderr
