"""Replacing regular files as a whole: a file without a name in their folder, fsync, and then its name.

Where a file system knows no files without a name, a temporary beside the target, fsync, rename.

All operations are relative to an open folder, so that another user who can write there, or rename it, cannot redirect
a name.  Only files of this process, or of a killed run of the same user, are removed.
Which outputs are regular files and what messages say is decided in :mod:`convcli.media.files.target`.
"""

import contextlib
import errno
import fcntl
import itertools
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from convcli.common import signals

_NAME_MAX = 255  # bytes of a file's name, on every file system in common use
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY  # needs no permission to list it
_MADE = os.O_RDWR | os.O_NOFOLLOW  # a file that was made here
_MADE_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_UNNAMED = getattr(os, "O_TMPFILE", 0)
_NAMELESS = "/proc/self/fd/{}"  # leads to a file that has no name
_NOREPLACE, _EXCHANGE = 1, 2  # flags of Linux's renameat2
_TRIES = 100  # to remove a folder
_STAGE = re.compile(r"\.convcli-[0-9a-f]{16}")


@contextmanager
def closed_after(descriptor: int) -> Iterator[int]:
    """Yield a descriptor and close it at the end."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def replacing(target: Path, force: bool) -> Iterator[int]:
    """Yield a descriptor whose content becomes ``target`` at the end; on any exception all stays as it was.

    A file that is replaced leaves its permissions, and its owner where possible.  What a killed run with the same
    target has left is removed; a temporary in use is locked and stays.

    Raises
    ------
    FileExistsError
        When the target has come meanwhile and ``force`` is not given.
    OSError
        When something cannot be written.
    """
    with closed_after(os.open(target.parent, _FOLDER)) as folder:
        try:
            with signals.held():
                temporary, descriptor = _claim(folder, target)
                undo = partial(_unlink, folder, temporary, descriptor) if temporary else _nothing
                signals.add(undo)
        except BaseException:  # an interrupt between creating a temporary and knowing of it
            _remove_left_overs(folder, target)
            raise
        try:
            yield descriptor
            _take_over(descriptor, _stat(folder, target.name))
            os.fsync(descriptor)
            if temporary:
                _move(folder, temporary, folder, target.name, force)
            else:
                with signals.held():
                    _name(descriptor, folder, target, force)
        finally:
            undo()
            signals.discard(undo)
            os.close(descriptor)


@contextmanager
def replacing_all(path: Path, force: bool) -> Iterator[int]:
    """Yield the descriptor of a new folder whose files all move into a folder at the end.

    On any exception all stays as it was.  A symbolic link is followed: the file that it leads to is replaced, after
    all others.  What a killed run has left there is removed.

    Raises
    ------
    FileExistsError
        When a file of that name is there and ``force`` is not given; its name is the error's ``filename``.
    OSError
        When something cannot be written.
    """
    with (
        _stage_in(path) as (folder, stage, _),
        closed_after(_subfolder(stage, "new")) as fresh,
        closed_after(_subfolder(stage, "old")) as old,
    ):
        yield fresh
        with signals.held():
            _move_all(fresh, old, folder, path, force)


@contextmanager
def replacing_folder(target: Path, force: bool) -> Iterator[str]:
    """Yield the path of a new folder that becomes ``target`` at the end; on any exception all stays as it was.

    What stood there goes as a whole.  What a killed run has left beside it is removed.

    Raises
    ------
    FileExistsError
        When the target has come meanwhile and ``force`` is not given.
    OSError
        When something cannot be written.
    """
    with _stage_in(target.parent) as (folder, stage, name):
        with closed_after(_subfolder(stage, "new", 0o777)) as fresh:  # its own folder is closed to others
            nameless = _NAMELESS.format(fresh)  # nobody can lead it elsewhere
            yield nameless if Path(nameless).exists() else str(target.parent / name / "new")
            _sync(fresh)
            former = _stat(folder, target.name)
            if former is not None:
                _take_over(fresh, former)
        if former and not force:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        with signals.held():
            _place(stage, folder, target.name, bool(former))


def publish(new: Path, target: Path, force: bool) -> None:
    """Give a file or folder named ``new``, in a folder beside ``target``, the name of that.

    What stands there is exchanged for it.

    Raises
    ------
    FileExistsError
        When the target is there and ``force`` is not given.
    OSError
        When something cannot be written.
    """
    with (
        closed_after(os.open(target.parent, _FOLDER)) as folder,
        closed_after(os.open(new.parent, _FOLDER)) as stage,
        closed_after(os.open(new, os.O_RDONLY | os.O_NOFOLLOW)) as fresh,
    ):
        _sync(fresh)
        former = _stat(folder, target.name)
        if former and not force:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        _take_over(fresh, former)
        with signals.held():
            _place(stage, folder, target.name, bool(former))


def _sync(descriptor: int) -> None:
    """Wait until a file, or all that is in a folder, is on the disk."""
    if stat.S_ISDIR(os.fstat(descriptor).st_mode):
        for _, _, files, inside in os.fwalk(".", dir_fd=descriptor):
            for one in files:
                with closed_after(os.open(one, _MADE, dir_fd=inside)) as file:
                    os.fsync(file)
            os.fsync(inside)
    os.fsync(descriptor)


def _place(stage: int, folder: int, name: str, taken: bool) -> None:
    """Give a stage's new folder a name, in exchange for the folder that has it where it is taken."""
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename and rename(stage, b"new", folder, os.fsencode(name), _EXCHANGE if taken else _NOREPLACE) == 0:
        return
    number = ctypes.get_errno() if rename else errno.ENOSYS
    if number not in (errno.ENOSYS, errno.EINVAL):
        raise OSError(number, os.strerror(number), name)
    if taken:  # a file system that exchanges none
        os.rename(name, "old", src_dir_fd=folder, dst_dir_fd=stage)
    try:  # over an empty folder at most
        os.rename("new", name, src_dir_fd=stage, dst_dir_fd=folder)
    except BaseException:
        if taken:
            os.rename("old", name, src_dir_fd=stage, dst_dir_fd=folder)
        raise


