"""Changes of the whole picture: told apart by name, reported as such, and no motion."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from convcli.detection.changes import Kind, changes_of_light, is_dissolve, scene_of
from tests.clips import make
from tests.shell import SAMPLES, ok

RATE = 25


def scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture of patches of some materials, in daylight and in infrared; the grain is the same."""
    random = np.random.default_rng(seed)
    places = random.uniform(0, 1, (60, 2)) * (120, 160)
    pixels = np.stack(np.mgrid[:120, :160], axis=-1)
    nearest = ((pixels[:, :, None] - places) ** 2).sum(axis=-1).argmin(axis=-1)
    materials = random.integers(0, 9, 60)[nearest]
    grain = random.normal(0, 3, (30, 40)).repeat(4, axis=0).repeat(4, axis=1)
    day, infrared = random.permutation(9), random.permutation(9)
    return 30 + 11 * day[materials] + grain, 30 + 11 * infrared[materials] + grain


def everything() -> np.ndarray:
    """Seven seconds: a lamp at 1, a fade from 2 to 3, a cut at 4, infrared at 5, a flicker from 6 to 7."""
    (day, _), (other, infrared) = scene(2), scene(3)
    rows, columns = np.mgrid[:120, :160]
    lamp = day * (1 + 0.9 * np.exp(-((columns - 50) ** 2 + (rows - 40) ** 2) / 6000))
    frames = [day] * 25 + [lamp] * 25
    frames += [lamp * (1 - 0.7 * step / 25) for step in range(1, 26)] + [0.3 * lamp] * 25
    frames += [other] * 25 + [infrared] * 25
    frames += [infrared * (1 + 0.12 * (-1) ** step) for step in range(25)]
    noise = np.random.default_rng(5).normal(0, 1.2, (len(frames), 120, 160))
    return np.rint(np.clip(frames + noise, 0, 255)).astype(np.uint8)


EXPECTED = [("lamp", 1, 1), ("fade", 2, 3), ("cut", 4, 4), ("infrared switch", 5, 5), ("flicker", 6, 7)]


