"""Opening inputs and outputs: local names, ``-``, pipes and devices.  Outputs are complete or absent.

An output that is absent or a regular file is replaced by a whole new one (:mod:`convcli.media.files.atomic`); pipes,
devices and ``/dev/fd/N`` are written directly.  Only bytes here: no format, no axes.
"""

from __future__ import annotations

import difflib
import errno
import io
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path, PurePath
from typing import IO, TYPE_CHECKING

from convcli.common import ConvError, UsageError, about, signals
from convcli.common.budget import check_memory
from convcli.media.files import atomic
from convcli.media.files.atomic import closed_after, followed, replacing, replacing_all, replacing_folder

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STANDARD = "-"  # standard input or output
SPOOL = 32 << 20  # bytes of a pipe that are held in memory before a temporary file takes them
PIPE = 2 << 30  # bytes of a pipe that are kept at all
_LARGE = 1 << 28  # bytes that are not compared with the free space on the disk
_LINKS = 40  # symbolic links that are followed, as in Linux

StrPath = str | PurePath
Recogniser = Callable[[Path], bool]
"""Whether a folder is of some format."""


def shown(path: StrPath, standard: str = "standard output") -> str:
    """Return a path for a message: in quotes and on one line, whatever it holds."""
    return standard if str(path) == STANDARD else repr(str(path))


def shown_input(name: StrPath) -> str:
    """Return an input for a message."""
    return shown(name, "standard input")


def about_input(name: StrPath) -> AbstractContextManager[None]:
    """Name an input in the errors of a block that have no subject."""
    return about(shown_input(name))


def reason(error: OSError | ValueError) -> str:
    """Return what the system says about a failure."""
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error) or type(error).__name__


# ---------------------------------------------------------------------------------------------- inputs


class Folder(io.BytesIO):
    """An open folder, for formats that consist of several files: ``path`` leads to it.

    ``files`` are those of its files that were asked for, none where it was the folder; the first begins with
    ``head``, which is all that can be read here.
    """

    def __init__(self, path: StrPath, files: Sequence[Path] = (), head: bytes = b"") -> None:
        super().__init__(head)
        self.path, self.files = Path(path), files


def open_input(path: StrPath, longest: Callable[[bytes], int | None] = lambda _: None) -> IO[bytes]:
    """Open a file, or standard input for ``-``, as a binary file that can seek and stands at its beginning.

    A folder is a `Folder`.

    What comes from a pipe is kept in memory, or in an unnamed temporary file when it is long; ``longest`` tells from
    its first bytes how many it may have, `PIPE` at most.

    Raises
    ------
    ConvError
        One line each for a missing or empty file, a URL, no permission, a closed standard input.
    """
    with about_input(path):
        try:
            if str(path) != STANDARD and Path(path).is_dir():
                return Folder(path)
            fp = _standard_input() if str(path) == STANDARD else _open_local(path)
            if not (fp.seekable() and fp.tell() == 0):
                fp = spool(fp, lambda head: min(PIPE, longest(head) or PIPE))
            empty = not fp.read(1)
            fp.seek(0)
        except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
            raise ConvError(f"cannot be read: {reason(error)}") from None
        if empty:
            fp.close()
            raise ConvError("it is empty")
        return fp


def _open_local(path: StrPath) -> IO[bytes]:
    try:
        return Path(path).open("rb")
    except FileNotFoundError:
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):  # Path makes one slash of two
            raise ConvError("convcli reads local files; download it first") from None
        raise ConvError(f"no such file{_near(Path(path))}") from None


def _near(path: Path) -> str:
    """Return which file of the same folder may be meant."""
    with suppress(OSError):
        names = [one.name for one in islice(path.parent.iterdir(), 10_000)]
        if found := difflib.get_close_matches(path.name, names, 1, 0.75):
            return f"; did you mean {shown(str(path.with_name(found[0])))}?"
    return ""


def _standard_input() -> IO[bytes]:
    if sys.stdin is None:
        raise ConvError("it is closed")
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except io.UnsupportedOperation:  # a caller in this process has put an object there
        return sys.stdin.buffer