@contextmanager
def _stage_in(path: Path) -> Iterator[tuple[int, int, str]]:
    """Yield the descriptor of a folder, and that and the name of a new one in it, which goes at the end.

    What a killed run has left there is removed.
    """
    with closed_after(os.open(path, _FOLDER)) as folder:
        with signals.held():
            _remove_stages(folder, path)
            stage, name = _claim_stage(folder)
            undo = partial(_remove_stage, folder, name, stage)
            signals.add(undo)
        try:
            yield folder, stage, name
        finally:
            undo()
            signals.discard(undo)
            os.close(stage)


def _move_all(fresh: int, old: int, folder: int, path: Path, force: bool) -> None:
    moved: list[str] = []
    links: list[str] = []
    try:
        for name in sorted(entry.name for entry in os.scandir(fresh)):
            there = _stat(folder, name)
            if there and not force:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path / name))
            if there and stat.S_ISLNK(there.st_mode):
                links.append(name)
                continue
            if there and not stat.S_ISREG(there.st_mode):
                raise OSError(errno.EINVAL, "it is not a regular file", str(path / name))
            if there:
                with closed_after(os.open(name, _MADE, dir_fd=fresh)) as descriptor:
                    _take_over(descriptor, there)
                _move(folder, name, old, name, force=False, keep=True)
            moved.append(name)
            _move(fresh, name, folder, name, force)
        for name in links:
            with (
                closed_after(os.open(name, _MADE, dir_fd=fresh)) as whole,
                replacing(followed(path / name).resolve(), force) as descriptor,
                open(whole, "rb", closefd=False) as source,
                open(descriptor, "wb", closefd=False) as copy,
            ):
                shutil.copyfileobj(source, copy)
    except BaseException:
        for name in moved:
            if _stat(old, name):
                os.replace(name, name, src_dir_fd=old, dst_dir_fd=folder)
            elif not _stat(fresh, name):
                os.unlink(name, dir_fd=folder)
        raise


