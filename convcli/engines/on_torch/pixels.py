"""From floats to pixels on their device.

A float becomes a byte by way of 16 bits: two passes that torch has vector code for, where the direct one takes three
times as long (measured).
"""

from __future__ import annotations

import numpy as np
import torch

from convcli.pixels.render import Rendering, Tally
from convcli.pixels.render import render as render_array

SMALL_INTEGERS = {
    np.dtype(np.uint8),
    np.dtype(np.int16),
}  # float32 holds them all, torch converts them at speed


def render(values: np.ndarray | torch.Tensor, how: Rendering) -> tuple[np.ndarray, Tally]:
    """Turn floats into pixels, on their device, as `convcli.pixels.render.render` does; their memory is used."""
    data = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    target = np.dtype(how.dtype)
    if target not in SMALL_INTEGERS or data.dtype != torch.float32:
        return render_array(data.cpu().numpy(), how)
    how.apply(data, torch)
    data.round_()
    tally = Tally(values=data.numel())
    if not how.fits:
        tally.nans, tally.clipped = _limit(data, how)
    pixels = data.to(torch.int16)
    return (pixels.to(torch.uint8) if target == np.uint8 else pixels).cpu().numpy(), tally


def _limit(data: torch.Tensor, how: Rendering) -> tuple[int, int]:
    """Bring everything into the range; return how many were no numbers, and how many were outside."""
    nans = clipped = 0
    least, most = data.amin().item(), data.amax().item()
    if np.isnan(least):
        missing = data.isnan()
        nans = int(missing.count_nonzero())
        data[missing] = how.low
        least, most = data.amin().item(), data.amax().item()
    if least < how.low or most > how.top:
        clipped = int((data < how.low).count_nonzero()) + int((data > how.top).count_nonzero())
        data.clamp_(how.low, how.top)
    return nans, clipped
