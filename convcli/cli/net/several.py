"""``convcli net run`` on several files, each alone; with ``--labels``, how a classifier did on them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from convcli.cli.net.input import Models, fed
from convcli.cli.net.request import RunRequest
from convcli.cli.net.run import Ran, compute, named_labels, run_one
from convcli.cli.shared import report
from convcli.cli.shared.files import COLUMN, File, class_numbers, expand, is_label_table, labels, listed
from convcli.cli.shared.terminal import WIDTH, Table
from convcli.common import ConvError, UsageError, counted, frozen, quoted
from convcli.media.clips import numbered
from convcli.media.files.target import STANDARD, shown
from convcli.networks.classified import Classified, Verdict
from convcli.networks.model import Net
from convcli.networks.operations import Activation, ActivationKind
from convcli.networks.parse import load_net

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
