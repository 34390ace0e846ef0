"""Jobs on several processes: the same samples as scipy's, whatever is killed meanwhile, and nothing done twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from scipy.ndimage import correlate

from tests.shell import as_user, convcli, ok, refuses

SIZES = (24, 40, 48)
KERNEL = "1,2,-1;0,5,3;-2,4,7"
FORMATS = ("npy", "tif", "nii", "nrrd", "mha", "zarr")


@pytest.fixture
def volume(tmp_path: Path) -> np.ndarray:
    """Write a.npy and a.zarr, whose shards hold several chunks; return their samples."""
    values = np.random.default_rng(5).integers(-900, 900, SIZES, dtype=np.int16)
    np.save(tmp_path / "a.npy", values)
    chunks = {"chunks": (1, 8, 8), "shards": (2, 16, 16), "dimension_names": ["z", "y", "x"]}
    zarr.create_array(tmp_path / "a.zarr", data=values, **chunks)  # type: ignore[arg-type]
    return values


def expected(values: np.ndarray) -> np.ndarray:
    """Return scipy's correlation of each slice, as floats: sums of these integers are exact."""
    weights = np.array([[float(one) for one in row.split(",")] for row in KERNEL.split(";")])
    return correlate(values.astype(np.float64), weights[None], mode="nearest")


def stored(path: Path) -> np.ndarray:
    """Return an array as its format's own library reads it."""
    if path.suffix == ".zarr":
        node = zarr.open(path, mode="r")
        return np.asarray((node if isinstance(node, zarr.Array) else node["0"])[:])  # type: ignore[index]
    return np.load(path) if path.suffix == ".npy" else np.asarray(tifffile.imread(path))


def command(output: str, *more: str, source: str = "a.npy") -> list[str]:
    return ["filter", source, "-k", KERNEL, "--axes", "zyx", "--range", "float", "-q", "-o", output, *more]


@pytest.mark.parametrize("suffix", FORMATS)
def test_processes_write_what_one_writes(suffix: str, volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command(f"b.{suffix}"), cwd=tmp_path)
    ok(*command(f"c.{suffix}", "--workers", "2"), cwd=tmp_path)
    assert not (tmp_path / f"c.{suffix}.job").exists()
    if suffix == "zarr":
        first, second = (
            {str(one.relative_to(top)): one.read_bytes() for one in top.rglob("*") if one.is_file()}
            for top in (tmp_path / "b.zarr", tmp_path / "c.zarr")
        )
        assert first == second
    else:
        assert (tmp_path / f"b.{suffix}").read_bytes() == (tmp_path / f"c.{suffix}").read_bytes()
    if suffix in ("zarr", "npy", "tif"):
        assert np.array_equal(stored(tmp_path / f"c.{suffix}"), expected(volume))


def test_boxes_are_whole_shards_of_the_output_however_many_workers_there_are(
    volume: np.ndarray, tmp_path: Path
) -> None:
    """Two writers of one shard would each lose the other's chunks."""
    ok(*command("b.zarr", "--workers", "7", "--keep-job", source="a.zarr"), cwd=tmp_path)
    about = json.loads((tmp_path / "b.zarr.job/job.json").read_text())
    whole = zip(about["plan"]["steps"], (2, 16, 16), SIZES, strict=True)
    assert all(step % shard == 0 or step == n for step, shard, n in whole)
    assert about["boxes"] == 12
    assert np.array_equal(stored(tmp_path / "b.zarr"), expected(volume))


def test_parts_share_an_output_and_the_last_one_ends_the_job(volume: np.ndarray, tmp_path: Path) -> None:
    for part in (3, 1):
        done = ok(*command("b.npy", "--part", f"{part}/3", "--workers", "1"), cwd=tmp_path)
        assert done.stdout == b""  # no output is named that is not there
        assert not (tmp_path / "b.npy").exists()
    state = json.loads(ok("job", "b.npy", "--json", cwd=tmp_path).stdout)
    boxes = state["boxes"]
    assert (state["done"], state["workers"]) == (len(range(0, boxes, 3)) + len(range(2, boxes, 3)), 0)
    ok(*command("b.npy", "--part", "2/3", "--workers", "1"), cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))
    assert not (tmp_path / "b.npy.job").exists()


