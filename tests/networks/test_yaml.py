"""Nets as text: what is read, and what is refused in one line that names the layer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convcli.common.errors import ConvError
from convcli.geometry.grammar import parse_layers
from convcli.geometry.graph import Shape, trace
from convcli.networks.model import Net
from convcli.networks.operations import Convolution
from convcli.networks.parse import load_net
from tests.shell import SAMPLES


def read(tmp_path: Path, text: str, **options: int) -> Net:
    path = tmp_path / "n.yaml"
    path.write_text(text)
    return load_net(path, **options)


NOTHING: Callable[[Path], object] = lambda folder: None  # noqa: E731


def stored(name: str, *shape: int) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, np.ones(shape))


FAULTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "no layers": ("preprocess: {scale: 2}", ("layers", "needed")),
    "an empty list": ("layers: []", ("list is needed",)),
    "an unknown kind": ("layers: [relu, cnov: {size: 3}]", ("layer 2", "'cnov'", "did you mean conv")),
    "an unknown key": ("layers: [conv: {size: 3, strid: 2}]", ("layer 1 (conv)", "'strid'", "stride")),
    "an unknown top key": ("layer: [relu]", ("'layer'", "did you mean layers")),
    "an unknown preprocess": ("preprocess: {gray: mean}\nlayers: [relu]", ("preprocess", "grey")),
    "two kinds in one item": ("layers: [{relu: '', tanh: ''}]", ("layer 1",)),
    "options that are none": ("layers: [pool: 2]", ("layer 1 (pool)", "'2'", "{key: value}")),
    "no size": ("layers: [pool: {kind: max}]", ("layer 1 (pool)", "size", "gpool")),
    "no weights": ("layers: [conv: {maps: 3}]", ("layer 1 (conv)", "none")),
    "two sources": ("layers: [conv: {size: 3, kernel: box}]", ("kernel: and size:",)),
    "maps beside a kernel": ("layers: [conv: {maps: 3, kernel: hedge}]", ("maps", "kernel")),
    "stride 0": ("layers: [conv: {size: 3, stride: 0}]", ("layer 1 (conv)", "stride", "0")),
    "negative padding": ("layers: [conv: {size: 3, padding: -1}]", ("padding", "-1")),
    "a wrong kernel name": ("layers: [conv: {kernel: hegde}]", ("layer 1 (conv)", "hedge")),
    "ragged weights": ("layers: [conv: {weights: [[1, 2], [3]]}]", ("layer 1 (conv)", "weights", "row 2")),
    "a word as a number": ("layers: [leaky: {slope: steep}]", ("layer 1 (leaky)", "slope", "'steep'")),
    "a wrong mode": ("layers: [upsample: {mode: linear}]", ("mode", "'linear'", "bilinear")),
    "a name twice": ("layers: [relu: {name: a}, tanh: {name: a}]", ("layer 2 (tanh)", "'a'")),
    "classes not set": ("layers: [flatten, dense: {outputs: num_classes}]", ("layer 2", "num_classes: 10")),
    "std 0": ("preprocess: {std: 0}\nlayers: [relu]", ("std", "zero")),
    "pad_mode of tconv": ("layers: [tconv: {size: 3, pad_mode: reflect}]", ("layer 1 (tconv)", "pad_mode")),
    "an alias": ("layers: [&a relu, *a]", ("anchors", "net files")),
    "a key twice": ("layers: [relu]\nlayers: [tanh]", ("twice",)),
    "no mapping": ("relu", ("no net",)),
    "a missing weights file": (
        "layers: [conv: {weights: no.npy}]",
        ("layer 1 (conv)", "no.npy", "no such file"),
    ),
    "a state dict without a key": ("layers: [conv: {weights: no.pth#w}]", ("no.pth", "no such file")),
    "too many maps": (
        "layers: [conv: {maps: 100000000, size: 1}]",
        ("layer 1 (conv)", "more than 1,000,000"),
    ),
    "too many outputs": ("layers: [dense: {outputs: 2000000}]", ("layer 1 (dense)", "more than 1,000,000")),
    "too many layers": (f"layers: [{'relu, ' * 10_001}]", ("10,001 layers are more than 10,000",)),
    "flat weights for dense": ("layers: [dense: {weights: [1, 2]}]", ("layer 1 (dense)", "two are needed")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_of_the_text(name: str, tmp_path: Path) -> None:
    text, fragments = FAULTS[name]
    with pytest.raises(ConvError) as caught:
        read(tmp_path, text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "n.yaml")) or "n.yaml" in message
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message


MISFITS: dict[str, tuple[str, Shape, tuple[str, ...]]] = {
    "channels": (
        "layers: [relu, conv: {weights: w.npy}]", Shape(4, (9, 9)),
        ("layer 2 (conv1) on 4@9x9", "take 3 channels", "4 come in"),
    ),
    "a kernel too large": (
        "layers: [pool: {size: 4}, conv: {size: 5}]", Shape(1, (9, 9)), ("layer 2 (conv1) on 1@2x2", "3 more"),
    ),
    "rank": ("layers: [conv: {size: 3x3}]", Shape(1, (9,)), ("layer 1", "kernel 3x3 is of rank 2", "rank: 1")),
    "a bank read as a volume": (
        "layers: [conv: {weights: [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]}]", Shape(3, (5, 5)),
        ("layer 1", "kernel 2x2x2 is of rank 3", "2 axes", "rank: 2"),
    ),
    "dense before flatten": (
        "layers: [dense: {outputs: 3}]", Shape(2, (4, 4)), ("layer 1 (dense1)", "2@4x4", "flatten"),
    ),
    "dense weights": (
        "layers: [flatten, dense: {weights: [[1, 2, 3]]}]", Shape(1, (2, 2)),
        ("layer 2 (dense1) on 4", "take 3 numbers", "4 come in"),
    ),
    "a conv after flatten": ("layers: [flatten, conv: {size: 3}]", Shape(1, (5, 5)), ("25 flat numbers",)),
    "groups": ("layers: [conv: {size: 3, maps: 4, groups: 2}]", Shape(3, (5, 5)), ("3 channels", "2 groups")),
    "bicubic on a signal": ("layers: [upsample: {mode: bicubic}]", Shape(1, (5,)), ("two axes",)),
    "luma of two": (
        "preprocess: {grey: luma}\nlayers: [relu]", Shape(2, (5, 5)), ("preprocess", "2 channels"),
    ),
    "mean of three": (
        "preprocess: {mean: [1, 2, 3]}\nlayers: [relu]", Shape(2, (5, 5)), ("mean has 3 values for 2 channels",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISFITS)
def test_layers_that_do_not_fit(name: str, tmp_path: Path) -> None:
    text, shape, fragments = MISFITS[name]
    np.save(tmp_path / "w.npy", np.ones((2, 3, 3, 3)))
    net = read(tmp_path, text)
    with pytest.raises(ConvError) as caught:
        net.trace(net.preprocess.output(shape))
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert caught.value.exit_code == 2


def test_defaults_are_left_out(tmp_path: Path) -> None:
    net = read(
        tmp_path, "layers:\n- conv: {size: 3, maps: 2}\n- relu\n- conv: {size: 3}\n- pool: {size: 2}\n"
    )
    assert [layer.name for layer in net.layers] == ["conv1", "relu1", "conv2", "pool1"]
    assert [layer.label for layer in net.layers] == [
        "conv1 conv:2@3",
        "relu1",
        "conv2 conv:1@3",
        "pool1 pool:max:2",
    ]
    assert net.position("conv2") == net.position("3") == 2
    with pytest.raises(ConvError, match=r"no layer named 'covn2'; did you mean conv2\?"):
        net.position("covn2")


def test_num_classes_from_the_caller(tmp_path: Path) -> None:
    text = "num_classes: 10\nlayers: [flatten, dense: {outputs: num_classes}]"
    assert read(tmp_path, text).trace(Shape(1, (3, 3)))[-1].output == Shape(10)
    assert read(tmp_path, text, num_classes=26).trace(Shape(1, (3, 3)))[-1].output == Shape(26)
    with pytest.raises(ConvError, match="num_classes"):
        read(tmp_path, "layers: [relu]", num_classes=3)


def test_the_table_is_that_of_shape(tmp_path: Path) -> None:
    """Convolutions and pools, through `convcli.geometry.layers.trace` and through a net."""
    texts = [
        "conv:6@5x3,s=2,p=1",
        "pool:avg:3,s=2,p=1,ceil",
        "tconv:4@3,s=2,op=1",
        "conv:2@3,same,d=2",
        "gpool:max",
    ]
    net = read(
        tmp_path,
        "layers:\n"
        "- conv: {maps: 6, size: 5x3, stride: 2, padding: 1}\n"
        "- pool: {kind: avg, size: 3, stride: 2, padding: 1, ceil: true}\n"
        "- tconv: {maps: 4, size: 3, stride: 2, output_padding: 1}\n"
        "- conv: {maps: 2, size: 3, padding: same, dilation: 2}\n"
        "- gpool: {kind: max}\n",
    )
    expected = trace(parse_layers(texts), 3, (40, 31))
    found = [step.row for step in net.trace(Shape(3, (40, 31)))]
    for row, other in zip(found, expected, strict=True):
        assert (row.output, row.field, row.jump, row.start) == (
            other.output,
            other.field,
            other.jump,
            other.start,
        )
        assert (row.parameters, row.multiply_adds, row.unused) == (
            other.parameters, other.multiply_adds, other.unused,
        )  # fmt: skip


def test_a_dense_layer_sees_everything(tmp_path: Path) -> None:
    net = read(
        tmp_path, "layers: [conv: {size: 3}, flatten, relu, dense: {outputs: 4}, tanh, dense: {outputs: 2}]"
    )
    rows = [step.row for step in net.trace(Shape(1, (8, 6)))]
    assert [row.field for row in rows] == [(3, 3), (3, 3), (3, 3), (8, 6), (8, 6), (8, 6)]


SAMPLE_SIZES = {
    "lenet": "10", "resnet-stem": "64@56x56", "autoencoder": "1@32x32", "pyramid": "3@30x40", "sobel-pool": "1@1x1",
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLE_SIZES)
def test_samples(name: str) -> None:
    net = load_net(SAMPLES / f"{name}.yaml")
    assert net.input is not None
    steps = net.trace(net.preprocess.output(net.input))
    assert str(steps[-1].output) == SAMPLE_SIZES[name]


def test_lenet_has_the_paper_s_maps() -> None:
    net = load_net(SAMPLES / "lenet.yaml")
    convolutions = [s for s in net.trace(Shape(1, (32, 32))) if isinstance(s.layer.operation, Convolution)]
    assert [str(step.output) for step in convolutions] == ["6@28x28", "16@10x10", "120@1x1"]
    assert convolutions[0].row.parameters == 156  # 6 × (25 + 1), the paper's C1
    assert convolutions[2].row.parameters == 48_120  # 120 × (16 × 25 + 1), its C5
