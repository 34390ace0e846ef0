"""``convcli net run``: compute, write, report; of several files each alone, with ``--labels`` how a classifier did."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.cli.net.input import Models, fed
from convcli.cli.net.request import RunRequest
from convcli.cli.shared import outputs, report
from convcli.cli.shared.files import COLUMN, File, class_numbers, expand, is_label_table, labels, listed
from convcli.cli.shared.opened import Opened
from convcli.cli.shared.terminal import WIDTH, Table
from convcli.common import Channels, ConvError, EngineName, UsageError, counted, frozen, quoted
from convcli.data import ITEMS, ArraySource, Colour, Info, Source, grid, space_of
from convcli.execution.items import item_of, with_items
from convcli.execution.pipeline import Pipeline
from convcli.geometry.graph import Shape
from convcli.jobs.chain import Chain
from convcli.jobs.job import PIXELS, Job
from convcli.media import forms, opening, registry
from convcli.media.clips import numbered
from convcli.media.files.target import STANDARD, shown
from convcli.media.options import WriteOptions
from convcli.media.registry import Format
from convcli.networks import pictures
from convcli.networks.classified import Classified, Verdict
from convcli.networks.model import Net
from convcli.networks.operations import Activation, ActivationKind
from convcli.networks.parse import load_net
from convcli.networks.weights import class_names
from convcli.pixels.channels import white_of
from convcli.pixels.ranges import Bound, Float, MinMax, Range, Window
from convcli.plan.choose import Resources

if TYPE_CHECKING:
    from convcli.networks.blocks import NetSource
    from convcli.networks.torch_run import TorchNet


FOLDERS = "folders"


@frozen
class RanAll:
    """What a net made of several files, and of a classifier's known classes."""

    files: Sequence[Ran]
    classified: Classified | None
    failed: int

    @property
    def facts(self) -> dict[str, Any]:
        tested = {} if self.classified is None else {"classified": self.classified}
        return {"inputs": self.files, **tested, "failed": self.failed}


def run(request: RunRequest) -> None:
    """Read the net, which tells what is wrong with it before torch loads, and run it."""
    net, first = load_net(request.net, request.num_classes), request.inputs[0]
    if len(request.inputs) > 1 or request.labels or Path(first).is_dir() or is_label_table([first]):
        run_several(request, net)
    else:
        run_one(request, net)


def run_several(request: RunRequest, net: Net) -> None:
    """Run a net on every file; one that fails does not stop the others.

    Raises
    ------
    ConvError
        At the end, where some failed.
    """
    files, words = _named(request)
    outputs = [_filled(request.output, file, number) for number, file in enumerate(files, 1)]
    maps = [_filled(request.maps, file, number) for number, file in enumerate(files, 1)]
    for names_of in (outputs, maps):
        if names_of[0] is not None and len(set(names_of)) < len(names_of):
            raise UsageError("two inputs have one output: put {n} in the name", subject=shown(names_of[0]))
    done: list[tuple[int, Ran]] = []
    models: Models = {}
    names: tuple[str, ...] | None = None
    softmax, code = True, 0
    for index, file in enumerate(files):
        one = replace(request, inputs=(file.path,), output=outputs[index], maps=maps[index])
        try:
            bound = fed(net, file.path, request.reading, request.filling, batch=True, models=models)
            with bound as (input, model):
                names = named_labels(request, model) if names is None else names
                softmax = model.steps[-1].layer.operation != Activation(ActivationKind.SOFTMAX)
                found = compute(one, input, model, names)
                if words and len(found.scores) != 1:
                    raise UsageError(
                        "--labels counts classes: the net's last layer gives a row of scores a file"
                    )
        except ConvError as error:
            named = shown(file.path)
            report.error(f"{error}" if named in str(error) else f"{named}: {error}")
            code = max(code, error.exit_code)
            continue
        for line in () if request.messages.quiet else found.notes:
            report.note(f"{shown(file.path)}: {line}")
        done.append((index, found))
    tested = _classified(done, words, names or (), softmax=softmax) if words and done else None
    ran = RanAll([found for _, found in done], tested, len(files) - len(done))
    report.show(ran, _lines(request, ran), request)
    if ran.failed:
        sys.stdout.flush()  # an error ends the process without it
        whole = ConvError(f"{ran.failed} of {len(files)} inputs failed")
        whole.exit_code = code
        raise whole


