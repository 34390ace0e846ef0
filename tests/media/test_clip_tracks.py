"""What a clip's file has beside the pictures: kept, or said in a note, in every container.

The sources are made by the program of imageio-ffmpeg, results are read back with PyAV.
"""

from __future__ import annotations

import json
import re
import struct
import subprocess
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import numpy as np
import pytest
from av.stream import Disposition

from convcli.common.errors import ConvError
from convcli.media.registry import by_suffix, left_out
from convcli.media.timing import schedule
from tests.clips import decoded, make, packets, pattern, times_of
from tests.media.test_clips import opened, whole, write
from tests.shell import ok

PICTURES = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=0.6")
SOUND = ("-f", "lavfi", "-i", "sine=r=48000:d=0.6")
TAGGED = "setsar=4/3,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", "0")


def ffmpeg(*arguments: object) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-nostdin", "-y", "-hide_banner", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True)
    return done.stderr.decode(errors="replace")


def made(path: Path, *arguments: object) -> Path:
    ffmpeg(*arguments, path)
    assert path.is_file()
    return path


def described(path: Path) -> str:
    """Return what the other FFmpeg says of the video."""
    return next(line for line in ffmpeg("-v", "verbose", "-i", path).splitlines() if " Video: " in line)


def written(source: Path, target: Path, **video: object) -> tuple[str, ...]:
    """Write a clip as it is; return all notes."""
    clip = opened(source)
    try:
        frames = whole(source)
        notes = *clip.info.notes, *left_out(clip.info, by_suffix(target))
        return (*notes, *write(target, frames, clip.info, **video))
    finally:
        clip.close()


CODECS = {"dts": "dca", "flac": "flac", "opus": "libopus", "truehd": "truehd", "alac": "alac", "ac3": "ac3"}
CODECS |= {"adpcm_g722": "g722", "mp3": "libmp3lame", "aac": "aac"}
HELD = {  # of these, what `ffmpeg -c:a copy` writes into each container and reads back; PyAV offers no G.722 in MKV
    "mkv": set(CODECS) - {"adpcm_g722"},
    "mp4": set(CODECS) - {"truehd", "adpcm_g722"},
    "mov": {"dts", "alac", "ac3", "mp3", "aac"},
    "avi": set(CODECS) - {"opus", "truehd", "alac"},
    "ts": {"dts", "opus", "ac3", "mp3", "aac"},
    "webm": {"opus"},
    "y4m": set(),
}


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip with a track of each codec."""
    tracks = [("-map", "1", f"-c:a:{number}", name) for number, name in enumerate(CODECS.values())]
    options = [word for track in tracks for word in track]
    path = tmp_path_factory.mktemp("sounds") / "a.mkv"
    g722 = list(CODECS).index("adpcm_g722")
    rate = (f"-ar:a:{g722}", "16000", "-ac", "1", "-strict", "-2")
    return made(path, *PICTURES, *SOUND, "-map", "0", *options, *rate, *X264)


@pytest.mark.parametrize("container", HELD)
def test_sound_is_kept_by_its_codec_or_said(container: str, sounds: Path, tmp_path: Path) -> None:
    target = tmp_path / f"b.{container}"
    notes = written(sounds, target, codec="mpeg4" if container == "avi" else None)
    for name in CODECS:
        said = any(f"({name}) is left out: {container.upper()} cannot hold it" in note for note in notes)
        assert said == (name not in HELD[container]), (name, notes)
        if not said:
            got, original = (bodies(path, name) for path in (target, sounds))
            assert len(original) > 4
            if not (container == "ts" and name == "aac"):  # each packet gets a header there
                assert [part for part in got if part] == original


def bodies(path: Path, codec: str) -> list[bytes]:
    """Return the packets of the sound of a codec."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams.audio if s.codec_context.codec.canonical_name == codec)
        return [bytes(packet) for packet in container.demux(stream) if packet.size]


def test_sound_of_a_transport_stream_in_avi(tmp_path: Path) -> None:
    source = made(tmp_path / "a.ts", *PICTURES, *SOUND, *X264, "-c:a", "aac")
    assert written(source, tmp_path / "b.avi") == ()
    assert len(bodies(tmp_path / "b.avi", "aac")) == len(bodies(source, "aac")) > 8


