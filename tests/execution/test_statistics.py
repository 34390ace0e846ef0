"""Statistics of windows as kernels: against scipy's filter of any function, at every border, stride and type."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
from PIL import Image

import convcli
from convcli.geometry.pools import STATISTICS
from convcli.jobs.bind import Settings
from convcli.kernel import load_kernel
from tests.execution.test_blocks import computed
from tests.shell import convcli as shell
from tests.shell import ok
from tests.window_statistics import OF_NUMPY

NAMES = [str(kind) for kind in STATISTICS]
MODES = {
    "replicate": "nearest",
    "reflect": "mirror",
    "symmetric": "reflect",
    "circular": "wrap",
    "zero": "constant",
}
RANDOM = np.random.default_rng(3)
ARRAYS = {
    "floats": RANDOM.normal(size=(9, 11)),
    "far from zero": 1e6 + RANDOM.normal(size=(9, 11)),
    "bytes": RANDOM.integers(0, 5, (9, 11), dtype=np.uint8),
    "16 bits": RANDOM.integers(0, 65536, (9, 11), dtype=np.uint16),
    "signed": RANDOM.integers(-(2**31), 2**31, (9, 11), dtype=np.int32),
}
EXACT = ("min", "max", "median", "range", "majority", "count")


def of(name: str) -> Callable[..., np.ndarray]:
    """Return the function of numpy for windows on any axes, which become one."""

    def apply(windows: np.ndarray, axis: tuple[int, ...]) -> np.ndarray:
        return OF_NUMPY[name](windows.reshape(*windows.shape[: -len(axis)], -1), axis=-1)

    return apply


def scipys(x: np.ndarray, name: str, size: tuple[int, ...], mode: str = "nearest") -> np.ndarray:
    """Return what scipy computes; the origin of even sizes is (k - 1) // 2 here, and k // 2 there."""
    origin = tuple(-1 if k % 2 == 0 else 0 for k in size)
    how = {"size": size, "mode": mode, "origin": origin}
    return np.asarray(scipy.ndimage.vectorized_filter(x.astype(np.float64), of(name), **how))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("array", ARRAYS)
