"""A net as a graph: what a layer must say of itself, and the one walk that gives sizes, fields and costs.

A chain, as ``shape`` writes it, is a graph in which every layer takes the output of the one before.  No arrays.

`lint` says what is likely a mistake, or has a price.  Sources: Odena, Dumoulin and Olah, "Deconvolution and
checkerboard artifacts", Distill (2016); Zhang, "Making convolutional networks shift-invariant again", ICML (2019).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import Any

from convcli.common import UsageError, frozen, within
from convcli.geometry.layers import Conv, Pool, Row, format_size
from convcli.geometry.layers import Layer as Geometry
from convcli.geometry.padding import PadMode
from convcli.geometry.windows import AdaptiveWindow, Field, TransposedWindow, Window

INPUT = "input"  # what a graph's own input is called among the sources of its layers

Windows = tuple[Window | TransposedWindow | AdaptiveWindow, ...]
Box = tuple[tuple[int, int], ...]

MOST_NAMES = 3  # of layers in a line


@frozen
class Shape:
    """Channels and the sizes of space; without sizes it is a flat list of ``channels`` numbers."""

    channels: int
    sizes: tuple[int, ...] = ()

    @property
    def flat(self) -> bool:
        return not self.sizes

    def __str__(self) -> str:
        return format_size(self.channels, self.sizes) if self.sizes else str(self.channels)


class Operation:
    """What all kinds of layers can say of themselves; of itself one that takes each position by itself.

    ``str()`` is a short text for tables.
    """

    pad_mode = PadMode.ZERO  # what lies outside the data; not annotated, so no field

    def joined(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape on which the operation works, made of those of its inputs: of all but joins the only one."""
        if len(shapes) != 1:
            raise UsageError(f"it takes one input, and {len(shapes)} come in: join them by add or concat")
        return shapes[0]

    def output(self, shape: Shape) -> Shape:
        """Return the output shape for an input of this shape; a UsageError says what does not fit."""
        return shape

    def windows(self, shape: Shape) -> Windows | None:
        """Return the window along each axis of space; None when an output needs all of its input."""
        return (Window(1),) * len(shape.sizes)

    def local(self, shape: Shape) -> bool:
        """Return whether an output needs only a window of the input, whatever its size."""
        return self.windows(shape) is not None

    def parameters(self, shape: Shape) -> Mapping[str, Any]:
        """Return the arrays that it learns or is given, each with its ``shape``."""
        return {}

    def multiply_adds(self, shape: Shape) -> int:
        """Return those of its weights; activations, norms and resampling count none."""
        return 0

    def held(self, shape: Shape) -> int:
        """Return how many numbers there are at once for an input of this shape, padding and cropping included."""
        output = self.output(shape)
        return output.channels * prod(output.sizes)

    def __str__(self) -> str:
        """The layer's kind, as in a net's file."""
        return type(self).__name__.lower()