def _named(request: RunRequest) -> tuple[list[File], list[str]]:
    """Return all files, and the words for their classes where they are known."""
    tables = [name for name in request.inputs if is_label_table([name])]
    if tables and len(request.inputs) > 1:
        raise UsageError(f"a table of files (its first column is {COLUMN}) is the only input")
    inputs = request.inputs
    if request.labels:  # frames are files of their own, as those of a folder are
        numbers = [(name, numbered.find(name)) for name in inputs]
        inputs = tuple(str(path) for name, found in numbers for path in (found.files if found else (name,)))
    files = listed(tables[0]) if tables else expand(inputs)
    if request.labels == FOLDERS:
        return files, [file.label for file in files]
    table = request.labels or (tables[0] if tables else None)
    if table is None:
        return files, []
    if not Path(table).exists():
        raise UsageError(
            f"--labels {quoted(table)}: no such file; write {FOLDERS}, or a table of files and labels"
        )
    if not is_label_table([table]):
        raise UsageError(
            f"--labels is {FOLDERS}, or a table {COLUMN},label with these names in its first line"
        )
    cells = labels(table, files)
    if len(cells[0]) != 1:
        raise UsageError(f"{len(cells[0])} columns of labels, and one is needed", subject=shown(table))
    return files, [row[0] for row in cells]


def _filled(name: str | None, file: File, number: int) -> str | None:
    """Return the name of one file's output."""
    if name is None:
        return None
    made = name.replace("{stem}", Path(file.path).stem).replace("{n}", str(number))
    if made == name or name == STANDARD:
        raise UsageError(
            "several inputs have several outputs: put {stem} or {n} in the name", subject=shown(name)
        )
    return made


def _classified(
    done: Sequence[tuple[int, Ran]], words: Sequence[str], names: Sequence[str], *, softmax: bool
) -> Classified:
    count = len(done[0][1].scores[0])
    numbers, found = class_numbers(words, names, count)
    known = (
        [*(names or found), *map(str, range(count))][:count] if names or found else [*map(str, range(count))]
    )
    verdicts = [Verdict.of(ran.input, numbers[index], ran.scores[0], softmax=softmax) for index, ran in done]
    return Classified(known, verdicts)


def _lines(request: RunRequest, ran: RanAll) -> Iterator[str | Table]:
    tested = ran.classified
    for one in ran.files if not request.messages.quiet else ():
        yield from one.files
    if tested is None:
        rows = [("file", "class", "score")]
        for one in ran.files:
            for scores in one.scores if request.output is None else ():
                best = max(range(len(scores)), key=scores.__getitem__)
                rows.append((one.input, one.labels[best] if one.labels else str(best), f"{scores[best]:.6g}"))
        if len(rows) > 1:
            yield Table(rows, "<<>")
        return
    yield f"accuracy {tested.accuracy:.4g}: {tested.right} of {counted(len(tested.verdicts), 'file')}"
    if request.messages.quiet:
        return
    shares = [
        (one.name, str(one.files), str(one.found), _percent(one.recall), _percent(one.precision))
        for one in tested.classes
        if one.files or one.found
    ]
    yield ""
    yield Table([("class", "files", "found", "recall", "precision"), *shares], "<>")
    yield from _confusion(tested)
    wrong = [one for one in tested.worst(request.top) if one.true != one.found]
    if wrong:
        yield ""
        worst = [
            (
                one.file,
                tested.names[one.true],
                f"{one.of_true:.2g}",
                tested.names[one.found],
                f"{one.probability:.2g}",
            )
            for one in wrong
        ]
        yield Table([("worst", "true", "p", "found", "p"), *worst], "<<><>")


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _confusion(tested: Classified) -> Iterator[str | Table]:
    """Yield the matrix where it fits a terminal."""
    seen = [index for index, one in enumerate(tested.classes) if one.files or one.found]
    names = [tested.names[index] for index in seen]
    counts = tested.confusion[seen][:, seen]
    table = Table(
        [("true\\found", *names), *((name, *map(str, row)) for name, row in zip(names, counts, strict=True))],
        "<>",
    )
    yield ""
    fits = max(map(len, table.lines())) <= WIDTH
    yield table if fits else f"the confusion matrix of {len(seen)} classes is too wide here: --json has it"


@frozen
class Ran:
    """What a net made of an input; ``scores`` are the numbers of a flat output, a row for each item."""

    input: str
    layer: str
    output: str
    files: Sequence[str]
    scores: Sequence[list[float]] = ()
    several: bool = False
    labels: Sequence[str] = ()
    notes: Sequence[str] = ()
    grain: Mapping[str, Any] | None = None

    @property
    def facts(self) -> dict[str, Any]:
        scores = {"scores": self.scores if self.several else self.scores[0]} if self.scores else {}
        labels = {"labels": self.labels} if self.scores and self.labels else {}
        named = {"input": self.input, "grain": self.grain, "layer": self.layer, "output": self.output}
        return {**named, **scores, "files": self.files, **labels, "notes": self.notes}