def test_a_spoiled_job_runs_nothing_else(volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command("b.npy", "--workers", "1", "--keep-job"), cwd=tmp_path)
    file = tmp_path / "b.npy.job" / "job.json"
    for words in (
        ["motion", "a.npy", "-o", "evil.npy"],
        ["filter", "a.npy", "-k", "box:3", "-o", "evil.npy", "-y"],
    ):
        file.write_text(json.dumps({**json.loads(file.read_text()), "command": words}))
        assert convcli("job", "b.npy", "--verify", "100%", cwd=tmp_path).returncode == 1
        assert not (tmp_path / "evil.npy").exists()


@pytest.mark.parametrize("suffix", ["npy", "tif", "nii"])
def test_half_a_job_is_verified_too(suffix: str, volume: np.ndarray, tmp_path: Path) -> None:
    """The file is as long as it will be from its beginning on: the half that is written can be read."""
    ok(*command(f"b.{suffix}", "--workers", "1", "--part", "1/2"), cwd=tmp_path)
    told = ok("job", f"b.{suffix}", "--verify", "100%", cwd=tmp_path).stdout.decode()
    assert "boxes, computed once more, are equal" in told
    state = json.loads(ok("job", f"b.{suffix}", "--json", cwd=tmp_path).stdout)
    assert 0 < state["done"] < state["boxes"] and told.startswith(f"{state['done']} of {state['done']} boxes")


def test_verifying_makes_no_job_of_another_output(volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command("b.npy", "--workers", "1", "--keep-job"), cwd=tmp_path)
    file = tmp_path / "b.npy.job" / "job.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text()), "command": command("evil.npy", "--workers", "1")})
    )
    assert convcli("job", "b.npy", "--verify", "100%", cwd=tmp_path).returncode == 1
    assert not (tmp_path / "evil.npy.job").exists()


SPOILED = {
    "boxes": [0, -1, True, 10**30, "4", None],
    "plan": [None, [], {"engine": "numpy", "algorithms": [3], "steps": [1, 1, 1]}, *({"steps": one} for one in (
        [], [0, 0, 0], [-1, 1, 1], [1.5, 2, 2], 10**30, None))],
    "command": [[], "filter", [1], ["filter", ["x"]]],
    "folder": [None, "a\0b", "/proc/nowhere"],
    "inode": [None, "x", -1],
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_a_spoiled_description_of_a_job_is_one_line(name: str, volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command("b.npy", "--part", "1/2", "--workers", "1"), cwd=tmp_path)
    file = tmp_path / "b.npy.job" / "job.json"
    about = json.loads(file.read_text())
    for value in SPOILED[name]:
        spoiled = {**about["plan"], **value} if isinstance(value, dict) else value
        file.write_text(json.dumps({**about, name: spoiled}))
        call = ("job", "b.npy", "--verify", "100%")
        calls = [call] if name in ("command", "folder") else [call, command("b.npy", "--part", "2/2")]
        for words in calls:
            done = convcli(*words, cwd=tmp_path)
            said = done.stderr.decode()
            assert done.returncode == 1 and said.count("\n") == 1, said
            assert said.startswith("error: ") and "internal" not in said, said


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "3", "\x00\xff", '{"boxes": 4, "identity": {}}'])
def test_what_is_no_description_of_a_job_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "b.npy.job").mkdir()
    (tmp_path / "b.npy.job" / "job.json").write_text(text, encoding="latin-1")
    refuses("its job.json is spoiled", "'b.npy.job': ", "job", "b.npy", cwd=tmp_path)


def test_spoiled_lines_of_a_log_do_not_count(volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command("b.npy", "--part", "1/2", "--workers", "1"), cwd=tmp_path)
    before = json.loads(ok("job", "b.npy", "--json", cwd=tmp_path).stdout)
    lines = ["{{", "3", "null", "[" * 100_000, '"a"', "\xff\xfe\x00", "1" * 5000, *map(json.dumps, (
        {"error": "x"}, {"box": "1", "error": "x"}, {"box": [1], "error": "x"}, {"box": -1, "error": "x"},
        {"box": 10**20, "error": "x"}, {"box": 1, "error": 5}, {"box": 1}, {"box": 1, "checksum": 1},
        {"box": 1, "checksum": 1, "seconds": "x"}, {"box": 1, "checksum": 1, "seconds": float("inf")},
        {"box": 1, "checksum": 1, "seconds": 1, "only": [1]},
        {"box": 1, "checksum": 1, "seconds": 10**400}))]  # fmt: skip
    (tmp_path / "b.npy.job" / "0009.log").write_text("\n".join([*lines, ""]), encoding="latin-1")
    assert json.loads(ok("job", "b.npy", "--json", cwd=tmp_path).stdout) == before
    ok(*command("b.npy", "--part", "2/2", "--workers", "1"), cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))


