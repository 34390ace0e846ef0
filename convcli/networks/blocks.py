"""Large inputs in parts: every layer asks the one before it for the rows that it needs, borders and all.

The halo of a block is what `convcli.geometry.axes` says that its outputs need, layer by layer, and padding is put
only where the data end: the result is that of the whole input.  Only chains without flatten, dense, global
pools and resizing are local enough for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from convcli.geometry.padding import PadMode
from convcli.networks.model import Net, Step
from convcli.networks.operations import Convolution
from convcli.networks.torch_layers import Part, Tensors, apply
from convcli.networks.torch_run import TorchNet, computing

if TYPE_CHECKING:
    import torch

BLOCK_NUMBERS = 1 << 23  # of the largest layer in a block: 32 MB of float32
HALOS = 4  # a block is at least so many halos long, so that little is computed twice

ReadRows = Callable[[int, int], np.ndarray]
_Produce = Callable[[int, int], "torch.Tensor"]


def not_local(net: Net, steps: Sequence[Step]) -> str:
    """Return which part of a chain needs all of its input; nothing when the chain is local."""
    if not net.preprocess.local:
        return "preprocess: resize"
    return next((step.name for step in steps if not step.local), "")


def block_length(steps: Sequence[Step]) -> int:
    """Return how many rows of the output make a block, as many as memory should hold at once.

    A row of the output stands for its jump in rows of the input, so all layers share one measure.
    """
    last = steps[-1]
    field = last.fields[0]
    rows = last.output.sizes[0]
    heaviest = max(
        shape.channels * prod(shape.sizes) for step in steps for shape in (step.input, step.output)
    )
    halo = -(-field.size // max(int(field.jump), 1))
    return min(max(BLOCK_NUMBERS * rows // heaviest, HALOS * halo, 1), rows)


def run_blocks(model: TorchNet, read: ReadRows, length: int) -> Iterator[np.ndarray]:
    """Yield the last step's output (channels, rows, …) block by block along the first axis of space.

    Parameters
    ----------
    read
        Returns rows ``start:stop`` of the input, (channels, rows, …).
    length
        Rows of output in a block.
    """

    def first(start: int, stop: int) -> torch.Tensor:
        return model.input(read(start, stop))

    produce: _Produce = first
    for step in model.steps:
        produce = _after(step, model.parameters, produce)
    rows = model.steps[-1].output.sizes[0]
    for start in range(0, rows, length):
        with computing():
            block: np.ndarray = produce(start, min(start + length, rows))[0].cpu().numpy()
        yield block


def _after(step: Step, parameters: Tensors, produce: _Produce) -> _Produce:
    """Return what produces rows of a layer's output, given what produces rows of its input."""
    operation = step.layer.operation
    mode = operation.pad_mode if isinstance(operation, Convolution) else PadMode.ZERO
    window, rows = (step.windows or ())[0], step.input.sizes[0]

    def part(start: int, stop: int) -> torch.Tensor:
        first, end = mode.support(*window.input_range(start, stop), rows)
        return apply(step, parameters, produce(first, end), Part(first, start, stop))

    return part
