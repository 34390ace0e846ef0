"""Other people's machines: no UTF-8, no home, no right to write, and names that nobody would choose.

All through the shell.  Whatever happens, an error is one line, and data on standard output stays what it is.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.shell import SAMPLES, as_user, convcli

NO_UTF8 = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
STRICT = {"PYTHONIOENCODING": "utf-8:strict"}  # as standard output is in most UTF-8 locales
NAMES = {
    "spaces": b"a  b c",
    "a newline": b"a\nb",
    "a percent": b"100%d%s",
    "a leading minus": b"-o",
    "another alphabet": "größe-図".encode(),
    "bytes that are not text": b"gr\xf6\xdfe",
}


def shell(
    *words: str | bytes,
    cwd: Path,
    unset: tuple[str, ...] = (),
    anyone: bool = False,
    before: Callable[[], object] | None = None,
    **settings: str,
) -> subprocess.CompletedProcess[bytes]:
    """Run the command, from the start of Python where that makes a difference; errors must be one line each."""
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "80", **settings}
    for name in unset:
        environment.pop(name, None)
    if settings or before:
        done = subprocess.run(
            [sys.executable, "-m", "convcli", *words], cwd=cwd, env=environment, capture_output=True,
            timeout=60, check=False, preexec_fn=before,
        )  # fmt: skip
    else:
        first = ("tests.faults.first", "as_anyone") if anyone else ()
        done = convcli(*words, cwd=cwd, environment=environment, first=first)
    said = done.stderr
    assert b"internal error" not in said, said
    assert b"Traceback" not in said, said
    assert said.endswith(b"\n") or not said
    if done.returncode:
        assert said.startswith(b"error: "), said
        assert said.count(b"\n") == 1, said
    return done


def listing(folder: Path) -> list[bytes]:
    return sorted(os.fsencode(path.name) for path in folder.iterdir())


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name in ("house.png", "noisy-signal.csv", "sobel-pool.yaml", "lenet.yaml", "walk.mp4"):
        shutil.copy(SAMPLES / name, tmp_path)
    return tmp_path


COMMANDS = {
    "filter": ("filter", "house.png", "-k", "hedge", "-o", "out.png"),
    "filter a table": ("filter", "noisy-signal.csv", "-k", "smooth3", "-o", "-"),
    "shape": ("shape", "3@32x32", "conv:6@5x5", "pool:max:2"),
    "kernels list": ("kernels", "list"),
    "kernels show": ("kernels", "show", "sobel-x"),
    "kernels show, JSON": ("kernels", "show", "gaussian-exp", "--json"),
    "motion": ("motion", "walk.mp4", "--no-output", "--events", "-"),
    "motion, JSON": ("motion", "walk.mp4", "--no-output", "--json"),
    "net show": ("net", "show", "lenet.yaml"),
    "net run": ("net", "run", "sobel-pool.yaml", "house.png", "-o", "out.npy"),
    "net check": ("net", "check", "sobel-pool.yaml", "house.png"),
    "matrix": ("matrix", "--input", "4", "-k", "3"),
    "explain": ("explain", "--input", "4x4", "-k", "3x3", "--at", "1,1"),
    "help": ("filter", "--help"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_neither_utf8_nor_home(name: str, home: Path) -> None:
    """All that is printed fits the locale's alphabet; numbers and files are the same as anywhere."""
    words = COMMANDS[name]
    plain = shell(*words, cwd=home, unset=("HOME",), **NO_UTF8)
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.isascii()
    assert plain.stderr.isascii()
    files = {path: (home / path).read_bytes() for path in ("out.png", "out.npy") if (home / path).exists()}
    start = {"PYTHONUTF8": "1"} if name == "help" else {}  # which names the program as it was started
    usual = shell(*words, *(["-y"] if files else []), cwd=home, **start)
    assert all((home / path).read_bytes() == content for path, content in files.items())
    if "--json" in words:
        assert json.loads(plain.stdout) == json.loads(usual.stdout)
    elif usual.stdout.isascii():
        assert plain.stdout == usual.stdout
    else:
        assert b"\\x" not in plain.stdout  # a sign has become another, not a number
        assert len(plain.stdout.splitlines()) == len(usual.stdout.splitlines())


