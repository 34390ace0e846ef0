"""TIFF and BigTIFF through tifffile, in strips and tiles: neither reader nor writer holds a whole picture.

Files come as binary file objects, and no other file is opened, whatever a TIFF's metadata names.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from convcli.data import Colour, Info, Metadata, Sink, Source
from convcli.errors import ConvError, UsageError
from convcli.media.exif import turn
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.picture import (
    CHANNELS,
    WITH_ALPHA,
    Recent,
    check_pixels,
    colour_of,
    decoding,
    finished,
    profile_for,
)

if TYPE_CHECKING:
    import tifffile

STRIP = 1 << 18  # bytes of a strip that is written
_LIMIT = 2**32 - 2**20  # bytes of pixels from which a file becomes a BigTIFF; the rest is for directories
_PER_INCH = {2: 1.0, 3: 2.54}  # ResolutionUnit: inch, centimetre
_COLOURS = {0: Colour.GREY, 1: Colour.GREY, 2: Colour.RGB, 3: Colour.RGB, 5: Colour.CMYK, 6: Colour.RGB}
_COLOURS[4] = Colour.GREY  # a mask
_MIN_IS_WHITE, _PALETTE, _YCBCR = 0, 3, 6
_JPEG = (6, 7, 34892, 33007)  # compressions that decode YCbCr to RGB
# Descriptions of files by makers of microscopes and scanners, some of which name other files.  Read as plain pages.
_FOREIGN = ("ome", "mmstack", "ndtiff", "lsm", "fluoview", "stk", "sis", "svs", "scn", "qpi", "ndpi", "bif", "avs")


def source(fp: IO[bytes], options: ReadOptions) -> Source:
    """Open a TIFF: a still ``YX[C]``, or a stack ``ZYX[C]`` of all pages like the first.

    Only the strips and tiles that are asked for are decoded.  An orientation other than upright needs the whole
    picture.  ``options.axes`` names the axes anew, e.g. ``TYX``.

    Raises
    ------
    ConvError
        For other or broken content, and colours that have no meaning here.
    """
    import logging

    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    head = fp.read(8)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        raise ConvError(f"not a TIFF file: it begins with {head!r}" if head else "not a TIFF file: it is empty")
    fp.seek(0)
    with decoding("TIFF"):
        known = {name for name in _FOREIGN if hasattr(tifffile.TiffFile, f"is_{name}")}
        tif = tifffile.TiffFile(fp, **{f"is_{name}": False for name in known})
        if not len(tif.pages) or not tif.series:
            raise ConvError("broken or truncated TIFF: it holds no picture")
        page = tif.series[0].keyframe
        if page.photometric == _YCBCR and page.compression not in _JPEG:
            from convcli.media.image import pillow_source

            fp.seek(0)
            return pillow_source(fp, options, ("TIFF",))  # tifffile decodes YCbCr only as JPEG
        return TiffSource(fp, tif, options)


class TiffSource:
    """A still or a stack of pages of one shape."""

    def __init__(self, fp: IO[bytes], tif: tifffile.TiffFile, options: ReadOptions) -> None:
        series = tif.series[0]
        page = series.keyframe
        self._fp, self._series, self._page = fp, series, page
        self._order = tif.byteorder
        self._colour, self._kept, notes = _channels_of(page)
        # (separate samples, depth, rows, columns, samples together), as the decoder places its segments
        self._split, depth, self._height, self._width, self._samples = page.shaped
        if depth != 1:
            raise ConvError("a TIFF whose single pages are volumes cannot be read: store a page for each slice")
        self._offset = series.dataoffset
        check_pixels(self._width, self._height, ReadOptions(max_pixels=None), "TIFF")
        self._orientation = int(page.tags.valueof(274, 1))
        if self._orientation != 1 and not notes and self._orientation > 4:
            check_pixels(self._width, self._height, options, "TIFF that is stored turned")

        lead, leads = _leads(series, options)
        numbers = np.arange(int(np.prod(leads))).reshape(leads)
        letters = sorted(lead, key="TZC".index)
        self._planes = numbers.transpose([lead.index(letter) for letter in letters])  # [T][Z][C] -> number
        self._joined = "C" in lead
        plane, metadata = self._seen()
        shape = self._planes.shape + plane.shape
        axes = "".join(letters) + "YXC"[: plane.ndim]
        if self._joined:
            axes, shape = axes.replace("C", "") + "C", (*self._planes.shape[:-1], *plane.shape, shape[len(lead) - 1])
        if len(tif.series) > 1:
            notes.append(f"{len(tif.series) - 1} further pictures of other sizes or kinds in the TIFF are left out")
        self.info = Info(axes, shape, plane.dtype.name, self._colour, metadata, notes=tuple(notes))
