"""Names and first bytes become formats; importing the registry imports no codec."""

from __future__ import annotations

import gzip
import importlib
import inspect
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import av
import h5netcdf
import h5py
import nibabel
import numpy as np
import polars as pl
import pytest
import soundfile
from PIL import Image

from convcli.common.errors import ConvError, UsageError
from convcli.data.info import ArraySource, Info
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures import image
from convcli.media.registry import (
    FORMATS,
    HEAD,
    Format,
    by_name,
    by_suffix,
    identify,
    open_sink,
    open_source,
    sniff,
)
from tests.fuzz import seeds


def picture(name: str) -> bytes:
    fp = io.BytesIO()
    Image.new("RGB", (7, 5), (200, 10, 30)).save(fp, name)
    return fp.getvalue()


def array() -> bytes:
    fp = io.BytesIO()
    np.save(fp, np.eye(3))
    return fp.getvalue()


def clip(name: str) -> bytes:
    codecs = {"webm": "libvpx-vp9", "y4m": "wrapped_avframe"}
    containers = {"mkv": "matroska", "ts": "mpegts", "y4m": "yuv4mpegpipe"}
    fp = io.BytesIO()
    with av.open(fp, "w", format=containers.get(name, name)) as container:
        stream = container.add_stream(codecs.get(name, "mpeg4"), rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for packet in stream.encode(av.VideoFrame(32, 32, "yuv420p")):
            container.mux(packet)
        container.mux(stream.encode(None))
    return fp.getvalue()


def columns(write: Callable[[pl.DataFrame, io.BytesIO], None]) -> bytes:
    fp = io.BytesIO()
    write(pl.DataFrame({"a": [1.5, 2.0], "b": ["x", "y"]}), fp)
    return fp.getvalue()


def sound(name: str) -> bytes:
    fp = io.BytesIO()
    if name == "m4a":
        with av.open(fp, "w", format="ipod") as container:
            stream = container.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame) + stream.encode(None))
    else:
        kind = {"format": "OGG", "subtype": "OPUS"} if name == "opus" else {"format": name.upper()}
        soundfile.write(fp, np.zeros(64), 8000, **kind)
    return fp.getvalue()


def volume(kind: type, packed: bool) -> bytes:
    data = kind(np.zeros((2, 3, 4), np.int16), np.eye(4)).to_bytes()
    return gzip.compress(data, mtime=0) if packed else data


def store(kind: type) -> bytes:
    fp = io.BytesIO()
    kind(fp, "w").close()
    return fp.getvalue()


FIRST_BYTES = {
    **{name: sound(name) for name in ("wav", "aiff", "flac", "mp3", "ogg", "opus", "m4a")},
    **{
        name: picture(name)
        for name in ("png", "jpeg", "webp", "bmp", "gif", "tiff", "avif", "qoi", "tga", "ppm")
    },
    "jp2": (jp2 := picture("jpeg2000")),
    "j2k": jp2[jp2.index(b"\xff\x4f\xff\x51") :],
    "jxl": seeds.files("jxl")[0],
    "pgm": b"P5\n2 1\n255\n\xff\0",
    "pfm": b"Pf\n1 1\n-1.0\n" + bytes(4),
    **{name: clip(name) for name in ("mp4", "mov", "mkv", "webm", "avi", "ts", "y4m")},
    "npy": array(),
    **{name: volume(nibabel.Nifti1Image, name == "nii.gz") for name in ("nii", "nii.gz")},
    **{name: seeds.files(name)[0] for name in ("nrrd", "mha")},
    "hdf5": store(h5py.File),
    "netcdf": store(h5netcdf.File),
    "parquet": columns(pl.DataFrame.write_parquet),
    "arrow": columns(pl.DataFrame.write_ipc),
    "csv": b"a,b\n1,2\n",
    "tsv": b"a\tb\n1\t2\n",
}


