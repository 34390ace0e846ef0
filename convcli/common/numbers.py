"""Numbers as people write them: read exactly, one for each axis or one for all, shown shortly.

Fractions stay fractions until the last step, so that ``1/9`` and ``scale: 1/256`` lose nothing.
No files, no kernels, no arrays.
"""

import math
import operator
import re
from typing import TYPE_CHECKING, Any, TypeVar

from convcli.common.errors import UsageError

if TYPE_CHECKING:
    from fractions import Fraction  # the list of commands starts without it, 5 ms sooner


T = TypeVar("T")
N = TypeVar("N", int, float)
_DECIMAL = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
_NUMBER = rf"({_DECIMAL})(?:\s*/\s*({_DECIMAL}))?"  # compiled when a number is read
_LONGEST = 100  # characters; a longer "number" is a mistake or an attack


def quoted(value: object, longest: int = 40) -> str:
    """Return a value as it appears in an error: on one line and not too long.

    >>> quoted("a\\nb"), quoted("x" * 50, 10)
    ("'a\\\\nb'", "'xxxxxx...'")
    """
    text = str(value)
    return repr(text if len(text) <= longest else text[: longest - 4] + "...")


def parse_number(text: str, what: str = "number") -> "Fraction":
    """Read an integer, a decimal number or a fraction, without rounding.

    Parameters
    ----------
    text
        ``3``, ``-0.5``, ``1e-3`` or ``1/9``.
    what
        Names the value in the error, such as ``sigma``.

    Raises
    ------
    UsageError
        For anything else: words, ``nan``, ``inf``, ``1_000``, a zero denominator.

    >>> parse_number("1/9"), parse_number("-1e-3")
    (Fraction(1, 9), Fraction(-1, 1000))
    """
    from fractions import Fraction

    match = re.fullmatch(_NUMBER, text.strip()) if len(text) <= _LONGEST else None
    if match is None:
        raise UsageError(f"{what}: {quoted(text)} is not a number (write 3, -0.5, 1e-3 or 1/9)")
    over = Fraction(match[2]) if match[2] else Fraction(1)
    if not over:
        raise UsageError(f"{what}: {quoted(text)} divides by zero")
    return Fraction(match[1]) / over


def split_unit(text: str) -> "tuple[Fraction, str] | None":
    """Return a number and the unit behind it; None where there is no unit.

    >>> split_unit("2.5 ms"), split_unit("1e3")
    ((Fraction(5, 2), 'ms'), None)
    """
    pattern = rf"\s*({_NUMBER})\s*(?![eE][+-]?\d)([^\W\d_].*?)\s*"
    match = re.fullmatch(pattern, text) if len(text) <= _LONGEST else None
    return (parse_number(match[1]), match[4]) if match else None


def to_float(number: "Fraction | float", what: str = "number") -> float:
    """Round an exact number to the nearest float; too large a one is an error."""
    try:
        return float(number)
    except OverflowError:
        raise UsageError(f"{what}: the number is beyond what a float holds (1.8e308)") from None


def parse_float(text: str, what: str = "number") -> float:
    """Read a number as `parse_number` does and round it once."""
    return to_float(parse_number(text, what), what)


def whole(value: Any, what: str) -> int:
    """Return a value as a Python integer.

    Raises
    ------
    UsageError
        For one that is no integer, such as a float.
    """
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{what} {quoted(value)} is not possible: give a whole number") from None


def in_range(number: N, what: str, least: float | None = None, most: float | None = None) -> N:
    """Return a number that lies within its limits.

    Raises
    ------
    UsageError
        For any other.
    """
    if (least is not None and number < least) or (most is not None and number > most):
        limits = f"{least} or more" if most is None else f"{least} to {most}"
        raise UsageError(f"{what} {number_text(number)} is not possible: give {limits}")
    return number


def counted(count: int, one: str, several: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "value"), counted(2, "value"), counted(0, "axis", "axes")
    ('1 value', '2 values', '0 axes')
    """
    return f"{count} {one if count == 1 else several or one + 's'}"


def parse_bytes(text: str) -> int:
    """Read an amount of memory.

    >>> parse_bytes("2GB"), parse_bytes("1.5 MiB")
    (2000000000, 1572864)
    """
    found = re.fullmatch(r"([0-9.]+)\s*([KMGT]?)(I?)B?", text.strip().upper())
    if found is None:
        raise UsageError(f"{text!r} is no amount of memory: write 2GB or 500MB")
    base = 1024 if found[3] else 1000
    return int(parse_number(found[1], "memory") * base ** " KMGT".index(found[2] or " "))


def parse_part(text: str) -> tuple[int, int]:
    """Read which part of how many.

    >>> parse_part("3/100")
    (3, 100)
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"{text!r} is no part: write 3/100, the third of a hundred parts")
    return int(found[1]), int(found[2])