@frozen
class Layer:
    """An operation and its name, under which its weights are stored and its maps are asked for.

    ``sources`` are the names of the layers whose outputs it takes (`INPUT` is the graph's own); without any it takes
    the one before.
    """

    name: str
    operation: Operation
    sources: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name and what it is, without saying it twice.

        >>> Layer("operation1", Operation()).label
        'operation1'
        """
        text = str(self.operation)
        return self.name if self.name.rstrip("0123456789") == text else f"{self.name} {text}"


@frozen
class Step:
    """One layer bound to the shapes of its inputs.

    ``input`` is what they make together, ``row`` the layer's line of the table, ``fields`` the receptive field of its
    outputs along each axis of the graph's input, ``starts`` the centres of its inputs' first fields, ``windows`` None
    where an output needs all of its input.
    """

    layer: Layer
    sources: tuple[str, ...]
    inputs: tuple[Shape, ...]
    input: Shape
    output: Shape
    windows: Windows | None
    fields: tuple[Field, ...]
    parameters: Mapping[str, Any]
    row: Row
    starts: tuple[tuple[Fraction, ...], ...]

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def local(self) -> bool:
        """Whether an output needs only a window of each input, whatever its size."""
        return self.layer.operation.local(self.input) and all(
            shape.sizes == self.input.sizes for shape in self.inputs
        )

    def needs(self, box: Box) -> Box:
        """Return the box of its input, padding included, that a box of its output needs."""
        if self.windows is None:
            return tuple((0, n) for n in self.input.sizes)
        return tuple(window.input_range(*span) for window, span in zip(self.windows, box, strict=True))


@frozen
class _Place:
    """An output in the graph: its shape, what it sees, and the sizes of space that flat numbers were made of."""

    shape: Shape
    fields: tuple[Field, ...]
    space: tuple[int, ...]


def follow(layers: Iterable[Layer], shape: Shape, *, shown: bool = True) -> tuple[Step, ...]:
    """Follow an input of this shape through a graph, whose layers come after their sources.

    Parameters
    ----------
    shown
        Whether errors say which shape came in.

    Raises
    ------
    UsageError
        For a layer that does not fit, naming it, what it got and what it takes.
    """
    places = {INPUT: _Place(shape, (Field(),) * len(shape.sizes), shape.sizes)}
    before, steps = INPUT, []
    for number, layer in enumerate(layers, 1):
        sources = layer.sources or (before,)
        inputs = tuple(places[name].shape for name in sources)
        came = " on " + " and ".join(map(str, inputs)) if shown else ""
        with within(f"layer {number} ({layer.name}){came}"):
            named = () if sources == (before,) else sources
            step, space = _bound(layer, sources, [places[name] for name in sources], named)
        places[layer.name] = _Place(step.output, step.fields, space)
        before = layer.name
        steps.append(step)
    return tuple(steps)


def _bound(
    layer: Layer, sources: tuple[str, ...], places: Sequence[_Place], named: tuple[str, ...]
) -> tuple[Step, tuple[int, ...]]:
    """Return a layer bound to its inputs, and the sizes of space that its output was made of."""
    operation, shapes = layer.operation, tuple(place.shape for place in places)
    shape = operation.joined(shapes)
    output, windows = operation.output(shape), operation.windows(shape)
    parameters = operation.parameters(shape)
    fields, space = _merged(places, shape), places[0].space
    if len(space) != len(fields):  # unflatten made more axes, or fewer, whose elements all see the same
        space = (1,) * len(fields)
    if windows is None and (parameters or not output.flat):  # every output sees all
        fields = tuple(field.through(Window(n)).fixed() for field, n in zip(fields, space, strict=False))
        space = (1,) * len(space)
    elif windows and len(windows) == len(fields):
        everything = [
            not operation.local(shape) and w.kernel == n for w, n in zip(windows, shape.sizes, strict=True)
        ]
        passed = [field.through(window) for field, window in zip(fields, windows, strict=True)]
        fields = tuple(f.fixed() if one else f for f, one in zip(passed, everything, strict=True))
    row = Row.of(
        layer.label,
        None if output.flat else output.channels,
        output.sizes or (output.channels,),
        fields,
        parameters=sum(prod(parameter.shape) for parameter in parameters.values()),
        multiply_adds=operation.multiply_adds(shape),
        unused=tuple(w.unused(n) for w, n in zip(windows or (), shape.sizes, strict=False))
        or (0,) * len(fields),
        sources=named,
    )
    starts = tuple(tuple(field.start for field in place.fields) for place in places)
    step = Step(layer, sources, shapes, shape, output, windows, fields, parameters, row, starts)
    return step, output.sizes or space


def _merged(places: Sequence[_Place], shape: Shape) -> tuple[Field, ...]:
    """Return what the outputs of several layers see together; a size of 1 is repeated along the others'."""
    counts = shape.sizes if len(shape.sizes) == len(places[0].fields) else (1,) * len(places[0].fields)
    fields, *others = (
        tuple(
            f.fixed() if n != m else f
            for f, n, m in zip(place.fields, place.shape.sizes, counts, strict=True)
        )
        if place.shape.sizes not in ((), shape.sizes)
        else place.fields
        for place in places
    )
    for other in others:
        fields = tuple(a.merged(b, n) for a, b, n in zip(fields, other, counts, strict=True))
    return fields


def needed_for(steps: Sequence[Step], name: str) -> tuple[Step, ...]:
    """Return the steps that the output of one needs, itself the last; none for `INPUT`."""
    wanted, found = {name}, []
    for step in reversed(steps):
        if step.name in wanted:
            found.append(step)
            wanted.update(step.sources)
    return tuple(reversed(found))