def test_every_format_has_a_sample_here() -> None:
    found = set(FIRST_BYTES) | {"ome-tiff"}  # names tell which TIFF is OME's
    assert found == {row.name for row in FORMATS if not row.folder}


@pytest.mark.parametrize("name", FIRST_BYTES)
def test_sniffed(name: str) -> None:
    head = FIRST_BYTES[name][:HEAD]
    assert sniff(head).name == name
    assert [row.name for row in FORMATS if row.recognises(head)] == [name]


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
        (b"II+\0\x08\0\0\0", "tiff"),
        (b"MM\0+\0\x08\0\0", "tiff"),
        (b"GIF87a", "gif"),
        (b"ID3\3\0\0\0\0\0\0", "mp3"),
        (b"ID3,ID4\n1,2\n", "csv"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (volume(nibabel.Nifti2Image, True), "nii.gz"),
        (volume(nibabel.Nifti2Image, False), "nii"),
        (b"BMI,weight\n22,70\n", "csv"),
        (b"1.5\n2.5\n", "csv"),
        (b"1 2 3\n", "csv"),
        (b"1,5;2,5\r\n", "csv"),
        (b"\xef\xbb\xbfZeit\tWert\r\n1\t2\r\n", "tsv"),
        ("größe,b\n".encode("cp1252"), "csv"),
    ],
)
def test_sniffed_from_little(head: bytes, name: str) -> None:
    assert sniff(head).name == name


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", ["empty"]),
        (b"\x7fELF\x02\x01", ["unknown bytes", "ELF"]),
        (b"RIFF\0\0\0\0ACON", ["unknown bytes"]),
        (b"plain words", ["text", "plain words"]),
        (b"\0\0\0\x18stypmsdh", ["a part of a stream without its beginning", "cat init.mp4"]),
        ("a,b\n1,2".encode("utf-16"), ["UTF-16"]),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n\x04", ["unknown bytes"]),
    ],
)
def test_content_of_no_known_format(head: bytes, words: list[str]) -> None:
    with pytest.raises(ConvError) as error:
        sniff(head)
    assert error.value.exit_code == 1
    for word in [*words, "png jpeg webp"]:
        assert word in str(error.value)


def test_by_suffix() -> None:
    for row in FORMATS:
        for suffix in row.suffixes:
            assert by_suffix(f"some.where/file{suffix}") is row
            assert by_suffix(Path(f"FILE{suffix.upper()}")) is row


@pytest.mark.parametrize("name", ["a.xyz", "a", "folder.png/a", ".png", "a.png "])
def test_unknown_suffix(name: str) -> None:
    with pytest.raises(UsageError) as error:
        by_suffix(name)
    for word in [repr(name), " png jpeg webp ", " tsv csv", "--format"]:
        assert word in str(error.value)


def test_by_name() -> None:
    for row in FORMATS:
        assert by_name(row.name) is row
        assert by_name(f" {row.name.upper()} ") is row
        for suffix in row.suffixes:
            assert by_name(suffix) is by_name(suffix[1:]) is row
    with pytest.raises(UsageError, match=r"'jpge' is unknown; did you mean jpeg\? known: png jpeg"):
        by_name("jpge")
    with pytest.raises(UsageError, match="'' is unknown; known"):
        by_name("")


# ------------------------------------------------------------------------------------ name and content


def named(name: str, content: str, asked: str | None = None) -> tuple[Format, tuple[str, ...]]:
    return identify(FIRST_BYTES[content][:HEAD], name, by_name(asked) if asked else None)


@pytest.mark.parametrize("name", FIRST_BYTES)
def test_name_and_content_agree(name: str) -> None:
    row = by_name(name)
    for suffix in row.suffixes:
        assert named("a" + suffix, name) == (row, ())


