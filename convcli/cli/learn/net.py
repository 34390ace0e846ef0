"""Train a net: examples in, checkpoints on the way, weights and the curve out, as a table or drawn.  Loads torch.

Examples are files, preprocessed, and each put beside its target.  All are read once before the training, so that what
is amiss shows then; after that, what memory is not meant for is read again when its turn comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from convcli.cli.learn.request import Request
from convcli.cli.shared import figures, report
from convcli.cli.shared.drawing import curve
from convcli.cli.shared.files import File, class_numbers, expand, is_label_table, labels, paired
from convcli.cli.shared.opened import Log, opened
from convcli.cli.shared.terminal import WIDTH, Meter
from convcli.common import (
    ConvError,
    Precision,
    UsageError,
    about,
    counted,
    frozen,
    frozen_identity,
    parse_float,
    within,
)
from convcli.data import ITEMS
from convcli.geometry.graph import Shape
from convcli.learning.examples import MEMORY, Example, Examples, kept, split
from convcli.learning.torch_training import (
    SUFFIX,
    Training,
    changed_settings,
    check_loss,
    read_checkpoint,
    write_checkpoint,
)
from convcli.learning.training import DivergenceError, Epoch, Loss, State, best_epoch
from convcli.media.files.target import check_output, output, same_file, shown
from convcli.media.options import ReadOptions
from convcli.networks.model import Net, check_budget, parameters_of
from convcli.networks.parse import load_net
from convcli.networks.torch_run import choose_device, preprocess, tensors
from convcli.networks.weights import class_facts, initial, save

if TYPE_CHECKING:
    import torch

BETWEEN = 2.0  # seconds between two checkpoints: what a killed process loses at most

# By the number of an example's file, that of the item in it, and its input
TargetOf = Callable[[int, int, "torch.Tensor"], "torch.Tensor"]


@frozen_identity
class Loaded:
    """All examples, in the order of their files.

    ``shape`` is that of the first input after preprocess, ``classes`` the names of the classes, if words gave them.
    """

    examples: Examples
    shape: Shape
    output: Shape
    classes: list[str]
    log: Log


def load(request: Request, net: Net, device: torch.device) -> Loaded:
    """Return all examples, each of them read and checked once.

    Raises
    ------
    ConvError, UsageError
        When a file cannot be read, does not fit the net, or has no target; it is named.
    """
    reader = _Reader(request, net, device)
    targets = request.targets
    classes: list[str] = []
    if request.training.loss is Loss.CE or (targets and is_label_table(targets)):
        files = expand(request.files)
        paths = [file.path for file in files]
        target, classes = _from_words(request, net, files, reader)
    elif targets:
        pairs = paired(request.files, request.targets)
        paths = [path for path, _ in pairs]
        target = partial(reader.target, pairs)
    else:
        paths = [file.path for file in expand(request.files)]
        target = reader.itself
    places = [(number, item) for number, path in enumerate(paths) for item in range(reader.count(path))]

    def read(index: int) -> Example:
        number, item = places[index]
        x = reader.input(paths[number], item)
        return Example(x, target(number, item, x))

    examples = Examples(kept(read, MEMORY), range(len(places)))
    first = examples[0].input
    for number in range(1, len(examples)):
        examples[number]  # so that what is amiss shows now, and not in the middle of the training
    return Loaded(examples, _shape(first), reader.output(first), classes, reader.log)


class _Reader:
    """Reads inputs and targets for one net."""

    def __init__(self, request: Request, net: Net, device: torch.device) -> None:
        self.request, self.net, self.device = request, net, device
        self.raw_sizes: dict[str, tuple[int, ...]] = {}
        self.log = Log()

    def count(self, path: str) -> int:
        """Return how many items a file has, of which --axes says that it has some."""
        if not _several(self.request.reading):
            return 1
        with opened(path, self.request.reading, batch=True, shared=True) as found:
            return found.count

    def input(self, path: str, item: int = 0) -> torch.Tensor:
        array = self._array(path, self.request.reading, item)
        self.raw_sizes[path] = array.shape[1:]
        with within(shown(path)), about(self.net.title):
            given = Shape(len(array), array.shape[1:])
            steps = self.net.trace(self.net.preprocess.output(given))
            check_budget(steps, given, self.request.reading.max_pixels)
        return preprocess(self.net.preprocess, self._tensor(array)[None])[0]

    def target(
        self, pairs: Sequence[tuple[str, str]], number: int, item: int, x: torch.Tensor
    ) -> torch.Tensor:
        """Read a target: grey and scaled as the input is, resized where it has the input's own size."""
        input_path, path = pairs[number]
        array = self._array(path, self.request.reading_targets, item)
        how = self.net.preprocess
        scale = how.scale if self.request.net.target_scale is None else self.request.net.target_scale
        same_size = array.shape[1:] == self.raw_sizes[input_path]
        how = replace(how, scale=scale, mean=(), std=(), resize=how.resize if same_size else None)
        output = self.output(x)
        if how.grey is not None and len(array) == output.channels:
            how = replace(how, grey=None)
        how.output(Shape(len(array), array.shape[1:]))
        y = preprocess(how, self._tensor(array)[None])[0]
        if output.flat and y.numel() == output.channels:
            y = y.flatten()
        if tuple(y.shape) != (output.channels, *output.sizes):
            raise UsageError(
                f"the target is {_shape(y)}, and the net makes {output} of {_shape(x)}", subject=shown(path)
            )
        return y

    def itself(self, _: int, item: int, x: torch.Tensor) -> torch.Tensor:
        """Return an autoencoder's target."""
        if (output := self.output(x)) != _shape(x):
            raise UsageError(
                f"without --target the net learns to give its input back, and it makes {output} of {_shape(x)}",
                subject=self.net.title,
            )
        return x

    def numbers(self, path: str, cells: Sequence[str], x: torch.Tensor) -> torch.Tensor:
        """Return numbers of a table as a target."""
        output = self.output(x)
        if not output.flat or output.channels != len(cells):
            raise UsageError(
                f"{len(cells)} numbers as target, and the net makes {output}", subject=shown(path)
            )
        with about(shown(self.request.targets[0])):
            values = np.array([parse_float(cell, shown(path)) for cell in cells])
        scale = 1.0 if self.request.net.target_scale is None else self.request.net.target_scale
        return x.new_tensor(values * scale)

    def output(self, x: torch.Tensor) -> Shape:
        return self.net.trace(_shape(x))[-1].output

    def _array(self, path: str, reading: ReadOptions, item: int) -> np.ndarray:
        with opened(path, reading, batch=_several(reading), shared=True) as found:
            self.log.add(path, found)
            array = found.item(item).opaque()
        if not np.isfinite(array).all():
            raise ConvError(
                "it has missing values (NaN or infinity), from which no net can learn", subject=shown(path)
            )
        return array

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.array(array, self.request.net.precision.value)).to(self.device)


