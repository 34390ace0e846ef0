"""``convcli net`` as a person runs it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from convcli.cli.net.request import parse_shifts
from convcli.cli.shared.files import expand
from tests.shell import SAMPLES, convcli, ok

HOUSE = SAMPLES / "house.png"
PYRAMID = SAMPLES / "pyramid.yaml"
LENET = SAMPLES / "lenet.yaml"


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_show_prints_the_table_of_shape() -> None:
    lines = ok("net", "show", LENET).stdout.decode().splitlines()
    assert lines[0].split() == ["layer", "output", "field", "jump", "start", "params", "mult-adds", "unused"]
    assert lines[2].split() == ["conv1", "conv:6@5x5", "6@28x28", "5", "1", "2", "156", "117600", "0"]
    assert lines[-2].split() == ["total", "61706", "416520"]
    assert lines[-1] == "10"


def test_show_for_another_input_and_other_classes() -> None:
    done = ok("net", "show", LENET, "--input", "3@512x512", "--num-classes", "26")
    assert done.stdout.startswith(b"preprocess: 3@512x512 becomes 1@32x32\n")
    assert done.stdout.endswith(b"\n26\n")
    facts = json.loads(ok("net", "show", LENET, "--json").stdout)
    assert facts["parameters"] == 61706
    assert facts["layers"][0]["output"] == "6@28x28"


def test_show_reads_the_axes_of_a_size_as_run_does() -> None:
    done = convcli("net", "show", LENET, "--input", "3x32x32")
    assert done.stderr.endswith(b"(if 3 counts channels, say --input 3@32x32)\n")


@pytest.mark.parametrize("net", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_sample_is_a_net(net: Path) -> None:
    ok("net", "show", net, "--input", "3@64x64", "-q")


def test_show_draws(tmp_path: Path) -> None:
    for name in ("l.svg", "l.dot"):
        ok("net", "show", LENET, "-o", name, cwd=tmp_path)
    texts = [
        part.text or "" for part in ElementTree.parse(tmp_path / "l.svg").iter() if part.tag.endswith("text")
    ]
    assert "conv2 conv:16@5x5" in texts
    assert "16@10x10" in texts
    dot = (tmp_path / "l.dot").read_text()
    assert dot.count(" -> ") == 14  # 13 layers, and one arrow more
    assert 'label="6@14x14"' in dot
    done = convcli("net", "show", LENET, "-o", "one.png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        2,
        b"error: 'one.png': a graph is drawn as .svg or, for Graphviz, .dot\n",
    )


def pyramid(image: np.ndarray) -> torch.Tensor:
    taps = torch.tensor([1.0, 4, 6, 4, 1]) / 16
    kernel = torch.outer(taps, taps).repeat(3, 1, 1, 1)
    x = torch.from_numpy(image.astype(np.float32).transpose(2, 0, 1))[None]
    for _ in range(3):
        x = nn.functional.conv2d(
            nn.functional.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=3
        )
    return x[0]


@pytest.mark.parametrize("block", [(), ("--block", 3)])
def test_run_writes_arrays_and_pictures(block: tuple[object, ...], tmp_path: Path) -> None:
    image = pixels_of(HOUSE)
    expected = pyramid(image).numpy()
    ok("net", "run", PYRAMID, HOUSE, "-o", "p.npy", *block, cwd=tmp_path)
    found = np.load(tmp_path / "p.npy")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-3)
    done = ok("net", "run", PYRAMID, HOUSE, "-o", "p.png", *block, cwd=tmp_path)
    assert done.stdout == b"p.png\n"
    assert done.stderr == b""
    pixels = pixels_of(tmp_path / "p.png")
    assert np.abs(pixels.transpose(2, 0, 1) - expected).max() <= 0.501


def test_run_through_pipes() -> None:
    data = ok("net", "run", PYRAMID, "-", "-o", "-", "--format", "npy", stdin=HOUSE.read_bytes()).stdout
    assert data[:6] == b"\x93NUMPY"
    assert len(data) == 128 + 3 * 30 * 40 * 4


def test_several_maps_become_several_pictures(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(1).random((9, 9)))
    (tmp_path / "n.yaml").write_text("layers:\n- conv: {maps: 2, size: 3, seed: 1}\n")
    done = ok("net", "run", "n.yaml", "a.npy", "-o", "m.png", "--range", "minmax", cwd=tmp_path)
    assert done.stdout == b"m.0.png\nm.1.png\n"
    assert pixels_of(tmp_path / "m.1.png").shape == (7, 7)


def test_maps_and_output_need_two_names(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text("layers:\n- conv: {maps: 2, size: 3, seed: 1}\n")
    for maps in ("./o.png", "o.1.png"):
        done = convcli("net", "run", "n.yaml", HOUSE, "-o", "o.png", "--maps", maps, "-y", cwd=tmp_path)
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
        assert b"named for two outputs" in done.stderr
        assert not (tmp_path / "o.png").exists()


def test_percentiles_of_all_maps(tmp_path: Path) -> None:
    data = np.random.default_rng(1).normal(100, 30, (19, 17)).astype(np.float32)
    np.save(tmp_path / "a.npy", data)
    (tmp_path / "n.yaml").write_text("layers:\n- conv: {kernel: '1,2,0;0,0,-1'}\n")
    done = ok("net", "run", "n.yaml", "a.npy", "-o", "m.png", "--range", "percentile:5:90", cwd=tmp_path)
    values = data[:-1, :-2].astype(float) + 2 * data[:-1, 1:-1] - data[1:, 2:]
    low, high = np.percentile(values, [5, 90])
    exact = ((values - low) / (high - low) * 255).clip(0, 255)
    assert np.abs(pixels_of(tmp_path / "m.png") - exact).max() <= 0.501
    assert b" % clipped by --range percentile:5:90; that is" in done.stderr


def test_a_signal_keeps_its_channels_as_columns(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("a,b\n1,2\n3,5\n4,4\n8,1\n")
    (tmp_path / "n.yaml").write_text("layers:\n- conv: {kernel: '1,-1', rank: 1}\n")
    ok("net", "run", "n.yaml", "s.csv", "-o", "o.csv", "--columns", "1-2", cwd=tmp_path)
    assert np.loadtxt(tmp_path / "o.csv", delimiter=",").tolist() == [[-2, -3], [-1, 1], [-4, 3]]


@pytest.mark.parametrize("axes", ["NCYX", "NYXC", "CYNX"])
def test_every_item_of_a_batch_goes_through_the_net_alone(axes: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    batch, weights = rng.normal(size=(4, 2, 7, 9)), rng.normal(size=(3, 2, 3, 2))
    np.save(tmp_path / "w.npy", weights)
    np.save(tmp_path / "a.npy", batch.transpose(["NCYX".index(letter) for letter in axes]))
    (tmp_path / "n.yaml").write_text("layers:\n- conv: {weights: w.npy, stride: [2, 1]}\n- relu\n")
    ok("net", "run", "n.yaml", "a.npy", "--axes", axes, "-o", "o.npy", cwd=tmp_path)
    expected = torch.relu(
        nn.functional.conv2d(torch.from_numpy(batch), torch.from_numpy(weights), stride=(2, 1))
    )
    found = np.load(tmp_path / "o.npy")
    order = ["NCYX".index(letter) for letter in ("CYNX" if axes == "CYNX" else "NCYX")]
    np.testing.assert_allclose(found, expected.numpy().transpose(order), rtol=1e-5, atol=1e-5)


def test_scores_of_every_item(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text("layers:\n- flatten\n- dense: {weights: [[1, 0], [0, 1], [1, 1]]}\n")
    np.save(tmp_path / "a.npy", np.array([[3.0, 5.0], [2.0, -1.0]]))
    run = ["net", "run", "n.yaml", "a.npy", "--axes", "NX"]
    assert json.loads(ok(*run, "--json", cwd=tmp_path).stdout)["scores"] == [[3, 5, 8], [2, -1, 1]]
    said = ok(*run, "--top", "1", cwd=tmp_path).stdout.decode().splitlines()
    assert said == ["item 0", "class 2   8", "item 1", "class 0   2"]
    ok(*run, "-o", "o.npy", cwd=tmp_path)
    assert np.load(tmp_path / "o.npy").tolist() == [[3, 5, 8], [2, -1, 1]]
    refused = convcli(*run, "--maps", "m.png", cwd=tmp_path)
    assert (refused.returncode, b"draws one item" in refused.stderr) == (2, True)


def test_class_scores(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(
        "labels: [left, right, up]\nlayers:\n- flatten\n"
        "- dense: {weights: [[1, 0], [0, 1], [1, 1]], bias: [0, 0, -9]}\n"
    )
    np.save(tmp_path / "a.npy", np.array([3.0, 5.0]))
    assert ok("net", "run", "n.yaml", "a.npy", cwd=tmp_path).stdout.decode().splitlines() == [
        "right   5", "left    3", "up     -1",
    ]  # fmt: skip
    facts = json.loads(ok("net", "run", "n.yaml", "a.npy", "--json", cwd=tmp_path).stdout)
    assert facts["scores"] == [3.0, 5.0, -1.0]
    assert facts["labels"] == ["left", "right", "up"]
    assert ok("net", "run", "n.yaml", "a.npy", "--top", "1", cwd=tmp_path).stdout == b"right   5\n"
    ok("net", "run", "n.yaml", "a.npy", "-o", "s.csv", cwd=tmp_path)
    assert (tmp_path / "s.csv").read_text().split() == ["3.0", "5.0", "-1.0"]


@pytest.fixture
def classifier(tmp_path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A folder with a net, its weights, and 12 arrays in the folders of their classes; scores by torch."""
    random = np.random.default_rng(8)
    torch.manual_seed(8)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 5, 3)).double()
    layers = "- conv: {maps: 4, size: 3, name: c}\n- relu\n- flatten\n- dense: {outputs: 3, name: d}\n"
    (tmp_path / "n.yaml").write_text(f"input: 1@6x7\nlayers:\n{layers}")
    names = {"c.weight": "0.weight", "c.bias": "0.bias", "d.weight": "3.weight", "d.bias": "3.bias"}
    np.savez(tmp_path / "w.npz", **{own: model.state_dict()[one].numpy() for own, one in names.items()})
    scores = {}
    for number in range(12):
        path = tmp_path / "set" / "abc"[number % 3] / f"{number}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        data = random.normal(size=(6, 7))
        np.save(path, data)
        with torch.no_grad():
            scores[path.relative_to(tmp_path).as_posix()] = model(torch.from_numpy(data)[None, None])[
                0
            ].numpy()
    return tmp_path, scores


