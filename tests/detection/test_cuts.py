"""``motion --cut``: the frames, times and sound of the pieces are the clip's."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.clips import decoded, make, times_of
from tests.shell import SAMPLES, ok
from tests.shell import convcli as shell

RATE, KEY = 25, 15
BEGIN, END = 65, 75  # frames in which the square is there


def scene(count: int = 140) -> np.ndarray:
    """A square that moves for a while over a still ground; noise makes every frame another."""
    random = np.random.default_rng(4)
    ground = 90 + 40 * random.random((6, 8)).repeat(8, axis=0).repeat(8, axis=1)
    frames = ground + random.normal(0, 1.5, (count, 48, 64))
    for index in range(BEGIN, min(END, count)):
        frames[index, 15:35, 5 + 3 * (index - BEGIN) : 25 + 3 * (index - BEGIN)] = 230
    return np.rint(frames).astype(np.uint8)


def clip(path: Path, codec: str, *, pixels: str = "yuv420p", sound: bool = False, **options: str) -> Path:
    return make(path, scene(), codec=codec, pixels=pixels, sound=sound, options={"g": str(KEY), **options})


def cuts(path: Path, *more: Any) -> tuple[list[dict[str, Any]], str]:
    (folder := path.parent / "out").mkdir(exist_ok=True)
    arguments = ("motion", path, "--no-output", "--cut", folder, *more)
    found = json.loads(ok(*arguments, "--json").stdout)["cuts"]
    done = ok(*arguments, "-y")
    assert done.stdout.decode().splitlines()[-len(found) :] == [piece["file"] for piece in found]
    return found, done.stderr.decode()


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.mp4", "libx264", {"bf": "3"}),
        ("a.mkv", "libx264", {"bf": "3", "x264-params": "open-gop=1:keyint=15:min-keyint=15:scenecut=0"}),
        ("a.ts", "libx264", {"bf": "2"}),
        ("a.webm", "libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}),
        ("a.avi", "mjpeg", {"q:v": "2"}),
        ("a.mov", "mpeg4", {"b": "4000000"}),
    ],
)
def test_a_piece_is_the_frames_of_the_clip(
    name: str, codec: str, options: dict[str, str], tmp_path: Path
) -> None:
    path = clip(tmp_path / name, codec, pixels="yuvj420p" if codec == "mjpeg" else "yuv420p", **options)
    ((piece,), _) = cuts(path)
    all_frames, frames, times = decoded(path, "gray"), decoded(Path(piece["file"]), "gray"), times_of(path)
    start = times[0] if path.suffix == ".ts" else 0
    first = [float(time - start) for time in times].index(pytest.approx(piece["start"], abs=1e-3))
    asked = BEGIN - RATE  # a second before
    assert asked - KEY < first <= asked
    assert first % KEY == 0 or codec == "mjpeg"
    stop = END + 1 + RATE  # what vanishes is motion of the first frame without it
    assert piece["end"] == pytest.approx(float(times[stop] - start), abs=1e-3)
    assert len(frames) >= stop - first
    np.testing.assert_array_equal(frames[: stop - first], all_frames[first:stop])
    with av.open(piece["file"]) as container:
        assert (container.start_time or 0) < 100_000  # microseconds
    (first_time, *_) = times_of(Path(piece["file"]))
    shown = [time - first_time for time in times_of(Path(piece["file"]))[: stop - first]]
    np.testing.assert_allclose(
        [float(t) for t in shown], [float(t - times[first]) for t in times[first:stop]], atol=2e-3
    )


def test_sound_goes_with_the_pictures(tmp_path: Path) -> None:
    path = clip(tmp_path / "a.mp4", "libx264")
    whole = tmp_path / "b.mkv"
    with av.open(str(path)) as source, av.open(str(whole), "w") as output:
        video: Any = source.streams.video[0]
        copy = output.add_stream_from_template(video)
        audio = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        for packet in source.demux(video):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
        for at in range(0, 8000 * 140 // RATE, 800):  # every sample says when it is
            wave = (np.arange(at, at + 800) // 8).astype(np.int16)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 8000, at
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))
    ((piece,), _) = cuts(whole)
    with av.open(piece["file"]) as container:
        first = next(container.decode(audio=0))
        assert first.pts is not None and first.time_base is not None
        said = float(first.to_ndarray().ravel()[0]) / 1000  # milliseconds of the whole clip
        assert said - float(first.pts * first.time_base) == pytest.approx(piece["start"], abs=2e-3)
    ((silent,), _) = cuts(whole, "--no-audio", "-y")
    with av.open(silent["file"]) as container:
        assert [stream.type for stream in container.streams] == ["video"]


def test_an_early_beginning_is_said_and_files_are_not_replaced(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", scene(), options={"g": "250", "x264-params": "scenecut=0"})
    ((piece,), said) = cuts(path)
    assert piece["start"] == 0
    assert "earlier than a second before the event: a.001.mp4 1.600 s" in said  # 65 - 25 frames
    before = Path(piece["file"]).read_bytes()
    done = shell("motion", path, "--no-output", "--cut", tmp_path / "out")
    assert done.returncode == 1 and done.stderr.count(b"\n") == 1
    assert b"a.001.mp4': it exists; overwrite it with -y" in done.stderr
    assert Path(piece["file"]).read_bytes() == before
    (tmp_path / "out" / "a.001.mp4").unlink()
    (tmp_path / "out" / "w.002.mp4").touch()  # found only once there are two events
    done = shell("motion", SAMPLES / "walk.mp4", "--no-output", "--cut", tmp_path / "out")
    assert done.returncode == 0
    (tmp_path / "out" / "walk.001.mp4").unlink()
    kept = sorted((tmp_path / "out").iterdir())
    done = shell("motion", SAMPLES / "walk.mp4", "--no-output", "--cut", tmp_path / "out")
    assert done.returncode == 1 and b"walk.002.mp4': it exists" in done.stderr
    assert sorted((tmp_path / "out").iterdir()) == kept


def test_what_has_no_packets_is_coded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", scene()[:, None].repeat(3, axis=1))
    ((piece,), said) = cuts(tmp_path / "a.npy", "--axes", "TCYX")
    assert "no packets to copy: its cuts are coded as MP4" in said
    assert (piece["start"], piece["end"]) == ((BEGIN - RATE) / RATE, (END + 1 + RATE) / RATE)
    frames = decoded(Path(piece["file"]), "gray")
    assert len(frames) == END + 1 - BEGIN + 2 * RATE
    assert np.abs(frames.astype(int) - scene()[BEGIN - RATE : END + 1 + RATE]).mean() < 3
    assert times_of(Path(piece["file"]))[:2] == [0, Fraction(1, RATE)]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("a.npy", "--cut", "no"), 1, "there is no folder"),
        (("a.npy", "--cut", "a.npy"), 1, "a.npy': it is a file; name a folder"),
        (("-", "--cut", "out"), 2, "standard input comes once: name a file"),
        (("f.npy", "--cut", "out"), 2, "--cut writes pixels of 8 or 16 bits; the clip holds float32"),
    ],
)
def test_what_cannot_be_cut_is_one_line(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    for name, kind in (("a.npy", np.uint8), ("f.npy", np.float32)):
        np.save(tmp_path / name, scene(5).astype(kind))
    data = (tmp_path / "a.npy").read_bytes()
    done = shell("motion", *arguments, "--axes", "TYX", "--no-output", cwd=tmp_path, stdin=data)
    assert done.returncode == code and done.stderr.count(b"\n") == 1, done.stderr
    assert said in done.stderr.decode()
    assert not list((tmp_path / "out").iterdir())
