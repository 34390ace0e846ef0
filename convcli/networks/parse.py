"""A net from a YAML file: preprocess and layers, each option read strictly into the types of `model`.

Errors name the file, the layer by number and kind, and the key.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import EnumType, StrEnum
from functools import partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args

from convcli.common import (
    UsageError,
    counted,
    frozen,
    parse_choice,
    parse_float,
    parse_numbers,
    quoted,
    to_float,
    within,
)
from convcli.geometry.grammar import given_pool, parse_size
from convcli.geometry.graph import INPUT, Layer, Operation, Shape
from convcli.geometry.layers import Conv, Pool
from convcli.geometry.padding import Padding, PadMode, parse_pad_mode, parse_padding
from convcli.geometry.pools import POOLS, PoolKind
from convcli.kernel import Kernel, load_kernel
from convcli.kernel.model import MAX_RANK, Combine, Defaults, full_shape
from convcli.kernel.yaml_document import Fields, Node, nearest, nested_numbers, read_document, scalar
from convcli.networks import operations as kinds
from convcli.networks.model import Net, Preprocess
from convcli.networks.operations import Fill, Numbers, Random, Stored
from convcli.networks.weights import ONNX, is_weights_file, load_weights, swaps

T = TypeVar("T")


class Options(Fields):
    """The keys of one mapping.

    Parameters
    ----------
    node
        What stands behind the layer's name; an empty text means no options.
    folder
        Where files that it names are looked for.
    seed
        The whole net's, for weights without a source of their own.
    classes
        What the word ``num_classes`` stands for; 0 is nothing.
    """

    def __init__(
        self, node: Node, folder: Path, seed: tuple[int, ...] | None = None, classes: int = 0
    ) -> None:
        super().__init__(node)
        self.folder = folder
        self.seed = seed
        self.classes = classes

    def needs(self, key: str) -> None:
        if key not in self:
            raise UsageError(f"{key}: is needed")

    def whole(self, key: str, default: int, minimum: int = 1, most: int | None = None) -> int:
        def one(text: str) -> int:
            if text == "num_classes":
                if not self.classes:
                    raise UsageError("num_classes is not set; write num_classes: 10 above the layers")
                return self.classes
            numbers = parse_numbers(text, "the number", minimum)
            if len(numbers) > 1:
                raise UsageError(f"{quoted(text)}: one number is needed")
            if most is not None and numbers[0] > most:
                raise UsageError(f"{quoted(text)} is more than {most:,}")
            return numbers[0]

        return self.read(key, one, default)

    def wholes(self, key: str, default: tuple[int, ...], minimum: int = 1) -> tuple[int, ...]:
        return self.read(key, lambda text: parse_numbers(text, "the value", minimum), default)

    def padding(self, default: tuple[Padding, ...] = ((0, 0),)) -> tuple[Padding, ...]:
        return self.read("padding", parse_padding, default)

    def seeded(self) -> Random:
        """Return the random numbers of this layer: its own seed, else the net's, else none yet."""
        if "seed" in self.node:
            return Random((self.whole("seed", 0, minimum=0),))
        return Random(self.seed)

    def stored(self, text: str, *, swapped: bool = False) -> Stored:
        """Return the array that ``FILE`` or ``FILE#KEY`` names, beside the net's own file."""
        place = str(self.folder / text)
        return Stored(place, load_weights(place).shape, swapped)

    def channelwise(self, key: str) -> Fill:
        """Read one number, a list of them, or a file, for the channels of a layer."""
        node = self.node[key]
        with within(key):
            if isinstance(node, str):
                if is_weights_file(node):
                    return self.stored(node)
                return Numbers((parse_float(node, "the value"),))
            shape, numbers = nested_numbers(node)
            if len(shape) != 1:
                raise UsageError(f"a list of numbers is needed, not lists {len(shape)} deep")
            return Numbers(tuple(to_float(number, "value") for number in numbers))

    def record(self, kind: type[T], /, **known: Any) -> T:
        """Return a record of this kind: what is known of it, and what the keys named as its other fields say."""
        for field in fields(kind):  # type: ignore[arg-type]
            if field.name in self and field.name not in known:
                known[field.name] = self._field(field.name, field.type)
        return kind(**known)

    def _field(self, key: str, kind: Any) -> Any:
        """Return what a key says, as its field's type asks for."""
        if isinstance(kind, UnionType) and kind != Fill:
            (kind,) = set(get_args(kind)) - {NoneType}
        if kind not in _OF_TYPE and isinstance(kind, EnumType):
            return self.choice(key, kind, None)
        return _OF_TYPE[kind](self, key)


