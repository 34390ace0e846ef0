"""Learn one kernel: read the pairs, bind a kernel of the wanted shape to them, solve, say how sure it is."""

from collections.abc import Iterator
from dataclasses import replace
from math import floor, log10, prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from convcli.cli.learn.request import Request
from convcli.cli.shared import report
from convcli.cli.shared.drawing import matrices
from convcli.cli.shared.files import paired
from convcli.cli.shared.opened import Log, Opened, opened
from convcli.common import Channels, ConvError, UsageError, frozen, number_text, per_axis, within
from convcli.geometry.layers import format_size
from convcli.geometry.padding import Padding, PaddingName
from convcli.jobs.bind import kernel_axes
from convcli.jobs.chain import ConvStage
from convcli.kernel.model import Defaults, Kernel, size_text, slug
from convcli.kernel.yaml_document import MAX_BYTES
from convcli.kernel.yaml_file import yaml_text
from convcli.learning.least_squares import ROUNDING, Example, Fit, fit, fitting
from convcli.media import opening
from convcli.media.files.target import check_output, output, shown
from convcli.media.options import ReadOptions
from convcli.pixels.channels import white_of

SUFFIXES = (".yaml", ".yml")
DIGITS = 9  # of the largest weight; smaller parts of the others are not shown
EXACT = 0.01  # a residual below this share of what rounding leaves: the target was whole anyway
ROUNDED = 1.1  # a residual up to so many times what rounding leaves is explained by it


def learn_kernel(request: Request) -> None:
    """Learn a kernel and report it; write it where a name was given."""
    size = request.size or (None, ())
    if size[0] is not None:
        raise UsageError(
            f"size {format_size(*size)}: the files say how many kernels there are; give the size alone"
        )
    pairs = paired(request.files, request.targets)
    if request.output is not None:
        if Path(request.output).suffix.lower() not in SUFFIXES:
            raise UsageError(f"a kernel is written as {' or '.join(SUFFIXES)}", subject=shown(request.output))
        opening.check_not_input(request.output, [name for pair in pairs for name in pair])
        check_output(request.output, force=request.force, binary=False)
    log = Log()
    examples: list[Example] = []
    padding: tuple[Padding, ...] = ()
    for input_name, target_name in pairs:
        sources = _read(input_name, request.reading, log)
        targets = _read(target_name, request.reading_targets, log)
        with within(f"{shown(input_name)} and {shown(target_name)}"):
            if len(sources) != len(targets):
                raise UsageError(
                    f"{len(sources)} items (N) and {len(targets)} in the target: they must agree"
                )
            for source, target in zip(sources, targets, strict=True):
                first = examples[0] if examples else None
                example, padding = _example(request, source, target, first, log.notes)
                examples.append(example)
    found = fit(examples, bias=request.fit.bias, minimum_norm=request.fit.minimum_norm)
    rounded = all(np.issubdtype(example.target.dtype, np.integer) for example in examples)
    kernel = _kernel(request, found, examples[0].stage.kernel.rank, padding, pairs)
    if request.output is not None:
        text = yaml_text(kernel).encode()
        if len(text) > MAX_BYTES:
            raise ConvError(
                f"{len(kernel.weights)} weights are too many for a kernel file (1 MiB)",
                subject=shown(request.output),
            )
        with output(request.output, force=request.force, binary=False) as file:
            file.write(text)
    learned = Learned(kernel, found, rounded, request.output, log)
    report.show(learned, _lines(learned, request), request)


def _read(name: str, options: ReadOptions, log: Log) -> list[Opened]:
    """Read the items of a file, and note what there is to say of it."""
    with opened(name, options, batch=True, shared=True) as file:
        log.add(name, file)
        return [item.read() for item in file.items()]


def _example(
    request: Request, source: Opened, target: Opened, first: Example | None, notes: dict[str, None]
) -> tuple[Example, tuple[Padding, ...]]:
    """Bind the kernel to one pair; also return the padding, by name if it was found by its sizes."""
    if source.letters != target.letters:
        raise UsageError(
            f"the input has the axes {', '.join(source.letters.lower())}, and the target "
            f"{', '.join(target.letters.lower())} (--axes and --target-axes name those of arrays)"
        )
    plain = 1 if source.letters == "X" else 2
    given = request.size[1] if request.size else ()
    size = given * plain if len(given) == 1 else given
    kernel_axes(source.letters, len(size), None, f"kernel {size_text(size)}")
    channels, maps = source.shape.channels, target.shape.channels
    each = request.fit.channels is Channels.EACH or (request.fit.channels is None and channels == maps)
    if each and channels != maps:
        raise UsageError(f"{channels} channels and {maps} in the target: --channels each needs as many")
    shape = (1, 1, *size) if each else (maps, channels, *size)
    if first is not None and first.stage.kernel.shape != shape:
        raise UsageError(
            f"this pair needs {_bank(shape)} kernels and the one before it {_bank(first.stage.kernel.shape)}"
        )
    sought = Kernel(size_text(size), shape, (0.0,) * prod(shape))
    form = source.letters, source.shape.sizes, channels
    chain, padding = fitting(request.geometry, sought, form, target.shape.sizes, notes)
    stage = cast(ConvStage, chain.stages[0])
    wanted = target.opaque()
    kind = wanted.dtype
    limits = None
    if kind.kind in "iu" and kind.itemsize <= 2 and not request.fit.keep_saturated:
        limits = (float(np.iinfo(kind).min), white_of(target.info))
    borders = request.geometry.pad_mode is not None
    return Example(stage, source.opaque(), wanted, borders, limits), padding


