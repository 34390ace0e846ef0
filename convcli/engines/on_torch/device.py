"""Where torch computes: which devices there are, how arrays get there, and what they must not round."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from convcli.common import UsageError, quoted

CPU = torch.device("cpu")


def device_named(name: str) -> torch.device:
    """Return a device that is there.

    Raises
    ------
    UsageError
        For another kind than ``cpu`` and ``cuda``, and for a card that torch does not see.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device {quoted(name)}: use cpu or cuda") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"the torch engine runs on cpu and cuda, not on {quoted(name)}")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            raise UsageError(f"no device {name!r}: torch sees {count} CUDA devices here; use --device cpu")
    return device


def tensor_of(
    x: np.ndarray | torch.Tensor, device: torch.device, dtype: np.dtype | None = None
) -> torch.Tensor:
    """Return ``x`` on a device: without a copy where torch can see numpy's memory and the type stays."""
    if isinstance(x, torch.Tensor):
        return x
    if not x.flags.writeable or min(x.strides, default=0) < 0:
        x = x.copy()
    data = torch.from_numpy(x).to(device)
    if dtype is None or dtype == x.dtype:  # to numpy, None is float64
        return data
    return data.to(type_of(dtype))


def type_of(dtype: np.dtype) -> torch.dtype:
    """Return torch's name of a type of floats."""
    return torch.float64 if dtype == np.float64 else torch.float32


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Keep CUDA from rounding float32 to 10 bits, its default for convolutions."""
    if device.type == "cuda":
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    else:
        yield
