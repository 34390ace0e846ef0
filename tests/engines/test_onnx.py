"""The node cases of ONNX for convolution and pooling, with the expected numbers that its wheel brings."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from convcli.engines import get_engine
from convcli.engines.base import Engine
from convcli.engines.padding import pad
from convcli.engines.pooling import pool_padded
from convcli.geometry.padding import PaddingName, PadMode
from convcli.geometry.pools import AVG, MAX
from convcli.geometry.windows import TransposedWindow, Window, transposed_window, window

NODES = Path(onnx.__file__).parent / "backend" / "test" / "data" / "node"
OPERATORS = ("Conv", "ConvTranspose", "MaxPool", "AveragePool")
LEFT_OUT: dict[str, str] = {}  # case: why it cannot apply
FOUR_DECIMALS = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}  # so the expected values were written
AUTO_PAD = {
    "VALID": PaddingName.VALID,
    "SAME_LOWER": PaddingName.SAME_LOWER,
    "SAME_UPPER": PaddingName.SAME_UPPER,
}


def find_cases() -> dict[str, Any]:
    """Return the single node of every case for our operators."""
    cases = {}
    for path in sorted(NODES.glob("*/model.onnx")):
        nodes = onnx.load(path).graph.node
        if len(nodes) == 1 and nodes[0].op_type in OPERATORS:
            cases[path.parent.name] = nodes[0]
    return cases


CASES = find_cases()


class Attributes:
    """A node's attributes, one value for each space axis of the data."""

    def __init__(self, node: Any, sizes: tuple[int, ...], kernel: tuple[int, ...] | None = None) -> None:
        self.given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        self.sizes = sizes
        self.kernel = kernel or tuple(self.given["kernel_shape"])
        self.stride = self.axes("strides", 1)
        self.dilation = self.axes("dilations", 1)
        self.extra = self.axes("output_padding", 0)
        self.groups = self.given.get("group", 1)
        pads = self.given.get("pads", [0] * 2 * len(sizes))
        self.padding: list[Any] = list(zip(pads[: len(sizes)], pads[len(sizes) :], strict=True))
        auto = self.given.get("auto_pad", b"NOTSET").decode()
        if auto != "NOTSET":
            self.padding = [AUTO_PAD[auto]] * len(sizes)

    def axes(self, name: str, default: int) -> tuple[int, ...]:
        return tuple(self.given.get(name, (default,) * len(self.sizes)))

    def windows(self) -> list[Window]:
        ceil = bool(self.given.get("ceil_mode", 0))
        axes = zip(self.sizes, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return [window(n, k, stride=s, padding=p, dilation=d, ceil=ceil) for n, k, s, p, d in axes]

    def transposed_windows(self) -> list[TransposedWindow]:
        axes = zip(self.sizes, self.kernel, self.stride, self.padding, self.dilation, self.extra, strict=True)
        windows = [
            transposed_window(n, k, stride=s, padding=p, dilation=d, output_padding=extra)
            for n, k, s, p, d, extra in axes
        ]
        if "output_shape" not in self.given:
            return windows
        wanted = zip(windows, self.sizes, self.given["output_shape"], strict=True)
        return [_fitted(w, w.output_size(n) - size) for w, n, size in wanted]


def _fitted(w: TransposedWindow, surplus: int) -> TransposedWindow:
    """ONNX: an output shape that is given crops what is too much (the odd one first) or lengthens the end."""
    crop, extra = max(surplus, 0), max(-surplus, 0)
    return TransposedWindow(
        w.kernel, w.stride, w.dilation, crop - crop // 2, crop // 2, w.output_padding + extra
    )


def run_conv(engine: Engine, node: Any, x: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    node = Attributes(node, x.shape[2:], weights.shape[2:])
    ranges = [w.input_range(0, w.output_size(n)) for w, n in zip(node.windows(), node.sizes, strict=True)]
    padded = pad(x, ranges, PadMode.ZERO)
    return [engine.correlate(padded, weights, stride=node.stride, dilation=node.dilation, groups=node.groups)]


def run_transposed(engine: Engine, node: Any, x: np.ndarray, weights: np.ndarray) -> list[np.ndarray]:
    node = Attributes(node, x.shape[2:], weights.shape[2:])
    inputs, outputs, *kernel = weights.shape  # of all groups, of one group
    grouped = weights.reshape(node.groups, inputs // node.groups, outputs, *kernel).swapaxes(1, 2)
    ours = grouped.reshape(node.groups * outputs, inputs // node.groups, *kernel)
    full = engine.transpose(x, ours, stride=node.stride, dilation=node.dilation, groups=node.groups)
    windows = zip(node.transposed_windows(), node.sizes, strict=True)
    return [pad(full, [(w.before, w.before + w.output_size(n)) for w, n in windows], PadMode.ZERO)]


def run_average(engine: Engine, node: Any, x: np.ndarray) -> list[np.ndarray]:
    node = Attributes(node, x.shape[2:])
    include = bool(node.given.get("count_include_pad", 0))
    return [pool_padded(engine, x, AVG, node.windows(), include)]


def run_max(engine: Engine, node: Any, x: np.ndarray) -> list[np.ndarray]:
    attributes = Attributes(node, x.shape[2:])
    data = x.astype(np.float32)  # one case is uint8, whose maxima are the same numbers
    values = pool_padded(engine, data, MAX, attributes.windows()).astype(x.dtype)
    return [values]


RUN = {"Conv": run_conv, "ConvTranspose": run_transposed, "MaxPool": run_max, "AveragePool": run_average}


def load(name: str, what: str) -> list[np.ndarray]:
    folder = NODES / name / "test_data_set_0"
    paths = sorted(folder.glob(f"{what}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [onnx.numpy_helper.to_array(onnx.load_tensor(path)) for path in paths]


def test_every_case_is_run_or_listed():
    assert Counter(node.op_type for node in CASES.values()) == {
        "Conv": 6,
        "ConvTranspose": 11,
        "MaxPool": 19,
        "AveragePool": 20,
    }
    assert LEFT_OUT.keys() <= CASES.keys()


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("name", [name for name in CASES if name not in LEFT_OUT])
def test_case(name: str, engine: str):
    node = CASES[name]
    expected = load(name, "output")

    got = RUN[node.op_type](get_engine(engine), node, *load(name, "input"))

    for ours, theirs in zip(got, expected[:1], strict=True):  # positions of maxima are not computed
        assert ours.shape == theirs.shape and ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=6e-5 if name in FOUR_DECIMALS else 1e-6)