def test_a_packet_that_is_refused_does_not_end_the_job(tmp_path: Path) -> None:
    """Two packets of one time are kept, the second a tick later; of three the last is refused."""
    again = ("-bsf:a", "setts=ts='if(between(N,8,10),8*1536,TS)'")
    source = made(tmp_path / "a.mkv", *PICTURES, *SOUND, *X264, "-c:a", "ac3", *again)
    (note,) = written(source, tmp_path / "b.mp4")
    assert note == "packets of the audio stream (ac3) are left out: MP4 refuses 1 of them"
    kept, original = (bodies(path, "ac3") for path in (tmp_path / "b.mp4", source))
    assert kept == original[:10] + original[11:]


def sup(path: Path) -> Path:
    """Write a picture of 8 x 8 as a PGS subtitle, segment by segment (Blu-ray's presentation graphics)."""
    line = bytes([1] * 8) + b"\0\0"  # eight pixels of colour 1
    run = line * 8
    composed = struct.pack(">HHBHBBBB", 64, 48, 0x10, 0, 0x80, 0, 0, 1)
    parts = [
        (0x16, composed + struct.pack(">HBBHH", 0, 0, 0, 4, 4)),
        (0x17, struct.pack(">BBHHHH", 1, 0, 4, 4, 8, 8)),
        (0x14, bytes([0, 0, 1, 200, 128, 128, 255])),
        (0x15, struct.pack(">HBB", 0, 0, 0xC0) + (len(run) + 4).to_bytes(3, "big") + struct.pack(">HH", 8, 8) + run),
        (0x80, b""),
    ]  # fmt: skip
    shown = [b"PG" + struct.pack(">IIBH", 9000, 0, kind, len(data)) + data for kind, data in parts]
    path.write_bytes(b"".join(shown))
    return path


@pytest.mark.parametrize(
    ("codec", "encoder", "suffix"),
    [
        ("hdmv_pgs_subtitle", "copy", ".mkv"),
        ("dvd_subtitle", "dvdsub", ".mkv"),
        ("dvb_subtitle", "dvbsub", ".ts"),
    ],
)
def test_pictures_as_subtitles_are_kept(codec: str, encoder: str, suffix: str, tmp_path: Path) -> None:
    words = sup(tmp_path / "a.sup")
    source = made(
        tmp_path / f"a{suffix}", *PICTURES, "-i", words, *X264, "-map", "0", "-map", "1", "-c:s", encoder
    )
    assert len(packets(source, "subtitle")) > 0
    assert written(source, tmp_path / "b.mkv") == ()
    assert packets(tmp_path / "b.mkv", "subtitle") == packets(source, "subtitle")
    assert any(codec in note for note in written(source, tmp_path / "b.webm"))


