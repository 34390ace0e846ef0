"""Axes as a person reads them: letter, size, unit and spacing."""

from __future__ import annotations

from fractions import Fraction

from convcli.common.numbers import number_text
from convcli.data.axes import Axis
from convcli.data.info import Info


def lines(info: Info) -> list[str]:
    """Return a line for each axis whose positions are known.

    >>> from convcli.data.axes import Even
    >>> lines(Info.of("YX", (2, 9), "uint8").placed(X=Even(Fraction(1, 600), Fraction(1, 300), "in")))
    ['x: 9 samples, 1/300 in apart, the first at 1/600 in']
    """
    return [line for axis in info.axes if (line := _line(axis))]


def _line(axis: Axis) -> str:
    if axis.positions is None:
        return ""
    unit = f" {axis.positions.unit}".rstrip()
    words = [f"{axis.letter.lower()}: {axis.size} samples"]
    if steps := axis.positions.steps():
        span = " to ".join(dict.fromkeys(map(_text, steps)))
        words.append(f"{span}{unit} apart")
    first = axis.positions.at(0)
    if first is not None:
        words.append(f"the first at {_text(first)}{unit}")
    return ", ".join(words)


def _text(value: Fraction) -> str:
    return number_text(float(value))
