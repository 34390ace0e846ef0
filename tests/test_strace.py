"""Two commands of `make strace`, and a program that does all that none may do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cluster import Cluster
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


def test_of_a_cluster_only_the_address_that_is_named_is_reached(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    np.save(tmp_path / "a.npy", np.arange(2000, dtype=np.uint8).reshape(40, 50))
    trace = [
        "strace",
        "-ff",
        "-qq",
        "-yy",
        "-s",
        "200",
        "-e",
        "signal=none",
        "-e",
        "trace=%network",
        "-o",
        "trace",
    ]
    with Cluster(tmp_path / "cluster", workers=1) as one:
        one.wait()
        words = "filter", "a.npy", "--axes", "YX", "-k", "box:3", "-o", "b.npy", "--workers", one.address
        call = [*trace, sys.executable, "-m", "convcli", *words]
        subprocess.run(call, cwd=tmp_path, check=True, capture_output=True)
    lines = [line for path in tmp_path.glob("trace.*") for line in path.read_text("latin-1").splitlines()]
    host, port = one.address.removeprefix("tcp://").split(":")
    reached = [line for line in lines if line.startswith("connect(") and "AF_UNIX" not in line]
    assert reached
    assert all(f'sin_port=htons({port}), sin_addr=inet_addr("{host}")' in line for line in reached)
    sent = [line for line in lines if line.startswith("send") and "<UNIX" not in line]
    assert sent
    assert all(f"->{one.address.removeprefix('tcp://')}]>" in line for line in sent)
    assert not [line for line in lines if line.startswith(("bind(", "listen(", "accept"))]
