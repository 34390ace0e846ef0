"""Layers and chains of them: what a convolution or a pool is, how it is written, and what it does to sizes.

The grammar of ``convcli shape`` and of ``--pool`` is read here, once, into frozen dataclasses.  Sizes and
parameters only: no arrays, no weights, no files; how windows lie on an axis is `geometry`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from math import prod

from convcli.errors import UsageError
from convcli.geometry import (
    Field,
    Padding,
    PaddingName,
    TransposedWindow,
    Window,
    parse_numbers,
    parse_padding,
    per_axis,
    transposed_window,
    window,
)

MAX_RANK = 3


class PoolKind(StrEnum):
    """What a pool makes of its window."""

    MAX = "max"
    AVG = "avg"
    MIN = "min"


@dataclass(frozen=True)
class Conv:
    """A convolution or a transposed one.  Tuples hold one value an axis, or a single one for every axis.

    ``out`` is the number of output maps; None is one map, not worth a ``C@`` when channels were not given.
    ``str()`` gives the text that `parse_layer` reads.
    """

    size: tuple[int, ...]
    out: int | None = None
    stride: tuple[int, ...] = (1,)
    dilation: tuple[int, ...] = (1,)
    padding: tuple[Padding, ...] = ((0, 0),)
    origin: tuple[int, ...] | None = None
    transposed: bool = False
    output_padding: tuple[int, ...] = (0,)

    def windows(self, sizes: Sequence[int]) -> tuple[Window | TransposedWindow, ...]:
        """Return the window along each axis of an input of these sizes.

        Raises
        ------
        UsageError
            When the layer does not have one value (or one for all) an axis, or the numbers cannot be.
        """
        rank = len(sizes)
        axes = zip(
            sizes,
            per_axis(self.size, rank, "kernel"),
            per_axis(self.stride, rank, "stride"),
            per_axis(self.padding, rank, "padding"),
            per_axis(self.dilation, rank, "dilation"),
            per_axis(self.output_padding, rank, "output padding"),
            per_axis(self.origin or (None,), rank, "origin"),
            strict=True,
        )
        if not self.transposed:
            return tuple(
                window(n, k, stride=s, padding=p, dilation=d, origin=origin)
                for n, k, s, p, d, _, origin in axes
            )
        return tuple(
            transposed_window(n, k, stride=s, padding=p, dilation=d, output_padding=extra, origin=origin)
            for n, k, s, p, d, extra, origin in axes
        )

    def __str__(self) -> str:
        maps = "" if self.out is None else f"{self.out}@"
        options = _options_text(s=self.stride, p=self.padding, d=self.dilation, op=self.output_padding)
        return f"{'tconv' if self.transposed else 'conv'}:{maps}{_joined(self.size)}{options}"


@dataclass(frozen=True)
class Pool:
    """A pool over a window, or over everything (``size`` None).  The stride is the window unless given.

    ``include_padding`` counts padding in a mean.  ``str()`` gives the text that `parse_layer` reads.
    """

    kind: PoolKind
    size: tuple[int, ...] | None
    stride: tuple[int, ...] | None = None
    dilation: tuple[int, ...] = (1,)
    padding: tuple[Padding, ...] = ((0, 0),)
    ceil: bool = False
    include_padding: bool = False

    def windows(self, sizes: Sequence[int]) -> tuple[Window, ...]:
        """Return the window along each axis of an input of these sizes; errors as in `Conv.windows`."""
        if self.size is None:
            return tuple(Window(n) for n in sizes)
        rank = len(sizes)
        axes = zip(
            sizes,
            per_axis(self.size, rank, "pool"),
            per_axis(self.stride or self.size, rank, "stride"),
            per_axis(self.padding, rank, "padding"),
            per_axis(self.dilation, rank, "dilation"),
            strict=True,
        )
        return tuple(window(n, k, stride=s, padding=p, dilation=d, ceil=self.ceil) for n, k, s, p, d in axes)

    def __str__(self) -> str:
        if self.size is None:
            return f"gpool:{self.kind}"
        stride = "" if self.stride is None else f",s={_joined(self.stride)}"
        options = _options_text(p=self.padding, d=self.dilation)
        flags = (",ceil" if self.ceil else "") + (",include" if self.include_padding else "")
        return f"pool:{self.kind}:{_joined(self.size)}{stride}{options}{flags}"


Layer = Conv | Pool


# The grammar


def parse_layer(text: str) -> Layer:
    """Read one layer of the ``shape`` command.

    ::

        conv:[OUT@]K[,s=][,p=][,d=][,same]          K is 5, 5x3 or 3x3x3; one number is every axis
        tconv:[OUT@]K[,s=][,p=][,d=][,op=][,same]   p crops, op lengthens
        pool:max|avg|min:K[,s=][,p=][,d=][,ceil]
        gpool:max|avg|min

    ``p=`` takes a number, before:after, or a name, one for each axis joined by ``x``; a bare name will do.

    >>> parse_layer("conv:6@5x5,s=2,p=1:0") == Conv((5, 5), out=6, stride=(2,), padding=((1, 0),))
    True
    >>> str(parse_layer("pool:max:3,s=2"))
    'pool:max:3,s=2'
    """
    kind, _, body = text.partition(":")
    match kind:
        case "conv" | "tconv":
            return _parse_conv(body, transposed=kind == "tconv")
        case "pool" if not body.startswith("global-"):
            return parse_pool(body)
        case "gpool":
            return parse_pool(f"global-{body}")
    raise UsageError(f"{text!r} is not a layer: use conv:5, conv:6@5x5, tconv:3,s=2, pool:max:2 or gpool:avg")


def parse_pool(text: str) -> Pool:
    """Read what ``--pool`` says: ``max:2``, ``avg:3,s=2``, ``avg:3x2,p=1,include``, ``global-max``.

    >>> parse_pool("avg:3,s=2") == Pool(PoolKind.AVG, (3,), stride=(2,))
    True
    """
    name, colon, body = text.partition(":")
    everything = name.startswith("global-")
    kind = name.removeprefix("global-")
    if kind not in tuple(PoolKind) or everything == bool(colon):
        raise UsageError(
            f"pool {text!r} is unknown: use max:2, avg:2, min:2, global-max, global-avg or global-min"
        )
    if everything:
        return Pool(PoolKind(kind), None)
    size, *parts = body.split(",")
    options = _parse_options(parts, ("s", "p", "d", "ceil", "include"))
    return Pool(
        PoolKind(kind),
        parse_numbers(size, "pool size"),
        stride=parse_numbers(options["s"], "stride") if "s" in options else None,
        dilation=parse_numbers(options.get("d", "1"), "dilation"),
        padding=parse_padding(options.get("p", "0")),
        ceil="ceil" in options,
        include_padding="include" in options,
    )


def _parse_conv(body: str, *, transposed: bool) -> Conv:
    kernel, *parts = body.split(",")
    options = _parse_options(parts, ("s", "p", "d", "op") if transposed else ("s", "p", "d"))
    out, size = parse_size(kernel, "kernel")
    return Conv(
        size,
        out,
        stride=parse_numbers(options.get("s", "1"), "stride"),
        dilation=parse_numbers(options.get("d", "1"), "dilation"),
        padding=parse_padding(options.get("p", "0")),
        transposed=transposed,
        output_padding=parse_numbers(options.get("op", "0"), "output padding", minimum=0),
    )


_FLAGS = ("ceil", "include")


def _parse_options(parts: list[str], allowed: tuple[str, ...]) -> dict[str, str]:
    """Read ``s=2``, ``ceil``, ``same`` … into {key: value}; a padding's bare name is the value of ``p``."""
    options: dict[str, str] = {}
    for part in parts:
        key, _, value = ("p", "=", part) if part in tuple(PaddingName) else part.partition("=")
        if key not in allowed or (key in _FLAGS) != (part == key):
            known = ", ".join(name if name in _FLAGS else f"{name}=" for name in allowed)
            raise UsageError(
                f"option {part!r} is unknown: use {known} or a padding name such as same (axes go as s=2x1)"
            )
        if key in options:
            raise UsageError(f"option {part!r} says {key} a second time: leave one out")
        options[key] = value
    return options


