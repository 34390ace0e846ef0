"""Train a net: examples in, checkpoints on the way, weights and the curve out.  Loads torch."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from convcli.cli.learn import curve as learn_curve
from convcli.cli.learn.examples import Loaded, load
from convcli.cli.learn.request import Request
from convcli.cli.shared import report
from convcli.cli.shared.progress import Meter
from convcli.common import ConvError, Precision, UsageError, frozen
from convcli.learning import checkpoint
from convcli.learning.examples import split
from convcli.learning.torch_training import Training, check_loss
from convcli.learning.training import DivergenceError, State, best_epoch, curve_lines
from convcli.media.files.target import check_output, output, same_file, shown
from convcli.networks.model import Net, parameters_of
from convcli.networks.parse import load_net
from convcli.networks.torch_run import choose_device, tensors
from convcli.networks.weights import class_facts, initial, load_for, save

BETWEEN = 2.0  # seconds between two checkpoints: what a killed process loses at most


@frozen
class Places:
    """Where the results go."""

    weights: str
    checkpoint: str


def train_net(request: Request, path: Path) -> None:
    """Train the net of a file and report; what was reached stays in the checkpoint, however the training ends."""
    net = load_net(path, request.net.num_classes)
    places = _places(request, path)
    learn_curve.check(request.net.curves, force=request.force)
    before, earlier = checkpoint.read(request.net.resume) if request.net.resume is not None else (None, {})
    loaded = load(request, net, choose_device(request.net.device))
    check_loss(net, loaded.output, request.training.loss)
    training = _training(request, net, loaded, before)
    notes = [
        *loaded.notes,
        *(f"resumed differently: {line}" for line in checkpoint.changed(request.training, earlier)),
    ]
    for note in () if request.messages.quiet else notes:
        report.note(note)
    try:
        _run(request, training, places)
    except DivergenceError as error:
        raise ConvError(_diverged(request, training, places, error)) from None
    assert training.state is not None
    training.use(training.state.kept)
    with output(places.weights, force=request.force) as file:
        save(file, training.state.kept, class_facts(loaded.classes))
    _write_curves(request, net, training.state)
    found = _trained(request, net, loaded, training, training.state, places)
    text = () if request.messages.quiet else _lines(found, request, loaded, training.state)
    report.show(found, text, json=request.json)


def _places(request: Request, net: Path) -> Places:
    """Return the names of what is written, having checked that it can be."""
    weights = request.output or f"{net.stem}{checkpoint.SUFFIX}"
    kept = (
        request.net.resume
        or request.net.checkpoint
        or Path(weights).with_suffix(f".checkpoint{checkpoint.SUFFIX}")
    )
    if request.net.resume is not None and request.net.checkpoint not in (None, request.net.resume):
        raise UsageError("--resume and --checkpoint: the file that is resumed from is kept up to date")
    for name in (weights, str(kept)):
        if Path(name).suffix.lower() != checkpoint.SUFFIX:
            raise UsageError(f"trained weights are written as {checkpoint.SUFFIX}", subject=shown(name))
    if weights == str(kept) or same_file(weights, kept):
        raise UsageError("weights and checkpoint need two names", subject=shown(weights))
    check_output(weights, force=request.force)
    check_output(str(kept), force=request.force or request.net.resume is not None)
    return Places(weights, str(kept))


def _training(request: Request, net: Net, loaded: Loaded, state: State | None) -> Training:
    if request.net.precision is Precision.AUTO:
        raise UsageError("dtype auto is not possible here: give float32 or float64")
    wanted = parameters_of(net.trace(loaded.shape))
    stored = None if request.net.weights is None else load_for(request.net.weights, wanted)
    import torch

    numbers = initial(wanted, stored, request.training.seed)
    parameters = tensors(numbers, getattr(torch, request.net.precision), choose_device(request.net.device))
    examples, held_out = split(loaded.examples, request.training)
    return Training(net, examples, held_out, parameters, request.training, state)


def _run(request: Request, training: Training, places: Places) -> None:
    """Train to the end; the checkpoint is renewed now and then, and when the training stops for any reason."""
    meter = Meter(request.messages.shown_progress, "epochs")
    written = time.monotonic()
    saved: State | None = None
    try:
        for epoch in training.epochs():
            meter(epoch.number, request.training.epochs)
            if epoch.number == 0 or time.monotonic() - written > BETWEEN:
                saved = _save(request, training, places)
                written = time.monotonic()
    finally:
        meter.close()
        if training.state is not saved:
            _save(request, training, places)


def _save(request: Request, training: Training, places: Places) -> State | None:
    if training.state is not None:
        with output(places.checkpoint, force=True) as file:
            checkpoint.write(file, training.state, request.training)
    return training.state


def _diverged(request: Request, training: Training, places: Places, error: DivergenceError) -> str:
    if training.state is None:
        return f"{error}: the weights or the examples are too large to begin with (preprocess: scale: 1/255?)"
    _write_curves(request, training.net, training.state)
    number = training.state.curve[-1].number
    return (
        f"{error}: give a smaller --lr than {request.training.learning_rate:g}; "
        f"the state after epoch {number} is kept in {shown(places.checkpoint)} (--resume)"
    )


def _write_curves(request: Request, net: Net, state: State) -> None:
    for name in request.net.curves:
        learn_curve.write(name, state.curve, f"{net.name}: {request.training.loss}", force=request.force)


@frozen
class Trained:
    """What came of a training; the curve is (epoch, loss, watched loss)."""

    net: str
    examples: int
    held_out: int
    epochs: int
    kept: int
    steps: int
    loss: dict[str, float | None]
    accuracy: dict[str, float | None]
    classes: Sequence[str]
    curve: Sequence[tuple[int, float, float | None]]
    files: Sequence[str]


def _trained(
    request: Request, net: Net, loaded: Loaded, training: Training, state: State, places: Places
) -> Trained:
    loss, share = training.evaluate(training.examples)
    watched = training.evaluate(training.held_out) if training.held_out else (None, None)
    last = state.curve[-1].number
    return Trained(
        net.name,
        len(training.examples),
        len(training.held_out),
        last,
        best_epoch(state.curve).number if state.best else last,
        state.steps,
        {"before": state.curve[0].loss, "after": loss, "held_out": watched[0]},
        {"examples": share, "held_out": watched[1]},
        loaded.classes,
        [(epoch.number, epoch.loss, epoch.watched) for epoch in state.curve],
        [places.weights, places.checkpoint, *request.net.curves],
    )


def _lines(found: Trained, request: Request, loaded: Loaded, state: State) -> Iterator[str]:
    settings, classes = request.training, f"; classes {', '.join(found.classes)}" if found.classes else ""
    count = sum(parameter.size for parameter in state.parameters.values())
    held = f", {found.held_out} held out" if found.held_out else ""
    yield f"{found.net}: {loaded.shape} to {loaded.output}, {count} parameters"
    yield f"{found.examples} example{'s' * (found.examples > 1)}{held}"
    yield from curve_lines(state.curve)
    how = f"{settings.optimizer}, lr {settings.learning_rate:g}, batch {settings.batch}, seed {settings.seed}"
    first, loss, watched = found.loss["before"] or 0.0, found.loss["after"] or 0.0, found.loss["held_out"]
    falls = f", {first / loss:.3g} times smaller" if 0 < loss < first else ""
    yield f"loss ({settings.loss}) {first:.4g} before, {loss:.4g} after {found.kept} epochs{falls}; {how}"
    right = {name: None if share is None else f"{share:.1%}" for name, share in found.accuracy.items()}
    if watched is not None:
        yield f"held out: loss {watched:.4g}" + (f", {right['held_out']} right" if right["held_out"] else "")
    if right["examples"]:
        yield f"{right['examples']} of the examples right{classes}"
    if found.epochs < settings.epochs:
        kept = f"no smaller loss for {settings.patience} epochs; epoch {found.kept} is kept"
        yield f"stopped after epoch {found.epochs}: {kept}"
    weights, _, *curves = found.files
    yield from (weights, *curves)
