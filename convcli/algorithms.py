"""The algorithms of the engines, and what each of them costs: the planner's one table.

No arrays: sizes in, nanoseconds out.  An algorithm is one function in `convcli.engines` and one row here.

What was tried for dense kernels, in milliseconds for 12 million float32 outputs in the cache on one core:

======================================================  =====  =====  =====  ======  ======
kernel                                                  3x3    5x5    7x7    15x15   31x31
======================================================  =====  =====  =====  ======  ======
Toeplitz by `F.conv2d`, 16 neighbours along the row     12     19     28     79      226
the same, 8 neighbours / 32                             12/18  22/29  33/45  100/98  341/264
Toeplitz by rows, one product a group, 8 rows / 16      11/11  19/22  27/31  72/79   216/276
all groups of rows in one batched product, 8 rows       6      11     18     56
overlap-save FFT, tiles of 512                                                       43
======================================================  =====  =====  =====  ======  ======

Kept: batched products and the transform.  Products over rows also read any width, and interleaved pixels, where
they lie, and write where the result belongs; `F.conv2d` does so only along a row whose length its band divides.
Vertical passes of separable kernels are the same products; horizontal ones by `F.conv2d` take 6 (3 taps) to 14
milliseconds (65 taps).  Boxes: shared partial sums in numpy take as long as a separable pass of Toeplitz matrices;
running sums would need float64 for the rows and are not quicker.  In three dimensions (5x5x5) `F.conv3d` with
a band took 247, bands along the slowest axis as input channels 240, sums of two-dimensional products 330 for 33
million outputs, torch's own 890.  Kernels of 8 bits in integer arithmetic would be quicker still, but few kernels
have 8 bits.  Beside the algorithm, conversion to float, rounding, limits and conversion to bytes take 6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, log2, prod


class Algorithm(StrEnum):
    DIRECT = "direct"
    BOX = "box"
    WHOLE = "whole"
    SEPARABLE = "separable"
    TOEPLITZ = "toeplitz"
    BANDS = "separable toeplitz"
    FFT = "fft"
    NATIVE = "native"


@dataclass(frozen=True)
class Work:
    """A correlation in numbers, one for each axis that it slides along.

    Attributes
    ----------
    sizes : tuple of int
        Of the output.
    kernel, stride, dilation : tuple of int
    inputs, outputs : int
        Maps that are summed, and that come of them.
    items : int
        Planes, volumes or signals that are filtered alike.
    terms : int
        Outer products of vectors whose sum is the kernel, of the only one; 0 for several, or too many terms.
    even : bool
        Whether there is one kernel, and all its weights are equal: a box.
    bytes : bool
        Whether the data are integers of 8 bits.
    whole : int
        Operations for an element in whole numbers; 0 where data or kernel are none, or too large.
    dtype : str
        ``float32`` or ``float64``.
    """

    sizes: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    inputs: int = 1
    outputs: int = 1
    items: int = 1
    terms: int = 0
    even: bool = False
    bytes: bool = False
    whole: int = 0
    dtype: str = "float32"

    @property
    def taps(self) -> int:
        return prod(self.kernel)

    @property
    def filters(self) -> int:
        """Kernels with one input and one output each."""
        return self.inputs * self.outputs

    @property
    def elements(self) -> int:
        """Outputs of one map."""
        return prod(self.sizes) * self.items

    @property
    def extents(self) -> tuple[int, ...]:
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def needed(self) -> tuple[int, ...]:
        """Sizes of the input, with its padding."""
        windows = zip(self.sizes, self.stride, self.extents, strict=True)
        return tuple((n - 1) * s + extent for n, s, extent in windows)

    @property
    def dense(self) -> bool:
        """Whether neighbours give neighbours: stride 1 everywhere."""
        return set(self.stride) <= {1}

    @property
    def width(self) -> float:
        return 2.0 if self.dtype == "float64" else 1.0


# Nanoseconds on one core, by `benchmarks/calibrate.py` on 2026-11-21: an Intel Xeon with AVX-512 and 2 cores, idle;
# numpy 2.4 with OpenBLAS, torch 2.13 with MKL.  The mean of two runs, "pass" between a block's and a strip's; then
# "numpy column", "numpy fft" and "product" were made larger after the calibration half of `benchmarks/plan_grid.py`.
NANOSECONDS = {
    "pass": 0.2,  # one array in the cache, read and written: an element
    "numpy tap": 0.36,  # a product and a sum: an element
    "numpy fold": 0.3,  # a sum of two partial sums: an element
    "numpy whole": 0.11,  # an operation on 16-bit integers: an element
    "running sum": 2,  # of integers: an element
    "torch tap": 0.22,
    "numpy column": 0.25,  # a matrix product added to its result: an element
    "numpy column tap": 0.0185,  # an element and row of the Toeplitz matrix
    "torch column": 0.28,
    "torch column tap": 0.0078,
    "product": 8000.0,  # to begin one
    "square": 1.75,  # a Toeplitz matrix along the fastest axis, by numpy: an element
    "square tap": 0.0137,  # an element and column of its squares
    "line": 0.76,  # the same by torch
    "line tap": 0.0107,
    "numpy fft": 0.75,
    "torch fft": 0.28,  # an element of a tile and doubling of its size
    "native": 1.3,  # torch's own: an element of a map, for its layouts
    "native tap": 0.019,  # a multiply-add, with many maps
}
IMPORT_TORCH = 1.0  # seconds: `python -X importtime -c "import torch"`
BEGIN_TORCH = (
    250e-6  # seconds that torch's jobs take longer than numpy's when both are loaded (`plan_grid.py`)
)
BLOCK = 300e-6  # seconds that Python needs for a block

SQUARE = 16  # the same for numpy, at least: less leaves its BLAS no room (measured)
LINE = 16  # neighbours along the fastest axis that one Toeplitz matrix gives (8 and 32 are slower, measured)


def toeplitz_rows(extent: int, columns: int) -> int:
    """Return how many neighbouring outputs one Toeplitz matrix gives: few, for most of it is zeros (measured)."""
    return 16 if columns == 1 and extent > 40 else 8


def fft_tile(extents: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the tile of an overlap-save transform of inputs of these sizes.

    Powers of two, about four times the kernel (measured); one tile for data that are not much larger.

    >>> fft_tile((31, 31), (3030, 4030)), fft_tile((255, 255), (3254, 290)), fft_tile((1, 101), (9, 9000))
    ((512, 512), (1024, 300), (9, 4096))
    """
    least = {0: 1, 1: 4096, 2: 512}.get(sum(extent > 1 for extent in extents), 64)
    tile = []
    for extent, n in zip(extents, sizes, strict=True):
        if extent == 1:  # not transformed
            tile.append(min(n, 64))
        else:
            usual = max(least, 1 << (4 * extent - 5).bit_length())
            tile.append(usual if 2 * n > 3 * usual else smooth(n))
    return tuple(tile)


