"""The parsed command line of ``filter``."""

from pathlib import Path

from convcli.cli.shared import options
from convcli.common import Channels, EngineName, Nan, Precision, frozen
from convcli.common.options import Panel, argument, flag, option
from convcli.jobs.bind import Settings
from convcli.media.options import ReadOptions, WriteOptions
from convcli.pixels.ranges import Range, range_policy


@frozen(kw_only=True)
class Request:
    """A parsed command line of ``filter``."""

    inputs: tuple[str, ...] = argument("Files, frames/%04d.png, or - for standard input.", metavar="INPUT")
    kernels: tuple[str, ...] = options.kernels()
    output: str | None = options.output()
    out_dir: Path | None = option("Folder for the outputs of several inputs.")
    format: str | None = option("Output type where no suffix says it: png, jpeg, csv, npy...")
    settings: Settings
    range: Range | None = range_policy()
    channels: Channels = options.channels()
    reading: ReadOptions
    nan: Nan = option("Missing samples: propagate, skip or error.", default=Nan.PROPAGATE, panel=Panel.VALUES)
    precision: Precision = options.precision(
        "Arithmetic: auto (float32; float64 for tables, 64-bit data), float32, float64."
    )
    engine: EngineName = options.engine()
    device: str = options.device()
    threads: int | None = option(
        "Processor cores to use. Default: all.",
        panel=Panel.SPEED,
        takes=int,
        read=options.from_one_on("threads"),
    )
    writing: WriteOptions
    force: bool = options.force()
    dry_run: bool = flag("Say what would be done and stop.", panel=Panel.MESSAGES)
    plan: bool = flag(
        "As --dry-run, with the choice of engine and algorithm explained.", panel=Panel.MESSAGES
    )
    json: bool = options.json("Report each output as a line of JSON (the axis M counts the kernel's maps).")
    messages: options.Messages
