"""Compressed sounds by FFmpeg's libraries: FLAC, MP3, AAC, ALAC, Vorbis, Opus.  They write M4A; libsndfile the rest."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from typing import IO, Any

import av
import av.error
import numpy as np
from av.codec.context import Flags2

from convcli.common import ConvError
from convcli.data import Box, Info, Sink
from convcli.media.clips.scan import VideoFile, libav, pictures
from convcli.media.clips.tracks import Written, tags_of
from convcli.media.options import ReadOptions, WriteOptions
from convcli.media.sounds.shared import (
    PLACES,
    TRUNCATED,
    Coding,
    Samples,
    Sequential,
    Sound,
    placed,
    rate_of,
    unheld,
)

ALAC = (Coding("ALAC_16"), Coding("ALAC_24"))
MOST_PLANES = 8  # of a frame, which PyAV can reach
_TWO_PAGES = 1 << 17  # of an Ogg, in bytes
_BROKEN = "broken or truncated sound"
# Of what FFmpeg writes into M4A; `language` is the track's
_KNOWN = (
    *("title", "artist", "album", "composer", "date", "comment", "genre", "copyright", "grouping", "lyrics"),
    *(
        "description",
        "synopsis",
        "show",
        "episode_",
        "network",
        "keywords",
        "season_number",
        "media_type",
        "hd_video",
    ),
    *("gapless_playback", "compilation", "track", "disc", "tmpo", "creation_time", "language"),
)
# Channel masks that FFmpeg's encoders write and its decoders give back, the usual one of as many channels first
_MASKS = {
    "alac": (4, 3, 7, 0x107, 0x37, 0x3F, 0x13F, 0xFF),
    "aac": (4, 3, 7, 0xB, 0x107, 0x33, 0x37, 0x3F, 0x63F),
}
_OTHERS = {7: "6.1"}  # whose channels come back in order, without places


def source(fp: IO[bytes], options: ReadOptions) -> CodedSource:
    """Open a sound: axes ``XC``, ``X`` for a single channel; it is decoded once where that alone counts its samples.

    Raises
    ------
    ConvError
        Without sound, and for a file that is cut short, unless ``options.allow_truncated``.
    """
    return CodedSource(fp, *_demuxer(fp, options.allow_truncated), options)


def contained(fp: IO[bytes], options: ReadOptions) -> CodedSource:
    """Open the sound of a container of clips; errors as in `source`."""
    from convcli.media.clips.reader import demuxer

    name = demuxer(fp.read(1024))
    return CodedSource(fp, name, name == "mov", options)


def sink(fp: IO[bytes], format_name: str, info: Info, options: WriteOptions) -> CodedSink:
    """Open an M4A for writing: ALAC where the source was, else AAC.

    Raises
    ------
    UsageError
        For data without an even rate, and for a rate or a number of channels that the codec does not have.
    """
    return CodedSink(fp, info)


def _demuxer(fp: IO[bytes], tolerant: bool) -> tuple[str, bool]:
    """Return FFmpeg's name of the container, and whether it says exactly how many samples there are."""
    size = fp.seek(0, 2)
    fp.seek(0)
    head = fp.read(10)
    if head[:3] == b"ID3":
        tag = sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        fp.seek(10 + tag)
        head = fp.read(4)
    if head[4:8] == b"ftyp":
        return "mov", True
    if head[:4] == b"OggS":
        _check_pages(fp, tolerant)
    if head[:4] in (b"fLaC", b"OggS"):
        return "flac" if head[:4] == b"fLaC" else "ogg", True
    if head[:1] == b"\xff" and head[1] & 6 == 0:  # layer 0
        return "aac", False
    beside = size - fp.tell() + len(head)
    told = re.search(rb"(?s)(?:Xing|Info)\0{3}[\3\7\x0b\x0f].{4}(.{4})", fp.read(256))  # frames, bytes
    beside -= int.from_bytes(told[1]) if told else 0
    if beside < 0 and not tolerant:
        raise ConvError(f"cut short: {-beside} bytes of its samples are missing; {TRUNCATED}")
    return "mp3", told is not None and beside <= 128  # ID3v1


def _check_pages(fp: IO[bytes], tolerant: bool) -> None:
    """Refuse what FFmpeg loses parts of: sounds one after another, and a missing end (RFC 3533, 6: the flags)."""
    flags, rest = b"", b""
    fp.seek(0)
    while block := fp.read(1 << 20):
        found = re.findall(rb"OggS\0([\0-\7])", rest + block)
        if not found and len(block) == 1 << 20:  # a page has 64 kB at most
            raise ConvError("broken sound: it goes on without pages")
        flags, rest = flags + b"".join(found), block[-5:]
    if re.search(rb"[^\2\3][\2\3]", flags):
        raise ConvError("it holds several sounds one after another: `ffmpeg -i IN.ogg OUT.wav` joins them")
    if not (flags[-1:] >= b"\4" or tolerant):
        raise ConvError(f"cut short: its last page is missing; {TRUNCATED}")


