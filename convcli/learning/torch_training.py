"""Training a net with torch's autograd and optimizers.  Importing this imports torch.

The net is `convcli.net`'s, a plain function of its parameters; here are the loss, the order of the examples, and
the loop.  The same seed gives the same numbers on the same machine, whether or not the training was interrupted: the
order of an epoch follows from the seed and the epoch's number alone.  No files, no words but errors.

The steps of gradient descent are here too: `torch.optim` imports torch's compiler, which takes longer to load than many
trainings, makes folders in the temporary directory and asks the system who the user is.

A state is kept as a safetensors file: the parameters under their own names, so that a checkpoint serves as weights too,
the optimizer's memory under ``optimizer/``, the best parameters under ``best/``, numbers and settings in the metadata.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from convcli.common import ConvError, UsageError, about, unreadable
from convcli.geometry.graph import Shape, Step, needed_for
from convcli.learning.examples import Example, Examples
from convcli.learning.training import DivergenceError, Epoch, Loss, Optimizer, Settings, State, best_epoch
from convcli.networks.model import Net, parameters_of
from convcli.networks.operations import Activation, ActivationKind
from convcli.networks.torch_run import computing, forward
from convcli.networks.weights import check_weights, save

_DECAY, _SQUARE_DECAY, _LEAST = 0.9, 0.999, 1e-8  # of Adam, as its paper proposes

Memory = dict[str, torch.Tensor]

SUFFIX = ".safetensors"
_KEY = "training"  # of the metadata
_MOMENTS, _BEST = "optimizer/", "best/"


def write_checkpoint(file: IO[bytes], state: State, settings: Settings) -> None:
    """Write a state, and the settings that led to it."""
    facts = {
        "steps": state.steps,
        "curve": [[epoch.number, epoch.loss, epoch.watched] for epoch in state.curve],
        "settings": asdict(settings),
    }
    arrays = dict(state.parameters)
    arrays |= {_MOMENTS + name: array for name, array in state.moments.items()}
    arrays |= {_BEST + name: array for name, array in state.best.items()}
    save(file, arrays, {_KEY: json.dumps(facts)})


def read_checkpoint(path: Path) -> tuple[State, dict[str, Any]]:
    """Return the state in a file, and the settings that led to it.

    Raises
    ------
    ConvError
        When the file is missing, damaged, or no checkpoint.
    """
    from convcli.data.array_files import open_arrays

    with about(f"checkpoint {str(path)!r}"):
        try:
            file = open_arrays(path)
            facts = json.loads(file.facts.get(_KEY, "null"))
            if facts is None:
                raise ConvError(f"no checkpoint: it has weights alone (--weights {path} starts from them)")
            arrays = {name: file.read(name, check_weights) for name in file.names}
            return _state(arrays, facts), dict(facts["settings"])
        except OSError as error:
            raise ConvError(unreadable(error)) from None
        except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise ConvError(f"no checkpoint, or a damaged one ({error})") from None


def _state(arrays: Mapping[str, Any], facts: Mapping[str, Any]) -> State:
    def under(prefix: str) -> dict[str, Any]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    own = {name: array for name, array in arrays.items() if not name.startswith((_MOMENTS, _BEST))}
    curve = tuple(
        Epoch(int(number), float(loss), None if watched is None else float(watched))
        for number, loss, watched in facts["curve"]
    )
    if min((epoch.number for epoch in curve), default=-1) < 0:
        raise ValueError("no epochs")
    return State(own, under(_MOMENTS), int(facts["steps"]), curve, under(_BEST))


def changed_settings(settings: Settings, before: Mapping[str, Any]) -> list[str]:
    """Return what is no longer as it was, in words; how long to train is free to change."""
    return [
        f"{field.name} was {before[field.name]} and is {getattr(settings, field.name)}"
        for field in fields(settings)
        if field.name in before
        and field.name not in ("epochs", "patience")
        and before[field.name] != getattr(settings, field.name)
    ]


def _adam(parameter: torch.Tensor, gradient: torch.Tensor, memory: Memory, settings: Settings) -> None:
    """Kingma and Ba, "Adam: a method for stochastic optimization" (2015), algorithm 1."""
    count = memory.setdefault("step", torch.zeros(()))
    mean = memory.setdefault("exp_avg", torch.zeros_like(parameter))
    square = memory.setdefault("exp_avg_sq", torch.zeros_like(parameter))
    count += 1
    mean.lerp_(gradient, 1 - _DECAY)
    square.mul_(_SQUARE_DECAY).addcmul_(gradient, gradient, value=1 - _SQUARE_DECAY)
    steps = count.item()
    root = (square.sqrt() / (1 - _SQUARE_DECAY**steps) ** 0.5).add_(_LEAST)
    parameter.addcdiv_(mean, root, value=-settings.learning_rate / (1 - _DECAY**steps))


def _sgd(parameter: torch.Tensor, gradient: torch.Tensor, memory: Memory, settings: Settings) -> None:
    """Each step adds the gradient to what is left of the one before."""
    if settings.momentum:
        former = memory.get("momentum_buffer")
        memory["momentum_buffer"] = gradient = (
            gradient.clone() if former is None else former.mul_(settings.momentum).add_(gradient)
        )
    parameter.add_(gradient, alpha=-settings.learning_rate)


class Descent(NamedTuple):
    """One way to follow gradients.

    Attributes
    ----------
    step
        Changes a parameter and what is remembered of it, in place.
    memory
        What it remembers of each parameter, by torch's names.
    """

    step: Callable[[torch.Tensor, torch.Tensor, Memory, Settings], None]
    memory: frozenset[str]


DESCENTS: Mapping[Optimizer, Descent] = {
    Optimizer.ADAM: Descent(_adam, frozenset({"step", "exp_avg", "exp_avg_sq"})),
    Optimizer.SGD: Descent(_sgd, frozenset({"momentum_buffer"})),
}


def last_activation(net: Net) -> ActivationKind | None:
    """Return what the last layer is, if it is an activation."""
    last = net.layers[-1].operation
    return last.kind if isinstance(last, Activation) else None


def check_loss(net: Net, output: Shape, loss: Loss) -> None:
    """Refuse a loss that does not suit a net's output.

    Raises
    ------
    UsageError
    """
    if loss is Loss.BCE and last_activation(net) is not ActivationKind.SIGMOID:
        raise UsageError("--loss bce is for probabilities: let the last layer be sigmoid", subject=net.title)
    if loss is Loss.CE and math.prod(output.sizes) > 1:
        raise UsageError(
            f"--loss ce is for one number for each class, and the output is {output}: end with flatten and dense",
            subject=net.title,
        )


class Training:
    """A net on its way.

    Parameters
    ----------
    net
    examples, held_out
        To learn from, and to watch the loss of.
    parameters
        On their device, by ``LAYER.PARAMETER``; they are changed in place.
    settings
    state
        Where an earlier training stopped.

    Raises
    ------
    UsageError
        When examples of different sizes need different weights, or the state is of another net or optimizer.
    """

    def __init__(
        self,
        net: Net,
        examples: Examples,
        held_out: Examples,
        parameters: Mapping[str, torch.Tensor],
        settings: Settings,
        state: State | None = None,
    ) -> None:
        self.net = net
        self.examples = examples
        self.held_out = held_out
        self.settings = settings
        self._traced: dict[tuple[int, ...], tuple[Step, ...]] = {}
        self._parameters = dict(parameters)
        known = parameters_of(self._steps(examples[0].input))
        self._learned = {name: self._parameters[name] for name, one in known.items() if one.trained}
        if not self._learned:
            raise UsageError("no weights to learn", subject=net.title)
        if state is not None:
            self._load(state)
        for tensor in self._learned.values():
            tensor.requires_grad_(True)
        self._memory: dict[str, Memory] = {name: {} for name in self._learned}
        for name, array in (state.moments if state else {}).items():
            parameter, _, moment = name.partition("/")
            place = "cpu" if moment == "step" else self._learned[parameter].device
            self._memory[parameter][moment] = torch.tensor(array, device=place)
        self._best: dict[str, np.ndarray] = dict(state.best) if state else {}
        self.state = state

    def _load(self, state: State) -> None:
        """Take over parameters and check that the optimizer's memory is its own."""
        shapes = {name: tuple(tensor.shape) for name, tensor in self._parameters.items()}
        if {name: array.shape for name, array in state.parameters.items()} != shapes:
            raise UsageError(
                "the checkpoint is of another net: its weights differ in name or shape",
                subject=self.net.title,
            )
        found = {name.partition("/")[2] for name in state.moments}
        if found - DESCENTS[self.settings.optimizer].memory:
            other = next(one for one in Optimizer if one is not self.settings.optimizer)
            raise UsageError(f"the checkpoint was trained with {other}: say --optimizer {other}")
        sizes = {
            f"{name}/{key}": (1,) if key == "step" else shapes[name]
            for name in self._learned
            for key in found
        }
        best = {name: array.shape for name, array in state.best.items()}
        if best not in ({}, shapes) or any(
            array.shape != sizes.get(name) or array.dtype.kind != "f" for name, array in state.moments.items()
        ):
            raise ConvError("the checkpoint is damaged: what it keeps beside the weights does not fit them")
        self.use(state.parameters)

    def _steps(self, x: torch.Tensor) -> tuple[Step, ...]:
        shape = tuple(x.shape)
        if shape not in self._traced:
            sizes = Shape(shape[0], shape[1:])
            self._traced[shape] = self.net.trace(sizes)
            for name, parameter in parameters_of(self._traced[shape]).items():
                if parameter.shape != tuple(self._parameters[name].shape):
                    raise UsageError(
                        f"{name} would need another shape for examples of {sizes} than for the first: "
                        "write resize: in preprocess",
                        subject=self.net.title,
                    )
        return self._traced[shape]

    # The loss

    def _loss(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if self.settings.loss is Loss.CE:
            return F.cross_entropy(outputs.flatten(1), targets)
        bce = self.settings.loss is Loss.BCE
        return (F.binary_cross_entropy_with_logits if bce else F.mse_loss)(outputs, targets)

    def _outputs(self, x: torch.Tensor, training: bool) -> torch.Tensor:
        """Run the net; the last sigmoid or softmax is left to the loss, which is exact where those saturate."""
        steps = self._steps(x[0])
        last = {Loss.BCE: ActivationKind.SIGMOID, Loss.CE: ActivationKind.SOFTMAX}.get(self.settings.loss)
        if last is not None and last_activation(self.net) is last:
            steps = needed_for(steps, steps[-1].sources[0])
        return forward(steps, self._parameters, x, training=training)

    def _batches(self, examples: Examples, order: Sequence[int]) -> Iterator[list[Example]]:
        """Yield batches of examples of one size each, in this order, as soon as they are full."""
        open_: dict[tuple[int, ...], list[Example]] = {}
        for index in order:
            example = examples[index]
            batch = open_.setdefault(tuple(example.input.shape), [])
            batch.append(example)
            if len(batch) == self.settings.batch:
                yield open_.pop(tuple(example.input.shape))
        yield from open_.values()

    def evaluate(self, examples: Examples) -> tuple[float, float | None]:
        """Return the mean loss, and for classes the share that is recognised."""
        total, right = 0.0, 0
        with computing():
            for batch in self._batches(examples, range(len(examples))):
                outputs, targets = self._outputs(_stack(batch, "input"), False), _stack(batch, "target")
                total += float(self._loss(outputs, targets)) * len(batch)
                if self.settings.loss is Loss.CE:
                    right += int((outputs.flatten(1).argmax(1) == targets).sum())
        share = right / len(examples) if self.settings.loss is Loss.CE else None
        return total / len(examples), share

    # The loop

    def epochs(self) -> Iterator[Epoch]:
        """Train, and yield the curve point by point; `state` is then that of this point.

        Raises
        ------
        DivergenceError
            When a loss or a weight is no longer finite; `state` remains that of the last good epoch.
        """
        if self.state is None:
            loss, _ = self.evaluate(self.examples)
            if not math.isfinite(loss):
                raise DivergenceError(f"the loss is {loss}", 0, 0)
            yield self._keep(Epoch(0, loss, self._watched()), 0)
        while self.state is not None and not self._done(self.state.curve):
            number = self.state.curve[-1].number + 1
            with _repeatable(next(iter(self._learned.values())).device, (self.settings.seed, number)):
                loss, steps = self._epoch(number, self.state.steps)
            yield self._keep(Epoch(number, loss, self._watched()), steps)

    def _done(self, curve: Sequence[Epoch]) -> bool:
        if curve[-1].number >= self.settings.epochs:
            return True
        patience = self.settings.patience
        return patience is not None and curve[-1].number - best_epoch(curve).number >= patience

    def _epoch(self, number: int, steps: int) -> tuple[float, int]:
        order = np.random.default_rng([self.settings.seed, number]).permutation(len(self.examples))
        total, step = 0.0, DESCENTS[self.settings.optimizer].step
        for batch in self._batches(self.examples, order.tolist()):
            steps += 1
            loss = self._loss(self._outputs(_stack(batch, "input"), True), _stack(batch, "target"))
            value = loss.item()
            if not math.isfinite(value):
                raise DivergenceError(f"the loss is {value}", steps, number)
            gradients = torch.autograd.grad(loss, list(self._learned.values()), allow_unused=True)
            with torch.no_grad():
                for (name, tensor), gradient in zip(self._learned.items(), gradients, strict=True):
                    if gradient is not None:
                        step(tensor, gradient, self._memory[name], self.settings)
            total += value * len(batch)
        for name, tensor in self._parameters.items():
            if not torch.isfinite(tensor).all():
                raise DivergenceError(f"{name} is no longer finite", steps, number)
        return total / len(self.examples), steps

    def _watched(self) -> float | None:
        if not self.held_out and self.settings.patience is None:
            return None
        return self.evaluate(self.held_out or self.examples)[0]

    def _keep(self, epoch: Epoch, steps: int) -> Epoch:
        curve = (*(self.state.curve if self.state else ()), epoch)
        parameters = {name: tensor.detach().cpu().numpy().copy() for name, tensor in self._parameters.items()}
        if self.settings.patience is not None and best_epoch(curve) is epoch:
            self._best = parameters
        moments = {
            f"{name}/{moment}": value.cpu().numpy().copy()
            for name, memory in self._memory.items()
            for moment, value in memory.items()
        }
        self.state = State(parameters, moments, steps, curve, self._best)
        return epoch

    def use(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put other numbers into the net: those that are kept."""
        with torch.no_grad():
            for name, tensor in self._parameters.items():
                tensor.copy_(torch.tensor(arrays[name]))


def _stack(batch: Sequence[Example], what: str) -> torch.Tensor:
    return torch.stack([getattr(example, what) for example in batch])


@contextmanager
def _repeatable(device: torch.device, seed: Sequence[int]) -> Iterator[None]:
    """Let nothing depend on chance: neither threads that finish in another order, nor algorithms tried out.

    On a CPU the layers' algorithms do not, and torch need not load its compiler to be told so.
    """
    if device.type == "cpu":
        with torch.random.fork_rng(devices=[]):  # of dropout
            torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
            yield
        return
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.use_deterministic_algorithms(before)
