"""The parsed command line of ``motion``."""

from pathlib import Path

from convcli.cli.shared import options
from convcli.common import EngineName, UsageError, frozen
from convcli.common.options import Panel, argument, flag, group, option
from convcli.detection.area import Watching
from convcli.jobs.bind import Settings
from convcli.media.options import ReadOptions, WriteOptions


@frozen(kw_only=True)
class Request:
    """Find motion in a clip: when, where, how much, and a picture of it.

    Grey (exactly 128) is rest, lighter and darker are motion. Times are seconds in the clip; a change
    belongs to the newer of two frames.

    \b
    A camera that shakes: every edge moves, all is one event; try --region.
    A light that flickers: part of auto; else --stabilise-light.
    Sensor noise: the threshold rises above it; --denoise 3 finds more.

    \b
    Examples:
      convcli motion clip.mp4
      convcli motion clip.mp4 --no-output --events - | head
      convcli motion clip.mp4 --overlay -o seen.mp4 --heatmap where.png
      convcli motion door.mp4 --no-output --exit-code -q && echo someone came
    """

    work = "motion.command.motion"
    brief = "--output --no-output --events --threshold --min-area --region --denoise --heatmap"

    panel = Panel.MOTION

    input: str = argument("A clip, frames/%04d.png, or - for standard input.", metavar="CLIP")
    output: str | None = options.output("Picture of the motion. Default: STEM.motion.mp4.")
    no_output: bool = flag("Only detect: write no clip.", panel=Panel.OUTPUT)
    overlay: bool = flag("Draw the motion over the original, with boxes.", panel=Panel.OUTPUT)
    events: str | None = option(
        "Events as .csv, .edl, else as lines of JSON; - is standard output.",
        metavar="FILE",
        panel=Panel.OUTPUT,
    )
    cut: Path | None = option(
        "Folder for a clip of each event, from a second before it to a second after.",
        metavar="DIR",
        panel=Panel.OUTPUT,
    )
    heatmap: str | None = option("Sum of all motion as a picture.", metavar="FILE", panel=Panel.OUTPUT)
    still: str | None = option("Strip of sample frames as a picture.", metavar="FILE", panel=Panel.OUTPUT)
    watching: Watching
    region: tuple[str, ...] = options.region(
        "Look only there: x,y,width,height, corners 'x,y x,y x,y', or a mask picture. Repeat for more."
    )
    ignore: tuple[str, ...] = option("Do not look there: as --region.", default=())
    kernel: str = options.kernel("A kernel of rank 3.", default="motion")
    settings: Settings = group("stride", stride="Step of the window: 2, or 1,2,2 (time, y, x).")
    engine: EngineName = options.engine()
    writing: WriteOptions = group("codec", "crf", "preset", "pixels", "sound")
    reading: ReadOptions = group(
        *("rate", "allow_truncated", "max_pixels", "max_frames"),
        axes="Letters of an array's dimensions: TYX, TYXC.",
    )
    raw_times: bool = flag(
        "Times as the file's time stamps have them, not from its first.", panel=Panel.MOTION
    )
    exit_code: bool = flag("As grep: 0 motion, 1 none, 2 trouble.", panel=Panel.MESSAGES)
    force: bool = options.force()
    json: bool = options.json("Report on standard output as JSON.")
    messages: options.Messages

    def __post_init__(self) -> None:
        """Refuse what cannot be meant, before anything is read."""
        if self.output is not None and self.no_output:
            raise UsageError("--output and --no-output: give one of them")
        if self.overlay and self.no_output:
            raise UsageError("--overlay draws on the output, and --no-output writes none")
        if self.events == "-" and (self.json or self.output == "-"):
            raise UsageError("--events - and another output: only one thing goes to standard output")
        if self.output == "-" and self.json:
            raise UsageError("--json and -o -: only one thing goes to standard output")
