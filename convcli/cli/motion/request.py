"""The parsed command line of ``motion``."""

from convcli.cli.shared.progress import Progress
from convcli.cli.shared.report import Verbosity
from convcli.common.frozen import frozen
from convcli.detection.area import Area
from convcli.media.options import ReadOptions, WriteOptions
from convcli.plan.choose import EngineName


@frozen
class MotionRequest:
    """A parsed command line of ``motion``; ``threshold`` ``None`` is automatic."""

    input: str
    output: str | None
    picture: bool
    overlay: bool
    events: str | None
    heatmap: str | None
    still: str | None
    threshold: float | None
    min_area: Area
    min_duration: float
    merge_gap: float
    region: tuple[int, int, int, int] | None
    kernel: str
    stride: tuple[int, ...] | None
    denoise: int
    steady_light: bool
    engine: EngineName
    reading: ReadOptions
    writing: WriteOptions
    force: bool
    json: bool
    exit_code: bool
    progress: Progress
    verbosity: Verbosity
