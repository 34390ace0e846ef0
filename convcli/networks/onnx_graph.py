"""An ONNX model as a net: each node becomes a layer, each initializer a parameter.

The onnx library reads the file and infers the shapes that only it knows: those of nodes that no layer here stands for,
and the targets of reshapes.  Such nodes are shown and counted, but not run.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from math import prod
from pathlib import Path
from typing import Any, TypeVar

from convcli.common import ConvError, UsageError, about, frozen, printable
from convcli.geometry.graph import INPUT, Layer, Operation, Shape, Windows
from convcli.geometry.layers import Conv, Pool
from convcli.geometry.padding import Padding, PaddingName, PadMode
from convcli.geometry.pools import AVG, MAX, PoolKind
from convcli.networks import operations as kinds
from convcli.networks.model import Net
from convcli.networks.operations import (
    ActivationKind,
    Fill,
    Interpolation,
    JoinKind,
    Numbers,
    Parameter,
    Stored,
)
from convcli.networks.weights import onnx_model

MOST_FOLDED = 256  # numbers of a constant that is computed, and of those that it is computed of

T = TypeVar("T")


@frozen
class Foreign(Operation):
    """A node that is not computed here.

    Parameters
    ----------
    operator
        ONNX's name of it.
    shape
        Of its output, as the onnx library infers it; None where it cannot.
    pointwise
        Whether an output needs only the inputs at its own position; else it is taken to need all.
    own
        Its initializers by name.
    """

    operator: str
    shape: Shape | None
    pointwise: bool
    own: tuple[tuple[str, Parameter], ...]

    def joined(self, shapes: Sequence[Shape]) -> Shape:
        return kinds.Join(JoinKind.ADD).joined(shapes) if self.pointwise else shapes[0]

    def output(self, shape: Shape) -> Shape:
        if self.shape is None and not self.pointwise:
            raise UsageError(
                f"onnx cannot infer the shape of what {self.operator} makes: say the input's size, or leave "
                "constants in the model instead of nodes that compute them (onnxsim does that)"
            )
        return self.shape or shape

    def windows(self, shape: Shape) -> Windows | None:
        return super().windows(shape) if self.pointwise else None

    def parameters(self, shape: Shape) -> Mapping[str, Parameter]:
        return dict(self.own)

    def __str__(self) -> str:
        return self.operator


class _ForeignError(Exception):
    """No layer here does what a node does."""


def load_onnx(path: Path, given: Shape | None = None) -> Net:
    """Read a model, for an input of the shape ``given`` or of its own.

    Raises
    ------
    ConvError
        When it cannot be read; when it has several inputs.
    """
    with about(f"ONNX model {str(path)!r}"):
        try:
            return _Model(path, given).net()
        except ConvError:
            raise
        except (
            ArithmeticError,
            AttributeError,
            LookupError,
            RuntimeError,
            TypeError,
            ValueError,
        ) as error:  # of a damaged model
            raise ConvError(f"a node of it does not make sense: {printable(str(error))}") from None


class _Model:
    def __init__(self, path: Path, given: Shape | None) -> None:
        self.path = path
        self.onnx = importlib.import_module("onnx")
        model = onnx_model(path)
        graph = model.graph
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        inputs = [one for one in graph.input if one.name not in self.initializers]
        if len(inputs) != 1:
            names = ", ".join(one.name for one in inputs) or "none"
            raise UsageError(f"a net has one input, and this model has {len(inputs)}: {names}")
        self.input, self.shape = inputs[0].name, _declared(inputs[0], given)
        del graph.value_info[:]
        for output in graph.output:
            output.type.tensor_type.ClearField("shape")
        inference = importlib.import_module("onnx.shape_inference")
        self.constants = dict(self.initializers)  # tensors by name, those of Constant nodes too
        try:
            self._take(inference.infer_shapes(model, data_prop=True))
            if self._fold():  # pads and shapes are known now
                self._take(inference.infer_shapes(self.model, data_prop=True))
        except (inference.InferenceError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"onnx cannot infer its shapes: {printable(str(error).splitlines()[0])}"
            ) from None

    def _take(self, model: Any) -> None:
        """Remember a model whose shapes are inferred."""
        self.model, self.graph = model, model.graph
        self.opset = max((one.version for one in model.opset_import if not one.domain), default=1)
        self.types = {
            one.name: one.type.tensor_type
            for one in (*self.graph.input, *self.graph.value_info, *self.graph.output)
        }

    def net(self) -> Net:
        layers: list[Layer] = []
        values = {self.input: INPUT}  # the layer that makes each tensor
        taken = {INPUT}
        if len(self.dims(self.input) or ()) == 2:
            values[self.input] = printable(self.input)
            layers.append(Layer(values[self.input], kinds.Flatten()))
        for proto in self.graph.node:
            if proto.output[0] in self.constants:
                continue
            node = _Node(self, proto, [name for name in proto.input if name in values])
            if not node.data or not self._is_real(proto.output[0]):
                continue  # it computes a shape
            sources = tuple(values[name] for name in node.data)
            name = printable(proto.name or proto.output[0])
            for number, operation in enumerate(node.operations()):
                own = name if name not in taken and not number else f"{printable(proto.output[0])}.{number}"
                taken.add(own)
                layers.append(Layer(own, operation, sources))
                sources = (own,)
            values[proto.output[0]] = sources[0] if len(sources) == 1 else layers[-1].name
        if not layers:
            raise UsageError("no node of it works on its input")
        last = values.get(self.graph.output[0].name, INPUT)
        position = next((n for n, layer in enumerate(layers) if layer.name == last), len(layers) - 1)
        if not any(last in layer.sources for layer in layers):
            layers.append(layers.pop(position))
        return Net(
            printable(self.graph.name or self.path.stem), tuple(layers), input=self.shape, reread=self.path
        )

    def _fold(self) -> bool:
        """Find the constants, and compute those of a few numbers, such as a Pad node's pads; tell if there are such."""
        folded = []
        for proto in self.graph.node:
            if proto.op_type == "Constant":
                found = [one.t for one in proto.attribute if one.name == "value"]
                self.constants.update(zip(proto.output, found, strict=False))
            elif proto.op_type == "Identity" and proto.input[0] in self.constants:
                self.constants[proto.output[0]] = self.constants[proto.input[0]]
            elif self._is_small(proto):
                self.constants[proto.output[0]] = self._computed(proto)
                folded.append(proto)
        for proto in folded:
            self.graph.initializer.append(self.constants[proto.output[0]])
            self.graph.node.remove(proto)
        return bool(folded)

    def _is_small(self, proto: Any) -> bool:
        """Tell whether a node makes a few numbers of a few constants."""
        made, names = self.dims(proto.output[0]), [name for name in proto.input if name]
        if proto.op_type not in _FOLDED.split() or proto.domain or made is None:
            return False
        if any(name not in self.constants for name in names):
            return False
        given = [self.constants[name] for name in names]
        sizes = [prod(made), *(prod(one.dims) for one in given)]
        return max(sizes) <= MOST_FOLDED and all(one.data_location != one.EXTERNAL for one in given)

    def _computed(self, proto: Any) -> Any:
        """Return the tensor that a node makes of constants."""
        arrays, reference = (
            importlib.import_module(f"onnx.{name}") for name in ("numpy_helper", "reference")
        )
        feeds = {name: arrays.to_array(self.constants[name]) for name in proto.input if name}
        opsets = [self.onnx.helper.make_opsetid("", self.opset)]
        function = self.onnx.helper.make_function(
            "", "folded", list(feeds), proto.output[:1], [proto], opsets
        )
        (found,) = reference.ReferenceEvaluator(function).run(None, feeds, {})
        return arrays.from_array(found, proto.output[0])

    def _is_real(self, name: str) -> bool:
        """Tell whether a tensor holds real numbers, not indices or a shape."""
        kind = self.types[name].elem_type if name in self.types else 0
        proto = self.onnx.TensorProto
        return kind in (0, proto.FLOAT, proto.DOUBLE, proto.FLOAT16, proto.BFLOAT16)

    def dims(self, name: str) -> tuple[int, ...] | None:
        """Return the inferred dimensions of a tensor, batch included; None where one of them is unknown."""
        if name not in self.types or not self.types[name].HasField("shape"):
            return None
        dims = tuple(one.dim_value for one in self.types[name].shape.dim)
        return dims if all(dims) else None