def smooth(n: int) -> int:
    """Return the smallest number from ``n`` on without prime factors above 5: transforms of such sizes are quick.

    >>> [smooth(n) for n in (7, 31, 97, 511)]
    [8, 32, 100, 512]
    """
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 1


def _numpy_direct(work: Work) -> float:
    return work.elements * work.filters * work.taps * NANOSECONDS["numpy tap"] * work.width


def _numpy_separable(work: Work) -> float:
    each = sum(k * NANOSECONDS["numpy tap"] + NANOSECONDS["pass"] for k in work.kernel if k > 1)
    return work.elements * work.terms * each * work.width


def _numpy_box(work: Work) -> float:
    folds = [k.bit_length() - 1 + k.bit_count() for k in work.kernel if k > 1]
    if not work.bytes:
        return work.elements * (sum(folds) + 1) * NANOSECONDS["numpy fold"] * work.width
    *slow, fast = [0, *folds]  # the fastest axis in 16 bits
    running = NANOSECONDS["running sum"]
    others = sum(min(fold * NANOSECONDS["numpy fold"], running) for fold in slow)
    return work.elements * (fast * NANOSECONDS["numpy whole"] + others + NANOSECONDS["pass"])


def _numpy_whole(work: Work) -> float:
    one = work.whole * NANOSECONDS["numpy whole"] + 1.5 * NANOSECONDS["pass"]
    return work.elements * one


def _torch_direct(work: Work) -> float:
    return work.elements * work.filters * work.taps * NANOSECONDS["torch tap"] * work.width


def _column(work: Work, axis: int, columns: int, name: str) -> float:
    """A Toeplitz matrix over rows, for an element and a column of the kernel."""
    extent = work.extents[axis]
    rows = toeplitz_rows(extent, columns)
    return (NANOSECONDS[name] + NANOSECONDS[f"{name} tap"] * (rows + extent)) * work.width


def _torch_along(work: Work, axis: int, columns: int) -> float:
    if axis < len(work.kernel) - 1:
        return _column(work, axis, columns, "torch column")
    wide = 2.2 * work.width if work.width > 1 else 1.0  # there torch has no quick convolution
    return (NANOSECONDS["line"] + NANOSECONDS["line tap"] * (LINE + work.extents[axis])) * wide


def _numpy_along(work: Work, axis: int, columns: int) -> float:
    if axis < len(work.kernel) - 1:
        return _column(work, axis, columns, "numpy column")
    squares = 2 * max(SQUARE, work.extents[axis] - 1)
    return (NANOSECONDS["square"] + NANOSECONDS["square tap"] * squares) * work.width


def _bands(work: Work, along: Callable[[Work, int, int], float]) -> float:
    each = sum(along(work, axis, 1) for axis, k in enumerate(work.kernel) if k > 1)
    return work.elements * work.terms * each