def _several(reading: ReadOptions) -> bool:
    return ITEMS in (reading.axes or "").upper()


def _shape(x: torch.Tensor) -> Shape:
    return Shape(x.shape[0], tuple(x.shape[1:]))


def _from_words(
    request: Request, net: Net, files: Sequence[File], reader: _Reader
) -> tuple[TargetOf, list[str]]:
    """Return targets from the folders' names or a table's cells: classes, or numbers; and the classes' names."""
    tables = request.targets
    if tables and not is_label_table(tables):
        raise UsageError(
            "--loss ce takes a table of labels, file,label in its first line", subject=shown(tables[0])
        )
    cells = labels(tables[0], files) if tables else [[file.label] for file in files]
    if request.training.loss is not Loss.CE:
        return lambda number, _, x: reader.numbers(files[number].path, cells[number], x), []
    if len(cells[0]) != 1:
        raise UsageError(f"{len(cells[0])} columns of labels, and one is needed", subject=shown(tables[0]))
    output = reader.output(reader.input(files[0].path))
    numbers, names = class_numbers([row[0] for row in cells], net.labels, output.channels)
    return lambda number, _, x: x.new_tensor(numbers[number], dtype=int), names


def train_net(request: Request) -> None:
    """Train the net of a file and report; what was reached stays in the checkpoint, however the training ends."""
    path = request.net.file or Path()
    net = load_net(path, request.net.num_classes)
    weights, state_file = _places(request, path)
    for name in request.net.curves:  # refused before the training, not after it
        figures.check(name, force=request.force, others=(TABLE,), else_="; .csv needs nothing")
    before, earlier = read_checkpoint(request.net.resume) if request.net.resume is not None else (None, {})
    loaded = load(request, net, choose_device(request.net.device))
    check_loss(net, loaded.output, request.training.loss)
    training = _training(request, net, loaded, before)
    changed = changed_settings(request.training, earlier)
    notes = (*loaded.log.notes, *(f"resumed differently: {line}" for line in changed))
    for note in () if request.messages.quiet else notes:  # before the training, which may take long
        report.note(note)
    try:
        _run(request, training, state_file)
    except DivergenceError as error:
        raise ConvError(_diverged(request, training, state_file, error)) from None
    assert training.state is not None
    training.use(training.state.kept)
    with output(weights, force=request.force) as file:
        save(file, training.state.kept, class_facts(loaded.classes))
    _write_curves(request, net, training.state)
    files = [weights, state_file, *request.net.curves]
    found = Trained(loaded, training, training.state, files, notes)
    report.show(found, () if request.messages.quiet else _lines(found), request, notes=False)


