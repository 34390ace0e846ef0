"""What `filter` should compute, from the definitions alone: nothing of convcli is imported here.

Correlation is done twice, by scipy (a dilated kernel, then every stride-th value) and by torch, both in float64;
padding is numpy's; black, white and rounding are the textbook's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.signal
import torch

from tests import pad_modes

Amount = str | tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """Of the kernel's axes, one value each; of a mode and what constant padding holds."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Amount, ...]
    mode: str
    value: float = 0.0


def amounts(padding: Amount, n: int, taps: int, stride: int, dilation: int, origin: int) -> tuple[int, int]:
    """Return how many elements stand before and after the data along one axis."""
    reach = dilation * (taps - 1)
    match padding:
        case "valid":
            return 0, 0
        case "full":
            return reach, reach
        case "same":
            return dilation * origin, reach - dilation * origin
        case "tail":
            return 0, reach
        case "same-upper" | "same-lower":
            outputs = (n + stride - 1) // stride
            total = max((outputs - 1) * stride + reach + 1 - n, 0)
            few, more = total // 2, total - total // 2
            return (few, more) if padding == "same-upper" else (more, few)
    assert isinstance(padding, tuple)
    return padding


def dilated(weights: np.ndarray, dilation: tuple[int, ...]) -> np.ndarray:
    spread = np.zeros([(n - 1) * d + 1 for n, d in zip(weights.shape, dilation, strict=True)])
    spread[tuple(slice(None, None, d) for d in dilation)] = weights
    return spread


def correlate(planes: np.ndarray, bank: np.ndarray, how: Geometry, flip: bool = False) -> np.ndarray:
    """Return (outputs, *space) of one stack of planes (inputs, *space) under a bank (outputs, inputs, *kernel).

    The kernel slides along the last axes; those before it are walked along.
    """
    rank = bank.ndim - 2
    whole = padded(planes, bank.shape[2:], how, flip)
    if flip:
        bank = np.flip(bank, tuple(range(2, bank.ndim)))
    walked = whole.shape[1 : whole.ndim - rank]
    items = np.moveaxis(whole.reshape(whole.shape[0], -1, *whole.shape[whole.ndim - rank :]), 0, 1)
    found = np.stack([_scipy(item, bank, how) for item in items], axis=1)
    again = _torch(items, bank, how)
    assert np.allclose(found, again, rtol=1e-11, atol=1e-11 * max(1.0, np.abs(found).max(initial=0.0)))
    return found.reshape(bank.shape[0], *walked, *found.shape[2:])


def padded(planes: np.ndarray, sizes: tuple[int, ...], how: Geometry, flip: bool = False) -> np.ndarray:
    """Return planes with what stands around them under a kernel of these sizes."""
    rank = len(sizes)
    origins = [(k - 1) // 2 for k in sizes]
    if flip:
        origins = [k - 1 - origin for k, origin in zip(sizes, origins, strict=True)]
    widths = [(0, 0)] * (planes.ndim - rank)
    for axis in range(rank):
        n = planes.shape[planes.ndim - rank + axis]
        widths.append(
            amounts(how.padding[axis], n, sizes[axis], how.stride[axis], how.dilation[axis], origins[axis])
        )
    return pad_modes.padded(planes, widths, how.mode, how.value)


def _scipy(item: np.ndarray, bank: np.ndarray, how: Geometry) -> np.ndarray:
    steps = tuple(slice(None, None, s) for s in how.stride)
    return np.stack([
        sum(
            scipy.signal.correlate(plane, dilated(weights, how.dilation), mode="valid", method="direct")[steps]
            for plane, weights in zip(item, kernel, strict=True)
        )
        for kernel in bank
    ])  # fmt: skip


def _torch(items: np.ndarray, bank: np.ndarray, how: Geometry) -> np.ndarray:
    convolution = (torch.conv1d, torch.conv2d, torch.conv3d)[bank.ndim - 3]
    x, weights = torch.tensor(items.copy()), torch.tensor(bank.copy())
    done = convolution(x, weights, stride=how.stride, dilation=how.dilation)
    return done.numpy().swapaxes(0, 1)


@dataclass(frozen=True)
class Mapping:
    """v becomes v * scale + offset, then the nearest of low … top, halves to the even one."""

    scale: float = 1.0
    offset: float = 0.0
    absolute: bool = False
    low: float = 0.0
    top: float = 255.0

    def exact(self, values: np.ndarray) -> np.ndarray:
        """Return what is then rounded."""
        values = np.abs(values) if self.absolute else values
        return np.clip(values * self.scale + self.offset, self.low, self.top)


def mapping(policy: str, dtype: str, values: np.ndarray, bank: np.ndarray) -> Mapping:
    """Return what a range policy makes of values for an unsigned integer type.

    ``offset`` lays zero on mid grey and the largest result that the kernel has for pixels of 0 to white on white:
    the larger of its one-sided sums, times white.
    """
    white = float(np.iinfo(dtype).max)
    low = float(np.iinfo(dtype).min)
    word, _, rest = policy.partition(":")
    if word == "clip":
        return Mapping(low=low, top=white)
    if word == "abs":
        return Mapping(absolute=True, low=low, top=white)
    if word == "offset":
        axes = tuple(range(1, bank.ndim))
        sums = np.maximum(bank, 0).sum(axes).max(), -np.minimum(bank, 0).sum(axes).min()
        middle = (white + 1) / 2
        reach = max(sums) * white
        gain = float(rest or 1)
        return Mapping(gain * (white - middle) / reach if reach else 0.0, middle, top=white)
    if word == "minmax":
        bottom, ceiling = float(values.min()), float(values.max())
    elif word == "percentile":
        bottom, ceiling = np.percentile(values, [float(end) for end in rest.split(":")]).tolist()
    else:
        bottom, ceiling = (
            float(end.rstrip("%")) / 100 * white if "%" in policy else float(end) for end in (word, rest)
        )
    scale = white / (ceiling - bottom) if ceiling > bottom else 0.0
    return Mapping(scale, -bottom * scale, top=white)