def _declared(input: Any, given: Shape | None) -> Shape | None:
    """Make the input's dimensions those of one item, of the shape ``given``; return them, None where some are open.

    A list of numbers, as models of flat data take it, is a signal of one channel here.
    """
    own = list(input.type.tensor_type.shape.dim)
    wanted = [one.dim_value for one in own[1:]]
    if given is not None:
        asked = [given.channels, *given.sizes]
        asked = [prod(asked)] if len(wanted) == 1 else asked
        if len(asked) != len(wanted) or any(n not in (0, m) for n, m in zip(wanted[:1], asked, strict=False)):
            told = "x".join(str(n or "?") for n in wanted)
            raise UsageError(f"its input is {told}, channels first, and {given} does not fit")
        wanted = asked
    for dim, size in zip(own, (1, *wanted), strict=True):
        if size:
            dim.dim_value = size
    if not wanted or not all(wanted):
        return None
    return Shape(wanted[0], tuple(wanted[1:])) if len(wanted) > 1 else Shape(1, tuple(wanted))


@frozen
class _Node:
    """A node beside what is known of its tensors; ``data`` are those of its inputs that come from the net's."""

    model: _Model
    proto: Any
    data: list[str]

    def operations(self) -> list[Operation]:
        """Return the layers that do what the node does."""
        make = _NODES.get(self.proto.op_type) if self.proto.domain in ("", "ai.onnx") else None
        try:
            if make is None:
                raise _ForeignError
            self._check_types()
            return make(self)
        except _ForeignError:
            own = {n: self.model.constants[n] for n in self.proto.input if n in self.model.initializers}
            real = self.model.onnx.TensorProto
            parameters = tuple(
                (name, Parameter(tuple(tensor.dims), self.stored(name)))
                for name, tensor in own.items()
                if tensor.dims and tensor.data_type in (real.FLOAT, real.DOUBLE, real.FLOAT16)
            )
            operator = self.proto.op_type
            return [Foreign(operator, self.output, operator in _POINTWISE.split(), parameters)]

    def _check_types(self) -> None:
        """Refuse attributes that are not of the type that the operator gives them."""
        defs = self.model.onnx.defs
        if defs.has(self.proto.op_type, self.model.opset):
            known = defs.get_schema(self.proto.op_type, self.model.opset).attributes
            for one in self.proto.attribute:
                if one.name in known and known[one.name].type.value != one.type:
                    raise ValueError(f"{one.name} of {self.proto.op_type} is no {known[one.name].type.name}")

    @property
    def output(self) -> Shape | None:
        dims = self.model.dims(self.proto.output[0])
        return Shape(dims[1], dims[2:]) if dims is not None and len(dims) > 1 else None

    @cached_property
    def rank(self) -> int:
        """The axes of its data, batch and channels included; 0 where they are unknown."""
        return len(self.model.dims(self.data[0]) or ())

    def attribute(self, name: str, default: Any = None) -> Any:
        found = next((one for one in self.proto.attribute if one.name == name), None)
        if found is None:
            return default
        value = self.model.onnx.helper.get_attribute_value(found)
        return (
            value.decode() if isinstance(value, bytes) else tuple(value) if isinstance(value, list) else value
        )

    def require(self, **values: Any) -> None:
        """Refuse the node unless its attributes have these values, which are their defaults too."""
        if any(self.attribute(name, value) != value for name, value in values.items()):
            raise _ForeignError

    def has(self, index: int) -> bool:
        return len(self.proto.input) > index and bool(self.proto.input[index])

    def tensor(self, index: int) -> Any:
        """Return the constant tensor at an input."""
        name = self.proto.input[index] if self.has(index) else ""
        if name not in self.model.constants:
            raise _ForeignError
        return self.model.constants[name]

    def numbers(self, index: int) -> Any:
        """Return the constant at an input, as an array."""
        tensor = self.tensor(index)
        if tensor.data_location == self.model.onnx.TensorProto.EXTERNAL:
            raise _ForeignError
        return importlib.import_module("onnx.numpy_helper").to_array(tensor)

    def stored(self, name: str, *, swapped: bool = False) -> Stored:
        tensor = self.model.constants[name]
        return Stored(f"{self.model.path}#{tensor.name}", tuple(tensor.dims), swapped)

    def fill(self, index: int, *, swapped: bool = False) -> Fill:
        """Return where the numbers of a constant come from: the file, or the graph's own text."""
        tensor = self.tensor(index)
        if tensor.name in self.model.initializers:
            return self.stored(tensor.name, swapped=swapped)
        if swapped:
            raise _ForeignError
        return Numbers(tuple(self.numbers(index).ravel().tolist()))

    def channelwise(self, index: int) -> Fill:
        """Return a constant that has one number, or one for each channel."""
        dims = tuple(self.tensor(index).dims)
        along = [len(dims) - axis for axis, n in enumerate(dims) if n != 1]
        if along and along != [self.rank - 1]:
            raise _ForeignError
        return self.fill(index)

    def steps(self) -> dict[str, Any]:
        """Return stride, dilation and padding of a window."""
        stride, dilation = (_alike(self.attribute(name, (1,))) for name in ("strides", "dilations"))
        return {"stride": stride, "dilation": dilation, "padding": _alike(self.padding())}

    def padding(self) -> tuple[Padding, ...]:
        name = self.attribute("auto_pad", "NOTSET")
        if name not in ("NOTSET", "VALID"):
            return (PaddingName(name.lower().replace("_", "-")),)
        pads = self.attribute("pads", ()) if name == "NOTSET" else ()
        if any(side < 0 for side in pads):
            raise _ForeignError
        return tuple(zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True)) or ((0, 0),)


