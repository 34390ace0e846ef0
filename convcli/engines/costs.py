"""What the algorithms' steps cost, in nanoseconds of one core: the one table of constants."""

# Nanoseconds on one core, by `benchmarks/calibrate.py`.
NANOSECONDS = {
    "pass": 0.25,  # one array in the cache, read and written: an element
    "new": 0.2,  # a byte of memory that is written for the first time
    "row": 0.6,  # the compiled loops, beside their sums: an element
    "row tap": 0.045,  # a product and a sum of theirs
    "begin tap": 2.5,  # a row of a product and a sum
    "begin rows": 20_000.0,  # a call of theirs
    "numpy tap": 0.58,  # a product and a sum: an element
    "torch tap": 0.48,
    "numpy fft": 0.83,
    "torch fft": 0.4,  # an element of a tile and doubling of its size
    "begin tile": 40_000.0,  # a tile: calls of Python and of the transforms
    "native": 1.3,  # torch's own: an element of a map, for its layouts
    "native tap": 0.03,  # a multiply-add, with many maps
}
# Factors and differences, measured too
LINES = {"numpy": 0.6, "torch": 1.7}  # transforms of lines beside planes
WIDE_TRANSFORMS = {"numpy": 1.4, "torch": 2.0}  # transforms of float64 beside those of float32
VECTOR = 16  # maps that torch's own kernels fill a vector with
TINY = 28_000.0  # products and sums below which nothing is worth more than the direct sum
FEW = 4  # input maps times output maps below which shift and add is faster than torch's kernels
NATIVE_TILE = 1 << 22  # bytes that torch's kernels may rearrange at a time: more is up to twice as slow
