"""A part of a clip as a file of its own, whose packets are copied: nothing is coded again.

The caller chooses the part.  Arrays and animations have no packets to copy: `writer` codes them.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import IO, Any

import av
import av.error

from convcli.common import ConvError
from convcli.media.clips.scan import pictures, start_of
from convcli.media.clips.tracks import REFUSALS, Tracks, Written
from convcli.media.clips.writer import MUXERS, set_aspect
from convcli.media.timing import Clip

_REORDERED = 16  # frames that a codec here may decode before one that is shown first


def copy_part(
    fp: IO[bytes], format_name: str, clip: Clip, begin: Fraction, end: Fraction, sound: bool
) -> tuple[str, ...]:
    """Copy the packets of a part, sound and subtitles with them; return the notes.

    Parameters
    ----------
    fp : file
        Of the output.
    format_name : str
    clip : Clip
        The companions of the source's frames.
    begin, end : Fraction
        Seconds in the clip; a key frame is shown at ``begin``.
    sound : bool

    Raises
    ------
    ConvError
        When the container does not take the packets.
    """
    assert clip.reopen is not None
    try:
        with clip.reopen() as source, av.open(Written(fp), "w", format=MUXERS[format_name]) as output:
            start = start_of(source)
            stream: Any = pictures(source)[0]
            picture = output.add_stream_from_template(stream)
            if stream.sample_aspect_ratio:
                set_aspect(picture, stream.sample_aspect_ratio)
            others = clip.reopen()
            others.seek(int((start + begin) * av.time_base))
            tracks = Tracks(others, output, picture, format_name, sound, begin, end)
            try:
                for packet in _packets(clip.reopen, source, start + begin, start + end):
                    now = packet.dts * packet.time_base
                    packet.stream = picture
                    output.mux(packet)
                    tracks.until(now, output)
                tracks.until(end - begin, output)
            finally:
                tracks.close()
            return tuple(tracks.notes)
    except REFUSALS as error:
        raise ConvError(f"{format_name.upper()} does not take the clip's packets: {error}") from error


def _packets(reopen: Callable[[], Any], source: Any, begin: Fraction, end: Fraction) -> Iterator[Any]:
    """Yield the packets of what is shown between two time stamps, in seconds; the first of them becomes 0.

    What comes before the key frame is left out.  What comes after the end is left out unless frames before it need it.
    Decoding times are computed again, because some demuxers guess them wrongly after a jump.
    """
    base: Any = pictures(source)[0].time_base
    first, last = round(begin / base), round(end / base)
    for jump in (True, False):  # some jumps come out behind the key frame
        with reopen() as trial:
            shown = _until(last, map(_shown, _from(first, trial, jump)))
        if shown:
            break
    order = sorted(shown)
    delay = max((a - b for a, b in zip(order, shown, strict=True)), default=0)
    for time, packet in zip(order, _from(first, source, jump), strict=False):
        packet.dts = time - first - delay
        packet.pts = None if packet.pts is None else packet.pts - first
        yield packet


def _from(first: int, source: Any, jump: bool) -> Iterator[Any]:
    """Yield the packets from the key frame at a time on, without those of frames before it."""
    stream = pictures(source)[0]
    if jump:
        source.seek(first, stream=stream)
    begun = False
    for packet in source.demux(stream):
        begun = begun or (packet.size > 0 and _shown(packet) == first)
        if begun and packet.size and _shown(packet) >= first:
            yield packet


def _until(last: int, times: Iterator[int]) -> list[int]:
    """Return times up to the last that lies before another one."""
    shown: list[int] = []
    count = 0
    for time in times:
        shown.append(time)
        if time < last:
            count = len(shown)
        if len(shown) - count > _REORDERED:
            break
    return shown[:count]


def _shown(packet: Any) -> int:
    time: int = packet.dts if packet.pts is None else packet.pts
    return time