def _alike(values: Sequence[T]) -> tuple[T, ...]:
    """Return one value for all axes where they agree."""
    return tuple(values[:1] if len(set(values)) == 1 else values)


Made = list[Operation]


def _convolution(node: _Node) -> Made:
    transposed = node.proto.op_type == "ConvTranspose"
    out, inputs, *size = node.tensor(1).dims
    if (groups := node.attribute("group", 1)) < 1:
        raise ValueError(f"a convolution in {groups} groups")
    node.require(output_shape=None)
    if transposed:
        out, inputs = inputs * groups, out // groups
    geometry = Conv(
        _alike(size),
        out,
        **node.steps(),
        transposed=transposed,
        output_padding=_alike(node.attribute("output_padding", (0,))),
    )
    bias = node.fill(2) if node.has(2) else None
    return [kinds.Convolution(geometry, node.fill(1, swapped=transposed), bias, inputs, groups)]


def _pool(node: _Node, kind: PoolKind) -> Made:
    pool = Pool(
        kind,
        _alike(node.attribute("kernel_shape")),
        **node.steps(),
        ceil=bool(node.attribute("ceil_mode", 0)),
        include_padding=bool(node.attribute("count_include_pad", 0)),
    )
    return [kinds.Pooling(pool)]


def _global_pool(node: _Node, kind: PoolKind) -> Made:
    if node.proto.op_type.startswith("Reduce"):
        axes = node.attribute("axes") or (tuple(node.numbers(1).tolist()) if node.has(1) else ())
        if node.rank < 3 or {axis % node.rank for axis in axes} != set(range(2, node.rank)):
            raise _ForeignError
    flat = [] if node.attribute("keepdims", 1) else [kinds.Flatten()]
    return [kinds.Pooling(Pool(kind, None)), *flat]


