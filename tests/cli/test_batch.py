"""Folders and batches: which files are taken, what their outputs are called, and what interrupts and failures leave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from convcli.cli.filter.batch import crew_of
from convcli.cli.filter.found import Input
from tests.shell import convcli, ok

KERNEL = "0,0,1;0,2,0;0,0,0"
NUMBERS = np.random.default_rng(7)


def picture(path: Path, shape: tuple[int, ...] = (9, 12)) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = NUMBERS.integers(0, 80, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, "PNG")
    return pixels


def correlated(pixels: np.ndarray) -> np.ndarray:
    weights = np.array([[0, 0, 1], [0, 2, 0], [0, 0, 0]])
    return ndimage.correlate(pixels.astype(int), weights, mode="nearest")


def read(path: Path) -> np.ndarray:
    with Image.open(path) as found:
        return np.asarray(found)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def photos(tmp_path: Path) -> dict[str, np.ndarray]:
    """Pictures in folders, one of them without a suffix, beside what is none, hidden, or linked in a circle."""
    made = {
        name: picture(tmp_path / "photos" / name) for name in ("a.png", "in/b.png", "in/deep/c{}.png", "in/d")
    }
    picture(tmp_path / "photos/.hidden.png")
    picture(tmp_path / "photos/.git/e.png")
    (tmp_path / "photos/notes.txt").write_text("no picture\n")
    (tmp_path / "photos/empty").mkdir()
    os.mkfifo(tmp_path / "photos/pipe.png")
    (tmp_path / "photos/in/loop").symlink_to("..")
    return made


def test_a_pattern_of_files_where_we_are_with_its_folders(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    ok("filter", "*.png", "-k", KERNEL, "--recursive", "--out-dir", "out", cwd=tmp_path)
    assert names(tmp_path) == ["a.png", "out/a.k3x3.png"]


def test_a_folder_with_its_folders(tmp_path: Path, photos: dict[str, np.ndarray]) -> None:
    words = (
        "filter",
        "photos/",
        "-r",
        "-k",
        KERNEL,
        "--out-dir",
        "out/new",
        "--name",
        "{dir}/{stem}{suffix}",
    )
    done = ok(*words, cwd=tmp_path)
    made = {name if "." in name else f"{name}.png": pixels for name, pixels in photos.items()}
    assert names(tmp_path / "out/new") == sorted(made)
    assert done.stdout.decode().split() == [
        f"out/new/{name}" for name in ("a.png", "in/b.png", "in/d.png", "in/deep/c{}.png")
    ]
    for name, pixels in made.items():
        np.testing.assert_array_equal(read(tmp_path / "out/new" / name), correlated(pixels))
    first, second, last = done.stderr.decode().splitlines()
    assert first.startswith("note: left out 2 files that cannot be read: ")
    assert second == "note: left out 1 link to a folder (links are not followed): 'photos/in/loop'"
    assert last.startswith("note: 4 written in ")


def test_which_files_are_taken(tmp_path: Path, photos: dict[str, np.ndarray]) -> None:
    """Without -r those of the folder itself; a pattern says more; outputs within the folder are no inputs."""
    for words, made in {
        ("photos",): ["a.k3x3.png"],
        ("photos/**/*.png",): ["a.k3x3.png", "in/b.k3x3.png", "in/deep/c{}.k3x3.png"],
        ("photos/*/?.png",): ["in/b.k3x3.png"],
        ("photos/*.png", "-r"): ["a.k3x3.png"],
        ("photos/in", "photos/a.png", "-r"): ["a.k3x3.png", "b.k3x3.png", "d.k3x3.png", "deep/c{}.k3x3.png"],
    }.items():
        for out in (tmp_path / "photos/out", tmp_path / "out"):
            for _ in range(2):
                ok("filter", *words, "-k", KERNEL, "--out-dir", out, "-q", "-y", cwd=tmp_path)
            assert names(out) == made
            subprocess.run(["rm", "-r", out], check=True)
    for words, code, problem in (
        (("photos", "--out-dir", "photos"), 2, "'photos': its outputs would lie among its files"),
        (("photos",), 2, "the files of 'photos' need --out-dir"),
        (
            ("a.png", "-o", "b.png", "c.png"),
            2,
            "2 inputs, from 'a.png' to 'c.png', and one output: give --out-dir",
        ),
        (("photos/empty", "--out-dir", "o"), 1, "'photos/empty': it holds no file that can be read"),
        (("photos/*/no*", "--out-dir", "o"), 1, "'photos/*/no*': it holds no file"),
    ):
        done = convcli("filter", *words, "-k", KERNEL, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (code, b"")
        assert done.stderr.decode().startswith(f"error: {problem}")
    assert not (tmp_path / "o").exists()


def test_a_folder_without_files_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = convcli("filter", "empty", "-r", "-k", "box:3", "--out-dir", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert b"'empty': it holds no file that can be read" in done.stderr
    assert b"internal error" not in done.stderr


def test_a_store_and_a_series_in_a_folder_are_one_input(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(35, dtype=np.float32).reshape(5, 7))
    (tmp_path / "in/sub").mkdir(parents=True)
    ok("filter", "a.npy", "-k", "identity:1", "-o", "in/sub/a.zarr", cwd=tmp_path)
    ok("filter", "in", "-r", "-k", "identity:1", "--out-dir", "out", "--format", "npy", cwd=tmp_path)
    assert names(tmp_path / "out") == ["sub/a.identity-1.npy"]
    np.testing.assert_array_equal(np.load(tmp_path / "out/sub/a.identity-1.npy"), np.load(tmp_path / "a.npy"))


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{stem}", "it must end in {suffix}"),
        ("{stem!r}{suffix}", "{stem} is none of"),
        ("{stem.x}{suffix}", "{stem.x} is none of"),
        ("{n:09999}{suffix}", "{n} is none of"),
        ("{}{suffix}", "{} is none of"),
        ("{stem{suffix}", "unexpected '{'"),
        ("same{suffix}", "its output has the name of that of 'photos/a.png'"),
    ],
)
def test_names_that_mean_nothing_are_refused(
    template: str, problem: str, tmp_path: Path, photos: object
) -> None:
    words = ("filter", "photos", "photos/in", "-k", KERNEL, "--out-dir", "out", "--name", template)
    done = convcli(*words, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    assert problem in done.stderr.decode()
    assert not (tmp_path / "out").exists()


def test_no_name_of_an_input_leads_its_output_elsewhere(tmp_path: Path) -> None:
    """FILE::/PATH is an array in a file, for a name that somebody writes; a stranger's file is only called so."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    names = ("thesis::a.png", "::.png", "b.h5::c.png", "in.h5::d/e.png", "f::/g.png")
    for name in names:
        (photos / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 3), 90).save(photos / name, "PNG")
    out.mkdir()
    kept = ("thesis", "b.h5", "in.h5", "f")
    for name in kept:
        (out / name).write_text("precious")
    for more in ((), ("--name", "{dir}/{stem}/x{suffix}")):
        ok("filter", "photos", "-r", "-k", "box:3", "--out-dir", "out", "-y", "-q", *more, cwd=tmp_path)
        assert {(out / name).read_text() for name in kept} == {"precious"}
        assert sorted(one.name for one in tmp_path.iterdir()) == ["out", "photos"]
    assert len([one for one in out.rglob("*.png") if one.is_file()]) == 2 * len(names)


