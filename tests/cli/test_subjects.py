"""Every error names what it is about, once: the file, the kernel or the layer, whatever their names are.

The files here are called ``r``, ``e`` and ``in``: letters that every message has anyway.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convcli.cli.program import run
from tests.shell import SAMPLES, convcli

NET = "layers: [{conv: {maps: 2, size: 3, seed: 1}}, {conv: {size: 40, seed: 2}}]\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photo = (SAMPLES / "house.png").read_bytes()
    Path("r").write_bytes(photo[: len(photo) // 2])
    Path("e").write_bytes(photo)
    Path("in").mkdir()
    for number in range(3):
        Image.fromarray(np.full((8, 8 + (number == 2)), 9, np.uint8)).save(f"in/{number}.png")
    shutil.copy(SAMPLES / "noisy-signal.csv", "a.csv")
    shutil.copy(SAMPLES / "walk.mp4", "walk.mp4")
    Path("k.yaml").write_text("weights: [[1, two]]\n")
    Path("net.yaml").write_text(NET)
    Path("ok.yaml").write_text("layers: [relu]\n")
    Path("bare.yaml").write_text("layers: [conv: {maps: 2, size: 3}]\n")
    Path("large.yaml").write_text("layers: [conv: {maps: 900, size: 3}, conv: {maps: 9000, size: 9}]\n")
    Path("w.npz").write_bytes(b"no archive")
    Path("o").mkdir()
    Path("o/r.png").write_bytes(b"old")


BROKEN = "truncated PNG"
CASES = {  # name: command line, exit code, subject, beginning of the problem
    "a truncated file": ("filter r -k box:3 -o o/new.png", 1, "'r'", BROKEN),
    "explain": ("explain r -k box:3 --at 0,0", 1, "'r'", BROKEN),
    "matrix": ("matrix -k box:3 --verify r", 1, "'r'", BROKEN),
    "net run": ("net run ok.yaml r -o o/new.npy", 1, "'r'", BROKEN),
    "net check": ("net check ok.yaml r", 1, "'r'", BROKEN),
    "learn, the input": ("learn r e --size 3", 1, "'r'", BROKEN),
    "learn, the target": ("learn e r --size 3", 1, "'r'", BROKEN),
    "learn, both": ("learn e a.csv --size 3", 2, "'e' and 'a.csv'", "the input has the axes"),
    "motion": ("motion r --no-output", 1, "'r'", BROKEN),
    "motion, no clip": ("motion e --no-output", 2, "'e'", "not a clip"),
    "motion, the kernel": ("motion walk.mp4 -k box:3x3 --no-output", 2, "kernel 'box:3x3'", "motion needs"),
    "a missing file": ("filter in/r -k box:3", 1, "'in/r'", "no such file"),
    "a folder": ("explain in -k box:3 --at 0,0", 1, "'in'", "it is a folder"),
    "a frame": ("filter in/%d.png -k box:3 -o o/%d.png", 1, "'in/2.png'", "it is 9 x 8"),
    "a column": ("filter a.csv -k box:3 --columns e -o -", 2, "'a.csv'", "--columns 'e': no such column"),
    "an option": ("filter e -k box:3 --columns e -o o/new.png", 2, "'e'", "--columns picks columns"),
    "a kernel that does not fit": (
        "filter a.csv -k 1,2;3,4 -o -", 2, "'a.csv': kernel '1,2;3,4'", "rank 2, and the data has only",
    ),
    "one kernel of two": (
        "filter e -k box:3 -k box:999 --padding 0 -o -", 2, "'e': kernel 'box:999'", "kernel 999 is larger",
    ),
    "an output": ("filter e -k box:3 -o o/r.png", 1, "'o/r.png'", "it exists"),
    "an output's folder": ("filter e -k box:3 --out-dir r/no", 1, "'r'", "it is a file; name a folder"),
    "a file for a folder": ("filter e -k box:3 --out-dir r", 1, "'r'", "it is a file; name a folder"),
    "an output's type": ("filter e -k box:3 -o e.e", 2, "'e.e'", "unknown suffix '.e'"),
    "a kernel file": ("kernels show k.yaml", 2, "kernel file 'k.yaml': weights", "entry 1.2: 'two'"),
    "no kernel file": ("kernels show in.yaml", 1, "kernel file 'in.yaml'", "no such file"),
    "an array file": ("kernels show w.npz", 1, "kernel file 'w.npz'", "no .npz file"),
    "a formula": ("kernels show gaussian:sigma=e", 2, "kernel 'gaussian:sigma=e'", "sigma: 'e' is not"),
    "a layer of shape": ("shape 8x8 conv:3 conv:40", 2, "layer 2 (conv:40)", "kernel 40 is larger"),
    "a layer's text": ("shape 8x8 conv:3 e", 2, "layer 2 (e)", "'e' is not a layer"),
    "a layer of a net": (
        "net show net.yaml --input 8x8", 2, "net 'net': layer 2 (conv2) on 2@6x6", "kernel 40 is larger",
    ),
    "a net that is too large": (
        "net run large.yaml e -o o/n.npy", 1, "net 'large'", "layer conv2 would take 5,133 MB",
    ),
    "a net without weights": ("net run bare.yaml e -o o/n.npy", 2, "net 'bare'", "no numbers for conv1.weight"),
    "a net that learns": ("learn e --net large.yaml", 1, "'e': net 'large'", "layer conv2 would take 5,133 MB"),
    "a net's weights": ("net run ok.yaml e --weights w.npz -o o/n.npy", 1, "weights file 'w.npz'", "no .npz file"),
    "no net": ("net show e.yaml", 1, "net file 'e.yaml'", "no such file"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_subject_is_said_once(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words, code, subject, problem = CASES[name]
    assert run(words.split()) == code
    line = capsys.readouterr().err
    assert line.startswith(f"error: {subject}: {problem}"), line
    assert line.count(subject) == 1 and line.count("\n") == 1, line


def test_each_of_several_inputs_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        run(["filter", "r", "e", "a.csv", "missing", "-k", "1,2;3,4", "--out-dir", "o", "--format", "png"])
        == 2
    )
    lines = [line.split(": ")[:3] for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        ["error", "'r'", "truncated PNG"],
        ["note", "'e'", lines[1][2]],
        ["note", "'e'", "all of the result is 255 (white) by --range clip"],
        ["error", "'a.csv'", "a table has no axis y, so it cannot become PNG"],
        ["error", "'missing'", "no such file"],
        ["error", lines[5][1]],
    ]
    assert lines[5][1].startswith("3 of 4 inputs failed ('r', 'a.csv', 'missing'); 1 written in ")
    assert Path("o/e.k2x2.png").exists()


@pytest.mark.parametrize(
    "words", ["filter - -k box:3 -o -", "explain - -k box:3 --at 0,0", "motion - --no-output"]
)
def test_standard_input_is_named(words: str) -> None:
    for data, problem in (
        (Path("r").read_bytes(), BROKEN),
        (b"", "it is empty"),
        (b"\0\1\2", "data of no known"),
    ):
        done = convcli(*words.split(), stdin=data)
        assert done.returncode == 1
        assert done.stderr.decode().startswith(f"error: standard input: {problem}"), done.stderr
