"""An explanation, and its form in words: a table of taps, the window as small grids, the sum."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import Any

import numpy as np

from convcli.cli.shared import report
from convcli.cli.shared.terminal import WIDTH, Table, aligned
from convcli.common import decimal_text, frozen, frozen_identity, number_text
from convcli.explanations.value import (
    ConvExplanation,
    Explanation,
    Plane,
    Pooled,
    PoolExplanation,
    Product,
    Route,
    Sum,
)
from convcli.geometry.windows import Tap
from convcli.kernel import Combine

MOST_ROWS = 400  # of taps, above which only the sums are printed


@frozen
class Explained:
    """One output taken apart, or none; the axes are letters, the window is the kernel's size along each of them.

    ``picture`` and ``animation`` are files, the latter of so many ``frames``.
    """

    explanation: Explanation | None
    axes: str
    output: tuple[int, ...]
    window: tuple[int, ...]
    picture: str | None
    animation: str | None
    frames: int
    grain: Mapping[str, Any] | None
    notes: tuple[str, ...]

    @property
    def facts(self) -> dict[str, Any]:
        value = {} if self.explanation is None else report.as_json(self.explanation)
        names = ("axes", "output", "picture", "animation", "frames", "grain", "notes")
        return value | {name: getattr(self, name) for name in names}

    def lines(self, quiet: bool) -> Iterator[str | Table]:
        """Yield all in lines, or no more than the values that ``filter`` computes."""
        values = [] if self.explanation is None else [" ".join(map(decimal_text, self.explanation.values))]
        if quiet:
            yield from values
            return
        if self.picture is not None:
            yield self.picture
        if self.explanation is not None:
            yield from _taken_apart(self.explanation, self)
        yield from (f"filter computes: {value}" for value in values)
        if self.animation is not None:
            yield f"{self.animation}: {self.frames} frames" if self.frames > 1 else self.animation


@frozen_identity
class Routed:
    """Where all results of a pool come from; ``file`` has the positions or, if it is a picture, the gradient."""

    input: str
    route: Route
    file: str | None
    notes: tuple[str, ...]

    def lines(self, letters: str, quiet: bool) -> Iterator[str]:
        """Yield both maps, of each channel, where they are small."""
        found, sizes = self.route, self.route.gradient.shape[1:]
        small = found.gradient.size <= MOST_ROWS and not quiet
        for channel, (at, gradient) in (
            enumerate(zip(found.positions, found.gradient, strict=True)) if small else ()
        ):
            yield from (f"channel {channel}",) if len(found.positions) > 1 else ()
            if found.pool.selects:
                yield f"{','.join(letters.lower())} of the {found.pool.noun} of each window"
                places = [place_text(np.unravel_index(one, sizes)) if one >= 0 else "-" for one in at.ravel()]
                yield from aligned(places, at.shape)
            yield "gradient of each input, 1 from every output"
            yield from aligned([*map(number_text, gradient.ravel().tolist())], sizes)
        if self.file is not None and not quiet:
            yield self.file


def _taken_apart(explanation: Explanation, found: Explained) -> Iterator[str | Table]:
    if isinstance(explanation, PoolExplanation):
        for pooled in explanation.outputs:
            yield from _pool_lines(explanation, pooled, found.axes)
    else:
        yield from _sums(explanation, found)


def _sums(explanation: ConvExplanation, found: Explained) -> Iterator[str | Table]:
    several = len(explanation.sums) > 1
    bank = len({one.map for one in explanation.sums}) > 1
    rows = sum(len(plane.taps) for one in explanation.sums for plane in one.channels)
    for one in explanation.sums:
        if several:
            names = [f"map {one.map}"] if bank else []
            names += [] if one.channel is None else [f"channel {one.channel}"]
            yield ", ".join(names)
        if rows <= MOST_ROWS:
            for plane in one.channels:
                if len(one.channels) > 1:
                    yield f"channel {plane.channel}"
                yield from _plane_lines(plane, explanation, found)
        yield from _sum_lines(one, bank)
    if explanation.combine is not Combine.NONE:
        yield from _combined(explanation)
    if rows > MOST_ROWS:
        yield f"{rows} taps are not shown: --map 0 (or --channel 0) shows those of one, --json all of them"


def place_text(place: Sequence[int]) -> str:
    """Write a place as ``--at`` takes it."""
    return ",".join(map(str, place))


def _from(tap: Tap) -> str:
    if not tap.padded:
        return ""
    if tap.source is not None:
        return f"padding: {place_text(tap.source)} again"
    return "padding" + (": " + _weighted(tap) if tap.sources else "")


def _weighted(tap: Tap) -> str:
    """Return the elements that stand there, such as ``2 x (0,0) - (0,3)``; the largest weight comes first."""
    terms = sorted(tap.sources, key=lambda one: -one[1])
    texts = [
        f"{'-' if weight < 0 else '+'} {f'{abs(weight)} x ' * (abs(weight) > 1)}({place_text(place)})"
        for place, weight in terms
    ]
    return " ".join(texts).removeprefix("+ ")


def _plane_lines(plane: Plane, explanation: ConvExplanation, found: Explained) -> Iterator[str | Table]:
    names = ",".join(found.axes.lower())
    rows = [(f"tap {names}", f"input {names}", "value", "weight", "product", "")]
    for one in plane.taps:
        remark = ", ".join(filter(None, (_from(one.tap), "missing: skipped" * one.skipped)))
        rows.append((place_text(one.tap.index), place_text(one.tap.position), *_numbers(one), remark))
    yield Table(rows, "<<>>><") if plane.taps else "no input reaches this output: it lies between the kernels"
    if not explanation.transposed:
        yield from _grids(plane.taps, found.window)


def _numbers(one: Product) -> tuple[str, str, str]:
    """Return a tap's value, weight and product."""
    if one.skipped:
        return "-", number_text(one.weight), "-"
    return number_text(one.value), number_text(one.weight), number_text(one.product)