def boxes(steps: Sequence[Step], box: Box, needs: Callable[[Step, Box], Box] = Step.needs) -> dict[str, Box]:
    """Return, by name, the box of each layer's output and of the input that a box of the last output needs."""
    found = {steps[-1].name: box}
    for step in reversed(steps):
        own = needs(step, found[step.name])
        for source in step.sources:
            both = zip(found.get(source, own), own, strict=True)
            found[source] = tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in both)
    return found


# Chains as the ``shape`` command writes them


@lru_cache
def _windows(geometry: Geometry, sizes: tuple[int, ...]) -> tuple[Window | TransposedWindow, ...]:
    return geometry.windows(sizes)


@frozen
class _Weights:
    """An array of which the shape alone is known."""

    shape: tuple[int, ...]


@frozen
class _Bare(Operation):
    """A geometry without numbers; a convolution is dense and has a bias for each map."""

    geometry: Geometry

    def output(self, shape: Shape) -> Shape:
        maps = (self.geometry.out or 1) if isinstance(self.geometry, Conv) else shape.channels
        both = zip(self.windows(shape), shape.sizes, strict=True)
        return Shape(maps, tuple(window.output_size(n) for window, n in both))

    def windows(self, shape: Shape) -> tuple[Window | TransposedWindow, ...]:
        return _windows(self.geometry, shape.sizes)

    def local(self, shape: Shape) -> bool:
        return self.geometry.size is not None

    def parameters(self, shape: Shape) -> Mapping[str, _Weights]:
        if isinstance(self.geometry, Pool):
            return {}
        maps, kernels = self.geometry.out or 1, (window.kernel for window in self.windows(shape))
        return {"weight": _Weights((maps, shape.channels, *kernels)), "bias": _Weights((maps,))}

    def multiply_adds(self, shape: Shape) -> int:
        if isinstance(self.geometry, Pool):
            return 0
        weights = prod(self.parameters(shape)["weight"].shape)
        return weights * prod((shape if self.geometry.transposed else self.output(shape)).sizes)


def chain(layers: Iterable[Geometry]) -> tuple[Layer, ...]:
    """Return layers of ``shape`` as a graph."""
    return tuple(Layer(str(layer), _Bare(layer)) for layer in layers)


def trace(layers: Iterable[Geometry], channels: int | None, sizes: Sequence[int]) -> list[Row]:
    """Follow an input of these sizes through a chain of layers.

    A convolution is dense: each output map sums over all input channels, and has one bias.  Without ``out``
    it makes one map (``1@`` when channels were given), as ``filter`` does with a kernel that has the input's
    channels.  Channels that were not given count as 1 in the parameters.

    Raises
    ------
    UsageError
        Naming the layer, when it does not fit its input; and by how much.

    >>> from convcli.geometry.pools import MAX
    >>> for row in trace([Conv((5, 5), out=6), Pool(MAX, (2,))], 3, (32, 32)):
    ...     print(row.layer, row.output, row.parameters)
    conv:6@5x5 6@28x28 456
    pool:max:2 6@14x14 0
    """
    return rows_of(follow(chain(layers), Shape(channels or 1, tuple(sizes)), shown=False), channels)


def rows_of(steps: Iterable[Step], channels: int | None) -> list[Row]:
    """Return the rows of a chain that was followed, as `trace` does; without channels where none were given."""
    rows = []
    for step in steps:
        geometry = step.layer.operation.geometry  # type: ignore[attr-defined]
        if channels is None:
            channels = getattr(geometry, "out", None)
        maps = None if channels is None else step.row.channels
        rows.append(replace(step.row, layer=str(geometry), channels=maps))
    return rows


