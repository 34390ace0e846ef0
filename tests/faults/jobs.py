"""The jobs that are disturbed: a picture, a table and a clip, each long enough to be hit while it writes."""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from tests import clips


@dataclass(frozen=True)
class Kind:
    """A kind of job: its files' suffixes, what makes its input of a size, and its options."""

    name: str
    source: str
    target: str
    make: Callable[[Path, int], object]
    size: int
    small: int
    options: tuple[str, ...]

    def command(self, source: Path, target: Path | str) -> list[str]:
        return ["filter", str(source), *self.options, "-y", "-o", str(target)]


def _picture(path: Path, size: int) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (size, size, 3), np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", rowsperstrip=16)


def _table(path: Path, size: int) -> None:
    numbers = np.random.default_rng(2).normal(0, 9, (size, 3)).round(4)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["time", "a", "b", "c"])
        writer.writerows([index / 10, *row] for index, row in enumerate(numbers.tolist()))


def _clip(path: Path, size: int) -> None:
    clips.make(path, clips.pattern(size, 240, 320))


NUMPY = ("--engine", "numpy", "--threads", "1")
KINDS = (
    Kind("image", ".tif", ".png", _picture, 1600, 300, ("-k", "gaussian:sigma=1", *NUMPY)),
    Kind("table", ".csv", ".csv", _table, 150_000, 4000, ("-k", "binomial5", *NUMPY)),
    Kind("video", ".mp4", ".mp4", _clip, 60, 4, ("-k", "box:5", "--preset", "veryfast", *NUMPY)),
)


@functools.cache
def made(kind: Kind, size: int, folder: Path) -> Path:
    """Return a job's input, made once."""
    path = folder / f"{kind.name}-{size}{kind.source}"
    kind.make(path, size)
    return path
