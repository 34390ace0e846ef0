"""Where to look: rectangles, polygons and mask pictures, as text, in the shell and in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.spatial import Delaunay

import convcli
from convcli.common.errors import UsageError
from convcli.geometry.areas import Areas, parse_region
from convcli.media.clip_view import light_part
from tests.clips import make
from tests.shell import convcli as shell
from tests.shell import ok


def inside(corners: list[tuple[int, int]], height: int, width: int) -> np.ndarray:
    """Return which centres of pixels lie in a convex polygon, by its triangulation."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    found = Delaunay(np.array(corners, float)).find_simplex(np.stack([columns, rows], axis=-1))
    return np.asarray(found >= 0)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("3,2,7,5", [[(3, 2), (10, 2), (10, 7), (3, 7)]]),
        ("1,1 18,3 7,12", [[(1, 1), (18, 3), (7, 12)]]),
        ("7,12 18,3 1,1", [[(1, 1), (18, 3), (7, 12)]]),  # the other way round
        (
            "0,0 20,0 20,12 9,4 0,12",  # concave
            [[(0, 0), (20, 0), (9, 4)], [(0, 0), (9, 4), (0, 12)], [(20, 0), (20, 12), (9, 4)]],
        ),
    ],
)
def test_a_polygon_holds_the_pixels_whose_centres_its_triangles_hold(
    text: str, parts: list[list[tuple[int, int]]]
) -> None:
    expected = np.logical_or.reduce([inside(part, 13, 20) for part in parts])
    np.testing.assert_array_equal(parse_region(text).mask(13, 20), expected)


def test_regions_add_up_and_what_is_ignored_is_taken_out() -> None:
    areas = Areas((parse_region("0,0,4,9"), parse_region("6,3,4,4")), (parse_region("2,2,6,3"),))
    expected = np.zeros((9, 12), bool)
    expected[:, :4] = expected[3:7, 6:10] = True
    expected[2:5, 2:8] = False
    np.testing.assert_array_equal(areas.mask(9, 12), expected)
    assert Areas((), (parse_region("0,0,1,1"),)).mask(2, 2).tolist() == [[False, True], [True, True]]


