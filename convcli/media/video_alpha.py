"""Alpha of VP8 and VP9: a second picture in each packet, which only libvpx decodes and only Matroska carries."""

from __future__ import annotations

from typing import cast

import av

_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
_CARRIERS = ("webm", "mkv")


def carries_alpha(container: str, codec: str) -> bool:
    """Say whether a file can hold the alpha that an encoder is given."""
    if codec == "libx265":  # it names such pixel formats and refuses them
        return False
    return codec not in _DECODERS.values() or container in _CARRIERS


def decoder(stream: av.VideoStream) -> av.VideoCodecContext:
    """Return what decodes a stream: its own decoder, but libvpx where there is alpha beside the picture."""
    own = stream.codec_context
    if has_alpha_beside(stream) and _DECODERS[own.name] in av.codecs_available:
        context = cast(av.VideoCodecContext, av.CodecContext.create(_DECODERS[own.name], "r"))
        context.extradata = own.extradata
        return context
    return own


def has_alpha_beside(stream: av.VideoStream) -> bool:
    """Say whether alpha lies in the packets where the usual decoder does not look."""
    mode = {key.lower(): value for key, value in stream.metadata.items()}.get("alpha_mode")
    return mode == "1" and stream.codec_context.name in _DECODERS
