"""Missing samples and masks: the means of what is there, held to astropy and scipy, whatever says what is missing."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tifffile
from PIL import Image
from scipy import ndimage

import convcli
from convcli import UsageError
from convcli.common.choices import Missing
from convcli.data.info import ArraySource, Info
from convcli.data.masked import Masked
from convcli.engines.algorithms import NumpyBox, NumpyDirect, NumpyFft, NumpySeparable, TorchDirect, TorchFft
from convcli.engines.interface import Algorithm
from convcli.jobs.missing import Gaps, Rule
from tests.execution.test_coverage import pipeline
from tests.shell import convcli as run
from tests.shell import ok

WEIGHTS = np.array([[1.0, 2, 0.5], [0.25, 3, 1]])
SIGNED = np.array([[1.0, 0, -1], [2, 0.5, -2], [1, 0.25, -1]])


def means(x: np.ndarray, held: np.ndarray, weights: np.ndarray, least: float = 0.0) -> np.ndarray:
    """Return the sum of the weights times the mean of what is there, edges replicated; the sums are scipy's."""
    origin = [-1 if size % 2 == 0 else 0 for size in weights.shape]
    sums, there = (
        ndimage.correlate(np.where(held, one, 0).astype(float), weights, mode="nearest", origin=origin)
        for one in (x, 1.0)
    )
    enough = (there > 1e-9) & (there >= least * weights.sum() - 1e-9)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(enough, sums / there * weights.sum(), np.nan)


def test_five_hundred_random_cases_are_astropys() -> None:
    convolution = pytest.importorskip("astropy.convolution")
    random = np.random.default_rng(20261127)
    boundaries = {"fill": "constant", "wrap": "circular", "extend": "replicate"}
    holes = 0
    for case in range(500):
        rank = int(random.integers(1, 4))
        shape, size = random.integers(5, (40, 16, 9)[rank - 1], rank), random.choice([1, 3, 5], rank)
        x = random.normal(3, 2, shape)
        x[random.random(shape) < random.choice([0.05, 0.4, 0.9])] = np.nan
        weights = random.random(size) + 0.01  # under weights of 0 alone astropy returns the sample itself
        boundary, preserve, fill = (
            random.choice([*boundaries]),
            bool(case % 2),
            float(random.choice([0, 2.5])),
        )
        mean = bool(random.integers(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of windows without a sample
            want = convolution.convolve(
                *(x, weights, boundary),
                fill_value=fill,
                nan_treatment="interpolate",
                normalize_kernel=mean,
                preserve_nan=preserve,
            )
        got = convcli.filter(
            *(x, weights / weights.sum() if mean else weights),
            flip=True,
            padding="same",
            pad_mode=boundaries[boundary],
            pad_value=fill if boundary == "fill" else None,
            missing="keep" if preserve else "skip",
            engine="torch" if case % 5 == 0 else "numpy",
        )
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10, err_msg=f"case {case}")
        holes += int(np.isnan(want).sum())
    assert holes > 1000


EVERY = [NumpyDirect(), NumpySeparable(), NumpyFft(), TorchDirect(), TorchFft()]
BELL = np.outer(*[np.exp(-0.5 * (np.arange(-8, 9) / 2) ** 2)] * 2)


@pytest.mark.parametrize("algorithm", [*EVERY, NumpyBox()], ids=lambda one: type(one).__name__)
def test_astropys_reports_come_out_alike_by_every_algorithm(algorithm: Algorithm) -> None:
    """Issues 11920, 16497 and 20403 of astropy: its direct sums and its transforms disagree on these."""
    weights = np.ones((17, 17)) if isinstance(algorithm, NumpyBox) else BELL
    weights = weights / weights.sum()

    def made(x: np.ndarray, missing: Missing) -> np.ndarray:
        return pipeline(
            x, Info.of("YX", x.shape, "float64"), [weights], algorithm, gaps=Gaps(Rule(missing))
        ).array()

    assert np.isnan(made(np.full((100, 100), np.nan), Missing.SKIP)).all()  # 11920: nothing is there
    ones = np.ones((30, 30))
    holed = ones.copy()
    holed[14, 3] = np.nan
    for missing in (Missing.SKIP, Missing.KEEP):  # 16497: one missing sample changes nothing elsewhere
        np.testing.assert_allclose(made(ones, missing), ones, rtol=1e-12)
        expected = ones if missing is Missing.SKIP else holed
        np.testing.assert_allclose(made(holed, missing), expected, rtol=1e-12)
    ramp = np.arange(900.0).reshape(30, 30)
    ramp[3, 3] = np.nan
    np.testing.assert_allclose(made(ramp, Missing.SKIP), means(ramp, ~np.isnan(ramp), weights), rtol=1e-10)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_signed_kernel_takes_what_is_filled_first(engine: str) -> None:
    """Issue 20403's input: astropy divides by sums of signed weights; here that is refused, and gaps can be filled."""
    image = np.arange(49.0).reshape(7, 7)
    image[3, 3] = np.nan
    kernel = np.array([[1, -2, 1], [-2, 5, -2], [1, -2, 2.0]])
    options = {"padding": "same", "pad_mode": "circular", "engine": engine}
    with pytest.raises(UsageError, match=r"it has negative ones: .*--interpolate"):
        convcli.filter(image, kernel, missing="skip", **options)
    bell = np.exp(-0.5 * np.arange(-4, 5) ** 2.0)
    held = ~np.isnan(image)
    sums, there = (
        ndimage.correlate(np.where(held, one, 0.0), np.outer(bell, bell), mode="constant")
        for one in (image, 1.0)
    )
    filled = np.where(held, image, sums / there)
    want = ndimage.correlate(filled, kernel, mode="wrap")
    got = convcli.filter(image, kernel, interpolate=True, **options)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)
    kept = convcli.filter(image, kernel, interpolate=True, missing="keep", **options)
    np.testing.assert_allclose(kept, np.where(held, want, np.nan), rtol=1e-12, atol=1e-12)