WORDS = "1\n00:00:00,000 --> 00:00:00,300\nLook,\n\n2\n00:00:00,300 --> 00:00:00,500\nit moves.\n"
CHAPTERS = """;FFMETADATA1
title=Whole
artist=Me
[CHAPTER]
TIMEBASE=1/1000
START=0
END=200
title=one
[CHAPTER]
TIMEBASE=1/1000
START=200
END=500
title=two
"""


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with everything: two tracks of sound of which the second is played, subtitles, a cover, a font..."""
    folder = tmp_path_factory.mktemp("rich")
    (folder / "a.srt").write_text(WORDS)
    (folder / "a.txt").write_text(CHAPTERS)
    (folder / "a.ttf").write_bytes(bytes(range(256)) * 4)
    made(folder / "cover.jpg", "-f", "lavfi", "-i", "color=red:s=16x16", "-frames:v", "1")
    return made(
        folder / "a.mkv",
        *(*PICTURES, *SOUND, "-i", folder / "a.srt", "-i", folder / "a.txt"),
        *("-map", "0", "-map", "1", "-map", "1", "-map", "2", "-map", "2", "-map_metadata", "3"),
        *(
            *X264,
            "-c:a",
            "libopus",
            "-c:s",
            "srt",
            "-vf",
            f"{TAGGED},setfield=tff,format=yuv420p",
            "-x264opts",
            "interlaced=1:tff=1",
            "-flags",
            "+ilme+ildct",
        ),
        *("-attach", folder / "a.ttf", "-metadata:s:t:0", "mimetype=application/x-truetype-font"),
        *("-attach", folder / "cover.jpg", "-metadata:s:t:1", "mimetype=image/jpeg"),
        *("-metadata:s:v:0", "title=Main", "-metadata:s:v:0", "language=fra"),
        *(
            "-metadata:s:a:1",
            "title=Talk",
            "-metadata:s:a:1",
            "language=deu",
            "-metadata:s:s:0",
            "language=spa",
        ),
        *("-disposition:a:0", "0", "-disposition:a:1", "default+comment"),
        *("-disposition:s:0", "forced+hearing_impaired"),
    )


def test_no_sound_is_no_note(rich: Path, tmp_path: Path) -> None:
    notes = written(rich, tmp_path / "b.webm", sound=False)
    assert not any("audio" in note or "subtitle" in note for note in notes)


def test_a_cover_is_no_second_film(rich: Path, tmp_path: Path) -> None:
    for path in (rich, tmp_path / "b.mp4"):
        with av.open(str(path)) as container:
            cover = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
            (picture,) = [bytes(packet) for packet in container.demux(cover) if packet.size]
        assert picture.startswith(b"\xff\xd8")
        notes = written(path, tmp_path / f"{'b' if path == rich else 'c'}.mp4")
        assert not any("several video streams" in note for note in notes)
    assert len(times_of(tmp_path / "c.mp4")) == 15


@pytest.mark.parametrize("name", ["A meadow", None])
def test_the_name_of_a_service_is_said(name: str | None, tmp_path: Path) -> None:
    """FFmpeg calls every one Service01."""
    about = ("-metadata", f"service_name={name}") if name else ()
    source = made(tmp_path / "a.ts", *PICTURES, *X264, *about)
    said = ("the name of the service is left out: no output here holds it",)
    assert written(source, tmp_path / "b.ts") == (said if name else ())


def shifted(path: Path, start: float) -> Path:
    return made(path, *PICTURES, *SOUND, *X264, "-c:a", "aac", "-output_ts_offset", start)


WRAP = 2**33 / 90_000  # seconds that the clock of a transport stream counts


@pytest.mark.parametrize("name", ["a.ts", "wrap.ts", "a.mkv"])
def test_times_count_from_the_first_time_stamp(name: str, tmp_path: Path) -> None:
    source = shifted(tmp_path / name, WRAP - 1.7 if name == "wrap.ts" else 3600)
    raw, heard = times_of(source), [packet.pts for packet in _sound(source)]
    assert raw[0] < 0 if name == "wrap.ts" else raw[0] > 3599
    for target in ("b.mp4", "b.mkv", "b.mov", "b.avi"):
        assert not written(source, tmp_path / target)
        times = times_of(tmp_path / target)
        gap = 0 if target == "b.avi" else times[0]
        assert gap < Fraction(1, 20)
        assert [round(float(time - times[0]), 2) for time in times] == [round(0.04 * n, 2) for n in range(15)]
        sound = _sound(tmp_path / target)
        assert len(sound) == len(heard)
        lead = raw[0] - heard[0] * _sound(source)[0].time_base
        if target != "b.avi":
            assert abs(times[0] - sound[0].pts * sound[0].time_base - lead) <= Fraction(1, 500)


def _sound(path: Path) -> list[Any]:
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(audio=0) if packet.size]


def test_motion_counts_as_players_do(tmp_path: Path) -> None:
    moving = (
        "-f",
        "lavfi",
        "-i",
        "color=gray:s=64x48:r=25:d=0.6,drawbox=c=white:t=fill:w=20:h=20:enable='gt(t,0.3)'",
    )
    source = made(tmp_path / "a.ts", *moving, *X264, "-output_ts_offset", "100")
    report = ("motion", source, "--no-output", "--events", "-", "--min-duration", "0", "-q")
    begin, raw = (json.loads(ok(*report, *more).stdout)["start"] for more in ((), ("--raw-times",)))
    assert begin == pytest.approx(0.32)
    assert raw - begin == pytest.approx(float(times_of(source)[0]))


def test_later_fragments_are_whole(tmp_path: Path) -> None:
    made(
        *(tmp_path / "a.m3u8", "-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=1.2", *X264, "-g", "10"),
        *(
            "-f",
            "hls",
            "-hls_time",
            "0.4",
            "-hls_segment_type",
            "fmp4",
            "-hls_fmp4_init_filename",
            "init.mp4",
        ),
        *("-hls_segment_filename", tmp_path / "%d.m4s"),
    )
    segment = tmp_path / "all.mp4"
    segment.write_bytes((tmp_path / "init.mp4").read_bytes() + (tmp_path / "2.m4s").read_bytes())
    assert times_of(segment)[0] == Fraction(4, 5)
    written(segment, tmp_path / "b.mp4")
    assert times_of(tmp_path / "b.mp4") == [Fraction(n, 25) for n in range(10)]
    segment.write_bytes(segment.read_bytes()[: segment.stat().st_size * 6 // 10])
    with pytest.raises(ConvError, match="cut short"):
        opened(segment)


@pytest.mark.parametrize("codec", ["libx265", "libx264", "libsvtav1"])
def test_light_and_the_place_of_colour_are_kept(codec: str, tmp_path: Path) -> None:
    light = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50):max-cll=1000,400"
    colours = ("-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc")
    source = made(
        *(tmp_path / "a.mp4", *PICTURES, "-c:v", "libx265", "-pix_fmt", "yuv420p10le", *colours),
        *("-chroma_sample_location", "topleft", "-x265-params", f"log-level=error:master-display={light}"),
    )
    for target in (tmp_path / "b.mkv", tmp_path / "b.mp4"):
        assert not written(source, target, codec=codec)
        assert "topleft" in described(target)
        (one, two) = (_light_of(path) for path in (source, target))
        assert one == pytest.approx(two, abs=2e-4) and one[-2:] == [1000, 400]
    notes = written(source, tmp_path / "b.webm", codec="vp9")
    assert any("light of the mastering display" in note for note in notes)


def _light_of(path: Path) -> list[float]:
    """Return the mastering display and the light of the content of the first frame, from FFmpeg's structures."""
    with av.open(str(path)) as container:
        sides = {side.type.name: bytes(side) for side in next(container.decode(video=0)).side_data}
    display = struct.unpack("22i", sides["MASTERING_DISPLAY_METADATA"])
    values = [a / b for a, b in zip(display[:20:2], display[1:20:2], strict=True)]
    return [*values, *struct.unpack("2I", sides["CONTENT_LIGHT_LEVEL"])]


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["b.avi", "b.mov", "b.mkv"])
def test_mjpeg_of_any_range(name: str, full: bool, tmp_path: Path) -> None:
    frames = np.repeat(pattern(3, 6, 8), 8, axis=1).repeat(8, axis=2)
    source = make(tmp_path / "a.mkv", frames, pixels="yuv444p", tags=(1, 1, 1, 2 if full else 1))
    if name == "b.avi":  # on the planes
        ok("filter", source, "-k", "identity", "--codec", "mjpeg", "-o", tmp_path / name)
    else:
        written(source, tmp_path / name, codec="mjpeg")
    assert "yuvj" in described(tmp_path / name) or "pc" in described(tmp_path / name)
    difference = decoded(tmp_path / name, "rgb24").astype(int) - decoded(source, "rgb24")
    assert np.abs(difference).mean() < 3
    assert np.abs(difference.mean(axis=(0, 1, 2))).max() < 1


