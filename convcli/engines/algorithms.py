"""The algorithms of the engines: one class each, with what it offers, costs and does, and the error that it may make.

Nothing heavy is imported before an algorithm runs.  Costs are formulas over `convcli.engines.costs.NANOSECONDS`.  A
new algorithm is one class here, listed in `ALGORITHMS`: `tests/engines/test_algorithms.py` tries all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import reduce
from math import ceil, log2, prod
from typing import TYPE_CHECKING

from convcli.common import EngineName
from convcli.engines.costs import FEW, LINES, NANOSECONDS, NATIVE_TILE, TINY, VECTOR, WIDE_TRANSFORMS
from convcli.engines.interface import Algorithm, Array, Correlation, Pixels, Render, Values
from convcli.engines.native import library
from convcli.engines.work import Work, fft_tile

if TYPE_CHECKING:
    import numpy as np

    from convcli.geometry.padding import PadMode
    from convcli.pixels.render import Rendering

# How many times larger than those in a window any value of a transform's box may be: its error in float64, at most
# 2**-50 of the largest, then stays below 2**-24 of those in it, and below 1e-13 of them where all is float64.
SPREAD = {"float32": 2.0**26, "float64": 2.0**6}
EXACT_LEVELS = 2.0**38  # of integers that a transform in float64 may take: 2**-12 of a level


class _InNumpy(Algorithm):
    engine = EngineName.NUMPY


class _InTorch(Algorithm):
    engine = EngineName.TORCH
    integers = ("uint8",)

    def scratch(self, work: Work) -> int:
        return 2 * work.bytes_made  # products, and a half of the sum


class _Rows(_InNumpy):
    """Sums of rows: by the compiled loops where they are there, else by numpy, to the same bits.

    The loops take integers, and make pixels of a whole block, bias and combination included.
    """

    integers = ("uint8", "int8", "uint16", "int16")

    def cost(self, work: Work) -> float:
        if library.loops() is None:
            return self.row_passes(work) * work.elements * work.width * NANOSECONDS["numpy tap"]
        tap = NANOSECONDS["row tap"] + NANOSECONDS["begin tap"] / work.sizes[-1]
        row = self.row_passes(work) * tap + NANOSECONDS["row"] * prod(work.stride)
        return work.elements * row * work.width + NANOSECONDS["begin rows"]

    def scratch(self, work: Work) -> int:
        if library.loops() is None:
            return 2 * work.bytes_made  # products, and a half of the sum
        return prod(work.extents[:-1]) * work.needed[-1] * 4 * int(work.width)  # the rows of a window

    @abstractmethod
    def row_passes(self, work: Work) -> float:
        """Return the products and sums of floats for each output."""

    def pads(self, data: np.dtype, weights: np.dtype, mode: PadMode) -> bool:
        held = data.name in self.integers or (data.kind == "f" and 4 <= data.itemsize <= weights.itemsize)
        return library.loops() is not None and held and mode.stays_in_range

    def run(self, call: Correlation) -> Array:
        if library.loops() is None or call.x.itemsize > 8:  # floats that are wider than those of the loops
            from convcli.engines.on_numpy.sums import SUMS

            return SUMS[self.name](call)
        from convcli.engines.native import rows

        return rows.correlate(call, rows.FORMS[self.name])

    def finishes(self, how: Rendering) -> bool:
        return library.loops() is not None and how.affine and how.dtype in self.integers

    def pixels(self, call: Correlation, how: Rendering, out: np.ndarray | None, render: Render) -> Pixels:
        if call.x.itemsize > 8 or not self.finishes(how):
            return super().pixels(call, how, out, render)
        from convcli.engines.native import rows

        return rows.pixels(call, rows.FORMS[self.name], how, out)

    def fused(self, work: Work) -> bool:
        return library.loops() is not None


# The definition, read from left to right


class NumpyDirect(_Rows):
    """Shifted data times their weights, added up: every kernel, stride and dilation, NaN and infinities included."""

    name, error = "direct", 4e-6

    def offers(self, work: Work) -> bool:
        return True

    def row_passes(self, work: Work) -> float:
        return work.filters * work.taps


class TorchDirect(_InTorch):
    """The same in torch."""

    name, error = "direct", 4e-6

    def offers(self, work: Work) -> bool:
        return True

    def cost(self, work: Work) -> float:
        return work.elements * work.filters * work.taps * NANOSECONDS["torch tap"] * work.width

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_torch.sums import direct

        return direct(call)


# Sums that share their parts, or have no error


class NumpyInteger(_Rows):
    """Exact sums of integers, for small integers times a factor."""

    name, error = "integer", 1e-6

    def offers(self, work: Work) -> bool:
        return work.whole > 0

    def row_passes(self, work: Work) -> float:
        return work.taps * work.filters * (0.5 if work.short else 1.0)


class NumpyBox(_Rows):
    """Equal weights: sums of windows that share their parts."""

    name, error = "box", 2e-6

    def offers(self, work: Work) -> bool:
        return work.box and work.taps > 2

    def row_passes(self, work: Work) -> float:
        passes = sum(k.bit_length() - 1 + k.bit_count() for k in work.kernel if k > 1) + 1
        return passes * (0.35 if work.short else 1.0)  # sums of bytes run down the rows


class _Separable(Algorithm):
    """Outer products, one pass along each axis."""

    name, error = "separable", 1e-5

    def offers(self, work: Work) -> bool:
        return work.products > 0 and work.taps > 1

    def row_passes(self, work: Work) -> float:
        return work.products * sum(k + 1 for k in work.kernel if k > 1)

    def keeps_shares(self, weights: np.ndarray) -> bool:
        import numpy as np

        from convcli.kernel.analysis import separable_terms

        first, *others = separable_terms(weights[0, 0]) or [((0.0,),)]  # several cancel each other
        product = reduce(np.multiply.outer, map(np.array, first))
        return not others and np.allclose(product, weights[0, 0], 1e-5, 0)


class NumpySeparable(_Separable, _Rows):
    pass


class TorchSeparable(_Separable, _InTorch):
    def cost(self, work: Work) -> float:
        return work.elements * self.row_passes(work) * NANOSECONDS["torch tap"] * work.width

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_torch.sums import separable

        return separable(call)


# Transforms and torch's kernels: the shape of a block can change a result by its rounding, and they spread NaN.


class _Fft(Algorithm):
    """Overlap-save transforms, tile by tile: large kernels cost hardly more than small ones.

    In float64, but of integers of 8 bits: there float32 errs by at most 2**-12 of a level.
    """

    name, error = "fft", 5e-6
    reproducible = local = False

    def mixes(self, call: Correlation) -> bool:
        return not call.finite or call.weights.dtype != "float32"

    def serves(self, call: Correlation, values: Values) -> bool:
        if call.finite:
            return values.largest <= EXACT_LEVELS
        return values.finite and values.spread <= SPREAD[call.weights.dtype.name]

    def offers(self, work: Work) -> bool:
        return work.dense and work.taps > 1

    def cost(self, work: Work) -> float:
        tile = fft_tile(work.extents, work.needed)
        tiles = prod(ceil(n / self.tile(work, axis)) for axis, n in enumerate(work.sizes))
        transformed = [t for t, extent in zip(tile, work.extents, strict=True) if extent > 1]
        each = prod(tile) * log2(max(prod(transformed), 2)) * NANOSECONDS[f"{self.engine} fft"]
        each *= LINES[self.engine] if len(transformed) == 1 else 1.0
        products = prod(tile) * work.filters * 4 * NANOSECONDS["pass"]  # complex numbers
        wide = 1.0 if work.bytes else WIDE_TRANSFORMS[self.engine]
        whole = each * (work.inputs + work.outputs) / 2 + products
        spectra = each * work.filters * 2
        return spectra + tiles * (whole * wide + NANOSECONDS["begin tile"]) * work.items

    def scratch(self, work: Work) -> int:
        spectrum = prod(fft_tile(work.extents, work.needed)) * (8 if work.bytes else 16) // 2
        return spectrum * 3 * (work.filters + work.inputs + 1)  # each on its way, and products

    def tile(self, work: Work, axis: int) -> int:
        return fft_tile(work.extents, work.needed)[axis] - work.extents[axis] + 1


class NumpyFft(_Fft, _InNumpy):
    def run(self, call: Correlation) -> Array:
        from convcli.engines.fft import by_numpy

        return by_numpy(call)


class TorchFft(_Fft, _InTorch):
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

    def scratch(self, work: Work) -> int:
        return NATIVE_TILE * 4  # data, result and a half of the sum, in torch's layouts

    def run(self, call: Correlation) -> Array:
        from convcli.engines.on_torch.sums import by_kernels

        return by_kernels(call)


# The first of each engine does everything; of equal costs the first counts.
ALGORITHMS: dict[EngineName, tuple[Algorithm, ...]] = {
    EngineName.NUMPY: (NumpyDirect(), NumpyInteger(), NumpyBox(), NumpySeparable(), NumpyFft()),
    EngineName.TORCH: (TorchDirect(), TorchSeparable(), TorchFft(), TorchNative()),
}


def work_of(call: Correlation) -> Work:
    """Return a call's sizes, for what plans have not seen: a part of a box."""
    from convcli.kernel.analysis import separable_terms

    weights = call.weights
    alone = weights.shape[:2] == (1, 1)
    return Work(
        sizes=call.sizes,
        kernel=weights.shape[2:],
        stride=call.stride,
        dilation=call.dilation,
        inputs=weights.shape[1],
        outputs=len(weights) // call.groups,
        items=len(call.x) * call.groups,
        products=len(separable_terms(weights[0, 0]) or ()) if alone else 0,
        box=alone and bool((weights == weights.flat[0]).all()),
        dtype=weights.dtype.name,
    )


def ways(engine: EngineName, work: Work, reproducible: bool = False) -> list[Algorithm]:
    """Return an engine's algorithms for a piece of work, the cheapest first.

    Parameters
    ----------
    reproducible : bool
        Only those for which the shape of a block cannot change a result by a bit.
    """
    direct, *others = ALGORITHMS[engine]
    if work.elements * work.filters * work.taps * work.width < TINY:
        return [direct]  # nothing is worth more than it, which also rounds as people expect
    offered = [one for one in others if one.reproducible >= reproducible and one.offers(work)]
    return sorted([direct, *offered], key=lambda one: one.cost(work))
