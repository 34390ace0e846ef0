"""What is said on stderr: which lines are notes and which errors, and that a line is one piece."""

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from convcli import __main__ as module
from convcli.cli import launch
from convcli.cli.program import run
from tests.shell import SAMPLES


def written(*words: str, cwd: Path, stream: str = "stderr") -> list[bytes]:
    """Run a command, and return what each of its writes to a stream held: a datagram socket keeps them apart."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        subprocess.run(
            [sys.executable, "-m", "convcli", *words], cwd=cwd, timeout=60, check=False,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            **{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs},
        )  # fmt: skip
        ours.setblocking(False)
        found = []
        while True:
            try:
                found.append(ours.recv(1 << 16))
            except BlockingIOError:
                return found


@pytest.mark.parametrize(
    ("words", "prefixes"),
    [
        (("filter", str(SAMPLES / "house.png"), "-k", "hedge", "-o", "a.png"), [b"note: "]),
        (("filter", "a\nb.png", "-k", "box:3"), [b"error: "]),
        (("filter", "absent.png", "away.png", "-k", "box:3", "--out-dir", "."), [b"error: "] * 3),
        (("filter", "--nonsense"), [b"error: "]),
        (("shape", "7", "pool:max:3,s=2"), []),
        (("shape", "8", "pool:max:3,s=2"), [b"note: "]),
    ],
)
def test_every_line_is_one_write_and_says_what_it_is(
    words: tuple[str, ...], prefixes: list[bytes], tmp_path: Path
) -> None:
    """Two processes of a pipe share a terminal: a line in several writes could mix with another's."""
    lines = written(*words, cwd=tmp_path)
    assert [line[: len(prefix)] for line, prefix in zip(lines, prefixes, strict=True)] == prefixes
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in lines)


@pytest.mark.parametrize(
    ("words", "first", "lines"),
    [
        (("filter", str(SAMPLES / "house.png"), "-k", "hedge", "-o", "a.png"), b"a.png\n", 1),
        (("matrix", "--input", "3", "-k", "1,1"), b"2x3: ", 3),
    ],
)
def test_every_line_of_results_is_one_write(
    words: tuple[str, ...], first: bytes, lines: int, tmp_path: Path
) -> None:
    found = written(*words, cwd=tmp_path, stream="stdout")
    assert found[0].startswith(first)
    assert len(found) == lines
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for line in found)


def test_the_command_and_the_module_start_alike() -> None:
    (script,) = entry_points(group="console_scripts", name="convcli")
    assert script.load() is launch.main is module.main


@pytest.mark.parametrize(
    ("name", "grain"),
    [
        ("a.npy", {"any_order": True, "steps": {"Y": 1, "X": 1}}),
        ("a.png", {"any_order": False, "steps": {"Y": 1, "X": 70}}),
        (
            "a.tif",
            {"any_order": True, "steps": {"Y": 32, "X": 48}},
        ),  # the tiles that tifffile is told to write
    ],
)
def test_json_says_in_which_boxes_an_input_is_read(
    name: str,
    grain: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    numbers = np.random.default_rng(5).integers(0, 255, (90, 70), dtype=np.uint8)
    np.save("a.npy", numbers)
    Image.fromarray(numbers).save("a.png")
    tifffile.imwrite("a.tif", numbers, tile=(32, 48))
    Path("net.yaml").write_text("seed: 1\nlayers: [conv: {maps: 1, size: 3, padding: same}]\n")
    for words in (
        f"filter {name} -k box:3 --dry-run",
        f"explain {name} -k box:3 --at 1,2",
        f"explain {name} --net net.yaml --at 1,2",
        f"net run net.yaml {name} -o {name}.npy",
        f"net check net.yaml {name}",
        f"matrix --verify {name} -k 1,2;3,4",
    ):
        assert run([*words.split(), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["grain"] == grain, words
    for words in (
        f"learn {name} {name} --size 3",
        f"learn {name} --net net.yaml --epochs 1 -o w.safetensors",
    ):
        assert run([*words.split(), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["grain"] == [{**grain, "files": 1}], words


def test_json_of_motion_says_in_which_boxes_the_clip_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Those of the file, also where a part of its frames is looked at."""
    monkeypatch.chdir(tmp_path)
    frames = np.random.default_rng(7).integers(0, 255, (6, 20, 30), dtype=np.uint8)
    np.save("a.npy", frames)
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save("a.gif", save_all=True, append_images=rest)
    for name, grain in (
        ("a.npy", {"any_order": True, "steps": {"T": 1, "Y": 1, "X": 1}}),
        ("a.gif", {"any_order": False, "steps": {"T": 1, "Y": 20, "X": 30}}),
    ):
        assert run(["motion", name, "--no-output", "--json", "--region", "2,3,9,8"]) == 0
        assert json.loads(capsys.readouterr().out)["grain"] == grain


def test_a_size_instead_of_a_file_has_no_boxes(capsys: pytest.CaptureFixture) -> None:
    assert run(["explain", "--input", "5x5", "-k", "3x3", "--at", "1,1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["grain"] is None


def test_json_has_null_for_numbers_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON (RFC 8259, 6)")

    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("nan\n1\n2.5\n")
    assert run(["explain", "a.csv", "-k", "box:3", "--at", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out, parse_constant=refuse)["values"] == [None]
    clip = np.zeros((12, 24, 32), np.float32)
    clip[5:8, 4:14, 4:14] = np.finfo("f4").max
    np.save("a.npy", clip)
    assert run(["motion", "a.npy", "--axes", "TYX", "--no-output", "--events", "a.jsonl", "-q"]) == 0
    events = [json.loads(line, parse_constant=refuse) for line in Path("a.jsonl").read_text().splitlines()]
    assert [event["strength"] for event in events] == [None]


@pytest.mark.parametrize(
    "words",
    [
        "filter a.png -k box:3 -o b.png --range 0:9",
        "explain a.png -k box:3 --at 1,2",
        "explain a.png -k box:3 --stride 4 --animate b.gif",
        "explain a.png -k box:3 --stride 4 --at 1,2 --animate b.gif",
        "explain a.png --net net.yaml --at 1,2",
        "matrix --input 5 -k bias.yaml -o W.npz",
        "net run net.yaml a.png -o b.npy",
        "net check net.yaml a.png",
        "learn a.png a.png --size 3",
        "shape 8 pool:max:3,s=2",
    ],
)
def test_json_holds_the_notes_that_are_said(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(6)
    Image.fromarray(random.integers(0, 255, (12, 14, 4), dtype=np.uint8), "RGBA").save("a.png")
    Path("bias.yaml").write_text("weights: [1, 2]\nbias: 3\n")
    Path("net.yaml").write_text("layers: [relu]\n")
    assert run([*words.split(), "--json"]) == 0
    done = capsys.readouterr()
    notes = json.loads(done.out)["notes"]
    assert notes and [f"note: {note}" for note in notes] == done.err.splitlines()
    assert run([*words.split(), "-y" if {"-o", "--animate"} & {*words.split()} else "--json", "-q"]) == 0
    assert capsys.readouterr().err == ""
