"""The questions behind an output size: which settings give it, and which other sizes it could stand for.

Searches a small range with the arithmetic of `layers`; nothing here computes sizes of its own, or prints.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product
from typing import NamedTuple, TypeVar

from convcli.common import ConvError, UsageError, counted, frozen, per_axis
from convcli.geometry.graph import trace
from convcli.geometry.layers import Conv, Layer, Pool, Row, format_size
from convcli.geometry.padding import PaddingName
from convcli.geometry.windows import TransposedWindow, Window

T = TypeVar("T")

STRIDES, DILATIONS = range(1, 5), range(1, 4)
PER_AXIS = 8  # choices of each axis that are combined, where no setting serves all axes
SYMMETRIC = 1  # sides of padding differ by at most this


class Setting(NamedTuple):
    """The settings of one axis; the order of the fields makes the simpler one the smaller."""

    ceil: bool
    uneven: bool  # the sides of the padding differ
    dilation: int
    distance: int  # of the other settings from their defaults
    stride: int
    output_padding: int
    padding: tuple[int, int]


@frozen
class Choice:
    """A layer that gives the wanted size."""

    layer: Layer
    row: Row
    same_as: tuple[PaddingName, ...]  # what its padding could be called as well

    facts = ("layer", "output", "same_as")

    @property
    def output(self) -> str:
        return self.row.output

    def __str__(self) -> str:
        return str(self.layer)


def search(
    layer: Layer, fixed: frozenset[str], channels: int | None, sizes: Sequence[int], wanted: Sequence[int]
) -> list[Choice]:
    """Return the layers that turn ``sizes`` into ``wanted``, the simplest first.

    Stride 1 to 4 (a pool's own too), dilation 1 to 3, padding less than the kernel's extent, sides that
    differ by one at most, a transposed layer's output padding less than the stride, a pool's ceil.

    Parameters
    ----------
    layer : Conv or Pool
        Its kernel holds, and what ``fixed`` names.
    fixed : set of str
        Names of settings that are not to be changed: stride, padding, dilation, output_padding, ceil.

    Raises
    ------
    ConvError
        When nothing gives that size; the nearest is named.

    >>> found = search(Conv((3,)), frozenset(), None, (32, 32), (16, 16))
    >>> [str(choice) for choice in found[:2]]
    ['conv:3,s=2,p=1', 'conv:3,s=2,p=2,d=2']
    """
    rank = len(sizes)
    if len(wanted) != rank:
        many = counted(len(wanted), "axis", "axes")
        raise UsageError(
            f"--want {format_size(None, wanted)} has {many} and the input {format_size(None, sizes)} {rank}: "
            "give as many"
        )
    found = []
    for axis, (n, goal) in enumerate(zip(sizes, wanted, strict=True)):
        sized = list(_sized(_one_axis(layer, axis, rank), fixed, n))
        fitting = sorted(setting for setting, size in sized if size == goal)
        if not fitting:
            raise ConvError(_nearest(layer, sized, n, goal))
        found.append(fitting)
    common = [setting for setting in found[0] if all(setting in others for others in found[1:])]
    if common:
        combined: Iterable[tuple[Setting, ...]] = ((setting,) for setting in common)
    else:
        combined = sorted(product(*(settings[:PER_AXIS] for settings in found)), key=_together)
    return [_choice(layer, settings, channels, sizes) for settings in combined]


def _together(settings: tuple[Setting, ...]) -> tuple[int, ...]:
    """How complicated the settings of all axes are: the sums of each field."""
    fields = ("ceil", "uneven", "dilation", "distance")
    return tuple(sum(getattr(setting, field) for setting in settings) for field in fields)


def _one_axis(layer: Layer, axis: int, rank: int) -> Layer:
    """Return the layer as it is along one axis."""
    if layer.size is None:
        raise UsageError(f"--want: {layer} pools over everything, to 1: there is nothing to choose")
    names = {"size": "kernel", "dilation": "dilation", "padding": "padding", "stride": "stride"}
    if isinstance(layer, Conv):
        names["output_padding"] = "output padding"
    given = {name: values for name in names if (values := getattr(layer, name)) is not None}
    one = {name: (per_axis(values, rank, names[name])[axis],) for name, values in given.items()}
    return replace(layer, **one)  # type: ignore[arg-type]


def _sized(layer: Layer, fixed: frozenset[str], n: int) -> Iterable[tuple[Setting, int]]:
    """Yield every setting of one axis with its output size for ``n``."""
    kernel = layer.size[0] if layer.size else n
    default_stride = kernel if isinstance(layer, Pool) else 1
    own_stride = layer.stride[0] if layer.stride else default_stride
    strides = [own_stride] if "stride" in fixed else sorted({*STRIDES, default_stride})
    dilations = [layer.dilation[0]] if "dilation" in fixed else DILATIONS
    own_extra = layer.output_padding[0] if isinstance(layer, Conv) else 0
    ceils = [isinstance(layer, Pool) and layer.ceil]
    if isinstance(layer, Pool) and "ceil" not in fixed:
        ceils = [False, True]
    for stride, dilation, ceil in product(strides, dilations, ceils):
        extra = range(stride) if layer.transposed and "output_padding" not in fixed else [own_extra]
        for padding, more in product(_paddings(layer, fixed, kernel, stride, dilation, n), extra):
            spaced = (kernel, stride, dilation, *padding)
            size = _size(TransposedWindow(*spaced, more) if layer.transposed else Window(*spaced, ceil), n)
            if size is None:
                continue
            if ceil and "ceil" not in fixed and size == _size(Window(*spaced), n):
                continue  # ceil without effect
            uneven = padding[0] != padding[1]
            distance = abs(stride - default_stride) + max(padding) + more
            yield Setting(ceil, uneven, dilation, distance, stride, more, padding), size


def _size(window: Window | TransposedWindow, n: int) -> int | None:
    try:
        return window.output_size(n)
    except UsageError:  # nothing comes out
        return None


def _paddings(
    layer: Layer, fixed: frozenset[str], kernel: int, stride: int, dilation: int, n: int
) -> list[tuple[int, int]]:
    if "padding" in fixed:
        own = replace(layer, size=(kernel,), stride=(stride,), dilation=(dilation,)).windows((n,))[0]
        return [(own.before, own.after)]
    extent = dilation * (kernel - 1) + 1
    return [
        (before, after)
        for before in range(extent)
        for after in range(max(before - SYMMETRIC, 0), min(before + SYMMETRIC + 1, extent))
    ]


def _nearest(layer: Layer, sized: list[tuple[Setting, int]], n: int, goal: int) -> str:
    what = f"no stride, padding or dilation that --want tries makes {goal} of {n} with {layer}"
    if not sized:
        return f"{what}: nothing comes out at all; give a smaller kernel"
    _, setting, size = min((abs(size - goal), setting, size) for setting, size in sized)
    return f"{what}: the nearest is {size}, with {_with(layer, (setting,))}"


def _with(layer: Layer, settings: tuple[Setting, ...]) -> Layer:
    first = settings[0]
    strides = _short(setting.stride for setting in settings)
    changed: dict[str, object] = {
        "dilation": _short(setting.dilation for setting in settings),
        "padding": _short(setting.padding for setting in settings),
        "stride": strides,
    }
    if isinstance(layer, Pool):
        changed["ceil"] = first.ceil
        changed["stride"] = None if strides == layer.size else strides
    else:
        changed["output_padding"] = _short(setting.output_padding for setting in settings)
    return replace(layer, **changed)  # type: ignore[arg-type]


def _short(values: Iterable[T]) -> tuple[T, ...]:
    """Return one value for each axis, a single one where they agree."""
    every = tuple(values)
    return every[:1] if len(set(every)) == 1 else every


def _choice(
    layer: Layer, settings: tuple[Setting, ...], channels: int | None, sizes: Sequence[int]
) -> Choice:
    chosen = _with(layer, settings)
    windows = chosen.windows(sizes)
    names = [
        name
        for name in PaddingName
        if any(window.before or window.after for window in windows)
        and not chosen.transposed
        and replace(chosen, padding=(name,)).windows(sizes) == windows
    ]
    return Choice(chosen, trace([chosen], channels, sizes)[0], tuple(names))


def remarks(layers: Sequence[Layer], sizes: Sequence[int], rows: Sequence[Row]) -> list[str]:
    """Say in one line a layer where its size could be another: what ceil changes, what a transposed layer undoes.

    >>> from convcli.geometry.pools import MAX
    >>> chain = [Pool(MAX, (3,), stride=(2,))]
    >>> remarks(chain, (8,), trace(chain, None, (8,)))
    ['layer 1 (pool:max:3,s=2): 8 leaves 1 at the end unread; with ceil the output is 4 instead of 3']
    """
    lines = []
    inputs = [tuple(sizes), *(row.sizes for row in rows[:-1])]
    for number, (layer, before, row) in enumerate(zip(layers, inputs, rows, strict=True), 1):
        if isinstance(layer, Pool):
            line = _about_ceil(layer, before, row)
        else:
            line = _about_transposed(layer, before) if layer.transposed else ""
        if line:
            lines.append(f"layer {number} ({layer}): {line}")
    return lines


def _about_ceil(layer: Pool, sizes: tuple[int, ...], row: Row) -> str:
    if layer.size is None:
        return ""
    other = replace(layer, ceil=not layer.ceil)
    windows = zip(other.windows(sizes), sizes, strict=True)
    outputs = tuple(window.output_size(n) for window, n in windows)
    if outputs == row.sizes:
        return ""
    shown, theirs = format_size(None, row.sizes), format_size(None, outputs)
    if layer.ceil:
        return f"ceil lets the last window hang over the end; without it the output is {theirs} instead of {shown}"
    if not any(row.unused):
        return ""
    left = max(row.unused)
    return (
        f"{format_size(None, sizes)} leaves {left} at the end unread; with ceil the output is {theirs} "
        f"instead of {shown}"
    )


def _about_transposed(layer: Conv, sizes: tuple[int, ...]) -> str:
    """Which inputs of the convolution that this one undoes give the same size."""
    if any(
        isinstance(padding, PaddingName) and padding is not PaddingName.VALID for padding in layer.padding
    ):
        return ""
    forward = replace(layer, transposed=False, output_padding=(0,), out=None)
    for n, window in zip(sizes, layer.windows(sizes), strict=True):
        if window.stride == 1:
            continue
        smallest = window.full_size(n) - window.before - window.after
        if smallest < 1:
            continue
        largest = smallest + window.stride - 1
        return (
            f"{forward} makes {n} of every size from {smallest} to {largest}; op=0 gives {smallest} back, "
            f"op={window.stride - 1} gives {largest}"
        )
    return ""
