"""Kernels by a formula, sized in the units of their data: ``gaussian:sigma=30m`` becomes numbers of samples."""

import math
from collections.abc import Sequence
from fractions import Fraction

from convcli.common import UsageError, parse_number, quoted, split_unit, to_float, within
from convcli.data import INCH, UNITS, Axis, converted, samples, spacing
from convcli.kernel.parametric import FORMULAS, Formula, given

Amount = tuple[Fraction, str]
"""A number and its unit."""


def in_samples(text: str, axes: Sequence[Axis] | None, rank: int) -> str:
    """Return a kernel's text with what it says in units as numbers of samples; any other text as it is.

    A size that is no whole number of samples becomes the nearest odd one: the samples that lie within it.

    Parameters
    ----------
    axes
        The data's axes of space that the kernel may slide along, the last of them first to be taken; without them
        each amount is taken for some samples, so that all else in the text can be checked.
    rank
        As in `parse_parametric`.

    Raises
    ------
    UsageError
        As `convcli.data.units.samples`, and for amounts of less than a sample, or than reaches a neighbour.

    >>> from convcli.data.axes import at_rate
    >>> in_samples("gaussian:sigma=25ms", [Axis("X", 9, at_rate(Fraction(1000)))], 1)
    'gaussian:sigma=25'
    """
    name, colon, rest = text.strip().partition(":")
    formula = FORMULAS.get(name)
    if formula is None or not colon:
        return text
    with within(f"kernel {quoted(text)}"):
        given(formula, rest.split(","))  # wrong parameters are told as they were written
        keys = [*formula.parameters, *rest.split(",")]
        parts = zip(keys, rest.split(","), strict=False)
        return f"{name}:" + ",".join(_in_samples(formula, key, part, axes, rank) for key, part in parts)


def _in_samples(formula: Formula, name: str, part: str, axes: Sequence[Axis] | None, rank: int) -> str:
    key, equals, value = part.partition("=")
    pieces = (value if equals else key).split("x")
    amounts = [split_unit(piece) for piece in pieces]
    name = key.strip() if equals else name
    if name not in (*_LEAST, *_FREQUENCIES) or not any(amounts):
        return part
    if axes is not None:
        count = len(pieces) if len(pieces) > 1 else formula.rank or rank
        if count > len(axes):
            letters = ", ".join(axis.letter.lower() for axis in axes)
            raise UsageError(f"it has {count} axes, and the data has only {letters}")
        own = axes[-count:][: formula.measured]
        every = zip(pieces * len(own), amounts * len(own), own, strict=False)
        found = [_counted(name, amount, axis, axes) if amount else piece for piece, amount, axis in every]
        pieces = found[:1] if len(pieces) == len(set(found)) == 1 else found
        if formula.rank and len(pieces) > 1:
            raise UsageError(f"it takes one number of samples, and {' and '.join(pieces)} differ")
    else:
        one = {"size": "11", "low": "0.2"}.get(name, "1" if name in _LEAST else "0.3")  # fits every formula
        pieces = [one if amount else piece for piece, amount in zip(pieces, amounts, strict=True)]
    return f"{key}{equals}" * bool(equals) + "x".join(pieces)


def _counted(key: str, amount: Amount, axis: Axis, axes: Sequence[Axis]) -> str:
    if key in _FREQUENCIES:
        return repr(to_float(_cycles(amount, axis, axes)))
    count = samples(*amount, axis, axes)
    if count < (1 - _ROUNDED) * _LEAST[key]:
        text = f"{to_float(amount[0]):g}{amount[1]}"
        raise UsageError(f"{text} is {to_float(count):.3g} of a sample: give more")
    if key != "size":
        return repr(to_float(count)).removesuffix(".0")
    near = min(round(count), 10**9)  # refused as a size, and short enough for a line
    return str(
        near if abs(count - near) <= _ROUNDED * count or near == 10**9 else 2 * math.floor(count / 2) + 1
    )


def _cycles(amount: Amount, axis: Axis, axes: Sequence[Axis]) -> Fraction:
    """Return a frequency in cycles a sample."""
    number, unit = amount
    measure, hertz = UNITS.get(unit, ("", Fraction(1)))
    if axis.positions is None:
        converted(number, unit, axis, axes)  # says so
    if measure != "frequency" or number <= 0:
        raise UsageError(f"{to_float(number):g}{unit} is no frequency: give Hz, kHz or MHz, above 0")
    return 1 / samples(1 / (number * hertz), "s", axis, axes)


_FREQUENCIES = ("cutoff", "low", "high", "frequency")
_ROUNDED = Fraction(1, 10**9)  # of a count: what spacings in doubles leave
_LEAST = {
    "size": Fraction(1),
    "radius": Fraction(1),
    "sigma": Fraction(1, 8),
}  # samples: less reaches no neighbour


def uneven(text: str, axes: Sequence[Axis], rank: int) -> str:
    """Return a line where a kernel counts samples alike along axes whose spacings differ much, else nothing."""
    name, _, rest = text.strip().partition(":")
    formula = FORMULAS.get(name)
    places = [(axis.letter.lower(), axis.positions) for axis in axes[-rank:] if axis.positions is not None]
    # None where samples are unevenly spaced
    steps = [step for _, place in places if (step := spacing(place))]
    units = {place.unit for _, place in places}
    if formula is None or formula.rank or "x" in rest or len(steps) < rank or len(units) > 1:
        return ""
    key, value = next(iter({**formula.parameters, **given(formula, rest.split(",") if rest else [])}.items()))
    unit = units.pop()
    if max(steps) <= _DIFFERENT * min(steps) or unit not in UNITS or unit == INCH or split_unit(value):
        return ""  # inches are of a print
    apart = ", ".join(
        f"{float(step):.6g} {unit} ({letter})" for step, (letter, _) in zip(steps, places, strict=True)
    )
    measured = f"{to_float(parse_number(value) * min(steps)):.6g}{unit}"
    return f"samples lie {apart} apart: {name}:{key}={value} counts them, {name}:{key}={measured} measures"


_DIFFERENT = Fraction(3, 2)