@pytest.mark.parametrize("codec", ["av1", "hevc"])
def test_encoders_do_not_talk(codec: str, tmp_path: Path) -> None:
    source = make(tmp_path / "a.mkv", pattern(3))
    assert ok("filter", source, "-k", "box:3", "--codec", codec, "-o", tmp_path / "b.mkv").stderr == b""


@pytest.mark.parametrize("rate", ["25", "30000/1001"])
@pytest.mark.parametrize("codec", [("libx264", "-pix_fmt", "yuv420p", "-bf", "2"), ("mpeg4", "-bf", "2")])
def test_reordered_frames_in_avi_have_their_places(codec: tuple[str, ...], rate: str, tmp_path: Path) -> None:
    """AVI has times in the order of the packets alone; Matroska holds the same packets with theirs."""
    moving = ("-f", "lavfi", "-i", f"testsrc=s=64x48:r={rate}:d=0.8", "-c:v", *codec)
    avi, other = made(tmp_path / "a.avi", *moving), made(tmp_path / "a.mkv", *moving)
    np.testing.assert_array_equal(whole(avi), whole(other))
    source = opened(avi)
    picks = (15, 3, 4, 19, 0)
    frames = np.concatenate([source.strip(index, index + 1) for index in picks])
    np.testing.assert_array_equal(frames, whole(other)[list(picks)])
    shown = schedule(source.info.axis("T"))
    assert [b - a for a, b in pairwise(shown.times)] == [shown.last] * (len(shown.times) - 1)
    assert shown.last * shown.base == 1 / Fraction(rate)
    source.close()


