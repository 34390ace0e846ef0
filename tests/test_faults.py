"""Every fault of `make faults` at one moment of a small job, and what happens only between two reads."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from convcli.common.errors import ConvError
from convcli.media.files import target
from convcli.media.files.target import open_input
from convcli.media.options import ReadOptions
from convcli.media.registry import HEAD, READ, longest, sniff
from convcli.media.tables import table
from tests.faults.faults import FAULTS, Fault, Place, can_mount
from tests.faults.jobs import KINDS, OTHERS
from tests.faults.run import Calm, calm, disturbed
from tests.fuzz.readers import READERS
from tests.fuzz.seeds import files
from tests.shell import SAMPLES, convcli


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> list[Calm]:
    folder = tmp_path_factory.mktemp("jobs")
    return [calm(kind, kind.small, folder) for kind in KINDS]


@pytest.mark.parametrize("index", range(len(FAULTS)), ids=lambda index: FAULTS[index].name)
def test_the_target_is_absent_old_or_new(index: int, jobs: list[Calm], tmp_path: Path) -> None:
    fault = FAULTS[index]
    if fault.name == "full disk" and not can_mount(tmp_path / "mount"):
        pytest.skip("only root may mount a small file system")
    run = disturbed(jobs[index % len(jobs)], fault, index)
    assert run.problems == ()
    assert run.verdict in ("absent", "old", "new")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("APNG", "kill -9"),
        ("array by regions", "file size limit"),
        ("AVI", "file size limit"),
        ("store", "SIGTERM"),
    ],
)
def test_other_outputs_are_whole_or_absent(name: str, fault: str, tmp_path: Path) -> None:
    """`make faults` tries every fault on every kind."""
    kind = next(kind for kind in OTHERS if kind.name == name)
    chosen = next(one for one in FAULTS if one.name == fault)
    run = disturbed(calm(kind, kind.small, tmp_path), chosen, 1)
    assert run.problems == ()


def test_a_spoiled_target_would_be_seen(jobs: list[Calm]) -> None:
    def spoils(place: Place, moment: float) -> object:
        ended = FAULTS[-1].do(place, moment)
        place.target.write_bytes(place.target.read_bytes()[:-1])
        (place.folder / f".target.convcli-000000{place.kind.target}").touch()
        return ended

    run = disturbed(jobs[1], Fault("spoils", spoils, (0,)), 0)  # type: ignore[arg-type]
    assert run.verdict == "PARTIAL"
    assert len(run.problems) == 2


class Shrinking(io.FileIO):
    """A file that another process cuts short once its size is known."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        at = super().seek(offset, whence)
        if whence == os.SEEK_END:
            os.truncate(self.fileno(), at // 2)
        return at


def test_a_table_that_shrinks_between_two_reads_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2.5\n" * 100)
    with Shrinking(path, "r+") as file, pytest.raises(ConvError, match="shrank while it was read"):
        table.csv_source(file, ReadOptions())


def test_a_table_larger_than_the_memory_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "a.csv").open("wb+") as file:
        os.truncate(file.fileno(), 1 << 40)  # a hole
        with pytest.raises(ConvError, match="read whole, it would take 8,796,093 MB of memory"):
            table.csv_source(file, ReadOptions())


def test_a_pipe_without_an_end_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes a quarter of the room in the temporary folder at most; here there are 200 MB."""
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=200 << 20))
    os.mkfifo(tmp_path / "a.csv")
    with subprocess.Popen(["sh", "-c", f"yes 1,2 2>/dev/null > {tmp_path / 'a.csv'}"]) as endless:
        with pytest.raises(ConvError, match="longer than 51 MB, a quarter of the room"):
            open_input(tmp_path / "a.csv")
        assert endless.wait(10)


@pytest.mark.parametrize(("head", "most"), [("house.png", 64), ("text", 64), ("a.npy", 67)])
def test_a_pipe_is_bounded_by_what_its_first_bytes_say(head: str, most: int, tmp_path: Path) -> None:
    """A picture of 320 x 240 pixels, what begins as no format does, an array of 4 MB."""
    np.save(tmp_path / "a.npy", np.zeros((1000, 1000), np.float32))
    file = {"text": "/dev/null", "a.npy": tmp_path / "a.npy"}.get(head, SAMPLES / head)
    job = [sys.executable, "-m", "convcli", "filter", "-", "-k", "box:3", "-o", "b.png"]
    with subprocess.Popen(
        ["sh", "-c", f"cat {file} /dev/zero 2>/dev/null"], stdout=subprocess.PIPE
    ) as endless:
        done = subprocess.run(
            job, stdin=endless.stdout, capture_output=True, cwd=tmp_path, check=False, timeout=60
        )
        endless.kill()
    assert done.returncode == 1
    words = f"error: standard input: it is longer than {most} MB, which is more than such a file can hold\n"
    assert done.stderr.decode() == words


@cache
def one_of_each() -> dict[str, bytes]:
    """Return a file of every format that its first bytes tell."""
    found = {}
    for reader in READERS:
        with suppress(KeyError, ConvError):
            found |= {sniff(data[:HEAD]).name: data for data in files(reader.name)}
    return found


@pytest.mark.parametrize("name", sorted({row.name for row in READ} - {"zarr", "netcdf", "ome-tiff"}))
def test_no_format_lets_a_pipe_go_on_for_ever(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole file and then noise: no more than the budget is kept, and nothing when it is spent."""
    monkeypatch.setattr(target, "SPOOL", 1 << 20)
    monkeypatch.setattr(target, "PIPE", 3 << 20)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source, sent = os.pipe()
    pieces = iter([one_of_each()[name]])
    noise = os.urandom(1 << 20)

    def send() -> None:
        with suppress(BrokenPipeError), os.fdopen(sent, "wb") as pipe:
            while True:
                pipe.write(next(pieces, noise))

    threading.Thread(target=send, daemon=True).start()
    most = "longer than 3 MB, the most that is kept of a pipe: save it to a file, which may have any size"
    with pytest.raises(ConvError, match=most):
        open_input(f"/dev/fd/{source}", longest)
    assert list(tmp_path.iterdir()) == []


