"""The algorithms of the engines: one class each, with what it offers, costs and does, and the error that it may make.

Nothing heavy is imported before an algorithm runs.  Costs are formulas over `convcli.engines.costs.NANOSECONDS`.  A
new algorithm is one class here, listed in `ALGORITHMS`: `tests/engines/test_algorithms.py` tries all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from math import ceil, log2, prod
from typing import TYPE_CHECKING, Any

from convcli.common.choices import EngineName
from convcli.engines.costs import (
    FEW,
    INTEGER_PASSES,
    LINES,
    NANOSECONDS,
    PASSES_SAVED,
    TINY,
    VECTOR,
    WIDE_LINES,
)
from convcli.engines.interface import Algorithm, Array, Correlation, Pixels, Render
from convcli.engines.work import LINE, SQUARE, Work, fft_tile, toeplitz_rows

if TYPE_CHECKING:
    import numpy as np

    from convcli.pixels.render import Rendering


# What depends on the library


class _OfLibrary(Algorithm):
    @abstractmethod
    def backend(self, call: Correlation) -> Any:
        """Return the library's `convcli.engines.toeplitz.Backend`."""

    @abstractmethod
    def along(self, work: Work, axis: int, columns: int = 1) -> float:
        """Return the cost of a Toeplitz matrix along an axis, for an element and a column of the kernel."""


class _InNumpy(_OfLibrary):
    engine = EngineName.NUMPY

    def backend(self, call: Correlation) -> Any:
        from convcli.engines.on_numpy.products import NumpyProducts

        return NumpyProducts()

    def along(self, work: Work, axis: int, columns: int = 1) -> float:
        if axis < len(work.kernel) - 1:
            return _column(work, axis, columns, "numpy column", "numpy column tap")
        squares = 2 * max(SQUARE, work.extents[axis] - 1)
        return (NANOSECONDS["square"] + NANOSECONDS["square tap"] * squares) * work.width


class _InTorch(_OfLibrary):
    engine = EngineName.TORCH
    integers = ("uint8",)

    def backend(self, call: Correlation) -> Any:
        from convcli.engines.on_torch.products import TorchProducts

        return TorchProducts(call.device)

    def along(self, work: Work, axis: int, columns: int = 1) -> float:
        if axis < len(work.kernel) - 1:
            return _column(work, axis, columns, "torch column", "torch column tap")
        wide = WIDE_LINES * work.width if work.width > 1 else 1.0
        return (NANOSECONDS["line"] + NANOSECONDS["line tap"] * (LINE + work.extents[axis])) * wide


class _Fused(_InTorch):
    """A loop of torch's that takes one kernel over pictures from bytes to bytes; what else there is, by `run`."""

    running_sums = False

    def takes(self, data: np.dtype, weights: np.ndarray, fill: float, rendered: bool) -> np.dtype | None:
        return data if rendered and data == "uint8" and fill in range(256) else None

    def fused(self, work: Work) -> bool:
        return work.pictures

    def saved(self, work: Work) -> float:
        """Return what the loop costs less than a block on its way through floats."""
        return PASSES_SAVED * work.elements * NANOSECONDS["pass"] + NANOSECONDS["loop"]

    def pixels(self, call: Correlation, how: Rendering, out: np.ndarray | None, render: Render) -> Pixels:
        from convcli.engines.on_torch import bytes as torch_bytes

        if call.device.type == "cpu" and torch_bytes.fits(call.x, call.weights, how):
            return torch_bytes.filtered(call, how, out, self.running_sums)
        return super().pixels(call, how, out, render)


def _column(work: Work, axis: int, columns: int, begin: str, tap: str) -> float:
    """Return the cost of a Toeplitz matrix over rows."""
    extent = work.extents[axis]
    rows = toeplitz_rows(extent, columns) + extent
    return (NANOSECONDS[begin] + NANOSECONDS[tap] * rows) * work.width


# The definition, read from left to right


class _Direct(_OfLibrary):
    """Shifted data times their weights, added up: every kernel, stride and dilation, NaN and infinities included."""

    name, error = "direct", 4e-6

    def offers(self, work: Work) -> bool:
        return True


class NumpyDirect(_InNumpy, _Direct):
    def cost(self, work: Work) -> float:
        each = work.elements * NANOSECONDS["numpy tap"] * work.width + NANOSECONDS["begin tap"]
        return work.filters * work.taps * each

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_numpy.sums import direct

        return direct(call)


class TorchDirect(_InTorch, _Direct):
    def cost(self, work: Work) -> float:
        return work.elements * work.filters * work.taps * NANOSECONDS["torch tap"] * work.width

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_torch.sums import direct

        return direct(call)


# Sums that share their parts