def _grids(products: Sequence[Product], size: Sequence[int]) -> Iterator[str]:
    """Draw the window, the kernel and their product side by side; padding stands in brackets."""
    wide = size[-1]
    texts = []
    for one in products:
        value, *others = _numbers(one)
        texts.append((f"({value})" if one.tap.padded else value, *others))
    widths = [max((len(row[column]) for row in texts), default=1) for column in range(3)]
    drawn = []
    for start in range(0, len(texts), wide):
        part = texts[start : start + wide]
        grids = (" ".join(f"{row[column]:>{widths[column]}}" for row in part) for column in range(3))
        middle = start // wide == (len(texts) // wide - 1) // 2
        values, weights, results = grids
        times, equals = ("x", "=") if middle else (" ", " ")
        drawn.append(f"{values}  {times}  {weights}  {equals}  {results}")
    if drawn and max(map(len, drawn)) <= WIDTH:
        yield ""
        high = size[-2] if len(size) > 1 else len(drawn)
        for number, line in enumerate(drawn):
            if number and number % high == 0:  # the next slice of a volume
                yield ""
            yield line.rstrip()
        yield ""


def _sum_lines(one: Sum, bank: bool) -> Iterator[str]:
    parts = [number_text(plane.sum) for plane in one.channels]
    if len(parts) > 1:
        added = " + ".join(f"({part})" if part.startswith("-") else part for part in parts)
        yield f"sums of the channels: {added}"
    else:
        yield f"sum: {parts[0]}"
    if one.present != 1:
        why = "missing: too few samples are present, or the one under the origin is not"
        share = f"divided by the share of the weights that is present, {number_text(one.present)}"
        yield why if isnan(one.present) else f"{share}: {number_text(one.total - one.bias)}"
    if one.bias or bank or len(parts) > 1:
        yield f"bias: {number_text(one.bias)}"
        yield f"together: {number_text(one.total)}"


def _combined(explanation: ConvExplanation) -> Iterator[str]:
    channels = sorted({one.channel for one in explanation.sums}, key=lambda c: -1 if c is None else c)
    for channel, value in zip(channels, explanation.values, strict=True):
        totals = [number_text(one.total) for one in explanation.sums if one.channel == channel]
        where = f"channel {channel}: " if len(channels) > 1 else ""
        yield f"{where}{explanation.combine} of {', '.join(totals)}: {number_text(value)}"


def _pool_lines(explanation: PoolExplanation, pooled: Pooled, letters: str) -> Iterator[str | Table]:
    names = ",".join(letters.lower())
    if len(explanation.outputs) > 1:
        yield f"channel {pooled.channel}"
    rows = [(f"tap {names}", f"input {names}", "value", "gradient", "")]
    for one in pooled.taps:
        numbers = "-" if one.value is None else number_text(one.value), number_text(one.gradient)
        remark = f"<- the {explanation.pool.noun}" if one in explanation.chosen(pooled) else _from(one.tap)
        rows.append((place_text(one.tap.index), place_text(one.tap.position), *numbers, remark))
    yield Table(rows, "<<>><")
    if pooled.sharing or not explanation.pool.selects:
        axes = [zip(letters.lower(), one.tap.position, strict=True) for one in pooled.sharing]
        places = [", ".join(f"{letter} {at}" for letter, at in place) for place in axes]
        yield explanation.pool.told(number_text(pooled.value), places)
