"""Standard streams that are closed: what is written to files is written all the same, and nothing fails inside."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shell import SAMPLES

COMMANDS = {
    "filter": f"filter {SAMPLES / 'house.png'} -k box:3 -o o.png",
    "kernels": "kernels show hedge",
    "json": "kernels list --json",
    "matrix": "matrix --input 4x4 -k 3x3 -o o.csv",
}


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("name", COMMANDS)
def test_files_are_written_all_the_same(name: str, closed: str, tmp_path: Path) -> None:
    line = f"{shlex.quote(sys.executable)} -W error -m convcli {COMMANDS[name]} {closed}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")
    assert all(path.stat().st_size > 50 for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == ("-o" in COMMANDS[name])


@pytest.mark.parametrize("unheard", ["2>/dev/full", "2</dev/null"])
def test_notes_that_cannot_be_written_are_no_failure(unheard: str, tmp_path: Path) -> None:
    job = f"filter {SAMPLES / 'noisy-signal.csv'} -k smooth3 -o o.csv"  # a note says which columns
    line = f"{shlex.quote(sys.executable)} -m convcli {job} {unheard}"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, b"o.csv\n")
    assert (tmp_path / "o.csv").stat().st_size > 50


def test_data_for_a_closed_output_are_not_lost_in_silence(tmp_path: Path) -> None:
    line = f"{shlex.quote(sys.executable)} -m convcli filter {SAMPLES / 'house.png'} -k box:3 -o - >&-"
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == b"error: standard output: it is closed; name a file with -o\n"
