"""Train a net: examples in, checkpoints on the way, weights and the curve out, as a table or drawn.  Loads torch."""

import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from convcli.cli.learn.examples import Loaded, load
from convcli.cli.learn.request import Request
from convcli.cli.shared import figures, report
from convcli.cli.shared.drawing import curve
from convcli.cli.shared.progress import Meter
from convcli.cli.shared.terminal import WIDTH
from convcli.common import ConvError, Precision, UsageError, counted, frozen
from convcli.learning import checkpoint
from convcli.learning.examples import split
from convcli.learning.torch_training import Training, check_loss
from convcli.learning.training import DivergenceError, Epoch, State, best_epoch
from convcli.media.files.target import check_output, output, same_file, shown
from convcli.networks.model import Net, parameters_of
from convcli.networks.parse import load_net
from convcli.networks.torch_run import choose_device, tensors
from convcli.networks.weights import class_facts, initial, save

BETWEEN = 2.0  # seconds between two checkpoints: what a killed process loses at most


def train_net(request: Request) -> None:
    """Train the net of a file and report; what was reached stays in the checkpoint, however the training ends."""
    path = request.net.file or Path()
    net = load_net(path, request.net.num_classes)
    weights, state_file = _places(request, path)
    for name in request.net.curves:  # refused before the training, not after it
        figures.check(name, force=request.force, others=(TABLE,), else_="; .csv needs nothing")
    before, earlier = checkpoint.read(request.net.resume) if request.net.resume is not None else (None, {})
    loaded = load(request, net, choose_device(request.net.device))
    check_loss(net, loaded.output, request.training.loss)
    training = _training(request, net, loaded, before)
    changed = checkpoint.changed(request.training, earlier)
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
    weights = request.output or f"{net.stem}{checkpoint.SUFFIX}"
    named = request.net.resume or request.net.checkpoint
    if request.net.resume is not None and request.net.checkpoint not in (None, request.net.resume):
        raise UsageError("--resume and --checkpoint: the file that is resumed from is kept up to date")
    for name in (weights, str(named or weights)):
        if Path(name).suffix.lower() != checkpoint.SUFFIX:
            raise UsageError(f"trained weights are written as {checkpoint.SUFFIX}", subject=shown(name))
    kept = named or Path(weights).with_suffix(f".checkpoint{checkpoint.SUFFIX}")
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
            checkpoint.write(file, training.state, request.training)
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