def run_one(request: RunRequest, net: Net) -> None:
    """Run a net on the one input."""
    with fed(net, request.inputs[0], request.reading, request.filling, batch=True) as (input, model):
        found = compute(request, input, model, named_labels(request, model))
    piped = STANDARD in (request.output, request.maps)
    text, stream = () if piped else _lines_of_one(request, found), sys.stderr if piped else None
    report.show(found, text, request, stream=stream)


def compute(request: RunRequest, input: Opened, model: TorchNet, labels: Sequence[str]) -> Ran:
    """Compute and write what is asked for of one input; ``labels`` are the names of the last layer's classes."""
    outputs.check_apart(request.output, request.maps)
    for target in (request.output, request.maps):
        if target is not None:
            opening.check_not_input(target, request.inputs, force=request.force)
    result = model.upto(request.layer) if request.layer else model
    last, several = result.steps[-1], ITEMS in input.info.letters
    if request.output is None and request.maps is None and not last.output.flat:
        raise UsageError(f"the output is {last.output}: name a file for it with -o, or draw it with --maps")
    notes, files, scores = list(input.opaque_notes), [], []
    if request.maps is not None:
        if several:
            raise UsageError("--maps draws one item, and the input has several (N): give a file of one")
        _draw(request, input, _mapped(request, model, result))
        files.append(request.maps)
    if last.output.flat or request.output is not None:
        computed: Source = _source(request, input, result)
    if last.output.flat:
        array, letters = computed.read(computed.info.box), computed.info.letters
        computed = ArraySource(array, letters)
        rows = np.moveaxis(array, letters.index(ITEMS), 0) if several else array[None]
        scores = rows.astype(float).tolist()
    if request.output is not None:
        files += _write(request, input, result, computed, notes)
    if last is not model.steps[-1]:
        labels = ()
    return Ran(
        request.inputs[0], last.name, str(last.output), files, scores, several, labels, notes, input.grain
    )


def named_labels(request: RunRequest, model: TorchNet) -> tuple[str, ...]:
    """Return the names of the classes, from the net or from the weights that were trained for them."""
    labels, last = model.net.labels, model.steps[-1].output
    if labels and len(labels) != last.channels:
        raise UsageError(f"{len(labels)} labels for the {last} of the last layer", subject=model.net.title)
    if labels or request.filling.weights is None:
        return labels
    names = class_names(request.filling.weights)
    return names if len(names) == last.channels else ()


def _mapped(request: RunRequest, model: TorchNet, result: TorchNet) -> TorchNet:
    """Return the net up to the layer to draw: the one asked for, else the last one with maps."""
    if request.layer is not None or not result.steps[-1].output.flat:
        return result
    spatial = [step.name for step in model.steps if max(step.output.sizes, default=1) > 1]
    if not spatial:
        raise UsageError("no layer has maps to draw: all come after flatten, or are of one element")
    return model.upto(spatial[-1])


def _source(request: RunRequest, input: Opened, model: TorchNet) -> NetSource:
    """Return the output, which is computed in blocks where the chain does not need all of its input.

    Raises
    ------
    UsageError
        When blocks were asked for and cannot be.
    """
    from convcli.networks import blocks  # loads torch

    last = model.steps[-1]
    obstacle = blocks.not_local(model.net, model.steps)
    if obstacle and request.block is not None:
        raise UsageError(f"--block: {obstacle} needs all of its input, so the net cannot run in blocks")
    rows = (*last.output.sizes, 1)[0]
    length = rows if obstacle else request.block or blocks.block_length(model.steps)
    if request.messages.explain_choices and not last.output.flat:
        how = (
            f"whole: {obstacle} needs all of its input" if obstacle else f"blocks of {length} of {rows} rows"
        )
        report.note(f"{last.name} ({last.output}) on {model.device}, {how}")
    return blocks.NetSource(model, input.source, input.letters, length)


def _draw(request: RunRequest, input: Opened, model: TorchNet) -> None:
    step = model.steps[-1]
    if step.output.flat:
        raise UsageError(
            f"layer {step.name} has {step.output} flat numbers, no maps: choose one before flatten"
        )
    computed, sizes = _source(request, input, model), step.output.sizes
    parts = [computed.read(box)[: request.count] for box in grid(sizes, (computed.rows, *sizes[1:]))]
    page = pictures.grid(
        np.concatenate(parts, axis=1),
        count=request.count,
        colours=request.range.colours if request.range and request.range.colours else "viridis",
        title=f"{model.net.name}: {step.layer.label}, {step.output}",
        beside=input.opaque() if request.with_input else None,
    )
    maps = request.maps or ""
    format = _format(maps, request.format)
    if format.numbers:
        raise UsageError("maps are drawn as a picture, such as maps.png", subject=shown(maps))
    outputs.write_whole(maps, page, force=request.force, format=format)


