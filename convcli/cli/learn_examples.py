"""Examples for a net: files read, preprocessed, and each put beside its target.  Loads torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from convcli.cli.learn import NetRequest
from convcli.cli.learn_files import File, expand, paired
from convcli.cli.learn_labels import class_numbers, is_label_table, labels
from convcli.cli.net_input import opened
from convcli.errors import ConvError, UsageError
from convcli.learn.torch_training import Example
from convcli.learn.training import Loss
from convcli.media.options import ReadOptions
from convcli.media.target import shown
from convcli.net.model import Net
from convcli.net.parameters import Shape
from convcli.net.torch_run import preprocess
from convcli.numerals import parse_float

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class Loaded:
    """All examples, in the order of their files.

    ``shape`` is that of the first input after preprocess, ``classes`` the names of the classes, if words gave them.
    """

    examples: list[Example]
    shape: Shape
    output: Shape
    classes: list[str]
    notes: tuple[str, ...]


def load(request: NetRequest, net: Net, device: torch.device) -> Loaded:
    """Read all examples into memory.

    Raises
    ------
    ConvError, UsageError
        When a file cannot be read, does not fit the net, or has no target; it is named.
    """
    reader = _Reader(request, net, device)
    targets = request.files.targets
    if request.settings.loss is Loss.CE or (targets and is_label_table(targets)):
        files = expand(request.files.inputs)
        inputs = [reader.input(file.path) for file in files]
        return reader.loaded(inputs, *_from_words(request, net, files, inputs, reader))
    if targets:
        pairs = paired(request.files)
        inputs = [reader.input(path) for path, _ in pairs]
        return reader.loaded(
            inputs, [reader.target(*pair, x) for pair, x in zip(pairs, inputs, strict=True)], []
        )
    inputs = [reader.input(file.path) for file in expand(request.files.inputs)]
    for x in inputs:  # an autoencoder gives its input back
        if (output := reader.output(x)) != _shape(x):
            raise UsageError(
                f"{net.name}: without --target the net learns to give its input back, and it makes {output} of "
                f"{_shape(x)}"
            )
    return reader.loaded(inputs, inputs, [])


class _Reader:
    """Reads inputs and targets for one net."""

    def __init__(self, request: NetRequest, net: Net, device: torch.device) -> None:
        self.request, self.net, self.device = request, net, device
        self.raw_sizes: dict[str, tuple[int, ...]] = {}
        self.notes: dict[str, None] = {}

    def input(self, path: str) -> torch.Tensor:
        array = self._array(path, self.request.files.reading)
        self.raw_sizes[path] = array.shape[1:]
        try:
            self.net.trace(self.net.preprocess.output(Shape(len(array), array.shape[1:])))
        except UsageError as error:
            raise UsageError(f"{shown(path)}: {error}") from None
        return preprocess(self.net.preprocess, self._tensor(array)[None])[0]

    def target(self, input_path: str, path: str, x: torch.Tensor) -> torch.Tensor:
        """Read a target: grey and scaled as the input is, resized where it has the input's own size."""
        array = self._array(path, self.request.files.reading_targets)
        how = self.net.preprocess
        scale = how.scale if self.request.target_scale is None else self.request.target_scale
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
                f"{shown(path)}: the target is {_shape(y)}, and the net makes {output} of {_shape(x)}"
            )
        return y

    def output(self, x: torch.Tensor) -> Shape:
        return self.net.trace(_shape(x))[-1].output

    def _array(self, path: str, reading: ReadOptions) -> np.ndarray:
        with opened(path, reading) as found:
            for note in found.notes:
                self.notes[f"{shown(path)}: {note}"] = None
            array = found.whole()
        if not np.isfinite(array).all():
            raise ConvError(
                f"{shown(path)} has missing values (NaN or infinity), from which no net can learn"
            )
        return array

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.array(array, self.request.precision.value)).to(self.device)

    def loaded(
        self, inputs: Sequence[torch.Tensor], targets: Sequence[torch.Tensor], classes: list[str]
    ) -> Loaded:
        examples = [Example(x, y) for x, y in zip(inputs, targets, strict=True)]
        return Loaded(examples, _shape(inputs[0]), self.output(inputs[0]), classes, tuple(self.notes))


def _shape(x: torch.Tensor) -> Shape:
    return Shape(x.shape[0], tuple(x.shape[1:]))


def _from_words(
    request: NetRequest, net: Net, files: Sequence[File], inputs: Sequence[torch.Tensor], reader: _Reader
) -> tuple[list[torch.Tensor], list[str]]:
    """Return targets from the folders' names or a table's cells: classes, or numbers."""
    import torch

    tables = request.files.targets
    if tables and not is_label_table(tables):
        raise UsageError(
            f"{shown(tables[0])}: --loss ce takes a table of labels, file,label in its first line"
        )
    cells = labels(tables[0], files) if tables else [[file.label] for file in files]
    if request.settings.loss is Loss.CE:
        if len(cells[0]) != 1:
            raise UsageError(f"{shown(tables[0])}: {len(cells[0])} columns of labels, and one is needed")
        output = reader.output(inputs[0])
        numbers, names = class_numbers([row[0] for row in cells], net.labels, output.channels)
        return [torch.tensor(number, device=reader.device) for number in numbers], names
    targets = []
    for file, x, row in zip(files, inputs, cells, strict=True):
        output = reader.output(x)
        if not output.flat or output.channels != len(row):
            raise UsageError(f"{shown(file.path)}: {len(row)} numbers as target, and the net makes {output}")
        values = np.array([parse_float(cell, f"{shown(tables[0])}: {shown(file.path)}") for cell in row])
        scale = 1.0 if request.target_scale is None else request.target_scale
        targets.append(torch.tensor(values * scale, dtype=x.dtype, device=reader.device))
    return targets, []