def parse_layers(texts: Iterable[str]) -> list[Layer]:
    """Read a chain; an error names the layer by its number."""
    layers = []
    for number, text in enumerate(texts, 1):
        try:
            layers.append(parse_layer(text))
        except UsageError as error:
            raise UsageError(f"layer {number} ({text}): {error}") from None
    return layers


def parse_size(text: str, what: str = "size") -> tuple[int | None, tuple[int, ...]]:
    """Read ``[C@]SIZE`` of 1 to 3 axes; the channels are None when not given.

    >>> parse_size("3@32x32"), parse_size("100")
    ((3, (32, 32)), (None, (100,)))
    """
    channels, at, sizes = text.rpartition("@")
    counts = parse_numbers(channels, "channels") if at else None
    numbers = parse_numbers(sizes, what)
    if len(numbers) > MAX_RANK or (counts and len(counts) > 1):
        raise UsageError(
            f"{what} {text!r} is not possible: use 1 to {MAX_RANK} axes, such as 32x32 or 3@32x32"
        )
    return (counts[0] if counts else None), numbers


def format_size(channels: int | None, sizes: Sequence[int]) -> str:
    """Write ``[C@]SIZE``.

    >>> format_size(6, (28, 28)), format_size(None, (5,))
    ('6@28x28', '5')
    """
    return ("" if channels is None else f"{channels}@") + _joined(sizes)


