"""Show what the gradients of a convolution are, beside autograd and finite differences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from convcli.cli.learn.request import Request
from convcli.cli.shared import report
from convcli.common.errors import ConvError, UsageError
from convcli.geometry.layers import Conv, format_size
from convcli.geometry.windows import TransposedWindow, Window
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
    from convcli.learning.torch_gradients import by_autograd

    others = {"autograd": by_autograd(case), "finite differences": by_finite_differences(case)}
    if request.json:
        report.print_json(_described(request, case, ours, others))
    else:
        for line in _lines(request, case, ours, others):
            print(line)
    largest = max(float(np.abs(array).max()) for array in vars(ours).values())
    for name, other in others.items():
        if not (difference := ours.difference(other)) <= AGREE * max(largest, 1.0):
            raise ConvError(f"the gradients differ from {name} by {difference:.3g}: please report it")
    if not request.json:
        print(f"\nequal up to rounding: these convolutions, {' and '.join(others)}")


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


def _lines(request: Request, case: Case, ours: Gradients, others: dict[str, Gradients]) -> Iterator[str]:
    first, *rest = case.output_gradient.shape
    given = (
        f"x {format_size(*_sizes(request)[:2])}, w {_axes(case.weights)}, y and g {format_size(first, rest)}"
    )
    yield f"y = correlate(x, w) + b, L = sum(g * y); {given}; random numbers, seed {request.training.seed}"
    for name, meaning in NAMES.items():
        array: np.ndarray = getattr(ours, name)
        yield ""
        yield meaning
        if not request.messages.quiet and array.size <= SHOWN:
            yield from _numbers(array)
        for other, theirs in others.items():
            difference = float(np.abs(array - getattr(theirs, name)).max())
            yield f"  {other + ':':<20} largest difference {difference:.2g}"


def _axes(array: np.ndarray) -> str:
    return "x".join(map(str, array.shape))


def _numbers(array: np.ndarray) -> Iterator[str]:
    """Yield the rows of an array, a blank line between its matrices."""
    table = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[None]
    height = array.shape[-2] if array.ndim > 2 else len(table)
    for number, row in enumerate(table):
        if number and number % height == 0:
            yield ""
        yield "".join(f"{value:>9.4f}" for value in row)


def _described(request: Request, case: Case, ours: Gradients, others: dict[str, Gradients]) -> dict[str, Any]:
    windows: list[dict[str, Any]] = [vars(window) for window in case.windows if isinstance(window, Window)]
    return {
        "seed": request.training.seed,
        "windows": windows,
        "x": case.x.tolist(),
        "weights": case.weights.tolist(),
        "output_gradient": case.output_gradient.tolist(),
        "gradients": {name: getattr(ours, name).tolist() for name in NAMES},
        "differences": {
            other: {name: float(np.abs(getattr(ours, name) - getattr(theirs, name)).max()) for name in NAMES}
            for other, theirs in others.items()
        },
    }
