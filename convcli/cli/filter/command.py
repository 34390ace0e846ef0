"""``convcli filter``: the command line of the main job.

Strings become enums and numbers here, and nothing else happens: the work is in `convcli.cli.filter.inputs`, which
loads only once the command line makes sense.
"""

from pathlib import Path
from typing import Annotated

import typer

from convcli.cli.filter.request import Request
from convcli.cli.shared.options import (
    MILLION,
    As,
    Axes,
    Axis,
    Bias,
    ChannelPolicy,
    Dilation,
    Flip,
    MaxFrames,
    MaxPixels,
    OutputPadding,
    PadModeName,
    PadValue,
    Stride,
    all_frames,
    complete_kernel,
    is_matrix,
    parse_columns,
    parse_max_frames,
    parse_settings,
)
from convcli.cli.shared.progress import Progress
from convcli.cli.shared.report import Debug, Verbosity
from convcli.common.choices import Channels, Nan, Precision, parse_choice
from convcli.common.errors import UsageError
from convcli.common.numbers import parse_rate
from convcli.media.options import Compress, ReadOptions, VideoOptions, WriteOptions
from convcli.pixels.ranges import FORMS, parse_range
from convcli.plan.choose import EngineName


def _check(request: Request) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if not request.kernels and request.settings.pool is None:
        raise UsageError("nothing to do: give a kernel (-k NAME, see `convcli kernels list`) or --pool")
    if request.output is not None and request.out_dir is not None:
        raise UsageError("--output and --out-dir: give one of them")
    if len(request.inputs) > 1 and request.output is not None:
        raise UsageError(f"{len(request.inputs)} inputs and one output: give --out-dir DIR instead of -o")
    if len(request.inputs) > 1 and request.out_dir is None:
        raise UsageError(f"{len(request.inputs)} inputs need --out-dir DIR for their outputs")
    if request.threads is not None and request.threads < 1:
        raise UsageError(f"threads {request.threads} is not possible: give 1 or more")
    if request.writing.quality is not None and not 1 <= request.writing.quality <= 100:
        raise UsageError(f"quality {request.writing.quality} is not possible: give 1 to 100")