@pytest.mark.parametrize("later", ["a.box-3.png", "link.png", "mask"])
def test_no_output_replaces_another_input(later: str, tmp_path: Path) -> None:
    """It would be read, if at all, as the result of the first, whatever -y says."""
    for number, name in enumerate(("a.png", "a.box-3.png", "1.png")):
        Image.new("L", (4, 3), 90 + number).save(tmp_path / name)
    (tmp_path / "link.png").symlink_to("a.box-3.png")
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    if later == "mask":
        words = ["filter", "1.png", "a.png", "-k", "box:3", "--name", "{stem}.x{suffix}", "--mask", "1.x.png"]
        (tmp_path / "1.x.png").write_bytes(before["1.png"])
    else:
        words = ["filter", "a.png", later, "-k", "box:3", "--out-dir", "."]
    done = convcli(*words, "-y", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1), done.stderr
    assert b"its output would replace '" in done.stderr and b"', which is read too" in done.stderr
    assert {one: (tmp_path / one).read_bytes() for one in before} == before
    ok("filter", "a.png", "1.png", "-k", "box:3", "--name", "{stem}{suffix}", "-y", "-q", cwd=tmp_path)


def test_an_output_that_is_a_folder(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "there").mkdir()
    for words in (("-o", "new/"), ("-o", "there"), ("-o", "there/", "-y")):
        ok("filter", "a.png", "-k", KERNEL, *words, cwd=tmp_path)
    assert names(tmp_path) == ["a.png", "new/a.k3x3.png", "there/a.k3x3.png"]


def test_each_kernel_has_an_output_of_its_own(tmp_path: Path) -> None:
    pixels = picture(tmp_path / "a.png", (8, 9, 3))
    done = ok(
        "filter",
        "-",
        "--each",
        "-k",
        KERNEL,
        "-k",
        "identity",
        "--name",
        "x/{kernel}.tif",
        stdin=(tmp_path / "a.png").read_bytes(),
        cwd=tmp_path,
    )
    assert done.stdout == b"x/k3x3.tif\nx/identity.tif\n"
    want = np.stack([correlated(pixels[..., channel]) for channel in range(3)], -1)
    np.testing.assert_array_equal(read(tmp_path / "x/k3x3.tif"), want)
    np.testing.assert_array_equal(read(tmp_path / "x/identity.tif"), pixels)
    for words in (("--name", "x/{stem}.png"), ("-o", "x.png"), ()):
        kernels = ("-k", "identity") if not words else ("-k", KERNEL, "-k", "identity")
        assert convcli("filter", "a.png", "--each", *kernels, *words, cwd=tmp_path).returncode == 2


