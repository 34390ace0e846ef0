"""``convcli kernels``: what the library holds, and what one kernel is like.  Only words; no arithmetic."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from convcli.cli.shared import options
from convcli.cli.shared.drawing import MOST, bars, matrices, pictures, shows_colours, slices_of
from convcli.cli.shared.options import ReportRequest
from convcli.cli.shared.report import note, show
from convcli.cli.shared.terminal import WIDTH, Table
from convcli.common import UsageError, frozen, number_text, parse_number, quoted, split_unit, to_float
from convcli.common.options import argument, group, option
from convcli.data import UNITS, Axis, at_rate
from convcli.kernel import analysis, library
from convcli.kernel.measured import in_samples
from convcli.kernel.model import Combine, Kernel, nested, size_text

if TYPE_CHECKING:
    import numpy as np

    from convcli.cli.shared.views import View
    from convcli.kernel.response import Response


def _rate(text: str) -> Fraction:
    amount, unit = split_unit(text) or (parse_number(text, "rate"), "Hz")
    if UNITS.get(unit, ("",))[0] != "frequency":
        raise UsageError(f"rate {quoted(text)} is no frequency: write 8000, or 8kHz")
    if amount <= 0:
        raise UsageError(f"rate {quoted(text)} is not possible: it is above 0")
    return amount * UNITS[unit][1]


class ListRequest(ReportRequest):
    """List the library: name, rank, size, and what each kernel is for."""

    work = "kernels.list_kernels"


@frozen(kw_only=True)
class ShowRequest:
    """Show a kernel: matrix, range, symmetry, frequencies, source."""

    work = "kernels.show_kernel"

    kernel: str = argument(
        "A library name, a parametric one (box:5), a kernel file, or weights ('1,0,-1;1,0,-1').",
        metavar="NAME|FILE",
        complete=options.complete_kernel,
    )
    rate: Fraction | None = option(
        "Samples a second (8000, 8kHz): frequencies in Hz, and kernels in units (lowpass:50Hz).",
        metavar="HZ",
        read=_rate,
    )
    output: str | None = options.output(
        "Draw a sample before and after, and the frequency response: FILE.png, .svg or .pdf."
    )
    force: bool = options.force("Overwrite an existing output.")
    json: bool = options.json()
    messages: options.Messages = group("debug")


COMMANDS = (
    "List the kernel library, or show what one kernel is like.",
    {"list": ListRequest, "show": ShowRequest},
)


def list_kernels(request: ListRequest) -> None:
    """Print the library's kernels."""
    entries = library.entries(note)
    rows = [("name", "rank", "size", "what for")]
    for entry in entries:
        use = f"{entry.summary}; {entry.examples}" if entry.examples else entry.summary
        rows.append((entry.kernel.name, str(entry.rank or "any"), entry.size, use))
    show(entries, [Table(rows, wrap=True, fit=_fitted)], request)


def _fitted(use: str, width: int) -> str:
    """Return what a kernel is for in a width: further examples go first."""
    for shorter in (use, re.split(", | or ", use)[0], use.partition(";")[0]):
        if len(shorter) <= width:
            return shorter
    return textwrap.shorten(use, width, placeholder=" …")


def show_kernel(request: ShowRequest) -> None:
    """Print what one kernel is like."""
    from convcli.cli.shared.kernels import named_kernel  # knows the media: not for the list

    text, rate = request.kernel, request.rate
    if rate is not None:
        text = in_samples(text, [Axis("X", 1, at_rate(rate))] * 2, 1)
    found = Described(named_kernel(text), None if rate is None else to_float(rate))
    if request.output is not None:
        draw(found, request.output, force=request.force)
    show(found, _lines(found), request)