@pytest.mark.parametrize("form", ["L", "1", "RGB", "LA", "I;16", "bool.npy"])
def test_the_light_part_of_a_picture_is_a_mask(form: str, tmp_path: Path) -> None:
    marked = np.zeros((9, 12), bool)
    marked[2:5, 7:11] = True
    path = tmp_path / "mask.png"
    if form == "bool.npy":
        np.save(path := tmp_path / "mask.npy", marked)
    elif form == "LA":  # painted on nothing
        Image.fromarray(np.stack([np.full((9, 12), 250), 255 * marked], axis=-1).astype(np.uint8)).save(path)
    elif form == "I;16":
        Image.fromarray(marked.astype(np.uint16) * 4095).save(path)
    else:
        Image.fromarray(255 * marked.astype(np.uint8)).convert(form).save(path)
    np.testing.assert_array_equal(light_part(str(path)), marked)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three squares flash, at 8, 24 and 40 of 50 frames; noise everywhere."""
    frames = 100 + np.random.default_rng(2).normal(0, 4, (50, 96, 160))
    for first, x, y in ((8, 8, 8), (24, 60, 40), (40, 120, 70)):
        frames[first : first + 6, y : y + 20, x : x + 20] += 100
    path = tmp_path_factory.mktemp("squares") / "a.mkv"
    return make(path, np.rint(frames).astype(np.uint8), codec="ffv1", pixels="gray")


FIRST, SECOND, THIRD = 8, 24, 40
WAYS: list[tuple[list[str], list[int]]] = [
    (["--region", "0,0,60,40"], [FIRST]),
    (["--region", "0,0,60,40", "--region", "110,60 160,60 160,96 110,96"], [FIRST, THIRD]),
    (["--ignore", "0,0 60,0 0,60"], [SECOND, THIRD]),
    (["--ignore", "58,38,24,24", "--ignore", "0,0,40,40"], [THIRD]),
    (["--region", "0,0,160,70", "--ignore", "mask.png"], [FIRST]),
    (["--region", "mask.png"], [SECOND]),
]


@pytest.mark.parametrize(
    ("options", "expected", "more"),
    [
        *((*way, ("--threshold", "20")) for way in WAYS),
        (*WAYS[2], ()),
        (*WAYS[4], ()),
        (*WAYS[2], ("--stride", "1,2,2")),
        (*WAYS[2], ("--denoise", "2")),
    ],
)
def test_events_are_those_of_the_areas(
    options: list[str], expected: list[int], more: tuple[str, ...], squares: Path
) -> None:
    mask = Image.new("L", (160, 96))
    ImageDraw.Draw(mask).rectangle((30, 20, 104, 66), fill=255)
    mask.save(squares.parent / "mask.png")
    done = ok("motion", squares, "--no-output", "--json", "-q", *options, *more, cwd=squares.parent)
    events = json.loads(done.stdout)["events"]
    shift = 1 if "--denoise" in more else 0
    assert [event["start_frame"] for event in events] == expected
    assert all(event["end_frame"] - event["start_frame"] == 6 + shift for event in events)


def test_what_flickers_at_the_border_of_what_is_ignored_is_ignored() -> None:
    frames = np.full((40, 64, 96), 90, np.uint8)
    frames[::2, 20:41, 30:61] = 200
    assert convcli.motion(frames, threshold=3) != []
    assert convcli.motion(frames, threshold=3, ignore=(30, 20, 31, 21)) == []
    mask = np.zeros((64, 96), bool)
    mask[20:41, 30:61] = True
    assert convcli.motion(frames, threshold=3, ignore=mask) == []
    assert convcli.motion(frames, threshold=3, region=[~mask]) == []
    assert convcli.motion(frames, threshold=3, ignore=[(30, 20), (61, 20), (61, 41), (30, 41)]) == []
    assert convcli.motion(frames, threshold=3, ignore=["30,20,31,21", (0, 0, 9, 9)]) == []


def test_samples_that_are_no_numbers_can_be_ignored() -> None:
    frames = np.random.default_rng(1).normal(0.5, 0.01, (6, 40, 50)).astype(np.float32)
    frames[:, 4, 5] = np.nan
    assert convcli.motion(frames, ignore="5,4,1,1") == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--region", "1,2,3"], "region '1,2,3': give x,y,width,height, corners 'x,y x,y x,y', or a mask"),
        (["--ignore", "1,2 3,4"], "ignore '1,2 3,4': give"),
        (["--region", "0,0,0,9"], "region '0,0,0,9': give"),
        (["--region", "-1,0,9,9"], "region '-1,0,9,9': give"),
        (["--region", "no.png"], "region 'no.png': give"),
        (["--ignore", "0,0 161,0 9,9"], "ignore '0,0 161,0 9,9' lies outside the picture of 160 x 96"),
        (["--region", "small.png"], "region 'small.png' is a mask of 9 x 8, and the picture has 160 x 96"),
        (["--ignore", "0,0,160,96"], "--region and --ignore leave no pixel"),
        (["--region", "a.mkv"], "'a.mkv': no mask"),
    ],
)
def test_what_is_no_area_is_one_line(options: list[str], said: str, squares: Path) -> None:
    Image.new("L", (9, 8), 255).save(squares.parent / "small.png")
    done = shell("motion", squares, "--no-output", *options, cwd=squares.parent)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr
    assert said in done.stderr.decode()


@pytest.mark.parametrize("region", [(1.5, 0, 9, 9), [(1, 2), (3, 4)], 5, [], "x", np.ones((3, 3), bool)])
def test_what_is_no_area_in_python(region: Any) -> None:
    with pytest.raises(UsageError, match="region"):
        convcli.motion(np.zeros((4, 20, 30)), region=region)
