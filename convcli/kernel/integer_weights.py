"""A kernel as integers times one factor: sums of small integers are exact, whatever their order."""

from functools import cached_property, lru_cache

from convcli.common.frozen import frozen

MOST = 256  # of the sum of absolute numbers: times 65535 it stays below 2**24, where float32 counts exactly
MOST_SIGNED = 128  # times 255 or -128 it stays within 16 bits with a sign
STEPS = 12  # the smallest weight may be so many times the factor
EXACT = 2e-7  # of a quotient, to its rounding: what float32 leaves of a weight


@frozen
class Whole:
    """Weights ``factor * numbers``.

    Attributes
    ----------
    factor : float
    numbers : tuple of int
        In C order.
    """

    factor: float
    numbers: tuple[int, ...]

    @cached_property
    def signed(self) -> bool:
        return any(number < 0 for number in self.numbers)

    @cached_property
    def total(self) -> int:
        """The sum of the absolute numbers."""
        return sum(map(abs, self.numbers))

    @property
    def divisor(self) -> int | None:
        """By what the sums are divided where the kernel is a weighted mean."""
        mean = not self.signed and abs(self.factor * self.total - 1) <= EXACT
        return self.total if mean else None

    @property
    def unit(self) -> tuple[int | None, float]:
        """What sums of the numbers are divided by, or multiplied with: kernels that share it make a bank."""
        return self.divisor, 0.0 if self.divisor else self.factor

    def fits_16_bits(self, unsigned: bool) -> bool:
        """Return whether sums of 8 bits, with or without a sign, fit 16."""
        return self.total <= (MOST if unsigned and not self.signed else MOST_SIGNED)


@lru_cache(maxsize=256)
def whole(weights: tuple[float, ...]) -> Whole | None:
    """Return a kernel as integers; None where there are none small enough.

    >>> whole((0.1, 0.5, 0.0))
    Whole(factor=0.1, numbers=(1, 5, 0))
    >>> whole((0.3, 0.7123, 1.0)) is None
    True
    """
    sizes = [abs(weight) for weight in weights if weight]
    if not sizes:
        return None
    for step in range(1, STEPS + 1):
        factor = min(sizes) / step
        if sum(sizes) > (MOST + 0.5) * factor:
            return None
        quotients = [weight / factor for weight in weights]
        if all(abs(quotient - round(quotient)) <= EXACT * abs(quotient) for quotient in quotients):
            return Whole(factor, tuple(round(quotient) for quotient in quotients))
    return None
