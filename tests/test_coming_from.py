"""The page for people who come from another tool: both commands of each pair are run, and give the same."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from convcli.cli.program import run
from tests.test_readme import ROOT, steps

PAGE = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
MODULES = {"OpenCV": "cv2", "scikit-image": "skimage", "scipy": "scipy", "torch": "torch", "polars": "polars"}
PROGRAMS = {"ImageMagick": "magick", "FFmpeg": "ffmpeg", "libvips": "vips", "Miller": "mlr"}
LEVELS = {"equal": 0, "within one level": 1}

PAIRS = {
    f"{tool} {name}": (tool, LEVELS[words], body)
    for tool, section in re.findall(r"^## (.*)\n((?:(?!^## ).*\n)*)", PAGE, flags=re.MULTILINE)
    for name, words, body in re.findall(
        r"^### (.*): (equal|within one level)(?:, .*)?\n((?:(?!^### ).*\n)*)", section, flags=re.MULTILINE
    )
}


def read(path: Path) -> np.ndarray:
    """Return a picture, an array, or the filtered column of a table."""
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".csv":
        table = np.genfromtxt(path, delimiter=",", names=True)
        return table["voltage" if "voltage" in table.dtype.names else table.dtype.names[0]]
    return np.asarray(Image.open(path))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("inputs")
    photo = Image.open(ROOT / "samples" / "house.png")
    photo.save(made / "photo.png")
    photo.convert("L").save(made / "grey.png")
    np.save(made / "plane.npy", np.random.default_rng(1).normal(size=(30, 41)).astype(np.float32))
    shutil.copy(ROOT / "samples" / "noisy-signal.csv", made / "signal.csv")
    return made


def of_python(code: str, module: str, folder: Path) -> np.ndarray:
    names: dict[str, Any] = {"np": np, module: importlib.import_module(module)}
    for part in ("ndimage", "signal", "filters", "morphology"):
        if importlib.util.find_spec(f"{module}.{part}"):
            importlib.import_module(f"{module}.{part}")
    names |= {name: read(folder / f"{name}.png") for name in ("photo", "grey")}
    names |= {"plane": read(folder / "plane.npy"), "voltage": read(folder / "signal.csv")}
    exec(code, names)
    return names["theirs"]


@pytest.mark.parametrize("pair", PAIRS)
def test_both_give_the_same(pair: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool, level, body = PAIRS[pair]
    blocks = re.findall(r"^```(console|python)\n(.*?)^```$", body, flags=re.MULTILINE | re.DOTALL)
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    *others, own = steps(blocks[-1][1])
    if tool in MODULES:
        pytest.importorskip(MODULES[tool])
        (_, code), _ = blocks
        theirs = of_python(code, MODULES[tool], tmp_path)
    else:
        program = PROGRAMS[tool]
        old = program == "magick" and not shutil.which("magick") and Path("/usr/bin/convert").exists()
        if not old and not shutil.which(program):
            pytest.skip(f"{program} is not installed")
        for step in others:
            command = re.sub("^magick ", "/usr/bin/convert ", step.command) if old else step.command
            subprocess.run(command, shell=True, check=True, stdin=subprocess.DEVNULL)
        theirs = read(next(tmp_path.glob("theirs.*")))
    assert run([*shlex.split(own.command)[1:], "-q"]) == 0
    ours = read(next(tmp_path.glob("ours.*")))
    assert ours.shape == theirs.shape
    if level:
        assert np.abs(ours.astype(int) - theirs.astype(int)).max() == level
    elif ours.dtype == np.uint8:
        np.testing.assert_array_equal(ours, theirs)
    else:
        single = ours.dtype == np.float32
        np.testing.assert_allclose(
            ours, theirs, rtol=0, atol=(2e-6 if single else 1e-12) * np.abs(theirs).max()
        )


def test_every_tool_has_three_pairs() -> None:
    assert len(PAIRS) == PAGE.count("\n### ")
    for tool in (*MODULES, *PROGRAMS):
        assert sum(name.startswith(f"{tool} ") for name in PAIRS) >= 3
