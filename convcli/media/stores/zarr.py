"""Zarr 2 and 3, and OME-Zarr: folders of chunks, of which only those that a box touches are read and written.

Metadata, chunks and codecs are zarr's.  Axes are named by OME-Zarr's multiscales, else by the names of the dimensions.
"""

from __future__ import annotations

import base64
import difflib
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import IO, Any, Literal

import numpy as np

from convcli.common import ConvError, UsageError, counted, frozen
from convcli.common.budget import check_memory
from convcli.data.axes import Axis, Even, Positions
from convcli.data.box import Box, grid, slices
from convcli.data.info import BOXES, SPACE, Boxes, Grain, Info, Metadata, Sink
from convcli.media.carriers import LOST, left_out
from convcli.media.files.target import Folder
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.shared import check_samples
from convcli.media.stores import conventions
from convcli.media.stores.conventions import (
    AXES_UNITS,
    MISSING,
    PACKING,
    UDUNITS,
    Coding,
    Dimension,
    coordinate_of,
    letters_of,
    positions_of,
)
from convcli.media.stores.guard import Inside, guarded, writing

import zarr  # isort: skip  # behind the guard, which says that it is missing

Array = zarr.Array[Any]

Level = tuple[
    tuple[int, ...], tuple[int, ...]
]  # its shape, and of how many samples of the one before one is made

OVERVIEW = 256  # samples along each axis of the coarsest level that is asked for, at most
CHUNK = 1 << 23  # bytes of a chunk where the input has none
_COORDINATES = 1 << 20  # samples along an axis, of which each may have a place of its own
_INDEX = 1 << 22  # chunks of a shard, at most
_TYPES = {"T": "time", "C": "channel"}
_OF_LEVELS = ("datasets", "coordinateTransformations", "version")
_STALE = (*PACKING, *MISSING, "valid_min", "valid_max", "valid_range", "actual_range", "_ARRAY_DIMENSIONS")


@frozen
class Stored:
    """What a result takes over from the store that it was made from.

    Attributes
    ----------
    version
        2 or 3.
    name
        Of the array in its group.
    letters
        All axes, those of a single sample too.
    chunks, shards
        Samples along these axes; no shards where chunks are files of their own.
    coding
        What compresses chunks, as zarr takes it.
    names
        Of the axes.
    dimensions
        Those that have an array of coordinates, by their letters.
    places
        The positions along those that have any.
    attributes
        Of the array, but for those that a result makes untrue.
    ome
        The multiscales that the array is a level of; empty where there are none.
    around
        The other attributes of its group.
    levels
        The shapes of this array and of the coarser ones that follow in the multiscales.
    fill
        What fills absent chunks, or stands for missing samples; none where nobody says it.
    """

    formats = ("zarr",)  # not annotated, so no field

    version: Literal[2, 3]
    name: str
    letters: str
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    coding: Any
    names: tuple[str, ...]
    dimensions: Mapping[str, Dimension]
    places: Mapping[str, Positions]
    attributes: Mapping[str, Any]
    ome: Mapping[str, Any]
    around: Mapping[str, Any]
    levels: tuple[tuple[int, ...], ...] = ()
    fill: float | None = None

    def filled(self, dtype: str, gaps: bool, shown: bool) -> tuple[float | None, tuple[str, ...]]:
        """Return what fills absent chunks of a result, and a note where that is another number.

        ``shown`` says that the number would stand for missing samples, of which there are none without ``gaps``.
        """
        kept, nan = self.fill or 0, self.fill != self.fill
        if gaps:
            return np.nan, (f"missing samples are NaN in the result, not {kept:g}",) * bool(kept and not nan)
        with suppress(ValueError, OverflowError):
            held = np.dtype(dtype).type(int(kept) if np.dtype(dtype).kind in "iu" else kept)
            if not shown and (nan or held.item() == kept):
                return held.item(), ()
        why = "it would stand for missing samples" if shown else f"{dtype} does not hold it"
        return None if shown else 0, (f"the fill value {kept:g} is left out: {why}",) * bool(kept)

    @property
    def also(self) -> list[str]:
        """What formats that are no stores hold none of, for messages."""
        there = bool(self.attributes or self.around.keys() - {"ome"})
        return ["attributes"] * there + ["OME metadata"] * bool(self.around["ome"])


