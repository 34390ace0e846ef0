"""Nets computed: every layer and whole chains against torch.nn in float64, written out independently; blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from convcli.data.box import Box, grid, slices
from convcli.data.info import ArraySource
from convcli.explanations.value import explain_pool
from convcli.geometry.graph import Shape
from convcli.geometry.pools import MAX, POOLS, PoolKind
from convcli.jobs.chain import PoolStage
from convcli.networks.blocks import NetSource, block_length, not_local
from convcli.networks.model import Net, parameters_of
from convcli.networks.operations import Convolution
from convcli.networks.parse import load_net
from convcli.networks.torch_run import TorchNet, forward
from convcli.networks.weights import initial
from tests.pad_modes import padded
from tests.shell import convcli

RANDOM = np.random.default_rng(5)


def net_of(tmp_path: Path, text: str, name: str = "n.yaml") -> Net:
    path = tmp_path / name
    path.write_text(text)
    return load_net(path)


def model_of(net: Net, array: np.ndarray, dtype: str = "float64") -> TorchNet:
    steps = net.trace(net.preprocess.output(Shape(array.shape[0], array.shape[1:])))
    return TorchNet.load(net, steps, initial(parameters_of(steps), seed=9), dtype)


def data(*shape: int) -> np.ndarray:
    return RANDOM.normal(size=shape)


def check(model: TorchNet, array: np.ndarray, expected: torch.Tensor) -> None:
    found = model.run(array)
    assert found.shape == tuple(expected.shape)
    assert found.shape == (model.steps[-1].output.channels, *model.steps[-1].output.sizes)
    np.testing.assert_allclose(found, expected.detach().numpy(), rtol=1e-11, atol=1e-12)


X2 = data(3, 13, 11)
T2 = torch.from_numpy(X2)[None]


def weights(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def save(path: Path, tensor: torch.Tensor) -> None:
    np.save(path, tensor.numpy())


Expected = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

CONVOLUTIONS: dict[str, tuple[str, tuple[int, ...], Expected]] = {
    "plain": ("", (4, 3, 3, 2), lambda x, w: F.conv2d(x, w)),
    "strides and paddings": (
        "stride: 2x1, padding: 1x2, dilation: 1x2",
        (4, 3, 3, 2),
        lambda x, w: F.conv2d(x, w, stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    ),
    "uneven padding": (
        "padding: [1:2, 0:3]", (4, 3, 3, 2), lambda x, w: F.conv2d(F.pad(x, (0, 3, 1, 2)), w),
    ),
    "reflect": (
        "padding: 2x1, pad_mode: reflect", (4, 3, 3, 2),
        lambda x, w: F.conv2d(F.pad(x, (1, 1, 2, 2), mode="reflect"), w),
    ),
    "circular": (
        "padding: 2x1, pad_mode: circular", (4, 3, 3, 2),
        lambda x, w: F.conv2d(F.pad(x, (1, 1, 2, 2), mode="circular"), w),
    ),
    "antireflect": (
        "padding: 2x5, pad_mode: antireflect", (4, 3, 3, 2),
        lambda x, w: F.conv2d(torch.from_numpy(padded(x.numpy(), ((0, 0), (0, 0), (2, 2), (5, 5)), "antireflect")), w),
    ),
    "replicate, same": (
        "padding: same, pad_mode: replicate", (4, 3, 3, 2),
        lambda x, w: F.conv2d(F.pad(x, (0, 1, 1, 1), mode="replicate"), w),
    ),
    "groups": ("groups: 3, stride: 2", (6, 1, 3, 2), lambda x, w: F.conv2d(x, w, stride=2, groups=3)),
    "bias": (
        "bias: [1, -2, 0.5, 1/4]", (4, 3, 3, 2),
        lambda x, w: F.conv2d(x, w, torch.tensor([1, -2, 0.5, 0.25], dtype=torch.float64)),
    ),
    "each channel alone": (
        "rank: 2", (2, 3, 2),
        lambda x, w: F.conv2d(x, w[:, None].repeat(3, 1, 1, 1), groups=3),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str, tmp_path: Path) -> None:
    options, shape, expected = CONVOLUTIONS[name]
    w = weights(*shape)
    save(tmp_path / "w.npy", w)
    text = f"layers:\n- conv: {{weights: w.npy{', ' if options else ''}{options}}}\n"
    model = model_of(net_of(tmp_path, text), X2)
    check(model, X2, expected(T2, w)[0])


@pytest.mark.parametrize("layout", ["ours", "torch"])
@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ("", {}),
        (
            "stride: 2x3, padding: 1, output_padding: 1x0",
            {"stride": (2, 3), "padding": 1, "output_padding": (1, 0)},
        ),
        ("stride: 2, dilation: 2", {"stride": 2, "dilation": 2}),
    ],
)
def test_transposed_convolutions(options: str, arguments: dict, layout: str, tmp_path: Path) -> None:
    w = weights(3, 4, 3, 2)  # torch: in, out
    save(tmp_path / "w.npy", w if layout == "torch" else w.transpose(0, 1).contiguous())
    given = f"weights: w.npy, layout: {layout}, bias: [1, 2, 3, 4]"
    net = net_of(tmp_path, f"layers:\n- tconv: {{{given}{', ' if options else ''}{options}}}\n")
    bias = torch.arange(1.0, 5.0, dtype=torch.float64)
    check(model_of(net, X2), X2, F.conv_transpose2d(T2, w, bias, **arguments)[0])


def test_grouped_transposed_convolution(tmp_path: Path) -> None:
    x = data(4, 5, 6)
    w = weights(4, 3, 2, 3)  # torch: 4 in, 3 out in each of 2 groups
    ours = w.reshape(2, 2, 3, 2, 3).transpose(1, 2).reshape(6, 2, 2, 3)
    save(tmp_path / "w.npy", ours)
    net = net_of(tmp_path, "layers:\n- tconv: {weights: w.npy, groups: 2, stride: 2}\n")
    check(model_of(net, x), x, F.conv_transpose2d(torch.from_numpy(x)[None], w, stride=2, groups=2)[0])


def _threes(x: torch.Tensor) -> torch.Tensor:
    """Return windows of 3 by 3 side by side, their taps last."""
    return x.unfold(2, 3, 3).unfold(3, 3, 3).flatten(-2)


POINTWISE: dict[str, Expected] = {
    "relu": lambda x, w: F.relu(x),
    "leaky": lambda x, w: F.leaky_relu(x, 0.01),
    "leaky: {slope: 0.2}": lambda x, w: F.leaky_relu(x, 0.2),
    "sigmoid": lambda x, w: 1 / (1 + torch.exp(-x)),
    "tanh": lambda x, w: torch.tanh(x),
    "softmax": lambda x, w: torch.exp(x) / torch.exp(x).sum(1, keepdim=True),
    "prelu: {slope: [0.1, 0.2, -1]}": lambda x, w: torch.where(
        x > 0, x, x * torch.tensor([0.1, 0.2, -1], dtype=x.dtype).reshape(1, 3, 1, 1)
    ),
    "bias: {values: [1, 2, 1/2]}": lambda x, w: (
        x + torch.tensor([1, 2, 0.5], dtype=x.dtype).reshape(1, 3, 1, 1)
    ),
    "batchnorm: {weight: [1, 2, 3], bias: 0.5, mean: [0, 1, -1], var: [1, 4, 9], eps: 0.1}": lambda x, w: (
        F.batch_norm(
            x,
            torch.tensor([0.0, 1, -1], dtype=x.dtype),
            torch.tensor([1.0, 4, 9], dtype=x.dtype),
            torch.tensor([1.0, 2, 3], dtype=x.dtype),
            torch.full((3,), 0.5, dtype=x.dtype),
            eps=0.1,
        )
    ),
    "pool: {size: 2}": lambda x, w: F.max_pool2d(x, 2),
    "pool: {size: 3x2, stride: 2, padding: 1, ceil: true}": lambda x, w: F.max_pool2d(
        x, (3, 2), 2, 1, ceil_mode=True
    ),
    "pool: {size: 2, dilation: 3}": lambda x, w: F.max_pool2d(x, 2, 2, dilation=3),
    "pool: {kind: avg, size: 3, stride: 2, padding: 1, include_padding: true}": lambda x, w: F.avg_pool2d(
        x, 3, 2, 1
    ),
    "pool: {kind: avg, size: 3, stride: 2, padding: 1, ceil: true}": lambda x, w: F.avg_pool2d(
        x, 3, 2, 1, count_include_pad=False, ceil_mode=True
    ),
    "pool: {kind: avg, size: 2, stride: 1, dilation: 2}": lambda x, w: F.conv2d(
        x, torch.full((3, 1, 2, 2), 0.25, dtype=x.dtype), dilation=2, groups=3
    ),
    "pool: {kind: min, size: 3}": lambda x, w: -F.max_pool2d(-x, 3),
    "pool: {kind: median, size: 3}": lambda x, w: _threes(x).median(-1).values,
    "pool: {kind: percentile:75, size: 3}": lambda x, w: _threes(x).quantile(0.75, -1),
    "pool: {kind: std, size: 3}": lambda x, w: _threes(x).std(-1, correction=0),
    "pool: {kind: var, size: 3}": lambda x, w: _threes(x).var(-1, correction=0),
    "pool: {kind: range, size: 3}": lambda x, w: _threes(x).amax(-1) - _threes(x).amin(-1),
    "pool: {kind: majority, size: 3}": lambda x, w: _threes(x).mode(-1).values,
    "pool: {kind: count, size: 3}": lambda x, w: torch.full_like(_threes(x)[..., 0], 9),
    "gpool": lambda x, w: x.amax((2, 3), keepdim=True),
    "gpool: {kind: avg}": lambda x, w: F.adaptive_avg_pool2d(x, 1),
    "gpool: {kind: min}": lambda x, w: x.amin((2, 3), keepdim=True),
    "gpool: {kind: median}": lambda x, w: x.flatten(2).median(-1).values[..., None, None],
    "gpool: {kind: percentile}": lambda x, w: x.flatten(2).quantile(0.9, -1)[..., None, None],
    "gpool: {kind: std}": lambda x, w: x.std((2, 3), correction=0, keepdim=True),
    "gpool: {kind: var}": lambda x, w: x.var((2, 3), correction=0, keepdim=True),
    "gpool: {kind: range}": lambda x, w: x.amax((2, 3), keepdim=True) - x.amin((2, 3), keepdim=True),
    "gpool: {kind: majority}": lambda x, w: x.flatten(2).mode(-1).values[..., None, None],
    "gpool: {kind: count}": lambda x, w: torch.full((1, 3, 1, 1), float(x[0, 0].numel()), dtype=x.dtype),
    "flatten": lambda x, w: x.reshape(1, -1),
    "upsample": lambda x, w: x.repeat_interleave(2, 2).repeat_interleave(2, 3),
    "upsample: {scale: 3x2, mode: bilinear}": lambda x, w: F.interpolate(
        x, size=(39, 22), mode="bilinear", align_corners=False
    ),
    "upsample: {mode: bicubic}": lambda x, w: F.interpolate(
        x, size=(26, 22), mode="bicubic", align_corners=False
    ),
}


@pytest.mark.parametrize("layer", ["pool", "gpool"])
def test_every_kind_of_pool_has_its_value(layer: str) -> None:
    default = {str(MAX)}  # of a layer that names no kind
    named = {found[1] for text in POINTWISE if (found := re.match(rf"{layer}: {{kind: (\w+)", text))}
    assert named | default == {str(kind) for kind in POOLS}


@pytest.mark.parametrize("layer", POINTWISE)
def test_other_layers(layer: str, tmp_path: Path) -> None:
    model = model_of(net_of(tmp_path, f"layers:\n- {layer}\n"), X2)
    check(model, X2, POINTWISE[layer](T2, T2)[0])


@pytest.mark.parametrize("kind", POOLS, ids=str)
@pytest.mark.parametrize(
    "text",
    [
        "pool: {kind: KIND, size: 3, stride: 2, padding: 1, ceil: true}",
        "pool: {kind: KIND, size: 2x3, stride: 1, padding: 1, dilation: 2, include_padding: true}",
        "gpool: {kind: KIND}",
    ],
)
def test_a_pools_gradient_goes_where_explain_says(text: str, kind: PoolKind, tmp_path: Path) -> None:
    x = RANDOM.integers(0, 4, (7, 6)).astype(float)  # equal samples in most windows
    (step,) = model_of(net_of(tmp_path, f"layers:\n- {text.replace('KIND', str(kind))}\n"), x[None]).steps
    tensor = torch.tensor(x[None, None], requires_grad=True)
    out = forward([step], {}, tensor)[0, 0]
    pool = step.layer.operation.geometry
    stage = PoolStage(kind, pool.windows(x.shape), pool.include_padding)
    assert out.requires_grad or kind.name == "count"  # which no value of a sample changes
    for at in np.ndindex(*(out.shape if out.requires_grad else (0,))):
        (gradient,) = torch.autograd.grad(out[at], tensor, retain_graph=True)
        expected = np.zeros_like(x)
        for tap in explain_pool(stage, x[None], at, [out[at].item()]).outputs[0].taps:
            if tap.tap.source is not None:
                expected[tap.tap.source] += tap.gradient
        np.testing.assert_allclose(gradient[0, 0], expected, atol=1e-12)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("padding", [0, 1])
def test_a_medians_gradient_is_that_of_torchs_quantile(size: int, padding: int, tmp_path: Path) -> None:
    text = f"layers:\n- pool: {{kind: median, size: {size}, padding: {padding}, stride: 1}}\n"
    (step,) = model_of(net_of(tmp_path, text), X2).steps
    x, y = T2.clone().requires_grad_(), T2.clone().requires_grad_()
    out = forward([step], {}, x)
    padded = F.pad(y, [padding] * 4, value=np.nan)
    windows = padded.unfold(2, size, 1).unfold(3, size, 1).flatten(4)
    expected = windows.nanquantile(0.5, dim=-1)
    np.testing.assert_allclose(out.detach(), expected.detach(), rtol=0, atol=1e-14)
    weight = weights(*out.shape)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    np.testing.assert_allclose(x.grad, y.grad, rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(lambda one: forward([step], {}, one), T2.clone().requires_grad_())


@pytest.mark.parametrize(("rank", "shape"), [(1, (2, 23)), (3, (2, 6, 7, 8))])
def test_other_ranks(rank: int, shape: tuple[int, ...], tmp_path: Path) -> None:
    x, w = data(*shape), weights(3, 2, *(3, 2, 2)[:rank])
    save(tmp_path / "w.npy", w)
    text = (
        f"layers:\n- conv: {{weights: w.npy, padding: 1, rank: {rank}}}\n- pool: {{kind: avg, size: 2}}\n"
        "- upsample: {mode: bilinear, scale: 2}\n"
    )
    y = torch.from_numpy(x)[None]
    y = (F.conv1d, F.conv2d, F.conv3d)[rank - 1](y, w, padding=1)
    y = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[rank - 1](y, 2)
    y = F.interpolate(y, scale_factor=2.0, mode=("linear", "bilinear", "trilinear")[rank - 1])
    check(model_of(net_of(tmp_path, text), x), x, y[0])


LENET = """
preprocess: {scale: 1/255, grey: mean}
num_classes: 10
seed: 4
layers:
  - conv: {maps: 6, size: 5x5}
  - tanh
  - pool: {kind: avg, size: 2}
  - conv: {maps: 16, size: 5}
  - tanh
  - pool: {kind: avg, size: 2}
  - conv: {maps: 120, size: 5}
  - tanh
  - flatten
  - dense: {outputs: 84}
  - tanh
  - dense: {outputs: num_classes}
  - softmax
