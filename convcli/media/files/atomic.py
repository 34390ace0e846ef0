"""Replacing a regular file by a whole new one: a temporary beside it, fsync, rename.

Nothing but this: which outputs are regular files and what messages say is decided in :mod:`convcli.media.files.target`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from convcli.common import signals

_NAME_MAX = 255  # bytes of a file's name, on every file system in common use


@contextmanager
def replacing(target: Path, force: bool) -> Iterator[int]:
    """Yield a descriptor whose content becomes ``target`` at the end; on any exception all stays as it was.

    What a killed run with the same target has left is removed; a temporary in use is locked and stays.

    Raises
    ------
    FileExistsError
        When the target has come meanwhile and ``force`` is not given.
    OSError
        When something cannot be written.
    """
    try:
        with signals.held():
            temporary, descriptor = _claim(target)
            undo = partial(_unlink, temporary, descriptor)
            signals.add(undo)
    except BaseException:  # an interrupt between creating a temporary and knowing of it
        _remove_left_overs(target, 0)
        raise
    try:
        yield descriptor
        if target.exists():
            if not force:
                raise FileExistsError
            with contextlib.suppress(PermissionError):  # a file system without modes
                os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))
        os.fsync(descriptor)
        temporary.replace(target)
    finally:
        undo()
        signals.discard(undo)
        os.close(descriptor)


@contextmanager
def replacing_all(folder: Path, force: bool) -> Iterator[Path]:
    """Yield a new folder whose files all move into ``folder`` at the end; on any exception all stays as it was.

    What a killed run has left there is removed.

    Raises
    ------
    FileExistsError
        When a file of that name is there and ``force`` is not given; its name is the error's ``filename``.
    OSError
        When something cannot be written.
    """
    with signals.held():
        stage, descriptor = _claim_folder(folder)
        undo = partial(shutil.rmtree, stage, ignore_errors=True)
        signals.add(undo)
    fresh, old = stage / "new", stage / "old"
    moved: list[Path] = []
    try:
        fresh.mkdir()
        old.mkdir()
        yield fresh
        with signals.held():
            for path in sorted(fresh.iterdir()):
                target = folder / path.name
                if target.exists():
                    if not force:
                        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
                    path.chmod(stat.S_IMODE(target.stat().st_mode))
                    moved.append(target)
                    target.replace(old / path.name)
                else:
                    moved.append(target)
                path.replace(target)
    except BaseException:
        for target in moved:
            if (old / target.name).exists():
                (old / target.name).replace(target)
            elif not (fresh / target.name).exists():
                target.unlink(missing_ok=True)
        raise
    finally:
        undo()
        signals.discard(undo)
        os.close(descriptor)


def _claim_folder(folder: Path) -> tuple[Path, int]:
    """Create a folder that is ours alone; return it with its descriptor, locked."""
    for number in itertools.count():
        stage = folder / f".convcli-{number:06}"
        with contextlib.suppress(FileExistsError):
            stage.mkdir()
        descriptor = os.open(stage, os.O_RDONLY | os.O_NOFOLLOW)
        if _lock(descriptor, without=True) and os.fstat(descriptor).st_nlink:
            for left_over in stage.iterdir():  # of a killed run
                shutil.rmtree(left_over, ignore_errors=True)
            return stage, descriptor
        os.close(descriptor)
    raise AssertionError  # the count has no end


def _beside(target: Path, number: int) -> Path:
    """Return a temporary's path; it has the suffix of the target, by which some writers go.

    >>> _beside(Path("folder/photo.png"), 0).name
    '.photo.convcli-000000.png'
    """
    tail = os.fsencode(f".convcli-{number:06}{target.suffix}")
    stem = os.fsencode(target.stem)[: max(0, _NAME_MAX - 1 - len(tail))]
    return target.with_name(os.fsdecode(b"." + stem + tail))


def _claim(target: Path) -> tuple[Path, int]:
    """Create a temporary that is ours alone; return it with its descriptor, locked."""
    for number in itertools.count():
        temporary = _beside(target, number)
        _remove_left_overs(target, number)
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:  # another run is writing the same target
            continue
        try:
            # Unlocked for a moment, it may have been taken for a left-over.
            if _lock(descriptor, without=True) and os.fstat(descriptor).st_nlink:
                return temporary, descriptor
        except BaseException:
            _unlink(temporary, descriptor)
            raise
        os.close(descriptor)
    raise AssertionError  # the count has no end


def _lock(descriptor: int, without: bool) -> bool:
    """Lock a file as long as its descriptor is open; the kernel unlocks it even after kill -9.

    Returns False when another has it, and ``without`` on a file system that knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno != errno.EWOULDBLOCK and without
    return True


def _remove_left_overs(target: Path, first: int) -> None:
    for number in itertools.count(first):
        temporary = _beside(target, number)
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return
        try:
            if _lock(descriptor, without=False):
                _unlink(temporary, descriptor)
        finally:
            os.close(descriptor)


def _unlink(temporary: Path, descriptor: int) -> None:
    """Remove a temporary while it is still the file of this descriptor: after a rename its name is free to all."""
    with contextlib.suppress(OSError):
        if os.path.samestat(os.fstat(descriptor), temporary.stat()):
            temporary.unlink()
