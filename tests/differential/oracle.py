"""What `filter` should compute, from the definitions alone: nothing of convcli is imported here.

Correlation is done twice, by scipy (a dilated kernel, then every stride-th value) and by torch, both in float64;
padding is numpy's; black, white and rounding are the textbook's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage
import scipy.signal
import torch

from tests import pad_modes

Amount = str | tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """Of the kernel's axes, one value each; of a mode and what constant padding holds.

    With ``extra``, elements at the end, it is that of a transposed convolution, whose padding crops.
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[Amount, ...]
    mode: str
    value: float = 0.0
    extra: tuple[int, ...] | None = None


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


def outputs(
    lengths: tuple[int, ...], sizes: tuple[int, ...], how: Geometry, flip: bool
) -> tuple[int, ...] | None:
    """Return how many outputs there are along each axis; ``None`` where the kernel is larger than what it meets."""
    found = []
    for axis, (n, taps) in enumerate(zip(lengths, sizes, strict=True)):
        stride, dilation = how.stride[axis], how.dilation[axis]
        reach = dilation * (taps - 1)
        if how.extra is not None:
            before, after = how.padding[axis]
            found.append((n - 1) * stride + reach + 1 + how.extra[axis] - int(before) - int(after))
        else:
            origin = (taps - 1) // 2
            origin = taps - 1 - origin if flip else origin
            around = sum(amounts(how.padding[axis], n, taps, stride, dilation, origin))
            found.append((n + around - reach - 1) // stride + 1)
    return tuple(found) if min(found) > 0 else None


def dilated(weights: np.ndarray, dilation: tuple[int, ...]) -> np.ndarray:
    spread = np.zeros([(n - 1) * d + 1 for n, d in zip(weights.shape, dilation, strict=True)])
    spread[tuple(slice(None, None, d) for d in dilation)] = weights
    return spread


def correlate(planes: np.ndarray, bank: np.ndarray, how: Geometry, flip: bool = False) -> np.ndarray:
    """Return (outputs, *space) of one stack of planes (inputs, *space) under a bank (outputs, inputs, *kernel).

    The kernel slides along the last axes; those before it are walked along.
    """
    rank = bank.ndim - 2
    if how.extra is not None:
        return _transposed(planes, bank, how, flip)
    whole = padded(planes, bank.shape[2:], how, flip)
    if flip:
        bank = np.flip(bank, tuple(range(2, bank.ndim)))
    walked = whole.shape[1 : whole.ndim - rank]
    items = np.moveaxis(whole.reshape(whole.shape[0], -1, *whole.shape[whole.ndim - rank :]), 0, 1)
    found = np.stack([_scipy(item, bank, how) for item in items], axis=1)
    again = _torch(items, bank, how)
    assert np.allclose(found, again, rtol=1e-11, atol=1e-11 * max(1.0, np.abs(found).max(initial=0.0)))
    return found.reshape(bank.shape[0], *walked, *found.shape[2:])


def _transposed(planes: np.ndarray, bank: np.ndarray, how: Geometry, flip: bool) -> np.ndarray:
    """Zeros between the inputs and a full convolution by scipy, and torch's own; both in float64."""
    assert how.extra is not None
    rank = bank.ndim - 2
    if flip:
        bank = np.flip(bank, tuple(range(2, bank.ndim)))
    walked = planes.shape[1 : planes.ndim - rank]
    items = np.moveaxis(planes.reshape(planes.shape[0], -1, *planes.shape[planes.ndim - rank :]), 0, 1)
    crop = tuple(slice(int(before), None) for before, _ in how.padding)
    counts = outputs(items.shape[2:], bank.shape[2:], how, flip)
    assert counts is not None

    def one(item: np.ndarray) -> np.ndarray:
        apart = [dilated(plane, how.stride) for plane in item]
        found = []
        for kernel in bank:
            whole = sum(
                scipy.signal.convolve(plane, dilated(weights, how.dilation), mode="full", method="direct")
                for plane, weights in zip(apart, kernel, strict=True)
            )
            room = np.pad(whole, [(0, extra) for extra in how.extra or ()])[crop]
            found.append(room[tuple(slice(count) for count in counts)])
        return np.stack(found)

    found = np.stack([one(item) for item in items], axis=1)
    transposed = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)[rank - 1]
    weights = torch.tensor(np.swapaxes(bank, 0, 1).copy())
    full = transposed(torch.tensor(items.copy()), weights, stride=how.stride, dilation=how.dilation).numpy()
    full = np.pad(full, [(0, 0), (0, 0), *((0, extra) for extra in how.extra)])
    again = full[(slice(None), slice(None), *crop)][(..., *(slice(count) for count in counts))].swapaxes(0, 1)
    assert np.allclose(found, again, rtol=1e-11, atol=1e-11 * max(1.0, np.abs(found).max(initial=0.0)))
    return found.reshape(bank.shape[0], *walked, *found.shape[2:])


def with_alpha(
    planes: np.ndarray, bank: np.ndarray, how: Geometry, flip: bool, bias: float, white: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return colours and alpha of planes whose last is alpha, under one kernel, and how much covers each output.

    A mean weights colours by alpha, and alpha is filtered by the kernel divided by its sum.  With any other kernel
    colours are filtered alone, and alpha is the sample under the kernel's origin: none outside the data where the
    mode puts no sample, and the mirrored one where it puts several.
    """
    colours, alpha = planes[:-1], planes[-1:]
    if bank.min() >= 0 and bank.sum() > 0 and not bias and how.mode not in pad_modes.BEYOND:
        mean = bank / bank.sum()
        covered = correlate(alpha / white, mean, replace(how, value=1.0), flip)[0]
        mixed = np.stack(
            [correlate((plane * alpha[0] / white)[None], bank, how, flip)[0] for plane in colours]
        )
        found = np.divide(mixed, covered, out=np.zeros_like(mixed), where=covered > 0)
        return found, covered * white, covered
    found = np.stack([correlate(plane[None], bank, how, flip)[0] for plane in colours]) + bias
    point = np.zeros_like(bank)
    point[(0, 0, *((k - 1) // 2 for k in bank.shape[2:]))] = 1
    one = replace(how, mode="reflect" if how.mode in pad_modes.BEYOND else how.mode, value=0.0)
    sampled = correlate(alpha, point, one, flip)[0]
    return found, sampled, np.ones_like(sampled)


def locally(planes: np.ndarray, bank: np.ndarray, how: Geometry, flip: bool) -> np.ndarray:
    """Return what bounds an output's error: its own terms, or the largest value within two windows' widths."""
    own = correlate(np.abs(planes), np.abs(bank), how, flip)
    near = np.abs(padded(planes, bank.shape[2:], how, flip))
    rank = bank.ndim - 2
    for axis in range(rank):
        k, stride, dilation = bank.shape[2 + axis], how.stride[axis], how.dilation[axis]
        extent, at = dilation * (k - 1) + 1, planes.ndim - rank + axis
        near = scipy.ndimage.maximum_filter1d(near, 5 * extent | 1 if k > 1 else 1, at, mode="constant")
        count = (near.shape[at] - extent) // stride + 1
        near = near.take((extent - 1) // 2 + stride * np.arange(count), at)
    return np.maximum(own, near.max(axis=0) * np.abs(bank).sum())


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
