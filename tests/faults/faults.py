"""The faults: each disturbs a running job at a moment, a number between 0 and 1 of its usual time.

A fault starts the job, does its harm, waits, and leaves it to `verdict` to say what has become of the target.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.jobs import Kind
from tests.shell import Job, wait_until_it_writes, writes

OLD = b"what was there before"
LIMIT = 60  # seconds for any job
WRITING = 0.1  # of its time a job writes, or more
BESIDE = 1.4  # two jobs at a time take so much longer than one


def content(path: Path) -> bytes:
    """Return all of a file, or of the files in a folder by their names."""
    if not path.is_dir():
        return path.read_bytes()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return b"".join(str(file.relative_to(path)).encode() + b"\0" + file.read_bytes() for file in files)


@dataclass
class Place:
    """A folder with an input, and perhaps an old target, for one run.

    Attributes
    ----------
    seconds
        What the job takes undisturbed.
    cold
        Whether it starts Python, or is a fork of a process that has loaded everything.
    expected
        The bytes of its whole output.
    """

    kind: Kind
    folder: Path
    source: Path
    old: bool
    seconds: float
    expected: bytes
    cold: bool = False
    late: bool = False  # moments count from when the job begins to write
    also: list[bytes] = field(default_factory=list)  # whole outputs of what the input has become

    @property
    def target(self) -> Path:
        return self.folder / f"target{self.kind.target}"

    @property
    def foreign(self) -> Path:
        """A temporary of another target, which no run may touch."""
        return self.folder / f".other.convcli-000000{self.kind.target}"

    @property
    def temporaries(self) -> list[str]:
        return sorted(p.name for p in self.folder.iterdir() if ".convcli-" in p.name and p != self.foreign)

    def verdict(self) -> str:
        """Say what the target is: absent, old, new, or anything worse."""
        if not self.target.exists():
            return "absent" if not self.old else "LOST"
        found = content(self.target)
        if found in (OLD, b"zarr.json\0" + OLD):
            return "old"
        return "new" if found in (self.expected, *self.also) else "PARTIAL"

    def make_old(self) -> None:
        """Put something in the target's place."""
        if self.kind.target == ".zarr":
            self.target.mkdir()
            (self.target / "zarr.json").write_bytes(OLD)
        else:
            self.target.write_bytes(OLD)


@dataclass(frozen=True)
class Ended:
    """How a job ended, and whether its temporary was there when it was disturbed."""

    code: int
    said: bytes
    writing: bool


@dataclass(frozen=True)
class Started:
    """A job that runs, and the end of a pipe that brings what it says."""

    process: subprocess.Popen[bytes] | Job
    errors: int
    output: int

    def end(self, writing: bool) -> Ended:
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = -999
        with os.fdopen(self.errors, "rb") as said:
            return Ended(code, b"it hangs" if code == -999 else said.read(), writing)


def start(
    place: Place, target: Path | str | None = None, first: tuple[object, ...] = (), pipe: bool = False
) -> Started:
    """Start the job, with Python or as a fork, for which something can be called first.

    Parameters
    ----------
    place
        Where the job runs.
    target
        Its output, if it is not the target of the place.
    first
        A function of `tests.faults.first` and what it gets.
    pipe
        Whether standard output is a pipe, of which the caller closes its end.
    """
    words = place.kind.command(place.source, target or place.target)
    errors, tell = os.pipe()
    output, say = os.pipe() if pipe else (-1, os.open(os.devnull, os.O_WRONLY))
    with Path(os.devnull).open("rb") as null:
        process: subprocess.Popen[bytes] | Job
        if place.cold:
            command = [sys.executable, "-m", "convcli", *words]
            environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # as in the starter
            process = subprocess.Popen(
                command, cwd=place.folder, env=environment, stdin=null, stdout=say, stderr=tell
            )
        else:
            calls = ("tests.faults.first", *first) if first else ()
            process = Job(words, place.folder, (null, say, tell), first=calls)
    os.close(say)
    os.close(tell)
    return Started(process, errors, output)


def undisturbed(place: Place, target: Path | None = None) -> int:
    """Run the job and return its exit code."""
    return start(place, target).end(False).code


def _wait(place: Place, started: Started, moment: float) -> None:
    """Wait until a moment of the job's time, or of the time in which it writes."""
    seconds = place.seconds * moment * BESIDE
    if place.late:
        seconds *= WRITING
        wait_until_it_writes(started.process, place.folder)
    with contextlib.suppress(subprocess.TimeoutExpired):
        started.process.wait(seconds)


def _at(place: Place, moment: float, harm: Callable[[Started], object], *first: object, **how: bool) -> Ended:
    """Start the job, wait until the moment, and do harm."""
    started = start(place, first=first, **how)
    _wait(place, started, moment)
    writing = writes(started.process, place.folder)
    harm(started)
    return started.end(writing)


def killed(number: signal.Signals) -> Callable[[Place, float], Ended]:
    return lambda place, moment: _at(place, moment, lambda started: started.process.send_signal(number))