@pytest.mark.parametrize("frame", [0, 7])
def test_captions_are_said_whenever_they_begin(frame: int, tmp_path: Path) -> None:
    """CEA-608 in a supplemental message of H.264 (ATSC A/53, part 4, 6.2.3)."""
    made(tmp_path / "a.h264", *PICTURES, *X264)
    data = (tmp_path / "a.h264").read_bytes()
    at = [found.start() for found in re.finditer(rb"\x00\x00\x01[\x65\x41\x61]", data)][frame]
    captions = b"\xb5\0\x31GA94\x03\x41\xff\xfc\x94\x20\xff"
    message = b"\0\0\1\6\4" + bytes([len(captions)]) + captions + b"\x80"
    (tmp_path / "b.h264").write_bytes(data[:at] + message + data[at:])
    source = made(tmp_path / "b.mp4", "-f", "h264", "-r", "25", "-i", tmp_path / "b.h264", "-c", "copy")
    for plain, path in ((True, tmp_path / "a.h264"), (False, source)):
        if plain:
            path = made(tmp_path / "a.mp4", "-f", "h264", "-r", "25", "-i", path, "-c", "copy")
        done = ok("filter", path, "-k", "box:3", "-o", tmp_path / f"c{plain}.mkv")
        assert done.stderr == (
            b"" if plain else b"note: closed captions left out: no output here holds them\n"
        )
    assert ok("filter", source, "-k", "box:3", "-o", tmp_path / "d.mkv", "-q").stderr == b""


def test_comments_of_y4m_are_said(tmp_path: Path) -> None:
    for extra, frame, said in (
        (b"", b"", ()),
        (b" XYSCSS=420JPEG XCOLORRANGE=FULL", b"", ()),
        (b" Xfilmed in May", b"", ("comments in the header are left out",)),
        (b"", b" I1pp", ("the parameters of single frames are left out",)),
    ):
        header = b"YUV4MPEG2 W16 H12 F25:1 Ip A1:1 C420jpeg" + extra + b"\n"
        pixels = b"\n" + bytes(range(192)) + bytes([128]) * 96
        (tmp_path / "a.y4m").write_bytes(
            header + b"".join(b"FRAME" + more + pixels for more in (b"", b"", frame))
        )
        done = ok("filter", tmp_path / "a.y4m", "-k", "box:3", "-o", tmp_path / "b.y4m", "-y")
        assert done.stderr.decode() == "".join(f"note: {line}\n" for line in said)


