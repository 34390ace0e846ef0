"""Which encoder and which pixel format a clip gets: from the options, the source, the container.

Tables and choices only; nothing is opened.
"""

import difflib
import os
from collections.abc import Iterator

import av
import av.error

from convcli.common import UsageError, frozen
from convcli.data.info import Colour, Info
from convcli.media.clips.convert import ARRAYS, array_format
from convcli.media.clips.decoder import carries_alpha
from convcli.media.options import VideoOptions
from convcli.media.timing import UNKNOWN, Coding

CRF = 17  # x264 and x265: no loss that is seen
_ENCODERS = {
    "h264": "libx264",
    "hevc": "libx265",
    "h265": "libx265",
    "vp8": "libvpx",
    "vp9": "libvpx-vp9",
    "av1": "libsvtav1",
    "prores": "prores_ks",
}
_USUAL = {"webm": "libvpx-vp9", "y4m": "rawvideo"}  # of a container; all others H.264
_CONTAINS = {  # codecs that a source's are kept for
    "mp4": ("h264", "hevc", "av1", "vp9", "mpeg4"),
    "mov": ("h264", "hevc", "prores", "mjpeg", "mpeg4", "png", "qtrle"),
    "mkv": ("h264", "hevc", "av1", "vp9", "vp8", "ffv1", "mpeg4", "prores", "huffyuv", "ffvhuff"),
    "webm": ("vp9", "vp8", "av1"),
    "avi": ("h264", "mpeg4", "ffv1", "huffyuv", "ffvhuff", "utvideo", "mjpeg"),
    "ts": ("h264", "hevc"),
}
LOSSLESS = ("ffv1", "huffyuv", "ffvhuff", "utvideo", "rawvideo", "png", "qtrle")
_SPEEDS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow",
           "placebo")  # fmt: skip
_PRESETS = {"libx264": _SPEEDS, "libx265": _SPEEDS, "libsvtav1": tuple(map(str, range(14)))}
_QUALITY = {"libx264": 51, "libx265": 51, "libsvtav1": 63, "libvpx-vp9": 63, "libvpx": 63}  # the least  # fmt: skip
_EVEN = ("libx264", "libx265", "mpeg4", "libsvtav1")  # halved chroma needs even sizes
_NARROW = 64  # pixels: of narrower clips x265's look ahead writes behind its memory (4.1, up to 48)
_BACKWARDS = ("libx264", "libx265", "mpeg4")  # whose frames may refer to later ones
_RAW = (  # of lossless codecs, for arrays: colour, deep, names in the order of preference
    (Colour.GREY, False, ("gray", "gbrp", "bgr0", "rgb24", "bgra")),
    (Colour.GREY, True, ("gray16le", "gbrp16le", "rgb48le", "rgb48be")),
    (Colour.RGB, False, ("gbrp", "bgr0", "rgb24", "bgra")),
    (Colour.RGB, True, ("gbrp16le", "rgb48le", "rgb48be")),
    (Colour.RGBA, False, ("gbrap", "bgra", "rgba", "argb")),
    (Colour.RGBA, True, ("gbrap16le", "rgba64le", "rgba64be")),
)


@frozen
class Encoding:
    """What an encoder is told; ``array`` is FFmpeg's name of the arrays' format."""

    codec: str
    pixels: str
    array: str
    options: dict[str, str]
    notes: tuple[str, ...] = ()


