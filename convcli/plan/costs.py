"""What the algorithms cost, in nanoseconds of one core: the planner's one table of constants.

No arrays and nothing tried out: sizes in, nanoseconds out.

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
milliseconds (65 taps).  Boxes of floats: shared partial sums in numpy take as long as a separable pass of Toeplitz
matrices; running sums would need float64 for the rows and are not quicker.  Boxes of bytes, 31x31: running sums in
numpy 40, in torch's compiled loop 17 to 20, of which doubling the sums along the rows is half.
In three dimensions (5x5x5) `F.conv3d` with
a band took 247, bands along the slowest axis as input channels 240, sums of two-dimensional products 330 for 33
million outputs, torch's own 890.  Kernels of 8 bits in integer arithmetic would be quicker still, but few kernels
have 8 bits.  Beside the algorithm, conversion to float, rounding, limits and conversion to bytes take 6.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, log2, prod

from convcli.plan.work import LINE, SQUARE, Work, fft_tile, toeplitz_rows

# Nanoseconds on one core, by `benchmarks/calibrate.py` on 2026-11-21: an Intel Xeon with AVX-512 and 2 cores, idle;
# numpy 2.4 with OpenBLAS, torch 2.13 with MKL.  The mean of two runs, "pass" between a block's and a strip's; then
# "pass", "torch tap", "line", "line tap", "numpy column", "torch column tap", "numpy fft" and "product" were made
# larger, and "bytes column", the "begin …" and "loop" added, after the calibration half of `benchmarks/plan_grid.py`:
# each in the middle of where no other value makes more of its choices right.
NANOSECONDS = {
    "pass": 0.25,  # one array in the cache, read and written: an element
    "numpy tap": 0.36,  # a product and a sum: an element
    "numpy fold": 0.3,  # a sum of two partial sums: an element
    "numpy whole": 0.11,  # an operation on 16-bit integers: an element
    "running sum": 2,  # of integers: an element
    "torch tap": 0.3,
    "numpy column": 0.25,  # a matrix product added to its result: an element
    "numpy column tap": 0.0185,  # an element and row of the Toeplitz matrix
    "torch column": 0.28,
    "torch column tap": 0.0085,
    "bytes column": 0.205,  # the same where bytes become bytes, and nothing leaves the cache between
    "bytes box": 1.0,  # running sums of bytes down the rows: an element
    "bytes sum": 0.12,  # a sum of two sums along them
    "product": 8000.0,  # to begin one
    "begin": 60_000.0,  # a pass over a block in Python's hands, beyond the first
    "begin tap": 20_000.0,  # a product and a sum of one
    "begin whole": 12_000.0,  # an operation on 16-bit integers
    "loop": 130_000.0,  # less to begin for torch's compiled loops than for its other jobs
    "square": 1.75,  # a Toeplitz matrix along the fastest axis, by numpy: an element
    "square tap": 0.0137,  # an element and column of its squares
    "line": 1.0,  # the same by torch
    "line tap": 0.0118,
    "numpy fft": 0.83,
    "torch fft": 0.28,  # an element of a tile and doubling of its size
    "native": 1.3,  # torch's own: an element of a map, for its layouts
    "native tap": 0.019,  # a multiply-add, with many maps
}
WIDE_LINES = 2.2  # times as long as for floats of half the width: torch has no quick convolution for them
LINES = {"numpy": 2.0, "torch": 4.0}  # times as long, where transforms are of lines: too short to be quick
VECTOR = 16  # maps that torch's own kernels fill a vector with
WHOLE_PASSES = 1.5  # of whole sums, to floats and times their factor
IMPORT_TORCH = 1.0  # seconds: `python -X importtime -c "import torch"`
# Seconds that torch's jobs take longer than numpy's when both are loaded (`plan_grid.py`)
BEGIN_TORCH = 250e-6
TINY = 10_000.0  # nanoseconds of products and sums
PASSES_SAVED = 6  # of `convcli.plan.choose.PASSES`, where bytes become bytes without floats, or in one loop
BLOCK = 300e-6  # seconds that Python needs for a block


def tiny(work: Work) -> bool:
    """Return whether nothing is worth more than the sum as it is written, which also rounds as people expect."""
    return work.elements * work.filters * work.taps * NANOSECONDS["numpy tap"] * work.width < TINY


def numpy_direct(work: Work) -> float:
    each = work.elements * NANOSECONDS["numpy tap"] * work.width + NANOSECONDS["begin tap"]
    return work.filters * work.taps * each


def numpy_separable(work: Work) -> float:
    each = sum(k * NANOSECONDS["numpy tap"] + NANOSECONDS["pass"] for k in work.kernel if k > 1)
    begun = work.terms * sum(work.kernel) * NANOSECONDS["begin tap"]
    return work.elements * work.terms * each * work.width + begun


def numpy_box(work: Work) -> float:
    folds = [k.bit_length() - 1 + k.bit_count() for k in work.kernel if k > 1]
    if not work.bytes:
        return work.elements * (sum(folds) + 1) * NANOSECONDS["numpy fold"] * work.width
    *slow, fast = [0, *folds]  # the fastest axis in 16 bits
    running = NANOSECONDS["running sum"]
    others = sum(min(fold * NANOSECONDS["numpy fold"], running) for fold in slow)
    return work.elements * (fast * NANOSECONDS["numpy whole"] + others + NANOSECONDS["pass"])


def numpy_whole(work: Work) -> float:
    passes = WHOLE_PASSES - (PASSES_SAVED if work.mean and work.straight else 0)
    begun = max(work.whole * NANOSECONDS["begin whole"] - NANOSECONDS["begin"], 0)
    return work.elements * (work.whole * NANOSECONDS["numpy whole"] + passes * NANOSECONDS["pass"]) + begun


def torch_box(work: Work) -> float:
    sums = work.kernel[1].bit_length() * NANOSECONDS["bytes sum"]
    each = NANOSECONDS["bytes box"] + sums - PASSES_SAVED * NANOSECONDS["pass"]
    return work.elements * each - NANOSECONDS["loop"]


def torch_direct(work: Work) -> float:
    return work.elements * work.filters * work.taps * NANOSECONDS["torch tap"] * work.width


def _column(work: Work, axis: int, columns: int, name: str) -> float:
    """A Toeplitz matrix over rows, for an element and a column of the kernel."""
    extent = work.extents[axis]
    rows = toeplitz_rows(extent, columns)
    return (NANOSECONDS[name] + NANOSECONDS[f"{name} tap"] * (rows + extent)) * work.width


def _torch_along(work: Work, axis: int, columns: int) -> float:
    if axis < len(work.kernel) - 1:
        return _column(work, axis, columns, "torch column")
    wide = WIDE_LINES * work.width if work.width > 1 else 1.0
    return (NANOSECONDS["line"] + NANOSECONDS["line tap"] * (LINE + work.extents[axis])) * wide


def _bytes_along(work: Work, axis: int, columns: int) -> float:
    saved = NANOSECONDS["torch column"] - NANOSECONDS["bytes column"]
    return _column(work, axis, columns, "torch column") - saved


def _numpy_along(work: Work, axis: int, columns: int) -> float:
    if axis < len(work.kernel) - 1:
        return _column(work, axis, columns, "numpy column")
    squares = 2 * max(SQUARE, work.extents[axis] - 1)
    return (NANOSECONDS["square"] + NANOSECONDS["square tap"] * squares) * work.width


def _more_passes(work: Work) -> float:
    """What Python needs for a pass along each axis instead of one."""
    return (work.terms * sum(k > 1 for k in work.kernel) - 1) * NANOSECONDS["begin"]


def _bands(work: Work, along: Callable[[Work, int, int], float]) -> float:
    each = sum(along(work, axis, 1) for axis, k in enumerate(work.kernel) if k > 1)
    # Floats are copied to where they belong; other algorithms write them there.
    copied = 0 if work.bytes else NANOSECONDS["pass"]
    return work.elements * (work.terms * each + copied) + _more_passes(work)


def _toeplitz(work: Work, along: Callable[[Work, int, int], float]) -> float:
    last = len(work.kernel) - 1
    axis = max((index for index, k in enumerate(work.kernel[:-1]) if k > 1), default=last)
    columns = work.taps // work.kernel[axis]
    # One for each column, and for each place along walked axes
    products = work.items * work.filters * columns
    products *= prod(n for index, n in enumerate(work.sizes[:-1]) if index != axis)
    each = work.elements * work.filters * columns * along(work, axis, columns)
    if axis == last:  # along lines they are made elsewhere and copied, as `_bands`'
        each += work.elements * NANOSECONDS["pass"]
    return each + products * NANOSECONDS["product"]


def numpy_bands(work: Work) -> float:
    return _bands(work, _numpy_along)


def numpy_toeplitz(work: Work) -> float:
    return _toeplitz(work, _numpy_along)


def torch_bands(work: Work) -> float:
    return _bands(work, _torch_along)


def torch_toeplitz(work: Work) -> float:
    if work.pictures:
        saved = PASSES_SAVED * work.elements * NANOSECONDS["pass"] + NANOSECONDS["loop"]
        return _toeplitz(work, _bytes_along) - saved
    return _toeplitz(work, _torch_along)


def _fft(work: Work, nanoseconds: float) -> float:
    tile = fft_tile(work.extents, work.needed)
    tiles = prod(ceil(n / (t - e + 1)) for n, t, e in zip(work.sizes, tile, work.extents, strict=True))
    transformed = prod(t for t, e in zip(tile, work.extents, strict=True) if e > 1)
    transforms = (work.inputs + work.outputs) / 2
    each = prod(tile) * log2(max(transformed, 2)) * nanoseconds
    return tiles * each * transforms * work.items


def _lines(work: Work, engine: str) -> float:
    return LINES[engine] if sum(extent > 1 for extent in work.extents) == 1 else 1.0


def numpy_fft(work: Work) -> float:
    return _fft(work, NANOSECONDS["numpy fft"]) * _lines(work, "numpy")  # in float64 as quick (measured)


def torch_fft(work: Work) -> float:
    return _fft(work, NANOSECONDS["torch fft"]) * _lines(work, "torch") * work.width


def torch_native(work: Work) -> float:
    few = VECTOR / min(work.inputs, work.outputs, VECTOR)
    each = work.taps * work.filters * NANOSECONDS["native tap"] * few
    return work.elements * (each + (work.inputs + work.outputs) * NANOSECONDS["native"]) * work.width**2
