"""MetaImage in single files (``.mha``), read and written in parts.

The header is text (https://itk.org/Wiki/ITK/MetaIO/Documentation), read and written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from typing import IO

import numpy as np
from isal import isal_zlib

from convcli.common import ConvError
from convcli.data import Info
from convcli.media.carriers import LOST
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.region import RegionSink
from convcli.media.volumes.voxels import LPS, Placed, VoxelSource, millimetres, reading, sizes_of, unpacked

_MOST = 1 << 20  # bytes of a header
_TYPES = {  # of one sample; LONG has 4 bytes everywhere
    "CHAR": "i1", "UCHAR": "u1", "SHORT": "i2", "USHORT": "u2", "INT": "i4", "UINT": "u4", "LONG": "i4",
    "ULONG": "u4", "LONG_LONG": "i8", "ULONG_LONG": "u8", "FLOAT": "f4", "DOUBLE": "f8",
}  # fmt: skip
_NAMES = {np.dtype(code).name: name for name, code in reversed(_TYPES.items())}
_SAME = {  # other names of fields
    "Position": "Offset", "Origin": "Offset", "Orientation": "TransformMatrix", "Rotation": "TransformMatrix",
    "ElementByteOrderMSB": "BinaryDataByteOrderMSB",
}  # fmt: skip
_OTHERS = (  # fields that results do not have
    "ElementSize", "CompressedDataSize", "ElementMin", "ElementMax", "HeaderSize", "DistanceUnits", "ElementDataFile",
)  # fmt: skip


def source(fp: IO[bytes], options: ReadOptions) -> VoxelSource:
    """Open a volume; only its header is read.  A compressed one is first unpacked into a temporary file.

    The axes are X, Y, Z and T, the fastest first, with channels that are faster still.

    Raises
    ------
    ConvError
        For another object than an image, samples in other files, and a file that is damaged or cut short.
    """
    fp.seek(0)
    head, fields = _header(fp)
    offset = len(head)
    if fields.get("ObjectType", "Image") != "Image":
        raise ConvError(f"a MetaIO {fields['ObjectType']}: only images can be filtered")
    if fields["ElementDataFile"].upper() != "LOCAL":
        raise ConvError("a header whose samples lie in other files: save both as one .mha")
    with reading():
        rank, sizes = int(fields["NDims"]), [*map(int, fields["DimSize"].split())]
        if not 1 <= rank == len(sizes) <= 4 or min(sizes) < 1 or int(fields.get("HeaderSize", 0)):
            raise ConvError(f"{rank} axes of {sizes} samples")
        name = fields["ElementType"].removeprefix("MET_").removesuffix("_ARRAY")
        dtype = np.dtype((">" if _true(fields, "BinaryDataByteOrderMSB") else "<") + _TYPES[name])
        channels = int(fields.get("ElementNumberOfChannels", 1))
        spacing = _numbers(fields, ["ElementSpacing", "ElementSize"], np.ones(rank))
        first = _numbers(fields, ["Offset"], np.zeros(rank))
        turned = _numbers(fields, ["TransformMatrix"], np.eye(rank).ravel()).reshape(rank, rank)
        space = min(rank, 3)
        unit = fields.get("DistanceUnits", "mm")
        factor = float(millimetres(1, unit).spacing)
        affine = np.eye(4)
        affine[:space, :space] = turned[:space, :space].T * spacing[:space] * factor
        affine[:space, 3] = first[:space] * factor
        places = {
            one: millimetres(abs(step), unit)
            for one, step in zip("XYZ", spacing.tolist(), strict=False)
            if step
        }
        if rank > 3 and spacing[3]:
            places["T"] = millimetres(float(spacing[3]), "", float(first[3]))
    letters, shape = "XYZT"[:rank][::-1], sizes[::-1]
    if channels != 1:
        letters, shape = f"{letters}C", [*shape, channels]
    if _true(fields, "CompressedData"):
        fp.seek(offset)
        length = prod(shape) * dtype.itemsize
        fp, offset = unpacked(fp, _Inflated(fp), lambda _: length), 0
    lost, affine = [name for name in fields if name in LOST["MHA"]], np.diag([*LPS, 1]) @ affine
    return VoxelSource(fp, "mha", head, letters, shape, dtype, affine, places, lost=lost, offset=offset)


def _header(fp: IO[bytes]) -> tuple[bytes, dict[str, str]]:
    """Return a header and its fields; the name of the data's file ends it."""
    head, fields = b"", dict[str, str]()
    while "ElementDataFile" not in fields:
        line = fp.readline(_MOST)
        name, equals, value = line.decode(errors="replace").partition("=")
        head += line
        if not equals or len(head) > _MOST:
            raise ConvError("cut short in its header")
        fields[_SAME.get(name.strip(), name.strip())] = value.strip()
    return head, fields


