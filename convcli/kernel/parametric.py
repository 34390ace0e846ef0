"""Kernels made by a formula from a name with numbers: ``box:5``, ``gaussian:sigma=2x1``.

A new one is one function and one row of `FORMULAS`, and a YAML file of the same name that describes it.
No files, no arrays.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import reduce
from itertools import pairwise

from convcli.common import UsageError, frozen, parse_number, quoted, split_unit, to_float, within
from convcli.geometry.pools import STATISTICS, PoolKind
from convcli.kernel.model import MAX_RANK, Kernel, check_size

# Sizes of the axes; what makes the numbers, the last axis fastest
Weights = tuple[tuple[int, ...], Callable[[], Sequence[float]]]
Sizes = tuple[int, ...]
Floats = tuple[float, ...]


@frozen
class Formula:
    """How a family of kernels is written and made; parameters in their order may be given without their names."""

    examples: str
    parameters: Mapping[str, str]  # with the values that hold when they are left out
    make: Callable[..., Weights]  # of each parameter's values, one an axis
    rank: int | None = None  # when it has only one
    measured: int | None = None  # along how many of its axes the one value counts, when it has only one
    maps: int = 1  # of a bank, whose weights follow each other
    statistic: PoolKind | None = None  # of the window's samples, where it takes one instead of a weighted sum

    @classmethod
    def of(cls, kind: PoolKind) -> "Formula":
        """Return how a statistic of windows is written."""
        more = kind.arguments
        examples = f"{kind}:5{more} or {kind}:3x7{more}"
        return cls(examples, {"size": "3", **kind.parameters}, _window, statistic=kind)


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
        if any(key not in ("ratio", "angle") and any(map(split_unit, parts)) for key, parts in split.items()):
            raise UsageError(
                "units need a file that tells where its samples lie, in filter or explain (in Python "
                "spacing=, in kernels show --rate)"
            )
        numbers = {key: [parse_number(part, key) for part in parts] for key, parts in split.items()}
        every = {key: own * rank if len(own) == 1 else own for key, own in numbers.items()}
        size, weights = formula.make(*(_READ[key](own) for key, own in every.items()))
        check_size(size, stored)
        statistic = formula.statistic
        if statistic is not None:
            statistic = statistic.given(*(to_float(numbers[key][0], key) for key in statistic.parameters))
    return Kernel(text, (formula.maps, 1, *size), tuple(weights()), statistic=statistic)


def given(formula: Formula, parts: Sequence[str]) -> dict[str, str]:
    """Return the parameters that parts of a text name, those without a name being the ones that have their place."""
    found: dict[str, str] = {}
    for position, part in enumerate(parts):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals and position < len(formula.parameters):
            key, value = list(formula.parameters)[position], key
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


def _above_0(what: str) -> Callable[[Sequence[Fraction]], Floats]:
    def read(numbers: Sequence[Fraction]) -> Floats:
        for number in numbers:
            if number <= 0:
                raise UsageError(f"{what} {to_float(number):g} is not possible: it must be above 0")
        return tuple(to_float(number, what) for number in numbers)

    return read


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
    return _normalised([math.exp(-0.5 * (x / sigma) * (x / sigma)) for x in range(-radius, radius + 1)])


def _ratios(numbers: Sequence[Fraction]) -> Floats:
    if min(numbers) <= 1:
        raise UsageError(
            f"ratio {to_float(min(numbers)):g} is not possible: the second Gaussian must be wider, as ratio=1.6"
        )
    return tuple(to_float(number, "ratio") for number in numbers)


def _whole(numbers: Sequence[Fraction], what: str, least: int, most: int) -> Sizes:
    for number in numbers:
        if number.denominator != 1 or not least <= number <= most:
            raise UsageError(f"{what} {to_float(number):g} is not possible: give {least} to {most}")
    return tuple(map(int, numbers))


def _cycles(numbers: Sequence[Fraction]) -> Floats:
    for number in numbers:
        if not 0 < number < Fraction(1, 2):
            raise UsageError(
                f"{to_float(number):.3g} cycles a sample: give more than 0 and less than 0.5, or Hz"
            )
    return tuple(map(float, numbers))


_READ: Mapping[str, Callable[[Sequence[Fraction]], Floats]] = {
    "size": _sizes,
    "taps": lambda numbers: _whole(numbers, "number of taps", 0, 1_000_000),
    **{name: _above_0(name) for name in ("sigma", "scale", "radius")},
    "ratio": _ratios,
    "order": lambda numbers: _whole(numbers, "order", 0, 9),
    "deriv": lambda numbers: _whole(numbers, "derivative", 0, 9),
    "lobes": lambda numbers: _whole(numbers, "number of lobes", 1, 9),
    **dict.fromkeys(("angle", "amount", "percent"), lambda numbers: tuple(map(float, numbers))),
    **dict.fromkeys(("cutoff", "low", "high", "frequency"), _cycles),
}


def _window(size: Sizes, *_: Floats) -> Weights:
    return size, lambda: [1.0] * math.prod(size)


def _identity(size: Sizes) -> Weights:
    return size, lambda: _outer([[float(i == (k - 1) // 2) for i in range(k)] for k in size])


def _box(size: Sizes) -> Weights:
    return size, lambda: [1 / math.prod(size)] * math.prod(size)


def _binomial(size: Sizes) -> Weights:
    if max(size) > 1000:
        raise UsageError(f"size {max(size)} is too large for a binomial (1000): use gaussian:sigma=…")
    return size, lambda: _outer([[math.comb(k - 1, i) / 2 ** (k - 1) for i in range(k)] for k in size])


def _gaussian(sigmas: Floats, orders: Sizes) -> Weights:
    """Sample Gaussians, or their derivatives: of each axis its own order, as scipy.ndimage.gaussian_filter has them."""
    radii = _radii(sigmas, at_least=int(any(orders)))
    axes = zip(sigmas, radii, orders, strict=True)
    return _sides(radii), lambda: _outer([_derivative(*one) for one in axes])


def _derivative(sigma: float, radius: int, order: int) -> list[float]:
    """Return a bell's derivative to be correlated with: rising data give positive results for the first."""
    polynomial = [1.0]  # of x, times the bell; each derivative is p' - p x / sigma^2
    for _ in range(order):
        slope = [power * factor for power, factor in enumerate(polynomial)][1:]
        bent = [0.0, *(-factor / sigma**2 for factor in polynomial)]
        polynomial = [a + b for a, b in zip(bent, [*slope, *[0.0] * (len(bent) - len(slope))], strict=True)]
    places = range(radius, -radius - 1, -1)
    factors = [math.fsum(factor * x**power for power, factor in enumerate(polynomial)) for x in places]
    return [factor * weight for factor, weight in zip(factors, _bell(sigma, radius), strict=True)]


