"""HDF5 and NetCDF-4: one array of a file, read in parts through its chunks, and written with its coordinates.

The library reads in a process of its own (``hdf5_library``); arrays in one piece are read here, in place.  What
attributes mean is in ``conventions``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib import import_module
from math import prod
from typing import IO, Any

import numpy as np

from convcli.common import ConvError, UsageError
from convcli.common.budget import PICTURE
from convcli.data import BOXES, Axis, Box, Boxes, Grain, Info, Metadata, Positions, Sink, slices
from convcli.media import region
from convcli.media.arrays import MAX_AXES
from convcli.media.carriers import LOST, left_out
from convcli.media.files.target import spool
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.pictures.geo import filled
from convcli.media.shared import check_samples
from convcli.media.stores import conventions
from convcli.media.stores.conventions import Dimension, Stored
from convcli.media.stores.hdf5_library import Library, check_packages

_CLASSIC = b"CDF"
_BOMB = 1100  # bytes of samples from each byte of a file: deflate makes 1032 at most
_CACHE, _SLOTS = 1 << 28, 521  # bytes of chunks that are kept until they are full, and chunks, at most
_LIBRARY = 45_000_000  # bytes that the process takes which reads (measured)


def source(fp: IO[bytes], options: ReadOptions) -> Hdf5Source:
    """Open the array at ``options.array``, or the only one; its samples are not read yet.

    Raises
    ------
    ConvError
        For samples that are no real numbers, or not in the file itself, for classic NetCDF, and for damaged files.
    UsageError
        For ``options.axes`` that do not fit, or are needed and missing.
    """
    return Hdf5Source(fp, options)


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> Hdf5Sink:
    """Open a file of one array and its coordinates; ``fp`` must seek."""
    return Hdf5Sink(fp, format_name, info, options)


class Hdf5Source(Boxes):
    """An array of an HDF5 file; any box is read."""

    def __init__(self, fp: IO[bytes], options: ReadOptions) -> None:
        if fp.read(3) == _CLASSIC:
            raise ConvError("classic NetCDF is not read: nccopy -k nc4 OLD.nc NEW.nc makes NetCDF-4 of it")
        fp.seek(0)
        fp = fp if hasattr(fp, "name") else spool(fp, lambda _: None)  # the library is another process
        self._fp, self._library = fp, Library(fp)
        try:
            self._open(options)
        except BaseException:
            self._library.close()
            raise

    def _open(self, options: ReadOptions) -> None:
        found = self._library.describe(options.array)
        attributes, chunks = found["attributes"], found["chunks"] or ()
        self._path, self._shape, self._offset = found["path"], tuple(found["shape"]), found["offset"]
        self._stored = np.dtype(found["dtype"])
        if str(attributes.pop("_Unsigned", "")).lower() == "true":
            self._stored = np.dtype(self._stored.str.replace("i", "u"))
        self._memory = prod(chunks) * self._stored.itemsize
        self._check(chunks, options)
        ways = zip(found["dimensions"], self._shape, strict=True)
        along = [self._dimension(name, path, size) for (name, path), size in ways]
        letters = conventions.letters_of([one for one, _ in along], options.axes, self._shape)
        name = self._stored.newbyteorder("=").name.replace("bool", "uint8")
        coding = self._coding = conventions.Coding.of(attributes, name)
        lost = [key for key, value in attributes.items() if key in LOST["HDF5"] or value is None]
        odd = [
            name
            for (name, path), (_, places) in zip(found["dimensions"], along, strict=True)
            if path and not places
        ]
        shared: dict[str, dict[str, Any]] = found["shared"]
        unread = [
            key for one in shared.values() for key, value in one.items() if value is None and key not in lost
        ]
        notes = left_out(
            "HDF5", lost + unread, [f"coordinates {', '.join(odd)}, which do not rise or fall"] * bool(odd)
        )
        notes += coding.notes
        for index in found["unlimited"]:
            name = found["dimensions"][index][0] or letters[index].lower()
            notes += (f"the unlimited dimension {name} gets a fixed size",)
        fill, known = found["fill"], [float(one.text) for one in coding.missing]
        if fill and not (fill in known or (fill != fill and any(one != one for one in known))):
            notes += (
                f"the fill value {fill:g} of chunks that are not there is left out: a result has them all",
            )
        stored = Stored(
            self._path,
            {key: one for key, one in attributes.items() if key not in (*lost, *conventions.STORAGE)},
            {
                path: {key: value for key, value in one.items() if value is not None}
                for path, one in shared.items()
            },
            {letter: one for letter, (one, _) in zip(letters, along, strict=True)},
            dict(zip(letters, chunks, strict=False)),
            found["packing"],
        )
        metadata = Metadata(nodata=coding.missing[0].text if coding.missing else None, store=stored)
        info = Info.of(letters, self._shape, coding.dtype, metadata=metadata, notes=notes)
        info = replace(info, volume="Z" in letters)
        self.info = info.placed(**{letter: one for letter, (_, one) in zip(letters, along, strict=True)})
        self.grain = replace(pieces(self.info), beside=_LIBRARY)

    def _check(self, chunks: Sequence[int], options: ReadOptions) -> None:
        """Refuse what is no array of real numbers, and sizes that the file cannot have."""
        shape, dtype, size = self._shape, self._stored, self._fp.seek(0, 2)
        check_samples(dtype)
        if not 1 <= len(shape) <= MAX_AXES or min(shape) < 1:
            raise ConvError(f"an array of the shape {shape}: from 1 to {MAX_AXES} axes can be filtered")
        if self._offset is not None and (missing := self._offset + prod(shape) * dtype.itemsize - size) > 0:
            raise ConvError(f"cut short: {missing} bytes of {self._path!r} are missing")
        if prod(shape) * dtype.itemsize > _BOMB * size:
            PICTURE.allow(prod(shape), f"an array of the shape {shape}", size, options.max_pixels)
        PICTURE.allow(prod(chunks), f"a chunk of the shape {tuple(chunks)}", size, options.max_pixels)

    def _dimension(self, name: str, path: str, size: int) -> tuple[Dimension, Positions | None]:
        """Return a dimension and the positions along it, None where it has no coordinate, or none of numbers."""
        found: dict[str, Any] = self._library.describe(path) if path else {"dtype": "O"}
        dtype = np.dtype(found["dtype"])
        if dtype.kind not in "iuf" or dtype.itemsize > 8 or found["shape"] != [size]:
            return Dimension(name), None
        values, attributes = self._library.read(path, ((0, size),), dtype, 0), found["attributes"]
        values = conventions.Coding.of(attributes, values.dtype.name).unpacked(values)
        gone = (*LOST["HDF5"], *conventions.STORAGE)
        kept = {key: one for key, one in attributes.items() if one is not None and key not in gone}
        return Dimension(name, values.dtype.newbyteorder("=").name, kept), conventions.positions_of(
            values, attributes
        )

    def read(self, box: Box) -> np.ndarray:
        spans = self.info.spans(box)
        if self._offset is None:
            block = self._library.read(self._path, spans, self._stored, self._memory)
        else:
            block = region.read(self._fp, self._offset, self._shape, self._stored, spans)
        return self._coding.values(block)

    def close(self) -> None:
        self._library.close()
        self._fp.close()


def pieces(info: Info) -> Grain:
    """Return which boxes a file of such data takes best: whole chunks, where the input has some."""
    chunks, packing = _stored(info).chunks, _stored(info).packing
    if not {*info.box_letters} <= {*chunks}:
        return BOXES
    piece = tuple(min(chunks[one], info.size(one)) for one in info.box_letters)
    kept = min(_CACHE, info.bytes, _SLOTS * prod(piece) * np.dtype(info.dtype).itemsize * info.channels)
    return Grain(any_order=True, piece=piece, beside=kept if packing.get("compression") else 0)


def _stored(info: Info) -> Stored:
    """Return what the input says, if it is a file of this kind."""
    return info.metadata.store if isinstance(info.metadata.store, Stored) else Stored()


class _Output:
    """The output as the library has it, which does not survive errors: they are kept, and raised by `check`."""

    def __init__(self, fp: IO[bytes]) -> None:
        self._fp = fp
        self._error: BaseException | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._do, name)

    def _do(self, name: str, *words: Any) -> Any:
        try:
            return 0 if self._fp.closed else getattr(self._fp, name)(*words)
        except BaseException as error:
            self._error = self._error or error
            return 0

    def check(self) -> None:
        if self._error is not None:
            raise self._error


class Hdf5Sink(Sink):
    """An HDF5 or NetCDF-4 file of one array, with chunks as the input has them."""

    grain = BOXES

    def __init__(self, fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> None:
        super().__init__(info)
        check_packages("h5netcdf", "h5py")
        h5netcdf = import_module("h5netcdf")
        stored = _stored(info)
        *groups, name = list(filter(None, (options.array or stored.path).split("/"))) or ["data"]
        if {".", ".."} & {*groups, name}:
            raise UsageError(f"::{options.array} is no path of an array")
        self._output = _Output(fp)
        invalid = format_name == "hdf5"  # as NetCDF
        self._file = h5netcdf.File(self._output, "w", invalid_netcdf=invalid, rdcc_nbytes=_CACHE)
        group, shared, path = self._file, dict(stored.shared), "/"
        self._attach(group, shared.pop(path, {}))
        for one in groups:
            group, path = group.create_group(one), f"{path.rstrip('/')}/{one}"
            self._attach(group, shared.pop(path, {}))
        self.notes += tuple(
            f"left out: the attributes of {path}, where the result does not lie"
            for path, one in shared.items()
            if one
        )
        names = [self._along(group, axis, stored.dimensions.get(axis.letter), name) for axis in info.axes]
        chunks = tuple(min(stored.chunks.get(axis.letter, axis.size), axis.size) for axis in info.axes)
        dtype, nodata = np.dtype(info.dtype), info.metadata.nodata
        if nodata is not None and dtype.kind != "f":
            nodata = None
            self.notes += ("the number for missing samples is left out: the result is whole numbers",)
        fill = None if nodata is None else dtype.type(nodata)
        own = chunks if stored.chunks else True
        self._array = group.create_variable(name, names, dtype, None, fill, own, **stored.packing)
        self._attach(self._array, stored.attributes)

    def _along(self, group: Any, axis: Axis, dimension: Dimension | None, array: str) -> str:
        """Define a dimension, with its coordinates if there are positions; return its name."""
        name = dimension.name if dimension is not None and dimension.name else axis.letter.lower()
        name += "_" * (name == array)
        group.dimensions[name] = axis.size
        found = conventions.coordinate_of(axis, dimension)
        if found is not None:
            values, attributes = found
            self._attach(group.create_variable(name, (name,), data=values), attributes)
            if nowhere := np.isnan(values).sum():
                told = f"{nowhere} of {axis.size} samples along {name}"
                self.notes += (f"{told} lie at none of the input's positions",)
        return name

    def _attach(self, owner: Any, attributes: Mapping[str, Any]) -> None:
        for key, value in attributes.items():
            try:
                owner.attrs[key] = value
            except (TypeError, ValueError, OSError, RuntimeError):
                self.notes += (f"the attribute {key!r} is left out: such a file holds none of its type",)

    def put(self, box: Box, values: np.ndarray) -> None:
        self._array[slices(self.info.spans(box))] = filled(values, self.info.metadata)
        self._output.check()

    def close(self) -> None:
        super().close()
        self._file.close()
        self._output.check()
