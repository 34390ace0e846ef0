"""One window on one axis: a kernel that slides, or is laid down, and which inputs its outputs need.

Names of padding become numbers here, and everything that asks "how large" or "from where" ends here: the
``shape`` command, the halos of boxes and the engines' padding.  Plain integers, no arrays, no files.

Words: a window's *extent* is the span of its taps, dilation included.  Coordinates are those of the unpadded
data: its first element is 0, padding lies below 0 and from ``n`` on.  The formulas are those of Dumoulin and
Visin, "A guide to convolution arithmetic for deep learning" (2016).

The windows say where a tap looks and the padding mode what stands there: in `taps` the two answers meet.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product
from math import gcd, lcm, prod

from convcli.common import UsageError, frozen, in_range
from convcli.geometry.padding import Padding, PaddingName, PadMode, Sources

_FARTHEST = 1 << 40  # samples of a step: times the bytes of a row, it has to stay below 2^63

PlaceSources = tuple[tuple[tuple[int, ...], int], ...]
"""Elements, one index an axis, and their integer weights: what stands at a place is the sum of the products."""


@frozen
class _Spaced:
    """Taps ``dilation`` apart, the places of the kernel ``stride`` apart, and what is added or cut at both ends."""

    kernel: int
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        in_range(self.kernel, "kernel size", 1)
        in_range(self.stride, "stride", 1)
        in_range(self.dilation, "dilation", 1)
        in_range(max(self.stride, self.dilation), "step", 1, _FARTHEST)
        in_range(min(self.before, self.after), "padding", 0)

    @property
    def extent(self) -> int:
        """Span of the taps: dilation * (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def centre(self) -> Fraction:
        """The middle of the window, in elements from its first tap."""
        return Fraction(self.extent - 1, 2)

    @property
    def _described(self) -> str:
        dilated = f" (extent {self.extent} with dilation {self.dilation})" if self.dilation > 1 else ""
        return f"kernel {self.kernel}{dilated}"


@frozen
class Window(_Spaced):
    """A convolution's or a pool's window along one axis, its padding resolved to elements.

    >>> Window(3).output_size(7)
    5
    >>> Window(3, stride=2, before=1, after=1).input_range(0, 2)
    (-1, 4)
    """

    ceil: bool = False

    @property
    def cycle(self) -> tuple[int, int]:
        """After how many outputs the windows repeat, and how many inputs further."""
        return 1, self.stride

    def full_size(self, n: int) -> int:
        """Return the size of the data with its padding."""
        return n + self.before + self.after

    def output_size(self, n: int) -> int:
        """Return how many windows fit on ``n`` elements and their padding.

        With ``ceil`` a last window may hang over the end, so long as it starts on the data or on the padding
        before it (the rule of ONNX and torch).

        Raises
        ------
        UsageError
            When not even one fits.

        >>> Window(3, stride=2).output_size(6), Window(3, stride=2, ceil=True).output_size(6)
        (2, 3)
        """
        spare = n + self.before + self.after - self.extent + (self.stride - 1 if self.ceil else 0)
        size = spare // self.stride + 1
        if self.ceil and (size - 1) * self.stride >= n + self.before:
            size -= 1
        if size < 1:
            raise UsageError(
                f"{self._described} is larger than the input {n} with padding {self.before}:{self.after}: "
                f"{max(-spare, 1)} more needed"
            )
        return size

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """Return the inputs ``lo:hi`` that the outputs ``start:stop`` look at, padding included.

        ``lo`` may be negative and ``hi`` more than the data is long: what lies outside is padding (or, with
        ``ceil``, the part of the last window that hangs over even that).  No outputs: ``lo == hi``.
        """
        lo = start * self.stride - self.before
        return lo, (lo + (stop - start - 1) * self.stride + self.extent if stop > start else lo)

    def places(self, tap: int | Fraction) -> tuple[Fraction, Fraction]:
        """Return where among the inputs the outputs lie: the place of the first one, and the step to the next.

        ``tap`` is the point of the window that an output lies at, in elements from the window's first tap:
        `centre`, or ``dilation * origin``.

        >>> [*map(str, Window(4, stride=2, before=1).places(Fraction(3, 2)))]
        ['1/2', '2']
        """
        return Fraction(tap) - self.before, Fraction(self.stride)

    def unused(self, n: int) -> int:
        """Return how many of the ``n`` inputs, counted from the end, no window reaches.

        >>> Window(3, stride=3).unused(5)
        2
        """
        _, reached = self.input_range(0, self.output_size(n))
        return min(max(n - reached, 0), n)

    def origin_index(self, output: int, origin: int) -> int:
        """Return the input position under tap ``origin`` of the window that makes ``output``."""
        return output * self.stride - self.before + self.dilation * origin


@frozen
class TransposedWindow(_Spaced):
    """A transposed convolution's window along one axis: each input lays the kernel down, ``stride`` apart.

    ``before`` and ``after`` crop the full result; ``output_padding`` lengthens its end again: first it gives
    cropped elements back, then it adds zeros.

    >>> TransposedWindow(3).output_size(3), TransposedWindow(3, stride=2, before=1, after=1).output_size(4)
    (5, 7)
    """

    output_padding: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range(self.output_padding, "output padding", 0)

    @property
    def cycle(self) -> tuple[int, int]:
        """As in `Window.cycle`."""
        return self.stride, 1

    def full_size(self, n: int) -> int:
        """Return the size before cropping: (n - 1) * stride + extent."""
        return (n - 1) * self.stride + self.extent

    def output_size(self, n: int) -> int:
        """Return the size after cropping and output padding.

        Raises
        ------
        UsageError
            When the cropping leaves nothing.
        """
        size = self.full_size(n) - self.before - self.after + self.output_padding
        if size < 1:
            raise UsageError(
                f"padding {self.before}:{self.after} crops all of the transposed output {self.full_size(n)} "
                f"({self._described} on the input {n}): {1 - size} too many"
            )
        return size

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """Return the inputs ``lo:hi`` whose kernels reach the outputs ``start:stop``.

        ``lo`` may be negative and ``hi`` more than the input is long: there is nothing there to add.  Between
        kernels that do not touch (a stride larger than the extent) no input reaches, and ``lo == hi``.

        >>> TransposedWindow(3, stride=2).input_range(2, 3)  # the end of kernel 0, the beginning of kernel 1
        (0, 2)
        """
        first, last = start + self.before, stop - 1 + self.before
        lo = -((self.extent - 1 - first) // self.stride)
        return lo, (last // self.stride + 1 if stop > start else lo)

    def places(self, tap: int | Fraction) -> tuple[Fraction, Fraction]:
        """Return where among the inputs the outputs lie, as in `Window.places`; outputs can lie between inputs.

        >>> [*map(str, TransposedWindow(3, stride=2, before=1).places(1))]
        ['0', '1/2']
        """
        return (self.before - Fraction(tap)) / self.stride, Fraction(1, self.stride)

    def unused(self, n: int) -> int:
        """Return how many of the ``n`` inputs, counted from the end, touch only what is cropped."""
        _, reached = self.input_range(0, self.output_size(n))
        return min(max(n - reached, 0), n)

    def origin_index(self, output: int, origin: int) -> int:
        """Return the last input whose tap ``origin`` lies at or before ``output``."""
        return (output + self.before - self.dilation * origin) // self.stride


@frozen
class AdaptiveWindow:
    """The windows of an adaptive pool along one axis: ``outputs`` of them, as even as the input's ``size`` allows.

    Window ``o`` goes from floor(o n / outputs) to ceil((o + 1) n / outputs), as in torch.

    >>> [AdaptiveWindow(7, 3).input_range(o, o + 1) for o in range(3)]
    [(0, 3), (2, 5), (4, 7)]
    """

    size: int
    outputs: int

    def __post_init__(self) -> None:
        in_range(self.outputs, "adaptive size", 1)

    before = after = 0  # not annotated, so no fields
    stride = dilation = 1

    @property
    def kernel(self) -> int:
        """The widest window."""
        return max(
            hi - lo for lo, hi in (self.input_range(o, o + 1) for o in range(min(self.outputs, PHASES)))
        )

    @property
    def cycle(self) -> tuple[int, int]:
        return self.outputs // gcd(self.size, self.outputs), self.size // gcd(self.size, self.outputs)

    @property
    def centre(self) -> Fraction:
        return (Fraction(self.size, self.outputs) - 1) / 2

    def full_size(self, n: int) -> int:
        return n

    def output_size(self, n: int) -> int:
        return self.outputs

    def input_range(self, start: int, stop: int) -> tuple[int, int]:
        """Return the inputs ``lo:hi`` that the outputs ``start:stop`` look at."""
        return start * self.size // self.outputs, -(-stop * self.size // self.outputs)

    def places(self, tap: int | Fraction) -> tuple[Fraction, Fraction]:
        return Fraction(tap), Fraction(self.size, self.outputs)

    def unused(self, n: int) -> int:
        return 0


def _resolved_origin(kernel: int, origin: int | None) -> int:
    if origin is None:
        return (kernel - 1) // 2
    if not 0 <= origin < kernel:
        raise UsageError(f"origin {origin} lies outside a kernel of {kernel}: use 0 to {kernel - 1}")
    return origin


def window(
    n: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: Padding = (0, 0),
    dilation: int = 1,
    origin: int | None = None,
    ceil: bool = False,
) -> Window:
    """Return the window for ``n`` elements with its padding worked out.

    For a kernel of k taps, dilation d, stride s, extent d * (k - 1) + 1:

    ============  =====================================================================================
    valid         none
    full          d * (k - 1) on both sides: every window that touches the data
    same          d * origin before, the rest of d * (k - 1) after, whatever the stride: ceil(n / s) outputs
    same-lower    ONNX and TensorFlow: as little as gives ceil(n / s) outputs; an odd one goes before
    same-upper    the same, an odd one goes after
    tail          d * (k - 1) after
    ============  =====================================================================================

    ``origin`` is the tap that sits on the output's own position, by default (k - 1) // 2.

    >>> window(7, 4, padding=PaddingName.SAME)
    Window(kernel=4, stride=1, dilation=1, before=1, after=2, ceil=False)
    >>> window(6, 3, stride=2, padding=PaddingName.SAME_UPPER)
    Window(kernel=3, stride=2, dilation=1, before=0, after=1, ceil=False)
    """
    origin = _resolved_origin(kernel, origin)
    plain = Window(kernel, stride, dilation, ceil=ceil)  # checks the numbers before they are used
    reach = plain.extent - 1
    match padding:
        case PaddingName.VALID:
            before, after = 0, 0
        case PaddingName.FULL:
            before, after = reach, reach
        case PaddingName.SAME:
            before, after = dilation * origin, reach - dilation * origin
        case PaddingName.TAIL:
            before, after = 0, reach
        case PaddingName.SAME_LOWER | PaddingName.SAME_UPPER:
            outputs = -(-n // stride)
            before, after = _halves(max((outputs - 1) * stride + plain.extent - n, 0), padding)
        case (before, after):
            pass
    return Window(kernel, stride, dilation, before, after, ceil)


def transposed_window(
    n: int,
    kernel: int,
    *,
    stride: int = 1,
    padding: Padding = (0, 0),
    dilation: int = 1,
    output_padding: int = 0,
    origin: int | None = None,
) -> TransposedWindow:
    """Return the transposed window for ``n`` elements with its cropping worked out.

    ``valid`` crops nothing.  ``same`` puts the origin of input i on output i * stride and keeps n * stride
    outputs.  ``same-lower`` and ``same-upper`` keep n * stride outputs as ONNX's ConvTranspose does: the crop
    is halved, an odd one goes before or after.  ``full`` and ``tail`` are refused: they only add.

    >>> transposed_window(4, 3, stride=2, padding=PaddingName.SAME).output_size(4)
    8
    """
    origin = _resolved_origin(kernel, origin)
    plain = TransposedWindow(kernel, stride, dilation, output_padding=output_padding)
    reach = plain.extent - 1
    match padding:
        case PaddingName.VALID:
            before, after = 0, 0
        case PaddingName.SAME:
            if output_padding:
                raise UsageError(
                    f"output padding {output_padding} cannot be combined with padding same, "
                    f"which keeps input times stride ({n * stride}): leave one of them out"
                )
            before, after, output_padding = dilation * origin, reach - dilation * origin, stride - 1
        case PaddingName.SAME_LOWER | PaddingName.SAME_UPPER:
            surplus = plain.output_size(n) - n * stride
            before, after = _halves(max(surplus, 0), padding)
            output_padding += max(-surplus, 0)
        case PaddingName.FULL | PaddingName.TAIL:
            raise UsageError(
                f"padding {padding} has no meaning for a transposed convolution, where padding crops: "
                "use valid, same, same-lower, same-upper or numbers"
            )
        case (before, after):
            pass
    return TransposedWindow(kernel, stride, dilation, before, after, output_padding)


def _halves(total: int, padding: PaddingName) -> tuple[int, int]:
    small = total // 2
    return (small, total - small) if padding is PaddingName.SAME_UPPER else (total - small, small)


PHASES = 4096  # outputs whose fields are told apart, enough for transposed strides of up to this in all


@frozen
class Field:
    """The part of the first input that an output of a chain of windows sees: its receptive field.

    The centre of the field of output ``o`` is ``start + o * jump`` (first input element = 0).  After
    transposed windows both can be fractions, neighbouring outputs see differently many inputs, and that line
    misses their centres by less than half the jump before each transposed window.  What outputs see repeats:
    ``ranges`` has the first of them, and each round of so many lies ``step`` inputs further.  Formulas: Araujo, Norris
    and Sim, "Computing receptive fields of convolutional neural networks", Distill (2019).

    >>> field = Field().through(Window(3, stride=2, before=1, after=1)).through(Window(3))
    >>> field.size, int(field.jump), int(field.start)
    (7, 2, 2)
    """

    ranges: tuple[tuple[int, int], ...] = ((0, 1),)
    step: int = 1
    jump: Fraction = Fraction(1)
    start: Fraction = Fraction(0)

    def through(self, window: "Window | TransposedWindow | AdaptiveWindow") -> "Field":
        """Return the field behind one more window, at a cost that does not depend on those before it."""
        outputs, inputs = window.cycle
        period = min(outputs * len(self.ranges) // gcd(len(self.ranges), inputs), PHASES)
        ranges, count = [], len(self.ranges)
        seen = [phase for phase, (lo, hi) in enumerate(self.ranges) if lo < hi]
        seen = [*(phase - count for phase in seen[-1:]), *seen, *(phase + count for phase in seen[:1])]
        for output in range(period + 1):
            first, stop = window.input_range(output, output + 1)
            nearest = furthest = first  # outputs of this field that see anything
            if seen and first < stop:
                at, end = first % count, (stop - 1) % count
                found = first - at + seen[bisect_left(seen, at)]
                nearest = found if found < stop else first
                furthest = max(stop - 1 - end + seen[bisect_right(seen, end) - 1], nearest)
            ranges.append((self.of(nearest)[0], self.of(furthest)[1] if stop > first else self.of(first)[0]))
        start, jump = window.places(window.centre)
        step = ranges.pop()[0] - ranges[0][0]
        moved = start * self.jump if self.step else 0
        return Field(tuple(ranges), step, self.jump * jump, self.start + moved)

    def fixed(self) -> "Field":
        """Return the field of outputs that all see what the first one sees."""
        return replace(self, ranges=self.ranges[:1], step=0)

    def merged(self, other: "Field", outputs: int) -> "Field":
        """Return the field of outputs, so many of them, that see what both fields see, and all between.

        >>> narrow = Field().through(Window(3, before=1, after=1))
        >>> wide = narrow.through(Window(4, before=1, after=2))
        >>> narrow.merged(wide, 9).ranges, str(narrow.merged(wide, 9).start)
        (((-2, 4),), '1/2')
        """
        if self == other:
            return self
        period = lcm(len(self.ranges), len(other.ranges))
        steps = {one.step * (period // len(one.ranges)) for one in (self, other)}
        listed: Sequence[int] = range(period)
        if (
            len(steps) > 1 or period > PHASES
        ):  # they drift apart: each output is told, and those in padding beside
            near = min(outputs, PHASES)
            listed, steps = [*range(2 * near), *range(-near, 0)], {0}
        ranges = []
        for output in listed:
            if 0 in (self.step, other.step):  # one sees the same everywhere: those in padding see no more
                output = min(max(output, 0), outputs - 1)
            seen = [span for span in (self.of(output), other.of(output)) if span[0] < span[1]]
            ranges.append((min(lo for lo, _ in seen), max(hi for _, hi in seen)) if seen else self.of(output))
        wider, narrower = (self, other) if self.size >= other.size else (other, self)
        ends = [
            (one.start - Fraction(one.size, 2), one.start + Fraction(one.size, 2))
            for one in (wider, narrower)
        ]
        start = (min(lo for lo, _ in ends) + max(hi for _, hi in ends)) / 2
        return Field(tuple(ranges), max(steps), wider.jump, start)

    def of(self, output: int) -> tuple[int, int]:
        """Return the first input's elements ``lo:hi`` that an output sees; none where ``lo == hi``.

        >>> Field().through(Window(3)).through(Window(5, before=2, after=2)).of(9)
        (7, 14)
        """
        turns, phase = divmod(output, len(self.ranges))
        lo, hi = self.ranges[phase]
        return lo + turns * self.step, hi + turns * self.step

    @property
    def size(self) -> int:
        """The largest number of neighbouring inputs that one output sees."""
        return max(hi - lo for lo, hi in self.ranges)


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
