"""Jobs on a Dask cluster: the same samples as scipy's, whoever is killed meanwhile, and one line for what is wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from convcli import __version__ as convcli_version
from convcli.common import ConvError
from convcli.execution import cluster as dask
from convcli.execution.cluster import Held
from convcli.execution.folder import JobFolder, Log
from tests.cli.test_job import command, expected, lines, stored, volume
from tests.cluster import Cluster, until
from tests.faults.cluster import kills
from tests.shell import convcli, ok, refuses

distributed = pytest.importorskip("distributed")

__all__ = ["volume"]  # a fixture

SLOW = """
import sys, threading
if "spawn_main" in " ".join(sys.orig_argv):
    import os, time
    from convcli.execution.workers import Worker
    compute = Worker.compute
    def slow(self, index):
        time.sleep(0.15)
        if index == 5 and os.path.exists("killer"):
            os._exit(9)
        return compute(self, index)
    Worker.compute = slow
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("dask")
    with Cluster(folder / "cluster", patch=SLOW) as one:
        one.wait()
        yield one


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    call = [sys.executable, "-m", "convcli", *arguments]
    return subprocess.Popen(call, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def test_a_cluster_writes_what_one_process_writes(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    told = ok(*command("b.zarr", "--workers", cluster.address, source="a.zarr"), cwd=tmp_path)
    assert told.stderr == b""
    ok(*command("c.zarr", source="a.zarr"), cwd=tmp_path)
    first, second = (
        {str(one.relative_to(top)): one.read_bytes() for one in top.rglob("*") if one.is_file()}
        for top in (tmp_path / "b.zarr", tmp_path / "c.zarr")
    )
    assert first == second
    assert np.array_equal(stored(tmp_path / "b.zarr"), expected(volume))
    assert not (tmp_path / "b.zarr.job").exists()


def test_a_mask_and_a_range_are_the_same_for_all_workers(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "mask.npy", (volume % 5 > 0).astype(np.uint8))
    call = ["filter", "a.npy", "--axes", "zyx", "-k", "box:3", "--mask", "mask.npy", "--missing", "skip",
            "--range", "minmax", "-q", "-o"]  # fmt: skip
    ok(*call, "b.tif", cwd=tmp_path)
    ok(*call, "c.tif", "--workers", cluster.address, cwd=tmp_path)
    assert (tmp_path / "b.tif").read_bytes() == (tmp_path / "c.tif").read_bytes()


def test_a_killed_worker_is_replaced_and_its_box_done_again(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    process = started(tmp_path, *command("b.npy", "--workers", cluster.address, "--keep-job"))
    for count in (1, 2):
        until(lambda: lines(tmp_path / "b.npy.job") >= count and cluster.workers, "no box was done")  # noqa: B023
        os.kill(cluster.workers[0], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))
    boxes = json.loads((tmp_path / "b.npy.job/job.json").read_text())["boxes"]
    assert lines(tmp_path / "b.npy.job") <= boxes + 2  # those in flight, at most, twice


def test_a_killed_client_leaves_a_job_that_the_same_command_ends(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    call = command("b.zarr", "--workers", cluster.address, source="a.zarr")
    folder = tmp_path / "b.zarr.job"
    for kill in range(2):
        process = started(tmp_path, *call)
        until(lambda: lines(folder) > kill, "no box was done")  # noqa: B023
        process.kill()
        process.communicate()
        assert not (tmp_path / "b.zarr").exists()
    ok(*call, "--keep-job", cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / "b.zarr"), expected(volume))
    boxes = json.loads((folder / "job.json").read_text())["boxes"]
    assert lines(folder) <= boxes + 2 * 2 * 2  # those in flight, at most, twice


def test_a_box_that_ends_three_workers_is_reported_and_the_rest_goes_on(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    killer = cluster.folder / "killer"
    killer.touch()
    call = command("b.npy", "--workers", cluster.address)
    try:
        refuses(
            "1 of 8 boxes failed, the first, 5, with: it has ended 3 workers",
            "'a.npy': ",
            *call,
            cwd=tmp_path,
        )
    finally:
        killer.unlink()
    state = json.loads(ok("job", "b.npy", "--json", cwd=tmp_path).stdout)
    assert (state["done"], [one["box"] for one in state["failed"]]) == (7, [5])
    ok(*call, cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))


@pytest.mark.parametrize("full", [1, 2], ids=["one worker", "both"])
@pytest.mark.parametrize("suffix", ["npy", "zarr"])
def test_a_worker_whose_disk_is_full(
    cluster: Cluster, volume: np.ndarray, suffix: str, full: int, tmp_path: Path
) -> None:
    """What one cannot write another one does, or one line says it; the same command goes on where there is room."""
    until(lambda: len(cluster.workers) == 2, "a worker is missing")
    call = command(f"b.{suffix}", "--workers", cluster.address)
    workers = cluster.workers[:full]
    before = [resource.prlimit(one, resource.RLIMIT_FSIZE) for one in workers]
    for one, (_, most) in zip(workers, before, strict=True):
        resource.prlimit(one, resource.RLIMIT_FSIZE, (3000, most))
    try:
        done = convcli(*call, cwd=tmp_path)
    finally:
        for one, limits in zip(workers, before, strict=True):
            resource.prlimit(one, resource.RLIMIT_FSIZE, limits)
    assert done.returncode == 1 or full == 1
    if done.returncode:
        (told,) = done.stderr.decode().splitlines()
        assert "cannot be written: File too large. What is done is kept: the same command goes on" in told
        assert not (tmp_path / f"b.{suffix}").exists()
        ok(*call, cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / f"b.{suffix}"), expected(volume))


def test_a_killed_scheduler_is_one_line_and_the_same_command_goes_on(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    call = command("b.npy", "--workers", cluster.address)
    process = started(tmp_path, *call)
    until(lambda: lines(tmp_path / "b.npy.job") > 0, "no box was done")
    cluster.scheduler.kill()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and errors.count(b"\n") == 1, errors
    assert (
        b"the connection to the Dask scheduler was lost. What is done is kept: the same command goes on"
        in errors
    )
    cluster.restart()
    cluster.wait()
    ok(*call, cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))


def test_the_address_of_the_dashboard_is_told_to_who_asks(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    call = [one if one != "-q" else "-v" for one in command("b.npy", "--workers", cluster.address)]
    assert "note: Dask dashboard at http://127.0.0.1:" in ok(*call, cwd=tmp_path).stderr.decode()


def test_another_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text("import convcli\nconvcli.__version__ = '0.0.9'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patch"))
    call = [sys.executable, "-m", "convcli", *command("b.npy", "--workers", cluster.address)]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1), done.stderr
    assert b"has convcli 0.1.0, and this is 0.0.9: install that there" in done.stderr
    assert not (tmp_path / "b.npy.job").exists()