def test_what_the_gaussian_does_not_reach_stays_missing() -> None:
    x = np.arange(30.0)
    x[5:20] = np.nan
    got = convcli.filter(x, "1,0,-1", interpolate=True)
    assert np.flatnonzero(np.isnan(got)).tolist() == [*range(8, 17)]  # 9 to 15 are beyond 4 sigma
    assert not np.isnan(convcli.filter(np.arange(9), "1,0,-1", interpolate=True)).any()


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64"])
def test_a_mask_is_what_nan_would_be(dtype: str) -> None:
    random = np.random.default_rng(2)
    clip = random.integers(1, 120, (4, 11, 9)).astype(dtype)
    each, one = random.random(clip.shape) < 0.6, random.random(clip.shape[1:]) < 0.6
    one[:6, :6] = False
    for mask in (each, one):
        held = np.broadcast_to(mask, clip.shape)
        want = np.stack([means(*frames, WEIGHTS) for frames in zip(clip, held, strict=True)])
        got = convcli.filter(clip, WEIGHTS, axes="TYX", mask=mask, missing="skip")
        np.testing.assert_allclose(got, want, rtol=1e-5)
        got = convcli.filter(clip, WEIGHTS, axes="TYX", mask=mask)
        np.testing.assert_allclose(got, np.where(held, want, np.nan), rtol=1e-5)
    with pytest.raises(UsageError, match=r"the mask is 4x11 .* and the data 4x11x9"):
        convcli.filter(clip, WEIGHTS, axes="TYX", mask=each[:, :, 0])


