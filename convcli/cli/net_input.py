"""What the commands on nets share: an input as a net takes it, and the net bound to it.  Loads torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from convcli.cli.net import Filling
from convcli.data import Colour, Source
from convcli.errors import ConvError, UsageError
from convcli.job import canonical
from convcli.media import registry
from convcli.media.options import ReadOptions
from convcli.media.target import STANDARD, open_input, shown
from convcli.net.model import Net, parameters_of
from convcli.net.parameters import Shape
from convcli.net.torch_run import TorchNet
from convcli.net.weights import initial, load_for
from convcli.output import compute_type


@dataclass(frozen=True)
class Input:
    """An open input as a net takes it: (channels, *space), alpha left out."""

    source: Source
    letters: str
    shape: Shape
    notes: tuple[str, ...]

    def rows(self, start: int, stop: int) -> np.ndarray:
        """Return a part along the first axis of space."""
        info = self.source.info
        along = info.axes[info.stream_axis] == self.letters[0]
        block = self.source.read(start, stop) if along else self.source.read(0, info.length)
        letters = ("C" if "C" in info.axes else "") + self.letters
        block = block.transpose([info.axes.index(letter) for letter in letters])
        block = block if "C" in info.axes else block[None]
        block = block[: self.shape.channels]
        return block if along else block[:, start:stop]

    def whole(self) -> np.ndarray:
        return self.rows(0, self.shape.sizes[0])


@contextmanager
def opened(name: str, options: ReadOptions) -> Iterator[Input]:
    """Open a file or ``-``; errors within name it."""
    fp = open_input(name)
    with ExitStack() as stack:
        stack.callback(fp.close)
        try:
            head = fp.read(registry.HEAD)
            fp.seek(0)
            format, notes = registry.identify(head, "" if name == STANDARD else name)
            source = registry.open_source(fp, format, options)
            stack.callback(source.close)
            info = source.info
            if info.colour.has_alpha:
                notes += ("the alpha channel is left out: a net sees colours",)
            letters = canonical(info)
            shape = Shape(
                info.channels - info.colour.has_alpha, tuple(info.size(letter) for letter in letters)
            )
            yield Input(source, letters, shape, (*notes, *info.notes))
        except UsageError:
            raise
        except ConvError as error:
            raise (
                error if name in str(error) else ConvError(f"{shown(name, 'standard input')}: {error}", 1)
            ) from None


def bound(net: Net, input: Input, filling: Filling) -> TorchNet:
    """Bind a net to an input and fill its parameters."""
    try:
        steps = net.trace(net.preprocess.output(input.shape))
    except UsageError as error:
        info = input.source.info
        if "C" not in info.axes and len(info.axes) > 1 and info.colour is Colour.NONE:
            raise UsageError(
                f"{error} (the input's axes were taken for {info.axes}; "
                f"if the first counts channels, say --axes C{info.axes[1:]})"
            ) from None
        raise
    parameters = parameters_of(steps)
    stored = None if filling.weights is None else load_for(filling.weights, parameters)
    dtype = compute_type(input.source.info.dtype, filling.precision)
    arrays = initial(parameters, stored, filling.seed)
    return TorchNet.load(net, steps, arrays, dtype, filling.device)
