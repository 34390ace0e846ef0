"""The three jobs of ``convcli learn``, parsed: what the command line hands to the modules that do them."""

from __future__ import annotations

from pathlib import Path

from convcli.cli.shared.progress import Progress
from convcli.common.choices import Channels, Precision
from convcli.common.frozen import frozen
from convcli.jobs.bind import Settings as Geometry
from convcli.learning.training import Settings
from convcli.media.options import ReadOptions


@frozen
class Files:
    """Where examples come from: alternating INPUT and TARGET, or inputs and targets named apart."""

    pairs: tuple[str, ...]
    inputs: tuple[str, ...]
    targets: tuple[str, ...]
    reading: ReadOptions
    reading_targets: ReadOptions


@frozen
class KernelRequest:
    """A parsed command line that asks for a kernel."""

    files: Files
    size: tuple[int, ...]
    geometry: Geometry
    channels: Channels | None
    bias: bool
    minimum_norm: bool
    keep_saturated: bool
    output: str | None
    force: bool
    quiet: bool
    json: bool


@frozen
class GradientRequest:
    """A parsed command line that asks what the gradients are; sizes are channels (or maps) and space."""

    input: tuple[int, tuple[int, ...]]
    kernel: tuple[int, tuple[int, ...]]
    geometry: Geometry
    seed: int
    quiet: bool
    json: bool


@frozen
class NetRequest:
    """A parsed command line that asks for a trained net."""

    net: Path
    files: Files
    settings: Settings
    num_classes: int | None
    weights: Path | None
    resume: Path | None
    checkpoint: Path | None
    target_scale: float | None
    output: str | None
    curves: tuple[str, ...]
    precision: Precision
    device: str
    force: bool
    progress: Progress
    quiet: bool
    json: bool