"""


def lenet(model: TorchNet) -> nn.Sequential:
    """The same stack in torch's own words, with the model's numbers."""
    same = nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2),
        nn.Conv2d(16, 120, 5), nn.Tanh(), nn.Flatten(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10),
        nn.Softmax(1),
    ).double()  # fmt: skip
    numbered = dict(zip([0, 3, 6, 9, 11], ["conv1", "conv2", "conv3", "dense1", "dense2"], strict=True))
    state = {
        f"{index}.{what}": model.parameters[f"{name}.{what}"]
        for index, name in numbered.items()
        for what in ("weight", "bias")
    }
    same.load_state_dict(state)
    return same


def test_a_whole_stack_and_its_gradients(tmp_path: Path) -> None:
    image = RANDOM.integers(0, 256, (3, 32, 32), dtype=np.uint8)
    model = model_of(net_of(tmp_path, LENET), image)
    same = lenet(model)
    x = torch.from_numpy(image.astype(float)).mean(0)[None, None] / 255
    check(model, image, same(x)[0])
    assert sum(step.row.parameters for step in model.steps) == sum(p.numel() for p in same.parameters())

    leaves = {name: value.clone().requires_grad_() for name, value in model.parameters.items()}
    forward(model.steps, leaves, x)[0, 3].backward()
    same(x)[0, 3].backward()
    torch.testing.assert_close(leaves["conv1.weight"].grad, same[0].weight.grad, rtol=1e-10, atol=1e-14)
    torch.testing.assert_close(leaves["dense2.bias"].grad, same[11].bias.grad, rtol=1e-10, atol=1e-14)


def test_batch_norm_trains_as_torch_does(tmp_path: Path) -> None:
    model = model_of(net_of(tmp_path, "layers: [batchnorm]\n"), X2)
    batch = torch.from_numpy(data(4, 3, 13, 11))
    norm = nn.BatchNorm2d(3).double()
    out = forward(model.steps, model.parameters, batch, training=True)
    torch.testing.assert_close(out, norm(batch))
    torch.testing.assert_close(model.parameters["batchnorm1.running_mean"], norm.running_mean)
    torch.testing.assert_close(model.parameters["batchnorm1.running_var"], norm.running_var)


def test_preprocess_in_the_stated_order(tmp_path: Path) -> None:
    image = RANDOM.integers(0, 256, (3, 40, 30), dtype=np.uint8)
    text = (
        "preprocess: {resize: 16x20, scale: 1/255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]}\n"
        "layers: [relu]\n"
    )
    x = torch.from_numpy(image.astype(float))[None]
    x = F.interpolate(x, (16, 20), mode="bilinear", antialias=True) / 255
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=torch.float64).reshape(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225], dtype=torch.float64).reshape(3, 1, 1)
    check(model_of(net_of(tmp_path, text), image), image, F.relu((x[0] - mean) / std))


@pytest.mark.parametrize(
    ("grey", "share"), [("mean", (1 / 3, 1 / 3, 1 / 3)), ("luma", (0.2126, 0.7152, 0.0722))]
)
def test_grey(grey: str, share: tuple[float, ...], tmp_path: Path) -> None:
    image = RANDOM.integers(0, 256, (3, 4, 5), dtype=np.uint8)
    model = model_of(net_of(tmp_path, f"preprocess: {{grey: {grey}}}\nlayers: [relu]\n"), image)
    check(model, image, torch.from_numpy(np.tensordot(share, image.astype(float), 1)[None]))


def test_kernels_by_name_combine_as_in_filter(tmp_path: Path) -> None:
    from convcli import filter as convolve

    image = RANDOM.normal(size=(12, 9, 2))
    net = net_of(tmp_path, "layers:\n- conv: {kernel: sobel, padding: same, pad_mode: reflect}\n")
    model = model_of(net, image.transpose(2, 0, 1))
    expected = convolve(image, "sobel", padding="same", pad_mode="reflect", axes="YXC", engine="numpy")
    np.testing.assert_allclose(model.run(image.transpose(2, 0, 1)), expected.transpose(2, 0, 1), atol=1e-12)


def test_even_kernels_and_flips_keep_their_origin(tmp_path: Path) -> None:
    from convcli import filter as convolve

    line = RANDOM.normal(size=14)
    net = net_of(tmp_path, "layers:\n- conv: {kernel: edge, rank: 1, flip: true, padding: same}\n")
    expected = convolve(line, "edge", padding="same", pad_mode="zero", flip=True)
    np.testing.assert_allclose(model_of(net, line[None]).run(line[None])[0], expected, atol=1e-12)


def test_random_weights_are_the_seed_s_own(tmp_path: Path) -> None:
    net = net_of(tmp_path, "layers:\n- conv: {maps: 50, size: 5, seed: 3}\n- conv: {maps: 2, size: 3}\n")
    steps = net.trace(Shape(2, (20, 20)))
    first, again = (initial(parameters_of(steps), seed=7) for _ in range(2))
    other = initial(parameters_of(steps), seed=8)
    np.testing.assert_array_equal(first["conv2.weight"], again["conv2.weight"])
    np.testing.assert_array_equal(first["conv1.weight"], other["conv1.weight"])  # has its own seed
    assert not np.array_equal(first["conv2.weight"], other["conv2.weight"])
    assert not np.array_equal(first["conv2.weight"].ravel()[:2], first["conv2.bias"])
    bound = 1 / np.sqrt(2 * 25)
    assert 0.98 * bound < np.abs(first["conv1.weight"]).max() <= bound
    assert abs(first["conv1.weight"].std() - bound / np.sqrt(3)) < 0.02 * bound


# Blocks

LOCAL = """
preprocess: {scale: 1/255, mean: [0.4, 0.5, 0.6], std: 0.25}
seed: 2
layers:
  - conv: {maps: 4, size: 3x2, padding: 2x1, pad_mode: MODE}
  - batchnorm: {mean: 0.1, var: 2}
  - relu
  - pool: {kind: KIND, size: 3, stride: 2, padding: 1, ceil: true}
  - tconv: {maps: 3, size: 3, stride: 2, padding: 1, output_padding: 1}
  - prelu
  - upsample: {mode: UP, scale: 2}
  - conv: {maps: 2, size: 3, dilation: 2, stride: 3, padding: same}
  - softmax
