"""What the commands on nets share: an input as a net takes it, and the net bound to it.  Loads torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from convcli.cli.net.request import Filling
from convcli.cli.shared import opened as files
from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.data.info import Colour
from convcli.jobs.output import compute_type
from convcli.media.options import ReadOptions
from convcli.networks.model import Net, parameters_of
from convcli.networks.parameters import Shape
from convcli.networks.torch_run import TorchNet
from convcli.networks.weights import initial, load_for


@frozen
class Input(files.Opened):
    """An open input as a net takes it: (channels, *space), alpha left out."""

    @property
    def shape(self) -> Shape:
        return Shape(self.info.channels - self.info.colour.has_alpha, self.sizes)

    def whole(self) -> np.ndarray:
        return super().whole()[: self.shape.channels]


@contextmanager
def opened(name: str, options: ReadOptions, *, batch: bool = False) -> Iterator[Input]:
    """Open a file or ``-``; errors within name it.  Independent items are refused, but for a ``batch``."""
    with files.opened(name, options, batch=batch) as file:
        left_out = ("the alpha channel is left out: a net sees colours",) * file.info.colour.has_alpha
        yield Input(file.source, file.letters, file.format, (*left_out, *file.notes))


def bound(net: Net, input: Input, filling: Filling) -> TorchNet:
    """Bind a net to an input and fill its parameters."""
    try:
        steps = net.trace(net.preprocess.output(input.shape))
    except UsageError as error:
        info = input.info
        if "C" not in info.letters and len(info.letters) > 1 and info.colour is Colour.NONE:
            error.problem += (
                f" (the input's axes were taken for {info.letters}; "
                f"if the first counts channels, say --axes C{info.letters[1:]})"
            )
        raise
    parameters = parameters_of(steps)
    stored = None if filling.weights is None else load_for(filling.weights, parameters)
    dtype = compute_type(input.info.dtype, filling.precision)
    arrays = initial(parameters, stored, filling.seed)
    return TorchNet.load(net, steps, arrays, dtype, filling.device)
