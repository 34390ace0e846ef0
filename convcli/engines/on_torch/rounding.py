"""Floats become bytes at the end of torch's loops over tiles: how, in numbers that TorchScript knows."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from convcli.pixels.render import Rendering

WIDEST = 32000.0  # to be on the safe side of 32767
WHOLE = 1.5 * 2**23  # where neighbouring float32 are 1 apart, so that a sum is rounded, half to even


class Rounding(NamedTuple):
    """A `convcli.pixels.render.Rendering` as bytes.

    Attributes
    ----------
    absolute, anchor, scale, offset, fits
        As in a rendering, of which TorchScript does not know.
    wide : bool
        Whether values may lie beyond 16 bits, by way of which they become bytes.
    quick : bool
        Whether scale and whole offset can be had together with the rounding, as there is nothing else to do.
    middle : Tensor
        `WHOLE` and the offset: a value to which it is added is rounded, and the lowest byte of the sum is the pixel.
    """

    absolute: bool
    anchor: float
    scale: float
    offset: float
    fits: bool
    wide: bool
    quick: bool
    middle: torch.Tensor


def rounding(how: Rendering, largest: float, unit: float = 1.0) -> Rounding:
    """Return the numbers for values from ``-largest`` to ``largest``, which arrive divided by ``unit``."""
    if how.absolute:
        unit = abs(unit)
    if unit == 0:  # whatever arrives means 0
        how, unit = replace(how, anchor=0.0, scale=0.0, offset=float(how.map(0.0))), 1.0
    exact = how.anchor / unit
    anchor = float(np.float32(exact))
    scale = how.scale / how.width * unit
    offset = how.offset + (anchor - exact) * scale
    wide = (largest / abs(unit) + abs(anchor)) * abs(scale) + abs(offset) > WIDEST
    quick = how.fits and not how.absolute and offset == round(offset)
    middle = torch.tensor(WHOLE + offset)
    return Rounding(how.absolute, anchor, scale, offset, how.fits, wide, quick, middle)


def round_to_bytes(
    values: torch.Tensor,
    bits: torch.Tensor,
    whole: torch.Tensor,
    how: Rounding,
    known: int,
    out: torch.Tensor,
) -> int:
    """Fill ``out`` (rows, width); return how many values lay outside 0…255.

    Parameters
    ----------
    values : Tensor
        float32, used up.
    bits : Tensor
        The same memory as int32.
    whole : Tensor
        int16 of the same shape.
    known : int
        Rows at the beginning that have been counted before.
    """
    if how.absolute:
        values.abs_()
    if how.anchor != 0.0:
        values.sub_(how.anchor)
    if how.quick:
        torch.add(how.middle, values, alpha=how.scale, out=values)
        out.copy_(bits)  # the lowest byte of each
        return 0
    if how.scale != 1.0:
        values.mul_(how.scale)
    if how.offset != 0.0:
        values.add_(how.offset)
    values.round_()
    if how.wide:
        values.clamp_(-32768.0, 32767.0)
    whole.copy_(values)
    clipped = 0
    if not how.fits and (int(whole.amin()) < 0 or int(whole.amax()) > 255):
        fresh = whole[known:]
        clipped = int((fresh < 0).sum()) + int((fresh > 255).sum())
        whole.clamp_(0, 255)
    out.copy_(whole)
    return clipped
