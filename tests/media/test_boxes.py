"""Any box of a file is what numpy cuts out of all of it; where boxes are read as such, little else is."""

from __future__ import annotations

import io
from contextlib import nullcontext
from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from convcli.common.errors import ConvError
from convcli.data.axes import at_rate
from convcli.data.box import Box, slices
from convcli.data.info import BOXES, KEPT, Colour, Info, Source
from convcli.media import arrays, opening, registry
from convcli.media.options import ReadOptions, WriteOptions

RANDOM = np.random.default_rng(11)
STACK = RANDOM.integers(0, 60_000, (5, 70, 83)).astype(np.uint16)
COLOURS = RANDOM.integers(0, 256, (70, 83, 3)).astype(np.uint8)


def boxes(source: Source) -> list[Box]:
    """Draw boxes: everything, single samples, and any others."""
    sizes = [source.info.size(letter) for letter in source.info.box_letters]
    found: list[Box] = [tuple((0, n) for n in sizes), tuple((n - 1, n) for n in sizes)]
    for _ in range(20):
        ends = [sorted(RANDOM.choice(n + 1, 2, replace=False).tolist()) for n in sizes]
        found.append(tuple((start, stop) for start, stop in ends))
    return found


def check(source: Source, expected: np.ndarray, places: list[Box] | None = None) -> None:
    for box in places or boxes(source):
        np.testing.assert_array_equal(source.read(box), expected[slices(source.info.spans(box))])


def tiff(array: np.ndarray, **how: Any) -> Source:
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **how)
    return registry.open_source(io.BytesIO(file.getvalue()), registry.by_name("tiff"), ReadOptions())


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(
    ("array", "axes"), [(STACK[0, 0], "X"), (STACK, "ZYX"), (COLOURS, "YXC"), (STACK, "CYX"), (STACK, "YXZ")]
)
def test_boxes_of_arrays(array: np.ndarray, axes: str, order: Any) -> None:
    file = io.BytesIO()
    np.save(file, np.asarray(array, order=order))
    source = arrays.source(file, ReadOptions(axes=axes))
    assert source.grain == BOXES
    check(source, array)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"tile": (32, 48)},
        {"tile": (16, 16), "compression": "zlib"},
        {"rowsperstrip": 9, "compression": "zlib"},
        {"rowsperstrip": 7},
    ],
    ids=str,
)
def test_boxes_of_tiffs(how: dict[str, Any]) -> None:
    check(tiff(STACK, photometric="minisblack", **how), STACK)
    check(tiff(COLOURS, photometric="rgb", **how), COLOURS)
    planes = np.ascontiguousarray(np.moveaxis(COLOURS, 2, 0))
    check(tiff(planes, photometric="rgb", planarconfig="separate", **how), COLOURS)


def test_boxes_of_a_tiff_that_is_stored_turned() -> None:
    source = tiff(COLOURS, photometric="rgb", extratags=[(274, 3, 1, 6, True)])
    check(source, np.rot90(COLOURS, -1))


def test_boxes_are_cut_out_of_strips() -> None:
    file = io.BytesIO()
    Image.fromarray(COLOURS).save(file, "png")
    source = registry.open_source(io.BytesIO(file.getvalue()), registry.by_name("png"), ReadOptions())
    assert source.grain == KEPT
    check(source, COLOURS)
    source.close()


class Counting(io.BytesIO):
    """Counts the bytes that are read."""

    count = 0

    def readinto(self, buffer: Any) -> int:
        self.count += memoryview(buffer).nbytes
        return super().readinto(buffer)


def test_little_is_read_beside_a_small_box() -> None:
    picture = RANDOM.integers(0, 256, (640, 640)).astype(np.uint8)
    saved, tiled = Counting(), io.BytesIO()
    np.save(saved, picture)
    array = arrays.source(saved, ReadOptions())
    saved.count = 0
    check(array, picture, [((10, 40), (600, 620))])
    assert saved.count == 30 * 20
    tifffile.imwrite(tiled, picture, tile=(64, 64), metadata=None)
    file = Counting(tiled.getvalue())
    source = registry.open_source(file, registry.by_name("tiff"), ReadOptions())
    file.count = 0
    check(source, picture, [((70, 120), (65, 130))])
    assert file.count == 2 * 64 * 64