def test_what_is_no_file_in_a_job_is_one_line(volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command("b.npy", "--part", "1/2", "--workers", "1"), cwd=tmp_path)
    other, kept = tmp_path / "thesis", tmp_path / "kept"
    other.write_text("precious")
    for name in ("lock", "runners", "0001.log", "job.json"):
        place = tmp_path / "b.npy.job" / name
        place.rename(kept)
        for make in (os.mkfifo, Path.mkdir, lambda path: path.symlink_to(other)):
            make(place)
            refuses(f"its {name} ", "'b.npy.job': ", *command("b.npy", "--part", "2/2"), cwd=tmp_path)
            place.rmdir() if place.is_dir() else place.unlink()
        kept.rename(place)
    assert other.read_text() == "precious"


def test_a_job_that_is_ended_leaves_other_files(volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command("b.npy", "--part", "1/2", "--workers", "1"), cwd=tmp_path)
    (tmp_path / "b.npy.job" / "thesis").write_text("precious")
    ok("job", "b.npy", "--cancel", cwd=tmp_path)
    assert [one.name for one in (tmp_path / "b.npy.job").iterdir()] == ["thesis"]


@pytest.mark.parametrize("prepared", ["another user's", "open to all", "a link"])
def test_another_user_prepares_no_folder_of_a_job(prepared: str, volume: np.ndarray, tmp_path: Path) -> None:
    """Files of the victim would be emptied by way of links in it, or a plan of the other user be followed."""
    if os.geteuid():
        pytest.skip("only root becomes two other users")
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o11)
    tmp_path.chmod(0o1777)
    thesis, folder, own = tmp_path / "thesis", tmp_path / "b.npy.job", tmp_path / "own"
    thesis.write_text("precious")
    made = own if prepared == "a link" else folder
    made.mkdir()
    for name in ("job.json.new", "new", "lock"):
        (made / name).symlink_to(thesis)
    if prepared == "a link":
        folder.symlink_to(own)
    made.chmod(0o777)
    for path, user in ((thesis, 54_322), (made, 54_323 if prepared == "another user's" else 54_322)):
        os.chown(path, user, user)
    for words in (command("b.npy", "--workers", "1"), ["job", "b.npy", "--cancel"]):
        done = subprocess.run(
            [sys.executable, "-m", "convcli", *words],
            cwd=tmp_path, capture_output=True, timeout=60, preexec_fn=partial(as_user, 54_322),
        )  # fmt: skip
        assert done.returncode == 1 and done.stderr.count(b"\n") == 1, done.stderr
        assert b"remove it, or name another output" in done.stderr
    assert thesis.read_text() == "precious"
    assert len(list(made.iterdir())) == 3


def test_a_job_is_open_to_its_user_alone(volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command("b.npy", "--part", "1/2", "--workers", "1"), cwd=tmp_path)
    assert (tmp_path / "b.npy.job").stat().st_mode & 0o777 == 0o700


def test_another_job_is_refused_with_what_differs_until_the_first_is_ended(
    volume: np.ndarray, tmp_path: Path
) -> None:
    ok(*command("b.npy", "--part", "1/2", "--workers", "1"), cwd=tmp_path)
    other = [
        *command("b.npy", "--part", "2/2", "--workers", "1"),
        "--pad-mode",
        "reflect",
        "--padding",
        "same",
    ]
    refuses("options pad_mode was None, now reflect", "'b.npy.job': ", *other, cwd=tmp_path)
    np.save(tmp_path / "mask.npy", np.ones(SIZES, np.uint8))
    masked = (*command("c.npy", "--workers", "1"), "--mask", "mask.npy")
    ok(*masked, "--part", "1/2", cwd=tmp_path)
    np.save(tmp_path / "mask.npy", np.zeros(SIZES, np.uint8))
    refuses("input was", "'c.npy.job': ", *masked, "--part", "2/2", cwd=tmp_path)
    np.save(tmp_path / "a.npy", volume[::-1])
    refuses("input was", "'b.npy.job': ", *command("b.npy", "--part", "2/2", "--workers", "1"), cwd=tmp_path)
    ok("job", "b.npy", "--cancel", cwd=tmp_path)
    assert not (tmp_path / "b.npy.job").exists()
    ok(*command("b.npy", "--workers", "1"), cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume[::-1]))


