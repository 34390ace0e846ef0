"""What is learned from: examples that are read when they are needed, so that a training set may exceed memory."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from convcli.common import UsageError, frozen_identity
from convcli.learning.training import Settings

if TYPE_CHECKING:
    import torch

MEMORY = 1 << 30  # bytes of examples that stay in memory; others are read again in every epoch


@frozen_identity
class Example:
    """A preprocessed input, (channels, *space), and its target: of the output's shape, or a class's number."""

    input: "torch.Tensor"
    target: "torch.Tensor"

    @property
    def size(self) -> int:
        """Bytes; an autoencoder's input is its target too."""
        tensors = {id(tensor): tensor for tensor in (self.input, self.target)}.values()
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@frozen_identity
class Examples:
    """Some of the examples that ``read`` returns by number."""

    read: Callable[[int], Example]
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Example:
        return self.read(self.numbers[index])


def kept(read: Callable[[int], Example], memory: int) -> Callable[[int], Example]:
    """Return ``read``, which remembers the first examples, up to so many bytes of them."""
    found: dict[int, Example] = {}
    room = memory

    def example(number: int) -> Example:
        nonlocal room
        if number in found:
            return found[number]
        new = read(number)
        if new.size <= room:
            found[number] = new
            room -= new.size
        return new

    return example


def split(examples: Examples, settings: Settings) -> tuple[Examples, Examples]:
    """Return the examples to learn from, and those that are held out.

    Raises
    ------
    UsageError
        When too few remain.
    """
    count = round(len(examples) * settings.held_out)
    if settings.held_out and not 0 < count < len(examples):
        raise UsageError(
            f"validation {settings.held_out:g} of {len(examples)} examples leaves none on one side"
        )
    chosen = set(np.random.default_rng([settings.seed, 0]).permutation(len(examples))[:count].tolist())
    parts: tuple[list[int], list[int]] = ([], [])
    for index, number in enumerate(examples.numbers):
        parts[index in chosen].append(number)
    return Examples(examples.read, parts[0]), Examples(examples.read, parts[1])
