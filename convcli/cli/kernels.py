"""``convcli kernels``: what the library holds, and what one kernel is like.  Only words; no arithmetic."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from convcli.cli import picture
from convcli.cli.report import Debug, print_json
from convcli.kernel import analysis, library, load_kernel
from convcli.kernel.model import Combine, Kernel, size_text
from convcli.numerals import number_text

WIDTH = 80
MOST = 8  # filters of a bank that are printed

app = typer.Typer(
    name="kernels",
    help="List the kernel library, or show what one kernel is like.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@app.command("list")
def list_kernels(as_json: AsJson = False, debug: Debug = False) -> None:
    """List the library: name, rank, size, and what each kernel is for."""
    entries = library.entries()
    if as_json:
        print_json([_listed(entry) for entry in entries])
        return
    rows = [("name", "rank", "size", "what for")]
    for entry in entries:
        use = f"{entry.summary}; {entry.examples}" if entry.examples else entry.summary
        rows.append((entry.kernel.name, str(entry.rank or "any"), entry.size, use))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for row in rows:
        start = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
        print(start + _fitted(row[3], WIDTH - len(start)))


def _fitted(use: str, width: int) -> str:
    """Return what a kernel is for in a width: further examples go first."""
    for shorter in (use, re.split(", | or ", use)[0], use.partition(";")[0]):
        if len(shorter) <= width:
            return shorter
    return textwrap.shorten(use, width, placeholder=" …")


def _listed(entry: library.Entry) -> dict[str, Any]:
    kernel = entry.kernel
    return {
        "name": kernel.name,
        "rank": entry.rank,
        "size": kernel.size,
        "outputs": kernel.outputs,
        "inputs": kernel.inputs,
        "combine": kernel.combine,
        "examples": entry.examples,
        "description": kernel.description,
        "source": kernel.source,
    }


@app.command("show")
def show_kernel(
    kernel: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            help="A library name, a parametric one (box:5), a kernel file, or weights ('1,0,-1;1,0,-1').",
        ),
    ],
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Show a kernel: matrix, range, factors, symmetry, source."""
    shown = load_kernel(kernel)
    if as_json:
        print_json(_described(shown))
        return
    print(shown.name)
    if shown.description:
        print(textwrap.fill(shown.description, WIDTH))
    print()
    for line in matrices(shown):
        print(line)
    if picture.wanted():
        for line in _pictures(shown):
            print(line)
    for label, text in _facts(shown):
        start = f"{label:<11}"
        print(textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=" " * len(start)))


def _described(kernel: Kernel) -> dict[str, Any]:
    separations = _separations(kernel)
    return {
        "name": kernel.name,
        "slug": kernel.slug,
        "description": kernel.description,
        "source": kernel.source,
        "rank": kernel.rank,
        "size": kernel.size,
        "outputs": kernel.outputs,
        "inputs": kernel.inputs,
        "origin": kernel.origin,
        "weights": _nested(kernel.weights, kernel.shape),
        "bias": kernel.bias,
        "combine": kernel.combine,
        "display": str(kernel.display_policy),
        "defaults": _defaults(kernel),
        "sum": kernel.sum,
        "absolute_sum": kernel.absolute_sum,
        "range_8bit": kernel.output_range(0, 255),
        "separable": all(separations),
        "factors": [asdict(found) if found else None for found in separations],
        "symmetry": analysis.symmetries(kernel),
        "examples": library.examples(kernel.name),
    }


def _nested(flat: Sequence[float], shape: Sequence[int]) -> list[Any]:
    """Return flat numbers as lists of lists of the given shape."""
    if len(shape) == 1:
        return list(flat)
    step = len(flat) // shape[0]
    return [_nested(flat[i : i + step], shape[1:]) for i in range(0, len(flat), step)]


def _separations(kernel: Kernel) -> list[analysis.Separation | None]:
    return [analysis.separation(weights, kernel.size) for weights in analysis.filters(kernel)]


def _defaults(kernel: Kernel) -> dict[str, Any]:
    return {key: value for key, value in asdict(kernel.defaults).items() if value is not None}


