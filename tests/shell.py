"""Run the command as a person does: a process of its own, bytes in, bytes out."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import sys
import time
from pathlib import Path

SAMPLES = Path(__file__).parents[1] / "samples"


def convcli(
    *arguments: object, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "80", "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, "-m", "convcli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        cwd=cwd,
        env=environment,
        timeout=60,
        check=False,
    )


def ok(*arguments: object, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    done = convcli(*arguments, stdin=stdin, cwd=cwd)
    assert done.returncode == 0, done.stderr.decode()
    return done


def writes(process: subprocess.Popen[bytes], folder: Path) -> bool:
    """Tell whether a process has begun an output in a folder: a file without a name yet, or a temporary."""
    with contextlib.suppress(OSError):  # it ends, or closes one of them
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            name = str(link.readlink())
            if name.startswith(f"{folder.resolve()}/") and (
                name.endswith(" (deleted)") or ".convcli-" in name
            ):
                return True
    return False


def wait_until_it_writes(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait until a process has begun an output, or has ended; at most half a minute."""
    deadline = time.monotonic() + 30
    while process.poll() is None and not writes(process, folder) and time.monotonic() < deadline:
        time.sleep(0.001)


def as_user(uid: int) -> None:
    """Become another user, in a child of root's before it begins; one who may still read the Python that runs."""
    libc = ctypes.CDLL(None)
    libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    read_all = 1 << 2  # CAP_DAC_READ_SEARCH
    header = struct.pack("Ii", 0x20080522, 0)
    if libc.capset(header, struct.pack("6I", read_all, read_all, read_all, 0, 0, 0)):
        raise OSError("capset")
    libc.prctl(47, 2, 2, 0, 0)  # PR_CAP_AMBIENT_RAISE: kept when the program starts
