"""Sounds beside scipy, libsndfile and FFmpeg: what is kept of samples, rates and tags."""

import struct
import subprocess
import sys
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import polars as pl
import pytest
import soundfile
from scipy.ndimage import correlate1d
from typer.testing import CliRunner

from convcli.cli.program import build
from convcli.media import registry
from convcli.media.options import ReadOptions
from tests.media.test_clip_tracks import ffmpeg

RATE, LENGTH = 48_000, 7001
TAPS = np.array([0.5, 0.25, -0.125])
KERNEL = "0.5,0.25,-0.125"
WAVE = np.sin(np.arange(LENGTH) / 9)[:, None] * [0.4, 0.2]
WAVE += np.random.default_rng(5).normal(0, 0.05, WAVE.shape)
EXACT = {  # of a format: libsndfile's codings, and the bits of a sample beside its sign, 0 for floats
    "wav": {"PCM_U8": 7, "PCM_16": 15, "PCM_24": 23, "PCM_32": 31, "FLOAT": 0, "DOUBLE": 0},
    "aiff": {"PCM_S8": 7, "PCM_16": 15, "PCM_24": 23, "PCM_32": 31, "FLOAT": 0},
    "flac": {"PCM_S8": 7, "PCM_16": 15, "PCM_24": 23},
}
LOSSY = {"mp3": "MPEG_LAYER_III", "ogg": "VORBIS", "opus": "OPUS"}


def sound(path: Path, coding: str, wave: np.ndarray = WAVE, rate: int = RATE, **tags: str) -> Path:
    container = {"opus": "OGG"}.get(path.suffix[1:], path.suffix[1:].upper())
    channels = wave.shape[1] if wave.ndim > 1 else 1
    with soundfile.SoundFile(path, "w", rate, channels, coding, format=container) as file:
        for name, text in tags.items():
            setattr(file, name, text)
        file.write(wave)
    return path


def apple(path: Path, codec: str, layout: str, wave: np.ndarray, form: str = "ipod") -> Path:
    """Write (C, X) by FFmpeg."""
    with av.open(str(path), "w", format="adts" if path.suffix == ".aac" else form) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.codec_context.layout, stream.codec_context.format = "stereo", layout
        container.metadata["title"] = "Low tide"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave), layout, "stereo")
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def run(*arguments: object) -> tuple[int, str]:
    """Run a filter in this process; return its exit code and what it says on stderr."""
    done = CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)], catch_exceptions=False)
    return done.exit_code, done.stderr


def refused(*arguments: object) -> str:
    from convcli.common import ConvError

    with pytest.raises(ConvError) as found:
        CliRunner().invoke(build(["filter"]), ["filter", *map(str, arguments)], catch_exceptions=False)
    return str(found.value)


