"""ONNX models: shapes against onnx's inference, values against onnxruntime, fields against gradients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from convcli.common.errors import ConvError
from convcli.geometry.graph import Shape
from convcli.networks.model import parameters_of
from convcli.networks.parse import load_net
from convcli.networks.torch_run import outputs, tensors
from convcli.networks.weights import initial
from tests.shell import convcli, ok

onnx = pytest.importorskip("onnx")


class Builder:
    """Builds a model node by node; every method returns the name of its output."""

    def __init__(self, *shape: int, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape = shape
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, *shape: int, positive: bool = False) -> str:
        name = f"w{len(self.weights)}"
        values = self.rng.normal(0, 1 / np.sqrt(max(np.prod(shape[1:]), 1)), shape)
        values = np.abs(values) + 0.5 if positive else values
        self.weights.append(onnx.numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def constant(self, values: Any) -> str:
        name = f"k{len(self.weights)}"
        self.weights.append(onnx.numpy_helper.from_array(np.array(values), name))
        return name

    def node(self, kind: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [f"{name}_out"], name, **attributes))
        return f"{name}_out"

    def conv(
        self, x: str, out: int, inputs: int, k: int, s: int = 1, p: int = 0, group: int = 1, **more: Any
    ) -> str:
        weight = self.weight(out, inputs // group, k, k)
        return self.node(
            "Conv", x, weight, self.weight(out), strides=[s, s], pads=[p] * 4, group=group, **more
        )

    def norm(self, x: str, channels: int) -> str:
        scale, bias, mean = (self.weight(channels) for _ in range(3))
        return self.node("BatchNormalization", x, scale, bias, mean, self.weight(channels, positive=True))

    def model(self, path: Path, output: str, opset: int = 18) -> Path:
        real = onnx.TensorProto.FLOAT
        graph = onnx.helper.make_graph(
            self.nodes,
            path.stem,
            [onnx.helper.make_tensor_value_info("x", real, ["N", *self.shape])],
            [onnx.helper.make_tensor_value_info(output, real, None)],
            self.weights,
        )
        made = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=9
        )
        onnx.save(made, path)
        return path


def resnet18(path: Path, least: int = 16) -> Path:
    """He et al. (2016), table 1: four stages of two basic blocks; theirs has at least 64 maps."""
    b = Builder(3, 64, 64)
    x = b.node("Relu", b.norm(b.conv("x", least, 3, 7, 2, 3), least))
    x, before = b.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), least
    for width in (least, 2 * least, 4 * least, 8 * least):
        for stride in (1 + (width > least), 1):
            y = b.node("Relu", b.norm(b.conv(x, width, before, 3, stride, 1), width))
            y = b.norm(b.conv(y, width, width, 3, 1, 1), width)
            if before != width:
                x = b.norm(b.conv(x, width, before, 1, stride), width)
            x, before = b.node("Relu", b.node("Add", y, x)), width
    x = b.node("GlobalAveragePool", x)
    items = b.node(
        "Gather", b.node("Shape", x), b.constant(np.array([0])), axis=0
    )  # as older exporters flatten
    x = b.node("Reshape", x, b.node("Concat", items, b.constant(np.array([-1])), axis=0))
    return b.model(path, b.node("Gemm", x, b.weight(1000, before), b.weight(1000), transB=1))


def mobilenet2(path: Path) -> Path:
    """Sandler et al. (2018): inverted residuals, depthwise convolutions, ReLU6; of a quarter of the width."""
    b = Builder(3, 64, 48)

    def unit(x: str, *conv: int) -> str:
        low, high = b.constant(np.float32(0)), b.constant(np.float32(6))
        return b.node("Clip", b.norm(b.conv(x, *conv), conv[0]), low, high)

    x, before = unit("x", 8, 3, 3, 2, 1), 8
    for expand, width, stride in (
        (1, 4, 1),
        (6, 6, 2),
        (6, 6, 1),
        (6, 8, 2),
        (6, 8, 1),
        (6, 16, 1),
        (6, 16, 1),
    ):
        inner = before * expand
        y = unit(x, inner, before, 1) if expand > 1 else x
        y = unit(y, inner, inner, 3, stride, 1, inner)
        y = b.norm(b.conv(y, width, inner, 1), width)
        x, before = (b.node("Add", x, y) if stride == 1 and before == width else y), width
    x = unit(x, 320, before, 1)
    x = b.node("ReduceMean", x, b.constant(np.array([2, 3])), keepdims=0)
    return b.model(
        path, b.node("Softmax", b.node("Add", b.node("MatMul", x, b.weight(320, 10)), b.weight(10)))
    )


def unet(path: Path) -> Path:
    """A U-Net with every way up: transposed, nearest and bilinear."""
    b = Builder(2, 32, 48)
    skips, x, before = [], "x", 2
    for width in (4, 8, 12):
        x = b.node("LeakyRelu", b.conv(x, width, before, 3, 1, 1), alpha=0.1)
        skips.append((x, width))
        x, before = b.node("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2]), width
    x = b.conv(x, 12, 12, 3, 1, 2, dilations=[2, 2])
    up = {
        0: lambda x: b.node(
            "Resize", x, "", b.constant(np.float32([1, 1, 2, 2])), mode="nearest",
            coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        ),
        1: lambda x: b.node("Resize", x, "", b.constant(np.float32([1, 1, 2, 2])), mode="linear"),
        2: lambda x: b.node(
            "ConvTranspose", x, b.weight(12, 12, 4, 4), b.weight(12), strides=[2, 2], pads=[1, 1, 1, 1]
        ),
    }  # fmt: skip
    for level in (2, 1, 0):
        skip, width = skips[level]
        x = b.node("Concat", up[level](x), skip, axis=1)
        x = b.node("Mul", x, b.node("Sigmoid", x))
        x = b.conv(x, width, before + width, 3, 1, 1)
        before = width
    return b.model(path, b.conv(x, 3, before, 1))


NETS = {"resnet18": resnet18, "mobilenet2": mobilenet2, "unet": unet}


@pytest.fixture(scope="module", params=NETS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return NETS[request.param](tmp_path_factory.mktemp("onnx") / f"{request.param}.onnx")


def inferred(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the dimensions of every node's output, by the node's name, as the onnx library infers them."""
    made = onnx.load(path)
    made.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    found = onnx.shape_inference.infer_shapes(made, data_prop=True).graph
    types = {one.name: one.type.tensor_type for one in (*found.value_info, *found.output)}
    return {
        node.name: tuple(dim.dim_value for dim in types[node.output[0]].shape.dim)
        for node in found.node
        if types[node.output[0]].elem_type == onnx.TensorProto.FLOAT
    }