def test_another_array_of_the_same_file_is_another_job(volume: np.ndarray, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["first"], file["second"] = volume, volume[::-1]
    first, second = (
        command("b.npy", "--workers", "1", source=f"a.h5::{name}") for name in ("first", "second")
    )
    ok(*first, "--part", "1/2", cwd=tmp_path)
    refuses("array was first, now second", "'b.npy.job': ", *second, "--part", "2/2", cwd=tmp_path)
    ok(*first, "--part", "2/2", cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))
    first, second = (command(f"c.zarr::{name}", "--keep-job") for name in ("first", "second"))
    ok(*first, cwd=tmp_path)
    refuses("c.zarr::second", "'c.zarr.job': ", *second, cwd=tmp_path)


def test_boxes_computed_once_more_find_a_changed_output(volume: np.ndarray, tmp_path: Path) -> None:
    ok(*command("b.npy", "--workers", "2", "--keep-job"), cwd=tmp_path)
    told = ok("job", "b.npy", "--verify", "50%", cwd=tmp_path).stdout.decode()
    assert "4 of 8 boxes" in told
    values = np.load(tmp_path / "b.npy")
    values[20, 3, 3] += 1
    with (tmp_path / "b.npy").open("r+b") as fp:
        np.save(fp, values)
    refuses("1 of 8 boxes differ", "'a.npy': ", "job", "b.npy", "--verify", "100%", cwd=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("filter", "a.npy", "-k", "box:3", "--axes", "zyx", "-o", "b.nii.gz", "--workers", "2"),
            "--workers",
        ),
        (
            ("filter", "a.zarr", "-k", "box:3", "-o", "b.h5", "--workers", "2"),
            "HDF5 and NetCDF are written by one process",
        ),
        (("filter", "-", "--format", "npy", "-k", "box:3", "-o", "b.npy", "--workers", "2"), "--workers"),
        (("filter", "a.npy", "-k", "box:3", "--part", "4/3"), "'4/3' is no part"),
        (("filter", "a.npy", "-k", "box:3", "--memory", "much"), "'much' is no amount of memory"),
        (command("b.npy", "--workers", "2", "--memory", "50MB"), "--memory"),
        (("job", "b.npy", "--verify", "2"), "'2' is no share"),
        (("job", "b.npy", "--verify", "1%", "--cancel"), "give one of them"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    arguments: list[str], words: str, volume: np.ndarray, tmp_path: Path
) -> None:
    done = convcli(*arguments, cwd=tmp_path, stdin=(tmp_path / "a.npy").read_bytes())
    assert done.returncode == 2, done.stderr
    assert words in done.stderr.decode()
    assert {one.name for one in tmp_path.iterdir()} == {"a.npy", "a.zarr"}


@pytest.mark.parametrize(("memory", "shape"), [("1GB", (4096, 8192, 8192)), ("500MB", (512, 640, 640))])
def test_chunks_that_are_proposed_are_read_as_often_as_it_says(
    tmp_path: Path, memory: str, shape: tuple[int, ...]
) -> None:
    """Boxes are a chunk thick here, so that each reads the chunks around it, for a halo of six samples."""
    call = ["filter", "a.zarr", "-k", "gaussian:sigma=2", "-o", "b.zarr", "--workers", "2", "--memory", memory,
            "--dry-run", "-v"]  # fmt: skip
    pattern = (
        r"read (\d+\.\d+) times, about (\d+) MB .*\n"
        r"chunks of ([0-9x]+) instead of 64x64x64 would be read (\d+\.\d+) times"
    )
    form = {"shape": shape, "dtype": "u2", "dimension_names": ["z", "y", "x"]}
    zarr.create_array(tmp_path / "a.zarr", chunks=(64,) * 3, **form)  # type: ignore[arg-type]
    now, megabytes, better, least = re.search(pattern, ok(*call, cwd=tmp_path).stdout.decode()).groups()  # type: ignore[union-attr]
    assert float(least) < float(now) / 1.25
    chunks = tuple(map(int, better.split("x")))
    zarr.create_array(tmp_path / "a.zarr", chunks=chunks, overwrite=True, **form)  # type: ignore[arg-type]
    told = ok(*call, cwd=tmp_path).stdout.decode()
    assert f"each sample is read {least} times" in told and "would be read" not in told
    assert int(re.search(r"about (\d+) MB for boxes", told)[1]) <= 2 * int(megabytes)  # type: ignore[index]


