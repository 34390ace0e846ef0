"""The gradients of a convolution as torch's autograd finds them, in float64.  Importing this imports torch."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from convcli.learning.gradients import Case, Gradients

_CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)


def by_autograd(case: Case) -> Gradients:
    """Return the gradients of the sum of g * y, y being torch's own convolution of the padded input."""
    x, weights, bias = (
        torch.tensor(array, requires_grad=True) for array in (case.x, case.weights, case.bias)
    )
    sides = [side for window in reversed(case.windows) for side in (window.before, window.after)]
    y = _CONVOLVE[len(case.windows) - 1](
        F.pad(x, sides)[None], weights, bias, stride=case.stride, dilation=case.dilation
    )
    (torch.tensor(case.output_gradient) * y[0]).sum().backward()
    found = (tensor.grad for tensor in (x, weights, bias))
    return Gradients(*(torch.zeros(()).numpy() if grad is None else grad.numpy() for grad in found))