def choose(container: str, info: Info, coding: Coding | None, options: VideoOptions) -> Encoding:
    """Choose how a clip is coded.

    Parameters
    ----------
    container
        A format of the registry.
    coding
        How the source was coded; ``None`` for arrays.

    Raises
    ------
    UsageError
        For an unknown encoder or pixel format, an option that the encoder does not have, data that are not a clip.
    """
    if (
        info.letters not in ("TYX", "TYXC")
        or info.colour not in ARRAYS
        or info.dtype not in ("uint8", "uint16")
    ):
        raise UsageError(
            f"{container.upper()} holds frames of whole numbers, grey or colour, "
            f"not {info.dtype} of the axes {info.letters}: give --range, or write .npy"
        )
    codec = _codec(container, coding, options.codec)
    formats = [form.name for form in av.Codec(codec, "w").video_formats or ()]
    grey = container == "y4m" and info.colour is Colour.GREY  # the one kind of Y4M that is no YUV
    notes: list[str] = []
    deep = info.dtype == "uint16"
    if options.pixels is not None:
        pixels = _asked(codec, options.pixels, formats)
    elif options.planes and coding is not None and coding.plain in formats and not _uneven(codec, info):
        pixels = coding.plain
    elif codec in LOSSLESS and ((container != "y4m" and not options.planes) or grey):
        names = next(names for colour, is_deep, names in _RAW if (colour, is_deep) == (info.colour, deep))
        pixels = next((name for name in names if name in formats or not formats), "")
        if not pixels:
            pixels = formats[0]
            notes.append(f"{codec} does not hold these numbers exactly: {pixels} is written")
    else:
        pixels = _like(info, coding, codec, formats, notes, carries_alpha(container, codec))
        if coding and _chroma(av.VideoFormat(pixels)) < _chroma(av.VideoFormat(coding.pixels)):
            less = f"{pixels} instead of {coding.pixels}"
            notes.append(f"colour has a lower resolution ({less}): {codec} holds no more")
    tuning = _tuning(codec, options, coding)
    if codec == "libx265" and info.size("X") < _NARROW:
        tuning["x265-params"] += ":cutree=0"
    if container == "avi" and codec in _BACKWARDS:
        tuning["bf"] = "0"  # such frames come in another order, and AVI has no times that would tell it
    if info.colour.has_alpha:
        if not carries_alpha(container, codec):
            notes.append(f"the alpha channel is left out: {codec} in {container.upper()} holds none")
        elif not any(component.is_alpha for component in av.VideoFormat(pixels).components):
            notes.append(f"the alpha channel is left out: {codec} as {pixels} holds none")
        elif codec == "libvpx":
            tuning["auto-alt-ref"] = "0"  # with such frames it takes no alpha
    if coding is not None:
        notes += _described(container, codec, pixels, coding, tuning)
    return Encoding(codec, pixels, array_format(info.colour, deep, pixels), tuning, tuple(notes))


_DESCRIBING = ("mp4", "mov", "mkv", "webm")  # containers that hold colour tags for any codec
_LIGHT = {  # of encoders: the option, the words for the display and for the content, parts of the display's numbers
    "libx264": ("x264-params", "mastering-display", "cll", (50_000, 10_000)),
    "libx265": ("x265-params", "master-display", "max-cll", (50_000, 10_000)),
    "libsvtav1": ("svtav1-params", "mastering-display", "content-light", (0, 0)),
}
_SAYING = ("libx264", "libx265", "libsvtav1", "prores_ks")  # encoders that write them themselves


def _described(
    container: str, codec: str, pixels: str, coding: Coding, tuning: dict[str, str]
) -> Iterator[str]:
    """Add what the encoder is told of colour and light, and yield a line for what nothing holds."""
    where = f"{codec} in {container.upper()} holds none"
    tags, light = coding.tags, coding.light
    said = {tags.primaries, tags.transfer, tags.matrix} - {UNKNOWN, 0}
    if (
        (said or (tags.range == 2 and container != "y4m"))
        and container not in _DESCRIBING
        and codec not in _SAYING
    ):
        yield f"the colour tags are left out: {where}"
    if coding.chroma and _chroma(av.VideoFormat(pixels)) == "420":
        tuning["chroma_sample_location"] = coding.chroma
        sited = container in ("mkv", "webm") or (container, pixels) == ("y4m", "yuv420p")
        if codec not in _SAYING[:3] and not sited:
            yield f"the place of the colour samples ({coding.chroma}) is left out: {where}"
    if light is None:
        return
    if codec not in _LIGHT:
        yield f"the light of the mastering display and of the content is left out: {where}"
        return
    parameters, display, content, parts = _LIGHT[codec]
    told = [tuning[parameters]] if parameters in tuning else []
    told += [f"{display}={light.mastering(*parts)}"] if light.display else []
    told += [f"{content}={light.content[0]},{light.content[1]}"] if light.content else []
    tuning[parameters] = ":".join(told)


def _codec(container: str, coding: Coding | None, asked: str | None) -> str:
    if asked is not None:
        codec = _ENCODERS.get(asked, asked)
        try:
            if av.Codec(codec, "w").type == "video":
                return codec
        except ValueError:  # av.codec.codec.UnknownCodecError
            pass
        near = difflib.get_close_matches(asked, [*_ENCODERS, *_ENCODERS.values(), *LOSSLESS], n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"codec {asked!r} is not a video encoder here{hint} (h264, hevc, vp9, av1, ffv1, prores, mpeg4...)"
        )
    if coding is not None and coding.codec in _CONTAINS.get(container, ()):
        return _ENCODERS.get(coding.codec, coding.codec)
    return _USUAL.get(container, "libx264")