def parse_workers(text: str) -> int | str:
    """Read a number of processes, or the address of a Dask scheduler.

    >>> parse_workers("4"), parse_workers("tcp://head:8786")
    (4, 'tcp://head:8786')
    """
    if re.fullmatch(r"tcp://[^\s/]+:\d{1,5}", text):
        return text
    if not re.fullmatch(r"0*[1-9]\d{0,5}", text):
        raise UsageError(
            f"{text!r} is no number of workers: write 4, or tcp://HOST:8786 for a Dask scheduler"
        )
    return int(text)


def parse_share(text: str) -> float:
    """Read a share of a whole, from 0 to 1.

    >>> parse_share("1%"), parse_share("0.5")
    (0.01, 0.5)
    """
    share = parse_float(text.removesuffix("%"), "share") / (100 if text.endswith("%") else 1)
    if not 0 <= share <= 1:
        raise UsageError(f"{text!r} is no share: write 1% or 0.01")
    return share


def parse_rate(text: str) -> "Fraction":
    """Read frames a second: ``25``, ``29.97``, ``30000/1001``.

    Raises
    ------
    UsageError
        Also for a rate that is not between 0.001 and 100 000.
    """
    from fractions import Fraction

    rate = parse_number(text, "frames a second")
    if not Fraction(1, 1000) <= rate <= 100_000:
        raise UsageError(f"frames a second: {quoted(text)} is not possible: give 0.001 to 100000, such as 25")
    return rate


def decimal_text(value: float) -> str:
    """Return a float as a decimal of 6 digits or, of large ones, of 2 after the point; trailing zeros are left out.

    >>> [decimal_text(v) for v in (2.0, -0.0, 1 / 9, 36844.22265625, 1234567.0, 1e300, float("nan"))]
    ['2', '0', '0.111111', '36844.22', '1234567', '1e+300', 'nan']
    """
    whole = len(str(int(abs(value)))) if abs(value) < 1e15 else 0
    return f"{value + 0.0:.{max(6, whole + 2)}g}"


def number_text(value: float) -> str:
    """Return a float shortly: a fraction of small numbers when it is one exactly, else as `decimal_text`.

    Integers have all of their digits.

    >>> [number_text(v) for v in (2.0, -0.25, 1 / 9, 0.33, 2 ** 0.5, 52321 / 256, 2**60 + 1)]
    ['2', '-0.25', '1/9', '0.33', '1.41421', '204.379', '1152921504606846977']
    """
    if isinstance(value, int):
        return str(value)
    decimal = decimal_text(value)
    if float(decimal) == value or not math.isfinite(value):
        return decimal
    from fractions import Fraction

    fraction = Fraction(value).limit_denominator(1000)
    return str(fraction) if float(fraction) == value and abs(fraction.numerator) <= 1000 else decimal


def per_axis(values: tuple[T, ...], rank: int, what: str) -> tuple[T, ...]:
    """Return one value for each of ``rank`` axes: a single one stands for all.

    >>> per_axis((2,), 3, "stride")
    (2, 2, 2)
    """
    if len(values) == 1:
        return values * rank
    if len(values) != rank:
        shown = ",".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in values)
        many = f"{counted(len(values), 'value')} for {counted(rank, 'axis', 'axes')}"
        raise UsageError(f"{what} {shown} has {many}: give one, or one for each axis")
    return values


def parse_numbers(text: str, what: str, minimum: int = 1) -> tuple[int, ...]:
    """Read whole numbers of one or more axes, e.g. ``2``, ``2,1`` or ``2x1``.

    >>> parse_numbers("5x3", "kernel")
    (5, 3)
    """
    numbers = []
    for part in re.split("[,x]", text):
        if not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", part):
            raise UsageError(f"{what} {text!r} is not a number, nor one for each axis such as 2 or 2,1")
        numbers.append(in_range(int(part), what, minimum))
    return tuple(numbers)
