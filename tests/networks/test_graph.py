"""Nets that branch: values against torch, fields against gradients, sizes, blocks, training, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from convcli.common.errors import ConvError
from convcli.data.info import ArraySource
from convcli.geometry.graph import Shape
from convcli.networks.blocks import NetSource
from convcli.networks.check import measure
from convcli.networks.model import parameters_of
from convcli.networks.parse import load_net
from convcli.networks.torch_run import TorchNet, outputs
from convcli.networks.weights import initial
from tests.shell import convcli, ok

RANDOM = np.random.default_rng(11)

RESIDUAL = """
layers:
  - conv: {name: stem, maps: 4, size: 3x2, padding: 1}
  - relu: {name: block}
  - conv: {name: c1, maps: 6, size: 3, stride: 2, padding: 1}
  - batchnorm
  - elu
  - conv: {name: c2, maps: 6, size: 3, padding: 1}
  - conv: {name: short, maps: 6, size: 1, stride: 2, from: block}
  - add: {from: [c2, short]}
  - silu
"""
UNET = """
layers:
  - conv: {name: down1, maps: 4, size: 3, padding: 1}
  - gelu: {name: skip1}
  - pool: {kind: avg, size: 2}
  - conv: {name: down2, maps: 8, size: 3, padding: 1}
  - hardswish: {name: skip2}
  - pool: {kind: avg, size: 2}
  - conv: {name: low, maps: 8, size: 3, padding: 1, pad_mode: reflect}
  - tconv: {name: up2, maps: 8, size: 2, stride: 2}
  - concat: {from: skip2}
  - conv: {name: join2, maps: 4, size: 3x5, padding: 1x2}
  - tconv: {name: up1, maps: 4, size: 4, stride: 2, padding: 1}
  - concat: {from: skip1}
  - conv: {name: last, maps: 2, size: 1}
"""
SQUEEZE = """
layers:
  - conv: {name: c1, maps: 4, size: 3}
  - gpool: {kind: avg}
  - conv: {name: c2, maps: 4, size: 1}
  - hardsigmoid
  - multiply: {from: c1}
"""


def model_of(tmp_path: Path, text: str, array: np.ndarray) -> TorchNet:
    path = tmp_path / "n.yaml"
    path.write_text("seed: 3\n" + text)
    net = load_net(path)
    steps = net.trace(Shape(len(array), array.shape[1:]))
    return TorchNet.load(net, steps, initial(parameters_of(steps)), "float64")


def _residual(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    block = F.conv2d(x, p["stem.weight"], p["stem.bias"], padding=1).relu()
    one = F.conv2d(block, p["c1.weight"], p["c1.bias"], stride=2, padding=1)
    one = F.elu(one / (1 + 1e-5) ** 0.5)
    both = F.conv2d(one, p["c2.weight"], p["c2.bias"], padding=1)
    return F.silu(both + F.conv2d(block, p["short.weight"], p["short.bias"], stride=2))


def _unet(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    skip1 = F.gelu(F.conv2d(x, p["down1.weight"], p["down1.bias"], padding=1))
    skip2 = F.hardswish(F.conv2d(F.avg_pool2d(skip1, 2), p["down2.weight"], p["down2.bias"], padding=1))
    low = F.pad(F.avg_pool2d(skip2, 2), (1, 1, 1, 1), mode="reflect")
    low = F.conv2d(low, p["low.weight"], p["low.bias"])
    up = F.conv_transpose2d(low, p["up2.weight"].transpose(0, 1), p["up2.bias"], stride=2)
    up = F.conv2d(torch.cat([up, skip2], 1), p["join2.weight"], p["join2.bias"], padding=(1, 2))
    up = F.conv_transpose2d(up, p["up1.weight"].transpose(0, 1), p["up1.bias"], stride=2, padding=1)
    return F.conv2d(torch.cat([up, skip1], 1), p["last.weight"], p["last.bias"])


def _squeeze(x: torch.Tensor, p: dict[str, torch.Tensor]) -> torch.Tensor:
    c1 = F.conv2d(x, p["c1.weight"], p["c1.bias"])
    scale = F.conv2d(c1.mean((2, 3), keepdim=True), p["c2.weight"], p["c2.bias"])
    return c1 * F.hardsigmoid(scale)


NETS = {"residual": (RESIDUAL, _residual), "unet": (UNET, _unet), "squeeze": (SQUEEZE, _squeeze)}


@pytest.mark.parametrize("name", NETS)
def test_values_are_torchs_whole_and_in_blocks(name: str, tmp_path: Path) -> None:
    text, compute = NETS[name]
    x = RANDOM.normal(size=(2, 24, 20))
    model = model_of(tmp_path, text, x)
    expected = compute(torch.from_numpy(x)[None], dict(model.parameters))[0].numpy()
    np.testing.assert_allclose(model.run(x), expected, rtol=1e-11, atol=1e-12)
    rows = expected.shape[1]
    for length in (1, 3, 5):
        source = NetSource(model, ArraySource(x, "CYX"), "YX", length)
        np.testing.assert_allclose(
            source.read(((2, rows), (3, 10))), expected[:, 2:, 3:10], rtol=1e-9, atol=1e-11
        )


FIELDS = {
    "residual": RESIDUAL.replace("relu", "bias"),
    "unet": UNET.replace("gelu", "bias").replace("hardswish", "bias").replace(", pad_mode: reflect", ""),
    "squeeze": SQUEEZE.replace("hardsigmoid", "bias"),
    "branches that lie apart": """
