"""Channels: which of them are filtered, how alpha takes part, and how the result becomes a picture again.

Works on blocks with the channels first, (C, *space).  Knows no kernels, axes or files.
"""

from enum import StrEnum

import numpy as np

from convcli.common import Channels, UsageError, frozen
from convcli.data import Colour, Info

MIXED = (Channels.LUMA, Channels.GREY, Channels.MEAN)  # one channel is filtered, made of all colours
REC709 = (0.2126, 0.7152, 0.0722)  # luma of R, G, B: ITU-R BT.709-6, section 3


class Alpha(StrEnum):
    """How the alpha channel takes part."""

    NONE = "none"
    PREMULTIPLIED = "premultiplied"  # weights the colours and is filtered with them
    SAMPLED = "sampled"  # passes through, taken where the kernel's origin sits


@frozen
class Split:
    """How a block's channels are taken apart.

    Attributes
    ----------
    colours : int
        Number of the input's channels without alpha.
    channels : Channels
    alpha : Alpha
    full_scale : float
        White, and opaque, in the input's units.
    """

    colours: int
    channels: Channels
    alpha: Alpha
    full_scale: float

    @property
    def plain(self) -> bool:
        """Whether what is filtered are the samples themselves."""
        mixed = self.channels in MIXED and self.colours > 1
        return not mixed and self.alpha is not Alpha.PREMULTIPLIED

    def colour_block(self, block: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the channels to be filtered, (filtered, *space); without arithmetic a view of the block."""
        colour = block[: self.colours]
        if self.channels in MIXED and self.colours > 1:
            colour = mean(colour, dtype) if self.channels is Channels.MEAN else luma(colour, dtype)
        if self.alpha is Alpha.PREMULTIPLIED:
            colour = colour * (block[self.colours :].astype(dtype) / dtype.type(self.full_scale))
        return colour

    def alpha_block(self, block: np.ndarray) -> np.ndarray:
        """Return the alpha channel, (1, *space)."""
        return block[self.colours :]


def white_of(info: Info) -> float:
    """Return white, and opaque, in an input's units: the top of an integer type or of its used bits, 1 for floats."""
    kind = np.dtype(info.dtype)
    return info.white or (float(np.iinfo(kind).max) if kind.kind in "iu" else 1.0)


def filtered_channels(info: Info, channels: Channels) -> int:
    """Return how many of an input's channels go through the kernels; alpha is never one of them."""
    return 1 if channels in MIXED else info.channels - info.colour.has_alpha


def split(info: Info, channels: Channels, *, averages: bool, full_scale: float) -> Split:
    """Decide how the channels of an input are taken apart.

    Parameters
    ----------
    averages : bool
        Whether premultiplied colour is right (`convcli.jobs.chain.Chain.averages`).

    Raises
    ------
    UsageError
        When luma or grey is asked for data that has no red, green and blue.
    """
    has_alpha = info.colour.has_alpha
    colours = info.channels - has_alpha
    if channels in (Channels.LUMA, Channels.GREY) and colours not in (1, 3):
        raise UsageError(
            f"channels {channels} needs grey or red, green and blue; the input has {colours} channels"
        )
    if channels is Channels.LUMA and colours == 1:
        channels = Channels.EACH
    mode = Alpha.NONE
    if has_alpha:
        mode = Alpha.PREMULTIPLIED if averages and channels is not Channels.LUMA else Alpha.SAMPLED
    return Split(colours, channels, mode, full_scale)


def luma(colour: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the Rec. 709 luma of (3, *space) as (1, *space)."""
    red, green, blue = (colour[index].astype(dtype) * dtype.type(REC709[index]) for index in range(3))
    return (red + green + blue)[None]


def mean(colour: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the mean of (C, *space) as (1, *space)."""
    total = colour[:1].astype(dtype)
    for one in colour[1:]:  # in this order, however the block lies in memory
        total += one
    return total / dtype.type(len(colour))


def unpremultiply(colour: np.ndarray, alpha: np.ndarray, full_scale: float) -> np.ndarray:
    """Divide colours by their coverage; what is wholly transparent becomes black.

    ``colour`` (..., C, *space) is changed in place, ``alpha`` broadcasts against it.
    """
    coverage = alpha / alpha.dtype.type(full_scale)
    visible = coverage > 0
    np.divide(colour, coverage, out=colour, where=visible)
    np.copyto(colour, 0, where=coverage <= 0)  # what has no coverage at all is missing, and stays so
    return colour


def result_colour(info: Info, channels: int, has_alpha: bool) -> Colour:
    """Return what the result's channels mean: ``channels`` of them without alpha."""
    if info.colour is Colour.NONE:
        return Colour.NONE
    if channels == 1:
        return Colour.GREY_ALPHA if has_alpha else Colour.GREY
    if channels == 3:
        return Colour.RGBA if has_alpha else Colour.RGB
    return info.colour