def _join(node: _Node, kind: JoinKind) -> Made:
    if kind is JoinKind.CONCAT and node.attribute("axis") not in (1, 1 - node.rank):
        raise _ForeignError
    if len(node.data) == len(node.proto.input):
        return [kinds.Join(kind)]
    if len(node.proto.input) != 2 or kind is JoinKind.CONCAT:
        raise _ForeignError
    values = node.channelwise(int(node.proto.input[0] in node.data))
    return [kinds.Bias(values) if kind is JoinKind.ADD else kinds.Scale(values)]


def _activation(node: _Node, kind: ActivationKind, **wanted: Any) -> Made:
    node.require(**wanted)
    return [kinds.Activation(kind)]


def _softmax(node: _Node) -> Made:
    if node.attribute("axis", -1 if node.model.opset >= 13 else 1) not in (1, 1 - node.rank):
        raise _ForeignError
    return [kinds.Activation(ActivationKind.SOFTMAX)]


def _clip(node: _Node) -> Made:
    ends = [node.attribute(name) for name in ("min", "max")]
    ends = [float(node.numbers(n)) if node.has(n) else end for n, end in enumerate(ends, 1)]
    if ends != [0.0, 6.0]:
        raise _ForeignError
    return [kinds.Activation(ActivationKind.RELU6)]


