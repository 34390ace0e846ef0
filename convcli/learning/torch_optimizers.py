"""Steps of gradient descent.  Importing this imports torch, but not its compiler, as `torch.optim` does.

The compiler takes longer to load than many trainings, makes folders in the temporary directory and asks the system
who the user is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch

from convcli.common.frozen import frozen
from convcli.learning.training import Optimizer

_DECAY, _SQUARE_DECAY, _LEAST = 0.9, 0.999, 1e-8  # of Adam, as its paper proposes

Memory = dict[str, torch.Tensor]


@frozen
class Descent(ABC):
    """One way to follow gradients.

    Attributes
    ----------
    memory : frozenset of str
        What it remembers of each parameter, by torch's names.
    """

    rate: float
    momentum: float
    memory: ClassVar[frozenset[str]]

    @abstractmethod
    def step(self, parameter: torch.Tensor, gradient: torch.Tensor, memory: Memory) -> None:
        """Change a parameter and what is remembered of it, in place."""


class Adam(Descent):
    """Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1."""

    memory = frozenset({"step", "exp_avg", "exp_avg_sq"})

    def step(self, parameter: torch.Tensor, gradient: torch.Tensor, memory: Memory) -> None:
        count = memory.setdefault("step", torch.zeros(()))
        mean = memory.setdefault("exp_avg", torch.zeros_like(parameter))
        square = memory.setdefault("exp_avg_sq", torch.zeros_like(parameter))
        count += 1
        mean.lerp_(gradient, 1 - _DECAY)
        square.mul_(_SQUARE_DECAY).addcmul_(gradient, gradient, value=1 - _SQUARE_DECAY)
        steps = count.item()
        root = (square.sqrt() / (1 - _SQUARE_DECAY**steps) ** 0.5).add_(_LEAST)
        parameter.addcdiv_(mean, root, value=-self.rate / (1 - _DECAY**steps))


class StochasticGradient(Descent):
    """Each step adds the gradient to what is left of the one before."""

    memory = frozenset({"momentum_buffer"})

    def step(self, parameter: torch.Tensor, gradient: torch.Tensor, memory: Memory) -> None:
        if self.momentum:
            former = memory.get("momentum_buffer")
            memory["momentum_buffer"] = gradient = (
                gradient.clone() if former is None else former.mul_(self.momentum).add_(gradient)
            )
        parameter.add_(gradient, alpha=-self.rate)


DESCENTS: Mapping[Optimizer, type[Descent]] = {Optimizer.ADAM: Adam, Optimizer.SGD: StochasticGradient}
