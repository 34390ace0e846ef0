"""The Python verb ``motion`` finds what the shell finds, in arrays and in files."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import convcli
from convcli.common.errors import ConvError, UsageError
from convcli.kernel import load_kernel
from tests.clips import decoded, make
from tests.shell import SAMPLES, ok

import clips as samples  # isort: skip  # samples/ is on the path through tests.clips


def test_the_known_events_in_an_array() -> None:
    events = convcli.motion(samples.walk(3))
    found = [(event.start_frame, event.end_frame) for event in events]
    np.testing.assert_allclose(found, samples.EVENTS, atol=1)
    assert events[0].start == events[0].start_frame / 25
    assert convcli.motion(samples.walk(3), fps="50")[0].start == events[0].start_frame / 50


def test_a_file_gives_the_events_and_the_picture_of_the_shell(tmp_path: Path) -> None:
    output = tmp_path / "m.mkv"
    done = ok("motion", SAMPLES / "walk.mp4", "-o", output, "--codec", "ffv1", "--events", "-", "-q")
    events, picture = convcli.motion(SAMPLES / "walk.mp4", picture=True)
    assert [{"kind": "motion"} | event.facts for event in events] == [
        json.loads(line) for line in done.stdout.splitlines()
    ]
    np.testing.assert_array_equal(picture, decoded(output, "gray"))


def test_the_picture_is_the_filtered_clip() -> None:
    frames = np.random.default_rng(3).integers(0, 65536, (4, 9, 11), dtype=np.uint16)
    kernel = load_kernel("frame-difference")
    _, picture = convcli.motion(frames, kernel, picture=True)
    expected = convcli.filter(frames, kernel, axes="TYX", range=str(kernel.display_policy))
    np.testing.assert_array_equal(picture, expected)


@pytest.mark.filterwarnings("ignore:the samples reach")
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_huge_value_is_felt_only_in_its_windows(engine: str) -> None:
    """By a kernel so large that its transform would be quicker."""
    random = np.random.default_rng(3)
    weights = random.normal(size=(3, 25, 27))
    clip = random.normal(0.5, 5, (8, 60, 90)).astype(np.float32)
    clip[4, 3:6, 4:7] = 1e20
    kernel = convcli.Kernel.from_array(weights - weights.mean())
    _, picture = convcli.motion(clip, kernel, picture=True, engine=engine)  # type: ignore[call-overload]
    clip[4, 3:6, 4:7] = 0.5
    _, without = convcli.motion(clip, kernel, picture=True, engine=engine)  # type: ignore[call-overload]
    np.testing.assert_allclose(picture[..., 20:], without[..., 20:], atol=1)  # a level of 255
    assert np.ptp(without[..., 20:]) > 9
    assert abs(picture[..., :20].astype(int) - without[..., :20]).max() > 99


@pytest.mark.parametrize("order", ["TYXC", "CTYX"])
def test_colour_is_taken_as_brightness(order: str) -> None:
    frames = np.zeros((6, 20, 30, 3), np.uint8)
    frames[3:, 5:15, 5:15, 1] = 200
    array = frames.transpose(["TYXC".index(letter) for letter in order])
    (event,) = convcli.motion(array, axes=order, min_duration=0)
    assert (event.start_frame, event.box) == (3, (4, 4, 12, 12))
    assert event.strength == pytest.approx(0.7152 * 200 * 100 / 144, rel=0.01)  # Rec. 709


@pytest.mark.parametrize(
    ("kind", "white"),
    [("int16", "32767"), ("int64", "9.22337e+18"), ("uint16", "65535"), ("float32", "1"), ("bool", "255")],
)
def test_samples_on_another_scale_than_their_type_has_are_said(kind: str, white: str) -> None:
    """Bytes as int64 found nothing, as floats an event of the whole picture, and no line said why."""
    clip = np.full((20, 48, 64), 60)
    clip[8:12, 20:30, 20:30] = 200
    given = clip > 100 if kind == "bool" else clip.astype(kind)
    with pytest.warns(
        UserWarning, match=rf"reach (200|1), and grey levels are 255ths of {re.escape(white)}, "
    ):
        convcli.motion(given)
    scaled = given * (white == "255") * 255 if kind == "bool" else given * (float(white) / 255)
    assert [
        event.start_frame for event in convcli.motion(scaled.astype("uint8" if kind == "bool" else kind))
    ] == [8]


def test_options_are_those_of_the_shell() -> None:
    clip = samples.walk()
    (event,) = convcli.motion(clip, region=(80, 70, 80, 40))
    assert event.start_frame == samples.EVENTS[1][0] and event.box[0] >= 80
    assert convcli.motion(clip, threshold=254) == []
    assert convcli.motion(clip, min_area="50%") == []
    assert len(convcli.motion(clip, stride=(1, 2, 2), denoise=2, stabilise_light=True)) == 2


@pytest.mark.parametrize(
    ("array", "options", "said"),
    [
        (np.zeros((4, 5)), {}, "is not a clip"),
        (np.zeros((1, 8, 8)), {}, "larger"),
        (np.zeros((2, 8, 8), complex), {}, "complex128"),
        (np.zeros((2, 8, 8)), {"axes": "ZYX"}, "is not a clip"),
        (np.zeros((2, 8, 8)), {"kernel": "hedge"}, "rank 3"),
        (np.zeros((2, 8, 8)), {"threshold": "high"}, "threshold 'high'"),
        (np.zeros((2, 8, 8)), {"threshold": -1}, "0 or more"),
        (np.zeros((2, 8, 8)), {"denoise": 0}, "denoise 0"),
        (np.zeros((2, 8, 8)), {"region": (0, 0, 9, 9)}, "outside"),
        (np.zeros((2, 8, 8)), {"region": np.array(2)}, "region '2'"),
        (np.zeros((2, 8, 8)), {"fps": 0}, "frames a second"),
        (SAMPLES / "walk.mp4", {"fps": 5}, "times of their own"),
        (SAMPLES / "house.png", {}, "house.png': not a clip"),
    ],
)
def test_what_cannot_be_meant(array: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        convcli.motion(array, **options)


def test_a_missing_file() -> None:
    with pytest.raises(ConvError, match="no such file"):
        convcli.motion("no.mp4")


def test_raw_times_are_those_of_the_file(tmp_path: Path) -> None:
    frames = samples.walk()[..., None].repeat(3, -1)
    make(
        tmp_path / "a.mkv", frames, codec="ffv1", pixels="bgr0", times=[1000 + n for n in range(len(frames))]
    )
    raw, shown = (convcli.motion(tmp_path / "a.mkv", raw_times=flag) for flag in (True, False))
    done = ok("motion", "a.mkv", "--raw-times", "--events", "-", "--no-output", "-q", cwd=tmp_path)
    assert [{"kind": "motion"} | event.facts for event in raw] == [
        json.loads(line) for line in done.stdout.splitlines()
    ]
    assert [one.start - two.start for one, two in zip(raw, shown, strict=True)] == pytest.approx(
        [40.0] * len(raw)
    )
