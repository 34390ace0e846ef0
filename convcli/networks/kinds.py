"""The kinds of layers as a net's file writes them: one reader and its keys for each.

A new kind of layer is a dataclass in `operations`, a reader here, and a case in `torch_run`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path

from convcli.common.errors import UsageError, within
from convcli.common.frozen import frozen
from convcli.common.numbers import counted, to_float
from convcli.geometry.layers import Conv, Pool
from convcli.geometry.padding import PadMode
from convcli.geometry.pools import MAX, POOLS
from convcli.kernel import Kernel, load_kernel
from convcli.kernel.model import MAX_RANK, Combine, Defaults, full_shape
from convcli.kernel.yaml_document import Node
from convcli.kernel.yaml_fields import nested_numbers, scalar
from convcli.networks.operations import (
    Activation,
    ActivationKind,
    BatchNorm,
    Bias,
    Convolution,
    Dense,
    Flatten,
    Interpolation,
    Operation,
    Pooling,
    PRelu,
    Upsample,
)
from convcli.networks.options import Options
from convcli.networks.parameters import Fill, Numbers
from convcli.networks.weight_files import is_weights_file, swaps

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


def _convolution(options: Options, *, transposed: bool) -> Convolution:
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
    return Convolution(
        geometry,
        bank.fill,
        bias=_bias(options, bank),
        inputs=None if bank.each else bank.inputs,
        groups=groups,
        each=bank.each and groups == 1,
        pad_mode=options.pad_mode(asked.pad_mode or PadMode.ZERO),
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
        return _Bank(options.seeded(), options.whole("maps", 1), size)
    for key in ("maps", "seed"):
        if key in options:
            raise UsageError(f"{key}: belongs to size:, and here {source}: gives the weights")
    node = options.node[source]
    with within(source):
        if source == "kernel":
            return _kernel_bank(options, _named_kernel(options, scalar(node)))
        if isinstance(node, str) and not is_weights_file(node):
            return _kernel_bank(options, load_kernel(node))
        if options.truth("flip"):
            raise UsageError("flip: only a kernel: is flipped here; flip the array itself")
        swapped = (
            transposed
            and isinstance(node, str)
            and (swaps(node) or options.choice("layout", Layout, Layout.OURS) is Layout.TORCH)
        )
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


def _named_kernel(options: Options, text: str) -> Kernel:
    if Path(text).suffix.lower() in (".yaml", ".yml"):
        text = str(options.folder / text)
    return load_kernel(text, options.whole("rank", 2))


def _kernel_bank(options: Options, kernel: Kernel) -> _Bank:
    """A kernel as ``filter`` takes it: with its bias, origin, combination and default geometry."""
    if kernel.defaults.pool is not None:
        raise UsageError("it has a pool of its own: write it as a layer", subject=kernel.title)
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
    return options.channelwise("bias", Numbers((0.0,)))


# The others


def _pool(options: Options) -> Operation:
    kind = options.choice("kind", POOLS, MAX)
    if "size" not in options:
        raise UsageError("size: is needed (gpool: pools over everything)")
    size = options.wholes("size", ())
    return Pooling(
        Pool(
            kind,
            size,
            stride=options.wholes("stride", ()) or None,
            dilation=options.wholes("dilation", (1,)),
            padding=options.padding(),
            ceil=options.truth("ceil"),
            include_padding=options.truth("include_padding"),
        )
    )


def _activation(kind: ActivationKind, options: Options) -> Operation:
    return Activation(kind, options.number("slope", 0.01))


def _batchnorm(options: Options) -> Operation:
    one, zero = Numbers((1.0,)), Numbers((0.0,))
    return BatchNorm(
        weight=options.channelwise("weight", one),
        bias=options.channelwise("bias", zero),
        mean=options.channelwise("mean", zero),
        var=options.channelwise("var", one),
        eps=options.number("eps", 1e-5),
    )


def _dense(options: Options) -> Operation:
    if ("weights" in options) == ("outputs" in options):
        raise UsageError("one of outputs: and weights: is needed, and not both")
    if "outputs" in options:
        bank = _Bank(options.seeded(), options.whole("outputs", 1), ())
        return Dense(bank.out, bank.fill, _bias(options, bank))
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
    return Dense(bank.out, fill, _bias(options, bank), shape[1])


def _upsample(options: Options) -> Operation:
    mode = options.choice("mode", Interpolation, Interpolation.NEAREST)
    return Upsample(options.wholes("scale", (2,)), mode)


_WEIGHTS = ("weights", "kernel", "maps", "size", "seed", "bias", "groups", "rank", "flip")
_WINDOW = ("stride", "padding", "dilation")

READERS: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "conv": (
        partial(_convolution, transposed=False),
        (*_WEIGHTS, *_WINDOW, "origin", "pad_mode", "pad_value"),
    ),
    "tconv": (
        partial(_convolution, transposed=True),
        (*_WEIGHTS, *_WINDOW, "origin", "output_padding", "layout"),
    ),
    "pool": (_pool, ("kind", "size", *_WINDOW, "ceil", "include_padding")),
    "gpool": (lambda options: Pooling(Pool(options.choice("kind", POOLS, MAX), None)), ("kind",)),
    **{
        kind.value: (partial(_activation, kind), ("slope",) if kind is ActivationKind.LEAKY else ())
        for kind in ActivationKind
    },
    "prelu": (lambda options: PRelu(options.channelwise("slope", Numbers((0.25,)))), ("slope",)),
    "batchnorm": (_batchnorm, ("weight", "bias", "mean", "var", "eps")),
    "bias": (lambda options: Bias(options.channelwise("values", Numbers((0.0,)))), ("values",)),
    "flatten": (lambda options: Flatten(), ()),
    "dense": (_dense, ("outputs", "weights", "bias", "seed")),
    "upsample": (_upsample, ("scale", "mode")),
}