@pytest.mark.parametrize("place", ["no UTF-8", "strict UTF-8"])
@pytest.mark.parametrize("name", NAMES)
def test_odd_names_of_files(name: str, place: str, tmp_path: Path) -> None:
    """Read, written and named by default; what is printed leads back to the file, byte by byte."""
    settings = NO_UTF8 if place == "no UTF-8" else STRICT
    source = NAMES[name] + b".png"
    shutil.copy(SAMPLES / "house.png", tmp_path / os.fsdecode(source))
    done = shell("filter", "-k", "box:3", "--", source, cwd=tmp_path, **settings)
    assert done.returncode == 0, done.stderr
    result = NAMES[name] + b".box-3.png"
    assert listing(tmp_path) == sorted([source, result])
    assert done.stdout == result + b"\n"

    again = shell("filter", "-k", "box:3", "--", source, cwd=tmp_path, **settings)
    assert again.returncode == 1
    assert b"exists" in again.stderr
    again.stderr.decode("ascii" if place == "no UTF-8" else "utf-8")

    if name == "bytes that are not text":
        told = shell("filter", "-k", "box:3", "-y", "--json", "--", source, cwd=tmp_path, **settings)
        assert os.fsencode(json.loads(told.stdout)["outputs"][0]) == result


@pytest.mark.parametrize(
    "words",
    [
        "filter -k box:3 -- *.png",
        "motion -- *.mp4",
        "net show -- *.yaml",
        "kernels show -- *.yaml",
        "shape -- *",
    ],
)
def test_what_is_missing_is_named_on_one_line(words: str, tmp_path: Path) -> None:
    """Every command says which file is not there, and is not thrown by its name."""
    missing = b"-  a\n%d\x1b[1m" + NAMES["bytes that are not text"]
    command = [word.encode().replace(b"*", missing) for word in words.split()]
    for settings in (NO_UTF8, STRICT):
        done = shell(*command, cwd=tmp_path, **settings)
        assert done.returncode in (1, 2)
        assert b"\\n%d\\x1b[1m" in done.stderr
    assert listing(tmp_path) == []


def test_odd_names_for_all_the_rest(home: Path) -> None:
    """Kernels, nets, clips, tables and folders of such names work like any others."""
    odd = "größe\n%d "
    kernel, net, clip, table = (home / f"{odd}{suffix}" for suffix in (".yaml", "net.yaml", ".mp4", ".csv"))
    kernel.write_text("weights: [1, 2, -3]\n")
    shutil.copy(home / "sobel-pool.yaml", net)
    shutil.copy(home / "walk.mp4", clip)
    shutil.copy(home / "noisy-signal.csv", table)
    folder = home / f"-{odd}"
    folder.mkdir()
    assert shell("kernels", "show", kernel.name, cwd=home).returncode == 0
    assert (
        shell("filter", table.name, "-k", kernel.name, "--out-dir", f"./{folder.name}", cwd=home).returncode
        == 0
    )
    assert shell("net", "show", net.name, cwd=home).returncode == 0
    assert shell("net", "run", net.name, "house.png", "-o", folder / "r.npy", cwd=home).returncode == 0
    assert shell("motion", clip.name, "-o", folder / f"{odd}m.mp4", cwd=home).returncode == 0
    assert {path.suffix for path in folder.iterdir()} == {".csv", ".npy", ".mp4"}


def test_a_literal_percent_name_is_no_pattern(tmp_path: Path) -> None:
    """A file that is there wins over the numbered images that its name could mean."""
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    Image.fromarray(pixels).save(tmp_path / "a%02d.png")
    Image.fromarray(pixels[::-1].copy()).save(tmp_path / "a01.png")
    done = shell("filter", "a%02d.png", "-k", "identity", "-o", "out.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out.png") as image:
        assert np.array_equal(np.asarray(image), pixels)


@pytest.fixture
def locked(home: Path) -> Iterator[Path]:
    home.chmod(0o555)
    yield home
    home.chmod(0o755)


def test_a_read_only_working_folder(locked: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What needs no file works; what does says so, and takes another folder."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for words in (
        ["filter", "noisy-signal.csv", "-k", "smooth3", "-o", "-"],
        ["filter", "house.png", "-k", "hedge", "--out-dir", elsewhere],
        ["motion", "walk.mp4", "--no-output"],
        ["net", "run", "sobel-pool.yaml", "house.png", "-o", elsewhere / "r.npy"],
        ["kernels", "show", "sobel"],
        ["shape", "8x8", "conv:3"],
    ):
        done = shell(*words, cwd=locked, anyone=True, unset=("HOME",))
        assert done.returncode == 0, done.stderr
    for words in (
        ["filter", "house.png", "-k", "hedge"],
        ["motion", "walk.mp4"],
        ["net", "run", "sobel-pool.yaml", "house.png", "-o", "r.npy"],
    ):
        done = shell(*words, cwd=locked, anyone=True)
        assert done.returncode == 1
        assert b"no permission to write in the folder" in done.stderr
    assert len(listing(locked)) == 5


