"""Training a net: beside a loop written for torch alone, interrupted and resumed, and from the shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import scipy.ndimage
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from convcli.cli.learn import net as learn_net
from convcli.cli.learn.net import _curve
from convcli.cli.program import run
from convcli.cli.shared.opened import Opened
from convcli.learning.training import Epoch
from convcli.media.options import ReadOptions
from convcli.networks.parse import load_net
from convcli.networks.torch_run import TorchNet
from convcli.networks.weights import initial, load_for
from tests.shell import SAMPLES, ok

LINEAR = "preprocess: {scale: 1/255}\nlayers:\n  - conv: {size: 3, bias: false, seed: 1}\n"
CLASSES = """preprocess: {grey: mean, scale: 1/255}
num_classes: 2
layers:
  - conv: {maps: 4, size: 3}
  - batchnorm
  - relu
  - gpool: {kind: max}
  - flatten
  - dense: {outputs: num_classes}
  - softmax
"""
DENSE = """layers:
  - flatten
  - dense: {outputs: 1}
"""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with nets, a grey photo and its Sobel, and crops of a house."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # small nets: threads would mostly wait for each other
    Path("linear.yaml").write_text(LINEAR)
    Path("classes.yaml").write_text(CLASSES)
    Path("dense.yaml").write_text(DENSE)
    with Image.open(SAMPLES / "house.png") as house:
        house.convert("L").crop((60, 60, 156, 156)).save("photo.png")
        Path("crops").mkdir()
        for index in range(12):
            left, top = 70 * (index % 4), 50 * (index // 4)
            house.crop((left, top, left + 32, top + 32)).save(f"crops/{index:02}.png")
    weights = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
    pixels = np.asarray(Image.open("photo.png"), np.float32)
    np.save("sobel.npy", scipy.ndimage.correlate(pixels, weights)[1:-1, 1:-1])
    return tmp_path


def stripes() -> None:
    """Make pictures of upright and of lying stripes, in folders that name their class."""
    random = np.random.default_rng(0)
    for name in ("upright", "lying"):
        Path("stripes", name).mkdir(parents=True)
        for index in range(8):
            wave = 127 + 100 * np.sign(np.sin(np.arange(16) * 1.6 + random.uniform(0, 6)))
            picture = np.tile(wave, (16, 1)) + random.normal(0, 5, (16, 16))
            picture = picture if name == "upright" else picture.T
            Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(f"stripes/{name}/{index}.png")


def learn(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capsys.readouterr()
    assert run(["learn", *arguments, "--json"]) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


SOBEL = ("--net", "linear.yaml", "photo.png", "--target", "sobel.npy", "-o", "w.safetensors")


def test_sgd_recovers_sobel_from_a_photo_and_its_float_result(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--optimizer", "sgd", "--momentum", "0.98", "--lr", "0.3", "--epochs", "1500")
    facts = learn(capsys, *SOBEL, *settings)
    assert facts["loss"]["after"] < 1e-8 < facts["loss"]["before"]
    found = load_file("w.safetensors")["conv1.weight"]
    np.testing.assert_allclose(found[0, 0], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], atol=1e-3)
    assert run(["net", "run", "linear.yaml", "photo.png", "-w", "w.safetensors", "-o", "out.npy"]) == 0
    np.testing.assert_allclose(np.load("out.npy") * 255, np.load("sobel.npy"), atol=0.5)
    assert run(["filter", "photo.png", "-k", "w.safetensors#conv1.weight", "-o", "same.npy", "-q"]) == 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_steps_are_those_of_torchs_own_loop(
    place: Path, capsys: pytest.CaptureFixture[str], optimizer: str
) -> None:
    settings = ("--optimizer", optimizer, "--lr", "0.05", "--epochs", "20", "--dtype", "float64")
    curve = learn(capsys, *SOBEL, *settings)["curve"]
    start = initial({"conv1.weight": parameter()})["conv1.weight"]
    weight = torch.tensor(start, requires_grad=True)
    x = torch.tensor(np.asarray(Image.open("photo.png"), np.float64))[None, None] / 255
    y = torch.tensor(np.load("sobel.npy").astype(np.float64))[None, None] / 255
    stepper = (
        torch.optim.SGD([weight], lr=0.05, momentum=0.9)
        if optimizer == "sgd"
        else torch.optim.Adam([weight], lr=0.05)
    )
    losses = []
    for _ in range(20):
        loss = ((torch.nn.functional.conv2d(x, weight) - y) ** 2).mean()
        losses.append(loss.item())
        stepper.zero_grad()
        loss.backward()
        stepper.step()
    np.testing.assert_allclose([loss for _, loss, _ in curve[1:]], losses, rtol=1e-9)
    assert curve[0][1] == pytest.approx(losses[0])
    np.testing.assert_allclose(load_file("w.safetensors")["conv1.weight"], weight.detach(), atol=1e-12)


def parameter():
    from convcli.geometry.graph import Shape
    from convcli.networks.model import parameters_of

    return parameters_of(load_net(Path("linear.yaml")).trace(Shape(1, (96, 96))))["conv1.weight"]


AUTOENCODER = ("--net", str(SAMPLES / "autoencoder.yaml"), "crops", "-o", "ae.safetensors")


def test_the_autoencoders_loss_falls_tenfold(place: Path) -> None:
    done = ok(
        "learn",
        *AUTOENCODER,
        "--epochs",
        "60",
        "--lr",
        "0.02",
        "--batch",
        "6",
        "--curve",
        "curve.csv",
        cwd=place,
    )
    out = done.stdout.decode()
    assert out.startswith("autoencoder: 1@32x32 to 1@32x32, 1913 parameters\n12 examples\n")
    rows = [line.split(",") for line in Path("curve.csv").read_text().splitlines()]
    assert rows[0] == ["epoch", "loss"]
    assert [int(row[0]) for row in rows[1:]] == list(range(61))
    assert float(rows[-1][1]) < float(rows[1][1]) / 10
    assert out.splitlines()[-2:] == ["ae.safetensors", "curve.csv"]
    net = load_net(SAMPLES / "autoencoder.yaml")
    with Image.open("crops/05.png") as picture:
        pixels = np.asarray(picture).transpose(2, 0, 1)
    from convcli.geometry.graph import Shape
    from convcli.networks.model import parameters_of

    steps = net.trace(net.preprocess.output(Shape(3, (32, 32))))
    arrays = initial(parameters_of(steps), load_for(Path("ae.safetensors"), parameters_of(steps)))
    ours = TorchNet.load(net, steps, arrays).run(pixels)
    assert ((ours - pixels.mean(0) / 255) ** 2).mean() < 0.01
    ok(
        "net",
        "run",
        SAMPLES / "autoencoder.yaml",
        "crops/05.png",
        "-w",
        "ae.safetensors",
        "-o",
        "b.npy",
        cwd=place,
    )
    np.testing.assert_allclose(np.load("b.npy"), ours[0], atol=1e-6)


def test_the_same_seed_gives_the_same_weights(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = []
    for seed in ("5", "5", "6"):
        settings = ("--epochs", "4", "--batch", "3", "--seed", seed, "-y")
        learn(capsys, *AUTOENCODER, *settings)
        files.append(Path("ae.safetensors").read_bytes())
    assert files[0] == files[1] != files[2]


def test_examples_beyond_the_memory_meant_for_them_are_read_again(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("--epochs", "3", "--batch", "5", "--validation", "1/4", "-y")
    learn(capsys, *AUTOENCODER, *settings)
    kept = Path("ae.safetensors").read_bytes()
    reads: list[str] = []
    original = learn_net.opened

    def counted(name: str, options: ReadOptions, **how: bool) -> AbstractContextManager[Opened]:
        reads.append(name)
        return original(name, options, **how)

    monkeypatch.setattr(learn_net, "opened", counted)
    monkeypatch.setattr(learn_net, "MEMORY", 4 * 32 * 32 * 4)  # four pictures of twelve
    learn(capsys, *AUTOENCODER, *settings)
    assert Path("ae.safetensors").read_bytes() == kept
    counts = sorted(reads.count(name) for name in set(reads))
    assert counts[:4] == [1, 1, 1, 1] and counts[4] > 3


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_resumed_training_is_as_if_it_had_never_stopped(
    place: Path, capsys: pytest.CaptureFixture[str], optimizer: str
) -> None:
    settings = ("--batch", "5", "--optimizer", optimizer, "--validation", "1/4", "--patience", "9")
    whole = learn(capsys, *AUTOENCODER, *settings, "--epochs", "6")
    expected = load_file("ae.safetensors")
    learn(capsys, *AUTOENCODER, *settings, "--epochs", "2", "--checkpoint", "half.safetensors", "-y")
    again = learn(capsys, *AUTOENCODER, *settings, "--epochs", "6", "--resume", "half.safetensors", "-y")
    assert again["curve"] == whole["curve"]
    assert again["held_out"] == 3
    found = load_file("ae.safetensors")
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


def test_an_interrupted_training_keeps_its_checkpoint(place: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "convcli", "learn", *AUTOENCODER, "--epochs", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    checkpoint = place / "ae.checkpoint.safetensors"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    out, error = process.communicate(timeout=30)
    assert (process.returncode, out, error) == (130, b"", b"")
    assert sorted(path.name for path in place.iterdir() if path.suffix == ".safetensors") == [checkpoint.name]

    from convcli.learning.torch_training import read_checkpoint

    state, _ = read_checkpoint(checkpoint)
    last = state.curve[-1].number
    assert [epoch.number for epoch in state.curve] == list(range(last + 1))
    ok("learn", *AUTOENCODER, "--epochs", str(last + 1), "--resume", checkpoint, "-q", cwd=place)
    assert read_checkpoint(checkpoint)[0].curve[-1].number == last + 1


def test_a_loss_that_is_no_longer_finite_stops_and_keeps_the_last_good_state(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("--optimizer", "sgd", "--lr", "1e4", "--epochs", "100", "--momentum", "0")
    assert run(["learn", *SOBEL, *settings]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "the loss is " in captured.err
    assert " at step " in captured.err
    assert "give a smaller --lr than 10000" in captured.err
    assert not Path("w.safetensors").exists()
    kept = load_file("w.checkpoint.safetensors")["conv1.weight"]
    assert np.isfinite(kept).all()
    epoch = int(captured.err.partition("after epoch ")[2].split()[0])
    assert epoch > 0
    facts = learn(
        capsys, *SOBEL[:-2], "-o", "v.safetensors", "--epochs", str(epoch), *settings[:4], "--momentum", "0"
    )
    assert facts["epochs"] == epoch
    np.testing.assert_array_equal(load_file("v.safetensors")["conv1.weight"], kept)


def test_early_stop_keeps_the_best_weights(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ("--optimizer", "sgd", "--lr", "0.05", "--momentum", "0.98", "--patience", "3")
    facts = learn(capsys, *SOBEL, *settings, "--epochs", "60")
    losses = [watched for _, _, watched in facts["curve"]]
    assert 3 < facts["epochs"] < 60
    assert facts["kept"] == int(np.argmin(losses)) == facts["epochs"] - 3
    shorter = learn(
        capsys, *SOBEL[:-2], "-o", "v.safetensors", *settings[:-2], "--epochs", str(facts["kept"])
    )
    assert shorter["epochs"] == facts["kept"]
    np.testing.assert_array_equal(*(load_file(f"{name}.safetensors")["conv1.weight"] for name in "vw"))


@pytest.mark.parametrize("table", [False, True])
def test_classes_from_folders_or_a_table(
    place: Path, capsys: pytest.CaptureFixture[str], table: bool
) -> None:
    stripes()
    targets: tuple[str, ...] = ()
    if table:
        lines = [f"{path.name},{path.parent.name}" for path in Path("stripes").glob("*/*")]
        for path in Path("stripes").glob("upright/*"):
            path.rename(path.with_name(f"u{path.name}"))
        lines = [
            "file,label",
            *(f"stripes/{p.parent.name}/{p.name},{p.parent.name}" for p in Path("stripes").glob("*/*")),
        ]
        Path("labels.csv").write_text("\n".join(lines))
        targets = ("--target", "labels.csv")
    settings = (
        "--loss",
        "ce",
        "--epochs",
        "30",
        "--lr",
        "0.05",
        "--validation",
        "0.25",
        "-o",
        "c.safetensors",
    )
    facts = learn(capsys, "--net", "classes.yaml", "stripes", *targets, *settings)
    assert facts["classes"] == ["lying", "upright"]
    assert (facts["examples"], facts["held_out"]) == (12, 4)
    assert facts["accuracy"] == {"examples": 1.0, "held_out": 1.0}
    picture = next(Path("stripes/upright").iterdir())
    assert run(["net", "run", "classes.yaml", str(picture), "-w", "c.safetensors", "--top", "1"]) == 0
    assert capsys.readouterr().out.startswith("upright ")


def test_items_of_an_array_are_examples(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A batch with its targets trains as its items do in files of their own."""
    random, kernel = np.random.default_rng(0), np.array([[1.0, 2], [3, 4]])
    x = random.normal(size=(5, 1, 9, 8)).astype(np.float32)
    y = np.stack([scipy.ndimage.correlate(one[0], kernel)[1:, 1:][None] for one in x])
    np.save("x.npy", x)
    np.save("y.npy", y)
    Path("net.yaml").write_text("layers: [{conv: {size: 2, seed: 1}}]\n")
    for number, (one, target) in enumerate(zip(x, y, strict=True)):
        for folder, array in (("xs", one), ("ys", target)):
            Path(folder).mkdir(exist_ok=True)
            np.save(f"{folder}/{number}.npy", array)
    how = ("--net", "net.yaml", "--epochs", "3", "--batch", "2")
    batch = learn(capsys, "x.npy", "--target", "y.npy", "--axes", "NCYX", *how, "-o", "b.safetensors")
    files = learn(capsys, "xs", "--target", "ys", "--axes", "CYX", *how, "-o", "f.safetensors")
    assert (batch["examples"], batch["curve"]) == (5, files["curve"])
    np.testing.assert_array_equal(*(load_file(f"{name}.safetensors")["conv1.weight"] for name in "bf"))


