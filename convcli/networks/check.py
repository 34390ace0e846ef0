"""Does a net follow its input when that moves?  Shift equivariance and invariance, measured.

The input is rolled: what leaves on one side enters on the other.  Only outputs are compared whose receptive
field touches neither that seam nor any padding, so that what is seen is the layers' own doing.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import reduce
from math import floor, gcd, lcm

import numpy as np

from convcli.common import frozen
from convcli.geometry.graph import INPUT, Step
from convcli.geometry.windows import Field
from convcli.networks.torch_run import TorchNet, computing, outputs

TOLERANCE = 1e-9  # of the largest value, in float64: rounding is a millionth of that


@frozen
class Finding:
    """What one layer did when the input was shifted.

    Attributes
    ----------
    jump
        Input elements from one output to the next.
    period
        The smallest shift of the input that is a whole number of steps of this layer and of all before it.  What
        a stride has lost stays lost: after a pool of 2, upsampling brings the jump back to 1, not the period.
    moved
        For each shift the largest difference to the output moved along with the input, as a part of the
        largest output; the better of the two nearest places where the shift is not a multiple of the jump.
        None where no output is free of borders, or nothing is left to move.
    unmoved
        For each shift how much the output, left where it is, has changed: the norm of the difference as a
        part of the norm; 0 is invariance.  Borders count here.
    """

    layer: str
    jump: Fraction
    period: Fraction
    moved: dict[int, float | None]
    unmoved: dict[int, float]

    facts = ("layer", "jump", "period", "holds_at", "error", "elsewhere", "moved", "unmoved")

    @property
    def holds_at(self) -> tuple[int, ...]:
        """The shifts at which the output moved along exactly."""
        return tuple(shift for shift, error in self.moved.items() if error is not None and error <= TOLERANCE)

    @property
    def error(self) -> float | None:
        """The largest error at the shifts that are multiples of the period."""
        return max(self._errors(at_multiples=True), default=None)

    @property
    def elsewhere(self) -> float | None:
        """The smallest error at the other shifts."""
        return min(self._errors(at_multiples=False), default=None)

    def _errors(self, at_multiples: bool) -> list[float]:
        known = [(shift, error) for shift, error in self.moved.items() if error is not None]
        return [error for shift, error in known if ((shift / self.period).denominator == 1) is at_multiples]


def measure(model: TorchNet, array: np.ndarray, shifts: Sequence[int], axis: int) -> list[Finding]:
    """Shift an input (channels, *space) along one axis of space, by each of ``shifts``, and compare every layer.

    The net should compute in float64.  Resizing comes before the shift: it belongs to the input.
    """
    with computing():
        still = model.input(array)
        before = [out.cpu().numpy()[0] for _, out in outputs(model.steps, model.parameters, still)]
        moved: list[dict[int, float | None]] = [{} for _ in before]
        unmoved: list[dict[int, float]] = [{} for _ in before]
        for shift in shifts:
            rolled = still.roll(shift, 2 + axis)
            for index, (step, out) in enumerate(outputs(model.steps, model.parameters, rolled)):
                after = out.cpu().numpy()[0]
                moved[index][shift] = _moved(
                    step, before[index], after, shift, axis, model.steps[0].input.sizes
                )
                size = float(np.linalg.norm(before[index]))
                unmoved[index][shift] = float(np.linalg.norm(after - before[index])) / (size or 1.0)
    jumps = [step.fields[axis].jump for step in model.steps]
    periods = {INPUT: Fraction(1)}
    for step, jump in zip(model.steps, jumps, strict=True):
        periods[step.name] = reduce(_common_multiple, (periods[source] for source in step.sources), jump)
    return [
        Finding(step.layer.label, jumps[index], periods[step.name], moved[index], unmoved[index])
        for index, step in enumerate(model.steps)
    ]


def _common_multiple(a: Fraction, b: Fraction) -> Fraction:
    """Return the smallest number that is a whole multiple of both.

    >>> _common_multiple(Fraction(2), Fraction(1)), _common_multiple(Fraction(3, 2), Fraction(2))
    (Fraction(2, 1), Fraction(6, 1))
    """
    return Fraction(lcm(a.numerator, b.numerator), gcd(a.denominator, b.denominator))


def _moved(
    step: Step, before: np.ndarray, after: np.ndarray, shift: int, axis: int, sizes: Sequence[int]
) -> float | None:
    """Return the error of one layer at one shift."""
    if step.output.flat:
        return None
    scale = float(np.abs(before).max()) or 1.0
    errors = []
    exact = shift / step.fields[axis].jump
    for places in {floor(exact), -floor(-exact)}:
        box: list[tuple[slice, slice]] = []  # along each axis of space: outputs after, and before
        for index, (field, outputs_, n) in enumerate(zip(step.fields, step.output.sizes, sizes, strict=True)):
            along = index == axis
            by = places if along else 0
            free = _inside(field, outputs_, shift if along else 0, n)
            inside = [o for o in free if 0 <= o - by < outputs_]
            if not inside:
                return None
            first, last = inside[0], inside[-1] + 1
            box.append((slice(first, last), slice(first - by, last - by)))
        new = after[(slice(None), *(pair[0] for pair in box))]
        old = before[(slice(None), *(pair[1] for pair in box))]
        errors.append(float(np.abs(new - old).max()) / scale)
    return min(errors)


def _inside(field: Field, outputs_: int, lo: int, hi: int) -> Iterator[int]:
    """Yield the outputs whose receptive field lies within ``lo:hi``."""
    for output in range(outputs_):
        start, stop = field.of(output)
        if lo <= start and stop <= hi:
            yield output
