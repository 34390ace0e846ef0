"""Show what the gradients of a convolution are, beside autograd and finite differences."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from convcli.cli.learn.request import Request
from convcli.cli.shared import report
from convcli.cli.shared.kernels import named_kernel
from convcli.cli.shared.terminal import aligned
from convcli.common import ConvError, UsageError, counted, frozen
from convcli.geometry.layers import Conv, format_size
from convcli.geometry.windows import TransposedWindow
from convcli.learning.gradients import Case, Gradients, by_convolution, by_finite_differences, patches

MOST = 4096  # numbers that finite differences change one by one
SHOWN = 80  # numbers of an array that are printed
AGREE = 1e-9  # a difference, of the largest gradient, that rounding explains

NAMES = {
    "x": "dL/dx: the transposed convolution of g with w, padding cut off",
    "weights": "dL/dw: the correlation of x with g (strides between g's elements, dilation as step)",
    "bias": "dL/db: the sum of g",
}


def show_gradients(request: Request) -> None:
    """Compute the gradients of one case in three ways, print and compare them.

    Raises
    ------
    ConvError
        When they differ by more than rounding.
    """
    case = _case(request)
    ours = by_convolution(case)
    from convcli.learning.gradients import by_autograd

    others = {"autograd": by_autograd(case), "finite differences": by_finite_differences(case)}
    found = Shown(None if request.files else request.training.seed, case, ours, others)
    report.show(found, _lines(request, found), request)
    for name, difference in found.disagreement.items():
        raise ConvError(f"the gradients differ from {name} by {difference:.3g}: please report it")


@frozen
class Shown:
    """The gradients of a case in three ways; ``seed`` is None where its numbers were given."""

    seed: int | None
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
            "patches": patches(self.case),
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


def _given(request: Request) -> list[np.ndarray]:
    """Return x, w and, if it is given, g: with an axis of channels, two of maps and channels, one of maps."""
    if not 2 <= len(request.files) <= 3:
        raise UsageError("--gradcheck takes no numbers, or X W [G]: files, or numbers such as '1,2;3,4'")
    x, w, *g = (np.asarray(named_kernel(text).array("float64")) for text in request.files)
    x, *g = (one[0, 0] if one.shape[:2] == (1, 1) else one.reshape(-1, *one.shape[2:]) for one in (x, *g))
    if (w.ndim, x.ndim) == (5, 2):  # out x in x k over channels x k
        w = w.reshape(w.shape[2:])
    rank = w.ndim - 2
    if any(array.ndim not in (rank, rank + 1) for array in (x, *g)):
        raise UsageError(
            f"w has {rank} axes of space: X and G have as many, or channels and maps before them"
        )
    x, *g = (array if array.ndim > rank else array[None] for array in (x, *g))
    return [x, w, *g]


def _case(request: Request) -> Case:
    asked, given = request.geometry, _given(request) if request.files else []
    channels, sizes, maps, kernel = _sizes(request)
    if given:
        (channels, *sizes_), (maps, inputs, *kernel_) = given[0].shape, given[1].shape
        sizes, kernel = tuple(sizes_), tuple(kernel_)
        if inputs != channels:
            raise UsageError(f"w sums over {counted(inputs, 'channel')}, and x has {channels}")
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
    outputs = tuple(window.output_size(n) for window, n in zip(windows, sizes, strict=True))
    if not given:
        return Case.random(channels, sizes, maps, windows, request.training.seed)
    x, w, *g = given
    if g and g[0].shape != (maps, *outputs):
        raise UsageError(f"G is {g[0].shape}, and the output {(maps, *outputs)}")
    return Case.of(x, w, windows, *g)


def _lines(request: Request, found: Shown) -> Iterator[str]:
    first, *rest = found.case.output_gradient.shape
    channels, *sizes = found.case.x.shape
    size, weights = format_size(channels, sizes), "x".join(map(str, found.case.weights.shape))
    given = f"x {size}, w {weights}, y and g {format_size(first, rest)}"
    random = "" if found.seed is None else f"; random numbers, seed {found.seed}"
    yield f"y = correlate(x, w) + b, L = sum(g * y); {given}{random}"
    for name, meaning in NAMES.items():
        array: np.ndarray = getattr(found.ours, name)
        yield ""
        yield meaning
        if not request.messages.quiet and array.size <= SHOWN:
            yield from aligned([f"{value:.4f}" for value in array.ravel()], array.shape)
        for other, differences in found.differences.items():
            yield f"  {other + ':':<20} largest difference {differences[name]:.2g}"
    seen = patches(found.case)
    if not request.messages.quiet and seen.size <= SHOWN:
        yield "\ndy/dw: in each row the patch of x under an output; dL/dw is its transpose times g"
        yield from aligned([f"{value:.4f}" for value in seen.ravel()], seen.shape)
    if not found.disagreement:
        yield f"\nequal up to rounding: these convolutions, {' and '.join(found.others)}"