@pytest.mark.parametrize(
    ("pixels", "codec", "written_as"),
    [("yuv444p", "av1", "yuv420p"), ("yuv422p", "mpeg4", "yuv420p"), ("yuv411p", "mpeg4", "yuv420p"),
     ("yuv411p", "h264", None), ("yuv420p", "av1", None), ("gray", "av1", None)],
)  # fmt: skip
def test_colour_of_lower_resolution_is_said(
    pixels: str, codec: str, written_as: str | None, tmp_path: Path
) -> None:
    source = made(tmp_path / "a.mkv", *PICTURES, "-c:v", "ffv1", "-pix_fmt", pixels)
    notes = written(source, tmp_path / "b.mkv", codec=codec)
    said = f"colour has a lower resolution ({written_as} instead of {pixels}): "
    assert [note.startswith(said) for note in notes if "resolution" in note] == [True] * bool(written_as)
    with av.open(str(tmp_path / "b.mkv")) as result:
        got, was = (av.VideoFormat(name) for name in (result.streams.video[0].pix_fmt, pixels))
    sizes = [(form.chroma_width(64), form.chroma_height(64)) for form in (got, was)]
    assert bool(written_as) == any(a < b for a, b in zip(*sizes, strict=True)) or pixels == "gray"


@pytest.mark.parametrize(
    "codec",
    [(*X264[:4], "-bf", "2", "-x264-params", "open-gop=1:scenecut=0"), ("-c:v", "mpeg2video", "-bf", "2")],
)
@pytest.mark.parametrize("part", [0.35, None])
def test_a_recording_may_begin_anywhere(part: float | None, codec: tuple[str, ...], tmp_path: Path) -> None:
    """In front of a key frame, or at one whose group refers to what is before it: what FFmpeg shows is read."""
    data = made(tmp_path / "a.ts", *PICTURES[:2], "-i", "testsrc=s=64x48:r=25:d=1.2", *codec, "-pix_fmt", "yuv420p",
                "-g", "12").read_bytes()  # fmt: skip
    with av.open(str(tmp_path / "a.ts")) as container:
        keys = [packet.pos for packet in container.demux(video=0) if packet.size and packet.is_keyframe]
    at = keys[1] if part is None else int(len(data) * part) // 188 * 188
    (tmp_path / "b.ts").write_bytes(data[:564] + data[at:])  # with the tables
    source, shown = opened(tmp_path / "b.ts"), decoded(tmp_path / "b.ts", "rgb24")
    (note,) = source.info.notes
    assert re.fullmatch(rf"\d+ frames could not be decoded, {len(shown)} frames are kept", note)
    assert np.abs(whole(tmp_path / "b.ts").astype(int) - shown).max() <= 1
    source.close()


@pytest.mark.parametrize("name", ["b.mkv", "b.mp4", "b.ts"])
def test_frames_of_mpeg4_that_lack_what_they_refer_to_are_left_out(name: str, tmp_path: Path) -> None:
    """FFmpeg's decoder shows them, and marks nothing."""
    path = (tmp_path / "a").with_suffix(Path(name).suffix)
    pictures = (*PICTURES[:2], "-i", "testsrc=s=64x48:r=25:d=1.2")
    full = made(path, *pictures, "-c:v", "mpeg4", "-bf", "2", "-g", "12")
    cut = made(tmp_path / name, "-i", full, "-c", "copy", "-bsf:v", "noise=drop='lt(n,5)'")
    source, whole_one = opened(cut), whole(full)
    frames = whole(cut)
    assert len(frames) == 18  # from the second of three key frames on
    np.testing.assert_array_equal(frames, whole_one[-18:])
    assert re.fullmatch(r"\d frames could not be decoded, 18 frames are kept", *source.info.notes)
    source.close()


def fragments(path: Path) -> list[tuple[bytes, bytes]]:
    """Return the boxes of an MP4: kinds and bytes."""
    data, found = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:4])
        found.append((data[4:8], data[:size]))
        data = data[size:]
    return found


OPEN = (*X264[:4], "-bf", "3", "-x264-params", "open-gop=1:scenecut=0:keyint=10", "-pix_fmt", "yuv420p", "-movflags",
        "frag_keyframe+empty_moov+default_base_moof")  # fmt: skip


def test_fragments_with_open_groups_may_begin_anywhere(tmp_path: Path) -> None:
    full = made(tmp_path / "a.mp4", *PICTURES[:2], "-i", "testsrc=s=64x48:r=25:d=1.2", *OPEN)
    boxes = fragments(full)
    at = [index for index, (kind, _) in enumerate(boxes) if kind == b"moof"]
    (tmp_path / "b.mp4").write_bytes(b"".join(data for _, data in boxes[: at[0]] + boxes[at[1] :]))
    frames = whole(tmp_path / "b.mp4")
    assert len(frames) >= 20
    np.testing.assert_array_equal(frames, whole(full)[-len(frames) :])