def test_each_change_has_its_name_and_is_no_motion(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", everything())
    arguments = ("motion", tmp_path / "a.npy", "--axes", "TYX", "--no-output")
    done = json.loads(ok(*arguments, "--json").stdout)
    assert done["events"] == []
    assert [change["kind"] for change in done["changes"]] == [kind for kind, *_ in EXPECTED]
    for change, (_, start, end) in zip(done["changes"], EXPECTED, strict=True):
        assert change["start"] == pytest.approx(start, abs=0.05)
        assert change["end"] == pytest.approx(max(end, start + 1 / RATE), abs=0.05)
    done = ok(*arguments, "--events", tmp_path / "a.edl")
    assert b"not counted as motion: lamp at 1.000 s, fade 2.000 to 3.000 s, cut at 4.000 s" in done.stderr
    comments = [line for line in (tmp_path / "a.edl").read_text().splitlines() if line.startswith("*")]
    assert comments[0] == "* LAMP FROM 00:00:01:00 TO 00:00:01:01"
    assert [line.split(" FROM ")[0] for line in comments] == [f"* {kind.upper()}" for kind, *_ in EXPECTED]


def test_a_dissolve_is_no_motion_and_what_moves_after_it_is(tmp_path: Path) -> None:
    (first, _), (last, _) = scene(2), scene(6)
    frames = np.stack([first + (last - first) * np.clip((index - 20) / 15, 0, 1) for index in range(100)])
    frames += np.random.default_rng(5).normal(0, 1.2, frames.shape)
    for index in range(70, 85):
        frames[index, 70:95, 8 * (index - 70) : 8 * (index - 70) + 20] = 240
    np.save(tmp_path / "a.npy", np.rint(frames.clip(0, 255)).astype(np.uint8))
    done = json.loads(ok("motion", tmp_path / "a.npy", "--axes", "TYX", "--no-output", "--json").stdout)
    (event,), (change,) = done["events"], done["changes"]
    assert abs(event["start_frame"] - 70) <= 1 and abs(event["end_frame"] - 85) <= 1
    assert change["kind"] == "dissolve"
    assert (change["start"], change["end"]) == pytest.approx((21 / RATE, 35 / RATE), abs=0.1)


@pytest.mark.parametrize("move", ["pan", "zoom", "roll", "dissolve"])
@pytest.mark.parametrize("fine", [3, 12])
def test_a_camera_that_moves_by_little_is_no_dissolve(move: str, fine: float) -> None:
    random = np.random.default_rng(4)
    large, other = (
        127 + 40 * one / one.std()
        for one in ndimage.gaussian_filter(random.normal(0, 1, (2, 280, 360)), (0, fine, fine))
    )
    ways = {
        "pan": lambda share: ndimage.shift(large, (-3 * share, 6 * share), order=1),
        "zoom": lambda share: ndimage.affine_transform(
            large, np.eye(2) / (1 + 0.04 * share), (5.4 * share, 6.9 * share)
        ),
        "roll": lambda share: ndimage.rotate(large, 1.5 * share, reshape=False, order=1),
        "dissolve": lambda share: large + share * (other - large),
    }
    scenes = [
        scene_of(ways[move](share)[20:260, 20:340] + random.normal(0, 2, (240, 320)))
        for share in np.linspace(0, 1, 12)
    ]
    assert is_dissolve(scenes) == (move == "dissolve")


def test_changes_stand_between_the_events_of_a_file(tmp_path: Path) -> None:
    frames = everything()
    for index in range(60, 70):  # while the light fades
        frames[index, 70:95, 8 * (index - 50) : 8 * (index - 50) + 20] = 250
    np.save(tmp_path / "a.npy", frames)
    arguments = ("motion", "a.npy", "--axes", "TYX", "--no-output", "-q", "--events")
    ok(*arguments, "e.csv", cwd=tmp_path)
    ok(*arguments, "e.jsonl", cwd=tmp_path)
    with (tmp_path / "e.csv").open() as fp:
        table = list(csv.DictReader(fp))
    lines = [json.loads(line) for line in (tmp_path / "e.jsonl").read_text().splitlines()]
    kinds = ["lamp", "fade", "motion", "cut", "infrared switch", "flicker"]
    assert [row["kind"] for row in table] == [row["kind"] for row in lines] == kinds
    for row, line, start in zip(table, lines, [1, 2, 60 / RATE, 4, 5, 6], strict=True):
        assert float(row["start"]) == line["start"] == pytest.approx(start, abs=0.05)
        assert float(row["end"]) == line["end"]
        if row["kind"] == "motion":
            assert (row["start_frame"], row["x"]) == (str(line["start_frame"]), str(line["bbox"][0]))
        else:
            assert list(line) == ["kind", "start", "end"]
            assert not any(row[name] for name in row if name not in line)


def test_an_object_in_changing_light_is_motion(tmp_path: Path) -> None:
    frames = everything()
    for index in range(30, 45):
        frames[index, 70:95, 8 * (index - 30) : 8 * (index - 30) + 20] = 240
    np.save(tmp_path / "a.npy", frames)
    done = ok("motion", tmp_path / "a.npy", "--axes", "TYX", "--no-output", "--json")
    (event,) = json.loads(done.stdout)["events"]
    assert abs(event["start_frame"] - 30) <= 1 and abs(event["end_frame"] - 45) <= 1
    assert [change["kind"] for change in json.loads(done.stdout)["changes"]] == [
        kind for kind, *_ in EXPECTED
    ]


def test_light_is_a_lamp_a_fade_or_a_flicker_by_how_long_it_goes_one_way() -> None:
    def found(levels: list[float]) -> list[tuple[Kind, float]]:
        return [
            (one.kind, one.start) for one in changes_of_light([(t, t + 1, s) for t, s in enumerate(levels)])
        ]

    steps = [
        (t / 10, (t + 1) / 10, s) for t, s in enumerate([0, 0, 9, 0, 0, 0, 0, 0, 0, 1, 2, 2, 3, 0, 0, 0])
    ]
    assert [(one.kind, one.start, one.end) for one in changes_of_light(steps)] == [
        (Kind.LAMP, 0.2, 0.3), (Kind.FADE, 0.9, 1.3),
    ]  # fmt: skip
    assert found([0, 3, -3, 0.2, 0.2]) == []
    turning = [(t / 25, (t + 1) / 25, 8.0 * (-1) ** t) for t in range(50)]
    assert [(one.kind, one.start, one.end) for one in changes_of_light(turning)] == [(Kind.FLICKER, 0, 2)]


def test_an_edit_decision_list_is_by_time_where_frames_are_uneven(tmp_path: Path) -> None:
    frames = np.full((30, 48, 64), 90, np.uint8)
    frames[8:20, 10:30, 20:40] = 200
    lengths = [40, 40, 80, 40, 40, 200, 40, 40, 120, 40] * 3  # milliseconds; 40 is usual
    times = np.concatenate([[0], np.cumsum(lengths)[:-1]]).tolist()
    path = make(tmp_path / "a.mkv", frames, times=times, base=Fraction(1, 1000), codec="ffv1", pixels="gray")
    ok("motion", path, "--no-output", "--min-duration", "0", "--events", tmp_path / "a.edl", "-q")
    cuts = [line.split()[4:] for line in (tmp_path / "a.edl").read_text().splitlines() if " V " in line]

    def timecode(milliseconds: int) -> str:
        return f"00:00:{milliseconds // 1000:02}:{milliseconds % 1000 // 40:02}"

    spans = [(times[8], times[9]), (times[20], times[21])]
    first = spans[0][1] - spans[0][0]
    assert cuts == [
        [*map(timecode, spans[0]), timecode(0), timecode(first)],
        [*map(timecode, spans[1]), timecode(first), timecode(first + spans[1][1] - spans[1][0])],
    ]


def test_the_note_about_the_threshold_is_plain() -> None:
    said = ok("motion", SAMPLES / "walk.mp4", "--no-output").stderr.decode()
    assert "threshold 2.0 of 255 grey levels (up to 40.0 where the clip varies), estimated from" in said