def _normalised(weights: Sequence[float]) -> list[float]:
    total = math.fsum(weights)
    return [weight / total for weight in weights]


def _hann(size: Sizes) -> Weights:
    """Raise a cosine over each axis: scipy.signal.windows.hann of two samples more, without the zeros at its ends."""
    lines = [[math.sin(math.pi * (i + 1) / (k + 1)) ** 2 for i in range(k)] for k in size]
    return size, lambda: _outer(list(map(_normalised, lines)))


def _tent(size: Sizes) -> Weights:
    lines = [[float(min(i + 1, k - i)) for i in range(k)] for k in size]
    return size, lambda: _outer(list(map(_normalised, lines)))


def _disk(radii: Floats) -> Weights:
    """Take the samples whose distance, in radii, is at most 1."""
    reach = tuple(math.floor(min(radius, 1e9)) for radius in radii)

    def weights() -> Sequence[float]:
        lines = [
            [(i / radius) ** 2 for i in range(-n, n + 1)] for n, radius in zip(reach, radii, strict=True)
        ]
        squares: Sequence[float] = reduce(
            lambda done, line: [a + b for a in done for b in line], lines, [0.0]
        )
        return _normalised([float(square <= 1) for square in squares])

    return _sides(reach), weights


def _sinc(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x) if x else 1.0


def _lanczos(lobes: Sizes, scales: Floats) -> Weights:
    """Window a sinc by the middle of a wider one; every `scale`-th sample may then be kept."""
    reach = tuple(math.ceil(min(lobe * scale, 1e9)) - 1 for lobe, scale in zip(lobes, scales, strict=True))
    axes = zip(lobes, scales, reach, strict=True)

    def line(lobe: int, scale: float, n: int) -> list[float]:
        return _normalised([_sinc(x / scale) * _sinc(x / scale / lobe) for x in range(-n, n + 1)])

    return _sides(reach), lambda: _outer([line(*one) for one in axes])


