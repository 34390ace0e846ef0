"""Animated GIF, WebP and PNG as clips, both ways: times, loops and alpha, seen by Pillow and FFmpeg."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import imagecodecs
import numpy as np
import pytest
from PIL import Image

import convcli
from convcli.data.axes import SECOND, Listed
from convcli.data.info import Colour, Info
from convcli.media import registry
from convcli.media.opening import open_sink
from convcli.media.options import Compress, WriteOptions
from tests.clips import make, pattern, times_of
from tests.shell import convcli as shell
from tests.shell import ok

DURATIONS = [50, 120, 70, 80, 200]
LOOP = 3  # as each format counts it: WebP and APNG how often they play, GIF how often it is repeated
KINDS = ("gif", "webp", "png")


def frames(alpha: bool = True) -> np.ndarray:
    colours = pattern(5, 24, 32)
    if not alpha:
        return colours
    opacity = np.full((*colours.shape[:3], 1), 255, np.uint8)
    opacity[:, 5:12, 4:9] = 0
    return np.concatenate([colours, opacity], axis=-1)


def animation(path: Path, pictures: np.ndarray) -> Path:
    images = [Image.fromarray(picture) for picture in pictures]
    settings = {"lossless": True, "exact": True} if path.suffix == ".webp" else {}
    if path.suffix == ".gif":
        settings = {"disposal": 2}
    images[0].save(path, save_all=True, append_images=images[1:], duration=DURATIONS, loop=LOOP, **settings)
    return path


def shown(path: Path) -> tuple[list[int], int | None, np.ndarray]:
    """Return durations, loops and frames as Pillow reads them."""
    with Image.open(path) as image:
        durations, pictures = [], []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            durations.append(round(image.info["duration"]))
            pictures.append(np.asarray(image.convert("RGBA")))
        return durations, image.info.get("loop"), np.stack(pictures)


@pytest.mark.parametrize("kind", KINDS)
def test_a_spatial_kernel_keeps_times_loops_and_alpha(kind: str, tmp_path: Path) -> None:
    path = animation(tmp_path / f"a.{kind}", frames())
    ok("filter", path, "-k", "hedge", "--frames", "all", "-o", tmp_path / f"b.{kind}")
    durations, loop, pictures = shown(tmp_path / f"b.{kind}")
    assert (durations, loop) == (DURATIONS, LOOP)
    np.testing.assert_array_equal(pictures[..., 3], frames()[..., 3])  # a signed kernel: passed through
    if kind != "gif":  # that has 255 colours
        seen = shown(path)[2][..., :3]  # WebP's decoder clears what is transparent
        expected = convcli.filter(seen, "hedge", axes="TYXC", range="offset:2")
        opaque = pictures[..., 3] == 255
        np.testing.assert_array_equal(pictures[opaque, :3], expected[opaque])


@pytest.mark.parametrize("kind", KINDS)
def test_a_temporal_kernel_takes_all_frames(kind: str, tmp_path: Path) -> None:
    path = animation(tmp_path / f"a.{kind}", frames(alpha=False))
    ok("filter", path, "-k", "temporal-mean:3", "-o", tmp_path / f"b.{kind}")
    durations, loop, pictures = shown(tmp_path / f"b.{kind}")
    assert (durations, loop) == (DURATIONS[1:-1], LOOP)
    seen = shown(path)[2][..., :3].astype(float)
    expected = (seen[:-2] + seen[1:-1] + seen[2:]) / 3
    assert np.abs(pictures[..., :3] - expected).max() < (30 if kind == "gif" else 0.51)


@pytest.mark.parametrize("source", KINDS)
@pytest.mark.parametrize("target", KINDS)
def test_from_one_kind_to_another(source: str, target: str, tmp_path: Path) -> None:
    path = animation(tmp_path / f"a.{source}", frames())
    ok("filter", path, "-k", "identity", "--frames", "all", "-o", tmp_path / f"b.{target}")
    durations, loop, pictures = shown(tmp_path / f"b.{target}")
    plays = LOOP + (source == "gif") - (target == "gif")
    assert (durations, loop) == (DURATIONS, plays)
    np.testing.assert_array_equal(pictures[..., 3], frames()[..., 3])


@pytest.mark.parametrize(
    ("kind", "longest"),
    [("gif", 655_350), ("png", 65_535_000), ("webp", 16_777_215)],  # 16 bits of 1/100 s, of s, 24 bits of ms
)
def test_a_frame_lasts_as_long_as_the_format_can_say(kind: str, longest: int, tmp_path: Path) -> None:
    times = Listed((0, 1, 10**9), Fraction(1, 25), SECOND, 10**9 + 1)
    info = Info.of("TYX", (3, 8, 9), "uint8", Colour.GREY).placed(T=times)
    path, pixels = tmp_path / f"a.{kind}", np.arange(216, dtype=np.uint8).reshape(3, 8, 9)
    with open_sink(str(path), registry.by_name(kind), info, WriteOptions()) as sink:
        sink.write(info.box, pixels)
        sink.close()
    assert f"at most {longest / 1000:g} s" in " ".join(sink.notes)
    assert shown(path)[0] == [40, longest, 40]


def test_still_frames_that_last_too_long_together_are_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((70, 8, 8), 100, np.uint8))
    job = (
        "filter",
        "a.npy",
        "--axes",
        "TYX",
        "-k",
        "box:3",
        "--range",
        "clip",
        "--fps",
        "0.1",
        "-o",
        "a.gif",
    )
    done = shell(*job, cwd=tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"GIF cannot hold these times" in done.stderr


def repeated(path: Path, loop: int | None) -> Path:
    """Write an animation with a count; ``None`` writes none into a GIF."""
    images = [Image.fromarray(picture) for picture in frames(alpha=False)]
    count = {} if loop is None else {"loop": loop}
    images[0].save(path, save_all=True, append_images=images[1:], duration=100, **count)
    return path


@pytest.mark.parametrize(
    ("source", "count", "gif", "other"),
    [  # gif2webp of libwebp, and the other way round
        ("a.gif", None, None, 1),
        ("a.gif", 0, 0, 0),
        ("a.gif", 1, 1, 2),
        ("a.png", 1, None, 1),
        ("a.webp", 0, 0, 0),
        ("a.webp", 4, 3, 4),
        ("a.png", 100_000, 65_534, 65_535),  # APNG counts in 32 bits, the others in 16
    ],
)
def test_a_clip_plays_as_often_as_before(
    source: str, count: int | None, gif: int | None, other: int, tmp_path: Path
) -> None:
    path = repeated(tmp_path / source, count)
    for name, expected in (("b.gif", gif), ("b.webp", other)):
        ok("filter", path, "-k", "identity", "--frames", "all", "-o", tmp_path / name)
        assert shown(tmp_path / name)[1] == expected


@pytest.mark.parametrize("rate", ["24", "30", "30000/1001", "60"])
def test_the_delays_of_a_gif_add_up_to_the_length_of_the_clip(rate: str, tmp_path: Path) -> None:
    """30 frames a second are delays of 3, 3 and 4 hundredths in turn, as the GIF writer of FFmpeg has them."""
    base = 1 / Fraction(rate)
    make(tmp_path / "a.mkv", pattern(45, 24, 32), codec="ffv1", pixels="bgr0", base=base)
    ok("filter", tmp_path / "a.mkv", "-k", "identity", "-o", tmp_path / "a.gif", "-q")
    durations = np.array(shown(tmp_path / "a.gif")[0])
    assert np.abs(durations.cumsum() - [round(1000 * base * (n + 1)) for n in range(45)]).max() <= 6
    assert durations.min() >= 10


def test_a_gif_that_must_be_slower_is_said(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", pattern(60, 24, 32), codec="ffv1", pixels="bgr0", base=Fraction(1, 120))
    done = ok("filter", tmp_path / "a.mkv", "-k", "identity", "-o", tmp_path / "a.gif")
    assert shown(tmp_path / "a.gif")[0] == [10] * 60
    assert b"0.60 s instead of 0.50 s" in done.stderr


def test_delays_of_png_are_fractions(tmp_path: Path) -> None:
    images = [Image.fromarray(picture) for picture in pattern(30, 24, 32)]
    images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:], duration=1000 / 30)
    ok("filter", tmp_path / "a.png", "-k", "identity", "-o", tmp_path / "b.mkv", "-q", "--frames", "all")
    assert abs(times_of(tmp_path / "b.mkv")[-1] - Fraction(29, 30)) < Fraction(1, 1000)


@pytest.mark.parametrize("kind", KINDS)
def test_motion_in_an_animation(kind: str, tmp_path: Path) -> None:
    still = np.full((5, 40, 50), 90, np.uint8)
    still[2:, 10:30, 10:30] = 190
    still[:, 0, 49] += np.arange(5, dtype=np.uint8)  # frames that are alike would become one
    path = animation(tmp_path / f"a.{kind}", still)
    done = ok("motion", path, "-o", tmp_path / f"m.{kind}", "--events", "-", "--min-duration", "0", "-q")
    (event,) = map(json.loads, done.stdout.splitlines())
    assert (event["start"], event["start_frame"], event["end_frame"]) == (0.17, 2, 2)
    durations, loop, pictures = shown(tmp_path / f"m.{kind}")
    assert (sum(durations), loop) == (sum(DURATIONS[1:]), LOOP)
    assert (pictures[0, 10:, :40, :3] == 128).all()


def test_an_animation_becomes_a_clip_with_its_times(tmp_path: Path) -> None:
    path = animation(tmp_path / "a.webp", frames(alpha=False))
    ok("filter", path, "-k", "box:3", "-o", tmp_path / "b.mkv", "-q")
    assert times_of(tmp_path / "b.mkv") == [Fraction(time, 1000) for time in (0, 50, 170, 240, 320)]
    ok("filter", tmp_path / "b.mkv", "-k", "box:3", "-o", tmp_path / "c.png", "-q")
    durations, loop, _ = shown(tmp_path / "c.png")
    assert (durations[:4], loop) == (DURATIONS[:4], 0)


@pytest.mark.parametrize("channels", ["", "A", "RGB", "RGBA"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("compress", list(Compress))
def test_png_keeps_every_bit_of_its_frames(
    channels: str, dtype: str, compress: Compress, tmp_path: Path
) -> None:
    """By libpng; and by FFmpeg where PyAV makes an array of its frames."""
    colour = {"": Colour.GREY, "A": Colour.GREY_ALPHA, "RGB": Colour.RGB, "RGBA": Colour.RGBA}[channels]
    shape = (6, 12, 17, *((max(2, len(channels)),) if channels else ()))
    x = np.random.default_rng(3).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    if "A" in channels:
        x[..., -1] |= 1  # an alpha of zero would make its colours black
    x[2] = x[1] = x[0]  # nothing changes
    x[2, 3:5, 6:9] = 7
    x[5] = x[4]
    x[5, 11, 16] ^= 1
    times = Listed((0, 1, 2, 3, 5, 6), Fraction(1, 10), SECOND, 7)
    info = Info.of("TYXC"[: x.ndim], x.shape, dtype, colour).placed(T=times)
    path = tmp_path / "a.png"
    with open_sink(str(path), registry.by_name("png"), info, WriteOptions(quality=compress)) as sink:
        for start in range(0, 6, 2):
            sink.write(info.strip(start, start + 2), x[start : start + 2])
        sink.close()
    assert not sink.notes
    np.testing.assert_array_equal(imagecodecs.apng_decode(path.read_bytes()).reshape(x.shape), x)
    with av.open(str(path)) as file:
        seen = list(file.decode(video=0))
    assert [frame.time for frame in seen] == [0, 0.1, 0.2, 0.3, 0.5, 0.6]
    if channels != "A":
        np.testing.assert_array_equal(np.stack([frame.to_ndarray() for frame in seen]), x)
    ok("filter", "a.png", "-k", "identity", "--frames", "all", "-o", "b.png", cwd=tmp_path)
    np.testing.assert_array_equal(
        imagecodecs.apng_decode((tmp_path / "b.png").read_bytes()).reshape(x.shape), x
    )


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_are_all_equal(kind: str, tmp_path: Path) -> None:
    path = animation(tmp_path / f"a.{kind}", frames())
    done = ok("filter", path, "-k", "box:3", "--range=-2:-1", "--frames", "all", "-o", tmp_path / f"b.{kind}")
    with Image.open(tmp_path / f"b.{kind}") as image:
        durations = 0
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            durations += image.info.get("duration", 0)
    assert (durations == sum(DURATIONS)) != (b"one still picture, without times" in done.stderr)


@pytest.mark.parametrize(("count", "said"), [(0, False), (1, False), (3, True)])
def test_a_clip_cannot_say_how_often_it_plays(count: int, said: bool, tmp_path: Path) -> None:
    repeated(tmp_path / "a.png", count)
    done = ok("filter", tmp_path / "a.png", "-k", "box:3", "--frames", "all", "-o", tmp_path / "b.mkv")
    assert (b"note: that it plays 3 times is left out: MKV holds none\n" in done.stderr) == said
    assert said or b"plays" not in done.stderr