def spool(fp: IO[bytes], longest: Callable[[bytes], int | None]) -> IO[bytes]:
    """Return a copy that can seek, in memory or in an unnamed temporary file; ``longest`` as in `open_input`."""
    copy = tempfile.SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115
    most = None
    try:
        while chunk := fp.read(1 << 20):
            most = most if copy.tell() else longest(chunk)
            if most is not None and copy.tell() > most:
                why = "which is more than such a file can hold"
                if most == PIPE:
                    why = "the most that is kept of a pipe: save it to a file, which may have any size"
                raise ConvError(f"it is longer than {most >> 20:,} MB, {why}")
            try:
                copy.write(chunk)
                if (size := copy.tell()) > SPOOL and 4 * size > shutil.disk_usage(tempfile.gettempdir()).free:
                    raise ConvError(
                        f"it is longer than {size >> 20} MB, a quarter of the room in {tempfile.gettempdir()}: "
                        "save what is needed of it to a file"
                    )
            except FileNotFoundError:
                raise ConvError("no folder for temporary files can be used; set TMPDIR to one") from None
            except OSError as error:
                raise ConvError(f"cannot be kept in {tempfile.gettempdir()}: {reason(error)}") from None
        copy.seek(0)
    except BaseException:
        copy.close()
        raise
    finally:
        fp.close()
    return copy


def whole(fp: IO[bytes], growth: int = 1) -> bytes:
    """Return all of a file, of which ``growth`` times its size is needed in memory.

    Raises
    ------
    ConvError
        For a file that is too large for that, and for one that shrinks meanwhile: any part of a table looks whole.
    """
    size = fp.seek(0, os.SEEK_END)
    fp.seek(0)
    check_memory("read whole, it", growth * size)
    data = fp.read()
    if len(data) < size:
        raise ConvError(f"it shrank while it was read: {len(data)} of {size} bytes are there")
    return data


# --------------------------------------------------------------------------------------------- outputs


def same_file(first: StrPath, second: StrPath) -> bool:
    """Say whether two names lead to one file; ``-`` is none."""
    if STANDARD in (str(first), str(second)):
        return False
    try:
        return Path(first).samefile(second)
    except (OSError, ValueError):
        return False


def check_output(
    path: StrPath, *, force: bool = False, binary: bool = True, folder: Recogniser | None = None
) -> None:
    """Raise what :func:`output` or :func:`folder_output` would raise at once, and touch nothing (for ``--dry-run``)."""
    if folder is not None:
        _folder_destination(path, force, folder)
    elif not (str(path) == STANDARD and _stand_in()):
        _destination(path, force, binary)


def check_disk(path: StrPath, size: int) -> None:
    """Refuse a regular file of more bytes than the disk has.

    Raises
    ------
    ConvError
    """
    place = Path(path)
    if (
        size < _LARGE
        or str(path) == STANDARD
        or (place.exists() and not place.is_file())
        or not place.parent.is_dir()
    ):
        return
    if size > (free := shutil.disk_usage(place.parent).free):
        raise ConvError(
            f"it would take {size >> 20:,} MB, and {free >> 20:,} MB are free", subject=shown(path)
        )


@contextmanager
def output(
    path: StrPath, *, force: bool = False, binary: bool = True, seeks: bool = False
) -> Iterator[IO[bytes]]:
    """Open an output whose content appears whole or not at all (a context manager that yields a binary file).

    Parameters
    ----------
    path
        A file name, a device, or ``-`` for standard output.
    force
        Replace an existing file; its permissions are kept.
    binary
        Refuse to write to a terminal.
    seeks
        The writer must seek: what goes to a pipe is collected in an unnamed temporary file first.
        Otherwise ``seekable()`` of the file tells.

    Raises
    ------
    UsageError
        For binary data to a terminal.
    ConvError
        One line each for an existing file without ``force``, a folder, a missing folder, no permission, a disk
        that is full at any moment until the end.
    BrokenPipeError
        When the reader of a pipe has left.
    """
    if str(path) == STANDARD and (stand_in := _stand_in()):
        yield stand_in
        return
    destination = _destination(path, force, binary)
    with _written(path):
        if isinstance(destination, Path):
            with replacing(destination, force) as descriptor, writing(descriptor, path, True) as fp:
                yield fp
        else:
            if sys.stdout is not None:
                sys.stdout.flush()  # words that were printed earlier come first
            with closed_after(destination()) as descriptor, writing(descriptor, path, False) as fp:
                if not seeks:
                    yield fp
                else:
                    with _collecting() as whole:
                        yield whole
                        whole.seek(0)
                        shutil.copyfileobj(whole, fp, 1 << 20)


