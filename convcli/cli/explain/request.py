"""The parsed command line of ``explain``."""

from pathlib import Path

from convcli.common.choices import Channels
from convcli.common.frozen import frozen
from convcli.jobs.bind import Settings
from convcli.media.options import ReadOptions


@frozen
class Request:
    """A parsed command line of ``explain``."""

    input: str | None
    size: str | None
    kernels: tuple[str, ...]
    settings: Settings
    channels: Channels
    at: tuple[int, ...] | None
    map: int | None
    channel: int | None
    picture: str | None
    film: str | None
    rate: float
    reading: ReadOptions
    force: bool
    quiet: bool
    json: bool


@frozen
class FieldRequest:
    """A parsed command line of ``explain --receptive-field``."""

    net: Path
    input: str
    at: tuple[int, ...]
    layer: str | None
    weights: Path | None
    seed: int | None
    picture: str | None
    reading: ReadOptions
    force: bool
    quiet: bool
    json: bool
