"""What in a graph is likely a mistake, or has a price: a line for each finding, with where and what to do.

Sources: Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts", Distill (2016); Zhang, "Making
convolutional networks shift-invariant again", ICML (2019).
"""

from collections.abc import Iterator, Sequence

from convcli.geometry.graph import Step
from convcli.geometry.windows import TransposedWindow, Window

MOST_NAMES = 3  # of layers in a line


def lint(steps: Sequence[Step], *, nets: bool = True, shifts: bool = False) -> list[str]:
    """Return one line for each finding, and the layers that it holds for.

    Parameters
    ----------
    nets
        Whether it speaks of what pools leave unread (of a chain `search.remarks` does, and of ceil).
    shifts
        Whether it speaks of aliasing, which every classic net has: where shifts are the subject.

    >>> from convcli.geometry.grammar import parse_layers
    >>> from convcli.geometry.graph import Shape, chain, follow
    >>> for line in lint(follow(chain(parse_layers(["tconv:3,s=2"])), Shape(1, (8,)))):
    ...     print(line)
    layer 1 (tconv:3,s=2): kernel 3 is no multiple of stride 2, so that along an axis outputs sum up 1 or 2 taps \
in turn (a checkerboard): take kernel 4, or upsample before a convolution
    """
    places: dict[str, list[str]] = {}
    used = {source for step in steps for source in step.sources}
    for number, step in enumerate(steps, 1):
        found = [
            line for axis in range(len(step.windows or ())) for line in _of_window(step, axis, nets, shifts)
        ]
        found += _of_branches(step)
        if step is not steps[-1] and step.name not in used:
            found.append("no layer takes its output: leave it out, or name it in a from:")
        for line in dict.fromkeys(found):
            places.setdefault(line, []).append(f"{number} ({step.name})")
    return [f"{_listed(layers)}: {line}" for line, layers in places.items()]


def _listed(layers: Sequence[str]) -> str:
    if len(layers) == 1:
        return f"layer {layers[0]}"
    more = f" and {len(layers) - MOST_NAMES} more" if len(layers) > MOST_NAMES else ""
    return f"layers {', '.join(layers[:MOST_NAMES])}{more}"


def _of_window(step: Step, axis: int, nets: bool, shifts: bool) -> Iterator[str]:
    """Yield what is to be said of a layer along one axis."""
    window, n = (step.windows or ())[axis], step.input.sizes[axis]
    kernel, stride = window.kernel, window.stride
    if isinstance(window, TransposedWindow):
        if step.parameters and window.dilation == 1 and kernel % stride:
            counts = f"{kernel // stride} or {kernel // stride + 1} taps" if kernel > stride else "0 or 1 tap"
            longer = -(-kernel // stride) * stride
            yield (
                f"kernel {kernel} is no multiple of stride {stride}, so that along an axis outputs sum up {counts} "
                f"in turn (a checkerboard): take kernel {longer}, or upsample before a convolution"
            )
        return
    if not isinstance(window, Window) or not (window.before or window.after or kernel < n):
        return
    padded = window.before + window.after
    if stride == 1 and padded and window.extent % 2 == 0:
        side = "after" if window.centre > window.before else "before"
        yield f"outputs of the even kernel {kernel} lie half an element {side} the inputs: take an odd one"
    if stride > window.extent:
        skipped = f"{stride - window.extent} of {stride}"
        yield f"stride {stride} passes over {skipped} elements, which kernel {kernel} never reads: average them first"
    elif shifts and stride > 1 and window.extent < 2 * stride:
        yield (
            f"stride {stride} behind a window of {window.extent} folds fine detail into coarse (aliasing): blur before "
            f"it, with binomial:{2 * stride + 1} for example, or average"
        )
    unread = step.row.unused[axis]
    if unread and stride <= window.extent and (nets or step.parameters):
        yield (
            f"no window reaches the last {unread} of {n}: pad the end by {stride - unread}, or take {n - unread}"
        )
    end = window.input_range(0, step.output.sizes[axis])[1]
    dead = min(n + window.after - end, window.after)
    if dead > 0:
        least = f"{window.before}:{window.after - dead}"
        yield f"no window reaches {dead} of the padding {window.after} at the end: {least} gives the same, and shows it"
    if max(window.before, window.after) >= window.extent and (window.extent > 1 or step.parameters):
        yield (
            f"padding {max(window.before, window.after)} is not less than the kernel's extent {window.extent}: the "
            "outermost outputs see nothing else"
        )


def _of_branches(step: Step) -> Iterator[str]:
    """Yield how far apart the inputs of a join lie, those left out that are spread from one element."""
    both = zip(step.sources, step.inputs, step.starts, strict=True)
    starts = {name: start for name, shape, start in both if shape.sizes == step.input.sizes}
    if len(set(starts.values())) > 1:
        told = ", ".join(
            f"{name} {'x'.join(f'{float(one):g}' for one in start)}" for name, start in starts.items()
        )
        yield f"its inputs lie apart, their first elements at {told} of the net's input: pad them so that they agree"