@frozen
class Described:
    """What can be said of a kernel."""

    kernel: Kernel
    rate: float | None = None

    @cached_property
    def filters(self) -> "np.ndarray":
        """The weights, (outputs × inputs, *space)."""
        return self.kernel.array().reshape(-1, *self.kernel.size)

    @cached_property
    def responses(self) -> "list[Response]":
        """What each filter does to frequencies; nothing where there are too many filters to be looked at."""
        if len(self.filters) > MOST:
            return []
        from convcli.kernel.response import response

        return [response(one, self.kernel.origin) for one in self.filters]

    def pictures(self, count: int) -> "tuple[list[np.ndarray], float]":
        """The gains of each filter at so many frequencies along each axis, and the largest."""
        from convcli.kernel.response import gains

        pictures = [gains(one, count) for one in self.filters]
        along = (max(curve) for made in self.responses for curve in made.curves)  # closer together
        return pictures, max(*along, *(float(one.max()) for one in pictures))

    @cached_property
    def sample(self) -> "tuple[View, View] | tuple[()]":
        """A small scene or signal and what the kernel makes of it; nothing for kernels of several inputs or maps."""
        import numpy as np

        from convcli.api import filter as filtered
        from convcli.cli.shared.views import View
        from convcli.explanations.sample import sample

        kernel, given = self.kernel, sample(self.kernel.rank)
        if (kernel.inputs, kernel.maps) != (1, 1) or max(kernel.size) > given.shape[-1]:
            return ()
        shown = "float" if kernel.rank == 1 else str(kernel.display_policy)
        made = filtered(given, kernel, range=shown)
        middle = [one[len(one) // 2] if kernel.rank == 3 else np.asarray(one) for one in (given, made)]
        return View.array("before", middle[0]), View.array("after", middle[1])

    @property
    def curves(self) -> Iterator[tuple[str, Sequence[float]]]:
        """The gains along axes of more than one tap, each with words that say of what; equal ones once."""
        kernel, known = self.kernel, list[Sequence[float]]()
        for number, made in enumerate(self.responses if kernel.rank != 2 else ()):
            for letter, curve, k in zip("zyx"[-kernel.rank :], made.curves, kernel.size, strict=True):
                if (k > 1 or kernel.rank == 1) and curve not in known and max(curve) > _NOTHING:
                    known.append(curve)
                    bank = f" of filter {number}" if len(self.responses) > 1 else ""
                    yield bank + f" along {letter}" * (kernel.rank > 1), curve

    @cached_property
    def separations(self) -> list[analysis.Separation | None]:
        return list(map(analysis.separation, self.filters))

    @property
    def defaults(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self.kernel.defaults).items() if value is not None}

    @property
    def facts(self) -> dict[str, Any]:
        kernel = self.kernel
        plain = ("name", "slug", "description", "source", "rank", "size", "outputs", "inputs", "origin")
        told = {name: getattr(kernel, name) for name in plain} | {
            "statistic": kernel.statistic,
            "display": str(kernel.display_policy),
            "defaults": self.defaults,
            "range_8bit": kernel.output_range(0, 255),
            "examples": library.examples(kernel.name),
        }
        if kernel.statistic is not None:
            return told
        return {
            **told,
            "weights": nested(kernel.weights, kernel.shape),
            "bias": kernel.bias,
            "combine": kernel.combine,
            "sum": kernel.sum,
            "absolute_sum": kernel.absolute_sum,
            "separable": all(self.separations),
            "factors": self.separations,
            "symmetry": analysis.symmetries(self.filters),
            "frequencies": self.responses,
        }


def _lines(found: Described) -> Iterator[str]:
    kernel = found.kernel
    yield kernel.name
    if kernel.description:
        yield textwrap.fill(kernel.description, WIDTH)
    yield ""
    if kernel.statistic is None:
        yield from matrices(kernel)
    if kernel.statistic is None and shows_colours() and max(kernel.size) <= WIDTH:
        yield from _pictures(kernel)
    for label, text in _facts(found):
        start = f"{label:<11}"
        yield textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start))
    if found.sample:
        from convcli.cli.shared import views

        yield ""
        yield "a sample before and after"
        yield from views.lines(*([one] for one in found.sample))
    if kernel.statistic is None and found.responses and kernel.absolute_sum:
        yield ""
        yield from _drawn(found)