def _bank(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} × {shape[1]}"


def _kernel(
    request: Request, found: Fit, rank: int, padding: tuple[Padding, ...], pairs: list[tuple[str, str]]
) -> Kernel:
    name = slug(Path(request.output).stem if request.output else "learned")
    more = f" and {len(pairs) - 1} more" if len(pairs) > 1 else ""
    asked = request.geometry
    usual = padding == (PaddingName.SAME,) and asked.pad_mode is None
    return Kernel(
        name if name[0].isascii() and name[0].isalnum() else f"kernel-{name}",
        found.weights.shape,
        tuple(found.weights.ravel().tolist()),
        bias=tuple(found.bias.tolist()),
        description=f"turns {Path(pairs[0][0]).name} into {Path(pairs[0][1]).name}{more}, by least squares",
        defaults=Defaults(
            stride=None if asked.stride is None else per_axis(asked.stride, rank, "stride"),
            padding=None if usual else per_axis(padding, rank, "padding"),
            pad_mode=asked.pad_mode,
            dilation=None if asked.dilation is None else per_axis(asked.dilation, rank, "dilation"),
        ),
    )


# What is said


@frozen
class Learned:
    """A kernel, how sure it is, and where it was written; of a target of whole numbers also what rounding leaves."""

    kernel: Kernel
    fit: Fit
    rounded: bool
    output: str | None
    log: Log

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self.log.notes)

    @property
    def standard_error(self) -> float | None:
        """Of the least certain weight, from the residual."""
        fit = self.fit
        spare = fit.equations / max(fit.equations - fit.unknowns, 1)
        return float(fit.rms * spare**0.5 * fit.sensitivity.max()) if fit.determined else None

    @property
    def rounding_error(self) -> float | None:
        """What rounding leaves of error in the least certain weight."""
        return float(ROUNDING * self.fit.sensitivity.max()) if self.rounded else None

    @property
    def facts(self) -> dict[str, Any]:
        fit, plain = self.fit, ("weights", "bias", "equations", "unknowns", "rank", "determined")
        return {
            **{name: getattr(fit, name) for name in plain},
            "condition": fit.condition if fit.determined else None,
            "residual": {"rms": fit.rms, "largest": fit.largest, "explained": fit.explained},
            "standard_error": self.standard_error,
            "rounding_error": self.rounding_error,
            "left_out": fit.left_out,
            "output": self.output,
            "grain": self.log.grain,
            "notes": self.notes,
        }


def _lines(found: Learned, request: Request) -> Iterator[str]:
    yield from matrices(_readable(found.kernel))
    if request.messages.quiet:
        return
    yield from (f"{label:<11}{text}" for label, text in _facts(found, request.fit.bias))
    if found.output is not None:
        yield found.output


def _readable(kernel: Kernel) -> Kernel:
    """Return the kernel without what is rounding beside its largest weight."""
    largest = max(map(abs, (*kernel.weights, *kernel.bias))) or 1.0
    places = DIGITS - floor(log10(largest))
    weights = tuple(round(weight, places) + 0.0 for weight in kernel.weights)
    return replace(kernel, weights=weights, bias=tuple(round(bias, places) + 0.0 for bias in kernel.bias))


def _facts(learned: Learned, bias: bool) -> Iterator[tuple[str, str]]:
    kernel, found = learned.kernel, learned.fit
    if bias:
        yield "bias", ", ".join(map(number_text, _readable(kernel).bias))
    data = f"{found.equations} equations for {found.unknowns} unknown{'s' * (found.unknowns > 1)}"
    data += " of each output" * (kernel.outputs > 1)
    if found.determined:
        yield "data", f"{data}: they determine the kernel"
        yield "condition", f"{found.condition:.3g}"
    else:
        smallest = "this is the smallest of many kernels that fit"
        yield "data", f"{data}, {found.rank} of them independent: {smallest}"
    yield (
        "residual",
        f"{found.rms:.3g} (root mean square), {found.largest:.3g} (largest); "
        f"{found.explained:.4%} of the target's variance is explained",
    )
    if learned.rounded:
        share = found.rms / ROUNDING
        cause = (
            "rounding explains the residual" if share <= ROUNDED else f"the residual is {share:.3g} times it"
        )
        yield (
            "rounding",
            f"of the target to whole numbers leaves {ROUNDING:.3g} of residual and "
            f"{learned.rounding_error:.2g} of error in a weight; {cause}",
        )
    if found.determined and found.equations > found.unknowns:
        error = f"{learned.standard_error:.2g}"
        yield "error", f"{error} in the least certain weight (standard error from the residual)"
    left_out = found.left_out.told(
        "outputs at the border, where the window leaves the input",
        "saturated outputs (the ends of the target's range)",
        "outputs that meet missing values",
    )
    if left_out:
        yield "left out", "; ".join(left_out)