def _format(name: str, given: str | None) -> Format:
    if registry.own_suffix(name):
        return registry.by_suffix(name)
    if given is None:
        raise UsageError("no suffix names a type: give --format npy, png, ...", subject=shown(name))
    return registry.by_name(given)


def _write(
    request: RunRequest, input: Opened, model: TorchNet, computed: Source, notes: list[str]
) -> Sequence[str]:
    """Write the output, in blocks where the range policy allows; return the files' names."""
    target = request.output or ""
    format = _format(target, request.format)
    policy, dtype = _rendering(request, model.net, input, format)
    result = with_items(_form(model.steps[-1].output, input, format, dtype, model.precision), input.info)
    forms.check(result, format, grey=False)
    names = outputs.paths(target, format, result)
    outputs.check_apart(*names, request.maps)
    form = forms.form(result, format)
    notes += registry.left_out(form, format)
    one = replace(item_of(computed.info), white=_white(model.net, input.info))
    chain = Chain(one.box_letters, (tuple(map(one.size, one.box_letters)),), (), one.channels)
    job = Job(one, chain, Channels.EACH, policy, result.dtype, model.precision)
    step = job.length  # in one piece, if it is measured first, so that it is computed but once
    if policy.first_pass() is None and forms.streams(result, format):
        step = getattr(computed, "rows", step)
    pipeline = Pipeline(job, computed, Resources(EngineName.NUMPY, threads=1), step=step)
    with ExitStack() as stack:
        sinks = [
            stack.enter_context(opening.open_sink(name, format, form, WriteOptions(), force=request.force))
            for name in names
        ]
        tally = pipeline.write(sinks, form=result)
    notes += policy.remarks(tally, job.target.top)
    return [] if STANDARD in names else names


def _form(output: Shape, input: Opened, format: Format, dtype: str, compute: str) -> Info:
    """Return the result's axes: channels, maps that each want a file or page, or plain numbers."""
    kind = compute if format.numbers or dtype == "float" else dtype
    info = input.info
    if output.flat:
        return Info.of("X", (output.channels,), kind)
    picture = output.channels == 3 and not format.multi
    lead = "" if output.channels == 1 else "C" if format.numbers or picture else "M"
    metadata = info.metadata
    if output.sizes != input.shape.sizes or info.channels != output.channels:
        metadata = replace(metadata, icc=None, exif=None)
    colour = Colour.NONE if format.numbers else Colour.RGB if lead == "C" else Colour.GREY
    shape = (output.channels, *output.sizes) if lead else output.sizes
    result = Info.of(lead + space_of(len(output.sizes), input.letters), shape, kind, colour, metadata)
    if output.sizes != input.shape.sizes:
        return result
    return result.placed(**{axis.letter: axis.positions for axis in info.axes})


def _white(net: Net, info: Info) -> float:
    """Return white as the first layer sees it."""
    return abs(white_of(info) * net.preprocess.scale) or 1.0


def _rendering(request: RunRequest, net: Net, input: Opened, format: Format) -> tuple[Range, str]:
    """Return the range policy and the type of pixels; ``float`` for numbers."""
    keeps = format.numbers or "float32" in format.dtypes
    asked = request.range
    pixels = input.info.dtype if input.info.dtype in PIXELS else "uint8"
    pixels = pixels if pixels in format.dtypes else "uint8"
    if asked is not None and not asked.colours:  # which are those of --maps
        if asked.keeps_numbers and not keeps:
            raise UsageError(f"--range {asked}: this format holds integers only; write .npy, .tiff or .csv")
        return asked, "float" if keeps else pixels
    if keeps:
        return Float(), "float"
    preprocess = net.preprocess
    if preprocess.mean or preprocess.std:
        return MinMax(), pixels
    return Window(Bound(0.0), Bound(_white(net, input.info))), pixels


def _lines_of_one(request: RunRequest, found: Ran) -> Iterator[str]:
    for number, row in enumerate(found.scores if request.output is None else ()):
        if found.several:
            yield f"item {number}"
        yield from _ranking(row, found.labels, request.top)
    yield from () if request.messages.quiet else found.files


def _ranking(scores: Sequence[float], labels: Sequence[str], top: int) -> list[str]:
    """Return one line for each of the best classes: number, name, score."""
    best = sorted(range(len(scores)), key=lambda index: -scores[index])[:top]
    names = [labels[index] if labels else f"class {index}" for index in best]
    width = max(map(len, names))
    return [f"{name:<{width}}  {scores[index]: .6g}" for name, index in zip(names, best, strict=True)]