def _facts(found: Described) -> Iterator[tuple[str, str]]:
    """Yield the lines below the matrix: a word, and what is to be said."""
    kernel = found.kernel
    bank = f", {kernel.outputs} out × {kernel.inputs} in" if kernel.outputs * kernel.inputs > 1 else ""
    yield (
        "size",
        f"{size_text(kernel.size)}{bank}; origin {','.join(map(str, kernel.origin))} (counted from 0)",
    )
    if kernel.statistic is not None:
        yield "weights", f"none: a result is the {kernel.statistic.noun} of the window's samples"
    else:
        total = number_text(0.0 if kernel.zero_sum else kernel.sum)
        yield "sum", f"{total}; of absolute values {number_text(kernel.absolute_sum)}"
    if any(kernel.bias):
        yield "bias", ", ".join(map(number_text, kernel.bias))
    if kernel.combine is not Combine.NONE:
        yield "combine", f"{kernel.combine}: {kernel.outputs} outputs become one"
    low, high = map(number_text, kernel.output_range(0, 255))
    yield "range", f"{low} to {high} from 8-bit input (0 to 255)"
    yield "display", str(kernel.display_policy)
    if kernel.statistic is None:
        if kernel.rank > 1:
            yield "separable", _separable_text(found.separations)
        yield "symmetry", ", ".join(analysis.symmetries(found.filters)) or "none"
        if len(found.responses) == 1:
            yield from _frequencies(found)
    if found.defaults:
        yield "defaults", ", ".join(f"{key} {_default_text(value)}" for key, value in found.defaults.items())
    if examples := library.examples(kernel.name):
        yield "parameters", f"as in {examples}"
    if kernel.source:
        yield "source", kernel.source


def _frequencies(found: Described) -> Iterator[tuple[str, str]]:
    """Yield what the one filter of a kernel does to frequencies."""
    made, kernel = found.responses[0], found.kernel
    scale, unit = (found.rate, "Hz") if found.rate else (1.0, "cycles a sample")
    edges: dict[str, list[str]] = {}
    for letter, curve, places in zip("zyx"[-kernel.rank :], made.curves, made.edges, strict=True):
        where = " and ".join(f"{place * scale:.4g}" for place in places[:2]) + " …" * (len(places) > 2)
        crossed = f"-3 dB at {where} {unit}, " if places else ""
        edges.setdefault(f"{crossed}{curve[-1]:.3g} at the highest", []).append(letter)
    told = [f"{', '.join(letters)}: {text}" if len(edges) > 1 else text for text, letters in edges.items()]
    yield "gain", f"{0.0 if kernel.zero_sum else made.at_zero:.4g} at zero; {'; '.join(told)}"
    late = ["by the frequency" if one is None else f"{one:g} samples" for one in made.delays]
    yield "delay", ", ".join(late if len(set(late)) > 1 else late[:1])
    folds = [f"{by} folds {100 * share:.2g} %" for by, share in made.folded.items() if share >= _FOLDS]
    if folds and not kernel.zero_sum:
        yield "aliasing", f"stride {', '.join(folds).replace('%', '% of the energy', 1)}"


_FOLDS = 0.0005  # of the energy: less is no matter
_NOTHING = 1e-9  # a gain that is rounding


