"""A net: named layers in a graph, and the preprocessing of its input.

`convcli.geometry.graph` follows an input through it, as through the chains of ``shape``.  No arrays, no files, no
torch.
"""

from collections.abc import Sequence
from dataclasses import field
from enum import StrEnum
from math import prod
from pathlib import Path

from convcli.common import ConvError, UsageError, frozen, per_axis, quoted, within
from convcli.common.budget import NUMBERS, PIXELS
from convcli.geometry.graph import Layer, Shape, Step, follow
from convcli.kernel.yaml_document import nearest
from convcli.networks.operations import Interpolation, Parameter


class Grey(StrEnum):
    """How colours become one channel."""

    MEAN = "mean"  # of all channels
    LUMA = "luma"  # Rec. 709, of red, green and blue


MOST_AXES = 3  # of space, that torch convolves and resizes


@frozen
class Preprocess:
    """What is done to an input before the first layer, in this order: grey, resize, scale, mean and std."""

    grey: Grey | None = None
    resize: tuple[int, ...] | None = None  # the new size, one number or one for each axis
    interpolation: Interpolation = Interpolation.BILINEAR
    scale: float = 1.0
    mean: tuple[float, ...] = ()  # subtracted: one number, or one for each channel
    std: tuple[float, ...] = ()  # divided by

    def output(self, shape: Shape) -> Shape:
        """Return the shape that the first layer gets.

        Raises
        ------
        UsageError
            When the options do not fit the input's channels or axes.
        """
        channels = shape.channels
        if self.grey is Grey.LUMA and channels not in (1, 3):
            raise UsageError(f"preprocess: luma needs red, green and blue, and {channels} channels come in")
        if self.grey is not None:
            channels = 1
        for what, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, channels):
                raise UsageError(f"preprocess: {what} has {len(values)} values for {channels} channels")
        if self.resize is None:
            return Shape(channels, shape.sizes)
        if self.interpolation is Interpolation.BICUBIC and len(shape.sizes) != 2:
            raise UsageError(
                f"preprocess: bicubic needs two axes of space, and the input has {len(shape.sizes)}"
            )
        return Shape(channels, per_axis(self.resize, len(shape.sizes), "preprocess: resize"))


@frozen
class Net:
    """Layers in a graph, each after its sources; the last one's output is the net's.

    Parameters
    ----------
    input
        The shape that it is meant for, if its file says so: a default for tables, never a restriction.
    labels
        Names of the classes that the last layer's numbers stand for.
    reread
        The file, where layers depend on the input's size: it has to be read again for another one.
    """

    name: str
    layers: tuple[Layer, ...]
    preprocess: Preprocess = field(default_factory=Preprocess)
    input: Shape | None = None
    labels: tuple[str, ...] = ()
    description: str = ""
    source: str = ""
    reread: Path | None = None

    @property
    def title(self) -> str:
        """What the net is called in a message."""
        return f"net {quoted(self.name)}"

    def trace(self, shape: Shape) -> tuple[Step, ...]:
        """Follow an input of this shape, already preprocessed, through the layers.

        Raises
        ------
        UsageError
            For more than three axes of space; for a layer that does not fit, naming it, what it got and what it
            takes.
        """
        if len(shape.sizes) > MOST_AXES:
            raise UsageError(
                f"a net takes at most {MOST_AXES} axes of space, and the input has {len(shape.sizes)}"
            )
        with within(self.title):
            return follow(self.layers, shape)

    def position(self, name: str) -> int:
        """Return the index of the layer of this name, or of this number counted from 1.

        Raises
        ------
        UsageError
            For any other text; the nearest names are suggested.
        """
        names = [layer.name for layer in self.layers]
        if name in names:
            return names.index(name)
        if name.isdecimal() and 1 <= int(name) <= len(names):
            return int(name) - 1
        raise UsageError(f"no layer named {quoted(name)}; {nearest(name, names)}", subject=self.title)


# Multiply-adds of a net, for any input and for each of its numbers
_LEAST_WORK, _MOST_WORK = 3 * 10**9, 10**6


def check_budget(steps: Sequence[Step], given: Shape, pixels: int | None = PIXELS) -> None:
    """Refuse a traced net that would make far more of its input, of the shape ``given``, than honest nets do.

    Raises
    ------
    ConvError
        For a layer that takes too much memory or time; ``pixels`` as in `convcli.common.budget.Rule`.
    """
    numbers = given.channels * prod(given.sizes)
    NUMBERS.allow(steps[0].input.channels * prod(steps[0].input.sizes), "preprocess", 4 * numbers, pixels)
    for step in steps:
        what = f"layer {step.name}"
        NUMBERS.allow(step.layer.operation.held(step.input), what, 4 * numbers, pixels)
        outputs = step.output.channels * prod(step.output.sizes)
        work = step.row.multiply_adds or outputs * prod(w.kernel for w in step.windows or ())
        if work > max(_LEAST_WORK, _MOST_WORK * numbers) and pixels == PIXELS:
            raise ConvError(
                f"{what} would take {work:,} multiply-adds for an input of {numbers:,} numbers (any --max-pixels but "
                "the default allows it)"
            )


def parameters_of(steps: Sequence[Step]) -> dict[str, Parameter]:
    """Return all parameters of a traced net by ``LAYER.PARAMETER``, e.g. ``conv1.weight``."""
    return {f"{step.name}.{name}": parameter for step in steps for name, parameter in step.parameters.items()}
