"""An explanation in words: a table of taps, the window as small grids, the sum; and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from convcli.common.numbers import number_text
from convcli.explanations.value import (
    ConvExplanation,
    Explanation,
    Plane,
    Pooled,
    PoolExplanation,
    Product,
    Sum,
)
from convcli.geometry.taps import Tap
from convcli.kernel.model import Combine

WIDTH = 80
MOST_ROWS = 400  # of taps, above which only the sums are printed


def lines(explanation: Explanation, letters: str, kernel_size: Sequence[int]) -> Iterator[str]:
    """Yield the explanation in lines.

    Parameters
    ----------
    letters : str
        The axes, e.g. ``YX``.
    kernel_size : sequence of int
        Taps along each axis, for the grids.
    """
    if isinstance(explanation, PoolExplanation):
        for pooled in explanation.planes:
            yield from _pool_lines(explanation, pooled, letters, len(explanation.planes) > 1)
        return
    several = len(explanation.sums) > 1
    bank = len({one.map for one in explanation.sums}) > 1
    rows = sum(len(plane.products) for one in explanation.sums for plane in one.planes)
    for one in explanation.sums:
        if several:
            names = [f"map {one.map}"] if bank else []
            names += [] if one.channel is None else [f"channel {one.channel}"]
            yield ", ".join(names)
        if rows <= MOST_ROWS:
            for plane in one.planes:
                if len(one.planes) > 1:
                    yield f"channel {plane.channel}"
                yield from _plane_lines(plane, explanation, letters, kernel_size)
        yield from _sum_lines(one, bank)
    if explanation.combine is not Combine.NONE:
        yield from _combined(explanation)
    if rows > MOST_ROWS:
        yield f"{rows} taps are not shown: --map 0 (or --channel 0) shows those of one, --json all of them"


def _place(place: Sequence[int]) -> str:
    return ",".join(map(str, place))


def _from(tap: Tap) -> str:
    if not tap.padded:
        return ""
    if tap.source is not None:
        return f"padding: {_place(tap.source)} again"
    return "padding" + (": " + _weighted(tap) if tap.sources else "")


def _weighted(tap: Tap) -> str:
    """Return the elements that stand there, such as ``2 x (0,0) - (0,3)``; the largest weight comes first."""
    terms = sorted(tap.sources, key=lambda one: -one[1])
    texts = [
        f"{'-' if weight < 0 else '+'} {f'{abs(weight)} x ' * (abs(weight) > 1)}({_place(place)})"
        for place, weight in terms
    ]
    return " ".join(texts).removeprefix("+ ")


def _plane_lines(
    plane: Plane, explanation: ConvExplanation, letters: str, kernel_size: Sequence[int]
) -> Iterator[str]:
    names = ",".join(letters.lower())
    rows = [(f"tap {names}", f"input {names}", "value", "weight", "product", "")]
    for one in plane.products:
        numbers = (number_text(one.value), number_text(one.weight), number_text(one.product))
        rows.append((_place(one.tap.index), _place(one.tap.position), *numbers, _from(one.tap)))
    if plane.products:
        yield from _table(rows)
    else:
        yield "no input reaches this output: it lies between the kernels"
    if not explanation.transposed:
        yield from _grids(plane.products, kernel_size)


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Align columns: the first two and the last at the left, numbers at the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    last = len(widths) - 1
    for row in rows:
        cells = (
            f"{cell:{'<' if i in (0, 1, last) else '>'}{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _grids(products: Sequence[Product], size: Sequence[int]) -> Iterator[str]:
    """Draw the window, the kernel and their product side by side; padding stands in brackets."""
    wide = size[-1]
    texts = []
    for one in products:
        value = number_text(one.value)
        texts.append(
            (f"({value})" if one.tap.padded else value, number_text(one.weight), number_text(one.product))
        )
    widths = [max((len(row[column]) for row in texts), default=1) for column in range(3)]
    drawn = []
    for start in range(0, len(texts), wide):
        part = texts[start : start + wide]
        grids = (" ".join(f"{row[column]:>{widths[column]}}" for row in part) for column in range(3))
        middle = start // wide == (len(texts) // wide - 1) // 2
        drawn.append("{} {} {} {} {}".format(*_between(grids, ("x", "=") if middle else (" ", " "))))
    if drawn and max(map(len, drawn)) <= WIDTH:
        yield ""
        high = size[-2] if len(size) > 1 else len(drawn)
        for number, line in enumerate(drawn):
            if number and number % high == 0:  # the next slice of a volume
                yield ""
            yield line.rstrip()
        yield ""


def _between(parts: Iterator[str], marks: Sequence[str]) -> list[str]:
    first, second, third = parts
    return [first, f" {marks[0]} ", second, f" {marks[1]} ", third]


def _sum_lines(one: Sum, bank: bool) -> Iterator[str]:
    parts = [number_text(plane.sum) for plane in one.planes]
    if len(parts) > 1:
        yield f"sums of the channels: {_added(parts)}"
    else:
        yield f"sum: {parts[0]}"
    if one.bias or bank or len(parts) > 1:
        yield f"bias: {number_text(one.bias)}"
        yield f"together: {number_text(one.total)}"


def _added(parts: Sequence[str]) -> str:
    return " + ".join(f"({part})" if part.startswith("-") else part for part in parts)


def _combined(explanation: ConvExplanation) -> Iterator[str]:
    channels = sorted({one.channel for one in explanation.sums}, key=lambda c: -1 if c is None else c)
    for channel, value in zip(channels, explanation.values, strict=True):
        totals = [number_text(one.total) for one in explanation.sums if one.channel == channel]
        where = f"channel {channel}: " if len(channels) > 1 else ""
        yield f"{where}{explanation.combine} of {', '.join(totals)}: {number_text(value)}"


def _pool_lines(explanation: PoolExplanation, pooled: Pooled, letters: str, named: bool) -> Iterator[str]:
    names = ",".join(letters.lower())
    if named:
        yield f"channel {pooled.plane}"
    rows = [(f"tap {names}", f"input {names}", "value", "gradient", "")]
    for one in pooled.taps:
        value = "-" if one.value is None else number_text(one.value)
        remark = f"<- the {explanation.kind.noun}" if one in explanation.chosen(pooled) else _from(one.tap)
        rows.append((_place(one.tap.index), _place(one.tap.position), value, number_text(one.share), remark))
    yield from _table(rows)
    if pooled.sharing:
        places = [_named_place(one.tap.position, letters) for one in pooled.sharing]
        yield explanation.kind.told(number_text(pooled.value), places)


def _named_place(place: Sequence[int], letters: str) -> str:
    return ", ".join(f"{letter} {at}" for letter, at in zip(letters.lower(), place, strict=True))


def as_json(explanation: Explanation) -> dict[str, Any]:
    """Return the explanation as plain data."""
    if isinstance(explanation, PoolExplanation):
        planes = [
            {
                "channel": pooled.plane,
                "value": pooled.value,
                "taps": [{**_tap(one.tap), "value": one.value, "gradient": one.share} for one in pooled.taps],
            }
            for pooled in explanation.planes
        ]
        return {"at": explanation.at, "pool": str(explanation.kind), "outputs": planes}
    sums = [
        {
            "map": one.map,
            "channel": one.channel,
            "bias": one.bias,
            "total": one.total,
            "channels": [
                {
                    "channel": plane.channel,
                    "sum": plane.sum,
                    "taps": [
                        {
                            **_tap(product.tap),
                            "value": product.value,
                            "weight": product.weight,
                            "product": product.product,
                        }
                        for product in plane.products
                    ],
                }
                for plane in one.planes
            ],
        }
        for one in explanation.sums
    ]
    return {
        "at": explanation.at,
        "transposed": explanation.transposed,
        "sums": sums,
        "combine": explanation.combine,
        "values": explanation.values,
    }


def _tap(tap: Tap) -> dict[str, Any]:
    return {
        "tap": tap.index,
        "position": tap.position,
        "source": tap.source,
        "sources": tap.sources,
        "padding": tap.padded,
    }
