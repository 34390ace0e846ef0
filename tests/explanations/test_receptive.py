"""What an output of a net sees: the arithmetic against the gradient, and both on the shell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from convcli.cli.program import run
from convcli.data.box import whole as whole_box
from convcli.explanations.layer import layer_value
from convcli.explanations.receptive import seen_by
from convcli.geometry.grammar import parse_layers
from convcli.geometry.graph import Shape, trace
from convcli.networks.model import parameters_of
from convcli.networks.parse import load_net
from convcli.networks.torch_run import Part, TorchNet, apply
from convcli.networks.weights import initial
from tests.shell import SAMPLES, convcli, ok


def model_of(path: Path, array: np.ndarray) -> TorchNet:
    net = load_net(path)
    steps = net.trace(net.preprocess.output(Shape(len(array), array.shape[1:])))
    return TorchNet.load(net, steps, initial(parameters_of(steps)), "float64")


@pytest.fixture
def positive(tmp_path: Path) -> Path:
    """A chain of means and sums: no gradient can cancel."""
    path = tmp_path / "net.yaml"
    path.write_text(
        "layers:\n"
        '  - conv: {kernel: "box:3x5", stride: 2x1, padding: 1x2}\n'
        "  - relu\n"
        "  - pool: {kind: avg, size: 2}\n"
        '  - conv: {kernel: "box:3", dilation: 2}\n'
    )
    return path


def test_the_gradient_fills_the_theoretical_field(positive):
    array = np.random.default_rng(1).uniform(1, 2, (1, 60, 40))
    found = seen_by(model_of(positive, array), array, (5, 7))
    rows = trace(parse_layers(["conv:3x5,s=2x1,p=1x2", "pool:avg:2", "conv:3,d=2"]), None, (60, 40))
    sizes = [tuple(stop - start for start, stop in seen.sees) for seen in found]
    assert [sizes[index] for index in (0, 2, 3)] == [row.field for row in rows]
    assert found[1].sees == found[0].sees
    for seen in found:
        touched = np.argwhere(seen.gradient > 0)
        assert touched.min(0).tolist() == [start for start, _ in seen.sees]
        assert (touched.max(0) + 1).tolist() == [stop for _, stop in seen.sees]
        assert seen.gradient.max() == 1
    assert found[-1].at == (5, 7)


def test_what_lies_outside_is_padding(positive):
    array = np.ones((1, 60, 40))
    corner = seen_by(model_of(positive, array), array, (0, 0))[-1]
    assert corner.sees[0][0] == -1 and corner.sees[1][0] == -2
    assert [start for start, _ in corner.effective] == [0, 0]


def test_a_pyramids_effective_field_is_smaller_than_its_theoretical_one():
    array = np.random.default_rng(2).uniform(0, 255, (1, 64, 64))
    last = seen_by(model_of(SAMPLES / "pyramid.yaml", array), array, (4, 4))[-1]
    assert [stop - start for start, stop in last.sees] == [29, 29]
    assert all(5 < stop - start < 29 for start, stop in last.effective)


def test_a_maximum_sees_only_where_it_came_from(tmp_path):
    (tmp_path / "net.yaml").write_text("layers:\n  - pool: {kind: max, size: 4}\n")
    array = np.zeros((1, 8, 8))
    array[0, 5, 6] = 1
    (seen,) = seen_by(model_of(tmp_path / "net.yaml", array), array, (1, 1))
    assert seen.sees == ((4, 8), (4, 8)) and seen.effective == ((5, 6), (6, 7))


def test_gradients_of_either_sign_count(tmp_path):
    (tmp_path / "net.yaml").write_text('layers:\n  - conv: {kernel: "-2,0,1;0,0,0"}\n')
    array = np.random.default_rng(3).normal(size=(1, 4, 5))
    (seen,) = seen_by(model_of(tmp_path / "net.yaml", array), array, (1, 2))
    assert seen.gradient[1].tolist() == [0, 0, 1, 0, 0.5]


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command in this process: torch's import for each would take long."""
    assert run([*map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_table_the_picture_and_the_json(tmp_path, capsys):
    arguments = (
        "explain",
        SAMPLES / "house.png",
        "--net",
        SAMPLES / "pyramid.yaml",
        "--at",
        "3,3",
    )
    lines = printed(capsys, *arguments, "-o", tmp_path / "field.png").splitlines()
    assert lines[0].split()[:3] == ["layer", "output", "y,x"]
    assert lines[3].split()[2:5] == ["3,3", "10..38,10..38", "29x29"]
    with Image.open(tmp_path / "field.png") as picture:
        assert picture.width > 600
    facts = json.loads(printed(capsys, *arguments, "--json"))
    first, _, last = facts["layers"]
    assert last["sees"] == [[10, 39], [10, 39]] and first["at"] == [12, 12]
    assert (facts["axes"], facts["output"], facts["notes"]) == ("YX", None, [])


def test_lenet_is_followed_until_it_leaves_no_places(capsys):
    arguments = ("explain", SAMPLES / "house.png", "--net", SAMPLES / "lenet.yaml")
    lines = printed(capsys, *arguments, "--at", "0,0").splitlines()
    assert lines[-1].startswith("tanh3") and "32x32" in lines[-1]
    lines = printed(capsys, *arguments, "--at", "1,2", "--layer", "pool2").splitlines()
    assert lines[-1].startswith("pool2") and "1,2" in lines[-1] and "16x16" in lines[-1]


def test_a_seed_fills_a_net_without_weights(tmp_path, capsys):
    text = (SAMPLES / "resnet-stem.yaml").read_text()
    small = text.replace("224", "40").replace("maps: 64", "maps: 5")  # which takes 1/400 of the time
    (tmp_path / "stem.yaml").write_text(small)
    arguments = ("explain", SAMPLES / "house.png", "--net", tmp_path / "stem.yaml")
    lines = printed(capsys, *arguments, "--at", "9,9", "--seed", "1").splitlines()
    assert lines[1].startswith("conv1") and lines[1].split()[-4:] == ["33..39,33..39", "7x7"] * 2


def test_a_deep_net_is_refused(tmp_path, capsys):
    """Gradients of n layers take n squared steps."""
    (tmp_path / "deep.yaml").write_text("layers:\n" + "  - relu\n" * 501)
    command = ["explain", str(SAMPLES / "house.png"), "--net", str(tmp_path / "deep.yaml")]
    assert run([*command, "--at", "0,0"]) == 2
    assert "501 layers are too many" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--at", "99,0"), "--at 99,0 lies outside the output of tanh3, which is 1x1"),
        ((), "--net NET needs a file and --at"),
        (("--at", "0,0", "-k", "3x3"), "goes without kernels"),
        (("--at", "0,0", "--stride", "2"), "goes without options of a kernel"),
        (("--at", "0,0", "--seed", "-1"), "--seed -1 is not possible"),
        (("--at", "0,0", "--layer", "conv9"), "no layer named 'conv9'"),
        (("--at", "0,0", "-o", "a.csv"), "write .png"),
    ],
)
def test_refusals_are_one_line(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    command = ["explain", str(SAMPLES / "house.png"), "--net", str(SAMPLES / "lenet.yaml")]
    assert run([*command, *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


LAYERS = (
    "- conv: {maps: 3, size: 3, padding: 1, name: c}\n- batchnorm: {name: n}\n- silu: {name: s}\n"
    "- pool: {kind: max, size: 2, name: m}\n- tconv: {maps: 2, size: 4, stride: 2, padding: 1, name: t}\n"
    "- upsample: {scale: 2, mode: bilinear, name: u}\n- pool: {kind: avg, size: 2, name: a}\n"
    "- add: {from: [a, t], name: j}\n- flatten: {name: f}\n- dense: {outputs: 4, name: d}\n- softmax: {name: x}\n"
)


@pytest.mark.parametrize("layer", "cnsmtuajfdx")
def test_every_kind_of_layer_is_taken_apart(layer: str, tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(f"input: 2@6x8\nlayers:\n{LAYERS}")
    net = load_net(tmp_path / "n.yaml")
    data = np.random.default_rng(4).normal(size=(2, 6, 8))
    steps = net.trace(Shape(2, (6, 8)))
    arrays = initial(parameters_of(steps), None, 3, None)
    arrays = {
        name: np.random.default_rng(len(name)).uniform(0.5, 2, one.shape) for name, one in arrays.items()
    }
    model = TorchNet.load(net, steps, arrays, "float64").upto(layer)
    whole = model.run(data)
    at = tuple(n // 2 for n in whole.shape)
    found = layer_value(model, data, at)
    assert found.value == pytest.approx(whole[at], abs=1e-12)
    products = sum(one.value * one.derivative for one in found.elements)
    assert found.value == pytest.approx(products + found.rest, abs=1e-12)
    before = {step.name: step for step in steps}[layer]
    for one in found.elements[:5]:  # moved by a little, the value moves by as much as the derivative says
        values = {"input": torch.from_numpy(data)[None]}
        for name in before.sources:
            values[name] = torch.from_numpy(data if name == "input" else model.upto(name).run(data))[
                None
            ].clone()
        slope = []
        for step in (1e-5, -1e-5):
            moved = {name: value.clone() for name, value in values.items()}
            moved[one.source][(0, *one.at)] += step
            part = Part((0,) * len(before.input.sizes), whole_box(before.output.sizes))
            inputs = [moved[name] for name in before.sources]
            slope.append(apply(before, model.parameters, inputs, part)[(0, *at)].item())
        assert one.derivative == pytest.approx((slope[0] - slope[1]) / 2e-5, rel=1e-4, abs=1e-7)


def test_a_convolutions_derivatives_are_its_weights(tmp_path: Path) -> None:
    weights = np.random.default_rng(1).normal(size=(2, 1, 2, 2)).round(3)
    np.savez(tmp_path / "w.npz", **{"c.weight": weights, "c.bias": np.array([0.5, -2])})
    (tmp_path / "n.yaml").write_text(
        "layers:\n- conv: {maps: 2, size: 2, name: c}\n- pool: {kind: max, size: 2}\n"
    )
    np.save(tmp_path / "a.npy", np.arange(1.0, 17).reshape(4, 4))
    run = ("explain", "a.npy", "--net", "n.yaml", "--layer", "c", "-w", "w.npz", "--map", "1")
    done = ok(*run, "--at", "1,2", cwd=tmp_path)
    rows = [line.split() for line in done.stdout.decode().splitlines()]
    assert [row[:3] for row in rows[2:6]] == [
        ["input", place, value]
        for place, value in (("0,1,2", "7"), ("0,1,3", "8"), ("0,2,2", "11"), ("0,2,3", "12"))
    ]
    assert [float(row[3]) for row in rows[2:6]] == weights[1].ravel().tolist()
    total = (weights[1].ravel() * [7, 8, 11, 12]).sum() - 2
    assert float(rows[-1][1]) == pytest.approx(total, rel=1e-5)
    assert b"lie outside the output of c" in convcli(*run, "--at", "1,3", cwd=tmp_path).stderr
