"""Examples for a net: files read, preprocessed, and each put beside its target.  Loads torch.

All are read once before the training, so that what is amiss shows then; after that, what memory is not meant for is
read again when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from convcli.cli.learn.request import Request
from convcli.cli.shared.files import File, class_numbers, expand, is_label_table, labels, paired
from convcli.cli.shared.opened import Log, opened
from convcli.common import ConvError, UsageError, about, frozen_identity, parse_float, within
from convcli.data.info import ITEMS
from convcli.geometry.graph import Shape
from convcli.learning.examples import MEMORY, Example, Examples, kept
from convcli.learning.training import Loss
from convcli.media.files.target import shown
from convcli.media.options import ReadOptions
from convcli.networks.model import Net, check_budget
from convcli.networks.torch_run import preprocess

if TYPE_CHECKING:
    import torch


# By the number of an example's file, that of the item in it, and its input
TargetOf = Callable[[int, int, "torch.Tensor"], "torch.Tensor"]


@frozen_identity
class Loaded:
    """All examples, in the order of their files.

    ``shape`` is that of the first input after preprocess, ``classes`` the names of the classes, if words gave them.
    """

    examples: Examples
    shape: Shape
    output: Shape
    classes: list[str]
    log: Log


def load(request: Request, net: Net, device: torch.device) -> Loaded:
    """Return all examples, each of them read and checked once.

    Raises
    ------
    ConvError, UsageError
        When a file cannot be read, does not fit the net, or has no target; it is named.
    """
    reader = _Reader(request, net, device)
    targets = request.targets
    classes: list[str] = []
    if request.training.loss is Loss.CE or (targets and is_label_table(targets)):
        files = expand(request.files)
        paths = [file.path for file in files]
        target, classes = _from_words(request, net, files, reader)
    elif targets:
        pairs = paired(request.files, request.targets)
        paths = [path for path, _ in pairs]
        target = partial(reader.target, pairs)
    else:
        paths = [file.path for file in expand(request.files)]
        target = reader.itself
    places = [(number, item) for number, path in enumerate(paths) for item in range(reader.count(path))]

    def read(index: int) -> Example:
        number, item = places[index]
        x = reader.input(paths[number], item)
        return Example(x, target(number, item, x))

    examples = Examples(kept(read, MEMORY), range(len(places)))
    first = examples[0].input
    for number in range(1, len(examples)):
        examples[number]  # so that what is amiss shows now, and not in the middle of the training
    return Loaded(examples, _shape(first), reader.output(first), classes, reader.log)


class _Reader:
    """Reads inputs and targets for one net."""

    def __init__(self, request: Request, net: Net, device: torch.device) -> None:
        self.request, self.net, self.device = request, net, device
        self.raw_sizes: dict[str, tuple[int, ...]] = {}
        self.log = Log()

    def count(self, path: str) -> int:
        """Return how many items a file has, of which --axes says that it has some."""
        if not _several(self.request.reading):
            return 1
        with opened(path, self.request.reading, batch=True, shared=True) as found:
            return found.count

    def input(self, path: str, item: int = 0) -> torch.Tensor:
        array = self._array(path, self.request.reading, item)
        self.raw_sizes[path] = array.shape[1:]
        with within(shown(path)), about(self.net.title):
            given = Shape(len(array), array.shape[1:])
            steps = self.net.trace(self.net.preprocess.output(given))
            check_budget(steps, given, self.request.reading.max_pixels)
        return preprocess(self.net.preprocess, self._tensor(array)[None])[0]

    def target(
        self, pairs: Sequence[tuple[str, str]], number: int, item: int, x: torch.Tensor
    ) -> torch.Tensor:
        """Read a target: grey and scaled as the input is, resized where it has the input's own size."""
        input_path, path = pairs[number]
        array = self._array(path, self.request.reading_targets, item)
        how = self.net.preprocess
        scale = how.scale if self.request.net.target_scale is None else self.request.net.target_scale
        same_size = array.shape[1:] == self.raw_sizes[input_path]
        how = replace(how, scale=scale, mean=(), std=(), resize=how.resize if same_size else None)
        output = self.output(x)
        if how.grey is not None and len(array) == output.channels:
            how = replace(how, grey=None)
        how.output(Shape(len(array), array.shape[1:]))
        y = preprocess(how, self._tensor(array)[None])[0]
        if output.flat and y.numel() == output.channels:
            y = y.flatten()
        if tuple(y.shape) != (output.channels, *output.sizes):
            raise UsageError(
                f"the target is {_shape(y)}, and the net makes {output} of {_shape(x)}", subject=shown(path)
            )
        return y

    def itself(self, _: int, item: int, x: torch.Tensor) -> torch.Tensor:
        """Return an autoencoder's target."""
        if (output := self.output(x)) != _shape(x):
            raise UsageError(
                f"without --target the net learns to give its input back, and it makes {output} of {_shape(x)}",
                subject=self.net.title,
            )
        return x

    def numbers(self, path: str, cells: Sequence[str], x: torch.Tensor) -> torch.Tensor:
        """Return numbers of a table as a target."""
        output = self.output(x)
        if not output.flat or output.channels != len(cells):
            raise UsageError(
                f"{len(cells)} numbers as target, and the net makes {output}", subject=shown(path)
            )
        with about(shown(self.request.targets[0])):
            values = np.array([parse_float(cell, shown(path)) for cell in cells])
        scale = 1.0 if self.request.net.target_scale is None else self.request.net.target_scale
        return x.new_tensor(values * scale)

    def output(self, x: torch.Tensor) -> Shape:
        return self.net.trace(_shape(x))[-1].output

    def _array(self, path: str, reading: ReadOptions, item: int) -> np.ndarray:
        with opened(path, reading, batch=_several(reading), shared=True) as found:
            self.log.add(path, found)
            array = found.item(item).opaque()
        if not np.isfinite(array).all():
            raise ConvError(
                "it has missing values (NaN or infinity), from which no net can learn", subject=shown(path)
            )
        return array

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.array(array, self.request.net.precision.value)).to(self.device)


def _several(reading: ReadOptions) -> bool:
    return ITEMS in (reading.axes or "").upper()


def _shape(x: torch.Tensor) -> Shape:
    return Shape(x.shape[0], tuple(x.shape[1:]))


def _from_words(
    request: Request, net: Net, files: Sequence[File], reader: _Reader
) -> tuple[TargetOf, list[str]]:
    """Return targets from the folders' names or a table's cells: classes, or numbers; and the classes' names."""
    tables = request.targets
    if tables and not is_label_table(tables):
        raise UsageError(
            "--loss ce takes a table of labels, file,label in its first line", subject=shown(tables[0])
        )
    cells = labels(tables[0], files) if tables else [[file.label] for file in files]
    if request.training.loss is not Loss.CE:
        return lambda number, _, x: reader.numbers(files[number].path, cells[number], x), []
    if len(cells[0]) != 1:
        raise UsageError(f"{len(cells[0])} columns of labels, and one is needed", subject=shown(tables[0]))
    output = reader.output(reader.input(files[0].path))
    numbers, names = class_numbers([row[0] for row in cells], net.labels, output.channels)
    return lambda number, _, x: x.new_tensor(numbers[number], dtype=int), names