def filter_files(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="Files, frames/%04d.png, or - for standard input.", show_default=False
        ),
    ],
    kernel: Annotated[
        list[str] | None,
        typer.Option(
            "--kernel",
            "-k",
            help="Name, name:parameters, FILE.yaml, FILE.npy, or numbers; several are applied in turn.",
            autocompletion=complete_kernel,
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Output file, or - . Default: STEM.KERNEL.EXT here.")
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out-dir", help="Folder for the outputs of several inputs.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", help="Output type where no suffix says it: png, jpeg, csv, npy..."),
    ] = None,
    stride: Stride = None,
    padding: Annotated[
        str | None,
        typer.Option(
            help="valid, same, full, same-lower, same-upper, tail, a number, or before:after; one for each axis "
            "(1:0,2:2). Neither --padding nor --pad-mode: same with replicated edges (valid along time). "
            "--padding alone: zeros outside."
        ),
    ] = None,
    pad_mode: PadModeName = None,
    pad_value: PadValue = None,
    dilation: Dilation = None,
    bias: Bias = None,
    flip: Flip = None,
    transpose: Annotated[
        bool, typer.Option("--transpose", help="Transposed convolution; padding (default 0) crops.")
    ] = False,
    output_padding: OutputPadding = "0",
    pool: Annotated[
        str | None,
        typer.Option(
            help="After the kernels, or alone: max:2, avg:3,s=2, min:2,ceil, global-max (also p= d=)."
        ),
    ] = None,
    range: Annotated[
        str | None,
        typer.Option(help=f"How numbers become pixels: {FORMS}. Default: the kernel's."),
    ] = None,
    channels: ChannelPolicy = "each",
    axis: Axis = None,
    fps: Annotated[
        str | None, typer.Option(help="Frames a second of numbered images and arrays. Default: 25.")
    ] = None,
    axes: Axes = None,
    as_: As = None,
    columns: Annotated[
        str | None, typer.Option(help="Columns of a table to filter: names, numbers, 2-4.")
    ] = None,
    frames: Annotated[
        str, typer.Option(help="first, or all frames of an animation. A TIFF's pages are one stack, Z.")
    ] = "first",
    nan: Annotated[str, typer.Option(help="Missing samples: propagate, skip or error.")] = "propagate",
    dtype: Annotated[
        str,
        typer.Option(help="Arithmetic: auto (float32; float64 for tables, 64-bit data), float32, float64."),
    ] = "auto",
    engine: Annotated[str, typer.Option(help="auto, numpy or torch.")] = "auto",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int | None, typer.Option(help="Processor cores to use. Default: all.")] = None,
    quality: Annotated[int | None, typer.Option(help="1 to 100, for JPEG and WebP.")] = None,
    compress: Annotated[str, typer.Option(help="fast or small, for PNG.")] = "fast",
    codec: Annotated[
        str | None, typer.Option(help="Of a clip: h264, hevc, vp9, av1, ffv1 (lossless)... Default: its own.")
    ] = None,
    crf: Annotated[
        float | None, typer.Option(help="Constant quality of a clip, smaller is better. Default: 17 (H.264).")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Speed of the encoder: veryfast, medium, slow.")] = None,
    pix_fmt: Annotated[
        str | None, typer.Option(help="Pixel format of a clip: yuv420p, yuv444p10le... Default: its own.")
    ] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave out sound and subtitles.")] = False,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Keep what can be read of a broken clip.")
    ] = False,
    max_pixels: MaxPixels = 256,
    max_frames: MaxFrames = None,
    force: Annotated[bool, typer.Option("--force", "-y", help="Overwrite existing outputs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done and stop.")] = False,
    plan: Annotated[
        bool, typer.Option("--plan", help="As --dry-run, with the choice of engine and algorithm explained.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report each output as a line of JSON.")] = False,
    progress: Annotated[
        str, typer.Option(help="auto (a bar, on a terminal), json (lines on stderr) or none.")
    ] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes, only errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what was chosen, and why.")] = False,
    debug: Debug = False,
) -> None:
    """Filter images, clips, signals and arrays with kernels.

    \b
    Examples:
      convcli filter photo.png -k hedge
      convcli filter photo.jpg -k gaussian:sigma=2 -k sobel -o edges.png
      convcli filter signal.csv -k smooth3 --columns 2-4
      convcli filter *.png -k "1/9,1/9,1/9;1/9,1/9,1/9;1/9,1/9,1/9" --out-dir out
      convcli filter photo.png --pool max:2
      convcli filter clip.mp4 -k box:3 -o soft.mp4
      convcli filter frames/%04d.png -k temporal-mean:3 -o out/%04d.png
      cat a.png | convcli filter - -k sharpen > b.png
    """
    settings = parse_settings(
        stride, padding, pad_mode, pad_value, dilation, bias, flip, transpose, output_padding, axis, pool
    )
    request = Request(
        inputs=tuple(inputs),
        kernels=tuple(kernel or ()),
        output=output,
        out_dir=out_dir,
        format=format,
        settings=settings,
        range=None if range is None else parse_range(range),
        channels=parse_choice(Channels, channels, "channels"),
        nan=parse_choice(Nan, nan, "nan"),
        precision=parse_choice(Precision, dtype, "dtype"),
        engine=parse_choice(EngineName, engine, "engine"),
        device=device,
        threads=threads,
        reading=ReadOptions(
            axes=axes,
            matrix=is_matrix(as_),
            columns=parse_columns(columns),
            all_frames=all_frames(frames),
            max_pixels=max_pixels * MILLION,
            max_frames=parse_max_frames(max_frames),
            allow_truncated=allow_truncated,
            rate=None if fps is None else parse_rate(fps),
        ),
        writing=WriteOptions(
            quality=quality,
            compress=parse_choice(Compress, compress, "compress"),
            video=VideoOptions(codec, crf, preset, pix_fmt, sound=not no_audio),
        ),
        force=force,
        dry_run=dry_run or plan,
        show_plan=plan,
        json=as_json,
        progress=Progress.NONE if quiet else parse_choice(Progress, progress, "progress"),
        verbosity=Verbosity.of(quiet, verbose),
    )
    _check(request)
    from convcli.cli.filter.inputs import filter_all

    filter_all(request)