def test_each_box_has_its_own_part_of_the_mask() -> None:
    random = np.random.default_rng(9)
    clip, mask = random.random((4, 5, 6, 3)), random.integers(0, 3, (4, 5, 6))
    source = Masked(ArraySource(clip, "TYXC"), ArraySource(mask, "ZYX"))
    for box in (((0, 1), (0, 5), (0, 6)), ((2, 4), (1, 3), (2, 6)), ((2, 4), (3, 5), (2, 6))):
        part = tuple(slice(*span) for span in box)
        held = np.where(mask[part][..., None], clip[part], np.nan)
        np.testing.assert_array_equal(source.read(box), held)
    one = Masked(ArraySource(clip, "TYXC"), ArraySource(np.stack([mask[0]] * 3, 2), "YXC"))
    np.testing.assert_array_equal(one.strip(1, 3), np.where(mask[0][..., None], clip[1:3], np.nan))


def test_large_integers_under_a_mask_stay_exact() -> None:
    x = np.array([2**62 + 1, 2**60 + 3, 7, 2**61 + 5, 9], np.int64)
    got = convcli.filter(x, pool="max:2,s=1", mask=[0, 1, 1, 1, 0], missing="skip", range="clip")
    assert got.tolist() == [2**60 + 3, 2**60 + 3, 2**61 + 5, 2**61 + 5]


