"""Over a thousand spoiled files and texts of the many that `make fuzz` tries: accepted, or refused in one line."""

from __future__ import annotations

import contextlib
import io
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from convcli.common.errors import ConvError
from convcli.media import registry
from convcli.media.clips import reader as video
from convcli.media.options import ReadOptions
from convcli.media.pictures import tiff
from convcli.media.pictures.read_only import RARER
from tests.fuzz import seeds
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.strategies import cases
from tests.fuzz.worker import attempt, hypothesise, mutated

MUTATED, DRAWN = 20, 10  # cases of each reader; of those with a structure twice as many
# Decoded in a child, or written as columns, which takes 0.1 s: a third as many
APART = {"h5", "nc", "parquet", "arrow", "avif frames"} | {row.name for row in RARER if row.apart}

READER = pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)


@READER
def test_spoiled_files_and_texts(reader: Reader, tmp_path: Path) -> None:
    count = MUTATED // 3 if reader.name in APART else MUTATED
    for number in range(2 * count if reader.rearrange else count):
        case = mutated(reader, number, ("mutation", "structure")[number % 2])
        try:
            attempt(reader, case, number, tmp_path)
        except Exception as error:
            error.add_note(f"case {number}: {case[:200]!r}")
            raise
    assert list(tmp_path.iterdir()) == []


@READER
def test_what_hypothesis_makes_of_them(reader: Reader, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("drawn")

    @settings(max_examples=DRAWN, suppress_health_check=list(HealthCheck))
    @given(case=cases(reader))
    def examples(case: bytes | str) -> None:
        attempt(reader, case, 0, folder)

    examples()


@pytest.mark.parametrize("name", ["python", "command line"])
def test_draws_that_hypothesis_breaks_off_are_no_cases(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = next(reader for reader in READERS if reader.name == name)
    hypothesise(reader, 0, 60, tmp_path)
    numbers = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert numbers == [str(number) for number in range(60)]


def test_every_format_that_is_read_has_files_to_spoil() -> None:
    tried = set()
    for reader in READERS:
        with contextlib.suppress(KeyError, ConvError):
            for data in seeds.files(reader.name):
                name = f"a.{reader.name.split()[0]}"
                tried.add(registry.identify(data[: registry.HEAD], name)[0].name)
    # OME and NetCDF are told from TIFF and HDF5 by a file's name, and stores are folders.
    apart = {
        registry.readable(f"a.{reader.name}").name
        for reader in READERS
        if reader.name in ("ome.tif", "nc", "zarr")
    }
    assert {row.name for row in registry.READ} - tried - apart == set()


def test_there_are_two_thousand() -> None:
    structured = sum(reader.rearrange is not None for reader in READERS)
    left_out = 2 * (MUTATED - MUTATED // 3) * len(APART)
    assert (MUTATED + DRAWN) * len(READERS) + MUTATED * structured - left_out >= 2000


# What it has found, and what was mended


def test_a_clip_of_one_frame_is_read_again_and_again() -> None:
    data = b"YUV4MPEG2 W4 H2 F25:1 Ip A1:1 Cmono\nFRAME\n" + bytes(range(0, 240, 30))
    source = video.source(io.BytesIO(data), ReadOptions())
    assert source.info.length == 1
    first = source.strip(0, 1)
    assert np.array_equal(source.strip(0, 1), first)
    source.close()


def test_tags_of_a_clip_need_not_be_text() -> None:
    data = seeds.clip("mp4").replace(b"isomiso2avc1mp41", b"\xe9\xff\xfe\xe8iso2avc1mp41")
    assert data != seeds.clip("mp4")
    video.source(io.BytesIO(data), ReadOptions()).close()


def test_a_clip_of_unknown_coding_is_refused(tmp_path: Path) -> None:
    data = seeds.clip("avi").replace(b"MJPG", b"Q?Q?").replace(b"mjpg", b"Q?Q?")
    (tmp_path / "a.avi").write_bytes(data)
    with (tmp_path / "a.avi").open("rb") as file, pytest.raises(ConvError):
        video.source(file, ReadOptions())


def test_a_tiff_that_promises_more_tiles_than_it_lists_is_refused_at_once() -> None:
    """A width of 500 million and two tiles: the reader went looking for 33 million."""
    data = bytearray(seeds.tiff(seeds.RGB, tile=(16, 16)))
    place = data.index(b"\0\1\4\0\1\0\0\0\x13\0\0\0") + 8  # ImageWidth, one LONG, 19
    data[place : place + 4] = (0x20000013).to_bytes(4, "little")
    start = time.monotonic()
    with pytest.raises(ConvError, match="strips or tiles"):
        tiff.source(io.BytesIO(bytes(data)), ReadOptions())
    assert time.monotonic() - start < 2
