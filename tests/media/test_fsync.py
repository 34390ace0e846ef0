"""What replaces a file is on the disk before: fsync of everything that was written comes before each rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from convcli.cli.program import run
from tests.shell import SAMPLES

COMMANDS = {
    "a picture": "filter house.png -k box:3 -o o.png",
    "a picture by strips": "filter house.png -k box:3 -o o.tif",
    "an array": "filter house.png -k box:3 -o o.npy",
    "a table": "filter noisy-signal.csv -k smooth3 -o o.csv",
    "a clip": "filter walk.mp4 -k box:3 -o o.mp4",
    "numbered pictures": "filter walk.mp4 -k box:3 -o o%03d.png",
    "motion": "motion walk.mp4 -o o.mkv --events o.csv --heatmap o.png",
    "a matrix": "matrix --input 4x4 -k 3x3 -o o.npz",
    "a learned kernel": "learn house.png house.png --size 3 -o o.yaml",
    "a film": "explain --input 4x4 -k 3x3 --animate o.gif",
    "a net's maps": "net run sobel-pool.yaml house.png -o o.npy",
}


class Disk:
    """Remembers what has been synchronised, and what replaced a file without it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._safe: dict[
            int, tuple[int, int]
        ] = {}  # file: its size and time of change when it was synchronised
        self.renamed: list[str] = []
        self.unsafe: list[str] = []
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)
        for name in ("replace", "rename", "link"):
            monkeypatch.setattr(os, name, partial(self.move, getattr(os, name)))

    def fsync(self, descriptor: int) -> None:
        self._fsync(descriptor)
        state = os.fstat(descriptor)
        self._safe[state.st_ino] = state.st_size, state.st_mtime_ns

    def move(
        self,
        how: Callable[..., None],
        source: str,
        target: str,
        *,
        src_dir_fd: int | None = None,
        **rest: Any,
    ) -> None:
        state = os.stat(source, dir_fd=src_dir_fd)
        if self._safe.get(state.st_ino) != (state.st_size, state.st_mtime_ns):
            self.unsafe.append(target)
        how(source, target, src_dir_fd=src_dir_fd, **rest)
        self.renamed.append(target)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_target_is_synchronised_before_it_is_renamed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for sample in ("house.png", "noisy-signal.csv", "walk.mp4", "sobel-pool.yaml"):
        shutil.copy(SAMPLES / sample, tmp_path)
    disk = Disk(monkeypatch)
    assert run([*COMMANDS[name].split(), "-q"]) == 0
    assert sorted(disk.renamed) == sorted(path.name for path in tmp_path.glob("o*"))
    assert disk.renamed and disk.unsafe == []