def test_a_classifier_on_folders(classifier: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, scores = classifier
    run = ("net", "run", "n.yaml", "set", "-w", "w.npz", "--labels", "folders")
    facts = json.loads(ok(*run, "--json", cwd=folder).stdout)
    found = facts["classified"]
    confusion = np.zeros((3, 3), int)
    for name, row in scores.items():
        confusion["abc".index(name[4]), row.argmax()] += 1
    assert found["names"] == ["a", "b", "c"]
    assert found["confusion"] == confusion.tolist()
    assert found["accuracy"] == pytest.approx(confusion.trace() / 12)
    for index, one in enumerate(found["classes"]):
        hit, known, said = confusion[index, index], confusion[index].sum(), confusion[:, index].sum()
        assert (one["files"], one["found"], one["recall"]) == (known, said, hit / known)
        assert one["precision"] == (hit / said if said else None)
    for verdict in found["verdicts"]:
        shares = torch.softmax(torch.from_numpy(scores[verdict["file"]]), 0).numpy()
        assert verdict["of_true"] == pytest.approx(shares["abc".index(verdict["file"][4])], abs=1e-5)
        assert verdict["probability"] == pytest.approx(shares.max(), abs=1e-5)
    frames = ("set/a/%d.npy", "set/b/*.npy", "set/c")
    named = ok(*run[:3], *frames, *run[4:], "--json", cwd=folder).stdout
    assert json.loads(named)["classified"]["confusion"] == found["confusion"]
    lines = ok(*run, cwd=folder).stdout.decode().splitlines()
    assert lines[0] == f"accuracy {confusion.trace() / 12:.4g}: {confusion.trace()} of 12 files"
    assert [line.split() for line in lines if line[:2] in ("a ", "b ", "c ")][3:] == [
        ["abc"[index], *map(str, row)] for index, row in enumerate(confusion.tolist())
    ]
    likely = min(
        scores, key=lambda name: torch.softmax(torch.from_numpy(scores[name]), 0)["abc".index(name[4])]
    )
    worst = next(number for number, line in enumerate(lines) if line.startswith("worst"))
    assert lines[worst + 1].split()[0] == likely


def test_a_classifier_on_a_table_of_files(classifier: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, scores = classifier
    best = {name: int(row.argmax()) for name, row in scores.items()}
    table = "file,label\n" + "".join(f"{name[4:]},{best[name]}\n" for name in scores)
    (folder / "set" / "all.csv").write_text(table)  # its files lie beside it
    done = ok("net", "run", "n.yaml", "set/all.csv", "-w", "w.npz", "-q", cwd=folder)
    assert done.stdout == b"accuracy 1: 12 of 12 files\n"
    ok("net", "run", "n.yaml", "set/a", "-w", "w.npz", "--layer", "c", "-o", "{n}-{stem}.npy", cwd=folder)
    assert np.load(folder / "2-3.npy").shape == (4, 4, 5)


def test_a_file_that_fails_does_not_stop_the_others(classifier: tuple[Path, dict[str, np.ndarray]]) -> None:
    folder, _ = classifier
    np.save(folder / "set" / "a" / "wide.npy", np.ones((6, 9)))
    done = convcli("net", "run", "n.yaml", "set/a", "gone.npy", "-w", "w.npz", cwd=folder)
    assert done.returncode == 2
    assert done.stdout.count(b"\n") == 5
    errors = done.stderr.decode().splitlines()
    assert len(errors) == 3
    assert errors[0].startswith("error: 'set/a/wide.npy': ")
    assert errors[1:] == ["error: 'gone.npy': no such file", "error: 2 of 6 inputs failed"]
    for options, words in {
        ("set", "-o", "all.npy"): b"put {stem} or {n} in the name",
        ("set", "set", "-o", "{stem}.npy"): b"two inputs have one output: put {n} in the name",
        ("set", "--labels", "gone"): b"--labels 'gone': no such file; write folders, or a table",
        ("set", "--labels", "n.yaml"): b"--labels is folders, or a table",
        ("set", "--labels", "folders", "--layer", "c"): b"--labels counts classes",
    }.items():
        done = convcli("net", "run", "n.yaml", *options, "-w", "w.npz", cwd=folder)
        assert done.returncode == 2
        assert words in done.stderr


def test_maps_of_a_layer_with_the_input_beside(tmp_path: Path) -> None:
    options = ("--layer", "conv1", "--maps", "m.png", "--with-input", "--count", "4", "--range", "grey")
    done = ok("net", "run", LENET, HOUSE, *options, cwd=tmp_path)
    assert done.stdout == b"m.png\n"
    picture = pixels_of(tmp_path / "m.png").astype(int)
    assert picture.shape[0] > 280  # two rows of maps
    coloured = np.ptp(picture, axis=2) > 40
    assert coloured[:, : picture.shape[1] // 3].any()  # the photo at the left
    assert not coloured[:, -300:].any()  # grey maps at the right


def test_the_last_layer_with_maps_is_drawn_when_the_output_is_flat(tmp_path: Path) -> None:
    done = ok("net", "run", LENET, HOUSE, "--maps", "m.png", cwd=tmp_path)
    assert done.stdout.decode().splitlines()[-1] == "m.png"
    assert len(done.stdout.decode().splitlines()) == 6  # and the five best classes


def test_alpha_is_left_out_and_said(tmp_path: Path) -> None:
    Image.new("RGBA", (12, 12), (10, 20, 30, 128)).save(tmp_path / "a.png")
    (tmp_path / "n.yaml").write_text("layers: [pool: {size: 2}]")
    done = ok("net", "run", "n.yaml", "a.png", "-o", "b.png", cwd=tmp_path)
    assert b"alpha" in done.stderr
    assert pixels_of(tmp_path / "b.png")[3, 3].tolist() == [10, 20, 30]


def test_check_shows_the_claim() -> None:
    lines = ok("net", "check", SAMPLES / "sobel-pool.yaml", HOUSE).stdout.decode().splitlines()
    table = {line.split()[0]: line.split() for line in lines[1:]}
    assert table["conv1"][2:6] == ["1", "1-8", "0", "-"]
    assert table["pool1"][2:5] == ["2", "2,4,6,8", "0"]
    assert table["pool2"][2:5] == ["4", "4,8", "0"]
    assert float(table["pool2"][5]) > 0.1
    assert table["gpool1"][-3:] == ["0", "…", "0"]
    facts = json.loads(
        ok("net", "check", SAMPLES / "sobel-pool.yaml", HOUSE, "--shifts", "2,3", "--json").stdout
    )
    assert facts["layers"][1]["holds_at"] == [2]


def testparse_shifts() -> None:
    assert parse_shifts("1-3,2,9") == [1, 2, 3, 9]


# A pretrained net: CONTRIBUTING says how to put its weights on the path

ONET = """
name: onet
input: 3@48x48
preprocess: {scale: 0.0078125, mean: 0.99609375}    # (x - 127.5) / 128
layers:
  - conv: {maps: 32, size: 3}
  - prelu
  - pool: {size: 3, stride: 2, ceil: true}
  - conv: {maps: 64, size: 3}
  - prelu
  - pool: {size: 3, stride: 2, ceil: true}
  - conv: {maps: 64, size: 3}
  - prelu
"""


def test_a_pretrained_net_on_the_astronaut(tmp_path: Path) -> None:
    package = importlib.util.find_spec("facenet_pytorch")
    if package is None or not package.submodule_search_locations:
        pytest.skip("facenet-pytorch, which holds the weights, is not installed")
    weights = Path(package.submodule_search_locations[0]) / "data" / "onet.pt"
    astronaut = pytest.importorskip("skimage.data").astronaut()
    Image.fromarray(astronaut).save(tmp_path / "a.png")
    (tmp_path / "onet.yaml").write_text(ONET)
    run = ("net", "run", "onet.yaml", "a.png", "-w", weights)
    ok(*run, "--layer", "prelu1", "--maps", "m.png", "--with-input", cwd=tmp_path)
    ok(*run, "-o", "o.npy", "--block", "20", cwd=tmp_path)

    state = torch.load(weights, weights_only=True)
    same = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.PReLU(32), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(32, 64, 3), nn.PReLU(64),
        nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(64, 64, 3), nn.PReLU(64),
    )  # fmt: skip
    names = {0: "conv1", 1: "prelu1", 3: "conv2", 4: "prelu2", 6: "conv3", 7: "prelu3"}
    numbers = {
        f"{index}.{what}": f"{name}.{what}" for index, name in names.items() for what in ("weight", "bias")
    }
    same.load_state_dict({key: state[stored] for key, stored in numbers.items() if stored in state})
    with torch.no_grad():
        expected = same(
            (torch.from_numpy(astronaut.astype(np.float32).transpose(2, 0, 1))[None] - 127.5) / 128
        )
    np.testing.assert_allclose(np.load(tmp_path / "o.npy"), expected[0].numpy(), atol=2e-5)
    assert min(pixels_of(tmp_path / "m.png").shape[:2]) > 1000


# What goes wrong


def files(folder: Path) -> None:
    (folder / "ok.yaml").write_text("layers: [pool: {size: 2}]")
    (folder / "misfit.yaml").write_text("layers: [relu, conv: {weights: w.npy}]")
    (folder / "three.yaml").write_text("input: 3@9x9\nlayers: [conv: {maps: 2, size: 3, bias: false}]")
    np.savez(folder / "three.npz", **{"conv1.weight": np.ones((2, 3, 3, 3))})
    Image.new("L", (9, 9)).save(folder / "grey.png")
    (folder / "open.yaml").write_text("layers: [conv: {maps: 2, size: 3}]")
    (folder / "flat.yaml").write_text("seed: 0\nlabels: [a]\nlayers: [flatten, dense: {outputs: 2}]")
    (folder / "scores.yaml").write_text("seed: 0\nlayers: [flatten, dense: {outputs: 2}]")
    np.save(folder / "w.npy", np.ones((2, 4, 3, 3)))
    np.save(folder / "a.npy", np.ones((9, 9)))
    np.save(folder / "c.npy", np.ones((3, 9, 9)))
    np.save(folder / "four.npy", np.ones((2, 3, 9, 9)))
    (folder / "up.yaml").write_text("layers: [upsample: {scale: 2, mode: bilinear}]")
    (folder / "tconv.yaml").write_text("seed: 1\nlayers: [tconv: {maps: 2, size: 3, stride: 2}]")
    Image.new("RGB", (9, 9)).save(folder / "a.png")
    (folder / "old.png").write_bytes(b"old")
    (folder / "code.pth").write_bytes(b"\x80\x02c__builtin__\nprint\nX\x01\x00\x00\x00aR.")


RUN = ("net", "run")
CASES: dict[str, tuple[tuple[str, ...], int, tuple[str, ...]]] = {
    "no net": ((*RUN, "no.yaml", "a.png", "-o", "b.png"), 1, ("no.yaml", "no such file")),
    "no input": ((*RUN, "ok.yaml", "no.png", "-o", "b.png"), 1, ("no.png",)),
    "no output": ((*RUN, "ok.yaml", "a.png"), 2, ("3@4x4", "-o", "--maps")),
    "an existing output": ((*RUN, "ok.yaml", "a.png", "-o", "old.png"), 1, ("exists",)),
    "existing maps": ((*RUN, "ok.yaml", "a.png", "--maps", "old.png"), 1, ("exists",)),
    "onto the input": ((*RUN, "ok.yaml", "a.png", "-o", "a.png"), 1, ("input",)),
    "a layer that does not fit": (
        (*RUN, "misfit.yaml", "a.png", "-o", "b.png"), 2, ("layer 2 (conv1) on 3@9x9", "take 4", "3 come in"),
    ),
    "a grey picture for a net of colours": (
        (*RUN, "three.yaml", "grey.png", "-w", "three.npz", "-o", "b.npy"), 2,
        ("'grey.png': the net takes 3 channels, and it has 1",),
    ),
    "weights left open": ((*RUN, "open.yaml", "a.png", "-o", "b.npy"), 2, ("conv1.weight", "--weights", "seed")),
    "pickled code": (
        (*RUN, "open.yaml", "a.png", "-o", "b.npy", "-w", "code.pth"), 1, ("code.pth", "can run code"),
    ),
    "a wrong layer": ((*RUN, "ok.yaml", "a.png", "-o", "b.png", "--layer", "pol1"), 2, ("pol1", "pool1")),
    "maps of flat numbers": (
        (*RUN, "scores.yaml", "a.png", "--layer", "dense1", "--maps", "m.png"), 2, ("dense1", "flat"),
    ),
    "labels of another number": ((*RUN, "flat.yaml", "a.png"), 2, ("1 labels for the 2",)),
    "axes untold": ((*RUN, "misfit.yaml", "c.npy", "-o", "b.npy"), 2, ("--axes CYX",)),
    "a wrong colour map": ((*RUN, "ok.yaml", "a.png", "--maps", "m.png", "--range", "virids"), 2, ("viridis",)),
    "maps as numbers": ((*RUN, "ok.yaml", "a.png", "--maps", "m.csv"), 2, ("picture",)),
    "blocks of a whole": (
        (*RUN, "scores.yaml", "a.png", "--layer", "flatten1", "--maps", "m.png", "--block", "2"), 2, ("flat",),
    ),
    "blocks of scores": ((*RUN, "scores.yaml", "a.png", "--block", "2"), 2, ("--block", "flatten1")),
    "count 0": ((*RUN, "ok.yaml", "a.png", "--maps", "m.png", "--count", "0"), 2, ("--count 0",)),
    "input beside nothing": ((*RUN, "ok.yaml", "a.png", "-o", "b.png", "--with-input"), 2, ("--maps",)),
    "no such device": ((*RUN, "ok.yaml", "a.png", "-o", "b.png", "--device", "abacus"), 2, ("abacus",)),
    "a folder as a size": (
        ("learn", "--net", "ok.yaml", "--input", "."), 2, ("--input is a size", "convcli learn . --net"),
    ),
    "nothing to show": (("net", "show", "ok.yaml"), 2, ("--input",)),
    "a bad size": (("net", "show", "ok.yaml", "--input", "3@x"), 2, ("input 'x'",)),
    "four axes, upsample": ((*RUN, "up.yaml", "four.npy", "-o", "b.npy"), 2, ("at most 3 axes", "--axes CZYX")),
    "four axes, tconv": ((*RUN, "tconv.yaml", "four.npy", "-o", "b.npy"), 2, ("at most 3 axes",)),
    "a shift too far": (("net", "check", "ok.yaml", "a.png", "--shifts", "9"), 2, ("9",)),
    "shift 0": (("net", "check", "ok.yaml", "a.png", "--shifts", "0-3"), 2, ("shift 0",)),
    "no such axis": (("net", "check", "ok.yaml", "a.png", "--along", "z"), 2, ("--along z", "y, x")),
}  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        (*RUN, "scores.yaml", "a.png"),
        (*RUN, "scores.yaml", "a.png", "grey.png"),
        ("net", "check", "up.yaml", "a.png"),
        ("learn", "a.png", "a.png", "--net", "scores.yaml", "-o", "b.safetensors"),
        ("filter", "a.png", "-k", "box:3", "--engine", "torch", "-o", "b.png"),
    ],
)
def test_without_torch_a_line_says_so(words: tuple[str, ...], tmp_path: Path) -> None:
    files(tmp_path)
    before = sorted(tmp_path.iterdir())
    code = "import sys; sys.modules['torch'] = None; from convcli.cli.program import run; sys.exit(run(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "needs torch: pip install torch" in done.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_nothing_written(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from convcli.cli.program import run

    arguments, code, fragments = CASES[name]
    files(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.chdir(tmp_path)
    assert run(list(arguments)) == code
    told = capsys.readouterr()
    assert told.err.count("\n") == 1, told.err
    for fragment in fragments:
        assert fragment in told.err
    assert told.out == ""
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_error_leaves_no_trace_in_a_process_either(tmp_path: Path) -> None:
    files(tmp_path)
    done = convcli("net", "run", "ok.yaml", "a.png", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ")


def test_unflatten_may_change_how_many_axes_there_are(tmp_path: Path) -> None:
    """A decoder of vectors: each row of an array is one."""
    codes = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32)
    np.save(tmp_path / "codes.npy", codes)
    (tmp_path / "net.yaml").write_text(
        "layers: [flatten, {dense: {outputs: 12}}, {unflatten: {shape: 1@3x4}}]\n"
    )
    words = ("net", "run", "net.yaml", "codes.npy", "--axes", "NX", "--seed", "1")
    ok(*words, "-o", "maps.npy", cwd=tmp_path)
    ok(*words, "--layer", "dense1", "-o", "flat.npy", cwd=tmp_path)
    np.testing.assert_array_equal(
        np.load(tmp_path / "maps.npy"), np.load(tmp_path / "flat.npy").reshape(3, 3, 4)
    )


def test_a_store_is_one_example(tmp_path: Path) -> None:
    zarr = pytest.importorskip("zarr")
    for name in ("b.zarr", "within/a.zarr"):
        zarr.save(str(tmp_path / name), np.zeros((4, 4), np.uint8))
    assert [(one.key, one.in_folder) for one in expand([str(tmp_path)])] == [("b", True), ("within/a", True)]
    assert [one.key for one in expand([str(tmp_path / "b.zarr")])] == ["b"]
