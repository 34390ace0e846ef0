"""Two commands of `make strace`, and a program that does all that none may do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.strace.__main__ import perform
from tests.strace.jobs import JOBS
from tests.strace.watch import Allowed, available, watch

pytestmark = pytest.mark.skipif(not available(), reason="strace is not here, or may not trace")


@pytest.mark.parametrize("name", ["filter over an old target", "refused: list.ts"])
def test_only_what_is_named(name: str) -> None:
    done = perform(JOBS[name])
    assert done.faults == ()
    assert done.calls > 100


BAD = """
import mmap, os, socket, subprocess, tempfile
from pathlib import Path
Path("secret").read_text()
mmap.mmap(os.open("a", os.O_RDONLY), 0, prot=mmap.PROT_READ)
Path("b").write_text("x")
os.rename("b", "c")
os.unlink("d")
Path("home/e").touch()
tempfile.mkstemp()
socket.socket()
subprocess.run(["true"])
"""


def test_what_no_command_may_do_is_seen(tmp_path: Path) -> None:
    for name in ("a", "d", "secret"):
        (tmp_path / name).write_text("x")
    done = watch([sys.executable, "-c", BAD], tmp_path, Allowed(frozenset("a"), frozenset()))
    assert done.code == 0, done.words
    seen = "\n".join(done.faults)
    for fault in (
        "reads secret",
        "maps ",
        "changes b",
        "changes c",
        "changes d",
        "changes home/e",
        "network: socket(",
    ):
        assert fault in seen
    assert "starts /" in seen and "left in home: e" in seen and "left in tmp: tmp" in seen
    assert "reads a" not in done.faults
