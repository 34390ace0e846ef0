"""The parsed command line of ``filter``."""

from pathlib import Path
from typing import Annotated

from convcli.cli.shared.options import (
    Arithmetic,
    ChannelPolicy,
    Device,
    Engine,
    Force,
    Json,
    Kernels,
    Messages,
    Output,
    from_one_on,
)
from convcli.common.choices import Channels, EngineName, Nan, Precision
from convcli.common.frozen import frozen
from convcli.common.options import Argument, Option, Panel
from convcli.jobs.bind import Settings
from convcli.media.options import ReadOptions, WriteOptions
from convcli.pixels.ranges import RangePolicy


@frozen(kw_only=True)
class Request:
    """A parsed command line of ``filter``."""

    inputs: Annotated[
        tuple[str, ...], Argument("Files, frames/%04d.png, or - for standard input.", metavar="INPUT")
    ]
    kernels: Kernels = ()
    output: Output = None
    out_dir: Annotated[Path | None, Option("Folder for the outputs of several inputs.")] = None
    format: Annotated[str | None, Option("Output type where no suffix says it: png, jpeg, csv, npy...")] = (
        None
    )
    settings: Settings
    range: RangePolicy = None
    channels: ChannelPolicy = Channels.EACH
    reading: ReadOptions
    nan: Annotated[Nan, Option("Missing samples: propagate, skip or error.", panel=Panel.VALUES)] = (
        Nan.PROPAGATE
    )
    precision: Annotated[
        Arithmetic, "Arithmetic: auto (float32; float64 for tables, 64-bit data), float32, float64."
    ] = Precision.AUTO
    engine: Engine = EngineName.AUTO
    device: Device = "cpu"
    threads: Annotated[
        int | None,
        Option(
            "Processor cores to use. Default: all.",
            panel=Panel.SPEED,
            takes=int,
            read=from_one_on("threads"),
        ),
    ] = None
    writing: WriteOptions
    force: Force = False
    dry_run: Annotated[bool, Option("Say what would be done and stop.", panel=Panel.MESSAGES)] = False
    plan: Annotated[
        bool, Option("As --dry-run, with the choice of engine and algorithm explained.", panel=Panel.MESSAGES)
    ] = False
    json: Annotated[Json, "Report each output as a line of JSON (the axis M counts the kernel's maps)."] = (
        False
    )
    messages: Messages
