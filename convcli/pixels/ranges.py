"""Range policies: how computed values become a picture's.

A policy is one class with all of its answers: how it is written and read, what it must measure first, its mapping,
whether its results stay numbers, what to do where values clip.  A new one is one class in `POLICIES`.  No arrays are
imported here, since kernels name their policy and listing kernels needs none.
"""

from __future__ import annotations

import difflib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from convcli.common import UsageError, frozen, parse_float, parse_number, quoted, to_float
from convcli.common.options import Panel, shared
from convcli.pixels.colours import is_map, names

if TYPE_CHECKING:
    from convcli.pixels.measures import Measured, Pass
    from convcli.pixels.render import Rendering, Tally, Target

ROUNDED = "numbers beyond 2^53 are rounded to 53 bits: kernels of whole weights keep them with range clip"

_BOUND = re.compile(r"\s*([^%\s]+)\s*(%(?:max)?)?\s*")


@frozen
class Range(ABC):
    """How values become pixels; `parse_range` reads one from text, `str` writes it.

    Attributes
    ----------
    form : str
        How help texts show it; the word before a colon or bracket names the policy.
    example : str
        A text that is one.
    keeps_numbers : bool
        Whether results stay numbers, so that only types of floats hold them.
    identity : bool
        Whether a value that the output's type holds is its own pixel.
    advice : str
        What to do where values were clipped.
    remedy : str
        The same where all pixels became one.
    """

    form: ClassVar[str]
    example: ClassVar[str]
    keeps_numbers: ClassVar[bool] = False
    identity: ClassVar[bool] = False
    advice: ClassVar[str] = "try --range minmax or float"
    remedy: ClassVar[str] = "try --range minmax"

    @classmethod
    def word(cls) -> str:
        """Return the name, such as ``offset``."""
        return re.split(r"[:\[]", cls.form)[0]

    @classmethod
    def read(cls, text: str, parameters: str | None) -> Range:
        """Read the policy from ``word`` or ``word:parameters``; ``text`` is all of it, for errors."""
        if parameters is not None:
            raise _unknown(text)
        return cls()

    def __str__(self) -> str:
        return self.word()

    @property
    def colours(self) -> str:
        """The colour map that pixels are shown in, nothing where they stay grey."""
        return ""

    def widened(self, factor: float) -> Range:
        """Return the policy of a kernel of the same kind, whose results are larger by a factor."""
        return self

    def remarks(self, tally: Tally, white: float, given: bool = True, total: float = 1.0) -> Iterator[str]:
        """Yield what is to be said about what became of the values.

        Parameters
        ----------
        given
            Whether a person chose the policy; else it is the kernel's own.
        total
            What the weights add up to, where all of them brighten.
        """
        if tally.clipped:
            whose = "--range" if given else "the kernel's range"
            much = _share(tally.clipped, tally.values)
            advice = f"the weights sum to {total:g}: try --scale normalise" if total > 1.5 else self.advice
            yield f"{much} clipped by {whose} {self}; {advice}"
        if tally.nans:
            yield f"{tally.nans} values are not numbers (NaN) and were written as black (signed: as 0)"
        if tally.rounded:
            yield ROUNDED
        name = {0: " (black)", white: " (white)"}.get(tally.only or 0.0, "")
        if tally.even and not self.keeps_numbers and (name or not self.identity):
            yield f"all of the result is {tally.only:g}{name} by --range {self}: {self.remedy}"

    def first_pass(self) -> Pass | None:
        """Return what must be measured on all values before any of them becomes a pixel, None for nothing."""
        return None

    @abstractmethod
    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        """Return the mapping for one output; ``measured`` is what the passes over its values found."""


def _share(part: int, whole: int) -> str:
    """Return how many of the values are meant: a share, or the count where that is under a hundredth of a percent.

    >>> _share(998, 1000), _share(49, 10_000), _share(6, 10**6)
    ('99 %', '0.5 %', '6 values')
    """
    percent = 100 * part / whole
    if percent < 0.01:
        return f"{part} value{'s' * (part > 1)}"
    return f"{min(percent, 99 if part < whole else 100):.{0 if percent >= 10 else 1}f} %"


class Clip(Range):
    """Cut at black and at white, which is 1 of floats."""

    form = example = "clip"
    identity = True
    remedy = "try --range minmax or LO:HI (white of floats is 1)"

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        return target.rendering(scale=target.level)


class Abs(Range):
    """The size without the sign, cut at the upper end."""

    form = example = "abs"
    remedy = Clip.remedy

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        return target.rendering(absolute=True, scale=target.level)


