"""Run a command under strace, and say what it did that no command may do.

Python's audit hook (`tests/test_alone.py`) sees Python's own calls alone; strace sees those of every library.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

OURS = Path(__file__).parents[2]
NETWORK = "%network"
CALLS = (
    *("open", "openat", "openat2", "creat", "execve", "execveat", "mmap", "truncate"),
    *(
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "rmdir",
        "mkdir",
        "mkdirat",
        "mknod",
        "mknodat",
    ),
    *(
        "link",
        "linkat",
        "symlink",
        "symlinkat",
        "chmod",
        "fchmodat",
        "chown",
        "lchown",
        "fchownat",
        "setxattr",
    ),
)
LIBRARIES = (
    *sysconfig.get_paths().values(),
    sys.base_prefix,
    sys.prefix,
    str(OURS / "convcli"),
    str(OURS / "kernels"),
)
SYSTEM = ("/proc/", "/sys/", "/usr/", "/lib", "/dev/null", "/dev/urandom", "/etc/ld.so.")
SETTINGS = (
    "/etc/locale.alias",
    "/etc/ssl/openssl.cnf",
    "/etc/localtime",
    str(OURS),
)  # OpenSSL comes with hashlib
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+|0x[0-9a-f]+)(?:<(.*?)>)?")
_NAMED = re.compile(r'(?:(AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
_SOCKET = re.compile(r"<socket:\[\d+\]>")
_MAPPED = re.compile(r", \d+<([^>]*)>, ")


def available() -> bool:
    """Tell whether strace is here and may trace."""
    if not shutil.which("strace"):
        return False
    return (
        subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode == 0
    )


@dataclass(frozen=True)
class Allowed:
    """What one command may touch: files by name in its folder; the program that it may start, and what it may keep.

    ``extra`` are the programs and the places that a package asks for which is no part of the usual installation;
    ``socketpair`` lets processes of one command speak to each other.
    """

    reads: frozenset[str]
    writes: frozenset[str]
    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Watched:
    """A command that has ended: its exit code, its words, how many calls were looked at, and its faults."""

    code: int
    words: str
    calls: int
    faults: tuple[str, ...]


def watch(command: list[str], folder: Path, allowed: Allowed, stdin: bytes = b"") -> Watched:
    """Run a command in a folder; ``tmp`` and ``home`` inside it are its temporary and its home directory."""
    for name in ("tmp", "home", ".trace"):
        (folder / name).mkdir(exist_ok=True)
    trace = ["strace", "-ff", "-qq", "-y", "-s", "4096", "-e", "signal=none", "-o", str(folder / ".trace/t")]
    done = subprocess.run(
        [*trace, "-e", f"trace={','.join((*CALLS, NETWORK))}", *command],
        input=stdin,
        capture_output=True,
        cwd=folder,
        env={
            **{name: os.environ[name] for name in ("PATH", "LANG", "VIRTUAL_ENV") if name in os.environ},
            "HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp"), "NO_COLOR": "1",
            "PYTHONDONTWRITEBYTECODE": "1", "PYTHONWARNINGS": "error", "PYTHONPATH": str(OURS),
        },
        timeout=120,
        check=False,
    )  # fmt: skip
    lines = [
        line
        for path in sorted((folder / ".trace").iterdir())
        for line in path.read_text("latin-1").splitlines()
    ]
    shutil.rmtree(folder / ".trace")
    pairs: set[str] = set()
    if "socketpair" in allowed.extra:
        pairs.update(*(_SOCKET.findall(line) for line in lines if line.startswith("socketpair(AF_UNIX, ")))
    looked_at = [line for line in lines if not _within(pairs, line)]
    faults = list(
        dict.fromkeys(fault for line in looked_at for fault in _faults(line, folder, command[0], allowed))
    )
    left = [f"left in {name}: {path.name}" for name in ("tmp", "home") for path in (folder / name).iterdir()]
    left = [] if "home" in allowed.extra else left
    return Watched(done.returncode, done.stderr.decode(errors="replace"), len(lines), tuple(faults + left))


def _within(pairs: set[str], line: str) -> bool:
    """Tell whether a call concerns only sockets of pairs, which have no name that anything could connect to."""
    found = set(_SOCKET.findall(line))
    calls = ("socketpair(", "getsockname(", "send", "recv")
    return bool(found) and found <= pairs and line.startswith(calls)


def _faults(line: str, folder: Path, program: str, allowed: Allowed) -> Iterator[str]:
    found = _CALL.match(line)
    if not found:
        return
    call, arguments, result, opened = found.groups()
    if call == "mmap":
        mapped = _MAPPED.search(arguments)
        if mapped and _inside(mapped[1], folder) is not None:
            yield f"maps {mapped[1]}"
        return
    names = list(_names(arguments, folder))
    if (
        not names
        or "sa_family" in arguments
        or call.startswith(("socket", "connect", "bind", "send", "recv"))
    ):
        yield f"network: {line[:200]}"
    elif result.startswith("-"):
        return
    elif call.startswith("execve"):
        if names[0] not in (program, *allowed.extra):
            yield f"starts {names[0]}"
    elif call.startswith(("open", "creat")):
        changes = (
            call == "creat" or re.search(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND", arguments) is not None
        )
        yield from _touched((opened or names[0]).removesuffix(" (deleted)"), folder, changes, allowed)
    else:
        for name in names:
            yield from _touched(name, folder, True, allowed)


def _names(arguments: str, folder: Path) -> Iterator[str]:
    for _, base, name in _NAMED.findall(arguments):
        yield os.path.normpath(Path(base or folder, name))


def _inside(name: str, folder: Path) -> str | None:
    path = os.path.realpath(name)
    root = os.path.realpath(folder)
    return os.path.relpath(path, root) if path == root or path.startswith(root + os.sep) else None


def _touched(name: str, folder: Path, changes: bool, allowed: Allowed) -> Iterator[str]:
    inside = _inside(name, folder)
    what = "changes" if changes else "reads"
    if inside is None:
        device = name in ("/dev/null", "/dev/tty") or name.startswith(("pipe:", "anon_inode:", "/proc/self/"))
        if not device and (
            changes or not (name.startswith((*LIBRARIES, *SYSTEM, *allowed.extra)) or name in SETTINGS)
        ):
            yield f"{what} {name}"
        return
    first = Path(inside).parts[0] if inside != "." else ""
    if Path(name).is_dir() and not changes:
        return
    nameless = re.search(r"#\d+( \(deleted\))?$", inside)  # as the kernel writes what has no name
    temporary = ".convcli-" in inside or first == "tmp" or nameless
    if (
        not temporary
        and first not in (*allowed.writes, *allowed.extra)
        and (changes or inside not in allowed.reads)
    ):
        yield f"{what} {inside}"