def _hardsigmoid(node: _Node) -> Made:
    if abs(node.attribute("alpha", 0.2) - 1 / 6) > 1e-6 or node.attribute("beta", 0.5) != 0.5:
        raise _ForeignError
    return [kinds.Activation(ActivationKind.HARDSIGMOID)]


def _batchnorm(node: _Node) -> Made:
    node.require(training_mode=0)
    weight, bias, mean, var = (node.fill(index) for index in range(1, 5))
    return [kinds.BatchNorm(weight, bias, mean, var, node.attribute("epsilon", 1e-5))]


def _norm(node: _Node, groups: int | None = None) -> Made:
    return [kinds.GroupNorm(groups, node.fill(1), node.fill(2), node.attribute("epsilon", 1e-5))]


def _groupnorm(node: _Node) -> Made:
    if node.model.opset < 21:  # one scale for each group, not for each channel
        raise _ForeignError
    return _norm(node, node.attribute("num_groups"))


def _dense(node: _Node) -> Made:
    node.require(alpha=1.0, beta=1.0, transA=0)
    dims = tuple(node.tensor(1).dims)
    if len(dims) != 2 or node.rank != 2 or node.proto.input[0] not in node.data:
        raise _ForeignError
    rows = bool(node.attribute("transB", 0))
    outputs, inputs = dims if rows else dims[::-1]
    bias = node.channelwise(2) if node.has(2) else None
    return [kinds.Dense(outputs, node.fill(1, swapped=not rows), bias, inputs)]


def _flatten(node: _Node) -> Made:
    node.require(axis=1)
    return [kinds.Flatten()]


def _reshape(node: _Node) -> Made:
    shape = node.output
    if shape is None:
        raise _ForeignError
    before = node.model.dims(node.data[0])
    if before is None or prod(before) != shape.channels * prod(shape.sizes):
        raise _ForeignError  # numbers change places between items
    return [kinds.Flatten() if shape.flat else kinds.Unflatten(shape)]