def _kept(info: Info) -> Stored:
    """Return what the store says that data are from, if it is of this kind or has coordinates by the conventions."""
    store = info.metadata.store
    if not isinstance(store, conventions.Stored) or not store.has_coordinates:
        return store if isinstance(store, Stored) else _NEW
    cubes, dimensions = _cubes(info), store.dimensions
    return replace(
        _NEW,
        name=store.path.rpartition("/")[2],
        letters="".join(dimensions),
        chunks=tuple(store.chunks.get(letter, cubes.get(letter, 1)) for letter in dimensions),
        names=tuple(one.name or letter.lower() for letter, one in dimensions.items()),
        dimensions=dimensions,
        attributes=_plain(store.attributes),
        around={**_plain({key: one[key] for one in store.shared.values() for key in one}), "ome": {}},
    )


def _plain(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with numbers of Python; NetCDF's single numbers are arrays of one."""
    arrays = {key: one for key, one in attributes.items() if isinstance(one, np.generic | np.ndarray)}
    return {
        **attributes,
        **{key: one.item() if one.size == 1 else one.tolist() for key, one in arrays.items()},
    }


_NEW = Stored(3, "", "", (), (), "auto", (), {}, {}, {}, {}, {"ome": {}})


def source(fp: IO[bytes], options: ReadOptions) -> ZarrSource:
    """Open an array of a store; of a multiscale picture, level 0 unless the input's name says another.

    Only metadata is read.  Axes of a single sample are left out.

    Raises
    ------
    UsageError
        Where the group holds several arrays, and ``options.array`` names none or another.
    ConvError
        For a store without metadata, one of whose links leads out of it, and samples that are no real numbers.
    """
    if not isinstance(fp, Folder):
        raise ConvError("Zarr is a folder of files, and this is none")
    return ZarrSource(fp, options)


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> ZarrSink:
    """Open a store for writing: one array, or a group that says as OME-Zarr where its samples lie.

    Coarser levels are those of the input, or half of each as ``options.levels`` asks.
    """
    assert isinstance(fp, Folder)
    return ZarrSink(fp, info, options)


def pieces(info: Info) -> Grain:
    """Return which boxes a store of such data takes best: whole chunks, or shards."""
    stored, letters = _kept(info), info.letters
    own = dict(zip(stored.letters, stored.shards or stored.chunks, strict=True))
    if not set(letters) <= set(own):
        own = _cubes(info)
    return Grain(any_order=True, piece=tuple(min(own[one], info.size(one)) for one in info.box_letters))


def _cubes(info: Info) -> dict[str, int]:
    """Return the sizes of chunks: cubes of space, as large as is usual, for all colours of a picture."""
    sizes = {axis.letter: 1 for axis in info.axes}
    if info.channels <= 4 and "C" in sizes:
        sizes["C"] = info.channels
    space = [letter for letter in "XYZ" if letter in sizes] or [info.letters[info.stream_axis]]
    room = CHUNK // np.dtype(info.dtype).itemsize // math.prod(sizes.values())
    for left in range(len(space), 0, -1):
        letter = min((one for one in space if sizes[one] == 1), key=info.size)
        side = 1 << int(math.log2(max(room, 1)) / left)
        sizes[letter] = min(side, info.size(letter))
        room //= sizes[letter]
        space.remove(letter)
    return sizes


class ZarrSource(Boxes):
    """An array of a store; chunks are decoded by zarr, several at a time."""

    def __init__(self, folder: Folder, options: ReadOptions) -> None:
        with guarded():
            try:
                root = zarr.open(store=Inside(folder.path, read_only=True), mode="r")
            except FileNotFoundError:
                raise ConvError("no Zarr metadata is in it: zarr.json, .zarray or .zgroup") from None
            self._array, group, notes = _chosen(root, options.array)
            stored = _stored(self._array, group, options.axes)
            attributes: dict[str, Any] = self._array.attrs.asdict()
            dtype = np.dtype(self._array.dtype).newbyteorder("=").name.replace("bool", "uint8")
            self._coding = Coding.of({**attributes, **_missing(self._array, attributes)}, dtype)
            notes += (*left_out("ZARR", filter(LOST["ZARR"].__contains__, attributes)), *self._coding.notes)
        self._letters, shape = stored.letters, self._array.shape
        many = [axis for axis in zip(self._letters, shape, strict=True) if axis[1] > 1]
        if not {letter for letter, _ in many} & {*SPACE}:
            many = [*zip(self._letters, shape, strict=True)]
        metadata = Metadata(store=stored, nodata="nan" if self._coding.missing else None)
        info = Info.of(
            "".join(letter for letter, _ in many),
            [n for _, n in many],
            self._coding.dtype,
            metadata=metadata,
            notes=notes,
        ).placed(**stored.places)
        self.info = replace(info, volume="Z" in info.letters)
        chunks = dict(
            zip(stored.letters, stored.chunks, strict=True)
        )  # of a shard, those are read that are asked for
        self.grain = Grain(
            any_order=True, piece=tuple(min(chunks[one], info.size(one)) for one in info.box_letters)
        )

    def read(self, box: Box) -> np.ndarray:
        spans = dict(zip(self.info.letters, self.info.spans(box), strict=True))
        index = slices(tuple(spans.get(letter, (0, 1)) for letter in self._letters))
        with guarded():
            block = np.asarray(self._array[index])
        return self._coding.values(block.reshape([stop - start for start, stop in spans.values()]))


def _stored(array: Array, group: zarr.Group | None, named: str | None) -> Stored:
    """Return what an array's metadata says; ``named`` are the letters of its axes, where a person names them.

    Raises
    ------
    ConvError
        For what cannot be filtered, or not safely.
    """
    shape, dtype = array.shape, np.dtype(array.dtype)
    chunks, shards = array.chunks, array.shards or ()
    check_samples(dtype)
    if not shape or min(shape) < 1:
        raise ConvError(f"the array holds no samples: its shape is {shape}")
    if math.prod(shards) > _INDEX * math.prod(chunks):
        raise ConvError(f"its shards of {shards} samples hold too many chunks of {chunks}")
    check_memory(f"a chunk of {chunks} samples", 2 * math.prod(chunks) * dtype.itemsize)
    ome, around = _scales(group)
    axes = [one if isinstance(one, dict) else {"name": one} for one in ome.get("axes") or ()]
    names = [str(one.get("name") or "") for one in axes] or _dimensions(array)
    names = names if len(names) == len(shape) else [""] * len(shape)
    beside = [_coordinate(group, name, array, n) for name, n in zip(names, shape, strict=True)]
    about = [{} if one is None else one.attrs.asdict() for one in beside]
    kinds = ["float64" if one is None else one.dtype.name for one in beside]
    dimensions = [Dimension(*one) for one in zip(names, kinds, about, strict=True)]
    letters = letters_of(dimensions, named, shape)
    ome = {**ome, "axes": axes}
    places: dict[str, Positions] = {**_places(ome, array.basename, letters)}
    own = dict[str, Dimension]()
    for letter, one, dimension in zip(letters, beside, dimensions, strict=True):
        if one is None:
            continue
        values = Coding.of(dimension.attributes, one.dtype.name).unpacked(np.asarray(one[...]))
        if (found := positions_of(values, dimension.attributes)) is not None:
            places[letter] = found
        kept = {key: value for key, value in dimension.attributes.items() if key not in _STALE}
        own[letter] = Dimension(dimension.name, values.dtype.newbyteorder("=").name, kept)
    called = tuple(name or letter.lower() for name, letter in zip(names, letters, strict=True))
    coding, version = tuple(array.compressors) or None, array.metadata.zarr_format
    kept = {key: one for key, one in array.attrs.items() if key not in _STALE}
    if group is not None and not ome.get("datasets"):
        around = {**group.attrs.asdict(), "ome": {}}
    paths = [str(one["path"]) for one in ome.get("datasets") or ()]
    coarser = (
        paths[paths.index(array.basename) + 1 :] if group is not None and array.basename in paths else []
    )
    others = [group.get(path) for path in coarser] if group is not None else []
    fill = next(iter(_missing(array, array.attrs.asdict()).values()), array.fill_value)
    fill = np.ravel(fill)[0] if np.asarray(fill).dtype.kind in "biuf" and np.size(fill) else None
    levels = (shape, *(one.shape for one in others if isinstance(one, zarr.Array) and one.ndim == len(shape)))
    return Stored(
        version,
        array.basename,
        letters,
        chunks,
        shards,
        coding,
        called,
        own,
        places,
        kept,
        ome,
        around,
        levels,
        None if fill is None else np.asarray(fill).item(),
    )


def _chosen(root: Array | zarr.Group, path: str) -> tuple[Array, zarr.Group | None, tuple[str, ...]]:
    """Return the array that a path means, the group that it is in, and notes."""
    if path and not isinstance(root, zarr.Group):
        raise UsageError(f"::{path} names one of several arrays, and this store is one")
    group, node = None, root
    for name in path.strip("/").split("/") if path.strip("/") else ():
        group = node if isinstance(node, zarr.Group) else None
        names = sorted(name for name, _ in group.members()) if group is not None else []
        if group is None or name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise UsageError(f"::{path}: there is no {name!r}; {_listed(near or names)}")
        node = group[name]
    notes: tuple[str, ...] = ()
    while isinstance(node, zarr.Group):
        group = node
        levels = [str(one["path"]) for one in _scales(group)[0].get("datasets") or ()]
        arrays = sorted(name for name, one in group.arrays() if _dimensions(one) != [name])  # no coordinates
        inner = arrays or sorted(name for name in group.group_keys() if name != "OME")
        if len(levels) > 1:
            notes = (f"level {levels[0]} of {len(levels)} is read; ::{levels[1]} names the next",)
        elif not levels and len(inner) != 1:
            raise UsageError(f"name one array as ::PATH; {_listed(inner)}")
        node = group[(levels or inner)[0]]
    return node, group, notes


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 9} more" if len(names) > 9 else ""
    return f"it holds {', '.join(map(repr, names[:9])) or 'no array'}{more}"


