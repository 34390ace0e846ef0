"""A net's output as a source: any box of it is computed when it is asked for, borders and all.

Every layer asks the one before it for the box that it needs, as stages of a filter do, and padding is put only where
the data end: the result is that of the whole input.  Chains with flatten, dense, global pools or resizing are not local
enough for it, and are computed whole.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from convcli.common.budget import check_memory
from convcli.data import ITEMS, Box, Boxes, Info, Source, channels_first, slices, space_of, whole
from convcli.execution.box import needed_by
from convcli.execution.items import Item, with_items
from convcli.geometry.graph import INPUT, Step, boxes
from convcli.networks.model import Net
from convcli.networks.torch_run import TorchNet, computing, forward

if TYPE_CHECKING:
    import torch

BLOCK_NUMBERS = 1 << 23  # of the largest layer in a block: 32 MB of float32
HALOS = 4  # a block is at least so many halos long, so that little is computed twice


def not_local(net: Net, steps: Sequence[Step]) -> str:
    """Return which part of a net needs all of its input; nothing when the net is local."""
    if net.preprocess.resize is not None:
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


class NetSource(Boxes):
    """The last step's output of a net, (channels, *space) or flat numbers; of all items, where the input has several.

    Parameters
    ----------
    source : Source
        The net's input.
    letters : str
        Its axes of space in the order in which the net takes them.
    rows : int
        How many rows of the output are computed at a time, where the chain is local.
    """

    def __init__(self, model: TorchNet, source: Source, letters: str, rows: int) -> None:
        self._model, self._source, self._letters, self.rows = model, source, letters, rows
        output = model.steps[-1].output
        share = 1.0 if not_local(model.net, model.steps) else min(1.0, rows / output.sizes[0])
        for step in model.steps:
            numbers = step.output.channels * prod(step.output.sizes)
            check_memory(f"layer {step.name}", int(8 * numbers * share))  # float32, beside the layer before
        if output.flat:
            one = Info.of("X", (output.channels,), model.precision)
        else:
            space = space_of(len(output.sizes), letters)
            one = Info.of(f"C{space}", (output.channels, *output.sizes), model.precision)
        self.info = with_items(one, source.info)
        # What a range policy measures first is asked for again
        self._last: tuple[Box, np.ndarray] | None = None

    def read(self, box: Box) -> np.ndarray:
        if self._last is None or self._last[0] != box:
            self._last = box, self._read(box)
        return self._last[1]

    def _read(self, box: Box) -> np.ndarray:
        if ITEMS not in self.info.letters:
            return self._values(self._source, box)
        at, axis = self.info.box_letters.index(ITEMS), self.info.letters.index(ITEMS)
        others = (*box[:at], *box[at + 1 :])
        return np.stack([self._values(Item(self._source, index), others) for index in range(*box[at])], axis)

    def _values(self, source: Source, box: Box) -> np.ndarray:
        """Return (channels, *space) of a box of one item, or a part of its flat numbers."""
        model = self._model
        channels = source.info.channels - source.info.colour.has_alpha  # a net sees colours

        def colours(part: Box) -> np.ndarray:
            return channels_first(source, self._letters, part)[:channels]

        if not_local(model.net, model.steps):
            everything = model.run(colours(whole([source.info.size(letter) for letter in self._letters])))
            return everything[(slice(None),) * (everything.ndim - len(box)) + slices(box)]
        (start, stop), *others = box
        with computing():
            parts = [
                _part(model, colours, ((at, min(at + self.rows, stop)), *others))[0].cpu().numpy()
                for at in range(start, stop, self.rows)
            ]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _part(model: TorchNet, colours: Callable[[Box], np.ndarray], box: Box) -> "torch.Tensor":
    """Return a box of the output: first which boxes of all layers' outputs it needs, then the layers on these."""
    parts = boxes(model.steps, box, _needed)
    values = model.input(colours(parts[INPUT]))
    return forward(model.steps, model.parameters, values, parts=parts, needed=_needed)


def _needed(step: Step, box: Box) -> Box:
    return needed_by(step.windows or (), step.layer.operation.pad_mode, step.input.sizes, box)
