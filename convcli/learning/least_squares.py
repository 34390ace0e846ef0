"""The kernel that turns inputs into targets with the smallest sum of squared differences: numpy, float64.

What the equations Aw = y say is `equations`' business; here they are solved, block by block.

The normal equations (AᵀA) w = Aᵀy are solved by Cholesky's factor R, RᵀR = AᵀA, and the solution is corrected
once by its own residuals, which gives back the accuracy that squaring lost: Björck, "Stability analysis of the
method of seminormal equations" (1987).  Where AᵀA is too near to singular for that, the blocks are folded into R by
QR decompositions, as many times slower as they are safer, which also tell whether the data determine the kernel:
Golub and Van Loan, "Matrix Computations" (4th ed.), section 5.3.  No files, no text for people but errors.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from convcli.common import ConvError, UsageError, frozen_identity
from convcli.kernel.model import size_text
from convcli.learning.equations import Example, LeftOut, equations

SAFE = 1e5  # condition up to which the normal equations are good enough (they see its square, 1e10, of 1e16)
MOST_UNKNOWNS = 4096  # of one output; a block of as many equations is 128 MB
ROUNDING = 1 / np.sqrt(12)  # standard deviation of what rounding to whole numbers leaves out


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
