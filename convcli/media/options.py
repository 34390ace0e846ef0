"""How files are to be read and written: the options of the media, parsed once at the edge.

No files, no defaults that depend on a format: a reader takes what concerns it and ignores the rest.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction

from convcli.common.frozen import frozen


class Compress(StrEnum):
    """How hard a lossless writer tries: soon done, or small."""

    FAST = "fast"
    SMALL = "small"


@frozen
class ReadOptions:
    """What a reader is told about its input.

    Attributes
    ----------
    axes
        Letters for the dimensions of an array without names (``.npy``, TIFF), e.g. ``YXC``.
    matrix
        Read a table as one two-dimensional grid (``YX``) instead of columns.
    columns
        Columns of a table to filter: names, one-based numbers, ranges such as ``2-4``.
    all_frames
        Read every frame of an animation; otherwise the first.  A TIFF's pages are one stack in any case.
    max_pixels
        The most pixels that are decoded whole, all frames of an animation together, checked from the header;
        ``None`` is no limit.
    max_frames
        The most frames of a clip or an animation, or pages of a TIFF; ``None`` is no limit.
    grey
        Read a clip's brightness alone.
    allow_truncated
        Leave out what cannot be read of a broken clip, instead of failing.
    rate
        Frames a second of numbered pictures and arrays, which carry no time; ``None`` is the usual 25.
    """

    axes: str | None = None
    matrix: bool = False
    columns: tuple[str, ...] | None = None
    all_frames: bool = False
    max_pixels: int | None = 256_000_000
    max_frames: int | None = None
    grey: bool = False
    allow_truncated: bool = False
    rate: Fraction | None = None


@frozen
class VideoOptions:
    """How a clip is to be coded; ``None`` is as the source, or the container's usual.

    Attributes
    ----------
    codec
        FFmpeg's name of an encoder or a codec: ``libx264``, ``h264``, ``ffv1``.
    crf
        Constant quality, smaller is better.
    preset
        Of x264, x265 and SVT-AV1: ``veryfast``, ``slow``, ``8``.
    pixels
        FFmpeg's name of a pixel format.
    sound
        Copy sound and subtitles.
    planes
        The frames come as planes, in the source's own pixel format.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pixels: str | None = None
    sound: bool = True
    planes: bool = False


@frozen
class WriteOptions:
    """What a writer is told about its output.

    Attributes
    ----------
    quality
        1 to 100, for JPEG and WebP; ``None`` is the format's own default.
    compress
        For PNG.
    video
        For clips.
    """

    quality: int | None = None
    compress: Compress = Compress.FAST
    video: VideoOptions = VideoOptions()
