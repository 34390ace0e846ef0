"""Padding that leaves the range of the data: whoever counts on bytes, on bounds or on weighted means asks the mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import signal

import convcli
from convcli.common.choices import Channels, EngineName
from convcli.data.info import ArraySource
from convcli.engines.padding import pad
from convcli.execution.pipeline import Pipeline
from convcli.geometry.padding import PadMode
from convcli.jobs.bind import Settings, bind
from convcli.jobs.job import Job
from convcli.kernel import Kernel, load_kernel
from convcli.pixels.ranges import parse_range
from convcli.pixels.render import Tally
from convcli.plan.choose import Resources
from tests import pad_modes
from tests.shell import ok

MODE = "antireflect"
PIXELS = np.random.default_rng(4).integers(0, 256, (41, 53), dtype=np.uint8)
PIXELS[:, 0] = 255 * (np.arange(41) % 2)  # at the edges all of the range, so that what is outside leaves it
PIXELS[-1] = 0


def correlated(data: np.ndarray, weights: np.ndarray, amount: int) -> np.ndarray:
    padded = pad_modes.padded(data.astype(np.float64), amount, MODE)
    return signal.correlate(padded, weights, "valid", "direct")


@pytest.mark.parametrize("engine", ["numpy", "torch", "auto"])
@pytest.mark.parametrize("amount", [1, 7, 95])  # the last is more than the data are long
@pytest.mark.parametrize(
    "kernel", ["box:3", "box:5x3", "1,2,1;2,4,2;1,2,1", "1,2,3;4,5,4;3,2,1", "hedge", "gaussian:sigma=2"]
)
def test_bytes_are_not_padded_as_bytes(engine: Any, amount: int, kernel: str) -> None:
    weights = load_kernel(kernel, 2).array().squeeze((0, 1))
    padded = pad_modes.padded(PIXELS.astype(float), amount, MODE)
    assert padded.min() < 0 and padded.max() > 255, "what no byte holds"
    exact = correlated(PIXELS, weights, amount)
    got = convcli.filter(PIXELS, kernel, padding=amount, pad_mode=MODE, engine=engine)
    scale = np.abs(weights).sum() * np.abs(padded).max()
    np.testing.assert_allclose(got, exact, rtol=0, atol=1e-5 * scale)
    pixels = convcli.filter(PIXELS, kernel, padding=amount, pad_mode=MODE, engine=engine, range="clip")
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels, exact.clip(0, 255), rtol=0, atol=0.5 + 1e-5 * scale)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(("sizes", "padding"), [((4, 5), 1), ((4, 5), 3), ((3, 2), 11), ((1, 6), 8)])
@pytest.mark.parametrize("weights", [[[1, 0, -2], [0, 3, 1]], [[0.25, 0.5], [0.125, 0.125]]])
def test_offset_never_clips(dtype: str, sizes: tuple[int, int], padding: int, weights: list) -> None:
    """The darkest and lightest pictures that there are for every output, found from the linear map by numpy."""
    limits = np.iinfo(dtype)
    units = np.eye(sizes[0] * sizes[1]).reshape(-1, *sizes)
    rows = np.stack([correlated(unit, np.array(weights, float), padding) for unit in units]).reshape(
        len(units), -1
    )
    steepest = rows[:, np.abs(rows).sum(axis=0).argmax()].reshape(sizes)
    pictures = [np.where(sign * steepest > 0, limits.max, limits.min).astype(dtype) for sign in (1, -1)]
    values = np.array([correlated(picture, np.array(weights, float), padding) for picture in pictures])
    bound = np.abs(values).max()

    kernel = Kernel.from_array(np.array(weights, float), rank=2)
    how = Settings(padding=((padding, padding),) * 2, pad_mode=PadMode.ANTIREFLECT)
    chain = bind([kernel], how, "YX", sizes, 1)
    low, high = chain.value_range(limits.min, limits.max)
    assert low <= values.min() and values.max() <= high
    plain = bind([kernel], Settings(padding=how.padding, pad_mode=PadMode.REFLECT), "YX", sizes, 1)
    assert bound > max(map(abs, plain.value_range(limits.min, limits.max))), "a bound that is none here"
    for policy in ("offset", "clip"):
        for picture in pictures:
            source = ArraySource(picture, "YX")
            job = Job(source.info, chain, Channels.EACH, parse_range(policy), dtype, "float32")
            tally = Tally()
            list(Pipeline(job, source, Resources(EngineName.NUMPY), step=2).blocks(tally))
            exact = correlated(picture, np.array(weights, float), padding)
            outside = np.count_nonzero((exact < limits.min - 0.5) | (exact > limits.max + 0.5))
            assert tally.clipped == (0 if policy == "offset" else outside)


@pytest.mark.parametrize("compute", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sizes", "padding"),
    [
        ((9, 7, 5), ((30, 19), (6, 8), (1, 9))),
        ((1, 3, 2), ((0, 0), (150, 90), (110, 120))),  # so many pieces that it is padded axis by axis
    ],
)
def test_blocks_change_no_bit(compute: str, sizes: tuple[int, ...], padding: Any) -> None:
    x = np.random.default_rng(1).normal(size=sizes).astype(compute)
    chain = bind(
        [load_kernel("1,2,3;4,5,4;3,-2,1")],
        Settings(padding=padding[-2:], pad_mode=PadMode.ANTIREFLECT),
        "ZYX",
        sizes,
        1,
    )
    source = ArraySource(x.swapaxes(0, 1), "YZX")
    job = Job(source.info, chain, Channels.EACH, parse_range("float"), compute, compute)
    whole, *others = (
        Pipeline(job, source, Resources(EngineName.NUMPY), step=step).array() for step in (999, 1, 4, 17)
    )
    for other in others:
        np.testing.assert_array_equal(other, whole)


def test_a_nan_spoils_its_mirror_images_and_at_an_edge_all_of_its_side() -> None:
    for place in (0, 2, 5):
        for bad in (np.nan, np.inf, -np.inf):
            x = np.arange(6.0) ** 2
            x[place] = bad
            with np.errstate(invalid="ignore"):
                expected = np.pad(x, 5, mode="reflect", reflect_type="odd")
            np.testing.assert_array_equal(pad(x, [(-5, 11)], PadMode.ANTIREFLECT), expected)
    x = np.array([np.nan, 1, 4, 9])
    assert np.isnan(convcli.filter(x, "1,0,0", pad_mode=MODE, padding=2)).tolist() == [True] * 3 + [False] * 3


def test_alpha_is_no_weight_and_passes_through(tmp_path: Path) -> None:
    """A mean of what leaves the range is none: alpha could not divide it."""
    picture = np.random.default_rng(0).integers(0, 256, (9, 8, 4), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    ok("filter", "a.png", "-k", "box:3", "--pad-mode", MODE, "-q", "-o", "b.png", cwd=tmp_path)
    got = np.asarray(Image.open(tmp_path / "b.png"))
    np.testing.assert_array_equal(got[..., 3], picture[..., 3])
    for channel in range(3):
        exact = correlated(picture[..., channel], np.full((3, 3), 1 / 9), 1).clip(0, 255)
        np.testing.assert_allclose(got[..., channel], exact, atol=0.501)


def test_its_gradient_is_the_transposed_padding() -> None:
    from convcli.networks.torch_run import box

    sizes, amounts = (3, 4), ((5, 2), (1, 9))
    x = torch.arange(12.0, dtype=torch.float64).reshape(1, 1, *sizes).requires_grad_()
    out = box(x, [(-a, n + b) for n, (a, b) in zip(sizes, amounts, strict=True)], PadMode.ANTIREFLECT)
    gradient = np.random.default_rng(3).normal(size=out.shape)
    out.backward(torch.from_numpy(gradient))
    units = np.eye(12).reshape(12, *sizes)
    padding = np.stack([pad_modes.padded(unit, amounts, MODE).ravel() for unit in units])
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy().ravel(), padding @ gradient.ravel(), rtol=0, atol=1e-12)
    x = x.detach().clone()
    x[0, 0, 0, 0] = torch.inf  # what has one sample more elsewhere leaves the others alone
    padded = box(x, [(-1, 4), (-1, 5)], PadMode.ANTIREFLECT)[0, 0].numpy()
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(padded, pad_modes.padded(x[0, 0].numpy(), 1, MODE))


def test_explain_names_the_samples_that_stand_outside() -> None:
    done = ok("explain", "--input", "5", "-k", "1,2,3", "--pad-mode", MODE, "--at", "0").stdout.decode()
    assert "padding: 2 x (0) - (1)" in done
    corner = ok("explain", "--input", "3x3", "-k", "3x3", "--pad-mode", MODE, "--at", "0,0").stdout.decode()
    assert "padding: 4 x (0,0) + (1,1) - 2 x (1,0) - 2 x (0,1)" in corner or (
        "padding: 4 x (0,0) + (1,1) - 2 x (0,1) - 2 x (1,0)" in corner
    )


def test_matrix_equals_filter(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(2).normal(size=(4, 5)))
    options = ("-k", "1,2,3;4,5,4;3,-2,1", "--padding", "9", "--pad-mode", MODE)
    done = ok("matrix", "--verify", "x.npy", *options, cwd=tmp_path)
    assert b"equal" in done.stdout + done.stderr
