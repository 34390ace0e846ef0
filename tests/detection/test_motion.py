"""Motion: the textbook's clip, known events in known noise, the pictures, and the command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

import convcli
from convcli.cli.motion.work import Found, lines
from convcli.cli.shared.terminal import Table
from convcli.detection.changes import light_change
from convcli.detection.detector import is_square_difference, newest, square_difference
from convcli.detection.events import Detector, Event, Look, Rules, keep_regions, look
from convcli.detection.noise import Limits, limits, sample
from convcli.detection.picture import HeatMap, overlay
from convcli.jobs.bind import Settings, bind
from convcli.kernel import load_kernel
from tests.clips import decoded, make, packets, pattern, times_of
from tests.shell import SAMPLES, ok, wait_until_it_writes
from tests.shell import convcli as shell

import clips as samples  # isort: skip  # samples/ is on the path through tests.clips


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    return samples.ball()


# The textbook's clip


@pytest.mark.parametrize("name", ["motion", "motion-book"])
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_textbook_clip_equals_conv3d(name: str, engine: str, ball: np.ndarray) -> None:
    ours = convcli.filter(ball, name, padding="valid", axes="TYX", engine=engine)
    weights = torch.from_numpy(load_kernel(name).array("float64"))
    theirs = torch.nn.functional.conv3d(torch.from_numpy(ball.astype(np.float64))[None, None], weights)
    assert ours.shape == (4, 318, 318)
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), atol=1e-3)


def test_the_inside_of_the_ball_rests_and_its_boundary_moves(ball: np.ndarray) -> None:
    result = convcli.filter(ball, "motion", axes="TYX")
    # The ball has radius 40 and moves 13 pixels: 20 from both centres all is inside both times.
    assert np.abs(result[0, 150:168, 98:114]).max() < 1e-3
    assert result[0].max() > 150  # what it moves onto gets lighter
    assert result[0].min() < -150  # what it leaves gets darker
    assert result[0, 154, 150] > 100  # in front of it
    assert result[0, 164, 62] < -100  # behind it
    assert np.abs(result[:, :60]).max() < 1e-3


def test_the_picture_of_rest_is_exactly_128(tmp_path: Path) -> None:
    ok("motion", SAMPLES / "ball.mp4", "-o", tmp_path / "m.mkv", "--codec", "ffv1", "-q")
    frames = decoded(tmp_path / "m.mkv", "gray")
    assert frames.shape == (4, 320, 320)
    assert (frames[:, :50, :50] == 128).all()
    assert frames.min() < 60
    assert frames.max() > 200


def test_the_whole_number_way_equals_the_engines() -> None:
    frames = np.random.default_rng(6).integers(0, 256, (2, 13, 17), dtype=np.uint8)
    for name, unit in (("motion", 1 / 9), ("motion-book", 0.11)):
        assert is_square_difference(load_kernel(name))
        expected = convcli.filter(frames, name, axes="TYX", engine="numpy")[0]
        np.testing.assert_allclose(square_difference(*frames) * unit, expected, atol=1e-3)
    assert not is_square_difference(load_kernel("frame-difference"))
    assert not is_square_difference(load_kernel("-1,-1,-1;-1,-1,-1;-1,-1,-1|1,1,1;1,1,1;1,1,2"))


@pytest.mark.parametrize("shape", [(1, 2), (2, 3), (47, 9), (48, 5), (49, 7), (97, 11)])
def test_the_whole_number_way_equals_scipy(shape: tuple[int, int]) -> None:
    before, after = np.random.default_rng(1).integers(0, 256, (2, *shape), dtype=np.uint8)
    expected = ndimage.correlate(after.astype(int) - before, np.ones((3, 3), int), mode="nearest")
    np.testing.assert_array_equal(square_difference(before, after), expected)


@pytest.mark.parametrize("options", [(), ("--overlay",), ("--stabilise-light",)])
def test_both_ways_give_the_same_report(options: tuple[str, ...], tmp_path: Path) -> None:
    # Not recognised as the motion kernel: an engine computes it.
    (tmp_path / "k.yaml").write_text(
        f"name: k\nscale: 1/9\nweights: {json.dumps([[[-1] * 3] * 3, [[1] * 3, [1] * 3, [1, 1, 1.00001]]])}\n"
    )
    found = []
    for number, kernel in enumerate(("motion", tmp_path / "k.yaml")):
        output = tmp_path / f"{number}.mp4"
        done = ok(
            "motion",
            SAMPLES / "walk.mp4",
            "-o",
            output,
            "-k",
            kernel,
            "--threshold",
            "2.05",
            "--json",
            *options,
        )
        found.append(json.loads(done.stdout)["events"])
    for mine, theirs in zip(*found, strict=True):
        assert mine.pop("strength") == pytest.approx(theirs.pop("strength"), rel=1e-3)
        assert mine == theirs


# Temporal kernels


def test_temporal_kernels_are_their_formulas() -> None:
    assert load_kernel("temporal-mean:4").shape == (1, 1, 4, 1, 1)
    np.testing.assert_allclose(load_kernel("temporal-mean:4").array().ravel(), [0.25] * 4)
    bell = load_kernel("temporal-gaussian:2").array().ravel()
    expected = np.exp(-0.5 * (np.arange(-8, 9) / 2) ** 2)
    np.testing.assert_allclose(bell, expected / expected.sum(), rtol=1e-6)
    data = np.random.default_rng(0).normal(size=(6, 5, 7))
    for name, function in [
        ("frame-difference", lambda d: d[1:] - d[:-1]),
        ("temporal-edge", lambda d: (d[2:] - d[:-2]) / 2),
    ]:
        np.testing.assert_allclose(convcli.filter(data, name, padding="valid", axes="TYX"), function(data))


def test_spatiotemporal_sobel_is_scipys() -> None:
    data = np.random.default_rng(0).normal(size=(7, 8, 9))
    parts = [ndimage.sobel(data, axis=axis) for axis in range(3)]
    expected = np.sqrt(sum(part**2 for part in parts))[1:-1, 1:-1, 1:-1]
    ours = convcli.filter(data, "spatiotemporal-sobel", padding="valid", axes="TYX")
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("names", "stride", "expected"),
    [
        (["motion"], 1, [1, 2, 3]),
        (["temporal-edge"], 1, [1, 2, 3]),
        (["temporal-mean:3", "motion"], 1, [2, 3, 4]),
        (["motion"], 2, [1, 3, 5]),
    ],
)
def test_a_result_belongs_to_the_newer_frame(names: list[str], stride: int, expected: list[int]) -> None:
    kernels = [load_kernel(name, 3) for name in names]
    chain = bind(kernels, Settings(stride=(stride, 1, 1)), "TYX", (10, 9, 9), 1)
    assert [newest(chain, index) for index in range(3)] == expected


# Events


@pytest.mark.parametrize("noise", [0, 3, 8])
def test_known_events_are_found_and_none_invented(noise: float, tmp_path: Path) -> None:
    samples.write(samples.walk(noise), tmp_path / "a.npy")
    done = ok("motion", tmp_path / "a.npy", "--axes", "TYX", "--no-output", "--events", "-", "-q")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(events) == len(samples.EVENTS)
    for event, (start, end) in zip(events, samples.EVENTS, strict=True):
        assert abs(event["start_frame"] - start) <= 1
        assert abs(event["end_frame"] - end) <= 1
        assert event["start"] == pytest.approx(event["start_frame"] / 25)
        assert event["start"] <= event["peak"] <= event["end"]
    x, y, width, height = events[0]["bbox"]  # the ball rolls along y 40, x from 20 to 70, radius 10
    assert abs(x - 9) <= 3 and abs(x + width - 82) <= 3 and abs(y - 29) <= 3 and abs(y + height - 52) <= 3


def test_the_sample_clip_has_its_known_events() -> None:
    report = json.loads(ok("motion", SAMPLES / "walk.mp4", "--no-output", "--json").stdout)
    assert [(e["start_frame"], e["end_frame"]) for e in report["events"]] == list(samples.EVENTS)
    assert list(report["events"][0]) == [
        "start", "end", "peak", "start_frame", "end_frame", "peak_frame", "area", "bbox", "strength",
        "objects",
    ]  # fmt: skip


def test_times_are_those_of_the_clip(tmp_path: Path) -> None:
    frames = np.full((8, 48, 64), 90, np.uint8)
    frames[5:, 10:30, 20:40] = 200
    times = [0, 100, 120, 300, 330, 700, 720, 1000]
    path = make(tmp_path / "a.mkv", frames, times=times, base=Fraction(1, 1000), codec="ffv1", pixels="gray")
    done = ok("motion", path, "--no-output", "--events", "-", "--min-duration", "0", "-q")
    (event,) = map(json.loads, done.stdout.splitlines())
    assert (event["start"], event["start_frame"], event["end_frame"]) == (0.7, 5, 5)
    assert event["bbox"] == [19, 9, 22, 22]  # the square, and a pixel more that the mean of 3×3 reaches
    assert event["strength"] == pytest.approx(110 * 400 / 22**2, rel=0.01)


def test_flicker_is_no_motion_with_steady_light(tmp_path: Path) -> None:
    light = 100 + 20 * np.sin(np.arange(30))
    frames = np.broadcast_to(light[:, None, None], (30, 48, 64)).copy()
    frames[12:18, 20:30, 20:30] += np.arange(6)[:, None, None] * 20
    np.save(tmp_path / "a.npy", np.rint(frames).astype(np.uint8))
    arguments = ("motion", tmp_path / "a.npy", "--axes", "TYX", "--no-output", "--json", "--threshold", "6")
    flickering = json.loads(ok(*arguments).stdout)["events"]
    steady = json.loads(ok(*arguments, "--stabilise-light").stdout)["events"]
    assert flickering[0]["area"] == 48 * 64
    assert [(e["start_frame"], e["end_frame"]) for e in steady] == [(13, 18)]


def test_denoise_finds_what_noise_hides(tmp_path: Path) -> None:
    random = np.random.default_rng(4)
    frames = np.full((40, 60, 80), 100.0)
    for index in range(15, 30):
        frames[index, 20:40, index : index + 12] += 30
    np.save(tmp_path / "a.npy", np.rint(frames + random.normal(0, 8, frames.shape)).astype(np.uint8))
    arguments = ("motion", tmp_path / "a.npy", "--axes", "TYX", "--no-output", "--json", "--min-area", "20")
    assert json.loads(ok(*arguments).stdout)["events"] == []
    assert len(json.loads(ok(*arguments, "--denoise", "3").stdout)["events"]) == 1


def test_a_region_is_all_that_is_looked_at() -> None:
    arguments = ("motion", SAMPLES / "walk.mp4", "--no-output", "--json")
    lower = json.loads(ok(*arguments, "--region", "80,70,80,40").stdout)["events"]
    assert [(e["start_frame"], e["end_frame"]) for e in lower] == [samples.EVENTS[1]]
    x, y, width, height = lower[0]["bbox"]
    assert x >= 80 and y >= 70 and x + width <= 160 and y + height <= 110


def test_events_end_after_the_gap_and_short_ones_are_dropped() -> None:
    detector = Detector(Rules(min_duration=0.15, merge_gap=0.25))
    seen = [9, 9, 0, 0, 9, 0, 0, 0, 0, 9, 0, 0, 0, 0, 9, 9]
    for frame, area in enumerate(seen):
        boxes = ((frame, 0, 2, 2),) if area else ()
        detector.add(frame, frame / 10, 0.1, Look(area, boxes, 3.0, (1.0,) * len(boxes)))
    detector.close()
    assert [(e.start_frame, e.end_frame) for e in detector.events] == [(0, 4), (14, 15)]
    assert detector.events[0].box == (0, 0, 6, 2)


def blocks_of(values: np.ndarray) -> np.ndarray:
    """Return the limits of a scene that is a little lighter from left to right, by `limits`."""
    height, width = values.shape[1:]
    scene = np.broadcast_to(np.arange(-(-width // 16)), (-(-height // 16), -(-width // 16)))
    return limits(values, scene, 16, 1.0).blocks


def test_the_threshold_is_above_normal_noise_of_any_size() -> None:
    noise = np.random.default_rng(8).normal(0, 1, (16, 240, 320))
    for sigma in (0.1, 1, 3):
        found = blocks_of(sigma * noise)
        assert found.min() >= 2  # compression alone reaches that
        if sigma >= 1:
            assert 5 * sigma < found.min() and found.max() < 11 * sigma
    assert blocks_of(60 * noise).max() == 40
    assert sum(map(len, sample(10_000, list(range(0, 10_000, 50))))) <= 200


def test_what_moves_all_the_time_is_no_noise() -> None:
    values = np.random.default_rng(8).normal(0, 1, (16, 240, 320))
    quiet = blocks_of(values)
    values[:, 96:144, 100:150] += 30  # a place where all pixels change alike, in every result
    np.testing.assert_allclose(blocks_of(values), quiet, rtol=0.35)


def test_noise_of_one_place_raises_the_threshold_there_alone() -> None:
    values = np.random.default_rng(8).normal(0, 1, (16, 240, 320))
    values[:, :, 160:] *= 3  # the scene is lighter there, as noise of light is larger in light
    found = blocks_of(values)
    assert found[:, :9].max() < 13 and found[:, 11:].min() > 16


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (30, 40)])
def test_regions_are_scipys(size: tuple[int, int]) -> None:
    random = np.random.default_rng(2)
    for share in (0.1, 0.3, 0.5, 1):
        mask = random.random(size) < share
        numbered, _ = ndimage.label(mask, np.ones((3, 3)))
        areas = np.bincount(numbered.ravel())
        expected = [
            (columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
            for number, (rows, columns) in enumerate(ndimage.find_objects(numbered), 1)
            if areas[number] >= 3
        ]
        kept = mask & (areas[numbered] >= 3)
        assert sorted(keep_regions(mask, 3)) == sorted(expected)
        np.testing.assert_array_equal(mask, kept)


def test_what_goes_nowhere_is_a_hot_pixel_and_no_object() -> None:
    for step, events in ((0, 0), (3, 1)):
        detector = Detector(Rules(noisy=76800))
        for frame in range(9):
            boxes = (step * frame, 0, 4, 5), (90, 90, 4, 5)
            detector.add(frame, frame / 10, 0.1, Look(20, boxes, 3.0, (1e4, 1e4)))
        detector.close()
        assert len(detector.events) == events
    assert detector.events[0].objects == ((0, 0, 28, 5),)


@pytest.mark.parametrize("count", [2, 3])
def test_what_moves_all_through_a_short_clip_is_an_event(count: int) -> None:
    frames = 90 + np.random.default_rng(3).normal(0, 1, (count, 120, 160))
    for index in range(1, count):
        frames[index, 40:70, 20 * index : 20 * index + 30] = 220
    (event,) = convcli.motion(np.rint(frames).astype(np.uint8))
    assert (event.start_frame, event.end_frame) == (1, count - 1)


def test_hot_pixels_of_a_small_picture_are_no_motion() -> None:
    random = np.random.default_rng(3)
    frames = 60 + 90 * random.random((12, 16)).repeat(10, axis=0).repeat(10, axis=1)
    frames = frames + random.normal(0, 2, (100, 120, 160))
    for row, column in random.integers((60, 4), (116, 156), (9, 2)):
        frames[random.random(100) < 0.5, row, column] = 255
    assert convcli.motion(np.rint(frames.clip(0, 255)).astype(np.uint8)) == []
    for index in range(40, 60):
        frames[index, 20:26, 10 + 3 * (index - 40) : 16 + 3 * (index - 40)] = 240
    (event,) = convcli.motion(np.rint(frames.clip(0, 255)).astype(np.uint8))
    assert (event.start_frame, event.end_frame) == (40, 60)


@pytest.mark.parametrize(
    ("frames", "energy", "events"),
    [(3, 1000, 0), (40, 1000, 1), (3, 9000, 1)],
    ids=["rare", "lasts", "clear"],
)
def test_what_is_faint_must_last(frames: int, energy: float, events: int) -> None:
    for noisy in (76800, 0):
        detector = Detector(Rules(min_duration=0.1, noisy=noisy))
        for frame in range(frames):
            detector.add(frame, frame / 30, 1 / 30, Look(20, ((4 * frame, 0, 6, 20),), 3.0, (energy,)))
        detector.close()
        assert len(detector.events) == (events if noisy else 1)


@pytest.mark.parametrize(
    ("noise", "last", "options"),
    [(5, 0, {"crf": "30", "preset": "medium"}), (2, 1, {"crf": "28"})],
    ids=["noise", "dissolve"],
)
def test_what_compression_makes_of_a_scene_is_no_motion(
    noise: float, last: int, options: dict[str, str], tmp_path: Path
) -> None:
    random = np.random.default_rng(8 - 2 * last)
    first, other = 50 + 150 * random.random((2, 30, 40)).repeat(8, axis=1).repeat(8, axis=2)
    first = ndimage.gaussian_filter(first, 9 * (1 - last))
    shares = last * np.clip((np.arange(90) - 20) / 60, 0, 1)[:, None, None]
    frames = first + shares * (other - first) + random.normal(0, noise, (90, 240, 320))
    path = make(tmp_path / "a.mp4", np.rint(frames.clip(0, 255)).astype(np.uint8), options=options)
    assert convcli.motion(path) == []


def test_a_look_measures_both_signs() -> None:
    values = np.zeros((6, 8))
    values[1, 2], values[3, 6] = -5, 9
    seen = look(values, np.abs(values) > 4, [(2, 1, 5, 3)], 48, Limits(np.full((1, 1), 4.0), 16))
    assert (seen.area, seen.strength, seen.share, seen.energies) == (2, 7.0, 2 / 48, ((25 + 81) / 16,))


@pytest.mark.parametrize(("gain", "offset"), [(1.12, 0), (0.8, 20), (1, -9), (1.5, 3)])
def test_a_change_of_light_is_found_whatever_moves(gain: float, offset: float) -> None:
    random = np.random.default_rng(3)
    scene = 20 + 100 * random.random((12, 16)).repeat(16, axis=0).repeat(16, axis=1)
    before, after = scene + random.normal(0, 5, scene.shape), gain * scene + offset
    after[40:120, 50:150] = 210  # a sixth of the picture
    light = light_change(before, after + random.normal(0, 5, scene.shape), 255)
    assert light is not None
    assert light.gain == pytest.approx(gain, rel=0.05)
    assert light.gain * 70 + light.offset == pytest.approx(gain * 70 + offset, abs=2)
    assert light_change(before, scene + random.normal(0, 5, scene.shape), 255) is None


# Pictures


def test_overlay_draws_on_what_moves_alone() -> None:
    frame = np.full((20, 30), 100, np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[8:12, 10:16] = True
    drawn = overlay(frame, mask, [(8, 6, 12, 9)])
    assert (drawn[:6] == 100).all()
    assert (drawn[9, 12] == [177, 82, 66]).all()
    assert (drawn[6, 8:20] == [255, 220, 0]).all()


def test_heat_is_brightest_where_most_moves() -> None:
    heat = HeatMap((4, 5))
    mask = np.zeros((4, 5), bool)
    mask[1, 2] = mask[2, 3] = True
    heat.add(np.where(np.arange(20).reshape(4, 5) == 7, 100, -10), mask)
    picture = heat.picture()
    assert picture[1, 2].tolist() == [255, 255, 255]
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert 0 < picture[2, 3].sum() < picture[1, 2].sum()


# The command


def test_all_outputs_at_once(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", samples.walk()[8:20], sound=True)
    done = ok(
        "motion", clip, "--overlay", "--events", "e.csv", "--heatmap", "h.png", "--still", "s.png", cwd=tmp_path
    )  # fmt: skip
    assert done.stdout.decode().split() == ["a.motion.mp4", "h.png", "s.png", "e.csv"]
    assert b"threshold" in done.stderr
    header, first = (tmp_path / "e.csv").read_text().splitlines()[:2]
    assert header.split(",")[:4] == ["kind", "start", "end", "peak"]
    kind, start, *_ = first.split(",")
    assert (kind, float(start)) == ("motion", pytest.approx(0.12))
    for name, width in (("h.png", 160), ("s.png", 6 * 160 + 5 * 4)):
        with Image.open(tmp_path / name) as image:
            assert image.size == (width, 120)
    assert times_of(tmp_path / "a.motion.mp4") == times_of(clip)[1:]
    assert packets(tmp_path / "a.motion.mp4", "audio") == packets(clip, "audio")


@pytest.mark.parametrize(
    ("frames", "code"),
    [(samples.walk()[10:18], 0), (samples.walk()[40:48], 1)],
    ids=["motion", "none"],
)
def test_exit_code_is_that_of_grep(frames: np.ndarray, code: int, tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", frames)
    done = shell("motion", clip, "--no-output", "--exit-code", "-q")
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")
    assert shell("motion", tmp_path / "no.mp4", "--no-output", "--exit-code").returncode == 2


def test_the_table_of_events_is_the_data(tmp_path: Path) -> None:
    done = ok("motion", SAMPLES / "walk.mp4", "--no-output", "-q")
    assert done.stderr == b""
    header, *rows = done.stdout.decode().splitlines()
    assert header.split()[:7] == ["start", "[s]", "end", "[s]", "peak", "[s]", "frames"]
    assert [row.split()[3] for row in rows] == ["11-35", "66-90"]


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    def drawn(box: tuple[int, int, int, int], start: float) -> list[str]:
        frame = round(25 * start)
        event = Event(start, start + 9, start + 5, frame, frame + 225, frame + 125, 1234567, box, 123.4)
        (table,) = lines(Found("a.mp4", {}, None, 10**6, 2.0, [event]))
        assert isinstance(table, Table)
        return table.lines()

    header, row = drawn((1200, 1000, 2640, 1160), 12345.678)
    assert len(row) <= 80 and len(header) <= 80
    assert header.split() == [
        "start",
        "[s]",
        "end",
        "[s]",
        "frames",
        "area",
        "[px]",
        "x,y,width,height",
        "strength",
    ]
    assert row.split()[:3] == ["12345.678", "12354.678", "308642-308867"]
    assert "peak" in drawn((1, 2, 30, 40), 1.5)[0]


def test_an_edit_decision_list_counts_frames(tmp_path: Path) -> None:
    ok("motion", SAMPLES / "walk.mp4", "--no-output", "--events", tmp_path / "a.edl", "-q")
    title, mode, _, *cuts = (tmp_path / "a.edl").read_text().splitlines()
    assert (title, mode) == ("TITLE: motion", "FCM: NON-DROP FRAME")
    # 25 frames a second: frames 11 to 35 of the clip, 25 of them, then 66 to 90.
    assert cuts == [
        "001  AX       V     C        00:00:00:11 00:00:01:11 00:00:00:00 00:00:01:00",
        "002  AX       V     C        00:00:02:16 00:00:03:16 00:00:01:00 00:00:02:00",
    ]


def test_a_cut_is_no_motion_and_a_clip_full_of_it_is_doubted(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    scenes = 60 + 120 * random.random((2, 12, 16)).repeat(8, axis=1).repeat(8, axis=2)
    np.save(tmp_path / "a.npy", scenes.repeat(10, axis=0).astype(np.uint8))
    done = ok("motion", tmp_path / "a.npy", "--axes", "TYX", "--no-output")
    assert b"no motion" in done.stderr and b"not counted as motion: cut at 0.400 s" in done.stderr
    frames = np.stack([np.roll(samples.walk()[0], 4 * index, axis=1) for index in range(12)])
    np.save(tmp_path / "b.npy", frames)
    done = ok("motion", tmp_path / "b.npy", "--axes", "TYX", "--no-output")
    assert b"fills the whole clip" in done.stderr and b"Try --region" in done.stderr


def test_a_clip_comes_through_a_pipe(tmp_path: Path) -> None:
    data = (SAMPLES / "walk.mp4").read_bytes()
    done = ok("motion", "-", "--no-output", "--json", stdin=data)
    assert len(json.loads(done.stdout)["events"]) == 2
    piped = ok("filter", "-", "-k", "box:3", stdin=data).stdout
    assert piped[4:8] == b"ftyp"


TWO = pattern(2)
Prepare = Callable[[Path], object]


def clip(folder: Path) -> None:
    make(folder / "a.mp4", TWO)


def still(name: str) -> Prepare:
    return lambda folder: Image.new("L", (9, 9)).save(folder / name, "PNG")


def text(name: str, content: str) -> Prepare:
    return lambda folder: (folder / name).write_text(content)


def recording(folder: Path) -> None:
    with wave.open(str(folder / "a.wav"), "wb") as fp:
        fp.setparams((1, 2, 8000, 0, "NONE", ""))
        fp.writeframes(bytes(800))


def sound(folder: Path) -> None:
    with av.open(str(folder / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        part = av.AudioFrame.from_ndarray(np.zeros((1, 960), np.float32), format="fltp", layout="mono")
        part.sample_rate = 48000
        container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def cut(folder: Path) -> None:
    clip(folder)
    os.truncate(folder / "a.mp4", 900)


def existing(folder: Path) -> None:
    clip(folder)
    (folder / "o.mp4").touch()


MOTION = ("motion", "a.mp4")
BOX = ("-k", "box:3")
CONCAT = "ffconcat version 1.0\nfile b.mp4\n"
BAD: dict[str, tuple[Prepare, tuple[str, ...], int, str]] = {
    "no rank 3": (clip, (*MOTION, "-k", "hedge"), 2, "rank 3"),
    "a sound in a clip's container": (sound, MOTION, 2, "not a clip: it has the axes x"),
    "an audio file": (recording, ("motion", "a.wav"), 2, "not a clip: it has the axes x"),
    "no frames": (text("a.y4m", "YUV4MPEG2 W32 H32 F25:1\n"), ("motion", "a.y4m"), 1, "holds no frames"),
    "an empty file": (text("a.mp4", ""), MOTION, 1, "is empty"),
    "one frame": (lambda f: make(f / "a.mp4", TWO[:1]), MOTION, 2, "larger"),
    "kernel longer than the clip": (clip, ("filter", "a.mp4", "-k", "temporal-mean:5"), 2, "larger"),
    "an image": (still("a.png"), ("motion", "a.png"), 2, "not a clip"),
    "an image named mp4": (still("a.mp4"), MOTION, 2, "not a clip"),
    "a playlist": (text("a.m3u8", "#EXTM3U\nb.ts\n"), ("motion", "a.m3u8"), 2, ".m3u8"),
    "a playlist named mp4": (text("a.mp4", CONCAT), MOTION, 1, "text"),
    "a kernel and a mean longer than the clip": (clip, (*MOTION, "--denoise", "5"), 2, "larger"),
    "a playlist without a suffix": (text("p", "#EXTM3U\nb.ts\n"), ("motion", "p"), 1, "no column"),
    "a protocol of motion": (clip, ("motion", "concat:a.mp4|a.mp4"), 1, "no such file"),
    "a part of a file": (clip, ("motion", "subfile,,start,0,end,9,,:a.mp4"), 1, "no such file"),
    "an option for a name": (clip, ("motion", "-a.mp4"), 2, "-a"),
    "a protocol": (clip, ("filter", "concat:a.mp4|a.mp4", *BOX), 1, "no such file"),
    "cut off": (cut, MOTION, 1, "a.mp4"),
    "a region outside": (clip, (*MOTION, "--region", "0,0,99,9"), 2, "64 x 48"),
    "no region": (clip, (*MOTION, "--region", "1,2,3"), 2, "x,y,width,height"),
    "no threshold": (clip, (*MOTION, "--threshold", "high"), 2, "high"),
    "an unknown encoder": (clip, (*MOTION, "--codec", "x"), 2, "codec"),
    "an unknown preset": (clip, (*MOTION, "--preset", "fastest"), 2, "libx264"),
    "output exists": (existing, (*MOTION, "-o", "o.mp4"), 1, "exists"),
    "a still as output": (clip, (*MOTION, "-o", "o.jpg"), 2, "no clip"),
    "a picture as a clip": (still("a.png"), ("filter", "a.png", *BOX, "-o", "o.mp4"), 2, "axes"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_and_writes_nothing(name: str, tmp_path: Path) -> None:
    prepare, arguments, code, fragment = BAD[name]
    prepare(tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    done = shell(*arguments, cwd=tmp_path)
    said = done.stderr.decode()
    assert done.returncode == code, said
    assert said.count("\n") == 1, said
    assert fragment in said
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_name_that_begins_with_a_dash(tmp_path: Path) -> None:
    make(tmp_path / "-a.mp4", TWO)
    ok("filter", "-k", "box:3", "-o", "./-b.mp4", "--", "-a.mp4", cwd=tmp_path)
    assert len(times_of(tmp_path / "-b.mp4")) == 2


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    make(tmp_path / "a.ts", pattern(4))
    for name in ("a.ts", "a.mp4"):
        make(tmp_path / name, pattern(4))
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "convcli", "filter", name, "-k", "box:3", "-o", "-"],
                stdout=full, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == 1
        assert done.stderr.decode().count("\n") == 1, done.stderr.decode()
        assert b"No space left" in done.stderr


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, (600, 240, 320), dtype=np.uint8))
    process = subprocess.Popen(
        [sys.executable, "-m", "convcli", "motion", "a.npy", "--axes", "TYX"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    wait_until_it_writes(process, tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


# Filters on clips


def test_a_filtered_clip_is_the_filtered_frames(tmp_path: Path) -> None:
    frames = pattern(5)
    make(tmp_path / "a.mkv", frames, codec="ffv1", pixels="bgr0")
    ok("filter", "a.mkv", "-k", "sobel-x", "-o", "b.mkv", cwd=tmp_path)
    expected = convcli.filter(frames, "sobel-x", axes="TYXC", range="offset:2")
    np.testing.assert_array_equal(decoded(tmp_path / "b.mkv", "rgb24"), expected)


def test_temporal_kernels_shorten_or_keep(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", pattern(6), times=[0, 2, 3, 7, 8, 10])
    ok("filter", clip, "-k", "temporal-mean:3", "-o", tmp_path / "b.mp4")
    ok("filter", clip, "-k", "temporal-mean:3", "--padding", "same", "-o", tmp_path / "c.mp4")
    assert times_of(tmp_path / "b.mp4") == times_of(clip)[1:-1]
    assert times_of(tmp_path / "c.mp4") == times_of(clip)


def test_animations_and_arrays_become_clips(tmp_path: Path) -> None:
    images = [Image.fromarray(frame) for frame in pattern(4)]
    images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=[50, 120, 70, 80])
    ok("filter", "a.gif", "-k", "box:3", "-o", "b.mp4", cwd=tmp_path)
    assert times_of(tmp_path / "b.mp4") == [Fraction(t, 1000) for t in (0, 50, 170, 240)]
    np.save(tmp_path / "c.npy", pattern(4))
    ok("filter", "c.npy", "--axes", "TYXC", "-k", "box:3", "--range", "clip", "-o", "d.mp4", cwd=tmp_path)
    with av.open(str(tmp_path / "d.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert container.streams.video[0].pix_fmt == "yuv420p"
    ok("filter", "b.mp4", "-k", "box:3", "-o", "e.gif", cwd=tmp_path)
    with Image.open(tmp_path / "e.gif") as image:
        image.seek(1)
        assert image.info["duration"] == 120
    ok("filter", "b.mp4", "-k", "box:3", "--range", "clip", "-o", "f.npy", cwd=tmp_path)
    assert np.load(tmp_path / "f.npy").shape == (4, 48, 64, 3)


def test_progress_for_programs() -> None:
    done = ok("motion", SAMPLES / "walk.mp4", "--no-output", "--json", "--progress", "json")
    last = [json.loads(line) for line in done.stderr.splitlines() if line.startswith(b"{")][-1]
    assert (last["done"], last["total"], last["unit"]) == (99, 99, "frames")


def test_samples_that_are_no_numbers_are_trouble_and_not_rest(tmp_path: Path) -> None:
    clip = np.random.default_rng(3).random((8, 31, 33), np.float32)
    clip[4, 5, 6] = np.nan
    np.save(tmp_path / "a.npy", clip)
    out = tmp_path / "b.mp4"
    for options in (("--no-output", "--exit-code"), ("-o", out), ("-o", out, "--threshold", "5")):
        done = shell("motion", tmp_path / "a.npy", "--axes", "TYX", *options)
        assert done.returncode == (2 if "--exit-code" in options else 1)
        assert b"are not numbers (NaN or infinite)" in done.stderr
        assert done.stderr.count(b"\n") == 1
        assert not out.exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("-o", "a.png", "--heatmap", "./a.png"), "'./a.png': named for two outputs"),
        (("-o", "./walk.001.mp4", "--cut", "."), "named for two outputs"),
        (("--no-output", "--events", "a.png"), "events are text"),
        (("--no-output", "--events", "walk.mp4"), "events are text"),
    ],
)
def test_no_output_takes_the_place_of_another(options: tuple[str, ...], line: str, tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").write_bytes((SAMPLES / "walk.mp4").read_bytes())
    done = shell("motion", "walk.mp4", *options, "-y", cwd=tmp_path)
    assert done.returncode == 2
    assert line in done.stderr.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]
    assert (tmp_path / "walk.mp4").read_bytes() == (SAMPLES / "walk.mp4").read_bytes()


def snow(flakes: int, speeds: tuple[int, int], count: int = 100) -> np.ndarray:
    """Light flakes of 2 or 3 pixels fall all over a darker scene, at so many pixels from frame to frame."""
    random = np.random.default_rng(7)
    scene = 70 + 60 * random.random((15, 20)).repeat(16, axis=0).repeat(16, axis=1)
    frames = scene + random.normal(0, 2, (count, 240, 320))
    spans = ((0, 318), (0, 240), speeds, (2, 4))
    for x, y, speed, size in zip(*(random.uniform(*span, flakes) for span in spans), strict=True):
        for index, frame in enumerate(frames):
            row, column, side = int(y + speed * index) % 240, int(x), int(size)
            frame[row : row + side, column : column + side] = 225
    return frames


@pytest.mark.parametrize(("flakes", "speeds"), [(80, (2, 5)), (500, (11, 17))], ids=["snow", "hail"])
def test_snow_is_no_motion_and_hides_none(flakes: int, speeds: tuple[int, int], tmp_path: Path) -> None:
    frames = snow(flakes, speeds)
    np.save(tmp_path / "a.npy", np.rint(np.clip(frames, 0, 255)).astype(np.uint8))
    done = ok("motion", tmp_path / "a.npy", "--axes", "TYX", "--no-output")
    assert b"no motion" in done.stderr and b"small things move everywhere" in done.stderr
    for index in range(40, 60):
        frames[index, 100:160, 20 + 4 * (index - 40) : 60 + 4 * (index - 40)] = 20
    (event,) = convcli.motion(np.rint(np.clip(frames, 0, 255)).astype(np.uint8))
    assert (event.start_frame, event.end_frame) == (40, 60)
