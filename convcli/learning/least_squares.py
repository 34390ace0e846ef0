"""The kernel that turns inputs into targets with the smallest sum of squared differences: numpy, float64.

Every output is one equation: the input's values under the taps, times the unknown weights, plus the unknown bias, is
the target's value.  The equations are made and solved block by block, and never all in memory.

The normal equations (AᵀA) w = Aᵀy are solved by Cholesky's factor R, RᵀR = AᵀA, and the solution is corrected
once by its own residuals, which gives back the accuracy that squaring lost: Björck, "Stability analysis of the
method of seminormal equations" (1987).  Where AᵀA is too near to singular for that, the blocks are folded into R by
QR decompositions, as many times slower as they are safer, which also tell whether the data determine the kernel:
Golub and Van Loan, "Matrix Computations" (4th ed.), section 5.3.  No files, no text for people but errors.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import prod
from operator import add

import numpy as np

from convcli.common import ConvError, UsageError, frozen, frozen_identity
from convcli.data import SPACE, Box, grid, slices, whole
from convcli.engines.padding import pad
from convcli.execution.pipeline import reference
from convcli.geometry.layers import format_size
from convcli.geometry.padding import Padding, PaddingName, PadMode
from convcli.geometry.windows import TransposedWindow, Window
from convcli.jobs.bind import Settings, bind
from convcli.jobs.chain import Chain, ConvStage
from convcli.kernel.model import Kernel, size_text

GUESSES = (PaddingName.SAME, PaddingName.VALID, PaddingName.FULL)
BLOCK = 1 << 20  # numbers of the equations that are in memory at once: 8 MB


@frozen_identity
class Example:
    """An input and what is to become of it.

    Attributes
    ----------
    stage : ConvStage
        A kernel of the wanted shape, bound to the input; its weights do not matter.
    input : ndarray
        (channels, *space), any real type.
    target : ndarray
        (maps, *outputs).  Where the stage does not sum over channels, one map for each channel.
    borders : bool
        Whether outputs whose windows leave the input count.  What lies outside is then the stage's to say.
    limits : tuple of float, optional
        Values at which the target was cut off: such outputs do not count.
    """

    stage: ConvStage
    input: np.ndarray
    target: np.ndarray
    borders: bool = False
    limits: tuple[float, float] | None = None

    @property
    def across(self) -> bool:
        """Whether one equation takes all channels; otherwise each channel has its own."""
        return self.stage.summed or len(self.input) == 1

    @property
    def spans(self) -> Box:
        """Return the outputs that count, along each axis."""
        if self.borders:
            return whole(self.target.shape[1:])
        return tuple(map(_inside, self.stage.windows, self.input.shape[1:], self.target.shape[1:]))

    @property
    def counting(self) -> int:
        """Return how many numbers of the target count, by their place alone."""
        return len(self.target) * prod(stop - start for start, stop in self.spans)

    def filtered(self, weights: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return what ``filter`` computes of the input with a kernel, of the target's shape."""
        kernel = replace(
            self.stage.kernel, weights=tuple(weights.ravel().tolist()), bias=tuple(bias.tolist())
        )
        sizes = (self.input.shape[1:], self.target.shape[1:])
        chain = Chain(SPACE[-len(sizes[0]) :], sizes, (replace(self.stage, kernel=kernel),), len(self.input))
        return reference(chain, self.input, "float64").reshape(self.target.shape)

    def counted(self, results: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return targets and results where the target counts, (outputs, counting)."""
        outputs = self.stage.kernel.outputs
        places = (slice(None), *slices(self.spans))
        targets = self.target[places].reshape(outputs, -1).astype(np.float64)
        results = results[places].reshape(outputs, -1)
        kept = np.isfinite(results).all(0) & np.isfinite(targets).all(0) & self.within(targets)
        return targets[:, kept], results[:, kept]

    def within(self, targets: np.ndarray) -> np.ndarray:
        """Return which columns of (outputs, n) targets were not cut off."""
        if self.limits is None:
            return np.ones(targets.shape[1], bool)
        low, high = self.limits
        return np.logical_and.reduce((targets > low) & (targets < high))


@frozen
class LeftOut:
    """Outputs that did not count, and why."""

    border: int = 0  # their windows leave the input
    saturated: int = 0  # the target is at the end of its range
    missing: int = 0  # a NaN or an infinity in the target or under the window

    def __add__(self, other: "LeftOut") -> "LeftOut":
        return LeftOut(*map(add, vars(self).values(), vars(other).values()))

    def told(self, *reasons: str) -> list[str]:
        """Return how many were left out for each reason, in the order of the fields, where there are any."""
        counts = zip(vars(self).values(), reasons, strict=True)
        return [f"{count} {reason}" for count, reason in counts if count]


def equations(example: Example, bias: bool) -> "Iterator[tuple[np.ndarray, np.ndarray, LeftOut]]":
    """Yield blocks of equations, one a column, and what was left out of each.

    The first array has what stands under each tap, then a 1 where a bias is sought; the second the targets.
    """
    spans = example.spans
    shape = example.stage.kernel.shape
    channels = 1 if example.across else len(example.input)
    unknowns = prod(shape[1:]) + bias
    most = max(BLOCK // (unknowns * channels), unknowns // channels, 1)
    for box in _boxes([stop - start for start, stop in spans], most):
        placed = tuple((lo + start, hi + start) for (lo, hi), (start, _) in zip(box, spans, strict=True))
        inputs = np.empty((unknowns, channels * prod(hi - lo for lo, hi in placed)))
        inputs[prod(shape[1:]) :] = 1
        _fill_inputs(inputs[: prod(shape[1:])], example, placed)
        block = example.target[(slice(None), *slices(placed))]
        targets = block.reshape(shape[0], -1).astype(np.float64)
        present = np.isfinite(inputs).all(0) & np.isfinite(targets).all(0)
        kept = present & example.within(targets)
        counts = {"missing": int((~present).sum()), "saturated": int(present.sum() - kept.sum())}
        lost = LeftOut(**{reason: count * shape[0] for reason, count in counts.items()})
        yield (inputs, targets, lost) if kept.all() else (inputs[:, kept], targets[:, kept], lost)


def _fill_inputs(rows: np.ndarray, example: Example, box: Box) -> None:
    """Write what stands under the taps for a box of outputs, each tap of each channel a row."""
    stage = example.stage
    ranges = [window.input_range(lo, hi) for window, (lo, hi) in zip(stage.windows, box, strict=True)]
    mode = stage.mode if example.borders else PadMode.ZERO
    padded = pad(example.input, ranges, mode, stage.value, np.float64)
    outputs = tuple(hi - lo for lo, hi in box)
    taps = tuple(window.kernel for window in stage.windows)
    for number, tap in enumerate(np.ndindex(taps)):
        under = tuple(
            slice(w.dilation * t, w.dilation * t + w.stride * (n - 1) + 1, w.stride)
            for w, t, n in zip(stage.windows, tap, outputs, strict=True)
        )
        values = padded[(slice(None), *under)]
        own = rows[number :: prod(taps)] if example.across else rows[number]
        own.reshape(-1, *outputs)[:] = values


def _inside(window: Window | TransposedWindow, n: int, outputs: int) -> tuple[int, int]:
    """Return the outputs whose windows lie inside ``n`` inputs.

    >>> _inside(Window(3, stride=2, before=1, after=1), 7, 4)
    (1, 3)
    """
    start = -(-window.before // window.stride)
    stop = min((n + window.before - window.extent) // window.stride + 1, outputs)
    return start, max(stop, start)


def _boxes(shape: Sequence[int], most: int) -> Iterator[Box]:
    """Cut a box into boxes of at most ``most`` elements, whole along the last axes.

    >>> list(_boxes((3, 2), 4))
    [((0, 2), (0, 2)), ((2, 3), (0, 2))]
    """
    return grid(shape, [max(most // max(prod(shape[axis + 1 :]), 1), 1) for axis in range(len(shape))])


# The kernel

SAFE = 1e5  # condition up to which the normal equations are good enough (they see its square, 1e10, of 1e16)
MOST_UNKNOWNS = 4096  # of one output; a block of as many equations is 128 MB
ROUNDING = 1 / np.sqrt(12)  # standard deviation of what rounding to whole numbers leaves out


def fitting(
    geometry: Settings,
    sought: Kernel,
    form: tuple[str, Sequence[int], int],
    wanted: tuple[int, ...],
    notes: dict[str, None],
) -> tuple[Chain, tuple[Padding, ...]]:
    """Bind with the padding that was asked for, or with the first that makes the target's size.

    ``form`` is what the input has: letters and sizes in space, and channels.
    """
    given, (letters, sizes, channels) = geometry.padding, form
    made: dict[str, tuple[Chain, tuple[Padding, ...]]] = {}
    for padding in [given] if given else [(name,) for name in GUESSES]:
        settings = replace(geometry, padding=padding)
        try:
            chain = bind([sought], settings, letters, sizes, channels)
        except UsageError:
            if given or padding == (GUESSES[-1],):
                raise
            continue
        if chain.output == wanted:
            made[", ".join(map(str, padding))] = chain, padding
        elif given:
            raise UsageError(
                f"the target is {format_size(None, wanted)}, and a kernel of {sought.name} makes "
                f"{format_size(None, chain.output)} of {format_size(None, sizes)} with this padding and stride"
            )
    if not made:
        raise UsageError(
            f"the target is {format_size(None, wanted)}, which no padding by name makes of "
            f"{format_size(None, sizes)} with a kernel of {sought.name}: say --padding or --stride"
        )
    (chosen, result), *others = made.items()
    different = [
        name for name, (chain, _) in others if chain.stages[0].windows != result[0].stages[0].windows
    ]
    if different:
        notes[f"padding {chosen} was assumed; {' and '.join(different)} would make the same size"] = None
    return result


@frozen_identity
class Fit:
    """What the examples say.

    Attributes
    ----------
    weights : ndarray
        (out, in, *size), float64.
    bias : ndarray
        (out,); zeros where none was asked for.
    equations, unknowns, rank : int
        Of one output; the data determine the kernel when ``rank`` is ``unknowns``.
    condition : float
        Of the equations with columns of length 1: how many times larger a relative error can get.
    rms, largest : float
        Of the differences between target and result, over all equations.
    explained : float
        The share of the target's variance that the result has: 1 is all of it.
    sensitivity : ndarray
        (out, in, *size): the standard error of each weight where the target's errors have the size 1.
    left_out : LeftOut
    """

    weights: np.ndarray
    bias: np.ndarray
    equations: int
    unknowns: int
    rank: int
    condition: float
    rms: float
    largest: float
    explained: float
    sensitivity: np.ndarray
    left_out: LeftOut

    @property
    def determined(self) -> bool:
        return self.rank == self.unknowns


@frozen_identity
class _Factor:
    """The triangular R of all inputs, with what its singular values tell, columns scaled to length 1.

    ``inverse`` is (unknowns, rank) with inverse @ inverse.T the pseudo-inverse of the normal equations.
    """

    inverse: np.ndarray
    rank: int
    condition: float


def fit(examples: Sequence[Example], *, bias: bool = True, minimum_norm: bool = False) -> Fit:
    """Return the weights (and bias) with the smallest sum of squared differences.

    Parameters
    ----------
    examples
        At least one; all of one shape of kernel.
    bias
        Whether a constant is sought too; without it the bias is 0.
    minimum_norm
        Where the data leave the kernel open, take the one with the smallest sum of squares (of weights and
        bias) instead of an error.

    Raises
    ------
    UsageError
        For more unknowns than can be solved for.
    ConvError
        When no output counts, or the data do not determine the kernel.

    >>> from convcli.jobs.bind import Settings, bind
    >>> from convcli.kernel import Kernel
    >>> from convcli.geometry.padding import PaddingName
    >>> settings = Settings(padding=(PaddingName.VALID,))
    >>> stage = bind([Kernel("sought", (1, 1, 2), (0.0, 0.0))], settings, "X", [5], 1).stages[0]
    >>> example = Example(stage, np.array([[1, 4, 2, 8, 5]]), np.array([[-3, 2, -6, 3]]))
    >>> fit([example]).weights.round(12).tolist()
    [[[1.0, -1.0]]]
    """
    shape = examples[0].stage.kernel.shape
    taps = prod(shape[1:])
    unknowns = taps + bias
    if unknowns > MOST_UNKNOWNS:
        raise UsageError(
            f"a kernel of {size_text(shape[2:])} x {shape[1]} inputs has {unknowns} unknowns for each output: "
            f"{MOST_UNKNOWNS} are possible"
        )
    matrix, moments, count, mean, left_out = _normal_equations(examples, bias, unknowns)
    if not count:
        raise ConvError(f"no output is left to learn from: {_why_none(left_out)}")
    factor = _cholesky(matrix) or _orthogonal(examples, bias, unknowns)
    if factor.rank < unknowns and not minimum_norm:
        raise ConvError(_undetermined(taps, bias, factor.rank, count))
    solution = factor.inverse @ (factor.inverse.T @ moments)
    solution += factor.inverse @ (factor.inverse.T @ _moments_left(examples, bias, solution))
    outputs = solution.shape[1]
    weights = solution[:taps].T.reshape(shape)
    constants = solution[taps] if bias else np.zeros(outputs)
    squares, variation, largest = _residuals(examples, weights, constants, mean)
    errors = np.linalg.norm(factor.inverse[:taps], axis=1)
    return Fit(
        weights=weights,
        bias=constants,
        equations=count,
        unknowns=unknowns,
        rank=factor.rank,
        condition=factor.condition,
        rms=float(np.sqrt(squares / (count * outputs))),
        largest=largest,
        explained=float(1 - squares / variation) if variation else 1.0,
        sensitivity=np.broadcast_to(errors, (outputs, taps)).reshape(shape),
        left_out=left_out,
    )


def _undetermined(taps: int, bias: bool, rank: int, equations: int) -> str:
    sought = f"{taps} weights" + " and the bias" * bias
    return (
        f"the data do not determine the kernel: for {sought} the {equations} outputs that count give "
        f"only {rank} independent equations; give more data, or data that vary more, or a smaller --size"
        + ", or --no-bias" * bias
        + " (--minimum-norm takes the smallest of all kernels that fit)"
    )


def _why_none(left_out: LeftOut) -> str:
    reasons = left_out.told(
        "have windows that leave the input (--pad-mode says what lies there)",
        "are saturated in the target (--keep-saturated)",
        "meet missing values (NaN)",
    )
    return ", ".join(reasons) or "the target is empty"


# The solution


def _normal_equations(
    examples: Sequence[Example], bias: bool, unknowns: int
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray, LeftOut]:
    """Return inputs times inputs, (unknowns, unknowns), and times targets, (unknowns, outputs); and counts on the way.

    These are the number of equations, the mean of each target, and what was left out.
    """
    outputs = examples[0].stage.kernel.outputs
    matrix, moments, sums = np.zeros((unknowns, unknowns)), np.zeros((unknowns, outputs)), np.zeros(outputs)
    count, left_out = 0, LeftOut()
    for example in examples:
        left_out += LeftOut(border=prod(example.target.shape) - example.counting)
        for inputs, targets, lost in equations(example, bias):
            left_out += lost
            count += targets.shape[1]
            matrix += inputs @ inputs.T
            moments += inputs @ targets.T
            sums += targets.sum(1)
    return matrix, moments, count, sums / max(count, 1), left_out


def _cholesky(matrix: np.ndarray) -> _Factor | None:
    """Return the factor of the normal equations; None where it would not be trustworthy."""
    lengths = np.sqrt(np.diagonal(matrix))
    if not lengths.all():
        return None
    values, vectors = np.linalg.eigh(matrix / np.outer(lengths, lengths))
    if not values[0] > values[-1] / SAFE**2:
        return None
    inverse = vectors / np.sqrt(values) / lengths[:, None]
    return _Factor(inverse, len(matrix), float(np.sqrt(values[-1] / values[0])))


def _orthogonal(examples: Sequence[Example], bias: bool, unknowns: int) -> _Factor:
    """Return the factor of the equations themselves."""
    triangle = np.zeros((0, unknowns))
    for example in examples:
        for inputs, _, _ in equations(example, bias):
            triangle = np.asarray(np.linalg.qr(np.vstack([triangle, inputs.T]), mode="r"))
    lengths = np.linalg.norm(triangle, axis=0)
    scaled = np.linalg.svd(triangle / np.where(lengths > 0, lengths, 1), compute_uv=False)
    noise = float(np.finfo(np.float64).eps) * 8 * max(unknowns, 64)  # beside the largest: rounding alone
    rank = int((scaled > scaled[0] * noise).sum())
    _, values, right = np.linalg.svd(triangle)
    condition = float(scaled[0] / scaled[-1]) if rank == unknowns else float("inf")
    return _Factor(right[:rank].T / values[:rank], rank, condition)


def _moments_left(examples: Sequence[Example], bias: bool, solution: np.ndarray) -> np.ndarray:
    """Return inputs times what a solution leaves of the targets, (unknowns, outputs)."""
    moments = np.zeros_like(solution)
    for example in examples:
        for inputs, targets, _ in equations(example, bias):
            moments += inputs @ (targets - solution.T @ inputs).T
    return moments


def _residuals(
    examples: Sequence[Example], weights: np.ndarray, bias: np.ndarray, mean: np.ndarray
) -> tuple[float, float, float]:
    """Compare what ``filter`` computes with the targets that count.

    Returns
    -------
    float, float, float
        The sum of squared differences, the targets' own about their mean, and the largest difference.
    """
    squares, variation, largest = 0.0, 0.0, 0.0
    for example in examples:
        targets, results = example.counted(example.filtered(weights, bias))
        squares += float(((targets - results) ** 2).sum())
        variation += float(((targets - mean[:, None]) ** 2).sum())
        largest = max(largest, float(np.abs(targets - results).max(initial=0)))
    return squares, variation, largest