def test_only_the_columns_of_a_box_are_read_of_uncompressed_strips() -> None:
    picture = RANDOM.integers(0, 256, (640, 640, 3)).astype(np.uint8)
    saved = io.BytesIO()
    tifffile.imwrite(saved, picture, rowsperstrip=16, photometric="rgb", metadata=None)
    file = Counting(saved.getvalue())
    source = registry.open_source(file, registry.by_name("tiff"), ReadOptions())
    file.count = 0
    check(source, picture, [((10, 40), (600, 620))])
    assert file.count == 30 * 20 * 3


def cut(sizes: list[int]) -> list[Box]:
    """Cut everything at two places of each axis, in random order."""
    ends = [sorted({0, n, *RANDOM.integers(0, n, 2).tolist()}) for n in sizes]
    found = list(product(*(list(pairwise(places)) for places in ends)))
    return [found[index] for index in RANDOM.permutation(len(found))]


class Pipe(io.BytesIO):
    """What cannot seek."""

    def seekable(self) -> bool:
        return False

    def seek(self, *place: int) -> int:
        raise io.UnsupportedOperation

    tell = seek


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("X", (70,)),
        ("ZYX", (5, 30, 23)),
        ("YXC", (30, 23, 3)),
        ("MYX", (2, 30, 23)),
        ("NTYXC", (2, 3, 9, 8, 3)),
    ],
)
@pytest.mark.parametrize(("name", "file"), [("npy", io.BytesIO), ("npy", Pipe), ("tiff", io.BytesIO)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float64"])
def test_boxes_are_written_in_any_order(
    axes: str, shape: tuple[int, ...], name: str, file: type[io.BytesIO], dtype: str
) -> None:
    if name == "tiff" and "Y" not in axes:
        pytest.skip("TIFF holds pictures")
    array = (RANDOM.random(shape) * 250).astype(dtype)
    info, fp = Info.of(axes, shape, dtype), file()
    sink = registry.open_sink(fp, registry.by_name(name), info, WriteOptions())
    for box in cut([info.size(letter) for letter in info.box_letters]):
        sink.write(box, array[slices(info.spans(box))])
    sink.close()
    written = io.BytesIO(fp.getvalue())
    found = np.load(written) if name == "npy" else tifffile.imread(written).reshape(shape)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == dtype


def test_a_pipe_gets_what_follows_and_the_rest_at_the_end() -> None:
    array = RANDOM.random(70)
    fp = Pipe()
    sink = registry.open_sink(fp, registry.by_name("npy"), Info.of("X", (70,), "float64"), WriteOptions())
    for start, stop in ((0, 20), (40, 70), (20, 40)):
        sink.write(((start, stop),), array[start:stop])
        assert len(fp.getvalue()) == 128 + 20 * 8
    sink.close()
    np.testing.assert_array_equal(np.load(io.BytesIO(fp.getvalue())), array)


@pytest.mark.parametrize(
    "format", [*registry.FORMATS, registry.numbered(registry.by_name("tiff"))], ids=lambda row: row.name
)
def test_what_a_format_says_of_its_grain_is_true(format: registry.Format, tmp_path: Path) -> None:
    signals = "Y" not in format.axes
    axes = "TYX" if format.film else "X" if signals else "YX"
    dtype = "int16" if signals else "uint8" if "uint8" in format.dtypes else format.dtypes[0]
    info = Info.of(axes, (4, 32, 32)[: len(axes)], dtype, Colour.NONE if format.numbers else Colour.GREY)
    info = info.placed(X=at_rate(Fraction(8000))) if signals else info
    name = f"%d{format.suffixes[0]}" if format.numbered else f"a{format.suffixes[0]}"
    last = tuple((n - 2, n) for n in info.shape)
    corner = np.zeros([2] * len(last), dtype)
    with (
        pytest.raises(ConvError, match="samples are missing"),
        opening.open_sink(str(tmp_path / name), format, info, WriteOptions()) as sink,
    ):
        assert sink.grain == format.grain
        with pytest.raises(ValueError, match="do not fill the box"):
            sink.write(info.box, corner)
        with (
            nullcontext()
            if format.grain.any_order
            else pytest.raises(ValueError, match="is not the next strip")
        ):
            sink.write(last, corner)
        sink.close()
    assert not list(tmp_path.iterdir())
