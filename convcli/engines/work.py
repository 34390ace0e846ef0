"""A correlation in numbers, for the planner, and the tiles in which the engines' algorithms do such work.

No arrays, no algorithm by name: sizes in, sizes out.
"""

from collections.abc import Sequence
from math import ceil, prod

from convcli.common import frozen


@frozen
class Work:
    """A correlation in numbers, one for each axis that it slides along.

    Attributes
    ----------
    sizes : tuple of int
        Of the output.
    kernel, stride, dilation : tuple of int
    inputs, outputs : int
        Maps that are summed, and that result.
    items : int
        Planes, volumes or signals that are filtered alike.
    products : int
        Outer products of vectors whose sum is the only kernel; 0 for several kernels, or where too many are needed.
    box : bool
        Whether there is one kernel, and all its weights are equal.
    whole : int
        The largest sum of absolute integers of a kernel; 0 where data or weights are not small integers.
    short : bool
        Whether sums of them fit 16 bits.
    bytes : bool
        Whether the data are integers of 8 bits.
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
    products: int = 0
    box: bool = False
    whole: int = 0
    short: bool = False
    bytes: bool = False
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
    def bytes_made(self) -> int:
        """Bytes of the result's floats."""
        return self.elements * self.outputs * 4 * int(self.width)

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


def fft_tile(extents: Sequence[int], sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the tile of an overlap-save transform of inputs of these sizes.

    A power of two, about four times the kernel (measured).  Data that are not much larger get one tile of their own
    size; others get a smaller one, where as many of it still cover them and are shorter by a quarter.

    >>> fft_tile((31, 31), (3030, 1054)), fft_tile((255, 255), (3254, 290)), fft_tile((1, 101), (9, 9000))
    ((512, 384), (1024, 320), (9, 3072))
    """
    least = {0: 1, 1: 4096, 2: 512}.get(sum(extent > 1 for extent in extents), 64)
    tile = []
    for extent, n in zip(extents, sizes, strict=True):
        if extent == 1:  # not transformed
            tile.append(min(n, 64))
        else:
            usual = max(least, 1 << (4 * extent - 5).bit_length())
            outputs = n - extent + 1
            tiles = ceil(outputs / (usual - extent + 1)) if 2 * n > 3 * usual else 1
            enough = smooth(ceil(outputs / tiles) + extent - 1)
            tile.append(enough if tiles == 1 or 4 * enough <= 3 * usual else usual)
    return tuple(tile)


def smooth(n: int) -> int:
    """Return the smallest multiple of 8 from ``n`` on without prime factors above 5: their transforms are quick.

    Torch takes a third longer for an element of 500, 486 or 450 than of 480 or 512 (measured).

    >>> [smooth(n) for n in (7, 31, 97, 490)]
    [8, 32, 120, 512]
    """
    n = ceil(n / 8) * 8
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 8