# How a key is read, by the type of its field.
_OF_TYPE: Mapping[Any, Callable[[Options, str], Any]] = {
    Fill: Options.channelwise,
    PadMode: lambda options, key: options.read(key, parse_pad_mode, PadMode.ZERO),
    PoolKind: lambda options, key: options.read(key, _kind, _kind("max")),
    bool: Options.truth,
    int: lambda options, key: options.whole(key, 1),
    Shape: lambda options, key: options.read(key, _shape, Shape(1)),
    float: lambda options, key: options.number(key, 0.0),
    tuple[int, ...]: lambda options, key: options.wholes(key, ()),
    tuple[float, ...]: Options.numbers,
    tuple[Padding, ...]: lambda options, key: options.padding(),
}

Reader = Callable[[Options], Operation]


class Layout(StrEnum):
    """The order of a transposed bank's axes in a file of plain arrays."""

    OURS = "ours"  # (out, in, …)
    TORCH = "torch"  # (in, out, …)


# Convolutions


@frozen
class _Bank:
    """Where a convolution's weights come from, and what is known of them before any input is."""

    fill: Fill
    out: int
    size: tuple[int, ...]
    inputs: int | None = None  # None: as many as come
    each: bool = False  # meant for every channel alone
    kernel: Kernel | None = None


def _convolution(options: Options, *, transposed: bool) -> kinds.Convolution:
    bank = _bank(options, transposed)
    groups = options.whole("groups", 1)
    asked = bank.kernel.defaults if bank.kernel else Defaults()
    origin = bank.kernel.origin if bank.kernel else ()
    geometry = Conv(
        bank.size,
        bank.out,
        stride=options.wholes("stride", asked.stride or (1,)),
        dilation=options.wholes("dilation", asked.dilation or (1,)),
        padding=options.padding(asked.padding or ((0, 0),)),
        origin=options.wholes("origin", origin, minimum=0) or None,
        transposed=transposed,
        output_padding=options.wholes("output_padding", (0,), minimum=0),
    )
    return kinds.Convolution(
        geometry,
        bank.fill,
        bias=_bias(options, bank),
        inputs=None if bank.each else bank.inputs,
        groups=groups,
        each=bank.each and groups == 1,
        pad_mode=options.read("pad_mode", parse_pad_mode, asked.pad_mode or PadMode.ZERO),
        pad_value=options.number("pad_value", 0.0),
        combine=bank.kernel.combine if bank.kernel else Combine.NONE,
    )


