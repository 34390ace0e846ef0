"""Pictures through imageio's plug-in for Pillow, held to the one decoder of their format.

``plugin="pillow"`` by its name would let the content choose among all of Pillow's decoders, of which one starts
Ghostscript (`tests/test_alone.py` has such a file).
"""

import re
import struct
from collections.abc import Iterable
from functools import cached_property
from typing import IO, Any, BinaryIO, cast

import numpy as np
from imageio.core.request import Request
from imageio.core.v3_plugin_api import PluginV3
from imageio.plugins.pillow import PillowPlugin
from imageio.v3 import imopen
from PIL import Image, UnidentifiedImageError

from convcli.data.info import Colour
from convcli.media.carriers import is_data
from convcli.media.pictures.pillow import (
    ANIMATED,
    Carried,
    Reads,
    carried_in,
    colour_of_mode,
    deep,
    is_deep,
    lost_of,
    unknown,
)
from convcli.media.shared import CHANNELS, decoding

_PSD_RESOLUTION = 1005
_BEHIND = {"mipmaps", "frames", "extension", "channels"}  # what lies behind the picture that is read


class OneDecoder(PillowPlugin):
    """imageio's plug-in, but for how it opens a file."""

    def __init__(self, request: Request, decoder: str) -> None:
        PluginV3.__init__(self, request)
        self._image, self.images_to_write = None, []  # what closing looks at, should opening fail
        Image.MAX_IMAGE_PIXELS = None  # only the header is read here
        self._image = Image.open(request.get_file(), formats=(decoder,))
        self._image.decodermaxblock = Reads.BLOCK

    @property
    def image(self) -> Any:
        """Pillow's picture."""
        return self._image

    def load(self, index: int) -> None:
        """Decode a frame; some formats know its mode and its size only then, and `read` would garble an ICNS."""
        self.image.seek(index)
        self.image.load()


class ImageioPicture:
    """A picture that imageio has opened with one decoder; the interface is `convcli.media.pictures.pillow.Picture`.

    ``carries`` has what else is known to be in the file, by the keys of `convcli.media.carriers`; ``trailer`` is a
    pattern of what lies behind the picture and is no data.

    Raises
    ------
    ConvError
        When the decoder does not know the content.
    """

    def __init__(self, fp: IO[bytes], decoder: str, carries: Iterable[str], trailer: bytes) -> None:
        self._carries, self._trailer, self._fp = [*carries], trailer, Reads(fp)
        head = fp.read(16)
        fp.seek(0)
        with decoding(decoder):
            try:
                plugin: Any = imopen(cast(BinaryIO, self._fp), "r", plugin=OneDecoder, decoder=decoder)
            except OSError as error:  # around what the decoder raised
                cause = error.__cause__ or error
                raise (
                    unknown(head, (decoder,)) if isinstance(cause, UnidentifiedImageError) else cause
                ) from None
            self._plugin, self.decoder = plugin, decoder
            self._first = self._index = plugin.image.tell()  # 1 in a PSD, where `read` would look for 0
            height, width = plugin.properties(index=self._first).shape[:2]
            self.size = (width, height)
            self.count = plugin.properties(index=...).n_images or 1 if decoder in ANIMATED else 1

    @cached_property
    def lost(self) -> tuple[str, ...]:
        rest = re.sub(rb"\A" + self._trailer, b"", self._fp.rest(), count=1, flags=re.DOTALL)
        known = self.decoder in ANIMATED or _BEHIND & {*self._carries}
        return lost_of(self._plugin.image, [*self._carries, *["behind"] * (not known and is_data(rest))])

    def frame(self, index: int) -> tuple[np.ndarray, Colour]:
        self._index = index = self._first + index
        self._plugin.load(index)
        info = self.info()
        alpha = self._plugin.properties(index=index).shape[2:] == (4,)
        transparent = "transparency" in info
        colour = colour_of_mode(info["mode"], alpha or transparent, transparent)
        grey = is_deep(info["mode"])
        mode = None if grey else CHANNELS[colour].mode
        pixels = self._plugin.read(index=index, mode=mode, writeable_output=False)
        return (deep(pixels, info["mode"], self.decoder) if grey else pixels), colour

    def info(self) -> dict[Any, Any]:
        found: dict[Any, Any] = self._plugin.metadata(index=self._index, exclude_applied=False)
        return found

    def carried(self) -> Carried:
        info = self.info()
        for number, _, data in getattr(self._plugin.image, "resources", ()):
            if number == _PSD_RESOLUTION and len(data) > 11:  # pixels per inch, in 65536ths
                info["dpi"] = tuple(part / 65536 for part in struct.unpack_from(">i4xi", data))
        return carried_in(info, info.get("Orientation", 1))