def started(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start a command line in a Python of its own, whose children can be told from others."""
    call = [sys.executable, "-m", "convcli", *arguments]
    return subprocess.Popen(call, cwd=folder, stderr=subprocess.PIPE)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    text = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
    return [int(one) for one in text.split()]


def lines(folder: Path) -> int:
    return sum(one.read_bytes().count(b"\n") for one in folder.glob("*.log"))


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let each box take 50 ms more in the workers, by a module that every Python loads."""
    patch = (
        "import sys, time\n"
        "if 'serve()' in ' '.join(sys.orig_argv):\n"
        "    from convcli.execution.workers import Worker\n"
        "    compute = Worker.compute\n"
        "    Worker.compute = lambda self, index: (time.sleep(0.05), compute(self, index))[1]\n"
    )
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text(patch)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "patch"))


@pytest.mark.parametrize("suffix", ["npy", "zarr"])
def test_a_killed_run_is_taken_up_again(slow: None, suffix: str, volume: np.ndarray, tmp_path: Path) -> None:
    """Kill the run itself after some boxes, three times: what is logged is never done again."""
    output, folder = f"b.{suffix}", tmp_path / f"b.{suffix}.job"
    call = [*command(output, "--workers", "2", source=f"a.{suffix}"), "--threads", "1"]
    for kill in range(3):
        process = started(tmp_path, *call)
        deadline = time.monotonic() + 20
        while process.poll() is None and lines(folder) <= kill and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert not (tmp_path / output).exists()
        assert lines(folder) > kill
    last = sorted(folder.glob("*.log"))[-1]
    while subprocess.run(["flock", "-n", "-s", last, "true"]).returncode:  # an orphan ends its box
        time.sleep(0.01)
    with last.open("ab") as fp:
        fp.write(b'{"box": 7, "checks')  # torn: no box
    ok(*call, "--keep-job", cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / output), expected(volume))
    boxes = json.loads((folder / "job.json").read_text())["boxes"]
    assert lines(folder) <= boxes + 2 * 3  # those in flight, at most, twice


def test_killed_workers_are_replaced(slow: None, volume: np.ndarray, tmp_path: Path) -> None:
    process = started(tmp_path, *command("b.npy", "--workers", "2", "--keep-job"))
    killed = 0
    while process.poll() is None and killed < 3:
        if lines(tmp_path / "b.npy.job") > killed and (found := children(process)):
            os.kill(found[0], signal.SIGKILL)
            killed += 1
        time.sleep(0.005)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors, killed) == (0, b"", 3)
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))


def test_a_box_that_kills_three_workers_is_reported_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, volume: np.ndarray, tmp_path: Path
) -> None:
    patch = (
        "import os, sys\n"
        "if 'serve()' in ' '.join(sys.orig_argv):\n"
        "    from convcli.execution.workers import Worker\n"
        "    compute = Worker.compute\n"
        "    Worker.compute = lambda self, index: os._exit(9) if index == 5 else compute(self, index)\n"
    )
    (tmp_path / "patch").mkdir()
    (tmp_path / "patch/sitecustomize.py").write_text(patch)
    with monkeypatch.context() as context:
        context.setenv("PYTHONPATH", str(tmp_path / "patch"))
        words = "1 of 8 boxes failed, the first, 5, with: it has ended 3 workers"
        refuses(words, "'a.npy': ", *command("b.npy", "--workers", "2"), cwd=tmp_path)
    state = json.loads(ok("job", "b.npy", "--json", cwd=tmp_path).stdout)
    assert (state["done"], [one["box"] for one in state["failed"]]) == (7, [5])
    ok(*command("b.npy", "--workers", "2"), cwd=tmp_path)
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))


def test_two_runs_of_one_job_do_not_meet(slow: None, volume: np.ndarray, tmp_path: Path) -> None:
    process = started(tmp_path, *command("b.npy", "--workers", "1"))
    while process.poll() is None and not lines(tmp_path / "b.npy.job"):
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)
    refuses("another process is working", "'b.npy.job': ", *command("b.npy", "--workers", "1"), cwd=tmp_path)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert np.array_equal(stored(tmp_path / "b.npy"), expected(volume))
