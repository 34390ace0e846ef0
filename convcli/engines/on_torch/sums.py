"""The algorithms in torch: sums of shifted tensors, transforms of tiles, torch's own kernels; devices and arrays there.

Torch's own kernels add up all products of an output in one accumulator.  With 255 x 255 equal weights on an even
surface the error reached 2e-4 of the result (measured); summed in halves of halves it stays below 1e-5.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import prod

import numpy as np
import torch
from torch.nn import functional as F

from convcli.common import UsageError, quoted
from convcli.engines import fft, shift_and_add, tiles
from convcli.engines.costs import NATIVE_TILE
from convcli.engines.interface import Correlation

CPU = torch.device("cpu")

CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
CONVOLVE_TRANSPOSED = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
# Products that one float32 accumulator of torch may add up, of floats and of integers: the more, the more it errs
RUN, RUN_OF_INTEGERS = 320, 64  # at most RUN * 2**-25; of bytes less than 2**-12 of a level (measured)

Apply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def by_kernels(call: Correlation) -> torch.Tensor:
    """Return the correlation by torch's kernels, tile by tile."""
    stride, dilation, groups = call.stride, call.dilation, call.groups
    convolve = CONVOLVE[len(call.sizes) - 1]

    def apply(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return convolve(x, weights, stride=stride, dilation=dilation, groups=groups)

    data = tensor_of(call.x, call.device, call.weights.dtype)
    kernel = tensor_of(call.weights, call.device)
    out = room(call, range(data.ndim), data.dtype)
    run = RUN_OF_INTEGERS if call.finite else RUN
    for items, _, *space in _tiles(call):
        box = tiles.inputs(space, kernel.shape[2:], stride, dilation)
        part = data[(items, slice(None), *box)]
        out[(items, slice(None), *space)] = _halved(part, kernel, groups, dilation, apply, run)
    return out


def _tiles(call: Correlation) -> list[tiles.Slices]:
    """Cut outputs so that what torch rearranges stays small: channels in blocks of 16, or every window."""
    x, shape = call.x, call.weights.shape
    copies = max(*shape[:2], 16) if x.dtype == np.float32 else prod(shape[1:])
    size = NATIVE_TILE // (copies * x.itemsize) if call.device.type == "cpu" else len(x) * prod(call.sizes)
    return tiles.cut((len(x), 1, *call.sizes), range(x.ndim), size)


def transposed(call: Correlation) -> torch.Tensor:
    """Return the transposed convolution, nothing cropped; the sizes of ``call`` are not used."""
    convolve = CONVOLVE_TRANSPOSED[len(call.sizes) - 1]

    def apply(x: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        # (in, out of a group)
        swapped = weights.unflatten(0, (call.groups, -1)).transpose(1, 2).flatten(0, 1)
        return convolve(x, swapped, stride=call.stride, dilation=call.dilation, groups=call.groups)

    data, kernel = tensor_of(call.x, call.device), tensor_of(call.weights, call.device)
    return _transpose_halved(data, kernel, call.groups, call.dilation, apply)


def _halved(
    x: torch.Tensor, weights: torch.Tensor, groups: int, dilation: Sequence[int], apply: Apply, run: int
) -> torch.Tensor:
    """Correlate; in float32 as the sum of halves while one accumulator would have too much to add."""
    if _is_short(weights, run):
        return apply(x, weights)
    axis, half = _halves(weights)
    first, second = weights.tensor_split([half], axis)
    if axis == 1:
        parts = _split_channels(x, groups, half)
    else:
        distance = half * dilation[axis - 2]
        shorter = x.shape[axis] - (weights.shape[axis] - half) * dilation[axis - 2]
        parts = x.narrow(axis, 0, shorter), x.narrow(axis, distance, x.shape[axis] - distance)
    total = _halved(parts[0], first, groups, dilation, apply, run)
    total += _halved(parts[1], second, groups, dilation, apply, run)
    return total


def _transpose_halved(
    x: torch.Tensor, weights: torch.Tensor, groups: int, dilation: Sequence[int], apply: Apply
) -> torch.Tensor:
    """Do the transpose of `_halved`, in the same halves."""
    if _is_short(weights):
        return apply(x, weights)
    axis, half = _halves(weights)
    first, second = weights.tensor_split([half], axis)
    if axis == 1:
        left, right = _split_channels(x, groups, half)
        total = _transpose_halved(left, first, groups, dilation, apply)
        total += _transpose_halved(right, second, groups, dilation, apply)
        return total
    near = _transpose_halved(x, first, groups, dilation, apply)
    far = _transpose_halved(x, second, groups, dilation, apply)
    distance = half * dilation[axis - 2]
    shape = list(far.shape)
    shape[axis] += distance
    total = far.new_zeros(shape)
    total.narrow(axis, 0, near.shape[axis]).add_(near)
    total.narrow(axis, distance, far.shape[axis]).add_(far)
    return total


def _is_short(weights: torch.Tensor, run: int = RUN) -> bool:
    return weights.dtype == torch.float64 or prod(weights.shape[1:]) <= run


def _halves(weights: torch.Tensor) -> tuple[int, int]:
    """Return the longest of the axes that a sum runs over, and its middle."""
    axis = max(range(1, weights.ndim), key=lambda axis: weights.shape[axis])
    return axis, weights.shape[axis] // 2


def _split_channels(x: torch.Tensor, groups: int, half: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Split the channels of every group."""
    grouped = x.unflatten(1, (groups, -1))
    return grouped[:, :, :half].flatten(1, 2), grouped[:, :, half:].flatten(1, 2)


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


def direct(call: Correlation) -> torch.Tensor:
    """Return the correlation by the definition, tap after tap."""
    return shifted(call, shift_and_add.correlation_reach(call))


def shifted(call: Correlation, reach: shift_and_add.Reach) -> torch.Tensor:
    """Return the sum over all taps; ``reach`` says what each takes, and where it goes."""
    data = tensor_of(call.x, call.device, call.weights.dtype)
    own = isinstance(call.x, np.ndarray)  # else what `separable` has made
    order = tiles.planar(tiles.memory_order(call.x)) if own else range(data.ndim)
    out = room(call, order, data.dtype)

    def asarray(weight: np.ndarray) -> torch.Tensor:
        return torch.tensor(weight, device=out.device)

    shift_and_add.shift_and_add(data, call, out, reach, asarray, torch.zeros_like)
    return out


def separable(call: Correlation) -> torch.Tensor:
    """Return the correlation with one kernel, axis by axis; several outer products are added up."""
    made: torch.Tensor = shift_and_add.separable(
        call, tensor_of(call.x, call.device, call.weights.dtype), direct
    )
    return made


def by_transforms(call: Correlation) -> torch.Tensor:
    """Return the correlation by `convcli.engines.fft`."""
    data = tensor_of(call.x, call.device, call.weights.dtype)
    kernels = torch.from_numpy(fft.spectra(call)).to(call.device)
    out = room(call, tiles.memory_order(call.x), data.dtype)
    fft.correlate(torch.fft, data, kernels, call.extents, lambda part: part.to(kernels.real.dtype), out)
    return out


def room(call: Correlation, order: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    """Return the place of a result; without one a tensor whose axes lie in this order, the slowest first."""
    if call.out is not None:
        return torch.from_numpy(call.out)
    shape = (len(call.x), len(call.weights), *call.sizes)
    flat = torch.empty([shape[axis] for axis in order], dtype=dtype, device=call.device)
    return flat.permute(*(order.index(axis) for axis in range(len(order))))