def _gabor(frequencies: Floats, angles: Floats, sigmas: Floats) -> Weights:
    """Multiply a Gaussian by a wave that runs along `angle`: the real part of skimage.filters.gabor_kernel."""
    frequency, angle, sigma = frequencies[0], math.radians(angles[0]), sigmas[0]
    run, rise = math.cos(angle), math.sin(angle)
    wide, tall = (math.ceil(min(max(3 * sigma * abs(run), 3 * sigma * abs(rise), 1), 1e9)) for _ in "xy")

    def weights() -> Sequence[float]:
        bell = [
            (x * run + y * rise, math.exp(-(x * x + y * y) / (2 * sigma**2)) / (2 * math.pi * sigma**2))
            for y in range(-tall, tall + 1)
            for x in range(-wide, wide + 1)
        ]
        return [height * math.cos(2 * math.pi * frequency * along) for along, height in bell]

    return (2 * tall + 1, 2 * wide + 1), weights


def _savgol(size: Sizes, orders: Sizes, derivatives: Sizes) -> Weights:
    """Fit a polynomial to the window by least squares; take its value, or a derivative, in the middle."""
    count, order, derivative = size[0], orders[0], derivatives[0]
    if count % 2 == 0 or order >= count:
        raise UsageError(f"savgol takes an odd size above its order, and has {count} and {order}")

    def weights() -> Sequence[float]:
        reach = count // 2
        moments = [
            Fraction(sum(x**power for x in range(-reach, reach + 1))) for power in range(2 * order + 1)
        ]
        rows = [
            [moments[i + j] for j in range(order + 1)] + [Fraction(i == derivative)] for i in range(order + 1)
        ]
        for i in range(order + 1):  # solves the normal equations exactly; they are positive definite
            rows[i] = [value / rows[i][i] for value in rows[i]]
            for j in (j for j in range(order + 1) if j != i):
                rows[j] = [a - rows[j][i] * b for a, b in zip(rows[j], rows[i], strict=True)]
        factors = [row[-1] * math.factorial(derivative) for row in rows]
        places = range(-reach, reach + 1)
        return [float(sum(factor * x**power for power, factor in enumerate(factors))) for x in places]

    return size, weights


_TRANSITION = 3.3  # of a Hamming window, from pass to stop, in cycles a sample, times the number of taps


def _windowed(low: float, high: float, taps: int) -> Weights:
    """Return a windowed sinc that passes a band of frequencies, with a gain of 1 in its middle: scipy.signal.firwin's.

    By default it has so many taps that the transition is half of what lies between two cut-offs, or one and an end.
    """
    ends = sorted({0.0, low, high, 0.5})
    narrowest = min(b - a for a, b in pairwise(ends))
    count = taps or 2 * math.ceil(min(_TRANSITION / narrowest, 1e9)) + 1
    if count % 2 == 0:
        raise UsageError(f"number of taps {count} is not possible: give an odd one, whose middle is a sample")
    reach = count // 2

    def weights() -> Sequence[float]:
        places = range(-reach, reach + 1)
        window = [0.54 + 0.46 * math.cos(math.pi * x / reach) if reach else 1.0 for x in places]
        ideal = [2 * high * _sinc(2 * high * x) - 2 * low * _sinc(2 * low * x) for x in places]
        made = [a * b for a, b in zip(ideal, window, strict=True)]
        middle = 0.0 if low == 0 else 0.5 if high == 0.5 else (low + high) / 2
        gain = math.fsum(
            weight * math.cos(2 * math.pi * middle * x) for x, weight in zip(places, made, strict=True)
        )
        return [weight / gain for weight in made]

    return (count,), weights


def _bandpass(low: Floats, high: Floats, taps: Sizes) -> Weights:
    if low[0] >= high[0]:
        raise UsageError(f"the band from {low[0]:g} to {high[0]:g} cycles a sample is empty")
    return _windowed(low[0], high[0], taps[0])


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


