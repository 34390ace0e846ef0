"""From floats to pixels: on a CUDA device, so that fewer bytes cross the bus; else as numpy does it."""

import numpy as np
import torch

from convcli.pixels.render import Rendering, Tally
from convcli.pixels.render import render as render_array


def render(values: np.ndarray | torch.Tensor, how: Rendering) -> tuple[np.ndarray, Tally]:
    """Turn floats into pixels, on their device, as `convcli.pixels.render.render` does; their memory is used."""
    if isinstance(values, np.ndarray):
        return render_array(values, how)
    if values.device.type == "cpu" or how.dtype not in ("uint8", "int16") or values.dtype != torch.float32:
        return render_array(values.cpu().numpy(), how)
    how.apply(values, torch)
    values.round_()
    outside = (values < how.low) | (values > how.top)
    tally = Tally(values.numel(), int(outside.count_nonzero()), int(values.isnan().count_nonzero()))
    values.nan_to_num_(max(how.low, 0.0), how.top, how.low).clamp_(how.low, how.top)
    return values.to(getattr(torch, how.dtype)).cpu().numpy(), tally
