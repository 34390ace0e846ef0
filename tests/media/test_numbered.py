"""Numbered pictures as clips, both ways: names, order, depth, gaps, and nothing left of a failure."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

import convcli
from convcli.common.errors import ConvError
from convcli.data.info import Info
from convcli.media import registry
from convcli.media.clips.numbered import find, pattern
from convcli.media.files.atomic import replacing_all
from convcli.media.opening import open_sink
from convcli.media.options import WriteOptions
from tests.clips import make, times_of
from tests.clips import pattern as colours
from tests.shell import as_user, ok
from tests.shell import convcli as shell

KERNEL = "1,2,0;0,-1,0;0,0,0|0,0,1;0,1,0;0,0,0"  # asymmetric, of two frames


def pictures(folder: Path, frames: np.ndarray, name: str = "%04d.png", first: int = 0) -> Path:
    folder.mkdir(exist_ok=True)
    for number, frame in enumerate(frames, first):
        path = folder / (name % number)
        if path.suffix == ".png":
            path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(frame)))
        else:
            tifffile.imwrite(path, frame)
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("top", [255, 65535])
@pytest.mark.parametrize("kind", ["png", "tif"])
def test_pictures_become_pictures_in_full_depth(top: int, kind: str, tmp_path: Path) -> None:
    frames = colours(5, top=top)
    pictures(tmp_path / "in", frames, f"%04d.{kind}", first=7)
    (tmp_path / "out").mkdir()
    done = ok("filter", f"in/%04d.{kind}", "-k", "sharpen", "-o", f"out/a%03d.{kind}", cwd=tmp_path)
    assert done.stdout.decode() == f"out/a%03d.{kind}\n"
    assert b"5 files" in done.stderr
    assert names(tmp_path / "out") == [f"a{number:03}.{kind}" for number in range(7, 12)]
    read = (lambda path: imagecodecs.png_decode(path.read_bytes())) if kind == "png" else tifffile.imread
    for number, frame in enumerate(frames, 7):
        result = read(tmp_path / "out" / f"a{number:03}.{kind}")
        assert result.dtype == frame.dtype
        expected = convcli.filter(frame, "sharpen", axes="YXC", range="clip")
        np.testing.assert_array_equal(result, expected)


def test_temporal_kernels_see_the_neighbours(tmp_path: Path) -> None:
    frames = colours(6)[..., 0]
    pictures(tmp_path / "in", frames)
    ok("filter", "in/%04d.png", "-k", KERNEL, "-o", "all.npy", "--range", "float", cwd=tmp_path)
    expected = convcli.filter(frames, KERNEL, axes="TYX")
    np.testing.assert_array_equal(np.load(tmp_path / "all.npy"), expected)


def test_a_clip_becomes_pictures_and_a_clip_again(tmp_path: Path) -> None:
    frames = colours(4)
    make(tmp_path / "a.mkv", frames, codec="ffv1", pixels="bgr0")
    ok("filter", "a.mkv", "-k", "identity", "-o", "%d.png", cwd=tmp_path)
    for number, frame in enumerate(frames, 1):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"{number}.png")), frame)
    ok(
        "filter",
        "%d.png",
        "-k",
        "identity",
        "-o",
        "b.mkv",
        "--codec",
        "ffv1",
        "--fps",
        "30000/1001",
        cwd=tmp_path,
    )
    seen = times_of(tmp_path / "b.mkv")
    assert [round(time * 1000) for time in seen] == [0, 33, 67, 100]
    ok("filter", "%d.png", "-k", "identity", "-o", "c.mkv", cwd=tmp_path)
    assert times_of(tmp_path / "c.mkv") == [Fraction(number, 25) for number in range(4)]


@pytest.mark.parametrize("name", ["a.gif", "a.npy"])
def test_animations_and_arrays_become_pictures(name: str, tmp_path: Path) -> None:
    frames = np.arange(4 * 9 * 8, dtype=np.uint8).reshape(4, 9, 8)
    if name == "a.npy":
        np.save(tmp_path / name, frames)
    else:
        images = [Image.fromarray(frame) for frame in frames]
        images[0].save(tmp_path / name, save_all=True, append_images=images[1:])
    axes = ("--axes", "TYX") if name == "a.npy" else ()
    ok("filter", name, *axes, "-k", "identity", "--range", "clip", "-o", "%02d.png", cwd=tmp_path)
    found = [np.asarray(Image.open(tmp_path / f"{number:02}.png").convert("L")) for number in range(1, 5)]
    np.testing.assert_array_equal(found, frames)


def test_a_wildcard_takes_the_order_of_the_numbers(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        Image.new("L", (4, 3), number).save(tmp_path / f"f{number}.png")
    (tmp_path / ".f0.png").write_bytes(b"hidden")
    ok("filter", "f*.png", "-k", "identity", "--format", "npy", "-o", "o.npy", cwd=tmp_path)
    assert np.load(tmp_path / "o.npy")[:, 0, 0].tolist() == [1, 2, 10]
    done = ok("filter", "f*.png", "-k", "box:3", cwd=tmp_path)
    assert done.stdout == b"f%04d.box-3.png\n"
    assert "f0001.box-3.png" in names(tmp_path)


def test_motion_reads_and_writes_pictures(tmp_path: Path) -> None:
    frames = np.full((20, 40, 50), 90, np.uint8)
    frames[9:13, 10:30, 10:30] = 180
    pictures(tmp_path / "shots", frames, "door-%03d.png", first=1)
    done = ok("motion", "shots/door-%03d.png", "--fps", "10", "--events", "-", "-q", cwd=tmp_path)
    assert b'"start": 0.9' in done.stdout and b'"start_frame": 9' in done.stdout
    assert names(tmp_path) == ["door.motion.mp4", "shots"]
    (tmp_path / "out").mkdir()
    ok("motion", "shots/*.png", "-o", "out/%04d.png", cwd=tmp_path)
    assert names(tmp_path / "out")[:2] == ["0002.png", "0003.png"]  # a result belongs to the newer frame
    assert len(names(tmp_path / "out")) == 19
    assert np.asarray(Image.open(tmp_path / "out" / "0002.png"))[5, 5] == 128


def test_gaps_are_said(tmp_path: Path) -> None:
    pictures(tmp_path, colours(8))
    for number in (2, 3, 6):
        (tmp_path / f"{number:04}.png").unlink()
    done = ok("filter", "%04d.png", "-k", "box:3", "-o", "o.mkv", cwd=tmp_path)
    assert b"3 of the numbers 0 to 7 are missing (2-3, 6)" in done.stderr
    assert len(times_of(tmp_path / "o.mkv")) == 5


def test_a_file_that_is_called_so_is_itself(tmp_path: Path) -> None:
    for name in ("100%done.png", "%04d.png", "[ab].png", "a.png"):
        Image.new("L", (4, 3), 50).save(tmp_path / name)
    assert find(tmp_path / "%04d.png") is None
    assert find(tmp_path / "[ab].png") is None
    assert pattern(tmp_path / "%04d.png") is None
    ok("filter", "%04d.png", "-k", "box:3", "-o", "b.png", cwd=tmp_path)
    ok("filter", "[ab].png", "-k", "box:3", "-o", "c.png", cwd=tmp_path)
    ok("filter", "a.png", "-k", "box:3", "-o", "50%d.png", cwd=tmp_path)  # one picture: no number is meant
    assert (tmp_path / "50%d.png").is_file()


@pytest.mark.parametrize("name", ["a%d%d.png", "a%s.png", "a%4d.png", "a%.png", "%%.png"])
def test_names_that_are_no_patterns(name: str) -> None:
    assert pattern(name) is None


BAD = {
    "another size": (np.zeros((5, 6), np.uint8), "6 x 5 uint8 and the first frame 64 x 48 uint8"),
    "another depth": (np.zeros((48, 64), np.uint16), "64 x 48 uint16 and the first"),
    "another colour": (np.zeros((48, 64, 3), np.uint8), "64 x 48 uint8 rgb and the first"),
}


@pytest.mark.parametrize("why", BAD)
def test_frames_that_differ_are_named_and_nothing_is_left(why: str, tmp_path: Path) -> None:
    pictures(tmp_path / "in", colours(5)[..., 0])
    odd, said = BAD[why]
    (tmp_path / "in" / "0003.png").write_bytes(imagecodecs.png_encode(odd))
    (tmp_path / "out").mkdir()
    done = shell("filter", "in/%04d.png", "-k", "box:3", "-o", "out/%04d.png", cwd=tmp_path)
    line = done.stderr.decode()
    assert done.returncode == 1
    assert line.startswith("error: 'in/0003.png': it is ") and said in line and line.count("\n") == 1, line
    assert names(tmp_path / "out") == []


def test_a_broken_frame_is_named(tmp_path: Path) -> None:
    pictures(tmp_path, colours(5)[..., 0])
    whole = (tmp_path / "0002.png").read_bytes()
    (tmp_path / "0002.png").write_bytes(whole[: len(whole) // 2])
    done = shell("motion", "%04d.png", "-o", "m.mp4", cwd=tmp_path)
    assert done.returncode == 1
    assert b"'0002.png'" in done.stderr and done.stderr.count(b"\n") == 1
    assert len(names(tmp_path)) == 5


def test_existing_pictures_are_refused_before_any_work(tmp_path: Path) -> None:
    pictures(tmp_path / "in", colours(3)[..., 0])
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0002.png").write_bytes(b"mine")
    done = shell("filter", "in/%04d.png", "-k", "box:3", "-o", "out/%04d.png", cwd=tmp_path)
    assert done.returncode == 1
    assert re.fullmatch(rb"error: 'out/0002.png': it exists; .*\n", done.stderr)
    assert names(tmp_path / "out") == ["0002.png"]
    assert (tmp_path / "out" / "0002.png").read_bytes() == b"mine"
    assert shell(
        "filter", "in/%04d.png", "-k", "box:3", "-o", "out/%04d.png", "--dry-run", cwd=tmp_path
    ).returncode
    ok("filter", "in/%04d.png", "-k", "box:3", "-o", "out/%04d.png", "-y", cwd=tmp_path)
    assert names(tmp_path / "out") == ["0000.png", "0001.png", "0002.png"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("filter", "no/%04d.png"), 1, "no such file"),
        (("filter", "in/x%d.png"), 1, "no such file"),
        (("filter", "in/%04d.png", "-o", "no/%04d.png"), 1, "there is no folder"),
        (("filter", "in/%04d.png", "-o", "in/a%d.mp4", "--fps", "x"), 2, "'x' is not a number"),
        (("filter", "in/%04d.png", "-o", "in/a.mp4", "--fps", "0"), 2, "frames a second"),
        (("filter", "in/0000.png", "-o", "in/b.png", "--fps", "5"), 2, "--fps is for clips"),
        (("filter", "t%d.tif", "-o", "b%d.tif"), 1, "no frame"),
        (("motion", "in/%04d.png", "-o", "a.jpg"), 2, "such as %04d.jpg"),
    ],
)
def test_bad_names_and_options_are_one_line(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    pictures(tmp_path / "in", colours(2)[..., 0])
    tifffile.imwrite(tmp_path / "t1.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    before = sorted(tmp_path.rglob("*"))
    kernel = ("-k", "box:3") if arguments[0] == "filter" else ()
    done = shell(*arguments, *kernel, cwd=tmp_path)
    line = done.stderr.decode()
    assert (done.returncode, line.count("\n")) == (code, 1), line
    assert said in line
    assert sorted(tmp_path.rglob("*")) == before


def test_an_interrupt_leaves_no_picture(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, (900, 240, 320), dtype=np.uint8))
    (tmp_path / "out").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "convcli", "motion", "a.npy", "--axes", "TYX", "-o", "out/%d.png"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not list((tmp_path / "out").rglob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert names(tmp_path / "out") == []


def put(folder: int, name: str, text: str = "new") -> None:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT, 0o666, dir_fd=folder)
    os.write(descriptor, text.encode())
    os.close(descriptor)


def test_what_was_replaced_comes_back_when_the_end_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("old")
    rename = os.replace

    def fails(source: str, target: str, **folders: int) -> None:
        if target == "b":
            raise OSError(28, os.strerror(28))
        rename(source, target, **folders)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="No space"), replacing_all(tmp_path, force=True) as folder:
        put(folder, "a")
        put(folder, "b")
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_left_overs_of_a_killed_run_go_and_nothing_else(tmp_path: Path) -> None:
    for stage, part in (("0" * 16, "new"), ("1" * 16, "other")):
        left = tmp_path / f".convcli-{stage}" / part
        left.mkdir(parents=True)
        (left / "x").touch()
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "new").mkdir()
    (tmp_path / f".convcli-{'2' * 16}").symlink_to(precious)
    with replacing_all(tmp_path, force=False) as folder:
        put(folder, "a")
        with replacing_all(tmp_path, force=False) as other:  # one that is in use is left alone
            put(other, "b")
    assert names(tmp_path) == [f".convcli-{'1' * 16}", f".convcli-{'2' * 16}", "a", "b", "home"]
    assert names(precious) == ["new"]


def test_a_folder_whose_name_is_taken_over_stays_ours(tmp_path: Path) -> None:
    """Another user may rename our folder, and lead its name to one of ours: files go where they were meant to."""
    target, precious = tmp_path / "shared", tmp_path / "home"
    target.mkdir()
    precious.mkdir()
    (precious / "new").mkdir()
    (precious / "new" / "thesis").touch()
    with replacing_all(target, force=False) as folder:
        (stage,) = target.iterdir()
        assert stage.stat().st_mode & 0o777 == 0o700
        stage.rename(tmp_path / "moved")
        stage.symlink_to(precious)
        put(folder, "a")
    assert "a" in names(target)
    assert names(precious / "new") == ["thesis"]


def test_links_are_followed_as_for_single_outputs(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_text("old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").symlink_to("../real/x")
    with replacing_all(tmp_path / "out", force=True) as folder:
        put(folder, "a")
    assert (tmp_path / "out" / "a").is_symlink()
    assert (tmp_path / "real" / "x").read_text() == "new"


ATTACK = """
import os, sys, time
shared, home = sys.argv[1:]
os.umask(0)
for name in (".convcli-000000", ".0001.convcli-000000.png", ".one.convcli-000000.png"):
    os.symlink(home, f"{shared}/{name}")
