"""What layers hand on and what they hold: shapes of data, parameters, and where their numbers come from.

No numbers of any size are here but those that a net's file writes out itself.
"""

from __future__ import annotations

from dataclasses import field

from convcli.common.frozen import frozen
from convcli.geometry.layers import format_size


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


@frozen
class Numbers:
    """Numbers that the net's file holds itself: one for all, or all of them, the last axis fastest."""

    values: tuple[float, ...] = field(repr=False)


@frozen
class Stored:
    """An array in a file, ``FILE`` or ``FILE#KEY``, of the shape that it has there.

    ``swapped`` says that the file has (in, out, …), as torch and ONNX keep transposed convolutions.
    """

    place: str
    shape: tuple[int, ...]
    swapped: bool = False


@frozen
class Random:
    """Numbers drawn at random; without a seed they must come from elsewhere."""

    seed: tuple[int, ...] | None = None


Fill = Numbers | Stored | Random


@frozen
class Parameter:
    """An array of a layer: its shape, and where its numbers come from.

    Random ones are uniform between ±1/√fan_in, torch's own initial values for convolutions and dense layers.
    """

    shape: tuple[int, ...]
    fill: Fill
    fan_in: int = 1
    trained: bool = True  # False: measured (a batch norm's mean and variance), not learned by gradients
    swappable: int = 0  # the groups of a transposed convolution, whose first axes torch and ONNX swap