layers:
  - conv: {name: a, maps: 2, size: 2x4, padding: [0:1, 0:3], stride: 2}
  - conv: {name: b, maps: 2, size: 3x2, padding: [1:1, 1:0], stride: 2, from: input}
  - add: {from: a}
  - tconv: {maps: 2, size: 3, stride: 2}
  - conv: {maps: 1, size: 2}
""",
    "branches of other paces": """
layers:
  - conv: {name: a, maps: 1, size: 3, stride: 2}
  - conv: {name: b, maps: 1, size: 14x12, from: input}
  - add: {from: a}
  - conv: {maps: 1, size: 3, padding: 1}
""",
    "an adaptive pool": "layers:\n- conv: {maps: 2, size: 3}\n- apool: {size: 5x3}\n- conv: {maps: 1, size: 2}\n",
    "upsampled from one": """
layers:
  - conv: {name: c, maps: 2, size: 3, padding: 1}
  - gpool: {kind: avg}
  - upsample: {scale: 24x20, mode: bilinear}
  - concat: {from: c}
""",
    "through a vector": """
layers:
  - conv: {maps: 2, size: 3, stride: 4}
  - flatten
  - dense: {outputs: 12}
  - unflatten: {shape: 2@3x2}
  - tconv: {maps: 1, size: 2, stride: 2}
