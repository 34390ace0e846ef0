"""TIFF and BigTIFF through tifffile, in strips and tiles: neither reader nor writer holds a whole picture.

Files come as binary file objects, and no other file is opened, whatever a TIFF's metadata names.  What samples
mean is in ``tiff_samples``.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from convcli.common import ConvError, UsageError
from convcli.data import Box, Boxes, Colour, Grain, Info, Sink, Source, Span, slices
from convcli.media import region
from convcli.media.carriers import is_data, left_out
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures import geo, microscopy
from convcli.media.pictures.boxes import check_stream
from convcli.media.pictures.microscopy import Stack
from convcli.media.pictures.tiff_samples import MOST, look_of, metadata_of
from convcli.media.region import RegionSink
from convcli.media.shared import (
    CHANNELS,
    Recent,
    check_frames,
    check_pixels,
    colour_of,
    decoding,
    dpi_of,
    profile_for,
    turn,
    with_dpi,
)

if TYPE_CHECKING:
    import tifffile

MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
STRIP = 1 << 18  # bytes of the strips that are written
BIG = 2**32 - 2**24  # bytes of pixels from which a file becomes a BigTIFF; the rest is for directories
_BLANK = 8_000_000  # bytes, packed, that a TIFF of any size may have
BOMB = 1100  # bytes of pixels from each byte of a file: deflate makes 1032 at most
_YCBCR = 6
_MASKS, _OTHERS = "reduced copies or masks", "pictures of other size or kind"  # that are left out
_DESCRIPTION, _IMAGEJ, _NO_UNIT = 270, 50839, 1  # tags, and a unit of resolution
_RATIONAL, _SEPARATE = 5, 2
_DIRECTORIES = (34665, 34853, 40965)  # tags of EXIF, of GPS, and what EXIF may have
# sRGB's white and primaries, YCbCr's own range
_USUAL = {318: (0.3127, 0.329), 319: (0.64, 0.33, 0.3, 0.6, 0.15, 0.06), 532: (0, 255, 128, 255, 128, 255)}
_SHAPED = {"shape", "axes", "truncated"}  # what tifffile itself writes into descriptions
_MASK = 4  # bits of NewSubfileType, and one for a reduced copy of another picture
_COPY = 1 | _MASK
_JPEG = (6, 7, 34892, 33007)  # compressions that decode YCbCr to RGB
# Compressions whose streams tell sizes of their own: JPEG, JPEG 2000, LERC, WebP, PNG, JPEG XR, JPEG XL.
_STREAMS = {*_JPEG, 33003, 33004, 33005, 34712, 34887, 34927, 50001, 34933, 34934, 22610, 50002, 52546}
# Kinds of TIFF by makers of microscopes and scanners, some of which name other files: read as plain pages.
_FOREIGN = (
    *("ome", "mmstack", "ndtiff", "lsm", "fluoview", "stk", "sis", "svs", "scn", "qpi", "ndpi", "bif", "avs"),
    *("eer", "philips", "scanimage", "nih", "mdgel"),
)


def source(fp: IO[bytes], options: ReadOptions) -> Source:
    """Open a TIFF: a still ``YX[C]``, or the stack ``ZYX[C]`` of all pages that are like the first.

    Only the strips and tiles that are asked for are decoded; an orientation other than upright needs whole
    pages.  ``options.axes`` names the axes anew, e.g. ``TYX``.

    Raises
    ------
    ConvError
        For other or broken content, and colours that have no meaning here.
    UsageError
        For ``options.axes`` that do not fit.
    """
    import logging

    import tifffile

    logging.getLogger("tifffile").addHandler(logging.NullHandler())
    head = fp.read(8)
    if head[:4] not in MAGICS:
        raise ConvError(
            f"not a TIFF file: it begins with {head!r}" if head else "not a TIFF file: it is empty"
        )
    fp.seek(0)
    with decoding("TIFF"):
        plain: dict[str, Any] = {f"is_{kind}": False for kind in _FOREIGN if kind in tifffile.TIFF.FILE_FLAGS}
        tif = tifffile.TiffFile(fp, name="TIFF", **plain)
        check_frames(len(tif.pages), options, "TIFF")
        try:
            _ = tif.series
        except TypeError:  # a description whose sizes are no numbers: the pages alone are read
            fp.seek(0)
            tif = tifffile.TiffFile(fp, name="TIFF", is_imagej=False, is_shaped=False, **plain)
        if not len(tif.pages) or not tif.series:
            raise ConvError("broken or truncated TIFF: it holds no picture")
        series = _main(tif)
        page = series.keyframe
        if page.photometric == _YCBCR and page.compression not in _JPEG:
            from convcli.media.pictures.image import pillow_source

            notes = _notes(tif, series, [page], Counter())
            if len(tif.pages) > 1:
                few = f"only the first of the {len(tif.pages)} pages of this TIFF is read"
                notes = (f"{few}: it holds YCbCr, save it as RGB to read all", *notes)
            fp.seek(0)
            still = pillow_source(fp, options, ("TIFF",))  # tifffile knows YCbCr only inside JPEG
            still.info = replace(still.info, notes=notes)
            return still
        return TiffSource(fp, tif, series, options)


class TiffSource(Boxes):
    """A still, or a stack of pages of one shape; planes are counted from 0."""

    def __init__(
        self, fp: IO[bytes], tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, options: ReadOptions
    ) -> None:
        page: Any = series.keyframe
        self._fp, self._page = fp, page
        # samples in separate planes, depth, rows, columns, samples side by side
        self._split, depth, self._height, self._width, self._samples = page.shaped
        if 0 in page.shaped:
            raise ConvError("broken or truncated TIFF: its picture has no pixels")
        if depth != 1:
            raise ConvError(
                "a TIFF of which one page is a volume cannot be read: store a page for each slice"
            )
        stack = microscopy.stack_of(tif, series)
        count = math.prod(series.shape) // max(1, math.prod(page.shape))
        every: list[Any] = list(series.pages)
        moved = stack.pages not in (None, tuple(range(len(every))))
        if moved and stack.pages is not None:
            every = [tif.pages[index] for index in stack.pages]
            count = len(every)
        apart = len(every) == count  # or one directory has them all
        pages = [each.aspage() for each in every] if apart else [page]
        kept = [index for index, own in enumerate(pages) if not own.subfiletype & _COPY] or range(len(pages))
        looks = [(look_of(own, stack.bits)[0], int(own.tags.valueof(274, 1))) for own in pages]
        forms = [(look.white, self._height != self._width and turned > 4) for look, turned in looks]
        alike = [index for index in kept if forms[index] == forms[kept[0]]]
        pages, self._looks = [pages[index] for index in alike], [looks[index] for index in alike]
        masks = len(every) - len(kept) if apart else 0
        beside = Counter({_MASKS: masks, _OTHERS: len(kept) - len(alike)})
        self._pages = [every[index] for index in alike] if apart else every
        self._together = None if moved or beside.total() else series.dataoffset
        count -= beside.total()
        (self._look, self._orientation), metadata, dpi = self._looks[0], *metadata_of(pages[0])
        self._stored = np.dtype(page.dtype).newbyteorder(tif.byteorder)
        self._tall, self._wide = page.chunks[:2]  # of strips or tiles, and how many there are
        self._down, self._across = math.ceil(self._height / self._tall), math.ceil(self._width / self._wide)
        self._check_size(tif.filehandle.size, count, options)

        self._segments = Recent()
        self._wholes = Recent()
        self._pool: ThreadPoolExecutor | None = None
        # Empty pictures tell the type, the channels and the sizes.
        pixel = self._look.apply(np.zeros((1, 1, self._split * self._samples), page.dtype))
        upright, dpi = turn(np.empty((self._height, self._width, 0)), dpi, self._orientation)
        axes, lead, self._planes = "YXC"[: pixel.ndim], stack.letters, stack.sizes
        turned = self._orientation != 1 and stack.text is not None
        if math.prod(stack.sizes) != count or ("C" in lead and pixel.ndim > 2) or turned:
            lead, self._planes = "Z" * (count > 1), (count,) * (count > 1)
            stack = stack.unused()
        letters = _named(lead + axes, options.axes)
        form: tuple[Any, bool, str] = (tif.byteorder, tif.is_bigtiff, _packing(page))
        info = Info.of(
            letters=letters,
            shape=(*self._planes, *upright.shape[:2], *pixel.shape[2:]),
            dtype=pixel.dtype.name,
            colour=Colour.NONE if "C" in letters.partition("Y")[0] else self._look.colour,
            metadata=replace(
                metadata,
                header=("tiff", stack.text) if stack.text else None,
                bands=self._look.bands,
                stored=None if form == ("<", False, "") else form,
            ),
        )
        info = replace(with_dpi(info, dpi), white=self._look.white, volume="Z" in stack.letters)
        info, known = geo.placed(info, pages[0]) if self._orientation == 1 else (info, ())
        told: tuple[int | str, ...] = known
        if stack.text is not None:
            info, told = info.placed(**stack.places), (*known, "aspect")
        numbers = self._look.table is None and self._look.colour is not Colour.RGBA
        self._missing = geo.Nodata.of(pages[0], info.dtype) if numbers else None
        if self._missing is not None:
            told = (*told, geo.NODATA)
            nodata = replace(info.metadata, nodata=self._missing.text)
            info = replace(info, dtype=self._missing.dtype, metadata=nodata, white=None)
        flat = "" if lead == stack.letters else series.axes.partition("Y")[0]
        self.info = replace(info, notes=_notes(tif, series, pages, beside, told, stack, flat))
        self._factors = None
        if numbers:
            self.info, self._factors = geo.packing(self.info)
        if self._orientation != 1:
            self.grain = Grain(any_order=True, piece=upright.shape[:2])  # decoded and turned as a whole
        elif self._offset(0) is None:
            self.grain = Grain(any_order=True, piece=(self._tall, self._wide))

    def _check_size(self, size: int, count: int, options: ReadOptions) -> None:
        """Refuse sizes that would need too much memory, or more bytes than the file has."""
        page = self._page
        streamed = ReadOptions(max_pixels=None)
        check_pixels(self._width, self._height, streamed if self._orientation == 1 else options, "TIFF")
        if page.is_final:
            end = page.dataoffsets[0] + page.nbytes
            if self._together is not None:
                end = self._together + count * page.nbytes
        else:
            check_pixels(self._wide, self._tall, options, "TIFF's tile or strip")
            listed, needed = len(page.dataoffsets), self._split * self._down * self._across
            if listed < needed:
                raise ConvError(
                    f"broken TIFF: it lists {listed} of the {needed} strips or tiles that it needs"
                )
            end = max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True)), default=0)
            packed = count * page.nbytes * page.bitspersample // (8 * np.dtype(page.dtype).itemsize)
            if packed > BOMB * size:  # a few strips, said to be many; blank pages of a fax are honest
                stored = size if packed > _BLANK else None
                check_pixels(self._width, self._height, options, "TIFF that grows so much", count, stored)
        if end > size:
            raise ConvError(f"truncated TIFF: its pixels end at byte {end}, the file at byte {size}")

    def read(self, box: Box) -> np.ndarray:
        """Return rows and columns of a still, or of pages of a stack; strips and tiles beside them are not decoded."""
        rows, columns = box[-2:]
        grid = np.arange(math.prod(self._planes)).reshape(self._planes)
        grid = grid[slices(self.info.spans(box)[: grid.ndim])]
        planes = grid.ravel().tolist()
        with decoding("TIFF"):
            if self._orientation == 1 and (not grid.ndim or (rows, columns) != self._sizes):
                found = [self._part(plane, rows, columns) for plane in planes]
            else:  # pages that a window meets again are kept
                found = [
                    picture[slice(*rows), slice(*columns)]
                    for picture in self._wholes(planes, self._decode_wholes)
                ]
            return np.stack(found).reshape(*grid.shape, *found[0].shape)

    @property
    def _sizes(self) -> tuple[Span, Span]:
        """All rows and columns of a page as it is shown."""
        return (0, self.info.size("Y")), (0, self.info.size("X"))

    def _decode_wholes(self, planes: list[int]) -> list[np.ndarray]:
        return [self._part(plane, *self._sizes) for plane in planes]

    def _part(self, plane: int, rows: Span, columns: Span) -> np.ndarray:
        """Return a part of a plane as it is shown: palette and orientation are those of its own page."""
        look, orientation = self._looks[min(plane, len(self._looks) - 1)]
        if orientation == 1:
            samples = look.apply(self._rows(plane, rows, columns))
            samples = samples if self._missing is None else self._missing.read(samples)
            if self._factors is None:
                return samples
            scale, shift = self._factors if samples.ndim > 2 else self._factors[:, 0]
            return samples * scale + shift
        stored = self._rows(plane, (0, self._height), (0, self._width))
        return turn(look.apply(stored), None, orientation)[0][slice(*rows), slice(*columns)]

    def _rows(self, plane: int, rows: Span, columns: Span) -> np.ndarray:
        """Return a part of the samples of a plane as stored, upright or not, shape ``(rows, X, S)``."""
        offset, shape = self._offset(plane), (self._split, self._height, self._width, self._samples)
        spans = ((0, self._split), rows, columns, (0, self._samples))
        if offset is None:
            samples = np.empty([stop - start for start, stop in spans], self._stored)
            self._paste(plane, rows, columns, samples)
        else:
            samples = region.read(self._fp, offset, shape, self._stored, spans)
        samples = samples.astype(self._page.dtype, copy=False)
        return samples[0] if self._split == 1 else np.moveaxis(samples[..., 0], 0, -1)

    def _offset(self, plane: int) -> int | None:
        """Return where a plane begins in the file if its rows follow one another, uncompressed."""
        if self._together is not None:
            return int(self._together + plane * self._page.nbytes)
        page = self._pages[plane]
        return int(page.dataoffsets[0]) if page.is_final else None

    def _paste(self, plane: int, rows: Span, columns: Span, samples: np.ndarray) -> None:
        """Fill a part from the strips or tiles that it touches."""
        (start, stop), (left, right) = rows, columns
        places = [
            (part, down, across)
            for part in range(self._split)
            for down in range(start // self._tall, math.ceil(stop / self._tall))
            for across in range(left // self._wide, math.ceil(right / self._wide))
        ]
        grid = (len(self._pages), self._split, self._down, self._across)
        keys = [int(np.ravel_multi_index((plane, *place), grid)) for place in places]
        for (part, down, across), segment in zip(places, self._segments(keys, self._decode), strict=True):
            y, x = down * self._tall, across * self._wide
            top, bottom = max(y, start), min(y + segment.shape[0], stop)
            first, last = max(x, left), min(x + segment.shape[1], right)
            samples[part, top - start : bottom - start, first - left : last - left] = segment[
                top - y : bottom - y, first - x : last - x
            ]

    def _decode(self, keys: list[int]) -> list[np.ndarray]:
        """Return strips or tiles, shape ``(rows, X, S)``; read one after the other, decoded on threads."""
        jobs = []
        for key in keys:
            plane, index = divmod(key, self._split * self._down * self._across)
            page = self._pages[plane]
            data = np.empty(page.databytecounts[index], np.uint8)
            self._fp.seek(page.dataoffsets[index])
            region.fill(self._fp, data)
            jobs.append((data.tobytes() or None, index, page.jpegtables))

        def decode(job: tuple[bytes | None, int, bytes | None]) -> np.ndarray:
            data, index, tables = job
            page = self._page
            if data and page.compression in _STREAMS:
                what = f"a strip or tile of {page.compression.name} in the TIFF"
                check_stream(data, self._wide, self._tall, page.samplesperpixel, what)
            segment, _, shape = page.decode(data, index, jpegtables=tables, jpegheader=page.jpegheader)
            pixels: np.ndarray = np.full(shape, page.nodata, page.dtype) if segment is None else segment
            return pixels[0]

        if len(jobs) < 2 or self._page.compression == 1:
            return list(map(decode, jobs))
        self._pool = self._pool or ThreadPoolExecutor(os.cpu_count())
        return list(self._pool.map(decode, jobs))

    def close(self) -> None:
        """Close the file."""
        if self._pool is not None:
            self._pool.shutdown()
        self._segments.clear()
        self._wholes.clear()
        self._fp.close()


def _named(axes: str, wanted: str | None) -> str:
    """Return the axes by the names that were asked for; rows, columns and channels cannot be renamed."""
    if wanted is None or wanted == axes:
        return axes
    pages, found = axes.partition("Y")[0], wanted.partition("Y")[0]
    named = len(set(found)) == len(found) == len(pages) and not set(found) - {*"NTZ", *pages}
    if not named or wanted.removeprefix(found) != axes.removeprefix(pages):
        raise UsageError(f"--axes {wanted!r} does not fit a TIFF of {axes}: its pages can be named Z, T or N")
    return wanted


def _packing(page: Any) -> str:
    """Return how pixels are stored where they do not simply follow one another."""
    return ", ".join(
        [
            *[page.compression.name.lower().removeprefix("adobe_").replace("_", " ")]
            * (page.compression != 1),
            *[f"predictor {int(page.predictor)}"] * (page.predictor != 1),
            *[f"tiles of {page.tilewidth}x{page.tilelength}"] * page.is_tiled,
            *["separate planes"] * (page.planarconfig == _SEPARATE and page.samplesperpixel > 1),
        ]
    )


def _main(tif: tifffile.TiffFile) -> tifffile.TiffPageSeries:
    """Return the pages that people mean: neither reduced copies of other pages nor masks."""
    return next((series for series in tif.series if not series.keyframe.subfiletype & _COPY), tif.series[0])


def _notes(
    tif: tifffile.TiffFile,
    series: tifffile.TiffPageSeries,
    pages: Sequence[Any],
    counted: Counter[str],
    told: Sequence[int | str] = (),
    stack: Stack | None = None,
    lead: str = "",
) -> tuple[str, ...]:
    """Return notes on what of the file is not read, or read as something else.

    ``told`` are tags that are kept, ``lead`` axes of which one is made.
    """
    stack = stack or Stack()
    notes = [*stack.notes, *(note for page in pages for note in look_of(page, stack.bits)[1])]
    if any(metadata_of(page) != metadata_of(pages[0]) for page in pages):
        notes.append("the pages of the TIFF differ in profile or resolution: those of the first are kept")
    if len(lead) > 1:
        sizes = ", ".join(f"{letter} {size}" for letter, size in zip(lead, series.shape, strict=False))
        notes.append(f"the pages of the TIFF ({sizes}) are read as one stack, Z")
    for level in (level for one in tif.series for level in one.levels if level is not series):
        copy = level.keyframe.subfiletype & _COPY or level not in tif.series
        counted[_MASKS if copy else _OTHERS] += len(level)
    if any(level.keyframe.subfiletype & _MASK for one in tif.series for level in one.levels):
        notes.append("what a mask in the TIFF hides is filtered as data: --mask FILE takes it for missing")
    more = (f"{kind} ({number})" for kind, number in counted.items() if number)
    carried = dict.fromkeys(key for page in pages for key in _carriers(page) if key not in map(str, told))
    behind = []
    with suppress(
        ArithmeticError, LookupError, OSError, TypeError, ValueError
    ):  # damaged tags of other pages
        tif.filehandle.seek(_end(tif) - 4)
        tail = tif.filehandle.read(1 << 20)
        behind = ["behind"] * is_data(tail[4:].removeprefix(tail[:4]))  # GDAL repeats a tile's last bytes
    return (*dict.fromkeys(notes), *left_out("TIFF", [*carried, *behind], more))


def _end(tif: tifffile.TiffFile) -> int:
    """Return where the last directory, value, strip or tile of a file ends."""
    from tifffile import TiffPage

    form, ends = tif.tiff, [one.dataoffset + one.nbytes for one in tif.series if one.dataoffset is not None]
    pages: list[Any] = [one.aspage() for one in tif.pages]
    known, shared = {page.offset for page in pages}, set[int]()
    for page in pages:
        below = [one.aspage() for one in page.pages or ()]
        for tag in page.tags:
            ends.append(tag.valueoffset + tag.valuebytecount)
            if tag.code in _DIRECTORIES:
                tif.filehandle.seek(tag.valueoffset)
                below.append(TiffPage(tif, index=0))
        pages += [one for one in below if one.offset not in known]
        known |= {one.offset for one in below}
        copies = sum(
            tag.valuebytecount for tag in page.tags if tag.valueoffset in shared
        )  # tifffile leaves room
        shared |= {tag.valueoffset for tag in page.tags}
        ends.append(page.offset + form.tagnosize + len(page.tags) * form.tagsize + form.offsetsize + copies)
        ends += map(sum, zip(page.dataoffsets, page.databytecounts, strict=False))
        ends.append(page.tags.valueof(513, 0) + page.tags.valueof(514, 0))  # a thumbnail
    return max(ends)


def _is_usual(tag: tifffile.TiffTag) -> bool:
    """Say whether a tag says of colours what is so without it."""
    parts = np.array(tag.value if tag.code in _USUAL and tag.dtype == _RATIONAL else ())
    usual = _USUAL.get(tag.code, ())
    return len(parts) == 2 * len(usual) > 0 and np.allclose(parts[::2] / parts[1::2], usual, atol=1e-4)


def _carriers(page: tifffile.TiffPage) -> Iterator[str]:
    """Yield what a page carries, by the keys of `convcli.media.carriers`."""
    from tifffile.tifffile import shaped_description_metadata

    # libtiff converts YCbCr by the reference black and white
    applied = {532} if page.photometric == _YCBCR and page.compression not in _JPEG else set()
    for code in (tag.code for tag in page.tags if tag.code not in applied and not _is_usual(tag)):
        if code == _DESCRIPTION and (microscopy.knows(page) or page.is_shaped):
            if (
                page.shaped_description
                and set(shaped_description_metadata(page.shaped_description)) - _SHAPED
            ):
                yield str(code)
        elif code == _IMAGEJ and isinstance(told := page.tags.valueof(code), dict):
            yield from told
        else:
            yield str(code)
    if page.is_imagej and re.search(r"^m(?:in|ax)=", page.description, re.MULTILINE):
        yield "Ranges"
    if geo.statistics(page):
        yield "STATISTICS"
    if page.tags.valueof(296) == _NO_UNIT and page.tags.valueof(282) != page.tags.valueof(283):
        yield "aspect"


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> Sink:
    """Open an uncompressed TIFF for writing, a BigTIFF where 4 GB do not suffice; ``fp`` must seek.

    Axes before ``YX`` are pages, one after the other in the order of the axes.

    Raises
    ------
    UsageError
        For axes that do not end in ``YX`` or ``YXC``.
    """
    return TiffSink(fp, info, format_name == "ome-tiff")


class TiffSink(RegionSink):
    """Directories first, with room for the pixels; boxes are then written to their places."""

    def __init__(self, fp: IO[bytes], info: Info, ome: bool) -> None:
        import tifffile

        pages, found, _ = info.letters.removesuffix("C").rpartition("YX")
        if not found or info.letters not in (f"{pages}YX", f"{pages}YXC"):
            raise UsageError(
                f"TIFF holds pictures and stacks of them, not the axes {info.letters}: write .npy or .csv"
            )
        dtype, dpi = np.dtype(info.dtype), dpi_of(info)
        bands = info.metadata.bands if info.colour is Colour.NONE else None
        colour = Colour.GREY if "C" in pages else info.colour if bands else colour_of(info)
        named = "rgb" if bands == "rgb" and info.channels > 2 else "minisblack"
        beside = ["unspecified"] * (info.channels - (3 if named == "rgb" else 1)) if bands else None
        icc, without = profile_for(info.metadata.icc, colour)
        exif = "the EXIF data is left out: TIFF is written without" if info.metadata.exif else None
        density = {"resolution": tuple(map(float, dpi)), "resolutionunit": "INCH"} if dpi else {}
        settings, lost = microscopy.described(info, pages, ome)
        order, big, packing = info.metadata.stored or ("<", False, "")
        plain = f"left out: {packing} (TIFF is written in plain strips)" if packing else None
        self.notes = tuple(note for note in (without, exif, *lost, plain) if note)
        tags = geo.tags_of(info) if info.metadata.geo or not settings else []
        plane = info.shape[len(pages) :]
        if info.white:
            samples = info.channels if plane[2:] else 1
            tags.append((MOST, 3, samples, (int(info.white),) * samples, True))
        if info.metadata.nodata is not None and dtype.kind == "f":
            tags.append((geo.NODATA, 2, 0, info.metadata.nodata, True))
        elif info.metadata.nodata is not None:
            self.notes += ("the nodata value is left out: the result is whole numbers",)
        shape = (math.prod(info.shape[: len(pages)]), *plane)
        size = math.prod(shape) * dtype.itemsize
        settings = density | settings
        with tifffile.TiffWriter(fp, bigtiff=big or size > BIG, byteorder=order, ome=False) as tif:
            offset, _ = tif.write(  # type: ignore[misc]
                shape=shape,
                dtype=dtype,
                photometric=CHANNELS[colour].photometric if colour in CHANNELS else named,
                planarconfig="contig" if len(plane) == 3 else None,
                extrasamples=["unassalpha"] if colour.has_alpha else beside,
                rowsperstrip=max(1, STRIP // (math.prod(plane[1:]) * dtype.itemsize)),
                iccprofile=icc,
                software=False,
                metadata=None,
                extratags=tags,
                returnoffset=True,
                **settings,
            )
        super().__init__(fp, info, offset, dtype.newbyteorder(order))

    def put(self, box: Box, values: np.ndarray) -> None:
        super().put(box, geo.filled(values, self.info.metadata))

    def close(self) -> None:
        super().close()
        self._fp.seek(0, os.SEEK_END)