def test_a_batch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """What is there stays as it is, some of the maps of one input do not count, and failures are told at the end."""
    for number in range(4):
        picture(tmp_path / f"in/{number}.png")
    (tmp_path / "in/bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ("filter", "in", "-k", KERNEL, "--out-dir", "out", "--json")
    assert convcli(*words, cwd=tmp_path).returncode == 1
    for name in ("1.k3x3.png", "3.k3x3.png"):
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out/0.k3x3.png").write_bytes(b"as it was")
    done = convcli(*words, "--skip-existing", cwd=tmp_path)
    *lines, summary = map(json.loads, done.stdout.splitlines())
    assert [line["input"] for line in lines] == [f"in/{name}.png" for name in ("0", "1", "2", "3", "bad")]
    assert [line.get("skipped", False) for line in lines] == [True, False, True, False, False]
    assert done.returncode == 1 and "error" in lines[-1]
    assert {**summary, "seconds": 0} == {
        "written": 2,
        "skipped": 2,
        "failed": 1,
        "seconds": 0,
        "failures": [lines[-1]],
    }
    assert (
        done.stderr.decode()
        .splitlines()[-1]
        .startswith("error: 1 of 5 inputs failed ('in/bad.png'); 2 written, 2 skipped")
    )
    assert (tmp_path / "out/0.k3x3.png").read_bytes() == b"as it was"
    assert convcli(*words, "--skip-existing", "-y", cwd=tmp_path).returncode == 2


SLOW = "gaussian:sigma=9"


def started(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    """Begin a batch of which some outputs are there."""
    for number in range(60):
        path = folder / f"in/{number:02}.tif"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((700, 900, 3), number, np.uint8)).save(path)
    words = [sys.executable, "-m", "convcli", "filter", "in", "-k", SLOW, "--out-dir", "out", *more]
    process = subprocess.Popen(
        words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    while not names(folder / "out"):
        time.sleep(0.01)
    return process


def children(process: int) -> list[int]:
    return [*map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split())]


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: no other processes")
@pytest.mark.parametrize("group", [True, False], ids=["ctrl-c", "kill -INT"])
def test_an_interrupt_leaves_whole_outputs_and_no_process(group: bool, tmp_path: Path) -> None:
    process = started(tmp_path)
    inner = children(process.pid)
    assert inner
    (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    made = names(tmp_path / "out")
    assert process.returncode == 130
    assert errors.splitlines()[-1] == f"interrupted; {len(made)} written".encode()
    assert errors.count(b"interrupted") == 1
    assert 0 < len(made) < 60 and all(name.endswith(".gaussian-sigma=9.tif") for name in made)
    assert not any(Path(f"/proc/{one}").exists() for one in inner)
    ok("filter", "in", "-k", SLOW, "--out-dir", "out", "--skip-existing", "-q", cwd=tmp_path)
    assert {int(read(path).mean()) for path in (tmp_path / "out").iterdir()} == set(range(60))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: no other processes")
def test_a_killed_process_is_one_failed_input(tmp_path: Path) -> None:
    process = started(tmp_path, "-q")
    os.kill(children(process.pid)[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    first, last = errors.decode().splitlines()
    assert "its process was ended by signal 9" in first and "1 of 60 inputs failed" in last
    assert len(names(tmp_path / "out")) in (59, 60)  # it may have been written, and not been told
    ok("filter", "in", "-k", SLOW, "--out-dir", "out", "--skip-existing", "-q", cwd=tmp_path)
    assert {int(read(path).mean()) for path in (tmp_path / "out").iterdir()} == set(range(60))


def test_small_files_have_more_processes_than_cores_where_none_are_said(tmp_path: Path) -> None:
    """Processes that wait until a file is on the disk leave the cores to others."""
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"1")
    large.write_bytes(bytes(3 << 20))
    many = [Input(str(small))] * 500
    assert crew_of(2, many, more=True) == 6
    assert crew_of(2, many[:200], more=True) == 3  # each takes some time to begin
    assert crew_of(2, many[:20], more=True) == 2
    assert crew_of(2, many, more=False) == 2  # --threads
    assert crew_of(1, many, more=True) == 1
    assert crew_of(2, [Input(str(large))] * 500, more=True) == 2
    assert crew_of(4, [Input(str(tmp_path / "none"))] * 3, more=True) == 3


def test_progress_of_a_batch(tmp_path: Path) -> None:
    for number in range(3):
        picture(tmp_path / f"in/{number}.png")
    done = ok("filter", "in", "-k", KERNEL, "--out-dir", "out", "--progress", "json", cwd=tmp_path)
    last = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")][-1]
    assert (last["done"], last["total"], last["unit"], last["name"][:3]) == (3, 3, "files", "in/")