def test_content_decides_between_binary_formats() -> None:
    found, notes = named("photo.png", "jpeg")
    assert found.name == "jpeg"
    assert notes == ("'photo.png' holds JPEG data, not PNG: read as what it is",)
    assert named("table.csv", "npy")[0].name == "npy"
    assert named("photo.jpeg", "jpeg", "png")[0].name == "jpeg"


def test_text_is_a_table_only_by_name() -> None:
    with pytest.raises(ConvError) as error:
        named("photo.png", "csv")
    assert str(error.value) == r"no PNG file: it holds text ('a,b\n1,2\n')"
    assert error.value.exit_code == 1
    with pytest.raises(ConvError, match=r"^no NPY file: it holds text"):
        named("a.npy", "tsv")
    assert named("a.csv", "tsv")[0].name == "csv"  # the delimiter is the reader's concern
    assert identify(b"only words", "a.tsv")[0].name == "tsv"


def test_names_that_say_nothing() -> None:
    for name in ("-", "/dev/fd/63", "photo"):
        assert named(name, "jpeg")[0].name == "jpeg"
        assert named(name, "csv", "tsv")[0].name == "tsv"
    with pytest.raises(ConvError, match=r"^data of no known format"):
        identify(b"\0\1\2\3", "photo")
    with pytest.raises(UsageError, match=r"unknown suffix '\.xyz'"):
        named("a.xyz", "csv")
    assert named("a.xyz", "png") == (by_name("png"), ())  # a signature says enough
    assert named("a.xyz", "png", "png")[0].name == "png"


def test_damaged_first_bytes() -> None:
    with pytest.raises(ConvError, match=r"^no PNG file: it holds unknown bytes"):
        identify(b"\x89PNX\r\n\x1a\n", "a.png")
    with pytest.raises(ConvError, match="it holds nothing"):
        identify(b"", "a.png")


# ---------------------------------------------------------------------------------------------- opening


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
def test_readers_and_writers_exist_and_agree(row: Format) -> None:
    for entry, parameters in [
        (row.reader, ["fp", "options"]),
        (row.writer, ["fp", "format_name", "info", "options"]),
    ]:
        module, name = entry.split(":")
        function = getattr(importlib.import_module(module), name)
        assert list(inspect.signature(function).parameters) == parameters


@pytest.mark.parametrize("name", ["npy", "csv", "tsv"])
def test_opened_through_the_registry(name: str) -> None:
    fp = io.BytesIO()
    writer = open_sink(fp, by_name(name), Info.of("YX", (2, 3), "float64"), WriteOptions())
    writer.write(writer.info.box, np.arange(6.0).reshape(2, 3) / 3)
    writer.close()
    fp.seek(0)
    source = open_source(fp, by_name(name), ReadOptions(matrix=True))
    np.testing.assert_array_equal(source.strip(0, 2), np.arange(6.0).reshape(2, 3) / 3)
    source.close()
    assert fp.closed


def test_what_a_decoder_makes_is_looked_at_once_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A decoder that makes more of a file than its header says."""
    more = ArraySource(np.broadcast_to(np.uint8(0), (20_000, 20_000)), "YX")
    monkeypatch.setattr(image, "source", lambda fp, options: more)
    with pytest.raises(
        ConvError, match=r"a BMP that decodes to \(20000, 20000\) would take 399 MB of memory"
    ):
        open_source(io.BytesIO(b"BM" + bytes(99)), by_name("bmp"), ReadOptions())


def test_the_registry_imports_no_codec() -> None:
    code = """
import sys
import convcli.media.registry, convcli.media.files.target
heavy = {"numpy", "torch", "PIL", "tifffile", "imagecodecs", "polars", "isal", "imageio", "rich"}
print(*heavy & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("\n", "", 0)


def test_a_segment_of_a_stream_says_what_to_do() -> None:
    for name in ("part.m4s", "part.mp4"):
        with pytest.raises(ConvError, match="a part of a stream without its beginning"):
            identify(b"\0\0\0\x18stypmsdh", name)
