"""Random kills of workers, the scheduler and the client of a job on a Dask cluster; part of `make faults`.

`python -m tests.faults.cluster KILLS GB` prints the table for a volume of another size (10 kills each, 0.1 GB).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.cluster import SECONDS, Cluster

WORKERS = 2
HEAD = (
    "| killed | kills | runs | boxes | lost | done again | hash | messages | seconds |",
    "|---|---|---|---|---|---|---|---|---|",
)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _done(folder: Path) -> list[int]:
    """Return the boxes that the logs say are done, as often as they say it."""
    lines = [line for log in folder.glob("*.log") for line in log.read_text().splitlines()]
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return [row["box"] for row in rows if "error" not in row]


def _run(
    call: list[str], folder: Path, cluster: Cluster, kind: str, kills: int, rng: random.Random
) -> tuple[int, int, str]:
    """Run the job until it ends or is ended, with at most so many kills; return these, the code, what it said."""
    process = subprocess.Popen(call, cwd=folder, stderr=subprocess.PIPE, text=True)
    done, count, deadline = len(_done(folder / "b.npy.job")), 0, time.monotonic() + 4 * SECONDS
    while process.poll() is None and count < kills and time.monotonic() < deadline:
        time.sleep(rng.uniform(0.05, 0.5))
        now = len(_done(folder / "b.npy.job"))
        if process.poll() is not None or now == done:  # each kill comes after some progress
            continue
        done = now
        if kind == "worker":
            if workers := cluster.workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                count += 1
            continue
        (cluster.scheduler if kind == "scheduler" else process).kill()
        count += 1
        break
    _, said = process.communicate(timeout=8 * SECONDS)
    return count, process.returncode, said


def kills(kind: str, number: int, gigabytes: float, folder: Path) -> tuple[str, list[str]]:
    """Kill one kind of process so often; return the row of the table, and problems."""
    depth = max(8, round(gigabytes * 1e9 / 2 / 512 / 512))
    np.save(folder / "a.npy", np.random.default_rng(1).integers(0, 60_000, (depth, 512, 512), np.uint16))
    convcli = [sys.executable, "-m", "convcli"]
    call = [*convcli, "filter", "a.npy", "--axes", "zyx", "-k", "gaussian:sigma=3", "--range", "clip", "-q"]
    subprocess.run([*call, "-o", "one.npy"], cwd=folder, check=True)
    total = runs = 0
    rng, odd, began = random.Random(kind), list[str](), time.monotonic()
    with Cluster(folder / "dask", WORKERS) as cluster:
        cluster.wait()
        call += ["-o", "b.npy", "--keep-job", "--memory", "420MB", "--workers", cluster.address]
        while True:
            count, code, said = _run(call, folder, cluster, kind, number - total, rng)
            total, runs = total + count, runs + 1
            if code == 0 or runs > 3 * number:
                break
            if code != -signal.SIGKILL and (code != 1 or said.count("\n") != 1):
                odd.append(f"exit {code}: {said}")
            if kind == "scheduler":
                cluster.restart()
                cluster.wait()
    boxes, done = (
        json.loads((folder / "b.npy.job/job.json").read_text())["boxes"],
        _done(folder / "b.npy.job"),
    )
    lost, again = boxes - len(set(done)), len(done) - len(set(done))
    same = (folder / "b.npy").exists() and _hash(folder / "b.npy") == _hash(folder / "one.npy")
    problems = [f"{kind}: {text}" for text in odd]
    problems += [f"{kind}: {lost} boxes lost"] * (lost > 0)
    problems += [f"{kind}: {again} boxes done again"] * (again > 2 * WORKERS * total)
    problems += [f"{kind}: another result than one process's"] * (not same)
    seconds = time.monotonic() - began
    cells = (
        kind,
        total,
        runs,
        boxes,
        lost,
        again,
        "equal" if same else "DIFFERS",
        len(odd),
        f"{seconds:.0f}",
    )
    return "| " + " | ".join(map(str, cells)) + " |", problems


def table(number: int = 10, gigabytes: float = 0.1) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of the table, each with its problems."""
    for kind in ("worker", "scheduler", "client"):
        with tempfile.TemporaryDirectory() as name:
            yield kills(kind, number, gigabytes, Path(name))


if __name__ == "__main__":
    print(*HEAD, sep="\n")
    found = []
    for text, wrong in table(int(sys.argv[1]), float(sys.argv[2])):
        print(text, flush=True)
        found += wrong
    print(*found, sep="\n")
    sys.exit(1 if found else 0)