def lint(steps: Sequence[Step], *, nets: bool = True, shifts: bool = False) -> list[str]:
    """Return one line for each finding, and the layers that it holds for.

    Parameters
    ----------
    nets
        Whether it speaks of what pools leave unread (of a chain `search.remarks` does, and of ceil).
    shifts
        Whether it speaks of aliasing, which every classic net has: where shifts are the subject.

    >>> from convcli.geometry.grammar import parse_layers
    >>> from convcli.geometry.graph import Shape, chain, follow
    >>> for line in lint(follow(chain(parse_layers(["tconv:3,s=2"])), Shape(1, (8,)))):
    ...     print(line)
    layer 1 (tconv:3,s=2): kernel 3 is no multiple of stride 2, so that along an axis outputs sum up 1 or 2 taps \
in turn (a checkerboard): take kernel 4, or upsample before a convolution
    """
    places: dict[str, list[str]] = {}
    used = {source for step in steps for source in step.sources}
    for number, step in enumerate(steps, 1):
        found = [
            line for axis in range(len(step.windows or ())) for line in _of_window(step, axis, nets, shifts)
        ]
        found += _of_branches(step)
        if step is not steps[-1] and step.name not in used:
            found.append("no layer takes its output: leave it out, or name it in a from:")
        for line in dict.fromkeys(found):
            places.setdefault(line, []).append(f"{number} ({step.name})")
    return [f"{_listed(layers)}: {line}" for line, layers in places.items()]


def _listed(layers: Sequence[str]) -> str:
    if len(layers) == 1:
        return f"layer {layers[0]}"
    more = f" and {len(layers) - MOST_NAMES} more" if len(layers) > MOST_NAMES else ""
    return f"layers {', '.join(layers[:MOST_NAMES])}{more}"


def _of_window(step: Step, axis: int, nets: bool, shifts: bool) -> Iterator[str]:
    """Yield what is to be said of a layer along one axis."""
    window, n = (step.windows or ())[axis], step.input.sizes[axis]
    kernel, stride = window.kernel, window.stride
    if isinstance(window, TransposedWindow):
        if step.parameters and window.dilation == 1 and kernel % stride:
            counts = f"{kernel // stride} or {kernel // stride + 1} taps" if kernel > stride else "0 or 1 tap"
            longer = -(-kernel // stride) * stride
            yield (
                f"kernel {kernel} is no multiple of stride {stride}, so that along an axis outputs sum up {counts} "
                f"in turn (a checkerboard): take kernel {longer}, or upsample before a convolution"
            )
        return
    if not isinstance(window, Window) or not (window.before or window.after or kernel < n):
        return
    padded = window.before + window.after
    if stride == 1 and padded and window.extent % 2 == 0:
        side = "after" if window.centre > window.before else "before"
        yield f"outputs of the even kernel {kernel} lie half an element {side} the inputs: take an odd one"
    if stride > window.extent:
        skipped = f"{stride - window.extent} of {stride}"
        yield f"stride {stride} passes over {skipped} elements, which kernel {kernel} never reads: average them first"
    elif shifts and stride > 1 and window.extent < 2 * stride:
        yield (
            f"stride {stride} behind a window of {window.extent} folds fine detail (aliasing): "
            f"blur first (binomial:{2 * stride + 1}) or average"
        )
    unread = step.row.unused[axis]
    if unread and stride <= window.extent and (nets or step.parameters):
        yield (
            f"no window reaches the last {unread} of {n}: pad the end by {stride - unread}, or take {n - unread}"
        )
    end = window.input_range(0, step.output.sizes[axis])[1]
    dead = min(n + window.after - end, window.after)
    if dead > 0:
        least = f"{window.before}:{window.after - dead}"
        yield f"no window reaches {dead} of the padding {window.after} at the end: {least} gives the same, and shows it"
    if max(window.before, window.after) >= window.extent and (window.extent > 1 or step.parameters):
        yield (
            f"padding {max(window.before, window.after)} is not less than the kernel's extent {window.extent}: the "
            "outermost outputs see nothing else"
        )


def _of_branches(step: Step) -> Iterator[str]:
    """Yield how far apart the inputs of a join lie, those left out that are spread from one element."""
    both = zip(step.sources, step.inputs, step.starts, strict=True)
    starts = {name: start for name, shape, start in both if shape.sizes == step.input.sizes}
    if len(set(starts.values())) > 1:
        told = ", ".join(
            f"{name} {'x'.join(f'{float(one):g}' for one in start)}" for name, start in starts.items()
        )
        yield f"its inputs lie apart, their first elements at {told} of the net's input: pad them so that they agree"
