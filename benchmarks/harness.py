"""Fair timing of two or more ways to do the same work: in turns, in one run, medians of pairwise ratios.

Knows how to time, not what: the rows are in `table.py`, the inputs in `data.py`.  Whole commands are timed by the
clock on the wall, with their peak memory; functions inside this process.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

ENOUGH = 1.0  # seconds that one contestant's counted runs should take together; short work is run more often
MOST = 5  # ... but not more than so many times as often as asked for
PAUSE = 0.05  # seconds before a function is timed: OpenMP's threads spin for a while after their work
PACKAGES = (
    "convcli",
    "numpy",
    "torch",
    "typer",
    "pillow",
    "imagecodecs",
    "isal",
    "tifffile",
    "polars",
    "opencv-python-headless",
    "scipy",
)


@dataclass(frozen=True)
class Command:
    """A process to run; ``output`` is what it writes, and is removed before it starts."""

    arguments: tuple[str, ...]
    output: Path | None = None
    to_stdout: bool = False  # the output is what it prints


@dataclass(frozen=True)
class Sample:
    """One run: seconds, and the peak of the process's memory in bytes where it was one."""

    seconds: float
    peak: int | None = None


Contestant = Callable[[], Sample]


class CommandError(Exception):
    """A command under test did not work: there is nothing to time."""


class Launcher:
    """Runs commands and measures each; see `launcher.py` for why this needs a process of its own."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("launcher.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=_environment(),
        )

    def run(self, command: Command) -> Sample:
        """Run a command once and return how long it took.

        Raises
        ------
        CommandError
            It ended with another code than 0, or wrote nothing where it should have.
        """
        if command.output is not None:
            command.output.unlink(missing_ok=True)
        stdout = str(command.output) if command.to_stdout else None
        line = json.dumps({"arguments": command.arguments, "stdout": stdout})
        stdin, answers = self._process.stdin, self._process.stdout
        if stdin is None or answers is None:
            raise CommandError("the launcher has no pipes")
        stdin.write(line + "\n")
        stdin.flush()
        answer = json.loads(answers.readline())
        if answer["code"]:
            errors = answer["errors"].strip().splitlines() or ["(no message)"]
            raise CommandError(f"{command.arguments[0]} ended with code {answer['code']}: {errors[-1]}")
        if command.output is not None and not command.output.exists():
            raise CommandError(f"{command.arguments[0]} wrote no {command.output.name}")
        os.sync()  # nobody pays for what another left to be written
        return Sample(answer["seconds"], answer["peak"])

    def contestant(self, command: Command) -> Contestant:
        return lambda: self.run(command)

    def close(self) -> None:
        self._process.communicate()


def function(call: Callable[[], object]) -> Contestant:
    """Return a contestant that times a call inside this process."""

    def run() -> Sample:
        time.sleep(PAUSE)
        start = time.perf_counter()
        result = call()
        seconds = time.perf_counter() - start
        del result  # giving its memory back is not part of the work
        return Sample(seconds)

    return run


def paired(contestants: Mapping[str, Contestant], runs: int) -> dict[str, list[Sample]]:
    """Run all contestants in turns, A B A B …, after one run each that does not count.

    Parameters
    ----------
    runs : int
        Counted runs of each; short work gets more (`ENOUGH`, `MOST`), unless one run is asked for.
    """
    for contestant in contestants.values():
        contestant()
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    most = runs * MOST if runs > 1 else 1
    for done in range(most):
        if done >= runs and min(sum(s.seconds for s in taken) for taken in samples.values()) >= ENOUGH:
            break
        for name, contestant in contestants.items():
            samples[name].append(contestant())
    return samples


def seconds(samples: Sequence[Sample]) -> float:
    """Return the median time."""
    return median(sample.seconds for sample in samples)


def peak(samples: Sequence[Sample]) -> int | None:
    """Return the largest peak of memory in bytes, None for functions."""
    return max((sample.peak for sample in samples if sample.peak is not None), default=None)


def ratio(peer: Sequence[Sample], ours: Sequence[Sample]) -> float:
    """Return how many times as long the peer takes: the median of the ratios of neighbouring runs.

    >>> ratio([Sample(2), Sample(6), Sample(5)], [Sample(1), Sample(2), Sample(1)])
    3.0
    """
    return median(p.seconds / o.seconds for p, o in zip(peer, ours, strict=True))


def convcli(*arguments: str) -> tuple[str, ...]:
    """Return the command line of convcli as it is installed beside this Python."""
    script = Path(sys.executable).with_name("convcli")
    return (str(script), *arguments) if script.exists() else (sys.executable, "-m", "convcli", *arguments)


@cache
def program(name: str) -> str | None:
    """Return where a peer's program is, None if it is not installed."""
    return shutil.which(name)


@cache
def imagemagick() -> str | None:
    """Return ImageMagick's program: a binary, because a wrapper script would be timed with it."""
    for name in ("magick", "convert"):
        for folder in os.get_exec_path():
            candidate = Path(folder, name)
            if not candidate.is_file() or not os.access(candidate, os.X_OK):
                continue
            with candidate.open("rb") as file:
                if file.read(2) == b"#!":
                    continue
            if "ImageMagick" in _says(str(candidate), "-version"):
                return str(candidate)
    return None


def machine(folder: Path) -> dict[str, str]:
    """Return what figures depend on: processor, memory, versions, date, and how busy the machine was.

    Parameters
    ----------
    folder : Path
        Where files are read and written; its file system is told.
    """
    facts = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {_cores()} cores",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}, files on {_filesystem(folder)}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "absent"
    for name, path in (("vips", program("vips")), ("mlr", program("mlr")), ("ImageMagick", imagemagick())):
        facts[name] = _version(path)
    return facts


def header(facts: Mapping[str, str]) -> list[str]:
    """Return the facts as two lines of Markdown: the machine, and the versions."""
    about = ("date", "processor", "memory", "system", "load before")
    versions = ", ".join(f"{name} {value}" for name, value in facts.items() if name not in about)
    machine = "; ".join(facts[name] for name in about[:-1])
    return [f"{machine}; load before the run {facts['load before']}.", "", f"Versions: {versions}."]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table as lines of Markdown.

    >>> markdown(["a", "b"], [["1", "2"]])
    ['| a | b |', '|---|---|', '| 1 | 2 |']
    """
    lines = [head, *rows]
    text = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
    return [text[0], "|" + "---|" * len(head), *text[1:]]


def duration(value: float | None) -> str:
    """Return seconds for people.

    >>> duration(0.0142), duration(2.345), duration(None)
    ('14.2 ms', '2.35 s', '-')
    """
    if value is None:
        return "-"
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def _environment() -> dict[str, str]:
    """The warm-up run writes byte code, so that later ones do not compile."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _says(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except OSError:
        return ""
    return done.stdout or done.stderr


def _version(path: str | None) -> str:
    if path is None:
        return "absent"
    first = (_says(path, "--version") or _says(path, "-version")).splitlines() or ["?"]
    words = [word.removeprefix("vips-") for word in first[0].split()]
    return next((word for word in words if word[:1].isdigit()), first[0])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown processor"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _filesystem(folder: Path) -> str:
    """The type of the file system that holds a folder, from the mount point with the longest name."""
    try:
        mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    except OSError:
        return "an unknown file system"
    here = folder.resolve()
    under = [(len(where), kind) for _, where, kind, *_ in mounts if here.is_relative_to(where)]
    return max(under)[1] if under else "an unknown file system"
