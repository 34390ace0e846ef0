"""From one pixel format to another: colours, ranges and halved chroma, as FFmpeg's own ``scale`` filter does it.

PyAV's ``reformat`` takes halved chroma for centred and so moves it by half a pixel; the filter knows better.
The components of a frame are offered as they are coded, too: no conversion, no copy.
"""

from collections.abc import Sequence

import av
import av.filter
import numpy as np

from convcli.data import Coded, Colour, Plane

# Exact rounding and chroma at full width: the conversion costs little beside a filter, and its error stays.
_FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}  # H.273
_RANGES = {1: "limited", 2: "full"}

FULL = 2  # the range whose black is 0, in the numbers that libav uses


def coded(frame: av.VideoFrame, turned: bool, grey: bool) -> Coded:
    """Return which planes frames like this offer.

    Values of black and white are those of ITU-T H.273, section 8.3.
    """
    form = frame.format
    if grey or len(form.components) == 1:
        return Coded(refusal="the clip is grey")
    if form.is_rgb or form.has_palette:
        return Coded(refusal="the clip is coded in RGB")
    if len(form.components) != 3:
        return Coded(refusal="alpha weighs the colours")
    if form.is_big_endian or not form.is_planar or [part.plane for part in form.components] != [0, 1, 2]:
        return Coded(refusal=f"{form.name} has no planes of their own for Y, U and V")
    if turned:
        return Coded(refusal="the clip is turned, and with it the places of the colour samples")
    bits = form.components[0].bits
    unit = 2.0 ** (bits - 8)
    full = frame.color_range == FULL or form.name.startswith("yuvj")
    black, white = (0.0, 2.0**bits - 1) if full else (16 * unit, 235 * unit)
    chroma = (form.chroma_height(frame.height), form.chroma_width(frame.width))
    # Of a large number, so that rounding up does not hide the ratio.
    step = (4096 // form.chroma_height(4096), 4096 // form.chroma_width(4096))
    luma = Plane((frame.height, frame.width), (1, 1), black, white)
    colour = Plane(chroma, step, 128 * unit, 128 * unit)
    return Coded((luma, colour, colour), bits)


def components(frame: av.VideoFrame) -> tuple[np.ndarray, ...]:
    """Return the components of a frame, (Y, X) each, in the order Y, U, V or R, G, B, A.

    Of a planar frame they are views of its memory, writable if that is its own.
    """
    if _is_packed(frame.format):
        return tuple(np.moveaxis(frame.to_ndarray(), -1, 0))
    return tuple(_samples(frame.planes[part.plane], _type(frame)) for part in frame.format.components)


def frame_of(parts: Sequence[np.ndarray], form: str) -> av.VideoFrame:
    """Return a new frame of a pixel format with these components."""
    if _is_packed(av.VideoFormat(form)):
        return av.VideoFrame.from_ndarray(np.stack(parts, axis=-1), form)
    frame = av.VideoFrame(parts[0].shape[1], parts[0].shape[0], form)
    for target, part in zip(components(frame), parts, strict=True):
        target[...] = part
    return frame


def _is_packed(form: av.VideoFormat) -> bool:
    return max(part.plane for part in form.components) < len(form.components) - 1


def _type(frame: av.VideoFrame) -> np.dtype:
    return np.dtype("<u2" if frame.format.components[0].bits > 8 else "u1")


def _samples(plane: av.video.plane.VideoPlane, dtype: np.dtype) -> np.ndarray:
    rows = np.frombuffer(plane, dtype, count=plane.height * plane.line_size // dtype.itemsize)  # type: ignore[call-overload]
    return rows.reshape(plane.height, -1)[:, : plane.width]


class Converter:
    """Converts frames to one pixel format.

    Parameters
    ----------
    form : str
        FFmpeg's name.
    matrix, range : int
        Of the result, in the numbers of ITU-T H.273; 0 for what follows from the input.
    chroma : str
        Where halved colour is sampled in the result; empty for the usual place.
    """

    def __init__(self, form: str, matrix: int = 0, range: int = 0, chroma: str = "") -> None:
        self._form = form
        scale = [f"flags={_FLAGS}"]
        if matrix in _MATRICES:
            scale.append(f"out_color_matrix={_MATRICES[matrix]}")
        if range in _RANGES:
            scale.append(f"out_range={_RANGES[range]}")
        if chroma:
            scale.append(f"out_chroma_loc={chroma}")
        self._scale = ":".join(scale)
        self._graph: av.filter.Graph | None = None
        self._shape: tuple[object, ...] = ()

    def __call__(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return the frame converted, with the same time."""
        shape = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if self._graph is None or shape != self._shape:
            self._graph, self._shape = self._built(frame), shape
        self._graph.vpush(frame)
        return self._graph.vpull()

    def _built(self, frame: av.VideoFrame) -> av.filter.Graph:
        graph = av.filter.Graph()
        graph.threads = 0
        source = graph.add(
            "buffer",
            f"video_size={frame.width}x{frame.height}:pix_fmt={frame.format.name}:time_base=1/1000:"
            f"colorspace={frame.colorspace}:range={frame.color_range}",
        )
        scale = graph.add("scale", self._scale)
        form = graph.add("format", f"pix_fmts={self._form}")
        graph.link_nodes(source, scale, form, graph.add("buffersink")).configure()
        return graph


# FFmpeg's pixel formats for arrays: 8 bits, 16 bits
ARRAYS = {
    Colour.GREY: ("gray", "gray16le"),
    Colour.RGB: ("rgb24", "rgb48le"),
    Colour.RGBA: ("rgba", "rgba64le"),
}
_PLANAR = {"rgb24": "gbrp", "rgb48le": "gbrp16le", "rgba": "gbrap", "rgba64le": "gbrap16le"}


def array_format(colour: Colour, deep: bool, coded: str) -> str:
    """Return the pixel format of the arrays of frames that are coded as ``coded``.

    From and to Y, U and V it is planar: the same values in a quarter of the time.  From RGB it is packed, because
    FFmpeg shifts bits from one planar RGB to another, and white does not stay white.
    """
    packed = ARRAYS[colour][deep]
    return packed if av.VideoFormat(coded).is_rgb else _PLANAR.get(packed, packed)