def followed(link: Path) -> Path:
    """Return where a symbolic link leads, one step.

    Raises
    ------
    OSError
        For somebody else's link in a folder in which all may write, such as ``/tmp`` (Linux's protected_symlinks
        asks for a sticky one, but in others such links are no better).
    """
    folder, owner = link.parent.stat(), link.lstat().st_uid
    if folder.st_mode & stat.S_IWOTH and owner not in (os.geteuid(), folder.st_uid):
        raise OSError("it is another user's link, in a folder in which all may write")
    return link.parent / link.readlink()


def _stat(folder: int, name: str) -> os.stat_result | None:
    """Return what a name is, a link itself; None for nothing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _take_over(descriptor: int, former: os.stat_result | None) -> None:
    """Give a new file the owner and the permissions of the one that it replaces, where the system allows it."""
    if former is None:
        return
    with contextlib.suppress(PermissionError):  # only root gives files away; file systems without modes
        os.fchown(descriptor, former.st_uid, former.st_gid)
    with contextlib.suppress(PermissionError):
        os.fchmod(descriptor, stat.S_IMODE(former.st_mode))


def _move(source: int, name: str, target: int, new_name: str, force: bool, keep: bool = False) -> None:
    """Rename a file; without ``force`` never over another, even one that appears at this moment.

    With ``keep`` it keeps its old name too, where the file system knows such links.
    """
    if not force:
        try:
            os.link(name, new_name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        except FileExistsError:
            raise
        except OSError:  # no hard links here
            if _stat(target, new_name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new_name) from None
        else:
            if not keep:
                os.unlink(name, dir_fd=source)
            return
    os.replace(name, new_name, src_dir_fd=source, dst_dir_fd=target)


# ------------------------------------------------------------------------------------- temporary files


def _beside(target: Path, number: int) -> str:
    """Return a temporary's name; it has the suffix of the target, by which some writers go.

    >>> _beside(Path("folder/photo.png"), 0)
    '.photo.convcli-000000.png'
    """
    tail = os.fsencode(f".convcli-{number:06}{target.suffix}")
    stem = os.fsencode(target.stem)[: max(0, _NAME_MAX - 1 - len(tail))]
    return os.fsdecode(b"." + stem + tail)


def _claim(folder: int, target: Path) -> tuple[str, int]:
    """Create a temporary that is ours alone; return its name, empty if it has none, and its descriptor, locked."""
    _remove_left_overs(folder, target)
    # What replaces a private file is never open to others, not for a moment.
    mode = 0o600 if _stat(folder, target.name) else 0o666
    if (nameless := _nameless(folder, mode)) is not None:
        return "", nameless
    for number in itertools.count():
        temporary = _beside(target, number)
        try:
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode, dir_fd=folder)
        except FileExistsError:  # another run is writing the same target
            continue
        try:
            # Unlocked for a moment, it may have been taken for a left-over.
            if _lock(descriptor, without=True) and os.fstat(descriptor).st_nlink:
                return temporary, descriptor
        except BaseException:
            _unlink(folder, temporary, descriptor)
            raise
        os.close(descriptor)
    raise AssertionError  # the count has no end


def _nameless(folder: int, mode: int) -> int | None:
    """Create a file that has no name yet, so that nothing is left however the process ends; None where none can be."""
    if not _UNNAMED or not Path(_NAMELESS.format(folder)).exists():  # /proc gives it its name
        return None
    with contextlib.suppress(OSError):  # not every file system knows them
        descriptor = os.open(".", os.O_RDWR | _UNNAMED, mode, dir_fd=folder)
        _lock(descriptor, without=True)
        return descriptor
    return None


def _name(descriptor: int, folder: int, target: Path, force: bool) -> None:
    """Give a file without a name that of the target; with ``force`` by way of a temporary's, if it is taken."""
    link = partial(os.link, _NAMELESS.format(descriptor), dst_dir_fd=folder, follow_symlinks=True)
    try:
        return link(target.name)
    except FileExistsError:
        if not force:
            raise
    for number in itertools.count():
        temporary = _beside(target, number)
        with contextlib.suppress(FileExistsError):  # another run is writing the same target
            link(temporary)
            try:
                return os.replace(temporary, target.name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                _unlink(folder, temporary, descriptor)


def _nothing() -> None:
    """Undo nothing: a file without a name goes by itself, however the process ends."""


def _lock(descriptor: int, without: bool) -> bool:
    """Lock a file as long as its descriptor is open; the kernel unlocks it even after kill -9.

    Returns False when another has it, and ``without`` on a file system that knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno != errno.EWOULDBLOCK and without
    return True


def _remove_left_overs(folder: int, target: Path) -> None:
    for number in itertools.count():
        temporary = _beside(target, number)
        try:
            descriptor = os.open(temporary, _MADE | os.O_NONBLOCK, dir_fd=folder)
        except OSError:
            return
        with closed_after(descriptor):
            if _is_ours(descriptor, stat.S_IFREG) and _lock(descriptor, without=False):
                _unlink(folder, temporary, descriptor)


def _is_ours(descriptor: int, kind: int) -> bool:
    """Tell whether the user of this process owns a file or folder."""
    found = os.fstat(descriptor)
    return stat.S_IFMT(found.st_mode) == kind and found.st_uid == os.geteuid()


def _unlink(folder: int, temporary: str, descriptor: int) -> None:
    """Remove a temporary while it is still the file of this descriptor: after a rename its name is free to all."""
    with contextlib.suppress(OSError):
        found = _stat(folder, temporary)
        if found and os.path.samestat(os.fstat(descriptor), found):
            os.unlink(temporary, dir_fd=folder)


# ----------------------------------------------------------------------------------- temporary folders


def _claim_stage(folder: int) -> tuple[int, str]:
    """Make a folder with an unpredictable name; return its descriptor, locked, and its name."""
    name = f".convcli-{secrets.token_hex(8)}"
    os.mkdir(name, 0o700, dir_fd=folder)
    try:
        stage = os.open(name, _MADE_FOLDER, dir_fd=folder)
    except OSError:  # no descriptor is left
        os.rmdir(name, dir_fd=folder)
        raise
    if not _is_ours(stage, stat.S_IFDIR):
        os.close(stage)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), name)
    _lock(stage, without=True)
    return stage, name


def _subfolder(stage: int, name: str, mode: int = 0o700) -> int:
    os.mkdir(name, mode, dir_fd=stage)
    return os.open(name, _MADE_FOLDER, dir_fd=stage)


def _remove_stage(folder: int, name: str, stage: int) -> None:
    for part in ("new", "old"):
        with contextlib.suppress(OSError):  # without a descriptor left an empty one goes at least
            os.rmdir(part, dir_fd=stage)
        for _ in range(_TRIES):  # threads of a library may still write there
            shutil.rmtree(part, ignore_errors=True, dir_fd=stage)
            if _stat(stage, part) is None:
                break
            time.sleep(0.005)
    with contextlib.suppress(OSError):
        found = _stat(folder, name)
        if found and os.path.samestat(os.fstat(stage), found):
            os.rmdir(name, dir_fd=folder)


def _remove_stages(folder: int, path: Path) -> None:
    """Remove what killed runs of this user have left: folders of such a name that hold nothing but our parts."""
    with contextlib.suppress(OSError):
        for name in [entry.name for entry in os.scandir(path) if _STAGE.fullmatch(entry.name)]:
            with closed_after(os.open(name, _MADE_FOLDER, dir_fd=folder)) as stage:
                known = {entry.name for entry in os.scandir(stage)} <= {"new", "old"}
                if known and _is_ours(stage, stat.S_IFDIR) and _lock(stage, without=False):
                    _remove_stage(folder, name, stage)