@frozen
class Offset(Range):
    """Zero is mid grey, negative values darker, positive ones lighter; with gain 1 no result clips."""

    form = "offset[:GAIN]"
    example = "offset:2"
    gain: float = 1.0

    @classmethod
    def read(cls, text: str, parameters: str | None) -> Offset:
        if parameters is None:
            return cls()
        gain = parse_float(parameters, f"the gain of range {quoted(text)}")
        if gain <= 0:
            raise UsageError(f"range {quoted(text)}: the gain must be above 0, such as offset:2")
        return cls(gain)

    def __str__(self) -> str:
        return "offset" if self.gain == 1 else f"offset:{_exact_text(self.gain)}"

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        half = target.top - target.middle
        scale = self.gain * half / target.bound if target.bound else 0.0
        return target.rendering(scale=scale, offset=target.middle)


@frozen
class Bound:
    """One end of a window: in the input's units, or in percent of the input's full scale or of its largest sample."""

    value: float
    percent: bool = False
    largest: bool = False

    def resolve(self, full_scale: float) -> float:
        """Return the bound in the input's units; `full_scale` is white, such as 255, or the largest sample.

        >>> Bound(400, percent=True).resolve(255)
        1020.0
        """
        return self.value / 100 * full_scale if self.percent else self.value

    def __str__(self) -> str:
        return _exact_text(self.value) + "%" * self.percent + "max" * self.largest


@frozen
class Window(Range):
    """LO becomes black, HI white; in the input's units or, with ``%``, in percent of the input's full scale.

    With percent one text serves 8 and 16 bits.  With ``%max`` it is percent of the input's largest sample.
    """

    form = "LO:HI"
    example = "0%:400%"
    low: Bound
    high: Bound

    @classmethod
    def read(cls, text: str, parameters: str | None) -> Window:
        low, high = (_BOUND.fullmatch(part) for part in (text.partition(":")[0], parameters or ""))
        if low is None or high is None or low[1][0].isalpha():
            raise _unknown(text)
        what = f"range {quoted(text)}"
        bottom, top = _exact(low[1], what), _exact(high[1], what)
        if low[2] != high[2] and bottom and top:
            raise UsageError(f"{what}: give both ends in percent or neither")
        if bottom >= top:
            raise UsageError(f"{what}: LO must be below HI")
        unit = max(low[2] or "", high[2] or "")  # a plain 0 beside a percentage is 0 %
        return cls(*(Bound(end, bool(unit), unit == "%max") for end in (bottom, top)))

    def __str__(self) -> str:
        return f"{self.low}:{self.high}"

    def widened(self, factor: float) -> Window:
        return Window(*(replace(end, value=end.value * factor) for end in (self.low, self.high)))

    def ends(self, full_scale: float) -> tuple[float, float]:
        """Return black and white in the input's units.

        >>> Window.read("0%:400%", "400%").ends(65535)
        (0.0, 262140.0)
        """
        return self.low.resolve(full_scale), self.high.resolve(full_scale)

    def first_pass(self) -> Pass | None:
        from convcli.pixels.measures import Samples

        return Samples() if self.high.largest else None

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        if self.high.largest and measured is None:
            raise ValueError(f"range {self} needs what was measured")
        return target.stretch(
            *self.ends(measured[1] if measured and self.high.largest else target.full_scale)
        )


class MinMax(Range):
    """The smallest value of the whole output becomes black, the largest white."""

    form = example = "minmax"
    remedy = "the results are alike"

    def first_pass(self) -> Pass | None:
        from convcli.pixels.measures import Extremes

        return Extremes()

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        if measured is None:
            raise ValueError(f"range {self} needs what was measured")
        return target.stretch(*measured, noise=target.noise)


@frozen
class _Ends(Range):
    """Two numbers, LO and HI."""

    noun: ClassVar[str]
    most: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    low: float
    high: float

    @classmethod
    def read(cls, text: str, parameters: str | None) -> _Ends:
        what = f"range {quoted(text)}"
        low, colon, high = (parameters or "").partition(":")
        if not colon:
            raise UsageError(f"{what}: give two {cls.noun}, such as {cls.example}")
        ends, (least, most) = (parse_float(low, what), parse_float(high, what)), cls.most
        if not least <= ends[0] < ends[1] <= most:
            limits = f", and both from {least} to {most}" if math.isfinite(most) else ""
            raise UsageError(f"{what}: LO must be below HI{limits}")
        return cls(*ends)

    def __str__(self) -> str:
        return f"{self.word()}:{_exact_text(self.low)}:{_exact_text(self.high)}"