ENDLESS = {
    "YAML": ("kernels", "show", "a.yaml"),
    **{suffix: ("kernels", "show", f"a.{suffix}") for suffix in ("npy", "npz", "safetensors")},
    **{
        name: ("net", "run", SAMPLES / "lenet.yaml", SAMPLES / "house.png", "-w", f"a.{name}")
        for name in ("pth", "onnx")
    },
    "a net": ("net", "show", "a.yaml"),
    "a table": ("filter", "a.csv", "-k", "smooth3"),
    "a picture": ("motion", "a.png", "--no-output"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_devices_without_an_end_are_one_line(name: str, tmp_path: Path) -> None:
    place = next(word for word in ENDLESS[name] if str(word).startswith("a."))
    (tmp_path / str(place)).symlink_to("/dev/urandom")
    done = convcli(*ENDLESS[name], cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert done.stderr.count(b"\n") == 1 and done.stderr.startswith(b"error: "), done.stderr


KILL = "import os, signal\n{}os.kill(os.getpid(), signal.SIGINT)\n"
IN_AN_ENUM = "import enum\nclass A:\n    def __set_name__(self, *_):\n        "


@pytest.mark.parametrize("where", ["", IN_AN_ENUM], ids=["module", "set name"])
def test_an_interrupt_during_the_start_is_quiet(where: str, tmp_path: Path) -> None:
    """The program is interrupted while its first large library loads."""
    text = KILL.format(where) + ("class B:\n    a = A()\n" if where else "")
    (tmp_path / "typer.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "convcli", "kernels", "list"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


AT_ONCE = """
import os, runpy, sys
def hear(event, args):
    if event == "import" and args[0] == "{module}":
        os.kill(os.getpid(), 2)
sys.addaudithook(hear)
sys.argv = ["convcli", "kernels", "list"]
runpy.run_module("convcli", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("module", ["enum", "convcli.cli.launch"])
def test_an_interrupt_before_the_launcher_is_quiet(module: str) -> None:
    program = AT_ONCE.format(module=module)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


LEAVING = """
import os, signal, sys
from convcli.common import signals

signals.leave_on(signal.SIGTERM)
signals.add(lambda: print("first", flush=True))
forgotten = lambda: print("forgotten", flush=True)
signals.add(forgotten)
signals.discard(forgotten)
with signals.held():
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here", flush=True)
    signals.add(lambda: 1 / 0)
    signals.add(lambda: print("last", flush=True))
print("never")
"""


def test_leaving_undoes_all_in_reverse_and_waits_for_what_is_held() -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING], capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (143, b"")
    assert done.stdout.decode().split("\n") == ["still here", "last", "first", ""]


def test_an_interrupt_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As where a shell starts a job behind another: it ends as if nothing had happened."""
    kind = KINDS[0]
    kind.make(tmp_path / "a.tif", kind.small)
    ignore = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    program = ignore + "from convcli.cli.launch import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *kind.command(tmp_path / "a.tif", tmp_path / "b.png")],
        stdout=subprocess.DEVNULL,
    ) as process:
        while process.poll() is None:
            if any(path.name.startswith(".b.") for path in tmp_path.iterdir()):
                process.send_signal(signal.SIGINT)
            time.sleep(0.001)
    assert process.returncode == 0
    assert (tmp_path / "b.png").exists()