@contextmanager
def outputs(
    folder: Path, *, force: bool = False
) -> Iterator[Callable[[str], AbstractContextManager[IO[bytes]]]]:
    """Open a folder for files that appear in it together, whole, or not at all.

    The block gets what opens one by its name; errors as in `output`.
    """

    @contextmanager
    def opened(name: str) -> Iterator[IO[bytes]]:
        new = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=stage)
        with closed_after(new) as descriptor:
            with writing(descriptor, folder / name, True) as fp:
                yield fp
            os.fsync(descriptor)

    with _written(folder, inside=True), replacing_all(folder, force) as stage:
        yield opened


@contextmanager
def folder_output(path: StrPath, recognises: Recogniser, *, force: bool = False) -> Iterator[Folder]:
    """Open an output that is a folder and appears whole or not at all.

    Parameters
    ----------
    force
        Replace an existing one as a whole: only one that is empty, or of the same format as ``recognises`` says.

    Raises
    ------
    ConvError
        One line each, as `output`.
    """
    place = _folder_destination(path, force, recognises)
    with _written(path), replacing_folder(place, force) as stage:
        yield Folder(stage)


def publish(new: Path, path: StrPath, *, force: bool = False) -> None:
    """Give a whole output, named ``new`` in a folder beside it, its name; errors as in `output`."""
    with _written(path):
        atomic.publish(new, Path(path).absolute(), force)


@contextmanager
def _written(path: StrPath, *, inside: bool = False) -> Iterator[None]:
    """Turn what the system says in a block that writes an output, or files ``inside`` a folder, into one line."""
    try:
        yield
    except BrokenPipeError:
        raise
    except FileExistsError as error:
        raise already_there(error.filename if inside else path) from None
    except OSError as error:
        raise ConvError(f"cannot be written: {reason(error)}", subject=shown(path)) from None


def _folder_destination(path: StrPath, force: bool, recognises: Recogniser) -> Path:
    """Return the real path of a folder (to be)."""
    with about(shown(path)):
        if str(path) == STANDARD:
            raise UsageError("it is one stream, and such data is a folder of files: name one with -o")
        place, mode = _placed(path)
        if isinstance(place, int) or (mode is not None and not stat.S_ISDIR(mode)):
            raise ConvError("it is a file, and such data is a folder of files: name another output")
        if mode is None:
            check_folder(place.parent)
        elif not force:
            raise already_there(path)
        elif not recognises(place) and any(place.iterdir()):
            raise ConvError("it is a folder of other things, which is not replaced: name another output")
        if not os.access(place.parent, os.W_OK | os.X_OK):
            raise ConvError(f"no permission to write in the folder {shown(place.parent)}")
        return place


@contextmanager
def _collecting() -> Iterator[IO[bytes]]:
    """Yield a temporary file whose name is a text, as libraries expect."""
    with signals.held():
        whole = tempfile.NamedTemporaryFile()  # noqa: SIM115
        undo = partial(os.unlink, whole.name)
        signals.add(undo)
    try:
        yield whole
    finally:
        whole.close()  # removes it even where the rest of it finds no room, which leaving its context does not
        signals.discard(undo)


def _stand_in() -> IO[bytes] | None:
    """Return what a caller in this process has put in the place of standard output, if anything."""
    try:
        if sys.stdout is not None:
            sys.stdout.fileno()
    except io.UnsupportedOperation:
        return sys.stdout.buffer
    return None


def already_there(path: StrPath) -> ConvError:
    """Return the error for an output that exists."""
    return ConvError("it exists; overwrite it with -y, or name another output", subject=shown(path))


