"""A net computed with torch: a plain function of parameters and input, so that gradients flow through both.

What a single layer does is in `torch_layers`.  Importing this module imports torch.  No files, no blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field, replace

import numpy as np
import torch

from convcli.common.errors import UsageError
from convcli.common.frozen import frozen
from convcli.geometry.axes import per_axis
from convcli.networks.model import Grey, Net, Preprocess, Step
from convcli.networks.torch_layers import Tensors, apply, per_channel, resized
from convcli.pixels.channels import REC709


def choose_device(name: str) -> torch.device:
    """Return a device.

    Raises
    ------
    UsageError
        When torch knows no such one, or does not find it here.
    """
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise UsageError(f"device {name!r} is not available: use cpu, or cuda with a GPU") from None
    return device


def tensors(
    arrays: Mapping[str, np.ndarray], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> dict[str, torch.Tensor]:
    """Return arrays by name as tensors of their own, without gradients."""
    return {name: torch.tensor(array, dtype=dtype, device=device) for name, array in arrays.items()}


def forward(
    steps: Sequence[Step], parameters: Tensors, x: torch.Tensor, *, training: bool = False
) -> torch.Tensor:
    """Return the last layer's output.

    Parameters
    ----------
    steps
        From `convcli.networks.model.Net.trace`, for inputs of the shape of ``x``.
    parameters
        By ``LAYER.PARAMETER``; gradients reach those that require them.
    x
        Preprocessed input, (items, channels, *space).
    training
        Batch norms use the batch's own mean and variance, and update their running ones in place.
    """
    for step in steps:
        x = apply(step, parameters, x, training=training)
    return x


def outputs(
    steps: Sequence[Step], parameters: Tensors, x: torch.Tensor, *, training: bool = False
) -> Iterator[tuple[Step, torch.Tensor]]:
    """Yield every layer with its output, in order; arguments as in `forward`."""
    for step in steps:
        x = apply(step, parameters, x, training=training)
        yield step, x


def preprocess(how: Preprocess, x: torch.Tensor) -> torch.Tensor:
    """Do to (items, channels, *space) what comes before the first layer: grey, resize, scale, mean and std."""
    if how.grey is not None and x.shape[1] > 1:
        if how.grey is Grey.LUMA:
            x = (x * per_channel(torch.tensor(REC709, dtype=x.dtype, device=x.device), x)).sum(
                1, keepdim=True
            )
        else:
            x = x.mean(1, keepdim=True)
    if how.resize is not None:
        x = resized(x, how.interpolation, size=per_axis(how.resize, x.ndim - 2, "preprocess: resize"))
    if how.scale != 1.0:
        x = x * how.scale
    if how.mean:
        x = x - per_channel(torch.tensor(how.mean, dtype=x.dtype, device=x.device), x)
    if how.std:
        x = x / per_channel(torch.tensor(how.std, dtype=x.dtype, device=x.device), x)
    return x


@contextmanager
def computing() -> Iterator[None]:
    """Without gradients, and in full precision on CUDA too, where convolutions round to 10 bits by default."""
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        yield


@frozen
class TorchNet:
    """A net bound to a shape, with its numbers on a device: ready to run.

    ``steps`` may be the beginning of the net's layers: then that is what runs.
    """

    net: Net
    steps: tuple[Step, ...]
    parameters: Tensors = field(repr=False)
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def load(
        cls,
        net: Net,
        steps: tuple[Step, ...],
        arrays: Mapping[str, np.ndarray],
        precision: str = "float32",
        device: str = "cpu",
    ) -> TorchNet:
        """Bring arrays by name (`convcli.networks.weights.initial`) to a device, as float32 or float64."""
        place = choose_device(device)
        dtype: torch.dtype = getattr(torch, precision)
        return cls(net, steps, tensors(arrays, dtype, place), dtype, place)

    @property
    def precision(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    def upto(self, name: str) -> TorchNet:
        """Return the net whose last layer is the one of this name (or number)."""
        return replace(self, steps=self.steps[: self.net.position(name) + 1])

    def input(self, array: np.ndarray) -> torch.Tensor:
        """Return (channels, *space) of any real type as one preprocessed item, (1, channels, *space)."""
        numbers = torch.from_numpy(np.array(array, self.precision))
        return preprocess(self.net.preprocess, numbers.to(self.device)[None])

    def run(self, array: np.ndarray) -> np.ndarray:
        """Return the last step's output for one array (channels, *space): all of it at once."""
        with computing():
            result: np.ndarray = forward(self.steps, self.parameters, self.input(array))[0].cpu().numpy()
        return result