"""


@pytest.mark.parametrize("length", [1, 4, 1000])
@pytest.mark.parametrize(
    ("mode", "kind", "up"),
    [
        ("zero", "max", "bilinear"),
        ("reflect", "avg", "bicubic"),
        ("circular", "min", "nearest"),
        ("symmetric", "avg", "bilinear"),
        ("antireflect", "max", "bicubic"),
    ],
)
def test_blocks_equal_the_whole(mode: str, kind: str, up: str, length: int, tmp_path: Path) -> None:
    image = RANDOM.integers(0, 256, (3, 37, 23), dtype=np.uint8)
    text = LOCAL.replace("MODE", mode).replace("KIND", kind).replace("UP", up)
    model = model_of(net_of(tmp_path, text), image)
    assert not_local(model.net, model.steps) == ""
    source = Asked(image, "CYX")
    for index in range(len(model.steps)):
        part = model.upto(str(index + 1))
        computed = NetSource(part, source, "YX", length)
        expected = part.run(image)
        np.testing.assert_allclose(computed.read(computed.info.box), expected, rtol=1e-12, atol=1e-13)
        rows, columns = expected.shape[1:]
        box = (rows // 3, rows), (columns // 4, columns // 4 + 2)
        np.testing.assert_allclose(computed.read(box), expected[(..., *slices(box))], rtol=1e-12, atol=1e-13)
    if length == 1 and mode != "circular":
        assert (
            max(stop - start for (start, stop), _ in source.boxes) < 25
        )  # the receptive field, not the image


class Asked(ArraySource):
    """Remembers what was read."""

    def __init__(self, array: np.ndarray, axes: str) -> None:
        super().__init__(array, axes)
        self.boxes: list[Box] = []

    def read(self, box: Box) -> np.ndarray:
        assert all(0 <= start < stop <= n for (start, stop), (_, n) in zip(box, self.info.box, strict=True))
        self.boxes.append(box)
        return super().read(box)


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize(
    "layer",
    [
        "conv: {maps: 1, size: 3, padding: 5, seed: 0}",
        "conv: {maps: 1, size: 3, padding: 9, pad_mode: constant, pad_value: 7, seed: 0}",
        "conv: {maps: 1, size: 3, padding: 9, pad_mode: reflect, seed: 0}",
        "tconv: {maps: 1, size: 1, stride: 4, seed: 0}",
        "tconv: {maps: 1, size: 2, stride: 5, output_padding: 4, seed: 0}",
        "pool: {kind: max, size: 2, padding: 4}",
        "pool: {kind: avg, size: 2, padding: 4, stride: 1, include_padding: true}",
        "pool: {kind: avg, size: 3, padding: 5, stride: 2, ceil: true}",
    ],
)
def test_blocks_wholly_in_padding_or_between_taps(layer: str, length: int, tmp_path: Path) -> None:
    image = data(2, 4, 5)
    model = model_of(net_of(tmp_path, f"layers:\n- {layer}\n"), image)
    computed = NetSource(model, ArraySource(image, "CYX"), "YX", length)
    expected = model.run(image)
    np.testing.assert_allclose(computed.read(computed.info.box), expected, rtol=1e-12, atol=1e-13)
    for box in grid(expected.shape[1:], (length, length + 1)):
        np.testing.assert_allclose(computed.read(box), expected[(..., *slices(box))], rtol=1e-12, atol=1e-13)


def test_an_odd_bicubic_scale_in_blocks(tmp_path: Path) -> None:
    image = data(2, 17, 5)
    model = model_of(net_of(tmp_path, "layers:\n- upsample: {scale: 3, mode: bicubic}\n"), image)
    computed = NetSource(model, ArraySource(image, "CYX"), "YX", 2)
    np.testing.assert_allclose(computed.read(computed.info.box), model.run(image), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("layers: [relu, flatten]", "flatten1"),
        ("layers: [relu, gpool]", "gpool1"),
        ("preprocess: {resize: 8}\nlayers: [relu]", "preprocess: resize"),
    ],
)
def test_what_needs_everything_says_so(text: str, culprit: str, tmp_path: Path) -> None:
    net = net_of(tmp_path, text)
    assert not_local(net, net.trace(net.preprocess.output(Shape(1, (9, 9))))) == culprit


def test_blocks_are_as_large_as_memory_should_hold(tmp_path: Path) -> None:
    net = net_of(tmp_path, "layers:\n- conv: {maps: 64, size: 3, seed: 0}\n")
    steps = net.trace(Shape(3, (4000, 4000)))
    assert isinstance(steps[0].layer.operation, Convolution)
    assert 16 <= block_length(steps) <= 40  # 64 maps of 4000 columns: 32 MB are 32 rows
    assert block_length(net.trace(Shape(3, (40, 40)))) == 38
    wide = net_of(tmp_path, "layers:\n- conv: {maps: 64, size: 31, seed: 0}\n", "wide.yaml")
    assert block_length(wide.trace(Shape(3, (4000, 40_000)))) == 4 * 31  # memory would hold 3 rows


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ("", (16, 16, 3, 3)),
        ("", (8, 16, 11, 13)),
        ("groups: 16", (16, 1, 9, 9)),
        ("stride: 2", (4, 16, 31, 29)),
    ],
)
def test_a_huge_value_is_felt_only_in_its_windows(
    options: str, shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    """Torch's kernels are chosen by shape: sums of 3 x 3 are where a library would transform."""
    w, x = weights(*shape), data(16, 70, 90)
    x[:, 5:8, 60:66] = 1e20
    save(tmp_path / "w.npy", w)
    text = f"layers:\n- conv: {{weights: w.npy{', ' if options else ''}{options}}}\n"
    found = model_of(net_of(tmp_path, text), x, dtype).run(x.astype(dtype))
    arguments = {option.split(": ")[0]: int(option.split(": ")[1]) for option in filter(None, [options])}
    want = F.conv2d(torch.from_numpy(x)[None], w, **arguments)[0].numpy()
    own = F.conv2d(torch.from_numpy(abs(x))[None], abs(w), **arguments)[0].numpy()
    assert (abs(found - want) <= {"float32": 1e-5, "float64": 1e-13}[dtype] * own).all()


def test_feature_maps_that_the_memory_cannot_hold_are_refused(tmp_path: Path) -> None:
    (tmp_path / "n.yaml").write_text("input: 1@9x90000\nseed: 0\nlayers: [conv: {maps: 1000000, size: 1}]\n")
    Image.new("L", (90_000, 9)).save(tmp_path / "a.png")
    done = convcli("net", "run", "n.yaml", "a.png", "-o", "o.npy", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert b"layer conv1 would take" in done.stderr and done.stderr.count(b"\n") == 1
