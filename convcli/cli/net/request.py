"""What ``convcli net run`` and ``net check`` are asked for, parsed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from convcli.cli.shared.report import Verbosity
from convcli.common.choices import Precision
from convcli.common.frozen import frozen
from convcli.media.options import ReadOptions
from convcli.networks.model import Net
from convcli.pixels.ranges import Range


@frozen
class Filling:
    """Where weights come from that the net's file leaves open, and how numbers are computed."""

    weights: Path | None
    seed: int | None
    precision: Precision
    device: str


@frozen
class RunRequest:
    """A parsed command line of ``net run``."""

    net: Net
    input: str
    reading: ReadOptions
    filling: Filling
    output: str | None
    format: str | None
    layer: str | None
    maps: str | None
    count: int
    colours: str
    with_input: bool
    range: Range | None
    block: int | None
    top: int
    force: bool
    json: bool
    verbosity: Verbosity


@frozen
class CheckRequest:
    """A parsed command line of ``net check``."""

    net: Net
    input: str
    reading: ReadOptions
    filling: Filling
    shifts: Sequence[int]
    axis: str
    json: bool
