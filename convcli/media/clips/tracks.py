"""What else is in a clip's file: sound, subtitles, covers, attachments, tags and chapters, copied as they are.

No list says what a container holds: each track is written into a small file in memory, and what is read back from
there is what it holds.  The pictures themselves are in `writer`.
"""

import io
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import IO, Any

import av
import av.error
from av.stream import Discard, Disposition

from convcli.media.clips.scan import pictures, start_of

_STAND_IN = {"webm": "libvpx", "yuv4mpegpipe": "rawvideo"}  # a quick encoder for trials; all others MPEG-4
_DEMUXERS = {"mp4": "mov", "webm": "matroska"}  # of a muxer, where it is called otherwise
_FIRST = 16  # packets of each track with sound that are tried
_ABOUT_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder", "software")
_ABOUT_THE_CODE = (
    "encoder",
    "alpha_mode",
    "rotate",
    "duration",
    "vendor_id",
    "bps",
    "number_of_",
    "_statistics",
)
REFUSALS = (av.error.FFmpegError, ValueError, LookupError, OverflowError)  # what muxers and PyAV raise
_COVERS = {"mjpeg": ("cover.jpg", "image/jpeg"), "png": ("cover.png", "image/png")}


class Written:
    """A file for muxers: they write on after a failure, and PyAV prints all that follow, so only one is raised."""

    def __init__(self, fp: IO[bytes]) -> None:
        self._fp, self._failed = fp, False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fp, name)

    def write(self, data: bytes) -> int:
        return self._until_it_fails(self._fp.write, data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._until_it_fails(self._fp.seek, offset, whence)

    def _until_it_fails(self, action: Callable[..., int], *given: Any) -> int:
        if self._failed:
            return 0
        try:
            return action(*given)
        except Exception:
            self._failed = True
            raise


def name_of(stream: Any) -> str:
    """Return a track in words, such as ``audio stream (dts)``."""
    if stream.disposition & Disposition.attached_pic:
        return "cover picture"
    context = stream.codec_context
    codec = context.codec.canonical_name if context else getattr(stream, "name", None)
    return f"{stream.type} stream ({codec or 'unknown'})"


def _others(container: Any) -> list[Any]:
    """Return all tracks but the pictures, and what MP4 has as tracks of its own: the chapters, the time code."""
    known = [s for s in container.streams if s.discard == Discard.all] if container.chapters() else []
    known += [s for s in container.streams if s.type == "data" and "timecode" in s.metadata]
    return [s for s in container.streams if s not in pictures(container) and s not in known]


def carried(container: Any) -> tuple[str, ...]:
    """Return what a file has beside its pictures, in words."""
    extras = {"chapters": container.chapters(), "tags": _tags(container.metadata, _ABOUT_THE_FILE)}
    extras |= {key: pictures(container)[0].metadata.get(key) for key in ("title", "language", "timecode")}
    there = (name for name, value in extras.items() if value and value != "und")
    return (*_counted(_others(container)), *there)


def _counted(streams: Iterable[Any]) -> list[str]:
    """Return tracks in words: ``audio stream (aac)``, ``2 cover pictures``."""
    counted = Counter(map(name_of, streams))
    several = {name: re.sub(r"stream|picture", r"\g<0>s", name, count=1) for name in counted}
    return [name if count == 1 else f"{count} {several[name]}" for name, count in counted.items()]


def _tags(metadata: Mapping[str, str], without: Sequence[str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if not key.lower().startswith(tuple(without))}


def tags_of(container: Any) -> dict[str, str]:
    """Return what a file of sound says about itself; some containers say it of its track."""
    said = {**container.streams.audio[0].metadata, **container.metadata}
    named = {key.lower(): text for key, text in said.items() if text != "und"}
    return _tags(named, (*_ABOUT_THE_FILE, *_ABOUT_THE_CODE, "handler_name"))


class Tracks:
    """The tracks of a source that an output holds, their packets in order of time.

    Parameters
    ----------
    source
        The file of the source, opened once more; closed with the tracks.
    output
        A container whose pictures alone are there so far.
    picture
        The output's track of pictures.
    name
        The output's format, for people.
    sound
        Whether sound and subtitles are wanted.
    begin
        The time of the output's first frame, in seconds, where the output begins there; the sound before it is left
        out.
    end
        Where the output ends, in seconds; by default with the source.  What lies outside is left out in silence then.
    """

    def __init__(
        self,
        source: Any,
        output: Any,
        picture: Any,
        name: str,
        sound: bool,
        begin: Fraction,
        end: Fraction | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._source, self._muxer, self._name = source, output.format.name, name.upper()
        self._shift, self._cut = start_of(source) + begin, begin > 0
        said = f"the sound before the first frame is left out: {self._name} has no times"
        self._unheard = [said] if end is None else []
        self._first = pictures(source)[0]
        self._about = _tags(source.metadata, _ABOUT_THE_FILE)
        self._chapters = self._shifted(source.chapters(), None if end is None else end - begin)
        self._lost: Counter[str] = Counter()
        wanted = [s for s in _others(source) if sound or s.type not in ("audio", "subtitle")]
        self._packets: Iterator[Any] = source.demux(wanted) if wanted else iter(())
        count = sum({"audio": _FIRST, "video": 1}.get(s.type, 0) for s in wanted)
        peeked = list(itertools.islice(iter(self._next, None), count))
        firsts: dict[int, list[Any]] = {}
        for packet in peeked:
            if packet.size:
                firsts.setdefault(packet.stream_index, []).append(packet)
        held = [stream for stream in wanted if self._holds(stream, firsts.get(stream.index, []))]
        for words in _counted(stream for stream in wanted if stream not in held):
            what, they = (f"{words} are", "them") if words[0].isdigit() else (f"the {words} is", "it")
            self.notes.append(f"{what} left out: {self._name} cannot hold {they}")
        try:
            self._compare(held, firsts)
        except REFUSALS:
            self.notes.append(f"all but the pictures is left out: {self._name} refuses it")
            held, self._about, self._chapters = [], {}, []
        self._describe(output, picture)
        self._streams = {s.index: self._add(output, s, firsts.get(s.index, [])) for s in held}
        going_on = any(s.type in ("audio", "subtitle", "data") for s in held)
        self._packets = itertools.chain(peeked, self._packets if going_on else ())
        self._waiting: Any = None

    def _holds(self, stream: Any, firsts: list[Any]) -> bool:
        """Say whether the output holds a track."""
        try:
            with _read(self._written([stream], {stream.index: firsts})) as container:
                names = [name_of(one).replace("(mp2)", "(mp3)") for one in container.streams]
                return name_of(stream).replace("(mp2)", "(mp3)") in names  # MP4 has one word for both
        except REFUSALS:
            return False

    def _compare(self, held: Sequence[Any], firsts: Mapping[int, list[Any]]) -> None:
        """Write everything into memory, and note what does not come back."""
        lost: list[str] = []
        with _read(self._written(held, firsts)) as container:
            back = [pictures(container)[0], *_others(container)]
            metadata = {key.lower() for key in container.metadata}
            if len(container.chapters()) < len(self._chapters):
                lost.append("chapters")
            if tags := [key for key in self._about if key.lower() not in metadata]:
                lost.append(f"tags ({', '.join(tags)})")
            for stream in (self._first, *held):
                place = [s for s in (self._first, *held) if s.type == stream.type].index(stream)
                same = [s for s in back if s.type == stream.type]
                if place < len(same):  # attachments and data have no place of their own
                    lost += _differences(stream, same[place], place > 0)
        if lost:
            self.notes.append(f"left out: {', '.join(dict.fromkeys(lost))} ({self._name} holds none)")

    def _written(self, streams: Sequence[Any], firsts: Mapping[int, list[Any]]) -> tuple[io.BytesIO, str]:
        file = io.BytesIO()
        with av.open(file, "w", format=self._muxer) as output:
            picture: Any = output.add_stream(_STAND_IN.get(self._muxer, "mpeg4"), rate=25)
            picture.width = picture.height = 16
            self._describe(output, picture)
            copies = {s.index: self._add(output, s, firsts.get(s.index, [])) for s in streams}
            frame = av.VideoFrame(16, 16, "yuv420p")
            frame.pts = 0
            packets = picture.encode(frame) + picture.encode(None)
            for stream in streams:
                time = 0
                for first in firsts.get(stream.index, [bytes(8)] if stream.type == "subtitle" else []):
                    packet = av.Packet(bytes(first))
                    packet.pts = packet.dts = time
                    packet.duration = getattr(first, "duration", 0) or 1
                    packet.time_base, packet.is_keyframe = stream.time_base or Fraction(1, 1000), True
                    time += packet.duration
                    if (copy := copies[stream.index]) is not None:
                        packet.stream = copy
                        packets.append(packet)
            output.mux(packets)
        file.seek(0)
        return file, _DEMUXERS.get(self._muxer, self._muxer)

    def _add(self, output: Any, stream: Any, firsts: Sequence[Any]) -> Any:
        """Return a track of the output like one of the source; ``None`` for what has no packets there."""
        cover = stream.disposition & Disposition.attached_pic
        if cover and self._muxer == "matroska":  # it would become a second film
            name, kind = _COVERS.get(stream.codec_context.name, ("cover", "image/x-unknown"))
            output.add_attachment(name, kind, bytes(firsts[0]))
            return None
        copy = output.add_stream_from_template(stream)
        copy.metadata.update(stream.metadata)
        copy.disposition = stream.disposition
        adts = name_of(stream).endswith("(aac)") and firsts and bytes(firsts[0]).startswith(b"\xff")
        if adts and self._muxer == "avi":
            copy.codec_tag = "\x10\x16\0\0"  # AAC with headers of its own, as transport streams have it
        return None if stream.type == "attachment" else copy

    def _describe(self, output: Any, picture: Any) -> None:
        """Copy the file's tags and chapters, and the title and language of the pictures."""
        output.metadata.update(self._about)
        picture.metadata.update(_tags(self._first.metadata, _ABOUT_THE_CODE))
        picture.disposition = self._first.disposition
        if self._chapters:
            output.set_chapters(self._chapters)

    def _shifted(self, chapters: Sequence[Any], length: Fraction | None) -> list[Any]:
        """Return chapters in the times of the output, without those that end before they begin, or begin after it."""
        shifted = []
        for chapter in chapters:
            shift = round(self._shift / chapter["time_base"])
            most = chapter["end"] if length is None else round(length / chapter["time_base"])
            begin, end = (min(max(chapter[key] - shift, 0), most) for key in ("start", "end"))
            shifted += [{**chapter, "start": begin, "end": end}] if begin <= end else []
        return shifted

    def until(self, seconds: Fraction | None, output: Any) -> None:
        """Copy what comes before a time of the output, or all the rest; a packet that is refused is counted."""
        while True:
            packet = self._waiting or self._next()
            self._waiting = None
            if packet is None:
                return
            copy = self._streams.get(packet.stream_index)
            cover = packet.stream.disposition & Disposition.attached_pic
            if cover and packet.size:
                packet.pts = packet.dts = 0
            if packet.dts is None or copy is None:  # the end of a stream
                continue
            shift = 0 if cover else round(self._shift / packet.time_base)
            if seconds is not None and (packet.dts - shift) * packet.time_base > seconds:
                self._waiting = packet
                return
            packet.dts -= shift
            if packet.pts is not None:
                packet.pts -= shift
            if self._cut and packet.dts < 0:
                self.notes += self._unheard
                continue
            name = name_of(packet.stream)
            packet.stream = copy
            try:
                try:
                    output.mux(packet)
                except av.error.FFmpegError:  # it has the time of the one before: a tick later
                    packet.dts, packet.pts = packet.dts + 1, (packet.pts or packet.dts) + 1
                    output.mux(packet)
            except av.error.FFmpegError:
                self._lost[name] += 1

    def _next(self) -> Any:
        try:
            return next(self._packets, None)
        except av.error.FFmpegError:  # the reader says what is broken
            return None

    def close(self) -> None:
        self.notes += [
            f"packets of the {name} are left out: {self._name} refuses {count} of them"
            for name, count in self._lost.items()
        ]
        self._lost.clear()
        self._source.close()


def _read(written: tuple[io.BytesIO, str]) -> Any:
    file, demuxer = written
    return av.open(file, "r", format=demuxer, metadata_errors="replace")


def _differences(stream: Any, back: Any, later: bool) -> Iterator[str]:
    """Yield what a track has lost on its way through a file; the first of its type is the default anyway."""
    before, after = ({key.lower(): value for key, value in s.metadata.items()} for s in (stream, back))
    for key in ("title", "language", "timecode"):
        value = before.get(key, "und")
        if value not in ("und", after.get(key)):
            yield f"{key} of the {name_of(stream)}"
    gone = stream.disposition & ~back.disposition & ~(0 if later else Disposition.default)
    if gone:
        flags = " and ".join(str(flag.name) for flag in Disposition if flag & gone)
        yield f"mark {flags} of the {name_of(stream)}"
