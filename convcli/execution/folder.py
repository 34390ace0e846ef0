"""The folder of a job, beside its output: what the job is, which boxes are done, and the output in progress.

    job.json   what the job is; made exclusively
    new        the output until all boxes are in it
    0001.log   one a worker: a line of JSON for each box; a torn last line does not count
    lock, runners, part-1-of-3   are locked by who makes or ends the folder, and who runs boxes of it

Locks are the kernel's, which go with a process however it ends; no clock is compared.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from convcli.common import ConvError, printable

Row = dict[str, Any]
"""What a log says of a box: ``box`` and either ``error`` or its ``checksum``, ``seconds`` and counts."""


def beside(output: str | Path) -> Path:
    """Return the folder of the job that writes an output.

    >>> beside("out/a.zarr").as_posix()
    'out/a.zarr.job'
    """
    return Path(f"{output}.job")


class JobFolder:
    """A job that several processes work on, now or one after the other."""

    def __init__(self, path: Path) -> None:
        self.path, self.new = path, path / "new"

    @property
    def about(self) -> dict[str, Any]:
        """What job.json says.

        Raises
        ------
        ConvError
            Where there is none, or one that was spoiled.
        """
        try:
            found: dict[str, Any] = json.loads((self.path / "job.json").read_text(encoding="utf-8"))
            if isinstance(found["boxes"], int) and isinstance(found["identity"], dict):
                return found
        except (FileNotFoundError, NotADirectoryError):
            raise ConvError(
                "this output has no job under way; a finished one leaves nothing",
                subject=repr(self.path.name),
            ) from None
        except (ValueError, KeyError, TypeError):
            pass
        raise ConvError("its job.json is spoiled: remove the folder", subject=repr(self.path.name))

    @property
    def exists(self) -> bool:
        return (self.path / "job.json").exists()

    def start(self, about: Mapping[str, Any], make: Callable[[Path], object]) -> dict[str, Any]:
        """Begin the job, or go on with it where it has begun; return what job.json says.

        Parameters
        ----------
        about : mapping
            ``identity`` holds what must be equal to go on; the rest is the first run's.
        make : callable
            Makes the output in progress at a path.

        Raises
        ------
        ConvError
            When the job that has begun is another one, with what differs.
        """
        self.path.mkdir(exist_ok=True)
        with self._locked("lock"):
            if not self.exists:
                _remove(self.new)
                make(self.new)
                whole = {**about, "inode": self.new.stat().st_ino}
                scratch = self.path / "job.json.new"
                scratch.write_text(json.dumps(whole, indent=1), encoding="utf-8")
                os.link(scratch, self.path / "job.json")  # whole, and never over another
                scratch.unlink()
        found = self.about
        changed = list(_differences(found["identity"], json.loads(json.dumps(about["identity"]))))
        if changed:
            raise ConvError(
                f"another job has begun here: {'; '.join(changed)}. Give the same command as then, or end that job "
                f"with: convcli job {printable(str(self.path.with_suffix('')))} --cancel",
                subject=repr(self.path.name),
            )
        return found

    @contextmanager
    def running(self, part: tuple[int, int]) -> Iterator[None]:
        """Be the one that runs a part of the boxes (or all, as the part 1 of 1).

        Raises
        ------
        ConvError
            When another process does.
        """
        with ExitStack() as stack:
            try:
                how = fcntl.LOCK_EX if part[1] == 1 else fcntl.LOCK_SH
                stack.enter_context(self._locked("runners", how | fcntl.LOCK_NB))
                stack.enter_context(
                    self._locked(f"part-{part[0]}-of-{part[1]}", fcntl.LOCK_EX | fcntl.LOCK_NB)
                )
            except BlockingIOError:
                raise ConvError(
                    "another process is working on this job: wait for it, or look with `convcli job`",
                    subject=repr(self.path.name),
                ) from None
            yield

    @contextmanager
    def _locked(self, name: str, how: int = fcntl.LOCK_EX) -> Iterator[None]:
        with (self.path / name).open("ab") as fp:
            fcntl.flock(fp, how)
            yield

    @contextmanager
    def log(self) -> Iterator[Callable[[Row], None]]:
        """Begin a log of one's own, locked while it is written; yield what adds a line."""
        for number in itertools.count(1):
            try:
                fp: IO[bytes] = (self.path / f"{number:04}.log").open("xb", buffering=0)
            except FileExistsError:
                continue
            break
        with fp:
            fcntl.flock(fp, fcntl.LOCK_EX)
            yield lambda row: _write(fp, json.dumps(row).encode() + b"\n")

    @property
    def logs(self) -> list[Path]:
        return sorted(self.path.glob("[0-9]*.log"))

    def rows(self) -> dict[int, Row]:
        """Return what the logs say of each box: that it is done, where any does, else how it failed."""
        found: dict[int, Row] = {}
        for log in self.logs:
            for line in log.read_bytes().split(b"\n")[:-1]:  # the last is empty, or torn
                row = json.loads(line)
                if "error" not in row or row["box"] not in found:
                    found[row["box"]] = row
        return found

    def alive(self) -> int:
        """Return how many workers are at work on this machine, or on others where the file system tells."""
        count = 0
        for log in self.logs:
            with log.open("rb") as fp:
                try:
                    fcntl.flock(fp, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    count += 1
        return count

    def finish(self, publish: Callable[[Path], None], keep: bool) -> None:
        """Give the output its name, once all boxes are in it, and remove the folder unless it is kept.

        Workers whose run was killed end first.  Where another process, or a run that was killed here, has given the
        output its name already, only the rest is done.
        """
        with self._locked("lock"):
            for log in self.logs:
                with log.open("rb") as fp:
                    fcntl.flock(fp, fcntl.LOCK_SH)
            if not self.published:
                publish(self.new)
        if not keep:
            self.remove()

    @property
    def published(self) -> bool:
        """Whether the output has its name; what lies in its place may be what it has replaced."""
        return not self.new.exists() or self.new.stat().st_ino != self.about["inode"]

    def remove(self) -> None:
        """Remove the folder, what the job is last: until then it can be taken up again."""
        if not (self.path / "lock").exists():  # a folder of other things
            return
        for entry in self.path.iterdir():
            if entry.name not in ("job.json", "lock"):
                _remove(entry)
        shutil.rmtree(self.path)


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*first, *second]):
        was, now = first.get(name), second.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from (f"{name} {one}" for one in _differences(was, now))
        elif was != now:
            yield f"{name} was {was}, now {now}"


def _write(fp: IO[bytes], line: bytes) -> None:
    while line:  # a line may be torn only where the process ends in it
        line = line[fp.write(line) :]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