def _destination(path: StrPath, force: bool, binary: bool) -> Path | Callable[[], int]:
    """Return the real path of a regular file (to be), or what opens anything else and gives a descriptor."""
    with about(shown(path)):
        place, mode = _placed(path)
        if isinstance(place, int):
            if binary and os.isatty(place):
                raise UsageError("it is a terminal and the data is binary: name a file with -o")
            return partial(os.dup, place)
        if mode is None:
            check_folder(place.parent)
        else:
            if stat.S_ISDIR(mode):
                raise ConvError("it is a folder; name a file in it, or use --out-dir")
            if not force and (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
                raise already_there(path)
            if not os.access(place, os.W_OK):
                raise ConvError("no permission to write it")
            if not stat.S_ISREG(mode):
                return partial(os.open, place, os.O_WRONLY)
        if not os.access(place.parent, os.W_OK | os.X_OK):
            raise ConvError(f"no permission to write in the folder {shown(place.parent)}")
        return place


def check_folder(folder: Path) -> None:
    """Refuse what is no folder to write in."""
    if not folder.is_dir():
        file, nothing = "it is a file; name a folder", "there is no folder of this name; make it first"
        raise ConvError(file if folder.exists() else nothing, subject=shown(folder))


def missing_folder(folder: Path) -> Path | None:
    """Return the folder in which others are to be made for this one to be there; None where it is.

    Raises
    ------
    ConvError
        Where none can be made.
    """
    there = folder
    while not os.path.lexists(there):
        there = there.parent
    check_folder(there)
    if there == folder:
        return None
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConvError(f"no permission to write in the folder {shown(there)}", subject=shown(folder))
    return there


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it is in, where they are missing.

    Raises
    ------
    ConvError
    """
    try:
        if missing_folder(folder) is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConvError(f"cannot be made: {reason(error)}", subject=shown(folder)) from None


def _placed(path: StrPath) -> tuple[Path | int, int | None]:
    """Return what `_resolve` and `_mode` do."""
    try:
        place = _resolve(path)
        return place, _mode(place)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the name
        raise ConvError(f"cannot be written: {reason(error)}") from None


def _mode(place: Path | int) -> int | None:
    """Return the type and permissions, ``None`` for a file that is not there."""
    try:
        return (os.fstat(place) if isinstance(place, int) else place.stat()).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _resolve(path: StrPath) -> Path | int:
    """Follow symbolic links to the real path, or to an open descriptor of this process.

    ``/dev/stdout`` leads to a descriptor, and from there to whatever the shell has opened: that file is not
    ours to replace, so the way ends at the descriptor.
    """
    if str(path) == STANDARD:
        if sys.stdout is None or sys.stdout.name == os.devnull:  # as the launcher leaves it
            raise ConvError("it is closed; name a file with -o")
        return sys.stdout.fileno()
    here = os.fspath(path)
    for _ in range(_LINKS):
        folder, name = os.path.split(here)
        folder = os.path.realpath(folder)
        if name.isdecimal() and folder in ("/dev/fd", f"/proc/{os.getpid()}/fd"):
            return int(name)
        place = Path(folder, name)
        if not place.is_symlink():
            return place
        here = str(followed(place))
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


@contextmanager
def writing(descriptor: int, path: StrPath, seekable: bool) -> Iterator[IO[bytes]]:
    """Yield an open descriptor as a binary file whose errors name ``path``; the descriptor stays open."""
    # A buffer of our own even for standard output: at exit, Python would try again what could not be written.
    raw = _Raw(descriptor, shown(path), seekable)
    # HDF5 reads it back
    fp = io.BufferedRandom(raw, 1 << 16) if seekable else io.BufferedWriter(raw, 1 << 16)
    try:
        yield fp
        if not fp.closed:
            fp.flush()
    finally:
        raw.discard = True
        fp.close()


class _Raw(io.FileIO):
    """An open output; its errors name it.

    All data goes through :meth:`write`: libraries that get hold of the descriptor write behind our back, and
    report a full disk in words of their own.
    """

    def __init__(self, descriptor: int, name: str, seekable: bool) -> None:
        super().__init__(descriptor, "r+b" if seekable else "wb", closefd=False)
        self.name = name  # a text, as libraries expect: Python would put the descriptor's number here
        self._seekable = seekable
        self.discard = False  # after a failure: what is still in a buffer goes nowhere

    def write(self, data: ReadableBuffer) -> int:
        if self.discard:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise ConvError(f"cannot be written: {reason(error)}", subject=self.name) from None

    def seekable(self) -> bool:
        # A redirected standard output may be in append mode, or hold something before us: never seek there.
        return self._seekable

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")