def _bank(options: Options, transposed: bool) -> _Bank:
    sources = [key for key in ("weights", "kernel", "size") if key in options]
    if len(sources) != 1:
        found = " and ".join(f"{key}:" for key in sources) or "none"
        raise UsageError(f"one of weights:, kernel: and size: (with maps:) is needed, and there is {found}")
    source = sources[0]
    if source == "size":
        size = options.wholes("size", ())
        if len(size) > MAX_RANK:
            raise UsageError(f"size: {len(size)} axes, and 1 to {MAX_RANK} are possible")
        return _Bank(options.seeded(), options.whole("maps", 1, most=MAX_MAPS), size)
    for key in ("maps", "seed"):
        if key in options:
            raise UsageError(f"{key}: belongs to size:, and here {source}: gives the weights")
    node = options.node[source]
    with within(source):
        if source == "kernel":
            text = scalar(node)
            beside = Path(text).suffix.lower() in (".yaml", ".yml")
            text = str(options.folder / text) if beside else text
            return _kernel_bank(options, load_kernel(text, options.whole("rank", 2), stored=0))
        if isinstance(node, str) and not is_weights_file(node):
            return _kernel_bank(options, load_kernel(node, stored=0))
        if options.truth("flip"):
            raise UsageError("flip: only a kernel: is flipped here; flip the array itself")
        swapped = False
        if transposed and isinstance(node, str):
            swapped = swaps(node) or options.choice("layout", Layout, Layout.OURS) is Layout.TORCH
        fill, shape = _given_weights(options, node, swapped)
        out, inputs, *size_ = full_shape(shape, options.whole("rank", 0, 0) or None)
        if swapped:
            groups = options.whole("groups", 1)
            out, inputs = inputs * groups, out // groups
        return _Bank(fill, out, tuple(size_), inputs, each=inputs == 1 and len(shape) < len(size_) + 2)


def _given_weights(options: Options, node: Node, swapped: bool = False) -> tuple[Fill, tuple[int, ...]]:
    """Return weights that a file holds, or that are written out, and their shape."""
    if isinstance(node, str):
        stored = options.stored(node, swapped=swapped)
        return stored, stored.shape
    shape, numbers = nested_numbers(node)
    return Numbers(tuple(to_float(number, "weights") for number in numbers)), tuple(shape)


def _kernel_bank(options: Options, kernel: Kernel) -> _Bank:
    """A kernel as ``filter`` takes it: with its bias, origin, combination and default geometry."""
    if kernel.defaults.pool is not None:
        raise UsageError("it has a pool of its own: write it as a layer", subject=kernel.title)
    if kernel.statistic is not None:
        raise UsageError(f"it has no weights: write a layer, pool: {{kind: {kernel.statistic}, size: 3}}")
    if options.truth("flip", bool(kernel.defaults.flip)):
        kernel = kernel.flipped()
    fill = Numbers(kernel.weights)
    return _Bank(fill, kernel.outputs, kernel.size, kernel.inputs, kernel.inputs == 1, kernel)


def _bias(options: Options, bank: _Bank) -> Fill | None:
    """Random weights come with a random bias, given ones with the bias that is given with them, or none."""
    random = bank.inputs is None
    if "bias" not in options:
        if random:
            return bank.fill
        return Numbers(bank.kernel.bias) if bank.kernel and any(bank.kernel.bias) else None
    if options.node["bias"] == "false":
        return None
    if options.node["bias"] == "true":
        return bank.fill if random else Numbers((0.0,))
    return options.channelwise("bias")


# The others


def _kind(text: str) -> PoolKind:
    """Read ``max``, or ``percentile:75``."""
    name, *values = text.split(":")
    return given_pool(parse_choice(POOLS, name, "the value"), values)


def _pool(options: Options) -> Operation:
    if "size" not in options:
        raise UsageError("size: is needed (gpool: pools over everything)")
    return kinds.Pooling(options.record(Pool, kind=options.read("kind", _kind, _kind("max"))))


def _global_pool(options: Options) -> Operation:
    return kinds.Pooling(Pool(options.read("kind", _kind, _kind("max")), None))


def _dense(options: Options) -> Operation:
    if ("weights" in options) == ("outputs" in options):
        raise UsageError("one of outputs: and weights: is needed, and not both")
    if "outputs" in options:
        bank = _Bank(options.seeded(), options.whole("outputs", 1, most=MAX_MAPS), ())
        return kinds.Dense(bank.out, bank.fill, _bias(options, bank))
    if "seed" in options:
        raise UsageError("seed: belongs to outputs:, and here weights: gives the weights")
    with within("weights"):
        node = options.node["weights"]
        if isinstance(node, str) and not is_weights_file(node):
            raise UsageError("a list of rows is needed, one for each output, or the name of a file")
        fill, shape = _given_weights(options, node)
        if len(shape) != 2:
            raise UsageError(f"{counted(len(shape), 'axis', 'axes')}, and two are needed: outputs × inputs")
    bank = _Bank(fill, shape[0], (), shape[1])
    return kinds.Dense(bank.out, fill, _bias(options, bank), shape[1])


