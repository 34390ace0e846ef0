"""The simulation of large jobs: its simple cases by hand, its table in the documents, and the script for Slurm."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import scale
from tests.shell import bash, ok

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/scale.md").read_text()
JOB = scale.Job(40 * 64**3, box=64, chunk=32, halo=3)


def test_a_box_reads_the_chunks_that_its_halo_touches() -> None:
    """Counted chunk by chunk: a box of 64 from 64 on, with 3 more on each side, in chunks of 32."""
    touched = {place // 32 for place in range(64 - 3, 128 + 3)}
    assert JOB.reads == len(touched) ** 3 and JOB.writes == 2**3 and JOB.boxes == 40
    assert JOB.over == len(touched) ** 3 * 32**3 / 64**3


def test_one_worker_does_one_box_after_the_other() -> None:
    fast = scale.Store(0, 1e9, 1e15)
    seconds = JOB.samples / 2 / 1e9 + JOB.samples * scale.BYTE + 64**3 * scale.VOXEL + scale.BOX + scale.TASK
    assert scale.simulate(JOB, fast, 1).hours * 3600 == pytest.approx(40 * seconds, rel=1e-9)
    assert scale.simulate(JOB, fast, 4).hours * 3600 == pytest.approx(10 * seconds, rel=0.05)
    many = scale.simulate(JOB, fast, 1000).hours * 3600
    assert many == pytest.approx(40 * scale.TASK + seconds - scale.TASK, rel=1e-9)


def test_what_is_shared_bounds_all_workers_and_killed_ones_cost_their_boxes() -> None:
    narrow = scale.Store(0, 1e12, 1e6)
    found = scale.simulate(JOB, narrow, 100)
    assert found.hours * 3600 == pytest.approx(40 * JOB.bytes / 1e6, rel=0.01) and found.store > 0.99
    assert found.again == 0 < scale.simulate(JOB, narrow, 100, lifetime=0.1).again


def test_the_table_of_the_documents_is_what_it_prints() -> None:
    for words in ((), ("--boxes", "40")):
        call = [sys.executable, "benchmarks/scale.py", *words]
        printed = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        assert words or all(line in PAGE for line in printed.splitlines())
        assert printed.count("\n") == 14


def test_parts_of_an_array_of_jobs_make_one_output(tmp_path: Path) -> None:
    """Run the script for Slurm with four parts in place of a hundred, the last ones first."""
    script = next(one for one in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) if "#SBATCH" in one)
    assert "--array=1-100" in script and "$SLURM_ARRAY_TASK_ID/100" in script
    volume = np.random.default_rng(1).integers(0, 900, (24, 20, 30), dtype=np.uint16)
    np.save(tmp_path / "big.npy", volume)
    ok("filter", "big.npy", "--axes", "zyx", "-k", "identity:1", "-q", "-o", "big.zarr", cwd=tmp_path)
    ok("filter", "big.zarr", "-k", "gaussian:sigma=2", "-q", "-o", "one.zarr", cwd=tmp_path)
    (tmp_path / "bin").mkdir()
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    for part in (4, 3, 2, 1):
        assert not (tmp_path / "smooth.zarr").exists()
        line = f"export SLURM_ARRAY_TASK_ID={part}\n" + script.replace("/100", "/4")
        done = bash(line, tmp_path, {**os.environ, "PATH": path})
        assert done.returncode == 0, done.stderr
    files = [
        {str(one.relative_to(top)): one.read_bytes() for one in top.rglob("*") if one.is_file()}
        for top in (tmp_path / "one.zarr", tmp_path / "smooth.zarr")
    ]
    assert files[0] == files[1] and len(files[0]) > 1
