"""One value of a net's layer taken apart, whatever its kind: the elements that it depends on, and how much.

A layer's weights for one output are its derivatives, so that one way serves them all: of a convolution they are its
weights, of a maximum 1 at the winner, of a batch norm its scale, of a dense layer a row of its matrix.  Loads torch.
"""

from collections.abc import Sequence

import numpy as np

from convcli.common import UsageError, frozen
from convcli.data import whole
from convcli.geometry.graph import INPUT
from convcli.networks.torch_run import Part, TorchNet, apply, outputs


@frozen
class Element:
    """An element of what a layer gets, (channel, *place) of ``source``, and the derivative of the value by it."""

    source: str
    at: tuple[int, ...]
    value: float
    derivative: float

    @property
    def product(self) -> float:
        return self.value * self.derivative

    facts = ("source", "at", "value", "derivative", "product")


@frozen
class LayerValue:
    """One value, (map, *place), of a layer.

    ``rest`` is what the products leave of the value: the bias of a linear layer, or the part that is not linear.
    """

    layer: str
    at: tuple[int, ...]
    value: float
    elements: tuple[Element, ...]
    rest: float


def layer_value(model: TorchNet, array: np.ndarray, at: Sequence[int]) -> LayerValue:
    """Return a value of the last layer of a net, bound to an input (channels, *space), taken apart.

    Parameters
    ----------
    at : sequence of int
        (map, *place), the map alone of a flat layer.

    Raises
    ------
    UsageError
        When there is no such value.
    """
    import torch

    last, sizes = model.steps[-1], model.steps[-1].output
    shape = (sizes.channels, *sizes.sizes)
    if len(at) != len(shape) or any(place >= n for place, n in zip(at, shape, strict=True)):
        raise UsageError(
            f"map and place {','.join(map(str, at))} lie outside the output of {last.name}, {sizes}"
        )
    values = {INPUT: model.input(array)}
    for step, value in outputs(model.steps[:-1], model.parameters, values[INPUT]):
        if step.name in last.sources:
            values[step.name] = value
    names = dict.fromkeys(last.sources)
    given = {name: values[name].detach().requires_grad_() for name in names}
    part = Part((0,) * len(last.input.sizes), whole(sizes.sizes))
    value = apply(last, model.parameters, [given[name] for name in last.sources], part)[(0, *at)]
    found = torch.autograd.grad(value, list(given.values()))
    elements = [
        Element(name, tuple(place), x[0][tuple(place)].item(), slope[0][tuple(place)].item())
        for (name, x), slope in zip(given.items(), found, strict=True)
        for place in slope[0].nonzero().tolist()
    ]
    rest = value.item() - sum(one.product for one in elements)
    return LayerValue(last.layer.label, tuple(at), value.item(), tuple(elements), rest)
