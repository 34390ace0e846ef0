"""ONNX models, and other ones made of them: one node, initializer, shape or version is changed, the rest is sound.

The library's own text format describes them; initializers are filled from their shapes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any

import numpy as np
import onnx

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 65_536, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
KINDS = (
    *(
        "Conv",
        "ConvTranspose",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "LpPool",
        "Gemm",
        "MatMul",
        "Add",
        "Mul",
    ),
    *(
        "Concat",
        "Relu",
        "Clip",
        "LeakyRelu",
        "Softmax",
        "BatchNormalization",
        "InstanceNormalization",
        "Flatten",
    ),
    *(
        "Reshape",
        "Resize",
        "Upsample",
        "Pad",
        "Transpose",
        "Identity",
        "Dropout",
        "ReduceMean",
        "Slice",
        "Constant",
    ),
    *("LRN", "Loop", "If", "Nothing", ""),
)
TEXTS = {
    "picture": (
        """<ir_version: 8, opset_import: ["" : 17]>
        picture (float[1,3,8,8] x) => (float[N,5] y) {
            a = Conv <pads = [1,1,1,1], strides = [1,1]> (x, w, b)
            c = BatchNormalization (a, s, s, s, v)
            d = Relu (c)
            e = MaxPool <kernel_shape = [2,2], strides = [2,2], ceil_mode = 1> (d)
            f = ConvTranspose <strides = [2,2], output_padding = [1,1], group = 2> (e, t)
            g = AveragePool <kernel_shape = [3,3], auto_pad = "SAME_UPPER", strides = [2,2]> (f)
            h = Resize <mode = "nearest"> (g, , z)
            i = GlobalAveragePool (h)
            j = Flatten (i)
            k = Gemm <transB = 1> (j, m, n)
            y = Softmax (k)
        }""",
        {"w": (4, 3, 3, 3), "b": (4,), "s": (4,), "v": (4,), "t": (4, 2, 3, 3), "m": (5, 4), "n": (5,)},
        {"z": np.array([1, 1, 2, 2], np.float32)},
    ),
    "branches": (
        """<ir_version: 8, opset_import: ["" : 13]>
        branches (float[N,2,9] x) => (float[N,P,Q] y) {
            a = Conv <kernel_shape = [3], pads = [1,1], dilations = [1]> (x, w)
            c = Add (a, x)
            d = Concat <axis = 1> (c, x)
            e = Clip (d, lo, hi)
            f = Constant <value_ints = [1, 4, 9]> ()
            g = Reshape (e, f)
            h = LeakyRelu <alpha = 0.1> (g)
            i = Identity (k)
            j = Mul (h, i)
            y = InstanceNormalization <epsilon = 0.001> (j, s, s)
        }""",
        {"w": (2, 2, 3), "s": (4,)},
        {"lo": np.float32(-1), "hi": np.float32(6), "k": np.float32(0.5)},
    ),
    "numbers": (
        """<ir_version: 7, opset_import: ["" : 11]>
        numbers (float[1,6] x) => (float[1,2] y) {
            a = MatMul (x, w)
            c = Add (a, b)
            d = Sigmoid (c)
            y = Gemm <alpha = 2.0> (d, m)
        }""",
        {"w": (6, 4), "b": (4,), "m": (4, 2)},
        {},
    ),
}  # fmt: skip


@cache
def models() -> tuple[bytes, ...]:
    """Return the whole models, which a checker of the library's accepts."""
    made = []
    for text, shapes, arrays in TEXTS.values():
        model = onnx.parser.parse_model(text)
        filled = {
            name: np.linspace(0.1, 1, int(np.prod(shape))).reshape(shape) for name, shape in shapes.items()
        }
        for name, values in {**filled, **arrays}.items():
            real = np.asarray(values, np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(real, name))
        onnx.checker.check_model(model)
        made.append(model.SerializeToString())
    return tuple(made)


