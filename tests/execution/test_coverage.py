"""Coverage and the weights of what is there, under algorithms whose error is not a share of each output.

Expected values are sums over each window in float64: `scipy.ndimage` leaves weights below 2e-16 out.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

import convcli
from convcli.common.choices import Channels, EngineName, Missing, Precision
from convcli.data.info import ArraySource, Colour, Info
from convcli.engines.algorithms import NumpyDirect, NumpyFft, NumpySeparable, TorchFft
from convcli.engines.interface import Algorithm
from convcli.execution.pipeline import Pipeline, Resources
from convcli.jobs.bind import Settings
from convcli.jobs.job import draft
from convcli.jobs.missing import Gaps, Rule
from convcli.kernel.model import Kernel
from convcli.pixels.ranges import parse_range
from convcli.pixels.render import Tally

_away = (np.indices((15, 13)) - np.array([7, 5])[:, None, None]) ** 2
DISC = (_away.sum(0) <= 30) / 7.0  # zero at its corners; its terms cancel there
TAIL = np.exp(-(_away[0] / 1.5 + _away[1] / 1.2)) + 1e-25  # what is far away counts little
ALGORITHM = [NumpyFft(), TorchFft(), NumpySeparable()]


def windows(array: np.ndarray, weights: np.ndarray, step: int = 1) -> np.ndarray:
    """Return the sums over the windows of (…, Y, X), edges replicated."""
    (high, wide), lead = weights.shape, array.ndim - 2
    around = [((high - 1) // 2, high // 2), ((wide - 1) // 2, wide // 2)]
    padded = np.pad(array.astype(np.float64), [(0, 0)] * lead + around, mode="edge")
    seen = np.lib.stride_tricks.sliding_window_view(padded, weights.shape, axis=(lead, lead + 1))
    return np.einsum("...ij,ij->...", seen[..., ::step, ::step, :, :], weights)


def pipeline(
    array: np.ndarray, info: Info, weights: list[np.ndarray], algorithm: Algorithm, **options: Any
) -> Pipeline:
    kernels = [
        Kernel(f"k{n}", (1, 1, *one.shape), tuple(one.ravel().tolist())) for n, one in enumerate(weights)
    ]
    asked = {
        "range": None,
        "keeps_numbers": True,
        "settings": Settings(),
        **options,
    }
    job = draft(
        info,
        kernels,
        channels=Channels.EACH,
        precision=Precision.AUTO,
        holds=("float32", "float64", info.dtype),
        **asked,
    )
    made = Pipeline(job, ArraySource(array, info), Resources(EngineName(algorithm.engine)))
    made.plan = replace(made.plan, algorithms=(algorithm,) * len(weights))
    return made


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("algorithm", ALGORITHM, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("weights", [[DISC], [TAIL], [DISC, TAIL]], ids=["disc", "tail", "chain"])
def test_what_no_sample_covers_is_black_and_a_tail_counts(dtype, algorithm, weights):
    random, top = np.random.default_rng(3), np.iinfo(dtype).max
    clip = random.integers(0, top + 1, (2, 4, 60, 70)).astype(dtype)  # frames of red, green, blue, alpha
    clip[:, 3] = 0
    clip[0, 3, 20:40, 15:30], clip[1, 3, 30, 60] = top, 1
    weights = [one / one.sum() for one in weights]
    colour, alpha, present = clip[:, :3] * (clip[:, 3:] / top), clip[:, 3:].astype(float), clip[:, 3:] > 0
    for one in weights:
        colour, alpha, present = windows(colour, one), windows(alpha, one), windows(present, one > 0) > 0.5
    info = Info.of("TCYX", clip.shape, dtype, Colour.RGBA)
    got = pipeline(clip, info, weights, algorithm).array()
    assert not got[~np.broadcast_to(present, got.shape)].any()
    seen = present & (alpha > 1e-30)  # the least floats of 32 bits are rounded
    want = np.divide(colour, alpha / top, out=np.zeros_like(colour), where=seen)
    places = np.broadcast_to(seen, want.shape)
    assert np.abs(got[:, :3] - want)[places].max() < 3e-3 * top / 255
    np.testing.assert_allclose(got[:, 3:][seen], alpha[seen], rtol=1e-3)


@pytest.mark.parametrize(("range", "low", "high"), [("clip", 0, 255), ("61.3:177.9", 61.3, 177.9)])
def test_no_hidden_value_is_clipped(range, low, high):
    random = np.random.default_rng(4)
    picture = random.integers(0, 256, (4, 60, 70)).astype(np.uint8)
    picture[3] = 0
    picture[3, 20:40, 15:30] = 255
    made = pipeline(
        picture,
        Info.of("CYX", picture.shape, "uint8", Colour.RGBA),
        [DISC / DISC.sum()],
        NumpyFft(),
        range=parse_range(range),
    )
    tally = Tally()
    for _ in made.blocks(tally):
        pass
    colour, alpha = windows(picture[:3] * (picture[3] / 255), DISC), windows(picture[3] / 255, DISC)
    mean = colour[:, alpha > 0] / alpha[alpha > 0]
    levels = np.rint((mean - low) / (high - low) * 255)
    assert tally.clipped == ((levels < 0) | (levels > 255)).sum()


@pytest.mark.parametrize("algorithm", ALGORITHM, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("weights", [DISC, TAIL], ids=["disc", "tail"])
def test_missing_samples_are_skipped_whatever_their_weight(algorithm, weights):
    x = np.random.default_rng(5).normal(0, 100, (60, 70)).astype(np.float32)
    x[8:50, 20:] = np.nan
    made = pipeline(x, Info.of("YX", x.shape, "float32"), [weights], algorithm, gaps=Gaps(Rule(Missing.SKIP)))
    got, held = made.array(), np.isfinite(x)
    sums, total, own = (
        windows(np.where(held, x, 0), weights),
        windows(held, weights),
        windows(held, weights > 0),
    )
    assert np.array_equal(np.isnan(got), own < 0.5) and np.isnan(got).any()
    seen = own > 0.5
    want = (sums[seen] / total[seen]) * weights.sum()
    np.testing.assert_allclose(got[seen], want, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(
    ("algorithm", "stride", "dilation"),
    [*((one, 1, n) for one in ALGORITHM for n in (1, 2)), (NumpySeparable(), 3, 2), (NumpyDirect(), 2, 3)],
)
def test_minmax_of_what_is_partly_transparent(algorithm, stride, dilation):
    """Of colours between 90 and 160, and the black of what is wholly transparent."""
    random = np.random.default_rng(6)
    picture = random.integers(90, 161, (4, 90, 100)).astype(np.uint8)
    picture[3] = np.where(np.indices((90, 100))[1] < 40, 0, picture[3])
    picture[:3, :, :40] = 255  # hidden
    weights = np.zeros([dilation * (n - 1) + 1 for n in DISC.shape])
    weights[::dilation, ::dilation] = DISC / DISC.sum()
    settings = Settings(stride=(stride,), dilation=(dilation,))
    info = Info.of("CYX", picture.shape, "uint8", Colour.RGBA)
    made = pipeline(
        picture, info, [DISC / DISC.sum()], algorithm, settings=settings, range=parse_range("minmax")
    )
    got = made.array(tally := Tally())

    alpha = windows(picture[3].astype(float), weights, stride)
    colour = windows(picture[:3] * (picture[3] / 255), weights, stride)
    seen = np.rint(alpha) > 0
    mean = colour[:, seen] / alpha[seen] * 255
    want = np.rint(mean / mean.max() * 255)
    assert abs(got[:3, seen] - want).max() <= 1
    np.testing.assert_allclose(got[3], alpha, atol=0.51)
    assert got[:3, seen].min() > 99 and got[:3, seen].max() == 255
    assert not got[:, ~seen].any() and not seen.all() and not tally.clipped


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_kept_samples_stay_missing_where_they_are(engine: str) -> None:
    """Under ``keep`` what is computed is what ``skip`` computes, and what was missing stays so; scipy has the rest."""
    values = np.random.default_rng(7).normal(5, 1, (3, 18, 23))
    missing = np.random.default_rng(8).random(values.shape) < 0.2
    holes = np.where(missing, np.nan, values)
    weights = np.array([[1.0, 2, 0.5], [0.25, 3, 1]])

    def windows(x: np.ndarray) -> np.ndarray:
        planes = [ndimage.correlate(plane, weights, mode="nearest", origin=(-1, 0)) for plane in x]
        return np.stack(planes)[:, ::2, ::3]

    sums, there = windows(np.where(missing, 0, values)), windows((~missing).astype(float))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.where(there > 0, sums / there * weights.sum(), np.nan)
    expected[missing[:, ::2, ::3]] = np.nan
    options = {"axes": "CYX", "stride": (2, 3), "engine": engine}
    np.testing.assert_allclose(
        convcli.filter(holes, weights, missing="keep", **options), expected, rtol=1e-12
    )
    signed = convcli.filter(holes, -weights, missing="keep", **options)
    np.testing.assert_array_equal(signed, convcli.filter(holes, -weights, missing="propagate", **options))