def _dimensions(array: Array) -> list[str]:
    """Return the names of the dimensions, as Zarr 3 or xarray writes them; empty where nobody does."""
    names = array.metadata.to_dict().get("dimension_names") or array.attrs.get("_ARRAY_DIMENSIONS")
    return [str(name or "") for name in names] if isinstance(names, list | tuple) else []


def _scales(group: zarr.Group | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the multiscales of a group, empty where it has none, and its other attributes, in OME-Zarr 0.5's form."""
    attributes = {} if group is None else group.attrs.asdict()
    inner = attributes.get("ome", attributes)
    if not (isinstance(inner, dict) and inner.get("multiscales")):
        return {}, {"ome": {}}
    beside = {key: one for key, one in inner.items() if key not in ("multiscales", "version")}
    outer = {key: one for key, one in attributes.items() if key != "ome"} if "ome" in attributes else {}
    return dict(inner["multiscales"][0]), {**outer, "ome": beside}


def _coordinate(group: zarr.Group | None, name: str, array: Array, size: int) -> Array | None:
    """Return the array that says where samples lie along a dimension, if a group has one."""
    found = group.get(name) if group is not None and name and size <= _COORDINATES else None
    if not isinstance(found, zarr.Array) or found.shape != (size,) or found.path == array.path:
        return None
    return found if np.dtype(found.dtype).kind in "iuf" else None


def _missing(array: Array, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the conventions' attributes of missing samples, where there are none what fills absent chunks if NaN."""
    said: dict[str, Any] = {key: attributes[key] for key in MISSING if key in attributes}
    by_xarray = array.metadata.zarr_format == 2 and "_ARRAY_DIMENSIONS" in attributes
    fill: Any = array.fill_value
    if not said and fill is not None and (by_xarray or fill != fill):
        said = {"_FillValue": fill}
    for key, one in said.items():
        if isinstance(one, str):  # of floats, xarray writes their bytes
            with suppress(ValueError):
                said[key] = np.frombuffer(base64.b64decode(one, validate=True), "<f8").item()
    return said


def _places(ome: Mapping[str, Any], path: str, letters: str) -> dict[str, Even]:
    """Return the positions along axes that have any: a level's scale and translation, then those of all levels."""
    steps, firsts = [Fraction(1)] * len(letters), [Fraction(0)] * len(letters)
    levels = [one for one in ome.get("datasets") or () if one["path"] == path]
    for one in (step for of in (*levels[:1], ome) for step in of.get("coordinateTransformations") or ()):
        numbers = [Fraction(str(number)) for number in one.get(one["type"], ())]
        if one["type"] == "scale":
            steps = [a * b for a, b in zip(steps, numbers, strict=True)]
            firsts = [a * b for a, b in zip(firsts, numbers, strict=True)]
        elif one["type"] == "translation":
            firsts = [a + b for a, b in zip(firsts, numbers, strict=True)]
    found = {}
    for letter, axis, step, first in zip(letters, ome["axes"], steps, firsts, strict=False):
        unit = str(axis.get("unit") or "")
        if letter in "TZYX" and step and (unit or (step, first) != (1, 0)):
            found[letter] = Even(first, step, AXES_UNITS.get(unit, unit))
    return found


class ZarrSink(Sink):
    """A store; chunks are coded by zarr, those that hold the fill value alone are not stored."""

    grain = BOXES
    in_place = True

    def __init__(self, folder: Folder, info: Info, options: WriteOptions) -> None:
        super().__init__(info)
        stored, path = _kept(info), options.array
        if not {*info.letters} <= {*stored.letters}:
            stored = replace(
                _NEW,
                letters=info.letters,
                names=tuple(info.letters.lower()),
                chunks=tuple(_cubes(info)[one] for one in info.letters),
            )
        self._letters, self._stored = stored.letters, stored
        ome = "".join(letter for letter in "TCZYX" if letter in stored.letters)
        placed = any(axis.positions for axis in info.axes)
        levels = bool(stored.ome.get("datasets")) or options.levels
        beside = bool(stored.dimensions) and not levels
        multi = (placed or levels) and {*ome} == {*stored.letters} and "YX" in ome and not beside
        if multi:
            self._letters = ome
        metadata, lost = info.metadata, []
        lost += ["positions of the samples are"] * (placed and not multi and not beside)
        lost += ["affine is"] * (metadata.volume is not None)
        self.notes = tuple(f"the {what} left out: ZARR holds none" for what in lost)
        self.notes += ("OME-Zarr is for pictures and volumes: one array is written",) * (levels and not multi)
        rows = zip(stored.names, stored.chunks, stored.shards or stored.chunks, strict=True)
        own = dict(zip(stored.letters, rows, strict=True))
        names, chunks, shards = zip(*(own[letter] for letter in self._letters), strict=True)
        shape = tuple(info.size(letter) if letter in info.letters else 1 for letter in self._letters)
        self._levels = [(shape, (1,) * len(shape))]
        if multi:
            self._levels += self._coarser(shape) or (self._halves(shape) if options.levels else [])
        self._nearest = "image-label" in stored.around["ome"]
        if len(self._levels) > 1:
            how = "samples" if self._nearest else "means"
            self.notes += (
                f"{counted(len(self._levels) - 1, 'coarser level')} of {how} of the one before are written",
            )
        chunks = tuple(map(min, chunks, shape))
        shards = tuple(-(-min(s, n) // c) * c for s, n, c in zip(shards, shape, chunks, strict=True))
        attributes = dict(stored.attributes)
        named = stored.version == 2 and not multi
        attributes |= {"_ARRAY_DIMENSIONS": names} if named else {}  # and what fills such an array is missing
        gaps = info.metadata.nodata is not None and np.dtype(info.dtype).kind == "f"
        fill, told = stored.filled(info.dtype, gaps, named)
        self.notes += told
        store, path = zarr.storage.LocalStore(folder.path), path.strip("/")
        group = path if multi else path.rpartition("/")[0]
        name = self._name = f"{path}/0" if multi else path or (stored.name if beside else "")
        if folder.path.is_dir() and any(folder.path.iterdir()):  # begun by another
            self.attach(folder)
            return
        with writing():
            if multi:
                about = self._multiscales(names)
                zarr.create_group(store, path=group, zarr_format=stored.version, attributes=about)
            elif beside:
                self._beside(store, group)
            alike = partial(
                zarr.create_array,
                store,
                dtype=info.dtype,
                compressors=stored.coding,
                fill_value=fill,
                zarr_format=stored.version,
                chunk_key_encoding={"name": "v2", "separator": "./"[multi]} if stored.version == 2 else None,
                dimension_names=names if stored.version == 3 else None,
            )
            for level, (size, _) in enumerate(self._levels):
                pieces = tuple(map(min, chunks, size))
                whole = tuple(-(-min(s, n) // c) * c for s, n, c in zip(shards, size, pieces, strict=True))
                alike(
                    name=f"{path}/{level}" if multi else name,
                    shape=size,
                    chunks=pieces,
                    shards=whole if stored.shards else None,
                    attributes={} if level else attributes,
                )
        self.attach(folder)

    def _coarser(self, shape: tuple[int, ...]) -> list[Level]:
        """Return the shape of each level of the input, and from how many samples of the one before each is made."""
        order = [self._stored.letters.index(letter) for letter in self._letters]
        given = [tuple(one[axis] for axis in order) for one in self._stored.levels]
        found, before = list[Level](), shape
        for fine, coarse in pairwise(given):
            factors = tuple(max(1, round(a / b)) for a, b in zip(fine, coarse, strict=True))
            if max(factors) > 1:
                now = tuple(-(-n // f) for n, f in zip(before, factors, strict=True))
                before = coarse if before == fine else now
                found.append((before, factors))
        return found

    def _halves(self, shape: tuple[int, ...]) -> list[Level]:
        """Return levels of half the samples, of the axes along which they are closest, down to a small overview."""
        found, steps = list[Level](), [abs(float(self._place(one)[0])) or 1.0 for one in self._letters]
        while True:
            rows = [*zip(shape, steps, (letter in "ZYX" for letter in self._letters), strict=True)]
            if max(n for n, _, space in rows if space) <= OVERVIEW:
                return found
            near = 2 * min(step for n, step, space in rows if space and n > 1)
            factors = tuple(1 + (space and n > 1 and step < near) for n, step, space in rows)
            shape = tuple(-(-n // f) for n, f in zip(shape, factors, strict=True))
            steps = [a * f for a, f in zip(steps, factors, strict=True)]
            found.append((shape, factors))

    def close(self) -> None:
        super().close()
        self.finish()

    def finish(self) -> None:
        top, _, _ = self._name.rpartition("/")
        with writing():
            fine = self._array
            for level, (shape, factors) in enumerate(self._levels[1:], 1):
                coarse = zarr.open_array(fine.store, path=f"{top}/{level}", mode="r+")
                for box in grid(shape, coarse.shards or coarse.chunks):
                    block = np.empty([stop - start for start, stop in box], coarse.dtype)
                    for part in grid(block.shape, coarse.chunks):  # a shard is written as a whole
                        spans = zip(part, box, factors, strict=True)
                        within = tuple(
                            slice(f * (start + a), f * (start + b)) for (a, b), (start, _), f in spans
                        )
                        block[slices(part)] = reduced(np.asarray(fine[within]), factors, self._nearest)
                    coarse[slices(box)] = block
                fine = coarse

    def attach(self, fp: IO[bytes]) -> None:
        assert isinstance(fp, Folder)
        with writing():
            self._array = zarr.open_array(zarr.storage.LocalStore(fp.path), path=self._name, mode="r+")

    def _coordinates(self) -> dict[str, tuple[np.ndarray, dict[str, Any]]]:
        """Return the numbers and attributes of the array of coordinates of each dimension that has positions."""
        stored, found = self._stored, dict[str, tuple[np.ndarray, dict[str, Any]]]()
        for letter, name in zip(stored.letters, stored.names, strict=True):
            alone = Axis(letter, 1, stored.places.get(letter))
            axis = self.info.axis(letter) if letter in self.info.letters else alone
            if (one := coordinate_of(axis, stored.dimensions.get(letter))) is not None:
                found[name] = one
        return found

    def _outer(self) -> dict[str, Any]:
        """Return the attributes of the group that are not those of OME-Zarr."""
        return {key: one for key, one in self._stored.around.items() if key != "ome"}

    def _beside(self, store: Any, group: str) -> None:
        """Write the group around the array: its attributes, and the coordinates."""
        stored = self._stored
        zarr.create_group(store, path=group, zarr_format=stored.version, attributes=self._outer())
        for name, (values, attributes) in self._coordinates().items():
            old = stored.version == 2
            zarr.create_array(
                store,
                name=f"{group}/{name}".strip("/"),
                data=values,
                fill_value=None if old else 0,
                zarr_format=stored.version,
                dimension_names=None if old else (name,),
                attributes={**_plain(attributes), **({"_ARRAY_DIMENSIONS": [name]} if old else {})},
            )

    def _place(self, letter: str) -> tuple[Fraction | int, Positions | None]:
        """Return how far samples along an axis lie apart, 0 where that differs, and their positions."""
        places: Positions | None = self._stored.places.get(letter)
        if letter in self.info.letters:
            places = self.info.axis(letter).positions
        steps = places.steps() if places else None
        return (1 if steps is None else steps[0] if steps[0] == steps[1] else 0), places

    def _multiscales(self, names: Sequence[str]) -> dict[str, Any]:
        """Return the attributes of the group that holds the array as its only level."""
        stored, axes, scale, first = self._stored, [], [], []
        former = {axis.get("name"): axis for axis in stored.ome.get("axes", ())}
        for letter, name in zip(self._letters, names, strict=True):
            step, places = self._place(letter)
            if places is not None and not step:
                step, places = 1, None
                what = "times of the frames" if letter == "T" else f"positions along {name}"
                self.notes += (f"the {what}, which are uneven, are left out: ZARR holds none",)
            axis = {"name": name, "type": _TYPES.get(letter, "space"), **former.get(name, {})}
            if places is not None and places.unit:
                axis["unit"] = UDUNITS.get(places.unit, places.unit)
            axes.append(axis)
            scale.append(float(step))
            first.append(float(places.at(0) or 0 if places else 0))
        levels, times = [], [1] * len(scale)
        for number, (_, factors) in enumerate(self._levels):
            times = [a * b for a, b in zip(times, factors, strict=True)]
            steps_of = [a * b for a, b in zip(scale, times, strict=True)]
            shift = [0 if self._nearest else (n - 1) / 2 * step for n, step in zip(times, scale, strict=True)]
            starts = [a + b for a, b in zip(first, shift, strict=True)]
            moves = [{"type": "scale", "scale": steps_of}, {"type": "translation", "translation": starts}]
            levels.append({"path": str(number), "coordinateTransformations": moves[: 1 + any(starts)]})
        kept = {key: one for key, one in stored.ome.items() if key not in _OF_LEVELS}
        if len(levels) > 1:
            kept = {**kept, "type": "nearest" if self._nearest else "mean"}
            kept.pop("metadata", None)
        entry, beside = {**kept, "axes": axes, "datasets": levels}, stored.around["ome"]
        outer = self._outer()
        if stored.version == 2:
            return {**outer, **beside, "multiscales": [{**entry, "version": "0.4"}]}
        return {**outer, "ome": {**beside, "version": "0.5", "multiscales": [entry]}}

    def put(self, box: Box, values: np.ndarray) -> None:
        spans = dict(zip(self.info.letters, self.info.spans(box), strict=True))
        order = [self.info.letters.index(letter) for letter in self._letters if letter in spans]
        index = slices(tuple(spans.get(letter, (0, 1)) for letter in self._letters))
        with writing():
            self._array[index] = values.transpose(order).reshape([one.stop - one.start for one in index])


def reduced(values: np.ndarray, factors: Sequence[int], nearest: bool = False) -> np.ndarray:
    """Return the means of so many samples along each axis, at the end of fewer, or the first of them.

    >>> reduced(np.array([1, 2, 5, 6, 9], np.uint8), (2,)).tolist()
    [2, 6, 9]
    """
    if nearest:
        return values[tuple(slice(None, None, one) for one in factors)]
    sums = values.astype(np.float64)
    for axis, one in enumerate(factors):
        starts = np.arange(0, values.shape[axis], one)
        counts = np.diff([*starts, values.shape[axis]])
        sums = np.add.reduceat(sums, starts, axis) / np.expand_dims(
            counts, [n for n in range(sums.ndim) if n != axis]
        )
    return (sums if values.dtype.kind == "f" else np.rint(sums)).astype(values.dtype)
