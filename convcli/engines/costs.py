"""What the algorithms' steps cost, in nanoseconds of one core: the one table of constants.

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

# Nanoseconds on one core, by `benchmarks/calibrate.py` on 2026-11-21: an Intel Xeon with AVX-512 and 2 cores, idle;
# numpy 2.4 with OpenBLAS, torch 2.13 with MKL.  The mean of two runs, "pass" between a block's and a strip's; then
# "pass", "torch tap", "line", "line tap", "numpy column", "torch column tap", "numpy fft" and "product" were made
# larger, and "bytes column", the "begin …" and "loop" added, after the calibration half of `benchmarks/plan_grid.py`:
# each in the middle of where no other value makes more of its choices right.
NANOSECONDS = {
    "pass": 0.25,  # one array in the cache, read and written: an element
    "numpy tap": 0.36,  # a product and a sum: an element
    "numpy sum": 0.3,  # a sum of two partial sums: an element
    "numpy integer": 0.11,  # an operation on 16-bit integers: an element
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
    "begin integer": 12_000.0,  # an operation on 16-bit integers
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
# Factors and differences, measured too
WIDE_LINES = 2.2  # a line of float64 beside one of float32, in all: torch has no fast convolution for them
LINES = {"numpy": 2.0, "torch": 4.0}  # transforms of lines beside planes: too short to be fast
VECTOR = 16  # maps that torch's own kernels fill a vector with
INTEGER_PASSES = 1.5  # of integer sums, to floats and times their factor
PASSES_SAVED = 6  # of `convcli.plan.choose.PASSES`, where bytes become bytes without floats, or in one loop
TINY = 10_000.0  # nanoseconds of products and sums below which nothing is worth more than the direct sum
FEW = 4  # input maps times output maps below which shift and add is faster than torch's kernels