def other_model(data: bytes, rng: Random) -> bytes:
    """Return a model with one to three things changed."""
    model = onnx.load_from_string(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice((_other_node, _other_node, _other_attribute, _other_tensor, _other_value, _other_version))(
            model, rng
        )
    return bytes(model.SerializeToString())


def _names(graph: Any) -> list[str]:
    made = [name for node in graph.node for name in (*node.input, *node.output)]
    return [*made, *(one.name for one in (*graph.initializer, *graph.input)), "", "\x1b[31m", "a" * 300]


def _other_node(model: Any, rng: Random) -> None:
    graph = model.graph
    if not graph.node:
        return
    at = rng.randrange(len(graph.node))
    node = graph.node[at]
    match rng.randrange(7):
        case 0:
            del graph.node[at]
        case 1:
            graph.node.append(node)  # twice, and after those that take what it makes
        case 2:
            node.op_type = rng.choice(KINDS)
        case 3:
            node.domain = rng.choice(("", "ai.onnx", "com.microsoft", "x"))
        case 4:
            node.name = rng.choice(_names(graph))
        case 5:
            names = rng.choice((node.input, node.output))
            if names and rng.random() < 0.7:
                names[rng.randrange(len(names))] = rng.choice(_names(graph))
            else:
                names.append(rng.choice(_names(graph)))
        case 6:
            names = rng.choice((node.input, node.output))
            del names[rng.randrange(len(names) + 1) :]


def _other_attribute(model: Any, rng: Random) -> None:
    found = [(node, one) for node in model.graph.node for one in node.attribute]
    if not found:
        return
    node, one = rng.choice(found)
    match rng.randrange(5):
        case 0:
            node.attribute.remove(one)
        case 1:
            one.name = rng.choice(
                ("pads", "strides", "dilations", "kernel_shape", "group", "axis", "value", "x")
            )
        case 2:
            one.type = rng.randrange(15)
        case 3:
            other = onnx.helper.make_attribute(
                one.name, rng.choice(([1.5, -1.0], 0.5, "SAME_LOWER", [2], -1, b"\xff"))
            )
            one.CopyFrom(other)
        case 4 if one.ints:
            if rng.random() < 0.2:
                one.ints.append(rng.choice(NUMBERS))
            else:
                one.ints[rng.randrange(len(one.ints))] = rng.choice(NUMBERS)
        case _:
            one.i, one.f = rng.choice(NUMBERS), rng.choice((0.0, -1.0, 1e38, float("nan"), float("inf")))


def _other_tensor(model: Any, rng: Random) -> None:
    graph = model.graph
    if not graph.initializer:
        return
    tensor = rng.choice(graph.initializer)
    match rng.randrange(8):
        case 0:
            graph.initializer.remove(tensor)
        case 1 if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(NUMBERS)
        case 2:
            tensor.dims.append(rng.choice((1, 1, *NUMBERS)))
        case 3:
            del tensor.dims[rng.randrange(len(tensor.dims) + 1) :]
        case 4:
            tensor.data_type = rng.randrange(30)
        case 5:
            tensor.raw_data = rng.choice(
                (b"", tensor.raw_data[:-1], tensor.raw_data * 2, b"\xff" * len(tensor.raw_data))
            )
        case 6:
            tensor.name = rng.choice(_names(graph))
        case _:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(
                key="location", value=rng.choice(("../secret", "/etc/passwd", "a.bin", ""))
            )


def _other_value(model: Any, rng: Random) -> None:
    """Change an input or an output of the graph."""
    graph = model.graph
    values = rng.choice((graph.input, graph.output))
    if not values:
        return
    value = rng.choice(values)
    dims = value.type.tensor_type.shape.dim
    match rng.randrange(7):
        case 0:
            values.remove(value)
        case 1:
            values.append(value)
        case 2:
            value.name = rng.choice(_names(graph))
        case 3:
            value.type.tensor_type.elem_type = rng.randrange(30)
        case 4:
            value.type.ClearField(rng.choice(("tensor_type", "denotation")))
        case 5 if dims:
            del dims[rng.randrange(len(dims)) :]
        case _ if dims:
            dim = dims[rng.randrange(len(dims))]
            if rng.random() < 0.2:
                dim.dim_param = rng.choice(_names(graph))
            else:
                dim.dim_value = rng.choice(NUMBERS)


def _other_version(model: Any, rng: Random) -> None:
    change: Callable[[], object] = rng.choice((
        lambda: setattr(model, "ir_version", rng.choice(NUMBERS)),
        lambda: model.opset_import.pop() if model.opset_import else None,
        lambda: model.opset_import.add(domain=rng.choice(("", "x")), version=rng.choice((*range(1, 30), *NUMBERS))),
        lambda: setattr(model.graph, "name", rng.choice(_names(model.graph))),
        lambda: model.ClearField("graph"),
    ))  # fmt: skip
    change()