def _joined(values: Sequence[object]) -> str:
    """Write one value an axis as it is read: ``2x1``, and padding of equal sides as one number."""
    return "x".join(_one_padding(v) if isinstance(v, tuple) else str(v) for v in values)


def _one_padding(sides: tuple[int, int]) -> str:
    before, after = sides
    return str(before) if before == after else f"{before}:{after}"


_DEFAULTS = {"s": "1", "d": "1", "p": "0", "op": "0"}


def _options_text(**options: Sequence[object]) -> str:
    """Write those options that are not at a convolution's default."""
    texts = {key: _joined(values) for key, values in options.items()}
    return "".join(f",{key}={text}" for key, text in texts.items() if text != _DEFAULTS[key])


# Chains


@dataclass(frozen=True)
class Row:
    """What one layer makes of its input; the tuples hold one value an axis.

    ``field``, ``jump`` and ``start`` are the receptive field of this layer's outputs in the chain's first
    input: its size, the step from one output's centre to the next, and the first one's centre (first
    element = 0).
    """

    label: str
    channels: int | None
    sizes: tuple[int, ...]
    field: tuple[int, ...]
    jump: tuple[Fraction, ...]
    start: tuple[Fraction, ...]
    parameters: int  # weights and biases
    multiply_adds: int  # for one input; those with padding count, the bias's do not
    unused: tuple[int, ...]  # elements at the end of this layer's input that no window reaches

    @property
    def output(self) -> str:
        return format_size(self.channels, self.sizes)


def trace(layers: Iterable[Layer], channels: int | None, sizes: Sequence[int]) -> list[Row]:
    """Follow an input of these sizes through a chain of layers.

    A convolution is dense: each output map sums over all input channels, and has one bias.  Without ``out``
    it makes one map (``1@`` when channels were given), as ``filter`` does with a kernel that has the input's
    channels.  Channels that were not given count as 1 in the parameters.

    Raises
    ------
    UsageError
        Naming the layer, when it does not fit its input; and by how much.

    >>> for row in trace([parse_layer("conv:6@5x5"), parse_layer("pool:max:2")], 3, (32, 32)):
    ...     print(row.label, row.output, row.parameters)
    conv:6@5x5 6@28x28 456
    pool:max:2 6@14x14 0
    """
    rows: list[Row] = []
    sizes = tuple(sizes)
    fields = (Field(),) * len(sizes)
    for number, layer in enumerate(layers, 1):
        try:
            windows = layer.windows(sizes)
            outputs = tuple(w.output_size(n) for w, n in zip(windows, sizes, strict=True))
        except UsageError as error:
            raise UsageError(f"layer {number} ({layer}): {error}") from None
        fields = tuple(f.through(w) for f, w in zip(fields, windows, strict=True))
        parameters = multiply_adds = 0
        if isinstance(layer, Conv):
            maps = layer.out or 1
            weights = maps * (channels or 1) * prod(w.kernel for w in windows)
            parameters = weights + maps
            multiply_adds = weights * prod(sizes if layer.transposed else outputs)
            channels = layer.out if channels is None else maps
        rows.append(
            Row(
                label=str(layer),
                channels=channels,
                sizes=outputs,
                field=tuple(f.size for f in fields),
                jump=tuple(f.jump for f in fields),
                start=tuple(f.start for f in fields),
                parameters=parameters,
                multiply_adds=multiply_adds,
                unused=tuple(w.unused(n) for w, n in zip(windows, sizes, strict=True)),
            )
        )
        sizes = outputs
    return rows