os.symlink(f"{home}/new.png", f"{shared}/0002.png")
os.symlink(f"{home}/thesis", f"{shared}/link.png")
os.mkfifo(f"{shared}/.two.convcli-000000.png")
print("ready", flush=True)
while True:
    for entry in os.scandir(shared):
        if ".convcli-" in entry.name and not entry.is_symlink():
            try:
                os.rename(entry.path, f"{shared}/moved-{time.monotonic_ns()}")
                os.symlink(home, entry.path)
            except OSError:
                pass
"""


@pytest.mark.parametrize("mode", [0o1777, 0o777], ids=["sticky", "open to all"])
def test_another_user_leads_no_output_astray(mode: int, tmp_path: Path) -> None:
    """In a folder in which both may write, the other prepares names and takes over those that come."""
    if os.geteuid():
        pytest.skip("only root becomes two other users")
    pictures(tmp_path / "in", colours(3)[..., 0])
    home, shared = tmp_path / "home", tmp_path / "shared"
    for folder in (home, shared):
        folder.mkdir()
    (home / "thesis").write_text("precious")
    (home / "new").mkdir()
    (home / "new" / "letter").touch()
    for path in (home, *home.rglob("*")):
        os.chown(path, 54_322, 54_322)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o11)
    shared.chmod(mode)
    (tmp_path / "attack.py").write_text(ATTACK)
    attack = [sys.executable, str(tmp_path / "attack.py"), str(shared), str(home)]
    with subprocess.Popen(attack, stdout=subprocess.PIPE, preexec_fn=partial(as_user, 54_323)) as other:
        assert other.stdout is not None and other.stdout.readline() == b"ready\n"
        for source, target in (
            ("%04d.png", "%04d.png"),
            ("0000.png", "one.png"),
            ("0000.png", "two.png"),
            ("0000.png", "link.png"),
        ):
            job = ["filter", f"in/{source}", "-k", "box:3", "-o", f"{shared}/{target}", "-y"]
            done = subprocess.run(
                [sys.executable, "-m", "convcli", *job],
                cwd=tmp_path, capture_output=True, timeout=60, preexec_fn=partial(as_user, 54_322),
            )  # fmt: skip
            assert done.returncode in (0, 1), done.stderr
            assert done.returncode == 0 or done.stderr.count(b"error: ") == done.stderr.count(b"\n") == 1, (
                done.stderr
            )
        other.kill()
    assert names(home) == ["new", "thesis"]
    assert (home / "thesis").read_text() == "precious"
    assert names(home / "new") == ["letter"]


def test_a_folder_in_the_place_of_a_frame_stays(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis").touch()
    with pytest.raises(OSError, match="not a regular file"), replacing_all(tmp_path, force=True) as folder:
        put(folder, "a")
    assert names(tmp_path / "a") == ["thesis"]


def test_too_few_frames_are_an_error(tmp_path: Path) -> None:
    info = Info.of("TYX", (3, 4, 5), "uint8")
    png = registry.numbered(registry.by_name("png"))
    with (
        pytest.raises(ConvError, match="40 of 60 samples are missing"),
        open_sink(str(tmp_path / "%d.png"), png, info, WriteOptions()) as sink,
    ):
        sink.write(info.strip(0, 1), np.zeros((1, 4, 5), np.uint8))
        sink.close()
    assert names(tmp_path) == []


def test_what_later_pictures_carry_is_said(tmp_path: Path) -> None:
    """The first picture speaks for all; what others have beside it comes up while they are read."""
    picture, text = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(12, 16)), PngInfo()
    text.add_text("Title", "words")
    for number in range(3):
        exif = Image.Exif()
        exif[306] = f"2020:01:0{number + 1} 00:00:00"
        picture.save(tmp_path / f"a{number}.jpg", exif=exif)
        picture.save(tmp_path / f"b{number}.png", pnginfo=text if number == 2 else None)
    for name, said in (
        ("a", b"the pictures differ in profile or EXIF data"),
        ("b", b"left out of the PNG: text"),
    ):
        suffix = {"a": ".jpg", "b": ".png"}[name]
        for kernel in ("box:3", "temporal-mean:3"):
            done = ok("filter", f"{name}%d{suffix}", "-k", kernel, "-o", "c.gif", "-y", cwd=tmp_path)
            assert done.stderr.count(said) == 1
        assert (
            said
            not in ok("filter", f"{name}0{suffix}", "-k", "box:3", "-o", "c.png", "-y", cwd=tmp_path).stderr
        )