""",
}


@pytest.mark.parametrize("name", FIELDS)
def test_fields_are_where_gradients_arrive(name: str, tmp_path: Path) -> None:
    """All weights are positive, so that no gradient cancels another."""
    x = RANDOM.normal(size=(1, 24, 20))
    model = model_of(tmp_path, FIELDS[name], x)
    positive = {key: tensor.abs() + 0.1 for key, tensor in model.parameters.items()}
    tensor = torch.from_numpy(x)[None].requires_grad_()
    for step, out in outputs(model.steps, positive, tensor):
        if step.output.flat:
            continue
        sizes = step.output.sizes
        for place in [(0, 0), (sizes[0] // 2, sizes[1] // 3), (sizes[0] - 1, sizes[1] - 1)]:
            (gradient,) = torch.autograd.grad(out[(0, slice(None), *place)].sum(), tensor, retain_graph=True)
            seen = gradient[0, 0].abs().nonzero()
            measured = [(int(axis.min()), int(axis.max()) + 1) for axis in seen.T]
            told = [field.of(at) for field, at in zip(step.fields, place, strict=True)]
            inside = [(max(lo, 0), min(hi, n)) for (lo, hi), n in zip(told, x.shape[1:], strict=True)]
            if "upsample" in step.name or "concat" in step.name:  # bilinear taps can be zero at the edges
                assert all(lo <= a and b <= hi for (lo, hi), (a, b) in zip(inside, measured, strict=True))
            else:
                assert inside == measured, (step.name, place)


def test_layers_beside_torchs(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(4, 7, 9))
    t = torch.from_numpy(x)[None]
    w, b = torch.arange(1.0, 5.0, dtype=torch.float64), torch.tensor([0.5, -1, 2, 0], dtype=torch.float64)
    affine = "weight: [1, 2, 3, 4], bias: [0.5, -1, 2, 0]"
    expected = {
        f"layernorm: {{{affine}}}": F.group_norm(t, 1, w, b),
        f"groupnorm: {{groups: 2, eps: 0.01, {affine}}}": F.group_norm(t, 2, w, b, 0.01),
        f"instancenorm: {{{affine}}}": F.instance_norm(t, weight=w, bias=b),
        "apool: {size: 3x4}": F.adaptive_avg_pool2d(t, (3, 4)),
        "apool: {size: 5, kind: max}": F.adaptive_max_pool2d(t, 5),
        "apool: {size: 7x3, kind: median}": t.unflatten(3, (3, 3)).median(-1).values,
        "pad: {padding: [1:2, 0:3], pad_mode: constant, pad_value: 4}": F.pad(t, (0, 3, 1, 2), value=4),
        "pad: {padding: 2, pad_mode: reflect}": F.pad(t, (2, 2, 2, 2), mode="reflect"),
        "dropout: {p: 0.3}": t,
        "unflatten: {shape: 9@4x7}": t.reshape(1, 9, 4, 7),
        **{
            kind: getattr(F, kind)(t) for kind in ("elu", "gelu", "silu", "relu6", "hardswish", "hardsigmoid")
        },
    }
    for text, tensor in expected.items():
        model = model_of(tmp_path, f"layers:\n- {text}\n", x)
        np.testing.assert_allclose(model.run(x), tensor[0].numpy(), rtol=1e-11, atol=1e-12, err_msg=text)
    flat = model_of(tmp_path, "layers:\n- flatten\n- layernorm\n", x)
    np.testing.assert_allclose(
        flat.run(x), F.layer_norm(t.flatten(1), [252])[0].numpy(), rtol=1e-11, atol=1e-12
    )


FAULTS = {
    "an unknown source": (
        "layers: [relu, add: {from: rleu1}]",
        "layer 2 (add): from: no earlier layer is named 'rleu1'; did you mean relu1?",
    ),
    "a later source": ("layers: [relu: {from: tanh1}, tanh]", "no earlier layer is named 'tanh1'"),
    "a join of one": ("layers: [relu, add]", "from: is needed, the layers that it joins"),
    "two into a convolution": ("layers: [relu, tanh, bias: {from: [relu1, tanh1]}]", "joined by add"),
    "the name of the input": ("layers: [relu: {name: input}]", "taken by the net's input"),
    "sizes that differ": (
        "layers: [conv: {size: 3}, add: {from: input}]",
        "layer 2 (add1) on 1@6x6 and 1@8x8: 1@6x6 and 1@8x8 differ: give them the same channels and sizes",
    ),
    "sizes of a concat": ("layers: [conv: {size: 3}, concat: {from: input}]", "only channels may"),
    "flat and not": ("layers: [flatten, add: {from: input}]", "the number of their axes"),
    "numbers of an unflatten": ("layers: [unflatten: {shape: 2@3x3}]", "2@3x3 are 18 numbers, and 64 come in"),
    "medians of uneven windows": ("layers: [apool: {size: 3, kind: median}]", "windows of one size"),
    "groups": ("layers: [groupnorm: {groups: 2}]", "1 channels make no 2 groups"),
    "a probability": ("layers: [dropout: {p: 1.5}]", "no probability"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, tmp_path: Path) -> None:
    text, message = FAULTS[name]
    (tmp_path / "n.yaml").write_text(text)
    with pytest.raises(ConvError) as caught:
        load_net(tmp_path / "n.yaml").trace(Shape(1, (8, 8)))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_layer_is_computed_from_what_it_needs_alone(tmp_path: Path) -> None:
    x = RANDOM.normal(size=(2, 24, 20))
    model = model_of(tmp_path, RESIDUAL, x)
    short = model.upto("short")
    assert [step.name for step in short.steps] == ["stem", "block", "short"]
    p = model.parameters
    block = F.conv2d(torch.from_numpy(x)[None], p["stem.weight"], p["stem.bias"], padding=1).relu()
    expected = F.conv2d(block, p["short.weight"], p["short.bias"], stride=2)[0]
    np.testing.assert_allclose(short.run(x), expected.numpy(), rtol=1e-11)


def test_shifts_are_followed_by_the_common_period_of_all_branches(tmp_path: Path) -> None:
    text = (
        "layers:\n- pool: {name: p2, size: 2}\n- upsample: {name: u2, scale: 2}\n"
        "- pool: {name: p3, size: 3, from: input}\n- upsample: {name: u3, scale: 3}\n- add: {from: u2}\n"
        "- concat: {name: plain, from: [input, input]}\n"
    )
    x = RANDOM.normal(size=(1, 36, 48))
    found = {one.layer.split()[0]: one for one in measure(model_of(tmp_path, text, x), x, range(1, 9), 1)}
    assert [int(found[name].period) for name in ("u2", "u3", "add1", "plain")] == [2, 3, 6, 1]
    assert found["add1"].holds_at == (6,)
    assert found["u3"].holds_at == (3, 6)
    assert found["plain"].holds_at == tuple(range(1, 9))


def test_a_residual_autoencoder_learns_and_repeats_itself(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(
        "seed: 1\nlayers:\n- flatten\n- dense: {name: code, outputs: 3}\n- dropout: {p: 0.2}\n"
        "- dense: {outputs: 36}\n- unflatten: {shape: 1@6x6}\n- conv: {maps: 1, size: 3, padding: 1}\n"
        "- add: {from: unflatten1}\n"
    )
    rng = np.random.default_rng(0)
    for number in range(6):
        np.save(tmp_path / f"x{number}.npy", np.outer(rng.random(6), np.arange(6)).astype(np.float32))
    files = [f"x{number}.npy" for number in range(6)]
    train = ["learn", *files, "--net", "n.yaml", "--epochs", 30, "--lr", 0.02, "--json"]
    first = json.loads(ok(*train, "-o", "a.safetensors", cwd=tmp_path).stdout)
    assert first["loss"]["after"] < 0.2 * first["loss"]["before"]
    again = json.loads(ok(*train, "-o", "b.safetensors", cwd=tmp_path).stdout)
    assert again["curve"] == first["curve"]
    run = ["net", "run", "n.yaml", "x1.npy", "-w", "a.safetensors", "-o", "o.npy"]
    ok(*run, cwd=tmp_path)
    assert np.load(tmp_path / "o.npy").shape == (6, 6)
    ok(*run[:-1], "e.csv", "--layer", "code", cwd=tmp_path)
    assert np.loadtxt(tmp_path / "e.csv", delimiter=",", ndmin=1).size == 3


def test_show_names_the_sources(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text(RESIDUAL)
    lines = ok("net", "show", "n.yaml", "--input", "2@24x20", cwd=tmp_path).stdout.decode().splitlines()
    assert lines[0].split()[:3] == ["layer", "from", "output"]
    assert next(line for line in lines if line.startswith("add1")).split()[:4] == [
        "add1",
        "c2,",
        "short",
        "6@12x11",
    ]
    facts = json.loads(ok("net", "show", "n.yaml", "--input", "2@24x20", "--json", cwd=tmp_path).stdout)
    assert [row["sources"] for row in facts["layers"]][5:8] == [[], ["block"], ["c2", "short"]]
    dot = ok("net", "show", "n.yaml", "--input", "2@24x20", "-o", "-", cwd=tmp_path).stdout.decode()
    assert 'n2 -> n7 [label="4@24x21"]' in dot
    assert "n6 -> n7" not in dot
    done = convcli("net", "show", "n.yaml", "--input", "2@24x20", "-o", "n.svg", cwd=tmp_path)
    assert done.returncode == 0
    assert (tmp_path / "n.svg").read_text().count("<path") == 1 + 2  # the tip, and two ways past other boxes