class NumpyInteger(_InNumpy):
    """Sums of bytes in 16-bit integers, for small integers times a factor."""

    name, error = "integer", 1e-6
    integers = ("int16", "uint16")

    def offers(self, work: Work) -> bool:
        return work.integer_operations > 0

    def cost(self, work: Work) -> float:
        passes = INTEGER_PASSES - (PASSES_SAVED if work.mean and work.to_bytes else 0)
        operations = work.integer_operations
        each = operations * NANOSECONDS["numpy integer"] + passes * NANOSECONDS["pass"]
        return work.elements * each + max(operations * NANOSECONDS["begin integer"] - NANOSECONDS["begin"], 0)

    def takes(self, data: np.dtype, weights: np.ndarray, fill: float, rendered: bool) -> np.dtype | None:
        from convcli.engines.on_numpy.integer_sums import COUNT, SUM

        return COUNT if data == "uint8" and fill in range(256) and weights.min() >= 0 else SUM

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_numpy.integer_sums import correlate

        return correlate(call)

    def pixels(self, call: Correlation, how: Rendering, out: np.ndarray | None, render: Render) -> Pixels:
        from convcli.engines.on_numpy import integer_sums

        if out is not None and how.keeps_bytes and integer_sums.averages(call):
            return integer_sums.means(call, out)
        return super().pixels(call, how, out, render)


class NumpyBox(_InNumpy):
    """Equal weights: sums of windows that share their parts, and running sums of bytes."""

    name, error = "box", 2e-6
    integers = ("uint16",)

    def offers(self, work: Work) -> bool:
        return work.box and work.taps > 2

    def cost(self, work: Work) -> float:
        sums = [k.bit_length() - 1 + k.bit_count() for k in work.kernel if k > 1]
        if not work.bytes:
            return work.elements * (sum(sums) + 1) * NANOSECONDS["numpy sum"] * work.width
        *slow, fast = [0, *sums]  # the fastest axis in 16 bits
        running = NANOSECONDS["running sum"]
        others = sum(min(count * NANOSECONDS["numpy sum"], running) for count in slow)
        return work.elements * (fast * NANOSECONDS["numpy integer"] + others + NANOSECONDS["pass"])

    def takes(self, data: np.dtype, weights: np.ndarray, fill: float, rendered: bool) -> np.dtype | None:
        from convcli.engines.on_numpy.integer_sums import COUNT, MOST

        fits = data == "uint8" and fill in range(256) and 255 * weights.size <= MOST
        return COUNT if fits else None

    def run(self, call: Correlation) -> Array:
        if call.x.dtype.kind == "u":
            from convcli.engines.on_numpy.integer_sums import box
        else:
            from convcli.engines.on_numpy.sums import box
        return box(call)


class TorchBox(_Fused):
    """Means of bytes by running sums down the rows and doubled sums along them."""

    name, error = "box", 1e-5
    local, running_sums = False, True

    def offers(self, work: Work) -> bool:
        return work.exact_box

    def cost(self, work: Work) -> float:
        sums = work.kernel[1].bit_length() * NANOSECONDS["bytes sum"]
        return work.elements * (NANOSECONDS["bytes box"] + sums) - self.saved(work)

    def run(self, call: Correlation) -> Array:
        return TorchBands().run(call)  # of floats


class NumpySeparable(_InNumpy):
    """Outer products, one pass of shifted sums along each axis."""

    name, error = "separable", 1e-5

    def offers(self, work: Work) -> bool:
        return work.products > 0 and work.taps > 1

    def cost(self, work: Work) -> float:
        each = sum(k * NANOSECONDS["numpy tap"] + NANOSECONDS["pass"] for k in work.kernel if k > 1)
        begun = work.products * sum(work.kernel) * NANOSECONDS["begin tap"]
        return work.elements * work.products * each * work.width + begun

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_numpy.sums import separable

        return separable(call)


# Products and transforms: how a library groups their sums depends on the shape of a block, and they spread NaN.


class _Bands(_OfLibrary):
    """Outer products, one pass of products with Toeplitz matrices along each axis."""

    name, error = "separable toeplitz", 1e-5
    reproducible = local = False

    def offers(self, work: Work) -> bool:
        return work.products > 0 and work.dense and work.taps > 1

    def cost(self, work: Work) -> float:
        axes = [axis for axis, k in enumerate(work.kernel) if k > 1]
        each = work.products * sum(self.along(work, axis) for axis in axes)
        # Floats are copied to where they belong; other algorithms write them there.
        copied = 0 if work.bytes else NANOSECONDS["pass"]
        return work.elements * (each + copied) + (work.products * len(axes) - 1) * NANOSECONDS["begin"]

    def run(self, call: Correlation) -> Array:
        from convcli.engines.toeplitz import by_bands

        return by_bands(self.backend(call), call)


class NumpyBands(_InNumpy, _Bands):
    pass


class TorchBands(_InTorch, _Bands):
    pass


