"""Clips through the command: what travels along, what is shown meanwhile, and what is left after a failure."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import av
import imageio_ffmpeg
import numpy as np
import pytest

from convcli.cli.shared.options import Progress
from convcli.cli.shared.terminal import Meter
from tests.clips import decoded, make, packets, pattern
from tests.shell import convcli, ok, wait_until_it_writes

SUBTITLES = """1
00:00:00,000 --> 00:00:00,120
Look,

2
00:00:00,120 --> 00:00:00,240
it moves.
"""


@pytest.fixture
def subtitled(tmp_path: Path) -> Path:
    """A clip with sound and subtitles."""
    clip = make(tmp_path / "plain.mkv", pattern(), sound=True)
    (tmp_path / "words.srt").write_text(SUBTITLES)
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run(
        [program, "-v", "error", "-i", clip, "-i", tmp_path / "words.srt", "-map", "0", "-map", "1", "-c", "copy",
         tmp_path / "a.mkv"], check=True,
    )  # fmt: skip
    return tmp_path / "a.mkv"


@pytest.mark.parametrize("kernel", ["box:3", "sobel-x"])  # on the planes, in RGB
def test_sound_and_subtitles_travel_along(kernel: str, subtitled: Path) -> None:
    done = ok("filter", subtitled, "-k", kernel, "-o", (out := subtitled.with_name("b.mkv")))
    assert b"left out" not in done.stderr
    for kind in ("audio", "subtitle"):
        assert packets(subtitled, kind)
        assert packets(out, kind) == packets(subtitled, kind)


def test_subtitles_that_a_container_does_not_hold_are_said(subtitled: Path) -> None:
    done = ok("filter", subtitled, "-k", "box:3", "-o", (out := subtitled.with_name("b.mp4")))
    assert done.stderr.decode().splitlines() == [
        "note: the subtitle stream (subrip) is left out: MP4 cannot hold it"
    ]
    assert packets(out, "audio") == packets(subtitled, "audio")


def test_transport_streams_hold_more_sound_than_ffmpeg_lists(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", pattern(), sound=True)
    done = ok("filter", clip, "-k", "box:3", "-o", (out := tmp_path / "b.ts"))
    assert b"left out" not in done.stderr
    assert len(packets(out, "audio")) == len(packets(clip, "audio")) > 0


def test_joined_streams_of_different_codecs_are_no_short_clip(tmp_path: Path) -> None:
    parts = [make(tmp_path / f"{codec}.ts", pattern(12), codec=codec) for codec in ("h264", "mpeg2video")]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    done = convcli("filter", joined, "-k", "box:3", "-o", (out := tmp_path / "out.mp4"))
    said = done.stderr.decode()
    assert done.returncode == 1, said
    assert "packets of video" in said
    assert not out.exists()


def test_odd_sizes_on_the_planes(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mkv", pattern(3, 33, 47), codec="ffv1")
    done = ok("filter", clip, "-k", "box:3", "--codec", "h264", "-o", tmp_path / "b.mp4")
    assert b"33" in done.stderr
    assert b"4:4:4" in done.stderr
    ok("filter", clip, "-k", "box:3", "-o", tmp_path / "c.mkv")
    first, second = (decoded(tmp_path / name, "rgb24").astype(int) for name in ("b.mp4", "c.mkv"))
    assert first.shape == second.shape == (3, 33, 47, 3)
    assert np.abs(first - second).mean() < 3


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (9, 16, 9, 1), (1, 13, 6, 2)])
def test_colour_tags_on_the_planes(tags: tuple[int, int, int, int], tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", pattern(), tags=tags)
    ok("filter", clip, "-k", "identity", "--crf", "4", "-o", tmp_path / "b.mp4")
    with av.open(str(tmp_path / "b.mp4")) as container:
        context = container.streams.video[0].codec_context
        found = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
    assert found == tags
    before, after = decoded(clip, "rgb24").astype(int), decoded(tmp_path / "b.mp4", "rgb24").astype(int)
    assert np.abs(before - after).mean() < 2


def test_progress_is_lines_for_programs_and_nothing_in_files(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mp4", pattern())
    arguments = ("filter", clip, "-k", "box:3", "-o", tmp_path / "b.mp4", "-y")
    assert ok(*arguments).stderr == b""
    lines = [json.loads(line) for line in ok(*arguments, "--progress", "json").stderr.splitlines()]
    assert (lines[-1]["done"], lines[-1]["total"], lines[-1]["unit"]) == (6, 6, "frames")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_a_bar_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.5, 2.0, 4.0, *([10.0] * 9)])
    monkeypatch.setattr("convcli.cli.shared.terminal.time", SimpleNamespace(monotonic=lambda: next(clock)))
    terminal = Terminal()
    meter = Meter(Progress.AUTO, "frames", terminal)
    meter(5, 100)  # too early to bother anyone
    assert terminal.getvalue() == ""
    meter(20, 100)
    meter(40, 100)
    meter.close()
    shown = terminal.getvalue()
    assert re.findall(r"[0-9]+/100 frames, [0-9.]+/s, [0-9:]+ left", shown) == [
        "20/100 frames, 10.0/s, 0:08 left",
        "40/100 frames, 10.0/s, 0:06 left",
        *["40/100 frames, 10.0/s, 0:06 left"] * (shown.count("40/100") - 1),
    ]
    assert shown.endswith("\x1b[2K")  # taken away
    for how, stream in ((Progress.AUTO, io.StringIO()), (Progress.NONE, Terminal())):
        meter = Meter(how, "frames", stream)
        meter(1, 2)
        meter(2, 2)
        meter.close()
        assert stream.getvalue() == ""


def test_an_encoder_that_fails_is_one_line(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", pattern())
    done = convcli(
        *("filter", "a.mp4", "-k", "box:3", "-o", "b.mp4", "--codec", "hevc", "--pix-fmt", "yuva420p"),
        cwd=tmp_path,
    )
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n")) == (1, 1), said
    assert "the encoder libx265 failed at frame 0" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("kernel", ["box:3", "sobel-x"])
def test_an_interrupt_leaves_no_file_and_no_child(kernel: str, tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", np.tile(pattern(8, 240, 320), (60, 1, 1, 1)))
    process = subprocess.Popen(
        [sys.executable, "-m", "convcli", "filter", "a.mp4", "-k", kernel, "--preset", "veryslow", "-o", "b.mp4"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    wait_until_it_writes(process, tmp_path)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_frames_are_superposed_in_one_picture(tmp_path: Path) -> None:
    """The chapter's figure 10.14: five frames with growing opacity; and the maximum, mean and difference of all."""
    frames = pattern(5, 32, 48)
    np.save(tmp_path / "a.npy", frames[..., 0])
    clip = frames[..., 0].astype(float)
    call = ("filter", "a.npy", "--axes", "TYX", "-y", "-o", "b.npy")
    ok(*call, "-k", "1,2,3,4,5", "--axis", "t", "--scale", "normalise", "--padding", "valid", cwd=tmp_path)
    made = np.load(tmp_path / "b.npy")
    np.testing.assert_allclose(made[0], np.average(clip, axis=0, weights=range(1, 6)), atol=1e-4)
    assert np.ptp(clip, axis=0).max() > 0
    for pool, of_numpy in (("max", np.max), ("avg", np.mean), ("range", np.ptp)):
        ok(*call, "--pool", f"global-{pool}", "--axis", "t", cwd=tmp_path)
        np.testing.assert_allclose(np.load(tmp_path / "b.npy")[0], of_numpy(clip, axis=0), atol=1e-4)
