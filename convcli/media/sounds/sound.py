"""Sounds by libsndfile: WAV and AIFF read and written, FLAC, MP3 and Ogg written, in blocks.

Samples are whole numbers of as many bits as the file has, or floats, whose full scale is 1.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from math import prod
from typing import IO, Any

import numpy as np
import soundfile

from convcli.common.errors import ConvError
from convcli.data.box import Box
from convcli.data.info import Info, Sink
from convcli.media.carriers import left_out
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.shared import decoding
from convcli.media.sounds import chunks
from convcli.media.sounds.shared import TRUNCATED, Coding, Samples, Sequential, Sound, rate_of, unheld

_TAGS = (
    *("title", "copyright", "software", "artist", "comment", "date", "album", "license"),
    *("tracknumber", "genre"),
)
_WRITTEN = {  # of a format: libsndfile's name, what its samples can be
    "wav": ("WAV", ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    "aiff": ("AIFF", ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    "flac": ("FLAC", ("PCM_S8", "PCM_16", "PCM_24")),
    "mp3": ("MP3", ("MPEG_LAYER_III",)),
    "ogg": ("OGG", ("VORBIS",)),
    "opus": ("OGG", ("OPUS",)),
}
_LARGEST = 4 * 10**9  # bytes of a WAV, beyond which it is an RF64


class _Careful:
    """A file for libsndfile, to which Python cannot raise: what fails is kept until `check`."""

    def __init__(self, fp: IO[bytes]) -> None:
        self._fp = fp
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
        return self._tried(self._fp.read, size) or b""

    def write(self, data: bytes) -> int:
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
        found = chunks.scan(fp)
        if found.missing:
            if not options.allow_truncated:
                raise ConvError(f"cut short: {found.missing} bytes of its samples are missing; {TRUNCATED}")
            notes.append(f"cut short: {found.missing} bytes of its samples are missing")
        fp.seek(0)
        self._fp, self._careful = fp, _Careful(fp)
        with decoding("sound"):
            self._file = soundfile.SoundFile(self._careful)
        file, self._coding = self._file, Coding(self._file.subtype)
        tags = {name: text for name in _TAGS if (text := getattr(file, name))}
        tags.pop("software", None)  # another program writes the result
        notes += left_out(found.format, found.names)
        self._begin(file.samplerate, file.channels, file.frames, tags, notes)

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
        large = container == "WAV" and prod(info.shape) * np.dtype(coding.handed).itemsize > _LARGEST
        form: dict[str, Any] = {"format": "RF64" if large else container, "subtype": coding.name}
        form |= {"samplerate": rate, "channels": info.channels}
        if options.quality is not None:
            form["compression_level"] = 1 - options.quality / 100
        tags = beside.tags if beside else {}
        lost = _refused(tags, form) if tags else []
        if lost:
            self.notes += (f"left out: tags ({', '.join(lost)}) ({name} holds none)",)
        self._careful = _Careful(fp)
        try:
            self._file = soundfile.SoundFile(self._careful, "w", **form)
        except (RuntimeError, ValueError, TypeError):
            self._careful.check()
            raise unheld(name, info, rate) from None
        for key in tags.keys() - set(lost):
            setattr(self._file, key, tags[key])

    def put(self, box: Box, values: np.ndarray) -> None:
        self._file.write(self._samples.of(values))
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
                for name in tags.keys() & set(_TAGS):
                    setattr(file, name, tags[name])
                file.write(np.zeros((1152, form["channels"])))
            trial.seek(0)
            with soundfile.SoundFile(trial) as file:
                return [name for name, text in tags.items() if getattr(file, name, None) != text]
        except (RuntimeError, ValueError, TypeError):
            return list(tags)