class _Toeplitz(_OfLibrary):
    """Products of Toeplitz matrices with rows, one for each column of a kernel."""

    name, error = "toeplitz", 1e-5
    reproducible = local = False

    def offers(self, work: Work) -> bool:
        return work.dense and sum(work.kernel) * work.inputs <= 256 and max(work.extents) <= 512

    def cost(self, work: Work) -> float:
        last = len(work.kernel) - 1
        axis = max((index for index, k in enumerate(work.kernel[:-1]) if k > 1), default=last)
        columns = work.taps // work.kernel[axis]
        # One for each column, and for each place along walked axes
        products = work.items * work.filters * columns
        products *= prod(n for index, n in enumerate(work.sizes[:-1]) if index != axis)
        each = work.filters * columns * self.along(work, axis, columns)
        if axis == last:  # along lines they are made elsewhere and copied, as `_Bands`'
            each += NANOSECONDS["pass"]
        return work.elements * each + products * NANOSECONDS["product"]

    def run(self, call: Correlation) -> Array:
        from convcli.engines.toeplitz import by_products

        return by_products(self.backend(call), call)


class NumpyToeplitz(_InNumpy, _Toeplitz):
    pass


class TorchToeplitz(_Fused, _Toeplitz):
    def along(self, work: Work, axis: int, columns: int = 1) -> float:
        if work.pictures:
            return _column(work, axis, columns, "bytes column", "torch column tap")
        return super().along(work, axis, columns)

    def cost(self, work: Work) -> float:
        return super().cost(work) - (self.saved(work) if work.pictures else 0)


class _Fft(_OfLibrary):
    """Overlap-save transforms, tile by tile: large kernels cost hardly more than small ones."""

    name, error = "fft", 5e-6
    reproducible = local = False

    def offers(self, work: Work) -> bool:
        return work.dense and work.taps > 1

    def cost(self, work: Work) -> float:
        tile = fft_tile(work.extents, work.needed)
        tiles = prod(ceil(n / self.tile(work, axis)) for axis, n in enumerate(work.sizes))
        transformed = [t for t, extent in zip(tile, work.extents, strict=True) if extent > 1]
        each = prod(tile) * log2(max(prod(transformed), 2)) * NANOSECONDS[f"{self.engine} fft"]
        lines = LINES[self.engine] if len(transformed) == 1 else 1.0
        return tiles * each * (work.inputs + work.outputs) / 2 * work.items * lines

    def tile(self, work: Work, axis: int) -> int:
        return fft_tile(work.extents, work.needed)[axis] - work.extents[axis] + 1


class NumpyFft(_InNumpy, _Fft):  # as fast in float64 (measured)
    def run(self, call: Correlation) -> Array:
        from convcli.engines.fft import by_numpy

        return by_numpy(call)


class TorchFft(_InTorch, _Fft):
    def cost(self, work: Work) -> float:
        return super().cost(work) * work.width

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_torch.sums import by_transforms

        return by_transforms(call)


class TorchNative(_InTorch):
    """Torch's own convolution kernels, for many maps."""

    name, error = "native", 1e-5
    reproducible = local = False

    def offers(self, work: Work) -> bool:
        return work.filters >= FEW

    def cost(self, work: Work) -> float:
        few = VECTOR / min(work.inputs, work.outputs, VECTOR)
        each = work.taps * work.filters * NANOSECONDS["native tap"] * few
        maps = (work.inputs + work.outputs) * NANOSECONDS["native"]
        return work.elements * (each + maps) * work.width**2

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_torch.native import correlate

        return correlate(call)


# The first of each engine does everything; of equal costs the first counts.
ALGORITHMS: dict[EngineName, tuple[Algorithm, ...]] = {
    EngineName.NUMPY: (
        NumpyDirect(),
        NumpyInteger(),
        NumpyBox(),
        NumpySeparable(),
        NumpyBands(),
        NumpyToeplitz(),
        NumpyFft(),
    ),
    EngineName.TORCH: (
        TorchDirect(),
        TorchBox(),
        TorchBands(),
        TorchToeplitz(),
        TorchFft(),
        TorchNative(),
    ),
}


def ways(engine: EngineName, work: Work, reproducible: bool = False) -> list[Algorithm]:
    """Return an engine's algorithms for a piece of work, the cheapest first.

    Parameters
    ----------
    reproducible : bool
        Only those for which the shape of a block cannot change a result by a bit.
    """
    direct, *others = ALGORITHMS[engine]
    if work.elements * work.filters * work.taps * NANOSECONDS["numpy tap"] * work.width < TINY:
        return [direct]  # nothing is worth more than it, which also rounds as people expect
    offered = [one for one in others if one.reproducible >= reproducible and one.offers(work)]
    return sorted([direct, *offered], key=lambda one: one.cost(work))
