"""Clips as a format: what is read is what is shown, what is written can be read back, nothing is lost."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO

import av
import numpy as np
import pytest

from convcli.common.errors import ConvError, UsageError
from convcli.data.axes import Axis, Listed, at_rate
from convcli.data.info import Colour, Info, Source
from convcli.media import registry
from convcli.media.options import ReadOptions, VideoOptions, WriteOptions
from convcli.media.timing import Schedule, schedule
from tests.clips import decoded, make, packets, pattern, times_of
from tests.shell import convcli as shell
from tests.shell import ok

FILES: list[IO[bytes]] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while FILES:
        FILES.pop().close()


def opened(path: Path, **options: bool) -> Source:
    FILES.append(fp := path.open("rb"))
    head = fp.read(registry.HEAD)
    fp.seek(0)
    return registry.open_source(fp, registry.identify(head, path)[0], ReadOptions(**options))


def near(ours: np.ndarray, theirs: np.ndarray, unit: int = 1) -> bool:
    """Whether two decoders agree."""
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    return bool(difference.max() <= unit)


def whole(path: Path, **options: bool) -> np.ndarray:
    source = opened(path, **options)
    try:
        return np.concatenate([source.strip(index, index + 1) for index in range(source.info.length)])
    finally:
        source.close()


def write(path: Path, frames: np.ndarray, like: Info | None = None, **video: object) -> tuple[str, ...]:
    grey = frames.ndim == 3
    colour = Colour.GREY if grey else Colour.RGB if frames.shape[-1] == 3 else Colour.RGBA
    info = Info.of("TYX" if grey else "TYXC", frames.shape, frames.dtype.name, colour)
    if like is not None:
        info = replace(info.placed(T=like.axis("T").positions), companions=like.companions)
    with path.open("wb") as fp:
        options = WriteOptions(video=VideoOptions(**video))  # type: ignore[arg-type]
        sink = registry.open_sink(fp, registry.by_suffix(path), info, options)
        for start in range(0, len(frames), 2):
            block = frames[start : start + 2]
            sink.write(info.strip(start, start + len(block)), block)
        sink.close()
    return sink.notes


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        (".mp4", "libx264", "yuv420p"),
        (".mkv", "libx264", "yuv444p"),
        (".mov", "libx264", "yuv422p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".avi", "mpeg4", "yuv420p"),
        (".ts", "libx264", "yuv420p"),
        (".mkv", "ffv1", "yuv420p"),
        (".mkv", "ffv1", "bgr0"),
    ],
)
def test_frames_are_those_of_the_other_decoder(suffix: str, codec: str, pixels: str, tmp_path: Path) -> None:
    path = make(tmp_path / f"a{suffix}", pattern(), codec=codec, pixels=pixels)
    source = opened(path)
    assert (source.info.letters, source.info.shape, source.info.dtype) == ("TYXC", (6, 48, 64, 3), "uint8")
    source.close()
    assert near(whole(path), decoded(path, "rgb24"))


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_is_applied_once(rotation: int, tmp_path: Path) -> None:
    frames = pattern(4)
    path = make(tmp_path / "a.mp4", frames, rotation=rotation)
    read = whole(path)
    assert near(read, decoded(path, "rgb24"))
    upright = np.rot90(frames, rotation // 90, axes=(1, 2))
    assert read.shape == upright.shape
    assert np.abs(read.astype(int) - upright.astype(int)).mean() < 6
    write(tmp_path / "b.mp4", read, opened(path).info)
    with av.open(str(tmp_path / "b.mp4")) as container:
        frame = next(container.decode(video=0))
        assert (frame.rotation, frame.height, frame.width) == (0, *read.shape[1:3])


def test_ten_bits_stay_ten_bits(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", pattern(top=65535), pixels="yuv420p10le")
    source = opened(path)
    assert source.info.dtype == "uint16"
    assert near(whole(path), decoded(path, "rgb48le"), 257)
    write(tmp_path / "b.mp4", whole(path), source.info)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p10le"
    assert np.abs(whole(tmp_path / "b.mp4").astype(int) - whole(path).astype(int)).mean() < 600
    source.close()


@pytest.mark.parametrize("bits", [10, 12])
def test_white_of_planar_rgb_is_white(bits: int, tmp_path: Path) -> None:
    """Of 1023 levels each is v * 65535 / 1023, and within one of it."""
    levels = np.linspace(0, 2**bits - 1, 64).astype("<u2")
    with av.open(str(tmp_path / "a.mkv"), "w") as output:
        stream = output.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 16, f"gbrp{bits}le"
        frame = av.VideoFrame(64, 16, stream.pix_fmt)
        for plane in frame.planes:
            plane.update(np.tile(np.resize(levels, plane.line_size // 2), (16, 1)).tobytes())
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    exact = levels * (65535 / (2**bits - 1))
    assert np.abs(whole(tmp_path / "a.mkv") - exact[:, None]).max() < 1


@pytest.mark.parametrize(
    ("name", "frames", "codec", "form"),
    [
        ("grey 8", pattern()[..., 0], "ffv1", "gray"),
        ("grey 16", pattern(top=65535)[..., 0], "ffv1", "gray16le"),
        ("colour 8", pattern(), "ffv1", "rgb24"),
        ("colour 16", pattern(top=65535), "ffv1", "rgb48le"),
        ("alpha 8", np.concatenate([pattern(), pattern(seed=7)[..., :1]], -1), "ffv1", "rgba"),
        ("another codec", pattern(), "utvideo", "rgb24"),
    ],
)
def test_lossless_is_exact(name: str, frames: np.ndarray, codec: str, form: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.mkv" if codec == "ffv1" else "a.avi")
    assert write(path, frames, codec=codec) == ()
    np.testing.assert_array_equal(whole(path), frames)
    np.testing.assert_array_equal(decoded(path, form), frames)


def test_noise_is_exact_too(tmp_path: Path) -> None:
    frames = np.random.default_rng(3).integers(0, 256, (4, 31, 45, 3), dtype=np.uint8)
    write(tmp_path / "a.mkv", frames, codec="ffv1")
    np.testing.assert_array_equal(whole(tmp_path / "a.mkv"), frames)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_variable_times_are_kept(suffix: str, tmp_path: Path) -> None:
    times = [0, 40, 60, 200, 210, 500]
    path = make(tmp_path / f"a{suffix}", pattern(), times=times, base=Fraction(1, 1000))
    source = opened(path)
    write(tmp_path / f"b{suffix}", whole(path), source.info)
    assert times_of(tmp_path / f"b{suffix}") == times_of(path) == [Fraction(t, 1000) for t in times]
    source.close()


def test_frames_in_avi_follow_one_another(tmp_path: Path) -> None:
    write(tmp_path / "a.avi", pattern(12), codec="h264")
    times = times_of(tmp_path / "a.avi")
    assert times == [times[0] + Fraction(index, 25) for index in range(12)]


def test_sound_is_copied_byte_for_byte(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", pattern(), sound=True)
    source = opened(path)
    write(tmp_path / "b.mp4", whole(path), source.info)
    assert len(packets(path, "audio")) > 8
    assert packets(tmp_path / "b.mp4", "audio") == packets(path, "audio")
    write(tmp_path / "c.mp4", whole(path), source.info, sound=False)
    with av.open(str(tmp_path / "c.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
    source.close()


def test_sound_that_a_container_does_not_hold_is_said(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", pattern(), sound=True)
    source = opened(path)
    notes = write(tmp_path / "b.webm", whole(path), source.info)
    assert any("aac" in note for note in notes)
    source.close()


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (9, 16, 9, 1), (1, 13, 6, 2)])
def test_colour_tags_are_kept(tags: tuple[int, int, int, int], tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", pattern(), tags=tags, aspect=Fraction(4, 3))
    source = opened(path)
    assert near(whole(path), decoded(path, "rgb24"))
    write(tmp_path / "b.mp4", whole(path), source.info)
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        found = (context.color_primaries, context.color_trc, context.colorspace, context.color_range)
        assert found == tags
        assert stream.sample_aspect_ratio == Fraction(4, 3)
    assert np.abs(whole(tmp_path / "b.mp4").astype(int) - whole(path).astype(int)).mean() < 3
    source.close()


def test_odd_sizes_are_kept_and_said(tmp_path: Path) -> None:
    frames = pattern(3, 33, 47)
    notes = write(tmp_path / "a.mp4", frames)
    assert whole(tmp_path / "a.mp4").shape == frames.shape
    assert any("4:4:4" in note for note in notes)


def test_any_order_of_requests_gives_the_same_frames(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", pattern(40), options={"g": "10"})
    frames = whole(path)
    source = opened(path)
    assert source.keys == (0, 10, 20, 30)  # type: ignore[attr-defined]
    for start, stop in [(30, 33), (0, 2), (1, 4), (25, 26), (24, 27), (39, 40), (5, 6)]:
        np.testing.assert_array_equal(source.strip(start, stop), frames[start:stop])
    source.close()


def test_brightness_alone(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", pattern())
    assert opened(path, grey=True).info.letters == "TYX"
    assert np.abs(whole(path, grey=True).astype(int) - decoded(path, "gray").astype(int)).max() <= 1


def test_grey_128_comes_back_exactly(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", np.full((3, 32, 48), 128, np.uint8))
    assert (decoded(tmp_path / "a.mp4", "rgb24") == 128).all()


def damaged(path: Path, tmp_path: Path) -> Path:
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(1)
    middle = len(data) // 2
    data[middle : middle + 400] = random.integers(0, 256, 400, dtype=np.uint8).tobytes()
    bad = tmp_path / f"bad{path.suffix}"
    bad.write_bytes(data)
    return bad


@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
def test_a_truncated_clip_is_an_error_unless_allowed(suffix: str, tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (60, 64, 96), dtype=np.uint8)
    path = make(tmp_path / f"a{suffix}", noisy)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    if suffix == ".mkv":  # a transport stream does not say how long it is
        with pytest.raises(ConvError, match=r"cut short: it ends at \d\.\d+ s.*--allow-truncated"):
            whole(cut)
    source = opened(cut, allow_truncated=True)
    assert 10 < source.info.length < 60
    if suffix == ".mkv":
        assert any("missing at the end" in note for note in source.info.notes)
    source.close()
    kept = whole(cut, allow_truncated=True)
    np.testing.assert_array_equal(kept[:20], whole(path)[:20])


@pytest.mark.parametrize("bf", [0, 2])
@pytest.mark.parametrize("share", [0.5, 0.75, 0.85])
def test_an_avi_that_is_cut_short_is_an_error_whatever_its_frames_depend_on(
    share: float, bf: int, tmp_path: Path
) -> None:
    """Its header has the number of frames; the end of its file, and with it the index, is missing."""
    noisy = np.random.default_rng(0).integers(0, 256, (100, 48, 64), dtype=np.uint8)
    path = make(tmp_path / "a.avi", noisy, codec="mpeg4", options={"g": "25", "bf": str(bf)})
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    with pytest.raises(ConvError, match=r"cut short: it ends at \d\.\d+ s.*--allow-truncated"):
        whole(cut)
    source = opened(cut, allow_truncated=True)
    (missing,) = (float(note.split()[0]) for note in source.info.notes if "missing at the end" in note)
    assert abs(missing + source.info.length / 25 - 4) <= 0.1
    source.close()


def test_a_damaged_clip_is_an_error_unless_allowed(tmp_path: Path) -> None:
    noisy = np.random.default_rng(0).integers(0, 256, (40, 64, 96), dtype=np.uint8)
    bad = damaged(make(tmp_path / "a.mp4", noisy, options={"g": "5"}), tmp_path)
    with pytest.raises(ConvError, match=r"broken at \d\.\d+ s \(frame \d+\).*--allow-truncated"):
        whole(bad)
    assert 10 < len(whole(bad, allow_truncated=True)) <= 40


@pytest.mark.parametrize(
    ("video", "fragment"),
    [
        ({"codec": "h265x"}, "h265"),
        ({"codec": "aac"}, "not a video encoder"),
        ({"codec": "libx264", "pixels": "yuv420p99"}, "pixel format"),
        ({"codec": "ffv1", "crf": 3.0}, "--crf"),
        ({"codec": "libx264", "crf": 51.5}, "--crf 51.5: libx264 has 0, the best, to 51"),
        ({"codec": "libvpx-vp9", "crf": -1.0}, "--crf -1: libvpx-vp9 has 0, the best, to 63"),
        ({"codec": "mpeg4", "preset": "slow"}, "--preset"),
    ],
)
def test_what_an_encoder_does_not_have_is_refused(video: dict, fragment: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=fragment):
        write(tmp_path / "a.mkv", pattern(), **video)


def test_a_codec_that_the_container_does_not_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot hold"):
        write(tmp_path / "a.webm", pattern(), codec="libx264")


def test_floats_are_no_pixels() -> None:
    info = Info.of("TYX", (3, 8, 8), "float32")
    with pytest.raises(UsageError, match="--range"):
        registry.open_sink(io.BytesIO(), registry.by_name("mp4"), info, WriteOptions())


UNEVEN = Listed((0, 10, 25, 30, 50), Fraction(1, 100), "s", end=57)


def shown(start: int, jump: int, size: int) -> Schedule:
    return schedule(Axis("T", 5, UNEVEN).along(Fraction(start), Fraction(jump), size))


def test_strides_add_up_times() -> None:
    every_second = shown(0, 2, 3)
    assert every_second.times == (0, 25, 50)
    assert [every_second.duration(index) for index in range(3)] == [25, 25, 7]
    assert shown(0, 2, 2).last == 25
    assert schedule(Axis("T", 5, UNEVEN)).delays(Fraction(1, 1000)) == [100, 150, 50, 200, 70]


def test_frames_of_the_padding_continue_at_the_usual_step() -> None:
    assert shown(-1, 1, 7).times == (-15, 0, 10, 25, 30, 50, 65)
    assert shown(-1, 1, 7).rate is None


def test_frames_between_others_divide_the_time() -> None:
    between = schedule(Axis("T", 5, UNEVEN).along(Fraction(0), Fraction(1, 2), 9))
    assert [time * between.base * 100 for time in between.times] == [
        0,
        5,
        10,
        Fraction(35, 2),
        25,
        Fraction(55, 2),
        30,
        40,
        50,
    ]


@pytest.mark.parametrize("rate", ["30000/1001", "24000/1001", "60000/1001", "30", "12", "7", "29.5"])
def test_times_that_are_rounded_have_the_rate_of_the_clip(rate: str, tmp_path: Path) -> None:
    """Matroska counts milliseconds; AVI, Y4M and MPEG-1 and 2 count frames."""
    exact = Fraction(rate)
    ticks = tuple(round(1000 * n / exact) for n in range(60))
    assert schedule(Axis("T", 60, Listed(ticks, Fraction(1, 1000), "s"))).rate == exact
    make(tmp_path / "a.mkv", pattern(60, 24, 32), base=1 / exact)
    codecs = ["ffv1", "mpeg2video"] if exact.denominator < 1002 and rate not in ("7", "29.5") else ["ffv1"]
    for codec, name in zip(codecs, ("b.avi", "b.mkv"), strict=False):
        done = ok("filter", "a.mkv", "-k", "identity", "--codec", codec, "-o", name, cwd=tmp_path)
        assert b"evened out" not in done.stderr
        with av.open(str(tmp_path / name)) as file:
            assert file.streams.video[0].frames in (0, 60)
            assert abs(times_of(tmp_path / name)[-1] - 59 / exact) <= Fraction(1, 1000)


def test_what_an_encoder_takes_no_rate_for_is_one_line(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", pattern(9), base=Fraction(1, 7))
    done = shell("filter", "a.mkv", "-k", "identity", "--codec", "mpeg1video", "-o", "b.mkv", cwd=tmp_path)
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"the encoder mpeg1video takes no 7 frames a second" in done.stderr


def test_frames_without_times_follow_at_a_rate() -> None:
    usual, asked = schedule(Axis("T", 3)), schedule(Axis("T", 3, at_rate(Fraction(30000, 1001))))
    assert [usual.seconds(2), usual.shown_for(2)] == [0.08, 0.04]
    assert asked.base == Fraction(1001, 30000)


@pytest.mark.parametrize("pixels", ["yuv420p10le", "yuv422p10le"])
def test_y4m_of_every_depth(tmp_path: Path, pixels: str) -> None:
    """Depths above 8 bits are extensions of the format, which FFmpeg writes when it is told that they are meant."""
    make(tmp_path / "a.mkv", pattern(3), codec="ffv1", pixels=pixels)
    done = ok("filter", tmp_path / "a.mkv", "-k", "identity", "-o", tmp_path / "a.y4m")
    assert b"error" not in done.stderr
    with av.open(tmp_path / "a.mkv") as first, av.open(tmp_path / "a.y4m") as second:
        for one, other in zip(first.decode(video=0), second.decode(video=0), strict=True):
            assert (one.format.name, other.format.name) == (pixels, pixels)
            assert np.array_equal(one.to_ndarray(), other.to_ndarray())


def test_frames_that_are_shown_for_an_hour(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", pattern(3), codec="ffv1", base=Fraction(3600))
    ok("filter", tmp_path / "a.mkv", "-k", "box:3", "-o", tmp_path / "a.y4m")
    with av.open(tmp_path / "a.y4m") as clip:
        assert clip.streams.video[0].average_rate == Fraction(1, 3600)


@pytest.mark.parametrize("depth", [8, 16])
def test_a_grey_y4m_stays_grey_to_the_bit(depth: int, tmp_path: Path) -> None:
    """As planes of YUV, in the range 16 to 235, levels would fall together."""
    frames = np.arange(256, dtype=np.uint8).reshape(1, 16, 16).repeat(2, 0).astype(f"<u{depth // 8}")
    if depth == 16:
        frames = frames * 257 + 3
    space = "mono16" if depth == 16 else "mono"
    head = f"YUV4MPEG2 W16 H16 F25:1 Ip A1:1 C{space} XCOLORRANGE=FULL\n".encode()
    (tmp_path / "a.y4m").write_bytes(head + b"".join(b"FRAME\n" + frame.tobytes() for frame in frames))
    done = ok("filter", tmp_path / "a.y4m", "-k", "identity", "-o", tmp_path / "b.y4m")
    assert done.stderr == b""
    data = (tmp_path / "b.y4m").read_bytes()
    assert f" C{space} ".encode() in data.partition(b"\n")[0]
    assert data.split(b"FRAME\n")[1:] == [frame.tobytes() for frame in frames]