def _places(request: Request, net: Path) -> tuple[str, str]:
    """Return the names of the weights and of the checkpoint, having checked that both can be written."""
    weights = request.output or f"{net.stem}{SUFFIX}"
    named = request.net.resume or request.net.checkpoint
    if request.net.resume is not None and request.net.checkpoint not in (None, request.net.resume):
        raise UsageError("--resume and --checkpoint: the file that is resumed from is kept up to date")
    for name in (weights, str(named or weights)):
        if Path(name).suffix.lower() != SUFFIX:
            raise UsageError(f"trained weights are written as {SUFFIX}", subject=shown(name))
    kept = named or Path(weights).with_suffix(f".checkpoint{SUFFIX}")
    if weights == str(kept) or same_file(weights, kept):
        raise UsageError("weights and checkpoint need two names", subject=shown(weights))
    check_output(weights, force=request.force)
    check_output(str(kept), force=request.force or request.net.resume is not None)
    return weights, str(kept)


def _training(request: Request, net: Net, loaded: Loaded, state: State | None) -> Training:
    if request.net.precision is Precision.AUTO:
        raise UsageError("dtype auto is not possible here: give float32 or float64")
    wanted = parameters_of(net.trace(loaded.shape))
    import torch

    numbers = initial(wanted, request.net.weights, request.training.seed, request.reading.max_pixels)
    parameters = tensors(numbers, getattr(torch, request.net.precision), choose_device(request.net.device))
    examples, held_out = split(loaded.examples, request.training)
    return Training(net, examples, held_out, parameters, request.training, state)


def _run(request: Request, training: Training, state_file: str) -> None:
    """Train to the end; the checkpoint is renewed now and then, and when the training stops for any reason."""
    meter = Meter(request.messages.shown_progress, "epochs")
    written = time.monotonic()
    saved: State | None = None
    try:
        for epoch in training.epochs():
            meter(epoch.number, request.training.epochs)
            if epoch.number == 0 or time.monotonic() - written > BETWEEN:
                saved = _save(request, training, state_file)
                written = time.monotonic()
    finally:
        meter.close()
        if training.state is not saved:
            _save(request, training, state_file)


def _save(request: Request, training: Training, state_file: str) -> State | None:
    if training.state is not None:
        with output(state_file, force=True) as file:
            write_checkpoint(file, training.state, request.training)
    return training.state


def _diverged(request: Request, training: Training, state_file: str, error: DivergenceError) -> str:
    if training.state is None:
        return f"{error}: the weights or the examples are too large to begin with (preprocess: scale: 1/255?)"
    _write_curves(request, training.net, training.state)
    number = training.state.curve[-1].number
    return (
        f"{error}: give a smaller --lr than {request.training.learning_rate:g}; "
        f"the state after epoch {number} is kept in {shown(state_file)} (--resume)"
    )


def _write_curves(request: Request, net: Net, state: State) -> None:
    for name in request.net.curves:
        if Path(name).suffix.lower() == TABLE:
            with output(name, force=request.force, binary=False) as file:
                file.write(_table(state.curve).encode())
        else:
            title = f"{net.name}: {request.training.loss}"
            figures.save(_figure(state.curve, title), name, force=request.force)