def test_a_share_of_the_weights_must_be_present() -> None:
    random = np.random.default_rng(3)
    x, held = random.random((20, 30)), random.random((20, 30)) < 0.5
    for share in (0.3, 0.5, 1.0):
        got = convcli.filter(x, WEIGHTS, mask=held, missing="skip", min_weight=share)
        want = means(x, held, WEIGHTS, share)
        assert np.isnan(want).any() and not np.isnan(want).all()
        np.testing.assert_allclose(got, want, rtol=1e-12)
    ninths = convcli.filter(x, "box:3", mask=held, missing="skip", min_weight=4 / 9, padding="valid")
    count = ndimage.correlate(held.astype(int), np.ones((3, 3), int))[1:-1, 1:-1]
    assert np.array_equal(np.isnan(ninths), count < 4)
    pooled = convcli.filter(x, pool="max:2x3,p=1x0", mask=held, missing="skip", min_weight=0.5)
    blocks = np.pad(held, ((1, 1), (0, 0)))[:22].reshape(11, 2, 10, 3).sum((1, 3))
    samples = np.full((11, 10), 6)
    samples[0] = samples[-1] = 3  # padding is no sample
    assert np.array_equal(np.isnan(pooled), (blocks == 0) | (blocks < samples / 2))
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(UsageError, match="min weight"):
            convcli.filter(x, WEIGHTS, min_weight=wrong)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a mask in several formats, 0 where samples are missing, and pictures of its size."""
    place, random = tmp_path_factory.mktemp("masks"), np.random.default_rng(4)
    mask = (random.random((20, 30)) < 0.6) * np.uint8(7)
    mask[5:12, 8:20] = 0
    np.save(place / "m.npy", mask)
    Image.fromarray(mask).save(place / "grey.png")
    Image.fromarray(np.dstack([0 * mask, mask, 0 * mask])).save(place / "colour.png")
    tifffile.imwrite(place / "m.tif", mask.astype(np.float32))
    np.savetxt(place / "m.csv", mask, "%d", ",")
    Image.fromarray(random.integers(0, 256, (20, 30, 4), np.uint8)).save(place / "alpha.png")
    Image.fromarray(random.integers(0, 256, (20, 30, 3), np.uint8)).save(place / "photo.png")
    return place


@pytest.mark.parametrize("mask", ["m.npy", "grey.png", "colour.png", "m.tif", "m.csv"])
def test_a_picture_with_a_mask_of_any_format(mask: str, folder: Path, tmp_path: Path) -> None:
    held = np.load(folder / "m.npy") > 0
    done = ok(
        "filter", folder / "photo.png", "-k", "box:3", "--mask", folder / mask, "-o", tmp_path / "o.png"
    )
    photo = np.asarray(Image.open(folder / "photo.png")).astype(float)
    want = np.dstack([means(photo[..., i], held, np.ones((3, 3)) / 9) for i in range(3)])
    want[~held] = np.nan
    assert f"note: {np.isnan(want).sum()} values are not numbers" in done.stderr.decode()
    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / "o.png")), np.nan_to_num(want), atol=0.51)


def test_a_missing_pixel_has_neither_colour_nor_coverage(folder: Path, tmp_path: Path) -> None:
    """The means of colour times alpha and of alpha are both of the pixels that are there; without any: transparent."""
    held = np.load(folder / "m.npy") > 0
    words = ["--mask", folder / "m.npy", "--missing", "skip", "-o", tmp_path / "o.png"]
    ok("filter", folder / "alpha.png", "-k", "box:3", *words)
    picture = np.asarray(Image.open(folder / "alpha.png")).astype(float)
    alpha, box = picture[..., 3], np.ones((3, 3)) / 9
    cover = np.nan_to_num(means(alpha, held, box))
    got = np.asarray(Image.open(tmp_path / "o.png"))
    np.testing.assert_allclose(got[..., 3], cover, atol=0.51)
    seen = cover > 0.51
    assert (~seen).any() and not got[~seen].any()
    for i in range(3):
        colour = means(picture[..., i] * alpha, held, box)[seen] / cover[seen]
        np.testing.assert_allclose(got[seen][:, i], colour, atol=0.51)


def test_tables_sounds_maps_and_clips(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("time,a,b\n0,1,10\n1,2,20\n2,3,30\n4,4,40\n5,5,50\n")
    (tmp_path / "one.csv").write_text("use\n1\n0\n1\n1\n1\n")
    (tmp_path / "two.csv").write_text("a,b\n1,1\n,1\n1,0\n1,1\n1,1\n")  # an empty cell is missing too
    smooth = ("filter", tmp_path / "s.csv", "-k", "1,1,1", "--padding", "valid", "-o", "-")
    table = ok(*smooth, "--mask", tmp_path / "one.csv", "--missing", "skip").stdout.decode().split()
    assert table == ["time,a,b", "1,6.0,60.0", "2,10.5,105.0", "4,12.0,120.0"]
    table = ok(*smooth, "--mask", tmp_path / "two.csv").stdout.decode().split()
    assert table == ["time,a,b", "1,NaN,45.0", "2,10.5,NaN", "4,12.0,135.0"]

    sound = np.random.default_rng(5).integers(-9000, 9000, (60, 2)).astype(np.int16)
    soundfile.write(tmp_path / "t.wav", sound, 8000, subtype="PCM_16")
    held = np.arange(60) % 5 > 1
    np.save(tmp_path / "t.npy", held.astype(np.uint8))
    ok("filter", tmp_path / "t.wav", "-k", "box:3", "--mask", tmp_path / "t.npy", "-o", tmp_path / "o.wav")
    want = np.stack([means(one, held, np.ones(3) / 3) for one in sound.T], 1)
    got = soundfile.read(tmp_path / "o.wav", dtype="int16")[0]
    np.testing.assert_allclose(
        got, np.where(held[:, None], want, 0), atol=0.51
    )  # silence, not the lowest number

    np.save(tmp_path / "c.npy", clip := np.random.default_rng(6).random((3, 20, 30)))
    words = ("--axes", "TYX", "-k", "box:3", "--missing", "skip", "-o", tmp_path / "d.npy")
    ok("filter", tmp_path / "c.npy", *words, "--mask", folder / "grey.png")
    mask = np.load(folder / "m.npy") > 0
    want = np.stack([means(frame, mask, np.ones((3, 3)) / 9) for frame in clip])
    np.testing.assert_allclose(np.load(tmp_path / "d.npy"), want, rtol=1e-12)
    ok("filter", tmp_path / "c.npy", *words, "--mask", tmp_path / "c.npy", "-y")  # one each
    np.testing.assert_allclose(
        np.load(tmp_path / "d.npy"), ndimage.uniform_filter(clip, (0, 3, 3), mode="nearest")
    )


def test_what_is_wrong_with_a_mask_is_one_line(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("a\n1\n2\n3\n")
    for words, code, said in (
        (
            ["--mask", folder / "grey.png"],
            2,
            "grey.png': the mask is 20x30 (YX), and the data 3 (X): their sizes",
        ),
        (["--mask", tmp_path / "none.png"], 1, "none.png': no such file"),
        (["--missing", "skip:2"], 2, "'2' is no share"),
        (
            ["--mask", folder / "m.npy", "--as", "matrix"],
            2,
            "m.npy': the mask is 20x30 (YX), and the data 3x1 (YX)",
        ),
    ):
        done = run("filter", tmp_path / "s.csv", "-k", "1,1", "-o", tmp_path / "o.csv", *words)
        assert (done.returncode, done.stderr.count(b"\n")) == (code, 1), done.stderr
        assert said in done.stderr.decode() and not (tmp_path / "o.csv").exists()


def test_explain_and_matrix_know_what_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("3,2,4\n5,7,6\n7,8,9\n")
    (tmp_path / "m.csv").write_text("1,1,1\n1,0,1\n1,1,0\n")
    mask = ("--mask", tmp_path / "m.csv", "--as", "matrix")
    kernel = ("-k", "1,2,1;2,4,2;1,2,1")
    place = ("explain", tmp_path / "x.csv", *mask, *kernel, "--at", "1,1")
    text = ok(*place, "--missing", "skip").stdout.decode()
    total = (3 + 4 + 4 + 10 + 12 + 7 + 16) * 16 / 11  # of weights 16, 11 are present
    assert "1,1      1,1            -       4        -  missing: skipped\n" in text
    assert f"present, 0.6875: 896/11\nfilter computes: {total:.4f}" in text
    (one,) = json.loads(ok(*place, "--missing", "skip", "--json").stdout)["sums"]
    assert one["total"] == pytest.approx(total) and one["present"] == 11 / 16
    assert one["channels"][0]["taps"][4]["value"] is None
    kept = json.loads(ok(*place, "--json").stdout)  # the default, keep: the centre is missing
    assert set(kept["values"]) == {None} and kept["sums"][0]["total"] is None
    assert kept["sums"][0]["channels"][0]["sum"] == 56
    pooled = ok(
        "explain", tmp_path / "x.csv", *mask, "--pool", "median:3", "--at", "0,0", "--missing", "skip"
    )
    assert "filter computes: 5\n" in pooled.stdout.decode()  # of 2 3 4 5 6 7 8

    words = (
        "matrix",
        "--verify",
        tmp_path / "x.csv",
        *mask[:2],
        "-k",
        "1,2;3,4",
        "--padding",
        "same",
        "--json",
    )
    for policy, least in (("skip", 0.0), ("keep", 0.0), ("skip", 0.5)):
        found = json.loads(ok(*words, "--missing", f"{policy}:{least}").stdout)
        assert found["verify"]["equal"], found["verify"]
        x, held = np.array([[3, 2, 4], [5, 7, 6], [7, 8, 9]]), np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]]) > 0
        padded, there = (
            np.pad(np.where(held, one, 0), (0, 1), constant_values=two) for one, two in ((x, 0), (1, 1))
        )
        sums, weights = (sum(w * one[i : i + 3, j : j + 3] for (i, j), w in TAPS) for one in (padded, there))
        want = np.where(weights >= 10 * least, sums * 10 / weights, np.nan)
        want[~held & (policy == "keep")] = np.nan
        own = np.array(found["matrix"]) @ np.where(held, x, 0).ravel()
        offset = np.array([np.nan if one is None else one for one in found["offset"]], float)
        np.testing.assert_allclose(own + offset, want.ravel(), rtol=1e-12)


TAPS = [((0, 0), 1), ((0, 1), 2), ((1, 0), 3), ((1, 1), 4)]