def _keys(kind: type, *known: str) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind) if field.name not in known)


def _row(kind: type[Operation], /, *needed: str, **known: Any) -> tuple[Reader, tuple[str, ...]]:
    """Return how a layer is read whose options are the fields of its operation, some ``needed``, and its keys."""

    def read(options: Options) -> Operation:
        for key in needed:
            options.needs(key)
        return options.record(kind, **known)

    return read, _keys(kind, *known)


_CONV = (
    *("weights", "kernel", "maps", "size", "seed", "bias", "groups", "rank", "flip"),
    *("stride", "padding", "dilation", "origin"),
)

READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "conv": (partial(_convolution, transposed=False), (*_CONV, "pad_mode", "pad_value")),
    "tconv": (partial(_convolution, transposed=True), (*_CONV, "output_padding", "layout")),
    "pool": (_pool, _keys(Pool)),
    "gpool": (_global_pool, ("kind",)),
    "apool": _row(kinds.AdaptivePooling, "size"),
    **{kind.value: _row(kinds.Activation, kind=kind) for kind in kinds.ActivationKind},
    "leaky": _row(kinds.Leaky),
    "prelu": _row(kinds.PRelu),
    **{kind.value: _row(kinds.Join, kind=kind) for kind in kinds.JoinKind},
    "batchnorm": _row(kinds.BatchNorm),
    "groupnorm": _row(kinds.GroupNorm, "groups"),
    "layernorm": _row(kinds.GroupNorm, groups=1),
    "instancenorm": _row(kinds.GroupNorm, groups=None),
    "dropout": _row(kinds.Dropout),
    "bias": _row(kinds.Bias),
    "scale": _row(kinds.Scale),
    "flatten": _row(kinds.Flatten),
    "unflatten": _row(kinds.Unflatten, "shape"),
    "dense": (_dense, ("outputs", "weights", "bias", "seed")),
    "upsample": _row(kinds.Upsample),
    "pad": _row(kinds.Pad),
}

KEYS = ("name", "description", "source", "input", "num_classes", "labels", "seed", "preprocess", "layers")
# Models of other programs, whose own readers would run what a file says, and how each becomes ONNX.
OTHERS = {
    **dict.fromkeys((".keras", ".h5"), "model.export('{0}.onnx', format='onnx') in Keras"),
    **dict.fromkeys((".pt2", ".pt", ".pth"), "torch.onnx.export(net, (input,), '{0}.onnx') in torch"),
}
MAX_LAYERS, MAX_MAPS = 10_000, 1_000_000


def load_net(path: Path, num_classes: int | None = None, given: Shape | None = None) -> Net:
    """Read a net's file; weights in other files are found in its folder, and only their shapes are read.

    Parameters
    ----------
    num_classes
        Takes the place of the file's own ``num_classes``.
    given
        The shape of the input, which some of ONNX's nodes depend on; by default the file's own.

    Raises
    ------
    ConvError
        When a file cannot be read.
    UsageError
        For a key or value that is not possible: names the file, the layer, the key, and what is valid.
    """
    if path.suffix.lower() in ONNX:
        from convcli.networks.onnx_graph import load_onnx

        if num_classes is not None:
            raise UsageError("an ONNX model has its number of classes: leave --num-classes out")
        return load_onnx(path, given)
    if (how := OTHERS.get(path.suffix.lower())) is not None:
        raise UsageError(
            f"nets are YAML or ONNX: {how.format(path.stem)} makes one", subject=quoted(str(path))
        )
    document = read_document(path, "net", "layers: [relu]")
    with within(f"net file {str(path)!r}"):
        options = Options(document, path.parent)
        options.only(KEYS)
        if "layers" not in options:
            raise UsageError("layers: is needed")
        if num_classes is not None and "num_classes" not in options:
            raise UsageError("it has no num_classes, so --num-classes has no meaning for it")
        classes = options.whole("num_classes", 0) if num_classes is None else num_classes
        seed = (options.whole("seed", 0, minimum=0),) if "seed" in options else None
        with within("preprocess"):
            preprocess = _preprocess(Options(document.get("preprocess", ""), path.parent))
        return Net(
            name=options.text("name", path.stem),
            layers=_layers(document["layers"], path.parent, seed, classes),
            preprocess=preprocess,
            input=options.read("input", _shape, None),
            labels=_labels(document.get("labels", [])),
            description=options.text("description"),
            source=options.text("source"),
        )