def _facts(kernel: Kernel) -> Iterator[tuple[str, str]]:
    """Yield the lines below the matrix: a word, and what is to be said."""
    bank = f", {kernel.outputs} out × {kernel.inputs} in" if kernel.outputs * kernel.inputs > 1 else ""
    yield (
        "size",
        f"{size_text(kernel.size)}{bank}; origin {','.join(map(str, kernel.origin))} (counted from 0)",
    )
    yield (
        "sum",
        f"{number_text(0.0 if kernel.zero_sum else kernel.sum)}; of absolute values {number_text(kernel.absolute_sum)}",
    )
    if any(kernel.bias):
        yield "bias", ", ".join(map(number_text, kernel.bias))
    if kernel.combine is not Combine.NONE:
        yield "combine", f"{kernel.combine}: {kernel.outputs} outputs become one"
    low, high = map(number_text, kernel.output_range(0, 255))
    yield "range", f"{low} to {high} from 8-bit input (0 to 255)"
    yield "display", str(kernel.display_policy)
    if kernel.rank > 1:
        yield "separable", _separable_text(_separations(kernel))
    yield "symmetry", ", ".join(analysis.symmetries(kernel)) or "none"
    if defaults := _defaults(kernel):
        yield "defaults", ", ".join(f"{key} {_default_text(value)}" for key, value in defaults.items())
    if examples := library.examples(kernel.name):
        yield "parameters", f"as in {examples}"
    if kernel.source:
        yield "source", kernel.source


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
    texts = [number_text(number) for number in numbers]
    return texts if len(texts) <= 9 else [*texts[:3], "…", *texts[-3:]]


def _slices(kernel: Kernel) -> list[tuple[str, list[list[float]]]]:
    """Return each filter's matrices with a title; several where the kernel is a bank or has frames."""
    height, width = (1, *kernel.size)[-2:]
    flat, step = kernel.weights, height * width
    frames = kernel.size[0] if kernel.rank > 2 else 1
    matrices = [_nested(flat[i : i + step], (height, width)) for i in range(0, len(flat), step)]
    titles = []
    for index in range(len(matrices)):
        rest, frame = divmod(index, frames)
        output, channel = divmod(rest, kernel.inputs)
        parts = (
            (kernel.outputs, "filter", output),
            (kernel.inputs, "input", channel),
            (frames, "frame", frame),
        )
        titles.append(", ".join(f"{word} {number}" for count, word, number in parts if count > 1))
    return list(zip(titles, matrices, strict=True))


def matrices(kernel: Kernel) -> Iterator[str]:
    """Yield a kernel's matrices as lines, each filter's under its title."""
    slices = _slices(kernel)
    for title, matrix in slices[:MOST]:
        if title:
            yield f"{title}:"
        yield from _matrix(matrix)
        yield ""
    if len(slices) > MOST:
        yield f"and {len(slices) - MOST} more; `--json` prints them all"
        yield ""


def _matrix(matrix: Sequence[Sequence[float]]) -> Iterator[str]:
    """Yield a matrix's rows; where they are too wide, rounded to parts of the largest; or what to do instead."""
    yield from (
        _columns([[number_text(value) for value in row] for row in matrix])
        or _rounded(matrix, 1000, "thousandths")
        or _rounded(matrix, 100, "hundredths")
        or [f"  {len(matrix)} × {len(matrix[0])} numbers; `--json` prints them"]
    )


def _rounded(matrix: Sequence[Sequence[float]], parts: int, word: str) -> list[str]:
    largest = max(abs(value) for row in matrix for value in row) or 1.0
    lines = _columns([[str(round(parts * value / largest)) for value in row] for row in matrix], gap=1)
    return lines and [*lines, f"  (in {word} of {number_text(largest)})"]


def _columns(cells: Sequence[Sequence[str]], gap: int = 2) -> list[str]:
    """Return aligned rows; none when they are too wide."""
    width = max(len(cell) for row in cells for cell in row) + gap
    if width * len(cells[0]) > WIDTH:
        return []
    return ["".join(f"{cell:>{width}}" for cell in row) for row in cells]


def _pictures(kernel: Kernel) -> Iterator[str]:
    """Yield the kernel as grey pictures side by side: black to white; signed ones with zero as mid grey."""
    slices = [matrix for _, matrix in _slices(kernel)][:MOST]
    largest = max(map(abs, kernel.weights)) or 1.0
    zoom = max(1, min(4, 24 // max(kernel.size)))
    across = max(1, WIDTH // (len(slices[0][0]) * zoom + 2))
    drawn = []
    for matrix in slices:
        parts = [[value / largest for value in row] for row in matrix]
        grey = parts if kernel.non_negative else [[(part + 1) / 2 for part in row] for row in parts]
        drawn.append(picture.half_blocks(grey, zoom))
    for first in range(0, len(drawn), across):
        yield from ("  " + "  ".join(lines) for lines in zip(*drawn[first : first + across], strict=True))
        yield ""
