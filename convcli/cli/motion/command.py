"""``convcli motion``: the command line.  Strings become numbers here; the work is in `convcli.cli.motion.work`."""

from typing import Annotated

import typer

from convcli.cli.motion.request import MotionRequest
from convcli.cli.shared.options import MILLION, MaxFrames, MaxPixels, complete_kernel, parse_max_frames
from convcli.cli.shared.progress import Progress
from convcli.cli.shared.report import Debug, Verbosity
from convcli.common.choices import parse_choice
from convcli.common.errors import ConvError, UsageError
from convcli.common.numbers import parse_float, parse_rate
from convcli.detection.area import parse_area, parse_region
from convcli.geometry.axes import parse_numbers
from convcli.media.options import ReadOptions, VideoOptions, WriteOptions
from convcli.plan.choose import EngineName

NONE_FOUND = 1
TROUBLE = 2


def _not_negative(text: str, what: str) -> float:
    number = parse_float(text, what)
    if number < 0:
        raise UsageError(f"{what} {text!r}: give 0 or more")
    return number


def motion(
    clip: Annotated[
        str, typer.Argument(metavar="CLIP", help="A clip, frames/%04d.png, or - for standard input.")
    ],
    output: Annotated[
        str | None, typer.Option("--output", "-o", help="Picture of the motion. Default: STEM.motion.mp4.")
    ] = None,
    no_output: Annotated[bool, typer.Option("--no-output", help="Only detect: write no clip.")] = False,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Draw the motion over the original, with boxes.")
    ] = False,
    events: Annotated[
        str | None, typer.Option(help="Events as .csv, else as lines of JSON; - is standard output.")
    ] = None,
    heatmap: Annotated[str | None, typer.Option(help="Sum of all motion as a picture.")] = None,
    still: Annotated[str | None, typer.Option(help="Strip of sample frames as a picture.")] = None,
    threshold: Annotated[
        str, typer.Option(help="auto (from the clip's noise), or grey levels of 255.")
    ] = "auto",
    min_area: Annotated[
        str, typer.Option("--min-area", help="Smallest motion: pixels, or a share such as 0.1%.")
    ] = "0.02%",
    min_duration: Annotated[str, typer.Option(help="Shortest event, in seconds.")] = "0.1",
    merge_gap: Annotated[
        str, typer.Option(help="Stillness that does not end an event, in seconds.")
    ] = "0.25",
    region: Annotated[str | None, typer.Option(help="Look only there: x,y,width,height.")] = None,
    kernel: Annotated[
        str, typer.Option("--kernel", "-k", help="Of rank 3.", autocompletion=complete_kernel)
    ] = "motion",
    stride: Annotated[str | None, typer.Option(help="Step of the window: 2, or 1,2,2 (time, y, x).")] = None,
    denoise: Annotated[int, typer.Option(help="Against sensor noise: mean of so many frames first.")] = 1,
    stabilise_light: Annotated[
        bool, typer.Option("--stabilise-light", help="Against flicker: subtract each frame's mean change.")
    ] = False,
    engine: Annotated[str, typer.Option(help="auto, numpy or torch.")] = "auto",
    codec: Annotated[str | None, typer.Option(help="Encoder of the output.")] = None,
    crf: Annotated[float | None, typer.Option(help="Quality of the output, smaller is better.")] = None,
    preset: Annotated[str | None, typer.Option(help="Speed of the encoder: veryfast, medium, slow.")] = None,
    pix_fmt: Annotated[str | None, typer.Option(help="Pixel format of the output.")] = None,
    no_audio: Annotated[bool, typer.Option("--no-audio", help="Leave out sound and subtitles.")] = False,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Keep what can be read of a broken clip.")
    ] = False,
    axes: Annotated[str | None, typer.Option(help="Letters of an array's dimensions: TYX, TYXC.")] = None,
    fps: Annotated[
        str | None, typer.Option(help="Frames a second of numbered images and arrays. Default: 25.")
    ] = None,
    max_pixels: MaxPixels = 256,
    max_frames: MaxFrames = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="As grep: 0 motion, 1 none, 2 trouble.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-y", help="Overwrite existing outputs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Report on standard output as JSON.")] = False,
    progress: Annotated[
        str, typer.Option(help="auto (a bar, on a terminal), json (lines on stderr) or none.")
    ] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No notes, only errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say what was chosen, and why.")] = False,
    debug: Debug = False,
) -> int:
    """Find motion in a clip: when, where, how much, and a picture of it.

    Grey (exactly 128) is rest, lighter and darker are motion. Times are seconds in the clip; a change
    belongs to the newer of two frames.

    \b
    A camera that shakes: every edge moves, all is one event; try --region.
    A light that flickers: all changes at once; --stabilise-light.
    Sensor noise: the threshold rises above it; --denoise 3 finds more.

    \b
    Examples:
      convcli motion clip.mp4
      convcli motion clip.mp4 --no-output --events - | head
      convcli motion clip.mp4 --overlay -o seen.mp4 --heatmap where.png
      convcli motion door.mp4 --no-output --exit-code -q && echo someone came
    """
    try:
        request = MotionRequest(
            input=clip,
            output=output,
            picture=not no_output,
            overlay=overlay,
            events=events,
            heatmap=heatmap,
            still=still,
            threshold=None if threshold == "auto" else _not_negative(threshold, "threshold"),
            min_area=parse_area(min_area),
            min_duration=_not_negative(min_duration, "min duration"),
            merge_gap=_not_negative(merge_gap, "merge gap"),
            region=None if region is None else parse_region(region),
            kernel=kernel,
            stride=None if stride is None else parse_numbers(stride, "stride"),
            denoise=denoise,
            steady_light=stabilise_light,
            engine=parse_choice(EngineName, engine, "engine"),
            reading=ReadOptions(
                axes=axes,
                all_frames=True,
                grey=not overlay,
                max_pixels=max_pixels * MILLION,
                max_frames=parse_max_frames(max_frames),
                allow_truncated=allow_truncated,
                rate=None if fps is None else parse_rate(fps),
            ),
            writing=WriteOptions(video=VideoOptions(codec, crf, preset, pix_fmt, sound=not no_audio)),
            force=force,
            json=as_json,
            exit_code=exit_code,
            progress=Progress.NONE if quiet else parse_choice(Progress, progress, "progress"),
            verbosity=Verbosity.of(quiet, verbose),
        )
        _check(request)
        from convcli.cli.motion.work import detect

        found = detect(request)
    except ConvError as error:
        if exit_code:
            error.exit_code = TROUBLE
        raise
    return NONE_FOUND if exit_code and not found else 0


def _check(request: MotionRequest) -> None:
    """Refuse what cannot be meant, before anything is read."""
    if request.output is not None and not request.picture:
        raise UsageError("--output and --no-output: give one of them")
    if request.overlay and not request.picture:
        raise UsageError("--overlay draws on the output, and --no-output writes none")
    if request.denoise < 1:
        raise UsageError(f"denoise {request.denoise} is not possible: give a number of frames from 1 on")
    if request.events == "-" and (request.json or request.output == "-"):
        raise UsageError("--events - and another output: only one thing goes to standard output")
    if request.output == "-" and request.json:
        raise UsageError("--json and -o -: only one thing goes to standard output")
