"""The fallback reader: AVS2, for which PyAV's FFmpeg has no decoder and the program of imageio-ffmpeg has one."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pytest

from convcli.common.errors import ConvError
from convcli.media.clips.reader import source
from convcli.media.options import ReadOptions
from tests.clips import packets, times_of
from tests.shell import convcli as shell
from tests.shell import ok

PROGRAM = imageio_ffmpeg.get_ffmpeg_exe()
NOTE = b"its program reads it"


def only_the_program_knows() -> bool:
    try:
        av.Codec("avs2", "r")
    except ValueError:
        codecs = subprocess.run([PROGRAM, "-v", "error", "-codecs"], capture_output=True, check=True)
        return re.search(rb"^ DEV\S* avs2 ", codecs.stdout, re.MULTILINE) is not None
    return False


pytestmark = pytest.mark.skipif(not only_the_program_knows(), reason="no codec that only the program knows")


def make(path: Path, *more: str) -> Path:
    sources = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=25", "-f", "lavfi", "-i", "sine=r=48000")
    codecs = ("-t", "0.4", "-c:v", "libxavs2", "-qp", "10", "-c:a", "libopus")
    subprocess.run(
        [PROGRAM, "-v", "error", *sources, *codecs, *more, str(path)], check=True, capture_output=True
    )
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("avs2") / "a.mkv")


def raw(path: Path) -> np.ndarray:
    """Return the frames as the program decodes them, without our options."""
    scaling = "accurate_rnd+full_chroma_int+full_chroma_inp+bicubic"
    command = [PROGRAM, "-v", "error", "-i", str(path), "-fps_mode", "passthrough", "-sws_flags", scaling]
    done = subprocess.run(
        [*command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, 48, 64, 3)


def running(folder: Path) -> set[str]:
    """Return the numbers of the processes that run the program in a folder."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        try:
            program = (entry.parent / "cmdline").read_bytes()
            ours = program.startswith(PROGRAM.encode()) and b"fd:" in program  # not a mere -version
            if ours and entry.readlink() == folder:
                found.add(entry.parent.name)
        except OSError:  # it has ended meanwhile, or is another's
            continue
    return found


def test_frames_are_those_of_the_program_in_any_order(clip: Path) -> None:
    expected = raw(clip)
    opened = source(clip.open("rb"), ReadOptions())
    assert any(NOTE.decode() in note for note in opened.info.notes)
    assert opened.info.shape == expected.shape
    np.testing.assert_array_equal(opened.strip(2, 5), expected[2:5])
    np.testing.assert_array_equal(opened.strip(0, 2), expected[:2])
    np.testing.assert_array_equal(opened.strip(len(expected) - 1, len(expected)), expected[-1:])
    opened.close()


def test_a_clip_is_filtered_with_one_note_and_keeps_its_sound(clip: Path, tmp_path: Path) -> None:
    done = ok(
        "filter", clip, "-k", "identity", "-o", tmp_path / "b.mkv", "--codec", "ffv1", "--pix-fmt", "bgr0"
    )
    assert done.stderr.count(NOTE) == 1
    with av.open(str(tmp_path / "b.mkv")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(frames, raw(clip))
    assert packets(tmp_path / "b.mkv", "audio") == packets(clip, "audio")
    assert len(times_of(tmp_path / "b.mkv")) == len(frames)


def test_a_transport_stream_through_a_pipe(tmp_path: Path) -> None:
    data = make(tmp_path / "a.ts", "-an").read_bytes()
    done = ok("motion", "-", "--no-output", "--json", "-k", "frame-difference", stdin=data)
    assert b'"frames": ' in done.stdout


def test_no_program_is_one_line(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", lambda: (_ for _ in ()).throw(RuntimeError("none")))
    with clip.open("rb") as fp, pytest.raises(ConvError, match="do not know"):
        source(fp, ReadOptions())


def test_a_failing_program_is_one_line_and_leaves_nothing(clip: Path, tmp_path: Path) -> None:
    cut = tmp_path / "a.mkv"
    cut.write_bytes(clip.read_bytes()[:700])  # headers, and the beginning of a frame
    done = shell("filter", "a.mkv", "-k", "box:3", "-o", "b.mkv", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv"]
    assert not running(tmp_path)


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", "-an", "-t", "4", "-s", "640x480")
    process = subprocess.Popen(
        [sys.executable, "-m", "convcli", "filter", "a.mkv", "-k", "gaussian:8", "-o", "b.mkv"],
        cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while not running(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    assert not running(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]


def test_times_are_those_of_the_packets_and_the_form_is_kept(tmp_path: Path) -> None:
    stamps = ("-bsf:v", "setts=ts=N*2+125", "-bsf:a", "setts=ts=PTS+5/TB", "-vf", "setsar=4/3")
    source = make(tmp_path / "a.mkv", *stamps)
    done = ok("filter", source, "-k", "box:3", "-o", tmp_path / "b.mkv", "--codec", "ffv1")
    assert b"no usable times" not in done.stderr
    times = times_of(tmp_path / "b.mkv")
    assert [float(time - times[0]) for time in times] == pytest.approx([n * 0.08 for n in range(10)])
    assert times[0] < 0.05
    with av.open(str(tmp_path / "b.mkv")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