def _unsharp(sigmas: Floats, amounts: Floats) -> Weights:
    """Add ``amount`` times what a Gaussian blur removes, as skimage.filters.unsharp_mask does."""
    if len({*amounts}) > 1:
        raise UsageError("amount takes one value, as in unsharp:sigma=2x1,amount=1")
    radii = _radii(sigmas, at_least=1)

    def weights() -> Sequence[float]:
        made = [-amounts[0] * weight for weight in _outer(list(map(_bell, sigmas, radii)))]
        made[len(made) // 2] += 1 + amounts[0]
        return made

    return _sides(radii), weights


def _sobel(*axes: int) -> Callable[[Sizes], Weights]:
    """Return what makes gradients along axes of (y, x): smoothing by a binomial, and the difference of one.

    The numbers of OpenCV's getDerivKernels.
    """

    def make(size: Sizes) -> Weights:
        k = size[0]
        if k % 2 == 0 or not 3 <= k <= 31:
            raise UsageError(f"size {k} is not possible: give an odd one from 3 to 31")
        smooth = [float(math.comb(k - 1, i)) for i in range(k)]
        shorter = [0, 0, *(math.comb(k - 3, i) for i in range(k - 2)), 0, 0]
        slope = [float(shorter[i] - shorter[i + 2]) for i in range(k)]
        lines = [[slope if axis == along else smooth for axis in (0, 1)] for along in axes]
        return (k, k), lambda: [weight for pair in lines for weight in _outer(pair)]

    return make


def _motion_blur(size: Sizes) -> Weights:
    return size, lambda: [float(x == y) / size[0] for y in range(size[0]) for x in range(size[1])]


def _temporal_mean(size: Sizes) -> Weights:
    frames = size[0]
    return (frames, 1, 1), lambda: [1 / frames] * frames


def _temporal_gaussian(sigmas: Floats) -> Weights:
    radii = _radii(sigmas[:1])
    return (*_sides(radii), 1, 1), lambda: _bell(sigmas[0], *radii)


FORMULAS: Mapping[str, Formula] = {
    **{kind.name: Formula.of(kind) for kind in STATISTICS},
    "identity": Formula("identity:3", {"size": "1"}, _identity),
    "box": Formula("box:5, box:3x7 or box:3x3x3", {"size": "3"}, _box),
    "binomial": Formula("binomial:5 or binomial:3x5", {"size": "3"}, _binomial),
    "gaussian": Formula(
        "gaussian:2 or gaussian:sigma=2x1,order=0x1", {"sigma": "1", "order": "0"}, _gaussian
    ),
    "log": Formula("log:sigma=2", {"sigma": "1.4"}, _log),
    "dog": Formula("dog:sigma=1,ratio=1.6", {"sigma": "1", "ratio": "1.6"}, _dog),
    "unsharp": Formula("unsharp:sigma=2,amount=1", {"sigma": "1", "amount": "1"}, _unsharp),
    "hann": Formula("hann:5 or hann:3x5", {"size": "5"}, _hann),
    "tent": Formula("tent:5 or tent:3x5", {"size": "3"}, _tent),
    "disk": Formula("disk:3 or disk:2.5x2.5x1", {"radius": "2"}, _disk),
    "lanczos": Formula("lanczos:3 or lanczos:3,scale=4", {"lobes": "3", "scale": "2"}, _lanczos),
    "gabor": Formula(
        "gabor:0.1 or gabor:0.1,angle=45,sigma=4",
        {"frequency": "0.1", "angle": "0", "sigma": "4"},
        _gabor,
        rank=2,
    ),
    "savgol": Formula(
        "savgol:11,3 or savgol:11,3,deriv=1", {"size": "11", "order": "3", "deriv": "0"}, _savgol, rank=1
    ),
    "lowpass": Formula(
        "lowpass:0.1 or lowpass:0.1,taps=101",
        {"cutoff": "0.1", "taps": "0"},
        lambda cutoff, taps: _windowed(0.0, cutoff[0], taps[0]),
        rank=1,
    ),
    "highpass": Formula(
        "highpass:0.1 or highpass:0.1,taps=101",
        {"cutoff": "0.1", "taps": "0"},
        lambda cutoff, taps: _windowed(cutoff[0], 0.5, taps[0]),
        rank=1,
    ),
    "bandpass": Formula(
        "bandpass:0.1,0.2 or bandpass:0.1,0.2,taps=101",
        {"low": "0.1", "high": "0.2", "taps": "0"},
        _bandpass,
        rank=1,
    ),
    "sobel": Formula("sobel:5", {"size": "3"}, _sobel(1, 0), rank=2, maps=2),
    "sobel-x": Formula("sobel-x:5", {"size": "3"}, _sobel(1), rank=2),
    "sobel-y": Formula("sobel-y:5", {"size": "3"}, _sobel(0), rank=2),
    "motion-blur": Formula("motion-blur:15", {"size": "9"}, _motion_blur, rank=2),
    "temporal-mean": Formula("temporal-mean:5", {"size": "3"}, _temporal_mean, rank=3, measured=1),
    "temporal-gaussian": Formula(
        "temporal-gaussian:2", {"sigma": "1"}, _temporal_gaussian, rank=3, measured=1
    ),
}