def decoded(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float64", always_2d=True)[0]


def by_ffmpeg(path: Path) -> np.ndarray:
    """Decode to (X, C), full scale 1."""
    with av.open(str(path)) as container:
        frames = list(container.decode(container.streams.audio[0]))
    full = {"s16p": 2.0**15, "s32p": 2.0**31}.get(frames[0].format.name, 1)
    return np.concatenate([frame.to_ndarray() for frame in frames], axis=1).T / full


def filtered(wave: np.ndarray, bits: int = 0) -> np.ndarray:
    expected = correlate1d(wave, TAPS, axis=0, mode="nearest")
    return (
        np.clip(np.rint(expected * 2.0**bits), -(2.0**bits), 2.0**bits - 1) / 2.0**bits if bits else expected
    )


@pytest.mark.parametrize(
    "suffix, coding, bits", [(suffix, *row) for suffix, codings in EXACT.items() for row in codings.items()]
)
def test_a_filtered_sound_is_scipys_rounded_once(suffix: str, coding: str, bits: int, tmp_path: Path) -> None:
    path = sound(tmp_path / f"a.{suffix}", coding, title="Low tide", artist="Anna")
    target = tmp_path / f"b.{suffix}"
    assert run(path, "-k", KERNEL, "-o", target) == (0, "")
    error = {0: 1e-6, 31: 2.0**-31}.get(bits, 0)
    assert np.abs(decoded(target) - filtered(decoded(path), bits)).max() <= error
    with soundfile.SoundFile(target) as found:
        assert (found.subtype, found.samplerate) == (coding, RATE)
        assert (found.title, found.artist) == ("Low tide", "Anna")


@pytest.mark.parametrize(
    ("suffix", "coding", "order", "head"),
    [
        ("aiff", "PCM_U8", "FILE", b"raw "),
        ("aiff", "PCM_24", "LITTLE", b"42n1"),
        ("aiff", "PCM_16", "LITTLE", b"sowt"),
        ("wav", "PCM_24", "BIG", b"RIFX"),
    ],
)
def test_rarer_orders_of_bytes_and_signs_stay(
    suffix: str, coding: str, order: str, head: bytes, tmp_path: Path
) -> None:
    path, target = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    soundfile.write(path, WAVE, RATE, coding, order)
    assert run(path, "-k", KERNEL, "-o", target) == (0, "")
    assert (coding, order) == (soundfile.info(target).subtype, soundfile.SoundFile(target).endian)
    assert head in path.read_bytes()[:64]
    assert head in target.read_bytes()[:64]
    bits = int(coding.strip("PCM_U")) - 1
    assert np.array_equal(decoded(target), filtered(decoded(path), bits))


def test_a_wav_of_64_bit_sizes_stays_one(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", WAVE, RATE, "PCM_24", format="RF64")
    assert run(tmp_path / "a.wav", "-k", KERNEL, "-o", tmp_path / "b.wav") == (0, "")
    assert soundfile.info(tmp_path / "b.wav").format == "RF64"
    assert np.array_equal(decoded(tmp_path / "b.wav"), filtered(decoded(tmp_path / "a.wav"), 23))


@pytest.mark.parametrize("suffix", ["aiff", "wav"])
@pytest.mark.parametrize("coding", ["ULAW", "ALAW", "IMA_ADPCM"])
def test_codings_that_are_not_written_are_said(suffix: str, coding: str, tmp_path: Path) -> None:
    path = sound(tmp_path / f"a.{suffix}", coding, WAVE[:, 0])
    said = run(path, "-k", "1", "-o", tmp_path / f"b.{suffix}")
    assert said == (0, f"note: the coding {coding} is not written: samples become PCM_16\n")
    assert np.array_equal(decoded(path), decoded(tmp_path / f"b.{suffix}"))


@pytest.mark.parametrize("suffix", LOSSY)
def test_lossy_sounds_keep_their_length_and_are_read_as_their_library_does(
    suffix: str, tmp_path: Path
) -> None:
    path = sound(tmp_path / f"a.{suffix}", LOSSY[suffix], title="Low tide")
    assert run(path, "-k", KERNEL, "-o", tmp_path / "b.wav") == (0, "")
    assert np.abs(decoded(tmp_path / "b.wav") - filtered(decoded(path))).max() < 1e-5
    assert run(path, "-k", "1", "-o", tmp_path / f"c.{suffix}") == (0, "")
    with soundfile.SoundFile(tmp_path / f"c.{suffix}") as found:
        assert (found.frames, found.title) == (LENGTH, "Low tide")


@pytest.mark.parametrize("layout, bits", [("s16p", 15), ("s32p", 23)])
def test_apples_lossless_sounds_keep_their_bits(layout: str, bits: int, tmp_path: Path) -> None:
    whole = np.rint(WAVE.T * 0.9 * 2.0**bits).astype(np.int64)
    stored = (whole << 8).astype(np.int32) if layout == "s32p" else whole.astype(np.int16)
    path = apple(tmp_path / "a.m4a", "alac", layout, stored)
    assert run(path, "-k", KERNEL, "-o", tmp_path / "b.m4a") == (0, "")
    assert np.array_equal(by_ffmpeg(tmp_path / "b.m4a"), filtered(whole.T / 2.0**bits, bits))
    with av.open(str(tmp_path / "b.m4a")) as container:
        assert (container.metadata["title"], container.streams.audio[0].format.name) == ("Low tide", layout)


def test_aac_is_read_without_what_pads_its_packets(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", "FLOAT")
    assert run(path, "-k", "1", "-o", tmp_path / "a.m4a") == (0, "")
    assert run(tmp_path / "a.m4a", "-k", "1", "-o", tmp_path / "b.wav") == (0, "")
    found = decoded(tmp_path / "b.wav")
    assert len(found) == LENGTH
    assert np.array_equal(found, by_ffmpeg(tmp_path / "a.m4a")[:LENGTH])
    assert np.abs(found - WAVE)[1000:-1000].std() < 0.1  # it begins where the sound began


def test_streams_of_aac_are_read(tmp_path: Path) -> None:
    path = apple(tmp_path / "a.aac", "aac", "fltp", WAVE.T.astype(np.float32))
    assert run(path, "-k", "1", "-o", tmp_path / "b.wav") == (0, "")
    assert np.array_equal(decoded(tmp_path / "b.wav"), by_ffmpeg(path))
    assert "aac is only read; write .m4a or .wav" in refused(path, "-k", "1", "-o", tmp_path / "c.aac")


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "opus", "m4a"])
def test_any_part_is_the_same_in_any_order(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    made = sound(tmp_path / "made.wav", "PCM_16")
    assert run(made, "-k", "1", "-o", path)[0] == 0
    found = registry.open_source(path.open("rb"), registry.by_suffix(path), ReadOptions())
    whole = found.strip(0, LENGTH)
    random = np.random.default_rng(3)
    for first in random.integers(0, LENGTH - 1, 12).tolist():
        last = int(random.integers(first + 1, LENGTH))
        assert np.array_equal(found.strip(first, last), whole[first:last]), (first, last)
    found.close()


@pytest.mark.parametrize(
    "stride, rate, note", [(2, 24_000, ""), (7, 6857, "6857.142857 Hz is rounded to 6857 Hz")]
)
def test_a_stride_divides_the_rate(stride: int, rate: int, note: str, tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", "PCM_16")
    code, said = run(path, "-k", "gaussian:sigma=5", "--stride", stride, "-o", tmp_path / "b.wav")
    assert code == 0
    assert note in said
    found = soundfile.info(tmp_path / "b.wav")
    assert (found.samplerate, found.frames) == (rate, -(-LENGTH // stride))


def test_kernels_of_edges_are_not_moved_to_mid_grey(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", "PCM_16", WAVE[:, 0])
    assert run(path, "-k", "-0.25,0.5,-0.25", "-o", tmp_path / "b.wav") == (0, "")
    expected = correlate1d(
        soundfile.read(path, dtype="int16")[0].astype(float), [-0.25, 0.5, -0.25], mode="nearest"
    )
    assert np.array_equal(soundfile.read(tmp_path / "b.wav", dtype="int16")[0], np.rint(expected))


def test_what_a_format_cannot_hold_is_rounded_or_cut_and_said(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", "FLOAT")
    code, said = run(path, "-k", "3", "-o", tmp_path / "b.flac")
    expected = decoded(path) * 3
    beyond = (np.abs(expected) > 1).mean()
    assert (code, f"{beyond:.2%} of the samples are beyond full scale" in said) == (0, True)
    assert "floats are rounded to 24 bits: FLAC holds no more" in said
    expected = np.clip(np.rint(expected * 2**23), -(2**23), 2**23 - 1) / 2**23
    assert np.abs(decoded(tmp_path / "b.flac") - expected).max() <= 2**-22  # of products in float32
    fine = sound(tmp_path / "c.wav", "PCM_32")
    code, said = run(fine, "-k", "1", "-o", tmp_path / "d.flac")
    assert (code, "32 bits a sample are rounded to 24 bits" in said) == (0, True)
    assert np.array_equal(decoded(tmp_path / "d.flac"), np.rint(decoded(fine) * 2**23) / 2**23)


def test_a_file_that_is_cut_short_is_refused_or_kept_as_far_as_it_goes(tmp_path: Path) -> None:
    for suffix, coding in (
        ("wav", "PCM_16"),
        ("aiff", "PCM_16"),
        ("flac", "PCM_24"),
        ("mp3", "MPEG_LAYER_III"),
    ):
        path = sound(tmp_path / f"a.{suffix}", coding, np.tile(WAVE, (3, 1)))
        whole = decoded(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "--allow-truncated keeps what can be read" in refused(
            path, "-k", "1", "-o", tmp_path / "b.wav", "-y"
        )
        code, said = run(path, "-k", "1", "-o", tmp_path / "b.wav", "--allow-truncated", "-y")
        kept = decoded(tmp_path / "b.wav")
        assert (code, "cut short" in said) == (0, True), suffix
        assert 1000 < len(kept) < len(whole)
        assert np.abs(kept - whole[: len(kept)])[:1000].max() < 1e-4


def chunk(name: bytes, data: bytes) -> bytes:
    return name + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2)


def test_what_else_a_file_has_is_said(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", "PCM_16")
    more = chunk(b"bext", bytes(602)) + chunk(b"cue ", bytes(28)) + chunk(b"iXML", b"<BWFXML/>")
    data = path.read_bytes() + more + chunk(b"abcd", b"1234")
    path.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    said = run(path, "-k", "1", "-o", tmp_path / "b.wav")[1]
    assert "left out of the WAV: broadcast extension, cue points, iXML, chunk abcd" in said
    tagged = sound(tmp_path / "c.wav", "PCM_16", title="Low tide")
    said = run(tagged, "-k", "1", "-o", tmp_path / "d.csv")[1]
    assert "left out: tags (title) (CSV holds none)" in said


def test_signals_become_sounds_where_their_rate_is_known(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", WAVE.astype(np.float32))
    options = ("-k", "1", "--axes", "XC", "-o", tmp_path / "b.wav")
    assert "needs a sample rate, and the data has none: --fps sets one" in refused(
        tmp_path / "a.npy", *options
    )
    assert run(tmp_path / "a.npy", *options, "--fps", "8000")[0] == 0
    assert (soundfile.info(tmp_path / "b.wav").samplerate, soundfile.info(tmp_path / "b.wav").subtype) == (
        8000,
        "FLOAT",
    )
    np.testing.assert_array_equal(decoded(tmp_path / "b.wav"), WAVE.astype(np.float32))
    (tmp_path / "t.csv").write_text("time [s],a\n" + "".join(f"{i / 100:.2f},{i % 7}\n" for i in range(50)))
    assert run(tmp_path / "t.csv", "-k", "1", "-o", tmp_path / "t.wav")[0] == 0
    assert soundfile.info(tmp_path / "t.wav").samplerate == 100
    (tmp_path / "u.csv").write_text("time [s],a\n0,1\n1,2\n3,5\n")
    assert "needs a sample rate, and the data is not evenly spaced in time" in refused(
        tmp_path / "u.csv", "-k", "1", "-o", tmp_path / "u.wav"
    )


@pytest.mark.parametrize(
    ("column", "first", "step", "rate", "note"),
    [
        ("time", 0, 0.001, 1000, "the times have no unit: seconds are taken for it"),
        ("time [s]", 5, 0.001, 1000, "the first sample lies at 5 s: WAV begins at 0"),
        ("t [ms]", 0, 0.5, 2000, ""),
        ("t [us]", 0, 125, 8000, ""),
    ],
)
def test_the_times_of_a_table_are_the_rate_of_a_sound(
    column: str, first: int, step: float, rate: int, note: str, tmp_path: Path
) -> None:
    rows = "".join(f"{first + i * step:.4f},{i % 7}\n" for i in range(50))
    (tmp_path / "t.csv").write_text(f"{column},a\n{rows}")
    said = run(tmp_path / "t.csv", "-k", "1", "-o", tmp_path / "t.wav")[1]
    assert soundfile.info(tmp_path / "t.wav").samplerate == rate
    assert "left out: the names of the columns (WAV" in said and "positions" not in said
    assert note in said and said.count("note: the") == bool(note)


def test_a_table_of_millimetres_is_no_sound(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("x [mm],a\n0,1\n1,2\n2,5\n")
    assert "samples lie mm apart" in refused(tmp_path / "x.csv", "-k", "1", "-o", tmp_path / "x.wav")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "arrow"])
def test_a_table_of_a_sound_has_its_times(suffix: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", WAVE, 44_100, "FLOAT")
    path = tmp_path / f"b.{suffix}"
    assert run(tmp_path / "a.wav", "-k", "1", "--stride", "2", "-o", path, "-q")[0] == 0
    read = {"csv": pl.read_csv, "tsv": partial(pl.read_csv, separator="\t"), "arrow": pl.read_ipc}
    table = read.get(suffix, pl.read_parquet)(path)
    names = ["time [s]", *(f"channel{n}" for n in range(1, WAVE.shape[1] + 1))]
    assert table.columns == names
    np.testing.assert_array_equal(table["time [s]"], np.arange(0, len(WAVE), 2) / 44_100)
    assert run(path, "-k", "1", "-o", tmp_path / "c.wav")[1].count("sample rate") == 0
    assert soundfile.info(tmp_path / "c.wav").samplerate == 22_050
    again = decoded(tmp_path / "c.wav").astype(np.float32)
    np.testing.assert_array_equal(again, WAVE.astype(np.float32)[::2])


@pytest.mark.parametrize(("suffix", "codec"), [("mp3", "libmp3lame"), ("m4a", "aac"), ("opus", "libopus")])
def test_a_compressed_sound_keeps_about_its_bit_rate(suffix: str, codec: str, tmp_path: Path) -> None:
    """Of noise, of which encoders leave no bit unused."""
    noise, sizes = np.random.default_rng(6).normal(0, 0.1, (2, 96_000)).astype(np.float32), []
    for rate in (64_000, 240_000):
        with av.open(tmp_path / f"a.{suffix}", "w") as file:
            stream = file.add_stream(codec, 48_000, bit_rate=rate, layout="stereo")
            for first in range(0, noise.shape[1], 960):
                part = np.ascontiguousarray(noise[:, first : first + 960])
                if codec == "libopus":
                    part = part.T.reshape(1, -1).copy()
                frame = av.AudioFrame.from_ndarray(part, "flt" if codec == "libopus" else "fltp", "stereo")
                frame.sample_rate, frame.pts = 48_000, first
                file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
        run(tmp_path / f"a.{suffix}", "-k", "1", "-y", "-o", tmp_path / f"b.{suffix}")
        sizes.append([(tmp_path / f"{name}.{suffix}").stat().st_size for name in "ab"])
    for given, made in sizes:
        assert 0.7 < made / given < 1.3, sizes


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("suffix", [".mp3", ".ogg"])
def test_sounds_of_the_lowest_bit_rates_are_written_too(suffix: str, rate: int, tmp_path: Path) -> None:
    """LAME, for one, refuses the last step of its scale."""
    form = {".mp3": ("MP3", "MPEG_LAYER_III"), ".ogg": ("OGG", "VORBIS")}[suffix]
    x = np.random.default_rng(1).normal(0, 0.001, rate)
    soundfile.write(tmp_path / f"a{suffix}", x, rate, form[1], format=form[0], compression_level=0.95)
    assert run(tmp_path / f"a{suffix}", "-k", "box:3", "-o", tmp_path / f"b{suffix}")[0] == 0
    assert soundfile.info(tmp_path / f"b{suffix}").samplerate == rate


def test_missing_samples_become_silence_where_a_format_has_none(tmp_path: Path) -> None:
    holes = WAVE.astype(np.float32)
    holes[100:110, 1] = np.nan
    holes[5, 0] = np.inf
    np.save(tmp_path / "a.npy", holes)
    for name in ("b.flac", "b.mp3", "b.m4a"):
        code, said = run(tmp_path / "a.npy", "-k", "1", "--axes", "XC", "--fps", RATE, "-o", tmp_path / name)
        assert (code, "10 samples are not numbers (NaN) and become silence" in said) == (0, True)
    found = decoded(tmp_path / "b.flac")
    assert not found[100:110, 1].any()
    assert found[5, 0] == 1 - 2**-23


@pytest.mark.parametrize("length", [128, 1024, 1152, 1153, 4096])
def test_vorbis_keeps_its_last_block(length: int, tmp_path: Path) -> None:
    path = sound(tmp_path / "a.ogg", "VORBIS", WAVE[:length], 44_100)
    assert run(path, "-k", "1", "-o", tmp_path / "b.wav") == (0, "")
    np.testing.assert_allclose(decoded(tmp_path / "b.wav"), decoded(path), atol=1e-6)


def test_ogg_files_that_ffmpeg_would_shorten_are_refused(tmp_path: Path) -> None:
    for suffix, coding in (("ogg", "VORBIS"), ("opus", "OPUS")):
        path = sound(tmp_path / f"a.{suffix}", coding, np.tile(WAVE, (20, 1)))
        data = path.read_bytes()
        path.write_bytes(data + data)
        said = refused(path, "-k", "1", "-o", tmp_path / "b.wav", "-y")
        assert "several sounds one after another: `ffmpeg -i IN.ogg OUT.wav` joins them" in said
        path.write_bytes(data[: len(data) * 2 // 3])
        assert "cut short: its last page is missing" in refused(
            path, "-k", "1", "-o", tmp_path / "b.wav", "-y"
        )
        assert run(path, "-k", "1", "-o", tmp_path / "b.wav", "--allow-truncated", "-y")[0] == 0


def test_mp3_files_that_are_longer_or_shorter_than_their_header_says(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.mp3", "MPEG_LAYER_III", np.tile(WAVE, (4, 1)))
    data = path.read_bytes()
    tag = b"ID3\4\0\0" + bytes((0, 0, 8, 0)) + bytes(1024)  # of 1024 bytes
    path.write_bytes(tag + data[: len(data) * 2 // 3])
    assert "bytes of its samples are missing; --allow" in refused(path, "-k", "1", "-o", tmp_path / "b.wav")
    path.write_bytes(data + data)
    assert run(path, "-k", "1", "-o", tmp_path / "b.wav") == (0, "")
    found, once = decoded(tmp_path / "b.wav"), 4 * LENGTH
    assert len(found) > 2 * once and np.abs(found[:once] - np.tile(WAVE, (4, 1)))[2000:-2000].std() < 0.1


@pytest.mark.parametrize("form", ["ipod", "mp4"])
def test_mp4_keeps_the_samples_that_its_edit_list_rounds_away(form: str, tmp_path: Path) -> None:
    path = apple(tmp_path / "a.m4a", "aac", "fltp", WAVE.T.astype(np.float32), form)  # 145.854 ms
    assert run(path, "-k", "1", "-o", tmp_path / "b.wav") == (0, "")
    assert np.array_equal(decoded(tmp_path / "b.wav"), by_ffmpeg(path)[:LENGTH])


def test_what_is_broken_is_said_in_words_of_sounds(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", "PCM_16")
    path.write_bytes(path.read_bytes()[:36])
    assert "Error opening it: " in refused(path, "-k", "1", "-o", tmp_path / "b.wav")
    path = apple(tmp_path / "a.m4a", "aac", "fltp", WAVE.T.astype(np.float32))
    path.write_bytes(path.read_bytes()[:2000])
    assert "broken or truncated sound" in refused(path, "-k", "1", "-o", tmp_path / "b.wav")


def test_a_chunk_larger_than_any_file_is_no_internal_error(tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", "PCM_16")
    data = bytearray(path.read_bytes())
    data[:4] = b"RF64"
    data[12:12] = chunk(b"ds64", bytes(8) + b"\xff" * 8 + bytes(12))
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff" * 4
    path.write_bytes(data)
    assert "cut short" in refused(path, "-k", "1", "-o", tmp_path / "b.wav")


def test_tags_keep_their_meaning_from_library_to_library(tmp_path: Path) -> None:
    """FFmpeg, which reads MP3 and writes M4A, calls a track's number otherwise than libsndfile."""
    path = sound(tmp_path / "a.mp3", "MPEG_LAYER_III", tracknumber="7", album="Shore")
    assert run(path, "-k", "1", "-o", tmp_path / "b.flac")[0] == 0
    with soundfile.SoundFile(tmp_path / "b.flac") as found:
        assert (found.tracknumber, found.album) == ("7", "Shore")
    assert run(tmp_path / "b.flac", "-k", "1", "-o", tmp_path / "c.m4a")[0] == 0
    with av.open(str(tmp_path / "c.m4a")) as container:
        assert (container.metadata["track"], container.metadata["album"]) == ("7", "Shore")


@pytest.mark.parametrize(("name", "codec", "full"), [
    ("a.mp4", "aac", 1), ("a.mov", "pcm_s24le", 2**23), ("a.mkv", "libopus", 1), ("a.webm", "libvorbis", 1),
    ("a.avi", "pcm_u8", 128), ("a.ts", "mp2", 2**15), ("a.mka", "flac", 2**15), ("b.mkv", "pcm_f64le", 1),
    ("c.mkv", "pcm_f32le", 1), ("b.mov", "alac", 2**15), ("b.avi", "pcm_alaw", 2**15), ("d.mkv", "ac3", 1),
])  # fmt: skip
def test_containers_of_clips_may_hold_sound_alone(name: str, codec: str, full: int, tmp_path: Path) -> None:
    path, other = tmp_path / name, tmp_path / "b.raw"
    sound(tmp_path / "in.wav", "PCM_16")
    ffmpeg("-i", tmp_path / "in.wav", "-metadata:s:a", "language=deu", "-c:a", codec, path)
    ffmpeg("-i", path, "-f", "f64le", other)
    with path.open("rb") as fp:
        source = registry.open_source(fp, registry.identify(fp.read(4096), path)[0], ReadOptions())
        values = source.strip(0, source.info.length) / full
        assert source.info.axis("X").positions.spacing == Fraction(1, RATE)
        source.close()
    theirs = np.fromfile(other).reshape(-1, 2)
    assert len(values) >= LENGTH
    assert np.abs(values - theirs[: len(values)]).max() < 1e-6
    (tmp_path / "made").mkdir()
    assert run(path, "-k", KERNEL, "--out-dir", tmp_path / "made")[0] == 0
    (made,) = (tmp_path / "made").iterdir()
    assert made.suffix == ".m4a"
    with av.open(str(made)) as container, av.open(str(path)) as first:
        said = first.streams.audio[0].metadata.get("language", "und")
        assert container.streams.audio[0].metadata["language"] == said
    assert said == "deu" or path.suffix in (".avi", ".mov")


def test_mp4_takes_sound_alone_and_other_containers_say_what_does(tmp_path: Path) -> None:
    path, target = sound(tmp_path / "a.wav", "PCM_16"), tmp_path / "b.mp4"
    assert run(path, "-k", KERNEL, "-o", target) == (0, "")
    assert np.corrcoef(by_ffmpeg(target)[2000:5000, 0], filtered(decoded(path))[2000:5000, 0])[0, 1] > 0.98
    for name in "b.mkv", "b.png":
        assert "cannot hold data of the axes x: write wav or" in refused(
            path, "-k", "1", "-o", tmp_path / name
        )


@pytest.mark.parametrize("sizes", ["zero", "large", "RF64", "header"])
def test_a_wav_that_was_streamed_is_read_to_its_end(sizes: str, tmp_path: Path) -> None:
    path = sound(tmp_path / "a.wav", "PCM_16")
    data, expected = bytearray(path.read_bytes()), decoded(path)
    at = data.index(b"data") + 4
    data[at : at + 4] = bytes(4) if sizes in ("zero", "header") else b"\xff" * 4
    data[4:8] = {"zero": bytes(4), "header": struct.pack("<I", at - 4)}.get(sizes, b"\xff" * 4)
    if sizes == "RF64":
        data = b"RF64" + data[4:12] + b"ds64" + struct.pack("<I28x", 28) + data[12:]
    path.write_bytes(data)
    assert run(path, "-k", "1", "-o", tmp_path / "b.wav") == (0, "")
    np.testing.assert_array_equal(decoded(tmp_path / "b.wav"), expected)


def tones(path: Path, layout: str) -> dict[str, int]:
    """Write a sine of its own frequency into each channel by FFmpeg; return the frequencies."""
    places = [channel.name for channel in av.AudioLayout(layout).channels]
    pitches = {name: 60 if name == "LFE" else 300 + 200 * at for at, name in enumerate(places)}
    waves = [0.2 * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE) for pitch in pitches.values()]
    whole = np.rint(np.stack(waves, 1) * 2**15).astype(np.int16).reshape(1, -1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(whole, "s16", layout)
        frame.sample_rate, frame.pts = RATE, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return pitches


def heard(path: Path) -> tuple[str, dict[str, int]]:
    """Return the layout that FFmpeg decodes, and the loudest frequency at each place."""
    with av.open(str(path)) as container:
        packed = av.AudioResampler(format="flt")
        frames = [part for frame in container.decode(audio=0) for part in packed.resample(frame)]
    names = [channel.name for channel in frames[0].layout.channels]
    places = [f"{at}" if name == "NONE" else name for at, name in enumerate(names)]
    wave = np.concatenate([frame.to_ndarray().reshape(-1, len(places)) for frame in frames])[8000:32000]
    loudest = np.abs(np.fft.rfft(wave * np.hanning(len(wave))[:, None], axis=0)).argmax(0) * RATE // len(wave)
    return frames[0].layout.name, dict(zip(places, loudest.tolist(), strict=True))


@pytest.mark.parametrize("layout", ["3.0", "quad", "5.0", "5.1", "6.1", "7.1"])
@pytest.mark.parametrize("suffix", ["wav", "flac", "opus", "ogg", "m4a"])
def test_every_channel_stays_in_its_place(suffix: str, layout: str, tmp_path: Path) -> None:
    expected = tones(tmp_path / "in.wav", layout)
    first, again, back = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}", tmp_path / "back.wav"
    code, said = run(tmp_path / "in.wav", "-k", KERNEL, "-o", first)
    assert code == 0
    if (suffix, layout) == ("m4a", "6.1"):
        assert "left out: the places of the channels (FL FR FC LFE BC SL SR) (M4A holds none)" in said
        assert list(heard(first)[1].values()) == list(expected.values())
        return
    assert "places" not in said
    for source, output in ((first, again), (again, back)):
        assert run(source, "-k", KERNEL, "-o", output)[0] == 0
    for path in (first, again, back):
        name, pitches = heard(path)
        sides = {"SL": "BL", "SR": "BR"} if name in ("5.0(side)", "5.1(side)") else {}  # so FFmpeg reads FLAC
        assert (name.removesuffix("(side)") if sides else name) == layout
        assert {sides.get(place, place): pitch for place, pitch in pitches.items()} == expected


@pytest.mark.parametrize(
    "suffix, layout, held",
    [
        *(
            ("aiff", "5.1", "none"),
            ("opus", "4.0", "others"),
            ("flac", "2.1", "others"),
            ("m4a", "quad(side)", "others"),
        ),
        *((suffix, "5.1(side)", "others") for suffix in ("ogg", "opus", "m4a")),
    ],
)
def test_places_of_channels_that_a_format_has_not_are_said(
    suffix: str, layout: str, held: str, tmp_path: Path
) -> None:
    tones(tmp_path / "in.wav", layout)
    places = " ".join(channel.name for channel in av.AudioLayout(layout).channels)
    said = run(tmp_path / "in.wav", "-k", KERNEL, "-o", tmp_path / f"a.{suffix}")[1]
    assert f"left out: the places of the channels ({places}) ({suffix.upper()} holds {held})" in said


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("layout", ["5.0(side)", "5.1(side)"])
def test_channels_at_the_sides_stay_there(suffix: str, layout: str, tmp_path: Path) -> None:
    expected = tones(tmp_path / "in.wav", layout)
    code, said = run(tmp_path / "in.wav", "-k", KERNEL, "-o", tmp_path / f"a.{suffix}")
    assert (code, "places" in said) == (0, False)
    assert heard(tmp_path / f"a.{suffix}") == (layout, expected)


def test_a_channel_mask_of_a_single_channel_is_kept(tmp_path: Path) -> None:
    with soundfile.SoundFile(tmp_path / "in.wav", "w", RATE, 1, "PCM_24", format="WAVEX") as file:
        file.write(WAVE[:, 0])
    assert run(tmp_path / "in.wav", "-k", KERNEL, "-o", tmp_path / "a.wav")[0] == 0
    assert (tmp_path / "a.wav").read_bytes()[:60] == (tmp_path / "in.wav").read_bytes()[:60]


def test_lossless_sounds_of_eight_channels_are_written_where_alac_has_a_place(tmp_path: Path) -> None:
    """FFmpeg's ALAC has eight channels in front of the listener alone."""
    expected = tones(tmp_path / "in.wav", "7.1(wide)")
    ffmpeg("-i", tmp_path / "in.wav", "-c:a", "alac", tmp_path / "in.m4a")
    assert run(tmp_path / "in.m4a", "-k", KERNEL, "-o", tmp_path / "a.m4a")[0] == 0
    assert heard(tmp_path / "a.m4a") == ("7.1(wide)", expected)


@pytest.mark.parametrize("codec, suffix", [("libopus", "opus"), ("libvorbis", "ogg")])
@pytest.mark.parametrize("seconds", [1, 20])
def test_an_ogg_whose_times_do_not_begin_at_0_is_whole(
    seconds: int, codec: str, suffix: str, tmp_path: Path
) -> None:
    whole, later, output = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}", tmp_path / "c.wav"
    ffmpeg("-f", "lavfi", "-i", f"sine=300:r=48000:d={seconds}", "-c:a", codec, whole)
    ffmpeg("-i", whole, "-c", "copy", "-output_ts_offset", 2, later)
    assert run(later, "-k", "1", "-o", output) == (0, "")
    expected = soundfile.read(whole, dtype="float32")[0]
    read = soundfile.read(output, dtype="float32")[0]
    padding = (seconds, suffix) == (1, "ogg")  # a single page says where it ends or where it begins
    assert len(read) == len(expected) or (padding and len(expected) <= len(read) < len(expected) + 4096)
    assert np.abs(read[: len(expected)] - expected).max() < 1e-3


def test_channels_in_an_order_that_pyav_cannot_hold_are_refused(tmp_path: Path) -> None:
    """PyAV frees FFmpeg's own orders of channels twice."""
    expected = tones(tmp_path / "in.wav", "7.1")
    ffmpeg("-i", tmp_path / "in.wav", "-c:a", "pcm_s16le", tmp_path / "a.mov")
    stored = (tmp_path / "a.mov").read_bytes()
    mask, tag = (1 << 16, 0x63F), (128 << 16 | 8, 0)  # of the atom `chan`, as FFmpeg 5 writes it
    other = stored.replace(struct.pack(">II", *mask), struct.pack(">II", *tag))
    assert other != stored
    (tmp_path / "a.mov").write_bytes(other)
    command = ["filter", str(tmp_path / "a.mov"), "-k", KERNEL, "-o", str(tmp_path / "b.wav")]
    done = subprocess.run([sys.executable, "-m", "convcli", *command], capture_output=True, text=True)
    assert done.returncode == 1
    assert "its channels have an order of their own (FL FR FC LFE SL SR BL BR)" in done.stderr
    sorted_by = done.stderr.split("-af ")[1].split(" OUT")[0]
    ffmpeg("-i", tmp_path / "a.mov", "-af", sorted_by, tmp_path / "c.wav")
    layout, pitches = heard(tmp_path / "c.wav")
    exchanged = {"BL": "SL", "BR": "SR", "SL": "BL", "SR": "BR"}  # as the other atom names them
    assert layout == "7.1"
    assert {exchanged.get(place, place): pitch for place, pitch in pitches.items()} == expected


def _crc(data: bytes, width: int, polynomial: int) -> bytes:
    found = 0
    for byte in data:
        found ^= byte << (width - 8)
        for _ in range(8):
            found = (found << 1) ^ (polynomial if found >> (width - 1) else 0)
            found &= (1 << width) - 1
    return found.to_bytes(width // 8, "big")


def verbatim(samples: list[int], bits: int) -> bytes:
    """Write a FLAC of one frame that is not compressed, by RFC 9639."""
    count, size = len(samples), {8: 1, 12: 2, 16: 4, 20: 5, 24: 6}[bits]
    told = (RATE << 44) | ((bits - 1) << 36) | count
    info = struct.pack(">HH", count, count) + bytes(6) + told.to_bytes(8, "big") + bytes(16)
    head = bytes((0xFF, 0xF8, 0x70, size << 1, 0)) + struct.pack(">H", count - 1)
    head += _crc(head, 8, 0x07)
    coded = 0b00000010
    for one in samples:
        coded = (coded << bits) | (one & ((1 << bits) - 1))
    length = 8 + bits * count
    frame = head + (coded << (-length % 8)).to_bytes(-(-length // 8), "big")
    return b"fLaC" + bytes((0x80, 0, 0, 34)) + info + frame + _crc(frame, 16, 0x8005)


@pytest.mark.parametrize(("bits", "coding", "more"), [(8, "PCM_S8", 0), (12, "PCM_16", 4), (20, "PCM_24", 4)])
@pytest.mark.parametrize("suffix", ["flac", "wav", "aiff"])
def test_a_flac_of_any_bits_is_written_with_as_many_or_the_next(
    bits: int, coding: str, more: int, suffix: str, tmp_path: Path
) -> None:
    full = 1 << (bits - 1)
    samples = np.random.default_rng(3).integers(
        -full, full, 1000
    )  # libsndfile reads odd AIFFs of 8 bits with one more
    (tmp_path / "a.flac").write_bytes(verbatim(samples.tolist(), bits))
    said = run(tmp_path / "a.flac", "-k", KERNEL, "-o", tmp_path / f"b.{suffix}")[1]
    note = f"{bits} bits a sample are written as {bits + more}: {suffix.upper()} is written with no number between"
    assert said == f"note: {note}\n" * bool(more)
    info = soundfile.info(tmp_path / f"b.{suffix}")
    assert info.subtype == ("PCM_U8" if (suffix, bits) == ("wav", 8) else coding)
    found = soundfile.read(tmp_path / f"b.{suffix}")[0] * full
    expected = np.clip(np.rint(correlate1d(samples.astype(float), TAPS, mode="nearest")), -full, full - 1)
    np.testing.assert_array_equal(found, expected)
