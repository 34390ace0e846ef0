"""HDF5's library at work in a process of its own: damaged files make it crash, run on, or take any memory.

The child gets the open file and no name, loads no further filters, and answers one request after another: a line of
JSON each, of the samples their bytes.  It follows hard links alone, so that nothing leads out of the file.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from convcli.common import ConvError
from convcli.data import Box, slices
from convcli.media import region, trial

_SECONDS, _PACE = 4, 1 << 24  # of processor time for a request, and bytes for which there is another one
_MEMORY = 1 << 29  # bytes that a request may take beside what it reads
_CACHE = 1 << 26  # bytes of chunks that are kept
_VALUES, _LISTED = 1 << 12, 8  # of an attribute, and arrays in a message, at most
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}  # HDF5's own, and LZF of h5py
_BESIDE = ("bounds", "climatology", "coordinates", "grid_mapping", "ancillary_variables", "cell_measures")
_NO_VARIABLE = "This is a netCDF dimension but not a netCDF variable"
_HIDDEN = ("CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "_Netcdf4", "_NCProperties", "_nc3")


def check_packages(*names: str) -> None:
    """Raise the error that names a package which is not installed."""
    if lacking := next((name for name in names if find_spec(name) is None), None):
        raise ConvError(f'HDF5 and NetCDF need the package {lacking}: pip install "convcli[store]"')


class Library:
    """The child process for one file; `close` ends it.

    Raises
    ------
    ConvError
        Where h5py is missing.
    """

    def __init__(self, fp: IO[bytes]) -> None:
        check_packages("h5py")
        words, more = str(fp.fileno()), {"HDF5_PLUGIN_PRELOAD": "::"}  # no plug-in is ever loaded
        # Ctrl-C is for the parent to act on
        self._child = trial.started(
            __name__, words, environment=more, pass_fds=(fp.fileno(),), start_new_session=True
        )

    def describe(self, path: str) -> dict[str, Any]:
        """Return what the file says of an array, of the only one for an empty path.

        Raises
        ------
        ConvError
            For none of that name, for what is not read here, and for a damaged file.
        """
        found: dict[str, Any] = json.loads(self._answered(path=path), object_hook=_number)
        return found

    def read(self, path: str, spans: Box, dtype: np.dtype, chunk: int) -> np.ndarray:
        """Return a part of an array of this type, whose chunks are of so many bytes; errors as in `describe`."""
        part = np.empty([stop - start for start, stop in spans], dtype)
        self._answered(part, path=path, spans=spans, dtype=dtype.str, chunk=chunk)
        return part

    def _answered(self, into: np.ndarray | None = None, **request: Any) -> bytes:
        """Return what the child answers, or put it into an array."""
        commands, answers = cast(IO[bytes], self._child.stdin), cast(IO[bytes], self._child.stdout)
        try:
            commands.write(json.dumps(request).encode() + b"\n")
            commands.flush()
            kind, size = answers.readline().split()
            if kind == b"found" and into is not None:
                region.fill(answers, into.reshape(-1))
                return b""
            answer = answers.read(int(size))
        except (OSError, ValueError):
            raise ConvError("broken or truncated HDF5: its library crashes, or takes too long") from None
        if kind != b"found":
            raise ConvError(answer.decode(errors="replace"))
        return answer

    def close(self) -> None:
        trial.ended(self._child)


def _number(found: dict[str, Any]) -> Any:
    """Return numbers that JSON has with their type."""
    return np.array(*found["\0"])[()] if "\0" in found else found


class _RefusedError(Exception):
    pass


def _serve(descriptor: int) -> None:
    """Answer requests until there are no more."""
    h5py = import_module("h5py")
    answers, file = sys.stdout.buffer, None
    for line in sys.stdin.buffer:
        request = json.loads(line)
        size = prod(stop - start for start, stop in request.get("spans", ())) * 8 + request.get("chunk", 0)
        trial.limit_memory(_MEMORY + 3 * size)
        signal.setitimer(signal.ITIMER_PROF, _SECONDS + size / _PACE)  # ends the process, whatever it does
        kind = b"refused"
        try:
            file = file or h5py.File(_own(descriptor), "r", rdcc_nbytes=_CACHE)
            if "spans" in request:
                part = _array(h5py, file, request["path"])[slices(request["spans"])]
                answer = part.astype(request["dtype"], order="C", copy=False).tobytes()
            else:
                answer = json.dumps(_described(h5py, _found(h5py, file, request["path"]))).encode()
            kind = b"found"
        except _RefusedError as refusal:
            answer = str(refusal).encode(errors="replace")
        except MemoryError:
            answer = b"broken HDF5: it asks for more memory than so small a part of it can take"
        except Exception as error:  # whatever a damaged file makes h5py raise
            words = (str(error).strip().splitlines() or [type(error).__name__])[0]
            answer = f"broken or truncated HDF5: {words[:160]}".encode(errors="replace")
        answers.write(b"%s %d\n" % (kind, len(answer)))
        answers.write(answer)
        answers.flush()


def _own(descriptor: int) -> IO[bytes]:
    """Open a file once more, with a position of its own: the parent moves the one that both have."""
    try:
        return Path(f"/proc/self/fd/{descriptor}").open("rb")
    except OSError:  # no Linux: each read begins by seeking
        return os.fdopen(descriptor, "rb", 0)


def _array(h5py: Any, file: Any, path: str) -> Any:
    """Return the group or array at a path, None for nothing; links that lead elsewhere are refused."""
    here = file
    for name in filter(None, path.split("/")):
        key = name.encode(errors="surrogateescape")
        if not (isinstance(here, h5py.Group) and here.id.links.exists(key)):
            return None
        kind = here.id.links.get_info(key).type
        if kind == h5py.h5l.TYPE_SOFT:
            there = here.id.links.get_val(key).decode(errors="replace")
            raise _RefusedError(f"{name!r} is a soft link: name the array that it leads to, {there!r}")
        if kind != h5py.h5l.TYPE_HARD:
            raise _RefusedError(f"{name!r} is a link to another file, which is not opened: filter that file")
        here = here[name]
    return here


def _found(h5py: Any, file: Any, path: str) -> Any:
    """Return the array at a path, or the only one in the group there."""
    here = _array(h5py, file, path)
    if isinstance(here, h5py.Dataset):
        return here
    arrays = _arrays(h5py, file if here is None else here)
    names = [one.name for one in arrays]
    more = f" and {len(names) - _LISTED} more" * (len(names) > _LISTED)
    listed = (", ".join(names[:_LISTED]) or "no array of numbers") + more
    if here is None:
        near = get_close_matches("/" + path.strip("/"), names, n=1, cutoff=0.4)
        hint = f"did you mean ::{near[0]}? " if near else ""
        raise _RefusedError(f"there is no {path!r} in it; {hint}it holds {listed}")
    if len(arrays) != 1:
        several = f"several arrays, name one as FILE::{names[0]}: " if names else ""
        raise _RefusedError(f"it holds {several}{listed}")
    return arrays[0]


def _arrays(h5py: Any, group: Any) -> list[Any]:
    """Return the arrays of numbers in a group and below, but those that others name as their coordinates."""
    groups, found, seen, beside = [group], [], set[int](), set[str]()
    for here in groups:
        links = here.id.links
        keys = ((name, name.encode(errors="surrogateescape")) for name in sorted(here))
        for one in (here[name] for name, key in keys if links.get_info(key).type == h5py.h5l.TYPE_HARD):
            place = h5py.h5o.get_info(one.id).addr
            if place in seen:
                continue
            seen.add(place)
            if isinstance(one, h5py.Group):
                groups.append(one)
            elif isinstance(one, h5py.Dataset):
                beside |= {word for name in _BESIDE for word in str(one.attrs.get(name, "")).split()}
                if one.ndim and one.dtype.kind in "biuf" and not h5py.h5ds.is_scale(one.id):
                    found.append(one)
    return [one for one in found if one.name.rpartition("/")[2] not in beside]


def _described(h5py: Any, array: Any) -> dict[str, Any]:
    """Return the facts of an array, with those of its dimensions."""
    plan, dtype, gzip = array.id.get_create_plist(), array.dtype, array.compression == "gzip"
    filters = {plan.get_filter(index)[0] for index in range(plan.get_nfilters())} - _FILTERS
    if array.is_virtual or array.external:
        raise _RefusedError(f"{array.name!r} has its samples in other files, which are not opened")
    if array.shape is None:
        raise _RefusedError(f"{array.name!r} holds nothing")
    if filters:
        raise _RefusedError(
            f"{array.name!r} is packed by filters of others, {filters}: h5repack -f GZIP=4 FILE NEW"
        )
    above = array.name.strip("/").split("/")[:-1]
    groups = ["/", *("/" + "/".join(above[: index + 1]) for index in range(len(above)))]
    told = dtype.kind in "iuf" and "_NCProperties" not in array.file.attrs  # NetCDF's are those of attributes
    plain = plan.get_layout() == h5py.h5d.CONTIGUOUS and array.id.get_type().equal(h5py.h5t.py_create(dtype))
    return {
        "path": array.name,
        "shape": array.shape,
        "dtype": dtype.str,
        "chunks": array.chunks,
        "offset": array.id.get_offset() if plain else None,
        "packing": {
            "compression": array.compression if gzip or array.compression == "lzf" else None,
            "compression_opts": array.compression_opts if gzip else None,
            "shuffle": array.shuffle,
            "fletcher32": array.fletcher32,
        },
        "unlimited": [index for index, most in enumerate(array.maxshape) if most is None],
        "fill": float(array.fillvalue) if told else 0,
        "attributes": _attributes(array),
        "shared": {path: _attributes(array.file[path]) for path in groups},
        "dimensions": [_dimension(array.dims[index]) for index in range(array.ndim)],
    }


def _dimension(dimension: Any) -> tuple[str, str]:
    """Return the name of a dimension, and the path of its coordinates, empty where there are none."""
    scale = dimension[0] if len(dimension) else None
    if scale is None or scale.name is None:
        return dimension.label, ""
    variable = scale.ndim == 1 and _NO_VARIABLE not in str(scale.attrs.get("NAME"))
    return dimension.label or scale.name.rpartition("/")[2], scale.name if variable else ""


def _attributes(owner: Any) -> dict[str, Any]:
    """Return attributes that are texts or a few numbers; None stands for others."""
    found: dict[str, Any] = {}
    for name in (name for name in owner.attrs if not name.startswith(_HIDDEN)):
        place = owner.attrs.get_id(name)
        shape, kind, size = place.shape, place.dtype.kind, place.dtype.itemsize  # no shape of what is empty
        plain = kind in "OSU" or (kind in "biuf" and size <= 8)
        value = np.asarray(
            owner.attrs[name] if plain and shape is not None and prod(shape) <= _VALUES else None
        )
        if value.dtype.kind in "biuf":
            found[name] = {"\0": [value.tolist(), value.dtype.str]}
            continue
        value = np.char.decode(value, "utf-8", "replace") if value.dtype.kind == "S" else value
        found[name] = value.tolist() if all(isinstance(one, str) for one in value.ravel()) else None
    return found


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