def test_no_scheduler_is_one_line(volume: np.ndarray, tmp_path: Path) -> None:
    """Nothing listens; something listens that never answers; something else answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        ports = [1, silent.getsockname()[1], other.getsockname()[1]]
        for port in ports:
            address = f"tcp://127.0.0.1:{port}"
            done = convcli(*command("b.npy", "--workers", address), cwd=tmp_path)
            said = done.stderr.decode()
            assert (done.returncode, said.count("\n")) == (1, 1), said
            assert said.startswith("error: ") and f"{address}: no Dask scheduler answers" in said, said
    assert not (tmp_path / "b.npy.job").exists()


def test_an_output_that_another_run_writes_is_refused(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    call = command("b.npy", "--workers", cluster.address)
    process = started(tmp_path, *call)
    until(lambda: lines(tmp_path / "b.npy.job") > 0, "no box was done")
    process.send_signal(signal.SIGSTOP)
    refuses("another process is working", "'b.npy.job': ", *call, cwd=tmp_path)
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_boxes_of_a_cluster_are_verified_without_it(
    cluster: Cluster, volume: np.ndarray, tmp_path: Path
) -> None:
    ok(*command("b.npy", "--workers", cluster.address, "--keep-job"), cwd=tmp_path)
    file = tmp_path / "b.npy.job/job.json"
    file.write_text(file.read_text().replace(cluster.address, "tcp://127.0.0.1:1"))
    assert "8 of 8 boxes" in ok("job", "b.npy", "--verify", "100%", cwd=tmp_path).stdout.decode()


@pytest.mark.parametrize("text", ["0", "-1", "many", "tcp://", "tcp://host", "http://host:80", "1.5"])
def test_what_is_neither_a_number_nor_an_address_is_refused(
    text: str, volume: np.ndarray, tmp_path: Path
) -> None:
    done = convcli(*command("b.npy", f"--workers={text}"), cwd=tmp_path)
    assert done.returncode == 2 and b"is no number of workers: write 4, or tcp://HOST:8786" in done.stderr


def test_a_scheduler_is_named_by_workers(tmp_path: Path) -> None:
    done = convcli("filter", "a.npy", "-k", "box:3", "--scheduler", "tcp://host:8786", cwd=tmp_path)
    assert done.returncode == 2 and b"--workers tcp://HOST:8786 names a Dask scheduler" in done.stderr


def test_a_worker_that_sees_another_file_system_or_is_another_version_says_so(tmp_path: Path) -> None:
    for version, words in (
        (convcli_version, "it does not see .*b.npy.job: all machines"),
        ("0.0.9", "it has convcli"),
    ):
        with pytest.raises(ConvError, match=words):
            Held(tmp_path / "b.npy.job", b"", version, "0").do([1])


def begun_job(folder: Path) -> JobFolder:
    job = JobFolder(folder / "out.npy.job")
    about = {"identity": {}, "plan": {"engine": "numpy", "algorithms": [], "steps": [1]}, "boxes": 200}
    job.start({**about, "command": [], "folder": "."}, Path.touch)
    return job


def row(index: int) -> dict[str, Any]:
    return {"box": index, "checksum": 0, "seconds": 0.0, "only": None}


def test_a_task_of_several_boxes_goes_on_where_its_worker_ended(tmp_path: Path) -> None:
    job, begun = begun_job(tmp_path), list[int]()

    class Ended(BaseException):
        pass

    class Few(Held):
        def _begin(self) -> Any:
            log = stack.enter_context(job.log(kept=False))
            return SimpleNamespace(log=log, do=partial(self.one, log), close=lambda: None)

        def one(self, log: Log, index: int) -> None:
            begun.append(index)
            if begun == [0, 1, 2, 3]:
                raise Ended
            log(row(index))

    with ExitStack() as stack:
        held = Few(job.path, b"", convcli_version, "a1")
        with pytest.raises(Ended):
            held.do(range(6))
        held.do(range(6))
    assert begun == [0, 1, 2, 3, 3, 4, 5]
    assert job.done() == {*range(6)}
    assert not [*job.path.glob("tries-*")]


def test_boxes_that_take_no_time_share_tasks_and_one_that_ends_workers_is_found_among_them(
    tmp_path: Path,
) -> None:
    """Box 90 ends every worker; what was in a task behind it is done alone, what was before it is not done again."""
    job, tasks = begun_job(tmp_path), list[list[int]]()

    class Task:
        def __init__(self, some: list[int]) -> None:
            killer = 90 in some
            for index in some[: some.index(90) if killer else None]:
                log(row(index))
            self._error = distributed.KilledWorker("a", None, 4) if killer else None
            self.status = "error" if killer else "finished"

        def exception(self) -> Exception | None:
            return self._error

        def add_done_callback(self, told: Callable[[Task], None]) -> None:
            told(self)

    class Client:
        def submit(self, work: object, _: object, some: list[int], *more: object, **options: object) -> Task:
            if work is not dask.do:
                return Task([])
            tasks.append(some)
            return Task(some)

        def nthreads(self) -> dict[str, int]:
            return {"a": 1}

        def cancel(self, *_: object, **__: object) -> None:
            pass

    one: Any = object.__new__(dask.Cluster)
    one._client, one._distributed, one.threads, one.address = Client(), distributed, 1, "tcp://a:1"
    with job.log() as log:
        ended = [found["box"] for found in one.run(SimpleNamespace(folder=job.path), range(200))]
    assert sorted(ended) == [*range(200)]
    assert job.done() == {*range(200)} - {90}
    assert job.rows()[90]["error"] == "it has ended 3 workers"
    times = Counter(index for some in tasks for index in some)
    assert max(map(len, tasks)) > 8
    assert {index for index, n in times.items() if n > 1} <= {*next(some for some in tasks if 90 in some)}
    assert all(times[index] == 1 for index in range(90))
    assert [len(some) for some in tasks if 90 in some][1:] == [1, 1, 1, 1]


def test_the_table_of_kills_is_made(tmp_path: Path) -> None:
    """One kill of the client, as `make faults` makes ten of each kind."""
    row, problems = kills("client", 1, 0.01, tmp_path)
    assert problems == []
    assert row.startswith("| client | 1 | 2 | ")
