"""Kernels made by a formula from a name with numbers: ``box:5``, ``gaussian:sigma=2x1``.

A new one is one function and one row of `FORMULAS`, and a YAML file of the same name that describes it.
No files, no arrays.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce

from convcli.common import UsageError, frozen, parse_number, quoted, split_unit, to_float, within
from convcli.kernel.model import MAX_RANK, Kernel, check_size

# Sizes of the axes; what makes the numbers, the last axis fastest
Weights = tuple[tuple[int, ...], Callable[[], Sequence[float]]]
Sizes = tuple[int, ...]
Floats = tuple[float, ...]


@frozen
class Formula:
    """How a family of kernels is written and made; the first parameter may be given without its name."""

    examples: str
    parameters: Mapping[str, str]  # with the values that hold when they are left out
    make: Callable[..., Weights]  # of each parameter's values, one an axis
    rank: int | None = None  # when it has only one
    measured: int | None = None  # along how many of its axes the one value counts, when it has only one


def parse_parametric(
    text: str, rank: int = 2, stored: int | None = None, formula: Formula | None = None
) -> Kernel:
    """Make a kernel of ``NAME``, ``NAME:VALUE`` or ``NAME:PARAMETER=VALUE,…``; ``3x7`` is a value for each axis.

    Parameters
    ----------
    text
        As above; the name is one of `FORMULAS`, or that of ``formula``.
    rank
        Used where the text does not say how many axes it means.
    stored
        The size of the file that the text stands in, as in `check_size`.

    Raises
    ------
    UsageError
        For unknown parameters, values that are not numbers, and sizes beyond reason.

    >>> parse_parametric("box:3x7").size, parse_parametric("box:3", rank=1).size
    ((3, 7), (3,))
    """
    name, colon, rest = text.partition(":")
    formula = formula or FORMULAS[name]
    with within(f"kernel {quoted(text)}"):
        values = {**formula.parameters, **given(formula, rest.split(",") if colon else [])}
        split = {key: value.split("x") for key, value in values.items()}
        ranks = {len(parts) for parts in split.values() if len(parts) > 1}
        if len(ranks) > 1 or max(ranks, default=1) > MAX_RANK:
            raise UsageError(f"give one value, or one for each of up to {MAX_RANK} axes")
        rank = formula.rank or rank
        if formula.rank is not None and ranks:
            raise UsageError(f"{name} takes one value, as in {formula.examples}")
        rank = ranks.pop() if ranks else rank
        if any(key != "ratio" and any(map(split_unit, parts)) for key, parts in split.items()):
            raise UsageError(
                "units need a file that tells where its samples lie, in filter or explain (in Python, spacing=)"
            )
        numbers = {key: [parse_number(part, key) for part in parts] for key, parts in split.items()}
        every = {key: own * rank if len(own) == 1 else own for key, own in numbers.items()}
        size, weights = formula.make(*(_READ[key](own) for key, own in every.items()))
        check_size(size, stored)
    return Kernel(text, (1, 1, *size), tuple(weights()))


def given(formula: Formula, parts: Sequence[str]) -> dict[str, str]:
    """Return the parameters that parts of a text name, those without a name being the first."""
    found: dict[str, str] = {}
    for position, part in enumerate(parts):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and position == 0:
            key, value = next(iter(formula.parameters)), key
        if key not in formula.parameters or key in found or "" in value.split("x"):
            raise UsageError(
                f"{quoted(part)} is not understood; "
                f"parameters are {', '.join(formula.parameters)}, as in {formula.examples}"
            )
        found[key] = value
    return found


def _sizes(numbers: Sequence[Fraction]) -> Sizes:
    for number in numbers:
        if number.denominator != 1 or number < 1:
            raise UsageError(f"size {to_float(number):g} is not possible: it is a whole number from 1 on")
    # What is far too large is refused above; cut down, it still fits into one line.
    return tuple(min(int(number), 10**9) for number in numbers)


def _sigmas(numbers: Sequence[Fraction]) -> Floats:
    for number in numbers:
        if number <= 0:
            raise UsageError(f"sigma {to_float(number):g} is not possible: it must be above 0")
    return tuple(to_float(number, "sigma") for number in numbers)


def _radii(sigmas: Sequence[float], *, at_least: int = 0) -> Sizes:
    """Return round(4 sigma) for each axis, as scipy.ndimage cuts its Gaussians off."""
    for sigma in sigmas:
        if 4 * sigma + 0.5 < at_least:
            raise UsageError(f"sigma {sigma:g} is too small to reach a neighbour: use {1 / 8} or more")
    return tuple(math.floor(min(4 * sigma + 0.5, 1e9)) for sigma in sigmas)


def _sides(radii: Sizes) -> Sizes:
    return tuple(2 * radius + 1 for radius in radii)


def _outer(axes: Sequence[Sequence[float]]) -> Sequence[float]:
    """Return the products of one factor from each axis, the last axis fastest."""
    return reduce(lambda done, axis: [a * b for a in done for b in axis], axes)


def _bell(sigma: float, radius: int) -> list[float]:
    """Return samples of a Gaussian at whole numbers, divided by their sum."""
    samples = [math.exp(-0.5 * (x / sigma) * (x / sigma)) for x in range(-radius, radius + 1)]
    total = math.fsum(samples)
    return [sample / total for sample in samples]


def _ratios(numbers: Sequence[Fraction]) -> Floats:
    if min(numbers) <= 1:
        raise UsageError(
            f"ratio {to_float(min(numbers)):g} is not possible: the second Gaussian must be wider, as ratio=1.6"
        )
    return tuple(to_float(number, "ratio") for number in numbers)


_READ: Mapping[str, Callable[[Sequence[Fraction]], Floats]] = {
    "size": _sizes,
    "sigma": _sigmas,
    "ratio": _ratios,
}


def _identity(size: Sizes) -> Weights:
    return size, lambda: _outer([[float(i == (k - 1) // 2) for i in range(k)] for k in size])


def _box(size: Sizes) -> Weights:
    return size, lambda: [1 / math.prod(size)] * math.prod(size)


def _binomial(size: Sizes) -> Weights:
    if max(size) > 1000:
        raise UsageError(f"size {max(size)} is too large for a binomial (1000): use gaussian:sigma=…")
    return size, lambda: _outer([[math.comb(k - 1, i) / 2 ** (k - 1) for i in range(k)] for k in size])


def _gaussian(sigmas: Floats) -> Weights:
    radii = _radii(sigmas)
    return _sides(radii), lambda: _outer(list(map(_bell, sigmas, radii)))


def _log(sigmas: Floats) -> Weights:
    """Sum the second derivatives of a Gaussian along each axis; then make flat areas give exactly zero."""
    radii = _radii(sigmas, at_least=1)

    def weights() -> Sequence[float]:
        bells = list(map(_bell, sigmas, radii))
        curved = [
            [weight * ((x / sigma) ** 2 - 1) / sigma**2 for x, weight in enumerate(bell, -radius)]
            for bell, sigma, radius in zip(bells, sigmas, radii, strict=True)
        ]
        terms = [_outer([*bells[:i], curve, *bells[i + 1 :]]) for i, curve in enumerate(curved)]
        sums = list(map(math.fsum, zip(*terms, strict=True)))
        mean = math.fsum(sums) / len(sums)
        return [weight - mean for weight in sums]

    return _sides(radii), weights


def _dog(sigmas: Floats, ratios: Floats) -> Weights:
    wide = [sigma * ratio for sigma, ratio in zip(sigmas, ratios, strict=True)]
    radii = _radii(wide, at_least=1)

    def weights() -> Sequence[float]:
        near, far = (_outer(list(map(_bell, widths, radii))) for widths in (sigmas, wide))
        return [a - b for a, b in zip(near, far, strict=True)]

    return _sides(radii), weights


def _motion_blur(size: Sizes) -> Weights:
    return size, lambda: [float(x == y) / size[0] for y in range(size[0]) for x in range(size[1])]


def _temporal_mean(size: Sizes) -> Weights:
    frames = size[0]
    return (frames, 1, 1), lambda: [1 / frames] * frames


def _temporal_gaussian(sigmas: Floats) -> Weights:
    radii = _radii(sigmas[:1])
    return (*_sides(radii), 1, 1), lambda: _bell(sigmas[0], *radii)


FORMULAS: Mapping[str, Formula] = {
    "identity": Formula("identity:3", {"size": "1"}, _identity),
    "box": Formula("box:5, box:3x7 or box:3x3x3", {"size": "3"}, _box),
    "binomial": Formula("binomial:5 or binomial:3x5", {"size": "3"}, _binomial),
    "gaussian": Formula("gaussian:2 or gaussian:sigma=2x1", {"sigma": "1"}, _gaussian),
    "log": Formula("log:sigma=2", {"sigma": "1.4"}, _log),
    "dog": Formula("dog:sigma=1,ratio=1.6", {"sigma": "1", "ratio": "1.6"}, _dog),
    "motion-blur": Formula("motion-blur:15", {"size": "9"}, _motion_blur, rank=2),
    "temporal-mean": Formula("temporal-mean:5", {"size": "3"}, _temporal_mean, rank=3, measured=1),
    "temporal-gaussian": Formula(
        "temporal-gaussian:2", {"sigma": "1"}, _temporal_gaussian, rank=3, measured=1
    ),
}
