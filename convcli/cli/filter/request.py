"""The parsed command line of ``filter``."""

from pathlib import Path

from convcli.cli.shared.progress import Progress
from convcli.cli.shared.report import Verbosity
from convcli.common.choices import Channels, Nan, Precision
from convcli.common.frozen import frozen
from convcli.jobs.bind import Settings
from convcli.media.options import ReadOptions, WriteOptions
from convcli.pixels.ranges import Range
from convcli.plan.choose import EngineName


@frozen
class Request:
    """A parsed command line of ``filter``."""

    inputs: tuple[str, ...]
    kernels: tuple[str, ...]
    output: str | None
    out_dir: Path | None
    format: str | None
    settings: Settings
    range: Range | None
    channels: Channels
    nan: Nan
    precision: Precision
    engine: EngineName
    device: str
    threads: int | None
    reading: ReadOptions
    writing: WriteOptions
    force: bool
    dry_run: bool
    show_plan: bool
    json: bool
    progress: Progress
    verbosity: Verbosity
