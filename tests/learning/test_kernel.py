"""Kernels by least squares: against numpy's and torch's own, and from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convcli.cli.program import run
from convcli.common.errors import ConvError, UsageError
from convcli.data.info import SPACE
from convcli.geometry.padding import PadMode, parse_padding
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import ConvStage
from convcli.kernel import Kernel, load_kernel
from convcli.kernel.model import Defaults
from convcli.kernel.yaml_file import yaml_text
from convcli.learning import least_squares
from convcli.learning.least_squares import SAFE, Example, fit
from tests import pad_modes
from tests.shell import SAMPLES, convcli, ok

CONVOLVE = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


def stage_of(shape: tuple[int, ...], sizes: tuple[int, ...], channels: int, **options: object) -> ConvStage:
    sought = Kernel("sought", shape, (0.0,) * int(np.prod(shape)))
    options["padding"] = parse_padding(str(options.get("padding", "0")))
    stage = bind([sought], Settings(**options), SPACE[-len(sizes) :], sizes, channels).stages[0]  # type: ignore[arg-type]
    assert isinstance(stage, ConvStage)
    return stage


def example(x: np.ndarray, y: np.ndarray, shape: tuple[int, ...], **options: object) -> Example:
    return Example(stage_of(shape, x.shape[1:], len(x), **options), x, y)


@settings(max_examples=40)
@given(data=st.data())
def test_it_recovers_the_kernel_of_torchs_convolution(data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 3))
    axes = st.integers(1, 3)
    kernel = tuple(data.draw(st.lists(axes, min_size=rank, max_size=rank)))
    stride = tuple(data.draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)))
    dilation = tuple(data.draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)))
    channels, maps = data.draw(st.integers(1, 2)), data.draw(st.sampled_from([1, 3]))
    size = {1: 160, 2: 22, 3: 12}[rank]
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    x = random.normal(size=(channels, *(size + axis for axis in range(rank))))
    weights, bias = random.normal(size=(maps, channels, *kernel)), random.normal(size=maps)
    y = CONVOLVE[rank](
        torch.tensor(x)[None], torch.tensor(weights), torch.tensor(bias), stride=stride, dilation=dilation
    )[0].numpy()
    found = fit([example(x, y, weights.shape, stride=stride, dilation=dilation)])
    np.testing.assert_allclose(found.weights, weights, atol=1e-10)
    np.testing.assert_allclose(found.bias, bias, atol=1e-10)
    assert found.determined
    assert found.largest < 1e-10


def noisy_pair() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    return random.uniform(0, 255, (1, 23, 31)), random.normal(40, 9, (1, 21, 30))


def windows_matrix(x: np.ndarray, kernel: tuple[int, int]) -> np.ndarray:
    """Return the equations as torch's unfold makes them, with a column of ones."""
    rows = torch.nn.functional.unfold(torch.tensor(x)[None], kernel)[0].numpy().T
    return np.hstack([rows, np.ones((len(rows), 1))])


