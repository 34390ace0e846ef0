"""The gradients of a convolution, which are convolutions themselves: numpy, float64.

For y = correlate(x, w) + b and any loss L with g = dL/dy:

- dL/dx is the transposed convolution of g with w, and what fell on the padding is cut off;
- dL/dw is the correlation of x with g, g's elements as far apart as the stride, the window moving by the dilation;
- dL/db is the sum of g.

Goodfellow, Bengio and Courville, "Deep Learning" (2016), section 9.5.  Here L is the sum of g * y, which makes g the
gradient of the output and nothing else matters.  torch is loaded by `by_autograd` alone.  No text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.common import frozen_identity
from convcli.engines.on_numpy.engine import NumpyEngine
from convcli.engines.padding import pad
from convcli.geometry.padding import PadMode
from convcli.geometry.windows import Window

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

STEP = 1.0  # of finite differences: L is linear in each number, so a large step is exact up to rounding


@frozen_identity
class Case:
    """A convolution with numbers, and a gradient of its output.

    Shapes: ``x`` (channels, *space), ``weights`` (maps, channels, *kernel), ``bias`` (maps,), ``output_gradient``
    (maps, *outputs); one window for each axis of space, zeros outside.
    """

    x: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    output_gradient: np.ndarray
    windows: tuple[Window, ...]

    @classmethod
    def random(
        cls, channels: int, sizes: Sequence[int], maps: int, windows: Sequence[Window], seed: int
    ) -> Case:
        """Return a case with normally distributed numbers."""
        random = np.random.default_rng(seed)
        kernel = [window.kernel for window in windows]
        outputs = [window.output_size(n) for window, n in zip(windows, sizes, strict=True)]
        shapes = ((channels, *sizes), (maps, channels, *kernel), (maps,), (maps, *outputs))
        x, weights, bias, gradient = (random.standard_normal(shape) for shape in shapes)
        return cls(x, weights, bias, gradient, tuple(windows))

    @classmethod
    def of(
        cls, x: ArrayLike, weights: ArrayLike, windows: Sequence[Window], gradient: ArrayLike | None = None
    ) -> Case:
        """Return a case of given numbers without a bias; the gradient of the output is 1 everywhere by default."""
        data, w = np.array(x, float), np.array(weights, float)
        outputs = [window.output_size(n) for window, n in zip(windows, data.shape[1:], strict=True)]
        ones = np.ones((len(w), *outputs))
        return cls(
            data, w, np.zeros(len(w)), ones if gradient is None else np.array(gradient, float), tuple(windows)
        )

    @property
    def steps(self) -> dict[str, Any]:
        """Stride and dilation, as convolutions take them."""
        return {name: tuple(getattr(w, name) for w in self.windows) for name in ("stride", "dilation")}

    @property
    def padded(self) -> np.ndarray:
        """The input with its zeros around it."""
        sizes = self.x.shape[1:]
        ranges = [(-w.before, n + w.after) for w, n in zip(self.windows, sizes, strict=True)]
        return pad(self.x, ranges, PadMode.ZERO)


@frozen_identity
class Gradients:
    """dL/dx, dL/dw and dL/db, each in the shape of what it is the gradient of."""

    x: np.ndarray
    weights: np.ndarray
    bias: np.ndarray


def patches(case: Case) -> np.ndarray:
    """Return dy/dw of one map, (outputs, channels * kernel): in each row the patch of x under an output.

    The correlation is its product with the weights, and dL/dw its transpose times g.

    >>> patches(Case.of([[1.0, 2, 3, 4]], [[[5.0, 7]]], (Window(2, stride=2),))).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    extents, axes = [w.extent for w in case.windows], range(1, len(case.windows) + 1)
    seen = np.lib.stride_tricks.sliding_window_view(case.padded, extents, tuple(axes))
    steps = [slice(None, None, n) for name in ("stride", "dilation") for n in case.steps[name]]
    seen = np.moveaxis(seen[(slice(None), *steps)], 0, len(axes))
    return seen.reshape(-1, case.weights[0].size)


def loss(case: Case) -> float:
    """Return L, the sum of g * y."""
    y = NumpyEngine().correlate(case.padded[None], case.weights, **case.steps)[0]
    y = y + case.bias.reshape(-1, *(1,) * len(case.windows))
    return float((case.output_gradient * y).sum())


def by_convolution(case: Case) -> Gradients:
    """Return the gradients by what they are: a transposed convolution, a correlation, a sum.

    >>> case = Case.of([[1, 2, 3, 4]], [[[5, 7]]], (Window(2),), [[1, 10, 100]])
    >>> found = by_convolution(case)
    >>> found.x.tolist(), found.weights.tolist()
    ([[5.0, 57.0, 570.0, 700.0]], [[[321.0, 432.0]]])
    """
    engine, g = NumpyEngine(), case.output_gradient
    back = engine.transpose(g[None], case.weights.swapaxes(0, 1), **case.steps)[0]
    sizes = case.x.shape[1:]
    inside = [(w.before, w.before + n) for w, n in zip(case.windows, sizes, strict=True)]
    x = pad(back, inside, PadMode.ZERO)  # cuts the padding off; inputs that no window reaches get zero
    # Each channel of x is an item of its own, each map of g a kernel of its own: stride and dilation change places.
    swapped: dict[str, Any] = {"stride": case.steps["dilation"], "dilation": case.steps["stride"]}
    slid = engine.correlate(case.padded[:, None], g[:, None], **swapped)
    kernel = tuple(slice(0, window.kernel) for window in case.windows)  # a stride may leave room for more
    weights = slid.swapaxes(0, 1)[(slice(None), slice(None), *kernel)]
    return Gradients(x, weights, g.sum(axis=tuple(range(1, g.ndim))))


def by_finite_differences(case: Case) -> Gradients:
    """Return the gradients by changing each number a little, up and down: (L(+h) - L(-h)) / 2h."""
    return Gradients(*(_differences(numbers, case) for numbers in (case.x, case.weights, case.bias)))


def _differences(numbers: np.ndarray, case: Case) -> np.ndarray:
    """Change each element of ``numbers`` in its place, and put it back."""
    found = np.empty_like(numbers)
    for index in np.ndindex(numbers.shape):
        before = numbers[index]
        numbers[index] = before + STEP
        above = loss(case)
        numbers[index] = before - STEP
        below = loss(case)
        numbers[index] = before
        found[index] = (above - below) / (2 * STEP)
    return found


def by_autograd(case: Case) -> Gradients:
    """Return the gradients of the sum of g * y, y being torch's own convolution of the padded input."""
    import torch
    from torch.nn import functional as F

    x, weights, bias = (
        torch.tensor(array, requires_grad=True) for array in (case.x, case.weights, case.bias)
    )
    sides = [side for window in reversed(case.windows) for side in (window.before, window.after)]
    convolve = getattr(F, f"conv{len(case.windows)}d")
    y = convolve(F.pad(x, sides)[None], weights, bias, **case.steps)
    (torch.tensor(case.output_gradient) * y[0]).sum().backward()
    found = (tensor.grad for tensor in (x, weights, bias))
    return Gradients(*(torch.zeros(()).numpy() if grad is None else grad.numpy() for grad in found))