def _shape(text: str) -> Shape:
    channels, sizes = parse_size(text, "input")
    return Shape(channels or 1, sizes)


def _labels(node: Node) -> tuple[str, ...]:
    with within("labels"):
        if not isinstance(node, list):
            raise UsageError("a list of names is needed, such as [cat, dog]")
        return tuple(scalar(item) for item in node)


def _preprocess(options: Options) -> Preprocess:
    options.only(_keys(Preprocess))
    found = options.record(Preprocess)
    if 0.0 in found.std:
        raise UsageError("std: 0 would divide by zero")
    return found


def _sources(options: Options, operation: Operation, names: list[str], before: str) -> tuple[str, ...]:
    """Return which earlier layers' outputs a layer takes; a join with one name takes the layer before as well."""
    text = options.read("from", str, "")
    found = tuple(part.strip() for part in text.split(",")) if text else ()
    for name in found:
        if name not in names:
            raise UsageError(f"from: no earlier layer is named {quoted(name)}; {nearest(name, names)}")
    if isinstance(operation, kinds.Join) and len(found) < 2:
        if not found:
            raise UsageError("from: is needed, the layers that it joins: from: [conv1, conv2]")
        return (before, *found)
    if len(found) > 1 and not isinstance(operation, kinds.Join):
        raise UsageError("from: one layer; several are joined by add, multiply or concat")
    return found or (before,)


def _layers(node: Node, folder: Path, seed: tuple[int, ...] | None, classes: int) -> tuple[Layer, ...]:
    if not isinstance(node, list) or not node:
        raise UsageError("layers: a list is needed, such as - conv: {maps: 6, size: 5}")
    counts: Counter[str] = Counter()
    layers: list[Layer] = []
    names = [INPUT]
    if len(node) > MAX_LAYERS:
        raise UsageError(f"{len(node):,} layers are more than {MAX_LAYERS:,}")
    for number, item in enumerate(node, 1):
        if isinstance(item, dict) and len(item) == 1:
            kind, given = next(iter(item.items()))
        elif isinstance(item, str):
            kind, given = item, ""
        else:
            raise UsageError(
                "a name (relu) or a name with options (pool: {size: 2}) is needed", subject=f"layer {number}"
            )
        if kind not in READERS:
            raise UsageError(
                f"no kind {quoted(kind)}; {nearest(kind, list(READERS))}", subject=f"layer {number}"
            )
        reader, keys = READERS[kind]
        counts[kind] += 1
        with within(f"layer {number} ({kind})"):
            options = Options(given, folder, None if seed is None else (*seed, number), classes)
            options.only(("name", "from", *keys))
            name = options.text("name", f"{kind}{counts[kind]}")
            if name in names:
                other = "the net's input" if name == INPUT else "an earlier layer"
                raise UsageError(f"the name {quoted(name)} is taken by {other}")
            operation = reader(options)
            before = layers[-1].name if layers else INPUT
            layers.append(Layer(name, operation, _sources(options, operation, names, before)))
            names.append(name)
    return tuple(layers)