def _true(fields: dict[str, str], name: str) -> bool:
    return fields.get(name, "")[:1].upper() in ("T", "1")


def _numbers(fields: dict[str, str], names: Sequence[str], usual: np.ndarray) -> np.ndarray:
    """Return the numbers of the first field that is there."""
    text = next((fields[name] for name in names if name in fields), None)
    found = usual if text is None else np.array(text.split(), float)
    if found.shape != usual.shape or not np.isfinite(found).all():
        raise ValueError(f"{names[0]} = {text}: {usual.size} numbers are needed")
    return found


class _Inflated:
    """Samples that are compressed as zlib does it, as a file to be read once."""

    def __init__(self, fp: IO[bytes]) -> None:
        self._fp, self._inflate = fp, isal_zlib.decompressobj()

    def read(self, size: int) -> bytes:
        found = b""
        while not found and not self._inflate.eof:
            packed = self._inflate.unconsumed_tail or self._fp.read(size)
            if not packed:
                raise EOFError("cut short")
            found = self._inflate.decompress(packed, size)
        return found

    def close(self) -> None:
        self._fp.close()


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> MetaSink:
    """Open a volume for writing, with the header of the input where that was one."""
    return MetaSink(fp, info)


class MetaSink(RegionSink):
    """A MetaImage, not compressed; matrix and offset follow the samples."""

    def __init__(self, fp: IO[bytes], info: Info) -> None:
        placed = Placed(info, "mha")
        affine, sizes = placed.affine(LPS), sizes_of(info, "XYZT")
        if (affine[2] != (0, 0, 1, 0)).any():
            sizes += [1] * (3 - len(sizes))  # a slice that lies in space
        rank, space = len(sizes), min(len(sizes), 3)
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        turned, step, first = np.eye(rank), np.ones(rank), np.zeros(rank)
        turned[:space, :space] = (affine[:3, :3] / spacing)[:space, :space].T
        step[:space], first[:space] = spacing[:space], affine[:space, 3]
        if rank > 3 and "T" in placed.told:
            step[3], first[3] = placed.told["T"][:2]
        fields = {
            "ObjectType": "Image",
            "NDims": rank,
            "BinaryData": True,
            "BinaryDataByteOrderMSB": False,
            "CompressedData": False,
            "TransformMatrix": _text(turned.ravel().tolist()),
            "Offset": _text(first.tolist()),
            "ElementSpacing": _text(step.tolist()),
            "DimSize": _text(sizes),
            "ElementNumberOfChannels": info.channels,
            "ElementType": f"MET_{_NAMES[info.dtype]}",
        }
        lines = [f"{name} = {value}\n".encode() for name, value in fields.items()]
        for line in placed.header.splitlines():
            if line.decode(errors="replace").partition("=")[0].strip() not in {*fields, *_SAME, *_OTHERS}:
                lines.append(line.rstrip() + b"\n")
        self.notes += tuple(f"{what} left out: MHA holds none" for what in placed.lost)
        head = b"".join([*lines, b"ElementDataFile = LOCAL\n"])
        fp.write(head)
        super().__init__(fp, info, len(head), np.dtype(info.dtype).newbyteorder("<"), "TZYXC")


def _text(values: Iterable[object]) -> str:
    return " ".join(map(str, values))
