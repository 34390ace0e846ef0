"""Any box of a file is what numpy cuts out of all of it; where boxes are read as such, little else is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from convcli.data.box import Box, slices
from convcli.data.info import Source
from convcli.media import arrays, registry
from convcli.media.options import ReadOptions

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
        index = dict(zip(source.info.box_letters, slices(box), strict=True))
        cut = expected[tuple(index.get(letter, slice(None)) for letter in source.info.letters)]
        np.testing.assert_array_equal(source.read(box), cut)


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
    assert source.any_box
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
    assert not source.any_box
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
