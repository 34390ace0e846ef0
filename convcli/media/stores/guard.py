"""What zarr may do with a stranger's store: open its own files, unpack a chunk to the size that its metadata says."""

from __future__ import annotations

import asyncio
import bz2
import logging
import lzma
import stat
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from math import prod
from typing import Any

from convcli.common import ConvError
from convcli.media.shared import decoding

try:
    import zarr
except ImportError:
    raise ConvError('Zarr needs the package zarr: pip install "convcli[store]"') from None
from zarr.abc.store import ByteRequest
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, BufferPrototype, NDBuffer
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.core.sync import sync
from zarr.registry import register_pipeline
from zarr.storage import LocalStore

_METADATA = 1 << 26  # bytes of a file of metadata, at most
_WIDEST = 8  # bytes of a sample, also where a filter makes others of it
_SPARE = 1 << 20  # bytes that a chunk may be longer than its samples: an index, checksums
_STREAMS: dict[str, Callable[[], Any]] = {  # whose streams do not say how long they become
    "zlib": zlib.decompressobj,
    "gzip": partial(zlib.decompressobj, 31),
    "bz2": bz2.BZ2Decompressor,
    "lzma": lzma.LZMADecompressor,
}
_STATED = {"blosc": slice(4, 8), "lz4": slice(4)}  # where others say it
_ZSTD = b"\x28\xb5\x2f\xfd"
_BLOCK = 1 << 17  # bytes of a block of Zstandard, unpacked, at most
_LOCK = threading.Lock()


class Inside(LocalStore):
    """A folder of which no link leads out."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        place = self.root / key
        real = place.resolve()
        if not real.is_relative_to(self.root.resolve()):
            raise ConvError(f"{key!r} in it is a link that leads out of it, which is not followed")
        if real.exists():
            found = real.stat()
            if stat.S_ISDIR(found.st_mode):
                return None
            if not stat.S_ISREG(found.st_mode):
                raise ConvError(f"{key!r} in it is no regular file")
            if key.endswith((".json", ".zarray", ".zgroup", ".zattrs")) and found.st_size > _METADATA:
                raise ConvError(f"its metadata {key!r} takes {found.st_size >> 20} MB")
        return await super().get(key, prototype, byte_range)


class Guard(BatchedCodecPipeline):
    """Decodes chunks that become no longer than their samples."""

    async def decode_batch(
        self, chunk_bytes_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]
    ) -> Iterable[NDBuffer | None]:
        pairs = list(chunk_bytes_and_specs)
        for data, spec in pairs:
            if data is not None:
                most = prod(spec.shape) * _WIDEST + _SPARE
                await asyncio.to_thread(check, self._compressors, data.to_bytes(), most)
        return await super().decode_batch(pairs)

    @property
    def _compressors(self) -> list[str]:
        """The names of its compressors, as numcodecs has them, the last first."""
        own = self.array_bytes_codec
        v2 = [getattr(own, "compressor", None), *(getattr(own, "filters", None) or ())[::-1]]
        names = [type(codec).__name__.lower().removesuffix("codec") for codec in self.bytes_bytes_codecs]
        return [
            name
            for name in (*names[::-1], *(getattr(codec, "codec_id", "") for codec in v2))
            if name in (*_STREAMS, *_STATED, "zstd")
        ]


def check(compressors: list[str], data: bytes, most: int) -> None:
    """Refuse a chunk that would become longer than ``most`` bytes, and compressors in a row, which hide it.

    Raises
    ------
    ConvError
    """
    if len(compressors) > 1:
        raise ConvError(f"its chunks are packed twice: {' and '.join(compressors)}")
    for name in compressors or [""]:
        size = len(data)
        if name in _STATED:
            size = int.from_bytes(data[_STATED[name]], "little")
        elif name == "zstd":
            size = _zstd(data)
        elif name:
            size = 0
            while data and size <= most:
                stream = _STREAMS[name]()
                size += len(stream.decompress(data, most + 1))
                data = stream.unused_data
        if size > most:
            raise ConvError(f"a chunk becomes longer than the {most - _SPARE} bytes that its samples take")


def _zstd(data: bytes) -> int:
    """Return how long frames of Zstandard become, at most (RFC 8878, section 3.1.1)."""
    size = at = 0
    while data[at : at + 4] == _ZSTD and at + 5 < len(data):
        how = data[at + 4]
        single = how >> 5 & 1
        at += 6 - single + (0, 1, 2, 4)[how & 3]
        width = (single, 2, 4, 8)[how >> 6]
        if width:  # all that numcodecs makes room for
            return int.from_bytes(data[at : at + width], "little") + 256 * (width == 2)
        last = 0
        while not last and at + 3 <= len(data):
            block = int.from_bytes(data[at : at + 3], "little")
            last, kind, length = block & 1, block >> 1 & 3, block >> 3
            size += length if kind < 2 else _BLOCK
            at += 3 + (1 if kind == 1 else length)
        at += 4 * (how >> 2 & 1)
    return max(size - _BLOCK, 0)


register_pipeline(Guard)
logging.getLogger("asyncio").addHandler(logging.NullHandler())  # what else was under way when zarr gave up


@contextmanager
def writing() -> Iterator[None]:
    """Turn what zarr raises into one line, but for what the system says, which is not about the data.

    What it writes at the same time ends first: later, the folder may be another's.
    """
    try:
        with decoding("Zarr"):
            yield
    except BaseException as error:
        sync(_others())
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise


async def _others() -> None:
    """Wait for all else that is under way."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*others, return_exceptions=True)


@contextmanager
def guarded() -> Iterator[None]:
    """Let zarr decode with the guard, one thread at a time: its settings are the process's.

    What it raises on broken stores becomes one line.
    """
    with (
        decoding("Zarr"),
        _LOCK,
        zarr.config.set({"codec_pipeline.path": f"{Guard.__module__}.{Guard.__qualname__}"}),
    ):
        try:
            yield
        except (zlib.error, lzma.LZMAError) as error:  # which have no class of Python's
            raise ValueError(str(error)) from None
