"""Show what the gradients of a convolution are, beside autograd and finite differences."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from convcli.cli.learn.request import Request
from convcli.cli.shared import report
from convcli.common import ConvError, UsageError, frozen
from convcli.geometry.layers import Conv, format_size
from convcli.geometry.windows import TransposedWindow
from convcli.learning.gradients import Case, Gradients, by_convolution, by_finite_differences

MOST = 4096  # numbers that finite differences change one by one
SHOWN = 80  # numbers of an array that are printed
AGREE = 1e-9  # a difference, of the largest gradient, that rounding explains

NAMES = {
    "x": "dL/dx: the transposed convolution of g with w, padding cut off",
    "weights": "dL/dw: the correlation of x with g (strides between g's elements, dilation as step)",
    "bias": "dL/db: the sum of g",
}


def show_gradients(request: Request) -> None:
    """Compute the gradients of one random case in three ways, print and compare them.

    Raises
    ------
    ConvError
        When they differ by more than rounding.
    """
    case = _case(request)
    ours = by_convolution(case)
    from convcli.learning.gradients import by_autograd

    others = {"autograd": by_autograd(case), "finite differences": by_finite_differences(case)}
    found = Shown(request.training.seed, case, ours, others)
    report.show(found, _lines(request, found), request)
    for name, difference in found.disagreement.items():
        raise ConvError(f"the gradients differ from {name} by {difference:.3g}: please report it")


@frozen
class Shown:
    """The gradients of a case in three ways."""

    seed: int
    case: Case
    ours: Gradients
    others: Mapping[str, Gradients]

    @property
    def differences(self) -> dict[str, dict[str, float]]:
        """The largest difference to each other way, of each array."""
        return {
            other: {n: float(np.abs(getattr(self.ours, n) - getattr(theirs, n)).max()) for n in NAMES}
            for other, theirs in self.others.items()
        }

    @property
    def disagreement(self) -> dict[str, float]:
        """By how much other ways differ, those that differ by more than rounding."""
        bound = AGREE * max(1.0, *(float(np.abs(array).max()) for array in vars(self.ours).values()))
        found = ((name, [*by.values()]) for name, by in self.differences.items())
        return {name: max(by) for name, by in found if not all(one <= bound for one in by)}

    @property
    def facts(self) -> dict[str, Any]:
        numbers = {name: getattr(self.case, name) for name in ("windows", "x", "weights", "output_gradient")}
        return {
            "seed": self.seed,
            **numbers,
            "gradients": self.ours,
            "differences": self.differences,
            "notes": (),
        }


def _sizes(request: Request) -> tuple[int, tuple[int, ...], int, tuple[int, ...]]:
    """Return the channels and size of the input, the maps and size of the kernel; one gives the other's rank."""
    rank = len((request.input or request.size or (None, (0, 0)))[1])
    channels, sizes = request.input or (None, (5,) * rank)
    maps, kernel = request.size or (None, (3,) * rank)
    return channels or 1, sizes, maps or 1, kernel


def _case(request: Request) -> Case:
    channels, sizes, maps, kernel = _sizes(request)
    asked = request.geometry
    layer = Conv(
        kernel,
        maps,
        stride=asked.stride or (1,),
        dilation=asked.dilation or (1,),
        padding=asked.padding or ((0, 0),),
    )
    windows = [window for window in layer.windows(sizes) if not isinstance(window, TransposedWindow)]
    case_numbers = channels * (int(np.prod(sizes)) + maps * int(np.prod(kernel)))
    if case_numbers > MOST:
        raise UsageError(
            f"{case_numbers} numbers to change one by one: {MOST} are possible; give a smaller --input"
        )
    for window, n in zip(windows, sizes, strict=True):
        window.output_size(n)
    return Case.random(channels, sizes, maps, windows, request.training.seed)


def _lines(request: Request, found: Shown) -> Iterator[str]:
    first, *rest = found.case.output_gradient.shape
    size, weights = format_size(*_sizes(request)[:2]), "x".join(map(str, found.case.weights.shape))
    given = f"x {size}, w {weights}, y and g {format_size(first, rest)}"
    yield f"y = correlate(x, w) + b, L = sum(g * y); {given}; random numbers, seed {found.seed}"
    for name, meaning in NAMES.items():
        array: np.ndarray = getattr(found.ours, name)
        yield ""
        yield meaning
        if not request.messages.quiet and array.size <= SHOWN:
            yield from _numbers(array)
        for other, differences in found.differences.items():
            yield f"  {other + ':':<20} largest difference {differences[name]:.2g}"
    if not found.disagreement:
        yield f"\nequal up to rounding: these convolutions, {' and '.join(found.others)}"


def _numbers(array: np.ndarray) -> Iterator[str]:
    """Yield the rows of an array, a blank line between its matrices."""
    table = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[None]
    height = array.shape[-2] if array.ndim > 2 else len(table)
    for number, row in enumerate(table):
        if number and number % height == 0:
            yield ""
        yield "".join(f"{value:>9.4f}" for value in row)
