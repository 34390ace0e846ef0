"""An option that means nothing for a file is refused, and says for what it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from convcli.common.errors import UsageError
from convcli.media.opening import check_reading, check_writing
from convcli.media.options import Compress, Header, ReadOptions, VideoOptions, WriteOptions
from convcli.media.registry import FORMATS, by_name
from tests.shell import SAMPLES, convcli

CLIPS = {"mp4", "mov", "mkv", "webm", "avi", "ts", "y4m"}
SOUNDS = {"wav", "aiff", "flac", "mp3", "ogg", "opus", "m4a"}
TABLES = {"csv", "tsv"}
READING = [
    (ReadOptions(axes="YXC"), {"npy", "tiff", "ome-tiff", "zarr", "hdf5", "netcdf"}, "--axes"),
    (ReadOptions(matrix=True), TABLES | {"parquet", "arrow"}, "--as matrix"),
    (ReadOptions(columns=("1",)), TABLES | {"parquet", "arrow"}, "--columns"),
    (ReadOptions(header=Header.YES), TABLES, "--header"),
    (ReadOptions(allow_truncated=True), CLIPS | SOUNDS, "--allow-truncated"),
]
WRITING = [
    (WriteOptions(video=VideoOptions(codec="h264")), CLIPS, "--codec"),
    (WriteOptions(video=VideoOptions(crf=0.0)), CLIPS, "--crf"),
    (WriteOptions(video=VideoOptions(preset="slow")), CLIPS, "--preset"),
    (WriteOptions(video=VideoOptions(pixels="gray")), CLIPS, "--pix-fmt"),
    (WriteOptions(video=VideoOptions(sound=False)), CLIPS, "--no-audio"),
    (WriteOptions(quality=80), {"jpeg", "webp", "avif", "jxl", "mp3", "ogg", "opus"}, "--quality"),
    (WriteOptions(quality=Compress.SMALL), {"png"}, "--quality fast or small"),
]


@pytest.mark.parametrize(("options", "formats", "option"), READING, ids=[row[2] for row in READING])
def test_reading(options: ReadOptions, formats: set[str], option: str) -> None:
    for format in FORMATS:
        if format.name in formats:
            check_reading(options, format, "a.x")
        else:
            with pytest.raises(UsageError, match=f"^'a.x': {option}.*the input is {format.name.upper()}$"):
                check_reading(options, format, "a.x")


@pytest.mark.parametrize(("options", "formats", "option"), WRITING, ids=[row[2] for row in WRITING])
def test_writing(options: WriteOptions, formats: set[str], option: str) -> None:
    for format in FORMATS:
        if format.name in formats:
            check_writing(options, format)
        else:
            with pytest.raises(UsageError, match=f"^{option}.*the output is {format.name.upper()}$"):
                check_writing(options, format)
    with pytest.raises(UsageError, match="there is no output"):
        check_writing(options, None)


def test_nothing_is_refused_that_was_not_given() -> None:
    check_reading(ReadOptions(), by_name("png"), "a.png")
    check_writing(WriteOptions(), by_name("png"))
    check_writing(WriteOptions(), None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("filter", "house.png", "-k", "box:3", "--crf", "20"), ("--crf", "PNG")),
        (
            ("filter", "house.png", "-k", "box:3", "--columns", "2"),
            ("'house.png': --columns", "input is PNG"),
        ),
        (("filter", "walk.mp4", "-k", "box:3", "-o", "o.gif", "--no-audio"), ("--no-audio", "GIF")),
        (("motion", "walk.mp4", "--no-output", "--codec", "h264"), ("--codec", "no output")),
        (("motion", "walk.mp4", "--axes", "TYX"), ("--axes", "MP4")),
        (("net", "run", "net.yaml", "house.png", "-o", "o.npy", "--axes", "YXC"), ("--axes", "PNG")),
        (("explain", "house.png", "-k", "box:3", "--at", "3,3", "--as", "matrix"), ("--as matrix", "PNG")),
    ],
)
def test_the_commands_say_so(arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path) -> None:
    for name, sample in (("house.png",) * 2, ("walk.mp4",) * 2, ("net.yaml", "sobel-pool.yaml")):
        (tmp_path / name).symlink_to(SAMPLES / sample)
    done = convcli(*arguments, cwd=tmp_path)
    said = done.stderr.decode()
    assert (done.returncode, said.count("\n")) == (2, 1), said
    assert all(word in said for word in words)
    assert len(list(tmp_path.iterdir())) == 3
