"""What goes wrong gets one clear line and the right exit code, and writes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.shell import SAMPLES, convcli, wait_until_it_writes

PNG = (SAMPLES / "house.png").read_bytes()
TABLE = b"time,a\n0,1\n1,2\n2,4\n3,1\n"


def put(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def array(name: str, value: np.ndarray, **how: bool) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / name, value, **how)


def nothing(folder: Path) -> None:
    pass


def read_only_folder(folder: Path) -> None:
    (folder / "a.png").write_bytes(PNG)
    (folder / "locked").mkdir()
    (folder / "locked").chmod(0o500)


def unreadable(folder: Path) -> None:
    (folder / "a.png").write_bytes(PNG)
    (folder / "a.png").chmod(0)


def existing(folder: Path) -> None:
    (folder / "a.png").write_bytes(PNG)
    (folder / "b.png").write_bytes(b"old")


BOMB = b"a: &a [x, x]\nb: &b [*a, *a]\nweights: [*b, *b]\n"
IMAGE = put("a.png", PNG)
CSV = put("a.csv", TABLE)
BOX = ("-k", "box:3")


def kernel(text: bytes) -> Callable[[Path], object]:
    def make(folder: Path) -> None:
        IMAGE(folder)
        (folder / "k.yaml").write_bytes(text)

    return make


FILTER_A = ("filter", "a.png")
WITH_K = (*FILTER_A, "-k", "k.yaml")

CASES: dict[str, tuple[Callable[[Path], object], tuple[str, ...], int, str]] = {
    "a parameter without a value": (IMAGE, (*FILTER_A, "-k", "box:x"), 2, "'x' is not understood; parameters are"),
    "a pool without a size": (IMAGE, (*FILTER_A, "--pool", "median"), 2, "needs a size: median:2, or global-median"),
    "a block that is not a number": (
        IMAGE, ("net", "run", "n.yaml", "a.png", "--block", "x"), 2, "'x' is not a whole number (see"
    ),
    "no kernel file": (IMAGE, (*FILTER_A, "-k", "no.yaml"), 1, "kernel file 'no.yaml': no such file"),
    "an array of one axis": (
        array("a.npy", np.ones(9)), ("filter", "a.npy", *BOX, "--axes", "YX"), 2, "the array has 1: shape"
    ),
    "a clip as a table": (
        array("a.npy", np.ones((2, 3, 4, 5))),
        ("filter", "a.npy", *BOX, "--axes", "NCYX", "-o", "b.csv"),
        2,
        "CSV files cannot hold data of the axes n, c, y, x: write tiff or npy",
    ),
    "missing file": (nothing, ("filter", "no.png", *BOX), 1, "no such file"),
    "a folder": (lambda f: (f / "d.png").mkdir(), ("filter", "d.png", *BOX), 2, "--out-dir"),
    "an empty file": (put("a.png", b""), (*FILTER_A, *BOX), 1, "empty"),
    "text named .png": (put("a.png", b"hello there"), (*FILTER_A, *BOX), 1, "PNG"),
    "a truncated PNG": (put("a.png", PNG[: len(PNG) // 2]), (*FILTER_A, *BOX), 1, "a.png"),
    "a PNG of its signature": (put("a.png", PNG[:8]), (*FILTER_A, *BOX), 1, "a.png"),
    "an unknown suffix and content": (put("a.xyz", b"neither"), ("filter", "a.xyz", *BOX), 2, ".xyz"),
    "an unknown output suffix": (IMAGE, (*FILTER_A, *BOX, "-o", "b.xyz"), 2, ".xyz"),
    "a URL": (nothing, ("filter", "https://example.org/a.png", *BOX), 1, "local files"),
    "output exists": (existing, (*FILTER_A, *BOX, "-o", "b.png"), 1, "name another output"),
    "output folder missing": (IMAGE, (*FILTER_A, *BOX, "-o", "no/b.png"), 1, "no folder"),
    "output is a folder": (
        lambda f: (IMAGE(f), (f / "b.png").mkdir()), (*FILTER_A, *BOX, "-o", "b.png"), 1, "folder",
    ),
    "output onto the input": (IMAGE, (*FILTER_A, *BOX, "-o", "a.png"), 1, "input"),
    "a wrong kernel name": (IMAGE, (*FILTER_A, "-k", "hegde"), 2, "hedge"),
    "no kernel": (IMAGE, FILTER_A, 2, "kernel"),
    "ragged inline weights": (IMAGE, (*FILTER_A, "-k", "1,2;3"), 2, "row"),
    "no numbers inline": (IMAGE, (*FILTER_A, "-k", "1,a;3,4"), 2, "'a'"),
    "division by zero inline": (IMAGE, (*FILTER_A, "-k", "1/0,1"), 2, "zero"),
    "ragged YAML": (kernel(b"name: k\nweights: [[1, 2], [3]]\n"), WITH_K, 2, "k.yaml"),
    "empty YAML": (kernel(b""), WITH_K, 2, "k.yaml"),
    "non-numeric YAML": (kernel(b"weights: [[1, no], [3, 4]]\n"), WITH_K, 2, "no"),
    "duplicate keys": (kernel(b"weights: [1]\nbias: 1\nbias: 2\n"), WITH_K, 2, "bias"),
    "an unknown key": (kernel(b"weights: [1, 2]\nsclae: 2\n"), WITH_K, 2, "scale"),
    "a YAML bomb": (kernel(BOMB), WITH_K, 2, "k.yaml"),
    "a deep YAML": (kernel(b"weights: " + b"[" * 5000), WITH_K, 2, "k.yaml"),
    "a missing kernel file": (IMAGE, WITH_K, 1, "k.yaml"),
    "a pickled .npy": (array("a.npy", np.array([{}], object)), ("filter", "a.npy", *BOX), 1, "a.npy"),
    "a truncated .npy": (
        lambda f: (np.save(f / "a.npy", np.ones((9, 9))), os.truncate(f / "a.npy", 300)),
        ("filter", "a.npy", *BOX), 1, "a.npy",
    ),
    "an 8-byte TIFF": (put("a.tif", b"II*\0\x08\0\0\0"), ("filter", "a.tif", *BOX), 1, "a.tif"),
    "rank mismatch": (CSV, ("filter", "a.csv", "-k", "hedge"), 2, "rank"),
    "channel mismatch": (
        lambda f: (IMAGE(f), np.save(f / "k.npy", np.ones((1, 2, 3, 3)))),
        (*FILTER_A, "-k", "k.npy"), 2, "channels",
    ),
    "channels at the end of an array": (array("a.npy", np.ones((9, 9, 3))), ("filter", "a.npy", *BOX), 2, "--axes"),
    "axes of another number": (array("a.npy", np.ones((9, 9))), ("filter", "a.npy", *BOX, "--axes", "YXC"), 2, "axes"),
    "stride 0": (IMAGE, (*FILTER_A, *BOX, "--stride", "0"), 2, "stride"),
    "three strides for two axes": (IMAGE, (*FILTER_A, *BOX, "--stride", "1,2,3"), 2, "stride"),
    "negative padding": (IMAGE, (*FILTER_A, *BOX, "--padding", "-1"), 2, "padding"),
    **{f"padding of a {name} that is too large": (
        make, ("filter", of, *how, "-o", "b.npy", "--padding", "999999999"), 2, "are allowed",
    ) for name, make, of, how in (
        ("picture", IMAGE, "a.png", BOX), ("pool", IMAGE, "a.png", ("--pool", "max:2")),
        ("table", CSV, "a.csv", BOX), ("spectrogram", array("a.npy", np.zeros(5000)), "a.npy", ("-k", "stft:20")),
    )},
    "unknown padding": (IMAGE, (*FILTER_A, *BOX, "--padding", "SAME"), 2, "same"),
    "unknown pad mode": (IMAGE, (*FILTER_A, *BOX, "--pad-mode", "mirrored"), 2, "reflect"),
    "dilation 0": (IMAGE, (*FILTER_A, *BOX, "--dilation", "0"), 2, "dilation"),
    "pool 0": (IMAGE, (*FILTER_A, "--pool", "max:0"), 2, "pool size 0"),
    "unknown pool": (IMAGE, (*FILTER_A, "--pool", "mean:2"), 2, "mean"),
    "kernel larger than the input": (CSV, ("filter", "a.csv", "-k", "box:9", "--padding", "valid"), 2, "larger"),
    "the second kernel larger than the first's result": (
        CSV, ("filter", "a.csv", "-k", "box:3", "-k", "box:4", "--padding", "valid"), 2, "'a.csv': kernel 'box:4'",
    ),
    "output padding without transpose": (IMAGE, (*FILTER_A, *BOX, "--output-padding", "1"), 2, "--transpose"),
    "two types for one output": (IMAGE, (*FILTER_A, *BOX, "-o", "b.jpg", "--format", "png"), 2, "--format"),
    "quality for a PNG": (IMAGE, (*FILTER_A, *BOX, "--quality", "50"), 2, "JPEG"),
    "unknown engine": (IMAGE, (*FILTER_A, *BOX, "--engine", "tensorflow"), 2, "engine"),
    "plan for a strange device": (IMAGE, (*FILTER_A, *BOX, "--device", "tpu", "--dry-run", "-v"), 2, "tpu"),
    "plan for no card": (IMAGE, (*FILTER_A, *BOX, "--device", "cuda:99", "--dry-run", "-v"), 2, "cuda:99"),
    "cuda for numpy": (IMAGE, (*FILTER_A, *BOX, "--engine", "numpy", "--device", "cuda"), 2, "cuda"),
    "threads 0": (IMAGE, (*FILTER_A, *BOX, "--threads", "0"), 2, "threads"),
    "an unknown option": (IMAGE, (*FILTER_A, *BOX, "--strid", "2"), 2, "--strid"),
    "an unknown command": (nothing, ("fliter", "a.png"), 2, "fliter"),
    "an unknown range": (IMAGE, (*FILTER_A, *BOX, "--range", "clop"), 2, "clip"),
    "floats into PNG": (
        array("a.npy", np.ones((9, 9))), ("filter", "a.npy", *BOX, "-o", "b.png"), 2, "--range",
    ),
    "float range into PNG": (IMAGE, (*FILTER_A, *BOX, "--range", "float"), 2, "float"),
    "a table into PNG": (CSV, ("filter", "a.csv", "-k", "mean3", "--range", "minmax", "-o", "b.png"), 2, "matrix"),
    "a ragged row": (put("a.csv", b"a,b\n1,2\n3\n4,5\n"), ("filter", "a.csv", *BOX), 1, "line 3"),
    "text in a numeric column": (
        put("a.csv", b"a,b\n1,2\n3,x\n4,5\n"), ("filter", "a.csv", "-k", "box:1"), 1, "b",
    ),
    "an unknown column": (CSV, ("filter", "a.csv", *BOX, "--columns", "speed"), 2, "speed"),
    "two inputs for one output": (IMAGE, ("filter", "a.png", "a.png", *BOX, "-o", "b.png"), 2, "--out-dir"),
    "maps on standard output": (
        lambda f: (IMAGE(f), np.save(f / "k.npy", np.ones((6, 3, 3, 3)))),
        (*FILTER_A, "-k", "k.npy", "-o", "-"), 2, "6 maps",
    ),
    "quality 0": (IMAGE, (*FILTER_A, *BOX, "--quality", "0"), 2, "quality"),
    "a bad shape": (nothing, ("shape", "3@32xx", "conv:3"), 2, "32xx"),
    "a layer that does not fit": (nothing, ("shape", "8x8", "conv:5", "conv:5"), 2, "2"),
    "no such kernel to show": (nothing, ("kernels", "show", "sobl"), 2, "sobel"),
    "no pixels allowed": (IMAGE, (*FILTER_A, *BOX, "--max-pixels", "0"), 2, "give 1 or more"),
}  # fmt: skip


def listing(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and os.access(path, os.R_OK)
        else None
        for path in sorted(folder.rglob("*"))
    }


def check(done: subprocess.CompletedProcess[bytes], code: int, fragment: str) -> None:
    text = done.stderr.decode()
    assert done.returncode == code, text
    assert text.count("\n") == 1, text
    assert text.startswith("error: "), text
    assert fragment.lower() in text.lower(), text
    assert done.stdout == b""


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_nothing_written(name: str, tmp_path: Path) -> None:
    prepare, arguments, code, fragment = CASES[name]
    prepare(tmp_path)
    before = listing(tmp_path)
    check(convcli(*arguments, cwd=tmp_path), code, fragment)
    assert listing(tmp_path) == before


@pytest.mark.parametrize("option", ["--at", "--channels", "--bias"])
def test_a_long_mistake_is_quoted_in_part(option: str) -> None:
    done = convcli("explain", "a.png", *BOX, option, "9" * 20_000)
    assert done.returncode == 2
    assert done.stderr.startswith(b"error: ") and done.stderr.count(b"\n") == 1
    assert len(done.stderr) < 2200


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
@pytest.mark.parametrize(
    ("prepare", "arguments"),
    [(unreadable, (*FILTER_A, *BOX)), (read_only_folder, (*FILTER_A, *BOX, "-o", "locked/b.png"))],
)
def test_no_permission(prepare: Callable[[Path], object], arguments: tuple[str, ...], tmp_path: Path) -> None:
    prepare(tmp_path)
    check(convcli(*arguments, cwd=tmp_path), 1, "permission")


@pytest.mark.parametrize("name", ["a.png", "a.csv"])
def test_a_full_disk(name: str, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    (tmp_path / name).write_bytes(PNG if name == "a.png" else TABLE)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "convcli", "filter", name, "-k", "box:3", "-o", "-"],
            stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert b"No space left" in done.stderr


def test_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    big = np.random.default_rng(0).integers(0, 255, (600, 600), dtype=np.uint8)
    Image.fromarray(big).save(tmp_path / "a.bmp")
    done = subprocess.run(
        f"{sys.executable} -m convcli filter a.bmp -k box:3 -o - --format bmp | head -c 10 > /dev/null; "
        "exit ${PIPESTATUS[0]}",
        shell=True, executable="/bin/bash", cwd=tmp_path, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    assert done.stderr == b""
    assert done.returncode == 141


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGQUIT, 131),
        (signal.SIGXCPU, 152),
    ],
)
def test_interrupted_work_leaves_no_trace(number: int, code: int, tmp_path: Path) -> None:
    if (
        signal.getsignal(number) is signal.SIG_IGN
    ):  # as under nohup; a child inherits that, and rightly goes on
        pytest.skip("this signal is ignored here")
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((1500, 1500), np.float32))
    process = subprocess.Popen(
        [sys.executable, "-m", "convcli", "filter", "a.npy", "-k", "majority:25", "-o", "b.npy"],  # for a minute
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    wait_until_it_writes(process, tmp_path)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert b"Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    for name, content in (("a.png", PNG), ("b.png", b"broken"), ("c.png", PNG)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "out").mkdir()
    done = convcli("filter", "a.png", "b.png", "c.png", "-k", "box:3", "--out-dir", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.box-3.png", "c.box-3.png"]
    assert b"1 of 3 inputs failed" in done.stderr


def test_a_picture_of_five_channels_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((6, 7, 5), np.uint8))
    done = convcli(
        "filter", "a.npy", "--axes", "YXC", "-k", "box:3", "--range", "clip", "-o", "b.png", cwd=tmp_path
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr == b"error: 'a.npy': PNG files cannot hold 5 channels: write tiff or npy\n"