def test_an_unreadable_input(home: Path) -> None:
    (home / "house.png").chmod(0)
    done = shell("filter", "house.png", "-k", "hedge", cwd=home, anyone=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"Permission denied" in done.stderr


@pytest.mark.parametrize("threads", ["0", "-1", "999999", "evil", "1"])
def test_threads_of_polars_that_are_not_possible(threads: str, home: Path) -> None:
    done = shell(
        "filter", "noisy-signal.csv", "-k", "smooth3", "-q", "-o", "-", cwd=home, POLARS_MAX_THREADS=threads
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_output_larger_than_the_disk_is_refused_at_once(home: Path) -> None:
    present = listing(home)
    for name in ("o.npy", "o.tif"):
        large = ("-k", "1,2;0,1", "--transpose", "--stride", "10000")
        done = shell("filter", "house.png", *large, "-o", name, cwd=home)
        assert done.returncode == 1
        assert b"it would take" in done.stderr, done.stderr
    assert listing(home) == present


def at_most(kind: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (most, most))


def few_threads() -> None:
    as_user(54_321)
    at_most(resource.RLIMIT_NPROC, 1)()


SCARCE: dict[str, tuple[str, Callable[[], object], str]] = {
    **{
        f"{megabytes} MB, {name}": (command, at_most(resource.RLIMIT_AS, megabytes << 20), words)
        for megabytes in (350, 800)
        for name, command, words in (
            ("table", "filter noisy-signal.csv -k smooth3 -o o.csv", "polars needs"),
            ("matrix", "matrix --input 40x40 -k 3x3 -o m.csv", "polars needs"),
            ("torch", "net run sobel-pool.yaml house.png -o o.npy", "torch needs"),
        )
    },
    "40 MB": ("filter house.png -k box:3 -o o.png", at_most(resource.RLIMIT_AS, 40 << 20), "numpy needs"),
    "100 MB": ("motion walk.mp4 --no-output", at_most(resource.RLIMIT_AS, 100 << 20), ""),
    "20 MB of data": (
        "filter house.png -k box:3 -o o.png",
        at_most(resource.RLIMIT_DATA, 20 << 20),
        "numpy needs",
    ),
    "120 MB of data": (
        "net run sobel-pool.yaml house.png -o o.npy",
        at_most(resource.RLIMIT_DATA, 120 << 20),
        "torch needs",
    ),
    "5 files": (
        "filter noisy-signal.csv -k smooth3 -o o.csv",
        at_most(resource.RLIMIT_NOFILE, 5),
        "polars needs",
    ),
    "10 files": ("matrix --input 40x40 -k 3x3 -o m.csv", at_most(resource.RLIMIT_NOFILE, 10), "polars needs"),
    "no frames": (
        "filter walk.mp4 -k box:3 -o %d.png",
        at_most(resource.RLIMIT_NOFILE, 5),
        "Too many open files",
    ),
    "no thread": ("filter large.png -k box:3 -o -", few_threads, "no thread or process can be started"),
    "no thread, table": ("filter noisy-signal.csv -k smooth3 -o o.csv", few_threads, "polars needs"),
    "no thread, clip": ("motion walk.mp4 --no-output", few_threads, "FFmpeg needs"),
    "no thread, process": (
        "filter house.ico -k box:3 -o o.png",
        few_threads,
        "a process for a decoder needs",
    ),
    "no thread, learn": ("learn house.png --target house.png --size 3 -o o.yaml", few_threads, "threads"),
}


@pytest.mark.parametrize("name", SCARCE)
def test_memory_threads_and_files_that_are_too_few(name: str, home: Path) -> None:
    """One line and nothing left, where libraries would abort, panic in thousands of lines, or wait forever."""
    command, before, words = SCARCE[name]
    if before is few_threads and os.geteuid():
        pytest.skip("only root becomes another user, who has no other process")
    home.chmod(0o777)
    with Image.open(home / "house.png") as image:
        image.save(home / "house.ico")
        image.resize((3000, 2000)).save(home / "large.png")
    present = listing(home)
    done = shell(*command.split(), cwd=home, before=before)
    assert done.returncode == 1
    assert words.encode() in done.stderr, done.stderr
    assert listing(home) == present
