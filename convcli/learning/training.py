"""What a training is told, and what it tells: choices, rates, the curve of its loss, its state.  No torch."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from convcli.common import ConvError, UsageError, frozen, frozen_identity
from convcli.common.options import Panel, option

if TYPE_CHECKING:
    import numpy as np


class Loss(StrEnum):
    """What is made small."""

    MSE = "mse"  # the mean squared difference
    BCE = "bce"  # binary cross-entropy: each target is a probability
    CE = "ce"  # cross-entropy: each target is one of several classes


class Optimizer(StrEnum):
    """How a gradient becomes a step."""

    SGD = "sgd"
    ADAM = "adam"  # Kingma and Ba, "Adam: a method for stochastic optimization" (2015)


RATES = {Optimizer.SGD: 0.01, Optimizer.ADAM: 0.001}


@frozen
class Settings:
    """How a net is trained.

    Attributes
    ----------
    epochs
        Those before a resumption included.
    rate
        None is the optimizer's usual one.
    momentum
        Share of the last step that the next one keeps; of ``sgd`` alone.
    seed
        For the order of the examples, those that are held out, and random weights without a seed of their own.
    patience
        None never stops.
    held_out
        Share of the examples that is not learned from, whose loss is watched instead.
    """

    panel = Panel.TRAINING

    loss: Loss = option("mse, bce, or ce (classes).", default=Loss.MSE)
    optimizer: Optimizer = option("adam or sgd.", default=Optimizer.ADAM)
    epochs: int = option("How often all examples are seen.", default=10, least=1)
    rate: float | None = option("Learning rate. Default: 0.001 (adam), 0.01 (sgd).", "--lr", least=0)
    momentum: float = option("Of sgd.", default=0.9, least=0)
    batch: int = option("Examples in one step.", default=16, least=1)
    seed: int = option("Seed of the random generator.", default=0, least=0)
    patience: int | None = option(
        "Stop after this many epochs without a smaller loss; keep the best.", least=1
    )
    held_out: float = option(
        "Share of the examples that is held out: 0.2 or 1/5.", "--validation", default=0.0, least=0
    )

    def __post_init__(self) -> None:
        if self.rate == 0:
            raise UsageError("--lr 0 is not possible: give a number above 0")
        for flag, share in {"--momentum": self.momentum, "--validation": self.held_out}.items():
            if share >= 1:
                raise UsageError(f"{flag} {share:g} is not possible: give 0 or more, and less than 1")

    @property
    def learning_rate(self) -> float:
        return RATES[self.optimizer] if self.rate is None else self.rate


@frozen
class Epoch:
    """One point of the curve.

    ``loss`` is the mean over the steps of the epoch, as the weights were at each step; epoch 0 is the loss
    before the first step.  ``watched`` is a loss after the epoch: of the examples that are held out, else (where
    the training may stop early) of all.
    """

    number: int
    loss: float
    watched: float | None = None

    @property
    def decisive(self) -> float:
        """The loss by which epochs are compared."""
        return self.loss if self.watched is None else self.watched


class DivergenceError(ConvError):
    """A loss or weight became infinite or NaN; the state after the last whole epoch is still good."""

    def __init__(self, what: str, step: int, epoch: int) -> None:
        super().__init__(f"{what} at step {step} (epoch {epoch})")
        self.step = step
        self.epoch = epoch


@frozen_identity
class State:
    """All that a training has come to after an epoch: from here it goes on as if it had never stopped.

    Attributes
    ----------
    parameters : dict
        Arrays by ``LAYER.PARAMETER``.
    moments : dict
        What the optimizer remembers, by ``LAYER.PARAMETER/NAME``.
    steps : int
        Steps that were done.
    curve : tuple of Epoch
    best : dict
        The parameters of the best epoch, where these may differ from the last; otherwise empty.
    """

    parameters: Mapping[str, "np.ndarray"]
    moments: Mapping[str, "np.ndarray"]
    steps: int
    curve: tuple[Epoch, ...]
    best: Mapping[str, "np.ndarray"]

    @property
    def kept(self) -> Mapping[str, "np.ndarray"]:
        """The parameters that the training is for."""
        return self.best or self.parameters


def best_epoch(curve: Sequence[Epoch]) -> Epoch:
    """Return the epoch with the smallest decisive loss, the first of equal ones.

    >>> best_epoch([Epoch(0, 3.0), Epoch(1, 1.0), Epoch(2, 2.0)]).number
    1
    """
    return min(curve, key=lambda epoch: epoch.decisive)
