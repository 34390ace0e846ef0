"""The folder of a job, beside its output: what the job is, which boxes are done, and the output in progress.

    job.json   what the job is; made exclusively
    new        the output until all boxes are in it
    0001.log   one a worker: a line of JSON for each box; a torn last line does not count
    lock, runners, part-1-of-3   are locked by who makes or ends the folder, and who runs boxes of it
    tries-0c1f-7   a byte for each time that a worker of a cluster has begun box 7; tries-0c1f-7-9 boxes 7 to 9

Locks are the kernel's, which go with a process however it ends; no clock is compared.  The folder is open to its user
alone, and is reached by its descriptor; of what a stranger may have put in it nothing is trusted and no link followed.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import os
import re
import shutil
import stat
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from convcli.common import ConvError, printable

_OURS = re.compile(
    r"job\.json(\.new)?|lock|runners|new|part-[0-9]+-of-[0-9]+|tries-[0-9a-f]+(-[0-9]+)+|[0-9]+\.log"
)
_DESCRIPTORS = Path("/proc/self/fd")
_LONGEST = 1 << 22  # bytes of a job.json

Row = dict[str, Any]
"""What a log says of a box: ``box`` and either ``error`` or its ``checksum``, ``seconds`` and counts."""


def beside(output: str | Path) -> Path:
    """Return the folder of the job that writes an output.

    >>> beside("out/a.zarr").as_posix()
    'out/a.zarr.job'
    """
    return Path(f"{output}.job")


class JobFolder:
    """A job that several processes work on, now or one after the other.

    Parameters
    ----------
    path : Path
        Of the folder, or `inside` of one that a process has inherited.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def descriptor(self) -> int:
        """The open folder.

        Raises
        ------
        ConvError
            Where there is none, or one that others can write in.
        """
        if self.path.parent == _DESCRIPTORS:
            return int(self.path.name)
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            if not os.path.lexists(self.path):
                raise ConvError(
                    "this output has no job under way; a finished one leaves nothing",
                    subject=repr(self.path.name),
                ) from None
            raise self._spoiled("it is not a folder") from None
        except OSError as error:
            raise self._spoiled(f"it cannot be opened: {error.strerror}") from None
        weakref.finalize(self, os.close, descriptor)
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid() or found.st_mode & stat.S_IWOTH:
            raise self._spoiled("others can write in it")
        return descriptor

    @cached_property
    def inside(self) -> Path:
        """What leads into the folder, whatever another user puts in its place meanwhile."""
        path = _DESCRIPTORS / str(self.descriptor)
        return path if path.exists() else self.path

    @property
    def new(self) -> Path:
        return self.inside / "new"

    def _spoiled(self, why: str) -> ConvError:
        return ConvError(f"{why}: remove it, or name another output", subject=repr(self.path.name))

    @contextmanager
    def _open(self, name: str, flags: int, *, buffering: int = -1) -> Iterator[IO[bytes]]:
        """Open one of the files, or make it; nothing but a regular file.

        Raises
        ------
        FileNotFoundError, FileExistsError
        ConvError
            For anything else.
        """
        try:
            number = os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666, dir_fd=self.descriptor)
        except (FileNotFoundError, FileExistsError):
            raise
        except OSError as error:
            raise self._spoiled(f"its {name} cannot be opened: {error.strerror}") from None
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise self._spoiled(f"its {name} is not a file")
        with open(number, "rb" if flags == os.O_RDONLY else "ab", buffering) as fp:  # noqa: PTH123  a descriptor
            yield fp

    @property
    def about(self) -> dict[str, Any]:
        """What job.json says.

        Raises
        ------
        ConvError
            Where there is none, or one that was spoiled.
        """
        try:
            with self._open("job.json", os.O_RDONLY) as fp:
                found: dict[str, Any] = json.loads(fp.read(_LONGEST))
            words = [
                found["folder"],
                *found["command"],
                found["plan"]["engine"],
                *found["plan"]["algorithms"],
            ]
            whole = [found["boxes"], found["inode"], *found["plan"]["steps"]]
            if (
                isinstance(found["identity"], dict)
                and all(isinstance(one, str) and "\0" not in one for one in words)
                and all(type(one) is int and one > 0 for one in whole)
            ):
                return found
        except FileNotFoundError:
            raise ConvError(
                "this output has no job under way; a finished one leaves nothing",
                subject=repr(self.path.name),
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        raise self._spoiled("its job.json is spoiled")

    @property
    def exists(self) -> bool:
        return os.path.lexists(self.path) and (self.inside / "job.json").exists()

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
        self.path.mkdir(0o700, exist_ok=True)
        with self._locked("lock"):
            if not self.exists:
                _remove(self.new)
                make(self.new)
                whole = {**about, "inode": self.new.stat().st_ino}
                scratch = self.inside / "job.json.new"
                scratch.unlink(missing_ok=True)
                with self._open(scratch.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL) as fp:
                    fp.write(json.dumps(whole, indent=1).encode())
                os.link(scratch, self.inside / "job.json")  # whole, and never over another
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
        with self._open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND) as fp:
            fcntl.flock(fp, how)
            yield

    @contextmanager
    def log(self, *, kept: bool = True) -> Iterator[Log]:
        """Begin a log of one's own; ``kept`` locks it as long as it is open, so that its writer counts as at work."""
        with ExitStack() as stack:
            for number in itertools.count(1):
                with suppress(FileExistsError):
                    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                    fp = stack.enter_context(self._open(f"{number:04}.log", flags, buffering=0))
                    break
            log = Log(fp)
            if kept:
                stack.enter_context(log.locked())
            yield log

    def tried(self, name: str) -> int:
        """Count one more try in a file; return how many there are."""
        with self._open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, buffering=0) as fp:
            fp.write(b".")
            return os.fstat(fp.fileno()).st_size

    def logs(self) -> Iterator[IO[bytes]]:
        for path in sorted(self.inside.glob("[0-9]*.log")):
            with self._open(path.name, os.O_RDONLY) as fp:
                yield fp

    def rows(self) -> dict[int, Row]:
        """Return what the logs say of each box: that it is done, where any does, else how it failed."""
        found: dict[int, Row] = {}
        boxes = self.about["boxes"]
        for log in self.logs():
            for line in log.read().split(b"\n"):
                row = _row(line, boxes)  # the last is empty, or torn
                if row and ("error" not in row or row["box"] not in found):
                    found[row["box"]] = row
        return found

    def done(self) -> set[int]:
        """Return the boxes that are in the output."""
        return {index for index, row in self.rows().items() if "error" not in row}

    def alive(self) -> int:
        """Return how many workers are at work on this machine, or on others where the file system tells."""
        count = 0
        for log in self.logs():
            try:
                fcntl.flock(log, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                count += 1
        return count

    def finish(self, publish: Callable[[Path], None], keep: bool) -> None:
        """Give the output its name, once all boxes are in it, and remove the folder unless it is kept.

        Workers whose run was killed end first.  Where another process, or a run that was killed here, has given the
        output its name already, only the rest is done.
        """
        with self._locked("lock"):
            for log in self.logs():
                fcntl.flock(log, fcntl.LOCK_SH)
            if not self.published:
                publish(self.new)
        if not keep:
            self.remove()

    @property
    def published(self) -> bool:
        """Whether the output has its name; what lies in its place may be what it has replaced."""
        return not os.path.lexists(self.new) or self.new.lstat().st_ino != self.about["inode"]

    def remove(self) -> None:
        """Remove the folder and what a job has in one, what the job is last: until then it can be taken up again."""
        names = [one.name for one in self.inside.iterdir() if _OURS.fullmatch(one.name)]
        for name in sorted(names, key=("lock", "job.json").__contains__):
            _remove(self.inside / name)
        with suppress(OSError):  # other things lie in it
            self.path.rmdir()


class Log:
    """Adds a line for each box."""

    def __init__(self, fp: IO[bytes]) -> None:
        self._fp = fp

    def __call__(self, row: Row) -> None:
        line = json.dumps(row).encode() + b"\n"
        while line:  # a line may be torn only where the process ends in it
            line = line[self._fp.write(line) :]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be at work: the job does not end before this block."""
        fcntl.flock(self._fp, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._fp, fcntl.LOCK_UN)


def _row(line: bytes, boxes: int) -> Row | None:
    """Return a line of a log; None for one that is torn or spoiled, whose box is then not done."""
    try:
        row: Row = json.loads(line)
        numbers = [one for name, one in row.items() if name not in ("error", "only")]  # which may be NaN
        known = isinstance(row.get("error", ""), str) and (
            "error" in row or {"checksum", "seconds"} <= {*row}
        )
        known &= isinstance(row.get("only"), (int, float, type(None))) and all(map(math.isfinite, numbers))
        return row if known and type(row["box"]) is int and 0 <= row["box"] < boxes else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys([*first, *second]):
        was, now = first.get(name), second.get(name)
        if isinstance(was, dict) and isinstance(now, dict):
            yield from (f"{name} {one}" for one in _differences(was, now))
        elif was != now:
            yield f"{name} was {was}, now {now}"


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
