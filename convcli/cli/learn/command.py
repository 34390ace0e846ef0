"""``convcli learn``: the command line of its three jobs.

A kernel by least squares (`learn_kernel`), a net by gradients (`learn_net`), or a look at what those gradients are
(`learn_gradients`): each module loads once the command line makes sense.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from convcli.cli.learn.request import Files, GradientRequest, KernelRequest, NetRequest
from convcli.cli.shared.options import As, Dilation, Stride, is_matrix, parse_settings
from convcli.cli.shared.progress import Progress
from convcli.cli.shared.report import Debug
from convcli.common.choices import Channels, Precision, parse_choice
from convcli.common.errors import UsageError
from convcli.common.numbers import parse_float
from convcli.geometry.axes import parse_numbers
from convcli.geometry.grammar import parse_size
from convcli.jobs.bind import Settings as Geometry
from convcli.learning.training import Loss, Optimizer, Settings
from convcli.media.options import ReadOptions


def _only(job: str, *groups: Mapping[str, object]) -> None:
    """Refuse options of another job; None, False and empty mean "not said"."""
    said = [
        option
        for given in groups
        for option, value in given.items()
        if value is not None and value is not False and value != []
    ]
    if said:
        raise UsageError(f"{said[0]} belongs to another job than {job} (see `convcli learn --help`)")


def learn(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[INPUT TARGET]...", help="Pairs of files; with --target or --net: inputs."),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option(
            "--input", help="A file or folder of inputs, again for more. --gradcheck: a size, 2@6x7."
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(help="A file or folder of targets, again for more; or a CSV (file, label)."),
    ] = None,
    size: Annotated[
        str | None, typer.Option(help="Learn one kernel of this size: 3x3, 5, 1x7, 3x3x3.")
    ] = None,
    net: Annotated[Path | None, typer.Option(help="Train all weights of this net (YAML).")] = None,
    gradcheck: Annotated[
        bool, typer.Option("--gradcheck", help="Show what the gradients of a convolution are.")
    ] = False,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", help="kernel.yaml; or trained weights, FILE.safetensors."),
    ] = None,
    stride: Stride = None,
    padding: Annotated[
        str | None,
        typer.Option(help="same, valid, full, numbers... Default: what fits the sizes; --gradcheck: 0."),
    ] = None,
    pad_mode: Annotated[
        str | None,
        typer.Option(help="What lies outside the input. Without it outputs that need it do not count."),
    ] = None,
    dilation: Dilation = None,
    channels: Annotated[
        str | None,
        typer.Option(help="each: one kernel for every channel (default where their numbers agree); or sum."),
    ] = None,
    no_bias: Annotated[bool, typer.Option("--no-bias", help="Seek no constant beside the weights.")] = False,
    minimum_norm: Annotated[
        bool, typer.Option("--minimum-norm", help="Of all kernels that fit equally take the smallest.")
    ] = False,
    keep_saturated: Annotated[
        bool, typer.Option("--keep-saturated", help="Count pixels that are black or white in the target too.")
    ] = False,
    loss: Annotated[str | None, typer.Option(help="mse (default), bce, or ce (classes).")] = None,
    optimizer: Annotated[str | None, typer.Option(help="adam (default) or sgd.")] = None,
    epochs: Annotated[int | None, typer.Option(help="How often all examples are seen. Default: 10.")] = None,
    lr: Annotated[
        str | None, typer.Option(help="Length of a step. Default: 0.001 (adam), 0.01 (sgd).")
    ] = None,
    momentum: Annotated[str | None, typer.Option(help="Of sgd. Default: 0.9.")] = None,
    batch: Annotated[int | None, typer.Option(help="Examples in one step. Default: 16.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything random. Default: 0.")] = None,
    validation: Annotated[
        str | None, typer.Option(help="Share of the examples that is held out: 0.2 or 1/5.")
    ] = None,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a smaller loss; keep the best.")
    ] = None,
    target_scale: Annotated[
        str | None, typer.Option(help="Factor for targets. Default: the net's preprocess scale.")
    ] = None,
    weights: Annotated[Path | None, typer.Option("--weights", "-w", help="Weights to start from.")] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="Where each epoch's state is kept. Default: OUTPUT.checkpoint.safetensors."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on from a checkpoint, which is then kept up to date.")
    ] = None,
    curve: Annotated[
        list[str] | None, typer.Option(help="Write the loss of every epoch: FILE.csv, FILE.png; or both.")
    ] = None,
    num_classes: Annotated[
        int | None, typer.Option("--num-classes", help="In the place of the net's own num_classes.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help="Letters of an array's dimensions: CYX, YXC, ZYX...")
    ] = None,
    target_axes: Annotated[str | None, typer.Option(help="The same of targets. Default: --axes.")] = None,
    as_: As = None,
    dtype: Annotated[str | None, typer.Option(help="Of training: float32 (default) or float64.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu (default) or cuda.")] = None,
    force: Annotated[bool, typer.Option("--force", "-y", help="Overwrite existing outputs.")] = False,
    progress: Annotated[
        str, typer.Option(help="auto (a bar, on a terminal), json (lines on stderr) or none.")
    ] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No notes; only the kernel, or nothing.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Learn kernels from examples.

    \b
    Three jobs:
      --size SIZE   the one kernel (and bias) that turns inputs into targets with
                    the least squared error: exact, and it says how sure it is
      --net NET     all weights of a net, by gradient descent; without targets
                    the net learns to give its input back (an autoencoder), with
                    --loss ce the folder of each input names its class
      --gradcheck   shows that the gradients of a convolution are convolutions

    \b
    Examples:
      convcli learn photo.png blurred.png --size 5x5 -o blur.yaml
      convcli learn --net autoencoder.yaml --input photos -o ae.safetensors
      convcli learn --net lenet.yaml --input digits --loss ce --patience 5
      convcli learn --gradcheck --input 6x7 --size 3x2 --stride 2 --padding 1
    """
    for_kernel = {
        "--channels": channels,
        "--no-bias": no_bias,
        "--minimum-norm": minimum_norm,
        "--keep-saturated": keep_saturated,
        "--pad-mode": pad_mode,
    }
    for_geometry = {"--size": size, "--stride": stride, "--padding": padding, "--dilation": dilation}
    for_net = {
        "--net": net,
        "--loss": loss,
        "--optimizer": optimizer,
        "--epochs": epochs,
        "--lr": lr,
        "--momentum": momentum,
        "--batch": batch,
        "--validation": validation,
        "--patience": patience,
        "--target-scale": target_scale,
        "--weights": weights,
        "--checkpoint": checkpoint,
        "--resume": resume,
        "--curve": curve,
        "--num-classes": num_classes,
        "--dtype": dtype,
        "--device": device,
    }
    for_files = {
        "INPUT": files,
        "--target": target,
        "--axes": axes,
        "--target-axes": target_axes,
        "--as": as_,
    }
    geometry = parse_settings(stride, padding, pad_mode, dilation=dilation)
    matrix = is_matrix(as_)
    given = Files(
        pairs=() if target or net else tuple(files or ()),
        inputs=(*(input or ()), *(files or ())) if target or net else tuple(input or ()),
        targets=tuple(target or ()),
        reading=ReadOptions(axes=axes, matrix=matrix),
        reading_targets=ReadOptions(axes=target_axes or axes, matrix=matrix),
    )
    if gradcheck:
        _only("--gradcheck", for_kernel, for_net, for_files, {"--output": output})
        _gradients(input or [], size, geometry, seed, quiet, as_json)
    elif net is not None:
        _only("--net", for_kernel, for_geometry)
        if not given.inputs:
            raise UsageError("nothing to learn from: give --input FILE or a folder, again for more")
        from convcli.cli.learn.net import train_net

        settings = Settings(
            loss=parse_choice(Loss, loss or "mse", "loss"),
            optimizer=parse_choice(Optimizer, optimizer or "adam", "optimizer"),
            epochs=10 if epochs is None else epochs,
            rate=None if lr is None else parse_float(lr, "lr"),
            momentum=0.9 if momentum is None else parse_float(momentum, "momentum"),
            batch=16 if batch is None else batch,
            seed=0 if seed is None else seed,
            patience=patience,
            held_out=0.0 if validation is None else parse_float(validation, "validation"),
        )
        train_net(
            NetRequest(
                net=net,
                files=given,
                settings=settings,
                num_classes=num_classes,
                weights=weights,
                resume=resume,
                checkpoint=checkpoint,
                target_scale=None if target_scale is None else parse_float(target_scale, "target scale"),
                output=output,
                curves=tuple(curve or ()),
                precision=parse_choice(Precision, dtype or "float32", "dtype"),
                device=device or "cpu",
                force=force,
                progress=Progress.NONE if quiet else parse_choice(Progress, progress, "progress"),
                quiet=quiet,
                json=as_json,
            )
        )
    elif size is not None:
        _only("--size", for_net, {"--seed": seed})
        from convcli.cli.learn.kernel import learn_kernel

        learn_kernel(
            KernelRequest(
                files=given,
                size=parse_numbers(size, "size"),
                geometry=geometry,
                channels=None if channels is None else _channels(channels),
                bias=not no_bias,
                minimum_norm=minimum_norm,
                keep_saturated=keep_saturated,
                output=output,
                force=force,
                quiet=quiet,
                json=as_json,
            )
        )
    else:
        raise UsageError(
            "what to learn: --size 3x3 (a kernel), --net NET.yaml (a net's weights), or --gradcheck"
        )


def _channels(text: str) -> Channels:
    found = parse_choice(Channels, text, "channels")
    if found not in (Channels.EACH, Channels.SUM):
        raise UsageError(f"channels {text!r} is not possible here: give each or sum")
    return found


def _gradients(
    inputs: Sequence[str], size: str | None, geometry: Geometry, seed: int | None, quiet: bool, as_json: bool
) -> None:
    if len(inputs) > 1:
        raise UsageError(f"{len(inputs)} inputs: --gradcheck takes one size, such as --input 2@6x7")
    rank = len(parse_size(inputs[0], "input")[1]) if inputs else 2
    maps, kernel = parse_size(size or "x".join(("3",) * rank), "size")
    channels, space = parse_size(inputs[0] if inputs else "x".join(("5",) * len(kernel)), "input")
    request = GradientRequest(
        input=(channels or 1, space),
        kernel=(maps or 1, kernel),
        geometry=geometry,
        seed=0 if seed is None else seed,
        quiet=quiet,
        json=as_json,
    )
    if request.seed < 0:
        raise UsageError(f"seed {seed} is not possible: give 0 or more")
    from convcli.cli.learn.gradients import show_gradients

    show_gradients(request)
