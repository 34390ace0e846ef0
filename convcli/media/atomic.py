"""Replacing a regular file by a whole new one: a temporary beside it, fsync, rename.

Nothing but this: which outputs are regular files and what messages say is decided in :mod:`convcli.media.target`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
        temporary, descriptor = _claim(target)
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
        _sync_folder(target.parent)
    finally:
        _unlink(temporary, descriptor)
        os.close(descriptor)


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


def _sync_folder(folder: Path) -> None:
    """Make the new name durable, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