def test_numbers_from_a_table(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(0)
    Path("signals").mkdir()
    lines = ["file,value"]
    for index in range(12):
        x = random.normal(size=4)
        np.save(f"signals/{index}.npy", x)
        lines.append(f"{index},{float(x @ [1, -2, 3, 0.5] + 4)!r}")
    Path("values.csv").write_text("\n".join(lines))
    settings = ("--optimizer", "sgd", "--lr", "0.1", "--epochs", "300", "-o", "d.safetensors")
    learn(capsys, "--net", "dense.yaml", "signals", "--target", "values.csv", *settings)
    found = load_file("d.safetensors")
    np.testing.assert_allclose(found["dense1.weight"], [[1, -2, 3, 0.5]], atol=1e-3)
    np.testing.assert_allclose(found["dense1.bias"], [4], atol=1e-3)


def test_bce_is_torchs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mask.yaml").write_text(LINEAR + "  - sigmoid\n")
    mask = (np.load("sobel.npy") > 40).astype(np.uint8) * 255
    Image.fromarray(mask).save("mask.png")
    facts = learn(
        capsys,
        "--net",
        "mask.yaml",
        "photo.png",
        "--target",
        "mask.png",
        "--loss",
        "bce",
        "--epochs",
        "1",
    )
    x = torch.tensor(np.asarray(Image.open("photo.png"), np.float32))[None, None] / 255
    scores = torch.nn.functional.conv2d(
        x, torch.tensor(initial({"conv1.weight": parameter()})["conv1.weight"]).float()
    )
    wanted = torch.tensor(mask, dtype=torch.float32)[None, None] / 255
    expected = torch.nn.functional.binary_cross_entropy(torch.sigmoid(scores), wanted)
    assert facts["loss"]["before"] == pytest.approx(float(expected), rel=1e-5)
    assert Path("mask.safetensors").exists()  # the default name


def test_pictures_of_several_sizes_train_together(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Image.open("photo.png") as photo:
        photo.crop((0, 0, 50, 40)).save("part.png")
    np.save("part.npy", np.load("sobel.npy")[:38, :48])
    facts = learn(capsys, *SOBEL, "part.png", "--target", "part.npy", "--epochs", "2", "--lr", "0.01")
    assert facts["examples"] == 2
    assert facts["steps"] == 4  # a batch has one size


def test_the_curve_is_drawn(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    learn(capsys, *SOBEL, "--epochs", "3", "--curve", "c.png", "--curve", "c.csv")
    with Image.open("c.png") as picture:
        assert picture.format == "PNG"
        assert len(set(np.asarray(picture.convert("L")).ravel().tolist())) > 10


def test_without_matplotlib_the_table_remains(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(["learn", *SOBEL, "--epochs", "1", "--curve", "c.png"]) == 1
    assert 'needs matplotlib: pip install "convcli[plot]"; .csv needs nothing' in capsys.readouterr().err
    assert not Path("w.checkpoint.safetensors").exists()
    learn(capsys, *SOBEL, "--epochs", "1", "--curve", "c.csv")


def test_the_drawing_follows_the_loss() -> None:
    """On a logarithmic scale losses that fall by one factor fall along a line; what has no logarithm is left out."""
    first, *lines = _curve([Epoch(n, 10.0**-n) for n in range(5)])
    assert first == "loss 1 to 0.0001, its logarithm over epochs 0 to 4"
    ends = [len(line) for line in lines]
    steps = np.diff(ends)
    assert ends[-1] == 80 and steps.min() > 0 and np.ptp(steps) <= 2
    assert list(_curve([Epoch(0, 0.0), Epoch(1, 1.0)])) == []


def bad_files() -> None:
    stripes()
    Path("labels.csv").write_text("file,label\n0,a\n")
    Path("ragged.csv").write_text("file,label\n0,a,b\n")
    Path("twice.csv").write_text("file,label\n0,a\n0,b\n")
    Path("fixed.yaml").write_text("layers: [relu]\n")
    Path("empty").mkdir()
    np.save("nan.npy", np.full((9, 9), np.nan))
    Path("torn.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")


BAD = [
    (["--net", "linear.yaml"], 2, "name a file or a folder of inputs"),
    (["--net", "none.yaml", "photo.png"], 1, "none.yaml"),
    ([*SOBEL, "--size", "3"], 2, "--size belongs to another job than --net"),
    (["--net", "linear.yaml", "photo.png"], 2, "makes 1@94x94 of 1@96x96"),
    (["--net", "linear.yaml", "photo.png", "--target", "photo.png"], 2, "the target is 1@96x96"),
    (["--net", "linear.yaml", "empty"], 1, "it holds no file that can be read"),
    (["--net", "linear.yaml", "nan.npy", "--target", "nan.npy"], 1, "missing values"),
    (["--net", "fixed.yaml", "photo.png"], 2, "no weights to learn"),
    ([*SOBEL, "--loss", "bce"], 2, "let the last layer be sigmoid"),
    ([*SOBEL[:3], "--loss", "ce"], 2, "end with flatten and dense"),
    ([*SOBEL, "--loss", "ce"], 2, "takes a table of labels"),
    ([*SOBEL, "--loss", "mes"], 2, "did you mean mse"),
    ([*SOBEL, "--epochs", "0"], 2, "epochs 0"),
    ([*SOBEL, "--lr", "0"], 2, "lr 0"),
    ([*SOBEL, "--momentum", "1"], 2, "momentum 1"),
    ([*SOBEL, "--batch", "0"], 2, "batch 0"),
    ([*SOBEL, "--patience", "0"], 2, "patience 0"),
    ([*SOBEL, "--validation", "1/2"], 2, "leaves none on one side"),
    ([*SOBEL, "--device", "cuda:77"], 2, "is not available"),
    ([*SOBEL, "-o", "w.npy"], 2, "written as .safetensors"),
    ([*SOBEL, "-o", "none/w.safetensors"], 1, "no folder"),
    ([*SOBEL, "--checkpoint", "w.safetensors"], 2, "need two names"),
    ([*SOBEL, "--curve", "c.gif"], 2, "a figure is written as .csv, .png"),
    ([*SOBEL, "--resume", "none.safetensors"], 1, "none.safetensors"),
    ([*SOBEL, "--resume", "torn.safetensors"], 1, "no .safetensors file, or a damaged one"),
    ([*SOBEL, "--weights", "torn.safetensors"], 1, "torn.safetensors"),
    (
        ["--net", "classes.yaml", "stripes", "--loss", "ce", "--target", "labels.csv"],
        1,
        "is not in its",
    ),
    (["--net", "classes.yaml", "stripes", "--loss", "ce", "--target", "ragged.csv"], 1, "3 cells"),
    (
        ["--net", "classes.yaml", "stripes", "--loss", "ce", "--target", "twice.csv"],
        1,
        "named twice",
    ),
    (["--net", "classes.yaml", "stripes", "crops", "--loss", "ce"], 2, "3 classes"),
]


@pytest.mark.parametrize(("arguments", "code", "text"), BAD, ids=lambda value: str(value)[-60:])
def test_what_cannot_be_trained_is_one_line(
    arguments: list[str], code: int, text: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad_files()
    before = sorted(place.iterdir())
    assert run(["learn", *arguments]) == code
    captured = capsys.readouterr()
    assert text in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert sorted(place.iterdir()) == before


def test_a_checkpoint_of_another_net_or_optimizer_is_refused(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn(capsys, *SOBEL, "--epochs", "1", "--optimizer", "sgd")
    resumed = ("--resume", "w.checkpoint.safetensors", "-y", "--epochs", "2")
    assert run(["learn", *SOBEL, *resumed]) == 2
    assert "trained with sgd: say --optimizer sgd" in capsys.readouterr().err
    assert run(["learn", *AUTOENCODER, *resumed, "--optimizer", "sgd"]) == 2
    assert "net 'autoencoder': the checkpoint is of another net" in capsys.readouterr().err
    assert run(["learn", *SOBEL, "-o", "v.safetensors", "--resume", "w.safetensors"]) == 1
    assert "weights alone (--weights w.safetensors starts from them)" in capsys.readouterr().err
    assert run(["learn", *SOBEL, *resumed, "--optimizer", "sgd", "--lr", "0.02"]) == 0
    assert "resumed differently: rate was None and is 0.02" in capsys.readouterr().err


def _spoil(name: str, arrays: dict[str, np.ndarray], facts: str) -> None:
    weights = load_file("w.checkpoint.safetensors")
    save_file({**weights, **arrays}, name, {"training": facts})


@pytest.mark.parametrize(
    ("arrays", "facts"),
    [
        ({}, "[" * 100_000),
        ({}, '{"steps": Infinity, "curve": [[1, 0.5, null]], "settings": {}}'),
        ({}, '{"steps": 2, "curve": [[-4, 0.5, null]], "settings": {}}'),
        ({"optimizer/conv1.weight/exp_avg": np.ones(7, np.float32)}, ""),
        ({"optimizer/conv1.weight/exp_avg": np.ones((1, 1, 3, 3), np.int64)}, ""),
        ({"optimizer/conv9.weight/exp_avg": np.ones((1, 1, 3, 3), np.float32)}, ""),
        ({"best/conv1.weight": np.ones(7, np.float32)}, ""),
    ],
    ids=["depth", "infinite", "before the first epoch", "shape", "type", "name", "best"],
)
def test_a_damaged_checkpoint_is_one_line(
    arrays: dict[str, np.ndarray], facts: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn(capsys, *SOBEL, "--epochs", "1")
    with safe_open("w.checkpoint.safetensors", "numpy") as file:
        facts = facts or file.metadata()["training"]
    _spoil("bad.safetensors", arrays, facts)
    assert run(["learn", *SOBEL, "-o", "v.safetensors", "--resume", "bad.safetensors", "--epochs", "2"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "damaged" in line and "internal" not in line
    assert not Path("v.safetensors").exists()


def test_nothing_is_made_beside_the_output(place: Path, tmp_path: Path) -> None:
    """torch's compiler would make folders in the temporary directory, and connect to ask for the user's name."""
    (tmp_path / "temporary").mkdir()
    (tmp_path / "net.yaml").write_text("layers: [conv: {size: 3, padding: 1, seed: 1}]")
    Image.new("L", (9, 9), 7).save(tmp_path / "a.png")
    code = (
        "import sys\nfrom convcli.cli.program import run\n"
        "code = run(['learn', 'a.png', '--net', 'net.yaml', '-o', 'w.safetensors', '--epochs', '2', '-q'])\n"
        "sys.exit(code or sum(name in sys.modules for name in ('torch._dynamo', 'torch._inductor')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        capture_output=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert not any((tmp_path / "temporary").iterdir())
