"""Golden pixels: decoded outputs that must not change; ``python -m tests.golden.test_golden`` hashes them anew.

A line of `commands.txt` is a hash and a command.  Every command runs with the compiled loops and without them; one that
begins with ``=`` computes with integers, so that every engine gives the same pixels.
"""

from __future__ import annotations

import csv
import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from PIL import Image

from convcli.cli.program import run
from convcli.engines.native import library

LIST = Path(__file__).with_name("commands.txt")
PARTS = 8  # tests, so that workers can share them


def lines() -> list[tuple[str, bool, str]]:
    """Return hash, whether every engine must agree, and command."""
    split = (line.split(" ", 2) for line in LIST.read_text(encoding="utf-8").splitlines())
    return [(digest, mark == "=", command) for digest, mark, command in split]


def make_inputs(place: Path) -> None:
    random = np.random.default_rng(17)
    waves = np.add.outer(np.sin(np.arange(45) / 5), np.cos(np.arange(67) / 7))[..., None]
    colours = np.clip(128 + 45 * waves + random.normal(0, 25, (45, 67, 4)), 0, 255).astype(np.uint8)
    Image.fromarray(colours[..., 0]).save(place / "grey.png")
    Image.fromarray(colours[..., :3]).save(place / "rgb.png")
    Image.fromarray(colours).save(place / "rgba.png")
    Image.fromarray(colours[..., 0].astype(np.uint16) * 257 + 3).save(place / "deep.png")
    np.save(place / "float.npy", random.integers(-4096, 4096, (31, 45)).astype(np.float32) / 64)
    np.save(place / "volume.npy", random.integers(0, 256, (7, 13, 19), dtype=np.uint8))
    np.save(place / "signal.npy", random.integers(-999, 999, 301).astype(np.int16))
    np.save(place / "bank.npy", random.integers(-3, 4, (4, 3, 3, 3)).astype(np.float32))
    rows = np.column_stack([np.arange(60), random.integers(-50, 50, (60, 2)) / 4])
    np.savetxt(place / "table.csv", rows, "%g", ",", header="t,u,v", comments="")


def decoded(path: Path) -> np.ndarray:
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".csv":
        with path.open() as file:
            return np.array(list(csv.reader(file))[1:], np.float64)
    with Image.open(path) as image:
        return np.array(image)


def digest_of(command: str, engine: str = "") -> str:
    """Run a command in this folder, and return the hash of its output's type, shape and values."""
    suffix = ".npy" if ".npy" in command.split()[0] else Path(command.split()[0]).suffix
    out = Path(f"out{suffix}")
    out.unlink(missing_ok=True)
    more = ["--engine", engine] if engine else []
    assert run(["filter", *command.split(), "-o", str(out), "-q", *more]) == 0, command
    made = decoded(out)
    return hashlib.sha256(f"{made.dtype.str} {made.shape} ".encode() + made.tobytes()).hexdigest()[:12]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    place = tmp_path_factory.mktemp("golden")
    make_inputs(place)
    with chdir(place):
        yield


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("part", range(PARTS))
def test_pixels_are_what_they_were(part: int) -> None:
    for digest, every_engine, command in lines()[part::PARTS]:
        assert digest_of(command) == digest, command
        if every_engine:
            assert digest_of(command, "torch") == digest, command
        with patch.object(library, "loops", lambda: None):
            assert digest_of(command) == digest, f"{command}, without the compiled loops"


def test_there_are_enough() -> None:
    assert len({command for *_, command in lines()}) >= 200


if __name__ == "__main__":
    os.environ.pop("CONVCLI_ENGINE", None)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        make_inputs(Path(folder))
        made = [f"{digest_of(command)} {'=' if same else '-'} {command}" for _, same, command in lines()]
    sys.exit(0 if LIST.write_text("\n".join(made) + "\n", encoding="utf-8") else 1)
