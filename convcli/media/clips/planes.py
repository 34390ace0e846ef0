"""The components of a frame as arrays, in the form in which they are coded: no conversion, no copy."""

from collections.abc import Sequence

import av
import numpy as np

from convcli.data.info import Coded, Plane

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