def test_every_node_has_the_shape_that_onnx_infers(model: Path) -> None:
    net = load_net(model)
    assert net.input is not None
    steps = {step.name: step for step in net.trace(net.input)}
    expected = inferred(model)
    assert len(steps) == len(expected) + (model.stem == "mobilenet2")  # whose last pool flattens too
    for name, (batch, channels, *sizes) in expected.items():
        output = steps.get(f"{name}_out.1", steps[name]).output
        assert (batch, output) == (1, Shape(channels, tuple(sizes))), name
    real = sum(
        int(np.prod(one.dims)) for one in onnx.load(model).graph.initializer if one.name.startswith("w")
    )
    assert sum(step.row.parameters for step in steps.values()) == real


def test_values_are_those_of_onnxruntime(model: Path, tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    net = load_net(model)
    assert net.input is not None
    x = np.random.default_rng(4).normal(size=(2, net.input.channels, *net.input.sizes)).astype(np.float32)
    session = runtime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    np.save(tmp_path / "x.npy", x)
    ok("net", "run", model, "x.npy", "--axes", "NCYX", "-o", "y.npy", cwd=tmp_path)
    found = np.load(tmp_path / "y.npy")
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5 * np.abs(expected).max())


def test_fields_of_a_unet_are_where_gradients_arrive(tmp_path: Path) -> None:
    net = load_net(unet(tmp_path / "u.onnx"), given=Shape(2, (64, 72)))
    steps = net.trace(Shape(2, (64, 72)))
    positive = {
        name: (tensor.abs() + 0.01) / tensor[0].numel()  # sigmoids of large sums have no gradient
        for name, tensor in tensors(initial(parameters_of(steps)), torch.float64).items()
    }
    x = torch.rand(1, 2, 64, 72, dtype=torch.float64).requires_grad_()
    for step, out in outputs(steps, positive, x):
        place = (step.output.sizes[0] // 2, step.output.sizes[1] // 3)
        (gradient,) = torch.autograd.grad(out[(0, slice(None), *place)].sum(), x, retain_graph=True)
        seen = gradient[0, 0].nonzero().T
        measured = [(int(axis.min()), int(axis.max()) + 1) for axis in seen]
        told = [field.of(at) for field, at in zip(step.fields, place, strict=True)]
        inside = [(max(lo, 0), min(hi, n)) for (lo, hi), n in zip(told, (64, 72), strict=True)]
        assert inside == measured, step.name


def test_shape_shows_a_model(tmp_path: Path) -> None:
    path = resnet18(tmp_path / "r.onnx", 64)
    facts = json.loads(ok("shape", path, "--json").stdout)
    rows = {row["layer"].split()[0]: row for row in facts["layers"]}
    assert facts["output"] == "1000"
    # torchvision's resnet18 has 11,689,512 parameters, without biases of convolutions; and 9,600 means and variances
    biases = [row["channels"] for row in facts["layers"] if " conv:" in row["layer"]]
    assert len(biases) == 20
    assert facts["parameters"] - sum(biases) == 11_689_512 + 9_600
    assert rows["MaxPool_3"]["field"] == [11, 11]
    assert rows["Relu_65"]["jump"] == [32, 32]
    larger = json.loads(ok("shape", path, "3@224x224", "--json").stdout)
    (last,) = [row for row in larger["layers"] if row["layer"].split()[0] == "Relu_65"]
    assert (last["output"], last["field"]) == (
        "512@7x7",
        [435, 435],
    )  # Araujo, Norris and Sim (2019), table 1: 435
    assert larger["multiply_adds"] == 1_814_073_344  # torchvision's count of resnet18 at 224: 1.814 G
    ok("shape", path, "-o", "r.svg", cwd=tmp_path)
    assert (tmp_path / "r.svg").read_text().count("<rect") == 1 + 69
    done = convcli("shape", path, "1@64x64")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert b"its input is 3x64x64, channels first, and 1@64x64 does not fit" in done.stderr


def test_what_all_see_and_a_gate_let_through(tmp_path: Path) -> None:
    """Squeeze and excitation: outputs see all of the input, and no more than that and its padding."""
    b = Builder(3, 12, 10)
    x = b.conv("x", 8, 3, 3, p=1)
    gate = b.node("Sigmoid", b.conv(b.node("GlobalAveragePool", x), 8, 8, 1))
    path = b.model(tmp_path / "m.onnx", b.conv(b.node("Mul", x, gate), 2, 8, 3, p=1))
    facts = json.loads(ok("shape", path, "--json").stdout)
    assert [row["field"] for row in facts["layers"]][-2:] == [[14, 12]] * 2
    steps = load_net(path).trace(Shape(3, (12, 10)))
    assert {field.of(at) for field, at in zip(steps[-1].fields * 2, (0, 0, 11, 9), strict=True)} == {
        (-1, 13),
        (-1, 11),
    }


def test_a_layer_that_pads_is_no_dead_padding(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(
        "layers: [{pad: {padding: 1, pad_mode: reflect}}, {conv: {maps: 2, size: 3}}]"
    )
    assert not ok("shape", tmp_path / "net.yaml", "9x9").stderr
    assert b"padding 1 is not less" in ok("shape", "9x9", "conv:1,p=1").stderr


def as_torch_exports(path: Path) -> Path:
    """Mirrored padding whose pads nodes compute, a PReLU with one slope, GroupNorm by reshapes."""
    b = Builder(4, 9, 8)
    pads = b.node("Concat", b.constant([2, 1, 3, 1]), b.constant([0, 0, 0, 0]), axis=0)
    pads = b.node(
        "Slice", b.node("Reshape", pads, b.constant([-1, 2])), *map(b.constant, ([-1], [-9], [0], [-1]))
    )
    pads = b.node("Reshape", b.node("Transpose", pads, perm=[1, 0]), b.constant([-1]))
    x = b.node("Pad", "x", b.node("Cast", pads, to=onnx.TensorProto.INT64), mode="reflect")
    x = b.node("PRelu", b.conv(x, 6, 4, 3), b.weight(1, 1, 1))
    groups = b.node("Reshape", x, b.constant([0, 2, -1]))
    groups = b.node("InstanceNormalization", groups, b.weight(2), b.weight(2))
    return b.model(path, b.node("Reshape", groups, b.node("Shape", x)))


def test_what_torch_exports_as_several_nodes(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    path = as_torch_exports(tmp_path / "m.onnx")
    x = np.random.default_rng(4).normal(size=(4, 9, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    ok("net", "run", path, "x.npy", "--axes", "CYX", "-o", "y.npy", cwd=tmp_path)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x[None]})
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected[0], rtol=2e-4, atol=2e-5)
    facts = json.loads(ok("shape", path, "--json").stdout)
    assert [row["parameters"] for row in facts["layers"]][1:3] == [6 * 4 * 9 + 6, 1]
    last, first = facts["layers"][-1], facts["layers"][1]
    assert last["field"] != first["field"]
    middle = [(row["field"], row["start"]) for row in facts["layers"][-3:]]
    assert middle == [middle[0]] * 3  # each output sees all, around one middle


def test_operators_that_do_not_run_are_shown_and_refused_by_name(tmp_path: Path) -> None:
    b = Builder(4, 8, 8)
    x = b.node("LRN", b.conv("x", 6, 4, 3), size=3)
    x = b.node("Transpose", b.node("Softplus", x), perm=[0, 1, 3, 2])
    path = b.model(tmp_path / "m.onnx", b.conv(x, 2, 6, 3, 2))
    facts = json.loads(ok("shape", path, "4@9x12", "--json").stdout)
    assert [row["output"] for row in facts["layers"]] == ["6@7x10", "6@7x10", "6@7x10", "6@10x7", "2@4x3"]
    np.save(tmp_path / "x.npy", np.zeros((4, 9, 12)))
    done = convcli("net", "run", path, "x.npy", "--axes", "CYX", "-o", "y.npy", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, done.stderr.splitlines()[0] + b"\n")
    assert b"LRN is none of the operators that run here" in done.stderr
    assert not (tmp_path / "y.npy").exists()


def test_models_that_are_no_nets(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x09nonsense")
    with pytest.raises(ConvError, match="it is no ONNX model, or damaged"):
        load_net(tmp_path / "bad.onnx")
    with pytest.raises(ConvError, match="no such file"):
        load_net(tmp_path / "none.onnx")
    b = Builder(1, 4, 4)
    model = onnx.load(b.model(tmp_path / "two.onnx", b.node("Add", "x", "y")))
    model.graph.input.append(onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 1, 4, 4]))
    onnx.save(model, tmp_path / "two.onnx")
    with pytest.raises(ConvError, match=r"one input, and this model has 2: x, y"):
        load_net(tmp_path / "two.onnx")
    b = Builder(1, 4, 4)
    path = b.model(tmp_path / "type.onnx", b.node("LeakyRelu", "x", alpha="0.1"))
    with pytest.raises(ConvError, match="a node of it does not make sense: alpha of LeakyRelu is no FLOAT"):
        load_net(path)
    for kind, groups in (("ConvTranspose", 0), ("Conv", 0), ("Conv", -1)):
        b = Builder(1, 4, 4)
        path = b.model(tmp_path / "groups.onnx", b.node(kind, "x", b.weight(1, 1, 3, 3), group=groups))
        with pytest.raises(ConvError, match="a node of it does not make sense"):
            load_net(path)


def test_a_model_of_flat_numbers_and_open_sizes(tmp_path: Path) -> None:
    runtime = pytest.importorskip("onnxruntime")
    b = Builder(6)
    hidden = b.node("Gemm", "x", b.weight(6, 5), b.weight(5))
    path = b.model(tmp_path / "mlp.onnx", b.node("Div", b.node("Tanh", hidden), b.constant(np.float32(2))))
    x = np.random.default_rng(2).normal(size=(3, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    expected = runtime.InferenceSession(str(path)).run(None, {"x": x})[0]
    tanh = ok("net", "run", path, "x.npy", "--axes", "NX", "--layer", "Tanh_1", "--json", cwd=tmp_path)
    np.testing.assert_allclose(np.array(json.loads(tanh.stdout)["scores"]) / 2, expected, rtol=1e-5)
    b = Builder(1, "H", "W")  # type: ignore[arg-type]
    up = b.node("Resize", b.conv("x", 2, 1, 3), "", b.constant(np.float32([1, 1, 3, 3])), mode="linear")
    path = b.model(tmp_path / "open.onnx", up)
    assert b"say the input's size" in convcli("shape", path).stderr
    assert ok("shape", path, "1@9x8", "-q").stdout == b"2@21x18\n"
    x = np.random.default_rng(2).normal(size=(1, 1, 9, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", x[0])
    ok("net", "run", path, "x.npy", "--axes", "CYX", "-o", "y.npy", cwd=tmp_path)
    expected = runtime.InferenceSession(str(path)).run(None, {"x": x})[0]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected[0], rtol=1e-4, atol=1e-5)