class Percentile(_Ends, MinMax):
    """The percentiles LO and HI of the whole output become black and white; what lies beyond them is clipped.

    Between two values percentiles are interpolated linearly, as ``numpy.percentile`` does by default.
    """

    form = "percentile:LO:HI"
    example = "percentile:1:99"
    advice = "that is what percentiles do; --range minmax shows all"
    remedy = "those between the percentiles are alike; minmax shows others"
    noun, most = "percentiles", (0, 100)

    def first_pass(self) -> Pass | None:
        from convcli.pixels.measures import Percentiles

        return Percentiles((self.low, self.high))


class Decibels(_Ends):
    """LO and HI decibels of full scale become black and white, the sizes of values between them by their logarithms."""

    form = "dB:LO:HI"
    example = "dB:-80:0"
    noun = "decibels"
    advice = "a higher HI shows all"

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        return target.logarithm(self.low, self.high)


class Float(Range):
    """Kept as numbers."""

    form = example = "float"
    keeps_numbers = True

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        if not target.floats:
            raise UsageError(
                f"range float cannot be written as {target.dtype}: "
                "write .npy, .tiff or .csv, or use another --range"
            )
        return target.rendering(fits=True)


@frozen
class Coloured(Range):
    """A colour map: its first colour is what another policy makes black, its last one what that makes white."""

    form = "MAP[:RANGE]"
    example = "viridis"
    map: str
    inner: Range = MinMax()

    def __str__(self) -> str:
        return self.map if self.inner == MinMax() else f"{self.map}:{self.inner}"

    @property
    def colours(self) -> str:
        return self.map

    def widened(self, factor: float) -> Range:
        return Coloured(self.map, self.inner.widened(factor))

    def remarks(self, tally: Tally, white: float, given: bool = True, total: float = 1.0) -> Iterator[str]:
        for line in self.inner.remarks(tally, white, given, total):
            yield line.replace("as black", f"in the first colour of {self.map}").replace(
                " (signed: as 0)", ""
            )
        if tally.ends:
            yield f"{self.map} runs from {tally.ends[0]:.6g} to {tally.ends[1]:.6g}"

    def first_pass(self) -> Pass | None:
        return self.inner.first_pass()

    def rendering(self, target: Target, measured: Measured | None = None) -> Rendering:
        return self.inner.rendering(target, measured)


POLICIES: tuple[type[Range], ...] = (Clip, Abs, Offset, Window, MinMax, Percentile, Decibels, Float)
WRITTEN: tuple[type[Range], ...] = (*POLICIES, Coloured)
FORMS = ", ".join(policy.form for policy in WRITTEN)


def parse_range(text: str) -> Range:
    """Read a range policy, in one of the `FORMS`.

    Raises
    ------
    UsageError
        For an unknown name, or parameters that the policy cannot have.

    >>> str(parse_range("offset:2")), str(parse_range("-10:1e1"))
    ('offset:2', '-10:10')
    """
    word, colon, rest = text.strip().partition(":")
    named = (policy for policy in POLICIES if policy is not Window and policy.word() == word)
    policy = next(named, Window)
    if policy is Window and is_map(word):
        inner = parse_range(rest) if colon else MinMax()
        if inner.keeps_numbers or inner.colours:
            raise UsageError(f"range {quoted(text)}: {inner} has no black and white for a colour map")
        return Coloured(word, inner)
    return policy.read(text, rest if colon else None)


range_policy = shared(
    f"How numbers become pixels: {FORMS} (viridis, grey, or one of matplotlib's). White of floats is 1. "
    "Default: the kernel's.",
    panel=Panel.VALUES,
    read=parse_range,
    complete=tuple(policy.example for policy in WRITTEN),
)


def _unknown(text: str) -> UsageError:
    word, colon, _ = text.strip().partition(":")
    words = [policy.word() for policy in POLICIES if policy is not Window]
    near = difflib.get_close_matches(word, [*words, *names()], n=1)
    hint = f"did you mean {near[0]}? It" if near and not (colon and near[0] == word) else "it"
    return UsageError(f"range {quoted(text)} is not known: {hint} is one of {FORMS} (LO:HI as in 0%:400%)")


def _exact(text: str, what: str) -> float:
    """Read a number that may be a 64-bit integer, of which floats would lose the last digits."""
    number = parse_number(text, what)
    rounded = to_float(number, what)
    return rounded if number == rounded or number.denominator > 1 else int(number)


def _exact_text(value: float) -> str:
    return repr(value).removesuffix(".0")
