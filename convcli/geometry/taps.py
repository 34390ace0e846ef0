"""Which input stands under which tap of a window, for one output at a time.

The windows say where a tap looks and the padding mode what stands there; here the two answers meet, as data
for those who show the arithmetic (`matrix`, `explain`).  The standard library alone; no weights, no values.
"""

from collections.abc import Sequence
from itertools import product
from math import prod

from convcli.common import frozen
from convcli.geometry.padding import PadMode, Sources
from convcli.geometry.windows import TransposedWindow, Window

PlaceSources = tuple[tuple[tuple[int, ...], int], ...]
"""Elements, one index an axis, and their integer weights: what stands at a place is the sum of the products."""


@frozen
class Tap:
    """One tap of a window on one output.

    Attributes
    ----------
    index
        Which tap, one number an axis.
    position
        Where it looks, in elements of the unpadded input; it may lie outside.
    sources
        The elements that stand there, with their weights; none is the fill value of zero and constant padding.
    """

    index: tuple[int, ...]
    position: tuple[int, ...]
    sources: PlaceSources

    @property
    def source(self) -> tuple[int, ...] | None:
        """The element whose value stands there, if it is the value of one."""
        return self.sources[0][0] if [weight for _, weight in self.sources] == [1] else None

    @property
    def padded(self) -> bool:
        """Whether it looks at padding."""
        return self.position != self.source

    @property
    def facts(self) -> dict[str, object]:
        """The tap for a program."""
        place = {"tap": self.index, "position": self.position, "source": self.source}
        return {**place, "sources": self.sources, "padding": self.padded}


def axis_taps(
    window: Window | TransposedWindow, output: int, n: int, mode: PadMode = PadMode.ZERO
) -> list[tuple[int, int, Sources]]:
    """Return (tap, position, sources) for an output along one axis of ``n`` inputs.

    A convolution's output has all taps.  A transposed one has those with which an input reaches it: none
    falls outside, and there may be none at all.

    >>> axis_taps(Window(3, before=1), 0, 5, PadMode.REPLICATE)
    [(0, -1, ((0, 1),)), (1, 0, ((0, 1),)), (2, 1, ((1, 1),))]
    >>> axis_taps(TransposedWindow(3, stride=2), 2, 4)  # input 0 with its last tap, input 1 with its first
    [(0, 1, ((1, 1),)), (2, 0, ((0, 1),))]
    """
    if isinstance(window, Window):
        places = ((tap, window.origin_index(output, tap)) for tap in range(window.kernel))
        return [(tap, place, mode.sources(place, n)) for tap, place in places]
    full = output + window.before
    reached = (
        (tap, (full - window.dilation * tap) // window.stride)
        for tap in range(window.kernel)
        if (full - window.dilation * tap) % window.stride == 0
    )
    return [(tap, place, ((place, 1),)) for tap, place in reached if 0 <= place < n]


def taps(
    windows: Sequence[Window | TransposedWindow],
    output: Sequence[int],
    sizes: Sequence[int],
    mode: PadMode = PadMode.ZERO,
) -> list[Tap]:
    """Return every tap on one output, the last axis fastest.

    Parameters
    ----------
    windows : sequence
        One for each axis.
    output : sequence of int
        Which output, one index an axis.
    sizes : sequence of int
        Of the input.
    """
    axes = [axis_taps(w, o, n, mode) for w, o, n in zip(windows, output, sizes, strict=True)]
    return [
        Tap(
            tuple(tap for tap, _, _ in combined),
            tuple(place for _, place, _ in combined),
            over_axes([sources for _, _, sources in combined]),
        )
        for combined in product(*axes)
    ]


def over_axes(axes: Sequence[Sources]) -> PlaceSources:
    """Return the elements that stand at a place, and their weights, from those along each axis.

    >>> over_axes([((3, 1),), ((2, -1), (0, 2))])
    (((3, 2), -1), ((3, 0), 2))
    """
    return tuple(
        (tuple(place for place, _ in terms), prod(weight for _, weight in terms)) for terms in product(*axes)
    )