def reader_leaves(place: Place, moment: float) -> Ended:
    """The output goes to a file; whoever reads the name on standard output has gone."""
    return _at(place, moment, lambda started: os.close(started.output), pipe=True)


def pipe_closes(place: Place, moment: float) -> Ended:
    """The output itself goes to a pipe whose reader leaves after part of it."""
    started = start(place, "-", pipe=True)
    os.read(started.output, 1 + int(moment * 60_000))
    os.close(started.output)
    return started.end(False)


def file_limit(place: Place, moment: float) -> Ended:
    """A file may grow to part of what the output needs."""
    most = int(len(place.expected) * moment)
    return start(place, first=("limit_files", most)).end(True)


def full_disk(place: Place, moment: float) -> Ended:
    """The target is in a file system with room for part of the output."""
    with tempfile.TemporaryDirectory() as aside:
        _move_all(place.folder, aside, but=place.source)
        sizes = [file.stat().st_size if file.is_file() else 0 for file in Path(aside).rglob("*")]
        needed = len(place.expected)
        room = min(
            1 + int(needed * moment) // 4096, (needed - 1) // 4096
        )  # of what it needs a block is never there
        with _tmpfs(place.folder, 4096 * (sum(size // 4096 + 1 for size in sizes) + room)):
            _move_all(aside, place.folder)
            ended = start(place).end(True)
            _move_all(place.folder, aside)
        _move_all(aside, place.folder)
    return ended


def _move_all(source: Path | str, target: Path | str, but: Path | None = None) -> None:
    for path in Path(source).iterdir():
        if path != but:
            shutil.move(path, target)


@contextmanager
def _tmpfs(folder: Path, size: int) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def can_mount(folder: Path) -> bool:
    """Tell whether this process may mount a small file system."""
    folder.mkdir(exist_ok=True)
    try:
        with _tmpfs(folder, 8192):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def read_only(place: Place, moment: float) -> Ended:
    """The folder of the target loses its write permission."""
    try:
        return _at(place, moment, lambda started: place.folder.chmod(0o555), "as_anyone")
    finally:
        place.folder.chmod(0o755)


def _copied(place: Place, folder: str) -> Path:
    """Give a run an input of its own, of the same name, which outputs may hold, and what lies beside it."""
    mine = place.folder / folder / place.source.name
    mine.parent.mkdir()
    shutil.copyfile(place.source, mine)
    net = place.source.with_name("net.yaml")
    if net.exists():
        shutil.copyfile(net, mine.with_name("net.yaml"))
    return mine


def shrinks(place: Place, moment: float) -> Ended:
    """The input loses its end while it is read."""
    place.source, shorter = _copied(place, "mine"), _copied(place, "shorter")
    size = int(shorter.stat().st_size * (0.05 + 0.9 * moment))
    os.truncate(shorter, size)
    whole = place.folder / f"whole{place.kind.target}"
    place.source, mine = shorter, place.source
    done = undisturbed(place, whole)
    place.source = mine
    if done == 0:  # a table of fewer rows is a table
        place.also.append(content(whole))
        shutil.rmtree(whole) if whole.is_dir() else whole.unlink()
    return _at(place, moment, lambda started: os.truncate(place.source, size))


def clock_jumps(place: Place, moment: float) -> Ended:
    """The clock on the wall falls back ten years after some looks at it, and the input's date lies in the future."""
    later = time.time() + 3e8
    place.source = _copied(place, "mine")
    clock = ("jumping_clock", int(moment * 10))
    return _at(place, moment, lambda started: os.utime(place.source, (later, later)), *clock)


@dataclass(frozen=True)
class Fault:
    """A fault, and how a job may end under it; 0 is "it was not hurt"."""

    name: str
    do: Callable[[Place, float], Ended]
    codes: tuple[int, ...]
    leaves: bool = False  # whether a temporary may survive
    pipe: bool = False  # whether the output goes to standard output
    cold: bool = False  # whether some moments lie in the start of Python


# A signal that comes before Python has its handlers ends the process as any other: by the signal's number.
FAULTS = (
    Fault("kill -9", killed(signal.SIGKILL), (0, -9), cold=True, leaves=True),
    Fault("SIGINT", killed(signal.SIGINT), (0, 130, -2), cold=True),
    Fault("SIGTERM", killed(signal.SIGTERM), (0, 143, -15), cold=True),
    Fault("SIGPIPE", killed(signal.SIGPIPE), (0, 141, -13), cold=True),
    Fault("standard output's reader leaves", reader_leaves, (0, 141)),
    Fault("output to a pipe that closes", pipe_closes, (0, 141), pipe=True),
    Fault("file size limit", file_limit, (1,)),
    Fault("full disk", full_disk, (1,)),
    Fault("folder turns read-only", read_only, (0, 1), leaves=True),
    Fault("input shrinks", shrinks, (0, 1)),
    Fault("clock jumps", clock_jumps, (0,)),
)
