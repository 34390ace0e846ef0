"""What a convolution or a pool is, and what it does to sizes.

Sizes and parameters only: no arrays, no weights, no files; how windows lie on an axis is `geometry`'s.  How
layers are written is `convcli.geometry.grammar`'s to read.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from convcli.common import frozen, per_axis
from convcli.geometry.padding import Padding
from convcli.geometry.pools import PoolKind
from convcli.geometry.windows import Field, TransposedWindow, Window, transposed_window, window


@frozen
class Conv:
    """A convolution or a transposed one.  Tuples hold one value an axis, or a single one for every axis.

    ``out`` is the number of output maps; None is one map, not worth a ``C@`` when channels were not given.
    ``str()`` gives the text that `convcli.geometry.grammar.parse_layer` reads.
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
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        if self.transposed:
            settings["output_padding"] = self.output_padding
        axes = _each_axis(len(sizes), kernel=self.size, **settings, origin=self.origin or (None,))
        make = transposed_window if self.transposed else window
        return tuple(make(n, **axis) for n, axis in zip(sizes, axes, strict=True))

    def __str__(self) -> str:
        maps = "" if self.out is None else f"{self.out}@"
        options = _options_text(s=self.stride, p=self.padding, d=self.dilation, op=self.output_padding)
        return f"{'tconv' if self.transposed else 'conv'}:{maps}{_joined(self.size)}{options}"


@frozen
class Pool:
    """A pool over a window, or over everything (``size`` None).  The stride is the window unless given.

    ``include_padding`` counts padding as zeros, in kinds that can.  ``str()`` gives the text that is read.
    """

    kind: PoolKind
    size: tuple[int, ...] | None
    stride: tuple[int, ...] | None = None
    dilation: tuple[int, ...] = (1,)
    padding: tuple[Padding, ...] = ((0, 0),)
    ceil: bool = False
    include_padding: bool = False

    transposed = False  # not annotated, so no field

    def windows(self, sizes: Sequence[int]) -> tuple[Window, ...]:
        """Return the window along each axis of an input of these sizes; errors as in `Conv.windows`."""
        if self.size is None:
            return tuple(Window(n) for n in sizes)
        kernels, strides = per_axis(self.size, len(sizes), "pool"), self.stride or self.size
        axes = _each_axis(len(sizes), stride=strides, padding=self.padding, dilation=self.dilation)
        every = zip(sizes, kernels, axes, strict=True)
        return tuple(window(n, kernel, ceil=self.ceil, **axis) for n, kernel, axis in every)

    @property
    def option(self) -> str:
        """The pool as ``--pool`` takes it."""
        return str(self).removeprefix("pool:").replace("gpool:", "global-")

    def __str__(self) -> str:
        if self.size is None:
            return f"gpool:{self.kind}{self.kind.arguments.replace(',', ':', 1)}"
        stride = "" if self.stride is None else f",s={_joined(self.stride)}"
        options = _options_text(p=self.padding, d=self.dilation)
        flags = (",ceil" if self.ceil else "") + (",include" if self.include_padding else "")
        return f"pool:{self.kind}:{_joined(self.size)}{self.kind.arguments}{stride}{options}{flags}"


Layer = Conv | Pool


def _each_axis(rank: int, **settings: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Return the settings of each axis, from tuples that hold one value an axis or a single one for all."""
    values = [per_axis(given, rank, name.replace("_", " ")) for name, given in settings.items()]
    return [dict(zip(settings, own, strict=True)) for own in zip(*values, strict=True)]


def format_size(channels: int | None, sizes: Sequence[int]) -> str:
    """Write ``[C@]SIZE``.

    >>> format_size(6, (28, 28)), format_size(None, (5,))
    ('6@28x28', '5')
    """
    return ("" if channels is None else f"{channels}@") + _joined(sizes)


def _joined(values: Sequence[object]) -> str:
    """Write one value an axis as it is read: ``2x1``, and padding of equal sides as one number."""
    return "x".join(map(axis_text, values))


def axis_text(value: object) -> str:
    """Write the value of one axis; of padding, equal sides as one number, else ``before:after``."""
    if not isinstance(value, tuple):
        return str(value)
    before, after = value
    return str(before) if before == after else f"{before}:{after}"


_DEFAULTS = {"s": "1", "d": "1", "p": "0", "op": "0"}


def _options_text(**options: Sequence[object]) -> str:
    """Write those options that are not at a convolution's default."""
    texts = {key: _joined(values) for key, values in options.items()}
    return "".join(f",{key}={text}" for key, text in texts.items() if text != _DEFAULTS[key])


@frozen
class Row:
    """One layer's output: the tuples hold one value for each axis.

    ``field``, ``jump`` and ``start`` are the receptive field of this layer's outputs in the chain's first
    input: its size, the step from one output's centre to the next, and the first one's centre (first
    element = 0).
    """

    layer: str
    channels: int | None
    sizes: tuple[int, ...]
    field: tuple[int, ...]
    jump: tuple[Fraction, ...]
    start: tuple[Fraction, ...]
    parameters: int  # weights and biases
    multiply_adds: int  # for one input; those with padding count, the bias's do not
    unused: tuple[int, ...]  # elements at the end of this layer's input that no window reaches
    sources: tuple[str, ...] = ()  # the layers whose outputs it takes, unless it is the one before alone

    @classmethod
    def of(
        cls, layer: str, channels: int | None, sizes: tuple[int, ...], fields: Sequence[Field], **costs: Any
    ) -> "Row":
        """Return the row of a layer whose outputs have these receptive fields, one an axis."""
        size, jump, start = (
            tuple(getattr(one, name) for one in fields) for name in ("size", "jump", "start")
        )
        return cls(layer, channels, sizes, size, jump, start, **costs)

    @property
    def facts(self) -> dict[str, object]:
        """The row for a program."""
        return {"layer": self.layer, "output": self.output, **vars(self)}

    @property
    def output(self) -> str:
        return format_size(self.channels, self.sizes)