def test_a_statistic_is_scipys_filter(array: str, name: str) -> None:
    x = ARRAYS[array]
    for size in ((3, 5), (4, 2), (1, 7)):
        for number, (mode, theirs) in enumerate(MODES.items()):
            stride = 1 + number % 2
            want = scipys(x, name, size, theirs)[::stride, ::stride]
            for engine in ("numpy", "torch"):
                how = {"pad_mode": mode, "stride": stride, "engine": engine, "dtype": "float64"}
                got = convcli.filter(x, f"{name}:{size[0]}x{size[1]}", **how, range="float")
                if name in EXACT:
                    np.testing.assert_array_equal(got, want)
                else:
                    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_missing_samples(name: str) -> None:
    x = ARRAYS["floats"].copy()
    x[RANDOM.random(x.shape) < 0.3] = np.nan
    x[4:8, 5:] = np.nan  # windows without samples
    padded = np.pad(x, ((1, 1), (0, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 2)).reshape(*x.shape, 6)
    present = np.count_nonzero(~np.isnan(windows), -1)
    full = np.where(np.isnan(windows), 0.0, windows)
    full[present == 0] = 0
    want = np.full(x.shape, np.nan)
    for at in np.argwhere(present > 0):
        want[tuple(at)] = OF_NUMPY[name](windows[tuple(at)])
    run = partial(convcli.filter, x, f"{name}:3x2")
    np.testing.assert_allclose(run(missing="skip"), want, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(
        run(missing="skip", min_weight=0.5), np.where(present >= 3, want, np.nan), rtol=1e-13, atol=1e-14
    )
    np.testing.assert_allclose(
        run(missing="keep"), np.where(np.isnan(x), np.nan, want), rtol=1e-13, atol=1e-14
    )
    np.testing.assert_allclose(run(), np.where(present == 6, want, np.nan), rtol=1e-13, atol=1e-14)
    with pytest.raises(convcli.ConvError, match="missing sample"):
        run(missing="error")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_any_block_has_the_same_bits(name: str, dtype: str) -> None:
    x = (1000 + 9 * RANDOM.normal(size=(23, 12))).astype(dtype)
    kernels = [load_kernel("gaussian:1"), load_kernel(f"{name}:4x3")]
    whole = computed(x, kernels, Settings(dilation=(2, 1)), axes="YX", step=100)
    for step in (1, 5, 8):
        got = computed(x, kernels, Settings(dilation=(2, 1)), axes="YX", step=step)
        np.testing.assert_array_equal(got, whole)


def test_other_ranks_and_axes() -> None:
    clip = RANDOM.normal(size=(5, 6, 7))
    want = scipys(clip, "std", (3, 3, 2))
    np.testing.assert_allclose(
        convcli.filter(clip, "std:3x3x2", axes="TYX", pad_mode="replicate"), want, rtol=1e-12
    )
    along = scipys(clip, "median", (3, 1, 1))
    got = convcli.filter(clip, "median:3", axes="TYX", axis="t", pad_mode="replicate")
    np.testing.assert_array_equal(got, along)
    dilated = convcli.filter(clip[0, 0], "range:3", dilation=2, padding="valid")
    np.testing.assert_array_equal(dilated, [np.ptp(clip[0, 0, i : i + 5 : 2]) for i in range(3)])


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
def test_the_variance_of_data_far_from_zero_is_that_of_two_passes(offset: float) -> None:
    x = offset + RANDOM.normal(size=(40, 37))
    x[20:, 10:] *= -1  # no shift of all samples helps
    for name in ("var", "std"):
        got, want = convcli.filter(x, f"{name}:15x6"), scipys(x, name, (15, 6))
        np.testing.assert_allclose(got, want, rtol=1e-12)
    flat = convcli.filter(np.full((9, 9), offset + 0.1), "var:5x4")
    np.testing.assert_array_equal(flat, np.zeros((9, 9)))


def test_integers_have_exact_variances() -> None:
    x = RANDOM.integers(0, 256, (60, 61), dtype=np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(object), (31, 20)).reshape(30 * 1, -1, 620)
    got = convcli.filter(x, "var:31x20", padding="valid", range="float", dtype="float64").reshape(30, -1)
    for row, column in ((0, 0), (7, 33), (29, 41)):
        taps = windows[row, column]
        assert got[row, column] == float((620 * sum(taps * taps) - sum(taps) ** 2) / 620**2)


def test_a_percentile_of_a_share_and_windows_in_units(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("time,x\n" + "".join(f"{t / 2},{(7 * t) % 11}\n" for t in range(20)))
    done = ok("filter", "in.csv", "-k", "percentile:2.5s,30", "-o", "-", "-q", cwd=tmp_path)
    values = np.array([(7 * t) % 11 for t in range(20)], float)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(values, 2, mode="edge"), 5)
    got = [float(line.split(",")[1]) for line in done.stdout.decode().split()[1:]]
    np.testing.assert_allclose(got, np.percentile(windows, 30, axis=-1), rtol=1e-14)


def test_pictures(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "in.png")
    for text in ("median:3", "majority:3", "std:3", "range:3"):
        done = ok("filter", "in.png", "-k", text, "-y", cwd=tmp_path)
        want = np.stack([scipys(pixels[..., c], text.partition(":")[0], (3, 3)) for c in range(3)], axis=-1)
        got = np.asarray(Image.open(tmp_path / done.stdout.decode().strip()))
        np.testing.assert_array_equal(got, np.rint(want))
    variance = scipys(pixels[..., 0], "var", (3, 3))
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    ok("filter", "grey.png", "-k", "var:3", "-o", "var.png", cwd=tmp_path)
    low, high = variance.min(), variance.max()
    np.testing.assert_allclose(
        np.asarray(Image.open(tmp_path / "var.png")), 255 * (variance - low) / (high - low), atol=0.5001
    )


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("filter in.png -k median:3 --scale 2", "has no weights to scale"),
        ("filter in.png -k median:3 --bias 2", "has no weights to scale"),
        ("filter in.png -k median:3 --channels sum", "has no weights to scale"),
        ("filter in.png -k std:3 --transpose", "standard deviation of a window, which is not linear"),
        ("filter in.png -k percentile:3,101", "give 0 to 100"),
        ("filter in.png -k maximum:3", "try max:3"),
        ("filter in.png --pool std:3,90", "'90' is unknown"),
        ("matrix -k median:3 --input 5x5", "median of a window, which is not linear"),
        ("motion in.png -k median:3x3x3", "median of a window, which is not linear"),
    ],
)
def test_what_a_statistic_cannot_be(command: str, said: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png")
    done = shell(*command.split(), cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr.decode()
    assert done.stderr.decode().count("\n") == 1


def test_a_kernel_file_and_a_net_name_statistics(tmp_path: Path) -> None:
    (tmp_path / "specks.yaml").write_text("name: specks\nparametric: median:3x5\nstride: 2\n")
    (tmp_path / "scaled.yaml").write_text("name: scaled\nparametric: median:3\nscale: 2\n")
    (tmp_path / "net.yaml").write_text("layers:\n- conv: {kernel: median:3}\n")
    x = ARRAYS["floats"]
    got = convcli.filter(x, str(tmp_path / "specks.yaml"))
    np.testing.assert_array_equal(got, scipys(x, "median", (3, 5))[::2, ::2])
    with pytest.raises(convcli.UsageError, match="no weights to scale"):
        convcli.filter(x, str(tmp_path / "scaled.yaml"))
    done = shell("net", "show", "net.yaml", cwd=tmp_path)
    assert "pool: {kind: median" in done.stderr.decode()


@pytest.mark.parametrize("values", [[78, 78, 5, 5], [3, 3, 3, 3], [1, 2, 3, 4]])
def test_padding_that_counts_is_among_the_values_of_a_majority(values: list[float]) -> None:
    padded = [0, *values, 0]
    pairs = [min(pair) for pair in itertools.pairwise(padded)]  # of two different values the smaller one
    assert convcli.filter(np.array(values, float), pool="majority:2,s=1,p=1,include").tolist() == pairs


@pytest.mark.parametrize("missing", ["propagate", "skip"])
def test_deviations_are_the_same_in_tiles(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles smaller and larger than the data, of windows with a stride, steps of 1e6 and gaps."""
    random = np.random.default_rng(11)
    x = random.normal(0, 1, (61, 83))
    x[30:] += 1e6
    x[random.random(x.shape) < 0.05] = np.nan
    windows = np.lib.stride_tricks.sliding_window_view(x.astype(np.longdouble), (5, 7))[::2, ::3]
    want = (np.nanstd if missing == "skip" else np.std)(windows, axis=(-1, -2))
    made = []
    for side in (1, 400, 1 << 20):
        monkeypatch.setattr("convcli.engines.on_numpy.engine.SIDE", side)
        made.append(convcli.filter(x, "std:5x7", stride=(2, 3), padding="valid", missing=missing))
    np.testing.assert_allclose(made[0], want.astype(float), rtol=1e-11)
    for other in made[1:]:
        np.testing.assert_array_equal(made[0], other)
