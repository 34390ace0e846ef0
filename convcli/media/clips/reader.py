"""Reading clips: frames as arrays in the orientation in which they are shown, colours as RGB, or plane by plane.

Which frames there are is found out in `scan`, decoding is in `decoder`, writing in `writer`.
"""

import io
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import pairwise
from typing import IO, Any

import av
import av.logging
import numpy as np

from convcli.common import ConvError, frozen
from convcli.common.budget import FRAME
from convcli.data import Colour, Even, Info, Positions, Source, Strips, at_rate
from convcli.media.clips.convert import Converter, array_format, coded, components
from convcli.media.clips.decoder import Decoder, has_alpha_beside
from convcli.media.clips.scan import (
    INTERLACED,
    UnknownCodecError,
    VideoFile,
    pictures,
    scan,
    start_of,
    video_stream,
)
from convcli.media.clips.tracks import carried
from convcli.media.options import ReadOptions
from convcli.media.shared import CHANNELS, Recent, check_pixels
from convcli.media.timing import RATE, Clip, Coding, Light, Tags

# Comments of Y4M, but for what FFmpeg writes there.
_COMMENTS = re.compile(rb"YUV4MPEG2 [^\n]*(?<= )X(?!YSCSS=|COLORRANGE=)")
_ONE_UNIT = 1 << 16  # of a display matrix: fixed point


def demuxer(head: bytes) -> str:
    """Return FFmpeg's name of the container; it alone is tried, so that no playlist is ever followed."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return "mov"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if head.startswith(b"RIFF"):
        return "avi"
    return "yuv4mpegpipe" if head.startswith(b"YUV4MPEG2") else "mpegts"


@frozen
class Orientation:
    """How stored pixels lie on the screen: transposed first, then mirrored."""

    transposed: bool = False
    up_down: bool = False
    left_right: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Return (Y, X) as it is shown."""
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        return pixels[:: -1 if self.up_down else 1, :: -1 if self.left_right else 1]


def orientation(frame: av.VideoFrame) -> Orientation:
    """Return how a frame is to be shown, from its display matrix.

    The matrix maps stored (x, y) to shown (a·x + c·y, b·x + d·y), ISO/IEC 14496-12, section 6.2.2.
    """
    side_data: Iterable[Any] = frame.side_data
    for data in side_data:
        if data.type.name == "DISPLAYMATRIX":
            a, b, _, c, d = (round(int(v) / _ONE_UNIT) for v in np.frombuffer(bytes(data), np.int32)[:5])
            if abs(a) == abs(d) == 1 and b == c == 0:
                return Orientation(False, d < 0, a < 0)
            if abs(b) == abs(c) == 1 and a == d == 0:
                return Orientation(True, b < 0, c < 0)
    return Orientation()


def _colour(form: av.VideoFormat) -> Colour:
    if any(component.is_alpha for component in form.components) or form.has_palette:
        return Colour.RGBA
    return Colour.GREY if len(form.components) == 1 else Colour.RGB


def source(fp: IO[bytes], options: ReadOptions) -> Source:
    """Open a clip; its packets are counted and its first frame is decoded.

    Raises
    ------
    ConvError
        Without a video stream or frames, and for a file that is cut short, unless ``options.allow_truncated``.
    """
    head = fp.read(1024)
    name = demuxer(head)
    file = VideoFile(fp, name, options.max_pixels)
    try:
        found = VideoSource(file, options)
        if name == "yuv4mpegpipe":
            found.later |= dict.fromkeys(_y4m_lost(fp, file))
        return found
    except UnknownCodecError:
        from convcli.media.clips.fallback import ProgramFile

        decoded = ProgramFile(fp, name, options.max_pixels)
        try:
            return VideoSource(decoded, options, original=file)
        except BaseException:
            decoded.close()
            raise


def _y4m_lost(fp: IO[bytes], file: VideoFile) -> Iterator[str]:
    """Yield a line for comments, and for parameters of single frames, such as ``FRAME Ip``."""
    with file.open() as container:
        size = next(container.demux(video=0)).size
    fp.seek(0)
    if _COMMENTS.match(fp.readline()):
        yield "comments in the header are left out"
    while (line := fp.readline(1024)).strip() == b"FRAME":
        fp.seek(size, io.SEEK_CUR)
    if line:
        yield "the parameters of single frames are left out"


