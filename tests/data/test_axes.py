"""Positions behind windows, beside the same arithmetic on explicit lists."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from convcli.common.errors import UsageError
from convcli.data.axes import Axis, Even, Listed, Positions
from convcli.geometry.grammar import parse_pool
from convcli.geometry.windows import TransposedWindow, Window
from convcli.jobs.bind import Settings, bind
from convcli.kernel.model import Kernel

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)
Place = Fraction | None

windows = st.one_of(
    st.builds(
        Window,
        kernel=st.integers(1, 5),
        stride=st.integers(1, 4),
        dilation=st.integers(1, 3),
        before=st.integers(0, 6),
        after=st.integers(0, 6),
        ceil=st.booleans(),
    ),
    st.builds(
        TransposedWindow,
        kernel=st.integers(1, 5),
        stride=st.integers(1, 4),
        dilation=st.integers(1, 3),
        before=st.integers(0, 3),
        after=st.integers(0, 3),
        output_padding=st.integers(0, 2),
    ),
)
fractions = st.fractions(-50, 50, max_denominator=12)


def sizes_behind(chain: list[Window | TransposedWindow], n: int) -> list[int]:
    sizes = [n]
    for window in chain:
        try:
            sizes.append(window.output_size(sizes[-1]))
        except UsageError:
            assume(False)
    return sizes


def under_origin(
    values: list[Place], window: Window | TransposedWindow, origin: int, size: int
) -> list[Place]:
    """Lay the list out with its padding, and look under the origin of each window."""
    tap = window.dilation * origin
    if isinstance(window, Window):
        around: list[Place] = [None] * window.before + values + [None] * (window.after + window.extent + 9)
        return [around[output * window.stride + tap] for output in range(size)]
    full: list[Place] = [None] * (window.full_size(len(values)) + window.output_padding)
    for index, value in enumerate(values):
        full[index * window.stride + tap] = value
    return full[window.before : window.before + size]


def middle_of(values: list[Fraction], window: Window | TransposedWindow, size: int) -> list[Fraction]:
    """Continue the list into the padding, and take the mean of what each window covers.

    A transposed window is one of stride 1 on the list with ``stride - 1`` positions put between neighbours.
    """
    spacing = values[1] - values[0]
    first, count, skip, step, before = values[0], len(values), 0, 1, 0
    if isinstance(window, Window):
        step, before = window.stride, window.before
    else:
        spacing, count, skip = spacing / window.stride, (count - 1) * window.stride + 1, window.before
        before = window.extent - 1
    around = [first + spacing * index for index in range(-before, count + 60)]
    offsets = range(0, window.extent, window.dilation)
    means = [
        sum(around[(output + skip) * step + offset] for offset in offsets) / len(offsets)
        for output in range(size)
    ]
    return [Fraction(mean) for mean in means]


@SETTINGS
@given(st.lists(windows, min_size=1, max_size=4), st.integers(2, 14), fractions, fractions)
def test_even_positions_are_the_centres_of_windows(
    chain: list[Window | TransposedWindow], n: int, origin: Fraction, spacing: Fraction
) -> None:
    assume(spacing != 0)
    sizes = sizes_behind(chain, n)
    assume(min(sizes) > 1 and max(sizes) < 60)
    positions: Positions = Even(origin, spacing, "s")
    expected = [origin + spacing * index for index in range(n)]
    for window, size in zip(chain, sizes[1:], strict=True):
        positions = positions.along(*window.places(window.centre), size)
        expected = middle_of(expected, window, size)
    assert [positions.at(index) for index in range(sizes[-1])] == expected


@SETTINGS
@given(
    st.lists(windows, min_size=1, max_size=4),
    st.lists(st.integers(-99, 99), min_size=1, max_size=14),
    st.data(),
)
def test_listed_positions_are_those_under_the_origins(
    chain: list[Window | TransposedWindow], ticks: list[int], data: st.DataObject
) -> None:
    sizes = sizes_behind(chain, len(ticks))
    positions: Positions = Listed(tuple(ticks), Fraction(1, 90), "s")
    expected: list[Place] = [Fraction(tick, 90) for tick in ticks]
    for window, size in zip(chain, sizes[1:], strict=True):
        origin = data.draw(st.integers(0, window.kernel - 1))
        positions = positions.along(*window.places(window.dilation * origin), size)
        expected = under_origin(expected, window, origin, size)
    assert [positions.at(index) for index in range(sizes[-1])] == expected
    assert positions.at(-1) is None
    assert positions.at(sizes[-1]) is None


def test_the_last_sample_ends_where_the_next_would_begin() -> None:
    times = Listed((0, 10, 25, 40), Fraction(1, 100), "s", end=65)
    pairs = [(0, 1, 4, 65), (0, 1, 3, 40), (0, 2, 2, 65), (1, 2, 1, 40), (1, 3, 1, 65), (0, 1, 5, None)]
    for start, jump, size, end in pairs:
        assert times.along(Fraction(start), Fraction(jump), size).end == end, (start, jump, size)


def test_steps_are_those_between_known_neighbours() -> None:
    assert Listed((0, 10, None, 40, 45), Fraction(1, 10), "s").steps() == (Fraction(1, 2), Fraction(1))
    assert Listed((7, None, 9), Fraction(1), "s").steps() is None
    assert Even(Fraction(3), Fraction(1, 25), "s").steps() == (Fraction(1, 25), Fraction(1, 25))


def test_an_axis_without_positions_keeps_having_none() -> None:
    assert Axis("X", 9).along(Fraction(1), Fraction(2), 4) == Axis("X", 4)


PIXELS = Even(Fraction(0), Fraction(1, 300), "in")
TIMES = Listed((0, 10, 25, 40, 45, 60, 80), Fraction(1, 100), "s")


def bound(positions: Positions, kernels: list[Kernel], settings: Settings) -> list[Fraction | None]:
    chain = bind(kernels, settings, "X", (7,), 1)
    result = chain.axis(Axis("X", 7, positions))
    assert result.positions is not None
    return [result.positions.at(index) for index in range(result.size)]


def test_outputs_lie_at_the_centre_or_where_the_kernel_says() -> None:
    """Expected by hand: [1, 2] covers samples o and o + 1; seven samples, nothing outside."""
    valid = Settings(padding=((0, 0),))
    plain, named = Kernel("plain", (1, 1, 2), (1.0, 2.0)), Kernel("named", (1, 1, 2), (1.0, 2.0), origin=(1,))
    inches = [
        [Fraction(place, 600) for place in places]
        for places in (range(1, 13, 2), range(2, 14, 2), range(2, 12, 2))
    ]
    assert bound(PIXELS, [plain], valid) == inches[0]
    assert bound(PIXELS, [plain.flipped()], valid) == inches[0]
    assert bound(PIXELS, [plain.with_bias([3.0])], valid) == inches[0]
    assert bound(PIXELS, [named], valid) == inches[1]
    assert bound(PIXELS, [plain, plain], valid) == inches[2]
    seconds = [Fraction(tick, 100) for tick in (0, 10, 25, 40, 45, 60, 80)]
    assert bound(TIMES, [plain], valid) == seconds[:6]
    assert bound(TIMES, [named], valid) == seconds[1:]
    assert bound(TIMES, [named, plain], valid) == seconds[1:6]
    around = Settings(padding=((1, 1),))
    assert bound(TIMES, [named], around) == [*seconds, None]


def test_a_pool_lies_at_its_centre_and_takes_the_time_of_a_sample_within() -> None:
    pool = Settings(pool=parse_pool("avg:4,s=3"))
    assert bound(PIXELS, [], pool) == [Fraction(3, 600), Fraction(9, 600)]
    assert bound(TIMES, [], pool) == [Fraction(10, 100), Fraction(45, 100)]
