"""From one pixel format to another: colours, ranges and halved chroma, as FFmpeg's own ``scale`` filter does it.

PyAV's ``reformat`` takes halved chroma for centred and so moves it by half a pixel; the filter knows better.
"""

import av
import av.filter

from convcli.data.info import Colour

# Exact rounding and chroma at full width: the conversion costs little beside a filter, and its error stays.
_FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc"}  # H.273
_RANGES = {1: "limited", 2: "full"}


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
