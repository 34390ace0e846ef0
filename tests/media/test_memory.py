"""Memory stays as it is however many frames or files there are: nothing of one is kept when it has been used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.clips import make, pattern
from tests.measured import measured
from tests.shell import SAMPLES

# What only the search for circles of references would free, of our types and in large blocks, after each job.
CIRCLES = """
import gc, json, sys
from types import ModuleType
from numpy import ndarray
NOT = type, ModuleType
from convcli.cli.program import run

for job in json.loads(sys.argv[1]):
    assert run(job) == 0, job  # caches are filled
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    run(job)
    gc.collect()
    gc.set_debug(0)
    ours = {type(each).__name__ for each in gc.garbage if type(each).__module__.startswith("convcli")}
    inside = [part for each in gc.garbage for part in gc.get_referents(each) if not isinstance(part, NOT)]
    large = [type(part).__name__ for part in inside if isinstance(part, (bytes, ndarray)) and len(bytes(part)) > 9999]
    gc.garbage.clear()
    gc.enable()
    print(json.dumps([job, sorted(ours), large]), file=sys.stderr)
"""
PICTURES = ("png", "jpg", "webp", "bmp", "gif", "tif", "jp2", "tga")
ANIMATIONS = ("gif", "webp", "png")


def pictures(folder: Path) -> None:
    frames = [Image.fromarray(frame) for frame in pattern(4, 120, 160)]
    for kind in PICTURES:
        settings = {"compression": "tiff_lzw"} if kind == "tif" else {}
        for number in (1, 2, 3):
            frames[number].save(folder / f"{number}.{kind}", **settings)
    for kind in ANIMATIONS:
        frames[0].save(folder / f"moving.{kind}", save_all=True, append_images=frames[1:], duration=50)
    np.save(folder / "a.npy", pattern(1, 120, 160)[0, ..., 0])
    make(folder / "a.mp4", pattern(6))


def circles(jobs: list[list[str]], folder: Path, **variables: str) -> list[object]:
    """Return the jobs of which a circle of references keeps something."""
    done = subprocess.run(
        [sys.executable, "-c", CIRCLES, json.dumps(jobs)],
        cwd=folder, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1", **variables}, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = [json.loads(line) for line in done.stderr.splitlines()]
    assert len(found) == len(jobs)
    return [each for each in found if each[1] or each[2]]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_no_circle_keeps_anything_without_the_compiled_loops(engine: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pattern(1, 120, 160)[0, ..., 0])
    kernels = (
        "box:3",
        "3,1,2;0,5,1;1,1,7",
        "3x3: 1,0,2 5,1,1 0,0,7",
        "gaussian:2",
        "sobel",
        "max:3",
        "median:3",
    )
    jobs = [["filter", "a.npy", "-k", each, "--engine", engine, "-o", "o.npy", "-yq"] for each in kernels]
    jobs.append(["filter", "a.npy", "-k", ";".join([",".join("1234567")] * 7), "-o", "o.npy", "-yq"])
    jobs.append([*jobs[1], "--transpose", "--stride", "2"])
    assert circles(jobs, tmp_path, CONVCLI_NATIVE="0") == []


def test_no_circle_of_references_keeps_anything(tmp_path: Path) -> None:
    """The garbage collector seldom runs: what it alone would free stays for hundreds of files."""
    pictures(tmp_path)
    jobs = [
        *(["filter", f"%d.{kind}", "-k", "box:3", "-o", "o.npy"] for kind in PICTURES),
        *(["filter", f"2.{kind}", "-k", "box:3", "-o", "o.png"] for kind in ("jpg", "tif", "jp2")),
        *(["filter", "2.png", "-k", "box:3", "-o", f"o.{kind}"] for kind in PICTURES[:6]),
        *(["filter", f"moving.{kind}", "-k", "temporal-mean:3", "-o", f"o.{kind}"] for kind in ANIMATIONS),
        ["filter", "%d.png", "-k", "box:3", "-o", "o%d.png"],
        ["filter", "a.npy", "-k", "box:3", "-o", "o.npy"],
        ["filter", "a.mp4", "-k", "box:3", "-o", "o.mp4"],
        ["filter", str(SAMPLES / "noisy-signal.csv"), "-k", "smooth3", "-o", "o.csv"],
    ]
    jobs = [[*job, "-y", "-q"] for job in jobs] + [["motion", "%d.tif", "--no-output", "-q"]]
    assert circles(jobs, tmp_path) == []


@pytest.mark.parametrize(("kind", "numbered"), [("tif", True), ("png", False), ("tif", False)])
def test_four_times_as_many_files_take_no_more_memory(kind: str, numbered: bool, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 500, 3), np.uint8)
    first = tmp_path / f"1.{kind}"
    if kind == "tif":
        tifffile.imwrite(first, pixels, compression="zlib", rowsperstrip=64)
    else:
        Image.fromarray(pixels).save(first, compress_level=1)
    (tmp_path / "out").mkdir()
    peaks, count = [], 30
    for last in (count, 4 * count):
        for number in range(2, last + 1):
            if not (tmp_path / f"{number}.{kind}").exists():
                os.link(first, tmp_path / f"{number}.{kind}")
        inputs = [f"%d.{kind}"] if numbered else [f"{number}.{kind}" for number in range(1, last + 1)]
        output = ("-o", "out/a.npy") if numbered else ("--out-dir", "out")
        done = measured("filter", *inputs, "-k", "box:3", *output, "-y", "-q", cwd=tmp_path)
        assert done.code == 0, done.words
        peaks.append(done.megabytes)
    frames = 3 * count * pixels.nbytes / 1e6  # that came in addition
    assert peaks[1] < peaks[0] + frames / 4, peaks
