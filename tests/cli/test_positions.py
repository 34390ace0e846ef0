"""Where samples lie, through the command: resolutions and frame times as other programs read them."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.clips import make, packets, pattern, times_of
from tests.shell import convcli, ok


def photo(path: Path, dpi: tuple[float, float] = (300, 150)) -> Path:
    pixels = np.random.default_rng(4).integers(0, 255, (24, 36), np.uint8)
    Image.fromarray(pixels).save(path, dpi=dpi)
    return path


def dpi_of(path: Path) -> tuple[float, float]:
    with Image.open(path) as image:
        x, y = image.info["dpi"]
        return float(x), float(y)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_resolution_follows_stride_pools_and_transposition(suffix: str, tmp_path: Path) -> None:
    given, out = photo(tmp_path / f"a{suffix}"), tmp_path / f"b{suffix}"
    cases = {
        (300, 150): ["-k", "box:3", "--padding", "valid"],
        (150, 150): ["-k", "box:3", "--stride", "1,2"],
        (100, 50): ["--pool", "max:3"],
        (50, 50): ["-k", "box:3", "--stride", "1,2", "--pool", "avg:3"],
        (900, 300): ["-k", "1,2,1;3,1,2", "--transpose", "--stride", "2,3"],
    }
    for expected, options in cases.items():
        ok("filter", given, *options, "-o", out, "-y", "-q")
        # PNG and BMP hold whole pixels a metre: what they round is multiplied by the stride here
        assert dpi_of(out) == pytest.approx(expected, abs=0.04), options


def test_what_cannot_hold_a_resolution_says_so_unless_it_was_a_default(tmp_path: Path) -> None:
    given, usual = photo(tmp_path / "a.png"), photo(tmp_path / "b.png", (72, 72))
    for name, form in (("c.webp", "WEBP"), ("c.npy", "NPY"), ("c.csv", "CSV")):
        done = ok("filter", given, "-k", "box:3", "-o", tmp_path / name)
        assert done.stderr.decode() == f"note: the resolution is left out: {form} holds none\n"
        assert ok("filter", usual, "-k", "box:3", "-o", tmp_path / name, "-y").stderr == b""
        shown = ok("filter", given, "-k", "box:3", "-o", tmp_path / name, "-y", "--dry-run").stdout
        assert f"  the resolution is left out: {form} holds none" in shown.decode().splitlines()


@pytest.fixture
def uneven(tmp_path: Path) -> Path:
    """A clip with sound, of which the frames come at uneven times."""
    return make(
        tmp_path / "a.mkv",
        pattern(7),
        times=(0, 40, 80, 200, 240, 280, 360),
        base=Fraction(1, 1000),
        sound=True,
    )


def milliseconds(path: Path) -> list[int]:
    return [round(time * 1000) for time in times_of(path)]


def test_frames_keep_the_times_under_the_origin(uneven: Path, tmp_path: Path) -> None:
    (tmp_path / "causal.yaml").write_text(
        "name: causal\nrank: 3\nweights: [[[1]], [[2]], [[4]]]\nscale: 1/7\norigin: [2, 0, 0]\n"
    )
    cases = [
        (["-k", "box:3x1x1"], [40, 80, 200, 240, 280]),
        (["-k", tmp_path / "causal.yaml"], [80, 200, 240, 280, 360]),
        (["-k", "box:2x1x1"], [0, 40, 80, 200, 240, 280]),
        (["--pool", "avg:3x2x2,s=2x2x2"], [40, 200, 280]),
    ]
    for options, expected in cases:
        ok("filter", uneven, *options, "-o", tmp_path / "b.mkv", "-y", "-q")
        assert milliseconds(tmp_path / "b.mkv") == expected, options


def test_a_larger_picture_keeps_times_and_sound(uneven: Path, tmp_path: Path) -> None:
    ok("filter", uneven, "-k", "box:2x2", "--transpose", "--stride", "2", "-o", tmp_path / "b.mkv", "-q")
    assert milliseconds(tmp_path / "b.mkv") == milliseconds(uneven)
    assert packets(tmp_path / "b.mkv", "audio") == packets(uneven, "audio")


def test_frames_between_frames_divide_the_time(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mkv", pattern(4), base=Fraction(1, 10))
    ok("filter", clip, "-k", "box:2x1x1", "--transpose", "--stride", "2,1,1", "-o", tmp_path / "b.mkv", "-q")
    assert milliseconds(tmp_path / "b.mkv") == [0, 50, 100, 150, 200, 250, 300, 350]


def test_pictures_of_a_clip_say_that_they_hold_no_times(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mkv", pattern(3))
    lost = "note: the times of the frames are left out: {}\n"
    holds = {
        "%04d.png": "PNG holds none",
        "b.npy": "NPY holds none",
        "b.tif": "TIFF holds none (.ome.tif does)",
    }
    for name, form in holds.items():
        said = ok("filter", clip, "-k", "box:3", "-o", tmp_path / name).stderr.decode()
        assert said.startswith(lost.format(form)), said
    numbered = ok("filter", tmp_path / "%04d.png", "-k", "box:3", "-o", tmp_path / "c.npy")
    assert numbered.stderr == b""  # they carry no times: nothing is lost


def test_frames_per_second_become_those_of_the_result(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", pattern(6)[..., 0])
    given = [
        "filter",
        tmp_path / "a.npy",
        "--axes",
        "TYX",
        "--fps",
        "10",
        "-o",
        tmp_path / "b.mkv",
        "-y",
        "-q",
    ]
    ok(*given, "-k", "box:3", "--range", "clip")
    assert milliseconds(tmp_path / "b.mkv") == [0, 100, 200, 300, 400, 500]
    ok(*given, "--pool", "avg:2x2x2", "--range", "clip")
    assert milliseconds(tmp_path / "b.mkv") == [0, 200, 400]
    again = convcli("filter", tmp_path / "b.mkv", "--fps", "10", "-k", "box:3", "-o", tmp_path / "c.mkv")
    assert (again.returncode, b"times of their own" in again.stderr) == (2, True)


def test_axes_are_shown_with_unit_and_spacing(uneven: Path, tmp_path: Path) -> None:
    given = photo(tmp_path / "a.tif", (300, 150))
    job = ["filter", given, "-k", "box:2", "--stride", "2", "--padding", "valid", "-o", tmp_path / "b.tif"]
    lines = [
        "y: 12 samples, 1/75 in apart, the first at 1/300 in",
        "x: 18 samples, 1/150 in apart, the first at 1/600 in",
    ]
    assert ok(*job, "--dry-run").stdout.decode().splitlines()[1:] == [f"  {line}" for line in lines]
    said = ok(*job, "-v").stderr.decode().splitlines()
    assert [line for line in said if " apart" in line] == [f"note: {line}" for line in lines]
    for more in (["--dry-run", "-y"], ["-y"]):
        y, x = json.loads(ok(*job, *more, "--json").stdout)["axes"]
        assert y == {
            "letter": "Y",
            "size": 12,
            "unit": "in",
            "first": pytest.approx(1 / 300),
            "spacing": pytest.approx(1 / 75),
        }
        assert (x["letter"], x["spacing"]) == ("X", pytest.approx(1 / 150))
    clip = json.loads(
        ok("filter", uneven, "-k", "box:3x1x1", "-o", tmp_path / "b.mkv", "--dry-run", "--json").stdout
    )
    assert clip["axes"][0] == {"letter": "T", "size": 5, "unit": "s", "first": 0.04, "spacing": [0.04, 0.12]}
    assert clip["axes"][1] == {"letter": "Y", "size": 48}


def test_a_table_keeps_its_times_and_says_that_they_are_uneven(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time [s],v\n0.10,1\n0.2,3\n0.4,2\n0.5,7\n0.6,1\n1.0,8\n")
    job = [
        "filter",
        tmp_path / "a.csv",
        "-k",
        "1,1",
        "--padding",
        "valid",
        "--stride",
        "2",
        "-o",
        tmp_path / "b.csv",
    ]
    done = ok(*job)
    said = (
        "note: the rows are not evenly spaced in time [s]: steps from 0.1 to 0.4; they are filtered as rows"
    )
    assert said in done.stderr.decode().splitlines()
    assert (tmp_path / "b.csv").read_text() == "time [s],v\n0.10,4.0\n0.4,9.0\n0.6,9.0\n"
    shown = ok(*job, "--dry-run", "-y").stdout.decode().splitlines()
    assert shown[1] == "  x: 3 samples, 0.2 to 0.3 s apart, the first at 0.1 s"


@pytest.mark.parametrize("mode", ["zero", "replicate"])
def test_rows_of_the_padding_go_on_in_even_times(mode: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t (ms),v\n0.50,1\n0.75,4\n1.00,2\n1.25,7\n")
    job = ["filter", tmp_path / "a.csv", "-k", "1,2,4", "--padding", "2:1", "--pad-mode", mode]
    done = ok(*job, "-o", tmp_path / "b.csv")
    cells = [line.split(",")[0] for line in (tmp_path / "b.csv").read_text().splitlines()]
    assert cells == ["t (ms)", "0.25", "0.50", "0.75", "1.00", "1.25"]
    assert done.stderr.decode() == "note: filtered columns: v; not filtered: t (ms)\n"
    shown = ok(*job, "-o", tmp_path / "b.csv", "-y", "--dry-run").stdout.decode().splitlines()
    assert shown[1] == "  x: 5 samples, 0.25 ms apart, the first at 0.25 ms"
    (tmp_path / "a.csv").write_text("t;v\n0,033;1\n0,067;4\n0,100;2\n0,133;7\n")  # thirtieths, rounded
    ok(*job, "-o", tmp_path / "b.csv", "-y", "-q")
    text = (tmp_path / "b.csv").read_text().splitlines()
    assert [line.split(";")[0] for line in text] == ["t", "0,000", "0,033", "0,067", "0,100", "0,133"]


def test_rows_of_the_padding_have_no_uneven_times(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,v\n0.1,1\n0.2,4\n0.4,2\n")
    job = ["filter", tmp_path / "a.csv", "-k", "1,2,4", "--padding", "full", "-o", tmp_path / "b.csv", "-y"]
    said = "2 of 5 rows have no time: they lie at none of the input's times, which are not evenly spaced"
    assert ok(*job).stderr.decode().splitlines()[-1] == f"note: {said}"
    assert [line.split(",")[0] for line in (tmp_path / "b.csv").read_text().split()] == [
        "t", "", "0.1", "0.2", "0.4", "",
    ]  # fmt: skip
    assert ok(*job, "--dry-run").stdout.decode().splitlines()[-1] == f"  {said}"


def test_rows_between_even_times_are_not_said_to_be_uneven(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,v\n0.1,1\n0.2,4\n0.3,2\n")
    job = [
        "filter",
        tmp_path / "a.csv",
        "-k",
        "1,2",
        "--transpose",
        "--stride",
        "2",
        "-o",
        tmp_path / "b.csv",
    ]
    assert "3 of 6 rows have no time: they lie between the input's times\n" in ok(*job).stderr.decode()


def test_a_dry_run_says_what_the_real_one_says(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t,v,word\n0.1,1,x\n0.2,4,y\n0.4,2,z\n")
    for given, *options in (
        (tmp_path / "a.csv", "-k", "1,2,4", "-o", tmp_path / "b.csv"),
        (tmp_path / "a.csv", "-k", "1,2", "--transpose", "--stride", "2", "-o", tmp_path / "b.csv"),
        (photo(tmp_path / "a.png"), "-k", "box:3", "-o", tmp_path / "b.webp"),
    ):
        job = ["filter", given, *options, "-y"]
        notes = [line.removeprefix("note: ") for line in ok(*job).stderr.decode().splitlines()]
        assert notes
        shown = ok(*job, "--dry-run").stdout.decode().splitlines()
        assert [line.strip() for line in shown][-len(notes) :] == notes
        for more in ([], ["--dry-run"]):
            assert json.loads(ok(*job, *more, "--json").stdout)["notes"] == notes