def _default_text(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(":".join(map(str, v)) if isinstance(v, tuple) else str(v) for v in value)
    return str(value).lower()


def _separable_text(separations: Sequence[analysis.Separation | None]) -> str:
    if not any(separations):
        return "no"
    if len(separations) > MOST:
        return f"{sum(found is not None for found in separations)} of {len(separations)} filters"
    texts = [_factors_text(found) if found else "no" for found in separations]
    if len(texts) == 1:
        return f"yes: {texts[0]}"
    return "; ".join(f"filter {number}: {text}" for number, text in enumerate(texts))


def _factors_text(found: analysis.Separation) -> str:
    """Return factors as a product, the last one along X."""
    factors = [f"[{', '.join(_few(factor))}]" for factor in found.factors]
    return " × ".join([*([number_text(found.scale)] if found.scale != 1 else []), *factors])


def _few(numbers: Sequence[float]) -> list[str]:
    if len(numbers) > 9:
        return [*_few(numbers[:3]), "…", *_few(numbers[-3:])]
    return [number_text(number) for number in numbers]


def _pictures(kernel: Kernel) -> Iterator[str]:
    """Yield the kernel as grey pictures side by side: black to white; signed ones with zero as mid grey."""
    import numpy as np

    largest = max(map(abs, kernel.weights)) or 1.0
    zoom = max(1, min(4, 24 // max(kernel.size)))
    across = max(1, WIDTH // (kernel.size[-1] * zoom + 2))
    drawn = []
    for _, matrix in slices_of(kernel):
        parts = np.array(matrix) / largest
        grey = parts if kernel.non_negative else (parts + 1) / 2
        drawn.append(grey.repeat(zoom, axis=0).repeat(zoom, axis=1))
    yield from pictures(drawn, across)
    yield ""


def _drawn(found: Described) -> Iterator[str]:
    """Yield the response: of two axes a picture of each filter, else curves along the axes."""
    top, unit = 0.5 * (found.rate or 1), "Hz" if found.rate else "cycles a sample"
    if found.kernel.rank == 2:
        across = min(len(found.filters), 4)
        count = min(25, (WIDTH // across - 3) // 4 * 4 + 1)  # frequencies; every other line has the middle
        drawn, largest = found.pictures(count)
        yield f"gain 0 to {largest:.4g} at frequencies of -{top:g} to {top:g} {unit} along x and y"
        yield from pictures([picture / largest for picture in drawn], across)
    for words, curve in found.curves:
        largest = max(curve)
        yield f"gain{words} 0 to {largest:.4g} at frequencies of 0 to {top:g} {unit}"
        yield from bars([gain / largest for gain in curve[::4]])
        yield "   " + "".join(f"{top * part / 4:<16g}" for part in range(5)).rstrip()


def draw(found: Described, name: str, *, force: bool) -> None:
    """Draw a sample before and after, and the response: pictures of two axes, else curves."""
    from convcli.cli.shared import figures

    figures.check(name, force=force)
    if not found.responses:
        raise UsageError(f"{len(found.filters)} filters are too many for a drawing: {MOST} at most")
    top, unit = 0.5 * (found.rate or 1), "Hz" if found.rate else "cycles a sample"
    plane, sample = found.kernel.rank == 2, found.sample
    before = len(sample) if sample and sample[0].values.ndim == 3 else len(sample) // 2
    count = before + (len(found.filters) if plane else 1)
    across, rows = min(count, 4), -(-count // 4)
    figure = figures.figure(3 * across + 1.5 - plane, 3 * rows + 0.4 * plane)
    panels = (partial(figure.add_subplot, rows, across, number) for number in range(1, count + 1))
    for view in sample if before == 2 else ():
        axes = next(panels)(title=view.name)
        axes.imshow(view.picture, "gray", vmin=0, vmax=1)
        axes.set_axis_off()
    if before == 1:
        axes = next(panels)(xlabel="sample")
        for view in sample:
            axes.plot(view.places, view.values[0], label=view.name)
        axes.legend()
    if plane:
        pictures, largest = found.pictures(129)
        for number, picture in enumerate(pictures, before):
            axes = next(panels)(xticks=(-top, 0, top), yticks=(-top, 0, top))
            shown = axes.imshow(picture, "gray", vmin=0, vmax=largest, extent=(-top, top, top, -top))
            axes.set(xlabel=f"x ({unit})", ylabel=f"y ({unit})" * (number % across in (0, before)))
        figure.colorbar(shown, ax=figure.axes[before:], label="gain")
    else:
        axes = next(panels)(xlabel=unit, ylabel="gain")
        for words, curve in found.curves:
            places = [top * index / (len(curve) - 1) for index in range(len(curve))]
            axes.plot(places, curve, label=words.removeprefix(" of ").strip())
        axes.set(xlim=(0, top), ylim=(0, None))
        axes.grid(visible=True, alpha=0.3)
        if len(axes.lines) > 1:
            axes.legend()
    figure.suptitle(found.kernel.slug)
    figures.save(figure, name, force=force)