def _places(layout: av.AudioLayout) -> tuple[int, int]:
    """Return how many channels a layout has, and the mask of more than two; refuse an order that no mask tells."""
    names = [one.name for one in layout.channels]
    places = [PLACES.index(name) for name in names if name in PLACES]
    if "(" in layout.name and places != sorted(places):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))  # PyAV frees it, and its context does so again
        order = "+".join(PLACES[place] for place in sorted(places))
        raise ConvError(
            f"its channels have an order of their own ({' '.join(names)}): "
            f"`ffmpeg -i IN -af aformat=channel_layouts={order} OUT.wav` sorts them"
        )
    known = len(names) > 2 and places == sorted(places)
    return len(names), sum(1 << place for place in places) if known else 0


def _coding(context: Any) -> Coding:
    """Return how a decoder's samples are stored; its configuration says how many bits lossless ones have."""
    told = context.extradata or b""
    if context.name == "alac" and len(told) > 17:  # Apple's ALACMagicCookie
        return Coding(f"ALAC_{told[17]}")
    if context.name == "flac" and len(told) > 13:  # FLAC's STREAMINFO
        bits = ((told[12] & 1) << 4 | told[13] >> 4) + 1
        return Coding("PCM_S8" if bits == 8 else f"PCM_{bits}")
    name = context.name.removesuffix("float")
    form = context.format.name.removesuffix("p") if context.format else ""
    if form in ("s16", "s32"):
        return Coding("PCM_24" if "s24" in name else f"PCM_{form[1:]}")
    if form == "dbl" or name.startswith("pcm_f"):
        return Coding("DOUBLE" if form == "dbl" else "FLOAT")
    names = {"mp3": "MPEG_LAYER_III", "vorbis": "VORBIS", "opus": "OPUS"}
    return Coding("PCM_U8" if form == "u8" else names.get(name, "AAC"))


class CodedSource(Sequential):
    """A sound that FFmpeg's libraries read.

    Parameters
    ----------
    demuxer : str
        FFmpeg's name of the container.
    counted : bool
        Whether the file says exactly how many samples it has.
    """

    _container: Any = None
    _rest: np.ndarray

    def __init__(self, fp: IO[bytes], demuxer: str, counted: bool, options: ReadOptions) -> None:
        fp.seek(0)
        # The only page of samples of an Ogg tells their end, and no beginning
        short = demuxer == "ogg" and fp.read(_TWO_PAGES).count(b"OggS\0") <= 3 and fp.seek(0, 2) < _TWO_PAGES
        self._file = VideoFile(fp, demuxer, options.max_pixels)
        self._file.what = "sound"
        self._size = self._file.size
        self._go_to(0)
        stream, context = self._stream, self._stream.codec_context
        self._coding, rate = _coding(context), context.sample_rate
        if not rate:
            raise ConvError("broken sound: it gives no sample rate")
        self._rest = next(
            self._parts, self._rest
        )  # tells the channels, of which headers sometimes say others
        channels = len(self._rest.T)
        streams, films = self._container.streams, len(pictures(self._container))
        beside = {"further sounds": len(streams.audio) > 1, "chapters": self._container.chapters(),
                  "cover picture": len(streams.video) > films, "video": films}  # fmt: skip
        others = [name for name, there in beside.items() if there]
        notes = [f"left out of the sound: {', '.join(others)}"] if others else []
        length = round((stream.duration or 0) * stream.time_base * rate) if counted else 0
        if length and context.name == "opus":
            length -= int.from_bytes(context.extradata[10:12], "little")  # RFC 7845, 5.1
        if length and demuxer == "ogg" and stream.start_time and not short:
            length -= self._before(context.name == "opus")
        count = announced = self._end(length, rate) if demuxer == "mov" else length
        if not announced or short or options.allow_truncated:
            count = self._counted(options.allow_truncated)
            announced = min(count, announced) if short else announced
            notes += [f"cut short: {count} of {announced} samples are there"] * (count < announced)
        count = min(count, announced or count)  # the last packet is padded
        bits = context.bit_rate or self._container.bit_rate or 0
        mask = _places(context.layout)[1]
        self._begin(rate, channels, count, tags_of(self._container), notes, bits, mask)

    def _go_to(self, start: int) -> int:
        if self._container is not None:
            self._container.close()
        self._container = self._file.open()
        sounds = self._container.streams.audio
        if not sounds or sounds[0].codec_context is None:
            raise ConvError("it holds no sound that can be decoded")
        self._stream = sounds[0]
        channels = _places(self._stream.codec_context.layout)[0]
        if (self._stream.codec_context.name, self._container.format.name) == ("vorbis", "ogg"):
            self._stream.codec_context.flags2 |= Flags2.skip_manual  # a whole last block would be cut
        self._parts = self._decoding()
        self._rest = np.empty((0, channels), np.int16)
        return 0

    def _before(self, opus: bool) -> int:
        """Return what FFmpeg counts of an Ogg whose times begin after 0: those of Opus, Vorbis's first packet."""
        if opus:
            return int(self._stream.start_time)
        self._go_to(0)
        with libav(_BROKEN):
            first = next(self._container.demux(self._stream)).duration or 0
        self._go_to(0)
        return int(first)

    def _end(self, announced: int, rate: int) -> int:
        """Return how many samples an MP4 has: its edit list counts in coarser units, down to 1/600 s."""
        with libav(_BROKEN):
            parts = self._container.demux(self._stream)
            end = max((one.pts + one.duration for one in parts if one.pts is not None), default=0)
        self._go_to(0)
        end = round(end * self._stream.time_base * rate)
        return end if abs(end - announced) <= rate / 600 else announced

    def _decoding(self) -> Iterator[np.ndarray]:
        first = packed = None
        with libav(_BROKEN):
            frames = self._container.decode(self._stream)
            if self._stream.codec_context.flags2 & Flags2.skip_manual:
                next(frames, None)  # the first block of Vorbis gives no samples
            for frame in frames:
                form = frame.layout.nb_channels, frame.sample_rate, frame.format.name
                first = first or form
                if form != first:
                    raise ConvError("its channels, its rate or its type change on the way")
                if form[0] > MOST_PLANES:
                    raise ConvError(f"{form[0]} channels: a sound of up to {MOST_PLANES} can be decoded")
                if form[0] == MOST_PLANES and frame.format.is_planar:  # PyAV finds a plane too many
                    packed = packed or av.AudioResampler(format=frame.format.packed.name)
                    frame.pts = None
                    (frame,) = packed.resample(frame)
                values = frame.to_ndarray()
                if values.dtype == np.uint8:
                    values = (values ^ 128).view(np.int8).astype(np.int16) << 8
                yield values.T if frame.format.is_planar else values.reshape(-1, form[0])

    def _more(self, count: int) -> np.ndarray:
        parts, there = [self._rest] * (len(self._rest) > 0), len(self._rest)
        while there < count and (part := next(self._parts, None)) is not None:
            parts.append(part)
            there += len(part)
        whole = np.concatenate(parts or [self._rest])
        self._rest = whole[count:]
        return self._coding.samples(whole[:count])

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.close()