@frozen
class Trained:
    """What came of a training."""

    loaded: Loaded
    training: Training
    state: State
    files: Sequence[str]
    notes: Sequence[str]

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The training for a program; the curve is (epoch, loss, watched loss)."""
        training, curve = self.training, self.state.curve
        loss, share = training.evaluate(training.examples)
        watched = training.evaluate(training.held_out) if training.held_out else (None, None)
        return {
            "net": training.net.name,
            "examples": len(training.examples),
            "held_out": len(training.held_out),
            "epochs": curve[-1].number,
            "kept": (best_epoch(curve) if self.state.best else curve[-1]).number,
            "steps": self.state.steps,
            "loss": {"before": curve[0].loss, "after": loss, "held_out": watched[0]},
            "accuracy": {"examples": share, "held_out": watched[1]},
            "classes": self.loaded.classes,
            "curve": [(epoch.number, epoch.loss, epoch.watched) for epoch in curve],
            "files": self.files,
            "grain": self.loaded.log.grain,
            "notes": self.notes,
        }


def _lines(found: Trained) -> Iterator[str]:
    facts, loaded, state, settings = found.facts, found.loaded, found.state, found.training.settings
    classes = f"; classes {', '.join(loaded.classes)}" if loaded.classes else ""
    count = sum(parameter.size for parameter in state.parameters.values())
    held = f", {facts['held_out']} held out" if facts["held_out"] else ""
    yield f"{facts['net']}: {loaded.shape} to {loaded.output}, {count} parameters"
    yield f"{counted(facts['examples'], 'example')}{held}"
    yield from _curve(state.curve)
    how = f"{settings.optimizer}, lr {settings.learning_rate:g}, batch {settings.batch}, seed {settings.seed}"
    first, loss, watched = facts["loss"].values()
    falls = f", {first / loss:.3g} times smaller" if 0 < loss < first else ""
    yield f"loss ({settings.loss}) {first:.4g} before, {loss:.4g} after {facts['kept']} epochs{falls}; {how}"
    right, held_right = (None if share is None else f"{share:.1%} " for share in facts["accuracy"].values())
    if watched is not None:
        yield f"held out: loss {watched:.4g}" + (f", {held_right}right" if held_right else "")
    if right:
        yield f"{right}of the examples right{classes}"
    if facts["epochs"] < settings.epochs:
        kept = f"no smaller loss for {settings.patience} epochs; epoch {facts['kept']} is kept"
        yield f"stopped after epoch {facts['epochs']}: {kept}"
    weights, _, *curves = found.files
    yield from (weights, *curves)


# The curve of the loss


def _curve(epochs: Sequence[Epoch]) -> Iterator[str]:
    """Yield the losses above 0 as a curve on a logarithmic scale."""
    losses = np.array([epoch.loss for epoch in epochs if 0 < epoch.loss < np.inf])
    if len(losses) > 1:
        heights = np.log(losses) - np.log(losses.min())
        yield f"loss {losses.max():.3g} to {losses.min():.3g}, its logarithm over epochs 0 to {epochs[-1].number}"
        yield from curve(heights / (heights.max() or 1.0), WIDTH - 3)


TABLE = ".csv"


def _table(curve: Sequence[Epoch]) -> str:
    watched = any(epoch.watched is not None for epoch in curve)
    lines = ["epoch,loss" + ",watched" * watched]
    for epoch in curve:
        lines.append(f"{epoch.number},{epoch.loss!r}" + f",{epoch.watched!r}" * watched)
    return "\n".join(lines) + "\n"


def _figure(curve: Sequence[Epoch], title: str) -> Any:
    figure = figures.figure(7, 4.5)
    axes = figure.add_subplot()
    numbers = [epoch.number for epoch in curve]
    axes.plot(numbers, [epoch.loss for epoch in curve], label="while learning")
    if any(epoch.watched is not None for epoch in curve):
        axes.plot(numbers, [epoch.watched for epoch in curve], "--", label="watched")
        axes.legend()
    if all(epoch.loss > 0 for epoch in curve):
        axes.set_yscale("log")
    axes.set(title=title, xlabel="epoch", ylabel="loss")
    axes.grid(visible=True, alpha=0.3)
    return figure