class VideoSource(Strips):
    """A clip, axes ``TYX`` (grey) or ``TYXC``, 8 bits, or 16 where there are more than 8.

    Parameters
    ----------
    file : VideoFile
    options : ReadOptions
    original : VideoFile
        The original file where ``file`` is a program's recoding of it.
    """

    def __init__(self, file: VideoFile, options: ReadOptions, original: VideoFile | None = None) -> None:
        notes: list[str] = []
        with file.open() as container:
            stream = video_stream(container)
            size = (stream.codec_context.width, stream.codec_context.height)
            if not all(size):
                raise ConvError("its frames are broken, or too large for so small a file (--max-pixels)")
            check_pixels(*size, options, "frame", stored=file.size, rule=FRAME)
            aspect = stream.sample_aspect_ratio or None
            codec = stream.codec_context.name if original is None else ""
            beside = has_alpha_beside(stream)
            described = _described(container)
            place = rf"Stream #0:{stream.index}\b.*[(, ](center|topleft|top|bottomleft|bottom)\)"
            chroma = "".join(re.findall(place, described)[:1])
            if re.search(r"service_name +: (?!Service01\n)", described):  # FFmpeg's own
                notes.append("the name of the service is left out: no output here holds it")
        with (original or file).open() as container:
            tracks = carried(container)
            rate = pictures(container)[0].average_rate or RATE
            if len(pictures(container)) > 1:
                notes.append("the file has several video streams: the first is read")
        self._decoder = Decoder(file, options.allow_truncated)
        start = self._decoder.start
        positions: Positions = self._decoder.frames.positions(start)
        if original is not None:
            notes.append("FFmpeg's libraries here do not know how this video is coded: its program reads it")
            start, positions = _positions(original, len(self._decoder.frames.times), rate)
            if isinstance(positions, Even):
                notes.append(f"the frames carry no usable times: {float(rate):g} a second are taken")
        if self._decoder.lost or self._decoder.frames.missing:
            frames = self._decoder.frames
            lost = f"{self._decoder.lost} frames could not be decoded" if self._decoder.lost else ""
            cut = f"{float(frames.missing):.3f} s are missing at the end" if frames.missing else ""
            kept = f"{len(frames.times)} frames are kept"
            notes.append(", ".join(part for part in (lost, cut, kept) if part))
        first = self._decoder(0, 1)[0]
        if first.interlaced_frame:
            notes.append(INTERLACED)
        self._orientation = orientation(first)
        self.coded = coded(first, self._orientation != Orientation(), options.grey)
        if self._orientation.transposed and aspect:
            aspect = 1 / aspect
        form = first.format
        self.later = {}
        if beside and not _colour(form).has_alpha:
            notes.append(f"the alpha channel is left out: nothing here decodes that of {codec.upper()}")
        deep = max(component.bits for component in form.components) > 8
        self._colour = Colour.GREY if options.grey else _colour(form)
        self._convert = Converter(array_format(self._colour, deep, form.name))
        self._size = (first.width, first.height)
        tags = Tags(first.color_primaries, first.color_trc, first.colorspace, _range(first))
        self.info = self._info(deep, Clip(
            Coding(codec, form.name, tags, aspect if aspect != 1 else None, chroma, _light(first)),
            (original or file).open,
            start=start,
            tracks=tracks,
        ), tuple(notes)).placed(T=positions)  # fmt: skip
        self._frames = Recent()

    def _info(self, deep: bool, clip: Clip, notes: tuple[str, ...]) -> Info:
        width, height = self._size[:: -1 if self._orientation.transposed else 1]
        channels = CHANNELS[self._colour].count
        return Info.of(
            letters="TYXC" if channels > 1 else "TYX",
            shape=(len(self._decoder.frames.times), height, width, *((channels,) if channels > 1 else ())),
            dtype="uint16" if deep else "uint8",
            colour=self._colour,
            companions=clip,
            notes=notes,
        )

    def strip(self, start: int, stop: int) -> np.ndarray:
        """Return the frames ``start:stop``.

        Raises
        ------
        ConvError
            When one of them is broken or missing, or of another size.
        """
        frames = self._frames(list(range(start, stop)), self._decode)
        found = frames[0][None] if len(frames) == 1 else np.stack(frames)
        return np.moveaxis(found, 1, -1) if found.shape[1] > 1 else found[:, 0]

    def _decode(self, indices: list[int]) -> list[np.ndarray]:
        # One by one: only the arrays (C, Y, X) are kept, the decoder's frames soon go.
        return [self._array(index, self._decoder(index, index + 1)[0]) for index in indices]

    def _array(self, index: int, frame: av.VideoFrame) -> np.ndarray:
        parts = components(self._convert(self._checked(index, frame)))
        return np.stack([self._orientation.apply(part) for part in parts])

    def _checked(self, index: int, frame: av.VideoFrame) -> av.VideoFrame:
        if (frame.width, frame.height) != self._size:
            before, here = (
                f"{width} x {height}" for width, height in (self._size, (frame.width, frame.height))
            )
            raise ConvError(f"the size changes from {before} to {here} at frame {index}: cut the clip there")
        self.later |= dict.fromkeys(_unkept(frame))  # captions, say, often begin later
        return frame

    def read_planes(self, start: int, stop: int) -> tuple[np.ndarray, ...]:
        """Return the frames ``start:stop`` as they are coded, an array (T, Y, X) for each of ``coded.planes``."""
        frames = enumerate(self._decoder(start, stop), start)
        found = [components(self._checked(index, frame)) for index, frame in frames]
        return tuple(
            parts[0][None] if len(parts) == 1 else np.stack(parts) for parts in zip(*found, strict=True)
        )

    @property
    def keys(self) -> tuple[int, ...]:
        """The frames at which decoding can begin: jumps to them are cheap."""
        return self._decoder.key_frames

    def close(self) -> None:
        self._decoder.close()


