"""The built wheel, installed outside the checkout, carries the kernels and runs a filter."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from convcli.engines.native import library

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    environment["PATH"] = ""  # no compiler
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    wheels, copy = tmp_path / "wheels", tmp_path / "source"  # a copy: building leaves traces
    copy.mkdir()
    for name in ("convcli", "kernels"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", wheels, copy)
    run(sys.executable, *build, cwd=tmp_path)
    (wheel,) = wheels.glob("*.whl")
    venv.create(tmp_path / "new", with_pip=False)
    (site,) = (tmp_path / "new").glob("lib/python*/site-packages")
    # What is already installed is reused: numpy, torch and the others; convcli itself must come from the wheel.
    (here,) = {Path(path) for path in sys.path if path.endswith("site-packages")}
    run(sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", site, wheel, cwd=tmp_path)
    (site / "reused.pth").write_text(f"{here}\n")
    python = tmp_path / "new" / "bin" / "python"
    home = run(python, "-c", "import convcli; print(convcli.__file__)", cwd=tmp_path)
    assert str(tmp_path) in home
    loops = "from convcli.engines.native import library; print(library.__file__, library.load() is not None)"
    assert run(python, "-c", loops, cwd=tmp_path).split() == [
        str(site / "convcli/engines/native/library.py"),
        str(library.load() is not None),
    ]
    assert "hedge" in run(python, "-m", "convcli", "kernels", "list", cwd=tmp_path)
    source = ROOT / "samples" / "house.png"
    assert run(python, "-m", "convcli", "filter", source, "-k", "hedge", cwd=tmp_path) == "house.hedge.png\n"
    assert (tmp_path / "house.hedge.png").read_bytes().startswith(b"\x89PNG")