def _toeplitz(work: Work, along: Callable[[Work, int, int], float]) -> float:
    last = len(work.kernel) - 1
    axis = max((index for index, k in enumerate(work.kernel[:-1]) if k > 1), default=last)
    columns = work.taps // work.kernel[axis]
    products = (
        work.items * work.filters * columns
    )  # one for each column, and for each place along walked axes
    products *= prod(n for index, n in enumerate(work.sizes[:-1]) if index != axis)
    each = work.elements * work.filters * columns * along(work, axis, columns)
    return each + products * NANOSECONDS["product"]


def _numpy_bands(work: Work) -> float:
    return _bands(work, _numpy_along)


def _numpy_toeplitz(work: Work) -> float:
    return _toeplitz(work, _numpy_along)


def _torch_bands(work: Work) -> float:
    return _bands(work, _torch_along)


def _torch_toeplitz(work: Work) -> float:
    fused = work.bytes and len(work.kernel) == 2 and work.kernel[0] > 1  # in the cache all the way
    saved = 6 * NANOSECONDS["pass"] if fused else 0.0
    return _toeplitz(work, _torch_along) - work.elements * saved


def _fft(work: Work, nanoseconds: float) -> float:
    tile = fft_tile(work.extents, work.needed)
    tiles = prod(ceil(n / (t - e + 1)) for n, t, e in zip(work.sizes, tile, work.extents, strict=True))
    transformed = prod(t for t, e in zip(tile, work.extents, strict=True) if e > 1)
    transforms = (work.inputs + work.outputs) / 2
    each = prod(tile) * log2(max(transformed, 2)) * nanoseconds
    return tiles * each * transforms * work.items * work.width


def _numpy_fft(work: Work) -> float:
    return _fft(work, NANOSECONDS["numpy fft"])


def _torch_fft(work: Work) -> float:
    lines = 2.0 if sum(extent > 1 for extent in work.extents) == 1 else 1.0  # too short to be quick
    return _fft(work, NANOSECONDS["torch fft"]) * lines


def _torch_native(work: Work) -> float:
    few = 16 / min(work.inputs, work.outputs, 16)  # it fills its vectors with maps
    each = work.taps * work.filters * NANOSECONDS["native tap"] * few
    return work.elements * (each + (work.inputs + work.outputs) * NANOSECONDS["native"]) * work.width**2


def _always(_: Work) -> bool:
    return True


def _dense(work: Work) -> bool:
    return work.dense and work.taps > 1


def _one_dense(work: Work) -> bool:
    return work.terms > 0 and work.dense and work.taps > 1


def _short_sums(work: Work) -> bool:
    return work.dense and sum(work.kernel) * work.inputs <= 256 and max(work.extents) <= 512


@dataclass(frozen=True)
class Row:
    """One algorithm of one engine.

    Attributes
    ----------
    offers : callable
        Whether it can do a piece of work within its error.
    nanoseconds : callable
        What that costs on one core.
    error : float
        Its bound in float32, of the kernel's absolute sum times the input's range.
    steady : bool
        Whether the shape of a block cannot change a result by a bit.
    """

    engine: str
    algorithm: Algorithm
    offers: Callable[[Work], bool]
    nanoseconds: Callable[[Work], float]
    error: float
    steady: bool = True


# The order counts for equal costs.  What depends on how a library groups its sums is not steady, and not offered
# where numpy was asked for: there a block's shape must not change a bit.
TABLE = (
    Row("numpy", Algorithm.DIRECT, _always, _numpy_direct, 4e-6),
    Row("numpy", Algorithm.WHOLE, lambda work: work.whole > 0, _numpy_whole, 1e-6),
    Row("numpy", Algorithm.BOX, lambda work: work.even and work.taps > 2, _numpy_box, 2e-6),
    Row("numpy", Algorithm.SEPARABLE, lambda work: work.terms > 0 and work.taps > 1, _numpy_separable, 1e-5),
    Row("numpy", Algorithm.BANDS, _one_dense, _numpy_bands, 1e-5, steady=False),
    Row("numpy", Algorithm.TOEPLITZ, _short_sums, _numpy_toeplitz, 1e-5, steady=False),
    Row("numpy", Algorithm.FFT, _dense, _numpy_fft, 5e-6, steady=False),
    Row("torch", Algorithm.DIRECT, _always, _torch_direct, 4e-6),
    Row("torch", Algorithm.BANDS, _one_dense, _torch_bands, 1e-5, steady=False),
    Row("torch", Algorithm.TOEPLITZ, _short_sums, _torch_toeplitz, 1e-5, steady=False),
    Row("torch", Algorithm.FFT, _dense, _torch_fft, 5e-6, steady=False),
    Row("torch", Algorithm.NATIVE, lambda work: work.filters >= 4, _torch_native, 1e-5, steady=False),
)


def rows(engine: str, work: Work, steady: bool = False) -> list[tuple[float, Row]]:
    """Return an engine's algorithms for a piece of work with their seconds on one core, the cheapest first."""
    found = [
        (row.nanoseconds(work) * 1e-9, row)
        for row in TABLE
        if row.engine == engine and row.offers(work) and row.steady >= steady
    ]
    return sorted(found, key=lambda pair: pair[0])