def _asked(codec: str, pixels: str, formats: list[str]) -> str:
    if formats and pixels not in formats:
        near = difflib.get_close_matches(pixels, formats, n=8, cutoff=0.3) or formats[:8]
        raise UsageError(f"pixel format {pixels!r}: {codec} takes {', '.join(near)}")
    try:
        av.VideoFormat(pixels)
    except ValueError:
        raise UsageError(f"pixel format {pixels!r} is unknown; usual are yuv420p and yuv444p") from None
    return pixels


def _like(
    info: Info, coding: Coding | None, codec: str, formats: list[str], notes: list[str], alpha: bool
) -> str:
    """Return the pixel format that is nearest to the source's."""
    source = av.VideoFormat(coding.pixels) if coding else None
    chroma = _chroma(source) if source else "420"
    bits = max(component.bits for component in source.components) if source else 16
    bits = bits if info.dtype == "uint16" else 8
    if chroma != "444" and _uneven(codec, info):
        notes.append(
            f"{info.size('X')} x {info.size('Y')} is odd and {codec} halves colour only of even sizes: "
            "colour is written whole (4:4:4)"
        )
        chroma = "444"
    alphas = ("a", "") if info.colour.has_alpha and alpha else ("",)
    depths = sorted({8, 10, 12, 14, 16}, key=lambda depth: (depth < bits, abs(depth - bits)))
    for letter in alphas:
        for depth in depths:
            for sub in dict.fromkeys((chroma, "422" if chroma == "420" else "444", "444", "420")):
                name = f"yuv{letter}{sub}p" + ("" if depth == 8 else f"{depth}le")
                if name in formats or not formats:
                    if depth < bits:
                        notes.append(f"{bits} bits a sample are rounded to {depth}: {codec} holds no more")
                    return name
    return formats[0]


def _uneven(codec: str, info: Info) -> bool:
    """Say whether halved chroma is too much for an encoder: it takes even sizes and these are not."""
    return codec in _EVEN and bool(info.size("X") % 2 or info.size("Y") % 2)


def _chroma(form: av.VideoFormat) -> str:
    """Return how colour is sampled: 444, 422 or 420.

    >>> _chroma(av.VideoFormat("yuv422p10le")), _chroma(av.VideoFormat("gray")), _chroma(av.VideoFormat("rgb24"))
    ('422', '420', '444')
    """
    if len(form.components) == 1 and not form.has_palette:
        return "420"
    if form.is_rgb or form.has_palette:
        return "444"
    half = form.chroma_width(64) < 64, form.chroma_height(64) < 64
    return {(True, True): "420", (True, False): "422"}.get(half, "444")


def _tuning(codec: str, options: VideoOptions, coding: Coding | None) -> dict[str, str]:
    tuning: dict[str, str] = {}
    if options.crf is not None and codec not in _QUALITY:
        raise UsageError(f"--crf {options.crf:g}: {codec} takes none; it is for {', '.join(_QUALITY)}")
    if options.crf is not None and not 0 <= options.crf <= _QUALITY[codec]:
        raise UsageError(f"--crf {options.crf:g}: {codec} has 0, the best, to {_QUALITY[codec]}")
    if options.preset is not None and codec not in _PRESETS:
        raise UsageError(f"--preset {options.preset}: {codec} has none; they are for {', '.join(_PRESETS)}")
    if options.preset is not None and options.preset not in _PRESETS[codec]:
        raise UsageError(f"--preset {options.preset!r}: {codec} has {', '.join(_PRESETS[codec])}")
    if codec in _QUALITY:
        usual = CRF if codec in ("libx264", "libx265") else 24
        tuning["crf"] = f"{usual if options.crf is None else options.crf:g}"
    if codec == "libx265":
        tuning["x265-params"] = "log-level=error"
    if codec in ("libvpx-vp9", "libvpx"):
        tuning |= {"b": "0", "row-mt": "1", "cpu-used": "4", "deadline": "good"}
    if codec == "libsvtav1":
        tuning["preset"] = "8"
        os.environ.setdefault("SVT_LOG", "1")  # errors alone: it writes on stderr by itself
    if codec == "ffv1":
        tuning |= {"level": "3", "slicecrc": "1"}
    if codec in ("mpeg4", "mjpeg"):
        tuning |= {"flags": "+qscale", "global_quality": str(2 * 118)}
    if options.preset is not None:
        tuning["preset"] = options.preset
    return tuning
