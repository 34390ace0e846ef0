"""Plug-ins: a foreign package's format, kernels and pool, installed from its folder; others wait for none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tests.shell import install

HERE = Path(__file__).parent / "plugin"
GRID = "ncols 4\nnrows 3\nNODATA_value -9999\n1 2 3 9\n5 -9999 7 8\n9 13 11 12\n"
VALUES = np.array([[1, 2, 3, 9], [5, np.nan, 7, 8], [9, 13, 11, 12]])


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the package is installed to."""
    target = tmp_path_factory.mktemp("site")
    install(HERE, target)
    return target


def run(site: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "COLUMNS": "80", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", "-m", "convcli", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def declare(site: Path, group: str, name: str, module: str) -> None:
    """Write a module that is a plug-in, as an installed package would lie there."""
    site.mkdir(exist_ok=True)
    (site / f"{name}.py").write_text(module)
    (site / f"{name}-1.dist-info").mkdir()
    (site / f"{name}-1.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n"
    )
    entry = f"[convcli.{group}]\n{name} = {name}:IT\n"
    (site / f"{name}-1.dist-info" / "entry_points.txt").write_text(entry)


def test_a_foreign_package_of_under_fifty_lines_adds_a_format(installed: Path, tmp_path: Path) -> None:
    assert len((HERE / "esri_grid.py").read_text().split("\ndef ramp")[0].splitlines()) < 50
    (tmp_path / "a.asc").write_text(GRID)
    done = run(installed, tmp_path, "filter", "a.asc", "-k", "1,2,4", "--padding", "0", "-o", "b.grd")
    assert (done.returncode, done.stdout) == (0, "b.grd\n"), done.stderr
    weights = np.array([1.0, 2, 4])
    zeroed, present = np.nan_to_num(VALUES), (~np.isnan(VALUES)).astype(float)
    mean = ndimage.correlate1d(zeroed, weights, mode="constant")[:, 1:-1]
    mean *= 7 / ndimage.correlate1d(present, weights, mode="constant")[:, 1:-1]
    mean[1, 0] = -9999  # keep: the nodata value of the grid
    lines = (tmp_path / "b.grd").read_text().splitlines()
    assert lines[:3] == ["ncols 2", "nrows 3", "nodata_value -9999"]
    np.testing.assert_allclose(np.loadtxt(lines[3:]), mean, rtol=1e-15)
    (tmp_path / "grid.unknown").write_text(GRID)  # its first bytes tell
    assert run(installed, tmp_path, "filter", "grid.unknown", "-k", "1", "-o", "c.csv").returncode == 0
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    unknown = run(installed, tmp_path, "filter", "a.csv", "-k", "1", "--format", "grid")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "did you mean esri-grid?" in unknown.stderr


def test_it_adds_kernels_and_a_pool(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n2\n5\n11\n")

    def column(*words: str) -> list[str]:
        done = run(installed, tmp_path, "filter", "a.csv", *words, "--padding", "valid", "-yo", "b.csv")
        assert done.returncode == 0, done.stderr
        return (tmp_path / "b.csv").read_text().split()[1:]

    assert column("-k", "forward-difference") == ["1.0", "3.0", "6.0"]
    assert column("-k", "ramp:3") == ["12.0", "27.0"]
    assert column("-k", "ramp:3", "--pool", "sum:2") == ["39.0"]
    shaped = run(installed, tmp_path, "shape", "8x8", "pool:sum:2", "-q")
    assert (shaped.returncode, shaped.stdout) == (0, "4x4\n"), shaped.stderr
    listed = run(installed, tmp_path, "kernels", "list").stdout
    assert "forward-difference    1     2        the next sample minus this one\n" in listed
    assert "ramp                  any   3        weights that grow along the last axis\n" in listed
    assert "parameters as in ramp:3\n" in run(installed, tmp_path, "kernels", "show", "ramp").stdout


OTHER = "class E(BaseException):\n def __str__(self): raise ValueError\n"
NO_FORMAT = "from convcli.media.registry import Format\nIT = Format('x', {}, {}, '', '', '', ())"

RAISES = "from convcli.kernel.parametric import Formula\nIT = Formula('', {'size': '3'}, lambda *_: 1 / 0)"


@pytest.mark.parametrize(
    ("group", "module", "said"),
    [
        ("kernels", "import nowhere", "it fails: No module named 'nowhere'"),
        ("kernels", "IT = 3", "it is no Kernel or Formula"),
        ("kernels", "print('words')\nIT = 3", "it is no Kernel or Formula"),
        ("kernels", "raise SystemExit(0)", "it fails: 0"),
        ("kernels", f"{OTHER}raise E", "it fails: E"),
        ("kernels", RAISES, "it fails: division by zero"),
        ("formats", "IT = None", "it is no Format"),
        ("formats", NO_FORMAT.format("None", "bool"), "it fails: "),
        ("formats", NO_FORMAT.format("('.x',)", "lambda head: 1 / 0"), "it fails: division by zero"),
        ("formats", "raise ValueError('a\\nb\\x1b[2J' * 999)", "it fails: a"),
        ("pools", "import os\nos.nothing", "it fails: module 'os' has no attribute 'nothing'"),
        ("pools", "raise MemoryError", "it fails: MemoryError"),
    ],
)
def test_one_that_is_broken_is_one_line(group: str, module: str, said: str, tmp_path: Path) -> None:
    """It ends no process, prints nothing into data, and is named; what does not need it goes on."""
    declare(tmp_path / "site", group, "broken", module)
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    ask = {
        "kernels": ["-k", "broken"],
        "formats": ["-k", "1", "-o", "a.xyz"],
        "pools": ["--pool", "broken:2"],
    }
    done = run(tmp_path / "site", tmp_path, "filter", "a.csv", *ask[group])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith(f"error: plug-in broken (broken:IT): {said}")
    assert done.stderr.endswith(": repair or uninstall its package, broken\n")
    listed = run(tmp_path / "site", tmp_path, "kernels", "list")
    assert (listed.returncode, listed.stdout.count("\nsobel ")) == (0, 1)
    assert listed.stderr.count("note: plug-in broken (broken:IT): ") == (group == "kernels")


READS = """
from convcli.data.info import ArraySource
from convcli.media.registry import Format
import numpy as np
IT = Format('late', ('.late',), lambda head: head[:4] == b'LATE', 'late:source', 'late:sink', 'YX', ('float64',))
class Late(ArraySource):
    def read(self, box): {read}
def source(fp, options):
    {open}
    return Late(np.zeros((4, 4)), 'YX')
def sink(fp, name, info, options): {write}
"""
FINE: dict[str, str] = {"open": "", "read": "return ArraySource.read(self, box)", "write": "pass"}


@pytest.mark.parametrize("where", ["open", "read", "write"])
@pytest.mark.parametrize(("what", "said"), [("{}['a']", "'a'"), ("raise SystemExit(0)", "0")])
def test_one_that_fails_at_work_is_named(where: str, what: str, said: str, tmp_path: Path) -> None:
    """It is no internal error of ours, and cannot end a run as if it had been done."""
    declare(tmp_path / "site", "formats", "late", READS.format(**FINE | {where: what}))
    for name in "ab":
        (tmp_path / f"{name}.late").write_text("LATE")
    output = "c.late" if where == "write" else "c.npy"
    line = f"plug-in late (late:IT): it fails: {said}: repair or uninstall its package, late\n"
    for words in (["a.late"], ["a.late", "b.late", "--out-dir", "out"]):
        end = ["-o", output] if len(words) == 1 else ["--format", output[2:]]
        done = run(tmp_path / "site", tmp_path, "filter", *words, "-k", "box:3", *end)
        assert done.returncode == 1, done
        assert line in done.stderr, done.stderr
        assert not (tmp_path / output).exists()


def test_a_broken_one_stands_in_no_other_s_way(installed: Path, tmp_path: Path) -> None:
    declare(tmp_path / "site", "formats", "a_broken", "raise SystemExit(9)")
    (tmp_path / "a.asc").write_text(GRID)
    words = ("filter", "a.asc", "-k", "1", "-o", "b.csv")
    done = run(Path(f"{tmp_path / 'site'}{os.pathsep}{installed}"), tmp_path, *words)
    assert (done.returncode, done.stderr.count("error")) == (0, 0), done.stderr


def test_one_in_the_working_folder_is_not_run(tmp_path: Path) -> None:
    declare(tmp_path, "kernels", "planted", "open('ran', 'w').close()")
    done = run(Path("/nowhere"), tmp_path, "filter", "a.csv", "-k", "planted")
    assert (done.returncode, (tmp_path / "ran").exists()) == (2, False), done.stderr
    assert "no kernel named 'planted'" in done.stderr


def test_nothing_is_looked_for_where_something_built_in_answers(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    declare(tmp_path / "site", "formats", "broken", "raise SystemExit(9)")  # would end the process
    (tmp_path / "a.csv").write_text("x\n1\n2\n5\n")
    for words in (
        ["--help"],
        ["shape", "8x8", "pool:max:2"],
        ["kernels", "show", "box:3"],
        ["filter", "a.csv", "-k", "box:3", "-k", "1,-1", "--pool", "max:2", "-o", "b.npy"],
    ):
        done = run(tmp_path / "site", tmp_path, *words)
        assert done.returncode == 0, (words, done.stderr)
    code = (
        "from convcli.common import plugins\nplugins._declared = None\nfrom convcli.cli.program import run\n"
    )
    for words in (["shape", "8x8", "pool:max:2"], ["filter", "a.csv", "-k", "box:3", "-yqo", "b.csv"]):
        script = [sys.executable, "-c", f"{code}raise SystemExit(run({words}))"]
        done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