def test_times_that_are_those_of_packets_are_put_in_order(tmp_path: Path) -> None:
    """Some programs write no offsets for frames that are shown later than they are decoded."""
    full = made(tmp_path / "a.mp4", *PICTURES[:2], "-i", "testsrc=s=64x48:r=25:d=1.2", *OPEN)
    data = bytearray(full.read_bytes())
    for found in re.finditer(rb"trun", bytes(data)):
        at = found.end()
        flags, count = int.from_bytes(data[at + 1 : at + 4]), int.from_bytes(data[at + 4 : at + 8])
        assert flags & 0x800
        size = 4 * sum(bool(flags & bit) for bit in (0x100, 0x200, 0x400, 0x800))
        first = at + 8 + 4 * bool(flags & 1) + 4 * bool(flags & 4)
        for end in range(first + size, first + size * count + 1, size):
            data[end - 4 : end] = bytes(4)
    (tmp_path / "b.mp4").write_bytes(data)
    np.testing.assert_array_equal(whole(tmp_path / "b.mp4"), whole(full))
    source = opened(tmp_path / "b.mp4")
    times = source.info.axis("T").positions
    assert [times.at(n) for n in range(3)] == [0, Fraction(1, 25), Fraction(2, 25)]
    source.close()


def test_fragments_that_begin_before_zero_are_whole(tmp_path: Path) -> None:
    source = made(tmp_path / "a.mp4", *PICTURES, *X264, "-movflags", "frag_keyframe+delay_moov",
                  "-output_ts_offset", "-0.3")  # fmt: skip
    assert times_of(source)[0] == Fraction(-3, 10)
    assert not written(source, tmp_path / "b.mp4")
    assert times_of(tmp_path / "b.mp4") == [Fraction(n, 25) for n in range(15)]


def test_late_pictures_of_an_avi_stay_late(tmp_path: Path) -> None:
    """With B frames, which have no times of their own there."""
    late = (*PICTURES, "-itsoffset", "-2", *SOUND, "-map", "0", "-map", "1")
    source = made(tmp_path / "a.avi", *late, *X264[:4], "-bf", "2", "-c:a", "mp3")
    assert not written(source, tmp_path / "b.mkv")
    first, sound = times_of(tmp_path / "b.mkv")[0], _sound(tmp_path / "b.mkv")[0]
    assert first - sound.pts * sound.time_base == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("rate", ["25", "30000/1001"])
def test_clocks_that_mpeg4_cannot_count(rate: str, tmp_path: Path) -> None:
    """A transport stream counts 90,000 parts of a second, MPEG-4 part 2 at most 65,535."""
    moving = ("-f", "lavfi", "-i", f"testsrc=s=64x48:r={rate}:d=0.6", "-c:v", "mpeg4")
    source = made(tmp_path / "a.ts", *moving, *SOUND, "-c:a", "mp2", "-output_ts_offset", "3.011")
    assert not written(source, tmp_path / "b.mp4")  # which calls all of MPEG's sound mp3
    times, raw = times_of(tmp_path / "b.mp4"), times_of(source)
    assert [float(b - times[0]) for b in times] == pytest.approx([float(b - raw[0]) for b in raw], abs=1e-4)
    (heard, original) = (
        bodies(path, codec) for path, codec in ((tmp_path / "b.mp4", "mp3"), (source, "mp2"))
    )
    assert heard == original != []


def test_narrow_clips_of_hevc(tmp_path: Path) -> None:
    """Up to 48 pixels x265 corrupted the memory of the process."""
    source = make(tmp_path / "a.mkv", pattern(24, 32, 48))
    assert ok("filter", source, "-k", "identity", "--codec", "hevc", "-o", tmp_path / "b.mkv").stderr == b""
    assert len(times_of(tmp_path / "b.mkv")) == 24