class CodedSink(Sink):
    """Codes samples as they come."""

    def __init__(self, fp: IO[bytes], info: Info) -> None:
        super().__init__(info)
        rate, self.notes = rate_of(info.axis("X"), "M4A")
        beside = info.companions if isinstance(info.companions, Sound) else None
        codings = ALAC if beside and beside.coding.name.startswith("ALAC") else (Coding("AAC"),)
        self._samples = Samples(info, "M4A", beside, codings)
        exact = {"movie_timescale": str(rate)}
        self._output = av.open(Written(fp), "w", format="ipod", container_options=exact)
        tags = beside.tags if beside else {}
        self._output.metadata.update(tags)
        if lost := [key for key in tags if not key.startswith(_KNOWN)]:
            self.notes += (f"left out: tags ({', '.join(lost)}) (M4A holds none)",)
        codec = "alac" if codings is ALAC else "aac"
        mask, lost_places = placed("M4A", info, _MASKS[codec])
        self.notes += lost_places
        try:
            self._stream: Any = self._output.add_stream(codec, rate=rate)
            self._stream.metadata.update({key: tags[key] for key in tags.keys() & {"language"}})
            context: Any = self._stream.codec_context
            context.layout = f"{mask:#x}" if mask else _OTHERS.get(info.channels, "")
            context.format = {"int16": "s16p", "int32": "s32p"}.get(self._samples.coding.handed, "fltp")
            if beside and beside.bits:
                context.bit_rate = beside.bits
            context.open()
        except (av.error.FFmpegError, ValueError):
            raise unheld("M4A", info, rate) from None
        self._written = 0

    def put(self, box: Box, values: np.ndarray) -> None:
        samples = np.ascontiguousarray(self._samples.of(values).reshape(1, -1))
        context: Any = (
            self._stream.codec_context
        )  # which takes planes: PyAV makes these, and cannot hand on eight
        frame = av.AudioFrame.from_ndarray(samples, context.format.packed.name, context.layout.name)
        frame.sample_rate, frame.pts = context.sample_rate, self._written
        self._written += len(values)
        self._mux(frame)

    def _mux(self, frame: av.AudioFrame | None) -> None:
        with libav("the encoder failed"):
            self._output.mux(self._stream.encode(frame))

    def close(self) -> None:
        super().close()
        self._mux(None)
        self._output.close()
        self.notes += self._samples.notes