def _positions(file: VideoFile, count: int, rate: Fraction) -> tuple[Fraction, Positions]:
    """Return the first time stamp of a file, and where its frames lie by its packets, or at a rate.

    Times are unusable if there are more or fewer packets than frames, or if they lie less than a millisecond apart.
    """
    frames = scan(file)
    least = min((b - a for a, b in pairwise(frames.times)), default=frames.last) if frames else 0
    if frames is None or len(frames.times) != count or least * frames.base < Fraction(1, 1000):
        return Fraction(0), at_rate(rate)
    with file.open() as container:
        start = start_of(container)
    return start, frames.positions(start)


def _range(frame: av.VideoFrame) -> int:
    """Return 2 for full range, 1 for limited, 0 for not said; the old ``yuvj`` formats say it by their name."""
    return 2 if frame.format.name.startswith("yuvj") else int(frame.color_range)


def _described(container: Any) -> str:
    """Return FFmpeg's description, which alone has the place of halved colour if it is unusual, and programs' names."""
    av.logging.set_level(av.logging.VERBOSE)
    av.logging.set_libav_level(av.logging.VERBOSE)
    try:
        return str(container.dumps_format())
    finally:
        av.logging.set_level(None)


_UNKEPT = {
    "A53_CC": "closed captions",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "AMBIENT_VIEWING_ENVIRONMENT": "the light around the screen",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+",
    "STEREO3D": "the mark of a stereo picture",
    "SPHERICAL": "the mark of a spherical picture",
    "ICC_PROFILE": "a colour profile",
    "S12M_TIMECODE": "time codes",
}


def _unkept(frame: av.VideoFrame) -> tuple[str, ...]:
    """Return a line for each thing that lies beside the pixels of a frame and is in no output."""
    sides: Iterable[Any] = frame.side_data
    found = (_UNKEPT.get(data.type.name) for data in sides)
    return tuple(f"{what} left out: no output here holds them" for what in found if what)


def _light(frame: av.VideoFrame) -> Light | None:
    """Return what a frame says of light (FFmpeg's ``AVMasteringDisplayMetadata``, ``AVContentLightMetadata``)."""
    sides: Iterable[Any] = frame.side_data
    found = {data.type.name: bytes(data) for data in sides}
    display, content = (
        np.frombuffer(found.get(name, b""), np.int32).tolist()
        for name in ("MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
    )
    values: tuple[Fraction, ...] = ()
    if display and display[20] and display[21]:  # primaries and luminance are there
        values = tuple(Fraction(a, b or 1) for a, b in zip(display[:20:2], display[1:20:2], strict=True))
    light = Light(values, (content[0], content[1]) if content else None)
    return light if light != Light() else None