def _resize(node: _Node) -> Made:
    before, after = node.model.dims(node.data[0]), node.output
    if before is None or after is None or after.channels != before[1]:
        raise _ForeignError
    if any(new % old for new, old in zip(after.sizes, before[2:], strict=True)):
        raise _ForeignError
    scale = tuple(new // old for new, old in zip(after.sizes, before[2:], strict=True))
    mode = node.attribute("mode", "nearest")
    place = node.attribute("coordinate_transformation_mode", "half_pixel")
    centred = place in ("half_pixel", "pytorch_half_pixel") or (1 in before[2:] and place == "half_pixel")
    if mode == "nearest":
        rounded = node.attribute("nearest_mode", "round_prefer_floor")
        fitting = (place, rounded) == ("asymmetric", "floor") or (
            centred and rounded.startswith("round_prefer")
        )
    else:
        cubic = node.attribute("cubic_coeff_a", -0.75) == -0.75 and len(scale) == 2
        fitting = centred and (mode == "linear" or cubic) and not node.attribute("exclude_outside", 0)
    if node.proto.op_type == "Upsample":  # its older form, which counts from corners
        fitting = mode == "nearest"
    if not fitting:
        raise _ForeignError
    names = {"nearest": "nearest", "linear": "bilinear", "cubic": "bicubic"}
    return [kinds.Upsample(scale, Interpolation(names[mode]))]


def _pad(node: _Node) -> Made:
    pads = tuple(node.numbers(1).tolist()) if node.has(1) else node.attribute("pads", ())
    half = len(pads) // 2
    modes = {"constant": PadMode.CONSTANT, "reflect": PadMode.REFLECT, "edge": PadMode.REPLICATE}
    mode = modes.get(node.attribute("mode", "constant"))
    if half < 3 or half != node.rank or any((*pads[:2], *pads[half : half + 2])) or min(pads) < 0:
        raise _ForeignError
    if mode is None or node.has(3):
        raise _ForeignError
    value = float(node.numbers(2)) if node.has(2) else float(node.attribute("value", 0.0))
    return [kinds.Pad(tuple(zip(pads[2:half], pads[half + 2 :], strict=True)), mode, value)]


_NODES: Mapping[str, Callable[[_Node], Made]] = {
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    "MaxPool": partial(_pool, kind=MAX),
    "AveragePool": partial(_pool, kind=AVG),
    **dict.fromkeys(("GlobalMaxPool", "ReduceMax"), partial(_global_pool, kind=MAX)),
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean"), partial(_global_pool, kind=AVG)),
    **dict.fromkeys(("Add", "Sum"), partial(_join, kind=JoinKind.ADD)),
    "Mul": partial(_join, kind=JoinKind.MULTIPLY),
    "Concat": partial(_join, kind=JoinKind.CONCAT),
    "Relu": partial(_activation, kind=ActivationKind.RELU),
    "Sigmoid": partial(_activation, kind=ActivationKind.SIGMOID),
    "Tanh": partial(_activation, kind=ActivationKind.TANH),
    "Elu": partial(_activation, kind=ActivationKind.ELU, alpha=1.0),
    "Gelu": partial(_activation, kind=ActivationKind.GELU, approximate="none"),
    "HardSwish": partial(_activation, kind=ActivationKind.HARDSWISH),
    "HardSigmoid": _hardsigmoid,
    "Softmax": _softmax,
    "Clip": _clip,
    "LeakyRelu": lambda node: [kinds.Leaky(node.attribute("alpha", 0.01))],
    "PRelu": lambda node: [kinds.PRelu(node.channelwise(1), shared=prod(node.tensor(1).dims) == 1)],
    "BatchNormalization": _batchnorm,
    "InstanceNormalization": _norm,
    "GroupNormalization": _groupnorm,
    **dict.fromkeys(("Gemm", "MatMul"), _dense),
    "Flatten": _flatten,
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze"), _reshape),
    **dict.fromkeys(("Resize", "Upsample"), _resize),
    "Pad": _pad,
    **dict.fromkeys(("Dropout", "Identity", "Cast"), lambda node: [kinds.Dropout(0.0)]),
}
_FOLDED = "Cast Concat ConstantOfShape Gather Reshape Slice Squeeze Transpose Unsqueeze"
_POINTWISE = (
    "Abs Add Ceil Celu Clip Div Elu Erf Exp Floor Gelu HardSigmoid Log Max Min Mish Mul Neg PRelu Pow Reciprocal "
    "Round Selu Sign Softplus Softsign Sqrt Sub Swish ThresholdedRelu Where"
)