@pytest.mark.parametrize("block", [64, 1 << 20])
def test_noise_gives_the_solution_residual_and_errors_that_numpy_gives(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(least_squares, "BLOCK", block)
    x, y = noisy_pair()
    found = fit([example(x, y, (1, 1, 3, 2))])
    matrix = windows_matrix(x, (3, 2))
    solution, squares, rank, _ = np.linalg.lstsq(matrix, y.ravel(), rcond=None)
    np.testing.assert_allclose(np.append(found.weights.ravel(), found.bias), solution, rtol=1e-9)
    assert found.equations == 630
    assert found.rank == rank == found.unknowns == 7
    np.testing.assert_allclose(found.rms, np.sqrt(squares[0] / 630), rtol=1e-9)
    np.testing.assert_allclose(found.largest, np.abs(y.ravel() - matrix @ solution).max(), rtol=1e-9)
    np.testing.assert_allclose(found.explained, 1 - squares[0] / (y.size * y.var()), rtol=1e-9)
    covariance = np.linalg.inv(matrix.T @ matrix)
    np.testing.assert_allclose(found.sensitivity.ravel(), np.sqrt(np.diagonal(covariance))[:6], rtol=1e-9)
    lengths = np.linalg.norm(matrix, axis=0)
    np.testing.assert_allclose(found.condition, np.linalg.cond(matrix / lengths), rtol=1e-6)


def test_several_pairs_are_one_system_and_channels_share_a_kernel() -> None:
    x, y = noisy_pair()
    alone = [example(x[:, :12], y[:, :10], (1, 1, 3, 2)), example(x[:, 10:], y[:, 10:], (1, 1, 3, 2))]
    whole = fit([example(x, y, (1, 1, 3, 2))])
    np.testing.assert_allclose(fit(alone).weights, whole.weights, rtol=1e-9)
    both = np.concatenate([x, x[:, ::-1]]), np.concatenate([y, y])
    separate = [example(x, y, (1, 1, 3, 2)), example(x[:, ::-1], y, (1, 1, 3, 2))]
    np.testing.assert_allclose(fit([example(*both, (1, 1, 3, 2))]).weights, fit(separate).weights, rtol=1e-9)


def test_near_to_singular_equations_are_solved_by_orthogonal_decompositions() -> None:
    steps = np.arange(80.0)
    x = (steps + 1e-5 * np.random.default_rng(0).normal(size=80))[None]  # nearly a straight line
    weights = np.array([[[1.0, -2.0, 4.0]]])
    y = np.correlate(x[0], weights.ravel(), "valid")[None]
    found = fit([example(x, y, (1, 1, 3))], bias=False)
    assert found.condition > SAFE
    np.testing.assert_allclose(found.weights, weights, rtol=1e-6)


def ramp() -> Example:
    x = np.add.outer(np.arange(9.0), 3 * np.arange(11.0))[None]
    y = scipy.ndimage.correlate(x[0], [[0, 1, 2], [3, 4, 5], [6, 7, 9]])[None, 1:-1, 1:-1]
    return example(x, y, (1, 1, 3, 3))


def test_an_under_determined_kernel_is_refused_with_what_could_be_done() -> None:
    with pytest.raises(ConvError, match=r"do not determine.*63 outputs.*only 2 independent.*--minimum-norm"):
        fit([ramp()])


def test_the_minimum_norm_is_numpys() -> None:
    pair = ramp()
    found = fit([pair], minimum_norm=True)
    expected, *_ = np.linalg.lstsq(windows_matrix(pair.input, (3, 3)), pair.target.ravel(), rcond=1e-10)
    np.testing.assert_allclose(np.append(found.weights.ravel(), found.bias), expected, atol=1e-9)
    assert (found.rank, found.unknowns, found.determined) == (2, 10, False)
    assert found.largest < 1e-9


def test_fewer_equations_than_unknowns_are_under_determined() -> None:
    x = np.random.default_rng(0).normal(size=(1, 6))
    with pytest.raises(ConvError, match="3 independent"):
        fit([example(x, x[:, :3], (1, 1, 4))])


def test_missing_saturated_and_border_outputs_do_not_count() -> None:
    random = np.random.default_rng(1)
    x = random.integers(0, 256, (1, 40, 50)).astype(np.float64)
    exact = scipy.ndimage.correlate(x[0], [[0, 2, 0], [0, 1, -1], [0, 0, -1]], mode="nearest") - 40.0
    x[0, 5, 7] = np.nan
    clipped = np.clip(exact, 0, 255).astype(np.uint8)[None]
    pair = example(x, clipped, (1, 1, 3, 3), padding="same")
    found = fit([Example(pair.stage, x, clipped, limits=(0, 255))])
    np.testing.assert_allclose(found.weights[0, 0], [[0, 2, 0], [0, 1, -1], [0, 0, -1]], atol=1e-12)
    np.testing.assert_allclose(found.bias, -40)
    assert found.left_out.border == 40 * 50 - 38 * 48
    assert found.left_out.missing == 9
    inside = np.isin(clipped[0, 1:-1, 1:-1], [0, 255])
    inside[3:6, 5:8] = False  # counted as missing
    assert found.left_out.saturated == inside.sum()


@pytest.mark.parametrize("mode", [PadMode.CIRCULAR, PadMode.ANTIREFLECT])
def test_a_pad_mode_makes_the_border_count(mode: PadMode) -> None:
    x = np.random.default_rng(2).normal(size=(1, 7, 8))
    weights = np.array([[0, 2, 0], [0, 1, -1], [5, 0, -1]])
    y = scipy.signal.correlate(pad_modes.padded(x[0], 1, mode), weights, "valid", "direct")[None]
    stage = stage_of((1, 1, 3, 3), (7, 8), 1, padding="same", pad_mode=mode)
    found = fit([Example(stage, x, y, borders=True)])
    assert found.equations == 56
    np.testing.assert_allclose(found.weights[0, 0], weights, atol=1e-12)


def test_too_many_unknowns_are_refused() -> None:
    x = np.zeros((1, 80, 80))
    with pytest.raises(UsageError, match="4901 unknowns"):
        fit([example(x, x[:, :11, :11], (1, 1, 70, 70))])


# The kernel's file


@pytest.mark.parametrize(
    "kernel",
    [
        Kernel("a", (1, 1, 3), (0.1, -1 / 3, 1e-17), bias=(2.5,), description='say "yes": é', source="a: b"),
        Kernel("b.c", (1, 1, 2, 2), (1.0, 2.0, 3.0, 4.0), origin=(1, 1), defaults=Defaults(stride=(2, 1))),
        Kernel("d", (2, 1, 1, 2), (1.0, 2.0, 3.0, 4.0), bias=(0.0, 1.0)),
        Kernel(
            "e",
            (2, 2, 1, 1, 2),
            tuple(float(n) for n in range(8)),
            defaults=Defaults(
                padding=((1, 0), parse_padding("same")[0], (2, 2)),
                pad_mode=PadMode.REFLECT,
                dilation=(1, 1, 2),
                flip=True,
            ),
        ),
    ],
    ids=lambda kernel: kernel.name,
)
def test_a_written_kernel_reads_back_the_same(kernel: Kernel, tmp_path: Path) -> None:
    path = tmp_path / f"{kernel.name}.yaml"
    path.write_text(yaml_text(kernel), encoding="utf-8")
    back = load_kernel(str(path))
    for part in ("name", "shape", "weights", "bias", "origin", "description", "source", "defaults"):
        assert getattr(back, part) == getattr(kernel, part), part


# From the shell


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    with Image.open(SAMPLES / "house.png") as image:
        image.convert("L").save("photo.png")
    return tmp_path


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capsys.readouterr()
    assert run(["learn", *arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_sobel_is_found_from_a_photo_and_its_float_result(photo: Path) -> None:
    pixels = np.asarray(Image.open("photo.png"), np.float64)
    weights = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    np.save("sobel.npy", scipy.ndimage.correlate(pixels, weights, mode="nearest").astype(np.float32))
    done = ok("learn", "photo.png", "sobel.npy", "--size", "3x3", "-o", "found.yaml", cwd=photo)
    assert done.stderr == b""
    out = done.stdout.decode()
    assert out.startswith("  -1   0   1\n  -2   0   2\n  -1   0   1\n")
    assert "they determine the kernel" in out
    found = load_kernel("found.yaml")
    assert np.abs(found.array()[0, 0] - weights).max() < 1e-6
    ok("filter", "photo.png", "-k", "found.yaml", "-o", "again.npy", "-q", cwd=photo)
    np.testing.assert_allclose(np.load("again.npy"), np.load("sobel.npy"), atol=1e-3)


def test_an_8_bit_target_says_how_far_rounding_and_clipping_go(
    photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (90, 110))
    Image.fromarray(pixels.astype(np.uint8)).save("noise.png")
    weights = np.array([[0.1, 0.2, -0.3], [0.7, 0.33, 0], [0, 0.123, -0.2]])
    exact = scipy.ndimage.correlate(pixels.astype(float), weights, mode="mirror") + 40
    Image.fromarray(np.rint(np.clip(exact, 0, 255)).astype(np.uint8)).save("target.png")
    found = report(capsys, "noise.png", "target.png", "--size", "3x3")
    errors = np.abs(np.array(found["weights"])[0, 0] - weights)
    assert found["left_out"]["saturated"] > 100
    assert 0.25 < found["residual"]["rms"] < 0.33
    assert 1e-6 < errors.max() < 5 * found["rounding_error"]
    assert run(["learn", "noise.png", "target.png", "--size", "3x3"]) == 0
    out = capsys.readouterr().out
    assert "rounding   of the target to whole numbers" in out
    assert "saturated outputs" in out
    kept = report(capsys, "noise.png", "target.png", "--size", "3x3", "--keep-saturated")
    assert kept["left_out"]["saturated"] == 0
    assert np.abs(np.array(kept["weights"])[0, 0] - weights).max() > 10 * errors.max()


def test_a_signals_kernel_with_stride(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=50)
    y = np.correlate(x, [1.0, -2.0, 4.0], "valid")[::2] + 7
    Path("x.csv").write_text("\n".join(map(repr, x.tolist())))
    Path("y.csv").write_text("\n".join(map(repr, y.tolist())))
    options = ["--size", "3", "--stride", "2", "--padding", "valid", "-o", "k.yaml"]
    found = report(capsys, "x.csv", "y.csv", *options)
    np.testing.assert_allclose(found["weights"], [[[1, -2, 4]]], atol=1e-12)
    np.testing.assert_allclose(found["bias"], [7], atol=1e-12)
    assert run(["filter", "x.csv", "-k", "k.yaml", "-o", "z.csv", "-q"]) == 0
    again = [float(line) for line in Path("z.csv").read_text().split()]
    np.testing.assert_allclose(again, y, atol=1e-12)


def test_columns_of_tables(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One column of several, in the inputs and the targets; without the option all share a kernel."""
    a, b = np.random.default_rng(2).normal(size=(2, 40))
    made = np.correlate(np.pad(a, 1, mode="edge"), [0.25, 0.5, -1.5], "valid")
    for name, column in (("x.csv", a), ("y.csv", made)):
        rows = [f"{one},{other}" for one, other in zip(b.tolist(), column.tolist(), strict=True)]
        Path(name).write_text("\n".join(["b,a", *rows]))
    found = report(capsys, "x.csv", "y.csv", "--size", "3", "--columns", "a")
    np.testing.assert_allclose(found["weights"], [[[0.25, 0.5, -1.5]]], atol=1e-12)


def test_a_bank_and_a_volume(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    x, bank = random.normal(size=(3, 12, 13)), random.normal(size=(2, 3, 2, 3))
    np.save("x.npy", x)
    np.save("y.npy", torch.nn.functional.conv2d(torch.tensor(x)[None], torch.tensor(bank))[0].numpy())
    found = report(capsys, "x.npy", "y.npy", "--size", "2x3", "--axes", "CYX", "-o", "bank.yaml")
    np.testing.assert_allclose(found["weights"], bank, atol=1e-12)
    np.testing.assert_allclose(load_kernel("bank.yaml").array(), bank, atol=1e-12)
    volume, brick = random.normal(size=(7, 8, 9)), random.normal(size=(2, 3, 2))
    np.save("v.npy", volume)
    np.save("w.npy", scipy.ndimage.correlate(volume, brick, mode="constant", origin=(-1, 0, -1)))
    found = report(capsys, "v.npy", "w.npy", "--size", "2x3x2")
    np.testing.assert_allclose(np.array(found["weights"])[0, 0], brick, atol=1e-12)


def test_folders_are_paired_by_name(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for folder in ("in", "out/deeper"):
        Path(folder).mkdir(parents=True)
    Path("in/deeper").mkdir()
    for number in (3, 1, 2):
        x = random.normal(size=40)
        np.save(f"in/deeper/{number}.npy", x)
        np.save(f"out/deeper/{number}.npy", np.correlate(x, [1.0, 3.0], "valid"))
    found = report(capsys, "in", "--target", "out", "--size", "2")
    np.testing.assert_allclose(found["weights"], [[[1, 3]]], atol=1e-12)
    assert found["equations"] == 3 * 39
    Path("out/deeper/2.npy").rename("out/deeper/9.npy")
    assert run(["learn", "in", "--target", "out", "--size", "2"]) == 2
    assert "2.npy': no target is called deeper/2" in capsys.readouterr().err


def test_folders_may_hold_what_is_only_read(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    for number, folder in ((number, folder) for number in (1, 2) for folder in ("in", "out")):
        Path(folder).mkdir(exist_ok=True)
        pixels = random.integers(1, 255, (9, 9, 3), dtype=np.uint8)
        Path(f"{folder}/{number}.qoi").write_bytes(imagecodecs.qoi_encode(pixels))
    found = report(capsys, "in", "--target", "out", "--size", "1")
    assert found["equations"] == 2 * 9 * 9 * 3


def test_least_squares_needs_no_torch(photo: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from convcli.cli.program import run; assert run(sys.argv[1:]) == 0; "
        "assert not {'torch', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    arguments = ["learn", "photo.png", "photo.png", "--size", "1", "-q"]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


BAD = [
    (["photo.png", "--size", "3"], 2, "1 file do"),
    (["photo.png", "photo.png", "photo.png", "--size", "3"], 2, "do not make pairs"),
    (["--size", "3"], 2, "give INPUT TARGET"),
    ([], 2, "what to learn: --size 3x3"),
    (["photo.png", "photo.png"], 2, "what to learn"),
    (["photo.png", "none.png", "--size", "3"], 1, "no such file"),
    (["photo.png", "photo.png", "--size", "0"], 2, "size 0"),
    (["photo.png", "photo.png", "--size", "3x3x3"], 2, "rank 3"),
    (["photo.png", "photo.png", "--size", "3", "--padding", "valid"], 2, "makes 238x318"),
    (["photo.png", "photo.png", "--size", "3", "--stride", "2"], 2, "no padding by name"),
    (["photo.png", "photo.png", "--size", "3", "--epochs", "2"], 2, "--epochs belongs to another job"),
    (["photo.png", "photo.png", "--size", "3", "-o", "k.png"], 2, ".yaml or .yml"),
    (["photo.png", "photo.png", "--size", "3", "-o", "none/k.yaml"], 1, "no folder"),
    (["photo.png", "colour.png", "--size", "3", "--channels", "each"], 2, "--channels each needs as many"),
    (["photo.png", "photo.png", "--size", "3", "--channels", "luma"], 2, "give each or sum"),
    (["black.png", "black.png", "--size", "3"], 1, "no output is left"),
    (["black.png", "black.png", "--size", "3", "--keep-saturated"], 1, "do not determine the kernel"),
    (["photo.png", "signal.npy", "--size", "3"], 2, "the axes y, x, and the target x"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), BAD, ids=lambda value: str(value)[:50])
def test_what_cannot_be_learned_is_one_line(
    arguments: list[str], code: int, text: str, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Image.open(SAMPLES / "house.png") as image:
        image.save("colour.png")
    Image.new("L", (20, 20)).save("black.png")
    np.save("signal.npy", np.arange(9.0))
    before = sorted(photo.iterdir())
    assert run(["learn", *arguments]) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(photo.iterdir()) == before


def test_an_existing_kernel_is_kept(photo: Path) -> None:
    Path("k.yaml").write_text("mine")
    done = convcli("learn", "photo.png", "photo.png", "--size", "1", "-o", "k.yaml", cwd=photo)
    assert (done.returncode, Path("k.yaml").read_text()) == (1, "mine")
    assert ok("learn", "photo.png", "photo.png", "--size", "1", "-o", "k.yaml", "-y", cwd=photo)
    assert load_kernel("k.yaml").weights == pytest.approx((1.0,))


def test_every_item_of_a_batch_is_an_example(tmp_path: Path) -> None:
    random = np.random.default_rng(12)
    x, weights = random.normal(size=(10, 2, 4, 5)), random.normal(size=(3, 2, 3, 2))
    y = CONVOLVE[2](
        torch.tensor(x), torch.tensor(weights)
    ).numpy()  # 8 numbers a map in each item, for 12 weights
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    learn = ["learn", "x.npy", "y.npy", "--size", "3x2", "--channels", "sum", "-o", "k.yaml"]
    ok(*learn, "--axes", "NCYX", cwd=tmp_path)
    np.testing.assert_allclose(load_kernel(str(tmp_path / "k.yaml")).array(), weights, atol=1e-9)
    np.save(tmp_path / "y.npy", y[:9])
    done = convcli(*learn, "-y", "--axes", "NCYX", cwd=tmp_path)
    assert (done.returncode, b"10 items (N) and 9 in the target" in done.stderr) == (2, True)
