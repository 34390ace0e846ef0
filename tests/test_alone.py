"""What a command opens, starts and connects to: the named files, nothing else (``SECURITY.md`` promises it).

Python reports every file that is opened, every program that is started and every connection to an audit hook.  The
files of Python and of the packages, and those of the system that libraries look at for themselves, do not count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips import make, pattern
from tests.shell import SAMPLES, convcli

_WATCHED = """
import json, os, sys
seen = []
def hook(event, arguments):
    if event == "open" and not isinstance(arguments[0], int):
        seen.append(["open", os.fsdecode(arguments[0])])
    elif event.startswith(("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.system", "os.fork", "pty.",
                           "urllib.", "http.", "ftplib.", "smtplib.", "ctypes.dlopen", "pickle.", "webbrowser.")):
        seen.append([event, repr(arguments[:1])[:200]])
sys.addaudithook(hook)
from convcli.cli.program import run
code = run(sys.argv[1:])
sys.stdout.flush()
print("\\n" + json.dumps([code, seen]), file=sys.stderr)
"""
_OURS = Path(__file__).parents[1] / "convcli"
_PYTHON = (
    *sysconfig.get_paths().values(),
    sys.base_prefix,
    sys.prefix,
    str(_OURS),
    str(_OURS.parent / "kernels"),
)
_SYSTEM = ("/proc/", "/sys/", "/dev/null", "/dev/urandom", "/etc/", "/usr/", "/lib")


def watched(*arguments: object, cwd: Path) -> tuple[set[str], list[str]]:
    """Run a command; return the names of the files that it opened, and all else that it asked of the system."""
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED, *map(str, arguments)],
        capture_output=True,
        cwd=cwd,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(_OURS.parent)},
        check=True,
    )
    code, seen = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr.decode()[-2000:]
    opened = {name for event, name in seen if event == "open"}
    files = {Path(cwd, name) for name in opened}
    others = [f"{event} {what}" for event, what in seen if event not in ("open", "ctypes.dlopen")]
    return {path.name for path in files if not path.is_dir() and not _is_the_systems(path, cwd)}, others


def _is_the_systems(path: Path, cwd: Path) -> bool:
    real = path.resolve()
    return not real.is_relative_to(cwd.resolve()) and str(real).startswith((*_PYTHON, *_SYSTEM))


def inputs(folder: Path) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (20, 30, 3), np.uint8)
    for name in ("a.png", "a.jpg", "a.webp", "a.bmp", "a.gif", "a.tif", "a.ppm", "a.tga", "a.jp2"):
        Image.fromarray(picture).save(folder / name)
    np.save(folder / "a.npy", rng.random((9, 9)))
    np.savez(folder / "k.npz", w=np.ones((3, 3)))
    (folder / "a.csv").write_text("t,v\n1,2\n2,3\n3,5\n")
    (folder / "k.yaml").write_text("name: k\nweights: [[1, 2], [3, 4]]\n")
    make(folder / "a.mp4", pattern(6))


JOBS: dict[str, tuple[tuple[object, ...], set[str]]] = {
    **{
        f"filter {name}": (("filter", name, "-k", "box:3", "-o", f"out{Path(name).suffix}"), {name})
        for name in ("a.png", "a.jpg", "a.webp", "a.bmp", "a.gif", "a.tif", "a.npy", "a.csv", "a.mp4")
    },
    **{
        f"filter {name}": (("filter", name, "-k", "box:3", "-o", "out.png"), {name})
        for name in ("a.ppm", "a.tga", "a.jp2")
    },
    "kernel of YAML": (("filter", "a.png", "-k", "k.yaml", "-o", "out.png"), {"a.png", "k.yaml"}),
    "kernel of arrays": (("filter", "a.png", "-k", "k.npz", "-o", "out.png"), {"a.png", "k.npz"}),
    "torch": (("filter", "a.png", "-k", "box:3", "--engine", "torch", "-o", "out.png"), {"a.png"}),
    "motion": (("motion", "a.mp4", "-o", "out.mp4"), {"a.mp4"}),
    "net": (("net", "run", SAMPLES / "lenet.yaml", "a.png", "-o", "out.npy"), {"a.png", "lenet.yaml"}),
}


@pytest.mark.parametrize("name", JOBS)
def test_the_named_files_and_nothing_else(name: str, tmp_path: Path) -> None:
    inputs(tmp_path)
    arguments, expected = JOBS[name]
    files, others = watched(*arguments, cwd=tmp_path)
    assert {file for file in files if not file.startswith(".out.convcli-")} == expected
    assert others == []


def test_no_content_chooses_a_decoder_that_starts_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostScript that looks like an IM picture: Pillow, left to choose, would hand it to Ghostscript."""
    text = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%Image type: x\n" + b"% a comment\n" * 30
    header = text + b"%" * (509 - len(text)) + b"\n\0\x1a"
    (tmp_path / "a.im").write_bytes(header + b"\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(tmp_path / "a.im") as image:
        assert image.format == "EPS"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'started'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = convcli("filter", "a.im", "-k", "identity", "-o", "out.png", cwd=tmp_path)
    assert done.returncode == 1 and b"not a IM picture" in done.stderr, done.stderr
    assert not (tmp_path / "started").exists()
