"""Sounds by libsndfile: WAV and AIFF read and written, FLAC, MP3 and Ogg written, in blocks.

Samples are whole numbers of as many bits as the file has, or floats, whose full scale is 1.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Mapping
from math import prod
from typing import IO, Any

import numpy as np
import soundfile

from convcli.common import ConvError, frozen
from convcli.data import Box, Info, Sink
from convcli.media.carriers import left_out
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.shared import decoding
from convcli.media.sounds.shared import TRUNCATED, Coding, Samples, Sequential, Sound, placed, rate_of, unheld

# Tags as FFmpeg calls them, and as libsndfile does
_TAGS = {
    name: name for name in ("title", "copyright", "artist", "comment", "date", "album", "license", "genre")
}
_TAGS["track"] = "tracknumber"
_WRITTEN = {  # of a format: libsndfile's name, what its samples can be
    "wav": ("WAV", ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    "aiff": ("AIFF", ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    "flac": ("FLAC", ("PCM_S8", "PCM_16", "PCM_24")),
    "mp3": ("MP3", ("MPEG_LAYER_III",)),
    "ogg": ("OGG", ("VORBIS",)),
    "opus": ("OGG", ("OPUS",)),
}
_RATES = {  # bits a second of one channel, at qualities from 0 to 1
    "MPEG_LAYER_III": (28e3, 33e3, 43e3, 50e3, 58e3, 65e3, 83e3, 88e3, 95e3, 113e3, 123e3),
    "VORBIS": (32e3, 40e3, 48e3, 56e3, 64e3, 80e3, 96e3, 112e3, 128e3, 160e3, 250e3),
    "OPUS": (6e3, 256e3),
}
# Channel masks of Vorbis and Opus (RFC 7845, 5.1.1.2), and MP3; FLAC's pair behind the front is at the back or at
# the sides (RFC 9639, 9.1.3); AIFF has none
_MASKS = (4, 3, 7, 0x33, 0x37, 0x3F, 0x70F, 0x63F)
_PLACED = {"AIFF": (), "FLAC": (*_MASKS, 0x607, 0x60F)}
# The order of Vorbis and Opus among the channels in the order of WAV, by their number
_ORDERS = {3: (0, 2, 1), 5: (0, 2, 1, 3, 4), 6: (0, 2, 1, 4, 5, 3), 7: (0, 2, 1, 5, 6, 4, 3),
           8: (0, 2, 1, 6, 7, 4, 5, 3)}  # fmt: skip
_EXTENSIBLE = (b"\xfe\xff", b"\xff\xfe")  # a WAV's form that has a channel mask
_MOST = 1000  # chunks that are looked at
_UNKNOWN = (0, 0x7FFFF000, 0x7FFFFFFF, 0xFFFFFFFF)  # sizes that programs write which cannot go back
_LARGE = b"\xff" * 4
_LARGEST = 4 * 10**9  # bytes of a WAV, beyond which it is an RF64


class _Careful:
    """A file for libsndfile, to which Python cannot raise: what fails is kept until `check`."""

    def __init__(self, fp: IO[bytes], head: bytes = b"", mask: int = 0) -> None:
        self._fp, self._head = fp, head  # what the file is to begin with
        self._mask = mask  # of the channels, to be written
        self._failure: Exception | None = None

    def _tried(self, action: Callable[..., Any], *given: Any) -> Any:
        if self._failure is None:
            try:
                return action(*given)
            except Exception as error:
                self._failure = error
        return None

    def __repr__(self) -> str:
        return "it"  # in libsndfile's messages

    def read(self, size: int) -> bytes:
        at, data = self.tell(), self._tried(self._fp.read, size) or b""
        return self._head[at : at + len(data)] + data[max(len(self._head) - at, 0) :]

    def write(self, data: bytes) -> int:
        if self._mask and data[:4] in (b"RIFF", b"RF64") and self.tell() == 0:
            at = data.index(b"fmt ") + 28
            data = data[:at] + struct.pack("<I", self._mask) + data[at + 4 :]
        self._tried(self._fp.write, data)
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._tried(self._fp.seek, offset, whence) or 0

    def tell(self) -> int:
        return self._tried(self._fp.tell) or 0

    def check(self) -> None:
        """Raise what has failed."""
        if self._failure is not None:
            raise self._failure


def source(fp: IO[bytes], options: ReadOptions) -> SoundSource:
    """Open a sound: axes ``XC``, ``X`` for a single channel, its samples placed in seconds.

    Raises
    ------
    ConvError
        For what libsndfile does not read, and for a file that is cut short, unless ``options.allow_truncated``.
    """
    return SoundSource(fp, options)


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> SoundSink:
    """Open a sound for writing; samples keep their bits where the format has them.

    Raises
    ------
    UsageError
        For data without an even rate, and for a type, a rate or a number of channels that the format does not hold.
    """
    return SoundSink(fp, format_name, info, options)


class SoundSource(Sequential):
    """A sound that libsndfile reads."""

    def __init__(self, fp: IO[bytes], options: ReadOptions) -> None:
        self._size, notes = fp.seek(0, 2), []
        found = _chunks(fp)
        if found.missing:
            if not options.allow_truncated:
                raise ConvError(f"cut short: {found.missing} bytes of its samples are missing; {TRUNCATED}")
            notes.append(f"cut short: {found.missing} bytes of its samples are missing")
        fp.seek(0)
        self._fp, self._careful = fp, _Careful(fp, found.head)
        with decoding("sound"):
            self._file = soundfile.SoundFile(self._careful)
        file, self._coding = self._file, Coding(self._file.subtype)
        tags = {name: text for name, own in _TAGS.items() if (text := getattr(file, own))}
        notes += left_out(found.format, found.names)
        self._begin(
            file.samplerate,
            file.channels,
            file.frames,
            tags,
            notes,
            0,
            found.mask,
            (file.format, file.endian),
        )

    def _go_to(self, start: int) -> int:
        return int(self._file.seek(start if self._coding.exact else 0))

    def _more(self, count: int) -> np.ndarray:
        with decoding("sound"):
            read = self._file.read(count, self._coding.handed, always_2d=True)
            self._careful.check()
        return self._coding.samples(read)

    def close(self) -> None:
        self._file.close()
        self._fp.close()


class SoundSink(Sink):
    """Codes samples as they come."""

    def __init__(self, fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> None:
        super().__init__(info)
        name = format_name.upper()
        container, codings = _WRITTEN[format_name]
        beside = info.companions if isinstance(info.companions, Sound) else None
        self._samples = Samples(info, name, beside, [Coding(one) for one in codings])
        rate, self.notes = rate_of(info.axis("X"), name)
        coding = self._samples.coding
        family, order = beside.order if beside else ("", "FILE")
        size = prod(info.shape) * np.dtype(coding.handed).itemsize
        large = container == "WAV" and (size > _LARGEST or family == "RF64")
        mask = 0
        if container != "WAV":
            self.notes += placed(name, info, _PLACED.get(container, _MASKS))[1]
        elif beside and beside.mask.bit_count() == info.channels:
            mask = beside.mask
            container = "WAVEX"
        form: dict[str, Any] = {"format": "RF64" if large else container, "subtype": coding.name}
        form |= {"samplerate": rate, "channels": info.channels}
        if order != "FILE" and family == container and coding.plain:
            if not large and soundfile.check_format(container, coding.name, order):
                form["endian"] = order
            else:
                self.notes += (f"the order of bytes is the usual one of {name}, not the input's",)
        if options.level is not None:
            form["compression_level"] = 1 - options.level / 100
        elif beside and beside.bits and coding.name in _RATES:
            rates = _RATES[coding.name]
            found = np.interp(beside.bits / info.channels, rates, np.linspace(0, 1, len(rates)))
            form["compression_level"] = min(1 - float(found), 0.99)  # LAME refuses 1
        tags = beside.tags if beside else {}
        lost = _refused(tags, form) if tags else []
        if lost:
            self.notes += (f"left out: tags ({', '.join(lost)}) ({name} holds none)",)
        self._careful = _Careful(fp, mask=mask)
        self._order = _ORDERS.get(info.channels) if container == "OGG" else None
        try:
            self._file = soundfile.SoundFile(self._careful, "w", **form)
        except (RuntimeError, ValueError, TypeError):
            self._careful.check()
            raise unheld(name, info, rate) from None
        for key in tags.keys() - set(lost):
            setattr(self._file, _TAGS[key], tags[key])

    def put(self, box: Box, values: np.ndarray) -> None:
        samples = self._samples.of(values)
        self._file.write(samples[:, self._order] if self._order else samples)
        self._careful.check()

    def close(self) -> None:
        self._file.close()
        self._careful.check()
        super().close()
        self.notes += self._samples.notes


def _refused(tags: Mapping[str, str], form: Mapping[str, Any]) -> list[str]:
    """Return the tags that a file of this form does not give back, tried on a short one."""
    with tempfile.TemporaryFile() as trial:
        try:
            with soundfile.SoundFile(trial, "w", **form) as file:
                for name in tags.keys() & _TAGS.keys():
                    setattr(file, _TAGS[name], tags[name])
                file.write(np.zeros((1152, form["channels"])))
            trial.seek(0)
            with soundfile.SoundFile(trial) as file:
                return [
                    name for name, text in tags.items() if getattr(file, _TAGS.get(name, ""), None) != text
                ]
        except (RuntimeError, ValueError, TypeError):
            return list(tags)


@frozen
class _Chunks:
    """What a WAV or an AIFF has beside its samples, and whether all of these are there.

    Attributes
    ----------
    format
        As ``carriers`` knows it.
    names
        Of the chunks, by ``carriers``'s keys.
    missing
        Bytes of samples that the file announces and does not hold.
    head
        What a file is to begin with whose program has not gone back to write sizes: libsndfile reads 0 as none.
    mask
        Of the channels; 0 where the file has none.
    """

    format: str
    names: tuple[str, ...] = ()
    missing: int = 0
    head: bytes = b""
    mask: int = 0


def _chunks(fp: IO[bytes]) -> _Chunks:
    """Return what the chunks of a WAV or an AIFF tell."""
    size = fp.seek(0, 2)
    fp.seek(0)
    head = fp.read(12)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return _riff("WAV", fp, size, "<" if head[:4] != b"RIFX" else ">", b"data")
    return _riff("AIFF", fp, size, ">", b"SSND")


def _streamed(fp: IO[bytes], samples: int, order: str, large: bool) -> bytes:
    """Return what a WAV of no stated size is to begin with, up to its samples; nothing where others follow them."""
    fp.seek(0)
    head = fp.read(samples)
    (announced,) = struct.unpack_from("<Q" if large else f"{order}I", head, 20 if large else 4)
    form = b"RIFF" if large else head[:4]
    return form + _LARGE + head[8:-4] + _LARGE if announced < samples else b""


def _riff(format: str, fp: IO[bytes], size: int, order: str, samples: bytes) -> _Chunks:
    names, missing, at, large, begin, mask = [], 0, 12, None, b"", 0
    for _ in range(_MOST):
        fp.seek(min(at, size))
        head = fp.read(8)
        if len(head) < 8 or not head.strip(b"\0"):
            break
        name, length = head[:4], struct.unpack(f"{order}I", head[4:])[0]
        if name == b"ds64":
            large = struct.unpack("<QQ", fp.read(16).ljust(16, b"\0"))[1]
        if name == b"fmt " and length >= 40:
            form = fp.read(24).ljust(24, b"\0")
            mask = struct.unpack(f"{order}I", form[20:])[0] if form[:2] in _EXTENSIBLE else 0
        if name == samples:
            if name == b"data" and not (length if large is None else large):
                begin = _streamed(fp, at + 8, order, large is not None)
            if length in _UNKNOWN:
                length = large or size - at - 8
            missing = max(0, at + 8 + length - size)
        listed = fp.read(min(length, 1 << 16)) if name == b"LIST" else name
        while listed[:4] == b"INFO" and len(listed) > 8:  # texts, each with a length
            names.append(listed[4:8].decode("latin-1"))
            text = int.from_bytes(listed[8:12], "little")
            listed = b"INFO" + listed[12 + text + text % 2 :]
        names.append(listed[:4].decode("latin-1").strip())
        at += 8 + length + length % 2
    return _Chunks(format, tuple(names), missing, begin, mask)
